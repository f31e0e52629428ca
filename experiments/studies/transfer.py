"""Zero-shot sim-to-real transfer: recognisers trained on rendered people only, evaluated on an
out-of-distribution synthetic set and on real clips.

Knows the variants: which experiment, trained on what, evaluated how. The rendered validation
persons are there to choose by; real clips are monitored only: nothing is chosen, trained or
calibrated on them, and every evaluation of them is written down.
"""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.files import DEFAULT, place, read_json
from data.kth import CARD, OWN_TABLE, dataset_name
from experiments.recognisers import evaluate_checkpoint
from experiments.results import LEVELS, Result, record_reading
from experiments.studies import Setting, accuracy_row
from tracking.measurements import Row

REAL = "real clips"
QUICK = {"auxiliary": None, "unlike": None, "seeds": (0,), "fast": True, "log": None}


def variants(auxiliary: str | Path | None) -> dict[str, Setting]:
    """Return the rows by name; each differs in one thing from a row above it. Without an auxiliary
    set, its rows are missing."""
    dense, flips = {"dense": True}, {"horizontal_flip": True}
    rows = {
        "grey, average": Setting("average_window"),
        "grey, GRU": Setting("gru"),
        "grey, GRU over the whole segment": Setting("gru_uniform"),
        "stacked greyscale, average": Setting("stacked"),
        "stacked greyscale, GRU": Setting("stacked_gru"),
        "stacked greyscale, average, horizontal flips too": Setting("stacked", flips),
        "stacked greyscale, average, dense at test time": Setting("stacked", dense=True),
        "stacked greyscale, average, dense": Setting("stacked", dense, dense=True),
        "stacked greyscale, GRU, dense": Setting("stacked_gru", dense, dense=True),
    }
    if auxiliary is not None:
        more = {"auxiliary_root": str(auxiliary)}
        rows |= {
            "stacked greyscale, average, auxiliary set": Setting("stacked", more),
            "stacked greyscale, GRU, auxiliary set": Setting("stacked_gru", more),
        }
    return rows


def run(
    root: str | Path,
    *,
    real: str | Path | None = None,
    auxiliary: str | Path | None = DEFAULT,
    unlike: str | Path | None = DEFAULT,
    seeds: Sequence[int] = (0, 1, 2),
    only: Sequence[str] = (),
    runs_dir: str | Path = DEFAULT,
    cache_dir: str | Path | None = DEFAULT,
    log: str | Path | None = DEFAULT,
    **recipe: Any,
) -> list[Row]:
    """Train what is not trained yet, and evaluate every row on the synthetic sets and on real
    clips.

    Args:
        root: KTH-Synth.
        real: Real clips in KTH's layout; None evaluates none.
        auxiliary: The auxiliary training set; its rows are left out when it is None or not there.
        unlike: The out-of-distribution set, rendered with another seed; left out likewise.
        seeds: Of the heads.
        only: Names of rows; all when there are none.
        runs_dir: Where runs are kept and found again.
        cache_dir: Where features are kept.
        log: Folder of the list of evaluations of the real clips; None writes none.
        **recipe: Fields of `Recipe` for all rows, such as fast=True.
    """
    sets: dict[str, tuple[Any, str]] = {
        "validation persons": (root, "validation"),
        "out-of-distribution set": (_there(unlike, "Data/KTH-Synth-OOD"), "all"),
        REAL: (real, "all"),
    }
    sets = {task: (folder, split) for task, (folder, split) in sets.items() if folder is not None}
    known = variants(_there(auxiliary, "Data/KTH-Synth-Auxiliary"))
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    where: dict[str, Any] = {"cache_dir": cache_dir, "progress": False}
    how = {"root": root, "runs_dir": runs_dir, **where, **recipe}
    for name in only or known:
        for recogniser in known[name].trained(seeds, how):
            for task, (folder, split) in sets.items():
                result = evaluate_checkpoint(
                    recogniser, folder, split=split, dense=known[name].dense, **where
                )
                found[task, name].append(result)
                if log is not None and task == REAL:
                    about = {"trained_on": edition_of(root), "name": name}
                    record_reading(result, results_dir=place(log, "results"), **about)
    pairs = itertools.product(sets, only or known)
    return [row for pair in pairs for row in _rows(*pair, found[pair])]


def _there(folder: str | Path | None, usual: str) -> Path | None:
    root = place(folder, usual)
    return root if root is not None and (root / OWN_TABLE).is_file() else None


def _rows(task: str, name: str, results: Sequence[Result]) -> Iterator[Row]:
    for level in LEVELS[: 1 + (results[0].video.n < results[0].segment.n)]:
        row = accuracy_row(f"{task}, {level}s", name, [getattr(one, level) for one in results])
        if level == "segment":
            error = statistics.mean(one.predictions.calibration_error for one in results)
            row = replace(row, note=f"{row.note}; calibration error {error:.3f}")
        yield row
    if task != REAL:  # nothing is chosen by the real ones
        loss = [result.predictions.loss for result in results]
        yield Row.of(f"{task}, loss", name, loss, "", middle=statistics.mean)


def edition_of(root: str | Path) -> str:
    """Return the name of a rendered data set with the version of its renderer; the plain name of
    any other."""
    card = Path(root) / CARD
    version = read_json(card).get("version", "") if card.is_file() else ""
    return f"{dataset_name(root)} {version}".strip()
