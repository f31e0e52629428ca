"""Teach the backbone what people look like, on rendered people that the default data set never
shows.

Knows the tasks (where the joints are, in the image and around the pelvis, and how fast they move;
whether anybody is there; which action) and their losses. The persons are drawn from random streams
of their own with wider ranges than KTH-Synth's; no real footage is used. One network learns both
kinds of input: three frames as its three channels (stacked greyscale), and one grey image three
times over, which summing the stem turns into a one-channel network.
"""

import math
import time
import timeit
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm.auto import tqdm

from data.kth import ACTIONS
from data.synthetic.body import JOINTS
from data.synthetic.clutter import clutter
from data.synthetic.dataset import AUXILIARY_SPREAD, Person, Shot, make_shot
from data.synthetic.motion import FPS, LOCOMOTION
from data.synthetic.render import HEIGHT, WIDTH
from models.backbone import EfficientNetBackbone
from utils.checkpoint import save_backbone
from utils.engine import pick_device
from utils.preprocessing import ClipTransform

# First word of the random streams of pre-training. KTH-Synth's begin with its own seed, which is 0
# by default.
PRETRAIN_STREAM = 3
FRAMES_PER_SHOT = 5
EMPTY_SHARE = 0.06
# frames between the channels of a stack: a runner's foot moves by about its own length
FRAME_OFFSET = 2
STACKED_SHARE = 0.6  # of the samples; the others are one grey image
SPEED_SCALE = 2.0  # body heights per second that count as 1
# scales that bring the losses to one order of magnitude at the start
LOSS_WEIGHTS = {"joints": 4.0, "pose": 4.0, "speed": 2.0, "presence": 0.5, "action": 0.5}
# what is told of each image
SHAPES = {
    "joints": (len(JOINTS), 2),
    "pose": (len(JOINTS), 3),
    "speed": (len(JOINTS), 2),
    "presence": (1,),
    "action": (len(ACTIONS),),
}
# errors of the card, and the digits to which they are rounded
DIGITS = {"joint_error_px": 2, "pose_error_cm": 2, "speed_error": 3}


@dataclass(frozen=True)
class Target:
    """What one rendered frame shows.

    joints (J, 2): columns and rows scaled to -1..1; visible (J,): inside the image; pose (J, 3):
    right, up and away from the pelvis in body heights; speed (J, 2): right and up in SPEED_SCALE
    body heights per second; moving: 1 where the channels show movement; present: 0 or 1; action:
    index in ACTIONS.
    """

    joints: np.ndarray
    visible: np.ndarray
    pose: np.ndarray
    speed: np.ndarray
    moving: float
    present: float
    action: int


def draw_shot(rng: np.random.Generator, cluttered: float = 0.0) -> tuple[Shot, str]:
    """Draw one person of the wide ranges in one scene, acting once; before clutter as often as
    told."""
    action = str(rng.choice(ACTIONS))
    person, scenario = Person.draw(rng, AUXILIARY_SPREAD), int(rng.integers(1, 5))
    shot = make_shot(person, action, scenario, rng, segments=1, spread=AUXILIARY_SPREAD)
    if cluttered and rng.random() < cluttered:
        shot = replace(shot, scene=replace(shot.scene, background=clutter(rng)))
    return shot, action


def describe(shot: Shot, frame: int, action: str, *, offset: int = 0) -> Target:
    """Return the truth about one frame of a shot, and about the movement from `offset` frames
    before it to `offset` after."""
    scene, joints = shot.scene, shot.joints[frame]
    zoom = 1.0 if scene.zoom is None else float(scene.zoom[frame])
    pixels = scene.camera.project(joints, zoom)[0] / (WIDTH / 2, HEIGHT / 2) - 1  # (J, 2)
    visible = np.asarray((np.abs(pixels) < 1).all(axis=-1))
    pose = _seen_by(shot, joints - joints[0])
    before, _, after = neighbours(len(shot), frame, offset)
    moved = _seen_by(shot, shot.joints[after] - shot.joints[before])[:, :2]
    speed = moved * FPS / max(after - before, 1) / SPEED_SCALE
    # an actor who enters from far away has no speed
    moving = float(offset > 0 and np.abs(speed).max() < 10)
    return Target(
        joints=pixels.clip(-1.5, 1.5),
        visible=visible,
        pose=pose,
        speed=speed.clip(-4, 4),
        moving=moving,
        present=float(visible[:3].any()),
        action=ACTIONS.index(action),
    )


