"""Rendered and real footage in numbers: what a classifier could tell them apart by, and what tells
actions apart.

Knows frames and simple measurements. In locomotion the camera sees an empty field now and then, so
the median over the file is the background, and what differs from it is the person; that gives his
height and his speed. Real pixels are those of a few clips; how long real crossings last is known of
all persons, from KTH's annotation file, and taken from those of the official training and
validation splits.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from data.kth import (
    FPS,
    SPLITS,
    Segment,
    dataset_name,
    find_segments,
    load_segments,
    parse_name,
    select,
)
from data.synthetic.motion import LOCOMOTION
from data.video import read_frames
from tracking.measurements import Row

Found = dict[tuple[Any, str, str], list[float]]  # action, quantity, data set -> values
DIFFERENT = 14  # grey levels from the background that count as a person, after a blur of one pixel
SMALLEST = 150  # pixels of a person
SAMPLED = 40  # frames of a file that make its background
CROSSING = "annotated crossing in d1"
# what is measured -> unit
QUANTITIES = {
    "height of the figure": "px",
    "speed": "px a frame",
    "speed by body height": "body heights per second",
    "noise": "grey levels",
    CROSSING: "frames",
    "contrast": "grey levels",
    "sharpness": "grey levels",
    "moving share of the image": "%",
}
QUICK = {"every": 40}


def run(root: str | Path, *, real: str | Path | None = None, every: int = 3) -> list[Row]:
    """Measure every so many segments of a rendered set's training persons, and all real ones.

    Args:
        root: A rendered data set.
        real: Real clips in KTH's layout.
        every: Of the rendered segments, one in so many.
    """
    name, rendered = dataset_name(root), find_segments(root)
    sets = {name: select(rendered, "train")[::every]}
    if real is not None:
        sets["real KTH"] = find_segments(real)
    found = _lengths(name, rendered)
    for name, segments in sets.items():
        for segment in tqdm(segments, desc=name, unit="segment"):
            for quantity, value in measurements(segment).items():
                found[segment.video.action, quantity, name].append(value)
    return [_row(*key, found[key]) for key in sorted(found, key=lambda key: key[:2])]


def _lengths(name: str, rendered: Sequence[Segment]) -> Found:
    """How long annotated crossings outdoors (d1) last, without those of the test persons."""
    annotated = load_segments().items()
    lengths = [(name, segment.video, len(segment)) for segment in rendered]
    lengths += [
        ("real KTH", parse_name(file), stop - start)
        for file, ranges in annotated
        for start, stop in ranges
    ]
    found: Found = defaultdict(list)
    for method, video, length in lengths:
        crosses = video.action in LOCOMOTION and video.scenario == 1
        if crosses and video.person not in SPLITS["test"]:
            found[video.action, CROSSING, method].append(length)
    return found


def _row(action: str, quantity: str, name: str, values: Sequence[float]) -> Row:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    task, note = f"{action}: {quantity}", f"10 to 90 %: {low:.3g} to {high:.3g}"
    return Row(task, name, middle, QUANTITIES[quantity], None, low, high, len(values), note)


def measurements(segment: Segment) -> dict[str, float]:
    """Measure one segment: noise, contrast, sharpness and movement of all; height and speed of
    locomotion."""
    wanted = range(segment.start, segment.stop)
    frames = read_frames(segment.video.path, wanted).astype(np.float32)  # (T, H, W)
    crossing = _crossing(segment, frames) if segment.video.action in LOCOMOTION else {}
    return appearance(frames) | crossing


def appearance(frames: np.ndarray) -> dict[str, float]:
    """Measure the noise, contrast, sharpness and movement of float32 frames (T, H, W)."""
    steps = np.abs(np.diff(frames, axis=0))
    some = frames[:: max(1, len(frames) // 8)]
    edges = [float(cv2.Laplacian(frame, cv2.CV_32F).std()) for frame in some]
    return {
        # the mean size of a difference of two normal numbers is 2 / sqrt(pi) of their deviation
        "noise": float(steps[steps < DIFFERENT].mean() * np.sqrt(np.pi) / 2),
        "contrast": float(frames.std(axis=(1, 2)).mean()),
        "sharpness": float(np.mean(edges)),
        "moving share of the image": 100 * float((steps > DIFFERENT).mean()),
    }


def _crossing(segment: Segment, frames: np.ndarray) -> dict[str, float]:
    """Height and speeds of somebody who crosses the image; {} when he is never seen as a whole."""
    moments = np.linspace(0, max(segment.stop, SAMPLED) - 1, SAMPLED).astype(int)
    background = np.median(read_frames(segment.video.path, moments), axis=0)
    boxes = [_figure(np.abs(frame - background)) for frame in frames]
    seen = [(f, *box) for f, box in enumerate(boxes) if box is not None]
    if len(seen) < 5:
        return {}
    at, left, width, height = np.array(seen, float).T
    speed, tall = float(abs(np.polyfit(at, left + width / 2, 1)[0])), float(np.median(height))
    return {
        "height of the figure": tall,
        "speed": speed,
        "speed by body height": speed * FPS / tall,
    }


def _figure(difference: np.ndarray) -> tuple[int, int, int] | None:
    """Left edge, width and height of the largest thing that differs, when all of it is inside the
    image."""
    mask = (cv2.GaussianBlur(difference.astype(np.float32), (0, 0), 1) > DIFFERENT).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    left, _, width, height, area = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    inside = left > 2 and left + width < difference.shape[1] - 2
    return (int(left), int(width), int(height)) if inside and area >= SMALLEST else None
