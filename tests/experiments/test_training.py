"""Experiments from files to results, on moving discs and mostly with a backbone that is only a
coarse grid."""

import base64
import errno
import json
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from data.files import read_csv
from data.kth import find_segments
from evaluation import statistics
from evaluation.predictions import Predictions
from experiments.datasets import dataset_of, dense_clips
from experiments.recipe import FAST_EPOCHS, Recipe
from experiments.recognisers import (
    evaluate_checkpoint,
    export_recogniser,
    load_recogniser,
    resolve,
)
from experiments.reports import report_again
from experiments.results import Result, subject_summary, validation_table
from experiments.table import EXPERIMENTS
from experiments.training import _embedding, fit, new_model
from models.backbone import EfficientNetBackbone
from models.temporal import VideoClassifier
from tests.stand_ins import (
    GridBackbone,
    Lab,
    Witness,
    grid_classifier,
    same_predictions,
    stop_after,
    tiny,
    two_frames,
    untimed,
)
from tracking.runs import RunFolder, find_runs
from utils.checkpoint import load_checkpoint, save_backbone

STEPS = 6  # of an epoch on the discs: 48 segments in batches of 8


def slow_where_a_person_is_searched(name):
    searched = hasattr(EXPERIMENTS[name].shown.reader, "finder")
    return pytest.param(name, marks=pytest.mark.slow) if searched else name


@pytest.mark.parametrize("name", map(slow_where_a_person_is_searched, EXPERIMENTS))
def test_every_experiment_is_trained_measured_kept_and_predicts_again(shared_lab, name):
    result = shared_lab.run(name, epochs=1)
    files = 12  # person 22: six actions, two scenarios
    assert result.video.n == files
    assert result.segment.n == (files if EXPERIMENTS[name].whole_file else 2 * files)
    assert len(result.history) == 1
    again = shared_lab.evaluate(result)
    assert same_predictions(again.predictions, result.predictions, within=1e-5)
    assert again.experiment == name


def test_the_real_backbone_fits_into_an_experiment(make_kth, tmp_path):
    root = make_kth(tmp_path / "KTH", actions=("boxing", "running"), segments=1, length=4)
    lab, rows = Lab(root, tmp_path), (EXPERIMENTS["average"], EXPERIMENTS["gru_uniform"])
    results = [lab.run(row, size=(32, 32), weights=None, epochs=1) for row in rows]
    assert [r.about["weights"] for r in results] == ["random", "random"]
    assert results[1].segment.n == 2
    # one pass over each split: the second experiment found the features of the first
    assert len(list((tmp_path / "cache").iterdir())) == 3
    checkpoint = load_checkpoint(Path(results[1].run) / "best.pth")
    assert checkpoint["backbone"]["features.0.0.weight"].shape == (32, 1, 3, 3)
    assert load_recogniser(results[1].run).model.backbone.feature_dim == 1280


