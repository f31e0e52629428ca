"""Growth: time and peak memory of computing features as the data set grows; a line and a floor are
wanted.

Each size is measured in a program of its own, because a program's peak memory never falls. The
pictures are small, so that what grows is not hidden behind the network, whose time cannot but be
linear. Knows how to cut a data set to a number of segments and how to fit an exponent. Does not
know how features are computed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.measure import Row
from data.kth import Segment, find_segments

SIZES = (150, 600, 2400)
PICTURE = (48, 64)
TASK = "features of N segments, 16 frames of 48 x 64, original and mirrored"


def run(root: str | Path, *, sizes: Sequence[int] = SIZES, repeats: int = 3) -> list[Row]:
    """Measure each size `repeats` times in turn; the last rows are the exponent of time and the
    growth of memory."""
    measured: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    with tqdm(total=len(sizes) * repeats, desc="growth", unit="run", leave=False) as bar:
        for _ in range(repeats):
            for size in sizes:
                measured[size].append(_in_own_program(root, size))
                bar.update()
    rows = []
    for size, runs in measured.items():
        seconds = [one["seconds"] for one in runs]
        peak = statistics.median(one["peak_mb"] for one in runs)
        rows.append(
            Row(
                TASK,
                f"{size} segments",
                statistics.median(seconds),
                "s",
                None,
                min(seconds),
                max(seconds),
                repeats,
                f"peak memory {peak:.0f} MB, {peak - _before(runs):.0f} MB above the start",
            )
        )
    value = exponent(sizes, [row.value for row in rows])
    rows.append(
        Row(
            "exponent of time",
            "ours",
            value,
            "",
            note="1 is linear; slope of log time over log segments",
        )
    )
    peaks = [statistics.median(one["peak_mb"] for one in runs) for runs in measured.values()]
    rows.append(Row("peak memory, largest over smallest", "ours", peaks[-1] / peaks[0], "times"))
    return rows


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of log(seconds) over log(sizes): 1 for linear growth, 2 for quadratic."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def halves(segments: Sequence[Segment], count: int) -> list[Segment]:
    """Cut each segment in two and take `count` of the halves, whole files first.

    KTH-Synth has 1200 segments, KTH twice as many; the halves give as many as KTH on any machine.
    When there are fewer than asked for, ValueError says how many there are.
    """
    both = [half for segment in segments for half in _cut(segment)]
    if len(both) < count:
        raise ValueError(
            f"{count} segments were asked for and the data set gives {len(both)}; render more of it"
        )
    return both[:count]


def _cut(segment: Segment) -> list[Segment]:
    if len(segment) < 2:
        return [segment]
    middle = segment.start + len(segment) // 2
    return [
        Segment(segment.video, 2 * segment.index, segment.start, middle),
        Segment(segment.video, 2 * segment.index + 1, middle, segment.stop),
    ]


def _before(runs: Sequence[dict[str, float]]) -> float:
    return statistics.median(one["before_mb"] for one in runs)


def _in_own_program(root: str | Path, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.growth", str(Path(root).resolve()), str(size)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(
            f"measuring {size} segments failed: {done.stderr.strip().splitlines()[-1:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _measure(root: str, size: int) -> dict[str, float]:
    from models.backbone import EfficientNetBackbone
    from utils.data_setup import ClipTransform, Uniform
    from utils.features import build_features

    segments = halves(find_segments(root), size)
    backbone = EfficientNetBackbone()
    how: dict[str, Any] = {
        "sampler": Uniform(16),
        "transform": ClipTransform(size=PICTURE),
        "mirrored": True,
        "progress": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        build_features(
            backbone, segments[:4], cache_dir=folder, **how
        )  # code and buffers that any size needs
        before, start = _peak_mb(), time.perf_counter()
        build_features(backbone, segments, cache_dir=folder, **how)
        return {"seconds": time.perf_counter() - start, "before_mb": before, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    """Peak memory of this program so far, in MB; nan where the system does not tell (Windows)."""
    try:
        import resource
    except ModuleNotFoundError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("size", type=int)
    given = parser.parse_args()
    print(json.dumps(_measure(given.root, given.size)))
