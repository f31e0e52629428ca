"""Other finders: they find what they can, and their tracks cut out as the other's do."""

from urllib.error import URLError

import numpy as np
import pytest
import torch

from data.synthetic.dataset import shot_of
from experiments.studies import finders
from experiments.studies.finders import FINDERS, Moving, Photographed, Upright
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


@pytest.mark.parametrize(("person", "action"), [(5, "walking"), (9, "handclapping")])
def test_somebody_upright_is_found_by_a_box(person, action):
    shot = shot_of(person, action, 1)
    renderer, middle = shot.renderer(), sum(shot.segments[0]) // 2
    frames = np.stack([renderer.frame(f) for f in range(middle, middle + 3)])
    hips = shot.scene.camera.project(shot.joints[middle : middle + 3, 0])[0]
    track = PersonTrack.of(Upright().look(frames, 12.5))
    assert track.presence.all() and np.isnan(track.landmarks).all()
    assert np.linalg.norm(track.square[:, :2] - hips, axis=1).max() < 10
    (clip,) = Cutout().read(frames, [np.arange(3)], track.arrays())
    assert (clip[0, :, :5] == 131).all() or (clip[0, :, -5:] == 131).all(), "beside the box"


class Detector:
    """Stands in for torchvision's: a dog it is sure of, a person, and somebody unsure."""

    def __call__(self, images):
        (image,) = images
        assert image.shape == (3, 120, 160) and image.min() >= 0 and image.max() <= 1
        boxes = [[0.0, 0.0, 160.0, 120.0], [40.0, 20.0, 60.0, 100.0], [80.0, 20.0, 160.0, 100.0]]
        there = 3 if image.max() > image.min() else 1
        return [
            {
                "boxes": torch.tensor(boxes[:there]),
                "labels": torch.tensor([18, 1, 1][:there]),
                "scores": torch.tensor([0.9, 0.8, 0.3][:there]),
            }
        ]


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.setattr(finders, "_detector", Detector)


def test_the_surest_person_of_a_trained_detector_is_taken(walker, detector):
    frames, _ = walker
    track = PersonTrack.of(Photographed().look(frames[:3], 12.5))
    assert track.square == pytest.approx(np.tile([50, 60, 100, 0], (3, 1)))
    (clip,) = Cutout().read(frames, [np.arange(3)], track.arrays())
    assert (clip[0, :, :35] == 131).all() and (clip[0, :, 66:] == 131).all()
    assert (clip[0, 30:90, 42:58] != 131).mean() > 0.9


@pytest.mark.parametrize("name", FINDERS)
def test_a_grey_wall_and_no_frame_are_nobody(name, detector):
    wall = np.full((3, 120, 160), 90, np.uint8)
    for frames in (wall, wall[:0]):
        track = PersonTrack.of(FINDERS[name].look(frames, 25))
        assert not track.presence.any() and len(track.frames) == (len(frames) + 1) // 2


def test_settings_that_differ_keep_looks_apart():
    assert len({repr(finder) for finder in FINDERS.values()}) == len(FINDERS)
    assert repr(Moving()) != repr(Moving(rate=5))


@pytest.mark.slow
def test_each_finder_is_counted_and_timed_but_one_without_weights(tiny_kth, monkeypatch):
    def fetched():
        raise URLError("no route to host")

    monkeypatch.setattr(finders, "_detector", fetched)
    with pytest.warns(UserWarning, match=r"SSDlite\) is left out: no weights \(no route to host\)"):
        rows = finders.run(tiny_kth, most=1, cache_dir=None, log=None)
    assert len(rows) == 3 * (len(FINDERS) - 1)
    assert {row.method for row in rows} == set(list(FINDERS)[:-1])
    assert all(row.value > 0 for row in rows if row.unit == "ms")
