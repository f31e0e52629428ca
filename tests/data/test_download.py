"""Fetching KTH end to end from a server on this machine: small zips, tiny videos, every way a
transfer goes wrong."""

import contextlib
import errno
import hashlib
import http.server
import io
import re
import shutil
import socket
import struct
import threading
import zipfile
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data import download, kth, pace

ANNOTATED = {
    "person01_boxing_d1": ((0, 5), (5, 9)),
    "person02_boxing_d1": ((0, 9),),
    "person11_walking_d4": ((2, 8),),
}
FRAMES = 9


@dataclass
class Site:
    """What the server holds and how it misbehaves; requests is a log of (name, Range header)."""

    files: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    ranges: bool = True  # whether it answers Range
    lengths: bool = True  # whether it announces Content-Length
    cut_after: list = field(
        default_factory=list
    )  # bytes after which to hang up, one entry a request
    codes: list = field(default_factory=list)  # error codes to answer first, one entry a request
    stalls: list = field(
        default_factory=list
    )  # seconds of silence before the content, one entry a request
    url: str = ""

    def asked(self, name):
        return [wanted for asked, wanted in self.requests if asked == name]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        site, name, wanted = (
            self.server.site,
            self.path.rsplit("/", 1)[-1],
            self.headers.get("Range"),
        )
        site.requests.append((name, wanted))
        if site.codes:
            return self.send_error(site.codes.pop(0))
        if name not in site.files:
            return self.send_error(404)
        content, start = site.files[name], 0
        if wanted and site.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if wanted and site.ranges else 200)
        if wanted and site.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        threading.Event().wait(site.stalls.pop(0) if site.stalls else 0)
        cut = site.cut_after.pop(0) if site.cut_after else None
        with contextlib.suppress(ConnectionError):  # the other side may have lost patience
            self.wfile.write(content[start:][:cut])
        return None


@pytest.fixture(scope="session")
def clip(write_video):
    """A function (path, frames=count) that writes a tiny video and returns its path."""
    return lambda path, frames: write_video(path, np.full((frames, 24, 32), 80, np.uint8))


@pytest.fixture(scope="session")
def archives_and_zips(tmp_path_factory, clip):
    """Two archives with real videos, and the zips' bytes by name."""
    folder, archives, zips = tmp_path_factory.mktemp("members"), [], {}
    for action in ("boxing", "walking"):
        members = tuple(f"{name}_uncomp.avi" for name in ANNOTATED if f"_{action}_" in name)
        content = {member: clip(folder / member, frames=FRAMES).read_bytes() for member in members}
        zips[f"{action}.zip"] = zipped({**content, "Thumbs.db": b"nobody asked for this"})
        archives.append(download.Archive(f"{action}.zip", sha1(zips[f"{action}.zip"]), members, 1))
    return tuple(archives), zips


@pytest.fixture
def archives(archives_and_zips):
    return archives_and_zips[0]


@pytest.fixture
def site(archives_and_zips, monkeypatch):
    monkeypatch.setattr(download, "PAUSE_S", 0)
    monkeypatch.setattr(download, "ENOUGH", 1)  # what is small here arrives in small parts
    with serving(Site(files=dict(archives_and_zips[1]))) as running:
        yield running


