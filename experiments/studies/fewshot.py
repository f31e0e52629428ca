"""How many real persons does it take? Heads trained on k persons of a folder and asked about all
the others.

Knows folders in KTH's layout, the bundled recogniser and how its head is trained on. Clips are the
windows in the middle of segments, in training and in asking alike, also where the recogniser itself
is read in every window. A person is in one half only; with so few of them nobody is left to choose
an epoch by: the number is fixed and the loss on the trained persons decides.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.measure import Row
from data.kth import find_segments
from evaluation.metrics import score
from experiments.training import (
    Recipe,
    Result,
    about_run,
    feature_dataset,
    is_footage,
    load_recogniser,
    measure,
    name_of,
    part_of,
    record_reading,
)
from models.temporal import build_head
from utils.data_setup import VideoDataset, create_dataloaders
from utils.engine import evaluate, set_seed, train_model
from utils.predict import Recogniser
from utils.store import CACHE

STARTS = ("bundled head", "fresh head")


def run(
    root: str | Path,
    *,
    real: str | Path | None = None,
    counts: Sequence[int] = (1, 2, 4, 8),
    draws: int = 5,
    epochs: int = 15,
    cache_dir: str | Path | None = CACHE,
    log: str | Path | None = "results",
) -> list[Row]:
    """Train heads on features of the bundled backbone and return the accuracy on strangers, by
    number of persons.

    Args:
        root: Folder in KTH's layout.
        real: Taken instead of root when there is one.
        counts: How many persons to train on; those that leave nobody to be asked about are left
            out.
        draws: Random choices of the persons, each with its own seed.
        epochs: Of every training.
        cache_dir: Where features are kept.
        log: Folder of the list of readings of real footage; None writes none. Only the head that
            knows nobody of the folder is a reading.

    Raises:
        ValueError: The folder names fewer than two persons.
    """
    folder = real if real is not None else root
    recogniser = load_recogniser("bundled")
    segments = [segment for segment in find_segments(folder) if segment.video.person is not None]
    persons = sorted(
        {segment.video.person for segment in segments if segment.video.person is not None}
    )
    if len(persons) < 2:
        raise ValueError(
            f"{folder} names {len(persons)} persons; some are needed to train on and others to "
            "ask about"
        )
    data = feature_dataset(
        recogniser.model.backbone,
        segments,
        sampler=recogniser.sampler,
        transform=recogniser.transform,
        cache_dir=cache_dir,
        progress=False,
    )
    task = f"{name_of(folder)}, segments of persons not trained on"
    asked = _as_it_is(recogniser, data, name_of(folder))
    if log is not None and is_footage(folder):
        record_reading(asked, name=f"{asked.experiment}, bundled, middle window", results_dir=log)
    rows = [_row(task, "0 persons, bundled head", [(asked.segment["correct"], asked.segment["n"])])]
    for count in (count for count in counts if count < len(persons)):
        for start in STARTS:
            found = [
                _accuracy(
                    recogniser,
                    data,
                    _drawn(persons, count, draw),
                    start=start,
                    epochs=epochs,
                    seed=draw,
                )
                for draw in range(draws)
            ]
            rows.append(_row(task, f"{count} of {len(persons)} persons, {start}", found))
    return rows


def _as_it_is(recogniser: Recogniser, data: VideoDataset, data_name: str) -> Result:
    """Ask the bundled head about everybody."""
    head, extra = recogniser.model.head, recogniser.extra
    output = evaluate(head, create_dataloaders({"all": data}, batch_size=64)["all"])
    return measure(
        output.log_probs,
        data.segments,
        experiment=extra["experiment"],
        data=data_name,
        split="all",
        about=about_run(extra, head, seconds=0),
    )


def _drawn(persons: Sequence[int], count: int, draw: int) -> set[int]:
    return set(np.random.default_rng(draw).choice(persons, size=count, replace=False).tolist())


def _accuracy(
    recogniser: Recogniser,
    data: VideoDataset,
    chosen: set[int],
    *,
    start: str,
    epochs: int,
    seed: int,
) -> tuple[int, int]:
    """Return how many of the other persons' segments a head trained on the chosen persons names,
    and of how many."""
    inside = np.array([segment.video.person in chosen for segment in data.segments])
    train = part_of(data, np.flatnonzero(inside).tolist(), seed=seed)
    rest = part_of(data, np.flatnonzero(~inside).tolist())
    recipe = Recipe(seed=seed, epochs=epochs, patience=epochs)
    loaders = create_dataloaders(
        {"train": train, "rest": rest}, batch_size=recipe.batch_size, seed=seed
    )
    set_seed(seed)
    head = copy.deepcopy(recogniser.model.head) if start == "bundled head" else _fresh(recogniser)
    train_model(head, loaders["train"], loaders["train"], progress=False, **recipe.training())
    found = score(evaluate(head, loaders["rest"]).log_probs, np.array(rest.labels))
    return found["correct"], found["n"]


def _fresh(recogniser: Recogniser) -> nn.Module:
    described = recogniser.extra["head"]
    return build_head(described["name"], **described["config"]).to(
        next(recogniser.model.parameters()).device
    )


def _row(task: str, name: str, found: Sequence[tuple[int, int]]) -> Row:
    percent = [100 * correct / n for correct, n in found]
    counts = ", ".join(f"{correct} of {n}" for correct, n in found)
    return Row(
        task,
        name,
        statistics.mean(percent),
        "%",
        None,
        min(percent),
        max(percent),
        len(found),
        counts,
    )
