"""What the files of KTH mean: names, actions, persons, the official split, annotated segments,
unusable files.

Knows file names and frame counts only: it fetches nothing, renders nothing, hands out no pixels and
has never heard of a tensor. KTH-Synth uses the same names, so everything here holds for both data
sets.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.annotations import SEGMENTS_CSV, Ranges, load_segments
from data.copies import copies
from data.files import StrPath, printable, read_json
from data.video import VideoError, probe, probe_all

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
# every container that OpenCV's FFmpeg may open; what it cannot is refused by name
VIDEO_SUFFIXES = (
    *(".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".mts", ".m2ts"),
)
OWN_TABLE = "segments.csv"  # in the folder of a data set that is not KTH itself
MOST_NAMED = 5  # in one message
CARD = "dataset.json"  # of a rendered data set: its name, and what it was rendered with
FAST_STEP = 8  # a fast run takes every eighth segment: all persons and actions, one scenario

_NAME = re.compile(
    r"person(?P<person>\d+)_(?P<action>[a-z]+)(?:_d(?P<scenario>\d+))?", re.IGNORECASE
)
# a whole name of KTH's; behind it what systems add to copies: " (1)", " - Copy"
_KEY = re.compile(
    r"person(\d+)_([a-z]+)_d(\d+)(?:_uncomp)?(?:\s.*|\(\d+\))?", re.IGNORECASE | re.DOTALL
)

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
        """The key of the segment tables: the file's stem without KTH's "_uncomp", names of KTH's as
        KTH spells them, such as "person01_boxing_d1"."""
        return key_of(self.path.stem)

    @property
    def label(self) -> int:
        """Index of the action in ACTIONS; ValueError when the action is unknown."""
        if self.action is None:
            raise ValueError(f"{self.path}: no action is known for this video, so it has no label")
        return ACTIONS.index(self.action)

    @property
    def place(self) -> str:
        """Where the file lies within its data set, such as "boxing/001.avi"; a split's folder
        counts, for files without a person may share the rest."""
        parts = self.path.parts[-3:]
        return "/".join(parts if parts[0] in SPLITS else parts[-2:])

    @property
    def group(self) -> str:
        """What must stay within one split: the person ("person01"), or the file (its whole path)
        when no person is known."""
        return self.path.as_posix() if self.person is None else f"person{self.person:02d}"


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


def key_of(stem: str) -> str:
    """Return a name of KTH's as KTH spells it, "person03_walking_d1" for "PERSON3_Walking_D1 (1)";
    other stems as they are, all without "_uncomp"."""
    if not (match := _KEY.fullmatch(stem)):
        return stem.removesuffix("_uncomp")
    person, action, scenario = match.groups()
    return f"person{int(person):02d}_{action.lower()}_d{int(scenario)}"


def find_videos(root: StrPath, *, report: Report | None = None) -> list[Video]:
    """List the usable videos under root, sorted: root/<action>/* or
    root/{train,validation,test}/<action>/*.

    What is odd but survivable goes to report, one message a kind (default: a warning): files that
    cannot be used, class folders without videos, what is in them beside videos, videos elsewhere,
    files without a person, one clip found twice (the one of the shorter name is kept). KTH's own
    person01_boxing_d4 was published cut off and is usable as it is. Raises FileNotFoundError when
    there is no usable video at all and ValueError when a folder of videos is no known action.
    """
    root, report = Path(root), report or _warn
    folders = _class_folders(root)
    files = {folder: _video_files(folder) for folder in folders}
    empty = [str(folder) for folder, inside in files.items() if not inside]
    if empty and len(empty) < len(folders):
        report(f"class folders without videos: {', '.join(empty)}")
    videos = sorted(parse_name(path) for inside in files.values() for path in inside)
    _report_unread(root, files, report)
    _report_misplaced(videos, report)
    usable = _only_first(_only_usable(videos, _short_files(root), report), report)
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
    visible = folder.glob("[!.]*")  # also links to nowhere and devices, which probing refuses
    return sorted(p for p in visible if p.suffix.lower() in VIDEO_SUFFIXES and not p.is_dir())


def _report_unread(root: Path, files: Mapping[Path, list[Path]], report: Report) -> None:
    """Count what is in class folders beside videos, and name videos that are in no class folder."""
    others = [
        path.suffix.lower() or "no suffix"
        for folder, inside in files.items()
        for path in {*folder.glob("[!.]*")} - {*inside}
        if path.is_file()
    ]
    if others:
        kinds = ", ".join(sorted(set(others)))
        report(f"{len(others)} files in class folders of {root} are not videos ({kinds})")
    known = {path for inside in files.values() for path in inside}
    strays = [str(path.relative_to(root)) for path in _below(root) if path not in known]
    if strays:
        report(
            f"{len(strays)} videos under {root} are not read, for they are in no folder <action>/ "
            f"or <split>/<action>/: {_some(strays)}"
        )


def _report_misplaced(videos: Sequence[Video], report: Report) -> None:
    """Name the videos whose folder is that of another action than their name says."""
    if odd := [video for video in videos if video.path.parent.name.lower() != video.action]:
        places = _some([video.place for video in odd])
        report(f"{len(odd)} files lie in another action's folder; their names count: {places}")


def _some(names: Sequence[str]) -> str:
    """List names for one message, the first few of many."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _below(root: Path) -> Iterator[Path]:
    """Find the visible video files anywhere below a folder, sorted."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not hidden:
            yield path


def _only_first(videos: Sequence[Video], report: Report) -> list[Video]:
    """Keep one file for each KTH name, and of other files one for each content: the same clip in
    two folders or formats, or a copy of it, would count twice."""
    names = {v.path: v.name if _KEY.fullmatch(v.path.stem) else None for v in videos}
    if doubles := copies(names):
        files = "; ".join(f"{path} (kept: {kept})" for path, kept in doubles.items())
        report(f"{len(doubles)} files repeat a name or a content and are skipped: {files}")
    return sorted(video for video in videos if video.path not in doubles)


def _only_usable(videos: Sequence[Video], short: Mapping[str, int], report: Report) -> list[Video]:
    usable, broken, doubtful = [], [], []
    infos = probe_all([video.path for video in videos])
    for video, info in zip(videos, infos, strict=True):
        if isinstance(info, VideoError):
            broken.append(str(info))
            continue
        usable.append(replace(video, fps=info.fps))
        if info.doubts and video.name not in short:
            doubtful.append(f"{video.path}: {'; '.join(info.doubts)}")
    for what, files in (
        ("cannot be used and are skipped", broken),
        ("are damaged and used as far as they decode", doubtful),
    ):
        if files:
            report(f"{len(files)} of {len(videos)} files {what}: {' | '.join(files)}")
    return usable


def _nothing_found(root: Path, seen: int) -> str:
    what = f"none of the {seen} videos under {root} can be used"
    return (
        f"{what if seen else f'no videos under {root}'} (looked for <action>/*.avi and "
        f"{{train,validation,test}}/<action>/*.avi, {', '.join(VIDEO_SUFFIXES[1:])} too): `python "
        "har.py data synth` renders KTH-Synth, `python har.py data kth` fetches KTH"
    )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)


# segments


def find_segments(
    root: StrPath, *, whole_files: bool = False, report: Report | None = None
) -> list[Segment]:
    """List the segments of all usable videos under root, sorted by video and then in the
    annotation's order.

    Ranges come from root/segments.csv when there is one, else from KTH's own table, by a video's
    name or by its place ("boxing/001"); a video that the table lacks is one segment, of which there
    is one message to report (default: a warning) where others are in it. whole_files makes every
    video one segment. A segment ends where decoding ends; those that were annotated further, such
    as the last of KTH's person01_boxing_d4, are named in one message. Raises VideoError when a
    segment ends far beyond a file that is whole, and ValueError when root holds a rendering that is
    not finished or a name of the table is that of several videos.
    """
    root, report = Path(root), report or _warn
    own = root / OWN_TABLE
    if not own.is_file() and not is_real(root):
        raise ValueError(
            f"{root}: the rendering is unfinished (dataset.json is there, segments.csv is not); "
            f"the command that began it finishes it, such as `python har.py data synth --root "
            f"{root}`"
        )
    source, short = own if own.is_file() else SEGMENTS_CSV, _short_files(root)
    videos, found, beyond = find_videos(root, report=report), list[Segment](), list[str]()
    table = {} if whole_files else _annotated(videos, source, report)
    for video in videos:
        info = probe(video.path)
        limit = min(info.frames, short.get(video.name, info.frames))
        ranges = table.get(video, ((0, limit),))
        segments = [Segment(video, index, *ends) for index, ends in enumerate(ranges)]
        if not info.doubts and video.name not in short:
            _check_fits(segments, limit)
        found += (replace(s, stop=min(s.stop, limit)) for s in segments if s.start < limit)
        beyond += (
            f"{s.name} is {s.start}..{s.stop} of {limit}" for s in segments if s.stop > limit
        )
    if beyond:
        report(
            f"{len(beyond)} segments end beyond their files and are used as far as frames decode: "
            f"{_some(beyond)}"
        )
    return found


def _annotated(videos: Sequence[Video], source: Path, report: Report) -> dict[Video, Ranges]:
    """Return the annotated ranges of the videos that a segment table names."""
    rows = load_segments(source)
    table = {key_of(name.replace("\\", "/")): name for name in rows}
    found: dict[Video, str] = {}
    by_name: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        place, name = video.place, video.path.name
        places = place, place.removesuffix(video.path.suffix)
        if key := next((key for key in (*places, name, video.name) if key in table), None):
            found[video] = table[key]
            if key not in places:
                by_name[key].append(video)
    for name, alike in by_name.items():
        if len(alike) > 1:
            named = [video.place.removesuffix(video.path.suffix) for video in alike]
            raise ValueError(
                f"{source}: {name} may be any of {', '.join(named)}; name them so there, folder "
                "and all"
            )
    own = source != SEGMENTS_CSV  # KTH's own names all of KTH, of which a folder may hold a part
    lacking = [video.place for video in videos if video not in found]
    if lacking and (found or own):
        report(
            f"{len(lacking)} of {len(videos)} videos are not in {source} and are one segment each: "
            f"{_some(lacking)}"
        )
    if own and (unused := [name for name in rows if name not in found.values()]):
        report(f"{len(unused)} names in {source} are those of no video here: {_some(unused)}")
    return {video: rows[name] for video, name in found.items()}


def _short_files(root: Path) -> Mapping[str, int]:
    """Frames of the files that were published cut off: only KTH has one; elsewhere its name means
    nothing."""
    return SHORT_FILES if is_real(root) and not (root / OWN_TABLE).is_file() else {}


def _check_fits(segments: Sequence[Segment], frames: int) -> None:
    """Raise VideoError where a table and a whole file do not belong together."""
    for segment in segments:
        if segment.stop > frames + max(1, len(segment) // 10):  # an encoder may swallow the last
            raise VideoError(
                f"{segment.video.path}: segment {segment.name} is frames {segment.start}.."
                f"{segment.stop}, but the file, which is whole, has {frames}; give the segments of "
                f"these files in a {OWN_TABLE} beside them, or correct it"
            )


# splits


def split_of(person: int) -> str:
    """Return the official split that a person (1 to 25) belongs to; ValueError for anybody else."""
    for split, persons in SPLITS.items():
        if person in persons:
            return split
    raise ValueError(_in_no_split([person]))


def _in_no_split(persons: Sequence[int]) -> str:
    named = ", ".join(map(str, persons))
    return (
        f"person {named} is in no split of KTH, which has persons 1 to 25: `python har.py crossval "
        "NAME --folds K` trains and tests on whoever there is, `python har.py evaluate RUN --split "
        "all` measures a trained recogniser on everybody"
    )


def select(segments: Iterable[Segment], split: str) -> list[Segment]:
    """Keep the segments of one split ("train", "validation", "test" or "all"), in their order.

    Segments without a person belong to no split and are found in "all" only; persons outside 1..25
    raise ValueError.
    """
    if split == "all":
        return list(segments)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)} and all")
    known = [s for s in segments if s.video.person is not None]
    official = {person for persons in SPLITS.values() for person in persons}
    if others := sorted({s.video.person for s in known if s.video.person is not None} - official):
        raise ValueError(_in_no_split(others))
    return [s for s in known if s.video.person in SPLITS[split]]


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
