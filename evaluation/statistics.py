"""What a number is worth: intervals that resample persons, two methods compared on the same items,
calibration by bin.

Knows arrays of right and wrong answers and whose they are. Does not know files, models, pictures or
data sets. Items of one person are alike, so what is resampled is always the person: 216 videos of
nine people are nine draws, not 216.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """Method a against method b on the same items.

    Args:
        names: Of a and of b.
        difference: Accuracy of a less that of b, as a fraction.
        interval: Of the difference, low and high, by persons.
        only_a: Items that a alone has right.
        only_b: Items that b alone has right.
        p: Of McNemar's exact test on only_a and only_b.
        items: How many were answered by both.
        persons: How many people they come from.
    """

    names: tuple[str, str]
    difference: float
    interval: tuple[float, float]
    only_a: int
    only_b: int
    p: float
    items: int
    persons: int

    @property
    def verdict(self) -> str:
        """What a is against b: "better" or "worse" when the interval leaves out 0, else "tie".

        McNemar's p has no say: its test takes the items for independent draws, which those of one
        person are not, so it is too sure of itself. It stands beside the verdict because readers
        know it.
        """
        low, high = self.interval
        return "better" if low > 0 else "worse" if high < 0 else "tie"

    def __str__(self) -> str:
        """One line: difference and interval in points, the counts of disagreement, p and the
        verdict."""
        a, b = self.names
        low, high = self.interval
        return (
            f"{a} against {b}: {100 * self.difference:+.1f} points [{100 * low:+.1f}, "
            f"{100 * high:+.1f}] "
            f"on {self.items} items of {self.persons} persons; only {a} right: {self.only_a}, "
            f"only {b} right: "
            f"{self.only_b}, McNemar p = {self.p:.2g}: {self.verdict}"
        )


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, as fractions; (0.0, 1.0) when n is 0.

    It stays inside [0, 1] and keeps its width at 0 % and 100 %, where the usual plus-minus
    collapses to nothing (Wilson, "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 1927).
    """
    from scipy.stats import binomtest  # half a second to import

    if not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n} is not a proportion")
    if n == 0:
        return 0.0, 1.0
    low, high = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def person_interval(
    correct: np.ndarray,
    groups: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval of an accuracy, as fractions, over people like these: persons are drawn
    with replacement.

    It is the cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their Application",
    1997, section 3.8), read off by percentiles. BCa would have to learn the skewness from a handful
    of persons, and is nan when they are all alike. Plain percentiles, like all that lives from many
    clusters, are too narrow for few (Cameron, Gelbach and Miller, "Bootstrap-Based Improvements for
    Inference with Clustered Errors", 2008); hence the tails are cut as a t interval's would be,
    Hesterberg's expanded percentiles ("What Teachers Should Know about the Bootstrap", The American
    Statistician 69, 2015). In simulations with nine persons they hold the truth in 91 to 94 of 100
    cases instead of 86 to 90. With four persons or fewer the interval is the range of the persons'
    accuracies.

    Where all persons are equally good, such as all perfect, the interval is one point. That says
    that these persons do not differ, not that the accuracy is known; a Wilson interval of the items
    beside it keeps its width.

    Args:
        correct: 1 for right, 0 for wrong (N,), or between them: the mean over seeds.
        groups: The person of each item (N).
        confidence: How often such intervals should hold the truth.
        draws: How many samples of persons.
        seed: Start of the random numbers.

    Raises:
        ValueError: Sizes do not fit, a value is outside 0 to 1, or there are fewer than two
            persons.
    """
    return _by_person(
        _shares(correct, groups, "correct"), groups, confidence=confidence, draws=draws, seed=seed
    )


def person_interval_or_none(correct: np.ndarray, groups: Sequence[Hashable]) -> list[float] | None:
    """Return `person_interval` as a list, or None where it tells nothing: one person only, or all
    persons alike."""
    if len(set(groups)) < 2:
        return None
    low, high = person_interval(correct, groups)
    return [low, high] if low < high else None


def person_columns(interval: Sequence[float] | None) -> dict[str, float | str]:
    """Return an interval over persons as the columns of a row of results, empty where there is
    none."""
    low, high = interval or ("", "")
    return {"person_low": low, "person_high": high}


def compare(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    groups: Sequence[Hashable],
    *,
    names: tuple[str, str] = ("a", "b"),
    items: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two methods that answered the same items, such as the videos of the test persons.

    The interval of the difference is made like `person_interval`, from each item's difference. With
    several seeds it is the difference of their means: it tells of other persons, not of other
    seeds. For McNemar's test ("Note on the sampling error of the difference between correlated
    proportions or percentages", Psychometrika 12, 1947; here exact, by the binomial distribution) a
    method has an item right when more than half of its seeds do, and of its answers where it was
    asked more than once: adding them up would count each item many times.

    Args:
        correct_a: 1 for right, 0 for wrong, (N,), or (S, N) for S seeds.
        correct_b: The same for the other method, items in the same order; its seeds may be fewer or
            more.
        groups: The person of each item (N).
        names: What a and b are called.
        items: What each answer (N,) is about, where several are about the same item; None when each
            has its own.
        confidence: Of the interval of the difference.
        draws: How many samples of persons.
        seed: Start of the random numbers.

    Raises:
        ValueError: Sizes do not fit, a value is outside 0 to 1, or there are fewer than two
            persons.
    """
    from mlxtend.evaluate import mcnemar  # half a second to import

    a, b = _shares(correct_a, groups, names[0]), _shares(correct_b, groups, names[1])
    interval = _by_person(a - b, groups, confidence=confidence, draws=draws, seed=seed)
    right_a, right_b = _mostly_right(a, items), _mostly_right(b, items)
    table = np.array(
        [
            [(right_a & right_b).sum(), (right_a & ~right_b).sum()],
            [(~right_a & right_b).sum(), (~right_a & ~right_b).sum()],
        ]
    )
    return Comparison(
        names=names,
        difference=float((a - b).mean()),
        interval=interval,
        only_a=int(table[0, 1]),
        only_b=int(table[1, 0]),
        p=float(mcnemar(table, exact=True)[1]),
        items=len(right_a),
        persons=len(set(groups)),
    )


