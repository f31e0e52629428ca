"""Every registered experiment from files to results, on moving discs and with a backbone that is
only a coarse grid."""

import dataclasses
import errno
import functools
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from data.kth import ACTIONS, SPLITS, find_segments
from experiments import training as experiments
from experiments.training import (
    EXPERIMENTS,
    Recipe,
    evaluate_checkpoint,
    load_recogniser,
    resolve,
    run_experiment,
)
from models.backbone import EfficientNetBackbone, save_backbone
from models.temporal import HEADS, FrameAverage, TemporalGRU
from tests.stand_ins import GridBackbone
from tracking import loggers
from tracking import report as findings
from tracking import results as tracking
from utils.engine import load_checkpoint, save_checkpoint, train_model

make_figures = findings.make_figures  # as it is outside these tests, see _grid


class Lab:
    """A data set and the folders of its runs; run(name, ...) is a short run_experiment on them."""

    def __init__(self, root, base):
        self.root, self.base = root, base
        self.where = {
            "runs_dir": base / "runs",
            "cache_dir": base / "cache",
            "results_dir": base / "results",
        }

    def run(self, name, **changes):
        settings = {
            "size": (24, 32),
            "epochs": 2,
            "batch_size": 8,
            "progress": False,
            **self.where,
            **changes,
        }
        return run_experiment(name, root=self.root, **settings)


@pytest.fixture(autouse=True)
def _grid(monkeypatch):
    monkeypatch.setattr(experiments, "EfficientNetBackbone", GridBackbone)
    monkeypatch.setattr(experiments, "RECOGNISERS", Path("no/such/folder"))
    monkeypatch.setattr(
        findings, "make_figures", lambda _: {}
    )  # half a second a run; drawn where it matters


@pytest.fixture(scope="module")
def discs(make_kth, tmp_path_factory):
    return make_kth(
        tmp_path_factory.mktemp("discs") / "Discs",
        persons=(11, 12, 19, 22),
        scenarios=(1, 4),
        length=8,
    )


@pytest.fixture
def lab(discs, tmp_path):
    return Lab(discs, tmp_path)


@contextmanager
def interrupted_after(epoch, kind, callback, monkeypatch):
    """Within this block a callback of the training lets Ctrl-C through once it has done its work of
    an epoch."""
    original = getattr(kind, callback)

    def cut(self, row):
        original(self, row)
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kind, callback, cut)
        yield


@pytest.mark.parametrize("name", EXPERIMENTS)
class TestEveryExperiment:
    def test_is_trained_measured_kept_and_predicts_again(self, lab, name):
        result = lab.run(name, epochs=1)
        files = 12  # person 22: six actions, two scenarios
        assert result.video["n"] == files
        assert result.segment["n"] == (files if EXPERIMENTS[name].whole_file else 2 * files)
        assert len(result.history) == 1
        again = evaluate_checkpoint(result.run, lab.root, cache_dir=None, progress=False)
        assert again.items == result.items and again.experiment == name

    def test_its_description_is_complete(self, name):
        experiment = EXPERIMENTS[name]
        assert experiment.name == name and experiment.head in HEADS and experiment.title
        assert experiment.question.endswith("?") and experiment.averaged
        assert json.loads(json.dumps(experiment.to_config())) == experiment.to_config()


def test_the_real_backbone_fits_into_an_experiment(monkeypatch, make_kth, tmp_path):
    monkeypatch.undo()
    root = make_kth(tmp_path / "KTH", actions=("boxing", "running"), segments=1, length=4)
    lab = Lab(root, tmp_path)
    results = [
        lab.run(name, size=(32, 32), weights=None, epochs=1) for name in ("average", "gru_uniform")
    ]
    assert [r.about["weights"] for r in results] == ["random", "random"]
    assert results[1].segment["n"] == 2
    # one pass over each split: the second experiment found the features of the first
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 3
    checkpoint = load_checkpoint(Path(results[1].run) / "best.pth")
    assert checkpoint["backbone"]["features.0.0.weight"].shape == (32, 1, 3, 3)
    assert load_recogniser(results[1].run).model.backbone.feature_dim == 1280


