"""One directory from several contributions: plain files, and the members of one or more blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blobdir.index import BROKEN, DIRECTORY, LINK, EntryTable
from blobdir.index.names import sort_names
from blobdir.nametable import name_at, pack_names
from blobdir.offsets.names import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blobdir.discovery.options import OnConflict

    ReadEntries = Callable[[str, EntryTable, list[int]], dict[int, bytes]]
    """(directory, table, entries) -> bytes of those that can be read."""


COMPARED_BYTES, COMPARED_ENTRIES = 32 << 20, 4096
"""Of contents that are in memory together."""


@dataclass(slots=True)
class Clash:
    """What was found under one name more than once.

    Attributes
    ----------
    name : bytes
    entries : list of int
        Places in the joined table, in order of precedence.
    """

    name: bytes
    entries: list[int]


def entry_table(names: list[bytes], source: int, offset: int = 0, size: int = 0) -> EntryTable:
    """A table of entries that differ by name only."""
    arena, starts = pack_names(names)
    n = len(names)
    return EntryTable(
        arena, starts, np.full(n, source, np.int64), np.full(n, offset, np.int64), np.full(n, size, np.int64)
    )


def find_clashes(table: EntryTable) -> list[Clash]:
    """Names that occur more than once. O(n log n), and no Python code per name where there are none."""
    order, repeated = sort_names(table.arena, table.starts)
    if not repeated.any():
        return []
    clashes: list[Clash] = []
    for place in np.flatnonzero(repeated):
        entry = int(order[place])
        if clashes and repeated[place - 1]:
            clashes[-1].entries.append(entry)
        else:
            clashes.append(Clash(name_at(table.arena, table.starts, entry), [int(order[place - 1]), entry]))
    return clashes


class Merger:
    """Decides clashes of one directory.

    Parameters
    ----------
    directory : str
    on_conflict : {"error", "skip", "rename", "replace"}
    read : callable
        Reads the bytes of entries, many at a time, to see whether two are the same.
    report : callable
        ``report(name, table, first, second)`` records a conflict and gives the number of its defect.
    """

    def __init__(
        self,
        directory: str,
        on_conflict: OnConflict,
        read: ReadEntries,
        report: Callable[[str, bytes, EntryTable, int, int], int],
    ) -> None:
        self.directory = directory
        self.on_conflict = on_conflict
        self.read = read
        self.report = report

    def merge(self, tables: list[EntryTable]) -> EntryTable:
        """The entries of all `tables`, each name once."""
        table = EntryTable.join(tables)
        clashes = find_clashes(table)
        if not clashes:
            return table
        keep = np.ones(len(table), bool)
        renamed: dict[int, bytes] = {}
        taken: set[bytes] = set()
        if self.on_conflict == "rename":
            taken = {name_at(table.arena, table.starts, i) for i in range(len(table))}
        table = EntryTable(table.arena, table.starts, table.source.copy(), table.offset.copy(), table.size.copy())
        for some in _batches(table, clashes):
            wanted = [entry for clash in some for entry in _compared(table, clash.entries)]
            contents = self.read(self.directory, table, wanted) if wanted else {}
            for clash in some:
                self._decide(table, clash, contents, keep, renamed, taken)
        if renamed:
            names = [renamed.get(i) or name_at(table.arena, table.starts, i) for i in range(len(table))]
            table = EntryTable(*pack_names(names), table.source, table.offset, table.size)
        return table.take(np.flatnonzero(keep))

    def _decide(
        self,
        table: EntryTable,
        clash: Clash,
        contents: dict[int, bytes],
        keep: NDArray[np.bool_],
        renamed: dict[int, bytes],
        taken: set[bytes],
    ) -> None:
        directories = [entry for entry in clash.entries if table.source[entry] == DIRECTORY]
        if directories:  # a folder can't be renamed or dropped: everything below it would go
            keep[clash.entries] = False
            keep[directories[0]] = True
            if len(directories) < len(clash.entries):
                other = next(entry for entry in clash.entries if entry not in directories)
                self.report(self.directory, clash.name, table, directories[0], other)
            return
        different = _different(table, clash.entries, contents)
        keep[[entry for entry in clash.entries if entry not in different]] = False
        first = different[0]
        if len(different) == 1 or self.on_conflict == "skip":
            keep[different[1:]] = False
        elif self.on_conflict == "replace":
            keep[different[:-1]] = False
        elif self.on_conflict == "rename":
            for number, entry in enumerate(different[1:], 1):  # those before have taken as many numbers
                renamed[entry] = free_name(clash.name, taken, number)
        else:
            keep[different[1:]] = False
            defect = self.report(self.directory, clash.name, table, first, different[1])
            table.source[first], table.offset[first] = BROKEN, defect


def _different(table: EntryTable, entries: list[int], contents: dict[int, bytes]) -> list[int]:
    """The entries whose contents differ from those of all before them."""
    kept: list[int] = []
    for entry in entries:
        if not any(_same(table, entry, other, contents) for other in kept):
            kept.append(entry)
    return kept


def _place(table: EntryTable, entry: int) -> tuple[int, int, int]:
    return int(table.source[entry]), int(table.offset[entry]), int(table.size[entry])


def _must_be_read(table: EntryTable, a: int, b: int) -> bool:
    """Whether only their contents tell whether two entries are the same."""
    if LINK in (table.source[a], table.source[b]):  # what it leads to may have any size
        return _place(table, a) != _place(table, b)
    sizes = int(table.size[a]), int(table.size[b])
    return _place(table, a) != _place(table, b) and (min(sizes) < 0 or sizes[0] == sizes[1])


def _same(table: EntryTable, a: int, b: int, contents: dict[int, bytes]) -> bool:
    if _place(table, a) == _place(table, b):
        return True
    return _must_be_read(table, a, b) and a in contents and contents[a] == contents.get(b)


def _compared(table: EntryTable, entries: list[int]) -> list[int]:
    """The entries of one name whose contents are needed."""
    if (table.source[entries] == DIRECTORY).any():
        return []
    return [entry for entry in entries if any(_must_be_read(table, entry, other) for other in entries)]


def _batches(table: EntryTable, clashes: list[Clash]) -> Iterator[list[Clash]]:
    """The clashes in order, so many at a time that their contents can be in memory together."""
    some: list[Clash] = []
    size = count = 0
    for clash in clashes:
        size += sum(max(int(table.size[entry]), 1 << 12) for entry in clash.entries)
        count += len(clash.entries)
        some.append(clash)
        if size > COMPARED_BYTES or count > COMPARED_ENTRIES:
            yield some
            some, size, count = [], 0, 0
    if some:
        yield some


def free_name(name: bytes, taken: set[bytes], first: int = 1) -> bytes:
    """``stem_1.ext``, or the first number from `first` on that is free; added to `taken`."""
    number = first
    while (candidate := numbered(name, number)) in taken:
        number += 1
    taken.add(candidate)
    return candidate
