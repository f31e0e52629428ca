"""Errors of the finder in numbers: exact ones for errors that are known."""

import json

import numpy as np
import pytest

from data.kth import CARD, SPLITS
from data.synthetic import render_dataset
from data.synthetic.joints import MIRRORED
from experiments.studies import finder
from experiments.studies.finder import _rows


def body(n=6, steps=24):
    """Joints of somebody whose sides are apart, in torso lengths of 20 pixels."""
    rng = np.random.default_rng(0)
    one = rng.uniform(0, 60, (15, 2))
    return np.broadcast_to(one, (n, steps, 15, 2)).copy(), np.ones((n, steps, 15), bool)


def said(points, seen, truth, inside):
    torso = np.full((len(truth), 1, 1, 1), 20.0)
    return {row.task: row.value for row in _rows("x", truth, inside, torso, points, seen)}


def test_no_error_is_none():
    truth, inside = body()
    assert set(said(truth.copy(), inside, truth, inside).values()) == {0}


def test_each_kind_of_error_is_told_apart():
    truth, inside = body()
    rng = np.random.default_rng(1)
    points, seen = truth.copy(), inside.copy()
    points[:, :, [3, 4]] += 20 * rng.normal(0, 0.2, (len(truth), 1, 2, 2))  # steady, the elbows
    points[:, :, [5, 6]] += 20 * rng.normal(
        0, 0.1, points[:, :, [5, 6]].shape
    )  # moving, the wrists
    points[:, :6, 9] += 20  # a quarter of one knee's, far away
    seen[:, :12, 11] = False  # half of one ankle's
    seen[:, 20:] = False  # four of the 24 steps
    found = said(points, seen, truth, inside)
    assert found["elbows, moving part"] == 0
    assert found["elbows, steady part of the error"] == pytest.approx(0.2, rel=0.5)
    assert found["wrists, moving part"] == pytest.approx(0.1, rel=0.15)
    assert found["knees, further away than 0.5"] == pytest.approx(100 * 6 / 40)
    assert found["ankles, unseen"] == pytest.approx(100 * 12 / 40)
    assert found["frames in which he is whole and lost"] == pytest.approx(100 * 4 / 24)
    assert found["shoulders, steady part of the error"] == found["hips, moving part"] == 0


def test_exchanged_sides_are_counted():
    truth, inside = body()
    points = truth.copy()
    points[:2] = points[:2, :, MIRRORED]
    assert said(points, inside, truth, inside)["frames in which sides are exchanged"] == (
        pytest.approx(100 / 3)
    )


@pytest.mark.slow
def test_both_errors_are_measured_in_the_same_windows(tmp_path):
    root = render_dataset(
        tmp_path / "synth",
        persons=SPLITS["validation"][:1],
        actions=["handwaving"],
        scenarios=(4,),
        progress=False,
        workers=1,
    )
    assert json.loads((root / CARD).read_text())["segments"] == 2
    rows = finder.run(root, cache_dir=None)
    methods = {row.method for row in rows}
    assert len(methods) == 2 and len(rows) == 2 * (2 + 4 * len(finder.PARTS))
    found = {row.task: row.value for row in rows if row.method.startswith("the finder")}
    assert found["frames in which he is whole and lost"] < 20
    assert found["shoulders, steady part of the error"] < 0.5
