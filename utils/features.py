"""Features of a frozen backbone, computed once, as fast as the machine can.

Knows segments, samplers and transforms from `utils.data_setup`, `utils.store` as the place where
features are kept, and a backbone as something that maps pictures (N, C, H, W) to features (N, D),
tells its `feature_dim` and its `fingerprint()`, and may know how to fold itself. Builds no model
and trains none.

Where the time goes: almost all of it is the backbone's. So it runs folded, in half precision where
the hardware computes that, and without gradients; on a CPU in as many threads as there are cores,
each with whole batches of its own, which wait for one another less than the cores do when they
share one batch. Each thread reads the files of its next batches itself, so that decoding fills the
gaps, and no more than two rounds of batches are ever in memory.

Several processes (see `utils.parallel`) share the rounds of one plan: every batch is the one that a
single process would have made, so the features are the same to the bit, and so is the store,
whoever made it.
"""

from __future__ import annotations

import copy
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from data.kth import Segment
from data.video import VideoError, read_segments
from utils.data_setup import ClipTransform, Sampler, sampler_config
from utils.parallel import barrier, broadcast, gather, is_main_process, rank, world_size
from utils.store import CACHE, Disk, FeatureStore, Memory, open_cache

# Pixels in one pass of the backbone. On a CPU the feature maps of sixteen pictures of 96 x 128
# still fit its caches; larger blocks of memory than theirs are handed back to the system and
# fetched anew in every pass. A GPU wants as many pictures as it gets.
CPU_PIXELS, CPU_FEWEST, CPU_MOST, CUDA_BATCH = 16 * 96 * 128, 4, 32, 256
ROUNDS = 2  # batches waiting for each thread
NOT_SHARED = (
    "all processes must share the cache folder; choose one that all machines see "
    "(HAR_CACHE), or no cache"
)