@pytest.mark.parametrize("name", ["ghost", "gru"])
def test_fine_tuning_changes_the_last_stages_only(make_kth, tmp_path, name):
    root = make_kth(tmp_path / "KTH", actions=("boxing", "running"), segments=1, length=4)
    start = EfficientNetBackbone(weights=None)
    save_backbone(start, tmp_path / "start.pth", card={})
    before = EfficientNetBackbone(weights=tmp_path / "start.pth").features.state_dict()
    result = Lab(root, tmp_path).run(
        EXPERIMENTS[name],
        size=(32, 32),
        weights=str(tmp_path / "start.pth"),
        epochs=1,
        fine_tune=2,
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
        export_recogniser(result.run)


class TestAuxiliary:
    def test_it_is_trained_on_too(self, lab, make_kth, tmp_path):
        root = make_kth(tmp_path / "Auxiliary", persons=(101, 102), length=8)
        witness = Witness()
        watched = witness.experiment("gru")
        result = lab.run(watched, auxiliary_root=str(root))
        assert witness.sides() == [({11, 12, 101, 102}, {19}, {22})]
        assert result.about["trained_on"] == "Discs + Auxiliary"
        assert lab.run(watched).run != result.run
        extra = load_checkpoint(Path(result.run) / "best.pth")["extra"]
        assert extra["data"] == "Discs" and extra["auxiliary_data"] == "Auxiliary"

    @pytest.mark.parametrize("recipe", [{}, {"fine_tune": 1}])
    def test_with_the_same_persons_it_is_refused_before_any_work(
        self, lab, make_kth, tmp_path, recipe
    ):
        same = make_kth(tmp_path / "Same", persons=(22,), actions=("boxing",), length=8)
        with pytest.raises(ValueError, match="person22"):
            lab.run("gru", epochs=1, auxiliary_root=str(same), **recipe)
        assert not (lab.base / "cache").exists() and not (lab.base / "runs").exists()


class TestDense:
    def test_it_is_trained_and_evaluated_on_all_clips_of_a_segment(self, lab):
        witness = Witness()
        watched = two_frames(tiny("gru", hook=witness))
        result = lab.run(watched, epochs=1, dense=True, batch_size=64)
        per_segment = len(dense_clips(find_segments(lab.root)[:1], watched.shown))
        ((_, calls),) = witness.heads
        learnt = sum(len(persons) for training, persons in calls if training)
        evaluated = sum(len(persons) for training, persons in calls if not training)
        assert per_segment > 1 and learnt == 48 * per_segment
        assert evaluated == (24 + 24) * per_segment  # validation and test
        assert result.segment.n == 24 and result.video.n == 12

    def test_a_recogniser_of_it_is_evaluated_as_it_was_trained(self, lab):
        row = two_frames(tiny("gru"))
        result = lab.run(row, epochs=1, dense=True)
        recogniser = load_recogniser(result.run, experiment=row)
        settings = {"root": lab.root, "cache_dir": None, "progress": False}
        again = evaluate_checkpoint(recogniser, **settings)
        assert same_predictions(again.predictions, result.predictions, within=1e-5)
        middle = evaluate_checkpoint(recogniser, **settings, dense=False)
        assert middle.segment.n == 24
        assert not np.array_equal(middle.predictions.log_probs, result.predictions.log_probs)

    def test_one_that_was_not_may_be_evaluated_densely(self, lab):
        row = two_frames(tiny("gru"))
        result = lab.run(row, epochs=1)
        recogniser = load_recogniser(result.run, experiment=row)
        found = evaluate_checkpoint(
            recogniser, lab.root, cache_dir=None, progress=False, dense=True
        )
        assert (found.segment.n, found.video.n) == (result.segment.n, result.video.n)
        assert not np.array_equal(found.predictions.log_probs, result.predictions.log_probs)

    def test_its_report_shows_mistakes_of_whole_segments(self, lab):
        result = lab.run(two_frames(tiny("gru")), epochs=1, dense=True, lr=1e-9)
        page = (Path(result.run) / "report.html").read_text()
        images = [
            cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_GRAYSCALE)
            for text in re.findall(r"data:image/png;base64,([\w+/=]+)", page)
        ]
        strips = [image.shape for image in images if len(image) == 48]
        # six frames of 64 pixels; a clip's length is three frames
        assert len(strips) >= 4 and set(strips) == {(48, 6 * 64)}


def test_what_can_be_told_apart_is_learned(lab):
    """The discs of each action move at their own height: one frame of a stranger is enough."""
    result = lab.run("average", epochs=60, lr=1e-2, patience=60)
    assert result.segment.accuracy > 0.9
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]


class TestFit:
    def test_it_tests_the_test_part_else_the_validation_part(self, discs):
        experiment, recipe = tiny("average"), Recipe(size=(24, 32), epochs=2, batch_size=8)
        model, segments = new_model(experiment, recipe), find_segments(discs)
        parts = {
            name: dataset_of(
                experiment,
                recipe,
                [s for s in segments if s.video.person in persons],
                model,
                train=name == "train",
            )
            for name, persons in {"train": (11, 12), "validation": (19,), "test": (22,)}.items()
        }
        fitted = fit(experiment, recipe, parts, model=model)
        assert fitted.model is model and len(fitted.history) == 2 and fitted.seconds > 0
        assert set(fitted.predictions.items["person"]) == {"person22"}
        del parts["test"]
        chosen = fit(experiment, recipe, parts, model=new_model(experiment, recipe))
        assert set(chosen.predictions.items["person"]) == {"person19"}
        assert untimed(chosen.history) == untimed(fitted.history)
        best = min(chosen.history, key=lambda row: row["val_loss"])
        assert chosen.predictions.loss == pytest.approx(best["val_loss"], abs=1e-6)
        parts["validation"] = parts["train"]
        with pytest.raises(ValueError, match="person11"):
            fit(experiment, recipe, parts)
        assert len(fit(experiment, recipe, parts, disjoint=False).history) == 2


