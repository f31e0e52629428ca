"""A video that is to be predicted: a file or frames in memory, and what speaks against an answer.

Knows files and arrays of frames. Does not know recognisers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from data.decoding import change_of, is_looked_at, small_grey
from data.kth import FPS
from data.video import STILL, probe

# a file, or frames: an array or a tensor (T, H, W) or (T, H, W, 3), or a list of one for each
Video = str | os.PathLike | np.ndarray | torch.Tensor | Sequence[Any]
SHORTEST = 1.25  # seconds: in less hardly an action is to be told from another
SLOWEST = 5.0  # frames a second: with fewer a step or a blow falls between two frames
SMALLEST = 48  # pixels of an image's shorter side: in less nobody is made out


@dataclass(frozen=True)
class Footage:
    """A video to be read: a file or grey frames.

    Args:
        video: The file, or the frames (T, H, W).
        name: What messages call it, in letters that any UTF-8 text takes.
        length: How many frames it has.
        fps: Its frame rate.
        size: Height and width of a frame in pixels.
        still: Whether nothing in it moves.
        damage: What speaks against its frames, in sentences.
    """

    video: Path | np.ndarray
    name: str
    length: int
    fps: float
    size: tuple[int, int]
    still: bool
    damage: tuple[str, ...] = ()

    @classmethod
    def of(cls, video: Video, fps: float | None) -> Footage:
        """Look at a video; see `utils.predict.predict_video` for what is taken and raised."""
        if fps is not None and not fps > 0:
            raise ValueError(f"fps is {fps}; it takes frames a second, above 0")
        if not isinstance(video, (str, os.PathLike)):
            grey = _grey(_array(video))
            height, width = grey.shape[1:]
            return cls(grey, "array", len(grey), fps or FPS, (height, width), rests(grey))
        path, info = Path(video), probe(video)
        name = os.fsencode(path).decode(errors="backslashreplace")
        return cls(path, name, info.frames, fps or info.rate, info.size, info.still, info.doubts)

    def part(self, start: int, stop: int | None) -> tuple[int, int]:
        """Return start..stop, where None means to the end; ValueError when it is no part."""
        end = self.length if stop is None else stop
        if not 0 <= start < end <= self.length:
            raise ValueError(
                f"{self.name} has {self.length} frames, not {start}..{end}; give "
                f"0 <= start < stop <= {self.length}"
            )
        return start, end

    def doubts(self, start: int, stop: int) -> tuple[str, ...]:
        """Say what speaks against naming an action in frames start..stop, in sentences."""
        return tuple(self._doubts(start, stop))

    def _doubts(self, start: int, stop: int) -> Iterator[str]:
        yield from self.damage
        if (seconds := (stop - start) / self.fps) < SHORTEST:
            yield (
                f"it lasts {seconds:.2g} seconds, in which hardly an action is to be told from "
                "another; film 2 seconds or more"
            )
        if self.fps < SLOWEST:
            yield (
                f"it has {self.fps:.2g} frames a second, between which movements are lost; film "
                "with 10 or more"
            )
        if min(self.size) < SMALLEST:
            height, width = self.size
            yield f"nobody is to be made out in frames of {width} x {height} pixels"
        if self.still:
            yield "nothing that can be seen moves in it, and an action is told by movement"


def rests(frames: np.ndarray) -> bool:
    """Tell whether nothing moves in frames (T, H, W)."""
    looked = [small_grey(frames[n]) for n in range(len(frames)) if is_looked_at(n)]
    pairs = zip([looked[0], *looked], looked, strict=False)
    changes = [change_of(looked[0], one) for one in looked] + [change_of(*two) for two in pairs]
    return max(changes) < STILL


def _array(video: Any) -> np.ndarray:
    """Bring frames to one array."""
    if isinstance(video, (list, tuple)) and len(video):
        parts = [_array(one) for one in video]
        if len(shapes := sorted({part.shape for part in parts})) > 1:
            raise ValueError(f"frames of the shapes {shapes[0]} and {shapes[1]}; give one shape")
        return np.stack(parts)
    if isinstance(video, torch.Tensor):
        return video.detach().cpu().numpy() if video.dtype == torch.uint8 else _refuse(video)
    if isinstance(video, np.ndarray) or hasattr(video, "__array_interface__"):  # Pillow's images
        return np.asarray(video)
    raise ValueError(
        f"a {type(video).__name__} is no video; give a file's name, or frames as an array, a "
        "tensor or a list"
    )


def _grey(video: np.ndarray) -> np.ndarray:
    """Check an array of frames and bring it to (T, H, W)."""
    fits = video.dtype == np.uint8 and video.ndim in (3, 4) and 0 not in video.shape
    if not fits or video.shape[3:] not in ((), (3,)):
        _refuse(video)
    if video.ndim == 3:
        return video
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video])


def _refuse(video: Any) -> Any:
    shape, remedy = tuple(video.shape), ""
    if "float" in str(video.dtype):
        remedy = "; multiply values from 0 to 1 by 255 and round them"
    elif len(shape) == 4 and shape[1] in (1, 3):
        remedy = "; move the channels to the end"
    raise ValueError(
        f"a video of {video.dtype} and shape {shape}; give uint8 (T, H, W) or (T, H, W, 3){remedy}"
    )
