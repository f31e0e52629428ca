"""Teach the backbone what people look like, on rendered people that the default data set never shows.

Knows the tasks (where the joints are, in the picture and around the pelvis; whether anybody is there; which action) and
their losses. The crowd is drawn from its own random streams with wider ranges than KTH-Synth; no real footage is used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm.auto import tqdm

from data.body import JOINTS
from data.kth import ACTIONS
from data.motion import LOCOMOTION
from data.render import HEIGHT, WIDTH
from data.synthetic import Person, Shot, make_shot
from models.backbone import EfficientNetBackbone, save_backbone
from utils.data_setup import ClipTransform

# First word of the crowd's random streams. KTH-Synth's streams begin with its own seed, which is 0 by default.
CROWD_STREAM = 3
FRAMES_PER_SHOT = 5
EMPTY_SHARE = 0.06
# scales that bring the four losses to one order of magnitude at the start
LOSS_WEIGHTS = {"joints": 4.0, "pose": 4.0, "presence": 0.5, "action": 0.5}


@dataclass(frozen=True)
class Target:
    """What one rendered frame shows.

    joints (J, 2): columns and rows scaled to -1..1; visible (J,): inside the picture; pose (J, 3): right, up and away
    from the pelvis in statures; present: 0 or 1; action: index in ACTIONS.
    """

    joints: np.ndarray
    visible: np.ndarray
    pose: np.ndarray
    present: float
    action: int


def draw_shot(rng: np.random.Generator, *, spread: float = 1.6) -> tuple[Shot, str]:
    """One person of the wide crowd in one scene, acting once."""
    action = str(rng.choice(ACTIONS))
    person = Person.draw(rng, spread)
    return make_shot(person, action, int(rng.integers(1, 5)), rng, segments=1, spread=spread), action


def describe(shot: Shot, frame: int, action: str) -> Target:
    """The truth about one frame of a shot."""
    camera, joints = shot.scene.camera, shot.joints[frame]
    zoom = 1.0 if shot.scene.zoom is None else float(shot.scene.zoom[frame])
    pixels = camera.project(joints, zoom)[0] / (WIDTH / 2, HEIGHT / 2) - 1  # (J, 2)
    visible = np.asarray((np.abs(pixels) < 1).all(axis=-1))
    offset = (joints - joints[0]) / shot.scene.build.stature
    cos, sin = np.cos(camera.pitch), np.sin(camera.pitch)
    up, away = offset[:, 1] * sin + offset[:, 2] * cos, offset[:, 1] * cos - offset[:, 2] * sin
    pose = np.stack([offset[:, 0], up, away], axis=-1)
    return Target(pixels.clip(-1.5, 1.5), visible, pose, float(visible[:3].any()), ACTIONS.index(action))


class Crowd(IterableDataset):
    """An endless, reproducible stream of rendered frames: (C, H, W) float tensors and their targets as tensors."""

    def __init__(self, *, seed: int, stream: int, transform: ClipTransform) -> None:
        self.seed, self.stream, self.transform = seed, stream, transform

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([CROWD_STREAM, self.seed, self.stream, worker.id if worker else 0])
        while True:
            shot, action = draw_shot(rng)
            renderer = shot.renderer()
            for frame in self._choose(shot, action, rng):
                target = describe(shot, frame, action)
                picture = degrade(renderer.frame(frame), rng)
                yield self.transform(picture[None])[0], _tensors(target)

    def _choose(self, shot: Shot, action: str, rng: np.random.Generator) -> np.ndarray:
        (start, stop), frames = shot.segments[0], len(shot)
        chosen = rng.choice(np.arange(start, stop), size=min(FRAMES_PER_SHOT, stop - start), replace=False)
        if action in LOCOMOTION and rng.random() < EMPTY_SHARE * FRAMES_PER_SHOT:
            chosen[0] = rng.choice([0, frames - 1])
        return chosen


def degrade(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain, gamma and contrast as another camera would have them."""
    values = (picture.astype(np.float32) / 255) ** rng.uniform(0.7, 1.4)
    values = (values - values.mean()) * rng.uniform(0.6, 1.35) + values.mean() + rng.uniform(-0.12, 0.12)
    return (values.clip(0, 1) * 255).astype(np.uint8)


