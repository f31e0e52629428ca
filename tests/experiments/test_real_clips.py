"""Real KTH footage, where a folder of it is at hand (HAR_REAL_CLIPS): measured and looked at, never
learned from."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.kth import ACTIONS, find_segments
from data.video import probe, read_frames
from experiments.recognisers import evaluate_checkpoint
from utils.preprocessing import Uniform

ROOT = Path(__file__).resolve().parents[2]
CLIPS = Path(os.environ.get("HAR_REAL_CLIPS", ROOT.parent / "shared" / "kth_clips"))
pytestmark = pytest.mark.skipif(
    not CLIPS.is_dir(), reason="no real clips: name their folder in HAR_REAL_CLIPS"
)


@pytest.fixture(scope="module")
def segments():
    return find_segments(CLIPS)


def test_every_annotated_segment_can_be_read(segments):
    assert segments
    for segment in segments:
        assert segment.stop <= probe(segment.video.path).frames
    frames = read_frames(segments[0].video.path, segments[0].start + Uniform(4)(len(segments[0])))
    assert frames.shape == (4, 120, 160) and frames.dtype == np.uint8


@pytest.mark.slow
def test_people_who_were_never_seen_are_recognised_far_above_chance(segments):
    result = evaluate_checkpoint("bundled", CLIPS, split="all", cache_dir=None, progress=False)
    assert result.segment.n == len(segments)
    assert result.video.n == len({segment.video for segment in segments})
    assert result.segment.wilson[0] > 2 / len(ACTIONS)
