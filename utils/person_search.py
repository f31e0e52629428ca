"""Somebody in images that follow one another: found, and followed from each to the next.

Knows images and what the two networks' numbers mean: a detector finds people in the whole image,
which gives a rotated square around each; a landmark network finds 33 points and the person's mask
in a square; and the points give the square of the next image, so that the detector is asked again
only when the person is lost, and once a second to see who else is there. Does not know videos nor
who asks (`utils.person`), nor how the networks are run (`utils.blazepose`).

Method and constants: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020
(arXiv:2006.10204), and MediaPipe's published graph of it; the filter is Casiez, Roussel and Vogel,
"1 Euro Filter", CHI 2012. The finder was trained by its makers on photographs of real people.

Places are in pixels whose centres lie at .5, so that 0 is the image's edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from utils.blazepose import FINGERPRINT, Runner
from utils.images import changed_box, denoised, stretched
from utils.one_euro import OneEuro

LANDMARKS, MASK = 33, 96  # points of a body; rows and columns of a kept mask
DETECTOR, CROP = 224, 256  # pixels of the networks' inputs
OVERLAP = 0.3  # boxes that overlap more are the same person's
SQUARE = 2.5  # side of the square, in distances from the hips to the edge of the body's circle
STANDING = 1.25  # sides of the square, in statures of somebody upright: the circle's radius is half
DOUBT = 0.2  # of persons detected about as surely, the largest is followed
PART = 0.6  # side of a part of an image, in the image's longer sides; they overlap by half
PARTS_EVERY = 0.5  # seconds from one look at the parts to the next
CHANGES_EVERY = 0.24  # seconds from one look at what moves to the next
# squares around a box of what moves, if that is all of somebody, both arms, or his hands: sides, in
# the box's longer sides, and how far below its middle the hips are, in sides of the square
AROUND = ((1.25, 0.0), (1.8, 0.15), (2.6, 0.2), (3.6, 0.2))
TRIES = 3  # detected persons whose landmarks are looked for before there is nobody
LARGER = 1.25  # times: by how much another must be larger to be followed instead
SAME = 0.25  # sides of the square: whose hips are no further away is the person who is followed
OUTSIDE = 0.5  # sides of the square: whose hips are further away is not in it
SMALLEST = 4.0  # pixels: no square is smaller


@dataclass(frozen=True)
class SearchSettings:
    """How people are sought.

    Where the detector sees nobody it looks again at an image of more contrast, and twice a second
    at parts of that, where small people are larger; much noise is taken away first. Last, the
    landmark network looks where the image has changed, for it knows people whom the detector
    overlooks. The settings were chosen on rendered people and on cluttered images without any: more
    contrast, parts in which somebody must be surer, and what moves find many more people and hardly
    anybody who is not there. `python har.py study stress` measures clutter, small people and noise.

    Args:
        rate: Frames a second that are looked at; all of them where there are no more.
        detected: Least probability of a person in the whole image.
        sure: Least probability of a person in a part of the image.
        followed: Least probability that the square still holds one.
        moving: Least probability that a square around what moves holds one.
        cut: Mean difference of two small images, of 255, above which it is a cut. Chosen on
            rendered clips: 0.08 s of one differ by less, three in four pairs of two by more. A cut
            that is missed costs its count alone: who is lost is found anew.
        least_range: Grey levels between the darkest and the brightest hundredth of an image below
            which its contrast is not raised further.
        least_noise: Grey levels of noise from which on it is taken away.
        weights: Fingerprint of the networks, so that what they found is kept under their name.
    """

    rate: float = 12.5
    detected: float = 0.5
    sure: float = 0.7
    followed: float = 0.5
    moving: float = 0.9
    cut: float = 20.0
    least_range: float = 20.0
    least_noise: float = 6.0
    weights: str = FINGERPRINT

    def __post_init__(self):
        if not self.rate > 0:
            raise ValueError(f"rate is {self.rate}; it takes frames a second, above 0")


class Found(NamedTuple):
    """Somebody in an image: square (4,), landmarks (33, 4) and mask (MASK, MASK)."""

    square: np.ndarray
    landmarks: np.ndarray
    mask: np.ndarray


class Search:
    """Finds a person in the first of some images and follows him through the others.

    Args:
        settings: How people are sought.
        networks: Detector and landmark network, see `utils.blazepose.load_networks`.
        rate: Images a second.
    """

    def __init__(self, settings: SearchSettings, networks: tuple[Runner, Runner], rate: float):
        self.settings, self.rate = settings, rate
        self.detector, self.landmarker = networks
        self.square: np.ndarray | None = None  # where to look in the next image
        self.before: np.ndarray | None = None  # the image before, of the same scene
        self.others = 0
        self.since = self.empty = 0  # images since the detector looked, and in which it saw nobody

    def step(self, image: np.ndarray) -> tuple[Found | None, int]:
        """Look at the next image, (H, W) grey or (H, W, 3) BGR uint8: the person, how many
        others."""
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
        image = denoised(image, self.settings.least_noise)
        person, self.since = None, self.since + 1
        if self.square is not None and self.since >= self.rate:
            person = self._look_around(image)
        if person is None and self.square is not None:
            person = self._follow(image)
        if person is None:
            person = self._start(image)
        self.before = image
        return person, self.others

    def forget(self) -> None:
        """Follow nobody further: the next image is of another scene."""
        self.square = self.before = None

    def _start(self, image: np.ndarray) -> Found | None:
        """Find somebody anew: the first of the detected who has a body."""
        for squares in self._sought(image):
            for square in squares[:TRIES]:
                if person := self._begin(image, square):
                    self.others = len(squares) - 1
                    return person
        self.others = 0
        if self.empty % self._every(CHANGES_EVERY) == 0:
            moving = self._who_moves(image)
            return None if moving is None else self._begin(image, moving)
        return None

    def _who_moves(self, image: np.ndarray) -> np.ndarray | None:
        """Return the square (4,) of somebody whom the detector overlooks, where the image changed
        since the last one."""
        if self.before is None or (box := changed_box(self.before, image)) is None:
            return None
        for square in squares_around(*box):
            there = square[2] >= SMALLEST
            if there and self._landmarks(image, square)[0]["flag"].item() >= self.settings.moving:
                return square
        return None

    def _every(self, seconds: float) -> int:
        """Return how many images so many seconds are, at least 1."""
        return max(1, round(self.rate * seconds))

    def _sought(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Detect in the whole image, then in one of more contrast, and now and then in its parts,
        where small people are larger."""
        yield self._detect(image)
        raised = stretched(image, self.settings.least_range)
        yield self._detect(raised)
        if self.empty % self._every(PARTS_EVERY) == 0:
            yield _apart([self._detect(raised, part) for part in parts_of(*image.shape[:2])])
        self.empty += 1

    def _begin(self, image: np.ndarray, square: np.ndarray) -> Found | None:
        self.square, self.filter = square, OneEuro(self.rate)
        return self._follow(image)

    def _look_around(self, image: np.ndarray) -> Found | None:
        """Count the others, and turn to one who is clearly larger than the person followed; where
        the detector sees nobody at all, to one who moves elsewhere."""
        assert self.square is not None
        squares, before = self._detect(image), (self.square, self.filter)
        least, far = LARGER * self.square[2], SAME
        if not len(squares) and (moving := self._who_moves(image)) is not None:
            squares, least, far = moving[None], 0.0, OUTSIDE
        away = np.hypot(*(squares[:, :2] - self.square[:2]).T) > far * self.square[2]
        self.others = int(away.sum())
        if self.others and away[0] and squares[0, 2] > least:
            if person := self._begin(image, squares[0]):
                self.others = len(squares) - 1
                return person
            self.square, self.filter = before
        return None

    def _detect(
        self, image: np.ndarray, part: tuple[float, float, float] | None = None
    ) -> np.ndarray:
        """Return a square (P, 4) for every person in an image, the one to be followed first.

        He is the largest of those detected about as surely as the surest: a tree may be larger than
        anybody, but is no person as surely. A part, centre x and y and side, is looked at alone,
        and somebody in it must be surer.
        """
        self.since = 0
        height, width = image.shape[:2]
        x, y, side = part or (width / 2, height / 2, max(height, width))
        seen, _ = crop(image, np.array([x, y, side, 0]), DETECTOR, edge=False)
        out = self.detector(_batch(seen, 127.5, -1))
        scores = sigmoid(out["scores"].ravel())
        there = np.flatnonzero(scores >= (self.settings.sure if part else self.settings.detected))
        boxes = out["boxes"][0][there] / DETECTOR
        boxes[:, :2] += ANCHORS[there]
        boxes[:, 4:] += np.tile(ANCHORS[there], 4)
        points, scores = _merged(boxes, scores[there])
        points = points * side + np.tile([x - side / 2, y - side / 2], 2)
        squares = np.array([square_around(p[:2], p[2:]) for p in points]).reshape(-1, 4)
        unsure = scores < scores.max(initial=0) - DOUBT
        return squares[np.lexsort((-squares[:, 2], unsure))]

    def _follow(self, image: np.ndarray) -> Found | None:
        """Find the person in the square, and the next square; forget it when nobody is in it."""
        square, self.square = self.square, None
        assert square is not None
        if not (np.isfinite(square).all() and square[2] >= SMALLEST):
            return None
        out, matrix = self._landmarks(image, square)
        if out["flag"].item() < self.settings.followed:
            return None
        points = out["landmarks"].reshape(-1, 5).astype(np.float64)
        places = _refined(points[:, :2], sigmoid(out["heatmap"][0]))
        places = (places - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        depth = points[:, 2:3] * square[2] / CROP
        landmarks = np.concatenate([places, depth, sigmoid(points[:, 3:4])], 1)[:LANDMARKS]
        # behind the body's points come two that say where it is: hips, and edge of its circle
        self.square = square_around(*self.filter(places[LANDMARKS : LANDMARKS + 2], square[2]))
        mask = sigmoid(out["mask"].reshape(CROP, CROP))
        mask = cv2.resize(mask, (MASK, MASK), interpolation=cv2.INTER_AREA)
        return Found(square, landmarks, (mask * 255).round().astype(np.uint8))

    def _landmarks(
        self, image: np.ndarray, square: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return what the landmark network says of a square, and the matrix of its crop."""
        cut, matrix = crop(image, square, CROP, edge=True)
        return self.landmarker(_batch(cut, 255.0, 0)), matrix


def parts_of(height: int, width: int) -> Iterator[tuple[float, float, float]]:
    """Yield the parts of an image that are looked at one by one: centre x and y, and side."""
    side = PART * max(height, width)
    middles = [
        np.linspace(side / 2, long - side / 2, 1 + math.ceil(2 * (long - side) / side))
        if long > side
        else [long / 2]
        for long in (width, height)
    ]
    for x, y in product(*middles):
        yield float(x), float(y), side


def squares_around(left: float, top: float, right: float, bottom: float) -> Iterator[np.ndarray]:
    """Yield squares (4,) in which somebody upright may be of whom a box shows what moves."""
    x, y, longer = (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)
    for times, down in AROUND:
        side = times * longer
        yield np.array([x, y + down * side, side, 0.0])


def _apart(found: Sequence[np.ndarray]) -> np.ndarray:
    """Put together squares (P, 4) of overlapping parts, the largest first, everybody once."""
    squares = np.concatenate(found)
    kept: list[np.ndarray] = []
    for square in squares[np.argsort(-squares[:, 2], kind="stable")]:
        if all(np.hypot(*(square - one)[:2]) > SAME * one[2] for one in kept):
            kept.append(square)
    return np.array(kept).reshape(-1, 4)


def square_around(centre: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return the square (4,) around the hips' middle that reaches beyond the body's circle."""
    x, y = np.subtract(top, centre)
    return np.array([*centre, SQUARE * np.hypot(x, y), np.arctan2(y, x) + np.pi / 2])


def crop_matrix(square: np.ndarray, pixels: int) -> np.ndarray:
    """Return the matrix (2, 3) from places in a square's crop to places in the image.

    It maps numbers of pixels, as OpenCV counts them: the first pixel of the crop is 0 and lies half
    a pixel inside the square's edge.
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
    """Move points (L, 2) of the crop to the centre of the heat (64, 64, L) around them.

    That is taken of 7 x 7 cells; a point with no cell of a half or more in them, or outside the
    crop, stays.
    """
    cells, reach = len(heat), 3
    size, steps = CROP / cells, np.arange(-reach, reach + 1)
    at = np.floor(points / size).astype(int)
    inside = ((at >= 0) & (at < cells)).all(1)
    columns, rows = at.clip(0, cells - 1).T[:, :, None] + steps  # (L, 7) each
    padded = np.pad(heat, ((reach, reach), (reach, reach), (0, 0)))
    body = np.arange(len(points))[:, None, None]
    around = padded[rows[:, :, None] + reach, columns[:, None, :] + reach, body]  # (L, 7, 7)
    total = around.sum((1, 2)).clip(1e-9)
    x, y = (around.sum(1) * columns).sum(1) / total, (around.sum(2) * rows).sum(1) / total
    hot = inside & (around.max((1, 2)) >= 0.5)
    return np.where(hot[:, None], np.stack([x, y], 1) * size, points)
