"""How a comparison is timed: every method in turn, again and again, so that a noisy machine is
noisy for all of them.

Knows clocks, medians, the machine and the file of rows. Does not know what is measured.
"""

from __future__ import annotations

import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import torch
import torchvision
from tqdm import tqdm


@dataclass(frozen=True)
class Row:
    """One method on one task.

    Args:
        task: What is done, such as "16 frames a segment, long GOP"; rows of one task are compared
            with one another.
        method: Who does it.
        value: The median over the repetitions, in `unit`.
        unit: Such as "ms a frame"; smaller is better wherever the unit is a time.
        ratio: How many times the value of ours this is; above 1 the method is slower than ours.
            None: not compared.
        low, high: The smallest and the largest repetition.
        repeats: How many repetitions.
        note: What a reader must know, such as how much of it was extrapolated.
    """

    task: str
    method: str
    value: float
    unit: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    note: str = ""


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
    with tqdm(
        total=len(methods) * (repeats + warm_up), desc="measuring", unit="run", leave=False
    ) as bar:
        for repetition in range(-int(warm_up), repeats):
            for name, method in methods.items():
                start = time.perf_counter()
                method()
                if repetition >= 0:
                    seconds[name].append(time.perf_counter() - start)
                bar.update()
    return seconds


def rows_of(
    task: str,
    seconds: Mapping[str, Sequence[float]],
    *,
    ours: str,
    count: int,
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
        each = [1e3 * value / count for value in values]
        ratio = statistics.median(
            value / base for value, base in zip(values, seconds[ours], strict=True)
        )
        rows.append(
            Row(
                task,
                name,
                statistics.median(each),
                unit,
                ratio,
                min(each),
                max(each),
                len(each),
                (notes or {}).get(name, ""),
            )
        )
    return rows


def machine() -> str:
    """Describe the machine and the versions that a timing depends on, in one line."""
    processor = _processor_name() or platform.processor() or platform.machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    extensions = [
        name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in _flags()
    ]
    return (
        f"{processor}, {os.cpu_count()} cores, {' '.join(extensions) or platform.machine()}, "
        f"{device}, "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, OpenCV {cv2.__version__}"
    )


def write_rows(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """Write a benchmark's rows with the machine and the date, replacing those of the last run."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [*(field.name for field in fields(Row)), "machine", "date"]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    where = {"machine": machine(), "date": date.today().isoformat()}
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**_as_text(asdict(row)), **where} for row in rows)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _as_text(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
        for name, value in row.items()
    }


def _processor_name() -> str:
    return next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), ""
    )


def _flags() -> set[str]:
    return set(
        next((line.split(":", 1)[1].split() for line in _cpuinfo() if line.startswith("flags")), [])
    )


def _cpuinfo() -> list[str]:
    """Return the lines of Linux's description of the processor; none elsewhere."""
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
