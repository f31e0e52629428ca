"""The six actions as motion of a body: joint positions over time, in metres on the ground.

Knows how people walk, jog, run, box, clap and wave; knows nothing of cameras, clothes or images.

Sources. Joint angles over the gait cycle are typical curves: for walking after Winter, "The
Biomechanics and Motor Control of Human Gait" (1991), for running, with its duty factors and its
flight, after Novacheck, "The biomechanics of running", Gait & Posture 7 (1998). Cadence: 0.8 to
1.05 strides a second in walking (Winter), 1.25 to 1.5 in jogging and running (Novacheck; Cavanagh
and Kram, "Stride length in distance running", Med. Sci. Sports Exerc. 21, 1989); runners here are
at the upper end of that and beyond it, for KTH's crossings are short. Speed is no parameter: it
follows from the angles, for the foot on the ground stands still. Boxing, clapping and waving follow
the description of KTH (Schuldt, Laptev and Caputo, ICPR 2004) and what is seen in its public clips;
no parameter is fitted by training.
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from data.synthetic.body import (
    JOINT,
    SIDES,
    Build,
    clearance,
    reach,
    rotate_about_z,
    set_arm,
    set_leg,
    trunk,
)

FPS = 25
LOCOMOTION = ("jogging", "running", "walking")

# Degrees of hip, knee and ankle at 0, 10 ... 90 % of the gait cycle, from one heel strike to the
# next of the same foot; before them the part of that cycle before toe-off.
_GAIT_TABLES = {
    "walk": (
        0.60,
        (24, 22, 15, 6, -3, -9, -6, 10, 22, 26),
        (5, 16, 15, 9, 5, 10, 36, 60, 44, 14),
        (0, -5, 2, 6, 9, 6, -16, -7, 0, 2),
    ),
    "run": (
        0.37,
        (36, 30, 15, 1, -9, -3, 16, 34, 45, 43),
        (18, 34, 37, 25, 18, 52, 90, 98, 64, 26),
        (7, 17, 23, 6, -18, -11, -3, 0, 3, 5),
    ),
}


@dataclass(frozen=True)
class Habit:
    """What one person brings to every action: a tempo, a size of movement, a way to hold himself
    (all near 0 or 1)."""

    tempo: float = 1.0
    size: float = 1.0
    lean: float = 0.0
    elbow: float = 0.0
    guard: float = 0.0
    clap_height: float = 0.0
    clap_lift: float = 0.0
    wave_top: float = 0.0

    @staticmethod
    def draw(rng: Generator, spread: float = 1.0) -> "Habit":
        """A person's habits; `spread` widens every distribution alike (1 is KTH-Synth)."""
        sd = np.multiply((0.05, 0.06, 1.5, 8.0, 0.05, 0.06, 18.0, 5.0), spread)
        values = (1, 1, 0, 0, 0, 0, 0, 0) + rng.normal(size=8).clip(-2, 2) * sd
        return Habit(*values.tolist())


def within(rng: Generator, mean: float, deviation: float, low: float, high: float) -> float:
    """A normally distributed number, cut off at `low` and `high`."""
    return float(np.clip(rng.normal(mean, deviation), low, high))


def drift(rng: Generator, seconds: ndarray, *, period: float) -> ndarray:
    """A smooth random curve of unit variance that wanders once in about `period` seconds."""
    rates = rng.uniform(0.5, 1.5, size=3) / period
    phases = rng.uniform(0, 2 * np.pi, size=3)
    return np.sqrt(2 / 3) * np.sin(2 * np.pi * np.outer(seconds, rates) + phases).sum(axis=1)


def cycles_done(rng: Generator, seconds: ndarray, rate: float, unrest: float) -> ndarray:
    """Cycles (F,) of something done `rate` times a second, from anywhere in the first, `unrest`
    seconds early or late."""
    return rng.uniform() + rate * (seconds + unrest * drift(rng, seconds, period=2.0))


