"""The page of a run: that it says the numbers, needs nothing from elsewhere, and survives odd names
and lost files."""

import base64
import json
import math
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from data.kth import ACTIONS, find_segments
from tracking import report as findings
from tracking.page import Section, as_html, as_json, in_words, write_report
from utils import viz

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


def item(file, segment, label, predicted, sure=0.75):
    rest = (1 - sure) / 5
    return {
        "file": file,
        "segment": segment,
        "label": label,
        "predicted": predicted,
        "probs": {name: sure if name == predicted else rest for name in ACTIONS},
    }


def result(items, **changes):
    n, right = len(items), sum(i["label"] == i["predicted"] for i in items)
    score = {
        "correct": right,
        "n": n,
        "accuracy": right / n if n else math.nan,
        "interval": [0.0, 1.0],
    }
    confusion = np.zeros((6, 6), int)
    for i in items:
        confusion[ACTIONS.index(i["label"]), ACTIONS.index(i["predicted"])] += 1
    row = {
        "epoch": 1,
        "train_loss": 1.5,
        "train_accuracy": 0.25,
        "val_loss": 1.25,
        "val_accuracy": 0.5,
        "lr": 0.1,
        "seconds": 1.0,
    }
    plain = {
        "experiment": "gru",
        "data": "Discs",
        "split": "test",
        "segment": score,
        "video": score,
        "per_class": {name: {"correct": 1, "n": 2} for name in ACTIONS},
        "per_scenario": {"4": score, "7": score},
        "per_person": {"person22": score},
        "confusion": confusion.tolist(),
        "video_confusion": [],
        "classes": list(ACTIONS),
        "items": items,
        "history": [row],
        "about": {},
    }
    return plain | changes


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


