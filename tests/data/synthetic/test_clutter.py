"""Cluttered backgrounds: no empty place, sizes of all kinds, the same again from the same seed."""

import numpy as np

from data.synthetic.clutter import clutter
from data.synthetic.render import HEIGHT, WIDTH, ground


def spread(image):
    """Standard deviation of grey levels in cells of 20 x 20 pixels."""
    return image.reshape(HEIGHT // 20, 20, WIDTH // 20, 20).std((1, 3))


def test_it_is_full_of_things():
    for seed in range(8):
        image = clutter(np.random.default_rng(seed))
        assert image.shape == (HEIGHT, WIDTH) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 255
        lawn = spread(ground(np.random.default_rng(seed)))
        assert np.median(spread(image)) > max(20, 2 * np.median(lawn)), seed
        assert np.array_equal(image, clutter(np.random.default_rng(seed)))


def test_two_are_unlike():
    one, other = (clutter(np.random.default_rng(seed)) for seed in (0, 1))
    assert np.abs(one - other).mean() > 20
