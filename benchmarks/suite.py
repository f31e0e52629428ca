"""The benchmarks by name: which there are, how to run one, where its rows go.

Knows the parts and their settings. Does not know what a part measures.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, machine, write_rows

# name -> what it answers; each is a module of this folder with a function run(root, ...) -> rows
PARTS = {
    "whole": "four experiments trained and evaluated, against the usual loop",
    "decoding": "frames of segments out of files, against seeking and other readers",
    "embedding": "frames to features, against other runtimes and the bound without loading",
    "growth": "time and memory as the data set grows",
    "cost": "accuracy against input size and number of frames",
    "predicting": "one prediction warm and cold, and what importing takes",
    "transfer": "what makes recognisers of rendered people read real ones, row by row",
    "fewshot": "how many real persons it takes, with a bundled head and with a fresh one",
    "ablation": (
        "what matters: frames, size, segments, order, motion, heads, weights, tuning; and the leak"
    ),
    "realism": "rendered and real footage in numbers",
}
TAKES_REAL = ("decoding", "transfer", "fewshot", "realism")
# settings that show that a part works, in seconds; the numbers mean nothing
QUICK: dict[str, dict[str, Any]] = {
    "whole": {
        "sizes": ((32, 32),),
        "batches": 1,
        "rendering": {"persons": (1,), "scenarios": (1,), "segments": 1},
        "fast": True,
        "epochs": 1,
        "size": (32, 43),
    },
    "decoding": {"files": 2, "repeats": 1},
    "embedding": {"heights": (32,), "repeats": 1, "files": 2, "runtimes": ("ours", "eager fp32")},
    "growth": {"sizes": (4, 8), "repeats": 1},
    "cost": {
        "heights": (32,),
        "frames": (4, 8),
        "default": (32, 8),
        "seeds": (0,),
        "repeats": 1,
        "cache_dir": None,
    },
    "predicting": {"files": 1, "repeats": 1, "modules": ("har", "experiments")},
    "transfer": {"crowd": None, "strangers": None, "seeds": (0,), "fast": True, "log": None},
    "fewshot": {"counts": (1,), "draws": 1, "epochs": 2, "log": None},
    "ablation": {"seeds": (0,), "fast": True, "only": ("head",)},
    "realism": {"every": 40},
}


def run_part(
    name: str,
    root: str | Path,
    *,
    real: str | Path | None = None,
    imagenet: str | None = None,
    quick: bool = False,
    results_dir: str | Path | None = "results",
) -> list[Row]:
    """Run one benchmark and write its rows to results_dir/bench_<name>.csv; a quick run writes
    none.

    Args:
        name: One of PARTS.
        root: A data set in KTH's layout.
        real: Real clips in KTH's layout, for the parts that can use them.
        imagenet: ImageNet weights, for the part that compares with them.
        quick: Use the settings of QUICK.
        results_dir: Where rows go; None writes none.

    Raises:
        ValueError: There is no such part.
    """
    if name not in PARTS:
        raise ValueError(f"there is no benchmark {name!r}; the benchmarks are {', '.join(PARTS)}")
    settings = dict(QUICK[name]) if quick else {}
    if real is not None and name in TAKES_REAL:
        settings["real"] = real
    if imagenet is not None and name == "ablation":
        settings["imagenet"] = imagenet
    rows = importlib.import_module(f"benchmarks.{name}").run(root, **settings)
    if results_dir is not None and not quick:
        write_rows(Path(results_dir) / f"bench_{name}.csv", rows)
    return rows


def as_text(rows: Sequence[Row]) -> str:
    """Lay rows out for a terminal, task by task."""
    lines = [machine()]
    task = None
    for row in rows:
        if row.task != task:
            lines += ["", row.task]
            task = row.task
        ratio = "" if row.ratio is None else f"{row.ratio:9.2f} x"
        spread = (
            ""
            if row.low is None or row.repeats < 2
            else f"  [{row.low:.4g}, {row.high:.4g}] of {row.repeats}"
        )
        lines.append(
            (
                f"  {row.method:<42}{row.value:>10.4g} {row.unit:<10}{ratio:>11}{spread}  "
                f"{row.note}"
            ).rstrip()
        )
    return "\n".join(lines)
