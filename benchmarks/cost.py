"""Accuracy against cost: what size and number of frames buy on the validation persons, and what a
clip then takes.

The frames of one clip of real time (1.3 seconds) are encoded once at each size; fewer frames are
every second, fourth or eighth of them, so all settings see the same time. Heads are trained on the
training persons and evaluated on the validation persons; the test persons play no part, for from
this table the defaults are chosen. Knows features, heads and clocks.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from benchmarks.measure import interleaved, spread
from data.files import DEFAULT
from data.kth import FPS, load_splits
from experiments import table
from experiments.recipe import Recipe
from experiments.studies import accuracy_row, changed
from experiments.training import fit, new_model
from models.backbone import EfficientNetBackbone
from tracking.measurements import Row
from utils.data_setup import VideoDataset
from utils.engine import pick_device
from utils.features import build_features
from utils.preprocessing import ClipTransform, FixedStride, Preprocessing

HEIGHTS, FRAMES = (64, 96, 112, 128, 160, 224), (4, 8, 16, 32)
ACCURACY, TIME = "accuracy, validation segments", "time a clip, file to features"
CHOSEN = (Recipe().size[0], table.FRAMES)  # what was chosen by this very table
FLIPPED = ", horizontal flips too"
TIMED = 24  # segments that the time of a clip is measured on
# of the segments is used: one of each file, so that all persons, actions and scenarios are there
EVERY = 2
EPOCHS = 20  # half of the default's, on the same falling learning rate
LENGTH = 32  # of a clip, at most: frames from its start to its end
QUICK = {
    "heights": (32,),
    "frames": (4, 8),
    "default": (32, 8),
    "seeds": (0,),
    "repeats": 1,
    "cache_dir": None,
}


def run(
    root: str | Path,
    *,
    heights: Sequence[int] = HEIGHTS,
    frames: Sequence[int] = FRAMES,
    default: tuple[int, int] = CHOSEN,
    seeds: Sequence[int] = (0, 1, 2),
    repeats: int = 2,
    cache_dir: str | Path | None = DEFAULT,
) -> list[Row]:
    """Measure every pair of a height (the width is 4/3 of it) and a number of frames; two rows
    each.

    The last row is the default height and number of frames with flipped training clips too.
    """
    found = load_splits(root)
    splits = {split: found[split][::EVERY] for split in ("train", "validation")}
    timed = spread(splits["train"], TIMED)
    backbone = EfficientNetBackbone().to(pick_device())

    def parts(height: int, count: int, flipped: bool = False) -> dict[str, VideoDataset]:
        """The features of both splits, of training clips flipped too if wanted."""
        return {
            split: VideoDataset(
                segments,
                build_features(
                    backbone,
                    segments,
                    _shown(height, count),
                    cache_dir=cache_dir,
                    horizontal_flip=flipped and split == "train",
                ),
            )
            for split, segments in splits.items()
        }

    quiet = partial(build_features, backbone, timed, cache_dir=None, progress=False)
    jobs = {setting(h, c): partial(quiet, _shown(h, c)) for h in heights for c in frames}
    times = interleaved(jobs, repeats=repeats, warm_up=False)
    rows = []
    for height in tqdm(heights, desc="sizes", leave=False):
        whole = parts(height, max(frames))
        for count in frames:
            name, step = setting(height, count), max(frames) // count
            thin = {split: thinned(part, step) for split, part in whole.items()}
            rows.append(_accuracy_row(name, backbone, thin, seeds))
            clips = [1e3 * seconds / len(timed) for seconds in times[name]]
            rows.append(Row.of(TIME, name, clips, "ms a clip"))
    flipped = parts(*default, flipped=True)
    return [*rows, _accuracy_row(setting(*default) + FLIPPED, backbone, flipped, seeds)]


def setting(height: int, frames: int) -> str:
    """Name a setting."""
    return f"{height} x {width_of(height)}, {frames} frames"


def width_of(height: int) -> int:
    """The width that keeps KTH's proportions."""
    return round(height * 4 / 3)


def _shown(height: int, frames: int) -> Preprocessing:
    """So many frames, evenly spread over a clip, at one size."""
    sampler = FixedStride(frames, LENGTH // frames / FPS)
    return Preprocessing(sampler, ClipTransform(size=(height, width_of(height))))


def thinned(part: VideoDataset, step: int) -> VideoDataset:
    """Keep the first of every `step` frames."""
    return changed(part, lambda item: item[:, ::step])


def _accuracy_row(
    name: str,
    backbone: EfficientNetBackbone,
    parts: Mapping[str, VideoDataset],
    seeds: Sequence[int],
) -> Row:
    """Score the validation segments after training a GRU on the training segments, seed by
    seed."""
    gru, train, scores = table.EXPERIMENTS["gru"], parts["train"], []
    for seed in seeds:
        recipe = Recipe(seed=seed, epochs=EPOCHS)
        seeded = {**parts, "train": VideoDataset(train.segments, train.source, seed=seed)}
        model = new_model(gru, recipe, backbone=backbone)
        scores.append(fit(gru, recipe, seeded, model=model).predictions.score())
    note = f"seeds {' '.join(map(str, seeds))}, n = {len(parts['validation'])}"
    return accuracy_row(ACCURACY, name, scores, note)
