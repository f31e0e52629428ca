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
from typing import Any, Literal

WINDOW_S = 60.0  # over which the pace is measured
LEAST = 2000.0  # bytes a second


class _Paced(io.RawIOBase):
    """The bytes of a socket; raises TimeoutError when those of a window were too few."""

    def __init__(self, raw: Any):
        self.raw, self.count = raw, 0
        self.begun: float | None = None  # when the window did; the first with the first bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self.raw.readinto(buffer)
        self.count += count or 0
        now = time.monotonic()
        self.begun = self.begun or now
        passed = now - self.begun
        if passed > WINDOW_S:
            if self.count < LEAST * passed:
                raise TimeoutError(f"too slow: {self.count} bytes in {passed:.0f} seconds")
            self.begun, self.count = now, 0
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Socket:
    """What an `HTTPResponse` asks of a socket: to be read as a file."""

    def __init__(self, sock: socket.socket):
        self.sock = sock

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        return io.BufferedReader(_Paced(self.sock.makefile(mode, buffering=0)))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **options: Any):
        super().__init__(_Socket(sock), *args, **options)  # type: ignore[arg-type]


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Connection, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_SecureConnection, req)  # type: ignore[arg-type]


def open_paced(request: urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    """Open a web address as `urllib.request.urlopen` does.

    Reading the answer raises TimeoutError after `timeout` seconds without a byte, and when fewer
    than LEAST bytes a second came in WINDOW_S seconds.
    """
    return urllib.request.build_opener(_Handler, _SecureHandler).open(request, timeout=timeout)
