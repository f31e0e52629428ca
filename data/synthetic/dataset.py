"""KTH-Synth: KTH's files, names and annotations with rendered people in them; also a wider
auxiliary training set.

Knows who the 25 persons are, how the four scenarios are set up and how clips become files. How a
body moves is `data.synthetic.motion`, how it looks is `data.synthetic.render`. Nothing in here is
trained on frames of KTH: lengths of segments follow the published annotation file, the scenes its
description (d1 outdoors, d2 scale, d3 clothes, d4 indoors), and the height of figures, the
sharpness and the empty frames at the start of a crossing what its public clips show (`python har.py
study realism` puts both in numbers).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy import ndarray
from numpy.random import Generator
from tqdm.auto import tqdm

from data.annotations import Ranges, write_segments
from data.decoding import decode_whole
from data.files import StrPath, home, read_json, sweep, write_json, written_whole
from data.kth import ACTIONS, CARD, OWN_TABLE, Video
from data.processes import in_processes
from data.synthetic.body import JOINTS, Build
from data.synthetic.motion import FPS, LOCOMOTION, Habit, cross, perform, within
from data.synthetic.render import (
    HEIGHT,
    WIDTH,
    Camera,
    Clothes,
    Light,
    Renderer,
    Scene,
    dress,
    folds_texture,
    ground,
    room,
)

VERSION = 4
PERSONS = tuple(range(1, 26))
SCENARIOS = (1, 2, 3, 4)
# how much wider than KTH-Synth's the ranges are from which the auxiliary training set is drawn
AUXILIARY_SPREAD = 1.6
AUXILIARY_FROM = 101  # number of its first person
# mean length of an annotated segment in frames (KTH's own, from its annotation file)
SEGMENT_FRAMES = {"boxing": 110, "handclapping": 106, "handwaving": 129}
# KTH's annotated crossings last a quarter longer in d4 than in d1; a room is short, and people take
# their time
INDOORS = 0.82
# frames between the start of an annotated crossing and the first of the person in the image, from
# .. up to, and how far its end is at most from his last; KTH's annotators began in the empty field
# and ended about when he left
LEAD, TAIL = (4, 18), 7
_FAR_AWAY = 1e4  # metres: where the actor is while the camera sees an empty scene


@dataclass(frozen=True)
class Person:
    """Somebody who acts: a build, habits, his usual clothes and those of scenario d3."""

    build: Build
    habit: Habit
    clothes: Clothes
    heavy: Clothes

    @staticmethod
    def draw(rng: Generator, spread: float = 1.0) -> "Person":
        """A person from a random stream; `spread` widens builds and habits alike."""
        around = rng.normal(size=4).clip(-2.2, 2.2) * spread
        measures = (1.72, 1, 1, 1) + around * (0.08, 0.09, 0.06, 0.02)
        return Person(
            Build(*measures.tolist()),
            Habit.draw(rng, spread),
            Clothes.draw(rng, spread=spread),
            Clothes.draw(rng, heavy=True, spread=spread),
        )


@dataclass(frozen=True)
class Shot:
    """One file before it is drawn: the scene, the joints (F, J, 3), headings (F,) and the annotated
    ranges."""

    scene: Scene
    joints: ndarray
    heading: ndarray
    segments: Ranges
    rng: Generator

    def __len__(self) -> int:
        return len(self.joints)

    def renderer(self) -> Renderer:
        """A renderer of this shot; shots draw the same frames every time they are made from the
        same seed."""
        return Renderer(self.scene, self.joints, self.heading, self.rng)


def make_person(seed: int, number: int, spread: float = 1.0) -> Person:
    """Person `number` of the data set with this seed."""
    return Person.draw(np.random.default_rng([seed, 1, number]), spread)


def shot_of(
    person: int,
    action: str,
    scenario: int,
    *,
    seed: int = 0,
    segments: int = 1,
    spread: float = 1.0,
) -> Shot:
    """The shot of one file of the data set with this seed."""
    rng = np.random.default_rng([seed, 2, person, ACTIONS.index(action), scenario])
    actor = make_person(seed, person, spread)
    return make_shot(actor, action, scenario, rng, segments=segments, spread=spread)


def make_shot(
    person: Person,
    action: str,
    scenario: int,
    rng: Generator,
    *,
    segments: int = 2,
    spread: float = 1.0,
) -> Shot:
    """Put a person into a scenario and let him act, `segments` times."""
    camera, joints, heading, ranges = stage(person, action, scenario, rng, segments, spread)
    scene = scene_of(person, scenario, camera, rng, spread)
    if scenario == 2 and action not in LOCOMOTION:
        scene = replace(scene, zoom=_zoom(len(joints), rng))
    return Shot(scene, joints, heading, ranges, rng)


def stage(
    person: Person,
    action: str,
    scenario: int,
    rng: Generator,
    segments: int = 2,
    spread: float = 1.0,
) -> tuple[Camera, np.ndarray, np.ndarray, Ranges]:
    """Let a person act before a camera: joints (F, J, 3), headings (F,) and annotated ranges.

    Raises ValueError for an unknown action.
    """
    if action not in ACTIONS:
        raise ValueError(f"unknown action {action!r}; KTH has {', '.join(ACTIONS)}")
    take = _Take(
        person, action, scenario, camera_of(action, scenario, rng, spread), segments, spread
    )
    acted = (_walk_by if action in LOCOMOTION else _stand_there)(take, rng)
    return take.camera, *acted


def camera_of(action: str, scenario: int, rng: Generator, spread: float) -> Camera:
    """Set up a scenario's camera for an action."""
    # a person of 1.75 m fills three quarters of the image's height
    scale = rng.normal(51, 6 * spread)
    if scenario == 2 and action in LOCOMOTION:
        scale *= rng.uniform(0.45, 0.9)
    scale = float(np.clip(scale, 20, 60))
    pitch = within(rng, 0.10 if scenario == 4 else 0.22, 0.05 * spread, 0.02, 0.45)
    # bounded so that the head stays in the image
    feet = within(rng, 60 + 0.93 * scale, 6, scale * 1.8 + 6, HEIGHT - 4)
    return Camera(scale, rng.uniform(9, 20), pitch, WIDTH / 2, feet)


