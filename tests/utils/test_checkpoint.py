"""Files of weights that are whole or refused, that hold plain values only, and runs that are the
same or not."""

import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from models.backbone import EfficientNetBackbone
from models.temporal import VideoClassifier, build_head
from tests.stand_ins import Clips, train_quietly
from utils.checkpoint import (
    TrainingState,
    check_same_run,
    load_checkpoint,
    restore_rng,
    restore_weights,
    rng_state,
    save_backbone,
    save_checkpoint,
)
from utils.data_setup import Batches, collate


def new_head(hidden=4):
    return build_head("gru", in_dim=6, num_classes=3, hidden=hidden)


def loaders(n=16):
    batches = Batches(n, 8, train=True, seed=5)
    train = DataLoader(Clips(n), batch_sampler=batches, collate_fn=collate)
    return train, DataLoader(Clips(n, seed=1), batch_size=8, collate_fn=collate)


def equal(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# what is in it


def test_a_checkpoint_holds_all_its_parts(tmp_path):
    extra = {
        "classes": ("box", "clap"),
        "shown": {"name": "uniform", "frames": np.int64(16)},
        "data": tmp_path,
        "share": np.float32(0.5),
        "device": torch.device("cpu"),
        "nothing": None,
    }
    train_quietly(new_head(), *loaders(), epochs=1, checkpoint_dir=tmp_path, extra=extra)
    checkpoint = load_checkpoint(tmp_path / "last.pth")
    assert set(checkpoint) == {
        "format",
        "version",
        "backbone",
        "temporal",
        "optimizer",
        "scheduler",
        "scaler",
        "epoch",
        "best",
        "history",
        "settings",
        "batches",
        "processes",
        "extra",
    }
    assert checkpoint["backbone"] is None and checkpoint["format"] == "har-checkpoint"
    assert checkpoint["extra"] == {
        "classes": ["box", "clap"],
        "shown": {"name": "uniform", "frames": 16},
        "data": str(tmp_path),
        "share": 0.5,
        "device": "cpu",
        "nothing": None,
    }
    assert checkpoint["batches"] == {"items": 16, "batch_size": 8, "seed": 5}
    assert checkpoint["settings"]["epochs"] == checkpoint["epoch"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pth", "last.pth"]


def test_values_that_are_not_plain_are_named(tmp_path):
    extra = {"sampler": {"rng": np.random.default_rng()}}
    with pytest.raises(TypeError, match=r"extra\['sampler'\]\['rng'\] is a Generator"):
        save_checkpoint(tmp_path / "x.pth", new_head(), TrainingState(), extra=extra)
    history = [{"epoch": 1}, {"epoch": torch.zeros(1)}]
    with pytest.raises(TypeError, match=r"history\[1\]\['epoch'\] is a Tensor"):
        save_checkpoint(tmp_path / "x.pth", new_head(), TrainingState(history=history))
    assert not list(tmp_path.iterdir())


def test_backbone_and_head_are_stored_apart_and_come_back(tmp_path):
    def classifier():
        return VideoClassifier(backbone=nn.Linear(4, 6), head=new_head())

    model, twin = classifier(), classifier()
    save_checkpoint(tmp_path / "x.pth", model, TrainingState(epoch=3), extra={"a": 1})
    checkpoint = load_checkpoint(tmp_path / "x.pth")
    assert checkpoint["epoch"] == 3 and checkpoint["extra"] == {"a": 1}
    assert set(checkpoint["backbone"]) == {"weight", "bias"}
    assert not equal(model, twin)
    restore_weights(twin, checkpoint)
    assert equal(model, twin)
    head = new_head().requires_grad_(False)
    restore_weights(head, checkpoint)
    assert equal(head, model.head)
    with pytest.raises(ValueError, match="checkpoint is of another model than this TemporalGRU"):
        restore_weights(new_head(hidden=5), checkpoint)


class Named(nn.Module):
    """A model whose own part is called as DataParallel calls the model that it wraps."""

    def __init__(self):
        super().__init__()
        self.module = nn.Linear(2, 2)


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, nn.Sequential])
@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.Linear(2, 2)), Named])
def test_wrappers_leave_no_trace_in_a_checkpoint_and_none_is_needed(tmp_path, wrap, make):
    model, twin, path = make(), make(), tmp_path / "x.pth"
    save_checkpoint(path, wrap(model), TrainingState())
    if wrap is not nn.Sequential:  # a part of a model, and no wrapper
        assert load_checkpoint(path)["temporal"].keys() == model.state_dict().keys()
        restore_weights(twin, load_checkpoint(path))
        assert equal(model, twin)
    other = make()
    restore_weights(wrap(other), load_checkpoint(path))
    assert equal(model, other)


