"""Features in shards: the same numbers as without a cache, and nothing believed or lost to kills,
cuts and full disks."""

import dataclasses
import errno
import os
import subprocess
import sys
import textwrap
import time
import tracemalloc
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data.kth import Segment, Video, find_segments
from data.video import VideoError, read_segments
from models.backbone import EfficientNetBackbone
from tests.stand_ins import HOW, SHOWN, AgainstMedian, MeansBackbone, same
from utils.data_setup import ClipSource, VideoDataset
from utils.features import (
    Encoder,
    Features,
    build_features,
    concatenate,
    look_at,
    side_by_side,
)
from utils.preprocessing import (
    ClipTransform,
    FixedStride,
    GreyFrames,
    Jittered,
    Preprocessing,
    Uniform,
)

ROOT = Path(__file__).parents[2]
ITEMS, IMAGES, SHARD = 144, 4 * 144, 4 * 32  # of all segments, and of a whole shard


@pytest.fixture(scope="module")
def root(make_kth, tmp_path_factory):
    """18 files of 8 segments: five shards, the last of them half as large."""
    return make_kth(tmp_path_factory.mktemp("kth") / "KTH", segments=8)


@pytest.fixture(scope="module")
def segments(root):
    return find_segments(root)


def built(backbone, segments, cache_dir=None, **how):
    return build_features(backbone, segments, cache_dir=cache_dir, **{**HOW, **how})


def shards(folder):
    return sorted(folder.glob("*/*/*.npy"))


