"""Hard links, resolved to the data of the member that they name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .table import FOLDER, LINK_TO_LEFT_OUT, LINK_TO_NOTHING, LeftOut

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
    """Give each hard link the byte range of the last earlier member of the name that it has as target. O(n).

    Names are compared as Python's tarfile does: ``./a`` is ``a``. A link may name another link. What a folder has
    taken the place of is no target.

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
    keep = np.ones(len(table), bool)
    keep[list(absent)] = False
    if not links:
        return _kept(table, keep)
    start, end = table.start.copy(), table.end.copy()
    row_of: dict[bytes, int | None] = {}
    others = iter(sorted((*table.left_out, *table.folders), key=lambda member: (member.row, member.position)))
    other = next(others, None)
    lost: list[LeftOut] = []
    for row, name in enumerate(table.arena.tobytes().split(b"\0")[:-1]):
        while other is not None and other.row <= row:
            if other.kind is FOLDER:
                row_of.pop(same_name(other.name), None)
            else:
                row_of[same_name(other.name)] = None
            other = next(others, None)
        if not keep[row]:
            continue
        final: int | None = row
        if row in links:
            link = links[row]
            target = same_name(link.target)
            final = row_of.get(target)
            if final is None:
                keep[row] = False
                kind = LINK_TO_LEFT_OUT if target in row_of else LINK_TO_NOTHING
                lost.append(LeftOut(kind, name, link.position, row))
            else:
                start[row], end[row] = start[final], end[final]
        row_of[same_name(name)] = final
    return _kept(replace(table, start=start, end=end, left_out=(*table.left_out, *lost)), keep)


def same_name(name: bytes) -> bytes:
    """What is equal for names of one file: ``./a`` and ``a``."""
    if b"//" in name or b"./" in name or name[-1:] in b"./":
        return os.path.normpath(name)
    return name


def _kept(table: TarTable, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> TarTable:
    """The table with only some of its rows."""
    if keep.all():
        return table
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