def neighbours(length: int, frame: int, offset: int) -> np.ndarray:
    """Return the frames (3,) that become the channels: `offset` before, the frame, `offset` after,
    inside the shot."""
    return np.clip([frame - offset, frame, frame + offset], 0, length - 1)


def _seen_by(shot: Shot, vectors: np.ndarray) -> np.ndarray:
    """Turn vectors (..., 3) in metres into the camera's axes, right, up and away, and into body
    heights."""
    pitch = shot.scene.camera.pitch
    cos, sin = np.cos(pitch), np.sin(pitch)
    right, away, up = np.moveaxis(vectors, -1, 0)
    seen = np.stack([right, away * sin + up * cos, away * cos - up * sin], axis=-1)
    return seen / shot.scene.build.stature


class RenderedMoments(IterableDataset):
    """An endless, reproducible stream of rendered moments: (3, H, W) float tensors and their
    targets as tensors.

    Args:
        seed, stream: Of the random numbers.
        transform: Brings images to the network's input.
        cluttered: Share of the shots before clutter, see `data.synthetic.clutter`.
    """

    def __init__(
        self, *, seed: int, stream: int, transform: ClipTransform, cluttered: float = 0.0
    ) -> None:
        self.seed, self.stream, self.transform = seed, stream, transform
        self.cluttered = cluttered

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        worker = torch.utils.data.get_worker_info()
        stream = [PRETRAIN_STREAM, self.seed, self.stream, worker.id if worker else 0]
        rng = np.random.default_rng(stream)
        while True:
            shot, action = draw_shot(rng, self.cluttered)
            renderer = shot.renderer()
            for frame in self._choose(shot, action, rng):
                offset = FRAME_OFFSET if rng.random() < STACKED_SHARE else 0
                drawn, channels = np.unique(
                    neighbours(len(shot), frame, offset), return_inverse=True
                )
                stack = np.stack([renderer.frame(one) for one in drawn])[channels]
                image = self.transform(degrade(stack, rng)[None])[0]
                yield image, _tensors(describe(shot, frame, action, offset=offset))

    def _choose(self, shot: Shot, action: str, rng: np.random.Generator) -> np.ndarray:
        inside = np.arange(*shot.segments[0])
        chosen = rng.choice(inside, size=min(FRAMES_PER_SHOT, len(inside)), replace=False)
        if action in LOCOMOTION and rng.random() < EMPTY_SHARE * FRAMES_PER_SHOT:
            chosen[0] = rng.choice([0, len(shot) - 1])
        return chosen


