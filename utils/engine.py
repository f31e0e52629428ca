"""One training loop, one evaluation loop, and the checkpoints between them.

Knows batches {"input", "mask", "label", "index"}, models called as model(input, mask) -> logits,
and files of weights. Knows that several processes may work as one. Does not know videos, frames,
features or what a class is called: what a checkpoint must remember of those comes in as `extra` and
goes out unread.

What is equal to the bit: on a CPU, a run that was killed anywhere and resumed with as many
processes, and one that was not. Not so on CUDA, whose kernels add in an order of their own, nor
between different numbers of processes, which add the parts of a sum in another order and drop out
other features.
"""

import math
import os
import pickle
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from utils.data_setup import Batches
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

CHECKPOINT_FORMAT, CHECKPOINT_VERSION = "har-checkpoint", 1
BEST, LAST = "best.pth", "last.pth"
SCHEDULES = ("cosine", "onecycle", "constant")
RANK_STEP = (
    1_000_003  # between the seeds of processes: farther apart than the seeds that people choose
)
RESUME_KEYS = (
    "experiment",
    "classes",
    "sampler",
    "transform",
)  # entries of `extra` that a resumed run must share

Row = dict[
    str, Any
]  # epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds; see `train_model`
History = list[Row]
Callback = Callable[[Row], None]


@dataclass(frozen=True)
class Output:
    """What a model says about every item of a data set, in the order of their index.

    `log_probs` is (N, K) float32, `labels` is (N,), `loss` the mean negative log-likelihood of the
    labels.
    """

    log_probs: np.ndarray
    labels: np.ndarray
    loss: float


