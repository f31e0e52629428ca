"""Predicting: how long the prediction for one KTH-sized file takes, in a fresh program and in one
that is running, with the person finder in front and without it; and what one call of the finder's
networks costs.

Knows the command line and the recogniser that comes with the project. Does not know how a
prediction is made.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import fresh_python, interleaved, rows_of, spread, those_that_work
from data.kth import find_videos
from data.video import probe, stream
from experiments.recognisers import APPEARANCE, load_recogniser
from tracking.measurements import Row
from utils.blazepose import BACKENDS, load_networks
from utils.person import PersonFinder
from utils.person_search import CROP, DETECTOR
from utils.predict import predict_video

# the last one is ours; each includes what it imports
MODULES = ("har", "torch", "torchvision", "experiments.recognisers")
WITHOUT = "the whole image, no finder"
QUICK = {"files": 1, "repeats": 1, "modules": ("har", "experiments.recognisers")}


def run(
    root: str | Path, *, files: int = 6, repeats: int = 5, modules: Sequence[str] = MODULES
) -> list[Row]:
    """Time predictions of files spread over the data set, a fresh program for one of them, and
    imports of modules."""
    chosen = [video.path for video in spread(find_videos(root), files)]
    recognisers = {"ours": load_recogniser(), WITHOUT: load_recogniser(APPEARANCE)}
    warm = interleaved(
        {
            name: partial(lambda one: [predict_video(one, path) for path in chosen], recogniser)
            for name, recogniser in recognisers.items()
        },
        repeats=repeats,
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
        *_finder_rows(repeats),
        *_search_rows(chosen[0], repeats),
    ]


def _search_rows(path: Path, repeats: int) -> Iterator[Row]:
    """Say how many seconds of a file are searched in one, by each backend, in all threads."""
    frames, fps = [frame for _, frame in stream(path)], probe(path).fps

    def search_by(name: str) -> Any:
        load_networks(backend=name)  # fails where it is not installed
        return partial(PersonFinder().find, frames, fps, backend=name)

    methods = those_that_work({name: name for name in BACKENDS}, search_by)
    seconds = interleaved(methods, repeats=repeats)
    for name, times in seconds.items():
        quick = [len(frames) / fps / one for one in times]
        note = f"{torch.get_num_threads()} threads, {len(frames)} frames of {fps:g} a second"
        yield Row.of("person found in one file, times real time", name, quick, "x", note)


def _finder_rows(repeats: int) -> Iterator[Row]:
    """Time one call of each of the finder's networks by each backend, in one thread."""
    networks = those_that_work(
        {name: name for name in BACKENDS}, lambda name: load_networks(backend=name)
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for place, (task, pixels) in enumerate((("detector", DETECTOR), ("landmarks", CROP))):
            image = np.random.default_rng(0).random((1, 3, pixels, pixels), np.float32)
            methods = {name: partial(pair[place], image) for name, pair in networks.items()}
            seconds = interleaved(methods, repeats=4 * repeats)
            title = f"person finder, {task}, one thread"
            yield from rows_of(title, seconds, ours="torch", unit="ms a call")
    finally:
        torch.set_num_threads(threads)
