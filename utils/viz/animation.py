"""Clips with their running predictions as tiles of one small looping GIF.

Knows images, probabilities and Pillow. Does not know how a prediction came about.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.font_manager import findfont
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

GREYS = 32  # of the palette
# Grey levels that a pixel must change by to be drawn anew: a film's noise would fill the file.
STILL = 10
PRINT, HEAD, FOOT, GAP = 12, 18, 28, 6  # pixels: of letters, above and below a tile, between tiles
WHITE, BLACK, PALE = 255, 0, 210
RIGHT, WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"


def write_gif(
    path: str | Path,
    clips: Mapping[str, ndarray],
    bars: Mapping[str, ndarray],
    classes: Sequence[str],
    *,
    fps: float = 12.5,
    columns: int = 3,
) -> Path:
    """Write clips as tiles of a looping GIF: the true class above each, and below it the predicted
    one with its probability as a bar.

    Args:
        path: Of the file; its folder is made.
        clips: True class -> (T, H, W) bytes; all of one size. A shorter clip starts over.
        bars: True class -> (T, K) probabilities of the K classes after each of the T frames; nan
            where there is no prediction yet.
        classes: The K names.
        fps: Frames a second; a GIF keeps hundredths of a second.
        columns: Tiles side by side.
    """
    _check(clips, bars, classes, fps)
    tiles = [
        _Tile(label, _steadied(np.asarray(clip)), np.asarray(bars[label]), tuple(classes))
        for label, clip in clips.items()
    ]
    length = max(len(tile.clip) for tile in tiles)
    frames = [_page([tile.draw(step) for tile in tiles], columns) for step in range(length)]
    how = {"save_all": True, "append_images": frames[1:], "duration": round(1000 / fps), "loop": 0}
    # optimised, a frame holds only what differs from the frame before
    content = io.BytesIO()
    frames[0].save(content, "gif", optimize=True, **how)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content.getvalue())  # not before all of it is there
    return Path(path)


@dataclass(frozen=True)
class _Tile:
    """One clip (T, H, W) with what is predicted (T, K) as it plays."""

    label: str
    clip: ndarray
    probs: ndarray
    classes: tuple[str, ...]

    def draw(self, step: int) -> Image.Image:
        """Draw a moment; the clip starts over when it has ended."""
        image, probs = (part[step % len(part)] for part in (self.clip, self.probs))
        height, width = image.shape
        tile = Image.new("L", (width, HEAD + height + FOOT), WHITE)
        tile.paste(Image.fromarray(image), (0, HEAD))
        pen, below = ImageDraw.Draw(tile), HEAD + height + 3
        pen.text((2, 1), f"true: {self.label}", BLACK, _font())
        pen.rectangle((0, below, width - 1, below + 5), PALE)
        words = "no prediction yet"
        if np.isfinite(probs).all():
            best = int(probs.argmax())
            pen.rectangle((0, below, round(probs[best] * (width - 1)), below + 5), BLACK)
            mark = RIGHT if self.classes[best] == self.label else WRONG
            words = f"{mark} {self.classes[best]} {probs[best]:.0%}"
        pen.text((2, below + 8), words, BLACK, _font())
        return tile


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont("DejaVu Sans"), PRINT)


def _page(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Lay tiles of one size into rows of an image with a palette."""
    columns = min(columns, len(tiles))
    width, height = (side + GAP for side in tiles[0].size)
    rows = -(-len(tiles) // columns)
    page = Image.new("L", (width * columns - GAP, height * rows - GAP), WHITE)
    for place, tile in enumerate(tiles):
        page.paste(tile, (place % columns * width, place // columns * height))
    few = Image.fromarray((np.asarray(page) * ((GREYS - 1) / 255)).round().astype(np.uint8))
    few.putpalette(np.repeat(np.linspace(0, 255, GREYS).round().astype(np.uint8), 3).tobytes())
    return few


def _steadied(clip: ndarray) -> ndarray:
    """Keep each pixel until it has changed by more than STILL."""
    steady = clip.astype(np.int16)
    for before, now in zip(steady[:-1], steady[1:], strict=True):
        np.copyto(now, before, where=abs(now - before) <= STILL)
    return steady.astype(np.uint8)


def _check(
    clips: Mapping[str, ndarray], bars: Mapping[str, ndarray], classes: Sequence[str], fps: float
) -> None:
    if not clips or set(clips) != set(bars):
        raise ValueError(
            f"clips of {', '.join(clips) or 'nothing'} and bars of {', '.join(bars) or 'nothing'}; "
            "give the same labels, at least one"
        )
    if not fps > 0:
        raise ValueError(f"fps is {fps}; give frames a second, above 0")
    sizes = {np.shape(clip)[1:] for clip in clips.values()}
    for label, clip in clips.items():
        if np.ndim(clip) != 3 or not len(clip) or np.asarray(clip).dtype != np.uint8:
            raise ValueError(f"{label}: a clip of shape {np.shape(clip)}; give bytes (T, H, W)")
        if np.shape(bars[label]) != (len(clip), len(classes)):
            raise ValueError(
                f"{label}: probabilities of shape {np.shape(bars[label])} do not fit {len(clip)} "
                f"frames and {len(classes)} classes"
            )
    if len(sizes) > 1:
        raise ValueError(f"clips of sizes {sorted(sizes)}; give one size")
