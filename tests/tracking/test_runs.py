"""Folders of runs, how one is found again, and how they look on the terminal whatever lies in
them."""

import json
import re
import subprocess

import pytest

import har
from evaluation.predictions import Score
from tracking.runs import (
    RunFolder,
    code_commit,
    comparison,
    config_hash,
    find_run,
    find_runs,
    flat,
    list_runs,
    matching_run,
    newest_run,
    overview,
    run_to_resume,
    runs_table,
)

ROW = "epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr,seconds\n"


class TestRunFolder:
    def test_a_run_is_finished_by_its_result(self, tmp_path):
        run = RunFolder.create(tmp_path, "gru", {"seed": 1})
        assert run.path.name.startswith("gru-") and not run.finished and run.config == {"seed": 1}
        run.finish({"accuracy": 0.5})
        assert run.finished and run.result == {"accuracy": 0.5}
        assert run.best == run.path / "best.pth"
        assert run.predictions_path == run.path / "predictions.npz"

    def test_two_runs_in_one_second_get_two_folders(self, tmp_path):
        paths = {RunFolder.create(tmp_path, "gru", {}).path for _ in range(3)}
        assert len(paths) == 3
        assert [run.path for run in find_runs(tmp_path, "gru")] == sorted(paths)

    def test_history_is_numbers_and_a_repeated_epoch_replaces_what_followed(self, tmp_path):
        run = RunFolder.create(tmp_path, "gru", {})
        assert run.history == []
        for epoch, loss in ((1, 0.9), (2, 0.8), (3, 0.7), (2, 0.75)):
            run.log_epoch({"epoch": epoch, "val_loss": loss})
        assert run.history == [{"epoch": 1.0, "val_loss": 0.9}, {"epoch": 2.0, "val_loss": 0.75}]

    def test_a_name_does_not_find_the_runs_of_a_longer_name(self, tmp_path):
        RunFolder.create(tmp_path, "ghost_whole", {}).finish({})
        (tmp_path / "ghost-notes").mkdir()
        assert find_runs(tmp_path, "ghost") == []
        assert newest_run(tmp_path, "ghost") is None

    def test_newest_is_the_newest_finished_one_beyond_nine_in_a_second(self, tmp_path):
        for number in ("", "-2", "-9", "-10"):
            folder = tmp_path / f"gru-20260101-120000{number}"
            folder.mkdir()
            (folder / "result.json").write_text("{}")
        RunFolder.create(tmp_path, "gru", {})  # newer, unfinished
        assert newest_run(tmp_path, "gru").path.name == "gru-20260101-120000-10"

    def test_a_run_is_found_again_by_its_configuration(self, tmp_path):
        first = RunFolder.create(tmp_path, "gru", {"seed": 0, "epochs": 3})
        first.finish({})
        RunFolder.create(
            tmp_path, "gru", {"epochs": 3, "seed": 0}
        )  # the same run, started again and cut off
        other = RunFolder.create(tmp_path, "gru", {"seed": 1, "epochs": 3})
        assert matching_run(tmp_path, "gru", {"epochs": 3, "seed": 0}).path == first.path
        assert matching_run(tmp_path, "gru", {"seed": 1, "epochs": 3}).path == other.path
        assert matching_run(tmp_path, "gru", {"seed": 2, "epochs": 3}) is None

    def test_a_folder_with_a_broken_config_matches_nothing(self, tmp_path):
        run = RunFolder.create(tmp_path, "gru", {})
        (run.path / "config.json").write_text("{")
        assert matching_run(tmp_path, "gru", {}) is None

    @pytest.mark.parametrize("content", ["", "{", "[1, 2]", "3"])
    def test_a_result_that_is_none_finishes_no_run(self, tmp_path, content):
        run = RunFolder.create(tmp_path, "gru", {})
        (run.path / "result.json").write_text(content)
        assert not run.finished and newest_run(tmp_path, "gru") is None
        with pytest.raises(ValueError, match=r"result\.json"):
            _ = run.result

    @pytest.mark.parametrize("content", ["[1, 2]", "{}", '{"hash": 3, "config": []}'])
    def test_a_configuration_that_is_none_is_named(self, tmp_path, content):
        run = RunFolder.create(tmp_path, "gru", {})
        (run.path / "config.json").write_text(content)
        assert run.hash == ""
        with pytest.raises(ValueError, match=r"config\.json"):
            _ = run.config

    @pytest.mark.parametrize("content", ["epoch,val_loss\n1\n", "epoch\n\xff\n", "loss\n1\n"])
    def test_a_damaged_history_stops_no_training(self, tmp_path, content):
        run = RunFolder.create(tmp_path, "gru", {})
        (run.path / "history.csv").write_bytes(content.encode("latin-1"))
        run.log_epoch({"epoch": 2, "val_loss": 0.5})
        assert run.history == [{"epoch": 2, "val_loss": 0.5}]

    def test_a_damaged_history_is_named(self, tmp_path):
        run = RunFolder.create(tmp_path, "gru", {})
        (run.path / "history.csv").write_text("epoch,val_loss\n1,low\n")
        with pytest.raises(ValueError, match=r"history\.csv: .*'low'"):
            _ = run.history

    def test_only_a_run_of_the_same_settings_is_gone_on_with(self, tmp_path):
        config = {"seed": 0, "recipe": {"lr": 0.1, "epochs": 3}}
        run = RunFolder.create(tmp_path, "gru", config)
        assert run_to_resume(run.path, config).path == run.path
        with pytest.raises(
            ValueError, match=r"another run, of recipe\.lr 0\.1 \(now 0\.2\): go on"
        ):
            run_to_resume(run.path, {"seed": 0, "recipe": {"lr": 0.2, "epochs": 3}})
        with pytest.raises(
            ValueError, match=r"of seed 0 \(now None\), a0 None \(now 0\), .* \.\.\.:"
        ):
            run_to_resume(run.path, {"recipe": config["recipe"]} | {f"a{n}": n for n in range(9)})
        with pytest.raises(ValueError, match=r"no run folder, it has no config\.json"):
            run_to_resume(tmp_path, config)


