"""KTH's facts as invariants (counts, exceptions, splits) and every way in which files can be
wrong."""

import os
import pickle
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import kth
from data.annotations import write_segments

REAL_CLIPS = Path(
    os.environ.get("HAR_REAL_CLIPS", Path(__file__).parents[2] / "shared" / "kth_clips")
)
TABLE = kth.load_segments()
FOURCC = {".avi": "MJPG", ".mp4": "mp4v", ".mov": "mp4v", ".mkv": "MJPG", ".webm": "VP80"}


def make_video(path, frames=12, size=(32, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*FOURCC[path.suffix]), kth.FPS, size)
    assert writer.isOpened()
    for n in range(frames):
        writer.write(np.full((size[1], size[0], 3), (7 * n) % 256, np.uint8))
    writer.release()
    return path


def video_of(name):
    return kth.parse_name(f"{name}_uncomp.avi")


def all_segments():
    return [
        kth.Segment(video_of(name), n, *span)
        for name, ranges in TABLE.items()
        for n, span in enumerate(ranges)
    ]


# the facts


def test_counts_of_the_whole_table():
    assert len(TABLE) == 599
    assert sum(map(len, TABLE.values())) == 2391
    every = {
        f"person{p:02d}_{a}_d{d}" for p in range(1, 26) for a in kth.ACTIONS for d in kth.SCENARIOS
    }
    assert every - set(TABLE) == {kth.MISSING}
    assert not set(TABLE) - every


@pytest.mark.parametrize(
    ("split", "videos", "per_action"),
    [
        ("train", 191, (126, 124, 126, 128, 128, 128)),
        ("validation", 192, (128, 128, 128, 128, 128, 128)),
        ("test", 216, (143, 144, 144, 144, 144, 144)),
        ("all", 599, (397, 396, 398, 400, 400, 400)),
    ],
)
def test_counts_of_the_official_split(split, videos, per_action):
    chosen = kth.select(all_segments(), split)
    assert len({segment.video for segment in chosen}) == videos
    assert Counter(segment.label for segment in chosen) == dict(enumerate(per_action))


def test_persons_of_the_splits_are_disjoint_and_complete():
    persons = [person for split in kth.SPLITS.values() for person in split]
    assert sorted(persons) == list(range(1, 26))
    assert [len(kth.SPLITS[split]) for split in ("train", "validation", "test")] == [8, 8, 9]


def test_videos_with_three_ranges():
    assert {name for name, ranges in TABLE.items() if len(ranges) == 3} == {
        "person11_boxing_d4",
        "person13_handwaving_d3",
        "person14_handwaving_d3",
        "person15_boxing_d4",
        "person22_boxing_d1",
    }
    assert {len(ranges) for ranges in TABLE.values()} == {3, 4}


def test_ranges_that_overlap_or_run_backwards_are_kept_as_annotated():
    neighbours = {
        name: list(zip(ranges, ranges[1:], strict=False)) for name, ranges in TABLE.items()
    }
    backwards = {name for name, pairs in neighbours.items() if any(b[0] < a[0] for a, b in pairs)}
    overlapping = {
        name for name, pairs in neighbours.items() if any(a[0] <= b[0] < a[1] for a, b in pairs)
    }
    assert backwards == {"person07_jogging_d4", "person07_running_d4"}
    assert overlapping == {
        "person03_walking_d4",
        "person12_handclapping_d4",
        "person15_handclapping_d2",
        "person16_handwaving_d4",
        "person17_boxing_d1",
        "person21_boxing_d2",
        "person21_handclapping_d1",
    }
    assert TABLE["person07_jogging_d4"][1:3] == ((269, 332), (193, 264))


def test_lengths_and_frames():
    lengths = {
        (name, n): stop - start
        for name, ranges in TABLE.items()
        for n, (start, stop) in enumerate(ranges, 1)
    }
    assert min(lengths.items(), key=lambda item: item[1]) == (("person10_handclapping_d1", 4), 24)
    assert max(lengths.items(), key=lambda item: item[1]) == (("person12_boxing_d2", 4), 362)
    assert sum(lengths.values()) == 227_637
    assert sum(max(stop for _, stop in ranges) for ranges in TABLE.values()) == 289_157
    assert sum(length < 32 for length in lengths.values()) == 21
    means = {
        a: np.mean([n for (name, _), n in lengths.items() if f"_{a}_" in name]).round(1)
        for a in kth.ACTIONS
    }
    assert list(means.values()) == [110.1, 106.2, 129.0, 68.0, 48.9, 109.3]


