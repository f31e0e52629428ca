"""Features of a frozen backbone, computed once, as fast as the machine can, and kept in shards.

Knows segments, what a model is shown of them (`utils.preprocessing`), and a backbone as something
that maps images to features and tells its `feature_dim` and its `fingerprint()`. Builds no model
and trains none.

Rounds of batches are encoded side by side, see `utils.encoder`; each thread reads the files of its
next batches itself, so that decoding fills the gaps, and no more than two rounds of batches for
each thread are ever in memory.

A shard is the features (V, sum of T_i, D) of some thirty segments in half precision, those of a
file together; V is 2 with horizontal flips, and steps of a segment that cannot be read are nan. It
lies in <cache>/<key>/<number>/<CRC-32>.npy, written whole and read through a memory map. The key is
a hash of everything that the numbers depend on; the CRC-32 is that of key, number and bytes. So a
kill costs the shards under way, damage is noticed and made anew, programs at work on the same
features cannot harm one another, and process r of w takes shards r, r + w, ... Every batch is the
one that a single undisturbed program would have made, so the features are the same to the bit.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn
from tqdm import tqdm

from data.files import DEFAULT, sampled
from data.kth import Segment
from data.video import VideoError
from utils.encoder import CPU_MOST, Encoder, side_by_side
from utils.kept import Kept
from utils.parallel import barrier, gather, is_main_process, rank, world_size
from utils.preprocessing import Preprocessing, Reader, looker

SHARD = 32  # segments, and what more the last round of batches holds: 1.3 MB of 16 frames each
FORMAT = 3  # of the shards; another one is another key


@dataclass
class Features:
    """Features of segments as a source for `VideoDataset`.

    Args:
        items: Features (V, T_i, D) of each item, V 2 with horizontal flips; T_i is 0 where the file
            could not be read. Views into memory-mapped shards will do.
        failed: Why an item could not be read, by its index.
    """

    items: Sequence[ndarray]
    failed: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self):
        self.lengths = np.array([item.shape[1] for item in self.items])

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Return item `index` as (T_i, D) float32; with an rng, flipped half of the time if it can.

        Raises VideoError when its file could not be read.
        """
        item = self.items[index]
        if not item.shape[1]:
            why = self.failed.get(index, "its file could not be read")
            raise VideoError(f"item {index} has no features: {why}")
        flipped = len(item) == 2 and rng is not None and rng.random() < 0.5
        return torch.from_numpy(item[int(flipped)].astype(np.float32))

    def subset(self, indices: Sequence[int]) -> Features:
        """Return these items, in this order."""
        failed = {new: self.failed[old] for new, old in enumerate(indices) if old in self.failed}
        return Features([self.items[index] for index in indices], failed)

    def readable(self) -> list[int]:
        """Return the indices of the items that have features: all, unless files were skipped."""
        return np.flatnonzero(self.lengths).tolist()


def concatenate(parts: Sequence[Features]) -> Features:
    """Put features one after another; horizontal flips stay where all of them have some."""
    items: list[ndarray] = []
    failed: dict[int, str] = {}
    for part in parts:
        failed |= {len(items) + index: why for index, why in part.failed.items()}
        items += part.items
    variants = min(map(len, items))
    return Features([item[:variants] for item in items], failed)


