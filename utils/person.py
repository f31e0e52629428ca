"""The person in a video: who finds him, and where he is at each frame that was looked at.

Knows videos, cuts between scenes, and tracks of a person: squares, 33 landmarks, masks, and how the
camera moved. Does not know how somebody is found in an image (`utils.person_search`), nor actions,
models or segments.

A video is searched in stretches of two seconds side by side, each of which begins anew; where one
does not begin with the person whom the stretch before it followed, it is searched again by going on
from there. So what is found does not depend on the number of threads.

Places are in pixels whose centres lie at .5, so that 0 is the image's edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from data.video import USUAL_FPS, probe, spaced, stream
from utils.blazepose import Runner, fingerprint, load_networks
from utils.camera import RESTS, Box, camera_motion, carried
from utils.encoder import ROUNDS, side_by_side
from utils.person_search import LANDMARKS, MASK, SAME, Found, Search, SearchSettings, crop_matrix

STRETCH = 2.0  # seconds that are searched from the first look to the last
LARGEST = 1280  # pixels of an image's longer side; larger images are scaled down
MARGIN = 0.1  # of the square's side, around the landmarks: there the background is not trusted
# what a track has for each look
ROWS = ("frames", "square", "landmarks", "mask", "scene", "others", "camera")
NO_IMAGE = np.zeros((0, 0), np.uint8)  # in the place of one that was searched
# landmarks that are joined in a drawing of the body: shoulders, arms, trunk and legs
BONES = (
    *((11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24)),
    *((23, 25), (25, 27), (24, 26), (26, 28)),
)
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
        camera: How the camera moved since the look before, as `utils.camera.camera_motion` has it
            (N, 2, 3); the identity where it rests.
    """

    frames: np.ndarray
    fps: float
    size: tuple[int, int]
    square: np.ndarray
    landmarks: np.ndarray
    mask: np.ndarray
    scene: np.ndarray
    others: np.ndarray
    camera: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as plain arrays, as `utils.features.look_at` keeps it."""
        return {part.name: np.asarray(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> PersonTrack:
        """Build the track that `arrays` described; KeyError when something is missing."""
        parts: dict[str, Any] = {part.name: arrays[part.name] for part in fields(cls)}
        height, width = map(int, parts["size"])
        return cls(**{**parts, "fps": float(parts["fps"]), "size": (height, width)})

    @classmethod
    def joined(cls, tracks: Sequence[PersonTrack]) -> PersonTrack:
        """Put tracks of a video together that follow one another, at least one."""
        last = tracks[-1]
        rows = {name: np.concatenate([getattr(one, name) for one in tracks]) for name in ROWS}
        return cls(fps=last.fps, size=last.size, **rows)

    def part(self, start: int, stop: int) -> PersonTrack:
        """Return what frames start..stop need: their rows and those next to them, with frames
        counted from start."""
        first = max(0, int(np.searchsorted(self.frames, start)) - 1)
        part = self.rows(first, int(np.searchsorted(self.frames, stop)) + 1)
        return replace(part, frames=part.frames - start)

    def rows(self, start: int, stop: int | None = None) -> PersonTrack:
        """Return the rows start..stop alone."""
        return replace(self, **{name: getattr(self, name)[start:stop] for name in ROWS})

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

    def carried(self, points: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Return where the camera's motion alone takes places (T, 2), from rows `start` (T,) to
        rows `stop` (T,)."""
        return carried(points, self.camera, start, stop)

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
class PersonFinder(SearchSettings):
    """Finds the largest person in a video and follows him; its settings are `SearchSettings`."""

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

    def follow(
        self, frames: Iterable[np.ndarray], fps: float, *, live: bool = False
    ) -> Iterator[PersonTrack]:
        """Follow a person through frames as they come, see `find`, and yield the track in pieces:
        of two seconds, or of one look when it is `live`, which is slower.

        No more than a piece a thread is held, so the video may be of any length.
        """
        looked = spaced(frames, self._step(fps))
        for rows in self._live(looked, fps) if live else self._stretches(looked, fps):
            yield _track(rows, fps)

    def _step(self, fps: float) -> float:
        """Return how many frames lie between two that are looked at."""
        if not fps > 0:
            raise ValueError(f"fps is {fps}; it takes frames a second, above 0")
        return max(1.0, fps / self.rate)

    def _search(
        self, frames: Iterator[tuple[int, np.ndarray]], fps: float, backend: str | None = None
    ) -> PersonTrack:
        found = self._stretches(frames, fps, backend, rounds=ROUNDS)
        return _track([row for rows in found for row in rows], fps)

    def _stretches(
        self,
        frames: Iterator[tuple[int, np.ndarray]],
        fps: float,
        backend: str | None = None,
        rounds: int = 1,
    ) -> Iterator[tuple[_Row, ...]]:
        """Search stretch by stretch; `rounds` as `side_by_side` has them."""
        rate, networks = fps / self._step(fps), self._networks(backend)
        asked = _stretches(_looks(frames, self.cut), max(1, round(STRETCH * rate)))
        last: _Stretch | None = None

        def begin(stretch: _Stretch) -> _Stretch:
            return stretch.searched(Search(self, networks, rate))

        with closing(side_by_side(begin, asked, torch.get_num_threads(), rounds)) as searched:
            for stretch in searched:
                if last is not None and not last.leads_to(stretch):
                    stretch = stretch.searched(last.search)
                yield stretch.rows
                last = stretch

    def _live(
        self, frames: Iterator[tuple[int, np.ndarray]], fps: float
    ) -> Iterator[tuple[_Row, ...]]:
        """Search image by image in the calling thread."""
        rate = fps / self._step(fps)
        search = Search(self, self._networks(), rate)
        for one in _stretches(_looks(frames, self.cut), 1):
            yield one.searched(search).rows

    def _networks(self, backend: str | None = None) -> tuple[Runner, Runner]:
        if self.weights != (here := fingerprint()):
            raise ValueError(f"the person finder has weights {here} here, not {self.weights}")
        return load_networks(backend=backend)


