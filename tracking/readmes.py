"""The tables of README files: found by their markers, made of results/*.csv, written or checked.

Knows markers and files. How a table looks is `tracking.results`'s business.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from data.files import write_text
from tracking.results import crossval_table, make_table, read_results, summary_table

# the pages of this project whose tables are made of results/*.csv
PAGES = ("README.md", "results/README.md", "benchmarks/README.md")
COMPOSED = ("summary", "crossval")  # tables of more than a file, or in short
MARKER = re.compile(
    r"<!-- results:(?P<name>[\w.-]+) -->\n(?P<table>.*?)<!-- /results:(?P=name) -->", re.DOTALL
)
UNMEASURED = "Not measured yet"


def composed(name: str, results_dir: Path, order: Sequence[str]) -> str:
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
            table = composed(name, Path(results_dir), order)
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
    """Make the tables of those of PAGES that are in this folder anew; return which changed.

    A page whose tables cannot be made, for a file of results is damaged, stays as it is, with a
    warning.
    """
    changed = []
    for page in _pages():
        try:
            changed += [page] * write_tables(page, results_dir, order)
        except (OSError, ValueError) as error:
            warnings.warn(f"the tables of {page} stay as they are: {error}", stacklevel=2)
    return changed


def check_pages(results_dir: str | Path, order: Sequence[str] = ()) -> list[str]:
    """Return the stale tables of those of PAGES that are in this folder, as "page: table"."""
    stale = ((page, check_tables(page, results_dir, order)) for page in _pages())
    return [f"{page}: {name}" for page, names in stale for name in names]


def _pages() -> list[str]:
    return [page for page in PAGES if Path(page).is_file()]
