"""Networks as graphs in files: the same logits for clips of any number and length, what goes along,
and what is refused."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import har
from experiments.recognisers import evaluate_checkpoint, load_recogniser
from experiments.table import EXPERIMENTS
from utils.exported import BESIDE, OnnxNetwork, export_onnx, export_torch, read_onnx
from utils.predict import Recogniser, predict_video

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "predict_onnx.py"
HEADS = ("average", "gru", "tcn", "pose")


class Strokes(nn.Module):
    """A backbone that is quick: the means of eight filters' answers."""

    feature_dim = 8

    def __init__(self, channels):
        super().__init__()
        self.filters = nn.Conv2d(channels, 8, 5, stride=4)

    def forward(self, images):
        return 10 * self.filters(images).relu().mean((2, 3))


class AsOne(nn.Module):
    """A network whose features are not computed apart, and so in single precision."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, clip, mask=None):
        return self.model(clip, mask)


def recogniser_of(name):
    """A recogniser of an experiment, with random weights."""
    torch.manual_seed(1)
    row = EXPERIMENTS[name]
    shown = row.shown.resized((24, 32))
    backbone = {} if name == "pose" else {"backbone": Strokes(shown.channels)}
    model = row.build(num_classes=3, **backbone, **row.model).eval()
    extra = {"experiment": name, "model": dict(row.model)}
    return Recogniser(model, shown, ("one", "two", "three"), 1.0, extra)


def clips_of(recogniser, batch, frames):
    """Clips such as a recogniser is shown, and masks that leave frames out of the last."""
    numbers = recogniser.extra["model"].get("in_dim")
    shape = (numbers,) if numbers else (recogniser.shown.channels, *recogniser.shown.transform.size)
    mask = torch.ones(batch, frames, dtype=torch.bool)
    mask[-1, frames // 2 + 1 :] = False
    return torch.rand(batch, frames, *shape), mask


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """The bundled recogniser of whole images and its graph."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    recogniser = load_recogniser("stacked_gru")
    path = tmp_path_factory.mktemp("graphs") / "stacked_gru.onnx"
    return recogniser, export_onnx(recogniser, path)


class TestOnnx:
    @pytest.mark.parametrize("name", HEADS)
    def test_logits_are_the_same_for_any_number_and_length(self, tmp_path, name):
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        recogniser = recogniser_of(name)
        network = OnnxNetwork(export_onnx(recogniser, tmp_path / "graph.onnx"))
        for batch, frames in ((1, 1), (3, 8), (10, 5)):
            clip, mask = clips_of(recogniser, batch, frames)
            with torch.inference_mode():
                wanted = recogniser.model(clip, mask)
                whole = recogniser.model(clip)
            assert torch.allclose(network(clip, mask), wanted, atol=1e-4)
            assert torch.allclose(network(clip), whole, atol=1e-4)
            assert batch == 1 or not torch.allclose(whole, wanted, atol=1e-4)

    def test_the_bundled_recogniser_at_its_real_size(self, bundled):
        recogniser, path = bundled
        clip, mask = clips_of(recogniser, 2, 8)
        assert clip.shape == (2, 8, 3, 96, 128)
        with torch.inference_mode():
            wanted = recogniser.model(clip, mask)
        assert torch.allclose(OnnxNetwork(path)(clip, mask), wanted, atol=1e-3)

    def test_it_is_loaded_and_evaluated_as_any_recogniser(self, bundled, make_kth, tmp_path):
        recogniser, path = bundled
        again = load_recogniser(path)
        assert again.shown == recogniser.shown and again.classes == recogniser.classes
        assert again.clip_seconds == recogniser.clip_seconds
        assert again.extra == {**recogniser.extra, "shown": recogniser.shown.to_config()}
        root = make_kth(tmp_path / "One", persons=(22,), actions=("boxing",), segments=1, length=34)
        how = {"cache_dir": None, "progress": False}
        precise = dataclasses.replace(recogniser, model=AsOne(recogniser.model).eval())
        ours, theirs = (evaluate_checkpoint(one, root, **how) for one in (precise, path))
        assert ours.experiment == theirs.experiment == "stacked_gru"
        found, wanted = (one.predictions.log_probs for one in (theirs, ours))
        assert found.shape == (1, 6) and np.allclose(found, wanted, atol=1e-3)

    def test_the_script_of_the_docs_says_the_same(self, bundled, write_video, tmp_path):
        _, path = bundled
        frames = np.full((60, 120, 160), 60, np.uint8)
        for t in range(60):
            frames[t, 30:100, 2 * t : 2 * t + 25] = 200
        video = write_video(tmp_path / "passing.avi", frames)
        done = subprocess.run(
            [sys.executable, SCRIPT, path, video], capture_output=True, text=True, check=True
        )
        names, shares = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
        wanted = predict_video(load_recogniser(path), video)
        assert names[0] == wanted.label and set(names) == set(wanted.probs)
        for name, share in zip(names, shares, strict=True):
            assert float(share.rstrip("%")) / 100 == pytest.approx(wanted.probs[name], abs=0.001)

    def test_the_script_refuses_what_it_cannot_show(self, tmp_path):
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        path = export_onnx(recogniser_of("pose"), tmp_path / "pose.onnx")
        done = subprocess.run([sys.executable, SCRIPT, path, "x"], capture_output=True, text=True)
        assert done.returncode == 1 and "use har.py predict" in done.stderr

    def test_eight_bits_are_smaller_and_close(self, bundled, tmp_path):
        recogniser, path = bundled
        small = export_onnx(recogniser, tmp_path / "int8.onnx", int8=True)
        assert small.stat().st_size < 0.6 * path.stat().st_size
        clip, _ = clips_of(recogniser, 1, 8)
        found, wanted = (OnnxNetwork(one)(clip).softmax(-1) for one in (small, path))
        assert torch.allclose(found, wanted, atol=0.3) and not torch.equal(found, wanted)
        assert load_recogniser(small).extra["experiment"] == "stacked_gru"


