"""KTH-Synth: bodies keep their bones, feet stay on the ground, actions are what they say, files are
KTH's."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data import kth
from data.synthetic import dataset as synthetic
from data.synthetic import motion, render
from data.synthetic.body import (
    JOINT,
    SIDES,
    Build,
    clearance,
    direction,
    reach,
    rotate_about_z,
    trunk,
)
from data.synthetic.motion import Habit
from data.video import read_frames

# mean segment length in KTH's annotation file, in frames
KTH_LENGTHS = {
    "boxing": 110,
    "handclapping": 106,
    "handwaving": 129,
    "jogging": 68,
    "running": 49,
    "walking": 109,
}


def shot_of(action, *, person=1, scenario=1, seed=0):
    return synthetic.shot_of(person, action, scenario, seed=seed, segments=2)


def joint(joints, name):
    return joints[:, JOINT[name]]


def bone(joints, first, second):
    return np.linalg.norm(joint(joints, first) - joint(joints, second), axis=-1)


@given(angle=st.floats(-7, 7), point=st.tuples(*[st.floats(-3, 3)] * 3))
def test_turning_keeps_heights_and_distances(angle, point):
    turned = rotate_about_z(np.array([point]), angle)
    assert turned[0, 2] == point[2]
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(point), abs=1e-9)


def test_a_limb_hangs_down_at_zero_and_points_forward_at_ninety_degrees():
    assert direction(np.array([0.0, np.pi / 2])) == pytest.approx(
        np.array([[0, 0, -1], [1, 0, 0]]), abs=1e-12
    )


@settings(max_examples=60)
@given(
    target=st.tuples(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9)),
    stature=st.floats(1.4, 2.0),
)
def test_an_arm_reaches_its_target_or_stretches_towards_it(target, stature):
    assume(
        np.linalg.norm(np.cross(target, (0.1, 0.7, -1.0))) > 0.05
    )  # a direction to stretch in, a side for the elbow
    build = Build(stature)
    joints = trunk(build, lean=np.zeros(1), twist=np.zeros(1))
    goal = joint(joints, "left_shoulder") + np.array([target])
    reach(joints, build, "left", target=goal, hint=np.array([0.1, 0.7, -1.0]))
    assert bone(joints, "left_shoulder", "left_elbow")[0] == pytest.approx(
        build.upper_arm, rel=1e-6
    )
    assert bone(joints, "left_elbow", "left_wrist")[0] == pytest.approx(build.forearm, rel=1e-6)
    within = (
        abs(build.upper_arm - build.forearm) + 0.02
        < np.linalg.norm(target)
        < 0.998 * (build.upper_arm + build.forearm)
    )
    if within:
        assert joint(joints, "left_wrist") == pytest.approx(goal, abs=1e-6)


def test_periodic_interpolation_passes_through_the_table():
    table = (24, 22, 15, 6, -3, -9, -6, 10, 22, 26)
    phase = np.arange(10) / 10
    alternating = np.mean(np.array(table) * (-1.0) ** np.arange(10)) * (-1.0) ** np.arange(
        10
    )  # the dropped highest term
    assert motion.periodic(table, phase) == pytest.approx(np.array(table) - alternating, abs=1e-9)
    assert motion.periodic(table, phase + 3) == pytest.approx(motion.periodic(table, phase))


@pytest.mark.parametrize("action", kth.ACTIONS)
def test_bones_keep_their_lengths_and_feet_stay_over_the_ground(action):
    build = Build(1.8)
    rng = np.random.default_rng(3)
    if action in motion.LOCOMOTION:
        joints = motion.cross(action, build, Habit(), rng, width=5, heading=0.0)
    else:
        joints = motion.perform(action, build, Habit(), rng, seconds=4, heading=0.3)
    for side, _ in SIDES:
        assert bone(joints, f"{side}_hip", f"{side}_knee") == pytest.approx(build.thigh)
        assert bone(joints, f"{side}_knee", f"{side}_ankle") == pytest.approx(build.shank)
        assert bone(joints, f"{side}_elbow", f"{side}_wrist") == pytest.approx(build.forearm)
    assert clearance(joints).min() == pytest.approx(0, abs=1e-9)


def test_a_walker_always_touches_the_ground_and_a_runner_flies():
    rng = np.random.default_rng(0)
    walker = motion.cross("walking", Build(), Habit(), rng, width=6, heading=0.0)
    runner = motion.cross("running", Build(), Habit(), rng, width=6, heading=0.0)
    assert clearance(walker).max() < 1e-9
    assert (clearance(runner) > 0.01).mean() > 0.15


@pytest.mark.parametrize(
    ("action", "low", "high"),
    [("walking", 0.85, 1.6), ("jogging", 1.4, 2.6), ("running", 2.2, 4.4)],
)
def test_speeds_are_those_of_people(action, low, high):
    rng = np.random.default_rng(0)
    speeds = [
        motion.ground_speed(motion.draw_gait(action, Habit.draw(rng), rng), Build())
        for _ in range(200)
    ]
    assert low < np.quantile(speeds, 0.05) and np.quantile(speeds, 0.95) < high


def test_the_foot_on_the_ground_stands_still():
    gait = motion.Gait("walk", 1.1, 1.0, 15, 20, 2, 0.0, 0.6)
    seconds = np.arange(0, 1.0, 0.01)
    build, speed = Build(), motion.ground_speed(gait, Build())
    joints = motion.stride(gait, build, seconds, np.random.default_rng(0))
    heights = joints[:, [JOINT["left_heel"], JOINT["right_heel"]], 2]
    step = np.diff(joints[:, [JOINT["left_ankle"], JOINT["right_ankle"]], 0], axis=0) / 0.01 + speed
    flat = (heights[1:] < 0.03) & (heights[:-1] < 0.03)
    assert abs(step[flat].mean()) < 0.25 * speed


def test_joggers_and_runners_overlap_in_speed_and_in_knee_lift():
    rng = np.random.default_rng(1)
    gaits = {
        a: [motion.draw_gait(a, Habit.draw(rng), rng) for _ in range(300)]
        for a in ("jogging", "running")
    }
    speeds = {a: [motion.ground_speed(g, Build()) for g in found] for a, found in gaits.items()}
    assert np.quantile(speeds["jogging"], 0.98) > np.quantile(speeds["running"], 0.05)
    lifts = {a: [g.lift * g.amplitude for g in found] for a, found in gaits.items()}
    assert np.median(lifts["jogging"]) < np.median(lifts["running"])


def test_hands_meet_in_clapping_and_go_over_the_head_in_waving():
    rng = np.random.default_rng(2)
    clap = motion.perform("handclapping", Build(), Habit(), rng, seconds=4, heading=0.0)
    apart = bone(clap, "left_wrist", "right_wrist")
    assert apart.min() < 0.15 and apart.max() > 0.5
    wave = motion.perform("handwaving", Build(), Habit(), rng, seconds=6, heading=0.0)
    hands, head = joint(wave, "left_hand")[:, 2], joint(wave, "head")[:, 2]
    assert (hands > head + 0.1).any() and (hands < joint(wave, "left_shoulder")[:, 2] - 0.3).any()


def test_boxers_stretch_their_arms_forward_in_turn():
    box = motion.perform(
        "boxing", Build(), Habit(), np.random.default_rng(4), seconds=8, heading=0.0
    )
    out = [
        joint(box, f"{side}_wrist")[:, 0] - joint(box, f"{side}_shoulder")[:, 0]
        for side, _ in SIDES
    ]
    assert min(o.max() for o in out) > 0.4
    assert np.corrcoef(*out)[0, 1] < 0.3


@pytest.mark.parametrize("action", kth.ACTIONS)
def test_segments_are_as_long_as_in_kth(action):
    lengths = [
        stop - start
        for person in range(1, 26, 2)
        for scenario in kth.SCENARIOS
        for start, stop in shot_of(action, person=person, scenario=scenario).segments
    ]
    assert np.mean(lengths) == pytest.approx(KTH_LENGTHS[action], rel=0.2)


@pytest.mark.parametrize("action", motion.LOCOMOTION)
def test_the_scene_is_empty_between_the_passes(action):
    shot = shot_of(action)
    (_, first_stop), (second_start, _) = shot.segments
    renderer = shot.renderer()
    middle = (first_stop + second_start) // 2
    assert np.array_equal(renderer.frame(middle), renderer.empty(middle))
    inside = sum(shot.segments[0]) // 2
    assert np.abs(renderer.frame(inside).astype(int) - renderer.empty(inside)).max() > 15


@pytest.mark.parametrize("action", motion.LOCOMOTION)
def test_a_crossing_is_annotated_from_before_somebody_enters_and_never_twice(action):
    leads = []
    for seed in range(6):
        shot = shot_of(action, seed=seed)
        columns = shot.scene.camera.project(shot.joints[:, 0])[0][:, 0]
        seen = (
            np.abs(columns - synthetic.WIDTH / 2)
            < synthetic.WIDTH / 2 + 0.2 * shot.scene.camera.scale
        )
        (first, end), (second, stop) = shot.segments
        assert 0 <= first < end <= second < stop <= len(shot)
        enters = int(seen.argmax())
        leads += [
            int(seen[second:stop].argmax()),
            *([enters - first] if first else []),
        ]  # the file may begin too late
        leaves = enters + int((~seen[enters:]).argmax())
        assert abs(end - leaves) <= synthetic.TAIL and first <= enters
    assert (
        synthetic.LEAD[0] <= min(leads) and max(leads) < synthetic.LEAD[1] and len(set(leads)) > 3
    )


@pytest.mark.parametrize("action", sorted(synthetic.SEGMENT_FRAMES))
def test_hand_actions_fill_the_file_and_face_the_right_way(action):
    shot = shot_of(action)
    assert shot.segments[0] == (0, shot.segments[1][0]) and shot.segments[1][1] == len(shot)
    sideways = abs(np.cos(shot.heading[0]))
    assert sideways > 0.8 if action == "boxing" else sideways < 0.5


def test_scenarios_differ_in_what_they_say():
    first, second = shot_of("boxing", scenario=1), shot_of("boxing", scenario=2)
    assert first.scene.zoom is None and np.ptp(second.scene.zoom) > 0.2
    assert shot_of("boxing", scenario=4).scene.light.wall is not None
    usual = synthetic.make_person(0, 1)
    assert shot_of("boxing", scenario=3).scene.parts != render.dress(usual.build, usual.clothes)
    assert shot_of("boxing", scenario=1).scene.parts == render.dress(usual.build, usual.clothes)


def test_persons_differ_and_stay_themselves():
    assert synthetic.make_person(0, 3) == synthetic.make_person(0, 3)
    assert len({synthetic.make_person(0, n).build for n in synthetic.PERSONS}) == 25


def test_a_camera_sees_higher_points_higher_and_farther_ones_smaller():
    camera = render.Camera()
    pixels, scale, _ = camera.project(np.array([[0, 0, 0], [0, 0, 1.0], [0, 5.0, 0]]))
    assert pixels[1, 1] < pixels[0, 1] and scale[2] < scale[0]
    assert pixels[0] == pytest.approx([camera.column, camera.row])


def test_zoom_keeps_the_centre_of_the_image():
    camera = render.Camera(column=80, row=60)
    assert camera.project(np.zeros(3), 0.5)[0] == pytest.approx([80, 60])


def test_noise_free_frames_show_the_body_where_its_joints_are():
    shot = shot_of("handwaving")
    scene = replace(
        shot.scene,
        noise=0.0,
        gain=0.0,
        quality=100,
        blur=0.0,
        background=np.full((120, 160), 255, np.float32),
        light=render.Light(shadow=0.0),
    )
    renderer = render.Renderer(scene, shot.joints, shot.heading, np.random.default_rng(0))
    image = renderer.frame(0)
    x, y = scene.camera.project(shot.joints[0, JOINT["pelvis"]])[0].round().astype(int)
    assert image[y, x] < 250 and image[2, 2] == 255


# the data set on disk


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    root = tmp_path_factory.mktemp("synth")
    return synthetic.render_dataset(
        root,
        persons=(1, 22),
        actions=("running", "boxing"),
        scenarios=(1,),
        progress=False,
        workers=1,
    )


def test_files_carry_kths_names_and_annotations(rendered):
    segments = kth.find_segments(rendered)
    assert {s.video.name for s in segments} == {
        f"person{p:02d}_{a}_d1" for p in (1, 22) for a in ("running", "boxing")
    }
    assert len(segments) == 8 and all(
        0 <= s.start < s.stop <= kth.probe(s.video.path).frames for s in segments
    )
    assert {kth.split_of(s.video.person) for s in segments} == {"validation", "test"}


def test_the_auxiliary_set_is_of_other_persons_who_do_everything_once(tmp_path):
    root = synthetic.render_auxiliary(tmp_path / "auxiliary", persons=2, progress=False, workers=1)
    segments = kth.find_segments(root)
    assert {s.video.person for s in segments} == {101, 102} and len(segments) == 12
    assert {s.video.action for s in segments if s.video.person == 101} == set(kth.ACTIONS)
    assert {s.video.scenario for s in segments} == {1, 2, 3, 4}
    assert synthetic.make_person(0, 101, synthetic.AUXILIARY_SPREAD) != synthetic.make_person(
        0, 101
    )
    before = {path: path.stat().st_mtime_ns for path in root.glob("*/*.avi")}
    # a larger set keeps the smaller one
    synthetic.render_auxiliary(root, persons=3, progress=False, workers=1)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert len(kth.find_segments(root)) == 18
    with pytest.raises(ValueError, match="an auxiliary training set of 0 persons"):
        synthetic.render_auxiliary(tmp_path / "none", persons=0)


def test_videos_are_160_by_120_at_25_frames_a_second(rendered):
    capture = cv2.VideoCapture(str(rendered / "boxing" / "person01_boxing_d1.avi"))
    found = [
        capture.get(p)
        for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
    ]
    assert found == [160, 120, 25]


def test_the_same_seed_gives_the_same_bytes_also_in_two_processes(rendered, tmp_path):
    again = synthetic.render_dataset(
        tmp_path,
        persons=(1, 22),
        actions=("running", "boxing"),
        scenarios=(1,),
        progress=False,
        workers=2,
    )
    for path in sorted(rendered.rglob("*.*")):
        assert path.read_bytes() == (again / path.relative_to(rendered)).read_bytes(), path.name


def test_a_second_run_renders_only_what_is_missing(tmp_path):
    arguments = {
        "persons": (1, 2),
        "actions": ("running",),
        "scenarios": (1,),
        "progress": False,
        "workers": 1,
    }
    synthetic.render_dataset(tmp_path, **arguments)
    kept, lost = sorted(tmp_path.glob("running/*.avi"))
    before, bytes_lost = kept.stat().st_mtime_ns, lost.read_bytes()
    annotations = (tmp_path / "segments.csv").read_text()
    lost.unlink()
    synthetic.render_dataset(tmp_path, **arguments)
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == bytes_lost
    assert (tmp_path / "segments.csv").read_text() == annotations


def test_another_seed_renders_anew(tmp_path):
    arguments = {
        "persons": (1,),
        "actions": ("running",),
        "scenarios": (1,),
        "progress": False,
        "workers": 1,
    }
    synthetic.render_dataset(tmp_path, seed=0, **arguments)
    first = next(tmp_path.glob("running/*.avi")).read_bytes()
    synthetic.render_dataset(tmp_path, seed=1, **arguments)
    assert next(tmp_path.glob("running/*.avi")).read_bytes() != first


def test_the_annotations_come_last_so_that_their_presence_means_a_whole_set(tmp_path):
    arguments = {"persons": (1,), "scenarios": (1,), "progress": False, "workers": 1}
    synthetic.render_dataset(tmp_path, seed=0, actions=("running",), **arguments)
    (tmp_path / "walking").write_text("a file where a folder is to be")
    with pytest.raises(OSError):
        synthetic.render_dataset(tmp_path, seed=1, actions=("running", "walking"), **arguments)
    assert not (tmp_path / "segments.csv").exists() and (tmp_path / "dataset.json").exists()
    assert len(list(tmp_path.glob("running/*.avi"))) == 1
    with pytest.raises(
        ValueError, match=rf"unfinished.*`python har\.py data synth --root {tmp_path}`"
    ):
        kth.find_segments(tmp_path)


def test_defaults_lie_in_the_folder_that_har_home_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HAR_HOME", str(tmp_path))
    arguments = {"persons": (1,), "actions": ("running",), "scenarios": (1,), "workers": 1}
    root = synthetic.render_dataset(progress=False, **arguments)
    assert root == tmp_path / "Data" / "KTH-Synth" and len(kth.find_segments(root)) == 2
    other = synthetic.render_auxiliary(persons=1, workers=1, progress=False)
    assert other == tmp_path / "Data" / "KTH-Synth-Auxiliary" and len(kth.find_segments(other)) == 6


def test_a_video_that_breaks_off_leaves_nothing(tmp_path):
    def frames():
        yield np.zeros((120, 160), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.write_video(tmp_path / "x.avi", frames())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_peoples_videos_is_left_alone(tmp_path):
    (tmp_path / "boxing").mkdir()
    precious = tmp_path / "boxing" / "person01_boxing_d1_uncomp.avi"
    precious.write_bytes(b"RIFF")
    with pytest.raises(ValueError, match="no dataset.json"):
        synthetic.render_dataset(tmp_path, progress=False)
    assert precious.read_bytes() == b"RIFF"


def test_a_folder_that_somebody_named_himself_is_not_emptied(tmp_path):
    (tmp_path / "boxing").mkdir()
    (tmp_path / "boxing" / "person01_boxing_d1.avi").write_bytes(b"RIFF")
    (tmp_path / "dataset.json").write_text('{"name": "mine"}')
    with pytest.raises(ValueError, match=r"no dataset\.json of KTH-Synth.*another folder"):
        synthetic.render_dataset(tmp_path, progress=False)
    assert (tmp_path / "boxing" / "person01_boxing_d1.avi").read_bytes() == b"RIFF"


@pytest.mark.skipif(sys.platform != "linux", reason="names are text on this system")
def test_a_folder_whose_name_is_no_text_is_rendered_into(tmp_path):
    def frames():
        yield np.zeros((120, 160), np.uint8)

    path = tmp_path / os.fsdecode(b"\xff") / "x.avi"
    synthetic.write_video(path, frames())
    assert path.read_bytes().startswith(b"RIFF") and len(list(path.parent.iterdir())) == 1


ONE = {"persons": (1,), "actions": ("running",), "scenarios": (1,), "progress": False, "workers": 1}


def during_the_first_file(monkeypatch, do):
    """Let something happen when the first file is about to be written."""
    write, waiting = synthetic.write_video, [do]

    def write_later(path, frames):
        while waiting:
            waiting.pop()()
        write(path, frames)

    monkeypatch.setattr(synthetic, "write_video", write_later)


def test_two_programs_that_render_one_set_both_succeed(tmp_path, monkeypatch):
    expected = synthetic.render_dataset(tmp_path / "alone", **ONE)
    root = synthetic.render_dataset(tmp_path / "both", seed=1, **ONE)  # both find it in the way
    during_the_first_file(monkeypatch, lambda: synthetic.render_dataset(root, **ONE))
    remove = Path.unlink

    def twice(path, missing_ok=False):
        remove(path, missing_ok)
        remove(path, missing_ok)  # the other was quicker

    monkeypatch.setattr(Path, "unlink", twice)
    synthetic.render_dataset(root, **ONE)
    for path in expected.rglob("*"):
        found = root / path.relative_to(expected)
        assert path.is_dir() or path.read_bytes() == found.read_bytes(), path.name
    assert len(list(root.rglob("*"))) == len(list(expected.rglob("*")))


def test_a_program_that_renders_a_folder_otherwise_stops_the_first(tmp_path, monkeypatch):
    again = synthetic.render_dataset(tmp_path / "alone", seed=1, **ONE)
    root = tmp_path / "both"
    during_the_first_file(monkeypatch, lambda: synthetic.render_dataset(root, seed=1, **ONE))
    with pytest.raises(FileExistsError, match="rendered by another program.*another folder"):
        synthetic.render_dataset(root, **ONE)
    for path in ("running/person01_running_d1.avi", "segments.csv", "dataset.json"):
        assert (root / path).read_bytes() == (again / path).read_bytes()
    assert len(list(root.rglob("*.*"))) == 3


def test_unknown_actions_are_named():
    with pytest.raises(ValueError, match="swimming"):
        synthetic.make_shot(synthetic.make_person(0, 1), "swimming", 1, np.random.default_rng(0))


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError):
        synthetic.write_video(blocked / "x.avi", [])


def test_who_is_in_the_image_is_known_without_drawing(rendered):
    """Where less than half of somebody is in the image, most frames show the empty field."""
    for video in kth.find_videos(rendered):
        there = synthetic.visible(rendered, video)
        frames = read_frames(video.path, range(kth.probe(video.path).frames))
        assert there.shape == (len(frames),)
        if video.action in motion.LOCOMOTION:
            background = np.median(frames[~there], axis=0)
            moved = np.abs(frames - background).max((1, 2))
            assert np.median(moved[~there]) < 20 < 60 < moved[there].min()
        else:
            assert there.all()


def test_a_file_that_names_nobody_is_no_file_of_the_grid(rendered):
    nobody = replace(kth.find_videos(rendered)[0], person=None)
    with pytest.raises(ValueError, match="does not name its person, action and scenario"):
        synthetic.visible(rendered, nobody)


def test_a_disk_that_is_full_ends_the_rendering_and_leaves_no_half_file(tmp_path):
    """OpenCV's writer says nothing of it; here a file may not grow beyond a limit."""
    resource = pytest.importorskip("resource")  # not on Windows
    frames = np.random.default_rng(0).integers(0, 255, (60, render.HEIGHT, render.WIDTH), np.uint8)
    synthetic.write_video(tmp_path / "a.avi", frames)
    whole = (tmp_path / "a.avi").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (whole // 2, whole - 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OSError, match=r"b\.avi: its 60 frames could not all be written"):
                synthetic.write_video(tmp_path / "b.avi", frames)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert os.listdir(tmp_path) == ["a.avi"]
