"""Several processes as one: two real ones over gloo do what one does, to the bit or to the rounding
of their sums."""

import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from data.kth import Segment, find_segments
from evaluation.predictions import Predictions
from experiments import run_experiment
from models.temporal import build_head
from tests.stand_ins import (
    HOW,
    Clips,
    MeansBackbone,
    same,
    same_predictions,
    tiny,
    train_quietly,
    untimed,
)
from utils import parallel
from utils.checkpoint import load_checkpoint
from utils.data_setup import Batches, collate
from utils.engine import evaluate
from utils.features import Features, build_features, look_at

HOME = Path(__file__).parents[2]
# gloo looks the machine's own name up, which takes many seconds where nobody answers; the loopback
# needs no name
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
forks = pytest.mark.skipif(
    not hasattr(os, "fork") or torch.cuda.is_available(),
    reason="processes are forked, so that none has to import torch; a GPU's threads forbid it",
)


def in_processes(folder, work, count=2, *, within=60):
    """Call work(rank) in so many forked processes that know one another; return what came of it,
    errors included."""
    folder.mkdir(exist_ok=True)
    # a thread of an earlier test that is about to end may hold a lock, and a fork for ever after it
    time.sleep(0.05)
    meeting, children = f"file://{folder / f'meeting{time.monotonic_ns()}'}", []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            _be(rank, count, meeting, work, folder / f"said{rank}")
        children.append(child)
    end = time.monotonic() + within
    left = set(children)
    while left and time.monotonic() < end:
        left -= {child for child in left if os.waitpid(child, os.WNOHANG)[0]}
        time.sleep(0.002)
    for child in left:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not left, f"{len(left)} of {count} processes hang"
    return [pickle.loads((folder / f"said{rank}").read_bytes()) for rank in range(count)]


def _be(rank, count, meeting, work, path):
    """Be one of the processes, and end with it: nothing of the tests' program may run on in a
    child."""
    try:
        os.environ.update(LOOPBACK, RANK=str(rank), WORLD_SIZE=str(count), LOCAL_RANK=str(rank))
        torch.set_num_threads(1)
        try:
            with parallel.start(meeting):
                said = work(rank)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        path.write_bytes(pickle.dumps(said))
    finally:
        os._exit(0)


# who is who


def test_without_torchrun_there_is_one_process():
    with parallel.start():
        assert (parallel.rank(), parallel.world_size(), parallel.is_main_process()) == (0, 1, True)
        assert parallel.gather("a") == ["a"] and parallel.all_reduce_sum(1, 2.5) == [1.0, 2.5]
        assert parallel.broadcast("a") == "a"
        with pytest.raises(KeyError), parallel.barrier("looking"):
            raise KeyError("own")


LEFT_OVER = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}


@pytest.fixture
def left_over(monkeypatch):
    """An environment as a process of torchrun has it."""
    for name, value in LEFT_OVER.items():
        monkeypatch.setenv(name, value)


def test_whoever_waits_for_others_says_so_after_seconds(left_over, monkeypatch):
    monkeypatch.setattr(parallel, "SAY_AFTER_S", 0.02)
    monkeypatch.setattr(parallel.dist, "init_process_group", lambda *_, **__: time.sleep(0.2))
    monkeypatch.setattr(parallel.dist, "destroy_process_group", lambda: None)
    with (
        pytest.warns(
            UserWarning, match=r"process 0 of 2 waits .* 127\.0\.0\.1:0.*unset WORLD_SIZE"
        ),
        parallel.start(),
    ):
        pass