def reliability(probs: np.ndarray, labels: np.ndarray, *, bins: int = 10) -> tuple[np.ndarray, ...]:
    """Sort answers by confidence and say how often those of each bin are right.

    The bins are equal ranges of confidence from 0 to 1, as in Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017, section 2. The mean distance of confidence and accuracy, weighted
    by count, is the calibration error of `evaluation.metrics`, which however counts answers of
    confidence 1 to the last bit as a bin of their own.

    Args:
        probs: Probabilities (N, K).
        labels: True classes (N,).
        bins: How many ranges.

    Returns:
        Mean confidence, accuracy and number of answers, (bins,) each; the first two are nan where
        there are none.

    Raises:
        ValueError: Sizes do not fit, there is no bin, or probs are no probabilities.
    """
    probs, labels = np.asarray(probs, np.float32), np.asarray(labels)
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise ValueError(
            f"probabilities of shape {probs.shape} do not fit labels of shape {labels.shape}; "
            "give (N, K) and (N,)"
        )
    if bins < 1:
        raise ValueError(f"{bins} bins cannot hold anything; give at least 1")
    if not ((probs >= 0) & (probs <= 1)).all():
        raise ValueError(
            f"probabilities lie between 0 and 1, these between {probs.min():g} and "
            f"{probs.max():g}; "
            "take np.exp of log-probabilities first"
        )
    sure = probs.max(1)
    edges = np.linspace(
        0, 1, bins + 1, dtype=np.float32
    )  # single precision, as the calibration error is counted
    place = np.minimum(np.digitize(sure, edges) - 1, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin is nan
        confidence = np.bincount(place, sure, bins) / count
        accuracy = np.bincount(place, probs.argmax(1) == labels, bins) / count
    return confidence, accuracy, count


# helpers


def _shares(correct: np.ndarray, groups: Sequence[Hashable], name: str) -> np.ndarray:
    """Bring (N,) or (S, N) of right and wrong to the share of seeds (N,) that have each item
    right."""
    correct = np.asarray(correct, dtype=float)
    if correct.ndim not in (1, 2) or correct.size == 0:
        raise ValueError(
            f"{name}: answers of shape {correct.shape}; give (N,), or (S, N) for S seeds, of 1 "
            "or more"
        )
    if correct.shape[-1] != len(groups):
        raise ValueError(
            f"{name}: {correct.shape[-1]} answers for {len(groups)} groups; give each item's "
            "person, and "
            "both methods the same items in the same order"
        )
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError(
            f"{name}: answers lie between 0 (wrong) and 1 (right), these between "
            f"{correct.min():g} and "
            f"{correct.max():g}; give predicted == true"
        )
    return correct if correct.ndim == 1 else correct.mean(0)


def _mostly_right(shares: np.ndarray, items: Sequence[Hashable] | None) -> np.ndarray:
    """Whether each item (M,) is right in more than half, given the shares (N,) of answers about
    items (N,)."""
    if items is not None:
        places = {item: place for place, item in enumerate(dict.fromkeys(items))}
        place = np.array([places[item] for item in items])
        shares = np.bincount(place, shares) / np.bincount(place)
    return (
        np.round(shares, 9) > 0.5
    )  # one third and two thirds are half together, not a little more


def _by_person(
    values: np.ndarray, groups: Sequence[Hashable], *, confidence: float, draws: int, seed: int
) -> tuple[float, float]:
    """Return the expanded percentile interval of the mean of values (N,) when persons are drawn
    with replacement."""
    from scipy.stats import bootstrap  # a second to import

    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    if len(places) < 2:
        raise ValueError(
            f"all {len(values)} items are of one person ({next(iter(places))}): how persons "
            "differ cannot "
            "be told; give items of at least two, or a Wilson interval that is of this person only"
        )
    person = np.array([places[group] for group in groups])
    totals, sizes = np.bincount(person, values), np.bincount(person)
    found = bootstrap(
        (totals, sizes),
        _ratio,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=draws,
        confidence_level=_expanded(confidence, len(places)),
        rng=np.random.default_rng(seed),
    )
    low, high = np.round(
        found.confidence_interval, 12
    )  # 0.1 + 0.2 - 0.3 is above 0, and would be a verdict
    return float(low), float(high)


def _ratio(totals: np.ndarray, sizes: np.ndarray, axis: int = -1) -> np.ndarray:
    return totals.sum(axis) / sizes.sum(axis)


def _expanded(confidence: float, persons: int) -> float:
    """The confidence whose percentiles lie as far out as a t interval of the same number of persons
    does."""
    from scipy.stats import norm, t

    reach = t.ppf((1 + confidence) / 2, persons - 1) * (persons / (persons - 1)) ** 0.5
    return float(1 - 2 * norm.sf(reach))