@contextlib.contextmanager
def serving(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site, site.url = site, f"http://127.0.0.1:{server.server_port}/cvap/actions"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def sha1(content):
    return hashlib.sha1(content).hexdigest()


def fetch(site, root, archives, **options):
    options = {"url": site.url, "progress": False, "annotations": ANNOTATED, **options}
    return download.fetch_kth(root, archives=archives, **options)


def tree(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


WHOLE = [
    "test/boxing/person02_boxing_d1_uncomp.avi",
    "train/boxing/person01_boxing_d1_uncomp.avi",
    "train/walking/person11_walking_d4_uncomp.avi",
]


# the official set, as data


def test_archives_name_every_published_file():
    names = [
        kth.parse_name(member).name for archive in download.ARCHIVES for member in archive.members
    ]
    assert sorted(names) == sorted(kth.load_segments())
    assert {a.name: len(a.members) for a in download.ARCHIVES} == {
        f"{action}.zip": 99 if action == "handclapping" else 100 for action in kth.ACTIONS
    }
    assert len({archive.sha1 for archive in download.ARCHIVES}) == 6
    assert all(re.fullmatch("[0-9a-f]{40}", archive.sha1) for archive in download.ARCHIVES)


# a fetch that goes well


def test_fetch_unpacks_into_the_official_layout(site, tmp_path, archives, capsys):
    root = tmp_path / "KTH"
    summary = fetch(site, root, archives)
    assert summary.ok
    assert tree(root) == WHOLE  # no zip, no Thumbs.db, no leftover
    assert [video.name for video in kth.find_videos(root)] == [
        "person02_boxing_d1",
        "person01_boxing_d1",
        "person11_walking_d4",
    ]
    printed = capsys.readouterr().out
    assert re.search(r"boxing +2 +2 +3 +18 +18 +0\n", printed)
    assert re.search(r"walking +1 +1 +1 +9 +8 +0\n", printed)
    assert re.search(r"total +3 +3 +4 +27 +26 +0\n", printed)
    assert re.search(r" expected +files +segments +frames +annotated to +short\n", printed)
    assert "non-commercial" in printed
    assert "ICPR 2004" in printed


def test_second_run_downloads_nothing_and_says_so(site, tmp_path, archives, capsys):
    fetch(site, tmp_path, archives)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.avi")}
    site.requests.clear()
    capsys.readouterr()
    assert fetch(site, tmp_path, archives).ok
    assert site.requests == []
    assert "all 3 videos are there already, no zip is downloaded" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.avi")}


def test_only_what_is_absent_is_fetched(site, tmp_path, archives):
    fetch(site, tmp_path, archives)
    (tmp_path / WHOLE[2]).unlink()
    (tmp_path / WHOLE[1]).write_bytes(b"")
    site.requests.clear()
    site.files.pop("boxing.zip")
    with pytest.raises(download.DownloadError, match=r"boxing\.zip: the server answers 404"):
        fetch(site, tmp_path, archives)
    assert fetch(site, tmp_path, archives[1:], annotations=ANNOTATED).ok
    assert [name for name, _ in site.requests] == ["boxing.zip", "walking.zip"]


@pytest.mark.parametrize("lengths", [True, False])
def test_progress_is_shown_with_and_without_a_length(site, tmp_path, archives, capsys, lengths):
    site.lengths = lengths
    assert fetch(site, tmp_path, archives, progress=True).ok
    shown = capsys.readouterr().err
    assert "boxing.zip" in shown
    assert "B/s" in shown or "B [" in shown
    assert ("%" in shown.split("unpacking")[0]) == lengths


# transfers that break


def test_cut_transfer_is_resumed_where_it_broke(site, tmp_path, archives):
    site.cut_after = [700, 400]
    assert fetch(site, tmp_path, archives).ok
    assert site.asked("boxing.zip") == [None, "bytes=700-", "bytes=1100-"]


def test_cut_transfer_starts_anew_where_range_is_ignored(site, tmp_path, archives):
    site.ranges, site.cut_after = False, [700, 400]
    assert fetch(site, tmp_path, archives).ok
    assert site.asked("boxing.zip") == [None, "bytes=700-", "bytes=400-"]


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_is_noticed_without_a_length(site, tmp_path, archives, ranges):
    site.lengths, site.ranges, site.cut_after = False, ranges, [700]
    assert fetch(site, tmp_path, archives).ok
    assert len(site.asked("boxing.zip")) == 2


def test_next_call_goes_on_from_what_has_arrived(site, tmp_path, archives):
    site.cut_after = [900] + [0] * download.ATTEMPTS
    with pytest.raises(
        download.DownloadError,
        match=r"3 times with little or no progress; 900 bytes are kept.*--from-zip",
    ):
        fetch(site, tmp_path, archives)
    assert tree(tmp_path) == ["zips/boxing.zip.part"]
    site.requests.clear(), site.cut_after.clear()
    assert fetch(site, tmp_path, archives).ok
    assert site.asked("boxing.zip") == ["bytes=900-"]
    assert tree(tmp_path) == WHOLE


def test_part_of_another_file_is_thrown_away(site, tmp_path, archives):
    (tmp_path / "zips").mkdir()
    for name, size in (
        ("boxing.zip", 100),
        ("walking.zip", 10**6),
    ):  # shorter and longer than what the server has
        (tmp_path / "zips" / f"{name}.part").write_bytes(b"x" * size)
    assert fetch(site, tmp_path, archives).ok
    assert site.asked("boxing.zip") == ["bytes=100-", None]
    assert site.asked("walking.zip") == ["bytes=1000000-", None]


@pytest.mark.parametrize("code", [500, 503, 429])
def test_server_that_is_busy_is_asked_again(site, tmp_path, archives, code):
    site.codes = [code, code]
    assert fetch(site, tmp_path, archives).ok
    assert len(site.asked("boxing.zip")) == 3


def test_server_that_stays_busy_is_left_alone(site, tmp_path, archives):
    site.codes = [503] * 99
    with pytest.raises(
        download.DownloadError,
        match=r"boxing\.zip: the server answers 503 .*3 times with little or no progress",
    ):
        fetch(site, tmp_path, archives)
    assert len(site.requests) == download.ATTEMPTS


def test_refusal_is_final(site, tmp_path, archives):
    site.codes = [403]
    with pytest.raises(
        download.DownloadError, match=r"boxing\.zip: the server answers 403 .*--url.*--from-zip"
    ):
        fetch(site, tmp_path, archives)
    assert len(site.requests) == 1


def test_nobody_answers(tmp_path, archives, monkeypatch):
    monkeypatch.setattr(download, "PAUSE_S", 0)
    with serving(Site()) as closed:
        pass
    with pytest.raises(
        download.DownloadError,
        match=r"connection failed .*3 times with little or no progress; 0 bytes",
    ):
        fetch(closed, tmp_path, archives)


def test_silent_server_is_asked_again(site, tmp_path, archives, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    site.stalls = [0.6]
    assert fetch(site, tmp_path, archives).ok
    assert len(site.asked("boxing.zip")) == 2


def test_full_disk_is_named_before_it_is_full(site, tmp_path, archives, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        download.DownloadError,
        match=r"zips: boxing\.zip needs .* MB more, but 0\.0 MB are free; make room",
    ):
        fetch(site, tmp_path, archives)
    assert len(site.requests) == 1


def test_pauses_grow_and_start_again_after_progress(site, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(download, "PAUSE_S", 1)
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    site.cut_after = [0, 0, 500, 0]
    content = sha1(site.files["boxing.zip"])
    download.download(
        f"{site.url}/boxing.zip", tmp_path / "boxing.zip", sha1=content, progress=False
    )
    assert pauses == [2, 4, 1, 2]
    assert (tmp_path / "boxing.zip").read_bytes() == site.files["boxing.zip"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.binary(min_size=1, max_size=600),
    cuts=st.lists(st.integers(1, 300), max_size=4),
    ranges=st.booleans(),
    lengths=st.booleans(),
)
def test_whatever_is_cut_where_the_file_arrives_whole(
    site, tmp_path_factory, content, cuts, ranges, lengths
):
    # without a length, a part cannot be told from a file that is simply another
    site.files["any"], site.ranges, site.lengths = content, ranges, lengths
    site.cut_after = sorted(set(cuts)) if lengths else cuts[: download.ATTEMPTS - 1]
    target = tmp_path_factory.mktemp("any") / "any"
    download.download(f"{site.url}/any", target, sha1=sha1(content), progress=False)
    assert target.read_bytes() == content
    assert tree(target.parent) == ["any"]


# servers that would hold a program for good


@contextlib.contextmanager
def answering(answer):
    """A server on which answer(connection) says what every visitor gets; yields address, visits."""
    listening, visits = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = listening.accept()
                visits.append(connection)
                threading.Thread(target=attend, args=(connection,), daemon=True).start()

    def attend(connection):
        with contextlib.suppress(OSError), connection:  # the other side has lost patience
            connection.recv(65536)
            answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    with listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/boxing.zip", visits


HEADER = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "slowly"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000),
        (HEADER, b"x" * 1000),
        (CHUNKED, b"0" * 1000),
        (CHUNKED, b"1\r\nx\r\n" * 1000),
    ],
    ids=["header", "content", "length of a chunk", "chunks"],
)
def test_a_server_that_sends_byte_after_byte_is_given_up(tmp_path, monkeypatch, at_once, slowly):
    monkeypatch.setattr(download, "PAUSE_S", 0)
    monkeypatch.setattr(pace, "WINDOW_S", 0.1)

    def drip(connection):
        connection.sendall(at_once)
        for number in range(len(slowly)):
            connection.sendall(slowly[number : number + 1])
            threading.Event().wait(0.01)

    with (
        answering(drip) as (url, visits),
        pytest.raises(
            download.DownloadError, match=r"too slow: \d+ bytes in .*3 times with little"
        ),
    ):
        download.download(url, tmp_path / "boxing.zip", sha1="0" * 40, progress=False)
    assert len(visits) == download.ATTEMPTS


def test_a_fast_server_may_think_and_take_longer_than_a_window(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "WINDOW_S", 0.05)
    content = b"x" * 100000

    def answer(connection):
        threading.Event().wait(0.1)
        connection.sendall(HEADER + content[:50000])
        threading.Event().wait(0.1)
        connection.sendall(content[50000:])

    with answering(answer) as (url, visits):
        download.download(url, tmp_path / "a", sha1=sha1(content), progress=False)
    assert (tmp_path / "a").read_bytes() == content and len(visits) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_ends_after_each_first_byte_is_given_up(tmp_path, monkeypatch, reset):
    monkeypatch.setattr(download, "PAUSE_S", 0)

    def end(connection):
        span = b"Content-Range: bytes %d-99999/100000\r\n\r\n" % (len(visits) - 1)
        connection.sendall(HEADER[:-2] + span + b"x")
        threading.Event().wait(0.05)
        if not reset:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        answering(end) as (url, visits),
        pytest.raises(download.DownloadError, match="3 times with little or no progress; 3 bytes"),
    ):
        download.download(url, tmp_path / "boxing.zip", sha1="0" * 40, progress=False)
    assert len(visits) == download.ATTEMPTS