@pytest.mark.parametrize("name", ["ghost", "gru"])
def test_fine_tuning_changes_the_last_stages_only(monkeypatch, make_kth, tmp_path, name):
    monkeypatch.undo()
    root = make_kth(tmp_path / "KTH", actions=("boxing", "running"), segments=1, length=4)
    start = EfficientNetBackbone(weights=None)
    save_backbone(start, tmp_path / "start.pth", card={})
    before = EfficientNetBackbone(weights=tmp_path / "start.pth").features.state_dict()
    result = Lab(root, tmp_path).run(
        name, size=(32, 32), weights=str(tmp_path / "start.pth"), epochs=1, fine_tune=2
    )
    after = load_checkpoint(Path(result.run) / "best.pth")["backbone"]
    changed = {
        key.split(".")[0]
        for key in before
        if not torch.equal(before[key], after[f"features.{key}"])
    }
    assert changed == {"7", "8"} and result.about["weights"] == "start.pth, 2 stages tuned"
    head = sum(p.numel() for p in load_recogniser(result.run).model.head.parameters())
    start.unfreeze(2)
    tuned = sum(p.numel() for p in start.parameters() if p.requires_grad)
    assert tuned > 0 and result.about["parameters"] == head + tuned
    again = evaluate_checkpoint(result.run, root, cache_dir=None, progress=False)
    assert again.about["parameters"] == head + tuned
    with pytest.raises(ValueError, match="stages tuned"):
        experiments.export_recogniser(result.run)


def test_a_crowd_is_trained_on_too(lab, make_kth, tmp_path):
    crowd = make_kth(tmp_path / "Crowd", persons=(101, 102), length=8)
    result = lab.run("gru", epochs=1, extra_root=str(crowd))
    assert result.about["trained_on"] == "Discs + Crowd"
    assert lab.run("gru", epochs=1).run != result.run
    extra = load_checkpoint(Path(result.run) / "best.pth")["extra"]
    assert extra["data"] == "Discs" and extra["extra_data"] == "Crowd"


@pytest.mark.parametrize("recipe", [{}, {"fine_tune": 1}])
def test_a_crowd_with_the_same_persons_is_refused_before_any_work(lab, make_kth, tmp_path, recipe):
    same = make_kth(tmp_path / "Same", persons=(22,), length=8)
    with pytest.raises(ValueError, match="person22"):
        lab.run("gru", epochs=1, extra_root=str(same), **recipe)
    assert not (lab.base / "cache").exists() and not (lab.base / "runs").exists()


def test_every_window_of_a_segment_is_heard(lab):
    window = experiments.Window(2, 2)
    segments = find_segments(lab.root)[:2]  # of eight frames: reach 3, half of it 1
    pieces = experiments.windows_of(segments, window)
    assert [(p.start - segments[0].start, len(p)) for p in pieces if p.index == 0] == [
        (s, 3) for s in range(6)
    ]
    assert (
        experiments.windows_of(segments, experiments.Window(8, 4))[0].stop == segments[0].stop
    )  # one, too short
    result = lab.run("gru", epochs=1)
    heard = evaluate_checkpoint(
        result.run, lab.root, cache_dir=None, progress=False, every_window=True
    )
    assert heard.segment["n"] == result.segment["n"] and heard.video["n"] == result.video["n"]


def test_a_window_of_one_frame_stands_at_each_frame(lab):
    segment = find_segments(lab.root)[0]
    pieces = experiments.windows_of([segment], experiments.Window(1))
    assert [(p.start, p.stop) for p in pieces] == [
        (t, t + 1) for t in range(segment.start, segment.stop)
    ]


def test_windows_are_put_together_to_their_whole_segments(lab):
    segments = find_segments(lab.root)[:3]
    pieces = experiments.windows_of(segments, experiments.Window(2, 2))
    log_probs = np.log(np.full((len(pieces), 6), 1 / 6))
    together, wholes = experiments.by_segment(log_probs, pieces)
    assert wholes == segments and together.shape == (3, 6)


