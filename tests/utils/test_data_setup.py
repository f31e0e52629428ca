"""Augmentation alike for all frames, items that a seed decides, batches to the exact mask."""

import dataclasses
import pickle

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.kth import ACTIONS, Segment, Video, find_segments, select
from tests.stand_ins import AgainstMedian, MeanAndSpread
from utils import data_setup, preprocessing
from utils.data_setup import (
    Augment,
    Batches,
    ClipSource,
    ClipTransform,
    FixedStride,
    Jittered,
    Middle,
    Preprocessing,
    Uniform,
    VideoDataset,
    collate,
    create_dataloaders,
)
from utils.features import Features


def test_the_words_of_preprocessing_are_here_too():
    shared = set(data_setup.__all__) & set(dir(preprocessing))
    assert shared == {
        "ClipTransform",
        "FixedStride",
        "GreyFrames",
        "Jittered",
        "Middle",
        "Preprocessing",
        "RandomFixedStride",
        "Reader",
        "Sampler",
        "Uniform",
    }
    assert all(getattr(data_setup, name) is getattr(preprocessing, name) for name in shared)
    assert {name for name in data_setup.__all__ if not hasattr(data_setup, name)} == set()


# augmentation


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


def shown_by(sampler, size=(24, 32), **changes):
    return Preprocessing(sampler, ClipTransform(size=size), **changes)


def dataset_of(root, split, *, sampler=Uniform(4), seed=0, augment=None, size=(24, 32)):  # noqa: B008
    segments = select(find_segments(root), split)
    source = ClipSource(segments, shown_by(sampler, size), augment=augment)
    return VideoDataset(segments, source, seed=seed)


def test_items_carry_clip_label_and_index(tiny_kth):
    dataset = dataset_of(tiny_kth, "train")
    assert len(dataset) == 12
    item = dataset[5]
    assert item["input"].shape == (4, 1, 24, 32) and item["index"] == 5
    assert item["label"] == ACTIONS.index(dataset.segments[5].video.action)
    assert dataset.labels == [segment.label for segment in dataset.segments]


def segment_of(path, start, stop, fps=25.0):
    return Segment(Video(path, "boxing", 1, 1, fps, ACTIONS), 1, start, stop)


def numbers(clip):
    """Which frame of the numbered video each image shows."""
    return (clip.mean((-2, -1)) * 51).round().int().tolist()


def test_a_clip_source_reads_the_frames_of_its_segments(numbered_video):
    segments = [segment_of(numbered_video, 20, 36), segment_of(numbered_video, 0, 8)]
    source = ClipSource(segments, shown_by(Uniform(4), (32, 48)))
    assert numbers(source.load(0)[:, 0]) == [22, 26, 30, 34]
    turned = source.subset([1, 0])
    assert len(turned) == 2 and turned.segments == segments[::-1]
    assert numbers(turned.load(0)[:, 0]) == [1, 3, 5, 7]


def test_a_clip_source_reads_the_neighbours_of_its_segment(numbered_video):
    shown = shown_by(FixedStride(2, 0.36), (4, 4), frame_offset=0.12)
    source = ClipSource([segment_of(numbered_video, 10, 20)], shown)
    assert numbers(source.load(0)) == [[10, 10, 13], [16, 19, 19]]


def test_a_file_is_shown_at_its_own_frame_rate(tmp_path, write_video):
    frames = np.repeat(5 * np.arange(40, dtype=np.uint8), 24 * 32).reshape(40, 24, 32)
    write_video(tmp_path / "boxing" / "person01_boxing_d1.avi", frames, fps=50)
    (tmp_path / "segments.csv").write_text("video,segment,start,stop\nperson01_boxing_d1,1,0,40\n")
    (segment,) = find_segments(tmp_path)
    assert segment.video.fps == 50
    clip = ClipSource([segment], shown_by(FixedStride(3, 0.16))).load(0)
    assert numbers(clip[:, 0]) == [11, 19, 27]


def test_a_clip_source_gives_readers_what_was_found_before(numbered_video):
    @dataclasses.dataclass(frozen=True)
    class Blind(AgainstMedian):
        def look(self, video, fps=None):
            raise AssertionError("it was looked at already")

    segments = [segment_of(numbered_video, 0, 40)]
    found = {numbered_video: {"median": np.full((32, 48), 20.0)}}
    source = ClipSource(segments, shown_by(Middle(), reader=Blind()), found=found)
    for one in (source, source.subset([0])):
        assert (255 * one.load(0)).mean().item() == pytest.approx(5 * 20 - 20, abs=2)
    looking = ClipSource(segments, shown_by(Middle(), reader=AgainstMedian()))
    assert (255 * looking.load(0)).mean().item() == pytest.approx(5 * 20 - 97.5, abs=2)


