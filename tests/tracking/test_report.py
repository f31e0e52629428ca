"""Report contents: every section says its numbers, figures stand where they belong, and lost files
are named."""

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.kth import ACTIONS, Segment, Video, find_segments
from evaluation.predictions import Predictions, Score
from evaluation.statistics import wilson_interval
from tracking import report
from tracking.page import as_html, as_json
from tracking.report import find_mistakes, make_figures, make_sections, make_summary

ABOUT = {"experiment": "gru", "data": "Discs", "split": "test"}
EMPTY = {"about": ABOUT, "config": {}, "origin": {}}
ROW = {
    "epoch": 1,
    "train_loss": 1.5,
    "train_accuracy": 0.25,
    "val_loss": 1.25,
    "val_accuracy": 0.5,
    "lr": 0.1,
    "seconds": 1.0,
}


def segment(action, index=0, *, person=22, scenario=1):
    path = Path("KTH", action, f"person{person:02d}_{action}_d{scenario}.avi")
    return Segment(
        Video(path, action, person, scenario, classes=ACTIONS), index, 12 * index, 12 * index + 12
    )


def predict(shown, guesses, sure=0.75):
    """Predictions that give each guessed action its probability, and the others equal shares."""
    sure = np.broadcast_to(sure, len(shown))
    probs = np.repeat((1 - sure[:, None]) / 5, 6, axis=1)
    probs[np.arange(len(shown)), [ACTIONS.index(guess) for guess in guesses]] = sure
    return Predictions.of(np.log(probs), shown)


def of_tiny_kth(root, *wanted):
    """The segments (action, index) of the tiny data set's test person."""
    found = {(s.video.action, s.index): s for s in find_segments(root) if s.video.person == 22}
    return [found[key] for key in wanted]


class TestMistakes:
    def test_the_most_confident_come_first_with_frames(self, tiny_kth):
        shown = of_tiny_kth(tiny_kth, ("running", 1), ("running", 0), ("boxing", 0))
        predictions = predict(shown, ["jogging", "walking", "boxing"], [0.6, 0.9, 0.99])
        first, second = find_mistakes(predictions, find_segments(tiny_kth))
        assert first.title == (
            "running/person22_running_d1.avi#1: running classified as walking (90%)"
        )
        assert (second.true, second.predicted) == ("running", "jogging")
        assert second.probs == pytest.approx({**dict.fromkeys(ACTIONS, 0.08), "jogging": 0.6})
        assert first.frames.shape == second.frames.shape == (report.FRAMES, 48, 64)
        assert not np.array_equal(first.frames, second.frames)
        (only,) = find_mistakes(predictions, find_segments(tiny_kth), most=1)
        assert only.segment == first.segment

    def test_frames_are_of_the_whole_segment_where_clips_were_predicted(self, tiny_kth):
        (whole,) = of_tiny_kth(tiny_kth, ("running", 1))
        clips = [
            Segment(whole.video, 1, whole.start + start, whole.start + start + 6)
            for start in (0, 6)
        ]
        (mistake,) = find_mistakes(predict(clips, ["walking"] * 2).pooled("segment"), [whole])
        (of_whole,) = find_mistakes(predict([whole], ["walking"]), [whole])
        assert np.array_equal(mistake.frames, of_whole.frames)

    def test_what_cannot_be_read_is_said(self, make_kth, tmp_path):
        root = make_kth(tmp_path / "KTH", actions=("boxing",), persons=(22,))
        segments = find_segments(root)
        (root / "boxing" / "person22_boxing_d1.avi").write_bytes(b"no video any more")
        shown = [segments[0], segment("boxing", person=9)]
        predictions = predict(shown, ["running", "running"])
        broken, absent = find_mistakes(predictions, segments)
        assert broken.frames is None and "cannot be read as a video" in broken.reason
        made = make_sections(predictions, [], [broken, absent], {}, **EMPTY)["Mistakes"]
        assert made.note.startswith("2 of 2 segments were misclassified")
        assert "person09_boxing_d1.avi#1 (it is not in the data folder)" in made.note
        assert not made.figures


