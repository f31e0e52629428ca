"""Arrays in, Figure out: every picture of the article and of the command line.

Knows matplotlib and the reader's eye (grey print, colour blindness). Does not know files, models,
torch, data sets or class names: whoever calls brings arrays and words. No window is opened; a
figure is returned and shows itself in a notebook.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from mlxtend.plotting import plot_confusion_matrix

# Told apart without colour: a class or a run is a line style and a marker first, a shade of cividis
# second.
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FRAME_INCHES = 1.35  # width of one small picture
DPI = 100


class Picture(Figure):
    """A Figure that is shown as a PNG when it is the value of a notebook cell, whatever backend is
    set."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()


def frame_grid(rows: Mapping[str, np.ndarray], *, title: str = "", columns: int = 8) -> Figure:
    """Show clips as rows of pictures, one row a label, at most `columns` frames of each, evenly
    spread.

    Args:
        rows: Label -> (T, H, W) or (T, C, H, W), bytes or floats in [0, 1]; T may differ from row
            to row.
        title: The finding that the figure shows.
        columns: Largest number of pictures in a row.
    """
    clips = {label: _spread(_as_pictures(clip, label), columns) for label, clip in rows.items()}
    if not clips:
        raise ValueError("frame_grid got no rows; give it at least one clip")
    width = max(len(clip) for clip in clips.values())
    height, breadth = next(iter(clips.values())).shape[1:3]
    figure = _figure(
        FRAME_INCHES * width + 1.2, FRAME_INCHES * height / breadth * len(clips) + 0.5, title
    )
    axes = figure.subplots(len(clips), width, squeeze=False)
    for row, (label, clip) in zip(axes, clips.items(), strict=True):
        for axis, picture in zip(row, clip, strict=False):
            _show(axis, picture)
        for axis in row[len(clip) :]:
            axis.axis("off")
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def experiment_inputs(
    inputs: Mapping[str, np.ndarray], *, title: str = "", columns: int = 8
) -> Figure:
    """Show what each experiment is given of the same clip: label -> (T, H, W) or (T, C, H, W), one
    row each.

    The label names the number of frames, since a row may show fewer than the model sees.
    """
    labelled = {
        f"{name}\n{len(clip)} frame{'s' if len(clip) > 1 else ''}": clip
        for name, clip in inputs.items()
    }
    return frame_grid(labelled, title=title, columns=columns)


def segment_timeline(
    timelines: Mapping[str, tuple[int, Sequence[tuple[int, int]]]],
    *,
    title: str = "",
    fps: float = 25.0,
) -> Figure:
    """Draw where the annotated segments of whole files lie, and whether the file's middle frame
    falls into one.

    Args:
        timelines: Label -> (frames of the file, its (start, stop) ranges, 0-based and
            end-exclusive).
        title: The finding that the figure shows.
        fps: Frames a second, for the time axis.
    """
    figure = _figure(8.5, 0.34 * len(timelines) + 1.2, title)
    axis = figure.subplots()
    for y, (frames, ranges) in enumerate(timelines.values()):
        axis.barh(y, frames / fps, height=0.62, color="0.93", edgecolor="0.6", linewidth=0.6)
        for number, (start, stop) in enumerate(ranges):
            axis.barh(
                y,
                (stop - start) / fps,
                left=start / fps,
                height=0.62,
                color="0.55" if number % 2 else "0.7",
                edgecolor="black",
                linewidth=0.6,
            )
        middle = frames // 2
        inside = any(start <= middle < stop for start, stop in ranges)
        axis.plot(
            middle / fps,
            y,
            marker="o" if inside else "X",
            color="black",
            markersize=7,
            markerfacecolor="white" if inside else "black",
        )
    axis.set_yticks(range(len(timelines)), list(timelines))
    axis.invert_yaxis()
    axis.set_xlabel("time in the file (s)")
    figure.legend(
        handles=_timeline_legend(), loc="outside lower center", ncols=4, fontsize=8, frameon=False
    )
    return figure


