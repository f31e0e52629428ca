"""What the files of KTH mean: names, actions, persons, the official split, annotated segments,
unusable files.

Knows file names and frame counts only: it fetches nothing, renders nothing, hands out no pixels and
has never heard of a tensor. KTH-Synth uses the same names, so everything here holds for both data
sets.
"""

import csv
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.files import StrPath, printable, read_json, write_csv
from data.video import VideoError, probe

ACTIONS = (
    "boxing",
    "handclapping",
    "handwaving",
    "jogging",
    "running",
    "walking",
)  # an action's index is its label
SCENARIOS = {
    1: "outdoors",
    2: "outdoors, scale variation",
    3: "outdoors, other clothes",
    4: "indoors",
}
# persons, in the order of the official annotation file (Schuldt, Laptev and Caputo, ICPR 2004)
SPLITS = {
    "train": (11, 12, 13, 14, 15, 16, 17, 18),
    "validation": (19, 20, 21, 23, 24, 25, 1, 4),
    "test": (22, 2, 3, 5, 6, 7, 8, 9, 10),
}
FPS = 25
MISSING = (
    "person13_handclapping_d3"  # the one (person, action, scenario) of 600 that was never published
)
SHORT_FILES = {
    "person01_boxing_d4": 304
}  # KTH's own, published cut off: its header promises 370 frames, 304 decode
VIDEO_SUFFIXES = (".avi", ".mp4")
SEGMENTS_CSV = Path(__file__).with_name("kth_segments.csv")
OWN_TABLE = "segments.csv"  # in the folder of a data set that is not KTH itself
CSV_HEADER = ["video", "segment", "start", "stop"]
CARD = "dataset.json"  # of a rendered data set: its name, and what it was rendered with
FAST_STEP = 8  # a fast run takes every eighth segment: all persons and actions, one scenario

_NAME = re.compile(
    r"person(?P<person>\d+)_(?P<action>[a-z]+)(?:_d(?P<scenario>\d+))?", re.IGNORECASE
)

Ranges = tuple[tuple[int, int], ...]
Report = Callable[[str], None]


@dataclass(frozen=True, order=True)
class Video:
    """One video file and what its name tells; what the name does not tell is None.

    fps is the frame rate that the file states, KTH's own until somebody has looked.
    """

    path: Path
    action: str | None
    person: int | None
    scenario: int | None
    fps: float = FPS

    @property
    def name(self) -> str:
        """The file's stem without KTH's "_uncomp", such as "person01_boxing_d1"; the key of the
        segment tables."""
        return self.path.stem.removesuffix("_uncomp")

    @property
    def label(self) -> int:
        """Index of the action in ACTIONS; ValueError when the action is unknown."""
        if self.action is None:
            raise ValueError(f"{self.path}: no action is known for this video, so it has no label")
        return ACTIONS.index(self.action)

    @property
    def group(self) -> str:
        """What must stay within one split: the person ("person01"), or the file's name when no
        person is known."""
        return self.path.name if self.person is None else f"person{self.person:02d}"


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
        """Index of the video's action in ACTIONS."""
        return self.video.label


# names and files


def parse_name(path: StrPath) -> Video:
    """Read action, person and scenario from a file's name; the action from its folder when the name
    has none.

    Raises ValueError when the action is not one of ACTIONS.
    """
    path = Path(path)
    match = _NAME.match(path.stem)
    parts = match.groupdict() if match else {}
    action = parts.get("action", path.parent.name).lower()
    if action not in ACTIONS:
        where = "its name" if parts else "its folder"
        raise ValueError(
            f"{path}: unknown action {action!r} in {where}; known actions are "
            f"{', '.join(ACTIONS)}: rename it or move it away"
        )
    person, scenario = (parts.get(key) for key in ("person", "scenario"))
    return Video(path, action, int(person) if person else None, int(scenario) if scenario else None)


def find_videos(root: StrPath, *, report: Report | None = None) -> list[Video]:
    """List the usable videos under root, sorted: root/<action>/* or
    root/{train,validation,test}/<action>/*.

    What is odd but survivable goes to report, one message a kind (default: a warning): files that
    cannot be used, class folders without videos, files without a person, one name found twice (the
    first is kept). KTH's own person01_boxing_d4 was published cut off and is usable as it is.
    Raises FileNotFoundError when there is no usable video at all and ValueError when a folder of
    videos is no known action.
    """
    root, report = Path(root), report or _warn
    folders = _class_folders(root)
    files = {folder: _video_files(folder) for folder in folders}
    empty = [str(folder) for folder, inside in files.items() if not inside]
    if empty and len(empty) < len(folders):
        report(f"class folders without videos: {', '.join(empty)}")
    videos = sorted(parse_name(path) for inside in files.values() for path in inside)
    usable = _only_usable(_only_first(videos, report), _short_files(root), report)
    if not usable:
        raise FileNotFoundError(_nothing_found(root, len(videos)))
    if unnamed := sum(video.person is None for video in usable):
        report(
            f"{unnamed} of {len(usable)} files under {root} carry no person in their name "
            "(person01_...): each is its own group and belongs to no official split"
        )
    return usable


