"""What a command line says, on whatever it is said, and how it ends when something fails.

Knows streams, errors and exit statuses. Does not know verbs, nor what they do.
"""

import os
import select
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
FAULT = "this is a fault of the program, not yours: please report it with the lines above"
INTERRUPTED = "interrupted: what was finished stays, and the same command goes on from there"
NO_READER = 141  # what a shell shows of a program whose reader went away: 128 + SIGPIPE


def run_verb(run: Callable[[], int | None]) -> int:
    """Run a verb and return its exit status: 0, 1 for an error, 130 when interrupted, 141 when who
    read what it says went away, such as `head`.

    Errors are said in one line where the message alone helps, with a traceback otherwise.
    """
    degrade_output()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            status = int(run() or 0)
        for stream in _streams():
            stream.flush()  # what was said last may be what nobody reads
        return status
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
    except BrokenPipeError as error:
        if _nobody_reads():
            return NO_READER
        _say_error(error)
    except Exception as error:
        _say_error(error)
    return 1


def degrade_output() -> None:
    r"""Let what a console cannot show appear as \u0431: a name in letters that its code page lacks,
    or one that is no text at all."""
    for stream in _streams():
        if hasattr(stream, "reconfigure"):  # not where something took a stream's place
            stream.reconfigure(errors="backslashreplace")


def _streams() -> list[Any]:
    return [stream for stream in (sys.stdout, sys.stderr) if stream]  # a window has none


def expand_home(args: Namespace) -> None:
    """Let every argument that begins with ~ lie in somebody's home, as `--root=~/Data`, which no
    shell expands."""
    for name, value in vars(args).items():
        if isinstance(value, str):
            setattr(args, name, os.path.expanduser(value))
        elif isinstance(value, list):
            setattr(args, name, [os.path.expanduser(x) if isinstance(x, str) else x for x in value])


def _say_error(error: Exception) -> None:
    if isinstance(error, ImportError) and (remedy := _import_remedy(error)) is not None:
        print(f"har.py: {error}{remedy}", file=sys.stderr)
    elif _is_meant_for_users(error):
        print(f"har.py: {str(error) or type(error).__name__}", file=sys.stderr)
    else:
        traceback.print_exception(error)
        print(f"har.py: {FAULT}", file=sys.stderr)


def _import_remedy(error: ImportError) -> str | None:
    """Return what to do about a package that is not there or does not load; None where an import
    fails for a fault of ours."""
    if "pip install" in str(error):
        return ""
    if isinstance(error, ModuleNotFoundError):
        return f": `pip install -r requirements.txt` into {sys.executable}"
    if "libGL" in str(error) or (error.name or "").split(".")[0] == "cv2":
        return (
            ": OpenCV lacks a library of this system's; `pip uninstall opencv-python` and `pip "
            "install opencv-python-headless`, which needs none, or install the library (on Debian "
            "and Ubuntu libgl1)"
        )
    return None


def _nobody_reads() -> bool:
    """Tell whether who read what is said has gone; then nothing more is said, nor at the end."""
    gone = [stream for stream in _streams() if _is_unread(stream)]
    for stream in gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(gone)


def _is_unread(stream: Any) -> bool:
    """Tell whether a stream is a pipe without a reader."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # Windows; a stream that is no file of the system
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _is_meant_for_users(error: Exception) -> bool:
    """Tell whether the message alone helps: it names a file, a connection or a wrong value.

    A wrong value is the user's only where code of ours refuses it; a ValueError out of a library is
    a fault of ours.
    """
    if not isinstance(error, ValueError):
        return isinstance(error, (OSError, FloatingPointError))
    last = traceback.extract_tb(error.__traceback__)[-1]
    refused_here = _is_ours(last.filename) and (last.line or "").startswith("raise ")
    # an error of a class of ours may have been raised in a worker process
    file = getattr(sys.modules.get(type(error).__module__), "__file__", None)
    return refused_here or (file is not None and _is_ours(file))


def _is_ours(file: str) -> bool:
    """Tell whether a file is this project's own; an environment within the checkout is not."""
    path = Path(file).resolve()
    return path.is_relative_to(HERE) and "site-packages" not in path.relative_to(HERE).parts


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)
