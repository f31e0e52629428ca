"""Images made easier to see in: exact numbers where they can be had."""

import numpy as np
import pytest

from utils.images import changed_box, denoised, noise_of, stretched

RNG = np.random.default_rng(0)


def slope(height=60, width=80):
    grey = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


def noisy(image, level):
    """The same noise in all channels, as a grey camera has it."""
    noise = RNG.normal(0, level, image.shape[:2])[..., None]
    return (image + noise).clip(0, 255).round().astype(np.uint8)


def test_contrast_is_raised_to_the_whole_range_and_no_further():
    image = np.repeat(np.arange(100, 150, dtype=np.uint8).repeat(4).reshape(10, 20, 1), 3, 2)
    raised = stretched(image, 20.0)
    assert (raised.min(), raised.max()) == (0, 255)
    assert raised[4, 9, 0] == pytest.approx(114, abs=2)
    assert np.ptp(stretched(image, 510.0).astype(int)) == pytest.approx(25, abs=1)
    assert not np.ptp(stretched(np.full((8, 8, 3), 77, np.uint8), 20.0))


@pytest.mark.parametrize("level", [2, 8, 20])
def test_noise_is_estimated_whatever_slopes_and_edges_there_are(level):
    image = slope() // 2 + 60
    image[20:40, 30:50] = 200
    assert noise_of(image) < 1.5
    assert noise_of(noisy(image, level)) == pytest.approx(level, rel=0.15, abs=0.8)


def test_little_noise_and_large_images_are_left_alone():
    image = noisy(slope(), 3)
    assert denoised(image, 6.0) is image
    large = np.zeros((700, 900, 3), np.uint8)
    assert denoised(large, 0.0) is large
    for odd in (np.zeros((1, 1, 3), np.uint8), np.zeros((2, 50, 3), np.uint8)):
        assert denoised(odd, 6.0) is odd


def test_much_noise_is_taken_away():
    image = slope() // 2 + 60
    spoilt = noisy(image, 20)
    clean = denoised(spoilt, 6.0)
    before, after = (np.abs(one.astype(int) - image).mean() for one in (spoilt, clean))
    assert clean.shape == image.shape and after < before / 3


def test_what_changed_has_a_box_unless_it_is_nothing_or_everything():
    image = slope(120, 160)
    moved = image.copy()
    moved[10:30, 20:50] = 255 - moved[10:30, 20:50]
    left, top, right, bottom = changed_box(image, moved)
    assert (left, right) == pytest.approx((20, 50), abs=2)
    assert (top, bottom) == pytest.approx((10, 30), abs=2)
    assert changed_box(image, image) is None
    assert changed_box(image, noisy(image, 3)) is None
    assert changed_box(image, (image.astype(int) + 40).astype(np.uint8)) is None
    speck = image.copy()
    speck[5, 5] = 255
    assert changed_box(image, speck) is None
