"""Predictions on videos and arrays: the recogniser alone decides what is looked at, and frames keep
their numbers."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from data.video import VideoError
from models.temporal import FrameAverage, VideoClassifier
from utils import predict
from utils.data_setup import ClipTransform, Middle, Uniform, Window
from utils.predict import Recogniser, predict_video, predict_video_with_frame_probs

CLASSES = ("dark", "bright")


class Brightness(nn.Module):
    """Features (N, 2): how dark and how bright a picture is."""

    def forward(self, pictures):
        mean = pictures.flatten(0, -4).mean((1, 2, 3))
        return torch.stack([1 - mean, mean], -1).unflatten(0, pictures.shape[:-3])


class Reader(FrameAverage):
    """A head whose probabilities are the features themselves."""

    def __init__(self):
        super().__init__(in_dim=2, num_classes=2)

    def frame_logits(self, features):
        return features.clamp_min(1e-9).log()


class Movement(nn.Module):
    """Features (N, 2): whether the last channel is brighter than the first."""

    def forward(self, pictures):
        brighter = (pictures[:, 2] - pictures[:, 0]).mean((1, 2)).gt(0).float()
        return torch.stack([1 - brighter, brighter], -1)


def test_motion_as_colour_is_predicted_from_neighbouring_frames():
    model = VideoClassifier(backbone=Movement(), head=Reader()).eval()
    transform = ClipTransform(size=(6, 8), channels=3, gap=1)
    seeing = Recogniser(model, Window(2, 2), transform, CLASSES, 3)
    brightening = greys(*range(0, 200, 10))
    assert predict_video(seeing, brightening).probs["bright"] == pytest.approx(1, abs=1e-4)
    assert predict_video(seeing, brightening[::-1].copy()).probs["dark"] == pytest.approx(
        1, abs=1e-4
    )


def recogniser(sampler=Uniform(4), *, pool="none", span=None):  # noqa: B008
    model = VideoClassifier(backbone=Brightness(), head=Reader()).eval()
    return Recogniser(model, sampler, ClipTransform(size=(6, 8), pool=pool), CLASSES, span)


def greys(*values):
    return np.stack([np.full((12, 16), value, dtype=np.uint8) for value in values])


def test_the_answer_is_the_mean_over_the_frames_that_the_sampler_chose():
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


def test_a_long_video_is_read_in_parts_of_the_length_that_was_trained_on():
    video = greys(*[0] * 30, *[255] * 10)
    prediction = predict_video_with_frame_probs(recogniser(span=10), video)
    assert len(prediction.frames) == 16 and prediction.frames == sorted(prediction.frames)
    assert prediction.probs["bright"] == pytest.approx(0.25, abs=1e-4)
    assert prediction.frame_probs.shape == (16, 2)
    assert prediction.frame_probs[:12, 1].max() < 1e-4 < 0.99 < prediction.frame_probs[12:, 1].min()


def test_parts_of_unequal_length_are_padded_without_changing_the_answer():
    video = greys(*(6 * n for n in range(7)))
    together = predict_video_with_frame_probs(recogniser(Uniform(16), span=2), video)
    spans = predict.parts(0, 7, 2)
    alone = [
        predict_video(recogniser(Uniform(16)), video, start=a, stop=b).probs["bright"]
        for a, b in spans
    ]
    assert len({b - a for a, b in spans}) == 2
    assert together.probs["bright"] == pytest.approx(np.mean(alone), abs=1e-5)
    assert together.frames == list(range(7))


@pytest.mark.parametrize(
    ("start", "stop", "span", "expected"),
    [
        (0, 10, None, [(0, 10)]),
        (0, 14, 10, [(0, 14)]),
        (0, 16, 10, [(0, 8), (8, 16)]),
        (5, 35, 10, [(5, 15), (15, 25), (25, 35)]),
        (0, 3, 10, [(0, 3)]),
    ],
)
def test_parts(start, stop, span, expected):
    assert predict.parts(start, stop, span) == expected


def test_a_pooled_picture_stands_for_each_of_its_frames():
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
    told = json.loads(
        json.dumps(predict_video_with_frame_probs(recogniser(), numbered_video).to_json())
    )
    assert list(told) == ["file", "label", "probs", "frames"]
    assert list(told["probs"]) == list(CLASSES) and sum(told["probs"].values()) == pytest.approx(1)
    assert all(isinstance(frame, int) for frame in told["frames"])


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
    for content in (b"", b"not a video at all", numbered_video.read_bytes()[:3000]):
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
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(VideoError, match="truncated"):
        predict_video(recogniser(), path)


def test_a_recogniser_is_made_of_what_the_checkpoint_says():
    extra = {
        "classes": ["a", "b"],
        "sampler": {"name": "window", "frames": 8, "stride": 3},
        "span": 40,
        "transform": {"size": [6, 8], "pool": "none", "channels": 1},
    }
    model = VideoClassifier(backbone=Brightness(), head=Reader())
    made = Recogniser.from_extra(model.train(), extra)
    assert (
        made.classes == ("a", "b")
        and made.span == 40
        and made.transform == ClipTransform(size=(6, 8))
    )
    assert made.sampler(100).tolist() == [39, 42, 45, 48, 51, 54, 57, 60]
    assert not made.model.training
    with pytest.raises(ValueError, match="sampler, transform"):
        Recogniser.from_extra(model, {"classes": ["a", "b"]})


def test_a_codec_that_opencv_reads_is_not_needed_for_arrays(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: pytest.fail("a file was opened"))
    assert predict_video(recogniser(), greys(9)).label == "dark"


@pytest.mark.parametrize(
    ("start", "stop", "span", "expected"),
    [
        (0, 10, None, [(0, 10)]),
        (3, 11, 8, [(3, 11)]),
        (0, 5, 8, [(0, 5)]),
        (0, 12, 8, [(0, 8), (2, 10), (4, 12)]),
        (0, 13, 8, [(0, 8), (2, 10), (4, 12)]),
    ],
)
def test_windows_slide_by_a_quarter(start, stop, span, expected):
    assert predict.windows(start, stop, span) == expected


def test_windows_move_in_whole_strides_so_that_they_share_frames():
    starts = [a for a, _ in predict.windows(0, 61, 29, 4)]
    assert starts == [0, 8, 16, 24, 32] and all(
        b - a == 29 for a, b in predict.windows(0, 61, 29, 4)
    )


def test_windows_without_movement_have_no_voice():
    still = np.full((4, 20, 20), 100, np.uint8)
    moving = still.copy()
    for step in range(4):
        moving[step, :, 4 * step : 4 * step + 4] = 200
    leaving = moving.copy()
    leaving[2:] = 100
    assert predict.lively([still, moving, leaving, moving]) == [1, 3]
    assert predict.lively([still]) == [0] and predict.lively([still[:1], moving]) == [0, 1]


def test_a_recogniser_of_windows_listens_where_something_moves():
    video = np.full((40, 12, 16), 40, np.uint8)
    for frame in range(20, 40):
        video[frame, :, frame % 16] = 250
    prediction = predict_video(recogniser(Window(4, 2), span=7), video)
    assert prediction.frames == sorted(set(prediction.frames)) and min(prediction.frames) >= 18
