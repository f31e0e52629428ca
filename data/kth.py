"""What the files of KTH mean, and which rules a folder follows: KTH's, or those of somebody's own.

Knows file names and frame counts only: it fetches nothing, renders nothing, hands out no pixels and
has never heard of a tensor. KTH-Synth uses KTH's names, so everything here holds for both. A folder
of other classes, or without KTH's persons, is one's own: its classes are its folders (see
`data.folders`), its persons are told by a rule (`data.persons`), its split is dealt
(`data.dealing`).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data.annotations import KTH_NAME, SEGMENTS_CSV, Ranges, key_of, load_segments
from data.dealing import deal, thinned
from data.files import StrPath, printable, read_json
from data.folders import (
    VIDEO_SUFFIXES,
    ClassFolder,
    Report,
    class_folders,
    nothing_found,
    only_first,
    only_usable,
    report_unread,
    some,
    videos_of,
    warn,
)
from data.items import (
    Person,
    Segment,
    Video,
    check_disjoint,
    classes_of,
    in_several,
    labelled,
    ordered,
)
from data.persons import persons_rule, with_persons
from data.video import VideoError, probe, probe_all

__all__ = [
    "ACTIONS",
    "CARD",
    "FAST_STEP",
    "FPS",
    "MISSING",
    "OWN_TABLE",
    "SCENARIOS",
    "SEGMENTS_CSV",
    "SHORT_FILES",
    "SPLITS",
    "VIDEO_SUFFIXES",
    "Person",
    "Ranges",
    "Report",
    "Segment",
    "Video",
    "VideoError",
    "check_disjoint",
    "dataset_name",
    "find_segments",
    "find_videos",
    "follows_official",
    "in_several",
    "is_official",
    "is_real",
    "key_of",
    "labelled",
    "load_segments",
    "load_splits",
    "own_segments",
    "parse_name",
    "probe",
    "select",
    "split_of",
]

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
FEW = 10  # frames by which a file of KTH may end before or behind its last segment; none seen does
LONGER = 1.5  # times the end of the last segment: such a file cannot be KTH's
OWN_TABLE = "segments.csv"  # in the folder of a data set that is not KTH itself
CARD = "dataset.json"  # of a rendered data set: its name, and what it was rendered with
FAST_STEP = 8  # a fast run takes every eighth segment: all persons and actions, one scenario

_NAME = re.compile(
    r"person(?P<person>\d+)_(?P<action>[a-z]+)(?:_d(?P<scenario>\d+))?", re.IGNORECASE
)


# names and files


def parse_name(path: StrPath) -> Video:
    """Read action, person and scenario from a file's name; the action from its folder when the name
    has none, as "person01_morning" has not.

    Raises ValueError when the action is not one of ACTIONS.
    """
    path = Path(path)
    match = _NAME.match(path.stem)
    parts = match.groupdict() if match else {}
    action = folder = path.parent.name.lower()
    if parts and (parts["scenario"] or parts["action"].lower() in ACTIONS or folder not in ACTIONS):
        action = parts["action"].lower()
    if action not in ACTIONS:
        where = "its name" if parts else "its folder"
        raise ValueError(
            f"{path}: unknown action {action!r} in {where}; known actions are "
            f"{', '.join(ACTIONS)}: rename it or move it away"
        )
    person, scenario = (
        int(number) if (number := parts.get(key)) else None for key in ("person", "scenario")
    )
    return Video(path, action, person, scenario, classes=ACTIONS)


def find_videos(
    root: StrPath, *, person: str | None = None, report: Report | None = None
) -> list[Video]:
    """List the usable videos under root, sorted: root/<class>/* or
    root/{train,validation,test}/<class>/*.

    Where every class is one of KTH's six, an action is what a file's name says and the classes are
    the six; else folders say both. What is odd but survivable goes to report, one message a kind
    (default: a warning): files that cannot be used, class folders without videos, what is in them
    beside videos, videos elsewhere, files without a person, one clip found twice (the one of the
    shorter name is kept). KTH's own person01_boxing_d4 was published cut off and is usable as it
    is.

    Args:
        root: The folder.
        person: How persons are told, see `data.persons`; None takes the folder's persons.csv, else
            what is in the names.
        report: Told of what is odd.

    Raises:
        FileNotFoundError: There is no usable video at all.
        ValueError: A folder of videos within KTH is no known action, or the rule tells nobody.
    """
    root, report = Path(root), report or warn
    folders = class_folders(root)
    six = _names_six(folders)
    folders = [one for one in folders if one.videos or not six or one.name.lower() in ACTIONS]
    paths = [path for folder in folders for path in folder.videos]
    videos = sorted(map(parse_name, paths) if six else videos_of(folders))
    report_unread(root, folders, report)
    if six:
        _report_misplaced(videos, report)
    usable = only_usable(videos, report, _short_files(root, videos))
    names = {v.path: v.name if six and KTH_NAME.fullmatch(v.path.stem) else None for v in usable}
    usable = only_first(usable, names, report)
    if not usable:
        raise FileNotFoundError(nothing_found(root, len(videos)))
    rule = persons_rule(root, person)
    if rule is not None or not six:
        return with_persons(usable, rule, report)
    if 0 < (unnamed := sum(video.person is None for video in usable)) < len(usable):
        report(
            f"{unnamed} of {len(usable)} files under {root} carry no person in their name "
            "(person01_...): each is its own group and belongs to no official split"
        )
    return usable


def _names_six(folders: Sequence[ClassFolder]) -> bool:
    """Tell whether folders are named by KTH's actions.

    Raises ValueError where one is not and most files of the whole have KTH's names: KTH with a
    folder of something else in it.
    """
    names = [folder.name.lower() for folder in folders if folder.videos]
    if all(name in ACTIONS for name in names):
        return True
    stems = [path.stem for folder in folders for path in folder.videos]
    of_kth = [
        match for match in map(_NAME.match, stems) if match and match["action"].lower() in ACTIONS
    ]
    if 2 * len(of_kth) < len(stems):
        return False
    odd = next(one for one in folders if one.videos and one.name.lower() not in ACTIONS)
    raise ValueError(
        f"{odd.path}: {odd.name!r} is an unknown action among files with KTH's names; known "
        f"actions are {', '.join(ACTIONS)}: rename the folder or move it away"
    )


def _report_misplaced(videos: Sequence[Video], report: Report) -> None:
    """Name the videos whose folder is that of another action than their name says."""
    if odd := [video for video in videos if video.path.parent.name.lower() != video.action]:
        places = some([video.place for video in odd])
        report(f"{len(odd)} files lie in another action's folder; their names count: {places}")


# segments


def find_segments(
    root: StrPath,
    *,
    whole_files: bool = False,
    person: str | None = None,
    report: Report | None = None,
) -> list[Segment]:
    """List the segments of all usable videos under root, sorted by video and then in the
    annotation's order.

    Ranges come from root/segments.csv when there is one, by a video's name or by its place
    ("boxing/001"), else from KTH's own table where the files are KTH's (see `_is_kth`); a video
    that the table lacks is one segment, of which there is one message to report (default: a
    warning) where others are in it. whole_files makes every video one segment. A segment ends where
    decoding ends; those that were annotated further, such as the last of KTH's person01_boxing_d4,
    are named in one message. person and report are as in `find_videos`. Raises VideoError when a
    segment ends far beyond a file that is whole, and ValueError when root holds a rendering that is
    not finished or a name of the table is that of several videos.
    """
    root, report = Path(root), report or warn
    own = root / OWN_TABLE
    videos = find_videos(root, person=person, report=report)
    found, beyond = list[Segment](), list[str]()
    if videos[0].classes == ACTIONS and not own.is_file() and not is_real(root):
        raise ValueError(
            f"{root}: the rendering is unfinished (dataset.json is there, segments.csv is not); "
            f"the command that began it finishes it, such as `python har.py data synth --root "
            f"{root}`"
        )
    short = _short_files(root, videos)
    table = {} if whole_files else _annotated(root, videos, report)
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
            f"{some(beyond)}"
        )
    return found


def _annotated(root: Path, videos: Sequence[Video], report: Report) -> dict[Video, Ranges]:
    """Return the annotated ranges of the videos that the folder's segment table names, or KTH's."""
    source = root / OWN_TABLE
    if source.is_file():
        return _looked_up(videos, source, report)
    named = _named_as_kth(videos) if is_real(root) else {}
    if named and not _is_kth(root, videos):
        places = some([video.place for video in named])
        report(
            f"{len(named)} files have names of KTH's and not its lengths; they are not KTH's, and "
            f"each is one segment: {places}"
        )
        return {}
    longer = [v for v, last in named.items() if probe(v.path).frames > LONGER * last]
    if longer:
        report(
            f"{len(longer)} files are far longer than KTH's of that name, and are one segment "
            f"each: {some([video.place for video in longer])}"
        )
    left = [video for video in videos if video not in longer]
    return _looked_up(left, SEGMENTS_CSV, report) if named else {}


def _is_kth(root: Path, videos: Sequence[Video]) -> bool:
    """Tell whether videos are KTH's own, of which its table may speak.

    Names alone do not make them so: person02_boxing_d1 may be anybody's. But a file of KTH ends
    where its last segment does, within a few frames, and no two films are so by chance at length
    after length. So the folder is KTH's where it is not rendered, has no table of its own, and of
    the files that KTH's table names at least half have its lengths, or were cut off before.
    """
    if not is_real(root) or (root / OWN_TABLE).is_file():
        return False
    named = _named_as_kth(videos)
    infos = probe_all([video.path for video in named])
    fitting = 0
    for (video, last), info in zip(named.items(), infos, strict=True):
        if not isinstance(info, VideoError):
            cut_off = info.frames < last and (info.doubts or video.name in SHORT_FILES)
            fitting += bool(cut_off) or abs(info.frames - last) <= FEW
    return bool(named) and 2 * fitting >= len(named)


def _named_as_kth(videos: Sequence[Video]) -> dict[Video, int]:
    """Return the videos that KTH's table names, each with the end of the last segment there."""
    table = load_segments()
    named = [video for video in videos if video.classes == ACTIONS and video.name in table]
    return {video: max(stop for _, stop in table[video.name]) for video in named}


def _looked_up(videos: Sequence[Video], source: Path, report: Report) -> dict[Video, Ranges]:
    """Return the ranges of the videos that a segment table names."""
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
            f"{some(lacking)}"
        )
    if own and (unused := [name for name in rows if name not in found.values()]):
        report(f"{len(unused)} names in {source} are those of no video here: {some(unused)}")
    return {video: rows[name] for video, name in found.items()}


def _short_files(root: Path, videos: Sequence[Video]) -> Mapping[str, int]:
    """Frames of the files that were published cut off: only KTH has one; elsewhere its name means
    nothing."""
    named = any(video.name in SHORT_FILES for video in videos)
    return SHORT_FILES if named and _is_kth(root, videos) else {}


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


def _in_no_split(persons: Sequence[Person]) -> str:
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
    official: set[Person] = {person for persons in SPLITS.values() for person in persons}
    there = {s.video.person for s in known if s.video.person is not None}
    if others := ordered(there - official):
        raise ValueError(_in_no_split(others))
    return [s for s in known if s.video.person in SPLITS[split]]


def load_splits(
    root: StrPath, *, whole_files: bool = False, fast: bool = False, person: str | None = None
) -> dict[str, list[Segment]]:
    """Find the segments under root and sort them into "train", "validation" and "test": KTH's
    official splits where the folder follows KTH, see `is_official`, else as `data.dealing.deal`
    does, by one's own classes.

    `fast` keeps every eighth segment, of one's own classes each. `person` is as in `find_videos`.
    Raises ValueError, naming the splits, when one is empty, and as `deal` does.
    """
    segments = find_segments(root, whole_files=whole_files, person=person)
    if not is_official(segments, persons_rule(root, person)):
        parts = deal(own_segments(segments), str(root))
        return {part: thinned(inside, FAST_STEP if fast else 1) for part, inside in parts.items()}
    # KTH-Synth has two segments a file
    step = FAST_STEP // (1 + whole_files) if fast else 1
    splits = {split: select(segments, split)[::step] for split in SPLITS}
    if empty := [split for split, inside in splits.items() if not inside]:
        raise ValueError(
            f"no segments for {', '.join(empty)} under {root}: training needs persons of all three "
            f"splits ({', '.join(f'{split} {persons}' for split, persons in SPLITS.items())}); "
            r"where these are your own, --person 'person(\d+)' deals whoever there is"
        )
    return splits


def is_official(segments: Iterable[Segment], rule: str | None = None) -> bool:
    """Tell whether segments follow KTH: its six classes, and somebody of its 25 persons, who were
    not told by a rule of one's own. Then its official split holds, whatever folders they lie in:
    KTH's own has train and test, and no validation."""
    persons = {person for persons in SPLITS.values() for person in persons}
    found = list(segments)
    return (
        rule is None
        and classes_of(found) == ACTIONS
        and any(segment.video.person in persons for segment in found)
    )


def follows_official(splits: Mapping[str, Iterable[Segment]]) -> bool:
    """Tell whether those who validate and are tested are in KTH's official parts, in its classes;
    others may be trained on besides."""
    parts = {part: list(splits[part]) for part in ("validation", "test")}
    return all(
        segment.video.classes == ACTIONS and segment.video.person in SPLITS[part]
        for part, inside in parts.items()
        for segment in inside
    )


def own_segments(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments with the classes that they show, sorted, and no others."""
    return labelled(segments, sorted({str(segment.video.action) for segment in segments}))


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
