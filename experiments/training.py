"""How an experiment is trained: its data, the one place that fits a model, and a run from end to
end.

Knows experiments, recipes, features, the training loop and run folders, and puts them together.
Does not know pixels, batches or layers: each of those has its own file.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from data.files import DEFAULT, place, sampled
from data.items import Segment, check_disjoint, classes_of, labelled
from data.kth import (
    ACTIONS,
    FAST_STEP,
    FPS,
    SPLITS,
    dataset_name,
    find_segments,
    follows_official,
    load_splits,
)
from evaluation.predictions import Predictions
from experiments.datasets import dataset_of, keeps_features
from experiments.recipe import Recipe
from experiments.reports import write_run_report
from experiments.results import Result, about_run, check_recordable, record
from experiments.table import Experiment, find_experiment
from tracking import report, runs
from tracking.loggers import Logger, open_loggers, require
from tracking.measurements import versions
from utils import parallel
from utils.checkpoint import TrainingState, save_checkpoint
from utils.data_setup import VideoDataset, collate, create_dataloaders
from utils.engine import evaluate, pick_device, set_seed, train_model
from utils.preprocessing import FixedStride, Preprocessing

# seconds: what a kill may cost of an epoch; epochs of frozen encoders are far shorter
CHECKPOINT_EVERY = 300.0


@dataclass(frozen=True)
class Fitted:
    """A trained model with the weights of its best epoch.

    Args:
        model: The whole model.
        history: One row an epoch.
        predictions: Of the segments of parts["test"], or of the validation part without one.
        seconds: What training and predicting took.
    """

    model: nn.Module
    history: list[dict[str, Any]]
    predictions: Predictions
    seconds: float


def new_model(experiment: Experiment, recipe: Recipe, **parts: Any) -> nn.Module:
    """Build an experiment's model on the device, its random weights drawn from the recipe's seed.

    `parts` go to the experiment's build too, such as a backbone that several models share.
    """
    set_seed(recipe.seed)
    given = {
        "num_classes": len(ACTIONS),  # where nobody says how many
        "channels": experiment.shown.channels,
        "weights": recipe.weights,
    }
    return experiment.build(**{**given, **experiment.model, **parts}).to(pick_device())


def trained_part(model: Any, recipe: Recipe) -> nn.Module:
    """Return what the loop trains, unfrozen: the head on kept features, else the whole model."""
    if keeps_features(model, recipe):
        return model.head
    if recipe.fine_tune:
        if not hasattr(model, "encode"):
            raise ValueError(
                f"fine_tune is {recipe.fine_tune}, but {type(model).__name__} has no encoder whose "
                "stages could be tuned: all of it is trained anyway; leave fine_tune at 0"
            )
        model.backbone.unfreeze(recipe.fine_tune)
    return model


def fit(
    experiment: Experiment,
    recipe: Recipe,
    parts: Mapping[str, VideoDataset],
    *,
    model: nn.Module | None = None,
    disjoint: bool = True,
    progress: bool = False,
    **checkpoints: Any,
) -> Fitted:
    """Train on parts["train"], choose the epoch on parts["validation"], predict parts["test"].

    This is the only place that trains: the official split, a fold, subject leakage, few persons and
    the benchmarks all come here.

    Args:
        experiment: Says which model, where none is given.
        recipe: How to train.
        parts: Data sets as `dataset_of` makes them for the model.
        model: The model; built from the recipe's seed when None.
        disjoint: Refuse persons that are on several sides.
        progress: Show a progress bar.
        **checkpoints: checkpoint_dir, extra, callbacks and checkpoint_every of
            `utils.engine.train_model`; with a checkpoint_dir an interrupted training goes on.
    """
    started = time.perf_counter()
    if model is None:
        classes = classes_of(parts["train"].segments)
        model = new_model(experiment, recipe, num_classes=len(classes))
    loaders = create_dataloaders(
        parts, batch_size=recipe.batch_size, seed=recipe.seed, disjoint=disjoint
    )
    network = trained_part(model, recipe)
    history = train_model(
        network,
        loaders["train"],
        loaders["validation"],
        recipe.settings(),
        resume=checkpoints.get("checkpoint_dir") is not None,
        progress=progress,
        **checkpoints,
    )
    tested = "test" if "test" in parts else "validation"
    log_probs, _ = evaluate(network, loaders[tested])
    predictions = Predictions.of(log_probs, parts[tested].segments).pooled("segment")
    return Fitted(model, history, predictions, time.perf_counter() - started)


# a run


def run_experiment(
    name: str | Experiment,
    *,
    root: str | Path = DEFAULT,
    data_name: str | None = None,
    runs_dir: str | Path = DEFAULT,
    results_dir: str | Path | None = DEFAULT,
    cache_dir: str | Path | None = DEFAULT,
    force: bool = False,
    resume: str | Path | bool = False,
    log: Sequence[str] = (),
    progress: bool = True,
    **recipe: Any,
) -> Result:
    """Train on the training part, choose by validation, and test the test part once: KTH's official
    split, or as one's own folder is split.

    A finished run of the same configuration is not run again, its result is returned; an
    interrupted one goes on. Under several processes (see `utils.parallel`) all take part and return
    the same result; the first one writes.

    Args:
        name: One of EXPERIMENTS, or an experiment of one's own.
        root: A folder <class>/<file> of one's own, see `data.kth.load_splits`, or in KTH's layout;
            by default KTH-Synth.
        data_name: What to call the data in results; None takes what the folder says.
        runs_dir: Where run folders go; fast runs go into its subfolder "fast".
        results_dir: Where rows of results go; None, or a fast run, writes none.
        cache_dir: Where features are kept; None keeps none.
        force: Run anew even if a finished run is there.
        resume: The run folder to go on with, which must be of the same configuration. True takes
            the newest of that configuration and insists that there is one; False takes it if there
            is one.
        log: Who else is told of the training, "tensorboard" or "wandb" or both, see
            `tracking.loggers`; a run is the same run whoever is told of it.
        progress: Show progress bars.
        **recipe: Fields of `Recipe`, such as seed=1 or epochs=5.

    Raises:
        ValueError: There is no such experiment, no such logger, a setting makes no sense, a split
            has no segments, a person is in two splits, or there is no run to resume or it is of
            another configuration.
        ModuleNotFoundError: A logger's package is not installed.
    """
    require(*log)
    experiment, chosen = find_experiment(name), Recipe(**recipe)
    chosen.settings()  # refuses what makes no sense before anything is computed
    root = place(root, "Data/KTH-Synth")
    splits, name = _splits(experiment, chosen, root), data_name or dataset_name(root)
    rows = None if chosen.fast else place(results_dir, "results")
    if rows is not None:
        check_recordable(name, rows)
    job = _Run(experiment, chosen, name, splits, place(cache_dir, "cache"), progress)
    folder = place(runs_dir, "runs") / ("fast" if chosen.fast else "")
    run, finished = job.folder(folder, force=force, resume=resume)
    if not finished:
        told = log if parallel.is_main_process() else ()
        with open_loggers(told, run.path, config=run.config) as loggers:
            job.train_and_test(run, loggers)
    result = None
    with parallel.barrier("recording the result"):
        if parallel.is_main_process():
            result = Result.of_run(run)
            if rows is not None:
                record(result, rows)
    return parallel.broadcast(result)


def _splits(experiment: Experiment, recipe: Recipe, root: str | Path) -> dict[str, list[Segment]]:
    """Return the official splits, the auxiliary set's segments among the training ones."""
    whole = experiment.whole_file
    splits = load_splits(root, whole_files=whole, fast=recipe.fast, person=recipe.person)
    if recipe.auxiliary_root is not None:
        more = find_segments(recipe.auxiliary_root, whole_files=whole)
        chosen = more[:: FAST_STEP if recipe.fast else 1]
        splits["train"] += labelled(chosen, classes_of(splits["train"]))
        check_disjoint(splits)  # before anything is computed
    return splits


