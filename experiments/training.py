"""The experiments, and how one is run: the one file that knows every part of the project.

Knows data, backbone, heads, features, training, metrics and run folders, and puts them together.
Does not know pixels, batches or layers: each of those has its own file. An experiment differs from
another in what the model is shown and in where time is averaged; everything else is shared.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from data.kth import ACTIONS, SPLITS, Segment, check_disjoint, find_segments, select
from evaluation import metrics
from evaluation import statistics as evidence
from models.backbone import EfficientNetBackbone
from models.temporal import VideoClassifier, build_head
from tracking import report as findings
from tracking import results as tracking
from tracking.loggers import Logger, open_loggers, require
from tracking.page import HTML, write_report
from utils import parallel
from utils.data_setup import (
    Augment,
    ClipSource,
    ClipTransform,
    Jittered,
    Middle,
    RandomWindow,
    Sampler,
    Uniform,
    VideoDataset,
    Window,
    collate,
    create_dataloaders,
    make_sampler,
    make_transform,
    sampler_config,
)
from utils.engine import (
    History,
    evaluate,
    load_checkpoint,
    pick_device,
    restore_weights,
    save_checkpoint,
    set_seed,
    train_model,
)
from utils.features import build_features
from utils.predict import Recogniser
from utils.store import CACHE, FeatureStore

DATA_ROOT = Path("Data/KTH-Synth")
RECOGNISERS = Path(__file__).resolve().parents[1] / "models" / "weights"
DEFAULT_RECOGNISER = "motion_gru"
READINGS = "real_clips.csv"
CHECKPOINT_EVERY = (
    300.0  # seconds: what a kill may cost of an epoch; frozen backbones have far shorter ones
)
FAST_STEP, FAST_EPOCHS = (
    8,
    4,
)  # a fast run takes every eighth segment: all persons and actions, one scenario


@dataclass(frozen=True)
class Experiment:
    """One way of reading a video.

    Args:
        name: Names the row of results, the run folders and the command line's argument.
        title: For headings.
        sampler: Which frames of a segment.
        head: Name of the head, see `models.temporal.HEADS`.
        pool: "mean" averages the sampled frames into one picture before the model sees them.
        gap: Above 0, motion as colour: the frames so far before and after each sampled one are its
            other two channels.
        whole_file: Take whole files for segments, as if nobody had annotated them.
        averaged: Where time is averaged.
        question: What the experiment asks.
    """

    name: str
    title: str
    sampler: Sampler
    head: str
    pool: str = "none"
    gap: int = 0
    whole_file: bool = False
    averaged: str = ""
    question: str = ""

    @property
    def channels(self) -> int:
        """How many channels the backbone takes: three for motion as colour, else one."""
        return 3 if self.gap else 1

    def to_config(self) -> dict[str, Any]:
        """Return everything that changes the outcome, in plain values."""
        return {
            "name": self.name,
            "sampler": sampler_config(self.sampler),
            "head": self.head,
            "pool": self.pool,
            "gap": self.gap,
            "whole_file": self.whole_file,
        }


# Eight frames: on the validation persons sixteen are no better and cost half as much again (see
# `python har.py bench cost`). Spread evenly over a crossing, they move a person by an eighth of the
# picture a step whether he walks or runs; at a fixed step, here 1.2 seconds in all, a runner moves
# farther than a walker.
FRAMES = 8
REAL_TIME = Window(FRAMES, stride=4)

_ALL = (
    Experiment(
        "ghost",
        "Ghost frame",
        Uniform(FRAMES),
        "average",
        pool="mean",
        averaged="in the pixels",
        question="What is left of an action when its frames are averaged into one picture?",
    ),
    Experiment(
        "middle",
        "Middle frame",
        Middle(),
        "average",
        averaged="time is thrown away",
        question="How far does a single frame go, taken where the action is?",
    ),
    Experiment(
        "average",
        "Multi-frame averaging",
        Uniform(FRAMES),
        "average",
        averaged="in the decisions",
        question="Do eight opinions on eight frames know more than one?",
    ),
    Experiment(
        "gru_uniform",
        "Bi-GRU over the whole segment",
        Uniform(FRAMES),
        "gru",
        averaged="nowhere, but stretched",
        question="What is the order of the frames worth?",
    ),
    Experiment(
        "gru",
        "EfficientNet-B0 + Bi-GRU",
        REAL_TIME,
        "gru",
        averaged="nowhere: it is learned",
        question="What is the order worth when the clock is kept too?",
    ),
    Experiment(
        "average_window",
        "Averaging over a window",
        REAL_TIME,
        "average",
        averaged="in the decisions",
        question="Was it the order, or were these simply better frames?",
    ),
    Experiment(
        "tcn",
        "EfficientNet-B0 + temporal convolution",
        REAL_TIME,
        "tcn",
        averaged="nowhere: it is learned",
        question="Does it take a memory, or is a look at neighbouring frames enough?",
    ),
    Experiment(
        "motion",
        "Motion as colour, averaged",
        REAL_TIME,
        "average",
        gap=2,
        averaged="in the decisions",
        question="What does a vote know when each voter sees a sixth of a second?",
    ),
    Experiment(
        "motion_gru",
        "Motion as colour + Bi-GRU",
        REAL_TIME,
        "gru",
        gap=2,
        averaged="nowhere: it is learned",
        question="Does the order still add something when every look shows movement?",
    ),
    Experiment(
        "ghost_whole",
        "Ghost frame of the whole file",
        Uniform(FRAMES),
        "average",
        pool="mean",
        whole_file=True,
        averaged="in the pixels",
        question="What does the ghost lose when the empty field is averaged in?",
    ),
    Experiment(
        "middle_whole",
        "Middle frame of the whole file",
        Middle(),
        "average",
        whole_file=True,
        averaged="time is thrown away",
        question="What if nobody had annotated where the action is?",
    ),
)
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}


@dataclass(frozen=True)
class Recipe:
    """How a run is made; two runs of one experiment, one data set and one recipe are the same run.

    Args:
        weights: Of the backbone: "bundled", "imagenet", a path, or None for random ones.
        size: Height and width of a frame in pixels.
        mirrored: Also train on clips mirrored left and right: twice as many of them to encode, and
            on the validation persons a gain when training clips are few (`python har.py bench
            cost`).
        extra_root: Another folder in KTH's layout, all of whose segments are trained on too, such
            as a rendered crowd's; its persons must be others than those of the data set.
        every_window: Where the sampler is a Window, train on windows all over a segment, half a
            window apart, not only on the one in its middle: somebody who enters or leaves is then
            known too. Segments are then named by the mean probability over their windows.
        seed: Start of all random numbers.
        fast: A small part of the data and few epochs, to see that everything works; the numbers
            mean nothing.
        fine_tune: How many of the backbone's 9 stages, counted from the end, are trained with the
            head, on augmented clips and at a tenth of the learning rate; 0 keeps it frozen and its
            features stored.
        batch_size: Clips in a training step. epochs, lr, weight_decay, label_smoothing, patience,
        schedule: See `utils.engine.train_model`.
    """

    weights: str | None = "bundled"
    size: tuple[int, int] = (96, 128)
    mirrored: bool = False
    extra_root: str | None = None
    every_window: bool = False
    seed: int = 0
    fast: bool = False
    fine_tune: int = 0
    batch_size: int = 64
    epochs: int = 40
    lr: float = 1e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    patience: int = 10
    schedule: str = "cosine"

    def training(self) -> dict[str, Any]:
        """Return the arguments for `train_model`."""
        names = ("lr", "weight_decay", "label_smoothing", "patience", "schedule", "seed")
        epochs = min(self.epochs, FAST_EPOCHS) if self.fast else self.epochs
        chosen = {name: getattr(self, name) for name in names}
        return {"epochs": epochs, **chosen, "lr": self.lr / 10 if self.fine_tune else self.lr}


@dataclass(frozen=True)
class Result:
    """What an experiment is worth on one split of one data set.

    segment and video are {"correct", "n", "accuracy", "interval"}; per_class, per_scenario,
    per_person ("person01"), confusion (rows true, columns predicted) and items are of segments,
    video_confusion of videos. `interval` is Wilson's; person_interval has the one over persons at
    both levels, None where one person was asked or all are alike. `history` and `run` tell of the
    training. log_probs (N, K) are the items' log-probabilities as the model gave them; those in
    items are rounded for the eye and for exchange, and no score is computed from them.
    """

    experiment: str
    data: str
    split: str
    segment: dict[str, Any]
    video: dict[str, Any]
    per_class: dict[str, dict[str, int]]
    confusion: list[list[int]]
    classes: list[str]
    items: list[dict[str, Any]]
    per_scenario: dict[str, dict[str, Any]] = field(default_factory=dict)
    per_person: dict[str, dict[str, Any]] = field(default_factory=dict)
    person_interval: dict[str, list[float] | None] = field(default_factory=dict)
    video_confusion: list[list[int]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    run: str = ""
    log_probs: list[list[float]] = field(default_factory=list)

    @property
    def answers(self) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities (N, K) and labels (N,) of the segments."""
        return findings.answers(vars(self))

    @property
    def loss(self) -> float:
        """The mean negative log-probability of the segments' true actions: it asks to be right, and
        sure when right."""
        log_probs, labels = findings.log_answers(vars(self))
        return float(-log_probs[np.arange(len(labels)), labels].mean())

    @property
    def calibration_error(self) -> float:
        """The expected calibration error of the segments' probabilities."""
        return findings.calibration_error_of(vars(self))

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as it is exchanged: plain values, the items' probabilities by
        action included."""
        names = (
            "experiment",
            "data",
            "split",
            "segment",
            "video",
            "per_class",
            "confusion",
            "classes",
            "items",
        )
        return {name: getattr(self, name) for name in names}

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows for results/*.csv, one for segments and one for videos."""
        levels = {"segment": self.segment, "video": self.video}
        return [
            {
                "experiment": self.experiment,
                "data": self.data,
                "split": self.split,
                "level": level,
                "n": score["n"],
                "correct": score["correct"],
                "accuracy": score["accuracy"],
                "low": score["interval"][0],
                "high": score["interval"][1],
                **evidence.person_columns(self.person_interval.get(level)),
                **self.about,
            }
            for level, score in levels.items()
        ]

    def __str__(self) -> str:
        """One line: the accuracies with their counts and intervals."""
        parts = [
            f"{level}s {_score_in_words(score)}{_persons_in_words(self.person_interval.get(level))}"
            for level, score in (("segment", self.segment), ("video", self.video))
        ]
        return f"{self.experiment} on {self.data} ({self.split}): {', '.join(parts)}"


