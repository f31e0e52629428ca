"""What TensorBoard and W&B are given, read back from their own files; and that no logger can cost a
training."""

import errno
import sys

import numpy as np
import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracking import loggers
from tracking.loggers import (
    Summary,
    TensorBoardLogger,
    WandbLogger,
    open_loggers,
    require,
    tag,
)

CLASSES = ["boxing", "boxing", "running", "walking", "walking"]
FULL = OSError(errno.ENOSPC, "No space left on device")


def row(epoch, loss=0.5):
    return {
        "epoch": epoch,
        "train_loss": loss,
        "train_accuracy": 0.25,
        "val_loss": 2 * loss,
        "val_accuracy": 0.75,
        "lr": 0.125,
        "seconds": 2.0,
    }


def summary(epoch=2):
    strip = np.arange(6 * 24, dtype=np.uint8).reshape(6, 24)
    return Summary(
        epoch,
        {"video accuracy": 0.875},
        {
            "figures": {"confusion of videos": np.full((20, 30, 3), 7, np.uint8)},
            "mistakes": {"one <b>": strip},
        },
        np.arange(35.0).reshape(5, 7),
        CLASSES,
    )


def read(folder):
    """What TensorBoard reads of the run in a folder."""
    accumulator = EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0}
    )
    accumulator.Reload()
    return accumulator


def scalars(folder, name):
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


class TestTensorBoard:
    def test_says_the_numbers_of_each_epoch_exactly(self, tmp_path):
        log = TensorBoardLogger(tmp_path, {})
        assert not list(tmp_path.iterdir())  # nothing before there is something to say
        log(row(1))
        log(row(2, loss=0.25))
        assert scalars(tmp_path, "loss/train") == [
            (1, 0.5),
            (2, 0.25),
        ]  # before it is closed
        log.close()
        log.close()
        assert scalars(tmp_path, "loss/validation") == [(1, 1.0), (2, 0.5)]
        assert set(read(tmp_path).Tags()["scalars"]) == {
            "loss/train",
            "loss/validation",
            "accuracy/train",
            "accuracy/validation",
            "lr",
            "seconds",
        }

    def test_shows_scores_images_and_the_embedding(self, tmp_path):
        log = TensorBoardLogger(tmp_path, {})
        log(row(2))
        log.finish(summary())
        told = read(tmp_path)
        assert set(told.Tags()["images"]) == {"figures/confusion of videos", "mistakes/one <b>"}
        (figure,), (mistake,) = (told.Images(name) for name in sorted(told.Tags()["images"]))
        assert (figure.width, figure.height, figure.step) == (30, 20, 2) and (
            mistake.width,
            mistake.height,
        ) == (24, 6)
        assert scalars(tmp_path, "test/video accuracy") == [(2, 0.875)]
        config = (tmp_path / "tensorboard" / "projector_config.pbtxt").read_text()
        folder = tmp_path / "tensorboard" / "00002" / "test"
        assert 'tensor_path: "00002/test/tensors.tsv"' in config
        assert (folder / "metadata.tsv").read_text().split() == CLASSES
        assert np.array_equal(np.loadtxt(folder / "tensors.tsv"), summary().embedding)

    def test_a_run_that_goes_on_has_no_step_twice(self, tmp_path):
        first = TensorBoardLogger(tmp_path, {})
        for epoch in (1, 2, 3):
            first(row(epoch))
        first.close()  # cut off: the checkpoint of epoch 3 was lost, so it is run again
        second = TensorBoardLogger(tmp_path, {})
        for epoch in (3, 4):
            second(row(epoch, loss=0.125))
        second.finish(summary(epoch=4))
        assert len(list(tmp_path.glob("tensorboard/events.*"))) == 2
        assert scalars(tmp_path, "loss/train") == [(1, 0.5), (2, 0.5), (3, 0.125), (4, 0.125)]

    def test_a_run_that_was_cut_off_before_its_last_word_keeps_its_epochs(self, tmp_path):
        first = TensorBoardLogger(tmp_path, {})
        first(row(1))
        first.close()
        TensorBoardLogger(tmp_path, {}).finish(summary(epoch=1))
        assert scalars(tmp_path, "loss/train") == [(1, 0.5)] and read(tmp_path).Tags()["images"]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_full_disk_is_said_once(self, tmp_path, monkeypatch, recwarn):
        from tensorboard.summary.writer.record_writer import RecordWriter

        log = TensorBoardLogger(tmp_path, {})
        log(row(1))
        with monkeypatch.context() as patch:
            patch.setattr(RecordWriter, "flush", lambda _: (_ for _ in ()).throw(FULL))
            with pytest.warns(
                UserWarning,
                match="TensorBoard is switched off.*No space left on device.*history.csv",
            ):
                log(row(2))
            recwarn.clear()
            log(row(3))
            log.finish(summary())
        assert log.off and not [w for w in recwarn if "switched off" in str(w.message)]
        assert (1, 0.5) in scalars(tmp_path, "loss/train")


