"""Predicting: how long the answer for one KTH-sized file takes, in a fresh program and in one that
is running.

Knows the command line and the recogniser that comes with the project. Does not know how a
prediction is made.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import Row, interleaved, rows_of
from data.kth import find_videos
from data.video import probe
from experiments.training import load_recogniser
from utils.predict import predict_video

HOME = Path(__file__).parents[1]
WARM, COLD, IMPORTS = "predict one file, warm", "predict one file, cold", "import"
MODULES = (
    "har",
    "torch",
    "torchvision",
    "experiments",
)  # the last one is ours; each includes what it imports


def run(
    root: str | Path, *, files: int = 6, repeats: int = 5, modules: Sequence[str] = MODULES
) -> list[Row]:
    """Time predictions of files spread over the data set, a fresh program for one of them, and
    imports of modules."""
    videos = find_videos(root)
    chosen = [video.path for video in videos[:: max(1, len(videos) // files)][:files]]
    recogniser = load_recogniser()
    warm = interleaved(
        {"ours": lambda: [predict_video(recogniser, path) for path in chosen]}, repeats=repeats
    )
    frames = sum(probe(path).frames for path in chosen) / len(chosen)
    rows = rows_of(
        WARM,
        warm,
        ours="ours",
        count=len(chosen),
        unit="ms a file",
        notes={"ours": f"{frames:.0f} frames a file on average"},
    )
    cold = interleaved(
        {"ours": _program(["har.py", "predict", str(chosen[0].resolve())])},
        repeats=repeats,
        warm_up=repeats > 1,
    )
    rows += rows_of(
        COLD, cold, ours="ours", count=1, unit="ms a file", notes={"ours": "a new Python each time"}
    )
    imports = interleaved(
        {name: _program(["-c", f"import {name}"]) for name in modules},
        repeats=repeats,
        warm_up=repeats > 1,
    )
    return rows + rows_of(
        IMPORTS,
        imports,
        ours=modules[-1],
        count=1,
        unit="ms",
        notes={
            "experiments": "the package with all it needs to predict",
            "har": "the command line alone",
        },
    )


def _program(arguments: Sequence[str]) -> Callable[[], object]:
    """Return a function that runs a fresh Python in the project's folder and fails when it does."""
    return lambda: subprocess.run(
        [sys.executable, *arguments], cwd=HOME, check=True, capture_output=True
    )
