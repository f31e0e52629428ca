"""How many threads torch takes for a piece of work.

Knows networks by their size. Does not know what they compute.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

# weights: of our heads the largest has a third of it, EfficientNet-B0 a third more
SMALL = 3_000_000


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread for the length of a block."""
    threads = torch.get_num_threads()
    if threads == 1:  # nothing to do, and nothing to undo
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def threads_for(model: nn.Module) -> AbstractContextManager[None]:
    """Keep torch to one thread for a block in which a small network without convolutions of images
    runs on the CPU.

    Its steps are so short that threads wait for one another longer than they compute: beside other
    work a Bi-GRU's epochs took fifteen times as long in two threads as in one.
    """
    large = any(isinstance(part, nn.Conv2d | nn.Conv3d) for part in model.modules())
    large = large or sum(weight.numel() for weight in model.parameters()) > SMALL
    return nullcontext() if large else one_thread()
