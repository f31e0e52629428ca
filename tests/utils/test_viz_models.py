"""Figures of models: steps, learning curves, confusion, calibration and maps say what they were
given."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from tests.utils.drawn import CLASSES, legend_of, lines, png, texts
from utils import viz

pytestmark = pytest.mark.usefixtures("pyplot_stays_empty")


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


def test_a_confusion_matrix_leaves_the_axes_of_pyplot_alone():
    figure, (left, right) = plt.subplots(1, 2)
    viz.confusion_figure(np.eye(2), ("a", "b"), axis=left)
    assert (left.get_xlabel(), right.get_xlabel()) == ("predicted", "")
    assert plt.gcf() is figure
    plt.close(figure)


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


def test_map_markers_are_hollow_and_filled_by_turns(rng):
    axis = viz.embedding_map(rng.normal(size=(12, 2)), np.arange(12) % 6, CLASSES).axes[0]
    filled = [bool(len(dots.get_facecolor())) for dots in axis.collections]
    assert filled == [True, False] * 3


def test_confusion_figure_leaves_zeros_blank():
    axis = viz.confusion_figure(np.array([[3, 0], [1, 2]]), "ab").axes[0]
    shown = [text.get_text() for text in axis.texts if text.get_visible()]
    assert shown == ["3\n(1.00)", "1\n(0.33)", "2\n(0.67)"]


FLOW = {
    "late fusion": [
        ("8 frames", "(8, 1, 96, 128)"),
        ("image encoder, frozen EfficientNet-B0", "(8, 1280)"),
        ("linear layer, softmax", "(8, 6)"),
        ("mean of the frames", "(6)"),
    ],
    "ghost frame": [
        ("8 frames", "(8, 1, 96, 128)"),
        ("mean of the frames", "(1, 1, 96, 128)"),
        ("image encoder", "(1, 1280)"),
        ("normalisation of layers, dropout, linear layer", "(1, 6)"),
        ("softmax", ""),
        ("prediction", "(6)"),
    ],
}


def test_flow_figure_shades_the_steps_that_take_the_mean():
    axis = viz.flow_figure(FLOW, title="where").axes[0]
    shaded = [box.get_facecolor()[0] < 1 for box in axis.patches if box.get_width() > 0.5]
    assert shaded == [False, False, False, True, False, True, False, False, False, False]
    bold = [text.get_text() for text in axis.texts if text.get_fontweight() == "bold"]
    assert bold == ["late fusion", "mean of the\nframes", "ghost frame", "mean of the\nframes"]
    assert (
        sum(text.arrow_patch is not None for text in axis.texts if hasattr(text, "xycoords")) == 8
    )
    lowered = viz.flow_figure(FLOW, marked="softmax").axes[0]
    assert sum(box.get_facecolor()[0] < 1 for box in lowered.patches) == 2


def test_the_texts_of_a_flow_figure_stay_in_their_boxes_and_are_large_enough():
    figure = viz.flow_figure(FLOW, title="where")
    png(figure)
    axis = figure.axes[0]
    boxes = [box.get_window_extent() for box in axis.patches]
    steps = [text for text in axis.texts if text.get_ha() == "center" and text.get_text()]
    assert len(steps) == 19
    for text in steps:
        extent = text.get_window_extent()
        assert any(
            box.x0 <= extent.x0
            and extent.x1 <= box.x1
            and box.y0 <= extent.y0
            and extent.y1 <= box.y1
            for box in boxes
        ), text.get_text()
    assert min(text.get_fontsize() for text in steps) * 8.5 / figure.get_size_inches()[0] >= 8


def test_flow_figure_needs_steps():
    with pytest.raises(ValueError, match="no steps of b, c; give at least one a model"):
        viz.flow_figure({"a": [("mean", "")], "b": [], "c": []})


def history(*losses):
    return [
        {
            "epoch": epoch,
            "train_loss": loss,
            "val_loss": 2 * loss,
            "train_accuracy": 0.5,
            "val_accuracy": 0.4,
        }
        for epoch, loss in enumerate(losses, 1)
    ]


def test_learning_curves_draw_both_sides_of_every_seed_on_shared_axes():
    figure = viz.learning_curves(
        {"ghost": [history(1, 0.5), history(2, 1)], "gru": [history(0.1, 0.1, 0.1)]},
        floor=0.42,
        title="curves",
    )
    loss, other, accuracy, last = figure.axes
    assert [len(axis.lines) for axis in figure.axes] == [5, 3, 4, 2]
    train, val = loss.lines[:2]
    assert list(train.get_ydata()) == [1, 0.5] and list(val.get_ydata()) == [2, 1]
    assert train.get_linewidth() < 1 < val.get_linewidth()
    assert list(accuracy.lines[1].get_ydata()) == [40, 40]
    assert loss.get_ylim() == other.get_ylim() and accuracy.get_ylim() == last.get_ylim()
    assert loss.get_xlim() == last.get_xlim()
    assert [axis.get_title() for axis in (loss, other)] == ["ghost", "gru"]
    assert loss.get_ylabel() == "loss" and accuracy.get_ylabel() == "accuracy (%)"
    floor = lines(loss, linestyle="--")[0]
    assert list(floor.get_ydata()) == [0.42, 0.42]
    assert legend_of(figure) == ["training, with dropout", "validation", "floor of the loss, 0.42"]
    png(figure)


def test_learning_curves_without_a_floor_name_none():
    figure = viz.learning_curves({"gru": [history(1)]})
    assert legend_of(figure) == ["training, with dropout", "validation"]


@pytest.mark.parametrize("seeds", [[], [[]], [history(1), []]])
def test_learning_curves_name_a_model_without_epochs(seeds):
    with pytest.raises(ValueError, match="gru: a history without epochs"):
        viz.learning_curves({"gru": seeds})


MATRIX = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])


def test_confusion_multiples_shade_rows_leave_zeros_blank_and_frame_a_block():
    figure = viz.confusion_multiples(
        {"ghost": MATRIX, "gru": 3 * np.eye(3, dtype=int)}, "abc", outlined=(2, 1), title="two"
    )
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["3", "1", "4"]
    assert np.allclose(left.images[0].get_array(), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert [text.get_color() for text in left.texts] == ["white", "black", "white"]
    assert left.get_title() == "ghost\n7 of 8" and right.get_title() == "gru\n9 of 9"
    [frame] = right.patches
    assert frame.get_xy() == (0.5, 0.5) and (frame.get_width(), frame.get_height()) == (2, 2)
    png(figure)


def named(panel):
    """Whether the classes are named left of a panel and below it."""
    return (
        panel.yaxis.get_tick_params()["labelleft"],
        panel.xaxis.get_tick_params()["labelbottom"],
    )


def test_confusion_multiples_name_the_classes_left_and_below_alone():
    panels = viz.confusion_multiples({str(n): MATRIX for n in range(7)}, "abc").axes
    assert [named(panel) for panel in panels[:7]] == [
        (True, False),
        (False, False),
        (False, False),
        (False, True),  # nothing stands below it
        (True, True),
        (False, True),
        (False, True),
    ]
    assert not panels[7].axison
    assert [panel.get_ylabel() for panel in panels[:5]] == ["true", "", "", "", "true"]


@pytest.mark.parametrize("block", [(0, 2), (-1, 0), (2, 3), (1, 1)])
def test_confusion_multiples_frame_neighbours_only(block):
    with pytest.raises(ValueError, match="cannot be framed as one block; .* between 0 and 2"):
        viz.confusion_multiples({"a": MATRIX}, "abc", outlined=block)


def test_confusion_multiples_name_a_matrix_that_does_not_fit():
    with pytest.raises(ValueError, match=r"gru: a confusion matrix of shape \(3, 3\) .* 2 classes"):
        viz.confusion_multiples({"gru": MATRIX}, "ab")


def test_reliability_figure_leaves_out_thin_bins_and_shows_all_counts():
    nan = float("nan")
    curve = (
        np.array([nan, 0.3, 0.5, 0.9]),
        np.array([nan, 1.0, 0.5, 0.6]),
        np.array([0, 9, 10, 80]),
    )
    figure = viz.reliability_figure({"ghost": curve, "gru": curve}, title="over-confident")
    above, below = figure.axes
    assert list(above.lines[1].get_xdata()) == [0.5, 0.9]
    assert list(above.lines[1].get_ydata()) == [0.5, 0.6]
    small, large = above.collections[0].get_sizes()
    assert small < large
    stairs = below.patches[0].get_data()
    assert list(stairs.values) == [0, 9, 10, 80] and np.allclose(stairs.edges, np.arange(5) / 4)
    assert len({line.get_linestyle() for line in above.lines[1::2]}) == 2
    assert above.get_xlim() == below.get_xlim() == (0, 1.02)
    said = texts(figure)
    assert "predictions" in said and "perfect calibration" in said and "fewer than 10" in said
    all_of_them = viz.reliability_figure({"ghost": curve}, at_least=0)
    assert list(all_of_them.axes[0].lines[1].get_xdata()) == [0.3, 0.5, 0.9]
    png(figure)
