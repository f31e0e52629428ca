"""Arguments of a command line, as values that a verb can list.

Knows argparse, and where folders lie by default. Does not know verbs.
"""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from data.files import home

# adds an argument, or several, to a verb's parser or to a group in it
Option = Callable[[Any], Any]


def option(name: str, text: str | None = None, **how: Any) -> Option:
    """Take what argparse's add_argument takes; text is its help."""
    return lambda verb: verb.add_argument(name, help=text, **how)


def number(name: str, default: Any = None, text: str | None = None, **how: Any) -> Option:
    """Take a whole number."""
    return option(name, text, type=int, default=default, **how)


def switch(name: str, text: str) -> Option:
    """Take nothing: it is named or not."""
    return option(name, text, action="store_true")


def folder(name: str, default: str, text: str = "the data's folder") -> Option:
    """Take a folder, by default one at home, which is looked up when the command line is read."""
    return lambda verb: verb.add_argument(name, default=home(default), help=f"{text} (%(default)s)")


def either(*options: Option) -> Option:
    """Take at most one of these arguments."""

    def add(verb: ArgumentParser) -> None:
        group = verb.add_mutually_exclusive_group()
        for add_to in options:
            add_to(group)

    return add


def file(name: str, text: str) -> Option:
    """Take a file's name."""
    return option(name, text, metavar="FILE")