def test_middle_of_the_whole_file_is_mostly_outside_for_walkers():
    def outside(action):
        names = [name for name in TABLE if f"_{action}_" in name]
        middles = {name: (max(stop for _, stop in TABLE[name]) - 1) // 2 for name in names}
        return sum(not any(a <= middles[name] < b for a, b in TABLE[name]) for name in names)

    assert [outside(action) for action in ("running", "jogging", "walking")] == [94, 84, 78]
    assert max(outside(action) for action in ("boxing", "handclapping", "handwaving")) <= 5


# names


def test_name_tells_everything():
    video = kth.parse_name("somewhere/person07_handwaving_d3_uncomp.avi")
    assert (video.action, video.person, video.scenario) == ("handwaving", 7, 3)
    assert (video.name, video.label, video.group) == ("person07_handwaving_d3", 2, "person07")
    assert kth.Segment(video, 1, 5, 25).name == "person07_handwaving_d3#2"
    assert len(kth.Segment(video, 1, 5, 25)) == 20


def test_name_without_person_takes_the_folder_and_is_its_own_group():
    video = kth.parse_name("root/walking/holiday.mp4")
    assert (video.action, video.person, video.scenario) == ("walking", None, None)
    assert video.group == "root/walking/holiday.mp4"


@pytest.mark.parametrize(
    ("path", "word"), [("boxing/person01_jumping_d1.avi", "jumping"), ("cats/a.avi", "cats")]
)
def test_unknown_action_is_named(path, word):
    with pytest.raises(ValueError, match=f"unknown action '{word}'.*boxing, handclapping"):
        kth.parse_name(path)


def test_what_follows_a_person_need_not_be_an_action():
    video = kth.parse_name("mine/boxing/person04_morning.mp4")
    assert (video.action, video.person, video.scenario) == ("boxing", 4, None)


def test_video_without_action_has_no_label():
    with pytest.raises(ValueError, match=r"clip\.avi: no action is known"):
        _ = kth.Video(Path("clip.avi"), None, None, None).label


@given(
    st.integers(1, 99),
    st.sampled_from(kth.ACTIONS),
    st.integers(1, 4),
    st.sampled_from(["", "_uncomp"]),
    st.sampled_from([".avi", ".mp4", ".AVI"]),
)
def test_any_kth_name_is_read_back(person, action, scenario, tail, suffix):
    name = f"person{person:02d}_{action}_d{scenario}"
    video = kth.parse_name(Path("root") / "boxing" / f"{name}{tail}{suffix}")
    assert (video.name, video.action, video.person, video.scenario) == (
        name,
        action,
        person,
        scenario,
    )
    assert kth.ACTIONS[video.label] == action
    assert pickle.loads(pickle.dumps(video)) == video


# finding


def test_both_layouts_are_found_sorted(tmp_path, recwarn):
    names = [
        "boxing/person01_boxing_d2_uncomp.avi",
        "test/walking/person02_walking_d1_uncomp.mp4",
        "train/jogging/person11_jogging_d1.avi",
        "validation/running/person04_running_d1.avi",
    ]
    for name in reversed(names):
        make_video(tmp_path / name, frames=3)
    (tmp_path / "notes").mkdir()
    (tmp_path / "boxing" / "readme.txt").write_text("not a video")
    (tmp_path / "boxing" / "._person01_boxing_d2_uncomp.avi").write_bytes(b"shadow")
    found = kth.find_videos(tmp_path)
    assert [video.path.relative_to(tmp_path).as_posix() for video in found] == names
    (warning,) = recwarn.list
    assert "1 files in class folders" in str(warning.message)


@pytest.mark.parametrize("make", [False, True])
def test_no_videos_names_folder_and_remedy(tmp_path, make):
    root = tmp_path / "KTH"
    if make:
        (root / "boxing").mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as caught:
        kth.find_videos(root)
    assert f"no videos under {root}" in str(caught.value)
    assert "python har.py data synth" in str(caught.value)
    assert "python har.py data kth" in str(caught.value)


def test_class_folder_without_videos_is_named(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi")
    (tmp_path / "walking").mkdir()
    with pytest.warns(UserWarning, match="class folders without videos: .*walking"):
        assert len(kth.find_videos(tmp_path)) == 1


def test_folder_of_videos_that_is_no_action_stops_within_kth(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi")
    make_video(tmp_path / "train" / "juggling" / "clip.avi")
    with pytest.raises(ValueError, match="'juggling' is an unknown action.*rename"):
        kth.find_videos(tmp_path)


def test_unusable_files_are_skipped_with_one_message_that_names_each(tmp_path):
    good = make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=30)
    (tmp_path / "boxing" / "person01_boxing_d2.avi").touch()
    (tmp_path / "boxing" / "person01_boxing_d3.avi").write_bytes(good.read_bytes()[:90])
    (tmp_path / "boxing" / "person02_boxing_d1.avi").write_text("words " * 50)
    said = []
    assert [video.path for video in kth.find_videos(tmp_path, report=said.append)] == [good]
    (message,) = said
    assert message.startswith("3 of 4 files cannot be used")
    for name, why in (
        ("person01_boxing_d2", "empty"),
        ("person01_boxing_d3", "no video that can be opened"),
        ("person02", "a text file, not a video"),
    ):
        assert name in message
        assert why in message


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "boxing").mkdir()
    (tmp_path / "boxing" / "person01_boxing_d1.avi").touch()
    with (
        pytest.warns(UserWarning, match="1 of 1 files cannot be used"),
        pytest.raises(FileNotFoundError, match="none of the 1 videos"),
    ):
        kth.find_videos(tmp_path)


def test_files_without_person_are_counted_once(tmp_path):
    for frames, name in enumerate(("person01_boxing_d1.avi", "spar.avi", "gym.avi"), 12):
        make_video(tmp_path / "boxing" / name, frames)
    said = []
    videos = kth.find_videos(tmp_path, report=said.append)
    groups = {(tmp_path / "boxing" / name).as_posix() for name in ("gym.avi", "spar.avi")}
    assert {video.group for video in videos} == {"person01", *groups}
    assert len(said) == 1
    assert said[0].startswith("2 of 3 files")


def test_one_clip_found_twice_counts_once(tmp_path):
    first = make_video(tmp_path / "boxing" / "person01_boxing_d1.mp4")
    second = make_video(tmp_path / "train" / "boxing" / "person01_boxing_d1_uncomp.avi")
    with pytest.warns(
        UserWarning, match=f"1 files repeat a name or a content.*{second.name}.*kept.*{first.name}"
    ):
        assert [video.path for video in kth.find_videos(tmp_path)] == [first]


@pytest.mark.parametrize("copy", [" (1)", " - Copy", " - Copy (2)", " copy", " - Kopie", "(1)"])
def test_a_copy_is_no_clip_of_its_own(tmp_path, copy):
    first = make_video(tmp_path / "boxing" / "person01_boxing_d1_uncomp.avi")
    other = make_video(tmp_path / "boxing" / f"person01_boxing_d1_uncomp{copy}.avi")
    said = []
    assert [v.path for v in kth.find_videos(tmp_path, report=said.append)] == [first]
    assert len(said) == 1 and f"{other} (kept: {first})" in said[0]
    first.unlink()
    (alone,) = kth.find_videos(tmp_path)
    assert (alone.path, alone.name) == (other, "person01_boxing_d1")
    first.write_bytes(other.read_bytes()[:200])
    with pytest.warns(UserWarning, match="1 of 2 files cannot be used"):
        assert [video.path for video in kth.find_videos(tmp_path)] == [other]


@pytest.mark.parametrize("name", ["{}_copy", "Copy of {}", "{}~1", "{}.avi", "{}-2"])
def test_a_copy_of_any_name_is_known_by_its_content(tmp_path, name):
    first = make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=9)
    other = tmp_path / "boxing" / f"{name.format(first.stem)}.avi"
    other.write_bytes(first.read_bytes())
    said = []
    assert [v.path for v in kth.find_videos(tmp_path, report=said.append)] == [first]
    assert said == [f"1 files repeat a name or a content and are skipped: {other} (kept: {first})"]
    make_video(other, frames=8)
    assert len(kth.find_videos(tmp_path, report=said.append)) == 2


