"""Features on disk: what was computed once outlives the program, is shared by programs and is never
half believed.

Knows arrays, files and locks. Does not know videos' contents, backbones or how features are
computed: a job tells the shape of the result and describes, in plain values, everything that its
numbers depend on.

A store is three files named after a hash of the description. <key>.npy holds half-precision
features (N, V, T, D), V is 2 when clips are kept mirrored too, and is read through a memory map; it
is called <key>.partial until the last item is there. <key>.json holds the description. <key>.items
is a journal: one record (index, length, CRC-32 of the item's bytes) appended after each item, so
that an item is believed when its bytes match its record and made anew when they do not, whether the
program was killed, the power failed or the disk forgot. <key>.lock is held by whoever writes.

Several processes that compute one store keep what each has done in <key>.shares/<rank>, a store of
the same shape with holes, until the holder of the lock merges them; shares of processes that were
killed are merged by whoever comes next.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from data.video import VideoError

CACHE_FORMAT, CACHE_VERSION = "har-features", 2
CACHE = Path(os.environ.get("HAR_CACHE") or "Data/cache")  # unless a caller says otherwise
JOURNAL = np.dtype([("index", "<u4"), ("length", "<u4"), ("crc32", "<u4")])
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
ROWS_AT_ONCE = 64  # items checked in one read: a few megabytes


class FeatureStore:
    """Features of segments as a source for `VideoDataset`.

    Args:
        features: Features (N, T, D), any float type; a memory map will do.
        lengths: How many of the T steps of each item are there (N); 0 for an item that could not be
            read.
        mirrored: The same for clips mirrored left and right, or None.
        failed: Why an item could not be read, by its index.
    """

    def __init__(
        self,
        features: np.ndarray,
        lengths: np.ndarray,
        mirrored: np.ndarray | None = None,
        failed: Mapping[int, str] | None = None,
    ):
        lengths = np.asarray(lengths, dtype=np.int64)
        if (
            features.ndim != 3
            or lengths.shape != features.shape[:1]
            or lengths.max(initial=0) > features.shape[1]
        ):
            raise ValueError(
                f"features of shape {features.shape} with lengths of shape {lengths.shape} "
                "(longest "
                f"{lengths.max(initial=0)}); expected (N, T, D) and (N,), none longer than T"
            )
        if mirrored is not None and mirrored.shape != features.shape:
            raise ValueError(
                f"mirrored features have shape {mirrored.shape}, the others {features.shape}"
            )
        self.features, self.lengths, self.mirrored = features, lengths, mirrored
        self.failed = dict(failed or {})

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.features)

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Return item `index` as (T_i, D) float32; with an rng, mirrored half of the time if it
        can."""
        if self.lengths[index] < 1:
            raise VideoError(
                f"item {index} has no features: "
                f"{self.failed.get(index, 'its file could not be read')}"
            )
        features = self.features
        if self.mirrored is not None and rng is not None and rng.random() < 0.5:
            features = self.mirrored
        return torch.from_numpy(np.array(features[index, : self.lengths[index]], dtype=np.float32))

    def subset(self, indices: Sequence[int]) -> FeatureStore:
        """Return a store of these items, in this order."""
        indices = [int(index) for index in indices]
        failed = {new: self.failed[old] for new, old in enumerate(indices) if old in self.failed}
        mirrored = None if self.mirrored is None else self.mirrored[indices]
        return FeatureStore(self.features[indices], self.lengths[indices], mirrored, failed)

    def readable(self) -> list[int]:
        """Return the indices of the items that have features: all of them, unless files were
        skipped."""
        return [int(index) for index in np.flatnonzero(self.lengths > 0)]


