"""One's own classes on the whole way: trained, kept, evaluated, predicted, cross-validated."""

import cv2
import numpy as np
import pytest
import torch

from data.files import read_json
from experiments.crossval import cross_validate, plan_for
from experiments.names import TITLES
from experiments.recipe import Recipe
from experiments.recognisers import load_recogniser
from experiments.reports import report_again
from experiments.table import EXPERIMENTS
from experiments.training import new_model
from tests.stand_ins import Lab, tiny
from utils.checkpoint import load_checkpoint
from utils.data_setup import VideoDataset
from utils.predict import predict_video

CLASSES = ("<b>kick", "Hände", "stand up")  # sorted
RULE = r"subj(\d)"


def disc(place, who, take, frames=12):
    """A disc whose speed and height are its class's."""
    video = np.full((frames, 48, 64), 60, dtype=np.uint8)
    for t in range(frames):
        centre = (int(4 + 9 * take + 2.5 * place * t) % 64, 10 + 14 * place)
        cv2.circle(video[t], centre, 4 + who, 220, thickness=-1)
    return video


@pytest.fixture(scope="module")
def mine(tmp_path_factory, write_video):
    """Three classes of five persons, two takes each."""
    root = tmp_path_factory.mktemp("own") / "my videos"
    for place, name in enumerate(CLASSES):
        for who in range(5):
            for take in range(2):
                write_video(root / name / f"subj{who}_{take}.avi", disc(place, who, take))
    return root


@pytest.fixture(scope="module")
def own_lab(mine, tmp_path_factory):
    return Lab(mine, tmp_path_factory.mktemp("own lab"))


@pytest.fixture(scope="module")
def trained(own_lab):
    return own_lab.run("average", person=RULE, epochs=12, lr=3e-3, results_dir=None)


def test_a_run_learns_and_keeps_the_classes(trained):
    assert trained.predictions.classes == CLASSES and trained.predictions.log_probs.shape == (6, 3)
    assert len(set(trained.predictions.items["person"])) == 1
    assert trained.segment.correct >= 5
    assert load_checkpoint(f"{trained.run}/best.pth")["extra"]["classes"] == list(CLASSES)
    told = read_json(f"{trained.run}/result.json")
    assert told["classes"] == list(CLASSES) and set(told["per_class"]) == set(CLASSES)


def test_predicting_names_them(own_lab, trained):
    said = predict_video(own_lab.load(trained), disc(1, 2, 0), fps=25)
    assert set(said.probs) == set(CLASSES) and said.label in CLASSES


def test_the_report_escapes_them_and_is_made_again(mine, trained):
    page = report_again(trained.run, mine).read_text(encoding="utf-8")
    assert "Hände" in page and "&lt;b&gt;kick" in page and "<b>kick" not in page
    assert "By person" in page and "By scenario" not in page


def test_the_test_part_is_that_of_the_training_and_what_came_since(
    own_lab, trained, mine, tmp_path, write_video
):
    again = own_lab.evaluate(trained)
    assert again.predictions.items["segment"].tolist() == (
        trained.predictions.items["segment"].tolist()
    )
    assert again.segment.correct == trained.segment.correct
    other = tmp_path / "my videos"
    other.symlink_to(mine, target_is_directory=True)
    with pytest.warns(UserWarning, match=r"persons \d, \d, \d, \d of my videos took part"):
        assert len(own_lab.evaluate(trained, other, split="all").predictions) == 30
    new = write_video(mine / "Hände" / "subj7_0.avi", disc(1, 5, 1))
    try:
        assert len(own_lab.evaluate(trained).predictions) == 7
    finally:
        new.unlink()


def test_another_data_set_without_a_split_is_taken_whole(own_lab, trained, tmp_path, write_video):
    write_video(tmp_path / "Hände" / "a.avi", disc(1, 0, 0))
    with pytest.raises(ValueError, match="no segments of split 'test' .*--split all takes all"):
        own_lab.evaluate(trained, tmp_path)
    assert len(own_lab.evaluate(trained, tmp_path, split="all").predictions) == 1


def test_classes_that_a_recogniser_does_not_know_are_named(mine, own_lab, trained, discs):
    with pytest.raises(ValueError, match="the videos show boxing, .* none of the classes <b>kick"):
        own_lab.evaluate(trained, discs)


