"""End to end: four experiments trained and evaluated, ours against the usual loop of
`benchmarks.naive`.

Ours is run as `python har.py train` runs it, once with nothing kept (cold) and once with its
features there (warm). The usual loop takes hours, so a few batches of each of its phases are timed
and multiplied by what it would do: the same segments, the same number of epochs that ours needed,
the same test. Its accuracy is not extrapolated: a frozen network gives the same features in every
epoch, so they are computed once, from its own images, and its heads trained on them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from benchmarks import naive
from data.kth import Segment, load_splits
from data.synthetic import render_dataset
from experiments.recipe import Recipe
from experiments.results import Result
from experiments.studies import row_of
from experiments.table import EXPERIMENTS
from experiments.training import fit, new_model, run_experiment
from models.backbone import EfficientNetBackbone
from tracking.measurements import Row
from utils.data_setup import VideoDataset
from utils.encoder import Encoder, side_by_side
from utils.features import Features

STORY = ("ghost", "middle", "average", "gru")
BATCH = 16  # clips in a step of the naive loop
FROM_VIDEOS = "four experiments, videos there"
FROM_NOTHING = "four experiments, videos rendered first"
ACCURACY = "accuracy of the four, test videos"
QUICK = {
    "sizes": ((32, 32),),
    "batches": 1,
    "rendering": {"persons": (1,), "scenarios": (1,), "segments": 1},
    "fast": True,
    "epochs": 1,
    "size": (32, 43),
}
Splits = Mapping[str, Sequence[Segment]]


def run(
    root: str | Path,
    *,
    sizes: Sequence[tuple[int, int]] = ((224, 224), (96, 128)),
    repeats: int = 1,
    batches: int = 3,
    rendering: Mapping[str, Any] | None = None,
    **recipe: Any,
) -> list[Row]:
    """Time the four experiments and return the rows.

    Args:
        root: A data set in KTH's layout.
        sizes: Height and width of the naive loop's images; 224 x 224 is what the network's authors
            resize to.
        repeats: How often ours is run, cold and warm.
        batches: Batches timed of each phase of the naive loop.
        rendering: Keyword arguments of `render_dataset` for the set that is rendered to be timed;
            None renders all.
        **recipe: Fields of `experiments.Recipe`.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        render_dataset(Path(folder) / "KTH-Synth", **(rendering or {}))
        rendered = time.perf_counter() - start
    cold, warm, results = _ours(root, repeats, recipe)
    splits = load_splits(root, fast=recipe.get("fast", False))
    seconds = {"ours, cold": cold, "ours, warm": warm}
    notes = {
        "ours, cold": "features computed, then four heads trained",
        "ours, warm": "features there",
    }
    accuracy = {"ours": [result.video.accuracy for result in results]}
    for size in sizes:
        name = f"naive loop, {size[0]} x {size[1]}"
        seconds[name] = [sum(_extrapolated(splits, result, size, batches) for result in results)]
        notes[name] = f"extrapolated from {batches} batches of each phase"
        naively = partial(_naive_accuracy, splits, size=size, recipe=Recipe(**recipe))
        accuracy[name] = [naively(result.experiment) for result in results]
    return [
        *_time_rows(FROM_NOTHING, seconds, notes, rendered),
        *_time_rows(FROM_VIDEOS, seconds, notes, 0.0),
        Row("rendering", "ours", rendered, "s", note="KTH-Synth, all cores"),
        *_accuracy_rows(accuracy),
    ]


def _ours(
    root: str | Path, repeats: int, recipe: Mapping[str, Any]
) -> tuple[list[float], list[float], list[Result]]:
    """Run the story with fresh folders: seconds cold, seconds warm, and the results."""
    times: tuple[list[float], list[float]] = ([], [])
    results: list[Result] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            how: dict[str, Any] = {
                "root": root,
                "results_dir": None,
                "cache_dir": Path(folder) / "cache",
            }
            for number, measured in enumerate(times):
                how["runs_dir"], start = Path(folder) / f"runs{number}", time.perf_counter()
                results = [run_experiment(name, **how, **recipe) for name in STORY]
                measured.append(time.perf_counter() - start)
    return *times, results


