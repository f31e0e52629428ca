"""What a number is worth: intervals that resample persons, two methods compared on the same items,
calibration by bin.

Knows arrays of right and wrong predictions and whose they are. Does not know files, models, images
or data sets. Items of one person are alike, so what is resampled is always the person: 216 videos
of nine people are nine draws, not 216.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

Interval = tuple[float, float]  # low and high
FEWEST_PERSONS = 8  # of whom an interval is told; one over four clusters is their range


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
        items: On how many both were evaluated.
        persons: How many people they come from.
    """

    names: tuple[str, str]
    difference: float
    interval: Interval
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
        """One line: difference and interval in percentage points, the counts of disagreement, p
        and the verdict."""
        a, b = self.names
        low, high = self.interval
        return (
            f"{a} against {b}: {100 * self.difference:+.1f} percentage points "
            f"[{100 * low:+.1f}, {100 * high:+.1f}] on {self.items} items of {self.persons} "
            f"persons; only {a} right: {self.only_a}, only {b} right: {self.only_b}, "
            f"McNemar p = {self.p:.2g}: {self.verdict}"
        )


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> Interval:
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
    correct: ndarray,
    persons: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the interval of an accuracy, as fractions, over people like these: persons are drawn
    with replacement.

    It is the cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their Application",
    1997, section 3.8), read off by percentiles. BCa would have to learn the skewness from a handful
    of persons, and is nan when they are all alike. Plain percentiles, like all that lives from many
    clusters, are too narrow for few (Cameron, Gelbach and Miller, "Bootstrap-Based Improvements for
    Inference with Clustered Errors", 2008); hence the tails are cut as a t interval's would be,
    Hesterberg's expanded percentiles ("What Teachers Should Know about the Bootstrap", The American
    Statistician 69, 2015).

    The nominal confidence is not reached everywhere. In simulations with nine persons, 95 %
    intervals held the truth in 91 to 95 of 100 cases between 50 and 90 % right (plain
    percentiles: 86 to 90), but in 76 to 88 near 97 % right where the errors cluster by person
    (intraclass correlation 0.1): few errors of few persons say little about others. With four
    persons or fewer the interval is the range of the persons' accuracies.

    Where all persons are equally good, such as all perfect, the interval is one point. That says
    that these persons do not differ, not that the accuracy is known; a Wilson interval of the items
    beside it keeps its width.

    Args:
        correct: 1 for right, 0 for wrong (N,), or between them: the mean over seeds.
        persons: The person of each item (N).
        confidence: How often such intervals should hold the truth.
        draws: How many samples of persons.
        seed: Start of the random numbers.

    Raises:
        ValueError: Sizes do not fit, a value is outside 0 to 1, or there are fewer than two
            persons.
    """
    return _by_person(_shares(correct, persons, "correct"), persons, confidence, draws, seed)


def person_interval_or_none(correct: ndarray, persons: Sequence[Hashable]) -> Interval | None:
    """Return `person_interval`, or None where it tells nothing: fewer than FEWEST_PERSONS, or all
    persons alike."""
    if len(set(persons)) < FEWEST_PERSONS:
        return None
    low, high = person_interval(correct, persons)
    return (low, high) if low < high else None


def compare(
    correct_a: ndarray,
    correct_b: ndarray,
    persons: Sequence[Hashable],
    *,
    names: tuple[str, str] = ("a", "b"),
    items: Sequence[Hashable] | None = None,
) -> Comparison:
    """Compare two methods that were evaluated on the same items, such as the test persons' videos.

    The 95 % interval of the difference is made like `person_interval`, from each item's difference.
    With several seeds it is the difference of their means: it tells of other persons, not of other
    seeds. For McNemar's test ("Note on the sampling error of the difference between correlated
    proportions or percentages", Psychometrika 12, 1947; here exact, by the binomial distribution) a
    method has an item right when more than half of its predictions are, over its seeds and over the
    folds that tested the item: adding them up would count each item many times.

    Args:
        correct_a: 1 for right, 0 for wrong, (N,), or (S, N) for S seeds.
        correct_b: The same for the other method, items in the same order; its seeds may be fewer or
            more.
        persons: The person of each item (N).
        names: What a and b are called.
        items: What each prediction (N,) is about, where several are about the same item; None when
            each has its own.

    Raises:
        ValueError: Sizes do not fit, a value is outside 0 to 1, or there are fewer than two
            persons.
    """
    from scipy.stats import binomtest  # half a second to import

    a, b = _shares(correct_a, persons, names[0]), _shares(correct_b, persons, names[1])
    right_a, right_b = _mostly_right(a, items), _mostly_right(b, items)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return Comparison(
        names,
        difference=float((a - b).mean()),
        interval=_by_person(a - b, persons),
        only_a=only_a,
        only_b=only_b,
        p=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
        items=len(right_a),
        persons=len(set(persons)),
    )


def reliability(
    probs: ndarray, labels: ndarray, *, bins: int = 10
) -> tuple[ndarray, ndarray, ndarray]:
    """Sort predictions by confidence and say how often those of each bin are right.

    The bins are equal ranges of confidence from 0 to 1, as in Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017, section 2. The mean distance of confidence and accuracy, weighted
    by count, is the expected calibration error.

    Args:
        probs: Probabilities (N, K).
        labels: True classes (N,).
        bins: How many ranges.

    Returns:
        Mean confidence, accuracy and number of predictions, (bins,) each; the first two are nan
        where there are none.

    Raises:
        ValueError: Sizes do not fit, there is no bin, or probs are no probabilities.
    """
    # single precision, as the field's libraries count it
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
            f"{probs.max():g}; take np.exp of log-probabilities first"
        )
    sure = probs.max(1)
    place = np.digitize(sure, np.linspace(0, 1, bins + 1, dtype=np.float32)[1:-1])
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin is nan
        confidence = np.bincount(place, sure, bins) / count
        accuracy = np.bincount(place, probs.argmax(1) == labels, bins) / count
    return confidence, accuracy, count


# helpers


def _shares(correct: ndarray, persons: Sequence[Hashable], name: str) -> ndarray:
    """Bring (N,) or (S, N) of right and wrong to the share of seeds (N,) that have each item
    right."""
    correct = np.atleast_2d(np.asarray(correct, dtype=float))
    if correct.ndim != 2 or correct.size == 0 or correct.shape[1] != len(persons):
        raise ValueError(
            f"{name}: predictions of shape {correct.shape} for {len(persons)} persons; give (N,), "
            "or (S, N) for S seeds, each item's person, and both methods the same items in the "
            "same order"
        )
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError(
            f"{name}: 0 is wrong and 1 is right, these lie between {correct.min():g} and "
            f"{correct.max():g}; give predicted == true"
        )
    return correct.mean(0)


def _mostly_right(shares: ndarray, items: Sequence[Hashable] | None) -> ndarray:
    """Whether each item (M,) is right in more than half, given the shares (N,) of predictions about
    items (N,)."""
    if items is not None:
        place = _numbered(items)
        shares = np.bincount(place, shares) / np.bincount(place)
    # one third and two thirds are half together, not a little more
    return np.round(shares, 9) > 0.5


def _by_person(
    values: ndarray,
    persons: Sequence[Hashable],
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the expanded percentile interval of the mean of values (N,) when persons are drawn
    with replacement."""
    from scipy.stats import norm, t  # half a second to import

    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
    person = _numbered(persons)
    if (n := person.max() + 1) < 2:
        raise ValueError(
            f"all {len(values)} items are of one person ({persons[0]}): how persons differ cannot "
            "be told; give items of at least two, or a Wilson interval that is of this person only"
        )
    # percentiles as far out as a t interval of as many persons reaches
    tail = norm.sf(t.ppf((1 + confidence) / 2, n - 1) * (n / (n - 1)) ** 0.5)
    drawn = np.random.default_rng(seed).integers(0, n, (draws, n))
    means = np.bincount(person, values)[drawn].sum(1) / np.bincount(person)[drawn].sum(1)
    # 0.1 + 0.2 - 0.3 is above 0, and would be a verdict
    low, high = np.round(np.quantile(means, [tail, 1 - tail]), 12).tolist()
    return low, high


def _numbered(names: Sequence[Hashable]) -> ndarray:
    """Number names (N) in the order of their first appearance, from 0: (N,)."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names])