def _score_in_words(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]
    return f"{score['correct']}/{score['n']} = {score['accuracy']:.1%} [{low:.1%}, {high:.1%}]"


def _persons_in_words(interval: Sequence[float] | None) -> str:
    return f", over persons [{interval[0]:.1%}, {interval[1]:.1%}]" if interval else ""


# running an experiment


def run_experiment(
    name: str | Experiment,
    *,
    root: str | Path = DATA_ROOT,
    data_name: str | None = None,
    runs_dir: str | Path = "runs",
    results_dir: str | Path | None = "results",
    cache_dir: str | Path | None = CACHE,
    force: bool = False,
    resume: str | Path | bool = False,
    log: Sequence[str] = (),
    progress: bool = True,
    **recipe: Any,
) -> Result:
    """Train an experiment on the official training persons, choose by validation, and measure the
    test persons once.

    A finished run of the same configuration is not run again, its result is returned; an
    interrupted one goes on. Under several processes (see `utils.parallel`) all take part and return
    the same result; the first one writes.

    Args:
        name: One of EXPERIMENTS, or an experiment of one's own.
        root: Folder in KTH's layout.
        data_name: What to call the data in results; from root's dataset.json or its folder name
            when None.
        runs_dir: Where run folders go; fast runs go into its subfolder "fast".
        results_dir: Where rows of results go; None, or a fast run, writes none.
        cache_dir: Where features are kept; None keeps none.
        force: Run anew even if a finished run is there.
        resume: The run folder to go on with, which must be of the same configuration. True takes
            the newest of that configuration and insists that there is one; False takes it if there
            is one.
        log: Who else is told of the training, "tensorboard" or "wandb" or both, see
            `tracking.loggers`; history.csv and the report are written anyway, and a run is the same
            run whoever is told.
        progress: Show progress bars.
        **recipe: Fields of `Recipe`, such as seed=1 or epochs=5.

    Raises:
        ValueError: There is no such experiment, no such logger, a split has no segments, a person
            is in two splits, or there is no run to resume or it is of another configuration.
        ModuleNotFoundError: A logger's package is not installed.
    """
    require(*log)
    experiment, chosen = find_experiment(name), Recipe(**recipe)
    data_name = data_name or name_of(root)
    splits = load_splits(root, whole_files=experiment.whole_file, fast=chosen.fast)
    if chosen.extra_root is not None:
        more = find_segments(chosen.extra_root, whole_files=experiment.whole_file)
        splits["train"] += more[:: FAST_STEP if chosen.fast else 1]
        check_disjoint(splits)  # loaders check it too, but only after hours of features
    set_seed(chosen.seed)  # random weights are then the same ones every time
    backbone = EfficientNetBackbone(weights=chosen.weights, channels=experiment.channels).to(
        pick_device()
    )
    config = run_config(
        experiment, chosen, data_name, splits, backbone, head_of(experiment, backbone)
    )
    folder = Path(runs_dir) / "fast" if chosen.fast else Path(runs_dir)
    run, finished = _run_of_all(folder, experiment.name, config, force=force, resume=resume)
    if not finished:
        with open_loggers(
            log if parallel.is_main_process() else (), run.path, config=config
        ) as loggers:
            _train_and_measure(
                experiment,
                chosen,
                data_name,
                splits,
                backbone,
                run=run,
                cache_dir=cache_dir,
                progress=progress,
                loggers=loggers,
            )
    result = None
    with parallel.barrier("recording the result"):
        if parallel.is_main_process():
            result = read_result(run)
            if results_dir is not None and not chosen.fast:
                record(result, results_dir)
    return parallel.broadcast(result)


