"""A video file: what decodes and what is made of it, and frames to the exact number."""

import os
import re
import struct
import tracemalloc

import cv2
import numpy as np
import pytest

from data import prober
from data.decoding import decode_whole
from data.video import VideoError, probe, read_frames, read_segments


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
def in_the_program(monkeypatch):
    """Files are decoded in the program itself, as where no process can be started."""
    monkeypatch.setattr(prober, "_started", lambda: None)
    monkeypatch.setattr(prober, "_children", prober._Children())


@pytest.fixture
def claiming(monkeypatch, in_the_program):
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


@pytest.fixture
def noisy(tmp_path, write_video):
    """A video of 30 frames of noise, so that each takes more than a kilobyte, and its bytes."""
    frames = np.random.default_rng(0).integers(0, 256, (30, 24, 32), np.uint8)
    path = write_video(tmp_path / "noisy.avi", frames)
    return path, path.read_bytes()


def promising(content, frames):
    """The bytes of an AVI whose headers promise so many frames."""
    changed = bytearray(content)
    for header, offset in ((b"avih", 24), (b"strh", 40)):
        place = content.index(header) + offset
        changed[place : place + 4] = struct.pack("<I", frames)
    return bytes(changed)


# probing


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
@pytest.mark.parametrize("fps", [12.5, 25, 30, 50, 60])
def test_probe_tells_frames_and_frame_rate(clip, suffix, fps):
    info = probe(clip(f"clip{suffix}", frames=17, fps=fps))
    assert (info.frames, info.fps, info.size) == (17, fps, (24, 32))
    assert not info.still and not info.doubts


@pytest.mark.parametrize("nonsense", [0.0, -30.0, float("nan"), float("inf"), 90_000.0])
def test_a_frame_rate_that_cannot_be_is_taken_for_the_usual_one(clip, claiming, nonsense):
    path = clip(fps=30)
    claiming(cv2.CAP_PROP_FPS, nonsense)
    assert (probe(path).frames, probe(path).fps) == (12, 25.0)


@pytest.mark.parametrize("rate", [1.0, 240.0, 1000.0])
def test_an_unusual_frame_rate_is_believed(clip, claiming, rate):
    path = clip()
    claiming(cv2.CAP_PROP_FPS, rate)
    assert probe(path).fps == rate


@pytest.mark.parametrize("count", [-1.0, 0.0, -138212368184637008.0])
def test_a_container_that_does_not_say_how_many_frames_is_not_doubted(clip, claiming, count):
    path = clip(frames=11)
    claiming(cv2.CAP_PROP_FRAME_COUNT, count)
    assert probe(path).frames == 11 and not probe(path).doubts


@pytest.mark.parametrize("promised", [31, 10**6, 2**31])
def test_a_file_ends_where_decoding_ends(noisy, promised):
    path, content = noisy
    path.write_bytes(promising(content, promised))
    info = probe(path)
    assert info.frames == 30
    assert f"30 of the {promised} frames that its header promises decode" in info.doubts[0]


def test_a_header_that_promises_too_little_is_not_believed_either(noisy):
    path, content = noisy
    path.write_bytes(promising(content, 3))
    assert probe(path).frames == 30 and not probe(path).doubts


def test_a_clip_that_was_cut_without_encoding_it_again_has_the_frames_that_it_shows(clip):
    """As `ffmpeg -ss ... -c copy` does it: all frames are there, and a list says where to begin."""
    path = clip("clip.mp4", frames=30)
    content = bytearray(path.read_bytes())
    place, scale = content.index(b"elst") + 16, content.index(b"mdhd") + 16
    ticks = struct.unpack(">I", content[scale : scale + 4])[0]
    content[place : place + 4] = struct.pack(">i", 5 * ticks // 25)
    path.write_bytes(content)
    info = probe(path)
    assert info.frames == len(read_frames(path, range(info.frames))) == 25
    assert "25 of the 30 frames" in info.doubts[0]


def test_damage_in_the_middle_is_noticed(noisy):
    """Decoders leave out what they cannot read, without a word."""
    path, content = noisy
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(6000) + content[middle + 6000 :])
    info = probe(path)
    assert 20 < info.frames < 30
    assert f"{info.frames} of the 30 frames" in info.doubts[0]


