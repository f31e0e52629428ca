"""Decoding: the frames that a sampler asks for, out of video files, by us and by others.

Every reader gets the same files and the same numbers of frames, opens the files anew each time, and
must come back with the same grey pictures; where it does not, its note says for how many segments.
Knows readers and files. Does not know models.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.measure import Row, interleaved, rows_of
from data.kth import Segment, find_segments
from data.video import read_segments
from utils.data_setup import Uniform

Reader = Callable[[Path, Sequence[np.ndarray]], list[np.ndarray]]
SAMPLED, ALL = "16 frames a segment", "all frames"
LONG_GOP = 300  # frames from one key frame to the next: most of these files have a single one
# grey levels of mean difference: conversions differ in range and rounding, neighbouring frames by
# more
SAME = 4.0


def run(
    root: str | Path, *, real: str | Path | None = None, files: int = 16, repeats: int = 5
) -> list[Row]:
    """Compare the readers that are installed; one row a reader for each kind of files and each
    amount of frames.

    Args:
        root: A data set in KTH's layout, whose files are read as they are and with one key frame in
            300.
        real: Real clips in KTH's layout, read as they are; None leaves them out.
        files: Files of each kind, spread evenly over the data set.
        repeats: Repetitions, in turn.
    """
    readers = available()
    rendered = _jobs(root, files)
    rows = _compare("rendered files", rendered, readers, repeats)
    with tempfile.TemporaryDirectory() as folder:
        long = _with_long_gop(rendered, Path(folder))
        rows += (
            _compare(f"rendered files, a key frame in {LONG_GOP}", long, readers, repeats)
            if long
            else []
        )
    if real is not None:
        rows += _compare("real clips", _jobs(real, files), readers, repeats)
    return rows


Job = tuple[Path, list[Segment]]


def _jobs(root: str | Path, files: int) -> list[Job]:
    by_file: dict[Path, list[Segment]] = {}
    for segment in find_segments(root):
        by_file.setdefault(segment.video.path, []).append(segment)
    jobs = list(by_file.items())
    return jobs[:: max(1, len(jobs) // files)][:files]


def _compare(kind: str, jobs: Sequence[Job], readers: dict[str, Reader], repeats: int) -> list[Row]:
    rows = []
    for amount, sampler in ((SAMPLED, Uniform(16)), (ALL, np.arange)):
        work = [(path, [s.start + sampler(len(s)) for s in segments]) for path, segments in jobs]
        count = sum(len(lists) for _, lists in work)
        notes = {name: _differing(reader, work) for name, reader in readers.items()}
        methods = {
            name: functools.partial(_read_all, reader, work) for name, reader in readers.items()
        }
        seconds = interleaved(methods, repeats=repeats)
        rows += rows_of(
            f"{kind}, {amount}", seconds, ours="ours", count=count, unit="ms a segment", notes=notes
        )
    return rows


def _read_all(reader: Reader, work: Sequence[tuple[Path, list[np.ndarray]]]) -> None:
    for path, lists in work:
        reader(path, lists)


def _differing(reader: Reader, work: Sequence[tuple[Path, list[np.ndarray]]]) -> str:
    """Say how many segments a reader gives other pictures of than ours, and nothing when there are
    none."""
    wrong = total = 0
    for path, lists in work:
        for theirs, ours in zip(reader(path, lists), read_segments(path, lists), strict=True):
            total += 1
            apart = (
                np.abs(theirs.astype(np.int16) - ours).mean(axis=(1, 2))
                if theirs.shape == ours.shape
                else [255.0]
            )
            wrong += bool(np.max(apart) > SAME)
    return f"{wrong} of {total} segments hold other frames" if wrong else ""


# readers: (path, lists of frame numbers) -> lists of grey pictures


def available() -> dict[str, Reader]:
    """Return the readers whose packages are installed and work here, ours first; say which are left
    out and why."""
    readers: dict[str, Reader] = {
        "ours": read_segments,
        "OpenCV, a seek for each frame": seek_with_opencv,
    }
    optional = {
        "PyAV, one pass": pass_with_av,
        "PyAV, a seek for each segment": seek_with_av,
        "decord": read_with_decord,
        "torchcodec, exact": read_with_torchcodec("exact"),
        "torchcodec, approximate": read_with_torchcodec("approximate"),
    }
    with tempfile.TemporaryDirectory() as folder:
        probe = _tiny_video(Path(folder))
        for name, reader in optional.items():
            try:
                reader(probe, [np.arange(2)])
                readers[name] = reader
            except Exception as error:  # a binary that does not load raises anything
                tqdm.write(
                    f"{name} is left out: {type(error).__name__}: "
                    f"{str(error).strip().splitlines()[0]}"
                )
    return readers


def seek_with_opencv(path: Path, lists: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Seek to every frame on its own, the way of most notebooks."""
    capture = cv2.VideoCapture(str(path))
    found = []
    for numbers in lists:
        pictures = []
        for number in numbers:
            capture.set(cv2.CAP_PROP_POS_FRAMES, int(number))
            there, picture = capture.read()
            pictures.append(
                cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
                if there
                else np.zeros((120, 160), np.uint8)
            )
        found.append(np.stack(pictures))
    capture.release()
    return found


