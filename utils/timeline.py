"""What is done in a video, and when: spans of actions that cover all of it.

Knows recognisers, files and frames of any length, and how answers for windows become spans. Does
not know how a window is answered (`utils.watching`), nor how a picture is drawn (`utils.viz`).

Neighbouring windows share most of their frames, so their answers are smoothed: the labels are those
of the most probable path with a cost for each change of label (Viterbi's algorithm: Forney, "The
Viterbi Algorithm", Proceedings of the IEEE, 1973). Nothing is averaged over a change.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from data.kth import FPS
from data.steady import alike, steady, steady_rate, thinning
from data.video import probe, spaced
from utils.footage import Footage, Video
from utils.person import LARGEST, PersonTrack
from utils.predict import NOBODY, SOMETHING_ELSE, Fusion, Recogniser
from utils.watching import Answer, Watcher

UNSURE = "unsure"  # a label that is no action
# Below it the most probable class is more probably wrong than right. By Chow's rule ("On Optimum
# Recognition Error and Reject Tradeoff", 1970) that is where to reject when no answer costs half as
# much as a wrong one.
SURE = 0.5
# Of a change of label, in nats. Chosen on rendered validation persons who do one thing and then
# another: `python -m experiments.switching`.
SWITCH = 1.0
LEAST = 1e-4  # probability: no window alone rules a class out
BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of video [{elapsed}<{remaining}]"
NO_ACTION = {
    NOBODY: "nobody was found",
    SOMETHING_ELSE: "a movement that is none of the classes",
    UNSURE: f"no class has a probability of {SURE:.0%}",
}
STILL = "nothing that can be seen moves in it, and an action is told by movement"


@dataclass(frozen=True)
class Span:
    """A part of a video: from and to which second, what is done, how probable that is, and why no
    action is named where none is; nobody's absence has no probability."""

    start_s: float
    stop_s: float
    label: str
    probability: float | None
    reason: str = ""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.stop_s - self.start_s


