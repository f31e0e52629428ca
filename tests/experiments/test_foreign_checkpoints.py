"""Checkpoints of strangers: what no recogniser of ours can be is refused in a sentence, and before
it costs anything."""

import copy
import json
import shutil

import pytest
import torch

from experiments.recognisers import WEIGHTS, export_recogniser, load_recogniser


@pytest.fixture(scope="module")
def stored():
    return torch.load(WEIGHTS / "recogniser_pose.pth", weights_only=True)


def changed(stored, where, value):
    """A copy with a value at dotted names, or without that entry when the value is `...`."""
    copied = copy.deepcopy({name: stored[name] for name in stored if name != "temporal"})
    copied["temporal"] = stored["temporal"]
    *names, last = where.split(".")
    inner = copied
    for name in names:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copied


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        *((name, ..., f"it has no '{name}'") for name in ("temporal", "backbone", "extra", "best")),
        ("epoch", ..., "it has no 'epoch'"),
        ("best", {}, "it.best has no 'epoch'"),
        ("history", [{}], "it.history[0] has no 'epoch'"),
        ("extra", [], "it.extra is"),
        *((f"extra.{n}", ..., f"its extra has no '{n}'") for n in ("experiment", "seed", "data")),
        ("extra.classes", [], "no classes"),
        ("extra.classes", ["boxing"] * 6, "names a class twice"),
        ("extra.experiment", "juggling", "no row of the table"),
        ("extra.shown.transform.size", [100_000, 100_000], "between 0 and 8192"),
        ("extra.shown.transform.size", [8000, 8000], "24 frames of 8000 x 8000, 1,536,000,000"),
        ("extra.shown.sampler.frames", 10**9, "between 0 and 8192"),
        ("extra.shown.sampler.seconds", float("nan"), "seconds is nan"),
        ("extra.shown.reader.finder.rate", 0, "rate is 0"),
        ("extra.shown.reader", None, "reader is None"),
        ("extra.clip_seconds", 0, "clip_seconds is 0"),
        ("extra.model.networks", 10**9, "between 0 and 8192"),
        ("extra.model.hidden", 8192, "it holds 365,781"),
        ("extra.model.head", "gru", "head"),
        ("temporal", {"a": 1}, "it holds 0"),
    ],
)
def test_what_no_recogniser_can_be_is_refused(stored, tmp_path, where, value, said):
    path = tmp_path / "odd.pth"
    torch.save(changed(stored, where, value), path)
    with pytest.raises(ValueError) as caught:
        load_recogniser(path)
    assert "odd.pth" in str(caught.value) and said in str(caught.value)
    with pytest.raises(ValueError, match=r"odd\.pth"):
        export_recogniser(path, out=tmp_path / "exported.pth")


def test_own_classes_do_not_take_the_bundled_place(tmp_path):
    bundled = WEIGHTS / "recogniser_stacked_gru.pth"
    before, own = bundled.read_bytes(), torch.load(bundled, weights_only=True)
    own["extra"]["classes"] = ["kick", "sit", "stand up", "turn", "wave", "yawn"]
    torch.save(own, tmp_path / "own.pth")
    with pytest.raises(ValueError, match=r"kick, .* take the place .* boxing, .*--out"):
        export_recogniser(tmp_path / "own.pth")
    assert bundled.read_bytes() == before
    path = export_recogniser(tmp_path / "own.pth", out=tmp_path / "exported.pth")
    assert load_recogniser(path).classes[2] == "stand up"


def test_what_is_whole_is_loaded(stored, tmp_path):
    torch.save(stored, tmp_path / "good.pth")
    assert load_recogniser(tmp_path / "good.pth").extra == stored["extra"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"members": [{"checkpoint": 3}], "name": "x"}, r"members\[0\].checkpoint is 3"),
        ({"members": ["recogniser_pose.pth"], "name": "x"}, r"members\[0\] is 'recogniser"),
        ({"members": [{"checkpoint": "recogniser_pose.pth"}]}, "has no 'name'"),
        ([], "names no recognisers"),
        (
            {"members": [{"checkpoint": "recogniser_pose.pth"}], "name": "x", "threshold": 1.5},
            "threshold is 1.5",
        ),
    ],
)
def test_a_fusions_file_that_is_none_is_refused(tmp_path, told, said):
    path = tmp_path / "fusion.json"
    path.write_text(json.dumps(told))
    shutil.copy(WEIGHTS / "recogniser_pose.pth", tmp_path)
    with pytest.raises(ValueError, match=rf"fusion\.json.*{said}"):
        load_recogniser(path)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("fusion.json", "is no recogniser but names several"),
        ("recogniser_stacked_gru.pth", "'stacked_gru' reads GreyFrames: name an experiment"),
        ("other.pth", "'pose' lacks {'boxing'}"),
    ],
)
def test_members_that_make_no_fusion_are_refused(stored, tmp_path, member, said):
    for name in ("recogniser_pose.pth", "recogniser_stacked_gru.pth"):
        shutil.copy(WEIGHTS / name, tmp_path)
    named = ["hopping", *stored["extra"]["classes"][1:]]
    torch.save(changed(stored, "extra.classes", named), tmp_path / "other.pth")
    members = [{"checkpoint": member}, {"checkpoint": "recogniser_pose.pth"}]
    (tmp_path / "fusion.json").write_text(json.dumps({"name": "x", "members": members}))
    with pytest.raises(ValueError, match=said):
        load_recogniser(tmp_path / "fusion.json")
