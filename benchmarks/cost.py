"""Accuracy against cost: what size and number of frames buy on the validation persons, and what a
clip then takes.

The frames of one window of real time (1.3 seconds) are encoded once at each size; fewer frames are
every second, fourth or eighth of them, so all settings see the same moments. Heads are trained on
the training persons and judged on the validation persons; the test persons play no part, for from
this table the defaults are chosen. Knows features, heads and clocks.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.measure import Row, interleaved
from data.kth import ACTIONS, Segment
from experiments.training import FRAMES as DEFAULT_FRAMES
from experiments.training import Recipe, load_splits
from models.backbone import EfficientNetBackbone
from models.temporal import build_head
from utils.data_setup import ClipTransform, VideoDataset, Window, create_dataloaders
from utils.engine import set_seed, train_model
from utils.features import build_features
from utils.store import CACHE, FeatureStore

HEIGHTS, FRAMES = (64, 96, 112, 128, 160, 224), (4, 8, 16, 32)
ACCURACY, TIME = "accuracy, validation segments", "time a clip, file to features"
DEFAULT = (Recipe().size[0], DEFAULT_FRAMES)  # what was chosen by this very table
MIRRORED = ", mirrored clips too"
TIMED = 24  # segments that the time of a clip is measured on
# of the segments is used: one of each file, so that all persons, actions and scenarios are there
EVERY = 2
EPOCHS = 20  # half of the default's, on the same falling learning rate
SPAN = 32  # frames from a window's start to its end, at most


def run(
    root: str | Path,
    *,
    heights: Sequence[int] = HEIGHTS,
    frames: Sequence[int] = FRAMES,
    default: tuple[int, int] = DEFAULT,
    seeds: Sequence[int] = (0, 1, 2),
    repeats: int = 2,
    cache_dir: str | Path | None = CACHE,
) -> list[Row]:
    """Measure every pair of a height (the width is 4/3 of it) and a number of frames; two rows
    each.

    The last row is the default height and number of frames with mirrored training clips too.
    """
    splits = {split: segments[::EVERY] for split, segments in load_splits(root).items()}
    times = _times(
        splits["train"][:: max(1, len(splits["train"]) // TIMED)], heights, frames, repeats
    )
    rows = []
    for height in tqdm(heights, desc="sizes", leave=False):
        stores = _all_frames(splits, height, max(frames), cache_dir)
        for count in frames:
            name, clips = (
                setting(height, count),
                [1e3 * seconds for seconds in times[setting(height, count)]],
            )
            rows.append(
                _accuracy_row(
                    name,
                    splits,
                    {k: _thinned(v, max(frames) // count) for k, v in stores.items()},
                    seeds,
                )
            )
            rows.append(
                Row(
                    TIME,
                    name,
                    statistics.median(clips),
                    "ms a clip",
                    None,
                    min(clips),
                    max(clips),
                    repeats,
                )
            )
    stores = _all_frames(splits, *default, cache_dir, mirrored=True)
    return [*rows, _accuracy_row(setting(*default) + MIRRORED, splits, stores, seeds)]


def setting(height: int, frames: int) -> str:
    """Name a setting."""
    return f"{height} x {width_of(height)}, {frames} frames"


def width_of(height: int) -> int:
    """The width that keeps KTH's proportions."""
    return round(height * 4 / 3)


def _transform(height: int) -> ClipTransform:
    return ClipTransform(size=(height, width_of(height)))


def _times(
    segments: Sequence[Segment], heights: Sequence[int], frames: Sequence[int], repeats: int
) -> dict[str, list[float]]:
    """Seconds a clip of computing features from the files, by setting."""
    backbone = EfficientNetBackbone()

    def job(height: int, count: int) -> None:
        build_features(
            backbone,
            segments,
            sampler=Window(count, SPAN // count),
            transform=_transform(height),
            cache_dir=None,
            progress=False,
        )

    jobs = {setting(h, c): lambda h=h, c=c: job(h, c) for h in heights for c in frames}
    seconds = interleaved(jobs, repeats=repeats, warm_up=False)
    return {name: [value / len(segments) for value in values] for name, values in seconds.items()}


def _all_frames(
    splits: Mapping[str, Sequence[Segment]],
    height: int,
    frames: int,
    cache_dir: str | Path | None,
    mirrored: bool = False,
) -> dict[str, FeatureStore]:
    """The features of so many frames of the window at one size, of training and validation
    persons."""
    backbone = EfficientNetBackbone()
    return {
        split: build_features(
            backbone,
            splits[split],
            sampler=Window(frames, SPAN // frames),
            transform=_transform(height),
            cache_dir=cache_dir,
            mirrored=mirrored and split == "train",
        )
        for split in ("train", "validation")
    }


def _accuracy_row(
    name: str,
    splits: Mapping[str, Sequence[Segment]],
    stores: Mapping[str, FeatureStore],
    seeds: Sequence[int],
) -> Row:
    accuracies = [100 * _accuracy(splits, stores, seed) for seed in seeds]
    return Row(
        ACCURACY,
        name,
        statistics.mean(accuracies),
        "%",
        None,
        min(accuracies),
        max(accuracies),
        len(seeds),
        f"seeds {' '.join(map(str, seeds))}, n = {len(splits['validation'])}",
    )


def _accuracy(
    splits: Mapping[str, Sequence[Segment]], stores: Mapping[str, FeatureStore], seed: int
) -> float:
    """Accuracy on the validation segments of a GRU trained on the training segments."""
    recipe = Recipe(seed=seed, epochs=EPOCHS)
    datasets = {
        split: VideoDataset(splits[split], store, seed=seed if split == "train" else None)
        for split, store in stores.items()
    }
    loaders = create_dataloaders(datasets, batch_size=recipe.batch_size, seed=seed)
    set_seed(seed)
    head = build_head("gru", in_dim=EfficientNetBackbone.feature_dim, num_classes=len(ACTIONS))
    history = train_model(
        head, loaders["train"], loaders["validation"], progress=False, **recipe.training()
    )
    return min(history, key=lambda row: row["val_loss"])["val_accuracy"]


def _thinned(store: FeatureStore, step: int) -> FeatureStore:
    return FeatureStore(np.asarray(store.features[:, ::step]), -(-store.lengths // step))
