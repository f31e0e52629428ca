"""What is a video's action? One answer for a file or an array of frames, with the evidence frame by
frame.

Knows recognisers (a model with the preprocessing it was trained with), files and arrays. Builds no
model and knows no experiment: whoever calls brings the model, restored, and what its checkpoint
says about itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from data.video import probe, read_frames
from utils.data_setup import ClipTransform, Sampler, Window, collate, make_sampler, make_transform
from utils.features import Encoder

# A window has a voice when in each of its steps the liveliest pixels change at least this much of
# what they change in the liveliest window. Between a walker's passes the field is empty, while he
# enters or leaves only a part of him is there, and a recogniser of actions has no name for either.
# Chosen on KTH-Synth's validation persons, whole files.
LIVELY_SHARE = 0.8


@dataclass(frozen=True)
class Recogniser:
    """A trained model together with everything that decides what it is shown.

    Args:
        model: A network with a frozen `backbone` from pictures to features, see
            `utils.features.Encoder`, and a `head` that makes logits (B, K) of features (B, T, D)
            and masks (B, T), and by `frame_log_probs` (B, T, K).
        sampler: Which frames of a part of the video.
        transform: Frames to clip.
        classes: The K names, in the order of the logits.
        span: How many frames a clip of the training data had, typically, or the reach of a Window;
            a longer video is read in parts of about this length, or by a sliding window. None reads
            any video as one part.
        extra: Everything else that the checkpoint says about itself.
    """

    model: Any
    sampler: Sampler
    transform: ClipTransform
    classes: tuple[str, ...]
    span: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_extra(cls, model: nn.Module, extra: Mapping[str, Any]) -> Recogniser:
        """Make a recogniser of a restored model and what its checkpoint says under "extra"; nothing
        else decides.

        Raises ValueError naming what the checkpoint does not say although predicting needs it.
        """
        if missing := [name for name in ("classes", "sampler", "transform") if name not in extra]:
            raise ValueError(
                f"the checkpoint does not say its {', '.join(missing)}; it cannot be used for "
                "predicting"
            )
        sampler, transform = make_sampler(extra["sampler"]), make_transform(extra["transform"])
        return cls(
            model.eval(), sampler, transform, tuple(extra["classes"]), extra.get("span"), extra
        )

    @cached_property
    def encoder(self) -> Encoder:
        """The backbone as features are computed with everywhere, made on first use."""
        return Encoder(self.model.backbone)


@dataclass(frozen=True)
class Prediction:
    """The answer for one video: probabilities by class, and the numbers (0-based) of the frames
    that had a voice.

    frame_probs (T, K) holds the probabilities after each of these frames when they were asked for;
    where frames were pooled into one picture before the model saw them, they share its row.
    """

    file: str
    label: str
    probs: dict[str, float]
    frames: list[int]
    frame_probs: np.ndarray | None = None

    def to_json(self) -> dict[str, Any]:
        """Return {"file", "label", "probs", "frames"} in plain values."""
        return {"file": self.file, "label": self.label, "probs": self.probs, "frames": self.frames}


def predict_video(
    recogniser: Recogniser,
    video: str | Path | np.ndarray,
    *,
    start: int = 0,
    stop: int | None = None,
) -> Prediction:
    """Name the action in a video.

    Args:
        recogniser: See `Recogniser`.
        video: A file, or its frames as (T, H, W) grey or (T, H, W, 3) RGB uint8.
        start: First frame to consider.
        stop: End of the frames to consider, exclusive; None means to the end.

    Raises:
        VideoError: The file cannot be used.
        ValueError: The array is no video, or start and stop leave no frame.
    """
    return _predict(recogniser, video, start, stop, with_frames=False)


def predict_video_with_frame_probs(
    recogniser: Recogniser,
    video: str | Path | np.ndarray,
    *,
    start: int = 0,
    stop: int | None = None,
) -> Prediction:
    """Name the action in a video and keep the probabilities frame by frame; see `predict_video`."""
    return _predict(recogniser, video, start, stop, with_frames=True)


def parts(start: int, stop: int, span: int | None) -> list[tuple[int, int]]:
    """Cut start..stop into equal parts of about `span` frames; one part when span is None or no
    shorter than that."""
    count = 1 if span is None else max(1, round((stop - start) / span))
    edges = np.linspace(start, stop, count + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def windows(start: int, stop: int, span: int | None, stride: int = 1) -> list[tuple[int, int]]:
    """Slide a window of `span` frames over start..stop; all of it when it is no longer.

    It moves by about a quarter of itself, in whole strides: windows then share their frames, which
    are encoded once.
    """
    if span is None or stop - start <= span:
        return [(start, stop)]
    step = max(1, round(span / 4 / stride)) * stride
    return [(a, a + span) for a in range(start, stop - span + 1, step)]


def lively(pictures: Iterable[np.ndarray]) -> list[int]:
    """Return which windows (T, H, W) of a video show somebody throughout, measured against the
    liveliest one.

    The camera rests, so an empty scene changes by its noise only. Movement is the 99th percentile
    of the change from one frame to the next (a figure covers more than a hundredth of the picture);
    the stillest step of a window counts. A window of one picture has no movement to measure: then
    all have a voice.
    """
    movement = np.array([_movement(part) for part in pictures])
    return [int(part) for part in np.flatnonzero(~(movement < LIVELY_SHARE * movement.max()))]


def _movement(pictures: np.ndarray) -> float:
    if len(pictures) < 2:
        return np.nan
    changes = np.abs(np.diff(pictures.astype(np.int16), axis=0))
    return float(np.quantile(changes, 0.99, axis=(1, 2)).min())


def _predict(
    recogniser: Recogniser,
    video: str | Path | np.ndarray,
    start: int,
    stop: int | None,
    *,
    with_frames: bool,
) -> Prediction:
    length, name = (
        (len(_grey(video)), "array")
        if isinstance(video, np.ndarray)
        else (probe(video).frames, str(video))
    )
    end = length if stop is None else stop
    if not 0 <= start < end <= length:
        raise ValueError(
            f"{name} has {length} frames, not {start}..{end}; give 0 <= start < stop <= {length}"
        )
    looks = _looks(recogniser, start, end)
    frames = np.unique(
        recogniser.transform.with_neighbours(np.concatenate(looks), start, end)
    )  # each is read once
    pictures = _grey(video)[frames] if isinstance(video, np.ndarray) else read_frames(video, frames)
    places = [np.searchsorted(frames, look) for look in looks]
    sliding = isinstance(recogniser.sampler, Window)
    voices = lively(pictures[place] for place in places) if sliding else range(len(places))
    chosen = [looks[part] for part in voices]
    features = _features(recogniser, pictures, frames, chosen, start, end)
    log_probs, frame_probs = _run(recogniser.model, features, with_frames=with_frames)
    probs = log_probs.exp().mean(0)  # parts count alike, as a video's segments do
    answer = {k: float(p) for k, p in zip(recogniser.classes, probs / probs.sum(), strict=True)}
    return Prediction(
        file=name,
        label=recogniser.classes[int(probs.argmax())],
        probs=answer,
        frames=np.unique(np.concatenate(chosen)).tolist(),
        frame_probs=_aligned(frame_probs, chosen) if with_frames else None,
    )


def _looks(recogniser: Recogniser, start: int, stop: int) -> list[np.ndarray]:
    """Choose the frames of each part of start..stop: of a sliding window when the sampler is
    one."""
    sampler, span = recogniser.sampler, recogniser.span
    cut = (
        windows(start, stop, span, sampler.stride)
        if isinstance(sampler, Window)
        else parts(start, stop, span)
    )
    return [a + sampler(b - a) for a, b in cut]


def _features(
    recogniser: Recogniser,
    pictures: np.ndarray,
    frames: np.ndarray,
    looks: Sequence[np.ndarray],
    start: int,
    stop: int,
) -> list[Tensor]:
    """Encode looks (T_i,) at a video, whose pictures (U, H, W) of the frames (U,) are there, into
    (T_i, D) each."""
    transform, encode = recogniser.transform, recogniser.encoder.encode

    def clip(moments: np.ndarray) -> Tensor:
        return transform(
            pictures[np.searchsorted(frames, transform.with_neighbours(moments, start, stop))]
        )

    if transform.pool == "none":
        used = np.unique(np.concatenate(looks))  # encoded once, however many windows share it
        features = torch.from_numpy(encode(clip(used)))
        return [features[torch.from_numpy(np.searchsorted(used, look))] for look in looks]
    clips = [clip(look) for look in looks]
    return list(torch.from_numpy(encode(torch.cat(clips))).split([len(clip) for clip in clips]))


@torch.inference_mode()
def _run(
    model: Any, features: Sequence[Tensor], *, with_frames: bool
) -> tuple[Tensor, list[np.ndarray]]:
    """Return log-probabilities (P, K) of the parts and, when asked for, frame probabilities (T, K)
    of each part."""
    device = next(model.parameters()).device
    batch = collate([{"input": part, "label": 0, "index": 0} for part in features])
    inputs, mask = batch["input"].to(device), batch["mask"].to(device)
    log_probs = model.head(inputs, mask).float().log_softmax(-1).cpu()
    if not with_frames:
        return log_probs, []
    steps = model.head.frame_log_probs(inputs, mask).float().exp().cpu().numpy()
    return log_probs, [steps[row, : len(part)] for row, part in enumerate(features)]


def _aligned(frame_probs: Sequence[np.ndarray], chosen: Sequence[np.ndarray]) -> np.ndarray:
    """One row a frame in ascending order: a pooled picture's row is repeated, windows that overlap
    are averaged."""
    rows = np.concatenate(
        [np.repeat(p, len(c) // len(p), axis=0) for p, c in zip(frame_probs, chosen, strict=True)]
    )
    frames, place = np.unique(np.concatenate(chosen), return_inverse=True)
    total = np.zeros((len(frames), rows.shape[1]))
    np.add.at(total, place, rows)
    return total / np.bincount(place)[:, None]


def _grey(video: np.ndarray) -> np.ndarray:
    """Check an array of frames and bring it to (T, H, W)."""
    if (
        video.dtype != np.uint8
        or video.ndim not in (3, 4)
        or 0 in video.shape
        or video.shape[3:] not in ((), (3,))
    ):
        raise ValueError(
            f"a video of {video.dtype} and shape {video.shape}; give uint8 (T, H, W) or (T, H, "
            "W, 3)"
        )
    if video.ndim == 3:
        return video
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video])
