"""A video file: open it, ask what it holds, read frames of it in one pass. There is no KTH in here.

Knows containers as far as OpenCV and their first bytes tell. Does not know actions, persons or what
a frame shows. Phone videos that say how they are rotated come out the right way up, as OpenCV turns
them itself.
"""

import functools
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from data.files import StrPath

Item = TypeVar("Item")
USUAL_FPS = 25.0  # taken where a container does not say its frame rate, or says nonsense
# what the first box of an MP4 file may be
MP4_STARTS = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")


class VideoError(ValueError):
    """A video file that cannot be used; the message names the file, the fault and the remedy."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file's container says: number of frames, and frames a second."""

    frames: int
    fps: float


def open_video(path: StrPath) -> cv2.VideoCapture:
    """Open a video for reading in one thread; `isOpened()` tells whether it could be.

    A decoder's own threads take longer to start than a file of 160 x 120 takes to decode; whoever
    reads many files reads them side by side.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, 1))
    # other backends know no such setting
    return capture if capture.isOpened() else cv2.VideoCapture(str(path))


def probe(path: StrPath, *, allow_cut_off: bool = False) -> VideoInfo:
    """Return what a video's container says, after a look at its size and its first frame.

    Raises VideoError for a file that is missing, empty, cut off (unless allow_cut_off), not a
    video, or whose first frame does not decode.
    """
    path = Path(path)
    try:
        stat = path.stat()
    except OSError as err:
        raise VideoError(f"{path}: cannot be opened ({err.strerror}); check the path") from err
    return _inspect(path, stat.st_size, stat.st_mtime_ns, allow_cut_off)


@functools.lru_cache(maxsize=4096)
def _inspect(path: Path, size: int, mtime_ns: int, allow_cut_off: bool) -> VideoInfo:
    """probe() without the stat; size and mtime_ns make a changed file a new key of the cache."""
    remedy = "fetch or render it again, or delete it"
    if size == 0:
        raise VideoError(f"{path}: empty file (0 bytes); {remedy}")
    promised = _promised_size(path, size)
    if promised > size and not allow_cut_off:
        raise VideoError(f"{path}: truncated, {size} of {promised} bytes are there; {remedy}")
    capture = open_video(path)
    try:
        if not capture.isOpened():
            raise VideoError(f"{path}: not a video that OpenCV can open; {remedy}")
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = capture.get(cv2.CAP_PROP_FPS)
        if not capture.read()[0]:
            raise VideoError(f"{path}: its first frame does not decode; {remedy}")
        if frames <= 0:  # some containers do not say; then only counting tells
            frames = 1
            while capture.grab():
                frames += 1
        return VideoInfo(frames, fps if math.isfinite(fps) and 0 < fps <= 1000 else USUAL_FPS)
    finally:
        capture.release()


def _promised_size(path: Path, size: int) -> int:
    """Bytes that the headers (RIFF, MP4) say the file holds; at most size where they do not say."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and len(head) == 12:
            return struct.unpack("<I", head[4:8])[0] + 8
        end = 0 if head[4:8] in MP4_STARTS else size
        # MP4: boxes of (size, four letters), one after the other
        while end < size and len(head) >= 8:
            box = struct.unpack(">I", head[:4])[0]
            # 0: up to the end of the file; 1: a 64-bit size, which no clip of ours needs
            if box < 8:
                return 0
            end += box
            file.seek(end)
            head = file.read(12)
    return end


def read_frames(path: StrPath, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Read frames of a video, in the order given, in grey: (len(indices), H, W) uint8.

    Raises:
        FileNotFoundError: There is no such file.
        VideoError: The file is no video, or ends before the last frame wanted.
    """
    return read_segments(path, [indices])[0]


def read_segments(
    path: StrPath, index_lists: Sequence[Sequence[int] | np.ndarray]
) -> list[np.ndarray]:
    """Read several lists of frames of one video in a single forward pass; see `read_frames`.

    Seeking is avoided on purpose: it is slower than decoding on short videos and lands on wrong
    frames in some.
    """
    lists = [list(map(int, indices)) for indices in index_lists]
    wanted = {index for indices in lists for index in indices}
    if not lists or not all(lists):
        raise ValueError(f"{path}: asked for no frames; name at least one index")
    if min(wanted) < 0:
        raise ValueError(f"{path}: asked for frame {min(wanted)}; frames count from 0")
    frames = _decode(Path(path), wanted)
    return [np.stack([frames[index] for index in indices]) for indices in lists]


def _decode(path: Path, wanted: set[int]) -> dict[int, np.ndarray]:
    """Decode the wanted frames of a file, skipping over the others without converting them."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no video at {path}")
    capture = open_video(path)
    try:
        if not capture.isOpened():
            raise VideoError(
                f"{path} ({path.stat().st_size} bytes) cannot be read as a video; replace or "
                "remove it"
            )
        frames = {}
        for index in range(max(wanted) + 1):
            done = capture.grab()
            if done and index in wanted:
                done, image = capture.retrieve()
                if done:
                    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
                    frames[index] = grey
            if not done:
                raise VideoError(
                    f"{path} ends early: frame {max(wanted)} was asked for, {index} frames can be "
                    "decoded; the file is cut off (fetch it again) or its segment is too long"
                )
        return frames
    finally:
        capture.release()


def spaced(items: Iterable[Item], every: float = 1.0) -> Iterator[tuple[int, Item]]:
    """Yield number and item of every so many-th of some items: 0, round(every), ..."""
    due = 0
    for number, item in enumerate(items):
        if number >= round(due * every):
            yield number, item
            due += 1


def stream(path: StrPath, every: float = 1.0) -> Iterator[tuple[int, np.ndarray]]:
    """Yield every so many-th frame of a video up to its end: number and image (H, W, 3) BGR.

    Only one image is held at a time. Raises VideoError when no frame of the file can be read.
    """
    capture, seen = open_video(path), False
    try:
        for number, _ in spaced(iter(capture.grab, False), every):
            there, image = capture.retrieve()
            if not there:
                break
            yield number, image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
            seen = True
    finally:
        capture.release()
    if not seen:
        raise VideoError(f"{path} cannot be read as a video; replace or remove it")
