"""How the classifier of joints learns: from rendered people's joints, not one pixel drawn.

Knows performances, what a finder makes of them, and the training loop. Does not know real footage:
epoch and the threshold of refusing are chosen on rendered people who are drawn from another random
stream, so what is counted on those is too good by what choosing brings.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.kth import ACTIONS
from data.synthetic.joints import OTHER, Performances, draw_performances, draw_windows, gathered
from experiments.recipe import Recipe
from experiments.table import EXPERIMENTS
from experiments.training import Job, new_model
from utils.checkpoint import TrainingState, save_checkpoint
from utils.data_setup import Batches, collate
from utils.engine import Settings, evaluate, train_model
from utils.pose import EMPTIEST, SHOULDERS, joint_features
from utils.predict import SOMETHING_ELSE

STREAM = 11  # first word of the random streams; those of the rendered sets begin with others
OTHERS = 0.3  # share of the performances that are none of the six
REFUSED = 0.02  # share of the six actions' rendered windows that may be refused
TRIES = 4  # at a window that shows enough
BATCH = 128
LOOP: dict[str, Any] = {"label_smoothing": 0.05, "clip_norm": 2.0}


class RenderedJoints(Dataset):
    """Windows of rendered performances as numbers (T, 77), drawn anew in every epoch.

    Args:
        pool: The performances; each gives one window an epoch.
        seed: Of the windows, together with the epoch.
        steps, rate: Of a window, and steps a second.
    """

    def __init__(self, pool: Performances, *, seed: int, steps: int, rate: float):
        self.pool, self.seed, self.steps, self.rate = pool, seed, steps, rate
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the windows of an epoch; one in which too little is seen is drawn again, and at last
        replaced by another of the same label.

        Raises ValueError when no window of a label shows enough.
        """
        rng = np.random.default_rng([STREAM, 1, self.seed, epoch])
        parts, labels, left = [], [], np.arange(len(self.pool))
        for _ in range(TRIES):
            points, seen = draw_windows(self.pool, left, rng, self.steps, self.rate)
            enough = seen[:, :, SHOULDERS].all(-1).mean(1) >= EMPTIEST
            parts.append(joint_features(points[enough], seen[enough], self.rate))
            labels.append(self.pool.label[left[enough]])
            left = left[~enough]
        self.numbers, self.labels = np.concatenate(parts), np.concatenate(labels)
        for label in self.pool.label[left]:
            alike = np.flatnonzero(self.labels == label)
            if not len(alike):
                raise ValueError(
                    f"no window of the {len(self.pool)} performances shows enough of the class "
                    f"{label}; draw more performances"
                )
            self.numbers = np.append(self.numbers, self.numbers[rng.choice(alike)][None], axis=0)
            self.labels = np.append(self.labels, label)

    def __len__(self) -> int:
        """Return the number of windows of an epoch."""
        return len(self.pool)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {"input": tensor (T, 77), "label": int, "index": int}."""
        numbers = torch.from_numpy(self.numbers[index])
        return {"input": numbers, "label": int(self.labels[index]), "index": index}


def train_joints(
    out: Path,
    *,
    seed: int = 0,
    performances: int = 12_000,
    epochs: int = 14,
    others: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Train the classifier of joints and write its checkpoint; returns what it measured.

    An interrupted training goes on where its last epoch ended: until the checkpoint is written, its
    state lies beside it in a folder `<out>.training`.

    Args:
        out: The checkpoint's file.
        seed: Of persons, windows and weights.
        performances: How many to learn from; a twelfth as many more choose epoch and threshold.
        epochs: Passes over them, each with windows of its own.
        others: Learn "something else" too.
        progress: Show progress bars.

    Raises:
        ValueError: Too few performances, or an interrupted training beside `out` had other
            settings.
        OSError: The checkpoint cannot be written.
    """
    recipe = Recipe(weights=None, seed=seed, epochs=epochs)
    classes, folder = [*ACTIONS, *[SOMETHING_ELSE] * others], Path(f"{out}.training")
    job = Job(EXPERIMENTS["pose"], recipe, "rendered joints", {}, None, progress)
    job.model = model = new_model(job.experiment, recipe, num_classes=len(classes))
    extra = job.extra([]) | {"classes": classes, "real_footage": "none"}
    data = {
        part: _rendered(part, count, seed, others, progress)
        for part, count in (("train", performances), ("validation", performances // 12))
    }
    loaders = {
        part: DataLoader(
            dataset,
            batch_sampler=Batches(len(dataset), BATCH, train=part == "train", seed=seed),
            collate_fn=collate,
        )
        for part, dataset in data.items()
    }
    settings = Settings(epochs, 4e-3, patience=epochs, schedule="onecycle", seed=seed, **LOOP)
    with _one_thread():
        history = train_model(
            model,
            loaders["train"],
            loaders["validation"],
            settings,
            checkpoint_dir=folder,
            extra=extra,
            resume=True,
            progress=progress,
        )
        log_probs, labels = evaluate(model, loaders["validation"])
    found = measured(log_probs, labels)
    best = min(history, key=lambda row: row["val_loss"])
    state = TrainingState(
        epoch=len(history),
        best={name: best[name] for name in ("epoch", "val_loss", "val_accuracy")},
        history=history,
    )
    save_checkpoint(out, model, state, extra=extra | {"rendered": found})
    shutil.rmtree(folder)
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: so small a network is slower in several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _rendered(part: str, count: int, seed: int, others: bool, progress: bool) -> RenderedJoints:
    """Draw a part's persons, from a random stream of its own."""
    stream = [STREAM, 0, ("train", "validation").index(part), seed]
    rest = round(count * OTHERS) if others else 0
    drawn = draw_performances(stream, count - rest, rest)
    bar = tqdm(drawn, f"persons, {part}", count, leave=False, disable=not progress)
    sampler: Any = EXPERIMENTS["pose"].shown.sampler
    pool = gathered(list(bar))
    return RenderedJoints(pool, seed=seed, steps=sampler.frames, rate=1 / sampler.seconds)


def measured(log_probs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Count what the classifier knows of rendered windows, and choose when it refuses.

    Returns counts of the six actions among one another, and with a class of something else its
    threshold, which refuses REFUSED of the six actions' windows, and the share of others refused.
    """
    six = labels != OTHER
    right = log_probs[six, : len(ACTIONS)].argmax(1) == labels[six]
    found: dict[str, Any] = {"six_right": int(right.sum()), "six": int(six.sum())}
    if log_probs.shape[1] > len(ACTIONS):
        doubt = np.exp(log_probs[:, OTHER])
        threshold = float(np.quantile(doubt[six], 1 - REFUSED))
        refused = doubt[~six] > threshold
        found |= {"threshold": round(threshold, 4), "others_refused": int(refused.sum())}
        found |= {"others": int((~six).sum())}
    return found
