"""The classifier of joints learns from rendered people, goes on, refuses and is loaded again."""

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from data.kth import ACTIONS
from data.synthetic.joints import OTHER, draw_performances, gathered
from experiments import load_recogniser
from experiments.joints import RenderedJoints, threshold_of, train_joints
from models.joints import JointGRU
from tests.stand_ins import stop_after
from utils.person import EMPTIEST
from utils.pose import NUMBERS, SHOULDERS, Pose
from utils.predict import SOMETHING_ELSE

TINY = {"seeds": (0, 1), "performances": 300, "epochs": 2, "progress": False}  # three batches


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a tiny training, and what it measured."""
    out = tmp_path_factory.mktemp("joints") / "pose.pth"
    return out, train_joints(out, **TINY)


@pytest.fixture(scope="module")
def windows():
    pool = gathered(list(draw_performances([0, 7], 24, 12)))
    return RenderedJoints(pool, seed=3, steps=24, rate=12.5)


def test_windows_show_enough_and_keep_their_labels(windows):
    assert windows.numbers.shape == (36, 24, NUMBERS) and np.isfinite(windows.numbers).all()
    body = windows.numbers[:, :, -15:][:, :, SHOULDERS].all(-1)
    assert (body.mean(1) >= EMPTIEST).all()
    assert sorted(windows.labels) == sorted(windows.pool.label) and len(windows) == 36


def test_an_epochs_windows_are_its_own_and_the_same_again(windows):
    first = windows.numbers.copy()
    windows.set_epoch(1)
    assert not np.array_equal(windows.numbers, first)
    windows.set_epoch(0)
    assert np.array_equal(windows.numbers, first)


def test_people_who_are_never_seen_are_an_error():
    pool = gathered([(np.full((20, 15, 2), -1e6), 0, "boxing", False, False, False)])
    with pytest.raises(ValueError, match="shows enough of the class 0; draw more"):
        RenderedJoints(pool, seed=0, steps=24, rate=12.5)


def test_it_is_loaded_as_a_recogniser_that_knows_something_else(trained):
    out, found = trained
    recogniser = load_recogniser(out)
    assert recogniser.classes == (*ACTIONS, SOMETHING_ELSE)
    assert isinstance(recogniser.shown.reader, Pose) and recogniser.shown.sampler.frames == 24
    assert recogniser.extra["rendered"] == found and recogniser.extra["real_footage"] == "none"
    assert found["six"] + found["others"] == 25 and 0 < found["threshold"] <= 1
    assert len(recogniser.model.networks) == len(found["six_right_each"]) == 2
    assert not out.with_name("pose.pth.training").exists()


def test_an_interrupted_training_goes_on_to_the_same_weights(trained, tmp_path):
    out, stop = tmp_path / "pose.pth", stop_after(10)  # amid the second network's training
    hook = register_module_forward_pre_hook(
        lambda module, inputs: stop(module, inputs) if isinstance(module, JointGRU) else None
    )
    with hook, pytest.raises(KeyboardInterrupt):
        train_joints(out, **TINY)
    assert not out.exists() and (tmp_path / "pose.pth.training" / "seed1" / "last.pth").is_file()
    assert train_joints(out, **TINY) == trained[1]
    whole, resumed = (load_recogniser(path).model.state_dict() for path in (trained[0], out))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_without_others_it_knows_the_six_alone(tmp_path):
    few = {**TINY, "seeds": [0], "epochs": 1}
    found = train_joints(tmp_path / "six.pth", others=False, **few)
    assert "threshold" not in found and found["six"] == 25
    assert load_recogniser(tmp_path / "six.pth").classes == ACTIONS


def test_two_networks_differ_and_their_mean_is_what_they_say(trained, windows):
    model = load_recogniser(trained[0]).model
    numbers = torch.from_numpy(windows.numbers)
    with torch.inference_mode():
        said = [network(numbers).softmax(-1) for network in model.networks]
        mean = model(numbers).exp()
    assert not torch.allclose(*said, atol=1e-3)
    assert torch.allclose(mean, sum(said) / 2, atol=1e-6)


def test_no_seed_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no seed; give at least one"):
        train_joints(tmp_path / "none.pth", seeds=())


def test_the_threshold_refuses_two_in_a_hundred_of_the_six():
    probs = np.full((200, 7), 0.1)
    probs[:100, OTHER] = np.linspace(0.01, 0.3, 100)
    probs[100:, OTHER] = 0.9
    threshold = threshold_of(np.log(probs), np.repeat([0, OTHER], 100))
    assert (probs[:100, OTHER] > threshold).sum() == 2
