"""Scaling: time and peak memory of computing features as the data set grows; a line and a floor are
wanted.

Each size is measured in a program of its own, because a program's peak memory never falls. The
frames are small, so that what grows is not hidden behind the network, whose time cannot but be
linear. Knows how to cut a data set to a number of segments and how to fit an exponent. Does not
know how features are computed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.kth import Segment, find_segments
from experiments.studies import row_of
from tracking.measurements import Row

SIZES = (150, 600, 2400)
FRAME = (48, 64)
TASK = "features of N segments, 16 frames of 48 x 64, original and horizontally flipped"
MEMORY = ("before_mb", "peak_mb")
QUICK = {"sizes": (4, 8), "repeats": 1}


def run(root: str | Path, *, sizes: Sequence[int] = SIZES, repeats: int = 3) -> list[Row]:
    """Measure each size `repeats` times in turn; the last rows are the exponent of time and the
    growth of memory."""
    measured: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for size in tqdm([*sizes] * repeats, desc="growth", unit="run", leave=False):
        measured[size].append(_in_own_program(root, size))
    rows, peaks = [], []
    for size, runs in measured.items():
        before, peak = (statistics.median(one[key] for one in runs) for key in MEMORY)
        peaks.append(peak)
        note = f"peak memory {peak:.0f} MB, {peak - before:.0f} MB above the start"
        seconds = [one["seconds"] for one in runs]
        rows.append(row_of(TASK, f"{size} segments", seconds, "s", note))
    slope = exponent(sizes, [row.value for row in rows])
    note = "1 is linear; slope of log time over log segments"
    rows.append(Row("exponent of time", "ours", slope, "", note=note))
    ratio = peaks[-1] / peaks[0]
    return [*rows, Row("peak memory, largest over smallest", "ours", ratio, "times")]


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


def _cut(segment: Segment) -> Iterator[Segment]:
    edges = (segment.start, segment.start + len(segment) // 2, segment.stop)
    for half, (start, stop) in enumerate(zip(edges, edges[1:], strict=False)):
        if start < stop:
            yield Segment(segment.video, 2 * segment.index + half, start, stop)


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
    from utils.features import build_features
    from utils.preprocessing import ClipTransform, Preprocessing, Uniform

    segments, backbone = halves(find_segments(root), size), EfficientNetBackbone()
    shown = Preprocessing(Uniform(16), ClipTransform(size=FRAME))
    with tempfile.TemporaryDirectory() as folder:
        how: dict[str, Any] = {"cache_dir": folder, "horizontal_flip": True, "progress": False}
        # code and buffers that any size needs
        build_features(backbone, segments[:4], shown, **how)
        before, start = _peak_mb(), time.perf_counter()
        build_features(backbone, segments, shown, **how)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, **dict(zip(MEMORY, (before, _peak_mb()), strict=True))}


def _peak_mb() -> float:
    """Peak memory of this program so far, in MB; nan where the system does not tell (Windows)."""
    try:
        import resource
    except ModuleNotFoundError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]))))
