"""A tar that grows, and where its members lie."""

from __future__ import annotations

import hashlib
import os
import queue
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from blobdir.background import start
from blobdir.tarwriting.format import BLOCK, archive_end, member_header, padding

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

FLUSH_BYTES: Final = 1 << 20
"""Bytes that are gathered before they are written."""
_AHEAD: Final = 4
"""Pieces that may wait for their checksum."""


class Places:
    """Where the members of a tar lie, while it is written.

    Attributes
    ----------
    kept : array of int
        Their numbers among those that should be in it.
    starts, ends : array of int
    """

    def __init__(self) -> None:
        self.kept, self.starts, self.ends = array("q"), array("q"), array("q")

    def add(self, number: int, start: int, end: int) -> None:
        """Note a member."""
        self.kept.append(number)
        self.starts.append(start)
        self.ends.append(end)


class Digest:
    """A SHA-256 that is made in a thread of its own once there is much of it, while the next bytes are gathered."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None

    def add(self, data: bytes) -> None:
        """Bytes that come next."""
        if self._thread is None:
            if len(data) >= FLUSH_BYTES:
                with suppress(OSError):
                    self._thread = start(self._run, name="blobdir digest")
            if self._thread is None:
                self._digest.update(data)
                return
        self._waiting.put(data)

    def _run(self) -> None:
        while (data := self._waiting.get()) is not None:
            self._digest.update(data)

    def end(self) -> str:
        """What it is of all bytes; the thread is gone then."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        return self._digest.hexdigest()


class NoDigest(Digest):
    """None, for who doesn't need it: it takes as long as half of the rest."""

    def add(self, data: bytes) -> None:
        """Bytes that come next."""

    def end(self) -> str:
        """Nothing."""
        return ""


class TarOutput:
    """A tar that grows; its checksum is made on the way. A context manager that closes the file.

    Parameters
    ----------
    path : str or None
        Where it's written, over what is there; None: nowhere, if only the places of its members are wanted.
    dir_fd : int, optional
        An open folder that `path` is a name in, which nothing may have.
    digest : bool
        Whether the checksum is wanted.
    """

    def __init__(self, path: str | None, *, dir_fd: int | None = None, digest: bool = True) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if dir_fd is None else os.O_EXCL | os.O_NOFOLLOW)
        self._fd = -1 if path is None else os.open(path, flags, 0o666, dir_fd=dir_fd)
        self._path = path
        self._process = os.getpid()
        self._digest = Digest() if digest else NoDigest()
        self._pieces: list[bytes] = []
        self._pending = 0
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is gathered and not written is lost."""
        fd, self._fd = self._fd, -1
        try:
            if os.getpid() == self._process:  # the thread of the checksum isn't there in a child
                self._digest.end()
        finally:
            if fd >= 0:
                os.close(fd)

    def _check_process(self) -> None:
        """A child has a copy of what is gathered, and shares the open file: both would be written twice."""
        if os.getpid() != self._process:
            raise RuntimeError("a tar is written by the process that began it, and this is a child of that")

    def add(self, *pieces: bytes) -> None:
        """Bytes that come next."""
        self._pieces += pieces
        size = sum(map(len, pieces))
        self.position += size
        self._pending += size
        if self._pending >= FLUSH_BYTES:
            self.flush()

    def member(self, name: str | bytes, data: bytes) -> tuple[int, int]:
        """Add a member; gives the byte range of its data."""
        size = len(data)
        header, end = member_header(os.fsencode(name), size), padding(size)
        self._pieces += (header, data, end)
        start = self.position + len(header)
        added = len(header) + size + len(end)
        self.position += added
        self._pending += added
        if self._pending >= FLUSH_BYTES:
            self.flush()
        return start, start + size

    def members(self, names: Iterable[bytes], values: Iterable[bytes]) -> tuple[array[int], array[int]]:
        """Add many members; gives the byte ranges of their data: `member`, without what each call of that costs."""
        starts, ends = array("q"), array("q")
        header_of, pieces, position = member_header, self._pieces, self.position
        flush_at = position - self._pending + FLUSH_BYTES
        for name, data in zip(names, values, strict=True):
            size = len(data)
            header = header_of(name, size)
            start = position + len(header)
            starts.append(start)
            ends.append(start + size)
            if size % BLOCK:
                end = padding(size)
                pieces += (header, data, end)
                position = start + size + len(end)
            else:
                pieces += (header, data)
                position = start + size
            if position >= flush_at:
                self.position = position
                self.flush()
                pieces, flush_at = self._pieces, position + FLUSH_BYTES
        self._pending += position - self.position
        self.position = position
        return starts, ends

    def read(self, start: int, end: int) -> bytes:
        """Bytes that were added before."""
        self.flush()
        return os.pread(self._fd, end - start, start)

    def flush(self) -> None:
        """Give what is gathered to the system."""
        self._check_process()
        data = b"".join(self._pieces)
        self._pieces, self._pending = [], 0
        if self._fd < 0:
            return
        self._digest.add(data)
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            error.filename = error.filename or self._path
            raise

    def finish(self) -> str:
        """End the archive and bring it to the disk; gives its SHA-256, if that's wanted."""
        self.add(archive_end(self.position))
        self.flush()
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError as error:
                error.filename = error.filename or self._path
                raise
        return self._digest.end()
