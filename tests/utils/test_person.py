"""The person finder on rendered people, whose places are known; what is kept of a track."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch

from data.synthetic.body import JOINT
from data.synthetic.clutter import clutter
from data.synthetic.dataset import make_person, make_shot, shot_of
from data.video import VideoError
from utils.blazepose import FINGERPRINT, WEIGHTS, load_networks
from utils.camera import RESTS
from utils.features import look_at
from utils.person import PersonFinder, PersonTrack
from utils.person_search import (
    ANCHORS,
    MASK,
    Search,
    crop,
    crop_matrix,
    parts_of,
    square_around,
)
from utils.preprocessing import GreyFrames

# landmarks and the joints that they should lie on, left before right
PAIRS = {
    "shoulder": (11, 12),
    "elbow": (13, 14),
    "wrist": (15, 16),
    "hip": (23, 24),
    "knee": (25, 26),
    "ankle": (27, 28),
}


class Clip:
    """Frames of a rendered clip, and where its joints are in them, in pixels."""

    def __init__(self, action, scenario, *, person=3, seed=5, start=0, frames=24):
        rng = np.random.default_rng(seed)
        shot = make_shot(make_person(0, person), action, scenario, rng, segments=1)
        stop = min(start + frames, len(shot))
        renderer = shot.renderer()
        self.frames = np.stack([renderer.frame(f) for f in range(start, stop)])
        self.empty = np.stack([renderer.empty(f) for f in range(start, stop)])
        zoom = 1.0 if shot.scene.zoom is None else shot.scene.zoom[start:stop, None]
        self.joints, scale, _ = shot.scene.camera.project(shot.joints[start:stop], zoom)
        self.stature = float(np.median(scale)) * shot.scene.build.stature

    def place(self, joint):
        """Where the left and the right joint are (F, 2, 2)."""
        return self.joints[:, [JOINT[f"{side}_{joint}"] for side in ("left", "right")]]


@pytest.fixture(scope="module")
def waving():
    return Clip("handwaving", 4, person=5)


@pytest.fixture(scope="module")
def walking():
    return Clip("walking", 1, start=20, frames=36)


@pytest.fixture(scope="module")
def track(waving):
    return PersonFinder().find(waving.frames, 25)


def find(frames, fps=12.5, **settings):
    """Look at every one of some frames."""
    return PersonFinder(**settings).find(frames, fps)


def hips(track):
    return track.landmarks[:, [23, 24], :2].mean(1)


# found where he is


@pytest.mark.parametrize(
    ("action", "scenario", "person"),
    [("handwaving", 4, 5), ("handclapping", 4, 12), ("boxing", 4, 1)],
)
def test_a_rendered_person_is_found_where_he_is(action, scenario, person):
    """Within a twentieth of his stature at the median joint, with the joints in their order."""
    clip = Clip(action, scenario, person=person, start=8, frames=6)
    track = find(clip.frames)
    assert track.presence.all()
    for joint, pair in PAIRS.items():
        away = np.linalg.norm(track.landmarks[:, pair, :2] - clip.place(joint), axis=-1)
        assert np.median(away) < clip.stature / 15, joint
    middle = np.linalg.norm(hips(track) - clip.place("hip").mean(1), axis=-1)
    assert np.median(middle) < clip.stature / 20
    assert not track.others.any() and not track.scene.any()
    assert ((track.landmarks[..., 3] >= 0) & (track.landmarks[..., 3] <= 1)).all()


def test_a_walker_is_followed_across_and_gone_when_he_left(walking):
    track = PersonFinder().find(walking.frames, 25)
    joints = walking.joints[track.frames]
    inside = ((joints[..., 0] > 0) & (joints[..., 0] < 160)).all(1)
    outside = ((joints[..., 0] < 0) | (joints[..., 0] > 160)).all(1)
    assert inside.sum() > 5 and track.presence[inside].all()
    assert not track.presence[outside].any()
    away = np.linalg.norm(hips(track) - walking.place("hip").mean(1)[track.frames], axis=-1)
    assert np.median(away[inside]) < walking.stature / 20


def test_frames_that_come_one_by_one_are_followed_alike(waving, track):
    """In pieces, and live, where nobody waits for the next two seconds."""
    followed = PersonTrack.joined(list(PersonFinder().follow(iter(waving.frames), 25)))
    for name, array in track.arrays().items():
        assert np.array_equal(getattr(followed, name), array, equal_nan=True), name
    live = list(PersonFinder().follow(iter(waving.frames[:8]), 25, live=True))
    assert [part.frames.tolist() for part in live] == [[0], [2], [4], [6]]
    found = PersonTrack.joined(live)
    assert found.presence.all()
    assert np.abs(found.square[:, :2] - track.square[:4, :2]).max() < waving.stature / 20


def test_a_part_of_a_track_has_the_looks_around_it(track):
    part = track.part(5, 9)
    assert part.frames.tolist() == [-1, 1, 3, 5] and part.fps == track.fps
    assert np.array_equal(part.landmarks, track.landmarks[2:6])
    assert np.array_equal(track.rows(1, 3).square, track.square[1:3])


def test_nobody_is_found_in_an_empty_scene(waving):
    track = find(waving.empty[:4])
    assert not track.presence.any() and not track.others.any() and not track.mask.any()
    assert np.isnan(track.square).all() and np.isnan(track.landmarks).all()
    assert np.isnan(track.box).all() and not track.mask_at(2).any()


def test_somebody_of_little_contrast_is_found_in_an_image_of_more(clapping):
    dim = (100 + 0.1 * clapping.frames[:3]).astype(np.uint8)
    assert not find(dim, least_range=2000.0).presence.any()
    assert find(dim).presence.all()


def test_somebody_small_is_found_in_a_part_of_the_image(clapping):
    wide = np.full((3, 300, 400), 128, np.uint8)
    wide[:, 175:295, 10:170] = clapping.frames[:3]
    assert not find(wide, sure=1.1).presence.any(), "in the whole image alone"
    track = find(wide)
    assert track.presence.all() and not track.others.any()
    assert (hips(track)[:, 0] < 170).all() and (hips(track)[:, 1] > 175).all()


def test_parts_cover_the_image_and_overlap_by_half():
    for height, width in ((120, 160), (160, 120), (100, 100), (40, 400)):
        seen, side = np.zeros((height, width), int), 0.6 * max(height, width)
        for x, y, one in parts_of(height, width):
            assert one == pytest.approx(side)
            rows = slice(max(0, int(y - side / 2)), math.ceil(y + side / 2))
            seen[rows, max(0, int(x - side / 2)) : math.ceil(x + side / 2)] += 1
        assert seen.min() >= 1
    assert len(list(parts_of(120, 160))) == 6 and len(list(parts_of(40, 400))) == 3


@pytest.fixture(scope="module")
def hidden():
    """Somebody who boxes before clutter, and where his hips are."""
    shot = shot_of(19, "boxing", 1)
    scene = dataclasses.replace(shot.scene, background=clutter(np.random.default_rng(0)))
    renderer = dataclasses.replace(shot, scene=scene).renderer()
    frames = np.stack([renderer.frame(f) for f in range(16)])
    sides = [JOINT["left_hip"], JOINT["right_hip"]]
    return frames, scene.camera.project(shot.joints[:16])[0][:, sides].mean(1)


def test_somebody_whom_the_detector_overlooks_is_found_when_he_moves(hidden, monkeypatch):
    frames, places = hidden
    networks = load_networks(WEIGHTS, "torch")
    nobody = {"boxes": np.zeros((1, 2254, 12)), "scores": np.full((1, 2254, 1), -9.0)}
    blind = (lambda images: nobody), networks[1]
    monkeypatch.setattr("utils.person.load_networks", lambda **how: blind)
    track = PersonFinder().find(frames, 25)
    assert track.presence[-4:].all() and not track.presence[0], "nothing had moved yet"
    away = np.linalg.norm(hips(track) - places[track.frames], axis=1)[track.presence]
    assert np.median(away) < 8
    still = PersonFinder().find(np.repeat(frames[:1], 16, axis=0), 25)
    assert not still.presence.any()
    assert not PersonFinder(moving=1.1).find(frames, 25).presence.any()


def test_somebody_behind_noise_is_found(clapping):
    noise = np.random.default_rng(0).normal(0, 45, clapping.frames[:4].shape)
    noisy = (clapping.frames[:4] + noise).clip(0, 255).astype(np.uint8)
    assert not find(noisy, least_noise=1e9).presence.any()
    assert find(noisy).presence.sum() >= 2


def test_box_square_and_mask_are_around_him(waving, track):
    joints = waving.joints[track.frames]
    left, top, right, bottom = track.box.T
    assert (right > left).all() and (bottom > top).all()
    assert np.abs(np.median(bottom - joints[..., 1].max(1))) < 6
    centre, side = track.square[:, :2], track.square[:, 2]
    assert np.median(np.linalg.norm(centre - waving.place("hip").mean(1)[track.frames], axis=1)) < 8
    assert (side > waving.stature).all() and (side < 2 * waving.stature).all()
    for row, frame in enumerate(track.frames):
        mask = track.mask_at(frame)
        assert mask.shape == (120, 160) and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1
        person = np.abs(waving.frames[frame].astype(int) - waving.empty[frame]) > 25
        shared = (mask > 0.5) & person
        assert shared.sum() > 0.75 * person.sum() or shared.sum() > 0.75 * (mask > 0.5).sum()
        x, y = waving.place("shoulder")[frame].mean(0).astype(int)
        assert mask[y + 8, x] > 0.5, "his chest"
        assert mask[: max(0, int(top[row]) - 15)].max(initial=0) < 0.5, "above his hands"


# which frames are looked at


@pytest.mark.parametrize(
    ("fps", "rate", "frames"),
    [
        (25, 12.5, [0, 2, 4, 6]),
        (6, 12.5, [0, 1, 2, 3, 4, 5, 6, 7]),
        (30, 12.5, [0, 2, 5, 7]),
        (25, 5, [0, 5]),
    ],
)
def test_frames_are_looked_at_by_the_second(waving, fps, rate, frames):
    track = find(iter(waving.empty[:8]), fps, rate=rate)
    assert track.frames.tolist() == frames and track.fps == fps


def test_the_nearest_frame_that_was_looked_at_is_taken(track):
    assert track.frames.tolist() == list(range(0, 24, 2))
    assert track.at(np.array([0, 2, 22, 23, 90])).tolist() == [0, 1, 11, 11, 11]
    assert track.at(np.array([[1, 3], [4, 5]])).tolist() == [[0, 1], [2, 2]]
    assert track.at(5).shape == ()
    assert np.array_equal(track.mask_at(5), track.mask_at(4))


def test_a_file_is_found_as_its_frames_are(waving, tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", waving.frames[:12], fps=50)
    found = PersonTrack.of(PersonFinder().look(path))
    assert found.frames.tolist() == [0, 4, 8] and found.fps == 50
    told = PersonTrack.of(PersonFinder(rate=5).look(path, 25))
    assert told.frames.tolist() == [0, 5, 10] and told.fps == 25
    from_frames = PersonTrack.of(PersonFinder().look(waving.frames[:12], 50))
    assert found.presence.all() and from_frames.presence.all()
    away = np.linalg.norm(hips(found) - hips(from_frames), axis=1)
    assert away.max() < 3, "compression alone"
    assert PersonTrack.of(PersonFinder().look(waving.frames[:2])).fps == 25
    with pytest.raises(VideoError):
        PersonFinder().look(tmp_path / "none.avi")
    (tmp_path / "words.avi").write_text("not a video")
    with pytest.raises(VideoError):
        PersonFinder().look(tmp_path / "words.avi", 25)


# in stretches, side by side


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_what_is_found_does_not_depend_on_the_number_of_threads(walking, threads, monkeypatch):
    """He enters and leaves; the stretches of half a second end while he crosses."""
    monkeypatch.setattr("utils.person.STRETCH", 0.5)
    tracks = []
    for count in (1, 3):
        threads(count)
        tracks.append(PersonFinder().find(walking.frames, 25))
    one, other = tracks
    assert np.array_equal(one.presence, other.presence) and one.presence.any()
    assert np.nanmax(np.abs(one.landmarks - other.landmarks)) < 0.01
    assert np.array_equal(one.frames, other.frames)


def test_a_stretch_that_begins_with_somebody_else_goes_on_with_the_one_before(boxing, monkeypatch):
    """He who was followed gets smaller than the other, but not clearly: anew, the other is found"""
    monkeypatch.setattr("utils.person.STRETCH", 0.32)
    one = columns(boxing, boxing.frames[:8])
    left = np.concatenate([one[:4], smaller(one[4:], 0.9)])
    frames = np.concatenate([left, np.concatenate([smaller(one[:4], 0.85), one[4:]])], 2)
    anew = find(frames[4:])
    assert anew.presence.all() and (hips(anew)[:, 0] > 64).all()
    track = find(frames)
    assert track.presence.all() and (hips(track)[:, 0] < 64).all()


def test_a_stretch_in_which_nobody_is_detected_goes_on_with_who_was_followed(waving, monkeypatch):
    """The landmark network alone still knows where he is."""
    monkeypatch.setattr("utils.person.STRETCH", 0.32)
    networks = load_networks(WEIGHTS, "torch")
    calls = []

    def once(images):
        calls.append(len(calls))
        found = networks[0](images)
        return found if len(calls) == 1 else {**found, "scores": np.full((1, 2254, 1), -9.0)}

    monkeypatch.setattr("utils.person.load_networks", lambda **how: (once, networks[1]))
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    assert find(waving.frames[:8]).presence.all() and len(calls) > 1


def test_large_frames_are_searched_smaller_and_found_where_they_are(clapping, monkeypatch):
    monkeypatch.setattr("utils.person.LARGEST", 160)
    track = find(enlarged(clapping.frames[:2], (800, 600)))
    known = find(clapping.frames[:2])
    assert track.size == (600, 800) and track.presence.all()
    assert hips(track) == pytest.approx(5 * hips(known), abs=4)
    assert track.square[:, 2] == pytest.approx(5 * known.square[:, 2], rel=0.1)
    assert track.landmarks[:, 11, 2] == pytest.approx(5 * known.landmarks[:, 11, 2], abs=60)


def test_a_camera_that_moves_is_told_from_somebody_who_does(walking, boxing):
    still = PersonFinder().find(walking.frames, 25)
    assert (still.camera == RESTS).all()
    wide = np.pad(boxing.frames, ((0, 0), (0, 0), (40, 40)), "reflect")
    ground = np.random.default_rng(0).normal(0, 20, (120, 240))
    wide = (wide + cv2.GaussianBlur(ground, (0, 0), 2) * 4).clip(0, 255).astype(np.uint8)
    panned = np.stack([frame[:, 2 * n : 2 * n + 160] for n, frame in enumerate(wide)])
    track = find(panned)
    rows = np.arange(len(panned) - 1)
    places = np.tile([[20.0, 30.0]], (len(rows), 1))
    moved = track.carried(places, rows, rows + 1) - places
    assert np.median(np.abs(moved - (-2, 0)), 0) == pytest.approx([0, 0], abs=0.2)


# cuts, and more people than one


def test_after_a_cut_he_is_sought_anew(waving):
    """The other scene is darker, and its person stands somewhere else."""
    moved = cv2.convertScaleAbs(np.roll(waving.frames[:4], 50, axis=2), alpha=0.6)
    track = find(np.concatenate([waving.frames[:4], moved, waving.empty[:2]]))
    assert track.scene.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert track.presence.tolist() == [True] * 8 + [False] * 2
    assert hips(track)[4:8, 0] - hips(track)[:4, 0] == pytest.approx(50, abs=4)


@pytest.fixture(scope="module")
def clapping():
    return Clip("handclapping", 4, person=12, frames=18)


@pytest.fixture(scope="module")
def boxing():
    return Clip("boxing", 4, person=1, frames=18)


def columns(clip, frames):
    """The 64 columns of some frames around a clip's person."""
    left = int(clip.place("hip")[..., 0].mean())
    return np.pad(frames, ((0, 0), (0, 0), (32, 32)), "edge")[:, :, left : left + 64]


