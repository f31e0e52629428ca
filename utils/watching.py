"""A video that is answered as it comes: a window slides over its frames, and little more is kept.

Knows recognisers and frames at an even rate. Does not know files, nor what becomes of the answers
(`utils.timeline`). A window is as long as the longest piece that a recogniser is made for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from data.video import grey_of
from utils.footage import rests
from utils.person import PersonFinder, PersonTrack
from utils.predict import Fusion, Prediction, Recogniser, predict_video
from utils.preprocessing import looker

ANY_LENGTH = 2.0  # seconds of a window for recognisers that read any video as one piece


@dataclass(frozen=True)
class Answer:
    """What is predicted of the frames start..stop.

    Args:
        start, stop: The window.
        prediction: What is said of it.
        still: Whether nothing moves in it.
        empty: Whether nobody is found in its middle, for which it stands.
    """

    start: int
    stop: int
    prediction: Prediction
    still: bool = False
    empty: bool = False


def members_of(recogniser: Recogniser | Fusion) -> tuple[Recogniser, ...]:
    """Return the recognisers in a recogniser."""
    if isinstance(recogniser, Fusion):
        return (*recogniser.members, *recogniser.refusers)
    return (recogniser,)


def window_seconds(recogniser: Recogniser | Fusion) -> float:
    """Return how long a window is: as the longest piece that a member is made for."""
    lengths = [one.clip_seconds for one in members_of(recogniser)]
    return max((one for one in lengths if one is not None), default=ANY_LENGTH)


def finder_of(recogniser: Recogniser | Fusion) -> PersonFinder | None:
    """Return who finds the person for a recogniser; None where nobody is sought."""
    finder = looker(members_of(recogniser)[0].shown.reader)
    return finder if isinstance(finder, PersonFinder) else None


class Watcher:
    """Answers windows of a video as its frames come.

    Args:
        recogniser: Who answers.
        rate: Frames a second, even.
        every: Seconds from one window to the next.
        on_track: Is given each piece of the person's track as it is found.
    """

    def __init__(
        self,
        recogniser: Recogniser | Fusion,
        rate: float,
        *,
        every: float = 0.5,
        on_track: Callable[[PersonTrack], None] = lambda track: None,
    ):
        self.recogniser, self.rate, self.on_track = recogniser, rate, on_track
        self.finder = finder_of(recogniser)
        self.length = max(1, round(window_seconds(recogniser) * rate))
        self.step = max(1, round(every * rate))
        self.greys: deque[np.ndarray] = deque()  # of frames that a window may still need
        self.first = self.count = 0  # the number of the first of them; frames that came
        self.track: PersonTrack | None = None

    @property
    def apart(self) -> int:
        """From which window on there is no frame in common with the first."""
        return -(-self.length // self.step)

    def answers(self, frames: Iterable[np.ndarray]) -> Iterator[Answer]:
        """Yield the answers for frames (H, W) or (H, W, 3) BGR of one size, in order of time.

        The last window ends with the video; one that is no longer than a window is one window.
        """
        due = 0
        for known in self._known(frames):
            while due + self.length <= known:
                yield self._ask(due, due + self.length)
                self._forget(due)
                due += self.step
        asked = due - self.step + self.length if due else 0
        if self.count > asked:
            yield self._ask(max(0, self.count - self.length), self.count, last=True)

    def _known(self, frames: Iterable[np.ndarray]) -> Iterator[int]:
        """Yield up to which frame everything is known that a window needs."""
        kept = self._kept(frames)
        if self.finder is None:
            for _ in kept:
                yield self.count
            return
        for part in self.finder.follow(kept, self.rate):
            self.on_track(part)
            self.track = part if self.track is None else PersonTrack.joined([self.track, part])
            yield int(part.frames[-1]) + 1
        yield self.count

    def _kept(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for image in frames:
            self.greys.append(grey_of(image))
            self.count += 1
            yield image

    def _ask(self, start: int, stop: int, *, last: bool = False) -> Answer:
        greys = np.stack([self.greys[n - self.first] for n in range(start, stop)])
        found = None if self.track is None else self.track.part(start, stop).arrays()
        prediction = predict_video(self.recogniser, greys, fps=self.rate, found=found)
        middle, half = (start + stop) / 2, self.step / 2
        around = (middle - half if start else 0, stop if last else middle + half)
        return Answer(start, stop, prediction, rests(greys), self._is_empty(*around))

    def _is_empty(self, start: float, stop: float) -> bool:
        """Tell whether somebody is looked for and nobody found between two frames."""
        if self.track is None:
            return False
        looked = (self.track.frames >= start) & (self.track.frames < stop)
        return bool(looked.any() and not self.track.presence[looked].any())

    def _forget(self, before: int) -> None:
        """Drop what lies before a frame; the last window may begin right behind it."""
        while self.first < before:
            self.greys.popleft()
            self.first += 1
        if self.track is not None:
            first = max(0, int(np.searchsorted(self.track.frames, before)) - 1)
            self.track = self.track.rows(first)
