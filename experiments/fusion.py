"""How the default is put together: who is in it, and when it refuses.

Knows the members, rendered validation persons, whom no member was trained on, and rendered
movements that are none of the six. All of them are searched by the person finder and classified as
any video is, so that its faults are among what is chosen by. Does not know real footage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from tqdm import tqdm

from data.files import DEFAULT, place, write_json
from data.kth import find_segments, select
from experiments.recognisers import FUSION, fusion_of
from experiments.refuser import train_refuser
from utils.features import look_at
from utils.predict import NOBODY, Fusion, doubt

REFUSED = 0.01  # share of the six actions' rendered segments that may be refused
# the bundled ones, chosen by `python har.py study members`: a member is shown what another
# experiment's reader reads where that is named (reader_of)
MEMBERS: tuple[dict[str, str], ...] = (
    {"checkpoint": "recogniser_pose.pth"},
    {"checkpoint": "recogniser_stacked_gru.pth"},
)
REFUSER = "recogniser_refuser.pth"  # trained here, and asked about something else alone


@dataclass(frozen=True)
class Said:
    """What M members said of N videos.

    Args:
        labels: Of the six actions, -1 for none of them (N,).
        persons: Whose they are (N,).
        log_probs: Of the K classes (M, N, K); 0 where a member was shown nobody.
        doubt: Probability of something else (N,).
        nobody: The finder saw nobody (N,).
    """

    labels: np.ndarray
    persons: np.ndarray
    log_probs: np.ndarray
    doubt: np.ndarray
    nobody: np.ndarray

    def right(self, weights: np.ndarray, which: np.ndarray | None = None) -> int:
        """Return how many of the six actions are right when log-probabilities are added by these
        weights."""
        which = self.labels >= 0 if which is None else which
        total = np.tensordot(weights, self.log_probs[:, which], 1)
        return int((total.argmax(1) == self.labels[which]).sum())

    def learned(self, which: np.ndarray) -> np.ndarray:
        """Return the weights (M,) that make the actions of some videos most likely."""
        log_probs, labels = self.log_probs[:, which], self.labels[which]

        def loss(weights: np.ndarray) -> float:
            total = np.tensordot(weights, log_probs, 1)
            likely = total[np.arange(len(labels)), labels]
            return float((np.logaddexp.reduce(total, axis=1) - likely).mean())

        return minimize(loss, np.ones(len(log_probs)), bounds=[(0, 10)] * len(log_probs)).x


class _Asked(NamedTuple):
    """A part of a video, its label or -1, and its person."""

    path: Path
    start: int = 0
    stop: int | None = None
    label: int = -1
    person: int = 0


def choose_fusion(
    root: str | Path = DEFAULT,
    others: str | Path = DEFAULT,
    *,
    members: Sequence[dict[str, str]],
    out: Path = FUSION,
    cache_dir: str | Path | None = DEFAULT,
    progress: bool = True,
    **refuser: Any,
) -> dict[str, Any]:
    """Train who refuses, choose when the fusion of some members does, write its file, and return
    what is in it.

    The threshold is the one that refuses REFUSED of the validation persons' segments. Learned
    weights are compared with none by persons: fitted on half of them, counted on the others, and
    the other way round.

    Args:
        root: KTH-Synth, of which the validation persons are taken.
        others: Movements that are none of the six, see `data.synthetic.render_others`; they are
            counted only.
        members: As they stand in the file, see `experiments.recognisers.load_fusion`.
        out: The file.
        cache_dir: Where the finder's looks are kept.
        progress: Show progress bars.
        **refuser: Further arguments of `experiments.refuser.train_refuser`.

    Raises:
        ValueError: There are no such videos.
        OSError: A file cannot be written.
    """
    told: dict[str, Any] = {"name": "fusion", "members": list(members)}
    root, others = place(root, "Data/KTH-Synth"), place(others, "Data/KTH-Synth-Others")
    asked = _asked(Path(root), Path(others))
    how: dict[str, Any] = {"cache_dir": cache_dir, "progress": progress, **refuser}
    train_refuser(root, others, out.parent / REFUSER, **how)
    told["refusers"] = [{"checkpoint": REFUSER}]
    said = _said(fusion_of(told, out.parent), asked, place(cache_dir, "cache"), progress)
    told |= _choice(said)
    told["real_footage"] = (
        "none of ours; the person finder was trained by its makers on photographs of real people"
    )
    write_json(out, told)
    return told


def _choice(said: Said) -> dict[str, Any]:
    """Return the threshold, and what was counted when it was chosen."""
    six, halves = said.labels >= 0, said.persons % 2 == 0
    learned = sum(
        said.right(said.learned(six & fitted), six & ~fitted) for fitted in (halves, ~halves)
    )
    threshold = float(np.quantile(said.doubt[six], 1 - REFUSED))
    refused = (said.doubt > threshold) | said.nobody
    members = len(said.log_probs)
    counts = {
        "segments": int(six.sum()),
        "each_right": [said.right(alone) for alone in np.identity(members)],
        "right": said.right(np.ones(members)),
        "right_by_learned_weights": learned,
        "refused": int(refused[six].sum()),
        "others": int((~six).sum()),
        "others_refused": int(refused[~six].sum()),
    }
    return {"threshold": round(threshold, 4), "chosen_on": counts}


def _asked(root: Path, others: Path) -> list[_Asked]:
    """Return validation persons' segments, and files of other movements."""
    segments = select(find_segments(root), "validation")
    files = sorted(others.glob("*/*.avi"))
    if not (segments and files):
        raise ValueError(
            f"no validation persons under {root}, or no videos under {others}: `python har.py data "
            "synth` and `python har.py data others` render them"
        )
    known = [
        _Asked(s.video.path, s.start, s.stop, s.label, int(s.video.person or 0)) for s in segments
    ]
    return known + [_Asked(path) for path in files]


def _said(fusion: Fusion, asked: list[_Asked], cache_dir: Path | None, progress: bool) -> Said:
    """Ask the members about videos."""
    reader = fusion.members[0].shown.reader
    paths = [one.path for one in asked]
    found = look_at(reader, paths, cache_dir=cache_dir, progress=progress)
    answers = [
        fusion.said(one.path, one.start, one.stop, found=found[one.path])
        for one in tqdm(asked, "asking", leave=False, disable=not progress)
    ]
    named = [answer[: len(fusion.members)] for answer in answers]
    log_probs = np.array([[fusion.log_probs(one) for one in answer] for answer in named])
    return Said(
        np.array([one.label for one in asked]),
        np.array([one.person for one in asked]),
        log_probs.swapaxes(0, 1),
        np.array([doubt(answer) for answer in answers]),
        np.array([all(one.label == NOBODY for one in answer) for answer in answers]),
    )
