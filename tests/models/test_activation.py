"""Class activation maps, against what they must be where the head is linear."""

import pytest
import torch
from torch import nn

from models.activation import class_activation, frame_importance
from models.temporal import VideoClassifier


class Backbone(nn.Module):
    """Two feature maps: the image as it is, and its negative; then their means."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        self.requires_grad_(False)

    def forward(self, images):
        return self.features(images).mean((2, 3))


class Head(nn.Module):
    """Logits: the first feature for class 0, the second for class 1, averaged over time."""

    def forward(self, features, mask=None):
        return features.mean(1)


def test_the_map_is_the_class_own_feature_map():
    clip = torch.zeros(2, 1, 3, 4)
    clip[0, 0, 1, 2], clip[1, 0, 0, 0] = 4.0, 1.0
    maps = class_activation(VideoClassifier(backbone=Backbone(), head=Head()), clip, 0)
    assert maps.shape == (2, 3, 4)
    assert torch.allclose(maps, clip[:, 0] / 4), "brightest where the feature is, in both frames"


def test_what_speaks_against_a_class_is_left_out_and_nothing_is_changed():
    model = VideoClassifier(backbone=Backbone(), head=Head())
    clip = torch.rand(2, 1, 3, 4)
    before = model(clip[None])
    assert torch.equal(class_activation(model, clip, 1), torch.zeros(2, 3, 4))
    assert torch.equal(model(clip[None]), before)
    assert not model.backbone.features._forward_hooks


def test_the_importance_of_frames_is_their_share_of_the_logit():
    """With a linear head, feature times gradient is each frame's part of the logit exactly."""
    model = VideoClassifier(backbone=Backbone(), head=Head())
    clip = torch.zeros(3, 1, 3, 4)
    clip[0], clip[1] = 0.75, 0.25
    assert frame_importance(model, clip, 0).tolist() == pytest.approx([0.75, 0.25, 0.0])
    assert frame_importance(model, clip, 1).tolist() == pytest.approx([1 / 3] * 3), (
        "all speak against it"
    )
