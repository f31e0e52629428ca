"""Recognisers behind one finder: what is added, when it refuses, and that it looks once."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from experiments.recognisers import load_fusion
from utils.predict import (
    NOBODY,
    SOMETHING_ELSE,
    Fusion,
    Prediction,
    Recogniser,
    doubt,
    nobody,
    predict_video,
    predict_video_with_frame_probs,
)
from utils.preprocessing import FixedStride, GreyFrames, Preprocessing

CLASSES = ("left", "right")


@dataclass(frozen=True)
class Looker:
    """Finds somebody in the bright frames of a video, and writes down that it was asked."""

    asked: list = field(default_factory=list, compare=False)

    def look(self, video, fps=None):
        self.asked.append(fps)
        here = video.mean((1, 2)) > 100
        return {
            "frames": np.arange(len(video)),
            "square": np.where(here[:, None], np.ones((len(video), 4)), np.nan),
        }


@dataclass(frozen=True)
class Shown(GreyFrames):
    finder: Looker


class Says(torch.nn.Module):
    """Says the same probabilities of every clip."""

    def __init__(self, *probs):
        super().__init__()
        self.log_probs = torch.nn.Parameter(torch.tensor(probs).log())

    def forward(self, clip, mask=None):
        return self.log_probs.expand(len(clip), -1)


@pytest.fixture
def finder():
    return Looker()


def member(finder, *probs, classes=CLASSES):
    shown = Preprocessing(FixedStride(2, 0.08), reader=Shown(finder))
    return Recogniser(Says(*probs), shown, classes, 0.12)


def video(grey=200):
    return np.full((20, 24, 32), grey, np.uint8)


def test_log_probabilities_are_added(finder):
    fusion = Fusion((member(finder, 0.6, 0.4), member(finder, 0.1, 0.9)), CLASSES)
    found = predict_video(fusion, video(), fps=25)
    expected = np.array([0.06, 0.36]) / 0.42
    assert found.label == "right"
    assert list(found.probs.values()) == pytest.approx(expected, abs=1e-5)


def test_a_video_is_searched_once_at_its_own_rate(finder):
    predict_video(Fusion((member(finder, 0.6, 0.4),) * 2, CLASSES), video(), fps=50)
    assert finder.asked == [50]


def test_nobody_is_said_where_nobody_is(finder):
    fusion = Fusion((member(finder, 0.6, 0.4), member(finder, 0.1, 0.9)), CLASSES)
    found = predict_video(fusion, video(20), fps=25)
    assert found.label == NOBODY
    assert list(found.probs.values()) == pytest.approx([0.1, 0.9], abs=1e-5)  # the last member's


@pytest.mark.parametrize(
    ("threshold", "label"), [(None, "left"), (0.6, "left"), (0.4, SOMETHING_ELSE)]
)
def test_something_else_is_said_above_a_threshold(finder, threshold, label):
    unsure = member(finder, 0.3, 0.2, 0.5, classes=(*CLASSES, SOMETHING_ELSE))
    found = predict_video(Fusion((unsure,), CLASSES, threshold), video(), fps=25)
    assert found.label == label
    assert list(found.probs.values()) == pytest.approx([0.6, 0.4], abs=1e-5)


def test_a_timeline_is_the_last_members(finder):
    fusion = Fusion((member(finder, 0.6, 0.4), member(finder, 0.1, 0.9)), CLASSES)
    found = predict_video_with_frame_probs(fusion, video(), fps=25)
    assert found.frame_probs[:, 1] == pytest.approx(0.9, abs=1e-5)


def test_a_file_that_names_no_recognisers_is_refused(tmp_path):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps({"name": "fusion"}))
    with pytest.raises(ValueError, match="odd.json names no recognisers"):
        load_fusion(path)


def test_a_refuser_names_nothing_and_is_heard_for_something_else(finder):
    classes = (*CLASSES, SOMETHING_ELSE)
    named = member(finder, 0.6, 0.2, 0.2, classes=classes)
    refuser = member(finder, 0.05, 0.15, 0.8, classes=classes)
    for threshold, label in ((0.49, SOMETHING_ELSE), (0.51, "left")):
        fusion = Fusion((named,), CLASSES, threshold, refusers=(refuser,))
        found = predict_video(fusion, video(), fps=25)
        assert found.label == label
        assert list(found.probs.values()) == pytest.approx([0.75, 0.25], abs=1e-5)
    assert predict_video(fusion, video(20), fps=25).label == NOBODY


def test_joining_leaves_out_whoever_was_shown_nobody_and_says_nobody_when_all_were():
    fusion = Fusion((None, None), CLASSES, threshold=0.5)
    right = Prediction("clip", "right", {"left": 0.2, "right": 0.8}, [4, 2])
    refuses = Prediction("clip", "left", {"left": 0.2, "right": 0.1, SOMETHING_ELSE: 0.7}, [2])
    gone = nobody("clip", CLASSES)
    assert fusion.joined([gone, right]).label == "right"
    assert fusion.joined([gone, right]).probs["right"] == pytest.approx(0.8)
    assert fusion.joined([refuses, right]).label == SOMETHING_ELSE
    assert fusion.joined([refuses, right]).frames == [2, 4]
    assert doubt([refuses, right]) == 0.7 and doubt([gone]) == 0
    unsure = Prediction("clip", "left", {"left": 0.6, "right": 0.3, SOMETHING_ELSE: 0.1}, [2])
    assert doubt([refuses, gone, unsure]) == pytest.approx(0.4)
    both = fusion.joined([gone, gone])
    assert both.label == NOBODY and both.probs == {"left": 0.5, "right": 0.5}


def test_a_part_that_is_none_is_refused_before_anything_is_looked_for(finder):
    fusion = Fusion((member(finder, 0.6, 0.4),), CLASSES)
    for start, stop in ((5, 5), (-1, 4), (0, 21)):
        with pytest.raises(ValueError, match="has 20 frames"):
            predict_video(fusion, video(), start=start, stop=stop, fps=25)
    assert not finder.asked


class Backbone(torch.nn.Module):
    """One feature an image, its brightness; counts images, and has the name that it is given."""

    def __init__(self, name):
        super().__init__()
        self.name, self.seen = name, []

    def forward(self, images):
        self.seen.append(len(images))
        return images.mean((1, 2, 3))[:, None]

    def fingerprint(self):
        return self.name

    def __deepcopy__(self, memo):
        return self


class Slope(torch.nn.Module):
    """Says left and right by a multiple of the mean brightness."""

    def __init__(self, slope):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, features, mask=None):
        right = self.slope * features.mean((1, 2))
        return torch.stack([-right, right], 1)


class Encodes(torch.nn.Module):
    def __init__(self, name, slope):
        super().__init__()
        self.backbone, self.head = Backbone(name), Slope(slope)

    def encode(self, clip, mask=None):
        raise AssertionError("features come from the encoder")


@pytest.mark.parametrize(("name", "encoded"), [("a", False), ("b", True)])
def test_what_two_are_shown_alike_is_encoded_once(finder, name, encoded):
    shown = Preprocessing(FixedStride(2, 0.08), reader=Shown(finder))
    one, other = (
        Recogniser(Encodes(*how), shown, CLASSES, 0.12) for how in (("a", 1.0), (name, -3.0))
    )
    said = Fusion((one, other), CLASSES).said(video(), fps=25)
    assert one.model.backbone.seen and bool(other.model.backbone.seen) == encoded
    alone = [Fusion((member,), CLASSES).said(video(), fps=25)[0] for member in (one, other)]
    assert [found.probs for found in said] == [found.probs for found in alone]
    assert said[0].label == "right" and said[1].label == "left"


def test_what_is_shown_otherwise_is_not_shared(finder):
    shown = [Preprocessing(FixedStride(n, 0.08), reader=Shown(finder)) for n in (2, 3)]
    two = tuple(Recogniser(Encodes("a", 1.0), one, CLASSES, 0.12) for one in shown)
    Fusion(two, CLASSES).said(video(), fps=25)
    assert all(one.model.backbone.seen for one in two)


def test_how_probable_something_else_is_stays_with_the_answer(finder):
    unsure = member(finder, 0.3, 0.2, 0.5, classes=(*CLASSES, SOMETHING_ELSE))
    found = predict_video(Fusion((unsure,), CLASSES, 0.9), video(), fps=25)
    assert found.label == "left" and found.something_else == pytest.approx(0.5)
    assert "something_else" not in found.to_json()


def test_what_was_looked_for_already_is_not_looked_for_again(finder):
    one, found = member(finder, 0.6, 0.4), finder.look(video())
    finder.asked.clear()
    for recogniser in (one, Fusion((one,), CLASSES)):
        assert predict_video(recogniser, video(), fps=25, found=found).label == "left"
    assert not finder.asked
