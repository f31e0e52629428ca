"""What is in a folder of one's own videos, before anything is learned from it.

Knows what `data.kth.find_videos` finds and what a look at each file tells. Does not judge whether
it is enough: `data.dealing` does when it deals.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.files import StrPath
from data.folders import class_folders
from data.items import Segment, Video
from data.kth import find_videos, is_official
from data.persons import persons_rule
from data.video import VideoInfo, probe

RARE = 3  # rates and sizes that are named of many


@dataclass(frozen=True)
class Survey:
    """A folder of videos in numbers.

    Args:
        root: The folder.
        videos: Those that can be used, and what each holds.
        unused: How many files cannot be used, or repeat another.
        said: What was remarked on the way, such as which files cannot be used and why.
        official: Whether the folder follows KTH.
    """

    root: str
    videos: tuple[tuple[Video, VideoInfo], ...]
    unused: int
    said: tuple[str, ...]
    official: bool

    @property
    def persons(self) -> int:
        """How many persons are told; 0 where none are."""
        return len({video.person for video, _ in self.videos} - {None})

    @property
    def split(self) -> str:
        """How the split comes about."""
        if self.official:
            return "KTH's persons"
        if all(video.part for video, _ in self.videos):
            return "the folders train, validation and test"
        return "person" if self.persons else "file, for no persons are known"

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each class: its videos, persons and seconds."""
        rows = []
        for name in dict.fromkeys(sorted(str(video.action) for video, _ in self.videos)):
            inside = [(video, info) for video, info in self.videos if video.action == name]
            seconds = [info.frames / info.fps for _, info in inside]
            rows.append(
                {
                    "class": name,
                    "videos": len(inside),
                    "persons": len({video.person for video, _ in inside} - {None}),
                    "shortest": min(seconds),
                    "median": statistics.median(seconds),
                    "longest": max(seconds),
                }
            )
        return rows

    def __str__(self) -> str:
        """A few lines for a console."""
        rows = self.rows()
        persons = f", {self.persons} persons" if self.persons else ""
        lines = [f"{self.root}: {len(self.videos)} videos of {len(rows)} classes{persons}"]
        wide = max(len(row["class"]) for row in rows)
        for row in rows:
            who = f", {row['persons']} persons" if row["persons"] else ""
            lines.append(
                f"  {row['class']:<{wide}}  {row['videos']} videos{who}, {row['shortest']:.1f} to "
                f"{row['longest']:.1f} s, median {row['median']:.1f} s"
            )
        infos = [info for _, info in self.videos]
        rates = _most([f"{info.fps:.4g}" for info in infos])
        sizes = _most(["{1} x {0}".format(*info.size) for info in infos])
        lines.append(f"  {rates} frames a second; images of {sizes} pixels; split by {self.split}")
        if self.unused:
            lines.append(f"  {self.unused} files cannot be used, or repeat another")
        return "\n".join(lines)


def survey(root: StrPath, *, person: str | None = None) -> Survey:
    """Look at every video under root; arguments and errors are those of `find_videos`."""
    said: list[str] = []
    videos = find_videos(root, person=person, report=said.append)
    found = sum(len(folder.videos) for folder in class_folders(root))
    whole = [Segment(video, 0, 0, 1) for video in videos]
    return Survey(
        str(root),
        tuple((video, probe(video.path)) for video in videos),
        found - len(videos),
        tuple(said),
        is_official(whole, persons_rule(root, person)),
    )


def _most(values: Sequence[str]) -> str:
    """Name the most frequent values, first of all."""
    names = [name for name, _ in Counter(values).most_common()]
    more = f" and {len(names) - RARE} others" if len(names) > RARE else ""
    return f"{', '.join(names[:RARE])}{more}"