def smaller(frames, scale):
    """Frames `scale` times as large, in the lower left corner of their old size."""
    height, width = frames.shape[1:]
    size = (round(width * scale), round(height * scale))
    parts = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    edges = (height - size[1], 0, 0, width - size[0])
    return np.stack([cv2.copyMakeBorder(p, *edges, cv2.BORDER_REPLICATE) for p in parts])


def test_of_two_people_the_larger_is_followed_and_the_other_counted(boxing):
    one = columns(boxing, boxing.frames[:1])
    for frames, inside in (
        (np.concatenate([one, smaller(one, 0.75)], 2), (0, 64)),
        (np.concatenate([smaller(one, 0.75), one], 2), (64, 128)),
    ):
        track = find(frames)
        assert track.presence.all() and (track.others == 1).all()
        x = hips(track)[:, 0]
        assert ((inside[0] < x) & (x < inside[1])).all(), "the one who is not shrunk"


class Detected:
    """Stands in for the detector: it sees who is said to be in the image, and counts its calls."""

    def __init__(self, size):
        self.size, self.people, self.calls = np.array(size), [], 0

    def __call__(self, images):
        self.calls += 1
        side = self.size.max()
        boxes, scores = np.zeros((1, 2254, 12), np.float32), np.full((1, 2254, 1), -9, np.float32)
        for x, y, radius, score in self.people:
            points = np.array([[x, y], [x, y - radius]]) - (self.size[::-1] - side) / 2
            anchor = np.linalg.norm(ANCHORS - points[0] / side, axis=1).argmin()
            hips, edge = 224 * (points / side - ANCHORS[anchor])
            boxes[0, anchor, :8] = *hips, 22, 22, *hips, *edge
            scores[0, anchor] = score
        return {"boxes": boxes, "scores": scores}


