"""One directory from several contributions: plain files, and the members of one or more blobs."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from blobdir.index import BROKEN, DIRECTORY, LINK, EntryTable
from blobdir.index.names import sort_names
from blobdir.nametable import gather_names, name_at, pack_names
from blobdir.offsets.names import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blobdir.discovery.options import OnConflict

    ReadEntries = Callable[[str, EntryTable, list[int]], dict[int, bytes]]
    """(directory, table, entries) -> bytes of those that can be read."""


_NAMES_AT_ONCE = 1 << 12
COMPARED_BYTES, COMPARED_ENTRIES = 32 << 20, 4096
"""Of contents that are looked at together."""


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


def by_folder(rows: EntryTable) -> Iterator[tuple[bytes, EntryTable]]:
    """Entries whose names have folders in them, by those, in order. No Python code per name where neighbours share one.

    Arrays are made once: folders can be many.
    """
    if not len(rows):
        return
    head = _folder_lengths(rows.arena, rows.starts)
    first = np.flatnonzero(~_as_before(rows.arena, rows.starts, head))
    names, begins = rows.arena.tobytes(), rows.starts[first]
    ends = begins + np.maximum(head[first] - 1, 0)
    groups: dict[bytes, int] = {}
    known = groups.setdefault
    group = np.array([known(names[i:j], len(groups)) for i, j in zip(begins.tolist(), ends.tolist(), strict=True)])
    per_row = np.repeat(group, np.diff(first, append=len(rows)))
    order = np.argsort(per_row, kind="stable")
    lengths = np.diff(rows.starts) - 1 - head
    arena, starts = gather_names(rows.arena, (rows.starts[:-1] + head)[order], lengths[order])
    source, offset, size = rows.source[order], rows.offset[order], rows.size[order]
    low, bounds = 0, starts.tolist()
    for parent, high in zip(groups, np.cumsum(np.bincount(per_row)).tolist(), strict=True):
        part = arena[bounds[low] : bounds[high]], starts[low : high + 1] - bounds[low]
        yield parent, EntryTable(*part, source[low:high], offset[low:high], size[low:high])
        low = high


def _folder_lengths(arena: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes of each name up to its last slash, with that; 0 where it has none."""
    slashes = np.flatnonzero(arena == ord("/"))
    place = np.searchsorted(slashes, starts[1:]) - 1
    last = slashes[np.maximum(place, 0)] if len(slashes) else np.zeros(len(place), np.int64)
    begin = starts[:-1]
    found: NDArray[np.int64] = np.where((place >= 0) & (last >= begin), last - begin + 1, 0)
    return found


