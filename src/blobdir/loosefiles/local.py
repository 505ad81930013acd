"""Loose files on this machine."""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.descriptors import DESCRIPTORS
from blobdir.discovery.inputs import FOLDER
from blobdir.discovery.layout import META
from blobdir.errors import LinkError, NotFoundError, ReadError, kept
from blobdir.inside import NO_FILE
from blobdir.lazily import cached_property
from blobdir.loosefiles.model import changed
from blobdir.mountlines import mount_points
from blobdir.sources import Stat

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.index import Index
    from blobdir.loosefiles.model import LooseFiles, OpenFile
    from blobdir.sources import LocalStorage
    from blobdir.sources.disks import Disk
    from blobdir.sources.local import LocalSource


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
            return NotFoundError(f"{path}: was removed after the project was opened")
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
    are_there = True

    def __init__(self, storage: LocalStorage, index: Index, path: Callable[[int], str]) -> None:
        self._storage, self._index, self._path = storage, index, path
        self._absent = _Absences(storage)
        self.disks = storage.disks
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
            raise changed(self._path)
        self._seen = now.ctime_ns, now.links

    def read(self, start: int, end: int) -> bytes:
        source = self._opened()
        data = source.read_at(start, max(0, min(end, self.size) - start))
        self._check(source)
        source.used = True
        return data

    def check_size(self) -> None:
        self._opened().check_size()


def local_files(storage: LocalStorage, index: Index, path: Callable[[int], str]) -> LooseFiles:
    """Those of a tree; `path` gives the path of a row."""
    return _Local(storage, index, path)