class _Look(NamedTuple):
    """A frame that is looked at.

    Args:
        number: The frame's.
        size: Its height and width.
        scale: By how much the image is scaled down.
        image: The image that is searched.
        scene: How many cuts came before.
    """

    number: int
    size: tuple[int, int]
    scale: float
    image: np.ndarray
    scene: int


class _Row(NamedTuple):
    """What was found at a look: the person, how many others, and how the camera moved."""

    look: _Look
    person: Found | None
    others: int
    camera: np.ndarray


@dataclass(frozen=True)
class _Stretch:
    """Looks that are searched one after another.

    Args:
        looks: The looks.
        before: The look before the first; None at the video's start.
        rows: What was found at each.
        search: Whoever searched; it knows whom it follows.
    """

    looks: list[_Look]
    before: _Look | None
    rows: tuple[_Row, ...] = ()
    search: Search | None = None

    def searched(self, search: Search) -> _Stretch:
        """Search with somebody who may follow a person already."""
        rows: list[_Row] = []
        last, box = self.before, None
        for look in self.looks:
            if last is not None and look.scene != last.scene:
                search.forget()
            person, others = search.step(look.image)
            before, box = box, _body(person)
            camera = _moved(last, look, [one for one in (before, box) if one is not None])
            rows.append(_Row(look._replace(image=NO_IMAGE), person, others, camera))
            last = look
        return replace(self, rows=tuple(rows), search=search)

    def leads_to(self, later: _Stretch) -> bool:
        """Tell whether the next stretch begins with the person whom this one follows, if any."""
        assert self.search is not None
        square, first = self.search.square, later.rows[0]
        if square is None or first.look.scene != self.rows[-1].look.scene:
            return True
        if first.person is None:
            return False
        return bool(np.hypot(*(first.person.square - square)[:2]) <= SAME * square[2])


def _looks(frames: Iterator[tuple[int, np.ndarray]], cut: float) -> Iterator[_Look]:
    """Check frames, scale the large ones down, and count the cuts between them."""
    small, scene = None, 0
    for number, image in frames:
        fits = image.ndim > 1 and image.shape[2:] in ((), (3,)) and 0 not in image.shape
        if not fits or image.dtype != np.uint8:
            raise ValueError(
                f"a frame of {image.dtype} and shape {image.shape}; give (H, W) or (H, W, 3) uint8"
            )
        height, width = image.shape[:2]
        scale = min(1.0, LARGEST / max(height, width))
        if scale < 1:
            size = max(1, round(scale * width)), max(1, round(scale * height))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        last, small = small, cv2.resize(image, (32, 24), interpolation=cv2.INTER_AREA)
        if last is not None and last.shape == small.shape:
            scene += int(cv2.absdiff(last, small).mean() > cut)
        yield _Look(number, (height, width), scale, image, scene)


def _stretches(looks: Iterator[_Look], length: int) -> Iterator[_Stretch]:
    """Put looks together, `length` at a time."""
    before = None
    while some := list(islice(looks, length)):
        yield _Stretch(some, before)
        before = some[-1]


def _body(person: Found | None) -> Box | None:
    """Return the box in which the person's pixels are, with a margin."""
    if person is None:
        return None
    points, margin = person.landmarks[:, :2], MARGIN * float(person.square[2])
    left, top = (points.min(0) - margin).tolist()
    right, bottom = (points.max(0) + margin).tolist()
    return left, top, right, bottom


def _moved(last: _Look | None, look: _Look, people: Sequence[Box]) -> np.ndarray:
    """Return how the camera moved between two looks, in pixels of the frames."""
    if last is None or last.scene != look.scene:
        return RESTS
    motion = camera_motion(_grey(last.image), _grey(look.image), people).copy()
    motion[:, 2] /= look.scale
    return motion


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def _track(rows: Sequence[_Row], fps: float) -> PersonTrack:
    """Put together what was found at N looks, in pixels of the frames."""
    n = len(rows)
    track = PersonTrack(
        frames=np.array([row.look.number for row in rows], np.int64),
        fps=fps,
        size=rows[-1].look.size if rows else (0, 0),
        square=np.full((n, 4), np.nan, np.float32),
        landmarks=np.full((n, LANDMARKS, 4), np.nan, np.float32),
        mask=np.zeros((n, MASK, MASK), np.uint8),
        scene=np.array([row.look.scene for row in rows], np.int32),
        others=np.array([row.others for row in rows], np.int32),
        camera=np.array([row.camera for row in rows], np.float32).reshape(n, 2, 3),
    )
    for at, row in enumerate(rows):
        if row.person is not None:
            track.square[at], track.landmarks[at], track.mask[at] = row.person
            track.square[at, :3] /= row.look.scale
            track.landmarks[at, :, :3] /= row.look.scale
    return track


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
