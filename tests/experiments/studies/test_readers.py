"""What a classifier is shown of a person: the rows differ in what they say, and are trained."""

from dataclasses import replace

import pytest

from data.files import read_csv, write_json
from data.kth import ACTIONS, CARD
from data.synthetic.dataset import shot_of
from experiments.recognisers import APPEARANCE, load_recogniser
from experiments.studies import readers
from experiments.studies.stress import CLUTTERED
from experiments.table import EXPERIMENTS, find_experiment
from utils.crop import Crop
from utils.cutout import Cutout
from utils.pose import Pose


def test_each_row_is_what_its_name_says():
    rows = {name: find_experiment(row.experiment) for name, row in readers.variants().items()}
    kinds = [type(row.shown.reader) for row in rows.values()]
    assert kinds[1:] == [Cutout, Cutout, Crop, Pose, *[Cutout] * 4]
    place, brought = (rows[name].shown for name in list(rows)[1:3])
    assert not place.reader.normalise and brought.reader.normalise
    assert place.sampler == brought.sampler == EXPERIMENTS["stacked_gru"].shown.sampler
    assert rows["cut out, averaged"].model["head"] == "average"
    assert readers.variants()["cut out, no label smoothing"].recipe == {"label_smoothing": 0.0}
    keys = [
        str(row.to_config()) + str(dict(readers.variants()[n].recipe)) for n, row in rows.items()
    ]
    assert len(set(keys)) == len(keys)


def test_another_encoder_has_rows_of_its_own():
    more = {n: r for n, r in readers.variants("x.pth").items() if n not in readers.variants()}
    assert len(more) == 2 and all(dict(row.recipe) == {"weights": "x.pth"} for row in more.values())


def test_segments_before_clutter_are_found_and_named(tmp_path, monkeypatch):
    """Those of the right persons, and named by a recogniser of either kind."""
    monkeypatch.setattr(readers, "SPLITS", {"validation": (19,)})
    monkeypatch.setattr(readers, "ACTIONS", ("boxing",))
    monkeypatch.setattr(readers, "shot_of", lambda *who, seed: asked.append(who) or shot_of(*who))
    write_json(tmp_path / CARD, {"seed": 0})
    asked = []
    (one,) = readers.before(CLUTTERED, tmp_path, (4,))
    assert asked == [(19, "boxing", 4)] and one.action == "boxing" and one.video.ndim == 3
    assert len(one.found["frames"]) == -(-len(one.video) // 2)
    fusion = load_recogniser("bundled")
    for member in (fusion.members[1], load_recogniser(APPEARANCE)):
        assert one.known_by(member) in (True, False)
        others = replace(one, action="nothing of the kind")
        assert not others.known_by(member)


@pytest.mark.slow
def test_a_row_is_trained_and_other_places_are_read_and_logged(tiny_kth, tmp_path):
    places = tmp_path / "places"
    for action in ACTIONS[:2]:
        (places / action).mkdir(parents=True)
        file = next(tiny_kth.rglob(f"*{action}*.avi"))
        (places / action / "one.avi").write_bytes(file.read_bytes())
    (places / "bending").mkdir()
    (places / "bending" / "two.avi").write_bytes(file.read_bytes())
    rows = readers.run(
        tiny_kth,
        elsewhere=places,
        runs_dir=tmp_path / "runs",
        cache_dir=None,
        **{**readers.QUICK, "log": tmp_path},
    )
    assert [row.task for row in rows] == ["validation persons, segments", readers.ELSEWHERE]
    assert rows[1].note.endswith("of 2"), "bending is none of the six"
    assert read_csv(tmp_path / "real_clips.csv")[0]["recogniser"] == "places: trained on as filmed"
