"""A classifier of joints over time: numbers (B, T, D) to logits (B, K).

Knows numbers and masks. Does not know which numbers they are, nor where they come from.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class JointGRU(nn.Module):
    """A projection, a recurrence both ways, and the mean and the largest of its states.

    Args:
        in_dim: Numbers D a step.
        num_classes: Number of classes K.
        hidden: Size of the projection, and of the state in each direction.
        dropout: Share of the pooled states that is dropped in training.
    """

    def __init__(self, *, in_dim: int, num_classes: int, hidden: int = 96, dropout: float = 0.3):
        super().__init__()
        self.project = nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU(), nn.Dropout(0.1))
        self.forth = nn.GRU(hidden, hidden, batch_first=True)
        self.back = nn.GRU(hidden, hidden, batch_first=True)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * hidden, num_classes))

    def forward(self, clip: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of numbers (B, T, D); `mask` (B, T) marks the steps that count,
        which come first; None means that all do."""
        if mask is None:
            mask = torch.ones(clip.shape[:2], dtype=torch.bool, device=clip.device)
        steps = self.project(clip)  # (B, T, H)
        # the way back starts at a clip's own last step, and what does not count stays behind; this
        # is several times as fast as packed sequences are
        turned = mask.sum(1, keepdim=True) - 1 - torch.arange(clip.shape[1], device=clip.device)
        turned = turned.remainder(clip.shape[1]).unsqueeze(-1).expand_as(steps)
        back = self.back(steps.gather(1, turned))[0].gather(1, turned)
        states = torch.cat([self.forth(steps)[0], back], -1)  # (B, T, 2 H)
        valid = mask.unsqueeze(-1)  # (B, T, 1)
        mean = (states * valid).sum(1) / valid.sum(1)
        most = states.masked_fill(~valid, -torch.inf).amax(1)
        return self.classifier(torch.cat([mean, most], -1))


class JointGRUs(nn.Module):
    """Several networks that are trained one by one; the prediction is their mean probability."""

    def __init__(self, networks: Iterable[JointGRU]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, clip: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log-probabilities (B, K) of numbers (B, T, D); see `JointGRU`."""
        said = [network(clip, mask).log_softmax(-1) for network in self.networks]
        return torch.logsumexp(torch.stack(said), 0) - math.log(len(said))


def joint_classifier(
    *,
    num_classes: int,
    in_dim: int,
    networks: int = 1,
    channels: int = 1,
    weights: Any = None,
    **config: Any,
) -> JointGRUs:
    """Build a classifier of joints as experiments do, in single precision whatever torch's default
    is; it has neither channels nor pre-trained weights."""
    each = (JointGRU(in_dim=in_dim, num_classes=num_classes, **config) for _ in range(networks))
    return JointGRUs(each).float()