def test_the_commit_says_whether_code_was_changed(tmp_path):
    assert code_commit(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "code.py").write_text("1")
    for command in (["init", "-q"], ["add", "code.py"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    commit = code_commit(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{10}", commit)
    (tmp_path / "notes.txt").write_text("no code")
    assert code_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("2")
    assert code_commit(tmp_path) == commit + "+"


def test_the_hash_ignores_the_order_of_keys_and_nothing_else():
    assert config_hash({"a": 1, "b": [1, 2]}) == config_hash({"b": [1, 2], "a": 1})
    assert config_hash({"a": 1, "b": [1, 2]}) != config_hash({"a": 1, "b": [2, 1]})


def test_config_file_is_readable_by_people(tmp_path):
    run = RunFolder.create(tmp_path, "gru", {"seed": 1})
    written = json.loads((run.path / "config.json").read_text())
    assert written == {"name": "gru", "hash": run.hash, "config": {"seed": 1}}


def test_nested_settings_have_dotted_names():
    nested = {"a": 1, "b": {"c": [1], "d": {"e": None}}, "f": {}}
    assert flat(nested) == {"a": 1, "b.c": [1], "b.d.e": None}


def make_run(base, name, *, epochs=(), result=None, **recipe):
    """Write a run folder by hand: `epochs` are (validation loss, accuracy), `result` (segments,
    videos) of 8 and 4."""
    folder = base / name
    folder.mkdir(parents=True)
    experiment = name.split("-")[0]
    config = {
        "experiment": {"name": experiment},
        "data": {"name": "Discs"},
        "recipe": {"seed": 0, "lr": 0.1, **recipe},
    }
    (folder / "config.json").write_text(
        json.dumps({"name": experiment, "hash": "0", "config": config})
    )
    if epochs:
        lines = [
            f"{k},1.0,0.5,{loss},{accuracy},0.1,1\n"
            for k, (loss, accuracy) in enumerate(epochs, start=1)
        ]
        (folder / "history.csv").write_text(ROW + "".join(lines))
    if result:
        segment, video = ({"correct": k, "n": n} for k, n in zip(result, (8, 4), strict=True))
        told = {
            "segment": segment,
            "video": video,
            "per_class": {"boxing": {"correct": 1, "n": 2}},
            "about": {"parameters": 10246, "seconds": 1.5},
        }
        (folder / "result.json").write_text(json.dumps(told))
    return folder


@pytest.fixture
def runs(tmp_path):
    base = tmp_path / "runs"
    make_run(
        base,
        "gru-20260102-120000",
        epochs=[(0.9, 0.5), (0.5, 0.75), (0.6, 1)],
        result=(6, 4),
        seed=1,
    )
    make_run(base, "tcn-20260101-120000-10", epochs=[(0.25, 0.9)])
    make_run(base, "tcn-20260101-120000-9")
    make_run(base, "average-20251231-235959", epochs=[(1, 0)], result=(0, 0))
    (base / "notes").mkdir()
    make_run(base / "fast", "gru-20260103-120000")
    (base / "a file").touch()
    return base


def trimmed(text):
    return [line.rstrip() for line in text.splitlines()]


def test_the_list_in_full(runs):
    whole = """\
                                state   data seed epochs val loss val accuracy test segments  \
 test videos
fast                     holds 1 runs
notes                          no run
average-20251231-235959      finished  Discs    0      1   1.0000         0.0%    0/8 = 0.0%  \
  0/4 = 0.0%
tcn-20260101-120000-9           empty  Discs    0
tcn-20260101-120000-10     at epoch 1  Discs    0      1   0.2500        90.0%
gru-20260102-120000          finished  Discs    1      3   0.5000        75.0%   6/8 = 75.0%  \
4/4 = 100.0%"""
    assert trimmed(runs_table(list_runs(runs))) == whole.splitlines()


def test_an_empty_folder_has_no_runs(tmp_path):
    assert runs_table(list_runs(tmp_path)) == "no runs"
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; `python har\.py train`"):
        list_runs(tmp_path / "nowhere")


def test_two_runs_side_by_side(runs):
    pair = [overview(runs / name) for name in ("gru-20260102-120000", "tcn-20260101-120000-10")]
    whole = """\
                     gru-20260102-120000 tcn-20260101-120000-10
experiment.name                      gru                    tcn
recipe.seed                            1                      0
state                           finished             at epoch 1
epochs                                 3                      1
best validation loss              0.5000                 0.2500
  its accuracy                     75.0%                  90.0%
test videos                 4/4 = 100.0%
test segments                6/8 = 75.0%
  boxing                     1/2 = 50.0%
parameters                        10,246
seconds                              1.5
2 of 4 settings are the same"""
    assert trimmed(comparison(pair)) == whole.splitlines()


def test_settings_that_only_one_has_and_none_that_differ(runs):
    one = overview(make_run(runs, "gru-20260104-120000", seed=1, patience=3))
    lines = trimmed(comparison([overview(runs / "gru-20260102-120000"), one]))
    assert lines[1].split() == ["recipe.patience", "-", "3"] and lines[2].startswith("state")
    assert lines[-1] == "4 of 5 settings are the same"
    twice = trimmed(comparison([one, one]))
    assert twice[1].split() == ["state", "empty", "empty"]
    assert twice[-1] == "5 of 5 settings are the same"


BROKEN = (
    b"\xff\xfe\x00",
    b"a,b\n1,2\n",
    b"val_loss,val_accuracy\nx,y\n",
    b"val_loss,val_accuracy\n1\n",
)
NO_JSON = (*BROKEN, b"", b"{", b"[1, 2]", b'{"config": 3, "segment": 4}')


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("history.csv", content) for content in BROKEN),
        *((file, content) for file in ("config.json", "result.json") for content in NO_JSON),
    ],
)
def test_what_is_damaged_is_listed_and_compared_as_such(runs, file, content):
    path = runs / "gru-20260102-120000"
    (path / file).write_bytes(content)
    told = overview(path)
    assert told.state == f"damaged: {file} cannot be read"
    assert told.state in runs_table(list_runs(runs)) and told.state in comparison([told, told])


