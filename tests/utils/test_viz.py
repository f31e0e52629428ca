"""Figures are built from arrays, say what they were given, and leave pyplot as they found it."""

import io

import numpy as np
import pytest
from matplotlib import pyplot as plt

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


def test_experiment_inputs_say_how_many_frames_the_model_sees(clip):
    said = texts(viz.experiment_inputs({"ghost": clip[:1], "average": clip}, columns=3))
    assert "ghost\n1 frame " in said and "average\n6 frames" in said


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
    assert all("training (thin, with dropout)" in axis.get_ylabel() for axis in figure.axes)
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


@pytest.mark.parametrize("with_pictures", [False, True])
def test_probability_timeline(rng, clip, with_pictures):
    probs = rng.dirichlet(np.ones(6), size=6)
    figure = viz.frame_probability_timeline(
        probs,
        CLASSES,
        frames=[0, 5, 10, 15, 20, 25],
        thumbnails=clip if with_pictures else None,
        title="told",
    )
    axis = figure.axes[-1]
    assert len(figure.axes) == 1 + with_pictures
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


def test_mistakes_gallery_says_what_was_read_as_what(clip):
    figure = viz.mistakes_gallery(
        [("person02_running_d1#3", "running", "jogging", 0.61, clip)], title="misread"
    )
    assert "person02_running_d1#3\nis running\nread as jogging (61%)" in texts(figure)
    png(viz.mistakes_gallery([]))


def test_accuracy_intervals_are_in_percent():
    figure = viz.accuracy_intervals({"ghost": (0.5, 0.4, 0.6), "gru": (0.9, 0.85, 0.94)})
    assert list(figure.axes[0].lines[0].get_xdata()) == [40.0, 60.0]
    assert "90.0%" in texts(figure)
    png(figure)


def test_reliability_figure_leaves_out_empty_bins_and_shows_all_counts():
    nan = float("nan")
    curve = (np.array([nan, 0.4, 0.9]), np.array([nan, 0.5, 0.6]), np.array([0, 2, 8]))
    figure = viz.reliability_figure({"ghost": curve, "gru": curve}, title="too sure")
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
    png(figure)


def test_difference_figure_tells_verdicts_by_shape_and_in_points():
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
        for text in ("+20.0", "\N{MINUS SIGN}1.0", "tcn - gru", "what order is worth")
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


def test_leak_figure_hatches_what_is_inflated():
    figure = viz.leak_figure(
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
        viz.leak_figure,
        lambda rows: viz.fold_figure(rows, ["one"]),
    ],
)
def test_figures_of_evidence_need_a_row(draw):
    with pytest.raises(ValueError, match="at least one"):
        draw({})


def test_a_figure_is_its_own_picture_in_a_notebook(clip):
    assert viz.frame_grid({"a": clip})._repr_png_()[:4] == b"\x89PNG"
