"""The view of a blob project: names, attributes and bytes. Defined here and only here.

The fsspec face, the Python API, the command line and every mount engine are thin adapters over `Tree`. Everything
is addressed by row of the index; row 0 is the root, and inode numbers are row + 1.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from zlib import crc32

import numpy as np

from blobdir.discovery.pairing import BLOCK, blob_defect
from blobdir.errors import (
    BlobdirError,
    ConflictError,
    IncompleteListingError,
    IsADirectory,
    LinkError,
    NotADirectory,
    NotFoundError,
    ReadError,
    ShortReadError,
)
from blobdir.index import BROKEN, DIRECTORY, FIRST_BLOB, LINK, LOOSE, Defect, Index
from blobdir.index.hashing import PROBE_LIMIT
from blobdir.ranges import MergePlan, merge_ranges
from blobdir.sources import LocalSource, LocalStorage, Source, Stat, Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from blobdir.index.header import SourceRecord

    _Ints = NDArray[np.integer]

MAX_LINKS = 40
"""Symbolic links that one path may go through, as in the kernel."""
MAX_OPEN_BLOBS = 256
"""Blobs kept open at a time: far below the usual limit of 1,024 descriptors."""
LOCAL_GAP, LOCAL_REQUEST = 8 << 10, 256 << 10  # a request that stays in the processor's cache while it is cut up
FEW = 64
"""Paths from which finding them all at once pays."""
REMOTE_GAP, REMOTE_REQUEST, REMOTE_BATCH = 64 << 10, 4 << 20, 16

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
    """

    kind: FileKind
    size: int
    mtime_ns: int
    mode: int
    uid: int = -1
    gid: int = -1


