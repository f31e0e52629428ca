"""A run as TensorBoard and Weights & Biases show it: callbacks of the training, each with a last
word at the end.

Knows epochs' rows of numbers, arrays and the two packages, which are optional and imported when a
logger is made. Does not know models, experiments or files of the run, and the training knows none
of this: it calls a callback. A logger is never worth a training. Whatever goes wrong in one after
it was made is said once, and then it is switched off.
"""

import contextlib
import importlib
import os
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = "har-human-action-recognition"
SPLITS = {"train": "train", "val": "validation"}


@dataclass(frozen=True)
class Summary:
    """What is to be shown of a finished run, in plain arrays.

    Args:
        epoch: The last epoch; pictures and scores are filed under it.
        scores: Name -> number, such as the accuracy of the test videos.
        figures: Name -> picture (H, W, 3) uint8, such as the confusion matrix.
        mistakes: Title -> frames (T, H, W) uint8 of a clip that was misread.
        embedding: Features (N, D) of N clips, or None.
        classes: Name of the class of each of the N clips.
        pictures: A small picture (H, W) uint8 of each of the N clips, or None.
    """

    epoch: int
    scores: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, np.ndarray] = field(default_factory=dict)
    mistakes: Mapping[str, np.ndarray] = field(default_factory=dict)
    embedding: np.ndarray | None = None
    classes: Sequence[str] = ()
    pictures: np.ndarray | None = None

    def __post_init__(self):
        if self.embedding is not None and len(self.embedding) != len(self.classes):
            raise ValueError(
                f"an embedding of shape {self.embedding.shape} does not fit {len(self.classes)} "
                "class "
                "names; give (N, D) and N names"
            )
        if self.pictures is not None and len(self.pictures) != len(self.classes):
            raise ValueError(
                f"{len(self.pictures)} pictures do not fit {len(self.classes)} class names"
            )


class Logger:
    """A callback that can fail without the training failing; see `TensorBoardLogger` and
    `WandbLogger`.

    Args:
        folder: Where the logger keeps what it writes; made when the first thing is written.
    """

    package = ""  # what is imported; the extra of pyproject.toml bears the same name
    title = ""

    def __init__(self, folder: str | os.PathLike):
        require(self.package)
        self.folder = Path(folder)
        self.off = False

    def __call__(self, row: Mapping[str, float]) -> None:
        """Log the row of an epoch: all its numbers but the epoch itself, by `tag`."""
        scalars = {tag(name): float(value) for name, value in row.items() if name != "epoch"}
        self._try(lambda: self._log(int(row["epoch"]), scalars))

    def finish(self, summary: Summary) -> None:
        """Show what the run came to, and close."""
        self._try(lambda: self._show(summary))
        self.close()

    def close(self, failed: bool = False) -> None:
        """Let go of files and connections; harmless when repeated. `failed` marks the run where
        that can be said."""
        self._try(lambda: self._close(failed))

    def _try(self, action: Any) -> None:
        if self.off:
            return
        try:
            action()
        except (
            Exception
        ) as error:  # of whatever kind: a full disk, no network, no account, a package's own fault
            self.off = True
            warnings.warn(
                f"{self.title} is switched off for the rest of this run ({type(error).__name__}: "
                f"{error}); "
                "training, history.csv and checkpoints go on without it",
                stacklevel=4,
            )
            with contextlib.suppress(
                Exception
            ):  # it has just failed; that it cannot be closed either is no news
                self._close(True)

    def _log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        raise NotImplementedError

    def _show(self, summary: Summary) -> None:
        raise NotImplementedError

    def _close(self, failed: bool) -> None:
        raise NotImplementedError


