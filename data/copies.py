"""Files that are there twice: under one name, or one content under two names.

Knows paths, names and content. Does not know what a name means, nor what a file holds.
"""

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

from data.files import sampled


def copies(files: Mapping[Path, str | None]) -> dict[Path, Path]:
    """Find the files that repeat another, each with the one that is kept, of the shorter name.

    Args:
        files: Each file with the name that it stands for, of which one file is kept; None where a
            file stands for its content alone. Files of two names may agree in content.
    """
    order = sorted(files, key=lambda path: (files[path] is None, len(path.stem), path))
    with_content = None in files.values()
    kept: dict[Hashable, Path] = {}
    repeated = {}
    for path in order:
        first, *more = _keys(path, files[path], with_content)
        if kept.setdefault(first, path) is not path:
            repeated[path] = kept[first]
        for key in more:
            kept.setdefault(key, path)
    return repeated


def _keys(path: Path, name: str | None, with_content: bool) -> Iterator[Hashable]:
    """Give what a file stands for, and then what else it is found by."""
    if name is not None:
        yield name
    if with_content:
        yield tuple(sampled(path) or (path,))
