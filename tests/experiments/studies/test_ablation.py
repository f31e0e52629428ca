"""The ablation: settings differ in one thing, order matters to heads that know order and to no
other."""

import numpy as np
import pytest

from data.kth import find_segments
from experiments.studies import ablation
from experiments.training import EXPERIMENTS, Recipe, feature_dataset, transform_of
from models.backbone import EfficientNetBackbone
from models.temporal import build_head
from utils.data_setup import Uniform, create_dataloaders
from utils.engine import evaluate


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
    ("head", "knows_order"), [("average", False), ("gru", True), ("tcn", True)]
)
def test_the_order_of_frames_matters_to_heads_that_know_it(tiny_kth, head, knows_order):
    experiment, recipe = EXPERIMENTS["gru"], Recipe(size=(32, 43))
    data = feature_dataset(
        EfficientNetBackbone(),
        find_segments(tiny_kth),
        sampler=Uniform(4),
        cache_dir=None,
        transform=transform_of(experiment, recipe),
        progress=False,
    )
    model = build_head(head, in_dim=1280, num_classes=6)

    def says(order):
        shown = ablation.reordered(data, ablation.ORDERS[order])
        return evaluate(
            model, create_dataloaders({"asked": shown}, batch_size=8)["asked"]
        ).log_probs

    filmed = says("as filmed")
    for order in ("reversed", "shuffled"):
        assert np.allclose(filmed, says(order), atol=1e-5) != knows_order


def test_reordering_leaves_padding_where_it_is(tiny_kth):
    transform = transform_of(EXPERIMENTS["gru"], Recipe(size=(32, 43)))
    data = feature_dataset(
        EfficientNetBackbone(),
        find_segments(tiny_kth)[:3],
        sampler=Uniform(4),
        cache_dir=None,
        transform=transform,
        progress=False,
    )
    data.source.lengths[1] = 2
    shown = ablation.reordered(data, ablation.ORDERS["reversed"])
    features = np.asarray(data.source.features)
    np.testing.assert_array_equal(shown.source.features[0], features[0][::-1])
    np.testing.assert_array_equal(shown.source.features[1], features[1][[1, 0, 2, 3]])


def test_a_setting_is_trained_found_again_and_judged_on_validation_persons(
    tiny_kth, tmp_path, monkeypatch
):
    monkeypatch.setattr(ablation, "LEAKED", ("middle",))
    monkeypatch.setattr(ablation, "ORDERED", ("gru",))
    small = {"epochs": 1, "size": (32, 43)}
    middle = EXPERIMENTS["middle"]
    rows = {
        ("a head", "one"): ablation.Setting(middle, small),
        ("a head", "videos"): ablation.Setting(middle, small, "video"),
    }
    monkeypatch.setattr(ablation, "settings", lambda *_, **__: rows)
    where = {"seeds": (0, 1), "runs_dir": tmp_path / "runs", "cache_dir": tmp_path / "cache"}
    rows = ablation.run(tiny_kth, only=("head",), **where)
    assert [row.note.split(" of ")[1] for row in rows] == ["12", "6"]  # of one validation person
    assert len(list((tmp_path / "runs").iterdir())) == 2  # both rows are the same runs


def test_order_and_leak_are_rows_too(tiny_kth, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "LEAKED", ("middle",))
    monkeypatch.setattr(ablation, "ORDERED", ("gru",))
    monkeypatch.setattr(ablation, "LEAK_SPLITS", 2)
    where = {"runs_dir": tmp_path / "runs", "cache_dir": tmp_path / "cache"}
    rows = ablation.run(tiny_kth, seeds=(0,), only=("order of the frames", "leak"), **where)
    assert [row.method for row in rows] == [
        "as filmed",
        "reversed",
        "shuffled",
        "2 random splits by person",
        "2 random splits of segments",
    ]
    assert (
        all(0 <= row.low <= row.value <= row.high <= 100 for row in rows)
        and "not for use" in rows[-1].task
    )
