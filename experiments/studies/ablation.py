"""What matters? One thing is changed at a time, and the validation persons are asked.

Knows the settings, and how frames are put into another order. Every setting is a run of
`experiments.training.run_experiment`, found again when it is finished; the test persons play no
part in this table. The last task alone is none of these: it shows what a random split of segments
would claim.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from benchmarks.measure import Row
from data.kth import find_segments, select
from evaluation.metrics import score
from experiments.crossval import cross_validate, leak, persons_in, plan
from experiments.training import (
    EXPERIMENTS,
    Experiment,
    evaluate_checkpoint,
    feature_dataset,
    load_recogniser,
    run_experiment,
)
from utils.data_setup import VideoDataset, Window, create_dataloaders
from utils.engine import evaluate
from utils.store import CACHE, FeatureStore

Order = Callable[
    [int, np.random.Generator], np.ndarray
]  # number of frames -> the order in which they are shown
ORDERS: dict[str, Order] = {
    "as filmed": lambda length, _: np.arange(length),
    "reversed": lambda length, _: np.arange(length)[::-1],
    "shuffled": lambda length, rng: rng.permutation(length),
}
ORDERED = ("average_window", "gru", "tcn", "motion", "motion_gru")
LEAKED = ("average_window", "gru", "motion")
LEAK_SPLITS = 5
# Clips are read and encoded anew in every epoch, minutes a run: few epochs, so small batches and a
# higher rate.
TUNED, TUNED_EPOCHS = {"fine_tune": 2, "batch_size": 16, "lr": 3e-3}, 6


@dataclass(frozen=True)
class Setting:
    """One row: an experiment, fields of its recipe, and the level it is counted at."""

    experiment: Experiment
    recipe: Mapping[str, Any] = field(default_factory=dict)
    level: str = "segment"


def settings(
    imagenet: str | None, *, tuned_epochs: int = TUNED_EPOCHS
) -> dict[tuple[str, str], Setting]:
    """Return the rows by task and method; without ImageNet weights their rows are missing."""
    gru, motion = EXPERIMENTS["gru"], EXPERIMENTS["motion"]
    rows = {
        ("frames of 1.2 seconds, grey GRU", f"{frames} frames, {stride} apart"): Setting(
            dataclasses.replace(gru, sampler=Window(frames, stride))
        )
        for frames, stride in ((2, 16), (4, 8), (8, 4), (16, 2))
    }
    for height, width in ((48, 64), (72, 96), (96, 128), (128, 171)):
        rows["size of a frame, grey GRU", f"{height} x {width}"] = Setting(
            gru, {"size": (height, width)}
        )
    for name in ("ghost", "middle"):
        task = f"annotated segments or whole files, videos, {name}"
        rows[task, "segments"] = Setting(EXPERIMENTS[name], level="video")
        rows[task, "whole file"] = Setting(EXPERIMENTS[f"{name}_whole"], level="video")
    for head, grey, moving in (
        ("average", "average_window", "motion"),
        ("GRU", "gru", "motion_gru"),
    ):
        rows[f"grey or motion as colour, {head}", "grey"] = Setting(EXPERIMENTS[grey])
        rows[f"grey or motion as colour, {head}", "motion as colour"] = Setting(EXPERIMENTS[moving])
    for head, name in (
        ("average", "average_window"),
        ("GRU", "gru"),
        ("temporal convolution", "tcn"),
    ):
        rows["head, grey", head] = Setting(EXPERIMENTS[name])
    weights = {"bundled": "bundled", "ImageNet": imagenet, "random": None}
    for title, experiment in (("grey GRU", gru), ("motion as colour, average", motion)):
        for name, value in weights.items():
            if name != "ImageNet" or imagenet is not None:
                rows[f"weights of the frozen backbone, {title}", name] = Setting(
                    experiment, {"weights": value}
                )
    task, recipe = (
        "frozen or fine-tuned, motion as colour, average",
        {**TUNED, "epochs": tuned_epochs},
    )
    rows[task, "frozen"] = Setting(motion)
    rows[task, f"last {TUNED['fine_tune']} of 9 stages tuned, {tuned_epochs} epochs"] = Setting(
        motion, recipe
    )
    return rows


def run(
    root: str | Path,
    *,
    imagenet: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    fast: bool = False,
    tuned_epochs: int = TUNED_EPOCHS,
    only: Sequence[str] = (),
    runs_dir: str | Path = "runs/ablation",
    cache_dir: str | Path | None = CACHE,
) -> list[Row]:
    """Train what is not trained yet, and ask the validation persons.

    Args:
        root: Folder in KTH's layout.
        imagenet: ImageNet weights, "imagenet" to download them or a state dict's file; None leaves
            their rows out.
        seeds: Of the heads, and of random weights.
        fast: Train a sliver, to see that it works.
        tuned_epochs: Of the fine-tuned runs; they take minutes each.
        only: Words of which a task must contain one; all tasks when there are none.
        runs_dir: Where the runs are kept and found again, apart from those of the article.
        cache_dir: Where features are kept.
    """
    where = {"root": root, "runs_dir": runs_dir, "cache_dir": cache_dir, "progress": False}
    wanted = {
        key: setting
        for key, setting in settings(imagenet, tuned_epochs=tuned_epochs).items()
        if _asked_for(key[0], only)
    }
    rows = []
    for (task, method), setting in tqdm(
        wanted.items(), desc="ablation", unit="setting", leave=False
    ):
        found = [_validated(setting, seed, fast, where) for seed in seeds]
        rows.append(_row(task, method, found))
    if _asked_for("order of the frames", only):
        rows += [row for name in ORDERED for row in _order_rows(name, seeds, fast, where)]
    if _asked_for("leak", only):
        eyes = {"bundled": "bundled", "ImageNet": imagenet}
        rows += [
            row
            for eye, weights in eyes.items()
            for name in LEAKED
            if weights is not None
            for row in _leak_rows(name, eye, {"fast": fast, "weights": weights}, where)
        ]
    return rows


def _asked_for(task: str, only: Sequence[str]) -> bool:
    return not only or any(word in task for word in only)


def _validated(
    setting: Setting, seed: int, fast: bool, where: Mapping[str, Any]
) -> tuple[int, int]:
    """Return how many of the validation persons' items a run names right, and of how many."""
    trained = run_experiment(
        setting.experiment, seed=seed, fast=fast, results_dir=None, **where, **setting.recipe
    )
    result = evaluate_checkpoint(
        trained.run, where["root"], split="validation", cache_dir=where["cache_dir"], progress=False
    )
    found = getattr(result, setting.level)
    return found["correct"], found["n"]


