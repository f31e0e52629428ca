"""A run as TensorBoard and Weights & Biases show it: callbacks of the training, each with a last
word at the end.

Knows epochs' rows of numbers, arrays and the two packages, which are optional and imported when a
logger is made. Does not know models, experiments or files of the run, and the training knows none
of this: it calls a callback. A logger is never worth a training. Whatever goes wrong in one after
it was made is said once, and then it is switched off.
"""

import contextlib
import importlib
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.files import write_text

Numbers = Mapping[str, float]  # by name

PROJECT = "har-human-action-recognition"
SPLITS = {"train": "train", "val": "validation"}


@dataclass(frozen=True)
class Summary:
    """What is to be shown of a finished run, in plain arrays.

    Args:
        epoch: The last epoch; images and scores are filed under it.
        scores: Name -> number, such as the accuracy of the test videos.
        images: Kind, such as "figures" -> title -> image (H, W) or (H, W, 3) uint8.
        embedding: Features (N, D) of N clips, or None.
        classes: Name of the class of each of the N clips.
    """

    epoch: int
    scores: Numbers
    images: Mapping[str, Mapping[str, np.ndarray]]
    embedding: np.ndarray | None = None
    classes: Sequence[str] = ()


class Logger:
    """A callback that can fail without the training failing; see `TensorBoardLogger` and
    `WandbLogger`.

    Args:
        folder: The folder of the run.
        config: The settings of the run.
    """

    title = ""
    # what each logger does in its own way: an epoch's scalars, the last word, letting go
    _log: Callable[..., None]
    _show: Callable[..., None]
    _end: Callable[..., None]

    def __init__(self, folder: str | Path, config: Mapping[str, Any]):
        self.folder, self.config, self.off = Path(folder), dict(config), False
        self._writer: Any = None
        self._try(self._start)

    def __call__(self, row: Numbers) -> None:
        """Log the row of an epoch: all its numbers but the epoch itself, by `tag`."""
        scalars = {tag(name): float(value) for name, value in row.items() if name != "epoch"}
        self._try(self._log, int(row["epoch"]), scalars)

    def finish(self, summary: Summary) -> None:
        """Show what the run came to, and close."""
        self._try(self._show, summary)
        self.close()

    def close(self, failed: bool = False) -> None:
        """Let go of files and connections; harmless when repeated. `failed` marks the run where
        that can be said."""
        self._try(self._close, failed)

    def _try(self, action: Callable[..., None], *args: Any) -> None:
        if self.off:
            return
        try:
            action(*args)
        except Exception as error:  # a full disk, no network, no account, a package's own fault
            self.off = True
            warnings.warn(
                f"{self.title} is switched off for the rest of this run ({type(error).__name__}: "
                f"{error}); training, history.csv and checkpoints go on without it",
                stacklevel=4,
            )
            # it has just failed; that it cannot be closed either is no news
            with contextlib.suppress(Exception):
                self._close(True)

    def _close(self, failed: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._end(writer, failed)

    def _start(self) -> None:
        """Open what should tell of its faults before the training begins."""


class TensorBoardLogger(Logger):
    """Writes event files into the folder "tensorboard" of the run, which `tensorboard --logdir`
    shows: scalars, images and the embedding projector.

    A run that goes on writes a further file there, and what an earlier one says of the epochs that
    are run again no longer counts.
    """

    title = "TensorBoard"

    def _log(self, epoch: int, scalars: Numbers) -> None:
        writer = self._open(purge_step=epoch)
        for name, value in scalars.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()  # at once, so that a full disk is noticed and an interruption loses nothing

    def _show(self, summary: Summary) -> None:
        writer, step = self._open(), summary.epoch
        for name, value in summary.scores.items():
            writer.add_scalar(f"test/{name}", value, step)
        for kind, images in summary.images.items():
            for name, image in images.items():
                writer.add_image(f"{kind}/{name}", image, step, dataformats="HWC"[: image.ndim])
        if summary.embedding is not None:
            # the projector reads text: a third of the bytes
            features = np.round(summary.embedding.astype(float), 4)
            writer.add_embedding(features, list(summary.classes), None, step, "test")
        writer.flush()

    def _open(self, purge_step: int | None = None) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=purge_step)
        return self._writer

    def _end(self, writer: Any, failed: bool) -> None:
        writer.close()


class WandbLogger(Logger):
    """Logs to Weights & Biases, or with WANDB_MODE=offline into files for `wandb sync`.

    W&B keeps its files in the folder of the run and calls the run as that is called. So does the
    file with the id of the W&B run, so a run that goes on is the same run there. The embedding
    stays out: W&B has no projector for so many numbers a row.
    """

    title = "Weights & Biases"

    def _start(self) -> None:
        import wandb

        self._writer = wandb.init(
            project=PROJECT,
            name=self.folder.name,
            config=self.config,
            dir=str(self.folder),
            id=self._id(),
            resume="allow",
            settings=wandb.Settings(console="off"),  # the terminal's output stays the terminal's
        )

    def _id(self) -> str:
        path = self.folder / "wandb-run-id.txt"
        if not path.is_file():
            write_text(path, uuid.uuid4().hex[:12] + "\n")
        return path.read_text(encoding="utf-8").strip()

    def _log(self, epoch: int, scalars: Numbers) -> None:
        self._writer.log({**scalars, "epoch": epoch}, step=epoch)

    def _show(self, summary: Summary) -> None:
        from wandb import Image

        shown = {
            kind: [Image(image, caption=name) for name, image in images.items()]
            for kind, images in summary.images.items()
            if images
        }
        self._writer.log(shown, step=summary.epoch)
        self._writer.summary.update(
            {f"test/{name}": value for name, value in summary.scores.items()}
        )

    def _end(self, writer: Any, failed: bool) -> None:
        writer.finish(exit_code=int(failed))


# by the package that is imported, whose name the extra of pyproject.toml bears too
LOGGERS: dict[str, type[Logger]] = {"tensorboard": TensorBoardLogger, "wandb": WandbLogger}


def require(*names: str) -> None:
    """Check that these loggers can be made, before anything that takes time.

    Raises:
        ValueError: There is no logger of that name.
        ModuleNotFoundError: Its package is not installed; the message says how to install it.
    """
    for name in names:
        if name not in LOGGERS:
            raise ValueError(f"there is no logger {name!r}; the loggers are {', '.join(LOGGERS)}")
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ModuleNotFoundError(
                f"logging to {LOGGERS[name].title} needs the package {name} ({error}): "
                f'`pip install -e ".[{name}]"`, or train without it'
            ) from error


@contextlib.contextmanager
def open_loggers(
    names: Iterable[str], folder: str | Path, *, config: Mapping[str, Any]
) -> Iterator[list[Logger]]:
    """Make the loggers of these names for the run in a folder, each once, and close them whatever
    happens.

    See `require` for what may be raised.
    """
    wanted = list(dict.fromkeys(names))
    require(*wanted)
    opened, failed = [LOGGERS[name](folder, config) for name in wanted], True
    try:
        yield opened
        failed = False
    finally:  # after an interruption too
        for logger in opened:
            logger.close(failed)


def tag(column: str) -> str:
    """Return the tag of a column of the history: "val_loss" -> "loss/validation", which puts both
    losses side by side.

    Columns of no split keep their name.
    """
    split, _, what = column.partition("_")
    return f"{what}/{SPLITS[split]}" if what and split in SPLITS else column
