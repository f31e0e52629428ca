"""What a .pth of ours holds: the checkpoints of a training, and the weights of a backbone.

Knows what is in these files, how they are written whole and read without running anything in them,
which two of them a training's folder holds, and when two trainings are the same run. Does not know
how a training goes, nor what the plain values of `extra` mean.
"""

import math
import os
import random
import re
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data.files import written_whole
from data.schema import check
from utils.parallel import barrier, broadcast, gather, is_main_process, rank, world_size

CHECKPOINT_FORMAT, CHECKPOINT_VERSION = "har-checkpoint", 2
BEST, LAST = "best.pth", "last.pth"
# what a resumed run may have otherwise, by whatever name it lies under
FREE = ("epochs", "patience", "device", "versions")
DESCRIBED = ("epoch", "best", "history", "settings", "batches")
# what is always told of an epoch
EPOCH = {
    name: int if name == "epoch" else float
    for name in ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
}
STORED = {
    "backbone": (dict, None),
    "temporal": dict,
    "epoch": int,
    "best": {"epoch": int, "val_loss": float},
    "history": [EPOCH],
    "settings": dict,
    "batches": (dict, None),
    "processes": [dict],
    "extra": dict,
}
# what torch's refusal of an object says of it, among advice
UNPICKLER = re.compile(
    r"(?:WeightsUnpickler error: |Trying to load )(.*?)(?: was not an allowed|\n|$)"
)
Named = Mapping[str, Any]  # values by name
# models that hold another as `module`; what they and torch.compile put before a weight's name
WRAPPERS = (nn.DataParallel, DistributedDataParallel)
WRAPPED = re.compile(r"^module\.|(?<![^.])_orig_mod\.")


@dataclass
class Progress:
    """How far an epoch has come in this process: batches done, sums over the items, and more.

    `loss` sums the plain cross-entropy, not the smoothed one that is learnt from; `lr` is the last
    step's, `seconds` those spent on the epoch.
    """

    batch: int = 0
    loss: float = 0.0
    correct: float = 0.0
    count: float = 0.0
    lr: float = 0.0
    seconds: float = 0.0


@dataclass
class TrainingState:
    """What a checkpoint says of a training beside weights and `extra`; all that it goes on from.

    Attributes:
        epoch: The number of finished epochs.
        best: Epoch, val_loss and val_accuracy of the best one; epoch 0 before the first.
        history: A row for every finished epoch.
        settings: How it is trained, plain values.
        batches: What makes the order of the batches, plain values; None if unknown.
        parts: What else has a state, such as optimizer, scheduler and scaler, by these names.
        progress: Of the epoch that has begun.
        processes: Random state and progress of every process, once written; empty for a model that
            is done.
        best_weights: Those of the best epoch, on the CPU; not written, best.pth holds them.
        random: Random state for an epoch that is taken up amid, once its loader has started; not
            written.
    """

    epoch: int = 0
    best: Named = field(default_factory=lambda: {"epoch": 0, "val_loss": math.inf})
    history: list[dict[str, Any]] = field(default_factory=list)
    settings: Named = field(default_factory=dict)
    batches: Named | None = None
    parts: Named = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    processes: list[dict[str, Any]] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    random: Named | None = None

    def keep_best(self, best: Named, model: nn.Module) -> None:
        """Note that the model's weights of now are the best so far."""
        weights = model.state_dict().items()
        self.best = best
        self.best_weights = {name: value.cpu().clone() for name, value in weights}