def joined(stores: Sequence[FeatureStore]) -> FeatureStore:
    """Put stores one after another into one in memory; mirrored clips stay where all of them have
    some."""
    steps = max(store.features.shape[1] for store in stores)

    def together(arrays: Sequence[np.ndarray]) -> np.ndarray:
        widened = [np.pad(array, ((0, 0), (0, steps - array.shape[1]), (0, 0))) for array in arrays]
        return np.concatenate(widened)

    starts = np.cumsum([0, *map(len, stores)])
    failed = {
        int(start) + index: why
        for start, store in zip(starts, stores, strict=False)
        for index, why in store.failed.items()
    }
    mirrored = [store.mirrored for store in stores if store.mirrored is not None]
    return FeatureStore(
        together([store.features for store in stores]),
        np.concatenate([s.lengths for s in stores]),
        together(mirrored) if len(mirrored) == len(stores) else None,
        failed,
    )


def open_cache(
    cache_dir: str | os.PathLike | None,
    shape: tuple[int, int, int, int],
    description: Mapping[str, Any],
) -> Memory:
    """Open the place where features (N, V, T, D) are kept; a context manager, within which nobody
    else writes there.

    A finished cache is read without writing anything; any other is locked for this program, and a
    second program that wants the same features waits for the first. None, or a folder that cannot
    be written (a warning says so), keeps them in memory.

    Raises:
        OSError: The disk is too full.
    """
    if cache_dir is None:
        return Memory(shape)
    disk = Disk(Path(cache_dir), shape, description)
    try:
        disk.open()
        return disk
    except OSError as error:
        disk.close()
        if error.errno not in READ_ONLY:
            raise
        warnings.warn(
            f"the feature cache folder {cache_dir} cannot be written ({error.strerror}); "
            "features are "
            "computed again in every run until it can, or another folder is chosen",
            stacklevel=4,
        )
        return Memory(shape)


class Memory(AbstractContextManager):
    """Features that live as long as the program.

    Args:
        shape: Items, variants (2 with mirrored clips), the largest number of steps, features of a
            step (N, V, T, D).
    """

    def __init__(self, shape: tuple[int, int, int, int]):
        self.shape = shape
        self.lengths: np.ndarray = np.zeros(shape[0], dtype=np.int64)  # 0: to be done
        self.failed: dict[int, str] = {}
        self._features: np.ndarray = np.zeros(0, dtype=np.float16)

    @property
    def nbytes(self) -> int:
        """Bytes of all features."""
        return 2 * int(np.prod(self.shape, dtype=np.int64))

    def todo(self) -> list[int]:
        """Return the items that are not there yet."""
        return [int(index) for index in np.flatnonzero(self.lengths == 0)]

    def write(self, index: int, features: np.ndarray) -> None:
        """Take the features (V, T_i, D) of an item."""
        if self._features.shape != self.shape:
            self._features = np.zeros(self.shape, dtype=np.float16)
        self._features[index, :, : features.shape[1]] = features
        self.lengths[index] = features.shape[1]

    def store(self) -> FeatureStore:
        """Return the features as they are now."""
        features = self._mapped()
        return FeatureStore(
            features[:, 0],
            self.lengths,
            features[:, 1] if self.shape[1] == 2 else None,
            self.failed,
        )

    def share(self, rank: int) -> Memory:
        """Return an empty place for what process `rank` computes."""
        return Memory(self.shape)

    def take(self, items: Mapping[int, np.ndarray]) -> None:
        """Take the features (V, T_i, D) of the items that are not there yet."""
        for index, features in items.items():
            if not self.lengths[index]:
                self.write(index, features)

    def items(self) -> dict[int, np.ndarray]:
        """Return the features (V, T_i, D) of the items that are there, by their index."""
        there = np.flatnonzero(self.lengths)
        features = self._mapped() if len(there) else self._features
        return {int(index): features[index, :, : self.lengths[index]] for index in there}

    def open(self) -> None:
        """Get ready to write; nothing in memory."""

    def close(self) -> None:
        """Let go of what is held; nothing in memory."""

    def __exit__(self, *_: object) -> None:
        self.close()

    def _mapped(self) -> np.ndarray:
        return (
            self._features
            if self._features.shape == self.shape
            else np.zeros(self.shape, dtype=np.float16)
        )