def test_kth_names_of_one_content_are_clips_of_their_own(tmp_path):
    for name in ("person01_boxing_d1.avi", "person02_boxing_d1.avi"):
        make_video(tmp_path / "boxing" / name)
    assert len(kth.find_videos(tmp_path)) == 2


def test_a_name_that_its_folder_contradicts_is_reported(tmp_path):
    make_video(tmp_path / "WALKING" / "person01_walking_d1.avi")
    make_video(tmp_path / "WALKING" / "person01_boxing_d1.avi")
    said = []
    found = kth.find_videos(tmp_path, report=said.append)
    assert [video.action for video in found] == ["boxing", "walking"]
    assert said == [
        "1 files lie in another action's folder; their names count: WALKING/person01_boxing_d1.avi"
    ]


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_to_nowhere_and_pipes_are_refused_by_name(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi")
    link, pipe = (tmp_path / "boxing" / f"person0{n}_boxing_d1.avi" for n in (2, 3))
    link.symlink_to("gone.avi")
    os.mkfifo(pipe)
    said = []
    assert len(kth.find_videos(tmp_path, report=said.append)) == 1
    (one,) = said
    assert f"{link}: cannot be opened (No such file" in one
    assert f"{pipe}: a folder or a device, no file" in one


def test_of_files_without_a_person_those_of_one_content_count_once(tmp_path):
    first, second = (make_video(tmp_path / "boxing" / f"clip ({n}).avi", 8 + n) for n in (1, 2))
    copy = tmp_path / "walking" / "clip - Copy.avi"
    copy.parent.mkdir()
    copy.write_bytes(first.read_bytes())
    said = []
    found = kth.find_videos(tmp_path, report=said.append)
    assert [video.path for video in found] == [first, second]
    assert said[0].startswith("1 files repeat") and f"{copy} (kept: {first})" in said[0]


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".webm"])
def test_other_containers_are_read_or_refused_by_name(tmp_path, suffix):
    good = make_video(tmp_path / "boxing" / f"person01_boxing_d1{suffix}")
    bad = tmp_path / "boxing" / f"person02_boxing_d1{suffix.upper()}"
    bad.write_bytes(b"no video at all" * 99)
    with pytest.warns(UserWarning, match=f"1 of 2 files cannot be used.*{bad.name}"):
        assert [video.path for video in kth.find_videos(tmp_path)] == [good]


