"""A camera watched: a file stands in for it."""

import cv2
import pytest

from experiments import webcam
from experiments.webcam import has_screen, watch_camera
from tests.stand_ins import brightness_recogniser, video_of


@pytest.fixture
def film(tmp_path, write_video):
    return str(write_video(tmp_path / "film.avi", video_of((1.6, 200))))


def test_a_file_stands_in_for_the_camera(film):
    *lines, last = watch_camera(brightness_recogniser(), film, every=0.4, window=False)
    assert lines and all("s  bright 7" in line and "ms late" in line for line in lines)
    count, skipped = int(last.split()[0]), int(last.split()[2])
    assert count == 20 and skipped < count and last.startswith(f"{count} frames, {skipped} of them")


def test_a_slow_machine_says_how_many_frames_it_skips(film, monkeypatch):
    def waits(*args, **how):
        for at, image in args[1]:
            args[1].thread.join(10)
            yield webcam.Moment(at, image, None, None, None)

    monkeypatch.setattr(webcam, "live_answers", waits)
    *_, last = watch_camera(brightness_recogniser(), film, every=0.16, window=False)
    assert last.endswith("skipped: this machine is too slow for all of them")
    assert int(last.split()[2]) >= 15


def test_a_window_shows_it_until_a_key_ends_it(film, monkeypatch):
    shown, keys = [], iter([255, 255, ord("q")])
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda wait: next(keys))
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: shown.append(None))
    list(watch_camera(brightness_recogniser(), film, window=True))
    assert len(shown) == 4 and shown[-1] is None and shown[0].shape[2] == 3


def test_without_a_screen_no_window_is_tried(monkeypatch):
    monkeypatch.setattr(webcam.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_screen()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT5")
    assert has_screen()
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    assert not has_screen(), "a headless OpenCV"


def test_times_that_are_none_are_refused(film):
    with pytest.raises(ValueError, match="every is 0"):
        next(watch_camera(brightness_recogniser(), film, every=0))
