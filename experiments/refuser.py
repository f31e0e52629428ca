"""The head that knows something else by appearance: it refuses, and names nothing.

Knows rendered people: the six actions of KTH-Synth's training persons, and movements that are none
of them, by other persons than those who are judged (`experiments.fusion`). Does not know when its
probability is enough. `python har.py study refusal` compares it with joints alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.files import DEFAULT, place, read_json
from data.kth import ACTIONS, CARD, Segment, Video, dataset_name, load_splits
from data.synthetic import render_others
from data.synthetic.joints import OTHER
from data.synthetic.others import FIRST
from data.video import probe
from experiments.recipe import Recipe
from experiments.table import AVERAGE, EXPERIMENTS
from experiments.training import Fitted, Job, fit, new_model
from utils.checkpoint import TrainingState, save_checkpoint
from utils.data_setup import VideoDataset
from utils.features import concatenate
from utils.predict import SOMETHING_ELSE

SEED = 1  # of the movements to learn from; those that are judged have another, usually 0
PERSONS = 12  # of each kind of movement to learn from
HELD_OUT = 4  # one in so many persons of other movements chooses the epoch and teaches nothing
CLASSES = (*ACTIONS, SOMETHING_ELSE)
# averaged: on the validation persons it refuses hardly less than a Bi-GRU (`har.py study refusal`)
# and has a hundredth of its weights
REFUSER = replace(EXPERIMENTS["cutout_gru"], model=AVERAGE)


class Other(Segment):
    """A part of a video that shows none of the six actions."""

    @property
    def label(self) -> int:
        """The class after the actions'."""
        return OTHER


def train_refuser(
    root: str | Path,
    judged: str | Path,
    out: Path,
    *,
    training: str | Path = DEFAULT,
    persons: int = PERSONS,
    cache_dir: str | Path | None = DEFAULT,
    progress: bool = True,
    **recipe: Any,
) -> dict[str, Any]:
    """Train the head on rendered people, write it without its encoder, and return what is in it.

    Args:
        root: KTH-Synth.
        judged: Other movements that are judged later.
        out: The file.
        training: Others of the kind to learn from, rendered where they are missing.
        persons: Of each kind of movement to learn from.
        cache_dir: Where features and the finder's looks are kept.
        progress: Show progress bars.
        **recipe: Fields of `Recipe`.

    Raises:
        ValueError: The others to judge are those to learn from, or there are few persons.
        OSError: The file cannot be written.
    """
    others = place(training, "Data/KTH-Synth-Others-Train")
    more, splits = to_learn(others, Path(judged), persons, 1), load_splits(root)
    six, where = {part: splits[part] for part in more}, place(cache_dir, "cache")
    job = Job(REFUSER, Recipe(**recipe), dataset_name(root), six, where, progress)
    fitted = fit_seven(job, with_and_without(job, more)[0])
    head: Any = fitted.model.head
    extra = {**job.extra(six["train"]), "classes": list(CLASSES), "auxiliary_data": others.name}
    extra["parameters"] = sum(weight.numel() for weight in head.parameters())
    state = TrainingState(epoch=len(fitted.history))
    save_checkpoint(out, head.cpu().half(), state, extra=extra)
    return extra


def to_learn(training: Path, judged: Path, persons: int, every: int) -> dict[str, list[Segment]]:
    """Render other movements where they are missing, and return those of the persons to train on
    and of those who choose the epoch; ValueError as `train_refuser` raises it."""
    if persons < 2:
        raise ValueError(f"{persons} persons to learn from; one chooses the epoch: give 2 or more")
    if read_json(judged / CARD)["seed"] == SEED:
        raise ValueError(f"{judged} has the persons that are learned from; judge another seed's")
    render_others(training, seed=SEED, persons=persons)
    parts: dict[str, list[Segment]] = {"train": [], "validation": []}
    for segment in other_segments(training):
        number = int(segment.video.person or 0) - FIRST
        if number < persons:
            parts["train" if number % HELD_OUT else "validation"].append(segment)
    return {part: segments[::every] for part, segments in parts.items()}


def other_segments(folder: Path) -> list[Segment]:
    """List videos <kind>/personNN_<kind>_dS.avi, each as one segment; ValueError without any."""
    segments: list[Segment] = []
    for path in sorted(folder.glob("*/*.avi")):
        info, person = probe(path), path.stem.partition("_")[0].removeprefix("person")
        segments.append(Other(Video(path, None, int(person), None, info.fps), 0, 0, info.frames))
    if not segments:
        raise ValueError(f"no videos under {folder}: `python har.py data others` renders them")
    return segments


def with_and_without(
    job: Job, more: Mapping[str, Sequence[Segment]]
) -> tuple[dict[str, VideoDataset], dict[str, VideoDataset]]:
    """Return a job's parts with these segments added, and without them; features of the six are
    shared."""
    six, others = (
        {part: job.dataset(side[part], job.recipe, train=part == "train") for part in more}
        for side in (job.splits, more)
    )
    return {part: _together(six[part], others[part]) for part in more}, six


def fit_seven(job: Job, parts: Mapping[str, VideoDataset]) -> Fitted:
    """Train a head of seven classes on a job's encoder."""
    backbone = job.model.backbone
    model = new_model(job.experiment, job.recipe, num_classes=len(CLASSES), backbone=backbone)
    return fit(job.experiment, job.recipe, parts, model=model)


def _together(one: VideoDataset, other: VideoDataset) -> VideoDataset:
    sources: list[Any] = [one.source, other.source]
    return VideoDataset([*one.segments, *other.segments], concatenate(sources), seed=one.seed)
