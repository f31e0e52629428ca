"""An encoder that passes numbers on: behind the features, whatever they are computed in."""

import torch

from models.backbone import EfficientNetBackbone
from models.followed import WithNumbers, followed_classifier
from utils.encoder import Encoder


def clips(frames=3):
    torch.manual_seed(0)
    planes = torch.tensor([[0.25, -1.5], [1.125, 0.0], [3.0, 2.0]])[:frames, :, None, None]
    return torch.cat([torch.rand(frames, 3, 32, 40), planes.expand(-1, -1, 32, 40)], 1)


def test_numbers_follow_the_features_of_the_images():
    backbone = EfficientNetBackbone(weights=None, channels=3)
    both = WithNumbers(backbone, channels=3, numbers=2)
    images = clips()
    with torch.inference_mode():
        features = both(images)
        assert torch.equal(features[:, :-2], backbone(images[:, :3]))
    assert features[:, -2:].tolist() == [[0.25, -1.5], [1.125, 0.0], [3.0, 2.0]]
    assert both.fingerprint() == backbone.fingerprint() and both.feature_dim == 1282


def test_the_fast_copy_passes_them_on_unrounded():
    both = WithNumbers(EfficientNetBackbone(weights=None, channels=3), channels=3, numbers=2)
    for dtype in (torch.float32, torch.bfloat16):
        features = Encoder(both, dtype=dtype).encode(clips())
        assert features[:, -2:].tolist() == [[0.25, -1.5], [1.125, 0.0], [3.0, 2.0]]


def test_the_classifier_listens_to_them_and_is_tuned():
    model = followed_classifier(
        num_classes=6, numbers=2, channels=3, weights=None, head="gru", hidden=8
    ).eval()
    clip = clips()[None]
    other = clip.clone()
    other[:, :, 3:] += 1
    with torch.inference_mode():
        assert model(clip).shape == (1, 6) and not torch.allclose(model(clip), model(other))
    model.backbone.unfreeze(1)
    assert any(weight.requires_grad for weight in model.backbone.parameters())
