"""Who trains, who validates, who is tested: subject-disjoint splits, and one by segment that shows
subject leakage.

Knows persons and segments. Does not know videos' pixels, models or results: it says what is
compared, not how it ends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data.dealing import FEWEST, hands_of
from data.items import Person, Segment, in_several, ordered
from data.kth import SPLITS


@dataclass(frozen=True)
class Fold:
    """One way of dealing persons: those trained on, those who choose the epoch, and those who are
    measured.

    Raises ValueError when a person is in two parts or twice in one, or when a part is empty.
    """

    name: str
    train: tuple[Person, ...]
    validation: tuple[Person, ...]
    test: tuple[Person, ...]

    def __post_init__(self):
        for part, persons in self.parts.items():
            if not persons:
                raise ValueError(
                    f"fold {self.name!r} has nobody in {part}; give it more persons or smaller "
                    "parts"
                )
        named = {part: map("person {}".format, persons) for part, persons in self.parts.items()}
        if shared := in_several(named):
            raise ValueError(
                f"fold {self.name!r} has {'; '.join(shared)}; give each person to one part, once"
            )

    @property
    def parts(self) -> dict[str, tuple[Person, ...]]:
        """The persons of "train", "validation" and "test"."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True)
class LeakySplit:
    """Segments dealt as if persons did not matter: no Fold, and nothing that takes a Fold takes it.

    Its parts are named so that whoever reads them out says what they are.
    """

    leaky_train: tuple[Segment, ...]
    leaky_validation: tuple[Segment, ...]
    leaky_test: tuple[Segment, ...]

    @property
    def shared_files(self) -> int:
        """How many of the tested files were trained on too, in other segments of theirs."""
        trained = {segment.video.path for segment in self.leaky_train}
        return len(trained & {segment.video.path for segment in self.leaky_test})


# ways of dealing


def official() -> Fold:
    """Return KTH's own split (Schuldt, Laptev and Caputo, ICPR 2004): 8 persons train, 8 validate,
    9 are tested."""
    return Fold("official", **SPLITS)


