"""The benchmarks run, say what they compare, and count what they claim to count."""

import math

import numpy as np
import pytest
import torch

import har
from benchmarks import cost, decoding, growth, naive, predicting, suite, whole
from benchmarks.measure import interleaved, rows_of
from data.kth import find_segments, select
from data.video import read_frames
from utils.data_setup import VideoDataset
from utils.features import Features
from utils.preprocessing import ClipTransform, Uniform


def test_methods_take_turns():
    called = []
    seconds = interleaved(
        {"a": lambda: called.append("a"), "b": lambda: called.append("b")}, repeats=2
    )
    assert called == ["a", "b"] * 3 and [len(values) for values in seconds.values()] == [2, 2]


def test_rows_hold_medians_and_ratios_within_a_repetition():
    ours, other = rows_of(
        "t",
        {"ours": [1.0, 2.0, 9.0], "other": [2.0, 4.0, 18.0]},
        ours="ours",
        count=100,
        unit="ms",
        notes={"other": "n"},
    )
    assert (ours.value, ours.low, ours.high, ours.ratio, ours.repeats) == (20.0, 10.0, 90.0, 1.0, 3)
    assert other.ratio == 2.0 and other.note == "n"


def test_the_naive_loop_sees_the_images_that_ours_sees(tiny_kth):
    segments = select(find_segments(tiny_kth), "train")[:3]
    for ghost in (False, True):
        dataset = naive.SeekingDataset(segments, sampler=Uniform(4), size=(48, 64), ghost=ghost)
        transform = ClipTransform(size=(48, 64), pool="mean" if ghost else "none")
        for index, segment in enumerate(segments):
            clip, label = dataset[index]
            frames = read_frames(segment.video.path, segment.start + Uniform(4)(len(segment)))
            assert label == segment.label and torch.allclose(clip, transform(frames), atol=2 / 255)


def test_the_naive_batch_is_padded():
    clips, masks, labels = naive.padded([(torch.ones(2, 1, 4, 4), 3), (torch.ones(5, 1, 4, 4), 1)])
    assert clips.shape == (2, 5, 1, 4, 4)
    assert masks.sum(1).tolist() == [2, 5] and labels.tolist() == [3, 1]
    assert clips[0, 2:].sum() == 0


def test_the_exponent_of_powers():
    sizes = [10, 40, 160]
    for power in (0.5, 1.0, 2.0):
        assert growth.exponent(sizes, [3 * n**power for n in sizes]) == pytest.approx(power)


def test_halves_cover_their_segments(tiny_kth):
    segments = find_segments(tiny_kth)
    halves = growth.halves(segments, 2 * len(segments))
    assert sum(map(len, halves)) == sum(map(len, segments))
    assert len({half.name for half in halves}) == len(halves)
    with pytest.raises(ValueError, match="73 segments were asked for and the data set gives 72"):
        growth.halves(segments, 73)


def test_fewer_frames_are_every_so_many_of_all(tiny_kth):
    whole = np.arange(2 * 8 * 3, dtype=np.float16).reshape(2, 8, 3)
    features = Features([whole[:1], whole[1:, :5]])  # the second has three frames less
    segments = find_segments(tiny_kth)[:2]
    thin = cost.thinned(VideoDataset(segments, features), 4)
    assert thin.segments == segments and thin.source.lengths.tolist() == [2, 2]
    assert thin[1]["input"].tolist() == whole[1, [0, 4]].tolist()


def test_a_setting_is_named_by_size_and_frames():
    assert cost.setting(96, 16) == "96 x 128, 16 frames"
    assert cost.setting(112, 8) == "112 x 149, 8 frames"


def quick_rows(name, root):
    rows = suite.run_benchmark(name, root, quick=True)
    return {(row.task, row.method): row for row in rows}


@pytest.mark.slow
def test_the_whole_job_is_compared_with_the_naive_loop(tiny_kth):
    rows, naively = quick_rows("whole", tiny_kth), "naive loop, 32 x 32"
    cold, slow = rows[whole.FROM_VIDEOS, "ours, cold"], rows[whole.FROM_VIDEOS, naively]
    assert cold.ratio == 1 and slow.ratio == pytest.approx(slow.value / cold.value)
    assert "extrapolated" in slow.note
    rendered = rows["rendering", "ours"].value
    assert rows[whole.FROM_NOTHING, "ours, cold"].value == pytest.approx(cold.value + rendered)
    for method in ("ours", naively):
        assert 0 <= rows[whole.ACCURACY, method].value <= 100
        assert "gru" in rows[whole.ACCURACY, method].note


@pytest.mark.slow
def test_growth_is_measured_in_programs_of_their_own(tiny_kth):
    rows = {
        method if task == growth.TASK else task: row
        for (task, method), row in quick_rows("growth", tiny_kth).items()
    }
    assert rows["4 segments"].value > 0 and "MB above the start" in rows["8 segments"].note
    assert math.isfinite(rows["exponent of time"].value)
    with pytest.raises(
        ChildProcessError, match="measuring 99999 segments failed.*the data set gives 72"
    ):
        growth.run(tiny_kth, sizes=(99999,), repeats=1)


def test_cost_has_an_accuracy_and_a_time_for_each_setting(tiny_kth):
    rows = quick_rows("cost", tiny_kth)
    both = (cost.ACCURACY, cost.TIME)
    settings = {(task, cost.setting(32, frames)) for task in both for frames in (4, 8)}
    assert set(rows) == {*settings, (cost.ACCURACY, f"32 x 43, 8 frames{cost.FLIPPED}")}
    assert all(row.value >= 0 for row in rows.values())


@pytest.mark.slow
def test_predicting_is_timed_warm_and_cold(tiny_kth):
    rows = quick_rows("predicting", tiny_kth)
    cold, warm = (rows[f"predict one file, {how}", "ours"] for how in ("cold", "warm"))
    assert cold.value > warm.value
    assert rows["import", "har"].value < rows["import", "experiments.recognisers"].value
    assert warm.value > rows["predict one file, warm", predicting.WITHOUT].value  # a finder costs
    for part in ("detector", "landmarks"):
        assert rows[f"person finder, {part}, one thread", "torch"].value > 0


def test_the_command_prints_and_records(make_kth, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = make_kth(tmp_path / "KTH", persons=(11,), actions=("boxing",), segments=1)
    table = tmp_path / "results" / "bench_decoding.csv"
    command = ["bench", "decoding", "--root", str(root)]
    assert har.main(command) == 0
    said = capsys.readouterr().out
    assert f"decoding: {suite.BENCHMARKS['decoding']}\n" in said
    assert f"rendered files, {decoding.SAMPLED}\n  ours" in said
    assert table.is_file()
    table.unlink()
    assert har.main([*command, "--no-record"]) == 0
    assert "  ours" in capsys.readouterr().out and not table.exists()
    assert har.main(["bench", "speed"]) == 1
    assert "there is no benchmark 'speed'; the benchmarks are whole" in capsys.readouterr().err
