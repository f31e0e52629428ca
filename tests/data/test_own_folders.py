"""Somebody's own folder: its classes are its folders, its persons are told, its split is dealt."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import dealing, kth
from data.dealing import deal, hands_of
from data.items import PARTS, Segment, Video, classes_of, labelled
from data.persons import with_persons
from data.survey import survey

QUIET = {"report": lambda said: None}
CLASSES = ("Hände klatschen", "kick", "stand up")


def own(make, root, *, files=4, classes=CLASSES, name="{n}.avi", part=""):
    """A folder of tiny videos, each of its own grey."""
    for place, label in enumerate(classes):
        for n in range(files):
            grey = np.full((4, 24, 32), 9 * place + 40 * n + 5 * len(part), np.uint8)
            make(root / part / label / name.format(n=n, c=place), grey)
    return root


@pytest.fixture
def mine(tmp_path, write_video):
    return own(write_video, tmp_path / "my videos")


def clip(path, action, classes, person=None):
    return Segment(Video(Path(path), action, person, None, classes=tuple(classes)), 0, 0, 1)


def videos(persons, classes=("a", "b"), each=1):
    """Segments of one-frame videos of persons, or None for files without."""
    return [
        clip(f"{c}/{w}{n}.avi", c, classes, w)
        for c in classes
        for w in persons
        for n in range(each)
    ]


def test_folders_are_classes_whatever_they_are_called(mine):
    found = kth.find_segments(mine, **QUIET)
    assert classes_of(found) == CLASSES and len(found) == 12
    assert [(s.label, s.start, s.stop) for s in found[::4]] == [(0, 0, 4), (1, 0, 4), (2, 0, 4)]
    assert {s.video.person for s in found} == {None}


def test_accents_of_two_spellings_are_one_class(tmp_path, write_video):
    for n, label in enumerate(("caf\u00e9", "cafe\u0301", "tea")):
        write_video(tmp_path / label / f"{n}.avi", np.full((3, 24, 32), 40 * n, np.uint8))
    assert classes_of(kth.find_segments(tmp_path, **QUIET)) == ("caf\u00e9", "tea")


def test_a_card_of_a_rendered_set_needs_no_table(mine):
    (mine / "dataset.json").write_text('{"name": "others"}')
    assert len(kth.find_segments(mine, **QUIET)) == 12 and kth.dataset_name(mine) == "others"


def test_a_table_of_segments_is_taken_here_too(mine):
    rows = "video,segment,start,stop\nkick/0,1,1,3\n"
    (mine / "segments.csv").write_text(rows, encoding="utf-8")
    found = {s.video.place: (s.start, s.stop) for s in kth.find_segments(mine, **QUIET)}
    assert found["kick/0.avi"] == (1, 3) and found["kick/1.avi"] == (0, 4)


def test_without_persons_files_are_dealt_and_what_that_means_is_said(mine):
    with pytest.warns(UserWarning, match="files are dealt: somebody may be trained on .* --person"):
        parts = kth.load_splits(mine)
    assert [len(parts[part]) for part in PARTS] == [6, 3, 3]
    for inside in parts.values():
        assert {s.video.action for s in inside} == set(CLASSES)
    with pytest.warns(UserWarning):
        again = kth.load_splits(mine)
    assert again == parts


@pytest.mark.parametrize(
    ("name", "rule"), [("subj{n}_x.avi", r"subj(\d+)"), ("person0{n} take.avi", None)]
)
def test_persons_are_read_out_of_names_and_stay_in_one_part(tmp_path, write_video, name, rule):
    root = own(write_video, tmp_path, name=name)
    parts = kth.load_splits(root, person=rule)
    persons = [{s.video.person for s in parts[part]} for part in PARTS]
    assert sorted(map(len, persons)) == [1, 1, 2] and set.union(*persons) == {0, 1, 2, 3}
    assert {s.video.group for s in parts["test"]} == {f"person{min(persons[2]):02d}"}


@pytest.mark.parametrize("beside", [True, False])
def test_persons_are_read_from_a_list(mine, tmp_path, beside, recwarn):
    rows = [
        f"{c}/{n}.avi,{who}" for c in CLASSES for n, who in enumerate(("Ann", "Bo", "Cy", "Di"))
    ]
    path = mine / "persons.csv" if beside else tmp_path / "who.csv"
    path.write_text("\n".join(["file,person", *rows]) + "\n", encoding="utf-8")
    parts = kth.load_splits(mine, person=None if beside else str(path))
    assert {s.video.group for part in parts.values() for s in part} == {"Ann", "Bo", "Cy", "Di"}
    kth.check_disjoint(parts)
    assert not [w for w in recwarn.list if "files are dealt" in str(w.message)]


@pytest.mark.parametrize(
    ("rule", "error", "said"),
    [
        (r"subj(\d+)", ValueError, r"of none of 12 files, such as 'Hände klatschen/0\.avi'"),
        ("subj(", ValueError, "is no regular expression"),
        ("who.csv", FileNotFoundError, "no list of persons at who.csv"),
    ],
)
def test_a_rule_that_tells_nobody_is_refused(mine, rule, error, said):
    with pytest.raises(error, match=said):
        kth.find_videos(mine, person=rule, **QUIET)


def test_a_list_is_checked(mine, tmp_path):
    path, said = tmp_path / "who.csv", []
    path.write_text("video,who\na,b\n")
    with pytest.raises(ValueError, match="its columns are video, who; wanted are file,person"):
        kth.find_videos(mine, person=str(path), **QUIET)
    path.write_text("file,person\nkick/0.avi,Ann\nkick/0.avi,Bo\n")
    with pytest.raises(ValueError, match=r"line 3: kick/0\.avi is Bo, and Ann above"):
        kth.find_videos(mine, person=str(path), **QUIET)
    path.write_text("file,person\nkick/0,Ann\nkick/9,Bo\n")
    found = kth.find_videos(mine, person=str(path), report=said.append)
    assert [v.person for v in found if v.person] == ["Ann"]
    assert said == [
        f"1 files in {path} are no video here: kick/9",
        "11 of 12 files name no person, and each counts as somebody of its own: Hände klatschen/"
        "0.avi, Hände klatschen/1.avi, Hände klatschen/2.avi, Hände klatschen/3.avi, kick/1.avi "
        "and 6 more",
    ]


def test_a_person_of_number_nought_is_somebody():
    (video,) = with_persons([Video(Path("a/p0.avi"), "a", None, None)], "p([0-9]+)", print)
    assert video.person == 0


def test_kths_names_without_persons_are_ones_own_classes(tmp_path, write_video):
    root = own(write_video, tmp_path, classes=("boxing", "walking"))
    with pytest.warns(UserWarning, match="files are dealt"):
        parts = kth.load_splits(root)
    assert classes_of(parts["train"]) == ("boxing", "walking") and len(parts["test"]) == 2


def test_folders_of_parts_are_the_split(tmp_path, write_video, recwarn):
    for part, files in zip(PARTS, (3, 1, 2), strict=True):
        own(write_video, tmp_path, files=files, part=part)
    parts = kth.load_splits(tmp_path)
    assert [len(parts[part]) for part in PARTS] == [9, 3, 6] and not recwarn.list
    assert {s.video.part for s in parts["test"]} == {"test"}


def test_a_part_without_a_folder_is_dealt_from_the_training_one(tmp_path, write_video):
    own(write_video, tmp_path, files=4, part="train")
    own(write_video, tmp_path, files=2, part="test")
    with pytest.warns(UserWarning, match="files are dealt"):
        parts = kth.load_splits(tmp_path)
    assert [len(parts[part]) for part in PARTS] == [9, 3, 6]


def test_class_folders_beside_the_folders_of_parts_are_refused(tmp_path, write_video):
    own(write_video, tmp_path, files=1, part="train")
    own(write_video, tmp_path, files=1, classes=("kick",))
    with pytest.raises(ValueError, match=r"1 segments beside them, such as in kick/0\.avi"):
        kth.load_splits(tmp_path)


def test_a_class_that_is_only_tested_cannot_be_learned():
    parts = {"train": "ab", "validation": "ab", "test": "abc"}
    segments = [
        clip(f"{part}/{c}/1.avi", c, "abc") for part, inside in parts.items() for c in inside
    ]
    with pytest.raises(ValueError, match="no video in train shows c"):
        deal(segments, "mine")
    with pytest.warns(UserWarning, match="no video in test shows c"):
        deal([*segments[:-1], clip("train/c/1.avi", "c", "abc")], "mine")


@pytest.mark.parametrize(
    ("files", "said"),
    [(2, r"'Hände klatschen' has 2 videos, and every one of 3 parts"), (1, "has 1 videos")],
)
def test_too_few_clips_of_a_class_are_a_sentence(tmp_path, write_video, files, said):
    root = own(write_video, tmp_path, files=files)
    with pytest.raises(ValueError, match=said), pytest.warns(UserWarning, match="files are dealt"):
        kth.load_splits(root)


def test_too_few_persons_are_a_sentence():
    with pytest.raises(
        ValueError, match="'a' has 2 persons, and every one of 3 parts takes persons"
    ):
        deal(videos(("Ann", "Bo"), each=5), "mine")
    with pytest.raises(ValueError, match="has one class, 'a'; it takes two"):
        deal(videos(("Ann", "Bo", "Cy"), classes=("a",)), "mine")


@given(
    persons=st.integers(3, 12), classes=st.integers(2, 4), each=st.integers(1, 3), data=st.data()
)
def test_every_hand_shows_every_class_and_nobody_is_in_two(persons, classes, each, data):
    segments = videos([f"p{n}" for n in range(persons)], "abcd"[:classes], each)
    k = data.draw(st.integers(2, min(persons, dealing.HANDS)))
    hands = hands_of(segments, "mine", k=k)
    assert len(hands) == k and sum(map(len, hands)) == persons
    for hand in hands:
        assert {s.video.action for s in segments if s.video.who in hand} == set("abcd"[:classes])


def test_labels_are_those_of_the_classes_asked_for():
    segments = videos(("Ann",))
    assert [s.label for s in labelled(segments, ("b", "c", "a"))] == [2, 0]
    with pytest.raises(ValueError, match="the videos show b, which is none of the classes a, c"):
        labelled(segments, ("a", "c"))
    with pytest.raises(ValueError, match=r"'kick' is none of the classes \(a, b\)"):
        _ = Video(Path("a.avi"), "kick", None, None, classes=("a", "b")).label


def test_a_survey_says_what_is_there(tmp_path, write_video):
    root = own(write_video, tmp_path, name="subj{n}.avi", files=3)
    (root / "kick" / "broken.avi").write_text("no video")
    found = survey(root, person=r"subj(\d)")
    assert str(found).splitlines() == [
        f"{root}: 9 videos of 3 classes, 3 persons",
        "  Hände klatschen  3 videos, 3 persons, 0.2 to 0.2 s, median 0.2 s",
        "  kick             3 videos, 3 persons, 0.2 to 0.2 s, median 0.2 s",
        "  stand up         3 videos, 3 persons, 0.2 to 0.2 s, median 0.2 s",
        "  25 frames a second; images of 32 x 24 pixels; split by person",
        "  1 files cannot be used, or repeat another",
    ]
    assert "broken.avi" in found.said[0] and not found.official
    assert survey(root).split == "file, for no persons are known"