@dataclass(frozen=True)
class Settings:
    """How to train; see `train_model`."""

    epochs: int
    lr: float
    weight_decay: float
    label_smoothing: float
    patience: int
    clip_norm: float
    schedule: str
    seed: int

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"there is no schedule {self.schedule!r}; the schedules are {', '.join(SCHEDULES)}"
            )
        for name in ("epochs", "lr", "patience", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


@dataclass
class Position:
    """How far an epoch has come: batches done, sums over their items, rate of the last step, and
    seconds spent.

    `loss` sums the plain cross-entropy, which is what a row states, not the smoothed one that is
    learnt from.
    """

    batch: int = 0
    loss: float = 0.0
    correct: float = 0.0
    count: float = 0.0
    lr: float = 0.0
    seconds: float = 0.0


def train_model(
    model: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader,
    *,
    epochs: int = 40,
    lr: float = 1e-3,
    weight_decay: float = 1e-2,
    label_smoothing: float = 0.1,
    patience: int = 10,
    clip_norm: float = 1.0,
    schedule: str = "cosine",
    device: str | torch.device | None = None,
    seed: int = 0,
    checkpoint_dir: str | os.PathLike | None = None,
    extra: Mapping[str, Any] | None = None,
    resume: bool = False,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
    checkpoint_every: float | None = None,
) -> History:
    """Train a model in place and leave it with the weights of its best epoch, the one of lowest
    validation loss.

    Under several processes (see `utils.parallel`) each trains on its share of every batch, and all
    return the same history. Their sums round differently from one process's, and each draws its own
    dropout. BatchNorm that is trained normalises by a process's own share, and the running
    statistics that are kept are the first process's; frozen BatchNorm is in evaluation mode and
    does not care.

    Args:
        model: Called as model(input, mask) -> logits (B, K); only weights that require gradients
            are trained.
        train_loader: Batches to learn from.
        val_loader: Batches that choose the epoch; never the test split.
        epochs: Largest number of passes over the training data.
        lr: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        label_smoothing: Share of the target that is spread over all classes, in training only.
        patience: Stop after this many epochs without a lower validation loss.
        clip_norm: Largest norm of the gradient.
        schedule: "cosine" (falls to 0), "onecycle" (rises for 30 %, then falls) or "constant".
        device: Where to train; None takes CUDA when there is one. On CUDA, training runs in mixed
            precision.
        seed: Start of the random numbers of torch, numpy and Python.
        checkpoint_dir: Folder of best.pth and last.pth, both written after every epoch they
            concern; None writes none. No other checkpoint is kept, and a new run removes an earlier
            one's from the folder before its first.
        extra: Plain values stored in the checkpoints, such as classes, sampler and transform.
        resume: Go on from last.pth in checkpoint_dir when it is there; the outcome is that of an
            uninterrupted run, to the bit on a CPU with as many processes as before. Every process
            must see the folder.
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
        ValueError: A setting makes no sense, nothing is trainable, or the checkpoint to resume is
            of another run or of code too old to resume.
        OSError: A checkpoint cannot be written.
    """
    settings = Settings(
        epochs, lr, weight_decay, label_smoothing, patience, clip_norm, schedule, seed
    )
    if resume and checkpoint_dir is None:
        raise ValueError("resume=True needs the checkpoint_dir of the run to go on with")
    set_seed(
        (seed + RANK_STEP * rank()) % 2**32
    )  # of each process its own: or all would drop out the same features
    folder = None if checkpoint_dir is None else Path(checkpoint_dir)
    trainer = Trainer(
        model,
        settings,
        train_loader,
        val_loader,
        device=device,
        folder=folder,
        extra=extra,
        checkpoint_every=checkpoint_every,
    )
    if resume and folder is not None and broadcast((folder / LAST).is_file()):
        with barrier("resuming"):
            trainer.resume()
    return trainer.fit(callbacks, progress=progress)


class Trainer:
    """The state of one training run: model, optimizer, schedule, scaler, position, history and best
    weights.

    Args:
        model: As in `train_model`, which is the plain way in.
        settings: How to train.
        train_loader: Batches to learn from.
        val_loader: Batches that choose the epoch.
        device: Where to train, None for CUDA when there is one.
        folder: Where the checkpoints go, None for nowhere.
        extra: Plain values stored in the checkpoints.
        checkpoint_every: Seconds between writes of last.pth amid an epoch, None for none.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        train_loader: DataLoader,
        val_loader: DataLoader,
        *,
        device: str | torch.device | None = None,
        folder: Path | None = None,
        extra: Mapping[str, Any] | None = None,
        checkpoint_every: float | None = None,
    ):
        self.device = pick_device(device)
        self.model = model.to(self.device)
        self.settings, self.folder, self.extra = settings, folder, _plain(extra or {}, "extra")
        self.train_loader, self.val_loader, self.checkpoint_every = (
            train_loader,
            val_loader,
            checkpoint_every,
        )
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not weights:
            raise ValueError(
                "the model has no weight to train: everything is frozen; unfreeze a stage or "
                "add "
                "a head"
            )
        if len(train_loader) == 0:
            raise ValueError(
                "the training loader has no batch; check the data folder and the split's persons"
            )
        self.batches = self._checked_batches()
        self.weights = weights
        self.network = (
            DistributedDataParallel(model) if world_size() > 1 else model
        )  # for training steps only
        self.optimizer = torch.optim.AdamW(
            weights, lr=settings.lr, weight_decay=settings.weight_decay
        )
        steps = settings.epochs * len(train_loader)
        self.scheduler = Schedule(self.optimizer, settings.schedule, settings.lr, steps)
        self.amp = self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp)
        self.loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        self.history: History = []
        self.best: dict[str, Any] = {"epoch": 0, "val_loss": math.inf, "val_accuracy": 0.0}
        self.best_weights = _on_cpu(model.state_dict())
        self.position = Position(lr=settings.lr)
        self.random: dict[str, Any] | None = (
            None  # what a resumed epoch goes on with, once its loader has started
        )
        self.fresh = True  # nothing of this run is written yet
        self.written = time.monotonic()  # when last.pth was, or when the training began
        self.started = (
            time.perf_counter()
        )  # when the epoch was, less what was spent on it before an interruption

    def _checked_batches(self) -> Batches | None:
        """Return the training loader's Batches; an order that is not theirs cannot be split nor
        taken up amid it."""
        batches = self.train_loader.batch_sampler
        if isinstance(batches, Batches):
            return batches
        if world_size() > 1 or self.checkpoint_every is not None:
            raise ValueError(
                f"the training loader's batches come from a {type(batches).__name__}; several "
                "processes "
                "and checkpoint_every need a utils.data_setup.Batches, as create_dataloaders gives"
            )
        return None

    def fit(self, callbacks: Iterable[Callback] = (), *, progress: bool = True) -> History:
        """Run the epochs that are left, then restore the best weights; returns the whole
        history."""
        callbacks = list(callbacks)
        self.written = time.monotonic()
        self._sweep()
        with tqdm(
            total=self.settings.epochs,
            initial=len(self.history),
            desc="training",
            unit="epoch",
            disable=not (progress and is_main_process()),
            leave=False,
        ) as bar:
            while not self.finished():
                row = self.run_epoch(len(self.history) + 1)
                with barrier("a callback"):
                    for callback in callbacks if is_main_process() else ():
                        callback(row)
                bar.set_postfix(
                    loss=f"{row['train_loss']:.3f}",
                    val_loss=f"{row['val_loss']:.3f}",
                    val_accuracy=f"{row['val_accuracy']:.3f}",
                )
                bar.update()
        self.model.load_state_dict(self.best_weights)
        return self.history

    def finished(self) -> bool:
        """Tell whether all epochs are done or the validation loss has not improved for `patience`
        of them."""
        done = len(self.history)
        return done >= self.settings.epochs or done - self.best["epoch"] >= self.settings.patience

    def run_epoch(self, epoch: int) -> Row:
        """Train what is left of an epoch (counted from 1), validate, note the best, and write the
        checkpoints.

        best.pth comes first, so that last.pth never speaks of a missing best. A kill between the
        two has the epoch run again: on a CPU to the same weights, elsewhere best.pth keeps those
        whose loss it states.
        """
        self.started = time.perf_counter() - self.position.seconds
        train_loss, train_accuracy, lr = self._train_epoch(epoch)
        output = evaluate(self.model, self.val_loader, device=self.device)
        if not math.isfinite(output.loss):
            what = f"the validation loss is {output.loss} in epoch {epoch}, lr {lr:.3g}"
            raise FloatingPointError(f"{what}; {self._remedy()}")
        accuracy = float((output.log_probs.argmax(1) == output.labels).mean())
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": output.loss,
            "val_accuracy": accuracy,
            "lr": lr,
            "seconds": time.perf_counter() - self.started,
        }
        self.history.append(row)
        self.position = Position(lr=lr)
        improved = output.loss < self.best["val_loss"]
        if improved:
            self.best = {"epoch": epoch, "val_loss": output.loss, "val_accuracy": accuracy}
            self.best_weights = _on_cpu(self.model.state_dict())
        self._save(*((BEST, LAST) if improved else (LAST,)))
        return row

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Return the mean plain loss and the accuracy over the epoch's items, and the learning rate
        of its last step."""
        self.network.train()
        batches = self._begin(epoch)
        for number, batch in enumerate(batches, start=self.position.batch + 1):
            due = self._train_batch(
                batch, number, f"epoch {epoch}, batch {number} of {len(self.train_loader)}"
            )
            if due:
                self._save(LAST)
        broadcast_buffers(self.model)
        done = self.position
        return done.loss / done.count, done.correct / done.count, done.lr

    def _begin(self, epoch: int) -> Iterator[Mapping[str, Tensor]]:
        """Start the loader where the epoch has come to, with the random numbers that belong
        there."""
        if hasattr(self.train_loader.dataset, "set_epoch"):
            self.train_loader.dataset.set_epoch(epoch)
        if self.batches is not None:
            self.batches.set_epoch(epoch, start=self.position.batch)
        batches = iter(self.train_loader)
        if (
            self.random is not None
        ):  # only now: a loader that starts draws a number, as it did before the interruption
            _restore_rng(self.random)
            self.random = None
        return batches

    def _train_batch(self, batch: Mapping[str, Tensor], number: int, where: str) -> bool:
        """Learn from one batch and add to the epoch's sums; tell whether a checkpoint is due."""
        lr = self.scheduler.lr
        inputs, mask, labels = (
            batch[key].to(self.device, non_blocking=True) for key in ("input", "mask", "label")
        )
        n = len(labels)
        mine, everywhere = (n, n) if self.batches is None else self.batches.counts(number - 1)
        with torch.autocast(self.device.type, enabled=self.amp):
            logits = self.network(inputs, mask)
        loss = self.loss(logits.float(), labels)
        plain = nn.functional.cross_entropy(
            logits.detach().float(), labels
        )  # what validation measures too
        correct = int((logits.argmax(1) == labels).sum()) if mine else 0
        loss_sum, plain_sum, correct_sum, due = all_reduce_sum(
            loss.item() * mine, plain.item() * mine, correct, self._due()
        )
        # gradients become the mean over processes; with these weights that is the mean over the
        # whole batch
        self._step(
            loss * (mine * world_size() / everywhere),
            loss_sum / everywhere,
            f"{where}, lr {lr:.3g}",
        )
        done = self.position
        self.position = Position(
            number, done.loss + plain_sum, done.correct + correct_sum, done.count + everywhere, lr
        )
        return due > 0

    def _due(self) -> bool:
        """Tell whether the first process, whose clock counts, finds that last.pth is to be written
        amid the epoch."""
        if self.folder is None or self.checkpoint_every is None or not is_main_process():
            return False
        return time.monotonic() - self.written >= self.checkpoint_every

    def _step(self, loss: Tensor, value: float, where: str) -> None:
        """Change the weights by one clipped step; refuse a loss or, outside mixed precision, a
        gradient of NaN."""
        if not math.isfinite(value):  # the whole batch's, so that all processes stop or none does
            raise FloatingPointError(f"the loss is {value} in {where}; {self._remedy()}")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.weights, self.settings.clip_norm).item()
        if not self.amp and not math.isfinite(
            norm
        ):  # in mixed precision the scaler skips such a step by itself
            raise FloatingPointError(f"the gradient is {norm} in {where}; {self._remedy()}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()

    def _remedy(self) -> str:
        kept = (
            f"; the checkpoints of {len(self.history)} finished epochs stay in {self.folder}"
            if self.folder
            else ""
        )
        return f"lower lr (now {self.settings.lr:.3g}) or look for inputs that are not finite{kept}"

    def _save(self, *names: str) -> None:
        """Write checkpoints of what is now, in the first process; all of them learn whether that
        worked."""
        if self.folder is None:
            return
        states = gather(_rng_state())
        self.position.seconds = time.perf_counter() - self.started if self.position.batch else 0.0
        position = {
            **asdict(self.position),
            "batches": None if self.batches is None else self.batches.to_config(),
        }
        with barrier("writing a checkpoint"):
            for name in names if is_main_process() else ():
                self._clear()
                save_checkpoint(
                    self.folder / name,
                    model=self.model,
                    optimizer=self.optimizer,
                    scheduler=self.scheduler,
                    scaler=self.scaler,
                    epoch=len(self.history),
                    best=self.best,
                    history=self.history,
                    settings=asdict(self.settings),
                    rng=states,
                    extra=self.extra,
                    position=position,
                )
        self.written = time.monotonic()

    def _clear(self) -> None:
        """Before the first checkpoint of a new run, remove an earlier one's: the two must never be
        mixed."""
        assert self.folder is not None
        if self.fresh:
            for name in (LAST, BEST):  # last first: without it nothing is resumed
                (self.folder / name).unlink(missing_ok=True)
        self.fresh = False

    def _sweep(self) -> None:
        """Remove what writers that were killed left half written."""
        if self.folder is not None and is_main_process():
            for path in (
                path for name in (BEST, LAST) for path in self.folder.glob(f"{name}.*.partial")
            ):
                path.unlink(missing_ok=True)

    def resume(self) -> None:
        """Take up the state of last.pth and the best weights of best.pth from the run's folder.

        best.pth may be an epoch ahead, see `run_epoch`; amid the first epoch there may be none.
        """
        assert self.folder is not None
        path = self.folder / LAST
        last = load_checkpoint(path)
        self._check_same_run(last, path)
        if last["best"]["epoch"] or (self.folder / BEST).is_file():
            best = load_checkpoint(self.folder / BEST)
            restore_weights(self.model, best)
            self.best, self.best_weights = best["best"], _on_cpu(self.model.state_dict())
        restore_weights(self.model, last)
        self.optimizer.load_state_dict(last["optimizer"])
        self.scheduler.load_state_dict(
            last["scheduler"]
        )  # after the optimizer: the number of epochs may have grown
        self.scaler.load_state_dict(last["scaler"])
        self.history = [dict(row) for row in last["history"]]
        self.position = Position(
            **{name: value for name, value in last["position"].items() if name != "batches"}
        )
        if rank() < len(
            last["rng"]
        ):  # a process that was not there before keeps the numbers it started with
            _restore_rng(last["rng"][rank()])
            self.random = last["rng"][rank()] if self.position.batch else None
        self.fresh = False

    def _check_same_run(self, last: Mapping[str, Any], path: Path) -> None:
        """Refuse to go on with other settings: the outcome would be neither run's. Epochs and
        patience may change."""
        if not last.get("position"):
            raise ValueError(
                f"{path} was written by older code: it does not say which batches were done (no "
                "entry "
                "'position') and can be predicted with, but not resumed; start anew in another "
                "folder, as "
                "`python har.py train NAME --force` does"
            )
        free = ("epochs", "patience")
        old, new = dict(last["settings"] or {}), asdict(self.settings)
        changed = [name for name in new if name not in free and old.get(name) != new[name]]
        changed += [
            name
            for name in RESUME_KEYS
            if name in self.extra
            and name in last["extra"]
            and self.extra[name] != last["extra"][name]
        ]
        before, now = (
            last["position"]["batches"],
            None if self.batches is None else self.batches.to_config(),
        )
        if before != now:
            changed, old["batches"], new["batches"] = [*changed, "batches"], before, now
        old, new = {**last["extra"], **old}, {**self.extra, **new}
        if changed:
            what = ", ".join(f"{name} {old.get(name)!r} (now {new[name]!r})" for name in changed)
            raise ValueError(
                f"{path} was trained with {what}: resume with the same, or start anew in "
                "another "
                "folder"
            )


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loader: DataLoader,
    *,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> Output:
    """Apply a model to every item of a loader, in single precision and without changing it.

    Under several processes each does its share of `Batches`, or everything of another loader, and
    all return the whole.

    Raises:
        RuntimeError: The loader did not give every index of its data set exactly once.
    """
    device, was_training = pick_device(device), model.training
    model.to(device).eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        with barrier("evaluating"):
            for batch in tqdm(
                _counted(loader),
                total=len(loader),
                desc="evaluating",
                unit="batch",
                disable=not (progress and is_main_process()),
                leave=False,
            ):
                logits = model(batch["input"].to(device), batch["mask"].to(device)).float().cpu()
                parts.append((logits, batch["label"], batch["index"]))
    finally:
        model.train(was_training)
    if isinstance(loader.batch_sampler, Batches) and loader.batch_sampler.world > 1:
        parts = [part for share in gather(parts) for part in share]
    if not parts:
        raise ValueError(
            "the loader to evaluate has no batch; check the data folder and the split's persons"
        )
    logits, labels, indices = (torch.cat(part) for part in zip(*parts, strict=True))
    order = _complete_order(indices, len(loader.dataset))  # type: ignore[arg-type]
    log_probs, truth = logits[order].log_softmax(-1), labels[order]
    return Output(log_probs.numpy(), truth.numpy(), nn.functional.nll_loss(log_probs, truth).item())


def _counted(loader: DataLoader) -> Iterator[Mapping[str, Tensor]]:
    """Give a loader's batches but those of which nothing counts: training loaders have them, see
    `Batches`."""
    batches = loader.batch_sampler
    for number, batch in enumerate(loader):
        if not isinstance(batches, Batches) or batches.counts(number)[0]:
            yield batch


def _complete_order(indices: Tensor, n: int) -> Tensor:
    seen = torch.bincount(indices, minlength=n)
    if len(indices) != n or len(seen) != n or bool((seen != 1).any()):
        missing, repeated = int((seen[:n] == 0).sum()), int((seen > 1).sum())
        raise RuntimeError(
            f"{len(indices)} items came for a data set of {n}: {missing} missing, {repeated} "
            "more than "
            "once; evaluate with shuffle and drop_last off, or every item's share is wrong"
        )
    return indices.argsort()


class Schedule:
    """The learning rate as a function of the share of steps done: nothing to remember but the
    number of steps.

    Args:
        optimizer: Gets the rate of the next step after every `step()`.
        name: One of SCHEDULES.
        peak: The largest rate.
        steps: The number of steps of the whole training.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, name: str, peak: float, steps: int):
        self.optimizer, self.name, self.peak, self.steps, self.done = (
            optimizer,
            name,
            peak,
            steps,
            0,
        )
        self._apply()

    @property
    def lr(self) -> float:
        """The rate of the next step."""
        return self.peak * lr_factor(self.name, self.done / self.steps)

    def step(self) -> None:
        """Count one step and set the rate of the next."""
        self.done += 1
        self._apply()

    def state_dict(self) -> dict[str, int]:
        """Return the number of steps done."""
        return {"done": self.done}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from the number of steps that `state_dict` gave, on this schedule's own length."""
        self.done = state["done"]
        self._apply()

    def _apply(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr


def lr_factor(schedule: str, done: float) -> float:
    """Return the share of the peak learning rate after the share `done` of all steps, both in
    0..1."""
    done = min(max(done, 0.0), 1.0)
    if schedule == "constant":
        return 1.0
    if schedule == "onecycle":
        warm = 0.3
        if done < warm:
            return 0.04 + 0.96 * done / warm  # from a 25th of the peak
        done = (done - warm) / (1 - warm)
    return 0.5 * (1 + math.cos(math.pi * done))


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device asked for; None means CUDA when there is one, else the CPU."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def set_seed(seed: int) -> None:
    """Start the random numbers of Python, numpy and torch (every device) from one seed."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


# checkpoints


def save_checkpoint(
    path: str | os.PathLike,
    *,
    model: nn.Module,
    optimizer: Any = None,
    scheduler: Any = None,
    scaler: Any = None,
    epoch: int = 0,
    best: Mapping[str, Any] | None = None,
    history: Sequence[Row] = (),
    settings: Mapping[str, Any] | None = None,
    rng: Sequence[Mapping[str, Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
    position: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint atomically: after a crash the old file or the new one is there, whole.

    A model with `.backbone` and `.head` is stored in these two parts ("backbone", "temporal"); any
    other one whole under "temporal". `rng` holds the random states of each process; `epoch` counts
    the finished ones, and `position` says how far the next has come. `extra` holds plain values
    only: numbers, strings, lists, dicts, None; paths become strings.

    Raises:
        TypeError: `extra` holds something that is not a plain value.
        OSError: The file cannot be written; an earlier one at the same place is untouched.
    """
    backbone, head = _parts(model)
    checkpoint = {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "epoch": epoch,
        "backbone": None if backbone is None else backbone.state_dict(),
        "temporal": head.state_dict(),
        **{
            name: None if part is None else part.state_dict()
            for name, part in (
                ("optimizer", optimizer),
                ("scheduler", scheduler),
                ("scaler", scaler),
            )
        },
        "best": _plain(best or {}, "best"),
        "history": _plain(list(history), "history"),
        "settings": _plain(settings or {}, "settings"),
        "rng": rng,
        "extra": _plain(extra or {}, "extra"),
        "position": _plain(position or {}, "position"),
    }
    _write_atomically(checkpoint, Path(path))


def load_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running anything in it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, is no checkpoint of ours, or carries code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint at {path}; train one with `python har.py train`"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} carries objects or code beside weights, or is damaged; it was not loaded. "
            "Expected a "
            "checkpoint written by `python har.py train`"
        ) from error
    except Exception as error:  # a file of arbitrary bytes makes the unpickler raise anything
        raise ValueError(
            f"{path} cannot be read as a checkpoint, it may be cut off ({error}); delete it and "
            "train "
            "anew, or use an older one"
        ) from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of this project (no format {CHECKPOINT_FORMAT!r} in it); "
            "expected one written by `python har.py train`"
        )
    if checkpoint.get("version") != CHECKPOINT_VERSION:
        raise ValueError(
            f"{path} has version {checkpoint.get('version')}, this code reads "
            f"{CHECKPOINT_VERSION}: "
            "update the project, or train anew"
        )
    return checkpoint


