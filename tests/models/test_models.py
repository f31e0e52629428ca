"""The backbone and the heads: shapes, frozen means frozen, files that are refused, padding that
changes nothing."""

import math
import os
import pickle
import urllib.error
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import efficientnet_b0

from models import backbone as backbone_module
from models.backbone import EfficientNetBackbone
from models.joints import joint_classifier
from models.temporal import (
    HEADS,
    FrameAverage,
    TemporalGRU,
    VideoClassifier,
    build_head,
    frame_classifier,
)
from utils.checkpoint import TrainingState, save_checkpoint


@pytest.fixture(scope="module")
def grey():
    """A random backbone whose BatchNorm statistics are not the trivial ones."""
    torch.manual_seed(1)
    backbone = EfficientNetBackbone(weights=None)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return backbone


@pytest.fixture(scope="module")
def rgb_file(tmp_path_factory):
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("weights") / "torchvision.pth"
    torch.save(efficientnet_b0(weights=None).state_dict(), path)
    return path


def buffers(module):
    return {
        name: value.clone()
        for name, value in module.state_dict().items()
        if "running" in name or "num_b" in name
    }


# backbone


def test_clips_and_images_become_features(grey):
    clip = torch.rand(2, 3, 1, 32, 40)
    features = grey(clip)
    assert features.shape == (2, 3, 1280) and EfficientNetBackbone.feature_dim == 1280
    assert torch.allclose(features.flatten(0, 1), grey(clip.flatten(0, 1)))


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 3, 3, 32, 32), (32, 32), (1, 32, 32)])
def test_wrong_shapes_are_named(grey, shape):
    with pytest.raises(ValueError, match=r"takes \(N, 1, H, W\)"):
        grey(torch.rand(shape))


def test_bytes_are_refused(grey):
    with pytest.raises(TypeError, match="divide bytes by 255"):
        grey(torch.zeros(1, 1, 32, 32, dtype=torch.uint8))


def test_summed_stem_equals_rgb_on_grey_images(rgb_file):
    one, three = (
        EfficientNetBackbone(weights=rgb_file),
        EfficientNetBackbone(weights=rgb_file, channels=3),
    )
    image = torch.rand(2, 1, 40, 40)
    assert torch.allclose(one(image), three(image.repeat(1, 3, 1, 1)), atol=1e-4)


def test_grey_weights_spread_over_three_channels(grey, tmp_path):
    torch.save(grey.payload({}), tmp_path / "grey.pth")
    one = EfficientNetBackbone(weights=tmp_path / "grey.pth")
    three = EfficientNetBackbone(weights=tmp_path / "grey.pth", channels=3)
    image = torch.rand(2, 1, 40, 40)
    assert torch.allclose(one(image), three(image.repeat(1, 3, 1, 1)), atol=1e-4)


def test_channels_other_than_one_or_three_are_refused():
    with pytest.raises(ValueError, match="channels is 2"):
        EfficientNetBackbone(weights=None, channels=2)


def test_frozen_survives_train_and_keeps_its_statistics(grey):
    before = buffers(grey)
    grey.train()
    assert not any(module.training for stage in grey.features for module in stage.modules())
    assert not any(weight.requires_grad for weight in grey.parameters())
    grey(torch.rand(4, 1, 32, 32))
    assert all(torch.equal(before[name], value) for name, value in buffers(grey).items())


def test_unfreeze_by_stage_trains_only_the_last_stages():
    backbone = EfficientNetBackbone(weights=None)
    backbone.unfreeze(2)
    backbone.train()
    before = buffers(backbone)
    backbone(torch.rand(4, 1, 64, 64)).sum().backward()
    for number, stage in enumerate(backbone.features):
        late = number >= 7
        assert all((weight.grad is not None) == late for weight in stage.parameters())
        assert stage.training == late
    changed = {
        name.split(".")[1]
        for name, value in buffers(backbone).items()
        if not torch.equal(before[name], value)
    }
    assert changed == {"7", "8"}
    backbone.freeze()
    backbone.train()
    assert (
        not any(weight.requires_grad for weight in backbone.parameters())
        and not backbone.features[8].training
    )


