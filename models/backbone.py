"""EfficientNet-B0 as a frame encoder: pictures in, one feature vector per picture out.

Knows torchvision's EfficientNet-B0, the weights files this project reads and writes, and how to
freeze, unfreeze and fold the network. Does not know videos, people, actions, segments or training;
time is only one more batch axis here.
"""

import copy
import functools
import hashlib
import os
import pickle
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0

BUNDLED_WEIGHTS = Path(__file__).resolve().parent / "weights" / "efficientnet_b0_kth_synth.pth"
WEIGHTS_FORMAT, WEIGHTS_VERSION = "har-backbone", 1
EXPECTED_FILE = (
    "a backbone file of this project (format 'har-backbone') or a torchvision "
    "efficientnet_b0 state dict"
)
# ImageNet's mean and deviation averaged over its three channels: with one value for all of them, an
# RGB stem applied to a grey picture repeated three times equals the summed stem applied to it once,
# to within rounding.
GREY_MEAN, GREY_STD = 0.449, 0.226
# the first convolution, the only weight whose shape depends on the number of channels
STEM = "0.0.weight"


class EfficientNetBackbone(nn.Module):
    """EfficientNet-B0 without its classifier: floats in [0, 1] to 1280 features a picture,
    normalisation included.

    Args:
        weights: "bundled" (the file in models/weights), "imagenet" (torchvision's, downloaded
            once), the path of a weights file, or None for a random start.
        channels: 1 for grey pictures (the RGB stem is summed), 3 for colour or for three
            neighbouring frames.
        frozen: No gradients, and BatchNorm and stochastic depth stay in evaluation mode whatever
            `train()` says.

    Raises:
        FileNotFoundError: The weights file is not there; the message says how to get it.
        ValueError: The file is not a weights file of this network, or `channels` is neither 1 nor
            3.
        ConnectionError: weights="imagenet" and the download failed.
    """

    feature_dim = 1280

    def __init__(
        self,
        *,
        weights: str | os.PathLike | None = "bundled",
        channels: int = 1,
        frozen: bool = True,
    ):
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(
                f"channels is {channels}: the backbone takes 1 (grey) or 3 (colour, or three "
                "frames)"
            )
        self.channels = channels
        self.folded_fingerprint: str | None = (
            None  # set on folded copies, which stand for the weights they came from
        )
        self.features = efficientnet_b0(weights=None).features
        if channels == 1:
            self.features[0][0] = nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1, bias=False)
        if weights is not None:
            self.features.load_state_dict(_load_state(weights, channels))
        self.trainable_stages = 0
        self.freeze() if frozen else self.unfreeze(len(self.features))

    @property
    def config(self) -> dict[str, Any]:
        """Keyword arguments that, with weights=None, build a backbone of the same shape."""
        return {"channels": self.channels}

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, unless this is a copy folded for inference."""
        return self.features[0][0].weight.dtype

    def forward(self, pictures: Tensor) -> Tensor:
        """Encode pictures (N, C, H, W) into (N, 1280), or clips (B, T, C, H, W) into (B, T,
        1280)."""
        self._check(pictures)
        flat = pictures.flatten(0, -4)  # (N, C, H, W), a clip's frames one after another
        maps = self.features(((flat - GREY_MEAN) / GREY_STD).to(self.dtype))
        return maps.mean(dim=(2, 3), dtype=torch.float32).unflatten(0, pictures.shape[:-3])

    def _check(self, pictures: Tensor) -> None:
        if pictures.ndim not in (4, 5) or pictures.shape[-3] != self.channels:
            raise ValueError(
                f"the backbone got shape {tuple(pictures.shape)}; it takes (N, {self.channels}, "
                "H, W) or "
                f"(B, T, {self.channels}, H, W)"
            )
        if not pictures.is_floating_point():
            raise TypeError(
                f"the backbone got {pictures.dtype}; it takes floats in [0, 1] (divide bytes "
                "by "
                "255)"
            )

    def freeze(self) -> None:
        """Freeze every stage: no gradients, and evaluation mode from here on."""
        self._set_trainable(0)

    def unfreeze(self, stages: int) -> None:
        """Make the last `stages` of the 9 stages trainable (0 freezes all) and put them into
        training mode."""
        if not 0 <= stages <= len(self.features):
            raise ValueError(
                f"cannot unfreeze {stages} stages: the backbone has 0 to {len(self.features)}"
            )
        if stages and self.folded_fingerprint is not None:
            raise RuntimeError(
                "a backbone folded for inference has lost its BatchNorm and cannot be trained; "
                "unfreeze the original"
            )
        self._set_trainable(stages)

    def _set_trainable(self, stages: int) -> None:
        self.trainable_stages = stages
        first = len(self.features) - stages
        for number, stage in enumerate(self.features):
            stage.requires_grad_(number >= first)
            stage.train(number >= first)

    def train(self, mode: bool = True) -> "EfficientNetBackbone":
        """Switch the trainable stages to training mode; frozen ones stay in evaluation mode."""
        super().train(mode)
        for stage in self.features[: len(self.features) - self.trainable_stages]:
            stage.eval()
        return self

    def folded_for_inference(self, dtype: torch.dtype | None = None) -> "EfficientNetBackbone":
        """Return a faster frozen copy; see the function of this name."""
        return folded_for_inference(self, dtype)

    def fingerprint(self) -> str:
        """Name these weights in 16 hexadecimal digits of sha256, for cache keys and result
        files."""
        if self.folded_fingerprint is not None:
            return self.folded_fingerprint
        digest = hashlib.sha256()
        for name, value in sorted(self.features.state_dict().items()):
            if not name.endswith("num_batches_tracked"):  # a counter that no output depends on
                digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def save_backbone(
    backbone: EfficientNetBackbone, path: str | os.PathLike, *, card: Mapping[str, Any]
) -> None:
    """Write the weights in half precision, atomically: a crash leaves the old file or the new one,
    never half of one.

    One-dimensional weights (BatchNorm, biases) stay in single precision; they are 2 % of the file
    and the first to suffer from rounding.

    Args:
        backbone: The backbone to save; a folded copy cannot be saved.
        path: The file to write; its folder is created.
        card: How the weights were trained, on what, under which licence: plain numbers, strings,
            lists and dicts.

    Raises:
        ValueError: A weight is not finite in half precision, or the backbone is a folded copy.
    """
    if backbone.folded_fingerprint is not None:
        raise ValueError("a backbone folded for inference cannot be saved; save the original")
    state = {name: _halved(name, value) for name, value in backbone.features.state_dict().items()}
    payload = {
        "format": WEIGHTS_FORMAT,
        "version": WEIGHTS_VERSION,
        "channels": backbone.channels,
        "state": state,
        "card": dict(card),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        torch.save(payload, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_card(path: str | os.PathLike = BUNDLED_WEIGHTS) -> dict[str, Any]:
    """Return the card of a backbone file; {} for a torchvision state dict, which has none."""
    return dict(_read_payload(Path(path)).get("card", {}))


def inference_dtype(device: torch.device) -> torch.dtype:
    """Return what a device encodes fastest with: float16 on CUDA, bfloat16 where the CPU multiplies
    it, else float32.

    A processor that only emulates bfloat16 is slower with it, so it must name AMX or AVX-512 BF16
    among its abilities.
    """
    if device.type == "cuda":
        return torch.float16
    native = {"amx_bf16", "avx512_bf16"} & _processor_flags()
    return torch.bfloat16 if device.type == "cpu" and native else torch.float32


@functools.lru_cache(maxsize=1)
def _processor_flags() -> frozenset[str]:
    """Return the processor's abilities by Linux's names: from torch where it tells them, else from
    Linux itself."""
    if hasattr(torch.cpu, "get_capabilities"):
        return frozenset(
            name for name, there in torch.cpu.get_capabilities().items() if there is True
        )
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    return frozenset(next((line.split() for line in lines if line.startswith("flags")), []))


def folded_for_inference(
    backbone: EfficientNetBackbone, dtype: torch.dtype | None = None
) -> EfficientNetBackbone:
    """Return a frozen copy with every BatchNorm folded into its convolution and weights of another
    precision.

    The copy keeps the original's `fingerprint()`, for the weights are the same to within rounding
    (features agree with the original's to a cosine of 0.999 or better), and it cannot be unfrozen.
    It takes float32 pictures and gives float32 features whatever its weights are.

    Args:
        backbone: The original; it is not changed.
        dtype: Of the copy's weights; None asks `inference_dtype`.
    """
    fingerprint = backbone.fingerprint()
    folded = copy.deepcopy(backbone)
    folded.freeze()
    for block in folded.features.modules():
        if isinstance(block, nn.Sequential):
            _fold_pairs(block)
    folded.folded_fingerprint = fingerprint
    folded.requires_grad_(False)
    dtype = dtype or inference_dtype(folded.features[0][0].weight.device)
    return folded.eval().to(dtype=dtype).to(memory_format=torch.channels_last)


def _fold_pairs(block: nn.Sequential) -> None:
    for first in range(len(block) - 1):
        conv, norm = block[first], block[first + 1]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block[first], block[first + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _halved(name: str, value: Tensor) -> Tensor:
    value = value.detach().cpu()
    small = value.half() if value.is_floating_point() and value.ndim > 1 else value
    if small.is_floating_point() and not torch.isfinite(small).all():
        raise ValueError(
            f"weight {name} is not finite in half precision (largest value "
            f"{value.abs().max():.3g}); "
            "the training that made it has diverged"
        )
    return small.clone()


def _load_state(weights: str | os.PathLike, channels: int) -> dict[str, Tensor]:
    if weights == "imagenet":
        payload = {"state": _download_imagenet()}
    elif weights == "bundled":
        payload = _read_payload(BUNDLED_WEIGHTS)
    else:
        payload = _read_payload(Path(weights))
    return _with_channels(payload["state"], channels)


def _with_channels(state: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Fit the stem to `channels`: RGB weights are summed for grey, grey ones are shared out for
    three channels."""
    state = dict(state)
    stem = state[STEM].float()
    if stem.shape[1] == 3 and channels == 1:
        state[STEM] = stem.sum(dim=1, keepdim=True)
    elif stem.shape[1] == 1 and channels == 3:
        state[STEM] = (stem / 3).repeat(1, 3, 1, 1)
    return state


def _download_imagenet() -> dict[str, Tensor]:
    source = EfficientNet_B0_Weights.IMAGENET1K_V1
    try:
        state = source.get_state_dict(progress=True, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise ConnectionError(
            f"could not download {source.url} ({error}). Download that file by hand where there "
            "is a network and pass "
            'its path as weights=..., or use weights="bundled", which needs no network'
        ) from error
    return _torchvision_features(state, source.url)


def _read_payload(path: Path) -> dict[str, Any]:
    """Read a weights file into {"state": features state dict, "card": ...}, refusing anything that
    runs code."""
    if not path.is_file():
        remedy = (
            "run `python har.py pretrain` to make it"
            if path == BUNDLED_WEIGHTS
            else "check the path"
        )
        raise FileNotFoundError(f"no backbone weights at {path}: {remedy}")
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than weights (objects or code) or is damaged, and was not loaded; "
            f"expected {EXPECTED_FILE}"
        ) from error
    except Exception as error:  # a file of arbitrary bytes makes the unpickler raise anything
        raise ValueError(
            f"{path} is not a readable weights file ({error}); expected {EXPECTED_FILE}"
        ) from error
    if not isinstance(payload, dict):
        raise ValueError(f"{path} holds a {type(payload).__name__}; expected {EXPECTED_FILE}")
    if payload.get("format") != WEIGHTS_FORMAT:
        return {"state": _torchvision_features(payload, path)}
    if payload.get("version") != WEIGHTS_VERSION:
        raise ValueError(
            f"{path} has version {payload.get('version')}, this code reads version "
            f"{WEIGHTS_VERSION}: "
            "update the project or make the file anew with `python har.py pretrain`"
        )
    _check_state(payload.get("state"), path)
    return payload


def _torchvision_features(state: Mapping[str, Any], origin: object) -> dict[str, Tensor]:
    """Keep the encoder of a torchvision state dict and drop its classifier."""
    prefix = "features."
    features = {
        str(name)[len(prefix) :]: value
        for name, value in state.items()
        if str(name).startswith(prefix)
    }
    _check_state(features, origin)
    return features


def _check_state(state: Any, origin: object) -> None:
    """Refuse a state dict whose names or shapes are not EfficientNet-B0's; the stem may have 1 or 3
    channels."""
    with torch.device("meta"):  # names and shapes alone, no memory and no random numbers
        expected = efficientnet_b0(weights=None).features.state_dict()
    if not isinstance(state, Mapping) or set(state) != set(expected):
        found = len(state) if isinstance(state, Mapping) else 0
        raise ValueError(
            f"{origin} has {found} encoder weights that are not the {len(expected)} of "
            "EfficientNet-B0; "
            f"expected {EXPECTED_FILE}"
        )
    for name, want in expected.items():
        shape, fits = tuple(getattr(state[name], "shape", ())), {tuple(want.shape)}
        if name == STEM:
            fits.add((want.shape[0], 1, *want.shape[2:]))
        if shape not in fits:
            raise ValueError(
                f"{origin}: weight {name} has shape {shape}, EfficientNet-B0 has "
                f"{tuple(want.shape)}; "
                f"expected {EXPECTED_FILE}"
            )
