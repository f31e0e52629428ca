"""Figures are built from arrays, say what they were given, and leave pyplot as they found it."""

import io

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from utils import viz

CLASSES = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")


@pytest.fixture
def clip(rng):
    return rng.integers(0, 256, (6, 12, 16), dtype=np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _pyplot_stays_empty():
    yield
    assert plt.get_fignums() == [], (
        "a figure was left open in pyplot: a notebook would show it twice"
    )


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue()[:4] == b"\x89PNG"
    return buffer.getvalue()


def texts(figure):
    found = [figure.get_suptitle()]
    for axis in figure.axes:
        found += [axis.get_xlabel(), axis.get_ylabel(), *(t.get_text() for t in axis.texts)]
        found += [t.get_text() for t in (*axis.get_xticklabels(), *axis.get_yticklabels())]
    return " ".join(found)


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


def test_segment_timeline_marks_middle_frames_outside(rng):
    figure = viz.segment_timeline(
        {"running": (100, [(0, 20), (80, 100)]), "boxing": (100, [(0, 50), (50, 100)])}
    )
    markers = [line.get_marker() for line in figure.axes[0].lines]
    assert markers == ["X", "o"]
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(50 / 25)
    png(figure)


def test_training_curves_draw_both_sides_of_each_run():
    history = [
        {
            "epoch": e,
            "train_loss": 1 / e,
            "val_loss": 2 / e,
            "train_accuracy": 0.5,
            "val_accuracy": 0.4,
        }
        for e in (1, 2)
    ]
    figure = viz.training_curves({"ghost": history, "gru": history}, title="curves")
    assert [len(axis.lines) for axis in figure.axes] == [4, 4]
    assert list(figure.axes[0].lines[1].get_ydata()) == [2.0, 1.0]
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 2
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "accuracy"]
    legend = figure.axes[1].get_legend().get_title().get_text()
    assert "thin: training, with dropout" in legend
    png(figure)


def test_confusion_figure_shows_counts_and_names():
    matrix = np.arange(36).reshape(6, 6) + 1
    said = texts(viz.confusion_figure(matrix, CLASSES, title="who is whom"))
    assert all(
        name in said for name in (*CLASSES, "36\n(0.18)", "predicted", "true", "who is whom")
    )


def test_confusion_figure_survives_a_class_without_clips(recwarn):
    matrix = np.zeros((6, 6), dtype=int)
    matrix[0, 0] = 3
    figure = viz.confusion_figure(matrix, CLASSES)
    png(figure)
    assert "nan" not in texts(figure) and not [
        w for w in recwarn if issubclass(w.category, RuntimeWarning)
    ]


def test_confusion_figure_refuses_another_number_of_classes():
    with pytest.raises(ValueError, match=r"\(2, 2\) does not fit 6"):
        viz.confusion_figure(np.eye(2), CLASSES)


@pytest.mark.parametrize("with_frames", [False, True])
def test_probability_timeline(rng, clip, with_frames):
    probs = rng.dirichlet(np.ones(6), size=6)
    figure = viz.frame_probability_timeline(
        probs,
        CLASSES,
        frames=[0, 5, 10, 15, 20, 25],
        thumbnails=clip if with_frames else None,
        title="jogging",
    )
    axis = figure.axes[-1]
    assert len(figure.axes) == 1 + with_frames
    seconds, jogging = axis.lines[3].get_data()
    assert np.allclose(seconds, np.arange(6) / 5) and np.allclose(jogging, probs[:, 3])
    assert len({(line.get_linestyle(), line.get_marker()) for line in axis.lines}) == 6
    png(figure)


def test_probability_timeline_refuses_another_number_of_classes():
    with pytest.raises(ValueError, match="2 classes do not fit 6 names"):
        viz.frame_probability_timeline(np.ones((3, 2)) / 2, CLASSES)


def test_embedding_map_projects_and_keeps_points_given_in_the_plane(rng):
    points, labels = rng.normal(size=(30, 10)), np.arange(30) % 6
    png(viz.embedding_map(points, labels, CLASSES, title="map"))
    figure = viz.embedding_map(points[:, :2], labels, CLASSES)
    assert np.allclose(figure.axes[0].collections[1].get_offsets(), points[labels == 1, :2])
    with pytest.raises(ValueError, match="29 labels"):
        viz.embedding_map(points, labels[:29], CLASSES)


