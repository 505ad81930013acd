"""The view of a blob project: names, attributes and bytes. Defined here and only here.

The fsspec face, the Python API, the command line and every mount engine are thin adapters over `Tree`. Everything
is addressed by row of the index; row 0 is the root, and inode numbers are row + 1.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import (
    BlobdirError,
    ConflictError,
    IncompleteListingError,
    IsADirectory,
    LinkError,
    NotADirectory,
    NotFoundError,
    ReadError,
    kept,
    nowhere,
)
from blobdir.index import DIRECTORY, FIRST_BLOB, LINK, LOOSE, Defect, Index
from blobdir.inside import MAX_LINKS, below_root
from blobdir.lazily import cached_property
from blobdir.loosefiles import loose_files
from blobdir.ranges import total_of
from blobdir.reading import BlobReader
from blobdir.sources import Stat, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from blobdir.loosefiles import OpenFile
    from blobdir.sources import Storage
    from blobdir.sources.disks import Disk

    Ints = NDArray[np.integer]

MAX_FOLDERS = 100_000
"""Paths of directories that are remembered; one directory can be written in many ways."""
FEW = 64
"""Paths from which finding them all at once pays."""

E = TypeVar("E", bound=BlobdirError)
FileKind = Literal["file", "directory", "link"]


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of a row.

    Attributes
    ----------
    kind : {"file", "directory", "link"}
    size : int
        Bytes; for a directory 0, for a link the length of its target.
    mtime_ns : int
        Nanoseconds since 1970: of the file, or of the blob that holds it; 0 where the backend has no times.
    mode : int
        Permission bits, without any that allow writing.
    uid, gid : int
        Owner of the file or blob; -1 where the backend has none.
    inode, ctime_ns : int
        Of a loose file on this machine, by which it's known that nobody has written to it; else -1 and 0.
    seen : bool
        Whether they are those of now; a directory that isn't there now has those that it had when it was.
    """

    kind: FileKind
    size: int
    mtime_ns: int
    mode: int
    uid: int = -1
    gid: int = -1
    inode: int = -1
    ctime_ns: int = 0
    seen: bool = True


