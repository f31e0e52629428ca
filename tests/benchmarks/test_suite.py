"""The benchmarks run, say what they compare, and count what they claim to count."""

import math
import warnings

import numpy as np
import pytest
import torch

import har
from benchmarks import cost, growth, naive, suite, whole
from benchmarks.measure import interleaved, rows_of
from data.kth import find_segments, select
from data.video import read_frames
from tracking.measurements import Row
from utils.data_setup import ClipTransform, Uniform
from utils.store import FeatureStore


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


def test_the_naive_loop_sees_the_pictures_that_ours_sees(tiny_kth):
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
    assert (
        clips.shape == (2, 5, 1, 4, 4)
        and masks.sum(1).tolist() == [2, 5]
        and labels.tolist() == [3, 1]
    )
    assert clips[0, 2:].sum() == 0


def test_the_exponent_of_powers():
    for power in (0.5, 1.0, 2.0):
        assert growth.exponent(
            [10, 40, 160], [3 * n**power for n in (10, 40, 160)]
        ) == pytest.approx(power)


def test_halves_cover_their_segments(tiny_kth):
    segments = find_segments(tiny_kth)
    halves = growth.halves(segments, 2 * len(segments))
    assert sum(map(len, halves)) == sum(map(len, segments)) and len(
        {half.name for half in halves}
    ) == len(halves)
    with pytest.raises(ValueError, match="73 segments were asked for and the data set gives 72"):
        growth.halves(segments, 73)


def test_fewer_frames_are_every_so_many_of_all():
    features = np.arange(2 * 8 * 3, dtype=np.float16).reshape(2, 8, 3)
    thin = cost._thinned(FeatureStore(features, np.array([8, 5])), 4)
    assert thin.lengths.tolist() == [2, 2] and thin.load(1).tolist() == features[1, [0, 4]].tolist()


def test_a_setting_is_named_by_size_and_frames():
    assert (
        cost.setting(96, 16) == "96 x 128, 16 frames"
        and cost.setting(112, 8) == "112 x 149, 8 frames"
    )


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_the_whole_job_is_compared_with_the_naive_loop(tiny_kth, quiet):
    rows = {(row.task, row.method): row for row in suite.run_part("whole", tiny_kth, quick=True)}
    cold, slow = (
        rows[whole.FROM_VIDEOS, "ours, cold"],
        rows[whole.FROM_VIDEOS, "naive loop, 32 x 32"],
    )
    assert (
        cold.ratio == 1
        and slow.ratio == pytest.approx(slow.value / cold.value)
        and "extrapolated" in slow.note
    )
    rendered = rows["rendering", "ours"].value
    assert rows[whole.FROM_NOTHING, "ours, cold"].value == pytest.approx(cold.value + rendered)
    for method in ("ours", "naive loop, 32 x 32"):
        assert (
            0 <= rows[whole.ACCURACY, method].value <= 100
            and "gru" in rows[whole.ACCURACY, method].note
        )


def test_growth_is_measured_in_programs_of_their_own(tiny_kth):
    rows = {
        row.method if row.task == growth.TASK else row.task: row
        for row in suite.run_part("growth", tiny_kth, quick=True)
    }
    assert rows["4 segments"].value > 0 and "MB above the start" in rows["8 segments"].note
    assert math.isfinite(rows["exponent of time"].value)
    with pytest.raises(
        ChildProcessError, match="measuring 99999 segments failed.*the data set gives 72"
    ):
        growth._in_own_program(tiny_kth, 99999)


def test_cost_has_an_accuracy_and_a_time_for_each_setting(tiny_kth, quiet):
    rows = suite.run_part("cost", tiny_kth, quick=True)
    settings = {
        (task, cost.setting(32, frames)) for task in (cost.ACCURACY, cost.TIME) for frames in (4, 8)
    }
    assert {(row.task, row.method) for row in rows} == {
        *settings,
        (cost.ACCURACY, f"32 x 43, 8 frames{cost.MIRRORED}"),
    }
    assert all(row.value >= 0 for row in rows)


def test_predicting_is_timed_warm_and_cold(tiny_kth):
    rows = {
        (row.task, row.method): row for row in suite.run_part("predicting", tiny_kth, quick=True)
    }
    assert (
        rows["predict one file, cold", "ours"].value > rows["predict one file, warm", "ours"].value
    )
    assert rows["import", "har"].value < rows["import", "experiments"].value


def test_the_command_prints_and_records(tiny_kth, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(suite.QUICK, "cost", {})
    monkeypatch.setattr("benchmarks.cost.run", lambda root: [Row("t", "ours", 1.0, "ms", 1.0)])
    assert har.main(["bench", "cost", "--root", str(tiny_kth)]) == 0
    assert (
        "t\n  ours" in capsys.readouterr().out
        and (tmp_path / "results" / "bench_cost.csv").is_file()
    )
    assert har.main(["bench", "cost", "--root", str(tiny_kth), "--no-record"]) == 0
    assert har.main(["bench", "speed"]) == 1
    assert "there is no benchmark 'speed'; the benchmarks are whole" in capsys.readouterr().err
