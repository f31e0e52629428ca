"""Cross-validation: an experiment trained anew in every fold of persons, and what follows from it.

Knows folds, how a fold is trained, and how folds and seeds are pooled into counts with intervals
that respect persons. Whatever is fitted is fitted inside the fold: the head, and the encoder's
stages when they are tuned. The encoder itself was pre-trained on rendered persons who are in no
data set here, so its features, computed once for all folds, know nobody who is tested. The one
exception to all this is `subject_leakage`, which shows what a careless split is worth.
"""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from data.dealing import BY_FILE, deal
from data.files import DEFAULT, place, read_json, write_json
from data.folds import (
    Fold,
    k_folds,
    leaky,
    leave_one_out,
    official,
    own_folds,
    repeated,
    split_segments,
)
from data.items import Person, Segment, classes_of, ordered
from data.kth import ACTIONS, SPLITS, dataset_name, find_segments, own_segments, select
from data.persons import persons_rule
from data.schema import check
from evaluation import statistics as evidence
from evaluation.predictions import Predictions, Score, concatenate
from experiments.datasets import keeps_features
from experiments.recipe import Recipe
from experiments.results import KINDS, LEVELS, CrossValidation, about_run
from experiments.table import Experiment, find_experiment
from experiments.training import Fitted, Job, fit, new_model
from tracking import runs
from tracking.page import Section, write_report
from utils import features
from utils.data_setup import VideoDataset

PERSONS = {person for persons in SPLITS.values() for person in persons}
VALIDATING = 8  # persons, where one is left out: as many as in KTH's official split
TESTED_SHARE = 9 / 25  # of the persons, in random splits: as many as in KTH's official one


@dataclass(frozen=True)
class Scheme:
    """How persons are dealt into folds: what it is called in results, and the folds."""

    name: str
    folds: tuple[Fold, ...]


# schemes


