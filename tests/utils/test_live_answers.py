"""What is done now: the newest window is answered, whatever frames are missing."""

import cv2
import numpy as np
import pytest

from tests.stand_ins import BrightFinder, brightness_recogniser, video_of
from utils.live import live_answers, live_rate
from utils.predict import NOBODY


def film(*parts, rate=12.5):
    """(second, image) of a bar before so bright grounds."""
    frames = video_of(*parts, fps=rate)
    return [(n / rate, cv2.cvtColor(one, cv2.COLOR_GRAY2BGR)) for n, one in enumerate(frames)]


@pytest.mark.parametrize("finder", [None, BrightFinder()])
def test_answers_come_when_a_window_is_full_and_then_every_so_often(finder):
    moments = list(
        live_answers(brightness_recogniser(finder), film((3, 200)), lambda: 9.0, every=0.4)
    )
    assert len(moments) == 38 and [m.at for m in moments] == pytest.approx(np.arange(38) / 12.5)
    answered = [m for m in moments if m.latency_s is not None]
    assert answered[0].at == pytest.approx(0.88) and len(answered) == 6
    assert np.diff([m.at for m in answered]) == pytest.approx([0.4] * 5)
    assert all(m.answer.label == "bright" for m in answered)
    assert [m.latency_s for m in answered] == pytest.approx([9 - m.at for m in answered])
    assert moments[0].answer is None and moments[-1].answer is answered[-1].answer
    assert (moments[0].look is None) == (finder is None)


def test_missing_frames_are_stood_for_by_the_nearest():
    frames = film((2, 40), (2, 220))
    some = [frame for n, frame in enumerate(frames) if n % 3 == 0]
    one = brightness_recogniser(BrightFinder())
    labels = [
        m.answer.label for m in live_answers(one, some, lambda: 0.0) if m.latency_s is not None
    ]
    assert labels[0] == NOBODY and labels[-1] == "bright"
    assert 3 <= len(labels) <= 8


def test_after_a_long_gap_the_window_is_filled_anew():
    frames = film((1.5, 40))
    later = [(at + 60, 255 - image) for at, image in frames]
    said = list(live_answers(brightness_recogniser(), [*frames, *later], lambda: 0.0))
    answered = [m for m in said if m.latency_s is not None]
    assert [m.answer.label for m in answered] == ["dark", "dark", "bright", "bright"]
    assert answered[2].at >= 60.8


def test_as_many_frames_are_wanted_as_the_finder_takes():
    assert live_rate(brightness_recogniser(BrightFinder(rate=10.0))) == 10
    assert live_rate(brightness_recogniser()) == 12.5
