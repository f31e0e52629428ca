"""Rendered and real footage in numbers: what a classifier could tell them apart by, and what tells
actions apart.

Knows frames and simple measurements. In the crossings the camera sees an empty field now and then,
so the median over the file is the background, and what differs from it is the person; that gives
his height and his pace. Real pixels are those of a few clips; how long real crossings last is known
of all persons, from KTH's annotation file, and taken from those of the official training and
validation splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.measure import Row
from data.kth import ACTIONS, SPLITS, Segment, find_segments, load_segments, parse_name, select
from data.synthetic.motion import FPS, LOCOMOTION
from data.video import read_frames
from experiments.training import name_of

DIFFERENT = 14  # grey levels from the background that count as a person, after a blur of one pixel
SMALLEST = 150  # pixels of a person
LOOKS = 40  # frames of a file that make its background


def run(root: str | Path, *, real: str | Path | None = None, every: int = 3) -> list[Row]:
    """Measure every so many segments of a rendered set's training persons, and all real ones.

    Args:
        root: A rendered data set.
        real: Real clips in KTH's layout.
        every: Of the rendered segments, one in so many.
    """
    sets = {name_of(root): select(find_segments(root), "train")[::every]}
    if real is not None:
        sets["real KTH"] = find_segments(real)
    rows = _lengths(name_of(root), find_segments(root))
    for name, segments in sets.items():
        measured = [
            (segment, measurements(segment))
            for segment in tqdm(segments, desc=name, unit="segment")
        ]
        for action in ACTIONS:
            found = [values for segment, values in measured if segment.video.action == action]
            for quantity in sorted({key for values in found for key in values}):
                rows.append(
                    _row(action, quantity, name, [v[quantity] for v in found if quantity in v])
                )
    return sorted(rows, key=lambda row: row.task)


def _lengths(name: str, rendered: Sequence[Segment]) -> list[Row]:
    """How long annotated crossings outdoors (d1) last, without those of the test persons."""
    annotated = [
        (parse_name(file), stop - start)
        for file, ranges in load_segments().items()
        for start, stop in ranges
    ]
    found = {name: [(s.video, len(s)) for s in rendered], "real KTH": annotated}
    rows = []
    for method, lengths in found.items():
        for action in LOCOMOTION:
            chosen = [
                n
                for video, n in lengths
                if (video.action, video.scenario) == (action, 1)
                and video.person not in SPLITS["test"]
            ]
            rows += [_row(action, "annotated crossing in d1", method, chosen)] if chosen else []
    return rows


def _row(action: str, quantity: str, name: str, values: Sequence[float]) -> Row:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    unit = QUANTITIES[quantity]
    note = f"10 to 90 %: {low:.3g} to {high:.3g}"
    return Row(
        f"{action}: {quantity}",
        name,
        float(middle),
        unit,
        None,
        float(low),
        float(high),
        len(values),
        note,
    )


# name -> unit
QUANTITIES = {
    "height of the figure": "px",
    "speed": "px a frame",
    "pace": "statures a second",
    "noise": "grey levels",
    "annotated crossing in d1": "frames",
    "contrast": "grey levels",
    "sharpness": "grey levels",
    "moving share of the picture": "%",
}


def measurements(segment: Segment) -> dict[str, float]:
    """Measure one segment: noise, contrast, sharpness and movement of all; height, speed and pace
    of crossings."""
    frames = read_frames(segment.video.path, np.arange(segment.start, segment.stop)).astype(
        np.float32
    )  # (T, H, W)
    steps = np.abs(np.diff(frames, axis=0))
    edges = [
        float(cv2.Laplacian(frame, cv2.CV_32F).std())
        for frame in frames[:: max(1, len(frames) // 8)]
    ]
    found = {
        # the mean size of a difference of two normal numbers is 2 / sqrt(pi) of their deviation
        "noise": float(steps[steps < DIFFERENT].mean() * np.sqrt(np.pi) / 2),
        "contrast": float(frames.std(axis=(1, 2)).mean()),
        "sharpness": float(np.mean(edges)),
        "moving share of the picture": 100 * float((steps > DIFFERENT).mean()),
    }
    return found | (_crossing(segment, frames) if segment.video.action in LOCOMOTION else {})


def _crossing(segment: Segment, frames: np.ndarray) -> dict[str, float]:
    """Height, speed and pace of somebody who crosses the picture; {} when he is never seen as a
    whole."""
    background = _background(segment)
    boxes = [_figure(np.abs(frame - background)) for frame in frames]
    seen = [(f, *box) for f, box in enumerate(boxes) if box is not None]
    if len(seen) < 5:
        return {}
    at, left, width, height = np.array(seen, float).T
    speed = abs(np.polyfit(at, left + width / 2, 1)[0])  # pixels a frame
    tall = float(np.median(height))
    return {"height of the figure": tall, "speed": float(speed), "pace": float(speed) * FPS / tall}


def _background(segment: Segment) -> np.ndarray:
    last = max(segment.stop, LOOKS)
    return np.median(
        read_frames(segment.video.path, np.linspace(0, last - 1, LOOKS).astype(int)), axis=0
    )


def _figure(difference: np.ndarray) -> tuple[int, int, int] | None:
    """Left edge, width and height of the largest thing that differs, when all of it is inside the
    picture."""
    mask = (cv2.GaussianBlur(difference.astype(np.float32), (0, 0), 1) > DIFFERENT).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    left, _, width, height, area = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    inside = left > 2 and left + width < difference.shape[1] - 2
    return (int(left), int(width), int(height)) if inside and area >= SMALLEST else None
