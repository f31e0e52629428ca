"""What a classifier is to be shown of a person: one thing changed a row, each trained on KTH-Synth.

Knows the variants: as filmed, cut out where he is or brought to one place and size, followed, his
joints, heads on cut-outs, and other encoders. The rendered validation persons are there to choose
by, also drawn before two kinds of background; clips of other places are only measured on, and every
reading is a row of results/real_clips.csv.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from data.files import DEFAULT, place, read_json
from data.kth import ACTIONS, CARD, SPLITS
from data.synthetic.dataset import shot_of
from evaluation.predictions import Score
from experiments.recognisers import evaluate_checkpoint
from experiments.results import READINGS
from experiments.studies import Setting, accuracy_row
from experiments.studies.ablation import TUNED
from experiments.studies.elsewhere import clips_of, log_reading
from experiments.studies.stress import CLUTTERED, STRESSES, WRITTEN, frames_of
from experiments.table import AVERAGE, EXPERIMENTS
from tracking.measurements import Row
from utils.cutout import Cutout
from utils.features import look_at
from utils.predict import Fusion, Recogniser, predict_video

LARGER, TUNED_ENCODER = "cut out, half as large again", "cut out, encoder tuned"
ONCE = (LARGER, TUNED_ENCODER)  # these take long: the first seed alone
ELSEWHERE = "other places, files of the six actions"
QUICK: dict[str, Any] = {
    "seeds": (0,),
    "fast": True,
    "only": ("as filmed",),
    "scenarios": (),
    "log": None,
}


def variants(plain: str | None = None) -> dict[str, Setting]:
    """Return the rows by name; those of an encoder pre-trained on plain ground alone where its
    file is named."""
    cutout = EXPERIMENTS["cutout_gru"]
    brought = replace(cutout.shown, reader=Cutout(normalise=True))
    rows = {
        "as filmed": Setting("stacked_gru"),
        "cut out": Setting(cutout),
        "cut out, brought to one place and size": Setting(replace(cutout, shown=brought)),
        "followed, his speed told": Setting("crop_gru"),
        "joints": Setting("pose"),
        "cut out, averaged": Setting(replace(cutout, model=AVERAGE)),
        "cut out, no label smoothing": Setting(cutout, {"label_smoothing": 0.0}),
        LARGER: Setting(cutout, {"size": (144, 192)}),
        TUNED_ENCODER: Setting(cutout, TUNED),
    }
    if plain is not None:
        of = {"weights": str(plain)}
        rows["as filmed, encoder pre-trained on plain ground"] = Setting("stacked_gru", of)
        rows["cut out, encoder pre-trained on plain ground"] = Setting(cutout, of)
    return rows


def run(
    root: str | Path,
    *,
    elsewhere: str | Path | None = None,
    plain: str | None = None,
    scenarios: Sequence[int] = (1,),
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
        plain: The file of an encoder that was pre-trained on plain ground (`har.py pretrain
            --cluttered 0`); None leaves its rows out.
        scenarios: Of the segments that are drawn before these backgrounds.
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
    asked: dict[str, list[Asked]] = {
        "validation persons before clutter": list(before(CLUTTERED, root, scenarios)),
        "validation persons before bricks and writing": list(before(WRITTEN, root, scenarios)),
        ELSEWHERE: [Asked(path, path.parent.name, found[path]) for path in clips],
    }
    asked = {task: videos for task, videos in asked.items() if videos}
    rows = []
    for name, setting in variants(plain).items():
        if only and name not in only:
            continue
        scores: dict[str, list[Score]] = defaultdict(list)
        for recogniser in setting.trained(seeds[:1] if name in ONCE else seeds, how):
            result = evaluate_checkpoint(recogniser, root, split="validation", **where)
            scores["validation persons, segments"].append(result.segment)
            for task, videos in asked.items():
                known = [one.known_by(recogniser) for one in videos]
                scores[task].append(Score(sum(known), len(known)))
                if task == ELSEWHERE and log is not None:
                    named = f"{Path(str(elsewhere)).name}: trained on {name}"
                    log_reading(place(log, "results") / READINGS, named, known)
        rows += [accuracy_row(task, name, counted) for task, counted in scores.items()]
    return sorted(rows, key=lambda row: row.task, reverse=True)


@dataclass(frozen=True)
class Asked:
    """A video, the action in it, and the finder's look at it."""

    video: Path | np.ndarray
    action: str
    found: Mapping[str, np.ndarray]

    def known_by(self, recogniser: Recogniser) -> bool:
        """Tell whether a recogniser names the action."""
        if not hasattr(recogniser.shown.reader, "finder"):
            return predict_video(recogniser, self.video).label == self.action
        alone = Fusion((recogniser,), recogniser.classes)
        return alone.predict(self.video, found=self.found).label == self.action


def before(kind: str, root: str | Path, scenarios: Sequence[int]) -> Iterator[Asked]:
    """Draw one segment of each validation person and action before a kind of background, at 25
    frames a second."""
    seed = read_json(Path(root) / CARD)["seed"] if scenarios else 0
    for person, action, scenario in product(SPLITS["validation"], ACTIONS, scenarios):
        shot = shot_of(person, action, scenario, seed=seed)
        frames, fps = frames_of(STRESSES[kind], shot)
        yield Asked(frames, action, Cutout().look(frames, fps))
