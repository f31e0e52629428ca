"""Does a head of appearance that learned "something else" refuse better than joints alone?

Knows rendered people: the six actions of KTH-Synth, and movements that are none of them. Those to
learn from and those that are judged have other persons and scenes, but are of the same kinds, as
they are for the head of joints. The validation persons choose the new heads' epochs and, half of
them for the other half, the thresholds. Does not know real footage, nor kinds that no head learned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.files import DEFAULT, place
from data.kth import ACTIONS, Segment, dataset_name, load_splits
from data.synthetic.joints import OTHER
from evaluation.predictions import Predictions, Score
from experiments.fusion import MEMBERS, REFUSED
from experiments.recipe import Recipe
from experiments.recognisers import WEIGHTS, fusion_of
from experiments.refuser import (
    CLASSES,
    PERSONS,
    REFUSER,
    fit_seven,
    other_segments,
    to_learn,
    with_and_without,
)
from experiments.studies import accuracy_row
from experiments.table import EXPERIMENTS
from experiments.training import Job, fit
from tracking.measurements import Row
from utils.features import look_at
from utils.predict import NOBODY, SOMETHING_ELSE, Fusion, Recogniser

JOINTS = "joints alone"
HEADS = {"averaged": REFUSER, "Bi-GRU": EXPERIMENTS["cutout_gru"]}
QUICK: dict[str, Any] = {"seeds": (0,), "persons": 2, "every": 32, "epochs": 2}


def run(
    root: str | Path,
    *,
    others: str | Path = DEFAULT,
    training: str | Path = DEFAULT,
    persons: int = PERSONS,
    seeds: Sequence[int] = (0, 1, 2),
    every: int = 1,
    cache_dir: str | Path | None = DEFAULT,
    **recipe: Any,
) -> list[Row]:
    """Train heads of six and of seven classes, and count what is refused and what is right.

    Args:
        root: KTH-Synth.
        others: Movements that are none of the six, to be judged, see `data.synthetic.others`.
        training: Others of the kind to learn from, rendered where they are missing.
        persons: Of each kind of movement to learn from.
        seeds: Of the heads.
        every: Take one in so many segments and files of other movements.
        cache_dir: Where features and the finder's looks are kept.
        **recipe: Fields of `Recipe` for all heads.

    Raises:
        ValueError: There are no others to judge, they are those to learn from, or few persons.
    """
    judged, where = place(others, "Data/KTH-Synth-Others"), place(cache_dir, "cache")
    none_of_them, splits = other_segments(judged)[::every], load_splits(root)
    more = to_learn(place(training, "Data/KTH-Synth-Others-Train"), judged, persons, every)
    six = {part: splits[part][::every] for part in more}
    heads, right = [], defaultdict(list)
    for kind, experiment in HEADS.items():
        for seed in seeds:
            job = Job(experiment, Recipe(seed=seed, **recipe), dataset_name(root), six, where, True)
            both, alone = with_and_without(job, more)
            of_six = fit(experiment, job.recipe, alone, model=job.model)
            of_seven = fit_seven(job, both)
            right[f"{kind}, six classes"].append(six_way(of_six.predictions))
            right[f"{kind}, seven classes"].append(six_way(of_seven.predictions))
            shown = job.experiment.shown.resized(job.recipe.size)
            seconds = job.extra([])["clip_seconds"]
            heads.append(Recogniser(of_seven.model.eval(), shown, CLASSES, seconds))
    joints = fusion_of({"name": JOINTS, "members": MEMBERS[:1]}, WEIGHTS).members
    asked = [*six["validation"], *none_of_them]
    doubts = _doubts((*joints, *heads), asked, where)
    task = "the likeliest of the six actions is right, a clip of each segment"
    return [
        *_refusals(doubts[0], doubts[1:].reshape(len(HEADS), len(seeds), -1), asked),
        *(accuracy_row(task, name, scores) for name, scores in right.items()),
    ]


def six_way(predictions: Predictions) -> Score:
    """Return the score of the six actions' items, each given the likeliest of the six."""
    six = predictions.labels < OTHER
    right = predictions.log_probs[six, :OTHER].argmax(1) == predictions.labels[six]
    return Score(int(right.sum()), int(six.sum()))


def _doubts(members: Sequence[Recogniser], asked: Sequence[Segment], where: Any) -> np.ndarray:
    """Return each member's probability of something else (M, N); nan where it is shown nobody."""
    paths, fusion = [segment.video.path for segment in asked], Fusion(tuple(members), ACTIONS)
    found = look_at(members[0].shown.reader, paths, cache_dir=where)
    doubts = []
    for one in tqdm(asked, "asking", leave=False):
        path = one.video.path
        said = fusion.said(path, one.start, one.stop, found=found[path])
        doubts.append([np.nan if a.label == NOBODY else a.probs[SOMETHING_ELSE] for a in said])
    return np.array(doubts).T


def scores_of(joints: np.ndarray, appearance: np.ndarray) -> dict[str, np.ndarray]:
    """Return by name what is compared with a threshold (N,), infinite where nobody is shown, for
    that is refused in any case; who is shown nobody leaves it to the other."""
    one = np.where(np.isnan(joints), appearance, joints)
    other = np.where(np.isnan(appearance), joints, appearance)
    scores = {
        JOINTS: joints,
        "appearance alone": appearance,
        "both, the larger": np.maximum(one, other),
        "both, the mean": (one + other) / 2,
    }
    return {name: np.where(np.isnan(score), np.inf, score) for name, score in scores.items()}


def refused(scores: np.ndarray, six: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """Tell which videos (N,) are refused: those of every second person by the threshold that
    REFUSED of the other persons' segments of the six exceed; ValueError when there are none."""
    first, found = np.isin(persons, np.unique(persons)[::2]), np.isinf(scores)
    for half in (first, ~first):
        if not (six & half).any():
            raise ValueError("one person shows the six actions; to choose and to judge takes two")
        threshold = np.quantile(scores[six & half], 1 - REFUSED, method="lower")
        found |= ~half & (scores > threshold)
    return found


def _refusals(joints: np.ndarray, heads: np.ndarray, asked: Sequence[Segment]) -> list[Row]:
    """Return the rows of what is refused, given the doubts of joints (N,) and of each kind's and
    seed's head (K, S, N)."""
    six = np.array([segment.label < OTHER for segment in asked])
    persons = np.array([segment.video.person for segment in asked])
    rows = []
    for task, which in (("none of the six", ~six), ("the six actions", six)):
        for kind, seeds in zip(HEADS, heads, strict=True):
            by_seed = [scores_of(joints, head) for head in seeds]
            for name in by_seed[0]:
                if name == JOINTS and kind != next(iter(HEADS)):
                    continue  # joints have one head
                chosen = by_seed[:1] if name == JOINTS else by_seed
                found = [refused(scores[name], six, persons)[which] for scores in chosen]
                counts = [Score(int(one.sum()), len(one)) for one in found]
                method = name if name == JOINTS else f"{kind}: {name}"
                rows.append(accuracy_row(f"{task}, refused", method, counts))
    return rows
