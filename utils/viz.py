"""Arrays in, Figure out: the figures of the article and of the command line.

Knows matplotlib, grey print and colour blindness. Does not know files, models, torch, data sets or
class names: whoever calls brings arrays and words. No window is opened; a figure is returned and
shows itself in a notebook.

Every function takes a `title`, the finding that the figure shows, and draws into `axis`, one of a
figure's subplots, whose figure it returns; without, it makes a figure of its own. Functions of
several panels divide the place of their axis.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator
from mlxtend.plotting import plot_confusion_matrix
from numpy import ndarray

# Told apart without colour: a class or a run is a line style and a marker first, a shade of cividis
# second.
LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FRAME_INCHES = 1.35  # width of one frame in a grid
DPI = 100
Rows = Mapping[str, Sequence[float]]  # name -> numbers
SMALL: dict[str, Any] = {"fontsize": 8, "frameon": False}  # of legends
BESIDE: dict[str, Any] = {**SMALL, "loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
# what a marker says -> its shape and filling
MIDDLES = {"middle frame, inside": ("o", "white"), "middle frame, outside": ("X", "black")}
DIFFERENCES = {"better": (">", "black"), "tie": ("o", "white"), "worse": ("<", "black")}


class NotebookFigure(Figure):
    """A Figure that a notebook's cell shows as a PNG, whatever backend is set."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def frame_grid(
    rows: Mapping[str, ndarray], *, title: str = "", columns: int = 8, axis: Axes | None = None
) -> Figure:
    """Show clips as rows of frames, one row a label, at most `columns` of each, evenly spread.

    Args:
        rows: Label -> (T, H, W) or (T, C, H, W), bytes or floats in [0, 1]; T may differ.
        columns: Largest number of frames in a row.
    """
    _check_some(rows)
    clips = {label: _images(clip, label, columns) for label, clip in rows.items()}
    width, count = max(map(len, clips.values())), len(clips)
    height, breadth = next(iter(clips.values())).shape[1:3]
    inches = FRAME_INCHES * width + 1.2, FRAME_INCHES * height / breadth * count + 0.5
    panels = _axes(axis, title, *inches, count, width)
    for first, (label, clip) in enumerate(clips.items()):
        row = panels[first * width :][:width]
        for panel, image in zip(row, clip, strict=False):
            _show(panel, image)
        for panel in row[len(clip) :]:
            panel.axis("off")
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    return _figure_of(panels[0])


def mistake_label(name: str, truth: str, predicted: str, probability: float) -> str:
    """Label the row of a misclassified clip in a `frame_grid`."""
    return f"{name}\nis {truth}\nclassified as {predicted} ({probability:.0%})"


def segment_timeline(
    timelines: Mapping[str, tuple[int, Sequence[tuple[int, int]]]],
    *,
    title: str = "",
    fps: float = 25.0,
    axis: Axes | None = None,
) -> Figure:
    """Draw where annotated segments lie in files, and whether a file's middle frame is in one.

    Args:
        timelines: Label -> (frames of the file, its (start, stop) ranges, 0-based, end-exclusive).
        fps: Frames a second, for the time axis.
    """
    [axis] = _axes(axis, title, 8.5, 0.34 * len(timelines) + 1.2)
    for y, (frames, ranges) in enumerate(timelines.values()):
        axis.barh(y, frames / fps, 0.62, color="0.93", ec="0.6", lw=0.6)
        starts, stops = np.reshape(ranges, (-1, 2)).T / fps
        axis.barh(y, stops - starts, 0.62, starts, color=["0.7", "0.55"], ec="black", lw=0.6)
        middle = frames // 2
        inside = any(start <= middle < stop for start, stop in ranges)
        marker, fill = MIDDLES[f"middle frame, {'inside' if inside else 'outside'}"]
        axis.plot(middle / fps, y, marker, color="black", ms=7, mfc=fill)
    axis.set_yticks(range(len(timelines)), list(timelines))
    axis.invert_yaxis()
    axis.set_xlabel("time in the file (s)")
    segment = Patch(fc="0.7", ec="black", label="annotated segment")
    rest = Patch(fc="0.93", ec="0.6", label="not annotated")
    _legend_below(axis, 4, MIDDLES, (segment, rest))
    return _figure_of(axis)


