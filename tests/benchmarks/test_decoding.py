"""The readers that decoding is compared with give the same images as ours, and none is needed."""

import sys

import numpy as np
import pytest

from benchmarks import decoding
from data.kth import Segment, parse_name
from data.video import read_segments

LISTS = [np.array([1, 3, 9]), np.array([12, 13, 20])]


@pytest.fixture(scope="module")
def video(write_video, tmp_path_factory):
    """Two dozen images, each brighter than the last by more than a codec changes it."""
    frames = np.repeat(np.arange(20, 236, 9, dtype=np.uint8), 120 * 160).reshape(24, 120, 160)
    return write_video(
        tmp_path_factory.mktemp("decoding") / "person01_boxing_d1.avi", frames, codec="XVID"
    )


def agree(found):
    for images, numbers in zip(found, LISTS, strict=True):
        assert images.dtype == np.uint8 and images.shape == (len(numbers), 120, 160)
        assert np.abs(images.mean(axis=(1, 2)) - (20 + 9 * numbers)).max() < 4.5  # half a step


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
        found = decoding.read_with_torchcodec(video, LISTS, seek_mode=mode)
    except RuntimeError as error:
        if "Could not load libtorchcodec" not in str(error):
            raise
        pytest.skip("torchcodec finds no FFmpeg that it can load")
    agree(found)


def test_what_is_not_installed_is_left_out_and_said(monkeypatch, capsys):
    for package in ("av", "decord", "torchcodec", "torchcodec.decoders"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not there
    assert list(decoding.available()) == ["ours", "OpenCV, a seek for each frame"]
    said = capsys.readouterr().out
    assert said.count("is left out: ModuleNotFoundError") == 5
    assert "decord is left out" in said
    assert decoding.with_long_gop([], None) == []
    assert "written with PyAV" in capsys.readouterr().out


def test_other_frames_are_counted(video):
    def late(path, lists):
        return read_segments(path, [lists[0] + 1, *lists[1:]])

    assert decoding.differing(late, [(video, LISTS)]) == "1 of 2 segments hold other frames"
    assert decoding.differing(read_segments, [(video, LISTS)]) == ""


def test_a_long_gop_keeps_the_images(video, tmp_path):
    pytest.importorskip("av")
    jobs = [(video, [Segment(parse_name(video), 0, 0, 24)])]
    ((copy, same),) = decoding.with_long_gop(jobs, tmp_path)
    assert len(same) == 1
    agree(read_segments(copy, LISTS))


def test_each_kind_of_files_is_compared(tiny_kth):
    readers = {"ours": read_segments, "seek": decoding.seek_with_opencv}
    rows = decoding.run(tiny_kth, real=tiny_kth, readers=readers, **decoding.QUICK)
    assert {row.task for row in rows} >= {
        f"{kind}, {amount}"
        for kind in ("rendered files", "real clips")
        for amount in (decoding.SAMPLED, decoding.ALL)
    }
    assert {row.method for row in rows} == set(readers)
    assert all(row.ratio == 1 for row in rows if row.method == "ours")
    assert all(row.value > 0 for row in rows)
