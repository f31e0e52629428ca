"""Segment tables: which frames of which video are a segment, as a CSV file says it.

Knows names, ranges of frames and CSV, also as spreadsheets save it. Does not know which videos
there are, nor what happens in a segment.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from data.files import StrPath, write_csv

SEGMENTS_CSV = Path(__file__).with_name("kth_segments.csv")
CSV_HEADER = ["video", "segment", "start", "stop"]

# a whole name of KTH's; behind it what systems add to copies: " (1)", " - Copy"
KTH_NAME = re.compile(
    r"person(\d+)_([a-z]+)_d(\d+)(?:_uncomp)?(?:\s.*|\(\d+\))?", re.IGNORECASE | re.DOTALL
)

Ranges = tuple[tuple[int, int], ...]


def key_of(stem: str) -> str:
    """Return a name of KTH's as KTH spells it, "person03_walking_d1" for "PERSON3_Walking_D1 (1)";
    other stems as they are, all without "_uncomp"."""
    if not (match := KTH_NAME.fullmatch(stem)):
        return stem.removesuffix("_uncomp")
    person, action, scenario = match.groups()
    return f"person{int(person):02d}_{action.lower()}_d{int(scenario)}"


def load_segments(csv_path: StrPath = SEGMENTS_CSV) -> dict[str, Ranges]:
    """Read a segment table: video name -> its (start, stop) ranges, 0-based, end-exclusive, in the
    annotation's order.

    The order is kept as it is, overlaps and ranges out of order included: a segment's place is its
    identity. Cells may be parted by commas, semicolons or tabs, and a byte-order mark is no fault:
    spreadsheets write so. Raises ValueError naming the line when the header, a number or a range is
    wrong.
    """
    table: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for line, row in _rows(csv_path):
        try:
            name, number, start, stop = row[0], *map(int, row[1:])
        except ValueError as err:
            text = ",".join(row)
            raise ValueError(f"{line}: {text!r} is not video,segment,start,stop") from err
        wanted = len(table[name]) + 1
        if not 0 <= start < stop or number != wanted:
            raise ValueError(
                f"{line}: segment {number} of {name} is {start}..{stop}; wanted segment "
                f"{wanted} with 0 <= start < stop (0-based, stop exclusive)"
            )
        table[name].append((start, stop))
    return {name: tuple(ranges) for name, ranges in table.items()}


def _rows(csv_path: StrPath) -> Iterator[tuple[str, list[str]]]:
    """Give the rows below the header, each with the name of its line; empty ones are left out."""
    try:
        text = Path(csv_path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{csv_path} is not text in UTF-8 ({error.reason} at byte {error.start}); save it from "
            'the spreadsheet as "CSV UTF-8"'
        ) from error
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ";\t" if mark in first and "," not in first), ",")
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    width = len(CSV_HEADER)
    try:
        for number, row in enumerate(rows):
            cells = row[:width] + [cell for cell in row[width:] if cell.strip()]
            if not number and cells != CSV_HEADER:
                break
            if number and any(cells):
                yield f"{csv_path} line {rows.line_num}", cells
        else:
            if text:
                return
    except csv.Error as error:
        raise ValueError(f"{csv_path} line {rows.line_num}: {error}") from error
    raise ValueError(f"{csv_path}: header is {first.strip()!r}, not {','.join(CSV_HEADER)!r}")


def write_segments(csv_path: StrPath, table: Mapping[str, Iterable[tuple[int, int]]]) -> None:
    """Write a segment table that load_segments reads back unchanged; names and ranges stay in their
    order."""
    rows = [
        {"video": name, "segment": number, "start": start, "stop": stop}
        for name, ranges in table.items()
        for number, (start, stop) in enumerate(ranges, 1)
    ]
    write_csv(csv_path, rows, CSV_HEADER)