class TestFindings:
    def test_the_surest_mistakes_come_with_frames(self, tiny_kth):
        segments = find_segments(tiny_kth)
        items = [
            item("running/person22_running_d1.avi", 2, "running", "jogging", 0.6),
            item("running/person22_running_d1.avi", 1, "running", "walking", 0.9),
            item("boxing/person22_boxing_d1.avi", 1, "boxing", "boxing", 0.99),
        ]
        first, second = findings.find_mistakes(items, segments)
        assert (
            first.title == "running/person22_running_d1.avi #1: is running, read as walking (90%)"
        )
        assert first.frames.shape == second.frames.shape == (findings.FRAMES, 48, 64)
        assert not np.array_equal(first.frames, second.frames)
        assert [m.item for m in findings.find_mistakes(items, segments, most=1)] == [items[1]]

    def test_what_cannot_be_read_is_said(self, make_kth, tmp_path):
        root = make_kth(tmp_path / "KTH", actions=("boxing",), persons=(22,))
        segments = find_segments(root)
        (root / "boxing" / "person22_boxing_d1.avi").write_bytes(b"no video any more")
        items = [
            item("boxing/person22_boxing_d1.avi", 1, "boxing", "running"),
            item("boxing/person09_boxing_d1.avi", 1, "boxing", "running"),
        ]
        broken, absent = findings.find_mistakes(items, segments)
        assert broken.frames is None and "cannot be read as a video" in broken.reason
        plain = result(items)
        sections = findings.make_sections(plain, [broken, absent], {}, config={}, origin={})
        note = sections["Mistakes"].note
        assert (
            note.startswith("2 of 2 segments were misread")
            and "person09_boxing_d1.avi (it is not in" in note
        )
        assert not sections["Mistakes"].figures

    def test_every_section_says_its_numbers(self):
        items = [
            item("running/person22_running_d1.avi", k, "running", "running" if k < 3 else "walking")
            for k in (1, 2, 3, 4)
        ] + [item("boxing/me.avi", 1, "boxing", "boxing")]
        config = {"recipe": {"lr": 0.1}, "data": {"name": EVIL}}
        sections = findings.make_sections(
            result(items),
            findings.find_mistakes(items, []),
            {"other": Dot()},
            config=config,
            origin={"seed": 3},
            headline="3/5",
        )
        assert sections["Result"].note == "3/5"
        assert [(row["level"], row["correct"], row["n"]) for row in sections["Result"].rows] == [
            ("segments", 3, 5),
            ("videos", 3, 5),
        ]
        persons = sections["By person"].rows
        assert [(row["person"], row["correct"], row["n"]) for row in persons] == [
            ("person22", 3, 5)
        ]
        assert [row["scenario"] for row in sections["By scenario"].rows] == ["4 (indoors)", "7"]
        assert sections["Confusion of segments"].rows[4] == {
            "true": "running",
            **dict.fromkeys(ACTIONS, 0),
            "running": 2,
            "walking": 2,
        }
        assert (
            sections["Training"].facts["chosen epoch"] == 1
            and sections["Training"].rows[0]["val_loss"] == 1.25
        )
        assert sections["Configuration"].facts == {"recipe.lr": 0.1, "data.name": EVIL}
        assert sections["Where it came from"].facts == {"seed": 3} and list(
            sections["Figures"].figures
        ) == ["other"]
        assert sections["Mistakes"].rows[0]["walking"] == 0.75
        assert "<script>" not in as_html(EVIL, sections)

    def test_a_reliability_figure_stands_with_the_calibration(self, monkeypatch):
        asked = []
        monkeypatch.setattr(viz, "reliability_figure", lambda curves: asked.append(curves) or Dot())
        plain = result(
            [item("boxing/me.avi", 1, "boxing", "boxing", 0.85)], history=[], confusion=[]
        )
        figures = findings.make_figures(plain)
        (confidence, accuracy, count) = asked[0]["gru"]
        assert (
            count.tolist() == [0] * 8 + [1, 0]
            and confidence[8] == pytest.approx(0.85)
            and accuracy[8] == 1
        )
        sections = findings.make_sections(plain, [], figures, config={}, origin={})
        assert list(sections["Calibration"].figures) == ["reliability"]

    def test_a_run_without_items_or_history_has_a_report_too(self):
        plain = result([], history=[], confusion=[])
        assert findings.make_figures(plain) == {}
        sections = findings.make_sections(plain, [], {}, config={}, origin={})
        assert "Calibration" not in sections and "Training" not in sections
        told = json.dumps(as_json("t", sections), allow_nan=False)
        assert '"accuracy": null' in told and "No segment was misread" in told

    def test_figures_have_their_places_and_loggers_get_them_as_pictures(self, tiny_kth):
        items = [item("running/person22_running_d1.avi", 1, "running", "walking")]
        plain = result(items, video_confusion=np.eye(6, dtype=int).tolist())
        mistakes = findings.find_mistakes(items, find_segments(tiny_kth))
        figures = findings.make_figures(plain)
        assert {"training curves", "confusion of segments", "confusion of videos"} <= set(figures)
        sections = findings.make_sections(plain, mistakes, figures, config={}, origin={})
        assert (
            list(sections["Mistakes"].figures) == [mistakes[0].title] and "Figures" not in sections
        )
        images = re.findall(r"base64,([^\"]+)", as_html("t", sections))
        pictures = [base64.b64decode(image) for image in images]
        assert len(pictures) == len(figures) + 1 and all(
            picture.startswith(b"\x89PNG") for picture in pictures
        )
        film = cv2.imdecode(np.frombuffer(pictures[-1], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(film, np.concatenate(list(mistakes[0].frames), axis=1))
        summary = findings.make_summary(
            plain, mistakes, figures, embedding=np.zeros((1, 2)), classes=["running"]
        )
        assert summary.epoch == 1 and summary.scores["segment accuracy"] == 0.0
        picture = summary.figures["confusion of videos"]
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.std() > 0
        assert list(summary.mistakes) == [mistakes[0].title]