def test_whatever_else_is_there_is_counted_or_named(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi")
    for name in ("boxing/a.txt", "boxing/b.TXT", "boxing/notes", "boxing/.DS_Store"):
        (tmp_path / name).touch()
    for name in ("boxing/day1/person02_boxing_d1.avi", "person03_boxing_d1.avi", ".x/a.avi"):
        make_video(tmp_path / name)
    said = []
    assert len(kth.find_videos(tmp_path, report=said.append)) == 1
    assert said == [
        f"3 files in class folders of {tmp_path} are not videos (.txt, no suffix)",
        f"2 videos under {tmp_path} are not read, for they are in no folder <action>/ or "
        f"<split>/<action>/: {Path('boxing/day1/person02_boxing_d1.avi')}, person03_boxing_d1.avi",
    ]


# segments


@pytest.mark.parametrize("name", ["PERSON03_WALKING_D1.AVI", "person3_Walking_d1_UNCOMP.avi"])
def test_ranges_are_found_however_a_name_is_spelled(tmp_path, name):
    lower = make_video(tmp_path / "walking" / name.lower(), frames=20)
    lower.rename(lower.with_name(name))
    write_segments(tmp_path / "segments.csv", {"person03_walking_d1": [(2, 9), (9, 20)]})
    (first, second) = kth.find_segments(tmp_path)
    assert (first.name, first.start, first.stop) == ("person03_walking_d1#1", 2, 9)
    assert (second.start, second.stop) == (9, 20)


@pytest.mark.parametrize(
    "name",
    [
        "person03_walking_d1.avi",
        "walking/person03_walking_d1",
        "walking/person03_walking_d1.avi",
        "walking\\person03_walking_d1.avi",
    ],
)
def test_a_table_may_name_files_with_folder_and_suffix(tmp_path, name):
    make_video(tmp_path / "walking" / "person03_walking_d1.avi", frames=20)
    write_segments(tmp_path / "segments.csv", {name: [(2, 9)]})
    (segment,) = kth.find_segments(tmp_path)
    assert (segment.name, segment.start, segment.stop) == ("person03_walking_d1#1", 2, 9)


def test_rows_of_a_table_that_name_no_video_are_reported(tmp_path):
    make_video(tmp_path / "walking" / "person03_walking_d1.avi", frames=20)
    own = tmp_path / "segments.csv"
    write_segments(own, {"person03_walkng_d1": [(2, 9)]})
    said = []
    (segment,) = kth.find_segments(tmp_path, report=said.append)
    assert (segment.start, segment.stop) == (0, 20)
    assert said == [
        f"1 of 1 videos are not in {own} and are one segment each: walking/person03_walking_d1.avi",
        f"1 names in {own} are those of no video here: person03_walkng_d1",
    ]


def test_ranges_of_numbered_files_need_their_folder(tmp_path):
    for frames, action in enumerate(("boxing", "walking"), 8):
        make_video(tmp_path / action / "001.avi", frames)
    write_segments(tmp_path / "segments.csv", {"001": [(0, 4)]})
    with pytest.raises(ValueError, match="001 may be any of boxing/001, walking/001"):
        kth.find_segments(tmp_path, report=lambda said: None)
    ranges = {"boxing/001": [(0, 4)], "walking/001": [(1, 3)]}
    write_segments(tmp_path / "segments.csv", ranges)
    found = kth.find_segments(tmp_path, report=lambda said: None)
    assert [(s.start, s.stop) for s in found] == [(0, 4), (1, 3)]


def test_segments_of_a_kth_file_and_of_an_unknown_one(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1_uncomp.avi", frames=360)
    make_video(tmp_path / "boxing" / "person26_boxing_d1.avi", frames=21)
    with pytest.warns(UserWarning, match=r"1 of 2 videos .* one segment each: boxing/person26"):
        segments = kth.find_segments(tmp_path)
    assert [(s.name, s.start, s.stop) for s in segments] == [
        ("person01_boxing_d1#1", 0, 95),
        ("person01_boxing_d1#2", 95, 185),
        ("person01_boxing_d1#3", 185, 245),
        ("person01_boxing_d1#4", 245, 360),
        ("person26_boxing_d1#1", 0, 21),
    ]
    assert [len(s) for s in kth.find_segments(tmp_path, whole_files=True)] == [360, 21]


def test_own_table_replaces_kths(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=20)
    make_video(tmp_path / "boxing" / "person01_boxing_d2.avi", frames=9)
    write_segments(tmp_path / "segments.csv", {"person01_boxing_d1": [(8, 20), (0, 5)]})
    with pytest.warns(UserWarning, match="1 of 2 videos are not in .* boxing/person01_boxing_d2"):
        segments = kth.find_segments(tmp_path)
    assert [(s.index, s.start, s.stop) for s in segments] == [
        (0, 8, 20),
        (1, 0, 5),
        (0, 0, 9),
    ]


def test_a_segment_ends_with_its_file(tmp_path):
    """One frame too few costs this frame, and not the folder."""
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=244)
    make_video(tmp_path / "boxing" / "person01_boxing_d2.avi", frames=9)
    table = {"person01_boxing_d1": [(0, 95), (185, 245)], "person01_boxing_d2": [(0, 9)]}
    write_segments(tmp_path / "segments.csv", table)
    said = []
    segments = kth.find_segments(tmp_path, report=said.append)
    assert [(s.name, s.start, s.stop) for s in segments] == [
        ("person01_boxing_d1#1", 0, 95),
        ("person01_boxing_d1#2", 185, 244),
        ("person01_boxing_d2#1", 0, 9),
    ]
    assert said == [
        "1 segments end beyond their files and are used as far as frames decode: "
        "person01_boxing_d1#2 is 185..245 of 244"
    ]


def test_of_a_file_that_is_cut_off_the_segments_before_the_cut_are_used(tmp_path):
    path = make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=30)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"idx1") * 3 // 4])
    table = {"person01_boxing_d1": [(0, 9), (9, 29), (29, 30)] * 3}
    write_segments(tmp_path / "segments.csv", table)
    said = []
    segments = kth.find_segments(tmp_path, report=said.append)
    frames = kth.probe(path).frames
    assert 9 < frames < 29
    assert [(s.index, s.start, s.stop) for s in segments] == [
        (place, *ends)
        for first in (0, 3, 6)
        for place, ends in ((first, (0, 9)), (first + 1, (9, frames)))
    ]
    assert said[0].startswith("1 of 1 files are damaged") and len(said) == 2
    assert said[1].startswith("6 segments end beyond") and said[1].endswith(" and 1 more")


