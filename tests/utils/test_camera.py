"""How a camera moved, from images whose motion is known."""

import cv2
import numpy as np
import pytest

from utils.camera import RESTS, camera_motion, carried


def texture(size=(140, 200), blur=2.0, seed=0):
    """Soft random texture, of which windows are cut out."""
    noise = np.random.default_rng(seed).normal(0, 1, size)
    soft = cv2.GaussianBlur(noise, (0, 0), blur)
    return (128 + 40 * soft / soft.std()).clip(0, 255).astype(np.uint8)


def window(image, matrix, size=(160, 120)):
    """What a camera sees of an image when the image is moved by a matrix (2, 3)."""
    return cv2.warpAffine(image, np.array(matrix), size, flags=cv2.INTER_CUBIC)


def moved(matrix, scale=1):
    """An image and the next one, in which all places (x, y) are at matrix @ (x, y, 1)."""
    image = cv2.resize(texture((200, 260)), None, fx=scale, fy=scale)
    size = (160 * scale, 120 * scale)
    first = np.array([[1, 0, -40.0 * scale], [0, 1, -40.0 * scale]])
    full = np.array(matrix) @ np.vstack([first, [0, 0, 1]])
    return window(image, first, size), window(image, full, size)


@pytest.mark.parametrize("shift", [(2.5, 0.0), (-0.6, 1.2), (9.0, -4.0)])
def test_a_shift_is_found_to_a_tenth_of_a_pixel(shift):
    motion = camera_motion(*moved([[1, 0, shift[0]], [0, 1, shift[1]]]), [])
    centre = np.array([80.0, 60.0, 1.0])
    assert motion @ centre - centre[:2] == pytest.approx(shift, abs=0.1)


def test_a_turn_and_a_zoom_are_found():
    angle, zoom = np.radians(2), 1.04
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    matrix = np.array([[cos, -sin, 1.0], [sin, cos, -3.0]])
    motion = camera_motion(*moved(matrix), [])
    for place in ([20, 30, 1], [140, 100, 1]):
        assert motion @ place == pytest.approx(matrix @ place, abs=0.2)


def test_a_large_image_is_compared_small_and_told_in_its_own_pixels():
    motion = camera_motion(*moved([[1, 0, 12.0], [0, 1, -8.0]], scale=4), [])
    assert motion[:, 2] + motion[:, :2] @ [320, 240] - [320, 240] == pytest.approx([12, -8], abs=1)


def test_somebody_who_moves_before_a_camera_that_rests_is_no_motion_of_it():
    """He covers most of the textured part of the image; where he is, nothing is trusted."""
    ground = np.full((120, 160), 128, np.uint8)
    ground[:, :40] = texture()[:120, :40]
    images = [ground.copy(), ground.copy()]
    for image, left in zip(images, (60, 65), strict=True):
        image[10:110, left : left + 70] = texture(seed=1)[10:110, :70]
    assert camera_motion(*images, [(58, 8, 137, 112)]) is RESTS
    assert camera_motion(*images, [])[0, 2] == pytest.approx(5, abs=0.3), "not marked, he leads"


@pytest.mark.parametrize(
    "images",
    [
        (np.full((120, 160), 90, np.uint8),) * 2,
        tuple(np.random.default_rng(n).integers(0, 255, (120, 160), np.uint8) for n in (0, 1)),
        tuple(
            (90 + np.random.default_rng(n).normal(0, 3, (120, 160))).astype(np.uint8)
            for n in (0, 1)
        ),
        (texture()[:120, :160], texture(seed=1)[:120, :160]),
        (texture()[:4, :160],) * 2,
        (texture()[:120, :160], texture()[:100, :160]),
    ],
    ids=["plain", "noise", "a little noise", "another place", "a strip", "another size"],
)
def test_where_nothing_can_be_seen_to_move_the_camera_rests(images):
    assert camera_motion(*images, []) is RESTS


def test_places_are_carried_over_several_looks_and_never_backwards():
    motion = np.tile(RESTS, (5, 1, 1))
    motion[1:, 0, 2] = (1, 2, 4, 8)
    motion[3, :, :2] *= 2
    points = np.array([[10.0, 5.0], [10.0, 5.0], [0.0, 0.0], [1.0, 1.0]])
    got = carried(points, motion, np.array([0, 2, 1, 3]), np.array([2, 3, 1, 0]))
    assert got.tolist() == [[13, 5], [24, 10], [0, 0], [1, 1]]
    assert points[0].tolist() == [10, 5], "the given places stay"
