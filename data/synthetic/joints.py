"""Joints of people who act, as a person finder would see them; nothing is drawn.

Knows performances (the six actions, wider than KTH-Synth's, and movements that are none of them),
cameras that stand, come close or follow, and what a finder does to joints: jitter, bias, limbs too
long, sides exchanged, the far arm copied or frozen, joints and frames lost. Does not know features
or classifiers. How a finder errs was learned by running it on rendered people (`python har.py study
finder` says how large its errors are, and these); no real frame was used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.kth import ACTIONS
from data.synthetic.body import JOINT, rotate_about_z
from data.synthetic.dataset import AUXILIARY_SPREAD, Person, camera_of, stage
from data.synthetic.motion import FPS, LOCOMOTION, drift, perform
from data.synthetic.moves import MOVES, box_freely, cross_freely
from data.synthetic.others import FRAMES, close_up, draw_moving
from data.synthetic.render import HEIGHT, WIDTH, Camera

NAMES = ("head",) + tuple(
    f"{side}_{part}"
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")
    for side in ("left", "right")
)
PLACES = [JOINT[name] for name in NAMES]
OTHER = len(ACTIONS)  # the label of a movement that is none of the six
AWAY = -1e6  # pixels: where the joints are of somebody who is not there yet
MIRRORED = [0, *(i + 1 if i % 2 else i - 1 for i in range(1, len(NAMES)))]
SHOULDERS, HIPS, LEGS = [1, 2], [7, 8], list(range(9, 15))
ARMS = ((3, 5), (4, 6))  # elbow and wrist of the left and of the right arm
# each limb's ends, nearer to the trunk first
LIMBS = ((1, 3), (3, 5), (2, 4), (4, 6), (7, 9), (9, 11), (11, 13), (8, 10), (10, 12), (12, 14))


@dataclass(frozen=True)
class Performances:
    """N performances in pixels of KTH's images at 25 frames a second.

    Args:
        points: Joints (N, FRAMES, 15, 2), AWAY where the actor is not there.
        length: Frames of each (N,).
        label: Its action, or OTHER (N,).
        kind: Name of the action or movement (N,).
        legs: Only the legs tell what it is (N,).
        goes: It crosses the image (N,).
        followed: The camera follows it (N,).
    """

    points: np.ndarray
    length: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    legs: np.ndarray
    goes: np.ndarray
    followed: np.ndarray

    def __len__(self) -> int:
        """Return the number of performances."""
        return len(self.label)


def draw_performances(seed: Sequence[int], actions: int, others: int) -> Iterator[tuple]:
    """Draw performances one by one, first of the six in turn, then of others.

    Args:
        seed: Of the random stream; no two sets of persons may share one.
        actions: How many of the six actions.
        others: How many that are none of them.

    Yields:
        Joints (F, 15, 2), label, kind, legs, goes, followed: see `gathered`.
    """
    rng = np.random.default_rng(list(seed))
    for number in range(actions):
        action = ACTIONS[number % len(ACTIONS)]
        points, goes, followed = _action(action, rng)
        yield _cut(points, goes, rng), ACTIONS.index(action), action, False, goes, followed
    for _ in range(others):
        kind = str(rng.choice(list(MOVES)))
        one = draw_moving(kind, rng)
        goes, points = one.move.goes, _seen(one.camera, one.joints)
        yield _cut(points, goes, rng), OTHER, kind, one.move.legs, goes, False


def gathered(performances: Sequence[tuple]) -> Performances:
    """Put performances together."""
    points = np.full((len(performances), FRAMES, len(NAMES), 2), AWAY, np.float32)
    for place, (one, *_) in zip(points, performances, strict=True):
        place[: len(one)] = one
    length = np.array([len(one) for one, *_ in performances])
    return Performances(points, length, *map(np.array, list(zip(*performances, strict=True))[1:]))


def _cut(points: np.ndarray, goes: bool, rng: np.random.Generator) -> np.ndarray:
    room = len(points) - FRAMES
    start = 0 if goes or room <= 0 else int(rng.integers(0, room))
    return points[start : start + FRAMES]


def _action(action: str, rng: np.random.Generator) -> tuple[np.ndarray, bool, bool]:
    """One of the six: joints in pixels, whether it crosses the image, whether it is followed."""
    person, scenario = Person.draw(rng, AUXILIARY_SPREAD), int(rng.integers(1, 5))
    camera = camera_of(action, scenario, rng, AUXILIARY_SPREAD)
    if action not in LOCOMOTION:
        joints = _standing_action(action, person, scenario, rng)
        camera = close_up(camera, person, rng) if rng.random() < 0.5 else camera
        return _seen(camera, joints), False, False
    chance = rng.random()
    if chance < 0.65:
        if chance < 0.4:
            acted = stage(person, action, scenario, rng, 1, AUXILIARY_SPREAD)
            camera, joints, _, ((start, stop),) = acted
            return _seen(camera, joints[max(start, 0) : stop]), True, False
        heading = np.pi * rng.integers(2) + rng.uniform(-0.9, 0.9)
        width = WIDTH / camera.scale + 0.7 * person.build.stature
        joints = cross_freely(action, person.build, person.habit, rng, width, heading)
        return _seen(camera, joints), True, False
    heading = rng.choice([0, np.pi]) + rng.normal(0, 0.45)
    width = float(rng.uniform(8, 20))
    points = _seen(camera, cross_freely(action, person.build, person.habit, rng, width, heading))
    # a camera that follows, or a treadmill: the body keeps its place but for a slow drift
    middle = points[:, SHOULDERS + HIPS].mean(1, keepdims=True)
    seconds = np.arange(len(points)) / FPS
    wander = 15 * np.stack([drift(rng, seconds, period=3.0) for _ in range(2)], -1) * (1, 0.2)
    place = (WIDTH / 2, HEIGHT / 2) + wander[:, None]
    return points - middle + place, False, True


def _standing_action(action: str, person: Person, scenario: int, rng) -> np.ndarray:
    """Boxing, clapping or waving: KTH's way, turned otherwise, or boxing of any school."""
    seconds = np.arange(FRAMES) / FPS
    if action == "boxing" and rng.random() < 0.45:
        joints = box_freely(person.build, person.habit, seconds, rng)
        sideways = np.pi * rng.integers(2) + rng.normal(0, 0.4)
        return rotate_about_z(
            joints, sideways if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi)
        )
    if rng.random() < 0.75:
        return stage(person, action, scenario, rng, 1, AUXILIARY_SPREAD)[1]
    facing = rng.uniform(-0.8, 0.8) - np.pi / 2
    heading = rng.uniform(-np.pi, np.pi) if action == "boxing" else facing
    build, habit = person.build, person.habit
    settings = {"seconds": FRAMES / FPS, "heading": heading, "spread": AUXILIARY_SPREAD}
    return perform(action, build, habit, rng, **settings)


