"""Figures of measurements: accuracies with their seeds and intervals, differences, curves, counts.

Knows numbers and words. Does not know what was measured or how an interval came about.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy import ndarray

from utils.viz.canvas import (
    MARKERS,
    SMALL,
    SMALL_PRINT,
    WIDEST,
    Rows,
    at_right,
    check_some,
    figure_of,
    in_percent,
    legend_below,
    limits_around,
    make_panels,
    name_rows,
    note,
    proxies,
    signed,
    styled,
    with_grid,
)

# what a marker says -> its shape and filling
DIFFERENCES = {"better": (">", "black"), "tie": ("o", "white"), "worse": ("<", "black")}
SEED, BEYOND = ("o", "white"), ("<", "black")
BAR = "0.55"  # of intervals
FILLINGS = ("white", "black", "0.6")


def seed_chart(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], float, float]]],
    *,
    limits: tuple[float, float] = (60, 100),
    interval: str = "95 % interval over subjects",
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Compare methods side by side on several data sets: a dot a seed, a bar the interval, a line
    and a number the mean.

    Args:
        panels: Data set -> method -> (accuracies as fractions, one a seed; low; high); nan and nan
            where there is no interval. A method may be missing from a data set.
        limits: Ends of the axes in percent; what lies below stands at the edge as an arrow.
        interval: What the bars are.
    """
    check_some(panels)
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    check_some(dict.fromkeys(names))
    if not limits[0] < limits[1]:
        raise ValueError(f"limits {limits} are no axis; give (low, high) in percent")
    size = WIDEST, 0.4 * len(names) + 1.5
    drawn = make_panels(axis, title, size, (1, len(panels)), share={"sharey": True})
    for panel, (heading, rows) in zip(drawn, panels.items(), strict=True):
        name_rows(panel, names)
        for name, (seeds, low, high) in rows.items():
            y, values = names.index(name), in_percent(name, seeds)
            _draw_seeds(panel, y, values, (100 * low, 100 * high), limits)
            at_right(panel, f"{values.mean():.1f}", y)
        at_right(panel, "mean", -0.62)
        space = 0.02 * (limits[1] - limits[0])
        panel.set(xlim=(limits[0] - space, limits[1] + space), xlabel="accuracy (%)")
        panel.set_title(heading, fontsize=10)
        with_grid(panel)
        if panel is not drawn[0]:
            panel.tick_params(labelleft=False, left=False)
    beyond = {f"below {limits[0]:g} %": BEYOND} if _any_below(panels, limits[0]) else {}
    line = Line2D([], [], ls="", marker="|", ms=11, mew=2, color="black", label="mean")
    handles = [*proxies({"one seed": SEED}), line, Patch(fc=BAR, label=interval), *proxies(beyond)]
    legend_below(drawn[0], len(handles), handles)
    return figure_of(drawn[0])


def _draw_seeds(
    panel: Axes, y: int, values: ndarray, ends: tuple[float, float], limits: tuple[float, float]
) -> None:
    """Draw a row of a `seed_chart`, in percent."""
    if np.isfinite(ends).all():
        panel.plot(np.clip(ends, *limits), [y, y], color=BAR, lw=8, solid_capstyle="butt")
    inside = values[values >= limits[0]]
    if mean_shown := values.mean() >= limits[0]:
        panel.plot([values.mean()] * 2, [y - 0.34, y + 0.34], color="black", lw=2)
    heights = y + _spread(len(inside), 0.18)
    panel.scatter(inside, heights, 26, fc="white", ec="black", lw=1.0, zorder=3)
    if len(inside) < len(values) or not mean_shown:
        panel.plot(limits[0], y, BEYOND[0], color="black", ms=7)


def _any_below(panels: Mapping[str, Mapping[str, Any]], low: float) -> bool:
    return any(100 * min(row[0]) < low for rows in panels.values() for row in rows.values())


