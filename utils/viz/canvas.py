"""The paper that figures are drawn on: sizes, panels, shades, markers, legends and small marks.

Knows matplotlib, the width of a page, grey print and colour blindness. Does not know what a figure
shows.
"""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from numpy import ndarray
from PIL import Image

# Told apart without colour: a class or a run is a line style and a marker first, a shade of cividis
# second.
LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDEST = 9.0  # inches; a page shows about 8.5, so that print of 8.5 points stays above 8
SMALL_PRINT = 8.5  # points, the smallest
DPI = 100
PALEST = 0.6  # of cividis, contrast 3.3 : 1 on white; what is lighter vanishes on paper
# A screen of text and flat shades needs few colours; frames full of noise are given fewer still
# until the picture is small enough.
COLOURS, MOST_BYTES = (64, 32, 16), 150_000
Rows = Mapping[str, Sequence[float]]  # name -> numbers
SMALL: dict[str, Any] = {"fontsize": SMALL_PRINT, "frameon": False}  # of legends
BESIDE: dict[str, Any] = {**SMALL, "loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
Markers = Mapping[str, tuple[str, str]]  # what a marker says -> its shape and filling


class NotebookFigure(Figure):
    """A Figure that a notebook's cell shows as a PNG of few colours, whatever backend is set."""

    def _ipython_display_(self) -> None:
        """Show itself: once pyplot was used, IPython has a way of its own with figures, which knows
        no palette and goes before every other method."""
        from IPython.display import publish_display_data

        publish_display_data({"image/png": self._repr_png_(), "text/plain": repr(self)})

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        image = Image.open(buffer).convert("RGB")
        for colours in COLOURS:
            if len(small := _few_colours(image, colours)) <= MOST_BYTES:
                break
        return small


def _few_colours(image: Image.Image, colours: int) -> bytes:
    """Write an RGB image as a PNG with a palette.

    Greys are spaced evenly: chosen by how often they occur, most would go to a film's noise. And
    dithering would blur text and cost bytes.
    """
    pixels = np.asarray(image)
    if np.ptp(pixels, axis=-1).any():
        few = image.quantize(colours, kmeans=1, dither=Image.Dither.NONE)
    else:
        few = Image.fromarray((pixels[..., 0] * ((colours - 1) / 255)).round().astype(np.uint8))
        greys = np.linspace(0, 255, colours).round().astype(np.uint8)
        few.putpalette(np.repeat(greys, 3).tobytes())
    buffer = io.BytesIO()
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()


# panels


def make_panels(
    given: Axes | None,
    title: str,
    size: tuple[float, float],
    shape: tuple[int, int] | None = None,
    *,
    share: Mapping[str, Any] = {},
    **ratios: Any,
) -> list[Axes]:
    """Return the panels of a new figure, or in the given axis's place; titled.

    Args:
        given: The axis to draw into or to divide; None makes a figure.
        size: Of a new figure, width and height in inches.
        shape: Rows and columns of panels; None is one.
        share: `sharex` and `sharey` of the panels.
        ratios: `height_ratios` and `width_ratios` of the panels.
    """
    if given is None:
        figure = NotebookFigure(figsize=size, dpi=DPI, layout="constrained")
        if title:
            figure.suptitle(_wrapped(title, size[0]), fontsize=11)
        panels: Any = figure.add_gridspec(*(shape or (1, 1)), **ratios).subplots(**share)
        return list(np.ravel(panels))
    given.set_title(title, fontsize=11)
    if shape is None:
        return [given]
    given.axis("off")
    place = cast(SubplotSpec, given.get_subplotspec())
    return list(np.ravel(place.subgridspec(*shape, **ratios).subplots(**share)))


def _wrapped(title: str, inches: float) -> str:
    """Break a title of 11 points, of which about twelve letters fill an inch."""
    return "\n".join(textwrap.fill(line, int(12 * inches)) for line in title.splitlines())


def pack(axis: Axes) -> None:
    """Leave no gaps around panels of images, whose sides keep their proportions, in a figure of
    our own."""
    if isinstance(figure := axis.figure, NotebookFigure):
        figure.set_layout_engine("compressed")


def figure_of(axis: Axes) -> Figure:
    """Return the figure in which an axis stands."""
    return cast(Figure, axis.figure)


def with_grid(*axes: Axes) -> Figure:
    """Draw a pale grid instead of a frame, and return the figure."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure_of(axes[0])


def name_rows(axis: Axes, rows: Sequence[str], top: float = -0.7) -> None:
    """Name the rows of an axis, the first at the top; `top` is the axis's upper end."""
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, top)