def _time_rows(
    task: str, seconds: Mapping[str, Sequence[float]], notes: Mapping[str, str], extra: float
) -> Iterator[Row]:
    base = statistics.median(seconds["ours, cold"]) + extra
    for name, values in seconds.items():
        if not extra or name != "ours, warm":  # whose features are there has no video to render
            totals = [value + extra for value in values]
            ratio = statistics.median(totals) / base
            yield row_of(task, name, totals, "s", notes[name], ratio=ratio)


def _accuracy_rows(accuracy: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    for name, values in accuracy.items():
        note = ", ".join(f"{one} {value:.1%}" for one, value in zip(STORY, values, strict=True))
        yield Row(ACCURACY, name, 100 * statistics.mean(values), "%", note=note)


# the naive loop


def _dataset(
    segments: Sequence[Segment], experiment: str, size: tuple[int, int]
) -> naive.SeekingDataset:
    shown = EXPERIMENTS[experiment].shown
    ghost = shown.transform.pool == "mean"
    return naive.SeekingDataset(segments, sampler=shown.sampler, size=size, ghost=ghost)


def _extrapolated(splits: Splits, result: Result, size: tuple[int, int], batches: int) -> float:
    """Seconds that the naive loop would take for the epochs that ours took, from a few of its
    batches."""
    model: Any = new_model(EXPERIMENTS[result.experiment], Recipe()).cpu()
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
    dataset = _dataset(splits["train"], result.experiment, size)
    order = torch.randperm(len(dataset))[: batches * BATCH].tolist()
    loader = DataLoader(Subset(dataset, order), batch_size=BATCH, collate_fn=naive.padded)
    load, step, evaluation = _phases(loader, model, optimizer)
    train, validation, test = (len(splits[split]) for split in ("train", "validation", "test"))
    epoch = train * (load + step) + validation * (load + evaluation)
    return len(result.history) * epoch + test * (load + evaluation)


def _phases(loader: DataLoader, model: Any, optimizer: torch.optim.Optimizer) -> list[float]:
    """Median seconds a clip of loading, of a training step and of an evaluation step."""
    phases: list[np.ndarray] = []
    batches = iter(loader)
    for _ in range(len(loader)):
        marks = [time.perf_counter()]
        batch = next(batches)
        marks.append(time.perf_counter())
        naive.train_step(model.train(), optimizer, batch)
        marks.append(time.perf_counter())
        naive.evaluation_step(model.eval(), batch)
        marks.append(time.perf_counter())
        phases.append(np.diff(marks) / len(batch[0]))
    return np.median(phases, axis=0).tolist()


def _naive_accuracy(
    splits: Splits, experiment: str, size: tuple[int, int], recipe: Recipe
) -> float:
    """Accuracy on the test videos of a head trained on the naive loop's images, in single
    precision."""
    backbone = EfficientNetBackbone()
    encoder = Encoder(backbone, dtype=torch.float32)
    parts = {}
    for split, segments in splits.items():
        features = _naive_features(_dataset(segments, experiment, size), encoder)
        seed = recipe.seed if split == "train" else None
        parts[split] = VideoDataset(segments, features, seed=seed)
    row = EXPERIMENTS[experiment]
    model = new_model(row, recipe, backbone=backbone)
    return fit(row, recipe, parts, model=model).predictions.pooled("video").score().accuracy


def _naive_features(dataset: naive.SeekingDataset, encoder: Encoder) -> Features:
    def encoded(index: int) -> np.ndarray:
        return encoder(dataset[index][0])[None]

    found = side_by_side(encoded, range(len(dataset)), encoder.workers)
    bar = tqdm(found, "naive features", len(dataset), leave=False, unit="segment")
    return Features(list(bar))
