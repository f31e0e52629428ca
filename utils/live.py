"""What is done before a camera, now: the newest window is answered again and again.

Knows recognisers and frames with the second at which each was taken. Does not know cameras
(`data.live`) nor windows on a screen. Frames may be missing: for each moment of the window the
nearest that came is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from data.steady import alike
from data.video import grey_of
from utils.camera import RESTS
from utils.person import LARGEST, PersonTrack
from utils.person_search import SearchSettings
from utils.predict import Fusion, Prediction, Recogniser, predict_video
from utils.watching import finder_of, window_seconds


class _Came(NamedTuple):
    """A frame: when it was taken, in grey, and the track's row of it."""

    at: float
    grey: np.ndarray
    look: PersonTrack | None


@dataclass(frozen=True)
class Moment:
    """A frame that came, and the newest answer.

    Args:
        at: Second at which it was taken.
        image: The frame, (H, W, 3) BGR.
        look: Where the person is, one row; None where nobody is sought.
        answer: The newest; None before the first window is full.
        latency_s: From the newest frame of that window to its answer; None where this frame brought
            none.
    """

    at: float
    image: np.ndarray
    look: PersonTrack | None
    answer: Prediction | None
    latency_s: float | None


def live_rate(recogniser: Recogniser | Fusion) -> float:
    """Return how many frames a second are looked at: as many as the finder takes."""
    finder = finder_of(recogniser)
    return SearchSettings().rate if finder is None else finder.rate


def live_answers(
    recogniser: Recogniser | Fusion,
    frames: Iterable[tuple[float, np.ndarray]],
    now: Callable[[], float],
    *,
    every: float = 0.5,
) -> Iterator[Moment]:
    """Yield a moment for each frame as it comes, with an answer `every` so many seconds.

    Args:
        recogniser: Who answers.
        frames: Seconds and images (H, W, 3) BGR, about `live_rate` a second or fewer.
        now: Says what second it is.
        every: Seconds from one answer to the next, at least.
    """
    rate, seconds = live_rate(recogniser), window_seconds(recogniser)
    count, due = max(1, round(seconds * rate)), 0.0
    window: deque[_Came] = deque()
    newest: Prediction | None = None
    for at, image, look in _looked(recogniser, frames, rate):
        window.append(_Came(at, grey_of(image), look))
        while at - window[0].at > seconds:
            window.popleft()
        latency = None
        if at >= due - 0.25 / rate and at - window[0].at >= (count - 1.5) / rate:
            newest = _answer(recogniser, list(window), rate, count)
            latency, due = now() - at, at + every
        yield Moment(at, image, look, newest, latency)


def _looked(
    recogniser: Recogniser | Fusion, frames: Iterable[tuple[float, np.ndarray]], rate: float
) -> Iterator[tuple[float, np.ndarray, PersonTrack | None]]:
    """Yield each frame with where the person is in it."""
    came: deque[float] = deque()

    def images() -> Iterator[np.ndarray]:
        for at, image in frames:
            came.append(at)
            yield image

    kept: deque[np.ndarray] = deque()

    def seen() -> Iterator[np.ndarray]:
        for image in alike(images(), LARGEST):
            kept.append(image)
            yield image

    if (finder := finder_of(recogniser)) is None:
        for _ in seen():
            yield came.popleft(), kept.popleft(), None
        return
    for look in finder.follow(seen(), rate, live=True):
        yield came.popleft(), kept.popleft(), look


def _answer(
    recogniser: Recogniser | Fusion, came: list[_Came], rate: float, count: int
) -> Prediction:
    """Answer the `count` moments that end with the last frame."""
    times = np.array([one.at for one in came])
    grid = times[-1] - np.arange(count)[::-1] / rate
    chosen = np.searchsorted((times[1:] + times[:-1]) / 2, grid)
    greys = np.stack([came[n].grey for n in chosen])
    looks = [look for n in chosen if (look := came[n].look) is not None]
    found = None
    if looks:
        track = PersonTrack.joined(looks)
        again = np.concatenate([[False], np.diff(chosen) == 0])
        camera = np.where(again[:, None, None], RESTS, track.camera).astype(np.float32)
        found = replace(track, frames=np.arange(count), camera=camera).arrays()
    return predict_video(recogniser, greys, fps=rate, found=found)
