"""Rendered joints: every movement is a body's, windows are a finder's, and all of it repeats."""

import numpy as np
import pytest

from data.kth import ACTIONS
from data.synthetic.dataset import AUXILIARY_SPREAD, Person
from data.synthetic.joints import FRAMES, OTHER, draw_performances, draw_windows, gathered
from data.synthetic.moves import MOVES, box_freely, cross_freely

SECONDS = np.arange(60) / 25


def people(count):
    rng = np.random.default_rng(1)
    return [(Person.draw(rng, AUXILIARY_SPREAD), rng) for _ in range(count)]


@pytest.mark.parametrize("name", MOVES)
def test_every_movement_is_a_bodys(name):
    for person, rng in people(8):
        joints = MOVES[name](person.build, person.habit, SECONDS, rng).joints
        assert joints.shape == (60, 21, 3) and np.isfinite(joints).all()
        tall = np.ptp(joints[..., 2], axis=1)
        assert (tall < 1.45 * person.build.stature).all() and (tall > 0.3).all()
        assert np.abs(np.diff(joints, axis=0)).max() < 0.9  # nothing leaps within a frame


def test_boxing_and_crossing_freely_are_a_bodys():
    for person, rng in people(6):
        assert np.isfinite(box_freely(person.build, person.habit, SECONDS, rng)).all()
        crossing = cross_freely("running", person.build, person.habit, rng, 4.0, 0.3)
        assert np.ptp(crossing[:, 0, 0]) > 3


@pytest.fixture(scope="module")
def pool():
    return gathered(list(draw_performances([0, 1], 12, 12)))


def test_a_pool_holds_each_action_and_others(pool):
    assert pool.points.shape == (24, FRAMES, 15, 2) and len(pool) == 24
    assert np.bincount(pool.label).tolist() == [2] * 6 + [12]
    assert set(pool.kind[pool.label == OTHER]) <= set(MOVES)
    assert [ACTIONS[i] for i in pool.label[:6]] == list(ACTIONS) == list(pool.kind[:6])


def test_the_same_seed_draws_the_same_and_another_does_not(pool):
    again, other = (gathered(list(draw_performances([0, s], 12, 12))) for s in (1, 2))
    assert np.array_equal(again.points, pool.points)
    assert not np.array_equal(other.points, pool.points)


def test_windows_are_a_finders(pool):
    chosen = np.arange(len(pool))
    draws = [draw_windows(pool, chosen, np.random.default_rng(s), 24, 12.5) for s in (0, 0, 1)]
    (points, seen), again, other = draws
    assert points.shape == (24, 24, 15, 2) and seen.shape == (24, 24, 15)
    assert np.isfinite(points).all() and 0.3 < seen.mean() < 0.95
    assert np.array_equal(points, again[0]) and not np.array_equal(points, other[0])


def test_where_only_legs_tell_they_are_not_taken_away():
    jumps = [one for one in draw_performances([3], 0, 200) if one[3]]
    windows = draw_windows(
        gathered(jumps), np.arange(len(jumps)), np.random.default_rng(0), 24, 12.5
    )
    legs = windows[1][:, :, 9:15]
    assert (legs.any((1, 2))).mean() > 0.9