class Encoder:
    """A frozen copy of a backbone, made as fast as the device allows.

    On a CPU the weights are bfloat16 where the processor multiplies that natively, on CUDA float16,
    and the features are single precision again; a backbone that has no `folded_for_inference()` is
    used as it is.

    Args:
        backbone: Runs on the device it lies on; it is not changed.
        batch_size: Pictures in one pass; None takes what suits the device.
        dtype: Of the folded weights; None takes what the device is fastest with.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        batch_size: int | None = None,
        dtype: torch.dtype | None = None,
    ):
        self.device = next((weight.device for weight in backbone.parameters()), torch.device("cpu"))
        fold = getattr(backbone, "folded_for_inference", None)
        self.model = fold(dtype) if callable(fold) else copy.deepcopy(backbone).eval()
        self.dtype = next((weight.dtype for weight in self.model.parameters()), torch.float32)
        self.on_cuda = self.device.type == "cuda"
        self.batch_size = batch_size
        self.workers = max(1, torch.get_num_threads())

    def batch_of(self, height: int, width: int) -> int:
        """Return how many pictures of a size go through the backbone at once."""
        if self.batch_size is not None or self.on_cuda:
            return self.batch_size or CUDA_BATCH
        return min(CPU_MOST, max(CPU_FEWEST, CPU_PIXELS // (height * width)))

    @torch.inference_mode()
    def __call__(self, pictures: Tensor) -> np.ndarray:
        """Encode pictures (N, C, H, W) into float32 features (N, D) in the calling thread."""
        parts = [self.model(self._moved(part)).float() for part in self._batches(pictures)]
        return torch.cat(parts).cpu().numpy()

    def encode(self, pictures: Tensor) -> np.ndarray:
        """Encode pictures (N, C, H, W) into float32 features (N, D), batches side by side in
        `workers` threads."""
        parts = self._batches(pictures)
        if len(parts) == 1 or self.on_cuda:
            return self(pictures)
        return np.concatenate(list(side_by_side(self, parts, self.workers)))

    def _batches(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return pictures.split(self.batch_of(*pictures.shape[-2:]))

    def _moved(self, pictures: Tensor) -> Tensor:
        if not self.on_cuda:
            return pictures
        return pictures.pin_memory().to(
            self.device, non_blocking=True
        )  # the copy runs while others compute


def side_by_side(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int
) -> Generator[Any]:
    """Apply a function to items in `workers` threads of one core each, and yield the results in the
    items' order.

    No more than `ROUNDS` items a thread are under way at a time. When the function fails, or the
    caller stops asking, what is under way is finished and the rest left undone.
    """
    waiting: deque = deque()
    with _one_core_each(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= ROUNDS * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _one_core_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads keep to themselves: torch's and OpenCV's own threads would fight them
    for the cores."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(
            threads
        )  # threads that are started later take the last number that anybody set
        cv2.setNumThreads(cv_threads)


def build_features(
    backbone: nn.Module,
    segments: Sequence[Segment],
    *,
    sampler: Sampler,
    transform: ClipTransform,
    cache_dir: str | Path | None = CACHE,
    mirrored: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
    skip_errors: bool = False,
) -> FeatureStore:
    """Compute the features of segments, or read them from the cache; a run that was killed goes on
    where it stopped.

    Under several processes each computes a part of what is missing, and all return the whole: from
    the cache, which every one of them must see, or else from memory.

    Args:
        backbone: See `Encoder`.
        segments: The segments, in the order of the store's items.
        sampler: Which frames of a segment; a random one draws the same frames for a segment every
            time.
        transform: Frames to clip.
        cache_dir: Where to keep the features; None keeps them in memory only. When the folder
            cannot be written, a warning says so and the features stay in memory.
        mirrored: Also keep the features of every clip mirrored left and right.
        batch_size: Pictures in one pass of the backbone; None takes what suits the device.
        progress: Show a progress bar, and before it how much is to be computed and kept.
        skip_errors: Warn about files that cannot be read and list them in `store.failed` instead of
            stopping.

    Raises:
        ValueError: There are no segments, or another process has another backbone.
        VideoError: A file cannot be read (unless skip_errors); what was finished stays in the
            cache.
        OSError: The disk of the cache is full, and what was finished stays; or another process
            failed or does not see the cache folder.
    """
    if not segments:
        raise ValueError(
            "no segments to compute features of; check the data folder and the split's persons"
        )
    encoder = Encoder(backbone, batch_size=batch_size)
    job = _Job.plan(backbone, encoder, segments, sampler, transform, mirrored)
    compute = partial(
        _compute, encoder, job, progress=progress and is_main_process(), skip_errors=skip_errors
    )
    with ExitStack() as held:
        if world_size() > 1:
            cache = _computed_together(job, cache_dir, compute, held)
        else:
            cache = held.enter_context(open_cache(cache_dir, job.shape, job.description))
            compute(cache, cache.todo(), where=cache_dir)
        if cache.failed and is_main_process():
            reasons = "; ".join(sorted(set(cache.failed.values())))
            warnings.warn(
                f"{len(cache.failed)} of {len(segments)} segments are left out: {reasons}",
                stacklevel=2,
            )
        with barrier(
            "opening the features"
        ):  # before the first process lets another program at them
            return cache.store()


def _computed_together(
    job: _Job, cache_dir: str | Path | None, compute: Callable[..., None], held: ExitStack
) -> Memory:
    """Let every process compute its rounds, and return the whole in each; the first one holds the
    lock for all."""
    _check_alike(job)
    cache = Memory(job.shape)
    with barrier("opening the feature cache"):
        if is_main_process():
            cache = held.enter_context(open_cache(cache_dir, job.shape, job.description))
    todo, on_disk, job.description = broadcast(
        (cache.todo(), isinstance(cache, Disk), job.description)
    )
    if on_disk and not is_main_process():
        assert cache_dir is not None
        cache = Disk(Path(cache_dir), job.shape, job.description)
    if todo:
        _compute_shares(cache, todo, cache_dir, compute)
    _see_the_same(cache)
    return cache


def _check_alike(job: _Job) -> None:
    """Refuse processes that would compute other numbers; when their copies of the files were made
    may differ."""
    names = ("backbone", "precision", "segments")
    said = gather([job.description[name] for name in names])
    if unlike := [
        name
        for number, name in enumerate(names)
        if any(one[number] != said[0][number] for one in said)
    ]:
        raise ValueError(
            f"the processes differ in {', '.join(unlike)} of the features to compute; start all "
            "with "
            "the same weights and data, on machines of the same kind"
        )


def _compute_shares(
    cache: Memory, todo: Sequence[int], cache_dir: str | Path | None, compute: Callable[..., None]
) -> None:
    """Compute this process's rounds into a share, then put all shares together.

    When one fails, the others learn it once they are through with theirs: what they computed stays
    in their shares.
    """
    share = cache.share(rank())
    with barrier("computing features"), share:
        share.open()
        compute(share, todo, where=cache_dir, part=(rank(), world_size()))
    failed = {number: why for one in gather(share.failed) for number, why in one.items()}
    if not isinstance(cache, Disk):
        for items in gather(share.items()):
            cache.take(items)
    with barrier("merging features"):
        if isinstance(cache, Disk) and is_main_process():
            cache.merge_shares()
            _check_complete(cache, failed)
    cache.failed.update(failed)


def _check_complete(cache: Disk, failed: Mapping[int, str]) -> None:
    if missing := set(cache.todo()) - set(failed):
        raise FileNotFoundError(
            f"features of {len(missing)} items that other processes computed do not lie in "
            f"{cache.folder}: {NOT_SHARED}"
        )


def _see_the_same(cache: Memory) -> None:
    """Let every process take over the store that the first one holds; refuse one that does not find
    it."""
    lengths = broadcast(cache.lengths)
    with barrier("reading the feature cache"):
        if isinstance(cache, Disk) and not is_main_process():
            cache.look()
            if not np.array_equal(cache.lengths, lengths):
                raise FileNotFoundError(
                    f"process {rank()} does not find the finished features in {cache.folder}: "
                    f"{NOT_SHARED}"
                )


@dataclass
class _Job:
    """What is to be computed, and everything that its numbers depend on."""

    segments: Sequence[Segment]
    transform: ClipTransform
    indices: list[np.ndarray]  # of the frames within the file, per segment
    shape: tuple[int, int, int, int]  # (N, V, T, D)
    description: dict[str, Any]

    @classmethod
    def plan(
        cls,
        backbone: Any,
        encoder: Encoder,
        segments: Sequence[Segment],
        sampler: Sampler,
        transform: ClipTransform,
        mirrored: bool,
    ) -> _Job:
        """Choose every frame before any file is opened, so that the shape of the result is
        known."""
        indices = []
        for segment in segments:
            rng = np.random.default_rng(zlib.crc32(segment.name.encode()))
            chosen = segment.start + sampler(len(segment), rng)
            indices.append(transform.with_neighbours(chosen, segment.start, segment.stop))
        longest = max(transform.frames_out(len(chosen)) for chosen in indices)
        shape = (len(segments), 2 if mirrored else 1, longest, int(backbone.feature_dim))
        description = {
            "backbone": backbone.fingerprint(),
            "precision": str(encoder.dtype),
            "sampler": sampler_config(sampler),
            "transform": transform.to_config(),
            "mirrored": mirrored,
            "segments": [[segment.name, segment.start, segment.stop] for segment in segments],
            "files": sorted({_file_stamp(segment.video.path) for segment in segments}),
        }
        return cls(segments, transform, indices, shape, description)

    def rounds(self, todo: Sequence[int], pictures: int) -> Iterator[dict[Path, list[int]]]:
        """Cut the items into rounds of at least so many pictures, by file: a file is opened once,
        in one round."""
        by_file: dict[Path, list[int]] = {}
        for number in todo:
            by_file.setdefault(self.segments[number].video.path, []).append(number)
        together: dict[Path, list[int]] = {}
        count = 0
        for path, numbers in by_file.items():
            together[path] = numbers
            count += (
                sum(self.transform.frames_out(len(self.indices[number])) for number in numbers)
                * self.shape[1]
            )
            if count >= pictures:
                yield together
                together, count = {}, 0
        if together:
            yield together


@dataclass
class _Encoded:
    """What came of a round: features (V, T_i, D) by item, why items could not be read, what stopped
    the round."""

    features: dict[int, np.ndarray] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    stopped_by: Exception | None = None


def _file_stamp(path: Path) -> tuple[str, int, int]:
    """Name, size and time of change: a file that was replaced makes another key."""
    if not path.is_file():
        return path.name, -1, -1
    stat = path.stat()
    return path.name, stat.st_size, stat.st_mtime_ns


def _compute(
    encoder: Encoder,
    job: _Job,
    cache: Memory,
    todo: Sequence[int],
    *,
    where: str | Path | None,
    progress: bool,
    skip_errors: bool,
    part: tuple[int, int] = (0, 1),
) -> None:
    """Fill the cache round by round, or every n-th of the rounds; whatever stops it, the rounds
    before stay written."""
    if not todo:
        return
    if progress:
        tqdm.write(
            f"features of {len(todo)} segments, {sum(map(len, job.indices)):,} frames"
            f"{', also mirrored' if job.shape[1] == 2 else ''}: {cache.nbytes / 1e6:.0f} MB in "
            f"{where if where is not None else 'memory'}"
        )

    def encoded(together: dict[Path, list[int]]) -> _Encoded:
        clips, result = _read(job, together, skip_errors=skip_errors)
        _encode(encoder, clips, job.shape[1], result)
        return result

    rounds = islice(job.rounds(todo, encoder.batch_of(*job.transform.size)), part[0], None, part[1])
    n, done = len(job.segments) // part[1], (len(job.segments) - len(todo)) // part[1]
    bar = tqdm(
        total=n, initial=done, desc="features", unit="segment", disable=not progress, leave=False
    )
    results = side_by_side(encoded, rounds, encoder.workers)
    with (
        bar,
        closing(results),
    ):  # closing: threads end with the first error, not when somebody forgets the traceback
        for result in results:
            for number, features in result.features.items():
                cache.write(number, features)
            cache.failed.update(result.failed)
            bar.update(len(result.features) + len(result.failed))
            if result.stopped_by is not None:
                raise result.stopped_by


def _read(
    job: _Job, together: dict[Path, list[int]], *, skip_errors: bool
) -> tuple[dict[int, Tensor], _Encoded]:
    """Read the clips of a round, each file in one pass; stop at the first file that fails unless
    those are skipped."""
    clips: dict[int, Tensor] = {}
    result = _Encoded()
    for path, numbers in together.items():
        try:
            frames = read_segments(path, [job.indices[number] for number in numbers])
            clips.update(
                (number, job.transform(part)) for number, part in zip(numbers, frames, strict=True)
            )
        except (VideoError, FileNotFoundError) as error:
            if not skip_errors:
                result.stopped_by = error
                break
            _read_singly(job, path, numbers, clips, result)
    return clips, result


def _read_singly(
    job: _Job, path: Path, numbers: Sequence[int], clips: dict[int, Tensor], result: _Encoded
) -> None:
    """Save what can be saved of a file that fails: its earlier segments may lie before the
    damage."""
    for number in numbers:
        try:
            clips[number] = job.transform(read_segments(path, [job.indices[number]])[0])
        except (VideoError, FileNotFoundError) as error:
            result.failed[number] = str(error)


def _encode(encoder: Encoder, clips: dict[int, Tensor], variants: int, result: _Encoded) -> None:
    """Encode the clips of a round together, mirrored too when two variants are kept."""
    if not clips:
        return
    pictures = torch.cat(list(clips.values()))  # (sum of T_i, C, H, W)
    views = [pictures, pictures.flip(-1)][:variants]
    encoded = np.stack([encoder(view) for view in views])  # (V, sum of T_i, D)
    start = 0
    for number, clip in clips.items():
        result.features[number] = encoded[:, start : start + len(clip)].astype(np.float16)
        start += len(clip)
