"""What few clips a class give: other persons are tested, and every reader has its rows."""

import pytest

from experiments.studies import own_classes, run_study
from tests.stand_ins import tiny


@pytest.fixture(scope="module")
def movements(tmp_path_factory):
    return tmp_path_factory.mktemp("movements") / "Movements"


@pytest.mark.slow  # it renders
def test_each_reader_has_a_row_for_each_number_of_clips(movements, tmp_path, monkeypatch):
    rows = {name: tiny(name) for name in ("average", "stacked_gru")}
    monkeypatch.setattr(own_classes, "EXPERIMENTS", rows)
    monkeypatch.setattr(own_classes, "TOGETHER", ("average", "stacked_gru"))
    quick = own_classes.QUICK | {"clips": (1, 2), "readers": tuple(rows)}
    found = own_classes.run("nowhere", movements=movements, cache_dir=tmp_path, **quick)
    titles = [rows["average"].title, rows["stacked_gru"].title]
    titles.append(" and ".join(titles))
    assert [row.method for row in found] == [
        f"{clips} clips a class, {title}" for title in titles for clips in (1, 2)
    ]
    assert {row.task for row in found} == {
        "2 kinds of rendered movements, 1 persons who were not learned from"
    }
    assert all(row.note.endswith(" of 2") for row in found)
    assert sorted(path.name for path in movements.iterdir() if path.is_dir()) == [
        "kicking",
        "pointing",
    ]
    assert len(list(movements.glob("*/*.avi"))) == 6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kinds": ("kicking",)}, "give two kinds"),
        ({"clips": ()}, "give two kinds, and clips"),
        ({"kinds": ("kicking", "flying")}, "no movement flying; there are standing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, settings, said):
    quick = own_classes.QUICK | settings
    with pytest.raises(ValueError, match=said):
        own_classes.run("nowhere", movements=tmp_path / "None", cache_dir=None, **quick)
    assert not list(tmp_path.rglob("*.avi"))


def test_it_is_one_of_the_studies():
    with pytest.raises(ValueError, match="own_classes"):
        run_study("no such", "nowhere")