def test_the_report_of_every_window_looks_for_mistakes_in_whole_segments(lab, monkeypatch):
    window = experiments.Window(2, 2)
    monkeypatch.setitem(EXPERIMENTS, "gru", dataclasses.replace(EXPERIMENTS["gru"], sampler=window))
    given = []
    monkeypatch.setattr(findings, "find_mistakes", lambda _, segments: given.extend(segments) or [])
    lab.run("gru", epochs=1, every_window=True)
    assert given == experiments.load_splits(lab.root)["test"]


def test_a_recogniser_of_every_window_is_read_as_it_was_trained(lab, monkeypatch):
    window = experiments.Window(2, 2)
    monkeypatch.setitem(EXPERIMENTS, "gru", dataclasses.replace(EXPERIMENTS["gru"], sampler=window))
    trained = []
    monkeypatch.setattr(
        experiments, "train_model", lambda *a, **k: trained.append(a) or train_model(*a, **k)
    )
    result = lab.run("gru", epochs=1, every_window=True)
    (_, train, validation), segments = trained[0], find_segments(lab.root)
    per_segment = len(experiments.windows_of(segments[:1], window))
    assert per_segment > 1 and len(validation.dataset) == per_segment * 24 == len(train.dataset) / 2
    assert result.segment["n"] == 24
    again = evaluate_checkpoint(result.run, lab.root, cache_dir=None, progress=False)
    assert again.items == result.items
    middle = evaluate_checkpoint(
        result.run, lab.root, cache_dir=None, progress=False, every_window=False
    )
    assert middle.segment["n"] == 24 and middle.items != result.items


def test_what_can_be_told_apart_is_learned(lab):
    """The discs of each action move at their own height: one frame of a stranger is enough."""
    result = lab.run("average", epochs=60, lr=1e-2, patience=60)
    assert result.segment["accuracy"] > 0.9
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]


