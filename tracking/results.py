"""What a run leaves behind: its folder, its history, its rows in results/*.csv, and the README
tables made from them.

Knows files, rows and Markdown. Does not know models, data sets or how a number came about: whoever
calls brings the numbers. Whatever is written is written whole or not at all, so an interruption
never leaves half a file.
"""

import csv
import hashlib
import json
import os
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

COLUMNS = (
    "experiment",
    "data",
    "trained_on",
    "split",
    "level",
    "n",
    "correct",
    "accuracy",
    "low",
    "high",
    "person_low",
    "person_high",
    "seed",
    "recipe",
    "parameters",
    "frames",
    "size",
    "weights",
    "weights_hash",
    "seconds",
    "commit",
    "date",
)
KEY = (
    "experiment",
    "data",
    "trained_on",
    "split",
    "level",
    "seed",
    "recipe",
    "frames",
    "size",
    "weights",
)
PAIR_COLUMNS = (
    "a",
    "b",
    "data",
    "split",
    "level",
    "seeds",
    "items",
    "persons",
    "difference",
    "low",
    "high",
    "only_a",
    "only_b",
    "p",
    "verdict",
    "commit",
    "date",
)
READING_COLUMNS = (
    "date",
    "recogniser",
    "trained_on",
    "weights",
    "seed",
    "segments_right",
    "segments",
    "files_right",
    "files",
    "calibration_error",
)
MARKER = re.compile(
    r"<!-- results:(?P<name>[\w.-]+) -->\n(?P<table>.*?)<!-- /results:(?P=name) -->", re.DOTALL
)
LEVELS = ("segment", "video")


# runs