class Tree:
    """A blob project as a tree of files, read-only. Threads may share it; it works on after a fork.

    Parameters
    ----------
    index : Index
    storage : Storage
    changes : tuple, optional
        What `blobdir.projectlock.changes` said before the project was read; None behind a backend.
    url : str, optional
        What was opened, for people, where that isn't the storage's folder.

    Attributes
    ----------
    short_ways : dict
        Path of a directory, as somebody has written it -> its `reader`.
    """

    def __init__(
        self, index: Index, storage: Storage, changes: tuple[bytes, bool] | None = None, url: str = ""
    ) -> None:
        self.index = index
        self.storage = storage
        self.url = url or storage.url
        self.changes = changes
        self.blobs = BlobReader(index, storage)
        self._lookup, self._source = index.lookup, index.buffers.source
        self._folders: dict[str, int] = {"": 0}
        self._loose = loose_files(storage, index, partial(_path, index))
        self._incomplete: dict[int, list[int]] = {}
        self._incomplete = self._incomplete_rows()
        self.short_ways: dict[str, Callable[[str], bytes | None]] = {}
        self._total_bytes = -1

    @property
    def lies_there(self) -> bool:
        """Whether directories and links lie where the storage is, and can change there; those of tars don't."""
        return self._loose.are_there

    @property
    def disks(self) -> tuple[Disk, ...]:
        """The disks that it's on, as they were when it was opened."""
        return self._loose.disks

    # -- names -----------------------------------------------------------------------------------------------

    @property
    def defects(self) -> list[Defect]:
        """What isn't as it must be."""
        return self.index.header.defects

    @cached_property
    def dataset_names(self) -> dict[str, str]:
        """Path of each dataset -> its name, as users write it."""
        return {path: name for name, path in layout.display_names(self.index.header.datasets).items()}

    def _incomplete_rows(self) -> dict[int, list[int]]:
        found = {}
        known = {"": 0}  # most come after the folder that they lie in, of which the row is known then
        for path, numbers in self.index.header.incomplete.items():
            head, _, name = path.rpartition("/")
            row = self.index.lookup(known[head], encoded(name)) if name and head in known else -1
            if row < 0 or self.index.source[row] != DIRECTORY:
                try:
                    row = self.find(path)
                except BlobdirError:
                    continue  # below a folder that is itself not shown
            found[row], known[path] = numbers, row
        return found

    def find(self, path: str, *, follow: bool = True) -> int:
        """Row of a path.

        Parameters
        ----------
        path : str
            ``/`` between components, none at either end; bytes that aren't UTF-8 as surrogate escapes.
        follow : bool
            Whether a symbolic link at the end is followed; those before it are.

        Raises
        ------
        NotFoundError, NotADirectory, LinkError
        IncompleteListingError
            It isn't among the names that could be read, and may be among the others.
        """
        head, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return self._resolve(path)
        parent = self._folders.get(head)
        if parent is None:
            parent = self._find_folder(head)
        try:
            raw = name.encode()
        except UnicodeEncodeError:  # bytes that aren't UTF-8
            raw = encoded(name)
        row = self._lookup(parent, raw)
        if row < 0:
            raise self.absence(parent, path)
        return self.follow(row) if follow and self._source[row] == LINK else row

    def absence(self, parent: int, path: str) -> NotFoundError | IncompleteListingError:
        """What is said of a name that isn't in directory `parent`: only of a list that is whole, that it isn't there.

        Parameters
        ----------
        parent : int
            Row of the directory in which `path`, or a part of it, was looked for.
        path : str
        """
        if parent in self._incomplete:
            return IncompleteListingError(
                f"{path}: isn't among the names that could be read, and may be among the others: "
                f"{self._why_incomplete(parent)}"
            )
        is_blob = self.lies_there and path.partition("/")[0] == layout.BLOB_DIR
        more = "; the project serves images from its blobs, and doesn't show these" if is_blob else ""
        return NotFoundError(f"{path}: no such file or directory in {self.url}{more}")

    def is_complete(self, row: int) -> bool:
        """Whether all names of a directory are known."""
        return row not in self._incomplete

    def _why_incomplete(self, row: int) -> str:
        return "; ".join(self.defects[number].message for number in self._incomplete[row])

    def _find_folder(self, path: str) -> int:
        row = self._resolve(path)
        if self.index.source[row] != DIRECTORY:
            raise NotADirectory(f"{path}: isn't a directory")
        if len(self._folders) < MAX_FOLDERS:
            self._folders[path] = row
        return row

    def follow(self, row: int) -> int:
        """Row that a symbolic link leads to, through further links if need be."""
        return self._resolve(self.path(row))

    def link_target(self, row: int) -> str:
        """What a symbolic link says."""
        return self.index.header.links[int(self.index.offset[row])]

    def _resolve(self, path: str) -> int:
        """Walk a path component by component, following links inside the project, as the kernel does."""
        row, todo = 0, path.split("/")[::-1]
        ways: list[tuple[int, int]] = []  # links that are being followed: components that come after, and the row
        links = 0
        while todo:
            name = todo.pop()
            while ways and len(todo) < ways[-1][0]:
                ways.pop()
            if self.index.source[row] != DIRECTORY:
                raise self._absent(NotADirectory(f"{path}: {self.path(row)} isn't a directory"), ways)
            if name in ("", "."):
                continue
            if name == "..":
                if not row and ways:
                    raise self._leads_out(path, ways[-1][1])
                row = self.index.parent(row)
                continue
            below = self.index.lookup(row, encoded(name))
            if below < 0:
                raise self._absent(self.absence(row, path), ways)
            if self.index.source[below] != LINK:
                row = below
                continue
            links += 1
            if links > MAX_LINKS:
                raise LinkError(f"{path}: more than {MAX_LINKS} symbolic links; they lead in circles")
            target = self._inside(below, path)
            row = 0 if target.startswith("/") else row
            ways.append((len(todo), below))
            todo.extend(target.split("/")[::-1])
        return row

    def _absent(self, error: E, ways: list[tuple[int, int]]) -> E:
        return nowhere(error, self.path(ways[0][1]), self.link_target(ways[0][1])) if ways else error

    def _inside(self, link: int, path: str) -> str:
        """What a link says; after a slash, from the project's root."""
        target = self.link_target(link)
        if not target.startswith("/"):
            return target
        is_there = self.lies_there and self.storage.directory
        inside = below_root(self.storage.directory, target) if is_there else None
        if inside is None:
            raise self._leads_out(path, link)
        return f"/{inside}"

    def _leads_out(self, path: str, link: int) -> LinkError:
        followed = self.index.header.options.get("follow_links")
        advice = "" if followed or not self.lies_there else "; open the project with follow_links to follow it"
        return LinkError(f"{path}: is a symbolic link to {self.link_target(link)}, outside the project{advice}")

    def path(self, row: int) -> str:
        """Path of a row from the root, without a slash at the beginning."""
        return _path(self.index, row)

    def is_directory(self, row: int) -> bool:
        """Whether a row is a directory."""
        return int(self.index.source[row]) == DIRECTORY

    def is_loose(self, row: int) -> bool:
        """Whether a row is a loose file, which others may replace at any moment."""
        return int(self.index.source[row]) == LOOSE

    def is_member(self, row: int) -> bool:
        """Whether a row is a member of a blob."""
        return int(self.index.source[row]) >= FIRST_BLOB

    def children(self, row: int) -> range:
        """Rows of a directory's children, in the order of their names' bytes.

        Raises
        ------
        NotADirectory
        IncompleteListingError
            Some names couldn't be read: the list would be shorter than the truth.
        """
        if self.index.source[row] != DIRECTORY:
            raise NotADirectory(f"{self.path(row)}: isn't a directory")
        if row in self._incomplete:
            raise IncompleteListingError(
                f"{self.path(row) or '/'}: its list of names isn't complete: {self._why_incomplete(row)} "
                "(open the project with on_defect=ignore to list what is left; files can be opened by name)"
            )
        return self.index.children(row)

    def names(self, row: int) -> list[str]:
        """Names of a directory's children, in the order of their bytes; no Python code runs per name."""
        children = self.children(row)
        return self.index.names_text(children.start, children.stop)

    def find_many(self, paths: Sequence[str]) -> NDArray[np.int64]:
        """Rows of many paths: `find`, all at once where they share a directory.

        Raises
        ------
        NotFoundError, NotADirectory, LinkError
            For the first path that can't be found.
        """
        if len(paths) < FEW:
            return np.array([self.find(path) for path in paths], np.int64)
        head = paths[0].rpartition("/")[0]
        prefix = f"{head}/" if head else ""
        names = encoded("\0".join([path[len(prefix) :] for path in paths]) + "\0")
        ends = np.flatnonzero(np.frombuffer(names, np.uint8) == 0)
        # One NUL a path, and nothing of a folder after the prefix that all have: else they don't share the directory.
        if len(ends) != len(paths) or b"/" in names or not all(path.startswith(prefix) for path in paths):
            return np.array([self.find(path) for path in paths], np.int64)
        starts = np.concatenate([[0], ends + 1])
        rows = self.index.lookup_many(self.find(head), np.frombuffer(names, np.uint8), starts)
        for i in np.flatnonzero((rows < 0) | (self.index.source[rows] == LINK)).tolist():
            rows[i] = self.find(paths[i])
        return rows

    # -- attributes ------------------------------------------------------------------------------------------

    def attributes(self, row: int) -> Attributes:
        """Attributes of a row; those of loose files as they are now.

        Raises
        ------
        NotFoundError
            A loose file that is gone.
        ReadError
            Its disk is.
        """
        source = int(self.index.source[row])
        size = int(self.index.size[row])
        if source >= FIRST_BLOB:
            blob = self.index.header.blobs[source - FIRST_BLOB]
            return Attributes("file", size, blob.mtime_ns, readable(blob.mode, 0o444), blob.uid, blob.gid)
        if source == LOOSE:
            stat = self._loose.stat(row)
            mode = readable(stat.mode, 0o444)
            return Attributes("file", stat.size, stat.mtime_ns, mode, stat.uid, stat.gid, stat.inode, stat.ctime_ns)
        if source == DIRECTORY:
            return self._directory_attributes(row)
        if source == LINK and (link := self._loose.link(row)) is not None:
            return Attributes("link", size, link.mtime_ns, 0o777, link.uid, link.gid)
        if source == LINK:
            return Attributes("link", size, 0, 0o777, seen=not self.storage.directory)
        return Attributes("file", size, 0, 0o444)

    def _directory_attributes(self, row: int) -> Attributes:
        found = self._folder_stat(row)
        if found is None:  # made by blobs only, or never to be seen: as the nearest one above that is there, or was
            above = [row]
            while above[-1]:
                above.append(self.index.parent(above[-1]))
            first = bisect_left(above, True, 1, key=lambda folder: self._folder_stat(folder) is not None)
            found = self._loose.folder(above[min(first, len(above) - 1)])
        stat, seen = found
        mode = readable(stat.mode, 0o555)
        return Attributes("directory", 0, stat.mtime_ns, mode, stat.uid, stat.gid, seen=seen)

    def _folder_stat(self, row: int) -> tuple[Stat, bool] | None:
        """Attributes of a directory that can be, or was, looked at; where one can't, those below it can't either."""
        try:
            return self._loose.folder(row)
        except (FileNotFoundError, NotADirectoryError, LinkError):
            return None

    def size(self, row: int) -> int:
        """Bytes of a file. That of a loose file is asked for, unless a remote listing said it."""
        size = int(self.index.size[row])
        if self.index.source[row] == LOOSE:
            return self._loose.stat(row).size
        return size

    def total_bytes(self) -> int:
        """Bytes of all members of blobs."""
        if self._total_bytes < 0:
            self._total_bytes = total_of(self.index.size[self.index.source >= FIRST_BLOB])
        return self._total_bytes

    def version(self, row: int) -> str:
        """Changes when a file's content may have changed: blob, its version and range, or a loose file's own."""
        source = int(self.index.source[row])
        if source >= FIRST_BLOB:
            blob = self.index.header.blobs[source - FIRST_BLOB]
            place = f"{int(self.index.offset[row])}+{int(self.index.size[row])}"
            return f"{blob.path}@{blob.etag or f'{blob.size}:{blob.mtime_ns}'}:{place}"
        if source == LOOSE:
            stat = self._loose.stat(row)
            return f"{self.path(row)}@{stat.etag or f'{stat.size}:{stat.mtime_ns}'}"
        return f"{self.path(row)}@{self.index.header.built_ns}"

    # -- bytes -----------------------------------------------------------------------------------------------

    def read(self, row: int, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start:end`` of a file, half-open, cut at the file's end; that of a loose file is where it is now.

        Raises
        ------
        IsADirectory
        ShortReadError
            The blob ends before the member does.
        ReadError
            The blob is missing, changed, or doesn't fit its offsets; the message says which and what to do.
        """
        source = int(self.index.source[row])
        if source == LOOSE:
            return self._loose.read(row, start, end)
        if source < FIRST_BLOB:
            raise self._why_not(row, source)
        return self.blobs.read(row, start, end)

    def open(self, row: int) -> OpenFile:
        """A file to read in pieces, all of one version; raises what `read` raises.

        A loose file that is replaced or written to later is a SourceChangedError, or goes on as it was.
        """
        source = int(self.index.source[row])
        if source == LOOSE:
            return self._loose.open(row)
        if source < FIRST_BLOB:
            raise self._why_not(row, source)
        return _OpenMember(self, row)

    def bounds(self, row: int, start: int | None, end: int | None) -> tuple[int, int]:
        """Bytes of a file, half-open, that a range means in which negative numbers count from its end."""
        if self.is_directory(row):
            raise IsADirectory(f"{self.path(row) or '/'}: is a directory")
        size = self.size(row)
        start = 0 if start is None else start if start >= 0 else max(0, size + start)
        end = size if end is None else end if end >= 0 else size + end
        return start, min(end, size)

    def file_version(self, row: int) -> Stat:
        """The version of a loose file that is there now: a request, behind a backend. NotFoundError where it's gone."""
        return self._loose.version(row)

    def read_version(self, row: int, start: int, end: int) -> tuple[bytes, Stat]:
        """Bytes ``start:end`` of a loose file as it is now, and the version that they are of."""
        return self._loose.read_version(row, start, end)

    def check_size(self, row: int) -> None:
        """Look at a file that is going to be read from its beginning to its end.

        Raises
        ------
        OSError
            It says that it has far more bytes than it takes on its disk: nothing but holes.
        """
        if self.index.source[row] >= FIRST_BLOB:
            self.blobs.check_size(row)
        elif self.index.source[row] == LOOSE:
            self._loose.check_size(row)

    def read_into(self, row: int, start: int, buffer: memoryview) -> int:
        """Read a file from byte `start` into a buffer; fewer bytes than it takes only where the file ends.

        For the mount: no bytes object is made for a member of a local blob. Raises what `read` raises.
        """
        if self.index.buffers.source[row] >= FIRST_BLOB:
            return self.blobs.read_into(row, start, buffer)
        end = start + len(buffer)
        data = self.read(row, start, end)
        buffer[: len(data)] = data
        return len(data)

    def _why_not(self, row: int, source: int) -> BlobdirError:
        path = self.path(row)
        if source == DIRECTORY:
            return IsADirectory(f"{path or '/'}: is a directory")
        if source == LINK:
            return LinkError(f"{path}: is a symbolic link to {self.link_target(row)}")
        defect = self.defects[int(self.index.offset[row])]
        return (ConflictError if defect.code == "conflict" else ReadError)(f"{path}: {defect.message}")

    def read_whole(self, path: str, *, is_tried: bool = False) -> bytes:
        """The content of a file; `short_ways` then knows the one to the files of its directory.

        Parameters
        ----------
        path : str
        is_tried : bool
            Whether the short way didn't lead there.
        """
        head, _, name = path.rpartition("/")
        read = self.short_ways.get(head)
        if read is not None and not is_tried and (found := read(name)) is not None:
            return found
        data = self.read(self.find(path))
        if read is None and len(self.short_ways) < MAX_FOLDERS:
            self.short_ways[head] = self.reader(self.find(head))
        return data

    def reader(self, parent: int) -> Callable[[str], bytes | None]:
        """The short way to whole members of one directory, see `blobdir.reading.BlobReader.reader`."""
        return self.blobs.reader(parent)

    def read_many(self, rows: Sequence[int] | Ints) -> list[bytes]:
        """Whole files, in the order of `rows`.

        Neighbouring members are read together: far fewer system calls, or requests, than files.
        """
        sizes = self.index.size[np.asarray(rows, np.intp)].astype(np.int64) if len(rows) else np.empty(0, np.int64)
        return self._read_ranges(np.asarray(rows, np.intp), np.zeros_like(sizes), sizes, whole=True)

    def read_each(self, rows: Sequence[int]) -> list[bytes | OSError]:
        """Whole files, or why one can't be read, in the order of `rows`; one that fails keeps no other from coming."""
        result: list[bytes | OSError] = [b""] * len(rows)
        wanted = np.asarray(rows, np.intp)
        sources = self.index.source[wanted]
        for number in np.unique(sources).tolist():
            places = np.flatnonzero(sources == number).tolist()
            some = wanted[places].tolist()
            if number == LOOSE:
                found = self._loose.read_each(some)
            else:
                try:
                    found = [*self.read_many(some)]
                except OSError:  # some can't be: find out which
                    found = [kept(self.read, row) for row in some]
            for place, data in zip(places, found, strict=True):
                result[place] = data
        return result

    def read_ranges(self, rows: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Bytes ``starts[i]:ends[i]`` of each file, half-open and not negative, cut at the file's end."""
        return self._read_ranges(
            np.asarray(rows, np.intp), np.asarray(starts, np.int64), np.asarray(ends, np.int64), whole=False
        )

    def _read_ranges(self, rows: Ints, starts: Ints, ends: Ints, *, whole: bool) -> list[bytes]:
        result: list[bytes] = [b""] * len(rows)
        sources = self.index.source[rows]
        for number in np.unique(sources).tolist():
            places = np.flatnonzero(sources == number)
            if number >= FIRST_BLOB:
                self.blobs.read_many(number, rows, places, starts, ends, result)
            elif number == LOOSE and whole:
                for place, data in zip(places.tolist(), self._loose.read_many(rows[places].tolist()), strict=True):
                    result[place] = data
            else:
                for i in places.tolist():
                    result[i] = self.read(int(rows[i]), int(starts[i]), None if whole else int(ends[i]))
        return result


class _OpenMember:
    """A member of a blob, which doesn't change."""

    def __init__(self, tree: Tree, row: int) -> None:
        self._tree, self._row = tree, row
        self.size = int(tree.index.size[row])
        self.version = Stat("file", self.size)

    def read(self, start: int, end: int) -> bytes:
        return bytes(self._tree.read(self._row, start, end))

    def check_size(self) -> None:
        self._tree.check_size(self._row)


def encoded(text: str) -> bytes:
    """Bytes of a path or name; of a text that can't be one, some that no name has."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return b"\0"


def _path(index: Index, row: int) -> str:
    return index.path(row).decode("utf-8", "surrogateescape")