def _tensors(target: Target) -> dict[str, Tensor]:
    return {
        "joints": torch.from_numpy(target.joints).float(),
        "visible": torch.from_numpy(target.visible).float(),
        "pose": torch.from_numpy(target.pose).float(),
        "present": torch.tensor(target.present),
        "action": torch.tensor(target.action),
    }


class PoseHeads(nn.Module):
    """Linear readings of features (B, D): what a linear layer can read off, a frozen feature says."""

    def __init__(self, *, in_dim: int) -> None:
        super().__init__()
        count = len(JOINTS)
        self.sizes = {"joints": 2 * count, "pose": 3 * count, "presence": 1, "action": len(ACTIONS)}
        self.read = nn.Linear(in_dim, sum(self.sizes.values()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Joints (B, J, 2), pose (B, J, 3), presence (B, 1) and action logits (B, 6) of features (B, D)."""
        parts = self.read(features).split(list(self.sizes.values()), dim=-1)
        out = dict(zip(self.sizes, parts, strict=True))
        out["joints"] = out["joints"].unflatten(-1, (-1, 2))  # (B, J, 2)
        out["pose"] = out["pose"].unflatten(-1, (-1, 3))  # (B, J, 3)
        return out


def losses(out: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The four losses, each a mean over the batch; joints out of the picture and empty scenes are left out."""
    present = target["present"]  # (B,)
    seen = (target["visible"] * present[:, None]).unsqueeze(-1)  # (B, J, 1)
    joints = F.smooth_l1_loss(out["joints"], target["joints"], beta=0.1, reduction="none") * seen
    pose = F.smooth_l1_loss(out["pose"], target["pose"], beta=0.1, reduction="none") * seen
    action = F.cross_entropy(out["action"], target["action"], label_smoothing=0.05, reduction="none") * present
    return {
        "joints": joints.sum() / (2 * seen.sum()).clamp(min=1),
        "pose": pose.sum() / (3 * seen.sum()).clamp(min=1),
        "presence": F.binary_cross_entropy_with_logits(out["presence"][:, 0], present),
        "action": action.sum() / present.sum().clamp(min=1),
    }


def pretrain(
    out: Path,
    *,
    init: str | Path = "imagenet",
    seed: int = 0,
    steps: int = 1500,
    batch_size: int = 48,
    lr: float = 1e-3,
    size: tuple[int, int] = (96, 128),
    device: str | None = None,
    progress: bool = True,
    held_out: int = 20,
) -> dict:
    """Train the backbone for `steps` batches of rendered frames, write it to `out` and return its card.

    Args:
        out: where the half-precision weights go, see `models.backbone.save_backbone`.
        init: "imagenet", the path of a torchvision state dict, or None for random weights.
        steps: number of batches; 1500 batches of 48 take about twenty minutes on two cores with bf16.
        size: height and width of the input in pixels.
        held_out: number of batches of 48 other rendered frames on which the result is measured.
    """
    torch.manual_seed(seed)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    transform = ClipTransform(size=size)
    backbone = EfficientNetBackbone(weights=init, channels=1, frozen=False).to(device)
    backbone.to(memory_format=torch.channels_last)
    heads = PoseHeads(in_dim=backbone.feature_dim).to(device)
    source = init if init in (None, "imagenet") else Path(init).name
    started = time.time()
    batches = iter(DataLoader(Crowd(seed=seed, stream=0, transform=transform), batch_size=batch_size, num_workers=1))
    _fit(backbone, heads, batches, steps=steps, lr=lr, size=size, device=device, progress=progress)
    measured = measure(backbone, heads, seed=seed, transform=transform, device=device, batches=held_out)
    card = {
        "task": "rendered people: 2-D joints, 3-D joints around the pelvis, presence, action",
        "real_footage": "none",
        "init": source,
        "seed": seed,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "size": list(size),
        "minutes": round((time.time() - started) / 60, 1),
        "torch": str(torch.__version__),
        **measured,
    }
    save_backbone(backbone, out, card=card)
    return card


def _fit(
    backbone: EfficientNetBackbone, heads: PoseHeads, batches: Iterator, *,
    steps: int, lr: float, size: tuple[int, int], device: str, progress: bool,
) -> None:
    parameters = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.15)
    half = half_precision_pays(backbone, device, size)
    bar = tqdm(range(steps), desc="pretrain", unit="batch", disable=not progress, mininterval=5)
    backbone.train()
    for step in bar:
        pictures, target = next(batches)
        target = {name: value.to(device) for name, value in target.items()}
        with torch.autocast(device, torch.bfloat16, enabled=half):
            features = backbone(pictures.to(device, memory_format=torch.channels_last))
        parts = losses(heads(features.float()), target)
        total = torch.stack([LOSS_WEIGHTS[name] * loss for name, loss in parts.items()]).sum()
        if not torch.isfinite(total):
            raise RuntimeError(f"pre-training diverged at batch {step} (loss {total.item()}); lower lr from {lr:g}")
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 0:
            bar.set_postfix({name: f"{loss.item():.3f}" for name, loss in parts.items()})


def half_precision_pays(backbone: nn.Module, device: str, size: tuple[int, int] = (96, 128)) -> bool:
    """Time one training step with and without bfloat16; processors without AMX or AVX-512 BF16 are slower with it."""
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    picture = torch.rand(8, 1, *size).to(memory_format=torch.channels_last)

    def seconds(enabled: bool) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = backbone(picture).float().pow(2).mean()
            torch.autograd.grad(loss, [p for p in backbone.parameters() if p.requires_grad])
            times.append(time.perf_counter() - start)
        return min(times)

    mode, _ = backbone.training, backbone.eval()  # statistics of random pictures must not enter BatchNorm
    pays = seconds(True) < 0.9 * seconds(False)
    backbone.train(mode)
    return pays


@torch.inference_mode()
def measure(
    backbone: nn.Module, heads: PoseHeads, *, seed: int, transform: ClipTransform, device: str, batches: int = 20
) -> dict:
    """Errors on rendered people of another stream: pixels of 160 x 120, centimetres at 1.75 m, shares right."""
    stream = iter(DataLoader(Crowd(seed=seed, stream=1, transform=transform), batch_size=48))
    backbone.eval()
    rows = []
    for _ in range(batches):
        pictures, target = next(stream)
        out = {name: value.float().cpu() for name, value in heads(backbone(pictures.to(device)).float()).items()}
        rows.append(_errors(out, target))
    n = sum(row["frames"] for row in rows)
    return {
        "held_out_frames": n,
        "joint_error_px": round(sum(row["px"] for row in rows) / len(rows), 2),
        "pose_error_cm": round(sum(row["cm"] for row in rows) / len(rows), 2),
        "presence_right": sum(row["presence"] for row in rows),
        "action_right": sum(row["action"] for row in rows),
        "action_n": sum(row["present"] for row in rows),
    }


def _errors(out: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, float]:
    present = target["present"] > 0
    seen = (target["visible"] * target["present"][:, None]).bool()
    pixels = (out["joints"] - target["joints"]) * torch.tensor([WIDTH / 2, HEIGHT / 2])
    return {
        "frames": len(present),
        "present": int(present.sum()),
        "px": pixels.norm(dim=-1)[seen].mean().item(),
        "cm": 175 * (out["pose"] - target["pose"]).norm(dim=-1)[seen].mean().item(),
        "presence": int(((out["presence"][:, 0] > 0) == present).sum()),
        "action": int((out["action"].argmax(-1) == target["action"])[present].sum()),
    }
