"""Files on this machine: ``os.pread`` on shared descriptors, correct under threads and after a fork."""

from __future__ import annotations

import errno
import os
import stat as stat_module
import sys
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from blobdir.descriptors import none_left, with_room
from blobdir.errors import BlobdirError, LinkError, SourceChangedError, to_keep
from blobdir.filenames import folders_of_format
from blobdir.inside import (
    LEAST_BYTES,
    MOST_WAYS,
    TRIES,
    check_regular,
    check_size,
    link_target,
    open_anywhere,
    open_inside,
    read_open,
    real_path,
    small_files,
    stat_inside,
    was_swapped,
)
from blobdir.lazily import cached_property
from blobdir.projectlock import STATE_DIR
from blobdir.sources.disks import Disk, SeenDevices, disks_of
from blobdir.sources.model import Entry, Folder, Kind, Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from blobdir.sources.model import Longs


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
        inode=result.st_ino, ctime_ns=result.st_ctime_ns, links=result.st_nlink,
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

    def check_size(self, found: os.stat_result | None = None) -> None:
        """Raise `OSError` where it says that it's larger than it can be, by what it takes on its disk."""
        check_size(found or os.fstat(self.fd), self.path, most=sys.maxsize)

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
                self.check_size(found)
        data = os.pread(self.fd, n, start)
        if len(data) == n or not data:
            return data
        parts = [data]  # one pread gives 2 GiB at the most
        got = len(data)
        while got < n and (data := os.pread(self.fd, n - got, start + got)):
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def warm(self) -> Iterator[tuple[int, bool]]:
        """Nothing: it's here."""
        return iter(())

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

    is_quick = True

    def __init__(self, root: str, *, follow_links: bool = False) -> None:
        self.follow_links = follow_links
        self._named = os.path.abspath(root)
        self.root = self.url = self.place = self.directory = real_path(root)
        self.odd: list[tuple[str, str, str]] = []
        self._seen: SeenDevices | None = SeenDevices()

    @cached_property
    def disks(self) -> tuple[Disk, ...]:
        """The project's disks as they were when this was asked for first: when the project was opened."""
        seen, self._seen = self._seen or SeenDevices(), None
        return disks_of(self.root, seen)

    def disks_with(self, files: Iterable[str]) -> tuple[Disk, ...]:
        """Those of the disks that some files are on, as they are now."""
        return disks_of(self.root, SeenDevices(), files)

    def is_where_it_is_named(self) -> bool:
        """Whether the path that was given still leads here: a link in it, as ``current``, may lead elsewhere by now."""
        return real_path(self._named) == self.root

    def expect(self, size: int) -> None:
        """Nothing: files on this machine aren't kept a second time."""

    def _full(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def escapes(self, path: str) -> bool:
        """Whether `path`, with every link in it followed, lies outside the project."""
        real = real_path(self._full(path))
        return real != self.root and not real.startswith(self.root.rstrip("/") + "/")

    def walk(self, *, follow_links: bool) -> Iterator[Folder]:
        """Yield each directory, parents first; see `folder`."""
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
                if follow_links or entry.target:
                    real = real_path(self._full(below))
                    ways[real] += 1
                    if ways[real] > MOST_WAYS:
                        with suppress(OSError):  # the folder itself
                            entries[i] = Entry(entry.name, "link", target=os.readlink(self._full(below)))
                            continue
                todo.append(below)
            yield folder

    def folder(self, path: str, *, follow_links: bool = False) -> Folder:
        """One directory and what it holds; where it can't be listed, why.

        A link that stands where the format has a folder (`blobdir.filenames.folders_of_format`) counts as that folder:
        one that leads nowhere, or out of the project, as one that can't be listed. One that leads to a folder that it
        is in itself stays a link, as does one to ``.blobdir``.

        Parameters
        ----------
        path : str
        follow_links : bool
            Whether all other links that lead to something stand as what they lead to as well.
        """
        stat = Stat("directory")
        try:
            stat = self.stat(path)
            return Folder(path, stat, self._list(path, follow_links))
        except OSError as error:
            why: OSError = error
            if not isinstance(error, BlobdirError) and not none_left(error):
                with suppress(OSError):
                    if (target := link_target(self._full(path))) is not None:
                        what = f"a symbolic link to {target!r}, which can't be listed ({error.strerror})"
                        why = LinkError(f"{path}: is {what}; put a folder there")
            # Kept without the frames that it came through, which hold what is open there.
            return Folder(path, stat, [], to_keep(why))

    def entries(self, path: str) -> list[tuple[str, bool]]:
        """Names in one folder, and whether each is a folder, links followed; none where there is no such folder."""
        try:
            found = self._list(path, True)  # as elsewhere
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [(entry.name, entry.kind == "directory") for entry in found]

    def _list(self, path: str, follow_links: bool) -> list[Entry]:
        entries = []
        links = []
        folder = self._descriptor(path, folder=True)
        try:
            with with_room(lambda: os.scandir(folder)) as scan:
                for item in scan:
                    if item.is_file(follow_symlinks=False):
                        entries.append(Entry(item.name, "file"))
                    elif item.is_dir(follow_symlinks=False):
                        entries.append(Entry(item.name, "directory"))
                    elif not item.is_symlink():
                        entries.append(Entry(item.name, "other"))
                    elif entry := self._link(path, item.name, folder):
                        if entry.kind == "link":
                            links.append(len(entries))
                        entries.append(entry)
        finally:
            os.close(folder)
        if links:
            self._follow(path, entries, links, follow_links)
        return entries

    def _link(self, path: str, name: str, folder: int) -> Entry | None:
        """What was a link when its folder was listed, as it is now; None where it's gone."""
        for _ in range(TRIES):
            if (target := link_target(name, dir_fd=folder)) is not None:
                return Entry(name, "link", target=target)
            try:
                kind = _kind(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
            except FileNotFoundError:
                return None
            if kind != "link":
                return Entry(name, kind)
        raise was_swapped(f"{path}/{name}" if path else name)

    def _follow(self, path: str, entries: list[Entry], links: list[int], follow_links: bool) -> None:
        """Have those links stand as what they lead to that do."""
        of_format = folders_of_format(path, [entry.name for entry in entries])
        if of_format and not follow_links and real_path(self._full(path)) != self._full(path):
            of_format = set()  # it's behind such a link itself
        if not (follow_links or of_format):
            return
        above = self._above(path)
        for i in links:
            entry = entries[i]
            if follow_links or entry.name in of_format:
                below = f"{path}/{entry.name}" if path else entry.name
                kind = self._behind(below, above, is_folder=entry.name in of_format)
                if kind == "directory" or follow_links:
                    entries[i] = entry._replace(kind=kind)

    def _above(self, path: str) -> set[str]:
        """The real paths of a folder and of those above it, up to the project's own."""
        found = {self.root}
        while path:
            found.add(real_path(self._full(path)))
            path = path.rpartition("/")[0]
        return found

    def _behind(self, path: str, above: set[str], *, is_folder: bool) -> Kind:
        """What a link that is followed counts as; where `is_folder`, one that leads nowhere is a directory."""
        try:
            kind = self.stat(path).kind
        except OSError as error:  # listing it says why
            if none_left(error):
                raise
            return "directory" if is_folder else "link"
        if kind == "directory":
            real = real_path(self._full(path))
            state = os.path.join(self.root, STATE_DIR)
            return "link" if real in above or f"{real}/".startswith(f"{state}/") else "directory"
        return "file" if kind == "file" else "link"

    def stat(self, path: str) -> Stat:
        """Attributes of `path`, links followed; FileNotFoundError where there is none.

        Raises
        ------
        LinkError
            It leads outside the project, and that isn't allowed.
        OSError
        """
        found = os.stat(self._full(path)) if self.follow_links else with_room(lambda: stat_inside(self.root, path))
        if (seen := self._seen) is not None and stat_module.S_ISDIR(found.st_mode):
            seen.note(path, found.st_dev)
        return _stat(found)

    def stat_link(self, path: str) -> Stat:
        """Attributes of a symbolic link itself, or of what else is at `path`; raises what `stat` raises."""
        head, _, name = path.rpartition("/")
        folder = self._descriptor(head, folder=True)
        try:
            return _stat(os.stat(name, dir_fd=folder, follow_symlinks=False))
        finally:
            os.close(folder)

    def stat_together(self, paths: Sequence[str]) -> dict[str, Stat]:  # noqa: ARG002  # part of the protocol
        """Nothing: one by one is as quick."""
        return {}

    def open_folder(self, path: str) -> int:
        """Descriptor of a folder of the project, wherever links inside it lead."""
        return self._descriptor(path, folder=True)

    def _descriptor(self, path: str, *, folder: bool = False, follow_last: bool = True) -> int:
        return with_room(lambda: self._open_descriptor(path, folder=folder, follow_last=follow_last))

    def _open_descriptor(self, path: str, *, folder: bool = False, follow_last: bool = True) -> int:
        if self.follow_links:
            return open_anywhere(self._full(path), folder=folder)
        return open_inside(self.root, path, folder=folder, follow_last=follow_last)

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

    def read_loose(self, paths: Sequence[str]) -> list[bytes]:
        """The whole contents of loose files; each folder is opened once for those of it that come together.

        Raises what `open_loose` raises.
        """
        found: list[bytes] = []
        small = small_files(paths, self.open_folder, follow=self.follow_links)
        for path, data in zip(paths, small, strict=True):
            if data is None:  # by itself, which also says what is wrong with it
                source = self.open_loose(path)
                found.append(source.read_at(0, source.size))
            else:
                found.append(data)
        return found

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes ``start:end`` of a file as it is now; fewer only where the file ends."""
        return self._open(path).read_at(start, end - start)

    def read_files(self, paths: Sequence[str]) -> list[bytes]:
        """The whole contents of several small files."""
        return [self.read(path) for path in paths]

    def open_held(self, path: str) -> LocalSource:
        """Open a file that is to stay open; no other one is closed for it."""
        return LocalSource(self._full(path), self._open_descriptor(path))

    def open(
        self,
        path: str,
        expected: Stat | None = None,
        told: Callable[[Stat], Stat] | None = None,  # noqa: ARG002  # it's known when it is open
    ) -> LocalSource:
        """Open a file for reads by range; SourceChangedError where it isn't the version that is `expected`."""
        source = self._open(path)
        if expected is not None and not expected.same_content(source.stat):
            size = source.size
            del source  # who keeps the error would keep its descriptor
            raise SourceChangedError(
                f"{path}: was replaced or changed after the project was opened "
                f"({expected.size} bytes then, {size} now); open the project again"
            )
        return source
