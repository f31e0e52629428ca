"""A video file decoded from its first frame to its last: what comes out, and what the decoder says.

Knows OpenCV, and PyAV where it is installed. Does not know which file is asked for or why, and
judges nothing: see `data.video`. `serve` does it in a process of its own, see `data.prober`, where
what the decoder writes to standard error is caught too.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np

from data.files import StrPath

READY = "ready"  # the first line of a process that serves
LOOK_EVERY = 5  # frames: so often a frame is compared with the one looked at before
SMALL = (32, 24)  # width and height at which frames are compared
MOST_PIXELS = 16384 * 8192  # of a frame; four times an 8K film's
MOST_SAID = 3  # lines of the decoder that are kept
WIDEST = 4.0  # heights of a pixel; what says that its pixels are wider says nonsense
OPENCV_SAYS = "[ WARN"  # about itself and not about the file


@dataclass
class Decoded:
    """What came of decoding a file to its end.

    Args:
        opened: Whether OpenCV took it for a video.
        frames: How many frames decode.
        promised: How many its container says there are; 0 or less where it does not say.
        fps: Frames a second by the container, which may be nonsense.
        size: Height and width of a frame in pixels, as the container has them.
        change: The largest change of a place from one frame that was looked at to another, in grey
            levels; frames are scaled down before, so noise is less.
        jumps: At how many frames the time is further from the frame before than everywhere else.
        jump: The first such frame.
        complaints: At how many frames the decoder complained.
        complaint: The first such frame.
        shown: Of how many frames the image was asked for.
        spoilt: At how many of these the decoder complained over the image.
        said: The decoder's first lines.
        tried: What PyAV says of it, where it is installed and OpenCV failed.
        died: How the process ended that decoded it, where that did.
        stamped: Seconds that the frames last by their times, where these are uneven and ascend; 0
            where the frame rate tells it.
    """

    opened: bool = False
    frames: int = 0
    promised: int = 0
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    change: float = 0.0
    jumps: int = 0
    jump: int = 0
    complaints: int = 0
    complaint: int = 0
    shown: int = 0
    spoilt: int = 0
    said: list[str] = field(default_factory=list)
    tried: str | None = None
    died: str | None = None
    stamped: float = 0.0

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Decoded":
        """Build it from its `asdict`, out of JSON."""
        return cls(**{**values, "size": tuple(values["size"])})


def open_video(path: StrPath) -> cv2.VideoCapture:
    """Open a video for reading in one thread; `isOpened()` tells whether it could be.

    A decoder's own threads take longer to start than a file of 160 x 120 takes to decode; whoever
    reads many files reads them side by side.
    """
    name = os.path.abspath(path)  # a relative name with a colon would be taken for an address
    try:
        name.encode()
    except UnicodeEncodeError:  # OpenCV takes names in UTF-8 alone
        with open(path, "rb") as file:
            return _opened(f"/dev/fd/{file.fileno()}")
    return _opened(name)


def _opened(name: str) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, (cv2.CAP_PROP_N_THREADS, 1))
    # other backends know no such setting
    return capture if capture.isOpened() else cv2.VideoCapture(name)


def pixel_width(capture: cv2.VideoCapture) -> float:
    """Return how wide a pixel of a video is shown, in its heights: 1 where its container does not
    say, or says nonsense."""
    above, below = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    wide = above / below if above > 0 and below > 0 else 1.0
    if not 1 / WIDEST <= wide <= WIDEST:
        return 1.0
    turned = capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 != 0
    return 1 / wide if turned and capture.get(cv2.CAP_PROP_ORIENTATION_AUTO) else wide


def squared(image: np.ndarray, wide: float) -> np.ndarray:
    """Return an image whose pixels are so wide, in their heights, with square pixels."""
    height, width = image.shape[:2]
    if (across := max(1, round(width * wide))) == width:
        return image
    how = cv2.INTER_AREA if across < width else cv2.INTER_LINEAR
    return cv2.resize(image, (across, height), interpolation=how)


def decode_whole(path: StrPath, written: Callable[[], int] = lambda: 0) -> Decoded:
    """Decode a file from its first frame to its last.

    Args:
        path: The file.
        written: Tells how much the decoder has said so far, in any unit.
    """
    found, capture = Decoded(), open_video(path)
    try:
        if capture.isOpened():
            found.opened = True
            found.promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            found.fps = capture.get(cv2.CAP_PROP_FPS)
            width, height = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
            across = int(capture.get(width)) * pixel_width(capture)
            found.size = int(capture.get(height)), round(across)
            if found.size[0] * found.size[1] <= MOST_PIXELS:
                _read_all(capture, found, written)
    finally:
        capture.release()
    if not found.frames:
        found.tried = _as_pyav_says(path)
    return found


def _read_all(capture: cv2.VideoCapture, found: Decoded, written: Callable[[], int]) -> None:
    """Read every frame, and note the times, what changes, and when the decoder complains."""
    times: list[float] = []
    looked: list[np.ndarray] = []  # at most the first and the latest
    said = written()
    while capture.grab():
        if is_looked_at(found.frames):
            before = written()
            there, image = capture.retrieve()
            if not there:
                break
            found.shown += 1
            found.spoilt += written() > before
            small = small_grey(image)
            found.change = max([found.change, *(change_of(one, small) for one in looked)])
            looked = [*looked[:1], small]
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
        if (now := written()) > said:
            found.complaint = found.complaint if found.complaints else found.frames
            found.complaints += 1
            said = now
        found.frames += 1
    _note_times(found, np.diff(times))


def _note_times(found: Decoded, steps: np.ndarray) -> None:
    """Note how long a file lasts whose frame rate varies, and where frames are missing by their
    times in one of an even frame rate."""
    usual = np.median(steps) if len(steps) else 0.0
    even = np.abs(steps - usual) <= 0.1 * usual + 1  # containers round to the millisecond
    if len(steps) and steps.min() > 0 and not even.all():
        found.stamped = float(steps.sum() + steps.mean()) / 1000  # the last frame is shown too
    if usual > 0 and even.mean() >= 0.95:
        jumps = np.flatnonzero(steps > 1.5 * usual + 1)
        found.jumps, found.jump = len(jumps), int(jumps[0]) + 1 if len(jumps) else 0


def is_looked_at(number: int) -> bool:
    """Tell whether a frame is compared with others: the first few, and then every few."""
    return number < LOOK_EVERY or number % LOOK_EVERY == 0


def small_grey(image: np.ndarray) -> np.ndarray:
    """Scale an image, (H, W) grey or (H, W, 3), down to SMALL and to grey, int16."""
    small = cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA).astype(np.int16)
    return small if small.ndim == 2 else small.mean(2).astype(np.int16)


def change_of(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest change of a place between two images of `small_grey`."""
    return float(np.abs(one - other).max())