def build_features(
    backbone: nn.Module | None,
    segments: Sequence[Segment],
    shown: Preprocessing,
    *,
    cache_dir: str | Path | None = DEFAULT,
    horizontal_flip: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
    skip_errors: bool = False,
) -> Features:
    """Compute the features of segments, or read them from the cache; a run that was killed goes on
    where it stopped.

    Under several processes each computes its shards, and all return the whole: from the cache,
    which every one of them must see, or else from memory.

    Args:
        backbone: See `Encoder`. Clips that are numbers (T, D) are features already and need none.
        segments: The segments, in the order of the items.
        shown: What the backbone is shown of them; a random sampler draws the same frames for a
            segment every time.
        cache_dir: Where to keep the features, by default `data.files.cache_folder()`; None keeps
            them in memory only, and so, with a warning, does a folder that cannot be written.
        horizontal_flip: Also keep the features of every image flipped left to right.
        batch_size: Images in one pass of the backbone; None takes what suits the device.
        progress: Show a progress bar, and before it how much is to be computed and kept.
        skip_errors: Warn about files that cannot be read and name them in `Features.failed` instead
            of stopping.

    Raises:
        ValueError: There are no segments, or another process would compute other features.
        VideoError: A file cannot be read (unless skip_errors); finished shards stay.
        OSError: The disk of the cache is full, and finished shards stay; or another process failed
            or does not see the cache folder.
    """
    if not segments:
        raise ValueError(
            "no segments to compute features of; check the data folder and the split's persons"
        )
    encoder = None if backbone is None else Encoder(backbone, batch_size=batch_size)
    job = _Job(encoder, segments, shown, 1 + horizontal_flip, skip_errors)
    job.open(cache_dir, _agreed_key(job.description(backbone)))
    todo = [number for number in range(len(job.shards)) if job.missing(number)]
    _announce(job, getattr(backbone, "feature_dim", 0), todo, progress and is_main_process())
    with barrier("computing features"):
        _compute(job, todo, progress and is_main_process())
    _share(job, todo)
    if job.failed and is_main_process():
        reasons = "; ".join(sorted(set(job.failed.values())))
        warnings.warn(
            f"{len(job.failed)} of {len(segments)} segments are left out: {reasons}", stacklevel=2
        )
    return job.features()


def look_at(
    reader: Reader,
    paths: Iterable[Path],
    *,
    cache_dir: str | Path | None = DEFAULT,
    progress: bool = True,
) -> dict[Path, Mapping[str, ndarray]]:
    """Return what a reader's look at each whole file found, kept so that a file is searched once.

    Files for which it returns None are left out. Several processes share the files; `cache_dir` as
    in `build_features`. Raises what the look raises, such as VideoError.
    """
    mine = list(dict.fromkeys(paths))[rank() :: world_size()]
    look = partial(_look, reader, _looks(reader, cache_dir))
    with (
        barrier("looking at files"),
        closing(side_by_side(look, mine, torch.get_num_threads())) as looks,
    ):
        bar = tqdm(looks, "looking", len(mine), leave=False, disable=not progress or rank() > 0)
        found = {path: one for path, one in zip(mine, bar, strict=True) if one is not None}
    return {path: one for part in gather(found) for path, one in part.items()}


def _look(reader: Reader, kept: Kept, path: Path) -> Mapping[str, ndarray] | None:
    name = _key(_file_stamp(path))
    if there := kept.find(name):
        with np.load(io.BytesIO(there[1])) as arrays:
            return dict(arrays)
    found = looker(reader).look(path)
    if found is not None:
        content = io.BytesIO()
        np.savez_compressed(content, **cast(Any, found))
        kept.write(name, ".npz", content.getvalue())
    return found


def _looks(reader: Reader, cache_dir: str | Path | None) -> Kept:
    settings = repr(looker(reader))  # a frozen dataclass says them, and equal ones share a look
    return Kept(cache_dir, f"look-{_key(settings)}")


def _key(described: Any) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]


def _file_stamp(path: Path) -> list[Any]:
    """Folder and name, time of change, size and some content: a file that was replaced is another
    key, and so is one that has another's name, size and time."""
    changed = path.stat().st_mtime_ns if path.is_file() else None
    return ["/".join(path.parts[-2:]), changed, sampled(path)]


