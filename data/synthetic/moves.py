"""Movements that are none of the six actions, as joints (F, J, 3) in metres: what else people do.

Knows how people stand about, bend, sit, jump, point, drink, turn and dance, roughly and in great
variety: a classifier shall learn from them what "something else" is, not how each is done. Every
movement draws its own size, tempo and side. Does not know cameras, images or which of them a
classifier confuses. No measurement stands behind the amplitudes; they are wide on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from data.synthetic.body import JOINT, SIDES, Build, set_arm
from data.synthetic.limbs import (
    HANGING,
    LOOSE,
    RESTS,
    SIGN,
    UPPER,
    arm,
    between,
    body,
    both_rest,
    course,
    fan,
    front,
    once,
    rest,
    sides,
    smooth,
    swings,
    tilt,
    tremble,
)
from data.synthetic.motion import (
    Habit,
    box,
    bump,
    clap,
    draw_gait,
    drift,
    stand_at_ease,
    walk_across,
    wave,
)

SPREAD = 1.6  # how wide what is borrowed from the six actions is drawn


@dataclass(frozen=True)
class Move:
    """A movement: joints (F, J, 3), and what a camera must know of it.

    Args:
        joints: In the body's frame, feet on the ground.
        heading: Radians (F,), where the movement itself turns; None leaves the choice.
        legs: Only the legs tell it from one of the six, so they must be in the image.
        goes: It moves across the image.
    """

    joints: np.ndarray
    heading: np.ndarray | None = None
    legs: bool = False
    goes: bool = False


# the movements


def standing(build, habit, t, rng) -> Move:
    """Stands about, shifts his weight, moves a hand from one resting place to another."""
    shift = rng.uniform(0, 0.08) * np.tanh(2 * drift(rng, t, period=rng.uniform(1.5, 5)))
    turn = np.radians(rng.uniform(0, 20)) * drift(rng, t, period=rng.uniform(1.5, 5))
    knees = tuple(4 + 60 * np.maximum(sign * shift, 0) for sign in (1, -1))
    lean, wide = np.radians(rng.normal(2, 3)), rng.uniform(0.02, 0.2)
    joints = body(build, t, rng, lean=lean, twist=turn, knee=knees, spread=wide)
    both_rest(joints, build, t, rng)
    if rng.random() < 0.4:
        side, (a, b) = sides(rng)[0], rng.choice(list(RESTS), 2)
        path = between(RESTS[a][0], RESTS[b][0], once(t, rng, up=(0.4, 1.2)))
        arm(joints, build, side, path, RESTS[b][1])
    return Move(joints)


def bending(build, habit, t, rng) -> Move:
    """Bends down to the floor, to the knees, or to tie a shoe."""
    w = course(t, rng, chance=0.6, rate=(0.2, 0.6))
    lean, knee = np.radians(rng.uniform(35, 110)) * w, 5 + rng.uniform(0, 60) * w
    hip = rng.uniform(-8, 17) * w
    joints = body(build, t, rng, lean=lean, knee=knee, hip=hip, spread=rng.uniform(0.03, 0.25))
    low = HANGING + rng.choice([0.0, 0.1]) * np.array([1, 0, 1])
    for side, _ in SIDES:
        arm(joints, build, side, between(HANGING, low, w), (-0.3, 0.3, -1))
    return Move(joints)


def sitting(build, habit, t, rng) -> Move:
    """Sits down, stands up, or sits and works."""
    w = once(t, rng, up=(0.6, 1.8), hold=(0, 3)) if rng.random() < 0.6 else np.ones(len(t))
    w = 1 - w if rng.random() < 0.3 else w
    lean = np.radians(rng.uniform(15, 45)) * bump(w.clip(0.001, 0.999))
    lean = lean + np.radians(rng.uniform(-10, 20)) * w
    joints = body(build, t, rng, lean=lean, knee=5 + 85 * w, hip=2 + rng.uniform(75, 92) * w)
    joints[..., 0] -= (0.38 * w)[:, None]
    there = [RESTS["with a telephone"][0], (0.34, 0, -0.34), RESTS["clasped"][0]][rng.integers(3)]
    busy = float(rng.choice([0.006, 0.02, 0.05]))
    for side, _ in SIDES:
        path = between(HANGING, there, w) + tremble(t, rng, busy, 0.7)
        arm(joints, build, side, path, (-0.2, 0.5, -1))
    return Move(joints)


def squatting(build, habit, t, rng) -> Move:
    """Knee bends or lunges, the arms in front, resting or lifted with them."""
    w, deep = course(t, rng, chance=0.3, rate=(0.2, 0.8)), rng.uniform(0.5, 1.0)
    lean = np.radians(rng.uniform(10, 45) * deep) * w
    knee, hip = (5 + 115 * deep * w,) * 2, (3 + 85 * deep * w,) * 2
    if rng.random() < 0.3:  # a lunge
        order = 1 if rng.random() < 0.5 else -1
        hip = ((70 * deep * w, -25 * deep * w))[::order]
        knee = ((5 + 85 * deep * w, 5 + 70 * deep * w))[::order]
    joints = body(build, t, rng, lean=lean, knee=knee, hip=hip, spread=rng.uniform(0.05, 0.3))
    if rng.random() < 0.5:
        return Move(both_rest(joints, build, t, rng))
    angle = np.radians(rng.uniform(75, 95)) * (w if rng.random() < 0.5 else np.ones(len(t)))
    for side, _ in SIDES:
        arm(joints, build, side, front(angle), (-0.1, 1, -1))
    return Move(joints)


def jumping_jack(build, habit, t, rng) -> Move:
    """Jumps with legs and arms apart and together."""
    phase = rng.uniform() + rng.uniform(0.55, 1.35) * (t + 0.02 * drift(rng, t, period=2.0))
    w = 0.5 - 0.5 * np.cos(2 * np.pi * phase)
    wide = np.radians(rng.uniform(3, 8)) + np.radians(rng.uniform(12, 32)) * w
    joints = body(build, t, rng, knee=8 + 15 * bump(phase % 0.5 * 2), spread=wide)
    joints[..., 2] += (rng.uniform(0.02, 0.14) * np.abs(np.sin(2 * np.pi * phase)))[:, None]
    low, high = rng.uniform(-85, -55), rng.choice([rng.uniform(70, 112), rng.uniform(0, 40)])
    for side, _ in SIDES:
        arm(joints, build, side, fan(np.radians(low + (high - low) * w)), (-0.2, 1, -0.2))
    return Move(joints, legs=True)


def one_hand_wave(build, habit, t, rng) -> Move:
    """Waves with one hand: from the elbow, over the head, or the whole arm."""
    joints, (side, other) = stand_at_ease(build, habit, t, rng), sides(rng)
    uneven = t + 0.03 * drift(rng, t, period=2.0)
    x = np.sin(2 * np.pi * (rng.uniform() + rng.uniform(0.5, 2.6) * uneven))
    how = rng.integers(3)
    if how == 0:
        middle = rng.uniform((0.05, 0.05, 0.05), (0.3, 0.3, 0.32))
        across = rng.uniform(0.05, 0.22)
        path = middle + np.stack([0 * x, across * x, -0.25 * across * x**2], -1)
    elif how == 1:
        path = fan(np.radians(rng.uniform(55, 100) + rng.uniform(10, 35) * x))
    else:
        path = fan(np.radians(rng.uniform(-20, 30) + rng.uniform(25, 75) * x))
    up = 1 - once(t, rng, up=(0.3, 0.8)) if rng.random() < 0.3 else np.ones(len(t))
    arm(joints, build, side, HANGING + up[:, None] * (path - HANGING), (0, 0.9, -0.6))
    rest(joints, build, other, t, rng)
    return Move(joints)


def lifting_arms(build, habit, t, rng) -> Move:
    """Lifts both arms once or slowly: forward, up, sideways, hands up; or holds them there."""
    joints = stand_at_ease(build, habit, t, rng)
    w = course(t, rng, chance=0.6, rate=(0.15, 0.7), up=(0.5, 2.2), hold=(0, 2.5))
    w = np.ones(len(t)) if rng.random() < 0.2 else w
    how, one = rng.integers(4), rng.random() < 0.15
    high = rng.uniform(*((70, 175), (50, 95), (0, 1), (0, 1))[how])
    for side in sides(rng)[: 2 - one]:
        unrest = tremble(t, rng, 0.01)
        if how == 0:
            arm(joints, build, side, front(np.radians(4 + high * w)) + unrest, (-0.1, 1, -0.6))
        elif how == 1:
            arm(joints, build, side, fan(np.radians(-82 + high * w)) + unrest, (-0.2, 1, -0.2))
        elif how == 2:
            hands_up = between(HANGING, (0.1, 0.2, 0.3), w)
            arm(joints, build, side, hands_up + unrest, (0.1, 1, -0.6))
        else:
            elbow = np.radians(8 + 125 * w)
            set_arm(joints, build, side, shoulder=np.radians(5 + 10 * w), elbow=elbow)
    return Move(joints)


def kicking(build, habit, t, rng) -> Move:
    """Kicks forward or to the side."""
    w = course(t, rng, chance=0.4, rate=(0.4, 1.2), up=(0.2, 0.5), hold=(0, 0.2))
    high, order = rng.uniform(30, 105), 1 if rng.random() < 0.5 else -1
    bent = 5 + rng.uniform(0, 80) * bump(w.clip(0.001, 0.999))
    hip, knee = (high * w, -6 * w)[::order], (bent, 8 + 0 * w)[::order]
    joints = body(build, t, rng, lean=np.radians(-10) * w, knee=knee, hip=hip)
    for side, _ in SIDES:
        arm(joints, build, side, between(HANGING, HANGING + rng.normal(0, 0.2, 3), w))
    return Move(joints, legs=True)


def hand_to_head(build, habit, t, rng) -> Move:
    """Drinks, telephones, scratches his head, salutes, looks at his watch."""
    seated = rng.random() < 0.3
    joints = sitting(build, habit, t, rng).joints if seated else stand_at_ease(build, habit, t, rng)
    side, other = sides(rng)
    places = ((0.16, -0.16, 0.17), (0.03, -0.08, 0.2), (0.02, -0.12, 0.32), (0.3, -0.1, -0.1))
    there = np.array(places[rng.integers(4)]) + rng.normal(0, 0.03, 3)
    w = course(t, rng, chance=0.75, rate=(0.15, 0.6), up=(0.4, 1.3), hold=(0.3, 4))
    path = between(HANGING, there, w) + tremble(t, rng, float(rng.choice([0.005, 0.03])), 0.5)
    arm(joints, build, side, path, (0.1, 0.6, -1))
    rest(joints, build, other, t, rng)
    return Move(joints)


def turning(build, habit, t, rng) -> Move:
    """Turns on the spot, in small steps."""
    phase = 2 * np.pi * (rng.uniform() + rng.uniform(0.8, 1.6) * t)
    lifted, high = [np.maximum(sign * np.sin(phase), 0) for sign in (1, -1)], rng.uniform(10, 40)
    knee, hip = tuple(5 + 1.6 * high * x for x in lifted), tuple(2 + high * x for x in lifted)
    joints = both_rest(body(build, t, rng, knee=knee, hip=hip), build, t, rng)
    total = np.radians(rng.uniform(90, 360)) * rng.choice([-1, 1])
    turned_once = smooth((t - rng.uniform(0, 0.8)) / rng.uniform(0.8, 3))
    turned = total * (turned_once if rng.random() < 0.5 else t / rng.uniform(1.5, 4))
    return Move(joints, heading=rng.uniform(-np.pi, np.pi) + turned)


def stretching(build, habit, t, rng) -> Move:
    """Stretches: hands overhead, sideways, an arm across the chest, arm circles, trunk turns."""
    w, how = course(t, rng, rate=(0.12, 0.5), up=(0.6, 1.8), hold=(0.3, 3)), rng.integers(4)
    twist = np.radians(rng.uniform(30, 70)) * (2 * w - 1) if how == 3 else 0.0
    joints = body(build, t, rng, twist=twist, spread=rng.uniform(0.05, 0.25))
    circle = 2 * np.pi * (rng.uniform() + rng.uniform(0.4, 1.2) * t * rng.choice([-1, 1]))
    paths = {
        0: [between(HANGING, (0.05, -0.17, 0.5), w)] * 2,
        1: [between(HANGING, (0.25, -0.35, 0.0), w), between(HANGING, (0.3, -0.15, -0.05), w)],
        2: [np.stack([0.55 * np.sin(circle), 0.12 + 0 * t, 0.55 * np.cos(circle)], -1)] * 2,
        3: [np.array([0.1, 0.5, -0.03])] * 2,
    }[int(how)]
    for side, path in zip(sides(rng), paths, strict=True):
        arm(joints, build, side, path, (-0.1, 1, -0.2))
    if how == 0:
        tilt(joints, np.radians(rng.uniform(0, 35)) * rng.choice([-1, 1]) * w)
    return Move(joints)


def pointing(build, habit, t, rng) -> Move:
    """Points somewhere."""
    joints, (side, other) = stand_at_ease(build, habit, t, rng), sides(rng)
    w = once(t, rng, up=(0.4, 1.0), hold=(0.5, 3))
    up, out = np.radians(rng.uniform(50, 125)), rng.uniform(-0.3, 1.3)
    ahead = 0.55 * np.array([np.sin(up) * np.cos(out), np.sin(out), -np.cos(up) * np.cos(out)])
    arm(joints, build, side, between(HANGING, ahead, w) + tremble(t, rng, 0.01), (-0.1, 1, -0.8))
    rest(joints, build, other, t, rng)
    return Move(joints)


def marching(build, habit, t, rng) -> Move:
    """Steps on the spot, knees low or high; or swings the arms alone as if he ran."""
    phase = 2 * np.pi * (rng.uniform() + rng.uniform(0.6, 1.7) * t)
    lifted = [np.maximum(sign * np.sin(phase), 0) for sign in (1, -1)]
    high, fold = rng.choice([rng.uniform(35, 90), 0.0], p=[0.8, 0.2]), rng.uniform(1.1, 1.5)
    knee, hip = tuple(5 + fold * high * x for x in lifted), tuple(2 + high * x for x in lifted)
    joints = body(build, t, rng, lean=np.radians(rng.normal(2, 3)), knee=knee, hip=hip)
    if rng.random() < 0.3:
        return Move(both_rest(joints, build, t, rng, LOOSE), legs=True)
    swing, bent = rng.uniform(5, 40), rng.uniform(10, 95)
    for side, sign in SIDES:
        shoulder = np.radians(-5 - sign * swing * np.sin(phase))
        set_arm(joints, build, side, shoulder=shoulder, elbow=np.radians(bent + 0 * t))
    return Move(joints, legs=True)


def talking(build, habit, t, rng) -> Move:
    """Speaks with his hands, slow and uneven, at the height of belt and chest."""
    joints, (side, other) = stand_at_ease(build, habit, t, rng), sides(rng)
    if rng.random() < 0.3:
        joints = sitting(build, habit, t, rng).joints
    for hand in (side, other)[: 1 + (rng.random() < 0.7)]:
        middle = rng.uniform((0.25, -0.1, -0.35), (0.31, 0.12, -0.08))
        busy = (0.6 + drift(rng, t, period=1.8)).clip(0, 1)[:, None] * rng.uniform(0.04, 0.14)
        moved = busy * np.stack([swings(t, rng, 0.3, 1.8) for _ in range(3)], -1)
        arm(joints, build, hand, middle + moved, (-0.2, 0.6, -1))
    return Move(joints)


def both_hands(build, habit, t, rng) -> Move:
    """Pushes, rows, pulls down, shakes, chops or digs with both hands."""
    ways = (
        ((0.18, -0.02, -0.05), (0.52, -0.05, 0.0)),
        ((0.15, 0.06, -0.2), (0.5, -0.05, -0.15)),
        ((0.15, 0.2, 0.0), (0.05, 0.15, 0.53)),
        ((0.3, -0.1, -0.3), (0.3, -0.1, -0.02)),
        ((0.05, -0.15, 0.45), (0.5, -0.15, -0.3)),
        ((0.25, -0.1, -0.45), (0.4, -0.1, -0.15)),
    )
    w, way = course(t, rng, chance=0.15, rate=(0.4, 1.6), up=(0.3, 0.9)), rng.integers(6)
    lean = np.radians(rng.uniform(10, 45)) * w if way >= 4 else 0.0
    joints = body(build, t, rng, lean=lean, knee=8 + rng.uniform(0, 20) * w)
    start, end = (np.array(place) + rng.normal(0, 0.03, 3) for place in ways[way])
    for side, _ in SIDES:
        arm(joints, build, side, between(start, end, w))
    return Move(joints)


def throwing(build, habit, t, rng) -> Move:
    """Throws, bowls, hammers or swings a racket: one arm quick, the other along."""
    (side, other), w = sides(rng), course(t, rng, rate=(0.3, 0.9), up=(0.25, 0.6), hold=(0, 0.3))
    twist = np.radians(-SIGN[side] * 30) * (1 - 2 * w)
    joints = body(build, t, rng, twist=twist, knee=8, hip=(4 + 15 * w, 4 - 12 * w))
    angle = np.radians(-50 + 170 * w if rng.random() < 0.4 else 230 - 190 * w)
    arm(joints, build, side, front(angle, 0.3 + 0.25 * w[:, None].mean()), (-0.3, 1, 0.2))
    arm(joints, build, other, between(HANGING, (0.35, -0.15, -0.05), (1 - w) * rng.random()))
    return Move(joints, legs=False)


def jumping(build, habit, t, rng) -> Move:
    """Jumps on the spot or forward with both feet, or skips rope."""
    rate = rng.uniform(0.6, 2.0)
    x, big = (rng.uniform() + rate * t) % 1, min(1.0, 0.9 / rate)
    air, dip = ((x - 0.4) / 0.6).clip(0, 1), bump((x / 0.4).clip(0, 1))
    lean = np.radians(20) * dip * big
    joints = body(build, t, rng, lean=lean, knee=8 + 70 * dip * big, hip=4 + 38 * dip * big)
    joints[..., 2] += (rng.uniform(0.1, 0.4) * big * 4 * air * (1 - air))[:, None]
    if rng.random() < 0.5:
        both_rest(joints, build, t, rng, LOOSE)
    else:
        up = np.radians(-30 * dip + rng.uniform(20, 120) * big * bump(air))
        for side, _ in SIDES:
            set_arm(joints, build, side, shoulder=up, elbow=np.radians(25 + 0 * x))
    goes = rng.random() < 0.4
    joints[..., 0] += (goes * rng.uniform(0.3, 1.6) * (t - t.mean()))[:, None]
    return Move(joints, legs=True, goes=goes)


def sidestepping(build, habit, t, rng) -> Move:
    """Steps or gallops sideways."""
    phase = 2 * np.pi * (rng.uniform() + rng.uniform(0.7, 1.9) * t)
    w = 0.5 - 0.5 * np.cos(phase)
    joints = body(
        build, t, rng, knee=8 + 20 * (1 - w), spread=0.03 + np.radians(rng.uniform(10, 25)) * w
    )
    joints[..., 2] += (rng.uniform(0, 0.12) * np.abs(np.sin(phase)))[:, None]
    joints[..., 1] += (rng.choice([-1, 1]) * rng.uniform(0.4, 2.2) * (t - t.mean()))[:, None]
    return Move(both_rest(joints, build, t, rng), legs=True)


def dancing(build, habit, t, rng) -> Move:
    """Swings everything, unevenly or each limb on a beat of its own."""
    low, high, big = rng.uniform(0.25, 0.8), rng.uniform(0.9, 2.2), rng.uniform(0.3, 1.0)
    beat = rng.uniform(0.4, 1.2) if rng.random() < 0.5 else 0.0

    def swing() -> np.ndarray:
        if not beat:
            return swings(t, rng, low, high)
        rate = beat * rng.choice([0.5, 1, 1, 2])
        return np.sin(2 * np.pi * (rng.uniform() + rate * t)) * rng.uniform(0.3, 1)

    lean, twist = np.radians(15) * big * swing(), np.radians(35) * big * swing()
    knee = tuple(25 * big * (1 + swing()).clip(0) + 4 for _ in SIDES)
    hip = tuple(12 + 25 * big * swing() for _ in SIDES)
    joints = body(
        build, t, rng, lean=lean, twist=twist, knee=knee, hip=hip, spread=0.15 + 0.2 * big * swing()
    )
    joints[..., 1] += (0.12 * big * swing())[:, None]
    tilt(joints, np.radians(14) * big * swing())
    for side, _ in SIDES:
        middle, size = rng.uniform((0, -0.15, -0.5), (0.4, 0.5, 0.45)), rng.uniform(0.05, 0.4, 3)
        moved = size * np.stack([swing() for _ in range(3)], -1)
        arm(joints, build, side, middle + moved, (-0.3, 1, rng.uniform(-1, 0.3)))
    facing = rng.uniform(-np.pi, np.pi) if rng.random() < 0.4 else -np.pi / 2
    return Move(joints, heading=facing + np.radians(rng.uniform(0, 50)) * swing())


def mixing(build, habit, t, rng) -> Move:
    """Parts of the six put together wrongly: one arm of an action, two arms of two, or another's
    legs."""
    actions, how = {"box": box, "clap": clap, "wave": wave}, rng.integers(3)
    first, second = rng.choice(list(actions), 2, replace=False)
    first = "clap" if how != 1 and first == "box" else first  # one-armed boxing is boxing
    joints = actions[first](build, habit, t, rng, SPREAD)
    side = sides(rng)[0]
    if how == 0:
        rest(joints, build, side, t, rng)
        return Move(joints)
    if how == 1:
        other = actions[second](build, habit, t, rng, SPREAD)
        parts = [JOINT[f"{side}_{part}"] for part in ("elbow", "wrist", "hand")]
        shoulder = [JOINT[f"{side}_shoulder"]]
        joints[:, parts] = other[:, parts] - other[:, shoulder] + joints[:, shoulder]
        return Move(joints)
    below = (squatting, jumping, kicking, sidestepping)[rng.integers(4)](build, habit, t, rng)
    legs = below.joints.copy()
    neck = [JOINT["neck"]]
    legs[:, UPPER] = joints[:, UPPER] - joints[:, neck] + legs[:, neck]
    return replace(below, joints=legs, legs=True)


MOVES: dict[str, Callable[..., Move]] = {
    move.__name__: move
    for move in (
        standing,
        bending,
        sitting,
        squatting,
        jumping_jack,
        one_hand_wave,
        lifting_arms,
        kicking,
        hand_to_head,
        turning,
        stretching,
        pointing,
        marching,
        talking,
        both_hands,
        throwing,
        jumping,
        sidestepping,
        dancing,
        mixing,
    )
}


# the six, wider than KTH's


def box_freely(build: Build, habit: Habit, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxing of any school: jabs of one hand in a row, hooks, a deep or upright stance."""
    out, beat = np.zeros((len(t), 2)), rng.uniform(0.25, 0.95)
    strength, same = rng.uniform(0.55, 1.0), rng.uniform(0, 0.85)
    start, side = -rng.uniform(0, beat), int(rng.integers(2))
    while start < t[-1]:
        x = ((t - start) / (beat * rng.uniform(0.85, 1.5))).clip(0, 1)
        hit = strength * rng.uniform(0.75, 1.1) * bump(x ** rng.uniform(0.7, 1.1))
        out[:, side] = np.maximum(out[:, side], hit)
        start += beat * rng.uniform(0.8, 1.25) + (rng.random() < 0.12) * rng.uniform(0.2, 0.8)
        side = side if rng.random() < same else 1 - side
    twist = np.radians(rng.uniform(0, 40)) * (out[:, 1] - out[:, 0])
    lean = np.radians(rng.uniform(-4, 22) + 6 * out.max(1))
    crouch, stagger = rng.uniform(3, 45), rng.uniform(-22, 22)
    knee = crouch * (1 + 0.3 * drift(rng, t, period=0.9)).clip(0.2)
    hip = crouch * 0.5 + stagger, crouch * 0.5 - stagger
    wide = rng.uniform(0.03, 0.2)
    joints = body(build, t, rng, lean=lean, twist=twist, knee=knee, hip=hip, spread=wide)
    middle = rng.uniform((0.12, -0.1, -0.25), (0.38, 0.04, 0.12))
    for (hand, _), e in zip(SIDES, out.T, strict=True):
        guard = middle + rng.normal(0, 0.04, 3) + tremble(t, rng, 0.02, 0.8)
        hit = np.array([0.565, -rng.uniform(0, 0.2), rng.uniform(-0.2, 0.12)])
        curve = np.array([0, 0.22 * (rng.random() < 0.2), -0.25 * (rng.random() < 0.12)])
        path = guard + e[:, None] * (hit - guard) + curve * (4 * e * (1 - e))[:, None]
        arm(joints, build, hand, path, (-0.2, rng.uniform(0.1, 1.2), -1))
    return joints


def cross_freely(
    action: str, build: Build, habit: Habit, rng: np.random.Generator, width: float, heading: float
) -> np.ndarray:
    """Cross `width` metres with a gait wider than KTH's: sprints, strolls, shuffles."""
    gait, size = draw_gait(action, habit, rng, SPREAD), rng.uniform(0.75, 1.3)
    if rng.random() < 0.45:
        quick = rng.uniform(1.0, 1.4) if action == "running" else rng.uniform(0.75, 1.2)
        size = max(size, 1.0) if action == "running" else size
        gait = replace(
            gait,
            amplitude=gait.amplitude * size,
            cadence=gait.cadence * quick,
            arm_swing=gait.arm_swing * rng.uniform(0.5, 1.7),
            lean=gait.lean + rng.uniform(-5, 8),
        )
    return walk_across(gait, build, rng, width, heading)
