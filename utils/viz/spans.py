"""The figure of a video's spans: what is done when, and how probable the classes are meanwhile.

Knows labels and seconds. Does not know where they come from, nor which label is an action.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from utils.viz.canvas import WIDEST, check_some, make_panels, name_rows, shades, with_grid
from utils.viz.frames import frame_probability_timeline


def span_timeline(
    spans: Sequence[tuple[float, float, str]],
    classes: Sequence[str],
    times: ndarray,
    probs: ndarray,
    *,
    seconds: float,
    title: str = "",
    axis: Axes | None = None,
) -> Figure:
    """Draw which label lasts from when to when, a row a label, above the classes' probabilities.

    Rows of classes are dark, in the order in which they come; those of other labels are hatched.

    Args:
        spans: From and to which second, and the label; at least one.
        classes: The K names.
        times: Seconds of N probabilities (N,).
        probs: Probabilities of the classes (N, K).
        seconds: How long the video is.
    """
    check_some({label: start for start, _, label in spans})
    names = list(dict.fromkeys(label for _, _, label in spans))
    rows = 0.3 * len(names) + 0.3
    size, ratios = (WIDEST, 3.4 + rows), {"height_ratios": (rows, 2.6)}
    above, below = make_panels(axis, title, size, (2, 1), share={"sharex": True}, **ratios)
    tones = dict(zip(classes, shades(len(classes)), strict=True))
    for start, stop, label in spans:
        look = {"color": tones[label]} if label in tones else {"fc": "white", "hatch": "////"}
        above.barh(names.index(label), stop - start, 0.7, start, ec="black", lw=0.6, **look)
    name_rows(above, names)
    above.spines[["top", "right"]].set_visible(False)
    frame_probability_timeline(probs, classes, frames=list(times), fps=1.0, axis=below)
    below.set_xlim(0, seconds)
    return with_grid(below)
