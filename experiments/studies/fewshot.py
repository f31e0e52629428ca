"""How many real persons does it take? Heads trained on k persons of a folder and tested on all the
others.

Knows folders in KTH's layout, the bundled recogniser and how its head is trained on. Clips are
those in the middle of segments, in training and at test time alike, also where the recogniser
itself takes dense ones. A person is in one half only; with so few of them nobody is left to choose
an epoch by: the number is fixed and the loss on the trained persons decides.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.files import DEFAULT, place
from data.kth import dataset_name, find_segments, is_real
from evaluation.predictions import Score
from experiments.crossval import persons_in
from experiments.datasets import shown_dataset
from experiments.recipe import Recipe
from experiments.recognisers import APPEARANCE, load_recogniser, predict_dataset
from experiments.results import Result, about_run, record_reading
from experiments.studies import accuracy_row
from experiments.table import EXPERIMENTS
from experiments.training import fit, new_model
from tracking.measurements import Row
from utils.data_setup import VideoDataset
from utils.predict import Recogniser

STARTS = ("bundled head", "fresh head")
QUICK = {"counts": (1,), "draws": 1, "epochs": 2, "log": None}


def run(
    root: str | Path,
    *,
    real: str | Path | None = None,
    counts: Sequence[int] = (1, 2, 4, 8),
    draws: int = 5,
    epochs: int = 15,
    cache_dir: str | Path | None = DEFAULT,
    log: str | Path | None = DEFAULT,
) -> list[Row]:
    """Train heads on the bundled backbone's features of few persons, and test all the others.

    Args:
        root: Folder in KTH's layout.
        real: Taken instead of root when there is one.
        counts: How many persons to train on; those that leave nobody to test are left out.
        draws: Random choices of the persons, each with its own seed.
        epochs: Of every training.
        cache_dir: Where features are kept.
        log: Folder of the list of readings of real footage; None writes none. Only the head that
            knows nobody of the folder is a reading.

    Raises:
        ValueError: The folder names fewer than two persons.
    """
    folder = real if real is not None else root
    segments = [s for s in find_segments(folder) if s.video.person is not None]
    persons = persons_in(folder)
    if len(persons) < 2:
        raise ValueError(
            f"{folder} names {len(persons)} persons; some are needed to train on and others to test"
        )
    recogniser = load_recogniser(APPEARANCE)
    data = shown_dataset(recogniser.model, segments, recogniser.shown, cache_dir=cache_dir)
    experiment, predictions = recogniser.extra["experiment"], predict_dataset(recogniser, data)
    about = about_run(recogniser.extra, seconds=0)
    known = Result(experiment, dataset_name(folder), "all", predictions, about)
    if log is not None and is_real(folder):
        name = f"{experiment}, bundled, middle clip"
        record_reading(known, name=name, results_dir=place(log, "results"))
    task = f"{known.data}, segments of persons not trained on"
    rows = [_row(task, "0 persons, bundled head", [known.segment])]
    for count in counts:
        for start in STARTS if count < len(persons) else ():
            scores = []
            for draw in range(draws):
                chosen = np.random.default_rng(draw).choice(persons, size=count, replace=False)
                scores.append(_score(recogniser, data, chosen, start, epochs, draw))
            rows.append(_row(task, f"{count} of {len(persons)} persons, {start}", scores))
    return rows


def _score(
    recogniser: Recogniser,
    data: VideoDataset,
    chosen: np.ndarray,
    start: str,
    epochs: int,
    seed: int,
) -> Score:
    """Score the other persons' segments after training a head on the chosen persons'."""
    experiment = EXPERIMENTS[recogniser.extra["experiment"]]
    recipe = Recipe(seed=seed, epochs=epochs, patience=epochs)
    inside = np.array([segment.video.person in chosen for segment in data.segments])
    trained, others = (np.flatnonzero(side).tolist() for side in (inside, ~inside))
    parts = {
        "train": data.subset(trained, seed=seed),
        "validation": data.subset(trained),
        "test": data.subset(others),
    }
    model = new_model(experiment, recipe, backbone=recogniser.model.backbone)
    if start == "bundled head":
        model.head = copy.deepcopy(recogniser.model.head)
    return fit(experiment, recipe, parts, model=model, disjoint=False).predictions.score()


def _row(task: str, method: str, scores: Sequence[Score]) -> Row:
    counts = ", ".join(f"{score.correct} of {score.n}" for score in scores)
    return accuracy_row(task, method, scores, counts)
