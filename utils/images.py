"""Images made easier to see in: more contrast, less noise, and what changed since the one before.

Knows images (H, W, 3) uint8. Does not know what is sought in them.
"""

import cv2
import numpy as np

CHANGED = 12  # grey levels: a smaller change is noise or light
LEAST_CHANGED, MOST_CHANGED = 0.0015, 0.35  # shares of the pixels; more is the camera or the light
MOST_PIXELS = 640 * 480  # larger images are not denoised: it takes long, and they are scaled down


def stretched(image: np.ndarray, least_range: float) -> np.ndarray:
    """Return an image (H, W, 3) whose darkest and brightest hundredth are 0 and 255."""
    apart = max(1, min(image.shape[:2]) // 120)
    low, high = np.percentile(image[::apart, ::apart], [1, 99])
    levels = (np.arange(256) - low) * (255 / max(high - low, least_range))
    return cv2.LUT(image, levels.clip(0, 255).astype(np.uint8))


def noise_of(image: np.ndarray) -> float:
    """Return the standard deviation of an image's noise in grey levels.

    The mean of what a mask leaves that answers to neither edges nor slopes (Immerkaer, "Fast Noise
    Variance Estimation", 1996).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if min(grey.shape) < 3:
        return 0.0
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    left = np.abs(np.asarray(cv2.filter2D(grey, -1, mask))[1:-1, 1:-1])
    return float(np.sqrt(np.pi / 2) / 6 * left.mean())


def denoised(image: np.ndarray, least: float) -> np.ndarray:
    """Return an image without its noise, where that is `least` grey levels or more.

    By means of alike patches (Buades, Coll and Morel, "A Non-Local Algorithm for Image Denoising",
    2005), as strong as the noise is.
    """
    if image.shape[0] * image.shape[1] > MOST_PIXELS or (noise := noise_of(image)) < least:
        return image
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    clean = cv2.fastNlMeansDenoising(grey, None, noise, 5, 15)
    return cv2.cvtColor(clean, cv2.COLOR_GRAY2RGB)


def changed_box(before: np.ndarray, image: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return the box (left, top, right and bottom edge) of what changed from one image to the next.

    Edges are those of 96 in 100 changed pixels. It is None where hardly anything or nearly
    everything changed.
    """
    grey = [
        cv2.GaussianBlur(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), (5, 5), 1.0)
        for one in (before, image)
    ]
    changed = (cv2.absdiff(*grey) > CHANGED).astype(np.uint8)
    whole = np.asarray(cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)))
    rows, columns = np.nonzero(whole)
    if not LEAST_CHANGED <= len(rows) / whole.size <= MOST_CHANGED:
        return None
    left, right = np.percentile(columns, [2, 98])
    top, bottom = np.percentile(rows, [2, 98])
    return float(left), float(top), float(right) + 1, float(bottom) + 1
