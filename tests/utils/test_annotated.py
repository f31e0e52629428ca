"""Videos with what was seen drawn over them: what is drawn where, and written whole or not."""

import cv2
import numpy as np
import pytest

from data.video import probe, stream
from tests.stand_ins import BrightFinder, brightness_recogniser, video_of
from utils import annotated as module
from utils.annotated import FOOT, Caption, annotated, write_annotated, write_mp4
from utils.person import PersonTrack
from utils.timeline import Span, timeline_of


@pytest.fixture
def track():
    (row,) = BrightFinder().follow([np.full((96, 128), 200, np.uint8)], 25.0)
    return row


@pytest.mark.parametrize("size", [(1, 1), (48, 64), (97, 131), (720, 1280), (64, 320)])
def test_images_are_even_and_keep_their_place(size):
    image = np.full((*size, 3), 77, np.uint8)
    drawn = annotated(image, None, None, Caption("boxing", 0.5))
    assert drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0 and drawn.dtype == np.uint8
    assert (drawn[: drawn.shape[0] - FOOT - 1, : drawn.shape[1] // 4] == 77).mean() > 0.4
    assert drawn[-FOOT:].max() > 200, "something is written below"


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert annotated(np.zeros((48, 64), np.uint8), None, None, Caption("")).shape[1] == 7 * 64
    assert annotated(np.zeros((720, 1280), np.uint8), None, None, Caption("")).shape[1] == 1280


def test_the_person_is_drawn_where_he_is(track):
    image = np.full((96, 128, 3), 77, np.uint8)
    bare, drawn = (annotated(image, one, 0, Caption("boxing")) for one in (None, track))
    rows, columns = np.nonzero((bare != drawn).any(-1))
    left, top, right, bottom = track.box[0] * 4
    assert abs(columns.min() - left) < 5 and abs(columns.max() - right) < 5
    assert abs(rows.min() - top) < 5 and abs(rows.max() - bottom) < 5
    nobody = PersonTrack.joined(list(BrightFinder().follow([np.zeros((96, 128), np.uint8)], 25.0)))
    assert np.array_equal(annotated(image, nobody, 0, Caption("boxing")), bare)


def test_the_bar_is_as_long_as_the_label_is_probable():
    for share in (0.0, 0.25, 1.0):
        drawn = annotated(np.zeros((320, 412), np.uint8), None, None, Caption("x", share))
        assert (drawn[-FOOT + 35] == 255).all(-1).sum() == pytest.approx(400 * share, abs=2)


def test_spans_and_the_moment_are_shown():
    spans = [Span(0, 3, "a", 0.9), Span(3, 4, "nobody", None, "nobody was found")]
    foot = annotated(
        np.zeros((320, 413), np.uint8), None, None, Caption("a", None, "", spans, 2.0, 4.0)
    )[-FOOT:]
    assert foot[51, 20].any() and not foot[51, 350].any(), "what names no action is hollow"
    assert (foot[61, 203:210] == 255).any(), "in the middle"


def test_letters_of_europe_and_long_names_are_written():
    image = np.zeros((320, 400), np.uint8)
    shown = [annotated(image, None, None, Caption(text)) for text in ("sauter é", "sauter ?")]
    assert not np.array_equal(*shown)
    annotated(image, None, None, Caption("w" * 300, 0.5, "12.0 s"))


def test_a_video_is_written_again_with_its_timeline(tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", video_of((1, 200), (1, 20)))
    found = timeline_of(brightness_recogniser(BrightFinder()), path, keep_track=True)
    out = write_annotated(path, tmp_path / "new" / "out.mp4", found)
    info = probe(out)
    assert (info.frames, info.fps) == (50, 25) and not info.doubts
    first, last = [image for _, image in stream(out)][::49]
    assert first[:200].std() > last[:200].std(), "the person is drawn while he is there"
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


def test_half_a_file_is_not_left(tmp_path):
    def frames():
        yield np.zeros((64, 64, 3), np.uint8)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_mp4(tmp_path / "out.mp4", frames(), 25)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_is_noticed(tmp_path, monkeypatch):
    class Nothing:
        frames = 0

    monkeypatch.setattr(module, "decode_whole", lambda path: Nothing)
    with pytest.raises(OSError, match=r"out\.mp4: 0 of its 3 frames could be written"):
        write_mp4(tmp_path / "out.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, 25)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_does_not_open_is_named(tmp_path, monkeypatch):
    class Closed:
        fourcc = cv2.VideoWriter.fourcc

        def __init__(self, *_):
            pass

        def isOpened(self):
            return False

    monkeypatch.setattr(cv2, "VideoWriter", Closed)
    with pytest.raises(OSError, match=r"out\.mp4: OpenCV cannot write MPEG-4 here"):
        write_mp4(tmp_path / "out.mp4", [np.zeros((64, 64, 3), np.uint8)], 25)
