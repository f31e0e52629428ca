"""Numbers that Markdown prose claims, and whether results/ holds them.

What counts as a claim: "k of n" (also of several seeds, "48 47 48 of 52"), a percentage, with or
without a deviation, percentage points, and intervals in brackets. Generated tables and code are no
prose.
"""

import csv
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from evaluation.statistics import wilson_interval
from tracking.readmes import MARKER
from tracking.results import KEY

NUMBER = r"\d[\d,]*(?:\.\d+)?"
COUNTS = re.compile(
    rf"(?<![\d.])(\d[\d,]*(?:(?:,? and |, | )\d[\d,]*)*) of (?:the |all )?({NUMBER})"
)
PERCENT = re.compile(rf"({NUMBER})(?: ± ({NUMBER}))? ?%")
POINTS = re.compile(rf"([+-]?{NUMBER}) (?:percentage )?points")
INTERVAL = re.compile(rf"\[(?:[A-Za-z' -]+ )?([+-]?{NUMBER}) ?%?, ([+-]?{NUMBER}) ?%?\]")
NO_PROSE = (MARKER, re.compile(r"```.*?```", re.DOTALL), re.compile(r"<!--.*?-->", re.DOTALL))
INLINE = re.compile(r"`[^`]*`|\]\([^)]*\)")  # code, and where links lead


@dataclass
class Known:
    """What results/ holds: counts, percentages, their deviations over seeds, differences."""

    counts: set[tuple[int, int]] = field(default_factory=set)
    percents: set[float] = field(default_factory=set)
    spreads: set[float] = field(default_factory=set)
    points: set[float] = field(default_factory=set)


def prose(text: str) -> str:
    """Return Markdown without generated tables, code and addresses, in one line."""
    for pattern in NO_PROSE:
        text = pattern.sub(" ", text)
    return " ".join(INLINE.sub(" ", text).split())


def unknown_numbers(text: str, results_dir: str | Path, allowed: Collection[str] = ()) -> list[str]:
    """Return the claims of a Markdown text that are neither in results_dir nor `allowed`, such as
    "95 %" or "2 of 9"."""
    known = known_numbers(Path(results_dir))
    return [
        claim for claim, held in _claims(prose(text), known) if not held and claim not in allowed
    ]


def _claims(text: str, known: Known) -> Iterator[tuple[str, bool]]:
    for found in COUNTS.finditer(text):
        total = _plain(found[2])
        right = [_plain(count) for count in re.findall(r"\d[\d,]*", found[1])]
        yield found[0], all((count, total) in known.counts for count in right)
    for found in PERCENT.finditer(text):
        held = _rounds(found[1], known.percents)
        yield found[0], held and (found[2] is None or _rounds(found[2], known.spreads))
    for found in POINTS.finditer(text):
        yield found[0], _rounds(found[1], known.points)
    for found in INTERVAL.finditer(text):
        values = known.points if found[1][0] in "+-" else known.percents
        yield found[0], all(_rounds(side, values) for side in found.groups())


def _plain(text: str) -> float:
    return float(text.replace(",", ""))


def _rounds(text: str, values: Collection[float]) -> bool:
    """Tell whether some value rounds to the text, at as many decimals as it has."""
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    return any(abs(abs(value) - abs(_plain(text))) <= half + 1e-6 for value in values)


@cache
def known_numbers(results_dir: Path) -> Known:
    """Read all files of a folder of results."""
    known = Known()
    for path in sorted(results_dir.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            _add_row(known, row)
        if rows and "person_low" in rows[0]:
            _add_seeds(known, rows)
    for path in results_dir.glob("*.json"):
        _add_json(known, json.loads(path.read_text(encoding="utf-8")))
    for right, total in known.counts:
        known.percents |= {100 * side for side in wilson_interval(right, total)}
    return known


def _add_row(known: Known, row: dict[str, str]) -> None:
    for right, total in (
        ("correct", "n"),
        ("segments_right", "segments"),
        ("files_right", "files"),
    ):
        if row.get(right) and row.get(total):
            _add_counts(known, [row[right]], row[total])
    for counts, total in re.findall(r"(\d[\d ]*) of (\d+)", row.get("note", "")):
        _add_counts(known, counts.split(), total)
    if row.get("unit") == "%":
        known.percents.add(float(row["value"]))
    if row.get("difference"):
        known.points |= {100 * float(row[name]) for name in ("difference", "low", "high")}


def _add_counts(known: Known, counts: list[str], total: str) -> None:
    known.counts |= {(int(count), int(total)) for count in counts}
    known.percents.add(100 * statistics.mean(map(int, counts)) / int(total))


def _add_seeds(known: Known, rows: list[dict[str, str]]) -> None:
    """Add means over seeds, as the tables show them, and deviations."""
    runs = defaultdict(list)
    for row in rows:
        runs[tuple(row[name] for name in KEY if name != "seed")].append(row)
    for same in runs.values():
        for name in ("accuracy", "low", "high", "person_low", "person_high"):
            values = [100 * float(row[name]) for row in same if row[name]]
            if len(values) == len(same):
                known.percents.add(statistics.mean(values))
        if len(same) > 1:
            known.spreads.add(statistics.stdev(100 * float(row["accuracy"]) for row in same))


def _add_json(known: Known, content: Any) -> None:
    if isinstance(content, dict):
        if {"correct", "n"} <= set(content):
            _add_counts(known, [str(content["correct"])], str(content["n"]))
        if "refused" in content:
            known.counts.add((content["refused"], content["segment"]["n"]))
        for value in content.values():
            _add_json(known, value)
