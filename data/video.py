"""A video file: what it holds, read frames of it in one pass. There is no KTH in here.

Knows what is to be made of a file by its first bytes and by what decodes of it; what its container
says is believed where nothing else tells. Does not know actions, persons or what a frame shows.
Phone videos that say how they are rotated come out the right way up, as OpenCV turns them itself;
pixels that are shown wider or narrower than high are squared.
"""

import math
import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from data.decoding import MOST_PIXELS, Decoded, open_video, pixel_width, squared
from data.files import StrPath
from data.prober import decoded, in_threads
from data.signatures import ENOUGH, picture, something_else

Item = TypeVar("Item")
USUAL_FPS = 25.0  # taken where a container does not say its frame rate, or says nonsense
STILL = 6.0  # grey levels: no place of a scene that rests changes more, on a scaled-down image
CONVERT = "where a player shows it, `ffmpeg -i FILE NEW.mp4` makes a file that can be read"


class VideoError(ValueError):
    """A video file that cannot be used; the message names the file, the fault and the remedy."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file holds.

    Args:
        frames: How many frames decode.
        fps: Frames a second, as its container says.
        size: Height and width of a frame in square pixels.
        still: Whether nothing in it moves.
        doubts: What speaks against the numbers and images of its frames, in sentences.
        stamped: Seconds that it lasts by the times of its frames, where its frame rate varies.
    """

    frames: int
    fps: float
    size: tuple[int, int]
    still: bool = False
    doubts: tuple[str, ...] = ()
    stamped: float | None = None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self.fps if self.stamped is None else self.stamped

    @property
    def rate(self) -> float:
        """Frames a second, on average where that varies."""
        return self.fps if self.stamped is None else self.frames / self.stamped


def probe(path: StrPath) -> VideoInfo:
    """Return what a video holds, by decoding it to its end; the second time it is remembered.

    Raises VideoError for a file that is missing, empty, something else than a video, or of which
    no more than one frame decodes, or hardly any as it should.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(f"{path}: a folder or a device, no file; name a video file")
        with path.open("rb") as file:
            head = file.read(ENOUGH)
    except OSError as err:
        raise VideoError(f"{path}: cannot be opened ({err.strerror}); check the path") from err
    if not head:
        raise VideoError(f"{path}: empty file (0 bytes); fetch, render or copy it again")
    if what := something_else(head):
        raise VideoError(f"{path}: {what}, not a video, whatever its name")
    found = decoded(path, status)
    if fault := _fault(found, head):
        raise VideoError(f"{path}: {fault}")
    fps = found.fps if math.isfinite(found.fps) and 0 < found.fps <= 1000 else USUAL_FPS
    doubts, stamped = tuple(_doubts(found)), found.stamped or None
    return VideoInfo(found.frames, fps, found.size, found.change < STILL, doubts, stamped)


def probe_all(paths: Sequence[Path]) -> list[VideoInfo | VideoError]:
    """Probe many files side by side: what each holds, or why it cannot be used."""

    def one(path: Path) -> VideoInfo | VideoError:
        try:
            return probe(path)
        except VideoError as error:
            return error

    return in_threads(one, paths)


def _fault(found: Decoded, head: bytes) -> str | None:
    """Say why a file cannot be used and what may help; None when it can."""
    if found.died:
        return f"the decoder breaks down over it ({found.died}); {CONVERT}"
    if found.opened and math.prod(found.size) > MOST_PIXELS:
        height, width = found.size
        return f"its frames are {width} x {height} pixels by its header, which no film has"
    if found.frames == 1:
        return f"{picture(head)}, not a video: one frame decodes, and an action takes more"
    if not found.frames:
        what = "its first frame does not decode" if found.opened else "no video that can be opened"
        return f"{what}; {_tried(found)}; {CONVERT}"
    for count, of in ((found.complaints, found.frames), (found.spoilt, found.shown)):
        if count > of / 2:  # not every frame's image is asked for
            return (
                f"OpenCV complains at {count} of {of} frames, which are hardly what was filmed; "
                f"{_tried(found)}; {CONVERT}"
            )
    return None


def _tried(found: Decoded) -> str:
    """Say what was tried to read a file, and what came of it."""
    said = f'says "{" / ".join(found.said)}"' if found.said else "gives no reason"
    opencv = f"OpenCV {cv2.__version__} {said}"
    return opencv if found.tried is None else f"{opencv}, then PyAV was tried: {found.tried}"


def _doubts(found: Decoded) -> Iterator[str]:
    """Say what speaks against the frames of a file that is used."""
    if 0 < found.frames < found.promised:
        yield (
            f"{found.frames} of the {found.promised} frames that its header promises decode: it "
            "was cut without encoding it again, or is damaged, and frames may have wrong numbers"
        )
    if found.jumps:
        yield f"time jumps in {found.jumps} places, first at frame {found.jump}: frames are missing"
    if found.complaints:
        said = f': "{found.said[0]}"' if found.said else ""
        yield (
            f"the decoder complains in {found.complaints} places, first at frame "
            f"{found.complaint}{said}"
        )


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
    if not lists or not all(lists):
        raise ValueError(f"{path}: asked for no frames; name at least one index")
    if (first := min(map(min, lists))) < 0:
        raise ValueError(f"{path}: asked for frame {first}; frames count from 0")
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for part, indices in enumerate(lists):
        for place, index in enumerate(indices):
            places[index].append((part, place))
    parts: list[np.ndarray] = []
    for index, grey in _decode(Path(path), places):
        # filled as they come: frames of a long film would not be there twice
        parts = parts or [np.empty((len(one), *grey.shape), np.uint8) for one in lists]
        for part, place in places[index]:
            parts[part][place] = grey
    return parts


def _decode(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode the wanted frames of a file, skipping over the others without converting them; yield
    number and grey image (H, W) of each."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no video at {path}")
    capture = open_video(path)
    try:
        if not capture.isOpened():
            raise VideoError(
                f"{path} ({path.stat().st_size} bytes) cannot be read as a video; {CONVERT}"
            )
        wide = pixel_width(capture)
        for index in range(max(wanted) + 1):
            done = capture.grab()
            if done and index in wanted:
                done, image = capture.retrieve()
                if done:
                    yield index, squared(grey_of(image), wide)
            if not done:
                raise VideoError(
                    f"{path} ends early: frame {max(wanted)} was asked for, {index} frames can be "
                    "decoded; it changed since it was looked at, or its segment is too long"
                )
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
    for number, _, image in stamped(path, every):
        yield number, image


def stamped(path: StrPath, every: float = 1.0) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield what `stream` yields with the second at which each frame is shown in between."""
    capture, seen = open_video(path), False
    try:
        wide = pixel_width(capture)
        for number, _ in spaced(iter(capture.grab, False), every):
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            there, image = capture.retrieve()
            if not there:
                break
            coloured = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
            yield number, seconds, squared(coloured, wide)
            seen = True
    finally:
        capture.release()
    if not seen:
        raise VideoError(f"{path} cannot be read as a video: no frame decodes; {CONVERT}")


def grey_of(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 3) BGR, or a grey one, in grey (H, W)."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
