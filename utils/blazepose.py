"""The person finder's two networks, run by torch or, where it is installed, by onnxruntime.

Knows networks as lists of steps over images (N, C, H, W), and which file holds them. Does not know
what their numbers mean: see `utils.person`. Source and licence stand in the file's card and in
models/weights/README.md; experiments/convert_blazepose.py makes the file.

A call runs in the thread that makes it, several at once where several threads do; torch takes as
many threads for one as it has been given. `python har.py bench predicting` says what a call costs.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHTS = Path(__file__).resolve().parents[1] / "models" / "weights" / "blazepose.pth"
FINGERPRINT = "c269f3637b4cd1d9"  # of that file, for keys of what was computed with it
BACKENDS = ("torch", "onnxruntime")
ONNX_OPERATIONS, ONNX_FORMAT = 13, 8  # old enough for every onnxruntime that pyproject.toml takes
Runner = Callable[[np.ndarray], dict[str, np.ndarray]]


@lru_cache
def load_networks(path: str | Path = WEIGHTS, backend: str | None = None) -> tuple[Runner, Runner]:
    """Return detector and landmark network, each from images (N, 3, H, W) float32 to named arrays.

    The detector takes RGB from -1 to 1, of 224 x 224 pixels, and gives boxes (N, 2254, 12) and
    scores (N, 2254, 1); the landmark network takes RGB from 0 to 1, of 256 x 256, and gives
    landmarks (N, 195), flag (N, 1), heatmap (N, 64, 64, 39) and mask (N, 256, 256, 1). They are
    loaded once a process.

    Args:
        path: The file of both.
        backend: "torch", or "onnxruntime", which is faster on a CPU and needs the
            packages onnxruntime and onnx (`pip install -e ".[fast]"`); None takes it where they
            are installed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no such backend.
        ModuleNotFoundError: The backend's packages are missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no person finder at {path}: make it with `python -m experiments.convert_blazepose`"
        )
    if backend is None:
        there = map(importlib.util.find_spec, ("onnxruntime", "onnx"))
        backend = "onnxruntime" if all(there) else "torch"
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; it takes {' or '.join(BACKENDS)}")
    kind = Network if backend == "torch" else _onnx_runner
    described = torch.load(path, map_location="cpu", weights_only=True)
    return kind(described["detector"]), kind(described["landmarks"])


