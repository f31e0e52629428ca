"""A parametric human body: segment lengths of a person and the positions of his joints for given
angles.

Knows anatomy and trigonometry; knows nothing of actions, cameras or images. Lengths in metres,
angles in radians, body frame: x forward, y to the person's left, z up, the pelvis at the origin.

Segment lengths are fractions of stature after Drillis and Contini (1966) as printed in Winter,
"Biomechanics and Motor Control of Human Movement", 4th ed. (2009), fig. 4.1.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray

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
    wrist to the middle of the fist, `arm` from the shoulder to the wrist.
    """

    stature: float = 1.75
    girth: float = 1.0
    shoulders: float = 1.0
    legs: float = 1.0
    thigh: float = field(init=False)
    shank: float = field(init=False)
    foot: float = field(init=False)
    sole: float = field(init=False)
    trunk: float = field(init=False)
    upper_arm: float = field(init=False)
    forearm: float = field(init=False)
    arm: float = field(init=False)
    hand: float = field(init=False)
    half_shoulders: float = field(init=False)
    half_hips: float = field(init=False)

    def __post_init__(self) -> None:
        h = self.stature
        vars(self).update(
            thigh=0.245 * h * self.legs,
            shank=0.246 * h * self.legs,
            foot=0.152 * h,
            sole=0.039 * h,
            trunk=0.288 * h * (2 - self.legs),
            upper_arm=0.186 * h,
            forearm=0.146 * h,
            arm=0.186 * h + 0.146 * h,
            hand=0.055 * h,
            half_shoulders=0.112 * h * self.shoulders,
            half_hips=0.055 * h,
        )


def direction(pitch: ndarray, side: ndarray | float = 0.0) -> ndarray:
    """Unit vectors (F, 3) that hang straight down at pitch 0 and swing forward with it; `side`
    leans them left."""
    pitch, side = np.broadcast_arrays(np.asarray(pitch, float), side)
    return np.stack(
        [np.sin(pitch) * np.cos(side), np.sin(side), -np.cos(pitch) * np.cos(side)], axis=-1
    )


def rotate_about_z(points: ndarray, angle: ndarray | float) -> ndarray:
    """Turn points (..., 3) to the left by `angle` (broadcast over the leading axes)."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack(np.broadcast_arrays(cos * x - sin * y, sin * x + cos * y, z), axis=-1)


def trunk(
    build: Build, *, lean: ndarray, twist: ndarray | float, nod: ndarray | float = 0.0
) -> ndarray:
    """Joints (F, J, 3) with pelvis, neck, head, shoulders and hips set; the limbs are still at the
    origin."""

    def up(angle: ndarray) -> ndarray:
        return np.stack([np.sin(angle), np.zeros(len(lean)), np.cos(angle)], axis=-1)

    joints = np.zeros((len(lean), len(JOINTS), 3))
    joints[:, JOINT["neck"]] = neck = up(lean) * build.trunk
    joints[:, JOINT["head"]] = neck + up(lean + nod) * 0.115 * build.stature
    base = neck - up(lean) * 0.028 * build.stature
    for side, sign in SIDES:
        shoulder, hip = np.array([0, sign, 0]) * [[build.half_shoulders], [build.half_hips]]
        _set(
            joints,
            side,
            shoulder=base + rotate_about_z(shoulder, twist),
            hip=rotate_about_z(hip, -0.5 * twist),
        )
    return joints


def _set(joints: ndarray, side: str, **places: ndarray) -> None:
    for name, place in places.items():
        joints[:, JOINT[f"{side}_{name}"]] = place


def set_leg(joints: ndarray, build: Build, side: str, *, hip, knee, ankle, spread=0.0) -> None:
    """Write knee, ankle, heel and toe of one leg from flexion angles (F,); `spread` is
    abduction."""
    outward = spread if side == "left" else -spread
    knee_at = joints[:, JOINT[f"{side}_hip"]] + build.thigh * direction(hip, outward)
    ankle_at = knee_at + build.shank * direction(hip - knee, outward)
    pitch = hip - knee + ankle  # of the sole: 0 is flat, positive lifts the toe
    along = np.stack([np.cos(pitch), np.full(len(pitch), np.sin(outward)), np.sin(pitch)], axis=-1)
    sole = ankle_at + direction(pitch) * (build.sole * 0.55)
    heel, toe = sole - along * build.foot * 0.22, sole + along * build.foot * 0.62
    _set(joints, side, knee=knee_at, ankle=ankle_at, heel=heel, toe=toe)


def set_arm(joints: ndarray, build: Build, side: str, *, shoulder, elbow, spread=0.15) -> None:
    """Write elbow, wrist and hand of one arm from flexion angles (F,) in the plane of walking."""
    outward = spread if side == "left" else -spread
    elbow_at = joints[:, JOINT[f"{side}_shoulder"]] + build.upper_arm * direction(shoulder, outward)
    forearm = direction(shoulder + elbow, -0.6 * np.asarray(outward))
    _finish_arm(joints, build, side, elbow_at, elbow_at + build.forearm * forearm)


def reach(joints: ndarray, build: Build, side: str, *, target: ndarray, hint: ndarray) -> None:
    """Bend one arm so that its wrist is at `target` (F, 3) or as near as its length allows, the
    elbow towards `hint`.

    Two-bone inverse kinematics by the law of cosines.
    """
    start = joints[:, JOINT[f"{side}_shoulder"]]
    towards = target - start
    distance = np.linalg.norm(towards, axis=-1, keepdims=True)
    upper, fore = build.upper_arm, build.forearm
    along = _unit(towards)
    distance = np.clip(distance, abs(upper - fore) + 0.02, 0.998 * (upper + fore))
    cosine = (upper**2 + distance**2 - fore**2) / (2 * upper * distance)
    across = _unit(hint - along * np.sum(hint * along, axis=-1, keepdims=True))
    elbow_at = start + upper * (cosine * along + np.sqrt(np.clip(1 - cosine**2, 0, 1)) * across)
    _finish_arm(joints, build, side, elbow_at, start + along * distance)


def _finish_arm(
    joints: ndarray, build: Build, side: str, elbow_at: ndarray, wrist_at: ndarray
) -> None:
    hand_at = wrist_at + _unit(wrist_at - elbow_at) * build.hand
    _set(joints, side, elbow=elbow_at, wrist=wrist_at, hand=hand_at)


def _unit(vectors: ndarray) -> ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def clearance(joints: ndarray) -> ndarray:
    """Height (F,) of the lowest point of both feet over the pelvis's origin; negative, for the
    pelvis hangs above."""
    feet = [JOINT[f"{side}_{part}"] for side, _ in SIDES for part in ("heel", "toe")]
    return joints[:, feet, 2].min(axis=1) - 0.02  # 2 cm of sole under the joint
