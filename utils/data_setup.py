"""From segments to batches: data sets of clips or of features, and how they are loaded in batches.

Knows what a model is shown (`utils.preprocessing`), segments and tensors. Does not know models,
features or training.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from data.files import StrPath
from data.folders import as_labelled
from data.items import Segment, check_disjoint, classes_of
from data.kth import find_segments
from data.processes import usable_cores
from data.video import probe
from utils.parallel import rank, world_size
from utils.preprocessing import (
    ClipTransform,
    FixedStride,
    GreyFrames,
    Jittered,
    Middle,
    Preprocessing,
    RandomFixedStride,
    Reader,
    Sampler,
    Uniform,
)
from utils.threads import one_thread

# a loader's processes that decode: each holds two batches ready, which is memory
MOST_WORKERS = 4
SPREAD = 8  # frames shown of a segment where nobody says what

__all__ = [
    "Augment",
    "Batches",
    "ClipSource",
    "ClipTransform",
    "FixedStride",
    "GreyFrames",
    "Jittered",
    "Middle",
    "Preprocessing",
    "RandomFixedStride",
    "Reader",
    "Sampler",
    "Source",
    "Uniform",
    "VideoDataset",
    "as_batch",
    "collate",
    "create_dataloaders",
]


@dataclass(frozen=True)
class Augment:
    """Random changes of a training clip that leave its action as it is, alike for all frames.

    Args:
        flip: Probability of a horizontal flip.
        brightness: Largest shift of all values, up or down.
        contrast: Largest relative change of the distance from the clip's mean.
        crop: Largest share of height and width that is cut away before the clip is scaled back.
    """

    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    crop: float = 0.1

    def __post_init__(self):
        for name, value in asdict(self).items():
            if not 0 <= value <= 1 or (name == "crop" and value == 1):
                raise ValueError(f"Augment: {name} is {value}; it must lie between 0 and 1")

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Return a changed copy of a clip (T, C, H, W) in [0, 1], of the same shape and range.

        In one thread, as loaders' workers have: in several, torch adds up the mean in another
        order.
        """
        with one_thread():
            return self._changed(clip, rng)

    def _changed(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        flip, shift, stretch = rng.random() < self.flip, *rng.uniform(-1, 1, size=2)
        clip = self._cropped(clip, rng)
        if flip:
            clip = clip.flip(-1)
        mean = clip.mean()
        scaled = (clip - mean) * (1 + self.contrast * stretch) + mean
        return (scaled + self.brightness * shift).clamp(0, 1)

    def _cropped(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        height, width = clip.shape[-2:]
        share = 1 - self.crop * rng.random()
        tall, wide = max(1, round(height * share)), max(1, round(width * share))
        top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        if (tall, wide) == (height, width):
            return clip
        part = clip[..., top : top + tall, left : left + wide]
        return nn.functional.interpolate(part, size=(height, width), mode="bilinear")


# data sets


class Source(Protocol):
    """What a VideoDataset reads from: clips of videos, or features computed once."""

    def __len__(self) -> int:
        """Return the number of items."""

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Return item `index` as (T, ...); rng None means no randomness."""

    def subset(self, indices: Sequence[int]) -> "Source":
        """Return these items, in this order."""


class ClipSource:
    """Clips read from the video files each time they are asked for.

    Args:
        segments: The segments, in the order of the items.
        shown: What is read of them; where it samples at random, an rng must be given.
        augment: Random changes of the clip, made only when an rng is given; numbers (T, D) stay.
        found: What the reader's look at each file gave, by path; see `utils.features.look_at`.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        shown: Preprocessing,
        *,
        augment: Augment | None = None,
        found: Mapping[Path, Mapping[str, np.ndarray]] | None = None,
    ):
        self.segments, self.shown, self.augment = list(segments), shown, augment
        self.found = found or {}

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.segments)

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Read segment `index` as a clip; VideoError when its file cannot give the frames."""
        segment = self.segments[index]
        clip = self.shown.clip(segment, rng, self.found.get(segment.video.path))
        if rng is None or self.augment is None or clip.ndim == 2:
            return clip
        images, told = clip.split([c := self.shown.channels, clip.shape[1] - c], 1)
        return torch.cat([self.augment(images, rng), told], 1)

    def subset(self, indices: Sequence[int]) -> "ClipSource":
        """Return these items, in this order."""
        chosen = [self.segments[index] for index in indices]
        return ClipSource(chosen, self.shown, augment=self.augment, found=self.found)


class VideoDataset(Dataset):
    """Labelled items of any source; (seed, epoch, index) decide an item, in any worker and order.

    `classes` are the names of the labels.

    Args:
        segments: The segments, which carry the labels; or a folder <class>/<file>, all segments of
            which are taken; or a list of such files, each of them whole.
        source: Holds one item per segment, in the same order; or says what is shown of each; None
            shows eight frames spread over it.
        seed: Start of the random numbers; None for evaluation, where nothing may be random.

    Raises:
        FileNotFoundError: There is no video in the folder, or of the files.
        ValueError: There is another number of items, or a segment's action is none of its classes.
    """

    def __init__(
        self,
        segments: Sequence[Segment] | StrPath | Sequence[StrPath],
        source: Source | Preprocessing | None = None,
        *,
        seed: int | None = None,
    ):
        self.segments, self.seed, self.epoch = _as_segments(segments), seed, 0
        if source is None or isinstance(source, Preprocessing):
            source = ClipSource(self.segments, source or Preprocessing(Uniform(SPREAD)))
        if len(self.segments) != len(source):
            raise ValueError(
                f"{len(self.segments)} segments for a source of {len(source)} items; each needs "
                "its own"
            )
        self.source, self.classes = source, classes_of(self.segments)
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
        item = self.source.load(index, rng)
        return {"input": item, "label": self.labels[index], "index": index}

    def subset(self, indices: Sequence[int], *, seed: int | None = None) -> "VideoDataset":
        """Return a data set of these items, in this order; with a seed it is one to train on."""
        chosen = [self.segments[index] for index in indices]
        return VideoDataset(chosen, self.source.subset(indices), seed=seed)


def _as_segments(given: Any) -> list[Segment]:
    """Return segments as they are, those of a folder, or files as one segment each."""
    if isinstance(given, str | os.PathLike):
        return find_segments(given)
    if not all(isinstance(one, str | os.PathLike) for one in given) or not given:
        return list(given)
    videos = as_labelled(list(given))
    return [Segment(video, 0, 0, probe(video.path).frames) for video in videos]


def as_batch(batch: Any, first: int) -> Mapping[str, Tensor]:
    """Return a batch of `collate` as it is; of a pair (input, label), as TensorDataset gives, every
    step counts and `first` is the index of its first item.

    Raises TypeError for anything else.
    """
    if isinstance(batch, Mapping):
        return batch
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        raise TypeError(
            f"a batch is a {type(batch).__name__}; it takes {{'input', 'mask', 'label', 'index'}}, "
            "as utils.data_setup.collate gives, or a pair (input, label)"
        )
    inputs, labels = batch
    return {
        "input": inputs,
        "mask": torch.ones(inputs.shape[:2], dtype=torch.bool),
        "label": labels,
        "index": torch.arange(first, first + len(labels)),
    }


def collate(batch: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Stack items of different lengths, padding time with zeros.

    Returns:
        {"input": (B, T, ...), "mask": (B, T) bool, True where a frame is there, "label": (B,),
        "index": (B,)}.
    """
    clips = [item["input"] for item in batch]
    lengths = [len(clip) for clip in clips]
    return {
        "input": pad_sequence(clips, batch_first=True),
        "mask": torch.arange(max(lengths)) < torch.tensor(lengths)[:, None],
        "label": torch.tensor([item["label"] for item in batch]),
        "index": torch.tensor([item["index"] for item in batch]),
    }


