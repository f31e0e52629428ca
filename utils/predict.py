"""What is the action in a video? One prediction for a file or an array, frame by frame if wanted.

Knows recognisers (a model with the preprocessing it was trained with), files and arrays. Builds no
model and knows no experiment: whoever calls brings the model, restored, and what its checkpoint
says about itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.data_setup import collate
from utils.encoder import Encoder
from utils.footage import Footage, Video
from utils.person import PersonReader
from utils.preprocessing import FixedStride, GreyFrames, Preprocessing, looker

# Motion gating: a clip is kept when in each of its steps the most changed pixels change at least
# this much of what they change in the clip of most motion. Between a walker's passes the field is
# empty, while he enters or leaves only a part of him is there, and a recogniser of actions has no
# name for either. Chosen on KTH-Synth's validation persons, whole files.
MOTION_SHARE = 0.8
NOBODY, SOMETHING_ELSE = "nobody", "something else"  # labels that are no action


@dataclass(frozen=True)
class Recogniser:
    """A trained model together with everything that decides what it is shown.

    Args:
        model: From clips to logits, see `experiments.table.Experiment`; where it has `encode`, its
            features are computed by `utils.features.Encoder` and read by its `head`.
        shown: The preprocessing.
        classes: The K names, in the order of the logits.
        clip_seconds: How long a piece of a video the model is made for; a longer video is read in
            pieces of about this length, or by a sliding clip of a fixed stride. None reads any
            video as one piece.
        extra: Everything else that the checkpoint says about itself.
    """

    model: Any
    shown: Preprocessing
    classes: tuple[str, ...]
    clip_seconds: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder as features are computed with everywhere, made on first use."""
        return Encoder(self.model.backbone)

    @cached_property
    def sight(self) -> str | None:
        """What names the encoder's weights; None where there is none, or it has no name."""
        name = getattr(getattr(self.model, "backbone", None), "fingerprint", None)
        return name() if callable(name) and hasattr(self.model, "encode") else None


@dataclass(frozen=True)
class Fusion:
    """Recognisers behind one person finder, whose log-probabilities are added.

    A member to which nobody is shown long enough says nothing; where the finder sees nobody at all,
    the prediction is "nobody". A member may know one class more, "something else", and so do the
    refusers: where it is likelier than the threshold in their mean, that is the prediction.

    Args:
        members: The recognisers; their readers share a finder.
        classes: The K names that all members know.
        threshold: Probability of something else above which a video is refused; None refuses none.
        extra: What else is to be said of it.
        refusers: Recognisers that are asked about something else alone.
    """

    members: tuple[Recogniser, ...]
    classes: tuple[str, ...]
    threshold: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    refusers: tuple[Recogniser, ...] = ()

    def predict(
        self,
        video: Video,
        start: int = 0,
        stop: int | None = None,
        fps: float | None = None,
        found: Mapping[str, np.ndarray] | None = None,
    ) -> Prediction:
        """Name the action in a video; see `predict_video`. found: what the finder's look gave."""
        return self.joined(self.said(video, start, stop, fps, found))

    def said(
        self,
        video: Video,
        start: int = 0,
        stop: int | None = None,
        fps: float | None = None,
        found: Mapping[str, np.ndarray] | None = None,
    ) -> list[Prediction]:
        """Return what each member and then each refuser says of a video, see `predict`; all say
        nobody where nobody is.

        The last member's probabilities are then those of the images as they are, for whoever wants
        one of the classes.
        """
        footage = Footage.of(video, fps)
        part = footage.part(start, stop)
        if found is None:
            found = looker(self.members[0].shown.reader).look(footage.video, footage.fps)
        if _somebody(found, *part):
            return _predict_all((*self.members, *self.refusers), footage, part, found)
        name, doubts, last = footage.name, footage.doubts(*part), self.members[-1]
        said = [nobody(name, one.classes, doubts) for one in self.members]
        if not getattr(last.shown.reader, "by_clip", False):  # else it knows numbers alone
            plain = replace(last, shown=replace(last.shown, reader=GreyFrames()))
            said[-1] = replace(_predict(plain, footage, part), label=NOBODY)
        return said

    def joined(self, said: Sequence[Prediction]) -> Prediction:
        """Join what members and refusers said of one video."""
        naming = said[: len(self.members)]
        told = [one for one in naming if one.label != NOBODY]
        total = sum(self.log_probs(one) for one in told or naming)
        probs = np.exp(total - np.logaddexp.reduce(total))
        label = self.classes[int(probs.argmax())] if told else NOBODY
        if told and self.threshold is not None and doubt(said) > self.threshold:
            label = SOMETHING_ELSE
        frames = sorted({frame for one in said for frame in one.frames})
        named = dict(zip(self.classes, probs.tolist(), strict=True))
        return Prediction(
            said[0].file, label, named, frames, doubts=said[0].doubts, something_else=doubt(said)
        )

    def log_probs(self, one: Prediction) -> np.ndarray:
        """Return a member's log-probabilities of the classes (K,) among one another."""
        known = np.array([one.probs[name] for name in self.classes])
        return np.log(known.clip(1e-9) / max(known.sum(), 1e-9))