def _as_pyav_says(path: StrPath) -> str | None:
    """Try PyAV, and return what it says; None where it is not installed."""
    try:
        import av
    except ImportError:
        return None
    try:
        with open(path, "rb") as file, av.open(file) as container:
            next(container.decode(video=0))
    except Exception as error:  # a library's own, of any kind
        return f"{type(error).__name__}: {error}"
    return "it decodes"


def serve() -> None:
    """Decode the files that standard input names, a JSON string a line; answer each with a line.

    Everything that libraries write to standard output and error is caught, so that the answers are
    alone on standard output.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    with tempfile.TemporaryFile() as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        print(READY, file=answers, flush=True)
        for line in sys.stdin:
            log.truncate(0)
            log.seek(0)
            found = decode_whole(json.loads(line), lambda: os.fstat(log.fileno()).st_size)
            log.seek(0)
            found.said = said_in(log.read(1 << 16).decode(errors="replace"))
            print(json.dumps(asdict(found)), file=answers, flush=True)


def said_in(log: str) -> list[str]:
    """Return the first lines that a decoder said about a file, without its own name and address."""
    lines = (re.sub(r"^\[[^\]]* @ 0x[0-9a-f]+\] ", "", line).strip() for line in log.splitlines())
    own = (line for line in lines if line and not line.startswith(OPENCV_SAYS))
    return list(dict.fromkeys(own))[:MOST_SAID]
