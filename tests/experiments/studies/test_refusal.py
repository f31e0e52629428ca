"""A head with a class more: who it learns from, what is refused, by whose threshold."""

import shutil
from functools import partial

import numpy as np
import pytest

from data.kth import ACTIONS, SPLITS, check_disjoint, load_splits
from data.synthetic import others as movements
from data.synthetic import render_dataset, render_others
from data.synthetic.joints import OTHER
from evaluation.predictions import Predictions
from experiments import refuser
from experiments.recipe import Recipe
from experiments.studies import refusal
from experiments.training import Job, fit
from tests.stand_ins import tiny

KINDS = ("bending", "turning")


@pytest.fixture(autouse=True)
def few_movements(monkeypatch):
    """Two kinds, rendered in this process."""
    monkeypatch.setattr(movements, "MOVES", {kind: movements.MOVES[kind] for kind in KINDS})
    quiet = partial(render_others, workers=1, progress=False)
    monkeypatch.setattr(refuser, "render_others", quiet)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The function rendered(seed) -> a folder of two persons each who bend and turn."""

    def render(seed):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(movements, "MOVES", {kind: movements.MOVES[kind] for kind in KINDS})
            root = tmp_path_factory.mktemp("others") / f"seed{seed}"
            return render_others(root, seed=seed, persons=2, workers=1, progress=False)

    return render


@pytest.fixture(scope="module")
def judged(rendered):
    return rendered(0)


@pytest.fixture(scope="module")
def to_learn_from(rendered):
    return rendered(refuser.SEED)


def test_the_seeds_draw_other_persons():
    def drawn(seed):
        streams = (
            np.random.default_rng([seed, movements.STREAM, movements.FIRST + number, kind])
            for number in range(12)
            for kind in range(20)
        )
        return {movements.Person.draw(rng).build for rng in streams}

    learned, asked = drawn(refuser.SEED), drawn(0)
    assert len(learned) == len(asked) == 240 and not learned & asked


def test_persons_who_choose_the_epoch_are_not_learned_from(to_learn_from, judged):
    parts = refuser.to_learn(to_learn_from, judged, 2, 1)
    who = {part: {s.video.person for s in segments} for part, segments in parts.items()}
    assert who == {"train": {602}, "validation": {601}}
    check_disjoint(parts)
    assert {s.label for part in parts.values() for s in part} == {OTHER}
    assert {len(s) for part in parts.values() for s in part} == {movements.FRAMES}


def test_what_is_missing_is_rendered_and_persons_beyond_are_left(to_learn_from, judged, tmp_path):
    root = shutil.copytree(to_learn_from, tmp_path / "learned")
    file = next(root.glob("*/person601*"))
    shutil.copy(file, file.with_name("person605_bending_d1.avi"))
    shutil.rmtree(root / KINDS[1])
    parts = refuser.to_learn(root, judged, 2, 1)
    names = {s.video.path.parent.name for s in parts["train"]}
    assert names == set(KINDS) and {s.video.person for s in parts["validation"]} == {601}


def test_what_was_learned_from_is_not_judged(to_learn_from, tmp_path):
    with pytest.raises(ValueError, match="persons that are learned from"):
        refuser.to_learn(tmp_path, to_learn_from, 2, 1)
    with pytest.raises(ValueError, match="give 2 or more"):
        refuser.to_learn(tmp_path, to_learn_from, 1, 1)
    with pytest.raises(ValueError, match="data others"):
        refusal.run(tmp_path, others=tmp_path / "none")
    assert not any(tmp_path.iterdir()), "nothing is rendered first"


def test_one_head_has_a_class_more_and_learns_it(discs, to_learn_from, judged):
    splits = load_splits(discs)
    recipe = Recipe(size=(24, 32), epochs=30, batch_size=8)
    job = Job(tiny("stacked_gru"), recipe, "discs", splits, None, False)
    both, alone = refuser.with_and_without(job, refuser.to_learn(to_learn_from, judged, 2, 1))
    plain, wide = fit(job.experiment, recipe, alone, model=job.model), refuser.fit_seven(job, both)
    six, seven = plain.predictions, wide.predictions
    assert six.log_probs.shape[1] == len(ACTIONS) and seven.log_probs.shape[1] == OTHER + 1
    assert plain.model.backbone is wide.model.backbone
    assert seven.labels.tolist() == six.labels.tolist() + [OTHER] * len(KINDS)
    doubt = seven.probs[:, OTHER]
    assert doubt[len(six) :].mean() > 3 * doubt[: len(six)].mean(), "of persons not learned from"
    assert refusal.six_way(seven).n == refusal.six_way(six).n == len(splits["validation"])


def test_six_way_means_the_likeliest_of_the_six():
    log_probs = np.log(np.full((3, 7), 0.01))
    log_probs[[0, 1, 2], [0, 2, 0]] = np.log(0.4)
    log_probs[0, OTHER] = np.log(0.5)
    labels = np.array([0, 1, OTHER])
    score = refusal.six_way(Predictions(log_probs, labels, {}, refuser.CLASSES))
    assert (score.correct, score.n) == (1, 2)


def test_scores_are_joined_and_who_sees_nobody_is_silent():
    nan = np.nan
    scores = refusal.scores_of(np.array([0.2, nan, 0.6, nan]), np.array([0.4, 0.3, nan, nan]))
    assert {name: score.tolist() for name, score in scores.items()} == {
        "joints alone": [0.2, np.inf, 0.6, np.inf],
        "appearance alone": [0.4, 0.3, np.inf, np.inf],
        "both, the larger": [0.4, 0.3, 0.6, np.inf],
        "both, the mean": [pytest.approx(0.3), 0.3, 0.6, np.inf],
    }


def test_thresholds_come_from_the_other_persons():
    """Persons 1 and 4 show the six actions; 4's scores are far higher, and so is its threshold."""
    rising = np.arange(200) / 1000
    scores = np.concatenate([rising, 0.5 + rising, [0.6, 0.6, np.inf, 0.7]])
    persons = np.array([1] * 200 + [4] * 200 + [601, 602, 601, 601])
    six = np.arange(len(scores)) < 400
    found = refusal.refused(scores, six, persons)
    assert not found[:200].any(), "1's by 4's threshold"
    assert found[200:400].all(), "4's by 1's threshold"
    # 601 is on 1's side and judged by 4's threshold, which is 0.697; nobody is refused in any case
    assert found[400:].tolist() == [False, True, True, True]