def silently(*args, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return built(*args, **how)


def test_stacked_greyscale_is_encoded_as_it_is_shown(segments):
    """Features of stacks of three frames: those of the very clips that a ClipSource reads."""
    shown = Preprocessing(Uniform(3), ClipTransform(size=(8, 8), channels=3), frame_offset=0.08)
    features = built(Channels(), segments[:4], shown=shown)
    source = ClipSource(segments[:4], shown)
    for index in range(4):
        clip = source.load(index)  # (T, 3, H, W)
        assert torch.allclose(features.load(index), clip.mean((2, 3)), atol=1e-3)
    assert features.load(0).shape == (3, 3)


class Channels(nn.Module):
    """Features (N, 3): how bright each channel is."""

    feature_dim = 3

    def fingerprint(self):
        return "channels"

    def forward(self, images):
        return images.mean((2, 3))


@pytest.fixture(scope="module")
def expected(segments):
    return built(MeansBackbone(), segments)


def test_features_are_those_of_the_clips(segments, expected):
    source = ClipSource(segments, SHOWN)
    for index in (0, 7, len(segments) - 1):
        direct = MeansBackbone()(source.load(index))
        assert torch.allclose(expected.load(index), direct, atol=1e-3)
    assert len(expected) == ITEMS
    assert {(item.dtype.name, item.shape) for item in expected.items} == {("float16", (1, 4, 8))}
    assert expected.load(0).dtype == torch.float32


def test_the_second_time_no_video_is_read(segments, expected, tmp_path):
    reader = Counting()
    shown = dataclasses.replace(SHOWN, reader=reader)
    first, second = MeansBackbone(), MeansBackbone()
    for backbone in (first, second):
        assert same(silently(backbone, segments, tmp_path, shown=shown), expected)
    assert sum(first.seen) == IMAGES and second.seen == []
    assert len(reader.read_files) == len(set(reader.read_files)) == 18, "each file is read once"
    assert len(shards(tmp_path)) == 5 and len(list(tmp_path.iterdir())) == 1


@dataclass(frozen=True)
class Counting(GreyFrames):
    """Grey frames, and which files they were read of."""

    def __post_init__(self):
        object.__setattr__(self, "read_files", [])  # no setting

    def read(self, path, index_lists, found=None):
        self.read_files.append(path)
        return super().read(path, index_lists, found)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_the_batch_size_changes_nothing(segments, expected, batch_size):
    backbone = MeansBackbone()
    assert same(built(backbone, segments, batch_size=batch_size), expected)
    assert max(backbone.seen) <= batch_size


def test_batches_are_the_same_whatever_was_there_before(segments, tmp_path):
    """A shard is made of whole rounds, so that no batch depends on which shards are missing."""
    shown = Preprocessing(Uniform(3), ClipTransform(size=(24, 32)))  # 24 images a file
    whole, rest = MeansBackbone(), MeansBackbone()
    built(whole, segments, tmp_path, shown=shown)
    assert whole.seen[:4] == [32, 16, 32, 16]
    shards(tmp_path)[1].unlink()
    built(rest, segments, tmp_path, shown=shown)
    assert rest.seen == whole.seen[4:8]


@pytest.mark.parametrize(
    "change",
    ["weights", "sampler", "transform", "offset", "flip", "segments", "ranges", "rate", "file"],
)
def test_whatever_the_numbers_depend_on_makes_a_new_cache(make_kth, tmp_path, change):
    folder = make_kth(tmp_path / "kth", persons=(11,), actions=("boxing", "running"))
    found, how, backbone = find_segments(folder), {}, MeansBackbone()
    if change == "offset":
        backbone = Channels()
    built(backbone, found, tmp_path / "cache")
    first = found[0]
    if change == "weights":
        backbone = MeansBackbone(tint=0.25)
    elif change == "sampler":
        how["shown"] = Preprocessing(Uniform(frames=5), SHOWN.transform)
    elif change == "transform":
        how["shown"] = Preprocessing(SHOWN.sampler, ClipTransform(size=(24, 32), pool="mean"))
    elif change == "offset":
        how["shown"] = dataclasses.replace(SHOWN, frame_offset=0.08)
    elif change == "flip":
        how["horizontal_flip"] = True
    elif change == "segments":
        found = found[1:]
    elif change == "ranges":
        found = [Segment(first.video, first.index, first.start + 1, first.stop), *found[1:]]
    elif change == "rate":
        found = [dataclasses.replace(s, video=dataclasses.replace(s.video, fps=50)) for s in found]
    else:
        os.utime(first.video.path, ns=(1, 1))
    again = built(backbone, found, tmp_path / "cache", **how)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert same(again, built(backbone, found, **how))


@pytest.fixture
def numbered(tmp_path, write_video):
    """boxing/001.avi and walking/001.avi, of one size and one time; bright above, and below."""
    files = []
    for action, rows in {"boxing": slice(0, 12), "walking": slice(12, 24)}.items():
        frames = np.zeros((8, 24, 32), dtype=np.uint8)
        frames[:, rows] = 200
        files.append(write_video(tmp_path / "kth" / action / "001.avi", frames))
    for path in files:
        size = max(other.stat().st_size for other in files)
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, ns=(1, 1))
    return files


def test_files_that_share_name_size_and_time_do_not_share_features(numbered, tmp_path):
    root, cache = tmp_path / "kth", tmp_path / "cache"
    segments = find_segments(root)
    before = built(MeansBackbone(), segments, cache)
    for name, other in (("boxing", "x"), ("walking", "boxing"), ("x", "walking")):
        (root / name).rename(root / other)
    swapped = built(MeansBackbone(), segments, cache)
    assert np.array_equal(swapped.items[0], before.items[1])
    assert np.array_equal(swapped.items[1], before.items[0])


def test_files_that_share_name_size_and_time_do_not_share_looks(numbered, tmp_path):
    found = look_at(AgainstMedian(), numbered, cache_dir=tmp_path / "cache", progress=False)
    assert [found[path]["median"][4, 4] > 100 for path in numbered] == [True, False]
    again = look_at(AgainstMedian(), numbered[::-1], cache_dir=tmp_path / "cache", progress=False)
    assert all(np.array_equal(again[path]["median"], found[path]["median"]) for path in numbered)


def test_frames_are_sampled_by_the_rate_of_the_file(segments, expected):
    """A stride in seconds: at 50 frames a second it is twice as many frames."""
    shown = Preprocessing(FixedStride(3, 0.08), SHOWN.transform)
    fast = [dataclasses.replace(s, video=dataclasses.replace(s.video, fps=50)) for s in segments]
    wide = Preprocessing(FixedStride(3, 0.16), SHOWN.transform)
    one = built(MeansBackbone(), fast[:8], shown=shown)
    assert same(one, built(MeansBackbone(), segments[:8], shown=wide))
    assert not same(one, built(MeansBackbone(), segments[:8], shown=shown))


