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

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

# Degrees at 0, 10 ... 90 % of the gait cycle, from one heel strike to the next of the same foot.
_GAIT_TABLES = {
    "walk": {
        "hip": (24, 22, 15, 6, -3, -9, -6, 10, 22, 26),
        "knee": (5, 16, 15, 9, 5, 10, 36, 60, 44, 14),
        "ankle": (0, -5, 2, 6, 9, 6, -16, -7, 0, 2),
    },
    "run": {
        "hip": (36, 30, 15, 1, -9, -3, 16, 34, 45, 43),
        "knee": (18, 34, 37, 25, 18, 52, 90, 98, 64, 26),
        "ankle": (7, 17, 23, 6, -18, -11, -3, 0, 3, 5),
    },
}
# the part of the cycle before toe-off in the tables above
_TABLE_DUTY = {"walk": 0.60, "run": 0.37}


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
    def draw(rng: np.random.Generator, spread: float = 1.0) -> Habit:
        """A person's habits; `spread` widens every distribution alike (1 is KTH-Synth)."""
        sd = np.array([0.05, 0.06, 1.5, 8.0, 0.05, 0.06, 18.0, 5.0]) * spread
        values = np.array([1, 1, 0, 0, 0, 0, 0, 0], float) + rng.normal(size=8).clip(-2, 2) * sd
        return Habit(*values.tolist())


def drift(rng: np.random.Generator, seconds: np.ndarray, *, period: float) -> np.ndarray:
    """A smooth random curve of unit variance that wanders once in about `period` seconds."""
    rates = rng.uniform(0.5, 1.5, size=3) / period
    phases = rng.uniform(0, 2 * np.pi, size=3)
    return np.sqrt(2 / 3) * np.sin(2 * np.pi * np.outer(seconds, rates) + phases).sum(axis=1)


def bump(x: np.ndarray) -> np.ndarray:
    """0 outside (0, 1), a smooth hill of height 1 inside."""
    return np.where((x > 0) & (x < 1), np.sin(np.pi * np.clip(x, 0, 1)) ** 2, 0.0)


def periodic(table: tuple[float, ...], phase: np.ndarray) -> np.ndarray:
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
        (1.17, 0.11),
        (0.99, 0.07),
        (18, 7),
        (20, 9),
        (2, 2.0),
        (0.0, 0.0),
        (0.60, 0.0),
        (1.0, 0.06),
    ),
    "jogging": (
        "run",
        (0.82, 0.08),
        (1.36, 0.07),
        (25, 8),
        (80, 16),
        (4, 3.0),
        (0.035, 0.012),
        (0.42, 0.025),
        (0.84, 0.10),
    ),
    "running": (
        "run",
        (0.91, 0.09),
        (1.50, 0.09),
        (33, 10),
        (90, 15),
        (6, 3.5),
        (0.048, 0.015),
        (0.315, 0.025),
        (1.03, 0.11),
    ),
}


def draw_gait(action: str, habit: Habit, rng: np.random.Generator, spread: float = 1.0) -> Gait:
    """How this person walks, jogs or runs this time; joggers and runners overlap."""
    table, *ranges = _GAITS[action]
    values = [mean + sd * spread * float(np.clip(rng.normal(), -2.2, 2.2)) for mean, sd in ranges]
    amplitude, cadence, swing, elbow, lean, bounce, duty, lift = values
    still = None
    if (
        action == "walking" and rng.random() < 0.10 * spread
    ):  # hands in the pockets, a bag, a telephone
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


def leg_angles(gait: Gait, phase: np.ndarray) -> dict[str, np.ndarray]:
    """Hip, knee and ankle flexion (F,) in radians at `phase` cycles after heel strike."""
    table, toe_off = _GAIT_TABLES[gait.table], _TABLE_DUTY[gait.table]
    phase = phase % 1.0
    on_ground = phase < gait.duty  # the table is stretched so that its toe-off falls on this gait's
    place = np.where(
        on_ground, phase * toe_off / gait.duty, 1 - (1 - phase) * (1 - toe_off) / (1 - gait.duty)
    )
    knee = 6 + (periodic(table["knee"], place) - 6) * (0.4 + 0.6 * gait.amplitude)
    knee = np.clip(
        knee * (1 + (gait.lift - 1) * bump((phase - gait.duty) / (1 - gait.duty))), 2, 135
    )
    angles = {
        "hip": periodic(table["hip"], place) * gait.amplitude,
        "knee": knee,
        "ankle": periodic(table["ankle"], place),
    }
    return {name: np.radians(angle) for name, angle in angles.items()}


def ground_speed(gait: Gait, build: Build) -> float:
    """Metres a second at which the foot on the ground stands still."""
    phase = np.linspace(
        0.08, 0.7 * gait.duty, 24
    )  # the foot is flat: later the heel rises and the ankle moves
    angles = leg_angles(gait, phase)
    ankle_x = build.thigh * np.sin(angles["hip"]) + build.shank * np.sin(
        angles["hip"] - angles["knee"]
    )
    return float((ankle_x[0] - ankle_x[-1]) / (phase[-1] - phase[0]) * gait.cadence)