def test_whoever_meets_the_others_says_nothing(left_over, monkeypatch, recwarn):
    monkeypatch.setattr(parallel, "SAY_AFTER_S", 0.02)
    monkeypatch.setattr(parallel.dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(parallel.dist, "destroy_process_group", lambda: None)
    with parallel.start():
        time.sleep(0.05)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORLD_SIZE", "two", "WORLD_SIZE is 'two' in the environment, not a number"),
        ("WORLD_SIZE", "9" * 5000, "WORLD_SIZE is '9+' in the environment, not a number"),
        ("WORLD_SIZE", "0", "WORLD_SIZE=0 and RANK=0 are set, and ranks count from 0"),
        ("RANK", "2", "WORLD_SIZE=2 and RANK=2 are set, and ranks count from 0"),
        ("MASTER_PORT", "x", "MASTER_PORT is 'x' in the environment, not a number"),
        ("RANK", "", "RANK is '' in the environment, not a number"),
        ("MASTER_PORT", None, "WORLD_SIZE=2 and RANK=0 are set, MASTER_ADDR and MASTER_PORT are"),
    ],
)
def test_an_environment_that_is_torchruns_in_part_is_named(
    left_over, monkeypatch, name, value, said
):
    monkeypatch.delenv(name)
    if value is not None:
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{said}.*unset WORLD_SIZE RANK"), parallel.start():
        pass


@forks
def test_processes_know_one_another(tmp_path):
    def work(rank):
        return (
            parallel.rank(),
            parallel.world_size(),
            parallel.is_main_process(),
            parallel.gather({"of": rank}),
            parallel.all_reduce_sum(rank + 0.5, 1),
            parallel.broadcast(f"from {rank}"),
        )

    said = in_processes(tmp_path, work, 3)
    for rank in range(3):
        assert said[rank] == (
            rank,
            3,
            rank == 0,
            [{"of": 0}, {"of": 1}, {"of": 2}],
            [4.5, 3.0],
            "from 0",
        )


@forks
def test_a_failure_of_one_reaches_the_others(tmp_path):
    def work(rank):
        with parallel.barrier("reading"):
            if rank == 1:
                raise FileNotFoundError("no such clip")

    assert in_processes(tmp_path, work) == [
        "ChildProcessError: process 1 of 2 failed in reading: FileNotFoundError: no such clip",
        "FileNotFoundError: no such clip",
    ]


@forks
def test_nobody_waits_for_a_process_that_is_gone(tmp_path):
    def work(rank):
        if rank == 1:
            raise ValueError("gone")
        parallel.all_reduce_sum(1)

    first, second = in_processes(tmp_path, work)
    assert second == "ValueError: gone" and "Error" in first


# training and evaluation


def loaders(n=37, batch_size=8):
    shard = parallel.rank(), parallel.world_size()
    train, val = Clips(n), Clips(n, noise=0, seed=1)
    shuffled, plain = (
        Batches(n, batch_size, train=True, seed=5, shard=shard),
        Batches(n, batch_size, shard=shard),
    )
    return (
        DataLoader(train, batch_sampler=shuffled, collate_fn=collate),
        DataLoader(val, batch_sampler=plain, collate_fn=collate),
    )


def average(dropout=0.0):
    torch.manual_seed(3)
    return build_head("average", in_dim=6, num_classes=3, dropout=dropout)


def train(how, *, n=37, batch_size=8, dropout=0.0):
    model = average(dropout)
    train_loader, val_loader = loaders(n, batch_size)
    history = train_quietly(model, train_loader, val_loader, **{"epochs": 3, "lr": 0.02, **how})
    return model.state_dict(), untimed(history), evaluate(model, val_loader, device="cpu")


def close(one, other):
    """Sums of the same single-precision numbers in another order: a millionth, grown over a few
    dozen steps."""
    (weights, history, evaluated), (others, other_history, other_evaluated) = one, other
    (log_probs, labels), (other_log_probs, other_labels) = evaluated, other_evaluated
    assert log_probs.shape == other_log_probs.shape
    assert np.allclose(log_probs, other_log_probs, atol=1e-5)
    assert labels.tolist() == other_labels.tolist()
    assert all(torch.allclose(weights[name], others[name], atol=1e-5) for name in weights)
    for row, same_row in zip(history, other_history, strict=True):
        assert row["train_accuracy"] == same_row["train_accuracy"]
        assert row["val_accuracy"] == same_row["val_accuracy"]
        assert row == pytest.approx(same_row, abs=1e-5)