def test_a_table_that_is_of_other_files_is_refused(tmp_path):
    """Such as KTH's own with a file of another length that bears one of its names."""
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=200)
    make_video(tmp_path / "boxing" / "person01_boxing_d2.avi", frames=390)
    with pytest.raises(
        kth.VideoError,
        match=r"d1\.avi: segment person01_boxing_d1#3 is frames 185\.\.245, .* has 200; give the",
    ):
        kth.find_segments(tmp_path)
    assert len(kth.find_segments(tmp_path, whole_files=True)) == 2


@pytest.mark.parametrize("frames", [200, 372, 900])
def test_kths_table_is_not_laid_over_somebody_elses_files(tmp_path, frames):
    """Their names are KTH's, their lengths are not."""
    for name in ("person02_boxing_d1.mp4", "person02_boxing_d2.mp4"):
        make_video(tmp_path / "boxing" / name, frames=frames)
    said = []
    segments = kth.find_segments(tmp_path, report=said.append)
    assert [(s.start, s.stop) for s in segments] == [(0, frames)] * 2
    (message,) = said
    assert message.startswith("2 files have names of KTH's and not its lengths; they are not KTH's")


def test_within_kth_a_file_far_too_long_is_one_segment(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=360)
    make_video(tmp_path / "boxing" / "person02_boxing_d1.avi", frames=900)
    said = []
    segments = kth.find_segments(tmp_path, report=said.append)
    assert [s.stop for s in segments] == [95, 185, 245, 360, 900]
    assert said == [
        "1 files are far longer than KTH's of that name, and are one segment each: "
        "boxing/person02_boxing_d1.avi"
    ]


