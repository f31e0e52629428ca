"""Files as cameras, phones and browsers write them, made by ffmpeg where OpenCV cannot."""

import subprocess

import numpy as np
import pytest

from data.steady import steady, steady_rate
from data.video import VideoError, probe, read_frames

FFMPEG = pytest.importorskip("imageio_ffmpeg", reason="`pip install -e .[test]` brings ffmpeg")


@pytest.fixture
def ffmpeg(tmp_path):
    """ffmpeg(name, *options, frames=..., fps=...) -> path: frames (T, H, W) written by ffmpeg, or a
    file of none."""

    def run(name, *options, frames=None, fps=25):
        given = []
        if frames is not None:
            size = f"{frames.shape[2]}x{frames.shape[1]}"
            given = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", size, "-r", str(fps), "-i", "-"]
        path = tmp_path / name
        command = [FFMPEG.get_ffmpeg_exe(), "-v", "error", "-y", *given, *options, str(path)]
        content = b"" if frames is None else frames.tobytes()
        subprocess.run(command, input=content, check=True, timeout=60)
        return path

    return run


def corner(frames=30, height=48, width=64):
    """A dark scene with a bright corner, left above, that grows."""
    video = np.full((frames, height, width), 30, np.uint8)
    for n, frame in enumerate(video):
        frame[: 8 + n % 9, :16] = 220
    return video


def images(path):
    info = probe(path)
    return info, list(steady(path, info, 1280))


@pytest.mark.parametrize(
    ("angle", "size", "bright"),
    [(90, (64, 48), "bottom left"), (180, (48, 64), "bottom right"), (270, (64, 48), "top right")],
)
def test_a_film_that_says_how_it_is_turned_comes_out_the_right_way_up(ffmpeg, angle, size, bright):
    """Each turns the corner on by a quarter, against the clock."""
    flat = ffmpeg("flat.mp4", "-c:v", "mpeg4", "-q:v", "2", frames=corner())
    turned = ffmpeg("turned.mp4", "-display_rotation", str(angle), "-i", str(flat), "-c", "copy")
    info, shown = images(turned)
    assert info.size == size == shown[0].shape[:2] == read_frames(turned, [0])[0].shape
    image = shown[0].mean(-1)
    rows, columns = np.nonzero(image > 150)
    place = "top" if rows.mean() < size[0] / 2 else "bottom"
    place += " left" if columns.mean() < size[1] / 2 else " right"
    assert place == bright


@pytest.mark.parametrize(("ratio", "width"), [("16/15", 68), ("64/45", 91), ("1/2", 32)])
def test_pixels_that_are_not_square_are_squared(ffmpeg, ratio, width):
    path = ffmpeg("wide.mp4", "-c:v", "mpeg4", "-vf", f"setsar={ratio}", frames=corner())
    info, shown = images(path)
    assert info.size == (48, width) == shown[0].shape[:2]
    assert read_frames(path, [3]).shape == (1, 48, width)


def test_pixels_of_a_turned_film_are_squared_the_other_way(ffmpeg):
    flat = ffmpeg("flat.mp4", "-c:v", "mpeg4", "-vf", "setsar=2/1", frames=corner())
    turned = ffmpeg("turned.mp4", "-display_rotation", "90", "-i", str(flat), "-c", "copy")
    info, shown = images(turned)
    assert info.size == (64, 24) == shown[0].shape[:2], "128 x 48 on a screen, then turned"


def test_frames_of_an_uneven_rate_are_taken_by_their_times(ffmpeg):
    """Frames 0.04 s apart, then 0.16: the second half lasts four times as long."""
    video = np.full((40, 48, 64), 20, np.uint8)
    video[20:] = 220
    video[:, :8] += np.arange(40, dtype=np.uint8)[:, None, None]
    slower = "setpts='if(lt(N,20),N,20+4*(N-20))/25/TB'"
    path = ffmpeg(
        "uneven.mp4", "-vf", slower, "-fps_mode", "passthrough", "-c:v", "mpeg4", frames=video
    )
    info, shown = images(path)
    assert info.frames == 40 and info.stamped == info.seconds == pytest.approx(4.0, abs=0.15)
    assert steady_rate(info) == info.rate == pytest.approx(10, rel=0.05)
    dark = sum(image[20:].mean() < 100 for image in shown) / steady_rate(info)
    assert dark == pytest.approx(0.8, abs=0.12) and len(shown) / info.rate == pytest.approx(
        4, abs=0.3
    )


def test_an_even_rate_is_no_uneven_one(ffmpeg):
    for name, fps in (("a.mp4", 30), ("b.mkv", 29.97), ("c.webm", 60)):
        codec = ("-c:v", "libvpx-vp9") if name.endswith("webm") else ("-c:v", "mpeg4")
        info = probe(ffmpeg(name, *codec, frames=corner(), fps=fps))
        assert info.stamped is None and info.fps == pytest.approx(fps, rel=1e-3), name


def test_a_recording_of_a_browser_without_a_duration_is_read_to_its_end(ffmpeg, tmp_path):
    whole = ffmpeg("whole.webm", "-c:v", "libvpx-vp9", "-live", "1", frames=corner())
    info, shown = images(whole)
    assert info.frames == len(shown) == 30 and info.seconds == pytest.approx(1.2, abs=0.1)


def test_what_can_be_seen_through_is_read(ffmpeg):
    path = ffmpeg("alpha.webm", "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", frames=corner())
    info, shown = images(path)
    assert info.frames == 30 and shown[0].shape == (48, 64, 3)


def test_half_pictures_are_read_or_refused_and_never_taken_for_noise(ffmpeg):
    path = ffmpeg(
        "half.avi",
        *("-c:v", "mpeg4", "-flags", "+ilme+ildct", "-q:v", "2"),
        frames=corner(),
    )
    try:
        info, shown = images(path)
    except VideoError as error:
        assert "OpenCV" in str(error)
        return
    assert info.frames == 30
    assert abs(shown[0][:6, 2:14].mean() - 220) < 15 and abs(shown[0][30:].mean() - 30) < 15


def test_music_with_a_picture_of_its_cover_is_no_video(ffmpeg):
    cover = ffmpeg("cover.png", "-frames:v", "1", frames=corner(1))
    music = ffmpeg(
        "music.mp3",
        *("-f", "lavfi", "-i", "sine=duration=1", "-i", str(cover)),
        *("-map", "0", "-map", "1", "-c:v", "copy", "-id3v2_version", "3"),
    )
    with pytest.raises(VideoError, match="a sound file"):
        probe(music)
    song = ffmpeg(
        "song.m4a",
        *("-f", "lavfi", "-i", "sine=duration=1", "-i", str(cover)),
        *("-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic"),
    )
    with pytest.raises(VideoError, match="a sound file|one picture"):
        probe(song)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx", "mpeg2video"])
def test_a_film_that_is_cut_off_is_used_as_far_as_it_goes(ffmpeg, codec):
    noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64), np.uint8)
    path = ffmpeg("film.mkv", "-c:v", codec, frames=noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    info, shown = images(path)
    assert 10 < info.frames < 45 and abs(len(shown) - info.frames) <= 1
