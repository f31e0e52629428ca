"""The person in a video: found, followed, with 33 landmarks and a mask.

Knows frames and what the two networks' numbers mean: a detector finds a person in the whole image,
which gives a rotated square around him; a landmark network finds 33 points and the person's mask in
that square; and the points give the square of the next frame, so that the detector is asked again
only when the person is lost, after a cut, and once a second to see who else is there. Does not know
actions, models or segments.

Method and constants: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020
(arXiv:2006.10204), and MediaPipe's published graph of it; the filter is Casiez, Roussel and Vogel,
"1 Euro Filter", CHI 2012. The finder was trained by its makers on photographs of real people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.video import USUAL_FPS, probe, stream
from utils.blazepose import fingerprint, load_networks

LANDMARKS, MASK = 33, 96  # points of a body; rows and columns of a kept mask
DETECTOR, CROP = 224, 256  # pixels of the networks' inputs
OVERLAP = 0.3  # boxes that overlap more are the same person's
SQUARE = 2.5  # side of the square, in distances from the hips to the edge of the body's circle
DOUBT = 0.2  # of persons detected about as surely, the largest is followed
CUT = 40.0  # mean difference of two small grey images, of 255, that only a cut makes
SMALLEST = 4.0  # pixels: no square is smaller
# landmarks by name that others ask for; all 33 are numbered as in the paper's figure 3
NOSE, EARS, SHOULDERS, HIPS, ANKLES = 0, (7, 8), (11, 12), (23, 24), (27, 28)


@dataclass(frozen=True)
class PersonTrack:
    """Where a person is, at the N frames of a video that were looked at.

    Args:
        frames: The frames' numbers (N,), ascending.
        fps: Frames a second of the video.
        size: Height and width of a frame in pixels.
        square: Centre x and y, side in pixels and angle in radians (N, 4); nan where nobody is.
        landmarks: x, y, z in pixels and visibility, 0 to 1 (N, 33, 4); nan where nobody is.
        mask: The person's share of each place in the square, 0 to 255 (N, MASK, MASK).
        scene: How many cuts came before (N,).
        others: How many other persons the detector saw when it last looked (N,).
    """

    frames: np.ndarray
    fps: float
    size: tuple[int, int]
    square: np.ndarray
    landmarks: np.ndarray
    mask: np.ndarray
    scene: np.ndarray
    others: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as plain arrays, as `utils.features.look_at` keeps it."""
        return {part.name: np.asarray(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> PersonTrack:
        """Build the track that `arrays` described."""
        parts = {part.name: arrays[part.name] for part in fields(cls)}
        height, width = map(int, parts["size"])
        return cls(**{**parts, "fps": float(parts["fps"]), "size": (height, width)})

    @cached_property
    def presence(self) -> np.ndarray:
        """Whether somebody was found (N,)."""
        return np.isfinite(self.square[:, 0])

    @cached_property
    def box(self) -> np.ndarray:
        """The landmarks' left, top, right and bottom edge in pixels (N, 4); nan where nobody is."""
        points = self.landmarks[..., :2]
        return np.concatenate([points.min(1), points.max(1)], 1)

    def rows(self, frames: np.ndarray) -> np.ndarray:
        """Return the place of the looked-at frame nearest to each of these frames (...)."""
        middles = (self.frames[1:] + self.frames[:-1]) / 2
        return np.searchsorted(middles, frames)

    def mask_of(self, row: int) -> np.ndarray:
        """Return the mask of a row in the frame's own pixels (H, W), 0 to 1; 0 where nobody is."""
        height, width = self.size
        if not self.presence[row]:
            return np.zeros((height, width), np.float32)
        mask = self.mask[row].astype(np.float32) / 255
        return cv2.warpAffine(mask, crop_matrix(self.square[row], MASK), (width, height))


@dataclass(frozen=True)
class PersonFinder:
    """Finds the largest person and follows him.

    Args:
        rate: Frames a second that are looked at.
        detected: Least probability of a person in the whole image.
        followed: Least probability that the square still holds one.
        weights: Fingerprint of the networks, so that what they found is kept under their name.
    """

    rate: float = 12.5
    detected: float = 0.5
    followed: float = 0.5
    weights: str = field(default_factory=fingerprint)

    def look(self, video: Path | np.ndarray, fps: float | None = None) -> dict[str, np.ndarray]:
        """Look at a whole video, a file or its frames, and return its track as arrays.

        Raises VideoError when the file is no video.
        """
        if isinstance(video, np.ndarray):
            rate = fps or USUAL_FPS
            numbers = np.arange(0, len(video), max(1.0, rate / self.rate)).round().astype(int)
            return self.find(((n, video[n]) for n in numbers), rate).arrays()
        rate = fps or probe(video).fps
        return self.find(stream(video, max(1.0, rate / self.rate)), rate).arrays()

    def find(self, frames: Iterable[tuple[int, np.ndarray]], fps: float) -> PersonTrack:
        """Follow a person through (number, image), images (H, W) grey or (H, W, 3) BGR uint8."""
        search, rows, numbers, size = _Search(self), [], [], (0, 0)
        for number, image in frames:
            numbers.append(number)
            size = image.shape[:2]
            rows.append(search.step(image))
        square, landmarks, mask, scene, others = map(np.array, zip(*rows, strict=True))
        return PersonTrack(np.array(numbers), fps, size, square, landmarks, mask, scene, others)


NOBODY = np.full(4, np.nan, np.float32), np.full((LANDMARKS, 4), np.nan, np.float32)


class _Search:
    """A person who is followed from image to image."""

    def __init__(self, finder: PersonFinder):
        self.finder = finder
        self.detector, self.landmarker = load_networks()
        self.square: np.ndarray | None = None
        self.scene = self.others = self.steps = 0
        self.small: np.ndarray | None = None

    def step(self, image: np.ndarray) -> tuple[Any, ...]:
        """Look at the next image: square, landmarks, mask, scene, others."""
        self._notice_cut(image)
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
        if self.steps % max(1, round(self.finder.rate)) == 0 and self.square is not None:
            self.others = max(0, len(self._detect(image)[0]) - 1)
        self.steps += 1
        found = self._follow(image) if self.square is not None else None
        found = found or self._start(image)
        square, landmarks, mask = found or (*NOBODY, np.zeros((MASK, MASK), np.uint8))
        return square, landmarks, mask, self.scene, self.others

    def _notice_cut(self, image: np.ndarray) -> None:
        small = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        if self.small is not None and np.abs(small - self.small).mean() > CUT:
            self.square, self.scene = None, self.scene + 1
        self.small = small

    def _start(self, image: np.ndarray) -> tuple[np.ndarray, ...] | None:
        squares, scores = self._detect(image)
        self.others = max(0, len(squares) - 1)
        if not len(squares):
            self.square = None
            return None
        # a tree may be larger than anybody, but is no person as surely
        sides = np.where(scores >= scores.max() - DOUBT, squares[:, 2], 0)
        self.square, self.filter = squares[np.argmax(sides)], _OneEuro(self.finder.rate)
        return self._follow(image)

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a square (P, 4) for every person in an image, and his probability (P,)."""
        height, width = image.shape[:2]
        side = max(height, width)
        whole, _ = crop(image, np.array([width / 2, height / 2, side, 0]), DETECTOR, edge=False)
        out = self.detector(_batch(whole, 127.5, -1))
        scores = sigmoid(out["scores"].ravel())
        there = np.flatnonzero(scores >= self.finder.detected)
        scores, boxes = scores[there], out["boxes"][0][there] / DETECTOR
        boxes[:, :2] += ANCHORS[there]
        boxes[:, 4:] += np.tile(ANCHORS[there], 4)
        corner = np.array([(width - side) / 2, (height - side) / 2])
        points, sure = _merged(boxes, scores)
        points = points * side + np.tile(corner, 2)
        return np.array([square_around(p[:2], p[2:]) for p in points]).reshape(-1, 4), sure

    def _follow(self, image: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """Find the landmarks in the square, and the next square; None when nobody is in it."""
        square = self.square
        cut, matrix = crop(image, square, CROP, edge=True)
        out = self.landmarker(_batch(cut, 255.0, 0))
        if out["flag"].item() < self.finder.followed:
            self.square = None
            return None
        points = out["landmarks"].reshape(-1, 5).astype(np.float64)
        points[:, :2] = _refined(points[:, :2], sigmoid(out["heatmap"][0]))
        place = (points[:, :2] - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        landmarks = np.concatenate(
            [place, points[:, 2:3] * square[2] / CROP, sigmoid(points[:, 3:4])], 1
        )
        self.square = square_around(*self.filter(place[33:35], square[2]))
        if not np.isfinite(self.square).all() or self.square[2] < SMALLEST:
            self.square = None
            return None
        mask = cv2.resize(
            sigmoid(out["mask"].reshape(CROP, CROP)), (MASK, MASK), interpolation=cv2.INTER_AREA
        )
        return (
            square.astype(np.float32),
            landmarks[:LANDMARKS].astype(np.float32),
            (mask * 255).round().astype(np.uint8),
        )


def square_around(centre: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return the square (4,) around the hips' middle that reaches beyond the body's circle."""
    x, y = np.subtract(top, centre)
    return np.array([*centre, SQUARE * np.hypot(x, y), np.arctan2(y, x) + np.pi / 2])


def crop_matrix(square: np.ndarray, pixels: int) -> np.ndarray:
    """Return the matrix (2, 3) from places in a square's crop to places in the image.

    Pixels' centres lie at .5, so the crop's first pixel shows half a pixel of the square's edge.
    """
    x, y, side, angle = map(float, square)
    cos, sin = np.cos(angle) * side / pixels, np.sin(angle) * side / pixels
    half = (pixels - 1) / 2
    return np.array(
        [
            [cos, -sin, x - cos * half + sin * half - 0.5],
            [sin, cos, y - sin * half - cos * half - 0.5],
        ]
    )


def crop(
    image: np.ndarray, square: np.ndarray, pixels: int, *, edge: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a square out of an image (H, W, 3), and return its matrix too, see `crop_matrix`.

    Beyond the image lie its edge's own pixels, or black ones.
    """
    matrix = crop_matrix(square, pixels)
    how = cv2.INTER_CUBIC if square[2] < pixels else cv2.INTER_LINEAR
    border = cv2.BORDER_REPLICATE if edge else cv2.BORDER_CONSTANT
    flags = how | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (pixels, pixels), flags=flags, borderMode=border), matrix


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


def _batch(image: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Bring an image (H, W, 3) uint8 to the networks' (1, 3, H, W) float32."""
    return np.ascontiguousarray(
        (image / np.float32(scale) + np.float32(shift)).transpose(2, 0, 1)[None]
    )


def _anchors() -> np.ndarray:
    """Centres of the detector's anchors (2254, 2), 0 to 1: two a cell of 8 and 16 pixels, six of
    32."""
    grids = []
    for cells, each in ((28, 2), (14, 2), (7, 6)):
        middles = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)
        grids.append(np.repeat(grid, each, axis=0))
    return np.concatenate(grids).astype(np.float32)


ANCHORS = _anchors()


def _merged(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge boxes (N, 12) of one person each: their first two points (P, 4), weighted by score, and
    each person's best score (P,)."""
    people, sure, left = [], [], np.argsort(-scores)
    low, high = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2
    area = (high - low).prod(1)
    while len(left):
        best = left[0]
        sides = np.minimum(high[left], high[best]) - np.maximum(low[left], low[best])
        shared = sides.clip(0).prod(1)
        same = shared / (area[left] + area[best] - shared) > OVERLAP
        same[0] = True
        people.append(np.average(boxes[left[same], 4:8], axis=0, weights=scores[left[same]]))
        sure.append(scores[best])
        left = left[~same]
    return np.array(people).reshape(-1, 4), np.array(sure)


def _refined(points: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Move points (L, 2) of the crop to the centre of the heat (64, 64, L) in the 7 x 7 cells
    around them, where it is hot at all."""
    cell, reach = CROP // heat.shape[0], 3
    at = (points / cell).astype(int)
    inside = ((at >= 0) & (at < heat.shape[0])).all(1)
    padded = np.pad(heat, ((reach, reach), (reach, reach), (0, 0)))
    steps = np.arange(2 * reach + 1)
    rows, columns = at.clip(0, heat.shape[0] - 1).T[::-1]
    around = padded[
        rows[:, None, None] + steps[:, None],
        columns[:, None, None] + steps,
        np.arange(len(points))[:, None, None],
    ]  # (L, 7, 7)
    total = around.sum((1, 2)).clip(1e-9)
    centre = np.stack(
        [
            columns - reach + (around.sum(1) @ steps) / total,
            rows - reach + (around.sum(2) @ steps) / total,
        ],
        1,
    )
    hot = inside & (around.max((1, 2)) >= 0.5)
    return np.where(hot[:, None], centre * cell, points)


class _OneEuro:
    """The filter of the points that make the next square: still when they are, quick when not."""

    def __init__(self, rate: float, cutoff: float = 0.01, beta: float = 10.0):
        self.rate, self.cutoff, self.beta = rate, cutoff, beta
        self.smooth: np.ndarray | None = None

    def __call__(self, points: np.ndarray, scale: float) -> np.ndarray:
        """Return the points (2, 2), smoothed; speeds are counted in `scale` pixels a second."""
        if self.smooth is None:
            self.smooth, self.speed = points, np.zeros_like(points)
        else:
            speed = (points - self.last) / scale * self.rate
            self.speed = self.speed + self._share(1.0) * (speed - self.speed)
            share = self._share(self.cutoff + self.beta * np.abs(self.speed))
            self.smooth = self.smooth + share * (points - self.smooth)
        self.last = points
        return self.smooth

    def _share(self, cutoff: Any) -> Any:
        return 1 / (1 + self.rate / (2 * np.pi * cutoff))
