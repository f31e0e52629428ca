"""Rows of results in results/*.csv, and the Markdown tables that pages and notebooks show of them.

Knows columns, what readers call the experiments, and Markdown. Does not know models, data sets or
how a number came about. Cells stay text, so that a file changes only where it must. Pandas is
imported by the functions that need it: predicting does without.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files import read_csv, read_header, write_text
from evaluation.statistics import wilson_interval

if TYPE_CHECKING:
    import pandas as pd


Cells = Mapping[str, Any]  # column -> cell


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COLUMNS = _names(
    "experiment data trained_on split level n correct accuracy low high person_low person_high "
    "seed recipe parameters frames size weights weights_hash seconds commit date"
)
KEY = _names("experiment data trained_on split level seed recipe frames size weights")
ORDER = _names("trained_on split experiment seed level")
PAIR_COLUMNS = _names(
    "a b data split level seeds items persons difference low high only_a only_b p verdict commit "
    "date"
)
PAIR_KEY = _names("a b data split level")
READING_COLUMNS = _names(
    "date recogniser trained_on weights seed segments_right segments files_right files "
    "calibration_error"
)
MEASUREMENT_COLUMNS = _names("task method value unit ratio note machine date")
# columns that hold numbers, and those of them that may be empty
NUMBERS = {*_names("n correct accuracy low high person_low person_high seed parameters seconds")}
EMPTY = {*_names("person_low person_high")}
# what readers call the experiments; others go by their names
METHODS = {
    "ghost": "ghost frame",
    "middle": "middle frame",
    "average": "multi-frame averaging",
    "gru_uniform": "Bi-GRU, uniform sampling",
    "gru": "Bi-GRU",
    "average_window": "averaging, fixed stride",
    "tcn": "temporal convolution",
    "stacked": "stacked greyscale, averaging",
    "stacked_gru": "stacked greyscale, Bi-GRU",
    "cutout_gru": "person cut out, Bi-GRU",
    "crop_gru": "person followed, Bi-GRU",
    "pose": "joints, Bi-GRU",
    "ghost_whole": "ghost frame, whole file",
    "middle_whole": "middle frame, whole file",
    "fusion": "bundled default",
}
SHORT = ("ghost", "middle", "average", "gru", "stacked", "fusion")  # rows of the summary
# how frames are sampled: a column of a row, and in words
SAMPLING = (
    (r"\bmean of uniform (\d+)", r"mean of \1 uniform"),
    (r"\buniform (\d+)", r"\1 uniform"),
    (r"\b(\d+)x(\d+)", r"\1 x stride \2"),
    (r"frame offset \d+", "stacks of 3"),
)
USUAL = {"size": "96x128", "weights": "bundled"}  # of rows; only others are told
FEWEST = 100  # items: fewer are of a handful of persons, too few to resample
INTERVALS = (
    "Accuracies in percent: mean ± standard deviation over seeds, of n items; in brackets the "
    "95 % interval of one run, a mean over seeds: subject-level bootstrap, or Wilson's where "
    "marked W.\n"
)
COUNTS = re.compile(r"(\d[\d ]*) of (\d+)(|;.*)")  # right items of each seed, of how many, more


# rows


def results_path(data_name: str, results_dir: str | Path, *, kind: str = "") -> Path:
    """Return the file that holds the results on a data set: "KTH clips" -> results/kth-clips.csv.

    Args:
        data_name: The data set's name.
        results_dir: The folder of results.
        kind: "" for runs on the official split, "crossval" for those of a cross-validation,
            "pairs" for comparisons; begins the file's name.

    Raises:
        ValueError: The name has no letter or digit, or begins like a kind of file.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", data_name.lower()).strip("-")
    if not slug or slug.startswith(("crossval-", "pairs-")):
        raise ValueError(
            f"the data set's name {data_name!r} cannot name a results file: it needs a letter or a "
            "digit and must not begin with crossval or pairs; name it otherwise with --data"
        )
    return Path(results_dir) / f"{kind}{'-' * bool(kind)}{slug}.csv"


def read_results(csv_path: str | Path) -> pd.DataFrame:
    """Read a results file as text, an empty table when it is not there yet."""
    import pandas as pd

    rows = _cells(csv_path)
    return pd.DataFrame(rows) if rows else pd.DataFrame()


def _cells(csv_path: str | Path) -> list[dict[str, str]]:
    """Read a file's rows, and refuse a number that is none in a column of numbers."""
    rows = read_csv(csv_path)
    for line, row in enumerate(rows, 2):
        for name in NUMBERS & row.keys():
            try:
                fits = math.isfinite(float(row[name] or name not in EMPTY))
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(
                    f"{csv_path} row {line}: {name} is {reprlib.repr(row[name])}, no number; mend "
                    "the row, or move the file elsewhere"
                )
    return rows


