"""Many videos answered: what is said, what is written where; one does not end the others."""

import json
import os

import pytest

from data.files import read_csv
from data.video import probe
from experiments import answers
from experiments.answers import Wanted, answer_all, described, one_line, videos_in
from tests.stand_ins import brightness_recogniser, video_of
from utils.timeline import timeline_of


@pytest.fixture
def ask(monkeypatch):
    """ask(names, **wanted) -> exit status, what was said, what was complained of."""
    monkeypatch.setattr(answers, "load_recogniser", lambda model: brightness_recogniser())

    def run(*names, **wanted):
        said, complaints = [], []
        how = {"say": said.append, "complain": complaints.append}
        names = list(map(str, names))
        status = answer_all("bundled", names, Wanted(progress=False, **wanted), **how)
        return status, said, complaints

    return run


@pytest.fixture
def dark(tmp_path, write_video):
    return write_video(tmp_path / "films" / "dark.avi", video_of((1, 30)))


@pytest.fixture
def both(tmp_path, write_video):
    return write_video(tmp_path / "films" / "both.mp4", video_of((2, 30), (2, 200)), codec="mp4v")


def test_one_thing_is_said_with_probabilities(ask, dark):
    status, (said,), complaints = ask(dark)
    lines = said.splitlines()
    assert status == 0 and not complaints and lines[0] == f"{dark}: dark, in doubt:"
    assert lines[1].startswith("  - it lasts 1 seconds")
    assert [line.split()[0] for line in lines[2:]] == ["dark", "bright"]
    assert len(ask(dark, top=1)[1][0].splitlines()) == 3


def test_several_things_are_said_with_their_times(ask, both):
    (said,) = ask(both)[1]
    first, second = said.splitlines()[1:]
    start, _, change, _, label, sure = first.split()
    assert (start, label) == ("0.0", "dark") and float(change) == pytest.approx(2, abs=0.3)
    assert second.split()[:5] == [change, "to", "4.0", "s", "bright"] and sure.endswith("%")


def test_what_names_no_action_says_why(write_video, tmp_path):
    rests = video_of((1, 200))[:1].repeat(50, 0)
    said = described(timeline_of(brightness_recogniser(), rests))
    assert said.startswith("array: unsure, in doubt:\n  - nothing that can be seen moves")
    assert "if it had to be one of these all the same:\n  bright" in said


def test_one_broken_file_does_not_end_the_others(ask, dark, both, tmp_path):
    note = tmp_path / "films" / "c.avi"
    note.write_text("no video")
    out = {"json": str(tmp_path / "o.json"), "csv": str(tmp_path / "o.csv")}
    status, said, complaints = ask(both, tmp_path / "absent.avi", note, dark, **out)
    assert status == 1 and len(said) == 4 and len(complaints) == 2
    assert "absent.avi" in complaints[0] and "a text file" in complaints[1]
    told = json.loads((tmp_path / "o.json").read_text())
    assert [one.get("label") for one in told] == [told[0]["label"], None, None, "dark"]
    assert told[2]["file"] == str(note) and "a text file" in told[2]["error"]
    rows = read_csv(tmp_path / "o.csv")
    assert [row["label"] for row in rows] == ["dark", "bright", "dark"]
    assert float(rows[1]["start_s"]) == pytest.approx(2, abs=0.3)


def test_the_json_of_one_file_is_no_list(ask, dark, tmp_path):
    ask(dark, json=str(tmp_path / "o.json"))
    assert json.loads((tmp_path / "o.json").read_text())["label"] == "dark"


def test_folders_are_walked_for_videos(ask, dark, both, tmp_path, write_video):
    (tmp_path / "films" / "readme.txt").write_text("no video by its name")
    write_video(tmp_path / "films" / ".hidden" / "x.avi", video_of((1, 30)))
    deep = write_video(tmp_path / "films" / "deep" / "er" / "X.AVI", video_of((1, 30)))
    assert videos_in([str(tmp_path / "films"), str(dark)]) == [both, dark, deep, dark]
    assert len(ask(tmp_path / "films")[1]) == 3


