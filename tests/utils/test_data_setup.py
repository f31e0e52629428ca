"""Samplers to the exact index, frames to the exact picture, batches to the exact mask."""

import os
import pickle

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.kth import ACTIONS, Segment, Video, find_segments, select
from data.video import VideoError, read_frames, read_segments
from utils import data_setup
from utils.data_setup import (
    Augment,
    Batches,
    ClipSource,
    ClipTransform,
    Jittered,
    Middle,
    RandomWindow,
    Uniform,
    VideoDataset,
    Window,
    collate,
    create_dataloaders,
    make_sampler,
    make_transform,
    sampler_config,
)
from utils.store import FeatureStore

FOUR = Uniform(frames=4)
EVERY_SAMPLER = [
    Middle(),
    Uniform(frames=5),
    Jittered(frames=5),
    Window(frames=5, stride=3),
    RandomWindow(frames=5, stride=3),
]


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
        (Window(frames=4, stride=2), 7, [0, 2, 4, 6]),
        (Window(frames=4, stride=2), 10, [1, 3, 5, 7]),
        (Window(frames=4, stride=2), 6, [0, 2, 4]),
        (Window(frames=4, stride=2), 1, [0]),
        (Window(frames=3, stride=1), 9, [3, 4, 5]),
    ],
)
def test_exact_indices(sampler, length, expected):
    indices = sampler(length)
    assert indices.tolist() == expected and indices.dtype == np.int64


@given(
    sampler=st.sampled_from(EVERY_SAMPLER), length=st.integers(1, 400), seed=st.integers(0, 1000)
)
def test_indices_ascend_within_the_segment_and_repeat_with_the_seed(sampler, length, seed):
    indices = sampler(length, np.random.default_rng(seed))
    assert 1 <= len(indices) <= 5 and indices.dtype == np.int64
    assert indices[0] >= 0 and indices[-1] < length and (np.diff(indices) > 0).all()
    assert indices.tolist() == sampler(length, np.random.default_rng(seed)).tolist()


