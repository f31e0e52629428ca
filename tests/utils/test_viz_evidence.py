"""Figures of measurements: every number stands where it belongs, and odd ones are named."""

import numpy as np
import pytest

from tests.utils.drawn import CLASSES, legend_of, lines, png, texts
from utils import viz

pytestmark = pytest.mark.usefixtures("pyplot_stays_empty")


def test_accuracy_intervals_are_in_percent():
    figure = viz.accuracy_intervals({"ghost": (0.5, 0.4, 0.6), "gru": (0.9, 0.85, 0.94)})
    assert list(figure.axes[0].lines[0].get_xdata()) == [40.0, 60.0]
    assert "90.0%" in texts(figure)
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


NAN = float("nan")


def test_seed_chart_shares_rows_and_shows_seeds_intervals_and_means():
    figure = viz.seed_chart(
        {
            "rendered": {"ghost": ([0.7, 0.8], 0.65, 0.85), "gru": ([0.97], 0.9, 1.0)},
            "real": {"gru": ([0.9, 0.92], NAN, NAN)},
        },
        title="chart",
    )
    left, right = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["rendered", "real"]
    assert [text.get_text() for text in left.get_yticklabels()] == ["ghost", "gru"]
    assert left.get_ylim() == right.get_ylim()
    assert np.allclose(left.collections[0].get_offsets()[:, 0], [70, 80])
    assert np.allclose(left.lines[0].get_xdata(), [65, 85])
    assert np.allclose(left.lines[1].get_xdata(), [75, 75])
    assert len(right.lines) == 1  # the mean; there is no interval
    assert np.allclose(right.collections[0].get_offsets()[:, 1].mean(), 1)
    assert [text.get_text() for text in left.texts] == ["75.0", "97.0", "mean"]
    assert [text.get_text() for text in right.texts] == ["91.0", "mean"]
    assert legend_of(figure) == ["one seed", "mean", "95 % interval over subjects"]
    png(figure)


def test_what_lies_below_a_seed_chart_stands_at_its_edge():
    figure = viz.seed_chart({"a": {"chance": ([0.16, 0.62], 0.1, 0.65)}}, limits=(60, 100))
    axis = figure.axes[0]
    assert np.allclose(axis.collections[0].get_offsets()[:, 0], [62])
    assert lines(axis, marker="<")[0].get_xdata()[0] == 60
    assert list(axis.lines[0].get_xdata()) == [60, 65]
    assert "39.0" in texts(figure) and legend_of(figure)[-1] == "below 60 %"


def test_seed_chart_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="at least one"):
        viz.seed_chart({"a": {}})
    with pytest.raises(ValueError, match=r"limits \(100, 60\) are no axis"):
        viz.seed_chart({"a": {"b": ([0.9], NAN, NAN)}}, limits=(100, 60))
    with pytest.raises(ValueError, match="b: 0 of 0 accuracies are numbers"):
        viz.seed_chart({"a": {"b": ([], NAN, NAN)}})
    with pytest.raises(ValueError, match="b: 1 of 2 accuracies are numbers"):
        viz.seed_chart({"a": {"b": ([0.5, NAN], NAN, NAN)}})


def test_grouped_dots_give_each_condition_its_marker_and_say_where_the_axis_begins():
    figure = viz.grouped_dots(
        {
            "gru": {"as filmed": [0.96, 0.98], "shuffled": [0.95]},
            "tcn": {"as filmed": [0.97], "shuffled": [0.81]},
        },
        title="order",
    )
    axis = figure.axes[0]
    dots = [collection.get_offsets() for collection in axis.collections]
    assert np.allclose(dots[0][:, 0], [96, 98]) and np.allclose(dots[3][:, 0], [81])
    shapes = [len(collection.get_paths()[0].vertices) for collection in axis.collections]
    assert shapes[0] == shapes[2] != shapes[1] == shapes[3]
    assert dots[0][:, 1].mean() < 0 < dots[1][0, 1] and dots[2][0, 1] < 1 < dots[3][0, 1]
    assert [text.get_text() for text in axis.texts] == ["97.0", "95.0", "97.0", "81.0"]
    assert list(lines(axis, linewidth=2)[0].get_xdata()) == [97, 97]
    assert axis.get_xlabel() == "accuracy (%); the axis begins at 80"
    assert axis.get_xlim() == pytest.approx((79.6, 100.4))
    assert legend_of(figure) == ["as filmed", "shuffled", "mean, at the right"]
    png(figure)


def test_an_axis_that_begins_at_zero_need_not_say_so():
    axis = viz.grouped_dots({"gru": {"a": [0.01, 0.4]}}, label="errors (%)").axes[0]
    assert axis.get_xlabel() == "errors (%)"


def test_grouped_dots_name_what_is_missing():
    with pytest.raises(ValueError, match="gru, shuffled: 0 of 0 accuracies"):
        viz.grouped_dots({"gru": {"shuffled": []}})
    with pytest.raises(ValueError, match="at least one"):
        viz.grouped_dots({"gru": {}})