def same_to_the_bit(one, other):
    """Whether two trainings have the same history and weights."""
    weights, others = one[0], other[0]
    return one[1] == other[1] and all(torch.equal(weights[name], others[name]) for name in weights)


@forks
@pytest.mark.parametrize("count, n", [(2, 37), (2, 33), (3, 33)])
def test_processes_train_what_one_trains(tmp_path, count, n):
    """33 items in batches of 8 leave a last batch of one: the other processes take part in it with
    a weight of 0."""
    alone = train({}, n=n)
    said = in_processes(tmp_path, lambda rank: train({}, n=n), count)
    for one in said:
        close(one, alone)
        assert same_to_the_bit(one, said[0])
        assert np.array_equal(one[2][0], said[0][2][0])


@forks
@pytest.mark.parametrize("n, batch_size, count", [(37, 8, 2), (7, 3, 3), (2, 8, 3), (1, 1, 2)])
def test_evaluation_drops_and_doubles_nothing(tmp_path, n, batch_size, count):
    def work(rank):
        train_loader, val_loader = loaders(n, batch_size)
        return [evaluate(average(), loader, device="cpu") for loader in (val_loader, train_loader)]

    alone = work(0)
    for found in in_processes(tmp_path, work, count):
        for (log_probs, labels), (expected, expected_labels) in zip(found, alone, strict=True):
            assert np.allclose(log_probs, expected, atol=1e-6) and len(labels) == n
            assert labels.tolist() == expected_labels.tolist()
            loss, expected_loss = (
                -one[np.arange(n), labels].mean(dtype=float) for one in (log_probs, expected)
            )
            assert loss == pytest.approx(expected_loss, abs=1e-6)


@forks
def test_processes_stop_early_at_the_same_epoch(tmp_path):
    how = {"epochs": 40, "lr": 0.5, "patience": 2, "schedule": "constant"}
    alone, said = train(how), in_processes(tmp_path, lambda rank: train(how))
    assert len(said[0][1]) == len(said[1][1]) < 40 and said[0][1] == said[1][1]
    assert len(said[0][1]) == len(alone[1])


def before_saving(monkeypatch, call):
    """Have torch call call(checkpoint) before it writes one to a file."""
    real = torch.save

    def save(payload, target, **how):
        if isinstance(target, Path):  # tensors that processes send one another are saved too
            call(payload)
        return real(payload, target, **how)

    monkeypatch.setattr(torch, "save", save)


@forks
def test_only_the_first_process_writes_and_calls_back(tmp_path, monkeypatch):
    """A checkpoint after each of three epochs' five steps, and after each epoch."""

    def work(rank):
        saved, rows = [], []
        before_saving(monkeypatch, saved.append)
        how = {"callbacks": [rows.append], "checkpoint_every": 0}
        train({**how, "checkpoint_dir": tmp_path / "run"})
        return len(saved), len(rows)

    first, second = in_processes(tmp_path / "said", work)
    assert first[0] >= 3 * 5 + 3 and first[1] == 3 and second == (0, 0)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best.pth", "last.pth"]


