"""Samplers to the exact index, stacks inside their segment, frames to the exact image, and a
preprocessing that survives being written down."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from data.kth import FPS, Segment, Video
from tests.stand_ins import AgainstMedian, MeanAndSpread
from utils.preprocessing import (
    ClipTransform,
    FixedStride,
    GreyFrames,
    Jittered,
    Middle,
    Preprocessing,
    RandomFixedStride,
    Uniform,
)

EVERY_SAMPLER = [
    Middle(),
    Uniform(frames=5),
    Jittered(frames=5),
    FixedStride(frames=5, seconds=3 / 25),
    RandomFixedStride(frames=5, seconds=3 / 25),
]
RATES = [12.5, 30, 50, 60]
EVEN_SECONDS = st.integers(1, 30).map(lambda half: 2 * half)  # whole frames at every rate


# samplers


@pytest.mark.parametrize(
    "sampler, length, expected",
    [
        (Middle(), 1, [0]),
        (Middle(), 2, [1]),
        (Middle(), 95, [47]),
        (Uniform(frames=4), 8, [1, 3, 5, 7]),
        (Uniform(frames=4), 10, [1, 3, 6, 8]),
        (Uniform(frames=4), 5, [0, 1, 3, 4]),
        (Uniform(frames=4), 4, [0, 1, 2, 3]),
        (Uniform(frames=4), 3, [0, 1, 2]),
        (Uniform(frames=16), 95, [2, 8, 14, 20, 26, 32, 38, 44, 50, 56, 62, 68, 74, 80, 86, 92]),
        (Uniform(frames=16), 24, [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23]),
        (FixedStride(frames=4, seconds=0.08), 7, [0, 2, 4, 6]),
        (FixedStride(frames=4, seconds=0.08), 10, [1, 3, 5, 7]),
        (FixedStride(frames=4, seconds=0.08), 6, [0, 2, 4]),
        (FixedStride(frames=4, seconds=0.08), 1, [0]),
        (FixedStride(frames=3, seconds=0.04), 9, [3, 4, 5]),
        (FixedStride(frames=8, seconds=0.16), 29, [0, 4, 8, 12, 16, 20, 24, 28]),
    ],
)
def test_exact_indices(sampler, length, expected):
    indices = sampler(length)
    assert indices.tolist() == expected and indices.dtype == np.int64


@given(
    sampler=st.sampled_from(EVERY_SAMPLER),
    length=st.integers(1, 400),
    fps=st.sampled_from([FPS, *RATES]),
    seed=st.integers(0, 1000),
)
def test_indices_ascend_within_the_segment_and_repeat_with_the_seed(sampler, length, fps, seed):
    indices = sampler(length, fps, np.random.default_rng(seed))
    assert 1 <= len(indices) <= 5 and indices.dtype == np.int64
    assert indices[0] >= 0 and indices[-1] < length and (np.diff(indices) > 0).all()
    assert indices.tolist() == sampler(length, fps, np.random.default_rng(seed)).tolist()


@given(frames=st.integers(1, 20), length=st.integers(1, 300), seed=st.integers(0, 1000))
def test_jittered_takes_one_frame_of_each_part(frames, length, seed):
    indices = Jittered(frames=frames)(length, rng=np.random.default_rng(seed))
    if length <= frames:
        assert indices.tolist() == list(range(length))
    else:
        edges = [part * length // frames for part in range(frames + 1)]
        assert all(
            low <= index < high
            for low, index, high in zip(edges[:-1], indices, edges[1:], strict=True)
        )


def test_random_strides_reach_both_ends():
    sampler = RandomFixedStride(frames=3, seconds=0.08)
    starts = {int(sampler(8, rng=np.random.default_rng(seed))[0]) for seed in range(60)}
    assert starts == {0, 1, 2, 3}


@given(
    frames=st.integers(1, 40),
    stride=st.integers(1, 60),
    length=st.integers(1, 2000),
    seed=st.integers(0, 1000),
)
def test_at_kths_frame_rate_a_stride_in_seconds_is_integer_arithmetic(frames, stride, length, seed):
    count = min(frames, (length - 1) // stride + 1)
    last = (count - 1) * stride
    offsets = np.arange(count) * stride
    found = FixedStride(frames, stride / 25)
    assert found(length).tolist() == ((length - 1 - last) // 2 + offsets).tolist()
    assert found.clip_length(FPS) == (frames - 1) * stride + 1
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    drawn = RandomFixedStride(frames, stride / 25)(length, rng=ours)
    assert drawn.tolist() == (theirs.integers(length - last) + offsets).tolist()
    assert ours.bit_generator.state == theirs.bit_generator.state


def moments(indices, fps):
    """The seconds in the middle of each frame."""
    return (indices + 0.5) / fps


@given(
    frames=st.integers(1, 16),
    stride=st.integers(1, 12),
    seconds=EVEN_SECONDS,
    fps=st.sampled_from(RATES),
)
def test_a_stride_is_the_same_moments_at_every_frame_rate(frames, stride, seconds, fps):
    """Half a frame of the slower rate for the centre, and three quarters for rounding moments."""
    sampler = FixedStride(frames, stride / 25)
    assume(seconds * 25 > (frames - 1) * stride + 1)
    usual = moments(sampler(seconds * 25), 25)
    found = moments(sampler(round(seconds * fps), fps), fps)
    assert len(found) == len(usual) == frames
    assert np.abs(found - usual).max() <= 0.5 / min(fps, 25) + 0.75 / fps + 1e-9
    exact = np.arange(frames) * stride / 25
    assert np.abs((found - found[0]) - exact).max() <= 0.5 / fps + 1e-9


@given(
    sampler=st.sampled_from([Middle(), Uniform(4), Uniform(8)]),
    seconds=EVEN_SECONDS,
    fps=st.sampled_from(RATES),
)
def test_even_samplers_take_the_same_moments_at_every_frame_rate(sampler, seconds, fps):
    usual = moments(sampler(seconds * 25), 25)
    found = moments(sampler(round(seconds * fps), fps), fps)
    assert np.abs(found - usual).max() <= 0.5 / 25 + 0.5 / fps + 1e-9


def test_twice_the_frame_rate_is_twice_the_stride():
    sampler = FixedStride(8, 0.16)
    assert sampler.offsets(25).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert sampler.offsets(50).tolist() == [0, 8, 16, 24, 32, 40, 48, 56]
    assert sampler.offsets(12.5).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert sampler.offsets(30).tolist() == [0, 5, 10, 14, 19, 24, 29, 34]
    assert [sampler.clip_length(fps) for fps in (12.5, 25, 30, 50)] == [15, 29, 35, 57]


def test_a_video_slower_than_the_stride_shows_frames_twice():
    assert FixedStride(4, 0.16)(50, 4).tolist() == [23, 24, 24, 25]
    with pytest.raises(ValueError, match="a frame rate of 0 frames a second"):
        FixedStride()(50, 0)
    with pytest.raises(ValueError, match="a frame rate of nan"):
        FixedStride()(50, float("nan"))


@pytest.mark.parametrize("sampler", [Jittered(), RandomFixedStride()])
def test_random_samplers_do_not_work_without_an_rng(sampler):
    with pytest.raises(ValueError, match="got no rng; evaluation takes Uniform or FixedStride"):
        sampler(50)


@pytest.mark.parametrize("sampler", EVERY_SAMPLER)
def test_no_sampler_reads_from_nothing(sampler):
    with pytest.raises(ValueError, match="cannot sample from 0 frames"):
        sampler(0, rng=np.random.default_rng(0))


def test_counterparts_for_training_sample_as_much():
    assert Uniform(5).random() == Jittered(5)
    assert FixedStride(5, 0.12).random() == RandomFixedStride(5, 0.12)


def test_impossible_samplers():
    with pytest.raises(ValueError, match="Uniform: frames is 0; it must be above 0"):
        Uniform(frames=0)
    with pytest.raises(ValueError, match="Jittered: frames is -1"):
        Jittered(frames=-1)
    with pytest.raises(ValueError, match="FixedStride: seconds is 0"):
        FixedStride(seconds=0)


# clips


def test_a_clip_is_floats_between_zero_and_one():
    greys = np.array([0, 51, 255], dtype=np.uint8)
    clip = ClipTransform(size=(96, 128))(greys[:, None, None] * np.ones((1, 96, 128), np.uint8))
    assert clip.shape == (3, 1, 96, 128) and clip.dtype == torch.float32
    assert torch.allclose(clip[:, 0, 0, 0], torch.tensor([0.0, 0.2, 1.0]))


def test_the_ghost_is_the_mean_frame():
    frames = np.random.default_rng(0).integers(0, 256, (16, 24, 32), dtype=np.uint8)
    ghost = ClipTransform(size=(24, 32), pool="mean")(frames)
    assert ghost.shape == (1, 1, 24, 32)
    assert np.allclose(ghost[0, 0].numpy(), frames.mean(0) / 255, atol=1e-6)


def test_shrinking_averages_areas():
    frames = np.zeros((1, 4, 4), dtype=np.uint8)
    frames[0, 0, 0] = 255
    clip = ClipTransform(size=(2, 2))(frames)
    assert torch.allclose(clip[0, 0], torch.tensor([[0.25, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("height, width", [(60, 60), (60, 107), (90, 60), (24, 32), (240, 426)])
def test_other_shapes_are_padded_not_squeezed(height, width):
    """A square stays a square, and the padding repeats the border."""
    frames = np.full((1, height, width), 100, dtype=np.uint8)
    side = min(height, width) // 2
    top, left = (height - side) // 2, (width - side) // 2
    frames[0, top : top + side, left : left + side] = 255
    clip = ClipTransform(size=(96, 128))(frames)[0, 0]
    square = clip > 0.7
    tall, wide = int(square.any(1).sum()), int(square.any(0).sum())
    assert abs(tall - wide) <= 2
    assert torch.allclose(clip[[0, 0, -1, -1], [0, -1, 0, -1]], torch.tensor(100 / 255), atol=1e-6)


def test_frames_of_kths_shape_are_not_padded():
    frames = np.zeros((1, 120, 160), dtype=np.uint8)
    frames[0, :, 0] = frames[0, :, -1] = 255
    clip = ClipTransform(size=(120, 160))(frames)[0, 0]
    assert torch.equal(clip * 255, torch.from_numpy(frames[0]).float())


def test_three_channels_repeat_the_grey():
    clip = ClipTransform(size=(8, 8), channels=3)(np.arange(64, dtype=np.uint8).reshape(1, 8, 8))
    assert clip.shape == (1, 3, 8, 8) and torch.equal(clip[:, 0], clip[:, 2])


@given(steps=st.integers(1, 4), height=st.integers(8, 60), width=st.integers(8, 60))
def test_stacks_are_consecutive_frames_as_channels(steps, height, width):
    """To the bit: 3 T frames, each padded, resized and scaled alone, three of them an image."""
    tall, wide = 24, 32
    frames = np.random.default_rng(height).integers(0, 256, (3 * steps, height, width), np.uint8)
    down = max(0, round(width * tall / wide) - height)
    across = max(0, round(height * wide / tall) - width)
    shrinks = height + down >= tall and width + across >= wide
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    expected = np.empty((3 * steps, tall, wide), np.float32)
    for place, frame in zip(expected, frames, strict=True):
        edges = ((down // 2, down - down // 2), (across // 2, across - across // 2))
        padded = np.pad(frame.astype(np.float32), edges, mode="edge")
        place[:] = cv2.resize(padded, (wide, tall), interpolation=how)
    expected *= 1 / 255
    clip = ClipTransform(size=(tall, wide))(frames.reshape(steps, 3, height, width))
    assert np.array_equal(clip.numpy(), expected.reshape(steps, 3, tall, wide))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pool": "max"}, "pool is 'max'"),
        ({"channels": 2}, "channels is 2"),
        ({"size": (0, 4)}, "size is"),
        ({"size": (4, 4, 4)}, "size is"),
    ],
)
def test_impossible_transforms(settings, message):
    with pytest.raises(ValueError, match=message):
        ClipTransform(**settings)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 4, 4)),
        np.zeros((4, 4), np.uint8),
        np.zeros((0, 4, 4), np.uint8),
        np.zeros((2, 2, 4, 4), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((2, 3, 3, 4, 4), np.uint8),
    ],
)
def test_the_transform_takes_grey_bytes_only(frames):
    with pytest.raises(ValueError, match=r"takes grey frames \(T, H, W\), or stacks .* uint8"):
        ClipTransform()(frames)


# preprocessing: frames and stacks


@given(
    sampler=st.sampled_from(EVERY_SAMPLER),
    offset=st.floats(0.001, 1),
    start=st.integers(0, 300),
    length=st.integers(1, 200),
    fps=st.sampled_from([FPS, *RATES]),
    seed=st.integers(0, 100),
)
def test_stacks_stay_inside_around_the_sampled_frame(sampler, offset, start, length, fps, seed):
    plain, stacked = Preprocessing(sampler), Preprocessing(sampler, frame_offset=offset)
    chosen = plain.frames(start, start + length, fps, np.random.default_rng(seed))
    stacks = stacked.frames(start, start + length, fps, np.random.default_rng(seed))
    assert chosen.shape == (len(chosen),) and stacks.shape == (len(chosen), 3)
    assert chosen.tolist() == stacks[:, 1].tolist() and stacks.dtype == np.int64
    assert stacks.min() >= start and stacks.max() < start + length
    step = max(1, round(offset * fps))
    inside = (chosen - step >= start) & (chosen + step < start + length)
    assert (np.diff(stacks[inside], axis=1) == step).all()
    assert stacked.frames_out(stacks) == plain.frames_out(chosen) == len(chosen)


def test_stacked_greyscale_shows_three_frames_in_one_image():
    shown = Preprocessing(Middle(), ClipTransform(size=(8, 8)), frame_offset=0.08)
    stacks = shown.stacked(np.array([10, 14, 19]), 10, 20, 25)
    assert stacks.tolist() == [[10, 10, 12], [12, 14, 16], [17, 19, 19]]  # inside the segment
    assert shown.stacked(np.array([14]), 0, 99, 50).tolist() == [[10, 14, 18]]
    assert shown.stacked(np.array([14]), 0, 99, 12.5).tolist() == [[13, 14, 15]]
    clip = shown.transformed(stacks[..., None, None].repeat(8, 2).repeat(8, 3).astype(np.uint8))
    assert clip.shape == (3, 3, 8, 8) and shown.channels == 3
    assert (255 * clip[:, :, 0, 0]).round().tolist() == [[10, 10, 12], [12, 14, 16], [17, 19, 19]]
    assert Preprocessing(Middle()).stacked(np.array([1, 2]), 0, 9, 25).tolist() == [1, 2]


def test_channels_and_steps_of_a_clip():
    assert Preprocessing(Middle()).channels == 1
    assert Preprocessing(Middle(), ClipTransform(channels=3)).channels == 3
    ghost = Preprocessing(Uniform(8), ClipTransform(pool="mean"))
    assert ghost.frames_out(ghost.frames(0, 50)) == 1


@pytest.mark.parametrize("offset, pool", [(-0.04, "none"), (0.08, "mean")])
def test_impossible_stacks(offset, pool):
    with pytest.raises(ValueError, match=f"frame_offset is {offset} with pool '{pool}'"):
        Preprocessing(Middle(), ClipTransform(pool=pool), frame_offset=offset)


def test_another_size_changes_nothing_else():
    shown = Preprocessing(Uniform(4), ClipTransform(channels=3), reader=AgainstMedian(2))
    resized = shown.resized((48, 64))
    assert resized.transform == ClipTransform(size=(48, 64), channels=3)
    assert dataclasses.replace(resized, transform=shown.transform) == shown


# preprocessing: reading


def segment_of(path, start, stop, fps=25.0):
    return Segment(Video(path, "boxing", 1, 1, fps, ("boxing",)), 0, start, stop)


def numbers(clip):
    """Which frame of the numbered video each image shows."""
    return (clip.mean((-2, -1)) * 51).round().int().tolist()


def test_a_clip_is_read_from_its_segment(numbered_video):
    shown = Preprocessing(Uniform(4), ClipTransform(size=(32, 48)))
    clip = shown.clip(segment_of(numbered_video, 20, 36))
    assert clip.shape == (4, 1, 32, 48) and numbers(clip[:, 0]) == [22, 26, 30, 34]


def test_a_clip_of_stacks_is_read_from_its_segment(numbered_video):
    shown = Preprocessing(FixedStride(2, 0.36), ClipTransform(size=(4, 4)), frame_offset=0.12)
    assert numbers(shown.clip(segment_of(numbered_video, 10, 20))) == [[10, 10, 13], [16, 19, 19]]


def test_the_frame_rate_of_the_file_decides_the_stride(numbered_video):
    shown = Preprocessing(FixedStride(3, 0.16), ClipTransform(size=(4, 4)))
    assert numbers(shown.clip(segment_of(numbered_video, 0, 40))[:, 0]) == [15, 19, 23]
    assert numbers(shown.clip(segment_of(numbered_video, 0, 40, 50.0))[:, 0]) == [11, 19, 27]
    assert numbers(shown.clip(segment_of(numbered_video, 0, 40, 12.5))[:, 0]) == [17, 19, 21]


def test_several_clips_of_a_file_share_one_pass(numbered_video, monkeypatch):
    opened = []
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *how: opened.append(how) or real(*how))
    shown = Preprocessing(Middle(), ClipTransform(size=(4, 4)))
    stacks = np.array([[3, 5, 7], [4, 6, 8]])
    clips = shown.clips(numbered_video, [np.array([9, 2]), stacks])
    assert numbers(clips[0][:, 0]) == [9, 2] and numbers(clips[1]) == stacks.tolist()
    assert len(opened) == 1


def test_a_reader_looks_at_the_whole_file_unless_it_has(numbered_video):
    """The greys are 5 times the frame's number, the median that of 19.5."""
    shown = Preprocessing(FixedStride(3, 0.4), ClipTransform(size=(4, 4)), reader=AgainstMedian(2))
    segment = segment_of(numbered_video, 0, 40)
    expected = [2 * abs(5 * frame - 97.5) for frame in (9, 19, 29)]
    looked = shown.clip(segment)
    assert (255 * looked.mean((1, 2, 3))).tolist() == pytest.approx(expected, abs=4)
    against_black = shown.clip(segment, found={"median": np.zeros((32, 48))})
    assert (255 * against_black.mean((1, 2, 3)))[0].item() == pytest.approx(90, abs=4)
    found = shown.reader.look(numbered_video)
    assert torch.equal(shown.clip(segment, found=found), looked)
    both = shown.clips(numbered_video, [np.array([9, 19, 29]), np.array([19])], found)
    assert torch.equal(both[0], looked) and torch.equal(both[1], looked[1:2])


