"""A reader that shows the person alone: everything else is one flat grey.

Knows frames and a person's track. Does not know how he is found (`utils.person`), nor actions or
models. What stands behind people is what a classifier stumbles over that was trained before plain
grounds; with the ground gone it needs no other training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from utils.person import PersonReader, PersonTrack
from utils.person_search import MASK, STANDING, crop_matrix
from utils.preprocessing import Footage, GreyFrames

TALL = 0.7  # stature of a normalised person, in heights of the image: arms raised still fit


@dataclass(frozen=True)
class PersonImages(PersonReader):
    """What readers share that show a person in images: they change frames by his track."""

    def read(
        self,
        video: Footage,
        index_lists: Sequence[np.ndarray],
        found: Mapping[str, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Read lists of frames in one pass, (len(list), H, W) uint8 each, changed.

        Raises VideoError when the file cannot give the frames.
        """
        track = PersonTrack.of(self.look(video) if found is None else found)
        clips = GreyFrames().read(video, index_lists)
        rows = [track.at(np.asarray(indices)) for indices in index_lists]
        return [self._clip(track, *clip) for clip in zip(clips, rows, strict=True)]

    def _clip(self, track: PersonTrack, frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Change frames (T, H, W), given the track's row of each (T,), in place: those of a film
        in high resolution need much memory."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cutout(PersonImages):
    """Grey frames in which all but the person is flat grey; where nobody is, the whole frame is.

    Args:
        finder: See `PersonReader`.
        grey: Level of the ground, 0 to 255; by default the mean of KTH-Synth's lawns.
        grow: How far the person's mask is widened, in sides of the square around him, which is
            about 1.25 times his stature.
        normalise: Bring him to one place and one stature, `TALL` of the image's height: each
            frame is moved so that his hips are in the middle, and all frames of a clip are
            enlarged alike, so that nothing pulses.
    """

    grey: int = 131
    grow: float = 0.0
    normalise: bool = False

    def __post_init__(self):
        if not 0 <= self.grey <= 255 or self.grow < 0:
            raise ValueError(
                f"grey is {self.grey} and grow {self.grow}; they take 0 to 255, and 0 or more"
            )

    def _clip(self, track: PersonTrack, frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Cut the person out of frames (T, H, W), given the track's row of each (T,)."""
        there = track.presence[rows]
        frames[~there] = self.grey
        if not there.any():
            return frames
        side = float(np.median(track.square[rows[there], 2]))
        for place in np.flatnonzero(there):
            square = track.square[rows[place]]
            moved = np.identity(3)  # from numbers of the frame's pixels to those of the result's
            if self.normalise:
                moved = bring_to_middle(square, side, frames.shape[1:])
            frames[place] = self._cut(frames[place], track.mask[rows[place]], square, moved)
        return frames

    def _cut(
        self, frame: np.ndarray, mask: np.ndarray, square: np.ndarray, moved: np.ndarray
    ) -> np.ndarray:
        (height, width), reach = frame.shape, round(self.grow * MASK)
        if reach:
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
            mask = cv2.dilate(mask, disc)
        to_result = (moved @ np.vstack([crop_matrix(square, MASK), [0, 0, 1]]))[:2]
        share = cv2.warpAffine(mask.astype(np.float32) / 255, to_result, (width, height))
        if self.normalise:
            edge = cv2.BORDER_REPLICATE
            frame = cv2.warpAffine(frame, moved[:2], (width, height), borderMode=edge)
        return np.round(frame * share + self.grey * (1 - share)).astype(np.uint8)


def bring_to_middle(square: np.ndarray, side: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return the matrix (3, 3) from a frame's pixels to those of one of the same shape in which the
    person's hips are in the middle, and somebody whose square has this side is TALL."""
    height, width = shape
    scale = TALL * height * STANDING / side
    moved = np.diag([scale, scale, 1.0])
    moved[:2, 2] = np.array([width, height]) / 2 - scale * square[:2]
    moved[:2, 2] += (scale - 1) / 2  # pixels' centres lie at .5
    return moved
