"""Who is in a file: read out of its place by a regular expression, or listed in a CSV file.

Knows places of files and persons. Does not know how persons are dealt into a split.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data.files import StrPath, read_csv
from data.folders import Report, some
from data.items import Person, Video

LIST = "persons.csv"  # in the folder of a data set: columns file, person
USUAL = r"(?i)person[ _-]?(\d+)"  # where nothing else is said


def persons_rule(root: StrPath, rule: str | None) -> str | None:
    """Return how persons are told: the rule given, else the list in the folder, else None."""
    own = Path(root) / LIST
    return str(own) if rule is None and own.is_file() else rule


def with_persons(videos: Sequence[Video], rule: str | None, report: Report) -> list[Video]:
    r"""Return the videos with the person that a rule tells; where it tells none, it is None.

    Args:
        videos: The videos of a data set.
        rule: A CSV file with the columns file and person, a file by its place ("kick/001.mp4"),
            its name or its stem; or a regular expression that is looked for in the place, such as
            "subj(\d+)", of which the first group, or all, is the person. None looks for "person"
            and a number.
        report: Told of files that a rule leaves without a person, and of rows that fit no file.

    Raises:
        FileNotFoundError: There is no such CSV file.
        ValueError: The rule tells no file's person, is no regular expression, or the CSV file has
            other columns or two persons for a file.
    """
    listed = rule is not None and rule.lower().endswith(".csv")
    find = _listed(Path(str(rule)), videos, report) if listed else _matched(rule or USUAL)
    told = [find(video) for video in videos]
    if rule is not None and videos and not any(told):
        raise ValueError(
            f"{rule!r} tells the person of none of {len(videos)} files, such as "
            f"{videos[0].place!r}; give a regular expression that finds the person in it, or a "
            "CSV file with the columns file,person"
        )
    nameless = [video.place for video, who in zip(videos, told, strict=True) if not who]
    if nameless and len(nameless) < len(videos):
        report(
            f"{len(nameless)} of {len(videos)} files name no person, and each counts as somebody "
            f"of its own: {some(nameless)}"
        )
    numbers = all(who.isdecimal() for who in told if who)
    persons: list[Person | None] = [
        None if not who else int(who) if numbers else who for who in told
    ]
    return [replace(video, person=who) for video, who in zip(videos, persons, strict=True)]


def _matched(pattern: str) -> Callable[[Video], str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error

    def find(video: Video) -> str:
        found = compiled.search(video.place)
        return (found[found.re.groups and 1] or "") if found else ""

    return find


def _listed(path: Path, videos: Sequence[Video], report: Report) -> Callable[[Video], str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no list of persons at {path}")
    persons: dict[str, str] = {}
    for number, row in enumerate(read_csv(path), 2):
        if not {"file", "person"} <= set(row):
            raise ValueError(f"{path}: its columns are {', '.join(row)}; wanted are file,person")
        file, person = row["file"].replace("\\", "/").strip(), row["person"].strip()
        if persons.setdefault(file, person) != person:
            raise ValueError(
                f"{path} line {number}: {file} is {person}, and {persons[file]} above; name each "
                "file once, by its folder too where files of two folders share a name"
            )
    used = {key for video in videos for key in _keys(video)}
    if unused := [file for file in persons if file not in used]:
        report(f"{len(unused)} files in {path} are no video here: {some(unused)}")
    return lambda video: _first(persons, _keys(video))


def _keys(video: Video) -> tuple[str, ...]:
    place, name = video.place, video.path.name
    return place, place.removesuffix(video.path.suffix), name, video.path.stem


def _first(table: Mapping[str, str], keys: Sequence[str]) -> str:
    return next((table[key] for key in keys if key in table), "")
