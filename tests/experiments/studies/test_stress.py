"""Harder footage: what a stress promises is in the frames, and every part is counted."""

import json

import cv2
import numpy as np
import pytest

from data.kth import CARD, FPS
from data.synthetic.dataset import shot_of
from experiments.studies import stress
from experiments.studies.stress import NOISE, SHORT, STRESSES, SWAY, frames_of


def shown(name, action="handclapping"):
    return frames_of(STRESSES[name], shot_of(2, action, 1))


@pytest.fixture(scope="module")
def plain():
    return shown("as it is")[0]


def figure(frames):
    """Rows and columns in which the median frame is left: how tall and where somebody is."""
    moved = np.abs(frames.astype(int) - np.median(frames, 0)).max(0) > 40
    return np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))


def test_each_changes_the_frames_in_its_own_way_and_always_the_same(plain):
    for name, one in STRESSES.items():
        frames, fps = shown(name)
        assert frames.dtype == np.uint8 and frames.shape[1:] == plain.shape[1:]
        assert np.array_equal(frames, shown(name)[0]) and fps == (one.fps or FPS)
        if name != "as it is":
            assert frames.shape != plain.shape or not np.array_equal(frames, plain), name


def test_frame_rates_keep_the_seconds(plain):
    for name, fps in (("10 frames a second", 10), ("60 frames a second", 60)):
        frames, rate = shown(name)
        assert rate == fps and len(frames) == pytest.approx(len(plain) * fps / FPS, abs=1)
        assert np.array_equal(frames[0], plain[0])
    assert np.array_equal(shown("10 frames a second")[0][2], plain[5])


def test_entering_and_leaving_are_the_ends():
    whole = shown("as it is", "walking")[0]
    assert np.array_equal(shown("first 29 frames", "walking")[0], whole[:SHORT])
    assert np.array_equal(shown("last 29 frames", "walking")[0], whole[-SHORT:])


def test_noise_and_sway_are_as_large_as_they_say(plain):
    noise = shown("noise")[0].astype(int) - plain
    assert noise[:, 30:60, :40].std() == pytest.approx(NOISE, rel=0.1)
    swaying = shown("hand-held sway of 4 pixels")[0]
    window = cv2.createHanningWindow(plain.shape[:0:-1], cv2.CV_32F)
    moved = [
        cv2.phaseCorrelate(one.astype(np.float32), other.astype(np.float32), window)[0]
        for one, other in zip(plain, swaying, strict=True)
    ]
    assert np.std(moved, axis=0) == pytest.approx([SWAY, SWAY], rel=0.15)


def test_half_as_large_is_half_as_large():
    rows, _ = figure(shown("as it is", "handwaving")[0])
    fewer, _ = figure(shown("figures half as large", "handwaving")[0])
    assert np.ptp(fewer) == pytest.approx(np.ptp(rows) / 2, rel=0.15)


@pytest.mark.slow
def test_every_part_is_counted(tmp_path):
    (tmp_path / CARD).write_text(json.dumps({"seed": 0}))
    rows = stress.run(tmp_path, **stress.QUICK)
    assert [row.task for row in rows] == ["rendered test persons, as it is"] * 5 + [
        "rendered test persons, noise"
    ] * 5
    assert all(row.note in ("0 of 1", "1 of 1") for row in rows)
    assert rows[0].value == rows[3].value == 100, "a boxer as KTH-Synth has them"
