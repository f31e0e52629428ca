"""Fixtures that the tests of figures share."""

import numpy as np
import pytest
from matplotlib import pyplot as plt


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pyplot_stays_empty():
    """A figure left open in pyplot would be shown twice by a notebook."""
    yield
    assert plt.get_fignums() == [], "a figure was left open in pyplot"
