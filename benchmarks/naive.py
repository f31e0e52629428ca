"""The usual way to do this project, written plainly, to be compared with.

Every frame is fetched by a seek of its own and resized by PIL; the frozen network runs again over
every clip in every epoch; a batch is loaded, then computed, then the next is loaded. Nothing in
here is slow on purpose: it is what a first notebook does. Knows the segments, the samplers and the
network. Does not know how this project does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms.functional import to_tensor

from data.kth import Segment


@dataclass(eq=False)
class SeekingDataset(Dataset):
    """Clips (T, 1, H, W) in [0, 1] and labels, read from the files each time.

    Args:
        segments: The segments.
        sampler: Which frames of a segment.
        size: Height and width; the image is squeezed to it, as `transforms.Resize((H, W))` does.
        ghost: Average the frames of a clip into one.
    """

    segments: Sequence[Segment]
    sampler: Any
    size: tuple[int, int]
    ghost: bool = False

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self.segments)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Open the file, seek to each frame, convert, resize, and let the file go."""
        segment = self.segments[index]
        capture = cv2.VideoCapture(str(segment.video.path))
        clip = torch.stack(
            [
                to_tensor(Image.fromarray(seek(capture, number)).resize(self.size[::-1]))
                for number in segment.start + self.sampler(len(segment))
            ]
        )
        capture.release()
        return (clip.mean(0, keepdim=True) if self.ghost else clip), segment.label  # (T, 1, H, W)


def seek(capture: cv2.VideoCapture, number: int) -> np.ndarray:
    """Return a frame (H, W) of an open video, in grey; a black one where there is none."""
    capture.set(cv2.CAP_PROP_POS_FRAMES, number)
    there, frame = capture.read()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if there else np.zeros((120, 160), np.uint8)


def padded(batch: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Stack clips of unequal length: clips (B, T, 1, H, W), masks (B, T), labels (B)."""
    clips, labels = zip(*batch, strict=True)
    lengths = torch.tensor([len(clip) for clip in clips])
    masks = torch.arange(int(lengths.max())) < lengths[:, None]
    return nn.utils.rnn.pad_sequence(list(clips), batch_first=True), masks, torch.tensor(labels)


def train_step(
    model: Any, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor, Tensor]
) -> float:
    """One step of the head on top of the frozen network; returns the loss."""
    clips, masks, labels = batch
    with torch.no_grad():
        features = model.encode(clips, masks)
    loss = nn.functional.cross_entropy(model.head(features, masks), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def evaluation_step(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> int:
    """How many clips of a batch are recognised."""
    clips, masks, labels = batch
    return int((model(clips, masks).argmax(1) == labels).sum())
