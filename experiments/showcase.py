"""Makes the moving picture of the README: six rendered actions and what is predicted as they play.

    python -m experiments.showcase docs/six_actions.gif

Knows how a person of KTH-Synth is drawn and how a recogniser is asked. The person is one of the
test subjects, whom no training has seen; the recogniser is the bundled one of whole images, whose
prediction is shown as it comes, right or wrong. Does not know how a GIF is drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.kth import ACTIONS, FPS, SPLITS
from data.synthetic.dataset import shot_of
from experiments.recognisers import APPEARANCE, load_recogniser
from utils.predict import Recogniser, predict_video_with_frame_probs
from utils.viz import write_gif

STEP = 2  # of the 25 frames a second of a video, every second is shown


def make(
    out: str | Path,
    *,
    recogniser: Recogniser | None = None,
    person: int = SPLITS["test"][0],
    scenario: int = 1,
    seconds: float = 3.0,
    seed: int = 0,
) -> Path:
    """Draw a segment of each action, predict as it plays, and write both as a GIF.

    Args:
        out: The file.
        recogniser: Who predicts; the bundled recogniser of whole images when not given.
        person, scenario, seed: Who acts where, in the rendered data set of this seed.
        seconds: The longest a tile plays before it starts over.
    """
    recogniser = recogniser or load_recogniser(APPEARANCE)
    most = max(1, round(seconds * FPS))
    clips, bars = {}, {}
    for action in tqdm(ACTIONS, "actions", leave=False):
        segment = segment_of(person, action, scenario, seed)[:most]
        clips[action] = segment[::STEP]
        bars[action] = running_probs(recogniser, segment)[::STEP]
    return write_gif(out, clips, bars, recogniser.classes, fps=FPS / STEP)


def segment_of(person: int, action: str, scenario: int, seed: int = 0) -> np.ndarray:
    """Draw the frames (T, H, W) of the first annotated segment of a rendered file."""
    shot = shot_of(person, action, scenario, seed=seed)
    renderer, (start, stop) = shot.renderer(), shot.segments[0]
    return np.stack([renderer.frame(f) for f in range(start, min(stop, len(shot)))])


def running_probs(recogniser: Recogniser, frames: np.ndarray) -> np.ndarray:
    """Return the probabilities (T, K) after each of the frames (T, H, W).

    Between the frames that the recogniser samples its last prediction stands; before the first, and
    where it sees nobody at all, there is none: nan.
    """
    said = predict_video_with_frame_probs(recogniser, frames)
    rows = np.full((1, len(recogniser.classes)), np.nan)
    if said.frame_probs is not None:
        rows = np.concatenate([rows, said.frame_probs])
    return rows[np.searchsorted(said.frames, np.arange(len(frames)), side="right")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", metavar="GIF")
    path = make(parser.parse_args().out)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
