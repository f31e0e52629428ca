"""Whatever is shown to the default: an action, something else or nobody, never a crash.

The videos are put together from rendered people. What the finder makes of the oddest is in
tests/utils/test_person.py; here a whole prediction is asked for.
"""

import cv2
import numpy as np
import pytest

from data.kth import ACTIONS
from data.synthetic.dataset import shot_of
from experiments.recognisers import load_recogniser
from utils.predict import NOBODY, SOMETHING_ELSE, predict_video

FRAMES = 26  # somewhat more than a second


@pytest.fixture(scope="module")
def bundled():
    return load_recogniser("bundled")


@pytest.fixture(scope="module")
def people():
    """Frames (F, 120, 160) of a boxer and of somebody who waves, and their empty scenes."""
    shots = [shot_of(5, "boxing", 4), shot_of(9, "handwaving", 4)]
    renderers = [shot.renderer() for shot in shots]
    return [(np.stack([one.frame(f) for f in range(FRAMES)]), one.empty(0)) for one in renderers]


def poster(people):
    """A boxer's picture on the wall of an empty room."""
    (boxer, _), (_, room) = people
    wall = np.repeat(room[None], FRAMES, 0)
    wall[:, 20:80, 20:60] = cv2.resize(boxer[0][:, 20:140], (40, 60))
    return wall


def drawing(people):
    """A stick figure that waves."""
    frames = np.full((FRAMES, 120, 160), 235, np.uint8)
    for f, frame in enumerate(frames):
        hand = 20 + int(12 * np.sin(f / 3))
        cv2.circle(frame, (80, 30), 10, 20, 2)
        for start, end in (
            ((80, 40), (80, 75)),
            ((80, 75), (65, 110)),
            ((80, 75), (95, 110)),
            ((80, 50), (60, hand + 10)),
            ((80, 50), (100, hand + 10)),
        ):
            cv2.line(frame, start, end, 20, 2)
    return frames


def crowd(people):
    (boxer, _), (waving, _) = people
    row = np.concatenate([boxer, waving, boxer[:, :, ::-1], waving], 2)
    return np.concatenate([row, row[:, :, ::-1]], 1)


def there_and_back(people):
    (boxer, room), _ = people
    return np.concatenate([boxer[:8], np.repeat(room[None], 10, 0), boxer[8:16]])


ODD = {
    "two people": lambda p: np.concatenate([p[0][0], p[1][0]], 2),
    "a crowd": crowd,
    "leaves and comes back": there_and_back,
    "never whole": lambda p: p[0][0][:, :60],
    "legs alone": lambda p: p[0][0][:, 75:],
    "upside down": lambda p: p[0][0][:, ::-1],
    "a cut": lambda p: np.concatenate([p[0][0][:13], p[1][0][:13]]),
    "dark": lambda p: (p[0][0] * 0.06).astype(np.uint8),
    "black": lambda p: np.zeros_like(p[0][0]),
    "64 x 64": lambda p: np.stack([cv2.resize(f[:, 20:140], (64, 64)) for f in p[0][0]]),
    "4K": lambda p: np.stack([cv2.resize(f, (3840, 2160)) for f in p[0][0][:3]]),
    "one frame": lambda p: p[0][0][:1],
    "a drawing": drawing,
    "a poster on the wall": poster,
    "an empty room": lambda p: np.repeat(p[0][1][None], FRAMES, 0),
    "noise": lambda p: np.random.default_rng(0).integers(0, 256, p[0][0].shape, dtype=np.uint8),
    "colour": lambda p: np.repeat(p[0][0][..., None], 3, -1),
}


QUICK = ("leaves and comes back", "a cut", "a crowd", "dark", "one frame", "an empty room")


@pytest.mark.parametrize(
    "kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in ODD]
)
def test_there_is_an_answer(bundled, people, kind):
    video = ODD[kind](people)
    found = predict_video(bundled, video)
    assert found.label in (*ACTIONS, SOMETHING_ELSE, NOBODY)
    assert tuple(found.probs) == ACTIONS and sum(found.probs.values()) == pytest.approx(1)
    assert all(0 <= frame < len(video) for frame in found.frames)
    if kind in ("an empty room", "black"):
        assert found.label == NOBODY
    if kind in ("colour", "leaves and comes back"):
        assert found.label == "boxing"
    if kind in ("dark", "64 x 64"):  # which it may refuse
        assert max(found.probs, key=found.probs.get) == "boxing"
