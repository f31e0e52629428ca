"""Frames of a camera as they come, or of a file that is played in its stead at its own pace.

Knows OpenCV's cameras, files and the clock. Does not know who looks at the frames. They are read in
a thread of its own; where nobody takes them in time the oldest are skipped, and counted.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from data.decoding import open_video, pixel_width, squared
from data.files import StrPath
from data.video import probe

PATIENCE_S = 10.0  # without a frame a camera is given up


class Live:
    """Iterates over (seconds since the first frame, image (H, W, 3) BGR); for a `with` block.

    Args:
        source: A camera's number, or a file.
        rate: Frames a second that are handed on at most.
        held: How many may wait; beyond, the oldest are skipped.

    Raises:
        OSError: The camera cannot be opened, or sends nothing.
        VideoError: The file cannot be used.
    """

    def __init__(self, source: int | StrPath, *, rate: float, held: int):
        self.rate, self.is_file = rate, not isinstance(source, int)
        if isinstance(source, int):
            self.capture = cv2.VideoCapture(source)
        else:
            probe(Path(source))  # which says why a file cannot be used
            self.capture = open_video(source)
        if not self.capture.isOpened():
            raise OSError(
                f"camera {source} cannot be opened: is it there, does another program use it, may "
                "this one? `--camera 1` tries the next"
            )
        self.name, self.wide = str(source), pixel_width(self.capture)
        self.waiting: deque[tuple[float, np.ndarray]] = deque(maxlen=max(1, held))
        self.skipped = self.count = 0
        self.began: float | None = None  # by the clock, when the first frame came
        self.over = False
        self.news = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Live":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.thread.join(PATIENCE_S)
        self.capture.release()

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        while True:
            with self.news:
                self.news.wait_for(lambda: self.waiting or self.over, PATIENCE_S)
                if self.waiting:
                    item = self.waiting.popleft()
                elif self.over:
                    return
                else:
                    raise OSError(f"camera {self.name} sent no frame for {PATIENCE_S:.0f} seconds")
            yield item

    def now(self) -> float:
        """Return the seconds since the first frame."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def _read(self) -> None:
        due = 0.0
        with suppress(cv2.error):  # a camera that was pulled out
            while not self.over and self.capture.grab():
                self.began = self.began or time.monotonic()
                at = self.now()
                if self.is_file:
                    at = self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    time.sleep(max(0.0, at - self.now()))
                if at < due - 0.25 / self.rate:  # the one that follows is nearer
                    continue
                there, image = self.capture.retrieve()
                if not there:
                    break
                due = max(due + 1 / self.rate, at)
                self._hand_on(at, squared(image, self.wide))
        with self.news:
            self.over = True
            self.news.notify()

    def _hand_on(self, at: float, image: np.ndarray) -> None:
        with self.news:
            self.skipped += len(self.waiting) == self.waiting.maxlen
            self.count += 1
            self.waiting.append((at, image))
            self.news.notify()
