"""The studies of transfer: rows differ in one thing, readings are written down, nobody is both
trained on and tested."""

import numpy as np
import pytest

from data.files import read_csv
from data.kth import find_segments
from data.synthetic.dataset import render_dataset
from experiments.results import READINGS
from experiments.studies import fewshot, realism, run_study, transfer
from experiments.table import EXPERIMENTS

SMALL = {"size": (32, 43), "epochs": 1}
KNOWN = "ignore:persons .* took part"  # one tiny data set stands for all of them


@pytest.fixture(scope="module")
def walkers(tmp_path_factory):
    root = tmp_path_factory.mktemp("walkers")
    return render_dataset(
        root, persons=(11,), scenarios=(1,), segments=1, progress=False, workers=1
    )


def test_the_rows_name_experiments_and_some_need_an_auxiliary_set():
    alone, more = transfer.variants(None), transfer.variants("Auxiliary")
    assert set(alone) < set(more)
    assert all(variant.experiment in EXPERIMENTS for variant in more.values())
    roots = {v.recipe["auxiliary_root"] for name, v in more.items() if name not in alone}
    assert roots == {"Auxiliary"}
    described = [(v.experiment, tuple(sorted(v.recipe.items())), v.dense) for v in more.values()]
    assert len(set(described)) == len(described)


@pytest.mark.slow
@pytest.mark.filterwarnings(KNOWN)
def test_a_reading_of_real_clips_is_written_down_every_time(tiny_kth, tmp_path):
    settings = {
        "real": tiny_kth,
        "auxiliary": None,
        "unlike": None,
        "only": ("grey, GRU",),
        "fast": True,
        "runs_dir": tmp_path / "runs",
        "cache_dir": tmp_path / "cache",
        "log": tmp_path / "results",
        **SMALL,
    }
    rows = {(row.task, row.method): row for row in transfer.run(tiny_kth, seeds=(0, 1), **settings)}
    real = rows["real clips, segments", "grey, GRU"]
    assert real.repeats == 2 and real.low <= real.value <= real.high
    assert "of 36; calibration error" in real.note
    transfer.run(tiny_kth, seeds=(1,), **settings)
    readings = read_csv(tmp_path / "results" / READINGS)
    assert [row["seed"] for row in readings] == ["0", "1", "1"]
    assert {row["recogniser"] for row in readings} == {"grey, GRU"}
    assert readings[0]["segments"] == "36"
    percent = sorted(100 * int(row["segments_right"]) / 36 for row in readings[:2])
    assert percent == pytest.approx([real.low, real.high])


def test_it_runs_without_real_clips(tiny_kth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = transfer.run(tiny_kth, only=("grey, average",), **transfer.QUICK, **SMALL)
    assert [row.task for row in rows] == [
        f"validation persons, {what}" for what in ("segments", "videos", "loss")
    ]
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_quick_study_trains_every_row(tiny_kth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = run_study("transfer", tiny_kth, quick=True)
    assert [(row.task, row.method) for row in rows] == [
        (f"validation persons, {what}", name)
        for name in transfer.variants(None)
        for what in ("segments", "videos", "loss")
    ]
    assert not (tmp_path / "results").exists()


def test_few_persons_are_trained_on_and_the_others_are_tested(tiny_kth, tmp_path):
    rows = fewshot.run(tiny_kth, counts=(1, 2, 3), draws=2, epochs=1, cache_dir=None, log=tmp_path)
    assert [row.method for row in rows] == [
        "0 persons, bundled head",
        "1 of 3 persons, bundled head",
        "1 of 3 persons, fresh head",
        "2 of 3 persons, bundled head",
        "2 of 3 persons, fresh head",
    ]
    # 12 segments a person
    assert rows[1].note.count("of 24") == 2 and rows[3].note.count("of 12") == 2
    assert all(0 <= row.low <= row.value <= row.high <= 100 for row in rows)
    (reading,) = read_csv(tmp_path / READINGS)  # the only head that knew none of them
    assert reading["segments"] == "36" and f"{reading['segments_right']} of 36" == rows[0].note


def test_one_person_alone_is_not_enough(make_kth, tmp_path):
    with pytest.raises(ValueError, match="names 1 persons"):
        fewshot.run(make_kth(tmp_path / "KTH", persons=(11,)), log=None)


def test_a_rendered_crossing_is_measured_as_it_was_made(walkers):
    walking = next(s for s in find_segments(walkers) if s.video.action == "walking")
    found = realism.measurements(walking)
    assert 25 < found["height of the figure"] < 118 and 0.3 < found["speed by body height"] < 1.1
    assert found["speed by body height"] == pytest.approx(
        found["speed"] * 25 / found["height of the figure"]
    )
    boxing = next(s for s in find_segments(walkers) if s.video.action == "boxing")
    assert set(realism.measurements(boxing)) == {
        "noise",
        "contrast",
        "sharpness",
        "moving share of the image",
    }


def test_noise_and_contrast_are_measured_in_grey_levels():
    rng = np.random.default_rng(0)
    ground = np.where(np.arange(64) < 32, 80, 120)  # its deviation is 20
    frames = (ground + 2 * rng.standard_normal((20, 48, 64))).round().astype(np.float32)
    found = realism.appearance(frames)
    assert found["noise"] == pytest.approx(2, rel=0.05)
    assert found["contrast"] == pytest.approx(20, rel=0.02)
    assert found["moving share of the image"] == 0


def test_both_sets_are_laid_side_by_side(walkers):
    rows = realism.run(walkers, real=walkers, every=1)
    pairs = {row.task: [other.value for other in rows if other.task == row.task] for row in rows}
    lengths = {task: pairs.pop(task) for task in list(pairs) if task.endswith(realism.CROSSING)}
    assert len(pairs) == 6 * 4 + 3 * 3
    assert all(len(values) == 2 and values[0] == values[1] for values in pairs.values())
    # of KTH's own annotation file
    assert {task: real for task, (_, real) in lengths.items()} == {
        "walking: annotated crossing in d1": pytest.approx(95, abs=1),
        "jogging: annotated crossing in d1": pytest.approx(57, abs=1),
        "running: annotated crossing in d1": pytest.approx(40, abs=1),
    }
