"""What a head could read from when somebody is in the image, and from nothing else.

Knows which frames of a clip show somebody. Every frame's features are replaced by one of two fixed
vectors, for somebody and for nobody, and a head is trained on that: what it knows of the pace then,
it knows from emptiness. It is asked with frames all over an annotated segment, whose ends are often
empty, with clips from its middle, and with clips that are placed where somebody is. Only walking,
jogging and running take part: among all six, a segment without an empty frame is taken for one of
the three actions that never have any, and the cue looks worthless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from data.files import DEFAULT, place
from data.kth import load_splits
from data.synthetic.motion import LOCOMOTION
from evaluation.predictions import Score
from experiments.datasets import dataset_of
from experiments.recipe import Recipe
from experiments.studies import accuracy_row
from experiments.table import EXPERIMENTS
from experiments.training import fit, new_model
from tracking.measurements import Row
from utils.cutout import Cutout
from utils.data_setup import VideoDataset
from utils.features import Features, look_at
from utils.preprocessing import Preprocessing

PLACED = {
    "all over the segment": "gru_uniform",
    "in the middle of the segment": "stacked_gru",
    "where somebody is": "cutout_gru",
}
QUICK: dict[str, Any] = {"seeds": (0,), "fast": True}


def run(
    root: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    cache_dir: str | Path | None = DEFAULT,
    **recipe: Any,
) -> list[Row]:
    """Count the test persons' segments of walking, jogging and running that are told apart, by
    presence alone and as they are; a third would be chance.

    Args:
        root: Folder in KTH's layout.
        seeds: Of the heads.
        cache_dir: Where features and the finder's looks are kept.
        **recipe: Fields of `Recipe` for all rows, such as fast=True.
    """
    where = place(cache_dir, "cache")
    splits = {
        part: [segment for segment in segments if segment.video.action in LOCOMOTION]
        for part, segments in load_splits(root, fast=bool(recipe.get("fast"))).items()
    }
    paths = [segment.video.path for part in splits.values() for segment in part]
    found = look_at(Cutout(), paths, cache_dir=where)
    rows = []
    for placed, name in PLACED.items():
        row = EXPERIMENTS[name]
        scores: dict[str, list[Score]] = {"presence alone": [], "as it is": []}
        for seed in seeds:
            settings = Recipe(seed=seed, **recipe)
            model = new_model(row, settings)
            parts = {
                part: dataset_of(row, settings, segments, model, cache_dir=where)
                for part, segments in splits.items()
            }
            alone = {part: _presence(data, row.shown, found) for part, data in parts.items()}
            for method, given in (("presence alone", alone), ("as it is", parts)):
                scores[method].append(fit(row, settings, given).predictions.score())
        rows += [
            accuracy_row(f"walking, jogging or running, clips {placed}", method, of_seeds)
            for method, of_seeds in scores.items()
        ]
    return rows


def _presence(
    data: VideoDataset, shown: Preprocessing, found: Mapping[Path, Mapping[str, np.ndarray]]
) -> VideoDataset:
    """Return features (V, T, D) of which nothing is left but which frames show somebody."""
    items, rng = cast(Features, data.source).items, np.random.default_rng(0)
    nobody, somebody = rng.normal(size=(2, items[0].shape[-1])).astype(items[0].dtype)
    changed = []
    for segment, item in zip(data.segments, items, strict=True):
        frames = shown.frames(segment.start, segment.stop, segment.video.fps)
        middle = frames if frames.ndim == 1 else frames[:, 1]
        there = Cutout().there(found[segment.video.path], middle)
        changed.append(np.where(there[None, :, None], somebody, nobody).repeat(len(item), 0))
    return VideoDataset(data.segments, Features(changed), seed=data.seed)
