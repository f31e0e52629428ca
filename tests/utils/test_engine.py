"""Training that resumes to the bit, accuracies that are fractions of their n, errors that name the
remedy."""

import math
import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from models.backbone import EfficientNetBackbone
from models.temporal import VideoClassifier, build_head
from tests.stand_ins import Clips, train_quietly, untimed
from utils import engine
from utils.checkpoint import BEST, LAST, load_checkpoint, restore_weights
from utils.data_setup import Batches, collate
from utils.engine import Settings, evaluate, lr_factor, set_seed


def loaders(n=40, *, batch_size=8, break_at=None):
    train, val = Clips(n, break_at=break_at), Clips(n, noise=0, seed=1)
    return (
        DataLoader(
            train, batch_sampler=Batches(n, batch_size, train=True, seed=5), collate_fn=collate
        ),
        DataLoader(val, batch_sampler=Batches(n, batch_size), collate_fn=collate),
    )


def new_model(name="gru"):
    torch.manual_seed(3)
    return build_head(name, in_dim=6, num_classes=3, **({} if name == "average" else {"hidden": 4}))


def equal(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def loss_of(log_probs, labels):
    return -log_probs[np.arange(len(labels)), labels].mean()


def pairs(n=40, **how):
    """Five steps of noise about a class's place, as a TensorDataset of inputs and labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=n)
    inputs = rng.normal(size=(n, 5, 6)).astype(np.float32)
    inputs[np.arange(n), :, labels] += 2
    data = TensorDataset(torch.from_numpy(inputs), torch.from_numpy(labels))
    return DataLoader(data, batch_size=8, **how)


def stop_after(epoch):
    def callback(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return callback


# training


def test_pairs_of_a_plain_loader_will_do():
    model, val = new_model(), pairs()
    history = train_quietly(model, pairs(shuffle=True), val, epochs=12, lr=0.03)
    assert history[-1]["val_accuracy"] > 0.9
    log_probs, labels = evaluate(model, val)
    inputs, wanted = val.dataset.tensors
    assert np.array_equal(labels, wanted.numpy())
    told = {"input": inputs, "label": wanted, "index": torch.arange(40)}
    whole = DataLoader(
        [{name: values[n] for name, values in told.items()} for n in range(40)],
        collate_fn=collate,
        batch_size=8,
    )
    assert np.array_equal(evaluate(model, whole)[0], log_probs)


def test_a_batch_that_is_neither_is_named():
    triples = DataLoader(TensorDataset(*[torch.zeros(4, 2, 6)] * 3), batch_size=2)
    with pytest.raises(TypeError, match=r"a batch is a list; .* or a pair \(input, label\)"):
        train_quietly(new_model(), triples, pairs(), epochs=1)


def test_training_learns_and_reports_every_epoch():
    model, rows = new_model("average"), []
    history = train_quietly(model, *loaders(), epochs=6, lr=0.03, callbacks=[rows.append])
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6] and rows == history
    assert set(history[0]) == {
        "epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "lr",
        "seconds",
    }
    assert (
        history[-1]["train_loss"] < history[0]["train_loss"] and history[-1]["val_accuracy"] > 0.7
    )


class Asked(nn.Module):
    """A head that notes in how many threads it is asked."""

    def __init__(self, *parts):
        super().__init__()
        self.head, self.parts, self.threads = new_model("average"), nn.ModuleList(parts), set()

    def forward(self, features, mask):
        self.threads.add(torch.get_num_threads())
        return self.head(features, mask)


@pytest.mark.parametrize(
    ("parts", "threads"), [((), 1), ((nn.Conv2d(1, 1, 1),), 3), ((nn.Linear(1800, 1800),), 3)]
)
def test_a_small_head_is_trained_in_one_thread_and_a_large_model_in_all(parts, threads):
    model = Asked(*parts)
    torch.set_num_threads(3)
    try:
        train_quietly(model, *loaders(), epochs=1)
        assert model.threads == {threads} and torch.get_num_threads() == 3
        model.threads.clear()
        evaluate(model, loaders()[1])
        assert model.threads == {threads}
        with pytest.raises(KeyboardInterrupt):
            train_quietly(model, *loaders(break_at=9), epochs=1)
        assert torch.get_num_threads() == 3, "an interruption leaves what it found"
    finally:
        torch.set_num_threads(1)


def test_a_parallel_model_is_trained_as_it_is_without(tmp_path):
    plain, wrapped = new_model(), new_model()
    history = train_quietly(plain, *loaders(), epochs=2, checkpoint_dir=tmp_path / "a")
    again = train_quietly(
        nn.DataParallel(wrapped), *loaders(), epochs=2, checkpoint_dir=tmp_path / "b"
    )
    assert untimed(history) == untimed(again) and equal(plain, wrapped)
    twin = new_model("gru")
    restore_weights(twin, load_checkpoint(tmp_path / "b" / BEST))
    assert equal(twin, plain)


@pytest.mark.slow
def test_a_compiled_head_is_trained_and_restored_as_a_plain_one(tmp_path):
    head = new_model("average")
    train_quietly(
        torch.compile(head, backend="eager"), *loaders(), epochs=1, checkpoint_dir=tmp_path
    )
    twin = new_model("average")
    restore_weights(twin, load_checkpoint(tmp_path / BEST))
    assert equal(twin, head)


def test_labels_counted_from_one_are_named():
    train, val = loaders()
    val.dataset.labels = val.dataset.labels + 1
    with pytest.raises(ValueError, match="labels from 1 to 3 for a model of 3 classes.*subtract 1"):
        evaluate(new_model(), val)
    train.dataset.labels = train.dataset.labels + 1
    with pytest.raises(ValueError, match="labels from 1 to 3 .* count from 0 to 2"):
        train_quietly(new_model(), train, val, epochs=1)


def test_accuracies_are_fractions_of_75_items_in_batches_of_32():
    history = train_quietly(new_model(), *loaders(75, batch_size=32), epochs=3)
    for row in history:
        for name in ("train_accuracy", "val_accuracy"):
            assert (row[name] * 75) == pytest.approx(round(row[name] * 75), abs=1e-9)


def test_the_losses_weigh_every_item_alike():
    """75 items in 32 + 32 + 11: a mean of batch means would give the last 11 the weight of 32."""
    train, val = loaders(75, batch_size=32)
    model = new_model("average")
    model.dropout.p = 0.0
    row = train_quietly(model, train, val, epochs=1, lr=1e-12, label_smoothing=0.0)[0]
    assert row["val_loss"] == pytest.approx(loss_of(*evaluate(model, val, device="cpu")), abs=1e-6)
    train.dataset.set_epoch(1)
    whole = DataLoader(train.dataset, batch_size=75, collate_fn=collate)
    log_probs, labels = evaluate(model, whole, device="cpu")
    assert row["train_loss"] == pytest.approx(loss_of(log_probs, labels), abs=1e-5)
    assert row["train_accuracy"] == (log_probs.argmax(1) == labels).mean()


def test_both_losses_are_plain_and_the_smoothed_one_is_learnt_from():
    train, val = loaders(75, batch_size=32)
    model, smoothed = new_model("average"), new_model("average")
    model.dropout.p = smoothed.dropout.p = 0.0
    still = {"epochs": 1, "lr": 1e-12, "label_smoothing": 0.3}  # no step that could be seen
    row = train_quietly(model, train, val, **still)[0]
    train.dataset.set_epoch(1)
    whole = DataLoader(train.dataset, batch_size=75, collate_fn=collate)
    again = loss_of(*evaluate(model, whole, device="cpu"))
    assert row["train_loss"] == pytest.approx(again, abs=1e-5)
    plain = new_model("average")
    plain.dropout.p = 0.0
    train_quietly(plain, *loaders(), epochs=1, label_smoothing=0.0)
    train_quietly(smoothed, *loaders(), epochs=1, label_smoothing=0.3)
    assert not equal(plain, smoothed)


def test_epochs_can_be_run_one_by_one(tmp_path):
    expected = train_quietly(new_model(), *loaders(), epochs=2, seed=4)
    model, settings = new_model(), Settings(epochs=2, seed=4, device="cpu")
    set_seed(4)
    trainer = engine.Trainer(model, *loaders(), settings, folder=tmp_path, checkpoint_every=0)
    assert untimed([trainer.run_epoch(1), trainer.run_epoch(2)]) == untimed(expected)
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2


def test_the_best_epoch_is_restored(tmp_path):
    model = new_model()
    train, val = loaders()
    history = train_quietly(
        model, train, val, epochs=6, lr=0.3, schedule="constant", checkpoint_dir=tmp_path
    )
    losses = [row["val_loss"] for row in history]
    assert losses[-1] > min(losses), "this test needs a run whose last epoch is not its best"
    assert loss_of(*evaluate(model, val, device="cpu")) == pytest.approx(min(losses), abs=1e-6)
    best = load_checkpoint(tmp_path / BEST)
    assert (
        best["best"]["val_loss"] == min(losses) and best["epoch"] == losses.index(min(losses)) + 1
    )
    twin = new_model()
    restore_weights(twin, best)
    assert equal(twin, model)


def test_training_stops_when_validation_no_longer_improves():
    history = train_quietly(
        new_model(), *loaders(), epochs=60, lr=0.5, patience=3, schedule="constant"
    )
    losses = [row["val_loss"] for row in history]
    assert len(history) < 60 and losses.index(min(losses)) == len(losses) - 4


def test_the_seed_decides_everything():
    runs = []
    for seed in (0, 0, 1):
        model = new_model()
        runs.append((model, untimed(train_quietly(model, *loaders(), epochs=2, seed=seed))))
    assert equal(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]
    assert not equal(runs[0][0], runs[2][0])


# resuming


def progress_of(folder):
    (process,) = load_checkpoint(folder / LAST)["processes"]
    return process["progress"]


@pytest.mark.parametrize("schedule", engine.SCHEDULES)
@pytest.mark.parametrize("head", ["average", "gru", "tcn"])
def test_two_and_two_epochs_are_four(tmp_path, schedule, head):
    how = {"epochs": 4, "schedule": schedule, "lr": 0.02}
    whole, parts = new_model(head), new_model(head)
    expected = train_quietly(whole, *loaders(), checkpoint_dir=tmp_path / "whole", **how)
    with pytest.raises(KeyboardInterrupt):
        train_quietly(
            parts, *loaders(), checkpoint_dir=tmp_path / "parts", callbacks=[stop_after(2)], **how
        )
    parts = new_model(head)
    torch.manual_seed(99)  # whatever the new program did before must not matter
    history = train_quietly(
        parts, *loaders(), checkpoint_dir=tmp_path / "parts", resume=True, **how
    )
    assert untimed(history) == untimed(expected) and equal(parts, whole)
    one, other = (load_checkpoint(tmp_path / run / "last.pth") for run in ("whole", "parts"))
    assert all(
        torch.equal(one["temporal"][name], other["temporal"][name]) for name in one["temporal"]
    )
    for number, state in one["optimizer"]["state"].items():
        assert all(
            torch.equal(state[name], other["optimizer"]["state"][number][name]) for name in state
        )
    assert torch.equal(one["processes"][0]["rng"]["torch"], other["processes"][0]["rng"]["torch"])
    assert one["processes"][0]["rng"]["numpy"] == other["processes"][0]["rng"]["numpy"]


def test_a_finished_run_can_be_made_longer(tmp_path):
    whole, parts = new_model(), new_model()
    how = {"schedule": "constant"}
    expected = train_quietly(whole, *loaders(), epochs=4, **how)
    train_quietly(parts, *loaders(), epochs=2, checkpoint_dir=tmp_path, **how)
    parts = new_model()
    history = train_quietly(
        parts, *loaders(), epochs=4, checkpoint_dir=tmp_path, resume=True, **how
    )
    assert untimed(history) == untimed(expected) and equal(parts, whole)


def test_a_longer_cosine_goes_on_at_the_new_rate(tmp_path):
    train_quietly(new_model(), *loaders(), epochs=2, checkpoint_dir=tmp_path)
    history = train_quietly(new_model(), *loaders(), epochs=4, checkpoint_dir=tmp_path, resume=True)
    steps = 4 * 5
    assert history[2]["lr"] == pytest.approx(1e-3 * lr_factor("cosine", 14 / steps))


@pytest.mark.parametrize("break_at", [95, 120])
def test_an_interruption_amid_an_epoch_costs_that_epoch_only(tmp_path, break_at):
    whole = new_model()
    expected = train_quietly(whole, *loaders(), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train_quietly(new_model(), *loaders(break_at=break_at), epochs=4, checkpoint_dir=tmp_path)
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2
    parts, calls = new_model(), []
    history = train_quietly(
        parts, *loaders(), epochs=4, checkpoint_dir=tmp_path, resume=True, callbacks=[calls.append]
    )
    assert untimed(history) == untimed(expected) and equal(parts, whole)
    assert [row["epoch"] for row in calls] == [3, 4]


@pytest.mark.parametrize("every", [None, 0])
def test_a_stop_between_best_and_last_is_mended(tmp_path, monkeypatch, every):
    """best.pth of epoch 3 is there, last.pth still of epoch 2, or of the last step of 3: nothing is
    counted twice."""
    whole = new_model()
    expected = train_quietly(whole, *loaders(), epochs=4, lr=0.01)
    real, saved = torch.save, []

    def stopping(payload, target):
        if payload["epoch"] == 3 and ".last." in target.name:
            raise KeyboardInterrupt
        saved.append((target.name.split(".")[1], payload["epoch"]))
        real(payload, target)

    monkeypatch.setattr(torch, "save", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_quietly(
            new_model(),
            *loaders(),
            epochs=4,
            lr=0.01,
            checkpoint_dir=tmp_path,
            checkpoint_every=every,
        )
    monkeypatch.undo()
    assert progress_of(tmp_path)["batch"] == (5 if every == 0 else 0)
    assert ("best", 3) in saved and ("last", 3) not in saved
    parts = new_model()
    history = train_quietly(
        parts, *loaders(), epochs=4, lr=0.01, checkpoint_dir=tmp_path, resume=True
    )
    assert untimed(history) == untimed(expected) and equal(parts, whole)


def test_resuming_a_finished_run_trains_nothing(tmp_path):
    model, again = new_model(), new_model()
    history = train_quietly(model, *loaders(), epochs=2, checkpoint_dir=tmp_path)
    train, val = loaders()
    assert (
        train_quietly(again, train, val, epochs=2, checkpoint_dir=tmp_path, resume=True) == history
    )
    assert train.dataset.served == val.dataset.served == 0 and equal(again, model)


def test_resuming_what_never_started_starts(tmp_path):
    assert (
        len(train_quietly(new_model(), *loaders(), epochs=1, checkpoint_dir=tmp_path, resume=True))
        == 1
    )
    with pytest.raises(ValueError, match="resume=True needs the checkpoint_dir"):
        train_quietly(new_model(), *loaders(), epochs=1, resume=True)


@pytest.mark.parametrize("head", ["average", "gru"])
def test_an_epoch_is_taken_up_at_its_next_batch(tmp_path, head):
    """Every step is written; the 13th batch breaks off, and of the third epoch two steps are
    done."""
    how = {"epochs": 4, "lr": 0.02, "checkpoint_dir": tmp_path, "checkpoint_every": 0}
    whole, parts = new_model(head), new_model(head)
    expected = train_quietly(whole, *loaders(), **(how | {"checkpoint_dir": None}))
    with pytest.raises(KeyboardInterrupt):
        train_quietly(new_model(head), *loaders(break_at=8 * 12 + 1), **how)
    done = progress_of(tmp_path)
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2
    assert done["batch"] == 2 and done["count"] == 16
    train, val = loaders()
    torch.manual_seed(99)
    history = train_quietly(parts, train, val, resume=True, **how)
    assert untimed(history) == untimed(expected) and equal(parts, whole)
    assert train.dataset.served == 2 * 40 - 16, "what was done is not even read again"


def test_workers_do_not_disturb_an_epoch_that_is_taken_up(tmp_path):
    def busy(**how):
        train, val = loaders(**how)
        return DataLoader(
            train.dataset, batch_sampler=train.batch_sampler, collate_fn=collate, num_workers=1
        ), val

    whole, parts = new_model(), new_model()
    expected = train_quietly(whole, *loaders(), epochs=2)
    train, val = busy()
    stop = {"epochs": 2, "checkpoint_dir": tmp_path, "checkpoint_every": 0}
    real = torch.save
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def stopping(payload, target):
            if payload["processes"][0]["progress"]["batch"] == 4:
                raise KeyboardInterrupt
            real(payload, target)

        patch.setattr(torch, "save", stopping)
        train_quietly(new_model(), train, val, **stop)
    assert progress_of(tmp_path)["batch"] == 3
    history = train_quietly(parts, *busy(), resume=True, **stop)
    assert untimed(history) == untimed(expected) and equal(parts, whole)


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="children are forked, so that none has to import torch"
)
@pytest.mark.skipif(
    torch.cuda.is_available(), reason="autograd's threads for a GPU do not survive a fork"
)
@pytest.mark.slow
def test_twenty_kills_at_any_moment_change_no_bit(tmp_path):
    """Kills strike amid an epoch and amid the write of a checkpoint, which is slowed down; then it
    is started again."""
    how = {"epochs": 3, "lr": 0.05, "patience": 2, "checkpoint_every": 0}
    whole, start = new_model(), time.perf_counter()
    expected = train_quietly(whole, *loaders(24), checkpoint_dir=tmp_path / "whole", **how)
    usual = (
        time.perf_counter() - start
    )  # kills come sooner or later than this, however slow the machine is
    save, moments, kills, torn = torch.save, random.Random(0), 0, 0

    def slow_save(payload, target):
        save(payload, target)
        content = target.read_bytes()
        target.write_bytes(content[: len(content) // 2])
        time.sleep(0.004)
        target.write_bytes(content)

    def work():
        torch.save = slow_save
        train_quietly(new_model(), *loaders(24), checkpoint_dir=folder, resume=True, **how)

    for number in range(40):
        folder = tmp_path / f"run{number}"
        while not ended(work, usual * moments.uniform(0.1, 1.3) if kills < 20 else 60):
            kills += 1
            torn += bool(list(folder.glob(".*.part.pth")))
        model = new_model()
        history = train_quietly(model, *loaders(24), checkpoint_dir=folder, resume=True, **how)
        assert untimed(history) == untimed(expected) and equal(model, whole)
        for name in ("best.pth", "last.pth"):
            one, other = load_checkpoint(folder / name), load_checkpoint(tmp_path / "whole" / name)
            assert one["best"] == other["best"] and untimed(one["history"]) == untimed(
                other["history"]
            )
            assert all(
                torch.equal(one["temporal"][key], other["temporal"][key]) for key in one["temporal"]
            )
        assert sorted(path.name for path in folder.iterdir()) == ["best.pth", "last.pth"]
        if kills >= 20:
            break
    assert kills >= 20 and torn >= 1, f"{kills} kills, {torn} of them amid a write"


def ended(work, within):
    """Do the work in a forked child and kill it after so many seconds; tell whether it had ended by
    itself before."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)  # nothing of the tests' program may run on in the child
    end = time.monotonic() + within
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, "the training itself failed"
            return True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def test_a_best_of_the_first_epoch_without_a_last_is_of_no_run_to_resume(tmp_path):
    """An earlier run's files, then a new run that is stopped at its first checkpoint: the two are
    never mixed."""
    train_quietly(new_model("tcn"), *loaders(), epochs=1, checkpoint_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_quietly(
            new_model(), *loaders(break_at=9), epochs=2, checkpoint_dir=tmp_path, checkpoint_every=0
        )
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]
    whole, parts = new_model(), new_model()
    train_quietly(whole, *loaders(), epochs=2)
    train_quietly(parts, *loaders(), epochs=2, checkpoint_dir=tmp_path, resume=True)
    assert equal(parts, whole)


def test_what_killed_writers_left_is_swept_away(tmp_path):
    for name in (".best.17.part.pth", ".last.9.part.pth", "notes.part"):
        (tmp_path / name).write_text("half")
    train_quietly(new_model(), *loaders(), epochs=1, checkpoint_dir=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pth",
        "last.pth",
        "notes.part",
    ]


def test_checkpoints_amid_an_epoch_come_when_their_time_has_come(tmp_path, monkeypatch):
    saved, real = [], torch.save

    def noting(payload, target):
        saved.append(payload["processes"][0]["progress"]["batch"])
        real(payload, target)

    monkeypatch.setattr(torch, "save", noting)
    how = {"epochs": 1, "checkpoint_dir": tmp_path}
    for seconds, batches in ((None, []), (3600, []), (0, [1, 2, 3, 4, 5])):
        saved.clear()
        train_quietly(new_model(), *loaders(), checkpoint_every=seconds, **how)
        assert saved == [*batches, 0, 0]  # at last best.pth and last.pth of the whole epoch


def test_an_order_that_is_not_known_is_not_taken_up_amid_an_epoch(tmp_path):
    plain = DataLoader(Clips(8), batch_size=4, collate_fn=collate)
    with pytest.raises(
        ValueError, match="come from a BatchSampler; several processes and checkpoint_every need a"
    ):
        train_quietly(
            new_model(), plain, plain, epochs=1, checkpoint_every=0, checkpoint_dir=tmp_path
        )


def test_other_batches_are_another_run(tmp_path):
    train_quietly(new_model(), *loaders(), epochs=1, checkpoint_dir=tmp_path)
    with pytest.raises(
        ValueError, match=r"was trained with batches\.batch_size 8 \(now 10\): resume"
    ):
        train_quietly(
            new_model(), *loaders(batch_size=10), epochs=2, checkpoint_dir=tmp_path, resume=True
        )


@pytest.mark.parametrize(
    "change, message",
    [
        ({"lr": 0.5}, r"settings\.lr 0\.001 \(now 0\.5\)"),
        ({"schedule": "constant"}, r"settings\.schedule 'cosine' \(now 'constant'\)"),
        ({"extra": {"experiment": "middle"}}, r"extra\.experiment 'ghost' \(now 'middle'\)"),
        ({"extra": None}, r"extra\.experiment 'ghost' \(now None\)"),
    ],
)
def test_another_run_is_not_resumed(tmp_path, change, message):
    how = {"epochs": 2, "checkpoint_dir": tmp_path, "extra": {"experiment": "ghost"}}
    train_quietly(new_model(), *loaders(), **how)
    with pytest.raises(ValueError, match=rf"last\.pth was trained with {message}"):
        train_quietly(new_model(), *loaders(), resume=True, **(how | change))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("optimizer", None),
        ("optimizer", {"state": {}}),
        ("scheduler", ...),
        ("epoch", 99),
        ("epoch", -1),
        ("processes", [{}]),
        ("processes", [{"progress": {"pace": 1}, "rng": {}}]),
    ],
)
def test_a_state_that_cannot_be_gone_on_from_is_refused(tmp_path, part, value):
    train_quietly(new_model(), *loaders(), epochs=1, checkpoint_dir=tmp_path)
    stored = torch.load(tmp_path / LAST, weights_only=True)
    del stored[part]
    torch.save(stored if value is ... else stored | {part: value}, tmp_path / LAST)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(ValueError, match=r"last\.pth was changed.*start anew in another folder"):
        train_quietly(new_model(), *loaders(), epochs=2, checkpoint_dir=tmp_path, resume=True)
    assert (tmp_path / LAST).read_bytes() == before


