"""Pre-training: truthful targets, masked losses, reproducible people, weights that load again."""

import numpy as np
import pytest
import torch

from data.kth import ACTIONS
from data.synthetic import dataset as synthetic
from experiments import pretraining as pretrain
from models.backbone import EfficientNetBackbone
from utils.preprocessing import ClipTransform

SMALL = ClipTransform(size=(48, 64), channels=3)


def first(count, **settings):
    stream = iter(
        pretrain.RenderedMoments(**{"seed": 0, "stream": 0, "transform": SMALL, **settings})
    )
    return [next(stream) for _ in range(count)]


def batch(rows):
    return {name: torch.stack([target[name] for _, target in rows]) for name in rows[0][1]}


def test_the_stream_is_reproducible_and_its_streams_differ():
    (a, _), (b, _), (c, _) = first(1)[0], first(1)[0], first(1, stream=1)[0]
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (3, 48, 64) and a.min() >= 0 and a.max() <= 1


def test_pretraining_shares_no_random_stream_with_the_default_data_set(monkeypatch):
    """Every seed that either of them hands to numpy, written down: the generators' states are all
    different."""
    seeds, make = [], np.random.default_rng
    monkeypatch.setattr(
        np.random, "default_rng", lambda seed: seeds.append(tuple(seed)) or make(seed)
    )
    for person in synthetic.PERSONS:
        for scenario in synthetic.SCENARIOS:
            synthetic.shot_of(person, ACTIONS[0], scenario)
    of_the_set = {make(list(seed)).integers(2**63) for seed in seeds}
    seeds.clear()
    first(1), first(1, stream=1)
    of_pretraining = {make(list(seed)).integers(2**63) for seed in seeds}
    assert len(of_pretraining) == 2 and len(of_the_set) == 25 + 100
    assert not of_the_set & of_pretraining


def test_targets_point_at_the_body():
    rng = np.random.default_rng(0)
    shot, action = pretrain.draw_shot(rng)
    while action != "handwaving":
        shot, action = pretrain.draw_shot(rng)
    target = pretrain.describe(shot, 3, action)
    assert target.present == 1 and target.action == ACTIONS.index("handwaving")
    assert (
        np.allclose(target.pose[0], 0) and target.pose[2, 1] > 0.3
    )  # the head is above the pelvis
    assert target.joints[2, 1] < target.joints[0, 1]  # and rows grow downwards


def test_speeds_are_those_of_the_body():
    rng = np.random.default_rng(3)
    shot, action = pretrain.draw_shot(rng)
    while action != "running":
        shot, action = pretrain.draw_shot(rng)
    middle = sum(shot.segments[0]) // 2
    target = pretrain.describe(shot, middle, action, offset=2)
    pelvis = shot.joints[middle + 2, 0] - shot.joints[middle - 2, 0]
    expected = pelvis[0] / shot.scene.build.stature * 25 / 4 / pretrain.SPEED_SCALE
    assert target.moving == 1 and target.speed[0, 0] == pytest.approx(expected)
    assert (
        0.4 < abs(target.speed[0, 0]) * pretrain.SPEED_SCALE < 3
    )  # body heights per second of a runner
    still = pretrain.describe(shot, middle, action)
    assert still.moving == 0 and not still.speed.any()
    assert pretrain.describe(shot, 1, action, offset=2).moving in (0, 1)
    assert pretrain.neighbours(10, 1, 2).tolist() == [0, 1, 3] and pretrain.neighbours(
        10, 9, 2
    ).tolist() == [7, 9, 9]


def test_somebody_who_comes_from_nowhere_has_no_speed():
    rng = np.random.default_rng(4)
    shot, action = pretrain.draw_shot(rng)
    while action != "jogging":
        shot, action = pretrain.draw_shot(rng)
    entering = int(np.flatnonzero(shot.joints[:, 0, 0] < 1e3)[0])
    assert pretrain.describe(shot, entering, action, offset=2).moving == 0


def test_the_three_images_of_a_moment_are_degraded_alike():
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 255, (1, 12, 16), dtype=np.uint8), 3, axis=0)
    for _ in range(20):
        changed = pretrain.degrade(images, rng)
        assert changed.dtype == np.uint8 and changed.shape == images.shape
        assert (changed == changed[0]).all()


