"""Decoding: the frames that a sampler asks for, out of video files, by us and by others.

Every reader gets the same files and the same numbers of frames, opens the files anew each time, and
must come back with the same grey frames; where it does not, its note says for how many segments.
Knows readers and files. Does not know models.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.measure import interleaved, rows_of, spread, those_that_work
from benchmarks.naive import seek
from data.kth import Segment, find_segments
from data.video import read_frames, read_segments
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
    jobs = _jobs(root, files)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            "rendered files": jobs,
            f"rendered files, a key frame in {LONG_GOP}": with_long_gop(jobs, Path(folder)),
            "real clips": [] if real is None else _jobs(real, files),
        }
        compared = (_compare(*kind, readers, repeats) for kind in kinds.items() if kind[1])
        return [*itertools.chain.from_iterable(compared)]


def _jobs(root: str | Path, files: int) -> Sequence[Job]:
    by_file = itertools.groupby(find_segments(root), lambda segment: segment.video.path)
    return spread([(path, list(segments)) for path, segments in by_file], files)


def _compare(
    kind: str, jobs: Sequence[Job], readers: Mapping[str, Reader], repeats: int
) -> Iterator[Row]:
    count = sum(len(segments) for _, segments in jobs)
    for amount, sampler in ((SAMPLED, Uniform(16)), (ALL, np.arange)):
        work = [(path, [s.start + sampler(len(s)) for s in segments]) for path, segments in jobs]
        notes = {name: differing(reader, work) for name, reader in readers.items()}
        methods = {name: partial(_read_all, reader, work) for name, reader in readers.items()}
        seconds = interleaved(methods, repeats=repeats)
        task = f"{kind}, {amount}"
        yield from rows_of(task, seconds, count=count, unit="ms a segment", notes=notes)


def _read_all(reader: Reader, work: Sequence[tuple[Path, Lists]]) -> None:
    for path, lists in work:
        reader(path, lists)


def differing(reader: Reader, work: Sequence[tuple[Path, Lists]]) -> str:
    """Say how many segments a reader gives other frames of than ours, and nothing when there are
    none."""
    wrong = [
        theirs.shape != ours.shape
        or np.abs(theirs.astype(np.int16) - ours).mean(axis=(1, 2)).max() > SAME
        for path, lists in work
        for theirs, ours in zip(reader(path, lists), read_segments(path, lists), strict=True)
    ]
    return f"{sum(wrong)} of {len(wrong)} segments hold other frames" if any(wrong) else ""


# readers: (path, lists of frame numbers) -> lists of grey frames


def available() -> dict[str, Reader]:
    """Return the readers whose packages are installed and work here, ours first; say which are left
    out and why."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "probe.avi"))
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"XVID"), 25, (160, 120))
        for grey in (40, 80, 120, 160):
            writer.write(np.full((120, 160, 3), grey, np.uint8))
        writer.release()
        works = those_that_work(READERS, lambda reader: reader(Path(path), [np.arange(2)]))
    return {name: READERS[name] for name in works}


def seek_with_opencv(path: Path, lists: Lists) -> list[np.ndarray]:
    """Seek to every frame on its own, the way of most notebooks."""
    capture = cv2.VideoCapture(str(path))
    found = [np.stack([seek(capture, number) for number in numbers]) for numbers in lists]
    capture.release()
    return found


def read_with_av(path: Path, lists: Lists, *, seeks: bool) -> list[np.ndarray]:
    """PyAV, one forward pass, or a seek to the key frame before each segment and a pass from there;
    a single thread, which its own documentation calls faster to start."""
    import av

    found = []
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        stream.thread_type = "NONE"
        # in the units of presentation times
        per_frame = 1 / (stream.average_rate * stream.time_base)
        for numbers in lists if seeks else [np.concatenate(lists)]:
            if seeks:
                container.seek(round(int(numbers[0]) * per_frame), stream=stream)
            wanted, last, frames = set(numbers.tolist()), numbers.max(), {}
            for frame in container.decode(stream):
                number = round(frame.pts / per_frame)
                if number in wanted:
                    frames[number] = frame.to_ndarray(format="gray")
                if number >= last:
                    break
            found += [frames[number] for number in numbers]
    return _dealt(found, lists)


pass_with_av, seek_with_av = (partial(read_with_av, seeks=seeks) for seeks in (False, True))


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


def _grey(images: Iterable[np.ndarray], lists: Lists) -> list[np.ndarray]:
    return _dealt([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images], lists)


def _dealt(frames: Sequence[np.ndarray], lists: Lists) -> list[np.ndarray]:
    """Deal the frames of all lists, one list after another, to the lists."""
    return np.split(np.stack(frames), np.cumsum([len(numbers) for numbers in lists])[:-1])


READERS: dict[str, Reader] = {
    "ours": read_segments,
    "OpenCV, a seek for each frame": seek_with_opencv,
    "PyAV, one pass": pass_with_av,
    "PyAV, a seek for each segment": seek_with_av,
    "decord": read_with_decord,
    "torchcodec, exact": partial(read_with_torchcodec, seek_mode="exact"),
    "torchcodec, approximate": partial(read_with_torchcodec, seek_mode="approximate"),
}


# files


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
        frames = read_frames(path, range(max(segment.stop for segment in segments)))
        copy = folder / path.parent.name / path.name
        copy.parent.mkdir(exist_ok=True)
        with av.open(str(copy), "w") as container:
            stream: Any = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width = frames.shape[1:]
            stream.pix_fmt, stream.gop_size = "yuv420p", LONG_GOP
            stream.options = {"qmin": "2", "qmax": "2"}
            for frame in frames:
                rgb = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(stream.encode())
        copies.append((copy, segments))
    return copies
