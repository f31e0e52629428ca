"""Folders of runs: what a run writes and reads, and how a folder of them looks on the terminal.

Knows files, configurations as plain values, and how columns are lined up. Does not know
experiments, models or how a run came about. Listing finds no errors: what is damaged or foreign is
listed as that.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from data.files import read_csv, read_json, write_csv, write_json
from data.schema import Wanted, check

Config = Mapping[str, Any]  # settings in plain values, nested

# a folder with none of these is no run's
TRACES = ("config.json", "history.csv", "result.json", "last.pth", "best.pth")
# what the list of runs shows, and its headings
LISTED = {
    "state": "state",
    "data.name": "data",
    "recipe.seed": "seed",
    "epochs": "epochs",
    "best validation loss": "val loss",
    "  its accuracy": "val accuracy",
    "test segments": "test segments",
    "test videos": "test videos",
}
STAMP = re.compile(r"(?P<name>.+)-(?P<date>\d{8}-\d{6})(?:-(?P<number>\d+))?")


class RunFolder:
    """The folder of one run, runs/<name>-<timestamp>.

    It holds config.json, history.csv and checkpoints; at the end predictions.npz and, written last,
    result.json.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @classmethod
    def create(cls, runs_dir: str | Path, name: str, config: Config) -> RunFolder:
        """Make a new folder for a run of this name and write its config.json, with a hash."""
        stamp = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        for number in count(1):
            path = Path(runs_dir, stamp if number == 1 else f"{stamp}-{number}")
            with suppress(FileExistsError):  # two runs may start within one second
                path.mkdir(parents=True)
                break
        write_json(
            path / "config.json", {"name": name, "hash": config_hash(config), "config": config}
        )
        return cls(path)

    @property
    def best(self) -> Path:
        """Where the checkpoint that the validation persons chose lies."""
        return self.path / "best.pth"

    @property
    def predictions_path(self) -> Path:
        """Where the predictions lie that the result was counted from."""
        return self.path / "predictions.npz"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that the run was started with."""
        return self._read("config.json", {"config": dict})["config"]

    @property
    def hash(self) -> str:
        """The configuration's hash; equal hashes, equal runs. Empty when the folder is no run's."""
        try:
            return self._read("config.json", {"hash": str})["hash"]
        except (OSError, ValueError):
            return ""

    @property
    def finished(self) -> bool:
        """Whether the run came to its end: the result is written last, and is whole."""
        try:
            self._read("result.json", dict)
        except (OSError, ValueError):
            return False
        return True

    @property
    def result(self) -> dict[str, Any]:
        """The result of a finished run, see `finish`."""
        return self._read("result.json", dict)

    def _read(self, file: str, wanted: Wanted) -> Any:
        """Read a JSON file of the folder; ValueError says in what it is not as wanted."""
        value = read_json(self.path / file)
        check(value, wanted, str(self.path / file))
        return value

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv as numbers, empty before the first epoch; ValueError where it is
        damaged."""
        path = self.path / "history.csv"
        try:
            return [
                {name: int(text) if text.isdecimal() else float(text) for name, text in row.items()}
                for row in read_csv(path)
            ]
        except ValueError as error:
            said = str(error)
            raise ValueError(said if str(path) in said else f"{path}: {said}") from error

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Add an epoch's row to history.csv; one that is run again replaces it and all later.

        What cannot be read of it is left out: the checkpoints hold the whole history, which is
        written at the end.
        """
        before: list[dict[str, float]] = []
        with suppress(ValueError, KeyError):
            before = [old for old in self.history if old["epoch"] < row["epoch"]]
        self.write_history([*before, row])

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv anew, which also mends a row that an interruption swallowed."""
        write_csv(self.path / "history.csv", rows, list(rows[-1]) if rows else ["epoch"])

    def finish(self, result: Config) -> None:
        """Write result.json, which marks the run as finished; save the predictions before.

        Args:
            result: {"segment": score, "video": score, "per_class": {action: score}, "about": ...},
                a score being the columns of `Score.to_row`.
        """
        write_json(self.path / "result.json", result)


def config_hash(config: Config) -> str:
    """Return a short hash, the same for equal configurations whatever the order of their keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def code_commit(folder: str | Path = ".") -> str:
    """Return the short commit that the code in a folder stands at, with a + when its Python files
    were changed since.

    "unknown" where there is no git or no checkout.
    """
    git = ("git", "-C", str(folder))
    try:
        commit = subprocess.check_output(
            [*git, "rev-parse", "--short=10", "HEAD"], text=True, stderr=subprocess.DEVNULL
        )
        changed = subprocess.call([*git, "diff", "--quiet", "HEAD", "--", "*.py"])
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + "+" * bool(changed)


def flat(settings: Config, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names: {"recipe": {"lr": 0.1}} -> {"recipe.lr": 0.1}."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        nested = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return found


# finding runs


def find_runs(runs_dir: str | Path, name: str) -> list[RunFolder]:
    """List the runs of exactly this name, oldest first; "ghost" does not find "ghost_whole"'s."""
    return [
        RunFolder(path)
        for path in _by_age(Path(runs_dir).glob(f"{name}-*"))
        if (match := STAMP.fullmatch(path.name)) and match["name"] == name
    ]


def newest_run(runs_dir: str | Path, name: str) -> RunFolder | None:
    """Return the newest finished run of this name, or None."""
    return next((run for run in reversed(find_runs(runs_dir, name)) if run.finished), None)


def matching_run(runs_dir: str | Path, name: str, config: Config) -> RunFolder | None:
    """Return the newest run of exactly this configuration, a finished one if there is one."""
    wanted = config_hash(config)
    alike = [run for run in find_runs(runs_dir, name) if run.hash == wanted]
    return max(reversed(alike), key=lambda run: run.finished, default=None)


