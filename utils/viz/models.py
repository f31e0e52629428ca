"""Figures of models: what they do step by step, how they learn, what they confuse, how sure they
are, and how their features lie.

Knows arrays of numbers and words. Does not know models.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from mlxtend.plotting import plot_confusion_matrix
from numpy import ndarray

from utils.viz.canvas import (
    BESIDE,
    SMALL_PRINT,
    WIDEST,
    check_some,
    figure_of,
    legend_below,
    make_panels,
    pack,
    styled,
    with_grid,
)

LINE_INCHES, PRINT = 0.155, 9.0  # of text in a box: the height of a line, points
SHAPE_PRINT: dict[str, Any] = {"size": SMALL_PRINT, "family": "monospace"}
ARROW, MARGIN = 0.28, 0.12  # inches between two boxes, and in a box left and right together
WIDEST_BOX = 2.4  # inches
MOST_ABREAST = 5  # confusion matrices
TRAINING: dict[str, Any] = {"color": "0.5", "lw": 0.9}
VALIDATION: dict[str, Any] = {"color": "black", "lw": 1.9}
FLOOR: dict[str, Any] = {"color": "0.35", "lw": 1.0, "ls": "--"}


def flow_figure(
    rows: Mapping[str, Sequence[tuple[str, str]]],
    *,
    marked: str = "mean",
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw models as boxes joined by arrows, one row a model, the steps that matter shaded.

    Args:
        rows: Model -> its steps, (what happens, shape of the array after it); the shape may be "".
        marked: The boxes whose text contains it are shaded and bold.
    """
    check_some(rows)
    if stepless := [name for name, steps in rows.items() if not steps]:
        raise ValueError(f"no steps of {', '.join(stepless)}; give at least one a model")
    pitch = (WIDEST - 0.1 + ARROW) / max(map(len, rows.values()))
    wide = min(pitch - ARROW, WIDEST_BOX)
    boxes = {name: [_lines(*step, wide) for step in steps] for name, steps in rows.items()}
    tall = [max(len(what) + len(shape) for what, shape in row) for row in boxes.values()]
    heights = [LINE_INCHES * count + 0.14 for count in tall]
    total = sum(heights) + 0.42 * len(rows)
    [axis] = make_panels(axis, title, (WIDEST, total + 0.1 + 0.35 * bool(title)))
    axis.set(xlim=(-0.02, WIDEST - 0.08), ylim=(total, 0))
    axis.axis("off")
    top = 0.0
    for (name, row), height in zip(boxes.items(), heights, strict=True):
        axis.text(0, top + 0.2, name, fontsize=10, fontweight="bold", va="center")
        for place, step in enumerate(row):
            at = place * (wide + ARROW), top + 0.34
            stands_out = marked in rows[name][place][0]
            _draw_step(axis, *step, at, (wide, height), stands_out=stands_out)
            if place:
                _draw_arrow(axis, at[0], at[1] + height / 2)
        top += height + 0.42
    return figure_of(axis)


def _lines(what: str, shape: str, wide: float) -> tuple[list[str], list[str]]:
    """Break the two texts of a box into lines that fit its width in inches."""
    bold = FontProperties(size=PRINT, weight="bold")  # the wider of the two
    return _broken(what, wide, bold), _broken(shape, wide, FontProperties(**SHAPE_PRINT))


