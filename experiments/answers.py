"""Many videos answered one after another: what is said of each, and the files that are written.

Knows recognisers, files and folders, and what a user asked for. Does not know the command line, nor
how a video is answered (`utils.timeline`). One broken file does not end the others. What is written
lies where the user said, under names made of the videos' own: a name cannot lead elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import printable, write_csv, write_json, written_whole
from data.folders import VIDEO_SUFFIXES, below
from experiments.recognisers import load_recogniser
from utils.timeline import Timeline, timeline_of

COLUMNS = ("file", "start_s", "stop_s", "label", "probability", "reason")
LONGEST_NAME = 255  # bytes that file systems take
# what is written of each video, and how its name ends in a folder
WRITTEN = {"save": ".mp4", "timeline": ".png", "explain": "-why.png"}


@dataclass(frozen=True)
class Wanted:
    """What a user wants of videos.

    Args:
        every: Seconds from one answer to the next.
        top: How many classes are listed; None lists all.
        save: The video with what was seen drawn over it, or a folder of such.
        timeline: The timeline as a picture, or a folder of such.
        explain: What spoke for the label as a picture, or a folder of such.
        json: A file of all that was found out.
        csv: A file with a row for each span.
        progress: Show bars.
    """

    every: float = 0.5
    top: int | None = None
    save: str | None = None
    timeline: str | None = None
    explain: str | None = None
    json: str | None = None
    csv: str | None = None
    progress: bool = True

    def fault(self, paths: Sequence[Path]) -> str | None:
        """Say what is wrong with what is wanted of these videos; None when nothing is."""
        if not self.every > 0:
            return f"--every is {self.every}; it takes seconds, above 0"
        if self.top is not None and self.top < 1:
            return f"--top is {self.top}; it takes a number of classes, 1 or more"
        for option, ending in WRITTEN.items():
            if (name := getattr(self, option)) is None:
                continue
            suffix = ending[ending.rindex(".") :]
            is_file = Path(name).suffix != "" and not Path(name).is_dir()
            if is_file and len(paths) > 1:
                return f"--{option} {name} is one file for {len(paths)} videos; name a folder"
            if is_file and Path(name).suffix.lower() != suffix:
                return f"--{option} writes {suffix}; name {Path(name).stem}{suffix}, or a folder"
            if is_file and option == "explain" and name == self.timeline:
                return f"--timeline and --explain both name {name}; give one of them another name"
        return None


def videos_in(names: Sequence[str]) -> list[Path]:
    """Return files as they are named, and the visible videos below folders, sorted.

    Raises FileNotFoundError where a folder has none.
    """
    found: list[Path] = []
    for path in map(Path, names):
        if not path.is_dir():
            found.append(path)
            continue
        inside = list(below(path))
        if not inside:
            raise FileNotFoundError(f"no videos in {path} ({', '.join(VIDEO_SUFFIXES)})")
        found += inside
    return found


def answer_all(
    model: str,
    names: Sequence[str],
    wanted: Wanted,
    *,
    say: Callable[[str], None],
    complain: Callable[[str], None],
) -> int:
    """Answer videos one after another, and write what is wanted of them.

    Args:
        model: The recogniser, see `experiments.recognisers.resolve`.
        names: Files, and folders of them.
        wanted: What is wanted.
        say: Is given what is to be said of each video.
        complain: Is given why a video could not be answered.

    Returns:
        An exit status: 0, 1 if some could not be answered, 2 if what is wanted cannot be.

    Raises:
        OSError: There is no such recogniser, or what was found out cannot be written.
        ValueError: The recogniser cannot be used.
    """
    paths = videos_in(names)
    if fault := wanted.fault(paths):
        complain(fault)
        return 2
    recogniser = load_recogniser(model)
    places = {option: _places(option, paths, wanted) for option in WRITTEN}
    told: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number, path in enumerate(paths):
        outs = {option: where[number] for option, where in places.items() if where}
        try:
            timeline, text = _answered(recogniser, path, wanted, outs)
        except (OSError, ValueError) as error:  # a VideoError is one
            told.append({"file": printable(str(path)), "error": printable(str(error))})
            complain(one_line(str(error)))
            continue
        told.append(timeline.to_json())
        rows += timeline.rows()
        say(text)
    if wanted.json:
        write_json(wanted.json, told[0] if len(told) == 1 else told)
        say(f"written to {wanted.json}")
    if wanted.csv:
        write_csv(wanted.csv, rows, COLUMNS)
        say(f"written to {wanted.csv}")
    return int(any("error" in one for one in told))


def _answered(
    recogniser: Any, path: Path, wanted: Wanted, outs: dict[str, Path]
) -> tuple[Timeline, str]:
    """Answer a video, write what is wanted of it, and return what is to be said."""
    timeline = timeline_of(
        recogniser,
        path,
        every=wanted.every,
        progress=wanted.progress,
        keep_track=wanted.save is not None,
    )
    lines = [described(timeline, wanted.top)]
    for out in _written(recogniser, path, timeline, outs):
        lines.append(f"  written to {one_line(str(out))}")
    return timeline, "\n".join(lines)


def described(timeline: Timeline, top: int | None = None) -> str:
    """Say what a video shows: probabilities where it is one thing, else spans."""
    label = timeline.label
    lines = [f"{one_line(timeline.file)}: {label}{', in doubt:' * bool(timeline.doubts)}"]
    lines += [f"  - {one_line(doubt)}" for doubt in timeline.doubts]
    if len(timeline.segments) > 1:
        wide = max(14, *(len(span.label) + 2 for span in timeline.segments))
        for span in timeline.segments:
            sure = "" if span.probability is None else f"{span.probability:.1%}"
            when = f"{span.start_s:8.1f} to {span.stop_s:6.1f} s"
            lines.append(f"{when}  {span.label:<{wide}}{sure:>6}  {span.reason}".rstrip())
        return "\n".join(lines)
    if label not in timeline.classes:
        if (reason := timeline.segments[0].reason) and reason not in " ".join(timeline.doubts):
            lines.append(f"  {reason}")
        lines.append("  if it had to be one of these all the same:")
    likely = sorted(timeline.overall.items(), key=lambda item: -item[1])
    wide = max(14, *(len(name) + 2 for name in timeline.classes))
    return "\n".join([*lines, *(f"  {name:<{wide}}{p:>7.1%}" for name, p in likely[:top])])


def one_line(text: str) -> str:
    r"""Return a text in which what is no letter appears as \n or \x1b: a file's name may hold
    anything."""
    text = printable(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _places(option: str, paths: Sequence[Path], wanted: Wanted) -> list[Path]:
    """Return where a file of each video goes; nowhere when it is not wanted."""
    if (name := getattr(wanted, option)) is None:
        return []
    place = Path(name)
    if place.suffix and not place.is_dir():
        return [place]
    taken: set[str] = set()
    return [place / _own_name(path, WRITTEN[option], taken) for path in paths]


def _own_name(path: Path, ending: str, taken: set[str]) -> str:
    """Return a name after a video's, in letters and short enough, that none has yet."""
    stem, number = printable(path.stem), 1
    while True:
        end = ending if number == 1 else f"-{number}{ending}"
        kept = os.fsencode(stem)[: LONGEST_NAME - len(end)].decode(errors="ignore")
        if (name := f"{kept}{end}").lower() not in taken:
            taken.add(name.lower())
            return name
        number += 1


def _written(
    recogniser: Any, path: Path, timeline: Timeline, outs: dict[str, Path]
) -> Iterator[Path]:
    """Write what is wanted of a video, and yield the files."""
    for option, out in outs.items():
        if out.exists() and out.samefile(path):
            raise ValueError(f"{out} is the video itself; give --{option} another name")
        if option == "save":
            from utils.annotated import write_annotated

            yield write_annotated(path, out, timeline)
        elif option == "timeline":
            yield _picture(timeline.figure(one_line(f"{path.name}: {timeline.label}")), out)
        else:
            from experiments.explaining import explanation

            yield _picture(explanation(recogniser, path, timeline), out)


def _picture(figure: Any, out: Path) -> Path:
    """Write a figure as PNG, whole or not at all."""
    with written_whole(out) as partial:
        partial.write_bytes(figure._repr_png_())
    return out