class RunFolder:
    """The folder of one run, runs/<name>-<timestamp>: config.json, history.csv, checkpoints, at the
    end result.json."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    @classmethod
    def create(
        cls, runs_dir: str | os.PathLike, name: str, config: Mapping[str, Any]
    ) -> "RunFolder":
        """Make a new folder for a run of this name and write its config.json, the configuration's
        hash included."""
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        for suffix in (
            "",
            *(f"-{number}" for number in range(2, 1000)),
        ):  # two runs may start within one second
            path = Path(runs_dir) / f"{name}-{stamp}{suffix}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            _write_json(
                path / "config.json", {"name": name, "hash": config_hash(config), "config": config}
            )
            return cls(path)
        raise OSError(
            f"{runs_dir} holds a thousand runs named {name}-{stamp}; look for a loop that "
            "starts "
            "them"
        )

    @property
    def best(self) -> Path:
        """Where the checkpoint that the validation persons chose lies."""
        return self.path / "best.pth"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that the run was started with."""
        return _read_json(self.path / "config.json")["config"]

    @property
    def hash(self) -> str:
        """The hash of the configuration; equal hashes mean equal runs. Empty when the folder is no
        run's."""
        try:
            return _read_json(self.path / "config.json")["hash"]
        except (OSError, ValueError, KeyError):
            return ""

    @property
    def finished(self) -> bool:
        """Whether the run came to its end: the result is written last."""
        return (self.path / "result.json").is_file()

    @property
    def result(self) -> dict[str, Any]:
        """The result of a finished run, as it was written."""
        return _read_json(self.path / "result.json")

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv as numbers, empty before the first epoch."""
        return [
            {key: float(value) for key, value in row.items()}
            for row in _read_rows(self.path / "history.csv")
        ]

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """Add an epoch's row to history.csv; an epoch that is run again after an interruption
        replaces its old row."""
        kept = [
            old
            for old in _read_rows(self.path / "history.csv")
            if float(old["epoch"]) < float(row["epoch"])
        ]
        _write_rows(self.path / "history.csv", [*kept, dict(row)], list(row))

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write history.csv as a whole, which also mends a row that an interruption swallowed."""
        _write_rows(self.path / "history.csv", rows, list(rows[0]) if rows else ["epoch"])

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write result.json, which marks the run as finished."""
        _write_json(self.path / "result.json", result)


def config_hash(config: Mapping[str, Any]) -> str:
    """Return a short hash that is the same for equal configurations, whatever the order of their
    keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names: {"recipe": {"lr": 0.1}} -> {"recipe.lr": 0.1}."""
    level: dict[str, Any] = {}
    for name, value in settings.items():
        level |= (
            flat(value, f"{prefix}{name}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{name}": value}
        )
    return level


def find_runs(runs_dir: str | os.PathLike, name: str) -> list[RunFolder]:
    """List the runs of exactly this name, oldest first; "ghost" does not find the runs of
    "ghost_whole"."""
    pattern = re.compile(re.escape(name) + r"-(\d{8}-\d{6})(?:-(\d+))?")
    matches = [
        (pattern.fullmatch(path.name), path)
        for path in Path(runs_dir).glob(f"{name}-*")
        if path.is_dir()
    ]
    dated = [(match[1], int(match[2] or 1), path) for match, path in matches if match]
    return [RunFolder(path) for _, _, path in sorted(dated)]


def newest_run(runs_dir: str | os.PathLike, name: str) -> RunFolder | None:
    """Return the newest finished run of this name, or None."""
    return next((run for run in reversed(find_runs(runs_dir, name)) if run.finished), None)


def matching_run(
    runs_dir: str | os.PathLike, name: str, config: Mapping[str, Any]
) -> RunFolder | None:
    """Return the newest run that was started with exactly this configuration, a finished one if
    there is one."""
    wanted = config_hash(config)
    alike = [run for run in find_runs(runs_dir, name) if run.hash == wanted]
    return max(reversed(alike), key=lambda run: run.finished, default=None)


def run_to_resume(path: str | os.PathLike, config: Mapping[str, Any]) -> RunFolder:
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
        told = ", ".join(f"{name} {old.get(name)} (now {new.get(name)})" for name in differing[:8])
        raise ValueError(
            f"{path} is another run, of {told}{' ...' if len(differing) > 8 else ''}: go on with "
            "the "
            "settings it was started with, or start a new run by leaving it out"
        )
    return run


# results


def append_result(csv_path: str | os.PathLike, row: Mapping[str, Any]) -> None:
    """Write one row of results; the row with the same key (what was measured, on what, which seed)
    is replaced.

    Raises ValueError naming the columns when some are missing or unknown.
    """
    _append(Path(csv_path), row, COLUMNS, key=KEY, place=_place)


def append_reading(csv_path: str | os.PathLike, row: Mapping[str, Any]) -> None:
    """Add a line, never to be replaced, to the list of what was ever read of real footage.

    Raises ValueError naming the columns when some are missing or unknown.
    """
    _append(Path(csv_path), row, READING_COLUMNS)


def append_pair(csv_path: str | os.PathLike, row: Mapping[str, Any]) -> None:
    """Write a comparison of two methods; the row of the same methods, data, split and level is
    replaced.

    Raises ValueError naming the columns when some are missing or unknown.
    """
    _append(Path(csv_path), row, PAIR_COLUMNS, key=("a", "b", "data", "split", "level"))


def _append(
    path: Path,
    row: Mapping[str, Any],
    columns: Sequence[str],
    *,
    key: Sequence[str] = (),
    place: Any = None,
) -> None:
    """Add a row to a file, in place of one with the same key if there is a key, and sorted by place
    if there is one."""
    if wrong := set(row) ^ set(columns):
        raise ValueError(
            f"{path}: a row has the columns {', '.join(columns)}; this one differs in "
            f"{sorted(wrong)}"
        )
    fresh = {column: _as_text(row[column]) for column in columns}
    kept = [
        old
        for old in _read_rows(path)
        if not key or any(old.get(name) != fresh[name] for name in key)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_rows(path, sorted([*kept, fresh], key=place) if place else [*kept, fresh], columns)


def pairs_table(rows: Iterable[Mapping[str, str]]) -> str:
    """Render comparisons as a Markdown table, differences in points with their interval over
    persons."""
    lines = [
        (
            "| a against b | split, level | difference | only a right | only b right | McNemar p "
            "| a "
            "is |"
        ),
        "|---|---|---|---:|---:|---:|---|",
    ]
    for row in rows:
        points, low, high = (100 * float(row[name]) for name in ("difference", "low", "high"))
        asked = f"{row['items']} {row['level']}s of {row['persons']} persons, {row['seeds']} seeds"
        difference = f"{points:+.1f} [{low:+.1f}, {high:+.1f}]"
        lines.append(
            f"| {row['a']} against {row['b']} | {row['split']}, {asked} | {difference} | "
            f"{row['only_a']} | "
            f"{row['only_b']} | {float(row['p']):.2g} | {row['verdict']} |"
        )
    return "\n".join(lines) + "\n"


def code_commit(folder: str | os.PathLike = ".") -> str:
    """Return the short commit that the code in a folder stands at, with a + when its Python files
    were changed since.

    "unknown" where there is no git or no checkout.
    """
    git = ["git", "-C", os.fspath(folder)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "diff", "--quiet", "HEAD", "--", "*.py"], capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + "+" * (changed.returncode != 0)


def read_results(csv_path: str | os.PathLike) -> list[dict[str, str]]:
    """Read the rows of a results file as text, an empty list when it is not there yet."""
    return _read_rows(Path(csv_path))


def results_table(rows: Iterable[Mapping[str, str]], order: Sequence[str] = ()) -> str:
    """Render rows of results as a Markdown table, one line an experiment, seeds summed up as mean
    and deviation.

    Args:
        rows: Rows as read_results gives them.
        order: Experiments in the order of the table; others follow by name.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for row in rows:
        if lacking := set(COLUMNS) - set(row):
            raise ValueError(
                f"a row of results ({row.get('experiment')}, {row.get('date')}) lacks "
                f"{sorted(lacking)}: "
                "older code wrote it; remove its file and measure again"
            )
        groups.setdefault(
            tuple(row[column] for column in KEY if column not in ("level", "seed")), []
        ).append(row)
    names = list(order)
    places = sorted(
        groups,
        key=lambda key: (key[1:], names.index(key[0]) if key[0] in names else len(names), key[0]),
    )
    lines = [
        (
            "| experiment | data, split | trained on | frames | size | segments | videos | seeds | "
            "parameters | seconds |"
        ),
        "|---|---|---|---:|---|---|---|---:|---:|---:|",
    ]
    return "\n".join([*lines, *(_table_line(groups[place]) for place in places)]) + "\n"


