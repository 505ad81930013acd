"""The index: columns, and the few questions that everything else is made of."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blobdir.index.hashing import PROBE_LIMIT, tag_mask
from blobdir.index.names import crc32_names, same_names
from blobdir.nametable import name_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from mmap import mmap

    from numpy.typing import NDArray

    from blobdir.index.header import Header

DIRECTORY = 0
"""Source number of a directory: `offset` is the row of its first child, `size` the number of children."""
LOOSE = 1
"""Source number of a loose file: the file of the same path in the project; `offset` is 0."""
LINK = 2
"""Source number of a symbolic link: `offset` is the number of its target in the header."""
BROKEN = 3
"""Source number of a file that can't be read: `offset` is the number of the defect that says why."""
FIRST_BLOB = 4
"""Source number of the first blob."""

COLUMNS = ("names", "name_start", "source", "offset", "size", "slots")

SMALL_NAMES = 4 << 20
"""Bytes of names up to which they are copied: a slice of bytes is compared in half the time of one of an array."""

FEW = 200
"""Names up to which one lookup after the other is quicker than all at once."""

MAX_PATHS = 100_000
"""Paths of directories that are remembered: the rest of a path is a name."""

UNKNOWN_SIZE = -1
"""Size of a loose file that is asked for when it's needed."""


class Buffers(NamedTuple):
    """The columns as buffers: one element costs a third of one of an array, and comes as a plain int."""

    names: memoryview | bytes | mmap
    name_start: memoryview
    source: memoryview
    offset: memoryview
    size: memoryview
    slots: memoryview

    def name(self, row: int) -> bytes:
        """Name of a row, without its directories."""
        return bytes(self.names[self.name_start[row] : self.name_start[row + 1] - 1])

    def bisect(self, low: int, high: int, name: bytes) -> int:
        """Row of a name among the rows ``low:high``, or -1."""
        while low < high:
            middle = (low + high) // 2
            here = self.name(middle)
            if here == name:
                return middle
            if here < name:
                low = middle + 1
            else:
                high = middle
        return -1