def _seen(camera: Camera, joints: np.ndarray) -> np.ndarray:
    """Project joints; somebody far away is not there."""
    points = camera.project(joints[:, PLACES])[0]
    points[np.abs(joints[:, 0, 0]) > 100] = AWAY
    return points


# windows, as a finder sees them


def draw_windows(
    pool: Performances, chosen: np.ndarray, rng: np.random.Generator, steps: int, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window out of each chosen performance: joints (n, steps, 15, 2) and which are seen.

    Tempo, start, camera and the finder's errors are drawn anew every time; crossings are also cut
    while somebody enters or leaves.
    """
    n, t = len(chosen), np.arange(steps) / rate
    length, goes = pool.length[chosen], pool.goes[chosen]
    fps = FPS * np.exp(rng.normal(0, 0.05, n))
    room = length / fps - t[-1]
    low = np.where(goes, -0.4 * t[-1], 0)
    high = np.where(goes, room + 0.4 * t[-1], room.clip(0))
    start = low + rng.random(n) * (high - low).clip(0)
    frames = np.round((start[:, None] + t) * fps[:, None]).astype(int)
    there = (frames >= 0) & (frames < length[:, None])
    points = pool.points[chosen[:, None], frames.clip(0, length[:, None] - 1)].astype(float)
    there &= points[:, :, 0, 0] > AWAY / 2
    points = np.where(there[..., None, None], points, 0.0)
    inside = (points > -2) & (points < np.array([WIDTH, HEIGHT]) + 2)
    seen = there[..., None] & (inside.all(-1) | pool.followed[chosen][:, None, None])
    torso = torsos(points, there)
    points = _filmed(points, torso, t, pool.followed[chosen], rng)
    points, seen = disturbed(points, seen, torso, t, pool.legs[chosen], rng)
    mirror = rng.random(n) < 0.5
    points[mirror, ..., 0] *= -1
    return _exchanged(points, seen, np.broadcast_to(mirror[:, None], (n, steps)), MIRRORED)


def disturbed(
    points: np.ndarray,
    seen: np.ndarray,
    torso: np.ndarray,
    t: np.ndarray,
    legs: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Disturb joints (n, T, 15, 2) and which are seen (n, T, 15) as a finder does.

    Args:
        points, seen: Of n windows; they are not changed.
        torso: See `torsos`.
        t: Seconds of the steps (T,).
        legs: The legs are needed and stay (n,).
        rng: What is drawn.
    """
    points, seen = _found(points, seen, torso, t, rng)
    return _lost(points, seen, torso, legs, rng)


def torsos(points: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Each window's torso length in pixels (n, 1, 1, 1), at least 3."""
    length = np.linalg.norm(points[:, :, SHOULDERS].mean(2) - points[:, :, HIPS].mean(2), axis=-1)
    square = (length**2 * there).sum(1) / there.sum(1).clip(1)
    return np.maximum(np.sqrt(square), 3)[:, None, None, None]


def _filmed(points, torso, t, followed, rng) -> np.ndarray:
    """A camera that pans, sways and is held askew."""
    n = len(points)
    time, one = t[None, :, None, None], (n, 1, 1, 2)
    moves = rng.random((n, 1, 1, 1)) < np.where(followed, 0.8, 0.3)[:, None, None, None]
    pan, sway = rng.normal(0, 0.5, one) * (1, 0.15), rng.uniform(0, 0.25, one) * (1, 0.4)
    rate, phase = 2 * np.pi / rng.uniform(1.2, 5, one), rng.uniform(0, 2 * np.pi, one)
    points = points + moves * torso * (pan * time + sway * np.sin(rate * time + phase))
    angle = np.radians(rng.normal(0, 2.5, (n, 1, 1)))
    x, y = points[..., 0], points[..., 1]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * x - sin * y, sin * x + cos * y], -1)


