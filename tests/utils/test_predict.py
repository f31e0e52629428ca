"""Predictions on videos and arrays: the recogniser alone decides what is shown, and frames keep
their numbers."""

import dataclasses
import json
import os
import struct
import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from data.video import VideoError
from models.temporal import FrameAverage, VideoClassifier
from tests.stand_ins import AgainstMedian, MeanAndSpread
from utils import predict
from utils.predict import Recogniser, predict_video, predict_video_with_frame_probs
from utils.preprocessing import (
    ClipTransform,
    FixedStride,
    GreyFrames,
    Middle,
    Preprocessing,
    Uniform,
)

CLASSES = ("dark", "bright")
SMALL = ClipTransform(size=(6, 8))


class Brightness(nn.Module):
    """Features (N, 2): how dark and how bright an image is; counts images."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        mean = images.flatten(0, -4).mean((1, 2, 3))
        return torch.stack([1 - mean, mean], -1).unflatten(0, images.shape[:-3])

    def __deepcopy__(self, memo):
        return self  # so that the copy's images are counted here


class Reader(FrameAverage):
    """A head whose probabilities are the features themselves."""

    def __init__(self):
        super().__init__(in_dim=2, num_classes=2)

    def frame_logits(self, features, mask=None):
        return features.clamp_min(1e-9).log()


class Brightening(nn.Module):
    """Features (N, 2): whether the last channel is brighter than the first."""

    def forward(self, images):
        brighter = (images[:, 2] - images[:, 0]).mean((1, 2)).gt(0).float()
        return torch.stack([1 - brighter, brighter], -1)


@dataclasses.dataclass(frozen=True)
class Shares(MeanAndSpread):
    """A reader that gives numbers (T, 2): the mean and the spread of each frame's greys, 0 to 1."""

    def read(self, video, index_lists, found=None):
        return [part / 255 for part in super().read(video, index_lists)]


