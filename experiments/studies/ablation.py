"""What matters? One thing is changed at a time, and the validation persons are evaluated.

Knows the settings, and how frames are put into another order. Every setting is a run of
`experiments.run_experiment`, found again when it is finished; the test persons play no part in this
table. The last tasks alone are none of these: they show what a random split of segments would
claim.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.files import DEFAULT, place
from data.kth import FPS, find_segments, select
from evaluation.predictions import Score
from experiments.crossval import cross_validate, persons_in, plan, subject_leakage
from experiments.datasets import shown_dataset
from experiments.recognisers import evaluate_checkpoint, predict_dataset
from experiments.studies import Setting, accuracy_row, changed
from experiments.table import EXPERIMENTS
from tracking.measurements import Row
from utils.data_setup import VideoDataset
from utils.preprocessing import FixedStride

Order = Callable[[int, np.random.Generator], np.ndarray]  # number of frames -> their order
ORDERS: dict[str, Order] = {
    "as filmed": lambda length, _: np.arange(length),
    "reversed": lambda length, _: np.arange(length)[::-1],
    "shuffled": lambda length, rng: rng.permutation(length),
}
ORDERED = ("average_window", "gru", "tcn", "stacked", "stacked_gru")
LEAKED = ("average_window", "gru", "stacked")
# Clips are read and encoded anew in every epoch, minutes a run: few epochs, so small batches and a
# higher rate.
TUNED = {"fine_tune": 2, "batch_size": 16, "lr": 3e-3, "epochs": 6}
HEADS = {"average": "average_window", "GRU": "gru", "temporal convolution": "tcn"}
STACKED = {"average": ("average_window", "stacked"), "GRU": ("gru", "stacked_gru")}
QUICK = {"seeds": (0,), "fast": True, "only": ("head",)}


def settings(imagenet: str | None) -> dict[tuple[str, str], Setting]:
    """Return the rows by task and method; without ImageNet weights their rows are missing."""
    gru, stacked = EXPERIMENTS["gru"], EXPERIMENTS["stacked"]
    of = {name: Setting(experiment) for name, experiment in EXPERIMENTS.items()}
    weights = {"bundled": "bundled"} | ({"ImageNet": imagenet} if imagenet else {})
    tuned = f"last {TUNED['fine_tune']} of 9 stages tuned, {TUNED['epochs']} epochs"
    tables: dict[str, dict[str, Setting]] = defaultdict(dict)
    for frames, apart in ((2, 16), (4, 8), (8, 4), (16, 2)):
        shown = replace(gru.shown, sampler=FixedStride(frames, apart / FPS))
        strided = Setting(replace(gru, shown=shown))
        tables["frames of 1.2 seconds, grey GRU"][f"{frames} frames, {apart} apart"] = strided
    tables["size of a frame, grey GRU"] = {
        "{} x {}".format(*size): Setting(gru, {"size": size})
        for size in ((48, 64), (72, 96), (96, 128), (128, 171))
    }
    for name in ("ghost", "middle"):
        tables[f"trimmed clips or untrimmed videos, videos, {name}"] = {
            "trimmed clips": Setting(EXPERIMENTS[name], level="video"),
            "untrimmed videos": Setting(EXPERIMENTS[f"{name}_whole"], level="video"),
        }
    for head, (grey, other) in STACKED.items():
        tables[f"grey or stacked greyscale, {head}"] = {
            "grey": of[grey],
            "stacked greyscale": of[other],
        }
    tables["head, grey"] = {head: of[name] for head, name in HEADS.items()}
    for title, experiment in (("grey GRU", gru), ("stacked greyscale, average", stacked)):
        tables[f"weights of the frozen backbone, {title}"] = {
            name: Setting(experiment, {"weights": value}) for name, value in weights.items()
        }
    tables["frozen or fine-tuned, stacked greyscale, average"] = {
        "frozen": of["stacked"],
        tuned: Setting(stacked, TUNED),
    }
    return {(task, method): row for task, table in tables.items() for method, row in table.items()}


def run(
    root: str | Path,
    *,
    imagenet: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    only: Sequence[str] = (),
    ordered: Sequence[str] = ORDERED,
    leaked: Sequence[str] = LEAKED,
    splits: int = 5,
    runs_dir: str | Path = DEFAULT,
    cache_dir: str | Path | None = DEFAULT,
    **recipe: Any,
) -> list[Row]:
    """Train what is not trained yet, and evaluate the validation persons.

    Args:
        root: Folder in KTH's layout.
        imagenet: ImageNet weights, "imagenet" to download them or a state dict's file; None leaves
            their rows out.
        seeds: Of the heads, and of random weights.
        only: Words of which a task must contain one; all tasks when there are none.
        ordered: Experiments that are shown frames in another order.
        leaked: Experiments that subject leakage is shown of.
        splits: How many random splits, by subject and of segments, show it.
        runs_dir: Where the runs are kept and found again; by default apart from the article's.
        cache_dir: Where features are kept.
        **recipe: Fields of `Recipe` for all rows, such as fast=True.
    """

    def wanted(task: str) -> bool:
        return not only or any(word in task for word in only)

    how = {"root": root, "progress": False, "cache_dir": cache_dir, **recipe}
    runs = {"runs_dir": place(runs_dir, "runs/ablation"), **how}
    chosen = {key: row for key, row in settings(imagenet).items() if wanted(key[0])}
    rows = [*trained_rows(chosen, seeds, runs)]
    if wanted("order of the frames"):
        rows += [row for name in ordered for row in _order_rows(name, seeds, runs)]
    if wanted("subject leakage"):
        for encoder, weights in {"bundled": "bundled", "ImageNet": imagenet}.items():
            for name in leaked if weights is not None else ():
                task = f"subject leakage, not for use: {name} on the {encoder} encoder"
                encoded = {**how, "weights": weights}
                rows += _leakage_rows(task, name, splits, runs["runs_dir"], encoded)
    return rows


def trained_rows(
    rows: Mapping[tuple[str, str], Setting], seeds: Sequence[int], how: Mapping[str, Any]
) -> Iterator[Row]:
    """Train each setting with each seed, and score the validation persons.

    `how` are further arguments of `run_experiment`, root and cache_dir among them.
    """
    where = {"root": how["root"], "cache_dir": how["cache_dir"], "progress": False}
    for (task, method), setting in tqdm(rows.items(), desc="ablation", unit="setting", leave=False):
        results = [
            evaluate_checkpoint(recogniser, split="validation", **where)
            for recogniser in setting.trained(seeds, how)
        ]
        yield accuracy_row(task, method, [getattr(result, setting.level) for result in results])


def _order_rows(name: str, seeds: Sequence[int], how: Mapping[str, Any]) -> list[Row]:
    """Show a trained head the validation persons' frames in another order."""
    scores: dict[str, list[Score]] = {order: [] for order in ORDERS}
    segments = select(find_segments(how["root"]), "validation")
    for recogniser in Setting(name).trained(seeds, how):
        shown, cache_dir = recogniser.shown, how["cache_dir"]
        data = shown_dataset(recogniser.model, segments, shown, cache_dir=cache_dir)
        for order, function in ORDERS.items():
            scores[order].append(predict_dataset(recogniser, reordered(data, function)).score())
    task = f"order of the frames at test time, {name}"
    return [accuracy_row(task, order, found) for order, found in scores.items()]


def reordered(data: VideoDataset, order: Order) -> VideoDataset:
    """Return a data set of features whose items show their frames in another order."""
    rng = np.random.default_rng(0)
    return changed(data, lambda item: item[:, order(item.shape[1], rng)])


def _leakage_rows(
    task: str, name: str, splits: int, runs_dir: Path, how: Mapping[str, Any]
) -> Iterator[Row]:
    """As many segments tested after training on as many: persons apart, and segments at random."""
    scheme = plan(persons_in(how["root"]), repeats=splits)
    apart = cross_validate(name, scheme, seeds=1, runs_dir=runs_dir, **how).score("segment")
    mixed = subject_leakage(name, splits=splits, **how).score
    scores = {scheme.name: apart, f"{splits} random splits of segments": mixed}
    for method, score in scores.items():
        low, high = (100 * end for end in score.persons or score.wilson)
        note = f"{round(score.correct)} of {score.n}"
        yield Row(task, method, 100 * score.accuracy, "%", None, low, high, 1, note)