def k_folds(persons: Iterable[Person], k: int, *, seed: int = 0) -> list[Fold]:
    """Deal persons into k folds: each is tested exactly once, with one person more or less a fold.

    Those whom the next fold tests validate, but never more than half of whoever is not tested; the
    others train.

    Args:
        persons: Whom to deal, in any order.
        k: How many folds.
        seed: Of the dealing.

    Raises:
        ValueError: k is below 2, a person is named twice, or there are fewer persons than folds
            need.
    """
    people = _people(persons)
    if k < 2:
        raise ValueError(f"{k} folds leave nobody to train on; give at least 2")
    if len(people) < k:
        raise ValueError(
            f"{len(people)} persons cannot be dealt into {k} folds, each of which tests somebody; "
            f"give at most {len(people)} folds"
        )
    order = np.random.default_rng(seed).permutation(len(people))
    dealt = [people[place] for place in order]
    hands = [dealt[place::k] for place in range(k)]
    return [
        _fold(f"fold {n} of {k}", people, following[: (len(people) - len(test)) // 2], test)
        for n, (test, following) in enumerate(zip(hands, hands[1:] + hands[:1], strict=True), 1)
    ]


def own_folds(segments: Sequence[Segment], k: int, where: str) -> list[Fold]:
    """Deal the persons of one's own classes into k folds, or the files where no person is known;
    every part of every fold shows every class.

    Each is tested exactly once; those whom the next fold tests validate.

    Args:
        segments: Of the data.
        k: How many folds.
        where: What messages call the data.

    Raises:
        ValueError: k is below 3, or a class has fewer persons, or files, than there are folds.
    """
    if k < FEWEST:
        raise ValueError(f"{k} folds; one tests, one validates, others train: give 3 or more")
    hands = [list(hand) for hand in hands_of(segments, where, k=k)]
    people = _people({segment.video.who for segment in segments})
    return [
        _fold(f"fold {n} of {k}", people, following, test)
        for n, (test, following) in enumerate(zip(hands, hands[1:] + hands[:1], strict=True), 1)
    ]


def leave_one_out(persons: Iterable[Person], *, validation: int = 8) -> list[Fold]:
    """Test each person once, in ascending order; those next in that order, cyclically, validate and
    the others train.

    Much of the literature trains on all others and stops where the test says so; here somebody must
    say when to stop.

    Args:
        persons: Whom to test; all of them take turns in the other parts.
        validation: How many validate; 8 as in the official split, which leaves 16 of 25 to train.

    Raises:
        ValueError: A person is named twice, or nobody is left to train or to validate.
    """
    people = _people(persons)
    if not 1 <= validation <= len(people) - 2:
        raise ValueError(
            f"{validation} of {len(people)} persons cannot validate when one is tested and "
            f"somebody is to train; give 1 to {len(people) - 2}, or at least 3 persons"
        )
    around = people * 2
    return [
        _fold(f"person{person:02d}", people, around[place + 1 : place + 1 + validation], (person,))
        for place, person in enumerate(people)
    ]


def repeated(
    persons: Iterable[Person], *, repeats: int, test: int = 9, seed: int = 0
) -> list[Fold]:
    """Draw `test` persons to be tested, again and again; half of the others validate, rounded down.

    Of KTH's 25 persons 16 are then for learning and 9 for testing, as in the official split and in
    much of the literature, but others each time. Unlike in `k_folds` a person may be tested often
    or never.

    Args:
        persons: Whom to draw from, in any order.
        repeats: How many folds.
        test: How many persons are tested in each.
        seed: Of the drawing; more repeats begin with the same folds.

    Raises:
        ValueError: There is no fold to draw, a person is named twice, or fewer than two persons are
            left for learning.
    """
    people = _people(persons)
    if repeats < 1:
        raise ValueError(f"{repeats} repeats are none; give at least 1")
    if not 1 <= test <= len(people) - 2:
        raise ValueError(
            f"{test} of {len(people)} persons cannot be tested when one is to train and one to "
            f"validate; give 1 to {len(people) - 2}, or at least 3 persons"
        )
    rng, learning = np.random.default_rng(seed), len(people) - test
    folds = []
    for number in range(1, repeats + 1):
        drawn = [people[place] for place in rng.permutation(len(people))]
        validation = drawn[test : test + learning // 2]
        folds.append(_fold(f"draw {number}", people, validation, drawn[:test]))
    return folds


# segments


def split_segments(segments: Sequence[Segment], fold: Fold) -> dict[str, list[Segment]]:
    """Give each part of a fold the segments of its persons, in their order; of a file without a
    person the fold may name the place.

    Segments of others are in no part.

    Raises:
        TypeError: It is no Fold, such as a leaky split.
        ValueError: A person of the fold has no segments, or a part lacks an action that the fold
            has elsewhere.
    """
    if not isinstance(fold, Fold):
        raise TypeError(f"a {type(fold).__name__} is not a split by person; give a Fold")
    known = {segment.video.who for segment in segments}
    if unknown := ordered({*fold.train, *fold.validation, *fold.test} - known):
        raise ValueError(
            f"fold {fold.name!r} has persons {', '.join(map(str, unknown))}, of whom there are no "
            "segments; deal the persons that the data has"
        )
    found = {
        part: [s for s in segments if s.video.who in persons]
        for part, persons in fold.parts.items()
    }
    actions = {part: {segment.video.action for segment in inside} for part, inside in found.items()}
    for part, seen in actions.items():
        if lacking := sorted(map(str, set().union(*actions.values()) - seen)):
            raise ValueError(
                f"fold {fold.name!r} has nobody in {part} who does {', '.join(lacking)}; deal with "
                "another seed or fewer folds, or add persons"
            )
    return found


def leaky(segments: Sequence[Segment], *, test_share: float = 9 / 25, seed: int = 0) -> LeakySplit:
    """Deal segments at random, whoever is in them: it exists to show subject leakage, and no number
    from it is a result.

    The same persons, even other segments of the same files, are then on both sides, so that a
    method is rewarded for knowing people again. Half of what is not tested validates, rounded down,
    as in `repeated`: with the default share as much is trained on as in the official split, and
    what differs from an honest number is the leakage alone.

    Args:
        segments: What to deal.
        test_share: The share that is tested, between 0 and 1.
        seed: Of the dealing.

    Raises:
        ValueError: A part would be empty, or no file is on both sides: then it could not show what
            it is for.
    """
    test = round(test_share * len(segments))
    validation = (len(segments) - test) // 2
    if test < 1 or validation < 1:
        raise ValueError(
            f"a share of {test_share} of {len(segments)} segments leaves a part empty; give a "
            "share between 0 and 1, or more segments"
        )
    order = np.random.default_rng(seed).permutation(len(segments))
    tested, validating, training = (
        tuple(segments[place] for place in sorted(places))
        for places in np.split(order, [test, test + validation])
    )
    split = LeakySplit(training, validating, tested)
    if not split.shared_files:
        raise ValueError(
            f"no file of these {len(segments)} segments is both trained on and tested, so "
            "there is no leakage to be shown; give files of several segments, or more of them"
        )
    return split


# helpers


def _people(persons: Iterable[Person]) -> tuple[Person, ...]:
    """Persons in ascending order, so that what is dealt depends on who they are and not on how they
    were listed."""
    people = tuple(ordered(persons))
    if twice := sorted({a for a, b in pairwise(people) if a == b}):
        raise ValueError(
            f"persons {', '.join(map(str, twice))} are named more than once; name each person once"
        )
    return people


def _fold(
    name: str, people: Sequence[Person], validation: Sequence[Person], test: Sequence[Person]
) -> Fold:
    """A fold in which all who neither validate nor are tested train; persons in ascending order."""
    train = tuple(person for person in people if person not in validation and person not in test)
    return Fold(name, train, tuple(ordered(validation)), tuple(ordered(test)))
