"""The studies by name, one question a file, and what they share with the benchmarks.

Knows how measurements are run by name, how scores become a row, and how features are changed. Does
not know what is measured: each study is a module of this folder with a function run(root, ...) ->
rows and QUICK, settings of it that show in seconds that it works and whose numbers mean nothing.
"""

from __future__ import annotations

import importlib
import inspect
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evaluation.predictions import Score
from experiments.recognisers import load_recogniser
from experiments.table import Experiment
from experiments.training import run_experiment
from tracking.measurements import Row
from utils.cutout import Cutout
from utils.data_setup import VideoDataset
from utils.features import Features
from utils.predict import Fusion, Recogniser, predict_video
from utils.preprocessing import GreyFrames, looker

if TYPE_CHECKING:
    import pandas as pd

STUDIES = {
    "transfer": "what makes recognisers of rendered people recognise real ones, row by row",
    "fewshot": "how many real persons it takes, with a bundled head and with a fresh one",
    "ablation": (
        "what matters: frames, size, segments, order, motion, heads, weights, tuning; and what "
        "subject leakage claims"
    ),
    "order": "what the Bi-GRU has that a head without order lacks, control by control",
    "realism": "rendered and real footage in numbers",
    "elsewhere": "clips of other places: as filmed, the person cut out, joints, all together",
    "finder": "how the person finder errs on rendered people, and how joints are disturbed",
    "readers": "what a classifier is to be shown of a person: filmed, cut out, followed, joints",
    "finders": "other ways of finding the person, in front of the same classifier of cut-outs",
    "members": "who should be in the default: every set of joints, cut-outs and whole images",
    "presence": "what a head could read from when somebody is in the image, and from nothing else",
    "stress": "rendered test persons made harder, one thing at a time, by the same parts",
    "own_classes": "what 1 to 20 clips a class give of other movements, shown what of a person",
    "refusal": "whether appearance that learned something else refuses better than joints",
}


def run_study(name: str, root: str | Path, *, quick: bool = False, **data: Any) -> list[Row]:
    """Answer the question of one study.

    Args:
        name: One of STUDIES.
        root: A data set in KTH's layout.
        quick: Use the settings of QUICK.
        **data: What some studies can use: `real`, real clips in KTH's layout, `imagenet`,
            ImageNet weights to compare with, `plain`, an encoder that was pre-trained on plain
            ground, and `elsewhere`, clips <label>/<file> of other places.

    Raises:
        ValueError: There is no such study.
    """
    return run_named(name, root, STUDIES, __name__, "study", quick=quick, **data)


def run_named(
    name: str,
    root: str | Path,
    table: Mapping[str, str],
    package: str,
    kind: str,
    *,
    quick: bool,
    **data: Any,
) -> list[Row]:
    """Run a module of a package with that of the data which is there and which it takes.

    Raises ValueError when the package's table of measurements of this kind lacks the name.
    """
    if name not in table:
        kinds = package.rpartition(".")[2]
        raise ValueError(f"there is no {kind} {name!r}; the {kinds} are {', '.join(table)}")
    module = importlib.import_module(f"{package}.{name}")
    taken = inspect.signature(module.run).parameters
    given = {key: value for key, value in data.items() if value is not None and key in taken}
    return module.run(root, **(module.QUICK if quick else {}), **given)


@dataclass(frozen=True)
class Setting:
    """One row: an experiment, how it is trained, and how it is evaluated.

    Args:
        experiment: One of EXPERIMENTS, or its name.
        recipe: Fields of `Recipe` that differ from the default.
        level: What is counted: "segment" or "video".
        dense: See `experiments.recognisers.evaluate_checkpoint`.
    """

    experiment: str | Experiment
    recipe: Mapping[str, Any] = field(default_factory=dict)
    level: str = "segment"
    dense: bool = False

    def trained(self, seeds: Sequence[int], how: Mapping[str, Any]) -> Iterator[Recogniser]:
        """Give its recogniser of each seed, trained now or before.

        `how` are further arguments of `run_experiment`.
        """
        settings = {**how, **self.recipe, "results_dir": None}
        for seed in seeds:
            yield load_recogniser(run_experiment(self.experiment, seed=seed, **settings).run)


def accuracy_row(task: str, method: str, scores: Sequence[Score], note: str = "") -> Row:
    """Return the scores of several seeds as a row: mean accuracy in percent, by default with the
    counts as its note."""
    counts = f"{' '.join(f'{score.correct:g}' for score in scores)} of {scores[0].n}"
    percent = [100 * score.accuracy for score in scores]
    return Row.of(task, method, percent, "%", note or counts, middle=statistics.mean)


def seed_accuracies(rows: pd.DataFrame, task: str) -> dict[str, list[float]]:
    """Return the accuracies of a task's methods, one a seed, as fractions.

    Args:
        rows: What `tracking.results.read_results` says of a study.
        task: The task; its rows' notes are counts such as "412 412 409 of 432".

    Raises:
        ValueError: There is no such task, or a note has no counts.
    """
    chosen = rows[rows.task == task]
    if chosen.empty:
        tasks = "; ".join(dict.fromkeys(rows.task))
        raise ValueError(f"there is no task {task!r}; the tasks are {tasks}")
    found = {}
    for row in chosen.itertuples():
        correct, of, n = str(row.note).partition(" of ")
        if not of or not n.isdigit():
            raise ValueError(f"{task}, {row.method}: the note {row.note!r} has no counts")
        found[str(row.method)] = [float(one) / int(n) for one in correct.split()]
    return found


def answers_of_parts(
    fusion: Fusion,
    video: Path | np.ndarray,
    *,
    fps: float | None = None,
    found: Mapping[str, np.ndarray] | None = None,
) -> dict[str, str]:
    """Return the label that a fusion gives a video, and what its parts say alone.

    The first member is joints; appearance, the last, is asked about whole images and about the
    person cut out, whichever of the two it is a member with.
    """
    joints, appearance = fusion.members[0], fusion.members[-1]
    if found is None:
        found = looker(joints.shown.reader).look(video, fps)
    said, forced = fusion.said(video, fps=fps, found=found), replace(fusion, threshold=None)
    plain, cut = (
        replace(appearance, shown=replace(appearance.shown, reader=reader))
        for reader in (GreyFrames(), Cutout())
    )
    alone = Fusion((cut,), fusion.classes)
    return {
        "as filmed": predict_video(plain, video, fps=fps).label,
        "the person cut out": alone.predict(video, fps=fps, found=found).label,
        "joints alone": replace(forced, members=(joints,)).joined(said[:1]).label,
        "all together": forced.joined(said).label,
        "all together, may refuse": fusion.joined(said).label,
    }


def changed(data: VideoDataset, change: Callable[[np.ndarray], np.ndarray]) -> VideoDataset:
    """Return a data set of features with each item (V, T, D) changed."""
    items = cast(Features, data.source).items
    return VideoDataset(data.segments, Features([change(item) for item in items]))
