"""Fetch KTH from its official site, check it, unpack it into root/{train,test}/<action>/, and say
what came of it.

Knows archives, transfers and the annotation file's text; what names and frames mean is data.kth's
business. Nothing is ever half there under its final name: transfers and members are written beside
it and moved when whole.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tqdm import tqdm

from data import kth

OFFICIAL_URL = "https://www.csc.kth.se/cvap/actions/"
ANNOTATIONS = "00sequences.txt"
TERMS = (
    "KTH is public for non-commercial use. When you use it, cite: C. Schuldt, I. Laptev and B. "
    "Caputo,\n"
    '"Recognizing Human Actions: A Local SVM Approach", ICPR 2004.'
)
ATTEMPTS = 5  # transfers in a row that bring nothing new before giving up
PAUSE_S = 1.0  # before the second attempt; doubles from one to the next
TIMEOUT_S = 60.0
CHUNK = 1 << 16
RETRIED_CODES = (408, 425, 429, 500, 502, 503, 504)
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
REMEDY = (
    "run the same command again to continue, name a mirror with --url, or fetch the zips with a "
    "browser and give their "
    "folder as --from-zip"
)

Check = Callable[[Path], "str | None"]  # what is wrong with a file that arrived, or None


class DownloadError(OSError):
    """A transfer or an archive that cannot be used; the message names it, what is wrong, and the
    remedy."""


@dataclass(frozen=True)
class Archive:
    """One zip as published: its name on the server, its SHA1, the members wanted from it, its size
    in 10^6 bytes."""

    name: str
    sha1: str
    members: tuple[str, ...]
    megabytes: int = 0


def _members(action: str) -> tuple[str, ...]:
    names = (
        f"person{person:02d}_{action}_d{scenario}"
        for person in range(1, 26)
        for scenario in kth.SCENARIOS
    )
    return tuple(f"{name}_uncomp.avi" for name in names if name != kth.MISSING)


ARCHIVES = tuple(
    Archive(f"{action}.zip", sha1, _members(action), megabytes)
    for action, sha1, megabytes in (
        ("boxing", "adb36ed9c29c846d44d2ba15f348bd115c951bbd", 194),
        ("handclapping", "d3b81261aa822ef63d0d1523f945bfaff27814d2", 176),
        ("handwaving", "0792f7cd69f7f895a205c08ac212ddaa7177e370", 218),
        ("jogging", "21943bdbcef9dad106db0d74661e49eaeaa15a25", 168),
        ("running", "da83bb313edfd4455fffdda6263696fa10d43c6f", 149),
        ("walking", "a3e81537271a0ab4576591774baa38c2d97b7e3a", 242),
    )
)


@dataclass
class Row:
    """One action's line of the check table: counts of files, annotated segments and frames."""

    action: str
    expected: int = 0
    files: int = 0
    segments: int = 0
    frames: int = 0
    last_annotated: int = 0  # sum over the files of the last annotated frame
    short: int = 0  # files that end before their last annotated frame