def test_one_percent_is_refused_where_persons_are_alike():
    scores = np.tile(np.arange(200) / 1000, 2)
    persons = np.repeat([1, 4], 200)
    found = refusal.refused(scores, np.ones(400, bool), persons)
    assert scores[found].tolist() == [0.198, 0.199] * 2
    with pytest.raises(ValueError, match="takes two"):
        refusal.refused(scores, persons == 1, persons)


def test_rows_count_each_side_and_joints_once(judged):
    others = refuser.other_segments(judged)
    six = [segment for segment in others if segment.video.person == 602]
    six = [refusal.Segment(replaced(s.video, person), 0, 0, 9) for s in six for person in (1, 4)]
    joints = np.array([0.1] * 4 + [0.2, 0.05, 0.3, 0.05])
    heads = [np.array([0.1] * 4 + [1.0] * 4), np.array([0.1] * 4 + [0.0] * 4)]
    rows = refusal._refusals(joints, np.array([heads, heads[::-1]]), [*six, *others])
    notes = {(row.task, row.method): row.note for row in rows}
    assert notes["none of the six, refused", "joints alone"] == "2 of 4"
    assert notes["none of the six, refused", "averaged: appearance alone"] == "4 0 of 4"
    assert notes["none of the six, refused", "Bi-GRU: appearance alone"] == "0 4 of 4"
    assert notes["the six actions, refused", "averaged: both, the mean"] == "0 0 of 4"
    assert len(rows) == 14


def replaced(video, person):
    return type(video)(video.path, ACTIONS[0], person, 1, classes=ACTIONS)


@pytest.mark.slow
def test_people_are_rendered_learned_and_judged(tmp_path, judged):
    persons = (SPLITS["train"][0], *SPLITS["validation"][:2], SPLITS["test"][0])
    root = render_dataset(
        tmp_path / "synth",
        persons=persons,
        actions=["boxing", "walking"],
        scenarios=(1,),
        segments=1,
        progress=False,
        workers=1,
    )
    quick = {**refusal.QUICK, "every": 1, "epochs": 15, "batch_size": 4}
    where = {"training": tmp_path / "learned", "cache_dir": tmp_path / "cache"}
    rows = refusal.run(root, others=judged, **where, **quick)
    notes = {(row.task, row.method): row.note for row in rows}
    assert len(rows) == len(notes) == 18
    assert all(note.endswith("of 4") for note in notes.values())
    learned = {path.read_bytes() for path in (tmp_path / "learned").glob("*/*.avi")}
    assert len(learned) == 4
    assert not learned & {path.read_bytes() for path in judged.glob("*/*.avi")}
    assert notes["none of the six, refused", "averaged: both, the larger"] != "0 of 4"