def degrade(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change images (T, H, W) alike by another camera's gain, gamma, contrast, sharpness and
    compression."""
    values = (images.astype(np.float32) / 255) ** rng.uniform(0.7, 1.4)
    mean = values.mean()
    values = (values - mean) * rng.uniform(0.6, 1.35) + mean + rng.uniform(-0.12, 0.12)
    images = (values.clip(0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.3:
        width = rng.uniform(0.3, 1.2)
        images = np.stack([cv2.GaussianBlur(image, (0, 0), width) for image in images])
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))]
        coded = [cv2.imencode(".jpg", image, quality)[1] for image in images]
        images = np.array([cv2.imdecode(code, cv2.IMREAD_GRAYSCALE) for code in coded])
    return images


def _tensors(target: Target) -> dict[str, Tensor]:
    tensors = {name: torch.as_tensor(value).float() for name, value in vars(target).items()}
    return {**tensors, "action": torch.tensor(target.action)}


class PoseHeads(nn.Module):
    """Linear layers on features (B, D): what they can tell, frozen features hold."""

    def __init__(self, *, in_dim: int) -> None:
        super().__init__()
        self.sizes = [math.prod(shape) for shape in SHAPES.values()]
        self.read = nn.Linear(in_dim, sum(self.sizes))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Return joints (B, J, 2), pose (B, J, 3), speed (B, J, 2), presence (B, 1) and action
        logits (B, 6) of features (B, D)."""
        parts = self.read(features).split(self.sizes, dim=-1)
        return {
            name: part.unflatten(-1, shape)
            for (name, shape), part in zip(SHAPES.items(), parts, strict=True)
        }


def losses(out: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the losses, each a mean over what it can judge: joints in the image, the action of
    somebody who is there."""
    present = target["present"]  # (B,)
    seen = (target["visible"] * present[:, None]).unsqueeze(-1)  # (B, J, 1)
    moving = seen * target["moving"][:, None, None]  # (B, J, 1)

    def of_joints(name: str, counted: Tensor) -> Tensor:
        loss = F.smooth_l1_loss(out[name], target[name], beta=0.1, reduction="none")
        return (loss * counted).sum() / (loss.shape[-1] * counted.sum()).clamp(min=1)

    action = F.cross_entropy(
        out["action"], target["action"], label_smoothing=0.05, reduction="none"
    )
    return {
        "joints": of_joints("joints", seen),
        "pose": of_joints("pose", seen),
        "speed": of_joints("speed", moving),
        "presence": F.binary_cross_entropy_with_logits(out["presence"][:, 0], present),
        "action": (action * present).sum() / present.sum().clamp(min=1),
    }


def pretrain(
    out: Path,
    *,
    init: str | Path | None = "imagenet",
    seed: int = 0,
    steps: int = 2400,
    batch_size: int = 48,
    lr: float = 1e-3,
    size: tuple[int, int] = (96, 128),
    cluttered: float = 0.5,
    progress: bool = True,
    held_out: int = 20,
) -> dict:
    """Train the backbone for `steps` batches of rendered frames, write it to `out` and return its
    card.

    Args:
        out: where the half-precision weights go, see `utils.checkpoint.save_backbone`.
        init: "imagenet", the path of a torchvision state dict, or None for random weights.
        steps: number of batches of `batch_size` moments.
        size: height and width of the input in pixels.
        cluttered: share of the shots that are before clutter.
        held_out: number of batches of 48 other rendered frames on which the result is measured.
    """
    torch.manual_seed(seed)
    device = pick_device().type
    transform = ClipTransform(size=size, channels=3)
    backbone = EfficientNetBackbone(weights=init, channels=3, frozen=False).to(device)
    backbone.to(memory_format=torch.channels_last)
    heads = PoseHeads(in_dim=backbone.feature_dim).to(device)
    started = time.time()
    moments = RenderedMoments(seed=seed, stream=0, transform=transform, cluttered=cluttered)
    batches = islice(DataLoader(moments, batch_size=batch_size, num_workers=1), steps)
    half = half_precision_pays(backbone, device, size)
    bar = tqdm(batches, "pretrain", steps, disable=not progress, mininterval=5, unit="batch")
    _fit(backbone, heads, bar, lr=lr, half=half)
    card = {
        "task": (
            "rendered people: 2-D joints, 3-D joints around the pelvis, their speed, "
            "presence, action"
        ),
        "frame_offset": FRAME_OFFSET,
        "stacked_share": STACKED_SHARE,
        "real_footage": "none",
        "init": init and Path(init).name,
        "seed": seed,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "size": list(size),
        "cluttered": cluttered,
        "minutes": round((time.time() - started) / 60, 1),
        "torch": str(torch.__version__),
        **measure(backbone, heads, seed=seed, transform=transform, device=device, batches=held_out),
    }
    save_backbone(backbone, out, card=card)
    return card


def _fit(
    backbone: EfficientNetBackbone, heads: PoseHeads, batches: tqdm, *, lr: float, half: bool
) -> None:
    """Take one step a batch; the bar that gives the batches shows the losses."""
    device = next(heads.parameters()).device
    parameters = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=batches.total, pct_start=0.15
    )
    backbone.train()
    for step, (images, target) in enumerate(batches):
        target = {name: value.to(device) for name, value in target.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            features = backbone(images.to(device, memory_format=torch.channels_last))
        parts = losses(heads(features.float()), target)
        total = torch.stack([LOSS_WEIGHTS[name] * loss for name, loss in parts.items()]).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"pre-training diverged at batch {step} (loss {total.item()}); lower lr from {lr:g}"
            )
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            batches.set_postfix({name: f"{loss.item():.3f}" for name, loss in parts.items()})


def half_precision_pays(
    backbone: EfficientNetBackbone, device: str, size: tuple[int, int] = (96, 128)
) -> bool:
    """Time one training step with and without bfloat16, which is slower on processors that lack AMX
    and AVX-512 BF16."""
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    image = torch.rand(8, backbone.channels, *size).to(memory_format=torch.channels_last)

    trained = [weight for weight in backbone.parameters() if weight.requires_grad]

    def step(enabled: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = backbone(image).float().pow(2).mean()
        torch.autograd.grad(loss, trained)

    mode = backbone.training
    backbone.eval()  # statistics of random images must not enter BatchNorm
    half, full = (min(timeit.repeat(partial(step, on), number=1, repeat=3)) for on in (True, False))
    backbone.train(mode)
    return half < 0.9 * full


@torch.inference_mode()
def measure(
    backbone: nn.Module,
    heads: PoseHeads,
    *,
    seed: int,
    transform: ClipTransform,
    device: str,
    batches: int = 20,
) -> dict:
    """Return the errors on another stream's people: pixels of 160 x 120, cm at 1.75 m, body heights
    per second, and counts of right answers; every joint that is seen counts alike.
    """
    from torchmetrics import MeanMetric

    moments = RenderedMoments(seed=seed, stream=1, transform=transform)
    counts: Counter[str] = Counter()
    means = {name: MeanMetric() for name in DIGITS}
    backbone.eval()
    for images, target in islice(DataLoader(moments, batch_size=48), batches):
        out = {name: value.cpu() for name, value in heads(backbone(images.to(device))).items()}
        counts.update(_counts(out, target))
        for name, errors in _errors(out, target).items():
            means[name].update(errors)
    rounded = {name: round(means[name].compute().item(), digits) for name, digits in DIGITS.items()}
    return {**rounded, **counts}


def _counts(out: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, int]:
    present = target["present"] > 0
    return {
        "held_out_frames": len(present),
        "presence_right": int(((out["presence"][:, 0] > 0) == present).sum()),
        "action_right": int((out["action"].argmax(-1) == target["action"])[present].sum()),
        "action_n": int(present.sum()),
    }


def _errors(out: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """One error for each joint that is seen; for speeds, of those who move."""
    seen = (target["visible"] * target["present"][:, None]).bool()
    moving = target["moving"][:, None].bool()
    pixels = (out["joints"] - target["joints"]) * torch.tensor([WIDTH / 2, HEIGHT / 2])
    return {
        "joint_error_px": pixels.norm(dim=-1)[seen],
        "speed_error": SPEED_SCALE * (out["speed"] - target["speed"]).norm(dim=-1)[seen & moving],
        "pose_error_cm": 175 * (out["pose"] - target["pose"]).norm(dim=-1)[seen],
    }
