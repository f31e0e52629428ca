"""Videos that are to be predicted: what is taken for one, and what speaks against an answer."""

import numpy as np
import pytest
import torch
from PIL import Image

from utils.footage import Footage


def moving(frames=40, height=60, width=80):
    """A bright bar that goes from left to right."""
    video = np.full((frames, height, width), 40, np.uint8)
    for frame in range(frames):
        video[frame, :, 2 * frame % width :][:, :10] = 220
    return video


def coloured(grey):
    return np.repeat(grey[..., None], 3, -1)


@pytest.mark.parametrize(
    "given",
    [
        lambda grey: torch.from_numpy(grey),
        lambda grey: torch.from_numpy(coloured(grey)),
        list,
        lambda grey: tuple(map(torch.from_numpy, grey)),
        lambda grey: list(coloured(grey)),
        lambda grey: [Image.fromarray(frame) for frame in grey],
    ],
    ids=["tensor", "colour", "list", "tensors", "images", "Pillow"],
)
def test_frames_come_in_many_kinds(given):
    grey = moving(5)
    footage = Footage.of(given(grey), None)
    assert np.array_equal(footage.video, grey) and footage.video.dtype == np.uint8
    assert (footage.name, footage.length, footage.fps, footage.size) == ("array", 5, 25, (60, 80))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 8, 8), r"torch.float32 and shape \(2, 8, 8\); give uint8 .* by 255"),
        (np.zeros((2, 8, 8)), r"float64 and shape \(2, 8, 8\); give uint8 .* by 255"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"\(2, 3, 8, 8\); .*channels to the end"),
        ([np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)], r"\(8, 8\) and \(8, 9\)"),
        ([], "a list is no video; give a file's name, or frames"),
        (None, "a NoneType is no video"),
        (iter([np.zeros((8, 8), np.uint8)]), "is no video"),
    ],
)
def test_what_is_no_video_is_named_with_the_remedy(given, message):
    with pytest.raises(ValueError, match=message):
        Footage.of(given, None)


def doubts(video, fps=None, start=0, stop=None):
    footage = Footage.of(video, fps)
    return footage.doubts(*footage.part(start, stop))


def test_nothing_speaks_against_an_ordinary_video(tmp_path, write_video):
    assert doubts(moving()) == doubts(write_video(tmp_path / "clip.avi", moving())) == ()


@pytest.mark.parametrize("frames", [1, 2, 10, 30])
def test_little_of_a_video_is_doubted(tmp_path, write_video, frames):
    said = doubts(moving(frames))
    assert said[0].startswith(f"it lasts {frames / 25:.2g} seconds, in which hardly an action")
    assert doubts(moving(), start=4, stop=4 + frames)[0] == said[0]
    if frames > 1:
        assert doubts(write_video(tmp_path / "clip.avi", moving(frames)))[0] == said[0]


def test_short_is_a_matter_of_time():
    assert doubts(moving(20), fps=12.5) == () and len(doubts(moving(50), fps=50)) == 1


def test_few_frames_a_second_are_doubted():
    assert doubts(moving(), fps=5) == ()
    assert doubts(moving(), fps=1) == (
        "it has 1 frames a second, between which movements are lost; film with 10 or more",
    )
    assert "6e-09 frames a second" in doubts(moving(), fps=6e-9)[0]  # as a damaged header says


def test_small_images_are_doubted(tmp_path, write_video):
    (said,) = doubts(moving(height=16, width=16))
    assert said == "nobody is to be made out in frames of 16 x 16 pixels"
    path = write_video(tmp_path / "clip.avi", moving(height=16, width=80))
    assert doubts(path) == ("nobody is to be made out in frames of 80 x 16 pixels",)


def test_a_scene_that_rests_is_doubted(tmp_path, write_video):
    photograph = np.repeat(moving()[7:8], 40, 0)
    for video in (photograph, write_video(tmp_path / "clip.avi", photograph)):
        (said,) = doubts(video)
        assert said.startswith("nothing that can be seen moves in it")
    photograph[35:, :30] = 220  # at the very end
    assert doubts(photograph) == ()


def test_damage_of_a_file_is_doubted(tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", moving())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    assert "of the 40 frames that its header promises decode" in doubts(path)[0]