def test_a_checkpoint_of_a_wrapped_model_written_before_is_read(tmp_path):
    model, twin, path = new_head(), new_head(), tmp_path / "x.pth"
    save_checkpoint(path, model, TrainingState())
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        stored = load_checkpoint(path)
        stored["temporal"] = {f"{prefix}{n}": value for n, value in stored["temporal"].items()}
        with torch.no_grad():
            twin.classifier.weight.zero_()
        restore_weights(twin, stored)
        assert equal(model, twin)


def test_the_wrapped_parts_of_a_model_are_stored_plain(tmp_path):
    model = VideoClassifier(backbone=torch.compile(nn.Linear(4, 6)), head=torch.compile(new_head()))
    save_checkpoint(tmp_path / "x.pth", nn.DataParallel(model), TrainingState())
    stored = load_checkpoint(tmp_path / "x.pth")
    assert stored["backbone"].keys() == {"weight", "bias"}
    assert stored["temporal"].keys() == new_head().state_dict().keys()


def test_random_numbers_go_on_where_they_were(tmp_path):
    def draw():
        return random.random(), np.random.rand(), np.random.normal(), torch.rand(1).item()

    np.random.normal()  # numpy keeps the second of a pair of normal numbers
    torch.save(rng_state(), tmp_path / "rng.pth")
    expected = draw()
    draw()
    restore_rng(torch.load(tmp_path / "rng.pth", weights_only=True))
    assert draw() == expected


# the same run


def run(lr=0.1, epochs=4, **extra):
    settings = {"lr": lr, "epochs": epochs, "patience": epochs, "device": "cpu"}
    return TrainingState(settings=settings, processes=[{}]), extra


def test_a_run_is_the_same_in_everything_but_its_length_and_the_versions(tmp_path):
    extra = {"model": {"head": "gru", "hidden": 128}, "versions": {"torch": "2.4"}}
    state, _ = run()
    save_checkpoint(tmp_path / "x.pth", new_head(), state, extra=extra)
    before = load_checkpoint(tmp_path / "x.pth")
    longer, _ = run(epochs=9)
    later = {"model": {"head": "gru", "hidden": 128}, "versions": {"torch": "2.6"}}
    check_same_run(tmp_path / "x.pth", before, longer, later)
    for other, with_extra, what in (
        (run(lr=0.2)[0], extra, r"settings\.lr 0\.1 \(now 0\.2\)"),
        (
            state,
            {**extra, "model": {"head": "gru", "hidden": 64}},
            r"extra\.model\.hidden 128 \(now",
        ),
        (state, {**extra, "dense": True}, r"extra\.dense None \(now True\)"),
        (state, {"versions": {}}, r"extra\.model \{'head': 'gru', 'hidden': 128\} \(now None\)"),
        (
            run(lr=0.2)[0],
            {**extra, "seed": 1},
            r"settings\.lr 0\.1 \(now 0\.2\), extra\.seed None \(now 1\)",
        ),
    ):
        with pytest.raises(ValueError, match=rf"x\.pth was trained with {what}"):
            check_same_run(tmp_path / "x.pth", before, other, with_extra)


def test_a_model_that_is_done_is_not_trained_on(tmp_path):
    save_checkpoint(tmp_path / "last.pth", new_head(), TrainingState(epoch=3))
    with pytest.raises(ValueError, match=r"last\.pth holds a model to predict with .*start anew"):
        train_quietly(new_head(), *loaders(), checkpoint_dir=tmp_path, resume=True)


# writing and reading


