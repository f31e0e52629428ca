"""The table of experiments, and its promise: a new idea is a row, and its own model or reader."""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from data.video import probe, read_frames
from experiments.recipe import Recipe
from experiments.recognisers import evaluate_checkpoint, load_recogniser
from experiments.table import EXPERIMENTS, GRU, STRIDED, Experiment, find_experiment
from experiments.training import new_model, run_experiment
from models.temporal import HEADS
from utils.pose import NUMBERS
from utils.predict import predict_video, predict_video_with_frame_probs
from utils.preprocessing import Preprocessing, Uniform


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_row_says_everything_in_plain_values(name):
    row = EXPERIMENTS[name]
    assert row.name == name and row.title
    config = json.loads(json.dumps(row.to_config()))
    assert config["name"] == name and config["model"].keys() == row.model.keys()
    if name == "pose":  # numbers, for which there is no encoder
        assert config["build"] == "models.joints.joint_classifier"
        assert config["model"] == {"in_dim": NUMBERS}
    else:
        followed = "models.followed.followed_classifier"
        usual = "models.temporal.frame_classifier"
        assert config["build"] == (followed if "numbers" in row.model else usual)
        assert row.model["head"] in HEADS
    assert Preprocessing.from_config(config["shown"], type(row.shown.reader)) == row.shown


def test_whatever_changes_the_outcome_changes_the_configuration():
    row = EXPERIMENTS["gru"]
    changes = (
        {},
        {"model": {**row.model, "hidden": 64}},
        {"shown": row.shown.resized((48, 64))},
        {"build": ToyClipModel},
        {"whole_file": True},
    )
    configs = [dataclasses.replace(row, **change).to_config() for change in changes]
    assert len({json.dumps(config) for config in configs}) == len(changes)
    assert dataclasses.replace(row, title="Another").to_config() == row.to_config()


def test_an_experiment_is_found_by_its_name_and_stands_for_itself():
    assert find_experiment("gru") is EXPERIMENTS["gru"]
    own = Experiment("own", "Own", STRIDED, GRU)
    assert find_experiment(own) is own
    with pytest.raises(ValueError, match="'gost'.*ghost"):
        find_experiment("gost")


# the promise: three ideas, of which the project knows nothing but what stands here


class ToyClipModel(nn.Module):
    """Clips (B, T, C, H, W) to logits: a coarse image's mean and change over time, one layer."""

    def __init__(self, *, num_classes, channels, weights, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * channels * 16, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, clip, mask=None):
        assert clip.ndim == 5 and mask.shape == clip.shape[:2]
        coarse = nn.functional.adaptive_avg_pool2d(clip.flatten(0, 1), 4).flatten(1)
        steps = coarse.unflatten(0, clip.shape[:2]) * mask.unsqueeze(-1)
        mean = steps.sum(1) / mask.sum(1, keepdim=True)
        return self.layers(torch.cat([mean, steps.amax(1) - mean], dim=1))


@dataclasses.dataclass(frozen=True)
class MedianDistance:
    """A reader of numbers (T, bands): how far each band of a frame is from the file's median."""

    bands: int = 6
    searched: ClassVar[list] = []  # the files that were looked at, over all readers

    def look(self, video, fps=None):
        self.searched.append(video)
        frames = video if isinstance(video, np.ndarray) else read_frames(video, all_of(video))
        return {"median": np.median(frames, axis=0).astype(np.float32)}

    def read(self, video, index_lists, found):
        parts = []
        for indices in index_lists:
            frames = (
                video[indices] if isinstance(video, np.ndarray) else read_frames(video, indices)
            )
            far = np.abs(frames - found["median"]).mean(axis=2)
            parts.append(far.reshape(len(far), self.bands, -1).mean(2) / 255)
        return parts


def all_of(path):
    return np.arange(probe(path).frames)


