"""A parametric human body: segment lengths of a person and the positions of his joints for given
angles.

Knows anatomy and trigonometry; knows nothing of actions, cameras or images. Lengths in metres,
angles in radians, body frame: x forward, y to the person's left, z up, the pelvis at the origin.

Segment lengths are fractions of stature after Drillis and Contini (1966) as printed in Winter,
"Biomechanics and Motor Control of Human Movement", 4th ed. (2009), fig. 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

JOINTS = (
    "pelvis",
    "neck",
    "head",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hand",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_heel",
    "left_toe",
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_heel",
    "right_toe",
)
JOINT = {name: index for index, name in enumerate(JOINTS)}
SIDES = (("left", 1.0), ("right", -1.0))


@dataclass(frozen=True)
class Build:
    """Proportions of one person: stature in metres, girth, shoulder width and leg length relative
    to the average.

    The lengths that follow from them are attributes in metres; `sole` is the height of the ankle
    over the ground, `trunk` reaches from the hip axis to the base of the neck, `hand` from the
    wrist to the middle of the fist.
    """

    stature: float = 1.75
    girth: float = 1.0
    shoulders: float = 1.0
    legs: float = 1.0
    thigh: float = field(init=False, repr=False, compare=False)
    shank: float = field(init=False, repr=False, compare=False)
    foot: float = field(init=False, repr=False, compare=False)
    sole: float = field(init=False, repr=False, compare=False)
    trunk: float = field(init=False, repr=False, compare=False)
    upper_arm: float = field(init=False, repr=False, compare=False)
    forearm: float = field(init=False, repr=False, compare=False)
    hand: float = field(init=False, repr=False, compare=False)
    half_shoulders: float = field(init=False, repr=False, compare=False)
    half_hips: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        h = self.stature
        lengths = {
            "thigh": 0.245 * h * self.legs,
            "shank": 0.246 * h * self.legs,
            "foot": 0.152 * h,
            "sole": 0.039 * h,
            "trunk": 0.288 * h * (2 - self.legs),
            "upper_arm": 0.186 * h,
            "forearm": 0.146 * h,
            "hand": 0.055 * h,
            "half_shoulders": 0.112 * h * self.shoulders,
            "half_hips": 0.055 * h,
        }
        for name, length in lengths.items():
            object.__setattr__(self, name, length)


def direction(pitch: np.ndarray, side: np.ndarray | float = 0.0) -> np.ndarray:
    """Unit vectors (F, 3) that hang straight down at pitch 0 and swing forward with it; `side`
    leans them left."""
    pitch, side = np.broadcast_arrays(np.asarray(pitch, float), side)
    return np.stack(
        [np.sin(pitch) * np.cos(side), np.sin(side), -np.cos(pitch) * np.cos(side)], axis=-1
    )


def rotate_about_z(points: np.ndarray, angle: np.ndarray | float) -> np.ndarray:
    """Turn points (..., 3) to the left by `angle` (broadcast over the leading axes)."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack(np.broadcast_arrays(cos * x - sin * y, sin * x + cos * y, z), axis=-1)


def trunk(
    build: Build, *, lean: np.ndarray, twist: np.ndarray, nod: np.ndarray | float = 0.0
) -> np.ndarray:
    """Joints (F, J, 3) with pelvis, neck, head, shoulders and hips set; the limbs are still at the
    origin."""
    frames = len(lean)
    joints = np.zeros((frames, len(JOINTS), 3))
    up = np.stack([np.sin(lean), np.zeros(frames), np.cos(lean)], axis=-1)
    joints[:, JOINT["neck"]] = up * build.trunk
    head = np.stack([np.sin(lean + nod), np.zeros(frames), np.cos(lean + nod)], axis=-1)
    joints[:, JOINT["head"]] = joints[:, JOINT["neck"]] + head * 0.115 * build.stature
    for side, sign in SIDES:
        across = np.tile([0.0, sign * build.half_shoulders, 0.0], (frames, 1))
        drop = up * 0.028 * build.stature
        joints[:, JOINT[f"{side}_shoulder"]] = (
            joints[:, JOINT["neck"]] - drop + rotate_about_z(across, twist)
        )
        hips = np.tile([0.0, sign * build.half_hips, 0.0], (frames, 1))
        joints[:, JOINT[f"{side}_hip"]] = rotate_about_z(hips, -0.5 * twist)
    return joints


