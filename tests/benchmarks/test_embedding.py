"""The runtimes that embedding is compared with compute the same features, and none is needed."""

import numpy as np
import pytest
import torch

from benchmarks import embedding, suite
from data.kth import find_segments, select
from models.backbone import EfficientNetBackbone


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 1, 32, 43)


@pytest.mark.parametrize(
    ("package", "maker"),
    [
        ("torch", embedding._ours),
        ("torch", embedding._folded),
        ("onnxruntime", embedding._onnxruntime),
        ("openvino", embedding._openvino),
    ],
)
def test_a_runtime_computes_the_networks_features(images, package, maker):
    pytest.importorskip(package)
    if package == "onnxruntime":
        pytest.importorskip("onnx")
    backbone = EfficientNetBackbone()
    method, said = maker(backbone, images)
    found, plain = (
        torch.from_numpy(np.asarray(part))
        for part in (method(images), embedding._eager(backbone, images)[0](images))
    )
    assert found.shape == (5, 1280) and said
    assert torch.nn.functional.cosine_similarity(found, plain).mean() > 0.999


def test_what_does_not_work_is_left_out_and_said(images, capsys):
    def broken(*_):
        raise ImportError("no such runtime\nand more")

    makers = {"ours": embedding.MAKERS["ours"], "OpenVINO": broken}
    methods, notes = embedding.working(makers, EfficientNetBackbone(), images)
    assert list(methods) == ["ours"] and float(notes["ours"].rpartition("mean cosine ")[2]) > 0.999
    assert "OpenVINO is left out: ImportError: no such runtime\n" in capsys.readouterr().out


@pytest.mark.slow
def test_the_way_from_the_file_is_compared_with_its_bound(tiny_kth):
    found = suite.run_benchmark("embedding", tiny_kth, quick=True)
    rows = {(row.task, row.method): row for row in found}
    ours, bound = rows[embedding.END_TO_END, "ours"], rows[embedding.END_TO_END, embedding.BOUND]
    assert ours.ratio == 1 and bound.ratio == pytest.approx(bound.value / ours.value)
    assert f"{bound.ratio:.2f} of the bound's speed" in ours.note
    assert rows["images to features, 32 x 43", "ours"].ratio == 1
    single = rows[embedding.PREDICTIONS, "float32 features"]
    half = rows[embedding.PREDICTIONS, "bfloat16 features"]
    n = len(select(find_segments(tiny_kth), "validation"))
    changed = int(half.note.split("; ")[1].split()[0])
    assert single.note == f"{single.value * n / 100:.0f} of {n}"
    assert abs(single.value - half.value) <= 100 * changed / n + 1e-9
