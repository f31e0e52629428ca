"""Results: the predictions of a run or of a cross-validation, and what must be said beside them.

Knows predictions, comparisons and the columns of results/*.csv. Does not know how a model was
trained.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.files import home
from evaluation import statistics as evidence
from evaluation.predictions import Predictions, Score, concatenate
from tracking import results
from tracking.runs import RunFolder, code_commit

READINGS = "real_clips.csv"
LEVELS = ("segment", "video")
KINDS = ("action", "scenario", "person", "fold")


@dataclass(frozen=True)
class Result:
    """What an experiment predicted on one split of one data set.

    Args:
        experiment, data, split: What was evaluated, on what.
        predictions: Of the segments.
        about: The other columns of a row of results.
        history: The epochs of the training, where it is known.
        run: The folder of the run, where there is one.
        refused: How many segments a recogniser that may refuse called nobody or something else;
            the predictions are then what it would have said.
    """

    experiment: str
    data: str
    split: str
    predictions: Predictions
    about: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()
    run: str = ""
    refused: int = 0

    @cached_property
    def videos(self) -> Predictions:
        """The predictions of the videos: the mean probability over a video's segments."""
        return self.predictions.pooled("video")

    @cached_property
    def segment(self) -> Score:
        """The score of the segments."""
        return self.predictions.score()

    @cached_property
    def video(self) -> Score:
        """The score of the videos."""
        return self.videos.score()

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows for results/*.csv, one for segments and one for videos."""
        told = {"experiment": self.experiment, "data": self.data, "split": self.split}
        return [
            {**told, "level": level, **getattr(self, level).to_row(), **self.about}
            for level in LEVELS
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as it is exchanged, in plain values; items are segments."""
        scores = {}
        for level in LEVELS:
            score = getattr(self, level)
            counts = {"correct": score.correct, "n": score.n, "accuracy": score.accuracy}
            scores[level] = {**counts, "interval": list(score.wilson)}
        classes = list(self.predictions.classes)
        found = self.predictions.by("action")
        return {
            "experiment": self.experiment,
            "data": self.data,
            "split": self.split,
            "refused": self.refused,
            **scores,
            "per_class": {
                name: {"correct": found[name].correct, "n": found[name].n}
                if name in found
                else {"correct": 0, "n": 0}
                for name in classes
            },
            "confusion": self.predictions.confusion().tolist(),
            "classes": classes,
            "items": _items(self.predictions),
        }

    def __str__(self) -> str:
        """One line: the accuracies with their counts and intervals."""
        parts = (f"{level}s {getattr(self, level)}" for level in LEVELS)
        text = f"{self.experiment} on {self.data} ({self.split}): {', '.join(parts)}"
        return text + (f", {self.refused} segments refused" if self.refused else "")

    def keep(self, run: RunFolder) -> None:
        """Write the result into its run's folder; result.json comes last and marks it finished."""
        self.predictions.save(run.predictions_path)
        exchanged = self.to_json()
        del exchanged["items"]  # they are in the predictions, unrounded
        run.finish({**exchanged, "about": dict(self.about)})

    @classmethod
    def of_run(cls, run: RunFolder) -> Result:
        """Read the result of a finished run, its history included."""
        kept = run.result
        told = (kept["experiment"], kept["data"], kept["split"])
        predictions = Predictions.load(run.predictions_path)
        return cls(*told, predictions, kept["about"], run.history, str(run.path))


def _items(predictions: Predictions) -> list[dict[str, Any]]:
    """The segments one by one, probabilities rounded to six digits for whoever reads them."""
    classes = predictions.classes
    items = []
    for name, label, row in zip(
        predictions.items["segment"], predictions.labels, predictions.probs, strict=True
    ):
        file, number = str(name).rsplit("#", 1)
        probs = {action: round(float(p), 6) for action, p in zip(classes, row, strict=True)}
        item = {"file": file, "segment": int(number), "label": classes[label]}
        items.append({**item, "predicted": classes[int(row.argmax())], "probs": probs})
    return items


@dataclass(frozen=True)
class CrossValidation:
    """Predictions of all folds together, one `Predictions` of segments a seed.

    Args:
        experiment, data, scheme: What was trained, on what, in which folds.
        seeds: The seeds.
        predictions: By seed; an item is predicted once in every fold that tests its person.
        about: By seed, the other columns of a row of results.
        run: The folder of the run.
    """

    experiment: str
    data: str
    scheme: str
    seeds: tuple[int, ...]
    predictions: tuple[Predictions, ...]
    about: tuple[Mapping[str, Any], ...]
    run: str = ""

    def at(self, level: str) -> tuple[Predictions, ...]:
        """Return the predictions at "segment" or "video" level, one a seed."""
        return tuple(found.pooled(level) for found in self.predictions)

    def right(self, level: str) -> np.ndarray:
        """Return whether each item is classified correctly, by seed: (S, N)."""
        return np.array([found.right for found in self.at(level)])

    def scores(self, level: str) -> list[Score]:
        """Return one score a seed; an item counts once in n, however many folds test it."""
        return [_score(found.right, found, level) for found in self.at(level)]

    def score(self, level: str) -> Score:
        """Return the mean over seeds as one score, its intervals those of the mean count."""
        return _score(self.right(level).mean(0), self.at(level)[0], level)

    def by(self, kind: str, level: str) -> dict[str, Score]:
        """Count by one of KINDS, seeds pooled: an item that several folds test counts in each."""
        return concatenate(self.at(level)).by(kind)

    @cached_property
    def calibration_error(self) -> float:
        """The expected calibration error of the segments' probabilities, mean over seeds."""
        return statistics.mean(found.calibration_error for found in self.at("segment"))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows for results/*.csv: for each seed one at each level, folds pooled."""
        told = {"experiment": self.experiment, "data": self.data, "split": self.scheme}
        levels = {level: self.scores(level) for level in LEVELS}
        return [
            {**told, "level": level, **_row(levels[level][place]), **self.about[place], "seed": s}
            for place, s in enumerate(self.seeds)
            for level in LEVELS
        ]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the probabilities in plain values."""
        return {
            "experiment": self.experiment,
            "data": self.data,
            "scheme": self.scheme,
            "seeds": list(self.seeds),
            **{level: self._level(level) for level in LEVELS},
            "calibration_error": self.calibration_error,
            "about": [dict(about) for about in self.about],
        }

    def _level(self, level: str) -> dict[str, Any]:
        score, tables = self.score(level), {kind: self.by(kind, level) for kind in KINDS}
        return {
            "correct": [round(found.correct) for found in self.scores(level)],
            "n": score.n,
            "accuracy": score.accuracy,
            "interval": list(score.wilson),
            "person_interval": score.persons and list(score.persons),
            "by": {kind: _counts(table) for kind, table in tables.items()},
        }

    def __str__(self) -> str:
        """One line: the accuracies with counts, seeds and intervals."""
        texts = []
        for level in LEVELS:
            score = self.score(level)
            counts = " ".join(str(round(found.correct)) for found in self.scores(level))
            text = str(score).partition("/")[2].partition(" ")
            texts.append(f"{level}s {counts} of {text[0]} {text[2]}")
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        return f"{self.experiment} on {self.data} ({self.scheme}, {seeds}): {', '.join(texts)}"


def _score(right: np.ndarray, items: Predictions, level: str) -> Score:
    """Score shares of correct predictions (N,) of items, several of which may be one item."""
    n = len(np.unique(items.items[level]))
    persons = evidence.person_interval_or_none(right, items.items["person"].tolist())
    return Score(float(right.mean()) * n, n, persons)


def _row(score: Score) -> dict[str, Any]:
    return {**score.to_row(), "correct": round(score.correct)}


def _counts(table: Mapping[str, Score]) -> dict[str, dict[str, float]]:
    return {name: {"correct": score.correct, "n": score.n} for name, score in table.items()}


def compare(a: CrossValidation, b: CrossValidation, *, level: str = "video") -> evidence.Comparison:
    """Compare two experiments on the same items of the same folds, persons resampled together.

    Raises:
        ValueError: They were not tested on the same items in the same folds.
    """
    first, second = a.at(level)[0].items, b.at(level)[0].items
    names = [list(zip(items["fold"], items[level], strict=True)) for items in (first, second)]
    if names[0] != names[1]:
        raise ValueError(
            f"{a.experiment} ({a.scheme}) and {b.experiment} ({b.scheme}) were not tested on the "
            f"same {level}s ({len(names[0])} and {len(names[1])}): take one data set and one "
            "scheme "
            "for both"
        )
    return evidence.compare(
        a.right(level),
        b.right(level),
        first["person"].tolist(),
        names=(a.experiment, b.experiment),
        items=first[level].tolist(),
    )


def comparisons(
    results: Sequence[CrossValidation], *, level: str = "video"
) -> Iterator[evidence.Comparison]:
    """Compare every pair once, each with those before it."""
    for number, later in enumerate(results):
        for earlier in results[:number]:
            yield compare(later, earlier, level=level)


def pair_row(
    pair: evidence.Comparison, found: CrossValidation, *, level: str = "video"
) -> dict[str, Any]:
    """Return a comparison as a row for results/*.csv; `found` is one of the two compared."""
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


def about_run(extra: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """Return the columns of a row of results that a checkpoint's extra tells."""
    trained_on = filter(None, (extra["data"], extra.get("auxiliary_data")))
    return {
        "trained_on": " + ".join(trained_on),
        "seed": extra["seed"],
        "parameters": extra["parameters"],
        "frames": extra["frames"],
        "size": "x".join(map(str, extra["shown"]["transform"]["size"])),
        "weights": extra["backbone"]["weights"],
        "weights_hash": extra["backbone"]["fingerprint"],
        "recipe": extra.get("recipe", ""),
        "seconds": round(seconds, 1),
        "commit": code_commit(Path(__file__).parents[1]),
        "date": date.today().isoformat(),
    }


def record(result: Result, results_dir: str | Path | None = None) -> None:
    """Write a result's rows into results_dir, replacing those of the same measurement."""
    folder = home("results") if results_dir is None else results_dir
    for row in result.rows():
        results.append_result(results.results_path(result.data, folder), row)


def record_reading(
    result: Result,
    *,
    trained_on: str | None = None,
    name: str | None = None,
    results_dir: str | Path | None = None,
) -> None:
    """Add a line to the list of all readings of real footage: reading often is a way of fitting.

    Args:
        result: What was read.
        trained_on: The training data with the version of its renderer, where the caller knows it.
        name: What to call the recogniser; its experiment and recipe when None.
        results_dir: Folder of the list.
    """
    about = result.about
    row = {
        "date": date.today().isoformat(),
        "trained_on": trained_on or about["trained_on"],
        "recogniser": name or ", ".join(filter(None, (result.experiment, about["recipe"]))),
        "weights": about["weights_hash"],
        "seed": about["seed"],
        "segments_right": result.segment.correct,
        "segments": result.segment.n,
        "files_right": result.video.correct,
        "files": result.video.n,
        "calibration_error": f"{result.predictions.calibration_error:.3f}",
    }
    folder = home("results") if results_dir is None else Path(results_dir)
    results.append_reading(folder / READINGS, row)


def record_crossval(
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    results_dir: str | Path | None = None,
) -> None:
    """Write the rows of cross-validations, and of their comparisons, into files of their own."""
    folder = home("results") if results_dir is None else results_dir
    for row in rows:
        results.append_result(results.results_path(row["data"], folder, kind="crossval"), row)
    for pair in pairs:
        results.append_pair(results.results_path(pair["data"], folder, kind="pairs"), pair)
