"""The experiments, one row each: what a model is shown, and which model it is.

Knows names, preprocessing and how a model is built. Does not know data, training or results: a new
idea is a row here and, where it brings a model or a reader of its own, that one's file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from models.followed import followed_classifier
from models.joints import joint_classifier
from models.temporal import frame_classifier
from utils.crop import Crop
from utils.cutout import Cutout
from utils.pose import NUMBERS, Pose
from utils.preprocessing import ClipTransform, FixedStride, Middle, Preprocessing, Uniform


@dataclass(frozen=True)
class Experiment:
    """One way of recognising the action in a segment.

    Args:
        name: Names the row of results, the run folders and the command line's argument.
        title: For headings.
        shown: What the model is shown of a segment, at the size of a default recipe.
        model: Keyword arguments of `build`, all that decides the model but its weights; plain
            values, for they stand in configurations and checkpoints.
        build: Called with num_classes, channels, weights (of a pre-trained encoder; see
            `experiments.recipe.Recipe`) and `model`; returns a network from clips (B, T, C, H, W)
            and a mask (B, T) to logits (B, K). Where it also has `encode`, `backbone` and `head`,
            as `models.temporal.VideoClassifier` has, its features may be computed once and kept.
        whole_file: Take whole files for segments, as if nobody had annotated them.
    """

    name: str
    title: str
    shown: Preprocessing
    model: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[..., nn.Module] = frame_classifier
    whole_file: bool = False

    def to_config(self) -> dict[str, Any]:
        """Return everything that changes the outcome, in plain values."""
        build = getattr(self.build, "func", self.build)  # a partial stands for its function
        return {
            "name": self.name,
            "shown": self.shown.to_config(),
            "model": dict(self.model),
            "build": f"{build.__module__}.{build.__qualname__}",
            "whole_file": self.whole_file,
        }


# Eight frames: on the validation persons sixteen are no better and cost half as much again (see
# `python har.py bench cost`). Spread evenly over a crossing, they move a person by an eighth of the
# image a step whether he walks or runs; at a fixed stride, here 1.2 seconds in all, a runner moves
# farther than a walker.
FRAMES, STRIDE = 8, 0.16
MIDDLE = Preprocessing(Middle())
GHOST = Preprocessing(Uniform(FRAMES), ClipTransform(pool="mean"))
UNIFORM = Preprocessing(Uniform(FRAMES))
STRIDED = Preprocessing(FixedStride(FRAMES, STRIDE))
STACKED = Preprocessing(FixedStride(FRAMES, STRIDE), frame_offset=0.08)
CUTOUT = Preprocessing(FixedStride(FRAMES, STRIDE), frame_offset=0.08, reader=Cutout())
CROP = Preprocessing(FixedStride(FRAMES, STRIDE), frame_offset=0.08, reader=Crop())
JOINTS = Preprocessing(FixedStride(24, 0.08), reader=Pose())
AVERAGE: dict[str, Any] = {"head": "average", "dropout": 0.3}
GRU: dict[str, Any] = {"head": "gru", "hidden": 128, "dropout": 0.3}
TCN: dict[str, Any] = {"head": "tcn", "hidden": 128, "dropout": 0.3, "dilations": (1, 2, 4)}

_ROWS = (
    Experiment("ghost", "Ghost frame", GHOST, AVERAGE),
    Experiment("middle", "Middle frame", MIDDLE, AVERAGE),
    Experiment("average", "Multi-frame averaging", UNIFORM, AVERAGE),
    Experiment("gru_uniform", "Bi-GRU over the whole segment", UNIFORM, GRU),
    Experiment("gru", "EfficientNet-B0 + Bi-GRU", STRIDED, GRU),
    Experiment("average_window", "Averaging at a fixed stride", STRIDED, AVERAGE),
    Experiment("tcn", "EfficientNet-B0 + temporal convolution", STRIDED, TCN),
    Experiment("stacked", "Stacked greyscale, averaged", STACKED, AVERAGE),
    Experiment("stacked_gru", "Stacked greyscale + Bi-GRU", STACKED, GRU),
    Experiment("cutout_gru", "Person cut out, stacked + Bi-GRU", CUTOUT, GRU),
    Experiment(
        "crop_gru",
        "Following the person, stacked + Bi-GRU",
        CROP,
        {**GRU, "numbers": 2},
        followed_classifier,
    ),
    Experiment("pose", "Joints + Bi-GRU", JOINTS, {"in_dim": NUMBERS}, joint_classifier),
    Experiment("ghost_whole", "Ghost frame, whole file", GHOST, AVERAGE, whole_file=True),
    Experiment("middle_whole", "Middle frame, whole file", MIDDLE, AVERAGE, whole_file=True),
)
EXPERIMENTS: dict[str, Experiment] = {row.name: row for row in _ROWS}


def find_experiment(name: str | Experiment) -> Experiment:
    """Return the experiment of a name, or the experiment itself; ValueError lists the names."""
    if isinstance(name, Experiment):
        return name
    if name not in EXPERIMENTS:
        raise ValueError(
            f"there is no experiment {name!r}; the experiments are {', '.join(EXPERIMENTS)}"
        )
    return EXPERIMENTS[name]
