"""What holds off KTH's ground: the classifiers as filmed, with the person cut out, by his joints
alone, and all of it together, on clips of other places.

Knows folders of clips, one a label; a label that is none of the actions marks clips that ought to
be refused. Nothing is trained, selected or calibrated on them, and every reading is a row of
results/real_clips.csv.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.files import DEFAULT, place
from data.kth import ACTIONS
from evaluation.predictions import Score
from experiments.recognisers import load_recogniser
from experiments.results import READINGS
from experiments.studies import accuracy_row, answers_of_parts
from tracking import results
from tracking.measurements import Row
from utils.features import look_at

VIDEOS = (".avi", ".mp4", ".mpg", ".webm", ".mov", ".gif", ".mkv", ".m4v", ".ogv")
QUICK: dict[str, Any] = {"most": 1, "log": None}


def run(
    root: str | Path,
    *,
    elsewhere: str | Path | None = None,
    most: int | None = None,
    cache_dir: str | Path | None = DEFAULT,
    log: str | Path | None = DEFAULT,
) -> list[Row]:
    """Classify every file of a folder by each part of the bundled recogniser.

    Args:
        root: Taken where `elsewhere` is None.
        elsewhere: A folder <label>/<file>.
        most: How many files a label; None takes all.
        cache_dir: Where the finder's looks are kept.
        log: Folder of the list of readings; None writes none.

    Raises:
        ValueError: The folder holds no videos.
    """
    folder = Path(elsewhere if elsewhere is not None else root)
    files = clips_of(folder, most)
    fusion = load_recogniser("bundled")
    where = place(cache_dir, "cache")
    found = look_at(fusion.members[0].shown.reader, files, cache_dir=where)
    said: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in tqdm(files, folder.name, leave=False):
        for part, label in answers_of_parts(fusion, path, found=found[path]).items():
            said[part].append((path.parent.name, label))
    rows = []
    for name, pairs in said.items():
        known = [label == said for label, said in pairs if label in ACTIONS]
        refused = [said not in ACTIONS for label, said in pairs if label not in ACTIONS]
        counts = {"files of the six actions, right": known, "other files, refused": refused}
        rows += [
            accuracy_row(f"{folder.name}, {what}", name, [Score(sum(right), len(right))])
            for what, right in counts.items()
            if right
        ]
        if log is not None:
            log_reading(place(log, "results") / READINGS, f"{folder.name}: {name}", known)
    return sorted(rows, key=lambda row: row.task)


def clips_of(folder: Path, most: int | None = None) -> list[Path]:
    """List the videos <label>/<file> of a folder, at most so many a label; ValueError without."""
    labels = [label for label in sorted(folder.iterdir()) if label.is_dir()]
    files = [
        path
        for label in labels
        for path in sorted(p for p in label.iterdir() if p.suffix.lower() in VIDEOS)[:most]
    ]
    if not files:
        raise ValueError(f"no videos under {folder}; they lie there as <label>/<file>")
    return files


def log_reading(path: Path, name: str, known: Sequence[bool]) -> None:
    """Write down that real clips were read, and how many of those of the actions were right."""
    row = dict.fromkeys(results.READING_COLUMNS, "")
    row |= {"date": date.today().isoformat(), "recogniser": name}
    row |= {"files_right": str(sum(known)), "files": str(len(known))}
    results.append_reading(path, row)
