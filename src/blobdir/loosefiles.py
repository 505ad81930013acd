"""Loose files of a project: looked at and read as they are now, on this machine or behind a backend.

People edit and replace them at any time, and an image made of two is worse than an error. So whoever reads one in more
than one piece opens it: `LooseFiles.open` gives the version of that moment, and it lives with its reader, not with the
row, which others read too.

- *On this machine* it's a descriptor, so one that was replaced or removed is read on as it was. It's one of the budget
  of the process (`blobdir.descriptors`): it may be closed, and then the path is opened again. Size, times and inode are
  compared then, and size and times after each read, since somebody may write to the file itself. The time of change
  counts, which nobody can set, unless a name of the file has come or gone, which is no change of its content.
- *Behind a backend* a small file is read whole. Of another one, size and version (etag, else time) are asked for, and
  each answer is compared with them. An answer that is shorter than the file is asked for anew, and an error then.

What isn't there is a `NotFoundError`, or a `ReadError` where the disk isn't that it was on: nobody knows what is on one
that was taken away. A folder that isn't there is as it was when it was last looked at, or else when the project was
opened: what is in its place, or above it, may be open to more people. Another version is a `SourceChangedError`, at
each read. The size of an open file is that of its version.
"""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from blobdir.descriptors import DESCRIPTORS
from blobdir.discovery.inputs import FOLDER
from blobdir.discovery.layout import META
from blobdir.errors import LinkError, NotFoundError, ReadError, ShortReadError, SourceChangedError, kept
from blobdir.index import LOOSE
from blobdir.inside import NO_FILE
from blobdir.lazily import cached_property
from blobdir.mountlines import mount_points
from blobdir.sources import LocalStorage, RemoteStorage, Stat

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.index import Index
    from blobdir.sources import Storage
    from blobdir.sources.disks import Disk
    from blobdir.sources.local import LocalSource
    from blobdir.sources.transports import Answer

SMALL_FILE = 256 << 10
"""Bytes up to which a remote file is read whole, whatever part of it is wanted."""
SIZES_AT_ONCE = 64
"""Files whose sizes are asked for together, where a listing has none."""
_TRIES = 3
"""Times that a part of a file is asked for whose size turns out to be another one."""


class OpenFile(Protocol):
    """One version of one file. Threads may share it.

    Attributes
    ----------
    size : int
        Bytes.
    version : Stat
        What it's known by.
    """

    size: int
    version: Stat

    def read(self, start: int, end: int) -> bytes:
        """Bytes ``start:end``, half-open, cut at its end; SourceChangedError where they are of another version."""
        ...

    def check_size(self) -> None:
        """Raise OSError of a file that says it has far more bytes than it takes on its disk."""
        ...


class LooseFiles(Protocol):
    """The loose files of one tree, by their rows."""

    def folder(self, row: int) -> tuple[Stat, bool]:
        """Attributes of a directory, and whether they are those of now.

        Of one that isn't there any more, or whose disk isn't, those that it had. FileNotFoundError, NotADirectoryError,
        LinkError where there was none that could be looked at when the project was opened either.
        """
        ...

    def link(self, row: int) -> Stat | None:
        """Attributes of a symbolic link itself; None where it can't be looked at, or there is none.

        ReadError where its disk is gone.
        """
        ...

    def stat(self, row: int) -> Stat:
        """Attributes of a file; NotFoundError where it's gone, ReadError where something else is there."""
        ...

    def version(self, row: int) -> Stat:
        """Which version of a file is there now; NotFoundError where it's gone."""
        ...

    def read(self, row: int, start: int, end: int | None) -> bytes:
        """Bytes ``start:end`` of a file as it is now, whatever its size was: as of a slice, negative ones from its end.

        NotFoundError where it's gone.
        """
        ...

    def read_version(self, row: int, start: int, end: int) -> tuple[bytes, Stat]:
        """The same, and the version of the file that they are of."""
        ...

    def open(self, row: int) -> OpenFile:
        """A file as it is now, for who reads it in pieces; NotFoundError where it's gone."""
        ...

    def read_many(self, rows: list[int]) -> list[bytes]:
        """Whole files."""
        ...

    def read_each(self, rows: list[int]) -> list[bytes | OSError]:
        """Whole files, or why one can't be read."""
        ...

    def check_size(self, row: int) -> None:
        """Raise OSError of a file that says it has far more bytes than it takes on its disk."""
        ...


