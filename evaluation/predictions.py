"""What a model predicted for a list of segments, and everything that is counted from it.

Knows log-probabilities (N, K), labels (N,), and of each item its segment, video, person, scenario
and fold. Does not know models, weights or images. An accuracy is correct / n with its n beside it;
its intervals are Wilson's and the one over persons. A mean of batch means appears nowhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from data.files import written_whole
from data.items import Segment, classes_of
from evaluation.statistics import Interval, person_interval_or_none, reliability, wilson_interval

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Score:
    """How many of n items are correct, and the interval over persons where there is one.

    `correct` is a mean where several seeds are scored together, and then no whole number.
    """

    correct: float
    n: int
    persons: Interval | None = None

    COLUMNS = ("n", "correct", "accuracy", "low", "high", "person_low", "person_high")

    @property
    def accuracy(self) -> float:
        """Return correct / n; nan when there are no items."""
        return self.correct / self.n if self.n else float("nan")

    @property
    def wilson(self) -> Interval:
        """Return Wilson's 95 % interval, which takes the items for independent."""
        return wilson_interval(round(self.correct), self.n)

    def __str__(self) -> str:
        """One line: count, accuracy and intervals."""
        low, high = self.wilson
        text = f"{self.correct:g}/{self.n} = {self.accuracy:.1%} [{low:.1%}, {high:.1%}]"
        if self.persons:
            text += ", over persons [{:.1%}, {:.1%}]".format(*self.persons)
        return text

    def to_row(self) -> dict[str, Any]:
        """Return the score as columns of a row of results; no interval over persons is empty."""
        persons = self.persons or ("", "")
        row = (self.n, self.correct, self.accuracy, *self.wilson, *persons)
        return dict(zip(self.COLUMNS, row, strict=True))