def test_a_folder_without_videos_is_named(ask, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no videos in .*empty"):
        ask(tmp_path / "empty")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"save": "out.mp4"}, "--save out.mp4 is one file for 2 videos; name a folder"),
        ({"timeline": "out.png"}, "--timeline out.png is one file for 2 videos"),
        ({"every": 0.0}, "--every is 0.0"),
        ({"top": 0}, "--top is 0"),
    ],
)
def test_what_cannot_be_is_wrong_usage_and_nothing_is_done(ask, dark, both, wanted, message):
    status, said, (complaint,) = ask(dark, both, **wanted)
    assert status == 2 and not said and complaint.startswith(message)


def test_pictures_of_both_kinds_have_names_of_their_own(ask, dark, monkeypatch, tmp_path):
    figure = timeline_of(brightness_recogniser(), video_of((1, 30))).figure()
    monkeypatch.setattr("experiments.explaining.explanation", lambda *_: figure)
    out = tmp_path / "out"
    assert ask(dark, timeline=str(out), explain=str(out))[0] == 0
    assert {path.name for path in out.iterdir()} == {"dark.png", "dark-why.png"}
    status, _, (complaint,) = ask(dark, timeline="a.png", explain="a.png")
    assert status == 2 and "both name a.png" in complaint


def test_a_format_that_is_not_written_is_wrong_usage(ask, dark):
    assert ask(dark, save="out.gif")[::2] == (2, ["--save writes .mp4; name out.mp4, or a folder"])


def test_files_are_written_beside_what_is_said(ask, dark, both, tmp_path):
    out = tmp_path / "out"
    status, said, _ = ask(dark, both, save=str(out), timeline=str(out))
    assert status == 0 and said[0].endswith(f"written to {out / 'dark.png'}")
    assert sorted(p.name for p in out.iterdir()) == ["both.mp4", "both.png", "dark.mp4", "dark.png"]
    assert probe(out / "both.mp4").frames == 100
    assert (out / "dark.png").read_bytes()[:4] == b"\x89PNG"
    assert (
        ask(dark, timeline=str(tmp_path / "one.png"))[0] == 0 and (tmp_path / "one.png").is_file()
    )


def test_videos_of_one_name_do_not_overwrite_one_another(ask, tmp_path, write_video):
    for folder in ("a", "b", "c"):
        write_video(tmp_path / "in" / folder / "X.avi", video_of((0.5, 30)))
    ask(tmp_path / "in", timeline=str(tmp_path / "out"))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"X.png", "X-2.png", "X-3.png"}


def test_the_video_itself_is_not_overwritten(ask, both):
    before = both.read_bytes()
    status, _, (complaint,) = ask(both, save=str(both))
    assert status == 1 and "is the video itself" in complaint and both.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["new\nline", "-dash", "it's", "$ \\frac ^$ & more", "é" * 125, "x" * 251]
)
def test_any_name_is_answered_and_leads_nowhere_else(ask, dark, tmp_path, name):
    path = dark.rename(dark.with_name(f"{name}.avi"))
    status, (said,), _ = ask(path, timeline=str(tmp_path / "out"))
    assert status == 0 and said.startswith(f"{one_line(str(path))}: dark")
    assert len(said.splitlines()) == len(ask(path)[1][0].splitlines()) + 1
    (out,) = (tmp_path / "out").iterdir()
    assert out.suffix == ".png" and len(os.fsencode(out.name)) <= 255
    assert {p.name for p in tmp_path.iterdir()} == {"films", "out"}


def test_what_is_no_letter_is_said_in_letters():
    assert one_line("a\nb\x1b[31m c\udcff") == r"a\nb\x1b[31m c\udcff"
