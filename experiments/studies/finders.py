"""Other ways of finding the person, in front of the same classifier of cut-outs.

Knows what OpenCV brings: what moves before a resting ground (a mixture of Gaussians a pixel:
Zivkovic, "Improved Adaptive Gaussian Mixture Model for Background Subtraction", 2004), and people
upright (histograms of oriented gradients: Dalal and Triggs, 2005); and torchvision's small detector
(SSDlite: Sandler et al., "MobileNetV2", 2018, section 6.2), trained by its makers on COCO's
photographs. They give tracks as `utils.person` does, without landmarks, so that the same reader
cuts out by them. Nothing is trained or chosen on the clips of other places; every reading is a row
of results/real_clips.csv.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import URLError

import cv2
import numpy as np
import torch

from data.files import DEFAULT, place
from data.kth import ACTIONS, Segment, find_segments, select
from data.video import USUAL_FPS, probe, spaced, stream
from evaluation.predictions import Score
from experiments.recognisers import APPEARANCE, load_recogniser
from experiments.results import READINGS
from experiments.studies import accuracy_row
from experiments.studies.elsewhere import clips_of, log_reading
from tracking.measurements import Row
from utils.camera import RESTS
from utils.cutout import Cutout
from utils.features import look_at
from utils.person import PersonFinder, PersonTrack
from utils.person_search import LANDMARKS, MASK, STANDING, crop_matrix
from utils.predict import Fusion, Recogniser

RATE = 12.5  # frames a second that are looked at
LEAST = 0.01  # of the image's pixels: nobody is smaller
TALL_ENOUGH = (
    240  # rows to which an image is enlarged before upright people of 128 are sought in it
)
UPRIGHT = 0.3  # least score of somebody upright
PERSON, SURE = 1, 0.5  # torchvision's number of people, and the least score of one
BODY = 0.8  # of the upright window's height is the person: it has a margin
QUICK: dict[str, Any] = {"most": 1, "log": None}


@dataclass(frozen=True)
class BoxFinder:
    """Follows nobody: the largest box of each frame is the person, whoever that is."""

    rate: float = RATE

    def look(self, video: Path | np.ndarray, fps: float | None = None) -> dict[str, np.ndarray]:
        """Look at a whole video; see `PersonFinder.look`."""
        if isinstance(video, np.ndarray):
            fps = fps or USUAL_FPS
            frames = spaced(video, max(1.0, fps / self.rate))
        else:
            fps = fps or probe(video).fps
            frames = stream(video, max(1.0, fps / self.rate))
        numbers, found, size = [], [], (0, 0)
        for number, one in self.boxes(frames):
            numbers.append(number)
            found.append(one)
            size = one[1].shape
        n = len(numbers)
        square, mask = np.full((n, 4), np.nan, np.float32), np.zeros((n, MASK, MASK), np.uint8)
        for row, (box, share) in enumerate(found):
            if box is not None:
                x, y, width, height = box
                square[row] = (x + width / 2, y + height / 2, STANDING * max(width, height), 0)
                matrix = crop_matrix(square[row], MASK)
                mask[row] = cv2.warpAffine(
                    share, matrix, (MASK, MASK), flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
                )
        nothing = np.full((n, LANDMARKS, 4), np.nan, np.float32)
        none, rests = np.zeros(n, np.int32), np.tile(RESTS, (n, 1, 1))
        at = np.array(numbers, np.int64)
        return PersonTrack(at, fps, size, square, nothing, mask, none, none, rests).arrays()

    def boxes(
        self, frames: Iterator[tuple[int, np.ndarray]]
    ) -> Iterator[tuple[int, tuple[tuple[float, ...] | None, np.ndarray]]]:
        """Yield of each frame its number, a box (left, top, width, height) or None, and the share
        of each pixel (H, W) uint8 that is the person's."""
        raise NotImplementedError


@dataclass(frozen=True)
class Moving(BoxFinder):
    """Whoever moves before a resting ground, by his outline."""

    def boxes(
        self, frames: Iterator[tuple[int, np.ndarray]]
    ) -> Iterator[tuple[int, tuple[tuple[float, ...] | None, np.ndarray]]]:
        """See `BoxFinder.boxes`; holes are closed and shadows left out."""
        model = cv2.createBackgroundSubtractorMOG2(history=200, varThreshold=25)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
        for number, image in frames:
            moved = (np.asarray(model.apply(_grey(image))) == 255).astype(np.uint8)
            closed = cv2.morphologyEx(moved, cv2.MORPH_CLOSE, disc)
            _, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
            largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()) if len(stats) > 1 else 0
            area = stats[largest, cv2.CC_STAT_AREA] if largest else 0
            share = (labels == largest).astype(np.uint8) * 255
            enough = LEAST * closed.size <= area <= closed.size / 2
            box = tuple(map(float, stats[largest, :4])) if enough else None
            yield number, (box, share if enough else np.zeros_like(share))


@dataclass(frozen=True)
class Upright(BoxFinder):
    """Somebody upright, by a box: all that is in it is shown."""

    def boxes(
        self, frames: Iterator[tuple[int, np.ndarray]]
    ) -> Iterator[tuple[int, tuple[tuple[float, ...] | None, np.ndarray]]]:
        """See `BoxFinder.boxes`; the surest of a frame is taken."""
        sought = cv2.HOGDescriptor()
        sought.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector()))
        for number, image in frames:
            grey = _grey(image)
            scale = max(1.0, TALL_ENOUGH / min(grey.shape))
            large = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            people, scores = sought.detectMultiScale(large, winStride=(8, 8), scale=1.05)
            share, box = np.zeros_like(grey), None
            if len(people) and max(np.ravel(scores)) >= UPRIGHT:
                x, y, width, height = people[int(np.argmax(scores))] / scale
                share = _filled(grey, (x, y, width, height))
                middle, height = y + height / 2, BODY * height
                box = (x, middle - height / 2, width, height)
            yield number, (box, share)