@dataclass(frozen=True)
class Predictions:
    """Log-probabilities (N, K) of N items and their labels (N,), unrounded.

    Args:
        log_probs: Log-probabilities (N, K).
        labels: Index (N,) of each item's true class.
        items: Of each item its name in every one of COLUMNS, arrays (N,) of strings.
        classes: The K names.
    """

    log_probs: ndarray
    labels: ndarray
    items: Mapping[str, ndarray]
    classes: tuple[str, ...]

    COLUMNS = ("segment", "video", "person", "scenario", "fold")

    def __post_init__(self):
        labels, classes = np.asarray(self.labels), np.shape(self.log_probs)[-1]
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(
                f"labels from {labels.min()} to {labels.max()} for {classes} classes: they count "
                f"from 0 to {classes - 1}; subtract 1 where they were counted from 1"
            )

    @classmethod
    def of(
        cls, log_probs: ndarray, segments: Sequence[Segment], *, fold: str = ""
    ) -> "Predictions":
        """Put names to what a model predicted for segments, in their order; the classes are those
        that the segments are labelled by, and numbers where there is no segment.

        Raises ValueError when shapes do not fit or a prediction is not a number.
        """
        log_probs = np.asarray(log_probs)
        if log_probs.shape[:1] != (len(segments),) or log_probs.ndim != 2:
            raise ValueError(f"predictions of shape {log_probs.shape} for {len(segments)} segments")
        if bad := int(np.isnan(log_probs).any(1).sum()):
            raise ValueError(
                f"{bad} of {len(log_probs)} predictions are not numbers; the model that made them "
                "has diverged"
            )
        rows = [(*_columns(segment), fold) for segment in segments]
        columns = np.array(rows, dtype=str).reshape(-1, len(cls.COLUMNS)).T
        items = dict(zip(cls.COLUMNS, columns, strict=True))
        labels = np.array([s.label for s in segments], dtype=np.int64)
        classes = classes_of(segments) or tuple(map(str, range(log_probs.shape[1])))
        return cls(log_probs, labels, items, classes)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.labels)

    @property
    def probs(self) -> ndarray:
        """Return the probabilities (N, K); the rounding of a mean may lie above 1, and is cut."""
        return np.exp(np.minimum(self.log_probs, 0))

    @property
    def predicted(self) -> ndarray:
        """Return the index (N,) of each item's most probable class."""
        return self.log_probs.argmax(1)

    @property
    def right(self) -> ndarray:
        """Return whether each item (N,) is classified correctly."""
        return self.predicted == self.labels

    def pooled(self, column: str) -> "Predictions":
        """Average the probabilities of items that share a "segment" (its clips) or a "video".

        Items of different folds are kept apart; the order is that of first appearance. Items that
        stand alone keep their log-probabilities to the last bit.
        """
        names = np.char.add(np.char.add(self.items["fold"], "/"), self.items[column])
        _, first, group = np.unique(names, return_index=True, return_inverse=True)
        if len(first) == len(names):
            return self
        order = np.argsort(first)
        members = [self.log_probs[group == number] for number in order]
        means = [np.logaddexp.reduce(rows, axis=0) - np.log(len(rows)) for rows in members]
        return replace(self[first[order]], log_probs=np.array(means))

    def __getitem__(self, places: ndarray) -> "Predictions":
        """Return the items at these places, in this order; a mask will do."""
        items = {column: values[places] for column, values in self.items.items()}
        return replace(
            self, log_probs=self.log_probs[places], labels=self.labels[places], items=items
        )

    def score(self) -> Score:
        """Count the correct items, with both intervals."""
        persons = person_interval_or_none(self.right, self.items["person"].tolist())
        return Score(int(self.right.sum()), len(self), persons)

    def by(self, column: str) -> dict[str, Score]:
        """Count the correct items by "action", "scenario", "person" or "fold", in sorted order."""
        action = column == "action"
        names = np.array(self.classes)[self.labels] if action else self.items[column]
        rights = {str(name): self.right[names == name] for name in np.unique(names)}
        return {name: Score(int(right.sum()), len(right)) for name, right in rights.items()}

    def confusion(self) -> ndarray:
        """Return the confusion matrix (K, K) of counts: row = true class, column = predicted."""
        matrix = np.zeros((len(self.classes),) * 2, dtype=int)
        np.add.at(matrix, (self.labels, self.predicted), 1)
        return matrix

    @property
    def loss(self) -> float:
        """Return the mean negative log-probability of the true classes; there must be items."""
        return float(-self.log_probs[np.arange(len(self)), self.labels].mean(dtype=float))

    @property
    def calibration_error(self) -> float:
        """Return the expected calibration error, 0 to 1 (Guo et al., "On Calibration of Modern
        Neural Networks", ICML 2017, equation 3); nan when there are no items."""
        confidence, accuracy, count = reliability(self.probs, self.labels)
        gap = np.nansum(np.abs(confidence - accuracy) * count)
        return float(gap / len(self)) if len(self) else float("nan")

    def mistakes(self, most: int) -> ndarray:
        """Return the places of at most `most` misclassified items, the most confident first."""
        order = np.argsort(-self.log_probs.max(1), kind="stable")
        return order[~self.right[order]][:most]

    def save(self, path: str | Path) -> None:
        """Write all of it into one .npz, whole or not at all."""
        arrays: dict[str, Any] = {**vars(self), **self.items}
        del arrays["items"]
        with written_whole(path) as partial:
            np.savez(partial, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Predictions":
        """Read what `save` wrote; ValueError when the file is damaged or none of ours."""
        try:
            with np.load(path, allow_pickle=False) as content:
                items = {column: content[column] for column in cls.COLUMNS}
                classes = tuple(content["classes"].tolist())
                return cls(content["log_probs"], content["labels"], items, classes)
        except FileNotFoundError:
            raise
        except Exception as error:  # a file of arbitrary bytes makes the reader raise anything
            raise ValueError(f"{path} holds no predictions, or is damaged ({error})") from error


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Put predictions one after another, such as those of the folds of a cross-validation."""
    columns = [{"log_probs": p.log_probs, "labels": p.labels, **p.items} for p in parts]
    joined = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    log_probs, labels = joined.pop("log_probs"), joined.pop("labels")
    return Predictions(log_probs, labels, joined, parts[0].classes)


def segment_name(segment: Segment) -> str:
    """Return what a segment is called in the column "segment": its file's place and its number from
    1."""
    return f"{segment.video.place}#{segment.index + 1}"


def _columns(segment: Segment) -> tuple[str, str, str, str]:
    """Return the names of an item in the columns segment, video, person and scenario."""
    name, video = segment_name(segment), segment.video
    person = UNKNOWN if video.person is None else video.group
    return name, name.rpartition("#")[0], person, str(video.scenario or UNKNOWN)
