"""The readers that decoding is compared with give the same pictures as ours, and none is needed."""

import builtins

import numpy as np
import pytest

from benchmarks import decoding, suite
from data.kth import Segment, parse_name
from data.video import read_segments

LISTS = [np.array([1, 3, 9]), np.array([12, 13, 20])]


@pytest.fixture(scope="module")
def video(write_video, tmp_path_factory):
    """Two dozen pictures, each brighter than the last by more than a codec changes it."""
    frames = np.repeat(np.arange(20, 236, 9, dtype=np.uint8), 120 * 160).reshape(24, 120, 160)
    return write_video(
        tmp_path_factory.mktemp("decoding") / "person01_boxing_d1.avi", frames, codec="XVID"
    )


def agree(found):
    for pictures, numbers in zip(found, LISTS, strict=True):
        assert pictures.dtype == np.uint8 and pictures.shape == (len(numbers), 120, 160)
        assert np.abs(pictures.mean(axis=(1, 2)) - (20 + 9 * numbers)).max() < 4.5  # half a step


@pytest.mark.parametrize("reader", [read_segments, decoding.seek_with_opencv])
def test_opencv_reads_the_frames_asked_for(video, reader):
    agree(reader(video, LISTS))


@pytest.mark.parametrize(
    ("package", "reader"),
    [
        ("av", decoding.pass_with_av),
        ("av", decoding.seek_with_av),
        ("decord", decoding.read_with_decord),
    ],
)
def test_others_read_the_frames_asked_for(video, package, reader):
    pytest.importorskip(package)
    agree(reader(video, LISTS))


@pytest.mark.parametrize("mode", ["exact", "approximate"])
def test_torchcodec_reads_the_frames_asked_for(video, mode):
    pytest.importorskip("torchcodec")
    try:
        found = decoding.read_with_torchcodec(mode)(video, LISTS)
    except RuntimeError as error:
        if "Could not load libtorchcodec" not in str(error):
            raise
        pytest.skip("torchcodec finds no FFmpeg that it can load")
    agree(found)


def test_what_is_not_installed_is_left_out_and_said(monkeypatch, capsys):
    real = builtins.__import__

    def refuse(name, *more):
        if name.split(".")[0] in ("av", "decord", "torchcodec"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert list(decoding.available()) == ["ours", "OpenCV, a seek for each frame"]
    said = capsys.readouterr().out
    assert said.count("is left out: ModuleNotFoundError") == 5 and "decord is left out" in said
    assert (
        decoding._with_long_gop([], None) == [] and "written with PyAV" in capsys.readouterr().out
    )


def test_other_frames_are_counted(video):
    def late(path, lists):
        return read_segments(path, [lists[0] + 1, *lists[1:]])

    assert decoding._differing(late, [(video, LISTS)]) == "1 of 2 segments hold other frames"
    assert decoding._differing(read_segments, [(video, LISTS)]) == ""


def test_a_long_gop_keeps_the_pictures(video, tmp_path):
    pytest.importorskip("av")
    ((copy, same),) = decoding._with_long_gop(
        [(video, [Segment(parse_name(video), 0, 0, 24)])], tmp_path
    )
    assert len(same) == 1
    agree(read_segments(copy, LISTS))


def test_each_kind_of_files_is_compared(tiny_kth, monkeypatch):
    monkeypatch.setattr(
        decoding, "available", lambda: {"ours": read_segments, "seek": decoding.seek_with_opencv}
    )
    rows = suite.run_part("decoding", tiny_kth, real=tiny_kth, quick=True)
    assert {row.task for row in rows} >= {
        f"{kind}, {amount}"
        for kind in ("rendered files", "real clips")
        for amount in (decoding.SAMPLED, decoding.ALL)
    }
    assert all(row.ratio == 1 for row in rows if row.method == "ours") and all(
        row.value > 0 for row in rows
    )
