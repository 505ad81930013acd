"""Loose files behind a backend."""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from blobdir.errors import NotFoundError, ShortReadError, SourceChangedError, kept
from blobdir.index import LOOSE
from blobdir.loosefiles.model import changed
from blobdir.sources import Stat

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.index import Index
    from blobdir.loosefiles.model import LooseFiles, OpenFile
    from blobdir.sources import RemoteStorage
    from blobdir.sources.disks import Disk
    from blobdir.sources.transports import Answer

SMALL_FILE = 256 << 10
"""Bytes up to which a remote file is read whole, whatever part of it is wanted."""
SIZES_AT_ONCE = 64
"""Files whose sizes are asked for together, where a listing has none."""
NOT_THERE = "is listed, but isn't there: it was removed since, or its name leads nowhere"
"""Why a file can't be had whose name a listing or an index has."""
_TRIES = 3
"""Times that a part of a file is asked for whose size turns out to be another one."""


class _Remote:
    """Each question is a request, so sizes are asked for together, and those of the listing are believed."""

    are_there = True
    disks: tuple[Disk, ...] = ()

    def __init__(self, storage: RemoteStorage, index: Index, path: Callable[[int], str]) -> None:
        self._storage, self._index, self._path = storage, index, path
        self._sizes = _Sizes(index)
        self._told: dict[int, Stat] = {}  # of files whose answers don't say how many bytes they have

    def folder(self, row: int) -> tuple[Stat, bool]:  # noqa: ARG002  # backends have no attributes of folders
        return Stat("directory"), True

    def link(self, row: int) -> Stat | None:  # noqa: ARG002  # nor links
        return None

    def stat(self, row: int) -> Stat:
        try:
            if self._sizes[row] < 0:
                self._ask_sizes(row)
            if (known := self._sizes[row]) < 0:
                return self._storage.stat(self._path(row))
        except FileNotFoundError as error:
            raise _gone(self._path(row)) from error
        return Stat("file", known)

    def version(self, row: int) -> Stat:
        try:
            found = self._storage.stat(self._path(row))
        except FileNotFoundError as error:
            raise _gone(self._path(row)) from error
        if found.size >= 0:
            self._sizes[row] = found.size
        return found

    def _ask_sizes(self, row: int) -> None:
        """Who asks for the size of a file will ask for those after it: a request each, but together.

        FileNotFoundError, ReadError where its own can't be had.
        """
        index = self._index
        rows = np.arange(row, min(row + SIZES_AT_ONCE, index.children(index.parent(row)).stop))
        unknown = rows[(index.source[rows] == LOOSE) & (index.size[rows] < 0)].tolist()
        paths = {self._path(i): i for i in unknown if i not in self._sizes}
        for path, stat in self._storage.stat_many(list(paths), needed=self._path(row)).items():
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
                data = _answer(self._storage, path, known=known).data
                self._sizes[row] = len(data)
                return data if start == 0 and end is None else data[start:end]
            low, high, _ = slice(start, end).indices(known)
            if low < high:
                data = self._part(row, path, low, high)
            elif end is not None and 0 <= end <= start:
                return b""
            else:
                data = b""
                self._sizes[row] = self._storage.stat(path).size
            if self._sizes[row] == known:
                return data
        raise SourceChangedError(f"{path}: is being replaced again and again; read it again")

    def _part(self, row: int, path: str, start: int, end: int) -> bytes:
        """A part of a large file, whose size is known then."""
        answer = _answer(self._storage, path, start, end)
        version = self._whole_version(row, path, answer.version)
        if version.size >= 0:
            self._sizes[row] = version.size
        elif len(answer.data) < end - start:
            self._sizes[row] = start + len(answer.data)
        return answer.data

    def read_version(self, row: int, start: int, end: int) -> tuple[bytes, Stat]:
        path = self._path(row)
        try:
            is_small = (known := self._sizes[row]) <= SMALL_FILE
            whole = (None, None)
            answer = _answer(self._storage, path, *(whole if is_small else (start, end)), known=known)
        except FileNotFoundError as error:
            raise _gone(path) from error
        if is_small:
            version = replace(answer.version, size=len(answer.data))
        else:
            version = self._whole_version(row, path, answer.version)
        if version.size >= 0:
            self._sizes[row] = version.size
        return (answer.data[start:end] if is_small else answer.data), version

    def _whole_version(self, row: int, path: str, version: Stat) -> Stat:
        """The version of an answer as the server says it of the whole file: a part may not say how many bytes that has.

        It's asked for once a version, and is always the same then: what is called by it (`Stat.tag`) is one thing.
        """
        if version.size >= 0:
            return version
        told = self._told.get(row)
        if told is None or not told.is_surely(version):
            told = self._told[row] = self._storage.stat(path)
        return version if told.difference(version) else told

    def open(self, row: int) -> OpenFile:
        path = self._path(row)
        try:
            found = _OpenRemote(self._storage, path, self._sizes[row])
        except FileNotFoundError as error:
            raise _gone(path) from error
        self._sizes[row] = found.size
        return found

    def read_many(self, rows: list[int]) -> list[bytes]:
        contents: list[bytes] = []
        try:
            for data in self._storage.iter_files([self._path(row) for row in rows]):
                contents.append(data)  # noqa: PERF402  # as many as there are
        except FileNotFoundError as error:
            raise _gone(self._path(rows[len(contents)])) from error
        for i, row in enumerate(rows):
            if len(contents[i]) < self._sizes[row]:  # it has become shorter, or isn't all of it
                contents[i] = self.read(row, 0, None)
        return contents

    def read_each(self, rows: list[int]) -> list[bytes | OSError]:
        contents: list[bytes | OSError] = list(self._storage.iter_outcomes([self._path(row) for row in rows]))
        for i, (row, data) in enumerate(zip(rows, contents, strict=True)):
            if isinstance(data, FileNotFoundError):
                contents[i] = _gone(self._path(row))
            elif isinstance(data, bytes) and len(data) < self._sizes[row]:
                contents[i] = kept(self.read, row, 0, None)
        return contents

    def check_size(self, row: int) -> None:
        pass