def _class_folders(root: Path) -> list[Path]:
    """Folders named after an action, in root and in root's split folders."""
    if not root.is_dir():
        raise FileNotFoundError(_nothing_found(root, 0))
    found = []
    for parent in (root, *map(root.joinpath, SPLITS)):
        for folder in sorted(filter(Path.is_dir, parent.glob("[!.]*"))):
            if folder.name.lower() in ACTIONS:
                found.append(folder)
            elif _video_files(folder):
                raise ValueError(
                    f"{folder}: {folder.name!r} is an unknown action; known actions are "
                    f"{', '.join(ACTIONS)}: rename the folder or move it away"
                )
    return found


def _video_files(folder: Path) -> list[Path]:
    """Visible video files directly in folder, sorted; "._x.avi" is a macOS shadow of x.avi, not a
    video."""
    visible = folder.glob("[!.]*")
    return sorted(p for p in visible if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())


def _only_first(videos: Sequence[Video], report: Report) -> list[Video]:
    """Keep one file for each KTH name: the same clip in two folders or formats would count
    twice."""
    kept: dict[Path | str, Video] = {}
    doubles = []
    for video in videos:
        key = video.path if video.person is None or video.scenario is None else video.name
        if kept.setdefault(key, video) is not video:
            doubles.append(f"{video.path} (kept: {kept[key].path})")
    if doubles:
        report(f"{len(doubles)} files repeat a name and are skipped: {'; '.join(doubles)}")
    return list(kept.values())


def _only_usable(videos: Sequence[Video], short: Mapping[str, int], report: Report) -> list[Video]:
    usable, broken = [], []
    for video in videos:
        try:
            info = probe(video.path, allow_cut_off=video.name in short)
            usable.append(replace(video, fps=info.fps))
        except VideoError as err:
            broken.append(str(err))
    if broken:
        report(
            f"{len(broken)} of {len(videos)} files cannot be used and are skipped: "
            f"{' | '.join(broken)}"
        )
    return usable


def _nothing_found(root: Path, seen: int) -> str:
    what = f"none of the {seen} videos under {root} can be used"
    return (
        f"{what if seen else f'no videos under {root}'} (looked for <action>/*.avi and "
        "{train,validation,test}/<action>/*.avi, .mp4 too): `python har.py data synth` renders "
        "KTH-Synth, `python har.py data kth` fetches KTH"
    )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)


# segments


