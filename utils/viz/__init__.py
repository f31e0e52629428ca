"""Arrays in, Figure out: the figures of the article and of the command line.

Knows matplotlib, grey print and colour blindness. Does not know files, models, torch, data sets or
class names: whoever calls brings arrays and words. No window is opened; a figure is returned and
shows itself in a notebook.

Every function takes a `title`, the finding that the figure shows, and draws into `axis`, one of a
figure's subplots, whose figure it returns; without, it makes a figure of its own, at most as wide
as a page. Functions of several panels divide the place of their axis. Only `write_gif` writes a
file.
"""

from utils.viz.animation import write_gif
from utils.viz.canvas import NotebookFigure
from utils.viz.evidence import (
    accuracy_curves,
    accuracy_intervals,
    count_histograms,
    difference_figure,
    fold_figure,
    grouped_dots,
    paired_dots,
    seed_chart,
)
from utils.viz.frames import (
    activation_figure,
    frame_grid,
    frame_probability_timeline,
    mistake_label,
    segment_timeline,
    track_figure,
)
from utils.viz.models import (
    confusion_figure,
    confusion_multiples,
    embedding_map,
    flow_figure,
    learning_curves,
    principal_plane,
    reliability_figure,
)
from utils.viz.spans import span_timeline

__all__ = [
    "NotebookFigure",
    "accuracy_curves",
    "accuracy_intervals",
    "activation_figure",
    "confusion_figure",
    "confusion_multiples",
    "count_histograms",
    "difference_figure",
    "embedding_map",
    "flow_figure",
    "fold_figure",
    "frame_grid",
    "frame_probability_timeline",
    "grouped_dots",
    "learning_curves",
    "mistake_label",
    "paired_dots",
    "principal_plane",
    "reliability_figure",
    "seed_chart",
    "segment_timeline",
    "span_timeline",
    "track_figure",
    "write_gif",
]