@dataclass
class Summary:
    """What lies under root after a fetch: a row an action, and everything that is not as it should
    be, in words."""

    root: Path
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every expected file is there, readable, and as long as its annotations."""
        return not self.problems

    def __str__(self) -> str:
        """Render the check table with a total, the problems, and the terms of the data set."""
        numbers = [list(vars(row).values())[1:] for row in self.rows]
        total = Row("total", *map(sum, zip(*numbers, strict=True)))
        lines = [
            f"{'action':<14}{'files':>9}{'segments':>10}{'frames':>10}{'annotated to':>14}{'short':>7}"
        ]
        for row in (*self.rows, total):
            files = f"{row.files}/{row.expected}"
            counts = f"{row.segments:>10,}{row.frames:>10,}{row.last_annotated:>14,}{row.short:>7}"
            lines.append(f"{row.action:<14}{files:>9}{counts}")
        lines += [f"problem: {problem}" for problem in self.problems] or [
            f"{self.root}: everything is as it should be"
        ]
        return "\n".join([*lines, "", TERMS])


def fetch_kth(
    root: str | os.PathLike = "Data/KTH",
    *,
    url: str = OFFICIAL_URL,
    from_zip: str | os.PathLike | None = None,
    progress: bool = True,
    archives: Sequence[Archive] = ARCHIVES,
    annotations: Mapping[str, kth.Ranges] | None = None,
) -> Summary:
    """Bring KTH under root, as far as it is not there, and print and return the check table.

    The zips come from url, or from the folder from_zip and then nothing is downloaded; they must
    match their SHA1. A broken transfer is resumed, here or by the next call; what is complete is
    not fetched again. archives and annotations (video name -> ranges, () for a video announced as
    missing) say what to expect. What is missing in the end is in the summary's problems. Raises
    DownloadError for a transfer or an archive that cannot be used, FileNotFoundError for a from_zip
    that is no folder, ValueError for a url that is no web address.
    """
    root, source = Path(root), Path(from_zip) if from_zip is not None else None
    if source is not None and not source.is_dir():
        raise FileNotFoundError(
            f"no folder {source}; --from-zip wants the folder that holds the zips"
        )
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not a web address; --url wants a folder like {OFFICIAL_URL}")
    annotations = official_annotations() if annotations is None else annotations
    root.mkdir(parents=True, exist_ok=True)
    wanted = [archive for archive in archives if _absent(archive, root)]
    _announce(root, archives, wanted, source)
    problems = []
    for archive in wanted:
        problems += _bring(archive, root, url=url, source=source, progress=progress)
    problems += _bring_annotations(root, annotations, url=url, source=source)
    summary = check_files(root, archives, annotations)
    summary.problems[:0] = problems
    print(summary)
    return summary


def official_annotations() -> dict[str, kth.Ranges]:
    """KTH's own table as the annotation file has it: 600 videos, the one that was never published
    with no ranges."""
    return {**kth.load_segments(), kth.MISSING: ()}


def check_files(
    root: Path, archives: Sequence[Archive], annotations: Mapping[str, kth.Ranges]
) -> Summary:
    """Count the files under root and compare the frames of each with its last annotated one;
    changes nothing."""
    summary = Summary(Path(root))
    rows: dict[str, Row] = {}
    for archive in archives:
        for member in archive.members:
            target = _target(root, member)
            video, action = kth.parse_name(target), target.parent.name
            row = rows.setdefault(action, Row(action))
            row.expected += 1
            if target.is_file():
                summary.problems += _count(video, row, annotations.get(video.name, ()))
        if absent := _absent(archive, root):
            summary.problems.append(f"{archive.name}: {len(absent)} files missing: {_some(absent)}")
    summary.rows = list(rows.values())
    return summary


def _count(video: kth.Video, row: Row, ranges: kth.Ranges) -> list[str]:
    """Add one file to its row; returns what is wrong with it, in words."""
    last = max((stop for _, stop in ranges), default=0)
    try:
        frames = kth.probe(video.path, allow_cut_off=video.name in kth.SHORT_FILES).frames
    except kth.VideoError as err:
        return [f"{err}; run the command again after that"]
    row.files += 1
    row.segments += len(ranges)
    row.frames += frames
    row.last_annotated += last
    row.short += frames < last
    if frames < last and video.name not in kth.SHORT_FILES:
        return [f"{video.path}: {frames} frames, but it is annotated up to frame {last}"]
    return []


def _announce(
    root: Path, archives: Sequence[Archive], wanted: Sequence[Archive], source: Path | None
) -> None:
    if not wanted:
        files = sum(len(archive.members) for archive in archives)
        print(f"{root}: all {files} videos are there already, no zip is downloaded")
    else:
        names, megabytes = ", ".join(a.name for a in wanted), sum(a.megabytes for a in wanted)
        print(
            f"{root}: taking {names} from {source}"
            if source
            else f"{root}: fetching {names}, about {megabytes} MB"
        )


def _target(root: Path, member: str) -> Path:
    """Where a member belongs: the 9 test persons under test, the 16 others under train."""
    video = kth.parse_name(member)
    side = "test" if video.person in kth.SPLITS["test"] else "train"
    return Path(root) / side / kth.ACTIONS[video.label] / member


def _absent(archive: Archive, root: Path) -> list[str]:
    """Members that are not under root; an empty file counts as absent, so that a rerun repairs
    it."""
    targets = {member: _target(root, member) for member in archive.members}
    return [
        member
        for member, target in targets.items()
        if not (target.is_file() and target.stat().st_size)
    ]


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# archives


def _bring(
    archive: Archive, root: Path, *, url: str, source: Path | None, progress: bool
) -> list[str]:
    """Get one archive, verify it, unpack it; a downloaded zip stays until all that was wanted from
    it is there."""
    store = source or root / "zips"
    path = store / archive.name
    verify = sha1_check(archive.sha1)
    if source is not None:
        if not path.is_file():
            return [
                (
                    f"{path} is not there; fetch {OFFICIAL_URL}{archive.name} by hand, or leave "
                    "out "
                    "--from-zip"
                )
            ]
        if fault := verify(path):
            raise DownloadError(f"{path}: {fault}; fetch {OFFICIAL_URL}{archive.name} again")
    elif not path.is_file() or verify(path):
        store.mkdir(parents=True, exist_ok=True)
        download(_join(url, archive.name), path, check=verify, progress=progress)
    unpack(archive, path, root, progress=progress)
    if source is None and not _absent(archive, root):
        path.unlink()
        if not any(store.iterdir()):
            store.rmdir()
    return []


def unpack(
    archive: Archive, zip_path: str | os.PathLike, root: str | os.PathLike, *, progress: bool = True
) -> None:
    """Extract the wanted members that are not under root yet, each moved into its place when whole;
    ignore all others.

    Raises DownloadError for a file that is no zip or is damaged, and, before anything is written,
    when any member's name would lead out of the folder.
    """
    root = Path(root)
    try:
        with zipfile.ZipFile(zip_path) as file:
            inside = set(file.namelist())
            if escaping := [name for name in sorted(inside) if _escapes(name)]:
                raise DownloadError(
                    f"{zip_path}: refused, for it holds {escaping[0]!r}, which leads out of "
                    "its "
                    f"folder; {REMEDY}"
                )
            wanted = [member for member in _absent(archive, root) if member in inside]
            for member in tqdm(
                wanted, desc=f"unpacking {archive.name}", unit="file", disable=not progress
            ):
                with file.open(member) as content:
                    _write(content, _target(root, member))
    except (zipfile.BadZipFile, EOFError) as err:
        raise DownloadError(f"{zip_path}: damaged zip ({err}); delete it and {REMEDY}") from err


def _escapes(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or ":" in parts[0]


def _write(content: IO[bytes], target: Path) -> None:
    """Copy an open file to target by way of a temporary name, so that target is whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.part")
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(content, file, CHUNK)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


