"""Loose files of a project: looked at and read as they are now, on this machine or behind a backend."""

from __future__ import annotations

import mmap
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from blobdir.errors import NotFoundError, SourceChangedError
from blobdir.index import LOOSE
from blobdir.sources import LocalStorage, RemoteStorage, Stat

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.index import Index
    from blobdir.sources import Storage

SMALL_FILE = 256 << 10
"""Bytes up to which a remote file is read whole, whatever part of it is wanted."""
SIZES_AT_ONCE = 64
"""Files whose sizes are asked for together, where a listing has none."""
TOLD_S = 0.1
"""Seconds for which a mount may still say the size that a file had: no less than the kernel keeps attributes."""
_TRIES = 3
"""Times that a part of a file is asked for whose size turns out to be another one."""


class LooseFiles(Protocol):
    """The loose files of one tree, by their rows."""

    def folder(self, row: int) -> Stat:
        """Attributes of a directory; FileNotFoundError, LinkError where there is none that can be looked at."""
        ...

    def stat(self, row: int) -> Stat:
        """Attributes of a file; NotFoundError where it's gone."""
        ...

    def read(self, row: int, start: int, end: int | None) -> bytes:
        """Bytes ``start:end`` of a file as it is now, whatever its size was: as of a slice, negative ones from its end.

        NotFoundError where it's gone.
        """
        ...

    def read_part(self, row: int, start: int, end: int) -> bytes:
        """The same, for who was told a size; SourceChangedError where it's another one by now."""
        ...

    def read_many(self, rows: list[int]) -> list[bytes]:
        """Whole files."""
        ...

    def check_size(self, row: int) -> None:
        """Raise OSError of a file that says it has far more bytes than it takes on its disk."""
        ...


class _Local:
    def __init__(self, storage: LocalStorage, path: Callable[[int], str]) -> None:
        self._storage, self._path = storage, path

    def folder(self, row: int) -> Stat:
        return self._storage.stat(self._path(row))

    def stat(self, row: int) -> Stat:
        path = self._path(row)
        try:
            return self._storage.stat(path)
        except FileNotFoundError as error:
            raise _gone(path) from error

    def read(self, row: int, start: int, end: int | None) -> bytes:
        path = self._path(row)
        try:
            source = self._storage.open_loose(path)
        except FileNotFoundError as error:
            raise _gone(path) from error
        low, high, _ = slice(start, end).indices(source.size)
        return source.read_at(low, max(0, high - low))

    read_part = read

    def read_many(self, rows: list[int]) -> list[bytes]:
        try:
            return self._storage.read_loose([self._path(row) for row in rows])
        except FileNotFoundError:  # of which one it's said below
            return [self.read(row, 0, None) for row in rows]

    def check_size(self, row: int) -> None:
        self._storage.open_loose(self._path(row)).check_size()


class _Sizes:
    """Sizes of files as far as the index hasn't them, or has them of older files; -1 where nobody knows.

    Processes that are forked from the one that has made it know the same: of those that serve a mount one says the
    size, and another one reads.
    """

    def __init__(self, index: Index) -> None:
        self._listed = index.size
        self._shared = np.frombuffer(mmap.mmap(-1, 16 * len(index)), [("size", np.int64), ("changed", np.float64)])

    def __contains__(self, row: int) -> bool:
        return bool(self._shared["size"][row])

    def __getitem__(self, row: int) -> int:
        found = int(self._shared["size"][row])
        return found - 1 if found else int(self._listed[row])

    def __setitem__(self, row: int, size: int) -> None:
        known = self[row]
        if known not in (-1, size):
            self._shared["changed"][row] = time.monotonic()
        if known != size:
            self._shared["size"][row] = size + 1

    def may_be_outdated(self, row: int) -> bool:
        """Whether somebody may have been told another size a moment ago."""
        changed = float(self._shared["changed"][row])
        return changed > 0 and time.monotonic() - changed < TOLD_S


