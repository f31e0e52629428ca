"""The benchmarks of transfer: rows differ in one thing, readings are written down, strangers stay
strangers."""

import csv
import warnings

import numpy as np
import pytest

from benchmarks import suite
from data.kth import find_segments
from data.synthetic.dataset import render_dataset
from experiments.studies import fewshot, realism, transfer
from experiments.training import EXPERIMENTS, READINGS

SMALL = {"size": (32, 43), "epochs": 1}


@pytest.fixture(scope="module")
def walkers(tmp_path_factory):
    root = tmp_path_factory.mktemp("walkers")
    return render_dataset(
        root, persons=(11,), scenarios=(1,), segments=1, progress=False, workers=1
    )


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_the_rows_name_experiments_and_need_a_crowd_for_some():
    alone, with_crowd = transfer.variants(None), transfer.variants("Crowd")
    assert set(alone) < set(with_crowd)
    assert all(variant.experiment in EXPERIMENTS for variant in with_crowd.values())
    assert {v.recipe["extra_root"] for name, v in with_crowd.items() if name not in alone} == {
        "Crowd"
    }
    described = [
        (v.experiment, tuple(sorted(v.recipe.items())), v.every_window) for v in with_crowd.values()
    ]
    assert len(set(described)) == len(described)


def test_a_reading_of_real_clips_is_written_down_every_time(tiny_kth, tmp_path, monkeypatch, quiet):
    monkeypatch.setattr(
        transfer, "variants", lambda _: {"grey, GRU": transfer.Variant("gru", SMALL)}
    )
    settings = {
        "real": tiny_kth,
        "crowd": None,
        "strangers": None,
        "fast": True,
        "runs_dir": tmp_path / "runs",
        "cache_dir": tmp_path / "cache",
        "log": tmp_path / "results",
    }
    rows = {(row.task, row.method): row for row in transfer.run(tiny_kth, seeds=(0, 1), **settings)}
    real = rows["real clips, segments", "grey, GRU"]
    assert (
        real.repeats == 2
        and real.low <= real.value <= real.high
        and "of 36; calibration error" in real.note
    )
    transfer.run(tiny_kth, seeds=(1,), **settings)
    readings = list(csv.DictReader((tmp_path / "results" / READINGS).open()))
    assert [row["seed"] for row in readings] == ["0", "1", "1"] and readings[0]["segments"] == "36"
    assert sorted(100 * int(row["segments_right"]) / 36 for row in readings[:2]) == pytest.approx(
        [real.low, real.high]
    )


def test_the_command_part_runs_without_real_clips(tiny_kth, tmp_path, monkeypatch, quiet):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        transfer, "variants", lambda _: {"grey, average": transfer.Variant("average_window", SMALL)}
    )
    rows = suite.run_part("transfer", tiny_kth, quick=True)
    assert [row.task for row in rows] == [
        f"validation persons, {what}" for what in ("segments", "videos", "loss")
    ]


def test_few_persons_teach_and_others_are_asked(tiny_kth, tmp_path):
    rows = fewshot.run(tiny_kth, counts=(1, 2, 3), draws=2, epochs=1, cache_dir=None, log=tmp_path)
    assert [row.method for row in rows] == [
        "0 persons, bundled head",
        "1 of 3 persons, bundled head",
        "1 of 3 persons, fresh head",
        "2 of 3 persons, bundled head",
        "2 of 3 persons, fresh head",
    ]
    assert (
        rows[1].note.count("of 24") == 2 and rows[3].note.count("of 12") == 2
    )  # 12 segments a person
    assert all(0 <= row.low <= row.value <= row.high <= 100 for row in rows)
    (reading,) = csv.DictReader(
        (tmp_path / READINGS).open()
    )  # the only head that knew none of them
    assert reading["segments"] == "36" and f"{reading['segments_right']} of 36" == rows[0].note


def test_one_person_alone_is_not_enough(make_kth, tmp_path):
    with pytest.raises(ValueError, match="names 1 persons"):
        fewshot.run(make_kth(tmp_path / "KTH", persons=(11,)), log=None)


def test_a_rendered_crossing_is_measured_as_it_was_made(walkers):
    walking = next(s for s in find_segments(walkers) if s.video.action == "walking")
    found = realism.measurements(walking)
    assert 25 < found["height of the figure"] < 118 and 0.3 < found["pace"] < 1.1
    assert found["pace"] == pytest.approx(found["speed"] * 25 / found["height of the figure"])
    boxing = realism.measurements(
        next(s for s in find_segments(walkers) if s.video.action == "boxing")
    )
    assert set(boxing) == {"noise", "contrast", "sharpness", "moving share of the picture"}


def test_noise_and_contrast_are_measured_in_grey_levels(walkers, monkeypatch):
    rng = np.random.default_rng(0)
    ground = np.where(np.arange(64) < 32, 80, 120)  # its deviation is 20
    frames = (ground + 2 * rng.standard_normal((20, 48, 64))).round().astype(np.uint8)
    monkeypatch.setattr(realism, "read_frames", lambda *_: frames)
    boxing = next(s for s in find_segments(walkers) if s.video.action == "boxing")
    found = realism.measurements(boxing)
    assert found["noise"] == pytest.approx(2, rel=0.05) and found["contrast"] == pytest.approx(
        20, rel=0.02
    )
    assert found["moving share of the picture"] == 0


def test_both_sets_are_laid_side_by_side(walkers):
    rows = realism.run(walkers, real=walkers, every=1)
    pairs = {row.task: [other.value for other in rows if other.task == row.task] for row in rows}
    lengths = {
        task: pairs.pop(task) for task in list(pairs) if task.endswith("annotated crossing in d1")
    }
    assert len(pairs) == 6 * 4 + 3 * 3 and all(
        len(values) == 2 and values[0] == values[1] for values in pairs.values()
    )
    assert {task: real for task, (_, real) in lengths.items()} == {
        "walking: annotated crossing in d1": pytest.approx(
            95, abs=1
        ),  # of KTH's own annotation file
        "jogging: annotated crossing in d1": pytest.approx(57, abs=1),
        "running: annotated crossing in d1": pytest.approx(40, abs=1),
    }