def followed(steps):
    """Follow through steps of (frame, [(x, y of the hips, radius, score), ...]): columns of the
    hips, nan where nobody is, how many others, and the detector."""
    detector = Detected(steps[0][0].shape)
    search = Search(PersonFinder(), (detector, load_networks(WEIGHTS, "torch")[1]), 12.5)
    columns, others = [], []
    for frame, people in steps:
        detector.people = people
        person, count = search.step(frame)
        columns.append(np.nan if person is None else person.landmarks[[23, 24], 0].mean())
        others.append(count)
    return np.array(columns), np.array(others), detector


@pytest.fixture(scope="module")
def two(clapping, boxing):
    """Frames with a large and a small person, and what a perfect detector would say of them."""
    large = columns(clapping, clapping.frames)
    frames = np.concatenate([large, smaller(columns(boxing, boxing.frames), 0.6)], 2)
    places = clapping.place("hip").mean((0, 1)), boxing.place("hip").mean((0, 1))
    people = [(32, places[0][1], clapping.stature / 2, 2.0)]
    people += [(64 + 32 * 0.6, 48 + 0.6 * places[1][1], 0.3 * boxing.stature, 2.0)]
    return frames, people


def test_one_who_comes_and_is_larger_is_followed_within_a_second(two):
    frames, people = two
    gone = frames.copy()
    gone[:, :, :64] = gone[:, :1, :64]
    steps = [(f, people[1:]) for f in gone[:3]] + [(f, people) for f in frames[3:]]
    x, others, detector = followed(steps)
    assert (x[:3] > 64).all() and (x[13:] < 64).all() and np.isfinite(x).all()
    assert not others[:3].any() and (others[13:] == 1).all()
    assert detector.calls == 2, "at the start, and a second later"


