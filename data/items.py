"""What a data set is made of: a video file with its class and who is in it, and a part of it.

Knows names, classes, persons and the three parts of a split. Does not know which classes or persons
there are, nor how files are found.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from data.annotations import key_of
from data.video import USUAL_FPS

PARTS = ("train", "validation", "test")  # of a split, and the folders that stand for them
Person = int | str  # a number where every person of a data set has one
Labelled = TypeVar("Labelled", bound="Segment")


@dataclass(frozen=True, order=True)
class Video:
    """One video file, its class, and what is told of it; what is not told is None.

    fps is the frame rate that the file states, the usual one until somebody has looked. classes are
    those of its data set, in the order of their labels.
    """

    path: Path
    action: str | None
    person: Person | None
    scenario: int | None
    fps: float = USUAL_FPS
    classes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The key of the segment tables: the file's stem without KTH's "_uncomp", names of KTH's as
        KTH spells them, such as "person01_boxing_d1"."""
        return key_of(self.path.stem)

    @property
    def label(self) -> int:
        """Index of the action in classes; ValueError when it is unknown or none of them."""
        if self.action is None:
            raise ValueError(f"{self.path}: no action is known for this video, so it has no label")
        if self.action not in self.classes:
            known = ", ".join(self.classes) or "none are known"
            raise ValueError(f"{self.path}: {self.action!r} is none of the classes ({known})")
        return self.classes.index(self.action)

    @property
    def part(self) -> str | None:
        """The part of a split in whose folder the file lies, above its class; None without."""
        parts = self.path.parts
        return parts[-3] if len(parts) > 2 and parts[-3] in PARTS else None

    @property
    def place(self) -> str:
        """Where the file lies within its data set, such as "boxing/001.avi"; a split's folder
        counts, for files without a person may share the rest."""
        return "/".join(self.path.parts[-3:] if self.part else self.path.parts[-2:])

    @property
    def group(self) -> str:
        """What must stay within one split: the person ("person01", or a name), or the file (its
        whole path) when no person is known."""
        if self.person is None:
            return self.path.as_posix()
        return f"person{self.person:02d}" if isinstance(self.person, int) else self.person

    @property
    def who(self) -> Person:
        """Whom folds deal: the person, or where the file lies when no person is known."""
        return self.place if self.person is None else self.person


@dataclass(frozen=True, order=True)
class Segment:
    """Frames start..stop-1 (0-based, end-exclusive) of a video; index is its 0-based place in the
    annotation."""

    video: Video
    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        """Number of frames."""
        return self.stop - self.start

    @property
    def name(self) -> str:
        """The video's name and the 1-based segment number, such as "person01_boxing_d1#1"."""
        return f"{self.video.name}#{self.index + 1}"

    @property
    def label(self) -> int:
        """Index of the video's action in its classes."""
        return self.video.label


def labelled(segments: Sequence[Labelled], classes: Sequence[str]) -> list[Labelled]:
    """Return segments whose labels count among these classes.

    Raises ValueError, naming actions and classes, where an action is none of them.
    """
    there, names = {segment.video.action for segment in segments}, tuple(classes)
    if unknown := sorted(map(str, there - set(names))):
        raise ValueError(
            f"the videos show {', '.join(unknown)}, which is none of the classes "
            f"{', '.join(names)}: leave those folders out, or name them as the classes are named"
        )
    videos = {segment.video: replace(segment.video, classes=names) for segment in segments}
    return [replace(segment, video=videos[segment.video]) for segment in segments]


def ordered(persons: Iterable[Person]) -> list[Person]:
    """Sort persons: numbers, and behind them names and places."""
    return sorted(persons, key=lambda who: (isinstance(who, str), who))


def classes_of(segments: Iterable[Segment]) -> tuple[str, ...]:
    """Return the classes that segments are labelled by; none where there are no segments."""
    return next((segment.video.classes for segment in segments), ())


def check_disjoint(splits: Mapping[str, Iterable[Segment]]) -> None:
    """Raise ValueError, naming persons and splits, when a person (or a file without one) is in more
    than one split."""
    groups = {name: {segment.video.group for segment in part} for name, part in splits.items()}
    if shared := sorted(in_several(groups)):
        raise ValueError(
            f"in more than one split: {'; '.join(shared)}; give each person to one split only"
        )


def in_several(parts: Mapping[str, Iterable[str]]) -> list[str]:
    """Name whoever is in several parts, or several times in one, such as "person01 (train, test)",
    in the order in which they are met."""
    where: dict[str, list[str]] = defaultdict(list)
    for part, members in parts.items():
        for member in members:
            where[member].append(part)
    return [f"{member} ({', '.join(names)})" for member, names in where.items() if len(names) > 1]
