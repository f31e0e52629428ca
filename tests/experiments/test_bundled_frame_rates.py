"""The bundled recogniser of motion says of a clip the same at every frame rate: it samples moments,
not frames."""

import numpy as np
import pytest

from data.kth import ACTIONS, FPS
from data.synthetic.dataset import make_person, make_shot
from data.video import probe
from experiments.recognisers import WEIGHTS, load_recogniser
from utils.predict import predict_video

RATES = (12.5, 30, 50, 60)
LENGTH = 32  # frames: 1.3 seconds, a little longer than the clip that is sampled


@pytest.fixture(scope="module")
def recogniser():
    return load_recogniser(WEIGHTS / "recogniser_stacked_gru.pth")


@pytest.fixture(scope="module")
def clips():
    """The middle of a rendered stranger's annotated segment (T, 120, 160) by action, at 25 fps."""
    return {action: rendered(action) for action in ACTIONS}


def rendered(action):
    shot = make_shot(make_person(7, 2), action, 1, np.random.default_rng([7, 0]), segments=1)
    renderer, (start, stop) = shot.renderer(), shot.segments[0]
    middle, half = (start + stop) // 2, min(LENGTH, stop - start) // 2
    return np.stack([renderer.frame(frame) for frame in range(middle - half, middle + half)])


def retimed(video, fps):
    """The same seconds as another camera would have taken them, each moment's nearest frame."""
    moments = np.arange(int(len(video) / FPS * fps)) * FPS / fps
    return video[np.minimum(moments.round().astype(int), len(video) - 1)]


@pytest.mark.parametrize("action", ACTIONS)
def test_it_names_the_action_at_the_usual_rate(recogniser, clips, write_video, tmp_path, action):
    assert predict_video(recogniser, clips[action]).label == action
    path = write_video(tmp_path / "clip.avi", clips[action])
    assert predict_video(recogniser, path).label == action


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("action", ACTIONS)
def test_another_frame_rate_changes_no_answer(
    recogniser, clips, write_video, tmp_path, action, fps
):
    video = retimed(clips[action], fps)
    assert len(video) == int(len(clips[action]) * fps / FPS)
    assert predict_video(recogniser, video, fps=fps).label == action
    path = write_video(tmp_path / "clip.avi", video, fps=fps)  # a file says its rate itself
    assert probe(path).fps == pytest.approx(fps)
    assert predict_video(recogniser, path).label == action


@pytest.mark.parametrize(
    ("action", "fps", "taken_for"), [("jogging", 12.5, "running"), ("running", 50, "jogging")]
)
def test_a_wrong_frame_rate_does(recogniser, clips, write_video, tmp_path, action, fps, taken_for):
    """So the rate is what the answers above rest on."""
    video = retimed(clips[action], fps)
    path = write_video(tmp_path / "clip.avi", video, fps=fps)
    assert predict_video(recogniser, video).label == taken_for
    assert predict_video(recogniser, path, fps=FPS).label == taken_for
