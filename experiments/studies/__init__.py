"""The studies by name, one question a file, and what they share with the benchmarks.

Knows how measurements are run by name and how repetitions become a row. Does not know what is
measured: each study is a module of this folder with a function run(root, ...) -> rows and QUICK,
settings of it that show in seconds that it works and whose numbers mean nothing.
"""

from __future__ import annotations

import importlib
import inspect
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.predictions import Score
from tracking.measurements import Row

STUDIES = {
    "transfer": "what makes recognisers of rendered people recognise real ones, row by row",
    "fewshot": "how many real persons it takes, with a bundled head and with a fresh one",
    "ablation": (
        "what matters: frames, size, segments, order, motion, heads, weights, tuning; and what "
        "subject leakage claims"
    ),
    "realism": "rendered and real footage in numbers",
    "elsewhere": "clips of other places: as filmed, the person cut out, joints, all together",
}


def run_study(
    name: str,
    root: str | Path,
    *,
    quick: bool = False,
    real: str | Path | None = None,
    imagenet: str | None = None,
    elsewhere: str | Path | None = None,
) -> list[Row]:
    """Answer the question of one study.

    Args:
        name: One of STUDIES.
        root: A data set in KTH's layout.
        quick: Use the settings of QUICK.
        real: Real clips in KTH's layout, for the studies that can use them.
        imagenet: ImageNet weights, for the study that compares with them.
        elsewhere: Clips <label>/<file> of other places, for the study of those.

    Raises:
        ValueError: There is no such study.
    """
    check_name(name, STUDIES, ("study", "studies"))
    data = {"real": real, "imagenet": imagenet, "elsewhere": elsewhere}
    return run_module(f"{__name__}.{name}", root, quick, **data)


def check_name(name: str, table: Mapping[str, str], kind: tuple[str, str]) -> None:
    """Raise ValueError when a table of measurements, named in singular and plural, lacks a name."""
    if name not in table:
        raise ValueError(f"there is no {kind[0]} {name!r}; the {kind[1]} are {', '.join(table)}")


def run_module(module: str, root: str | Path, quick: bool, **data: Any) -> list[Row]:
    """Run a module of measurements with that of the data which is there and which it takes."""
    found = importlib.import_module(module)
    taken = inspect.signature(found.run).parameters
    given = {key: value for key, value in data.items() if value is not None and key in taken}
    return found.run(root, **(found.QUICK if quick else {}), **given)


def row_of(
    task: str,
    method: str,
    values: Sequence[float],
    unit: str,
    note: str = "",
    *,
    ratio: float | None = None,
    middle: Callable[[Sequence[float]], float] = statistics.median,
) -> Row:
    """Return repetitions as a row: their median, or the `middle` of them, and their range."""
    spread = min(values), max(values), len(values)
    return Row(task, method, middle(values), unit, ratio, *spread, note)


def accuracy_row(task: str, method: str, scores: Sequence[Score], note: str = "") -> Row:
    """Return the scores of several seeds as a row: mean accuracy in percent, by default with the
    counts as its note."""
    counts = f"{' '.join(f'{score.correct:g}' for score in scores)} of {scores[0].n}"
    percent = [100 * score.accuracy for score in scores]
    return row_of(task, method, percent, "%", note or counts, middle=statistics.mean)