def training_curves(
    histories: Mapping[str, Sequence[Mapping[str, float]]], *, title: str = ""
) -> Figure:
    """Draw loss and accuracy over epochs, training thin and validation thick, one line style a run.

    Both losses are plain, without label smoothing; training's is measured with dropout and may lie
    above validation's.

    Args:
        histories: Run -> rows with epoch, train_loss, val_loss, train_accuracy, val_accuracy.
        title: The finding that the figure shows.
    """
    figure = _figure(9, 3.4, title)
    for axis, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for number, (name, history) in enumerate(histories.items()):
            epochs = [row["epoch"] for row in history]
            look = {
                "linestyle": LINES[number % len(LINES)],
                "color": _shade(number, len(histories)),
            }
            axis.plot(
                epochs, [row[f"train_{what}"] for row in history], linewidth=0.9, alpha=0.75, **look
            )
            axis.plot(
                epochs, [row[f"val_{what}"] for row in history], linewidth=2.0, label=name, **look
            )
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylabel(f"{what} \nvalidation (thick), training (thin, with dropout)", fontsize=9)
        _quiet(axis)
    axis.legend(fontsize=8, frameon=False)
    return figure


def confusion_figure(matrix: np.ndarray, classes: Sequence[str], *, title: str = "") -> Figure:
    """Draw a confusion matrix (K, K), rows true and columns predicted, with counts and shares of
    the row."""
    matrix = np.asarray(matrix)
    if matrix.shape != (len(classes), len(classes)):
        raise ValueError(
            f"a confusion matrix of shape {matrix.shape} does not fit {len(classes)} classes"
        )
    with (
        plt.ioff()
    ):  # mlxtend labels pyplot's current axes, so for once the figure must be pyplot's
        figure = plt.figure(
            FigureClass=Picture,
            figsize=(1.0 + 0.8 * len(classes), 1.0 + 0.72 * len(classes)),
            dpi=DPI,
            layout="constrained",
        )
    axis = figure.subplots()
    every_class_seen = bool((matrix.sum(1) > 0).all())
    with np.errstate(invalid="ignore"):  # a class without clips has no shares
        plot_confusion_matrix(
            matrix,
            figure=figure,
            axis=axis,
            cmap="Greys",
            show_normed=every_class_seen,
            norm_colormap=Normalize(0, 1) if every_class_seen else None,
        )
    axis.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    figure.suptitle(title, fontsize=11)
    plt.close(figure)  # pyplot forgets it; the figure itself stays whole
    return figure


def frame_probability_timeline(
    frame_probs: np.ndarray,
    classes: Sequence[str],
    *,
    frames: Sequence[int] | None = None,
    thumbnails: np.ndarray | None = None,
    title: str = "",
    fps: float = 25.0,
) -> Figure:
    """Draw how probable each class is, frame by frame, below the frames themselves when they are
    given.

    Args:
        frame_probs: (T, K) probabilities.
        classes: K names.
        frames: The T frame numbers in the file; 0..T-1 when not given.
        thumbnails: (T, H, W) or (T, C, H, W), the pictures that were classified.
        title: The finding that the figure shows.
        fps: Frames a second, for the time axis.
    """
    frame_probs = np.asarray(frame_probs)
    steps, number_of_classes = frame_probs.shape
    if number_of_classes != len(classes):
        raise ValueError(
            f"probabilities of {number_of_classes} classes do not fit {len(classes)} names"
        )
    seconds = np.asarray(range(steps) if frames is None else frames) / fps
    figure = _figure(9, 3.3 if thumbnails is None else 4.4, title)
    if thumbnails is None:
        axis = figure.subplots()
    else:
        above, axis = figure.subplots(2, 1, height_ratios=(1, 2.6))
        _film_strip(above, _as_pictures(thumbnails, "thumbnails"))
    for k, name in enumerate(classes):
        axis.plot(
            seconds,
            frame_probs[:, k],
            label=name,
            color=_shade(k, len(classes)),
            markersize=4,
            linewidth=1.6,
            linestyle=LINES[k % len(LINES)],
            marker=MARKERS[k % len(MARKERS)],
        )
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("time (s)")
    axis.set_ylabel("probability")
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _quiet(axis)
    return figure


def embedding_map(
    points: np.ndarray, labels: Sequence[int], classes: Sequence[str], *, title: str = ""
) -> Figure:
    """Scatter clips in the plane, one marker a class: points (N, 2) as they are, (N, D) by their
    principal plane."""
    points, ids = np.asarray(points, dtype=float), np.asarray(labels)
    if points.ndim != 2 or len(points) != len(ids):
        raise ValueError(
            f"points of shape {points.shape} do not fit {len(ids)} labels; give (N, D) and N labels"
        )
    flat = points if points.shape[1] == 2 else principal_plane(points)
    figure = _figure(6.2, 4.6, title)
    axis = figure.subplots()
    for k, name in enumerate(classes):
        chosen = flat[ids == k]
        axis.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=22,
            label=name,
            marker=MARKERS[k % len(MARKERS)],
            alpha=0.8,
            facecolor=_shade(k, len(classes)),
            edgecolor="black",
            linewidth=0.3,
        )
    if points.shape[1] != 2:
        axis.set_xlabel("first principal component")
        axis.set_ylabel("second principal component")
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _quiet(axis)
    return figure


