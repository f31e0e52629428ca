"""The whole job: the four experiments trained and evaluated, ours against the usual loop of
`benchmarks.naive`.

Ours is run as `python har.py train` runs it, once with nothing kept (cold) and once with its
features there (warm). The usual loop takes hours, so a few batches of each of its phases are timed
and multiplied by what it would do: the same segments, the same number of epochs that ours needed,
the same test. Its accuracy is not extrapolated: a frozen network gives the same features in every
epoch, so they are computed once, from its own pictures, and its heads trained on them.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from benchmarks import naive
from benchmarks.measure import Row
from data.kth import ACTIONS, Segment
from data.synthetic.dataset import render_dataset
from experiments.training import EXPERIMENTS, Recipe, Result, load_splits, measure, run_experiment
from models.backbone import EfficientNetBackbone
from models.temporal import VideoClassifier, build_head
from utils.data_setup import VideoDataset, create_dataloaders
from utils.engine import evaluate, set_seed, train_model
from utils.features import Encoder, side_by_side
from utils.store import FeatureStore

STORY = ("ghost", "middle", "average", "gru")
BATCH = 16  # clips in a step of the naive loop
FROM_VIDEOS, FROM_NOTHING = (
    "four experiments, videos there",
    "four experiments, videos rendered first",
)
ACCURACY = "accuracy of the four, test videos"


def run(
    root: str | Path,
    *,
    sizes: Sequence[tuple[int, int]] = ((224, 224), (96, 128)),
    repeats: int = 1,
    batches: int = 3,
    rendering: Mapping[str, Any] | None = None,
    **recipe: Any,
) -> list[Row]:
    """Time the whole job and return its rows.

    Args:
        root: A data set in KTH's layout.
        sizes: Height and width of the naive loop's pictures; 224 x 224 is what the network's
            authors resize to.
        repeats: How often ours is run, cold and warm.
        batches: Batches timed of each phase of the naive loop.
        rendering: Keyword arguments of `render_dataset` for the set that is rendered to be timed;
            None renders all.
        **recipe: Fields of `experiments.training.Recipe`.
    """
    rendered = _rendering_seconds(dict(rendering or {}))
    cold, warm, results = _ours(root, repeats, recipe)
    splits = load_splits(root, fast=recipe.get("fast", False))
    seconds = {"ours, cold": cold, "ours, warm": warm}
    notes = {
        "ours, cold": "features computed, then four heads trained",
        "ours, warm": "features there",
    }
    accuracy = {"ours": [result.video["accuracy"] for result in results]}
    for size in sizes:
        name = f"naive loop, {size[0]} x {size[1]}"
        seconds[name] = [sum(_extrapolated(splits, result, size, batches) for result in results)]
        notes[name] = f"extrapolated from {batches} batches of each phase"
        accuracy[name] = [
            _naive_accuracy(splits, result, size, Recipe(**recipe)) for result in results
        ]
    return [
        *_time_rows(FROM_NOTHING, seconds, notes, rendered),
        *_time_rows(FROM_VIDEOS, seconds, notes, 0.0),
        Row("rendering", "ours", rendered, "s", note="KTH-Synth, all cores"),
        *_accuracy_rows(accuracy),
    ]


def _rendering_seconds(settings: dict[str, Any]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        render_dataset(Path(folder) / "KTH-Synth", **settings)
        return time.perf_counter() - start


def _ours(
    root: str | Path, repeats: int, recipe: Mapping[str, Any]
) -> tuple[list[float], list[float], list[Result]]:
    """Run the story with fresh folders: seconds cold, seconds warm, and the results."""
    times: tuple[list[float], list[float]] = ([], [])
    results: list[Result] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for number, measured in enumerate(times):
                start = time.perf_counter()
                results = [
                    run_experiment(
                        name,
                        root=root,
                        runs_dir=Path(folder) / f"runs{number}",
                        results_dir=None,
                        cache_dir=Path(folder) / "cache",
                        **recipe,
                    )
                    for name in STORY
                ]
                measured.append(time.perf_counter() - start)
    return *times, results


def _time_rows(
    task: str, seconds: Mapping[str, Sequence[float]], notes: Mapping[str, str], extra: float
) -> list[Row]:
    base = statistics.median(seconds["ours, cold"]) + extra
    rows = []
    for name, values in seconds.items():
        if extra and name == "ours, warm":
            continue  # whose features are there has no video to render
        totals = [value + extra for value in values]
        middle = statistics.median(totals)
        rows.append(
            Row(
                task,
                name,
                middle,
                "s",
                middle / base,
                min(totals),
                max(totals),
                len(totals),
                notes[name],
            )
        )
    return rows


def _accuracy_rows(accuracy: Mapping[str, Sequence[float]]) -> list[Row]:
    return [
        Row(
            ACCURACY,
            name,
            100 * statistics.mean(values),
            "%",
            note=", ".join(
                f"{story} {value:.1%}" for story, value in zip(STORY, values, strict=True)
            ),
        )
        for name, values in accuracy.items()
    ]


# the naive loop


def _dataset(
    segments: Sequence[Segment], experiment: str, size: tuple[int, int]
) -> naive.SeekingDataset:
    what = EXPERIMENTS[experiment]
    return naive.SeekingDataset(
        segments, sampler=what.sampler, size=size, ghost=what.pool == "mean"
    )


def _extrapolated(
    splits: Mapping[str, Sequence[Segment]], result: Result, size: tuple[int, int], batches: int
) -> float:
    """Seconds that the naive loop would take for the epochs that ours took, from a few of its
    batches."""
    torch.manual_seed(0)
    backbone = EfficientNetBackbone()
    head = build_head(
        EXPERIMENTS[result.experiment].head, in_dim=backbone.feature_dim, num_classes=len(ACTIONS)
    )
    model = VideoClassifier(backbone=backbone, head=head)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3)
    dataset = _dataset(splits["train"], result.experiment, size)
    order = torch.randperm(len(dataset))[: batches * BATCH].tolist()
    loader = DataLoader(Subset(dataset, order), batch_size=BATCH, collate_fn=naive.padded)
    load, step, look = _phases(loader, model, optimizer)
    epochs, count = (
        len(result.history),
        {split: len(segments) for split, segments in splits.items()},
    )
    return epochs * (count["train"] * (load + step) + count["validation"] * (load + look)) + count[
        "test"
    ] * (load + look)


def _phases(
    loader: DataLoader, model: VideoClassifier, optimizer: torch.optim.Optimizer
) -> list[float]:
    """Median seconds a clip of loading, of a training step and of a look in evaluation."""
    phases: list[list[float]] = []
    batches = iter(loader)
    for _ in range(len(loader)):
        marks = [time.perf_counter()]
        batch = next(batches)
        marks.append(time.perf_counter())
        naive.train_step(model.train(), optimizer, batch)
        marks.append(time.perf_counter())
        naive.evaluation_step(model.eval(), batch)
        marks.append(time.perf_counter())
        phases.append([float(seconds) / len(batch[0]) for seconds in np.diff(marks)])
    return [statistics.median(phase) for phase in zip(*phases, strict=True)]


def _naive_accuracy(
    splits: Mapping[str, Sequence[Segment]], result: Result, size: tuple[int, int], recipe: Recipe
) -> float:
    """Accuracy on the test videos of a head trained on the naive loop's pictures, in single
    precision."""
    encoder = Encoder(EfficientNetBackbone(), dtype=torch.float32)
    datasets = {
        split: VideoDataset(
            segments,
            _naive_features(_dataset(segments, result.experiment, size), encoder),
            seed=recipe.seed if split == "train" else None,
        )
        for split, segments in splits.items()
    }
    loaders = create_dataloaders(datasets, batch_size=recipe.batch_size, seed=recipe.seed)
    set_seed(recipe.seed)
    head = build_head(
        EXPERIMENTS[result.experiment].head,
        in_dim=EfficientNetBackbone.feature_dim,
        num_classes=len(ACTIONS),
    )
    train_model(head, loaders["train"], loaders["validation"], progress=False, **recipe.training())
    output = evaluate(head, loaders["test"])
    return measure(
        output.log_probs,
        splits["test"],
        experiment=result.experiment,
        data=result.data,
        split="test",
    ).video["accuracy"]


def _naive_features(dataset: naive.SeekingDataset, encoder: Encoder) -> FeatureStore:
    def encoded(index: int) -> np.ndarray:
        return encoder(dataset[index][0])

    found = list(
        tqdm(
            side_by_side(encoded, range(len(dataset)), encoder.workers),
            total=len(dataset),
            leave=False,
            desc="naive features",
            unit="segment",
        )
    )
    lengths = np.array([len(part) for part in found])
    features = np.zeros((len(found), lengths.max(), found[0].shape[1]), dtype=np.float32)
    for row, part in zip(features, found, strict=True):
        row[: len(part)] = part
    return FeatureStore(features, lengths)