def _run_of_all(
    folder: Path, name: str, config: Mapping[str, Any], *, force: bool, resume: str | Path | bool
) -> tuple[tracking.RunFolder, bool]:
    """Return the run folder that the first process finds or makes, and whether its run is finished
    already."""
    run = None
    with parallel.barrier("making the run folder"):
        if parallel.is_main_process() and not isinstance(resume, bool):
            run = tracking.run_to_resume(resume, config)
        elif parallel.is_main_process():
            run = None if force else tracking.matching_run(folder, name, config)
            if resume and run is None:
                raise ValueError(
                    f"no run of {name} under {folder} has these settings, so none can go on: "
                    "`python "
                    "har.py runs` lists them; leave resume out to start one"
                )
            run = run or tracking.RunFolder.create(folder, name, config)
    path, finished = parallel.broadcast((run.path, run.finished) if run else None)
    return tracking.RunFolder(path), finished


def _train_and_measure(
    experiment: Experiment,
    recipe: Recipe,
    data_name: str,
    splits: Mapping[str, Sequence[Segment]],
    backbone: EfficientNetBackbone,
    *,
    run: tracking.RunFolder,
    cache_dir: str | Path | None,
    progress: bool,
    loggers: Sequence[Logger] = (),
) -> None:
    """Fill a run folder: features, head, the checkpoint that validation chose, the result on the
    test split, a report."""
    started = time.perf_counter()
    if recipe.fine_tune:
        datasets = clip_datasets(experiment, recipe, splits)
    else:
        datasets = _feature_datasets(
            experiment, recipe, splits, backbone, cache_dir=cache_dir, progress=progress
        )
    loaders = create_dataloaders(datasets, batch_size=recipe.batch_size, seed=recipe.seed)
    set_seed(
        recipe.seed
    )  # the head's first weights do not depend on whether features had to be computed
    head = head_of(experiment, backbone)
    extra = checkpoint_extra(
        experiment,
        recipe,
        data_name,
        splits["train"],
        backbone=backbone,
        transform=transform_of(experiment, recipe),
        head=head,
    )
    model: nn.Module = head
    if recipe.fine_tune:
        backbone.unfreeze(recipe.fine_tune)
        model = VideoClassifier(backbone=backbone, head=head)
    history = train_model(
        model,
        loaders["train"],
        loaders["validation"],
        checkpoint_dir=run.path,
        extra=extra,
        resume=True,
        callbacks=[run.log_epoch, *loggers],
        progress=progress,
        checkpoint_every=CHECKPOINT_EVERY,
        **recipe.training(),
    )
    output = evaluate(model, loaders["test"])
    about = about_run(extra, head, seconds=time.perf_counter() - started)
    log_probs, segments = by_segment(output.log_probs, datasets["test"].segments)
    result = measure(
        log_probs, segments, experiment=experiment.name, data=data_name, split="test", about=about
    )
    result = dataclasses.replace(result, history=history, run=str(run.path))
    with parallel.barrier("finishing the run"):
        if parallel.is_main_process():
            run.write_history(history)
            _save_whole(run.best, backbone, head, history, extra)
            mistakes, figures = _report(result, segments, extra, config=run.config)
            _tell(loggers, result, mistakes, figures, model=model, dataset=datasets["test"])
            run.finish(_record_of(result))  # last: it marks the run as finished


