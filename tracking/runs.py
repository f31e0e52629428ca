"""What lies in a folder of runs, as text for the terminal: one line a run, or runs side by side.

Knows run folders through `tracking.results` and how columns are lined up. Does not know
experiments, models or how a run came about. Nothing found in such a folder is an error: what is
damaged or foreign is listed as that.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracking.results import RunFolder, flat

STAMP = re.compile(r".+-(\d{8}-\d{6})(?:-(\d+))?")
TRACES = (
    "config.json",
    "history.csv",
    "result.json",
    "last.pth",
    "best.pth",
)  # a folder with none is no run's
COLUMNS = (
    "run",
    "state",
    "data",
    "seed",
    "epochs",
    "val loss",
    "val accuracy",
    "test segments",
    "test videos",
)
RIGHT = frozenset(("seed", "epochs", "val loss", "val accuracy"))


@dataclass(frozen=True)
class Overview:
    """What a run folder says about itself; what it does not say is empty.

    `state` is "finished", "at epoch 3", "empty", "no run" or "damaged: why". `settings` holds the
    configuration by dotted names, `best` the history's row of lowest validation loss, `result` the
    test scores as they were written.
    """

    path: Path
    state: str
    settings: Mapping[str, Any]
    best: Mapping[str, float]
    epochs: int
    result: Mapping[str, Any]

    def cells(self) -> dict[str, str]:
        """Return the line of this run in the list, by COLUMNS."""
        best = self.best
        return {
            "run": self.path.name,
            "state": self.state,
            "data": str(self.settings.get("data.name", "")),
            "seed": str(self.settings.get("recipe.seed", "")),
            "epochs": str(self.epochs or ""),
            "val loss": f"{best['val_loss']:.4f}" if best else "",
            "val accuracy": f"{best['val_accuracy']:.1%}" if best else "",
            "test segments": _share(self.result.get("segment")),
            "test videos": _share(self.result.get("video")),
        }

    def numbers(self) -> dict[str, str]:
        """Return what the run came to, by what it is called in a comparison."""
        cells = self.cells()
        told = {
            "state": cells["state"],
            "epochs": cells["epochs"],
            "best validation loss": cells["val loss"],
            "  its accuracy": cells["val accuracy"],
            "test videos": cells["test videos"],
            "test segments": cells["test segments"],
        }
        told |= {
            f"  {name}": _share(count) for name, count in self.result.get("per_class", {}).items()
        }
        return told | _costs(self.result)


def overview(path: str | Path) -> Overview:
    """Look into a folder; whatever is wrong with it becomes its state."""
    run = RunFolder(path)
    found = [name for name in TRACES if (run.path / name).exists()]
    if not found:
        inside = sum(1 for _ in run.path.glob("*/config.json"))
        return Overview(run.path, f"holds {inside} runs" if inside else "no run", {}, {}, 0, {})
    parts: dict[str, Any] = {"settings": {}, "history": [], "result": {}}
    faults = [] if "config.json" in found else ["config.json is missing"]
    for name, file, read in (
        ("settings", "config.json", lambda: flat(run.config)),
        ("history", "history.csv", lambda: _checked_history(run.history)),
        ("result", "result.json", lambda: _checked_result(run.result)),
    ):
        if file in found:
            try:
                parts[name] = read()
            except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
                faults.append(f"{file} cannot be read")
    history = parts["history"]
    state = "finished" if run.finished else f"at epoch {len(history)}" if history else "empty"
    best: Mapping[str, float] = min(history, key=lambda row: row["val_loss"], default={})
    return Overview(
        run.path,
        f"damaged: {', '.join(faults)}" if faults else state,
        parts["settings"],
        best,
        len(history),
        parts["result"],
    )


def list_runs(runs_dir: str | Path = "runs") -> list[Overview]:
    """Look into every folder of a folder of runs, newest run last; what bears no date comes first,
    by name.

    Raises FileNotFoundError when there is no such folder.
    """
    if not Path(runs_dir).is_dir():
        raise FileNotFoundError(
            f"there is no folder {runs_dir}; `python har.py train` makes runs/, --runs-dir DIR "
            "names another"
        )
    return [
        overview(path)
        for path in sorted((p for p in Path(runs_dir).iterdir() if p.is_dir()), key=_age)
    ]


def runs_table(overviews: Iterable[Overview]) -> str:
    """Line up runs, one a line below a heading, oldest on top as they come."""
    rows = [one.cells() for one in overviews]
    return _aligned([COLUMNS, *([row[column] for column in COLUMNS] for row in rows)], COLUMNS)


def comparison(overviews: Sequence[Overview]) -> str:
    """Line up runs side by side: every setting in which they differ, then their numbers."""
    names = list(dict.fromkeys(name for one in overviews for name in one.settings))
    values = {name: [_word(one.settings, name) for one in overviews] for name in names}
    differing = {name: words for name, words in values.items() if len(set(words)) > 1}
    same = len(names) - len(differing)
    numbers = [one.numbers() for one in overviews]
    told = {
        name: [row.get(name, "") for row in numbers]
        for name in dict.fromkeys(n for row in numbers for n in row)
    }
    rows = [
        ["", *(one.path.name for one in overviews)],
        [
            f"settings ({same} more are the same)"
            if differing
            else f"settings (all {same} are the same)"
        ],
        *([f"  {name}", *words] for name, words in differing.items()),
        ["numbers"],
        *([f"  {name}", *words] for name, words in told.items()),
    ]
    width = len(overviews) + 1
    return _aligned([row + [""] * (width - len(row)) for row in rows])


def find_run(which: str | Path, runs_dir: str | Path = "runs") -> Path:
    """Return the folder that a path, or a name within runs_dir, stands for; FileNotFoundError when
    there is none."""
    for path in (Path(which), Path(runs_dir) / which):
        if path.is_dir():
            return path
    raise FileNotFoundError(
        f"there is no run folder {which}, nor one of that name in {runs_dir}; `python har.py runs` "
        "lists them"
    )


# helpers


def _age(path: Path) -> tuple[str, int, str]:
    match = STAMP.fullmatch(path.name)
    return (match[1], int(match[2] or 1), path.name) if match else ("", 0, path.name)


def _checked_history(rows: Sequence[Mapping[str, float]]) -> Sequence[Mapping[str, float]]:
    for row in rows:
        _ = (
            row["val_loss"],
            row["val_accuracy"],
        )  # a KeyError says that this is not a history of ours
    return rows


def _checked_result(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Say all of it once, which raises where it is not a result of ours."""
    for score in (result["segment"], result["video"], *result.get("per_class", {}).values()):
        _share(score)
    _costs(result)
    return result


def _costs(result: Mapping[str, Any]) -> dict[str, str]:
    about = result.get("about", {})
    return {name: f"{about[name]:,}" for name in ("parameters", "seconds") if name in about}


def _share(score: Mapping[str, int] | None) -> str:
    if score is None:
        return ""
    correct, n = int(score["correct"]), int(score["n"])
    return f"{correct}/{n} = {correct / n:.1%}" if n else f"{correct}/{n}"


def _word(settings: Mapping[str, Any], name: str) -> str:
    return str(settings[name]) if name in settings else "-"


def _aligned(rows: Sequence[Sequence[str]], heading: Sequence[str] = ()) -> str:
    """Pad cells to the width of their columns; numbers to the right where the heading says so."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    right = [name in RIGHT for name in heading] or [False] * len(widths)
    lines = (
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
