"""Joints as numbers: exact values, and what must not change them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.synthetic.joints import MIRRORED, NAMES
from utils.camera import RESTS
from utils.person import PersonFinder, PersonTrack
from utils.pose import JOINTS, NUMBERS, Pose, joint_features, joints_of

RATE = 12.5
PLACES, SPEEDS = slice(0, 30), slice(30, 60)
NECK_SPEED, SEEN = slice(60, 62), slice(62, 77)


def body(steps=6, seed=0):
    """Joints (T, 15, 2) of a body of a torso of 40 pixels that wobbles, all of them seen."""
    rng = np.random.default_rng(seed)
    upright = np.zeros((15, 2))
    upright[[1, 2]] = (-8, 0), (8, 0)
    upright[[7, 8]] = (-5, 40), (5, 40)
    points = (
        upright
        + rng.normal(0, 3, (steps, 15, 2))
        * np.isin(np.arange(15), (1, 2, 7, 8), invert=True)[:, None]
    )
    return points + (80, 30), np.ones((steps, 15), bool)


def test_the_names_and_their_mirror_are_those_of_the_rendered_joints():
    assert NAMES == JOINTS
    swapped = [
        JOINTS[i].replace("left", "x").replace("right", "left").replace("x", "right")
        for i in MIRRORED
    ]
    assert swapped == list(JOINTS)


def test_places_are_counted_from_the_neck_in_torsos():
    numbers = joint_features(*body(), RATE)
    assert numbers.shape == (6, NUMBERS) and numbers.dtype == np.float32
    places = numbers[:, PLACES].reshape(6, 15, 2)
    assert places[:, 1] == pytest.approx(np.tile((-0.2, 0), (6, 1)))
    assert places[:, 7] == pytest.approx(np.tile((-0.125, -1), (6, 1)))  # up is positive
    assert (numbers[:, SEEN] == 1).all()


def test_a_body_that_walks_has_a_speed_and_joints_that_do_not():
    points, seen = body()
    points = np.repeat(points[:1], 6, 0) + np.arange(6)[:, None, None] * (4.0, 0.0)
    numbers = joint_features(points, seen, RATE)
    assert numbers[0, NECK_SPEED] == pytest.approx((0, 0))
    assert numbers[1:, NECK_SPEED] == pytest.approx(np.tile((4 / 40 * RATE / 3, 0), (5, 1)))
    assert numbers[:, SPEEDS] == pytest.approx(0, abs=1e-5)


def test_what_is_not_seen_is_nought_and_masked():
    points, seen = body()
    seen[2, 5] = False
    seen[4, 1] = False  # without a shoulder there is nothing to count from
    numbers = joint_features(points, seen, RATE)
    assert (numbers[2, PLACES].reshape(15, 2)[5] == 0).all() and numbers[2, SEEN][5] == 0
    assert (numbers[2:4, SPEEDS].reshape(2, 15, 2)[:, 5] == 0).all()
    assert (numbers[4] == 0).all() and (numbers[5, SPEEDS] == 0).all()


@given(st.floats(0.3, 4), st.floats(-300, 300), st.floats(-300, 300))
def test_size_and_place_in_the_image_do_not_matter(scale, x, y):
    points, seen = body()
    moved = points * scale + (x, y)
    assert joint_features(moved, seen, RATE) == pytest.approx(
        joint_features(points, seen, RATE), abs=1e-4
    )


def test_a_mirrored_body_is_the_body_mirrored():
    points, seen = body()
    mirrored = joint_features((points * (-1, 1))[:, MIRRORED], seen[:, MIRRORED], RATE)
    places = joint_features(points, seen, RATE)[:, PLACES].reshape(6, 15, 2)
    assert mirrored[:, PLACES].reshape(6, 15, 2) == pytest.approx(
        places[:, MIRRORED] * (-1, 1), abs=1e-5
    )


def test_clips_of_a_batch_are_the_clips_alone():
    clips = [body(seed=seed) for seed in range(3)]
    together = joint_features(*map(np.stack, zip(*clips, strict=True)), RATE)
    assert together == pytest.approx(np.stack([joint_features(*clip, RATE) for clip in clips]))


def track(steps=30, fps=25.0):
    """A track at every second frame, nobody in its last third; landmark n lies at (n, 2 n)."""
    here = np.arange(steps) < 2 * steps // 3
    landmarks = np.full((steps, 33, 4), np.nan, np.float32)
    landmarks[here] = np.arange(33)[:, None] * (1, 2, 0, 0) + (0, 0, 0, 1)
    square = np.where(here[:, None], (40.0, 40.0, 80.0, 0.0), np.nan)
    nothing = np.zeros(steps, int)
    return PersonTrack(
        2 * np.arange(steps),
        fps,
        (120, 160),
        square,
        landmarks,
        np.zeros((steps, 96, 96), np.uint8),
        nothing,
        nothing,
        np.tile(RESTS, (steps, 1, 1)),
    )


def test_joints_are_means_of_landmarks_and_nobody_has_none():
    points, seen = joints_of(track(), np.array([0, 29]))
    assert points[0, 0] == pytest.approx((7.5, 15)) and points[0, 5] == pytest.approx((15, 30))
    assert seen[0].all() and not seen[1].any()


def test_the_reader_reads_clips_of_a_track_at_its_own_rate():
    reader, found = Pose(finder=PersonFinder()), track().arrays()
    clip, late = reader.read(None, [np.arange(0, 24, 2), np.arange(44, 56, 2)], found)
    assert clip.shape == (12, NUMBERS) and reader.shows(found, np.arange(0, 24, 2))
    assert late.shape == (6, NUMBERS) and not reader.shows(found, np.arange(44, 56, 2))


def test_what_the_camera_does_is_no_speed_of_his():
    """All joints move by three pixels a look as the camera does, then twice as fast."""
    still = track()
    moving = np.tile(RESTS, (30, 1, 1))
    moving[:, 0, 2] = 3
    frames = np.arange(0, 24, 2)
    for times, speed in ((1, 0.0), (2, 3.0)):
        points = still.landmarks.copy()
        points[..., 0] += times * 3 * np.arange(30)[:, None]
        here = dataclasses.replace(still, landmarks=points, camera=moving)
        filmed, rested = (
            Pose().read(None, [frames], one.arrays())[0][1:, 60:62]
            for one in (here, dataclasses.replace(here, camera=np.tile(RESTS, (30, 1, 1))))
        )
        assert filmed[:, 1] == pytest.approx(0, abs=1e-4)
        assert filmed[:, 0] * times == pytest.approx(rested[:, 0] * (times - 1), abs=1e-4)
        assert (filmed[:, 0] > 0).all() == bool(speed)


def test_windows_are_placed_where_both_shoulders_are_seen():
    reader, seen = Pose(), track()
    seen.landmarks[:3, 11, 3] = 0.0  # at first one shoulder is hidden; after frame 38 nobody is
    found = seen.arrays()
    assert reader.span(found, 0, 60) == (6, 40) and reader.span(found, 10, 20) == (10, 20)
    assert reader.span(found, 45, 60) == (45, 60), "nobody: all of it"
    assert reader.span(found, 41, 42) == (41, 42), "no frame was looked at"
    assert reader.there(found, np.array([0, 5, 6, 38, 40])).tolist() == [0, 0, 1, 1, 0]
