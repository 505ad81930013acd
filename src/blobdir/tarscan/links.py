"""Hard links, resolved to the data of the member that they name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .bounds import check_folders
from .extracting import extract
from .table import LeftOut

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from .table import TarTable

T = TypeVar("T")


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


def resolve(table: TarTable, links: dict[int, HardLink], absent: Collection[int], path: str) -> TarTable:
    """Give each hard link the byte range of what has the name of its target when it's extracted. O(n).

    Rows have numbers of three kinds: as headers were read, without `absent`, and without links that aren't made. What
    is known by the number of a row goes from one to the next by `_renumbered` alone, which drops what has no row there.

    Parameters
    ----------
    table : TarTable
    links : dict of int to HardLink
        The rows that are hard links.
    absent : collection of int
        Rows that aren't files, such as directories. They are dropped, with links that are among them.
    path : str
        What messages call the archive.

    Returns
    -------
    TarTable
        Without `absent`, and without links that lead to nothing, or to what was left out: those are left out too. All
        that isn't a row says how many rows are before it.

    Raises
    ------
    DamagedTarError
        Names make too many folders, see `bounds`.
    """
    if absent:
        keep = np.ones(len(table), bool)
        keep[list(absent)] = False
        table, links = _kept(table, keep), _renumbered(links, keep)
    check_folders(table, path)
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
        table, lost = _kept(replace(table, left_out=(*table.left_out, *left_out)), keep), _renumbered(lost, keep)
    return replace(table, not_extracted=lost, others_there=found.others, folders_there=found.folders)


def _renumbered(of_row: dict[int, T], keep: NDArray[np.bool_]) -> dict[int, T]:
    """What is known of rows, by their new numbers; without those that aren't kept."""
    number = np.cumsum(keep) - 1
    return {int(number[row]): what for row, what in of_row.items() if keep[row]}


def _kept(table: TarTable, keep: NDArray[np.bool_]) -> TarTable:
    """The table with only some of its rows; all that isn't a row says how many of them are before it."""
    length = np.diff(table.name_start)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep, dtype=np.int64)]).tolist()
    left_out, folders = (
        tuple(replace(member, row=before[member.row]) for member in members)
        for members in (table.left_out, table.folders)
    )
    return replace(
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
