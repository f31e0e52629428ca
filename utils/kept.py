"""Arrays that outlive the program: a folder of files, each under a name and with its checksum.

Knows files and bytes. Does not know what is kept in them, nor what a name is made of.
"""

import errno
import os
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

from data.files import place, written_whole

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


class Kept:
    """Arrays that outlive the program, by name: <folder>/<name>/<CRC-32 of place and bytes>.

    A folder for every name, so that finding one costs the same however many there are.
    """

    megabytes = 0.0  # of all that is to be written

    def __init__(self, cache_dir: str | Path | None, key: str):
        self.folder = None if cache_dir is None else place(cache_dir, "cache") / key

    def find(self, name: str) -> tuple[Path, bytes] | None:
        """Return file and content of a name, the newest; what does not agree with its checksum is
        removed."""
        with suppress(FileNotFoundError):  # another program was quicker to remove it
            there = self.folder.glob(f"{name}/[!.]*") if self.folder else ()
            for path in sorted(there, key=os.path.getmtime, reverse=True):
                content = path.read_bytes()
                if path.stem == self._checksum(name, content):
                    return path, content
                warnings.warn(
                    f"{path} is damaged (cut off, changed or misplaced): what it held is made anew",
                    stacklevel=2,
                )
                with suppress(OSError):
                    path.unlink()
        return None

    def write(self, name: str, suffix: str, content: bytes) -> None:
        """Keep a content under a name; without a folder that can be written, do nothing.

        Raises:
            OSError: The disk is full.
        """
        if self.folder is None:
            return
        try:
            path = self.folder / name / (self._checksum(name, content) + suffix)
            with written_whole(path) as partly:
                partly.write_bytes(content)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise OSError(
                    error.errno,
                    f"cannot keep features in {self.folder}, {self.megabytes:.0f} MB are needed "
                    f"({error.strerror}): free space there or choose another cache folder "
                    "(HAR_CACHE); what was finished stays",
                ) from error
            warnings.warn(
                f"the cache folder {self.folder} cannot be written ({error.strerror}); features "
                "are computed again in every run until it can, or another folder is chosen",
                stacklevel=2,
            )

    def _checksum(self, name: str, content: bytes) -> str:
        place = f"{self.folder.name}/{name}" if self.folder else ""
        return f"{zlib.crc32(content, zlib.crc32(place.encode())):08x}"