def test_progress_enough_in_several_transfers_goes_on(site, tmp_path, monkeypatch):
    """Small steps add up; what counts is what came since the last one that was enough."""
    monkeypatch.setattr(download, "ENOUGH", 300)
    site.cut_after = [200] * 5
    download.download(
        f"{site.url}/boxing.zip",
        tmp_path / "boxing.zip",
        sha1=sha1(site.files["boxing.zip"]),
        progress=False,
    )
    assert len(site.requests) == 6


def test_an_answer_without_end_is_left(tmp_path):
    def stream(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    with (
        answering(stream) as (url, _),
        pytest.raises(download.DownloadError, match="sends more than 1000000 bytes"),
    ):
        download.download(url, tmp_path / "a", sha1="0" * 40, most=10**6, progress=False)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4000),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 10000),
    ],
    ids=["not yet", "trailers"],
)
def test_what_surrounds_the_content_has_an_end_too(tmp_path, monkeypatch, first, again):
    monkeypatch.setattr(download, "PAUSE_S", 0)

    def stream(connection):
        connection.sendall(first)
        while True:
            connection.sendall(again)

    with (
        answering(stream) as (url, visits),
        pytest.raises(download.DownloadError, match=r"no end after \d+ bytes"),
    ):
        download.download(url, tmp_path / "a", sha1="0" * 40, most=1000, progress=False)
    assert len(visits) == download.ATTEMPTS


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 100,
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /boxing.zip\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::bad/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        CHUNKED + b"zz\r\nabc",
        CHUNKED + b"-5\r\nabc",
        CHUNKED + b"ffffffffffffffffffff\r\nabc",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 7-9/3\r\n\r\nabc",
        b"HTTP/1.1 416 No\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n",
    ],
)
def test_a_strange_answer_is_an_error_in_words(tmp_path, monkeypatch, answer):
    monkeypatch.setattr(download, "PAUSE_S", 0)
    monkeypatch.setattr(download, "TIMEOUT_S", 1)
    with (
        answering(lambda connection: connection.sendall(answer)) as (url, _),
        pytest.raises(download.DownloadError, match=r"boxing\.zip: |a needs .* MB more"),
    ):
        download.download(url, tmp_path / "a", sha1="0" * 40, progress=False)
    assert not (tmp_path / "a").exists()


