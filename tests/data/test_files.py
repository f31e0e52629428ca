"""Files that are there whole or not at all, and where they lie."""

import os
import sys
import time
from pathlib import Path

import pytest

from data.files import (
    DEFAULT,
    LEFT_S,
    SAMPLE,
    cache_folder,
    drop_partials,
    home,
    place,
    printable,
    read_csv,
    read_json,
    sampled,
    sweep,
    write_csv,
    write_json,
    write_text,
    written_whole,
)


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "film.avi"
    with written_whole(path) as partial:
        assert partial.parent == path.parent and partial.suffix == ".avi"
        assert partial.name.startswith(".") and str(os.getpid()) in partial.name
        partial.write_bytes(b"frames")
        assert not path.exists()
    assert path.read_bytes() == b"frames" and list(path.parent.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Threads have one process number, and so may processes of two machines."""
    path = tmp_path / "a.txt"
    with written_whole(path) as one, written_whole(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_a_file_system_takes_is_written(tmp_path):
    path = tmp_path / f"{'ä' * 125}.json"
    write_json(path, 1)
    assert read_json(path) == 1


def test_a_name_that_is_no_text_is_kept_in_utf_8(tmp_path):
    """Linux takes any bytes as a name; Python has them as text that UTF-8 does not."""
    name = os.fsdecode(b"\xd0\xb1\xff.avi") if sys.platform == "linux" else "б\udcff.avi"
    assert printable(name) == "б\\udcff.avi" and printable("бокс.avi") == "бокс.avi"
    write_text(tmp_path / "a.html", name)
    write_csv(tmp_path / "a.csv", [{"file": name}], ["file"])
    write_json(tmp_path / "a.json", name)
    assert (tmp_path / "a.html").read_bytes() == b"\xd0\xb1\\udcff.avi"
    assert read_csv(tmp_path / "a.csv") == [{"file": "б\\udcff.avi"}]
    assert read_json(tmp_path / "a.json") == name


def test_what_is_half_written_can_be_dropped_before_an_end_at_once(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        drop_partials()
        assert not list(tmp_path.iterdir())


def test_what_killed_writers_left_goes_and_what_is_being_written_stays(tmp_path):
    with written_whole(tmp_path / "running" / "a.avi") as new:
        new.write_text("half")
        old = new.with_name(".b.7-cafe.part.avi")
        old.write_text("half")
        os.utime(old, (0, time.time() - LEFT_S - 1))
        sweep(tmp_path)
        assert list(new.parent.iterdir()) == [new]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), written_whole(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_disk_that_refuses_the_last_step_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, 1)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        write_json(path, 2)
    assert read_json(path) == 1 and list(tmp_path.iterdir()) == [path]


def test_text_has_the_same_bytes_on_every_system(tmp_path):
    write_text(tmp_path / "a", "ä\n±\n")
    assert (tmp_path / "a").read_bytes() == "ä\n±\n".encode()


def test_json_is_readable_by_people_and_read_back(tmp_path):
    value = {"a": [1, None, 0.1], "b": {"c": "ä"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert (tmp_path / "a.json").read_text().startswith('{\n  "a": [\n    1,')


def test_json_that_is_nested_without_end_is_damaged(tmp_path):
    (tmp_path / "a.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match=r"a\.json is damaged, or no JSON"):
        read_json(tmp_path / "a.json")


def test_rows_are_read_back_as_text(tmp_path):
    path = tmp_path / "a.csv"
    rows = [{"a": 1, "b": 'x, "y"', "c": "left out"}, {"b": "two\nlines", "a": 0.1}, {"a": None}]
    write_csv(path, iter(rows), ["a", "b"])
    assert read_csv(path) == [
        {"a": "1", "b": 'x, "y"'},
        {"a": "0.1", "b": "two\nlines"},
        {"a": "", "b": ""},
    ]
    assert path.read_bytes().startswith(b'a,b\n1,"x, ""y"""\n')


def test_no_rows_are_a_header_and_no_file_is_no_rows(tmp_path):
    assert read_csv(tmp_path / "a.csv") == []
    write_csv(tmp_path / "a.csv", [], ["a", "b"])
    assert (tmp_path / "a.csv").read_text() == "a,b\n" and read_csv(tmp_path / "a.csv") == []


def test_defaults_lie_here_or_where_the_environment_says(tmp_path, monkeypatch):
    for name in ("HAR_HOME", "HAR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert home("runs") == Path("runs") and cache_folder() == Path("Data/cache")
    monkeypatch.setenv("HAR_HOME", str(tmp_path))
    assert home("runs") == tmp_path / "runs" and cache_folder() == tmp_path / "Data" / "cache"
    monkeypatch.setenv("HAR_CACHE", str(tmp_path / "elsewhere"))
    assert cache_folder() == tmp_path / "elsewhere" and home("Data") == tmp_path / "Data"


def test_a_tilde_is_ones_home_where_no_shell_expands_it(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("HAR_HOME", "~/har")
    monkeypatch.setenv("HAR_CACHE", "~/fast disk")
    assert home("runs") == tmp_path / "har" / "runs" and cache_folder() == tmp_path / "fast disk"
    assert place("~/mine", "runs") == tmp_path / "mine"


def test_a_folder_is_the_chosen_one_the_usual_one_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HAR_HOME", str(tmp_path))
    monkeypatch.setenv("HAR_CACHE", "fast disk")
    assert place(None, "runs") is None and place("mine", "runs") == Path("mine")
    assert place(DEFAULT, "runs") == tmp_path / "runs"
    assert place(DEFAULT, "cache") == Path("fast disk")


@pytest.mark.parametrize("size", [0, 1, 2 * SAMPLE + 7, 5 * SAMPLE])
def test_size_head_middle_and_tail_tell_files_apart(tmp_path, size):
    path = tmp_path / "film"
    path.write_bytes(bytes(size))
    first = sampled(path)
    os.utime(path, ns=(1, 1))
    assert sampled(path) == first and first[0] == size
    path.write_bytes(bytes(size + 1))
    assert sampled(path) != first
    for place_of_change in {0, size // 2, size - 1} & set(range(size)):
        content = bytearray(size)
        content[place_of_change] = 1
        path.write_bytes(content)
        assert sampled(path) != first
    assert sampled(tmp_path / "nowhere") is None and sampled(tmp_path) is None