class _Sizes:
    """Sizes of files as far as the index hasn't them, or has them of older files; -1 where nobody knows.

    Processes that are forked from the one that has made it know the same: of those that serve a mount one says the
    size, and another one reads.
    """

    def __init__(self, index: Index) -> None:
        self._listed = index.size
        self._shared = np.frombuffer(mmap.mmap(-1, 8 * len(index)), np.int64)  # size + 1

    def __contains__(self, row: int) -> bool:
        return bool(self._shared[row])

    def __getitem__(self, row: int) -> int:
        found = int(self._shared[row])
        return found - 1 if found else int(self._listed[row])

    def __setitem__(self, row: int, size: int) -> None:
        if self[row] != size:
            self._shared[row] = size + 1


class _OpenRemote:
    """A file behind a backend: its content, or what its version is known by."""

    def __init__(self, storage: RemoteStorage, path: str, known: int) -> None:
        self._storage, self._path = storage, path
        self._data: bytes | None = None
        self.version = Stat("file", known) if 0 <= known <= SMALL_FILE else storage.stat(path)
        if self.version.size <= SMALL_FILE:  # of unknown size, too
            answer = _answer(storage, path, known=known)
            self._data, self.version = answer.data, replace(answer.version, size=len(answer.data))
        self.size = self.version.size

    def read(self, start: int, end: int) -> bytes:
        if self._data is not None:
            return self._data[start:end]
        end = min(end, self.size)
        if start >= end:
            return b""
        try:
            answer = _answer(self._storage, self._path, start, end)
        except FileNotFoundError as error:
            raise _gone(self._path) from error
        if self.version.difference(answer.version):
            raise changed(self._path)
        if not (self.version.etag or self.version.mtime_ns):  # HEAD names no version: what the first answer does holds
            self.version = replace(answer.version, size=self.size)
        return answer.data

    def check_size(self) -> None:
        pass


def _answer(
    storage: RemoteStorage, path: str, start: int | None = None, end: int | None = None, *, known: int = -1
) -> Answer:
    """Bytes of a file, or all of it; ShortReadError where the server goes on sending less than it says there is.

    Parameters
    ----------
    storage, path, start, end
        As of `RemoteStorage.fetch`.
    known : int
        Bytes that the whole file had when it was last looked at. Only where it seems to have fewer is it asked for
        that anew, if the answer doesn't tell.
    """
    for _ in range(_TRIES):
        answer = storage.fetch(path, start, end)
        got, there = (start or 0) + len(answer.data), answer.version.size
        if there < 0 and start is None and got < known:
            there = storage.stat(path).size
        wanted = there if end is None else min(end, there)
        if got >= wanted or (start or 0) >= there:
            return answer
    raise ShortReadError(f"{storage.url}: {path}: the server sent {got:,} bytes of {wanted:,}, again and again")


def remote_files(storage: RemoteStorage, index: Index, path: Callable[[int], str]) -> LooseFiles:
    """Those of a tree; `path` gives the path of a row."""
    return _Remote(storage, index, path)


def _gone(path: str) -> NotFoundError:
    return NotFoundError(f"{path}: {NOT_THERE}")
