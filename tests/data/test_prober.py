"""Files are decoded in a process of their own, which may die; what was found out is remembered."""

import json
import os
import signal

import numpy as np
import pytest

from data import prober
from data.video import VideoError, probe, probe_all

# a process that dies of some files, as decoders do
FRAGILE = prober.PROGRAM.replace(
    "serve()",
    "import os; from data import decoding; real = decoding.decode_whole; "
    "decoding.decode_whole = lambda path, written: "
    "os.kill(os.getpid(), {signal}) if 'deadly' in path else real(path, written); serve()",
)


@pytest.fixture
def video(tmp_path, write_video):
    """video(name) -> path of a video of 6 frames."""

    def write(name="clip.avi", frames=6):
        greys = (40 * np.arange(frames)).astype(np.uint8)
        return write_video(tmp_path / name, np.ones((1, 24, 32), np.uint8) * greys[:, None, None])

    return write


@pytest.fixture
def child(monkeypatch):
    """A process of one's own to decode files."""
    one, children = prober._Child(), prober._Children()
    children.resting[os.getpid()] = [one]
    monkeypatch.setattr(prober, "_children", children)
    yield one
    children.rest(0)


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """A memory of one's own, and the file in which it keeps what is worth it."""
    monkeypatch.setenv("HAR_CACHE", str(tmp_path / "cache"))
    one = prober._Memory()
    monkeypatch.setattr(prober, "_memory", one)
    return one, tmp_path / "cache" / "videos.jsonl"


@pytest.mark.skipif(os.name != "posix", reason="there are no signals")
def test_a_decoder_that_dies_costs_one_file(video, child, monkeypatch):
    monkeypatch.setattr(prober, "PROGRAM", FRAGILE.format(signal=int(signal.SIGSEGV)))
    before, deadly, after = video("a.avi"), video("deadly.avi"), video("b.avi")
    assert probe(before).frames == 6
    for _ in range(2):  # it is not tried again
        with pytest.raises(VideoError, match=r"deadly\.avi: the decoder breaks down.*SIGSEGV"):
            probe(deadly)
    assert child.process is None
    assert probe(after).frames == 6


def test_one_process_decodes_all_files(video, child, monkeypatch):
    started, real = [], prober._started
    monkeypatch.setattr(prober, "_started", lambda: started.append(1) or real())
    for name in ("a.avi", "b.avi", "c.avi"):
        probe(video(name))
    assert len(started) == 1 and child.process.poll() is None
    prober._children.rest(0)
    assert child.process is None


@pytest.mark.parametrize("program", ["raise SystemExit", "print('other words', flush=True)"])
def test_where_no_process_can_be_started_files_are_decoded_here(video, child, monkeypatch, program):
    started, real = [], prober._started
    monkeypatch.setattr(prober, "_started", lambda: started.append(1) or real())
    monkeypatch.setattr(prober, "PROGRAM", program)
    for name in ("a.avi", "b.avi"):
        assert probe(video(name)).frames == 6 and child.process is None
    assert len(started) == 1  # it is not tried for every file


def test_many_files_are_decoded_side_by_side(video, child, memory, monkeypatch):
    """In the order asked for, by at most a process a core, of which one stays."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(prober, "WORTH_A_PROCESS", 3)
    started, real = [], prober._started
    monkeypatch.setattr(prober, "_started", lambda: started.append(real()) or started[-1])
    paths = [video(f"{frames}.avi", frames=frames) for frames in (3, 4, 5, 6, 7)]
    for many, processes in ((paths[:5], 1), ([*paths, paths[0].with_name("gone.avi")], 2)):
        monkeypatch.setattr(prober, "_memory", prober._Memory())
        *there, last = probe_all(many)
        assert [info.frames for info in there] == [3, 4, 5, 6, 7][: len(there)]
        assert len(started) <= processes
    assert isinstance(last, VideoError)
    assert sum(one.poll() is None for one in started) == 1


def test_an_interruption_leaves_no_answer_to_be_taken_for_another(video, child, monkeypatch):
    def interrupted(process, line):
        real(process, line)
        raise KeyboardInterrupt

    real = prober._answer
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prober, "_answer", interrupted)
        probe(video("a.avi", frames=3))
    assert child.process is None and probe(video("b.avi", frames=5)).frames == 5


def test_a_file_is_decoded_once_until_it_changes(video, child, monkeypatch):
    asked, real = [], prober._answer
    monkeypatch.setattr(prober, "_answer", lambda *how: asked.append(how) or real(*how))
    path = video(frames=4)
    assert [probe(path).frames for _ in range(3)] == [4, 4, 4] and len(asked) == 1
    status, content = path.stat(), video("other.avi", frames=5).read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert probe(path).frames == 5 and len(asked) == 2


def test_what_took_long_is_remembered_on_disk(video, child, memory, monkeypatch):
    (one, kept), path = memory, video()
    monkeypatch.setattr(prober, "WORTH_KEEPING", 0.0)
    assert probe(path).frames == 6 and not kept.exists()  # there is no cache to put it in
    kept.parent.mkdir()
    one.write()
    (line,) = kept.read_text().splitlines()
    assert json.loads(line)[1]["frames"] == 6
    kept.write_text(f'{line[:40]}\n["k", {{"frames": 1}}]\n{line}\n["cut off')
    monkeypatch.setattr(prober, "_memory", prober._Memory())
    monkeypatch.setattr(prober._Child, "decoded", lambda *_: pytest.fail("it was decoded again"))
    assert probe(path).frames == 6


def test_what_is_quickly_found_out_is_not_kept(video, child, memory):
    one, kept = memory
    kept.parent.mkdir()
    probe(video())
    one.write()
    assert not kept.exists()


def test_a_memory_that_cannot_be_written_is_no_matter(video, child, memory, monkeypatch):
    _, kept = memory
    kept.mkdir(parents=True)
    monkeypatch.setattr(prober, "WORTH_KEEPING", 0.0)
    assert probe(video()).frames == 6
