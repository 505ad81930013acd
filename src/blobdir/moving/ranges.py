"""Which ranges of a file have been fetched: a line each, so that a process that is killed loses one at the most."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from zlib import crc32

from blobdir.inside import read_whole
from blobdir.leftovers import open_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE: Final = re.compile(r"([0-9]+):([0-9]+)")


class RangeLog:
    """The ranges of one version of one file.

    Parameters
    ----------
    name : str
        Of the log.
    dir_fd : int
        The folder that it's in.
    version : str
        Of the file; a log of another one counts for nothing.

    Attributes
    ----------
    done : dict of int to int
        First bytes of the ranges that are there, and the CRC-32 of what was fetched.
    whole : str
        What the file was when all of it was there: who has written to it since has changed that. Empty before.
    """

    def __init__(self, name: str, dir_fd: int, version: str) -> None:
        self._name, self._dir_fd = name, os.dup(dir_fd)
        self._version = version
        self._fd = -1
        self.whole = ""
        self.done: dict[int, int] = {}
        try:
            lines = read_whole(name, follow=False, dir_fd=dir_fd).decode("utf-8", "replace").split("\n")
        except OSError:
            lines = [""]
        self.whole = next((line[1:] for line in lines[-2:-1] if line[:1] == "="), "")
        noted = [_LINE.fullmatch(line) for line in lines[1:-1] if line[:1] != "="]  # the last one may be cut off
        if lines[0] == version and all(noted):
            self.done = {int(match[1]): int(match[2]) for match in noted if match}
            self._fd = open_left(name, os.O_WRONLY | os.O_APPEND, dir_fd=dir_fd)
            if lines[-1]:
                os.truncate(self._fd, os.fstat(self._fd).st_size - len(lines[-1]))
        else:
            self.reset()

    def reset(self) -> None:
        """Forget all."""
        if self._fd >= 0:
            os.close(self._fd)
        self.done, self.whole = {}, ""
        self._fd = open_left(self._name, os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o644, dir_fd=self._dir_fd)
        os.write(self._fd, f"{self._version}\n".encode())

    @contextmanager
    def syncing(self, fd: int, size: int, seconds: float) -> Iterator[Callable[[int, bytes], None]]:
        """Note ranges that were written to `fd` when they are on the disk: a note must not outlive its bytes.

        Parameters
        ----------
        fd : int
        size, seconds
            Bytes, and time, after which what was written is brought to the disk.
        """
        waiting: dict[int, int] = {}
        written, began = 0, time.monotonic()

        def flush() -> None:
            nonlocal written, began
            if waiting:
                os.fsync(fd)
                os.write(self._fd, "".join(f"{start}:{crc}\n" for start, crc in waiting.items()).encode())
                self.done.update(waiting)
            waiting.clear()
            written, began = 0, time.monotonic()

        def note(start: int, data: bytes) -> None:
            nonlocal written
            waiting[start] = crc32(data)
            written += len(data)
            if written >= size or time.monotonic() - began >= seconds:
                flush()

        try:
            yield note
        finally:
            flush()

    def check(self, fd: int, size: int) -> None:
        """Forget the ranges, of `size` bytes each, that don't have the bytes in `fd` any more that were fetched."""
        self.done = {start: crc for start, crc in self.done.items() if crc32(os.pread(fd, size, start)) == crc}

    def end(self, whole: str) -> None:
        """Note what the file is, now that all of it is there."""
        if whole != self.whole:
            os.write(self._fd, f"={whole}\n".encode())
            self.whole = whole

    def close(self) -> None:
        """Close the log; what was noted stays."""
        fds, self._fd, self._dir_fd = (self._fd, self._dir_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