def test_numbers_are_items_and_batches_like_clips(numbered_video):
    segments = [segment_of(numbered_video, 0, 40), segment_of(numbered_video, 30, 33)]
    source = ClipSource(segments, Preprocessing(Uniform(4), reader=MeanAndSpread()))
    batch = collate([VideoDataset(segments, source)[index] for index in (0, 1)])
    assert batch["input"].shape == (2, 4, 2)
    assert batch["mask"].tolist() == [[True] * 4, [True, True, True, False]]
    assert batch["input"][1, :, 0].tolist() == pytest.approx([150, 155, 160, 0], abs=3)


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
    jittered = dataset_of(tiny_kth, "validation", sampler=Jittered(frames=4))
    with pytest.raises(ValueError, match="got no rng"):
        VideoDataset(jittered.segments, jittered.source)[0]


def test_a_subset_is_evaluated_unless_it_gets_a_seed_of_its_own(tiny_kth):
    dataset = dataset_of(tiny_kth, "train", sampler=Jittered(frames=4), augment=Augment())
    some = dataset.subset([7, 2, 2], seed=0)
    assert len(some) == 3 and some.labels == [dataset.labels[n] for n in (7, 2, 2)]
    assert some.segments == [dataset.segments[n] for n in (7, 2, 2)]
    assert not torch.equal(some[1]["input"], some[2]["input"])  # the place decides, as the index
    assert dataset.subset([0]).seed is None
    with pytest.raises(ValueError, match="got no rng"):
        dataset.subset([0])[0]


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
        for epoch, start in ((3, 0), (4, 1), (5, 0)):  # the second is taken up after one batch
            dataset.set_epoch(epoch)
            loader.batch_sampler.set_epoch(epoch, start)
            found += loader
    assert len(batches[0]) == 3 + 2 + 3
    for alone, shared in zip(batches[0], batches[2], strict=True):
        assert torch.equal(alone["input"], shared["input"]) and torch.equal(
            alone["index"], shared["index"]
        )


@pytest.fixture
def rng_clip():
    return torch.from_numpy(np.random.default_rng(0).random((8, 1, 96, 128), dtype=np.float32))


def test_threads_change_no_bit_of_an_item(rng_clip):
    """A loader's worker has one thread and the program itself may have several."""
    torch.set_num_threads(1)
    alone = [Augment()(rng_clip, np.random.default_rng(seed)) for seed in range(8)]
    torch.set_num_threads(3)
    try:
        several = [Augment()(rng_clip, np.random.default_rng(seed)) for seed in range(8)]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(one, other) for one, other in zip(alone, several, strict=True))


# more than this machine has cores
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_clips_get_workers_and_features_none(tiny_kth, monkeypatch):
    clips = dataset_of(tiny_kth, "train")
    features = VideoDataset(clips.segments, Features([np.zeros((1, 2, 3), np.float16)] * 12))
    for cores, expected in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr("utils.data_setup.usable_cores", lambda cores=cores: cores)
        assert create_dataloaders({"train": clips}, batch_size=4)["train"].num_workers == expected
        assert create_dataloaders({"train": features}, batch_size=4)["train"].num_workers == 0
    assert create_dataloaders({"train": clips}, batch_size=4, workers=0)["train"].num_workers == 0


def test_workers_start_although_opencv_had_threads(tiny_kth):
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(8)
        # large: now the threads are there
        cv2.GaussianBlur(np.zeros((2000, 2000), dtype=np.float32), (31, 31), 5)
        # in a worker, work for several
        large = dataset_of(tiny_kth, "train", sampler=Middle(), size=(1200, 1600))
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
    nothing = VideoDataset([], ClipSource([], Preprocessing(Middle())))
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
def test_the_shards_of_all_processes_are_one_processs_batch(items, size, world, train, epoch):
    alone = Batches(items, size, train=train)
    shards = [Batches(items, size, train=train, shard=(rank, world)) for rank in range(world)]
    for sampler in (alone, *shards):
        sampler.set_epoch(epoch)
    whole, parts = list(alone), [list(shard) for shard in shards]
    assert sorted(sum(whole, [])) == list(range(items)) and len(whole) == len(alone) == -(
        -items // size
    )
    for number, batch in enumerate(whole):
        counted = []
        for shard, part in zip(shards, parts, strict=True):
            mine, everywhere = shard.counts(number)
            assert everywhere == len(batch)
            assert not train or part[number], "in training everybody takes part in every step"
            counted += part[number][:mine] if mine else []
        assert sorted(counted) == sorted(batch)
    if not train:
        assert sorted(index for part in parts for batch in part for index in batch) == list(
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
