"""Does it carry over? Recognisers trained on rendered people only, asked about rendered strangers
and about real ones.

Knows the ablation: which experiment, trained on what, read how. The rendered validation persons are
there to choose by; real clips are a thermometer that nothing is chosen, trained or calibrated on,
and every reading of it is written down.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from experiments.training import (
    Result,
    evaluate_checkpoint,
    load_recogniser,
    name_of,
    record_reading,
    run_experiment,
)
from utils.store import CACHE

CROWD, STRANGERS = "Data/KTH-Synth-Crowd", "Data/KTH-Synth-Strangers"
REAL = "real clips"


@dataclass(frozen=True)
class Variant:
    """One row of the ablation: an experiment, how it is trained, and whether it is read in every
    window.

    Args:
        experiment: One of EXPERIMENTS.
        recipe: Fields of `Recipe` that differ from the default.
        every_window: See `experiments.training.evaluate_checkpoint`.
    """

    experiment: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    every_window: bool = False


def variants(crowd: str | Path | None) -> dict[str, Variant]:
    """Return the rows by name; each differs in one thing from a row above it. Without a crowd, its
    rows are missing."""
    everywhere = {"every_window": True}
    rows = {
        "grey, average": Variant("average_window"),
        "grey, GRU": Variant("gru"),
        "grey, GRU over the whole segment": Variant("gru_uniform"),
        "motion as colour, average": Variant("motion"),
        "motion as colour, GRU": Variant("motion_gru"),
        "motion as colour, average, mirrored clips too": Variant("motion", {"mirrored": True}),
        "motion as colour, average, every window read": Variant("motion", every_window=True),
        "motion as colour, average, every window": Variant("motion", everywhere, every_window=True),
        "motion as colour, GRU, every window": Variant("motion_gru", everywhere, every_window=True),
    }
    if crowd is not None:
        more = {"extra_root": str(crowd)}
        rows |= {
            "motion as colour, average, crowd": Variant("motion", more),
            "motion as colour, GRU, crowd": Variant("motion_gru", more),
        }
    return rows


def run(
    root: str | Path,
    *,
    real: str | Path | None = None,
    crowd: str | Path | None = CROWD,
    strangers: str | Path | None = STRANGERS,
    seeds: Sequence[int] = (0, 1, 2),
    fast: bool = False,
    runs_dir: str | Path = "runs",
    cache_dir: str | Path | None = CACHE,
    log: str | Path | None = "results",
) -> list[Row]:
    """Train what is not trained yet, and read every row on rendered strangers and on real clips.

    Args:
        root: KTH-Synth.
        real: Real clips in KTH's layout; None reads none.
        crowd: The rendered crowd; its rows are left out when it is None or not there.
        strangers: Another crowd, of another seed, to be asked about; left out likewise.
        seeds: Of the heads.
        fast: Train a sliver, to see that it works.
        runs_dir: Where runs are kept and found again.
        cache_dir: Where features are kept.
        log: Folder of the list of readings of the real clips; None writes none.
    """
    asked = [("validation persons", root, "validation")]
    asked += [("rendered strangers", folder, "all") for folder in _there(strangers)]
    asked += [(REAL, folder, "all") for folder in ([real] if real is not None else [])]
    rows = []
    for name, variant in variants(next(iter(_there(crowd)), None)).items():
        results: dict[str, list[Result]] = {}
        for seed in seeds:
            trained = run_experiment(
                variant.experiment,
                root=root,
                seed=seed,
                fast=fast,
                results_dir=None,
                runs_dir=runs_dir,
                cache_dir=cache_dir,
                progress=False,
                **variant.recipe,
            )
            recogniser = load_recogniser(trained.run)
            for task, folder, split in asked:
                result = evaluate_checkpoint(
                    recogniser,
                    folder,
                    split=split,
                    cache_dir=cache_dir,
                    every_window=variant.every_window,
                    progress=False,
                )
                results.setdefault(task, []).append(result)
                if log is not None and task == REAL:
                    record_reading(result, trained_on=edition_of(root), name=name, results_dir=log)
        rows += [row for task, found in results.items() for row in _rows(task, name, found)]
    return sorted(
        rows, key=lambda row: [task for task, _, _ in asked].index(row.task.rsplit(", ", 1)[0])
    )


def _there(root: str | Path | None) -> list[str | Path]:
    return [root] if root is not None and (Path(root) / "segments.csv").is_file() else []


def _rows(task: str, name: str, results: Sequence[Result]) -> list[Row]:
    rows = []
    levels = (
        ("segment", "video") if results[0].video["n"] < results[0].segment["n"] else ("segment",)
    )
    for level in levels:
        scores = [getattr(result, level) for result in results]
        percent = [100 * score["accuracy"] for score in scores]
        note = f"{' '.join(str(score['correct']) for score in scores)} of {scores[0]['n']}"
        if level == "segment":
            note += (
                "; calibration error "
                f"{statistics.mean(result.calibration_error for result in results):.3f}"
            )
        rows.append(
            Row(
                f"{task}, {level}s",
                name,
                statistics.mean(percent),
                "%",
                None,
                min(percent),
                max(percent),
                len(results),
                note,
            )
        )
    if task != REAL:  # nothing is chosen by the real ones
        loss = [result.loss for result in results]
        rows.append(
            Row(
                f"{task}, loss",
                name,
                statistics.mean(loss),
                "",
                None,
                min(loss),
                max(loss),
                len(loss),
            )
        )
    return rows


def edition_of(root: str | Path) -> str:
    """Return the name of a rendered data set with the version of its renderer; the plain name of
    any other."""
    card = Path(root) / "dataset.json"
    version = (
        json.loads(card.read_text(encoding="utf-8")).get("version", "") if card.is_file() else ""
    )
    return f"{name_of(root)} {version}".strip()
