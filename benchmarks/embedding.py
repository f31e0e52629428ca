"""Embedding: pictures to features, by us and by other runtimes, and from the file to the stored
feature.

All get the same network, the same pictures in memory and as many cores as there are, each in the
configuration its own documentation recommends; how close their features are to the plain network's
in single precision stands in the note. The bound is our own network on pictures that lie in memory
already: what is missing to it is what reading, resizing and storing cost. Last, what half precision
does to the answers. Knows networks and runtimes. Does not know training.
"""

from __future__ import annotations

import copy
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.measure import Row, interleaved, rows_of
from data.kth import Segment, find_segments, select
from experiments.training import load_recogniser
from models.backbone import EfficientNetBackbone, inference_dtype
from utils.data_setup import ClipSource, ClipTransform, Uniform
from utils.engine import pick_device
from utils.features import Encoder, build_features, side_by_side

Method = Callable[[Tensor], np.ndarray]
HEIGHTS = (112, 160, 224)
PICTURES = 64
ANSWERS = "accuracy of the bundled recogniser, validation segments"
END_TO_END, BOUND = "file to stored feature, 96 x 128", "ours, pictures in memory (the bound)"


def run(
    root: str | Path,
    *,
    heights: Sequence[int] = HEIGHTS,
    repeats: int = 5,
    files: int = 48,
    runtimes: Sequence[str] | None = None,
) -> list[Row]:
    """Compare the runtimes that are installed at each height (width 4/3 of it), then ours with its
    bound.

    Args:
        root: A data set in KTH's layout.
        heights: Of the pictures.
        repeats: Repetitions, in turn.
        files: Files that the way from file to stored feature is measured on.
        runtimes: Names of those to compare, ours among them; None compares all.
    """
    segments = find_segments(root)
    backbone = EfficientNetBackbone().to(pick_device())
    rows = []
    for height in heights:
        pictures = _pictures(segments, (height, round(height * 4 / 3)))
        methods, notes = _methods(backbone, pictures, runtimes or tuple(MAKERS))
        jobs = {name: functools.partial(method, pictures) for name, method in methods.items()}
        seconds = interleaved(jobs, repeats=repeats)
        rows += rows_of(
            f"pictures to features, {height} x {round(height * 4 / 3)}",
            seconds,
            ours="ours",
            count=len(pictures),
            unit="ms a frame",
            notes=notes,
        )
    by_file = list(dict.fromkeys(segment.video for segment in segments))
    chosen = set(by_file[:: max(1, len(by_file) // files)][:files])
    rows += _end_to_end(backbone, [s for s in segments if s.video in chosen], repeats)
    return rows + _answers(select(segments, "validation"))


def _pictures(segments: Sequence[Segment], size: tuple[int, int]) -> Tensor:
    """Pictures (PICTURES, 1, H, W) of segments spread over the data set."""
    source = ClipSource(segments, sampler=Uniform(4), transform=ClipTransform(size=size))
    clips = [
        source.load(index)
        for index in range(0, len(segments), max(1, len(segments) // (PICTURES // 4)))
    ]
    return torch.cat(clips)[:PICTURES].clone()


def _methods(
    backbone: EfficientNetBackbone, pictures: Tensor, runtimes: Sequence[str]
) -> tuple[dict[str, Method], dict[str, str]]:
    """Return the runtimes that work here, and for each how it agrees with the plain network and
    what else to know."""
    methods, notes = {}, {}
    plain = _eager(backbone, pictures)[0](pictures)
    for name in runtimes:
        try:
            method, said = MAKERS[name](backbone, pictures)
            features = method(pictures)
        except (
            Exception
        ) as error:  # a binary that does not load, an exporter that gives up: anything
            tqdm.write(
                f"{name} is left out: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
            )
            continue
        alike = nn.functional.cosine_similarity(
            torch.from_numpy(features), torch.from_numpy(plain)
        ).mean()
        methods[name], notes[name] = method, f"{said}; mean cosine {alike:.5f}"
    return methods, notes


# runtimes: (backbone, pictures) -> (method, what to know about it)


def _ours(backbone: EfficientNetBackbone, pictures: Tensor) -> tuple[Method, str]:
    encoder = Encoder(backbone)
    batch = encoder.batch_of(*pictures.shape[-2:])
    return (
        encoder.encode,
        f"{str(encoder.dtype)[6:]}, {encoder.workers} batches of {batch} side by side",
    )


def _eager(backbone: EfficientNetBackbone, _: Tensor) -> tuple[Method, str]:
    return _in_batches(backbone), "batches of 32"


def _folded(backbone: EfficientNetBackbone, _: Tensor) -> tuple[Method, str]:
    return _in_batches(backbone.folded_for_inference(torch.float32)), "batches of 32"


def _compiled(backbone: EfficientNetBackbone, pictures: Tensor) -> tuple[Method, str]:
    folded = backbone.folded_for_inference()
    method = _in_batches(torch.compile(folded))
    start = time.perf_counter()
    method(pictures)
    return (
        method,
        f"{str(folded.dtype)[6:]}, batches of 32, compiled in {time.perf_counter() - start:.0f} s",
    )


def _onnxruntime(backbone: EfficientNetBackbone, pictures: Tensor) -> tuple[Method, str]:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "backbone.onnx")
        torch.onnx.export(
            copy.deepcopy(backbone).cpu(),
            (pictures[:32],),
            path,
            input_names=["pictures"],
            dynamo=False,
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _joined(lambda part: session.run(None, {"pictures": part.numpy()})[0]), "batches of 32"


def _openvino(backbone: EfficientNetBackbone, pictures: Tensor) -> tuple[Method, str]:
    import openvino

    model = openvino.convert_model(copy.deepcopy(backbone).cpu(), example_input=pictures[:32])
    compiled: Any = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = openvino.AsyncInferQueue(compiled)

    def method(batch: Tensor) -> np.ndarray:
        parts = batch.split(16)
        found: list[np.ndarray] = [np.zeros(0)] * len(parts)
        queue.set_callback(
            lambda request, place: found.__setitem__(place, request.get_output_tensor().data.copy())
        )
        for place, part in enumerate(parts):
            queue.start_async([part.numpy()], place)
        queue.wait_all()
        return np.concatenate(found)

    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return method, f"{precision}, {len(queue)} requests side by side"


MAKERS = {
    "ours": _ours,
    "eager fp32": _eager,
    "eager fp32, channels_last, folded": _folded,
    "torch.compile": _compiled,
    "onnxruntime fp32": _onnxruntime,
    "OpenVINO": _openvino,
}


def _in_batches(model: Any) -> Method:
    device = next(model.parameters()).device

    @torch.inference_mode()
    def one(part: Tensor) -> np.ndarray:
        return model(part.to(device)).float().cpu().numpy()

    return _joined(one)


def _joined(one: Callable[[Tensor], np.ndarray]) -> Method:
    return lambda pictures: np.concatenate([one(part) for part in pictures.split(32)])


# from the file to the store


def _end_to_end(
    backbone: EfficientNetBackbone, segments: Sequence[Segment], repeats: int
) -> list[Row]:
    """Compare building features with encoding as many pictures that lie in memory, batch for
    batch."""
    encoder = Encoder(backbone)
    resident = torch.rand(encoder.batch_of(96, 128) * encoder.workers, 1, 96, 128)
    frames = sum(min(16, len(segment)) for segment in segments)

    def bound() -> None:
        encoder.encode(resident.repeat(-(-frames // len(resident)), 1, 1, 1)[:frames])

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            build_features(
                backbone,
                segments,
                sampler=Uniform(16),
                transform=ClipTransform(),
                cache_dir=folder,
                progress=False,
            )

    seconds = interleaved({BOUND: bound, "ours": ours}, repeats=repeats)
    share = statistics.median(a / b for a, b in zip(seconds[BOUND], seconds["ours"], strict=True))
    notes = {"ours": f"{share:.2f} of the bound's speed, {os.cpu_count()} cores"}
    return rows_of(END_TO_END, seconds, ours="ours", count=frames, unit="ms a frame", notes=notes)


# what it does to the answers


def _answers(segments: Sequence[Segment]) -> list[Row]:
    """Compare a recogniser's answers on features in single and in half precision, where need be
    computed slowly."""
    recogniser = load_recogniser("bundled")
    source = ClipSource(segments, sampler=recogniser.sampler, transform=recogniser.transform)
    backbone, truth = recogniser.model.backbone, np.array([segment.label for segment in segments])
    fastest = inference_dtype(next(backbone.parameters()).device)
    dtypes = (torch.float32, torch.bfloat16 if fastest == torch.float32 else fastest)
    found = {
        dtype: _answers_with(recogniser.model, Encoder(backbone, dtype=dtype), source)
        for dtype in dtypes
    }
    changed = int((found[dtypes[0]] != found[dtypes[1]]).sum())
    return [
        Row(
            ANSWERS,
            f"{str(dtype)[6:]} features",
            100 * float((answers == truth).mean()),
            "%",
            note=f"{int((answers == truth).sum())} of {len(truth)}"
            + (f"; {changed} answers changed" if dtype == dtypes[1] else ""),
        )
        for dtype, answers in found.items()
    ]


def _answers_with(model: Any, encoder: Encoder, source: ClipSource) -> np.ndarray:
    """Return the class (N) that a model names for each clip of a source."""
    clips = (source.load(index) for index in range(len(source)))
    answers = []
    for features in tqdm(
        side_by_side(encoder, clips, encoder.workers),
        total=len(source),
        desc="answers",
        leave=False,
    ):
        with torch.inference_mode():
            answers.append(
                int(model.head(torch.from_numpy(features)[None].to(encoder.device)).argmax())
            )
    return np.array(answers)