def _found(points, seen, torso, t, rng) -> tuple[np.ndarray, np.ndarray]:
    """What a finder makes of a body: other proportions, slow wandering, a far arm that is copied
    from the near one, frozen or not seen, legs or sides exchanged."""
    n, steps, joints, _ = points.shape
    points, seen = _proportions(points, rng), seen.copy()
    restless = np.where(np.isin(np.arange(joints), (3, 4, 5, 6, 13, 14)), 1.5, 1.0)[:, None]
    size = np.abs(rng.normal(0, 0.05, (n, 1, joints, 2))) * torso * restless
    rate = 2 * np.pi * rng.uniform(0.2, 2.2, (n, 1, joints, 2))
    phase = rng.uniform(0, 2 * np.pi, (n, 1, joints, 2))
    points = points + size * np.sin(rate * t[None, :, None, None] + phase)
    width = np.abs(points[:, :, 1, 0] - points[:, :, 2, 0]).mean(1) / torso[:, 0, 0, 0]
    sideways = width < 0.42

    def stretch(when_sideways: float, else_: float) -> np.ndarray:
        start = rng.uniform(-0.6, 0.8, (n, 1)) * steps
        stop = start + rng.uniform(0.3, 1.6, (n, 1)) * steps
        on = (rng.random(n) < np.where(sideways, when_sideways, else_))[:, None]
        return on & (np.arange(steps) >= start) & (np.arange(steps) < stop)

    copied, frozen, unseen = stretch(0.4, 0.05), stretch(0.2, 0.03), stretch(0.95, 0.45)
    far, share = rng.integers(0, 2, n), rng.uniform(0.3, 1, (n, 1, 1))
    for side, (mine, others) in enumerate((ARMS, ARMS[::-1])):
        on, shoulder = (far == side)[:, None], points[:, :, 1 + side]
        for joint, other in zip(mine, others, strict=True):
            copy = points[:, :, other] - points[:, :, 2 - side] + shoulder
            mixed = (1 - share) * points[:, :, joint] + share * copy
            still = shoulder + (rng.normal(0, 0.35, (n, 1, 2)) + (0, 0.3)) * torso[:, :, 0]
            arm = np.where((on & copied)[..., None], mixed, points[:, :, joint])
            points[:, :, joint] = np.where((on & frozen)[..., None], still, arm)
            seen[:, :, joint] &= ~(on & unseen)
    flicker = rng.random((n, steps)) < rng.choice([0.2, 0.5, 1.0], (n, 1))
    legs = [*range(7), *MIRRORED[7:]]
    points, seen = _exchanged(points, seen, stretch(0.3, 0.05) & flicker, legs)
    return _exchanged(points, seen, (rng.random(n) < 0.06)[:, None], MIRRORED)


