"""What a folder of runs looks like on the terminal, whatever lies in it."""

import json

import pytest

import har
from tracking.runs import comparison, find_run, list_runs, overview, runs_table

ROW = "epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr,seconds\n"


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


def test_the_list_in_full(runs):
    assert (
        runs_table(list_runs(runs))
        == """\
run                      state         data   seed  epochs  val loss  val accuracy  test segments  test videos
fast                     holds 1 runs
notes                    no run
average-20251231-235959  finished      Discs     0       1    1.0000          0.0%  0/8 = 0.0%     0/4 = 0.0%
tcn-20260101-120000-9    empty         Discs     0
tcn-20260101-120000-10   at epoch 1    Discs     0       1    0.2500         90.0%
gru-20260102-120000      finished      Discs     1       3    0.5000         75.0%  6/8 = 75.0%    4/4 = 100.0%"""
    )


def test_two_runs_side_by_side(runs):
    pair = [overview(runs / name) for name in ("gru-20260102-120000", "tcn-20260101-120000-10")]
    assert (
        comparison(pair)
        == """\
                                gru-20260102-120000  tcn-20260101-120000-10
settings (2 more are the same)
  experiment.name               gru                  tcn
  recipe.seed                   1                    0
numbers
  state                         finished             at epoch 1
  epochs                        3                    1
  best validation loss          0.5000               0.2500
    its accuracy                75.0%                90.0%
  test videos                   4/4 = 100.0%
  test segments                 6/8 = 75.0%
    boxing                      1/2 = 50.0%
  parameters                    10,246
  seconds                       1.5"""
    )


def test_settings_that_only_one_has_and_none_that_differ(runs):
    one = make_run(runs, "gru-20260104-120000", seed=1, patience=3)
    text = comparison([overview(runs / "gru-20260102-120000"), overview(one)])
    assert "settings (4 more are the same)\n  recipe.patience" in text.replace("  ", " ").replace(
        "\n ", "\n  "
    )
    assert next(line for line in text.splitlines() if "patience" in line).split() == [
        "recipe.patience",
        "-",
        "3",
    ]
    assert "settings (all 4 are the same)" in comparison(
        [overview(runs / "gru-20260102-120000")] * 2
    )


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