def at_right(axis: Axes, text: str, y: float) -> None:
    """Write something small right of an axis, at the height of a row."""
    place = axis.get_yaxis_transform()
    note(axis, text, 1.0, y, (6, 0), xycoords=place, ha="left", va="center")


def limits_around(values: ndarray, step: float = 5.0, most: float = 100.0) -> tuple[float, float]:
    """Return round limits around values in percent, so that an axis need not begin at zero; no
    value lies on an edge but at `most`."""
    low = step * np.floor(np.min(values) / step - 0.1)
    high = step * np.ceil(np.max(values) / step + 0.1)
    return max(float(low), 0.0), min(float(high), most)


# marks


def shades(count: int) -> ndarray:
    """Return shades (count, 4) of cividis from dark to light, all readable on white."""
    return plt.get_cmap("cividis")(np.linspace(0, PALEST, count))


def styled(rows: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, dict[str, Any]]]:
    """Give each row its marker and its line: a style and a shade, from dark to light."""
    check_some(rows)
    looks = zip(rows.items(), shades(len(rows)), cycle(LINES), cycle(MARKERS))
    for (name, row), shade, style, marker in looks:
        yield name, row, marker, {"color": shade, "linestyle": style}


def note(
    axis: Axes, text: str, x: float, y: float, shift: tuple[float, float] = (0, 7), **look: Any
) -> None:
    """Write something small, `shift` typographic points from a place."""
    look = {"ha": "center", "fontsize": SMALL_PRINT, **look}
    axis.annotate(text, (x, y), xytext=shift, textcoords="offset points", **look)


def signed(number: float, digits: int = 1) -> str:
    """Write a number with its sign, and a real minus; what rounds to zero has none."""
    text = f"{round(number, digits) + 0.0:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if text.strip("+0.") else text[1:]


def proxies(markers: Markers) -> list[Line2D]:
    """Return what a legend shows for markers, one handle each."""
    return [
        Line2D([], [], marker=marker, linestyle="", color="black", mfc=fill, label=label)
        for label, (marker, fill) in markers.items()
    ]


def legend_below(axis: Axes, columns: int, handles: Sequence[Any] | None = None) -> None:
    """Put the legend under a figure of our own; inside the axes in somebody else's.

    None: all that has a label.
    """
    shown = None if handles is None else list(handles)
    if isinstance(figure := axis.figure, NotebookFigure):
        figure.legend(handles=shown, loc="outside lower center", ncols=columns, **SMALL)
    else:
        axis.legend(handles=shown, **SMALL)


# checks


def check_some(rows: Mapping[str, Any]) -> None:
    """Raise ValueError when there is nothing to draw."""
    if not rows:
        raise ValueError("no rows to draw; give at least one")


def in_percent(name: str, values: Sequence[float]) -> ndarray:
    """Bring accuracies, at least one and each a number, to percent; ValueError says whose are
    not."""
    accuracies = 100 * np.asarray(values, dtype=float)
    finite = int(np.isfinite(accuracies).sum())
    if not finite or finite < accuracies.size:
        raise ValueError(
            f"{name}: {finite} of {accuracies.size} accuracies are numbers; give at least one, and "
            "leave out those that are none"
        )
    return accuracies
