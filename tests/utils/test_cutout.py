"""The person alone on flat grey, in frames, clips and predictions."""

import dataclasses

import numpy as np
import pytest
import torch

from data.kth import Segment
from data.synthetic.body import JOINT
from data.synthetic.dataset import make_person, make_shot
from tests.utils.test_preprocessing import segment_of
from utils.camera import RESTS
from utils.cutout import TALL, Cutout
from utils.features import look_at
from utils.person import PersonFinder, PersonTrack
from utils.person_search import MASK
from utils.preprocessing import ClipTransform, FixedStride, Preprocessing, Uniform


def track_of(squares, size=(60, 80)):
    """A track with a disc of half the square's side as the mask of each square; None is nobody."""
    n = len(squares)
    y, x = np.mgrid[:MASK, :MASK] + 0.5 - MASK / 2
    disc = np.where(np.hypot(x, y) < MASK / 4, 255, 0).astype(np.uint8)
    there = np.array([square is not None for square in squares])
    square = np.array([square or (np.nan,) * 4 for square in squares], np.float32)
    return PersonTrack(
        frames=2 * np.arange(n),
        fps=25.0,
        size=size,
        square=square,
        landmarks=np.where(there[:, None, None], 1.0, np.nan) * np.ones((n, 33, 4)),
        mask=disc * there[:, None, None].astype(np.uint8),
        scene=np.zeros(n, int),
        others=np.zeros(n, int),
        camera=np.tile(RESTS, (n, 1, 1)),
    )


def cut(track, frames, indices, **settings):
    (clip,) = Cutout(**settings).read(frames, [np.array(indices)], track.arrays())
    return clip


def centre(image, grey=131):
    """The middle (x, y) of what is not ground, and how wide it is."""
    rows, columns = np.nonzero(np.abs(image.astype(int) - grey) > 30)
    return columns.mean() + 0.5, rows.mean() + 0.5, np.ptp(columns) + 1


SIDES = ("left", "right")
FRAMES = np.full((10, 60, 80), 10, np.uint8)


def test_all_but_the_person_is_grey():
    track = track_of([(30, 20, 32, 0.0), None, (50, 40, 32, 1.0)])
    clip = cut(track, FRAMES, [0, 2, 4, 9])
    assert clip.shape == (4, 60, 80) and clip.dtype == np.uint8
    assert (clip[1] == 131).all(), "nobody is there"
    for image, place in ((clip[0], (30, 20)), (clip[2], (50, 40)), (clip[3], (50, 40))):
        x, y, width = centre(image)
        assert (x, y) == pytest.approx(place, abs=0.3) and width == pytest.approx(16, abs=1.5)
        assert image[place[1], place[0]] == 10 and image[0, 0] == image[-1, -1] == 131
    dark = cut(track, FRAMES, [0], grey=60)
    assert dark[0, 0, 0] == 60 and dark[0, 20, 30] == 10


def test_a_wider_mask_shows_more():
    track = track_of([(40, 30, 32, 0.0)])
    widths = [centre(cut(track, FRAMES, [0], grow=grow)[0])[2] for grow in (0, 0.05, 0.1)]
    assert widths == pytest.approx([16, 16 + 0.1 * 32, 16 + 0.2 * 32], abs=1.5)


def test_normalised_he_is_in_the_middle_and_all_frames_are_enlarged_alike():
    track = track_of([(20, 20, 20, 0.0), (60, 45, 24, 0.0), (30, 30, 16, 0.0), None])
    clip = cut(track, FRAMES, [0, 2, 4, 6], normalise=True)
    scale = TALL * 60 * 1.25 / 20  # by the median side
    for image, side in zip(clip, (20, 24, 16), strict=False):
        x, y, width = centre(image)
        assert (x, y) == pytest.approx((40, 30), abs=0.5)
        assert width == pytest.approx(scale * side / 2, abs=2)
    assert (clip[3] == 131).all()