class TestRuns:
    def test_a_finished_run_is_not_run_again(self, lab):
        passes = []
        watched = tiny("gru", hook=lambda head, inputs: passes.append(head))
        first = lab.run(watched)
        done = len(passes)
        second = lab.run(watched)
        assert len(passes) == done > 0 and second.run == first.run
        assert same_predictions(second.predictions, first.predictions)
        assert second.about == first.about and list(second.history) == list(first.history)

    @pytest.mark.slow
    def test_force_another_seed_and_another_recipe_are_other_runs(self, lab):
        changes = ({}, {"seed": 1}, {"lr": 1e-2}, {"force": True})
        assert len({lab.run("average", epochs=1, **change).run for change in changes}) == 4

    def test_whatever_builds_another_model_is_another_run(self, lab):
        def wider(**settings):
            model = grid_classifier(**settings)
            model.head.classifier = nn.Sequential(nn.Linear(256, 9), nn.Linear(9, 6))
            return model

        wider.__module__, wider.__qualname__ = "tests.stand_ins", "grid_classifier"
        row = tiny("gru")
        first = lab.run(row, epochs=1)
        runs = {first.run}
        for changes in (
            {"model": {**row.model, "hidden": 4}},
            {"model": {**row.model, "dropout": 0.5}},
            {"model": {"head": "average"}},
            {"model": row.model},
        ):
            other = tiny("gru", **changes)
            if other == row:  # the same words, and weights of other shapes
                object.__setattr__(other, "build", wider)
            result = lab.run(other, epochs=1)
            assert result.run not in runs
            runs.add(result.run)
            assert lab.run(other, epochs=1).run == result.run
        with pytest.raises(ValueError, match=r"experiment\.model\.head gru .now average"):
            lab.run(tiny("gru", model={"head": "average"}), epochs=1, resume=first.run)

    def test_other_data_is_another_run(self, lab, make_kth):
        first = lab.run("average", epochs=1)
        other = Lab(make_kth(lab.base / "Discs", length=7), lab.base)
        assert other.run("average", epochs=1).run != first.run

    def test_a_test_file_overwritten_by_another_of_its_size_is_other_data(self, lab, make_kth):
        own = Lab(make_kth(lab.base / "Own", actions=("boxing", "walking")), lab.base)
        first = own.run("average", epochs=1)
        copied = Lab(shutil.copytree(own.root, lab.base / "copy" / "Own"), lab.base)
        assert copied.run("average", epochs=1).run == first.run
        path = own.root / "boxing" / "person22_boxing_d1.avi"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert own.run("average", epochs=1).run != first.run

    def test_a_run_whose_result_is_damaged_ends_again_as_it_did(self, lab):
        first = lab.run("average")
        path = Path(first.run, "result.json")
        whole = path.read_text()
        path.write_text(whole[:40])
        again = lab.run("average")
        assert again.run == first.run and untimed(again.history) == untimed(first.history)
        assert same_predictions(again.predictions, first.predictions)
        kept = json.loads(whole)
        del kept["about"]["commit"]
        path.write_text(json.dumps(kept))
        with pytest.raises(ValueError, match=r"result\.json\.about has no 'commit'; .*--force"):
            lab.run("average")

    def test_a_damaged_file_of_results_is_refused_before_the_training(self, lab):
        path = lab.base / "results" / "discs.csv"
        path.parent.mkdir()
        path.write_text("date,score\n2020,1\n")
        with pytest.raises(ValueError, match=r"discs\.csv: rows have the columns.*move the file"):
            lab.run("average")
        assert not (lab.base / "runs").exists()
        assert lab.run("average", results_dir=None).segment.n == 24

    def test_one_that_is_damaged_meanwhile_costs_a_warning_and_no_row(self, lab, monkeypatch):
        path = lab.base / "results" / "discs.csv"

        def spoil(head, inputs):
            path.parent.mkdir(exist_ok=True)
            path.write_text("date,score\n2020,1\n")

        with pytest.warns(UserWarning, match=r"discs\.csv could not take the result"):
            result = lab.run(tiny("average", hook=spoil))
        assert path.read_text() == "date,score\n2020,1\n"
        rows = read_csv(Path(result.run, "discs.kept-1.csv"))
        assert [row["level"] for row in rows] == ["segment", "video"]
        assert rows[0]["correct"] == str(result.segment.correct)
        path.unlink()
        lab.run(tiny("average"))
        assert len(read_csv(path)) == 2, "the same command adds them, and trains nothing"

    def test_an_interrupted_run_goes_on_in_its_folder_to_the_same_end(self, lab):
        whole = lab.run("gru", epochs=4, runs_dir=lab.base / "whole")
        with pytest.raises(KeyboardInterrupt):
            lab.run(tiny("gru", hook=stop_after(2 * STEPS)), epochs=4)
        (cut,) = find_runs(lab.base / "runs", "gru")
        assert not cut.finished and len(cut.history) == 2
        result = lab.run("gru", epochs=4)
        assert result.run == str(cut.path)
        assert untimed(result.history) == untimed(whole.history)
        assert same_predictions(result.predictions, whole.predictions)

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

    def test_the_test_persons_choose_nothing(self, lab):
        witness = Witness()
        result = lab.run(witness.experiment("average"))
        assert witness.sides() == [({11, 12}, {19}, {22})]
        assert set(result.predictions.items["person"]) == {"person22"}

    def test_the_recipe_reaches_the_training(self, lab):
        wanted = {"epochs": 2, "lr": 0.5, "schedule": "onecycle", "patience": 3, "seed": 9}
        wanted |= {"label_smoothing": 0.2, "weight_decay": 0.3}
        result = lab.run("middle", batch_size=5, **wanted)
        checkpoint = load_checkpoint(Path(result.run) / "last.pth")
        assert {name: checkpoint["settings"][name] for name in wanted} == wanted
        assert checkpoint["batches"] == {"items": 48, "batch_size": 5, "seed": 9}

    def test_a_fast_run_is_small_and_leaves_no_trace_in_results(self, lab):
        result = lab.run("average", fast=True, epochs=50)
        assert len(result.history) <= FAST_EPOCHS and result.segment.n < 24
        assert not (lab.base / "results").exists()
        with pytest.raises(FileNotFoundError, match="no finished run"):
            resolve("average", lab.base / "runs")

    def test_a_broken_file_is_left_out_with_its_name(self, lab, make_kth):
        root = make_kth(lab.base / "Broken", length=8)
        (root / "boxing" / "person22_boxing_d1.avi").write_bytes(b"")
        with pytest.warns(UserWarning, match="person22_boxing_d1"):
            result = Lab(root, lab.base).run("middle", epochs=1)
        assert result.segment.n == 10

    def test_a_missing_split_names_its_persons(self, lab, make_kth):
        root = make_kth(lab.base / "Two", persons=(11, 19), actions=("boxing",))
        with pytest.raises(ValueError, match=r"no segments for test .*22"):
            Lab(root, lab.base).run("middle")

    def test_an_unknown_experiment_and_an_unknown_setting_are_named(self, lab):
        with pytest.raises(ValueError, match="'gost'.*ghost"):
            lab.run("gost")
        with pytest.raises(TypeError, match="epoch_count"):
            lab.run("ghost", epoch_count=3)
        with pytest.raises(ValueError, match="epochs is 0"):
            lab.run("ghost", epochs=0)
        assert not (lab.base / "runs").exists()

    def test_a_run_writes_its_rows(self, lab):
        result = lab.run("gru", seed=3)
        rows = read_csv(lab.base / "results" / "discs.csv")
        assert [row["level"] for row in rows] == ["segment", "video"]
        assert rows[0]["correct"] == str(result.segment.correct) and rows[0]["n"] == "24"
        assert (rows[0]["seed"], rows[0]["trained_on"]) == ("3", "Discs")
        assert (rows[0]["frames"], rows[0]["recipe"]) == ("8x4", "batch size 8, epochs 2")
        assert float(rows[1]["low"]) == pytest.approx(result.video.wilson[0], abs=1e-5)
        head = lab.load(result).model.head
        assert rows[0]["parameters"] == str(sum(p.numel() for p in head.parameters()))


