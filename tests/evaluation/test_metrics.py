"""Counts, intervals and video-level decisions against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import (
    calibration_error,
    confusion,
    per_class,
    per_group,
    score,
    to_video_level,
    wilson_interval,
)


def test_wilson_interval_at_ninety_percent_of_216_videos():
    low, high = wilson_interval(194, 216)
    assert (round(low, 3), round(high, 3)) == (0.851, 0.932)


@given(n=st.integers(1, 900), share=st.floats(0, 1))
def test_wilson_interval_holds_the_proportion_and_stays_in_range(n, share):
    correct = round(share * n)
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n + 1e-12 and correct / n - 1e-12 <= high <= 1 and low < high
    wide_low, wide_high = wilson_interval(correct, n, 0.99)
    assert wide_low <= low and high <= wide_high
    assert (low == 0) == (correct == 0) and (high == 1) == (correct == n)


def test_wilson_interval_without_items_and_with_nonsense():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="5 correct of 4"):
        wilson_interval(5, 4)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, 95)


def test_video_level_is_the_log_mean_probability():
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    videos, first = to_video_level(np.log(probs), ["b", "a", "b"])
    assert np.allclose(np.exp(videos), [[0.6, 0.4], [0.2, 0.8]])
    assert first.tolist() == [0, 1]


def test_video_level_bears_impossible_classes():
    with np.errstate(divide="ignore"):
        videos, _ = to_video_level(np.log([[1.0, 0.0], [1.0, 0.0]]), [1, 1])
    assert videos[0, 0] == 0 and videos[0, 1] == -np.inf


def test_video_level_needs_a_group_for_every_item():
    with pytest.raises(ValueError, match="1 groups for 2 items"):
        to_video_level(np.zeros((2, 3)), ["a"])


def log_probs_of(predicted, classes=3):
    return np.log(np.eye(classes)[predicted] * 0.9 + 0.03)


def test_score_counts():
    result = score(log_probs_of([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
    assert (result["correct"], result["n"], result["accuracy"]) == (3, 4, 0.75)
    assert result["interval"] == list(wilson_interval(3, 4))


def test_score_of_nothing_is_not_a_number():
    result = score(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert result["n"] == 0 and np.isnan(result["accuracy"]) and result["interval"] == [0.0, 1.0]


def test_confusion_has_the_truth_in_rows():
    matrix = confusion(log_probs_of([0, 1, 1, 2]), np.array([0, 0, 1, 2]))
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_per_class_counts_in_the_order_of_the_classes():
    result = per_class(log_probs_of([0, 1, 1]), np.array([0, 0, 1]), ["box", "clap", "wave"])
    assert result == {
        "box": {"correct": 1, "n": 2},
        "clap": {"correct": 1, "n": 1},
        "wave": {"correct": 0, "n": 0},
    }
    assert list(result) == ["box", "clap", "wave"]


def test_per_group_scores_each_group_alone():
    log_probs, labels = log_probs_of([0, 1, 1, 2]), np.array([0, 0, 1, 2])
    result = per_group(log_probs, labels, ["person02", "person02", "person01", "person02"])
    assert list(result) == ["person01", "person02"]
    assert result["person02"] == score(log_probs[[0, 1, 3]], labels[[0, 1, 3]])
    assert [result[name]["correct"] for name in result] == [1, 2]
    assert per_group(np.zeros((0, 3)), np.zeros(0, dtype=int), []) == {}
    with pytest.raises(ValueError, match="1 groups for 4 items"):
        per_group(log_probs, labels, ["person01"])


def test_predictions_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match=r"1 of 2 predictions are not numbers \(first: item 1\)"):
        score(np.array([[0.0, 0.0], [np.nan, 0.0]]), np.array([0, 0]))
    with pytest.raises(ValueError, match="3 labels for 2"):
        score(np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(ValueError, match=r"expected \(N, K\)"):
        score(np.zeros(4), np.zeros(4))


def test_calibration_is_the_distance_between_confidence_and_being_right():
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    assert calibration_error(probs, np.array([0, 0, 1, 0])) == pytest.approx(
        0.5 * 0.1 + 0.5 * 0.2, abs=1e-6
    )
    assert calibration_error(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1])) == pytest.approx(
        0, abs=1e-6
    )
