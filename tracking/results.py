"""Rows of results in results/*.csv, and the Markdown tables that README and notebook show of them.

Knows columns and Markdown. Does not know models, data sets or how a number came about. Cells stay
text, so that a file changes only where it must. Pandas is imported by the functions that need it:
predicting does without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files import write_text

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
MARKER = re.compile(
    r"<!-- results:(?P<name>[\w.-]+) -->\n(?P<table>.*?)<!-- /results:(?P=name) -->", re.DOTALL
)


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

    if not Path(csv_path).is_file():
        return pd.DataFrame()
    return pd.read_csv(csv_path, dtype=str, keep_default_na=False)


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

    Args:
        rows: Rows as read_results gives them.
        order: Experiments in the order of the table; others follow by name.
    """
    keys = [name for name in KEY if name not in ("level", "seed")]
    places = {name: place for place, name in enumerate(order)}

    def place(group: tuple) -> tuple:
        key, _ = group
        return key[1:4], places.get(key[0], len(places)), key

    lines = []
    for _, runs in sorted(_checked(rows, COLUMNS).groupby(keys, sort=False), key=place):
        first = runs.iloc[0]
        lines.append(
            {
                "experiment": ", ".join(filter(None, (first.experiment, first.recipe))),
                "data, split": f"{first.data}, {first.split}",
                "trained on": first.trained_on,
                "frames": first.frames,
                "size": first["size"],
                "segments": _accuracy(runs[runs.level == "segment"]),
                "videos": _accuracy(runs[runs.level == "video"]),
                "seeds": runs.seed.nunique(),
                "parameters": f"{int(first.parameters):,}",
                "seconds": f"{runs.seconds.astype(float).mean():.0f}",
            }
        )
    return _markdown(lines, right=("frames", "seeds", "parameters", "seconds"))


def pairs_table(rows: pd.DataFrame) -> str:
    """Render comparisons, differences in percentage points with their interval over persons."""
    lines = []
    for row in _checked(rows, PAIR_COLUMNS).itertuples():
        difference, low, high = (100 * float(text) for text in (row.difference, row.low, row.high))
        lines.append(
            {
                "a against b": f"{row.a} against {row.b}",
                "split, level": f"{row.split}, {row.items} {row.level}s of {row.persons} persons, "
                f"{row.seeds} seeds",
                "difference": f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]",
                "only a right": row.only_a,
                "only b right": row.only_b,
                "McNemar p": f"{float(row.p):.2g}",
                "a is": row.verdict,
            }
        )
    return _markdown(lines, right=("only a right", "only b right", "McNemar p"))


def measurement_table(rows: pd.DataFrame) -> str:
    """Render the measurements of a benchmark or a study, and the machine below the table.

    Times are medians, accuracies means. A ratio says how many times the value of ours a method
    took. Where no row has one and every task has the same methods, the table is a grid, the longer
    list downwards.
    """
    rows = _checked(rows, MEASUREMENT_COLUMNS)
    values = [f"{float(v):,.4g} {u}".strip() for v, u in zip(rows.value, rows.unit, strict=True)]
    methods = rows.groupby("task", sort=False).method.agg(tuple)
    compared = any(rows.ratio)
    if len(methods) > 1 and methods.nunique() == 1 and not compared:
        notes = [f" ({note.split(';')[0]})" if note else "" for note in rows.note]
        cells = rows.assign(cell=[v + note for v, note in zip(values, notes, strict=True)])
        grid = cells.pivot(index="method", columns="task", values="cell")
        grid = grid.loc[list(methods.iloc[0]), list(methods.index)]
        grid = grid if len(grid) > len(methods) else grid.T
        table = _markdown([{"": name, **line} for name, line in grid.to_dict("index").items()])
    else:
        cells = rows.assign(
            value=values,
            task=rows.task.where(rows.task != rows.task.shift(), ""),
            ratio=[f"{float(ratio):.3g}" if ratio else "" for ratio in rows.ratio],
        ).rename(columns={"ratio": "times ours"})
        shown = ["task", "method", "value", *["times ours"] * compared, "note"]
        table = _markdown(cells[shown].to_dict("records"), right=("value", "times ours"))
    return f"{table}\nMeasured on {rows.date.iloc[0]}: {rows.machine.iloc[0]}.\n"


# What a file holds is said by how its name begins, see `results_path`; all others hold runs. A data
# set's part of a name has no underscore.
KINDS = {"bench_": measurement_table, "study_": measurement_table, "pairs-": pairs_table}


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
            f"a row of results ({first}) lacks {sorted(lacking)}: older code wrote it; remove its "
            "file and measure again"
        )
    return rows


def _accuracy(rows: pd.DataFrame) -> str:
    """One seed: k / n = accuracy [interval]. Several: mean ± deviation of n, and the mean interval
    of a single run.

    The interval over persons follows Wilson's, where every row has one.
    """
    if rows.empty:
        return ""
    first, accuracies = rows.iloc[0], 100 * rows.accuracy.astype(float)
    interval = _mean_interval(rows, "low", "high")
    if (rows.person_low != "").all():
        interval += f"; persons {_mean_interval(rows, 'person_low', 'person_high')}"
    if len(rows) == 1:
        return f"{first.correct} / {first.n} = {accuracies.mean():.1f} % [{interval}]"
    return f"{accuracies.mean():.1f} ± {accuracies.std():.1f} % of {first.n} [{interval}]"


def _mean_interval(rows: pd.DataFrame, *sides: str) -> str:
    return ", ".join(f"{(100 * rows[side].astype(float)).mean():.1f}" for side in sides)


def _markdown(lines: Sequence[Cells], right: Sequence[str] = ()) -> str:
    """Lay out lines, column -> cell, as a Markdown table; columns of numbers to the right."""
    head = " | ".join(lines[0]).removeprefix(" ")
    rule = "|".join("---:" if name in right else "---" for name in lines[0])
    body = ("| " + " | ".join(map(str, line.values())) + " |" for line in lines)
    return "\n".join([f"| {head} |", f"|{rule}|", *body]) + "\n"


# tables of a README


def render_tables(text: str, results_dir: str | Path, order: Sequence[str] = ()) -> str:
    """Return a README's text with the table between each pair of results markers made anew from
    results_dir/NAME.csv.

    Raises ValueError when a marker has no end or names a file that is not there.
    """

    def _table(match: re.Match) -> str:
        source = Path(results_dir) / f"{match['name']}.csv"
        rows = read_results(source)
        if rows.empty:
            raise ValueError(f"{source} is missing or empty; run an experiment")
        table = make_table(match["name"], rows, order)
        return f"<!-- results:{match['name']} -->\n{table}<!-- /results:{match['name']} -->"

    opened, closed = text.count("<!-- results:"), len(MARKER.findall(text))
    if opened != closed:
        raise ValueError(
            f"{opened} results markers are opened and {closed} closed; close with "
            "<!-- /results:NAME -->"
        )
    return MARKER.sub(_table, text)


def write_tables(readme: str | Path, results_dir: str | Path, order: Sequence[str] = ()) -> bool:
    """Make the tables of a README anew; tell whether anything changed."""
    old = Path(readme).read_text(encoding="utf-8")
    new = render_tables(old, results_dir, order)
    if new != old:
        write_text(readme, new)
    return new != old


def check_tables(
    readme: str | Path, results_dir: str | Path, order: Sequence[str] = ()
) -> list[str]:
    """Return the names of the tables in a README that no longer say what results_dir says."""
    text = Path(readme).read_text(encoding="utf-8")
    now = render_tables(text, results_dir, order)
    return [match["name"] for match in MARKER.finditer(text) if match[0] not in now]
