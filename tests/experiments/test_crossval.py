"""Cross-validation: everything fitted inside the fold, nobody tested twice or known before, numbers
that add up."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.files import read_csv, read_json
from data.folds import Fold
from data.kth import find_segments
from evaluation import statistics
from evaluation.predictions import Predictions, concatenate, segment_name
from evaluation.statistics import wilson_interval
from experiments.crossval import Scheme, cross_validate, persons_in, plan, subject_leakage
from experiments.reports import report_again
from experiments.results import CrossValidation, compare, comparisons
from har import main
from tests.stand_ins import Witness, same_predictions, stop_after, tiny
from utils.preprocessing import FixedStride, Preprocessing

SMALL = {"size": (24, 32), "epochs": 2}


@pytest.fixture(scope="module")
def six(make_kth, tmp_path_factory):
    """A folder of six persons doing two actions, 24 segments."""
    return make_kth(
        tmp_path_factory.mktemp("six") / "KTH",
        persons=(1, 2, 3, 4, 5, 6),
        actions=("boxing", "walking"),
    )


@pytest.fixture
def where(six, tmp_path):
    return {
        "root": six,
        "runs_dir": tmp_path / "runs",
        "cache_dir": tmp_path / "cache",
        "progress": False,
        **SMALL,
    }


class Trainings:
    """A hook that counts the heads that are trained, and the steps that they take."""

    def __init__(self):
        self.heads, self.steps = [], 0

    def __call__(self, head, inputs):
        self.steps += head.training
        if head.training and head not in self.heads:
            self.heads.append(head)

    def __len__(self):
        return len(self.heads)


def predicted(right, persons, fold="f"):
    """Predictions of two classes, of which those marked in `right` (N,) are right; all items are of
    class 0."""
    n = len(right)
    names = {
        "segment": [f"v{k}#1" for k in range(n)],
        "video": [f"v{k}" for k in range(n)],
        "person": list(persons),
        "scenario": ["1"] * n,
        "fold": [fold] * n,
    }
    log_probs = np.log(np.where(np.array(right)[:, None], (0.8, 0.2), (0.2, 0.8)))
    items = {column: np.array(values) for column, values in names.items()}
    return Predictions(log_probs, np.zeros(n, int), items, ("boxing", "walking"))


def validated(name, *rights, persons="aabb"):
    found = tuple(predicted(right, persons) for right in rights)
    seeds = tuple(range(len(rights)))
    return CrossValidation(name, "data", "2-fold by subject", seeds, found, ({},) * len(rights))


def drawn(name, *draws):
    """One seed of several random splits, which all test the same four items."""
    parts = [predicted(right, "aabb", fold=f"split {k}") for k, right in enumerate(draws)]
    pooled = (concatenate(parts),)
    return CrossValidation(name, "data", f"{len(draws)} random splits", (0,), pooled, ({},))


def names_of(found, seed=0, level="segment"):
    return found.at(level)[seed].items[level].tolist()


class TestPlan:
    def test_each_way_of_dealing_has_a_name_and_its_folds(self):
        people = list(range(1, 26))
        assert plan(people).name == "official"
        assert plan(people).folds[0].test == (22, 2, 3, 5, 6, 7, 8, 9, 10)
        five = plan(people, folds=5)
        assert (five.name, len(five.folds)) == ("5-fold by subject", 5)
        assert plan(people, loo=True).name == "leave-one-subject-out"
        assert len(plan(people, loo=True).folds) == 25
        assert plan(people, repeats=3).name == "3 random splits by subject"
        assert [len(fold.test) for fold in plan(people, repeats=3).folds] == [9, 9, 9]
        assert [len(fold.test) for fold in plan(people[:6], repeats=2).folds] == [2, 2]

    @pytest.mark.parametrize("how", [{"folds": 2}, {"repeats": 2}])
    def test_two_ways_at_once_are_refused(self, how):
        with pytest.raises(ValueError, match="choose one"):
            plan([1, 2, 3], loo=True, **how)


class TestPooling:
    @pytest.mark.parametrize("level", ["segment", "video"])
    def test_counts_and_intervals_are_those_of_the_items(self, level, monkeypatch):
        monkeypatch.setattr(statistics, "FEWEST_PERSONS", 2)
        found = validated("a", [1, 1, 1, 0], [1, 1, 0, 0])
        score = found.score(level)
        assert [(one.correct, one.n) for one in found.scores(level)] == [(3, 4), (2, 4)]
        assert (score.correct, score.n, score.accuracy) == (2.5, 4, 0.625)
        # persons a and b: 100 % and 25 %
        assert score.persons == pytest.approx((0.25, 1.0))
        assert found.right(level).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
        people = {name: (one.correct, one.n) for name, one in found.by("person", level).items()}
        assert people == {"a": (4, 4), "b": (1, 4)}
        assert found.calibration_error == pytest.approx(np.mean([abs(0.8 - 0.75), abs(0.8 - 0.5)]))
        exchanged = found.to_json()[level]
        assert (exchanged["correct"], exchanged["n"], exchanged["accuracy"]) == ([3, 2], 4, 0.625)
        assert exchanged["interval"] == list(score.wilson)
        assert exchanged["person_interval"] == list(score.persons)
        assert exchanged["by"]["person"] == {
            "a": {"correct": 4, "n": 4},
            "b": {"correct": 1, "n": 4},
        }
        assert f"{level}s 3 2 of 4 = 62.5%" in str(found) and "2 seeds" in str(found)

    def test_of_one_person_there_is_wilsons_interval_alone(self):
        found = validated("a", [1, 1, 1, 0], persons="aaaa")
        assert found.score("segment").wilson == pytest.approx((0.3006, 0.9544), abs=1e-4)
        assert found.score("segment").persons is None and "over persons" not in str(found)
        assert found.to_json()["segment"]["person_interval"] is None

    def test_an_item_that_several_folds_test_is_one_item(self):
        found = drawn("a", [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0])
        score = found.score("segment")
        assert (score.n, score.accuracy) == (4, pytest.approx(8 / 12))
        assert score.correct == pytest.approx(8 / 3)
        assert score.wilson == wilson_interval(3, 4)
        assert found.to_json()["segment"]["correct"] == [3]
        row = found.rows()[0]
        assert (row["correct"], row["n"], row["accuracy"]) == (3, 4, pytest.approx(8 / 12))
        assert (row["low"], row["high"]) == score.wilson
        # the third item: two of three
        other = drawn("b", [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0])
        pair = compare(found, other)
        assert (pair.items, pair.only_a, pair.only_b) == (4, 1, 0)
        assert pair.difference == pytest.approx(8 / 12 - 5 / 12)

    def test_methods_are_compared_on_the_same_items_only(self):
        good, bad = validated("good", [1] * 4), validated("bad", [0] * 4)
        assert compare(good, bad).verdict == "better" and compare(bad, good).verdict == "worse"
        (pair,) = comparisons([bad, good])
        assert "good" in str(pair) and "better" in str(pair)
        with pytest.raises(ValueError, match="same videos"):
            compare(good, validated("other", [1] * 3, persons="aab"))

    def test_the_same_items_in_other_folds_are_not_compared(self):
        splits = [1, 1, 1, 0], [1, 1, 0, 0]
        with pytest.raises(ValueError, match="take one data set and one scheme for both"):
            compare(drawn("a", *splits), drawn("b", *splits, [1, 1, 1, 1]))


class TestRunning:
    def test_every_segment_is_tested_once_by_models_that_know_nobody_in_it(self, where, six):
        scheme = plan(persons_in(six), folds=3)
        found = cross_validate(tiny("average"), scheme, seeds=2, **where)
        there = sorted(map(segment_name, find_segments(six)))
        assert sorted(names_of(found)) == there and len(there) == 24
        assert names_of(found, 0) == names_of(found, 1)
        assert len(names_of(found, level="video")) == 12
        assert {row["split"] for row in found.rows()} == {"3-fold by subject"}
        assert [(row["level"], row["seed"]) for row in found.rows()] == [
            ("segment", 0),
            ("video", 0),
            ("segment", 1),
            ("video", 1),
        ]
        page = (Path(found.run) / "report.html").read_text()
        assert "Segments by person, seeds pooled" in page and page.count("<img") == 2
        assert read_json(Path(found.run) / "result.json")["scheme"] == "3-fold by subject"

    def test_a_report_of_it_is_refused_in_words_that_name_its_page(self, where, six):
        scheme = plan(persons_in(six), folds=2)
        found = cross_validate(tiny("middle"), scheme, seeds=1, **where)
        page = Path(found.run) / "report.html"
        with pytest.raises(ValueError, match="folder of a cross-validation") as said:
            report_again(found.run)
        assert str(page) in str(said.value) and page.is_file()

    def test_random_splits_count_each_segment_once(self, where, six):
        scheme = plan(persons_in(six), repeats=4)
        found = cross_validate(tiny("middle"), scheme, seeds=1, **where)
        tested = set(names_of(found))
        # two of six persons, four segments each
        assert len(names_of(found)) == 4 * 8 > len(tested)
        assert found.score("segment").n == found.rows()[0]["n"] == len(tested)

    def test_what_is_finished_is_not_trained_again_and_damage_is(self, where, six):
        scheme, trained = plan(persons_in(six), folds=3), Trainings()
        watched = tiny("average", hook=trained)
        first = cross_validate(watched, scheme, seeds=1, **where)
        assert len(trained) == 3
        again = cross_validate(watched, scheme, seeds=2, **where)
        assert len(trained) == 6 and again.run == first.run  # the second seed alone
        log_probs = first.predictions[0].log_probs
        np.testing.assert_array_equal(again.predictions[0].log_probs, log_probs)
        damaged = next((where["runs_dir"] / "crossval").rglob("*-seed0.npz"))
        damaged.write_bytes(damaged.read_bytes()[:100])
        mended = cross_validate(watched, scheme, seeds=2, **where)
        assert len(trained) == 7
        np.testing.assert_array_equal(mended.predictions[0].log_probs, log_probs)

    @pytest.mark.parametrize("recipe", [{}, {"dense": True}, {"fine_tune": 1}])
    def test_no_person_is_on_two_sides_of_a_training(self, where, six, recipe):
        witness = Witness()
        two = Preprocessing(FixedStride(2, 0.08))  # several dense clips a segment
        watched = witness.experiment("average_window", shown=two)
        scheme = plan(persons_in(six), folds=3)
        found = cross_validate(watched, scheme, seeds=1, **{**where, **recipe})
        seen = witness.sides()
        assert len(seen) == 3
        for train, validation, test in seen:
            assert train and validation and test
            assert not (train & validation or train & test or validation & test)
        assert set.union(*(test for _, _, test in seen)) == set(persons_in(six))
        assert [test for _, _, test in seen] == [set(fold.test) for fold in scheme.folds]
        # checkpoints go when the fold is finished
        assert not list(Path(found.run).rglob("*.pth"))

    def test_damaged_times_cost_no_training(self, where, six):
        scheme = Scheme("one fold", (Fold("f", (1, 2), (3, 4), (5, 6)),))
        first = cross_validate(tiny("average"), scheme, seeds=1, **where)
        for content in ("[]", "{", '{"f-seed0": "x"}'):
            Path(first.run, "seconds.json").write_text(content)
            again = cross_validate(tiny("average"), scheme, seeds=1, **where)
            assert again.run == first.run and again.about[0]["seconds"] == 0

    def test_persons_in_no_fold_are_named(self, where):
        scheme = Scheme("one fold", (Fold("f", (1, 2), (3,), (4,)),))
        with pytest.warns(UserWarning, match="person 5, 6 is in no fold of 'one fold'"):
            found = cross_validate(tiny("average"), scheme, seeds=1, **where)
        assert set(found.predictions[0].items["person"]) == {"person04"}

    @pytest.mark.parametrize(("recipe", "left"), [({}, 2), ({"fine_tune": 1}, 1)])
    def test_it_is_interrupted_and_goes_on(self, where, six, recipe, left):
        """In the second fold's second epoch, each a single step; a tuning keeps the first."""
        scheme, how = plan(persons_in(six), folds=2), {"seeds": 1, **where, **recipe}
        with pytest.raises(KeyboardInterrupt):
            cross_validate(tiny("average", hook=stop_after(3)), scheme, **how)
        trained = Trainings()
        found = cross_validate(tiny("average", hook=trained), scheme, **how)
        assert len(trained) == 1 and trained.steps == left
        elsewhere = {**how, "runs_dir": where["runs_dir"] / "whole"}
        whole = cross_validate(tiny("average"), scheme, **elsewhere)
        assert same_predictions(found.predictions[0], whole.predictions[0])

    def test_dense_clips_and_tuning_stay_inside_the_fold(self, where, six):
        scheme = plan(persons_in(six), folds=2)
        dense = cross_validate(tiny("average_window"), scheme, seeds=1, dense=True, **where)
        assert len(names_of(dense)) == 24 and dense.rows()[0]["recipe"] == "dense, epochs 2"
        tuned = cross_validate(
            tiny("middle"), scheme, seeds=1, fine_tune=1, horizontal_flip=True, **where
        )
        assert tuned.rows()[0]["weights"] == "bundled, 1 stages tuned"
        assert tuned.rows()[0]["recipe"] == "horizontal flip, epochs 2"

    def test_what_makes_no_sense_is_refused(self, where, six):
        two = plan(persons_in(six), folds=2)
        with pytest.raises(ValueError, match="seeds is 0"):
            cross_validate(tiny("average"), two, seeds=0, **where)
        with pytest.raises(ValueError, match="no auxiliary_root"):
            cross_validate(tiny("average"), two, auxiliary_root=str(six), **where)
        with pytest.raises(ValueError, match="of whom there are no segments"):
            cross_validate(tiny("average"), plan(persons_in(six)), **where)
        # said before any work
        assert not where["cache_dir"].exists() and not where["runs_dir"].exists()


