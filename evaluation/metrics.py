"""Numbers made from predictions: counts, intervals, video-level decisions, confusion matrices.

Knows log-probabilities (N, K), integer labels (N,) and groups of items. Does not know files, models
or data sets. Every accuracy is correct / n with its n beside it; a mean of batch means appears
nowhere.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch

from evaluation.statistics import wilson_interval


def to_video_level(
    log_probs: np.ndarray, groups: Sequence[Hashable]
) -> tuple[np.ndarray, np.ndarray]:
    """Average the probabilities of the items of each group, such as a video's segments.

    Args:
        log_probs: Log-probabilities (N, K) of the items.
        groups: What each item belongs to (N).

    Returns:
        Log mean probabilities (G, K), groups in order of first appearance, and the index (G,) of
        each group's first item, from which its label is read.
    """
    log_probs = _checked(log_probs)
    if len(groups) != len(log_probs):
        raise ValueError(f"{len(groups)} groups for {len(log_probs)} items")
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    rows = [
        np.logaddexp.reduce(log_probs[items], axis=0) - np.log(len(items))
        for items in members.values()
    ]
    first = np.array([items[0] for items in members.values()], dtype=np.int64)
    return np.array(rows).reshape(len(members), log_probs.shape[1]), first


def score(log_probs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return {"correct", "n", "accuracy", "interval": [low, high]}; accuracy is nan when there are
    no items."""
    log_probs = _checked(log_probs, labels)
    n = len(log_probs)
    correct = int((log_probs.argmax(1) == np.asarray(labels)).sum()) if n else 0
    return {
        "correct": correct,
        "n": n,
        "accuracy": correct / n if n else float("nan"),
        "interval": list(wilson_interval(correct, n)),
    }


def per_group(
    log_probs: np.ndarray, labels: np.ndarray, groups: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return {group: score} of items (N) that belong to groups (N), such as persons or scenarios,
    in sorted order."""
    log_probs, labels, names = (
        _checked(log_probs, labels),
        np.asarray(labels),
        np.asarray(groups, dtype=str),
    )
    if len(names) != len(log_probs):
        raise ValueError(f"{len(names)} groups for {len(log_probs)} items")
    return {
        str(name): score(log_probs[names == name], labels[names == name])
        for name in np.unique(names)
    }


def calibration_error(probs: np.ndarray, labels: np.ndarray, *, bins: int = 10) -> float:
    """Return the expected calibration error of probabilities (N, K): how far confidence is from
    being right, 0 to 1.

    Answers are sorted into `bins` equal ranges of confidence; it is the mean distance between
    confidence and accuracy, weighted by the number of answers (Guo et al., "On Calibration of
    Modern Neural Networks", ICML 2017, eq. 3).
    """
    from torchmetrics.functional.classification import (
        multiclass_calibration_error,  # a second to import
    )

    predicted, true = (
        torch.from_numpy(np.asarray(probs, np.float32)),
        torch.as_tensor(np.asarray(labels)),
    )
    return float(
        multiclass_calibration_error(predicted, true, num_classes=predicted.shape[1], n_bins=bins)
    )


def per_class(
    log_probs: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return {class: {"correct", "n"}} in the order of `classes`, whose positions are the
    labels."""
    counts = confusion(log_probs, labels, len(classes))
    return {
        name: {"correct": int(counts[label, label]), "n": int(counts[label].sum())}
        for label, name in enumerate(classes)
    }


def confusion(
    log_probs: np.ndarray, labels: np.ndarray, num_classes: int | None = None
) -> np.ndarray:
    """Return the confusion matrix (K, K) of counts: row = true label, column = predicted label."""
    from torchmetrics.functional.classification import (
        multiclass_confusion_matrix,  # a second to import
    )

    log_probs = _checked(log_probs, labels)
    num_classes = num_classes or log_probs.shape[1]
    predicted, true = (
        torch.from_numpy(log_probs.argmax(1)),
        torch.as_tensor(np.asarray(labels), dtype=torch.int64),
    )
    return multiclass_confusion_matrix(predicted, true, num_classes=num_classes).numpy()


def _checked(log_probs: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    log_probs = np.asarray(log_probs)
    if log_probs.ndim != 2:
        raise ValueError(f"log-probabilities have shape {log_probs.shape}; expected (N, K)")
    if np.isnan(log_probs).any():
        rows = np.flatnonzero(np.isnan(log_probs).any(1))
        raise ValueError(
            f"{len(rows)} of {len(log_probs)} predictions are not numbers (first: item {rows[0]}); "
            "the model that made them has diverged"
        )
    if labels is not None and len(labels) != len(log_probs):
        raise ValueError(f"{len(labels)} labels for {len(log_probs)} predictions")
    return log_probs
