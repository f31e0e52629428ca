"""Decoding: the frames that a sampler asks for, out of video files, by us and by others.

Every reader gets the same files and the same numbers of frames, opens the files anew each time, and
must come back with the same grey frames; where it does not, its note says for how many segments.
Knows readers and files. Does not know models.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.measure import interleaved, left_out, rows_of
from data.kth import Segment, find_segments
from data.video import read_segments
from tracking.measurements import Row
from utils.preprocessing import Uniform

Lists = Sequence[np.ndarray]
Reader = Callable[[Path, Lists], list[np.ndarray]]
Job = tuple[Path, list[Segment]]
SAMPLED, ALL = "16 frames a segment", "all frames"
LONG_GOP = 300  # frames from one key frame to the next: most of these files have a single one
# grey levels of mean difference: conversions differ in range and rounding, neighbouring frames by
# more
SAME = 4.0
QUICK = {"files": 2, "repeats": 1}


def run(
    root: str | Path,
    *,
    real: str | Path | None = None,
    files: int = 16,
    repeats: int = 5,
    readers: Mapping[str, Reader] | None = None,
) -> list[Row]:
    """Compare readers; one row a reader for each kind of files and each amount of frames.

    Args:
        root: A data set in KTH's layout, whose files are read as they are and with one key frame in
            300.
        real: Real clips in KTH's layout, read as they are; None leaves them out.
        files: Files of each kind, spread evenly over the data set.
        repeats: Repetitions, in turn.
        readers: By name, "ours" among them; None takes those that are installed.
    """
    readers = available() if readers is None else readers
    kinds = {"rendered files": _jobs(root, files)}
    with tempfile.TemporaryDirectory() as folder:
        kinds[f"rendered files, a key frame in {LONG_GOP}"] = with_long_gop(
            kinds["rendered files"], Path(folder)
        )
        if real is not None:
            kinds["real clips"] = _jobs(real, files)
        return [
            row
            for kind, jobs in kinds.items()
            if jobs
            for row in _compare(kind, jobs, readers, repeats)
        ]


def _jobs(root: str | Path, files: int) -> list[Job]:
    by_file: dict[Path, list[Segment]] = {}
    for segment in find_segments(root):
        by_file.setdefault(segment.video.path, []).append(segment)
    jobs = list(by_file.items())
    return jobs[:: max(1, len(jobs) // files)][:files]


def _compare(
    kind: str, jobs: Sequence[Job], readers: Mapping[str, Reader], repeats: int
) -> list[Row]:
    rows = []
    for amount, sampler in ((SAMPLED, Uniform(16)), (ALL, np.arange)):
        work = [(path, [s.start + sampler(len(s)) for s in segments]) for path, segments in jobs]
        count = sum(len(lists) for _, lists in work)
        notes = {name: differing(reader, work) for name, reader in readers.items()}
        methods = {name: partial(_read_all, reader, work) for name, reader in readers.items()}
        seconds = interleaved(methods, repeats=repeats)
        task = f"{kind}, {amount}"
        rows += rows_of(task, seconds, count=count, unit="ms a segment", notes=notes)
    return rows


def _read_all(reader: Reader, work: Sequence[tuple[Path, Lists]]) -> None:
    for path, lists in work:
        reader(path, lists)


def differing(reader: Reader, work: Sequence[tuple[Path, Lists]]) -> str:
    """Say how many segments a reader gives other frames of than ours, and nothing when there are
    none."""
    wrong = total = 0
    for path, lists in work:
        for theirs, ours in zip(reader(path, lists), read_segments(path, lists), strict=True):
            total += 1
            same = theirs.shape == ours.shape
            apart = np.abs(theirs.astype(np.int16) - ours).mean(axis=(1, 2)) if same else 255.0
            wrong += bool(np.max(apart) > SAME)
    return f"{wrong} of {total} segments hold other frames" if wrong else ""


# readers: (path, lists of frame numbers) -> lists of grey frames


def available() -> dict[str, Reader]:
    """Return the readers whose packages are installed and work here, ours first; say which are left
    out and why."""
    readers: dict[str, Reader] = {
        "ours": read_segments,
        "OpenCV, a seek for each frame": seek_with_opencv,
    }
    optional: dict[str, Reader] = {
        "PyAV, one pass": pass_with_av,
        "PyAV, a seek for each segment": seek_with_av,
        "decord": read_with_decord,
        "torchcodec, exact": partial(read_with_torchcodec, seek_mode="exact"),
        "torchcodec, approximate": partial(read_with_torchcodec, seek_mode="approximate"),
    }
    with tempfile.TemporaryDirectory() as folder:
        probe = _tiny_video(Path(folder))
        for name, reader in optional.items():
            try:
                reader(probe, [np.arange(2)])
                readers[name] = reader
            except Exception as error:  # a binary that does not load raises anything
                left_out(name, error)
    return readers


def seek_with_opencv(path: Path, lists: Lists) -> list[np.ndarray]:
    """Seek to every frame on its own, the way of most notebooks."""
    capture = cv2.VideoCapture(str(path))

    def frame(number: int) -> np.ndarray:
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        there, image = capture.read()
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if there else np.zeros((120, 160), np.uint8)

    found = [np.stack([frame(int(number)) for number in numbers]) for numbers in lists]
    capture.release()
    return found


def pass_with_av(path: Path, lists: Lists) -> list[np.ndarray]:
    """PyAV, one forward pass; a single thread, which its own documentation calls faster to
    start."""
    import av

    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        frames = _wanted(enumerate(container.decode(video=0)), np.concatenate(lists))
    return [np.stack([frames[number] for number in numbers]) for numbers in lists]


def seek_with_av(path: Path, lists: Lists) -> list[np.ndarray]:
    """PyAV, a seek to the key frame before each segment and a pass from there."""
    import av

    found = []
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        stream.thread_type = "NONE"
        # in the units of presentation times
        per_frame = 1 / (stream.average_rate * stream.time_base)
        for numbers in lists:
            container.seek(round(int(numbers[0]) * per_frame), stream=stream, backward=True)
            passing = ((round(f.pts / per_frame), f) for f in container.decode(stream))
            frames = _wanted(passing, numbers)
            found.append(np.stack([frames[number] for number in numbers]))
    return found


def _wanted(passing: Iterable[tuple[int, Any]], numbers: np.ndarray) -> dict[int, np.ndarray]:
    """Convert the wanted ones of PyAV's frames that pass by, up to the last."""
    wanted, last, frames = set(numbers.tolist()), numbers.max(), {}
    for number, frame in passing:
        if number in wanted:
            frames[number] = frame.to_ndarray(format="gray")
        if number >= last:
            break
    return frames


