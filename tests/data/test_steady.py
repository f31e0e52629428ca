"""Frames at an even rate: the nearest in time, thinned, and none larger than is looked at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.steady import MOST_RATE, alike, nearest, steady, steady_rate, thinning
from data.video import VideoInfo, probe


@pytest.mark.parametrize(
    ("fps", "every"),
    [(1, 1), (25, 1), (29.97, 1), (30.0003, 1), (50, 2), (59.94, 2), (60, 2), (120, 4), (1000, 34)],
)
def test_a_high_rate_is_thinned_by_a_whole_number(fps, every):
    assert thinning(fps) == every


def test_the_nearest_frame_stands_for_each_moment():
    moments = [(0.0, "a"), (0.1, "b"), (0.3, "c"), (0.35, "d")]
    assert list(nearest(moments, 10)) == ["a", "b", "c", "c"]
    assert list(nearest(moments, 20)) == ["a", "b", "b", "b", "c", "c", "c", "d"]


def test_a_grid_begins_with_the_first_frame():
    assert list(nearest([(5.0, "a"), (5.1, "b")], 10)) == ["a", "b"]
    assert list(nearest([(5.0, "a")], 10)) == ["a"] and list(nearest([], 10)) == []


@settings(deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.sampled_from([5.0, 12.5, 25.0]))
def test_no_frame_is_nearer_than_the_one_taken(steps, rate):
    times = np.cumsum([0, *steps]) / 1000
    taken = np.array(list(nearest(zip(times, times, strict=True), rate)))
    grid = np.arange(len(taken)) / rate
    away = np.abs(taken - grid)
    assert np.allclose(away, np.abs(times[:, None] - grid).min(0))
    assert abs(len(taken) / rate - times[-1]) <= 1.5 / rate + 1e-9


@settings(deadline=None)
@given(st.floats(0.5, 400))
def test_an_even_rate_stays_below_about_the_most(fps):
    rate = steady_rate(VideoInfo(100, fps, (4, 4)))
    assert rate <= 1.05 * MOST_RATE + 1e-9 and (rate == fps or rate > MOST_RATE / 2.2)


def test_a_file_of_many_frames_a_second_is_thinned(tmp_path, write_video):
    greys = np.arange(0, 240, 4, dtype=np.uint8)
    video = np.ones((1, 24, 32), np.uint8) * greys[:, None, None]
    path = write_video(tmp_path / "fast.avi", video, fps=60)
    info = probe(path)
    seen = [int(image.mean().round()) for image in steady(path, info, 1280)]
    assert steady_rate(info) == 30 and np.abs(np.array(seen) - greys[::2]).max() <= 3


def test_images_are_scaled_down_and_of_one_size():
    images = [np.zeros((90, 160, 3), np.uint8), np.zeros((50, 50, 3), np.uint8)]
    assert [one.shape for one in alike(images, 80)] == [(45, 80, 3)] * 2
    assert next(alike(images, 1280)) is images[0]


def test_what_is_square_already_is_not_changed(tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", np.zeros((3, 24, 32), np.uint8))
    assert probe(path).size == (24, 32) and probe(path).stamped is None
    assert [image.shape for image in steady(path, probe(path), 16)] == [(12, 16, 3)] * 3
