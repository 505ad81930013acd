"""Reads small files of a folder, each whole and of one moment."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.tarwriting.place import Place

CHUNK_BYTES: Final = 16 << 20
"""Bytes of a large file that are read at a time."""
TRIES: Final = 3
"""Times that a file is read which changes while it's read."""
TICK_NS: Final = 50_000_000
"""How exact the times of files are, at worst: what was changed within it of being read may change without a trace."""
_LOOK_BYTES: Final = 64
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def stamp_of(found: os.stat_result) -> int:
    """One number for what changes when a file does: size, times, and which file it is."""
    return hash((found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))


def texts_of(joined: bytes) -> Iterator[bytes]:
    """Texts that are each followed by a NUL."""
    at = 0
    while (end := joined.find(b"\0", at)) >= 0:
        yield joined[at:end]
        at = end + 1


class UnreadableError(Exception):
    """A file that can't be had: the code of a problem, and a message."""


class LargeFile:
    """The rest of a file that is read in pieces."""

    def __init__(self, fd: int, stamp: int) -> None:
        self._fd, self._stamp = fd, stamp

    def more(self) -> bytes:
        """The next piece; nothing at the end, or where it can't be read."""
        try:
            return os.read(self._fd, CHUNK_BYTES)
        except OSError:
            return b""

    def ended_as_it_was(self) -> bool:
        """Whether it is what it was when it was opened. It's closed then."""
        try:
            return stamp_of(os.fstat(self._fd)) == self._stamp
        finally:
            self.close()

    def close(self) -> None:
        """Close the file, if it isn't yet."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FileReader:
    """Reads files of one folder, each whole and of one moment.

    Parameters
    ----------
    folder : str or Place
    root : str
        Links that lead out of it aren't followed; empty: all are.

    Attributes
    ----------
    settled : bool
        False where a file was so new that a change since then might not show.
    """

    def __init__(self, folder: str | Place, root: str) -> None:
        self._folder = folder if isinstance(folder, str) else os.path.join(folder.root, folder.path)
        self._root = root
        self._real_root = os.path.realpath(root) if root else ""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._fd = os.open(folder, flags) if isinstance(folder, str) else folder.open()
        self._settled_ns = time.time_ns() - TICK_NS
        self._large: LargeFile | None = None
        self.settled = True

    def close(self) -> None:
        """Close the folder, and a large file whose rest nobody has read."""
        os.close(self._fd)
        if self._large:
            self._large.close()

    def _open(self, source: bytes) -> int:
        try:
            return os.open(source, _OPEN | os.O_NOFOLLOW, dir_fd=self._fd)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise UnreadableError("unreadable", f"can't be read: {error.strerror}") from None
        if self._real_root and not is_inside(os.path.join(self._folder, os.fsdecode(source)), self._real_root):
            raise UnreadableError("link", "is a symbolic link out of the source by now; it wasn't followed")
        try:
            return os.open(source, _OPEN, dir_fd=self._fd)
        except OSError as error:
            raise UnreadableError("unreadable", f"can't be read: {error.strerror}") from None

    def read(self, source: bytes, size: int, stamp: int | None) -> tuple[bytes, int, LargeFile | None]:
        """Bytes of a file and its size; of a large one the first bytes, and what gives the rest.

        Raises
        ------
        UnreadableError
        """
        fd = self._open(source)
        keep = False
        try:
            if stamp is None:
                found = os.fstat(fd)
                size, stamp = found.st_size, stamp_of(found)
            for _ in range(TRIES):
                # No more than is there: room for what doesn't come costs more than the call.
                data = os.read(fd, min(size + 1, CHUNK_BYTES))
                found = os.fstat(fd)
                now = stamp_of(found)
                if now == stamp and found.st_size == size and (len(data) == size or len(data) == CHUNK_BYTES):
                    if found.st_ctime_ns > self._settled_ns:
                        self.settled = False
                    keep = len(data) < size
                    self._large = LargeFile(fd, now) if keep else None
                    return data, size, self._large
                if not stat.S_ISREG(found.st_mode):
                    raise UnreadableError("unreadable", "isn't a file: a device, a pipe, a folder")
                size, stamp = found.st_size, now
                os.lseek(fd, 0, os.SEEK_SET)
        except OSError as error:
            raise UnreadableError("unreadable", f"can't be read: {error.strerror}") from None
        finally:
            if not keep:
                os.close(fd)
        raise UnreadableError("changed", "changed each time it was read")

    def look(self, source: bytes) -> tuple[bytes, int]:
        """The first bytes of a file, and its size."""
        fd = self._open(source)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise UnreadableError("unreadable", "isn't a file: a device, a pipe, a folder")
            return os.read(fd, _LOOK_BYTES), found.st_size
        except OSError as error:
            raise UnreadableError("unreadable", f"can't be read: {error.strerror}") from None
        finally:
            os.close(fd)


def is_inside(path: str, real_root: str) -> bool:
    """Whether a path, with every link in it followed, leads to a folder or to something in it."""
    real = os.path.realpath(path)
    return real == real_root or real.startswith(real_root.rstrip("/") + "/")
