"""Predicting: how long the prediction for one KTH-sized file takes, in a fresh program and in one
that is running.

Knows the command line and the recogniser that comes with the project. Does not know how a
prediction is made.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import fresh_python, interleaved, rows_of, spread
from data.kth import find_videos
from data.video import probe
from experiments import load_recogniser
from tracking.measurements import Row
from utils.predict import predict_video

# the last one is ours; each includes what it imports
MODULES = ("har", "torch", "torchvision", "experiments.recognisers")
QUICK = {"files": 1, "repeats": 1, "modules": ("har", "experiments.recognisers")}


def run(
    root: str | Path, *, files: int = 6, repeats: int = 5, modules: Sequence[str] = MODULES
) -> list[Row]:
    """Time predictions of files spread over the data set, a fresh program for one of them, and
    imports of modules."""
    chosen = [video.path for video in spread(find_videos(root), files)]
    recogniser = load_recogniser()
    warm = interleaved(
        {"ours": lambda: [predict_video(recogniser, path) for path in chosen]}, repeats=repeats
    )
    predict = partial(fresh_python, "predicting", "har.py", "predict", str(chosen[0].resolve()))
    imports = {name: partial(fresh_python, "importing", "-c", f"import {name}") for name in modules}
    cold, imported = (
        interleaved(methods, repeats=repeats, warm_up=repeats > 1)
        for methods in ({"ours": predict}, imports)
    )
    frames = sum(probe(path).frames for path in chosen) / len(chosen)
    average = {"ours": f"{frames:.0f} frames a file on average"}
    new = {"ours": "a new Python each time"}
    about = {
        modules[-1]: "the package with all it needs to predict",
        "har": "the command line alone",
    }
    unit = "ms a file"
    return [
        *rows_of("predict one file, warm", warm, count=len(chosen), unit=unit, notes=average),
        *rows_of("predict one file, cold", cold, unit=unit, notes=new),
        *rows_of("import", imported, ours=modules[-1], unit="ms", notes=about),
    ]