def plan(
    persons: Sequence[Person],
    *,
    folds: int | None = None,
    loo: bool = False,
    repeats: int | None = None,
) -> Scheme:
    """Choose a scheme: k folds by person, leave one out, random 16 / 9 splits, else the official
    one.

    Args:
        persons: Who is in the data; the official split takes its own 25.
        folds: How many folds by person.
        loo: Leave one person out.
        repeats: How many random splits of the persons, 9 in 25 of them tested.

    Raises:
        ValueError: More than one is chosen, or there are too few persons for it.
    """
    if sum((folds is not None, loo, repeats is not None)) > 1:
        raise ValueError("choose one of folds, loo and repeats; none of them is the official split")
    if folds is not None:
        return Scheme(f"{folds}-fold by subject", tuple(k_folds(persons, folds)))
    if loo:
        few = max(1, min(VALIDATING, (len(persons) - 1) // 2))
        scheme = leave_one_out(persons, validation=few)
        return Scheme("leave-one-subject-out", tuple(scheme))
    if repeats is not None:
        tested = max(1, round(len(persons) * TESTED_SHARE))
        splits = repeated(persons, repeats=repeats, test=tested)
        return Scheme(f"{repeats} random splits by subject", tuple(splits))
    return Scheme("official", (official(),))


def persons_in(root: str | Path) -> list[Person]:
    """List the persons whose segments lie under root; files that name nobody are nobody's."""
    found = {s.video.person for s in find_segments(root) if s.video.person is not None}
    return ordered(found)


def plan_for(
    root: str | Path,
    *,
    person: str | None = None,
    folds: int | None = None,
    loo: bool = False,
    repeats: int | None = None,
) -> Scheme:
    """Choose a scheme for a folder: by the persons in it as `plan` does, of one's own classes by
    person or by file, all classes in every part.

    Args:
        root: The folder.
        person: How persons are told, see `data.persons`.
        folds, loo, repeats: See `plan`; none of them is the split that training takes.

    Raises:
        ValueError: As `plan`, `own_folds` and `data.dealing.deal` do.
    """
    found = find_segments(root, person=person)
    if _names_kth(found, persons_rule(root, person)):
        return plan(persons_in(root), folds=folds, loo=loo, repeats=repeats)
    segments, where = own_segments(found), str(root)
    by_file = all(segment.video.person is None for segment in segments)
    if by_file and (loo or repeats):
        raise ValueError(
            f"{where} tells no persons, and only --folds K deals files so that every part shows "
            "every class; tell the persons with --person to leave one out or to draw some"
        )
    if folds is not None and not (loo or repeats):
        kind = "file" if by_file else "subject"
        if by_file:
            warnings.warn(BY_FILE, stacklevel=2)
        return Scheme(f"{folds}-fold by {kind}", tuple(own_folds(segments, folds, where)))
    if folds or loo or repeats:
        whose = ordered({segment.video.who for segment in segments})
        return plan(whose, folds=folds, loo=loo, repeats=repeats)
    parts = deal(segments, where)
    dealt = {part: tuple({s.video.who: 0 for s in inside}) for part, inside in parts.items()}
    return Scheme("own split", (Fold("own split", **dealt),))


def _names_kth(segments: Sequence[Segment], rule: str | None) -> bool:
    """Tell whether segments are dealt by KTH's persons, whoever they are, and no rule of one's
    own."""
    named = any(segment.video.person is not None for segment in segments)
    return rule is None and classes_of(segments) == ACTIONS and named


# running


def cross_validate(
    name: str | Experiment,
    scheme: Scheme,
    *,
    root: str | Path = DEFAULT,
    data_name: str | None = None,
    seeds: int = 3,
    runs_dir: str | Path = DEFAULT,
    cache_dir: str | Path | None = DEFAULT,
    progress: bool = True,
    **recipe: Any,
) -> CrossValidation:
    """Train an experiment anew for every fold and seed, and test the persons whom the fold tests.

    What was finished before, by an interrupted or a smaller run of the same configuration, is not
    done again. The folder of the run then holds result.json and a page, report.html.

    Args:
        name: One of EXPERIMENTS, or an experiment of one's own.
        scheme: The folds, see `plan`.
        root: Folder <class>/<file>; by default KTH-Synth.
        data_name: What to call the data; None takes what the folder says.
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
    job = _prepared(name, Recipe(**recipe), root, data_name, cache_dir, progress)
    # complains before anything is trained
    parts = {fold: split_segments(job.segments, fold) for fold in scheme.folds}
    _warn_of_left_out(job.segments, scheme)
    run = job.folder(place(runs_dir, "runs") / "crossval", scheme)
    tested: dict[int, list[Predictions]] = {seed: [] for seed in range(seeds)}
    pairs = [(fold, seed) for fold in scheme.folds for seed in range(seeds)]
    title = f"{job.experiment.name}, {scheme.name}"
    for fold, seed in tqdm(pairs, desc=title, unit="training", disable=not progress, leave=False):
        tested[seed].append(job.tested(run.path, fold, parts[fold], seed))
    result = CrossValidation(
        job.experiment.name,
        job.data_name,
        scheme.name,
        tuple(tested),
        tuple(concatenate(found) for found in tested.values()),
        tuple(job.about(seed, run.path) for seed in tested),
        str(run.path),
    )
    write_report(run.path, f"{title}, {result.data}", _sections(result, run.config))
    run.finish(result.to_json())
    return result


def subject_leakage(
    name: str | Experiment,
    *,
    root: str | Path = DEFAULT,
    splits: int = 5,
    seed: int = 0,
    cache_dir: str | Path | None = DEFAULT,
    progress: bool = True,
    **recipe: Any,
) -> LeakedAccuracy:
    """Train on random segments and test others of the same persons and files: the common mistake.

    The number is too high, and exists to be shown beside the honest one, that of as many random
    splits by person, which train on as much. It is returned in a type of its own, which has no rows
    for results/; no checkpoint is kept.

    Args:
        name: One of EXPERIMENTS.
        root: Folder in KTH's layout; by default KTH-Synth.
        splits: How many random splits.
        seed: Of the splits and of the heads.
        cache_dir: Where features are kept.
        progress: Show a progress bar.
        **recipe: Fields of `Recipe` but seed.
    """
    job = _prepared(name, Recipe(**recipe), root, None, cache_dir, progress)
    correct = n = 0
    bar = tqdm(
        range(splits), desc="subject leakage", unit="training", disable=not progress, leave=False
    )
    for number in bar:
        split = leaky(job.segments, seed=seed * splits + number)
        parts = {name: getattr(split, f"leaky_{name}") for name in SPLITS}
        found = job.fit(parts, seed, disjoint=False).predictions.score()
        correct, n = correct + round(found.correct), n + found.n
    return LeakedAccuracy(job.experiment.name, job.data_name, Score(correct, n))


@dataclass(frozen=True)
class LeakedAccuracy:
    """The score of models that had seen the same persons in the same files. Not a result.

    Its interval is Wilson's, which takes the segments for independent: the same mistake once more.
    """

    experiment: str
    data: str
    score: Score

    def __str__(self) -> str:
        """One line that says that it is no result."""
        return (
            f"{self.experiment} on {self.data}, SUBJECT LEAKAGE (random split of segments), to be "
            f"shown and never to be used: {self.score}"
        )


def _warn_of_left_out(segments: Sequence[Segment], scheme: Scheme) -> None:
    """Name the persons whom no fold trains on, validates or tests."""
    dealt = {person for fold in scheme.folds for part in fold.parts.values() for person in part}
    people = ordered({segment.video.who for segment in segments} - dealt)
    if people:
        warnings.warn(
            f"person {', '.join(map(str, people))} is in no fold of {scheme.name!r} and is left "
            "out; --folds K deals everybody",
            stacklevel=3,
        )


def _prepared(
    name: str | Experiment,
    recipe: Recipe,
    root: str | Path,
    data_name: str | None,
    cache_dir: str | Path | None,
    progress: bool,
) -> _Job:
    """Find the segments that name a person; all of them where the classes are one's own."""
    if recipe.auxiliary_root is not None:
        raise ValueError(
            "cross-validation takes no auxiliary_root: its folds deal out one data set's persons"
        )
    recipe.settings()  # refuses what makes no sense before anything is computed
    experiment, root = find_experiment(name), place(root, "Data/KTH-Synth")
    found = find_segments(root, whole_files=experiment.whole_file, person=recipe.person)
    if _names_kth(found, persons_rule(root, recipe.person)):
        segments = [s for s in found if s.video.person is not None]
    else:
        segments = own_segments(found)
    splits = {"all": _of_few_files(segments) if recipe.fast else segments}
    data_name = data_name or dataset_name(root)
    return _Job(experiment, recipe, data_name, splits, place(cache_dir, "cache"), progress)


class _Job(Job):
    """All folds of an experiment: on kept features they share the encoder, and the features, which
    are computed when they are first needed."""

    @property
    def segments(self) -> list[Segment]:
        """Those that are dealt."""
        return self.splits["all"]

    @cached_property
    def data(self) -> VideoDataset:
        """The features of all folds, by official split where there is one: as a run keeps them."""
        official_ones = all(s.video.person in PERSONS for s in self.segments)
        groups = [select(self.segments, split) for split in SPLITS] if official_ones else []
        parts = [
            self.dataset(group, self.recipe, flipped=self.recipe.horizontal_flip)
            for group in groups or [self.segments]
            if group
        ]
        source = features.concatenate([cast(features.Features, part.source) for part in parts])
        return VideoDataset([segment for part in parts for segment in part.segments], source)

    def folder(self, runs_dir: Path, scheme: Scheme) -> runs.RunFolder:
        """Return the run folder of this configuration, an older one if there is one."""
        folds = [[f.name, *map(list, (f.train, f.validation, f.test))] for f in scheme.folds]
        config = {**self.config(), "scheme": scheme.name, "folds": folds}
        wanted = runs_dir, self.experiment.name, config
        return runs.matching_run(*wanted) or runs.RunFolder.create(*wanted)

    def tested(
        self, folder: Path, fold: Fold, parts: Mapping[str, Sequence[Segment]], seed: int
    ) -> Predictions:
        """Return the predictions of a fold's test persons, kept or made; damage is made anew."""
        path = folder / f"{fold.name.replace(' ', '-')}-seed{seed}.npz"
        try:
            return Predictions.load(path)
        except (FileNotFoundError, ValueError):
            pass
        # only tuning takes long enough to keep checkpoints, which go when the fold is finished
        checkpoints = path.with_suffix("") if self.recipe.fine_tune else None
        fitted = self.fit(parts, seed, checkpoint_dir=checkpoints)
        names = np.full(len(fitted.predictions), fold.name)
        items = {**fitted.predictions.items, "fold": names}
        predictions = dataclasses.replace(fitted.predictions, items=items)
        write_json(folder / "seconds.json", _seconds(folder) | {path.stem: fitted.seconds})
        predictions.save(path)
        if checkpoints is not None:
            shutil.rmtree(checkpoints, ignore_errors=True)
        return predictions

    def fit(self, parts: Mapping[str, Sequence[Segment]], seed: int, **settings: Any) -> Fitted:
        """Fit a model of the fold's own; on kept features it shares the encoder."""
        recipe = dataclasses.replace(self.recipe, seed=seed)
        kept = keeps_features(self.model, recipe)
        shared = {"backbone": self.model.backbone} if kept else {}
        model = new_model(self.experiment, recipe, num_classes=len(self.classes), **shared)
        dataset = self._of_kept if kept else self.dataset
        datasets = {
            name: dataset(part, recipe, train=name == "train") for name, part in parts.items()
        }
        return fit(self.experiment, recipe, datasets, model=model, **settings)

    def _of_kept(self, segments: Sequence[Segment], recipe: Recipe, *, train: bool) -> VideoDataset:
        places = defaultdict(list)
        for number, piece in enumerate(self.data.segments):
            places[piece.video.path, piece.index].append(number)
        chosen = [n for s in segments for n in places[s.video.path, s.index]]
        return self.data.subset(chosen, seed=recipe.seed if train else None)

    def about(self, seed: int, folder: Path) -> dict[str, Any]:
        """Return the columns of a row of results that are not the numbers themselves."""
        took = _seconds(folder)
        seconds = sum(took[name] for name in took if name.endswith(f"-seed{seed}"))
        return about_run({**self.extra(self.segments), "seed": seed}, seconds=seconds)


def _seconds(folder: Path) -> dict[str, float]:
    """What each finished training took, by fold and seed; what cannot be read of it is left out."""
    try:
        found = read_json(folder / "seconds.json")
        check(found, dict, "it")
    except (FileNotFoundError, ValueError):
        return {}
    return {name: took for name, took in found.items() if isinstance(took, int | float)}


def _of_few_files(segments: Sequence[Segment]) -> list[Segment]:
    """Keep one file of each person and action, all segments of it: subject leakage needs
    several."""
    chosen = {(s.video.who, s.video.action): s.video.path for s in reversed(segments)}
    return [s for s in segments if s.video.path == chosen[s.video.who, s.video.action]]


# showing


def _sections(found: CrossValidation, config: Mapping[str, Any]) -> dict[str, Section]:
    """Put a cross-validation into the sections of its page."""
    from utils import viz  # matplotlib takes a second to import, which training should not wait for

    people = found.by("person", "video")
    dots = {found.experiment: [score.accuracy for score in people.values()]}
    pooled = concatenate(found.at("segment"))
    curve = evidence.reliability(pooled.probs, pooled.labels)
    figures = {
        "videos": viz.fold_figure(
            dots, list(people), axis_label="accuracy of videos (%), one dot per person"
        ),
        "reliability of segments": viz.reliability_figure({found.experiment: curve}),
    }
    facts = {"calibration error of segments": found.calibration_error}
    sections = {"Result": Section(str(found), facts, figures)}
    for level in LEVELS:
        for kind in KINDS:
            rows = [
                {kind: name, "correct": score.correct, "n": score.n, "accuracy": score.accuracy}
                for name, score in found.by(kind, level).items()
            ]
            sections[f"{level.capitalize()}s by {kind}, seeds pooled"] = Section(rows=rows)
    sections["Seeds"] = Section(rows=found.rows())
    return sections | {"Configuration": Section(facts=runs.flat(config))}
