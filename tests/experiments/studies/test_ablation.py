"""The ablation: settings differ in one thing, order matters to heads that know order and to no
other."""

import numpy as np
import pytest

from data.kth import find_segments
from experiments.datasets import dataset_of
from experiments.recipe import Recipe
from experiments.studies import ablation
from experiments.table import EXPERIMENTS
from experiments.training import new_model
from tests.stand_ins import tiny
from utils.data_setup import VideoDataset, create_dataloaders
from utils.engine import evaluate
from utils.features import Features
from utils.preprocessing import Preprocessing, Uniform

SMALL = {"epochs": 1, "size": (32, 43)}


@pytest.fixture
def where(tmp_path):
    return {"runs_dir": tmp_path / "runs", "cache_dir": tmp_path / "cache"}


def test_every_task_compares_at_least_two_settings_and_no_two_rows_are_one():
    rows = ablation.settings("imagenet")
    tasks = [task for task, _ in rows]
    assert all(tasks.count(task) > 1 for task in tasks)
    described = [
        (task, setting.experiment.to_config(), dict(setting.recipe))
        for (task, _), setting in rows.items()
    ]
    assert all(one != other for k, one in enumerate(described) for other in described[:k])
    without = set(rows) - set(ablation.settings(None))
    assert {method for _, method in without} == {"ImageNet"}


@pytest.mark.parametrize(
    ("name", "knows_order"), [("average_window", False), ("gru", True), ("tcn", True)]
)
def test_the_order_of_frames_matters_to_heads_that_know_it(tiny_kth, name, knows_order):
    experiment, recipe = tiny(name, shown=Preprocessing(Uniform(4))), Recipe(size=(32, 43))
    model = new_model(experiment, recipe)
    data = dataset_of(experiment, recipe, find_segments(tiny_kth), model)

    def log_probs(order):
        shown = ablation.reordered(data, ablation.ORDERS[order])
        loader = create_dataloaders({"evaluation": shown}, batch_size=8)["evaluation"]
        return evaluate(model.head, loader, device="cpu")[0]

    filmed = log_probs("as filmed")
    for order in ("reversed", "shuffled"):
        assert np.allclose(filmed, log_probs(order), atol=1e-5) != knows_order


def test_each_item_is_reordered_within_its_own_length(tiny_kth):
    items = [np.arange(2 * t * 3, dtype=np.float16).reshape(2, t, 3) for t in (4, 2, 1)]
    data = VideoDataset(find_segments(tiny_kth)[:3], Features(items))
    shown = ablation.reordered(data, ablation.ORDERS["reversed"])
    assert shown.segments == data.segments
    for found, item in zip(shown.source.items, items, strict=True):
        np.testing.assert_array_equal(found, item[:, ::-1])  # horizontal flips alike
    for found, item in zip(data.source.items, items, strict=True):
        assert found is item
    as_filmed = ablation.reordered(data, ablation.ORDERS["as filmed"]).source.items
    assert all(np.array_equal(a, b) for a, b in zip(as_filmed, items, strict=True))
    shuffled = ablation.reordered(data, ablation.ORDERS["shuffled"]).source.items
    assert all(
        sorted(a[0, :, 0]) == b[0, :, 0].tolist() for a, b in zip(shuffled, items, strict=True)
    )


@pytest.mark.slow
def test_a_setting_is_trained_found_again_and_evaluated_on_validation_persons(tiny_kth, where):
    middle = EXPERIMENTS["middle"]
    settings = {
        ("a head", "one"): ablation.Setting(middle, SMALL),
        ("a head", "videos"): ablation.Setting(middle, SMALL, "video"),
    }
    how = {"root": tiny_kth, "progress": False, **where}
    rows = list(ablation.trained_rows(settings, (0, 1), how))
    assert [(row.task, row.method) for row in rows] == list(settings)
    assert [row.note.split(" of ")[1] for row in rows] == ["12", "6"]  # of one validation person
    assert len(list(where["runs_dir"].iterdir())) == 2  # both rows are the same runs


@pytest.mark.slow
def test_order_and_leakage_are_rows_too(tiny_kth, where):
    rows = ablation.run(
        tiny_kth,
        seeds=(0,),
        only=("order of the frames", "subject leakage"),
        ordered=("gru",),
        leaked=("middle",),
        splits=2,
        **where,
        **SMALL,
    )
    assert [row.method for row in rows] == [
        "as filmed",
        "reversed",
        "shuffled",
        "2 random splits by subject",
        "2 random splits of segments",
    ]
    assert all(0 <= row.low <= row.value <= row.high <= 100 for row in rows)
    assert "not for use" in rows[-1].task
