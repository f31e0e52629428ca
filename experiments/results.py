"""Results: the predictions of a run or of a cross-validation, and what must be said beside them.

Knows predictions, comparisons and the columns of results/*.csv. Does not know how a model was
trained.
"""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.files import home, write_csv
from data.items import ordered
from data.schema import check
from evaluation import statistics as evidence
from evaluation.predictions import Predictions, Score, concatenate
from tracking import results
from tracking.results import Cells
from tracking.runs import RunFolder, code_commit
from utils.checkpoint import EPOCH

if TYPE_CHECKING:
    import pandas as pd

    from data.kth import Segment

READINGS = "real_clips.csv"
LEVELS = ("segment", "video")
KINDS = ("action", "scenario", "person", "fold")
# what the result.json of a run tells beside its scores
KEPT = {
    "experiment": str,
    "data": str,
    "split": str,
    "about": {"seed": int, "parameters": int, "frames": str, "seconds": float, "commit": str},
}


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
    about: Cells = field(default_factory=dict)
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
        predictions, nothing = self.predictions, {"correct": 0, "n": 0}
        return {
            "experiment": self.experiment,
            "data": self.data,
            "split": self.split,
            "refused": self.refused,
            **{level: _plain(getattr(self, level)) for level in LEVELS},
            "per_class": dict.fromkeys(predictions.classes, nothing)
            | _counts(predictions.by("action")),
            "confusion": predictions.confusion().tolist(),
            "classes": list(predictions.classes),
            "items": _items(predictions),
        }

    def __str__(self) -> str:
        """One line: the accuracies with their counts and intervals."""
        parts = (f"{level}s {getattr(self, level)}" for level in LEVELS)
        text = f"{self.experiment} on {self.data} ({self.split}): {', '.join(parts)}"
        return text + (f", {self.refused} segments refused" if self.refused else "")

    def keep(self, run: RunFolder) -> None:
        """Write the result into its run's folder; result.json comes last and marks it finished."""
        self.predictions.save(run.predictions_path)
        kept = self.to_json() | {"about": dict(self.about)}
        del kept["items"]  # they are in the predictions, unrounded
        run.finish(kept)

    @classmethod
    def of_run(cls, run: RunFolder) -> Result:
        """Read the result of a finished run, its history included; ValueError when one of its
        files is damaged."""
        kept = run.result
        try:
            check(kept, KEPT, str(run.path / "result.json"))
            history = run.history
            check(history, [EPOCH], str(run.path / "history.csv"))
        except ValueError as error:
            raise ValueError(
                f"{error}; `python har.py train NAME --force` trains anew in another folder"
            ) from error
        told = (kept["experiment"], kept["data"], kept["split"])
        predictions = Predictions.load(run.predictions_path)
        return cls(*told, predictions, kept["about"], history, str(run.path))


def _items(predictions: Predictions) -> list[dict[str, Any]]:
    """The segments one by one, probabilities rounded to six digits for whoever reads them."""
    classes, items = predictions.classes, []
    for name, label, guess, probs in zip(
        predictions.items["segment"],
        predictions.labels,
        predictions.predicted,
        predictions.probs.astype(float),
        strict=True,
    ):
        file, number = str(name).rsplit("#", 1)
        items.append(
            {
                "file": file,
                "segment": int(number),
                "label": classes[label],
                "predicted": classes[guess],
                "probs": {
                    action: round(p, 6) for action, p in zip(classes, probs.tolist(), strict=True)
                },
            }
        )
    return items


def _plain(score: Score) -> dict[str, Any]:
    """Return a score as it is exchanged."""
    return {
        "correct": score.correct,
        "n": score.n,
        "accuracy": score.accuracy,
        "interval": list(score.wilson),
    }


def _counts(table: Mapping[str, Score]) -> dict[str, dict[str, float]]:
    return {name: {"correct": score.correct, "n": score.n} for name, score in table.items()}


def subject_summary(
    results: Sequence[Result], *, level: str = "video"
) -> tuple[list[float], float, float]:
    """Return each seed's accuracy, and the subject-level interval of their mean.

    Of too few persons the interval is nan, see `evaluation.statistics.person_interval_or_none`.
    """
    found = [result.videos if level == "video" else result.predictions for result in results]
    right = np.mean([one.right for one in found], axis=0)
    interval = evidence.person_interval_or_none(right, found[0].items["person"].tolist())
    low, high = interval or (float("nan"),) * 2
    return [one.score().accuracy for one in found], low, high


