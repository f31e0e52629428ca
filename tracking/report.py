"""Report contents: the tables, figures and misclassified clips of a measured run.

Knows predictions, a training's history, segments of videos to read a few frames from, and what a
report's section and a logger's summary are. Does not know how the run came about.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.kth import SCENARIOS, Segment
from data.video import read_frames
from evaluation.predictions import UNKNOWN, Predictions, Score, segment_name
from evaluation.statistics import reliability
from tracking.loggers import Summary
from tracking.page import Section
from tracking.results import Cells
from tracking.runs import flat
from utils.data_setup import Uniform

FRAMES = 6  # shown of a misclassified segment
SCENARIO_NAMES = {str(number): f"{number} ({words})" for number, words in SCENARIOS.items()}
# captions of the figures
CURVES, RELIABILITY = "training curves", "reliability"
CONFUSION = {"segment": "confusion of segments", "video": "confusion of videos"}

History = Sequence[Mapping[str, float]]
Figures = Mapping[str, Any]  # caption -> matplotlib's Figure, which takes a second to import


@dataclass(frozen=True)
class Mistake:
    """A segment that was misclassified: its name, its true and its predicted class, the probability
    of each class, and its frames (T, H, W) uint8 or why there are none."""

    segment: str
    true: str
    predicted: str
    probs: Mapping[str, float]
    frames: np.ndarray | None
    reason: str

    @property
    def title(self) -> str:
        """Which segment it is, what it shows and what it was classified as."""
        probability = self.probs[self.predicted]
        return f"{self.segment}: {self.true} classified as {self.predicted} ({probability:.0%})"


def find_mistakes(
    predictions: Predictions, segments: Iterable[Segment], most: int = 8
) -> list[Mistake]:
    """Return the misclassified segments of which the model was most confident, at most `most`, with
    a few frames each.

    A file that cannot be read, or is not among the segments, is no error: the mistake then says why
    it has no frames.
    """
    known = {segment_name(segment): segment for segment in segments}
    wrong, classes = predictions[predictions.mistakes(most)], predictions.classes
    return [
        Mistake(
            str(name),
            classes[label],
            classes[guess],
            dict(zip(classes, probs.tolist(), strict=True)),
            *_frames(known.get(name)),
        )
        for name, label, guess, probs in zip(
            wrong.items["segment"], wrong.labels, wrong.predicted, wrong.probs, strict=True
        )
    ]


def make_figures(name: str, predictions: Predictions, history: History) -> Figures:
    """Draw a run: caption -> figure; without a history there are no training curves."""
    from utils import viz  # training should not wait for matplotlib

    curve = reliability(predictions.probs, predictions.labels)
    figures = {CURVES: viz.learning_curves({name: [history]})} if history else {}
    for level, caption in CONFUSION.items():
        matrix = predictions.pooled(level).confusion()
        figures[caption] = viz.confusion_figure(matrix, predictions.classes)
    return {**figures, RELIABILITY: viz.reliability_figure({name: curve})}


def make_sections(
    predictions: Predictions,
    history: History,
    mistakes: Sequence[Mistake],
    figures: Figures,
    *,
    about: Cells,
    config: Cells,
    origin: Cells,
    headline: str = "",
) -> dict[str, Section]:
    """Put a run into the sections of its report.

    Args:
        predictions: Of segments.
        history: The rows of the training's epochs.
        mistakes: As `find_mistakes` gives them.
        figures: As `make_figures` gives them.
        about: What was measured: experiment, data and split.
        config: The settings of the run, nested.
        origin: Where the run came from, such as its folder, date, seed and versions.
        headline: The accuracies in one line.
    """
    levels = {level: predictions.pooled(level) for level in CONFUSION}
    scores = [_line("level", f"{level}s", of.score()) for level, of in levels.items()]
    sections = {"Result": Section(headline, about, rows=scores)}
    if history:
        sections["Training"] = Section(
            facts=_training_facts(history), figures=_only(figures, CURVES), rows=history
        )
    for level, of in levels.items():
        sections[f"Confusion of {level}s"] = Section(
            "Rows are true, columns predicted.",
            figures=_only(figures, CONFUSION[level]),
            rows=[
                {"true": name, **dict(zip(of.classes, counts, strict=True))}
                for name, counts in zip(of.classes, of.confusion().tolist(), strict=True)
            ],
        )
    for column in ("action", "scenario", "person"):
        counts = predictions.by(column).items()
        if dict(counts).keys() == {UNKNOWN}:
            continue
        rows = [_line(column, SCENARIO_NAMES.get(name, name), score) for name, score in counts]
        sections[f"By {column}"] = Section("Segments.", rows=rows)
    return sections | {
        "Calibration": _calibration(predictions, _only(figures, RELIABILITY)),
        "Mistakes": _mistakes(predictions, mistakes),
        "Configuration": Section(facts=flat(config)),
        "Where it came from": Section(facts=origin),
    }


def make_summary(
    predictions: Predictions,
    history: History,
    mistakes: Sequence[Mistake],
    figures: Figures,
    *,
    embedding: np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Summary:
    """Put a run into what loggers show: accuracies, figures and mistakes as images, and an
    embedding, features (N, D) of N clips of these classes (N)."""
    scores = {
        f"{level} accuracy": predictions.pooled(level).score().accuracy for level in CONFUSION
    }
    scores["calibration error"] = predictions.calibration_error
    drawn = {caption: _drawn(figure) for caption, figure in figures.items()}
    images = {"figures": drawn, "mistakes": _strips(mistakes)}
    return Summary(len(history), scores, images, embedding, classes)


# helpers


def _frames(segment: Segment | None) -> tuple[np.ndarray | None, str]:
    """Return frames (T, H, W) spread over a segment, or None and the reason."""
    if segment is None:
        return None, "it is not in the data folder"
    places = segment.start + Uniform(FRAMES)(len(segment), segment.video.fps)
    try:
        return read_frames(segment.video.path, places), ""
    except (OSError, ValueError) as error:  # a VideoError is a ValueError
        return None, str(error)


def _strips(mistakes: Sequence[Mistake]) -> dict[str, np.ndarray]:
    """Lay the frames of each mistake that has any side by side: title -> (H, T * W)."""
    return {m.title: np.hstack(list(m.frames)) for m in mistakes if m.frames is not None}


def _drawn(figure: Any) -> np.ndarray:
    """Draw a figure into an image (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _only(figures: Figures, caption: str) -> Figures:
    return {caption: figures[caption]} if caption in figures else {}


def _line(column: str, name: str, score: Score) -> dict[str, Any]:
    """Return a score as a line of a table, without the columns that it leaves empty."""
    return {column: name} | {key: value for key, value in score.to_row().items() if value != ""}


def _training_facts(history: History) -> dict[str, Any]:
    best = min(history, key=lambda row: row["val_loss"])
    return {
        "epochs": len(history),
        "chosen epoch": int(best["epoch"]),
        "its validation loss": best["val_loss"],
        "its validation accuracy": best["val_accuracy"],
    }


def _calibration(predictions: Predictions, figures: Figures) -> Section:
    curve = (column.tolist() for column in reliability(predictions.probs, predictions.labels))
    bins = list(zip(*curve, strict=True))
    rows = [
        {
            "from": low / len(bins),
            "to": (low + 1) / len(bins),
            "predictions": int(count),
            "mean confidence": confidence,
            "accuracy": accuracy,
        }
        for low, (confidence, accuracy, count) in enumerate(bins)
    ]
    note = "How often predictions are right, by ranges of their confidence; segments."
    return Section(
        note, {"expected calibration error": predictions.calibration_error}, figures, rows
    )


def _mistakes(predictions: Predictions, mistakes: Sequence[Mistake]) -> Section:
    wrong = int((~predictions.right).sum())
    if not wrong:
        return Section("No segment was misclassified.")
    note = (
        f"{wrong} of {len(predictions)} segments were misclassified; these are the {len(mistakes)} "
        "of which the model was most confident. Columns of actions are probabilities."
    )
    if lost := [f"{m.segment} ({m.reason})" for m in mistakes if m.frames is None]:
        note += f" No frames could be read of {', '.join(lost)}."
    rows = [
        {"segment": m.segment, "true": m.true, "classified as": m.predicted, **m.probs}
        for m in mistakes
    ]
    return Section(note, figures=_strips(mistakes), rows=rows)