def _broken(text: str, wide: float, font: FontProperties) -> list[str]:
    """Break a text between words where its lines would be wider than a box; a word stays whole."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        points, *_ = text_to_path.get_text_width_height_descent(longer, font, ismath=False)
        if lines and points <= 72 * (wide - MARGIN):
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _draw_step(
    axis: Axes,
    what: list[str],
    shape: list[str],
    at: tuple[float, float],
    size: tuple[float, float],
    *,
    stands_out: bool,
) -> None:
    look: dict[str, Any] = {"fc": "0.8", "lw": 2.0} if stands_out else {"fc": "white", "lw": 0.8}
    style = "round,pad=0,rounding_size=0.06"
    axis.add_patch(FancyBboxPatch(at, *size, style, ec="black", mutation_aspect=1, **look))
    middle, free = at[0] + size[0] / 2, size[1] - LINE_INCHES * (len(what) + len(shape))
    text = {"ha": "center", "va": "top", "linespacing": 1.15}
    weight = "bold" if stands_out else "normal"
    axis.text(middle, at[1] + free / 2, "\n".join(what), text, fontsize=PRINT, fontweight=weight)
    below = at[1] + free / 2 + LINE_INCHES * len(what)
    axis.text(middle, below, "\n".join(shape), text | SHAPE_PRINT, color="0.2")


def _draw_arrow(axis: Axes, tip: float, y: float) -> None:
    look = {"arrowstyle": "-|>", "fc": "black", "lw": 1.0, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", (tip - 0.02, y), xytext=(tip - ARROW + 0.02, y), arrowprops=look)


def learning_curves(
    histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    *,
    floor: float | None = None,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw loss above accuracy over epochs, one column a model and one line a seed.

    Training is thin, validation thick; all models share their axes. Training is measured with
    dropout, so that its loss may lie above validation's.

    Args:
        histories: Model -> one history a seed: rows with epoch, train_loss, val_loss,
            train_accuracy, val_accuracy; accuracies are fractions.
        floor: The lowest loss that can be reached, to be drawn as a line.
    """
    check_some(histories)
    for name, seeds in histories.items():
        if not seeds or not all(seeds):
            raise ValueError(f"{name}: a history without epochs; give one row an epoch, one a seed")
    columns = len(histories)
    size = min(WIDEST, 2.1 * columns + 2.4), 4.8
    panels = make_panels(axis, title, size, (2, columns), share={"sharex": True, "sharey": "row"})
    for place, (name, seeds) in enumerate(histories.items()):
        loss, accuracy = panels[place], panels[place + columns]
        for history in seeds:
            _draw_history(loss, history, "loss", 1)
            _draw_history(accuracy, history, "accuracy", 100)
        if floor is not None:
            loss.axhline(floor, **FLOOR)
        loss.set_title(name, fontsize=10)
        loss.tick_params(labelbottom=False)
        accuracy.xaxis.set(label_text="epoch", major_locator=MaxNLocator(5, integer=True))
    for panel in (panel for place, panel in enumerate(panels) if place % columns):
        panel.tick_params(labelleft=False)
    panels[0].set_ylabel("loss")
    panels[columns].set_ylabel("accuracy (%)")
    said = {"training, with dropout": TRAINING, "validation": VALIDATION}
    said |= {} if floor is None else {f"floor of the loss, {floor:.2f}": FLOOR}
    legend_below(panels[0], 3, [Line2D([], [], label=label, **how) for label, how in said.items()])
    return with_grid(*panels)


def _draw_history(
    panel: Axes, history: Sequence[Mapping[str, float]], quantity: str, scale: float
) -> None:
    epochs = [row["epoch"] for row in history]
    for key, how in ((f"train_{quantity}", TRAINING), (f"val_{quantity}", VALIDATION)):
        panel.plot(epochs, [scale * row[key] for row in history], **how)


def confusion_figure(
    matrix: ndarray, classes: Sequence[str], *, title: str = "", axis: Axes | None = None
) -> Figure:
    """Draw a confusion matrix (K, K), true by predicted, with counts and shares of the row; zeros
    are left blank."""
    matrix, count = _square(matrix, classes), len(classes)
    [axis] = make_panels(axis, title, (1.0 + 0.8 * count, 1.0 + 0.72 * count))
    shares = bool(matrix.any(1).all())  # a class without clips has none
    with plt.ioff(), np.errstate(invalid="ignore"):
        plt.figure()  # mlxtend labels pyplot's current axes, which may be somebody's
        look = {"cmap": "Greys", "norm_colormap": Normalize(0, 1) if shares else None}
        plot_confusion_matrix(matrix, show_normed=shares, figure=axis.figure, axis=axis, **look)
        plt.close()
    for text, number in zip(axis.texts, matrix.flat, strict=True):
        text.set_visible(bool(number))
    _name_classes(axis, classes)
    return figure_of(axis)