def principal_plane(points: np.ndarray) -> np.ndarray:
    """Project points (N, D) onto the two directions in which they vary most, (N, 2)."""
    centred = points - points.mean(0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(points), 2))
    kept = min(2, len(scale))
    plane[:, :kept] = left[:, :kept] * scale[:kept]
    return plane


def mistakes_gallery(
    mistakes: Sequence[tuple[str, str, str, float, np.ndarray]],
    *,
    title: str = "",
    columns: int = 6,
) -> Figure:
    """Show misread clips, one a row, so that each can be looked at: was there anything to see at
    all?

    Args:
        mistakes: (name of the clip, true class, predicted class, probability of the prediction,
            frames (T, H, W)).
        title: The finding that the figure shows.
        columns: Largest number of pictures in a row.
    """
    if not mistakes:
        figure = _figure(4, 0.8, title)
        figure.text(0.5, 0.4, "no mistakes to show", ha="center", va="center")
        return figure
    rows = {
        f"{name}\nis {truth}\nread as {guess} ({probability:.0%})": frames
        for name, truth, guess, probability, frames in mistakes
    }
    return frame_grid(rows, title=title, columns=columns)


def accuracy_intervals(
    rows: Mapping[str, tuple[float, float, float]], *, title: str = "", label: str = ""
) -> Figure:
    """Compare accuracies with their intervals: name -> (accuracy, low, high), each between 0 and
    1."""
    figure = _figure(7.5, 0.42 * len(rows) + 1.1, title)
    axis = figure.subplots()
    for y, (accuracy, low, high) in enumerate(rows.values()):
        axis.plot([100 * low, 100 * high], [y, y], color="0.45", linewidth=3, solid_capstyle="butt")
        axis.plot(100 * accuracy, y, marker="o", color="black", markersize=7)
        axis.annotate(
            f"{accuracy:.1%}",
            (100 * accuracy, y),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.7)
    axis.set_xlim(0, 103)
    axis.set_xlabel(label or "accuracy (%), bar: 95 % interval")
    _quiet(axis)
    return figure