class TestSections:
    def test_every_section_says_its_numbers(self):
        running = [segment("running", index, scenario=4) for index in range(4)]
        shown = [*running, segment("boxing", person=2, scenario=7)]
        predictions = predict(shown, ["running", "running", "walking", "walking", "boxing"])
        evil = "<script>alert(1)</script>"
        sections = make_sections(
            predictions,
            [ROW, {**ROW, "epoch": 2, "val_loss": 1.5}],
            find_mistakes(predictions, []),
            {},
            about=ABOUT,
            config={"recipe": {"lr": 0.1}, "data": {"name": evil}},
            origin={"seed": 3},
            headline="3/5",
        )
        assert sections["Result"].note == "3/5" and sections["Result"].facts == ABOUT
        segments, videos = sections["Result"].rows
        low, high = wilson_interval(3, 5)
        assert segments == {
            "level": "segments",
            "n": 5,
            "correct": 3,
            "accuracy": 0.6,
            "low": low,
            "high": high,
        }  # two persons are too few for an interval over them
        assert (videos["level"], videos["correct"], videos["n"]) == ("videos", 2, 2)
        assert sections["By person"].rows == [
            {"person": "person02", **_of(1, 1)},
            {"person": "person22", **_of(2, 4)},
        ]
        assert [row["scenario"] for row in sections["By scenario"].rows] == ["4 (indoors)", "7"]
        assert sections["By action"].rows[1] == {"action": "running", **_of(2, 4)}
        assert sections["Confusion of segments"].rows[4] == {
            "true": "running",
            **dict.fromkeys(ACTIONS, 0),
            "running": 2,
            "walking": 2,
        }
        assert sections["Confusion of videos"].rows[4]["running"] == 1
        facts = {"epochs": 2, "chosen epoch": 1, "its validation loss": 1.25}
        assert facts.items() <= sections["Training"].facts.items()
        assert sections["Training"].rows[0]["val_loss"] == 1.25
        assert sections["Configuration"].facts == {"recipe.lr": 0.1, "data.name": evil}
        assert sections["Where it came from"].facts == {"seed": 3}
        mistake = sections["Mistakes"].rows[0]
        assert (mistake["segment"], mistake["true"], mistake["classified as"]) == (
            "running/person22_running_d4.avi#3",
            "running",
            "walking",
        )
        assert mistake["walking"] == pytest.approx(0.75)
        assert "<script>" not in as_html(evil, sections)

    def test_calibration_is_of_unrounded_probabilities(self):
        sure = 1 - 1e-7  # in six digits it would be 1
        predictions = predict([segment("boxing"), segment("running")], ["boxing"] * 2, [0.85, sure])
        made = make_sections(predictions, [], [], {}, **EMPTY)["Calibration"]
        error = made.facts["expected calibration error"]
        assert error == predictions.calibration_error == pytest.approx((0.15 + sure) / 2)
        assert [row["predictions"] for row in made.rows] == [0] * 8 + [1, 1]
        assert made.rows[9]["mean confidence"] < 1 and made.rows[9]["accuracy"] == 0
        assert (made.rows[8]["from"], made.rows[8]["to"]) == (0.8, 0.9)
        assert made.rows[8]["mean confidence"] == pytest.approx(0.85)

    def test_a_run_without_items_or_history_has_a_report_too(self):
        none = Predictions.of(np.zeros((0, 6)), [])
        figures = make_figures("gru", none, [])
        assert report.CURVES not in figures
        sections = make_sections(none, [], [], figures, **EMPTY)
        assert "Training" not in sections
        plain = json.dumps(as_json("t", sections), allow_nan=False)
        assert '"accuracy": null' in plain and "No segment was misclassified" in plain


def _of(correct, n):
    """A score's columns in a table without intervals over persons."""
    low, high = Score(correct, n).wilson
    return {"n": n, "correct": correct, "accuracy": correct / n, "low": low, "high": high}


@pytest.fixture(scope="module")
def run(tiny_kth):
    predictions = predict(of_tiny_kth(tiny_kth, ("running", 0), ("boxing", 0)), ["walking"] * 2)
    mistakes = find_mistakes(predictions, find_segments(tiny_kth))
    return predictions, [ROW], mistakes, make_figures("gru", predictions, [ROW])


class TestFigures:
    def test_each_stands_with_its_numbers(self, run):
        predictions, history, mistakes, figures = run
        sections = make_sections(*run, **EMPTY)
        filed = {heading: list(made.figures) for heading, made in sections.items() if made.figures}
        assert filed == {
            "Training": ["training curves"],
            "Confusion of segments": ["confusion of segments"],
            "Confusion of videos": ["confusion of videos"],
            "Calibration": ["reliability"],
            "Mistakes": [mistake.title for mistake in mistakes],
        }
        assert set(figures) == {caption for name in list(filed)[:4] for caption in filed[name]}
        images = re.findall(r"base64,([^\"]+)", as_html("t", sections))
        pngs = [base64.b64decode(image) for image in images]
        assert len(pngs) == 4 + 2 and all(png.startswith(b"\x89PNG") for png in pngs)
        strip = cv2.imdecode(np.frombuffer(pngs[-1], np.uint8), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(strip, np.concatenate(list(mistakes[-1].frames), axis=1))

    def test_loggers_get_them_as_images(self, run):
        summary = make_summary(*run, embedding=np.zeros((2, 2)), classes=["running", "boxing"])
        predictions, _, mistakes, figures = run
        assert summary.epoch == 1 and summary.scores == {
            "segment accuracy": 0.0,
            "video accuracy": 0.0,
            "calibration error": predictions.calibration_error,
        }
        assert set(summary.images["figures"]) == set(figures)
        image = summary.images["figures"]["confusion of videos"]
        assert image.dtype == np.uint8 and image.shape[2] == 3 and image.std() > 0
        strips = summary.images["mistakes"]
        assert list(strips) == [mistake.title for mistake in mistakes]
        assert all(strip.shape == (48, 6 * 64) for strip in strips.values())
        assert summary.embedding.shape == (2, 2) and summary.classes == ["running", "boxing"]
