"""A run on one page: an HTML file that opens anywhere, and the same numbers as JSON.

Knows headings, facts, tables and figures that can save themselves as PNG. Does not know
experiments, models, data sets or where a number came from. The page fetches nothing: its style and
its pictures are inside, and it has no script.
"""

import base64
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

HTML, JSON = "report.html", "report.json"
STYLE = """
body { max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #111; background: #fff;
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #bbb; }
section { overflow-x: auto; }
table { border-collapse: collapse; margin: .7rem 0; font-size: .85em; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem .15rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #e4e4e4; }
td.number, th.number { text-align: right; } table.facts th { font-weight: normal; color: #555; }
figure { margin: 1rem 0; break-inside: avoid; } img { max-width: 100%; } figcaption { color: #555; }
@media print { body { margin: 0; max-width: none; font-size: 9pt; } section { overflow: visible; }
               h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in this order; what is empty is left out.

    Args:
        note: A paragraph.
        facts: Name -> value, such as the settings of a run.
        figures: Caption -> figure, anything with matplotlib's savefig.
        rows: Lines of a table, each column -> value; the first line's columns are the table's.
    """

    note: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()


def write_report(folder: str | os.PathLike, title: str, sections: Mapping[str, Section]) -> Path:
    """Write report.html and report.json into a folder, each whole or not at all; returns the page.

    Args:
        folder: Must be there.
        title: Of the page.
        sections: Heading -> section.
    """
    page = Path(folder) / HTML
    told = json.dumps(as_json(title, sections), indent=2, allow_nan=False)
    for path, text in ((page, as_html(title, sections)), (page.with_name(JSON), told + "\n")):
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    return page


def as_json(title: str, sections: Mapping[str, Section]) -> dict[str, Any]:
    """Return {"title", "sections": heading -> {"note", "facts", "rows", "figures": captions}},
    unrounded.

    A number that is none (nan, infinite) becomes None, for JSON has no word for it.
    """
    return {
        "title": title,
        "sections": {
            heading: {
                "note": section.note,
                "facts": _finite(section.facts),
                "rows": _finite(section.rows),
                "figures": list(section.figures),
            }
            for heading, section in sections.items()
        },
    }


def as_html(title: str, sections: Mapping[str, Section]) -> str:
    """Return the page; every text in it is escaped."""
    body = "\n".join(
        f"<section>\n<h2>{escape(heading)}</h2>\n{_section(section)}</section>"
        for heading, section in sections.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta '
        f'charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def in_words(value: Any) -> str:
    """Say a value as a person reads it: four digits of a fraction, a dash for nothing, lists by
    commas."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(in_words(item) for item in value)
    return str(value)


# helpers


def _section(section: Section) -> str:
    parts = [f"<p>{escape(section.note)}</p>\n"] if section.note else []
    if section.facts:
        lines = (
            f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(in_words(value))}</td></tr>\n'
            for name, value in section.facts.items()
        )
        parts.append(f'<table class="facts">\n{"".join(lines)}</table>\n')
    parts += [
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{_png(figure)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
        for caption, figure in section.figures.items()
    ]
    if section.rows:
        parts.append(_table(section.rows))
    return "".join(parts)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(rows[0])
    numeric = {
        column: all(isinstance(row.get(column), (int, float)) for row in rows) for column in columns
    }
    look = {column: ' class="number"' if numeric[column] else "" for column in columns}
    head = "".join(f'<th scope="col"{look[column]}>{escape(column)}</th>' for column in columns)
    lines = (
        "".join(f"<td{look[column]}>{escape(in_words(row.get(column)))}</td>" for column in columns)
        for row in rows
    )
    return f"<table>\n<tr>{head}</tr>\n{''.join(f'<tr>{line}</tr>{chr(10)}' for line in lines)}</table>\n"


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
