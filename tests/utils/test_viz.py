"""Figures are built from arrays, say what they were given, and leave pyplot as they found it."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.utils.drawn import CLASSES, legend_of, png, texts
from utils import viz

pytestmark = pytest.mark.usefixtures("pyplot_stays_empty")


@pytest.fixture
def clip(rng):
    return rng.integers(0, 256, (6, 12, 16), dtype=np.uint8)


def test_frame_grid_shows_every_frame_of_a_short_clip_and_spreads_over_a_long_one(clip):
    figure = viz.frame_grid(
        {"short": clip[:2], "long": np.repeat(clip, 3, axis=0)}, title="two clips", columns=4
    )
    shown = [len(axis.images) for axis in figure.axes]
    assert shown == [1, 1, 0, 0, 1, 1, 1, 1]
    first, last = figure.axes[4].images[0].get_array(), figure.axes[7].images[0].get_array()
    assert np.allclose(first, clip[0] / 255) and np.allclose(last, clip[-1] / 255)
    assert "two clips" in texts(figure) and "long" in texts(figure)
    png(figure)


def test_float_clips_with_channels_are_shown_like_bytes(clip):
    floats = (clip / 255).astype(np.float32)
    shown = [
        viz.frame_grid({"a": c}).axes[1].images[0].get_array() for c in (clip, floats[:, None])
    ]
    assert np.allclose(*shown, atol=1e-6)
    colour = (
        viz.frame_grid({"a": np.stack([floats, floats, floats], axis=1)})
        .axes[0]
        .images[0]
        .get_array()
    )
    assert colour.shape == (12, 16, 3)


@pytest.mark.parametrize("shape", [(12, 16), (0, 12, 16), (3, 2, 12, 16)])
def test_what_is_not_a_clip_is_named_with_its_shape(shape):
    with pytest.raises(ValueError, match="walker"):
        viz.frame_grid({"walker": np.zeros(shape)})


def test_no_rows_is_an_error():
    with pytest.raises(ValueError, match="no rows"):
        viz.frame_grid({})


TIMELINES = {"running": (100, [(0, 20), (80, 100)]), "boxing": (100, [(0, 50), (50, 100)])}


def test_segment_timeline_marks_middle_frames_outside():
    figure = viz.segment_timeline(TIMELINES)
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert markers == ["X", "o"]
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(50 / 25)
    png(figure)


def test_segment_timeline_shows_middle_frames_and_whether_anybody_is_in_them(clip):
    middles = {"running": (clip[0], True), "boxing": (clip[1], False)}
    axis = viz.segment_timeline(TIMELINES, middles=middles, title="middles").axes[0]
    assert [line.get_marker() for line in axis.lines] == ["o", "X"]
    shown = [child.images[0].get_array() for child in axis.child_axes]
    assert np.allclose(shown, clip[:2] / 255)
    figure = axis.figure
    png(figure)
    for y, child in enumerate(axis.child_axes):
        box = axis.transData.inverted().transform(child.get_window_extent())
        assert box[0, 0] > 100 / 25 and box[:, 1].mean() == pytest.approx(y, abs=0.05)
        assert box[1, 0] <= axis.get_xlim()[1]


def test_the_legend_of_a_segment_timeline_names_every_shade_and_marker(clip):
    for middles in (None, dict.fromkeys(TIMELINES, (clip[0], True))):
        figure = viz.segment_timeline(TIMELINES, middles=middles)
        bars = {bar.get_facecolor() for bar in figure.axes[0].patches}
        legend = figure.legends[0]
        assert bars == {patch.get_facecolor() for patch in legend.get_patches()}
        assert len(legend_of(figure)) == 4
    assert legend_of(figure)[2:] == ["middle frame shows a person", "middle frame shows nobody"]


def test_segment_timeline_needs_each_middle_frame(clip):
    with pytest.raises(ValueError, match="no middle frame of boxing; give one a file"):
        viz.segment_timeline(TIMELINES, middles={"running": (clip[0], True)})
    with pytest.raises(ValueError, match=r"running: an image of shape \(6, 12, 16\)"):
        viz.segment_timeline(TIMELINES, middles=dict.fromkeys(TIMELINES, (clip, True)))


@pytest.mark.parametrize("with_frames", [False, True])
def test_probability_timeline(rng, clip, with_frames):
    probs = rng.dirichlet(np.full(6, 9.0), size=6)
    figure = viz.frame_probability_timeline(
        probs,
        CLASSES,
        frames=[0, 5, 10, 15, 20, 25],
        thumbnails=clip if with_frames else None,
        title="jogging",
    )
    axis = figure.axes[-1]
    assert len(figure.axes) == 1 + with_frames
    by_name = {line.get_label(): line for line in axis.lines}
    seconds, jogging = by_name["jogging"].get_data()
    assert np.allclose(seconds, np.arange(6) / 5) and np.allclose(jogging, probs[:, 3])
    drawn = [by_name[name] for name in CLASSES]
    assert len({(line.get_linestyle(), line.get_marker()) for line in drawn}) == 6
    png(figure)


def test_improbable_classes_have_no_line_but_a_word():
    probs = np.array([[0.9, 0.06, 0.04], [0.96, 0.03, 0.01]])
    figure = viz.frame_probability_timeline(probs, "abc")
    assert [line.get_label() for line in figure.axes[0].lines] == ["a", "b"]
    assert legend_of(figure) == ["a", "b", "other below 5 %"]
    figure = viz.frame_probability_timeline(probs, "abc", shown_above=0.97)
    assert legend_of(figure) == ["a", "others below 97 %"]  # the most probable always
    full = viz.frame_probability_timeline(probs, "abc", shown_above=0.0)
    assert legend_of(full) == ["a", "b", "c"]


def test_a_class_keeps_its_marker_whichever_others_are_drawn():
    marker = [
        viz.frame_probability_timeline(np.tile(row, (2, 1)), "abc").axes[0].lines[-1].get_marker()
        for row in ([0.3, 0.3, 0.4], [0.99, 0.0, 0.01], [0.0, 0.0, 1.0])
    ]
    assert marker[0] == marker[2] != marker[1]


def test_thumbnails_stand_over_their_own_time_and_never_over_one_another(clip):
    frames, shown = np.arange(40) * 3 + 50, np.repeat(clip, 7, axis=0)[:40]
    figure = viz.frame_probability_timeline(
        np.full((40, 2), 0.5), "ab", frames=frames, thumbnails=shown
    )
    png(figure)
    above, axis = figure.axes
    boxes = [child.get_window_extent() for child in above.child_axes]
    assert 5 < len(boxes) <= 10
    assert all(one.x1 < other.x0 for one, other in zip(boxes[:-1], boxes[1:], strict=True))
    middles = [axis.transData.inverted().transform(((box.x0 + box.x1) / 2, 0))[0] for box in boxes]
    places = [int(np.abs(frames / 25 - at).argmin()) for at in middles]
    assert np.allclose(middles, frames[places] / 25, atol=0.02)
    images = [child.images[0].get_array() for child in above.child_axes]
    assert np.allclose(images, shown[places] / 255)
    assert all(child.spines["left"].get_visible() for child in above.child_axes)
    assert all(box.width / box.height == pytest.approx(16 / 12, rel=0.05) for box in boxes)


def test_no_line_is_drawn_where_frames_are_missing_for_long():
    figure = viz.frame_probability_timeline(np.full((4, 2), 0.5), "ab", frames=[0, 1, 100, 101])
    assert (
        np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False] * 2 + [True] + [False] * 2
    )
    png(viz.frame_probability_timeline(np.full((1, 2), 0.5), "ab", thumbnails=np.ones((1, 4, 4))))


def test_probability_timeline_refuses_what_does_not_fit(clip):
    with pytest.raises(ValueError, match="2 classes do not fit 6 names"):
        viz.frame_probability_timeline(np.ones((3, 2)) / 2, CLASSES)
    with pytest.raises(ValueError, match="6 thumbnails do not fit 3 rows"):
        viz.frame_probability_timeline(np.ones((3, 2)) / 2, "ab", thumbnails=clip)


def test_an_activation_map_lightens_its_image_and_is_outlined_at_half():
    heat = np.zeros((3, 4))
    heat[1, 1] = 5.0
    figure = viz.activation_figure(
        {"boxing": np.full((30, 40), 51, np.uint8), "flat": np.zeros((30, 40))},
        {"boxing": heat, "flat": np.ones((2, 2))},
        title="active",
    )
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (30, 40, 3)
    assert np.allclose(image[29, 39], 0.2) and image[15, 15].mean() > 0.4
    grey = image @ [0.299, 0.587, 0.114]
    assert np.unravel_index(grey.argmax(), grey.shape) == (14, 15)  # its cell's centre
    assert np.allclose(figure.axes[1].images[0].get_array(), 0)  # a map without a range
    assert len(figure.axes[0].collections) == 2 and "boxing" in texts(figure)
    png(figure)


def test_activation_figure_refuses_what_is_no_map():
    image = {"a": np.zeros((4, 4))}
    with pytest.raises(ValueError, match="images of a and maps of b; give one map an image"):
        viz.activation_figure(image, {"b": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"a: an activation map of shape \(2,\); give \(h, w\)"):
        viz.activation_figure(image, {"a": np.ones(2)})
    with pytest.raises(ValueError, match=r"a: an image of shape \(1, 4, 4\); give \(H, W\)"):
        viz.activation_figure({"a": np.zeros((1, 4, 4))}, {"a": np.ones((2, 2))})


def test_a_row_of_a_mistake_says_what_was_classified_as_what(clip):
    label = viz.mistake_label("person02_running_d1#3", "running", "jogging", 0.61)
    figure = viz.frame_grid({label: clip}, title="misclassified")
    assert "person02_running_d1#3\nis running\nclassified as jogging (61%)" in texts(figure)


def shown(figure):
    """What a notebook shows of a figure."""
    return Image.open(io.BytesIO(figure._repr_png_()))


def test_a_figure_shows_itself_in_a_notebook_in_few_colours_on_pure_white(clip):
    for figure in (
        viz.frame_grid({"a": clip}),
        viz.accuracy_curves({"a": [(1, 0.5), (2, 0.6)], "b": [(1, 0.4), (2, 0.7)]}),
    ):
        image = shown(figure)
        assert image.format == "PNG" and image.mode == "P"
        assert len(image.getcolors()) <= 64
        assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)


def test_greys_stay_close_to_what_they_were():
    ramp = np.tile(np.linspace(0, 1, 64), (48, 1))
    figure = viz.frame_grid({"ramp": ramp[None]})
    exact = np.asarray(Image.open(io.BytesIO(png(figure))).convert("L"), dtype=int)
    assert abs(np.asarray(shown(figure).convert("L"), dtype=int) - exact).max() <= 3


def test_a_figure_full_of_noise_gets_fewer_colours_until_it_is_small(rng):
    noise = rng.integers(0, 256, (48, 120, 160), dtype=np.uint8)
    rows = {str(n): noise[8 * n :][:8] for n in range(6)}
    assert len(shown(viz.frame_grid(rows)).getcolors()) <= 16


@pytest.mark.parametrize("columns", [1, 8, 16])
def test_no_figure_is_wider_than_a_page(clip, columns):
    name = viz.mistake_label("person02_running_d1#3", "running", "jogging", 0.61)
    figure = viz.frame_grid({name: np.repeat(clip, 3, axis=0)}, columns=columns, caption="time")
    assert figure.get_size_inches()[0] <= 9.001 and "time" in texts(figure)


HISTORY = [
    {"epoch": 1, "train_loss": 2.0, "val_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.4}
]
TWO, SEEDS = np.eye(2), {"row": ([0.9], 0.8, 0.95)}
MAPS = {"a": np.eye(4), "b": np.eye(4)}
BINS = (np.array([0.4, 0.9]), np.array([0.5, 0.6]), np.array([2, 8]))
SINGLE = {
    "confusion": lambda **how: viz.confusion_figure(np.eye(6), CLASSES, **how),
    "timeline": lambda **how: viz.segment_timeline({"a": (10, [(0, 5)])}, **how),
    "map": lambda **how: viz.embedding_map(np.ones((6, 2)), range(6), CLASSES, **how),
    "probabilities": lambda **how: viz.frame_probability_timeline(np.eye(6), CLASSES, **how),
    "accuracies": lambda **how: viz.accuracy_intervals({"a": (0.5, 0.4, 0.6)}, **how),
    "differences": lambda **how: viz.difference_figure({"a": (0.5, 0.4, 0.6)}, **how),
    "folds": lambda **how: viz.fold_figure({"a": (0.5, 0.4)}, ["one", "two"], **how),
    "pairs": lambda **how: viz.paired_dots({"a": (0.5, 0.6)}, ("one", "two"), **how),
    "groups": lambda **how: viz.grouped_dots({"a": {"one": [0.5]}}, **how),
    "costs": lambda **how: viz.accuracy_curves({"a": [(1, 0.5, 0.4, 0.6)]}, chosen=("a", 0), **how),
    "flow": lambda **how: viz.flow_figure({"a": [("mean", "(6)"), ("linear", "(6)")]}, **how),
}
DIVIDED = {
    "grid": (
        4,
        lambda **how: viz.frame_grid({"a": np.ones((2, 4, 4)), "b": np.ones((1, 4, 4))}, **how),
    ),
    "curves": (4, lambda **how: viz.learning_curves({"a": [HISTORY], "b": [HISTORY]}, **how)),
    "matrices": (2, lambda **how: viz.confusion_multiples({"a": TWO, "b": TWO}, "ab", **how)),
    "seeds": (2, lambda **how: viz.seed_chart({"a": SEEDS, "b": SEEDS}, **how)),
    "counts": (2, lambda **how: viz.count_histograms({"a": [0], "b": [1]}, label="n", **how)),
    "maps": (2, lambda **how: viz.activation_figure(MAPS, MAPS, **how)),
    "reliability": (2, lambda **how: viz.reliability_figure({"a": BINS}, **how)),
    "film": (
        2,
        lambda **how: viz.frame_probability_timeline(
            np.eye(6), CLASSES, thumbnails=np.ones((6, 4, 4)), **how
        ),
    ),
}


@pytest.mark.parametrize("draw", SINGLE.values(), ids=SINGLE)
def test_figures_stand_side_by_side(draw):
    ours = Figure(layout="constrained")
    left, right = ours.subplots(1, 2)
    assert draw(axis=left, title="left") is ours and draw(axis=right, title="right") is ours
    assert ours.axes == [left, right] and not ours.get_suptitle() and not ours.legends
    assert [axis.get_title() for axis in ours.axes] == ["left", "right"]
    assert left.get_xlabel() == right.get_xlabel() and left.get_ylabel() == right.get_ylabel()
    png(ours)


@pytest.mark.parametrize(("panels", "draw"), DIVIDED.values(), ids=DIVIDED)
def test_figures_of_several_panels_divide_the_place_of_their_axis(panels, draw):
    ours = Figure(figsize=(12, 5), layout="constrained")
    left, right = ours.subplots(1, 2)
    assert draw(axis=right, title="panels") is ours
    assert len(ours.axes) == 2 + panels and right.get_title() == "panels"
    ours.draw_without_rendering()
    middle = left.get_position().x1
    assert all(axis.get_position().x0 > middle for axis in ours.axes[2:])
    assert len(draw().axes) == panels
    png(ours)


def test_a_track_is_drawn_over_its_frames_and_nobody_is_nothing(clip):
    boxes = np.array([[2.0, 3.0, 9.0, 11.0], [np.nan] * 4])
    points = np.array([[[3.5, 4.5, 1.0], [8.5, 4.5, 1.0]], [[np.nan] * 3] * 2])
    figure = viz.track_figure(clip[:2], boxes, points, [(0, 1)], title="who is where")
    there, empty = figure.axes
    box, bone = there.lines[1], there.lines[3]  # each lies on a wider black one
    assert np.allclose(box.get_xdata(), np.array([2, 9, 9, 2, 2]) - 0.5)
    assert np.allclose(box.get_ydata(), np.array([3, 3, 11, 11, 3]) - 0.5)
    assert np.allclose(bone.get_xydata(), [[3, 4], [8, 4]])
    assert all(np.isnan(line.get_xdata()).all() for line in empty.lines)
    assert "who is where" in texts(figure)
    png(figure)
    with pytest.raises(ValueError, match="2 frames, 1 boxes and 2 sets of points; give one of"):
        viz.track_figure(clip[:2], boxes[:1], points, [])


def test_a_notebook_is_given_the_small_picture_before_it_makes_its_own(rng, monkeypatch):
    """IPython has a way of its own with matplotlib's figures, which knows no palette."""
    figure = viz.frame_grid({"noise": rng.random((8, 3, 96, 128))}, columns=8)
    shown = []
    monkeypatch.setattr("IPython.display.publish_display_data", shown.append)
    figure._ipython_display_()
    [bundle] = shown
    assert len(bundle["image/png"]) <= 150_000
    assert Image.open(io.BytesIO(bundle["image/png"])).mode == "P"
