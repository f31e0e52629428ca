"""Who should be in the default? Every set of its possible members names the same segments.

Knows the candidates: joints, the person cut out, and images as filmed. Rendered validation persons,
as they are and filmed in harder ways, are what is chosen by. Does not know real footage, nor when
to refuse (`experiments.fusion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.files import DEFAULT, place
from data.kth import find_segments, select
from evaluation.predictions import Score
from experiments.recognisers import WEIGHTS, fusion_of
from experiments.studies import accuracy_row
from experiments.studies.readers import before
from experiments.studies.stress import (
    CLUTTERED,
    HALF,
    NOISE_ADDED,
    NOISY_BACKGROUND,
    PANNING,
    SWAYING,
    WRITTEN,
)
from tracking.measurements import Row
from utils.features import look_at
from utils.predict import Fusion, Prediction

CANDIDATES: dict[str, dict[str, str]] = {
    "joints": {"checkpoint": "recogniser_pose.pth"},
    "cut out": {"checkpoint": "recogniser_stacked_gru.pth", "reader_of": "cutout_gru"},
    "as filmed": {"checkpoint": "recogniser_stacked_gru.pth"},
}
# of harder footage in `experiments.studies.stress`, what leaves frame rate and length
KINDS = (CLUTTERED, NOISY_BACKGROUND, WRITTEN, HALF, SWAYING, PANNING, NOISE_ADDED)
QUICK: dict[str, Any] = {"every": 128, "scenarios": ()}


def run(
    root: str | Path,
    *,
    every: int = 1,
    scenarios: Sequence[int] = (1,),
    kinds: Sequence[str] = KINDS,
    cache_dir: str | Path | None = DEFAULT,
) -> list[Row]:
    """Count what each set of candidates names right, log-probabilities added.

    Args:
        root: KTH-Synth, whose validation persons are asked.
        every: Take one in so many of their segments.
        scenarios: Of the segments that are drawn in harder ways.
        kinds: Of harder footage, names of `experiments.studies.stress.STRESSES`.
        cache_dir: Where the finder's looks are kept.
    """
    fusion = fusion_of({"name": "candidates", "members": list(CANDIDATES.values())}, WEIGHTS)
    segments = select(find_segments(root), "validation")[::every]
    paths = [segment.video.path for segment in segments]
    found = look_at(fusion.members[0].shown.reader, paths, cache_dir=place(cache_dir, "cache"))
    answers: dict[str, list[tuple[str, list[Prediction]]]] = {"segments": []}
    for one in tqdm(segments, "members", leave=False):
        path = one.video.path
        said = fusion.said(path, one.start, one.stop, found=found[path])
        answers["segments"].append((one.video.action, said))
    for kind in kinds if scenarios else ():
        answers[kind] = [
            (one.action, fusion.said(one.video, found=one.found))
            for one in before(kind, root, scenarios)
        ]
    return [
        accuracy_row(f"validation persons, {task}", name, [score])
        for task, asked in answers.items()
        for name, score in _scores(fusion, asked)
    ]


def _scores(
    fusion: Fusion, asked: Sequence[tuple[str, list[Prediction]]]
) -> Iterator[tuple[str, Score]]:
    """Yield each set of members by name, the smallest first, and its score."""
    names = list(CANDIDATES)
    for count in range(1, len(names) + 1):
        for chosen in combinations(range(len(names)), count):
            some = replace(fusion, members=tuple(fusion.members[i] for i in chosen))
            right = [some.joined([said[i] for i in chosen]).label == true for true, said in asked]
            yield " + ".join(names[i] for i in chosen), Score(sum(right), len(right))
