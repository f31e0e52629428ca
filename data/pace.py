"""Answers of a web server that come at a least pace, or end in an error.

Knows sockets and HTTP as far as the standard library lets one look in. Does not know what is
fetched. A limit of time on each wait, all that sockets have, is none for a server that sends a byte
every few seconds, be it in the header or in the content.
"""

import http.client
import io
import socket
import time
import urllib.request
from dataclasses import dataclass
from typing import Any, Literal

WINDOW_S = 60.0  # over which the pace is measured
LEAST = 2000.0  # bytes a second


class _Paced(io.RawIOBase):
    """The bytes of a socket; raises TimeoutError when those of a window were too few, and those of
    all too many."""

    def __init__(self, raw: Any, most: int):
        self.raw, self.most, self.count, self.before = raw, most, 0, 0
        self.begun: float | None = None  # when the window did; the first with the first bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there into a buffer and return how many bytes that was.

        Raises TimeoutError when those of a window were too few, or those of all too many.
        """
        count = self.raw.readinto(buffer)
        self.count += count or 0
        now = time.monotonic()
        self.begun = self.begun or now
        passed = now - self.begun
        if self.before + self.count > self.most:
            raise TimeoutError(f"no end after {self.before + self.count} bytes")
        if passed > WINDOW_S:
            if self.count < LEAST * passed:
                raise TimeoutError(f"too slow: {self.count} bytes in {passed:.0f} seconds")
            self.begun, self.count, self.before = now, 0, self.before + self.count
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


@dataclass(frozen=True)
class _Socket:
    """What an `HTTPResponse` asks of a socket: to be read as a file."""

    sock: socket.socket
    most: int

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        return io.BufferedReader(_Paced(self.sock.makefile(mode, buffering=0), self.most))


def _connected(kind: Any, most: int) -> Any:
    """Return what makes connections of a kind whose answers are paced."""

    def answer(sock: socket.socket, *args: Any, **options: Any) -> http.client.HTTPResponse:
        paced: Any = _Socket(sock, most)
        return http.client.HTTPResponse(paced, *args, **options)

    def connect(host: str, **options: Any) -> Any:
        connection = kind(host, **options)
        connection.response_class = answer
        return connection

    return connect


class _Handler(urllib.request.HTTPSHandler, urllib.request.HTTPHandler):
    """Takes the place of both of urllib's own."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_connected(http.client.HTTPConnection, self.most), req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_connected(http.client.HTTPSConnection, self.most), req)


def open_paced(
    request: urllib.request.Request, timeout: float, most: int
) -> http.client.HTTPResponse:
    """Open a web address as `urllib.request.urlopen` does.

    Reading the answer raises TimeoutError after `timeout` seconds without a byte, when fewer than
    LEAST bytes a second came in WINDOW_S seconds, and after `most` bytes, header and all that
    surrounds the content included. So there is an end to everything.
    """
    opener = urllib.request.build_opener(_Handler(most))
    return opener.open(request, timeout=timeout)
