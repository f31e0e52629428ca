"""What only a GPU can show: half precision, mixed-precision training, predictions on the device.

Skipped with a reason where there is none; whoever owns one has something to run.
"""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from experiments.recognisers import WEIGHTS, load_recogniser
from models.backbone import EfficientNetBackbone
from models.temporal import build_head
from tests.stand_ins import Clips
from utils.data_setup import Batches, collate
from utils.encoder import Encoder
from utils.engine import Settings, evaluate, train_model
from utils.predict import predict_video

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA, and there is none here"),
]


def test_features_in_half_precision_are_those_in_single():
    images = torch.rand(8, 1, 96, 128)
    backbone = EfficientNetBackbone().cuda()
    exact = torch.from_numpy(Encoder(backbone, dtype=torch.float32).encode(images))
    half = torch.from_numpy(Encoder(backbone).encode(images))
    assert torch.nn.functional.cosine_similarity(exact, half).min() > 0.999


@pytest.mark.parametrize("name", ["average", "gru", "tcn"])
def test_training_in_mixed_precision_learns_and_goes_on(tmp_path, name):
    def loader(train):
        data = Clips(80, noise=0.5 if train else 0, seed=0)
        return DataLoader(data, batch_sampler=Batches(80, 16, train=train), collate_fn=collate)

    def run(epochs, resume):
        torch.manual_seed(0)
        head = build_head(name, in_dim=6, num_classes=3)
        history = train_model(
            head,
            loader(True),
            loader(False),
            Settings(epochs=epochs, lr=1e-2, schedule="constant"),
            checkpoint_dir=tmp_path,
            resume=resume,
            progress=False,
        )
        return head, history

    run(3, resume=False)
    head, history = run(6, resume=True)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    log_probs, labels = evaluate(head, loader(False))
    assert (log_probs.argmax(1) == labels).mean() > 0.9


def test_a_video_is_predicted_on_the_device():
    recogniser = load_recogniser(WEIGHTS / "recogniser_stacked_gru.pth")
    assert next(recogniser.model.parameters()).is_cuda
    frames = np.random.default_rng(0).integers(0, 255, (40, 120, 160), dtype=np.uint8)
    assert sum(predict_video(recogniser, frames).probs.values()) == pytest.approx(1, abs=1e-3)