class NumbersModel(nn.Module):
    """A head without an encoder: numbers (B, T, D) to logits."""

    def __init__(self, *, num_classes, channels, weights, bands=6, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(bands, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, numbers, mask=None):
        assert numbers.ndim == 3 and numbers.shape[-1] == self.layers[0].in_features
        steps = self.layers(100 * numbers) * mask.unsqueeze(-1)
        return steps.sum(1) / mask.sum(1, keepdim=True)


TOY_CLIP = Experiment("toy_clip", "Toy clip model", STRIDED, {"width": 8}, ToyClipModel)
TOY_READER = Experiment(
    "toy_reader",
    "Distance from the median frame",
    Preprocessing(Uniform(4), reader=MedianDistance(6)),
    {"bands": 6, "width": 8},
    NumbersModel,
)
# a size alone: the class is the project's
SMALL_GRU = Experiment("gru_16", "A small Bi-GRU", STRIDED, {**GRU, "hidden": 16})
ANOTHER_SIZE = {"toy_clip": {"width": 5}, "toy_reader": {"width": 5}, "gru_16": {"hidden": 15}}


@pytest.fixture(scope="module")
def where(tiny_kth, tmp_path_factory):
    base = tmp_path_factory.mktemp("rows")
    return {
        "root": tiny_kth,
        "runs_dir": base / "runs",
        "cache_dir": base / "cache",
        "results_dir": base / "results",
        "progress": False,
        "size": (48, 64),
        "epochs": 1,
    }


@pytest.mark.parametrize("row", [TOY_CLIP, TOY_READER, SMALL_GRU], ids=lambda row: row.name)
class TestOneRowIsEnough:
    def test_it_is_trained_found_again_and_another_one_at_another_size(self, where, row):
        result = run_experiment(row, **where)
        assert result.experiment == row.name and len(result.history) == 1
        assert (result.segment.n, result.video.n) == (12, 6)
        assert np.isfinite(result.predictions.log_probs).all()
        before = sorted(Path(result.run).iterdir())
        again = run_experiment(row, **where)
        assert again.run == result.run and sorted(Path(again.run).iterdir()) == before
        np.testing.assert_array_equal(again.predictions.log_probs, result.predictions.log_probs)
        model = {**row.model, **ANOTHER_SIZE[row.name]}
        other = run_experiment(dataclasses.replace(row, model=model), **where)
        assert other.run != result.run
        assert other.about["parameters"] < result.about["parameters"]
        # both are there side by side
        assert run_experiment(row, **where).run == result.run

    def test_it_is_loaded_again_and_predicts(self, where, row, tiny_kth):
        result = run_experiment(row, **where)
        recogniser = load_recogniser(result.run, experiment=row)
        assert recogniser.extra["model"] == row.model
        trained = recogniser.model.state_dict()
        untrained = new_model(row, Recipe()).state_dict()
        assert trained.keys() == untrained.keys()
        moved = {name for name in trained if not torch.equal(trained[name], untrained[name])}
        assert moved and not any(name.startswith("backbone.") for name in moved)
        assert recogniser.shown == row.shown.resized((48, 64))
        again = evaluate_checkpoint(recogniser, tiny_kth, cache_dir=None, progress=False)
        np.testing.assert_allclose(
            again.predictions.log_probs, result.predictions.log_probs, atol=1e-5
        )
        file = tiny_kth / "running" / "person22_running_d1.avi"
        found = predict_video(recogniser, file)
        assert found.label == max(found.probs, key=found.probs.get)
        assert sum(found.probs.values()) == pytest.approx(1)
        in_memory = predict_video(recogniser, read_frames(file, all_of(file)))
        assert in_memory.probs == pytest.approx(found.probs, abs=1e-6)
        steps = predict_video_with_frame_probs(recogniser, file)
        assert steps.frame_probs.shape == (len(found.frames), 6)
        assert steps.frame_probs.sum(1) == pytest.approx(1, abs=1e-5)

    def test_without_its_row_its_checkpoint_says_what_is_missing(self, where, row):
        run = run_experiment(row, **where).run
        with pytest.raises(ValueError, match=f"'{row.name}', which is no row of the table"):
            load_recogniser(run)


def test_another_setting_of_a_reader_is_another_run(where):
    first = run_experiment(TOY_READER, **where)
    shown = dataclasses.replace(TOY_READER.shown, reader=MedianDistance(3))
    row = dataclasses.replace(TOY_READER, shown=shown, model={"bands": 3, "width": 8})
    other = run_experiment(row, **where)
    assert other.run != first.run
    loaded = load_recogniser(other.run, experiment=TOY_READER)  # settings are the checkpoint's
    assert loaded.shown.reader == MedianDistance(3)


def test_a_reader_of_another_name_is_refused(where):
    run = run_experiment(TOY_READER, **where).run
    row = dataclasses.replace(TOY_READER, shown=STRIDED)
    with pytest.raises(ValueError, match="no reader 'MedianDistance' here; there is GreyFrames"):
        load_recogniser(run, experiment=row)


def test_a_file_is_searched_once_however_often_it_is_trained_on(where, make_kth, tmp_path):
    own = {**where, "cache_dir": tmp_path / "cache", "runs_dir": tmp_path / "runs"}
    own["root"] = make_kth(tmp_path / "KTH", segments=1)
    MedianDistance.searched.clear()
    run_experiment(TOY_READER, **own)
    assert len(MedianDistance.searched) == len(set(MedianDistance.searched)) == 18
    run_experiment(TOY_READER, **own, force=True, seed=1)
    assert len(MedianDistance.searched) == 18


def test_tuning_a_model_without_an_encoder_is_refused(where):
    with pytest.raises(ValueError, match="ToyClipModel has no encoder"):
        run_experiment(TOY_CLIP, **where, fine_tune=1)
