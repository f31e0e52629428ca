"""Heads that turn a sequence of frame features into a prediction: this is where time is averaged
away, or is not; and the whole model, encoder and head.

Knows features (B, T, D), masks (B, T) of valid frames, logits (B, K), and which encoder a model
gets unless one is given. Does not know files, class names or training. Every head has two calls:
`head(features, mask)` for the clip and `head.frame_log_probs(features, mask)` for a timeline. A
mask marks a clip's valid frames, which come first; what lies in the padding never reaches a logit.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models.backbone import EfficientNetBackbone


class Head(nn.Module):
    """What every head has in common: from frames' logits to predictions frame by frame."""

    frame_logits: Callable[..., Tensor]

    def frame_log_probs(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log-probabilities (B, T, K) frame by frame; rows of padded frames carry no
        meaning."""
        return self.frame_logits(*_cleaned(features, mask)).float().log_softmax(-1)


class FrameAverage(Head):
    """Classify every frame alone and average the probabilities: a clip is a bag of frames, their
    order is lost.

    The logits are the log of the mean probability, so cross-entropy on them is the loss of the
    averaged prediction (late fusion).

    Args:
        in_dim: Number of features of a frame.
        num_classes: Number of classes K.
        dropout: Share of a frame's features that are dropped in training.
    """

    def __init__(self, in_dim: int, num_classes: int, *, dropout: float = 0.3):
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(in_dim, num_classes)

    def frame_logits(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return each frame's own logits, (..., D) -> (..., K)."""
        return self.classifier(self.dropout(self.norm(features)))

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the log mean probability over the valid frames, (B, T, D) -> (B, K)."""
        features, mask = _cleaned(features, mask)
        # float: half precision loses the sum's tail
        log_probs = self.frame_logits(features).float().log_softmax(-1)
        total = log_probs.masked_fill(~mask.unsqueeze(-1), -math.inf).logsumexp(1)  # (B, K)
        return total - mask.sum(1, keepdim=True).float().log()


class FeatureMean(Head):
    """Average the frames' features and classify the mean: no order, and one step from the features
    to the logits, or two.

    The control of a recurrence: it sees the same frames and can be as large.

    Args:
        in_dim: Number of features of a frame.
        num_classes: Number of classes K.
        hidden: Size of a layer in between; 0 has none, the mean feature and a line.
        dropout: Share of the mean feature, and of the layer in between, that is dropped in
            training.
    """

    def __init__(self, in_dim: int, num_classes: int, *, hidden: int = 0, dropout: float = 0.3):
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        layers: list[nn.Module] = [nn.Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(in_dim, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.classifier = nn.Sequential(*layers, nn.Linear(hidden or in_dim, num_classes))

    def frame_logits(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits (..., K) of each frame's feature (..., D), as if it were the mean."""
        return self.classifier(self.norm(features))

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of the mean feature of the valid frames, (B, T, D)."""
        features, mask = _cleaned(features, mask)
        return self.frame_logits(features.sum(1) / mask.sum(1, keepdim=True).to(features.dtype))


class StateHead(Head):
    """What heads that know the order of frames share: a state a frame, whose mean is classified.

    A subclass has `dropout` and `classifier`, and says in `_states` how states are made.
    """

    dropout: nn.Module
    classifier: nn.Module
    _states: Callable[..., Tensor]

    def frame_logits(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the classifier's logits (B, T, K) of each frame's state."""
        return self.classifier(self._states(features, mask))

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of the mean state over the valid frames."""
        features, mask = _cleaned(features, mask)
        states, valid = self._states(features, mask), mask.unsqueeze(-1)  # (B, T, H), (B, T, 1)
        valid = valid.to(states.dtype)
        return self.classifier(self.dropout((states * valid).sum(1) / valid.sum(1)))


class TemporalGRU(StateHead):
    """A recurrence over the frames, forwards and backwards, whose states are averaged.

    Args:
        in_dim: Number of features of a frame.
        num_classes: Number of classes K.
        hidden: Size of the state in each direction.
        dropout: Share of the frame features, and of the pooled state, that is dropped in training.
    """

    def __init__(self, in_dim: int, num_classes: int, *, hidden: int = 128, dropout: float = 0.3):
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(in_dim, hidden, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * hidden, num_classes)

    def _states(self, features: Tensor, mask: Tensor) -> Tensor:
        inputs = self.dropout(self.norm(features))  # (B, T, D)
        if _is_exporting() or mask.all():
            return self.gru(inputs)[0]
        # packed: the backward direction starts at a clip's own last frame, not in its padding
        packed = pack_padded_sequence(
            inputs, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        return pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=mask.shape[1]
        )[0]


class TemporalConv(StateHead):
    """Dilated convolutions over the features and their change from frame to frame.

    Args:
        in_dim: Number of features of a frame.
        num_classes: Number of classes K.
        hidden: Channels of the convolutions.
        dropout: Share of the frame features, and of the pooled channels, that is dropped in
            training.
        dilations: Distance between the three frames that each convolution sees; (1, 2, 4) reaches
            15 frames.
    """

    def __init__(
        self,
        in_dim: int,
        num_classes: int,
        *,
        hidden: int = 128,
        dropout: float = 0.3,
        dilations: tuple[int, ...] = (1, 2, 4),
    ):
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(in_dim, hidden)
        self.mix = nn.Linear(2 * hidden, hidden)
        self.blocks = nn.ModuleList(_ConvBlock(hidden, dilation) for dilation in dilations)
        self.classifier = nn.Linear(hidden, num_classes)

    def _states(self, features: Tensor, mask: Tensor) -> Tensor:
        states = self.project(self.dropout(self.norm(features)))  # (B, T, H)
        before = torch.cat([states[:, :1], states], dim=1)  # the first frame has no change
        change = before[:, 1:] - before[:, :-1]
        states = self.mix(torch.cat([states, change], dim=-1))
        for block in self.blocks:
            states = block(states, mask)
        return states


class _ConvBlock(nn.Module):
    """One residual convolution over time; padding is set to 0 first, so that it is like
    the clip's own border."""

    def __init__(self, hidden: int, dilation: int):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.conv = nn.Conv1d(hidden, hidden, kernel_size=3, padding=dilation, dilation=dilation)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        quiet = self.norm(states).masked_fill(~mask.unsqueeze(-1), 0.0)
        return states + nn.functional.gelu(self.conv(quiet.transpose(1, 2))).transpose(1, 2)


class VideoClassifier(nn.Module):
    """A frame encoder and a head as one model: clips (B, T, C, H, W) to logits (B, K).

    Args:
        backbone: Maps (N, C, H, W) to (N, D).
        head: Maps (B, T, D) and a mask to (B, K).
    """

    def __init__(self, *, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, clip: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K); `mask` (B, T) marks valid frames, None means that all are."""
        return self.head(self.encode(clip, mask), mask)

    def frame_log_probs(self, clip: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log-probabilities (B, T, K) frame by frame, for timelines."""
        return cast(Any, self.head).frame_log_probs(self.encode(clip, mask), mask)

    def encode(self, clip: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, T, D); padded frames are not encoded (zeros) and so stay out of
        BatchNorm too."""
        if mask is None:
            mask = torch.ones(clip.shape[:2], dtype=torch.bool, device=clip.device)
        valid = self.backbone(clip[mask])
        features = valid.new_zeros(*mask.shape, valid.shape[-1])
        features[mask] = valid
        return features


HEADS: dict[str, type[nn.Module]] = {
    "average": FrameAverage,
    "mean": FeatureMean,
    "gru": TemporalGRU,
    "tcn": TemporalConv,
}


def build_head(name: str, **config: Any) -> nn.Module:
    """Build a head by its name with the keyword arguments of its class, in single precision
    whatever torch's default is, as features are."""
    if name not in HEADS:
        raise ValueError(f"there is no head {name!r}; the heads are {', '.join(HEADS)}")
    return HEADS[name](**config).float()


def frame_classifier(
    *,
    num_classes: int,
    channels: int = 1,
    weights: str | Path | None = "bundled",
    backbone: nn.Module | None = None,
    head: str = "average",
    **config: Any,
) -> VideoClassifier:
    """Build the model of an experiment: a frame encoder and a head.

    The head's first weights are those of the random generator's state at the call, whether the
    encoder is given, read from a file or drawn.

    Args:
        num_classes: Number of classes K.
        channels: Of a frame, 1 or 3, where the encoder is built here.
        weights: Of the encoder that is built here, see `EfficientNetBackbone`.
        backbone: An encoder with a `feature_dim`, used as it is; None builds a frozen one.
        head: One of HEADS.
        config: What else the head's class takes, such as hidden=128.

    Raises:
        ValueError: There is no such head, or see `EfficientNetBackbone`.
    """
    if backbone is None:
        with torch.random.fork_rng(devices=[]):
            backbone = EfficientNetBackbone(weights=weights, channels=channels)
    in_dim = cast(Any, backbone).feature_dim
    return VideoClassifier(
        backbone=backbone, head=build_head(head, in_dim=in_dim, num_classes=num_classes, **config)
    )


def _is_exporting() -> bool:
    """Tell whether torch.export looks on: its graphs take clips without padding, and a branch that
    hangs on values cannot be in them."""
    return getattr(torch.compiler, "is_exporting", bool)()


def _cleaned(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Check shapes, make the mask explicit, and set padding to 0, so that not even a NaN in it
    spoils a gradient."""
    if features.ndim != 3 or features.shape[1] == 0:
        raise ValueError(
            f"a head got features of shape {tuple(features.shape)}; it takes (B, T, D) with T >= 1"
        )
    if mask is None:
        return features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    if mask.shape != features.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"a head got a {mask.dtype} mask of shape {tuple(mask.shape)} for features of shape "
            f"{tuple(features.shape)}; it takes a bool mask (B, T)"
        )
    if not mask[:, 0].all() or (mask[:, 1:] & ~mask[:, :-1]).any():
        raise ValueError(
            "a mask must mark at least one frame of each clip, and valid frames come before padding"
        )
    return features.masked_fill(~mask.unsqueeze(-1), 0.0), mask