def frame_probability_timeline(
    frame_probs: ndarray,
    classes: Sequence[str],
    *,
    frames: Sequence[int] | None = None,
    thumbnails: ndarray | None = None,
    title: str = "",
    fps: float = 25.0,
    axis: Axes | None = None,
) -> Figure:
    """Draw how probable each class is, frame by frame, below the frames when they are given.

    Args:
        frame_probs: (T, K) probabilities of the K classes.
        frames: The T frame numbers in the file; 0..T-1 when not given.
        thumbnails: (T, H, W) or (T, C, H, W), the frames that were classified.
        fps: Frames a second, for the time axis.
    """
    steps, count = np.shape(frame_probs)
    if count != len(classes):
        raise ValueError(f"probabilities of {count} classes do not fit {len(classes)} names")
    seconds = np.asarray(range(steps) if frames is None else frames) / fps
    if thumbnails is None:
        [axis] = _axes(axis, title, 9, 3.3)
    else:
        above, axis = _axes(axis, title, 9, 4.4, 2, 1, height_ratios=(1, 2.6))
        _show(above, np.concatenate(_images(thumbnails, "thumbnails", 10), axis=1))
        above.set_xlabel("the frames, first to last", fontsize=8)
    by_class = zip(classes, np.transpose(frame_probs), strict=True)
    for name, probs, marker, line in _styled(dict(by_class)):
        axis.plot(seconds, probs, label=name, marker=marker, ms=4, lw=1.6, **line)
    axis.set(ylim=(-0.03, 1.03), xlabel="time (s)", ylabel="probability")
    axis.legend(**BESIDE)
    return _with_grid(axis)


def training_curves(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw loss and accuracy over epochs, training thin and validation thick, one line style a run.

    Both losses are plain, without label smoothing; training's is measured with dropout and may lie
    above validation's.

    Args:
        histories: Run -> rows with epoch, train_loss, val_loss, train_accuracy, val_accuracy.
    """
    panels = _axes(axis, title, 9, 3.4, 1, 2)
    for panel, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        for name, history, _, line in _styled(histories):
            keys = ("epoch", f"train_{quantity}", f"val_{quantity}")
            epochs, train, val = ([row[key] for row in history] for key in keys)
            panel.plot(epochs, train, lw=0.9, alpha=0.75, **line)
            panel.plot(epochs, val, lw=2.0, label=name, **line)
        panel.xaxis.set(label_text="epoch", major_locator=MaxNLocator(integer=True))
        panel.set_ylabel(quantity)
    said = "thick: validation\nthin: training, with dropout"
    panels[1].legend(title=said, title_fontsize=8, **SMALL)
    return _with_grid(*panels)


def confusion_figure(
    matrix: ndarray, classes: Sequence[str], *, title: str = "", axis: Axes | None = None
) -> Figure:
    """Draw a confusion matrix (K, K), true by predicted, with counts and shares of the row."""
    matrix, count = np.asarray(matrix), len(classes)
    if matrix.shape != (count, count):
        raise ValueError(f"a confusion matrix of shape {matrix.shape} does not fit {count} classes")
    [axis] = _axes(axis, title, 1.0 + 0.8 * count, 1.0 + 0.72 * count)
    shares = bool(matrix.any(1).all())  # a class without clips has none
    with plt.ioff(), np.errstate(invalid="ignore"):
        plt.figure()  # mlxtend labels pyplot's current axes, which may be somebody's
        look = {"cmap": "Greys", "norm_colormap": Normalize(0, 1) if shares else None}
        plot_confusion_matrix(matrix, show_normed=shares, figure=axis.figure, axis=axis, **look)
        plt.close()
    axis.set_xticks(range(count), classes, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(count), classes)
    axis.set(xlabel="predicted", ylabel="true")
    return _figure_of(axis)


def embedding_map(
    points: ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    *,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Scatter clips, one marker a class: points (N, 2), or (N, D) by their principal plane."""
    points, ids = np.asarray(points, dtype=float), np.asarray(labels)
    if points.ndim != 2 or len(points) != len(ids):
        raise ValueError(
            f"points of shape {points.shape} do not fit {len(ids)} labels; give (N, D) and N labels"
        )
    [axis] = _axes(axis, title, 6.2, 4.6)
    if points.shape[1] != 2:
        points = principal_plane(points)
        axis.set(xlabel="first principal component", ylabel="second principal component")
    by_class = {name: points[ids == k].T for k, name in enumerate(classes)}
    for name, (x, y), marker, line in _styled(by_class):
        shade = line["color"]
        axis.scatter(x, y, 22, fc=shade, ec="black", lw=0.3, marker=marker, alpha=0.8, label=name)
    axis.legend(**BESIDE)
    return _with_grid(axis)


def cost_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    chosen: tuple[str, int] | None = None,
    title: str = "",
    labels: tuple[str, str] = ("", ""),
    axis: Axes | None = None,
) -> Figure:
    """Show what more computing buys: one line a curve, cost on a log axis.

    Args:
        curves: Label -> points (cost, value, low, high) in the order of the line.
        chosen: Curve and place of the point to be ringed, such as the default.
    """
    [axis] = _axes(axis, title, 7.5, 4.2)
    for label, points, marker, line in _styled(curves):
        cost, value, low, high = np.array(points, dtype=float).T
        line |= {"marker": marker, "ms": 5, "lw": 1.2, "elinewidth": 0.7, "capsize": 2}
        axis.errorbar(cost, value, (value - low, high - value), label=label, **line)
    if chosen is not None:
        cost, value, *_ = curves[chosen[0]][chosen[1]]
        axis.plot(cost, value, "o", ms=15, mfc="none", mec="black", label="the default")
    axis.set(xscale="log", xlabel=labels[0], ylabel=labels[1])
    ticks = LogLocator(subs=(1, 2, 5))
    axis.xaxis.set(major_locator=ticks, major_formatter="{x:g}", minor_formatter="")
    axis.legend(**SMALL)
    return _with_grid(axis)


