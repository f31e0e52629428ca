"""A reader that follows the person: each frame moved and enlarged so that he keeps place and size.

Knows frames and a person's track. Unlike `utils.cutout` the ground stays, and with the person's way
gone it is told in numbers beside the images: how fast he moves, in statures a second. Does not know
how he is found (`utils.person`), nor actions or models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from utils.cutout import PersonImages, bring_to_middle
from utils.person import PersonTrack
from utils.person_search import STANDING

FASTEST = 4.0  # statures a second; no runner is faster


@dataclass(frozen=True)
class Crop(PersonImages):
    """Grey frames that follow the person, and his speed; where nobody is, the frames as they are.

    All frames of a clip are enlarged alike, see `utils.cutout.bring_to_middle`.
    """

    def numbers(self, found: Mapping[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
        """Return speeds (T, 2) float32 at some frames: sideways, whichever way, and upwards, in
        statures a second; 0 where nobody is before or after."""
        track = PersonTrack.of(found)
        before, after = track.at(frames) - 1, track.at(frames) + 1
        before, after = before.clip(0), after.clip(0, len(track.frames) - 1)
        seconds = (track.frames[after] - track.frames[before]) / track.fps
        way = track.square[after, :2] - track.carried(track.square[before, :2], before, after)
        stature = (track.square[after, 2] + track.square[before, 2]) / 2 / STANDING
        speed = way / stature[:, None] / np.maximum(seconds, 1e-6)[:, None] * (1, -1)
        speed[:, 0] = np.abs(speed[:, 0])
        return np.nan_to_num(speed).clip(-FASTEST, FASTEST).astype(np.float32)

    def _clip(self, track: PersonTrack, frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Move frames (T, H, W) after the person, given the track's row of each (T,)."""
        there = track.presence[rows]
        side = float(np.median(track.square[rows[there], 2])) if there.any() else 0.0
        size = frames.shape[:0:-1]
        for place in np.flatnonzero(there):
            matrix = bring_to_middle(track.square[rows[place]], side, frames.shape[1:])[:2]
            frames[place] = cv2.warpAffine(
                frames[place], matrix, size, borderMode=cv2.BORDER_REPLICATE
            )
        return frames