class _Absences:
    """What to say of files that aren't there: they were removed, or their disk has gone with all that is on it."""

    def __init__(self, storage: LocalStorage) -> None:
        self._root = storage.root
        self._disks = storage.disks
        self._outside = mount_points() if storage.follow_links else frozenset()

    def is_gone(self, path: str) -> bool:
        """Whether the disk isn't there on which a path of the project was."""
        return self._gone(path) is not None or bool(self._gone_outside(path))

    def _gone(self, path: str) -> Disk | None:
        return next((disk for disk in self._disks if disk.has(path) and not self._is_there(disk)), None)

    def _gone_outside(self, path: str) -> str:
        """Where a disk was mounted to which a link on the way to a path leads; empty where that's so still."""
        if not self._outside:
            return ""
        real = os.path.realpath(f"{self._root}/{path}")
        led = [point for point in self._outside if f"{real}/".startswith(f"{point}/")]
        return max(set(led) - mount_points(), key=len, default="") if led else ""

    def _is_there(self, disk: Disk) -> bool:
        return disk.is_there(self._root) or (not disk.path and os.path.lexists(f"{self._root}/{META}"))

    def check(self, path: str) -> None:
        """Raise ReadError where nothing is there any more."""
        if isinstance(error := self.of(path), ReadError):
            raise error

    def of(self, path: str) -> NotFoundError | ReadError:
        """The error for a file that isn't there."""
        if disk := self._gone(path):
            what, place = ("disk", f"{self._root}/{disk.path}") if disk.path else ("project", self._root)
        elif place := self._gone_outside(path):
            what = "disk"
        else:
            return _gone(path)
        return ReadError(
            f"{path}: isn't there, and nor is the {what}: {place} isn't the folder that was opened. "
            "Was its disk taken away?"
        )


class _SeenFolders:
    """Attributes of folders as they were seen last: one memory for all processes that are forked later."""

    def __init__(self, index: Index) -> None:
        self._rows = index.directories
        fields = np.dtype([(name, "i8") for name in ("is_seen", "second", "ns", "mode", "uid", "gid")])
        memory = mmap.mmap(-1, max(1, len(self._rows)) * fields.itemsize)  # takes no room until then
        self._seen = np.frombuffer(memory, fields)

    def note(self, row: int, found: Stat) -> None:
        """Keep what was seen."""
        times = divmod(found.mtime_ns, 10**9)  # those after 2262 don't fit in one
        self._seen[np.searchsorted(self._rows, row)] = (1, *times, found.mode, found.uid, found.gid)

    def get(self, row: int) -> Stat | None:
        """What was seen last."""
        is_seen, second, ns, mode, uid, gid = self._seen[np.searchsorted(self._rows, row)].tolist()
        return Stat("directory", -1, second * 10**9 + ns, mode, uid, gid) if is_seen else None