@dataclass(frozen=True)
class Index:
    """One row per directory and file, sorted by (directory, name bytes): a directory is a range of rows.

    Row 0 is the root; inode numbers are row + 1.

    Attributes
    ----------
    names : ndarray of uint8
        Names in row order, each followed by a NUL; that of the root is empty.
    name_start : ndarray of uint32 or uint64, shape (n + 1,)
    source : ndarray of uint16 or uint32, shape (n,)
        `DIRECTORY`, `LOOSE`, `LINK`, `BROKEN`, or ``FIRST_BLOB + i`` for blob ``i`` of the header.
    offset : ndarray of int64, shape (n,)
        First byte in the blob; for the rest see the source numbers.
    size : ndarray of int32 or int64, shape (n,)
        Bytes; `UNKNOWN_SIZE` where a loose file has to be asked.
    slots : ndarray of uint32 or uint64
        Hash table, see `blobdir.index.hashing`.
    capacity : int
        Number of home slots.
    header : Header
    mapped_names : mmap, optional
        `names` in a mapping of their own: a slice of that is compared in half the time of one of an array.
    """

    names: NDArray[np.uint8]
    name_start: NDArray[np.unsignedinteger]
    source: NDArray[np.unsignedinteger]
    offset: NDArray[np.int64]
    size: NDArray[np.signedinteger]
    slots: NDArray[np.unsignedinteger[Any]]
    capacity: int
    header: Header
    mapped_names: mmap | None = field(default=None, repr=False, compare=False)

    lookup: Callable[[int, bytes], int] = field(init=False, repr=False, compare=False)
    """``lookup(parent, name)``: row of `name` in directory `parent`, or -1. O(1), and O(log n) at worst."""

    buffers: Buffers = field(init=False, repr=False, compare=False)
    _folders: tuple[memoryview, memoryview] = field(init=False, repr=False, compare=False)
    _paths: dict[int, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "buffers", Buffers(*(memoryview(getattr(self, name).data) for name in COLUMNS)))
        quick = self.names.tobytes() if len(self.names) <= SMALL_NAMES else self.mapped_names
        if quick is not None:
            object.__setattr__(self, "buffers", self.buffers._replace(names=quick))
        object.__setattr__(self, "_folders", self._folder_rows())
        object.__setattr__(self, "_paths", {0: b""})
        object.__setattr__(self, "lookup", self._make_lookup())

    def _make_lookup(self) -> Callable[[int, bytes], int]:
        # A closure: attribute access on self would cost as much as the rest. It holds the columns, not the index that
        # holds it: who drops an index has its memory, and the files that go with it, back at once.
        crc32, mask, tags, bisect = zlib.crc32, self.capacity - 1, tag_mask(len(self)), self.buffers.bisect
        names, start, _, offset, size, slots = self.buffers
        count, both = len(self), mask | tags  # numbers of 30 bits are the quickest

        def lookup(parent: int, name: bytes) -> int:
            first = offset[parent]
            code = crc32(name, parent) & both
            home = slot = code & mask
            tag = code & tags
            row: int = slots[slot]
            while row:
                row ^= tag
                if (
                    first < row <= count  # of the name's tag
                    and names[start[row - 1] : start[row] - 1] == name
                    and row <= first + size[parent]
                ):
                    return row - 1
                slot += 1
                if slot - home > PROBE_LIMIT:
                    return bisect(first, first + size[parent], name)
                row = slots[slot]
            return -1

        return lookup

    def _folder_rows(self) -> tuple[memoryview, memoryview]:
        rows = np.flatnonzero(self.source == DIRECTORY)
        return memoryview(rows.astype(np.int64).data), memoryview(np.asarray(self.offset[rows]).data)

    @property
    def directories(self) -> NDArray[np.int64]:
        """Rows of the directories, in order."""
        return np.asarray(self._folders[0])

    def __len__(self) -> int:
        return len(self.source)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(getattr(self, column).nbytes for column in COLUMNS)

    def name(self, row: int) -> bytes:
        """Name of a row, without its directories."""
        start = self.buffers.name_start
        return bytes(self.buffers.names[start[row] : start[row + 1] - 1])

    def names_text(self, first: int, end: int) -> list[str]:
        """Names of the rows ``first:end``, bytes that aren't UTF-8 as surrogate escapes; no Python code per name."""
        if first >= end:
            return []
        start = self.buffers.name_start
        raw = bytes(self.buffers.names[start[first] : start[end] - 1])
        return raw.decode("utf-8", "surrogateescape").split("\0")

    def children(self, row: int) -> range:
        """Rows of the children of a directory, in the order of their names' bytes."""
        first = self.buffers.offset[row]
        return range(first, first + self.buffers.size[row])

    def lookup_many(self, parent: int, arena: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of many names in one directory, -1 for those that it doesn't hold: `lookup`, all at once.

        Parameters
        ----------
        parent : int
        arena, starts
            Name table, see `blobdir.nametable`.

        Returns
        -------
        ndarray of int64, shape (n,)
        """
        n = len(starts) - 1
        seeds = np.full(n, parent & 0xFFFFFFFF, np.uint32)
        codes = crc32_names(arena, starts, seeds)
        slot = (codes & np.uint32(min(self.capacity, 1 << 32) - 1)).astype(np.int64)
        tags = codes & np.uint32(tag_mask(len(self)))
        children = self.children(parent)
        found = np.full(n, -1, np.int64)
        open_, probes = np.arange(n), 1
        while len(open_) > FEW:
            held = self.slots[slot[open_]]
            open_, held = open_[held > 0], held[held > 0]  # an empty slot ends the probe
            row = (held ^ tags[open_]).astype(np.int64) - 1
            inside = (row >= children.start) & (row < children.stop)
            inside[inside] = same_names(arena, starts, open_[inside], self.names, self.name_start, row[inside])
            found[open_[inside]] = row[inside]
            open_ = open_[~inside]
            slot[open_] += 1
            if probes > PROBE_LIMIT:
                break
            probes += 1
        for i in open_.tolist():  # so few that numpy costs more, or names made to collide
            found[i] = self.lookup(parent, name_at(arena, starts, i))
        return found

    def parent(self, row: int) -> int:
        """Row of the directory that holds `row`; that of the root is the root. O(log directories)."""
        if row == 0:
            return 0
        rows, first = self._folders
        # An empty directory begins where the next one does, so the last that begins at or before `row` holds it.
        above: int = rows[bisect_right(first, row) - 1]
        return above

    def path(self, row: int) -> bytes:
        """Path of a row from the root, ``/`` between components, without one at the beginning."""
        if row and (folder := self._paths.get(self.parent(row))) is not None:
            return folder + b"/" + self.name(row) if folder else self.name(row)
        parts: list[bytes] = []
        here = row
        while (head := self._paths.get(here)) is None:
            parts.append(self.name(here))
            here = self.parent(here)
        known = len(parts) <= 1
        if head:
            parts.append(head)
        if not known and len(self._paths) < MAX_PATHS:
            self._paths[self.parent(row)] = b"/".join(reversed(parts[1:]))
        return b"/".join(reversed(parts))

    def walk(self, row: int = 0) -> Iterator[int]:
        """The directories at and below `row`, parents first."""
        todo = [row]
        while todo:
            here = todo.pop()
            yield here
            children = self.children(here)
            found = np.flatnonzero(self.source[children.start : children.stop] == DIRECTORY)
            todo.extend(int(i) + children.start for i in found[::-1])