def reliability_figure(
    curves: Mapping[str, Sequence[ndarray]], *, title: str = "", axis: Axes | None = None
) -> Figure:
    """Draw accuracy against confidence, and below how many predictions are how confident.

    A point below the diagonal is over-confident; its area grows with its number of predictions.

    Args:
        curves: Name -> (confidence, accuracy, count) by bin, equal ranges from 0 to 1, nan where a
            bin is empty.
    """
    above, below = _axes(axis, title, 5.6, 6.0, 2, 1, height_ratios=(3, 1))
    above.sharex(below)
    above.tick_params(labelbottom=False)
    above.plot([0, 1], [0, 1], color="0.6", lw=1.0)
    along = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    above.text(0.03, 0.06, "perfectly calibrated", along, color="0.4", fontsize=8)
    for name, curve, marker, line in _styled(curves):
        confidence, accuracy, count = (np.asarray(part, dtype=float) for part in curve)
        full = count > 0
        at, area = (confidence[full], accuracy[full]), 18 + 240 * count[full] / count.sum()
        above.plot(*at, lw=1.2, **line)
        above.scatter(*at, area, marker=marker, color=line["color"], ec="white", lw=0.6, zorder=3)
        above.plot([], [], marker=marker, label=name, **line)
        below.stairs(count, np.linspace(0, 1, len(count) + 1), lw=1.4, **line)
    above.set(xlim=(0, 1.02), ylim=(-0.04, 1.04), ylabel="accuracy")
    below.set(xlabel="confidence", ylabel="predictions")
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _legend_below(above, min(len(curves), 3))
    return _with_grid(above, below)


def accuracy_intervals(rows: Rows, *, title: str = "", axis: Axes | None = None) -> Figure:
    """Compare accuracies with their intervals: name -> (accuracy, low, high), as fractions."""
    [axis] = _axes(axis, title, 7.5, 0.42 * len(rows) + 1.1)
    for y, row in enumerate(rows.values()):
        _interval(axis, y, row, "{:.1f}%")
    _name_rows(axis, rows)
    axis.set(xlim=(0, 103), xlabel="accuracy (%), bar: 95 % interval")
    return _with_grid(axis)