def test_files_that_are_damaged_are_used_and_named(tmp_path):
    whole = make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=30)
    cut = make_video(tmp_path / "boxing" / "person01_boxing_d2.avi", frames=30)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    said = []
    assert [v.path for v in kth.find_videos(tmp_path, report=said.append)] == [whole, cut]
    (message,) = said
    assert message.startswith("1 of 2 files are damaged and used as far as they decode: ")
    assert f"{cut}: " in message and "of the 30 frames that its header promises" in message


@pytest.mark.parametrize("frames", [304, 305, 370])
def test_the_file_that_was_published_cut_off_is_clamped(tmp_path, frames):
    path = make_video(tmp_path / "boxing" / "person01_boxing_d4_uncomp.avi", frames=frames)
    content = path.read_bytes()
    path.write_bytes(
        content[:-100] if frames == 370 else content
    )  # as published: less than the header says
    said = []
    segments = kth.find_segments(tmp_path, report=said.append)
    assert [(s.start, s.stop) for s in segments] == [(0, 106), (106, 170), (170, 245), (245, 304)]
    assert len(said) == 1
    assert "person01_boxing_d4#4 is 245..370 of 304" in said[0]
    assert [video.path for video in kth.find_videos(tmp_path)] == [path]
    assert [s.stop for s in kth.find_segments(tmp_path, whole_files=True)] == [304]


def test_another_data_set_may_have_a_whole_file_of_that_name(tmp_path, recwarn):
    make_video(tmp_path / "boxing" / "person01_boxing_d4.avi", frames=330)
    write_segments(tmp_path / "segments.csv", {"person01_boxing_d4": [(0, 320)]})
    assert [s.stop for s in kth.find_segments(tmp_path)] == [320]
    assert [s.stop for s in kth.find_segments(tmp_path, whole_files=True)] == [330]
    assert not recwarn.list


def test_a_rendering_that_is_not_finished_is_refused(tmp_path):
    make_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames=400)
    (tmp_path / "dataset.json").write_text("{}")
    for whole_files in (False, True):
        with pytest.raises(
            ValueError, match=rf"unfinished.*`python har\.py data synth --root {tmp_path}`"
        ):
            kth.find_segments(tmp_path, whole_files=whole_files)


spans = st.tuples(st.integers(0, 500), st.integers(1, 200)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)
names = st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True)


