"""The person in a video: found, followed, with 33 landmarks and a mask.

Knows frames and what the two networks' numbers mean: a detector finds people in the whole image,
which gives a rotated square around each; a landmark network finds 33 points and the person's mask
in a square; and the points give the square of the next frame, so that the detector is asked again
only when the person is lost, after a cut, and once a second to see who else is there. Does not know
actions, models or segments, nor how the networks are run (`utils.blazepose`).

Method and constants: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020
(arXiv:2006.10204), and MediaPipe's published graph of it; the filter is Casiez, Roussel and Vogel,
"1 Euro Filter", CHI 2012. The finder was trained by its makers on photographs of real people.

Places are in pixels whose centres lie at .5, so that 0 is the image's edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from data.video import USUAL_FPS, probe, spaced, stream
from utils.blazepose import FINGERPRINT, fingerprint, load_networks
from utils.images import denoised, stretched
from utils.one_euro import OneEuro

LANDMARKS, MASK = 33, 96  # points of a body; rows and columns of a kept mask
DETECTOR, CROP = 224, 256  # pixels of the networks' inputs
OVERLAP = 0.3  # boxes that overlap more are the same person's
SQUARE = 2.5  # side of the square, in distances from the hips to the edge of the body's circle
STANDING = 1.25  # sides of the square, in statures of somebody upright: the circle's radius is half
DOUBT = 0.2  # of persons detected about as surely, the largest is followed
PART = 0.6  # side of a part of an image, in the image's longer sides; they overlap by half
PARTS_EVERY = 0.5  # seconds from one look at the parts to the next
TRIES = 3  # detected persons whose landmarks are looked for before there is nobody
LARGER = 1.25  # times: by how much another must be larger to be followed instead
SAME = 0.25  # sides of the square: whose hips are no further away is the person who is followed
SMALLEST = 4.0  # pixels: no square is smaller
EMPTIEST = 0.2  # least share of a clip's steps that show somebody


@dataclass(frozen=True, eq=False)
class PersonTrack:
    """Where a person is, at the N frames of a video that were looked at.

    Args:
        frames: The frames' numbers (N,), ascending.
        fps: Frames a second of the video.
        size: Height and width of a frame in pixels.
        square: Centre x and y, side in pixels and angle in radians (N, 4); nan where nobody is.
        landmarks: x, y, z in pixels and visibility, 0 to 1 (N, 33, 4); nan where nobody is. They
            are numbered as in the paper's figure 3; z is the depth from the hips.
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
        """Build the track that `arrays` described; KeyError when something is missing."""
        parts: dict[str, Any] = {part.name: arrays[part.name] for part in fields(cls)}
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

    def at(self, frames: np.ndarray | int) -> np.ndarray:
        """Return the row of the looked-at frame nearest to each of these frames (...)."""
        middles = (self.frames[1:] + self.frames[:-1]) / 2
        return np.searchsorted(middles, frames)

    def mask_at(self, frame: int) -> np.ndarray:
        """Return the mask nearest to a frame in the frame's own pixels (H, W), float32, 0 to 1.

        It is 0 where nobody is.
        """
        row, (height, width) = int(self.at(frame)), self.size
        if not self.presence[row]:
            return np.zeros((height, width), np.float32)
        mask = self.mask[row].astype(np.float32) / 255
        return cv2.warpAffine(mask, crop_matrix(self.square[row], MASK), (width, height))


