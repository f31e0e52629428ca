"""A frozen backbone as fast as the machine can run it, and work done side by side in threads.

Knows a backbone as something that maps images (N, C, H, W) to features (N, D) and may know how to
fold itself. Does not know files, segments or what becomes of the features. A process that is forked
from one that imported this runs torch and OpenCV in one thread.

Almost all the time of computing features is the backbone's. So it runs folded, in half precision
where the hardware computes that, and without gradients; on a CPU in as many threads as there are
cores, each with whole batches of its own, which wait for one another less than the cores do when
they share one batch.
"""

import copy
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

# Pixels in one pass of the backbone. On a CPU the feature maps of sixteen images of 96 x 128 still
# fit its caches; larger blocks of memory than theirs are handed back to the system and fetched anew
# in every pass. A GPU wants as many images as it gets.
CPU_PIXELS, CPU_FEWEST, CPU_MOST, CUDA_BATCH = 16 * 96 * 128, 4, 32, 256
ROUNDS = 2  # batches waiting for each thread


class Encoder:
    """A frozen copy of a backbone, made as fast as the device allows.

    On a CPU the weights are bfloat16 where the processor multiplies that natively, on CUDA float16,
    and the features are single precision again; a backbone that has no `folded_for_inference()` is
    used as it is.

    Args:
        backbone: Runs on the device it lies on; it is not changed.
        batch_size: Images in one pass; None takes what suits the device.
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
        self.workers = torch.get_num_threads()

    def batch_of(self, height: int, width: int) -> int:
        """Return how many images of a size go through the backbone at once."""
        if self.batch_size is not None or self.on_cuda:
            return self.batch_size or CUDA_BATCH
        return min(CPU_MOST, max(CPU_FEWEST, CPU_PIXELS // (height * width)))

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> np.ndarray:
        """Encode images (N, C, H, W) into float32 features (N, D) in the calling thread."""
        parts = [self.model(self._moved(part)).float() for part in self._batches(images)]
        return torch.cat(parts).cpu().numpy()

    def encode(self, images: Tensor) -> np.ndarray:
        """Encode images (N, C, H, W) into float32 features (N, D), batches side by side in
        `workers` threads."""
        parts = self._batches(images)
        if len(parts) == 1 or self.on_cuda:
            return self(images)
        return np.concatenate(list(side_by_side(self, parts, self.workers)))

    def _batches(self, images: Tensor) -> tuple[Tensor, ...]:
        return images.split(self.batch_of(*images.shape[-2:]))

    def _moved(self, images: Tensor) -> Tensor:
        if not self.on_cuda:
            return images
        # the copy runs while others compute
        return images.pin_memory().to(self.device, non_blocking=True)


def side_by_side(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int, rounds: int = ROUNDS
) -> Generator[Any]:
    """Apply a function to items in `workers` threads of one core each, and yield the results in the
    items' order.

    No more than `rounds` items a thread are under way at a time. When the function fails, or the
    caller stops asking, what is under way is finished and the rest left undone. One thread alone is
    the caller's.
    """
    if workers == 1:
        yield from map(function, items)
        return
    waiting: deque = deque()
    with _one_core_each(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= rounds * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_core_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads, and the caller's, keep to themselves: torch's and OpenCV's own threads
    would fight them for the cores."""
    one = torch.set_num_threads
    with _alone, ThreadPoolExecutor(workers, initializer=one, initargs=(1,)) as pool:
        yield pool


class _Alone:
    """Keeps torch and OpenCV to one thread while anybody needs that, in whatever thread.

    Their numbers of threads are the whole program's, so the first to come notes them, and only the
    last to go gives OpenCV its own back.
    """

    def __init__(self) -> None:
        self.lock, self.users, self.before = Lock(), 0, (1, 1)

    def __enter__(self) -> None:
        with self.lock:
            if not self.users:
                self.before = torch.get_num_threads(), cv2.getNumThreads()
            self.users += 1
            torch.set_num_threads(1)
            cv2.setNumThreads(1)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            # threads that are started later take the last number that anybody set
            torch.set_num_threads(self.before[0])
            if not self.users:
                cv2.setNumThreads(self.before[1])


_alone = _Alone()


def _forked() -> None:
    """Keep a forked process to one thread: the others were not forked with it, and work that is
    given to them is waited for without end."""
    _alone.__init__()  # type: ignore[misc]
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