def test_not_frozen_means_every_weight_learns():
    backbone = EfficientNetBackbone(weights=None, frozen=False)
    assert (
        all(weight.requires_grad for weight in backbone.parameters())
        and backbone.features[0].training
    )


@pytest.mark.parametrize("stages", [-1, 10])
def test_unfreezing_stages_that_do_not_exist(grey, stages):
    with pytest.raises(ValueError, match="0 to 9"):
        grey.unfreeze(stages)


def test_folded_copy_gives_the_same_numbers(grey):
    folded = grey.folded_for_inference(torch.float32)
    images = torch.rand(4, 1, 48, 64)
    assert (folded(images) - grey(images)).abs().max() < 1e-3
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in grey.modules()), (
        "the original must stay whole"
    )
    assert folded.fingerprint() == grey.fingerprint() == grey.folded_for_inference().fingerprint()


def test_folded_copy_cannot_be_trained_or_saved(grey):
    folded = grey.folded_for_inference(torch.float32)
    with pytest.raises(RuntimeError, match="unfreeze the original"):
        folded.unfreeze(1)
    with pytest.raises(ValueError, match="save the original"):
        folded.payload({})
    folded.freeze()
    assert not any(weight.requires_grad for weight in folded.parameters())


def test_fingerprint_follows_the_weights():
    backbone = EfficientNetBackbone(weights=None)
    before = backbone.fingerprint()
    assert before == backbone.fingerprint() and len(before) == 16
    with torch.no_grad():
        backbone.features[4][0].block[0][0].weight[0, 0, 0, 0] += 1e-3
    assert backbone.fingerprint() != before


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_weights_file_with_code_is_refused_and_not_run(tmp_path, how):
    path, trace = tmp_path / "evil.pth", tmp_path / "was_run"
    if how == "torch":
        torch.save({"format": "har-backbone", "version": 1, "state": Evil(str(trace))}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(str(trace)), protocol=2))
    with pytest.raises(ValueError, match=r"evil\.pth.*not loaded; expected a backbone file"):
        EfficientNetBackbone(weights=path)
    assert not trace.exists()


