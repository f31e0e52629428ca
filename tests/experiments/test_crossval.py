"""Cross-validation: everything fitted inside the fold, nobody tested twice or known before, numbers
that add up."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from data.kth import find_segments
from evaluation.statistics import wilson_interval
from experiments import crossval
from experiments.crossval import (
    Answers,
    CrossValidation,
    compare,
    comparisons,
    cross_validate,
    leak,
    persons_in,
    plan,
)
from experiments.training import report_again
from har import main

SMALL = {"size": (32, 43), "epochs": 2}


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


def answers(right, persons, fold="f"):
    """Answers about two classes of which `right` (N,) are right, all of class 0."""
    log_probs = np.log(np.where(np.array(right)[:, None], (0.8, 0.2), (0.2, 0.8)))
    n = len(right)
    return Answers(
        log_probs,
        np.zeros(n, int),
        tuple(f"{fold}: v{k}" for k in range(n)),
        tuple(persons),
        ("1",) * n,
        (fold,) * n,
    )


def validated(name, *rights, persons="aabb"):
    given = tuple(answers(right, persons) for right in rights)
    return CrossValidation(
        name, "data", "2 folds", tuple(range(len(rights))), given, given, ({},) * len(rights), ""
    )


class TestPlan:
    def test_each_way_of_dealing_has_a_name_and_its_folds(self):
        people = list(range(1, 26))
        assert plan(people).name == "official" and plan(people).folds[0].test == (
            22,
            2,
            3,
            5,
            6,
            7,
            8,
            9,
            10,
        )
        assert (plan(people, folds=5).name, len(plan(people, folds=5).folds)) == (
            "5 folds by person",
            5,
        )
        assert len(plan(people, loo=True).folds) == 25
        assert [len(fold.test) for fold in plan(people, repeats=3).folds] == [9, 9, 9]
        assert [len(fold.test) for fold in plan(people[:6], repeats=2).folds] == [2, 2]

    def test_two_ways_at_once_are_refused(self):
        with pytest.raises(ValueError, match="choose one"):
            plan([1, 2, 3], folds=2, loo=True)


class TestPooling:
    def test_counts_and_intervals_are_those_of_the_items(self):
        found = validated("a", [1, 1, 1, 0], [1, 1, 0, 0])
        score = found.score("video")
        assert (score["correct"], score["n"], score["accuracy"]) == ([3, 2], 4, 0.625)
        low, high = score["person_interval"]
        assert low == pytest.approx(0.25) and high == pytest.approx(
            1.0
        )  # persons a and b: 100 % and 25 %
        assert found.tables("video")["person"] == {
            "a": {"correct": 4, "n": 4},
            "b": {"correct": 1, "n": 4},
        }
        assert found.calibration_error == pytest.approx(np.mean([abs(0.8 - 0.75), abs(0.8 - 0.5)]))

    def test_of_one_person_there_is_wilsons_interval_alone(self):
        found = validated("a", [1, 1, 1, 0], persons="aaaa")
        assert found.score("segment")["interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
        assert found.score("segment")["person_interval"] is None and "over persons" not in str(
            found
        )

    def test_an_item_that_several_folds_test_is_one_item(self):
        def drawn(name, *draws):
            parts = [answers(right, "aabb", fold=f"split {k}") for k, right in enumerate(draws)]
            pooled = (crossval._together(parts),)
            return CrossValidation(name, "data", "3 random splits", (0,), pooled, pooled, ({},), "")

        found = drawn("a", [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0])
        score = found.score("segment")
        assert (score["correct"], score["n"], score["accuracy"]) == ([3], 4, pytest.approx(8 / 12))
        assert score["interval"] == pytest.approx(wilson_interval(3, 4))
        row = found.rows()[0]
        assert (row["correct"], row["n"], row["accuracy"]) == (3, 4, pytest.approx(8 / 12))
        assert [row["low"], row["high"]] == score["interval"]
        pair = compare(
            found, drawn("b", [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0])
        )  # the third item: two of three
        assert (pair.items, pair.only_a, pair.only_b) == (4, 1, 0)
        assert pair.difference == pytest.approx(8 / 12 - 5 / 12)

    def test_methods_are_compared_on_the_same_items_only(self):
        good, bad = validated("good", [1] * 4), validated("bad", [0] * 4)
        assert compare(good, bad).verdict == "better" and compare(bad, good).verdict == "worse"
        (pair,) = comparisons([bad, good])
        assert "good" in str(pair) and "better" in str(pair)
        with pytest.raises(ValueError, match="same videos"):
            compare(good, validated("other", [1] * 3, persons="aab"))


class TestRunning:
    def test_every_segment_is_tested_once_by_models_that_know_nobody_in_it(self, where, six):
        found = cross_validate("average", plan(persons_in(six), folds=3), seeds=2, **where)
        names = [name.split(": ")[1] for name in found.segments[0].names]
        assert sorted(names) == sorted(s.name for s in find_segments(six)) and len(names) == 24
        assert (
            found.segments[0].names == found.segments[1].names and len(found.videos[0].names) == 12
        )
        assert {row["split"] for row in found.rows()} == {"3 folds by person"} and len(
            found.rows()
        ) == 4
        assert [row["seed"] for row in found.rows()] == [0, 0, 1, 1]
        page = (Path(found.run) / "report.html").read_text()
        assert "Segments by person, seeds pooled" in page and page.count("<img") == 2
        assert (
            json.loads((Path(found.run) / "result.json").read_text())["scheme"]
            == "3 folds by person"
        )

    def test_a_report_of_it_is_refused_in_words_that_name_its_page(self, where, six):
        found = cross_validate("middle", plan(persons_in(six), folds=2), seeds=1, **where)
        page = Path(found.run) / "report.html"
        with pytest.raises(ValueError, match="folder of a cross-validation") as said:
            report_again(found.run)
        assert str(page) in str(said.value) and page.is_file()

    def test_random_splits_count_each_segment_once(self, where, six):
        found = cross_validate("middle", plan(persons_in(six), repeats=4), seeds=1, **where)
        tested = {name.split(": ")[1] for name in found.segments[0].names}
        assert (
            len(found.segments[0].names) == 4 * 8 > len(tested)
        )  # two of six persons, four segments each
        assert found.score("segment")["n"] == found.rows()[0]["n"] == len(tested)

    def test_what_is_finished_is_not_trained_again_and_damage_is(self, where, six, monkeypatch):
        scheme = plan(persons_in(six), folds=3)
        first = cross_validate("average", scheme, seeds=1, **where)
        trained = []
        monkeypatch.setattr(
            crossval._Job, "train_and_ask", counting(crossval._Job.train_and_ask, trained)
        )
        again = cross_validate("average", scheme, seeds=2, **where)
        assert len(trained) == 3 and again.run == first.run  # the second seed alone
        np.testing.assert_array_equal(again.segments[0].log_probs, first.segments[0].log_probs)
        damaged = next((where["runs_dir"] / "crossval").rglob("*-seed0.npz"))
        damaged.write_bytes(damaged.read_bytes()[:100])
        mended = cross_validate("average", scheme, seeds=2, **where)
        assert len(trained) == 4
        np.testing.assert_array_equal(mended.segments[0].log_probs, first.segments[0].log_probs)

    @pytest.mark.parametrize("recipe", [{}, {"every_window": True}, {"fine_tune": 1, "epochs": 1}])
    def test_no_person_is_on_two_sides_of_a_training(self, where, six, monkeypatch, recipe):
        seen = spied(monkeypatch)
        cross_validate(
            "average_window", plan(persons_in(six), folds=3), seeds=1, **{**where, **recipe}
        )
        assert len(seen) == 3
        for train, validation, test in seen:
            assert (
                train
                and validation
                and test
                and not (train & validation or train & test or validation & test)
            )
        assert set.union(*(test for _, _, test in seen)) == set(persons_in(six))
        assert not list(
            (where["runs_dir"] / "crossval").rglob("*.pth")
        )  # checkpoints go when the fold is finished

    def test_it_is_interrupted_and_goes_on(self, where, six, monkeypatch):
        scheme, trained = plan(persons_in(six), folds=3), []
        train = crossval._Job.train_and_ask

        def interrupted(job, *args, **kwargs):
            if len(trained) == 2:
                raise KeyboardInterrupt
            return counting(train, trained)(job, *args, **kwargs)

        monkeypatch.setattr(crossval._Job, "train_and_ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cross_validate("average", scheme, seeds=1, **where)
        monkeypatch.setattr(crossval._Job, "train_and_ask", counting(train, trained))
        cross_validate("average", scheme, seeds=1, **where)
        assert len(trained) == 3

    def test_windows_and_tuning_are_done_inside_the_fold(self, where, six):
        scheme = plan(persons_in(six), folds=2)
        pieces = cross_validate("average_window", scheme, seeds=1, every_window=True, **where)
        assert (
            len(pieces.segments[0].names) == 24
            and pieces.rows()[0]["recipe"] == "every window, epochs 2"
        )
        tuned = cross_validate("middle", scheme, seeds=1, fine_tune=1, mirrored=True, **where)
        assert tuned.rows()[0]["weights"] == "bundled, 1 stages tuned"

    def test_what_makes_no_sense_is_refused(self, where, six):
        with pytest.raises(ValueError, match="seeds is 0"):
            cross_validate("average", plan(persons_in(six), folds=2), seeds=0, **where)
        with pytest.raises(ValueError, match="no extra_root"):
            cross_validate("average", plan(persons_in(six), folds=2), extra_root=str(six), **where)
        with pytest.raises(ValueError, match="of whom there are no segments"):
            cross_validate("average", plan(persons_in(six)), **where)
        assert (
            not where["cache_dir"].exists() and not where["runs_dir"].exists()
        )  # said before any work


class TestLeak:
    def test_the_same_persons_are_on_both_sides_and_the_number_is_no_result(
        self, where, monkeypatch
    ):
        settings, seen = (
            {key: value for key, value in where.items() if key != "runs_dir"},
            spied(monkeypatch),
        )
        found = leak("average", splits=2, **settings)
        assert all(train & test for train, _, test in seen) and len(seen) == 2
        assert found.n == 2 * 9 and 0 <= found.correct <= found.n  # 9 in 25 of 24 segments
        assert "LEAKY" in str(found) and not hasattr(found, "rows")


def spied(monkeypatch):
    """Collect the persons of each training: (train, validation, test)."""
    seen, train, ask = [], crossval.train_model, crossval.evaluate

    def people(loader):
        return {segment.video.person for segment in loader.dataset.segments}

    def train_model(model, first, second, **settings):
        seen.append((people(first), people(second)))
        return train(model, first, second, **settings)

    def evaluate(model, loader):
        seen[-1] += (people(loader),)
        return ask(model, loader)

    monkeypatch.setattr(crossval, "train_model", train_model)
    monkeypatch.setattr(crossval, "evaluate", evaluate)
    return seen


def counting(function, calls):
    def counted(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    return counted


def test_the_command_compares_experiments_and_writes_rows(six, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [
        "crossval",
        "middle",
        "average",
        "--root",
        str(six),
        "--folds",
        "2",
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--leak",
        "--json",
        "found.json",
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "LEAKY" in said and "average" in said and "person: person01" in said
    assert any(verdict in said.splitlines()[-2] for verdict in ("better", "worse", "tie"))
    rows = list(csv.DictReader((tmp_path / "results" / "crossval-kth.csv").open()))
    counted = {
        (name, level, n)
        for name in ("middle", "average")
        for level, n in (("segment", "24"), ("video", "12"))
    }
    assert {(row["experiment"], row["level"], row["n"]) for row in rows} == counted
    assert all(row["weights_hash"] and row["commit"] for row in rows)
    (pair,) = csv.DictReader((tmp_path / "results" / "pairs-kth.csv").open())
    assert (pair["a"], pair["b"], pair["items"]) == ("average", "middle", "12") and pair[
        "verdict"
    ] in said
    assert set(json.loads((tmp_path / "found.json").read_text())) == {"middle", "average"}
