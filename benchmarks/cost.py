"""Accuracy against cost: what size and number of frames buy on the validation persons, and what a
clip then takes.

The frames of one clip of real time (1.3 seconds) are encoded once at each size; fewer frames are
every second, fourth or eighth of them, so all settings see the same time. Heads are trained on the
training persons and evaluated on the validation persons; the test persons play no part, for from
this table the defaults are chosen. Knows features, heads and clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from tqdm import tqdm

from benchmarks.measure import interleaved
from data.files import DEFAULT
from data.kth import FPS, Segment, load_splits
from evaluation.predictions import Score
from experiments import table
from experiments.recipe import Recipe
from experiments.studies import accuracy_row, row_of
from experiments.training import fit, new_model
from models.backbone import EfficientNetBackbone
from tracking.measurements import Row
from utils.data_setup import VideoDataset
from utils.engine import pick_device
from utils.features import Features, build_features
from utils.preprocessing import ClipTransform, FixedStride, Preprocessing

HEIGHTS, FRAMES = (64, 96, 112, 128, 160, 224), (4, 8, 16, 32)
ACCURACY, TIME = "accuracy, validation segments", "time a clip, file to features"
CHOSEN = (Recipe().size[0], table.FRAMES)  # what was chosen by this very table
FLIPPED = ", horizontal flips too"
TIMED = 24  # segments that the time of a clip is measured on
# of the segments is used: one of each file, so that all persons, actions and scenarios are there
EVERY = 2
EPOCHS = 20  # half of the default's, on the same falling learning rate
LENGTH = 32  # of a clip, at most: frames from its start to its end
QUICK = {
    "heights": (32,),
    "frames": (4, 8),
    "default": (32, 8),
    "seeds": (0,),
    "repeats": 1,
    "cache_dir": None,
}


def run(
    root: str | Path,
    *,
    heights: Sequence[int] = HEIGHTS,
    frames: Sequence[int] = FRAMES,
    default: tuple[int, int] = CHOSEN,
    seeds: Sequence[int] = (0, 1, 2),
    repeats: int = 2,
    cache_dir: str | Path | None = DEFAULT,
) -> list[Row]:
    """Measure every pair of a height (the width is 4/3 of it) and a number of frames; two rows
    each.

    The last row is the default height and number of frames with flipped training clips too.
    """
    found = load_splits(root)
    splits = {split: found[split][::EVERY] for split in ("train", "validation")}
    timed = splits["train"][:: max(1, len(splits["train"]) // TIMED)]
    backbone = EfficientNetBackbone().to(pick_device())
    quiet = partial(build_features, backbone, timed, cache_dir=None, progress=False)
    jobs = {setting(h, c): partial(quiet, _shown(h, c)) for h in heights for c in frames}
    times = interleaved(jobs, repeats=repeats, warm_up=False)
    rows = []
    for height in tqdm(heights, desc="sizes", leave=False):
        parts = _parts(backbone, splits, _shown(height, max(frames)), cache_dir)
        for count in frames:
            name, step = setting(height, count), max(frames) // count
            thin = {split: thinned(part, step) for split, part in parts.items()}
            rows.append(_accuracy_row(name, backbone, thin, seeds))
            clips = [1e3 * seconds / len(timed) for seconds in times[name]]
            rows.append(row_of(TIME, name, clips, "ms a clip"))
    parts = _parts(backbone, splits, _shown(*default), cache_dir, flipped=True)
    return [*rows, _accuracy_row(setting(*default) + FLIPPED, backbone, parts, seeds)]


def setting(height: int, frames: int) -> str:
    """Name a setting."""
    return f"{height} x {width_of(height)}, {frames} frames"


def width_of(height: int) -> int:
    """The width that keeps KTH's proportions."""
    return round(height * 4 / 3)


def _shown(height: int, frames: int) -> Preprocessing:
    """So many frames, evenly spread over a clip, at one size."""
    sampler = FixedStride(frames, LENGTH // frames / FPS)
    return Preprocessing(sampler, ClipTransform(size=(height, width_of(height))))


def _parts(
    backbone: EfficientNetBackbone,
    splits: Mapping[str, Sequence[Segment]],
    shown: Preprocessing,
    cache_dir: str | Path | None,
    flipped: bool = False,
) -> dict[str, VideoDataset]:
    """The features of training and validation persons, of training ones flipped too if wanted."""
    parts = {}
    for split, segments in splits.items():
        flip = flipped and split == "train"
        features = build_features(
            backbone, segments, shown, cache_dir=cache_dir, horizontal_flip=flip
        )
        parts[split] = VideoDataset(segments, features)
    return parts


def thinned(part: VideoDataset, step: int) -> VideoDataset:
    """Keep the first of every `step` frames."""
    items = cast(Features, part.source).items
    return VideoDataset(part.segments, Features([item[:, ::step] for item in items]))


def _accuracy_row(
    name: str,
    backbone: EfficientNetBackbone,
    parts: Mapping[str, VideoDataset],
    seeds: Sequence[int],
) -> Row:
    scores = [_score(backbone, parts, seed) for seed in seeds]
    note = f"seeds {' '.join(map(str, seeds))}, n = {len(parts['validation'])}"
    return accuracy_row(ACCURACY, name, scores, note)


def _score(backbone: EfficientNetBackbone, parts: Mapping[str, VideoDataset], seed: int) -> Score:
    """Score the validation segments after training a GRU on the training segments."""
    experiment, recipe = table.EXPERIMENTS["gru"], Recipe(seed=seed, epochs=EPOCHS)
    train = VideoDataset(parts["train"].segments, parts["train"].source, seed=seed)
    model = new_model(experiment, recipe, backbone=backbone)
    return fit(experiment, recipe, {**parts, "train": train}, model=model).predictions.score()
