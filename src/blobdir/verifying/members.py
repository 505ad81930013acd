"""Entries of offsets against the members of their tar: header, size and name, every one of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.lazily import cached_property
from blobdir.offsets.choosing import choose, side_files_of
from blobdir.offsets.names import is_called, number_of, numbered
from blobdir.tarscan import scan_tar
from blobdir.tarwriting.members import is_label_called, label_called
from blobdir.verifying.readings import Readings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from blobdir.offsets import OffsetsTable
    from blobdir.tarscan import TarTable

    Ints = NDArray[np.int64]

FITS, PAST_END, NO_MEMBER, SIZE, NAME = range(5)
CODES: Final = {
    PAST_END: ("offset-past-end", "ends past the end of the blob"),
    NO_MEMBER: ("offset-no-member", "isn't where a member of the tar begins"),
    SIZE: ("offset-size", "isn't as long as the member there"),
    NAME: ("offset-name", "isn't the member there"),
}
"""Fault of an entry -> code of its finding, and what is said of it."""


class Members:
    """The members of a tar, by place and by name.

    Parameters
    ----------
    table : TarTable
    """

    def __init__(self, table: TarTable) -> None:
        self.table = table
        self.order = np.argsort(table.start, kind="stable")
        self.starts = table.start[self.order]

    @classmethod
    def of(cls, path: str) -> Members:
        """Scan a tar. Members whose data isn't one byte range are left out: no entry can lead to one."""
        return cls(scan_tar(path))

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def names(self) -> list[bytes]:
        """Full names, in the order of the archive."""
        return self.table.arena.tobytes().split(b"\0")[:-1]

    @cached_property
    def of_base(self) -> dict[bytes, list[int]]:
        """Base name -> numbers of the members that have it, in the order of the archive."""
        found: dict[bytes, list[int]] = defaultdict(list)
        for number, name in enumerate(self.names):
            found[name.rpartition(b"/")[2]].append(number)
        return dict(found)

    def at(self, start: int) -> list[int]:
        """Members whose data begin at a byte: more than one where there are hard links."""
        low, high = np.searchsorted(self.starts, [start, start + 1])
        found: list[int] = self.order[low:high].tolist()
        return found

    def ending_in(self, name: bytes) -> list[int]:
        """Members of this name, in whatever folder."""
        below = b"/" + name
        return [n for n in self.of_base.get(_base(name), ()) if (b"/" + self.names[n]).endswith(below)]

    def ranks(self, base: bytes) -> dict[int, int]:
        """First byte of each member of a base name -> how many others of that name stand before it."""
        starts = self.table.start[self.of_base.get(base, [])].tolist()
        return {start: rank for rank, start in enumerate(dict.fromkeys(starts))}

    def free_numbers(self, base: bytes) -> Iterator[int]:
        """Numbers that the second, third … member of a base name get: those that make no other member's name."""
        number = 0
        while True:
            number += 1
            if numbered(base, number) not in self.of_base:
                yield number


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of the entries of a pickle.

    Attributes
    ----------
    fault : ndarray of uint8, shape (n,)
        `FITS`, or what doesn't.
    member : ndarray of int64, shape (n,)
        A member that begins where the entry does; -1 where none does.
    """

    fault: NDArray[np.uint8]
    member: Ints


def judge(members: Members, table: OffsetsTable, size: int) -> Judgement:
    """Hold every entry of a pickle against a tar of `size` bytes."""
    fault = np.zeros(len(table), np.uint8)
    member = np.full(len(table), -1, np.int64)
    if len(members):
        place = np.minimum(np.searchsorted(members.starts, table.start), len(members) - 1)
        hit = members.starts[place] == table.start
        member[hit] = members.order[place[hit]]
        fault[hit & (members.table.end[member] != table.end)] = SIZE
    fault[member < 0] = NO_MEMBER
    fault[table.end > size] = PAST_END
    _judge_names(members, table, member, fault)
    return Judgement(fault, member)


def _judge_names(members: Members, table: OffsetsTable, member: Ints, fault: NDArray[np.uint8]) -> None:
    if np.array_equal(member, np.arange(len(members))) and np.array_equal(table.arena, members.table.arena):
        return  # entry by entry what the tar says
    rows = np.flatnonzero(fault == FITS)
    names, full = table.names(), members.names
    readings = Readings(members, names)
    with_number: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for row, number in zip(rows.tolist(), member[rows].tolist(), strict=True):
        name = names[row]
        is_allowed = not readings.are_needed or readings.allow(name, int(table.start[row]))
        if is_allowed and (full[number] == name or is_called(name, full[number])):
            continue
        others = members.at(int(table.start[row]))
        if is_allowed and any(is_called(name, full[other]) for other in others):
            continue  # a hard link
        fault[row] = NAME
        for base in {_base(full[other]) for other in others}:
            if count := number_of(name, base):
                with_number[base].append((count, row))
    if with_number:
        row_of = {name: row for row, name in enumerate(names)}
        for base, numbered_rows in with_number.items():
            own = row_of.get(base, -1)
            group = [(0, own)] if own >= 0 and fault[own] == FITS else []
            for row in _rightly_numbered(members, base, table, sorted(group + numbered_rows)):
                fault[row] = FITS


def _rightly_numbered(members: Members, base: bytes, table: OffsetsTable, rows: list[tuple[int, int]]) -> Iterator[int]:
    """Which of the entries ``a.png``, ``a_1.png`` … are what ``offsets --on-conflict rename`` writes for `base`.

    Of several members of that base name, a later one has a higher number. It can be lower than its place among all of
    them says, for a filter may have left some out, but not higher. A number that makes another member's name isn't
    given.

    Parameters
    ----------
    rows : list of (int, int)
        Number, 0 for the name itself, and row of `table`, in the order of the numbers.
    """
    ranks, last = members.ranks(base), -1
    given = members.free_numbers(base)
    highest = [0, *(next(given) for _ in range(len(ranks) - 1))]
    for count, row in rows:
        rank = ranks.get(int(table.start[row]), -1)
        is_own = count and numbered(base, count) in members.of_base
        if rank <= last or is_own or count > highest[rank]:
            continue
        last = rank
        yield row


def overlapping(table: OffsetsTable, members: Members) -> tuple[list[int], list[int]]:
    """Entries that begin inside another one, and those that have another one's bytes without a hard link."""
    by_start = np.argsort(table.start, kind="stable")
    start, end = table.start[by_start], table.end[by_start]
    same = (start[1:] == start[:-1]) & (end[1:] == end[:-1])
    inside = by_start[1:][(start[1:] < end[:-1]) & ~same].tolist()
    twins = by_start[1:][same & (end[1:] > start[1:])]
    shared = []
    for first in np.unique(table.start[twins]).tolist():
        rows = by_start[np.searchsorted(start, first) : np.searchsorted(start, first + 1)].tolist()
        shared += rows[max(1, len(members.at(first))) :]
    return inside, shared


def label_copies(members: Members) -> dict[int, int]:
    """Images -> the copies of their annotations that follow them, see `blobdir.packing.samples`; by their numbers.

    Of ``a.json`` and ``a.JSON`` it's the first.
    """
    found: dict[int, int] = {}
    for row, images in side_files_of(members.table).items():
        for image in images:
            if is_label_called(members.names[row], members.names[image]):
                is_exact = label_called(members.names[image]) == members.names[row]
                found[image] = row if is_exact else found.get(image, row)
    return found


def unreferenced(members: Members, used: list[Ints]) -> Ints:
    """Members whose bytes no entry leads to, of those that `blobdir offsets` takes for images."""
    led_to = np.concatenate([np.zeros(0, np.int64), *used])
    starts = members.table.start
    rows = np.flatnonzero(~np.isin(starts, starts[led_to]))
    if not len(rows):
        return rows
    return np.intersect1d(rows, choose(members.table, None, hidden=False).rows)


def _base(name: bytes) -> bytes:
    return name.rpartition(b"/")[2]