def difference_figure(
    rows: Rows,
    *,
    title: str = "",
    label: str = "difference of accuracy (percentage points), bar: 95 % interval by persons",
    axis: Axes | None = None,
) -> Figure:
    """Draw differences around zero: name -> (difference of accuracy, low, high), as fractions.

    The marker points right when the interval lies above 0, left when below, and is round when the
    interval holds 0.
    """
    [axis] = _axes(axis, title, 7.5, 0.46 * len(rows) + 1.5)
    axis.axvline(0, color="0.3", lw=1.0, linestyle="--")
    for y, (value, low, high) in enumerate(rows.values()):
        kind = "better" if low > 0 else "worse" if high < 0 else "tie"
        _interval(axis, y, (value, low, high), "{:+.1f}", *DIFFERENCES[kind])
    _name_rows(axis, rows)
    axis.margins(x=0.08)
    axis.set_xlabel(label)
    _legend_below(axis, 3, DIFFERENCES)
    return _with_grid(axis)


def fold_figure(
    rows: Rows,
    labels: Sequence[str],
    *,
    title: str = "",
    axis_label: str = "accuracy (%), one dot a fold",
    axis: Axes | None = None,
) -> Figure:
    """Draw one dot a fold or person, at its height in each method's row, and a line at the mean.

    Args:
        rows: Method -> accuracies as fractions, one a fold or person; nan where there is none.
        labels: What the folds or persons are called; the (first) worst of each row is named.
    """
    table = [_in_percent(name, values, len(labels)) for name, values in rows.items()]
    [axis] = _axes(axis, title, 7.5, 0.62 * len(rows) + 1.1)
    _name_rows(axis, rows, top=-0.75)
    heights = np.linspace(-0.26, 0.26, len(labels)) if len(labels) > 1 else np.zeros(1)
    for y, row in enumerate(table):
        axis.scatter(row, y + heights, 22, fc="0.75", ec="black", lw=0.6, zorder=3)
        mean, worst = np.nanmean(row), int(np.nanargmin(row))
        axis.plot([mean, mean], [y - 0.38, y + 0.38], color="black", lw=2)
        _note(axis, f"mean {mean:.1f}", mean, y - 0.38, (0, 2))
        if row[worst] < mean:
            place = row[worst], y + heights[worst]
            _note(axis, labels[worst], *place, (-6, 0), ha="right", va="center")
    left, right = np.nanmin(table), np.nanmax(table)
    space = max(right - left, 1.0)  # the name of the worst stands left of its dot
    axis.set(xlim=(left - 0.2 * space, right + 0.08 * space), xlabel=axis_label)
    return _with_grid(axis)


def leakage_figure(rows: Rows, *, title: str = "", axis: Axes | None = None) -> Figure:
    """Show what subject leakage adds: plain bars for a split by person, hatched for a leaky one.

    Args:
        rows: Method -> (accuracy by person, low, high, leaky accuracy, low, high), as fractions.
    """
    _check_some(rows)
    [axis] = _axes(axis, title, 1.5 * len(rows) + 2.2, 3.9)
    places = np.arange(len(rows))
    values = 100 * np.array(list(rows.values())).reshape(-1, 2, 3)
    looks = (("split by person", "0.55", ""), ("leaky split", "white", "////"))
    for side, (label, shade, hatch) in enumerate(looks):
        at = places + 0.38 * (side - 0.5)
        accuracy, low, high = values[:, side].T
        look: Any = {"fc": shade, "hatch": hatch, "label": label, "ec": "black", "lw": 0.8}
        ends, line = (accuracy - low, high - accuracy), {"capsize": 3, "elinewidth": 1.2}
        bars = axis.bar(at, accuracy, 0.34, yerr=ends, error_kw=line, **look)
        axis.bar_label(bars, fmt="%.1f", padding=4, fontsize=8)
    axis.set_xticks(places, list(rows))
    axis.set(ylim=(0, 112), yticks=range(0, 101, 20))
    axis.set_ylabel("accuracy (%), line: 95 % interval", fontsize=9)
    _legend_below(axis, 2)
    return _with_grid(axis)


# helpers


def _axes(
    given: Axes | None, title: str, width: float, height: float, *shape: int, **layout: Any
) -> list[Axes]:
    """Return the panels of a new figure, sizes in inches, or in the given axis's place; titled."""
    panels: Any = given
    if given is None:
        figure = NotebookFigure(figsize=(width, height), dpi=DPI, layout="constrained")
        if title:
            figure.suptitle(title, fontsize=11)
        panels = figure.subplots(*shape, **layout)
    else:
        given.set_title(title, fontsize=11)
        if shape:
            given.axis("off")
            place = cast(SubplotSpec, given.get_subplotspec())
            panels = place.subgridspec(*shape, **layout).subplots()
    return list(np.ravel(panels))


