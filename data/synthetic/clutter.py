"""Backgrounds full of things, as rooms and streets are: what a classifier must not look at.

Knows images. Does not know people, actions or models. A picture is covered by opaque shapes of
random grey whose sizes follow a power law, which has the statistics of natural images (the dead
leaves model: Lee, Mumford and Huang, "Occlusion Models for Natural Images", 2001, section 3), and
on some of them shelves and a floor are drawn. Noise of the same spectrum, and a wall of bricks with
writing on it, are there to test with: no encoder is pre-trained before them.
"""

import cv2
import numpy as np
from numpy.random import Generator

from data.synthetic.render import HEIGHT, WIDTH

SMALLEST, LARGEST = 2.0, 60.0  # radii in pixels
COVERED = 6.0  # how often the image is covered on average


def clutter(rng: Generator) -> np.ndarray:
    """Draw a background (HEIGHT, WIDTH) float32, 0 to 255, that has no empty place."""
    image = np.full((HEIGHT, WIDTH), rng.uniform(40, 215), np.float32)
    covered = 0.0
    while covered < COVERED * HEIGHT * WIDTH:
        # density of radii ~ r^-3 between the smallest and the largest, drawn by its inverse
        u = rng.random()
        radius = (SMALLEST**-2 * (1 - u) + LARGEST**-2 * u) ** -0.5
        covered += _shape(image, radius, rng)
    if rng.random() < 0.4:
        _shelves(image, rng)
    if rng.random() < 0.4:
        edge = int(rng.uniform(0.5, 0.85) * HEIGHT)
        share = np.float32(rng.uniform(0.6, 1.0))
        image[edge:] += share * (np.float32(rng.uniform(40, 215)) - image[edge:])
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    return np.clip(blurred, 0, 255).astype(np.float32)


def spectral_noise(rng: Generator) -> np.ndarray:
    """Draw a background (HEIGHT, WIDTH) float32, 0 to 255, of noise whose amplitude falls as one
    over the frequency, as natural images' does (Field, "Relations between the Statistics of Natural
    Images and the Response Properties of Cortical Cells", 1987, figure 7); it has no edges."""
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH))
    frequency[0, 0] = np.inf  # the mean is set below
    image = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(HEIGHT, WIDTH))) / frequency)
    image *= rng.uniform(30, 60) / image.std()
    return (image + rng.uniform(90, 165)).clip(0, 255).astype(np.float32)


def written_wall(rng: Generator) -> np.ndarray:
    """Draw a background (HEIGHT, WIDTH) float32, 0 to 255: bricks of several greys, cables across
    them, and writing of many sizes. It has thin strokes and corners, of which `clutter` has few."""
    image = np.full((HEIGHT, WIDTH), rng.uniform(60, 200), np.float32)
    high, long = rng.uniform(8, 20), rng.uniform(20, 45)
    base, mortar = rng.uniform(60, 180), rng.uniform(1, 3)
    for row in range(int(HEIGHT / high) + 1):
        for left in np.arange(-long * (row % 2) / 2, WIDTH, long):
            corners = np.array([left, row * high]), np.array([left + long, (row + 1) * high])
            first, last = (tuple((c + mortar).astype(int).tolist()) for c in corners)
            cv2.rectangle(image, first, last, float(base + rng.normal(0, 25)), -1)
    for _ in range(rng.integers(2, 8)):
        ends = rng.uniform(-0.1, 1.1, (2, 2)) * (WIDTH, HEIGHT)
        one, other = (tuple(end.astype(int).tolist()) for end in ends)
        cv2.line(image, one, other, float(rng.uniform(15, 240)), int(rng.integers(1, 3)))
    for _ in range(rng.integers(8, 20)):
        word = "".join(map(chr, rng.integers(ord("A"), ord("Z") + 1, rng.integers(1, 7))))
        place = tuple((rng.uniform(-0.1, 1.0, 2) * (WIDTH, HEIGHT)).astype(int).tolist())
        font, size = int(rng.integers(8)), float(rng.uniform(0.4, 2.0))
        thick, grey = int(rng.integers(1, 4)), float(rng.uniform(15, 240))
        cv2.putText(image, word, place, font, size, grey, thick, cv2.LINE_AA)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    return np.clip(blurred, 0, 255).astype(np.float32)


def _shape(image: np.ndarray, radius: float, rng: Generator) -> float:
    """Draw an ellipse, a board or a polygon; returns about how many pixels it covers."""
    x, y = rng.uniform(-0.1, 1.1, 2) * (WIDTH, HEIGHT)
    grey, angle, kind = float(rng.uniform(15, 240)), rng.uniform(0, 180), rng.integers(3)
    long = radius * rng.uniform(1, 3)
    if kind == 0:
        cv2.ellipse(image, ((x, y), (2 * long, 2 * radius), angle), grey, -1)
    elif kind == 1:
        box = cv2.boxPoints(((x, y), (2 * long, 2 * radius), angle if rng.random() < 0.5 else 0.0))
        cv2.fillConvexPoly(image, box.round().astype(int), grey)
    else:
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
        corners = (x, y) + radius * np.stack([np.cos(turns), np.sin(turns)], 1)
        cv2.fillPoly(image, [corners.round().astype(int)], grey)
    return 4 * long * radius


def _shelves(image: np.ndarray, rng: Generator) -> None:
    """Draw even lines, upright or level: shelves, blinds, a fence."""
    apart, grey = rng.uniform(5, 24), float(rng.uniform(15, 240))
    thick, upright = int(rng.integers(1, 4)), rng.random() < 0.5
    for at in np.arange(rng.uniform(0, apart), WIDTH if upright else HEIGHT, apart).astype(int):
        line = image[:, at : at + thick] if upright else image[at : at + thick]
        line[:] = grey