class _Remote:
    """Each question is a request, so sizes are asked for together and remembered.

    Sizes are those of the listing, or what reading has brought; a file that is read in parts is of one version.
    """

    def __init__(self, storage: RemoteStorage, index: Index, path: Callable[[int], str]) -> None:
        self._storage, self._index, self._path = storage, index, path
        self._versions: dict[int, str] = {}  # of those that are read in parts
        self._sizes = _Sizes(index)

    def folder(self, row: int) -> Stat:  # noqa: ARG002  # backends have no attributes of folders
        return Stat("directory")

    def stat(self, row: int) -> Stat:
        try:
            if self._sizes[row] < 0:
                self._ask_sizes(row)
            if (known := self._sizes[row]) < 0:
                return self._storage.stat(self._path(row))
        except FileNotFoundError as error:
            raise _gone(self._path(row)) from error
        return Stat("file", known)

    def _ask_sizes(self, row: int) -> None:
        """Who asks for the size of a file will ask for those after it: a request each, but together."""
        index = self._index
        rows = np.arange(row, min(row + SIZES_AT_ONCE, index.children(index.parent(row)).stop))
        unknown = rows[(index.source[rows] == LOOSE) & (index.size[rows] < 0)].tolist()
        paths = {self._path(i): i for i in unknown if i not in self._sizes}
        for path, stat in self._storage.stat_many(list(paths)).items():
            self._sizes[paths[path]] = stat.size

    def read(self, row: int, start: int, end: int | None) -> bytes:
        path = self._path(row)
        try:
            return self._read(row, path, start, end)
        except FileNotFoundError as error:
            raise _gone(path) from error

    def _read(self, row: int, path: str, start: int, end: int | None) -> bytes:
        """Whole, since most are small and their size comes with them; of a large one, the part.

        Which bytes those are depends on its size, and the one that is known may be that of an older file.
        """
        for _ in range(_TRIES):
            known = self._sizes[row]
            if known <= SMALL_FILE or (start == 0 and end is None):
                data = self._storage.read(path)
                self._sizes[row] = len(data)
                return data if start == 0 and end is None else data[start:end]
            low, high, _ = slice(start, end).indices(known)
            if low < high:
                data = self._fetch(row, path, low, high)
            elif end is not None and 0 <= end <= start:
                return b""
            else:
                data = b""
                self._sizes[row] = self._storage.stat(path).size
            if self._sizes[row] == known:
                return data
        raise SourceChangedError(f"{path}: is being replaced again and again; read it again")

    def _fetch(self, row: int, path: str, start: int, end: int) -> bytes:
        """A part of a large file, of the version that the parts before were of; its size is known then."""
        answer = self._storage.fetch(path, start, end)
        version = answer.version.etag or str(answer.version.mtime_ns)
        if start and self._versions.setdefault(row, version) != version:
            self._versions[row] = version
            raise SourceChangedError(f"{path}: was replaced between two reads of it; open it again")
        self._versions[row] = version
        if answer.version.size >= 0:
            self._sizes[row] = answer.version.size
        elif len(answer.data) < end - start:
            self._sizes[row] = start + len(answer.data)
        return answer.data

    def read_part(self, row: int, start: int, end: int) -> bytes:
        data = self.read(row, start, end)
        if self._sizes.may_be_outdated(row):  # who was told the size that it had would get it cut
            raise SourceChangedError(f"{self._path(row)}: was replaced by a file of another size; open it again")
        return data

    def read_many(self, rows: list[int]) -> list[bytes]:
        return self._storage.read_files([self._path(row) for row in rows])

    def check_size(self, row: int) -> None:
        pass


def loose_files(storage: Storage, index: Index, path: Callable[[int], str]) -> LooseFiles:
    """Those of a tree; `path` gives the path of a row."""
    if isinstance(storage, RemoteStorage):
        return _Remote(storage, index, path)
    if isinstance(storage, LocalStorage):
        return _Local(storage, path)
    raise TypeError(f"unknown storage {type(storage).__name__}")


def _gone(path: str) -> NotFoundError:
    return NotFoundError(f"{path}: was removed after the project was opened")
