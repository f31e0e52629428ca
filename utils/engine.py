"""One training loop and one evaluation loop.

Knows batches {"input", "mask", "label", "index"} and models called as model(input, mask) -> logits.
Knows that several processes may work as one. Does not know videos, frames, features or what a class
is called, nor what a checkpoint holds: `extra` goes to `utils.checkpoint` unread.

What is equal to the bit: on a CPU, a run that was killed anywhere and resumed with as many
processes, and one that was not. Not so on CUDA, whose kernels add in an order of their own, nor
between different numbers of processes, which add the parts of a sum in another order and drop out
other features.
"""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.checkpoint import BEST, LAST, Checkpoints, Progress, TrainingState, plain, restore_rng
from utils.data_setup import Batches, as_batch
from utils.parallel import (
    all_reduce_sum,
    barrier,
    broadcast,
    broadcast_buffers,
    gather,
    is_main_process,
    rank,
    world_size,
)
from utils.threads import threads_for

SCHEDULES = ("cosine", "onecycle", "constant")
# between the seeds of processes: farther apart than the seeds that people choose
RANK_STEP = 1_000_003

# epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds; see `train_model`
Row = dict[str, Any]
History = list[Row]
Callback = Callable[[Row], None]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: Largest number of passes over the training data.
        lr: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        label_smoothing: Share of the target that is spread over all classes, in training only.
        patience: Stop after this many epochs without a lower validation loss.
        clip_norm: Largest norm of the gradient.
        schedule: "cosine" (falls to 0), "onecycle" (rises for 30 %, then falls) or "constant".
        seed: Start of the random numbers of torch, numpy and Python.
        device: Where to train; None takes CUDA when there is one. On CUDA, training runs in mixed
            precision.
    """

    epochs: int = 40
    lr: float = 1e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    patience: int = 10
    clip_norm: float = 1.0
    schedule: str = "cosine"
    seed: int = 0
    device: str | torch.device | None = None

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"there is no schedule {self.schedule!r}; the schedules are {', '.join(SCHEDULES)}"
            )
        for name in ("epochs", "lr", "patience", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


DEFAULTS = Settings()


def train_model(
    model: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader,
    settings: Settings = DEFAULTS,
    *,
    checkpoint_dir: str | Path | None = None,
    extra: Mapping[str, Any] | None = None,
    resume: bool = False,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
    checkpoint_every: float | None = None,
) -> History:
    """Train a model in place and leave it with the weights of its best epoch, the one of lowest
    validation loss. A small one is trained in one thread, see `utils.threads`.

    Under several processes (see `utils.parallel`) each trains on its shard of every batch, and all
    return the same history. Their sums round differently from one process's, and each draws its own
    dropout. BatchNorm that is trained normalises by a process's own shard, and the running
    statistics that are kept are the first process's; frozen BatchNorm is in evaluation mode and
    does not care.

    Args:
        model: Called as model(input, mask) -> logits (B, K); only weights that require gradients
            are trained.
        train_loader: Batches to learn from: {"input": (B, T, ...), "mask": (B, T) bool, "label":
            (B,), "index": (B,)}, as `utils.data_setup.collate` makes them, or pairs (input, label),
            as of a TensorDataset, in which every step counts.
        val_loader: Batches that choose the epoch; never the test split.
        settings: How to train.
        checkpoint_dir: Folder of best.pth and last.pth, both written after every epoch they
            concern; None writes none. No other checkpoint is kept, and a new run removes an earlier
            one's from the folder before its first.
        extra: Plain values stored in the checkpoints, such as classes and preprocessing.
        resume: Go on from last.pth in checkpoint_dir when it is there; the outcome is that of an
            uninterrupted run, to the bit on a CPU with as many processes as before. Every process
            must see the folder. Epochs and patience may differ, other settings and `extra` not.
        callbacks: Called with each epoch's row once its checkpoints are written, in the first
            process only.
        progress: Show a progress bar.
        checkpoint_every: Also write last.pth amid an epoch when that many seconds have passed since
            it was written, so that a kill costs no more than those; 0 writes it after every step,
            None only after an epoch.

    Returns:
        One row per epoch, those of before the interruption included. Both losses are means over the
        items of the plain cross-entropy in nats, without label smoothing, so that they share an
        axis. `train_loss` and `train_accuracy` are of the logits that the steps learnt from: with
        dropout, and with the weights before each step. `val_loss` and `val_accuracy` are of the
        epoch's last weights, without dropout.

    Raises:
        FloatingPointError: The loss or the gradient is not finite; the checkpoints of earlier
            epochs stay.
        ValueError: Nothing is trainable, or the checkpoint to resume is of another run.
        OSError: A checkpoint cannot be written.
    """
    if resume and checkpoint_dir is None:
        raise ValueError("resume=True needs the checkpoint_dir of the run to go on with")
    # of each process its own: or all would drop out the same features
    set_seed((settings.seed + RANK_STEP * rank()) % 2**32)
    folder = None if checkpoint_dir is None else Path(checkpoint_dir)
    trainer = Trainer(
        model,
        train_loader,
        val_loader,
        settings,
        folder=folder,
        extra=extra,
        checkpoint_every=checkpoint_every,
    )
    if resume and folder is not None and broadcast((folder / LAST).is_file()):
        trainer.resume()
    with threads_for(model):
        return trainer.fit(callbacks, progress=progress)


class Trainer:
    """One training run; `train_model` is the plain way in, and describes the arguments."""

    def __init__(
        self,
        model: nn.Module,
        train_loader: DataLoader,
        val_loader: DataLoader,
        settings: Settings = DEFAULTS,
        *,
        folder: Path | None = None,
        extra: Mapping[str, Any] | None = None,
        checkpoint_every: float | None = None,
    ):
        self.settings, self.train_loader, self.val_loader = settings, train_loader, val_loader
        self.device = pick_device(settings.device)
        self.amp = self.device.type == "cuda"
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not self.weights:
            raise ValueError(
                "the model has no weight to train: everything is frozen; unfreeze a stage or add a "
                "head"
            )
        if len(train_loader) == 0:
            raise ValueError(
                "the training loader has no batch; check the data folder and the split's persons"
            )
        self.batches = _known_order(train_loader, needed=checkpoint_every is not None)
        self.model = model.to(self.device)
        # for training steps only
        self.network = DistributedDataParallel(model) if world_size() > 1 else model
        self.loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=settings.lr, weight_decay=settings.weight_decay
        )
        steps = settings.epochs * len(train_loader)
        self.scheduler = LambdaLR(
            self.optimizer, lambda step: lr_factor(settings.schedule, step / steps)
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp)
        self.state = TrainingState(
            settings=plain(asdict(settings), "settings"),
            batches=None if self.batches is None else self.batches.to_config(),
            parts={
                "optimizer": self.optimizer,
                "scheduler": self.scheduler,
                "scaler": self.scaler,
            },
        )
        self.checkpoints = Checkpoints(
            folder, model, self.state, extra=extra, every=checkpoint_every
        )
        self.started = 0.0  # when the epoch was, less what was spent on it before an interruption

    def resume(self) -> None:
        """Take up what the folder's checkpoints hold."""
        with barrier("resuming"):
            self.checkpoints.resume()
        # the rate of the next step anew: the number of epochs may have grown
        self.scheduler.last_epoch -= 1
        self.scheduler.step()

    def fit(self, callbacks: Iterable[Callback] = (), *, progress: bool = True) -> History:
        """Run the epochs that are left, then restore the best weights; returns the whole
        history."""
        callbacks, history = list(callbacks), self.state.history
        self.checkpoints.sweep()
        with tqdm(
            total=self.settings.epochs,
            initial=len(history),
            desc="training",
            unit="epoch",
            disable=not (progress and is_main_process()),
            leave=False,
        ) as bar:
            while not self.finished():
                row = self.run_epoch(len(history) + 1)
                with barrier("a callback"):
                    for callback in callbacks if is_main_process() else ():
                        callback(row)
                shown = ("train_loss", "val_loss", "val_accuracy")
                bar.set_postfix({name: f"{row[name]:.3f}" for name in shown})
                bar.update()
        self.model.load_state_dict(self.state.best_weights)
        return history

    def finished(self) -> bool:
        """Tell whether all epochs are done or the validation loss has not improved for `patience`
        of them."""
        done, waited = self.state.epoch, self.state.epoch - self.state.best["epoch"]
        return done >= self.settings.epochs or waited >= self.settings.patience

    def run_epoch(self, epoch: int) -> Row:
        """Train what is left of an epoch (counted from 1), validate, note the best, and write the
        checkpoints.

        best.pth comes first, so that last.pth never speaks of a missing best. A kill between the
        two has the epoch run again: on a CPU to the same weights, elsewhere best.pth keeps those
        whose loss it states.
        """
        state = self.state
        self.started = time.perf_counter() - state.progress.seconds
        self._train_epoch(epoch)
        done = state.progress
        loss, correct, count = all_reduce_sum(done.loss, done.correct, done.count)
        log_probs, labels = evaluate(self.model, self.val_loader, device=self.device)
        on_tensors = torch.from_numpy(log_probs), torch.from_numpy(labels)
        row = {
            "epoch": epoch,
            "train_loss": loss / count,
            "train_accuracy": correct / count,
            "val_loss": nn.functional.nll_loss(*on_tensors).item(),
            "val_accuracy": float((log_probs.argmax(1) == labels).mean()),
            "lr": done.lr,
            "seconds": time.perf_counter() - self.started,
        }
        self._check_finite("validation loss", row["val_loss"], f"epoch {epoch}")
        state.epoch, state.progress = epoch, Progress(lr=done.lr)
        state.history.append(row)
        improved = row["val_loss"] < state.best["val_loss"]
        if improved:
            best = {name: row[name] for name in ("epoch", "val_loss", "val_accuracy")}
            state.keep_best(best, self.model)
        self.checkpoints.save(*((BEST, LAST) if improved else (LAST,)))
        return row

    def _train_epoch(self, epoch: int) -> None:
        """Learn from every batch that is left of an epoch: the training step."""
        self.network.train()
        for number, given in enumerate(self._batches(epoch), start=self.state.progress.batch):
            batch = as_batch(given, 0)
            inputs, mask, labels = (
                batch[key].to(self.device, non_blocking=True) for key in ("input", "mask", "label")
            )
            counted, weight = self._shard(number, len(labels))
            with torch.autocast(self.device.type, enabled=self.amp):
                logits = self.network(inputs, mask)
            _check_labels(batch["label"], logits.shape[-1])
            loss = self.loss(logits.float(), labels)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss * weight).backward()
            where = f"epoch {epoch}, batch {number + 1} of {len(self.train_loader)}"
            self._clip_and_step(loss.item(), where)
            self._note(logits.detach(), labels, counted)
            self.scheduler.step()
            if self.checkpoints.due():
                self.checkpoints.save(LAST)
        broadcast_buffers(self.model)

    def _batches(self, epoch: int) -> Iterator[Any]:
        """Start the loader where the epoch has come to, with the random numbers that belong
        there."""
        state = self.state
        if hasattr(self.train_loader.dataset, "set_epoch"):
            self.train_loader.dataset.set_epoch(epoch)
        if self.batches is not None:
            self.batches.set_epoch(epoch, start=state.progress.batch)
        batches = iter(self.train_loader)
        # only now: a loader that starts draws a number, as it did before the interruption
        if state.random is not None:
            restore_rng(state.random)
            state.random = None
        return batches

    def _shard(self, number: int, n: int) -> tuple[int, float]:
        """Return how many of a batch's n items count here, and the weight that makes the mean over
        processes, which gradients become, the mean over the whole batch."""
        mine, everywhere = (n, n) if self.batches is None else self.batches.counts(number)
        return mine, mine * world_size() / everywhere

    def _clip_and_step(self, loss: float, where: str) -> None:
        """Change the weights by one clipped step; refuse a loss or a gradient of NaN.

        The gradient is all processes', so that all stop. In mixed precision one that is not finite
        is no error: the scaler skips such a step by itself.
        """
        self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.weights, self.settings.clip_norm))
        where = f"{where}, lr {self.scheduler.get_last_lr()[0]:.3g}"
        self._check_finite("loss", loss, where)
        self._check_finite("gradient", 0.0 if self.amp else norm, where)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _note(self, logits: Tensor, labels: Tensor, counted: int) -> None:
        """Add a batch to the epoch's progress: the plain loss, which is what validation measures
        too."""
        done = self.state.progress
        done.batch += 1
        plain_loss = nn.functional.cross_entropy(logits.float(), labels)
        done.loss += plain_loss.item() * counted
        done.correct += int((logits.argmax(1) == labels).sum()) if counted else 0
        done.count += counted
        done.lr = float(self.scheduler.get_last_lr()[0])
        done.seconds = time.perf_counter() - self.started

    def _check_finite(self, what: str, value: float, where: str) -> None:
        if not math.isfinite(value):
            folder = self.checkpoints.folder
            kept = f"; the checkpoints of {self.state.epoch} finished epochs stay in {folder}"
            raise FloatingPointError(
                f"the {what} is {value} in {where}; lower lr (now {self.settings.lr:.3g}) or look "
                f"for inputs that are not finite{kept if folder else ''}"
            )