def test_an_empty_scene_has_no_joints_to_learn():
    rng = np.random.default_rng(1)
    shot, action = pretrain.draw_shot(rng)
    while action != "walking":
        shot, action = pretrain.draw_shot(rng)
    target = pretrain.describe(shot, 0, action)
    assert target.present == 0 and not target.visible.any()
    rows = [(None, pretrain._tensors(target))] * 2
    out = {
        "joints": torch.ones(2, 21, 2),
        "pose": torch.ones(2, 21, 3),
        "speed": torch.ones(2, 21, 2),
        "presence": torch.zeros(2, 1),
        "action": torch.zeros(2, 6),
    }
    parts = pretrain.losses(out, batch(rows))
    assert (
        parts["joints"] == 0 and parts["pose"] == 0 and parts["speed"] == 0 and parts["action"] == 0
    )
    assert parts["presence"] == pytest.approx(np.log(2))


def test_perfect_answers_cost_nothing_but_the_smoothing():
    target = batch(first(6))
    out = {
        "joints": target["joints"],
        "pose": target["pose"],
        "speed": target["speed"],
        "presence": 40 * (2 * target["present"][:, None] - 1),
        "action": 40 * torch.nn.functional.one_hot(target["action"], 6).float(),
    }
    parts = pretrain.losses(out, target)
    assert (
        parts["joints"] == 0
        and parts["pose"] == 0
        and parts["speed"] == 0
        and parts["presence"] < 1e-6
    )


def test_two_steps_write_weights_that_load_with_their_card(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "half_precision_pays", lambda *_: False)
    path = tmp_path / "weights.pth"
    card = pretrain.pretrain(
        path, init=None, steps=2, batch_size=4, size=(32, 48), progress=False, held_out=1
    )
    assert (
        torch.load(path, weights_only=True)["card"]["steps"] == 2
        and card["real_footage"] == "none"
        and card["action_n"] <= card["held_out_frames"]
    )
    assert EfficientNetBackbone(weights=path)(torch.rand(1, 1, 32, 48)).shape == (1, 1280)


def test_divergence_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrain, "half_precision_pays", lambda *_: False)
    monkeypatch.setattr(pretrain, "LOSS_WEIGHTS", {**pretrain.LOSS_WEIGHTS, "pose": float("nan")})
    with pytest.raises(FloatingPointError, match="diverged at batch 0"):
        pretrain.pretrain(
            tmp_path / "w.pth", init=None, steps=1, batch_size=2, size=(32, 48), progress=False
        )
    assert not (tmp_path / "w.pth").exists()


class Blind(torch.nn.Module):
    """Answers every image with zeros."""

    def forward(self, features):
        n = len(features)
        return {
            "joints": torch.zeros(n, 21, 2),
            "pose": torch.zeros(n, 21, 3),
            "speed": torch.zeros(n, 21, 2),
            "presence": torch.zeros(n, 1),
            "action": torch.zeros(n, 6),
        }


def test_errors_of_the_card_are_means_over_joints_not_over_batches():
    found = pretrain.measure(
        torch.nn.Identity(), Blind(), seed=1, transform=SMALL, device="cpu", batches=2
    )
    target = batch(first(96, seed=1, stream=1))
    seen = (target["visible"] * target["present"][:, None]).bool()
    moving = seen & target["moving"][:, None].bool()
    assert seen[:48].sum() != seen[48:].sum() and moving[:48].sum() != moving[48:].sum()
    pixels = (target["joints"] * torch.tensor([80.0, 60.0])).norm(dim=-1)[seen].mean()
    speeds = pretrain.SPEED_SCALE * target["speed"].norm(dim=-1)[moving].mean()
    assert found["joint_error_px"] == pytest.approx(pixels.item(), abs=0.006)
    assert found["pose_error_cm"] == pytest.approx(
        175 * target["pose"].norm(dim=-1)[seen].mean().item(), abs=0.006
    )
    assert found["speed_error"] == pytest.approx(speeds.item(), abs=0.0006)
    assert found["held_out_frames"] == 96 and found["action_n"] == int(target["present"].sum())


def test_half_precision_is_measured_not_assumed():
    backbone = EfficientNetBackbone(weights=None, frozen=False)
    before = backbone.features[0][1].running_mean.clone()
    assert pretrain.half_precision_pays(backbone, "cpu", (32, 32)) in (True, False)
    assert torch.equal(before, backbone.features[0][1].running_mean)
