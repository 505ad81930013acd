"""One directory from several contributions: plain files, and the members of one or more blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blobdir.index import BROKEN, DIRECTORY, EntryTable
from blobdir.index.names import sort_names
from blobdir.nametable import name_at, pack_names
from blobdir.offsets.names import numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from blobdir.discovery.options import OnConflict

    ReadEntry = Callable[[str, EntryTable, int], bytes | None]
    """(directory, table, entry) -> its bytes; None where they can't be read."""


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
        Reads an entry's bytes, to see whether two are the same.
    report : callable
        ``report(name, table, first, second)`` records a conflict and gives the number of its defect.
    """

    def __init__(
        self,
        directory: str,
        on_conflict: OnConflict,
        read: ReadEntry,
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
        for clash in clashes:
            self._decide(table, clash, keep, renamed, taken)
        if renamed:
            names = [renamed.get(i) or name_at(table.arena, table.starts, i) for i in range(len(table))]
            table = EntryTable(*pack_names(names), table.source, table.offset, table.size)
        return table.take(np.flatnonzero(keep))

    def _decide(
        self, table: EntryTable, clash: Clash, keep: NDArray[np.bool_], renamed: dict[int, bytes], taken: set[bytes]
    ) -> None:
        directories = [entry for entry in clash.entries if table.source[entry] == DIRECTORY]
        if directories:  # a folder can't be renamed or dropped: everything below it would go
            keep[clash.entries] = False
            keep[directories[0]] = True
            if len(directories) < len(clash.entries):
                other = next(entry for entry in clash.entries if entry not in directories)
                self.report(self.directory, clash.name, table, directories[0], other)
            return
        different = self._different(table, clash.entries)
        keep[[entry for entry in clash.entries if entry not in different]] = False
        first = different[0]
        if len(different) == 1 or self.on_conflict == "skip":
            keep[different[1:]] = False
        elif self.on_conflict == "replace":
            keep[different[:-1]] = False
        elif self.on_conflict == "rename":
            for entry in different[1:]:
                renamed[entry] = free_name(clash.name, taken)
        else:
            keep[different[1:]] = False
            defect = self.report(self.directory, clash.name, table, first, different[1])
            table.source[first], table.offset[first] = BROKEN, defect

    def _different(self, table: EntryTable, entries: list[int]) -> list[int]:
        """The entries whose contents differ from those of all before them."""
        kept: list[int] = []
        contents: dict[int, bytes | None] = {}

        def content(entry: int) -> bytes | None:
            if entry not in contents:
                contents[entry] = self.read(self.directory, table, entry)
            return contents[entry]

        for entry in entries:
            if not any(self._same(table, entry, other, content) for other in kept):
                kept.append(entry)
        return kept

    @staticmethod
    def _same(table: EntryTable, a: int, b: int, content: Callable[[int], bytes | None]) -> bool:
        def place(entry: int) -> tuple[int, int, int]:
            return int(table.source[entry]), int(table.offset[entry]), int(table.size[entry])

        if place(a) == place(b):
            return True
        sizes = int(table.size[a]), int(table.size[b])
        if min(sizes) >= 0 and sizes[0] != sizes[1]:
            return False
        one, other = content(a), content(b)
        return one is not None and one == other


def free_name(name: bytes, taken: set[bytes]) -> bytes:
    """``stem_1.ext``, or the first number that is free; added to `taken`."""
    number = 1
    while (candidate := numbered(name, number)) in taken:
        number += 1
    taken.add(candidate)
    return candidate
