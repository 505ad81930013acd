"""Random access to an archive, and the window through which headers are read."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Protocol, Self

from blobdir.errors import DamagedTarError

if TYPE_CHECKING:
    from types import TracebackType

BLOCK = 512
# Members further apart than this are met with single reads of their headers: with a warm cache copying the data in
# between costs as much as the extra calls at some 10 KiB, with a cold one at some 30 KiB.
DENSE_STRIDE_BYTES = 16 << 10


class ReadAt(Protocol):
    """An archive that isn't a local file, such as an object in a bucket."""

    @property
    def path(self) -> str:
        """What messages call it."""

    @property
    def size(self) -> int:
        """Bytes of the archive."""

    def read_at(self, start: int, n: int) -> bytes:
        """Bytes ``start`` to ``start + n``, half-open; fewer only if there are no more."""


class LocalFile:
    """A file opened for positioned reads.

    Never a memory map: if another process truncates the file, a read comes back short, and a map kills this process.

    Raises
    ------
    OSError
        The file can't be opened.
    DamagedTarError
        It is a pipe, a socket or a character device, which have no positions.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        # Opening a pipe would otherwise wait for a writer; reads of files don't heed the flag.
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            kind = os.fstat(self.fd).st_mode
            if stat.S_ISDIR(kind):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path)
            if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
                raise DamagedTarError(f"{self.path}: not a regular file", path=self.path)
            self.size = self.size_now()
        except BaseException:
            os.close(self.fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def size_now(self) -> int:
        """Bytes that the file has at this moment."""
        return os.lseek(self.fd, 0, os.SEEK_END)  # st_size of a block device is 0

    def read_at(self, start: int, n: int) -> bytes:
        """Bytes ``start`` to ``start + n``, half-open; fewer at the end of the file."""
        return os.pread(self.fd, n, start)


class Window:
    """The stretch of an archive that is in memory, and the choice of how long the next one is.

    Where members are small a long stretch holds many headers and saves calls; where they are large, reading more
    than the header would read data that nobody asked for.

    Parameters
    ----------
    source : ReadAt
    smallest, largest : int
        Bounds of the stretch in bytes, multiples of 512.

    Attributes
    ----------
    data : bytes
        The stretch.
    base : int
        Its first byte in the archive.
    """

    __slots__ = ("_largest", "_size", "_smallest", "_source", "_step", "base", "data")

    def __init__(self, source: ReadAt, smallest: int, largest: int) -> None:
        self._source = source
        self._size = source.size
        self._smallest = smallest
        self._largest = largest
        self._step = max(smallest, 8 * BLOCK)
        self.data = b""
        self.base = 0

    def move(self, start: int, headers: int) -> None:
        """Read the stretch from `start` on; `headers` is how many headers the present one has served."""
        if start - self.base <= headers * DENSE_STRIDE_BYTES:
            self._step = min(self._step * 4, self._largest)
        else:
            self._step = max(self._step // 4, self._smallest)
        self.data = self.read(start, min(self._step, self._size - start))
        self.base = start

    def next_data(self, position: int) -> int:
        """The first byte from `position` on that isn't in a hole, as far as its disk tells; else the end."""
        fd = open_file_of(self._source)
        if fd < 0:
            return position
        try:
            return os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            return self._size if error.errno == errno.ENXIO else position
        except AttributeError:  # not every system can tell
            return position

    def read(self, start: int, n: int) -> bytes:
        """Exactly the bytes ``start`` to ``start + n``, from memory if they are there.

        Raises
        ------
        DamagedTarError
            The archive has become shorter than it was when the scan began.
        """
        offset = start - self.base
        if offset >= 0 and offset + n <= len(self.data):
            return self.data[offset : offset + n]
        data = self._source.read_at(start, n)
        while len(data) < n:
            more = self._source.read_at(start + len(data), n - len(data))
            if not more:
                raise shrunk(self._source.path, self._size, start + len(data))
            data += more
        return data if len(data) == n else data[:n]


def open_file_of(source: ReadAt) -> int:
    """The descriptor of what is a file on this machine, whoever has opened it; -1 for others."""
    fd: int = getattr(source, "fd", -1)
    return fd


def shrunk(path: str, size: int, now: int) -> DamagedTarError:
    """The error for an archive that had `size` bytes when the scan began and ends at byte `now`."""
    return DamagedTarError(
        f"{path}: ends at byte {now}, but had {size} bytes when the scan began: something changes the file; "
        f"scan again when it is complete",
        path=path,
        position=now,
    )