@given(table=st.dictionaries(names, st.lists(spans, min_size=1, max_size=4).map(tuple), max_size=5))
def test_segment_tables_survive_a_round_trip(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("table") / "segments.csv"
    write_segments(path, table)
    assert list(kth.load_segments(path).items()) == list(table.items())
    assert [p.name for p in path.parent.iterdir()] == ["segments.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header is ''"),
        ("file,start,stop\n", "header is 'file,start,stop'"),
        ("video,segment,start,stop\na,1,0\n", "line 2: 'a,1,0' is not"),
        ("video,segment,start,stop\na,1,0,5,9\n", "line 2: 'a,1,0,5,9' is not"),
        ("video,segment,start,stop\na,1,0,x\n", "line 2: 'a,1,0,x' is not"),
        (
            "video,segment,start,stop\na,1,0,5\na,3,5,9\n",
            "line 3: segment 3 of a .* wanted segment 2",
        ),
        ("video,segment,start,stop\na,1,5,5\n", "line 2: .*5..5"),
        ("video,segment,start,stop\na,1,-1,5\n", "line 2: .*-1..5"),
    ],
)
def test_wrong_segment_table_names_the_line(tmp_path, text, message):
    path = tmp_path / "segments.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        kth.load_segments(path)


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path):
    rows = ("video,segment,start,stop", "a,1,0,5", "a,2,5,9", ",,,", "b,1,3,4,,")
    path = tmp_path / "segments.csv"
    for mark in ",;\t":
        text = "\r\n".join(rows).replace(",", mark) + "\r\n"
        path.write_bytes(text.encode("utf-8-sig"))
        assert kth.load_segments(path) == {"a": ((0, 5), (5, 9)), "b": ((3, 4),)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("video,segment,start,stop\nä,1,0,5\n".encode("cp1252"), 'UTF-8.*"CSV UTF-8"'),
        ("video,segment,start,stop\n".encode("utf-16"), "is not text in UTF-8"),
        (b"video,segment,start,stop\n" + b"a" * 200_000 + b",1,0,5\n", "line 2: field larger"),
    ],
)
def test_a_table_that_is_no_text_names_the_remedy(tmp_path, content, message):
    path = tmp_path / "segments.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        kth.load_segments(path)


# splits


def test_person_outside_every_split():
    assert [kth.split_of(person) for person in (11, 4, 22)] == ["train", "validation", "test"]
    strangers = [video_of(f"person{n}_boxing_d1") for n in (31, 26, 31)]
    with pytest.raises(ValueError, match=r"person 26, 31 is in no split.*crossval NAME --folds K"):
        kth.select([kth.Segment(video, 0, 0, 9) for video in strangers], "test")
    with pytest.raises(ValueError, match=r"person 26 is in no split.*evaluate RUN --split all"):
        kth.split_of(26)
    assert len(kth.select([kth.Segment(video_of("person26_boxing_d1"), 0, 0, 9)], "all")) == 1


def test_segment_without_person_is_in_no_official_split():
    segment = kth.Segment(kth.parse_name("boxing/spar.avi"), 0, 0, 9)
    assert [kth.select([segment], split) for split in (*kth.SPLITS, "all")] == [
        [],
        [],
        [],
        [segment],
    ]


def test_unknown_split():
    with pytest.raises(
        ValueError, match="unknown split 'dev'; there are train, validation, test and all"
    ):
        kth.select([], "dev")


@given(st.lists(st.sampled_from(sorted(TABLE)), max_size=30))
def test_official_splits_part_any_selection(names):
    segments = [kth.Segment(video_of(name), 0, *TABLE[name][0]) for name in names]
    splits = {split: kth.select(segments, split) for split in kth.SPLITS}
    assert sorted(sum(splits.values(), [])) == sorted(segments)
    kth.check_disjoint(splits)


@pytest.fixture(scope="module")
def sixteen_files(tmp_path_factory):
    """Persons of all splits, four files each, two segments a file; a data set of its own."""
    root = tmp_path_factory.mktemp("sixteen")
    files = [f"person{p:02d}_boxing_d{d}" for p in (11, 12, 19, 22) for d in kth.SCENARIOS]
    for name in files:
        make_video(root / "boxing" / f"{name}.avi")
    write_segments(root / "segments.csv", dict.fromkeys(files, ((0, 6), (6, 12))))
    return root


def names_by_split(splits):
    return {split: [segment.name for segment in found] for split, found in splits.items()}


