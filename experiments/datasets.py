"""The data sets of an experiment: features where its model keeps them, else clips.

Knows experiments, recipes, features and clips. Does not know how a model is trained.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.kth import Segment
from experiments.recipe import Recipe
from experiments.table import Experiment
from utils.data_setup import Augment, ClipSource, VideoDataset
from utils.features import build_features, look_at
from utils.preprocessing import FixedStride, Preprocessing


def keeps_features(model: Any, recipe: Recipe) -> bool:
    """Tell whether features are computed once and kept: the model has a frozen encoder."""
    return hasattr(model, "encode") and not recipe.fine_tune


def dataset_of(
    experiment: Experiment,
    recipe: Recipe,
    segments: Sequence[Segment],
    model: Any,
    *,
    train: bool = False,
    flipped: bool = False,
    **where: Any,
) -> VideoDataset:
    """Return segments as a data set for a model: features where it keeps them, else clips.

    Args:
        experiment: Says what is shown.
        recipe: Says at what size, and whether densely.
        segments: The segments; what cannot be read is left out of features, with a warning.
        model: Whose encoder computes the features.
        train: Clips are sampled at random and augmented, features drawn flipped or not.
        flipped: Keep the features of horizontally flipped clips too.
        **where: cache_dir and progress of `shown_dataset`.
    """
    shown, seed = experiment.shown.resized(recipe.size), recipe.seed if train else None
    kept, augment = keeps_features(model, recipe), None
    if recipe.dense and (kept or not train):
        segments = dense_clips(segments, shown)
    if train and not kept:
        augment = Augment(flip=0.5 if recipe.horizontal_flip else 0.0)
        random = getattr(shown.sampler, "random", lambda: shown.sampler)
        shown = dataclasses.replace(shown, sampler=random())
    return shown_dataset(
        model,
        segments,
        shown,
        clips=not kept,
        flipped=flipped,
        augment=augment,
        seed=seed,
        **where,
    )


def shown_dataset(
    model: Any,
    segments: Sequence[Segment],
    shown: Preprocessing,
    *,
    clips: bool = False,
    flipped: bool = False,
    augment: Augment | None = None,
    seed: int | None = None,
    cache_dir: str | Path | None = None,
    progress: bool = False,
) -> VideoDataset:
    """Return segments as a model is shown them: its encoder's features, else clips.

    A warning names what cannot be read and is left out of features.

    Args:
        model: Whose encoder computes the features; one without an encoder takes clips.
        segments: The segments.
        shown: What is shown of them.
        clips: Take clips in any case.
        flipped: Keep the features of horizontally flipped clips too.
        augment: Random changes of clips.
        seed: Of a data set to train on.
        cache_dir: Where features, and what readers find, are kept; None keeps none.
        progress: Show progress bars.
    """
    where: dict[str, Any] = {"cache_dir": cache_dir, "progress": progress}
    clips, found = clips or not hasattr(model, "encode"), {}
    if clips or hasattr(shown.reader, "span"):
        found = look_at(shown.reader, [segment.video.path for segment in segments], **where)
        segments = [_placed(segment, shown, found) for segment in segments]
    if clips:
        source = ClipSource(segments, shown, augment=augment, found=found)
        return VideoDataset(segments, source, seed=seed)
    features = build_features(
        model.backbone,
        segments,
        shown,
        horizontal_flip=flipped,
        skip_errors=True,
        **where,
    )
    whole, readable = VideoDataset(segments, features, seed=seed), features.readable()
    return whole if len(readable) == len(segments) else whole.subset(readable, seed=seed)


def _placed(
    segment: Segment, shown: Preprocessing, found: Mapping[Path, Mapping[str, np.ndarray]]
) -> Segment:
    """Narrow a segment to where the reader shows somebody."""
    start, stop = shown.span(segment.start, segment.stop, found.get(segment.video.path))
    return dataclasses.replace(segment, start=start, stop=stop)


def dense_clips(segments: Sequence[Segment], shown: Preprocessing) -> list[Segment]:
    """Cut segments into clips of a fixed stride's length, half of it apart and evenly spread.

    Clips keep their segment's name, by which predictions are pooled; with another sampler a segment
    is one clip.
    """
    if not isinstance(shown.sampler, FixedStride):
        return list(segments)
    pieces = []
    for segment in segments:
        length = shown.sampler.clip_length(segment.video.fps)
        room = max(len(segment) - length, 0)
        count = 1 + -(-room // max(length // 2, 1))
        starts = segment.start + np.linspace(0, room, count).round().astype(int)
        pieces += [
            dataclasses.replace(segment, start=int(a), stop=min(int(a) + length, segment.stop))
            for a in starts
        ]
    return pieces