def cost_curves(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]],
    *,
    chosen: tuple[str, int] | None = None,
    title: str = "",
    labels: tuple[str, str] = ("", ""),
) -> Figure:
    """Show what more computing buys: one line a curve, points of (cost, value, low, high), cost on
    a log axis.

    Args:
        curves: Label -> points in the order of the line.
        chosen: Curve and place of the point to be ringed, such as the default.
        title: The finding that the figure shows.
        labels: Of the two axes.
    """
    if not curves:
        raise ValueError("cost_curves got no curves; give it at least one")
    figure = _figure(7.5, 4.2, title)
    axis = figure.subplots()
    for number, (label, points) in enumerate(curves.items()):
        cost, value, low, high = np.array(points, dtype=float).T
        axis.errorbar(
            cost,
            value,
            (value - low, high - value),
            color=_shade(number, len(curves)),
            capsize=2,
            linestyle=LINES[number % len(LINES)],
            marker=MARKERS[number % len(MARKERS)],
            label=label,
            linewidth=1.2,
            markersize=5,
            elinewidth=0.7,
        )
    if chosen is not None:
        cost, value, *_ = curves[chosen[0]][chosen[1]]
        axis.plot(
            cost,
            value,
            "o",
            markersize=15,
            markerfacecolor="none",
            markeredgecolor="black",
            label="the default",
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    axis.legend(fontsize=8, frameon=False)
    _quiet(axis)
    return figure


def reliability_figure(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, title: str = ""
) -> Figure:
    """Draw how often answers are right against how sure they are, and below how many are how sure.

    A point on the diagonal is as sure as it should be, one below it too sure; its area grows with
    its answers.

    Args:
        curves: Name -> (confidence, accuracy, count) by bin, equal ranges from 0 to 1, nan where a
            bin is empty.
        title: The finding that the figure shows.
    """
    if not curves:
        raise ValueError("reliability_figure got no curves; give it at least one")
    figure = _figure(5.6, 6.0, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", linewidth=1.0)
    above.text(
        0.03,
        0.06,
        "as sure as right",
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
        fontsize=8,
        color="0.4",
    )
    for number, (name, curve) in enumerate(curves.items()):
        confidence, accuracy, count = (np.asarray(part, dtype=float) for part in curve)
        full, shade = count > 0, _shade(number, len(curves))
        line, marker = LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
        above.plot(confidence[full], accuracy[full], color=shade, linestyle=line, linewidth=1.2)
        above.scatter(
            confidence[full],
            accuracy[full],
            s=18 + 240 * count[full] / count.sum(),
            color=shade,
            marker=marker,
            edgecolor="white",
            linewidth=0.6,
            zorder=3,
        )
        below.stairs(
            count, np.linspace(0, 1, len(count) + 1), color=shade, linestyle=line, linewidth=1.4
        )
        above.plot([], [], color=shade, linestyle=line, marker=marker, label=name)
    above.set(xlim=(0, 1.02), ylim=(-0.04, 1.04), ylabel="accuracy")
    below.set(xlabel="confidence", ylabel="answers")
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=min(len(curves), 3))
    _quiet(above)
    _quiet(below)
    return figure


def difference_figure(
    rows: Mapping[str, tuple[float, float, float]], *, title: str = "", label: str = ""
) -> Figure:
    """Draw differences of accuracy with their intervals around zero: name -> (difference, low,
    high), as fractions.

    The marker is the verdict: pointing right when the interval lies above 0, left when below, round
    when it holds 0.
    """
    if not rows:
        raise ValueError("difference_figure got no rows; give it at least one")
    figure = _figure(7.5, 0.46 * len(rows) + 1.5, title)
    axis = figure.subplots()
    axis.axvline(0, color="0.3", linewidth=1.0, linestyle="--")
    for y, row in enumerate(rows.values()):
        difference, low, high = (100 * value for value in row)
        marker, fill = (">", "black") if low > 0 else ("<", "black") if high < 0 else ("o", "white")
        axis.plot([low, high], [y, y], color="0.5", linewidth=3, solid_capstyle="butt")
        axis.plot(difference, y, marker=marker, markersize=8, color="black", markerfacecolor=fill)
        axis.annotate(
            f"{difference:+.1f}".replace("-", "\N{MINUS SIGN}"),
            (difference, y),
            xytext=(0, 7),
            ha="center",
            textcoords="offset points",
            fontsize=8,
        )
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.7)
    axis.margins(x=0.08)
    axis.set_xlabel(label or "difference of accuracy (points), bar: 95 % interval by persons")
    looks = {"better": (">", "black"), "tie": ("o", "white"), "worse": ("<", "black")}
    handles = [
        Line2D(
            [], [], marker=marker, linestyle="", color="black", markerfacecolor=fill, label=verdict
        )
        for verdict, (marker, fill) in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    _quiet(axis)
    return figure


def fold_figure(
    rows: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    *,
    title: str = "",
    axis_label: str = "",
) -> Figure:
    """Draw one dot a fold or person, at the same height in each method's row, with a line at the
    mean of the dots.

    Args:
        rows: Method -> accuracies as fractions, one a fold or person; nan where there is none.
        labels: What the folds or persons are called; the (first) worst of each row is named.
        title: The finding that the figure shows.
        axis_label: Of the accuracies.
    """
    table = {name: 100 * np.asarray(values, dtype=float) for name, values in rows.items()}
    if not table:
        raise ValueError("fold_figure got no rows; give it at least one")
    for name, accuracies in table.items():
        if len(accuracies) != len(labels) or not np.isfinite(accuracies).any():
            raise ValueError(
                f"{name}: {np.isfinite(accuracies).sum()} of {len(accuracies)} accuracies are "
                "numbers, "
                f"for {len(labels)} labels; give one a label, nan where there is none, but not "
                "everywhere"
            )
    figure = _figure(7.5, 0.62 * len(rows) + 1.1, title)
    axis = figure.subplots()
    heights = np.linspace(-0.26, 0.26, len(labels)) if len(labels) > 1 else np.zeros(1)
    for y, accuracies in enumerate(table.values()):
        axis.scatter(
            accuracies,
            y + heights,
            s=22,
            facecolor="0.75",
            edgecolor="black",
            linewidth=0.6,
            zorder=3,
        )
        mean, worst = np.nanmean(accuracies), int(np.nanargmin(accuracies))
        axis.plot([mean, mean], [y - 0.38, y + 0.38], color="black", linewidth=2)
        axis.annotate(
            f"mean {mean:.1f}",
            (mean, y - 0.38),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
        if accuracies[worst] < mean:
            axis.annotate(
                labels[worst],
                (accuracies[worst], y + heights[worst]),
                xytext=(-6, 0),
                va="center",
                ha="right",
                textcoords="offset points",
                fontsize=8,
            )
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.75)
    left, right = np.nanmin(list(table.values())), np.nanmax(list(table.values()))
    space = max(right - left, 1.0)
    axis.set_xlim(
        left - 0.2 * space, right + 0.08 * space
    )  # the name of the worst stands left of its dot
    axis.set_xlabel(axis_label or "accuracy (%), one dot a fold")
    _quiet(axis)
    return figure


def leak_figure(
    rows: Mapping[str, tuple[float, float, float, float, float, float]], *, title: str = ""
) -> Figure:
    """Show what a leaky split adds: a plain bar for the honest accuracy, a hatched one for the
    leaky, with intervals.

    Args:
        rows: Method -> (honest accuracy, low, high, leaky accuracy, low, high), as fractions.
        title: The finding that the figure shows.
    """
    if not rows:
        raise ValueError("leak_figure got no rows; give it at least one")
    figure = _figure(1.5 * len(rows) + 2.2, 3.9, title)
    axis = figure.subplots()
    values = 100 * np.array(list(rows.values()), dtype=float).reshape(len(rows), 2, 3)
    for side, (label, shade, hatch) in enumerate(
        (("split by person", "0.55", ""), ("leaky split", "white", "////"))
    ):
        accuracy, low, high = values[:, side].T
        places = np.arange(len(rows)) + 0.38 * (side - 0.5)
        axis.bar(
            places,
            accuracy,
            width=0.34,
            facecolor=shade,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.8,
            label=label,
        )
        axis.errorbar(
            places,
            accuracy,
            (accuracy - low, high - accuracy),
            fmt="none",
            color="black",
            capsize=3,
            elinewidth=1.2,
        )
        for x, share, top in zip(places, accuracy, high, strict=True):
            axis.annotate(
                f"{share:.1f}",
                (x, top),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axis.set_xticks(range(len(rows)), list(rows))
    axis.set_ylim(0, 112)
    axis.set_yticks(range(0, 101, 20))
    axis.set_ylabel("accuracy (%), line: 95 % interval", fontsize=9)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _quiet(axis)
    return figure


# helpers


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Picture(figsize=(width, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _as_pictures(clip: np.ndarray, label: str) -> np.ndarray:
    """Bring (T, H, W) or (T, C, H, W), bytes or floats, to floats in [0, 1] of shape (T, H, W) or
    (T, H, W, 3)."""
    clip = np.asarray(clip)
    if (
        clip.ndim not in (3, 4)
        or len(clip) == 0
        or (clip.ndim == 4 and clip.shape[1] not in (1, 3))
    ):
        raise ValueError(
            f"{label}: a clip of shape {clip.shape}; give (T, H, W), or (T, C, H, W) of 1 or 3 "
            "channels"
        )
    if clip.dtype == np.uint8:
        clip = clip / 255.0
    if clip.ndim == 4:
        clip = clip[:, 0] if clip.shape[1] == 1 else np.moveaxis(clip, 1, -1)
    return clip.clip(0.0, 1.0)


def _spread(pictures: np.ndarray, columns: int) -> np.ndarray:
    if len(pictures) <= columns:
        return pictures
    return pictures[np.linspace(0, len(pictures) - 1, columns).round().astype(int)]


def _show(axis: Axes, picture: np.ndarray) -> None:
    axis.imshow(picture, cmap="gray", vmin=0.0, vmax=1.0)
    axis.set_xticks([])
    axis.set_yticks([])


def _film_strip(axis: Axes, pictures: np.ndarray, columns: int = 10) -> None:
    _show(axis, np.concatenate(list(_spread(pictures, columns)), axis=1))
    axis.set_xlabel("the frames, first to last", fontsize=8)


def _timeline_legend() -> list[Patch | Line2D]:
    return [
        Patch(facecolor="0.7", edgecolor="black", label="annotated segment"),
        Patch(facecolor="0.93", edgecolor="0.6", label="not annotated"),
        Line2D(
            [],
            [],
            marker="o",
            color="black",
            markerfacecolor="white",
            linestyle="",
            label="middle frame, inside",
        ),
        Line2D([], [], marker="X", color="black", linestyle="", label="middle frame, outside"),
    ]


def _shade(number: int, count: int) -> Any:
    """One of `count` shades from dark to light, short of the palest, which would vanish on
    paper."""
    return plt.get_cmap("cividis")(0.85 * number / max(count - 1, 1))


def _quiet(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