def pass_with_av(path: Path, lists: Sequence[np.ndarray]) -> list[np.ndarray]:
    """PyAV, one forward pass; a single thread, which its own documentation calls faster to
    start."""
    import av

    wanted = {int(number) for numbers in lists for number in numbers}
    last, frames = max(wanted), {}
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                frames[number] = frame.to_ndarray(format="gray")
            if number == last:
                break
    return [np.stack([frames[int(number)] for number in numbers]) for numbers in lists]


def seek_with_av(path: Path, lists: Sequence[np.ndarray]) -> list[np.ndarray]:
    """PyAV, a seek to the key frame before each segment and a pass from there."""
    import av

    found = []
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        stream.thread_type = "NONE"
        per_frame = 1 / (
            stream.average_rate * stream.time_base
        )  # in the units of presentation times
        for numbers in lists:
            first, wanted, frames = int(numbers[0]), {int(number) for number in numbers}, {}
            container.seek(round(first * per_frame), stream=stream, backward=True)
            for frame in container.decode(stream):
                number = round(frame.pts / per_frame)
                if number in wanted:
                    frames[number] = frame.to_ndarray(format="gray")
                if number >= max(wanted):
                    break
            found.append(np.stack([frames[int(number)] for number in numbers]))
    return found


def read_with_decord(path: Path, lists: Sequence[np.ndarray]) -> list[np.ndarray]:
    """decord, all frames of the file in one batch."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    pictures = reader.get_batch([int(number) for numbers in lists for number in numbers]).asnumpy()
    return _split([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures], lists)


def read_with_torchcodec(seek_mode: Any) -> Reader:
    """torchcodec, all frames of the file in one batch; "exact" reads through the file
    beforehand."""

    def read(path: Path, lists: Sequence[np.ndarray]) -> list[np.ndarray]:
        from torchcodec.decoders import VideoDecoder

        decoder: Any = VideoDecoder(
            str(path), seek_mode=seek_mode, dimension_order="NHWC", num_ffmpeg_threads=1
        )
        pictures = decoder.get_frames_at(
            [int(n) for numbers in lists for n in numbers]
        ).data.numpy()
        return _split([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures], lists)

    return read


def _split(pictures: Sequence[np.ndarray], lists: Sequence[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([len(numbers) for numbers in lists])
    return [
        np.stack(pictures[end - len(numbers) : end])
        for end, numbers in zip(ends, lists, strict=True)
    ]


# files


def _tiny_video(folder: Path) -> Path:
    path = folder / "probe.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"XVID"), 25, (160, 120))
    for grey in (40, 80, 120, 160):
        writer.write(np.full((120, 160, 3), grey, np.uint8))
    writer.release()
    return path


def _with_long_gop(jobs: Sequence[Job], folder: Path) -> list[Job]:
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
            stream.width, stream.height, stream.pix_fmt = (
                frames.shape[2],
                frames.shape[1],
                "yuv420p",
            )
            stream.gop_size, stream.options = LONG_GOP, {"qmin": "2", "qmax": "2"}
            for picture in frames:
                colour = av.VideoFrame.from_ndarray(
                    cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), format="rgb24"
                )
                container.mux(stream.encode(colour.reformat(format="yuv420p")))
            container.mux(stream.encode())
        copies.append((copy, list(segments)))
    return copies