class Checkpoints:
    """best.pth and last.pth of one training; every process makes one, and the first one writes.

    Args:
        folder: Where the two are; None for nowhere, then nothing is written.
        model: Whose weights they hold.
        state: What else they hold.
        extra: Plain values that are stored with it.
        every: Seconds after which last.pth is due amid an epoch; None for never.
    """

    def __init__(
        self,
        folder: Path | None,
        model: nn.Module,
        state: TrainingState,
        *,
        extra: Named | None,
        every: float | None,
    ):
        self.folder, self.model, self.state, self.every = folder, model, state, every
        self.extra = plain(extra or {}, "extra")
        self.fresh = True  # nothing of this run is written yet
        self.written = time.monotonic()  # when last.pth was, or when the training began

    def due(self) -> bool:
        """Tell whether last.pth is to be written amid the epoch: the first process's clock says."""
        if self.folder is None or self.every is None:
            return False
        return broadcast(time.monotonic() - self.written >= self.every)

    def save(self, *names: str) -> None:
        """Write checkpoints of what is now; all processes learn whether that worked."""
        if self.folder is None:
            return
        own = {"rng": rng_state(), "progress": asdict(self.state.progress)}
        self.state.processes = gather(own)
        with barrier("writing a checkpoint"):
            if is_main_process():
                # an earlier run's go, lest they mix: the last first, without it nothing is resumed
                for name in (LAST, BEST) if self.fresh else ():
                    (self.folder / name).unlink(missing_ok=True)
                self.fresh = False
                for name in names:
                    save_checkpoint(self.folder / name, self.model, self.state, extra=self.extra)
        self.written = time.monotonic()

    def sweep(self) -> None:
        """Remove what writers that were killed left half written."""
        if self.folder is not None and is_main_process():
            for partial in self.folder.glob(".*.part.pth"):
                partial.unlink(missing_ok=True)

    def resume(self) -> None:
        """Take up the state of last.pth and the best weights of best.pth.

        best.pth may be an epoch ahead, see `Trainer.run_epoch`; amid the first epoch there may be
        none. Process r of w goes on with the sums of the processes r, r + w, ... of before.

        Raises:
            ValueError: A file cannot be read, see `load_checkpoint`, is of another run, or holds no
                state to go on from.
        """
        assert self.folder is not None
        state, path, best = self.state, self.folder / LAST, self.folder / BEST
        last = load_checkpoint(path)
        check_same_run(path, last, state, self.extra)
        if last["best"]["epoch"] or best.is_file():
            stored = load_checkpoint(best)
            restore_weights(self.model, stored)
            state.keep_best(stored["best"], self.model)
        restore_weights(self.model, last)
        try:
            self._take_up(last)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} was changed or written by other code, and cannot be gone on from "
                f"({type(error).__name__}: {error}): start anew in another folder"
            ) from error
        self.fresh = False

    def _take_up(self, last: Named) -> None:
        """Take up all of last.pth but the weights."""
        state = self.state
        if len(last["history"]) != last["epoch"]:
            raise ValueError(f"{last['epoch']} epochs, of which it tells {len(last['history'])}")
        for name, part in state.parts.items():
            part.load_state_dict(last[name])
        state.epoch, state.history = last["epoch"], last["history"]
        before = last["processes"]
        own = [one["progress"] for one in before[rank() :: world_size()]]
        sums = {name: sum(one[name] for one in own) for name in ("loss", "correct", "count")}
        state.progress = Progress(**before[0]["progress"] | sums)
        if rank() < len(before):  # a new process keeps the numbers it started with
            restore_rng(before[rank()]["rng"])
            state.random = before[rank()]["rng"] if state.progress.batch else None


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    state: TrainingState,
    *,
    extra: Named | None = None,
) -> None:
    """Write a checkpoint whole: after a crash the old file or the new one is there.

    A model with `.backbone` and `.head` is stored in these two parts ("backbone", "temporal"); any
    other one whole under "temporal"; one that `torch.compile` or DataParallel wraps under the names
    that it has without them. `extra` holds plain values only: numbers, strings, lists,
    dicts, None; paths become strings.

    Raises:
        TypeError: Something is not a plain value.
        OSError: The file cannot be written; an earlier one at the same place is untouched.
    """
    backbone, head = _parts(model)
    described = {name: getattr(state, name) for name in DESCRIBED} | {"extra": extra or {}}
    payload = {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "backbone": None if backbone is None else _weights(backbone),
        "temporal": _weights(head),
        **{name: plain(value, name) for name, value in described.items()},
        **{name: part.state_dict() for name, part in state.parts.items()},
        "processes": state.processes,
    }
    _write(payload, path)


def save_backbone(backbone: Any, path: str | Path, *, card: Named) -> None:
    """Write an EfficientNetBackbone's weights whole; see its `payload` for `card`.

    Raises:
        ValueError: See `EfficientNetBackbone.payload`.
        OSError: The file cannot be written; an earlier one at the same place is untouched.
    """
    _write(backbone.payload(card), path)