def test_scores_are_listed_as_they_are_counted(tmp_path):
    run = RunFolder.create(tmp_path, "gru", {"data": {"name": "KTH"}, "recipe": {"seed": 2}})
    run.write_history([{"epoch": 1, "val_loss": 0.5, "val_accuracy": 1.0}])
    segment, video = Score(5, 8, (0.5, 0.75)).to_row(), Score(2.5, 4).to_row()
    run.finish({"segment": segment, "video": video, "per_class": {"boxing": segment}, "about": {}})
    one = overview(run.path)
    assert one.state == "finished" and one.numbers == {
        "epochs": "1",
        "best validation loss": "0.5000",
        "  its accuracy": "100.0%",
        "test videos": "2.5/4 = 62.5%",
        "test segments": "5/8 = 62.5%",
        "  boxing": "5/8 = 62.5%",
    }


def test_a_run_without_its_configuration_is_damaged(runs):
    (runs / "gru-20260102-120000" / "config.json").unlink()
    assert overview(runs / "gru-20260102-120000").state == "damaged: config.json is missing"


def test_a_run_is_found_by_path_and_by_name(runs):
    name = "gru-20260102-120000"
    assert find_run(runs / name, "elsewhere") == find_run(name, runs) == runs / name
    with pytest.raises(FileNotFoundError, match=r"'?gru-9.*python har\.py runs"):
        find_run("gru-9", runs)


class TestCommand:
    def test_lists_and_compares(self, runs, capsys):
        assert har.main(["runs", "--runs-dir", str(runs)]) == 0
        assert capsys.readouterr().out == runs_table(list_runs(runs)) + "\n"
        names = ["gru-20260102-120000", "tcn-20260101-120000-9"]
        assert har.main(["runs", *names, "--runs-dir", str(runs)]) == 0
        assert (
            capsys.readouterr().out == comparison([overview(runs / name) for name in names]) + "\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--runs-dir", "nowhere"], "no folder nowhere"),
            (["one"], "1 runs were named"),
            (["a", "b"], "run folder a"),
        ],
    )
    def test_says_what_is_wrong(self, arguments, said, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert har.main(["runs", *arguments]) == 1
        assert said in capsys.readouterr().err