def doubt(said: Sequence[Prediction]) -> float:
    """Return the probability of something else: the mean of those who know it and were shown
    somebody, 0 when nobody does."""
    knowing = [one for one in said if one.label != NOBODY and SOMETHING_ELSE in one.probs]
    return sum(one.probs[SOMETHING_ELSE] for one in knowing) / max(len(knowing), 1)


def _somebody(found: Mapping[str, np.ndarray], start: int, stop: int) -> bool:
    """Tell whether the finder saw anybody between two frames."""
    inside = (found["frames"] >= start) & (found["frames"] < stop)
    return bool(np.isfinite(found["square"][inside, 0]).any())


@dataclass(frozen=True)
class Prediction:
    """The prediction for one video: probabilities by class, and the frames (from 0) it rests on.

    frame_probs (T, K) holds the probabilities after each of these frames when they were wanted;
    where frames were averaged into one image before the model saw them, they share its row. doubts
    say, in sentences, why the answer is not to be relied on. something_else is how probable it is
    that none of the classes is seen, beside their probabilities among one another.
    """

    file: str
    label: str
    probs: dict[str, float]
    frames: list[int]
    frame_probs: np.ndarray | None = None
    doubts: tuple[str, ...] = ()
    something_else: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return {"file", "label", "probs", "frames", "doubts"} in plain values."""
        said = {"file": self.file, "label": self.label, "probs": self.probs, "frames": self.frames}
        return {**said, "doubts": list(self.doubts)}


def nobody(file: str, classes: Sequence[str], doubts: tuple[str, ...] = ()) -> Prediction:
    """Return the prediction for a video in which nobody was found: no class is more probable."""
    return Prediction(file, NOBODY, dict.fromkeys(classes, 1 / len(classes)), [], doubts=doubts)


def predict_video(
    recogniser: Recogniser | Fusion,
    video: Video,
    *,
    start: int = 0,
    stop: int | None = None,
    fps: float | None = None,
    found: Mapping[str, np.ndarray] | None = None,
) -> Prediction:
    """Name the one action in a video; `utils.timeline.timeline_of` has a video of several.

    Args:
        recogniser: See `Recogniser`.
        video: A file, or its frames as (T, H, W) grey or (T, H, W, 3) RGB uint8: an array, a
            tensor, or a list of one for each frame.
        start: First frame to consider.
        stop: End of the frames to consider, exclusive; None means to the end.
        fps: Frames a second; None takes the file's own, and KTH's 25 for an array.
        found: What the look of the recogniser's finder gave, where that is known already.

    Raises:
        VideoError: The file cannot be used.
        ValueError: The frames are no video, or start and stop leave none.
    """
    if isinstance(recogniser, Fusion):
        return recogniser.predict(video, start, stop, fps, found)
    footage = Footage.of(video, fps)
    return _predict(recogniser, footage, footage.part(start, stop), found)


def predict_video_with_frame_probs(
    recogniser: Recogniser | Fusion,
    video: Video,
    *,
    start: int = 0,
    stop: int | None = None,
    fps: float | None = None,
) -> Prediction:
    """Name the action in a video and keep the probabilities frame by frame; see `predict_video`.

    Those of a fusion are its last member's.
    """
    if isinstance(recogniser, Fusion):
        recogniser = recogniser.members[-1]
    footage = Footage.of(video, fps)
    return _predict(recogniser, footage, footage.part(start, stop), with_frames=True)


def pieces(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Cut start..stop into equal pieces of about `length` frames."""
    count = max(1, round((stop - start) / length))
    edges = np.linspace(start, stop, count + 1).round().astype(int).tolist()
    return list(zip(edges[:-1], edges[1:], strict=True))