def _known_order(loader: DataLoader, *, needed: bool) -> Batches | None:
    """Return a training loader's Batches; an order that is not theirs cannot be split nor taken up
    amid it."""
    batches = loader.batch_sampler
    if isinstance(batches, Batches):
        return batches
    if needed or world_size() > 1:
        raise ValueError(
            f"the training loader's batches come from a {type(batches).__name__}; several "
            "processes and checkpoint_every need a utils.data_setup.Batches, as create_dataloaders "
            "gives"
        )
    return None


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loader: DataLoader,
    *,
    device: str | torch.device | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a model to every item of a loader, in single precision and without changing it.

    Under several processes each does its shard of `Batches`, or everything of another loader, and
    all return the whole.

    Returns:
        Log-probabilities (N, K) float32 and labels (N,), in the order of the items' index.

    Raises:
        RuntimeError: The loader did not give every index of its data set exactly once; of pairs
            (input, label) the order is the loader's.
        ValueError: The loader has no batch.
    """
    device, was_training = pick_device(device), model.training
    model.to(device).eval()
    try:
        with barrier("evaluating"), threads_for(model):
            parts = [
                (
                    model(batch["input"].to(device), batch["mask"].to(device)).float().cpu(),
                    batch["label"],
                    batch["index"],
                )
                for batch in _counted(loader)
            ]
    finally:
        model.train(was_training)
    if isinstance(loader.batch_sampler, Batches) and loader.batch_sampler.world > 1:
        parts = [part for shard in gather(parts) for part in shard]
    if not parts:
        raise ValueError(
            "the loader to evaluate has no batch; check the data folder and the split's persons"
        )
    logits, labels, indices = (torch.cat(part) for part in zip(*parts, strict=True))
    _check_labels(labels, logits.shape[-1])
    order = _complete_order(indices, len(loader.dataset))  # type: ignore[arg-type]
    return logits[order].log_softmax(-1).numpy(), labels[order].numpy()


def _counted(loader: DataLoader) -> Iterator[Mapping[str, Tensor]]:
    """Give a loader's batches but those of which nothing counts: training loaders have them, see
    `Batches`."""
    batches, first = loader.batch_sampler, 0
    for number, given in enumerate(loader):
        batch = as_batch(given, first)
        first += len(batch["label"])
        if not isinstance(batches, Batches) or batches.counts(number)[0]:
            yield batch


def _check_labels(labels: Tensor, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"labels from {low} to {high} for a model of {classes} classes: they count from 0 to "
            f"{classes - 1}; subtract 1 where they were counted from 1"
        )


def _complete_order(indices: Tensor, n: int) -> Tensor:
    seen = torch.bincount(indices, minlength=n)
    if len(seen) != n or bool((seen != 1).any()):
        missing, repeated = int((seen[:n] == 0).sum()), int((seen > 1).sum())
        raise RuntimeError(
            f"{len(indices)} items came for a data set of {n}: {missing} missing, {repeated} more "
            "than once; evaluate with shuffle and drop_last off, or every item's share is wrong"
        )
    return indices.argsort()


def lr_factor(schedule: str, done: float) -> float:
    """Return the share of the peak learning rate after the share `done` of all steps, both in
    0..1."""
    if schedule == "constant":
        return 1.0
    if schedule == "onecycle":
        warm = 0.3
        if done < warm:
            return 0.04 + 0.96 * done / warm  # from a 25th of the peak
        done = (done - warm) / (1 - warm)
    return 0.5 * (1 + math.cos(math.pi * done))


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device specified; None means CUDA when there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def set_seed(seed: int) -> None:
    """Start the random numbers of Python, numpy and torch (every device) from one seed."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
