"""Several processes of this machine that work off one list: how many, and that none outlives this.

Knows the operating system's processes. Does not know what the work is, nor processes that talk to
one another while they train (`utils.parallel`).
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import current_process, get_context, parent_process
from threading import Thread
from typing import Any

import cv2

from data.files import drop_partials

CHUNK = 4  # items that a process takes at a time


def usable_cores() -> int:
    """Return how many cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(work: Callable, items: Sequence[Any], workers: int | None) -> Iterator[Any]:
    """Yield what some work makes of each item, in order, by so many processes.

    None is one process for each of `usable_cores`. The work is a function of an imported module,
    and keeps to one thread. The processes end when this one does, however it ends.

    Raises:
        ChildProcessError: One of the processes was killed.
    """
    workers = min(workers or usable_cores(), len(items))
    # a daemon, such as a loader's worker, may have no children
    if workers <= 1 or current_process().daemon:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin_worker
    ) as pool:
        with _main_hidden():
            results = pool.map(work, items, chunksize=CHUNK)
        try:
            yield from results
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of {workers} processes was killed, as happens when memory runs out: the same "
                "command goes on from what is finished, with fewer --workers it takes less memory"
            ) from error


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Let processes start without importing the main module.

    They would run a script again that has no `if __name__ == "__main__":`, and find no file of a
    program that came from stdin; the work needs neither.
    """
    main = sys.modules["__main__"]
    spec, file = vars(main).get("__spec__"), vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _begin_worker() -> None:
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the end of the program that started this process, and end too.

    A program that is killed cannot say so, and its workers would wait for it, or write, for ever.
    """
    parent = parent_process()
    assert parent is not None, "this is no worker"
    parent.join()
    drop_partials()
    os._exit(1)
