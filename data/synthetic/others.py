"""Rendered people who do what is none of the six actions: who they are, where, and as files.

Knows movements and how KTH-Synth's scenes and files are made. Does not know what a finder or a
classifier makes of them. The files are <kind>/personNN_<kind>_dS.avi, as other places' clips lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from tqdm.auto import tqdm

from data.files import StrPath, home, sweep, write_json
from data.kth import CARD
from data.processes import in_processes
from data.synthetic.body import rotate_about_z
from data.synthetic.dataset import (
    AUXILIARY_SPREAD,
    VERSION,
    Person,
    Shot,
    camera_of,
    check_card,
    read_card,
    render_file,
    scene_of,
)
from data.synthetic.motion import FPS
from data.synthetic.moves import MOVES, Move
from data.synthetic.render import WIDTH, Camera

FRAMES = 112  # of a movement, 4.5 seconds
FIRST = 601  # number of the first person
STREAM = 5  # first word but one of the random streams


@dataclass(frozen=True)
class Moving:
    """Somebody who moves: who, in which scenario, before which camera, and how.

    Args:
        joints: In the world (F, J, 3), metres.
        heading: Radians (F,).
        move: What the movement says of itself.
    """

    person: Person
    scenario: int
    camera: Camera
    joints: np.ndarray
    heading: np.ndarray
    move: Move


def draw_moving(kind: str, rng: Generator, near: float = 0.5) -> Moving:
    """Draw somebody who does this kind of movement; `near` is the chance of a camera that comes
    close where the legs need not be seen."""
    person, scenario = Person.draw(rng, AUXILIARY_SPREAD), int(rng.integers(1, 5))
    seconds = np.arange(FRAMES) / FPS
    move = MOVES[kind](person.build, person.habit, seconds, rng)
    heading: Any = move.heading
    if heading is None:
        front = -np.pi / 2 + rng.normal(0, 0.35)
        side = rng.choice([0, np.pi]) + rng.normal(0, 0.35)
        chance = rng.random()
        any_way = rng.uniform(-np.pi, np.pi)
        heading = any_way if chance < 0.3 else side if chance < 0.55 else front
    heading = np.broadcast_to(heading, FRAMES)
    joints = rotate_about_z(move.joints, heading[..., None])
    camera = camera_of("walking" if move.goes else "boxing", scenario, rng, AUXILIARY_SPREAD)
    if not move.legs and rng.random() < near:
        camera = close_up(camera, person, rng)
    if not move.goes:
        joints[..., 0] += float(np.clip(rng.normal(0, 0.25), -0.6, 0.6))
    return Moving(person, scenario, camera, joints, heading, move)


def close_up(camera: Camera, person: Person, rng: Generator) -> Camera:
    """The same camera nearer: from the knees or the waist up."""
    scale, head = float(rng.uniform(38, 115)), float(rng.uniform(4, 40))
    return replace(
        camera,
        scale=scale,
        row=head + person.build.stature * scale * 0.97,
        column=float(rng.uniform(0.3, 0.7) * WIDTH),
        pitch=float(rng.uniform(-0.05, 0.25)),
    )


def render_others(
    root: StrPath | None = None,
    *,
    seed: int = 0,
    persons: int = 6,
    kinds: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Render every kind of movement by so many persons, each another one; root is
    Data/KTH-Synth-Others at `data.files.home` unless given.

    Files that are there already are kept; `kinds` renders these alone, None all of MOVES. Raises
    ValueError when the folder holds videos that were rendered otherwise, for a kind that there is
    not, and for less than one person; else as `render_dataset` does.
    """
    kinds = tuple(MOVES) if kinds is None else kinds
    if unknown := sorted(set(kinds) - set(MOVES)):
        raise ValueError(f"no movement {', '.join(unknown)}; there are {', '.join(MOVES)}")
    if persons < 1:
        raise ValueError(f"other movements of {persons} persons; it takes 1 or more")
    root = Path(root or home("Data/KTH-Synth-Others"))
    card = {"name": "KTH-Synth others", "version": VERSION, "seed": seed}
    if read_card(root) != card and any(root.glob("*/*.avi")):
        raise ValueError(f"{root} holds videos that were rendered otherwise; choose another folder")
    write_json(root / CARD, card)
    sweep(root)
    cast = [(number, kind) for number in range(FIRST, FIRST + persons) for kind in kinds]
    done = in_processes(partial(_render_missing, root, card), cast, workers)
    for _ in tqdm(done, total=len(cast), desc=card["name"], unit="file", disable=not progress):
        pass
    check_card(root, card)
    return root


def other_shot(kind: str, number: int = FIRST, *, seed: int = 0) -> tuple[Shot, int]:
    """Return the shot of one file, person `number` in one kind of MOVES, and its scenario."""
    rng = np.random.default_rng([seed, STREAM, number, list(MOVES).index(kind)])
    one = draw_moving(kind, rng, near=0.3)
    scene = scene_of(one.person, one.scenario, one.camera, rng, AUXILIARY_SPREAD)
    return Shot(scene, one.joints, one.heading, ((0, FRAMES),), rng), one.scenario


def _render_missing(root: Path, card: dict[str, Any], role: tuple[int, str]) -> None:
    number, kind = role
    shot, scenario = other_shot(kind, number, seed=card["seed"])
    render_file(root / kind / f"person{number}_{kind}_d{scenario}.avi", shot, root, card)