@dataclass
class Job:
    """An experiment and a recipe on a data set: what all trainings of theirs share.

    Args:
        experiment, recipe, data_name: What is trained, how, and on what.
        splits: The segments by split, the auxiliary set's among them.
        cache_dir: Where features are kept; None keeps none.
        progress: Show progress bars.
    """

    experiment: Experiment
    recipe: Recipe
    data_name: str
    splits: Mapping[str, list[Segment]]
    cache_dir: Path | None
    progress: bool

    @cached_property
    def model(self) -> Any:
        """The model, whose encoder computes features."""
        return new_model(self.experiment, self.recipe, num_classes=len(self.classes))

    @property
    def classes(self) -> tuple[str, ...]:
        """What is told apart: the classes of the data."""
        return classes_of(segment for inside in self.splits.values() for segment in inside)

    @property
    def auxiliary_data(self) -> str | None:
        """What the auxiliary set is called, where there is one."""
        return self.recipe.auxiliary_root and dataset_name(self.recipe.auxiliary_root)

    @property
    def fingerprint(self) -> str:
        """Names the pre-trained weights of the model; empty when it has none."""
        return self.model.backbone.fingerprint() if hasattr(self.model, "encode") else ""

    def dataset(self, segments: Sequence[Segment], recipe: Recipe, **how: bool) -> VideoDataset:
        """Return segments as `dataset_of` makes them for the model."""
        where: dict[str, Any] = {"cache_dir": self.cache_dir, "progress": self.progress}
        return dataset_of(self.experiment, recipe, segments, self.model, **where, **how)

    def config(self) -> dict[str, Any]:
        """Return everything that the outcome depends on, in plain values.

        A file counts by action, name, size and content (its head, middle and tail), so that a copy
        is the same data and a file that was replaced is not; the model by what builds it and by the
        shapes of its weights.
        """
        segments = [segment for inside in self.splits.values() for segment in inside]
        files = {path: sampled(path) for path in {segment.video.path for segment in segments}}
        data = [[s.video.action, s.name, s.start, s.stop, files[s.video.path]] for s in segments]
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        return {
            "experiment": self.experiment.to_config(),
            "data": {
                "name": self.data_name,
                "files": len(files),
                "hash": runs.config_hash({"segments": data}),
            },
            "recipe": {
                **self.recipe.to_config(),
                "weights": dataclasses.replace(self.recipe, fine_tune=0).weights_in_words(),
                "size": list(self.recipe.size),
                "auxiliary_root": self.auxiliary_data,
            },
            "model": {"class": type(self.model).__qualname__, "shapes": runs.config_hash(shapes)},
            "backbone": self.fingerprint,
        }

    def extra(self, train: Sequence[Segment]) -> dict[str, Any]:
        """Return what a checkpoint must remember beside weights, in plain values.

        clip_seconds says how long a piece of a video the model is made for: the clip length of a
        fixed stride, else the median length of the training segments; None reads any video as one
        piece.
        """
        experiment, recipe = self.experiment, self.recipe
        shown, weights = experiment.shown.resized(recipe.size), recipe.weights_in_words()
        trained = trained_part(self.model, recipe).parameters()
        return {
            "classes": list(self.classes),
            **self._dealt(),
            "experiment": experiment.name,
            "shown": shown.to_config(),
            "frames": str(shown),
            "model": dict(experiment.model),
            "backbone": {"weights": weights, "fingerprint": self.fingerprint},
            "parameters": sum(w.numel() for w in trained if w.requires_grad),
            "data": self.data_name,
            "auxiliary_data": self.auxiliary_data,
            "whole_file": experiment.whole_file,
            "dense": recipe.dense,
            "recipe": recipe.in_words(),
            "clip_seconds": None if experiment.whole_file else _clip_seconds(shown, train),
            "seed": recipe.seed,
            "versions": versions(),
        }

    def _dealt(self) -> dict[str, Any]:
        """Return how persons were told, where that was said, and who was dealt into which part,
        where KTH's official split does not say so: what is asked for again is then dealt alike."""
        rule, parts = self.recipe.person, self.splits
        told: dict[str, Any] = {} if rule is None else {"person": rule}
        if set(parts) == set(SPLITS) and not follows_official(parts):
            told["dealt"] = {
                part: sorted({str(segment.video.who) for segment in inside})
                for part, inside in parts.items()
            }
        return told