def sliding(start: int, stop: int, length: int, stride: int = 1) -> list[tuple[int, int]]:
    """Slide a clip of `length` frames over start..stop; all of it when it is no longer.

    It moves by about a quarter of itself, in whole strides: clips then share their sampled frames,
    which are encoded once.
    """
    if stop - start <= length:
        return [(start, stop)]
    step = max(1, round(length / 4 / stride)) * stride
    return [(a, a + length) for a in range(start, stop - length + 1, step)]


def motion_gate(clips: Iterable[np.ndarray]) -> list[int]:
    """Return which clips (T, H, W) of a video show motion throughout, against the one of most.

    The camera rests, so an empty scene changes by its noise only. The motion score of a clip is the
    99th percentile of the change from one sampled frame to the next (a figure covers more than a
    hundredth of the image) in its stillest step. A clip of one frame has no motion to measure: then
    all are kept.
    """
    scores = np.array([_motion_score(clip) for clip in clips])
    return [int(place) for place in np.flatnonzero(~(scores < MOTION_SHARE * scores.max()))]


def _motion_score(clip: np.ndarray) -> float:
    if len(clip) < 2:
        return np.nan
    changes = np.abs(np.diff(clip.astype(np.int16), axis=0))
    return float(np.quantile(changes, 0.99, axis=(1, 2)).min())


@dataclass(frozen=True)
class _ByFrame:
    """A row for each of some frames: their numbers (U,), which ascend, and the rows (U, ...)."""

    numbers: np.ndarray
    rows: np.ndarray

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        return self.rows[np.searchsorted(self.numbers, numbers)]


@dataclass(frozen=True)
class _Seen:
    """What a recogniser is shown of a video: the frames (T_i,) of its clips, and what is classified
    of each."""

    clips: Sequence[np.ndarray]
    inputs: Sequence[Tensor]


def _predict(
    recogniser: Recogniser,
    footage: Footage,
    part: tuple[int, int],
    found: Mapping[str, np.ndarray] | None = None,
    *,
    with_frames: bool = False,
) -> Prediction:
    found = found or looker(recogniser.shown.reader).look(footage.video, footage.fps)
    seen = _see(recogniser, footage, part, found)
    return _say(recogniser, footage, part, seen, with_frames=with_frames)


def _predict_all(
    recognisers: Sequence[Recogniser],
    footage: Footage,
    part: tuple[int, int],
    found: Mapping[str, np.ndarray],
) -> list[Prediction]:
    """Let recognisers predict; those that are shown the same, by the same encoder, see it once."""
    looked: list[tuple[Recogniser, _Seen]] = []
    for one in recognisers:
        alike = (seen for other, seen in looked if _sees_alike(one, other))
        looked.append((one, next(alike, None) or _see(one, footage, part, found)))
    return [_say(one, footage, part, seen) for one, seen in looked]


def _sees_alike(one: Recogniser, other: Recogniser) -> bool:
    """Tell whether what is classified of a video is the same for two recognisers."""
    if (one.shown, one.clip_seconds) != (other.shown, other.clip_seconds):
        return False
    return one.sight is not None and one.sight == other.sight


def _see(
    recogniser: Recogniser,
    footage: Footage,
    part: tuple[int, int],
    found: Mapping[str, np.ndarray] | None,
) -> _Seen:
    shown = recogniser.shown
    start, stop = shown.span(*part, found)
    clips = _clips(recogniser, start, stop, footage.fps)
    if found is not None and isinstance(shown.reader, PersonReader):
        clips = [clip for clip in clips if shown.reader.shows(found, clip)]
        if not clips:
            return _Seen([], [])

    def stacked(frames: np.ndarray) -> np.ndarray:
        return shown.stacked(frames, start, stop, footage.fps)

    if getattr(shown.reader, "by_clip", False):
        arrays = shown.reader.read(footage.video, clips, found)
        return _Seen(clips, [shown.transformed(array) for array in arrays])
    numbers = np.unique(np.concatenate([stacked(clip) for clip in clips]))
    (images,) = shown.reader.read(footage.video, [numbers], found)
    read = _ByFrame(numbers, images)
    if isinstance(shown.sampler, FixedStride):
        clips = _moving(clips, read)

    def clip_of(frames: np.ndarray) -> Tensor:
        return shown.told(shown.transformed(read[stacked(frames)]), found, frames)

    return _Seen(clips, _inputs(recogniser, clips, clip_of))