def _feature_datasets(
    experiment: Experiment,
    recipe: Recipe,
    splits: Mapping[str, Sequence[Segment]],
    backbone: EfficientNetBackbone,
    *,
    cache_dir: str | Path | None,
    progress: bool,
) -> dict[str, VideoDataset]:
    """The frozen way: features computed once, those of mirrored training clips too."""
    if recipe.every_window:
        splits = {
            split: windows_of(segments, experiment.sampler) for split, segments in splits.items()
        }
    return {
        split: feature_dataset(
            backbone,
            segments,
            sampler=experiment.sampler,
            transform=transform_of(experiment, recipe),
            cache_dir=cache_dir,
            mirrored=recipe.mirrored and split == "train",
            seed=recipe.seed if split == "train" else None,
            progress=progress,
        )
        for split, segments in splits.items()
    }


def clip_datasets(
    experiment: Experiment, recipe: Recipe, splits: Mapping[str, Sequence[Segment]]
) -> dict[str, VideoDataset]:
    """The fine-tuning way: clips read anew in every epoch, in training at random moments and
    augmented."""
    transform = transform_of(experiment, recipe)
    augment = Augment(flip=0.5 if recipe.mirrored else 0.0)
    sources = {
        split: ClipSource(
            segments, sampler=_jittered(experiment.sampler), transform=transform, augment=augment
        )
        if split == "train"
        else ClipSource(segments, sampler=experiment.sampler, transform=transform)
        for split, segments in splits.items()
    }
    return {
        split: VideoDataset(splits[split], source, seed=recipe.seed if split == "train" else None)
        for split, source in sources.items()
    }


def _jittered(sampler: Sampler) -> Sampler:
    """The training counterpart of a sampler: the same number of frames at random moments."""
    if isinstance(sampler, Uniform):
        return Jittered(sampler.frames)
    if isinstance(sampler, Window):
        return RandomWindow(sampler.frames, sampler.stride)
    return sampler


def feature_dataset(
    backbone: EfficientNetBackbone,
    segments: Sequence[Segment],
    *,
    sampler: Sampler,
    transform: ClipTransform,
    cache_dir: str | Path | None = CACHE,
    mirrored: bool = False,
    seed: int | None = None,
    progress: bool = True,
) -> VideoDataset:
    """Compute or fetch the features of segments as a data set; what cannot be read is left out with
    a warning."""
    store = build_features(
        backbone,
        segments,
        sampler=sampler,
        transform=transform,
        cache_dir=cache_dir,
        mirrored=mirrored,
        progress=progress,
        skip_errors=True,
    )
    return VideoDataset(*_readable(segments, store), seed=seed)


def part_of(
    dataset: VideoDataset, indices: Sequence[int], *, seed: int | None = None
) -> VideoDataset:
    """Return a data set of these items of one made by `feature_dataset`; with a seed it is one to
    train on."""
    store = cast(FeatureStore, dataset.source)  # feature_dataset makes nothing else
    return VideoDataset(
        [dataset.segments[index] for index in indices], store.subset(indices), seed=seed
    )


def transform_of(experiment: Experiment, recipe: Recipe) -> ClipTransform:
    """Return how an experiment turns frames into clips of a recipe's size."""
    return ClipTransform(
        size=recipe.size, pool=experiment.pool, channels=experiment.channels, gap=experiment.gap
    )


def head_of(experiment: Experiment, backbone: EfficientNetBackbone) -> nn.Module:
    """Build an experiment's head for a backbone's features; its first weights are random."""
    return build_head(experiment.head, in_dim=backbone.feature_dim, num_classes=len(ACTIONS))