def test_one_who_is_larger_but_hardly_a_person_is_not_followed(two):
    frames, (large, small) = two
    unsure = (*large[:3], 0.1)
    x, others, _ = followed([(f, [unsure, small]) for f in frames[:2]])
    assert (x > 64).all() and (others == 1).all()


def test_a_detected_who_has_no_body_is_passed_over(two):
    frames, (large, small) = two
    frames = frames.copy()
    frames[:, :, :64] = 128
    x, _, _ = followed([(f, [large, small]) for f in frames[:2]])
    assert (x > 64).all()
    nobody, others, _ = followed([(np.full((120, 128), 128, np.uint8), [large, small])])
    assert np.isnan(nobody).all() and not others.any()


# whatever there is, an answer or nobody


def enlarged(frames, size):
    return [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames]


ODD = {
    "one frame": lambda f: f[:1],
    "64 x 64": lambda f: enlarged(f[:3, :, :120], (64, 64)),
    "dark": lambda f: (f[:3] * 0.04).astype(np.uint8),
    "black": lambda f: np.zeros_like(f[:2]),
    "upside down": lambda f: f[:3, ::-1],
    "4K": lambda f: enlarged(f[:3], (3840, 2160)),
    "a line": lambda f: f[:2, :1],
    "a pixel": lambda f: f[:2, :1, :1],
    "a strip": lambda f: np.tile(f[:2, :40], (1, 1, 12)),
    "noise": lambda f: np.random.default_rng(0).integers(0, 256, f[:3].shape, dtype=np.uint8),
    "colour": lambda f: np.repeat(f[:3, ..., None], 3, axis=3),
    "no frame": lambda f: f[:0],
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_videos_have_an_answer_or_nobody(clapping, kind):
    frames = ODD[kind](clapping.frames)
    track = find(frames)
    n = len(frames)
    assert track.frames.tolist() == list(range(n)) and track.square.shape == (n, 4)
    assert track.landmarks.shape == (n, 33, 4) and track.mask.shape == (n, MASK, MASK)
    assert track.scene.shape == track.others.shape == track.presence.shape == (n,)
    assert track.box.shape == (n, 4)
    assert np.isfinite(track.landmarks[track.presence]).all()
    if kind in ("one frame", "4K", "colour", "64 x 64"):
        assert track.presence.all()
        assert track.size == np.shape(frames)[1:3]
    if kind == "4K":
        known = find(clapping.frames[:3])
        assert np.abs(hips(track) - hips(known) * [24, 18]).max() < 60, (
            "2.5 pixels of the small one"
        )
    if n:
        assert track.mask_at(0).shape == track.size


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((8, 8), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8), np.uint8),
        np.zeros((8, 8, 3, 2), np.uint8),
        np.zeros(8, np.uint8),
    ],
    ids=lambda frame: f"{frame.dtype}-{frame.shape}",
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match=r"give \(H, W\) or \(H, W, 3\) uint8"):
        find([frame])