def _order_rows(name: str, seeds: Sequence[int], fast: bool, where: Mapping[str, Any]) -> list[Row]:
    """Show a trained head the validation persons' frames in another order."""
    found: dict[str, list[tuple[int, int]]] = {order: [] for order in ORDERS}
    for seed in seeds:
        trained = run_experiment(name, seed=seed, fast=fast, results_dir=None, **where)
        recogniser = load_recogniser(trained.run)
        data = feature_dataset(
            recogniser.model.backbone,
            select(find_segments(where["root"]), "validation"),
            sampler=recogniser.sampler,
            transform=recogniser.transform,
            cache_dir=where["cache_dir"],
            progress=False,
        )
        for order, function in ORDERS.items():
            loader = create_dataloaders({"asked": reordered(data, function)}, batch_size=64)[
                "asked"
            ]
            answer = score(evaluate(recogniser.model.head, loader).log_probs, np.array(data.labels))
            found[order].append((answer["correct"], answer["n"]))
    return [
        _row(f"order of the frames when asked, {name}", order, counts)
        for order, counts in found.items()
    ]


def reordered(data: VideoDataset, order: Order) -> VideoDataset:
    """Return a data set of features whose items show their frames in another order."""
    store, rng = cast(FeatureStore, data.source), np.random.default_rng(0)
    features = np.array(store.features)
    for item, length in enumerate(store.lengths):
        features[item, :length] = store.features[item][order(int(length), rng)]
    return VideoDataset(data.segments, FeatureStore(features, store.lengths), seed=None)


def _leak_rows(
    name: str, eye: str, recipe: Mapping[str, Any], where: Mapping[str, Any]
) -> list[Row]:
    """As many segments tested after training on as many: persons apart, and segments at random."""
    scheme = plan(persons_in(where["root"]), repeats=LEAK_SPLITS)
    honest = cross_validate(name, scheme, seeds=1, **where, **recipe).score("segment")
    leaky = leak(
        name,
        root=where["root"],
        splits=LEAK_SPLITS,
        cache_dir=where["cache_dir"],
        progress=False,
        **recipe,
    )
    task = f"the leak, not for use: {name} on the {eye} eye"
    rows = []
    for method, accuracy, (low, high), note in (
        (
            scheme.name,
            honest["accuracy"],
            honest["person_interval"] or honest["interval"],
            f"{honest['correct'][0]} of {honest['n']}",
        ),
        (
            f"{LEAK_SPLITS} random splits of segments",
            leaky.accuracy,
            leaky.interval,
            f"{leaky.correct} of {leaky.n}",
        ),
    ):
        rows.append(Row(task, method, 100 * accuracy, "%", None, 100 * low, 100 * high, 1, note))
    return rows


def _row(task: str, method: str, found: Sequence[tuple[int, int]]) -> Row:
    percent = [100 * correct / n for correct, n in found]
    note = f"{' '.join(str(correct) for correct, _ in found)} of {found[0][1]}"
    return Row(
        task,
        method,
        statistics.mean(percent),
        "%",
        None,
        min(percent),
        max(percent),
        len(found),
        note,
    )
