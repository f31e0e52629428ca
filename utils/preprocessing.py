"""What a model is shown of a segment: which moments, read how, turned into which tensor.

Knows segments, arrays and tensors. Does not know models, features, data sets or training. Training,
evaluation, prediction and figures all come through `Preprocessing`, so that there is one way.

The way of a clip: sampler -> frame numbers (T,), or (T, 3) for stacked greyscale -> reader ->
arrays (T, H, W) or (T, 3, H, W) uint8 -> transform -> clip (T, C, H, W) float32 in [0, 1]. A reader
may also give numbers (T, D), such as joints; they become a clip as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from data.kth import FPS, Segment
from data.video import read_segments

Rng = np.random.Generator | None

# samplers: (num_frames, fps, rng) -> ascending int64 indices of 0..num_frames-1; the random ones
# are for training and need the rng, the others ignore it


class Sampler(Protocol):
    """Chooses frames of a segment by its length in frames and its frame rate."""

    def __call__(self, num_frames: int, fps: float = FPS, rng: Rng = None) -> ndarray:
        """Return ascending indices of 0..num_frames-1."""


@dataclass(frozen=True)
class Middle:
    """The middle frame alone."""

    def __call__(self, num_frames: int, fps: float = FPS, rng: Rng = None) -> ndarray:
        """Return one index of 0..num_frames-1."""
        return Uniform(frames=1)(num_frames)

    def __str__(self) -> str:
        """What tables call it."""
        return "middle frame"


@dataclass(frozen=True)
class Uniform:
    """The centres of `frames` equal parts; every frame once when the segment has no more."""

    frames: int = 16

    def __post_init__(self):
        _check_positive(self)

    def __call__(self, num_frames: int, fps: float = FPS, rng: Rng = None) -> ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1."""
        parts = self._parts(num_frames)
        # (part + 1/2) * length / parts, floored; in integers, so that no rounding moves a frame
        return (2 * np.arange(parts, dtype=np.int64) + 1) * num_frames // (2 * parts)

    def _parts(self, num_frames: int) -> int:
        _check_length(num_frames)
        return min(self.frames, num_frames)

    def random(self) -> Jittered:
        """Return its counterpart for training."""
        return Jittered(self.frames)

    def __str__(self) -> str:
        """What tables call it."""
        return f"uniform {self.frames}"


@dataclass(frozen=True)
class Jittered(Uniform):
    """One random frame of each of `frames` equal parts: the training counterpart of Uniform."""

    def __call__(self, num_frames: int, fps: float = FPS, rng: Rng = None) -> ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1."""
        parts = self._parts(num_frames)
        edges = np.arange(parts + 1, dtype=np.int64) * num_frames // parts
        return _required(rng, self).integers(edges[:-1], edges[1:], dtype=np.int64)

    def __str__(self) -> str:
        """What tables call it."""
        return f"jittered {self.frames}"


@dataclass(frozen=True)
class FixedStride:
    """`frames` frames `seconds` apart around the middle; fewer where the segment is too short.

    The stride is a time and not a number of frames, so that a clip of 50 frames a second gives the
    same moments as one of 25. At a frame rate that does not divide it, moments are rounded; at one
    too low for it, a frame comes twice.
    """

    frames: int = 16
    seconds: float = 0.08

    def __post_init__(self):
        _check_positive(self)

    def offsets(self, fps: float) -> ndarray:
        """Return how many frames after the first each of the `frames` frames lies."""
        if not fps > 0:
            raise ValueError(f"a frame rate of {fps} frames a second; it must be above 0")
        return np.rint(np.arange(self.frames) * self.seconds * fps).astype(np.int64)

    def clip_length(self, fps: float) -> int:
        """Return the number of frames from the first to the last sampled one, both counted."""
        return int(self.offsets(fps)[-1]) + 1

    def __call__(self, num_frames: int, fps: float = FPS, rng: Rng = None) -> ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1."""
        offsets = self._fitting(num_frames, fps)
        return (num_frames - 1 - offsets[-1]) // 2 + offsets

    def _fitting(self, num_frames: int, fps: float) -> ndarray:
        _check_length(num_frames)
        offsets = self.offsets(fps)
        return offsets[offsets < num_frames]

    def random(self) -> RandomFixedStride:
        """Return its counterpart for training."""
        return RandomFixedStride(self.frames, self.seconds)

    def __str__(self) -> str:
        """What tables call it: frames x stride, the stride in frames of KTH's 25 a second."""
        return f"{self.frames}x{self.seconds * FPS:g}"


