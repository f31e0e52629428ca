"""A reader that shows joints instead of images: where a body's parts are, and how they move.

Knows a person's track and how joints become numbers: 15 joints around the neck in torso lengths,
their speeds, the neck's own speed, and which of them are seen. Size and place in the image, ground,
clothes and light are gone. Does not know how a person is found (`utils.person`), nor actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from utils.person import PersonReader, PersonTrack
from utils.preprocessing import Footage

# the 15 joints, and the finder's landmarks whose mean each of them is
LANDMARKS_OF = {
    "head": (7, 8),
    "left_shoulder": (11,),
    "right_shoulder": (12,),
    "left_elbow": (13,),
    "right_elbow": (14,),
    "left_wrist": (15,),
    "right_wrist": (16,),
    "left_hip": (23,),
    "right_hip": (24,),
    "left_knee": (25,),
    "right_knee": (26,),
    "left_ankle": (27,),
    "right_ankle": (28,),
    "left_toe": (31,),
    "right_toe": (32,),
}
JOINTS = tuple(LANDMARKS_OF)
SHOULDERS, HIPS = [1, 2], [7, 8]
NUMBERS = 5 * len(JOINTS) + 2  # place, speed and mask of each joint, and the neck's speed
VISIBLE = 0.3  # least visibility of a landmark that counts as seen
MOST = np.array([5.0, 8.0, 12.0])  # torso lengths (a second) beyond which places and speeds are cut
SPEEDS = 3.0  # torso lengths a second that count as 1
SMALLEST = 2.0  # pixels: no torso is shorter


def joints_of(track: PersonTrack, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the joints (T, 15, 2) in pixels at rows of a track, and which are seen (T, 15)."""
    landmarks = np.nan_to_num(track.landmarks[rows])
    means = np.stack([landmarks[:, list(of)].mean(1) for of in LANDMARKS_OF.values()], 1)
    return means[..., :2], (means[..., 3] > VISIBLE) & track.presence[rows][:, None]


def bodies(seen: np.ndarray) -> np.ndarray:
    """Tell which steps (..., T) show both shoulders, given which joints are seen (..., T, 15)."""
    return np.asarray(seen[..., SHOULDERS].all(-1))


def joint_features(
    points: np.ndarray, seen: np.ndarray, rate: float, camera: np.ndarray | None = None
) -> np.ndarray:
    """Turn joints into what a classifier is shown of them: (..., T, 77) float32.

    Places are counted from the neck, the middle of the shoulders, right and up, in torso lengths;
    the torso's length is one number a clip, its median where the hips are seen. What is not seen,
    or has no shoulders to be counted from, is 0 and masked.

    Args:
        points: Columns and rows of the joints in pixels (..., T, 15, 2).
        seen: Which of them are seen (..., T, 15).
        rate: Steps a second.
        camera: How far the camera alone has moved the neck since the first step, in pixels
            (..., T, 2), which is no speed of his; None for a camera that rests.
    """
    neck, hips = (points[..., pair, :].mean(-2) for pair in (SHOULDERS, HIPS))
    body = bodies(seen)
    size = _torso(points, neck, hips, body, body & seen[..., HIPS].all(-1))
    up = np.array([1.0, -1.0])
    mask = seen & body[..., None]
    place = (points - neck[..., None, :]) / size[..., None, None] * up
    speed = _speed(place, mask, rate, -2)
    way = neck if camera is None else neck - camera
    neck_speed = _speed(way / size[..., None] * up, body, rate, -1)
    parts = (
        (place * mask[..., None]).clip(-MOST[0], MOST[0]),
        speed.clip(-MOST[1], MOST[1]) / SPEEDS,
        neck_speed.clip(-MOST[2], MOST[2])[..., None, :] / SPEEDS,
    )
    flat = [part.reshape(*part.shape[:-2], part.shape[-2] * part.shape[-1]) for part in parts]
    return np.concatenate([*flat, mask], -1).astype(np.float32)


def _torso(points, neck, hips, body, whole) -> np.ndarray:
    """Return the torso's length (..., 1): of frames with hips, else at least as the shoulders are
    wide."""
    length = np.linalg.norm(neck - hips, axis=-1)
    width = np.linalg.norm(points[..., 1, :] - points[..., 2, :], axis=-1)
    guess = np.maximum(_median(length, body), 1.2 * _median(width, body))
    enough = whole.sum(-1, keepdims=True) > 3
    return np.maximum(np.where(enough, _median(length, whole), guess), SMALLEST)


def _median(values: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return the median (..., 1) of the values marked (..., T); 0 where none is."""
    count = which.sum(-1, keepdims=True)
    ordered = np.sort(np.where(which, values, np.inf), -1)
    middles = [np.take_along_axis(ordered, k, -1) for k in ((count - 1).clip(0) // 2, count // 2)]
    return np.where(count > 0, (middles[0] + middles[1]) / 2, 0.0)


def _speed(places: np.ndarray, there: np.ndarray, rate: float, time: int) -> np.ndarray:
    """Return how fast places (..., 2) move a second along the axis `time` of `there` (...), 0 at
    the first step and where one of the two ends is not there."""
    steps = there.shape[time]
    both = there.take(range(1, steps), time) & there.take(range(steps - 1), time)
    moved = np.diff(places, axis=time - 1) * rate * both[..., None]
    return np.concatenate([np.zeros_like(places.take([0], time - 1)), moved], time - 1)


@dataclass(frozen=True)
class Pose(PersonReader):
    """Joints as numbers (T, 77) instead of images; see `joint_features`."""

    by_clip: ClassVar[bool] = True  # a step's numbers depend on the others of its clip

    def there(self, found: Mapping[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
        """Tell at which of some frames (T,) both shoulders are seen, as bool (T,)."""
        track = PersonTrack.of(found)
        return bodies(joints_of(track, track.at(frames))[1])

    def read(
        self,
        video: Footage,
        index_lists: Sequence[np.ndarray],
        found: Mapping[str, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Return the numbers (len(list), 77) float32 of each list of frames."""
        track = PersonTrack.of(self.look(video) if found is None else found)
        numbers = []
        for frames in index_lists:
            apart = np.median(np.diff(frames)) if len(frames) > 1 else 1
            rows = track.at(frames)
            points, seen = joints_of(track, rows)
            camera = _carried(track, rows, points[:, SHOULDERS].mean(1))
            numbers.append(joint_features(points, seen, track.fps / max(apart, 1), camera))
        return numbers


def _carried(track: PersonTrack, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return how far the camera has moved places (T, 2) at these rows since the first of them."""
    before, rows = places[:-1], np.asarray(rows)
    steps = track.carried(before, rows[:-1], rows[1:]) - before
    return np.concatenate([np.zeros((1, 2)), steps.cumsum(0)])
