"""How the person finder errs on rendered people, whose joints are known, and how joints are
disturbed for training.

Knows both errors in the same windows: where the finder says that a joint is, against where it was
drawn, and where `data.synthetic.joints.disturbed` puts it. The second is to be about as large as
the first, in every kind of error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.files import DEFAULT, place, read_json
from data.kth import CARD, Segment, find_segments, select
from data.synthetic.dataset import shot_of
from data.synthetic.joints import MIRRORED, PLACES, disturbed, torsos
from tracking.measurements import Row
from utils.features import look_at
from utils.person import PersonTrack
from utils.pose import Pose, joints_of

STEPS, RATE = 24, 12.5  # of a window, and steps a second
SCENARIOS = (1, 3, 4)  # in d2 the camera zooms
FAR = 0.5  # torso lengths: a joint that is further away is an outlier
PARTS = {
    "shoulders": [1, 2],
    "elbows": [3, 4],
    "wrists": [5, 6],
    "hips": [7, 8],
    "knees": [9, 10],
    "ankles": [11, 12],
}
QUICK: dict[str, Any] = {"most": 2}


def run(
    root: str | Path,
    *,
    split: str = "validation",
    most: int | None = None,
    cache_dir: str | Path | None = DEFAULT,
) -> list[Row]:
    """Put both errors in numbers, in torso lengths or percent.

    Args:
        root: KTH-Synth, whose persons' joints are drawn again.
        split: Whose segments; one window of each is taken.
        most: How many segments; None takes all.
        cache_dir: Where the finder's looks are kept.
    """
    segments = select(find_segments(root), split)
    segments = [s for s in segments if s.video.scenario in SCENARIOS and s.index == 0][:most]
    paths = [segment.video.path for segment in segments]
    found = look_at(Pose(), paths, cache_dir=place(cache_dir, "cache"))
    card = read_json(Path(root) / CARD)
    windows = [
        _window(segment, PersonTrack.of(found[segment.video.path]), card["seed"], card["segments"])
        for segment in segments
    ]
    truth, inside, points, seen = map(np.stack, zip(*windows, strict=True))
    torso, legs = torsos(truth, np.asarray(inside.any(-1))), np.ones(len(truth), bool)
    drawn = disturbed(truth, inside, torso, np.arange(STEPS) / RATE, legs, np.random.default_rng(0))
    errors = {
        "the finder, on rendered people": (points, seen & inside),
        "as disturbed for training": drawn,
    }
    return [row for name, one in errors.items() for row in _rows(name, truth, inside, torso, *one)]


def _window(
    segment: Segment, track: PersonTrack, seed: int, segments: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the window in a segment's middle: joints as drawn (T, 15, 2), which are in the image
    (T, 15), and the same as found."""
    video = segment.video
    assert video.person and video.scenario and video.action, "KTH-Synth names them all"
    who = int(video.person), video.action, video.scenario
    shot = shot_of(*who, seed=seed, segments=segments)
    middle = (segment.start + segment.stop) // 2
    frames = middle + np.round((np.arange(STEPS) - STEPS / 2) * video.fps / RATE).astype(int)
    frames = frames.clip(segment.start, min(segment.stop, len(shot)) - 1)
    truth = shot.scene.camera.project(shot.joints[frames][:, PLACES])[0]
    height, width = track.size
    inside = np.asarray(((truth > 0) & (truth < (width, height))).all(-1))
    return np.where(inside[..., None], truth, 0.0), inside, *joints_of(track, track.at(frames))


def _rows(
    name: str,
    truth: np.ndarray,
    inside: np.ndarray,
    torso: np.ndarray,
    points: np.ndarray,
    seen: np.ndarray,
) -> Iterator[Row]:
    """Yield what is to be said of one kind of error (n, T, 15, 2)."""
    both = seen & inside
    error = np.where(both[..., None], (points - truth) / torso, np.nan)
    turned = np.where(both[..., None], (points[:, :, MIRRORED] - truth) / torso, np.nan)
    known = both.any(-1)
    size, other = (
        np.nanmedian(np.linalg.norm(e[known], axis=-1), axis=-1) for e in (error, turned)
    )
    whole = np.asarray(inside.all(-1))
    lost = np.asarray(~seen[..., PARTS["shoulders"]].any(-1))
    yield _row("frames in which he is whole and lost", name, 100 * lost[whole].mean(), "%")
    exchanged = other < 0.6 * size
    yield _row("frames in which sides are exchanged", name, 100 * exchanged.mean(), "%")
    for part, joints in PARTS.items():
        one = error[:, :, joints]
        there = inside[:, :, joints] & ~lost[..., None]
        unseen = (there & ~seen[:, :, joints]).sum() / there.sum()
        bias = np.nanmedian(one, axis=1)
        yield _row(f"{part}, unseen", name, 100 * unseen, "%")
        yield _row(f"{part}, steady part of the error", name, _spread(bias), "torso lengths")
        yield _row(f"{part}, moving part", name, _spread(one - bias[:, None]), "torso lengths")
        far = np.linalg.norm(one, axis=-1)
        share = 100 * (far[np.isfinite(far)] > FAR).mean()
        yield _row(f"{part}, further away than {FAR}", name, share, "%")


def _spread(values: np.ndarray) -> float:
    """Return the standard deviation that a normal distribution of these quartiles would have."""
    low, high = np.nanpercentile(values, [25, 75])
    return (high - low) / 1.349


def _row(task: str, method: str, value: float, unit: str) -> Row:
    return Row.of(task, method, [float(value)], unit)
