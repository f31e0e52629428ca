"""Fetch KTH from its official site, check it, unpack it into root/{train,test}/<action>/, and say
what came of it.

Knows archives and transfers; what names and frames mean is data.kth's business. Nothing is ever
half there under its final name.
"""

import errno
import hashlib
import http.client
import shutil
import ssl
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from data import kth
from data.files import StrPath, written_whole
from data.pace import open_paced

OFFICIAL_URL = "https://www.csc.kth.se/cvap/actions/"
TERMS = (
    "KTH is public for non-commercial use. When you use it, cite: C. Schuldt, I. Laptev and B. "
    'Caputo,\n"Recognizing Human Actions: A Local SVM Approach", ICPR 2004.'
)
ATTEMPTS = 3  # transfers in a row that bring too little before giving up
ENOUGH = 1 << 16  # bytes that a transfer which breaks must bring to be worth another
PAUSE_S = 1.0  # before the second attempt; doubles from one to the next
TIMEOUT_S = 60.0
CHUNK = 1 << 16
MOST = 10**10  # bytes of a file of which no size is published
AROUND = 1 << 20  # bytes that an answer may have around its content
MOST_SAID = 200  # letters of what a server says that are repeated to a user
BUSY_CODES = (408, 425, 429, 500, 502, 503, 504)  # any other refusal is final
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
    ValueError,  # a redirection to what is no address
)
REMEDY = (
    "run the same command again to continue, name a mirror with --url, or fetch the zips with a "
    "browser and give their folder as --from-zip"
)
COUNTS = ("expected", "files", "segments", "frames", "annotated to", "short")


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
class Summary:
    """What lies under root after a fetch.

    Args:
        root: The folder.
        table: A row an action: files expected and found, annotated segments, frames, the sum over
            the files of the last annotated frame, and how many files end before theirs.
        problems: Everything that is not as it should be, in words.
    """

    root: Path
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every expected file is there, readable, and as long as its annotations."""
        return not self.problems

    def __str__(self) -> str:
        """Render the table with a total, the problems, and the terms of the data set."""
        table = pd.concat([self.table, self.table.sum().to_frame("total").T])
        problems = [f"problem: {problem}" for problem in self.problems]
        fine = f"{self.root}: everything is as it should be"
        return "\n".join([table.to_string(), *(problems or [fine]), "", TERMS])


def fetch_kth(
    root: StrPath,
    *,
    url: str = OFFICIAL_URL,
    from_zip: StrPath | None = None,
    progress: bool = True,
    archives: Sequence[Archive] = ARCHIVES,
    annotations: Mapping[str, kth.Ranges] | None = None,
) -> Summary:
    """Bring KTH under root, as far as it is not there, and print and return the check table.

    The zips come from url, or from the folder from_zip and then nothing is downloaded; they must
    match their SHA1. A broken transfer is resumed, here or by the next call; what is complete is
    not fetched again. archives and annotations (video name -> ranges) say what to expect. What is
    missing in the end is in the summary's problems. Raises DownloadError for a transfer or an
    archive that cannot be used, FileNotFoundError for a from_zip that is no folder, ValueError for
    a url that is no web address.
    """
    root, source = Path(root), None if from_zip is None else Path(from_zip)
    if source and not source.is_dir():
        raise FileNotFoundError(
            f"no folder {source}; --from-zip wants the folder that holds the zips"
        )
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not a web address; --url wants a folder like {OFFICIAL_URL}")
    root.mkdir(parents=True, exist_ok=True)
    wanted = [archive for archive in archives if _absent(archive, root)]
    names = ", ".join(archive.name for archive in wanted)
    if not wanted:
        files = sum(len(archive.members) for archive in archives)
        how = f"all {files} videos are there already, no zip is downloaded"
    elif source:
        how = f"taking {names} from {source}"
    else:
        how = f"fetching {names}, about {sum(archive.megabytes for archive in wanted)} MB"
    print(f"{root}: {how}")
    problems = []
    for archive in wanted:
        problems += _bring(archive, root, url=url, source=source, progress=progress)
    summary = check_files(root, archives, annotations or kth.load_segments())
    summary.problems[:0] = problems
    print(summary)
    return summary


def check_files(
    root: Path, archives: Sequence[Archive], annotations: Mapping[str, kth.Ranges]
) -> Summary:
    """Count the files under root and compare the frames of each with its last annotated one;
    changes nothing."""
    rows = [_count(path, annotations) for archive in archives for path in _targets(archive, root)]
    files = pd.DataFrame(rows, columns=["action", "problem", *COUNTS]).fillna(0)
    problems = [text for text in files.problem if text]
    for archive in archives:
        if absent := [target.name for target in _absent(archive, root)]:
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            names = ", ".join(absent[:5]) + more
            problems.append(f"{archive.name}: {len(absent)} files missing: {names}")
    table = files.groupby("action", sort=False)[[*COUNTS]].sum().astype(int)
    return Summary(root, table.rename_axis(None), problems)


def _count(path: Path, annotations: Mapping[str, kth.Ranges]) -> dict[str, Any]:
    """What one file adds to the table, and what is wrong with it, in words."""
    video = kth.parse_name(path)
    row = {"action": path.parent.name, "expected": 1, "problem": ""}
    if not path.is_file():
        return row
    known_short = video.name in kth.SHORT_FILES
    try:
        frames = kth.probe(path).frames
    except kth.VideoError as err:
        again = "move it elsewhere and run the command again, which fetches it anew"
        return row | {"problem": f"{err}; {again}"}
    ranges = annotations.get(video.name, ())
    last = max((stop for _, stop in ranges), default=0)
    if frames < last and not known_short:
        row["problem"] = f"{path}: {frames} frames, but it is annotated up to frame {last}"
    found = {"files": 1, "segments": len(ranges), "frames": frames, "annotated to": last}
    return row | found | {"short": int(frames < last)}


def _targets(archive: Archive, root: Path) -> list[Path]:
    """Where the members belong: the 9 test persons under test, the 16 others under train."""
    return [
        root
        / ("test" if video.person in kth.SPLITS["test"] else "train")
        / kth.ACTIONS[video.label]
        / video.path
        for video in map(kth.parse_name, archive.members)
    ]


def _absent(archive: Archive, root: Path) -> list[Path]:
    """Members that are not under root; an empty file counts as absent, so that a rerun repairs
    it."""
    return [target for target in _targets(archive, root) if not _size(target)]


# archives


def _bring(
    archive: Archive, root: Path, *, url: str, source: Path | None, progress: bool
) -> list[str]:
    """Get one archive, verify it, unpack it; a downloaded zip stays until all that was wanted from
    it is there."""
    path = (source or root / "zips") / archive.name
    there = path.is_file()
    fault = wrong_content(path, archive.sha1) if there else "missing"
    if fault and not source:
        path.parent.mkdir(parents=True, exist_ok=True)
        address = f"{url.rstrip('/')}/{archive.name}"
        most = 2 * archive.megabytes * 10**6 or MOST
        download(address, path, sha1=archive.sha1, most=most, progress=progress)
    elif not there:
        by_hand = f"fetch {OFFICIAL_URL}{archive.name} by hand"
        return [f"{path} is not there; {by_hand}, or leave out --from-zip"]
    elif fault:
        raise DownloadError(f"{path}: {fault}; fetch {OFFICIAL_URL}{archive.name} again")
    unpack(archive, path, root, progress=progress)
    if not source and not _absent(archive, root):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    return []


def unpack(archive: Archive, zip_path: Path, root: Path, *, progress: bool = True) -> None:
    """Extract the wanted members that are not under root yet, each moved into its place when whole;
    ignore all others.

    Raises DownloadError for a file that is no zip or is damaged, and, before anything is written,
    when any member's name would lead out of the folder.
    """
    with _read_as_zip(zip_path):
        file = zipfile.ZipFile(zip_path)
    with file:
        inside = set(file.namelist())
        if escaping := sorted(filter(_escapes, inside)):
            raise DownloadError(
                f"{zip_path}: refused, for it holds {escaping[0]!r}, which leads out of its "
                f"folder; {REMEDY}"
            )
        wanted = [target for target in _absent(archive, root) if target.name in inside]
        for target in tqdm(
            wanted, desc=f"unpacking {archive.name}", unit="file", disable=not progress
        ):
            with written_whole(target) as partial, partial.open("wb") as copy:
                for block in _blocks(file, zip_path, target.name):
                    copy.write(block)


def _blocks(file: zipfile.ZipFile, zip_path: Path, name: str) -> Iterator[bytes]:
    """Yield the content of a member."""
    with _read_as_zip(zip_path):
        member = file.open(name)
    with member:
        while True:
            with _read_as_zip(zip_path):
                block = member.read(CHUNK)
            if not block:
                return
            yield block


@contextmanager
def _read_as_zip(zip_path: Path) -> Iterator[None]:
    """Turn every error of reading a zip into a DownloadError.

    Those of zipfile have no common class, and the decompressors that a member may name raise their
    own; errors of the disk (with an errno) stay what they are.
    """
    try:
        yield
    except Exception as err:
        # a damaged zip may send its reader to places before the file's beginning (EINVAL)
        if isinstance(err, OSError) and err.errno not in (None, errno.EINVAL):
            raise
        what = f"{type(err).__name__}: {err}"
        raise DownloadError(f"{zip_path}: damaged zip ({what}); {REMEDY}") from err


def _escapes(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or ":" in parts[0]


# transfers


def wrong_content(path: Path, sha1: str) -> str | None:
    """Return None when a file has this SHA1, else both sums in words."""
    digest = hashlib.sha1(usedforsecurity=False)  # the sums that were published for KTH are SHA1
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() == sha1.lower():
        return None
    found = f"{path.stat().st_size} bytes with SHA1 {digest.hexdigest()}"
    return f"wrong content: {found}, wanted {sha1}"


def download(url: str, target: Path, *, sha1: str, most: int = MOST, progress: bool = True) -> None:
    """Fetch url into target, which appears only when its content is the wanted one.

    What has arrived waits in target + ".part"; from there a cut transfer goes on (HTTP Range), or
    starts anew where the server does not go along. Raises DownloadError when the server refuses or
    sends more than `most` bytes, and after ATTEMPTS transfers in a row that break and bring less
    than ENOUGH bytes.
    """
    part = target.with_name(f"{target.name}.part")
    longest, tries = _size(part), 0
    while tries < ATTEMPTS:
        fault = _transfer(url, part, most, progress)
        if fault is None:
            fault = wrong_content(part, sha1)
            if fault is None:
                part.replace(target)
                return
            part.unlink()  # bytes of another file, or changed on the way: from the start
        size = _size(part)
        tries, longest = (0, size) if size >= longest + ENOUGH else (tries + 1, longest)
        time.sleep(PAUSE_S * 2**tries)
    raise DownloadError(
        f"{url}: {fault}, {ATTEMPTS} times with little or no progress; {_size(part)} bytes are "
        f"kept: {REMEDY}"
    )


def _transfer(url: str, part: Path, most: int, progress: bool) -> str | None:
    """Append to part what it lacks; returns what went wrong on the way, None when the server has
    no more."""
    have = _size(part)
    headers = {"User-Agent": "python-urllib"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        with open_paced(request, TIMEOUT_S, most + AROUND) as response:
            # a server that ignores Range sends everything from the start
            if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                have = 0
            # a server that does not say how much is to come promises nothing
            total = have + (response.length or 0)
            _receive(response, part, have=have, total=total, most=most, progress=progress)
    except urllib.error.HTTPError as err:
        # nothing beyond what is here: part is whole, or of another file
        if err.code == 416 and part.is_file():
            return None
        fault = f"the server answers {err.code} {_readable(err.reason)}"
        if err.code not in BUSY_CODES:
            raise DownloadError(f"{url}: {fault}; {REMEDY}") from err
        return fault
    except NETWORK_ERRORS as err:
        reason = getattr(err, "reason", None) or err or type(err).__name__
        return f"the connection failed ({_readable(reason)})"
    return f"cut off after {_size(part)} of {total} bytes" if _size(part) < total else None


def _readable(said: object) -> str:
    """Return the beginning of what a server said, which may be anything, on one line and without
    what a terminal would obey."""
    text = str(said)[:MOST_SAID]
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    *,
    have: int,
    total: int,
    most: int,
    progress: bool,
) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < total - have:
        need = f"{(total - have) / 1e6:.1f} MB more, but {free / 1e6:.1f} MB are free"
        raise DownloadError(
            f"{part.parent}: {part.stem} needs {need}; make room or choose another root"
        )
    shown = {"total": total or None, "initial": have, "desc": part.stem, "disable": not progress}
    with (
        tqdm(unit="B", unit_scale=True, unit_divisor=1024, **shown) as bar,
        part.open("ab" if have else "wb") as file,
    ):
        while block := response.read1(CHUNK):  # what is there: a reset costs none of it
            file.write(block)
            bar.update(len(block))
            if file.tell() > most:
                raise DownloadError(
                    f"{response.url}: sends more than {most} bytes, far more than {part.stem} "
                    f"has; {REMEDY}"
                )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
