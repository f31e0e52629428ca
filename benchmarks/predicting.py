"""Predicting: how long the prediction for one KTH-sized file takes, in a fresh program and in one
that is running.

Knows the command line and the recogniser that comes with the project. Does not know how a
prediction is made.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import interleaved, rows_of
from data.kth import find_videos
from data.video import probe
from experiments import load_recogniser
from tracking.measurements import Row
from utils.predict import predict_video

HOME = Path(__file__).parents[1]
# the last one is ours; each includes what it imports
MODULES = ("har", "torch", "torchvision", "experiments.recognisers")
QUICK = {"files": 1, "repeats": 1, "modules": ("har", "experiments.recognisers")}


def run(
    root: str | Path, *, files: int = 6, repeats: int = 5, modules: Sequence[str] = MODULES
) -> list[Row]:
    """Time predictions of files spread over the data set, a fresh program for one of them, and
    imports of modules."""
    videos = find_videos(root)
    chosen = [video.path for video in videos[:: max(1, len(videos) // files)][:files]]
    recogniser = load_recogniser()
    warm = {"ours": lambda: [predict_video(recogniser, path) for path in chosen]}
    cold = {"ours": _program("har.py", "predict", str(chosen[0].resolve()))}
    imports = {name: _program("-c", f"import {name}") for name in modules}
    frames = sum(probe(path).frames for path in chosen) / len(chosen)
    about = {
        "ours": f"{frames:.0f} frames a file on average",
        modules[-1]: "the package with all it needs to predict",
        "har": "the command line alone",
    }
    seconds = interleaved(warm, repeats=repeats)
    rows = rows_of(
        "predict one file, warm", seconds, count=len(chosen), unit="ms a file", notes=about
    )
    seconds = interleaved(cold, repeats=repeats, warm_up=repeats > 1)
    note = {"ours": "a new Python each time"}
    rows += rows_of("predict one file, cold", seconds, unit="ms a file", notes=note)
    seconds = interleaved(imports, repeats=repeats, warm_up=repeats > 1)
    return rows + rows_of("import", seconds, ours=modules[-1], unit="ms", notes=about)


def _program(*arguments: str) -> Callable[[], object]:
    """Return a function that runs a fresh Python in the project's folder and fails when it does."""
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, cwd=HOME, check=True, capture_output=True)