def read_with_decord(path: Path, lists: Lists) -> list[np.ndarray]:
    """decord, all frames of the file in one batch."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    return _grey(reader.get_batch(np.concatenate(lists).tolist()).asnumpy(), lists)


def read_with_torchcodec(path: Path, lists: Lists, *, seek_mode: Any) -> list[np.ndarray]:
    """torchcodec, all frames of the file in one batch; "exact" reads through the file
    beforehand."""
    from torchcodec.decoders import VideoDecoder

    decoder: Any = VideoDecoder(
        str(path), seek_mode=seek_mode, dimension_order="NHWC", num_ffmpeg_threads=1
    )
    return _grey(decoder.get_frames_at(np.concatenate(lists).tolist()).data.numpy(), lists)


def _grey(images: Sequence[np.ndarray], lists: Lists) -> list[np.ndarray]:
    grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
    return np.split(grey, np.cumsum([len(numbers) for numbers in lists])[:-1])


# files


def _tiny_video(folder: Path) -> Path:
    path = folder / "probe.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"XVID"), 25, (160, 120))
    for grey in (40, 80, 120, 160):
        writer.write(np.full((120, 160, 3), grey, np.uint8))
    writer.release()
    return path


def with_long_gop(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """Write the files anew with a key frame in LONG_GOP frames; an empty list, said, without
    PyAV."""
    try:
        import av
    except ImportError:
        tqdm.write(
            "files with a long GOP are left out: they are written with PyAV, which is not installed"
        )
        return []
    copies = []
    for path, segments in jobs:
        frames = read_segments(path, [np.arange(max(segment.stop for segment in segments))])[0]
        copy = folder / path.parent.name / path.name
        copy.parent.mkdir(exist_ok=True)
        with av.open(str(copy), "w") as container:
            stream: Any = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width = frames.shape[1:]
            stream.pix_fmt, stream.gop_size = "yuv420p", LONG_GOP
            stream.options = {"qmin": "2", "qmax": "2"}
            for frame in frames:
                rgb = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
                colour = av.VideoFrame.from_ndarray(rgb, format="rgb24")
                container.mux(stream.encode(colour.reformat(format="yuv420p")))
            container.mux(stream.encode())
        copies.append((copy, list(segments)))
    return copies