def set_leg(joints: np.ndarray, build: Build, side: str, *, hip, knee, ankle, spread=0.0) -> None:
    """Write knee, ankle, heel and toe of one leg from flexion angles (F,); `spread` is
    abduction."""
    outward = spread if side == "left" else -spread
    knee_at = joints[:, JOINT[f"{side}_hip"]] + build.thigh * direction(hip, outward)
    ankle_at = knee_at + build.shank * direction(hip - knee, outward)
    pitch = hip - knee + ankle  # of the sole: 0 is flat, positive lifts the toe
    along = np.stack([np.cos(pitch), np.full(len(pitch), np.sin(outward)), np.sin(pitch)], axis=-1)
    down = np.stack([np.sin(pitch), np.zeros(len(pitch)), -np.cos(pitch)], axis=-1)
    sole = ankle_at + down * (build.sole * 0.55)
    joints[:, JOINT[f"{side}_knee"]], joints[:, JOINT[f"{side}_ankle"]] = knee_at, ankle_at
    joints[:, JOINT[f"{side}_heel"]] = sole - along * build.foot * 0.22
    joints[:, JOINT[f"{side}_toe"]] = sole + along * build.foot * 0.62


def set_arm(joints: np.ndarray, build: Build, side: str, *, shoulder, elbow, spread=0.15) -> None:
    """Write elbow, wrist and hand of one arm from flexion angles (F,) in the plane of walking."""
    outward = spread if side == "left" else -spread
    elbow_at = joints[:, JOINT[f"{side}_shoulder"]] + build.upper_arm * direction(shoulder, outward)
    forearm = direction(shoulder + elbow, -0.6 * np.asarray(outward))
    _finish_arm(joints, build, side, elbow_at, elbow_at + build.forearm * forearm)


def reach(
    joints: np.ndarray, build: Build, side: str, *, target: np.ndarray, hint: np.ndarray
) -> None:
    """Bend one arm so that its wrist is at `target` (F, 3) or as near as its length allows, the
    elbow towards `hint`.

    Two-bone inverse kinematics by the law of cosines.
    """
    start = joints[:, JOINT[f"{side}_shoulder"]]
    towards = target - start
    distance = np.linalg.norm(towards, axis=-1, keepdims=True)
    upper, fore = build.upper_arm, build.forearm
    along = towards / np.maximum(distance, 1e-6)
    distance = np.clip(distance, abs(upper - fore) + 0.02, 0.998 * (upper + fore))
    cosine = (upper**2 + distance**2 - fore**2) / (2 * upper * distance)
    across = hint - along * np.sum(hint * along, axis=-1, keepdims=True)
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
    elbow_at = start + upper * (cosine * along + np.sqrt(np.clip(1 - cosine**2, 0, 1)) * across)
    _finish_arm(joints, build, side, elbow_at, start + along * distance)


def _finish_arm(
    joints: np.ndarray, build: Build, side: str, elbow_at: np.ndarray, wrist_at: np.ndarray
) -> None:
    forearm = (wrist_at - elbow_at) / np.linalg.norm(wrist_at - elbow_at, axis=-1, keepdims=True)
    joints[:, JOINT[f"{side}_elbow"]], joints[:, JOINT[f"{side}_wrist"]] = elbow_at, wrist_at
    joints[:, JOINT[f"{side}_hand"]] = wrist_at + forearm * build.hand


def clearance(joints: np.ndarray) -> np.ndarray:
    """Height (F,) of the lowest point of both feet over the pelvis's origin; negative, for the
    pelvis hangs above."""
    feet = [JOINT[f"{side}_{part}"] for side, _ in SIDES for part in ("heel", "toe")]
    return joints[:, feet, 2].min(axis=1) - 0.02  # 2 cm of sole under the joint