@given(frames=st.integers(1, 20), length=st.integers(1, 300), seed=st.integers(0, 1000))
def test_jittered_takes_one_frame_of_each_part(frames, length, seed):
    indices = Jittered(frames=frames)(length, np.random.default_rng(seed))
    if length <= frames:
        assert indices.tolist() == list(range(length))
    else:
        edges = [part * length // frames for part in range(frames + 1)]
        assert all(
            low <= index < high
            for low, index, high in zip(edges[:-1], indices, edges[1:], strict=True)
        )


def test_random_windows_reach_both_ends():
    starts = {
        int(RandomWindow(frames=3, stride=2)(8, np.random.default_rng(seed))[0])
        for seed in range(60)
    }
    assert starts == {0, 1, 2, 3}


@pytest.mark.parametrize("sampler", [Jittered(), RandomWindow()])
def test_random_samplers_do_not_work_without_an_rng(sampler):
    with pytest.raises(ValueError, match="got no rng; evaluation takes Uniform or Window"):
        sampler(50)


@pytest.mark.parametrize("sampler", EVERY_SAMPLER)
def test_no_sampler_reads_from_nothing(sampler):
    with pytest.raises(ValueError, match="cannot sample from 0 frames"):
        sampler(0, np.random.default_rng(0))


@pytest.mark.parametrize("sampler", EVERY_SAMPLER)
def test_samplers_survive_their_config(sampler):
    assert make_sampler(sampler_config(sampler)) == sampler


def test_sampler_configs():
    assert sampler_config(Uniform(frames=16)) == {"name": "uniform", "frames": 16}
    with pytest.raises(ValueError, match="no sampler 'dense'; the samplers are middle"):
        make_sampler({"name": "dense"})
    with pytest.raises(ValueError, match="Uniform has no setting stride; it has frames"):
        make_sampler({"name": "uniform", "stride": 2})
    with pytest.raises(ValueError, match="frames is 0"):
        Uniform(frames=0)
    with pytest.raises(ValueError, match="stride is 0"):
        Window(stride=0)
    with pytest.raises(ValueError, match="is none of the samplers"):
        sampler_config(np.mean)


# reading


def indices_seen(frames):
    return [round(float(frame.mean()) / 5) for frame in frames]


def test_frames_come_in_the_order_asked_for(numbered_video):
    frames = read_frames(numbered_video, [30, 2, 2, 17])
    assert frames.shape == (4, 32, 48) and frames.dtype == np.uint8
    assert indices_seen(frames) == [30, 2, 2, 17]


def test_segments_of_a_file_share_one_pass(numbered_video, monkeypatch):
    opened = []
    real = cv2.VideoCapture
    monkeypatch.setattr(
        data_setup.cv2, "VideoCapture", lambda *how: opened.append(how) or real(*how)
    )
    parts = read_segments(numbered_video, [[0, 10], [5, 39], np.array([10])])
    assert [indices_seen(part) for part in parts] == [[0, 10], [5, 39], [10]]
    assert len(opened) == 1


def test_a_file_that_ends_early_names_the_frames(numbered_video):
    with pytest.raises(
        VideoError, match=r"person01_boxing_d1\.avi ends early: frame 45 was asked for, 40 frames"
    ):
        read_frames(numbered_video, [3, 45])


def test_a_file_cut_in_the_middle_is_an_error_not_a_short_answer(numbered_video, tmp_path):
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


# clips


def test_a_clip_is_floats_between_zero_and_one():
    frames = np.array([0, 51, 255], dtype=np.uint8)[:, None, None] * np.ones(
        (1, 96, 128), dtype=np.uint8
    )
    clip = ClipTransform(size=(96, 128))(frames)
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


def test_kth_pictures_are_not_padded():
    frames = np.zeros((1, 120, 160), dtype=np.uint8)
    frames[0, :, 0] = frames[0, :, -1] = 255
    clip = ClipTransform(size=(120, 160))(frames)[0, 0]
    assert torch.equal(clip * 255, torch.from_numpy(frames[0]).float())


def test_three_channels_repeat_the_grey():
    clip = ClipTransform(size=(8, 8), channels=3)(np.arange(64, dtype=np.uint8).reshape(1, 8, 8))
    assert clip.shape == (1, 3, 8, 8) and torch.equal(clip[:, 0], clip[:, 2])


def test_motion_as_colour_shows_three_neighbours_in_one_picture():
    transform = ClipTransform(size=(8, 8), channels=3, gap=2)
    wanted = transform.with_neighbours(np.array([10, 14, 19]), 10, 20)
    assert wanted.tolist() == [10, 10, 12, 12, 14, 16, 17, 19, 19]  # inside the segment
    clip = transform(np.stack([np.full((8, 8), value, np.uint8) for value in wanted]))
    assert clip.shape == (3, 3, 8, 8) and transform.frames_out(9) == 3
    assert (255 * clip[:, :, 0, 0]).round().tolist() == [[10, 10, 12], [12, 14, 16], [17, 19, 19]]
    assert make_transform(transform.to_config()) == transform
    assert ClipTransform().with_neighbours(np.array([1, 2]), 0, 9).tolist() == [1, 2]
    with pytest.raises(ValueError, match="got 4 frames; with gap 2 they come in threes"):
        transform(np.zeros((4, 8, 8), np.uint8))


def test_a_clip_source_reads_the_neighbours_of_its_segment(numbered_video):
    segment = Segment(Video(numbered_video, "boxing", 1, 1), 0, 10, 20)
    source = ClipSource(
        [segment], sampler=Window(2, 9), transform=ClipTransform(size=(4, 4), channels=3, gap=3)
    )
    values = (
        (source.load(0)[:, :, 0, 0] * 255 / 5).round().tolist()
    )  # a frame's grey tells its number
    assert values == [[10, 10, 13], [16, 19, 19]]


def test_transforms_survive_their_config():
    transform = ClipTransform(size=(48, 64), pool="mean", channels=3)
    assert transform.to_config() == {"size": [48, 64], "pool": "mean", "channels": 3, "gap": 0}
    assert make_transform(transform.to_config()) == transform
    assert transform.frames_out(16) == 1 and ClipTransform().frames_out(16) == 16
    with pytest.raises(ValueError, match="ClipTransform has no setting blur"):
        make_transform({"blur": 1})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pool": "max"}, "pool is 'max'"),
        ({"channels": 2}, "channels is 2"),
        ({"size": (0, 4)}, "size is"),
        ({"gap": 2}, "gap is 2 with channels 1"),
        ({"gap": -1, "channels": 3}, "gap is -1"),
        ({"gap": 2, "channels": 3, "pool": "mean"}, "gap is 2 with channels 3 and pool 'mean'"),
    ],
)
def test_impossible_transforms(settings, message):
    with pytest.raises(ValueError, match=message):
        ClipTransform(**settings)


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 4, 4)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 4), np.uint8)]
)
def test_the_transform_takes_grey_bytes_only(frames):
    with pytest.raises(ValueError, match=r"takes grey frames \(T, H, W\) uint8"):
        ClipTransform()(frames)


