"""Features of a frozen backbone, computed once and kept on disk.

Knows segments, samplers and transforms from `utils.data_setup`, and a backbone as something that maps pictures
(N, C, H, W) to features (N, D), tells its `feature_dim` and its `fingerprint()`. Builds no model and trains none.

A cache is two files, <key>.npy with half-precision features (N, V, T, D) (V = 2 when mirrored clips are kept too) and
<key>.json with the length of every item. While it is being made, the features lie in <key>.partial and the JSON lists
what is finished, so that a killed run goes on where it stopped. The key names everything the numbers depend on.
"""

import copy
import errno
import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from data.kth import Segment, VideoError
from utils.data_setup import ClipTransform, Sampler, read_segments, sampler_config

CACHE_FORMAT, CACHE_VERSION = "har-features", 1


class FeatureStore:
    """Features of segments as a source for `VideoDataset`.

    Args:
        features: Features (N, T, D), any float type.
        lengths: How many of the T steps of each item are there (N); 0 for an item that could not be read.
        mirrored: The same for clips mirrored left and right, or None.
        failed: Why an item could not be read, by its index.
    """

    def __init__(self, features: np.ndarray, lengths: np.ndarray, mirrored: np.ndarray | None = None,
                 failed: dict[int, str] | None = None):
        lengths = np.asarray(lengths, dtype=np.int64)
        if features.ndim != 3 or lengths.shape != features.shape[:1] or lengths.max(initial=0) > features.shape[1]:
            raise ValueError(f"features of shape {features.shape} with lengths of shape {lengths.shape} (longest "
                             f"{lengths.max(initial=0)}); expected (N, T, D) and (N,), none longer than T")
        if mirrored is not None and mirrored.shape != features.shape:
            raise ValueError(f"mirrored features have shape {mirrored.shape}, the others {features.shape}")
        self.features, self.lengths, self.mirrored = features, lengths, mirrored
        self.failed = dict(failed or {})

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.features)

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Return item `index` as (T_i, D) float32; with an rng, mirrored half of the time if it can."""
        if self.lengths[index] < 1:
            raise VideoError(f"item {index} has no features: {self.failed.get(index, 'its file could not be read')}")
        features = self.features
        if self.mirrored is not None and rng is not None and rng.random() < 0.5:
            features = self.mirrored
        return torch.from_numpy(features[index, : self.lengths[index]].astype(np.float32))

    def subset(self, indices: Sequence[int]) -> "FeatureStore":
        """Return a store of these items, in this order."""
        indices = [int(index) for index in indices]
        failed = {new: self.failed[old] for new, old in enumerate(indices) if old in self.failed}
        mirrored = None if self.mirrored is None else self.mirrored[indices]
        return FeatureStore(self.features[indices], self.lengths[indices], mirrored, failed)

    def readable(self) -> list[int]:
        """Return the indices of the items that have features: all of them, unless files were skipped."""
        return [int(index) for index in np.flatnonzero(self.lengths > 0)]


def build_features(backbone: nn.Module, segments: Sequence[Segment], *, sampler: Sampler, transform: ClipTransform,
                   cache_dir: str | os.PathLike | None, mirrored: bool = False, batch_size: int = 32,
                   progress: bool = True, skip_errors: bool = False) -> FeatureStore:
    """Compute the features of segments, or read them from the cache; a run that was killed goes on where it stopped.

    Args:
        backbone: Runs on the device it lies on, in evaluation mode; its faster `folded_for_inference()` is used when
            it has one.
        segments: The segments, in the order of the store's items.
        sampler: Which frames of a segment; a random one draws the same frames for a segment every time.
        transform: Frames to clip.
        cache_dir: Where to keep the features; None keeps them in memory only. When the folder cannot be written, a
            warning says so and the features stay in memory.
        mirrored: Also keep the features of every clip mirrored left and right.
        batch_size: Pictures in one pass of the backbone; on a CPU, 32 stay in its cache and 64 take longer each.
        progress: Show a progress bar.
        skip_errors: Warn about files that cannot be read and list them in `store.failed` instead of stopping.

    Raises:
        ValueError: There are no segments.
        VideoError: A file cannot be read (unless skip_errors); what was finished stays in the cache.
        OSError: The disk of the cache is full.
    """
    if not segments:
        raise ValueError("no segments to compute features of; check the data folder and the split's persons")
    job = _Job.plan(backbone, segments, sampler, transform, mirrored)
    cache = _open_cache(cache_dir, job)
    if not cache.finished():
        _compute(_Encoder(backbone, batch_size), job, cache, progress=progress, skip_errors=skip_errors)
    if cache.failed:
        reasons = "; ".join(sorted(set(cache.failed.values())))
        warnings.warn(f"{len(cache.failed)} of {len(segments)} segments are left out: {reasons}", stacklevel=2)
    return cache.store()


@dataclass
class _Job:
    """What is to be computed, and everything that its numbers depend on."""

    segments: Sequence[Segment]
    transform: ClipTransform
    indices: list[np.ndarray]  # of the frames within the file, per segment
    shape: tuple[int, int, int, int]  # (N, V, T, D)
    description: dict[str, Any]

    @classmethod
    def plan(cls, backbone: Any, segments: Sequence[Segment], sampler: Sampler, transform: ClipTransform,
             mirrored: bool) -> "_Job":
        """Choose every frame before any file is opened, so that the shape of the result is known."""
        indices = []
        for segment in segments:
            rng = np.random.default_rng(zlib.crc32(segment.name.encode()))
            indices.append(segment.start + sampler(len(segment), rng))
        longest = max(transform.frames_out(len(chosen)) for chosen in indices)
        shape = (len(segments), 2 if mirrored else 1, longest, int(backbone.feature_dim))
        description = {
            "format": CACHE_FORMAT, "version": CACHE_VERSION, "backbone": backbone.fingerprint(),
            "sampler": sampler_config(sampler), "transform": transform.to_config(), "mirrored": mirrored,
            "segments": [[segment.name, segment.start, segment.stop] for segment in segments],
            "files": sorted({_file_stamp(segment.video.path) for segment in segments}),
        }
        return cls(segments, transform, indices, shape, description)

    @property
    def key(self) -> str:
        """The description as a file name."""
        text = json.dumps(self.description, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def _file_stamp(path: Path) -> tuple[str, int, int]:
    """Name, size and time of change: a file that was replaced makes another key."""
    if not path.is_file():
        return path.name, -1, -1
    stat = path.stat()
    return path.name, stat.st_size, stat.st_mtime_ns


# where the features go


class _Memory:
    """Features that live as long as the program."""

    def __init__(self, job: _Job):
        self.job = job
        self.features = np.zeros(job.shape, dtype=np.float16)
        self.lengths: np.ndarray = np.zeros(job.shape[0], dtype=np.int64)  # 0: to be done
        self.failed: dict[int, str] = {}

    def finished(self) -> bool:
        """Tell whether every item is there."""
        return bool((self.lengths > 0).all())

    def write(self, index: int, features: np.ndarray) -> None:
        """Take the features (V, T_i, D) of an item."""
        self.features[index, :, : features.shape[1]] = features
        self.lengths[index] = features.shape[1]

    def commit(self) -> None:
        """Make sure that what was written outlives the program; nothing to do in memory."""

    def store(self) -> FeatureStore:
        """Return the features as they are now."""
        mirrored = self.features[:, 1] if self.job.shape[1] == 2 else None
        return FeatureStore(self.features[:, 0], self.lengths, mirrored, self.failed)


class _Disk(_Memory):
    """Features that outlive the program: written to the disk as they come, and read back from it."""

    def __init__(self, job: _Job, folder: Path):
        self.path, self.partial, self.record = (folder / f"{job.key}{end}" for end in (".npy", ".partial", ".json"))
        super().__init__(job)
        folder.mkdir(parents=True, exist_ok=True)
        if not (self._read_finished() or self._read_partial()):
            self._start()

    def write(self, index: int, features: np.ndarray) -> None:
        """Take the features (V, T_i, D) of an item and put them into the partial file."""
        super().write(index, features)
        row = self.features[index]
        try:
            with open(self.partial, "r+b") as file:
                file.seek(index * row.nbytes)
                file.write(row.tobytes())
        except FileNotFoundError:
            pass  # another program made the same features and has finished; ours are in memory, and saved at the end
        except OSError as error:
            raise self._explained(error) from error

    def commit(self) -> None:
        """Record which items are done, or turn the partial file into the cache when all are."""
        if self.finished():
            self._finish()
        else:
            self._write_record()

    def _read_finished(self) -> bool:
        """Take over a finished cache; warn about one that is damaged, which is then made anew."""
        if not self.path.is_file():
            return False
        record = self._read_record()
        try:
            features = np.load(self.path, allow_pickle=False)
        except (ValueError, EOFError, OSError):
            features = np.zeros(0)
        if features.shape == self.job.shape and record and record.get("crc32") == zlib.crc32(features.data):
            self.features, self.lengths = features, np.array(record["lengths"], dtype=np.int64)
            return True
        warnings.warn(f"the feature cache {self.path} is damaged (cut off or changed) and is made anew", stacklevel=2)
        return False

    def _read_partial(self) -> bool:
        record = self._read_record()
        size = self.features.nbytes
        if not record or not self.partial.is_file() or self.partial.stat().st_size != size:
            return False
        self.features = np.fromfile(self.partial, dtype=np.float16).reshape(self.job.shape)
        self.lengths = np.array(record["lengths"], dtype=np.int64)
        return True

    def _read_record(self) -> dict[str, Any] | None:
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            fits = record["description"] == json.loads(json.dumps(self.job.description))
            return record if fits and len(record["lengths"]) == self.job.shape[0] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _start(self) -> None:
        needed, free = 2 * self.features.nbytes, shutil.disk_usage(self.partial.parent).free  # 2: partial and final
        if needed > free:
            raise self._explained(OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB are free"))
        self.path.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)  # before the file it describes, so that it never vouches for an empty one
        with open(self.partial, "wb") as file:
            file.truncate(self.features.nbytes)
        self._write_record()

    def _finish(self) -> None:
        """Write the record, then the whole cache under its name by one rename, which makes it valid."""
        self._write_record(crc32=zlib.crc32(self.features.data))
        ready = self.path.with_suffix(f".{os.getpid()}.ready")
        try:
            with open(ready, "wb") as file:
                np.save(file, self.features)
            os.replace(ready, self.path)
            self.partial.unlink(missing_ok=True)
        except OSError as error:
            raise self._explained(error) from error
        finally:
            ready.unlink(missing_ok=True)

    def _write_record(self, **more: Any) -> None:
        record = {"description": self.job.description, "lengths": self.lengths.tolist(), **more}
        fresh = self.record.with_suffix(f".{os.getpid()}.fresh")
        try:
            fresh.write_text(json.dumps(record), encoding="utf-8")
            os.replace(fresh, self.record)
        except OSError as error:
            raise self._explained(error) from error
        finally:
            fresh.unlink(missing_ok=True)

    def _explained(self, error: OSError) -> OSError:
        needed = 2 * self.features.nbytes / 1e6
        return OSError(error.errno, f"cannot keep features in {self.partial.parent}, {needed:.0f} MB are needed "
                       f"({error.strerror}): free space there or choose another cache folder; what was finished stays")


READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def _open_cache(cache_dir: str | os.PathLike | None, job: _Job) -> _Memory:
    if cache_dir is None:
        return _Memory(job)
    try:
        return _Disk(job, Path(cache_dir))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        warnings.warn(f"the feature cache folder {cache_dir} cannot be written ({error.strerror}); features are "
                      "computed again in every run until it can, or another folder is chosen", stacklevel=3)
        return _Memory(job)


# computing


def _compute(encode: "_Encoder", job: _Job, cache: _Memory, *, progress: bool, skip_errors: bool) -> None:
    todo = np.flatnonzero(cache.lengths == 0)
    clips: dict[int, Tensor] = {}
    with tqdm(total=len(job.segments), initial=len(job.segments) - len(todo), desc="features", unit="segment",
              disable=not progress, leave=False) as bar:
        for number, frames in _read_by_file(job, todo, cache, skip_errors):
            clips[number] = job.transform(frames)
            if sum(map(len, clips.values())) >= encode.batch_size:
                _keep(encode, clips, cache)
                clips = {}
            bar.update()
        _keep(encode, clips, cache)


def _read_by_file(job: _Job, todo: np.ndarray, cache: _Memory, skip_errors: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the frames of segments file by file, each file read in one pass."""
    by_file: dict[Path, list[int]] = {}
    for number in todo:
        by_file.setdefault(job.segments[number].video.path, []).append(int(number))
    for path, numbers in by_file.items():
        try:
            frames = read_segments(path, [job.indices[number] for number in numbers])
        except (VideoError, FileNotFoundError):
            if not skip_errors:
                raise
            yield from _read_singly(path, numbers, job, cache)
        else:
            yield from zip(numbers, frames, strict=True)


