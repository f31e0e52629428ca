"""What a classifier is to be shown of a person: one thing changed a row, each trained on KTH-Synth.

Knows the variants: as filmed, cut out where he is or brought to one place and size, followed, his
joints, and heads on cut-outs. The rendered validation persons are there to choose by; clips of
other places are only measured on, and every reading is a row of results/real_clips.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.files import DEFAULT, place
from data.kth import ACTIONS
from evaluation.predictions import Score
from experiments.recognisers import evaluate_checkpoint
from experiments.results import READINGS
from experiments.studies import Setting, accuracy_row
from experiments.studies.elsewhere import clips_of, log_reading
from experiments.table import AVERAGE, EXPERIMENTS
from tracking.measurements import Row
from utils.cutout import Cutout
from utils.features import look_at
from utils.predict import Fusion, Recogniser, predict_video

QUICK: dict[str, Any] = {"seeds": (0,), "fast": True, "only": ("as filmed",), "log": None}


def variants() -> dict[str, Setting]:
    """Return the rows by name."""
    cutout = EXPERIMENTS["cutout_gru"]
    brought = replace(cutout.shown, reader=Cutout(normalise=True))
    return {
        "as filmed": Setting("stacked_gru"),
        "cut out": Setting(cutout),
        "cut out, brought to one place and size": Setting(replace(cutout, shown=brought)),
        "followed, his speed told": Setting("crop_gru"),
        "joints": Setting("pose"),
        "cut out, averaged": Setting(replace(cutout, model=AVERAGE)),
        "cut out, no label smoothing": Setting(cutout, {"label_smoothing": 0.0}),
        "cut out, half as large again": Setting(cutout, {"size": (144, 192)}),
    }


def run(
    root: str | Path,
    *,
    elsewhere: str | Path | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    only: Sequence[str] = (),
    runs_dir: str | Path = DEFAULT,
    cache_dir: str | Path | None = DEFAULT,
    log: str | Path | None = DEFAULT,
    **recipe: Any,
) -> list[Row]:
    """Train what is not trained yet, and count segments of validation persons and other files.

    Args:
        root: KTH-Synth.
        elsewhere: A folder <label>/<file>, of which the six actions' files are named; None names
            none.
        seeds: Of the heads.
        only: Names of rows; all when there are none.
        runs_dir: Where runs are kept and found again.
        cache_dir: Where features and the finder's looks are kept.
        log: Folder of the list of readings; None writes none.
        **recipe: Fields of `Recipe` for all rows, such as fast=True.
    """
    where: dict[str, Any] = {"cache_dir": cache_dir, "progress": False}
    how = {"root": root, "runs_dir": runs_dir, **where, **recipe}
    clips = clips_of(Path(elsewhere)) if elsewhere is not None else []
    clips = [path for path in clips if path.parent.name in ACTIONS]
    found = look_at(Cutout(), clips, cache_dir=place(cache_dir, "cache"))
    rows = []
    for name, setting in variants().items():
        if only and name not in only:
            continue
        segments, files = [], []
        for recogniser in setting.trained(seeds, how):
            result = evaluate_checkpoint(recogniser, root, split="validation", **where)
            segments.append(result.segment)
            known = [_label(recogniser, path, found) == path.parent.name for path in clips]
            files.append(Score(sum(known), len(known)))
            if clips and log is not None:
                named = f"{Path(str(elsewhere)).name}: trained on {name}"
                log_reading(place(log, "results") / READINGS, named, known)
        rows.append(accuracy_row("validation persons, segments", name, segments))
        if clips:
            rows.append(accuracy_row("other places, files of the six actions", name, files))
    return sorted(rows, key=lambda row: row.task, reverse=True)


def _label(recogniser: Recogniser, path: Path, found: Any) -> str:
    if not hasattr(recogniser.shown.reader, "finder"):
        return predict_video(recogniser, path).label
    return Fusion((recogniser,), recogniser.classes).predict(path, found=found[path]).label
