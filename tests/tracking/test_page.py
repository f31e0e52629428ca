"""The page of a run: that it says the numbers, needs nothing from elsewhere, and survives odd
names."""

import base64
import json
import math
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from tracking.page import Section, as_html, in_words, write_report

EVIL = "<b>&\"'</b><script>alert(1)</script>"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page, checks that its tags are closed in order, and keeps its tags and its text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.style = [], [], "", ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data


class Dot:
    """A figure of one byte."""

    def savefig(self, file, *, format):
        assert format == "png"
        file.write(b"\x89")


class TestPage:
    def test_escapes_every_text_and_is_well_formed(self):
        section = Section(EVIL, {EVIL: EVIL}, {EVIL: Dot()}, [{EVIL: EVIL}])
        text = as_html(EVIL, {EVIL: section})
        page = Page(text)
        assert page.text.count(EVIL) == 9  # title, h1, h2, note, fact twice, column, cell, caption
        assert not [tag for tag, _ in page.tags if tag in ("b", "script")]
        (image,) = (attrs for tag, attrs in page.tags if tag == "img")
        assert image == {
            "alt": EVIL,
            "src": "data:image/png;base64," + base64.b64encode(b"\x89").decode(),
        }

    def test_needs_nothing_from_elsewhere_and_prints(self):
        page = Page(as_html("A run", {"Figures": Section(figures={"a dot": Dot()})}))
        assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"}
        sources = [
            value
            for _, attrs in page.tags
            for name, value in attrs.items()
            if name in ("src", "href")
        ]
        assert all(source.startswith("data:") for source in sources)
        assert (
            "url(" not in page.style
            and "@import" not in page.style
            and "@media print" in page.style
        )
        assert ("meta", {"charset": "utf-8"}) in page.tags

    def test_what_is_empty_is_left_out(self):
        page = Page(as_html("t", {"Nothing": Section()}))
        assert {"p", "table", "figure"}.isdisjoint(
            tag for tag, _ in page.tags
        ) and "Nothing" in page.text

    def test_numbers_stand_to_the_right(self):
        page = Page(as_html("t", {"s": Section(rows=[{"who": "a", "n": 1000, "share": 0.123456}])}))
        cells = [attrs.get("class") for tag, attrs in page.tags if tag == "td"]
        assert (
            cells == [None, "number", "number"] and "1,000" in page.text and "0.1235" in page.text
        )

    def test_json_has_the_same_numbers_unrounded_and_is_strict(self, tmp_path):
        rows = [{"accuracy": 1 / 3, "low": math.nan, "of": (1, 2)}]
        page = write_report(
            tmp_path, "t", {"s": Section("why", {"lr": 0.1}, {"a dot": Dot()}, rows)}
        )
        told = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
        rows = [{"accuracy": 1 / 3, "low": None, "of": [1, 2]}]
        section = {"note": "why", "facts": {"lr": 0.1}, "rows": rows, "figures": ["a dot"]}
        assert told == {"title": "t", "sections": {"s": section}}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
        assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    def test_a_row_without_a_column_has_a_dash_there(self):
        page = Page(as_html("t", {"s": Section(rows=[{"a.b": 1, "items": 2}, {"a.b": 3}])}))
        assert page.text.split()[-3:] == ["a.bitems", "12", "3–"]
        assert [attrs.get("class") for tag, attrs in page.tags if tag == "td"] == [
            "number",
            None,
            "number",
            None,
        ]

    def test_an_image_is_shown_as_it_is(self):
        image = np.arange(48, dtype=np.uint8).reshape(6, 8)
        page = Page(as_html("t", {"s": Section(figures={"grey": image})}))
        (source,) = (attrs["src"] for tag, attrs in page.tags if tag == "img")
        png = np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8)
        assert np.array_equal(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE), image)

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (None, "–"),
            (math.nan, "–"),
            (0.123456, "0.1235"),
            (12, "12"),
            (1086982, "1,086,982"),
            (True, "True"),
            ([96, 128], "96, 128"),
            ("<b>", "<b>"),
            (1.0, "1"),
        ],
    )
    def test_values_in_words(self, value, words):
        assert in_words(value) == words
