"""Other finders: they find what they can, and their tracks cut out as the other's do."""

import numpy as np
import pytest

from data.synthetic.dataset import shot_of
from experiments.studies import finders
from experiments.studies.finders import FINDERS, Moving, Upright
from utils.cutout import Cutout
from utils.person import PersonTrack


@pytest.fixture(scope="module")
def walker():
    """Frames of somebody who crosses, and his hips in them."""
    shot = shot_of(5, "walking", 1)
    renderer = shot.renderer()
    frames = np.stack([renderer.frame(f) for f in range(len(shot))])
    return frames, shot.scene.camera.project(shot.joints[:, 0])[0]


def test_whoever_moves_is_found_by_his_outline(walker):
    frames, hips = walker
    track = PersonTrack.of(Moving().look(frames))
    inside = ((hips[track.frames] > 20) & (hips[track.frames] < (140, 110))).all(1)
    assert track.presence[inside].mean() > 0.9 and not track.presence[:2].any()
    both = inside & track.presence
    assert np.median(np.abs(track.square[both, 0] - hips[track.frames][both, 0])) < 6
    assert np.isnan(track.landmarks).all() and not track.others.any()
    (clip,) = Cutout().read(frames, [track.frames[both][5:6]], track.arrays())
    shown = np.abs(clip[0].astype(int) - 131) > 4
    assert 0.01 < shown.mean() < 0.3, "little but him"


def test_somebody_upright_is_found_by_a_box():
    shot = shot_of(9, "handwaving", 4)
    renderer = shot.renderer()
    frames = np.stack([renderer.frame(f) for f in range(4)])
    hips = shot.scene.camera.project(shot.joints[:4, 0])[0]
    track = PersonTrack.of(Upright().look(frames, 12.5))
    assert len(track.frames) == 4
    if track.presence.any():  # his arms are lifted, which it was not made for
        away = np.linalg.norm(track.square[:, :2] - hips, axis=1)
        assert np.nanmedian(away) < 30
    empty = np.full((3, 120, 160), 128, np.uint8)
    assert not PersonTrack.of(Upright().look(empty, 12.5)).presence.any()


@pytest.mark.parametrize("name", FINDERS)
def test_a_grey_wall_and_no_frame_are_nobody(name):
    wall = np.full((3, 120, 160), 90, np.uint8)
    for frames in (wall, wall[:0]):
        track = PersonTrack.of(FINDERS[name].look(frames, 25))
        assert not track.presence.any() and len(track.frames) == (len(frames) + 1) // 2


def test_settings_that_differ_keep_looks_apart():
    assert len({repr(finder) for finder in FINDERS.values()}) == len(FINDERS)
    assert repr(Moving()) != repr(Moving(rate=5))


@pytest.mark.slow
def test_each_finder_is_counted_and_timed(tiny_kth, monkeypatch):
    rows = finders.run(tiny_kth, most=1, cache_dir=None, log=None)
    assert len(rows) == 3 * len(FINDERS)
    assert {row.method for row in rows} == set(FINDERS)
    assert all(row.value > 0 for row in rows if row.unit == "ms")
