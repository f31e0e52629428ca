"""Processes that work off a list: as many as there may be, from any program, and never alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from data import processes
from data.processes import in_processes, usable_cores

HOME = Path(__file__).parents[2]
# no guard: where processes import it, it starts processes that import it
PROGRAM = """
import math
from data.processes import in_processes
print(*in_processes(math.sqrt, [1, 4, 9, 16, 25, 36], 2))
"""
# a work that says who does it, begins a file and never ends
HELD = """
import os, time
from pathlib import Path
from data.files import written_whole

def hold(number):
    with written_whole(f"{number}.avi") as partial:
        partial.write_text("half")
        Path(f"{number}.pid").write_text(str(os.getpid()))
        time.sleep(60)
"""


def program(code, **how):
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    return subprocess.Popen([sys.executable, *code], env=environment, text=True, **how)


def test_a_process_is_one_a_core_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7}, raising=False)
    assert usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


@pytest.mark.parametrize("from_stdin", [False, True])
def test_a_program_needs_no_guard_and_no_file(tmp_path, from_stdin):
    (tmp_path / "program.py").write_text(PROGRAM)
    with (tmp_path / "program.py").open() as code:
        pipes = {"stdin": code, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started = program([] if from_stdin else ["program.py"], cwd=tmp_path, **pipes)
        said, _ = started.communicate(timeout=60)
    assert said == "1.0 2.0 3.0 4.0 5.0 6.0\n"


def test_the_main_module_keeps_its_file_and_its_spec(monkeypatch):
    main = SimpleNamespace(__file__="script.py", __spec__="a spec")
    monkeypatch.setitem(sys.modules, "__main__", main)
    with processes._main_hidden():
        assert main.__spec__ is None and not hasattr(main, "__file__")
    assert vars(main) == {"__file__": "script.py", "__spec__": "a spec"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such end on this system")
def test_workers_end_with_a_program_that_is_killed_and_leave_nothing_half(tmp_path):
    (tmp_path / "held.py").write_text(HELD)
    code = "import held; from data.processes import *; [*in_processes(held.hold, range(8), 2)]"
    started, pids = program(["-c", code], cwd=tmp_path), []
    end = time.monotonic() + 60
    while len(pids) < 2 and time.monotonic() < end:
        pids = [int(path.read_text() or 0) for path in tmp_path.glob("*.pid")]
        time.sleep(0.02)
    started.kill()
    started.wait()
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    assert len(pids) == 2 and not any(map(alive, pids))
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} == {".py", ".pid"}


def alive(pid):
    """Whether a process runs; one that ended and that nobody asked about does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # no /proc here, or gone just now
        return Path("/proc").is_dir() is False


def test_a_worker_that_is_killed_is_said_in_words():
    with pytest.raises(ChildProcessError, match=r"one of 2 processes was killed.*--workers"):
        list(in_processes(os._exit, [1] * 8, 2))


def test_a_process_that_may_have_no_children_does_the_work_itself(monkeypatch):
    monkeypatch.setattr(processes, "current_process", lambda: SimpleNamespace(daemon=True))
    assert list(in_processes(lambda item: (item, os.getpid()), [1, 2], 2)) == [
        (1, os.getpid()),
        (2, os.getpid()),
    ]
