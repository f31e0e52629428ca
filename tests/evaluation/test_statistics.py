"""Intervals and verdicts against hand-made persons, known p values and the calibration error."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from evaluation.statistics import (
    Comparison,
    compare,
    person_interval,
    person_interval_or_none,
    reliability,
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


def persons(*shares, items=10):
    """Predictions about persons who have the given numbers of `items` right, and whose they are."""
    correct = np.concatenate([np.arange(items) < right for right in shares]).astype(float)
    return correct, [f"person{n:02d}" for n in range(len(shares)) for _ in range(items)]


def test_of_few_persons_the_interval_is_their_range():
    correct, groups = persons(4, 7, 9)
    assert person_interval(correct, groups, draws=2000) == (0.4, 0.9)


def test_persons_of_few_items_weigh_less():
    correct, groups = [1, 1, 1, 1, 1, 1, 0, 0], ["a"] * 6 + ["b"] * 2
    low, high = person_interval(correct, groups, draws=500)
    assert (low, high) == (0.0, 1.0)
    assert np.mean(correct) == 0.75


def test_persons_who_are_alike_leave_a_point():
    assert person_interval(*persons(8, 8, 8, 8)) == (0.8, 0.8)
    assert person_interval(*persons(10, 10, 10)) == (1.0, 1.0)
    assert person_interval(*persons(0, 0, 0)) == (0.0, 0.0)


def test_few_persons_that_differ_say_less_than_their_items_seem_to():
    correct, groups = persons(24, 24, 23, 22, 24, 12, 24, 21, 20, items=24)
    low, high = person_interval(correct, groups)
    item_low, item_high = wilson_interval(int(correct.sum()), len(correct))
    assert high - low > 1.5 * (item_high - item_low)


def test_nine_persons_are_cut_at_the_expanded_percentiles():
    right = np.array([24, 24, 23, 22, 24, 12, 24, 21, 20])
    drawn = right[np.random.default_rng(5).integers(0, 9, (200_000, 9))].mean(1) / 24
    low, high = person_interval(*persons(*right, items=24))
    assert (low, high) == pytest.approx(
        np.quantile(drawn, [0.00722, 0.99278]), abs=0.006
    )  # Phi(-2.306 sqrt(9 / 8))


@settings(max_examples=25, deadline=None)
@given(shares=st.lists(st.integers(0, 10), min_size=2, max_size=12), seed=st.integers(0, 9))
def test_an_interval_holds_the_accuracy_repeats_and_does_not_mind_order(shares, seed):
    correct, groups = persons(*shares)
    low, high = person_interval(correct, groups, draws=400, seed=seed)
    assert (
        min(shares) / 10 <= low <= correct.mean() + 1e-9
        and correct.mean() - 1e-9 <= high <= max(shares) / 10
    )
    assert (low, high) == person_interval(correct, groups, draws=400, seed=seed)
    within = np.concatenate(
        [np.random.default_rng(seed).permutation(10) + 10 * n for n in range(len(shares))]
    )
    assert (low, high) == person_interval(
        correct[within], [groups[n] for n in within], draws=400, seed=seed
    )


@pytest.mark.parametrize(
    ("correct", "groups", "said"),
    [
        (
            [1, 0],
            ["person07", "person07"],
            r"all 2 items are of one person \(person07\).*at least two",
        ),
        ([1, 0, 1], ["a", "b"], r"correct: predictions of shape \(1, 3\) for 2 persons"),
        ([], [], r"predictions of shape \(1, 0\)"),
        ([[[1]]], ["a"], r"predictions of shape \(1, 1, 1\)"),
        ([3, 0], ["a", "b"], "between 0 and 3; give predicted == true"),
        ([float("nan"), 0], ["a", "b"], "0 is wrong and 1 is right"),
    ],
)
def test_what_is_not_right_or_wrong_by_person_is_refused(correct, groups, said):
    with pytest.raises(ValueError, match=said):
        person_interval(np.array(correct), groups)


def test_a_confidence_in_percent_is_refused():
    with pytest.raises(ValueError, match="confidence of 95"):
        person_interval(*persons(1, 2), confidence=95)


def test_mcnemar_counts_what_only_one_has_right():
    a, b = np.ones(20), np.ones(20)
    a[:9], b[9] = 0, 0
    found = compare(a, b, ["x", "y"] * 10, names=("ghost", "gru"))
    assert (found.only_a, found.only_b) == (1, 9)
    assert found.p == pytest.approx(0.021484375)  # 2 (1 + 10) / 2^10
    assert found.difference == pytest.approx(-0.4)
    assert (found.items, found.persons) == (20, 2)


def test_mcnemar_takes_predictions_about_one_item_for_one_item():
    items = ["u", "v", "w"] * 2
    a = np.array(
        [[1, 1, 0, 1, 0, 0], [1, 1, 0, 0, 0, 1]]
    )  # of four predictions 3, 2 and 1 are right
    found = compare(a, np.zeros(6), list("xxyxxy"), items=items)
    assert (found.items, found.only_a, found.only_b) == (3, 1, 0)
    assert found.difference == pytest.approx(a.mean())


def test_of_thirds_that_make_a_half_a_method_is_not_mostly_right():
    a = np.array([[1, 0], [1, 1], [0, 0]])  # two of three and one of three: half
    found = compare(a, np.zeros(2), ["x", "y"], items=["u", "u"])
    assert (found.items, found.only_a) == (1, 0)


def test_the_verdict_follows_the_persons_and_not_the_items():
    worse, groups = persons(2, 3, 2)
    better, _ = persons(8, 9, 9)
    assert compare(better, worse, groups).verdict == "better"
    assert compare(worse, better, groups).verdict == "worse"
    one_person, _ = persons(10, 2, 2)  # eight more items, all of one person
    base, _ = persons(0, 2, 2)
    found = compare(one_person, base, groups)
    assert found.p < 0.01 and found.interval == (0.0, 1.0) and found.verdict == "tie"


def test_equal_methods_tie():
    correct, groups = persons(3, 7, 9)
    found = compare(correct, correct, groups)
    assert (found.difference, found.interval, found.p, found.verdict) == (0, (0, 0), 1, "tie")


def test_seeds_are_averaged_and_vote():
    seeds = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]])  # majority 1 1 0 0
    even = np.array([[0, 1, 1, 0], [0, 0, 1, 1]])  # half is no majority: 0 0 1 0
    found = compare(seeds, even, ["x", "x", "y", "y"])
    assert found.difference == pytest.approx(7 / 12 - 4 / 8)
    assert (found.only_a, found.only_b, found.p) == (2, 1, 1.0)
    assert found.interval == pytest.approx(((1 / 3 - 1 + 1 / 3 - 0.5) / 2, (1 + 2 / 3 - 0.5) / 2))


def test_rounding_is_no_verdict():
    a = np.array([0.1 + 0.2, 0.3, 0.3])
    assert a[0] > 0.3 and compare(a, np.full(3, 0.3), ["x", "y", "z"]).verdict == "tie"


def test_methods_must_be_evaluated_on_the_same_items():
    with pytest.raises(ValueError, match=r"gru: .*3\) for 2 persons.*same items"):
        compare(np.ones(2), np.ones(3), ["a", "b"], names=("ghost", "gru"))
    with pytest.raises(ValueError, match=r"one person \(a\)"):
        compare(np.ones(2), np.ones(2), ["a", "a"])


def test_a_comparison_is_one_line():
    found = Comparison(("gru", "ghost"), 0.032, (-0.005, 0.069), 12, 5, 0.143, items=216, persons=9)
    assert str(found) == (
        "gru against ghost: +3.2 percentage points [-0.5, +6.9] on 216 items of 9 persons; "
        "only gru right: 12, only ghost right: 5, McNemar p = 0.14: tie"
    )


def test_verdicts_are_rarely_wrong_when_two_methods_are_equally_good():
    """Nine persons, each a little better with one or the other by chance: plain percentiles err in
    9 of 100."""
    rng, wrong = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(9), 24)
    for _ in range(150):
        share, favour = rng.beta(18, 2, 9), rng.normal(0, 0.04, 9)
        a, b = (rng.random((9, 24)) < (share + sign * favour)[:, None] for sign in (1, -1))
        wrong += compare(a.ravel(), b.ravel(), groups.tolist()).verdict != "tie"
    assert wrong <= 13  # 7.5 expected at 5 of 100


def test_reliability_by_hand():
    probs = np.array([[0.95, 0.05], [0.92, 0.08], [0.35, 0.65], [0.31, 0.69], [1.0, 0.0]])
    confidence, accuracy, count = reliability(probs, np.array([0, 1, 1, 1, 0]))
    assert count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 3]
    assert accuracy[[6, 9]] == pytest.approx([1.0, 2 / 3]) and confidence[[6, 9]] == pytest.approx(
        [0.67, 2.87 / 3]
    )
    assert np.isnan(confidence[0]) and np.isnan(accuracy[0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), bins=st.integers(1, 15))
def test_the_weighted_gap_is_the_calibration_error(seed, n, bins):
    rng = np.random.default_rng(seed)
    probs, labels = rng.dirichlet(np.ones(6), n), rng.integers(0, 6, n)
    confidence, accuracy, count = reliability(probs, labels, bins=bins)
    assert count.sum() == n and len(count) == len(confidence) == len(accuracy) == bins
    gap = np.nansum(np.abs(confidence - accuracy) * count) / n
    known = multiclass_calibration_error(
        torch.tensor(probs, dtype=torch.float32), torch.tensor(labels), num_classes=6, n_bins=bins
    )
    assert gap == pytest.approx(float(known), abs=1e-5)


@pytest.mark.parametrize(
    ("probs", "labels", "bins", "said"),
    [
        (np.ones((2, 2)) / 2, [0], 10, r"\(2, 2\) do not fit labels of shape \(1,\)"),
        (np.ones(2), [0, 1], 10, r"give \(N, K\) and \(N,\)"),
        (np.ones((1, 2)) / 2, [0], 0, "0 bins"),
        (np.log([[0.5, 0.5]]), [0], 10, "take np.exp"),
    ],
)
def test_what_is_no_probability_is_refused(probs, labels, bins, said):
    with pytest.raises(ValueError, match=said):
        reliability(probs, np.array(labels), bins=bins)


def test_an_interval_that_tells_nothing_is_none():
    assert person_interval_or_none(np.array([1, 0] * 4), "a" * 8) is None
    assert person_interval_or_none(np.ones(8), "abcdefgh") is None
    assert person_interval_or_none(np.array([1, 0] * 3 + [1]), "abcdefg") is None, "seven are few"
    low, high = person_interval_or_none(np.array([1, 0] * 4), "abcdefgh")
    assert 0 <= low < 0.5 < high <= 1
