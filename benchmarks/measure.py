"""How a comparison is timed: every method in turn, again and again, so that a noisy machine is
noisy for all of them.

Knows clocks and ratios. Does not know what is measured, nor where rows are kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from experiments.studies import row_of
from tracking.measurements import Row


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
    rounds = [(turn, name) for turn in range(-int(warm_up), repeats) for name in methods]
    for turn, name in tqdm(rounds, desc="measuring", unit="run", leave=False):
        start = time.perf_counter()
        methods[name]()
        if turn >= 0:
            seconds[name].append(time.perf_counter() - start)
    return seconds


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
        pairs = zip(values, seconds[ours], strict=True)
        ratio = statistics.median(value / base for value, base in pairs)
        each = [1e3 * value / count for value in values]
        rows.append(row_of(task, name, each, unit, (notes or {}).get(name, ""), ratio=ratio))
    return rows


def left_out(name: str, error: Exception) -> None:
    """Say that a method is left out and why: its package is missing, or does not work here."""
    lines = str(error).strip().splitlines()
    tqdm.write(f"{name} is left out: {type(error).__name__}: {''.join(lines[:1])}")