class Tree:
    """A blob project as a tree of files, read-only. Threads may share it; it works on after a fork.

    Parameters
    ----------
    index : Index
    storage : Storage
    """

    def __init__(self, index: Index, storage: Storage) -> None:
        self.index = index
        self.storage = storage
        self._open: list[Source | None] = [None] * (FIRST_BLOB + len(index.header.blobs))
        self._opened: deque[int] = deque()
        self._opening = threading.Lock()
        self._folders: dict[str, int] = {"": 0}
        self._children: dict[int, Callable[[bytes], bytes | None]] = {}
        self._incomplete = self._incomplete_rows()

    # -- names -----------------------------------------------------------------------------------------------

    @property
    def defects(self) -> list[Defect]:
        """What isn't as it must be."""
        return self.index.header.defects

    def _incomplete_rows(self) -> dict[int, list[int]]:
        found = {}
        for path, numbers in self.index.header.incomplete.items():
            try:
                found[self.find(path)] = numbers
            except BlobdirError:
                continue  # below a folder that is itself not shown
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
        """
        head, _, name = path.rpartition("/")
        parent = self._folders.get(head)
        if parent is None:
            parent = self._find_folder(head)
        row = self.index.lookup(parent, name.encode("utf-8", "surrogateescape")) if name else parent
        if row < 0:
            raise NotFoundError(f"{path}: no such file or directory in {self.storage.url}")
        return self.follow(row) if follow and self.index.source[row] == LINK else row

    def _find_folder(self, path: str) -> int:
        row = self._resolve(path)
        if self.index.source[row] != DIRECTORY:
            raise NotADirectory(f"{path}: isn't a directory")
        self._folders[path] = row  # bounded: only folders that exist, by names that reach them
        return row

    def follow(self, row: int) -> int:
        """Row that a symbolic link leads to, through further links if need be."""
        return self._resolve(self.path(row))

    def link_target(self, row: int) -> str:
        """What a symbolic link says."""
        return self.index.header.links[int(self.index.offset[row])]

    def _resolve(self, path: str) -> int:
        """Walk a path component by component, following links inside the project."""
        row, todo, links = 0, path.split("/")[::-1], 0
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if self.index.source[row] != DIRECTORY:
                raise NotADirectory(f"{path}: {self.path(row)} isn't a directory")
            if name == "..":
                row = self.index.parent(row)
                continue
            below = self.index.lookup(row, name.encode("utf-8", "surrogateescape"))
            if below < 0:
                raise NotFoundError(f"{path}: no such file or directory in {self.storage.url}")
            if self.index.source[below] != LINK:
                row = below
                continue
            links += 1
            if links > MAX_LINKS:
                raise LinkError(f"{path}: more than {MAX_LINKS} symbolic links; they lead in circles")
            row = 0 if self._target_is_absolute(below) else row
            todo.extend(self._target_parts(below, path)[::-1])
        return row

    def _target_is_absolute(self, row: int) -> bool:
        return self.link_target(row).startswith("/")

    def _target_parts(self, row: int, path: str) -> list[str]:
        target = self.link_target(row)
        base = self.path(self.index.parent(row))
        if target.startswith("/"):
            inside = os.path.relpath(target, self.storage.url)
            leads_out = inside == ".." or inside.startswith("../")
            target = inside
        else:
            leads_out = os.path.normpath(os.path.join(base, target)).split("/")[0] == ".."
        if leads_out:
            raise LinkError(
                f"{path}: is a symbolic link to {self.link_target(row)}, outside the project; open the project with "
                "follow_links to follow it"
            )
        return target.split("/")

    def path(self, row: int) -> str:
        """Path of a row from the root, without a slash at the beginning."""
        return self.index.path(row).decode("utf-8", "surrogateescape")

    def is_directory(self, row: int) -> bool:
        """Whether a row is a directory."""
        return int(self.index.source[row]) == DIRECTORY

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
            why = "; ".join(self.defects[number].message for number in self._incomplete[row])
            raise IncompleteListingError(
                f"{self.path(row) or '/'}: its list of names isn't complete: {why} "
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
        prefix = (f"{head}/" if head else "").encode("utf-8", "surrogateescape")
        joined = ("\0".join(paths) + "\0").encode("utf-8", "surrogateescape")
        names = joined.replace(b"\0" + prefix, b"\0")[len(prefix) :]
        ends = np.flatnonzero(np.frombuffer(names, np.uint8) == 0)
        # One NUL a path, one prefix a path, and no folder after it: else they don't share the directory.
        if len(ends) != len(paths) or b"/" in names or len(joined) - len(names) != len(paths) * len(prefix):
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
        """
        source = int(self.index.source[row])
        size = int(self.index.size[row])
        if source >= FIRST_BLOB:
            blob = self.index.header.blobs[source - FIRST_BLOB]
            return Attributes("file", size, blob.mtime_ns, _readable(blob.mode, 0o444), blob.uid, blob.gid)
        if source == LOOSE:
            stat = self._loose_stat(row)
            return Attributes(
                "file", stat.size, stat.mtime_ns, _readable(stat.mode, 0o444), stat.uid, stat.gid
            )
        if source == DIRECTORY:
            return self._directory_attributes(row)
        return Attributes("link" if source == LINK else "file", size, 0, 0o777 if source == LINK else 0o444)

    def _directory_attributes(self, row: int) -> Attributes:
        try:
            stat = self.storage.stat(self.path(row)) if self.storage.is_local else Stat("directory")
        except OSError:
            stat = Stat("directory")  # a folder that only the blobs make, such as img/
        return Attributes("directory", 0, stat.mtime_ns, _readable(stat.mode, 0o555), stat.uid, stat.gid)

    def _loose_stat(self, row: int) -> Stat:
        path = self.path(row)
        try:
            return self.storage.stat(path)
        except FileNotFoundError as error:
            raise NotFoundError(f"{path}: was removed after the project was opened") from error

    def size(self, row: int) -> int:
        """Bytes of a file. That of a loose file is asked for, unless a remote listing said it."""
        size = int(self.index.size[row])
        if self.index.source[row] == LOOSE and (size < 0 or self.storage.is_local):
            return self._loose_stat(row).size
        return size

    def version(self, row: int) -> str:
        """Changes when a file's content may have changed: blob, its version and range, or a loose file's own."""
        source = int(self.index.source[row])
        if source >= FIRST_BLOB:
            blob = self.index.header.blobs[source - FIRST_BLOB]
            place = f"{int(self.index.offset[row])}+{int(self.index.size[row])}"
            return f"{blob.path}@{blob.etag or f'{blob.size}:{blob.mtime_ns}'}:{place}"
        if source == LOOSE:
            stat = self._loose_stat(row)
            return f"{self.path(row)}@{stat.etag or f'{stat.size}:{stat.mtime_ns}'}"
        return f"{self.path(row)}@{self.index.header.built_ns}"

    # -- bytes -----------------------------------------------------------------------------------------------

    def read(self, row: int, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start:end`` of a file, half-open, cut at the file's end.

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
            return self._read_loose(row, start, end)
        if source < FIRST_BLOB:
            raise self._why_not(row, source)
        size = int(self.index.size[row])
        end = size if end is None else min(end, size)
        if start >= end:
            return b""
        offset = int(self.index.offset[row])
        blob = self.source(source)
        data = blob.read_at(offset + start, end - start)
        if len(data) != end - start:
            raise self._short(row, blob.path, offset + start, offset + end, len(data))
        return data

    def _short(self, row: int, blob: str, start: int, end: int, got: int) -> ShortReadError:
        return ShortReadError(
            f"{self.path(row)}: bytes {start} to {end} of {blob} should be its data, but the blob gave {got} of "
            f"{end - start} bytes: it is truncated, or the offsets are of another one"
        )

    def _why_not(self, row: int, source: int) -> BlobdirError:
        path = self.path(row)
        if source == DIRECTORY:
            return IsADirectory(f"{path or '/'}: is a directory")
        if source == LINK:
            return LinkError(f"{path}: is a symbolic link to {self.link_target(row)}")
        defect = self.defects[int(self.index.offset[row])]
        return (ConflictError if defect.code == "conflict" else ReadError)(f"{path}: {defect.message}")

    def _read_loose(self, row: int, start: int, end: int | None) -> bytes:
        path = self.path(row)
        follow = bool(self.index.header.options.get("follow_links"))
        try:
            if isinstance(self.storage, LocalStorage):
                source = self.storage.open_loose(path, follow=follow)
                return source.read_at(start, max(0, (source.size if end is None else min(end, source.size)) - start))
            if start == 0 and end is None:
                return self.storage.read(path)
            size = self.size(row)
            return self.storage.read_range(path, start, size if end is None else min(end, size))
        except FileNotFoundError as error:
            raise NotFoundError(f"{path}: was removed after the project was opened") from error

    def source(self, number: int) -> Source:
        """The open blob of a source number. Pinned: a blob that was replaced since the project was opened is an
        error, and one that is replaced while it's open goes on being served as it was."""
        found = self._open[number]
        if found is not None:
            return found
        record = self.index.header.blobs[number - FIRST_BLOB]
        if record.defect >= 0 and self._refuses(record):
            raise ReadError(self.defects[record.defect].message)
        expected = Stat("file", record.size, record.mtime_ns, etag=record.etag)
        try:
            opened = self.storage.open(record.path, expected if record.size >= 0 else None)
        except FileNotFoundError as error:
            raise ReadError(f"{record.path}: was removed after the project was opened") from error
        if not self.storage.is_local and (defect := blob_defect(record.path, opened.read_at(0, BLOCK))):
            if self.index.header.options.get("on_defect") != "ignore":
                raise ReadError(defect.message)
        with self._opening:
            if self._open[number] is None:
                self._opened.append(number)
                if len(self._opened) > MAX_OPEN_BLOBS:
                    self._open[self._opened.popleft()] = None
                self._open[number] = opened
        return opened

    def _refuses(self, record: SourceRecord) -> bool:
        ignore = self.index.header.options.get("on_defect") == "ignore"
        return not ignore or self.defects[record.defect].code == "blob-missing"

    def reader(self, parent: int) -> Callable[[bytes], bytes | None]:
        """The short way to whole members: a function from a name in directory `parent` to its bytes.

        It gives None for whatever isn't an ordinary member of an open local blob, read in full; the long way
        (`find`, `read`) then says what it is. The two give the same bytes wherever both give any, and that is
        tested. One function per directory, so that lookup and read share local variables: together they cost less
        than the system call.
        """
        if parent not in self._children:
            self._children[parent] = self._make_reader(parent)
        return self._children[parent]

    def _make_reader(self, parent: int) -> Callable[[bytes], bytes | None]:
        index, sources, pread = self.index, self._open, os.pread
        slots, names, mask = memoryview(index.slots), index.names_buffer, index.capacity - 1
        name_start, source_of = memoryview(index.name_start), memoryview(index.source)
        offset_of, size_of = memoryview(index.offset), memoryview(index.size)
        first = offset_of[parent]
        end = first + size_of[parent]

        def read(name: bytes) -> bytes | None:
            home = slot = crc32(name, parent) & mask
            row = slots[slot]  # row + 1
            while row:
                if first < row <= end and names[name_start[row - 1] : name_start[row] - 1] == name:
                    row -= 1
                    size = size_of[row]
                    try:
                        data = pread(sources[source_of[row]].fd, size, offset_of[row])  # type: ignore[union-attr]
                    except AttributeError:  # no blob, not open yet, or not local: cheaper than to ask
                        return None
                    return data if len(data) == size else None
                slot += 1
                if slot - home > PROBE_LIMIT:
                    return None
                row = slots[slot]
            return None

        return read

    def read_many(self, rows: Sequence[int]) -> list[bytes]:
        """Whole files, in the order of `rows`.

        Neighbouring members are read together: far fewer system calls, or requests, than files.
        """
        sizes = self.index.size[np.asarray(rows, np.intp)].astype(np.int64) if len(rows) else np.empty(0, np.int64)
        return self._read_ranges(np.asarray(rows, np.intp), np.zeros_like(sizes), sizes, whole=True)

    def read_ranges(self, rows: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Bytes ``starts[i]:ends[i]`` of each file, half-open and not negative, cut at the file's end."""
        return self._read_ranges(
            np.asarray(rows, np.intp), np.asarray(starts, np.int64), np.asarray(ends, np.int64), whole=False
        )

    def _read_ranges(self, rows: _Ints, starts: _Ints, ends: _Ints, *, whole: bool) -> list[bytes]:
        result: list[bytes] = [b""] * len(rows)
        sources = self.index.source[rows]
        for number in np.unique(sources).tolist():
            places = np.flatnonzero(sources == number)
            if number >= FIRST_BLOB:
                self._read_members(number, rows, places, starts, ends, result)
            elif number == LOOSE and whole and not self.storage.is_local:
                paths = [self.path(row) for row in rows[places].tolist()]
                for place, data in zip(places.tolist(), self.storage.read_files(paths), strict=True):
                    result[place] = data
            else:
                for i in places.tolist():
                    result[i] = self.read(int(rows[i]), int(starts[i]), None if whole else int(ends[i]))
        return result

    def _read_members(
        self, number: int, rows: _Ints, places: _Ints, starts: _Ints, ends: _Ints, result: list[bytes]
    ) -> None:
        blob = self.source(number)
        wanted = rows[places]
        offset, size = self.index.offset[wanted], self.index.size[wanted].astype(np.int64)
        low = np.minimum(starts[places], size)
        start, end = offset + low, offset + np.maximum(low, np.minimum(ends[places], size))
        gap, request = (LOCAL_GAP, LOCAL_REQUEST) if self.storage.is_local else (REMOTE_GAP, REMOTE_REQUEST)
        plan = merge_ranges(start, end, max_gap=gap, max_size=request)
        if isinstance(blob, LocalSource) and 2 * len(plan.start) > len(plan.order):
            return self._read_scattered(blob, rows, places, start, end, result)
        first, base = plan.first.tolist(), np.repeat(plan.start, np.diff(plan.first))
        low, high = (start[plan.order] - base).tolist(), (end[plan.order] - base).tolist()
        pieces: list[bytes] = []
        for i, chunk in self._chunks(blob, plan):
            here = slice(first[i], first[i + 1])
            if len(chunk) < max(high[here]):
                self._raise_short(blob, chunk, rows[places[plan.order[here]]], low[here], high[here], int(plan.start[i]))
            pieces += [chunk[x:y] for x, y in zip(low[here], high[here], strict=True)]
        for place, data in zip(places[plan.order].tolist(), pieces, strict=True):
            result[place] = data

    def _read_scattered(
        self, blob: LocalSource, rows: _Ints, places: _Ints, start: _Ints, end: _Ints, result: list[bytes]
    ) -> None:
        """One call per range, for ranges that lie far apart."""
        read = blob.read_at
        for place, x, n in zip(places.tolist(), start.tolist(), (end - start).tolist(), strict=True):
            data = read(x, n)
            if len(data) != n:
                raise self._short(int(rows[place]), blob.path, x, x + n, len(data))
            result[place] = data

    @staticmethod
    def _chunks(blob: Source, plan: MergePlan) -> Iterator[tuple[int, bytes]]:
        """Each request's number and bytes, in order."""
        starts, ends = plan.start.tolist(), plan.end.tolist()
        if isinstance(blob, LocalSource):
            for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
                yield i, blob.read_at(start, end - start)
            return
        for at in range(0, len(starts), REMOTE_BATCH):
            yield from enumerate(blob.read_many(starts[at : at + REMOTE_BATCH], ends[at : at + REMOTE_BATCH]), at)

    def _raise_short(self, blob: Source, chunk: bytes, rows: _Ints, low: list[int], high: list[int], base: int) -> None:
        for row, x, y in zip(rows.tolist(), low, high, strict=True):
            if len(chunk) < y:
                raise self._short(row, blob.path, base + x, base + y, max(0, len(chunk) - x))


def _readable(mode: int, default: int) -> int:
    return default if mode < 0 else mode & 0o555
