"""Hard links, resolved to the data of the member that they name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .extracting import extract
from .table import LeftOut

if TYPE_CHECKING:
    from collections.abc import Collection

    from .table import TarTable


@dataclass(frozen=True, slots=True)
class HardLink:
    """A row of the table that is a hard link.

    Attributes
    ----------
    target : bytes
        Name of the earlier member whose data it shares.
    position : int
        Byte of its header.
    """

    target: bytes
    position: int


def resolve(table: TarTable, links: dict[int, HardLink], absent: Collection[int]) -> TarTable:
    """Give each hard link the byte range of what has the name of its target when it's extracted. O(n).

    Parameters
    ----------
    links : dict of int to HardLink
        The rows that are hard links.
    absent : collection of int
        Rows that aren't files, such as directories. They are dropped.

    Returns
    -------
    TarTable
        Without `absent`, and without links that lead to nothing, or to what was left out: those are left out too. All
        that isn't a row says how many rows are before it.
    """
    if absent:
        keep = np.ones(len(table), bool)
        keep[list(absent)] = False
        table, number = _kept(table, keep)
        links = {number[row]: link for row, link in links.items()}
    found = extract(table, {row: link.target for row, link in links.items()})
    if found.data:
        rows, data = (np.array(list(some), np.intp) for some in (found.data.keys(), found.data.values()))
        start, end = table.start.copy(), table.end.copy()
        start[rows], end[rows] = start[data], end[data]
        table = replace(table, start=start, end=end)
    lost = found.lost
    if found.not_made:
        left_out = [LeftOut(kind, table.name(row), links[row].position, row) for row, kind in found.not_made.items()]
        keep = np.ones(len(table), bool)
        keep[list(found.not_made)] = False
        table, number = _kept(replace(table, left_out=(*table.left_out, *left_out)), keep)
        lost = {number[row]: kind for row, kind in lost.items()}
    return replace(table, not_extracted=lost, others_there=found.others, folders_there=found.folders)


def _kept(table: TarTable, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[TarTable, list[int]]:
    """The table with only some of its rows, and the new number of each."""
    length = np.diff(table.name_start)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep, dtype=np.int64)]).tolist()
    left_out, folders = (
        tuple(replace(member, row=before[member.row]) for member in members)
        for members in (table.left_out, table.folders)
    )
    kept = replace(
        table,
        left_out=left_out,
        folders=folders,
        arena=table.arena[np.repeat(keep, length)],
        name_start=np.concatenate([np.zeros(1, np.int64), np.cumsum(length[keep], dtype=np.int64)]),
        start=table.start[keep],
        end=table.end[keep],
        mtime_ns=table.mtime_ns[keep],
        mode=table.mode[keep],
    )
    return kept, before
