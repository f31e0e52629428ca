"""The moving picture shows six actions of a test person with the predictions as they come."""

import numpy as np
import pytest
from PIL import Image

from data.kth import ACTIONS
from experiments import showcase
from utils.predict import Prediction


class Says:
    """A recogniser's stand-in that names the classes of the table."""

    classes = ACTIONS


@pytest.fixture
def told(monkeypatch):
    """Predictions after frames 2 and 5, of a video of any length; and what was asked."""
    asked = []

    def predict(recogniser, frames):
        asked.append(frames)
        return Prediction("array", "boxing", {}, [2, 5], np.eye(6)[:2])

    monkeypatch.setattr(showcase, "predict_video_with_frame_probs", predict)
    return asked


def test_a_prediction_stands_until_the_next(told):
    rows = showcase.running_probs(Says(), np.zeros((8, 4, 4), np.uint8))
    assert np.isnan(rows[:2]).all() and rows.shape == (8, 6)
    assert rows[2:].argmax(1).tolist() == [0, 0, 0, 1, 1, 1]


def test_nobody_is_no_prediction(monkeypatch):
    nobody = Prediction("array", "nobody", {}, [])
    monkeypatch.setattr(showcase, "predict_video_with_frame_probs", lambda *_: nobody)
    assert np.isnan(showcase.running_probs(Says(), np.zeros((3, 4, 4), np.uint8))).all()


def test_six_actions_play_at_half_the_rate(tmp_path, told):
    out = showcase.make(tmp_path / "six.gif", recogniser=Says(), person=2, seconds=0.4)
    assert [frames.shape for frames in told] == [(10, 120, 160)] * 6
    with Image.open(out) as image:
        assert image.size == (3 * 160 + 12, 2 * 166 + 6) and image.info["duration"] == 80
        assert 1 < image.n_frames <= 5
