"""The command line from arguments to files, and what it says when something is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import har
from data.kth import ACTIONS
from experiments.table import EXPERIMENTS
from tracking.loggers import LOGGERS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(make_kth, tmp_path_factory):
    """A folder with a tiny data set and one finished run of gru."""
    base = tmp_path_factory.mktemp("har")
    make_kth(base / "Tiny", segments=1, length=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        command = ["train", "gru", "--root", "Tiny", "--weights", "random", "--epochs", "1"]
        assert har.main([*command, "--record"]) == 0
    return base


@pytest.fixture
def in_trained(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


def fails(capsys, *arguments):
    """Run a command that must fail; return its one line."""
    assert har.main(list(arguments)) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("har.py: ") and "Traceback" not in said
    return said


class TestTrain:
    def test_leaves_a_run_and_rows(self, in_trained):
        (run,) = Path("runs").glob("gru-*")
        assert {p.name for p in run.iterdir()} == {
            "config.json",
            "history.csv",
            "best.pth",
            "last.pth",
            "predictions.npz",
            "report.html",
            "report.json",
            "result.json",
        }
        assert "gru,Tiny,Tiny,test,segment,6," in Path("results/tiny.csv").read_text()

    def test_again_finds_the_finished_run(self, in_trained, capsys):
        before = sorted(Path("runs").rglob("*"))
        assert (
            har.main(["train", "gru", "--root", "Tiny", "--weights", "random", "--epochs", "1"])
            == 0
        )
        assert sorted(Path("runs").rglob("*")) == before
        assert "gru on Tiny (test): segments" in capsys.readouterr().out

    def test_what_is_asked_for_is_in_the_runs_configuration(self, in_trained, monkeypatch):
        monkeypatch.setattr(
            "experiments.run_experiment", lambda name, **given: asked.append(given) or 1 / 0
        )
        asked = []
        for more in ([], ["--horizontal-flip", "--log", "tensorboard", "wandb"]):
            assert har.main(["train", "gru", "--root", "Tiny", *more]) == 1
        assert "horizontal_flip" not in asked[0] and asked[1]["horizontal_flip"] is True
        assert list(asked[0]["log"]) == [] and asked[1]["log"] == ["tensorboard", "wandb"]

    def test_a_number_of_nought_is_asked_for_too(self, trained, here, capsys):
        data = str(trained / "Tiny")
        assert (
            har.main(["train", "gru", "--root", data, "--weights", "random", "--epochs", "0"]) == 1
        )
        assert capsys.readouterr().err.endswith("har.py: epochs is 0; it must be above 0\n")

    def test_what_is_not_named_is_not_in_the_recipe(self):
        def recipe(*more):
            return har.from_flags(har._parser().parse_args(["train", "gru", *more]))

        assert recipe() == {}
        assert recipe("--fine-tune", "0", "--weights", "random") == {
            "fine_tune": 0,
            "weights": None,
        }
        assert recipe("--weights", "", "--auxiliary-root", "") == {
            "weights": "",
            "auxiliary_root": "",
        }

    def test_without_data_says_which_command_helps(self, here, capsys):
        said = fails(capsys, "train", "gru", "--root", "Nowhere")
        assert "no videos under Nowhere" in said and "python har.py data synth" in said

    def test_an_unknown_experiment_is_named(self, here, capsys):
        assert "'gur'" in fails(capsys, "train", "gur", "--root", "Nowhere")

    def test_weights_that_are_not_there_are_named(self, in_trained, capsys):
        assert "mine.pth" in fails(
            capsys, "train", "gru", "--root", "Tiny", "--weights", "mine.pth"
        )

    def test_nothing_is_recorded_unless_asked_for(self, trained, here, capsys):
        Path("README.md").write_text("<!-- results:tiny -->\n<!-- /results:tiny -->\n")
        before = Path("README.md").read_bytes()
        command = ["train", "average", "--data", str(trained / "Tiny"), "--weights", "random"]
        assert har.main([*command, "--epochs", "1", "--name", "Mine"]) == 0
        assert "average on Mine (test)" in capsys.readouterr().out
        assert not Path("results").exists() and Path("README.md").read_bytes() == before

    def test_its_help_names_the_experiments(self, capsys):
        with pytest.raises(SystemExit, match="0"):
            har.main(["train", "--help"])
        said = "".join(capsys.readouterr().out.split())
        assert f"experiments:{','.join(EXPERIMENTS)};orall" in said

    def test_the_folder_has_two_names_and_one_is_given(self, capsys):
        parse = har._parser().parse_args
        assert parse(["train", "gru", "--data", "A"]).root == "A"
        assert parse(["train", "gru", "--root", "A"]).root == "A"
        with pytest.raises(SystemExit, match="2"):
            parse(["train", "gru", "--root", "A", "--data", "B"])
        assert "--data: not allowed with argument --root" in capsys.readouterr().err

    def test_every_logger_can_be_asked_for(self):
        asked = har._parser().parse_args(["train", "gru", "--log", *LOGGERS])
        assert asked.log == list(LOGGERS) and asked.names == ["gru"]

    def test_a_logger_without_its_package_names_the_extra(self, in_trained, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorboard", None)
        said = fails(
            capsys, "train", "tcn", "--root", "Tiny", "--weights", "random", "--log", "tensorboard"
        )
        assert 'pip install -e ".[tensorboard]"' in said and "requirements.txt" not in said
        assert not list(Path("runs").glob("tcn-*"))


class TestRuns:
    def test_a_run_is_listed_and_its_report_made_again(self, in_trained, capsys):
        (run,) = Path("runs").glob("gru-*")
        assert har.main(["runs"]) == 0
        assert f"{run.name}  finished  Tiny" in capsys.readouterr().out
        (run / "report.html").unlink()
        assert har.main(["report", str(run), "--root", "Tiny"]) == 0
        assert (
            capsys.readouterr().out == f"{run / 'report.html'}\n"
            and (run / "report.html").is_file()
        )
        assert "no folder of a finished run" in fails(capsys, "report", "runs")


class TestEvaluate:
    def test_writes_the_evaluation(self, in_trained, capsys):
        assert har.main(["evaluate", "gru", "--root", "Tiny", "--json", "out.json"]) == 0
        told = json.loads(Path("out.json").read_text())
        assert told["experiment"] == "gru" and told["data"] == "Tiny" and told["split"] == "test"
        assert told["segment"]["n"] == told["video"]["n"] == 6
        said = capsys.readouterr().out
        assert f"segments {told['segment']['correct']}/6" in said and all(
            action in said for action in ACTIONS
        )

    def test_record_writes_rows_and_the_tables_of_the_readme(self, in_trained):
        Path("README.md").write_text("<!-- results:renamed -->\n<!-- /results:renamed -->\n")
        assert (
            har.main(
                [
                    "evaluate",
                    "gru",
                    "--root",
                    "Tiny",
                    "--split",
                    "all",
                    "--name",
                    "Renamed",
                    "--record",
                ]
            )
            == 0
        )
        assert "Renamed, all" in Path("README.md").read_text()
        assert har.main(["results", "--check"]) == 0
        Path("README.md").write_text("<!-- results:renamed -->\n<!-- /results:renamed -->\n")
        assert har.main(["results", "--check"]) == 1
        assert har.main(["results"]) == 0 and har.main(["results", "--check"]) == 0

    def test_a_name_without_a_run_says_what_to_do(self, here, capsys):
        assert "python har.py train tcn" in fails(capsys, "evaluate", "tcn", "--root", "Nowhere")

    @pytest.mark.parametrize("content", [b"hello", b"", {"weights": 1}])
    def test_a_file_that_is_no_checkpoint_is_refused(self, in_trained, tmp_path, capsys, content):
        path = tmp_path / "odd.pth"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        assert "odd.pth" in fails(capsys, "evaluate", str(path), "--root", "Tiny")

    def test_a_checkpoint_that_carries_code_is_not_run(self, in_trained, tmp_path, capsys):
        class Trap:
            def __reduce__(self):
                return Path.touch, (tmp_path / "sprung",)

        torch.save({"format": "har-checkpoint", "trap": Trap()}, tmp_path / "trap.pth")
        assert "code" in fails(capsys, "evaluate", str(tmp_path / "trap.pth"), "--root", "Tiny")
        assert not (tmp_path / "sprung").exists()


class TestPredict:
    def test_writes_what_was_found_out(self, in_trained, capsys):
        file = "Tiny/running/person22_running_d1.avi"
        assert har.main(["predict", file, "--json", "out.json", "--csv", "out.csv"]) == 0
        told = json.loads(Path("out.json").read_text())
        assert told["file"] == file and set(told["probs"]) == set(ACTIONS)
        assert told["segments"][0]["start_s"] == 0 and told["fps"] == 25
        assert Path("out.csv").read_text().startswith("file,start_s,stop_s,label,")
        assert f"{file}: {told['label']}" in capsys.readouterr().out

    def test_says_what_speaks_against_it(self, in_trained, tmp_path, write_video, capsys):
        bar = np.full((10, 64, 64), 60, np.uint8)
        for place in range(10):
            bar[place, :, 4 * place : 4 * place + 9] = 220
        path = write_video(tmp_path / "short.avi", bar)
        assert har.main(["predict", str(path), "--json", "out.json"]) == 0
        told = json.loads(Path("out.json").read_text())
        (doubt,) = told["doubts"]
        assert doubt.startswith("it lasts 0.4 seconds")
        said = capsys.readouterr().out
        assert said.startswith(f"{path}: {told['label']}, in doubt:\n  - {doubt}\n  ")

    def test_a_file_that_is_no_video_is_named(self, in_trained, tmp_path, capsys):
        (tmp_path / "note.avi").write_text("not a video")
        assert "note.avi" in fails(capsys, "predict", str(tmp_path / "note.avi"))
        assert "absent.avi" in fails(capsys, "predict", "absent.avi")

    def test_wrong_usage_has_a_status_of_its_own(self, in_trained, capsys):
        file = "Tiny/running/person22_running_d1.avi"
        assert har.main(["predict", file, file, "--save", "out.mp4"]) == 2
        assert "is one file for 2 videos; name a folder" in capsys.readouterr().err

    def test_a_camera_is_watched_in_the_terminal(self, monkeypatch, capsys):
        from experiments import webcam

        asked = []
        monkeypatch.setattr("experiments.load_recogniser", lambda model: model)
        monkeypatch.setattr(
            webcam, "watch_camera", lambda *args, **how: asked.append((args, how)) or ["a", "b"]
        )
        assert har.main(["webcam", "--camera", "film.mp4", "--terminal", "--model", "gru"]) == 0
        assert asked == [(("gru", "film.mp4"), {"every": 0.5, "window": False})]
        assert capsys.readouterr().out == "a\nb\n"


class TestData:
    def test_synth_renders_once(self, here, monkeypatch, capsys):
        import data.synthetic.dataset

        asked = []
        monkeypatch.setattr(
            data.synthetic,
            "render_dataset",
            lambda root, **kw: asked.append((root, kw)) or Path(root),
        )
        assert har.main(["data", "synth", "--root", "There", "--seed", "4", "--segments", "3"]) == 0
        assert asked == [("There", {"seed": 4, "segments": 3, "workers": None})]

    def test_a_tilde_that_no_shell_expands_is_ones_home(self, here, monkeypatch):
        asked = []
        monkeypatch.setenv("HOME", str(here))
        monkeypatch.setenv("USERPROFILE", str(here))
        monkeypatch.setattr(
            "data.synthetic.render_dataset", lambda root, **_: asked.append(root) or Path(root)
        )
        assert har.main(["data", "synth", "--root=~/There"]) == 0
        assert asked == [f"{here}/There"]

    def test_kth_passes_its_choices_on_and_fails_when_something_is_missing(self, here, monkeypatch):
        import data.download
        from data.download import Summary

        asked = []

        def fetch(root, **choices):
            asked.append((root, choices))
            return Summary(Path(root), problems=["running.zip is missing"])

        monkeypatch.setattr(data.download, "fetch_kth", fetch)
        assert har.main(["data", "kth", "--from-zip", "zips", "--url", "http://localhost/x/"]) == 1
        assert asked == [(Path("Data/KTH"), {"url": "http://localhost/x/", "from_zip": "zips"})]

    def test_the_address_is_the_official_one(self):
        from data.download import OFFICIAL_URL

        assert har._parser().parse_args(["data", "kth"]).url == OFFICIAL_URL


def test_pretrain_passes_its_choices_on(here, monkeypatch, capsys):
    from experiments import pretraining as pretrain

    asked = []
    monkeypatch.setattr(
        pretrain, "pretrain", lambda out, **kw: asked.append((out, kw)) or {"steps": 3}
    )
    assert har.main(["pretrain", "--out", "w.pth", "--init", "random", "--steps", "3"]) == 0
    chosen = {"init": None, "seed": 0, "steps": 3, "cluttered": 0.5}
    assert asked == [(Path("w.pth"), chosen)]
    assert json.loads(capsys.readouterr().out) == {"steps": 3}


def test_an_interruption_says_that_a_rerun_goes_on(here, monkeypatch, capsys):
    import tracking.notebook

    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking.notebook, "execute", interrupt)
    assert har.main(["notebook", "a.ipynb"]) == 130
    assert "goes on" in capsys.readouterr().err


def told(monkeypatch, capsys, fail):
    """Let a verb fail; return what is said."""
    import tracking.notebook

    monkeypatch.setattr(tracking.notebook, "execute", fail)
    assert har.main(["notebook", "a.ipynb"]) == 1
    return capsys.readouterr().err


def refuse(error):
    def fail(path):
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ValueError("epochs is 0"),
        FileNotFoundError("no such clip"),
        ConnectionError("no network"),
        ChildProcessError("process 1 failed"),
        FloatingPointError("the loss is nan"),
        OSError("disk full"),
    ],
)
def test_what_users_can_mend_is_said_in_one_line(here, monkeypatch, capsys, error):
    assert told(monkeypatch, capsys, refuse(error)) == f"har.py: {error}\n"


@pytest.mark.parametrize(
    ("fail", "line"),
    [
        (refuse(TypeError("no such argument")), "TypeError: no such argument"),
        (refuse(RuntimeError("shapes differ")), "RuntimeError: shapes differ"),
        (lambda path: {}[path], "KeyError: 'a.ipynb'"),
        (lambda path: json.loads("no json"), "JSONDecodeError: Expecting value"),
        (lambda path: np.zeros(2) + np.zeros(3), "ValueError: operands could not be broadcast"),
        (lambda path: torch.zeros(2) @ torch.zeros(3), "RuntimeError: "),
        (lambda path: int("one"), "ValueError: invalid literal"),
    ],
)
def test_a_fault_of_the_program_shows_its_traceback_and_asks_for_a_report(
    here, monkeypatch, capsys, fail, line
):
    said = told(monkeypatch, capsys, fail)
    assert said.startswith("Traceback") and line in said
    assert (
        said.splitlines()[-1]
        == "har.py: this is a fault of the program, not yours: please report it with the "
        "lines above"
    )


def test_an_error_of_ours_out_of_a_worker_is_for_users(here, monkeypatch, capsys):
    """A loader's workers hand it on as their own words, raised in torch."""
    from data.video import VideoError

    class Cut(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise VideoError("clip.avi ends early")

    said = told(
        monkeypatch,
        capsys,
        lambda path: next(iter(torch.utils.data.DataLoader(Cut(), num_workers=1))),
    )
    assert said.startswith("har.py: ") and "clip.avi ends early" in said


@pytest.mark.slow
def test_a_missing_package_says_how_to_install_it(here, monkeypatch, capsys):
    for name in ("experiments", "experiments.answers"):  # whatever was imported before
        monkeypatch.setitem(sys.modules, name, None)
    assert har.main(["predict", "a.avi"]) == 1
    assert "pip install -r requirements.txt" in capsys.readouterr().err


def test_help_is_there_at_once_without_torch():
    code = "import sys, har; har._parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.parametrize(
    "arguments", [[], ["data"], ["train"], ["evaluate", "gru", "--split", "tset"], ["fly"]]
)
def test_wrong_usage_is_told_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        har.main(arguments)
    assert "usage: har.py" in capsys.readouterr().err