@lru_cache
def fingerprint(path: str | Path = WEIGHTS) -> str:
    """Name the content of a file of weights by the first 16 digits of its SHA-256."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


class Network:
    """A network given as steps, run by torch in the calling thread."""

    def __init__(self, described: Mapping[str, Any]):
        self.described = described
        self.weights = {name: value.float() for name, value in described["weights"].items()}
        for name, value in self.weights.items():
            if value.ndim == 4:
                self.weights[name] = value.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run images (N, 3, H, W) float32; returns each output as (N, ...) float32."""
        given = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        values: dict[int, Tensor] = {self.described["input"]: given}
        for step in self.described["steps"]:
            found = self._run(step, [values[place] for place in step["inputs"]])
            values[step["output"]] = _activated(found, step.get("activation"))
        return {name: _last(values[at]).numpy() for name, at in self.described["outputs"].items()}

    def _run(self, step: Mapping[str, Any], inputs: list[Tensor]) -> Tensor:
        x, kind = inputs[0], step["kind"]
        if kind == "convolution":
            return self._convolved(x, step)
        if kind == "add":
            return x + inputs[1]
        if kind == "pool":
            return F.max_pool2d(x, step["size"])
        if kind == "resize":
            scale, corners = step["scale"], step["corners"]
            return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=corners)
        if kind == "unfold":  # TensorFlow's order: block before channel, torch's is the other
            n, channels, height, width = x.shape
            size = step["size"]
            x = x.view(n, size, size, channels // size**2, height, width)
            x = x.permute(0, 3, 4, 1, 5, 2)
            return x.reshape(n, channels // size**2, height * size, width * size)
        if kind == "rows":
            x = x.permute(0, 2, 3, 1).flatten(1)
            return x.unflatten(1, (-1, step["columns"])) if step["columns"] else x
        if kind == "join":
            return torch.cat(inputs, 1)
        return torch.sigmoid(x)

    def _convolved(self, x: Tensor, step: Mapping[str, Any]) -> Tensor:
        top, bottom, left, right = step["pad"]
        weight, bias = (self.weights[f"{step['output']}.{part}"] for part in ("weight", "bias"))
        pad = (top, left)
        if (top, left) != (bottom, right):  # stride 2 pads one side alone
            x, pad = F.pad(x, (left, right, top, bottom)), (0, 0)
        return F.conv2d(x, weight, bias, step["stride"], pad, 1, step["groups"])


def _activated(x: Tensor, kind: str | None) -> Tensor:
    """Apply what follows a convolution or a sum, in its place: nobody else holds that tensor."""
    if kind is None:
        return x
    return x.relu_() if kind == "relu" else x.clamp_(0, 6)


def _last(x: Tensor) -> Tensor:
    """Bring images to channels last, as the networks were published."""
    return x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x.contiguous()


def _onnx_runner(described: Mapping[str, Any]) -> Runner:
    """Run the same network by onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = _onnx_model(described).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = list(described["outputs"])

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"input": images}), strict=True))

    return run


def _onnx_model(described: Mapping[str, Any]) -> Any:
    """Write a network as an ONNX model, whose tensors are called by the steps' numbers."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], {n: value.float().numpy() for n, value in described["weights"].items()}
    for step in described["steps"]:
        nodes += _onnx_nodes(step, constants)
    kinds = {step["output"]: step["kind"] for step in described["steps"]}
    for name, at in described["outputs"].items():
        images = kinds[at] == "convolution"  # which come out channels last, see `_last`
        how = {"perm": [0, 2, 3, 1]} if images else {}
        nodes.append(
            helper.make_node("Transpose" if images else "Identity", [str(at)], [name], **how)
        )
    given, size = str(described["input"]), described["size"]
    nodes.insert(0, helper.make_node("Identity", ["input"], [given]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "blazepose",
        [value("input", TensorProto.FLOAT, ["n", 3, size, size])],
        [value(name, TensorProto.FLOAT, None) for name in described["outputs"]],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", ONNX_OPERATIONS)])
    model.ir_version = ONNX_FORMAT
    return model


def _onnx_nodes(step: Mapping[str, Any], constants: dict[str, np.ndarray]) -> list[Any]:
    """Return the ONNX nodes of a step; numbers that they need are put among the constants."""
    from onnx.helper import make_node

    inputs, at, kind = [str(place) for place in step["inputs"]], str(step["output"]), step["kind"]
    after = step.get("activation")
    operation, more, how = _onnx_operation(step)
    for name, array in more.items():
        constants.setdefault(name, array)
    nodes = []
    if kind == "rows":
        nodes.append(make_node("Transpose", inputs, [f"{at}.last"], perm=[0, 2, 3, 1]))
        inputs = [f"{at}.last"]
    if kind == "convolution":
        inputs += [f"{at}.weight", f"{at}.bias"]
    if kind == "resize":
        inputs.append("")  # the place of a setting that is not used
    out = f"{at}.before" if after else at
    nodes.append(make_node(operation, [*inputs, *more], [out], **how))
    if after == "relu":
        nodes.append(make_node("Relu", [out], [at]))
    elif after:
        constants |= {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
        nodes.append(make_node("Clip", [out, "zero", "six"], [at]))
    return nodes


def _onnx_operation(step: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
    """Return what ONNX calls a step, its further inputs by name, and its settings."""
    at, kind, size = step["output"], step["kind"], step.get("size")
    if kind == "convolution":
        top, bottom, left, right = step["pad"]
        how = {"pads": [top, left, bottom, right], "strides": [step["stride"]] * 2}
        return "Conv", {}, {**how, "group": step["groups"]}
    if kind == "pool":
        return "MaxPool", {}, {"kernel_shape": [size] * 2, "strides": [size] * 2}
    if kind == "resize":
        scale = np.array([1, 1, step["scale"], step["scale"]], np.float32)
        centres = "align_corners" if step["corners"] else "half_pixel"
        settings = {"mode": "linear", "coordinate_transformation_mode": centres}
        return "Resize", {f"{at}.scale": scale}, settings
    if kind == "unfold":
        return "DepthToSpace", {}, {"blocksize": size, "mode": "DCR"}
    if kind == "rows":
        shape = [0, -1, step["columns"]] if step["columns"] else [0, -1]
        return "Reshape", {f"{at}.shape": np.array(shape, np.int64)}, {}
    if kind == "join":
        return "Concat", {}, {"axis": 1}
    return {"add": "Add", "sigmoid": "Sigmoid"}[kind], {}, {}
