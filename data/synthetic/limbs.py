"""Bodies and arms put where a movement wants them, and the courses of time that movements take.

Knows joints, resting places of a hand, and how something goes up and down again. Does not know what
a movement is called or means: see `data.synthetic.moves`.
"""

import numpy as np

from data.synthetic.body import JOINT, JOINTS, SIDES, clearance, reach, set_leg, trunk
from data.synthetic.motion import drift

SIGN = dict(SIDES)
LEG_JOINTS = [i for name, i in JOINT.items() if name.split("_")[-1] in "hip knee ankle heel toe"]
UPPER = [i for i in range(len(JOINTS)) if i not in LEG_JOINTS and i != JOINT["pelvis"]]
# where a hand rests: forward, outward and up from the shoulder in metres of a body of 1.75 m, and
# where the elbow points
RESTS = {
    "hanging": ((0.06, 0.10, -0.565), (-0.3, 0.3, -1)),
    "on the hip": ((0.05, -0.06, -0.40), (-0.3, 1, 0)),
    "in the pocket": ((0.08, -0.03, -0.52), (-0.8, 0.5, 0)),
    "crossed": ((0.22, -0.22, -0.25), (0.2, 0.6, -1)),
    "behind the back": ((-0.18, -0.15, -0.45), (-0.2, 1, -0.2)),
    "clasped": ((0.22, -0.18, -0.48), (-0.2, 0.8, -0.3)),
    "at the chin": ((0.18, -0.16, 0.06), (0.2, 0.3, -1)),
    "in the nape": ((-0.02, -0.12, 0.18), (0.2, 1, 0.4)),
    "with a telephone": ((0.28, -0.13, -0.20), (-0.1, 0.5, -1)),
}
LOOSE = ("hanging", "hanging", "hanging", "on the hip", "in the pocket")


def smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and a smooth step between."""
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


def once(t, rng, up=(0.5, 2.0), hold=(0.0, 2.0)) -> np.ndarray:
    """Up, held, and down again, once."""
    start, rise, held = rng.uniform(-0.3, 1.2), rng.uniform(*up), rng.uniform(*hold)
    fall = rise * rng.uniform(0.7, 1.3)
    return smooth((t - start) / rise) * (1 - smooth((t - start - rise - held) / fall))


def again(t, rng, rate=(0.25, 0.9)) -> np.ndarray:
    """Up and down, again and again, so many times a second."""
    uneven = t + 0.04 * drift(rng, t, period=2.0)
    return 0.5 - 0.5 * np.cos(2 * np.pi * (rng.uniform() + rng.uniform(*rate) * uneven))


def course(t, rng, chance=0.5, rate=(0.25, 0.9), **how) -> np.ndarray:
    """Once, by this chance, else again and again."""
    return once(t, rng, **how) if rng.random() < chance else again(t, rng, rate)


def tremble(t, rng, size, period=1.0) -> np.ndarray:
    """A hand's small unrest (F, 3) in metres."""
    return size * np.stack([drift(rng, t, period=period) for _ in range(3)], -1)


def swings(t, rng, low=0.3, high=1.6) -> np.ndarray:
    """An uneven swing (F,) of three rates."""
    rates, phases = rng.uniform(low, high, 3), rng.uniform(size=3)
    return 1.3 * np.sin(2 * np.pi * (np.outer(t, rates) + phases)) @ rng.dirichlet([1, 1, 1])


def body(build, t, rng, *, lean=0.0, twist=0.0, knee=5.0, hip=None, spread=0.08) -> np.ndarray:
    """A body with both legs set, on the ground. Knee and hip flexion in degrees, of both legs or
    (left, right); a hip of None keeps the feet under the body. Arms are not set."""
    still = np.zeros(len(t))
    sway = np.radians(1.2) * drift(rng, t, period=2.5)
    nod = np.radians(5) * drift(rng, t, period=3.0)
    joints = trunk(build, lean=still + lean + 0.4 * sway, twist=still + twist, nod=nod)
    knees, hips = (part if isinstance(part, tuple) else (part, part) for part in (knee, hip))
    for (side, _), bent, flexed in zip(SIDES, knees, hips, strict=True):
        k = np.radians(still + bent)
        h = 0.5 * k if flexed is None else np.radians(still + flexed)
        set_leg(joints, build, side, hip=h + 0.3 * sway, knee=k, ankle=k - h, spread=still + spread)
    joints[..., 2] -= clearance(joints)[:, None]
    joints[..., 1] += (0.02 * drift(rng, t, period=3.0))[:, None]
    return joints


def arm(joints, build, side, offset, elbow=(-0.2, 0.8, -0.8)) -> None:
    """Bring a wrist to (forward, outward, up) metres from its shoulder, (3,) or (F, 3)."""
    outward = np.array([1, SIGN[side], 1])
    offset = np.broadcast_to(np.asarray(offset, float), (len(joints), 3)) * outward
    target = joints[:, JOINT[f"{side}_shoulder"]] + offset * (build.stature / 1.75)
    reach(joints, build, side, target=target, hint=np.asarray(elbow, float) * outward)


def rest(joints, build, side, t, rng, where=None) -> None:
    """Let a hand rest somewhere."""
    offset, elbow = RESTS[where or str(rng.choice(LOOSE))]
    unrest = tremble(t, rng, float(rng.choice([0.005, 0.012, 0.04])), 1.5)
    arm(joints, build, side, offset + rng.normal(0, 0.03, 3) + unrest, elbow)


def both_rest(joints, build, t, rng, among=tuple(RESTS)) -> np.ndarray:
    """Let both hands rest alike, and return the joints."""
    where = str(rng.choice(among))
    for side, _ in SIDES:
        rest(joints, build, side, t, rng, where)
    return joints


def between(a, b, share) -> np.ndarray:
    """Places on the way from a to b (3,), by the share (F,) of it."""
    return np.asarray(a) + share[:, None] * (np.asarray(b) - np.asarray(a))


def fan(angle, reach_of=0.55) -> np.ndarray:
    """Places of a straight arm raised sideways, `angle` (F,) radians above level."""
    return np.stack([0.06 + 0 * angle, reach_of * np.cos(angle), reach_of * np.sin(angle)], -1)


def front(angle, reach_of=0.55) -> np.ndarray:
    """Places of a straight arm raised forward, `angle` (F,) radians from hanging."""
    return np.stack([reach_of * np.sin(angle), 0.05 + 0 * angle, -reach_of * np.cos(angle)], -1)


def sides(rng) -> tuple[str, str]:
    """Draw which side acts and which is the other."""
    return ("left", "right") if rng.random() < 0.5 else ("right", "left")


HANGING = np.array(RESTS["hanging"][0])


def tilt(joints, angle) -> None:
    """Lean the upper body sideways by `angle` (F,) about the pelvis."""
    pelvis = joints[:, JOINT["pelvis"]][:, None]
    x, y, z = np.moveaxis(joints[:, UPPER] - pelvis, -1, 0)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    joints[:, UPPER] = np.stack([x, cos * y - sin * z, sin * y + cos * z], -1) + pelvis
