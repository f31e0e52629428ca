"""The classifier of joints: shapes, and padding that does not matter."""

import pytest
import torch

from models.joints import JointGRU, joint_classifier


@pytest.fixture
def model():
    torch.manual_seed(0)
    return joint_classifier(num_classes=7, in_dim=5, hidden=8).eval()


def test_it_maps_numbers_to_logits(model):
    assert model(torch.rand(3, 10, 5)).shape == (3, 7)


def test_what_lies_in_the_padding_does_not_matter(model):
    clip, mask = torch.rand(2, 6, 5), torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    padded = clip.clone()
    padded[1, 4:] = 1e6
    alone = model(clip[1:, :4])
    assert torch.allclose(model(padded, mask)[1], alone[0], atol=1e-5)
    assert torch.allclose(model(clip, mask), model(padded, mask), atol=1e-5)


def test_the_order_of_steps_matters(model):
    clip = torch.rand(1, 10, 5)
    assert not torch.allclose(model(clip), model(clip.flip(1)), atol=1e-4)


def test_both_ways_are_torchs_own_bidirectional_recurrence_over_packed_clips():
    torch.manual_seed(0)
    ours = JointGRU(in_dim=5, num_classes=3, hidden=8).eval()
    theirs = torch.nn.GRU(8, 8, batch_first=True, bidirectional=True)
    for way, suffix in ((ours.forth, ""), (ours.back, "_reverse")):
        for name, value in way.named_parameters():
            getattr(theirs, name + suffix).data = value.data
    clip, lengths = torch.rand(3, 6, 5), torch.tensor([6, 4, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(ours.project(clip), lengths, batch_first=True)
    states, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    mask = torch.arange(6) < lengths[:, None]
    mean = states.sum(1) / lengths[:, None]
    most = states.masked_fill(~mask[..., None], -torch.inf).amax(1)
    assert torch.allclose(ours(clip, mask), ours.classifier(torch.cat([mean, most], -1)), atol=1e-6)
