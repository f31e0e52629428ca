"""Stand-ins that several tests share: small data sets and backbones that are quick and count what
they do."""

import dataclasses
import functools
import hashlib
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from data.kth import parse_name
from data.video import probe, read_frames
from experiments.recognisers import evaluate_checkpoint, load_recogniser
from experiments.table import EXPERIMENTS, Experiment
from experiments.training import run_experiment
from models.temporal import frame_classifier
from utils.engine import Settings, train_model
from utils.person import PersonFinder, PersonReader, PersonTrack
from utils.predict import Recogniser
from utils.preprocessing import ClipTransform, FixedStride, GreyFrames, Preprocessing, Uniform


class Clips(Dataset):
    """Random sequences of 2 to 5 steps whose class lies in their mean, with noise drawn anew each
    epoch."""

    def __init__(self, n=40, *, classes=3, noise=0.5, seed=0, break_at=None):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(classes, size=n)
        self.lengths = rng.integers(2, 6, size=n)
        self.base = rng.normal(size=(n, 5, 6)).astype(np.float32)
        self.base[np.arange(n), :, self.labels] += 2
        self.noise, self.epoch, self.break_at, self.served = noise, 0, break_at, 0

    def __len__(self):
        return len(self.labels)

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        self.served += 1
        if self.served == self.break_at:
            raise KeyboardInterrupt
        rng = np.random.default_rng((self.epoch, index))
        clip = self.base[index, : self.lengths[index]]
        noisy = clip + self.noise * rng.normal(size=clip.shape).astype(np.float32)
        return {"input": torch.from_numpy(noisy), "label": int(self.labels[index]), "index": index}


def train_quietly(model, train_loader, val_loader, **how):
    """`train_model` on the CPU without a progress bar; settings and the rest in one row."""
    names = set(Settings.__dataclass_fields__) & set(how)
    settings = Settings(**{"device": "cpu"} | {name: how.pop(name) for name in names})
    return train_model(model, train_loader, val_loader, settings, progress=False, **how)


def same_predictions(one, other, within=0.0):
    """Items are equal, and log-probabilities to the last bit; `within` a little where batches are
    of other sizes: some processors round other batches' sums otherwise."""
    return np.allclose(one.log_probs, other.log_probs, rtol=0, atol=within) and all(
        one.items[column].tolist() == other.items[column].tolist() for column in one.items
    )


