"""Where things lie unless a caller says otherwise, and files that are written whole or not at all.

Knows paths, text, JSON and rows of CSV. Does not know what a file means.
"""

import csv
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

StrPath = str | os.PathLike
DEFAULT = "default"  # as a folder: the usual one, see `place`
SAMPLE = 1 << 16  # bytes: more than a frame of 160 x 120 in colour, uncompressed
NAME_KEPT = 40  # letters of a file's name in that of its partial; file systems take 255 bytes
LEFT_S = 3600.0  # a partial file so old is nobody's; a video of ours takes seconds to write
_partials: set[Path] = set()  # of this process, not whole yet


def from_environment(variable: str) -> str:
    """Return the path that a variable of the environment names, with ~ for one's home; "" where it
    names none."""
    return os.path.expanduser(os.environ.get(variable, ""))


def home(name: str) -> Path:
    """Return a default place such as "runs", in the folder that HAR_HOME names or else right here.

    Asked at every call, so that a notebook may set HAR_HOME in its first cell.
    """
    return Path(from_environment("HAR_HOME") or ".") / name


def cache_folder() -> Path:
    """Return the folder of computed features: HAR_CACHE, else Data/cache at `home`."""
    return Path(from_environment("HAR_CACHE") or home("Data/cache"))


def place(chosen: StrPath | None, name: str) -> Any:
    """Return the folder that was chosen, as a path; DEFAULT stands for the folder `name` at home.

    The name "cache" is that of `cache_folder`. None, which means nowhere, stays None.
    """
    if chosen is None:
        return None
    if chosen != DEFAULT:
        return Path(os.path.expanduser(chosen))
    return cache_folder() if name == "cache" else home(name)


@contextmanager
def written_whole(path: StrPath) -> Iterator[Path]:
    """Give a path to write to that becomes `path` when the block ends, and goes when it fails.

    The folder is made; the temporary file lies beside the final one and keeps its suffix, because
    writers of videos and arrays go by it. Its name is one writer's own: processes of two machines
    may bear one number, and two threads of a process do.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{secrets.token_hex(4)}"
    partial = path.with_name(f".{path.stem[:NAME_KEPT]}.{writer}.part{path.suffix}")
    _partials.add(partial)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        _partials.discard(partial)


def drop_partials() -> None:
    """Remove what this process has begun to write, before it ends at once."""
    for partial in list(_partials):
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def sweep(folder: StrPath) -> None:
    """Remove, from the folders in a folder, what writers that were killed left half written: that
    to which nothing was added for LEFT_S."""
    for partial in Path(folder).glob("*/.*.part.*"):
        with suppress(OSError):  # another program's, whole just now
            if time.time() - partial.stat().st_mtime > LEFT_S:
                partial.unlink()


def printable(name: str) -> str:
    r"""Return a file's name as text that UTF-8 can say: of a name that is not UTF-8 the bytes that
    are none appear as \udcff."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def sampled(path: StrPath) -> list[Any] | None:
    """Return a file's size and a hash of its head, middle and tail; None where none can be read.

    Cheap however long the file is. Files of one size that agree in these three places, up to SAMPLE
    bytes each, are taken for the same file.
    """
    try:
        with open(path, "rb") as file:
            size, digest = os.fstat(file.fileno()).st_size, hashlib.sha256()
            for start in (0, max(SAMPLE, (size - SAMPLE) // 2), max(2 * SAMPLE, size - SAMPLE)):
                file.seek(start)
                digest.update(file.read(SAMPLE))
    except OSError:
        return None
    return [size, digest.hexdigest()[:16]]


def write_text(path: StrPath, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; names in it as `printable` has them."""
    with written_whole(path) as partial:
        partial.write_text(printable(text), encoding="utf-8", newline="\n")


def write_json(path: StrPath, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: StrPath) -> Any:
    """Read a JSON file; ValueError names it where it holds none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of JSON or of UTF-8; nested without end
        raise ValueError(f"{path} is damaged, or no JSON: {error}") from error


def write_csv(path: StrPath, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as a CSV file with these columns, whole or not at all; other keys are left out,
    names are as `printable` has them."""
    with (
        written_whole(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_header(path: StrPath) -> list[str]:
    """Return the names of a CSV file's columns; none when it is empty or not there.

    Raises ValueError where its first line is none of a CSV file.
    """
    if not Path(path).is_file():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            return next(csv.reader(file, strict=True), [])
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path} line 1: no row of CSV ({error})") from error


def read_csv(path: StrPath) -> list[dict[str, str]]:
    """Read the rows of a CSV file as text; no rows when the file is not there yet.

    Raises ValueError, naming the line, where a row has more or fewer cells than the header, or is
    none of a CSV file.
    """
    if not Path(path).is_file():
        return []
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            rows = list(reader)
        except (csv.Error, ValueError) as error:  # of CSV or of UTF-8
            line = reader.reader.line_num  # DictReader's own is that of the row before
            raise ValueError(f"{path} line {line}: no row of CSV ({error})") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ValueError(f"{path} row {number}: not {len(reader.fieldnames or ())} cells")
    return rows