@given(seed=st.integers(0, 500))
def test_augmentation_treats_all_frames_alike(seed):
    frame = torch.from_numpy(np.random.default_rng(1).random((1, 1, 12, 16), dtype=np.float32))
    clip = Augment()(frame.repeat(4, 1, 1, 1), np.random.default_rng(seed))
    assert clip.shape == (4, 1, 12, 16) and clip.min() >= 0 and clip.max() <= 1
    assert torch.equal(clip[0], clip[3])


def test_augmentation_of_nothing_and_of_a_flip():
    clip = torch.rand(2, 1, 6, 8)
    nothing = Augment(flip=0, brightness=0, contrast=0, crop=0)(clip, np.random.default_rng(0))
    flipped = Augment(flip=1, brightness=0, contrast=0, crop=0)(clip, np.random.default_rng(0))
    assert torch.allclose(nothing, clip, atol=1e-6) and torch.allclose(
        flipped, clip.flip(-1), atol=1e-6
    )
    with pytest.raises(ValueError, match="crop is 1"):
        Augment(crop=1)


# data sets and loaders


def dataset_of(root, split, *, sampler=FOUR, seed=0, augment=None, size=(24, 32)):
    segments = select(find_segments(root), split)
    source = ClipSource(
        segments, sampler=sampler, transform=ClipTransform(size=size), augment=augment
    )
    return VideoDataset(segments, source, seed=seed)


def test_items_carry_clip_label_and_index(tiny_kth):
    dataset = dataset_of(tiny_kth, "train")
    assert len(dataset) == 12
    item = dataset[5]
    assert item["input"].shape == (4, 1, 24, 32) and item["index"] == 5
    assert item["label"] == ACTIONS.index(dataset.segments[5].video.action)


def test_frames_lie_inside_the_segment(numbered_video):
    segment = Segment(Video(numbered_video, "boxing", 1, 1), 1, 20, 36)
    clip = ClipSource(
        [segment], sampler=Uniform(frames=4), transform=ClipTransform(size=(32, 48))
    ).load(0)
    assert [round(float(frame.mean()) * 51) for frame in clip] == [22, 26, 30, 34]


def test_items_depend_on_seed_epoch_and_index_alone(tiny_kth):
    def item(seed, epoch, index):
        dataset = dataset_of(
            tiny_kth, "train", sampler=Jittered(frames=4), seed=seed, augment=Augment()
        )
        dataset.set_epoch(epoch)
        return dataset[index]["input"]

    reference = item(0, 1, 3)
    assert torch.equal(reference, item(0, 1, 3))
    assert not torch.equal(reference, item(0, 2, 3)) and not torch.equal(reference, item(1, 1, 3))


def test_without_a_seed_nothing_is_random(tiny_kth):
    plain = dataset_of(tiny_kth, "validation", seed=None, augment=Augment())
    assert torch.equal(plain[0]["input"], dataset_of(tiny_kth, "validation", seed=None)[0]["input"])
    with pytest.raises(ValueError, match="got no rng"):
        dataset_of(tiny_kth, "validation", sampler=Jittered(frames=4), seed=None)[0]


def test_datasets_survive_pickling(tiny_kth):
    dataset = dataset_of(tiny_kth, "train", sampler=Jittered(frames=4), augment=Augment())
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[2]["input"], dataset[2]["input"])


def test_segments_and_source_must_match(tiny_kth):
    dataset = dataset_of(tiny_kth, "train")
    with pytest.raises(ValueError, match="11 segments for a source of 12 items"):
        VideoDataset(dataset.segments[1:], dataset.source)


def test_collate_pads_time_and_says_so():
    items = [
        {"input": torch.ones(length, 2), "label": length, "index": 10 + length} for length in (3, 1)
    ]
    batch = collate(items)
    assert batch["input"].shape == (2, 3, 2) and batch["input"].sum() == 8
    assert batch["mask"].tolist() == [[True, True, True], [True, False, False]]
    assert batch["label"].tolist() == [3, 1] and batch["index"].tolist() == [13, 11]
    assert batch["label"].dtype == torch.int64 and batch["mask"].dtype == torch.bool


def test_loaders_shuffle_training_only_and_repeat_with_the_seed(tiny_kth):
    def orders(seed):
        datasets = {
            "train": dataset_of(tiny_kth, "train"),
            "validation": dataset_of(tiny_kth, "validation"),
        }
        loaders = create_dataloaders(datasets, batch_size=5, seed=seed)
        return {
            name: torch.cat([batch["index"] for batch in loader]).tolist()
            for name, loader in loaders.items()
        }

    first, again, other = orders(0), orders(0), orders(1)
    assert first == again and first["train"] != other["train"]
    assert sorted(first["train"]) == list(range(12)) != first["train"]
    assert first["validation"] == list(range(12))


