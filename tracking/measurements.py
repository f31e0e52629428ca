"""What a benchmark or a study measured: its rows, and the file and the text that they become.

Knows the machine that it runs on. Does not know what is measured or how; the tables of these files
are made by `tracking.results`.
"""

import itertools
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision

from data.files import write_csv


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

    @classmethod
    def of(
        cls,
        task: str,
        method: str,
        values: Sequence[float],
        unit: str,
        note: str = "",
        *,
        ratio: float | None = None,
        middle: Callable[[Sequence[float]], float] = statistics.median,
    ) -> "Row":
        """Return repetitions as a row: their median, or the `middle` of them, and their range."""
        spread = min(values), max(values), len(values)
        return cls(task, method, middle(values), unit, ratio, *spread, note)


def versions() -> dict[str, str]:
    """Return the versions of what numbers depend on, by name."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which checkpoints do not take
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def machine() -> str:
    """Describe the machine and the versions that a timing depends on, in one line."""
    about = _processor()
    told = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    extensions = [name for name in told if name in about.get("flags", "").split()]
    parts = (
        about.get("model name") or platform.processor() or platform.machine(),
        f"{os.cpu_count()} cores",
        " ".join(extensions) or platform.machine(),
        torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        f"{platform.system()}, Python {platform.python_version()}",
        f"torch {torch.__version__}, torchvision {torchvision.__version__}",
        f"OpenCV {cv2.__version__}",
    )
    return ", ".join(parts)


def write_rows(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """Write rows with the machine and the date, replacing those of the last run."""
    where = {"machine": machine(), "date": date.today().isoformat()}
    lines = [{name: _rounded(value) for name, value in asdict(row).items()} | where for row in rows]
    write_csv(path, lines, [*Row.__dataclass_fields__, *where])


def _rounded(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def as_text(rows: Iterable[Row]) -> str:
    """Lay rows out for a terminal, task by task, below the machine."""
    lines = [machine()]
    for task, same in itertools.groupby(rows, lambda row: row.task):
        lines += ["", task, *map(_line, same)]
    return "\n".join(lines)


def _line(row: Row) -> str:
    ratio = "" if row.ratio is None else f"{row.ratio:9.2f} x"
    spread = ""
    if row.low is not None and row.repeats > 1:
        spread = f"  [{row.low:.4g}, {row.high:.4g}] of {row.repeats}"
    value = f"  {row.method:<42}{row.value:>10.4g} {row.unit:<10}{ratio:>11}"
    return f"{value}{spread}  {row.note}".rstrip()


def _processor() -> dict[str, str]:
    """Return Linux's description of the last core by name; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^(.+?)[ \t]*:[ \t]*(.*)$", text, re.MULTILINE))
