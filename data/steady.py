"""A video's frames at an even rate, as they are read: of the longest film a few are held at a time.

Knows files, times and sizes of images. Does not know who looks at the frames, nor for what. What is
told by movement is told by time: frames of a file whose rate varies are taken at the moments of an
even grid, by their times; a higher rate than anybody looks at is thinned.
"""

import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from data.files import StrPath
from data.video import VideoInfo, stamped, stream

MOST_RATE = 30.0  # frames a second; recognisers look at 12.5, and moments between are rounded
SPARE = 0.05  # of MOST_RATE: containers say 30.0003


def thinning(fps: float) -> int:
    """Return of how many frames one is taken, so that no more than about MOST_RATE a second are."""
    return max(1, math.ceil(fps / MOST_RATE - SPARE))


def steady_rate(info: VideoInfo) -> float:
    """Return at how many frames a second `steady` gives a video."""
    return info.rate / thinning(info.rate)


def steady(path: StrPath, info: VideoInfo, most: int) -> Iterator[np.ndarray]:
    """Yield the frames of a video at `steady_rate`, (H, W, 3) BGR.

    Args:
        path: The file.
        info: What `data.video.probe` says of it.
        most: Pixels of an image's longer side; larger images are scaled down as they are read.

    Raises:
        VideoError: No frame of the file can be read.
    """
    images: Iterator[np.ndarray]
    if info.stamped is None:
        images = (image for _, image in stream(path, thinning(info.fps)))
    else:
        images = nearest(((at, image) for _, at, image in stamped(path)), steady_rate(info))
    yield from alike(images, most)


def nearest(
    moments: Iterable[tuple[float, np.ndarray]], rate: float, start: float | None = None
) -> Iterator[np.ndarray]:
    """Yield for each moment of an even grid the image that is nearest to it in time.

    Args:
        moments: Seconds, which ascend, and images.
        rate: Moments of the grid a second.
        start: The grid's first moment; None takes the first image's.
    """
    due, before = 0, None
    for at, image in moments:
        start = at if start is None else start
        while before is not None and start + due / rate < (before[0] + at) / 2:
            yield before[1]
            due += 1
        before = at, image
    while before is not None and start is not None and start + due / rate < before[0] + 0.5 / rate:
        yield before[1]
        due += 1


def alike(images: Iterable[np.ndarray], most: int) -> Iterator[np.ndarray]:
    """Scale images down to `most` pixels of the longer side, and all to the first one's size: a
    file may change it on the way."""
    size = None
    for image in images:
        if size is None:
            height, width = image.shape[:2]
            scale = min(1.0, most / max(height, width))
            size = max(1, round(scale * width)), max(1, round(scale * height))
        if image.shape[1::-1] != size:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        yield image