def test_the_principal_plane_keeps_distances_of_points_that_lie_in_one(rng):
    flat = rng.normal(size=(20, 2))
    basis, _ = np.linalg.qr(rng.normal(size=(7, 2)))
    plane = viz.principal_plane(flat @ basis.T + 3.0)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    assert np.allclose(np.linalg.norm(plane[:, None] - plane[None], axis=-1), distance)
    assert viz.principal_plane(np.ones((1, 5))).shape == (1, 2)


def test_a_row_of_a_mistake_says_what_was_classified_as_what(clip):
    label = viz.mistake_label("person02_running_d1#3", "running", "jogging", 0.61)
    figure = viz.frame_grid({label: clip}, title="misclassified")
    assert "person02_running_d1#3\nis running\nclassified as jogging (61%)" in texts(figure)


def test_accuracy_intervals_are_in_percent():
    figure = viz.accuracy_intervals({"ghost": (0.5, 0.4, 0.6), "gru": (0.9, 0.85, 0.94)})
    assert list(figure.axes[0].lines[0].get_xdata()) == [40.0, 60.0]
    assert "90.0%" in texts(figure)
    png(figure)


def test_reliability_figure_leaves_out_empty_bins_and_shows_all_counts():
    nan = float("nan")
    curve = (np.array([nan, 0.4, 0.9]), np.array([nan, 0.5, 0.6]), np.array([0, 2, 8]))
    figure = viz.reliability_figure({"ghost": curve, "gru": curve}, title="over-confident")
    above, below = figure.axes
    assert list(above.lines[1].get_xdata()) == [0.4, 0.9] and list(above.lines[1].get_ydata()) == [
        0.5,
        0.6,
    ]
    small, large = above.collections[0].get_sizes()
    assert small < large
    stairs = below.patches[0].get_data()
    assert list(stairs.values) == [0, 2, 8] and np.allclose(stairs.edges, [0, 1 / 3, 2 / 3, 1])
    assert len({line.get_linestyle() for line in above.lines[1::2]}) == 2
    assert above.get_xlim() == below.get_xlim() == (0, 1.02)
    assert "predictions" in texts(figure) and "perfectly calibrated" in texts(figure)
    png(figure)


def test_difference_figure_tells_better_from_worse_by_shape_in_percentage_points():
    rows = {
        "gru - ghost": (0.2, 0.1, 0.3),
        "tcn - gru": (-0.01, -0.03, 0.02),
        "middle - gru": (-0.3, -0.4, -0.2),
    }
    figure = viz.difference_figure(rows, title="what order is worth")
    lines = figure.axes[0].lines
    assert list(lines[0].get_xdata()) == [0, 0]
    assert [line.get_marker() for line in lines[2::2]] == [">", "o", "<"]
    assert np.allclose(lines[1].get_xdata(), [10, 30])
    assert all(
        text in texts(figure)
        for text in ("+20.0", "\N{MINUS SIGN}1.0", "tcn - gru", "worth", "(percentage points)")
    )
    png(figure)


def test_difference_figure_takes_an_edge_on_zero_for_a_tie():
    figure = viz.difference_figure({"a": (0.1, 0.0, 0.2), "b": (0.0, 0.0, 0.0)})
    assert [line.get_marker() for line in figure.axes[0].lines[2::2]] == ["o", "o"]


def test_fold_figure_has_a_dot_a_fold_and_names_the_worst():
    nan = float("nan")
    rows = {"ghost": [0.5, 0.75, 1.0], "gru": [1.0, nan, 1.0]}
    figure = viz.fold_figure(rows, ["one", "two", "three"], title="folds")
    axis = figure.axes[0]
    assert np.allclose(axis.collections[0].get_offsets()[:, 0], [50, 75, 100])
    assert [line.get_xdata()[0] for line in axis.lines] == [75, 100]
    said = [text.get_text() for text in axis.texts]
    assert said == ["mean 75.0", "one", "mean 100.0"]  # where all are equal nobody is worst
    ghost, gru = (collection.get_offsets()[:, 1] for collection in axis.collections)
    assert np.allclose((gru - ghost)[[0, 2]], 1)  # a fold keeps its height from row to row
    png(figure)