def _write(payload: dict[str, Any], path: str | Path) -> None:
    try:
        with written_whole(path) as partial:
            torch.save(payload, partial)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise OSError(
            f"cannot write {path} ({error}): free space or choose another folder; an earlier file "
            "there is untouched"
        ) from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU without running anything in it; see `save_checkpoint`.

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
        _check_archive(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of arbitrary bytes makes the unpickler raise anything
        raise ValueError(
            f"{path} is cut off or damaged, or carries objects or code beside weights, and was not "
            f"loaded ({_said(error)}); use an older one, or train anew with `python har.py train "
            "NAME --force`, which takes another folder"
        ) from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != CHECKPOINT_FORMAT:
        raise ValueError(
            f"{path} is not a checkpoint of this project (no format {CHECKPOINT_FORMAT!r} in it); "
            "expected one written by `python har.py train`"
        )
    if checkpoint.get("version") != CHECKPOINT_VERSION:
        raise ValueError(
            f"{path} has version {checkpoint.get('version')}, this code reads "
            f"{CHECKPOINT_VERSION}: update the project, or train anew"
        )
    try:
        check(checkpoint, STORED, "it")
        _check_tensors(checkpoint, path.stat().st_size, "it")
    except ValueError as error:
        raise ValueError(
            f"{path} is a checkpoint that was changed or written by other code: {error}"
        ) from error
    return checkpoint


def _said(error: Exception) -> str:
    """Return what an error of reading says in one line, without torch's advice to run the file's
    code all the same."""
    found = UNPICKLER.search(str(error))
    return found[1] if found else str(error).partition("\n")[0]


def _check_archive(path: Path) -> None:
    """Refuse a file that is damaged, or would fill the memory with what is not in it.

    torch stores weights as they are, so that nothing in its archives unpacks to more than it takes
    on the disk. It writes their checksums too, and never looks at them.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > path.stat().st_size:
            raise ValueError(f"it unpacks to {size:,} bytes, {path.stat().st_size:,} are there")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it has another checksum than when it was written")
        for entry in entries:
            if entry.filename.endswith(".pkl") and b"bytearray" in archive.read(entry):
                raise ValueError("it makes arrays of bytes, of which weights need none")


def _check_tensors(value: Any, most: int, where: str) -> None:
    """Refuse a nested value with a tensor that is larger than what the file holds of it, of `most`
    bytes in all."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_tensors(inner, most, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check_tensors(inner, most, f"{where}[{number}]")
    elif isinstance(value, Tensor):
        dense = value.layout == torch.strided and value.device.type == "cpu"
        held = value.untyped_storage().nbytes() if dense else 0
        if value.numel() * value.element_size() > held or held > most:
            raise ValueError(f"{where} has shape {tuple(value.shape)} and does not hold it")


def restore_weights(model: nn.Module, checkpoint: Named) -> None:
    """Load a checkpoint's weights into a model of the same shape; a stored backbone is left out for
    a bare head.

    Raises:
        ValueError: The model has other weights than the checkpoint, or one there is no finite
            number.
    """
    backbone, head = _parts(model)
    try:
        _load(head, checkpoint["temporal"])
        if backbone is not None and checkpoint["backbone"] is not None:
            _load(backbone, checkpoint["backbone"])
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint is of another model than this {type(head).__name__}: {error}"
        ) from error


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights by the names that they have without a wrapper."""
    return {_unwrapped(name, model): value for name, value in model.state_dict().items()}


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights by name, whichever of model and weights was wrapped."""
    own = model.state_dict()
    names = {_unwrapped(name, model): name for name in own}
    if not weights.keys() <= names.keys():
        weights = {WRAPPED.sub("", name): value for name, value in weights.items()}
    weights = {names.get(name, name): value for name, value in weights.items()}
    for name in own.keys() & weights.keys():
        _check_finite(name, weights[name], own[name])
    model.load_state_dict(weights)


def _check_finite(name: str, given: Any, own: Tensor) -> None:
    """Refuse a weight that is no finite number: a model would answer all the same, with its first
    class or at random."""
    real = isinstance(given, Tensor) and given.is_floating_point() == own.is_floating_point()
    if not (real and given.isfinite().all()):
        raise ValueError(
            f"the checkpoint's weight {name} ({getattr(given, 'dtype', type(given).__name__)}) "
            "holds what is no finite number: its training diverged, or the file was changed; train "
            "anew"
        )


def _unwrapped(name: str, model: nn.Module) -> str:
    """Return the name of a weight without what the wrappers of its modules put in front."""
    kept, part = [], model
    for step in name.split("."):
        wraps = isinstance(part, WRAPPERS) and step == "module"
        if not (wraps or step == "_orig_mod"):
            kept.append(step)
        part = part._modules.get(step) or part
    return ".".join(kept)


def _parts(model: Any) -> tuple[nn.Module | None, nn.Module]:
    while isinstance(model, WRAPPERS):
        model = model.module
    whole = hasattr(model, "backbone") and hasattr(model, "head")
    return (model.backbone, model.head) if whole else (None, model)


def check_same_run(path: Path, checkpoint: Named, state: TrainingState, extra: Named) -> None:
    """Refuse to go on with another run's checkpoint: the outcome would be neither's.

    Settings, batches and `extra` count as a whole, but for the entries named in FREE.

    Raises:
        ValueError: Something differs, and what; or the checkpoint is of a model that is done.
    """
    if not checkpoint["processes"]:
        raise ValueError(
            f"{path} holds a model to predict with and nothing that a training could go on from: "
            "start anew in another folder, as `python har.py train NAME --force` does"
        )
    now = {"settings": state.settings, "batches": state.batches, "extra": extra}
    changed = [text for name in now for text in _differences(checkpoint[name], now[name], name)]
    if changed:
        raise ValueError(
            f"{path} was trained with {', '.join(changed)}: resume with the same, or start anew in "
            "another folder"
        )


def _differences(old: Any, new: Any, name: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in {**old, **new}:
            if key not in FREE:
                yield from _differences(old.get(key), new.get(key), f"{name}.{key}")
    elif old != new:
        yield f"{name} {old!r} (now {new!r})"


def plain(value: Any, where: str) -> Any:
    """Reduce a value to what a file can hold without code; TypeError names the place of anything
    else."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (os.PathLike, torch.device)):
        return str(value)
    raise TypeError(
        f"{where} is a {type(value).__name__}; a checkpoint holds numbers, strings, lists and "
        "dicts only"
    )


def rng_state() -> dict[str, Any]:
    """Return the states of the random numbers of Python, torch (CPU and this GPU) and numpy."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_rng(state: Named) -> None:
    """Go on with the random numbers of `rng_state`."""
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    np.random.set_state(tuple(state["numpy"]))
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