def bench_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Render rows of a benchmark as a Markdown table and the machine they were measured on below
    it.

    Times are medians, accuracies means. A ratio says how many times the value of ours a method
    took. Where no row has one and every task was asked of the same methods, the table is a grid,
    the longer list downwards. Raises ValueError when there are no rows.
    """
    if not rows:
        raise ValueError("there are no rows to make a table of; run `python har.py bench` first")
    methods: dict[str, list[str]] = {}
    for row in rows:
        methods.setdefault(row["task"], []).append(row["method"])
    alike = len(methods) > 1 and len({tuple(names) for names in methods.values()}) == 1
    lines = (_grid if alike and not any(row["ratio"] for row in rows) else _list)(rows)
    return "\n".join([*lines, "", f"Measured on {rows[0]['date']}: {rows[0]['machine']}."]) + "\n"


def _list(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """One line a row; the column of ratios is there when something was compared."""
    compared = any(row["ratio"] for row in rows)
    lines = ["| task | method | value | times ours | note |", "|---|---|---:|---:|---|"]
    if not compared:
        lines = ["| task | method | value | note |", "|---|---|---:|---|"]
    task = ""
    for row in rows:
        ratio = (f"{float(row['ratio']):.3g} | " if row["ratio"] else " | ") if compared else ""
        lines.append(
            f"| {row['task'] if row['task'] != task else ''} | {row['method']} | {_value(row)} | "
            f"{ratio}"
            f"{row['note']} |"
        )
        task = row["task"]
    return lines


def _grid(rows: Sequence[Mapping[str, str]]) -> list[str]:
    tasks, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("task", "method"))
    by_method = len(methods) > len(tasks)
    down, across = (methods, tasks) if by_method else (tasks, methods)
    cells = {
        (row["method"], row["task"])
        if by_method
        else (row["task"], row["method"]): f"{_value(row)} ({row['note'].split(';')[0]})"
        if row["note"]
        else _value(row)
        for row in rows
    }
    head = [f"| | {' | '.join(across)} |", f"|---|{'---|' * len(across)}"]
    return head + [
        f"| {name} | {' | '.join(cells[name, other] for other in across)} |" for name in down
    ]


def _value(row: Mapping[str, str]) -> str:
    return f"{float(row['value']):,.4g} {row['unit']}".strip()


def render_tables(
    text: str, results_dir: str | os.PathLike = "results", order: Sequence[str] = ()
) -> str:
    """Return a README's text with the table between each pair of results markers made anew from
    results_dir/NAME.csv.

    Raises ValueError when a marker has no end or names a file that is not there.
    """

    def renew(match: re.Match) -> str:
        source = Path(results_dir) / f"{match['name']}.csv"
        rows = read_results(source)
        if not rows:
            raise ValueError(
                f"table {match['name']!r} has no rows: {source} is missing or empty; run an "
                "experiment"
            )
        kinds = {"bench_": bench_table, "pairs-": pairs_table}
        make = next(
            (make for start, make in kinds.items() if match["name"].startswith(start)), None
        )
        table = make(rows) if make else results_table(rows, order)
        return f"<!-- results:{match['name']} -->\n{table}<!-- /results:{match['name']} -->"

    opened, closed = text.count("<!-- results:"), len(MARKER.findall(text))
    if opened != closed:
        raise ValueError(
            f"{opened} results markers are opened and {closed} closed; close with <!-- "
            "/results:NAME -->"
        )
    return MARKER.sub(renew, text)


def write_tables(
    readme: str | os.PathLike, results_dir: str | os.PathLike = "results", order: Sequence[str] = ()
) -> bool:
    """Make the tables of a README anew; tell whether anything changed."""
    old = Path(readme).read_text(encoding="utf-8")
    new = render_tables(old, results_dir, order)
    if new != old:
        _write_text(Path(readme), new)
    return new != old


def check_tables(
    readme: str | os.PathLike, results_dir: str | os.PathLike = "results", order: Sequence[str] = ()
) -> list[str]:
    """Return the names of the tables in a README that no longer say what results_dir says."""
    old = Path(readme).read_text(encoding="utf-8")
    now = {
        match["name"]: match["table"]
        for match in MARKER.finditer(render_tables(old, results_dir, order))
    }
    return [match["name"] for match in MARKER.finditer(old) if now[match["name"]] != match["table"]]


def results_path(data_name: str, results_dir: str | os.PathLike = "results") -> Path:
    """Return the file that holds the results on a data set: "KTH clips" ->
    results/kth-clips.csv."""
    slug = re.sub(r"[^a-z0-9]+", "-", data_name.lower()).strip("-")
    if not slug:
        raise ValueError(
            f"the data set's name {data_name!r} has no letter or digit to name a results file by"
        )
    return Path(results_dir) / f"{slug}.csv"


def _place(row: Mapping[str, str]) -> tuple[Any, ...]:
    return row["trained_on"], row["split"], row["experiment"], int(row["seed"]), row["level"]


def _table_line(rows: Sequence[Mapping[str, str]]) -> str:
    first = rows[0]
    seconds = statistics.mean(float(row["seconds"]) for row in rows)
    cells = [
        ", ".join(filter(None, (first["experiment"], first["recipe"]))),
        f"{first['data']}, {first['split']}",
        first["trained_on"],
        first["frames"],
        first["size"],
        *(_accuracy_cell([row for row in rows if row["level"] == level]) for level in LEVELS),
        str(len({row["seed"] for row in rows})),
        f"{int(first['parameters']):,}",
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _accuracy_cell(rows: Sequence[Mapping[str, str]]) -> str:
    """One seed: k / n = accuracy [interval]. Several: mean ± deviation of n, and the mean interval
    of a single run.

    The interval over persons follows Wilson's, where every row has one.
    """
    if not rows:
        return ""
    accuracies = [100 * float(row["accuracy"]) for row in rows]
    intervals = _mean_interval(rows, "low", "high")
    if all(row["person_low"] for row in rows):
        intervals += f"; persons {_mean_interval(rows, 'person_low', 'person_high')}"
    if len(rows) == 1:
        return f"{rows[0]['correct']} / {rows[0]['n']} = {accuracies[0]:.1f} % [{intervals}]"
    spread = statistics.stdev(accuracies)
    return f"{statistics.mean(accuracies):.1f} ± {spread:.1f} % of {rows[0]['n']} [{intervals}]"


def _mean_interval(rows: Sequence[Mapping[str, str]], low: str, high: str) -> str:
    return ", ".join(
        f"{statistics.mean(100 * float(row[side]) for row in rows):.1f}" for side in (low, high)
    )


# files


def _as_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(value, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)