def test_a_decoder_that_complains_is_heard(tmp_path, write_video):
    frames = np.random.default_rng(0).integers(0, 256, (30, 48, 64), np.uint8)
    path = write_video(tmp_path / "clip.avi", frames, codec="XVID")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + b"\xaa" * 500 + content[middle + 500 :])
    assert any("the decoder complains in 1 places, first at" in one for one in probe(path).doubts)


def test_times_that_jump_are_noticed(clip):
    """A frame is left out of the table of times, and 40 ms become 400."""
    path = clip("clip.mp4", frames=30)
    content = bytearray(path.read_bytes())
    place = content.index(b"stts") + 8  # how many runs, then (frames, ticks) of each
    assert struct.unpack(">I", content[place : place + 4])[0] == 1
    run = content[place + 4 : place + 12]
    ticks = struct.unpack(">I", run[4:])[0]
    runs = struct.pack(">7I", 3, 19, ticks, 1, 10 * ticks, 10, ticks)
    longer = content[:place] + runs + content[place + 12 :]
    for box in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = longer.index(box) - 4
        longer[at : at + 4] = struct.pack(">I", struct.unpack(">I", longer[at : at + 4])[0] + 16)
    shown = longer.index(b"elst") + 12  # milliseconds
    longer[shown : shown + 4] = struct.pack(">I", 1200 + 360)
    path.write_bytes(longer)
    info = probe(path)
    assert info.frames == 30
    assert info.doubts == ("time jumps in 1 places, first at frame 20: frames are missing",)


@pytest.mark.parametrize(
    "behind",
    [
        b"TAG" + b"a title".ljust(125),
        b"ID3\x04\x00\x00\x00\x00\x02\x01TIT2" + bytes(250),
        b"words behind the video\n" * 9,
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500),
    ],
    ids=["ID3v1", "ID3v2", "text", "JPEG"],
)
def test_what_lies_behind_an_mp4_does_no_harm(clip, behind):
    path = clip("clip.mp4", frames=9)
    path.write_bytes(path.read_bytes() + behind)
    assert probe(path).frames == 9 and not probe(path).doubts


def test_probe_sees_that_a_file_changed(clip):
    assert probe(clip(frames=5)).frames == 5
    assert probe(clip(frames=9)).frames == 9