class ClipModel(nn.Module):
    """A model of whole clips without an encoder: whether they end brighter than they began."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(100.0))
        self.shapes = []

    def forward(self, clips, mask):
        self.shapes.append((tuple(clips.shape), mask.sum(1).tolist()))
        last = mask.sum(1) - 1
        grey = clips.mean((2, 3, 4))
        change = self.scale * (grey[torch.arange(len(clips)), last] - grey[:, 0])
        return torch.stack([-change, change], -1)


def recogniser(sampler=Uniform(4), *, pool="none", frames=None, **changes):  # noqa: B008
    model = VideoClassifier(backbone=Brightness(), head=Reader()).eval()
    shown = Preprocessing(sampler, ClipTransform(size=(6, 8), pool=pool), **changes)
    return Recogniser(model, shown, CLASSES, frames and frames / 25)


def greys(*values):
    return np.stack([np.full((12, 16), value, dtype=np.uint8) for value in values])


def test_the_prediction_is_the_mean_over_the_frames_that_the_sampler_chose():
    prediction = predict_video(recogniser(), greys(0, 51, 102, 204))
    assert prediction.frames == [0, 1, 2, 3]
    assert prediction.probs == pytest.approx({"dark": 0.65, "bright": 0.35}, abs=1e-4)
    assert prediction.label == "dark" and prediction.frame_probs is None


def test_frame_probabilities_belong_to_their_frames():
    video = greys(*(5 * n for n in range(40)))
    prediction = predict_video_with_frame_probs(recogniser(), video)
    assert prediction.frames == list(Uniform(4)(40))
    assert prediction.frame_probs[:, 1] == pytest.approx(
        [5 * f / 255 for f in prediction.frames], abs=1e-4
    )
    assert prediction.probs["bright"] == pytest.approx(
        prediction.frame_probs[:, 1].mean(), abs=1e-4
    )


def test_a_file_is_read_like_an_array(numbered_video):
    of_file = predict_video_with_frame_probs(recogniser(), numbered_video)
    of_array = predict_video_with_frame_probs(recogniser(), greys(*(5 * n for n in range(40))))
    assert of_file.file == str(numbered_video) and of_array.file == "array"
    assert of_file.frames == of_array.frames
    assert np.abs(of_file.frame_probs - of_array.frame_probs).max() < 0.02  # the codec's loss


def test_start_and_stop_choose_a_part_and_keep_the_files_numbers(numbered_video):
    prediction = predict_video_with_frame_probs(recogniser(), numbered_video, start=20, stop=28)
    assert prediction.frames == [21, 23, 25, 27]
    assert prediction.frame_probs[:, 1] == pytest.approx(
        [5 * f / 255 for f in prediction.frames], abs=0.02
    )


def test_a_long_video_is_read_in_pieces_of_the_length_that_was_trained_on():
    video = greys(*[0] * 30, *[255] * 10)
    prediction = predict_video_with_frame_probs(recogniser(frames=10), video)
    assert len(prediction.frames) == 16 and prediction.frames == sorted(prediction.frames)
    assert prediction.probs["bright"] == pytest.approx(0.25, abs=1e-4)
    assert prediction.frame_probs.shape == (16, 2)
    assert prediction.frame_probs[:12, 1].max() < 1e-4 < 0.99 < prediction.frame_probs[12:, 1].min()


def test_pieces_of_unequal_length_are_padded_without_changing_the_prediction():
    video = greys(*(6 * n for n in range(7)))
    together = predict_video_with_frame_probs(recogniser(Uniform(16), frames=2), video)
    pieces = predict.pieces(0, 7, 2)
    alone = [
        predict_video(recogniser(Uniform(16)), video, start=a, stop=b).probs["bright"]
        for a, b in pieces
    ]
    assert len({b - a for a, b in pieces}) == 2
    assert together.probs["bright"] == pytest.approx(np.mean(alone), abs=1e-5)
    assert together.frames == list(range(7))


@pytest.mark.parametrize(
    ("start", "stop", "length", "expected"),
    [
        (0, 14, 10, [(0, 14)]),
        (0, 16, 10, [(0, 8), (8, 16)]),
        (5, 35, 10, [(5, 15), (15, 25), (25, 35)]),
        (0, 3, 10, [(0, 3)]),
    ],
)
def test_pieces(start, stop, length, expected):
    assert predict.pieces(start, stop, length) == expected


@pytest.mark.parametrize("sampler", [Uniform(4), FixedStride(4, 0.04)])
def test_without_a_clip_length_a_video_is_one_piece(sampler):
    frames = predict_video(recogniser(sampler), greys(*range(100))).frames
    assert frames == sampler(100).tolist()


def test_an_averaged_image_stands_for_each_of_its_frames():
    prediction = predict_video_with_frame_probs(recogniser(pool="mean"), greys(0, 51, 102, 204))
    assert prediction.frame_probs.shape == (4, 2)
    assert prediction.frame_probs[:, 1] == pytest.approx([0.35] * 4, abs=1e-4)


def test_a_single_frame_is_enough():
    assert predict_video(recogniser(Middle()), greys(200)).frames == [0]


def test_colour_is_read_as_grey():
    grey = greys(30, 90, 150, 210)
    colour = np.repeat(grey[..., None], 3, axis=-1)
    assert predict_video(recogniser(), colour).probs == predict_video(recogniser(), grey).probs
    red = np.zeros_like(colour)
    red[..., 0] = 255  # RGB: red is 0.299 of the brightness
    assert predict_video(recogniser(), red).probs["bright"] == pytest.approx(0.299, abs=0.01)


def test_the_json_is_plain_and_has_exactly_its_keys(numbered_video):
    described = json.loads(
        json.dumps(predict_video_with_frame_probs(recogniser(), numbered_video).to_json())
    )
    assert list(described) == ["file", "label", "probs", "frames", "doubts"]
    assert described["doubts"] == ["nobody is to be made out in frames of 48 x 32 pixels"]
    assert list(described["probs"]) == list(CLASSES) and sum(
        described["probs"].values()
    ) == pytest.approx(1)
    assert all(isinstance(frame, int) for frame in described["frames"])


@pytest.mark.parametrize(
    "video",
    [
        np.zeros((4, 12, 16)),
        np.zeros((12, 16), np.uint8),
        np.zeros((0, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 4), np.uint8),
    ],
)
def test_what_is_no_video_is_named_with_its_shape(video):
    with pytest.raises(ValueError, match=str(video.dtype)):
        predict_video(recogniser(), video)


@pytest.mark.parametrize(("start", "stop"), [(3, 3), (-1, 2), (0, 5)])
def test_frames_that_are_not_there_are_refused(start, stop):
    with pytest.raises(ValueError, match="array has 4 frames"):
        predict_video(recogniser(), greys(1, 2, 3, 4), start=start, stop=stop)


def test_a_broken_file_asked_for_by_name_is_an_error(tmp_path, numbered_video):
    broken = tmp_path / "person01_boxing_d1.avi"
    for content in (b"", b"not a video at all", numbered_video.read_bytes()[:90]):
        broken.write_bytes(content)
        with pytest.raises(VideoError, match="person01_boxing_d1"):
            predict_video(recogniser(), broken)
    with pytest.raises(VideoError, match="nowhere"):
        predict_video(recogniser(), tmp_path / "nowhere.avi")


def test_no_name_of_a_file_is_special(tmp_path):
    path = tmp_path / "person01_boxing_d4.avi"
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (16, 16), isColor=False
    )
    for _ in range(310):
        writer.write(np.zeros((16, 16), np.uint8))
    writer.release()
    assert predict_video(recogniser(Uniform(310)), path).frames == list(range(310))
    path.write_bytes(path.read_bytes()[:-100])  # of its index
    assert predict_video(recogniser(Uniform(310)), path).frames == list(range(310))


def test_a_file_is_as_long_as_it_decodes_and_no_longer(tmp_path, numbered_video):
    """Its header decides neither which frames are asked for nor how much memory that takes."""
    content = bytearray(numbered_video.read_bytes())
    for header, offset in ((b"avih", 24), (b"strh", 40)):
        place = content.index(header) + offset
        content[place : place + 4] = struct.pack("<I", 2**31)
    path = tmp_path / "long.avi"
    path.write_bytes(content)
    found = predict_video(recogniser(Uniform(4), frames=10), path)
    assert len(found.frames) == 16 and max(found.frames) < 40
    assert "40 of the 2147483648 frames" in found.doubts[0]


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_file_whose_name_is_not_utf_8_is_named_in_letters(tmp_path, numbered_video):
    path = tmp_path / os.fsdecode(b"caf\xe9.avi")
    try:
        path.write_bytes(numbered_video.read_bytes())
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    found = predict_video(recogniser(), path)
    assert found.file == f"{tmp_path}/caf\\xe9.avi" and found.file.encode()
    assert found.frames == predict_video(recogniser(), numbered_video).frames


def test_a_codec_that_opencv_reads_is_not_needed_for_arrays(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("a file was opened"))
    assert predict_video(recogniser(), greys(9)).label == "dark"


# sliding clips and motion gating


@pytest.mark.parametrize(
    ("start", "stop", "length", "expected"),
    [
        (3, 11, 8, [(3, 11)]),
        (0, 5, 8, [(0, 5)]),
        (0, 12, 8, [(0, 8), (2, 10), (4, 12)]),
        (0, 13, 8, [(0, 8), (2, 10), (4, 12)]),
        (0, 3, 1, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_clips_slide_by_a_quarter(start, stop, length, expected):
    assert predict.sliding(start, stop, length) == expected


def test_clips_move_in_whole_strides_so_that_they_share_frames():
    clips = predict.sliding(0, 61, 29, 4)
    assert [a for a, _ in clips] == [0, 8, 16, 24, 32] and all(b - a == 29 for a, b in clips)


def test_clips_without_motion_are_not_kept():
    still = np.full((4, 20, 20), 100, np.uint8)
    moving = still.copy()
    for step in range(4):
        moving[step, :, 4 * step : 4 * step + 4] = 200
    leaving = moving.copy()
    leaving[2:] = 100
    assert predict.motion_gate([still, moving, leaving, moving]) == [1, 3]
    assert predict.motion_gate([still]) == [0]
    assert predict.motion_gate([still[:1], moving]) == [0, 1]


def passing(frames=40):
    """An empty scene, and in its second half something that moves."""
    video = np.full((frames, 12, 16), 40, np.uint8)
    for frame in range(frames // 2, frames):
        video[frame, :, frame % 16] = 250
    return video


def test_a_sliding_clip_is_kept_where_something_moves():
    found = predict_video(recogniser(FixedStride(4, 0.08), frames=7), passing())
    assert found.frames == sorted(set(found.frames)) and min(found.frames) >= 18
    even = predict_video(recogniser(Uniform(4), frames=7), passing())  # pieces are all kept
    assert min(even.frames) < 7


@pytest.fixture
def counted():
    """A reader of grey frames, and the lists of frames that it has read."""
    reads = []

    @dataclasses.dataclass(frozen=True)
    class Counted(GreyFrames):
        def read(self, video, index_lists, found=None):
            reads.extend(indices.tolist() for indices in index_lists)
            return super().read(video, index_lists)

    return Counted(), reads


def test_overlapping_clips_read_and_encode_each_frame_once(counted):
    reader, reads = counted
    one = recogniser(FixedStride(4, 0.08), frames=7, reader=reader)
    video = passing(24)
    found = predict_video_with_frame_probs(one, video)
    sampled = {a + step for a in range(0, 18, 2) for step in (0, 2, 4, 6)}
    assert reads == [sorted(sampled)]
    assert sum(one.model.backbone.seen) == len(found.frames) == len(set(found.frames)) < 12
    means = video[found.frames].mean((1, 2)) / 255
    assert found.frame_probs[:, 1] == pytest.approx(means, abs=1e-5)


def test_stacks_read_their_neighbours_once(counted):
    reader, reads = counted
    shown = Preprocessing(FixedStride(2, 0.08), SMALL, frame_offset=0.04, reader=reader)
    model = VideoClassifier(backbone=Brightening(), head=Reader()).eval()
    found = predict_video(Recogniser(model, shown, CLASSES, 0.12), greys(*range(0, 90, 10)))
    assert reads == [list(range(9))] and found.frames == [0, 2, 4, 6, 8] and found.label == "bright"


# other frame rates, readers and models


def test_stacked_greyscale_is_predicted_from_neighbouring_frames():
    model = VideoClassifier(backbone=Brightening(), head=Reader()).eval()
    shown = Preprocessing(FixedStride(2, 0.08), SMALL, frame_offset=0.04)
    stacking = Recogniser(model, shown, CLASSES, 3 / 25)
    up = greys(*range(0, 200, 10))
    assert predict_video(stacking, up).probs["bright"] == pytest.approx(1, abs=1e-4)
    assert predict_video(stacking, up[::-1].copy()).probs["dark"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("fps", "frames"), [(25, [14, 18, 22, 26]), (50, [8, 16, 24, 32])])
def test_a_file_is_read_at_its_own_frame_rate(tmp_path, write_video, fps, frames):
    path = write_video(tmp_path / "clip.avi", greys(*(5 * n for n in range(41))), fps=fps)
    strided = recogniser(FixedStride(4, 0.16))
    assert predict_video(strided, path).frames == frames
    assert predict_video(strided, path, fps=50).frames == [8, 16, 24, 32]
    assert predict_video(strided, greys(*range(41)), fps=fps).frames == frames
    assert predict_video(strided, greys(*range(41))).frames == [14, 18, 22, 26]


def test_pieces_and_sliding_clips_are_as_long_at_every_frame_rate():
    slow, fast = passing(80)[::2].copy(), passing(80)
    for sampler in (FixedStride(4, 0.08), Uniform(4)):
        one = recogniser(sampler, frames=8)
        usual, twice = predict_video(one, slow), predict_video(one, fast, fps=50)
        assert len(twice.frames) == pytest.approx(len(usual.frames), abs=4)
        assert twice.frames[0] / 50 == pytest.approx(usual.frames[0] / 25, abs=0.08)
        assert twice.frames[-1] / 50 == pytest.approx(usual.frames[-1] / 25, abs=0.08)


@pytest.mark.parametrize("fps", [0, -25, float("nan")])
def test_an_impossible_frame_rate_is_refused(fps):
    with pytest.raises(ValueError, match=f"fps is {fps}; it takes frames a second, above 0"):
        predict_video(recogniser(), greys(1, 2), fps=fps)


def test_a_model_of_whole_clips_needs_no_encoder():
    model = ClipModel().eval()
    one = Recogniser(model, Preprocessing(Uniform(4), SMALL), CLASSES, 10 / 25)
    found = predict_video_with_frame_probs(one, greys(*range(0, 60, 2)))
    assert found.label == "bright" and len(found.frames) == 12
    assert model.shapes == [((3, 4, 1, 6, 8), [4, 4, 4])]
    # one prediction for all frames of a clip
    assert found.frame_probs.shape == (12, 2)
    assert found.frame_probs[:, 1] == pytest.approx([found.probs["bright"]] * 12, abs=1e-3)
    assert predict_video(one, greys(*range(60, 0, -2))).label == "dark"


def test_a_model_of_whole_clips_takes_short_ones_padded():
    model = ClipModel().eval()
    one = Recogniser(model, Preprocessing(Uniform(16), SMALL), CLASSES, 2 / 25)
    found = predict_video_with_frame_probs(one, greys(*range(7)))
    assert model.shapes == [((4, 2, 1, 6, 8), [2, 2, 1, 2])]
    assert found.frame_probs.shape == (7, 2)


def test_a_head_alone_predicts_from_numbers(numbered_video):
    """A head on joints, say: numbers (T, D) are its input as they are."""

    class Numbers(Reader):
        def frame_logits(self, features, mask=None):
            mean = features[..., :1]
            return super().frame_logits(torch.cat([1 - mean, mean], -1), mask)

    for sampler in (Uniform(4), FixedStride(4, 0.4)):
        shown = Preprocessing(sampler, reader=Shares())
        one = Recogniser(Numbers().eval(), shown, CLASSES, None)
        frames = sampler(40).tolist()
        for video in (numbered_video, greys(*(5 * n for n in range(40)))):
            found = predict_video_with_frame_probs(one, video)
            assert found.frames == frames
            expected = [5 * n / 255 for n in frames]
            assert found.frame_probs[:, 1] == pytest.approx(expected, abs=0.02)
            assert found.probs["bright"] == pytest.approx(np.mean(expected), abs=0.02)


def test_numbers_are_not_gated_by_motion():
    shown = Preprocessing(FixedStride(4, 0.08), reader=Shares())
    found = predict_video(Recogniser(Reader().eval(), shown, CLASSES, 7 / 25), passing())
    assert found.frames[0] == 0


def test_a_reader_looks_at_a_whole_video_once(numbered_video):
    looked = []

    @dataclasses.dataclass(frozen=True)
    class Counted(AgainstMedian):
        def look(self, video, fps=None):
            looked.append((video, fps))
            return super().look(video, fps)

    one = recogniser(Uniform(4), frames=10, reader=Counted())
    array = greys(*(5 * n for n in range(40)))
    for video in (numbered_video, array):
        found = predict_video_with_frame_probs(one, video, start=10, stop=30)
        against = [abs(5 * n - 97.5) / 255 for n in found.frames]
        assert found.frame_probs[:, 1] == pytest.approx(against, abs=0.02)
    # at the file's own rate, and at KTH's for an array, of which all frames are looked at
    assert looked[0] == (numbered_video, 25) and len(looked) == 2
    assert np.array_equal(looked[1][0], array) and looked[1][1] == 25
    predict_video(one, array, fps=50)
    assert len(looked) == 3 and looked[2][1] == 50


def test_a_long_clip_is_encoded_in_batches_of_the_encoder():
    """The encoder is the one features are computed with, and made once."""
    one = recogniser(Uniform(100))
    first, again = (predict_video(one, greys(*range(100))) for _ in range(2))
    assert first.probs == again.probs and sum(one.model.backbone.seen) == 200
    assert one.encoder is one.encoder and max(one.model.backbone.seen) < 100


def test_the_motion_of_overlapping_clips_is_measured_without_holding_them_all():
    """Of half a minute of film in high resolution they are gigabytes."""
    frames = np.random.default_rng(0).integers(0, 256, (40, 64, 64), np.uint8)
    read = predict._ByFrame(np.arange(40), frames)
    clips = [np.arange(start, start + 8) for start in range(32)]
    tracemalloc.start()
    assert len(predict._moving(clips, read)) == 32
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * frames[:8].nbytes  # 32 clips, and what measuring one takes