def test_a_length_that_is_no_number_promises_nothing(tmp_path):
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\ncontent")

    with answering(answer) as (url, _):
        download.download(url, tmp_path / "a", sha1=sha1(b"content"), progress=False)
    assert (tmp_path / "a").read_bytes() == b"content"


# contents that are wrong


@pytest.mark.parametrize(
    ("ranges", "lengths"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_wrong_hash_is_refused_and_nothing_is_unpacked(site, tmp_path, archives, ranges, lengths):
    site.files["boxing.zip"] = zipped({"person01_boxing_d1_uncomp.avi": b"something else"})
    site.ranges, site.lengths = ranges, lengths
    found = sha1(site.files["boxing.zip"])
    with pytest.raises(
        download.DownloadError, match=rf"boxing\.zip: .*{found}, wanted {archives[0].sha1}.*--url"
    ):
        fetch(site, tmp_path, archives)
    assert len(site.asked("boxing.zip")) == download.ATTEMPTS
    assert tree(tmp_path) == []


def test_bytes_changed_on_the_way_are_fetched_again(site, tmp_path, archives, monkeypatch):
    right = site.files["boxing.zip"]
    site.files["boxing.zip"] = right[:50] + b"?" + right[51:]

    def mended(_):
        site.files["boxing.zip"] = right

    monkeypatch.setattr(download.time, "sleep", mended)
    assert fetch(site, tmp_path, archives).ok
    assert site.asked("boxing.zip") == [None, None]


@pytest.mark.parametrize(
    "name", ["../evil.avi", "a/../../evil.avi", "/evil.avi", "..\\evil.avi", "C:\\evil.avi"]
)
def test_member_that_leads_out_is_refused_before_anything_is_written(
    site, tmp_path, archives, name
):
    evil = zipped({"person01_boxing_d1_uncomp.avi": b"bait", name: b"evil"})
    site.files["boxing.zip"] = evil
    archive = download.Archive("boxing.zip", sha1(evil), archives[0].members)
    with pytest.raises(download.DownloadError, match=r"boxing\.zip: refused, .*evil"):
        fetch(site, tmp_path / "KTH", (archive, archives[1]))
    assert tree(tmp_path) == ["KTH/zips/boxing.zip"]


def test_missing_member_is_reported_and_the_rest_is_kept(site, tmp_path, archives, capsys, clip):
    content = clip(tmp_path / "made" / "x.avi", frames=FRAMES).read_bytes()
    site.files["boxing.zip"] = zipped(
        {"person01_boxing_d1_uncomp.avi": content, "deep/person02_boxing_d1_uncomp.avi": b""}
    )
    archives = (
        download.Archive("boxing.zip", sha1(site.files["boxing.zip"]), archives[0].members),
        archives[1],
    )
    summary = fetch(site, tmp_path / "KTH", archives)
    assert not summary.ok
    assert summary.problems == ["boxing.zip: 1 files missing: person02_boxing_d1_uncomp.avi"]
    assert (
        "problem: boxing.zip: 1 files missing: person02_boxing_d1_uncomp.avi"
        in capsys.readouterr().out
    )
    assert tree(tmp_path / "KTH") == [WHOLE[1], WHOLE[2], "zips/boxing.zip"]
    site.requests.clear()
    assert not fetch(site, tmp_path / "KTH", archives).ok
    assert site.requests == []  # the kept zip is read again, not fetched again


@pytest.mark.parametrize("damage", ["no zip", "bad member"])
def test_damaged_zip_is_named_and_leaves_no_half_file(site, tmp_path, archives, damage):
    content = (
        bytearray(site.files["walking.zip"])
        if damage == "bad member"
        else bytearray(b"<html>sign in</html>")
    )
    if damage == "bad member":
        content[len(content) // 2] ^= 255
    site.files["walking.zip"] = bytes(content)
    archive = download.Archive("walking.zip", sha1(content), archives[1].members)
    with pytest.raises(download.DownloadError, match=r"walking\.zip: damaged zip \(.*--from-zip"):
        fetch(site, tmp_path, [archive])
    assert tree(tmp_path) == ["zips/walking.zip"]


def lying(method):
    """A zip whose member names this method of compression and holds what no method makes."""
    content = bytearray(zipped({"person11_walking_d4_uncomp.avi": bytes(range(256)) * 20}))
    for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = content.index(signature) + place
        content[at : at + 2] = struct.pack("<H", method)
    return bytes(content)


@pytest.mark.parametrize("method", [8, 9, 12, 14, 98])  # deflate, its 64 KB kin, bzip2, LZMA, PPMd
def test_a_member_that_lies_about_its_method_is_a_damaged_zip(tmp_path, archives, method):
    path = tmp_path / "walking.zip"
    path.write_bytes(lying(method))
    with pytest.raises(download.DownloadError, match=r"walking\.zip: damaged zip \(\w+: .*--url"):
        download.unpack(archives[1], path, tmp_path / "KTH", progress=False)
    assert not [name for name in tree(tmp_path) if "avi" in name]


@pytest.mark.parametrize("seed", range(40))
def test_a_zip_with_damage_anywhere_is_unpacked_or_named(tmp_path, archives, seed):
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(archives[1].members[0], rng.integers(0, 4, 400, np.uint8).tobytes())
    content = bytearray(buffer.getvalue())
    for at in rng.integers(0, len(content), 4):
        content[at] = rng.integers(256)
    (tmp_path / "walking.zip").write_bytes(content)
    with contextlib.suppress(download.DownloadError):
        download.unpack(archives[1], tmp_path / "walking.zip", tmp_path / "KTH", progress=False)
    left = [name for name in tree(tmp_path) if name != "walking.zip"]
    assert left in ([], [f"KTH/{WHOLE[2]}"])


def test_a_disk_that_fails_while_a_zip_is_read_is_no_damage_of_it(tmp_path, archives, monkeypatch):
    (tmp_path / "walking.zip").write_bytes(zipped({archives[1].members[0]: b"x" * 100}))

    def fail(member, size):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    with pytest.raises(OSError, match="input/output error") as caught:
        download.unpack(archives[1], tmp_path / "walking.zip", tmp_path / "KTH", progress=False)
    assert not isinstance(caught.value, download.DownloadError)


def test_kill_while_unpacking_leaves_whole_files_only(site, tmp_path, archives, monkeypatch):
    read = zipfile.ZipExtFile.read

    def interrupted(member, size):
        if member.tell():
            raise KeyboardInterrupt
        return read(member, 100)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zipfile.ZipExtFile, "read", interrupted)
        fetch(site, tmp_path, archives)
    assert tree(tmp_path) == ["zips/boxing.zip"]
    assert fetch(site, tmp_path, archives).ok
    assert len(site.asked("boxing.zip")) == 1


# files that do not fit their annotations


def test_file_shorter_than_its_annotations_and_unreadable_file_are_reported(
    site, tmp_path, archives, clip
):
    fetch(site, tmp_path, archives)
    clip(tmp_path / WHOLE[0], frames=4)
    (tmp_path / WHOLE[2]).write_bytes(b"no video")
    summary = fetch(site, tmp_path, archives)
    assert summary.table.short.tolist() == [1, 0]
    assert summary.table.files.tolist() == [2, 0]
    assert len(summary.problems) == 2
    assert re.search(
        r"person02_boxing_d1_uncomp\.avi: 4 frames, but it is annotated up to frame 9",
        summary.problems[0],
    )
    assert re.search(
        r"person11_walking_d4_uncomp\.avi: a text file, not a video.*; move it elsewhere and run",
        summary.problems[1],
    )


def test_the_file_that_was_published_cut_off_is_no_problem(tmp_path, clip):
    member = "person01_boxing_d4_uncomp.avi"
    clip(tmp_path / "train" / "boxing" / member, frames=304)
    archive = download.Archive("boxing.zip", "", (member,))
    summary = download.check_files(tmp_path, [archive], kth.load_segments())
    assert summary.ok
    assert summary.table.to_dict("split") == {
        "index": ["boxing"],
        "columns": ["expected", "files", "segments", "frames", "annotated to", "short"],
        "data": [[1, 1, 4, 304, 370, 1]],
    }
    path = tmp_path / "train" / "boxing" / member
    path.write_bytes(path.read_bytes()[:-100])  # its header promises more than is there
    assert download.check_files(tmp_path, [archive], kth.load_segments()).ok


# zips fetched by hand


@pytest.fixture
def by_hand(site, tmp_path):
    folder = tmp_path / "by hand"
    folder.mkdir()
    for name, content in site.files.items():
        (folder / name).write_bytes(content)
    return folder


def test_from_zip_downloads_nothing_and_keeps_the_zips(site, tmp_path, archives, by_hand):
    before = tree(by_hand)
    assert fetch(site, tmp_path / "KTH", archives, from_zip=by_hand).ok
    assert tree(tmp_path / "KTH") == WHOLE
    assert tree(by_hand) == before
    assert site.requests == []


def test_from_zip_reports_the_zip_that_is_not_there(site, tmp_path, archives, by_hand):
    (by_hand / "boxing.zip").unlink()
    summary = fetch(site, tmp_path / "KTH", archives, from_zip=by_hand)
    assert summary.table.files.tolist() == [0, 1]
    assert re.search(
        r"boxing\.zip is not there; fetch https://www\.csc\.kth\.se", summary.problems[0]
    )
    assert "boxing.zip: 2 files missing" in summary.problems[1]


def test_from_zip_refuses_wrong_contents(site, tmp_path, archives, by_hand):
    (by_hand / "boxing.zip").write_bytes(b"short")
    with pytest.raises(
        download.DownloadError,
        match=r"by hand/boxing\.zip: wrong content: 5 bytes .*fetch https://.* again",
    ):
        fetch(site, tmp_path / "KTH", archives, from_zip=by_hand)
    assert (by_hand / "boxing.zip").read_bytes() == b"short"


def test_from_zip_that_is_no_folder(site, tmp_path, archives):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere.*--from-zip"):
        fetch(site, tmp_path, archives, from_zip=tmp_path / "nowhere")


def test_an_address_that_is_none_after_its_beginning_is_named(site, tmp_path, archives):
    with pytest.raises(download.DownloadError, match=r"http://\[::zz\]/boxing\.zip: .*--url"):
        fetch(site, tmp_path, archives, url="http://[::zz]/")


def test_what_a_server_says_is_repeated_in_part_and_moves_no_cursor(
    site, tmp_path, archives, monkeypatch
):
    said = "\x1b[2J" + "so " * 1000
    monkeypatch.setitem(Handler.responses, 403, (said, said))
    site.codes = [403]
    with pytest.raises(download.DownloadError, match=r"403 \\x1b\[2Jso so") as caught:
        fetch(site, tmp_path, archives)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("url", ["www.csc.kth.se/cvap", "ftp://here/", "/some/folder"])
def test_url_that_is_no_web_address(tmp_path, archives, url):
    with pytest.raises(
        ValueError, match="is not a web address; --url wants a folder like https://"
    ):
        download.fetch_kth(tmp_path, url=url, archives=archives)
