"""Cross-validation: an experiment trained anew in every fold of persons, and what can then be said
about it.

Knows folds, how a fold is trained, and how folds and seeds are pooled into counts with intervals
that respect persons. Whatever is fitted is fitted inside the fold: the head, and the backbone's
stages when they are tuned. The backbone itself was taught on rendered persons who are in no data
set here, so its features, computed once for all folds, know nobody who is tested. The one exception
to all this is `leak`, which shows what a careless split is worth.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import statistics
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from data.folds import Fold, k_folds, leaky, leave_one_out, official, repeated, split_segments
from data.kth import ACTIONS, SPLITS, Segment, find_segments, select
from evaluation import metrics
from evaluation import statistics as evidence
from experiments.training import (
    DATA_ROOT,
    Experiment,
    Recipe,
    about_run,
    by_segment,
    checkpoint_extra,
    clip_datasets,
    feature_dataset,
    find_experiment,
    head_of,
    name_of,
    part_of,
    run_config,
    transform_of,
    windows_of,
)
from models.backbone import EfficientNetBackbone
from models.temporal import VideoClassifier
from tracking import results as tracking
from tracking.page import Section, write_report
from utils.data_setup import VideoDataset, create_dataloaders
from utils.engine import evaluate, pick_device, set_seed, train_model
from utils.store import CACHE, FeatureStore, joined

LEVELS = ("segment", "video")
PERSONS = {person for persons in SPLITS.values() for person in persons}
TESTED_SHARE = 9 / 25  # of the persons, in random splits: as many as in KTH's official one


@dataclass(frozen=True)
class Scheme:
    """How persons are dealt into folds: what it is called in results, and the folds."""

    name: str
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class Answers:
    """What models said about tested items, folds pooled: an item is tested once in every fold that
    holds its person.

    log_probs (N, K), labels (N,), and per item its name (fold and segment or video), person,
    scenario and fold.
    """

    log_probs: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    persons: tuple[str, ...]
    scenarios: tuple[str, ...]
    folds: tuple[str, ...]

    @property
    def right(self) -> np.ndarray:
        """Whether each item (N,) was named right."""
        return self.log_probs.argmax(1) == self.labels

    @property
    def items(self) -> tuple[str, ...]:
        """Which segment or video each answer is about: its name without the fold's; several folds
        may test it."""
        return tuple(
            name.removeprefix(f"{fold}: ")
            for name, fold in zip(self.names, self.folds, strict=True)
        )


@dataclass(frozen=True)
class CrossValidation:
    """An experiment's answers in all folds, one `Answers` a seed at each level, and what is to be
    said of the runs."""

    experiment: str
    data: str
    scheme: str
    seeds: tuple[int, ...]
    segments: tuple[Answers, ...]
    videos: tuple[Answers, ...]
    about: tuple[dict[str, Any], ...]
    run: str

    def answers(self, level: str) -> tuple[Answers, ...]:
        """Return the answers at "segment" or "video" level, one a seed."""
        return self.segments if level == "segment" else self.videos

    def right(self, level: str) -> np.ndarray:
        """Whether each item was named right, by seed: (S, N)."""
        return np.array([answers.right for answers in self.answers(level)])

    def score(self, level: str) -> dict[str, Any]:
        """Return {"correct": a list by seed, "n", "accuracy", "interval", "person_interval"}: the
        mean over seeds.

        n counts an item once, however many folds test it; correct is then the mean count over
        these, rounded. The first interval is Wilson's, of the mean count over seeds; the second is
        over persons, see `evidence.person_interval_or_none`.
        """
        right, first = self.right(level), self.answers(level)[0]
        n = len(set(first.items))
        return {
            "correct": [_count(of_seed, n) for of_seed in right],
            "n": n,
            "accuracy": float(right.mean()),
            "interval": list(evidence.wilson_interval(_count(right, n), n)),
            "person_interval": evidence.person_interval_or_none(right.mean(0), first.persons),
        }

    def tables(self, level: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Return accuracies by action, scenario, person and fold: {kind: {name: {"correct", "n"}}},
        seeds pooled.

        These are counts of answers: an item that several folds test counts in each.
        """
        first = self.answers(level)[0]
        actions = tuple(ACTIONS[label] for label in first.labels)
        kinds = {
            "action": actions,
            "scenario": first.scenarios,
            "person": first.persons,
            "fold": first.folds,
        }
        return {kind: _counts(self.right(level), groups) for kind, groups in kinds.items()}

    @cached_property
    def calibration_error(self) -> float:
        """The expected calibration error of the segments' probabilities, mean over seeds."""
        return statistics.mean(
            metrics.calibration_error(np.exp(a.log_probs), a.labels) for a in self.segments
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows for results/*.csv: for each seed one at each level, all folds pooled;
        counts as in `score`."""
        rows = []
        for place, seed in enumerate(self.seeds):
            for level in LEVELS:
                answers = self.answers(level)[place]
                n = len(set(answers.items))
                correct = _count(answers.right, n)
                low, high = evidence.wilson_interval(correct, n)
                persons = evidence.person_interval_or_none(answers.right, answers.persons)
                rows.append(
                    {
                        "experiment": self.experiment,
                        "data": self.data,
                        "split": self.scheme,
                        "level": level,
                        "n": n,
                        "correct": correct,
                        "accuracy": float(answers.right.mean()),
                        "low": low,
                        "high": high,
                        **evidence.person_columns(persons),
                        **self.about[place],
                        "seed": seed,
                    }
                )
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return everything but the probabilities in plain values."""
        return {
            "experiment": self.experiment,
            "data": self.data,
            "scheme": self.scheme,
            "seeds": list(self.seeds),
            **{level: {**self.score(level), "by": self.tables(level)} for level in LEVELS},
            "calibration_error": self.calibration_error,
            "about": list(self.about),
        }

    def __str__(self) -> str:
        """A line: the accuracies with counts, seeds and intervals."""
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        return f"{self.experiment} on {self.data} ({self.scheme}, {seeds}): " + ", ".join(
            f"{level}s {_in_words(self.score(level))}" for level in LEVELS
        )


# schemes


def plan(
    persons: Sequence[int],
    *,
    folds: int | None = None,
    loo: bool = False,
    repeats: int | None = None,
) -> Scheme:
    """Choose a scheme: k folds by person, leave one person out, repeated random 16 / 9 splits, else
    the official one.

    Args:
        persons: Who is in the data; the official split takes its own 25.
        folds: How many folds by person.
        loo: Leave one person out.
        repeats: How many random splits of the persons, 9 in 25 of them tested.

    Raises:
        ValueError: More than one is asked for, or there are too few persons for it.
    """
    if sum((folds is not None, loo, repeats is not None)) > 1:
        raise ValueError("choose one of folds, loo and repeats; none of them is the official split")
    if folds is not None:
        return Scheme(f"{folds} folds by person", tuple(k_folds(persons, folds)))
    if loo:
        return Scheme("leave one person out", tuple(leave_one_out(persons)))
    if repeats is not None:
        tested = max(1, round(len(persons) * TESTED_SHARE))
        return Scheme(
            f"{repeats} random splits by person",
            tuple(repeated(persons, repeats=repeats, test=tested)),
        )
    return Scheme("official", (official(),))


def persons_in(root: str | Path) -> list[int]:
    """List the persons whose segments lie under root; files that name nobody are nobody's."""
    return sorted({s.video.person for s in find_segments(root) if s.video.person is not None})


# running


def cross_validate(
    name: str | Experiment,
    scheme: Scheme,
    *,
    root: str | Path = DATA_ROOT,
    data_name: str | None = None,
    seeds: int = 3,
    runs_dir: str | Path = "runs",
    cache_dir: str | Path | None = CACHE,
    progress: bool = True,
    **recipe: Any,
) -> CrossValidation:
    """Train an experiment anew for every fold and seed, and ask it about the persons whom the fold
    tests.

    What was finished before, by an interrupted or a smaller run of the same configuration, is not
    done again. The folder of the run then holds result.json and a page for the eye, report.html.

    Args:
        name: One of EXPERIMENTS, or an experiment of one's own.
        scheme: The folds, see `plan`.
        root: Folder in KTH's layout.
        data_name: What to call the data; from root's dataset.json or its folder name when None.
        seeds: How many seeds a fold, counted from 0.
        runs_dir: A folder for this cross-validation goes into its subfolder "crossval".
        cache_dir: Where features are kept; None keeps none.
        progress: Show a progress bar over folds and seeds.
        **recipe: Fields of `Recipe` but seed.

    Raises:
        ValueError: There is no such experiment, no seed, a fold names persons without segments, or
            lacks an action.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; at least one is needed")
    experiment = find_experiment(name)
    job = _Job.prepare(
        experiment, Recipe(**recipe), root, data_name, cache_dir=cache_dir, progress=progress
    )
    parts = {
        fold: split_segments(job.segments, fold) for fold in scheme.folds
    }  # complains before anything is trained
    run = job.folder(Path(runs_dir) / "crossval", scheme)
    tested: dict[int, list[_Tested]] = {seed: [] for seed in range(seeds)}
    pairs = [(fold, seed) for fold in scheme.folds for seed in range(seeds)]
    title = f"{experiment.name}, {scheme.name}"
    for fold, seed in tqdm(pairs, desc=title, unit="training", disable=not progress, leave=False):
        path = run.path / f"{fold.name.replace(' ', '-')}-seed{seed}.npz"
        found = _Tested.read(path, fold, parts[fold]["test"]) if path.is_file() else None
        if found is None:
            found = job.test(parts[fold], fold, seed, checkpoints=path.with_suffix(""))
            found.write(path)
            shutil.rmtree(
                path.with_suffix(""), ignore_errors=True
            )  # they were there to go on from, and weigh most
        tested[seed].append(found)
    result = _pooled(job, scheme, tested, run)
    write_report(run.path, f"{title}, {result.data}", _sections(result, run.config))
    run.finish(result.to_json())
    return result


def leak(
    name: str | Experiment,
    *,
    root: str | Path = DATA_ROOT,
    splits: int = 5,
    seed: int = 0,
    cache_dir: str | Path | None = CACHE,
    progress: bool = True,
    **recipe: Any,
) -> LeakyNumber:
    """Train on random segments and ask about the other segments of the same persons and files: the
    common mistake.

    The number is too high, and exists to be shown beside the honest one, that of as many random
    splits by person, which train on as much. It is returned in a type of its own, which has no rows
    for results/; no checkpoint is kept.

    Args:
        name: One of EXPERIMENTS.
        root: Folder in KTH's layout.
        splits: How many random splits.
        seed: Of the splits and of the heads.
        cache_dir: Where features are kept.
        progress: Show a progress bar.
        **recipe: Fields of `Recipe` but seed.
    """
    job = _Job.prepare(
        find_experiment(name), Recipe(**recipe), root, cache_dir=cache_dir, progress=progress
    )
    correct = n = 0
    title = f"{job.experiment.name}, leaky"
    for number in tqdm(
        range(splits), desc=title, unit="training", disable=not progress, leave=False
    ):
        split = leaky(job.segments, seed=seed * splits + number)
        parts = {
            "train": split.leaky_train,
            "validation": split.leaky_validation,
            "test": split.leaky_test,
        }
        log_probs, asked = job.train_and_ask(parts, seed, loaders=_unchecked_loaders)
        found = metrics.score(log_probs, np.array([segment.label for segment in asked]))
        correct, n = correct + found["correct"], n + found["n"]
    return LeakyNumber(job.experiment.name, job.data_name, correct, n)


@dataclass(frozen=True)
class LeakyNumber:
    """How many segments were named right by models that had seen the same persons in the same
    files. Not a result."""

    experiment: str
    data: str
    correct: int
    n: int

    @property
    def accuracy(self) -> float:
        """The inflated accuracy."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval, which believes the segments independent: the same mistake once
        more."""
        return evidence.wilson_interval(self.correct, self.n)

    def __str__(self) -> str:
        """A line that says that it is no result."""
        low, high = self.interval
        return (
            f"{self.experiment} on {self.data}, LEAKY random split of segments, to be shown and "
            "never to be used: "
            f"{self.correct}/{self.n} = {self.accuracy:.1%} [{low:.1%}, {high:.1%}]"
        )


@dataclass(frozen=True)
class _Tested:
    """What one training said about the segments that its fold tests: log_probs (N, K), segments,
    seconds."""

    fold: Fold
    log_probs: np.ndarray
    segments: list[Segment]
    seconds: float

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            log_probs=self.log_probs,
            seconds=self.seconds,
            names=[s.name for s in self.segments],
        )
        partial = path.with_name(f"{path.name}.part")
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)

    @classmethod
    def read(cls, path: Path, fold: Fold, segments: Sequence[Segment]) -> _Tested | None:
        """Read what was written; None when the file is damaged or speaks of other segments, and is
        to be made anew."""
        by_name = {segment.name: segment for segment in segments}
        try:
            with np.load(path, allow_pickle=False) as content:
                names = [str(name) for name in content["names"]]
                return cls(
                    fold,
                    content["log_probs"],
                    [by_name[name] for name in names],
                    float(content["seconds"]),
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def at(self, level: str) -> Answers:
        """Return the answers about segments, or about videos: the mean probability over a video's
        segments."""
        log_probs, items = self.log_probs, self.segments
        if level == "video":
            log_probs, first = metrics.to_video_level(log_probs, [str(s.video.path) for s in items])
            items = [items[index] for index in first]
        names = [s.name if level == "segment" else s.video.name for s in items]
        return Answers(
            log_probs,
            np.array([s.label for s in items]),
            tuple(f"{self.fold.name}: {n}" for n in names),
            tuple(s.video.group for s in items),
            tuple(str(s.video.scenario or "unknown") for s in items),
            (self.fold.name,) * len(items),
        )


@dataclass
class _Job:
    """An experiment and a recipe on a data set, its features computed once, when they are first
    needed."""

    experiment: Experiment
    recipe: Recipe
    data_name: str
    segments: list[Segment]
    backbone: EfficientNetBackbone
    cache_dir: str | Path | None
    progress: bool

    @classmethod
    def prepare(
        cls,
        experiment: Experiment,
        recipe: Recipe,
        root: str | Path,
        data_name: str | None = None,
        *,
        cache_dir: str | Path | None,
        progress: bool,
    ) -> _Job:
        """Find the segments that name a person, and the backbone that looks at them."""
        if recipe.extra_root is not None:
            raise ValueError(
                "cross-validation takes no extra_root: its folds deal out the persons of one "
                "data set"
            )
        found = find_segments(root, whole_files=experiment.whole_file)
        segments = [s for s in found if s.video.person is not None]
        segments = _of_few_files(segments) if recipe.fast else segments
        set_seed(0)  # random weights are then the same ones every time
        backbone = EfficientNetBackbone(weights=recipe.weights, channels=experiment.channels).to(
            pick_device()
        )
        return cls(
            experiment, recipe, data_name or name_of(root), segments, backbone, cache_dir, progress
        )

    @cached_property
    def features(self) -> VideoDataset:
        """The features of all folds, by official split where there is one: so `train` leaves them
        in the cache."""
        official_ones = all(s.video.person in PERSONS for s in self.segments)
        parts = (
            [select(self.segments, split) for split in SPLITS] if official_ones else [self.segments]
        )
        every_window, sampler = self.recipe.every_window, self.experiment.sampler
        found = [
            feature_dataset(
                self.backbone,
                windows_of(part, sampler) if every_window else part,
                sampler=sampler,
                transform=transform_of(self.experiment, self.recipe),
                cache_dir=self.cache_dir,
                mirrored=self.recipe.mirrored,
                progress=self.progress,
            )
            for part in parts
            if part
        ]
        stores = [
            cast(FeatureStore, part.source) for part in found
        ]  # feature_dataset makes nothing else
        return VideoDataset(
            [segment for part in found for segment in part.segments], joined(stores), seed=None
        )

    def folder(self, runs_dir: Path, scheme: Scheme) -> tracking.RunFolder:
        """Return the run folder of this configuration, an older one if there is one."""
        config = {
            **run_config(
                self.experiment,
                self.recipe,
                self.data_name,
                {"all": self.segments},
                self.backbone,
                head_of(self.experiment, self.backbone),
            ),
            "scheme": scheme.name,
            "folds": [[f.name, *map(list, (f.train, f.validation, f.test))] for f in scheme.folds],
        }
        name = self.experiment.name
        return tracking.matching_run(runs_dir, name, config) or tracking.RunFolder.create(
            runs_dir, name, config
        )

    def test(
        self, parts: Mapping[str, Sequence[Segment]], fold: Fold, seed: int, *, checkpoints: Path
    ) -> _Tested:
        """Train inside a fold and ask about its test persons; only tuning, which takes long, keeps
        checkpoints."""
        started = time.perf_counter()
        kept = checkpoints if self.recipe.fine_tune else None
        log_probs, segments = self.train_and_ask(parts, seed, checkpoint_dir=kept)
        return _Tested(fold, log_probs, segments, time.perf_counter() - started)

    def train_and_ask(
        self,
        parts: Mapping[str, Sequence[Segment]],
        seed: int,
        *,
        loaders: Any = create_dataloaders,
        checkpoint_dir: Path | None = None,
    ) -> tuple[np.ndarray, list[Segment]]:
        """Build and train a model on parts["train"] and return what it says about the segments of
        parts["test"]."""
        recipe = dataclasses.replace(self.recipe, seed=seed)
        set_seed(seed)  # a backbone of the fold's own may start from random weights
        datasets, backbone = self._datasets(parts, recipe)
        feeds: dict[str, DataLoader] = loaders(datasets, batch_size=recipe.batch_size, seed=seed)
        set_seed(seed)
        head = head_of(self.experiment, backbone)
        model: nn.Module = head
        if recipe.fine_tune:
            backbone.unfreeze(recipe.fine_tune)
            model = VideoClassifier(backbone=backbone, head=head)
        train_model(
            model,
            feeds["train"],
            feeds["validation"],
            progress=False,
            checkpoint_dir=checkpoint_dir,
            resume=checkpoint_dir is not None,
            **recipe.training(),
        )
        return by_segment(evaluate(model, feeds["test"]).log_probs, datasets["test"].segments)

    def described(self, seed: int) -> dict[str, Any]:
        """Return the columns of a row of results that are not the numbers themselves."""
        recipe, head = (
            dataclasses.replace(self.recipe, seed=seed),
            head_of(self.experiment, self.backbone),
        )
        extra = checkpoint_extra(
            self.experiment,
            recipe,
            self.data_name,
            self.segments,
            backbone=self.backbone,
            transform=transform_of(self.experiment, recipe),
            head=head,
        )
        return about_run(extra, head, seconds=0)

    def _datasets(
        self, parts: Mapping[str, Sequence[Segment]], recipe: Recipe
    ) -> tuple[dict[str, VideoDataset], EfficientNetBackbone]:
        """The fold's data sets: parts of the features, or clips for a backbone of the fold's
        own."""
        if recipe.fine_tune:
            backbone = EfficientNetBackbone(
                weights=recipe.weights, channels=self.experiment.channels
            )
            return clip_datasets(self.experiment, recipe, parts), backbone.to(pick_device())
        places: dict[tuple[Path, int], list[int]] = {}
        for number, piece in enumerate(self.features.segments):
            places.setdefault((piece.video.path, piece.index), []).append(number)
        chosen = {
            name: [n for s in part for n in places.get((s.video.path, s.index), [])]
            for name, part in parts.items()
        }
        return {
            name: part_of(self.features, numbers, seed=recipe.seed if name == "train" else None)
            for name, numbers in chosen.items()
        }, self.backbone


def _of_few_files(segments: Sequence[Segment]) -> list[Segment]:
    """Keep one file of each person and action, all segments of it: folds need them all, and a leak
    needs several."""
    chosen = {(s.video.person, s.video.action): s.video.path for s in reversed(segments)}
    return [s for s in segments if s.video.path == chosen[s.video.person, s.video.action]]


def _unchecked_loaders(
    datasets: Mapping[str, VideoDataset], **settings: Any
) -> dict[str, DataLoader]:
    """One loader at a time, so that nobody notices that persons are on both sides: for `leak`
    alone."""
    return {
        name: create_dataloaders({name: dataset}, **settings)[name]
        for name, dataset in datasets.items()
    }


# showing


def _sections(found: CrossValidation, config: Mapping[str, Any]) -> dict[str, Section]:
    """Put a cross-validation into the sections of its page."""
    from utils import viz  # matplotlib takes a second to import, which training should not wait for

    people = found.tables("video")["person"]
    dots = {found.experiment: [count["correct"] / count["n"] for count in people.values()]}
    confidence, accuracy, count = evidence.reliability(*_pooled_probs(found.segments))
    figures = {
        "videos": viz.fold_figure(
            dots, list(people), axis_label="accuracy of videos (%), one dot a person"
        ),
        "reliability of segments": viz.reliability_figure(
            {found.experiment: (confidence, accuracy, count)}
        ),
    }
    facts = {"calibration error of segments": found.calibration_error}
    sections = {"Result": Section(str(found), facts, figures)}
    for level in LEVELS:
        for kind, counts in found.tables(level).items():
            rows = [
                {kind: name, **count, "accuracy": count["correct"] / count["n"]}
                for name, count in counts.items()
            ]
            sections[f"{level.capitalize()}s by {kind}, seeds pooled"] = Section(rows=rows)
    sections["Seeds"] = Section(rows=found.rows())
    return sections | {"Configuration": Section(facts=tracking.flat(config))}


def _pooled_probs(answers: Sequence[Answers]) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities and labels of all seeds, one after another."""
    return np.exp(np.concatenate([a.log_probs for a in answers])), np.concatenate(
        [a.labels for a in answers]
    )


# pooling


def _pooled(
    job: _Job, scheme: Scheme, tested: Mapping[int, Sequence[_Tested]], run: tracking.RunFolder
) -> CrossValidation:
    """Put the folds of each seed together."""
    levels = {
        level: tuple(_together([part.at(level) for part in parts]) for parts in tested.values())
        for level in LEVELS
    }
    about = tuple(
        {**job.described(seed), "seconds": round(sum(part.seconds for part in parts), 1)}
        for seed, parts in tested.items()
    )
    return CrossValidation(
        job.experiment.name,
        job.data_name,
        scheme.name,
        tuple(tested),
        levels["segment"],
        levels["video"],
        about,
        str(run.path),
    )


def _together(parts: Sequence[Answers]) -> Answers:
    def chained(name: str) -> tuple[str, ...]:
        return tuple(value for part in parts for value in getattr(part, name))

    return Answers(
        np.concatenate([part.log_probs for part in parts]),
        np.concatenate([part.labels for part in parts]),
        *(chained(name) for name in ("names", "persons", "scenarios", "folds")),
    )


def _counts(right: np.ndarray, groups: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts by group, seeds pooled: right (S, N), groups (N)."""
    names = np.array(groups)
    return {
        str(name): {
            "correct": int(right[:, names == name].sum()),
            "n": int(right.shape[0] * (names == name).sum()),
        }
        for name in sorted(set(groups))
    }


def _count(right: np.ndarray, n: int) -> int:
    """How many of n items are right, rounded, when answers about them are right or wrong as `right`
    says."""
    return round(int(right.sum()) * n / right.size)


def _in_words(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]
    text = (
        f"{' '.join(map(str, score['correct']))} of {score['n']} = {score['accuracy']:.1%} "
        f"[{low:.1%}, {high:.1%}]"
    )
    if score["person_interval"]:
        text += ", over persons [{:.1%}, {:.1%}]".format(*score["person_interval"])
    return text


def compare(a: CrossValidation, b: CrossValidation, *, level: str = "video") -> evidence.Comparison:
    """Compare two experiments on the same items of the same folds, persons resampled together.

    An item that several folds test is one item to McNemar's test, see `evidence.compare`.

    Raises:
        ValueError: They were not tested on the same items in the same folds.
    """
    names = a.answers(level)[0].names, b.answers(level)[0].names
    if names[0] != names[1]:
        raise ValueError(
            f"{a.experiment} ({a.scheme}) and {b.experiment} ({b.scheme}) were not tested on the "
            "same "
            f"{level}s ({len(names[0])} and {len(names[1])}): take one data set and one scheme "
            "for both"
        )
    return evidence.compare(
        a.right(level),
        b.right(level),
        a.answers(level)[0].persons,
        names=(a.experiment, b.experiment),
        items=a.answers(level)[0].items,
    )


def comparisons(
    results: Sequence[CrossValidation], *, level: str = "video"
) -> Iterator[evidence.Comparison]:
    """Compare every pair once, each with those before it."""
    for place, later in enumerate(results):
        for earlier in results[:place]:
            yield compare(later, earlier, level=level)


def pair_row(
    pair: evidence.Comparison, found: CrossValidation, *, level: str = "video"
) -> dict[str, Any]:
    """Return a comparison as a row for results/*.csv; `found` is one of the two that were
    compared."""
    low, high = pair.interval
    return {
        "a": pair.names[0],
        "b": pair.names[1],
        "data": found.data,
        "split": found.scheme,
        "level": level,
        "seeds": len(found.seeds),
        "items": pair.items,
        "persons": pair.persons,
        "difference": pair.difference,
        "low": low,
        "high": high,
        "only_a": pair.only_a,
        "only_b": pair.only_b,
        "p": pair.p,
        "verdict": pair.verdict,
        "commit": found.about[0]["commit"],
        "date": found.about[0]["date"],
    }
