"""End to end: four experiments trained and evaluated, ours against the usual loop of
`benchmarks.naive`.

Ours is run as `python har.py train` runs it, once with nothing kept (cold) and once with its
features there (warm). The usual loop takes hours, so a few batches of each of its phases are timed
and multiplied by what it would do: the same segments, the same number of epochs that ours needed,
the same test. Its accuracy is not extrapolated: a frozen network gives the same features in every
epoch, so they are computed once, from its own images, and its heads trained on them.
"""

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

from benchmarks import naive
from benchmarks.embedding import encode_clips
from benchmarks.measure import timed
from data.kth import Segment, load_splits
from data.synthetic import render_dataset
from experiments.recipe import Recipe
from experiments.results import Result
from experiments.table import EXPERIMENTS
from experiments.training import fit, new_model, run_experiment
from models.backbone import EfficientNetBackbone
from tracking.measurements import Row
from utils.data_setup import VideoDataset
from utils.encoder import Encoder

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
        rendered = timed(partial(render_dataset, f"{folder}/KTH-Synth", **(rendering or {})))
    cold, warm, results = _ours(root, repeats, recipe)
    took = {
        "ours, cold": (cold, "features computed, then four heads trained"),
        "ours, warm": (warm, "features there"),
    }
    accuracy = {"ours": [result.video.accuracy for result in results]}
    splits = load_splits(root, fast=recipe.get("fast", False))
    for size in sizes:
        name = "naive loop, {} x {}".format(*size)
        seconds = sum(_extrapolated(splits, result, size, batches) for result in results)
        took[name] = [seconds], f"extrapolated from {batches} batches of each phase"
        accuracy[name] = [
            _naive_accuracy(splits, result.experiment, size, Recipe(**recipe)) for result in results
        ]
    return [
        *_time_rows(took, rendered),
        Row("rendering", "ours", rendered, "s", note="KTH-Synth, all cores"),
        *_accuracy_rows(accuracy),
    ]


def _ours(
    root: str | Path, repeats: int, recipe: Mapping[str, Any]
) -> tuple[list[float], list[float], list[Result]]:
    """Run the story with fresh folders: seconds cold, seconds warm, and the results."""
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            how = {"root": root, "results_dir": None, "cache_dir": f"{folder}/cache", **recipe}
            for measured in (cold, warm):
                runs_dir, start = tempfile.mkdtemp(dir=folder), time.perf_counter()
                results = [run_experiment(name, runs_dir=runs_dir, **how) for name in STORY]
                measured.append(time.perf_counter() - start)
    return cold, warm, results


def _time_rows(took: Mapping[str, tuple[list[float], str]], rendered: float) -> Iterator[Row]:
    for task, extra in ((FROM_NOTHING, rendered), (FROM_VIDEOS, 0.0)):
        base = statistics.median(took["ours, cold"][0]) + extra
        for name, (seconds, note) in took.items():
            if not extra or name != "ours, warm":  # with features there, no video need be rendered
                totals = [value + extra for value in seconds]
                ratio = statistics.median(totals) / base
                yield Row.of(task, name, totals, "s", note, ratio=ratio)


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
    dataset = _dataset(splits["train"], result.experiment, size)
    order = torch.randperm(len(dataset))[: batches * BATCH].tolist()
    loader = DataLoader(Subset(dataset, order), batch_size=BATCH, collate_fn=naive.padded)
    load, step, evaluation = _phases(loader, model)
    train, validation, test = map(len, splits.values())
    epoch = train * (load + step) + validation * (load + evaluation)
    return len(result.history) * epoch + test * (load + evaluation)


def _phases(loader: DataLoader, model: Any) -> list[float]:
    """Median seconds a clip of loading, of a training step and of an evaluation step."""
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-3)
    phases = []
    start = time.perf_counter()
    for batch in loader:
        loaded = time.perf_counter() - start
        step = timed(partial(naive.train_step, model.train(), optimizer, batch))
        evaluation = timed(partial(naive.evaluation_step, model.eval(), batch))
        phases.append(np.array([loaded, step, evaluation]) / len(batch[0]))
        start = time.perf_counter()
    return np.median(phases, axis=0).tolist()


def _naive_accuracy(
    splits: Splits, experiment: str, size: tuple[int, int], recipe: Recipe
) -> float:
    """Accuracy on the test videos of a head trained on the naive loop's images, in single
    precision."""
    row, backbone = EXPERIMENTS[experiment], EfficientNetBackbone()
    encoder, parts = Encoder(backbone, dtype=torch.float32), {}
    for split, segments in splits.items():
        dataset = _dataset(segments, experiment, size)
        clips = (dataset[index][0] for index in range(len(dataset)))
        features = encode_clips(encoder, clips, len(dataset))
        seed = recipe.seed if split == "train" else None
        parts[split] = VideoDataset(segments, features, seed=seed)
    model = new_model(row, recipe, backbone=backbone)
    return fit(row, recipe, parts, model=model).predictions.pooled("video").score().accuracy
