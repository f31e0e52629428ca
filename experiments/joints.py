"""How the classifier of joints learns: from rendered people's joints, not one pixel drawn.

Knows performances, what a finder makes of them, and the training loop. Does not know real footage:
epoch and the threshold of refusing are chosen on rendered people, each on others, and counted is on
others again.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
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
from models.joints import JointGRUs
from utils.checkpoint import TrainingState, save_checkpoint
from utils.data_setup import Batches, collate
from utils.engine import Settings, evaluate, train_model
from utils.person import EMPTIEST
from utils.pose import JOINTS, bodies, joint_features
from utils.predict import SOMETHING_ELSE

STREAM = 11  # first word of the random streams; those of the rendered sets begin with others
OTHERS = 0.3  # share of the performances that are none of the six
REFUSED = 0.02  # share of the six actions' rendered windows that may be refused
TRIES = 4  # at a window that shows enough
BATCH = 128
PARTS = ("train", "validation", "threshold", "test")  # each is drawn from a stream of its own
LOOP: dict[str, Any] = {
    "lr": 4e-3,
    "schedule": "onecycle",
    "label_smoothing": 0.05,
    "clip_norm": 2.0,
}


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
            enough = bodies(seen).mean(1) >= EMPTIEST
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
        """Return {"input": tensor (T, 77), "label": int, "index": int}: the steps from the first to
        the last that shows a body, as windows of videos are placed, see `PersonReader.span`."""
        numbers = self.numbers[index]
        there = np.flatnonzero(bodies(numbers[:, -len(JOINTS) :] > 0))
        placed = torch.from_numpy(numbers[there[0] : there[-1] + 1])
        return {"input": placed, "label": int(self.labels[index]), "index": index}


def train_joints(
    out: Path,
    *,
    seeds: Sequence[int] = (0,),
    performances: int = 24_000,
    epochs: int = 14,
    others: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Train the classifier of joints and write its checkpoint; returns what it measured.

    With several seeds it is the mean of as many networks, which share nothing. An interrupted
    training goes on where its last epoch ended: until the checkpoint is written, its state lies
    beside it in a folder `<out>.training`.

    Args:
        out: The checkpoint's file.
        seeds: Of persons, windows and dropout.
        performances: How many each network learns from; a twelfth as many more choose its epoch, as
            many others the threshold, and with as many others again it is tested.
        epochs: Passes over them, each with windows of its own.
        others: Learn "something else" too.
        progress: Show progress bars.

    Raises:
        ValueError: No seed, too few performances, or an interrupted training beside `out` had other
            settings.
        OSError: The checkpoint cannot be written.
    """
    if not seeds:
        raise ValueError("no seed; give at least one")
    classes, folder = [*ACTIONS, *[SOMETHING_ELSE] * others], Path(f"{out}.training")
    recipe = Recipe(weights=None, seed=seeds[0], epochs=epochs)
    row = EXPERIMENTS["pose"]
    row = replace(row, model={**row.model, "networks": len(seeds)})
    job = Job(row, recipe, "rendered joints", {}, None, progress)
    model: Any = new_model(row, recipe, num_classes=len(classes))
    job.model = model
    extra = job.extra([]) | {"classes": classes, "real_footage": "none"}
    draw = partial(_loader, performances=performances, others=others, progress=progress)
    for seed, network in zip(seeds, model.networks, strict=True):
        settings = Settings(epochs, patience=epochs, seed=seed, **LOOP)
        train_model(
            network,
            draw("train", seed),
            draw("validation", seed),
            settings,
            checkpoint_dir=folder / f"seed{seed}",
            extra=extra | {"seed": seed},
            resume=True,
            progress=progress,
        )
    found = _tested(model, draw("threshold", seeds[0]), draw("test", seeds[0]))
    save_checkpoint(out, model, TrainingState(epoch=epochs), extra=extra | {"rendered": found})
    shutil.rmtree(folder)
    return found


def _tested(model: JointGRUs, chosen: DataLoader, counted: DataLoader) -> dict[str, Any]:
    """Choose the threshold on some windows, and count on others what is right and refused."""
    log_probs, labels = evaluate(model, counted)
    six = labels != OTHER
    right = log_probs[six, : len(ACTIONS)].argmax(1) == labels[six]
    alone = [evaluate(one, counted)[0] for one in model.networks]
    found: dict[str, Any] = {
        "six_right": int(right.sum()),
        "six": int(six.sum()),
        "six_right_each": [
            int((one[six, : len(ACTIONS)].argmax(1) == labels[six]).sum()) for one in alone
        ],
    }
    if log_probs.shape[1] > len(ACTIONS):
        threshold = threshold_of(*evaluate(model, chosen))
        refused = np.exp(log_probs[:, OTHER]) > threshold
        found |= {"threshold": round(threshold, 4), "six_refused": int(refused[six].sum())}
        found |= {"others_refused": int(refused[~six].sum()), "others": int((~six).sum())}
    return found


def threshold_of(log_probs: np.ndarray, labels: np.ndarray) -> float:
    """Return the probability of something else that REFUSED of the six actions' windows exceed."""
    return float(np.quantile(np.exp(log_probs[labels != OTHER, OTHER]), 1 - REFUSED))


def _loader(part: str, seed: int, *, performances: int, others: bool, progress: bool) -> DataLoader:
    """Draw a part's persons, from a random stream of its own, and load windows of theirs."""
    stream = [STREAM, 0, PARTS.index(part), seed]
    count = performances if part == "train" else performances // 12
    rest = round(count * OTHERS) if others else 0
    drawn = draw_performances(stream, count - rest, rest)
    bar = tqdm(drawn, f"persons, {part}", count, leave=False, disable=not progress)
    sampler: Any = EXPERIMENTS["pose"].shown.sampler
    pool = gathered(list(bar))
    data = RenderedJoints(pool, seed=seed, steps=sampler.frames, rate=1 / sampler.seconds)
    batches = Batches(len(data), BATCH, train=part == "train", seed=seed)
    return DataLoader(data, batch_sampler=batches, collate_fn=collate)
