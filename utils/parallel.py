"""Several processes that work as one: who is who, what each has found, and how a failure of one
reaches the others.

Knows torch.distributed and the environment that `torchrun` gives each of its processes. Does not
know models, data or files. Without torchrun there is one process: it is the first of one, and every
call here answers at once.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Timer
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

# A process that dies takes its connections with it, which the others notice at once; so waiting
# long costs nothing, and the first process may hold a lock, or have a slow disk, for hours.
PATIENCE = timedelta(hours=12)
SAY_AFTER_S = 5.0  # how long the meeting may take before it is said what is waited for
MOST_DIGITS = 9  # of a number of torchrun's
REMEDY = "`unset WORLD_SIZE RANK` to run one process"


@contextmanager
def start(meeting: str = "env://") -> Iterator[None]:
    """Join the processes that torchrun started for the length of a block; without torchrun's
    environment do nothing.

    Messages between CPUs go through gloo, tensors of a GPU through nccl; each process takes the GPU
    of its LOCAL_RANK.

    Args:
        meeting: Where the processes find one another, as `torch.distributed.init_process_group`
            takes it.

    The others are waited for, and after SAY_AFTER_S seconds it is said for how many and where.

    Raises:
        ValueError: More processes than GPUs were started on this machine, or the environment is
            torchrun's in part only.
    """
    processes, number = _from_environment("WORLD_SIZE", 1), _from_environment("RANK", None)
    if processes == 1 or number is None or _started():
        yield
        return
    if number >= processes:
        raise ValueError(
            f"WORLD_SIZE={processes} and RANK={number} are set, and ranks count from 0 to below "
            f"WORLD_SIZE: start the processes with torchrun, or {REMEDY}"
        )
    if meeting == "env://" and not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise ValueError(
            f"WORLD_SIZE={processes} and RANK={number} are set, MASTER_ADDR and MASTER_PORT are "
            f"not: start the processes with torchrun, or {REMEDY}"
        )
    _from_environment("MASTER_PORT", None)
    backend = "gloo"
    if torch.cuda.is_available():
        _take_gpu(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    with _saying_what_is_waited_for(number, processes, meeting):
        dist.init_process_group(
            backend,
            init_method=meeting,
            rank=number,
            world_size=processes,
            timeout=PATIENCE,
        )
    try:
        yield
    # after an error too: closed connections are how the others learn that nobody will answer
    finally:
        dist.destroy_process_group()


def _from_environment(name: str, default: Any) -> Any:
    """Return the number that a variable of torchrun's holds."""
    text = os.environ.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise ValueError(f"{name} is {text!r} in the environment, not a number: {REMEDY}")
    return int(text)


@contextmanager
def _saying_what_is_waited_for(number: int, processes: int, meeting: str) -> Iterator[None]:
    """Say, when a block takes long, who is missing: variables that torchrun, or a scheduler, has
    left in the environment let a single program wait for others that nobody starts."""
    where = meeting
    if meeting == "env://":
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    said = (
        f"process {number} of {processes} waits for the others at {where}, as WORLD_SIZE and RANK "
        f"in the environment say; if there are no others, stop it and {REMEDY}"
    )
    timer = Timer(SAY_AFTER_S, warnings.warn, [said], {"stacklevel": 2})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _take_gpu(local_rank: int) -> None:
    there = torch.cuda.device_count()
    if local_rank >= there:
        raise ValueError(
            f"process {local_rank} of this machine has no GPU, there are {there}: start at most "
            f"{there} with --nproc-per-node, or hide the GPUs with CUDA_VISIBLE_DEVICES= to use "
            "the CPU"
        )
    torch.cuda.set_device(local_rank)


def _started() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if _started() else 0


def world_size() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if _started() else 1


def is_main_process() -> bool:
    """Tell whether this is the process that writes files, shows progress and speaks."""
    return rank() == 0


def gather(thing: Any) -> list[Any]:
    """Return every process's `thing`, anything that can be pickled, in the order of their ranks."""
    if world_size() == 1:
        return [thing]
    things: list[Any] = [None] * world_size()
    dist.all_gather_object(things, thing)
    return things


def broadcast(thing: Any) -> Any:
    """Return the first process's `thing`, whatever the others hold."""
    return gather(thing)[0]


def all_reduce_sum(*numbers: float) -> list[float]:
    """Return the sums of numbers over all processes, in double precision and the same in each of
    them."""
    return [float(sum(column)) for column in zip(*gather(numbers), strict=True)]


def broadcast_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers, such as the running statistics of BatchNorm."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@contextmanager
def barrier(what: str) -> Iterator[None]:
    """Wait at the end of a block until all have come through it; when it fails in one process it
    fails in all.

    Only for blocks in which processes do not wait for one another. Interruptions (Ctrl-C) are not
    passed on: torchrun sends them to every process itself.

    Args:
        what: The work, as in "process 1 of 2 failed in reading: ...".

    Raises:
        ChildProcessError: The block failed in another process; in the one where it did, its own
            error is raised.
    """
    try:
        yield
    except Exception as error:
        # if the others are gone already, the error here is still what is to be known
        with suppress(RuntimeError):
            gather(f"{type(error).__name__}: {error}")
        raise
    for number, failure in enumerate(gather(None)):
        if failure is not None:
            raise ChildProcessError(
                f"process {number} of {world_size()} failed in {what}: {failure}"
            )