@dataclass(frozen=True)
class Photographed(BoxFinder):
    """Whoever torchvision's detector is surest of, by a box: all that is in it is shown."""

    def boxes(
        self, frames: Iterator[tuple[int, np.ndarray]]
    ) -> Iterator[tuple[int, tuple[tuple[float, ...] | None, np.ndarray]]]:
        """See `BoxFinder.boxes`; OSError when the detector's weights cannot be fetched."""
        detector = _detector()
        for number, image in frames:
            order = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
            colour = cv2.cvtColor(image, order)
            with torch.inference_mode():
                (seen,) = detector([torch.from_numpy(colour).permute(2, 0, 1) / 255])
            people = (seen["labels"] == PERSON) & (seen["scores"] >= SURE)
            box, share = None, np.zeros(image.shape[:2], np.uint8)
            if people.any():
                surest = int((seen["scores"] * people).argmax())
                left, top, right, bottom = seen["boxes"][surest].tolist()
                box = (left, top, right - left, bottom - top)
                share = _filled(share, box)
            yield number, (box, share)


@lru_cache
def _detector() -> torch.nn.Module:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return ssdlite320_mobilenet_v3_large(weights="DEFAULT").eval()


def _filled(image: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """Mark a box (left, top, width, height) in an image's size, 255 (H, W)."""
    (left, top, width, height), share = box, np.zeros(image.shape[:2], np.uint8)
    rows = slice(max(0, round(top)), max(0, round(top + height)))
    share[rows, max(0, round(left)) : max(0, round(left + width))] = 255
    return share


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


FINDERS: dict[str, Any] = {
    "BlazePose": PersonFinder(),
    "what moves (MOG2)": Moving(),
    "somebody upright (HOG)": Upright(),
    "trained on photographs (SSDlite)": Photographed(),
}


def run(
    root: str | Path,
    *,
    elsewhere: str | Path | None = None,
    most: int | None = None,
    cache_dir: str | Path | None = DEFAULT,
    log: str | Path | None = DEFAULT,
) -> list[Row]:
    """Search by each finder, cut out, and name by the bundled classifier of whole images.

    A finder whose weights cannot be fetched is left out, with a warning.

    Args:
        root: KTH-Synth, of which validation persons' first segments are named.
        elsewhere: A folder <label>/<file>, of which the six actions' files are named too.
        most: How many of each; None takes all.
        cache_dir: Where looks are kept.
        log: Folder of the list of readings; None writes none.
    """
    recogniser, where = load_recogniser(APPEARANCE), place(cache_dir, "cache")
    segments = [s for s in select(find_segments(root), "validation") if s.index == 0][:most]
    clips = clips_of(Path(elsewhere)) if elsewhere is not None else []
    clips = [path for path in clips if path.parent.name in ACTIONS][:most]
    rows = []
    for name, finder in FINDERS.items():
        shown = replace(recogniser.shown, reader=Cutout(finder=finder))
        member = replace(recogniser, shown=shown)
        paths = [segment.video.path for segment in segments] + clips
        try:
            found = look_at(shown.reader, paths, cache_dir=where)
        except URLError as error:
            warnings.warn(f"{name} is left out: no weights ({error.reason})", stacklevel=2)
            continue
        known = [_right(member, found, segment) for segment in segments]
        rows.append(accuracy_row("validation persons, segments", name, [_score(known)]))
        there = np.concatenate([_there(found[s.video.path], s) for s in segments])
        rows.append(accuracy_row("frames that show somebody", name, [_score(there)]))
        if clips:
            known = [_label(member, found, path) == path.parent.name for path in clips]
            task = "other places, files of the six actions"
            rows.append(accuracy_row(task, name, [_score(known)]))
            if log is not None:
                named = f"{Path(str(elsewhere)).name}: cut out by {name}"
                log_reading(place(log, "results") / READINGS, named, known)
        rows.append(_cost(name, finder, paths[0]))
    return sorted(rows, key=lambda row: row.task)


def _right(member: Recogniser, found: Mapping[Path, Any], segment: Segment) -> bool:
    return _label(member, found, segment.video.path, segment.start, segment.stop) == (
        segment.video.action
    )


def _label(
    member: Recogniser,
    found: Mapping[Path, Any],
    path: Path,
    start: int = 0,
    stop: int | None = None,
) -> str:
    """Name a video by its cut-outs, and as it is where nobody is found."""
    said = Fusion((member,), member.classes).predict(path, start, stop, found=found[path])
    return max(said.probs, key=lambda name: said.probs[name])


def _there(found: Mapping[str, np.ndarray], segment: Segment) -> np.ndarray:
    frames = found["frames"]
    inside = (frames >= segment.start) & (frames < segment.stop)
    return np.isfinite(found["square"][inside, 0])


def _score(right: Any) -> Score:
    return Score(int(np.sum(right)), len(right))


def _cost(name: str, finder: Any, path: Path) -> Row:
    """Time a finder's look at one file, a frame that is looked at."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        looked = len(finder.look(path)["frames"])
        times.append(1000 * (time.perf_counter() - started) / max(looked, 1))
    return Row.of("a frame that is looked at, one file", name, times, "ms")
