"""What there is to show of a measured run: tables of its numbers, figures, and the clips it
misread.

Knows a result in plain values (scores, confusion, items with probabilities, history), segments of
videos to read a few frames from, and what a report's section and a logger's summary are. Does not
know how the run came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from data.kth import SCENARIOS, Segment
from data.video import read_frames
from evaluation.metrics import calibration_error
from evaluation.statistics import reliability, wilson_interval
from tracking.loggers import Summary, strip
from tracking.page import Section
from tracking.results import flat
from utils.data_setup import Uniform

MOST_MISTAKES, FRAMES, BINS = 8, 6, 10
MATRIX = "Rows are true, columns predicted."

Item = Mapping[str, Any]  # file, segment (from 1), label, predicted, probs by class


@dataclass(frozen=True)
class Mistake:
    """A segment that was misread: its item, and its frames (T, H, W) uint8 or why there are
    none."""

    item: Item
    frames: np.ndarray | None = None
    reason: str = ""

    @property
    def title(self) -> str:
        """Which segment it is, what it shows and what it was read as."""
        item = self.item
        return (
            f"{item['file']} #{item['segment']}: is {item['label']}, read as {item['predicted']} "
            f"({item['probs'][item['predicted']]:.0%})"
        )


@dataclass(frozen=True)
class Film:
    """Frames (T, H, W) uint8 side by side, as a figure of a report; matplotlib would take a second
    for as many."""

    frames: np.ndarray

    def savefig(self, file: Any, *, format: str = "png") -> None:
        """Write the picture into an open file."""
        file.write(cv2.imencode(f".{format}", strip(self.frames))[1].tobytes())


def answers(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities (N, K) and labels (N,) of a result's segments."""
    log_probs, labels = log_answers(result)
    return np.exp(log_probs), labels