@forks
def test_processes_go_on_amid_an_epoch_to_the_bit(tmp_path, monkeypatch):
    """With dropout, of which each process draws its own: the random states of both are kept."""
    how = {"checkpoint_every": 0, "checkpoint_dir": tmp_path / "run"}

    def interrupted(rank):
        def stop(checkpoint):
            if checkpoint["epoch"] == 1 and checkpoint["processes"][0]["progress"]["batch"] == 4:
                raise OSError("stopped")

        before_saving(monkeypatch, stop)
        train(how, dropout=0.5)

    whole = in_processes(tmp_path / "a", lambda rank: train({}, dropout=0.5))
    first, second = in_processes(tmp_path / "b", interrupted)
    assert first.startswith("OSError: cannot write") and "last.pth (stopped)" in first
    failed = "ChildProcessError: process 0 of 2 failed in writing a checkpoint: "
    assert second == failed + first
    last = load_checkpoint(tmp_path / "run" / "last.pth")
    one, other = last["processes"]
    assert last["epoch"] == 1
    assert one["progress"]["batch"] == other["progress"]["batch"] == 3
    assert not torch.equal(one["rng"]["torch"], other["rng"]["torch"])
    parts = in_processes(tmp_path / "c", lambda rank: train({**how, "resume": True}, dropout=0.5))
    for part, expected in zip(parts, whole, strict=True):
        assert same_to_the_bit(part, expected)


@forks
def test_what_two_began_one_may_finish(tmp_path):
    how = {"schedule": "constant"}
    kept = {**how, "checkpoint_dir": tmp_path / "run"}
    in_processes(tmp_path / "a", lambda rank: train({**kept, "epochs": 1}))
    close(train({**kept, "resume": True}), train(how))


@forks
def test_nan_in_one_process_stops_both(tmp_path):
    def work(rank):
        train_loader, val_loader = loaders()
        train_loader.dataset.base[rank::2] *= 1.0 if rank == 0 else float("nan")
        train_quietly(average(), train_loader, val_loader, epochs=2)

    said = in_processes(tmp_path, work)  # the second one's loss, and the gradient of both
    for one, what in zip(said, ("gradient", "loss"), strict=True):
        assert one.startswith(f"FloatingPointError: the {what} is nan in epoch 1, batch")
    first, second = (one.partition(" in ")[2].partition(", lr")[0] for one in said)
    assert first == second


@forks
def test_a_clip_that_one_process_cannot_read_stops_both(tmp_path):
    class Broken(Clips):
        def __getitem__(self, index):
            if index == 20:
                raise OSError("clip 20 is damaged")
            return super().__getitem__(index)

    def work(rank):
        batches = Batches(37, 8, train=True, seed=5, shard=(rank, 2))
        broken = DataLoader(Broken(37), batch_sampler=batches, collate_fn=collate)
        train_quietly(average(), broken, loaders()[1])

    said = in_processes(tmp_path, work)
    assert "OSError: clip 20 is damaged" in said
    assert any(one.startswith("RuntimeError") for one in said)


@forks
def test_trained_batchnorm_keeps_one_set_of_statistics(tmp_path):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(6), average()

        def forward(self, features, mask):
            return self.head(self.norm(features.transpose(1, 2)).transpose(1, 2), mask)

    def work(rank):
        model = Normed()
        history = train_quietly(model, *loaders(), epochs=2)
        return untimed(history), model.norm.running_mean, model.norm.running_var

    one, other = in_processes(tmp_path, work)
    assert one[0] == other[0] and torch.equal(one[1], other[1]) and torch.equal(one[2], other[2])


# features


@pytest.fixture(scope="module")
def segments(make_kth, tmp_path_factory):
    """18 files of 8 segments: five shards, the last of them half as large."""
    return find_segments(make_kth(tmp_path_factory.mktemp("kth") / "KTH", segments=8))


SHARD, LAST = 32 * 4, 16 * 4  # images


def features(segments, cache, *, backbone=None, **how):
    """Features that can be pickled, and how many images were encoded for them."""
    backbone = MeansBackbone() if backbone is None else backbone
    found = build_features(backbone, segments, cache_dir=cache, **{**HOW, **how})
    return Features([np.array(item) for item in found.items], found.failed), sum(backbone.seen)


def shards(folder):
    return sorted(folder.glob("*/*/*.npy"))


