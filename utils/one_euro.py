"""A filter of moving points: still when they are, quick when they are not.

Knows points and a rate. Does not know whose they are. Casiez, Roussel and Vogel, "1 Euro Filter: A
Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems", CHI 2012.
"""

import numpy as np


class OneEuro:
    """One filter of one set of points.

    Args:
        rate: Points a second.
        cutoff: In hertz, of points at rest.
        beta: How much quicker it gets with speed.
    """

    def __init__(self, rate: float, cutoff: float = 0.01, beta: float = 10.0):
        self.rate, self.cutoff, self.beta = rate, cutoff, beta
        self.last = self.smooth = self.speed = np.zeros(0)

    def __call__(self, points: np.ndarray, scale: float) -> np.ndarray:
        """Return the points (2, 2), smoothed; speeds are counted in `scale` pixels a second."""
        if not self.smooth.size:
            self.smooth, self.speed = points, np.zeros_like(points)
        speed = (points - self.last) / scale * self.rate if self.last.size else self.speed
        self.last = points
        self.speed = self.speed + self._share(np.array(1.0)) * (speed - self.speed)
        share = self._share(self.cutoff + self.beta * np.abs(self.speed))
        self.smooth = self.smooth + share * (points - self.smooth)
        return self.smooth

    def _share(self, cutoff: np.ndarray) -> np.ndarray:
        """Return how much of the newest value is taken at a cutoff in hertz."""
        return 1 / (1 + self.rate / (2 * np.pi * cutoff))