class TestSubjectLeakage:
    def test_the_same_persons_are_on_both_sides_and_the_number_is_no_result(self, where):
        settings, witness = dict(where), Witness()
        del settings["runs_dir"]
        found = subject_leakage(witness.experiment("average"), splits=2, **settings)
        seen = witness.sides()
        assert len(seen) == 2 and all(train & test for train, _, test in seen)
        # 9 in 25 of 24 segments
        assert found.score.n == 2 * 9 and 0 <= found.score.correct <= found.score.n
        assert "SUBJECT LEAKAGE" in str(found) and not hasattr(found, "rows")


def test_the_command_compares_experiments_and_writes_rows(six, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scheme = ["--folds", "2", "--seeds", "1"]
    recipe = ["--epochs", "1", "--size", "32", "43"]
    more = ["--leakage", "--json", "found.json", "--record"]
    command = ["crossval", "middle", "average", "--root", str(six), *scheme, *recipe, *more]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "SUBJECT LEAKAGE" in said and "average" in said and "person: person01" in said
    assert any(verdict in said.splitlines()[-2] for verdict in ("better", "worse", "tie"))
    rows = read_csv(tmp_path / "results" / "crossval-kth.csv")
    counted = {
        (name, level, n)
        for name in ("middle", "average")
        for level, n in (("segment", "24"), ("video", "12"))
    }
    assert {(row["experiment"], row["level"], row["n"]) for row in rows} == counted
    assert all(row["weights_hash"] and row["commit"] for row in rows)
    (pair,) = read_csv(tmp_path / "results" / "pairs-kth.csv")
    assert (pair["a"], pair["b"], pair["items"]) == ("average", "middle", "12")
    assert pair["verdict"] in said
    assert set(json.loads((tmp_path / "found.json").read_text())) == {"middle", "average"}