def log_answers(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-probabilities (N, K), unrounded, and the labels (N,) of a result's segments.

    A result without them, written by older code or exchanged as its items alone, has the items'
    probabilities, which are rounded to six digits: there 0 stands for anything below 5e-7, and is
    taken for 1e-12.
    """
    labels = np.array([result["classes"].index(item["label"]) for item in result["items"]])
    if result.get("log_probs"):
        return np.minimum(
            np.array(result["log_probs"]), 0.0
        ), labels  # a mean's rounding may lie above 0
    probs = np.array(
        [[item["probs"][name] for name in result["classes"]] for item in result["items"]]
    )
    return np.log(np.maximum(probs, 1e-12)), labels


def calibration_error_of(result: Mapping[str, Any]) -> float:
    """Return the expected calibration error of a result's segments; nan when there are none."""
    return calibration_error(*answers(result), bins=BINS) if result["items"] else float("nan")


def find_mistakes(
    items: Sequence[Item], segments: Iterable[Segment], *, most: int = MOST_MISTAKES
) -> list[Mistake]:
    """Return the misread items of which the model was surest, at most `most`, with a few frames
    each.

    A file that cannot be read, or is not among the segments, is no error: the mistake then says why
    it has no frames.
    """
    wrong = sorted(
        (item for item in items if item["label"] != item["predicted"]),
        key=lambda item: -item["probs"][item["predicted"]],
    )[:most]
    known = (
        {(f"{s.video.path.parent.name}/{s.video.path.name}", s.index + 1): s for s in segments}
        if wrong
        else {}
    )
    return [_with_frames(item, known.get((item["file"], item["segment"]))) for item in wrong]


def make_figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Draw a run: caption -> matplotlib's Figure; what there are no numbers for is left out."""
    from utils import viz  # matplotlib takes a second to import, which training should not wait for

    figures: dict[str, Any] = {}
    if result["history"]:
        figures["training curves"] = viz.training_curves({result["experiment"]: result["history"]})
    for level, key in (("segments", "confusion"), ("videos", "video_confusion")):
        if result.get(key):
            figures[f"confusion of {level}"] = viz.confusion_figure(
                np.array(result[key]), result["classes"]
            )
    if result["items"]:
        figures["reliability"] = viz.reliability_figure(
            {result["experiment"]: _reliability(result)}
        )
    return figures


def make_sections(
    result: Mapping[str, Any],
    mistakes: Sequence[Mistake],
    figures: Mapping[str, Any],
    *,
    config: Mapping[str, Any],
    origin: Mapping[str, Any],
    headline: str = "",
) -> dict[str, Section]:
    """Put a run into the sections of its report.

    Args:
        result: Plain values as they are kept of a finished run, and its history.
        mistakes: As `find_mistakes` gives them.
        figures: Caption -> figure, as `make_figures` gives them; those of other captions stand at
            the end.
        config: The settings of the run, nested.
        origin: Where the run came from, such as its folder, date, seed and versions.
        headline: The accuracies in one line.
    """
    about = {name: result[name] for name in ("experiment", "data", "split")}
    sections = {
        "Result": Section(headline, about, rows=_level_rows(result)),
        "Training": Section(facts=_training_facts(result["history"]), rows=result["history"]),
        "Confusion of segments": Section(MATRIX, rows=_matrix(result, "confusion")),
        "Confusion of videos": Section(MATRIX, rows=_matrix(result, "video_confusion")),
        "By class": Section(
            "Segments.", rows=[_line("class", name, c) for name, c in result["per_class"].items()]
        ),
        "By scenario": Section(
            "Segments.",
            rows=[
                _line("scenario", _scenario(number), count)
                for number, count in result["per_scenario"].items()
            ],
        ),
        "By person": Section(
            "Segments.", rows=[_line("person", name, c) for name, c in result["per_person"].items()]
        ),
        "Calibration": _calibration(result),
        "Mistakes": _mistakes(result["items"], mistakes),
        "Configuration": Section(facts=flat(config)),
        "Where it came from": Section(facts=origin),
        "Figures": Section(),
    }
    homes = {
        "training curves": "Training",
        "confusion of segments": "Confusion of segments",
        "confusion of videos": "Confusion of videos",
        "reliability": "Calibration",
    }
    for caption, figure in figures.items():
        home = homes.get(caption, "Figures")
        sections[home] = replace(
            sections[home], figures={**sections[home].figures, caption: figure}
        )
    return {
        heading: section
        for heading, section in sections.items()
        if section.facts or section.rows or section.figures or heading == "Mistakes"
    }  # none is worth saying


def make_summary(
    result: Mapping[str, Any],
    mistakes: Sequence[Mistake],
    figures: Mapping[str, Any],
    *,
    embedding: np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> Summary:
    """Put a run into what loggers show: accuracies, figures as pictures, mistakes, and an
    embedding.

    Args:
        result: As in `make_sections`.
        mistakes: As `find_mistakes` gives them.
        figures: Caption -> figure, as `make_figures` gives them.
        embedding: Features (N, D) of N clips.
        classes: Name of the class of each of the N clips.
    """
    scores = {f"{level} accuracy": result[level]["accuracy"] for level in ("segment", "video")}
    pictures = {caption: as_picture(figure) for caption, figure in figures.items()}
    shown = {mistake.title: mistake.frames for mistake in mistakes if mistake.frames is not None}
    scores["calibration error"] = calibration_error_of(result)
    return Summary(len(result["history"]), scores, pictures, shown, embedding, classes)


def as_picture(figure: Any) -> np.ndarray:
    """Draw a matplotlib Figure into an array (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


# helpers


def _with_frames(item: Item, segment: Segment | None) -> Mistake:
    if segment is None:
        return Mistake(item, reason="it is not in the data folder")
    try:
        frames = read_frames(segment.video.path, segment.start + Uniform(FRAMES)(len(segment)))
    except (OSError, ValueError) as error:  # a VideoError is a ValueError
        return Mistake(item, reason=str(error))
    return Mistake(item, frames)


def _reliability(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    confidence, accuracy, count = reliability(*answers(result), bins=BINS)
    return confidence, accuracy, count


def _calibration(result: Mapping[str, Any]) -> Section:
    if not result["items"]:
        return Section()
    rows = [
        {
            "from": low / BINS,
            "to": (low + 1) / BINS,
            "answers": int(count),
            "mean confidence": float(confidence),
            "accuracy": float(accuracy),
        }
        for low, (confidence, accuracy, count) in enumerate(zip(*_reliability(result), strict=True))
    ]
    return Section(
        "How often answers are right against how sure they are, by ranges of confidence; segments.",
        {"expected calibration error": calibration_error_of(result)},
        rows=rows,
    )


def _score(count: Mapping[str, int]) -> dict[str, Any]:
    correct, n = count["correct"], count["n"]
    low, high = wilson_interval(correct, n)
    return {
        "correct": correct,
        "n": n,
        "accuracy": correct / n if n else float("nan"),
        "low": low,
        "high": high,
    }


def _line(column: str, name: str, count: Mapping[str, int]) -> dict[str, Any]:
    return {column: name, **_score(count)}


def _level_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_line("level", f"{level}s", result[level]) for level in ("segment", "video")]


def _scenario(number: str) -> str:
    return (
        f"{number} ({SCENARIOS[int(number)]})"
        if number.isdecimal() and int(number) in SCENARIOS
        else number
    )


def _training_facts(history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    if not history:
        return {}
    best = min(history, key=lambda row: row["val_loss"])
    return {
        "epochs": len(history),
        "chosen epoch": int(best["epoch"]),
        "its validation loss": best["val_loss"],
        "its validation accuracy": best["val_accuracy"],
    }


def _matrix(result: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [
        {"true": name, **dict(zip(result["classes"], row, strict=True))}
        for name, row in zip(result["classes"], result.get(key) or (), strict=False)
    ]


def _mistakes(items: Sequence[Item], mistakes: Sequence[Mistake]) -> Section:
    wrong = sum(item["label"] != item["predicted"] for item in items)
    if not wrong:
        return Section("No segment was misread.")
    note = (
        f"{wrong} of {len(items)} segments were misread; of these {len(mistakes)} the model "
        "was surest."
    )
    lost = [f"{m.item['file']} ({m.reason})" for m in mistakes if m.frames is None]
    note += " Columns of actions are probabilities."
    note += f" No frames could be read of {', '.join(lost)}." if lost else ""
    films = {m.title: Film(m.frames) for m in mistakes if m.frames is not None}
    return Section(note, figures=films, rows=[_mistake_row(m) for m in mistakes])


def _mistake_row(mistake: Mistake) -> dict[str, Any]:
    item = mistake.item
    return {
        "file": item["file"],
        "segment": item["segment"],
        "true": item["label"],
        "read as": item["predicted"],
        **item["probs"],
    }
