"""What the entries of a pickle must be, as far as the tar leaves no doubt. Nothing is read or written here."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from posixpath import dirname
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.offsets import OffsetsTable
from blobdir.offsets.names import is_called
from blobdir.verifying.members import FITS, judge
from blobdir.verifying.readings import Readings

if TYPE_CHECKING:
    from blobdir.verifying.members import Members

GONE: Final = "aren't in"
SEVERAL: Final = "can each mean more than one member of"
CLAIMED: Final = "mean members that another pickle has of"
CONTESTED: Final = "mean members that another pickle may have of"
TWICE: Final = "mean members that another entry has, or means, of"
FOREIGN: Final = "mean members of folders that nothing shows to be this dataset's, in"
UNKNOWN: Final = "may mean what other pickles have that can't be read, or listed, of"


@dataclass(frozen=True, slots=True)
class Claims:
    """What pickles have of a tar.

    Attributes
    ----------
    has : set of int
        First bytes of the members that their entries rightly have.
    may_have : set of int
        First bytes of the members that their other entries can mean.
    """

    has: set[int] = field(default_factory=set)
    may_have: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, members: Members, table: OffsetsTable, size: int) -> Claims:
        """Those of one pickle."""
        fits = judge(members, table, size).fault == FITS
        renamed = _renamed(members, table, fits)
        readings, meant = Readings(members, table.names()), set()
        for row in np.flatnonzero(~fits).tolist():
            name = table.name(row)
            meant.update([*readings.called(name), *([renamed[name]] if name in renamed else [])])
        return cls(set(table.start[fits].tolist()), {int(members.table.start[number]) for number in meant})


@dataclass(frozen=True, slots=True)
class Others:
    """The other pickles of a tar.

    Attributes
    ----------
    claims : list of Claims
        Of those that can be read.
    all_known : bool
        Whether there are no more of them.
    """

    claims: list[Claims]
    all_known: bool

    @property
    def none(self) -> bool:
        """Whether there is no other pickle."""
        return self.all_known and not self.claims

    def refusal(self, start: int) -> str:
        """Why a member mustn't be given away, by its first byte; empty where nobody else can have it."""
        if not self.all_known:
            return UNKNOWN
        if any(start in claims.has for claims in self.claims):
            return CLAIMED
        return CONTESTED if any(start in claims.may_have for claims in self.claims) else ""


def mended(
    members: Members, old: OffsetsTable, size: int, others: Others
) -> tuple[OffsetsTable, dict[str, list[bytes]]]:
    """Entries of a pickle, each at the place where the tar has it.

    Those that fit stay. Another one gets the range of the member that its name, with all folders in it, names alone,
    if nothing says that this may be somebody else's:

    - Another pickle has the member, or has an entry that can mean it; or there are other pickles that can't be read.
    - Another entry of this pickle has it, or means it.
    - It lies in a folder that no entry which fits is from, if all of them are from one, or other pickles refer to the
      tar. A name that is the member's whole name is right wherever that lies.

    Where several members have the base name, the folder decides that the entries which fit are all from; or the order
    of the tar, if the names are exactly those that ``offsets --on-conflict rename`` gives them. Where none of this
    says which member it is, and that it's this pickle's, an entry stays as it is.

    Parameters
    ----------
    members : Members
    old : OffsetsTable
    size : int
        Bytes of the tar.
    others : Others

    Returns
    -------
    OffsetsTable
        As many entries, in the same order, under the same names.
    dict
        Why some stay as they were -> their names.
    """
    judged = judge(members, old, size)
    fits = judged.fault == FITS
    folders = {dirname(members.names[number]) for number in judged.member[fits].tolist()}
    renamed, readings = _renamed(members, old, fits), Readings(members, old.names())
    left: dict[str, list[bytes]] = defaultdict(list)
    found: dict[int, int] = {}
    for row in np.flatnonzero(~fits).tolist():
        name = old.name(row)
        called = readings.called(name)
        if len(called) > 1 and len(folders) == 1:
            called = [number for number in called if dirname(members.names[number]) in folders] or called
        here = [number for number in readings.called(name) if members.table.start[number] == old.start[row]]
        if here and not set(here) & set(called):
            left[SEVERAL].append(name)  # it begins where one of them does, and lies where another one should
            continue
        places = {int(members.table.start[number]): number for number in called}
        is_numbered = len(places) != 1 and name in renamed
        if is_numbered:
            places = {int(members.table.start[renamed[name]]): renamed[name]}
        if len(places) != 1:
            left[SEVERAL if places else GONE].append(name)
            continue
        at, number = places.popitem()
        refusal = others.refusal(at)
        if not refusal and not (is_numbered or _is_from(members, number, name, folders, is_alone=others.none)):
            refusal = FOREIGN
        if refusal:
            left[refusal].append(name)
        else:
            found[row] = number
    start, end = old.start.copy(), old.end.copy()
    held = _held(old, fits)
    times = Counter(found.values())
    for row, number in found.items():
        at = int(members.table.start[number])
        if times[number] > 1 or any(is_called(name, members.names[number]) for name in held.get(at, ())):
            left[TWICE].append(old.name(row))
        else:
            start[row], end[row] = at, members.table.end[number]
    return old.moved(start, end), dict(left)


def _is_from(members: Members, number: int, name: bytes, folders: set[bytes], *, is_alone: bool) -> bool:
    """Whether a member is from where this pickle's members are, as far as its folder tells.

    Parameters
    ----------
    folders : set
        Those of the members that entries rightly have.
    is_alone : bool
        Whether no other pickle refers to the tar.
    """
    full = members.names[number]
    if full.removeprefix(b"./") == name or dirname(full) in folders:
        return True
    if is_alone:
        return len(folders) != 1
    return not folders and len({dirname(other) for other in members.names}) == 1


def _held(table: OffsetsTable, fits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[int, list[bytes]]:
    """First byte -> names of the entries that rightly begin there."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for row in np.flatnonzero(fits).tolist():
        found[int(table.start[row])].append(table.name(row))
    return found


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
