"""Nobody is trained on and tested, everybody is tested as often as promised, and leakage is called
by its name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.folds import (
    Fold,
    LeakySplit,
    k_folds,
    leaky,
    leave_one_out,
    official,
    repeated,
    split_segments,
)
from data.kth import ACTIONS, SPLITS, Segment, Video

EVERYBODY = tuple(range(1, 26))
people = st.lists(st.integers(1, 60), min_size=4, max_size=25, unique=True)
seeds = st.integers(0, 1000)


def segments_of(persons, actions=ACTIONS, each=4):
    """Segments of one file a person and action."""
    videos = [
        Video(Path(f"{a}/person{p:02d}_{a}_d1.avi"), a, p, 1) for a in actions for p in persons
    ]
    return [
        Segment(video, index, 10 * index, 10 * index + 10)
        for video in videos
        for index in range(each)
    ]


def disjoint_and_whole(fold, persons):
    dealt = [person for part in fold.parts.values() for person in part]
    return sorted(dealt) == sorted(persons) and all(fold.parts.values())


def test_the_official_fold_is_kths():
    fold = official()
    assert fold.parts == SPLITS and list(fold.parts) == ["train", "validation", "test"]
    assert [len(part) for part in fold.parts.values()] == [8, 8, 9]
    assert disjoint_and_whole(fold, EVERYBODY)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (((1, 2), (3,), (2, 4)), r"'mine' has person 2 \(train, test\)"),
        (((1, 1), (3,), (4,)), r"person 1 \(train, train\)"),
        (((1,), (), (2,)), "nobody in validation"),
    ],
)
def test_a_fold_refuses_a_person_in_two_parts_and_an_empty_part(parts, said):
    with pytest.raises(ValueError, match=said):
        Fold("mine", *parts)


@given(persons=people, data=st.data(), seed=seeds)
def test_k_folds_test_everybody_exactly_once(persons, data, seed):
    k = data.draw(st.integers(2, len(persons)))
    folds = k_folds(persons, k, seed=seed)
    assert sorted(person for fold in folds for person in fold.test) == sorted(persons)
    assert all(disjoint_and_whole(fold, persons) for fold in folds)
    sizes = [len(fold.test) for fold in folds]
    assert len(folds) == k and max(sizes) - min(sizes) <= 1
    assert folds == k_folds(sorted(persons), k, seed=seed)
    assert all(len(fold.validation) <= len(fold.train) for fold in folds)


def test_five_folds_of_kth():
    folds = k_folds(EVERYBODY, 5)
    assert {tuple(len(part) for part in fold.parts.values()) for fold in folds} == {(15, 5, 5)}
    assert all(
        fold.validation == after.test
        for fold, after in zip(folds, folds[1:] + folds[:1], strict=True)
    )
    assert folds != k_folds(EVERYBODY, 5, seed=1) and folds[0].name == "fold 1 of 5"


@pytest.mark.parametrize(
    ("persons", "k", "said"),
    [
        (EVERYBODY, 1, "1 folds leave nobody"),
        ((1, 2, 3), 4, "3 persons cannot be dealt into 4 folds.*at most 3"),
        ((1, 2, 3, 2), 2, "persons 2 are named more than once"),
        ((1, 2), 2, "nobody in validation"),
    ],
)
def test_folds_that_cannot_be_dealt(persons, k, said):
    with pytest.raises(ValueError, match=said):
        k_folds(persons, k)


@given(persons=people, data=st.data())
def test_leaving_one_out_tests_each_alone(persons, data):
    validation = data.draw(st.integers(1, len(persons) - 2))
    folds = leave_one_out(persons, validation=validation)
    assert [fold.test for fold in folds] == [(person,) for person in sorted(persons)]
    assert all(
        disjoint_and_whole(fold, persons) and len(fold.validation) == validation for fold in folds
    )
    validated = sorted(person for fold in folds for person in fold.validation)
    assert validated == sorted(persons * validation)  # everybody equally often


def test_leaving_one_of_kth_out():
    last = leave_one_out(EVERYBODY)[-1]
    assert (last.name, last.test, last.validation) == ("person25", (25,), tuple(range(1, 9)))
    with pytest.raises(ValueError, match="8 of 9 persons cannot validate.*1 to 7"):
        leave_one_out(range(9))


@given(persons=people, data=st.data(), seed=seeds)
def test_repeated_draws_have_the_given_sizes(persons, data, seed):
    test = data.draw(st.integers(1, len(persons) - 2))
    folds = repeated(persons, repeats=4, test=test, seed=seed)
    assert all(disjoint_and_whole(fold, persons) and len(fold.test) == test for fold in folds)
    assert all(len(fold.train) - len(fold.validation) in (0, 1) for fold in folds)
    assert folds[:2] == repeated(reversed(persons), repeats=2, test=test, seed=seed)


def test_repeated_draws_of_kth_are_of_the_official_sizes_and_differ():
    folds = repeated(EVERYBODY, repeats=10)
    assert {tuple(len(part) for part in fold.parts.values()) for fold in folds} == {(8, 8, 9)}
    assert len({fold.test for fold in folds}) == 10
    with pytest.raises(ValueError, match="24 of 25 persons cannot be tested.*1 to 23"):
        repeated(EVERYBODY, repeats=1, test=24)
    with pytest.raises(ValueError, match="0 repeats"):
        repeated(EVERYBODY, repeats=0)


def test_segments_go_where_their_persons_are():
    segments = segments_of(range(1, 8))
    mine = Segment(Video(Path("boxing/me.avi"), "boxing", None, None), 0, 0, 10)
    parts = split_segments([*segments, mine], Fold("mine", (5, 1), (2,), (3, 4)))
    assert list(parts) == ["train", "validation", "test"]
    assert parts["train"] == [s for s in segments if s.video.person in (1, 5)]
    assert [len(inside) for inside in parts.values()] == [48, 24, 48]


def test_persons_without_segments_are_named():
    with pytest.raises(
        ValueError, match="fold 'mine' has persons 3, 9, of whom there are no segments"
    ):
        split_segments(segments_of((1, 2)), Fold("mine", (1,), (2,), (9, 3)))


def test_a_part_without_an_action_is_named():
    segments = [
        s for s in segments_of((1, 2, 3)) if (s.video.person, s.video.action) != (2, "running")
    ]
    with pytest.raises(ValueError, match="fold 'mine' has nobody in validation who does running"):
        split_segments(segments, Fold("mine", (1,), (2,), (3,)))


@given(seed=seeds)
def test_a_leaky_split_leaks(seed):
    segments = segments_of(range(1, 6))
    split = leaky(segments, seed=seed)
    parts = (split.leaky_train, split.leaky_validation, split.leaky_test)
    assert sorted(segment for part in parts for segment in part) == sorted(segments)
    assert [len(part) for part in parts] == [39, 38, 43]  # of 120
    assert 0 < split.shared_files <= 30
    assert {s.video.person for s in split.leaky_train} & {s.video.person for s in split.leaky_test}
    assert split == leaky(segments, seed=seed)


def test_a_leaky_split_is_no_fold():
    split = leaky(segments_of((1, 2)))
    assert (
        not isinstance(split, Fold) and not hasattr(split, "train") and not hasattr(split, "parts")
    )
    with pytest.raises(TypeError, match="LeakySplit is not a split by person"):
        split_segments(segments_of((1, 2)), split)


def test_a_leaky_split_that_shows_nothing_is_refused():
    with pytest.raises(ValueError, match="no file of these 12 segments"):
        leaky(segments_of((1, 2), each=1))
    with pytest.raises(ValueError, match="share of 1.0 of 48 segments leaves a part empty"):
        leaky(segments_of((1, 2)), test_share=1.0)
    with pytest.raises(ValueError, match="share of 0.0 of"):
        leaky(segments_of((1, 2)), test_share=0.0)


def test_shared_files_are_counted():
    one, two = segments_of((1,), actions=("boxing", "running"), each=1)
    assert LeakySplit((one, two), (one,), (two,)).shared_files == 1
