"""Sets of possible members: each is counted by the sum of its members' log-probabilities alone."""

import pytest

from experiments.studies.members import CANDIDATES, _scores, run
from utils.predict import Fusion, Prediction, nobody

CLASSES = ("running", "walking")


def said(running):
    return Prediction("x", "", {"running": running, "walking": 1 - running}, [])


def test_each_set_names_by_the_sum_of_its_members():
    fusion = Fusion(tuple(CANDIDATES), CLASSES)
    asked = [
        ("running", [said(0.9), said(0.4), said(0.2)]),
        ("walking", [said(0.6), said(0.3), said(0.5)]),
        ("running", [nobody("x", CLASSES), said(0.7), nobody("x", CLASSES)]),
    ]
    found = {name: score.correct for name, score in _scores(fusion, asked)}
    assert found == {
        "joints": 1,
        "cut out": 2,
        "as filmed": 0,
        "joints + cut out": 3,
        "joints + as filmed": 1,
        "cut out + as filmed": 2,
        "joints + cut out + as filmed": 3,
    }


@pytest.mark.slow
def test_validation_persons_are_asked(tiny_kth, tmp_path):
    rows = run(tiny_kth, every=4, scenarios=(), cache_dir=tmp_path)
    assert len(rows) == 7 and {row.task for row in rows} == {"validation persons, segments"}