def test_another_model_is_not_resumed(tmp_path):
    train_quietly(new_model("gru"), *loaders(), epochs=1, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="checkpoint is of another model than this TemporalConv"):
        train_quietly(new_model("tcn"), *loaders(), epochs=2, checkpoint_dir=tmp_path, resume=True)


# what goes wrong


class Diverging(nn.Module):
    """A head whose output, or whose gradient alone, turns NaN in its n-th training step."""

    def __init__(self, at, *, gradient_only=False):
        super().__init__()
        self.head, self.at, self.gradient_only, self.steps = new_model(), at, gradient_only, 0

    def forward(self, features, mask):
        logits = self.head(features, mask)
        self.steps += self.training
        if not self.training or self.steps < self.at:
            return logits
        if self.gradient_only:
            logits.register_hook(lambda gradient: gradient * math.nan)
            return logits
        return logits * math.nan


@pytest.mark.parametrize("gradient_only, what", [(False, "loss"), (True, "gradient")])
def test_nan_stops_the_run_and_keeps_the_checkpoints(tmp_path, gradient_only, what):
    model = Diverging(13, gradient_only=gradient_only)
    message = (
        rf"the {what} is nan in epoch 3, batch 3 of 5, lr 0\.001; lower lr .* of 2 "
        r"finished epochs stay in"
    )
    with pytest.raises(FloatingPointError, match=message):
        train_quietly(model, *loaders(), epochs=5, schedule="constant", checkpoint_dir=tmp_path)
    assert load_checkpoint(tmp_path / LAST)["epoch"] == 2
    assert load_checkpoint(tmp_path / BEST)["epoch"] in (1, 2)
    assert all(weight.isfinite().all() for weight in model.parameters()), (
        "the bad step must not be taken"
    )


