"""A reader that follows: he keeps place and size, the ground moves, and his speed is told."""

import numpy as np
import pytest
import torch

from tests.utils.test_cutout import track_of
from tests.utils.test_preprocessing import segment_of
from utils.crop import FASTEST, Crop
from utils.cutout import TALL
from utils.data_setup import Augment, ClipSource
from utils.preprocessing import ClipTransform, FixedStride, Preprocessing

SIZE = (60, 80)


def walker(places, side=20.0):
    """A dark square on a light ground at places (x, y), at every second frame, and his track."""
    frames = np.full((2 * len(places), *SIZE), 200, np.uint8)
    for at, (x, y) in enumerate(places):
        frames[2 * at : 2 * at + 2, y - 4 : y + 4, x - 4 : x + 4] = 20
    return frames, track_of([(x, y, side, 0.0) for x, y in places], SIZE).arrays()


def test_he_stays_in_the_middle_and_is_enlarged():
    frames, found = walker([(20, 20), (40, 30), (60, 40)])
    (clip,) = Crop().read(frames, [np.array([0, 2, 4])], found)
    scale = TALL * SIZE[0] * 1.25 / 20
    for image in clip:
        rows, columns = np.nonzero(image < 100)
        assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((40, 30), abs=0.6)
        assert np.ptp(columns) + 1 == pytest.approx(8 * scale, abs=2)
    assert (clip[0, 0, 0], clip[0, -1, -1]) == (200, 200), "the ground stays"


def test_what_the_camera_does_is_no_speed_of_his():
    _, found = walker([(20, 20), (30, 20), (40, 20), (50, 20)])
    alone = Crop().numbers(found, np.array([2, 4]))
    moved = {**found, "camera": found["camera"].copy()}
    moved["camera"][:, 0, 2] = 10
    assert (alone[:, 0] > 0).all() and not Crop().numbers(moved, np.array([2, 4])).any()


def test_where_nobody_is_the_frames_stay():
    found = track_of([None, None], SIZE).arrays()
    frames = np.random.default_rng(0).integers(0, 255, (4, *SIZE), dtype=np.uint8)
    (clip,) = Crop().read(frames, [np.array([0, 3])], found)
    assert np.array_equal(clip, frames[[0, 3]])
    assert not Crop().numbers(found, np.array([0, 3])).any()


def test_his_speed_is_told_in_statures_a_second_whichever_way():
    rate, stature = 12.5, 20 / 1.25  # a look every second frame of 25 a second
    for step in (4, -4):
        _, found = walker([(40 + step * k, 30 - k) for k in range(-4, 5)])
        told = Crop().numbers(found, np.array([4, 8, 12]))
        assert told == pytest.approx(np.full((3, 2), (4, 1)) * rate / stature, rel=1e-5)
        ends = Crop().numbers(found, np.array([0, 16]))
        assert ends == pytest.approx(told[:2], rel=1e-5), "one-sided at the ends"
    _, far = walker([(10, 30), (70, 30)])
    assert Crop().numbers(far, np.array([0]))[0, 0] == FASTEST
    _, alone = walker([(40, 30)])
    assert not Crop().numbers(alone, np.array([0])).any()


def test_speeds_are_planes_behind_the_images_which_augmenting_leaves_alone(tmp_path, write_video):
    frames, found = walker([(20 + 4 * k, 30) for k in range(9)])
    path = write_video(tmp_path / "walker.avi", frames)
    shown = Preprocessing(FixedStride(3, 0.16), ClipTransform((30, 40)), 0.08, Crop())
    segment = segment_of(path, 0, len(frames))
    clip = shown.clip(segment, found=found)
    assert clip.shape == (3, 5, 30, 40) and shown.channels == 3
    speed = 4 * 12.5 / 16
    assert torch.allclose(clip[:, 3], torch.full((3, 30, 40), speed))
    assert not clip[:, 4].any()
    source = ClipSource([segment], shown, augment=Augment(), found={path: found})
    changed = source.load(0, np.random.default_rng(1))
    assert torch.equal(changed[:, 3:], clip[:, 3:]) and not torch.equal(changed[:, :3], clip[:, :3])


def test_a_mean_of_frames_has_no_place_for_numbers():
    with pytest.raises(ValueError, match="Crop tells numbers of every frame"):
        Preprocessing(FixedStride(3, 0.16), ClipTransform(pool="mean"), reader=Crop())
