"""From segments to the data set of an experiment: features or clips, densely or not."""

import dataclasses

import numpy as np
import pytest

from data.kth import find_segments
from experiments.datasets import dataset_of, dense_clips, keeps_features
from experiments.recipe import Recipe
from experiments.table import EXPERIMENTS, MIDDLE, UNIFORM
from experiments.training import new_model
from tests.stand_ins import MeansBackbone, tiny, two_frames
from utils.data_setup import ClipSource
from utils.features import Features
from utils.preprocessing import FixedStride, Jittered, Middle, Preprocessing, RandomFixedStride

RECIPE = Recipe(size=(24, 32))
TWO = Preprocessing(FixedStride(2, 0.08))  # a clip length of three frames


@pytest.fixture(scope="module")
def segments(discs):
    return find_segments(discs)


class TestDenseClips:
    def test_they_lie_half_a_clip_length_apart(self, segments):
        pieces = [p for p in dense_clips(segments[:2], TWO) if p.index == 0]
        begin = segments[0].start
        assert [(p.start - begin, len(p)) for p in pieces] == [(s, 3) for s in range(6)]

    def test_a_segment_shorter_than_a_clip_is_one(self, segments):
        (piece,) = dense_clips(segments[:1], EXPERIMENTS["gru"].shown)
        assert (piece.start, piece.stop) == (segments[0].start, segments[0].stop)

    def test_clips_of_one_frame_stand_at_each_frame(self, segments):
        pieces = dense_clips(segments[:1], Preprocessing(FixedStride(1)))
        begin, end = segments[0].start, segments[0].stop
        assert [(p.start, p.stop) for p in pieces] == [(k, k + 1) for k in range(begin, end)]

    def test_they_lie_as_far_apart_in_time_at_another_frame_rate(self, segments):
        def at(segment, fps, stop):
            video = dataclasses.replace(segment.video, fps=fps)
            return dataclasses.replace(segment, video=video, start=0, stop=stop)

        shown = Preprocessing(FixedStride(8, 0.16))
        usual = dense_clips([at(segments[0], 25.0, 100)], shown)
        twice = dense_clips([at(segments[0], 50.0, 200)], shown)
        assert len(usual) == len(twice) > 3
        spread = np.array([[p.start, p.stop] for p in twice]) / 2
        assert np.abs(spread - [[p.start, p.stop] for p in usual]).max() <= 1

    @pytest.mark.parametrize("shown", [UNIFORM, MIDDLE])
    def test_without_a_fixed_stride_a_segment_is_one_clip(self, segments, shown):
        assert dense_clips(segments, shown) == segments


class TestFeaturesOrClips:
    def test_a_frozen_encoder_has_its_features_kept(self, segments, tmp_path):
        experiment = tiny("gru")
        model = new_model(experiment, RECIPE)
        model.backbone = MeansBackbone()
        for _ in range(2):
            found = dataset_of(experiment, RECIPE, segments[:4], model, cache_dir=tmp_path)
        assert isinstance(found.source, Features) and found.segments == segments[:4]
        assert sum(model.backbone.seen) == 4 * 2  # of eight frames a stride of four leaves two
        assert [item.shape[0] for item in found.source.items] == [1] * 4

    def test_horizontal_flips_are_kept_where_they_are_wanted(self, segments):
        experiment = tiny("middle")
        model = new_model(experiment, RECIPE)
        found = dataset_of(experiment, RECIPE, segments[:2], model, train=True, flipped=True)
        assert [item.shape for item in found.source.items] == [(2, 1, 48)] * 2

    def test_tuning_takes_clips_sampled_at_random_to_learn_from(self, segments):
        experiment, recipe = tiny("gru"), dataclasses.replace(RECIPE, fine_tune=1, seed=4)
        model = new_model(experiment, recipe)
        assert keeps_features(model, RECIPE) and not keeps_features(model, recipe)
        train = dataset_of(experiment, recipe, segments, model, train=True)
        assert isinstance(train.source, ClipSource) and train.seed == 4
        assert train.source.shown.sampler == RandomFixedStride(8, 0.16)
        assert train.source.shown.transform.size == (24, 32)
        assert train.source.augment.flip == 0.0 and train.source.augment.brightness > 0
        other = dataset_of(experiment, recipe, segments, model)
        assert other.source.shown == experiment.shown.resized((24, 32))
        assert other.seed is None and other.source.augment is None

    def test_flips_of_clips_are_drawn_where_they_are_wanted(self, segments):
        recipe = dataclasses.replace(RECIPE, fine_tune=1, horizontal_flip=True)
        model = new_model(tiny("average"), recipe)
        train = dataset_of(tiny("average"), recipe, segments, model, train=True)
        assert train.source.augment.flip == 0.5 and train.source.shown.sampler == Jittered(8)
        middle = dataset_of(tiny("middle"), recipe, segments, model, train=True)
        assert middle.source.shown.sampler == Middle()  # has no random counterpart

    def test_dense_clips_are_for_features_and_for_evaluating(self, segments):
        experiment, dense = two_frames(tiny("gru")), dataclasses.replace(RECIPE, dense=True)
        model, many = new_model(experiment, dense), len(dense_clips(segments[:3], TWO))
        assert len(dataset_of(experiment, dense, segments[:3], model, train=True)) == many == 18
        tuned = dataclasses.replace(dense, fine_tune=1)
        assert len(dataset_of(experiment, tuned, segments[:3], model)) == many
        # a random place in the segment each epoch is as dense
        assert len(dataset_of(experiment, tuned, segments[:3], model, train=True)) == 3

    def test_what_cannot_be_read_is_left_out_with_its_name(self, make_kth, tmp_path):
        segments = find_segments(make_kth(tmp_path / "KTH", persons=(11,), segments=1))
        segments[1].video.path.write_bytes(b"RIFF")
        experiment = tiny("middle")
        with pytest.warns(UserWarning, match=segments[1].video.path.name):
            found = dataset_of(experiment, RECIPE, segments, new_model(experiment, RECIPE))
        assert found.segments == [segments[0], *segments[2:]]
        assert found.labels == [s.label for s in found.segments]