def scene_of(person: Person, scenario: int, camera: Camera, rng: Generator, spread: float) -> Scene:
    """Draw ground and light of a scenario, and dress the person for it."""
    clothes = person.heavy if scenario == 3 else person.clothes
    if scenario == 4:
        wall = rng.uniform(0.6, 1.6)
        side = rng.choice([-1, 1]) * rng.uniform(0.2, 0.9)
        light = Light(
            (side, -0.9, rng.uniform(0.1, 0.5)),
            rng.uniform(0.15, 0.4),
            rng.uniform(0.1, 0.45),
            rng.uniform(1.0, 4.0),
            wall,
        )
        background = room(rng, camera, wall, spread)
    else:
        sunny = rng.random() < 0.3
        light = Light(
            (rng.uniform(-0.9, 0.9), rng.uniform(-0.6, 0.6), rng.uniform(0.35, 0.9)),
            rng.uniform(0.06, 0.22) + 0.15 * sunny,
            rng.uniform(0.15, 0.4) if sunny else rng.uniform(0.0, 0.12),
            1.0 if sunny else 3.0,
        )
        background = ground(rng, spread)
    return Scene(
        camera,
        light,
        background,
        dress(person.build, clothes),
        person.build,
        folds_texture(rng, clothes.folds),
        blur=rng.uniform(0.2, 0.5 + 0.2 * spread),
        crisp=rng.uniform(0, 1.2),
        noise=rng.uniform(0.4, 1.4 + 0.8 * spread),
        gain=rng.uniform(0, 0.006),
        quality=int(rng.integers(45 if spread > 1 else 65, 96)),
        exposure=rng.normal(205, 15),
    )


def _zoom(frames: int, rng: Generator) -> ndarray:
    """The zoom (F,) of scenario d2: out and in again, smoothly."""
    low, period = rng.uniform(0.45, 0.75), rng.uniform(4.0, 9.0)
    seconds = np.arange(frames) / FPS
    return low + (1 - low) * (0.5 + 0.5 * np.sin(2 * np.pi * (seconds / period + rng.uniform())))


@dataclass(frozen=True)
class _Take:
    """Who does what where, how often, and how far the ranges are widened."""

    person: Person
    action: str
    scenario: int
    camera: Camera
    segments: int
    spread: float


def _walk_by(take: _Take, rng: Generator) -> tuple[ndarray, ndarray, Ranges]:
    """Crossings to and fro with an empty scene between them: joints, headings, annotated ranges."""
    build, habit = take.person.build, take.person.habit
    if take.scenario == 4:
        habit = replace(habit, tempo=habit.tempo * INDOORS)
    slant = 16 if take.scenario == 2 else 5
    direction = rng.integers(2)
    joints, headings, ranges = [_nobody(rng.integers(2, 20))], [], []
    for number in range(take.segments):
        facing = np.pi * ((direction + number) % 2)
        facing += np.radians(within(rng, 0, 1, -2, 2) * slant * take.spread)
        scale = take.camera.scale
        width = WIDTH / scale + 2 * (build.stature * 0.35)
        passing = cross(
            take.action, build, habit, rng, width=width, heading=facing, spread=take.spread
        )
        columns = take.camera.project(passing[:, 0])[0][:, 0]
        half_body = 0.2 * scale
        seen = np.flatnonzero(np.abs(columns - WIDTH / 2) < WIDTH / 2 + half_body)
        seen += sum(map(len, joints))
        first = seen[0] - rng.integers(*LEAD)
        end = seen[-1] + 1 + rng.integers(-TAIL, TAIL + 1)
        ranges.append((max(int(first), 0), int(end)))
        last = number + 1 == take.segments
        pause = rng.integers(TAIL, 60) if last else rng.integers(LEAD[1] + TAIL, 46)
        joints += [passing, _nobody(pause)]
        headings += [facing] * 2
    lengths = list(map(len, joints))
    return np.concatenate(joints), np.repeat([headings[0], *headings], lengths), tuple(ranges)