def _as_before(arena: NDArray[np.uint8], starts: NDArray[np.int64], head: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each name begins with as many bytes as `head` says, and the same ones, as the name before it."""
    same = np.zeros(len(head), bool)
    same[1:] = head[1:] == head[:-1]
    for low in range(0, len(head), _NAMES_AT_ONCE):
        rows = np.flatnonzero(same[low : low + _NAMES_AT_ONCE] & (head[low : low + _NAMES_AT_ONCE] > 0)) + low
        sizes = head[rows]
        ends = np.cumsum(sizes)
        at = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts[rows] - ends + sizes, sizes)
        differ = arena[at] != arena[at - np.repeat(starts[rows] - starts[rows - 1], sizes)]
        same[np.repeat(rows, sizes)[differ]] = False
    return same


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

    Attributes
    ----------
    renamed : set of int
        Sources of entries that got another name.
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
        self.renamed: set[int] = set()

    def merge(self, tables: list[EntryTable]) -> EntryTable:
        """The entries of all `tables`, each name once."""
        table = EntryTable.join(tables)
        if len(table) < 2:
            return table
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
            digests: dict[int, bytes] = {}
            for wanted in _portions(table, [entry for clash in some for entry in _compared(table, clash.entries)]):
                contents = self.read(self.directory, table, wanted)
                digests.update((entry, hashlib.sha256(data).digest()) for entry, data in contents.items())
            for clash in some:
                self._decide(table, clash, digests, keep, renamed, taken)
        if renamed:
            self.renamed.update(table.source[list(renamed)].tolist())
            names = [renamed.get(i) or name_at(table.arena, table.starts, i) for i in range(len(table))]
            table = EntryTable(*pack_names(names), table.source, table.offset, table.size)
        return table.take(np.flatnonzero(keep))

    def _decide(
        self,
        table: EntryTable,
        clash: Clash,
        digests: dict[int, bytes],
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
        different = _different(table, clash.entries, digests)
        keep[[entry for entry in clash.entries if entry not in different]] = False
        first = different[0]
        if len(different) == 1 or self.on_conflict == "skip":
            keep[different[1:]] = False
        elif self.on_conflict == "replace":
            keep[different[:-1]] = False
        elif self.on_conflict == "rename":
            numbers = count(1)  # those before have taken theirs
            for entry in different[1:]:
                renamed[entry] = free_name(clash.name, taken, numbers)
        else:
            keep[different[1:]] = False
            defect = self.report(self.directory, clash.name, table, first, different[1])
            table.source[first], table.offset[first] = BROKEN, defect


def _different(table: EntryTable, entries: list[int], digests: dict[int, bytes]) -> list[int]:
    """The entries whose contents differ from those of all before them. O(n)."""
    kept: list[int] = []
    seen: set[tuple[int, int, int] | bytes] = set()
    for entry in entries:
        place = _place(table, entry)
        own: set[tuple[int, int, int] | bytes] = {place, digests[entry]} if entry in digests else {place}
        if seen.isdisjoint(own):
            kept.append(entry)
        seen |= own
    return kept


def _place(table: EntryTable, entry: int) -> tuple[int, int, int]:
    return int(table.source[entry]), int(table.offset[entry]), int(table.size[entry])


def _compared(table: EntryTable, entries: list[int]) -> list[int]:
    """The entries of one name whose contents are needed: another one elsewhere may be as long. O(n)."""
    if (table.source[entries] == DIRECTORY).any():
        return []
    places = {entry: _place(table, entry) for entry in entries}
    distinct = set(places.values())
    of_size = Counter(map(_size, distinct))
    unknown = any(size < 0 for size in of_size)
    return [
        entry
        for entry, place in places.items()
        if (len(distinct) > 1 if (size := _size(place)) < 0 else of_size[size] > 1 or unknown)
    ]


def _size(place: tuple[int, int, int]) -> int:
    """Bytes; -1 where nobody has said them: what a link leads to may have any size."""
    return -1 if place[0] == LINK else place[2]


def _batches(table: EntryTable, clashes: list[Clash]) -> Iterator[list[Clash]]:
    """The clashes in order, so many at a time that their contents can be looked at together."""
    some: list[Clash] = []
    size = entries = 0
    for clash in clashes:
        size += sum(max(int(table.size[entry]), 1 << 12) for entry in clash.entries)
        entries += len(clash.entries)
        some.append(clash)
        if size > COMPARED_BYTES or entries > COMPARED_ENTRIES:
            yield some
            some, size, entries = [], 0, 0
    if some:
        yield some


def _portions(table: EntryTable, entries: list[int]) -> Iterator[list[int]]:
    """Entries in order, so many at a time that their contents can be in memory together."""
    some: list[int] = []
    size = 0
    for entry in entries:
        own = max(int(table.size[entry]), 1 << 12)
        if some and size + own > COMPARED_BYTES:
            yield some
            some, size = [], 0
        some.append(entry)
        size += own
    if some:
        yield some


def free_name(name: bytes, taken: set[bytes], numbers: Iterator[int]) -> bytes:
    """``stem_1.ext``, or the next number that is free; added to `taken`."""
    candidate = next(new for number in numbers if (new := numbered(name, number)) not in taken)
    taken.add(candidate)
    return candidate