class Disk(Memory):
    """Features that outlive the program; see the head of this file for what lies where.

    Args:
        folder: Where the files are.
        shape: See `Memory`.
        description: Everything that the numbers depend on, in plain values.
    """

    def __init__(
        self, folder: Path, shape: tuple[int, int, int, int], description: Mapping[str, Any]
    ):
        super().__init__(shape)
        self.folder = folder
        self.description = {
            "format": CACHE_FORMAT,
            "version": CACHE_VERSION,
            "shape": list(shape),
            **description,
        }
        key = hashlib.sha256(json.dumps(self.description, sort_keys=True).encode()).hexdigest()[:24]
        names = [folder / f"{key}{end}" for end in (".npy", ".partial", ".json", ".items")]
        self.path, self.partial, self.record, self.journal = names
        self.lock, self.shares = FileLock(folder / f"{key}.lock"), folder / f"{key}.shares"
        self._header = _npy_header(shape)
        self._sound = np.zeros(
            shape[0], dtype=JOURNAL
        )  # the record of each item that is believed; length 0: none
        self._files: list[io.FileIO] = []  # data and journal while they are written
        self._missing = shape[
            0
        ]  # how many items are to be done: counted, for listing them after each is quadratic

    def open(self) -> None:
        """Take over what is there and sound; unless that is everything, lock the rest and prepare
        to write it.

        Raises:
            OSError: The folder cannot be written, or its disk is too full.
        """
        if self._finished():
            if self.shares.is_dir():  # whoever merged them was killed before they were gone
                shutil.rmtree(self.shares, ignore_errors=True)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._wait_for_lock()
        if not self._finished():  # another program may have made it while this one waited
            self._continue()
            self.merge_shares()

    def write(self, index: int, features: np.ndarray) -> None:
        """Take the features (V, T_i, D) of an item: its bytes first, then the record that vouches
        for them.

        Raises:
            OSError: The disk is full; the items before this one stay.
        """
        row = np.zeros(self.shape[1:], dtype=np.float16)
        row[:, : features.shape[1]] = features
        record = np.array([(index, features.shape[1], zlib.crc32(row.data))], dtype=JOURNAL)
        data, journal = self._files
        try:
            data.seek(len(self._header) + index * row.nbytes)
            _write_all(data, row.tobytes())
            _write_all(journal, record.tobytes())
        except OSError as error:
            raise self._explained(error) from error
        self._missing -= not self.lengths[index]
        self.lengths[index] = features.shape[1]
        if not self._missing:
            self._finish()

    def close(self) -> None:
        """Close the files and let another program at them."""
        self._close_files()
        self.lock.release()

    def share(self, rank: int) -> Disk:
        """Return the store, not yet open, of what process `rank` computes: the same shape, in a
        folder of its own."""
        return Disk(self.shares / str(rank), self.shape, self.description)

    def merge_shares(self) -> None:
        """Take over what several processes have computed, then remove their shares; only for who
        holds the lock."""
        for folder in sorted(self.shares.iterdir()) if self.shares.is_dir() else ():
            share = Disk(folder, self.shape, self.description)
            share.look()
            self.take(share.items())
        shutil.rmtree(self.shares, ignore_errors=True)

    def look(self) -> None:
        """Take over what lies there and is sound, finished or not, without writing anything or
        waiting for anybody."""
        for path in (self.path, self.partial):
            if path.is_file():
                self._verify(path)
                return

    def _mapped(self) -> np.ndarray:
        return np.load(
            self.partial if self._missing else self.path, mmap_mode="r", allow_pickle=False
        )

    # what is there

    def _finished(self) -> bool:
        """Tell whether a complete, undamaged cache lies there; it is then taken over."""
        if self.path.is_file():
            self._verify(self.path)
        return self.path.is_file() and not self._missing

    def _verify(self, path: Path) -> None:
        """Believe the items whose bytes match the journal, and no others."""
        self._sound[:] = 0
        claimed, row_bytes = self._claimed(), self.nbytes // self.shape[0]
        with path.open("rb") as file:
            intact = file.read(len(self._header)) == self._header
            for first in range(0, self.shape[0] if intact else 0, ROWS_AT_ONCE):
                block = memoryview(file.read(row_bytes * ROWS_AT_ONCE))
                for number, record in enumerate(claimed[first : first + ROWS_AT_ONCE]):
                    row = block[number * row_bytes : (number + 1) * row_bytes]
                    if (
                        record["length"]
                        and len(row) == row_bytes
                        and zlib.crc32(row) == record["crc32"]
                    ):
                        self._sound[first + number] = record
        self.lengths[:] = self._sound["length"]
        self._missing = int(np.count_nonzero(self.lengths == 0))

    def _claimed(self) -> np.ndarray:
        """Return what the journal says of each item, when it is there and the record speaks of
        these features."""
        claimed = np.zeros(self.shape[0], dtype=JOURNAL)
        try:
            known = json.loads(self.record.read_text(encoding="utf-8"))
            content = self.journal.read_bytes()
        except (OSError, ValueError):
            return claimed
        if known == json.loads(json.dumps(self.description)):
            whole = (
                len(content) - len(content) % JOURNAL.itemsize
            )  # a kill may have cut the last record
            written = np.frombuffer(content[:whole], dtype=JOURNAL)
            written = written[
                (written["index"] < self.shape[0]) & (written["length"] <= self.shape[2])
            ]
            claimed[written["index"]] = written  # of several records of an item, the last counts
        return claimed

    # making it

    def _wait_for_lock(self) -> None:
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            warnings.warn(
                (
                    f"another program is computing the same features into {self.folder}; waiting "
                    "for "
                    "it"
                ),
                stacklevel=5,
            )
            self.lock.acquire()

    def _continue(self) -> None:
        """Go on with what is sound of a damaged or unfinished cache, or start an empty one."""
        if self.path.is_file():
            warnings.warn(
                f"the feature cache {self.path} is damaged (cut off or changed): {self._missing} "
                "of "
                f"{self.shape[0]} items are made anew",
                stacklevel=5,
            )
            os.replace(self.path, self.partial)
        elif self.partial.is_file():
            self._verify(self.partial)
        try:
            self._check_space()
            self._prepare()
        except OSError as error:
            raise self._explained(error) from error

    def _check_space(self) -> None:
        there = getattr(self.partial.stat(), "st_blocks", 0) * 512 if self.partial.is_file() else 0
        free = shutil.disk_usage(self.folder).free
        if self.nbytes - there > free:
            raise OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB are free")

    def _prepare(self) -> None:
        """Bring data, record and journal into step: full size, the header, and only what is
        believed."""
        _write_atomically(self.journal, self._sound[self._sound["length"] > 0].tobytes())
        _write_atomically(self.record, json.dumps(self.description).encode())
        self.partial.touch()
        # unbuffered: what write() has returned from survives a kill, and a full disk is noticed at
        # the item it hits
        self._files = [io.FileIO(self.partial, "r+"), io.FileIO(self.journal, "a")]
        data = self._files[0]
        _write_all(data, self._header)
        data.truncate(len(self._header) + self.nbytes)

    def _finish(self) -> None:
        """Let the data have their name once they are on the disk."""
        for file in self._files:
            os.fsync(file.fileno())
        self._close_files()
        os.replace(self.partial, self.path)

    def _close_files(self) -> None:
        for file in self._files:
            file.close()
        self._files = []

    def _explained(self, error: OSError) -> OSError:
        """Say what a full disk means here; who may not write is told by `open_cache`."""
        if error.errno in READ_ONLY:
            return error
        return OSError(
            error.errno,
            f"cannot keep features in {self.folder}, {self.nbytes / 1e6:.0f} MB are needed "
            f"({error.strerror}): free space there or choose another cache folder (HAR_CACHE); "
            "what was "
            "finished stays",
        )


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """Return what numpy writes in front of a half-precision array of this shape."""
    buffer = io.BytesIO()
    layout = {
        "descr": np.lib.format.dtype_to_descr(np.dtype("<f2")),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(buffer, layout)
    return buffer.getvalue()


def _write_all(file: io.FileIO, content: bytes) -> None:
    """Write all of it: an unbuffered file may take a part, and says that the disk is full only when
    asked again."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _write_atomically(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.fresh")
    try:
        fresh.write_bytes(content)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
