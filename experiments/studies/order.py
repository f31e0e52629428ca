"""One story about order: what does the Bi-GRU have that a head without order lacks?

Knows the controls: heads that average before they classify, frames shuffled in training or at test
time, frames without a person left out, as many frames as stacked greyscale decodes, fewer frames,
and who a feature says somebody is. Everything is trained on the training persons and counted on
the validation persons; the test persons play no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from tqdm import tqdm

from data.files import DEFAULT, place
from data.kth import Segment, load_splits
from evaluation.predictions import Predictions, Score
from experiments.datasets import dataset_of
from experiments.recipe import Recipe
from experiments.studies import accuracy_row, changed
from experiments.table import AVERAGE, EXPERIMENTS, GRU, TCN, Experiment
from experiments.training import Fitted, fit, new_model
from tracking.measurements import Row
from utils.cutout import Cutout
from utils.data_setup import VideoDataset, create_dataloaders
from utils.engine import evaluate
from utils.features import Features, look_at
from utils.preprocessing import FixedStride, Preprocessing

LINE: dict[str, Any] = {"head": "mean", "dropout": 0.3}
MLP: dict[str, Any] = {**LINE, "hidden": 840}  # as many parameters as the Bi-GRU: 1.09 million
HEADS = {
    "frames classified, probabilities averaged": AVERAGE,
    "mean feature, linear": LINE,
    "mean feature, MLP of the Bi-GRU's size": MLP,
    "Bi-GRU": GRU,
    "temporal convolution": TCN,
}
GRU_SHUFFLED = "Bi-GRU trained on shuffled frames"
SEEN = range(1, 9)  # frames at test time
QUICK: dict[str, Any] = {"seeds": (0,), "fast": True, "only": ("8 grey frames",)}


def run(
    root: str | Path,
    *,
    imagenet: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    only: Sequence[str] = (),
    cache_dir: str | Path | None = DEFAULT,
    **recipe: Any,
) -> list[Row]:
    """Train every head and every control, and count the validation persons' segments.

    Args:
        root: Folder in KTH's layout.
        imagenet: ImageNet weights, "imagenet" to download them or a file; None leaves the row of
            whom its features name out.
        seeds: Of the heads.
        only: Words of which a task must contain one; all tasks when there are none.
        cache_dir: Where features and the finder's looks are kept.
        **recipe: Fields of `Recipe` for all rows, such as fast=True.
    """
    study = _Study(Path(root), place(cache_dir, "cache"), recipe, tuple(seeds))
    tasks: dict[str, Callable[[str], Iterator[Row]]] = {
        "head on 8 grey frames": study.heads,
        "head on 8 grey frames, no label smoothing": study.heads_unsmoothed,
        "frames without a person left out": study.without_empty,
        "as many decoded frames as stacked greyscale": study.decoded,
        "only the first frames at test time": study.first_frames,
        "naming the person of a segment": lambda task: study.persons(task, imagenet),
    }
    wanted = [task for task in tasks if not only or any(word in task for word in only)]
    return [row for task in tqdm(wanted, "order", leave=False) for row in tasks[task](task)]


@dataclass(frozen=True)
class _Study:
    """What all tasks share: the data set, where features are kept, how is trained, the seeds."""

    root: Path
    cache: Path
    recipe: Mapping[str, Any]
    seeds: tuple[int, ...]

    @cached_property
    def splits(self) -> dict[str, list[Segment]]:
        """The segments to train on and to count."""
        splits = load_splits(self.root, fast=bool(self.recipe.get("fast")))
        return {part: splits[part] for part in ("train", "validation")}

    def parts(self, row: Experiment, settings: Recipe) -> dict[str, VideoDataset]:
        """Return both parts as features; the one to train on draws by the seed."""
        model = new_model(row, settings)
        return {
            part: dataset_of(
                row, settings, segments, model, train=part == "train", cache_dir=self.cache
            )
            for part, segments in self.splits.items()
        }

    def fitted(
        self,
        row: Experiment,
        seed: int,
        change: Callable[[dict[str, VideoDataset]], dict[str, VideoDataset]] = lambda parts: parts,
        **recipe: Any,
    ) -> tuple[Fitted, dict[str, VideoDataset]]:
        """Train one seed; also return the parts that it was trained and counted on."""
        settings = Recipe(seed=seed, **{**self.recipe, **recipe})
        parts = change(self.parts(row, settings))
        return fit(row, settings, parts), parts

    def counted(self, row: Experiment, **how: Any) -> list[Score]:
        """Return the validation score of each seed."""
        return [self.fitted(row, seed, **how)[0].predictions.score() for seed in self.seeds]

    def heads(self, task: str, **recipe: Any) -> Iterator[Row]:
        """Give each head on the same frames, and the GRU trained on shuffled ones."""
        for method, model in HEADS.items():
            row = replace(EXPERIMENTS["gru"], model=model)
            yield accuracy_row(task, method, self.counted(row, **recipe))
        shuffled = self.counted(EXPERIMENTS["gru"], change=_shuffled, **recipe)
        yield accuracy_row(task, GRU_SHUFFLED, shuffled)

    def heads_unsmoothed(self, task: str) -> Iterator[Row]:
        """Give the same without label smoothing."""
        return self.heads(task, label_smoothing=0.0)

    def without_empty(self, task: str) -> Iterator[Row]:
        """Leave frames out in which nobody is found, in training and at test time."""
        paths = [segment.video.path for part in self.splits.values() for segment in part]
        found = look_at(Cutout(), paths, cache_dir=self.cache)
        for name in ("gru_uniform", "average", "gru", "average_window"):
            row = EXPERIMENTS[name]

            def shortened(
                parts: dict[str, VideoDataset], row: Experiment = row
            ) -> dict[str, VideoDataset]:
                return {part: _occupied(data, row.shown, found) for part, data in parts.items()}

            yield accuracy_row(task, f"{row.title}, all frames", self.counted(row))
            left = self.counted(row, change=shortened)
            yield accuracy_row(task, f"{row.title}, empty ones left out", left)

    def decoded(self, task: str) -> Iterator[Row]:
        """Compare stacks with single grey frames, as many and three times as many."""
        grey, stacked = EXPERIMENTS["gru"], EXPERIMENTS["stacked"]
        dense = replace(grey.shown, sampler=FixedStride(24, 1.28 / 24))
        shown = {
            "8 grey frames": grey.shown,
            "24 grey frames": dense,
            "8 stacks of 3 frames": stacked.shown,
        }
        for head in ("frames classified, probabilities averaged", "mean feature, linear", "Bi-GRU"):
            for name, what in shown.items():
                row = replace(grey, shown=what, model=HEADS[head])
                yield accuracy_row(task, f"{name}, {head}", self.counted(row))

    def first_frames(self, task: str) -> Iterator[Row]:
        """Show trained heads fewer and fewer frames, the first ones."""
        for name in ("average_window", "gru"):
            row = EXPERIMENTS[name]
            trained = [self.fitted(row, seed) for seed in self.seeds]
            for count in SEEN:
                scores = [_score(fitted, parts["validation"], count) for fitted, parts in trained]
                yield accuracy_row(task, f"{row.title}, {count} of 8", scores)

    def persons(self, task: str, imagenet: str | None) -> Iterator[Row]:
        """Let a logistic regression name the person, of the 16 who train and validate."""
        segments = [segment for part in self.splits.values() for segment in part]
        for encoder, weights in {"bundled": "bundled", "ImageNet": imagenet}.items():
            if weights is not None:
                settings = Recipe(**{**self.recipe, "weights": weights})
                row = EXPERIMENTS["average_window"]
                model = new_model(row, settings)
                data = dataset_of(row, settings, segments, model, cache_dir=self.cache)
                yield accuracy_row(task, f"{encoder} encoder", [named_persons(data)])


class _Shuffled(Features):
    """Features whose frames come in another order each time they are trained on."""

    def load(self, index: int, rng: np.random.Generator | None = None) -> Tensor:
        """Return item `index` as (T_i, D), its frames in the order of the rng."""
        item = super().load(index, rng)
        return item if rng is None else item[rng.permutation(len(item))]


def _shuffled(parts: dict[str, VideoDataset]) -> dict[str, VideoDataset]:
    """Shuffle the frames to train on; those that are counted stay as filmed."""
    train = parts["train"]
    source = _Shuffled(cast(Features, train.source).items)
    return {**parts, "train": VideoDataset(train.segments, source, seed=train.seed)}


def _occupied(
    data: VideoDataset, shown: Preprocessing, found: Mapping[Path, Mapping[str, np.ndarray]]
) -> VideoDataset:
    """Keep the frames in which somebody is found; all of a clip where nobody is in any."""
    kept = []
    for segment, item in zip(data.segments, cast(Features, data.source).items, strict=True):
        frames = shown.frames(segment.start, segment.stop, segment.video.fps)
        there = Cutout().there(found[segment.video.path], frames)
        kept.append(item[:, there] if there.any() else item)
    return VideoDataset(data.segments, Features(kept), seed=data.seed)


def _score(fitted: Fitted, data: VideoDataset, count: int) -> Score:
    """Return the score of a trained head that is shown the first `count` frames."""
    shorter = changed(data, lambda item: item[:, :count])
    loader = create_dataloaders({"evaluation": shorter}, batch_size=64)["evaluation"]
    log_probs, _ = evaluate(cast(Any, fitted.model).head, loader)
    return Predictions.of(log_probs, data.segments).pooled("segment").score()


def named_persons(data: VideoDataset) -> Score:
    """Train on the first segment of each file, and count the others whose person is named."""
    items = cast(Features, data.source).items
    means = np.stack([item[0].astype(np.float32).mean(0) for item in items])
    persons = np.array([segment.video.person for segment in data.segments])
    first = np.array([segment.index == 0 for segment in data.segments])
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    probe.fit(means[first], persons[first])
    return Score(int((probe.predict(means[~first]) == persons[~first]).sum()), int((~first).sum()))
