"""The story about order: each control takes away what it says, and nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.kth import ACTIONS, Segment, Video
from experiments.recipe import Recipe
from experiments.studies import order, seed_accuracies
from experiments.table import EXPERIMENTS
from experiments.training import fit, new_model
from models.temporal import build_head
from tests.utils.test_cutout import track_of
from tests.utils.test_preprocessing import segment_of
from utils.data_setup import VideoDataset
from utils.features import Features
from utils.preprocessing import FixedStride, Preprocessing

FILE = Path("person11_walking_d1.avi")
SOMEBODY = (20, 20, 20, 0.0)


def data_of(items, seed=None):
    segments = [segment_of(FILE, 8 * k, 8 * k + 8) for k in range(len(items))]
    return VideoDataset(segments, Features(items), seed=seed)


def test_the_mlp_is_as_large_as_the_recurrence():
    def size(model):
        head = build_head(in_dim=1280, num_classes=6, name=model["head"], **rest(model))
        return sum(weight.numel() for weight in head.parameters())

    def rest(model):
        return {name: value for name, value in model.items() if name != "head"}

    assert abs(size(order.MLP) / size(order.GRU) - 1) < 0.02
    assert size(order.LINE) < 12_000 < 100 * size(order.LINE)


def test_frames_are_shuffled_in_training_alone():
    items = [np.arange(8, dtype=np.float16)[None, :, None].repeat(2, 2) for _ in range(3)]
    parts = order._shuffled({"train": data_of(items, seed=0), "validation": data_of(items)})
    train, validation = parts["train"], parts["validation"]
    orders = []
    for epoch in range(4):
        train.set_epoch(epoch)
        orders.append(train[0]["input"][:, 0].tolist())
    assert all(sorted(one) == list(range(8)) for one in orders)
    assert len({tuple(one) for one in orders}) == 4
    assert validation[0]["input"][:, 0].tolist() == list(range(8))


def test_frames_without_anybody_are_left_out_unless_all_are():
    found = {FILE: track_of([None, SOMEBODY, SOMEBODY, *[None] * 5]).arrays()}
    items = [np.arange(4, dtype=np.float16)[None, :, None]] * 2
    shown = Preprocessing(FixedStride(4, 0.08))  # every second frame, as the finder looks
    data = order._occupied(data_of(items, seed=5), shown, found)
    assert shown.frames(0, 8, 25).tolist() == [0, 2, 4, 6]
    assert data.source.items[0][0, :, 0].tolist() == [1, 2] and data.seed == 5
    assert data.source.items[1][0, :, 0].tolist() == [0, 1, 2, 3], "nobody is in any of them"


def test_the_first_frames_alone_are_shown():
    """A head is given whole clips or their first frames: the same as cutting them by hand."""
    rng = np.random.default_rng(0)
    items = [rng.normal(size=(1, 8, 1280)).astype(np.float16) for _ in range(4)]
    row, settings = EXPERIMENTS["average_window"], Recipe(epochs=1)
    parts = {"train": data_of(items, seed=0), "validation": data_of(items)}
    fitted = fit(row, settings, parts, model=new_model(row, settings), disjoint=False)
    cut = data_of([item[:, :3] for item in items])
    by_hand = fit(row, settings, {**parts, "test": cut}, disjoint=False).predictions
    assert order._score(fitted, data_of(items), 3) == by_hand.score()
    assert order._score(fitted, data_of(items), 8) == fitted.predictions.score()


@pytest.mark.parametrize(("apart", "named"), [(5.0, 4), (0.0, None)])
def test_a_person_is_named_where_his_features_say_who_he_is(apart, named):
    rng = np.random.default_rng(1)
    segments, items = [], []
    for person in (11, 12):
        for action in ("boxing", "walking"):
            for index in range(2):
                path = Path(f"person{person}_{action}_d1.avi")
                segments.append(Segment(Video(path, action, person, 1, 25.0, ACTIONS), index, 0, 8))
                mean = apart * (person == 11)
                items.append(rng.normal(mean, 0.1, (1, 8, 16)).astype(np.float16))
    score = order.named_persons(VideoDataset(segments, Features(items)))
    assert score.n == 4 and (named is None or score.correct == named)


@pytest.mark.slow
def test_every_task_is_trained_and_counted(tiny_kth, tmp_path):
    rows = order.run(tiny_kth, cache_dir=tmp_path, **{**order.QUICK, "only": ("frames",)})
    by_task = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row.method)
    assert len(by_task) == 5 and all(len(set(m)) == len(m) for m in by_task.values())
    assert by_task["head on 8 grey frames"] == [*order.HEADS, order.GRU_SHUFFLED]
    assert all(0 <= row.value <= 100 for row in rows)


def test_a_studys_counts_are_read_as_one_accuracy_a_seed():
    rows = pd.DataFrame(
        [
            {"task": "a", "method": "x", "note": "1 2 of 4"},
            {"task": "a", "method": "y", "note": "19 of 20"},
            {"task": "b", "method": "x", "note": "12 ms"},
        ]
    )
    assert seed_accuracies(rows, "a") == {"x": [0.25, 0.5], "y": [0.95]}
    with pytest.raises(ValueError, match="no task 'c'; the tasks are a; b"):
        seed_accuracies(rows, "c")
    with pytest.raises(ValueError, match="b, x: the note '12 ms' has no counts"):
        seed_accuracies(rows, "b")
