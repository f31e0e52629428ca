"""docs/OWN_CLASSES.md: each of its commands runs, on rendered people in classes that are not
KTH's."""

import re
import shlex
from pathlib import Path

import pytest

import har
from data.synthetic.dataset import write_video
from data.synthetic.others import other_shot

PAGE = (Path(__file__).parents[1] / "docs" / "OWN_CLASSES.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python har\.py (.*)$", PAGE, re.MULTILINE)
KINDS = {"kick": "kicking", "stand up": "standing", "Hände klatschen": "both_hands"}
FAST = {"train": ["--epochs", "2"], "crossval": ["--epochs", "1"]}


def test_the_page_is_short_and_has_commands():
    assert len(PAGE.splitlines()) < 40 and len(COMMANDS) == 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three persons in three kinds of movement."""
    base = tmp_path_factory.mktemp("page")
    for name, kind in KINDS.items():
        for person in range(1, 4):
            path = base / "my_videos" / name / f"subj{person}_a.avi"
            shot = other_shot(kind, person)[0]
            renderer = shot.renderer()
            write_video(path, map(renderer.frame, range(len(shot))))
    return base


@pytest.mark.slow
def test_its_commands_run_one_after_another(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for command in COMMANDS:
        verb, *rest = shlex.split(command)
        assert har.main([verb, *rest, *FAST.get(verb, [])]) == 0, command
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        if verb == "predict":
            assert all(name in said.out for name in KINDS)
        if verb == "train":
            assert "9 videos of 3 classes, 3 persons" in said.out and "split by person" in said.out
    assert not Path("results").exists() and len(list(Path("runs").glob("*/report.html"))) == 3