def _say(
    recogniser: Recogniser,
    footage: Footage,
    part: tuple[int, int],
    seen: _Seen,
    *,
    with_frames: bool = False,
) -> Prediction:
    if not seen.clips:
        return nobody(footage.name, recogniser.classes, footage.doubts(*part))
    log_probs, frame_probs = _run(recogniser, seen.inputs, with_frames=with_frames)
    probs = log_probs.exp().mean(0)  # clips count alike, as a video's segments do
    named = zip(recogniser.classes, (probs / probs.sum()).tolist(), strict=True)
    return Prediction(
        file=footage.name,
        label=recogniser.classes[int(probs.argmax())],
        probs=dict(named),
        frames=np.unique(np.concatenate(seen.clips)).tolist(),
        frame_probs=_by_frame(frame_probs, seen.clips) if with_frames else None,
        doubts=footage.doubts(*part),
    )


def _clips(recogniser: Recogniser, start: int, stop: int, fps: float) -> list[np.ndarray]:
    """Choose the sampled frames (T_i,) of each piece of start..stop, or of a sliding clip."""
    sampler, seconds = recogniser.shown.sampler, recogniser.clip_seconds
    if seconds is None:
        cut = [(start, stop)]
    elif isinstance(sampler, FixedStride):
        stride = max(1, round(sampler.seconds * fps))
        cut = sliding(start, stop, sampler.clip_length(fps), stride)
    else:
        cut = pieces(start, stop, max(1, round(seconds * fps)))
    return [a + sampler(b - a, fps) for a, b in cut]


def _moving(clips: list[np.ndarray], read: _ByFrame) -> list[np.ndarray]:
    """Keep the clips that motion gating keeps; numbers instead of images are not gated."""
    if read.rows.ndim != 3:
        return clips
    return [clips[place] for place in motion_gate(read[clip] for clip in clips)]


def _inputs(
    recogniser: Recogniser,
    clips: Sequence[np.ndarray],
    clip_of: Callable[[np.ndarray], Tensor],
) -> list[Tensor]:
    """Return what is classified of each clip: the clip itself, or its features (T_i, D)."""
    if not hasattr(recogniser.model, "encode"):
        return [clip_of(clip) for clip in clips]
    encode = recogniser.encoder.encode
    if recogniser.shown.transform.pool == "mean":  # one image a clip
        return list(torch.from_numpy(encode(torch.cat([clip_of(clip) for clip in clips])))[:, None])
    frames = np.unique(np.concatenate(clips))
    features = _ByFrame(frames, encode(clip_of(frames)))  # a frame that clips share, once
    return [torch.from_numpy(features[clip]) for clip in clips]


@torch.inference_mode()
def _run(
    recogniser: Recogniser, inputs: Sequence[Tensor], *, with_frames: bool
) -> tuple[Tensor, list[np.ndarray]]:
    """Return log-probabilities (P, K) of P clips, and the probabilities (T_i, K) after each frame
    of each when they are wanted."""
    model = recogniser.model
    network = model.head if hasattr(model, "encode") else model
    device = next(network.parameters()).device
    batch = collate([{"input": clip, "label": 0, "index": 0} for clip in inputs])
    tensors = batch["input"].to(device), batch["mask"].to(device)
    log_probs = network(*tensors).float().log_softmax(-1).cpu()
    if not with_frames:
        return log_probs, []
    if hasattr(network, "frame_log_probs"):
        steps = network.frame_log_probs(*tensors).float().exp().cpu()
    else:  # a model of whole clips has one prediction for all of its frames
        steps = log_probs.exp()[:, None].expand(*batch["mask"].shape, -1)
    return log_probs, [row[: len(clip)].numpy() for row, clip in zip(steps, inputs, strict=True)]


def _by_frame(frame_probs: Sequence[np.ndarray], clips: Sequence[np.ndarray]) -> np.ndarray:
    """One row a frame in ascending order: an averaged image's row is repeated, overlaps
    averaged."""
    parts = zip(frame_probs, clips, strict=True)
    rows = np.concatenate([np.repeat(p, len(c) // len(p), axis=0) for p, c in parts])
    frames, place = np.unique(np.concatenate(clips), return_inverse=True)
    total = np.zeros((len(frames), rows.shape[1]))
    np.add.at(total, place, rows)
    return total / np.bincount(place)[:, None]
