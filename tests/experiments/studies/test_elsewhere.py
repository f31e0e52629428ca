"""Clips of other places: every part is asked, right ones and refused ones are counted apart."""

import shutil

import pytest

from data.files import read_csv
from experiments.studies import elsewhere


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_kth):
    """Two labels, one of which is none of the actions, a file each and a text among them."""
    root = tmp_path_factory.mktemp("places") / "places"
    file = next(tiny_kth.rglob("*boxing*.avi"))
    for label in ("boxing", "bending"):
        (root / label).mkdir(parents=True)
        shutil.copy(file, root / label / "one.avi")
        (root / label / "notes.txt").write_text("not a video")
    return root


@pytest.mark.slow
def test_every_part_is_asked_and_every_reading_logged(folder, tmp_path):
    rows = elsewhere.run(folder, cache_dir=None, log=tmp_path)
    assert [row.task for row in rows] == sorted(row.task for row in rows)
    parts = [row.method for row in rows if row.task == "places, files of the six actions, right"]
    assert len(rows) == 10 and len(set(parts)) == 5
    assert all(row.value in (0, 100) and row.note.endswith("of 1") for row in rows)
    logged = read_csv(tmp_path / "real_clips.csv")
    assert [line["recogniser"] for line in logged] == [f"places: {part}" for part in parts]


def test_a_folder_without_videos_is_named(tmp_path):
    (tmp_path / "boxing").mkdir()
    with pytest.raises(ValueError, match="no videos under"):
        elsewhere.run(tmp_path)