class TestLogging:
    def told(self, result, name):
        folder = str(Path(result.run) / "tensorboard")
        accumulator = EventAccumulator(folder, size_guidance={"scalars": 0})
        accumulator.Reload()
        values = {event.step: event.value for event in accumulator.Scalars(name)}
        return values, accumulator.Tags()["images"]

    def test_a_logged_run_is_the_same_run_with_the_same_numbers(self, lab):
        plain = lab.run("gru", epochs=3, runs_dir=lab.base / "plain")
        logged = lab.run("gru", epochs=3, log=("tensorboard",))
        assert lab.run("gru", epochs=3).run == logged.run
        assert RunFolder(logged.run).hash == RunFolder(plain.run).hash
        assert same_predictions(logged.predictions, plain.predictions)
        assert untimed(logged.history) == untimed(plain.history)
        losses, images = self.told(logged, "loss/validation")
        assert losses == {row["epoch"]: np.float32(row["val_loss"]) for row in logged.history}
        assert {"figures/confusion of segments", "figures/training curves"} <= set(images)
        folder = Path(logged.run) / "tensorboard"
        assert "tensors.tsv" in (folder / "projector_config.pbtxt").read_text()
        embedding = np.loadtxt(folder / "00003" / "test" / "tensors.tsv")
        assert embedding.shape == (24, GridBackbone.feature_dim)
        assert not (Path(plain.run) / "tensorboard").exists()

    def test_a_run_that_goes_on_has_each_step_once(self, lab):
        with pytest.raises(KeyboardInterrupt):
            watched = tiny("average", hook=stop_after(2 * STEPS + 1))
            lab.run(watched, epochs=4, log=("tensorboard",))
        result = lab.run("average", epochs=4, log=("tensorboard",))
        folder = Path(result.run) / "tensorboard"
        assert len(list(folder.glob("events.*"))) == 2
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        assert [event.step for event in accumulator.Scalars("loss/train")] == [1, 2, 3, 4]

    def test_a_disk_that_is_full_for_the_logger_costs_nothing_else(self, lab, monkeypatch):
        def full(self, *_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(SummaryWriter, "add_scalar", full)
        with pytest.warns(UserWarning, match="TensorBoard is switched off.*No space left") as said:
            result = lab.run("average", epochs=3, log=("tensorboard",))
        assert len([w for w in said if "switched off" in str(w.message)]) == 1
        run = RunFolder(result.run)
        assert run.finished and len(run.history) == 3 and run.best.is_file()

    def test_what_cannot_log_is_said_before_anything_is_made(self, lab, monkeypatch):
        with pytest.raises(ValueError, match="tensorbord"):
            lab.run("average", log=("tensorbord",))
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(ModuleNotFoundError, match=r'pip install -e "\.\[wandb\]"'):
            lab.run("average", log=("wandb",))
        assert not (lab.base / "runs").exists()

    def test_an_embedding_of_a_tuned_model_is_its_features(self):
        model = VideoClassifier(backbone=GridBackbone(), head=nn.Identity())
        clips = torch.rand(4, 1, 24, 32)
        items = [
            {"input": clips[:3], "label": 0, "index": 0},
            {"input": clips[3:], "label": 0, "index": 1},
        ]
        features = model.backbone(clips)
        wanted = torch.stack([features[:3].mean(0), features[3]]).detach()
        assert np.allclose(_embedding(model, items), wanted, atol=1e-6)


class TestReport:
    def test_says_what_the_result_says(self, lab):
        result = lab.run("gru", data_name='<b>&"', seed=5)
        sections = json.loads((Path(result.run) / "report.json").read_text())["sections"]
        scores = (result.segment, result.video)
        for row, score in zip(sections["Result"]["rows"], scores, strict=True):
            wanted = score.to_row()
            names = ("correct", "n", "accuracy", "low", "high")
            assert [row[name] for name in names] == [wanted[name] for name in names]
        counts = [list(row.values())[1:] for row in sections["Confusion of videos"]["rows"]]
        assert counts == result.videos.confusion().tolist()
        losses = [row["val_loss"] for row in sections["Training"]["rows"]]
        assert losses == [row["val_loss"] for row in result.history]
        assert sections["Configuration"]["facts"]["recipe.seed"] == 5
        facts = sections["Where it came from"]["facts"]
        assert {"version of torch", "commit", "data hash", "seed"} <= set(facts)
        page = (Path(result.run) / "report.html").read_text()
        assert "<b>" not in page and page.count("data:image/png") >= 3
        assert re.search("&lt;b&gt;&amp;(&quot;|&#34;)", page)

    def test_is_made_again_with_the_same_numbers_and_without_the_data(self, lab):
        result = lab.run("average", epochs=1)
        path = Path(result.run) / "report.json"
        before = json.loads(path.read_text())
        assert report_again(result.run, lab.root) == path.with_name("report.html")
        assert json.loads(path.read_text()) == before
        report_again(result.run, lab.base / "nowhere")
        after = json.loads(path.read_text())
        assert "not in the data folder" in after["sections"]["Mistakes"]["note"]
        assert after["sections"]["Result"] == before["sections"]["Result"]
        with pytest.raises(FileNotFoundError, match="no folder of a finished run"):
            report_again(lab.base)
        (Path(result.run) / "history.csv").write_text("epoch,val_loss\n1,0.5\n")
        with pytest.raises(ValueError, match=r"history\.csv\[0\] has no 'train_loss'"):
            report_again(result.run)

    def test_one_that_cannot_be_written_costs_nothing_else(self, lab):
        with pytest.raises(KeyboardInterrupt):
            lab.run(tiny("average", hook=stop_after(0)), epochs=1)
        (cut,) = find_runs(lab.base / "runs", "average")
        (cut.path / "report.html").mkdir()
        (cut.path / "report.json").mkdir()
        with pytest.warns(UserWarning, match="no report of "):
            assert lab.run("average", epochs=1).run == str(cut.path)
        assert cut.finished and cut.best.is_file()


def test_seeds_are_summed_up_for_validation_and_by_person(monkeypatch):
    """Best epochs by validation loss; the subject-level interval of the mean over seeds."""
    monkeypatch.setattr(statistics, "FEWEST_PERSONS", 2)
    names = [f"walking/person{p:02}_walking_d1.avi" for p in (1, 1, 2, 2)]
    items = {
        "segment": np.array([f"{name}#{k % 2 + 1}" for k, name in enumerate(names)]),
        "video": np.array(names),
        "person": np.array([name[8:16] for name in names]),
        "scenario": np.array(["1"] * 4),
        "fold": np.array([""] * 4),
    }

    def of(right, *epochs):
        log_probs = np.log(np.where(np.array(right)[:, None], (0.8, 0.2), (0.2, 0.8)))
        found = Predictions(log_probs, np.zeros(4, int), items, ("walking", "boxing"))
        keys = ("val_loss", "val_accuracy", "train_accuracy")
        history = [dict(zip(keys, epoch, strict=True)) for epoch in epochs]
        about = {"frames": "8x4", "parameters": 1200}
        return Result("gru", "data", "test", found, about, history)

    seeds = [
        of([1, 1, 1, 0], (0.5, 0.7, 0.6), (0.4, 0.9, 0.8)),
        of([1, 1, 0, 0], (0.3, 0.8, 1.0), (0.6, 1.0, 1.0)),
    ]
    accuracies, low, high = subject_summary(seeds, level="segment")
    assert accuracies == [0.75, 0.5] and (low, high) == pytest.approx((0.25, 1.0))
    table = validation_table({"Bi-GRU": seeds})
    assert table.loc["Bi-GRU"].to_dict() == {
        "sampled frames": "8x4",
        "parameters trained": "1,200",
        "training, %": "90.0",
        "validation, %": "85.0 ± 7.1",
        "validation loss": "0.350",
        "seeds": 2,
    }
    monkeypatch.undo()
    assert np.isnan(subject_summary(seeds)[1:]).all(), "two persons are no subject-level interval"
