"""One training loop, one evaluation loop, and the checkpoints between them.

Knows batches {"input", "mask", "label", "index"}, models called as model(input, mask) -> logits, and files of weights.
Does not know videos, samplers, features or what a class is called: what a checkpoint must remember of those comes in as
`extra` and goes out unread.
"""

import math
import os
import pickle
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

CHECKPOINT_FORMAT, CHECKPOINT_VERSION = "har-checkpoint", 1
BEST, LAST = "best.pth", "last.pth"
SCHEDULES = ("cosine", "onecycle", "constant")
RESUME_KEYS = ("experiment", "classes", "sampler", "transform")  # entries of `extra` that a resumed run must share

Row = dict[str, Any]  # epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr, seconds
History = list[Row]
Callback = Callable[[Row], None]


@dataclass(frozen=True)
class Output:
    """What a model says about every item of a data set, in the order of their index.

    `log_probs` is (N, K) float32, `labels` is (N,), `loss` the mean negative log-likelihood of the labels.
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
            raise ValueError(f"there is no schedule {self.schedule!r}; the schedules are {', '.join(SCHEDULES)}")
        for name in ("epochs", "lr", "patience", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


def train_model(model: nn.Module, train_loader: DataLoader, val_loader: DataLoader, *, epochs: int = 40,
                lr: float = 1e-3, weight_decay: float = 1e-2, label_smoothing: float = 0.1, patience: int = 10,
                clip_norm: float = 1.0, schedule: str = "cosine", device: str | torch.device | None = None,
                seed: int = 0, checkpoint_dir: str | os.PathLike | None = None, extra: Mapping[str, Any] | None = None,
                resume: bool = False, callbacks: Iterable[Callback] = (), progress: bool = True) -> History:
    """Train a model in place and leave it with the weights of its best epoch, the one of lowest validation loss.

    Args:
        model: Called as model(input, mask) -> logits (B, K); only weights that require gradients are trained.
        train_loader: Batches to learn from.
        val_loader: Batches that choose the epoch; never the test split.
        epochs: Largest number of passes over the training data.
        lr: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        label_smoothing: Share of the target that is spread over all classes, in training only.
        patience: Stop after this many epochs without a lower validation loss.
        clip_norm: Largest norm of the gradient.
        schedule: "cosine" (falls to 0), "onecycle" (rises for 30 %, then falls) or "constant".
        device: Where to train; None takes CUDA when there is one. On CUDA, training runs in mixed precision.
        seed: Start of the random numbers of torch, numpy and Python.
        checkpoint_dir: Folder of best.pth and last.pth, both written after every epoch they concern; None writes none.
        extra: Plain values stored in the checkpoints, such as classes, sampler and transform.
        resume: Go on from last.pth in checkpoint_dir when it is there; the outcome is that of an uninterrupted run.
        callbacks: Called with each epoch's row once its checkpoints are written.
        progress: Show a progress bar.

    Returns:
        One row per epoch, those of before the interruption included.

    Raises:
        RuntimeError: The loss or the gradient is not finite; the checkpoints of earlier epochs stay.
        ValueError: A setting makes no sense, nothing is trainable, or the checkpoint to resume is of another run.
        OSError: A checkpoint cannot be written.
    """
    settings = Settings(epochs, lr, weight_decay, label_smoothing, patience, clip_norm, schedule, seed)
    if resume and checkpoint_dir is None:
        raise ValueError("resume=True needs the checkpoint_dir of the run to go on with")
    set_seed(seed)
    folder = None if checkpoint_dir is None else Path(checkpoint_dir)
    trainer = Trainer(model, settings, train_loader, val_loader, device=device, folder=folder, extra=extra)
    if resume and folder is not None and (folder / LAST).is_file():
        trainer.resume()
    return trainer.fit(callbacks, progress=progress)


class Trainer:
    """The state of one training run: model, optimizer, schedule, scaler, history and best weights.

    Args:
        model: As in `train_model`, which is the plain way in.
        settings: How to train.
        train_loader: Batches to learn from.
        val_loader: Batches that choose the epoch.
        device: Where to train, None for CUDA when there is one.
        folder: Where the checkpoints go, None for nowhere.
        extra: Plain values stored in the checkpoints.
    """

    def __init__(self, model: nn.Module, settings: Settings, train_loader: DataLoader, val_loader: DataLoader, *,
                 device: str | torch.device | None = None, folder: Path | None = None,
                 extra: Mapping[str, Any] | None = None):
        self.device = pick_device(device)
        self.model = model.to(self.device)
        self.settings, self.folder, self.extra = settings, folder, _plain(extra or {}, "extra")
        self.train_loader, self.val_loader = train_loader, val_loader
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not weights:
            raise ValueError("the model has no weight to train: everything is frozen; unfreeze a stage or add a head")
        if len(train_loader) == 0:
            raise ValueError("the training loader has no batch; check the data folder and the split's persons")
        self.weights = weights
        self.optimizer = torch.optim.AdamW(weights, lr=settings.lr, weight_decay=settings.weight_decay)
        steps = settings.epochs * len(train_loader)
        self.scheduler = Schedule(self.optimizer, settings.schedule, settings.lr, steps)
        self.amp = self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp)
        self.loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        self.history: History = []
        self.best: dict[str, Any] = {"epoch": 0, "val_loss": math.inf, "val_accuracy": 0.0}
        self.best_weights = _on_cpu(model.state_dict())

    def fit(self, callbacks: Iterable[Callback] = (), *, progress: bool = True) -> History:
        """Run the epochs that are left, then restore the best weights; returns the whole history."""
        callbacks = list(callbacks)
        with tqdm(total=self.settings.epochs, initial=len(self.history), desc="training", unit="epoch",
                  disable=not progress, leave=False) as bar:
            while not self.finished():
                row = self.run_epoch(len(self.history) + 1)
                for callback in callbacks:
                    callback(row)
                bar.set_postfix(loss=f"{row['train_loss']:.3f}", val_loss=f"{row['val_loss']:.3f}",
                                val_accuracy=f"{row['val_accuracy']:.3f}")
                bar.update()
        self.model.load_state_dict(self.best_weights)
        return self.history

    def finished(self) -> bool:
        """Tell whether all epochs are done or the validation loss has not improved for `patience` of them."""
        done = len(self.history)
        return done >= self.settings.epochs or done - self.best["epoch"] >= self.settings.patience

    def run_epoch(self, epoch: int) -> Row:
        """Train one epoch (counted from 1), validate, note the best, and write the checkpoints."""
        start = time.perf_counter()
        train_loss, train_accuracy, lr = self._train_epoch(epoch)
        output = evaluate(self.model, self.val_loader, device=self.device)
        if not math.isfinite(output.loss):
            raise RuntimeError(f"the validation loss is {output.loss} in epoch {epoch}, lr {lr:.3g}; {self._remedy()}")
        accuracy = float((output.log_probs.argmax(1) == output.labels).mean())
        row = {"epoch": epoch, "train_loss": train_loss, "train_accuracy": train_accuracy, "val_loss": output.loss,
               "val_accuracy": accuracy, "lr": lr, "seconds": time.perf_counter() - start}
        self.history.append(row)
        improved = output.loss < self.best["val_loss"]
        if improved:
            self.best = {"epoch": epoch, "val_loss": output.loss, "val_accuracy": accuracy}
            self.best_weights = _on_cpu(self.model.state_dict())
        if self.folder is not None:
            for name in (BEST, LAST) if improved else (LAST,):  # best first: last.pth never speaks of a missing best
                self._save(self.folder / name)
        return row

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Return the mean loss and the accuracy over the epoch's items, and the learning rate of its last step."""
        from torchmetrics import SumMetric  # takes a second to import, which only training should wait for

        if hasattr(self.train_loader.dataset, "set_epoch"):
            self.train_loader.dataset.set_epoch(epoch)
        self.model.train()
        losses, correct, count = (SumMetric().to(self.device) for _ in range(3))
        lr = self.settings.lr
        for number, batch in enumerate(self.train_loader, start=1):
            lr = self.scheduler.lr
            inputs, mask, labels = (batch[key].to(self.device, non_blocking=True) for key in ("input", "mask", "label"))
            with torch.autocast(self.device.type, enabled=self.amp):
                logits = self.model(inputs, mask)
            loss = self.loss(logits.float(), labels)
            self._step(loss, f"epoch {epoch}, batch {number} of {len(self.train_loader)}, lr {lr:.3g}")
            losses.update(loss.detach() * len(labels))
            correct.update((logits.argmax(1) == labels).sum())
            count.update(len(labels))
        n = float(count.compute())
        return float(losses.compute()) / n, float(correct.compute()) / n, lr

    def _step(self, loss: Tensor, where: str) -> None:
        """Change the weights by one clipped step; refuse a loss or, outside mixed precision, a gradient of NaN."""
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"the loss is {loss.item()} in {where}; {self._remedy()}")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.weights, self.settings.clip_norm).item()
        if not self.amp and not math.isfinite(norm):  # in mixed precision the scaler skips such a step by itself
            raise RuntimeError(f"the gradient is {norm} in {where}; {self._remedy()}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()

    def _remedy(self) -> str:
        kept = f"; the checkpoints of {len(self.history)} finished epochs stay in {self.folder}" if self.folder else ""
        return f"lower lr (now {self.settings.lr:.3g}) or look for inputs that are not finite{kept}"

    def _save(self, path: Path) -> None:
        save_checkpoint(path, model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, scaler=self.scaler,
                        epoch=len(self.history), best=self.best, history=self.history, settings=asdict(self.settings),
                        rng=_rng_state(self.train_loader), extra=self.extra)

    def resume(self) -> None:
        """Take up the state of last.pth and the best weights of best.pth from the run's folder."""
        assert self.folder is not None
        path = self.folder / LAST
        last, best = load_checkpoint(path), load_checkpoint(self.folder / BEST)
        self._check_same_run(last, path)
        restore_weights(self.model, best)
        self.best, self.best_weights = best["best"], _on_cpu(self.model.state_dict())
        restore_weights(self.model, last)
        self.optimizer.load_state_dict(last["optimizer"])
        self.scheduler.load_state_dict(last["scheduler"])  # after the optimizer: the number of epochs may have grown
        self.scaler.load_state_dict(last["scaler"])
        self.history = [dict(row) for row in last["history"]]
        _restore_rng(last["rng"], self.train_loader)

    def _check_same_run(self, last: Mapping[str, Any], path: Path) -> None:
        """Refuse to go on with other settings: the outcome would be neither run's. Epochs and patience may change."""
        free = ("epochs", "patience")
        old, new = dict(last["settings"] or {}), asdict(self.settings)
        changed = [name for name in new if name not in free and old.get(name) != new[name]]
        changed += [name for name in RESUME_KEYS
                    if name in self.extra and name in last["extra"] and self.extra[name] != last["extra"][name]]
        old, new = {**last["extra"], **old}, {**self.extra, **new}
        if changed:
            what = ", ".join(f"{name} {old.get(name)!r} (now {new[name]!r})" for name in changed)
            raise ValueError(f"{path} was trained with {what}: resume with the same, or start anew in another folder")


@torch.inference_mode()
def evaluate(model: nn.Module, loader: DataLoader, *, device: str | torch.device | None = None,
             progress: bool = False) -> Output:
    """Apply a model to every item of a loader, in single precision and without changing it.

    Raises:
        RuntimeError: The loader did not give every index of its data set exactly once.
    """
    device, was_training = pick_device(device), model.training
    model.to(device).eval()
    logits, labels, indices = [], [], []
    try:
        for batch in tqdm(loader, desc="evaluating", unit="batch", disable=not progress, leave=False):
            logits.append(model(batch["input"].to(device), batch["mask"].to(device)).float().cpu())
            labels.append(batch["label"])
            indices.append(batch["index"])
    finally:
        model.train(was_training)
    if not logits:
        raise ValueError("the loader to evaluate has no batch; check the data folder and the split's persons")
    order = _complete_order(torch.cat(indices), len(loader.dataset))  # type: ignore[arg-type]
    log_probs, truth = torch.cat(logits)[order].log_softmax(-1), torch.cat(labels)[order]
    return Output(log_probs.numpy(), truth.numpy(), nn.functional.nll_loss(log_probs, truth).item())


def _complete_order(indices: Tensor, n: int) -> Tensor:
    seen = torch.bincount(indices, minlength=n)
    if len(indices) != n or len(seen) != n or bool((seen != 1).any()):
        missing, repeated = int((seen[:n] == 0).sum()), int((seen > 1).sum())
        raise RuntimeError(f"{len(indices)} items came for a data set of {n}: {missing} missing, {repeated} more than "
                           "once; evaluate with shuffle and drop_last off, or every item's share is wrong")
    return indices.argsort()


class Schedule:
    """The learning rate as a function of the share of steps done: nothing to remember but the number of steps.

    Args:
        optimizer: Gets the rate of the next step after every `step()`.
        name: One of SCHEDULES.
        peak: The largest rate.
        steps: The number of steps of the whole training.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, name: str, peak: float, steps: int):
        self.optimizer, self.name, self.peak, self.steps, self.done = optimizer, name, peak, steps, 0
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
    """Return the share of the peak learning rate after the share `done` of all steps, both in 0..1."""
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


def save_checkpoint(path: str | os.PathLike, *, model: nn.Module, optimizer: Any = None, scheduler: Any = None,
                    scaler: Any = None, epoch: int = 0, best: Mapping[str, Any] | None = None,
                    history: Sequence[Row] = (), settings: Mapping[str, Any] | None = None,
                    rng: Mapping[str, Any] | None = None, extra: Mapping[str, Any] | None = None) -> None:
    """Write a checkpoint atomically: after a crash the old file or the new one is there, whole.

    A model with `.backbone` and `.head` is stored in these two parts ("backbone", "temporal"); any other one whole
    under "temporal". `extra` holds plain values only: numbers, strings, lists, dicts, None; paths become strings.

    Raises:
        TypeError: `extra` holds something that is not a plain value.
        OSError: The file cannot be written; an earlier one at the same place is untouched.
    """
    backbone, head = _parts(model)
    checkpoint = {
        "format": CHECKPOINT_FORMAT, "version": CHECKPOINT_VERSION, "epoch": epoch,
        "backbone": None if backbone is None else backbone.state_dict(), "temporal": head.state_dict(),
        **{name: None if part is None else part.state_dict()
           for name, part in (("optimizer", optimizer), ("scheduler", scheduler), ("scaler", scaler))},
        "best": _plain(best or {}, "best"), "history": _plain(list(history), "history"),
        "settings": _plain(settings or {}, "settings"), "rng": rng, "extra": _plain(extra or {}, "extra"),
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
        raise FileNotFoundError(f"there is no checkpoint at {path}; train one with `python har.py train`")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} carries objects or code beside weights, or is damaged; it was not loaded. Expected a "
                         "checkpoint written by `python har.py train`") from error
    except Exception as error:  # a file of arbitrary bytes makes the unpickler raise anything
        raise ValueError(f"{path} cannot be read as a checkpoint, it may be cut off ({error}); delete it and train "
                         "anew, or use an older one") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(f"{path} is not a checkpoint of this project (no format {CHECKPOINT_FORMAT!r} in it); "
                         "expected one written by `python har.py train`")
    if checkpoint.get("version") != CHECKPOINT_VERSION:
        raise ValueError(f"{path} has version {checkpoint.get('version')}, this code reads {CHECKPOINT_VERSION}: "
                         "update the project, or train anew")
    return checkpoint


def restore_weights(model: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Load a checkpoint's weights into a model of the same shape; a stored backbone is left out for a bare head.

    Raises:
        ValueError: The model has other weights than the checkpoint.
    """
    backbone, head = _parts(model)
    try:
        head.load_state_dict(checkpoint["temporal"])
        if backbone is not None and checkpoint["backbone"] is not None:
            backbone.load_state_dict(checkpoint["backbone"])
    except RuntimeError as error:
        raise ValueError(f"the checkpoint is of another model than this {type(head).__name__}: {error}") from error


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
        raise OSError(f"cannot write the checkpoint {path} ({error}): free space or choose another folder; an earlier "
                      "checkpoint there is untouched") from error
    finally:
        if partial.exists():
            partial.unlink()


def _plain(value: Any, where: str) -> Any:
    """Reduce a value to what a file can hold without code; TypeError names the place of anything else."""
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
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds numbers, strings, lists and dicts only")


def _on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _rng_state(loader: DataLoader) -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    return {"python": random.getstate(), "torch": torch.get_rng_state(),
            "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "loader": None if loader.generator is None else loader.generator.get_state()}


def _restore_rng(state: Mapping[str, Any], loader: DataLoader) -> None:
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    if state["loader"] is not None and loader.generator is not None:
        loader.generator.set_state(state["loader"])