class TestWandb:
    def test_works_offline_and_a_run_that_goes_on_is_the_same_run(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_SILENT", "true")
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        run = tmp_path / "gru-1"
        log = WandbLogger(run, {"recipe": {"lr": 0.1}})
        log(row(1))
        log.close(failed=True)
        log = WandbLogger(run, {})
        log(row(2))
        log.finish(summary())
        assert not log.off
        wandb.teardown()  # its own process writes the files, and ends here
        known = (run / "wandb-run-id.txt").read_text().strip()
        folders = sorted((run / "wandb").glob("offline-run-*"))
        assert len(folders) == 2 and all(folder.name.endswith(known) for folder in folders)
        first, second = ((folder / f"run-{known}.wandb").read_bytes() for folder in folders)
        assert b"loss/validation" in first and b"gru-1" in first and b"recipe" in first
        assert b"test/video accuracy" in second and b"one <b>" in second
        assert b"confusion of videos" in second
        images = [path.name for path in folders[1].glob("files/media/images/*.png")]
        assert sorted(name.partition("_")[0] for name in images) == ["figures", "mistakes"]

    def test_what_fails_at_the_start_is_said_and_then_it_is_off(self, tmp_path, monkeypatch):
        def refuse(**_):
            raise wandb.errors.UsageError("no API key configured")

        monkeypatch.setattr(wandb, "init", refuse)
        with pytest.warns(UserWarning, match=r"Weights & Biases is switched off.*no API key"):
            log = WandbLogger(tmp_path, {})
        log(row(1))
        log.finish(summary())
        assert log.off

    def test_a_full_disk_is_said_once(self, tmp_path, monkeypatch):
        class Run:
            closed = False

            def log(self, *_, **__):
                raise FULL

            def finish(self, exit_code):
                self.closed = exit_code == 1

        run = Run()
        monkeypatch.setattr("wandb.init", lambda **_: run)
        log = WandbLogger(tmp_path, {})
        with pytest.warns(UserWarning, match="No space left") as said:
            log(row(1))
            log(row(2))
        assert len(said) == 1 and run.closed


class TestMaking:
    @pytest.mark.parametrize("name", loggers.LOGGERS)
    def test_a_missing_package_names_the_extra(self, tmp_path, monkeypatch, name):
        monkeypatch.setitem(sys.modules, name, None)
        with (
            pytest.raises(
                ModuleNotFoundError,
                match=rf'needs the package {name} .*pip install -e "\.\[{name}\]"',
            ),
            open_loggers([name], tmp_path, config={}),
        ):
            pytest.fail("it was made")
        assert not list(tmp_path.iterdir())

    def test_an_unknown_name_is_answered_with_the_known_ones(self):
        with pytest.raises(ValueError, match="'tensorbord'; the loggers are tensorboard, wandb"):
            require("tensorboard", "tensorbord")

    def test_each_is_made_once_and_closed_at_an_interruption(self, tmp_path, monkeypatch):
        closed = []
        monkeypatch.setattr(TensorBoardLogger, "_close", lambda self, failed: closed.append(failed))
        with open_loggers(["tensorboard", "tensorboard"], tmp_path, config={}) as (log,):
            assert isinstance(log, TensorBoardLogger) and log.folder == tmp_path
        with pytest.raises(KeyboardInterrupt), open_loggers(["tensorboard"], tmp_path, config={}):
            raise KeyboardInterrupt
        with open_loggers((), tmp_path, config={}) as none:
            assert none == []
        assert closed == [False, True]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("train_loss", "loss/train"),
        ("val_accuracy", "accuracy/validation"),
        ("lr", "lr"),
        ("seconds", "seconds"),
        ("data_wait", "data_wait"),
    ],
)
def test_a_column_has_its_tag(column, name):
    assert tag(column) == name
