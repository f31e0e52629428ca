"""EfficientNet-B0 as a frame encoder: images in, one feature vector per image out.

Knows torchvision's EfficientNet-B0, what a file of its weights holds and how to read one, and how
to freeze, unfreeze and fold the network. Writes no files. Does not know videos, people, actions,
segments or training; time is only one more batch axis here.
"""

import copy
import functools
import hashlib
import itertools
import re
import textwrap
import urllib.error
import zipfile
from collections.abc import Iterator, Mapping
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
# RGB stem applied to a grey image repeated three times equals the summed stem applied to it once,
# to within rounding.
GREY_MEAN, GREY_STD = 0.449, 0.226
# the first convolution, the only weight whose shape depends on the number of channels
STEM = "0.0.weight"
# an encoder's weight, such as "module.backbone.features.0.0.weight"
FEATURE = re.compile(r"(?P<before>.*?)(?:^|(?<=\.))features\.(?P<after>\d.*)")


class EfficientNetBackbone(nn.Module):
    """EfficientNet-B0 without its classifier: floats in [0, 1] to 1280 features an image,
    normalisation included.

    Args:
        weights: "bundled" (the file in models/weights), "imagenet" (torchvision's, downloaded
            once), the path of a weights file, or None for a random start.
        channels: 1 for grey images (the RGB stem is summed), 3 for colour or for three stacked
            grey frames.
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
        weights: str | Path | None = "bundled",
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
        # set on folded copies, which stand for the weights they came from
        self.folded_fingerprint: str | None = None
        self.features = efficientnet_b0(weights=None).features
        if channels == 1:
            self.features[0][0] = nn.Conv2d(1, 32, kernel_size=3, stride=2, padding=1, bias=False)
        self.features.float()  # whatever torch's default is: features are single precision
        if weights is not None:
            _load_weights(self.features, weights, channels)
        self.unfreeze(0 if frozen else len(self.features))

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, unless this is a copy folded for inference."""
        return self.features[0][0].weight.dtype

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (N, C, H, W) into (N, 1280), or clips (B, T, C, H, W) into (B, T, 1280)."""
        if images.ndim not in (4, 5) or images.shape[-3] != self.channels:
            raise ValueError(
                f"the backbone got shape {tuple(images.shape)}; it takes (N, {self.channels}, H, "
                f"W) or (B, T, {self.channels}, H, W)"
            )
        if not images.is_floating_point():
            raise TypeError(
                f"the backbone got {images.dtype}; it takes floats in [0, 1] (divide bytes by 255)"
            )
        flat = images.flatten(0, -4)  # (N, C, H, W), a clip's frames one after another
        maps = self.features(((flat - GREY_MEAN) / GREY_STD).to(self.dtype))
        return maps.mean(dim=(2, 3), dtype=torch.float32).unflatten(0, images.shape[:-3])

    def freeze(self) -> None:
        """Freeze every stage: no gradients, and evaluation mode from here on."""
        self.unfreeze(0)

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
        self.trainable_stages = stages
        for number, stage in enumerate(self.features, start=stages - len(self.features)):
            stage.requires_grad_(number >= 0)
            stage.train(number >= 0)

    def train(self, mode: bool = True) -> "EfficientNetBackbone":
        """Switch the trainable stages to training mode; frozen ones stay in evaluation mode."""
        super().train(mode)
        for stage in self.features[: len(self.features) - self.trainable_stages]:
            stage.eval()
        return self

    def folded_for_inference(self, dtype: torch.dtype | None = None) -> "EfficientNetBackbone":
        """Return a frozen copy with every BatchNorm folded into its convolution, which is faster.

        The copy keeps the original's `fingerprint()`, for the weights are the same to within
        rounding (features agree with the original's to a cosine of 0.999 or better), and it cannot
        be unfrozen. It takes float32 images and gives float32 features whatever its weights are.

        Args:
            dtype: Of the copy's weights; None asks `inference_dtype`.
        """
        folded = copy.deepcopy(self).eval()
        for block in folded.features.modules():
            if isinstance(block, nn.Sequential):
                for at, (conv, norm) in enumerate(itertools.pairwise(list(block))):
                    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                        block[at], block[at + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
        folded.folded_fingerprint = self.fingerprint()
        folded.freeze()
        dtype = dtype or inference_dtype(folded.features[0][0].weight.device)
        return folded.to(dtype=dtype).to(memory_format=torch.channels_last)

    def fingerprint(self) -> str:
        """Name these weights in 16 hexadecimal digits of sha256, for cache keys and result
        files."""
        if self.folded_fingerprint is not None:
            return self.folded_fingerprint
        digest = hashlib.sha256()
        for name, value in sorted(self.features.state_dict().items()):
            if not name.endswith("num_batches_tracked"):  # a counter that no output depends on
                digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
                digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def payload(self, card: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a weights file holds: the weights in half precision, and how they came about.

        One-dimensional weights (BatchNorm, biases) stay in single precision; they are 2 % of the
        file and the first to suffer from rounding.

        Args:
            card: How the weights were trained, on what, under which licence: plain numbers,
                strings, lists and dicts.

        Raises:
            ValueError: A weight is not finite in half precision, or this is a folded copy.
        """
        if self.folded_fingerprint is not None:
            raise ValueError("a backbone folded for inference cannot be saved; save the original")
        state = {name: _halved(name, value) for name, value in self.features.state_dict().items()}
        return {
            "format": WEIGHTS_FORMAT,
            "version": WEIGHTS_VERSION,
            "channels": self.channels,
            "state": state,
            "card": dict(card),
        }


def inference_dtype(device: torch.device) -> torch.dtype:
    """Return what a device encodes fastest with: float16 on CUDA, bfloat16 where the CPU multiplies
    it, else float32.

    A processor that only emulates bfloat16 is slower with it, so it must name AMX or AVX-512 BF16
    among its abilities.
    """
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and _multiplies_bfloat16() else torch.float32


@functools.cache
def _multiplies_bfloat16() -> bool:
    """Ask torch where it tells the processor's abilities, else Linux."""
    native, listed = ("amx_bf16", "avx512_bf16"), Path("/proc/cpuinfo")
    if hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return any(able.get(name) is True for name in native)
    return listed.is_file() and any(name in listed.read_text() for name in native)


def _halved(name: str, value: Tensor) -> Tensor:
    value = value.cpu()
    small = value.half() if value.is_floating_point() and value.ndim > 1 else value
    if not small.isfinite().all():
        raise ValueError(
            f"weight {name} is not finite in half precision (largest value "
            f"{value.abs().max():.3g}); "
            "the training that made it has diverged"
        )
    return small.clone()


def _load_weights(features: nn.Module, weights: str | Path, channels: int) -> None:
    """Load weights by name or path, their stem fitted to `channels`: RGB weights are summed for
    grey, grey ones are shared out for three channels."""
    path = BUNDLED_WEIGHTS if weights == "bundled" else Path(weights)
    state = _download_imagenet() if weights == "imagenet" else _read_state(path)
    given = getattr(state.get(STEM), "shape", ())[1:2]
    if given == (3,) and channels == 1:
        state[STEM] = state[STEM].float().sum(dim=1, keepdim=True)
    elif given == (1,) and channels == 3:
        state[STEM] = (state[STEM].float() / 3).repeat(1, 3, 1, 1)
    try:
        features.load_state_dict(state)
    except RuntimeError as error:  # names every weight that is missing, unknown or of another shape
        what = textwrap.shorten(str(error).partition("\n")[2], 240, placeholder=" ...")
        raise ValueError(
            f"{path} does not hold EfficientNet-B0's weights: {what}; expected {EXPECTED_FILE}"
        ) from error
    for name, value in features.state_dict().items():
        if not value.isfinite().all():
            raise ValueError(
                f"{path}: weight {name} is not finite; the training that made it has diverged, or "
                f"the file was changed: expected {EXPECTED_FILE}"
            )


def _download_imagenet() -> dict[str, Any]:
    source = EfficientNet_B0_Weights.IMAGENET1K_V1
    try:
        return _encoder_of(source.get_state_dict(progress=True, check_hash=True), source.url)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise ConnectionError(
            f"could not download {source.url} ({error}). Download that file by hand where there is "
            'a network and pass its path as weights=..., or use weights="bundled", which needs no '
            "network"
        ) from error


def _read_state(path: Path) -> dict[str, Any]:
    """Read the encoder's weights from a file of ours or of torchvision, refusing anything that runs
    code."""
    if not path.is_file():
        bundled = path == BUNDLED_WEIGHTS
        remedy = "run `python har.py pretrain` to make it" if bundled else "check the path"
        raise FileNotFoundError(f"no backbone weights at {path}: {remedy}")
    try:
        _check_archive(path)
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of arbitrary bytes makes the unpickler raise anything
        raise ValueError(
            f"{path} is damaged, or holds objects or code beside weights, and was not loaded; "
            f"expected {EXPECTED_FILE}"
        ) from error
    if not isinstance(payload, dict):
        raise ValueError(f"{path} holds a {type(payload).__name__}; expected {EXPECTED_FILE}")
    if payload.get("format") != WEIGHTS_FORMAT:
        return _encoder_of(payload, path)
    if payload.get("version") != WEIGHTS_VERSION:
        raise ValueError(
            f"{path} has version {payload.get('version')}, this code reads version "
            f"{WEIGHTS_VERSION}: update the project or make the file anew with `python har.py "
            "pretrain`"
        )
    state = payload.get("state")
    if not isinstance(state, Mapping):
        raise ValueError(
            f"{path} does not hold EfficientNet-B0's weights: no names and weights under 'state'; "
            f"expected {EXPECTED_FILE}"
        )
    return dict(state)


def _check_archive(path: Path) -> None:
    """Refuse an archive of torch's that is damaged, as its checksums say, which torch never looks
    at, or that unpacks to more than there is of it: weights are stored as they are."""
    if zipfile.is_zipfile(path):  # else it was written by a torch of long ago
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > path.stat().st_size or archive.testzip():
                raise ValueError("it is packed or damaged")


def _encoder_of(payload: Mapping[Any, Any], source: Any) -> dict[str, Any]:
    """Find the encoder in a state dict, ours or torchvision's, whatever it is wrapped in, and drop
    its classifier."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in _flattened(payload):
        if match := FEATURE.fullmatch(name):
            found.setdefault(match["before"], {})[match["after"]] = value
    if "backbone." in found:  # a model of ours, whole
        return found["backbone."]
    if len(found) > 1:
        raise ValueError(
            f"{source} holds {len(found)} encoders ({', '.join(sorted(found))}); expected "
            f"{EXPECTED_FILE} with one"
        )
    if not found:
        raise ValueError(
            f"{source} holds no weight called features...., as an EfficientNet-B0 has them (a "
            "recogniser that was trained on a frozen, bundled encoder may be kept without it); "
            f"expected {EXPECTED_FILE}"
        )
    return found.popitem()[1]


def _flattened(payload: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Give the tensors of a nested dict under dotted names, free of what torch.compile puts in."""
    for name, value in payload.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", tensor) for inner, tensor in _flattened(value))
        elif isinstance(value, Tensor):
            yield str(name).replace("_orig_mod.", ""), value