def test_a_killed_run_goes_on_where_it_stopped(segments, expected, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        built(MeansBackbone(stop_after=400), segments, tmp_path, batch_size=8)
    assert len(shards(tmp_path)) == 3
    rest = MeansBackbone()
    assert same(silently(rest, segments, tmp_path, batch_size=8), expected)
    assert sum(rest.seen) == IMAGES - 3 * SHARD


PROGRAM = """
    import os, sys
    sys.path[:0] = ["."]
    from tests.stand_ins import HOW, MeansBackbone
    from utils.features import build_features
    from data.kth import find_segments
    class Fatal(MeansBackbone):
        def forward(self, images):
            if sum(self.seen) >= int(sys.argv[3]):
                os._exit(9)
            return super().forward(images)
    backbone = Fatal(pause=0.01)
    found = build_features(backbone, find_segments(sys.argv[1]), cache_dir=sys.argv[2], **HOW)
    print(sum(backbone.seen), sum(zlib.crc32(item.tobytes()) for item in found.items))
"""


def program(root, folder, stop_after=10**9):
    code = "import zlib\n" + textwrap.dedent(PROGRAM)
    command = [sys.executable, "-c", code, str(root), str(folder), str(stop_after)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_program_that_dies_at_once_loses_only_the_shards_under_way(
    root, segments, expected, tmp_path
):
    dying = program(root, tmp_path, 300)
    dying.communicate(timeout=120)
    done = len(shards(tmp_path))
    assert dying.returncode == 9 and done >= 1
    rest = MeansBackbone()
    assert same(silently(rest, segments, tmp_path), expected)
    assert sum(rest.seen) == IMAGES - SHARD * done


def test_what_a_kill_leaves_of_a_write_is_not_believed(segments, expected, tmp_path):
    built(MeansBackbone(), segments, tmp_path)
    whole = shards(tmp_path)[0]
    whole.rename(whole.with_name(f".{whole.stem}.77.part.npy"))
    backbone = MeansBackbone()
    assert same(silently(backbone, segments, tmp_path), expected)
    assert sum(backbone.seen) == SHARD


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit", "of another place", "foreign"])
def test_damaged_shards_are_noticed_and_made_anew(segments, expected, tmp_path, damage):
    """Also a sound shard in the wrong place: another number's, or the same number's of other
    weights."""
    built(MeansBackbone(), segments, tmp_path / "cache")
    first, second, *_ = shards(tmp_path / "cache")
    content = first.read_bytes()
    if damage == "cut":
        first.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        first.write_bytes(b"")
    elif damage == "flipped bit":
        first.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "of another place":
        second.rename(first.with_name(second.name))
        first.unlink()
        first, second = first.with_name(second.name), first
    else:
        built(MeansBackbone(tint=1.0), segments, tmp_path / "other")
        foreign = shards(tmp_path / "other")[0]
        first.unlink()
        first = first.with_name(foreign.name)
        foreign.rename(first)
    lost = 2 if damage == "of another place" else 1
    backbone = MeansBackbone()
    with pytest.warns(UserWarning, match="is damaged .* made anew") as caught:
        assert same(built(backbone, segments, tmp_path / "cache"), expected)
    assert [str(first) in str(one.message) for one in caught] == [True]
    assert sum(backbone.seen) == lost * SHARD
    assert same(silently(MeansBackbone(stop_after=0), segments, tmp_path / "cache"), expected)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_falls_back_to_memory(segments, expected, tmp_path, monkeypatch, code):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.warns(UserWarning, match="cannot be written"):
        features = built(MeansBackbone(), segments, tmp_path / "cache")
    assert same(features, expected) and not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_falls_back_to_memory(segments, expected, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be written"):
        assert same(built(MeansBackbone(), segments, tmp_path / "cache"), expected)


def test_a_finished_cache_is_read_from_a_read_only_folder(
    segments, expected, tmp_path, monkeypatch
):
    built(MeansBackbone(), segments, tmp_path)

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "read-only")

    for name in ("mkdir", "write_bytes", "touch", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "replace", refuse)
    assert same(silently(MeansBackbone(stop_after=0), segments, tmp_path), expected)


def test_a_disk_that_fills_up_keeps_what_was_finished(segments, expected, tmp_path, monkeypatch):
    real, writes = Path.write_bytes, []

    def full_after_two(path, content):
        writes.append(path)
        if len(writes) > 2:
            real(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, content)

    backbone = MeansBackbone()
    backbone.feature_dim = 10_000_000 // 576  # said, not true: the message counts in MB
    monkeypatch.setattr(Path, "write_bytes", full_after_two)
    with pytest.raises(OSError, match=r"No space left on device.*\(HAR_CACHE\)") as caught:
        built(backbone, segments, tmp_path)
    assert caught.value.errno == errno.ENOSPC and "what was finished stays" in str(caught.value)
    assert f"features in {tmp_path}" in str(caught.value) and "20 MB are needed" in str(
        caught.value
    )
    monkeypatch.undo()
    rest = MeansBackbone()
    assert same(silently(rest, segments, tmp_path), expected)
    assert sum(rest.seen) == IMAGES - 2 * SHARD
    assert not list(tmp_path.rglob("*.part.*"))


def test_the_work_of_keeping_grows_with_the_items_not_their_square(make_kth, tmp_path, monkeypatch):
    """Folders listed, entries in them, files looked at and opened, for N and 2 N segments."""
    found = find_segments(make_kth(tmp_path / "kth", segments=64, length=2))  # 1152 in 18 files
    counted = {}
    for items in (576, 1152):
        for run in ("cold", "warm"):
            with monkeypatch.context() as patch:
                calls = counting_file_calls(patch)
                built(MeansBackbone(), found[:items], tmp_path / f"cache{items}")
            counted[items, run] = calls
        assert len(shards(tmp_path / f"cache{items}")) == items // 64
    for run in ("cold", "warm"):
        small, large = counted[576, run], counted[1152, run]
        assert small["listed"] > 5 and small["opened"] > 5
        # and a few looks at folders that any number needs
        assert all(large[name] <= 2 * small[name] + 5 for name in small), (run, small, large)


def counting_file_calls(patch):
    calls = {"listed": 0, "entries": 0, "opened": 0, "looked at": 0}

    def count(owner, function, name):
        real = getattr(owner, function)

        def counted(*args, **kwargs):
            calls[name] += 1
            return real(*args, **kwargs)

        patch.setattr(owner, function, counted)

    real_scan = os.scandir

    def scanned(folder):
        calls["listed"] += 1
        calls["entries"] += len(os.listdir(folder))
        return real_scan(folder)

    patch.setattr(os, "scandir", scanned)
    for owner, function in ((Path, "read_bytes"), (Path, "write_bytes")):
        count(owner, function, "opened")
    count(os, "stat", "looked at")
    return calls


@pytest.mark.slow
def test_two_programs_at_once_are_harmless_and_both_right(root, segments, expected, tmp_path):
    both = [program(root, tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len({out.split()[1] for out, _ in said}) == 1
    assert same(silently(MeansBackbone(stop_after=0), segments, tmp_path), expected)
    assert len(shards(tmp_path)) == 5


def test_a_shard_that_another_program_finished_meanwhile_is_not_computed(
    segments, expected, tmp_path
):
    class Overtaken(MeansBackbone):
        def forward(self, images):
            if not self.seen:
                built(MeansBackbone(), segments, tmp_path)  # another program does it all
            return super().forward(images)

    backbone = Overtaken()
    assert same(silently(backbone, segments, tmp_path), expected)
    assert SHARD <= sum(backbone.seen) <= 2 * SHARD and len(shards(tmp_path)) == 5


def test_the_features_are_mapped_not_loaded(segments, tmp_path):
    """Views of the files themselves: what changes there changes here, and nothing is copied."""
    features = built(MeansBackbone(), segments, tmp_path)
    assert not any(item.flags.writeable or item.flags.owndata for item in features.items)
    assert not features.subset([3]).items[0].flags.owndata
    path = next(path for path in shards(tmp_path) if path.parent.name == "00000")
    before, content = features.items[0].copy(), path.read_bytes()
    start = len(content) - 32 * 4 * 8 * 2
    with path.open("r+b") as file:
        file.seek(start)
        file.write(np.float16(7).tobytes())
    assert features.items[0][0, 0, 0] == 7 and before[0, 0, 0] != 7


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_shards_hold_no_open_files(segments, tmp_path):
    before = len(os.listdir("/dev/fd"))
    features = built(MeansBackbone(), segments, tmp_path)
    assert len(os.listdir("/dev/fd")) == before and len(features) == ITEMS


@pytest.mark.parametrize("run", ["cold", "warm"])
def test_memory_is_flat_as_segments_grow(make_kth, tmp_path, run):
    """The arrays that live at one time while features are computed or opened: a few shards."""
    found = find_segments(make_kth(tmp_path / "kth", segments=64, length=2))
    peaks = []
    for items in (288, 1152):
        if run == "warm":
            built(Wide(), found[:items], tmp_path / f"{items}")
        tracemalloc.start()
        features = built(Wide(), found[:items], tmp_path / f"{items}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(features) == items
    whole = 1152 * 2 * 8192 * 2  # bytes
    assert peaks[1] < whole / 2 and peaks[1] - peaks[0] < whole / 8, peaks


class Wide(nn.Module):
    """Features (N, 8192), so that they outweigh everything else."""

    feature_dim = 8192

    def fingerprint(self):
        return "wide"

    def forward(self, images):
        return images.mean((1, 2, 3))[:, None].expand(-1, 8192)


def test_the_size_is_said_before_the_work(segments, tmp_path, capsys):
    built(MeansBackbone(), segments, tmp_path, horizontal_flip=True, progress=True)
    said = capsys.readouterr()
    first = f"features of 144 segments, 576 frames, also flipped: 0 MB in {tmp_path}"
    assert first in said.out + said.err
    assert "features:" in said.err and "/144" in said.err and "segment/s" in said.err
    built(MeansBackbone(), segments, tmp_path, horizontal_flip=True, progress=True)
    said = capsys.readouterr()
    assert "features" not in said.out + said.err


def test_the_cache_folder_is_that_of_the_moment(segments, tmp_path, monkeypatch):
    monkeypatch.setenv("HAR_CACHE", str(tmp_path / "a"))
    build_features(MeansBackbone(), segments[:3], **HOW)
    assert len(shards(tmp_path / "a")) == 1


def test_work_is_done_side_by_side_in_order_and_bounded():
    running, most = [], []

    def slow(item):
        running.append(item)
        most.append(len(running))
        time.sleep(0.01)
        running.remove(item)
        return item, torch.get_num_threads()

    asked = []
    before = torch.get_num_threads()
    for result in side_by_side(slow, (asked.append(i) or i for i in range(12)), 3):
        assert result[1] == 1 and len(asked) <= result[0] + 6
    assert asked == list(range(12)) and 1 < max(most) <= 3 and torch.get_num_threads() == before


def test_the_first_failure_stops_the_work():
    seen = []

    def fails_at_three(item):
        seen.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    with pytest.raises(ValueError, match="three"):
        list(side_by_side(fails_at_three, range(100), 2))
    assert len(seen) < 12


def test_short_segments_remember_their_length(segments, tmp_path):
    short = [Segment(segments[0].video, 0, 0, 2), segments[1]]
    for cache in (None, tmp_path, tmp_path):
        features = built(MeansBackbone(), short, cache)
        assert features.lengths.tolist() == [2, 4]
        assert [features.load(i).shape for i in (0, 1)] == [(2, 8), (4, 8)]


def test_the_ghost_has_one_step(segments, tmp_path):
    ghost = Preprocessing(Uniform(4), ClipTransform(size=(24, 32), pool="mean"))
    features = built(MeansBackbone(), segments, tmp_path, shown=ghost)
    assert {item.shape for item in features.items} == {(1, 1, 8)}


def test_a_random_sampler_draws_the_same_frames_again(segments):
    shown = Preprocessing(Jittered(frames=4), SHOWN.transform)
    one, two = (built(MeansBackbone(), part, shown=shown) for part in (segments, segments[5:]))
    assert same(one.subset(range(5, ITEMS)), two)


@dataclass(frozen=True)
class GreyOfNoFile:
    """A reader that opens nothing, for a file whose name no decoder takes."""

    def look(self, video, fps=None):
        return None

    def read(self, video, index_lists, found=None):
        return [np.full((len(indices), 48, 64), 60, np.uint8) for indices in index_lists]


def test_a_name_that_is_no_text_has_features_of_its_own(tmp_path):
    shown = dataclasses.replace(SHOWN, sampler=Jittered(frames=4), reader=GreyOfNoFile())
    video = Video(Path("person01_boxing_\udcff.avi"), "boxing", 1, None)
    features = built(MeansBackbone(), [Segment(video, 0, 0, 12)], tmp_path, shown=shown)
    assert [item.shape for item in features.items] == [(1, 4, 8)]


def test_flipped_features_are_those_of_the_flipped_clip(segments, tmp_path):
    for _ in range(2):
        features = built(MeansBackbone(), segments, tmp_path, horizontal_flip=True)
        for plain, flipped in features.items:
            assert np.allclose(flipped[:, :4], plain[:, 3::-1], atol=1e-3)
            assert np.allclose(flipped[:, 4:], plain[:, 4:], atol=1e-3)
    plain, flipped = (torch.from_numpy(part.astype(np.float32)) for part in features.items[0])
    drawn = [features.load(0, np.random.default_rng(seed)) for seed in range(40)]
    assert all(torch.equal(one, plain) or torch.equal(one, flipped) for one in drawn)
    assert 0.2 < sum(torch.equal(one, flipped) for one in drawn) / 40 < 0.8
    assert torch.equal(features.load(0), plain)


@pytest.fixture
def damaged(make_kth, tmp_path):
    """Four segments in two files, one of which turns out shorter than its annotation."""
    root = make_kth(tmp_path / "kth", persons=(11,), actions=("boxing", "running"))
    found = find_segments(root)
    return [*found[:3], Segment(found[3].video, 1, 12, 60)]


def test_a_file_that_fails_stops_the_run_and_keeps_finished_shards(segments, tmp_path):
    last = segments[-1]
    broken = [*segments[:-1], Segment(last.video, last.index, last.start, 500)]
    with pytest.raises(VideoError, match=rf"{last.video.path.name} ends early"):
        built(MeansBackbone(), broken, tmp_path)
    assert len(shards(tmp_path)) == 4
    rest = MeansBackbone()
    with pytest.raises(VideoError):
        built(rest, broken, tmp_path)
    assert sum(rest.seen) <= 2 * 8 * 4


def test_files_that_fail_can_be_left_out(damaged, tmp_path):
    expected = built(MeansBackbone(), damaged[:3])
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        with pytest.warns(
            UserWarning,
            match=r"1 of 4 segments are left out: .*person11_running_d1\.avi ends early",
        ):
            features = built(MeansBackbone(), damaged, cache, skip_errors=True)
        assert features.readable() == [0, 1, 2] and list(features.failed) == [3]
        assert features.items[3].shape == (1, 0, 8)
        with pytest.raises(VideoError, match="item 3 has no features: .*ends early"):
            features.load(3)
    kept = features.subset(features.readable())
    assert same(kept, expected) and not kept.failed
    assert len(VideoDataset([damaged[index] for index in features.readable()], kept)) == 3
    assert features.subset([3, 0]).failed.keys() == {0}


def test_only_what_failed_is_tried_again(damaged, tmp_path):
    """A file that was out of reach for a moment: the shard is completed, and nothing else done."""

    @dataclass(frozen=True)
    class Unsteady(GreyFrames):
        def read(self, path, index_lists, found=None):
            if "running" in path.name and not steady:
                raise VideoError(f"{path} is out of reach")
            return super().read(path, index_lists, found)

    shown, steady = dataclasses.replace(SHOWN, reader=Unsteady()), []
    found = damaged[:3]
    with pytest.warns(UserWarning, match="1 of 3 segments are left out: .* out of reach"):
        built(MeansBackbone(), found, tmp_path, shown=shown, skip_errors=True)
    with pytest.raises(VideoError, match="out of reach"):
        built(MeansBackbone(), found, tmp_path, shown=shown)
    steady.append(True)
    backbone = MeansBackbone()
    assert same(
        silently(backbone, found, tmp_path, shown=shown, skip_errors=True),
        built(MeansBackbone(), found),
    )
    assert sum(backbone.seen) == 4
    silently(MeansBackbone(stop_after=0), found, tmp_path, shown=shown)


def test_files_that_all_fail_give_no_features(damaged, tmp_path):
    broken = [Segment(segment.video, 1, 12, 60) for segment in damaged]
    with pytest.warns(UserWarning, match="4 of 4 segments are left out"):
        features = built(MeansBackbone(), broken, tmp_path / "cache", skip_errors=True)
    assert features.readable() == [] and len(features) == 4


def test_a_subset_keeps_the_order_asked_for(expected):
    part = expected.subset([8, 2])
    assert len(part) == 2
    assert torch.equal(part.load(0), expected.load(8))
    assert torch.equal(part.load(1), expected.load(2))


def test_concatenated_features_keep_order_failures_and_common_flips():
    both = np.arange(12, dtype=np.float16).reshape(2, 2, 3)
    one = Features([both, both[:, :0]], {1: "lost"})
    other = Features([both[:1] + 100])
    joined = concatenate([one, other, one])
    assert joined.lengths.tolist() == [2, 0, 2, 2, 0] and joined.failed == {1: "lost", 4: "lost"}
    assert {len(item) for item in joined.items} == {1}
    assert joined.load(2).tolist() == (both[0] + 100).tolist()
    assert {len(item) for item in concatenate([one, one]).items} == {2}


# readers: numbers instead of images, and a look at the whole file


@dataclass(frozen=True)
class Brightness:
    """Two numbers a frame: how bright it is, and how much brighter than the file's first frame."""

    gain: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "looked", [])  # no setting

    def look(self, path, fps=None):
        self.looked.append(path)
        return {"first": self._read(path, [0])[0], "number": np.array(5)}

    def read(self, path, index_lists, found):
        assert found["number"] == 5
        means = [self._read(path, indices) for indices in index_lists]
        return [np.stack([mean, mean - found["first"]], axis=1) for mean in means]

    def _read(self, path, indices):
        return self.gain * read_segments(path, [indices])[0].mean((1, 2)).astype(np.float32)


def test_clips_of_numbers_are_features_already(segments, tmp_path):
    shown = dataclasses.replace(SHOWN, reader=Brightness())
    source = ClipSource(segments, shown)
    for cache in (None, tmp_path, tmp_path):
        features = built(None, segments, cache, shown=shown)
        assert features.load(9).shape == (4, 2)
        assert torch.equal(features.load(9), source.load(9).half().float())
    backbone = MeansBackbone()
    assert same(built(backbone, segments, shown=shown), features) and not backbone.seen
    with pytest.raises(AssertionError, match="images need a backbone"):
        built(None, segments)


def test_a_file_is_looked_at_once(segments, tmp_path):
    paths = [segment.video.path for segment in segments]
    first, second = Brightness(), Brightness()
    found = look_at(first, paths, cache_dir=tmp_path, progress=False)
    again = look_at(second, paths, cache_dir=tmp_path, progress=False)
    assert list(found) == list(again) == list(dict.fromkeys(paths))
    assert len(first.looked) == len(set(first.looked)) == 18 and second.looked == []
    for path, arrays in found.items():
        assert arrays.keys() == again[path].keys() == {"first", "number"}
        assert all(np.array_equal(arrays[name], again[path][name]) for name in arrays)
    shown = dataclasses.replace(SHOWN, reader=second)
    built(None, segments, tmp_path, shown=shown)
    assert second.looked == [], "build_features uses what was found"
    other = Brightness(gain=2.0)
    look_at(other, paths, cache_dir=tmp_path, progress=False)
    assert len(other.looked) == 18, "other settings find other things"
    os.utime(paths[0])
    look_at(second, paths, cache_dir=tmp_path, progress=False)
    assert second.looked == [paths[0]], "a changed file is another file"


def test_what_was_found_is_kept_by_build_features_and_checked(segments, tmp_path):
    reader = Brightness()
    shown = dataclasses.replace(SHOWN, reader=reader)
    built(None, segments, tmp_path, shown=shown)
    assert len(reader.looked) == 18
    kept = sorted(tmp_path.glob("look-*/*/*.npz"))
    assert len(kept) == 18
    kept[3].write_bytes(kept[3].read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged"):
        look_at(reader, [s.video.path for s in segments], cache_dir=tmp_path, progress=False)
    assert len(reader.looked) == 19


def test_a_reader_that_need_not_look_costs_nothing(segments, tmp_path):
    paths = [segment.video.path for segment in segments]
    assert look_at(GreyFrames(), paths, cache_dir=tmp_path, progress=False) == {}
    assert not list(tmp_path.iterdir())


def test_a_look_that_fails_is_a_file_that_fails(damaged, tmp_path):
    class Blind(Brightness):
        def look(self, path, fps=None):
            if "running" in path.name:
                raise VideoError(f"{path}: nobody is there")
            return super().look(path)

    shown = dataclasses.replace(SHOWN, reader=Blind())
    with pytest.raises(VideoError, match="nobody is there"):
        look_at(Blind(), [s.video.path for s in damaged], cache_dir=None, progress=False)
    with pytest.warns(UserWarning, match="2 of 4 segments are left out: .*nobody is there"):
        features = built(None, damaged, tmp_path / "cache", shown=shown, skip_errors=True)
    assert features.readable() == [0, 1]


def test_no_segments_is_an_error():
    with pytest.raises(ValueError, match="no segments to compute features of"):
        built(MeansBackbone(), [])


def test_the_real_backbone_is_folded_and_left_as_it_was(segments):
    backbone = EfficientNetBackbone(frozen=False)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    features = built(backbone, segments[:2])
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert backbone.features[3].training and all(
        weight.requires_grad for weight in backbone.parameters()
    )
    source = ClipSource(segments, SHOWN)
    direct = backbone.eval()(source.load(1))
    assert nn.functional.cosine_similarity(features.load(1), direct).mean() >= 0.999
    exact = Encoder(backbone, dtype=torch.float32)(source.load(1))
    assert np.allclose(exact, direct.detach(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_half_precision_agrees_with_single(segments, dtype):
    backbone = EfficientNetBackbone()
    source = ClipSource(segments, Preprocessing(Uniform(2), ClipTransform(size=(48, 64))))
    images = torch.cat([source.load(index) for index in range(0, 36, 4)])
    encoder = Encoder(backbone, dtype=dtype)
    found, wanted = torch.from_numpy(encoder(images)), backbone(images)
    assert found.dtype == torch.float32 and encoder.dtype == dtype
    assert nn.functional.cosine_similarity(found, wanted).mean() >= 0.999


def test_many_batches_side_by_side_are_those_one_after_another():
    images = torch.rand(40, 1, 24, 32)
    encoder = Encoder(EfficientNetBackbone(weights=None), batch_size=6, dtype=torch.float32)
    encoder.workers = 3
    assert np.allclose(encoder.encode(images), encoder(images), atol=1e-4)
    assert encoder.encode(images[:3]).shape == (3, 1280)


def test_a_batch_holds_about_as_many_pixels_whatever_their_size():
    encoder = Encoder(MeansBackbone())
    sizes = ((24, 32), (96, 128), (112, 149), (224, 299), (480, 640))
    assert [encoder.batch_of(*size) for size in sizes] == [32, 16, 11, 4, 4]
    assert Encoder(MeansBackbone(), batch_size=7).batch_of(96, 128) == 7