@dataclass(frozen=True)
class PersonFinder:
    """Finds the largest person and follows him.

    Where the detector sees nobody it looks again at an image of more contrast, and twice a second
    at parts of that, where small people are larger; much noise is taken away first. The settings
    were chosen on rendered people and on cluttered images without any: more contrast, and parts in
    which somebody must be surer, find many more people and hardly anybody who is not there.
    `python har.py study stress` measures small people and noise.

    Args:
        rate: Frames a second that are looked at; all of them where there are no more.
        detected: Least probability of a person in the whole image.
        sure: Least probability of a person in a part of the image.
        followed: Least probability that the square still holds one.
        cut: Mean difference of two small images, of 255, above which it is a cut. Chosen on
            rendered clips: 0.08 s of one differ by less, three in four pairs of two by more. A cut
            that is missed costs its count alone: who is lost is found anew.
        least_range: Grey levels between the darkest and the brightest hundredth of an image below
            which its contrast is not raised further.
        weights: Fingerprint of the networks, so that what they found is kept under their name.
    """

    rate: float = 12.5
    detected: float = 0.5
    sure: float = 0.7
    followed: float = 0.5
    cut: float = 20.0
    least_range: float = 20.0
    least_noise: float = 6.0
    weights: str = FINGERPRINT

    def __post_init__(self):
        if not self.rate > 0:
            raise ValueError(f"rate is {self.rate}; it takes frames a second, above 0")

    def look(self, video: Path | np.ndarray, fps: float | None = None) -> dict[str, np.ndarray]:
        """Look at a whole video, a file or its frames, and return its track as arrays.

        fps is the video's rate; None takes the file's own, and 25 for frames. A file is read once,
        in colour and frame by frame. Raises VideoError when it is no video, else as `find`.
        """
        if isinstance(video, np.ndarray):
            return self.find(video, fps or USUAL_FPS).arrays()
        rate = probe(video).fps if fps is None else fps
        return self._search(stream(video, self._step(rate)), rate).arrays()

    def find(
        self, frames: Iterable[np.ndarray], fps: float, *, backend: str | None = None
    ) -> PersonTrack:
        """Follow a person through the frames of a video, (H, W) grey or (H, W, 3) BGR uint8.

        `backend` runs the networks, see `utils.blazepose.load_networks`.

        Raises:
            ValueError: A frame is no such image, fps is not above 0, or the networks at hand are
                others than `weights` says.
        """
        return self._search(spaced(frames, self._step(fps)), fps, backend)

    def _step(self, fps: float) -> float:
        """Return how many frames lie between two that are looked at."""
        if not fps > 0:
            raise ValueError(f"fps is {fps}; it takes frames a second, above 0")
        return max(1.0, fps / self.rate)

    def _search(
        self, frames: Iterator[tuple[int, np.ndarray]], fps: float, backend: str | None = None
    ) -> PersonTrack:
        search = _Search(self, fps / self._step(fps), backend)
        if self.weights != (here := fingerprint()):
            raise ValueError(f"the person finder has weights {here} here, not {self.weights}")
        numbers, found, size = [], [], (0, 0)
        for number, image in frames:
            numbers.append(number)
            found.append(search.step(image))
            size = image.shape[:2]
        n = len(found)
        track = PersonTrack(
            frames=np.array(numbers, np.int64),
            fps=fps,
            size=size,
            square=np.full((n, 4), np.nan, np.float32),
            landmarks=np.full((n, LANDMARKS, 4), np.nan, np.float32),
            mask=np.zeros((n, MASK, MASK), np.uint8),
            scene=np.array([scene for _, scene, _ in found], np.int32),
            others=np.array([others for _, _, others in found], np.int32),
        )
        for row, (person, _, _) in enumerate(found):
            if person is not None:
                track.square[row], track.landmarks[row], track.mask[row] = person
        return track


class _Person(NamedTuple):
    """Somebody in an image: square (4,), landmarks (33, 4) and mask (MASK, MASK)."""

    square: np.ndarray
    landmarks: np.ndarray
    mask: np.ndarray


