"""What a figure says and that it can be drawn, for the tests of figures."""

import io

from matplotlib.lines import Line2D

CLASSES = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert buffer.getvalue()[:4] == b"\x89PNG"
    return buffer.getvalue()


def texts(figure):
    found = [figure.get_suptitle(), figure.get_supxlabel()]
    for axis in figure.axes:
        found += [axis.get_xlabel(), axis.get_ylabel(), axis.get_title()]
        found += [t.get_text() for t in axis.texts]
        found += [t.get_text() for t in (*axis.get_xticklabels(), *axis.get_yticklabels())]
    return " ".join(found)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(axis, **look):
    """The lines of an axis that look like this, by their getters: `marker`, `linewidth`."""
    return [
        line
        for line in axis.get_lines()
        if isinstance(line, Line2D)
        and all(getattr(line, f"get_{name}")() == value for name, value in look.items())
    ]
