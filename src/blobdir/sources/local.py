"""Files on this machine: ``os.pread`` on shared descriptors, correct under threads and after a fork."""

from __future__ import annotations

import errno
import os
import stat as stat_module
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from blobdir.descriptors import with_room
from blobdir.errors import LinkError, SourceChangedError
from blobdir.inside import LEAST_BYTES, check_regular, check_size, open_anywhere, open_inside, read_open, stat_inside
from blobdir.sources.model import Entry, Folder, Kind, Stat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.sources.model import Longs

_MOST_WAYS = 16
"""Times that one folder is shown as what links to it lead to: a few folders of links have millions of paths."""


def _kind(mode: int) -> Kind:
    if stat_module.S_ISREG(mode):
        return "file"
    if stat_module.S_ISDIR(mode):
        return "directory"
    return "link" if stat_module.S_ISLNK(mode) else "other"


def _stat(result: os.stat_result) -> Stat:
    mode = stat_module.S_IMODE(result.st_mode)
    return Stat(
        _kind(result.st_mode), result.st_size, result.st_mtime_ns, mode, result.st_uid, result.st_gid,
        inode=result.st_ino, ctime_ns=result.st_ctime_ns,
    )  # fmt: skip


class LocalSource:
    """An open file, whose descriptor it takes.

    The descriptor is closed when the last reference goes, so a thread that is reading while another drops the
    source can't meet a descriptor that meanwhile belongs to another file.
    """

    __slots__ = ("fd", "path", "size", "stat", "used")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.used = False
        self.fd = -1
        result = check_regular(fd, path)
        self.fd = fd
        self.stat = _stat(result)
        self.size = result.st_size

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def now(self) -> Stat:
        """Its attributes as they are now."""
        return _stat(os.fstat(self.fd))

    def read_at(self, start: int, n: int) -> bytes:
        """Read `n` bytes from byte `start`; fewer only where the file ends.

        Raises
        ------
        OSError
            They are more than the file can have, by what it takes on its disk.
        """
        if n > LEAST_BYTES:
            found = os.fstat(self.fd)
            n = max(0, min(n, found.st_size - start))
            if n > LEAST_BYTES:
                check_size(found, self.path, most=sys.maxsize)
        data = os.pread(self.fd, n, start)
        if len(data) == n or not data:
            return data
        parts = [data]  # one pread gives 2 GiB at the most
        got = len(data)
        while got < n and (data := os.pread(self.fd, n - got, start + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def read_many(self, starts: Sequence[int] | Longs, ends: Sequence[int] | Longs) -> list[bytes]:
        """Read the half-open ranges ``starts[i]:ends[i]``; cut where the file ends."""
        return [self.read_at(int(start), int(end - start)) for start, end in zip(starts, ends, strict=True)]


class LocalStorage:
    """A folder on this machine.

    Parameters
    ----------
    root : str
    follow_links : bool
        Whether symbolic links out of the project are followed; if not, nothing outside it is ever read.
    """

    is_local = True

    def __init__(self, root: str, *, follow_links: bool = False) -> None:
        self.follow_links = follow_links
        self.root = os.path.realpath(root)
        self.url = self.root

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def escapes(self, path: str) -> bool:
        """Whether `path`, with every link in it followed, lies outside the project."""
        real = os.path.realpath(self._full(path))
        return real != self.root and not real.startswith(self.root.rstrip("/") + "/")

    def walk(self, *, follow_links: bool) -> Iterator[Folder]:
        """Yield each directory, parents first."""
        todo = [""]
        ways: Counter[str] = Counter()
        while todo:
            path = todo.pop()
            folder = self.folder(path, follow_links=follow_links)
            entries = folder.entries
            for i, entry in enumerate(entries):
                if entry.kind != "directory":
                    continue
                below = f"{path}/{entry.name}" if path else entry.name
                if follow_links:
                    real = os.path.realpath(self._full(below))
                    ways[real] += 1
                    if ways[real] > _MOST_WAYS:
                        with suppress(OSError):  # the folder itself
                            entries[i] = Entry(entry.name, "link", target=os.readlink(self._full(below)))
                            continue
                todo.append(below)
            yield folder

    def folder(self, path: str, *, follow_links: bool = False) -> Folder:
        """One directory and what it holds; where it can't be listed, why."""
        stat = Stat("directory")
        try:
            stat = self.stat(path)
            return Folder(path, stat, self._list(path, follow_links))
        except OSError as error:
            # Kept without the frames that it came through, which hold what is open there.
            return Folder(path, stat, [], error.with_traceback(None))

    def _list(self, path: str, follow_links: bool) -> list[Entry]:
        entries = []
        above: set[str] = set()
        folder = self._descriptor(path, folder=True)
        try:
            with os.scandir(folder) as scan:
                for item in scan:
                    if item.is_file(follow_symlinks=False):
                        entries.append(Entry(item.name, "file"))
                    elif item.is_dir(follow_symlinks=False):
                        entries.append(Entry(item.name, "directory"))
                    elif item.is_symlink():
                        above = above or (self._above(path) if follow_links else set())
                        kind = self._behind(item, self._full(path), above) if follow_links else "link"
                        entries.append(Entry(item.name, kind, target=os.readlink(item.name, dir_fd=folder)))
                    else:
                        entries.append(Entry(item.name, "other"))
        finally:
            os.close(folder)
        return entries

    def _above(self, path: str) -> set[str]:
        """The real paths of a folder and of those above it, up to the project's own."""
        found = {self.root}
        while path:
            found.add(os.path.realpath(self._full(path)))
            path = path.rpartition("/")[0]
        return found

    @staticmethod
    def _behind(item: os.DirEntry[str], full: str, above: set[str]) -> Kind:
        """What a link that is followed leads to; ``link`` where that is nothing, or a folder that it's in itself."""
        with suppress(OSError):  # one that leads in circles
            if item.is_dir():
                return "link" if os.path.realpath(f"{full}/{item.name}") in above else "directory"
            if item.is_file():
                return "file"
        return "link"

    def stat(self, path: str) -> Stat:
        """Attributes of `path`, links followed; FileNotFoundError where there is none.

        Raises
        ------
        LinkError
            It leads outside the project, and that isn't allowed.
        OSError
        """
        return _stat(os.stat(self._full(path)) if self.follow_links else stat_inside(self.root, path))

    def _descriptor(self, path: str, *, folder: bool = False, follow_last: bool = True) -> int:
        if not self.follow_links:
            return with_room(lambda: open_inside(self.root, path, folder=folder, follow_last=follow_last))
        return with_room(lambda: open_anywhere(self._full(path), folder=folder))

    def _open(self, path: str, *, follow_last: bool = True) -> LocalSource:
        """Open a file of the project, wherever links inside it lead."""
        return LocalSource(self._full(path), self._descriptor(path, follow_last=follow_last))

    def read(self, path: str) -> bytes:
        """The whole content of a file that can't be large: see `blobdir.inside.read_whole`."""
        source = self._open(path)
        return read_open(source.fd, source.path)

    def open_loose(self, path: str) -> LocalSource:
        """Open a loose file as it is now; LinkError where it has become a link and those aren't followed."""
        try:
            return self._open(path, follow_last=self.follow_links)
        except OSError as error:
            if error.errno == errno.ELOOP and not isinstance(error, LinkError):
                raise LinkError(f"{path}: is a symbolic link now; open the project again") from error
            raise

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes ``start:end`` of a file as it is now; fewer only where the file ends."""
        return self._open(path).read_at(start, end - start)

    def read_files(self, paths: Sequence[str]) -> list[bytes]:
        """The whole contents of several small files."""
        return [self.read(path) for path in paths]

    def open(self, path: str, expected: Stat | None = None) -> LocalSource:
        """Open a file for reads by range; SourceChangedError where it isn't the version that is `expected`."""
        source = self._open(path)
        if expected is not None and not expected.same_content(source.stat):
            raise SourceChangedError(
                f"{path}: was replaced or changed after the project was opened "
                f"({expected.size} bytes then, {source.size} now); open the project again"
            )
        return source