def check_file(csv_path: str | Path, columns: Sequence[str]) -> None:
    """Refuse a file that rows with these columns cannot be added to; one that is not there is
    fine.

    Raises:
        ValueError: What is wrong with it, and the remedy.
    """
    _cells(csv_path)
    names = read_header(csv_path)
    twice = {name for name in names if names.count(name) > 1}
    if names and (wrong := set(names) ^ set(columns) or twice):
        raise ValueError(
            f"{csv_path}: rows have the columns {', '.join(columns)}; the file differs in "
            f"{sorted(wrong)}: mend its header, or move the file elsewhere"
        )


def _append(
    path: str | Path,
    row: Cells,
    *,
    columns: Sequence[str],
    key: Sequence[str] = (),
    order: Sequence[str] = (),
) -> None:
    """Add a row, in place of one with the same key if there is a key, sorted if there is an order.

    Raises ValueError naming the columns when some are missing or unknown.
    """
    import pandas as pd

    check_file(path, columns)
    if wrong := set(row) ^ set(columns):
        raise ValueError(
            f"{path}: a row has the columns {', '.join(columns)}; this one differs in "
            f"{sorted(wrong)}"
        )
    fresh = {
        name: f"{row[name]:.6g}" if isinstance(row[name], float) else str(row[name])
        for name in columns
    }
    table = pd.concat([read_results(path), pd.DataFrame([fresh])], ignore_index=True)
    if key:
        table = table.drop_duplicates(list(key), keep="last")
    if order:
        table = table.sort_values(
            list(order), key=lambda cells: cells.astype(int) if cells.name == "seed" else cells
        )
    write_text(path, table[list(columns)].to_csv(index=False, lineterminator="\n"))


# Each writes one row (path, row). A result replaces the row of the same measurement: what was
# measured, on what, with which seed; a comparison that of the same methods, data, split and level;
# a reading, one of all evaluations on real clips, is never replaced.
append_result = partial(_append, columns=COLUMNS, key=KEY, order=ORDER)
append_pair = partial(_append, columns=PAIR_COLUMNS, key=PAIR_KEY)
append_reading = partial(_append, columns=READING_COLUMNS)


# tables


def results_table(rows: pd.DataFrame, order: Sequence[str] = ()) -> str:
    """Render rows of results, one line an experiment, seeds summed up as mean and deviation.

    What most lines share, the data and the number of seeds, is told once below; others say theirs.

    Args:
        rows: Rows as read_results gives them.
        order: Experiments in the order of the table; others follow by name.
    """
    groups = _by_experiment(rows, order)
    about = [_about(runs) for runs in groups]
    usual = [max(values, key=values.count) for values in map(list, zip(*about, strict=True))]
    lines = []
    for runs, told in zip(groups, about, strict=True):
        first = runs.iloc[0]
        unusual = (value for value in told if value not in usual)
        lines.append(
            {
                "method": _joined(_method(first), first.recipe, *unusual),
                "segments, %": _accuracy(runs[runs.level == "segment"]),
                "videos, %": _accuracy(runs[runs.level == "video"]),
                "frames": _sampling(first),
                "parameters": f"{int(first.parameters):,}",
            }
        )
    table = _markdown(lines, right=("parameters",))
    return f"{table}\n{_joined(*usual)}, unless a row says otherwise. {INTERVALS}"


def summary_table(rendered: pd.DataFrame, real: pd.DataFrame, order: Sequence[str] = SHORT) -> str:
    """Render some experiments' videos of rendered test persons beside their segments of real
    clips, each count of which is a seed's."""
    lines = []
    for runs in _by_experiment(rendered, order, only=True):
        first = runs.iloc[0]
        clips = real[(real.experiment == first.experiment) & (real.level == "segment")]
        lines.append(
            {
                "method": _method(first),
                "frames": _sampling(first),
                "parameters": f"{int(first.parameters):,}",
                f"{first.data} {first.split}, videos, %": _accuracy(runs[runs.level == "video"]),
                "real KTH, segments": _counts(clips),
            }
        )
    return _markdown(lines, right=("parameters",))


def crossval_table(rows: pd.DataFrame, order: Sequence[str] = ()) -> str:
    """Render a cross-validation in short: accuracies by segment and by video."""
    lines = [
        {
            "method": _method(runs.iloc[0]),
            "scheme": runs.iloc[0].split,
            "segments, %": _accuracy(runs[runs.level == "segment"]),
            "videos, %": _accuracy(runs[runs.level == "video"]),
        }
        for runs in _by_experiment(rows, order)
    ]
    return _markdown(lines)