def test_settings_that_cannot_be_are_refused(waving):
    with pytest.raises(ValueError, match="rate is 0; it takes frames a second, above 0"):
        PersonFinder(rate=0)
    with pytest.raises(ValueError, match="fps is -1"):
        find(waving.frames[:1], -1)
    with pytest.raises(ValueError, match=f"weights {FINGERPRINT} here, not another"):
        find(waving.frames[:1], weights="another")
    strict = find(waving.frames[:2], detected=0.9999)
    assert not strict.presence.any()


# kept, and read again


def same(one, other):
    parts = dataclasses.asdict(one)
    return all(
        np.array_equal(parts[k], v, equal_nan=k in ("square", "landmarks"))
        for k, v in dataclasses.asdict(other).items()
    )


def test_a_track_comes_back_from_its_arrays(track):
    arrays = track.arrays()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    again = PersonTrack.of(arrays)
    assert same(again, track) and again.size == (120, 160) and type(again.fps) is float
    with pytest.raises(KeyError, match="mask"):
        PersonTrack.of({name: array for name, array in arrays.items() if name != "mask"})


@dataclasses.dataclass(frozen=True)
class Hips(GreyFrames):
    """A reader of numbers that shares a finder."""

    finder: PersonFinder = dataclasses.field(default_factory=PersonFinder)
    scale: float = 1.0

    def look(self, video, fps=None):
        return self.finder.look(video, fps)


