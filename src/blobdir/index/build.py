"""From the entries of each directory to the sorted table."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blobdir.index.hashing import build_slots
from blobdir.index.names import crc32_names, sort_names
from blobdir.index.table import DIRECTORY, Index
from blobdir.nametable import join_names, name_at, take_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.index.header import Header


@dataclass(frozen=True, slots=True)
class EntryTable:
    """The entries of one directory, in any order; columns as in `Index`.

    Attributes
    ----------
    arena, starts
        Name table, see `blobdir.nametable`.
    source, offset, size : ndarray of int64, shape (n,)
        `offset` and `size` of a subdirectory are ignored.
    """

    arena: NDArray[np.uint8]
    starts: NDArray[np.int64]
    source: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, order: NDArray[np.int64]) -> EntryTable:
        """The entries at `order`."""
        arena, starts = take_names(self.arena, self.starts, order)
        return EntryTable(arena, starts, self.source[order], self.offset[order], self.size[order])

    @staticmethod
    def join(tables: list[EntryTable]) -> EntryTable:
        """The entries of several tables, one after the other."""
        if len(tables) == 1:
            return tables[0]
        arena, starts = join_names([(table.arena, table.starts) for table in tables])

        def column(name: str) -> NDArray[np.int64]:
            parts = [getattr(table, name) for table in tables]
            return np.concatenate(parts) if parts else np.empty(0, np.int64)

        return EntryTable(arena, starts, column("source"), column("offset"), column("size"))


def build_index(folders: dict[str, EntryTable], header: Header) -> Index:
    """Sort, number and hash the entries.

    Parameters
    ----------
    folders : dict
        Path of each directory (root: empty) -> its entries. Names are unique within a directory, and every
        `DIRECTORY` entry has a table of its own. Tables are taken out of it as they are used.
    header : Header

    Notes
    -----
    Rows are numbered breadth first, so the children of one directory follow each other, and so do directories
    of one level. O(n log n).
    """
    root = EntryTable(
        np.zeros(1, np.uint8), np.array([0, 1]), *(np.array([value], np.int64) for value in (DIRECTORY, 1, 0))
    )
    done = [root]
    numbers, counts = [0], [1]
    queue: deque[tuple[str, int, EntryTable, int]] = deque([("", 0, root, 0)])
    next_row = 1
    while queue:
        path, row, table, i = queue.popleft()
        entries = folders.pop(path)
        n = len(entries)
        if n > 1:
            order, _ = sort_names(entries.arena, entries.starts)
            entries = entries.take(order)
        table.offset[i], table.size[i] = next_row, n
        for j in (entries.source == DIRECTORY).nonzero()[0].tolist():
            name = name_at(entries.arena, entries.starts, j)
            below = name.decode("utf-8", "surrogateescape")
            queue.append((f"{path}/{below}" if path else below, next_row + j, entries, j))
        done.append(entries)
        numbers.append(row & 0xFFFFFFFF)
        counts.append(n)
        next_row += n
    rows = EntryTable.join(done)
    del done, folders
    hashes = crc32_names(rows.arena, rows.starts, np.repeat(np.array(numbers, np.uint32), counts))
    slots, capacity = build_slots(hashes)
    big = int(rows.size.max()) > np.iinfo(np.int32).max
    return Index(
        names=rows.arena,
        name_start=rows.starts.astype(np.uint32 if int(rows.starts[-1]) < 2**32 else np.uint64),
        source=rows.source.astype(np.uint16 if int(rows.source.max()) < 2**16 else np.uint32),
        offset=rows.offset,
        size=rows.size.astype(np.int64 if big else np.int32),
        slots=slots,
        capacity=capacity,
        header=header,
    )
