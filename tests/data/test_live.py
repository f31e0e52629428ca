"""Frames as they come: a file that is played, what is skipped, and cameras that fail."""

import threading

import cv2
import numpy as np
import pytest

from data import live
from data.live import Live
from data.video import VideoError


@pytest.fixture
def film(tmp_path, write_video):
    """20 frames, 0.8 seconds, each brighter than the one before."""
    greys = (10 * np.arange(20)).astype(np.uint8)
    return write_video(tmp_path / "film.avi", np.ones((1, 24, 32), np.uint8) * greys[:, None, None])


class Camera:
    """A camera that gives what it is told to."""

    def __init__(self, opened=True, frames=(), hangs=None):
        self.opened, self.frames, self.hangs = opened, list(frames), hangs

    def isOpened(self):
        return self.opened

    def grab(self):
        if not self.frames and self.hangs:
            self.hangs.wait(20)
        return bool(self.frames)

    def retrieve(self):
        return True, self.frames.pop(0)

    def get(self, prop):
        return 0.0

    def release(self):
        self.opened = False


def test_a_file_is_played_at_its_own_pace_and_rate(film):
    with Live(film, rate=12.5, held=100) as played:
        came = list(played)
    assert played.skipped == 0 and played.count == len(came) == 10
    assert [at for at, _ in came] == pytest.approx([0.08 * n for n in range(10)])
    assert [round(image.mean() / 10) for _, image in came] == list(range(0, 20, 2))
    assert played.now() > 0.7


def test_what_nobody_takes_in_time_is_skipped_and_counted(film):
    with Live(film, rate=25, held=3) as played:
        played.thread.join(10)
        came = list(played)
    assert played.skipped == 17 and played.count == 20
    assert [at for at, _ in came] == pytest.approx([0.68, 0.72, 0.76])


def test_a_camera_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: Camera(opened=False))
    with pytest.raises(OSError, match="camera 3 cannot be opened.*--camera 1"):
        Live(3, rate=25, held=3)


def test_a_camera_that_sends_nothing_more_is_given_up(monkeypatch):
    hangs = threading.Event()
    camera = Camera(frames=[np.full((4, 4, 3), 7, np.uint8)], hangs=hangs)
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: camera)
    monkeypatch.setattr(live, "PATIENCE_S", 0.3)
    with Live(0, rate=25, held=3) as played:
        frames = iter(played)
        assert next(frames)[1].max() == 7
        with pytest.raises(OSError, match="camera 0 sent no frame"):
            next(frames)
        hangs.set()
    assert not camera.opened, "it is given back"


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "note.avi").write_text("no video")
    with pytest.raises(VideoError, match="a text file"):
        Live(tmp_path / "note.avi", rate=25, held=3)