class Batches(torch.utils.data.Sampler[list[int]]):
    """Which items make a batch: a function of (seed, epoch) alone, whole or one process's shard of
    every batch.

    Process r of w takes items r, r + w, ... of each batch, so that the shards of all are one
    process's batch. In evaluation nothing is dropped or doubled: a process may get fewer items than
    another, or none. In training every process takes part in every step: one whose shard of a short
    last batch is empty gets the batch's first item, which `counts` says not to count.

    Args:
        items: Number of items of the data set.
        batch_size: Items in a batch, over all processes.
        train: Shuffle, anew in every epoch.
        seed: Start of the shuffling.
        shard: Number of this process and of all processes.
    """

    def __init__(
        self,
        items: int,
        batch_size: int,
        *,
        train: bool = False,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        self.items, self.batch_size, self.train, self.seed = items, batch_size, train, seed
        self.rank, self.world = shard
        self.epoch = self.start = 0

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, wherever the next pass starts."""
        return -(-self.items // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Give this process's shard of each batch, from the batch set by `set_epoch`; later passes
        are whole."""
        start, self.start = self.start, 0
        order = self.order()
        for first in range(start * self.batch_size, self.items, self.batch_size):
            batch = order[first : first + self.batch_size]
            own = batch[self.rank :: self.world]
            if own or self.train:
                yield own or batch[:1]

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
    disjoint: bool = True,
) -> dict[str, DataLoader]:
    """Build a loader per split; "train" is shuffled by the seed and the epoch, the others keep
    their order.

    Under several processes each gets its shard of every batch, see `Batches`; batch_size is that of
    all together. `workers` is the number of processes that read and decode for a loader, 0 for
    none. None leaves features, which are there already, to this process, and gives clips one a
    core, 4 at most. Items are the same whoever makes them. A loader's workers live as long as one
    pass through it, so each pass knows the epoch set before. This process keeps OpenCV to one
    thread from then on.

    With disjoint=False persons may be on several sides: only to show what that does.

    Raises:
        ValueError: A person is in two splits, a split is empty, or a batch size below 1.
    """
    if empty := [name for name, dataset in datasets.items() if len(dataset) == 0]:
        raise ValueError(
            f"no segments in {', '.join(empty)}: check the data folder and the split's persons"
        )
    if disjoint:
        check_disjoint({name: dataset.segments for name, dataset in datasets.items()})
    loaders, shard = {}, (rank(), world_size())
    for name, dataset in datasets.items():
        count = _workers_for(dataset) if workers is None else workers
        if count:
            cv2.setNumThreads(1)  # a worker forked while OpenCV has threads crashes or hangs
        train = name == "train"
        loaders[name] = DataLoader(
            dataset,
            batch_sampler=Batches(len(dataset), batch_size, train=train, seed=seed, shard=shard),
            num_workers=count,
            collate_fn=collate,
            worker_init_fn=_quiet_worker,
            pin_memory=torch.cuda.is_available(),
        )
    return loaders


def _workers_for(dataset: VideoDataset) -> int:
    """Return how many processes shall make a data set's items: only clips are worth any."""
    if not isinstance(dataset.source, ClipSource):
        return 0
    # the processes share the cores
    return max(1, min(MOST_WORKERS, usable_cores() // world_size()))


def _quiet_worker(worker: int) -> None:
    """Keep a loader's worker to one thread; workers are the parallelism, and OpenCV's own would
    fight them."""
    cv2.setNumThreads(1)