class TestRuns:
    def test_a_finished_run_is_not_run_again(self, lab, monkeypatch):
        first = lab.run("gru")
        monkeypatch.setattr(
            experiments, "train_model", lambda *_, **__: pytest.fail("trained again")
        )
        second = lab.run("gru")
        assert second == first

    def test_force_another_seed_and_another_recipe_are_other_runs(self, lab):
        changes = ({}, {"seed": 1}, {"lr": 1e-2}, {"force": True})
        assert len({lab.run("average", epochs=1, **change).run for change in changes}) == 4

    def test_another_head_of_the_same_name_is_another_run(self, lab, monkeypatch):
        first = lab.run("gru", epochs=1)

        class Wider(TemporalGRU):
            def __init__(self, **config):
                super().__init__(**config)
                self.classifier = nn.Sequential(nn.Linear(256, 9), nn.Linear(9, 6))

        runs = {first.run}
        for head in (
            functools.partial(TemporalGRU, hidden=4),
            functools.partial(TemporalGRU, dropout=0.5),
            type("TemporalGRU", (Wider,), {}),
            FrameAverage,
        ):
            monkeypatch.setitem(HEADS, "gru", head)
            result = lab.run("gru", epochs=1)
            assert result.run not in runs
            runs.add(result.run)
            assert lab.run("gru", epochs=1).run == result.run
        with pytest.raises(ValueError, match="head.class TemporalGRU .now FrameAverage"):
            lab.run("gru", epochs=1, resume=first.run)

    def test_other_data_is_another_run(self, lab, make_kth):
        first = lab.run("average", epochs=1)
        other = Lab(make_kth(lab.base / "Discs", length=7), lab.base)
        assert other.run("average", epochs=1).run != first.run

    def test_an_interrupted_run_goes_on_in_its_folder_to_the_same_end(self, lab, monkeypatch):
        whole = lab.run("gru", epochs=4, runs_dir=lab.base / "whole")
        with interrupted_after(2, tracking.RunFolder, "log_epoch", monkeypatch):
            lab.run("gru", epochs=4)
        (cut,) = tracking.find_runs(lab.base / "runs", "gru")
        assert not cut.finished and len(cut.history) == 2
        result = lab.run("gru", epochs=4)
        assert result.run == str(cut.path)
        assert [r["val_loss"] for r in result.history] == pytest.approx(
            [r["val_loss"] for r in whole.history]
        )
        assert result.items == whole.items

    def test_a_run_to_resume_must_be_a_run_of_the_same_settings(self, lab, tmp_path):
        first = lab.run("average", epochs=1)
        newer = lab.run("average", epochs=1, force=True)
        assert lab.run("average", epochs=1, resume=first.run).run == first.run != newer.run
        for name, changed, said in (
            ("ghost", {}, r"experiment\.name average \(now ghost\)"),
            ("average", {"lr": 0.1}, r"recipe\.lr 0\.001 \(now 0\.1\)"),
        ):
            with pytest.raises(ValueError, match=said):
                lab.run(name, epochs=1, resume=first.run, **changed)
        with pytest.raises(ValueError, match="no run folder"):
            lab.run("average", epochs=1, resume=tmp_path)
        assert lab.run("average", epochs=1, resume=True).run == newer.run
        with pytest.raises(ValueError, match="no run of ghost"):
            lab.run("ghost", epochs=1, resume=True)

    def test_the_test_persons_choose_nothing(self, lab, monkeypatch):
        seen = []
        original = experiments.train_model

        def spy(model, train, validation, **settings):
            seen.extend(
                {s.video.person for s in loader.dataset.segments} for loader in (train, validation)
            )
            return original(model, train, validation, **settings)

        monkeypatch.setattr(experiments, "train_model", spy)
        result = lab.run("average", epochs=1)
        assert seen == [{11, 12}, {19}]
        assert {Path(item["file"]).name[:8] for item in result.items} == {"person22"}

    def test_a_fast_run_is_small_and_leaves_no_trace_in_results(self, lab):
        result = lab.run("average", fast=True, epochs=50)
        assert len(result.history) <= experiments.FAST_EPOCHS and result.segment["n"] < 24
        assert not (lab.base / "results").exists()
        with pytest.raises(FileNotFoundError, match="no finished run"):
            resolve("average", lab.base / "runs")

    def test_a_broken_file_is_left_out_with_its_name(self, lab, make_kth):
        root = make_kth(lab.base / "Broken", length=8)
        (root / "boxing" / "person22_boxing_d1.avi").write_bytes(b"")
        with pytest.warns(UserWarning, match="person22_boxing_d1"):
            result = Lab(root, lab.base).run("middle", epochs=1)
        assert result.segment["n"] == 10

    def test_a_missing_split_names_its_persons(self, lab, make_kth):
        root = make_kth(lab.base / "Two", persons=(11, 19), actions=("boxing",))
        with pytest.raises(ValueError, match=r"no segments for test .*22"):
            Lab(root, lab.base).run("middle")

    def test_an_unknown_experiment_and_an_unknown_setting_are_named(self, lab):
        with pytest.raises(ValueError, match="'gost'.*ghost"):
            lab.run("gost")
        with pytest.raises(TypeError, match="epoch_count"):
            lab.run("ghost", epoch_count=3)