def test_tuning_and_clips_know_them_too(own_lab):
    with pytest.warns(UserWarning, match="files are dealt"):
        tuned = own_lab.run("average", fine_tune=1, epochs=1, results_dir=None)
    assert tuned.predictions.classes == CLASSES and len(tuned.predictions) == 6
    assert set(tuned.predictions.items["person"]) == {"unknown"}


def test_rows_of_results_are_written_where_asked(own_lab, tmp_path):
    own_lab.run("average", person=RULE, epochs=12, lr=3e-3, results_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    assert "average,my videos,my videos,test,segment,6," in path.read_text()


@pytest.mark.parametrize("name", ["stacked_gru", "cutout_gru", "crop_gru", "pose"])
def test_every_reader_tells_any_number_of_classes_apart(name):
    row = EXPERIMENTS[name]
    model = new_model(row, Recipe(weights=None), num_classes=4)
    head = getattr(model, "head", model)
    numbers = getattr(getattr(model, "backbone", None), "feature_dim", row.model.get("in_dim"))
    assert head(torch.zeros(2, 5, numbers), None).shape == (2, 4)


def test_a_followed_encoder_is_shared_by_folds():
    row = EXPERIMENTS["crop_gru"]
    first = new_model(row, Recipe(weights=None), num_classes=4)
    other = new_model(row, Recipe(weights=None), num_classes=4, backbone=first.backbone)
    assert other.backbone is first.backbone and other.head is not first.head


@pytest.mark.parametrize("rule", [RULE, None])
def test_folds_are_by_person_or_by_file(mine, own_lab, rule, recwarn):
    scheme = plan_for(mine, person=rule, folds=3)
    assert scheme.name == f"3-fold by {'subject' if rule else 'file'}"
    assert bool(rule) != any("files are dealt" in str(w.message) for w in recwarn.list)
    where = {name: own_lab.where[name] for name in ("runs_dir", "cache_dir")}
    small = {"size": (24, 32), "epochs": 1, "progress": False, "person": rule}
    found = cross_validate(tiny("average"), scheme, root=mine, seeds=1, **where, **small)
    assert found.score("segment").n == 30 and found.predictions[0].classes == CLASSES


def test_without_folds_the_split_is_that_of_training(mine):
    (fold,) = plan_for(mine, person=RULE).folds
    assert [len(part) for part in fold.parts.values()] == [3, 1, 1]
    assert plan_for(mine, person=RULE, loo=True).folds[0].test == (0,)
    assert len(plan_for(mine, person=RULE, repeats=2).folds) == 2
    with pytest.raises(ValueError, match="only --folds K deals files .* --person"):
        plan_for(mine, loo=True)
    with pytest.raises(ValueError, match="choose one of folds, loo and repeats"):
        plan_for(mine, person=RULE, loo=True, folds=3)
    with pytest.raises(ValueError, match="6 parts takes persons of its own"):
        plan_for(mine, person=RULE, folds=6)
    with pytest.raises(ValueError, match="2 folds; .* give 3 or more"):
        plan_for(mine, person=RULE, folds=2)


def test_a_folder_and_a_list_of_files_are_data_sets(mine):
    whole = VideoDataset(mine)
    assert len(whole) == 30 and whole.classes == CLASSES and set(whole.labels) == {0, 1, 2}
    assert whole[0]["input"].shape[:2] == (8, 1)
    files = [whole.segments[number].video.path for number in (29, 0)]
    some = VideoDataset(list(map(str, files)), EXPERIMENTS["middle"].shown)
    assert some.labels == [1, 0] and some.classes == (CLASSES[0], CLASSES[2])
    assert some[0]["input"].shape[0] == 1
    with pytest.raises(FileNotFoundError, match="none of 1 files"), pytest.warns(UserWarning):
        VideoDataset([mine / "none.avi"])


def test_weights_alone_say_what_is_missing(trained, tmp_path):
    stored = torch.load(f"{trained.run}/best.pth", weights_only=True)
    torch.save(stored | {"extra": {"classes": ["a", "b"]}}, tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="no 'experiment'; it holds weights and not what to build"):
        load_recogniser(tmp_path / "mine.pth")


def test_names_and_titles_are_the_tables():
    assert {name: row.title for name, row in EXPERIMENTS.items()} == TITLES
