"""The feature cache: the same numbers as without it, and nothing lost to kills, cuts and full
disks."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data.kth import Segment, find_segments
from data.video import VideoError
from models.backbone import EfficientNetBackbone
from tests.stand_ins import HOW, MeansBackbone, same
from utils import features as features_module
from utils import store as store_module
from utils.data_setup import ClipSource, ClipTransform, Jittered, Uniform, VideoDataset
from utils.features import Encoder, build_features, side_by_side
from utils.store import FeatureStore


@pytest.fixture(scope="module")
def segments(tiny_kth):
    return find_segments(tiny_kth)


def test_motion_as_colour_is_encoded_as_it_is_shown(segments):
    """Features of threes of neighbouring frames: those of the very clips that a ClipSource
    reads."""
    how = {"sampler": Uniform(3), "transform": ClipTransform(size=(8, 8), channels=3, gap=2)}
    store = build_features(Channels(), segments[:4], cache_dir=None, progress=False, **how)
    source = ClipSource(segments[:4], **how)
    for index in range(4):
        clip = source.load(index)  # (T, 3, H, W)
        assert torch.allclose(store.load(index), clip.mean((2, 3)), atol=1e-3)
    assert store.load(0).shape == (3, 3)


class Channels(nn.Module):
    """Features (N, 3): how bright each channel is."""

    feature_dim = 3

    def fingerprint(self):
        return "channels"

    def forward(self, pictures):
        return pictures.mean((2, 3))


@pytest.fixture(scope="module")
def expected(segments):
    return build_features(MeansBackbone(), segments, cache_dir=None, **HOW)


def test_features_are_those_of_the_clips(segments, expected):
    source = ClipSource(segments, sampler=HOW["sampler"], transform=HOW["transform"])
    for index in (0, 7, len(segments) - 1):
        direct = MeansBackbone()(source.load(index))
        assert torch.allclose(expected.load(index), direct, atol=1e-3)
    assert expected.features.dtype == np.float16 and expected.features.shape == (36, 4, 8)
    assert expected.load(0).dtype == torch.float32


def test_the_second_time_nothing_is_computed(segments, expected, tmp_path):
    first, second = MeansBackbone(), MeansBackbone()
    assert same(build_features(first, segments, cache_dir=tmp_path, **HOW), expected)
    assert same(build_features(second, segments, cache_dir=tmp_path, **HOW), expected)
    assert sum(first.seen) == 36 * 4 and second.seen == []
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [
        ".items",
        ".json",
        ".lock",
        ".npy",
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_the_batch_size_changes_nothing(segments, expected, batch_size):
    eye = MeansBackbone()
    assert same(
        build_features(eye, segments, cache_dir=None, batch_size=batch_size, **HOW), expected
    )
    assert max(eye.seen) <= batch_size


def test_each_file_is_read_once(segments, tmp_path, monkeypatch):
    read = []
    real = features_module.read_segments
    monkeypatch.setattr(
        features_module, "read_segments", lambda path, lists: read.append(path) or real(path, lists)
    )
    build_features(MeansBackbone(), segments, cache_dir=tmp_path, **HOW)
    assert len(read) == len(set(read)) == 18


@pytest.mark.parametrize(
    "change", ["weights", "sampler", "transform", "mirrored", "segments", "ranges", "file"]
)
def test_whatever_the_numbers_depend_on_makes_a_new_cache(make_kth, tmp_path, change):
    root = make_kth(tmp_path / "kth", persons=(11,), actions=("boxing", "running"))
    found, how, eye = find_segments(root), dict(HOW), MeansBackbone()
    build_features(eye, found, cache_dir=tmp_path / "cache", **how)
    if change == "weights":
        eye = MeansBackbone(tint=0.25)
    elif change == "sampler":
        how["sampler"] = Uniform(frames=5)
    elif change == "transform":
        how["transform"] = ClipTransform(size=(24, 32), pool="mean")
    elif change == "mirrored":
        how["mirrored"] = True
    elif change == "segments":
        found = found[1:]
    elif change == "ranges":
        found = [
            Segment(found[0].video, found[0].index, found[0].start + 1, found[0].stop),
            *found[1:],
        ]
    else:
        os.utime(found[0].video.path, ns=(1, 1))
    again = build_features(eye, found, cache_dir=tmp_path / "cache", **how)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    assert same(again, build_features(eye, found, cache_dir=None, **how))


def test_a_killed_run_goes_on_where_it_stopped(segments, expected, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_features(
            MeansBackbone(stop_after=60), segments, cache_dir=tmp_path, batch_size=8, **HOW
        )
    rest = MeansBackbone()
    assert same(build_features(rest, segments, cache_dir=tmp_path, batch_size=8, **HOW), expected)
    assert 0 < sum(rest.seen) <= 36 * 4 - 60 + 4 * 8
    assert not list(tmp_path.glob("*.partial"))


def test_a_program_that_dies_at_once_loses_only_its_last_rounds(
    tiny_kth, segments, expected, tmp_path
):
    program = textwrap.dedent("""
        import os, sys
        sys.path[:0] = ["."]
        from tests.stand_ins import HOW, MeansBackbone
        from utils.features import build_features
        from data.kth import find_segments
        class Fatal(MeansBackbone):
            def forward(self, pictures):
                if sum(self.seen) >= 40:
                    os._exit(9)
                return super().forward(pictures)
        build_features(Fatal(), find_segments(sys.argv[1]), cache_dir=sys.argv[2], batch_size=8, **HOW)
    """)
    home = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny_kth), str(tmp_path)], cwd=home, timeout=120
    )
    assert done.returncode == 9 and list(tmp_path.glob("*.partial"))
    rest = MeansBackbone()
    assert same(build_features(rest, segments, cache_dir=tmp_path, batch_size=8, **HOW), expected)
    assert 36 * 4 - 40 <= sum(rest.seen) <= 36 * 4 - 40 + 4 * 8


@pytest.mark.parametrize(
    ("damage", "remade"),
    [
        ("cut", 18),
        ("empty", 36),
        ("flipped byte", 1),
        ("no record", 36),
        ("broken record", 36),
        ("no journal", 36),
        ("cut journal", 18),
        ("other header", 36),
    ],
)
def test_a_damaged_cache_is_noticed_and_what_is_damaged_is_made_anew(
    segments, expected, tmp_path, damage, remade
):
    build_features(MeansBackbone(), segments, cache_dir=tmp_path, **HOW)
    cache, record, journal = (next(tmp_path.glob(f"*.{end}")) for end in ("npy", "json", "items"))
    content = bytearray(cache.read_bytes())
    if damage == "cut":
        cache.write_bytes(content[: len(content) - 36 * 4 * 8 * 2 // 2])
    elif damage == "empty":
        cache.write_bytes(b"")
    elif damage == "flipped byte":
        content[-9] ^= 1
        cache.write_bytes(content)
    elif damage == "other header":
        cache.write_bytes(b"?" + content[1:])
    elif damage == "no record":
        record.unlink()
    elif damage == "broken record":
        record.write_text('{"lengths": [4')
    elif damage == "no journal":
        journal.unlink()
    else:
        journal.write_bytes(journal.read_bytes()[: 18 * 12 + 5])
    eye = MeansBackbone()
    with pytest.warns(
        UserWarning, match=rf"is damaged \(cut off or changed\): {remade} of 36 items are made anew"
    ):
        assert same(build_features(eye, segments, cache_dir=tmp_path, **HOW), expected)
    assert sum(eye.seen) == remade * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(
            build_features(MeansBackbone(stop_after=0), segments, cache_dir=tmp_path, **HOW),
            expected,
        )


@pytest.mark.parametrize(
    "damage", ["cut", "no record", "other record", "flipped byte", "no journal"]
)
def test_what_is_damaged_of_an_unfinished_cache_is_made_anew(segments, expected, tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        build_features(
            MeansBackbone(stop_after=60), segments, cache_dir=tmp_path, batch_size=8, **HOW
        )
    partial, record, journal = (
        next(tmp_path.glob(f"*.{end}")) for end in ("partial", "json", "items")
    )
    done, lost = journal.stat().st_size // 12, 1
    if damage == "cut":
        partial.write_bytes(partial.read_bytes()[:128])  # the header alone
        lost = done
    elif damage == "flipped byte":
        content = bytearray(partial.read_bytes())
        content[128] ^= 1
        partial.write_bytes(content)
    elif damage == "no record":
        record.unlink()
        lost = done
    elif damage == "no journal":
        journal.unlink()
        lost = done
    else:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"backbone": "another"}))
        lost = done
    eye = MeansBackbone()
    assert same(build_features(eye, segments, cache_dir=tmp_path, **HOW), expected)
    assert sum(eye.seen) == (36 - done + lost) * 4 and done > 5


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_falls_back_to_memory(segments, expected, tmp_path, monkeypatch, code):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.warns(UserWarning, match="cannot be written"):
        store = build_features(MeansBackbone(), segments, cache_dir=tmp_path / "cache", **HOW)
    assert same(store, expected) and not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_falls_back_to_memory(segments, expected, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be written"):
        assert same(
            build_features(MeansBackbone(), segments, cache_dir=tmp_path / "cache", **HOW), expected
        )


def test_a_finished_cache_is_read_from_a_read_only_folder(
    segments, expected, tmp_path, monkeypatch
):
    build_features(MeansBackbone(), segments, cache_dir=tmp_path, **HOW)

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "read-only")

    for name in ("mkdir", "write_bytes", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(store_module.FileLock, "acquire", refuse)
    assert same(
        build_features(MeansBackbone(stop_after=0), segments, cache_dir=tmp_path, **HOW), expected
    )


def test_too_little_space_is_said_before_the_work(segments, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1000, 999, 1))
    eye = MeansBackbone()
    with pytest.raises(OSError, match="free space there or choose another cache folder") as caught:
        build_features(eye, segments, cache_dir=tmp_path, **HOW)
    assert caught.value.errno == errno.ENOSPC and eye.seen == []


def test_a_disk_that_fills_up_keeps_what_was_finished(segments, expected, tmp_path, monkeypatch):
    real, writes = store_module._write_all, []

    def full_after_twenty(file, content):
        writes.append(len(content))
        if len(writes) > 21:  # the header, then an item and its record each time
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, content)

    monkeypatch.setattr(store_module, "_write_all", full_after_twenty)
    with pytest.raises(
        OSError, match=r"No space left on device.*HAR_CACHE\); what was finished stays"
    ) as caught:
        build_features(MeansBackbone(), segments, cache_dir=tmp_path, batch_size=8, **HOW)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    rest = MeansBackbone()
    assert same(build_features(rest, segments, cache_dir=tmp_path, batch_size=8, **HOW), expected)
    assert sum(rest.seen) == (36 - 10) * 4


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="only Linux has a disk that is always full"
)
def test_a_write_that_takes_only_a_part_is_asked_again():
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError) as caught:
        store_module._write_all(file, b"x")
    assert caught.value.errno == errno.ENOSPC

    class Slow(io.BytesIO):
        def write(self, content):
            return super().write(bytes(content)[:3])

    file = Slow()
    store_module._write_all(file, b"0123456789")
    assert file.getvalue() == b"0123456789"


BUILD = """
    import sys
    sys.path[:0] = ["."]
    from tests.stand_ins import HOW, MeansBackbone
    from utils.features import build_features
    from data.kth import find_segments
    eye = MeansBackbone(pause=0.02)
    store = build_features(eye, find_segments(sys.argv[1]), cache_dir=sys.argv[2], batch_size=4, **HOW)
    print(sum(eye.seen), int(store.lengths.sum()), zlib.crc32(store.features.tobytes()))
