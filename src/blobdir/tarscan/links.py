"""Hard links, resolved to the data of the member that they name."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from blobdir.errors import DamagedTarError

from .header import shown

if TYPE_CHECKING:
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


@dataclass(frozen=True, slots=True)
class Skipped:
    """A member that isn't in the table, such as a symbolic link. Hard links may name it all the same.

    Attributes
    ----------
    row : int
        Number of rows of the table that stand before it in the archive.
    """

    name: bytes
    row: int


def resolve(table: TarTable, links: dict[int, HardLink], skipped: list[Skipped], path: str) -> tuple[TarTable, int]:
    """Give each hard link the byte range of the last earlier member of the name that it has as target. O(n).

    Names are compared as Python's tarfile does: ``./a`` is ``a``. A link may name another link.

    Parameters
    ----------
    links : dict of int to HardLink
        The rows that are hard links.
    skipped : list of Skipped
        In the order of the archive.
    path : str
        The archive, for messages.

    Returns
    -------
    TarTable
        Without the hard links to skipped members.
    int
        Number of those.

    Raises
    ------
    DamagedTarError
        A link whose target doesn't stand before it.
    """
    start, end = table.start.copy(), table.end.copy()
    row_of: dict[bytes, int | None] = {}
    others = iter([*skipped, Skipped(b"", len(table) + 1)])
    other = next(others)
    keep = np.ones(len(table), bool)
    for row, name in enumerate(table.arena.tobytes().split(b"\0")[:-1]):
        while other.row <= row:
            row_of[_key(other.name)] = None
            other = next(others)
        final: int | None = row
        if row in links:
            link = links[row]
            try:
                final = row_of[_key(link.target)]
            except KeyError:
                raise DamagedTarError(
                    f"{path}: the hard link {shown(name)} (header at byte {link.position}) names "
                    f"{shown(link.target)}, and no member before it has that name; {row} members before it are whole",
                    path=path,
                    position=link.position,
                ) from None
            if final is None:
                keep[row] = False
            else:
                start[row], end[row] = start[final], end[final]
        row_of[_key(name)] = final
    return _kept(replace(table, start=start, end=end), keep), int(len(keep) - keep.sum())


def _key(name: bytes) -> bytes:
    """The name under which a hard link finds a member."""
    if b"//" in name or b"./" in name or name[-1:] in b"./":
        return os.path.normpath(name)
    return name


def _kept(table: TarTable, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> TarTable:
    """The table with only some of its rows."""
    if keep.all():
        return table
    length = np.diff(table.name_start)
    return replace(
        table,
        arena=table.arena[np.repeat(keep, length)],
        name_start=np.concatenate([np.zeros(1, np.int64), np.cumsum(length[keep], dtype=np.int64)]),
        start=table.start[keep],
        end=table.end[keep],
        mtime_ns=table.mtime_ns[keep],
        mode=table.mode[keep],
    )