def broken(clip, kind):
    path = clip(f"clip{'.mp4' if kind == 'cut mp4' else '.avi'}", frames=30)
    content = path.read_bytes()
    index = content.rfind(b"idx1")
    blank = re.sub(
        rb"\xff\xd8.*?\xff\xd9", lambda jpeg: bytes(len(jpeg[0])), content[:index], flags=re.DOTALL
    )
    picture = cv2.imencode(".jpg", np.full((24, 32), 90, np.uint8))[1].tobytes()
    damaged = {
        "empty": b"",
        "text": b"this is no video at all, only words\n" * 9,
        "short text": b"words",
        "page": b"<!DOCTYPE html><html><body>Not found</body></html>",
        "sound": b"ID3\x04" + bytes(900),
        "picture": picture,
        "cut mp4": content[: len(content) // 2],
        "header only": b"RIFF" + struct.pack("<I", 4) + b"AVI ",
        "no frame": blank + content[index:],
    }
    path.write_bytes(damaged[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", r"empty file \(0 bytes\)"),
        ("text", "a text file, not a video"),
        ("short text", "a text file, not a video"),
        ("page", "a web page, not a video"),
        ("sound", r"a sound file \(MP3\), not a video"),
        ("picture", r"one picture \(JPEG\), not a video"),
        ("header only", "no video that can be opened; OpenCV [0-9.]+ (says|gives)"),
        ("cut mp4", "no video that can be opened; OpenCV [0-9.]+ (says|gives)"),
        ("no frame", "its first frame does not decode; OpenCV [0-9.]+ "),
    ],
)
def test_probe_says_why_a_file_cannot_be_used(clip, kind, reason):
    path = broken(clip, kind)
    with pytest.raises(VideoError, match=rf"{path.name}: .*{reason}") as error:
        probe(path)
    assert not re.search("delete|remove", str(error.value))


@pytest.mark.parametrize("suffix", [".txt", ".nfo", ".ans"])
def test_text_is_no_video_whatever_its_name(tmp_path, suffix):
    """OpenCV draws the text of such files, 25 lines a second."""
    path = tmp_path / f"clip{suffix}"
    path.write_text("a walk, a run and a jump: größe\n" * 200, encoding="utf-8")
    with pytest.raises(VideoError, match="a text file, not a video"):
        probe(path)


def test_what_was_tried_and_what_it_said_is_told(clip, claiming, monkeypatch):
    """PyAV is tried where it is installed."""
    path = broken(clip, "cut mp4")
    monkeypatch.setattr("data.decoding._as_pyav_says", lambda path: "InvalidDataError: no moov")
    with pytest.raises(VideoError, match="OpenCV .*, then PyAV was tried: InvalidDataError: no"):
        probe(path)


def test_images_that_the_decoder_cannot_vouch_for_are_refused(clip, monkeypatch):
    """Some are handed out black or full of noise, with a complaint at each."""
    monkeypatch.setattr(
        "data.video.decoded",
        lambda path, status: prober.Decoded(
            opened=True, frames=12, fps=25.0, size=(24, 32), complaints=7, said=["Cannot convert"]
        ),
    )
    with pytest.raises(VideoError, match='complains at 7 of 12 frames.*says "Cannot convert"'):
        probe(clip())


def test_images_over_which_the_decoder_complains_are_refused_though_few_are_asked_for(
    clip, monkeypatch
):
    """As of interlaced MPEG-4: it decodes without a word, and the image of no frame is made."""
    log = []
    real = cv2.VideoCapture

    class Unconverted:
        def __init__(self, *how):
            self._capture = real(*how)

        def __getattr__(self, name):
            return getattr(self._capture, name)

        def retrieve(self):
            log.append("Cannot convert")
            return True, np.zeros((24, 32, 3), np.uint8)

    monkeypatch.setattr(cv2, "VideoCapture", Unconverted)
    path = clip(frames=60)
    found = decode_whole(path, lambda: len(log))
    assert (found.frames, found.complaints, found.shown, found.spoilt) == (60, 16, 16, 16)
    monkeypatch.setattr("data.video.decoded", lambda path, status: found)
    with pytest.raises(VideoError, match="complains at 16 of 16 frames"):
        probe(path)


def test_a_film_larger_than_films_are_is_not_decoded(clip, claiming):
    path = clip()
    claiming(cv2.CAP_PROP_FRAME_WIDTH, 100_000_000.0)
    with pytest.raises(VideoError, match="its frames are 100000000 x 24 pixels by its header"):
        probe(path)


def test_a_file_that_is_cut_off_is_used_as_far_as_it_decodes(noisy):
    path, content = noisy
    path.write_bytes(content[:-100])  # of the index
    assert probe(path).frames == 30 and not probe(path).doubts
    path.write_bytes(content[: len(content) // 2])
    assert 12 <= probe(path).frames <= 16
    assert "of the 30 frames that its header promises decode" in probe(path).doubts[0]


def test_a_scene_in_which_nothing_moves_is_still(tmp_path, write_video):
    rng = np.random.default_rng(0)
    room = np.full((20, 120, 160), 120) + rng.normal(0, 4, (20, 120, 160))  # a camera's noise
    assert probe(write_video(tmp_path / "room.avi", room.astype(np.uint8))).still
    room[10:, 50:70, 75:90] = 20
    assert not probe(write_video(tmp_path / "somebody.avi", room.astype(np.uint8))).still


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
    for folder in (tmp_path, "/dev/null"):
        with pytest.raises(VideoError, match="a folder or a device"):
            probe(folder)


def test_names_of_any_kind_are_read(clip):
    for name in ("-dash-.avi", "apo'strophe.avi", "per%cent %d.mp4", "größe.MP4"):
        path = clip(name, frames=6)
        assert probe(path).frames == 6 and len(read_frames(path, [0, 5])) == 2


def test_a_colon_makes_no_address_of_a_name(clip, monkeypatch):
    path = clip("rec12:30.avi", frames=6)
    monkeypatch.chdir(path.parent)
    assert probe(path.name).frames == 6 and len(read_frames(path.name, [0, 5])) == 2


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_name_that_is_not_utf_8_is_read(clip, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.avi")
    try:
        clip(frames=6).rename(path)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
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


def test_frames_are_held_once(tmp_path, write_video):
    """A minute of film in high resolution is gigabytes."""
    path = write_video(tmp_path / "clip.avi", np.zeros((60, 240, 320), np.uint8))
    tracemalloc.start()
    frames = read_frames(path, range(60))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames.nbytes == 60 * 240 * 320 and peak < 1.3 * frames.nbytes


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
