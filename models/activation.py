"""Which part of a frame speaks for a class: class activation maps.

Knows a `VideoClassifier` and tensors. Does not know files, figures or class names.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.temporal import VideoClassifier


def class_activation(model: VideoClassifier, clip: Tensor, label: int) -> Tensor:
    """Return where the last feature maps of each frame raise a class's logit, (T, h, w), h and w a
    32nd of the frame's; 0 and above, the largest value of the clip is 1.

    Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", ICCV 2017, equations 1 and 2): the maps are added up, each weighted with the mean
    gradient of the logit by it.

    Args:
        model: Its backbone has convolutional `features`.
        clip: One clip (T, C, H, W) in [0, 1].
        label: Index of the class.
    """
    kept: list[Tensor] = []

    def keep(module: Any, inputs: Any, maps: Tensor) -> Tensor:
        kept.append(maps.detach().float().requires_grad_())
        return kept[-1]

    backbone: Any = model.backbone
    hook = backbone.features.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = model.eval()(clip.unsqueeze(0))  # (1, K)
            (gradient,) = torch.autograd.grad(logits[0, label], kept)  # (T, D, h, w)
    finally:
        hook.remove()
    weighted = gradient.mean((2, 3), keepdim=True) * kept[0].detach()
    activation = weighted.sum(1).relu()
    return activation / activation.max().clamp(min=torch.finfo(activation.dtype).tiny)