class _Local:
    def __init__(self, storage: LocalStorage, index: Index, path: Callable[[int], str]) -> None:
        self._storage, self._index, self._path = storage, index, path
        self._absent = _Absences(storage)
        self._folders = _SeenFolders(index)

    @cached_property
    def _opened(self) -> dict[str, Stat]:
        """Attributes of the folders that were there when the project was opened."""
        return {
            then.path: Stat("directory", -1, then.mtime_ns, then.mode, then.uid, then.gid)
            for then in self._index.header.inputs
            if then.role == FOLDER and then.inode >= 0
        }

    def folder(self, row: int) -> tuple[Stat, bool]:
        path = self._path(row)
        why: OSError = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        try:
            found = self._storage.stat(path)
        except (FileNotFoundError, NotADirectoryError, LinkError) as error:
            why = error
        else:
            if found.kind == "directory" and not self._absent.is_gone(path):
                self._folders.note(row, found)
                return found, True
        then = self._folders.get(row) or self._opened.get(path)
        try:
            if then is None:
                raise why
        finally:
            del why  # an error and a frame that keeps it are a circle
        return then, False

    def link(self, row: int) -> Stat | None:
        path = self._path(row)
        try:
            found = self._storage.stat_link(path)
        except OSError:
            self._absent.check(path)
            return None
        return found if found.kind == "link" else None

    def stat(self, row: int) -> Stat:
        path = self._path(row)
        try:
            found = self._storage.stat(path)
        except FileNotFoundError as error:
            raise self._absent.of(path) from error
        if found.kind != "file":
            what = "is a folder, and a file belongs there" if found.kind == "directory" else NO_FILE
            raise ReadError(f"{path}: {what}")
        return found

    version = stat

    def read(self, row: int, start: int, end: int | None) -> bytes:
        path = self._path(row)
        try:
            source = self._storage.open_loose(path)
        except FileNotFoundError as error:
            raise self._absent.of(path) from error
        low, high, _ = slice(start, end).indices(source.size)
        return source.read_at(low, max(0, high - low))

    def read_version(self, row: int, start: int, end: int) -> tuple[bytes, Stat]:
        path = self._path(row)
        try:
            source = self._storage.open_loose(path)
        except FileNotFoundError as error:
            raise self._absent.of(path) from error
        data = source.read_at(start, max(0, min(end, source.size) - start))
        return data, source.now()  # after the bytes: who writes to it changes its time first

    def open(self, row: int) -> OpenFile:
        path = self._path(row)
        try:
            return _OpenLocal(self._storage, path, self._absent)
        except FileNotFoundError as error:
            raise self._absent.of(path) from error

    def read_many(self, rows: list[int]) -> list[bytes]:
        try:
            return self._storage.read_loose([self._path(row) for row in rows])
        except FileNotFoundError:  # of which one it's said below
            return [self.read(row, 0, None) for row in rows]

    def read_each(self, rows: list[int]) -> list[bytes | OSError]:
        try:
            return [*self.read_many(rows)]
        except OSError:
            return [kept(self.read, row, 0, None) for row in rows]

    def check_size(self, row: int) -> None:
        path = self._path(row)
        try:
            self._storage.open_loose(path).check_size()
        except FileNotFoundError as error:
            raise self._absent.of(path) from error


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


class _Remote:
    """Each question is a request, so sizes are asked for together, and those of the listing are believed."""

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


class _OpenLocal:
    """A file on this machine that is kept open, as far as the budget of the process allows it."""

    def __init__(self, storage: LocalStorage, path: str, absent: _Absences) -> None:
        self._storage, self._path, self._absent = storage, path, absent
        source = storage.open_loose(path)
        self._source: LocalSource | None = source
        self.version, self.size = source.stat, source.size
        self._seen = source.stat.ctime_ns, source.stat.links
        self._is_changed = False
        DESCRIPTORS.keep(self, 0)

    def let_go(self, key: Any) -> None:  # noqa: ARG002  # there is one only
        """Close it; the next read opens it again."""
        self._source = None

    def was_used(self, key: Any) -> bool:  # noqa: ARG002
        """Whether it was read since it was last asked."""
        source = self._source
        used = source is not None and source.used
        if source is not None:
            source.used = False
        return used

    def _opened(self) -> LocalSource:
        source = self._source
        if source is None:
            try:
                source = self._storage.open_loose(self._path)
            except FileNotFoundError as error:
                raise self._absent.of(self._path) from error
            self._check(source)
            self._source = source
            DESCRIPTORS.keep(self, 0)
        return source

    def _check(self, source: LocalSource) -> None:
        now = source.now()
        is_same = self.version.same_content(now) and (now.ctime_ns == self._seen[0] or now.links != self._seen[1])
        if self._is_changed or not is_same:
            self._is_changed = True  # whatever it looks like later
            raise _changed(self._path)
        self._seen = now.ctime_ns, now.links

    def read(self, start: int, end: int) -> bytes:
        source = self._opened()
        data = source.read_at(start, max(0, min(end, self.size) - start))
        self._check(source)
        source.used = True
        return data

    def check_size(self) -> None:
        self._opened().check_size()


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
            raise _changed(self._path)
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


def loose_files(storage: Storage, index: Index, path: Callable[[int], str]) -> LooseFiles:
    """Those of a tree; `path` gives the path of a row."""
    if isinstance(storage, RemoteStorage):
        return _Remote(storage, index, path)
    if isinstance(storage, LocalStorage):
        return _Local(storage, index, path)
    raise TypeError(f"unknown storage {type(storage).__name__}")


def _gone(path: str) -> NotFoundError:
    return NotFoundError(f"{path}: was removed after the project was opened")


def _changed(path: str) -> SourceChangedError:
    return SourceChangedError(f"{path}: was replaced between two reads of it, or written to; open it again")
