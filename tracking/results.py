"""Rows of results in results/*.csv, and the Markdown tables that pages and notebooks show of them.

Knows columns, what readers call the experiments, and Markdown. Does not know models, data sets or
how a number came about. Cells stay text, so that a file changes only where it must. Pandas is
imported by the functions that need it: predicting does without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.files import write_text
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
MARKER = re.compile(
    r"<!-- results:(?P<name>[\w.-]+) -->\n(?P<table>.*?)<!-- /results:(?P=name) -->", re.DOTALL
)
# the pages of this project whose tables are made of results/*.csv
PAGES = ("README.md", "results/README.md", "benchmarks/README.md")
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
COMPOSED = ("summary", "crossval")  # tables of the front page, of more than a file or in short
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
UNMEASURED = "Not measured yet"
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
    lines = []
    for runs in _by_experiment(rows, order):
        first = runs.iloc[0]
        lines.append(
            {
                "method": _joined(_method(first), first.recipe),
                "segments, %": _accuracy(runs[runs.level == "segment"]),
                "videos, %": _accuracy(runs[runs.level == "video"]),
                "seeds": runs.seed.nunique(),
                "frames": _sampling(first),
                "parameters": f"{int(first.parameters):,}",
                "data, split": _data(first),
            }
        )
    return f"{_markdown(lines, right=('seeds', 'parameters'))}\n{INTERVALS}"


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
    """Render comparisons, differences in percentage points with their interval over persons."""
    lines = []
    for row in _checked(rows, PAIR_COLUMNS).itertuples():
        difference, low, high = (100 * float(text) for text in (row.difference, row.low, row.high))
        lines.append(
            {
                "a against b": f"{row.a} against {row.b}",
                "difference": f"{difference:+.1f} [{low:+.1f}, {high:+.1f}]",
                "a is": row.verdict,
                "only a right": row.only_a,
                "only b right": row.only_b,
                "McNemar p": f"{float(row.p):.2g}",
                "on": f"{row.items} {row.level}s, {row.persons} persons, {row.seeds} seeds, "
                f"{row.split}",
            }
        )
    return _markdown(lines, right=("only a right", "only b right", "McNemar p"))


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
    alone, compared = rows.task.nunique() == 1, any(rows.ratio)
    lines = []
    for task, same in rows.groupby("task", sort=False):
        what, cells = _apart(same)
        label = _joined(str(task), what)
        first = label if alone else ""
        columns = [first, "value", *["times ours"] * compared, "note"]
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
        notes = [right + rest for right, _, rest in counts]
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
    return f"{percent} [{100 * low:.0f}, {100 * high:.0f}]"


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
            f"a row of results ({first}) lacks {sorted(lacking)}: older code wrote it; remove its "
            "file and measure again"
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
    return _joined(text, *(row[name] for name, usual in USUAL.items() if row[name] != usual))


def _data(row: Any) -> str:
    """Return on what is evaluated, and after an arrow where training was on something else."""
    trained = "" if row.trained_on == row.data else f"{row.trained_on} → "
    return f"{trained}{row.data}, {row.split}"


def _counts(rows: pd.DataFrame) -> str:
    """Return the right items of each seed, of how many, and the mean interval of a run."""
    if rows.empty:
        return ""
    return f"{' '.join(rows.correct)} of {rows.n.iloc[0]} [{_interval(rows)}]"


def _accuracy(rows: pd.DataFrame) -> str:
    """Return accuracy, count and interval of one seed; of several mean, deviation and interval."""
    if rows.empty:
        return ""
    first, accuracies = rows.iloc[0], 100 * rows.accuracy.astype(float)
    spread, of = f" ± {accuracies.std():.1f}", f"of {first.n}"
    if len(rows) == 1:
        spread, of = "", f"({first.correct} of {first.n})"
    return f"{accuracies.mean():.1f}{spread} {of} [{_interval(rows)}]"


def _interval(rows: pd.DataFrame) -> str:
    """Return the mean interval of a run over persons, or Wilson's where they are few or unknown."""
    known = int(rows.n.iloc[0]) >= FEWEST and (rows.person_low != "").all()
    sides = ("person_low", "person_high") if known else ("low", "high")
    means = (f"{(100 * rows[side].astype(float)).mean():.1f}" for side in sides)
    return ("" if known else "W ") + ", ".join(means)


def _markdown(lines: Sequence[Cells], right: Sequence[str] = ()) -> str:
    """Lay out lines, column -> cell, as a Markdown table; columns of numbers to the right."""
    head = " | ".join(lines[0]).removeprefix(" ")
    rule = "|".join("---:" if name in right else "---" for name in lines[0])
    body = ("| " + " | ".join(map(str, line.values())) + " |" for line in lines)
    return "\n".join([f"| {head} |", f"|{rule}|", *body]) + "\n"


# tables of pages


def _composed(name: str, results_dir: Path, order: Sequence[str]) -> str:
    """Render a table that is not simply that of a file."""
    if name == "crossval":
        return crossval_table(read_results(results_dir / "crossval-kth-synth.csv"), order)
    rendered, real = (
        read_results(results_dir / f"{data}.csv") for data in ("kth-synth", "kth-clips")
    )
    return summary_table(rendered, real)


def render_tables(text: str, results_dir: str | Path, order: Sequence[str] = ()) -> str:
    """Return a page's text with the table between each pair of results markers made anew from
    results_dir/NAME.csv, or of COMPOSED; where nothing was measured yet, that is said.

    Raises ValueError when a marker has no end.
    """

    def _table(match: re.Match) -> str:
        name = match["name"]
        if name in COMPOSED:
            table = _composed(name, Path(results_dir), order)
        elif (rows := read_results(Path(results_dir) / f"{name}.csv")).empty:
            table = f"{UNMEASURED}: there is no `results/{name}.csv`.\n"
        else:
            table = make_table(name, rows, order)
        return f"<!-- results:{name} -->\n{table}<!-- /results:{name} -->"

    opened, closed = text.count("<!-- results:"), len(MARKER.findall(text))
    if opened != closed:
        raise ValueError(
            f"{opened} results markers are opened and {closed} closed; close with "
            "<!-- /results:NAME -->"
        )
    return MARKER.sub(_table, text)


def write_tables(page: str | Path, results_dir: str | Path, order: Sequence[str] = ()) -> bool:
    """Make the tables of a page anew; tell whether anything changed."""
    old = Path(page).read_text(encoding="utf-8")
    new = render_tables(old, results_dir, order)
    if new != old:
        write_text(page, new)
    return new != old


def check_tables(page: str | Path, results_dir: str | Path, order: Sequence[str] = ()) -> list[str]:
    """Return the names of the tables in a page that no longer say what results_dir says."""
    text = Path(page).read_text(encoding="utf-8")
    now = render_tables(text, results_dir, order)
    return [match["name"] for match in MARKER.finditer(text) if match[0] not in now]


def write_pages(results_dir: str | Path, order: Sequence[str] = ()) -> list[str]:
    """Make the tables of those of PAGES that are in this folder anew; return which changed."""
    return [page for page in _pages() if write_tables(page, results_dir, order)]


def check_pages(results_dir: str | Path, order: Sequence[str] = ()) -> list[str]:
    """Return the stale tables of those of PAGES that are in this folder, as "page: table"."""
    stale = ((page, check_tables(page, results_dir, order)) for page in _pages())
    return [f"{page}: {name}" for page, names in stale for name in names]


def _pages() -> list[str]:
    return [page for page in PAGES if Path(page).is_file()]