def stride(gait: Gait, build: Build, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Joints (F, J, 3) of a body that gets along on the spot, feet on the ground (z = 0)."""
    cycles = rng.uniform() + gait.cadence * (seconds + 0.02 * drift(rng, seconds, period=2.0))
    swing = 2 * np.pi * cycles
    lean = np.radians(gait.lean + 1.0 * np.sin(2 * swing))
    joints = trunk(
        build, lean=lean, twist=np.radians(0.22 * gait.arm_swing) * np.cos(swing), nod=-0.5 * lean
    )
    free = gait.still_arm is None
    for (side, _), offset in zip(SIDES, (0.0, 0.5), strict=True):
        set_leg(joints, build, side, **leg_angles(gait, cycles + offset), spread=0.02)
        forward = -np.cos(swing + 2 * np.pi * offset)
        elbow = (
            gait.elbow + 0.35 * gait.arm_swing * forward
            if free or side == "left"
            else np.full(len(seconds), gait.still_arm)
        )
        shoulder = np.radians(-0.3 * gait.arm_swing + gait.arm_swing * forward)
        set_arm(joints, build, side, shoulder=shoulder, elbow=np.radians(elbow), spread=0.12)
    contact = -clearance(joints)
    middle = np.quantile(contact, 0.25) if gait.bounce else 0.0
    flight = middle + gait.bounce * 0.5 * (1 - np.cos(2 * (swing - np.pi * gait.duty)))
    joints[..., 2] += np.maximum(contact, flight if gait.bounce else 0.0)[:, None]
    return joints


# standing


def stand(
    build: Build,
    seconds: np.ndarray,
    rng: np.random.Generator,
    *,
    lean: np.ndarray,
    twist: np.ndarray,
    crouch: float,
    stagger: float,
    apart: float,
) -> np.ndarray:
    """Joints (F, J, 3) of a body that stands with knees bent by `crouch` degrees, one foot
    `stagger` degrees ahead."""
    sway = np.radians(1.2) * drift(rng, seconds, period=2.5)
    joints = trunk(
        build,
        lean=lean + 0.4 * sway,
        twist=twist,
        nod=np.radians(3) * drift(rng, seconds, period=3.0),
    )
    knee = np.radians(crouch * (1 + 0.4 * drift(rng, seconds, period=1.5)).clip(0.1))
    for side, sign in SIDES:
        hip = np.radians(sign * stagger) + 0.5 * knee + 0.3 * sway
        set_leg(joints, build, side, hip=hip, knee=knee, ankle=knee - hip, spread=apart)
    joints[..., 2] -= clearance(joints)[:, None]
    joints[..., 1] += (0.02 * drift(rng, seconds, period=3.0))[:, None]
    return joints


def stand_at_ease(
    build: Build, habit: Habit, seconds: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Joints (F, J, 3) of a body that stands straight, feet side by side, as clapping and waving
    are done."""
    lean, twist = np.full(len(seconds), np.radians(habit.lean)), np.zeros(len(seconds))
    apart = np.radians(rng.normal(5, 2))
    return stand(build, seconds, rng, lean=lean, twist=twist, crouch=3, stagger=0.0, apart=apart)


def pauses(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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
    joints: np.ndarray,
    build: Build,
    side: str,
    offset: np.ndarray,
    sunk: np.ndarray,
    hint: np.ndarray,
) -> None:
    """Reach for points (F, 3) given from the shoulder, or let the arm hang where it has sunk."""
    sign = dict(SIDES)[side]
    hanging = np.array([0.06, sign * 0.10, -0.97 * (build.upper_arm + build.forearm)])
    target = joints[:, JOINT[f"{side}_shoulder"]] + offset + sunk[:, None] * (hanging - offset)
    reach(joints, build, side, target=target, hint=hint)


def punches(
    seconds: np.ndarray, habit: Habit, rng: np.random.Generator, spread: float
) -> np.ndarray:
    """How far each fist is out (F, 2) over time, 0 in the guard to 1: mostly left and right in
    turn."""
    out = np.zeros((len(seconds), 2))
    beat = float(np.clip(rng.normal(0.46, 0.08 * spread), 0.28, 0.9)) / habit.tempo
    strength = float(np.clip(rng.normal(0.88, 0.09 * spread), 0.45, 1.0))
    start, side = -rng.uniform(0, beat), int(rng.integers(2))
    while start < seconds[-1]:
        length = beat * rng.uniform(0.95, 1.35)
        x = (seconds - start) / length
        out[:, side] = np.maximum(
            out[:, side], strength * rng.uniform(0.85, 1.08) * bump(np.clip(x, 0, 1) ** 0.8)
        )
        start += beat * rng.uniform(0.85, 1.2) + (
            rng.uniform(0.2, 0.6) if rng.random() < 0.06 else 0.0
        )
        side = 1 - side if rng.random() < 0.9 else side
    return out


def box(
    build: Build, habit: Habit, seconds: np.ndarray, rng: np.random.Generator, spread: float
) -> np.ndarray:
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
    guard_x, guard_z = (
        rng.normal(0.26, 0.05 * spread),
        rng.normal(-0.06 + habit.guard, 0.07 * spread),
    )
    hit_z, narrow = rng.normal(0.02, 0.05 * spread), rng.uniform(0.35, 0.8)
    for (side, sign), e in zip(SIDES, out.T, strict=True):
        wobble = 0.015 * drift(rng, seconds, period=0.8)
        guard = np.stack(
            [guard_x + wobble, np.full_like(e, -sign * 0.1 * narrow), guard_z + wobble], axis=-1
        )
        hit = np.array([(build.upper_arm + build.forearm) * 0.99 / scale, -sign * 0.12, hit_z])
        elbow = np.array([-0.2, sign * rng.uniform(0.1, 0.9), -1.0])
        hold(joints, build, side, scale * (guard + e[:, None] * (hit - guard)), sunk, elbow)
    return joints


def clap(
    build: Build, habit: Habit, seconds: np.ndarray, rng: np.random.Generator, spread: float
) -> np.ndarray:
    """The hands meet before the chest or the belt and open sideways, half or all the way."""
    rate = float(np.clip(rng.normal(1.25, 0.2 * spread), 0.7, 2.4)) * habit.tempo
    cycles = rng.uniform() + rate * (seconds + 0.03 * drift(rng, seconds, period=2.0))
    opened = (0.5 - 0.5 * np.cos(2 * np.pi * cycles)) ** rng.uniform(0.7, 1.3)
    sunk = pauses(seconds, rng)
    joints = stand_at_ease(build, habit, seconds, rng)
    arm = build.upper_arm + build.forearm
    lift = np.radians(np.clip(rng.normal(-12 + habit.clap_lift, 22 * spread), -75, 45))
    wide = float(np.clip(rng.normal(0.76, 0.16 * spread), 0.30, 0.98)) * arm
    height = np.clip(rng.normal(-0.18 + habit.clap_height, 0.09 * spread), -0.45, 0.10)
    forward = rng.uniform(0.22, 0.36)
    for side, sign in SIDES:
        closed = np.array([forward, -sign * (build.half_shoulders - 0.03), height])
        away = np.array([0.12, sign * wide * np.cos(lift), wide * np.sin(lift)])
        offset = closed + opened[:, None] * (away - closed)
        hold(joints, build, side, offset, sunk, np.array([-0.3, sign * 0.5, -1.0]))
    return joints


def wave(
    build: Build, habit: Habit, seconds: np.ndarray, rng: np.random.Generator, spread: float
) -> np.ndarray:
    """Both arms swing sideways from the thighs until the hands meet over the head, and back."""
    rate = float(np.clip(rng.normal(0.68, 0.11 * spread), 0.35, 1.4)) * habit.tempo
    cycles = rng.uniform() + rate * (seconds + 0.04 * drift(rng, seconds, period=2.0))
    raised = 0.5 - 0.5 * np.cos(2 * np.pi * cycles)
    sunk = pauses(seconds, rng)
    bottom = np.clip(rng.normal(-52, 20 * spread), -80, 20)
    top = np.clip(rng.normal(90 + habit.wave_top, 14 * spread), 40, 114)
    joints = stand_at_ease(build, habit, seconds, rng)
    arm = build.upper_arm + build.forearm
    bent = rng.uniform(0.82, 0.96)
    late = rng.normal(0, 0.012)
    for side, sign in SIDES:
        angle = np.radians(bottom + (top - bottom) * np.clip(raised + sign * late, 0, 1))
        length = arm * (0.97 - (0.97 - bent) * raised**2)
        offset = np.stack(
            [np.full_like(angle, 0.08), sign * length * np.cos(angle), length * np.sin(angle)],
            axis=-1,
        )
        hold(joints, build, side, offset, sunk, np.array([-0.2, sign * 1.0, -0.2]))
    return joints


_STANDING = {"boxing": box, "handclapping": clap, "handwaving": wave}


def perform(
    action: str,
    build: Build,
    habit: Habit,
    rng: np.random.Generator,
    *,
    seconds: float,
    heading: float,
    spread: float = 1.0,
) -> np.ndarray:
    """One person doing one of the standing actions for `seconds`, facing `heading` radians (0 is to
    the right)."""
    times = np.arange(round(seconds * FPS)) / FPS
    return rotate_about_z(_STANDING[action](build, habit, times, rng, spread), heading)


def cross(
    action: str,
    build: Build,
    habit: Habit,
    rng: np.random.Generator,
    *,
    width: float,
    heading: float,
    spread: float = 1.0,
) -> np.ndarray:
    """One crossing of `width` metres of the image, centred on the origin, at the speed that the
    gait itself makes."""
    gait = draw_gait(action, habit, rng, spread)
    speed = ground_speed(gait, build)
    length = width / max(abs(np.cos(heading)), 0.5)
    times = np.arange(max(round(length / speed * FPS), 16)) / FPS
    joints = stride(gait, build, times, rng)
    joints[..., 0] += (speed * times - length / 2)[:, None]
    return rotate_about_z(joints, heading)
