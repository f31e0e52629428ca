"""A camera watched: label and latency, in a window or line by line.

Knows cameras, recognisers and OpenCV's windows. Does not know the command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import cv2

from data.live import Live
from utils.annotated import Caption, annotated
from utils.live import Moment, live_answers, live_rate

TITLE = "har.py webcam: q ends"
ENDS = (ord("q"), 27)  # q, escape


def watch_camera(
    recogniser: Any, camera: str, *, every: float = 0.5, window: bool | None = None
) -> Iterator[str]:
    """Watch a camera by its number, or a file in its stead, and yield what is to be said.

    Args:
        recogniser: Who answers.
        camera: Its number, or a file's name.
        every: Seconds from one answer to the next.
        window: Show a window; None does where there is a screen.

    Raises:
        OSError: The camera cannot be opened, or sends nothing.
        VideoError: The file cannot be used.
        ValueError: `every` is not above 0.
    """
    if not every > 0:
        raise ValueError(f"every is {every}; it takes seconds, above 0")
    window, rate = has_screen() if window is None else window, live_rate(recogniser)
    source: int | str = int(camera) if camera.isdecimal() else camera
    with Live(source, rate=rate, held=max(1, round(every * rate))) as live:
        for moment in live_answers(recogniser, live, live.now, every=every):
            if moment.answer is not None and moment.latency_s is not None:
                yield line_of(moment, live.skipped)
            if window and not _shown(moment):
                break
    if window:
        cv2.destroyAllWindows()
    yield f"{live.count} frames, {live.skipped} of them skipped" + (
        ": this machine is too slow for all of them" if live.skipped else ""
    )


def line_of(moment: Moment, skipped: int) -> str:
    """Say the answer of a moment in one line."""
    assert moment.answer is not None and moment.latency_s is not None
    label = moment.answer.label
    sure = moment.answer.probs.get(label)
    said = f"{label} {sure:.0%}" if sure is not None else label
    line = f"{moment.at:7.1f} s  {said:<22} {1000 * moment.latency_s:5.0f} ms late"
    return f"{line}, {skipped} frames skipped" if skipped else line


def has_screen() -> bool:
    """Tell whether this OpenCV can open windows here; one without a screen ends the program."""
    if not cv2.currentUIFramework() and sys.platform.startswith("linux"):
        return False
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return not sys.platform.startswith("linux") or any(map(os.environ.get, screens))


def _shown(moment: Moment) -> bool:
    """Show a moment; False when the viewer wants no more."""
    label: str = "..."
    sure: float | None = None
    if moment.answer is not None:
        label, sure = moment.answer.label, moment.answer.probs.get(moment.answer.label)
    note = "" if moment.latency_s is None else f"{1000 * moment.latency_s:.0f} ms"
    row = None if moment.look is None else 0
    cv2.imshow(TITLE, annotated(moment.image, moment.look, row, Caption(label, sure, note)))
    return cv2.waitKey(1) & 0xFF not in ENDS