def test_segments_are_sorted_into_the_official_splits(sixteen_files):
    splits = kth.load_splits(sixteen_files)
    assert list(splits) == list(kth.SPLITS)
    assert {split: len(found) for split, found in splits.items()} == {
        "train": 16,
        "validation": 8,
        "test": 8,
    }
    assert {segment.video.person for segment in splits["test"]} == {22}
    whole = kth.load_splits(sixteen_files, whole_files=True)
    assert [len(found) for found in whole.values()] == [8, 4, 4]
    assert {(segment.start, segment.stop) for segment in whole["train"]} == {(0, 12)}


def test_kth_in_its_two_folders_keeps_the_official_split(tmp_path):
    """As `har.py data kth` lays it out: who validates lies under train."""
    for part, person in (("train", 11), ("train", 19), ("test", 22)):
        name = f"person{person}_boxing_d1"
        make_video(tmp_path / part / "boxing" / f"{name}.avi", frames=9 + person)
    splits = kth.load_splits(tmp_path, whole_files=True)
    assert {split: [s.video.person for s in found] for split, found in splits.items()} == {
        "train": [11],
        "validation": [19],
        "test": [22],
    }


def test_a_fast_run_takes_one_scenario_of_every_person(sixteen_files):
    wanted = {
        "train": ["person11_boxing_d1#1", "person12_boxing_d1#1"],
        "validation": ["person19_boxing_d1#1"],
        "test": ["person22_boxing_d1#1"],
    }
    assert names_by_split(kth.load_splits(sixteen_files, fast=True)) == wanted
    assert names_by_split(kth.load_splits(sixteen_files, whole_files=True, fast=True)) == wanted


def test_a_split_without_persons_is_named(tmp_path):
    make_video(tmp_path / "boxing" / "person11_boxing_d1.avi", frames=400)
    with pytest.raises(ValueError, match=r"no segments for validation, test under .*all three"):
        kth.load_splits(tmp_path, whole_files=True)


def test_person_in_two_splits_is_named():
    first, other = (
        kth.Segment(video_of(name), 0, 0, 9)
        for name in ("person07_boxing_d1", "person08_boxing_d1")
    )
    again = kth.Segment(video_of("person07_walking_d2"), 0, 0, 9)
    with pytest.raises(ValueError, match=r"person07 \(train, test\)") as caught:
        kth.check_disjoint({"train": [first, other], "test": [again]})
    assert "person08" not in str(caught.value)


def test_file_without_person_in_two_splits_is_named():
    segment = kth.Segment(kth.parse_name("boxing/spar.avi"), 0, 0, 9)
    with pytest.raises(ValueError, match=r"spar\.avi \(train, validation\)"):
        kth.check_disjoint({"train": [segment], "validation": [segment]})


def test_numbered_files_without_a_person_are_not_one_another():
    files = ("boxing/001.avi", "walking/001.avi", "train/boxing/001.avi", "test/boxing/001.avi")
    videos = [kth.parse_name(f"KTH/{file}") for file in files]
    assert [video.place for video in videos] == list(files)
    segments = [kth.Segment(video, 0, 0, 9) for video in videos]
    kth.check_disjoint({"train": segments[::2], "test": segments[1::2]})
    with pytest.raises(ValueError, match=r"KTH/walking/001\.avi \(train, test\)"):
        kth.check_disjoint({"train": segments[:2], "test": segments[1:]})


# data sets


def test_a_data_set_is_called_what_its_card_says_and_has_a_card_when_it_is_rendered(tmp_path):
    assert kth.dataset_name(tmp_path) == tmp_path.name and kth.is_real(tmp_path)
    for content in ("no card", "{}"):
        (tmp_path / "dataset.json").write_text(content)
        assert kth.dataset_name(tmp_path) == tmp_path.name and not kth.is_real(tmp_path)
    (tmp_path / "dataset.json").write_text('{"name": "KTH-Synth"}')
    assert kth.dataset_name(tmp_path) == "KTH-Synth"


def test_a_data_set_here_has_the_name_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert kth.dataset_name(".") == tmp_path.name
    assert kth.dataset_name("Daten\udcff") == "Daten\\udcff"  # results are UTF-8


# the real thing


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="no real KTH clips (HAR_REAL_CLIPS)")
def test_real_clips(recwarn):
    segments = kth.find_segments(REAL_CLIPS)
    assert len({segment.video for segment in segments}) == 13
    assert len(segments) == 52
    assert {segment.video.person for segment in segments} == {1, 2, 3, 4}
    assert all(TABLE[s.video.name][s.index] == (s.start, s.stop) for s in segments)
    assert not recwarn.list