def restore_weights(model: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Load a checkpoint's weights into a model of the same shape; a stored backbone is left out for
    a bare head.

    Raises:
        ValueError: The model has other weights than the checkpoint.
    """
    backbone, head = _parts(model)
    try:
        head.load_state_dict(checkpoint["temporal"])
        if backbone is not None and checkpoint["backbone"] is not None:
            backbone.load_state_dict(checkpoint["backbone"])
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint is of another model than this {type(head).__name__}: {error}"
        ) from error


def _parts(model: Any) -> tuple[nn.Module | None, nn.Module]:
    whole = hasattr(model, "backbone") and hasattr(model, "head")
    return (model.backbone, model.head) if whole else (None, model)


def _write_atomically(checkpoint: Mapping[str, Any], path: Path) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(checkpoint), partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise OSError(
            f"cannot write the checkpoint {path} ({error}): free space or choose another folder; "
            "an earlier "
            "checkpoint there is untouched"
        ) from error
    finally:
        if partial.exists():
            partial.unlink()


def _plain(value: Any, where: str) -> Any:
    """Reduce a value to what a file can hold without code; TypeError names the place of anything
    else."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (os.PathLike, str)):
        return str(value)
    raise TypeError(
        f"{where} is a {type(value).__name__}; a checkpoint holds numbers, strings, lists and "
        "dicts only"
    )


def _on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _rng_state() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def _restore_rng(state: Mapping[str, Any]) -> None:
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