def test_workers_give_the_same_items(tiny_kth):
    batches = {0: [], 2: []}
    for workers, found in batches.items():
        dataset = dataset_of(tiny_kth, "train", sampler=Jittered(frames=4), augment=Augment())
        loader = create_dataloaders({"train": dataset}, batch_size=4, workers=workers)["train"]
        for epoch, start in (
            (3, 0),
            (4, 1),
            (5, 0),
        ):  # the second is taken up after its first batch
            dataset.set_epoch(epoch)
            loader.batch_sampler.set_epoch(epoch, start)
            found += loader
    assert len(batches[0]) == 3 + 2 + 3
    for alone, shared in zip(batches[0], batches[2], strict=True):
        assert torch.equal(alone["input"], shared["input"]) and torch.equal(
            alone["index"], shared["index"]
        )


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create"
)  # more than this machine has cores
def test_clips_get_workers_and_features_none(tiny_kth, monkeypatch):
    clips = dataset_of(tiny_kth, "train")
    features = VideoDataset(clips.segments, FeatureStore(np.zeros((12, 2, 3)), np.full(12, 2)))
    for cores, expected in ((None, 1), (1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert create_dataloaders({"train": clips}, batch_size=4)["train"].num_workers == expected
        assert create_dataloaders({"train": features}, batch_size=4)["train"].num_workers == 0
    assert create_dataloaders({"train": clips}, batch_size=4, workers=0)["train"].num_workers == 0


def test_workers_start_although_opencv_had_threads(tiny_kth):
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(8)
        cv2.GaussianBlur(
            np.zeros((2000, 2000), dtype=np.float32), (31, 31), 5
        )  # large: now the threads are there
        large = dataset_of(
            tiny_kth, "train", sampler=Middle(), size=(1200, 1600)
        )  # in a worker, work for several
        batch = next(iter(create_dataloaders({"train": large}, batch_size=2, workers=1)["train"]))
    finally:
        cv2.setNumThreads(before)
    assert batch["input"].shape == (2, 1, 1, 1200, 1600)


def test_a_person_in_two_splits_stops_the_run(tiny_kth):
    train = dataset_of(tiny_kth, "train")
    with pytest.raises(ValueError, match="person11"):
        create_dataloaders({"train": train, "test": train}, batch_size=4)


def test_empty_splits_and_batches(tiny_kth):
    train = dataset_of(tiny_kth, "train")
    nothing = VideoDataset([], ClipSource([], sampler=Middle(), transform=ClipTransform()))
    with pytest.raises(ValueError, match="no segments in validation"):
        create_dataloaders({"train": train, "validation": nothing}, batch_size=4)
    with pytest.raises(ValueError, match="batch_size is 0"):
        create_dataloaders({"train": train}, batch_size=0)


# batches


@given(
    items=st.integers(1, 40),
    size=st.integers(1, 9),
    world=st.integers(1, 5),
    train=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_the_shares_of_all_processes_are_one_processs_batch(items, size, world, train, epoch):
    alone = Batches(items, size, train=train)
    shares = [Batches(items, size, train=train, share=(rank, world)) for rank in range(world)]
    for sampler in (alone, *shares):
        sampler.set_epoch(epoch)
    whole, parts = list(alone), [list(share) for share in shares]
    assert sorted(sum(whole, [])) == list(range(items)) and len(whole) == len(alone) == -(
        -items // size
    )
    for number, batch in enumerate(whole):
        counted = []
        for share, part in zip(shares, parts, strict=True):
            mine, everywhere = share.counts(number)
            assert everywhere == len(batch)
            assert not train or part[number], "in training everybody takes part in every step"
            counted += part[number][:mine] if mine else []
        assert sorted(counted) == sorted(batch)
    if not train:
        assert sorted(index for part in parts for share in part for index in share) == list(
            range(items)
        )


def test_an_epoch_can_start_in_the_middle_and_only_once():
    sampler = Batches(23, 5, train=True, seed=3)
    sampler.set_epoch(2)
    whole = list(sampler)
    for start in range(6):
        sampler.set_epoch(2, start)
        assert list(sampler) == whole[start:] and list(sampler) == whole
    with pytest.raises(ValueError, match="an epoch of 5 batches cannot start at batch 6"):
        sampler.set_epoch(2, 6)


def test_the_order_is_made_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = Batches(30, 4, train=True, seed=seed)
        sampler.set_epoch(epoch)
        return sampler.order()

    assert order(0, 1) == order(0, 1) != order(0, 2) and order(0, 1) != order(1, 1)
    assert Batches(30, 4).order() == list(range(30))
