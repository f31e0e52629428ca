"""A recogniser's network as one graph in a file, encoder and head: written as ONNX or by
torch.export, and an ONNX graph that onnxruntime runs in the network's place.

Knows a `Recogniser`, what its network takes, and these files. Does not know experiments, nor what
the plain values mean that go along. A graph takes clips all of whose frames count, so there is no
mask in it; frames are still chosen, read and scaled by whoever runs it, as these values say.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from data.files import written_whole
from utils.checkpoint import plain
from utils.predict import Recogniser

KEY = "recogniser"  # under which an ONNX file's metadata hold the plain values, as JSON
BESIDE = f"{KEY}.json"  # the same in a .pt2 file
OPSET, IR_VERSION = 17, 8  # both read by every onnxruntime since 1.13
CLIPS = 8  # in one pass of onnxruntime: more take memory and no less time
INSTALL = 'this takes onnx and onnxruntime: pip install -e ".[onnx]"'


def export_onnx(recogniser: Any, path: str | Path, *, int8: bool = False) -> Path:
    """Write a recogniser's network as an ONNX graph, whole or not at all, and return the file.

    The graph maps `clip` to `logits` (B, K): (B, T, C, H, W) in [0, 1], or numbers (B, T, D) where
    the reader gives such; B and T are free. The metadata's entry KEY holds all that the checkpoint
    says of itself as JSON, classes and preprocessing among it.

    Args:
        recogniser: A `Recogniser`.
        path: The file to write.
        int8: Keep the weights of images' convolutions and of layers in 8 bits, and compute with
            8 bits that are scaled anew for every input; the recurrence stays in single precision.

    Raises:
        ValueError: It is a fusion, which is more than one graph.
        ImportError: A package is missing; the message says which to install.
    """
    onnx, network = _onnx(), _network(recogniser)
    _spell_out_recurrences(network)
    clip = _example(recogniser, frames=3)
    axes = {"clip": {0: "batch", 1: "time"}, "logits": {0: "batch"}}
    with written_whole(path) as partial:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no fault here: branches that are settled
            torch.onnx.export(
                network,
                (clip,),
                str(partial),
                input_names=["clip"],
                output_names=["logits"],
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,  # the other exporter writes a recurrence out for one length
            )
        graph = onnx.load(str(partial))
        if int8:
            graph = _in_int8(onnx, graph)
        onnx.helper.set_model_props(graph, {KEY: json.dumps(_told(recogniser))})
        graph.ir_version = IR_VERSION
        onnx.checker.check_model(graph)
        onnx.save(graph, str(partial))
    return Path(path)


def export_torch(recogniser: Any, path: str | Path) -> Path:
    """Write a recogniser's network by torch.export, whole or not at all, and return the file.

    As `export_onnx` in what it takes and gives; torch writes a recurrence out step by step, so a
    network that has one takes clips of the sampler's length only. `torch.export.load` reads it;
    the plain values are the extra file BESIDE.

    Raises:
        ValueError: It is a fusion, the file is not called .pt2, or this torch is too old.
    """
    network, path = _network(recogniser), Path(path)
    if path.suffix != ".pt2":
        raise ValueError(f"{path}: torch calls such files .pt2")
    if not hasattr(torch.compiler, "is_exporting"):
        raise ValueError(f"torch {torch.__version__} cannot export this network; 2.7 can")
    clip = _example(recogniser, frames=_frames(recogniser))
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=1 << 16)}
    if not any(isinstance(part, nn.GRU) for part in network.modules()):
        free[1] = torch.export.Dim("time", min=1, max=1 << 16)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (clip,), dynamic_shapes=(free,), strict=False)
        with written_whole(path) as partial:
            extra = {BESIDE: json.dumps(_told(recogniser))}
            torch.export.save(program, str(partial), extra_files=extra)
    return path


def read_onnx(path: str | Path) -> dict[str, Any]:
    """Read a file of `export_onnx`: {"extra": the plain values, "network": an `OnnxNetwork`}.

    Raises:
        ValueError: It is no ONNX file, or none of ours.
        ImportError: onnxruntime is missing.
    """
    network = OnnxNetwork(path)
    stored = network.session.get_modelmeta().custom_metadata_map.get(KEY, "")
    try:
        extra = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} does not tell what it is shown (no {KEY!r} in its metadata): expected a file "
            "of `python har.py export NAME --onnx FILE`"
        ) from error
    known = len(extra["classes"]) if isinstance(extra, dict) and "classes" in extra else 0
    (output,) = network.session.get_outputs()
    if known and output.shape[-1] != known:
        raise ValueError(f"{path} tells of {known} classes and gives {output.shape[-1]} logits")
    return {"extra": extra, "network": network}


class OnnxNetwork(nn.Module):
    """An exported network, called as the one it was made of; onnxruntime runs it on the CPU.

    Args:
        path: A file of `export_onnx`.

    Raises:
        ValueError: It is no ONNX file.
        ImportError: onnxruntime is missing.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(INSTALL) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # its warnings are about its own choices
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of a class of its own for each fault
            raise ValueError(
                f"{path} is damaged, or no ONNX file: {str(error).partition(chr(10))[0]}"
            ) from error
        # tells where clips are expected, as any network's weights do
        self.here = nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, clip: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of clips (B, T, ...); `mask` (B, T) marks the frames that count,
        which come first."""
        every = torch.full((len(clip),), clip.shape[1])
        lengths = every if mask is None else mask.sum(1).cpu()
        logits: dict[int, Tensor] = {}
        for length in lengths.unique().tolist():
            for rows in (lengths == length).nonzero()[:, 0].split(CLIPS):
                part = clip[rows.to(clip.device), :length].float().cpu().contiguous().numpy()
                (found,) = self.session.run(None, {"clip": part})
                logits.update(zip(rows.tolist(), torch.from_numpy(found), strict=True))
        return torch.stack([logits[row] for row in range(len(clip))]).to(clip.device)


class _Whole(nn.Module):
    """From clips, all of whose frames count, to logits."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, clip: Tensor) -> Tensor:
        if not hasattr(self.model, "encode"):
            return self.model(clip)
        features = self.model.backbone(clip.flatten(0, 1))  # (B T, D)
        return self.model.head(features.reshape(clip.shape[0], clip.shape[1], -1))


