"""Stand-ins that several tests share: small data sets and backbones that are quick and count what
they do."""

import hashlib
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from utils.data_setup import ClipTransform, Uniform


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


def untimed(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


class GridBackbone(nn.Module):
    """Stands in for EfficientNet: mean brightness in 8 x 6 cells, at once and without weights to
    download."""

    feature_dim = 48

    def __init__(self, *, weights="bundled", channels=1, frozen=True):
        super().__init__()
        self.channels = channels
        self.scale = nn.Parameter(torch.tensor(4.0), requires_grad=False)

    @property
    def config(self):
        return {"channels": self.channels}

    def fingerprint(self):
        return f"grid {self.scale.item()}"

    def forward(self, pictures):
        grey = pictures.flatten(0, -4).mean(1, keepdim=True)
        cells = nn.functional.adaptive_avg_pool2d(grey, (8, 6)).flatten(1)
        return (self.scale * cells).unflatten(0, pictures.shape[:-3])


HOW = {"sampler": Uniform(frames=4), "transform": ClipTransform(size=(24, 32)), "progress": False}


class MeansBackbone(nn.Module):
    """A backbone for tests: the means of four columns and of four rows; counts pictures and can be
    stopped."""

    feature_dim = 8

    def __init__(self, *, stop_after=10**9, tint=0.0, pause=0.0):
        super().__init__()
        self.seen, self.stop_after, self.pause = [], stop_after, pause
        self.tint = nn.Parameter(torch.tensor(tint))

    def fingerprint(self):
        return hashlib.sha256(repr(self.tint.item()).encode()).hexdigest()

    def __deepcopy__(self, memo):
        return self  # so that the copy's pictures are counted here

    def forward(self, pictures):
        if sum(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(len(pictures))
        time.sleep(self.pause)
        columns = pictures.mean((1, 2)).unflatten(-1, (4, -1)).mean(-1)
        rows = pictures.mean((1, 3)).unflatten(-1, (4, -1)).mean(-1)
        return torch.cat([columns, rows], dim=1) + self.tint


def same(one, other):
    return (
        np.array_equal(one.features, other.features)
        and one.lengths.tolist() == other.lengths.tolist()
        and (one.mirrored is None) == (other.mirrored is None)
        and (one.mirrored is None or np.array_equal(one.mirrored, other.mirrored))
    )
