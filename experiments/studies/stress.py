"""What still holds when the footage is harder: one thing about rendered test persons' segments is
changed at a time, and each part of the bundled recogniser names them.

Knows how footage is made harder, before or after it is drawn. Nothing is trained or chosen here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from data.files import read_json
from data.kth import ACTIONS, CARD, FPS, SPLITS
from data.synthetic.clutter import clutter, spectral_noise, written_wall
from data.synthetic.dataset import Shot, shot_of
from evaluation.predictions import Score
from experiments.recognisers import load_recogniser
from experiments.studies import accuracy_row, answers_of_parts
from tracking.measurements import Row

QUICK: dict[str, Any] = {"persons": (2,), "actions": ("boxing",), "only": ("as it is", "noise")}
SHORT = 29  # frames: while somebody enters or leaves
SWAY = 4.0  # pixels, standard deviation, of a camera held by hand
PAN, PANNED_FAR = 20.0, 30.0  # pixels a second, and pixels, of a camera that turns
NOISE = 20.0  # grey levels, standard deviation
CLUTTERED, NOISY_BACKGROUND = "textured background", "background of 1/f noise"
WRITTEN = "background of bricks and writing"
HALF, NOISE_ADDED = "figures half as large", "noise"
SWAYING, PANNING = "hand-held sway of 4 pixels", "camera pans 20 pixels a second"


@dataclass(frozen=True)
class Stress:
    """One way of making footage harder.

    Args:
        shot: Changes what is drawn.
        frames: Changes the frames (F, H, W).
        fps: Frames a second of the result; None leaves them.
    """

    shot: Callable[[Shot, Generator], Shot] = lambda shot, rng: shot
    frames: Callable[[np.ndarray, Generator], np.ndarray] = lambda frames, rng: frames
    fps: float | None = None


def _before(draw: Callable[[Generator], np.ndarray]) -> Stress:
    def set_before(shot: Shot, rng: Generator) -> Shot:
        return replace(shot, scene=replace(shot.scene, background=draw(rng)))

    return Stress(shot=set_before)


def _half_as_large(shot: Shot, rng: Generator) -> Shot:
    camera = shot.scene.camera
    low = camera.row - 0.4 * camera.scale  # so that he stands where the ground is
    return replace(
        shot, scene=replace(shot.scene, camera=replace(camera, scale=camera.scale / 2, row=low))
    )


def _noisy(frames: np.ndarray, rng: Generator) -> np.ndarray:
    return (frames + rng.normal(0, NOISE, frames.shape)).clip(0, 255).round().astype(np.uint8)


def _swaying(frames: np.ndarray, rng: Generator) -> np.ndarray:
    """Move each frame as a hand does: slowly, about as often right as left."""
    seconds = np.arange(len(frames)) / FPS
    rates, phases = rng.uniform(0.3, 2.0, (3, 2)), rng.uniform(0, 2 * np.pi, (3, 2))
    way = np.sin(2 * np.pi * seconds[:, None, None] * rates + phases).sum(1)
    return _moved(frames, way * SWAY / way.std(0))


def _panning(frames: np.ndarray, rng: Generator) -> np.ndarray:
    """Move the camera steadily to one side, and back where it has come PANNED_FAR."""
    way = PAN * np.arange(len(frames)) / FPS
    there_and_back = PANNED_FAR - np.abs(way % (2 * PANNED_FAR) - PANNED_FAR)
    return _moved(frames, rng.choice((-1, 1)) * np.stack([there_and_back, 0 * way], 1))


def _moved(frames: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Return frames (F, H, W) shifted by `way` (F, 2), pixels right and down."""
    size = frames.shape[:0:-1]
    moved = [
        cv2.warpAffine(frame, np.array([[1, 0, x], [0, 1, y]]), size, borderMode=cv2.BORDER_REFLECT)
        for frame, (x, y) in zip(frames, way, strict=True)
    ]
    return np.stack(moved)


def _at(fps: float) -> Stress:
    def filmed(frames: np.ndarray, rng: Generator) -> np.ndarray:
        count = max(1, round(len(frames) * fps / FPS))
        return frames[(np.arange(count) * FPS / fps).astype(int).clip(0, len(frames) - 1)]

    return Stress(frames=filmed, fps=fps)


STRESSES: dict[str, Stress] = {
    "as it is": Stress(),
    CLUTTERED: _before(clutter),
    NOISY_BACKGROUND: _before(spectral_noise),
    WRITTEN: _before(written_wall),
    HALF: Stress(shot=_half_as_large),
    "10 frames a second": _at(10),
    "60 frames a second": _at(60),
    "first 29 frames": Stress(frames=lambda frames, rng: frames[:SHORT]),
    "last 29 frames": Stress(frames=lambda frames, rng: frames[-SHORT:]),
    SWAYING: Stress(frames=_swaying),
    PANNING: Stress(frames=_panning),
    NOISE_ADDED: Stress(frames=_noisy),
}


def run(
    root: str | Path,
    *,
    persons: Sequence[int] = SPLITS["test"],
    actions: Sequence[str] = ACTIONS,
    scenario: int = 1,
    only: Sequence[str] = (),
) -> list[Row]:
    """Count which segments each part names right, one of each test person and action.

    Args:
        root: KTH-Synth, whose persons are drawn again.
        persons, actions, scenario: Whom, doing what, where.
        only: Names of STRESSES; all when there are none.
    """
    fusion, seed = load_recogniser("bundled"), read_json(Path(root) / CARD)["seed"]
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    asked = [(n, p, a) for n in only or STRESSES for p in persons for a in actions]
    for name, person, action in tqdm(asked, "stress", leave=False):
        frames, fps = frames_of(STRESSES[name], shot_of(person, action, scenario, seed=seed))
        for part, label in answers_of_parts(fusion, frames, fps=fps).items():
            right[name, part].append(label == action)
    return [
        accuracy_row(f"rendered test persons, {name}", part, [Score(sum(known), len(known))])
        for (name, part), known in right.items()
    ]


def frames_of(stress: Stress, shot: Shot) -> tuple[np.ndarray, float]:
    """Draw a shot's segment as the stress makes it, and say at how many frames a second it is."""
    rng = np.random.default_rng(len(shot))
    shot = stress.shot(shot, rng)
    ((start, stop),), renderer = shot.segments, shot.renderer()
    frames = np.stack([renderer.frame(f) for f in range(start, min(stop, len(shot)))])
    return stress.frames(frames, rng), stress.fps or FPS
