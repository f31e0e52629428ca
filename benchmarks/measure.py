"""How a comparison is timed: every method in turn, again and again, so that a noisy machine is
noisy for all of them.

Knows clocks, ratios and programs of their own. Does not know what is measured, nor where rows are
kept.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from tracking.measurements import Row

T = TypeVar("T")
HOME = Path(__file__).parents[1]


def spread(items: Sequence[T], count: int) -> Sequence[T]:
    """Return at most `count` of the items, spread evenly over them."""
    return items[:: max(1, len(items) // count)][:count]


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(
    methods: Mapping[str, Callable[[], Any]], *, repeats: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Time the methods in turn, `repeats` times over; return the seconds of each repetition by
    method.

    Args:
        methods: Functions without arguments that do the same work.
        repeats: Repetitions of each.
        warm_up: Call each once beforehand, untimed, so that files are in memory and code is loaded
            for all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    turns = [*methods] * (warm_up + repeats)
    for name in tqdm(turns, desc="measuring", unit="run", leave=False):
        seconds[name].append(timed(methods[name]))
    return {name: values[warm_up:] for name, values in seconds.items()}


def rows_of(
    task: str,
    seconds: Mapping[str, Sequence[float]],
    *,
    ours: str = "ours",
    count: int = 1,
    unit: str,
    notes: Mapping[str, str] | None = None,
) -> list[Row]:
    """Turn repetitions into rows: medians in `unit` (milliseconds for one of `count` things),
    ratios to `ours`.

    A ratio is the median over the repetitions of the ratio within one repetition: what slows the
    machine for a while slows both sides of it.
    """
    rows = []
    for name, values in seconds.items():
        ratio = median_ratio(values, seconds[ours])
        each = [1e3 * value / count for value in values]
        rows.append(Row.of(task, name, each, unit, (notes or {}).get(name, ""), ratio=ratio))
    return rows


def median_ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """Return the median ratio of repetitions to those of `base`, taken in the same turns."""
    return statistics.median(a / b for a, b in zip(values, base, strict=True))


def those_that_work(candidates: Mapping[str, T], tried: Callable[[T], Any]) -> dict[str, Any]:
    """Try candidates and return what `tried` made of those that work here, by name; say which are
    left out and why: a package is missing, a binary does not load, an exporter gives up."""
    found = {}
    for name, candidate in candidates.items():
        try:
            found[name] = tried(candidate)
        except Exception as error:
            lines = str(error).strip().splitlines()
            tqdm.write(f"{name} is left out: {type(error).__name__}: {''.join(lines[:1])}")
    return found


def fresh_python(task: str, *arguments: str) -> str:
    """Run a Python of its own in the project's folder and return what it printed.

    Raises ChildProcessError, which says that the task failed and why, when the program does.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"{task} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout
