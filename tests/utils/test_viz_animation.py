"""A GIF holds every moment of its clips, and says what is predicted when."""

import numpy as np
import pytest
from PIL import Image

from utils import viz
from utils.viz import animation

CLASSES = ("walking", "running")
HEIGHT, WIDTH = 24, 40


def clip(*greys):
    return np.stack([np.full((HEIGHT, WIDTH), grey, np.uint8) for grey in greys])


def write(path, clips, bars, **how):
    return Image.open(viz.write_gif(path, clips, bars, CLASSES, **how))


def greys(image, frame):
    image.seek(frame)
    return np.asarray(image.convert("L"), dtype=int)


@pytest.fixture
def image(tmp_path):
    """Two tiles above one another: three moments of one class, two of the other."""
    sure = np.array([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]])
    return write(
        tmp_path / "made" / "six.gif",
        {"walking": clip(0, 100, 200), "running": clip(255, 50)},
        {"walking": sure, "running": np.array([[np.nan, np.nan], [0.0, 1.0]])},
        columns=1,
    )


def test_it_loops_through_all_moments_and_a_short_clip_starts_over(image):
    assert image.n_frames == 3 and image.info["loop"] == 0 and image.info["duration"] == 80
    tile = animation.HEAD + HEIGHT + animation.FOOT
    assert image.size == (WIDTH, 2 * tile + animation.GAP)
    first = [greys(image, n)[animation.HEAD + 5, 5] for n in range(3)]
    second = [greys(image, n)[tile + animation.GAP + animation.HEAD + 5, 5] for n in range(3)]
    assert np.allclose(first, [0, 100, 200], atol=5) and np.allclose(second, [255, 50, 255], atol=5)


def test_the_bar_is_as_long_as_the_prediction_is_probable(image):
    bar = animation.HEAD + HEIGHT + 5
    dark = [(greys(image, n)[bar] < 50).sum() for n in range(3)]
    assert np.allclose(dark, [20, 40, 30], atol=1)
    other = animation.HEAD + HEIGHT + animation.FOOT + animation.GAP + bar
    assert [(greys(image, n)[other] < 50).sum() for n in range(2)] == [0, WIDTH]  # none yet


def test_noise_is_not_drawn_anew(tmp_path):
    noise = np.random.default_rng(0).integers(120, 128, (3, HEIGHT, WIDTH), dtype=np.uint8)
    probs = np.tile([0.5, 0.5], (3, 1))
    image = write(tmp_path / "a.gif", {"walking": noise}, {"walking": probs})
    assert np.array_equal(greys(image, 0), greys(image, image.n_frames - 1))
    moving = animation._steadied(clip(100, 105, 109, 115))
    assert moving[:, 0, 0].tolist() == [100, 100, 100, 115]


ONE = {"walking": np.ones((2, 2)) / 2}


@pytest.mark.parametrize(
    ("clips", "bars", "said"),
    [
        ({}, {}, "clips of nothing and bars of nothing; give the same labels"),
        ({"running": clip(0, 0)}, ONE, "clips of running and bars of walking"),
        ({"walking": clip(0, 0)[0]}, ONE, r"walking: a clip of shape \(24, 40\)"),
        ({"walking": clip(0, 0) / 255}, ONE, "give bytes"),
        ({"walking": clip(0)}, ONE, r"shape \(2, 2\) do not fit 1 frames and 2 classes"),
        (
            {"walking": clip(0, 0), "running": clip(0, 0)[:, 1:]},
            {**ONE, "running": ONE["walking"]},
            r"clips of sizes \[\(23, 40\), \(24, 40\)\]; give one size",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, clips, bars, said):
    with pytest.raises(ValueError, match=said):
        write(tmp_path / "a.gif", clips, bars)
    assert not list(tmp_path.iterdir())


def test_a_gif_needs_a_rate(tmp_path):
    with pytest.raises(ValueError, match="fps is 0; give frames a second, above 0"):
        write(tmp_path / "a.gif", {"walking": clip(0, 0)}, ONE, fps=0)