@pytest.fixture
def alone(segments, tmp_path):
    """The features of one process: a forked one, so that the tests' own has no threads."""
    return in_processes(tmp_path / "alone", lambda rank: features(segments, None), 1)[0][0]


@forks
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kept", [True, False])
def test_features_of_processes_are_those_of_one(segments, alone, tmp_path, kept, count):
    """Process r computes shards r, r + w, ..."""
    cache = tmp_path / "cache" if kept else None
    said = in_processes(tmp_path, lambda rank: features(segments, cache), count)
    assert all(same(found, alone) for found, _ in said)
    parts = {2: [2 * SHARD + LAST, 2 * SHARD], 3: [2 * SHARD, SHARD + LAST, SHARD]}
    assert [seen for _, seen in said] == parts[count]
    if kept:
        assert len(shards(cache)) == 5 and len(list(cache.iterdir())) == 1


@forks
@pytest.mark.parametrize("first, then", [(1, 2), (2, 1), (2, 3)])
def test_one_and_several_processes_share_the_cache(segments, alone, tmp_path, first, then):
    cache = tmp_path / "cache"
    in_processes(tmp_path, lambda rank: features(segments, cache), first)
    for found, seen in in_processes(tmp_path, lambda rank: features(segments, cache), then):
        assert same(found, alone) and seen == 0


@forks
@pytest.mark.parametrize("then", [1, 2, 3])
def test_what_killed_processes_computed_is_not_computed_again(segments, alone, tmp_path, then):
    """Both are killed in their second shard; whoever comes next, one or several, goes on."""
    cache = tmp_path / "cache"

    class Fatal(MeansBackbone):
        def forward(self, images):
            if len(list(cache.glob(f"*/0000{parallel.rank()}/*.npy"))):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().forward(images)

    with pytest.raises(FileNotFoundError):  # they said nothing
        in_processes(tmp_path / "said", lambda rank: features(segments, cache, backbone=Fatal()))
    assert [path.parent.name for path in shards(cache)] == ["00000", "00001"]
    said = in_processes(tmp_path / "again", lambda rank: features(segments, cache), then)
    assert all(same(found, alone) for found, _ in said)
    assert sum(seen for _, seen in said) == 2 * SHARD + LAST


@forks
@pytest.mark.parametrize("kept", [True, False])
def test_files_that_fail_are_known_to_all(make_kth, tmp_path, kept):
    found = find_segments(make_kth(tmp_path / "kth", persons=(11,), actions=("boxing", "running")))
    damaged = [*found[:3], Segment(found[3].video, 1, 12, 60)]
    cache = tmp_path / "cache" if kept else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            said = in_processes(tmp_path, lambda rank: features(damaged, cache, skip_errors=True))
            for one, _ in said:
                assert one.readable() == [0, 1, 2] and list(one.failed) == [3]
                assert same(one, said[0][0])
    said = in_processes(tmp_path, lambda rank: features(damaged, cache))
    assert sorted(one.split(":")[0] for one in said) == ["ChildProcessError", "VideoError"]
    assert all("person11_running_d1.avi ends early" in one for one in said)


@forks
def test_folders_that_are_not_shared_are_named(segments, tmp_path):
    for _ in range(2):
        said = in_processes(tmp_path, lambda rank: features(segments, tmp_path / f"cache{rank}"))
        assert all("must share the cache folder" in one and "HAR_CACHE" in one for one in said)
    in_processes(tmp_path, lambda rank: features(segments, tmp_path / "cache0"), 1)
    said = in_processes(tmp_path, lambda rank: features(segments, tmp_path / f"cache{rank}"))
    assert all("process 1 does not find features" in one for one in said)


@forks
def test_processes_with_other_weights_are_refused(segments, tmp_path):
    said = in_processes(
        tmp_path,
        lambda rank: features(
            segments, tmp_path / "cache", backbone=MeansBackbone(tint=float(rank))
        ),
    )
    assert all(one.startswith("ValueError: the processes differ in backbone of") for one in said)


