"""The benchmarks by name: which there are, and how one is run.

Knows names and questions; each benchmark is a module of this folder with a function run(root, ...)
-> rows and QUICK, settings of it that show in seconds that it works and whose numbers mean nothing.
"""

from pathlib import Path
from typing import Any

from experiments.studies import run_named
from tracking.measurements import Row

BENCHMARKS = {
    "whole": "four experiments trained and evaluated end to end, against the usual loop",
    "decoding": "frames of segments out of files, against seeking and other readers",
    "embedding": "frames to features, against other runtimes and the bound without loading",
    "growth": "time and memory as the data set grows",
    "cost": "accuracy against input size and number of frames",
    "predicting": "one prediction warm and cold, and what importing takes",
}


def run_benchmark(name: str, root: str | Path, *, quick: bool = False, **data: Any) -> list[Row]:
    """Run one of BENCHMARKS on a data set in KTH's layout; see `experiments.studies.run_study`.

    Raises:
        ValueError: There is no such benchmark.
    """
    return run_named(name, root, BENCHMARKS, __package__, "benchmark", quick=quick, **data)