@dataclass
class _Job:
    """What is to be computed, cut into shards, and what is there of it.

    Every frame is chosen before any file is opened. A shard is made of whole rounds, so that its
    batches are the same whatever was there before.
    """

    encoder: Encoder | None
    segments: Sequence[Segment]
    shown: Preprocessing
    variants: int
    skip_errors: bool

    def __post_init__(self):
        size, encoder = self.shown.transform.size, self.encoder
        self.batch = encoder.batch_of(*size) if encoder else CPU_MOST
        self.indices = [_frames(self.shown, segment) for segment in self.segments]
        self.steps = [self.shown.frames_out(chosen) for chosen in self.indices]
        self.shards: list[list[int]] = [[]]
        for together in self.rounds(range(len(self.segments))):
            if len(self.shards[-1]) >= SHARD:
                self.shards.append([])
            self.shards[-1] += [item for items in together.values() for item in items]
        self.items: dict[int, ndarray] = {}  # features (V, T_i, D) that are there
        self.failed: dict[int, str] = {}

    def description(self, backbone: Any) -> dict[str, Any]:
        """Return everything that the numbers depend on, in plain values; a segment tells the number
        of its file."""
        numbers = {path: n for n, path in enumerate({s.video.path: 0 for s in self.segments})}
        return {
            "format": [FORMAT, SHARD, self.batch],
            "backbone": backbone and backbone.fingerprint(),
            "precision": str(self.encoder and self.encoder.dtype),
            "preprocessing": self.shown.to_config(),
            "variants": self.variants,
            "segments": [
                [s.name, numbers[s.video.path], s.start, s.stop, s.video.fps] for s in self.segments
            ],
            "files": [_file_stamp(path) for path in numbers],
        }

    def rounds(self, items: Iterable[int]) -> Iterator[dict[Path, list[int]]]:
        """Cut items into rounds of at least a batch, by file: a file is opened once, in one
        round."""
        by_file: dict[Path, list[int]] = {}
        for item in items:
            by_file.setdefault(self.segments[item].video.path, []).append(item)
        together: dict[Path, list[int]] = {}
        images = 0
        for path, of_file in by_file.items():
            together[path] = of_file
            images += sum(self.steps[item] for item in of_file) * self.variants
            if images >= self.batch:
                yield together
                together, images = {}, 0
        if together:
            yield together

    def missing(self, number: int) -> list[int]:
        """Return the items of a shard that are to be computed."""
        return [item for item in self.shards[number] if item not in self.items]

    def open(self, cache_dir: str | Path | None, key: str) -> None:
        """Take over the shards that are there."""
        self.kept, self.looks = Kept(cache_dir, key), _looks(self.shown.reader, cache_dir)
        for number in range(len(self.shards)):
            self.load(number)

    def load(self, number: int) -> None:
        """Take over a shard from the cache, through a memory map, if it is there."""
        if there := self.kept.find(f"{number:05}"):
            path, content = there
            array, shard = np.load(io.BytesIO(content)), self.shards[number]
            read = self._split(array, shard)
            mapped = self._split(_mapped(path, len(content), array), shard)
            self.items |= {
                item: view
                for item, part, view in zip(shard, read, mapped, strict=True)
                if not np.isnan(part[0, 0, 0])
            }

    def keep(self, number: int, features: Mapping[int, ndarray]) -> None:
        """Take what could be had of what was missing of a shard, and write the shard."""
        if features:
            self.items |= features
            nothing = np.full_like(next(iter(features.values()))[:, :1], np.nan)
            parts = [
                self.items.get(item, nothing.repeat(self.steps[item], axis=1))
                for item in self.shards[number]
            ]
            content = io.BytesIO()
            np.save(content, np.concatenate(parts, axis=1))
            self.kept.write(f"{number:05}", ".npy", content.getvalue())
            self.load(number)

    def features(self) -> Features:
        """Return what is there, in the order of the segments."""
        nothing = next(iter(self.items.values()), np.empty((1, 0, 0), np.float16))[:, :0]
        items = [self.items.get(item, nothing) for item in range(len(self.segments))]
        return Features(items, self.failed)

    def encoded(self, together: dict[Path, list[int]]) -> dict[int, ndarray]:
        """Read and encode the clips of a round: features (V, T_i, D) by item."""
        clips: dict[int, Tensor] = {}
        for path, items in together.items():
            clips |= self._read(path, items)
        if not clips:
            return {}
        images = torch.cat(list(clips.values()))  # (sum of T_i, C, H, W)
        if images.ndim == 2:  # numbers (sum of T_i, D) are features already, and have no sides
            encoded = images[None].numpy()
        else:
            assert self.encoder is not None, "images need a backbone"
            views = [images, images.flip(-1)][: self.variants]
            encoded = np.stack([self.encoder(view) for view in views])  # (V, sum of T_i, D)
        parts = self._split(encoded.astype(np.float16), clips)
        return dict(zip(clips, parts, strict=True))

    def _split(self, array: ndarray, items: Iterable[int]) -> list[ndarray]:
        """Cut features (V, sum of T_i, D) into those of each item."""
        return np.split(array, np.cumsum([self.steps[item] for item in items])[:-1], axis=1)

    def _read(self, path: Path, items: Sequence[int]) -> dict[int, Tensor]:
        """Read clips of a file in one pass; where that fails, save those before the damage."""
        try:
            found = _look(self.shown.reader, self.looks, path)
            clips = self.shown.clips(path, [self.indices[item] for item in items], found)
            return dict(zip(items, clips, strict=True))
        except (VideoError, FileNotFoundError) as error:
            if not self.skip_errors:
                raise
            if len(items) == 1:
                self.failed[items[0]] = str(error)
                return {}
            return {i: clip for item in items for i, clip in self._read(path, [item]).items()}