class TensorBoardLogger(Logger):
    """Writes event files that `tensorboard --logdir` shows: scalars, pictures and the embedding
    projector.

    A run that goes on writes a further file into the same folder, and what an earlier one says of
    the epochs that are run again no longer counts.
    """

    package, title = "tensorboard", "TensorBoard"

    def __init__(self, folder: str | os.PathLike):
        super().__init__(folder)
        self._writer: Any = None

    def _log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        writer = self._open(purge_step=epoch)
        for name, value in scalars.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()  # at once, so that a full disk is noticed and an interruption loses nothing

    def _show(self, summary: Summary) -> None:
        writer, step = self._open(), summary.epoch
        for name, value in summary.scores.items():
            writer.add_scalar(f"test/{name}", value, step)
        for name, picture in summary.figures.items():
            writer.add_image(f"figures/{name}", picture, step, dataformats="HWC")
        for title, frames in summary.mistakes.items():
            writer.add_image(f"mistakes/{title}", strip(frames), step, dataformats="HW")
        if summary.embedding is not None:
            features = np.round(
                summary.embedding.astype(float), 4
            )  # the projector reads text: a third of the bytes
            writer.add_embedding(
                features, list(summary.classes), _small(summary.pictures), step, "test"
            )
        writer.flush()

    def _open(self, purge_step: int | None = None) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=purge_step)
        return self._writer

    def _close(self, failed: bool) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


class WandbLogger(Logger):
    """Logs to Weights & Biases, or with mode "offline" (or WANDB_MODE=offline) into files for
    `wandb sync`.

    The id of the W&B run is kept in the folder, so a run that goes on is the same run there. The
    embedding stays out: W&B has no projector for so many numbers a row.

    Args:
        folder: Where W&B keeps its files, and the file with the run's id.
        project: The project on W&B.
        name: What the run is called there.
        config: The settings of the run.
        mode: "online", "offline" or "disabled"; None leaves it to WANDB_MODE.
    """

    package, title = "wandb", "Weights & Biases"

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        project: str = PROJECT,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        mode: str | None = None,
    ):
        super().__init__(folder)
        self._run: Any = None
        about = {"project": project, "name": name, "config": dict(config or {}), "mode": mode}
        self._try(lambda: self._open(about))

    def _open(self, about: Mapping[str, Any]) -> None:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(console="off")  # the terminal's output stays the terminal's
        self._run = wandb.init(
            dir=str(self.folder), id=self._id(), resume="allow", settings=quiet, **about
        )

    def _id(self) -> str:
        path = self.folder / "wandb-run-id.txt"
        known = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
        if not known:
            known = uuid.uuid4().hex[:12]
            path.write_text(known + "\n", encoding="utf-8")
        return known

    def _log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        self._run.log({**scalars, "epoch": epoch}, step=epoch)

    def _show(self, summary: Summary) -> None:
        import wandb

        pictures = {
            f"figures/{name}": wandb.Image(picture) for name, picture in summary.figures.items()
        }
        mistakes = [
            wandb.Image(strip(frames), caption=title) for title, frames in summary.mistakes.items()
        ]
        self._run.log(
            {**pictures, **({"mistakes": mistakes} if mistakes else {})}, step=summary.epoch
        )
        self._run.summary.update({f"test/{name}": value for name, value in summary.scores.items()})

    def _close(self, failed: bool) -> None:
        if self._run is not None:
            run, self._run = self._run, None
            run.finish(exit_code=int(failed))


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
    names: Iterable[str], folder: str | os.PathLike, *, config: Mapping[str, Any]
) -> Iterator[list[Logger]]:
    """Make the loggers of these names for the run in a folder, each once, and close them whatever
    happens.

    See `require` for what may be raised.
    """
    folder, wanted = Path(folder), list(dict.fromkeys(names))
    require(*wanted)
    make = {
        "tensorboard": lambda: TensorBoardLogger(folder / "tensorboard"),
        "wandb": lambda: WandbLogger(folder, name=folder.name, config=config),
    }
    opened = [make[name]() for name in wanted]
    try:
        yield opened
    except BaseException:  # an interruption too
        for logger in opened:
            logger.close(failed=True)
        raise
    for logger in opened:
        logger.close()


def tag(column: str) -> str:
    """Return the tag of a column of the history: "val_loss" -> "loss/validation", which puts both
    losses side by side.

    Columns of no split keep their name.
    """
    split, _, what = column.partition("_")
    return f"{what}/{SPLITS[split]}" if what and split in SPLITS else column


def strip(frames: np.ndarray) -> np.ndarray:
    """Lay frames (T, H, W) side by side, (H, T * W)."""
    return np.concatenate(list(frames), axis=1)


def _small(pictures: np.ndarray | None) -> Any:
    """Pictures (N, H, W) uint8 as the projector takes them: (N, 3, H, W) in [0, 1]."""
    if pictures is None:
        return None
    import torch

    return torch.from_numpy(np.repeat(pictures[:, None].astype(np.float32) / 255, 3, axis=1))