def test_a_validation_loss_of_nan_is_an_error():
    train, val = loaders()
    val.dataset.base[:] = math.nan
    with pytest.raises(FloatingPointError, match="validation loss is nan in epoch 1"):
        train_quietly(new_model(), train, val, epochs=2)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": -1}, "lr is -1"),
        ({"patience": 0}, "patience is 0"),
        ({"schedule": "step"}, "no schedule 'step'; the schedules are cosine, onecycle, constant"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        train_quietly(new_model(), *loaders(), **settings)


def test_nothing_to_train():
    with pytest.raises(ValueError, match="everything is frozen"):
        train_quietly(new_model().requires_grad_(False), *loaders())
    train, val = loaders()
    with pytest.raises(ValueError, match="training loader has no batch"):
        train_quietly(new_model(), DataLoader([], batch_size=2), val)


# frozen means frozen


def test_a_frozen_backbone_is_untouched_by_an_epoch_and_an_unfrozen_stage_learns():
    class Images(Clips):
        def __getitem__(self, index):
            pixels = np.random.default_rng(index).random((2, 1, 32, 32), dtype=np.float32)
            return {
                "input": torch.from_numpy(pixels),
                "label": int(self.labels[index]),
                "index": index,
            }

    data = DataLoader(Images(8), batch_size=4, collate_fn=collate)
    backbone = EfficientNetBackbone(weights=None)
    model = VideoClassifier(
        backbone=backbone, head=build_head("gru", in_dim=1280, num_classes=3, hidden=4)
    )
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    train_quietly(model, data, data, epochs=1)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    backbone.unfreeze(1)
    train_quietly(model, data, data, epochs=1)
    changed = [
        name
        for name, value in backbone.state_dict().items()
        if not torch.equal(before[name], value)
    ]
    assert {name.split(".")[1] for name in changed} == {"8"}


# evaluation


def test_evaluation_answers_in_the_order_of_the_index():
    _, val = loaders()
    model = new_model()
    shuffled = DataLoader(val.dataset, batch_size=7, shuffle=True, collate_fn=collate)
    log_probs, labels = evaluate(model, val, device="cpu")
    others, same_labels = evaluate(model, shuffled, device="cpu")
    assert np.allclose(log_probs, others, atol=1e-6)
    assert labels.tolist() == same_labels.tolist() == val.dataset.labels.tolist()
    assert log_probs.shape == (40, 3) and log_probs.dtype == np.float32
    assert np.allclose(np.exp(log_probs).sum(1), 1, atol=1e-5)


def test_evaluation_changes_nothing():
    model = new_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, val = loaders()
    one, other = (evaluate(model, val, device="cpu")[0] for _ in range(2))
    assert np.array_equal(one, other), "dropout must be off"
    assert model.training and all(
        torch.equal(before[name], value) for name, value in model.state_dict().items()
    )


def test_every_index_must_come_exactly_once():
    data = Clips(10)
    dropping = DataLoader(data, batch_size=4, drop_last=True, collate_fn=collate)
    with pytest.raises(
        RuntimeError, match="8 items came for a data set of 10: 2 missing, 0 more than once"
    ):
        evaluate(new_model(), dropping, device="cpu")
    repeating = DataLoader(
        data, batch_size=4, sampler=[0, 0, 2, 3, 4, 5, 6, 7, 8, 9], collate_fn=collate
    )
    with pytest.raises(
        RuntimeError, match="10 items came for a data set of 10: 1 missing, 1 more than once"
    ):
        evaluate(new_model(), repeating, device="cpu")
    with pytest.raises(ValueError, match="has no batch"):
        evaluate(new_model(), DataLoader([], batch_size=2), device="cpu")


# schedules and seeds


@pytest.mark.parametrize(
    "schedule, values",
    [
        ("constant", [1, 1, 1]),
        ("cosine", [1, 0.5, 0]),
        ("onecycle", [0.04, 0.5 * (1 + math.cos(math.pi * 0.2 / 0.7)), 0]),
    ],
)
def test_schedules(schedule, values):
    assert [lr_factor(schedule, done) for done in (0, 0.5, 1)] == pytest.approx(values)
    assert max(lr_factor(schedule, done / 1000) for done in range(1001)) == pytest.approx(1)


def test_set_seed_covers_python_numpy_and_torch():
    def draw():
        set_seed(4)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()
