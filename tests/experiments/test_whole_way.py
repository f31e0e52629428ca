"""From files to answers: the same seconds stored at other frame rates, and a set of which a file is
cut off, trained on, evaluated and predicted."""

import cv2
import numpy as np
import pytest

from data.annotations import write_segments
from data.kth import find_segments
from data.video import probe
from tests.stand_ins import Lab, same_predictions, tiny, two_frames, untimed
from utils.predict import predict_video

RATES = (12.5, 15, 30, 50, 60)
PERSONS = (11, 19, 22)  # one of each split
SECONDS, REST = 2, 0.4  # of a file, and how long a picture of it rests


@pytest.fixture(scope="module")
def stored(tmp_path_factory, write_video):
    """One set of two actions, by the frame rate at which it is stored.

    Pictures rest for 0.4 seconds, which all rates divide; so moments 0.4 seconds apart show the
    same two pictures at each, and the numbers of their frames differ.
    """

    def picture(label, person, second):
        at = int(round(second / REST, 6))
        frame = np.full((24, 32), 60, np.uint8)
        cv2.circle(frame, (4 + 5 * at % 28, 6 + 12 * label), 2 + person % 3, 220, -1)
        return frame

    roots = {}
    for fps in RATES:
        table = {}
        roots[fps] = tmp_path_factory.mktemp("stored") / "Set"
        for label, action in enumerate(("boxing", "running")):
            for person in PERSONS:
                moments = np.arange(round(SECONDS * fps)) / fps
                frames = np.stack([picture(label, person, second) for second in moments])
                path = roots[fps] / action / f"person{person:02d}_{action}_d1.avi"
                write_video(path, frames, fps=fps)
                table[path.stem] = [(0, len(frames))]
        write_segments(roots[fps] / "segments.csv", table)
    return roots


@pytest.fixture(scope="module")
def trained(stored, tmp_path_factory):
    """The laboratory and the run of each frame rate."""
    labs = {fps: Lab(root, tmp_path_factory.mktemp("lab")) for fps, root in stored.items()}
    gru = two_frames(tiny("gru"), REST)
    return {fps: (lab, lab.run(gru, epochs=3)) for fps, lab in labs.items()}


@pytest.mark.parametrize("fps", RATES[1:])
def test_a_set_is_worth_the_same_at_every_frame_rate(stored, trained, fps):
    """Trained, evaluated and predicted: to the bit, where moments are the same pictures."""
    assert {segment.video.fps for segment in find_segments(stored[fps])} == {fps}
    (lab, result), (_, usual) = trained[fps], trained[RATES[0]]
    assert untimed(result.history) == untimed(usual.history)
    assert same_predictions(result.predictions, usual.predictions)
    there = lab.evaluate(result, stored[fps])
    elsewhere = lab.evaluate(result, stored[RATES[0]])
    assert same_predictions(there.predictions, elsewhere.predictions)


def test_a_file_is_named_the_same_at_every_frame_rate(stored, trained):
    lab, result = trained[RATES[0]]
    recogniser = lab.load(result)
    for name in ("boxing/person22_boxing_d1.avi", "running/person22_running_d1.avi"):
        found = {fps: predict_video(recogniser, root / name) for fps, root in stored.items()}
        one = found[RATES[0]]
        for fps, other in found.items():
            assert other.label == one.label
            assert list(other.probs.values()) == pytest.approx(list(one.probs.values()), abs=0.01)
            seconds = np.array(other.frames)[[0, -1]] / fps
            assert seconds == pytest.approx(np.array(one.frames)[[0, -1]] / RATES[0], abs=REST)


@pytest.mark.parametrize("recipe", [{}, {"fine_tune": 1}], ids=["frozen", "fine-tuned"])
def test_a_frame_too_few_costs_a_frame_and_no_training(make_kth, tmp_path, write_video, recipe):
    """A file of a set promises and is annotated up to a frame that does not decode."""
    actions = ("boxing", "running")
    root = make_kth(tmp_path / "KTH", actions=actions, length=8)
    path = root / "boxing" / "person11_boxing_d1.avi"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"\xff\xd8")])  # where the last picture begins
    assert probe(path).frames == 15
    with pytest.warns(UserWarning) as said:
        result = Lab(root, tmp_path).run("gru", epochs=1, **recipe)
    messages = [str(one.message) for one in said]
    assert any("1 of 6 files are damaged and used as far as" in one for one in messages)
    assert any("person11_boxing_d1#2 is 8..16 of 15" in one for one in messages)
    assert len(result.history) == 1 and result.segment.n == 4
