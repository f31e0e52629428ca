"""Counts, pooling and numbers of predictions against values worked out by hand, and against
torchmetrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from data.kth import ACTIONS, Segment, Video
from evaluation import statistics
from evaluation.predictions import Predictions, Score, concatenate, segment_name
from evaluation.statistics import person_interval, wilson_interval


def segment(action, person=1, scenario=1, index=0, folder="KTH"):
    name = "me.avi" if person is None else f"person{person:02d}_{action}_d{scenario}.avi"
    video = Video(Path(folder, action, name), action, person, scenario, classes=ACTIONS)
    return Segment(video, index, 10 * index, 10 * index + 10)


def predictions_of(guesses, segments, *, sure=0.9, fold=""):
    """Predictions that give the guessed actions the probability `sure`."""
    rest = (1 - sure) / 5
    probs = np.full((len(segments), 6), rest)
    probs[np.arange(len(segments)), [ACTIONS.index(guess) for guess in guesses]] = sure
    return Predictions.of(np.log(probs), segments, fold=fold)


def random_predictions(seed, n):
    rng = np.random.default_rng(seed)
    segments = [segment(ACTIONS[rng.integers(6)], int(rng.integers(1, 9))) for _ in range(n)]
    return Predictions.of(np.log(rng.dirichlet(np.ones(6), n)), segments)


class TestScore:
    def test_says_its_numbers_in_a_line_and_in_a_row(self):
        score = Score(194, 216, (0.8, 0.95))
        assert str(score) == "194/216 = 89.8% [85.1%, 93.2%], over persons [80.0%, 95.0%]"
        assert str(Score(1, 2)) == "1/2 = 50.0% [9.5%, 90.5%]"
        row = score.to_row()
        assert (row["n"], row["correct"], row["accuracy"]) == (216, 194, 194 / 216)
        assert (row["low"], row["high"]) == wilson_interval(194, 216) == score.wilson
        assert (row["person_low"], row["person_high"]) == (0.8, 0.95)
        assert Score(1, 2).to_row()["person_low"] == "" == Score(1, 2).to_row()["person_high"]

    def test_a_mean_over_seeds_is_rounded_for_wilson_alone(self):
        score = Score(3.5, 8)
        assert score.accuracy == 3.5 / 8 and score.wilson == wilson_interval(4, 8)

    def test_of_nothing_there_is_no_accuracy(self):
        assert np.isnan(Score(0, 0).accuracy) and Score(0, 0).wilson == (0.0, 1.0)


class TestMaking:
    def test_labels_counted_from_one_are_named(self):
        found = random_predictions(0, 40)
        with pytest.raises(ValueError, match="labels from 1 to 6 for 6 classes.*subtract 1"):
            Predictions(found.log_probs, found.labels + 1, found.items, found.classes)

    def test_every_item_has_its_names(self):
        shown = [segment("boxing", 3, 4, index=1), segment("running", None, None)]
        items = Predictions.of(np.zeros((2, 6)), shown, fold="k").items
        assert {column: values.tolist() for column, values in items.items()} == {
            "segment": ["boxing/person03_boxing_d4.avi#2", "running/me.avi#1"],
            "video": ["boxing/person03_boxing_d4.avi", "running/me.avi"],
            "person": ["person03", "unknown"],
            "scenario": ["4", "unknown"],
            "fold": ["k", "k"],
        }
        assert tuple(items) == Predictions.COLUMNS

    def test_files_of_one_name_in_two_splits_are_two(self):
        name = segment_name(segment("boxing", None, None, folder="KTH/test"))
        assert name == "test/boxing/me.avi#1"

    def test_what_does_not_fit_or_is_not_a_number_is_refused(self):
        two = [segment("boxing"), segment("running")]
        with pytest.raises(ValueError, match=r"shape \(3, 6\) for 2 segments"):
            Predictions.of(np.zeros((3, 6)), two)
        with pytest.raises(ValueError, match=r"shape \(2,\) for 2 segments"):
            Predictions.of(np.zeros(2), two)
        spoilt = np.zeros((2, 6))
        spoilt[1, 0] = np.nan
        with pytest.raises(ValueError, match="1 of 2 predictions are not numbers.*diverged"):
            Predictions.of(spoilt, two)

    def test_is_saved_and_loaded_whole(self, tmp_path):
        made = concatenate([random_predictions(0, 5), random_predictions(1, 3)])
        made.save(tmp_path / "new" / "p.npz")
        again = Predictions.load(tmp_path / "new" / "p.npz")
        assert np.array_equal(again.log_probs, made.log_probs)
        assert np.array_equal(again.labels, made.labels) and again.classes == ACTIONS
        assert all(np.array_equal(again.items[name], made.items[name]) for name in made.items)
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.npz"]

    def test_a_file_that_holds_none_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Predictions.load(tmp_path / "absent.npz")
        (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 and then nothing")
        np.savez(tmp_path / "other.npz", features=np.zeros(3))
        for name in ("torn.npz", "other.npz"):
            with pytest.raises(ValueError, match=f"{name} holds no predictions"):
                Predictions.load(tmp_path / name)


class TestPooling:
    def test_is_the_log_mean_probability_in_order_of_first_appearance(self):
        probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
        shown = [segment("handclapping"), segment("boxing"), segment("handclapping", index=1)]
        videos = Predictions.of(np.log(probs), shown).pooled("video")
        assert np.allclose(videos.probs, [[0.6, 0.4], [0.2, 0.8]])
        assert videos.labels.tolist() == [1, 0]
        assert videos.items["video"].tolist() == [
            "handclapping/person01_handclapping_d1.avi",
            "boxing/person01_boxing_d1.avi",
        ]

    def test_clips_of_a_segment_are_one_segment(self):
        clips = [segment("boxing"), segment("boxing"), segment("boxing", index=1)]
        pooled = Predictions.of(np.log(np.full((3, 6), 1 / 6)), clips).pooled("segment")
        assert len(pooled) == 2 and len(pooled.pooled("video")) == 1

    def test_bears_impossible_classes(self):
        with np.errstate(divide="ignore"):
            logs = np.log([[1.0, 0.0], [1.0, 0.0]])
        videos = Predictions.of(logs, [segment("boxing"), segment("boxing", index=1)])
        assert videos.pooled("video").log_probs.tolist() == [[0, -np.inf]]

    def test_what_stands_alone_stays_to_the_last_bit_and_folds_stay_apart(self):
        shown = [segment("boxing"), segment("running")]
        alone = predictions_of(["boxing", "boxing"], shown)
        assert alone.pooled("video") is alone
        both = concatenate([alone, predictions_of(["running"] * 2, shown, fold="1")])
        assert np.array_equal(both.pooled("video").log_probs, both.log_probs)

    def test_a_mean_that_rounding_lifts_above_one_is_still_a_probability(self):
        logs = np.full((1, 6), -np.inf, np.float32)
        logs[0, 0] = 1e-6
        made = Predictions.of(logs, [segment("boxing")])
        assert made.probs[0, 0] == 1 and made.calibration_error == 0


class TestCounting:
    GUESSES = ("boxing", "running", "running", "walking")

    @pytest.fixture()
    def four(self):
        shown = [
            segment("boxing", 2),
            segment("boxing", 2, 3),
            segment("running", 1),
            segment("walking", 2),
        ]
        return predictions_of(self.GUESSES, shown)

    def test_score_has_both_intervals(self, four, monkeypatch):
        monkeypatch.setattr(statistics, "FEWEST_PERSONS", 2)
        assert four.right.tolist() == [True, False, True, True]
        persons = person_interval(four.right, four.items["person"].tolist())
        assert four.score() == Score(3, 4, persons)
        assert four[np.array([0, 1])].score() == Score(1, 2)  # of one person

    def test_counts_by_column_in_sorted_order(self, four):
        by = {column: four.by(column) for column in ("action", "person", "scenario", "fold")}
        assert by["action"] == {
            "boxing": Score(1, 2),
            "running": Score(1, 1),
            "walking": Score(1, 1),
        }
        assert by["person"] == {"person01": Score(1, 1), "person02": Score(2, 3)}
        assert by["scenario"] == {"1": Score(3, 3), "3": Score(0, 1)}
        assert by["fold"] == {"": Score(3, 4)}
        assert list(by["person"]) == ["person01", "person02"]

    def test_confusion_has_the_truth_in_rows(self, four):
        matrix = four.confusion()
        assert matrix[0].tolist() == [1, 0, 0, 0, 1, 0] and matrix[4, 4] == matrix[5, 5] == 1
        assert matrix.sum() == 4

    def test_the_most_confident_mistakes_come_first(self):
        shown = [segment("boxing", n) for n in (1, 2, 3, 4)]
        parts = [
            predictions_of([guess], [one], sure=sure)
            for guess, one, sure in zip(
                ["running", "boxing", "walking", "jogging"],
                shown,
                [0.5, 0.9, 0.8, 0.5],
                strict=True,
            )
        ]
        made = concatenate(parts)
        assert made.mistakes(8).tolist() == [2, 0, 3] and made.mistakes(1).tolist() == [2]
        taken = made[made.mistakes(2)]
        assert taken.items["person"].tolist() == ["person03", "person01"]
        assert taken.predicted.tolist() == [ACTIONS.index("walking"), ACTIONS.index("running")]

    def test_of_nothing_there_are_counts_and_no_numbers(self):
        none = Predictions.of(np.zeros((0, 6)), [])
        assert none.score() == Score(0, 0) and none.by("person") == {}
        assert none.confusion().tolist() == np.zeros((6, 6)).tolist()
        assert np.isnan(none.calibration_error)


class TestNumbers:
    def test_loss_is_of_what_the_model_gave_unrounded(self):
        logs = np.full((2, 6), -40.0, np.float32)
        logs[:, 1] = 0
        logs[1, 0] = -3
        made = Predictions.of(logs, [segment("boxing", 1), segment("boxing", 2)])
        assert made.loss == pytest.approx((40 + 3) / 2)

    def test_calibration_is_the_distance_between_confidence_and_being_right(self):
        shown = [segment("boxing", n) for n in (1, 2, 3, 4)]
        surer = predictions_of(["boxing", "boxing"], shown[:2], sure=0.9)
        less = predictions_of(["boxing", "running"], shown[2:], sure=0.7)
        made = concatenate([surer, less])
        assert made.calibration_error == pytest.approx(0.5 * 0.1 + 0.5 * 0.2, abs=1e-6)
        certain = predictions_of(["boxing", "boxing"], shown[:2], sure=1 - 1e-12)
        assert certain.calibration_error == pytest.approx(0, abs=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10**6), n=st.integers(1, 60))
    def test_torchmetrics_counts_the_same(self, seed, n):
        made = random_predictions(seed, n)
        probs, labels = torch.from_numpy(made.probs), torch.from_numpy(made.labels)
        matrix = multiclass_confusion_matrix(probs, labels, num_classes=6)
        assert made.confusion().tolist() == matrix.tolist()
        error = multiclass_calibration_error(probs.float(), labels, num_classes=6, n_bins=10)
        assert made.calibration_error == pytest.approx(float(error), abs=1e-5)