def test_a_weights_file_that_changed_on_the_disk_or_is_packed_is_refused(rgb_file, tmp_path):
    changed, packed = tmp_path / "changed.pth", tmp_path / "packed.pth"
    content = bytearray(rgb_file.read_bytes())
    content[len(content) // 2] ^= 64
    changed.write_bytes(content)
    with (
        zipfile.ZipFile(rgb_file) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        new.writestr("archive/data/999", bytes(50_000_000))
    for path in (changed, packed):
        with pytest.raises(ValueError, match=rf"{path.name} is damaged.*expected a backbone file"):
            EfficientNetBackbone(weights=path)


def test_damaged_and_foreign_weights_files_are_named(rgb_file, tmp_path):
    cut, text, other, wrong = (
        tmp_path / f"{name}.pth" for name in ("cut", "text", "other", "wrong")
    )
    cut.write_bytes(rgb_file.read_bytes()[:100_000])
    text.write_text("some text")
    torch.save({"fc.weight": torch.zeros(2)}, other)
    state = torch.load(rgb_file, weights_only=True)
    torch.save(state | {"features.1.0.block.0.0.weight": torch.zeros(3)}, wrong)
    for path in (cut, text, other, wrong):
        with pytest.raises(ValueError, match=rf"{path.name}.*expected a backbone file"):
            EfficientNetBackbone(weights=path)
    broken = torch.full_like(state["features.0.0.weight"], float("nan"))
    torch.save(state | {"features.0.0.weight": broken}, other)
    with pytest.raises(ValueError, match=r"other\.pth: weight 0\.0\.weight is not finite"):
        EfficientNetBackbone(weights=other)
    torch.save({"format": "har-backbone", "version": 1, "state": [1]}, other)
    with pytest.raises(ValueError, match=r"no names and weights under 'state'"):
        EfficientNetBackbone(weights=other)
    torch.save([1, 2], other)
    with pytest.raises(ValueError, match="holds a list"):
        EfficientNetBackbone(weights=other)
    torch.save({"format": "har-backbone", "version": 99}, other)
    with pytest.raises(ValueError, match="version 99"):
        EfficientNetBackbone(weights=other)
    for state in (None, {}, {"0.0.weight": 3}, {"0.0.weight": torch.zeros(2)}):
        torch.save({"format": "har-backbone", "version": 1, "state": state}, other)
        with pytest.raises(ValueError, match=r"other\.pth does not hold EfficientNet-B0's weights"):
            EfficientNetBackbone(weights=other)


WRAPPINGS = {
    "in a dict": lambda state: {"epoch": 3, "model": state},
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled": lambda state: {"state_dict": {f"_orig_mod.{n}": v for n, v in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_weights_are_found_whatever_they_are_wrapped_in(rgb_file, tmp_path, wrapping):
    torch.save(WRAPPINGS[wrapping](torch.load(rgb_file)), tmp_path / "wrapped.pth")
    found, plain = (EfficientNetBackbone(weights=p) for p in (tmp_path / "wrapped.pth", rgb_file))
    assert found.fingerprint() == plain.fingerprint()


def test_a_checkpoint_of_ours_lends_its_encoder(grey, tmp_path):
    path = tmp_path / "best.pth"
    model = VideoClassifier(backbone=grey, head=head_of("gru"))
    save_checkpoint(path, model, TrainingState())
    assert EfficientNetBackbone(weights=path).fingerprint() == grey.fingerprint()
    save_checkpoint(path, model.head, TrainingState())
    with pytest.raises(ValueError, match=r"best\.pth holds no weight.*kept without"):
        EfficientNetBackbone(weights=path)
    torch.save({"model": grey.state_dict(), "ema": grey.state_dict()}, path)
    with pytest.raises(ValueError, match=r"holds 2 encoders \(ema\., model\.\)"):
        EfficientNetBackbone(weights=path)


def test_another_default_precision_changes_no_model(rgb_file):
    torch.set_default_dtype(torch.float64)
    try:
        built = frame_classifier(num_classes=3, weights=rgb_file, head="gru", hidden=4)
        joints = joint_classifier(num_classes=3, in_dim=4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert built.backbone.fingerprint() == EfficientNetBackbone(weights=rgb_file).fingerprint()
    for model in (built, joints):
        kinds = {value.dtype for value in model.state_dict().values()} - {torch.int64}
        assert kinds == {torch.float32}


def test_a_weight_of_another_shape_is_named_in_one_sentence(rgb_file, tmp_path):
    state = torch.load(rgb_file, weights_only=True)
    torch.save(state | {"features.1.0.block.0.0.weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="size mismatch for 1.0.block.0.0.weight") as caught:
        EfficientNetBackbone(weights=tmp_path / "wrong.pth")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    del state["features.0.0.weight"]
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=r'Missing key\(s\) in state_dict: "0\.0\.weight"'):
        EfficientNetBackbone(weights=tmp_path / "wrong.pth")


def test_the_bundled_encoder_met_clutter_and_no_real_footage():
    """What its card says of where it stood, and features of both kinds of input."""
    card = torch.load(backbone_module.BUNDLED_WEIGHTS, weights_only=True)["card"]
    assert card["cluttered"] == 0.5 and card["real_footage"] == "none"
    for channels in (1, 3):
        features = EfficientNetBackbone(channels=channels)(torch.rand(2, channels, 96, 128))
        assert features.shape == (2, 1280) and features.isfinite().all() and features.std() > 0


def test_missing_weights_name_the_file_and_the_remedy(tmp_path, monkeypatch):
    missing = tmp_path / "efficientnet_b0_kth_synth.pth"
    with pytest.raises(FileNotFoundError, match="check the path"):
        EfficientNetBackbone(weights=missing)
    monkeypatch.setattr(backbone_module, "BUNDLED_WEIGHTS", missing)
    with pytest.raises(
        FileNotFoundError, match=r"efficientnet_b0_kth_synth\.pth: run `python har\.py pretrain`"
    ):
        EfficientNetBackbone(weights="bundled")


def test_imagenet_without_a_network_says_what_to_do(monkeypatch):
    def no_network(self, *args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(backbone_module.EfficientNet_B0_Weights, "get_state_dict", no_network)
    with pytest.raises(
        ConnectionError, match=r'(?s)download\.pytorch\.org.*by hand.*weights="bundled"'
    ):
        EfficientNetBackbone(weights="imagenet")


# heads


def head_of(name, in_dim=12, num_classes=5):
    return build_head(
        name, in_dim=in_dim, num_classes=num_classes, **({} if name == "average" else {"hidden": 8})
    )


@pytest.mark.parametrize("name", HEADS)
def test_every_head_maps_features_to_logits_and_learns(name):
    head = head_of(name)
    features = torch.randn(3, 7, 12)
    logits = head(features)
    assert logits.shape == (3, 5) and logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    assert all(
        weight.grad is not None and weight.grad.abs().sum() > 0 for weight in head.parameters()
    )


@pytest.mark.parametrize("name", HEADS)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    padding=st.integers(0, 5),
    junk=st.sampled_from([0.0, 1e4, math.nan, math.inf]),
    seed=st.integers(0, 99),
)
def test_padding_changes_no_logit(name, lengths, padding, junk, seed):
    torch.manual_seed(seed)
    head = head_of(name).eval()
    clips = [torch.randn(length, 12) for length in lengths]
    total = max(lengths) + padding
    batch, mask = (
        torch.full((len(clips), total, 12), junk),
        torch.zeros(len(clips), total, dtype=torch.bool),
    )
    for row, clip in enumerate(clips):
        batch[row, : len(clip)], mask[row, : len(clip)] = clip, True
    logits, frames = head(batch, mask), head.frame_log_probs(batch, mask)
    for row, clip in enumerate(clips):
        assert torch.allclose(logits[row], head(clip[None])[0], atol=1e-5)
        assert torch.allclose(
            frames[row, : len(clip)], head.frame_log_probs(clip[None])[0], atol=1e-5
        )


@pytest.mark.parametrize("name", HEADS)
def test_not_even_nan_in_the_padding_spoils_a_gradient(name):
    head = head_of(name)
    features = torch.randn(2, 4, 12)
    features[1, 2:] = math.nan
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    head(features, mask).sum().backward()
    assert all(weight.grad.isfinite().all() for weight in head.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_frame_log_probs_are_log_probabilities(name):
    frames = head_of(name).eval().frame_log_probs(torch.randn(2, 6, 12))
    assert frames.shape == (2, 6, 5)
    assert torch.allclose(frames.exp().sum(-1), torch.ones(2, 6), atol=1e-5)


@pytest.mark.parametrize(
    "name, matters", [("average", False), ("mean", False), ("gru", True), ("tcn", True)]
)
def test_only_the_temporal_heads_see_the_order(name, matters):
    head, features = head_of(name).eval(), torch.randn(2, 6, 12)
    difference = (head(features) - head(features.flip(1))).abs().max().item()
    assert (difference > 1e-4) == matters


def test_cross_entropy_of_the_average_is_the_loss_of_the_mean_probability():
    head = FrameAverage(in_dim=12, num_classes=5).eval()
    features, labels = torch.randn(4, 6, 12), torch.tensor([0, 1, 2, 3])
    mean = head.frame_logits(features).softmax(-1).mean(1)
    expected = nn.functional.nll_loss(mean.log(), labels)
    assert torch.allclose(nn.functional.cross_entropy(head(features), labels), expected, atol=1e-6)
    assert torch.allclose(head(features).exp(), mean, atol=1e-6)


def test_a_confident_average_reaches_zero_loss():
    """Cross-entropy on probabilities instead of logits could not go below 1.04 here."""
    head = FrameAverage(in_dim=6, num_classes=6).eval()
    with torch.no_grad():
        head.classifier.weight.copy_(50 * torch.eye(6))
    features = torch.eye(6).unsqueeze(1).repeat(1, 3, 1)
    assert nn.functional.cross_entropy(head(features), torch.arange(6)) < 1e-6


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([[True, False, True]]),
        torch.tensor([[False, False, False]]),
        torch.tensor([[False, True, True]]),
    ],
)
def test_masks_with_holes_or_nothing_are_refused(mask):
    with pytest.raises(ValueError, match="valid frames come before padding"):
        TemporalGRU(in_dim=4, num_classes=2)(torch.randn(1, 3, 4), mask)


def test_wrong_shapes_and_names_are_refused():
    head = FrameAverage(in_dim=4, num_classes=2)
    with pytest.raises(ValueError, match=r"takes \(B, T, D\)"):
        head(torch.randn(3, 4))
    with pytest.raises(ValueError, match="takes a bool mask"):
        head(torch.randn(1, 3, 4), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="no head 'lstm'; the heads are average, mean, gru, tcn"):
        build_head("lstm", in_dim=4, num_classes=2)


@pytest.mark.parametrize("name", HEADS)
def test_the_classifier_pads_without_a_trace(grey, name):
    model = VideoClassifier(backbone=grey, head=head_of(name, in_dim=1280)).eval()
    clip = torch.rand(2, 4, 1, 32, 32)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    logits = model(clip, mask)
    assert torch.allclose(logits[0], model(clip[:1])[0], atol=1e-4)
    assert torch.allclose(logits[1], model(clip[1:, :2])[0], atol=1e-4)
    assert model.frame_log_probs(clip, mask).shape == (2, 4, 5)
    model.train()
    assert model.head.training and not any(stage.training for stage in grey.features)


# the whole model


def test_the_heads_first_weights_do_not_know_how_the_backbone_came_about():
    def build(**backbone):
        torch.manual_seed(7)
        model = frame_classifier(num_classes=3, head="gru", hidden=4, **backbone)
        return model, torch.rand(1).item()

    given = EfficientNetBackbone(weights=None)
    built = [build(), build(weights=None), build(weights=None, channels=3), build(backbone=given)]
    torch.manual_seed(7)
    alone = build_head("gru", in_dim=1280, num_classes=3, hidden=4)
    after = torch.rand(1).item()
    for model, drawn in built:
        assert all(
            torch.equal(value, model.head.state_dict()[name])
            for name, value in alone.state_dict().items()
        )
        assert drawn == after
    assert built[3][0].backbone is given
    assert built[2][0].backbone.channels == 3 and built[0][0].backbone.channels == 1


def test_a_random_backbone_is_the_one_of_the_generators_state():
    torch.manual_seed(7)
    model = frame_classifier(num_classes=3, weights=None)
    torch.manual_seed(7)
    assert model.backbone.fingerprint() == EfficientNetBackbone(weights=None).fingerprint()
    bundled = frame_classifier(num_classes=3)
    assert bundled.backbone.fingerprint() == EfficientNetBackbone().fingerprint()
    assert isinstance(bundled.head, FrameAverage) and not bundled.backbone.trainable_stages


def test_a_frame_classifier_takes_what_its_head_takes():
    class Means(nn.Module):
        feature_dim = 12

    model = frame_classifier(
        num_classes=5, backbone=Means(), head="tcn", hidden=8, dilations=[1, 3], dropout=0.0
    )
    assert len(model.head.blocks) == 2 and model.head(torch.randn(2, 4, 12)).shape == (2, 5)
    with pytest.raises(ValueError, match="no head 'lstm'"):
        frame_classifier(num_classes=5, backbone=Means(), head="lstm")