@dataclass(frozen=True)
class RandomFixedStride(FixedStride):
    """A FixedStride at a random place: its training counterpart."""

    def __call__(self, num_frames: int, fps: float = FPS, rng: Rng = None) -> ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1."""
        offsets = self._fitting(num_frames, fps)
        return _required(rng, self).integers(num_frames - offsets[-1]) + offsets


SAMPLERS: dict[str, Any] = {
    "middle": Middle,
    "uniform": Uniform,
    "jittered": Jittered,
    "fixed_stride": FixedStride,
    "random_fixed_stride": RandomFixedStride,
}


def _check_positive(sampler: Any) -> None:
    for name, value in dataclasses.asdict(sampler).items():
        if value <= 0:
            raise ValueError(f"{type(sampler).__name__}: {name} is {value}; it must be above 0")


def _check_length(num_frames: int) -> None:
    if num_frames < 1:
        raise ValueError(f"cannot sample from {num_frames} frames; a segment needs at least 1")


def _required(rng: Rng, sampler: Any) -> np.random.Generator:
    if rng is None:
        raise ValueError(
            f"{type(sampler).__name__} is random and got no rng; evaluation takes Uniform or "
            "FixedStride"
        )
    return rng


# from frames to clips


@dataclass(frozen=True)
class ClipTransform:
    """Grey frames to a clip: padded to the target's shape by repeating the border, then resized.

    Args:
        size: Height and width of the clip in pixels.
        pool: "none" keeps the frames; "mean" averages them into one, the ghost frame.
        channels: 1, or 3 to repeat the grey frame for a three-channel network.
    """

    size: tuple[int, int] = (96, 128)
    pool: str = "none"
    channels: int = 1

    def __post_init__(self):
        object.__setattr__(self, "size", tuple(int(side) for side in self.size))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size is {self.size}; it takes (height, width) in pixels")
        if self.pool not in ("none", "mean"):
            raise ValueError(f'pool is {self.pool!r}; it takes "none" or "mean"')
        if self.channels not in (1, 3):
            raise ValueError(f"channels is {self.channels}; it takes 1 or 3")

    def __call__(self, frames: ndarray) -> Tensor:
        """Turn frames (T, H, W) or stacks (T, 3, H, W), uint8, into a clip (T, C, H, W) in [0, 1].

        T is 1 when pooling; C is 3 for stacks.
        """
        shape = frames.shape
        fits = frames.ndim >= 3 and shape[1:-2] in ((), (3,)) and 0 not in shape
        if not fits or frames.dtype != np.uint8:
            raise ValueError(
                f"the transform got {frames.dtype} of shape {shape}; it takes grey frames "
                "(T, H, W), or stacks of three (T, 3, H, W), uint8"
            )
        if self.pool == "mean":
            frames = frames.mean(axis=0, keepdims=True, dtype=np.float32)
        images = frames.reshape(-1, *shape[-2:])
        fitted = np.empty((len(images), *self.size), dtype=np.float32)
        for place, image in zip(fitted, images, strict=True):
            place[:] = self._resized(image.astype(np.float32))
        fitted *= 1 / 255
        clip = torch.from_numpy(fitted).unflatten(0, (len(frames), -1))
        return clip if frames.ndim == 4 else clip.expand(-1, self.channels, -1, -1)

    def _resized(self, image: ndarray) -> ndarray:
        image = self._padded(image)
        if image.shape == self.size:
            return image
        shrinks = np.greater_equal(image.shape, self.size).all()
        # area averages, so that thin limbs do not flicker
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(image, self.size[::-1], interpolation=how)

    def _padded(self, image: ndarray) -> ndarray:
        """Pad to the target's shape: proportions stay, and a repeated border adds no edge."""
        (height, width), (tall, wide) = image.shape, self.size
        down = max(0, round(width * tall / wide) - height)
        across = max(0, round(height * wide / tall) - width)
        if not (down or across):
            return image
        edges = (down // 2, down - down // 2, across // 2, across - across // 2)
        return cv2.copyMakeBorder(image, *edges, cv2.BORDER_REPLICATE)


Footage = Path | np.ndarray  # a file, or its frames (T, H, W) in grey


class Reader(Protocol):
    """Turns frame numbers of a video into arrays: what a model is shown of a moment.

    A reader is a frozen dataclass of plain settings, and of dataclasses of such, so that a
    configuration can name it. Readers that share a look keep who looks in their field `finder`: a
    video is then searched once for all with an equal one, see `looker`. One that shows somebody may
    have `span(found, start, stop)` too: windows are then placed where he is; and one may tell
    `numbers(found, frames)` (T, P) beside its images.
    """

    def look(self, video: Footage, fps: float | None = None) -> Mapping[str, np.ndarray] | None:
        """Look at a whole video first, for a track or a background; None where that is needless.

        fps is the video's frame rate; None takes the file's own, and 25 for an array. What is found
        in a file is kept like features, see `utils.features.look_at`.
        """

    def read(
        self,
        video: Footage,
        index_lists: Sequence[np.ndarray],
        found: Mapping[str, np.ndarray] | None,
    ) -> list[np.ndarray]:
        """Read lists of frames in one pass: (len(list), H, W) uint8, or numbers (len(list), D)."""


@dataclass(frozen=True)
class GreyFrames:
    """The frames as they are, in grey."""

    def look(self, video: Footage, fps: float | None = None) -> None:
        """Need nothing."""

    def read(
        self,
        video: Footage,
        index_lists: Sequence[np.ndarray],
        found: Mapping[str, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Read lists of frames in one pass, (len(list), H, W) uint8 each."""
        if isinstance(video, np.ndarray):
            return [video[indices] for indices in index_lists]
        return read_segments(video, index_lists)


def looker(reader: Reader) -> Any:
    """Return who looks at whole videos for a reader: its finder, if it has one, or itself."""
    return getattr(reader, "finder", reader)


@dataclass(frozen=True)
class Preprocessing:
    """What a model is shown of a segment: which moments, read how, turned into which tensor.

    Args:
        sampler: Which frames.
        transform: Frames to clip.
        frame_offset: Seconds; above 0 the three channels of a clip are the frames so long before,
            at and so long after each sampled one (stacked greyscale, SG3I: Kim and Won, "Action
            Recognition in Videos Using Pre-Trained 2D Convolutional Neural Networks", 2020).
        reader: What is read of a file.
    """

    sampler: Sampler
    transform: ClipTransform = field(default_factory=ClipTransform)
    frame_offset: float = 0.0
    reader: Reader = field(default_factory=GreyFrames)

    def __post_init__(self):
        if self.frame_offset < 0 or (self.frame_offset and self.transform.pool != "none"):
            raise ValueError(
                f"frame_offset is {self.frame_offset} with pool {self.transform.pool!r}; it takes "
                'seconds, 0 or more, and above 0 only pool "none"'
            )
        if self.transform.pool != "none" and hasattr(self.reader, "numbers"):
            raise ValueError(
                f"{type(self.reader).__name__} tells numbers of every frame, which pool "
                f'{self.transform.pool!r} has no place for; it takes pool "none"'
            )

    @property
    def channels(self) -> int:
        """How many channels a clip has: three for stacked greyscale."""
        return 3 if self.frame_offset else self.transform.channels

    def span(
        self, start: int, stop: int, found: Mapping[str, np.ndarray] | None
    ) -> tuple[int, int]:
        """Return the part of start..stop that the reader shows: all of it, or where somebody is."""
        span = getattr(self.reader, "span", None)
        return (start, stop) if span is None or found is None else span(found, start, stop)

    def frames(self, start: int, stop: int, fps: float = FPS, rng: Rng = None) -> np.ndarray:
        """Choose frame numbers of start..stop: (T,), or (T, 3) for stacks, which stay inside."""
        return self.stacked(start + self.sampler(stop - start, fps, rng), start, stop, fps)

    def stacked(self, chosen: np.ndarray, start: int, stop: int, fps: float) -> np.ndarray:
        """Return the frames to read for sampled ones (T,): these, or their stacks (T, 3)."""
        if not self.frame_offset:
            return chosen
        offset = max(1, round(self.frame_offset * fps))
        return (chosen[:, None] + np.array([-offset, 0, offset])).clip(start, stop - 1)

    def clip(
        self,
        segment: Segment,
        rng: Rng = None,
        found: Mapping[str, np.ndarray] | None = None,
    ) -> Tensor:
        """Read a segment as a clip (T, C, H, W), or numbers (T, D).

        `found` is what the reader's look at the file gave; it looks now when that is missing.
        Raises VideoError when the file cannot give the frames.
        """
        video = segment.video
        wanted = self.frames(segment.start, segment.stop, video.fps, rng)
        return self.clips(video.path, [wanted], found, video.fps)[0]

    def clips(
        self,
        path: Path,
        index_lists: Sequence[np.ndarray],
        found: Mapping[str, np.ndarray] | None = None,
        fps: float | None = None,
    ) -> list[Tensor]:
        """Read several clips of one file in a single pass; see `clip` and, for fps, `Reader`."""
        found = looker(self.reader).look(path, fps) if found is None else found
        arrays = self.reader.read(path, [indices.ravel() for indices in index_lists], found)
        return [
            self.told(
                self.transformed(array.reshape(*indices.shape, *array.shape[1:])), found, indices
            )
            for array, indices in zip(arrays, index_lists, strict=True)
        ]

    def transformed(self, array: np.ndarray) -> Tensor:
        """Turn what was read, (T, H, W) or (T, 3, H, W) uint8, into a clip; numbers stay."""
        if array.dtype == np.uint8:
            return self.transform(array)
        return torch.from_numpy(array.astype(np.float32))

    def told(
        self, clip: Tensor, found: Mapping[str, np.ndarray] | None, frames: np.ndarray
    ) -> Tensor:
        """Put what the reader tells beside the images of frames (T,) or (T, 3) behind a clip's
        channels, a plane for each number; most readers tell nothing."""
        numbers = getattr(self.reader, "numbers", None)
        if numbers is None:
            return clip
        middle = frames if frames.ndim == 1 else frames[:, 1]
        planes = torch.from_numpy(numbers(found, middle))[..., None, None]
        return torch.cat([clip, planes.expand(*planes.shape[:2], *clip.shape[-2:])], 1)

    def frames_out(self, frames: np.ndarray) -> int:
        """Return how many steps T the clip of these frame numbers has."""
        return 1 if self.transform.pool == "mean" else len(frames)

    def resized(self, size: tuple[int, int]) -> Preprocessing:
        """Return the same at another height and width."""
        return dataclasses.replace(self, transform=dataclasses.replace(self.transform, size=size))

    def __str__(self) -> str:
        """What tables call it, such as "8x4, frame offset 2" or "mean of uniform 8"."""
        text = str(self.sampler)
        if self.frame_offset:
            text += f", frame offset {self.frame_offset * FPS:g}"
        return f"mean of {text}" if self.transform.pool == "mean" else text

    def to_config(self) -> dict[str, Any]:
        """Describe it in plain values, from which `from_config` builds it again."""
        names = {kind: name for name, kind in SAMPLERS.items()}
        if type(self.sampler) not in names:
            raise ValueError(f"{self.sampler!r} is none of the samplers {', '.join(SAMPLERS)}")
        described = dataclasses.asdict(self)
        described["transform"]["size"] = list(self.transform.size)
        described["sampler"]["name"] = names[type(self.sampler)]
        described["reader"]["name"] = type(self.reader).__name__
        return described

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], reader: type[Reader] = GreyFrames
    ) -> Preprocessing:
        """Build what `to_config` described, with a reader of the given class.

        Raises ValueError for an unknown sampler, another reader, and an unknown or missing setting.
        """
        try:
            parts = {
                "sampler": _built("sampler", SAMPLERS, config),
                "transform": ClipTransform(**config["transform"]),
                "reader": _built("reader", {reader.__name__: reader}, config),
            }
            return cls(**{**config, **parts})
        except KeyError as error:
            raise ValueError(f"a preprocessing without its {error}") from error
        except TypeError as error:
            raise ValueError(f"a preprocessing that this code does not know: {error}") from error


def _built(what: str, kinds: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    settings = dict(config[what])
    name = settings.pop("name")
    if name not in kinds:
        raise ValueError(f"no {what} {name!r} here; there is {', '.join(kinds)}")
    return _of_settings(kinds[name], settings)


def _of_settings(kind: Any, settings: Mapping[str, Any]) -> Any:
    """Build a dataclass from its `asdict`: a part that is a dataclass too has a default, which
    tells its class."""
    inside = {name for name, value in settings.items() if isinstance(value, Mapping)}
    parts = {
        part.name: _of_settings(part.default_factory, settings[part.name])
        for part in dataclasses.fields(kind)
        if part.name in inside
    }
    return kind(**{**settings, **parts})