def _nobody(frames: np.integer) -> ndarray:
    return np.full((frames, len(JOINTS), 3), [_FAR_AWAY, 0.0, 0.0])


def _stand_there(take: _Take, rng: Generator) -> tuple[ndarray, ndarray, Ranges]:
    """One performance on the spot, cut into contiguous segments as KTH's annotators did."""
    mean, boxing = SEGMENT_FRAMES[take.action], take.action == "boxing"
    lengths = mean * np.exp(rng.normal(-0.03, 0.25, size=take.segments))
    lengths = np.clip(lengths, 0.45 * mean, 2.2 * mean).round().astype(int)
    facing = np.pi * rng.integers(2) if boxing else -np.pi / 2
    facing += np.radians(within(rng, 0, 1, -2.2, 2.2) * (22 if boxing else 14) * take.spread)
    joints = perform(
        take.action,
        take.person.build,
        take.person.habit,
        rng,
        seconds=lengths.sum() / FPS,
        heading=facing,
        spread=take.spread,
    )
    joints[..., 0] += within(rng, 0, 0.25, -0.6, 0.6)
    ranges = tuple(pairwise([0, *np.cumsum(lengths).tolist()]))
    return joints, np.full(len(joints), facing), ranges


def visible(root: StrPath, video: Video) -> ndarray:
    """Tell in which frames of a file of KTH-Synth (F,) half of the person's joints or more are in
    the image.

    It is known, not estimated: the file's joints are made again, and not drawn.

    Raises:
        ValueError: The file is not one of a rendered grid of persons, actions and scenarios.
    """
    if None in (video.person, video.action, video.scenario):
        raise ValueError(f"{video.path} does not name its person, action and scenario")
    card = read_json(Path(root) / CARD)
    made = {"seed": card["seed"], "segments": card["segments"]}
    shot = shot_of(video.person, video.action, video.scenario, **made)  # type: ignore[arg-type]
    points = shot.scene.camera.project(shot.joints)[0]  # (F, J, 2)
    return np.asarray(((points >= 0) & (points < (WIDTH, HEIGHT))).all(-1).mean(-1) >= 0.5)


# the data set on disk