def test_a_reader_may_give_numbers(numbered_video):
    shown = Preprocessing(Uniform(4), reader=MeanAndSpread())
    clip = shown.clip(segment_of(numbered_video, 0, 40))
    assert clip.shape == (4, 2) and clip.dtype == torch.float32
    assert clip[:, 0].tolist() == pytest.approx([25, 75, 125, 175], abs=3)
    assert clip[:, 1].abs().max() < 3


# preprocessing: written down


def described(sampler):
    settings = dataclasses.asdict(sampler)
    return " ".join([type(sampler).__name__, *map(str, settings.values())])


@pytest.mark.parametrize("sampler", EVERY_SAMPLER, ids=described)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"transform": ClipTransform(size=(48, 64), pool="mean", channels=3)},
        {"frame_offset": 0.08},
        {"reader": AgainstMedian(gain=3)},
        {"reader": MeanAndSpread(), "frame_offset": 0.2},
    ],
    ids=str,
)
def test_a_preprocessing_survives_its_config(sampler, changes):
    shown = Preprocessing(sampler, **changes)
    config = json.loads(json.dumps(shown.to_config()))
    assert config == shown.to_config()  # plain values only
    assert Preprocessing.from_config(config, type(shown.reader)) == shown


def test_configs_are_these():
    shown = Preprocessing(FixedStride(8, 0.16), ClipTransform((48, 64)), frame_offset=0.08)
    assert shown.to_config() == {
        "sampler": {"name": "fixed_stride", "frames": 8, "seconds": 0.16},
        "transform": {"size": [48, 64], "pool": "none", "channels": 1},
        "frame_offset": 0.08,
        "reader": {"name": "GreyFrames"},
    }
    names = [Preprocessing(s).to_config()["sampler"]["name"] for s in EVERY_SAMPLER]
    assert names == ["middle", "uniform", "jittered", "fixed_stride", "random_fixed_stride"]
    reader = Preprocessing(Middle(), reader=AgainstMedian(3)).to_config()["reader"]
    assert reader == {"name": "AgainstMedian", "gain": 3}


