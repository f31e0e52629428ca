"""The files that come with the project: small, harmless, and able to do what the README says."""

import pytest
import torch

from data.kth import ACTIONS, find_segments
from data.synthetic.dataset import render_dataset
from experiments.recognisers import (
    APPEARANCE,
    evaluate_checkpoint,
    load_recogniser,
)
from models.backbone import BUNDLED_WEIGHTS, EfficientNetBackbone
from utils.checkpoint import load_checkpoint
from utils.encoder import Encoder
from utils.predict import predict_video
from utils.preprocessing import Preprocessing

RECOGNISER = APPEARANCE


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """People of another seed: none of the pre-training, of the auxiliary set or of the 25 of the
    default set."""
    root = tmp_path_factory.mktemp("strangers")
    return render_dataset(root, seed=7, persons=(2, 3), scenarios=(1,), progress=False, workers=1)


def test_they_are_small():
    assert BUNDLED_WEIGHTS.stat().st_size < 9e6
    assert BUNDLED_WEIGHTS.stat().st_size + RECOGNISER.stat().st_size < 12e6


def test_the_cards_say_on_what_they_were_trained():
    card = torch.load(BUNDLED_WEIGHTS, weights_only=True)["card"]
    assert card["real_footage"] == "none" and card["seed"] == 0 and card["steps"] > 0
    assert card["action_right"] <= card["action_n"] <= card["held_out_frames"]
    extra = load_checkpoint(RECOGNISER)["extra"]
    assert extra["data"] == "KTH-Synth" and extra["classes"] == list(ACTIONS)


def test_the_recogniser_was_trained_on_these_very_weights():
    extra = load_checkpoint(RECOGNISER)["extra"]
    backbone = EfficientNetBackbone(channels=Preprocessing.from_config(extra["shown"]).channels)
    assert extra["backbone"] == {"weights": "bundled", "fingerprint": backbone.fingerprint()}


@pytest.mark.slow
@pytest.mark.parametrize("which", ["bundled", RECOGNISER])
def test_it_recognises_rendered_strangers(strangers, which):
    result = evaluate_checkpoint(which, strangers, split="all", cache_dir=None, progress=False)
    assert result.segment.n == 24 and result.segment.accuracy >= 0.75


@pytest.mark.parametrize(
    "action",
    ["boxing", *(pytest.param(a, marks=pytest.mark.slow) for a in ("handclapping", "handwaving"))],
)
def test_it_names_the_action_of_a_whole_file(strangers, action):
    file = strangers / action / f"person02_{action}_d1.avi"
    assert predict_video(load_recogniser("bundled"), file).label == action


@pytest.mark.slow  # where the processor has no bfloat16
def test_half_precision_predicts_as_single_does(strangers):
    """Features rounded to bfloat16's eight bits, from file to prediction: no segment changes its
    name."""
    recogniser = load_recogniser(RECOGNISER)
    clips = [recogniser.shown.clip(segment) for segment in find_segments(strangers)]
    probs = {}
    for dtype in (torch.float32, torch.bfloat16):
        encode = Encoder(recogniser.model.backbone, dtype=dtype)
        with torch.inference_mode():
            logits = [recogniser.model.head(torch.from_numpy(encode(clip))[None]) for clip in clips]
        probs[dtype] = torch.cat(logits).softmax(1)
    single, half = probs.values()
    assert torch.equal(single.argmax(1), half.argmax(1))
    assert 0 < (single - half).abs().max() < 0.05