@forks
def test_a_folder_that_cannot_be_written_leaves_the_features_in_memory(segments, alone, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = in_processes(tmp_path, lambda rank: features(segments, tmp_path / "cache"))
    assert all(same(found, alone) for found, _ in said)


@forks
def test_files_are_looked_at_by_one_process_each(segments, tmp_path):
    class Reader:
        looked = 0

        def __repr__(self):
            return "Reader()"

        def look(self, path):
            self.looked += 1
            return {"size": np.array(path.stat().st_size)} if "boxing" not in path.name else None

    paths = [segment.video.path for segment in segments]

    def work(rank):
        reader = Reader()
        found = look_at(reader, paths, cache_dir=None, progress=False)
        return {path: int(one["size"]) for path, one in found.items()}, reader.looked

    expected = {path: path.stat().st_size for path in paths if "boxing" not in path.name}
    assert in_processes(tmp_path, work) == [(expected, 9), (expected, 9)]


# the whole of it


@forks
def test_an_experiment_is_run_together_and_written_once(tiny_kth, tmp_path):
    """What every process returns is what the first one wrote; the second time nothing is run."""
    heads = []

    def work(rank):
        watched = tiny("gru", hook=lambda head, inputs: heads.append(head))
        how = {
            "root": tiny_kth,
            "runs_dir": tmp_path / "runs",
            "results_dir": tmp_path / "results",
            "cache_dir": tmp_path / "cache",
            "epochs": 2,
            "progress": False,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = [run_experiment(watched, **how) for _ in range(2)]
        return results, len({id(head) for head in heads})

    ((one, again), trained), ((other, _), also_trained) = in_processes(tmp_path, work)
    for result in (again, other):
        assert same_predictions(result.predictions, one.predictions)
        assert result.to_json() == one.to_json() and result.run == one.run
        assert (result.about, result.history) == (one.about, one.history)
    assert trained == also_trained == 1
    assert one.segment.n == 12 and len(one.history) == 2
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert sorted(path.name for path in (tmp_path / "runs").glob("*/*")) == [
        "best.pth",
        "config.json",
        "history.csv",
        "last.pth",
        "predictions.npz",
        "report.html",
        "report.json",
        "result.json",
    ]


@forks
@pytest.mark.slow
def test_torchrun_trains_what_one_process_trains(tiny_kth, tmp_path):
    """The same features from the same cache, the same items, and weights as near as other dropout
    leaves them."""
    import har

    arguments = [
        "train",
        "average",
        "--fast",
        "--epochs",
        "2",
        "--root",
        str(tiny_kth),
    ]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()

    def alone(rank):
        os.chdir(tmp_path / "one")
        return har.main(arguments)

    assert in_processes(tmp_path, alone, 1) == [0]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
        "--nproc-per-node",
        "2",
    ]
    env = {**os.environ, **LOOPBACK, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*torchrun, str(HOME / "har.py"), *arguments],
        cwd=tmp_path / "two",
        capture_output=True,
        text=True,
        timeout=240,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("average on KTH (test)") == 1, "only the first process speaks"
    one, two = (
        Predictions.load(next(tmp_path.glob(f"{which}/runs/fast/*/predictions.npz")))
        for which in ("one", "two")
    )
    for column in Predictions.COLUMNS:
        assert one.items[column].tolist() == two.items[column].tolist()
    np.testing.assert_allclose(one.probs, two.probs, atol=0.05, rtol=0)
    kept = [
        sorted((tmp_path / which / "Data" / "cache").glob("*/*/*.npy")) for which in ("one", "two")
    ]
    assert [path.parts[-3:] for path in kept[0]] == [path.parts[-3:] for path in kept[1]]
    assert len({path.parts[-3] for path in kept[0]}) == 3
    assert all(path.read_bytes() == other.read_bytes() for path, other in zip(*kept, strict=True))
