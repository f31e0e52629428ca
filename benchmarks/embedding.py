"""Feature extraction: images to features, by us and by other runtimes, and from the file to the
stored feature.

All get the same network, the same images in memory and as many cores as there are, each in the
configuration its own documentation recommends; how close their features are to the plain network's
in single precision stands in the note. The bound is our own network on images that lie in memory
already: what is missing to it is what reading, resizing and storing cost. Last, what half precision
does to the predictions. Knows networks and runtimes. Does not know training.
"""

import copy
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.measure import interleaved, median_ratio, rows_of, spread, those_that_work, timed
from data.kth import Segment, find_segments, select
from experiments.recognisers import APPEARANCE, load_recogniser, predict_dataset
from models.backbone import EfficientNetBackbone, inference_dtype
from tracking.measurements import Row
from utils.data_setup import VideoDataset
from utils.encoder import Encoder, side_by_side
from utils.engine import pick_device
from utils.features import Features, build_features
from utils.preprocessing import ClipTransform, Preprocessing, Uniform

Method = Callable[[Tensor], np.ndarray]
Made = tuple[Method, str]  # a runtime, and what to know about it
Maker = Callable[[EfficientNetBackbone, Tensor], Made]
HEIGHTS = (112, 160, 224)
IMAGES = 64
PREDICTIONS = "accuracy of the bundled recogniser, validation segments"
END_TO_END, BOUND = "file to stored feature, 96 x 128", "ours, images in memory (the bound)"
QUICK = {"heights": (32,), "repeats": 1, "files": 2, "runtimes": ("ours", "eager fp32")}


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
        heights: Of the images.
        repeats: Repetitions, in turn.
        files: Files that the way from file to stored feature is measured on.
        runtimes: Names of those to compare, ours among them; None compares all.
    """
    segments = find_segments(root)
    backbone = EfficientNetBackbone().to(pick_device())
    makers = {name: MAKERS[name] for name in runtimes or MAKERS}
    rows = []
    for height in heights:
        size = (height, round(height * 4 / 3))
        images = _images(segments, size)
        methods, notes = working(makers, backbone, images)
        seconds = interleaved(
            {name: partial(method, images) for name, method in methods.items()}, repeats=repeats
        )
        task = "images to features, {} x {}".format(*size)
        rows += rows_of(task, seconds, count=len(images), unit="ms a frame", notes=notes)
    chosen = spread(list(dict.fromkeys(segment.video for segment in segments)), files)
    rows += _end_to_end(backbone, [s for s in segments if s.video in chosen], repeats)
    return [*rows, *_precisions(select(segments, "validation"))]


def _images(segments: Sequence[Segment], size: tuple[int, int]) -> Tensor:
    """Images (IMAGES, 1, H, W) of segments spread over the data set."""
    shown = Preprocessing(Uniform(4), ClipTransform(size=size))
    return torch.cat([shown.clip(segment) for segment in spread(segments, IMAGES // 4)])


def working(
    makers: Mapping[str, Maker], backbone: EfficientNetBackbone, images: Tensor
) -> tuple[dict[str, Method], dict[str, str]]:
    """Return the runtimes that work here, and for each how it agrees with the plain network and
    what else to know."""
    plain = torch.from_numpy(_eager(backbone, images)[0](images))

    def tried(maker: Maker) -> Made:
        method, note = maker(backbone, images)
        features = torch.from_numpy(method(images))
        cosine = nn.functional.cosine_similarity(features, plain).mean()
        return method, f"{note}; mean cosine {cosine:.5f}"

    made = those_that_work(makers, tried)
    methods, notes = ({name: one[part] for name, one in made.items()} for part in (0, 1))
    return methods, notes


# runtimes


def _ours(backbone: EfficientNetBackbone, images: Tensor) -> Made:
    encoder = Encoder(backbone)
    batches = f"{encoder.workers} batches of {encoder.batch_of(*images.shape[-2:])} side by side"
    return encoder.encode, f"{_name(encoder.dtype)}, {batches}"


def _eager(backbone: EfficientNetBackbone, _: Tensor) -> Made:
    return _in_batches(backbone), "batches of 32"


def _folded(backbone: EfficientNetBackbone, _: Tensor) -> Made:
    return _in_batches(backbone.folded_for_inference(torch.float32)), "batches of 32"


def _compiled(backbone: EfficientNetBackbone, images: Tensor) -> Made:
    folded = backbone.folded_for_inference()
    method = _in_batches(torch.compile(folded))
    seconds = timed(partial(method, images))
    return method, f"{_name(folded.dtype)}, batches of 32, compiled in {seconds:.0f} s"


def _onnxruntime(backbone: EfficientNetBackbone, images: Tensor) -> Made:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "backbone.onnx")
        model = copy.deepcopy(backbone).cpu()
        torch.onnx.export(model, (images[:32],), path, input_names=["images"], dynamo=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _split(lambda part: session.run(None, {"images": part.numpy()})[0]), "batches of 32"


def _openvino(backbone: EfficientNetBackbone, images: Tensor) -> Made:
    import openvino

    model = openvino.convert_model(copy.deepcopy(backbone).cpu(), example_input=images[:32])
    compiled: Any = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = openvino.AsyncInferQueue(compiled)

    def method(batch: Tensor) -> np.ndarray:
        found: dict[int, np.ndarray] = {}
        queue.set_callback(
            lambda request, place: found.update({place: request.get_output_tensor().data.copy()})
        )
        for place, part in enumerate(batch.split(16)):
            queue.start_async([part.numpy()], place)
        queue.wait_all()
        return np.concatenate([found[place] for place in sorted(found)])

    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return method, f"{precision}, {len(queue)} requests side by side"


MAKERS: dict[str, Maker] = {
    "ours": _ours,
    "eager fp32": _eager,
    "eager fp32, channels_last, folded": _folded,
    "torch.compile": _compiled,
    "onnxruntime fp32": _onnxruntime,
    "OpenVINO": _openvino,
}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _in_batches(model: Any) -> Method:
    device = next(model.parameters()).device

    @torch.inference_mode()
    def one(part: Tensor) -> np.ndarray:
        return model(part.to(device)).float().cpu().numpy()

    return _split(one)


def _split(one: Method) -> Method:
    return lambda images: np.concatenate([one(part) for part in images.split(32)])


# from the file to the kept feature


def _end_to_end(
    backbone: EfficientNetBackbone, segments: Sequence[Segment], repeats: int
) -> list[Row]:
    """Compare building features with encoding as many images that lie in memory, batch for
    batch."""
    encoder, shown = Encoder(backbone), Preprocessing(Uniform(16))
    resident = torch.rand(encoder.batch_of(96, 128) * encoder.workers, 1, 96, 128)
    frames = sum(min(16, len(segment)) for segment in segments)

    def bound() -> None:
        encoder.encode(resident.repeat(-(-frames // len(resident)), 1, 1, 1)[:frames])

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            build_features(backbone, segments, shown, cache_dir=folder, progress=False)

    seconds = interleaved({BOUND: bound, "ours": ours}, repeats=repeats)
    share = median_ratio(seconds[BOUND], seconds["ours"])
    notes = {"ours": f"{share:.2f} of the bound's speed, {os.cpu_count()} cores"}
    return rows_of(END_TO_END, seconds, count=frames, unit="ms a frame", notes=notes)


# what it does to the predictions


def _precisions(segments: Sequence[Segment]) -> Iterator[Row]:
    """Compare a recogniser's predictions on features in single and in half precision, where need be
    computed slowly."""
    recogniser = load_recogniser(APPEARANCE)
    fastest, single = inference_dtype(pick_device()), None
    half = torch.bfloat16 if fastest == torch.float32 else fastest
    for dtype in (torch.float32, half):
        encoder = Encoder(recogniser.model.backbone, dtype=dtype)
        features = encode_clips(encoder, map(recogniser.shown.clip, segments), len(segments))
        found = predict_dataset(recogniser, VideoDataset(segments, features))
        score = found.score()
        note = f"{score.correct} of {score.n}"
        if single is not None:
            note += f"; {(found.predicted != single).sum()} predictions changed"
        single = found.predicted
        yield Row(PREDICTIONS, f"{_name(dtype)} features", 100 * score.accuracy, "%", note=note)


def encode_clips(encoder: Encoder, clips: Iterable[Tensor], count: int) -> Features:
    """Return the features of `count` clips, encoded side by side and kept in memory."""
    found = side_by_side(encoder, clips, encoder.workers)
    bar = tqdm(found, "encoding", count, leave=False, unit="clip")
    return Features([features[None] for features in bar])
