"""Chooses what a change of label costs in a timeline, on rendered people.

    python -m experiments.switching

Knows rendered validation persons, whom no member of the bundled recogniser was trained on: each
does one thing, then another, then is gone. Does not know real footage. `utils.timeline.SWITCH` is
the middle one of the costs with the fewest seconds of a wrong label: 0 to 4 nats have 7.2 %, as
people enter and leave, 6 nats 9.2 % and 8 nats 29.6 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.kth import ACTIONS, FPS, SPLITS
from data.synthetic.dataset import shot_of
from experiments.recognisers import load_recogniser
from utils import timeline
from utils.predict import NOBODY
from utils.watching import Answer, Watcher

COSTS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
SECONDS = 4.0  # of each thing that is done
EMPTY = 3.0  # seconds of an empty scene at the end


class Scene(NamedTuple):
    """Frames (F, H, W), and what is done from and to which second."""

    frames: np.ndarray
    truth: list[tuple[float, float, str]]


def scene_of(person: int, actions: Sequence[str], scenario: int, seed: int = 0) -> Scene:
    """Draw one who does one thing after another, and then his scene without him."""
    most, parts, truth, at = round(SECONDS * FPS), [], [], 0.0
    for action in actions:
        shot = shot_of(person, action, scenario, seed=seed)
        renderer, (start, stop) = shot.renderer(), shot.segments[0]
        frames = [renderer.frame(f) for f in range(start, min(stop, start + most))]
        parts.append(np.stack(frames))
        truth.append((at, at + len(frames) / FPS, action))
        at = truth[-1][1]
    empty = renderer.empty(start)
    parts.append(np.repeat(empty[None], round(EMPTY * FPS), 0))
    return Scene(np.concatenate(parts), [*truth, (at, at + EMPTY, NOBODY)])


def choose(persons: Sequence[int] = SPLITS["validation"], pairs: int = 1) -> dict[float, float]:
    """Return the share of seconds with a wrong label for each cost of a change."""
    recogniser, rng = load_recogniser(), np.random.default_rng(0)
    wrong, total = dict.fromkeys(COSTS, 0.0), 0.0
    asked = [(person, rng.permutation(ACTIONS)[:2]) for person in persons for _ in range(pairs)]
    for number, (person, actions) in enumerate(tqdm(asked, "scenes", leave=False)):
        frames, truth = scene_of(person, list(map(str, actions)), number % 4 + 1)
        watcher = Watcher(recogniser, FPS)
        answers = list(watcher.answers(frames))
        apart, threshold = watcher.apart, recogniser.threshold
        total += truth[-1][1]
        for cost in COSTS:
            wrong[cost] += _wrong_seconds(answers, truth, apart, threshold, cost)
    return {cost: seconds / total for cost, seconds in wrong.items()}


def _wrong_seconds(
    answers: Sequence[Answer],
    truth: Sequence[tuple[float, float, str]],
    apart: int,
    threshold: float,
    cost: float,
) -> float:
    """Return for how many seconds a scene has another label than it should."""
    probs = np.array([list(one.prediction.probs.values()) for one in answers])
    otherwise = np.array([one.prediction.something_else for one in answers])
    labels = timeline.smoothed(answers, probs, otherwise, apart, threshold, cost)
    middles = np.array([(one.start + one.stop) / 2 / FPS for one in answers])
    moments = np.arange(0.02, truth[-1][1], 0.04)
    said = [labels[int(np.abs(middles - at).argmin())] for at in moments]
    true = [next(label for start, stop, label in truth if at < stop) for at in moments]
    return 0.04 * sum(one != other for one, other in zip(said, true, strict=True))


if __name__ == "__main__":
    for cost, share in choose().items():
        print(f"{cost:5.2f} nats: {share:.1%} of the seconds have a wrong label")
