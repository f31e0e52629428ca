"""Why a video got its label: which part of which moment spoke for it.

Knows recognisers that read images, and the window of a video that they were surest of. Does not
know how maps are computed (`models.activation`) or drawn (`utils.viz`). Joints are numbers and have
no map: of a fusion, the member of images is explained.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from data.steady import steady, steady_rate
from data.video import grey_of, probe
from models.activation import class_activation, frame_importance
from utils.person import LARGEST
from utils.predict import Fusion, Recogniser
from utils.timeline import Timeline
from utils.viz import activation_figure
from utils.watching import finder_of, members_of


def explanation(recogniser: Recogniser | Fusion, path: Path, timeline: Timeline) -> Any:
    """Draw the frames of the surest window of a video's label as the model is shown them, with
    where they speak for it (Grad-CAM) and how much each counts.

    Raises ValueError when the recogniser reads no images.
    """
    member = _of_images(recogniser)
    label, window = _surest(timeline)
    info = probe(path)
    rate = steady_rate(info)
    start = max(0, round((timeline.times[window] - timeline.window_s / 2) * rate))
    count = round(timeline.window_s * rate)
    frames = list(islice(steady(path, info, LARGEST), start, start + count))
    finder = finder_of(member)
    found = None if finder is None else finder.find(frames, rate).arrays()
    greys = np.stack([grey_of(frame) for frame in frames])
    chosen = member.shown.frames(*member.shown.span(0, len(greys), found), rate)
    clip = member.shown.clips(greys, [chosen], found, rate)[0]  # type: ignore[arg-type]
    clip = clip.to(next(member.model.parameters()).device)
    at = member.classes.index(label)
    maps = class_activation(member.model, clip, at).cpu().numpy()
    shares = frame_importance(member.model, clip, at).cpu().numpy()
    middles = chosen if chosen.ndim == 1 else chosen[:, 1]
    names = [
        f"{(start + frame) / rate:.2f} s: {share:.0%}"
        for frame, share in zip(middles, shares, strict=True)
    ]
    images = clip[:, clip.shape[1] // 2].cpu().numpy()  # of a stack the middle one
    return activation_figure(
        dict(zip(names, images, strict=True)),
        dict(zip(names, maps, strict=True)),
        title=f"what speaks for {label}, and how much each moment counts",
    )


def _of_images(recogniser: Recogniser | Fusion) -> Recogniser:
    """Return the last member that has an encoder of images."""
    naming = recogniser.members if isinstance(recogniser, Fusion) else members_of(recogniser)
    for one in reversed(naming):
        if hasattr(getattr(one.model, "backbone", None), "features"):
            return one
    raise ValueError(
        "this recogniser has no encoder of images, so there is no map to draw; --explain takes one "
        "that has, such as --model stacked_gru"
    )


def _surest(timeline: Timeline) -> tuple[str, int]:
    """Return the class to explain and its surest window: the label's, or the likeliest class's
    where the label is none."""
    label = timeline.label
    if label not in timeline.classes:
        label = max(timeline.overall, key=timeline.overall.__getitem__)
    probs = timeline.probs[:, timeline.classes.index(label)]
    same = np.array([one == timeline.label for one in timeline.labels])
    return label, int(np.where(same, probs, -1.0).argmax())