class TestLogging:
    def told(self, result, name):
        accumulator = EventAccumulator(
            str(Path(result.run) / "tensorboard"), size_guidance={"scalars": 0}
        )
        accumulator.Reload()
        return {event.step: event.value for event in accumulator.Scalars(name)}, accumulator.Tags()[
            "images"
        ]

    def test_a_logged_run_is_the_same_run_with_the_same_numbers(self, lab, monkeypatch):
        plain = lab.run("gru", epochs=3, runs_dir=lab.base / "plain")
        monkeypatch.setattr(findings, "make_figures", make_figures)
        logged = lab.run("gru", epochs=3, log=("tensorboard",))
        assert lab.run("gru", epochs=3).run == logged.run
        assert tracking.RunFolder(logged.run).hash == tracking.RunFolder(plain.run).hash
        assert logged.items == plain.items
        keys = [key for key in plain.history[0] if key != "seconds"]
        assert [[row[k] for k in keys] for row in logged.history] == [
            [row[k] for k in keys] for row in plain.history
        ]
        losses, images = self.told(logged, "loss/validation")
        assert losses == {row["epoch"]: np.float32(row["val_loss"]) for row in logged.history}
        assert {"figures/confusion of segments", "figures/training curves"} <= set(images)
        folder = Path(logged.run) / "tensorboard"
        assert "tensors.tsv" in (folder / "projector_config.pbtxt").read_text()
        assert np.loadtxt(folder / "00003" / "test" / "tensors.tsv").shape == (
            24,
            GridBackbone.feature_dim,
        )
        assert not (Path(plain.run) / "tensorboard").exists()

    def test_a_run_that_goes_on_has_each_step_once(self, lab, monkeypatch):
        with interrupted_after(2, loggers.TensorBoardLogger, "__call__", monkeypatch):
            lab.run("average", epochs=4, log=("tensorboard",))
        result = lab.run("average", epochs=4, log=("tensorboard",))
        folder = Path(result.run) / "tensorboard"
        assert len(list(folder.glob("events.*"))) == 2
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        assert [event.step for event in accumulator.Scalars("loss/train")] == [1, 2, 3, 4]

    def test_a_disk_that_is_full_for_the_logger_costs_nothing_else(self, lab, monkeypatch):
        def full(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(loggers.TensorBoardLogger, "_log", full)
        with pytest.warns(UserWarning, match="TensorBoard is switched off.*No space left") as said:
            result = lab.run("average", epochs=3, log=("tensorboard",))
        assert len([w for w in said if "switched off" in str(w.message)]) == 1
        run = tracking.RunFolder(result.run)
        assert run.finished and len(run.history) == 3 and run.best.is_file()

    def test_what_cannot_log_is_said_before_anything_is_made(self, lab, monkeypatch):
        with pytest.raises(ValueError, match="tensorbord"):
            lab.run("average", log=("tensorbord",))
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(ModuleNotFoundError, match=r'pip install -e "\.\[wandb\]"'):
            lab.run("average", log=("wandb",))
        assert not (lab.base / "runs").exists()

    def test_an_embedding_of_a_tuned_model_is_its_features(self, lab):
        model = experiments.VideoClassifier(backbone=GridBackbone(), head=nn.Identity())
        clips = torch.rand(4, 1, 24, 32)
        items = [
            {"input": clips[:3], "label": 0, "index": 0},
            {"input": clips[3:], "label": 0, "index": 1},
        ]
        features = model.backbone(clips)
        wanted = torch.stack([features[:3].mean(0), features[3]])
        assert np.allclose(experiments._embedding(model, items), wanted, atol=1e-6)


class TestReport:
    def test_says_what_the_result_says(self, lab, monkeypatch):
        monkeypatch.setattr(findings, "make_figures", make_figures)
        result = lab.run("gru", data_name='<b>&"', seed=5)
        sections = json.loads((Path(result.run) / "report.json").read_text())["sections"]
        for row, score in zip(
            sections["Result"]["rows"], (result.segment, result.video), strict=True
        ):
            assert (row["correct"], row["n"], row["accuracy"]) == (
                score["correct"],
                score["n"],
                score["accuracy"],
            )
            assert [row["low"], row["high"]] == score["interval"]
        assert [
            list(row.values())[1:] for row in sections["Confusion of videos"]["rows"]
        ] == result.video_confusion
        assert [row["val_loss"] for row in sections["Training"]["rows"]] == [
            r["val_loss"] for r in result.history
        ]
        assert sections["Configuration"]["facts"]["recipe.seed"] == 5
        assert {"version of torch", "commit", "data hash", "seed"} <= set(
            sections["Where it came from"]["facts"]
        )
        page = (Path(result.run) / "report.html").read_text()
        assert (
            "&lt;b&gt;&amp;&quot;" in page
            and "<b>" not in page
            and page.count("data:image/png") >= 3
        )

    def test_is_made_again_with_the_same_numbers_and_without_the_data(self, lab):
        result = lab.run("average", epochs=1)
        path = Path(result.run) / "report.json"
        before = json.loads(path.read_text())
        assert experiments.report_again(result.run, lab.root) == path.with_name("report.html")
        assert json.loads(path.read_text()) == before
        experiments.report_again(result.run, lab.base / "nowhere")
        after = json.loads(path.read_text())
        assert "not in the data folder" in after["sections"]["Mistakes"]["note"]
        assert after["sections"]["Result"] == before["sections"]["Result"]
        with pytest.raises(FileNotFoundError, match="no folder of a finished run"):
            experiments.report_again(lab.base)

    def test_one_that_cannot_be_written_costs_nothing_else(self, lab, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(experiments, "write_report", full)
        with pytest.warns(UserWarning, match="no report of .*No space left"):
            assert tracking.RunFolder(lab.run("average", epochs=1).run).finished


class TestResults:
    def test_loss_and_calibration_are_of_unrounded_probabilities(self, tiny_kth, tmp_path):
        segments = find_segments(tiny_kth)[:2]
        logits = np.zeros((2, 6), np.float32)
        logits[:, (segments[0].label + 1) % 6] = 16  # sure, and wrong
        log_probs = logits - np.log(np.exp(logits.astype(float)).sum(1, keepdims=True))
        result = experiments.measure(log_probs, segments, experiment="gru", data="d", split="test")
        assert (
            result.loss == pytest.approx(-log_probs[0, segments[0].label], abs=1e-9)
            and result.loss < 16.1
        )
        assert result.calibration_error == pytest.approx(np.exp(log_probs.max()), abs=1e-6)
        run = tracking.RunFolder.create(tmp_path, "gru", {})
        run.finish(experiments._record_of(result))
        again = experiments.read_result(run)
        assert again.loss == result.loss and again.calibration_error == result.calibration_error
        np.testing.assert_array_equal(again.answers[0], np.exp(log_probs))
        assert again.items[0]["probs"][segments[0].video.action] == 0  # six digits are for the eye

    def test_the_loss_of_a_run_is_the_one_that_evaluating_it_again_finds(self, lab):
        result = lab.run("average", epochs=1)
        again = evaluate_checkpoint(result.run, lab.root, cache_dir=None, progress=False)
        assert result.loss == pytest.approx(again.loss, abs=1e-9) and len(result.log_probs) == 24

    def test_rows_agree_with_the_result(self, lab):
        result = lab.run("gru", seed=3)
        rows = tracking.read_results(lab.base / "results" / "discs.csv")
        assert [row["level"] for row in rows] == ["segment", "video"]
        assert rows[0]["correct"] == str(result.segment["correct"]) and rows[0]["n"] == "24"
        assert (
            rows[0]["seed"] == "3"
            and rows[0]["trained_on"] == "Discs"
            and rows[0]["frames"] == "window 8 4"
        )
        assert float(rows[1]["low"]) == pytest.approx(result.video["interval"][0], abs=1e-5)
        assert rows[0]["parameters"] == str(
            sum(p.numel() for p in load_recogniser(result.run).model.head.parameters())
        )

    def test_the_exchanged_evaluation_has_exactly_its_keys_and_adds_up(self, lab):
        result = lab.run("ghost")
        told = json.loads(json.dumps(result.to_json()))
        wanted = "experiment data split segment video per_class confusion classes items"
        assert list(told) == wanted.split()
        assert told["classes"] == list(ACTIONS) == list(told["per_class"])
        confusion = np.array(told["confusion"])
        assert confusion.sum() == told["segment"]["n"] == len(told["items"])
        assert (
            confusion.trace()
            == told["segment"]["correct"]
            == sum(c["correct"] for c in told["per_class"].values())
        )
        assert (
            sum(item["label"] == item["predicted"] for item in told["items"])
            == told["segment"]["correct"]
        )
        assert set(told["segment"]) == {"correct", "n", "accuracy", "interval"}
        item = told["items"][0]
        assert item["file"] == "boxing/person22_boxing_d1.avi" and item["segment"] == 1
        assert item["predicted"] == max(item["probs"], key=item["probs"].get)
        assert sum(item["probs"].values()) == pytest.approx(1, abs=1e-4)

    def test_videos_are_the_log_mean_probability_of_their_segments(self, lab):
        result = lab.run("middle")
        by_file = {}
        for item in result.items:
            by_file.setdefault(item["file"], []).append(list(item["probs"].values()))
        right = sum(
            ACTIONS[int(np.mean(p, 0).argmax())] == file.split("/")[0]
            for file, p in by_file.items()
        )
        assert right == result.video["correct"] == np.trace(result.video_confusion)

    def test_scenarios_are_counted_apart(self, lab):
        result = lab.run("middle")
        assert {key: score["n"] for key, score in result.per_scenario.items()} == {"1": 12, "4": 12}
        assert (
            sum(score["correct"] for score in result.per_scenario.values())
            == result.segment["correct"]
        )

    def test_persons_are_counted_apart(self, lab):
        result = lab.run("middle")
        assert {key: score["n"] for key, score in result.per_person.items()} == {"person22": 24}
        assert (
            sum(score["correct"] for score in result.per_person.values())
            == result.segment["correct"]
        )

    def test_one_line_tells_counts_and_interval(self, lab):
        result = lab.run("middle")
        assert f"{result.segment['correct']}/24" in str(result) and "Discs (test)" in str(result)

    def test_the_name_of_data_comes_from_its_card_or_its_folder(self, tmp_path):
        assert experiments.name_of(tmp_path) == tmp_path.name
        (tmp_path / "dataset.json").write_text('{"name": "KTH-Synth"}')
        assert experiments.name_of(tmp_path) == "KTH-Synth"


class TestEvaluation:
    def test_all_counts_everybody_and_warns_of_persons_seen_in_training(self, lab):
        run = lab.run("middle").run
        with pytest.warns(UserWarning, match="persons 11, 12, 19 of Discs"):
            result = evaluate_checkpoint(run, lab.root, split="all", cache_dir=None, progress=False)
        assert result.segment["n"] == 96 and result.split == "all"

    def test_files_without_a_person_are_in_all(self, lab, write_video):
        run = lab.run("middle").run
        frames = np.full((9, 48, 64), 90, dtype=np.uint8)
        write_video(lab.base / "Mine" / "boxing" / "me.avi", frames)
        with pytest.warns(UserWarning, match="no person"):
            result = evaluate_checkpoint(
                run, lab.base / "Mine", split="all", cache_dir=None, progress=False
            )
        assert result.segment["n"] == 1 and list(result.per_scenario) == list(
            result.per_person
        ) == ["unknown"]
        with pytest.warns(UserWarning), pytest.raises(ValueError, match="--split all"):
            evaluate_checkpoint(run, lab.base / "Mine", progress=False)

    def test_rows_name_what_was_trained_on(self, lab):
        run = lab.run("middle").run
        evaluate_checkpoint(
            run,
            lab.root,
            data_name="Other discs",
            results_dir=lab.base / "results",
            progress=False,
            cache_dir=None,
        )
        row = tracking.read_results(lab.base / "results" / "other-discs.csv")[0]
        assert row["data"] == "Other discs" and row["trained_on"] == "Discs"


class TestCheckpoints:
    def test_a_name_is_its_newest_finished_run_then_the_bundled_one(self, lab, monkeypatch):
        runs = lab.base / "runs"
        monkeypatch.setattr(experiments, "DEFAULT_RECOGNISER", "gru")
        with pytest.raises(FileNotFoundError, match=r"python har\.py train gru"):
            resolve("gru", runs)
        with pytest.raises(FileNotFoundError, match="no bundled recogniser"):
            resolve("bundled", runs)
        monkeypatch.setattr(experiments, "RECOGNISERS", lab.base)
        (lab.base / "recogniser_gru.pth").touch()
        assert resolve("gru", runs) == resolve("bundled", runs) == lab.base / "recogniser_gru.pth"
        result = lab.run("gru", epochs=1)
        assert resolve("gru", runs) == resolve(result.run) == Path(result.run) / "best.pth"
        assert resolve(Path(result.run) / "last.pth") == Path(result.run) / "last.pth"

    def test_what_is_no_checkpoint_is_said_in_words(self, lab, tmp_path):
        with pytest.raises(FileNotFoundError, match="'grou'.*gru"):
            resolve("grou")
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match=r"no best\.pth"):
            resolve(tmp_path / "empty")

    def test_a_checkpoint_carries_what_predicting_needs(self, lab):
        result = lab.run("ghost", seed=2)
        extra = load_checkpoint(Path(result.run) / "best.pth")["extra"]
        assert extra["classes"] == list(ACTIONS) and extra["sampler"] == {
            "name": "uniform",
            "frames": 8,
        }
        assert extra["transform"] == {"size": [24, 32], "pool": "mean", "channels": 1, "gap": 0}
        assert extra["head"]["name"] == "average" and extra["seed"] == 2 and extra["span"] == 8
        assert extra["versions"]["torch"] == str(torch.__version__)

    @pytest.mark.parametrize("missing", ["classes", "sampler", "head"])
    def test_a_checkpoint_that_says_too_little_is_refused(self, lab, missing):
        path = Path(lab.run("middle", epochs=1).run) / "best.pth"
        checkpoint = load_checkpoint(path)
        del checkpoint["extra"][missing]
        torch.save(checkpoint, path)
        with pytest.raises(ValueError, match=missing):
            load_recogniser(path)

    def test_weights_of_another_model_are_refused(self, lab):
        path = Path(lab.run("middle", epochs=1).run) / "best.pth"
        checkpoint = load_checkpoint(path)
        checkpoint["extra"]["head"]["name"] = "gru"
        torch.save(checkpoint, path)
        with pytest.raises(ValueError, match="another model"):
            load_recogniser(path)


class TestExport:
    def test_a_recogniser_without_its_backbone_predicts_the_same(self, lab):
        result = lab.run("gru")
        path = experiments.export_recogniser(result.run, out=lab.base / "small.pth")
        assert load_checkpoint(path)["backbone"] is None
        again = evaluate_checkpoint(path, lab.root, cache_dir=None, progress=False)
        assert [i["predicted"] for i in again.items] == [i["predicted"] for i in result.items]
        differences = [
            abs(i["probs"][a] - j["probs"][a])
            for i, j in zip(again.items, result.items, strict=True)
            for a in ACTIONS
        ]
        assert max(differences) < 2e-3  # the exported head is in half precision

    def test_it_refuses_a_backbone_that_has_changed(self, lab, monkeypatch):
        path = experiments.export_recogniser(
            lab.run("gru", epochs=1).run, out=lab.base / "small.pth"
        )
        monkeypatch.setattr(GridBackbone, "fingerprint", lambda self: "another")
        with pytest.raises(ValueError, match="grid 4.0"):
            load_recogniser(path)

    def test_only_a_recogniser_on_bundled_weights_is_exported(self, lab):
        run = lab.run("middle", weights=None, epochs=1).run
        with pytest.raises(ValueError, match="'random'"):
            experiments.export_recogniser(run, out=lab.base / "small.pth")


def test_the_recipe_reaches_the_training(lab, monkeypatch):
    got = {}

    def spy(model, train, validation, **settings):
        got.update(settings, batch=train.batch_sampler.batch_size)
        raise InterruptedError

    monkeypatch.setattr(experiments, "train_model", spy)
    with pytest.raises(InterruptedError):
        lab.run(
            "middle",
            epochs=7,
            lr=0.5,
            schedule="onecycle",
            patience=3,
            batch_size=5,
            seed=9,
            label_smoothing=0.2,
        )
    wanted = {
        "epochs": 7,
        "lr": 0.5,
        "schedule": "onecycle",
        "patience": 3,
        "seed": 9,
        "label_smoothing": 0.2,
    }
    wanted["batch"] = 5
    assert {name: got[name] for name in wanted} == wanted
    assert Recipe().training()["epochs"] == 40


def test_splits_are_the_official_ones(discs):
    splits = experiments.load_splits(discs)
    assert list(splits) == list(SPLITS)
    assert {split: len(found) for split, found in splits.items()} == {
        "train": 48,
        "validation": 24,
        "test": 24,
    }


def test_save_checkpoint_of_a_bare_head_is_refused_as_a_recogniser(tmp_path):
    save_checkpoint(tmp_path / "a.pth", model=nn.Linear(2, 2), extra={"classes": ["a"]})
    with pytest.raises(ValueError, match=r"a\.pth cannot be used for predicting"):
        load_recogniser(tmp_path / "a.pth")