@pytest.mark.parametrize("values", [[0.5], [float("nan"), float("nan")]])
def test_fold_figure_refuses_rows_that_do_not_fit(values):
    with pytest.raises(ValueError, match="ghost: .* accuracies are numbers, for 2 labels"):
        viz.fold_figure({"ghost": values}, ["one", "two"])


def test_leakage_figure_hatches_what_is_inflated():
    figure = viz.leakage_figure(
        {"ghost": (0.7, 0.6, 0.8, 0.9, 0.85, 0.95), "gru": (0.9, 0.8, 1.0, 1.0, 1.0, 1.0)}
    )
    bars = figure.axes[0].patches
    assert np.allclose([bar.get_height() for bar in bars], [70, 90, 90, 100])
    assert [bool(bar.get_hatch()) for bar in bars] == [False, False, True, True]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "split by person",
        "leaky split",
    ]
    assert "70.0" in texts(figure) and "100.0" in texts(figure)
    png(figure)


@pytest.mark.parametrize(
    "draw",
    [
        viz.reliability_figure,
        viz.difference_figure,
        viz.leakage_figure,
        lambda rows: viz.fold_figure(rows, ["one"]),
    ],
)
def test_figures_of_evidence_need_a_row(draw):
    with pytest.raises(ValueError, match="at least one"):
        draw({})


def test_a_figure_shows_itself_in_a_notebook(clip):
    assert viz.frame_grid({"a": clip})._repr_png_()[:4] == b"\x89PNG"


HISTORY = [
    {"epoch": 1, "train_loss": 2.0, "val_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.4}
]
BINS = (np.array([0.4, 0.9]), np.array([0.5, 0.6]), np.array([2, 8]))
SINGLE = {
    "confusion": lambda **how: viz.confusion_figure(np.eye(6), CLASSES, **how),
    "timeline": lambda **how: viz.segment_timeline({"a": (10, [(0, 5)])}, **how),
    "map": lambda **how: viz.embedding_map(np.ones((6, 2)), range(6), CLASSES, **how),
    "probabilities": lambda **how: viz.frame_probability_timeline(np.eye(6), CLASSES, **how),
    "accuracies": lambda **how: viz.accuracy_intervals({"a": (0.5, 0.4, 0.6)}, **how),
    "differences": lambda **how: viz.difference_figure({"a": (0.5, 0.4, 0.6)}, **how),
    "folds": lambda **how: viz.fold_figure({"a": (0.5, 0.4)}, ["one", "two"], **how),
    "leakage": lambda **how: viz.leakage_figure({"a": (0.5, 0.4, 0.6, 0.7, 0.6, 0.8)}, **how),
    "costs": lambda **how: viz.cost_curves({"a": [(1, 0.5, 0.4, 0.6)]}, chosen=("a", 0), **how),
}
DIVIDED = {
    "grid": (
        4,
        lambda **how: viz.frame_grid({"a": np.ones((2, 4, 4)), "b": np.ones((1, 4, 4))}, **how),
    ),
    "curves": (2, lambda **how: viz.training_curves({"a": HISTORY}, **how)),
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
    ours = Figure(layout="constrained")
    left, right = ours.subplots(1, 2)
    assert draw(axis=right, title="panels") is ours
    assert len(ours.axes) == 2 + panels and right.get_title() == "panels"
    ours.draw_without_rendering()
    middle = left.get_position().x1
    assert all(axis.get_position().x0 > middle for axis in ours.axes[2:])
    assert len(draw().axes) == panels
    png(ours)


def test_a_confusion_matrix_leaves_the_axes_of_pyplot_alone():
    figure, (left, right) = plt.subplots(1, 2)
    viz.confusion_figure(np.eye(2), ("a", "b"), axis=left)
    assert (left.get_xlabel(), right.get_xlabel()) == ("predicted", "")
    assert plt.gcf() is figure
    plt.close(figure)
