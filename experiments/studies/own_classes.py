"""How many clips a class does it take to teach somebody's own classes, and shown what of a person?

Knows rendered movements that are none of the six actions (see `data.synthetic.others`), and rows of
the table, each trained on clips of a few persons and tested on those of others. With so few clips
nobody is left to choose an epoch by: the number is fixed and the loss on the trained clips decides.
Does not know real footage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.files import DEFAULT, place
from data.items import Person, ordered
from data.kth import find_segments, own_segments
from data.synthetic import render_others
from data.synthetic.moves import MOVES
from evaluation.predictions import Predictions
from experiments.datasets import keeps_features
from experiments.recipe import Recipe
from experiments.studies import accuracy_row
from experiments.table import EXPERIMENTS
from experiments.training import Job, fit, new_model
from tracking.measurements import Row

SEED = 2  # of the movements; other studies learn from and judge by those of 0 and 1
READERS = ("stacked_gru", "cutout_gru", "crop_gru", "pose")
TOGETHER = ("cutout_gru", "pose")  # whose mean probability is one more reader
QUICK: dict[str, Any] = {
    "clips": (1,),
    "tested": 1,
    "kinds": ("kicking", "pointing"),
    "seeds": (0,),
    "readers": ("stacked_gru",),
    "epochs": 2,
}


def run(
    root: str | Path,
    *,
    movements: str | Path = DEFAULT,
    clips: Sequence[int] = (1, 3, 5, 10, 20),
    tested: int = 10,
    kinds: Sequence[str] = tuple(MOVES),
    seeds: Sequence[int] = (0, 1, 2),
    readers: Sequence[str] = READERS,
    epochs: int = 30,
    cache_dir: str | Path | None = DEFAULT,
) -> list[Row]:
    """Train on so many clips of each kind of movement, a person each, and test other persons.

    Args:
        root: Not needed: the movements are rendered where they are missing.
        movements: Their folder.
        clips: How many clips a class to learn from.
        tested: How many persons are tested; nobody learns from them.
        kinds: The classes, names of `data.synthetic.moves.MOVES`.
        seeds: Each with its own choice of persons to learn from.
        readers: Experiments of the table; of TOGETHER the mean is told too where both are named.
        epochs: Of every training.
        cache_dir: Where features and the finder's looks are kept.

    Raises:
        ValueError: Fewer than two kinds, one that there is not, or no clips.
    """
    folder, most = place(movements, "Data/KTH-Synth-Others-Own"), max(clips, default=0)
    if len(kinds) < 2 or min(clips, default=0) < 1:
        raise ValueError(f"{len(kinds)} kinds and clips {tuple(clips)}; give two kinds, and clips")
    render_others(folder, seed=SEED, persons=most + tested, kinds=kinds)
    found = [s for s in find_segments(folder) if s.video.action in kinds]
    people = ordered({s.video.who for s in found})[: most + tested]
    segments = own_segments([s for s in found if s.video.person in people])
    said: dict[str, Mapping[tuple[int, int], Predictions]] = {}
    for reader in readers:
        experiment, recipe = EXPERIMENTS[reader], Recipe(epochs=epochs, patience=epochs)
        where = place(cache_dir, "cache")
        job = Job(experiment, recipe, folder.name, {"all": segments}, where, progress=True)
        said[reader] = _taught(job, people[:most], clips, seeds)
    if set(TOGETHER) <= set(readers):
        one, other = (said[name] for name in TOGETHER)
        said["both"] = {key: _mean(one[key], other[key]) for key in one}
    titles = {name: row.title for name, row in EXPERIMENTS.items()}
    titles["both"] = " and ".join(titles[name] for name in TOGETHER)
    task = f"{len(kinds)} kinds of rendered movements, {tested} persons who were not learned from"
    return [
        accuracy_row(
            task,
            f"{count} clips a class, {titles[name]}",
            [predictions[count, seed].score() for seed in seeds],
        )
        for name, predictions in said.items()
        for count in clips
    ]


def _taught(
    job: Job, people: Sequence[Person], clips: Sequence[int], seeds: Sequence[int]
) -> dict[tuple[int, int], Predictions]:
    """Return what models say of the others after so many of these people's clips, by seed."""
    data = job.dataset(job.splits["all"], job.recipe)
    whose = [segment.video.who for segment in data.segments]
    shared = {"backbone": job.model.backbone} if keeps_features(job.model, job.recipe) else {}
    said, pairs = {}, [(count, seed) for count in clips for seed in seeds]
    for count, seed in tqdm(pairs, job.experiment.title, leave=False):
        order = np.random.default_rng(seed).permutation(len(people))[:count]
        chosen = {people[number] for number in order}
        learned = [number for number, who in enumerate(whose) if who in chosen]
        others = [number for number, who in enumerate(whose) if who not in people]
        recipe = replace(job.recipe, seed=seed)
        parts = {
            "train": data.subset(learned, seed=seed),
            "validation": data.subset(learned),
            "test": data.subset(others),
        }
        model = new_model(job.experiment, recipe, num_classes=len(job.classes), **shared)
        fitted = fit(job.experiment, recipe, parts, model=model, disjoint=False)
        said[count, seed] = fitted.predictions
    return said


def _mean(one: Predictions, other: Predictions) -> Predictions:
    """Return the mean probability of two models for the same items."""
    return replace(one, log_probs=np.logaddexp(one.log_probs, other.log_probs) - np.log(2))