def confusion_multiples(
    matrices: Mapping[str, ndarray],
    classes: Sequence[str],
    *,
    outlined: Sequence[int] = (),
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw the confusion matrices of several models side by side, shaded by the share of the row.

    Args:
        matrices: Model -> (K, K) counts, true by predicted.
        classes: The K names.
        outlined: Classes next to one another, by number, whose block is framed.
    """
    check_some(matrices)
    count = len(classes)
    block = sorted(outlined)
    if block and (
        block[0] < 0 or block != list(range(block[0], min(block[0] + len(block), count)))
    ):
        raise ValueError(
            f"classes {block} cannot be framed as one block; give numbers next to one another "
            f"between 0 and {count - 1}"
        )
    rows = -(-len(matrices) // MOST_ABREAST)
    columns = -(-len(matrices) // rows)
    inches = min(2.6, (WIDEST - 1.15) / columns)
    names = 0.2 + 0.078 * max(map(len, classes))  # below; below the next row too, if it is shorter
    heights = (inches + 0.45) * rows, names * (1 + bool(len(matrices) % columns)), 0.3 * bool(title)
    size = inches * columns + 1.15, sum(heights)
    share = {"sharex": True, "sharey": True}
    panels = make_panels(axis, title, size, (rows, columns), share=share)
    for panel, (name, matrix) in zip(panels, matrices.items(), strict=False):
        _draw_counts(panel, _square(matrix, classes, name))
        right, total = np.trace(matrix), np.sum(matrix)
        panel.set_title(f"{name}\n{right} of {total}", fontsize=9)
        if block:
            corner, width = (block[0] - 0.5, block[0] - 0.5), len(block)
            panel.add_patch(
                Rectangle(corner, width, width, fill=False, lw=2.2, clip_on=False, zorder=4)
            )
    _name_outer(panels, len(matrices), columns, classes)
    if axis is None:
        pack(panels[0])
    return figure_of(panels[0])


def _name_outer(panels: Sequence[Axes], used: int, columns: int, classes: Sequence[str]) -> None:
    """Name the classes left of each row of panels and below each column, and nowhere else."""
    for place, panel in enumerate(panels):
        if place >= used:
            panel.axis("off")
            continue
        _name_classes(panel, classes, rotation=90)
        lowest, leftmost = place + columns >= used, place % columns == 0
        panel.tick_params(labelbottom=lowest, labelleft=leftmost, length=0, labelsize=9)
        panel.set_xlabel("predicted" if lowest else "")
        panel.set_ylabel("true" if leftmost else "")


def _draw_counts(panel: Axes, matrix: ndarray) -> None:
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    panel.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    edges = np.arange(len(matrix) + 1) - 0.5
    panel.set_xticks(edges, minor=True)
    panel.set_yticks(edges, minor=True)
    panel.grid(which="minor", color="0.85", lw=0.6)
    panel.tick_params(which="minor", length=0)
    for (true, predicted), number in np.ndenumerate(matrix):
        if number:
            shade = "white" if shares[true, predicted] > 0.5 else "black"
            look = {"ha": "center", "va": "center", "fontsize": SMALL_PRINT, "color": shade}
            panel.text(predicted, true, f"{number:g}", look)


def _name_classes(axis: Axes, classes: Sequence[str], rotation: float = 35) -> None:
    slanted: dict[str, Any] = {"ha": "right", "rotation_mode": "anchor", "rotation": rotation}
    if rotation == 90:
        slanted |= {"va": "center"}
    axis.set_xticks(range(len(classes)), classes, **slanted)
    axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="predicted", ylabel="true")


def _square(matrix: ndarray, classes: Sequence[str], name: str = "") -> ndarray:
    matrix, count = np.asarray(matrix), len(classes)
    if matrix.shape != (count, count):
        whose = f"{name}: a" if name else "a"
        raise ValueError(
            f"{whose} confusion matrix of shape {matrix.shape} does not fit {count} classes"
        )
    return matrix


def reliability_figure(
    curves: Mapping[str, Sequence[ndarray]],
    *,
    at_least: int = 10,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw accuracy against confidence, and below how many predictions are how confident.

    A point below the diagonal is over-confident; its area grows with its number of predictions.

    Args:
        curves: Name -> (confidence, accuracy, count) by bin, equal ranges from 0 to 1, nan where a
            bin is empty.
        at_least: Predictions that a bin needs to have a point; a rate of fewer says little.
    """
    ratios = {"height_ratios": (3, 1)}
    above, below = make_panels(axis, title, (5.6, 6.0), (2, 1), share={"sharex": True}, **ratios)
    above.tick_params(labelbottom=False)
    above.plot([0, 1], [0, 1], color="0.55", lw=1.0)
    along = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    above.text(0.03, 0.06, "perfect calibration", along, color="0.35", fontsize=SMALL_PRINT)
    for name, curve, marker, line in styled(curves):
        confidence, accuracy, count = (np.asarray(part, dtype=float) for part in curve)
        full = (count >= at_least) & (count > 0)
        at, area = (confidence[full], accuracy[full]), 18 + 240 * count[full] / count.sum()
        above.plot(*at, lw=1.2, **line)
        above.scatter(*at, area, marker=marker, color=line["color"], ec="white", lw=0.6, zorder=3)
        above.plot([], [], marker=marker, label=name, **line)
        below.stairs(count, np.linspace(0, 1, len(count) + 1), lw=1.4, **line)
    above.set(xlim=(0, 1.02), ylim=(-0.04, 1.04), ylabel="accuracy")
    said = f"bins of fewer than {at_least}\npredictions have no point"
    above.text(0.98, 0.03, said, ha="right", fontsize=SMALL_PRINT, transform=above.transAxes)
    below.set(xlabel="confidence", ylabel="predictions")
    below.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    columns = 2 if len(curves) == 4 else min(len(curves), 3)
    legend_below(above, columns, above.get_legend_handles_labels()[0])
    return with_grid(above, below)


def embedding_map(
    points: ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    *,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Scatter clips, one marker a class, hollow and filled by turns: points (N, 2), or (N, D) by
    their principal plane."""
    points, ids = np.asarray(points, dtype=float), np.asarray(labels)
    if points.ndim != 2 or len(points) != len(ids):
        raise ValueError(
            f"points of shape {points.shape} do not fit {len(ids)} labels; give (N, D) and N labels"
        )
    [axis] = make_panels(axis, title, (6.6, 4.6))
    if points.shape[1] != 2:
        points = principal_plane(points)
        axis.set(xlabel="first principal component", ylabel="second principal component")
    by_class = {name: points[ids == k].T for k, name in enumerate(classes)}
    for place, (name, (x, y), marker, line) in enumerate(styled(by_class)):
        shade = line["color"]
        look: dict[str, Any] = {
            "fc": "none" if place % 2 else shade,
            "ec": shade if place % 2 else "white",
        }
        axis.scatter(x, y, 30, lw=(0.4, 1.1)[place % 2], marker=marker, label=name, **look)
    axis.legend(**BESIDE)
    return with_grid(axis)


def principal_plane(points: ndarray) -> ndarray:
    """Project points (N, D), D at least 2, onto the two directions in which they vary most."""
    centred = points - points.mean(0)
    return centred @ np.linalg.svd(centred)[2][:2].T