# transfers


def sha1_check(expected: str) -> Check:
    """Return a check for download(): None when the file's SHA1 is the expected one, else both in
    words."""

    def check_file(path: Path) -> str | None:
        found = _sha1(path)
        if found == expected.lower():
            return None
        return f"wrong content: {path.stat().st_size} bytes with SHA1 {found}, wanted {expected}"

    return check_file


def _sha1(path: Path) -> str:
    digest = hashlib.sha1(usedforsecurity=False)  # the sums that were published for KTH are SHA1
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download(url: str, target: str | os.PathLike, *, check: Check, progress: bool = True) -> None:
    """Fetch url into target, which appears only when check finds nothing wrong with it.

    What has arrived waits in target + ".part"; from there a cut transfer goes on (HTTP Range), or
    starts anew where the server does not go along. Raises DownloadError at once when the server
    refuses, when the same wrong content comes twice, and after ATTEMPTS transfers in a row that
    bring nothing new.
    """
    target = Path(target)
    part = target.with_name(f"{target.name}.part")
    longest, tries, rejected, fault = _size(part), 0, set(), None
    while tries < ATTEMPTS:
        fault, whole = _transfer(url, part, progress)
        size = _size(part)
        if fault is None:
            if (fault := check(part)) is None:
                os.replace(part, target)
                return
            content = _sha1(part)
            if (
                whole or content in rejected
            ):  # nothing will follow: bytes of another file, or changed on the way
                part.unlink()
            if content in rejected:
                raise DownloadError(f"{url}: {fault}, and twice the same; {REMEDY}")
            rejected.add(content)
        tries, longest = (0, size) if size > longest else (tries + 1, longest)
        time.sleep(PAUSE_S * 2**tries)
    raise DownloadError(
        f"{url}: {fault}, {ATTEMPTS} times without progress; {_size(part)} bytes are kept: {REMEDY}"
    )