def test_readers_with_one_finder_search_a_file_once(waving, tmp_path, write_video, monkeypatch):
    path = write_video(tmp_path / "clip.avi", waving.frames[:6])
    looked, look = [], PersonFinder.look

    def counted(finder, video, fps=None):
        looked.append(finder)
        return look(finder, video, fps)

    monkeypatch.setattr(PersonFinder, "look", counted)
    where = {"cache_dir": tmp_path / "cache", "progress": False}
    readers = (PersonFinder(), Hips(), Hips(scale=2.0), Hips(finder=PersonFinder(rate=5)))
    found = [PersonTrack.of(look_at(reader, [path], **where)[path]) for reader in readers]
    assert [finder.rate for finder in looked] == [12.5, 5]
    assert same(found[0], found[1]) and same(found[0], found[2]) and len(found[3].frames) == 2
    kept = sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*.npz"))
    assert kept < 12_000 * 5, "masks are kept compressed"


# squares


def test_a_square_shows_what_is_in_it():
    """Half a turn and twice the size: the crop of a crop's place is the place."""
    square = square_around(np.array([30.0, 40.0]), np.array([30.0, 20.0]))
    assert square.tolist() == pytest.approx([30, 40, 50, 0])
    matrix = crop_matrix(square, 100)
    for place, expected in (((0, 0), (4.75, 14.75)), ((99, 99), (54.25, 64.25))):
        assert (matrix @ [*place, 1]).tolist() == pytest.approx(expected)
    turned = square_around(np.array([30.0, 40.0]), np.array([30.0, 60.0]))
    image = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    upright, _ = crop(image, square, 50, edge=False)
    assert np.array_equal(upright, image[15:65, 5:55])
    upside, _ = crop(image, turned, 50, edge=False)
    assert np.abs(upside.astype(int) - upright[::-1, ::-1]).max() <= 1
    outside, _ = crop(image, np.array([0.0, 0.0, 50.0, 0.0]), 50, edge=False)
    assert not outside[:24].any() and outside[26:, 26:].any()
    assert crop(image, np.array([0.0, 0.0, 50.0, 0.0]), 50, edge=True)[0][:24].any()