def _read_singly(path: Path, numbers: list[int], job: _Job, cache: _Memory) -> Iterator[tuple[int, np.ndarray]]:
    """Save what can be saved of a file that fails: its earlier segments may lie before the damage."""
    for number in numbers:
        try:
            frames = read_segments(path, [job.indices[number]])[0]
        except (VideoError, FileNotFoundError) as error:
            cache.failed[number] = str(error)
        else:
            yield number, frames


def _keep(encode: "_Encoder", clips: dict[int, Tensor], cache: _Memory) -> None:
    """Encode clips, mirrored too when the cache has a place for them, and write them down."""
    if clips:
        pictures = torch.cat(list(clips.values()))
        variants = [pictures, pictures.flip(-1)][: cache.job.shape[1]]
        encoded = np.stack([encode(variant) for variant in variants])  # (V, sum of T, D)
        start = 0
        for number, clip in clips.items():
            cache.write(number, encoded[:, start : start + len(clip)])
            start += len(clip)
    cache.commit()


class _Encoder:
    """A frozen copy of the backbone, folded when it knows how to, applied to pictures batch by batch."""

    def __init__(self, backbone: nn.Module, batch_size: int):
        fold = getattr(backbone, "folded_for_inference", None)
        self.model = fold() if callable(fold) else copy.deepcopy(backbone).eval()
        self.batch_size = max(1, batch_size)
        self.device = next((weight.device for weight in backbone.parameters()), torch.device("cpu"))

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> np.ndarray:
        parts = [self.model(part.to(self.device)).float().cpu() for part in pictures.split(self.batch_size)]
        return torch.cat(parts).half().numpy()
