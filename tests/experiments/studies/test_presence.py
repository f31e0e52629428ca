"""Presence alone: nothing is left of the features but which frames show somebody."""

from pathlib import Path

import numpy as np

from evaluation.predictions import Predictions
from experiments.studies.presence import _presence, crossings
from tests.utils.test_cutout import track_of
from tests.utils.test_preprocessing import segment_of
from utils.data_setup import VideoDataset
from utils.features import Features
from utils.preprocessing import FixedStride, Preprocessing

FILE = Path("person02_walking_d1.avi")


def test_features_are_one_of_two_vectors_by_who_is_there():
    rng = np.random.default_rng(1)
    found = {FILE: track_of([None, None, (20, 20, 20, 0.0), (20, 20, 20, 0.0)]).arrays()}
    segments = [segment_of(FILE, 0, 8), segment_of(FILE, 4, 8)]
    items = [rng.normal(size=(2, n, 5)).astype(np.float16) for n in (4, 2)]
    data = VideoDataset(segments, Features(items), seed=3)
    shown = Preprocessing(FixedStride(4, 0.08), frame_offset=0.04)
    first, second = (changed := _presence(data, shown, found)).source.items
    assert first.shape == (2, 4, 5) and second.shape == (2, 2, 5) and first.dtype == np.float16
    assert np.array_equal(first[0], first[1]) and changed.seed == 3
    assert np.array_equal(first[0, 0], first[0, 1]) and np.array_equal(first[0, 2], first[0, 3])
    assert not np.array_equal(first[0, 0], first[0, 2])
    assert np.array_equal(second[0, 0], first[0, 2]), "the same vectors in every segment"


def test_only_crossings_are_counted():
    labels = [0, 3, 4, 5]  # boxing, jogging, running, walking
    log_probs = np.log(np.full((4, 6), 0.1))
    log_probs[[0, 1, 2, 3], [0, 3, 3, 5]] = 0
    names = dict.fromkeys(Predictions.COLUMNS, np.array(["x"] * 4))
    score = crossings(Predictions(log_probs, np.array(labels), names))
    assert (score.correct, score.n) == (2, 3)
