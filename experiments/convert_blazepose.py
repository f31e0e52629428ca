"""Makes models/weights/blazepose.pth from Google's public wheel: the person finder's two networks.

    pip download mediapipe==0.10.21 --no-deps
    pip install tflite ai-edge-litert
    python -m experiments.convert_blazepose mediapipe-0.10.21-*.whl

A folder into which the wheel was unpacked will do too. Newer wheels no longer hold the networks.
The packages `tflite` (reads the file) and `ai-edge-litert` (lays out sparse weights) are needed
here alone, so no extra brings them. Knows TensorFlow Lite's operations, of which the two networks
use nine, and writes them as the steps that `utils.blazepose.Network` runs. Does not know what the
networks are for. The weights are kept in half precision, in which they were published, so nothing
is lost; the same wheel gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.files import written_whole
from utils.blazepose import WEIGHTS

# file in the wheel, and which of its outputs are kept, in our order
SOURCES = {
    "detector": ("pose_detection/pose_detection.tflite", {"boxes": 0, "scores": 1}),
    "landmarks": (
        "pose_landmark/pose_landmark_full.tflite",
        {"landmarks": 0, "flag": 1, "heatmap": 3, "mask": 2},
    ),
}
CARD = {
    "what": "BlazePose: person detector and full-body landmarks (33 points) with a person mask",
    "makers": "Google, MediaPipe",
    "paper": "Bazarevsky et al., BlazePose: On-device Real-time Body Pose tracking, 2020, "
    "arXiv:2006.10204",
    "licence": "Apache-2.0",
    "wheel": "mediapipe 0.10.21, from the Python Package Index",
    "trained_on": "the paper names 60,000 images of one or few people in common poses and 25,000 "
    "of people exercising, annotated by hand; the published networks are later ones of the same "
    "kind, of which the wheel says nothing. No frame of ours was used",
    "precision": "float16, as published",
}
ACTIVATIONS = {0: None, 1: "relu", 3: "relu6"}


def convert(source: str | Path, out: str | Path = WEIGHTS) -> dict[str, Any]:
    """Write both networks of a wheel, or of a folder it was unpacked into, and return their card.

    Raises:
        ValueError: The source does not hold the networks, an operation is not known, or a weight
            does not fit into half precision.
        ModuleNotFoundError: tflite or ai-edge-litert is missing.
    """
    networks, hashes = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, outputs) in SOURCES.items():
            path = _unpacked(Path(source), f"mediapipe/modules/{file}", folder)
            hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            networks[name] = _Graph(path).described(outputs)
    card = {**CARD, "sha256": hashes}
    content = io.BytesIO()  # in a file, torch would write that file's name too
    torch.save({**networks, "card": card}, content)
    with written_whole(out) as partial:
        partial.write_bytes(content.getvalue())
    return card


def _unpacked(source: Path, file: str, folder: str) -> Path:
    if source.is_dir():
        if (source / file).is_file():
            return source / file
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            if file in archive.namelist():
                return Path(archive.extract(file, folder))
    raise ValueError(f"{source} holds no {file}; take the wheel mediapipe 0.10.21")


class _Graph:
    """A TensorFlow Lite file, read operation by operation."""

    def __init__(self, path: Path):
        import tflite
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.tflite = tflite
        model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        self.graph = model.Subgraphs(0)
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
        self.names = [names[max(c.BuiltinCode(), c.DeprecatedBuiltinCode())] for c in codes]
        # run once, for weights that are stored sparse are only then laid out
        self.interpreter = Interpreter(
            str(path),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.interpreter.allocate_tensors()
        given = self.interpreter.get_input_details()[0]
        self.interpreter.set_tensor(given["index"], np.zeros(given["shape"], np.float32))
        self.interpreter.invoke()

    def described(self, outputs: Mapping[str, int]) -> dict[str, Any]:
        """Return the steps that the wanted outputs need, their weights and names."""
        wanted = {name: int(self.graph.Outputs(place)) for name, place in outputs.items()}
        first = int(self.graph.Inputs(0))
        needed = set(wanted.values())
        steps: list[dict[str, Any]] = []
        weights: dict[str, np.ndarray] = {}
        for step, arrays in reversed(list(self._steps())):
            if step["output"] in needed:
                needed |= set(step["inputs"])
                steps.insert(0, step)
                weights |= arrays
        for name, array in weights.items():
            half = array.astype(np.float16)
            if not np.array_equal(half.astype(np.float32), array):
                raise ValueError(f"the weights {name} lose something in half precision")
        return {
            "size": self._shape(first)[1],
            "input": first,
            "outputs": wanted,
            "steps": steps,
            "weights": {name: torch.from_numpy(array).half() for name, array in weights.items()},
        }

    def _steps(self) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
        """Yield each step with its weights; paddings become part of the convolution behind them."""
        pads: dict[int, tuple[int, list[int]]] = {}
        for number in range(self.graph.OperatorsLength()):
            operation = self.graph.Operators(number)
            kind = self.names[operation.OpcodeIndex()]
            inputs = [int(place) for place in operation.InputsAsNumpy()]
            output = int(operation.Outputs(0))
            if kind in ("DEQUANTIZE", "DENSIFY"):
                continue
            if kind == "PAD":
                (_, *sides, _) = self._constant(inputs[1]).tolist()
                pads[output] = inputs[0], [edge for side in sides for edge in side]
                continue
            step: dict[str, Any] = {"inputs": inputs[:1], "output": output}
            if "CONV_2D" in kind:
                convolution, arrays = self._convolution(kind, operation, inputs, output, pads)
                yield {**step, **convolution}, arrays
            else:
                yield {**step, **self._simple(kind, operation, inputs, output)}, {}

    def _convolution(self, kind: str, operation: Any, inputs: list[int], output: int, pads: Any):
        by_channel = kind.startswith("DEPTHWISE")
        options = self._options(operation, f"{'Depthwise' if by_channel else ''}Conv2DOptions")
        order = (3, 0, 1, 2) if by_channel else (0, 3, 1, 2)
        weight = self._constant(inputs[1]).astype(np.float32).transpose(order)
        source, pad = pads.get(inputs[0], (inputs[0], [0, 0, 0, 0]))
        stride = options.StrideH()
        if options.Padding() == 0:  # SAME: the odd pixel goes to the end
            sizes = zip(self._shape(source)[1:3], weight.shape[2:], strict=True)
            room = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in sizes]
            pad = [edge for p in room for edge in (p // 2, p - p // 2)]
        step = {
            "kind": "convolution",
            "inputs": [source],
            "stride": stride,
            "pad": pad,  # top, bottom, left, right
            "groups": len(weight) if by_channel else 1,
            "activation": ACTIVATIONS[options.FusedActivationFunction()],
        }
        bias = self._constant(inputs[2]).astype(np.float32)
        return step, {f"{output}.weight": np.ascontiguousarray(weight), f"{output}.bias": bias}

    def _simple(self, kind: str, operation: Any, inputs: list[int], output: int) -> dict[str, Any]:
        shape = self._shape(output)
        if kind == "ADD":
            after = self._options(operation, "AddOptions").FusedActivationFunction()
            return {"kind": "add", "inputs": inputs, "activation": ACTIVATIONS[after]}
        if kind == "MAX_POOL_2D":
            return {"kind": "pool", "size": self._options(operation, "Pool2DOptions").StrideH()}
        if kind == "RESIZE_BILINEAR":
            options = self._options(operation, "ResizeBilinearOptions")
            if not (options.AlignCorners() or options.HalfPixelCenters()):
                raise ValueError("an enlargement from pixel corners is not known")
            scale = shape[1] // self._shape(inputs[0])[1]
            return {"kind": "resize", "scale": scale, "corners": bool(options.AlignCorners())}
        if kind == "DEPTH_TO_SPACE":
            size = self._options(operation, "DepthToSpaceOptions").BlockSize()
            return {"kind": "unfold", "size": size}
        if kind == "LOGISTIC":
            return {"kind": "sigmoid"}
        if kind == "RESHAPE":  # of (H, W, C), channels last
            return {"kind": "rows", "columns": shape[-1] if len(shape) > 2 else 0}
        if kind == "CONCATENATION":
            return {"kind": "join", "inputs": inputs}
        raise ValueError(f"the operation {kind} is not known")

    def _constant(self, place: int) -> np.ndarray:
        return np.array(self.interpreter.get_tensor(int(place)))

    def _shape(self, place: int) -> list[int]:
        return self.graph.Tensors(place).ShapeAsNumpy().tolist()

    def _options(self, operation: Any, name: str) -> Any:
        options, table = getattr(self.tflite, name)(), operation.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", metavar="WHEEL_OR_DIR")
    parser.add_argument("--out", default=WEIGHTS)
    arguments = parser.parse_args()
    print(convert(arguments.source, arguments.out))
