"""A video file: what its container says and what is made of it, and frames to the exact number."""

import re
import struct

import cv2
import numpy as np
import pytest

from data.video import VideoError, VideoInfo, probe, read_frames, read_segments


@pytest.fixture
def clip(tmp_path, write_video):
    """clip(name, frames=..., fps=...) -> path of a small video of darker and brighter frames."""

    def write(name="clip.avi", *, frames=12, fps=25):
        greys = (7 * np.arange(frames) % 256).astype(np.uint8)
        codec = "mp4v" if name.endswith(".mp4") else "MJPG"
        video = np.ones((1, 24, 32), np.uint8) * greys[:, None, None]
        return write_video(tmp_path / name, video, fps=fps, codec=codec)

    return write


@pytest.fixture
def claiming(monkeypatch):
    """claiming(property, value): from then on every container says so of itself."""
    real = cv2.VideoCapture

    def claim(prop, value):
        class Claiming:
            def __init__(self, *how):
                self._capture = real(*how)

            def __getattr__(self, name):
                return getattr(self._capture, name)

            def get(self, asked):
                return value if asked == prop else self._capture.get(asked)

        monkeypatch.setattr(cv2, "VideoCapture", Claiming)

    return claim


# probing


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
@pytest.mark.parametrize("fps", [12.5, 25, 30, 50, 60])
def test_probe_tells_frames_and_frame_rate(clip, suffix, fps):
    assert probe(clip(f"clip{suffix}", frames=17, fps=fps)) == VideoInfo(17, fps)


@pytest.mark.parametrize("nonsense", [0.0, -30.0, float("nan"), float("inf"), 90_000.0])
def test_a_frame_rate_that_cannot_be_is_taken_for_the_usual_one(clip, claiming, nonsense):
    path = clip(fps=30)
    claiming(cv2.CAP_PROP_FPS, nonsense)
    assert probe(path) == VideoInfo(12, 25.0)


@pytest.mark.parametrize("rate", [1.0, 240.0, 1000.0])
def test_an_unusual_frame_rate_is_believed(clip, claiming, rate):
    path = clip()
    claiming(cv2.CAP_PROP_FPS, rate)
    assert probe(path).fps == rate


@pytest.mark.parametrize("count", [-1.0, 0.0, -138212368184637008.0])
def test_probe_counts_where_the_container_does_not_say(clip, claiming, count):
    path = clip(frames=11)
    claiming(cv2.CAP_PROP_FRAME_COUNT, count)
    assert probe(path).frames == 11


def test_probe_sees_that_a_file_changed(clip):
    assert probe(clip(frames=5)).frames == 5
    assert probe(clip(frames=9)).frames == 9


def broken(clip, kind):
    path = clip(f"clip{'.mp4' if kind == 'cut mp4' else '.avi'}", frames=30)
    content = path.read_bytes()
    half, index = content[: len(content) // 2], content.rfind(b"idx1")
    blank = re.sub(
        rb"\xff\xd8.*?\xff\xd9", lambda jpeg: bytes(len(jpeg[0])), content[:index], flags=re.DOTALL
    )
    damaged = {
        "empty": b"",
        "text": b"this is no video at all, only words\n" * 9,
        "short text": b"words",
        "page": b"<!DOCTYPE html><html><body>Not found</body></html>",
        "cut avi": half,
        "cut mp4": half,
        "header only": b"RIFF" + struct.pack("<I", 4) + b"AVI ",
        "first frame": blank + content[index:],
    }
    path.write_bytes(damaged[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", r"empty file \(0 bytes\)"),
        ("text", "not a video that OpenCV can open"),
        ("short text", "not a video that OpenCV can open"),
        ("page", "not a video that OpenCV can open"),
        ("header only", "not a video that OpenCV can open"),
        ("cut avi", r"truncated, \d+ of \d+ bytes are there"),
        ("cut mp4", r"truncated, \d+ of \d+ bytes are there"),
        ("first frame", "first frame does not decode"),
    ],
)
def test_probe_says_why_a_file_cannot_be_used(clip, kind, reason):
    path = broken(clip, kind)
    remedy = "fetch or render it again, or delete it"
    with pytest.raises(VideoError, match=rf"{path.name}: .*{reason}.*; {remedy}"):
        probe(path)


def test_a_file_that_is_cut_off_is_probed_where_that_is_allowed(clip):
    path = clip(frames=30)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VideoError, match="truncated"):
        probe(path)
    assert probe(path, allow_cut_off=True).frames == 30


