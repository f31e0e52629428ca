"""Decoding a file in a process of its own, once, and remembering what came of it.

Knows processes and what `data.decoding` tells of a file. Does not judge files. A decoder that dies
by a signal so costs one file and not the program. A process decodes one file after another and one
lives as long as the program; where none can be started, files are decoded in the program itself.

What took seconds to find out is kept in <cache>/videos.jsonl, a line a file, if there is a folder
of features already; size and times of change make a changed file another one.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import cv2

from data.decoding import READY, Decoded, decode_whole
from data.files import cache_folder
from data.processes import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from data.decoding import serve; serve()"
ROOT = Path(__file__).resolve().parents[1]
KEPT = "videos.jsonl"
EDITION = 2  # of what is found out about a file; what an older one found out is not believed
WORTH_KEEPING = 2.0  # seconds of decoding
WORTH_A_PROCESS = 8  # files
MOST_KEPT = 1 << 24  # bytes; a longer file is begun anew


class _Child:
    """A process that decodes files for one thread; started when the first is asked for."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.hopeless = False  # it could not be started, and will not be

    def decoded(self, path: str) -> Decoded:
        """Return what came of a file, if only how the process died of it."""
        if self.process is None and not self.hopeless:
            self.process = _started()
            self.hopeless = self.process is None
        if self.process is None:
            return decode_whole(path)
        try:
            answer = _answer(self.process, json.dumps(path))
        except BaseException:  # an interruption: an answer to come would be taken for the next
            self.close()
            raise
        if answer:
            return Decoded.of(json.loads(answer))
        died = _ending(self.process.wait())
        self.close()
        return Decoded(died=died)

    def close(self) -> None:
        """End the process; it holds nothing that could be lost."""
        if self.process is not None:
            self.process.kill()
            with suppress(OSError), self.process:  # which closes the pipes and waits
                pass
            self.process = None


class _Children:
    """The processes of this program that decode, one for each thread that asks at a time."""

    def __init__(self) -> None:
        self.resting: dict[int, list[_Child]] = {}  # by program: a fork of it starts its own
        atexit.register(self.rest, 0)

    def decoded(self, path: str) -> Decoded:
        """Return what came of a file."""
        resting = self.resting.setdefault(os.getpid(), [])
        try:
            child = resting.pop()
        except IndexError:
            child = _Child()
        found = child.decoded(path)
        resting.append(child)
        return found

    def rest(self, kept: int = 1) -> None:
        """End the processes that are not asked anything, but for so many."""
        resting = self.resting.get(os.getpid(), [])
        while len(resting) > kept:
            resting.pop().close()


def _started() -> subprocess.Popen[str] | None:
    """Start a process that decodes; None where that cannot be."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except (OSError, ValueError):
        return None
    assert process.stdout is not None
    if process.stdout.readline().strip() == READY:
        return process
    with suppress(OSError), process:
        process.kill()
    return None


def _answer(process: subprocess.Popen[str], line: str) -> str:
    """Ask a process, and return its answer; nothing when it died."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):  # it is dead, which its answer tells
        process.stdin.write(line + "\n")
        process.stdin.flush()
    return process.stdout.readline()


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


class _Memory:
    """What came of files, by what tells them apart, and on disk what took long."""

    def __init__(self) -> None:
        self.known: dict[str, Decoded] = {}
        self.new: dict[str, float] = {}  # seconds that it took, of what is not on disk
        self.read: set[Path] = set()
        self.lock = threading.RLock()
        atexit.register(self.write)

    def find(self, key: str) -> Decoded | None:
        """Return what is known of a file."""
        if (path := cache_folder() / KEPT) not in self.read:
            self.read.add(path)
            with suppress(OSError):
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    with suppress(ValueError, TypeError, KeyError):  # a line that was cut off
                        name, values = json.loads(line)
                        self.known.setdefault(name, Decoded.of(values))
        return self.known.get(key)

    def keep(self, key: str, found: Decoded, seconds: float) -> None:
        """Remember what came of a file, and write it down with others when that is worth it."""
        with self.lock:
            self.known[key] = found
            self.new[key] = seconds
            if sum(self.new.values()) >= WORTH_KEEPING:
                self.write()

    def write(self) -> None:
        """Write down what is new, if that is worth it and there is a folder for it."""
        folder = cache_folder()
        if sum(self.new.values()) < WORTH_KEEPING or not folder.is_dir():
            return
        lines = [json.dumps([name, asdict(self.known[name])]) + "\n" for name in self.new]
        path = folder / KEPT
        with suppress(OSError):  # then it is found out again
            full = path.is_file() and path.stat().st_size > MOST_KEPT
            with path.open("w" if full else "a", encoding="utf-8") as file:
                file.write("".join(lines))
        self.new.clear()


_children, _memory = _Children(), _Memory()


def decoded(path: Path, stat: os.stat_result) -> Decoded:
    """Return what comes of decoding a file to its end; known files are not decoded again."""
    changed = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    key = json.dumps([os.path.abspath(path), *changed, cv2.__version__, EDITION])
    found = _memory.find(key)
    if found is None:
        began = time.monotonic()
        found = _children.decoded(os.path.abspath(path))
        _memory.keep(key, found, time.monotonic() - began)
    return found


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function that decodes to many items, in as many threads as there are cores.

    Each thread has a process that decodes for it; all but one end with the last item.
    """
    workers = min(usable_cores(), len(items) // WORTH_A_PROCESS)
    if workers < 2:
        return list(map(function, items))
    try:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(function, items))
    finally:
        _children.rest()