def changed(part, **settings):
    config = Preprocessing(Uniform(4)).to_config()
    return config | {part: config[part] | settings}


@pytest.mark.parametrize(
    "config, message",
    [
        (changed("sampler", name="dense"), "no sampler 'dense' here; there is middle, uniform"),
        (changed("sampler", stride=2), "does not know: Uniform.* 'stride'"),
        (changed("sampler", frames=0), "frames is 0"),
        (changed("transform", blur=1), "does not know: ClipTransform.* 'blur'"),
        (changed("transform", pool="max"), "pool is 'max'"),
        (changed("reader", name="Flow"), "no reader 'Flow' here; there is GreyFrames"),
        (changed("reader", gain=2), "does not know: GreyFrames.* 'gain'"),
        ({**Preprocessing(Middle()).to_config(), "speed": 2}, "does not know: Preprocessing.*spee"),
        ({"sampler": {"name": "middle"}}, "a preprocessing without its 'transform'"),
        ({}, "a preprocessing without its 'sampler'"),
        ({"sampler": {"frames": 3}}, "a preprocessing without its 'name'"),
    ],
)
def test_unknown_names_and_settings_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_config(config)


def test_what_cannot_be_written_down_is_refused():
    with pytest.raises(ValueError, match="is none of the samplers middle, uniform"):
        Preprocessing(np.mean).to_config()


@pytest.mark.parametrize(
    "shown, text",
    [
        (Preprocessing(Middle()), "middle frame"),
        (Preprocessing(Uniform(8)), "uniform 8"),
        (Preprocessing(Jittered(8)), "jittered 8"),
        (Preprocessing(FixedStride(8, 0.16)), "8x4"),
        (Preprocessing(FixedStride(8, 7 / 25)), "8x7"),
        (Preprocessing(FixedStride(8, 0.1)), "8x2.5"),
        (Preprocessing(FixedStride(8, 0.16), frame_offset=0.08), "8x4, frame offset 2"),
        (Preprocessing(Uniform(8), ClipTransform(pool="mean")), "mean of uniform 8"),
    ],
    ids=str,
)
def test_words_of_the_tables(shown, text):
    assert str(shown) == text


def test_grey_frames_are_read_from_arrays_too():
    video = np.arange(6, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    first, second = GreyFrames().read(video, [np.array([5, 0]), np.array([[1, 2, 3]]).ravel()])
    assert first[:, 0, 0].tolist() == [5, 0] and second[:, 0, 0].tolist() == [1, 2, 3]
    assert GreyFrames().look(video) is None
