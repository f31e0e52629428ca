"""Scaling: time and peak memory of computing features as the data set grows; a line and a floor are
wanted.

Each size is measured in a program of its own, because a program's peak memory never falls. The
frames are small, so that what grows is not hidden behind the network, whose time cannot but be
linear. Knows how to cut a data set to a number of segments and how to fit an exponent. Does not
know how features are computed.
"""

import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.measure import fresh_python, timed
from data.kth import Segment, find_segments
from models.backbone import EfficientNetBackbone
from tracking.measurements import Row
from utils.features import build_features
from utils.preprocessing import ClipTransform, Preprocessing, Uniform

SIZES = (150, 600, 2400)
FRAME = (48, 64)
TASK = "features of N segments, 16 frames of 48 x 64, original and horizontally flipped"
QUICK = {"sizes": (4, 8), "repeats": 1}


def run(root: str | Path, *, sizes: Sequence[int] = SIZES, repeats: int = 3) -> list[Row]:
    """Measure each size `repeats` times in turn; the last rows are the exponent of time and the
    growth of memory."""
    measured: dict[int, list[list[float]]] = {size: [] for size in sizes}
    for size in tqdm([*sizes] * repeats, desc="growth", unit="run", leave=False):
        command = ("-m", "benchmarks.growth", str(Path(root).resolve()), str(size))
        said = fresh_python(f"measuring {size} segments", *command)
        measured[size].append(json.loads(said.splitlines()[-1]))
    rows, peaks = [], []
    for size, runs in measured.items():
        seconds, *memory = zip(*runs, strict=True)
        before, peak = map(statistics.median, memory)
        peaks.append(peak)
        note = f"peak memory {peak:.0f} MB, {peak - before:.0f} MB above the start"
        rows.append(Row.of(TASK, f"{size} segments", seconds, "s", note))
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
    both = []
    for segment in segments:
        edges = (segment.start, segment.start + len(segment) // 2, segment.stop)
        for half, (start, stop) in enumerate(itertools.pairwise(edges)):
            if start < stop:
                both.append(Segment(segment.video, 2 * segment.index + half, start, stop))
    if len(both) < count:
        raise ValueError(
            f"{count} segments were asked for and the data set gives {len(both)}; render more of it"
        )
    return both[:count]


def _measure(root: str, size: int) -> tuple[float, float, float]:
    """Return the seconds, and the peak memory before and after, of one size in this program."""
    segments, backbone = halves(find_segments(root), size), EfficientNetBackbone()
    shown = Preprocessing(Uniform(16), ClipTransform(size=FRAME))
    with tempfile.TemporaryDirectory() as folder:
        how: dict[str, Any] = {"cache_dir": folder, "horizontal_flip": True, "progress": False}
        build_features(backbone, segments[:4], shown, **how)  # code and buffers of any size
        before = _peak_mb()
        seconds = timed(partial(build_features, backbone, segments, shown, **how))
        return seconds, before, _peak_mb()


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