def load_splits(
    root: str | Path, *, whole_files: bool = False, fast: bool = False
) -> dict[str, list[Segment]]:
    """Find the segments under root and sort them into the official splits; fast keeps every
    eighth."""
    segments = find_segments(root, whole_files=whole_files)
    step = (
        (FAST_STEP // 2 if whole_files else FAST_STEP) if fast else 1
    )  # two segments a file in KTH-Synth
    splits = {split: select(segments, split)[::step] for split in SPLITS}
    if empty := [split for split, inside in splits.items() if not inside]:
        raise ValueError(
            f"no segments for {', '.join(empty)} under {root}: training needs persons of all "
            "three splits "
            f"({', '.join(f'{split} {persons}' for split, persons in SPLITS.items())})"
        )
    return splits


def name_of(root: str | Path) -> str:
    """Return what a data set is called: the name in its dataset.json, else its folder's name."""
    try:
        return str(json.loads((Path(root) / "dataset.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError):
        return Path(root).resolve().name


def is_footage(root: str | Path) -> bool:
    """Tell whether a folder holds filmed people: rendered ones come with a dataset.json."""
    return not (Path(root) / "dataset.json").is_file()


# checkpoints


def resolve(which: str | Path, runs_dir: str | Path = "runs") -> Path:
    """Return the checkpoint that a run folder, a .pth file, an experiment's name or "bundled"
    stands for.

    An experiment's name means its newest finished run, else the bundled recogniser. Raises
    FileNotFoundError or ValueError saying what would help.
    """
    text = str(which)
    if text == "bundled":
        return _bundled(DEFAULT_RECOGNISER)
    if text in EXPERIMENTS:
        run = tracking.newest_run(runs_dir, text)
        if run is None and not _recogniser_path(text).is_file():
            raise FileNotFoundError(
                f"no finished run of {text!r} under {runs_dir} and no bundled recogniser of that "
                f"name: train it with `python har.py train {text}`"
            )
        return run.best if run else _bundled(text)
    path = Path(which)
    if path.is_dir():
        run = tracking.RunFolder(path)
        if not run.best.is_file():
            raise FileNotFoundError(
                f"{path} holds no best.pth; it is no run folder, or its run was cut off before the "
                "first epoch ended: run the same training again, it goes on"
            )
        return run.best
    if path.is_file():
        return path
    raise FileNotFoundError(
        f"{text!r} is neither a run folder nor a checkpoint file nor one of the experiments "
        f"{', '.join(EXPERIMENTS)}"
    )


def load_recogniser(
    which: str | Path = DEFAULT_RECOGNISER, *, runs_dir: str | Path = "runs"
) -> Recogniser:
    """Load a recogniser by anything that `resolve` understands; its checkpoint alone decides the
    preprocessing."""
    path = resolve(which, runs_dir)
    checkpoint = load_checkpoint(path)
    try:
        model = build_model(checkpoint["extra"], pretrained=checkpoint["backbone"] is None)
        restore_weights(model, checkpoint)
        return Recogniser.from_extra(model.to(pick_device()), checkpoint["extra"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be used for predicting: {error}") from error


def build_model(extra: Mapping[str, Any], *, pretrained: bool = False) -> VideoClassifier:
    """Build the model that a checkpoint's extra describes; pretrained brings the backbone's bundled
    weights.

    Raises ValueError when those are not the weights that the head was trained on.
    """
    described = extra["backbone"]
    weights = described["weights"] if pretrained else None
    backbone = EfficientNetBackbone(weights=weights, channels=described["channels"])
    if pretrained and backbone.fingerprint() != described["fingerprint"]:
        raise ValueError(
            f"its head was trained on other backbone weights ({described['fingerprint']}) than "
            f"{weights!r} has now ({backbone.fingerprint()}): train it anew"
        )
    head = build_head(extra["head"]["name"], **extra["head"]["config"])
    return VideoClassifier(backbone=backbone, head=head)


def export_recogniser(
    which: str | Path, *, runs_dir: str | Path = "runs", out: str | Path | None = None
) -> Path:
    """Write a run's recogniser without its backbone, small enough to bundle: the backbone is the
    bundled one.

    Returns the file, models/weights/recogniser_<experiment>.pth when `out` is None. Raises
    ValueError when the run used other weights than the bundled ones.
    """
    source = resolve(which, runs_dir)
    checkpoint = load_checkpoint(source)
    extra = checkpoint["extra"]
    if extra["backbone"]["weights"] != "bundled":
        raise ValueError(
            f"{source} was trained on weights {extra['backbone']['weights']!r}; only a "
            "recogniser on the "
            "bundled weights can leave its backbone out"
        )
    model = build_model(extra, pretrained=True)
    restore_weights(model, checkpoint)
    path = Path(out) if out is not None else _recogniser_path(extra["experiment"])
    head = model.head.half()  # half the file; loading brings it back to single precision
    save_checkpoint(
        path, model=head, epoch=checkpoint["epoch"], best=checkpoint["best"], extra=extra
    )
    return path


# measuring


def evaluate_checkpoint(
    which: str | Path | Recogniser,
    root: str | Path = DATA_ROOT,
    *,
    split: str = "test",
    data_name: str | None = None,
    runs_dir: str | Path = "runs",
    results_dir: str | Path | None = None,
    cache_dir: str | Path | None = CACHE,
    every_window: bool | None = None,
    progress: bool = True,
) -> Result:
    """Measure a trained recogniser on a split of any folder in KTH's layout.

    Args:
        which: A recogniser, or anything that `resolve` understands.
        root: Folder in KTH's layout.
        split: "train", "validation", "test" or "all"; "all" takes files without a person too.
        data_name: What to call the data; from root's dataset.json or its folder name when None.
        runs_dir: Where run folders are.
        results_dir: Where rows of results go; None writes none.
        cache_dir: Where features are kept; None keeps none.
        every_window: Where the sampler is a Window, average the probabilities of windows all over a
            segment, half a window apart, instead of asking the one in its middle; None does so when
            it was trained that way.
        progress: Show progress bars.

    Raises:
        ValueError: The split has no segments under root.
    """
    started = time.perf_counter()
    data_name = data_name or name_of(root)
    recogniser = (
        which if isinstance(which, Recogniser) else load_recogniser(which, runs_dir=runs_dir)
    )
    extra, model = recogniser.extra, recogniser.model
    segments = select(find_segments(root, whole_files=bool(extra.get("whole_file"))), split)
    if not segments:
        raise ValueError(
            f"no segments of split {split!r} under {root}; --split all takes every file"
        )
    if split not in ("train", "validation"):  # whoever asks for those knows
        _warn_of_training_persons(segments, extra, data_name)
    every_window = bool(extra.get("every_window")) if every_window is None else every_window
    asked = windows_of(segments, recogniser.sampler) if every_window else segments
    dataset = feature_dataset(
        model.backbone,
        asked,
        sampler=recogniser.sampler,
        transform=recogniser.transform,
        cache_dir=cache_dir,
        progress=progress,
    )
    output = evaluate(
        model.head, create_dataloaders({"evaluation": dataset}, batch_size=64)["evaluation"]
    )
    about = about_run(extra, model.head, seconds=time.perf_counter() - started)
    log_probs, segments = by_segment(output.log_probs, dataset.segments)
    result = measure(
        log_probs,
        segments,
        experiment=extra["experiment"],
        data=data_name,
        split=split,
        about=about,
    )
    if results_dir is not None:
        record(result, results_dir)
        if is_footage(root):
            record_reading(result, results_dir=results_dir)
    return result


def windows_of(segments: Sequence[Segment], sampler: Sampler) -> list[Segment]:
    """Cut each segment into stretches of a window's reach, half of it apart and evenly spread; they
    keep its index.

    A window of one frame has no half: its stretches are the single frames.
    """
    if not isinstance(sampler, Window):
        return list(segments)
    reach = _span(sampler, segments)
    step = max(reach // 2, 1)
    pieces = []
    for segment in segments:
        room = max(len(segment) - reach, 0)
        starts = segment.start + np.linspace(0, room, 1 + -(-room // step)).round().astype(int)
        pieces += [
            dataclasses.replace(segment, start=int(a), stop=min(int(a) + reach, segment.stop))
            for a in starts
        ]
    return pieces


def by_segment(
    log_probs: np.ndarray, pieces: Sequence[Segment]
) -> tuple[np.ndarray, list[Segment]]:
    """Average the probabilities of each segment's pieces; what is whole stays as it is, to the last
    bit.

    Returns log-probabilities (S, K) and the S segments, each from its first piece's start to its
    last one's stop.
    """
    together: dict[tuple[Path, int], list[Segment]] = {}
    for piece in pieces:
        together.setdefault((piece.video.path, piece.index), []).append(piece)
    if len(together) == len(pieces):
        return log_probs, list(pieces)
    log_probs, _ = metrics.to_video_level(
        log_probs, [(piece.video.path, piece.index) for piece in pieces]
    )
    return log_probs, [
        dataclasses.replace(
            parts[0], start=min(p.start for p in parts), stop=max(p.stop for p in parts)
        )
        for parts in together.values()
    ]


def measure(
    log_probs: np.ndarray,
    segments: Sequence[Segment],
    *,
    experiment: str,
    data: str,
    split: str,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Turn log-probabilities (N, K) of N segments into a Result, at segment and at video level."""
    labels = np.array([segment.label for segment in segments])
    videos, first = metrics.to_video_level(
        log_probs, [str(segment.video.path) for segment in segments]
    )
    scenarios = [str(segment.video.scenario or "unknown") for segment in segments]
    persons = [
        "unknown" if segment.video.person is None else segment.video.group for segment in segments
    ]
    intervals = {
        "segment": evidence.person_interval_or_none(log_probs.argmax(1) == labels, persons),
        "video": evidence.person_interval_or_none(
            videos.argmax(1) == labels[first], [persons[i] for i in first]
        ),
    }
    return Result(
        experiment=experiment,
        data=data,
        split=split,
        segment=metrics.score(log_probs, labels),
        video=metrics.score(videos, labels[first]),
        per_class=metrics.per_class(log_probs, labels, ACTIONS),
        confusion=metrics.confusion(log_probs, labels, len(ACTIONS)).tolist(),
        classes=list(ACTIONS),
        items=[_item(segment, row) for segment, row in zip(segments, log_probs, strict=True)],
        per_scenario=metrics.per_group(log_probs, labels, scenarios),
        per_person=metrics.per_group(log_probs, labels, persons),
        person_interval=intervals,
        about=dict(about or {}),
        video_confusion=metrics.confusion(videos, labels[first], len(ACTIONS)).tolist(),
        log_probs=np.asarray(log_probs, dtype=float).tolist(),
    )


def record(result: Result, results_dir: str | Path = "results") -> None:
    """Write a result's rows into results_dir, replacing those of the same measurement."""
    for row in result.rows():
        tracking.append_result(tracking.results_path(result.data, results_dir), row)


def record_reading(
    result: Result,
    *,
    trained_on: str | None = None,
    name: str | None = None,
    results_dir: str | Path = "results",
) -> None:
    """Add a line to the list of all readings of real footage by recognisers; reading it often is a
    way of fitting it.

    Args:
        result: What was read.
        trained_on: The training data with the edition of its renderer, where the caller knows it.
        name: What to call the recogniser; its experiment and recipe when None.
        results_dir: Folder of the list.
    """
    about = result.about
    tracking.append_reading(
        Path(results_dir) / READINGS,
        {
            "date": date.today().isoformat(),
            "trained_on": trained_on or about["trained_on"],
            "recogniser": name or ", ".join(filter(None, (result.experiment, about["recipe"]))),
            "weights": about["weights_hash"],
            "seed": about["seed"],
            "segments_right": result.segment["correct"],
            "segments": result.segment["n"],
            "files_right": result.video["correct"],
            "files": result.video["n"],
            "calibration_error": f"{result.calibration_error:.3f}",
        },
    )


def read_result(run: tracking.RunFolder) -> Result:
    """Read the result of a finished run, its history included."""
    return Result(**run.result, history=run.history, run=str(run.path))


def report_again(which: str | Path, root: str | Path = DATA_ROOT) -> Path:
    """Make report.html and report.json of a finished run anew and return the page.

    Frames of mistakes are read from the data set under root; where it is not, the report says so.
    Raises FileNotFoundError when `which` is no finished run's folder, ValueError when it is a
    cross-validation's.
    """
    run = tracking.RunFolder(which)
    if not run.finished:
        raise FileNotFoundError(
            f"{which} is no folder of a finished run; `python har.py runs` lists those there are"
        )
    if "scheme" in run.config:
        raise ValueError(
            f"{which} is the folder of a cross-validation; its page is {run.path / HTML}, and "
            "the same "
            "`python har.py crossval` command writes it anew"
        )
    result, config = read_result(run), run.config
    try:
        segments = find_segments(root, whole_files=config["experiment"]["whole_file"])
    except FileNotFoundError:
        segments = []
    _report(result, segments, load_checkpoint(run.best)["extra"], config=config)
    return run.path / HTML


# helpers


def _report(
    result: Result,
    segments: Sequence[Segment],
    extra: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
) -> tuple[list[findings.Mistake], dict[str, Any]]:
    """Write the report into the run's folder; returns the mistakes and figures in it, which loggers
    show too."""
    plain = vars(result)
    mistakes = findings.find_mistakes(result.items, segments)
    figures = findings.make_figures(plain)
    origin = {
        "run": Path(result.run).name,
        **result.about,
        "data files": config["data"]["files"],
        "data hash": config["data"]["hash"],
        "backbone weights": config["backbone"],
        **{f"version of {k}": v for k, v in extra["versions"].items()},
    }
    sections = findings.make_sections(
        plain, mistakes, figures, config=config, origin=origin, headline=str(result)
    )
    title = f"{result.experiment} on {result.data}, {result.split} persons"
    try:
        write_report(result.run, title, sections)
    except OSError as error:
        warnings.warn(
            f"no report of {result.run} could be written ({error}); its result is kept",
            stacklevel=3,
        )
    return mistakes, figures


def _tell(
    loggers: Sequence[Logger],
    result: Result,
    mistakes: Sequence[findings.Mistake],
    figures: Mapping[str, Any],
    *,
    model: nn.Module,
    dataset: VideoDataset,
) -> None:
    """Let loggers show what the run came to; the embedding is made only when there is one."""
    if not loggers:
        return
    summary = findings.make_summary(
        vars(result),
        mistakes,
        figures,
        embedding=_embedding(model, dataset),
        classes=[ACTIONS[label] for label in dataset.labels],
    )
    for logger in loggers:
        logger.finish(summary)


@torch.inference_mode()
def _embedding(model: nn.Module, dataset: VideoDataset) -> np.ndarray:
    """The mean over time of each item's features, (N, D); of all items, in this process alone."""
    rows, device = [], pick_device()
    model.to(device).eval()
    for batch in DataLoader(dataset, batch_size=64, collate_fn=collate):
        features, mask = batch["input"], batch["mask"]  # padding is zeros
        if isinstance(model, VideoClassifier):
            features = model.encode(features.to(device), mask.to(device)).cpu()
        rows.append(features.sum(1) / mask.sum(1, keepdim=True))
    return torch.cat(rows).numpy()


def _versions() -> dict[str, str]:
    import cv2
    import torchvision

    numbers = {"torch": torch, "torchvision": torchvision, "numpy": np, "opencv": cv2}
    return {
        "python": platform.python_version(),
        **{name: str(p.__version__) for name, p in numbers.items()},
    }


def find_experiment(name: str | Experiment) -> Experiment:
    """Return the experiment of a name, or the experiment itself; ValueError lists the names when
    there is none."""
    if isinstance(name, Experiment):
        return name
    if name not in EXPERIMENTS:
        raise ValueError(
            f"there is no experiment {name!r}; the experiments are {', '.join(EXPERIMENTS)}"
        )
    return EXPERIMENTS[name]


def run_config(
    experiment: Experiment,
    recipe: Recipe,
    data_name: str,
    splits: Mapping[str, Sequence[Segment]],
    backbone: EfficientNetBackbone,
    head: nn.Module,
) -> dict[str, Any]:
    """Everything that the outcome depends on; a file counts by name, size and segments, so a copy
    is the same data.

    The head counts by its class, its settings and the shapes of its weights, not by its name alone.
    """
    files = {segment.video.path for segments in splits.values() for segment in segments}
    stamps = sorted((path.name, path.stat().st_size) for path in files)
    ranges = [[s.name, s.start, s.stop] for inside in splits.values() for s in inside]
    data = {
        "name": data_name,
        "files": len(stamps),
        "hash": tracking.config_hash({"files": stamps, "ranges": ranges}),
    }
    plain = {
        **dataclasses.asdict(recipe),
        "weights": _weights_name(recipe.weights),
        "size": list(recipe.size),
        "extra_root": _name_or_none(recipe.extra_root),
    }
    return {
        "experiment": experiment.to_config(),
        "data": data,
        "recipe": plain,
        "backbone": backbone.fingerprint(),
        "head": _head_in_plain_values(head),
    }


def _head_in_plain_values(head: Any) -> dict[str, Any]:
    shapes = {name: list(value.shape) for name, value in head.state_dict().items()}
    return {
        "class": type(head).__qualname__,
        "settings": json.loads(json.dumps(head.config)),
        "shapes": tracking.config_hash(shapes),
    }


def checkpoint_extra(
    experiment: Experiment,
    recipe: Recipe,
    data_name: str,
    train: Sequence[Segment],
    *,
    backbone: EfficientNetBackbone,
    transform: ClipTransform,
    head: Any,
) -> dict[str, Any]:
    """What a checkpoint must remember, in plain values."""
    span = None if experiment.whole_file else _span(experiment.sampler, train)
    return {
        "classes": list(ACTIONS),
        "sampler": sampler_config(experiment.sampler),
        "transform": transform.to_config(),
        "backbone": {
            **backbone.config,
            "weights": _weights_name(recipe.weights) + _tuned(recipe),
            "fingerprint": backbone.fingerprint(),
        },
        "head": {"name": experiment.head, "config": dict(head.config)},
        "experiment": experiment.name,
        "data": data_name,
        "extra_data": _name_or_none(recipe.extra_root),
        "whole_file": experiment.whole_file,
        "every_window": recipe.every_window,
        "recipe": _recipe_in_words(recipe),
        "span": span,
        "seed": recipe.seed,
        "versions": _versions(),
        "parameters": _trained_weights(backbone, head, recipe.fine_tune),
    }


def _trained_weights(backbone: EfficientNetBackbone, head: nn.Module, stages: int) -> int:
    """How many weights a training changes: the head's and those of the backbone's last `stages`
    stages."""
    tuned = backbone.features[len(backbone.features) - stages :] if stages else ()
    return sum(p.numel() for part in (head, *tuned) for p in part.parameters())


def _span(sampler: Sampler, train: Sequence[Segment]) -> int:
    """How many frames one look takes in: a window's reach, else the median length of the training
    segments."""
    if isinstance(sampler, Window):
        return (sampler.frames - 1) * sampler.stride + 1
    return round(float(np.median([len(segment) for segment in train])))


def _save_whole(
    path: Path,
    backbone: EfficientNetBackbone,
    head: nn.Module,
    history: History,
    extra: Mapping[str, Any],
) -> None:
    best = min(history, key=lambda row: row["val_loss"])
    save_checkpoint(
        path,
        model=VideoClassifier(backbone=backbone, head=head),
        epoch=len(history),
        extra=extra,
        best={name: best[name] for name in ("epoch", "val_loss", "val_accuracy")},
        history=history,
    )


def about_run(extra: Mapping[str, Any], head: nn.Module, *, seconds: float) -> dict[str, Any]:
    """The columns of a row of results that are not the numbers themselves.

    "parameters" are the weights that were trained, those of the backbone included; an older
    checkpoint does not say how many, then they are the head's.
    """
    transform = make_transform(extra["transform"])
    return {
        "trained_on": " + ".join(filter(None, (extra["data"], extra.get("extra_data")))),
        "seed": extra["seed"],
        "parameters": extra.get("parameters", sum(p.numel() for p in head.parameters())),
        "frames": _frames_in_words(make_sampler(extra["sampler"]), transform),
        "size": "x".join(map(str, transform.size)),
        "weights": extra["backbone"]["weights"],
        "weights_hash": extra["backbone"]["fingerprint"],
        "recipe": extra.get("recipe", ""),
        "seconds": round(seconds, 1),
        "commit": tracking.code_commit(Path(__file__).parents[1]),
        "date": date.today().isoformat(),
    }


def _recipe_in_words(recipe: Recipe) -> str:
    """Say in which settings a recipe differs from the default, but for those that have columns of
    their own."""
    default, told = Recipe(), ("weights", "size", "extra_root", "seed", "fast", "fine_tune")
    words = []
    for setting in dataclasses.fields(Recipe):
        value = getattr(recipe, setting.name)
        if setting.name not in told and value != getattr(default, setting.name):
            name = setting.name.replace("_", " ")
            words.append(name if value is True else f"{name} {value}")
    return ", ".join(words)


def _frames_in_words(sampler: Sampler, transform: ClipTransform) -> str:
    words = " ".join(str(value) for value in sampler_config(sampler).values())
    words += f", gap {transform.gap}" if transform.gap else ""
    return f"mean of {words}" if transform.pool == "mean" else words


def _name_or_none(root: str | Path | None) -> str | None:
    return None if root is None else name_of(root)


def _weights_name(weights: str | Path | None) -> str:
    return (
        "random"
        if weights is None
        else weights
        if weights in ("bundled", "imagenet")
        else Path(weights).name
    )


def _tuned(recipe: Recipe) -> str:
    return f", {recipe.fine_tune} stages tuned" if recipe.fine_tune else ""


def _record_of(result: Result) -> dict[str, Any]:
    return {name: value for name, value in vars(result).items() if name not in ("history", "run")}


def _item(segment: Segment, log_probs: np.ndarray) -> dict[str, Any]:
    probs = np.exp(log_probs)
    return {
        "file": f"{segment.video.path.parent.name}/{segment.video.path.name}",
        "segment": segment.index + 1,
        "label": ACTIONS[segment.label],
        "predicted": ACTIONS[int(log_probs.argmax())],
        "probs": {action: round(float(p), 6) for action, p in zip(ACTIONS, probs, strict=True)},
    }


def _readable(
    segments: Sequence[Segment], store: FeatureStore
) -> tuple[list[Segment], FeatureStore]:
    kept = store.readable()
    if len(kept) == len(segments):
        return list(segments), store
    return [segments[index] for index in kept], store.subset(kept)


def _warn_of_training_persons(
    segments: Sequence[Segment], extra: Mapping[str, Any], data_name: str
) -> None:
    """Persons of the training or validation split, of the very data set that the recogniser saw,
    are no test."""
    seen = set(SPLITS["train"]) | set(SPLITS["validation"])
    known = sorted({s.video.person for s in segments if s.video.person in seen})
    if known and data_name == extra.get("data"):
        warnings.warn(
            f"persons {', '.join(map(str, known))} of {data_name} took part in this recogniser's "
            "training or "
            "choice; the accuracy on them says nothing about strangers",
            stacklevel=3,
        )


def _recogniser_path(name: str) -> Path:
    return RECOGNISERS / f"recogniser_{name}.pth"


def _bundled(name: str) -> Path:
    path = _recogniser_path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"no bundled recogniser at {path}: train one with `python har.py train {name}`"
        )
    return path