def _transfer(url: str, part: Path, progress: bool) -> tuple[str | None, bool]:
    """Append to part what it lacks; returns what went wrong on the way (or None) and whether the
    server has no more."""
    have = _size(part)
    headers = {"User-Agent": "python-urllib", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
        ) as response:
            resumed = response.status == 206 and response.headers.get(
                "Content-Range", ""
            ).startswith(f"bytes {have}-")
            have = (
                have if resumed else 0
            )  # a server that ignores Range sends everything from the start
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            _receive(response, part, have=have, total=total, progress=progress)
    except urllib.error.HTTPError as err:
        if err.code == 416:  # nothing beyond what is here: part is whole, or of another file
            return None, True
        if err.code not in RETRIED_CODES:
            raise DownloadError(
                f"{url}: the server answers {err.code} {err.reason}; {REMEDY}"
            ) from err
        return f"the server answers {err.code} {err.reason}", False
    except NETWORK_ERRORS as err:
        return (
            f"the connection failed ({getattr(err, 'reason', None) or err or type(err).__name__})",
            False,
        )
    if total is not None and _size(part) < total:
        return f"cut off after {_size(part)} of {total} bytes", False
    return None, total is not None


def _receive(
    response: http.client.HTTPResponse, part: Path, *, have: int, total: int | None, progress: bool
) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and free < total - have:
        need = f"{(total - have) / 1e6:.1f} MB more, but {free / 1e6:.1f} MB are free"
        raise DownloadError(
            f"{part.parent}: {part.stem} needs {need}; make room or choose another root"
        )
    bar = tqdm(
        total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, disable=not progress
    )
    with bar, part.open("ab" if have else "wb") as file:
        while block := response.read(CHUNK):
            file.write(block)
            bar.update(len(block))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _join(url: str, name: str) -> str:
    return f"{url.rstrip('/')}/{name}"


# the annotation file


def parse_annotations(text: str) -> dict[str, kth.Ranges]:
    """Read the annotation file's text: video name -> (start, stop) ranges, 0-based, end-exclusive;
    () for *missing*.

    The file counts from 1 and includes the last frame. Its header is free text, which differs
    between copies, and is skipped.
    """
    table = {}
    for line in text.splitlines():
        if match := re.match(r"\s*(person\d+_[a-z]+_d\d+)\s+(?:frames|\*missing\*)(.*)", line):
            spans = re.findall(r"(\d+)\s*-\s*(\d+)", match[2])
            table[match[1]] = tuple((int(first) - 1, int(last)) for first, last in spans)
    return table


def _bring_annotations(
    root: Path, expected: Mapping[str, kth.Ranges], *, url: str, source: Path | None
) -> list[str]:
    """Get the annotation file and compare it; the videos are of use without it, so its faults are
    only returned."""
    path, accept = root / ANNOTATIONS, _annotation_check(expected)
    if not path.is_file() or accept(path):
        try:
            if source is None:
                download(_join(url, ANNOTATIONS), path, check=accept, progress=False)
            elif not _copy_annotations(source / ANNOTATIONS, path, accept):
                return []
        except DownloadError as err:
            return [str(err)]
    found = parse_annotations(_read(path))
    different = [
        name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)
    ]
    if not different:
        return []
    return [
        f"{path} and this project's table differ for {len(different)} videos: {_some(different)}"
    ]


def _copy_annotations(given: Path, path: Path, accept: Check) -> bool:
    if not given.is_file():
        print(f"{given} is not there; the ranges that come with this project are used")
        return False
    if fault := accept(given):
        raise DownloadError(f"{given}: {fault}; fetch {OFFICIAL_URL}{ANNOTATIONS} again")
    with given.open("rb") as content:
        _write(content, path)
    return True


def _annotation_check(expected: Mapping[str, kth.Ranges]) -> Check:
    """Accept an annotation file by its content: copies with different headers are in use, so no
    hash would do."""
    wanted = (len(expected), sum(map(len, expected.values())))

    def check_file(path: Path) -> str | None:
        table = parse_annotations(_read(path))
        found = (len(table), sum(map(len, table.values())))
        if found == wanted:
            return None
        return (
            f"not the annotation file: {found[0]} lines and {found[1]} ranges, wanted "
            f"{wanted[0]} and {wanted[1]}"
        )

    return check_file


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