@dataclass(frozen=True, eq=False)
class Timeline:
    """What is done in a video, and when.

    Args:
        file: What messages call it.
        model: The recogniser's name.
        fps: Its frames a second, on average where that varies.
        seconds: How long it is.
        window_s: How long the windows are that were answered.
        classes: The K names.
        times: The middle of each of N windows, in seconds (N,).
        probs: Probabilities of the classes among one another (N, K).
        something_else: How probable it is that a movement is none of these (N,).
        labels: Of each window after smoothing (N,): a class, "nobody", "something else", "unsure".
        segments: The spans; together they cover the video.
        doubts: Why it is not to be relied on, in sentences.
        track: Where the person is, without masks, if that was to be kept.
    """

    file: str
    model: str
    fps: float
    seconds: float
    window_s: float
    classes: tuple[str, ...]
    times: np.ndarray
    probs: np.ndarray
    something_else: np.ndarray
    labels: tuple[str, ...]
    segments: tuple[Span, ...]
    doubts: tuple[str, ...] = ()
    track: PersonTrack | None = None

    @property
    def label(self) -> str:
        """The one label of the whole: the class that is done longest, if any is, else what takes
        longest."""
        lasting: dict[str, float] = {}
        for span in self.segments:
            lasting[span.label] = lasting.get(span.label, 0.0) + span.seconds
        actions = {name: s for name, s in lasting.items() if name in self.classes}
        return max(actions or lasting, key=(actions or lasting).__getitem__)

    @property
    def overall(self) -> dict[str, float]:
        """Probabilities of the classes in the windows that have the one label, averaged."""
        which = [label == self.label for label in self.labels]
        mean = self.probs[which if any(which) else slice(None)].mean(0)
        return dict(zip(self.classes, mean.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return all but the track in plain values; times in seconds."""
        told = {name: getattr(self, name) for name in ("file", "model", "fps", "seconds")}
        return {
            **told,
            "label": self.label,
            "probs": self.overall,
            "segments": [asdict(span) for span in self.segments],
            "doubts": list(self.doubts),
            "window_s": self.window_s,
            "classes": list(self.classes),
            "times": np.round(self.times, 3).tolist(),
            "labels": list(self.labels),
            "window_probs": np.round(self.probs, 4).tolist(),
            "something_else": np.round(self.something_else, 4).tolist(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each span, as a CSV file has them."""
        return [{"file": self.file, **asdict(span)} for span in self.segments]

    def figure(self, title: str | None = None) -> Any:
        """Draw the spans and, below, the windows' probabilities; title None says file and label."""
        from utils.viz import span_timeline

        if title is None:
            title = f"{Path(self.file).name}: {self.label}"
        title = title.replace("$", r"\$")  # else matplotlib sets a formula
        spans = [(span.start_s, span.stop_s, span.label) for span in self.segments]
        said = [label != NOBODY for label in self.labels]  # else there is nothing to classify
        which = said if any(said) else slice(None)
        times, probs = self.times[which], self.probs[which]
        return span_timeline(spans, self.classes, times, probs, seconds=self.seconds, title=title)

    def _repr_png_(self) -> bytes:
        return bytes(self.figure()._repr_png_())


def timeline_of(
    recogniser: Recogniser | Fusion,
    video: Video | Iterable[Any],
    *,
    fps: float | None = None,
    every: float = 0.5,
    progress: bool = False,
    keep_track: bool = False,
) -> Timeline:
    """Say what is done in a video of any length, and when; it is read once and never held whole.

    Args:
        recogniser: Who answers, see `utils.predict`.
        video: A file, frames as `utils.predict.predict_video` takes them, or an iterator of frames
            (H, W) grey or (H, W, 3) RGB uint8.
        fps: Frames a second; None takes the file's own times, and KTH's 25 for frames.
        every: Seconds from one answer to the next.
        progress: Show a bar.
        keep_track: Keep where the person is, which takes 0.6 kB a look.

    Raises:
        VideoError: The file cannot be used.
        ValueError: The frames are no video, or fps or every is not above 0.
    """
    for name, value in (("fps", fps), ("every", every)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value}; it must be above 0")
    source = _Source.of(video, fps)
    tracks: list[PersonTrack] = []

    def keep(part: PersonTrack) -> None:
        tracks.append(replace(part, mask=part.mask[:, :0, :0]))

    watcher = Watcher(recogniser, source.rate, every=every)
    if keep_track:
        watcher.on_track = keep
    answers = list(watcher.answers(source.shown(progress)))
    if not answers:
        raise ValueError("an iterator without a frame is no video; give at least one")
    timeline = _timeline(recogniser, answers, watcher, source)
    return replace(timeline, track=PersonTrack.joined(tracks)) if tracks else timeline


@dataclass
class _Source:
    """Frames at an even rate, and what is to be said of where they come from.

    Args:
        frames: BGR or grey, no larger than the finder looks at.
        rate: Of them a second.
        footage: The video; None where its end is not known.
        fps: Frames a second as filmed.
        seconds: How long it is; None where its end is not known.
    """

    frames: Iterable[np.ndarray]
    rate: float
    footage: Footage | None
    fps: float
    seconds: float | None

    @classmethod
    def of(cls, video: Any, fps: float | None) -> _Source:
        """Open a file, or take frames; see `timeline_of` for what is taken and raised."""
        footage: Footage | None = None
        if isinstance(video, (str, os.PathLike)):
            path, info = Path(video), probe(video)
            if fps is not None:
                info = replace(info, fps=fps, stamped=None)
            footage = Footage.of(path, fps)
            frames, rate = steady(path, info, LARGEST), steady_rate(info)
            return cls(frames, rate, footage, info.rate, info.seconds)
        fps = fps or FPS
        thin = thinning(fps)
        if not isinstance(video, Iterator):
            footage = Footage.of(video, fps)
            video = video if isinstance(video, (list, tuple)) else np.asarray(video)
        seconds = None if footage is None else footage.length / fps
        frames = alike(map(_blue_first, (one for _, one in spaced(video, thin))), LARGEST)
        return cls(frames, fps / thin, footage, fps, seconds)

    def shown(self, progress: bool) -> Iterator[np.ndarray]:
        """Yield the frames, and show a bar of the seconds."""
        how: dict[str, Any] = {} if progress else {"disable": True}  # else TQDM_DISABLE is asked
        if self.seconds is not None:
            how |= {"total": round(self.seconds, 1), "bar_format": BAR}
        with tqdm(desc="watching", unit="s", leave=False, **how) as bar:
            for image in self.frames:
                yield image
                bar.update(1 / self.rate)


def _blue_first(frame: Any) -> np.ndarray:
    """Check a frame of a caller, grey or RGB, and return it grey or BGR."""
    image = np.asarray(frame)
    fits = image.dtype == np.uint8 and image.ndim in (2, 3) and image.shape[2:] in ((), (3,))
    if not fits or 0 in image.shape:
        raise ValueError(
            f"a frame of {image.dtype} and shape {image.shape}; give uint8 (H, W) or (H, W, 3)"
        )
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def _timeline(
    recogniser: Recogniser | Fusion, answers: Sequence[Answer], watcher: Watcher, source: _Source
) -> Timeline:
    """Put windows' answers together."""
    rate, classes = watcher.rate, recogniser.classes
    seconds = watcher.count / rate if source.seconds is None else source.seconds
    times = np.array([(one.start + one.stop) / 2 / rate for one in answers])
    probs = np.array([[one.prediction.probs[name] for name in classes] for one in answers])
    otherwise = np.array([one.prediction.something_else for one in answers])
    threshold = getattr(recogniser, "threshold", None)
    labels = smoothed(answers, probs, otherwise, watcher.apart, threshold)
    height, width = watcher.greys[-1].shape
    footage = source.footage or Footage(
        np.zeros((0, 1, 1), np.uint8),
        "frames",
        max(1, round(seconds * source.fps)),
        source.fps,
        (height, width),
        all(one.still for one in answers),
    )
    return Timeline(
        file=footage.name,
        model=str(recogniser.extra.get("experiment", type(recogniser).__name__)),
        fps=source.fps,
        seconds=seconds,
        window_s=watcher.length / rate,
        classes=tuple(classes),
        times=times,
        probs=probs,
        something_else=otherwise,
        labels=tuple(labels),
        segments=tuple(_spans(answers, labels, times, seconds, probs, otherwise)),
        doubts=footage.doubts(0, footage.length),
    )


def smoothed(
    answers: Sequence[Answer],
    probs: np.ndarray,
    otherwise: np.ndarray,
    apart: int = 1,
    threshold: float | None = None,
    switch: float = SWITCH,
) -> list[str]:
    """Return the labels (N,) of windows on the most probable path.

    Where nobody is, or nothing moves, is seen and not guessed: there each window has its label.
    A class that is less probable than SURE all along, or for `apart` windows, is unsure there.

    Args:
        answers: The windows' answers.
        probs: Probabilities of the K classes (N, K).
        otherwise: Those of something else (N,).
        apart: From which window on there is no frame in common; so much less counts one's evidence.
        threshold: Above which something else is said of a window alone; None never says it.
        switch: Cost of a change, in nats.
    """
    names = (*answers[0].prediction.probs, SOMETHING_ELSE)
    scores = _scores(probs, otherwise, threshold)
    labels: list[str] = []
    for fixed, run in groupby(range(len(answers)), lambda n: _seen(answers[n])):
        which = list(run)
        if fixed is not None:
            labels += [fixed] * len(which)
            continue
        for state, part in groupby(cheapest_path(scores[which] / apart, switch).tolist()):
            here = slice(len(labels), len(labels) + len(list(part)))
            sure = np.ones(here.stop - here.start, bool)
            if state < probs.shape[1]:
                sure = _sure(probs[here, state], apart)
            labels += [names[state] if one else UNSURE for one in sure]
    return labels


def _seen(answer: Answer) -> str | None:
    """Return the label that a window has without a guess."""
    if answer.empty or answer.prediction.label == NOBODY:
        return NOBODY
    return UNSURE if answer.still else None


def _scores(probs: np.ndarray, otherwise: np.ndarray, threshold: float | None) -> np.ndarray:
    """Return how well each label fits each window, (N, K + 1) in nats.

    By itself a window is something else where that is above its threshold, as
    `utils.predict.Fusion.joined` says.
    """
    classes = np.log(probs.clip(LEAST))
    ratio = np.zeros(len(probs)) if threshold is None else otherwise / max(threshold, LEAST)
    other = classes.max(1) + np.log(ratio.clip(LEAST))
    return np.concatenate([classes, other[:, None]], 1)


def _sure(probs: np.ndarray, apart: int) -> np.ndarray:
    """Tell which windows in a row are sure of a label, given its probabilities (N,)."""
    sure = np.ones(len(probs), bool)
    at = 0
    for doubted, run in groupby((probs < SURE).tolist()):
        length = len(list(run))
        if doubted and length >= min(apart, len(probs)):
            sure[at : at + length] = False
        at += length
    return sure


def cheapest_path(scores: np.ndarray, switch: float) -> np.ndarray:
    """Return the states (N,) whose scores (N, S) are the largest sum, a change costing `switch`."""
    best, came = scores[0], []
    for row in scores[1:]:
        elsewhere = best.max() - switch
        came.append(np.where(best >= elsewhere, np.arange(len(best)), best.argmax()))
        best = np.maximum(best, elsewhere) + row
    path = [int(best.argmax())]
    for before in reversed(came):
        path.append(int(before[path[-1]]))
    return np.array(path[::-1])


def _spans(
    answers: Sequence[Answer],
    labels: Sequence[str],
    times: np.ndarray,
    seconds: float,
    probs: np.ndarray,
    otherwise: np.ndarray,
) -> Iterator[Span]:
    """Join windows of one label; a change lies midway between two windows' middles."""
    classes = list(answers[0].prediction.probs)
    edges = np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [seconds]])

    def kind(n: int) -> tuple[str, bool]:
        return labels[n], labels[n] == UNSURE and answers[n].still

    for (label, still), run in groupby(range(len(labels)), kind):
        which = list(run)
        probability: float | None = None
        if label in classes:
            probability = float(probs[which, classes.index(label)].mean())
        elif label == SOMETHING_ELSE:
            probability = float(otherwise[which].mean())
        elif label == UNSURE and not still:
            probability = float(probs[which].max(1).mean())
        reason = STILL if still else NO_ACTION.get(label, "")
        yield Span(float(edges[which[0]]), float(edges[which[-1] + 1]), label, probability, reason)
