"""A video with what was seen in it drawn over it: box and joints, and below label and timeline.

Knows images, a person's track and spans of labels. Does not know how they came about. Written by
OpenCV as MPEG-4, whole or not at all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.decoding import decode_whole
from data.files import written_whole
from data.steady import steady, steady_rate
from data.video import probe
from utils.person import BONES, LARGEST, PersonTrack
from utils.timeline import Span, Timeline

LEAST = 320  # pixels of an image's shorter side: smaller images are enlarged by a whole number
FOOT = 64  # rows below the image, and of the text in them
TEXT = 18
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (90, 90, 90)
# blue, green, red, told apart by everybody (Okabe and Ito, "Color Universal Design", 2008)
COLOURS = (
    *((178, 114, 0), (0, 159, 230), (115, 158, 0), (167, 121, 204)),
    *((0, 94, 213), (233, 180, 86), (66, 228, 240)),
)


@dataclass(frozen=True)
class Caption:
    """What is written below an image.

    Args:
        label: What is done, and its probability if it has one.
        probability: As long is the bar.
        note: Something small at the right.
        spans: Of the whole video, if it is known; at which second it is, of how many.
        at: See spans.
        seconds: See spans.
    """

    label: str
    probability: float | None = None
    note: str = ""
    spans: Sequence[Span] = ()
    at: float = 0.0
    seconds: float = 1.0


def write_annotated(path: Path, out: Path, timeline: Timeline) -> Path:
    """Write a video again with its timeline and track drawn over it, at most `LARGEST` pixels wide.

    Raises:
        VideoError: The video cannot be read any more.
        OSError: The file cannot be written.
    """
    info = probe(path)
    rate, frames = steady_rate(info), steady(path, info, LARGEST)
    return write_mp4(out, _drawn(frames, rate, timeline), rate)


def write_mp4(out: Path, images: Iterable[np.ndarray], rate: float) -> Path:
    """Write images (H, W, 3) BGR of one size as MPEG-4 in MP4; OSError when that fails."""
    images = iter(images)
    first, count = next(images), 0
    with written_whole(out) as partial:
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        name: Any = os.fsencode(partial)  # see data.synthetic.dataset.write_video
        writer = cv2.VideoWriter(name, codec, rate, first.shape[1::-1])
        if not writer.isOpened():
            raise OSError(
                f"{out}: OpenCV cannot write MPEG-4 here; is the folder writable, is there space "
                "on the disk?"
            )
        try:
            for image in chain([first], images):
                writer.write(image)
                count += 1
        finally:
            writer.release()
        if (there := decode_whole(partial).frames) != count:
            raise OSError(
                f"{out}: {there} of its {count} frames could be written; is there space on the "
                "disk?"
            )
    return out


def _drawn(frames: Iterable[np.ndarray], rate: float, timeline: Timeline) -> Iterator[np.ndarray]:
    track, spans = timeline.track, timeline.segments
    for number, image in enumerate(frames):
        at = number / rate
        span = next((one for one in spans if at < one.stop_s), spans[-1])
        row = None if track is None or not len(track.frames) else int(track.at(number))
        caption = Caption(span.label, span.probability, f"{at:.1f} s", spans, at, timeline.seconds)
        yield annotated(image, track, row, caption)


def annotated(
    image: np.ndarray, track: PersonTrack | None, row: int | None, caption: Caption
) -> np.ndarray:
    """Return an image (H, W, 3) BGR or grey, enlarged if it is small, with a row of a track drawn
    over it and a caption below; both sides are even, as MPEG-4 wants them."""
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    times = max(1, math.ceil(LEAST / min(image.shape[:2])))
    times = max(1, min(times, LARGEST // max(image.shape[:2])))
    large = cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    if track is not None and row is not None and track.presence[row]:
        _draw_person(large, track.box[row] * times, track.landmarks[row, :, :2] * times)
    height, width = large.shape[:2]
    canvas = np.zeros((height + FOOT + height % 2, max(width + width % 2, 2 * FOOT), 3), np.uint8)
    canvas[:height, :width] = large
    _draw_caption(canvas[-FOOT:], caption)
    return canvas


def _draw_person(image: np.ndarray, box: np.ndarray, points: np.ndarray) -> None:
    """Draw box (4,) and joints (33, 2), in pixels, bright on dark."""
    left, top, right, bottom = map(int, box.round())
    lines = [tuple(map(int, points[end].round())) for bone in BONES for end in bone]
    for colour, thick in ((BLACK, 3), (WHITE, 1)):
        cv2.rectangle(image, (left, top), (right, bottom), colour, thick, cv2.LINE_AA)
        for start, end in zip(lines[::2], lines[1::2], strict=True):
            cv2.line(image, start, end, colour, thick, cv2.LINE_AA)


def _draw_caption(foot: np.ndarray, caption: Caption) -> None:
    """Write label, bar and timeline into the rows below an image."""
    width = foot.shape[1]
    said = caption.label
    if caption.probability is not None:
        said += f" {caption.probability:.0%}"
        long = round(caption.probability * (width - 12))
        cv2.rectangle(foot, (6, 31), (width - 7, 38), GREY, 1)
        cv2.rectangle(foot, (6, 31), (6 + long, 38), WHITE, -1)
    note = _text(caption.note)
    _put(foot, _text(said)[:, : max(0, width - note.shape[1] - 24)], 6)
    _put(foot, note, width - note.shape[1] - 6)
    tones = dict(zip(dict.fromkeys(s.label for s in caption.spans), COLOURS * 9, strict=False))
    for span in caption.spans:
        ends = [round(s / caption.seconds * (width - 13)) + 6 for s in (span.start_s, span.stop_s)]
        thick = -1 if not span.reason else 1
        cv2.rectangle(foot, (ends[0], 44), (ends[1], 58), tones[span.label], thick)
    if caption.spans:
        at = round(min(1.0, caption.at / caption.seconds) * (width - 13)) + 6
        cv2.line(foot, (at, 41), (at, 61), WHITE, 2)


def _put(foot: np.ndarray, text: np.ndarray, left: int) -> None:
    """Lay a text (h, w) over rows, from a column on; what has no place is cut off."""
    place = foot[4 : 4 + text.shape[0], max(0, left) :][:, : text.shape[1]]
    place[:] = np.maximum(place, text[: place.shape[0], : place.shape[1], None])


@lru_cache(maxsize=256)
def _text(text: str) -> np.ndarray:
    """Draw a text in letters of any European language, (h, w) uint8."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(path), TEXT)
    size = max(1, math.ceil(font.getlength(text))), TEXT + 6
    image = Image.new("L", size)
    ImageDraw.Draw(image).text((0, 0), text, 255, font)
    return np.asarray(image)
