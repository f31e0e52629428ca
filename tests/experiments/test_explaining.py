"""Why a label: which window is explained, by whom, and how it is drawn."""

import numpy as np
import pytest
import torch
from torch import nn

from experiments.explaining import explanation
from models.temporal import FrameAverage, VideoClassifier
from tests.stand_ins import brightness_recogniser, video_of
from utils.predict import Fusion, Recogniser
from utils.preprocessing import ClipTransform, FixedStride, Preprocessing
from utils.timeline import timeline_of


class Backbone(nn.Module):
    feature_dim = 2

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 3, stride=8, padding=1)

    def forward(self, images):
        flat = self.features(images.flatten(0, -4)).mean((2, 3))
        return flat.unflatten(0, images.shape[:-3])


@pytest.fixture
def of_images():
    torch.manual_seed(0)
    model = VideoClassifier(backbone=Backbone(), head=FrameAverage(in_dim=2, num_classes=2)).eval()
    shown = Preprocessing(FixedStride(4, 0.16), ClipTransform(size=(24, 32)), frame_offset=0.08)
    return Recogniser(model, shown, ("dark", "bright"), 1.0)


def test_the_surest_window_of_the_label_is_drawn(of_images, tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", video_of((2, 30), (3, 200)))
    timeline = timeline_of(brightness_recogniser(), path)
    fusion = Fusion((of_images, brightness_recogniser()), ("dark", "bright"))
    figure = explanation(fusion, path, timeline)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    told = [title.split(" s: ") for title in titles]
    times, shares = [float(at) for at, _ in told], [int(share.rstrip("%")) for _, share in told]
    assert len(titles) == 4 and 2 <= times[0] < times[-1] <= 5
    assert np.diff(times) == pytest.approx([0.16] * 3)
    assert sum(shares) == pytest.approx(100, abs=2)
    assert "what speaks for bright" in figure.get_suptitle()
    assert figure._repr_png_()[:4] == b"\x89PNG"


def test_a_recogniser_without_images_says_so(tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", video_of((1, 30)))
    timeline = timeline_of(brightness_recogniser(), path)
    with pytest.raises(ValueError, match="no encoder of images.*--model stacked_gru"):
        explanation(brightness_recogniser(), path, timeline)
