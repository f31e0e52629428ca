"""A frame encoder that passes on what is told beside the images: clips with planes of numbers.

Knows images (N, C, H, W) behind whose channels further ones lie that each hold one number. Does not
know what these numbers mean; the reader that gave them does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.backbone import EfficientNetBackbone
from models.temporal import VideoClassifier, frame_classifier


class WithNumbers(nn.Module):
    """A backbone whose features are followed by the numbers beside the images.

    Args:
        backbone: Maps images (N, C, H, W) to features (N, D).
        channels: How many channels C are images.
        numbers: How many planes of one number each follow them.
    """

    def __init__(self, backbone: Any, *, channels: int, numbers: int):
        super().__init__()
        self.backbone, self.channels, self.numbers = backbone, channels, numbers
        self.feature_dim = backbone.feature_dim + numbers

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C + numbers, H, W) to (N, D + numbers)."""
        features = self.backbone(images[:, : self.channels])
        return torch.cat([features, images[:, self.channels :, 0, 0].to(features.dtype)], 1)

    def folded_for_inference(self, dtype: torch.dtype | None = None) -> WithNumbers:
        """Return the same with its backbone made fast; see `EfficientNetBackbone`."""
        folded = self.backbone.folded_for_inference(dtype)
        return WithNumbers(folded, channels=self.channels, numbers=self.numbers)

    def fingerprint(self) -> str:
        """Name the backbone's weights."""
        return self.backbone.fingerprint()

    def unfreeze(self, stages: int) -> None:
        """Let the backbone's last stages be trained."""
        self.backbone.unfreeze(stages)


def followed_classifier(
    *,
    num_classes: int,
    numbers: int,
    channels: int = 1,
    weights: str | Path | None = "bundled",
    backbone: nn.Module | None = None,
    **config: Any,
) -> VideoClassifier:
    """Build a frame encoder that passes numbers on, unless one is given, and a head; see
    `frame_classifier`."""
    if backbone is None:
        with torch.random.fork_rng(devices=[]):
            images = EfficientNetBackbone(weights=weights, channels=channels)
        backbone = WithNumbers(images, channels=channels, numbers=numbers)
    return frame_classifier(num_classes=num_classes, backbone=backbone, **config)