class _Run(Job):
    """A run: a folder to be filled with the chosen checkpoint, the result and a report."""

    def folder(
        self, runs_dir: Path, *, force: bool, resume: str | Path | bool
    ) -> tuple[runs.RunFolder, bool]:
        """Return the folder that the first process finds or makes, and whether it is finished."""
        run, name, config = None, self.experiment.name, self.config()
        with parallel.barrier("making the run folder"):
            if parallel.is_main_process() and not isinstance(resume, bool):
                run = runs.run_to_resume(resume, config)
            elif parallel.is_main_process():
                run = None if force else runs.matching_run(runs_dir, name, config)
                if resume and run is None:
                    raise ValueError(
                        f"no run of {name} under {runs_dir} has these settings, so none can go on: "
                        "`python har.py runs` lists them; leave resume out to start one"
                    )
                run = run or runs.RunFolder.create(runs_dir, name, config)
        path, finished = parallel.broadcast((run.path, run.finished) if run else None)
        return runs.RunFolder(path), finished

    def train_and_test(self, run: runs.RunFolder, loggers: Sequence[Logger]) -> None:
        """Train, test once, and write everything; result.json comes last."""
        started, flip = time.perf_counter(), self.recipe.horizontal_flip
        parts = {
            split: self.dataset(
                segments, self.recipe, train=split == "train", flipped=flip and split == "train"
            )
            for split, segments in self.splits.items()
        }
        extra = self.extra(self.splits["train"])
        fitted = fit(
            self.experiment,
            self.recipe,
            parts,
            model=self.model,
            progress=self.progress,
            checkpoint_dir=run.path,
            extra=extra,
            callbacks=[run.log_epoch, *loggers],
            checkpoint_every=CHECKPOINT_EVERY,
        )
        result = Result(
            self.experiment.name,
            self.data_name,
            "test",
            fitted.predictions,
            about_run(extra, seconds=time.perf_counter() - started),
            fitted.history,
            str(run.path),
        )
        with parallel.barrier("finishing the run"):
            if parallel.is_main_process():
                self._finish(run, result, extra, loggers, parts["test"])

    def _finish(
        self,
        run: runs.RunFolder,
        result: Result,
        extra: runs.Config,
        loggers: Sequence[Logger],
        tested: VideoDataset,
    ) -> None:
        run.write_history(result.history)
        best = min(result.history, key=lambda row: row["val_loss"])
        state = TrainingState(
            epoch=len(result.history),
            best={name: best[name] for name in ("epoch", "val_loss", "val_accuracy")},
            history=[dict(row) for row in result.history],
        )
        save_checkpoint(run.best, self.model, state, extra=extra)
        mistakes, figures = write_run_report(result, self.splits["test"], extra, run.config)
        if loggers:
            summary = report.make_summary(
                result.predictions,
                result.history,
                mistakes,
                figures,
                embedding=_embedding(self.model, tested),
                classes=[self.classes[label] for label in tested.labels],
            )
            for logger in loggers:
                logger.finish(summary)
        result.keep(run)


def _clip_seconds(shown: Preprocessing, train: Sequence[Segment]) -> float:
    if isinstance(shown.sampler, FixedStride):
        return shown.sampler.clip_length(FPS) / FPS
    return round(FPS * float(np.median([len(s) / s.video.fps for s in train])), 0) / FPS


@torch.inference_mode()
def _embedding(model: Any, dataset: VideoDataset) -> np.ndarray | None:
    """Return the mean over time of each item's features (N, D), in this process alone.

    None when the model has no features.
    """
    if not hasattr(model, "encode"):
        return None
    rows, device = [], pick_device()
    model.to(device).eval()
    for batch in DataLoader(dataset, batch_size=64, collate_fn=collate):
        features, mask = batch["input"], batch["mask"]  # padding is zeros
        if features.ndim == 5:
            features = model.encode(features.to(device), mask.to(device)).cpu()
        rows.append(features.sum(1) / mask.sum(1, keepdim=True))
    return torch.cat(rows).numpy()