# MP4's way of saying "up to the end" and "a 64-bit size follows"
@pytest.mark.parametrize("size", [0, 1])
def test_probe_takes_boxes_of_special_size(clip, size):
    path = clip("clip.mp4", frames=8)
    box = struct.pack(">I", size) + b"free" + struct.pack(">Q", 20) + b"\0" * 4
    path.write_bytes(path.read_bytes() + box)
    assert probe(path).frames == 8


def test_probe_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises(VideoError, match=r"gone\.avi: cannot be opened"):
        probe(tmp_path / "gone.avi")


def test_names_of_any_kind_are_read(clip):
    for name in ("-dash-.avi", "apo'strophe.avi", "per%cent %d.mp4", "größe.MP4"):
        path = clip(name, frames=6)
        assert probe(path).frames == 6 and len(read_frames(path, [0, 5])) == 2


# reading


def indices_seen(frames):
    return [round(float(frame.mean()) / 5) for frame in frames]


def test_frames_come_in_the_order_they_are_named_in(numbered_video):
    frames = read_frames(numbered_video, [30, 2, 2, 17])
    assert frames.shape == (4, 32, 48) and frames.dtype == np.uint8
    assert indices_seen(frames) == [30, 2, 2, 17]


def test_segments_of_a_file_share_one_pass(numbered_video, monkeypatch):
    opened = []
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *how: opened.append(how) or real(*how))
    parts = read_segments(numbered_video, [[0, 10], [5, 39], np.array([10])])
    assert [indices_seen(part) for part in parts] == [[0, 10], [5, 39], [10]]
    assert len(opened) == 1


def test_a_phone_video_comes_out_upright(tmp_path, write_video):
    """A phone writes what its sensor sees, and into the track's matrix how to turn it."""
    lying = np.full((5, 48, 64), 40, np.uint8)
    lying[:, :16] = 200  # a bright upper edge, which a turn to the right brings to the right
    path = write_video(tmp_path / "phone.mp4", lying, codec="mp4v")
    content = path.read_bytes()
    matrix = content.index(b"tkhd") + 44
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(content[:matrix] + turned + content[matrix + len(turned) :])
    capture = cv2.VideoCapture(str(path))
    knows = capture.get(cv2.CAP_PROP_ORIENTATION_META)
    capture.release()
    if knows not in (90, 270):
        pytest.skip(f"this OpenCV reads no rotation from MP4 files (it says {knows})")
    frame = read_frames(path, [3])[0].astype(int)
    assert frame.shape == (64, 48)
    assert frame[:, -12:].mean() > 180 and frame[:, :28].mean() < 60


def test_a_file_that_ends_early_names_the_frames(numbered_video):
    with pytest.raises(
        VideoError, match=r"person01_boxing_d1\.avi ends early: frame 45 was asked for, 40 frames"
    ):
        read_frames(numbered_video, [3, 45])


def test_a_file_cut_in_the_middle_is_an_error_and_not_fewer_frames(numbered_video, tmp_path):
    cut = tmp_path / "person01_boxing_d2.avi"
    cut.write_bytes(numbered_video.read_bytes()[: numbered_video.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"person01_boxing_d2\.avi"):
        read_frames(cut, range(40))


def test_unreadable_files_and_requests(numbered_video, tmp_path):
    empty = tmp_path / "person01_boxing_d3.avi"
    empty.touch()
    with pytest.raises(VideoError, match=r"d3\.avi \(0 bytes\) cannot be read as a video"):
        read_frames(empty, [0])
    with pytest.raises(FileNotFoundError, match="no video at"):
        read_frames(tmp_path / "nowhere.avi", [0])
    with pytest.raises(ValueError, match="frame -1; frames count from 0"):
        read_frames(numbered_video, [-1])
    with pytest.raises(ValueError, match="asked for no frames"):
        read_segments(numbered_video, [[1], []])
    with pytest.raises(ValueError, match="asked for no frames"):
        read_segments(numbered_video, [])