def _figure_of(axis: Axes) -> Figure:
    return cast(Figure, axis.figure)


def _with_grid(*axes: Axes) -> Figure:
    """Draw a pale grid instead of a frame, and return the figure."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
    return _figure_of(axes[0])


def _styled(rows: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
    """Give each row its marker and its line: a style and a shade, from dark to light."""
    _check_some(rows)
    # short of the palest, which would vanish on paper
    shades = plt.get_cmap("cividis")(np.linspace(0, 0.85, len(rows)))
    looks = zip(rows.items(), shades, cycle(LINES), cycle(MARKERS))
    for (name, row), shade, style, marker in looks:
        yield name, row, marker, {"color": shade, "linestyle": style}


def _note(
    axis: Axes, text: str, x: float, y: float, shift: tuple[float, float] = (0, 7), **align: Any
) -> None:
    """Write something small, `shift` typographic points from a place."""
    align = {"ha": "center", "fontsize": 8, **align}
    axis.annotate(text, (x, y), xytext=shift, textcoords="offset points", **align)


def _interval(
    axis: Axes, y: int, row: Sequence[float], words: str, marker: str = "o", fill: str = "black"
) -> None:
    """Draw (value, low, high) in percent: a bar, a marker on it and the value above it."""
    value, low, high = (100 * part for part in row)
    axis.plot([low, high], [y, y], color="0.45", lw=3, solid_capstyle="butt")
    axis.plot(value, y, marker, color="black", ms=7, mfc=fill)
    _note(axis, words.format(value).replace("-", "\N{MINUS SIGN}"), value, y)


def _name_rows(axis: Axes, rows: Mapping[str, Any], top: float = -0.7) -> None:
    _check_some(rows)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, top)


def _legend_below(
    axis: Axes, columns: int, markers: Mapping[str, tuple[str, str]] = {}, bars: Sequence[Any] = ()
) -> None:
    """Put the legend under a figure of our own; inside the axes in somebody else's."""
    own = [
        Line2D([], [], marker=marker, linestyle="", color="black", mfc=fill, label=label)
        for label, (marker, fill) in markers.items()
    ]
    handles = [*bars, *own] or None  # None: all that has a label
    if isinstance(figure := axis.figure, NotebookFigure):
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, **SMALL)
    else:
        axis.legend(handles=handles, **SMALL)


def _check_some(rows: Mapping[str, Any]) -> None:
    if not rows:
        raise ValueError("no rows to draw; give at least one")


def principal_plane(points: ndarray) -> ndarray:
    """Project points (N, D), D at least 2, onto the two directions in which they vary most."""
    centred = points - points.mean(0)
    return centred @ np.linalg.svd(centred)[2][:2].T


def _in_percent(name: str, values: Sequence[float], count: int) -> ndarray:
    """Bring accuracies, one a label and at least one of them a number, to percent."""
    accuracies = 100 * np.asarray(values, dtype=float)
    finite = np.isfinite(accuracies).sum()
    if len(accuracies) != count or not finite:
        raise ValueError(
            f"{name}: {finite} of {len(accuracies)} accuracies are numbers, for {count} labels; "
            "give one a label, nan where there is none, but not everywhere"
        )
    return accuracies


def _images(clip: ndarray, label: str, most: int) -> ndarray:
    """Bring `most` frames of (T, H, W) or (T, C, H, W), evenly spread, bytes or floats, to floats
    in [0, 1], channels last."""
    clip = np.asarray(clip)
    if clip.ndim < 3 or not len(clip) or clip.shape[1:-2] not in ((), (1,), (3,)):
        raise ValueError(
            f"{label}: a clip of shape {clip.shape}; give (T, H, W), or (T, C, H, W), C 1 or 3"
        )
    places = np.linspace(0, len(clip) - 1, min(most, len(clip)))
    clip = clip[places.round().astype(int)]
    if clip.dtype == np.uint8:
        clip = clip / 255.0
    return (np.moveaxis(clip, 1, -1) if clip.ndim == 4 else clip).clip(0.0, 1.0)


def _show(axis: Axes, image: ndarray) -> None:
    axis.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)
    axis.set(xticks=[], yticks=[])
