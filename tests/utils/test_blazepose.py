"""The finder's two networks: the bundled file, its backends, and the networks it was made from."""

import importlib.util
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.synthetic.dataset import make_person, make_shot
from utils.blazepose import BACKENDS, FINGERPRINT, WEIGHTS, fingerprint, load_networks

SHAPES = (
    {"boxes": (1, 2254, 12), "scores": (1, 2254, 1)},
    {
        "landmarks": (1, 195),
        "flag": (1, 1),
        "heatmap": (1, 64, 64, 39),
        "mask": (1, 256, 256, 1),
    },
)
# 0.01 pixel of the crop; scores, heat and mask are logits, which reach some hundreds
CLOSE = {"boxes": 0.01, "landmarks": 0.01, "scores": 0.01, "flag": 1e-4, "heatmap": 0.01}


def needs(*packages):
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} not installed")


@pytest.fixture(scope="module")
def inputs():
    """What the two networks take: a rendered person, filling the square."""
    shot = make_shot(make_person(0, 3), "handwaving", 1, np.random.default_rng(5), segments=1)
    frame = shot.renderer().frame(20)[:, 20:140]
    parts = ((224, 127.5, -1), (256, 255, 0))
    grey = [cv2.resize(frame, (n, n)).astype(np.float32) / by + plus for n, by, plus in parts]
    return [np.repeat(image[None, None], 3, axis=1).astype(np.float32) for image in grey]


def differences(found, expected):
    """The largest difference of each output, in what `CLOSE` allows; the mask in shares."""
    shares = [
        1 / (1 + np.exp(-np.float64(some["mask"]).clip(-50, 50)))
        for some in (found, expected)
        if "mask" in some
    ]
    by_name = {
        name: np.abs(found[name] - expected[name]).max() / CLOSE[name]
        for name in found
        if name != "mask"
    }
    return by_name | ({"mask": np.abs(shares[0] - shares[1]).max() / 0.001} if shares else {})


def test_the_bundled_file_is_the_one_that_keys_name():
    assert fingerprint() == FINGERPRINT
    card = torch.load(WEIGHTS, weights_only=True)["card"]
    assert card["licence"] == "Apache-2.0" and len(card["sha256"]) == 2
    assert WEIGHTS.stat().st_size < 13e6
    assert "Apache License" in (WEIGHTS.parent / "LICENSE-blazepose.txt").read_text()


def test_networks_give_what_they_say_and_are_loaded_once(inputs):
    networks = load_networks(WEIGHTS, "torch")
    for network, images, shapes in zip(networks, inputs, SHAPES, strict=True):
        found = network(images)
        assert {name: array.shape for name, array in found.items()} == shapes
        assert all(
            array.dtype == np.float32 and np.isfinite(array).all() for array in found.values()
        )
        both = network(np.concatenate([images, images[..., ::-1]]))
        assert differences({n: a[:1] for n, a in both.items()}, found).keys() == shapes.keys()
        assert max(differences({n: a[:1] for n, a in both.items()}, found).values()) < 1
    assert load_networks(WEIGHTS, "torch") is networks
    assert networks[1](inputs[1])["flag"].item() > 0.9, "somebody is there"
    assert networks[1](np.full_like(inputs[1], 0.5))["flag"].item() < 0.1, "nobody is there"


def test_an_input_is_left_as_it_was(inputs):
    for network, images in zip(load_networks(WEIGHTS, "torch"), inputs, strict=True):
        before = images.copy()
        network(images)
        assert np.array_equal(images, before)


def test_what_cannot_be_loaded_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m experiments.convert_blazepose"):
        load_networks(tmp_path / "none.pth")
    with pytest.raises(ValueError, match="'tpu'; it takes torch or onnxruntime"):
        load_networks(WEIGHTS, "tpu")


@needs("onnxruntime", "onnx")
def test_backends_agree(inputs):
    by_backend = [load_networks(WEIGHTS, backend) for backend in BACKENDS]
    for one, other, images, shapes in zip(*by_backend, inputs, SHAPES, strict=True):
        found = other(images)
        assert {name: array.shape for name, array in found.items()} == shapes
        assert max(differences(found, one(images)).values()) < 1


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The published networks, by TensorFlow Lite itself: each from an image to its outputs."""
    wheel = os.environ.get("HAR_MEDIAPIPE_WHEEL")
    if not wheel:
        pytest.skip("HAR_MEDIAPIPE_WHEEL does not name the wheel mediapipe 0.10.21")
    from ai_edge_litert.interpreter import Interpreter

    folder, networks = tmp_path_factory.mktemp("wheel"), []
    for name in ("pose_detection/pose_detection", "pose_landmark/pose_landmark_full"):
        with zipfile.ZipFile(wheel) as archive:
            path = archive.extract(f"mediapipe/modules/{name}.tflite", folder)
        networks.append(Interpreter(path))
        networks[-1].allocate_tensors()
    return networks


def run_original(network, images):
    """The outputs by their shapes, which differ."""
    network.set_tensor(network.get_input_details()[0]["index"], images.transpose(0, 2, 3, 1))
    network.invoke()
    details = network.get_output_details()
    return {tuple(one["shape"]): network.get_tensor(one["index"]) for one in details}


@needs("ai_edge_litert")
@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_are_those_of_the_original_networks(originals, inputs, backend):
    if backend == "onnxruntime" and importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime not installed")
    ours = load_networks(WEIGHTS, backend)
    for network, original, images, shapes in zip(ours, originals, inputs, SHAPES, strict=True):
        published = run_original(original, images)
        expected = {name: published[shape] for name, shape in shapes.items()}
        assert max(differences(network(images), expected).values()) < 1


@needs("ai_edge_litert", "tflite")
def test_the_same_wheel_gives_the_same_bytes(originals, tmp_path):
    from experiments.convert_blazepose import convert

    card = convert(os.environ["HAR_MEDIAPIPE_WHEEL"], tmp_path / "again.pth")
    assert (
        fingerprint(tmp_path / "again.pth") == FINGERPRINT and "60,000 images" in card["trained_on"]
    )
    with zipfile.ZipFile(os.environ["HAR_MEDIAPIPE_WHEEL"]) as archive:
        names = [name for name in archive.namelist() if name.endswith(".tflite")]
        archive.extractall(tmp_path, [name for name in names if "pose_" in name])
    convert(tmp_path, tmp_path / "folder.pth")
    assert fingerprint(tmp_path / "folder.pth") == FINGERPRINT
    with pytest.raises(ValueError, match="take the wheel mediapipe 0.10.21"):
        convert(Path(tmp_path) / "again.pth")
