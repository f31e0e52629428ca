"""How the default is put together: weights, threshold and what is counted."""

import json
from functools import partial

import numpy as np
import pytest

from data.kth import ACTIONS, SPLITS
from data.synthetic import render_dataset, render_others
from data.synthetic.moves import MOVES
from experiments.fusion import MEMBERS, Said, choose_fusion
from experiments.recognisers import WEIGHTS, load_fusion
from utils.predict import SOMETHING_ELSE


def said(sure, guessing, labels):
    """Two members' words: the first is sure of the labels, the second guesses."""
    n = len(labels)
    probs = np.full((2, n, 6), (1 - sure) / 5)
    probs[0, np.arange(n), labels] = sure
    probs[1] = guessing
    return Said(labels, np.arange(n), np.log(probs), np.zeros(n), np.zeros(n, bool))


@pytest.fixture
def words():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 200)
    return said(0.6, rng.dirichlet(np.full(6, 0.3), 200).clip(1e-3), labels)


def test_right_ones_are_counted_by_weight(words):
    assert words.right(np.array([1, 0])) == 200
    assert words.right(np.array([0, 1])) == pytest.approx(200 / 6, abs=20)
    assert words.right(np.ones(2)) < 200, "the guesses are surer than the one who knows"
    assert words.right(np.array([1, 0]), np.arange(10)) == 10


def test_learned_weights_listen_to_the_one_who_knows(words):
    weights = words.learned(np.arange(100))
    assert weights[0] > 1 and weights[1] < 0.1
    assert words.right(weights, np.arange(100, 200)) == 100


def test_missing_videos_are_named_with_their_command(tmp_path):
    there = render_dataset(
        tmp_path / "synth",
        persons=[SPLITS["validation"][0]],
        actions=["boxing"],
        scenarios=(1,),
        segments=1,
        progress=False,
        workers=1,
    )
    with pytest.raises(ValueError, match="har.py data synth` and `python har.py data others`"):
        choose_fusion(there, tmp_path / "none", members=MEMBERS, out=WEIGHTS / "never.json")
    assert not (WEIGHTS / "never.json").exists()


@pytest.mark.slow
def test_it_is_chosen_on_rendered_people_written_and_loaded(tmp_path, monkeypatch):
    kinds = {kind: MOVES[kind] for kind in ("bending", "turning", "squatting")}
    monkeypatch.setattr("data.synthetic.others.MOVES", kinds)
    quiet = partial(render_others, workers=1, progress=False)
    monkeypatch.setattr("experiments.refuser.render_others", quiet)
    persons = SPLITS["validation"][:2]
    root = render_dataset(
        tmp_path / "synth",
        persons=[*persons, SPLITS["train"][0], SPLITS["test"][0]],
        actions=["boxing", "walking"],
        scenarios=(1,),
        segments=1,
        progress=False,
        workers=1,
    )
    others = render_others(tmp_path / "others", persons=1, progress=False, workers=1)
    members = [{**one, "checkpoint": str(WEIGHTS / one["checkpoint"])} for one in MEMBERS]
    out = tmp_path / "fusion.json"
    told = choose_fusion(
        root,
        others,
        members=members,
        out=out,
        cache_dir=None,
        progress=False,
        training=tmp_path / "training",
        persons=2,
        epochs=1,
    )
    assert json.loads(out.read_text()) == told
    assert told["chosen_on"]["segments"] == 4 and told["chosen_on"]["others"] == 3
    assert told["chosen_on"]["right"] >= 3 and told["chosen_on"]["refused"] <= 1
    fusion = load_fusion(out)
    assert fusion.threshold == told["threshold"]
    (refuser,) = fusion.refusers
    assert refuser.classes == (*ACTIONS, SOMETHING_ELSE) and len(fusion.members) == 2
    assert refuser.extra["auxiliary_data"] == "training"