def pairs_table(rows: pd.DataFrame) -> str:
    """Render comparisons, differences in percentage points with their interval over persons; on
    what is told once below where all are on the same."""
    lines = []
    for row in _checked(rows, PAIR_COLUMNS).itertuples():
        difference, low, high = (100 * float(text) for text in (row.difference, row.low, row.high))
        lines.append(
            {
                "a": METHODS.get(row.a, row.a),
                "b": METHODS.get(row.b, row.b),
                "difference": _whole(f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]"),
                "a is": row.verdict,
                "only a right": row.only_a,
                "only b right": row.only_b,
                "McNemar p": f"{float(row.p):.2g}",
                "on": f"{row.items} {row.level}s of {row.persons} persons, {row.seeds} seeds, "
                f"{row.split}",
            }
        )
    below = f"\nOn {lines[0]['on']}.\n" if len({line["on"] for line in lines}) == 1 else ""
    if below:
        lines = [{name: cell for name, cell in line.items() if name != "on"} for line in lines]
    return _markdown(lines, right=("only a right", "only b right", "McNemar p")) + below


def measurement_table(rows: pd.DataFrame) -> str:
    """Render the measurements of a benchmark or a study, and the machine below the table.

    Times are medians, accuracies means. A ratio says how many times the value of ours a method
    took. Where no row has one and every task has the same methods, the table is a grid, the longer
    list downwards; else each task is a heading above its methods.
    """
    rows = _checked(rows, MEASUREMENT_COLUMNS)
    methods = rows.groupby("task", sort=False).method.agg(tuple)
    alike = len(methods) > 1 and methods.nunique() == 1 and not any(rows.ratio)
    table = _grid(rows) if alike else _list(rows)
    return f"{table}\nMeasured on {rows.date.iloc[0]}: {rows.machine.iloc[0]}.\n"


def benchmark_table(rows: pd.DataFrame) -> str:
    """Render what a benchmark says of time and memory; how right a method is, studies say."""
    return measurement_table(rows[~_checked(rows, MEASUREMENT_COLUMNS).unit.isin(["%"])])


def _grid(rows: pd.DataFrame) -> str:
    tasks, shared, lines = [], [], []
    for task, same in rows.groupby("task", sort=False):
        what, cells = _apart(same)
        tasks.append(str(task))
        shared.append(what)
        notes = [f" ({note.split(';')[0]})" if note else "" for note in cells.note]
        lines.append(dict(zip(same.method, cells.value + notes, strict=True)))
    corner = shared[0] if len(set(shared)) == 1 else ""
    labels = tasks if corner else [_joined(*pair) for pair in zip(tasks, shared, strict=True)]
    columns = list(zip(labels, lines, strict=True))
    if len(lines[0]) > len(labels):  # methods downwards
        columns = [(name, {label: line[name] for label, line in columns}) for name in lines[0]]
    return _markdown([{corner: name} | line for name, line in columns])


def _list(rows: pd.DataFrame) -> str:
    alone, compared, noted = rows.task.nunique() == 1, any(rows.ratio), any(rows.note)
    lines = []
    for task, same in rows.groupby("task", sort=False):
        what, cells = _apart(same)
        label = _joined(str(task), what)
        first = label if alone else ""
        columns = [first, "value", *["times ours"] * compared, *["note"] * noted]
        if not alone:
            lines.append(dict.fromkeys(columns, "") | {"": f"**{label}**"})
        for row in cells.itertuples():
            ratio = f"{float(row.ratio):.3g}" if row.ratio else ""
            line = {first: row.method, "value": row.value, "times ours": ratio, "note": row.note}
            lines.append({name: line[name] for name in columns})
    return _markdown(lines, right=("value", "times ours"))


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _apart(rows: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return what a task's rows share, the unit and the number of items, and the rows without it:
    values with the interval of a single seed, and as notes the right items of each seed."""
    counts = [found.groups() for found in map(COUNTS.fullmatch, rows.note) if found]
    if len(counts) == len(rows) and len({total for _, total, _ in counts}) == 1:
        values = [_share(right, int(total)) for right, total, _ in counts]
        notes = [_whole(right) + rest for right, _, rest in counts]
        return f"% of {counts[0][1]}", rows.assign(value=values, note=notes)
    alike = rows.unit.nunique() == 1
    pairs = zip(rows.value, rows.unit, strict=True)
    values = [_number(value, unit) + ("" if alike else f" {unit}") for value, unit in pairs]
    return rows.unit.iloc[0] if alike else "", rows.assign(value=values)


def _share(counts: str, total: int) -> str:
    """Return the mean count of several seeds in percent of the total; Wilson's interval of one."""
    right = [int(count) for count in counts.split()]
    percent = f"{100 * sum(right) / len(right) / total:.1f}"
    if len(right) > 1:
        return percent
    low, high = wilson_interval(right[0], total)
    return _whole(f"{percent} [{100 * low:.0f}, {100 * high:.0f}]")


def _number(value: str, unit: str) -> str:
    """Return four digits of a value, or all before the point; a decimal of a share."""
    number = float(value)
    if abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.1f}" if unit == "%" and number >= 1 else f"{number:.4g}"


