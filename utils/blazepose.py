"""The person finder's two networks, run by torch or, where it is installed, by onnxruntime.

Knows networks as lists of steps over images (N, C, H, W), and which file holds them. Does not know
what their numbers mean: see `utils.person`. Source and licence stand in the file's card and in
models/weights/README.md; experiments/convert_blazepose.py makes the file.
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
Runner = Callable[[np.ndarray], dict[str, np.ndarray]]


@lru_cache
def load_networks(path: str | Path = WEIGHTS, backend: str | None = None) -> tuple[Runner, Runner]:
    """Return detector and landmark network, each from images (N, 3, H, W) float32 to named arrays.

    Args:
        path: The file of both.
        backend: "torch", or "onnxruntime", which is about twice as fast on a CPU and needs the
            packages onnxruntime and onnx; None takes it where they are installed.

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
    kinds: dict[str, Any] = {"torch": Network, "onnxruntime": _onnx_runner}
    if backend not in kinds:
        raise ValueError(f"backend is {backend!r}; it takes {' or '.join(kinds)}")
    described = torch.load(path, map_location="cpu", weights_only=True)
    return kinds[backend](described["detector"]), kinds[backend](described["landmarks"])


@lru_cache
def fingerprint(path: str | Path = WEIGHTS) -> str:
    """Name the content of the file, for keys of what was computed with it."""
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
    if kind is None:
        return x
    return x.relu() if kind == "relu" else x.clamp(0, 6)


def _last(x: Tensor) -> Tensor:
    """Bring images to channels last, as the networks were published."""
    return x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x.contiguous()


def _onnx_runner(described: Mapping[str, Any]) -> Runner:
    """Build the same network for onnxruntime; one thread, for files are searched side by side."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = _onnx_model(described).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(described["outputs"], session.run(None, {"input": images}), strict=True))

    return run


def _onnx_model(described: Mapping[str, Any]) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    names = {described["input"]: "input"}
    nodes = [node for step in described["steps"] for node in _onnx_nodes(step, names)]
    for name, at in described["outputs"].items():
        image = described["steps"][[s["output"] for s in described["steps"]].index(at)]
        last = {} if image["kind"] in ("rows", "join", "sigmoid") else {"perm": [0, 2, 3, 1]}
        kind = "Transpose" if last else "Identity"
        nodes.append(helper.make_node(kind, [names[at]], [name], **last))
    arrays = {name: value.float().numpy() for name, value in described["weights"].items()}
    arrays |= {"zero": np.float32(0), "six": np.float32(6), "flat": np.array([0, -1])}
    for step in described["steps"]:
        if step["kind"] == "resize":
            arrays[f"{step['output']}.scale"] = np.float32([1, 1, step["scale"], step["scale"]])
        if step["kind"] == "rows" and step["columns"]:
            arrays[f"{step['output']}.shape"] = np.array([0, -1, step["columns"]])
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    size = described["size"]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, size, size])
    results = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in described["outputs"]
    ]
    graph = helper.make_graph(nodes, "blazepose", [given], results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def _onnx_nodes(step: Mapping[str, Any], names: dict[int, str]) -> list[Any]:
    """Return the ONNX nodes of a step, and give its output a name."""
    from onnx.helper import make_node

    inputs, out = [names[place] for place in step["inputs"]], f"t{step['output']}"
    at, kind = str(step["output"]), step["kind"]
    names[step["output"]] = out
    if kind == "convolution":
        top, bottom, left, right = step["pad"]
        how = {"pads": [top, left, bottom, right], "strides": [step["stride"]] * 2}
        inputs += [f"{at}.weight", f"{at}.bias"]
        nodes = [make_node("Conv", inputs, [out], group=step["groups"], **how)]
    elif kind == "pool":
        nodes = [
            make_node(
                "MaxPool",
                inputs,
                [out],
                kernel_shape=[step["size"]] * 2,
                strides=[step["size"]] * 2,
            )
        ]
    elif kind == "resize":
        centres = "align_corners" if step["corners"] else "half_pixel"
        nodes = [
            make_node(
                "Resize",
                [inputs[0], "", f"{at}.scale"],
                [out],
                mode="linear",
                coordinate_transformation_mode=centres,
            )
        ]
    elif kind == "unfold":
        nodes = [make_node("DepthToSpace", inputs, [out], blocksize=step["size"], mode="DCR")]
    elif kind == "rows":
        shape = f"{at}.shape" if step["columns"] else "flat"
        nodes = [
            make_node("Transpose", inputs, [f"{out}.last"], perm=[0, 2, 3, 1]),
            make_node("Reshape", [f"{out}.last", shape], [out]),
        ]
    else:
        plain = {"add": "Add", "sigmoid": "Sigmoid", "join": "Concat"}[kind]
        nodes = [make_node(plain, inputs, [out], **({"axis": 1} if kind == "join" else {}))]
    if after := step.get("activation"):
        names[step["output"]] = f"{out}.on"
        clip = ["zero", "six"] if after == "relu6" else []
        nodes.append(make_node("Clip" if clip else "Relu", [out, *clip], [f"{out}.on"]))
    return nodes
