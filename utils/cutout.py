"""A reader that shows the person alone: everything but him is flat grey.

Knows frames and a person's track. Does not know how he is found (`utils.person`), nor actions or
models. Clutter behind people is what a classifier trained before plain grounds stumbles over; with
the ground gone, one that never saw clutter needs no other training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from utils.person import PersonFinder, PersonTrack
from utils.preprocessing import Footage, GreyFrames


@dataclass(frozen=True)
class Cutout:
    """Grey frames in which all but the person is flat grey; where nobody is, all of it.

    Args:
        ground: Grey level of what is not the person; by default the mean of KTH-Synth's lawns.
        finder: Finds him.
    """

    ground: int = 131
    finder: PersonFinder = field(default_factory=PersonFinder)

    def look(self, video: Footage, fps: float | None = None) -> Mapping[str, np.ndarray]:
        """Find the person in a whole video; see `PersonFinder.look`."""
        return self.finder.look(video, fps)

    def read(
        self,
        video: Footage,
        index_lists: Sequence[np.ndarray],
        found: Mapping[str, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Read lists of frames in one pass, (len(list), H, W) uint8 each, the person cut out."""
        track = PersonTrack.of(self.look(video) if found is None else found)
        read = GreyFrames().read(video, index_lists)
        return [
            np.stack(
                [self._cut(*pair, track) for pair in zip(frames, track.rows(indices), strict=True)]
            )
            for frames, indices in zip(read, index_lists, strict=True)
        ]

    def _cut(self, frame: np.ndarray, row: int, track: PersonTrack) -> np.ndarray:
        mask = track.mask_of(row)
        return np.round(frame * mask + self.ground * (1 - mask)).astype(np.uint8)