def render_dataset(
    root: StrPath | None = None,
    *,
    seed: int = 0,
    segments: int = 2,
    persons: Iterable[int] = PERSONS,
    actions: Sequence[str] = ACTIONS,
    scenarios: Sequence[int] = SCENARIOS,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Render KTH-Synth into root/<action>/personXX_<action>_dY.avi with segments.csv and
    dataset.json beside it; root is Data/KTH-Synth at `data.files.home` unless given.

    Files that are there already are kept, so that an interrupted run continues; another seed,
    number of segments or version of the renderer renders anew. Same arguments, same bytes on one
    machine.

    Programs that render one set into one folder at the same time all succeed.

    Raises:
        ValueError: the folder holds videos that this function did not render, or an action is
            unknown.
        FileExistsError: another program has begun to render the folder otherwise.
        ChildProcessError: a process was killed; what is finished stays.
    """
    root = root or home("Data/KTH-Synth")
    cast = list(product(persons, actions, scenarios))
    settings = {"seed": seed, "segments": segments}
    return _render_all(root, "KTH-Synth", cast, workers, progress, **settings)


def render_auxiliary(
    root: StrPath | None = None,
    *,
    seed: int = 0,
    persons: int = 400,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Render an auxiliary training set: persons from 101 on, six actions, one segment and scenario
    each; root is Data/KTH-Synth-Auxiliary at `data.files.home` unless given.

    A classifier trained on eight persons learns eight persons. Here every person is another draw,
    from ranges AUXILIARY_SPREAD times as wide as KTH-Synth's (domain randomisation), as for
    pre-training; none of KTH-Synth's 25 is among them, and they are in no official split. Raises
    ValueError as `render_dataset` does, and for less than one person.
    """
    if persons < 1:
        raise ValueError(f"an auxiliary training set of {persons} persons; it takes 1 or more")
    numbers = range(AUXILIARY_FROM, AUXILIARY_FROM + persons)
    cast = [(n, action, 1 + (n + i) % 4) for n in numbers for i, action in enumerate(ACTIONS)]
    root = root or home("Data/KTH-Synth-Auxiliary")
    settings = {"seed": seed, "spread": AUXILIARY_SPREAD}
    return _render_all(root, "KTH-Synth auxiliary", cast, workers, progress, **settings)


def _render_all(
    root: StrPath,
    name: str,
    cast: list[tuple],
    workers: int | None,
    progress: bool,
    **settings: Any,
) -> Path:
    """Render a cast of (person, action, scenario); settings go to `shot_of` and on the card."""
    root = Path(root)
    card = {"name": name, "version": VERSION, **settings}
    _prepare_root(root, card)
    sweep(root)
    done = in_processes(partial(_render_missing, root, card, settings), cast, workers)
    bar = tqdm(done, total=len(cast), desc=name, unit="file", disable=not progress)
    table = dict(bar)
    check_card(root, card)
    write_segments(root / OWN_TABLE, table)
    return root


def _prepare_root(root: Path, card: dict[str, Any]) -> None:
    """Make the folder ours and empty it of files that other settings rendered.

    It needs no lock, which not every file system has: of two programs with the same settings each
    finds what it wants, and one with others is noticed by its card, see `render_file`.
    """
    there = read_card(root)
    if there == card:
        return
    if there.get("name") != card["name"] and any(root.glob("*/*.avi")):
        raise ValueError(
            f"{root} holds videos but no {CARD} of {card['name']}: not this rendered data set; "
            "choose another folder"
        )
    # a card that says no more lets nobody add to what is being removed
    write_json(root / CARD, {"name": card["name"]})
    # written last: its presence says that the set is whole
    (root / OWN_TABLE).unlink(missing_ok=True)
    for old in root.glob("*/person*_d?.avi"):
        old.unlink(missing_ok=True)
    write_json(root / CARD, card)


def read_card(root: Path) -> dict[str, Any]:
    """Return what a rendered folder says it was made with; nothing where there is no such file."""
    try:
        found = read_json(root / CARD)
    except (FileNotFoundError, ValueError):
        found = {}
    return found if isinstance(found, dict) else {}


def check_card(root: Path, card: dict[str, Any]) -> None:
    """Raise FileExistsError when a folder is being rendered by another program and otherwise."""
    there = read_card(root)
    if there != card:
        raise FileExistsError(
            f"{root} is being rendered by another program with {there}, here it is {card}; render "
            "into another folder"
        )


def _render_missing(root: Path, card: dict, settings: dict, role: tuple) -> tuple[str, Ranges]:
    person, action, scenario = role
    path = root / action / f"person{person:02d}_{action}_d{scenario}.avi"
    shot = shot_of(*role, **settings)
    render_file(path, shot, root, card)
    return path.stem, shot.segments


def render_file(path: Path, shot: Shot, root: Path, card: dict[str, Any]) -> None:
    """Draw a shot into a file, if it is not there; raise FileExistsError where its folder's card
    has become another one meanwhile."""
    if not path.is_file():
        write_video(path, _frames(shot, root, card))


def _frames(shot: Shot, root: Path, card: dict[str, Any]) -> Iterator[ndarray]:
    renderer = shot.renderer()
    yield from (renderer.frame(number) for number in range(len(shot)))
    check_card(root, card)


def write_video(path: Path, frames: Iterable[ndarray]) -> None:
    """Write grey frames (HEIGHT, WIDTH) uint8 as MPEG-4 in AVI at 25 fps, whole or not at all."""
    with written_whole(path) as partial:
        codec = cv2.VideoWriter.fourcc(*"XVID")
        # a str that is no text, as Python has a name that is not UTF-8, ends OpenCV and all with it
        name: Any = os.fsencode(partial)
        writer = cv2.VideoWriter(name, codec, FPS, (WIDTH, HEIGHT), isColor=False)
        if not writer.isOpened():
            raise OSError(
                f"{path}: OpenCV cannot write MPEG-4 AVI here; is the folder writable, is there "
                "space on the disk?"
            )
        count = 0
        for frame in frames:
            writer.write(frame)
            count += 1
        writer.release()
        if not _holds(partial, count):
            raise OSError(
                f"{path}: its {count} frames could not all be written; is there space on the disk? "
                "What is finished stays, and the same command goes on from there"
            )


def _holds(path: Path, count: int) -> bool:
    """Tell whether an AVI file is as long as it says and has so many frames: OpenCV's writer says
    nothing of a disk that is full."""
    with path.open("rb") as file:
        length = 8 + int.from_bytes(file.read(8)[4:], "little")
    return length == path.stat().st_size and decode_whole(path).frames == count