def grouped_dots(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    label: str = "accuracy (%)",
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Compare conditions within groups: a dot a seed, a marker a condition, a line and a number the
    mean. The axis begins near the smallest value and says where.

    Args:
        groups: Group, such as a model -> condition -> accuracies as fractions, one a seed.
        label: Of the axis of accuracies.
    """
    check_some(groups)
    names = list(dict.fromkeys(name for conditions in groups.values() for name in conditions))
    check_some(dict.fromkeys(names))
    table = {
        group: {name: in_percent(f"{group}, {name}", seeds) for name, seeds in conditions.items()}
        for group, conditions in groups.items()
    }
    everything = np.concatenate([row for rows in table.values() for row in rows.values()])
    [axis] = make_panels(axis, title, (7.5, len(groups) * (0.3 * len(names) + 0.22) + 1.3))
    places = np.arange(len(names)) - (len(names) - 1) / 2
    looks = {
        name: (MARKERS[n % len(MARKERS)], FILLINGS[n % len(FILLINGS)])
        for n, name in enumerate(names)
    }
    name_rows(axis, list(groups), top=-0.55)
    pitch = 0.8 / len(names)
    for row, rows in enumerate(table.values()):
        for name, values in rows.items():
            y, (marker, fill) = row + pitch * places[names.index(name)], looks[name]
            axis.plot([values.mean()] * 2, [y - 0.4 * pitch, y + 0.4 * pitch], color="black", lw=2)
            heights = y + _spread(len(values), 0.2 * pitch)
            axis.scatter(values, heights, 30, marker=marker, fc=fill, ec="black", lw=0.9, zorder=3)
            at_right(axis, f"{values.mean():.1f}", y)
        if row:
            axis.axhline(row - 0.5, color="0.6", lw=0.8)
    _limit(axis, everything, label)
    line = Line2D(
        [], [], ls="", marker="|", ms=11, mew=2, color="black", label="mean, at the right"
    )
    legend_below(axis, len(names) + 1, [*proxies(looks), line])
    with_grid(axis).axes[0].grid(visible=False, axis="y")
    return figure_of(axis)


def paired_dots(
    rows: Mapping[str, tuple[float, float]],
    names: tuple[str, str],
    *,
    label: str = "accuracy (%)",
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Join two accuracies of each row by a line and print their difference, the second minus the
    first, in percentage points. The axis begins near the smallest value and says where.

    Args:
        rows: Row -> its two accuracies, as fractions.
        names: What the first and the second are.
        label: Of the axis of accuracies.
    """
    check_some(rows)
    table = {name: in_percent(name, pair) for name, pair in rows.items()}
    if odd := [name for name, pair in table.items() if len(pair) != 2]:
        raise ValueError(f"{odd[0]}: {len(table[odd[0]])} accuracies; give a pair")
    [axis] = make_panels(axis, title, (7.5, 0.42 * len(rows) + 1.5))
    name_rows(axis, list(rows), top=-1.05)
    looks = {names[0]: ("o", "white"), names[1]: ("s", "black")}
    for y, pair in enumerate(table.values()):
        axis.plot(pair, [y, y], color="0.45", lw=2, zorder=1)
        for value, (marker, fill) in zip(pair, looks.values(), strict=True):
            axis.plot(value, y, marker, color="black", ms=7, mfc=fill)
        at_right(axis, signed(pair[1] - pair[0]), y)
    at_right(axis, "difference\n(% points)", -0.72)
    _limit(axis, np.concatenate(list(table.values())), label)
    legend_below(axis, 2, proxies(looks))
    return with_grid(axis)


def count_histograms(
    counts: Mapping[str, Sequence[int]],
    *,
    label: str,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw how often each count occurs, one small histogram a class on shared axes, in percent.

    Args:
        counts: Class -> whole numbers from 0, one a clip.
        label: What was counted.
    """
    check_some(counts)
    for name, numbers in counts.items():
        whole = np.asarray(numbers)
        if not whole.size or (whole < 0).any() or (whole != np.round(whole)).any():
            raise ValueError(f"{name}: counts {list(numbers)[:5]}; give whole numbers from 0")
    columns = min(len(counts), 3)
    rows = -(-len(counts) // columns)
    size = (0.4 + 2.8 * columns, 1.5 * rows + 0.9)
    share = {"sharex": True, "sharey": True}
    panels = make_panels(axis, title, size, (rows, columns), share=share)
    most = max(int(np.max(numbers)) for numbers in counts.values())
    for place, (panel, (name, numbers)) in enumerate(zip(panels, counts.items(), strict=False)):
        share_of = 100 * np.bincount(np.asarray(numbers, dtype=int), minlength=most + 1)
        _draw_shares(panel, share_of / len(numbers))
        panel.set_title(f"{name}, mean {np.mean(numbers):.1f}", fontsize=9)
        panel.tick_params(labelbottom=place + columns >= len(counts))
        with_grid(panel).axes[0].grid(visible=False, axis="x")
    for panel in panels[len(counts) :]:
        panel.axis("off")
    panels[0].xaxis.set_major_locator(MaxNLocator(9, integer=True))
    _label_outer(panels, len(counts), columns, label)
    return figure_of(panels[0])


def _draw_shares(panel: Axes, shares: ndarray) -> None:
    bars = panel.bar(range(len(shares)), shares, 0.8, fc="0.5", ec="black", lw=0.6)
    words = [f"{share:.0f}" if share >= 0.5 else "" for share in shares]
    panel.bar_label(bars, words, padding=1, fontsize=SMALL_PRINT)
    panel.set(ylim=(0, 114), yticks=(0, 50, 100))


def _label_outer(panels: Sequence[Axes], used: int, columns: int, label: str) -> None:
    """Label a grid of panels once: the middle of its lowest row, and each row at the left."""
    last = range(max(used - columns, 0), used)
    panels[last[len(last) // 2]].set_xlabel(label)
    for panel in panels[:used:columns]:
        panel.set_ylabel("clips (%)")


def accuracy_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    log: bool = False,
    labels: tuple[str, str] = ("", ""),
    chosen: tuple[str, int] | None = None,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw a value against what it costs or rests on, one line a curve.

    Args:
        curves: Label -> points (x, value) or (x, value, low, high) in the order of the line.
        log: Whether the x axis is logarithmic.
        labels: Of the two axes.
        chosen: Curve and place of the point to be ringed, such as the default.
    """
    [axis] = make_panels(axis, title, (7.5, 4.2))
    for label, points, marker, line in styled(curves):
        if {len(point) for point in points} not in ({2}, {4}):
            raise ValueError(f"{label}: points must all be (x, value) or (x, value, low, high)")
        x, value, *ends = np.array(points, dtype=float).T
        error = (value - ends[0], ends[1] - value) if ends else None
        line |= {"marker": marker, "ms": 5, "lw": 1.4, "elinewidth": 0.8, "capsize": 2}
        axis.errorbar(x, value, error, label=label, **line)
    if chosen is not None:
        x, value, *_ = curves[chosen[0]][chosen[1]]
        axis.plot(x, value, "o", ms=15, mfc="none", mec="black", label="the default")
    axis.set(xlabel=labels[0], ylabel=labels[1])
    if log:
        axis.set_xscale("log")
        ticks = LogLocator(subs=(1, 2, 5))
        axis.xaxis.set(major_locator=ticks, major_formatter="{x:g}", minor_formatter="")
    elif all(float(point[0]).is_integer() for points in curves.values() for point in points):
        axis.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    handles, words = axis.get_legend_handles_labels()
    order = [*range(len(handles) - len(curves), len(handles)), *range(len(handles) - len(curves))]
    axis.legend([handles[n] for n in order], [words[n] for n in order], **SMALL)
    return with_grid(axis)


def accuracy_intervals(rows: Rows, *, title: str = "", axis: Axes | None = None) -> Figure:
    """Compare accuracies with their intervals: name -> (accuracy, low, high), as fractions."""
    check_some(rows)
    [axis] = make_panels(axis, title, (7.5, 0.42 * len(rows) + 1.1))
    for y, (value, low, high) in enumerate(rows.values()):
        _draw_interval(axis, y, (value, low, high), f"{100 * value:.1f}%")
    name_rows(axis, list(rows))
    axis.set(xlim=(0, 103), xlabel="accuracy (%), bar: 95 % interval")
    return with_grid(axis)


def difference_figure(
    rows: Rows,
    *,
    title: str = "",
    label: str = "difference of accuracy (percentage points), bar: 95 % interval over subjects",
    axis: Axes | None = None,
) -> Figure:
    """Draw differences around zero: name -> (difference of accuracy, low, high), as fractions.

    The marker points right when the interval lies above 0, left when below, and is round when the
    interval holds 0.
    """
    check_some(rows)
    [axis] = make_panels(axis, title, (7.5, 0.46 * len(rows) + 1.5))
    axis.axvline(0, color="0.3", lw=1.0, linestyle="--")
    for y, (value, low, high) in enumerate(rows.values()):
        kind = "better" if low > 0 else "worse" if high < 0 else "tie"
        _draw_interval(axis, y, (value, low, high), signed(100 * value), *DIFFERENCES[kind])
    name_rows(axis, list(rows))
    axis.margins(x=0.08)
    axis.set_xlabel(label)
    legend_below(axis, 3, proxies(DIFFERENCES))
    return with_grid(axis)


def fold_figure(
    rows: Rows,
    labels: Sequence[str],
    *,
    title: str = "",
    axis_label: str = "accuracy (%), one dot per fold",
    axis: Axes | None = None,
) -> Figure:
    """Draw one dot a fold or person, at its height in each method's row, and a line at the mean.

    Args:
        rows: Method -> accuracies as fractions, one a fold or person; nan where there is none.
        labels: What the folds or persons are called; the (first) worst of each row is named.
    """
    check_some(rows)
    table = [_one_a_label(name, values, len(labels)) for name, values in rows.items()]
    [axis] = make_panels(axis, title, (7.5, 0.62 * len(rows) + 1.1))
    name_rows(axis, list(rows), top=-0.75)
    heights = _spread(len(labels), 0.26)
    for y, row in enumerate(table):
        axis.scatter(row, y + heights, 22, fc="0.75", ec="black", lw=0.6, zorder=3)
        mean, worst = np.nanmean(row), int(np.nanargmin(row))
        axis.plot([mean, mean], [y - 0.38, y + 0.38], color="black", lw=2)
        note(axis, f"mean {mean:.1f}", mean, y - 0.38, (0, 2))
        if row[worst] < mean:
            place = row[worst], y + heights[worst]
            note(axis, labels[worst], *place, (-6, 0), ha="right", va="center")
    left, right = np.nanmin(table), np.nanmax(table)
    space = max(right - left, 1.0)  # the name of the worst stands left of its dot
    axis.set(xlim=(left - 0.2 * space, right + 0.08 * space), xlabel=axis_label)
    return with_grid(axis)


# helpers


def _draw_interval(
    axis: Axes, y: int, row: Sequence[float], words: str, marker: str = "o", fill: str = "black"
) -> None:
    """Draw fractions (value, low, high) in percent: a bar, a marker on it and words above it."""
    value, low, high = (100 * part for part in row)
    axis.plot([low, high], [y, y], color=BAR, lw=3, solid_capstyle="butt")
    axis.plot(value, y, marker, color="black", ms=7, mfc=fill)
    note(axis, words, value, y)


def _limit(axis: Axes, values: ndarray, label: str) -> None:
    """Begin and end the axis of accuracies around the values, and say where it begins."""
    low, high = limits_around(values)
    space = 0.02 * (high - low)
    axis.set_xlim(low - space, high + space)
    axis.set_xlabel(f"{label}; the axis begins at {low:g}" if low else label)


def _spread(count: int, half: float) -> ndarray:
    """Return heights (count,) from -half to half, so that equal values stand side by side."""
    return np.linspace(-half, half, count) if count > 1 else np.zeros(count)


def _one_a_label(name: str, values: Sequence[float], count: int) -> ndarray:
    """Bring accuracies, one a label and at least one of them a number, to percent."""
    accuracies = 100 * np.asarray(values, dtype=float)
    finite = np.isfinite(accuracies).sum()
    if len(accuracies) != count or not finite:
        raise ValueError(
            f"{name}: {finite} of {len(accuracies)} accuracies are numbers, for {count} labels; "
            "give one a label, nan where there is none, but not everywhere"
        )
    return accuracies