def _frames(shown: Preprocessing, segment: Segment) -> ndarray:
    rng = np.random.default_rng(zlib.crc32(segment.name.encode(errors="backslashreplace")))
    return shown.frames(segment.start, segment.stop, segment.video.fps, rng)


def _mapped(path: Path, size: int, array: ndarray) -> ndarray:
    """Return an array that was just read from the end of a file of `size` bytes as a map of it.

    numpy's own maps keep their files open, and a program may open about a thousand.
    """
    content = torch.from_file(str(path), size=size, dtype=torch.uint8).numpy()
    content.flags.writeable = False
    return content[size - array.nbytes :].view(array.dtype).reshape(array.shape)


def _agreed_key(description: Mapping[str, Any]) -> str:
    """Refuse processes that would compute other numbers; when their copies of the files were made
    may differ."""
    first, *others = gather(description)
    unlike = [
        name for name in first if name != "files" and any(o[name] != first[name] for o in others)
    ]
    if unlike:
        raise ValueError(
            f"the processes differ in {', '.join(unlike)} of the features to compute; start all "
            "with the same weights and data, on machines of the same kind"
        )
    return _key(first)


def _announce(job: _Job, dim: int, todo: Sequence[int], progress: bool) -> None:
    """Say how much is to be computed and kept."""
    items = [item for number in todo for item in job.missing(number)]
    steps = sum(job.steps[item] for item in items)
    job.kept.megabytes = 2 * job.variants * steps * dim / 1e6
    if items and progress:
        tqdm.write(
            f"features of {len(items)} segments, {steps:,} frames"
            f"{', also flipped' if job.variants == 2 else ''}: {job.kept.megabytes:.0f} MB in "
            f"{job.kept.folder or 'memory'}"
        )


def _compute(job: _Job, todo: Sequence[int], progress: bool) -> None:
    """Fill this process's shards in their order, round by round; whatever stops it, finished ones
    stay."""
    mine = [number for number in todo if number % world_size() == rank()]

    def rounds() -> Iterator[tuple[int, bool, dict[Path, list[int]]]]:
        for number in mine:
            job.load(number)  # another program may have finished it meanwhile
            together = list(job.rounds(job.missing(number)))
            yield from ((number, one is together[-1], one) for one in together)

    results = side_by_side(
        lambda work: (*work, job.encoded(work[2])), rounds(), torch.get_num_threads()
    )
    segments = sum(len(job.missing(number)) for number in mine)
    features: dict[int, ndarray] = {}
    with (
        tqdm(
            desc="features",
            total=segments,
            unit="segment",
            disable=not (progress and segments),
            leave=False,
        ) as bar,
        closing(results),
    ):  # closing: threads end with the first error, not when somebody forgets the traceback
        for number, last, together, part in results:
            features |= part
            bar.update(sum(map(len, together.values())))
            if last:
                job.keep(number, features)
                features = {}


def _share(job: _Job, todo: Sequence[int]) -> None:
    """Take over the shards of the other processes: from the cache, or else from their memory."""
    in_memory = {item: array for item, array in job.items.items() if array.flags.writeable}
    for items, failed in gather((in_memory, job.failed)):
        job.items |= items
        job.failed |= failed
    with barrier("reading the shards of other processes"):
        for number in todo:
            if job.missing(number):
                job.load(number)
            if set(job.missing(number)) - job.failed.keys():
                raise FileNotFoundError(
                    f"process {rank()} does not find features that another process computed in "
                    f"{job.kept.folder}: all processes must share the cache folder; choose one "
                    "that all machines see (HAR_CACHE), or no cache"
                )