def untimed(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


class GridBackbone(nn.Module):
    """Stands in for EfficientNet: mean brightness in 8 x 6 cells, at once and without weights to
    download. Its only stage is one number."""

    feature_dim = 48

    def __init__(self, *, weights="bundled", channels=1, frozen=True):
        super().__init__()
        self.channels = channels
        self.scale = nn.Parameter(torch.tensor(4.0), requires_grad=not frozen)

    def unfreeze(self, stages):
        self.scale.requires_grad_(stages > 0)

    def fingerprint(self):
        return f"grid {self.scale.item()}"

    def forward(self, images):
        grey = images.flatten(0, -4).mean(1, keepdim=True)
        cells = nn.functional.adaptive_avg_pool2d(grey, (8, 6)).flatten(1)
        return (self.scale * cells).unflatten(0, images.shape[:-3])


def grid_classifier(*, backbone=None, channels=1, weights="bundled", hook=None, **model):
    """models.temporal.frame_classifier on a GridBackbone, unless a backbone is given."""
    backbone = GridBackbone(channels=channels) if backbone is None else backbone
    built = frame_classifier(backbone=backbone, channels=channels, **model)
    if hook is not None:
        built.head.register_forward_pre_hook(hook)
    return built


def tiny(name, *, hook=None, **changes):
    """An experiment of the table on a GridBackbone; hook(head, inputs) is called before each pass
    through its head."""
    if EXPERIMENTS[name].build is not frame_classifier:  # it has no backbone and is tiny as it is
        return dataclasses.replace(EXPERIMENTS[name], **changes)
    build = grid_classifier if hook is None else functools.partial(grid_classifier, hook=hook)
    return dataclasses.replace(EXPERIMENTS[name], build=build, **changes)


def two_frames(experiment, seconds=0.08):
    """The experiment shown two frames alone, so that several clips fit into a tiny segment."""
    return dataclasses.replace(experiment, shown=Preprocessing(FixedStride(2, seconds)))


class Lab:
    """A data set and the folders of its runs; run(name, ...) is a short run_experiment on them."""

    def __init__(self, root, base):
        self.root, self.base = root, base
        self.where = {
            "runs_dir": base / "runs",
            "cache_dir": base / "cache",
            "results_dir": base / "results",
        }

    def run(self, experiment, **changes):
        named = isinstance(experiment, Experiment) or experiment not in EXPERIMENTS
        settings = {"size": (24, 32), "epochs": 2, "batch_size": 8, "progress": False}
        return run_experiment(
            experiment if named else tiny(experiment),
            root=self.root,
            **{**settings, **self.where, **changes},
        )

    def load(self, result):
        """The recogniser of a run of an experiment of the table."""
        return load_recogniser(result.run, experiment=tiny(result.experiment))

    def evaluate(self, result, root=None, **changes):
        settings = {"cache_dir": None, "progress": False, **changes}
        return evaluate_checkpoint(self.load(result), root or self.root, **settings)


def stop_after(steps):
    """A hook that lets Ctrl-C through when so many training steps are done."""
    done = []

    def hook(head, inputs):
        done.extend([1] * head.training)
        if len(done) > steps:
            raise KeyboardInterrupt

    return hook


@dataclasses.dataclass(frozen=True)
class PersonFrames:
    """A reader whose frames show the number of the person in the file's name: nine patches, a white
    and a black one for reference and a bit in each other."""

    def look(self, video, fps=None):
        return None

    def read(self, video, index_lists, found=None):
        person = parse_name(video).person
        bits = [1, 0, *(person >> bit & 1 for bit in range(7))]
        patches = np.array(bits, dtype=np.uint8).reshape(3, 3) * 120 + 60
        frame = patches.repeat(16, axis=0).repeat(20, axis=1)
        return [np.repeat(frame[None], len(indices), axis=0) for indices in index_lists]


class Witness:
    """A hook that notes whose clips each head is shown, and whether it learns from them."""

    def __init__(self):
        self.heads = []  # [head, [(training, persons of the batch), ...]]

    def __call__(self, head, inputs):
        if not self.heads or self.heads[-1][0] is not head:
            self.heads.append((head, []))
        self.heads[-1][1].append((head.training, _persons(inputs[0][:, 0])))

    def experiment(self, name, **changes):
        """An experiment of the table whose frames tell who is in them, watched."""
        row = tiny(name, hook=self, **changes)
        return dataclasses.replace(row, shown=dataclasses.replace(row.shown, reader=PersonFrames()))

    def sides(self):
        """The persons of each training of two epochs or more: (train, validation, test)."""
        return [_sides(calls) for _, calls in self.heads]


def _persons(features):
    """Read the persons (N,) out of the features (N, 48) of PersonFrames."""
    cells = features.unflatten(-1, (8, 6))
    rows = torch.stack([cells[:, 1], cells[:, 3:5].mean(1), cells[:, 6]], dim=1)
    patches = torch.stack([rows[..., 0], rows[..., 2:4].mean(-1), rows[..., 5]], dim=2).flatten(1)
    bits = patches[:, 2:] > (patches[:, :1] + patches[:, 1:2]) / 2
    return (bits * 2 ** torch.arange(7)).sum(1).tolist()


def _sides(calls):
    train, evaluated = set(), [[]]
    for training, persons in calls:
        if training:
            train |= set(persons)
            evaluated += [[]] if evaluated[-1] else []
        else:
            evaluated[-1] += persons
    validation, last = evaluated[0], evaluated[-1]
    assert len(evaluated) > 1 and last[: len(validation)] == validation
    return train, set(validation), set(last[len(validation) :])


SHOWN = Preprocessing(Uniform(frames=4), ClipTransform(size=(24, 32)))
HOW = {"shown": SHOWN, "progress": False}


class MeansBackbone(nn.Module):
    """A backbone for tests: the means of four columns and of four rows; counts images and can be
    stopped."""

    feature_dim = 8

    def __init__(self, *, stop_after=10**9, tint=0.0, pause=0.0):
        super().__init__()
        self.seen, self.stop_after, self.pause = [], stop_after, pause
        self.tint = nn.Parameter(torch.tensor(tint))

    def fingerprint(self):
        return hashlib.sha256(repr(self.tint.item()).encode()).hexdigest()

    def __deepcopy__(self, memo):
        return self  # so that the copy's images are counted here

    def forward(self, images):
        if sum(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(len(images))
        time.sleep(self.pause)
        columns = images.mean((1, 2)).unflatten(-1, (4, -1)).mean(-1)
        rows = images.mean((1, 3)).unflatten(-1, (4, -1)).mean(-1)
        return torch.cat([columns, rows], dim=1) + self.tint


def same(one, other):
    """Whether two sets of features are equal to the bit, those that are missing included."""
    return (
        len(one) == len(other)
        and all(np.array_equal(a, b) for a, b in zip(one.items, other.items, strict=True))
        and one.failed == other.failed
    )


@dataclasses.dataclass(frozen=True)
class AgainstMedian:
    """A reader that looks at a whole video first: frames against its median, `gain` times."""

    gain: int = 1

    def look(self, video, fps=None):
        if not isinstance(video, np.ndarray):
            video = read_frames(video, range(probe(video).frames))
        return {"median": np.median(video, axis=0)}

    def read(self, video, index_lists, found):
        parts = GreyFrames().read(video, index_lists)
        return [(self.gain * np.abs(part - found["median"])).astype(np.uint8) for part in parts]


@dataclasses.dataclass(frozen=True)
class MeanAndSpread:
    """A reader that gives numbers (T, 2): the mean and the spread of each frame's greys."""

    def look(self, video, fps=None):
        return None

    def read(self, video, index_lists, found=None):
        parts = GreyFrames().read(video, index_lists)
        return [np.stack([part.mean((1, 2)), part.std((1, 2))], axis=1) for part in parts]


# recognisers of timelines: quick, and what they say can be told by looking


def video_of(*parts, fps=25, height=48, width=64):
    """Frames (T, H, W) of so many seconds of so bright a scene each, in which a bar moves."""
    frames = []
    for seconds, grey in parts:
        scene = np.full((round(seconds * fps), height, width), grey, np.uint8)
        for n, frame in enumerate(scene):
            left = round(60 * n / fps) % width
            frame[:, left : left + 6] = grey - 20 if grey > 128 else grey + 20
        frames.append(scene)
    return np.concatenate(frames)


@dataclasses.dataclass(frozen=True)
class BrightFinder(PersonFinder):
    """Sees somebody in the middle of images whose mean is above 100."""

    def look(self, video, fps=None):
        frames = read_frames(video, range(probe(video).frames)) if fps is None else video
        return PersonTrack.joined(list(self.follow(frames, fps or 25.0))).arrays()

    def follow(self, frames, fps, *, live=False):
        for number, image in enumerate(frames):
            height, width = image.shape[:2]
            here = np.ones(1) if image.mean() > 100 else np.full(1, np.nan)
            place = np.array([width / 2, height / 2, height, 0])
            points = place[:2] + height / 4 * np.stack(
                [np.cos(np.arange(33)), np.sin(range(33))], 1
            )
            yield PersonTrack(
                frames=np.array([number]),
                fps=fps,
                size=(height, width),
                square=(here[:, None] * place).astype(np.float32),
                landmarks=here[:, None, None] * np.pad(points, ((0, 0), (0, 2)))[None],
                mask=np.zeros((1, 96, 96), np.uint8),
                scene=np.zeros(1, int),
                others=np.zeros(1, int),
                camera=np.eye(2, 3)[None],
            )


@dataclasses.dataclass(frozen=True)
class GreysOfSomebody(PersonReader):
    """Grey frames behind a finder."""

    def read(self, video, index_lists, found=None):
        return GreyFrames().read(video, index_lists)


class SaysBrightness(nn.Module):
    """Log-probabilities of clips: their brightness is that of the second of the classes, what is
    left that of the others, alike; `otherwise` goes to one more."""

    def __init__(self, classes, otherwise=0.0):
        super().__init__()
        self.classes, self.otherwise = classes, nn.Parameter(torch.tensor(float(otherwise)))

    def forward(self, clips, mask):
        bright = clips.mean((2, 3, 4))
        bright = ((bright * mask).sum(1) / mask.sum(1))[:, None]
        dark = (1 - bright) / (self.classes - 1)
        probs = torch.cat([dark, bright, *[dark] * (self.classes - 2)], 1)
        if self.otherwise > 0:
            rest = self.otherwise.expand(len(probs), 1)
            probs = torch.cat([(1 - self.otherwise) * probs, rest], 1)
        return probs.log()


def brightness_recogniser(finder=None, *, classes=2, otherwise=0.0, seconds=1.0):
    """A recogniser of "dark", "bright" and "middling", by windows of a second."""
    names = ("dark", "bright", "middling")[:classes]
    reader = GreyFrames() if finder is None else GreysOfSomebody(finder)
    shown = Preprocessing(FixedStride(4, 0.08), ClipTransform(size=(6, 8)), reader=reader)
    known = (*names, "something else") if otherwise else names
    model = SaysBrightness(classes, otherwise).eval()
    return Recogniser(model, shown, known, seconds, {"experiment": "stand-in"})