class _Search:
    """A person who is followed from image to image, `rate` of them a second."""

    def __init__(self, finder: PersonFinder, rate: float, backend: str | None = None):
        self.finder, self.rate = finder, rate
        self.detector, self.landmarker = load_networks(
            backend=backend, threads=torch.get_num_threads()
        )
        self.small: np.ndarray | None = None
        self.square: np.ndarray | None = None  # where to look in the next image
        self.scene = self.others = 0
        self.since = self.empty = 0  # images since the detector looked, and in which it saw nobody

    def step(self, image: np.ndarray) -> tuple[_Person | None, int, int]:
        """Look at the next image: the person, how many cuts came before, how many others."""
        fits = image.ndim > 1 and image.shape[2:] in ((), (3,)) and 0 not in image.shape
        if not fits or image.dtype != np.uint8:
            raise ValueError(
                f"a frame of {image.dtype} and shape {image.shape}; give (H, W) or (H, W, 3) uint8"
            )
        self._notice_cut(image)
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
        image = denoised(image, self.finder.least_noise)
        person, self.since = None, self.since + 1
        if self.square is not None and self.since >= self.rate:
            person = self._look_around(image)
        if person is None and self.square is not None:
            person = self._follow(image)
        if person is None:
            person = self._start(image)
        return person, self.scene, self.others

    def _notice_cut(self, image: np.ndarray) -> None:
        small = cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        if self.small is not None and np.abs(small - self.small).mean() > self.finder.cut:
            self.square, self.scene = None, self.scene + 1
        self.small = small

    def _start(self, image: np.ndarray) -> _Person | None:
        """Find somebody anew: the first of the detected who has a body."""
        for squares in self._sought(image):
            for square in squares[:TRIES]:
                if person := self._begin(image, square):
                    self.others = len(squares) - 1
                    return person
        self.others = 0
        return None

    def _sought(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Detect in the whole image, then in one of more contrast, and now and then in its parts,
        where small people are larger."""
        yield self._detect(image)
        raised = stretched(image, self.finder.least_range)
        yield self._detect(raised)
        if self.empty % max(1, round(self.rate * PARTS_EVERY)) == 0:
            yield _apart([self._detect(raised, part) for part in parts_of(*image.shape[:2])])
        self.empty += 1

    def _begin(self, image: np.ndarray, square: np.ndarray) -> _Person | None:
        self.square, self.filter = square, OneEuro(self.rate)
        return self._follow(image)

    def _look_around(self, image: np.ndarray) -> _Person | None:
        """Count the others, and turn to one who is clearly larger than the person followed."""
        assert self.square is not None
        squares, before = self._detect(image), (self.square, self.filter)
        away = np.hypot(*(squares[:, :2] - self.square[:2]).T) > SAME * self.square[2]
        self.others = int(away.sum())
        if self.others and away[0] and squares[0, 2] > LARGER * self.square[2]:
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
        there = np.flatnonzero(scores >= (self.finder.sure if part else self.finder.detected))
        boxes = out["boxes"][0][there] / DETECTOR
        boxes[:, :2] += ANCHORS[there]
        boxes[:, 4:] += np.tile(ANCHORS[there], 4)
        points, scores = _merged(boxes, scores[there])
        points = points * side + np.tile([x - side / 2, y - side / 2], 2)
        squares = np.array([square_around(p[:2], p[2:]) for p in points]).reshape(-1, 4)
        unsure = scores < scores.max(initial=0) - DOUBT
        return squares[np.lexsort((-squares[:, 2], unsure))]

    def _follow(self, image: np.ndarray) -> _Person | None:
        """Find the person in the square, and the next square; forget it when nobody is in it."""
        square, self.square = self.square, None
        assert square is not None
        if not (np.isfinite(square).all() and square[2] >= SMALLEST):
            return None
        cut, matrix = crop(image, square, CROP, edge=True)
        out = self.landmarker(_batch(cut, 255.0, 0))
        if out["flag"].item() < self.finder.followed:
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
        return _Person(square, landmarks, (mask * 255).round().astype(np.uint8))


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


@dataclass(frozen=True)
class PersonReader:
    """What readers share that show a person: who finds him, and where somebody is.

    Args:
        finder: Finds the person.
    """

    finder: PersonFinder = field(default_factory=PersonFinder)

    def look(self, video: Path | np.ndarray, fps: float | None = None) -> Mapping[str, np.ndarray]:
        """Find the person in a whole video; see `PersonFinder.look`."""
        return self.finder.look(video, fps)

    def there(self, found: Mapping[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
        """Tell at which of some frames (T,) somebody is there, as bool (T,)."""
        track = PersonTrack.of(found)
        return track.presence[track.at(frames)]

    def shows(self, found: Mapping[str, np.ndarray], frames: np.ndarray) -> bool:
        """Tell whether a clip of these frames shows somebody long enough to be classified."""
        return bool(self.there(found, frames).mean() >= EMPTIEST)

    def span(self, found: Mapping[str, np.ndarray], start: int, stop: int) -> tuple[int, int]:
        """Return the part of start..stop in which somebody is there, all of it when nobody is.

        A classifier that is shown empty frames before and after somebody learns how long he was in
        the image instead of what he does.
        """
        looked = found["frames"]
        inside = looked[(looked >= start) & (looked < stop)]
        inside = inside[self.there(found, inside)] if len(inside) else inside
        if not len(inside):
            return start, stop
        apart = int(np.median(np.diff(looked))) if len(looked) > 1 else 1
        return int(inside[0]), min(int(inside[-1]) + apart, stop)