@pytest.mark.parametrize("settings", [{"grey": 256}, {"grey": -1}, {"grow": -0.1}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="they take 0 to 255, and 0 or more"):
        Cutout(**settings)


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory, write_video):
    """A file of a rendered person, his frames as they were drawn, and his joints in them."""
    shot = make_shot(make_person(0, 12), "handclapping", 4, np.random.default_rng(5), segments=1)
    renderer = shot.renderer()
    frames = np.stack([renderer.frame(f) for f in range(8)])
    path = write_video(tmp_path_factory.mktemp("cutout") / "person12_handclapping_d4.avi", frames)
    return path, frames, shot.scene.camera.project(shot.joints[:8])[0]


def test_a_rendered_person_is_cut_out(clip_file):
    """His trunk is shown, what is far from all of his joints is not."""
    path, frames, joints = clip_file
    reader = Cutout()
    (clip,) = reader.read(path, [np.arange(8)], reader.look(path))
    shown = np.abs(clip.astype(int) - 131) > 8
    trunk, far = np.zeros((2, *shown.shape), bool)
    corners = [JOINT[f"{side}_{joint}"] for joint in ("shoulder", "hip") for side in SIDES]
    for image in range(8):
        x, y = joints[image, corners].T
        inside = slice(int(y.min()), int(y.max())), slice(int(x.min()) + 2, int(x.max()) - 1)
        trunk[(image, *inside)] = True
        x, y = joints[image].T
        far[image] = True
        far[
            image,
            max(0, int(y.min()) - 16) : int(y.max()) + 12,
            int(x.min()) - 12 : int(x.max()) + 12,
        ] = False
    assert shown[trunk].mean() > 0.9 and shown[far].mean() < 0.01 and far.mean() > 0.5
    (of_array,) = reader.read(frames, [np.arange(8)])
    assert np.abs(of_array.astype(int) - clip).mean() < 3, "as filmed, and as an array"
    tall = np.nonzero((np.abs(cut_tall(path).astype(int) - 131) > 8).any((0, 2)))[0]
    assert np.ptp(tall) == pytest.approx(TALL * 120, rel=0.15)


def cut_tall(path):
    reader = Cutout(normalise=True)
    return reader.read(path, [np.arange(8)], reader.look(path))[0]


def test_it_is_written_down_and_built_again():
    reader = Cutout(PersonFinder(rate=6.0, followed=0.4), grey=90, grow=0.02, normalise=True)
    shown = Preprocessing(Uniform(4), reader=reader)
    config = shown.to_config()
    assert config["reader"]["finder"]["rate"] == 6.0 and config["reader"]["finder"]["weights"]
    again = Preprocessing.from_config(config, Cutout)
    assert again == shown and again.reader.finder == reader.finder
    wrong = {**config, "reader": {**config["reader"], "finder": {"speed": 3}}}
    with pytest.raises(ValueError, match="a preprocessing that this code does not know"):
        Preprocessing.from_config(wrong, Cutout)
    with pytest.raises(ValueError, match="no reader 'Cutout' here"):
        Preprocessing.from_config(config)


def test_a_clip_is_found_once_for_several_readers(clip_file, monkeypatch):
    path, *_ = clip_file
    looked, look = [], PersonFinder.look

    def counted(finder, video, fps=None):
        looked.append((video, fps))
        return look(finder, video, fps)

    monkeypatch.setattr(PersonFinder, "look", counted)
    shown = Preprocessing(FixedStride(3, 0.08), ClipTransform(size=(48, 64)), reader=Cutout())
    segment: Segment = segment_of(path, 0, 8)
    looking = shown.clip(segment)
    assert looked == [(path, segment.video.fps)] and looking.shape == (3, 1, 48, 64)
    found = look_at(Cutout(grow=0.1), [path], cache_dir=None, progress=False)[path]
    assert len(looked) == 2
    for reader in (Cutout(), Cutout(normalise=True)):
        clip = dataclasses.replace(shown, reader=reader).clip(segment, found=found)
        assert torch.equal(clip, looking) == (not reader.normalise)
    assert len(looked) == 2
