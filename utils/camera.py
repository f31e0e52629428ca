"""How a camera moved between two images, seen by what stands still.

Knows grey images and where in them nobody must be trusted. Does not know who moves there, nor what
becomes of the motion. Corners of the background are followed from one image to the other (Bouguet,
"Pyramidal Implementation of the Lucas Kanade Feature Tracker", 2000), and most of them agree on one
turned, enlarged and shifted image (RANSAC: Fischler and Bolles, 1981).
"""

from collections.abc import Sequence

import cv2
import numpy as np

Box = tuple[float, float, float, float]  # left, top, right and bottom edge in pixels
RESTS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # nothing moved; never changed
LONGEST = 320  # pixels of the longer side of the images that are compared
CORNERS, FEWEST = 150, 8  # corners that are followed at most, and that must agree at least
APART = 4.0  # pixels between two corners
THERE_AND_BACK = 0.3  # pixels: a corner that does not come back this near was lost
AGREEING = 0.7  # pixels: a corner that ends this near moved with the camera
MOST = 0.5  # of the corners must agree
EXPLAINED = 0.9  # of the images' difference may be left: corners of noise alone explain none of it
STILL = 0.15  # pixels: a motion below this is the images' noise
LARGER = 1.15  # times: no camera zooms faster from one look to the next


def camera_motion(before: np.ndarray, image: np.ndarray, people: Sequence[Box]) -> np.ndarray:
    """Return the matrix (2, 3) from places in one image to the same places' in the next.

    It is the identity where nothing moved, and where too few corners agree on how.

    Args:
        before, image: The two images (H, W), uint8.
        people: Where in either of them people are, who move by themselves.
    """
    scale = min(1.0, LONGEST / max(image.shape))
    if before.shape != image.shape or min(image.shape) * scale < 2 * APART:
        return RESTS
    old, new = (_smooth(one, scale) for one in (before, image))
    free = _free(old.shape, people, scale)
    start = cv2.goodFeaturesToTrack(old, CORNERS, 0.02, APART, mask=free)
    if start is None or len(start) < FEWEST:
        return RESTS
    start, end = _followed(old, new, start)
    if len(start) < FEWEST:
        return RESTS
    matrix, agree = cv2.estimateAffinePartial2D(
        start, end, ransacReprojThreshold=AGREEING, maxIters=200
    )
    if matrix is None or agree.sum() < max(FEWEST, MOST * len(start)):
        return RESTS
    shift = start @ (matrix[:, :2] - np.identity(2)).T + matrix[:, 2]
    if np.median(np.hypot(*shift.T)) < STILL or not 1 / LARGER < np.hypot(*matrix[:, 0]) < LARGER:
        return RESTS
    if _difference(old, new, free, matrix) > EXPLAINED * _difference(old, new, free, RESTS):
        return RESTS
    half = np.full(2, 0.5)  # OpenCV counts from the middle of the first pixel, we from its edge
    matrix[:, 2] = (matrix[:, 2] + half - matrix[:, :2] @ half) / scale
    return matrix


def carried(
    points: np.ndarray, motion: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> np.ndarray:
    """Return where the camera's motion takes places, from images `start` to images `stop`.

    Args:
        points: Columns and rows in pixels (T, 2).
        motion: How the camera moved to each image from the one before (N, 2, 3).
        start, stop: The images' rows (T,) each; where stop is not after start, nothing moves.
    """
    points, at = points.astype(float), np.array(start)
    while len(moving := np.flatnonzero(at < stop)):
        at[moving] += 1
        matrix = motion[at[moving]]
        points[moving] = np.einsum("nij,nj->ni", matrix[..., :2], points[moving]) + matrix[..., 2]
    return points


def _difference(old: np.ndarray, new: np.ndarray, free: np.ndarray, motion: np.ndarray) -> float:
    """Return by how many grey levels images differ where nobody is, when one is moved like that."""
    size = old.shape[::-1]
    moved, inside = (cv2.warpAffine(one, motion, size) for one in (old, free))
    both = (inside == 255) & (free == 255)
    return float(cv2.absdiff(moved, new)[both].mean()) if both.any() else 0.0


def _smooth(image: np.ndarray, scale: float) -> np.ndarray:
    """Scale an image down, and take the finest noise away."""
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(image, (5, 5), 1.0))


def _free(shape: tuple[int, ...], people: Sequence[Box], scale: float) -> np.ndarray:
    """Mark where nobody is, 255 (H, W)."""
    free = np.full(shape, 255, np.uint8)
    for left, top, right, bottom in people:
        rows = slice(max(0, int(top * scale)), max(0, int(np.ceil(bottom * scale))))
        free[rows, max(0, int(left * scale)) : max(0, int(np.ceil(right * scale)))] = 0
    return free


def _followed(old: np.ndarray, new: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where corners (C, 1, 2) were and went to, (K, 2) each, of those that came back."""
    end, there, _ = cv2.calcOpticalFlowPyrLK(old, new, start, np.empty_like(start))
    back, again, _ = cv2.calcOpticalFlowPyrLK(new, old, end, np.empty_like(start))
    near = np.hypot(*np.subtract(back, start)[:, 0].T) < THERE_AND_BACK
    kept = near & (np.ravel(there) > 0) & (np.ravel(again) > 0)
    return start[kept, 0], np.asarray(end)[kept, 0]