# What a file holds is said by how its name begins, see `results_path`; all others hold runs. A data
# set's part of a name has no underscore.
KINDS = {"bench_": benchmark_table, "study_": measurement_table, "pairs-": pairs_table}


def make_table(name: str, rows: pd.DataFrame, order: Sequence[str] = ()) -> str:
    """Render the rows of results/NAME.csv as the kind of table that fits its name.

    Raises ValueError when there are no rows, or rows of older code, which lack columns.
    """
    for prefix, make in KINDS.items():
        if name.startswith(prefix):
            return make(rows)
    return results_table(rows, order)


def _checked(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    if rows.empty:
        raise ValueError(
            "there are no rows to make a table of; measure first, such as with `python har.py "
            "train` or `python har.py bench`"
        )
    if lacking := set(columns) - set(rows.columns):
        first = ", ".join(rows.iloc[0].reindex(["experiment", "task", "date"]).dropna())
        raise ValueError(
            f"a row of results ({first}) lacks {sorted(lacking)}: older code wrote it; move its "
            "file elsewhere and measure again"
        )
    return rows


def _by_experiment(
    rows: pd.DataFrame, order: Sequence[str], *, only: bool = False
) -> list[pd.DataFrame]:
    """Return the rows of each experiment, recipe and data set, sorted; `only` those in order."""
    keys = [name for name in KEY if name not in ("level", "seed")]
    places = {name: place for place, name in enumerate(order)}

    def place(group: tuple) -> tuple:
        key, _ = group
        rank = places.get(key[0], len(places))
        return (rank,) if only else (key[1:4], rank, key)

    groups = _checked(rows, COLUMNS).groupby(keys, sort=False)
    kept = [group for group in groups if group[0][0] in places or not only]
    return [runs for _, runs in sorted(kept, key=place)]


def _method(row: Any) -> str:
    """Return what readers call an experiment, and the name that commands know."""
    words = METHODS.get(row.experiment)
    return f"{words} (`{row.experiment}`)" if words else row.experiment


def _sampling(row: Any) -> str:
    """Return how frames are sampled, and what else is unusual."""
    text = row.frames
    for pattern, words in SAMPLING:
        text = re.sub(pattern, words, text)
    told = _joined(text, *(row[name] for name, usual in USUAL.items() if row[name] != usual))
    return re.sub(r"(?<![,;]) ", "\N{NO-BREAK SPACE}", told)


def _about(rows: pd.DataFrame) -> tuple[str, str, str]:
    """Return on what is evaluated, on what was trained, and with how many seeds."""
    first, seeds = rows.iloc[0], rows.seed.nunique()
    return (
        f"{first.data}, {first.split}",
        f"trained on {first.trained_on}",
        f"{seeds} seed{'s' * (seeds > 1)}",
    )


def _counts(rows: pd.DataFrame) -> str:
    """Return the right items of each seed, of how many, and the mean interval of a run."""
    if rows.empty:
        return ""
    counts = _whole(f"{' '.join(rows.correct)} of {rows.n.iloc[0]}")
    return f"{counts} [{_interval(rows)}]"


def _accuracy(rows: pd.DataFrame) -> str:
    """Return accuracy, count and interval of one seed; of several mean, deviation and interval."""
    if rows.empty:
        return ""
    first, accuracies = rows.iloc[0], 100 * rows.accuracy.astype(float)
    text = f"{accuracies.mean():.1f} ± {accuracies.std():.1f} of {first.n}"
    if len(rows) == 1:
        text = f"{accuracies.mean():.1f} ({first.correct} of {first.n})"
    return f"{_whole(text)} [{_interval(rows)}]"


def _whole(text: str) -> str:
    """Return a text that is not broken into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _interval(rows: pd.DataFrame) -> str:
    """Return the mean interval of a run over persons, or Wilson's where they are few or unknown."""
    known = int(rows.n.iloc[0]) >= FEWEST and (rows.person_low != "").all()
    sides = ("person_low", "person_high") if known else ("low", "high")
    means = (f"{(100 * rows[side].astype(float)).mean():.1f}" for side in sides)
    return _whole(("" if known else "W ") + ", ".join(means))


def _markdown(lines: Sequence[Cells], right: Sequence[str] = ()) -> str:
    """Lay out lines, column -> cell, as a Markdown table; columns of numbers to the right."""
    head = " | ".join(lines[0]).removeprefix(" ")
    rule = "|".join("---:" if name in right else "---" for name in lines[0])
    body = ("| " + " | ".join(map(str, line.values())) + " |" for line in lines)
    return "\n".join([f"| {head} |", f"|{rule}|", *body]) + "\n"