def split_table(splits: Mapping[str, Sequence[Segment]]) -> pd.DataFrame:
    """Return who is in each split, and how many videos and segments."""
    import pandas as pd

    rows = {}
    for split, segments in splits.items():
        persons = ordered({s.video.person for s in segments if s.video.person is not None})
        videos = len({segment.video for segment in segments})
        rows[split] = {
            "persons": " ".join(map(str, persons)),
            "videos": videos,
            "segments": len(segments),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def validation_table(runs: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """Return what validation says of experiments, each trained with several seeds.

    Of the epoch with the lowest validation loss: the accuracy of training, which is measured with
    dropout on and before each step, that of validation, and how far it varies between seeds.

    Args:
        runs: Name of a model -> its results, one a seed.
    """
    import pandas as pd

    rows = []
    for name, found in runs.items():
        best = pd.DataFrame([min(one.history, key=lambda row: row["val_loss"]) for one in found])
        train, validation = 100 * best.train_accuracy, 100 * best.val_accuracy
        spread = f" ± {validation.std():.1f}" if len(best) > 1 else ""
        rows.append(
            {
                "model": name,
                "sampled frames": found[0].about["frames"],
                "parameters trained": f"{found[0].about['parameters']:,}",
                "training, %": f"{train.mean():.1f}",
                "validation, %": f"{validation.mean():.1f}{spread}",
                "validation loss": f"{best.val_loss.mean():.3f}",
                "seeds": len(found),
            }
        )
    return pd.DataFrame(rows).set_index("model")


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
    about: tuple[Cells, ...]
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
        rows = [
            told
            | {"level": level}
            | score.to_row()
            | {"correct": round(score.correct), **about, "seed": seed}
            for level in LEVELS
            for seed, about, score in zip(self.seeds, self.about, self.scores(level), strict=True)
        ]
        return sorted(rows, key=lambda row: row["seed"])

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
        score = self.score(level)
        return _plain(score) | {
            "correct": [round(found.correct) for found in self.scores(level)],
            "person_interval": score.persons and list(score.persons),
            "by": {kind: _counts(self.by(kind, level)) for kind in KINDS},
        }

    def __str__(self) -> str:
        """One line: the accuracies with counts, seeds and intervals."""
        texts = []
        for level in LEVELS:
            score = self.score(level)
            counts = " ".join(str(round(found.correct)) for found in self.scores(level))
            _, _, text = str(score).partition("/")
            n, _, accuracy = text.partition(" ")
            texts.append(f"{level}s {counts} of {n} {accuracy}")
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        return f"{self.experiment} on {self.data} ({self.scheme}, {seeds}): {', '.join(texts)}"


def _score(right: np.ndarray, items: Predictions, level: str) -> Score:
    """Score shares of correct predictions (N,) of items, several of which may be one item."""
    n = len(np.unique(items.items[level]))
    persons = evidence.person_interval_or_none(right, items.items["person"].tolist())
    return Score(float(right.mean()) * n, n, persons)


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
            "scheme for both"
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
    a, b = pair.names
    low, high = pair.interval
    said = ("items", "persons", "difference", "only_a", "only_b", "p", "verdict")
    return {
        "a": a,
        "b": b,
        "data": found.data,
        "split": found.scheme,
        "level": level,
        "seeds": len(found.seeds),
        "low": low,
        "high": high,
        **{name: getattr(pair, name) for name in said},
        **{name: found.about[0][name] for name in ("commit", "date")},
    }


def about_run(extra: Cells, *, seconds: float) -> dict[str, Any]:
    """Return the columns of a row of results that a checkpoint's extra tells."""
    return {
        "trained_on": " + ".join(filter(None, (extra["data"], extra.get("auxiliary_data")))),
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


def check_recordable(data_name: str, results_dir: str | Path) -> None:
    """Refuse, before anything is computed, a file of results to which no row can be added."""
    results.check_file(results.results_path(data_name, results_dir), results.COLUMNS)


def record(result: Result, results_dir: str | Path) -> None:
    """Write a result's rows into results_dir, replacing those of the same measurement; see
    `_add`."""
    path = results.results_path(result.data, results_dir)
    _add(results.append_result, path, result.rows(), result.run or results_dir)


def _add(append: Any, path: Path, rows: Sequence[Cells], otherwise: str | Path) -> None:
    """Add rows to a file of results; where that cannot take them, keep them in a file of their own
    in the folder `otherwise` and say so: no result is lost to a file that is damaged or full."""
    try:
        for row in rows:
            append(path, row)
    except (OSError, ValueError) as error:
        kept = next(
            free
            for number in count(1)
            if not (free := Path(otherwise) / f"{path.stem}.kept-{number}.csv").exists()
        )
        try:
            write_csv(kept, rows, list(rows[0]))
            where = f"in {kept}"
        except OSError:
            where = f"here: {json.dumps(rows, default=str)}"
        warnings.warn(
            f"{path} could not take the result ({error}); its rows are {where}. Mend or move that "
            "file and run the same command again: what is finished is not computed anew",
            stacklevel=3,
        )


def record_reading(
    result: Result,
    *,
    results_dir: str | Path,
    trained_on: str | None = None,
    name: str | None = None,
) -> None:
    """Add a line to the list of all readings of real footage: reading often is a way of fitting.

    Args:
        result: What was read.
        results_dir: Folder of the list.
        trained_on: The training data with the version of its renderer, where the caller knows it.
        name: What to call the recogniser; its experiment and recipe when None.
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
    _add(results.append_reading, Path(results_dir) / READINGS, [row], results_dir)


def record_crossval(rows: Sequence[Cells], pairs: Sequence[Cells]) -> None:
    """Write the rows of cross-validations, and of their comparisons, into files of their own."""
    for kind, append, lines in (
        ("crossval", results.append_result, rows),
        ("pairs", results.append_pair, pairs),
    ):
        for line in lines:
            path = results.results_path(line["data"], home("results"), kind=kind)
            _add(append, path, [line], home("results"))