def _proportions(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Trunk, shoulders and limbs longer or shorter than they are."""
    n, points = len(points), points.copy()
    neck, hips = points[:, :, SHOULDERS].mean(2), points[:, :, HIPS].mean(2)
    points[:, :, 7:] += ((np.exp(rng.normal(0, 0.08, (n, 1, 1))) - 1) * (hips - neck))[:, :, None]
    wide = np.exp(rng.normal(0, 0.12, (n, 1, 1)))
    for side in SHOULDERS:
        shift = (wide - 1) * (points[:, :, side] - neck)
        points[:, :, [side, side + 2, side + 4]] += shift[:, :, None]
    old = points.copy()
    scales = {j: np.exp(rng.normal(0, 0.11 if j < 7 else 0.07, (n, 1, 1))) for j in range(3, 15, 2)}
    for near, far in LIMBS:
        scale = scales[far - (far + 1) % 2]
        points[:, :, far] = points[:, :, near] + scale * (old[:, :, far] - old[:, :, near])
    return points


def _exchanged(points, seen, when, order) -> tuple[np.ndarray, np.ndarray]:
    """Exchange joints where `when` (n, T) holds."""
    exchanged = np.where(when[..., None, None], points[:, :, order], points)
    return exchanged, np.where(when[..., None], seen[:, :, order], seen)


def _lost(points, seen, torso, legs, rng) -> tuple[np.ndarray, np.ndarray]:
    """Jitter, bias, outliers, sides exchanged for a moment; joints, legs and frames lost."""
    n, steps, joints, _ = points.shape
    points = points + rng.normal(0, 1, points.shape) * rng.uniform(0.01, 0.06, (n, 1, 1, 1)) * torso
    hips = np.isin(np.arange(joints), HIPS)
    bias = rng.normal(0, 1, (n, 1, joints, 2)) * np.where(hips, 0.11, 0.05)[:, None]
    points = points + bias * torso
    outlier = (rng.random((n, steps, joints)) < 0.02)[..., None]
    points = points + outlier * rng.normal(0, 0.5, points.shape) * torso
    often = rng.uniform(0, 0.4, (n, 1)) * (rng.random((n, 1)) < 0.3)
    points, seen = _exchanged(points, seen, rng.random((n, steps)) < often, MIRRORED)
    firm = np.isin(np.arange(joints), SHOULDERS)
    seen = seen & ~(rng.random((n, 1, joints)) < np.where(firm | hips, 0, 0.04))
    seen &= ~(rng.random((n, steps, joints)) < np.where(firm, 0, 0.02))
    seen[:, :, LEGS] &= ~((rng.random(n) < 0.3) & ~legs)[:, None, None]
    seen[:, :, HIPS] &= ~((rng.random(n) < 0.1) & ~legs)[:, None, None]
    seen &= ~(rng.random((n, steps)) < rng.choice([0, 0.05, 0.2], (n, 1)))[..., None]
    return points, seen