def run_to_resume(path: str | Path, config: Config) -> RunFolder:
    """Return the run of a folder that was started with exactly this configuration.

    Raises ValueError when it is no run folder, or names the settings in which its run is another.
    """
    run = RunFolder(path)
    if not run.hash:
        raise ValueError(
            f"{path} is no run folder, it has no config.json; `python har.py runs` lists them"
        )
    if run.hash != config_hash(config):
        old, new = flat(run.config), flat(config)
        differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        shown = ", ".join(f"{name} {old.get(name)} (now {new.get(name)})" for name in differing[:8])
        raise ValueError(
            f"{path} is another run, of {shown}{' ...' if len(differing) > 8 else ''}: go on with "
            "the settings it was started with, or start a new run by leaving it out"
        )
    return run


def find_run(which: str | Path, runs_dir: str | Path) -> Path:
    """Return the folder that a path, or a name within runs_dir, stands for.

    Raises FileNotFoundError when there is none.
    """
    for path in (Path(which), Path(runs_dir) / which):
        if path.is_dir():
            return path
    raise FileNotFoundError(
        f"there is no run folder {which}, nor one of that name in {runs_dir}; `python har.py runs` "
        "lists them"
    )


# runs on the terminal


@dataclass(frozen=True)
class Overview:
    """What a run folder says about itself; what it does not say is empty.

    `state` is "finished", "at epoch 3", "empty", "no run" or "damaged: why". `settings` holds the
    configuration by dotted names, `numbers` what the run came to, by what it is called.
    """

    name: str
    state: str
    settings: Mapping[str, str]
    numbers: Mapping[str, str]


def overview(path: str | Path) -> Overview:
    """Look into a folder; whatever is wrong with it becomes its state."""
    run = RunFolder(path)
    found = [name for name in TRACES if (run.path / name).exists()]
    if not found:
        inside = sum(1 for _ in run.path.glob("*/config.json"))
        return Overview(run.path.name, f"holds {inside} runs" if inside else "no run", {}, {})
    faults = [] if "config.json" in found else ["config.json is missing"]
    parts: dict[str, dict[str, str]] = {}
    for file, read in {
        "config.json": lambda: {name: str(value) for name, value in flat(run.config).items()},
        "history.csv": lambda: _epochs(run.history),
        "result.json": lambda: _scores(run.result),
    }.items():
        try:
            parts[file] = read() if file in found else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
            faults.append(f"{file} cannot be read")
            parts[file] = {}
    settings, epochs, scores = parts.values()
    state = "finished" if run.finished else "empty"
    if epochs and not run.finished:
        state = f"at epoch {epochs['epochs']}"
    if faults:
        state = f"damaged: {', '.join(faults)}"
    return Overview(run.path.name, state, settings, epochs | scores)


def list_runs(runs_dir: str | Path) -> list[Overview]:
    """Look into every folder of a folder of runs, newest run last.

    What bears no date comes first, by name. Raises FileNotFoundError when there is no such folder.
    """
    if not Path(runs_dir).is_dir():
        raise FileNotFoundError(
            f"there is no folder {runs_dir}; `python har.py train` makes runs/, --runs-dir DIR "
            "names another"
        )
    return [overview(path) for path in _by_age(Path(runs_dir).iterdir())]


def runs_table(overviews: Sequence[Overview]) -> str:
    """Line up runs, one a line below a heading, in their order."""
    import pandas as pd

    if not overviews:
        return "no runs"
    rows = [{"state": run.state, **run.settings, **run.numbers} for run in overviews]
    table = pd.DataFrame(rows, [run.name for run in overviews], list(LISTED)).fillna("")
    return table.rename(columns=lambda name: f" {LISTED[name]}").to_string()


def comparison(overviews: Sequence[Overview]) -> str:
    """Line up runs side by side: every setting in which they differ, then their numbers."""
    import pandas as pd

    names = [run.name for run in overviews]
    settings = pd.DataFrame([run.settings for run in overviews], names).T.fillna("-")
    differing = settings[settings.nunique(axis=1) > 1]
    rows = [{"state": run.state, **run.numbers} for run in overviews]
    numbers = pd.DataFrame(rows, names).T.fillna("")
    table = pd.concat([differing, numbers]).to_string()
    return f"{table}\n{len(settings) - len(differing)} of {len(settings)} settings are the same"


def _by_age(paths: Iterable[Path]) -> list[Path]:
    """Keep the folders, those of no run first, then oldest first."""

    def age(path: Path) -> tuple[str, int, str]:
        match = STAMP.fullmatch(path.name)
        date, number = (match["date"], int(match["number"] or 1)) if match else ("", 0)
        return date, number, path.name

    return sorted(filter(Path.is_dir, paths), key=age)


def _epochs(history: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """What a history says, by what it is called; a KeyError says that it is none of ours."""
    if not history:
        return {}
    best = min(history, key=lambda row: row["val_loss"])
    return {
        "epochs": str(len(history)),
        "best validation loss": f"{best['val_loss']:.4f}",
        "  its accuracy": f"{best['val_accuracy']:.1%}",
    }


def _scores(result: Config) -> dict[str, str]:
    """What a result says, by what it is called."""
    scores = {"test videos": result["video"], "test segments": result["segment"]}
    scores |= {f"  {name}": score for name, score in result.get("per_class", {}).items()}
    about = result.get("about", {})
    costs = {name: f"{about[name]:,}" for name in ("parameters", "seconds") if name in about}
    return {name: _share(**score) for name, score in scores.items()} | costs


def _share(correct: float, n: int, **_: Any) -> str:
    return f"{correct:g}/{n} = {correct / n:.1%}" if n else f"{correct}/{n}"
