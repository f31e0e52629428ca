"""How a run is made: the settings that are not the experiment's own.

Knows settings and their help on the command line. Does not know models or data, and imports neither
torch nor numpy, so that the command line can ask for its flags at once.
"""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.engine import Settings

FAST_EPOCHS = 4


def _flag(default: Any, text: str) -> Any:
    """A field of the recipe with its help on the command line."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Recipe:
    """How a run is made; two runs of one experiment, one data set and one recipe are the same run.

    The command line makes a flag of every field but the seed; the texts here are its help.
    """

    weights: str | None = _flag(
        "bundled", "of the encoder: bundled, imagenet, a file, or random (None in Python)"
    )
    size: tuple[int, int] = _flag((96, 128), "height and width of a frame in pixels")
    horizontal_flip: bool = _flag(False, "train on horizontally flipped clips too")
    auxiliary_root: str | None = _flag(
        None, "another folder, all segments of which are trained on too; its persons must be others"
    )
    person: str | None = _flag(
        None,
        "who is in a file: a regular expression found in <class>/<file>, such as 'subj(\\d+)', or "
        "a CSV file with the columns file,person",
    )
    dense: bool = _flag(
        False, "train and evaluate on clips all over a segment, half a clip length apart"
    )
    seed: int = 0
    fast: bool = _flag(False, "a small part of the data and few epochs; the numbers mean nothing")
    fine_tune: int = _flag(
        0, "how many stages of the encoder, counted from the end, are trained with the head"
    )
    batch_size: int = _flag(64, "clips in a training step")
    epochs: int = _flag(40, "largest number of passes over the training data")
    lr: float = _flag(1e-3, "peak learning rate; a tenth of it when stages are tuned")
    weight_decay: float = _flag(1e-2, "weight decay of AdamW")
    label_smoothing: float = _flag(0.1, "share of the target spread over all classes, in training")
    patience: int = _flag(10, "stop after so many epochs without a lower validation loss")
    schedule: str = _flag("cosine", "of the learning rate: cosine, onecycle or constant")

    def settings(self) -> Settings:
        """Return the settings of the training loop; ValueError when one makes no sense."""
        from utils.engine import Settings  # torch, for which the command line's help does not wait

        names = ("weight_decay", "label_smoothing", "patience", "schedule", "seed")
        return Settings(
            epochs=min(self.epochs, FAST_EPOCHS) if self.fast else self.epochs,
            lr=self.lr / 10 if self.fine_tune else self.lr,
            **{name: getattr(self, name) for name in names},
        )

    def in_words(self) -> str:
        """Say in which settings it differs from the default, those with their own columns apart."""
        told = ("weights", "size", "auxiliary_root", "person", "seed", "fast", "fine_tune")
        words = []
        for setting in dataclasses.fields(self):
            value, name = getattr(self, setting.name), setting.name.replace("_", " ")
            if setting.name not in told and value != setting.default:
                words.append(name if value is True else f"{name} {value}")
        return ", ".join(words)

    def to_config(self) -> dict[str, Any]:
        """Return the settings in plain values; a rule for persons only where there is one."""
        settings = dataclasses.asdict(self)
        return {k: v for k, v in settings.items() if k != "person" or v is not None}

    def weights_in_words(self) -> str:
        """Name the weights of the encoder, and how many of its stages are tuned."""
        name = "random" if self.weights is None else self.weights
        name = name if name in ("bundled", "imagenet", "random") else Path(name).name
        return name + (f", {self.fine_tune} stages tuned" if self.fine_tune else "")


def add_flags(group: Any) -> None:
    """Add a flag for every field of a recipe that has a help text; not given, it stays None."""
    for setting in dataclasses.fields(Recipe):
        if text := setting.metadata.get("help"):
            default = setting.default
            if default is False:
                how: dict[str, Any] = {"action": "store_true", "default": None}
            elif isinstance(default, tuple):
                how = {"nargs": len(default), "type": int, "metavar": ("HEIGHT", "WIDTH")}
            else:
                how = {"type": str if default is None else type(default), "metavar": "VALUE"}
            shown = "" if default in (None, False) else f" (default: {default})"
            flag = f"--{setting.name.replace('_', '-')}"
            group.add_argument(flag, help=text + shown, **how)


def from_flags(args: Namespace) -> dict[str, Any]:
    """Collect the fields of a recipe that the command line names."""
    named = {f.name: getattr(args, f.name, None) for f in dataclasses.fields(Recipe)}
    recipe = {name: value for name, value in named.items() if value is not None}
    if recipe.get("weights") == "random":
        recipe["weights"] = None
    if "size" in recipe:
        recipe["size"] = tuple(recipe["size"])
    return recipe
