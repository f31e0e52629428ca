"""Rendered movements that are none of the six: every kind, in the image, the same again."""

import numpy as np
import pytest

from data.kth import ACTIONS
from data.synthetic.moves import MOVES
from data.synthetic.others import FRAMES, draw_moving, render_others
from data.synthetic.render import HEIGHT, WIDTH
from data.video import probe, read_frames


def test_no_kind_is_one_of_the_six():
    assert not set(MOVES) & set(ACTIONS) and len(MOVES) == 20


@pytest.mark.parametrize("kind", MOVES)
def test_whoever_does_it_is_in_the_image(kind):
    for seed in range(3):
        one = draw_moving(kind, np.random.default_rng(seed), near=0.0)
        assert one.joints.shape[0] == len(one.heading) == FRAMES
        assert np.isfinite(one.joints).all()
        places = one.camera.project(one.joints[:, 0])[0]
        inside = ((places > 0) & (places < (WIDTH, HEIGHT))).all(1)
        leaves = one.move.goes or kind in ("sidestepping", "mixing")
        assert inside.mean() > (0.2 if leaves else 0.9), (kind, seed)


def test_files_of_every_kind_are_kept_and_the_same_again(tmp_path):
    root = render_others(tmp_path / "one", persons=1, workers=1, progress=False)
    files = sorted(root.glob("*/*.avi"))
    assert {file.parent.name for file in files} == set(MOVES) and len(files) == len(MOVES)
    assert probe(files[0]).frames == FRAMES
    first = files[0].read_bytes()
    files[0].unlink()
    kept = files[1].stat().st_mtime_ns
    render_others(root, persons=1, workers=1, progress=False)
    assert files[0].read_bytes() == first and files[1].stat().st_mtime_ns == kept
    assert len(np.unique(read_frames(files[0], np.arange(0, FRAMES, 28)), axis=0)) == 4


def test_another_seed_in_the_same_folder_and_nobody_are_refused(tmp_path):
    (tmp_path / "standing").mkdir()
    (tmp_path / "standing" / "mine.avi").touch()
    with pytest.raises(ValueError, match="rendered otherwise; choose another folder"):
        render_others(tmp_path, persons=1, progress=False)
    with pytest.raises(ValueError, match="of 0 persons; it takes 1 or more"):
        render_others(tmp_path, persons=0)
