"""Cluttered backgrounds: no empty place, sizes of all kinds, the same again from the same seed."""

import numpy as np
import pytest

from data.synthetic.clutter import clutter, spectral_noise, written_wall
from data.synthetic.render import HEIGHT, WIDTH, ground


def spread(image):
    """Standard deviation of grey levels in cells of 20 x 20 pixels."""
    return image.reshape(HEIGHT // 20, 20, WIDTH // 20, 20).std((1, 3))


@pytest.mark.parametrize(("draw", "least", "times"), [(clutter, 20, 2), (written_wall, 0, 1.5)])
def test_it_is_full_of_things(draw, least, times):
    for seed in range(8):
        image = draw(np.random.default_rng(seed))
        assert image.shape == (HEIGHT, WIDTH) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 255
        lawn = spread(ground(np.random.default_rng(seed)))
        assert np.median(spread(image)) > max(least, times * np.median(lawn)), seed
        assert np.array_equal(image, draw(np.random.default_rng(seed)))


def test_noise_has_the_spectrum_of_natural_images():
    """Its amplitude falls as one over the frequency: a slope of -1 in logarithms."""
    images = np.stack([spectral_noise(np.random.default_rng(seed)) for seed in range(16)])
    assert images.shape[1:] == (HEIGHT, WIDTH) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 255
    amplitude = np.abs(np.fft.fft(images - images.mean((1, 2), keepdims=True), axis=2)).mean((0, 1))
    frequency = np.arange(2, 40)
    slope = np.polyfit(np.log(frequency), np.log(amplitude[2:40]), 1)[0]
    # a line through a 2-D spectrum that falls as 1/f sums over the other axis: f ** -0.5
    assert -0.65 < slope < -0.35
    assert np.array_equal(images[3], spectral_noise(np.random.default_rng(3)))


@pytest.mark.parametrize("draw", [clutter, written_wall])
def test_two_are_unlike(draw):
    one, other = (draw(np.random.default_rng(seed)) for seed in (0, 1))
    assert np.abs(one - other).mean() > 20