def load_segments(csv_path: StrPath = SEGMENTS_CSV) -> dict[str, Ranges]:
    """Read a segment table: video name -> its (start, stop) ranges, 0-based, end-exclusive, in the
    annotation's order.

    The order is kept as it is, overlaps and ranges out of order included: a segment's place is its
    identity. Raises ValueError naming the line when the header, a number or a range is wrong.
    """
    table: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with open(csv_path, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        if (header := next(rows, [])) != CSV_HEADER:
            raise ValueError(
                f"{csv_path}: header is {','.join(header)!r}, not {','.join(CSV_HEADER)!r}"
            )
        for row in filter(None, rows):
            line = f"{csv_path} line {rows.line_num}"
            try:
                name, number, start, stop = row[0], *map(int, row[1:])
            except ValueError as err:
                text = ",".join(row)
                raise ValueError(f"{line}: {text!r} is not video,segment,start,stop") from err
            wanted = len(table[name]) + 1
            if not 0 <= start < stop or number != wanted:
                raise ValueError(
                    f"{line}: segment {number} of {name} is {start}..{stop}; wanted segment "
                    f"{wanted} with 0 <= start < stop (0-based, stop exclusive)"
                )
            table[name].append((start, stop))
    return {name: tuple(ranges) for name, ranges in table.items()}


def write_segments(csv_path: StrPath, table: Mapping[str, Iterable[tuple[int, int]]]) -> None:
    """Write a segment table that load_segments reads back unchanged; names and ranges stay in their
    order."""
    rows = [
        {"video": name, "segment": number, "start": start, "stop": stop}
        for name, ranges in table.items()
        for number, (start, stop) in enumerate(ranges, 1)
    ]
    write_csv(csv_path, rows, CSV_HEADER)


def find_segments(
    root: StrPath, *, whole_files: bool = False, report: Report | None = None
) -> list[Segment]:
    """List the segments of all usable videos under root, sorted by video and then in the
    annotation's order.

    Ranges come from root/segments.csv when there is one, else from KTH's own table; a video that
    the table lacks is one segment, whole_files makes every video one. Raises VideoError when a
    segment ends beyond its file; only KTH's person01_boxing_d4, published cut off, is clamped to
    the frames that decode, with one message to report (default: a warning). Raises ValueError when
    root holds a rendering that is not finished.
    """
    root, report = Path(root), report or _warn
    own = root / OWN_TABLE
    if not own.is_file() and not is_real(root):
        raise ValueError(
            f"{root}: the rendering is unfinished (dataset.json is there, segments.csv is not); "
            f"the command that began it finishes it, such as `python har.py data synth --root "
            f"{root}`"
        )
    table, short = load_segments(own if own.is_file() else SEGMENTS_CSV), _short_files(root)
    found: list[Segment] = []
    for video in find_videos(root, report=report):
        frames = probe(video.path, allow_cut_off=video.name in short).frames
        limit = short.get(video.name, frames)
        whole = ((0, min(limit, frames)),)
        ranges = whole if whole_files else table.get(video.name, whole)
        if video.name in short and any(stop > limit for _, stop in ranges):
            report(
                f"{video.path}: published cut off, {limit} frames decode; its last segment is "
                "clamped to them"
            )
            ranges = tuple((start, min(stop, limit)) for start, stop in ranges)
        found += _checked_segments(video, ranges, frames)
    return found


def _short_files(root: Path) -> Mapping[str, int]:
    """Frames of the files that were published cut off: only KTH has one; elsewhere its name means
    nothing."""
    return SHORT_FILES if is_real(root) and not (root / OWN_TABLE).is_file() else {}


def _checked_segments(video: Video, ranges: Ranges, frames: int) -> Iterator[Segment]:
    for index, (start, stop) in enumerate(ranges):
        segment = Segment(video, index, start, stop)
        if stop > frames:
            raise VideoError(
                f"{video.path}: segment {segment.name} is frames {start}..{stop}, but the file "
                f"has {frames}; fetch the file again, or correct the segment table"
            )
        yield segment


# splits


def split_of(person: int) -> str:
    """Return the official split that a person (1 to 25) belongs to; ValueError for anybody else."""
    for split, persons in SPLITS.items():
        if person in persons:
            return split
    raise ValueError(
        f"person {person} is in no split of KTH, which has persons 1 to 25; use split 'all'"
    )


def select(segments: Iterable[Segment], split: str) -> list[Segment]:
    """Keep the segments of one split ("train", "validation", "test" or "all"), in their order.

    Segments without a person belong to no split and are found in "all" only; a person outside 1..25
    raises ValueError.
    """
    if split == "all":
        return list(segments)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)} and all")
    return [s for s in segments if s.video.person is not None and split_of(s.video.person) == split]


def load_splits(
    root: StrPath, *, whole_files: bool = False, fast: bool = False
) -> dict[str, list[Segment]]:
    """Find the segments under root and sort them into the official splits.

    `fast` keeps every eighth segment. Raises ValueError, naming the splits, when one is empty.
    """
    segments = find_segments(root, whole_files=whole_files)
    # KTH-Synth has two segments a file
    step = FAST_STEP // (1 + whole_files) if fast else 1
    splits = {split: select(segments, split)[::step] for split in SPLITS}
    if empty := [split for split, inside in splits.items() if not inside]:
        raise ValueError(
            f"no segments for {', '.join(empty)} under {root}: training needs persons of all three "
            f"splits ({', '.join(f'{split} {persons}' for split, persons in SPLITS.items())})"
        )
    return splits


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


# data sets


def dataset_name(root: StrPath) -> str:
    """Return what a data set is called: the name in its dataset.json, else its folder's name."""
    try:
        return str(read_json(Path(root) / CARD)["name"])
    except (OSError, ValueError, KeyError):
        return printable(Path(root).resolve().name)


def is_real(root: StrPath) -> bool:
    """Tell whether a folder holds filmed people: rendered ones come with a dataset.json."""
    return not (Path(root) / CARD).is_file()