def bump(x: ndarray) -> ndarray:
    """0 outside (0, 1), a smooth hill of height 1 inside."""
    return np.where((x > 0) & (x < 1), np.sin(np.pi * np.clip(x, 0, 1)) ** 2, 0.0)


def periodic(table: tuple[float, ...], phase: ndarray) -> ndarray:
    """The trigonometric interpolant of equally spaced values at `phase` in cycles."""
    coefficients = np.fft.rfft(table)[: (len(table) + 1) // 2] / len(table)
    coefficients[1:] *= 2
    orders = np.arange(len(coefficients))
    return np.real(np.exp(2j * np.pi * np.outer(phase, orders)) @ coefficients)


# locomotion


@dataclass(frozen=True)
class Gait:
    """One way to get along: which table, how far the joints go, how often, and what the arms and
    the trunk do.

    `duty` is the part of the cycle that a foot spends on the ground: with the same angles, a
    smaller duty is a longer stride, most of it in the air.
    """

    table: str
    amplitude: float
    cadence: float
    arm_swing: float
    elbow: float
    lean: float
    bounce: float
    duty: float
    lift: float = 1.0
    still_arm: float | None = None


# Means were set so that speeds lie between what adults choose (walking 1.3 to 1.4 m/s: Bohannon,
# "Comfortable and maximum walking speed of adults aged 20-79 years", Age and Ageing 26, 1997) and
# what KTH's annotated crossings of the official training and validation persons last, which is
# longer: running takes two thirds of the time of jogging, jogging half that of walking, when the
# frames before somebody enters are taken off. Deviations are wide, for both are right about
# somebody. Jogging and running share most of their poses; what tells them apart is the time on the
# ground and so the stride.
# Mean and standard deviation of amplitude, cadence, arm swing, elbow, lean, bounce, duty factor,
# knee lift.
_GAITS = {
    "walking": (
        "walk",
        (1.17, 0.99, 18, 20, 2, 0.0, 0.60, 1.0),
        (0.11, 0.07, 7, 9, 2.0, 0.0, 0.0, 0.06),
    ),
    "jogging": (
        "run",
        (0.82, 1.36, 25, 80, 4, 0.035, 0.42, 0.84),
        (0.08, 0.07, 8, 16, 3.0, 0.012, 0.025, 0.10),
    ),
    "running": (
        "run",
        (0.91, 1.50, 33, 90, 6, 0.048, 0.315, 1.03),
        (0.09, 0.09, 10, 15, 3.5, 0.015, 0.025, 0.11),
    ),
}


def draw_gait(action: str, habit: Habit, rng: Generator, spread: float = 1.0) -> Gait:
    """How this person walks, jogs or runs this time; joggers and runners overlap."""
    table, means, deviations = _GAITS[action]
    values = means + np.multiply(deviations, spread) * rng.normal(size=8).clip(-2.2, 2.2)
    amplitude, cadence, swing, elbow, lean, bounce, duty, lift = values.tolist()
    still = None
    # hands in the pockets, a bag, a telephone
    if action == "walking" and rng.random() < 0.10 * spread:
        swing, still = swing * 0.2, float(rng.choice([35.0, 60.0, 125.0]))
    return Gait(
        table,
        max(amplitude * habit.size, 0.5),
        cadence * habit.tempo,
        max(swing * habit.size, 2.0),
        max(elbow + habit.elbow, 5.0),
        lean + habit.lean,
        max(bounce, 0.0),
        float(np.clip(duty, 0.25, 0.7)),
        max(lift, 0.5),
        still,
    )


def leg_angles(gait: Gait, phase: ndarray) -> dict[str, ndarray]:
    """Hip, knee and ankle flexion (F,) in radians at `phase` cycles after heel strike."""
    (toe_off, *tables), duty = _GAIT_TABLES[gait.table], gait.duty
    phase = phase % 1.0
    # the tables are stretched so that their toe-off falls on this gait's
    place = np.where(
        phase < duty, phase * toe_off / duty, 1 - (1 - phase) * (1 - toe_off) / (1 - duty)
    )
    hip, knee, ankle = (periodic(table, place) for table in tables)
    knee = 6 + (knee - 6) * (0.4 + 0.6 * gait.amplitude)
    knee *= 1 + (gait.lift - 1) * bump((phase - duty) / (1 - duty))
    angles = {"hip": hip * gait.amplitude, "knee": knee.clip(2, 135), "ankle": ankle}
    return {name: np.radians(angle) for name, angle in angles.items()}


def ground_speed(gait: Gait, build: Build) -> float:
    """Metres a second at which the foot on the ground stands still."""
    # the foot is flat: later the heel rises and the ankle moves
    phase = np.linspace(0.08, 0.7 * gait.duty, 24)
    hip, knee, _ = leg_angles(gait, phase).values()
    ankle_x = build.thigh * np.sin(hip) + build.shank * np.sin(hip - knee)
    return float((ankle_x[0] - ankle_x[-1]) / (phase[-1] - phase[0]) * gait.cadence)


def stride(gait: Gait, build: Build, seconds: ndarray, rng: Generator) -> ndarray:
    """Joints (F, J, 3) of a body that gets along on the spot, feet on the ground (z = 0)."""
    cycles = cycles_done(rng, seconds, gait.cadence, 0.02)
    swing = 2 * np.pi * cycles
    lean = np.radians(gait.lean + np.sin(2 * swing))
    twist = np.radians(0.22 * gait.arm_swing) * np.cos(swing)
    joints = trunk(build, lean=lean, twist=twist, nod=-0.5 * lean)
    for (side, _), offset in zip(SIDES, (0.0, 0.5), strict=True):
        set_leg(joints, build, side, **leg_angles(gait, cycles + offset), spread=0.02)
        forward = -np.cos(swing + 2 * np.pi * offset)
        elbow = gait.elbow + 0.35 * gait.arm_swing * forward
        if side == "right" and gait.still_arm is not None:
            elbow[:] = gait.still_arm
        shoulder = np.radians(-0.3 * gait.arm_swing + gait.arm_swing * forward)
        set_arm(joints, build, side, shoulder=shoulder, elbow=np.radians(elbow), spread=0.12)
    height = -clearance(joints)
    if gait.bounce:
        flight = gait.bounce * 0.5 * (1 - np.cos(2 * (swing - np.pi * gait.duty)))
        height = np.maximum(height, np.quantile(height, 0.25) + flight)
    joints[..., 2] += height[:, None]
    return joints


# standing


def stand(
    build: Build,
    seconds: ndarray,
    rng: Generator,
    *,
    lean: ndarray | float,
    twist: ndarray | float,
    crouch: float,
    stagger: float,
    apart: float,
) -> ndarray:
    """Joints (F, J, 3) of a body that stands with knees bent by `crouch` degrees, one foot
    `stagger` degrees ahead."""
    sway = np.radians(1.2) * drift(rng, seconds, period=2.5)
    nod = np.radians(3) * drift(rng, seconds, period=3.0)
    joints = trunk(build, lean=lean + 0.4 * sway, twist=twist, nod=nod)
    knee = np.radians(crouch * (1 + 0.4 * drift(rng, seconds, period=1.5)).clip(0.1))
    for side, sign in SIDES:
        hip = np.radians(sign * stagger) + 0.5 * knee + 0.3 * sway
        set_leg(joints, build, side, hip=hip, knee=knee, ankle=knee - hip, spread=apart)
    joints[..., 2] -= clearance(joints)[:, None]
    joints[..., 1] += (0.02 * drift(rng, seconds, period=3.0))[:, None]
    return joints


def stand_at_ease(build: Build, habit: Habit, seconds: ndarray, rng: Generator) -> ndarray:
    """Joints (F, J, 3) of a body that stands straight, feet side by side, as clapping and waving
    are done."""
    lean, apart = np.radians(habit.lean), np.radians(rng.normal(5, 2))
    return stand(build, seconds, rng, lean=lean, twist=0.0, crouch=3, stagger=0.0, apart=apart)


def pauses(seconds: ndarray, rng: Generator) -> ndarray:
    """How far the arms have sunk (F,), 0 to 1: now and then somebody lets them hang for a
    moment."""
    sunk, start = np.zeros(len(seconds)), rng.uniform(0.0, 5.0)
    while start < seconds[-1]:
        length = rng.uniform(0.5, 1.3)
        x = (seconds - start) / length
        sunk = np.maximum(sunk, np.clip(3 * bump(x), 0, 1))
        start += length + rng.uniform(2.0, 6.0)
    return sunk


def hold(
    joints: ndarray,
    build: Build,
    side: str,
    offset: ndarray,
    sunk: ndarray,
    elbow: tuple[float, float, float],
) -> None:
    """Reach for points (F, 3), or let the arm hang where it has sunk. The points, from the
    shoulder, and where the elbow is to be are those of the left arm; the right one's are
    mirrored."""
    mirror = (1, dict(SIDES)[side], 1)
    sinking = sunk[:, None] * (np.array([0.06, 0.10, -0.97 * build.arm]) - offset)
    target = joints[:, JOINT[f"{side}_shoulder"]] + offset * mirror + sinking * mirror
    reach(joints, build, side, target=target, hint=np.multiply(elbow, mirror))


def punches(seconds: ndarray, habit: Habit, rng: Generator, spread: float) -> ndarray:
    """How far each fist is out (F, 2) over time, 0 in the guard to 1: mostly left and right in
    turn."""
    out = np.zeros((len(seconds), 2))
    beat = within(rng, 0.46, 0.08 * spread, 0.28, 0.9) / habit.tempo
    strength = within(rng, 0.88, 0.09 * spread, 0.45, 1.0)
    start, side = -rng.uniform(0, beat), int(rng.integers(2))
    while start < seconds[-1]:
        length = beat * rng.uniform(0.95, 1.35)
        x = ((seconds - start) / length).clip(0, 1)
        punch = strength * rng.uniform(0.85, 1.08) * bump(x**0.8)
        out[:, side] = np.maximum(out[:, side], punch)
        rest = beat * rng.uniform(0.85, 1.2)
        start += rest + (rng.uniform(0.2, 0.6) if rng.random() < 0.06 else 0)
        side = 1 - side if rng.random() < 0.9 else side
    return out


def box(build: Build, habit: Habit, seconds: ndarray, rng: Generator, spread: float) -> ndarray:
    """Upright, fists before the chest or the chin, straight punches with a turn of the
    shoulders."""
    sunk = pauses(seconds, rng)
    out = punches(seconds, habit, rng, spread) * (1 - sunk[:, None])
    turn = np.radians(rng.normal(22, 6 * spread))
    lean = np.radians(rng.normal(4, 3 * spread) + 4 * out.max(axis=1)) + np.radians(habit.lean)
    crouch, stagger = max(rng.normal(10, 6 * spread), 2), rng.normal(5, 6 * spread)
    joints = stand(
        build,
        seconds,
        rng,
        lean=lean,
        twist=turn * (out[:, 1] - out[:, 0]),
        crouch=crouch,
        stagger=stagger,
        apart=0.07,
    )
    scale = build.stature / 1.75
    guard_x = rng.normal(0.26, 0.05 * spread)
    guard_z = rng.normal(-0.06 + habit.guard, 0.07 * spread)
    hit = np.array([build.arm * 0.99 / scale, -0.12, rng.normal(0.02, 0.05 * spread)])
    still = np.array([guard_x, -0.1 * rng.uniform(0.35, 0.8), guard_z])
    for (side, _), e in zip(SIDES, out.T[..., None], strict=True):
        guard = still + 0.015 * drift(rng, seconds, period=0.8)[:, None] * (1, 0, 1)
        elbow = (-0.2, rng.uniform(0.1, 0.9), -1)
        hold(joints, build, side, scale * (guard + e * (hit - guard)), sunk, elbow)
    return joints


def clap(build: Build, habit: Habit, seconds: ndarray, rng: Generator, spread: float) -> ndarray:
    """The hands meet before the chest or the belt and open sideways, half or all the way."""
    rate = within(rng, 1.25, 0.2 * spread, 0.7, 2.4) * habit.tempo
    cycles = cycles_done(rng, seconds, rate, 0.03)
    opened = (0.5 - 0.5 * np.cos(2 * np.pi * cycles)) ** rng.uniform(0.7, 1.3)
    sunk = pauses(seconds, rng)
    joints = stand_at_ease(build, habit, seconds, rng)
    lift = np.radians(within(rng, -12 + habit.clap_lift, 22 * spread, -75, 45))
    wide = within(rng, 0.76, 0.16 * spread, 0.30, 0.98) * build.arm
    height = within(rng, -0.18 + habit.clap_height, 0.09 * spread, -0.45, 0.10)
    closed = np.array([rng.uniform(0.22, 0.36), 0.03 - build.half_shoulders, height])
    away = np.array([0.12, wide * np.cos(lift), wide * np.sin(lift)])
    offset = closed + opened[:, None] * (away - closed)
    for side, _ in SIDES:
        hold(joints, build, side, offset, sunk, (-0.3, 0.5, -1))
    return joints


def wave(build: Build, habit: Habit, seconds: ndarray, rng: Generator, spread: float) -> ndarray:
    """Both arms swing sideways from the thighs until the hands meet over the head, and back."""
    rate = within(rng, 0.68, 0.11 * spread, 0.35, 1.4) * habit.tempo
    raised = 0.5 - 0.5 * np.cos(2 * np.pi * cycles_done(rng, seconds, rate, 0.04))
    sunk = pauses(seconds, rng)
    bottom = within(rng, -52, 20 * spread, -80, 20)
    top = within(rng, 90 + habit.wave_top, 14 * spread, 40, 114)
    joints = stand_at_ease(build, habit, seconds, rng)
    bent = rng.uniform(0.82, 0.96)
    late = rng.normal(0, 0.012)
    length = build.arm * (0.97 - (0.97 - bent) * raised**2)
    for side, sign in SIDES:
        angle = np.radians(bottom + (top - bottom) * np.clip(raised + sign * late, 0, 1))
        forward = np.full_like(angle, 0.08)
        offset = np.stack([forward, length * np.cos(angle), length * np.sin(angle)], axis=-1)
        hold(joints, build, side, offset, sunk, (-0.2, 1, -0.2))
    return joints


_STANDING = {"boxing": box, "handclapping": clap, "handwaving": wave}


def perform(
    action: str,
    build: Build,
    habit: Habit,
    rng: Generator,
    *,
    seconds: float,
    heading: float,
    spread: float = 1.0,
) -> ndarray:
    """One person doing one of the standing actions for `seconds`, facing `heading` radians (0 is to
    the right)."""
    times = np.arange(round(seconds * FPS)) / FPS
    return rotate_about_z(_STANDING[action](build, habit, times, rng, spread), heading)


def cross(
    action: str,
    build: Build,
    habit: Habit,
    rng: Generator,
    *,
    width: float,
    heading: float,
    spread: float = 1.0,
) -> ndarray:
    """One crossing of `width` metres of the image, centred on the origin, at the speed that the
    gait itself makes."""
    return walk_across(draw_gait(action, habit, rng, spread), build, rng, width, heading)


def walk_across(gait: Gait, build: Build, rng: Generator, width: float, heading: float) -> ndarray:
    """Cross `width` metres of the image with a gait, as `cross` does."""
    speed = ground_speed(gait, build)
    length = width / max(abs(np.cos(heading)), 0.5)
    times = np.arange(max(round(length / speed * FPS), 16)) / FPS
    joints = stride(gait, build, times, rng)
    joints[..., 0] += (speed * times - length / 2)[:, None]
    return rotate_about_z(joints, heading)