class TestTorchExport:
    @pytest.mark.parametrize("name", HEADS)
    def test_logits_are_the_same(self, tmp_path, name):
        if not hasattr(torch.compiler, "is_exporting"):
            pytest.skip("this torch cannot export it")
        recogniser = recogniser_of(name)
        path = export_torch(recogniser, tmp_path / "graph.pt2")
        beside = {BESIDE: ""}
        network = torch.export.load(str(path), extra_files=beside).module()
        told = json.loads(beside[BESIDE])
        assert told["classes"] == ["one", "two", "three"]
        assert told["shown"] == recogniser.shown.to_config()
        frames = told["shown"]["sampler"]["frames"]
        lengths = (frames,) if name in ("gru", "pose") else (frames, 5)
        for batch, length in ((b, n) for b in (1, 3) for n in lengths):
            clip, _ = clips_of(recogniser, batch, length)
            with torch.inference_mode():
                assert torch.allclose(network(clip), recogniser.model(clip), atol=1e-4)

    def test_another_suffix_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"torch calls such files \.pt2"):
            export_torch(recogniser_of("average"), tmp_path / "graph.onnx")


class TestRefused:
    def test_a_fusion_is_no_single_graph(self, tmp_path, capsys):
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        where = tmp_path / "graph.onnx"
        assert har.main(["export", "bundled", "--onnx", str(where)]) == 1
        said = capsys.readouterr().err
        assert "pose, stacked_gru" in said and "Traceback" not in said
        assert not list(tmp_path.iterdir())

    def test_what_is_no_graph_of_ours(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        odd = tmp_path / "odd.onnx"
        odd.write_bytes(b"not a graph")
        with pytest.raises(ValueError, match=r"odd\.onnx is damaged, or no ONNX file"):
            load_recogniser(odd)
        float_ = onnx.TensorProto.FLOAT
        ends = [onnx.helper.make_tensor_value_info(n, float_, [1, 3]) for n in ("clip", "logits")]
        nodes = [onnx.helper.make_node("Identity", ["clip"], ["logits"])]
        graph = onnx.helper.make_graph(nodes, "other", ends[:1], ends[1:])
        model = onnx.helper.make_model(graph, ir_version=8)
        model.opset_import[0].version = 17
        onnx.save(model, str(odd))
        with pytest.raises(ValueError, match="does not tell what it is shown"):
            load_recogniser(odd)
        onnx.helper.set_model_props(model, {"recogniser": json.dumps({"classes": ["a"]})})
        onnx.save(model, str(odd))
        with pytest.raises(ValueError, match="tells of 1 classes and gives 3 logits"):
            read_onnx(odd)
        onnx.helper.set_model_props(model, {"recogniser": json.dumps({"classes": ["a", "b", "c"]})})
        onnx.save(model, str(odd))
        with pytest.raises(ValueError, match=r"odd\.onnx cannot be used for predicting: its extra"):
            load_recogniser(odd)

    def test_without_the_packages_it_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(ImportError, match=r"pip install -e"):
            export_onnx(recogniser_of("average"), tmp_path / "graph.onnx")
        with pytest.raises(ImportError, match=r"pip install -e"):
            OnnxNetwork(tmp_path / "graph.onnx")

    def test_int8_is_of_onnx(self, capsys):
        assert har.main(["export", "stacked_gru", "--int8"]) == 1
        assert "name its file by --onnx" in capsys.readouterr().err
