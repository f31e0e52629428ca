"""Folders of videos, <class>/<file> or <part>/<class>/<file> with part train, validation or test:
what lies in them, whatever the classes are called.

Knows files and folders, and what is said of those that cannot be used. Does not know what a name
means: neither KTH's nor who is in a file.
"""

import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.copies import copies
from data.files import StrPath, printable
from data.items import PARTS, Video
from data.video import VideoError, probe_all

# every container that OpenCV's FFmpeg may open; what it cannot is refused by name
VIDEO_SUFFIXES = (
    *(".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".mts", ".m2ts"),
)
MOST_NAMED = 5  # in one message
Report = Callable[[str], None]


@dataclass(frozen=True)
class ClassFolder:
    """A folder that may be a class, and the videos directly in it."""

    path: Path
    videos: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The class: the folder's name, however the system spells accents."""
        return unicodedata.normalize("NFC", printable(self.path.name))


def class_folders(root: StrPath) -> list[ClassFolder]:
    """List the folders in root, and those in root's folders of parts, which hold no videos
    themselves; FileNotFoundError where root is no folder."""
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(nothing_found(root, 0))
    top = _folders(root)
    parts = [one for name in PARTS for one in top if one.path.name == name and not one.videos]
    return [one for one in top if one not in parts] + [
        inner for part in parts for inner in _folders(part.path)
    ]


def videos_of(folders: Sequence[ClassFolder]) -> list[Video]:
    """Return each folder's videos under the folder's name; the classes are those there are."""
    classes = tuple(sorted({folder.name for folder in folders if folder.videos}))
    return [
        Video(path, folder.name, None, None, classes=classes)
        for folder in folders
        for path in folder.videos
    ]


def as_labelled(paths: Sequence[StrPath], *, report: Report | None = None) -> list[Video]:
    """Look at files <class>/<file>, in their order; the classes are those there are.

    What cannot be used goes to report (default: a warning). Raises FileNotFoundError where nothing
    can.
    """
    names = [unicodedata.normalize("NFC", printable(Path(path).parent.name)) for path in paths]
    classes = tuple(sorted(set(names)))
    videos = [
        Video(Path(path), name, None, None, classes=classes)
        for path, name in zip(paths, names, strict=True)
    ]
    if usable := only_usable(videos, report or warn):
        return usable
    raise FileNotFoundError(f"none of {len(paths)} files can be used; name videos <class>/<file>")


def only_usable(
    videos: Sequence[Video], report: Report, short: Mapping[str, int] | None = None
) -> list[Video]:
    """Leave out the videos that cannot be read and tell the others' frame rates; short names files
    that are known to be cut off, of which nothing is reported."""
    usable, broken, doubtful = [], [], []
    infos = probe_all([video.path for video in videos])
    for video, info in zip(videos, infos, strict=True):
        if isinstance(info, VideoError):
            broken.append(str(info))
            continue
        usable.append(replace(video, fps=info.fps))
        if info.doubts and video.name not in (short or ()):
            doubtful.append(f"{video.path}: {'; '.join(info.doubts)}")
    for what, files in (
        ("cannot be used and are skipped", broken),
        ("are damaged and used as far as they decode", doubtful),
    ):
        if files:
            report(f"{len(files)} of {len(videos)} files {what}: {' | '.join(files)}")
    return usable


def only_first(
    videos: Sequence[Video], names: Mapping[Path, str | None], report: Report
) -> list[Video]:
    """Keep one file for each of the names, and of files without one for each content: the same clip
    in two folders or formats, or a copy of it, would count twice."""
    if doubles := copies(names):
        files = "; ".join(f"{path} (kept: {kept})" for path, kept in doubles.items())
        report(f"{len(doubles)} files repeat a name or a content and are skipped: {files}")
    return sorted(video for video in videos if video.path not in doubles)


def report_unread(root: Path, folders: Sequence[ClassFolder], report: Report) -> None:
    """Name class folders without videos, count what is in them beside videos, and name videos that
    are in no class folder."""
    empty = [str(folder.path) for folder in folders if not folder.videos]
    if empty and len(empty) < len(folders):
        report(f"class folders without videos: {', '.join(empty)}")
    others = [
        path.suffix.lower() or "no suffix"
        for folder in folders
        for path in {*folder.path.glob("[!.]*")} - {*folder.videos}
        if path.is_file()
    ]
    if others:
        kinds = ", ".join(sorted(set(others)))
        report(f"{len(others)} files in class folders of {root} are not videos ({kinds})")
    known = {path for folder in folders for path in folder.videos}
    strays = [str(path.relative_to(root)) for path in below(root) if path not in known]
    if strays:
        report(
            f"{len(strays)} videos under {root} are not read, for they are in no folder <action>/ "
            f"or <split>/<action>/: {some(strays)}"
        )


def nothing_found(root: StrPath, seen: int) -> str:
    """Say that no video under root can be used, of so many that were seen, and what would help."""
    what = f"none of the {seen} videos under {root} can be used"
    return (
        f"{what if seen else f'no videos under {root}'} (looked for <action>/*.avi and "
        f"{{train,validation,test}}/<action>/*.avi, {', '.join(VIDEO_SUFFIXES[1:])} too): `python "
        "har.py data synth` renders KTH-Synth, `python har.py data kth` fetches KTH"
    )


def some(names: Sequence[str]) -> str:
    """List names for one message, the first few of many."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def warn(message: str) -> None:
    """Report by a warning."""
    warnings.warn(message, stacklevel=4)


def _folders(parent: Path) -> list[ClassFolder]:
    inside = sorted(filter(Path.is_dir, parent.glob("[!.]*")))
    return [ClassFolder(folder, _video_files(folder)) for folder in inside]


def _video_files(folder: Path) -> tuple[Path, ...]:
    """Visible video files directly in folder, sorted; "._x.avi" is a macOS shadow of x.avi, not a
    video."""
    visible = folder.glob("[!.]*")  # also links to nowhere and devices, which probing refuses
    files = (p for p in visible if p.suffix.lower() in VIDEO_SUFFIXES and not p.is_dir())
    return tuple(sorted(files))


def below(root: Path) -> Iterator[Path]:
    """Find the visible video files anywhere below a folder, sorted."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not hidden:
            yield path