@pytest.mark.parametrize(
    "error", [OSError("disk full"), RuntimeError("file write failed"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("kind", ["checkpoint", "backbone"])
def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch, error, kind):
    def save():
        if kind == "checkpoint":
            save_checkpoint(path, new_head(), TrainingState())
        else:
            save_backbone(EfficientNetBackbone(weights=None), path, card={})

    path = tmp_path / "last.pth"
    save()
    before = path.read_bytes()

    def half_a_save(payload, target):
        target.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", half_a_save)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError
    with pytest.raises(expected) as caught:
        save()
    assert expected is KeyboardInterrupt or (
        f"cannot write {path} ({error})" in str(caught.value)
        and "earlier file there is untouched" in str(caught.value)
    )
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path, how):
    path, trace = tmp_path / "evil.pth", tmp_path / "was_run"
    payload = {"format": "har-checkpoint", "version": 2, "extra": Evil(str(trace))}
    if how == "torch":
        torch.save(payload, path)
    else:
        path.write_bytes(pickle.dumps(payload, protocol=2))
    with pytest.raises(
        ValueError, match=r"evil\.pth is cut off or damaged, or carries objects or"
    ) as caught:
        load_checkpoint(path)
    assert "weights_only" not in str(caught.value), "torch's advice to run the code all the same"
    assert not trace.exists()


class Made:
    """Pickled as a call that makes something large out of two numbers."""

    def __init__(self, make, *numbers):
        self.made = make, numbers

    def __reduce__(self):
        return self.made


BOMBS = {
    "a view": lambda: torch.zeros(1).expand(100_000, 100_000),
    "no storage": lambda: torch.zeros(100_000, 100_000, device="meta"),
    "sparse": lambda: torch.sparse_coo_tensor([[1], [1]], [1.0], (100_000, 100_000)),
    "a call": lambda: Made(torch.Tensor, 100_000, 1000),
    "bytes": lambda: Made(bytearray, 10**10),
}


@pytest.mark.filterwarnings("ignore:.*sparse")
@pytest.mark.parametrize("bomb", BOMBS)
def test_what_is_larger_than_its_file_is_refused(tmp_path, bomb):
    path = tmp_path / "x.pth"
    save_checkpoint(path, new_head(), TrainingState())
    stored = torch.load(path, weights_only=True)
    torch.save(stored | {"temporal": {"a": [BOMBS[bomb]()]}}, path)
    with pytest.raises(ValueError, match=r"x\.pth .*(does not hold it|arrays of bytes)"):
        load_checkpoint(path)


def test_what_unpacks_to_more_than_its_file_is_refused(tmp_path):
    path, packed = tmp_path / "x.pth", tmp_path / "packed.pth"
    save_checkpoint(path, new_head(), TrainingState())
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        new.writestr("archive/data/999", bytes(1_000_000))
    with pytest.raises(ValueError, match=r"packed\.pth.*it unpacks to 1,\d+,\d+ bytes"):
        load_checkpoint(packed)


def test_foreign_damaged_and_missing_checkpoints_are_named(tmp_path):
    path = tmp_path / "other.pth"
    for foreign in ({"weight": torch.zeros(2)}, [1, 2], torch.zeros(3)):
        torch.save(foreign, path)
        with pytest.raises(ValueError, match=r"other\.pth is not a checkpoint of this project"):
            load_checkpoint(path)
    torch.save({"format": "har-checkpoint", "version": 7}, path)
    with pytest.raises(ValueError, match="has version 7, this code reads 2"):
        load_checkpoint(path)
    save_checkpoint(path, new_head(), TrainingState())
    whole = path.read_bytes()
    half = whole[: len(whole) // 2]
    for content in (half, b"", b"some text", b"another text", whole[100:], b"\x80" * 50):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.pth"):
            load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nowhere\.pth; train one"):
        load_checkpoint(tmp_path / "nowhere.pth")


def test_a_byte_that_changed_on_the_disk_is_noticed(tmp_path):
    """torch writes checksums and reads without them: a label would be another one in silence."""
    path = tmp_path / "x.pth"
    head = new_head()
    save_checkpoint(path, head, TrainingState())
    content = bytearray(path.read_bytes())
    content[content.index(head.norm.weight.detach().numpy().tobytes()) + 1] ^= 64
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pth is cut off or damaged.*another checksum"):
        load_checkpoint(path)


@pytest.mark.parametrize("how", ["nan", "inf", "int", "complex"])
def test_weights_that_are_no_finite_numbers_are_not_restored(tmp_path, how):
    """With them a model answers all the same, with its first class or at random."""
    path = tmp_path / "x.pth"
    save_checkpoint(path, new_head(), TrainingState())
    stored = load_checkpoint(path)
    name, weight = next(iter(stored["temporal"].items()))
    types = {"int": torch.int32, "complex": torch.complex64}
    odd = weight.to(types[how]) if how in types else torch.full_like(weight, float(how))
    with pytest.raises(ValueError, match=rf"weight {name} .*no finite number"):
        restore_weights(new_head(), stored | {"temporal": stored["temporal"] | {name: odd}})


# a backbone's file


def test_saved_weights_come_back_in_half_precision(tmp_path):
    backbone, path = EfficientNetBackbone(weights=None), tmp_path / "deep" / "weights.pth"
    save_backbone(backbone, path, card={"data": "rendered", "epochs": 3})
    again = EfficientNetBackbone(weights=path)
    card = torch.load(path, weights_only=True)["card"]
    assert card == {"data": "rendered", "epochs": 3}
    assert path.stat().st_size < 9e6
    for name, value in backbone.features.state_dict().items():
        same = again.features.state_dict()[name].float()
        assert torch.allclose(same, value.float(), rtol=1e-3, atol=1e-6), name
    assert next(again.parameters()).dtype == torch.float32
    assert list(path.parent.iterdir()) == [path], "no partial file may stay"


def test_weights_that_overflow_half_precision_are_not_saved(tmp_path):
    backbone = EfficientNetBackbone(weights=None)
    with torch.no_grad():
        backbone.features[0][0].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"0\.0\.weight is not finite"):
        save_backbone(backbone, tmp_path / "weights.pth", card={})
    with pytest.raises(ValueError, match="save the original"):
        save_backbone(backbone.folded_for_inference(), tmp_path / "folded.pth", card={})
    assert not list(tmp_path.iterdir())
