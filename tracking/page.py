"""A run on one page: an HTML file that opens anywhere, and the same numbers as JSON.

Knows headings, facts, tables, images and figures that can save themselves as PNG; how the page
looks is said in page.html.jinja. Does not know experiments, models, data sets or where a number
came from. The page fetches nothing: its style and its images are inside, and it has no script.
"""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader

from data.files import write_json, write_text
from tracking.results import Cells

HTML, JSON = "report.html", "report.json"


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in this order; what is empty is left out.

    Args:
        note: A paragraph.
        facts: Name -> value, such as the settings of a run.
        figures: Caption -> figure, anything with matplotlib's savefig, or an image (H, W) uint8.
        rows: Lines of a table, each column -> value; the first line's columns are the table's.
    """

    note: str = ""
    facts: Cells = field(default_factory=dict)
    figures: Cells = field(default_factory=dict)
    rows: Sequence[Cells] = ()


def write_report(folder: str | Path, title: str, sections: Mapping[str, Section]) -> Path:
    """Write report.html and report.json into a folder, each whole or not at all; returns the page.

    Args:
        folder: Where to.
        title: Of the page.
        sections: Heading -> section.
    """
    page = Path(folder, HTML)
    write_text(page, as_html(title, sections))
    write_json(page.with_name(JSON), as_json(title, sections))
    return page


def as_json(title: str, sections: Mapping[str, Section]) -> dict[str, Any]:
    """Return {"title", "sections": heading -> {"note", "facts", "rows", "figures": captions}},
    unrounded.

    A number that is none (nan, infinite) becomes None, for JSON has no word for it.
    """
    plain = {
        heading: {**vars(section), "figures": list(section.figures)}
        for heading, section in sections.items()
    }
    text = json.dumps({"title": title, "sections": plain})
    return json.loads(text, parse_constant=lambda _: None)


def as_html(title: str, sections: Mapping[str, Section]) -> str:
    """Return the page; every text in it is escaped."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(in_words=in_words, as_png=_as_png)
    template = pages.get_template("page.html.jinja")
    return template.render(title=title, sections=sections, numeric=_numeric)


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
        return ", ".join(map(in_words, value))
    return str(value)


# helpers


def _numeric(rows: Sequence[Cells]) -> set[str]:
    """Return the columns of a table that hold numbers alone."""
    return {
        column
        for column in rows[0]
        if all(isinstance(row.get(column), (int, float)) for row in rows)
    }


def _as_png(figure: Any) -> str:
    buffer = io.BytesIO()
    if isinstance(figure, np.ndarray):  # matplotlib would take a second for a row of frames
        buffer.write(cv2.imencode(".png", figure)[1].tobytes())
    else:
        figure.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
