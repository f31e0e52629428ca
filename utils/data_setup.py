"""From segments to batches: which frames (samplers), reading them, turning them into clips, loading
them in batches.

Knows `data.kth`'s segments, pixels and tensors. Does not know models, features or training.
Training, evaluation, prediction and pictures all come through here, so that preprocessing exists
once.

The way of a clip: sampler -> frames (T, H, W) uint8 -> transform -> clip (T, C, H, W) float32 in
[0, 1] -> batch (B, T, C, H, W) with a mask (B, T) of the frames that are there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.kth import Segment, check_disjoint
from data.video import read_frames
from utils.parallel import rank, world_size

MOST_WORKERS = (
    4  # processes that decode for one loader: each holds two batches ready, which is memory
)
Sampler = Callable[..., np.ndarray]  # (num_frames, rng=None) -> int64 indices, ascending


# samplers: which frames of a segment; all but the random ones ignore the rng


@dataclass(frozen=True)
class Middle:
    """The middle frame alone."""

    def __call__(self, num_frames: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return one index of 0..num_frames-1."""
        return Uniform(frames=1)(num_frames)


@dataclass(frozen=True)
class Uniform:
    """The centres of `frames` equal parts; every frame once when the segment has no more than
    that."""

    frames: int = 16

    def __post_init__(self):
        _at_least_one(self)

    def __call__(self, num_frames: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1."""
        _check_length(num_frames)
        if num_frames <= self.frames:
            return np.arange(num_frames, dtype=np.int64)
        # (part + 1/2) * length / parts, floored; in integers, so that no rounding error moves a
        # frame
        return (2 * np.arange(self.frames, dtype=np.int64) + 1) * num_frames // (2 * self.frames)


@dataclass(frozen=True)
class Jittered:
    """One random frame of each of `frames` equal parts: the training counterpart of Uniform."""

    frames: int = 16

    def __post_init__(self):
        _at_least_one(self)

    def __call__(self, num_frames: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1; needs an rng."""
        _check_length(num_frames)
        rng = _required(rng, self)
        if num_frames <= self.frames:
            return np.arange(num_frames, dtype=np.int64)
        edges = np.arange(self.frames + 1, dtype=np.int64) * num_frames // self.frames
        return rng.integers(edges[:-1], edges[1:], dtype=np.int64)


@dataclass(frozen=True)
class Window:
    """`frames` frames `stride` apart around the middle: time as it is; fewer frames when the
    segment is too short."""

    frames: int = 16
    stride: int = 2

    def __post_init__(self):
        _at_least_one(self)

    def __call__(self, num_frames: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1."""
        offsets = _window(self, num_frames)
        return (num_frames - 1 - offsets[-1]) // 2 + offsets


@dataclass(frozen=True)
class RandomWindow:
    """A Window at a random place: its training counterpart."""

    frames: int = 16
    stride: int = 2

    def __post_init__(self):
        _at_least_one(self)

    def __call__(self, num_frames: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """Return at most `frames` ascending indices of 0..num_frames-1; needs an rng."""
        offsets = _window(self, num_frames)
        return _required(rng, self).integers(num_frames - offsets[-1]) + offsets


SAMPLERS = {
    "middle": Middle,
    "uniform": Uniform,
    "jittered": Jittered,
    "window": Window,
    "random_window": RandomWindow,
}


def sampler_config(sampler: Any) -> dict[str, Any]:
    """Describe a sampler in plain values, such as {"name": "uniform", "frames": 16}."""
    for name, kind in SAMPLERS.items():
        if type(sampler) is kind:
            return {"name": name, **dataclasses.asdict(cast(Any, sampler))}
    raise ValueError(f"{sampler!r} is none of the samplers {', '.join(SAMPLERS)}")


def make_sampler(config: Mapping[str, Any]) -> Sampler:
    """Build the sampler that `sampler_config` described; ValueError for an unknown name or
    setting."""
    settings = dict(config)
    name = settings.pop("name", None)
    if name not in SAMPLERS:
        raise ValueError(f"there is no sampler {name!r}; the samplers are {', '.join(SAMPLERS)}")
    return _built(SAMPLERS[name], settings)


def _built(kind: type, settings: Mapping[str, Any]) -> Any:
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(
            f"{kind.__name__} has no setting {', '.join(unknown)}; it has "
            f"{', '.join(known) or 'none'}"
        )
    return kind(**settings)


def _at_least_one(sampler: Any) -> None:
    for name, value in dataclasses.asdict(sampler).items():
        if value < 1:
            raise ValueError(f"{type(sampler).__name__}: {name} is {value}; it must be 1 or more")


def _check_length(num_frames: int) -> None:
    if num_frames < 1:
        raise ValueError(f"cannot sample from {num_frames} frames; a segment needs at least 1")


def _required(rng: np.random.Generator | None, sampler: Any) -> np.random.Generator:
    if rng is None:
        raise ValueError(
            f"{type(sampler).__name__} is random and got no rng; evaluation takes Uniform or Window"
        )
    return rng


def _window(sampler: Window | RandomWindow, num_frames: int) -> np.ndarray:
    _check_length(num_frames)
    count = min(sampler.frames, (num_frames - 1) // sampler.stride + 1)
    return np.arange(count, dtype=np.int64) * sampler.stride


# from frames to clips


@dataclass(frozen=True)
class ClipTransform:
    """Grey frames to a clip the backbone takes: padded to the target's shape by repeating the
    border, then resized.

    Args:
        size: Height and width of the clip in pixels.
        pool: "none" keeps the frames; "mean" averages them into one, the ghost frame.
        channels: 1, or 3 to repeat the grey picture for a three-channel network.
        gap: Motion as colour: above 0, the three channels are the frames `gap` before, at and `gap`
            after a moment instead of one picture three times, and frames come in such threes; see
            `with_neighbours`.
    """

    size: tuple[int, int] = (96, 128)
    pool: str = "none"
    channels: int = 1
    gap: int = 0

    def __post_init__(self):
        object.__setattr__(self, "size", tuple(int(side) for side in self.size))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"size is {self.size}; it takes (height, width) in pixels")
        if self.pool not in ("none", "mean"):
            raise ValueError(f'pool is {self.pool!r}; it takes "none" or "mean"')
        if self.channels not in (1, 3):
            raise ValueError(f"channels is {self.channels}; it takes 1 or 3")
        if self.gap < 0 or (self.gap and (self.channels, self.pool) != (3, "none")):
            raise ValueError(
                f"gap is {self.gap} with channels {self.channels} and pool {self.pool!r}; it "
                "takes 0, "
                'or a number of frames with 3 channels and pool "none"'
            )

    def with_neighbours(self, indices: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Return the frames to read for the moments `indices`: themselves, or threes that stay
        inside start..stop."""
        if not self.gap:
            return indices
        threes = indices[:, None] + np.array([-self.gap, 0, self.gap])  # (T, 3)
        return threes.clip(start, stop - 1).ravel()

    def __call__(self, frames: np.ndarray) -> Tensor:
        """Turn frames (T0, H0, W0) uint8 into a clip (T, C, H, W) float32 in [0, 1].

        T is 1 when pooling, T0 / 3 with a gap, else T0.
        """
        if frames.ndim != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
            raise ValueError(
                f"the transform got {frames.dtype} of shape {frames.shape}; it takes grey frames "
                "(T, H, W) uint8"
            )
        if self.gap and len(frames) % 3:
            raise ValueError(
                f"the transform got {len(frames)} frames; with gap {self.gap} they come in threes"
            )
        pictures = (
            frames.mean(axis=0, keepdims=True, dtype=np.float32) if self.pool == "mean" else frames
        )
        clip = np.empty((len(pictures), *self.size), dtype=np.float32)
        for fitted, picture in zip(clip, pictures, strict=True):
            fitted[:] = self._fitted(picture.astype(np.float32))
        clip *= 1 / 255
        if self.gap:
            return torch.from_numpy(clip).unflatten(0, (-1, 3))  # (T, 3, H, W)
        return torch.from_numpy(clip)[:, None].expand(-1, self.channels, -1, -1)

    def frames_out(self, frames_in: int) -> int:
        """Return how many pictures a clip of `frames_in` frames has."""
        return 1 if self.pool == "mean" else frames_in // 3 if self.gap else frames_in

    def to_config(self) -> dict[str, Any]:
        """Describe the transform in plain values, from which `make_transform` builds it again."""
        return {
            "size": list(self.size),
            "pool": self.pool,
            "channels": self.channels,
            "gap": self.gap,
        }

    def _fitted(self, picture: np.ndarray) -> np.ndarray:
        picture = self._padded(picture)
        if picture.shape == self.size:
            return picture
        shrinks = picture.shape[0] >= self.size[0] and picture.shape[1] >= self.size[1]
        how = (
            cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )  # area averages, so that thin limbs do not flicker
        return cv2.resize(picture, self.size[::-1], interpolation=how)

    def _padded(self, picture: np.ndarray) -> np.ndarray:
        """Pad to the target's shape: people keep their proportions, and a repeated border adds no
        edge."""
        (height, width), (tall, wide) = picture.shape, self.size
        down, across = (
            max(0, round(width * tall / wide) - height),
            max(0, round(height * wide / tall) - width),
        )
        if not (down or across):
            return picture
        edges = (down // 2, down - down // 2, across // 2, across - across // 2)
        return cv2.copyMakeBorder(picture, *edges, cv2.BORDER_REPLICATE)


def make_transform(config: Mapping[str, Any]) -> ClipTransform:
    """Build the transform that `ClipTransform.to_config` described; ValueError for an unknown
    setting."""
    return _built(ClipTransform, config)


@dataclass(frozen=True)
class Augment:
    """Random changes of a training clip that leave its action as it is; all frames of a clip are
    treated alike.

    Args:
        flip: Probability of mirroring left and right.
        brightness: Largest shift of all values, up or down.
        contrast: Largest relative change of the distance from the clip's mean.
        crop: Largest share of height and width that is cut away before the clip is scaled back to
            its size.
    """

    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    crop: float = 0.1

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value <= 1 or (name == "crop" and value == 1):
                raise ValueError(f"Augment: {name} is {value}; it must lie between 0 and 1")

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Return a changed copy of a clip (T, C, H, W) in [0, 1], of the same shape and range."""
        flip, shift, stretch = rng.random() < self.flip, *rng.uniform(-1, 1, size=2)
        clip = self._cropped(clip, rng)
        if flip:
            clip = clip.flip(-1)
        mean = clip.mean()
        return (
            (clip - mean) * (1 + self.contrast * stretch) + mean + self.brightness * shift
        ).clamp(0, 1)

    def _cropped(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        height, width = clip.shape[-2:]
        share = 1 - self.crop * rng.random()
        tall, wide = max(1, round(height * share)), max(1, round(width * share))
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        if (tall, wide) == (height, width):
            return clip
        part = clip[..., top : top + tall, left : left + wide]
        return torch.nn.functional.interpolate(
            part, size=(height, width), mode="bilinear", align_corners=False
        )


# data sets


class Source(Protocol):
    """What a VideoDataset reads from: clips of videos, or features computed once."""

    def __len__(self) -> int:
        """Return the number of items."""

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Return item `index` as (T, ...); rng None means no randomness."""


class ClipSource:
    """Clips read from the video files each time they are asked for.

    Args:
        segments: The segments, in the order of the items.
        sampler: Which frames of a segment.
        transform: Frames to clip.
        augment: Random changes of the clip, made only when an rng is given.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        sampler: Sampler,
        transform: ClipTransform,
        augment: Augment | None = None,
    ):
        self.segments = list(segments)
        self.sampler, self.transform, self.augment = sampler, transform, augment

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.segments)

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Read segment `index` as a clip (T, C, H, W); VideoError when its file cannot give the
        frames."""
        segment = self.segments[index]
        chosen = segment.start + self.sampler(len(segment), rng)
        wanted = self.transform.with_neighbours(chosen, segment.start, segment.stop)
        clip = self.transform(read_frames(segment.video.path, wanted))
        return clip if rng is None or self.augment is None else self.augment(clip, rng)


class VideoDataset(Dataset):
    """Labelled items of any source; the same (seed, epoch, index) gives the same item, in any
    worker and any order.

    Args:
        segments: The segments; they carry the labels.
        source: Holds one item per segment, in the same order.
        seed: Start of the random numbers; None for evaluation, where nothing may be random.
    """

    def __init__(self, segments: Sequence[Segment], source: Source, *, seed: int | None = 0):
        if len(segments) != len(source):
            raise ValueError(
                f"{len(segments)} segments for a source of {len(source)} items; each needs its own"
            )
        self.segments, self.source, self.seed, self.epoch = list(segments), source, seed, 0
        self.labels = [segment.label for segment in self.segments]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.segments)

    def set_epoch(self, epoch: int) -> None:
        """Let items of this epoch differ from those of another."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {"input": tensor (T, ...), "label": int, "index": int}."""
        rng = None if self.seed is None else np.random.default_rng((self.seed, self.epoch, index))
        return {"input": self.source.load(index, rng), "label": self.labels[index], "index": index}


def collate(batch: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Stack items of different lengths, padding time with zeros.

    Returns:
        {"input": (B, T, ...), "mask": (B, T) bool, True where a frame is there, "label": (B,),
        "index": (B,)}.
    """
    lengths = [len(item["input"]) for item in batch]
    first = batch[0]["input"]
    inputs = first.new_zeros(len(batch), max(lengths), *first.shape[1:])
    mask = torch.zeros(len(batch), max(lengths), dtype=torch.bool)
    for row, (item, length) in enumerate(zip(batch, lengths, strict=True)):
        inputs[row, :length] = item["input"]
        mask[row, :length] = True
    return {
        "input": inputs,
        "mask": mask,
        "label": torch.tensor([item["label"] for item in batch]),
        "index": torch.tensor([item["index"] for item in batch]),
    }


class Batches(torch.utils.data.Sampler[list[int]]):
    """Which items make a batch: a function of (seed, epoch) alone, whole or one process's share of
    every batch.

    Process r of w takes items r, r + w, ... of each batch, so that the shares of all are one
    process's batch. In evaluation nothing is dropped or doubled: a process may get fewer items than
    another, or none. In training every process takes part in every step: one whose share of a short
    last batch is empty gets the batch's first item, which `counts` says not to count.

    Args:
        items: Number of items of the data set.
        batch_size: Items in a batch, over all processes.
        train: Shuffle, anew in every epoch.
        seed: Start of the shuffling.
        share: Number of this process and of all processes.
    """

    def __init__(
        self,
        items: int,
        batch_size: int,
        *,
        train: bool = False,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        self.items, self.batch_size, self.train, self.seed = items, batch_size, train, seed
        self.rank, self.world = share
        self.epoch = self.start = 0

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, wherever the next pass starts."""
        return -(-self.items // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Give this process's share of each batch, from the batch set by `set_epoch`; later passes
        are whole."""
        start, self.start = self.start, 0
        order = self.order()
        for first in range(start * self.batch_size, self.items, self.batch_size):
            batch = order[first : first + self.batch_size]
            share = batch[self.rank :: self.world]
            if share or self.train:
                yield share or batch[:1]

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the order of an epoch, and the batch (from 0) at which the next pass through it
        starts."""
        if not 0 <= start <= len(self):
            raise ValueError(f"an epoch of {len(self)} batches cannot start at batch {start}")
        self.epoch, self.start = epoch, start

    def order(self) -> list[int]:
        """Return all items in the order of this epoch."""
        if not self.train:
            return list(range(self.items))
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.items).tolist()

    def counts(self, number: int) -> tuple[int, int]:
        """Return how many items of batch `number` (from 0) count in this process, and how many in
        all."""
        everywhere = min(self.batch_size, self.items - number * self.batch_size)
        return len(range(self.rank, everywhere, self.world)), everywhere

    def to_config(self) -> dict[str, int]:
        """Describe in plain values what makes the order; the number of processes does not."""
        return {"items": self.items, "batch_size": self.batch_size, "seed": self.seed}


def create_dataloaders(
    datasets: Mapping[str, VideoDataset],
    *,
    batch_size: int,
    workers: int | None = None,
    seed: int = 0,
) -> dict[str, DataLoader]:
    """Build a loader per split; "train" is shuffled by the seed and the epoch, the others keep
    their order.

    Under several processes each gets its share of every batch, see `Batches`; batch_size is that of
    all together. `workers` is the number of processes that read and decode for a loader, 0 for
    none. None leaves features, which are there already, to this process, and gives clips one a
    core, 4 at most. Items are the same whoever makes them. A loader's workers live as long as one
    pass through it, so each pass knows the epoch set before. This process keeps OpenCV to one
    thread from then on.

    Raises:
        ValueError: A person is in two splits, a split is empty, or a batch size below 1.
    """
    batches = {
        name: Batches(
            len(dataset), batch_size, train=name == "train", seed=seed, share=(rank(), world_size())
        )
        for name, dataset in datasets.items()
    }
    empty = [name for name, dataset in datasets.items() if len(dataset) == 0]
    if empty:
        raise ValueError(
            f"no segments in {', '.join(empty)}: check the data folder and the split's persons"
        )
    check_disjoint({name: dataset.segments for name, dataset in datasets.items()})
    counts = {
        name: _workers_for(dataset) if workers is None else workers
        for name, dataset in datasets.items()
    }
    if any(counts.values()):
        cv2.setNumThreads(1)  # a worker forked while OpenCV has threads crashes or hangs
    return {
        name: DataLoader(
            dataset,
            batch_sampler=batches[name],
            num_workers=counts[name],
            collate_fn=collate,
            worker_init_fn=_quiet_worker,
            pin_memory=torch.cuda.is_available(),
        )
        for name, dataset in datasets.items()
    }


def _workers_for(dataset: VideoDataset) -> int:
    """Return how many processes shall make a data set's items: only clips are worth any."""
    if not isinstance(dataset.source, ClipSource):
        return 0
    return max(
        1, min(MOST_WORKERS, (os.cpu_count() or 1) // world_size())
    )  # the processes share the cores


def _quiet_worker(worker: int) -> None:
    """Keep a loader's worker to one thread; workers are the parallelism, and OpenCV's own would
    fight them."""
    cv2.setNumThreads(1)
