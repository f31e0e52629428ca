"""Timelines: windows become spans that cover the whole video, however it is given."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stand_ins import BrightFinder, SaysBrightness, brightness_recogniser, video_of
from utils import timeline as module
from utils.predict import NOBODY, SOMETHING_ELSE, Fusion, predict_video
from utils.timeline import UNSURE, Timeline, cheapest_path, timeline_of
from utils.watching import Watcher, finder_of, window_seconds


def spans(timeline):
    return [(round(s.start_s, 2), round(s.stop_s, 2), s.label) for s in timeline.segments]


def test_two_things_one_after_the_other_are_two_spans():
    found = timeline_of(brightness_recogniser(), video_of((4, 30), (4, 200)))
    (first, second) = found.segments
    assert (first.label, second.label) == ("dark", "bright")
    assert first.start_s == 0 and second.stop_s == found.seconds == 8
    assert first.stop_s == second.start_s == pytest.approx(4, abs=0.3)
    assert first.probability > 0.8 and not first.reason
    assert found.doubts == () and found.fps == 25 and found.window_s == 1


@pytest.mark.parametrize("fps", [5, 10, 30, 60, 120])
def test_time_and_not_frames_count(fps):
    found = timeline_of(brightness_recogniser(), video_of((3, 30), (3, 200), fps=fps), fps=fps)
    assert [span.label for span in found.segments] == ["dark", "bright"]
    assert found.segments[0].stop_s == pytest.approx(3, abs=0.3) and found.seconds == 6


def test_a_video_of_one_window_is_answered_as_a_video():
    video = video_of((1, 60))
    found, one = (
        timeline_of(brightness_recogniser(), video),
        predict_video(brightness_recogniser(), video),
    )
    assert found.overall == one.probs and found.label == one.label and len(found.times) == 1
    assert spans(found) == [(0, 1, "dark")]


def test_a_file_frames_and_an_iterator_are_answered_alike(tmp_path, write_video):
    video = video_of((2, 30), (2, 200))
    path = write_video(tmp_path / "clip.avi", video)
    colour = (np.repeat(frame[..., None], 3, -1) for frame in video)
    given_as = [path, video, torch.from_numpy(video), list(video), iter(video), colour]
    found = [timeline_of(brightness_recogniser(), one) for one in given_as]
    assert {tuple(one.labels) for one in found} == {found[0].labels}
    assert {tuple(spans(one)) for one in found} == {tuple(spans(found[0]))}
    assert [one.file for one in found] == [str(path), *["array"] * 3, *["frames"] * 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.floats(0.04, 3))
def test_spans_cover_the_video_without_gaps(frames, every):
    video = video_of((4, 90))[:frames]
    found = timeline_of(brightness_recogniser(), video, every=every)
    edges = [edge for span in found.segments for edge in (span.start_s, span.stop_s)]
    assert edges[0] == 0 and edges[-1] == pytest.approx(frames / 25)
    assert edges[1:-1:2] == edges[2::2] and edges == sorted(edges)
    assert len(found.times) == len(found.labels) == len(found.probs)
    assert found.times[-1] == pytest.approx(max(frames - 12.5, frames / 2) / 25)


def test_no_more_than_a_window_is_kept():
    watcher, most = Watcher(brightness_recogniser(), 25.0), 0

    def frames():
        nonlocal most
        for frame in itertools.islice(itertools.cycle(video_of((4, 30))), 1500):
            most = max(most, len(watcher.greys))
            yield frame

    assert len(list(watcher.answers(frames()))) == 124 and watcher.count == 1500
    assert most <= watcher.length + watcher.step


def test_where_nobody_is_that_is_said():
    one = brightness_recogniser(BrightFinder())
    assert isinstance(finder_of(one), BrightFinder)
    found = timeline_of(one, video_of((3, 200), (3, 20), (3, 200)), keep_track=True)
    assert [span.label for span in found.segments] == ["bright", NOBODY, "bright"]
    gone = found.segments[1]
    assert gone.probability is None and gone.reason == "nobody was found"
    assert (gone.start_s, gone.stop_s) == pytest.approx((3, 6), abs=0.6)
    assert found.label == "bright" and found.overall["bright"] > 0.7
    assert len(found.track.frames) == 225 and found.track.mask.shape == (225, 0, 0)
    assert found.track.presence[:75].all() and not found.track.presence[75:150].any()


def test_a_scene_that_rests_names_no_action():
    rests = np.repeat(video_of((1, 200))[:1], 100, 0)
    found = timeline_of(brightness_recogniser(), rests)
    (span,) = found.segments
    assert span.label == UNSURE == found.label and "nothing that can be seen moves" in span.reason
    assert "nothing that can be seen moves" in found.doubts[0]
    moves_later = np.concatenate([rests, video_of((3, 200))])
    assert [s.label for s in timeline_of(brightness_recogniser(), moves_later).segments] == [
        UNSURE,
        "bright",
    ]


def test_a_class_of_less_than_half_is_unsure():
    found = timeline_of(brightness_recogniser(classes=3), video_of((3, 110), (3, 250)))
    assert [span.label for span in found.segments] == [UNSURE, "bright"]
    assert found.segments[0].probability < 0.5
    assert found.segments[0].reason == "no class has a probability of 50%"


def test_something_else_is_said_above_the_threshold():
    names = ("dark", "bright")
    member = brightness_recogniser(BrightFinder(), otherwise=0.6)
    for threshold, label in ((0.5, SOMETHING_ELSE), (0.7, "bright"), (None, "bright")):
        found = timeline_of(Fusion((member,), names, threshold), video_of((3, 200)))
        (span,) = found.segments
        assert span.label == label
        assert found.something_else == pytest.approx([0.6] * len(found.times), abs=1e-5)
    assert spans(timeline_of(Fusion((member,), names, 0.5), video_of((3, 200)))) == [
        (0, 3, SOMETHING_ELSE)
    ]


def test_a_window_is_as_long_as_the_longest_member_needs():
    short, long = brightness_recogniser(), brightness_recogniser(seconds=1.88)
    assert window_seconds(Fusion((short, long), ("dark", "bright"))) == 1.88
    assert window_seconds(brightness_recogniser(seconds=None)) == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.floats(0, 3), st.integers(0, 99))
def test_the_path_is_the_best_of_all(steps, states, switch, seed):
    scores = np.random.default_rng(seed).normal(size=(steps, states))

    def worth(path):
        changes = sum(a != b for a, b in itertools.pairwise(path))
        return sum(scores[n, s] for n, s in enumerate(path)) - switch * changes

    best = max(itertools.product(range(states), repeat=steps), key=worth)
    assert worth(cheapest_path(scores, switch)) == pytest.approx(worth(best))


def test_a_single_window_does_not_interrupt_an_action():
    """Windows half a second apart share most of their frames: one that differs is no change."""
    answers = [module.Answer(0, 1, predict_video(brightness_recogniser(), video_of((1, 60))))] * 9
    probs = np.tile([0.95, 0.05], (9, 1))
    probs[4] = 0.3, 0.7
    assert module.smoothed(answers, probs, np.zeros(9), 4) == ["dark"] * 9
    assert module.smoothed(answers, probs, np.zeros(9), 4, switch=0.0)[4] == "bright"


def test_the_json_is_plain_and_has_times_and_model(tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", video_of((2, 30), (2, 200), fps=50), fps=50)
    told = json.loads(json.dumps(timeline_of(brightness_recogniser(), path).to_json()))
    assert (told["file"], told["model"], told["fps"]) == (str(path), "stand-in", 50)
    assert told["seconds"] == 4 and told["label"] in ("dark", "bright")
    assert [span["label"] for span in told["segments"]] == ["dark", "bright"]
    assert len(told["times"]) == len(told["window_probs"]) == len(told["labels"])
    assert set(told["probs"]) == {"dark", "bright"}


def test_rows_are_spans():
    rows = timeline_of(brightness_recogniser(), video_of((2, 30), (2, 200))).rows()
    assert [(row["label"], row["start_s"]) for row in rows] == [
        ("dark", 0.0),
        ("bright", pytest.approx(2, abs=0.3)),
    ]


def test_it_shows_itself_as_a_picture(pyplot_stays_empty):
    found = timeline_of(brightness_recogniser(BrightFinder()), video_of((2, 200), (3, 20)))
    assert found._repr_png_()[:4] == b"\x89PNG"
    axes = found.figure().axes
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["bright", NOBODY]


@pytest.mark.parametrize(
    ("how", "message"),
    [({"every": 0}, "every is 0"), ({"fps": -1}, "fps is -1"), ({"every": float("nan")}, "every")],
)
def test_times_that_are_none_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        timeline_of(brightness_recogniser(), video_of((1, 30)), **how)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "an iterator without a frame"),
        ([np.zeros((4, 4))], r"a frame of float64 and shape \(4, 4\)"),
        ([np.zeros((4, 4, 4), np.uint8)], r"uint8 and shape \(4, 4, 4\)"),
    ],
)
def test_frames_that_are_none_are_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        timeline_of(brightness_recogniser(), iter(frames))


def test_the_one_label_is_the_action_that_lasts_longest():
    def timeline(*labels):
        parts = tuple(module.Span(n, n + 1, label, 0.5) for n, label in enumerate(labels))
        probs = np.array([[0.9, 0.1]] * len(labels))
        empty = dataclasses.replace(base, segments=parts, labels=labels, probs=probs)
        return empty.label

    base = timeline_of(brightness_recogniser(), video_of((1, 30)))
    assert isinstance(base, Timeline)
    assert timeline(NOBODY, NOBODY, "dark") == "dark"
    assert timeline("dark", "bright", NOBODY, "bright") == "bright"
    assert timeline(NOBODY, UNSURE, UNSURE) == UNSURE


def test_a_stand_in_says_what_it_is_to_say():
    probs = SaysBrightness(2)(torch.full((1, 4, 1, 6, 8), 0.25), torch.ones(1, 4) > 0).exp()
    assert probs[0].tolist() == pytest.approx([0.75, 0.25])
