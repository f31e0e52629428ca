"""Presence alone: nothing is left of the features but which frames show somebody."""

from pathlib import Path

import numpy as np
import pytest

from data.kth import ACTIONS
from data.synthetic.motion import LOCOMOTION
from experiments.studies import presence
from experiments.studies.presence import _presence
from experiments.training import fit
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


@pytest.mark.slow
def test_only_what_moves_across_is_trained_and_counted(tiny_kth, tmp_path, monkeypatch):
    """Among all six, a segment without an empty frame would be taken for a stationary one."""
    labels, tested = [], set()

    def noting(row, settings, parts):
        labels.extend(label for data in parts.values() for label in data.labels)
        tested.add(len(parts["test"]))
        return fit(row, settings, parts)

    monkeypatch.setattr(presence, "fit", noting)
    rows = presence.run(tiny_kth, cache_dir=tmp_path, seeds=(0,), epochs=1)
    assert {ACTIONS[label] for label in labels} == set(LOCOMOTION)
    [counted] = tested
    assert [row.note.endswith(f" of {counted}") for row in rows] == [True] * 6