def test_paired_dots_join_pairs_and_print_their_difference():
    figure = viz.paired_dots(
        {"ghost": (0.7, 0.765), "gru": (0.96, 0.95), "same": (0.9, 0.9)},
        ("by subject", "leaky"),
        title="leak",
    )
    axis = figure.axes[0]
    assert [list(line.get_xdata()) for line in axis.lines[:3]] == [[70, 76.5], [70], [76.5]]
    assert [line.get_marker() for line in axis.lines[1:3]] == ["o", "s"]
    said = [text.get_text() for text in axis.texts]
    assert said == ["+6.5", "\N{MINUS SIGN}1.0", "0.0", "difference\n(% points)"]
    assert legend_of(figure) == ["by subject", "leaky"]
    assert axis.get_xlabel() == "accuracy (%); the axis begins at 65"
    png(figure)


def test_paired_dots_need_two_numbers_a_row():
    with pytest.raises(ValueError, match="ghost: 3 accuracies; give a pair"):
        viz.paired_dots({"ghost": (0.5, 0.6, 0.7)}, ("a", "b"))
    with pytest.raises(ValueError, match="ghost: 1 of 2 accuracies are numbers"):
        viz.paired_dots({"ghost": (0.5, NAN)}, ("a", "b"))


def test_count_histograms_share_axes_and_are_in_percent():
    figure = viz.count_histograms(
        {"boxing": [0, 0, 0, 0], "jogging": [0, 1, 1, 3], "running": [2], "walking": [0, 3]},
        label="empty frames",
        title="counts",
    )
    boxing, jogging, running, walking, *empty = figure.axes
    heights = [[bar.get_height() for bar in panel.patches] for panel in (boxing, jogging)]
    assert heights == [[100, 0, 0, 0], [25, 50, 0, 25]]
    assert [text.get_text() for text in jogging.texts] == ["25", "50", "", "25"]
    assert jogging.get_title() == "jogging, mean 1.2"
    assert boxing.get_xlim() == walking.get_xlim() and boxing.get_ylim() == walking.get_ylim()
    assert [panel.get_ylabel() for panel in figure.axes[:4]] == ["clips (%)", "", "", "clips (%)"]
    assert texts(figure).count("empty frames") == 1 and not any(panel.axison for panel in empty)
    png(figure)


@pytest.mark.parametrize("numbers", [[], [-1, 2], [0.5]])
def test_count_histograms_take_whole_numbers(numbers):
    with pytest.raises(ValueError, match="jogging: counts .*; give whole numbers from 0"):
        viz.count_histograms({"jogging": numbers}, label="n")


def test_accuracy_curves_draw_points_ends_and_the_chosen_one():
    figure = viz.accuracy_curves(
        {"gru": [(1, 60, 50, 65), (8, 90, 85, 95)], "mean": [(1, 55), (8, 70)]},
        labels=("frames", "accuracy (%)"),
        chosen=("gru", 1),
    )
    axis = figure.axes[0]
    gru, mean = axis.containers
    assert gru.has_yerr and not mean.has_yerr
    assert list(gru.lines[0].get_ydata()) == [60, 90]
    low, high = gru.lines[1]
    assert list(low.get_ydata()) == [50, 85] and list(high.get_ydata()) == [65, 95]
    [ring] = lines(axis, markersize=15)
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (8, 90)
    said = [text.get_text() for text in axis.get_legend().get_texts()]
    assert said == ["gru", "mean", "the default"]
    assert axis.get_xscale() == "linear" and axis.get_xlabel() == "frames"
    png(figure)


def test_accuracy_curves_have_a_logarithmic_axis_if_wanted():
    axis = viz.accuracy_curves({"gru": [(1, 0.5), (1000, 0.6)]}, log=True).axes[0]
    assert axis.get_xscale() == "log"
    png(axis.figure)


def test_accuracy_curves_name_a_curve_of_odd_points():
    with pytest.raises(ValueError, match="gru: points must all be"):
        viz.accuracy_curves({"gru": [(1, 2), (1, 2, 3, 4)]})


@pytest.mark.parametrize(
    "draw",
    [
        viz.accuracy_curves,
        viz.accuracy_intervals,
        viz.difference_figure,
        viz.flow_figure,
        viz.grouped_dots,
        viz.learning_curves,
        viz.reliability_figure,
        viz.seed_chart,
        viz.segment_timeline,
        lambda rows: viz.activation_figure(rows, rows),
        lambda rows: viz.confusion_multiples(rows, CLASSES),
        lambda rows: viz.count_histograms(rows, label="n"),
        lambda rows: viz.fold_figure(rows, ["one"]),
        lambda rows: viz.paired_dots(rows, ("a", "b")),
    ],
)
def test_figures_of_rows_need_one(draw):
    with pytest.raises(ValueError, match="at least one"):
        draw({})
