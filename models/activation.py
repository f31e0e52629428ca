"""Which part of a frame speaks for a class, and which frame: class activation, frame by frame.

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


def frame_importance(model: VideoClassifier, clip: Tensor, label: int) -> Tensor:
    """Return how much each frame's features raise a class's logit, (T,), as shares that add up to
    1; all alike where none does.

    Each feature times the gradient of the logit by it, added up (Shrikumar et al., "Not Just a
    Black Box: Learning Important Features Through Propagating Activation Differences", 2016).

    Args:
        model: The encoder and a head.
        clip: One clip (T, C, H, W) in [0, 1].
        label: Index of the class.
    """
    model = model.eval()
    with torch.no_grad():
        features = model.encode(clip.unsqueeze(0)).float()  # (1, T, D)
    with torch.enable_grad():
        features = features.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model.head(features)[0, label], features)
    raised = (gradient * features).detach().sum(-1)[0].relu()  # (T,)
    total = raised.sum()
    return raised / total if total > 0 else torch.full_like(raised, 1 / len(raised))