class _Recurrence(torch.autograd.Function):
    """A GRU as the one operator that ONNX has for it: torch's exporter writes the initial state in
    a shape that holds for one size of batch only."""

    @staticmethod
    def forward(ctx, steps, weights, recurrent, biases, gru):
        """Map steps (T, B, D) to states (T, directions, B, H)."""
        states = gru(steps.transpose(0, 1))[0]  # (B, T, directions H)
        return states.unflatten(-1, (-1, gru.hidden_size)).permute(1, 2, 0, 3)

    @staticmethod
    def symbolic(g, steps, weights, recurrent, biases, gru):
        """Write the operator."""
        return g.op(
            "GRU",
            steps,
            weights,
            recurrent,
            biases,
            hidden_size_i=gru.hidden_size,
            direction_s="bidirectional" if gru.bidirectional else "forward",
            linear_before_reset_i=1,
        )


class _OneGRU(nn.Module):
    """A GRU of one layer, batch first, with its weights as ONNX orders them."""

    def __init__(self, gru: nn.GRU):
        super().__init__()
        self.gru = (gru,)  # in a tuple: its own weights are not to be in the file
        ways = ("", "_reverse") if gru.bidirectional else ("",)

        def ordered(name: str) -> Tensor:
            each = [getattr(gru, f"{name}_l0{way}").detach() for way in ways]
            gates = [one.chunk(3) for one in each]  # reset, update, new
            return torch.stack([torch.cat([gate[1], gate[0], gate[2]]) for gate in gates])

        self.register_buffer("weights", ordered("weight_ih"))
        self.register_buffer("recurrent", ordered("weight_hh"))
        self.register_buffer("biases", torch.cat([ordered("bias_ih"), ordered("bias_hh")], 1))

    def forward(self, steps: Tensor) -> tuple[Tensor, None]:
        """Return states (B, T, directions H), as nn.GRU does, and not the last one."""
        weights = self.weights, self.recurrent, self.biases
        states = _Recurrence.apply(steps.transpose(0, 1), *weights, self.gru[0])
        return states.permute(2, 0, 1, 3).reshape(steps.shape[0], steps.shape[1], -1), None


def _spell_out_recurrences(module: nn.Module) -> None:
    for name, part in list(module.named_children()):
        if isinstance(part, nn.GRU):
            setattr(module, name, _OneGRU(part))
        else:
            _spell_out_recurrences(part)


def _network(recogniser: Any) -> _Whole:
    """Return a copy of a recogniser's network to be exported."""
    if not isinstance(recogniser, Recogniser):
        names = ", ".join(one.extra["experiment"] for one in recogniser.members)
        raise ValueError(
            "a fusion is several networks and a person finder, which are no single graph: export "
            f"one of its recognisers ({names})"
        )
    if isinstance(recogniser.model, OnnxNetwork):
        raise ValueError("it is such a graph already: export the run or file it was made of")
    return _Whole(copy.deepcopy(recogniser.model).cpu().float()).eval().requires_grad_(False)


def _example(recogniser: Recogniser, *, frames: int) -> Tensor:
    """Return two clips such as the network is shown."""
    shown = recogniser.shown
    if getattr(shown.reader, "by_clip", False):  # numbers instead of images
        return torch.rand(2, frames, recogniser.extra["model"]["in_dim"])
    beside = getattr(getattr(recogniser.model, "backbone", None), "numbers", 0)
    return torch.rand(2, frames, shown.channels + beside, *shown.transform.size)


def _frames(recogniser: Recogniser) -> int:
    """Return how many steps a clip has."""
    shown = recogniser.shown
    return 1 if shown.transform.pool == "mean" else getattr(shown.sampler, "frames", 1)


def _told(recogniser: Recogniser) -> Mapping[str, Any]:
    """Return what is to be known of a recogniser beside its graph, in plain values."""
    now = {
        "shown": recogniser.shown.to_config(),
        "classes": list(recogniser.classes),
        "clip_seconds": recogniser.clip_seconds,
    }
    return plain({**recogniser.extra, **now}, "extra")


def _onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ImportError(INSTALL) from error
    return onnx


def _in_int8(onnx: Any, graph: Any) -> Any:
    """Return a graph whose weights are kept in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        logging.disable(logging.WARNING)  # it advises what the exporter has done: folded BatchNorm
        try:
            quantize_dynamic(graph, path, weight_type=QuantType.QUInt8)
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(str(path))
