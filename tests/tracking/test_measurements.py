"""Rows that were measured, as a file, as a table and on the terminal."""

import platform

import pytest
import torch

from data.files import read_csv
from tracking.measurements import Row, as_text, machine, write_rows
from tracking.results import measurement_table, read_results

ROWS = [
    Row("t", "ours", 2.0, "ms", 1.0, 1.5, 2.5, 3, "a note"),
    Row("t", "other", 1234.5678, "ms", 617.3),
    Row("u", "ours", 123456, ""),
]


def test_the_machine_is_told_in_one_line():
    parts = machine().split(", ")
    assert any(part.endswith(" cores") for part in parts) and "\n" not in machine()
    assert f"torch {torch.__version__}" in parts and parts[-1].startswith("OpenCV ")
    assert f"Python {platform.python_version()}" in parts and parts[0]


def test_rows_are_written_with_the_machine_and_read_as_a_table(tmp_path):
    path = tmp_path / "results" / "bench_x.csv"
    for rows in (ROWS, ROWS[:2]):  # the second time instead of the first
        write_rows(path, rows)
    ours, other = read_csv(path)
    assert list(ours)[:5] == ["task", "method", "value", "unit", "ratio"]
    assert (ours["value"], ours["repeats"], ours["note"]) == ("2", "3", "a note")
    assert (other["value"], other["ratio"], other["low"]) == ("1235", "617.3", "")
    assert ours["machine"] == machine() and len(ours["date"]) == 10
    table = measurement_table(read_results(path))
    assert "| ours | 2 | 1 | a note |\n| other | 1,235 | 617 |  |\n" in table
    assert table.endswith(f": {machine()}.\n") and list(path.parent.iterdir()) == [path]


def test_whole_numbers_keep_all_digits(tmp_path):
    write_rows(tmp_path / "a.csv", ROWS[2:])
    assert read_csv(tmp_path / "a.csv")[0]["value"] == "123456"


def test_rows_on_the_terminal_are_grouped_by_task():
    head, *lines = as_text(ROWS).splitlines()
    assert head == machine()
    assert [line.split() for line in lines] == [
        [],
        ["t"],
        ["ours", "2", "ms", "1.00", "x", "[1.5,", "2.5]", "of", "3", "a", "note"],
        ["other", "1235", "ms", "617.30", "x"],
        [],
        ["u"],
        ["ours", "1.235e+05"],
    ]
    assert lines[2].index("1.00") + 4 == lines[3].index("617.30") + 6


def test_a_row_cannot_be_changed():
    with pytest.raises(AttributeError):
        ROWS[0].value = 3