"""


class Watched(np.ndarray):
    """An array that counts how many of its elements are looked at or changed."""

    seen = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **how):
        Watched.seen += self.size
        return getattr(ufunc, method)(*(np.asarray(value) for value in inputs), **how)

    def __array_function__(self, function, types, args, kwargs):
        Watched.seen += self.size
        return function(*(np.asarray(a) if a is self else a for a in args), **kwargs)

    def __getitem__(self, place):
        found = np.asarray(self)[place]
        Watched.seen += np.size(found)
        return found

    def __setitem__(self, place, value):
        Watched.seen += np.size(np.asarray(self)[place])
        np.asarray(self)[place] = value


def test_the_work_of_keeping_grows_with_the_items_not_their_square(tmp_path):
    seen = {}
    for items in (50, 100):
        with store_module.Disk(tmp_path / str(items), (items, 1, 2, 3), {"of": "zeros"}) as disk:
            disk.open()
            disk.lengths, Watched.seen = disk.lengths.view(Watched), 0
            for index in range(items):
                assert not disk.path.exists()
                disk.write(index, np.zeros((1, 2, 3)))
                disk.write(
                    0, np.zeros((1, 2, 3))
                ) if index == items // 2 else None  # once more does not count twice
            seen[items] = Watched.seen
            assert disk.path.is_file()
    assert 0 < seen[100] <= 2 * seen[50]


def test_of_two_programs_at_once_one_works_and_both_have_the_result(
    tiny_kth, segments, expected, tmp_path
):
    home, program = Path(__file__).parents[2], "import zlib\n" + textwrap.dedent(BUILD)
    command = [sys.executable, "-c", program, str(tiny_kth), str(tmp_path)]
    both = [
        subprocess.Popen(
            command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    worked = sorted(int(out.split()[0]) for out, _ in said)
    assert worked == [0, 36 * 4], said
    assert len({tuple(out.split()[1:]) for out, _ in said}) == 1
    assert same(
        build_features(MeansBackbone(stop_after=0), segments, cache_dir=tmp_path, **HOW), expected
    )


def test_the_second_program_says_that_it_waits_and_goes_on_when_the_first_gives_up(
    segments, expected, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        build_features(
            MeansBackbone(stop_after=60), segments, cache_dir=tmp_path, batch_size=8, **HOW
        )
    held = threading.Event()

    def first():
        with store_module.FileLock(next(tmp_path.glob("*.lock"))):
            held.set()
            time.sleep(0.3)

    threading.Thread(target=first).start()
    held.wait()
    with pytest.warns(UserWarning, match="another program is computing the same features"):
        assert same(build_features(MeansBackbone(), segments, cache_dir=tmp_path, **HOW), expected)


def test_the_features_are_mapped_not_loaded(segments, tmp_path):
    store = build_features(MeansBackbone(), segments, cache_dir=tmp_path, **HOW)
    assert isinstance(store.features.base, np.memmap) and not store.features.flags.writeable
    assert store.load(0).sum() > 0


def test_the_size_is_said_before_the_work(segments, tmp_path, capsys):
    build_features(
        MeansBackbone(), segments, cache_dir=tmp_path, mirrored=True, **(HOW | {"progress": True})
    )
    said = capsys.readouterr().out + capsys.readouterr().err
    assert f"features of 36 segments, 144 frames, also mirrored: 0 MB in {tmp_path}" in said


def test_the_cache_folder_may_come_from_the_environment():
    done = subprocess.run(
        [sys.executable, "-c", "from utils.store import CACHE; print(CACHE)"],
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        env={**os.environ, "HAR_CACHE": "x"},
    )
    assert done.stdout.strip() == "x"
    assert Path(os.environ.get("HAR_CACHE") or "Data/cache") == store_module.CACHE


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


def test_short_segments_are_padded_and_remember_their_length(segments, tmp_path):
    short = [Segment(segments[0].video, 0, 0, 2), segments[1]]
    for cache in (None, tmp_path, tmp_path):
        store = build_features(MeansBackbone(), short, cache_dir=cache, **HOW)
        assert (
            store.lengths.tolist() == [2, 4]
            and store.load(0).shape == (2, 8)
            and store.load(1).shape == (4, 8)
        )


def test_the_ghost_has_one_step(segments, tmp_path):
    how = HOW | {"transform": ClipTransform(size=(24, 32), pool="mean")}
    assert build_features(MeansBackbone(), segments, cache_dir=tmp_path, **how).features.shape == (
        36,
        1,
        8,
    )


def test_a_random_sampler_draws_the_same_frames_again(segments):
    how = HOW | {"sampler": Jittered(frames=4)}
    one, two = (
        build_features(MeansBackbone(), part, cache_dir=None, **how)
        for part in (segments, segments[5:])
    )
    assert np.array_equal(one.features[5:], two.features)


def test_mirrored_features_are_those_of_the_mirrored_clip(segments, tmp_path):
    for _ in range(2):
        store = build_features(MeansBackbone(), segments, cache_dir=tmp_path, mirrored=True, **HOW)
        assert np.allclose(store.mirrored[:, :, :4], store.features[:, :, 3::-1], atol=1e-3)
        assert np.allclose(store.mirrored[:, :, 4:], store.features[:, :, 4:], atol=1e-3)
    plain, mirror = (
        torch.from_numpy(part[0].astype(np.float32)) for part in (store.features, store.mirrored)
    )
    drawn = [store.load(0, np.random.default_rng(seed)) for seed in range(40)]
    share = sum(torch.equal(one, mirror) for one in drawn) / 40
    assert (
        all(torch.equal(one, plain) or torch.equal(one, mirror) for one in drawn)
        and 0.2 < share < 0.8
    )
    assert torch.equal(store.load(0), plain)


@pytest.fixture
def damaged(make_kth, tmp_path):
    """Four segments in two files, one of which turns out shorter than its annotation."""
    root = make_kth(tmp_path / "kth", persons=(11,), actions=("boxing", "running"))
    found = find_segments(root)
    return [*found[:3], Segment(found[3].video, 1, 12, 60)]


def test_a_file_that_fails_stops_the_run_and_keeps_the_rest(damaged, tmp_path):
    with pytest.raises(VideoError, match=r"person11_running_d1\.avi ends early"):
        build_features(MeansBackbone(), damaged, cache_dir=tmp_path / "cache", batch_size=1, **HOW)
    rest = MeansBackbone()
    with pytest.raises(VideoError):
        build_features(rest, damaged, cache_dir=tmp_path / "cache", batch_size=1, **HOW)
    assert rest.seen == []


def test_files_that_fail_can_be_left_out(damaged, tmp_path):
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        with pytest.warns(
            UserWarning,
            match=r"1 of 4 segments are left out: .*person11_running_d1\.avi ends early",
        ):
            store = build_features(
                MeansBackbone(), damaged, cache_dir=cache, skip_errors=True, **HOW
            )
        assert store.readable() == [0, 1, 2] and list(store.failed) == [3]
        with pytest.raises(VideoError, match="item 3 has no features: .*ends early"):
            store.load(3)
    kept = store.subset(store.readable())
    assert (
        len(VideoDataset([damaged[index] for index in store.readable()], kept)) == 3
        and not kept.failed
    )
    assert store.subset([3, 0]).failed.keys() == {0}


def test_a_subset_keeps_the_order_asked_for(expected):
    part = expected.subset([8, 2])
    assert len(part) == 2
    assert torch.equal(part.load(0), expected.load(8)) and torch.equal(
        part.load(1), expected.load(2)
    )


def test_stores_of_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected \(N, T, D\) and \(N,\)"):
        FeatureStore(np.zeros((2, 3, 4)), np.array([3]))
    with pytest.raises(ValueError, match="none longer than T"):
        FeatureStore(np.zeros((2, 3, 4)), np.array([3, 4]))
    with pytest.raises(ValueError, match="mirrored features have shape"):
        FeatureStore(np.zeros((2, 3, 4)), np.array([3, 3]), np.zeros((2, 2, 4)))


def test_no_segments_is_an_error():
    with pytest.raises(ValueError, match="no segments to compute features of"):
        build_features(MeansBackbone(), [], cache_dir=None, **HOW)


def test_the_real_backbone_is_folded_and_left_as_it_was(segments):
    backbone = EfficientNetBackbone(frozen=False)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    store = build_features(backbone, segments[:2], cache_dir=None, **HOW)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert backbone.features[3].training and all(
        weight.requires_grad for weight in backbone.parameters()
    )
    source = ClipSource(segments, sampler=HOW["sampler"], transform=HOW["transform"])
    direct = backbone.eval()(source.load(1))
    assert nn.functional.cosine_similarity(store.load(1), direct).mean() >= 0.999
    exact = Encoder(backbone, dtype=torch.float32)(source.load(1))
    assert np.allclose(exact, direct.detach(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_half_precision_agrees_with_single(segments, dtype):
    backbone = EfficientNetBackbone()
    source = ClipSource(segments, sampler=Uniform(2), transform=ClipTransform(size=(48, 64)))
    pictures = torch.cat([source.load(index) for index in range(0, 36, 4)])
    encoder = Encoder(backbone, dtype=dtype)
    found, wanted = torch.from_numpy(encoder(pictures)), backbone(pictures)
    assert found.dtype == torch.float32 and encoder.dtype == dtype
    assert nn.functional.cosine_similarity(found, wanted).mean() >= 0.999


def test_many_batches_side_by_side_are_those_one_after_another():
    pictures = torch.rand(40, 1, 24, 32)
    encoder = Encoder(EfficientNetBackbone(weights=None), batch_size=6, dtype=torch.float32)
    encoder.workers = 3
    assert np.allclose(encoder.encode(pictures), encoder(pictures), atol=1e-4)
    assert encoder.encode(pictures[:3]).shape == (3, 1280)


def test_a_batch_holds_about_as_many_pixels_whatever_their_size():
    encoder = Encoder(MeansBackbone())
    sizes = ((24, 32), (96, 128), (112, 149), (224, 299), (480, 640))
    assert [encoder.batch_of(*size) for size in sizes] == [32, 16, 11, 4, 4]
    assert Encoder(MeansBackbone(), batch_size=7).batch_of(96, 128) == 7
