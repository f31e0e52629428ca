"""Fixtures shared by the tests: tiny videos with KTH's names, written on the spot, and arithmetic
that repeats."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.kth import ACTIONS, SPLITS


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums in a fixed order, and no fight over the cores when tests run side by side."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(scope="session", autouse=True)
def settings_of_nobody():
    """No test depends on where the person who runs it keeps his data."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HAR_HOME", "HAR_CACHE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    np.random.seed(0)


def _write_video(path, frames, *, fps=25, codec="MJPG"):
    """Write frames (T, H, W) uint8 as a video file and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1:]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    assert writer.isOpened(), f"this OpenCV cannot write {codec} into {path.suffix}"
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def _blob(action, person, frames, height, width):
    """A bright disc on grey: the action sets its speed and height, the person its size."""
    label = ACTIONS.index(action)
    video = np.full((frames, height, width), 60, dtype=np.uint8)
    for t in range(frames):
        centre = (int(4 + (label + 1) * 0.7 * t) % width, int((label + 1) * height / 7))
        cv2.circle(video[t], centre, 3 + person % 4, 220, thickness=-1)
    return video


def _make_kth(
    root,
    *,
    persons=(11, 19, 22),
    actions=ACTIONS,
    scenarios=(1,),
    segments=2,
    length=12,
    size=(48, 64),
    split_folders=False,
    table=True,
):
    """Write a folder of moving discs in KTH's layout; a file has `segments` passes of `length`
    frames."""
    root, rows = Path(root), ["video,segment,start,stop"]
    for action in actions:
        for person in persons:
            split = next((name for name, members in SPLITS.items() if person in members), "")
            folder = root / split / action if split_folders else root / action
            for scenario in scenarios:
                name = f"person{person:02d}_{action}_d{scenario}"
                _write_video(
                    folder / f"{name}.avi", _blob(action, person, segments * length, *size)
                )
                rows += [f"{name},{k + 1},{k * length},{(k + 1) * length}" for k in range(segments)]
    if table:
        (root / "segments.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def write_video():
    """The function write_video(path, frames (T, H, W) uint8) -> path."""
    return _write_video


@pytest.fixture(scope="session")
def make_kth():
    """The function make_kth(root, persons=..., actions=..., ...) -> root, for folders that a test
    may spoil."""
    return _make_kth


@pytest.fixture(scope="session")
def tiny_kth(tmp_path_factory):
    """A folder of 18 files (6 actions, one person of each split), 36 segments of 12 frames; not to
    be changed."""
    return _make_kth(tmp_path_factory.mktemp("kth") / "KTH")


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """A folder of four persons, six actions and two scenarios, 96 segments of 8 frames."""
    root = tmp_path_factory.mktemp("discs") / "Discs"
    return _make_kth(root, persons=(11, 12, 19, 22), scenarios=(1, 4), length=8)


@pytest.fixture
def lab(discs, tmp_path):
    """A laboratory of one's own, see `tests.stand_ins.Lab`."""
    from tests.stand_ins import Lab  # which imports torch's half of the project

    return Lab(discs, tmp_path)


@pytest.fixture(scope="session")
def shared_lab(discs, tmp_path_factory):
    """A laboratory for tests that only look at runs: the same run is made once."""
    from tests.stand_ins import Lab

    return Lab(discs, tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def numbered_video(tmp_path_factory):
    """A video of 40 frames of one grey each, 5 * index, so that a frame tells which one it is."""
    frames = np.repeat(5 * np.arange(40, dtype=np.uint8), 32 * 48).reshape(40, 32, 48)
    return _write_video(tmp_path_factory.mktemp("numbered") / "person01_boxing_d1.avi", frames)
