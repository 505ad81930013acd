"""What the entries of a pickle must be, as far as the tar leaves no doubt. Nothing is read or written here."""

from __future__ import annotations

from collections import defaultdict
from posixpath import dirname
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.offsets import OffsetsTable
from blobdir.verifying.members import FITS, judge

if TYPE_CHECKING:
    from blobdir.verifying.members import Members

GONE: Final = "aren't in"
SEVERAL: Final = "can each mean more than one member of"
CLAIMED: Final = "mean members that another pickle has of"


def mended(
    members: Members, old: OffsetsTable, size: int, claimed: set[int]
) -> tuple[OffsetsTable, dict[str, list[bytes]]]:
    """Entries of a pickle, each at the place where the tar has it.

    Those that fit stay. Another one gets the range of the member that its name, with all folders in it, names alone.
    Where several members have the base name, the folder decides that the entries which fit are all from; or the order
    of the tar, if the names are exactly those that ``offsets --on-conflict rename`` gives them. Where that isn't so,
    an entry stays as it is.

    Parameters
    ----------
    members : Members
    old : OffsetsTable
    size : int
        Bytes of the tar.
    claimed : set of int
        First bytes of members that other pickles have.

    Returns
    -------
    OffsetsTable
        As many entries, in the same order, under the same names.
    dict
        Why some stay as they were -> their names.
    """
    judged = judge(members, old, size)
    fits = judged.fault == FITS
    start, end = old.start.copy(), old.end.copy()
    folders = {dirname(members.names[number]) for number in judged.member[fits].tolist()}
    renamed = _renamed(members, old, fits)
    left: dict[str, list[bytes]] = defaultdict(list)
    for row in np.flatnonzero(~fits).tolist():
        name = old.name(row)
        found = members.called(name)
        if len(found) > 1 and len(folders) == 1:
            found = [number for number in found if dirname(members.names[number]) in folders] or found
        places = {int(members.table.start[number]): number for number in found}
        if len(places) != 1 and name in renamed:
            places = {int(members.table.start[renamed[name]]): renamed[name]}
        if len(places) != 1 or not claimed.isdisjoint(places):
            left[GONE if not places else SEVERAL if len(places) > 1 else CLAIMED].append(name)
            continue
        at, number = places.popitem()
        start[row], end[row] = at, members.table.end[number]
    return old.moved(start, end), dict(left)


def _renamed(members: Members, old: OffsetsTable, fits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[bytes, int]:
    """Name -> member, if a pickle has exactly the names that the members get when repeated ones are numbered."""
    table = members.table
    if len(members.of_base) == len(members):
        return {}  # no name is there twice
    bare = OffsetsTable.from_entries(
        [(name.rpartition(b"/")[2], i, i) for i, name in enumerate(members.names)], on_conflict="rename"
    )
    given = dict(zip(bare.names(), bare.start.tolist(), strict=True))
    if given.keys() != set(old.names()):
        return {}
    agrees = all(int(table.start[given[old.name(row)]]) == int(old.start[row]) for row in np.flatnonzero(fits).tolist())
    return given if agrees else {}
