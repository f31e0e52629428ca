"""What is said reaches any console, or ends without a word when nobody reads it."""

import io
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from tracking import console
from tracking.console import NO_READER, expand_home, run_verb

HOME = Path(__file__).parents[2]


def console_of(monkeypatch, name, encoding):
    """Put a console of this encoding in a stream's place; returns what it shows."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    monkeypatch.setattr(sys, name, stream)
    return lambda: (stream.flush(), stream.buffer.getvalue().decode(encoding))[1]


def test_a_name_that_the_console_cannot_show_is_shown_in_escapes(monkeypatch):
    """As on a console of western Windows."""
    out, err = (console_of(monkeypatch, name, "cp1252") for name in ("stdout", "stderr"))

    def fail():
        print("бокс.avi: süß")
        raise FileNotFoundError("бокс.avi is not there")

    assert run_verb(fail) == 1
    assert out() == "\\u0431\\u043e\\u043a\\u0441.avi: süß\n"
    assert err() == "har.py: \\u0431\\u043e\\u043a\\u0441.avi is not there\n"


def test_a_name_that_is_no_text_is_said_on_a_console_of_utf_8(monkeypatch):
    out = console_of(monkeypatch, "stdout", "utf-8")
    assert run_verb(lambda: print("б\udcff.avi")) == 0
    assert out() == "б\\udcff.avi\n"


PIPED = "import sys; from tracking.console import run_verb; sys.exit(run_verb(lambda: {}))"


@pytest.mark.parametrize("lines", [1, 100000])
@pytest.mark.skipif(os.name != "posix", reason="no such pipes on this system")
def test_a_reader_that_goes_away_ends_the_program_in_silence(lines):
    program = PIPED.format(f"print('line\\n' * {lines})")
    started = subprocess.Popen(
        [sys.executable, "-c", program], cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    started.stdout.close()
    assert started.stderr.read() == b"" and started.wait(timeout=60) == NO_READER


def test_another_pipe_that_breaks_is_an_error(capsys):
    def fail():
        raise BrokenPipeError(32, "a process has gone")

    assert run_verb(fail) == 1 and "a process has gone" in capsys.readouterr().err


def test_a_window_without_streams_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert run_verb(lambda: print("unheard")) == 0


GL = "libGL.so.1: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    "error", [ImportError(GL), ImportError("DLL load failed while importing cv2", name="cv2")]
)
def test_opencv_without_a_library_of_the_system_names_the_package_that_needs_none(capsys, error):
    def fail():
        raise error

    assert run_verb(fail) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"har.py: {error}") and "`pip install opencv-python-headless`" in line


def test_an_import_that_fails_for_our_fault_shows_its_traceback(capsys):
    def fail():
        from data.files import nothing  # noqa: F401

    assert run_verb(fail) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and said.rstrip().endswith(console.FAULT)


def test_a_tilde_in_an_argument_is_ones_home(monkeypatch, tmp_path):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    args = Namespace(root="~/Data", names=["~/a", "b~", 3], seed=0, path=Path("x"), none=None)
    expand_home(args)
    assert args == Namespace(
        root=f"{tmp_path}/Data", names=[f"{tmp_path}/a", "b~", 3], seed=0, path=Path("x"), none=None
    )
