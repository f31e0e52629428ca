"""What plain values of a file must look like before anybody uses them.

Knows nested numbers, strings, lists and dicts, and a description of them. Does not know which files
there are, nor what their values mean.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

# a type; a dict of names, of which those that end in "?" may be missing; a list [of what]; or a
# tuple of which one must fit
Wanted = type | Mapping[str, Any] | list | tuple | None


def check(value: Any, wanted: Wanted, where: str) -> None:
    """Refuse a value that is not as described; ValueError names the place in it.

    `float` takes whole numbers too, and neither takes a truth value. None stands for itself, and
    `dict` for any mapping.
    """
    if isinstance(wanted, Mapping):
        check(value, dict, where)
        for name, inner in wanted.items():
            key = name.removesuffix("?")
            if key in value:
                check(value[key], inner, f"{where}.{key}")
            elif key == name:
                raise ValueError(f"{where} has no {key!r}")
    elif isinstance(wanted, list):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"{where} is {_told(value)}, not a list")
        for number, item in enumerate(value):
            check(item, wanted[0], f"{where}[{number}]")
    elif isinstance(wanted, tuple):
        _check_either(value, wanted, where)
    elif not _fits(value, wanted):
        raise ValueError(f"{where} is {_told(value)}, not {_named(wanted)}")


def _check_either(value: Any, wanted: tuple, where: str) -> None:
    *others, last = wanted
    for one in others:
        try:
            return check(value, one, where)
        except ValueError:
            pass
    check(value, last, where)


def _fits(value: Any, wanted: Any) -> bool:
    if wanted is None:
        return value is None
    if wanted in (int, float):
        numbers = int if wanted is int else int | float
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, Mapping if wanted is dict else wanted)


def check_numbers(value: Any, low: float, high: float, where: str) -> None:
    """Refuse a nested value that holds a number outside low..high, or none that is finite."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            check_numbers(inner, low, high, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_numbers(item, low, high, f"{where}[{number}]")
    elif isinstance(value, int | float) and not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{where} is {_told(value)}; it must lie between {low:g} and {high:g}")


def _told(value: Any) -> str:
    return f"{reprlib.repr(value)} ({type(value).__name__})"


def _named(wanted: Any) -> str:
    return str(getattr(wanted, "__name__", wanted))
