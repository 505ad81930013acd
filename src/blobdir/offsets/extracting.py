"""Members that aren't there after a tar was extracted, by GNU tar as by bsdtar: what comes later takes their places.

What is there when a member comes decides:

===============================  ========================  =========================================
there is                         a file, link or device    a folder
===============================  ========================  =========================================
a file, link or device           takes its place           takes its place
a folder with nothing in it      takes its place           stays
a folder with something in it    can't be extracted        stays
a file above it                  can't be extracted        can't be extracted
===============================  ========================  =========================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.tarscan import Kind, LeftOut, same_name
from blobdir.tarscan.table import FOLDER, SYMBOLIC_LINK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from blobdir.tarscan import TarTable

OVERWRITTEN: Final = Kind(
    "member that something replaces further on", "members that something replaces further on", "which is no file"
)
BELOW_A_FILE: Final = Kind("member below what is a file", "members below what are files", "tar can't extract it")
ON_A_FOLDER: Final = Kind(
    "member where there is a folder with files", "members where there are folders with files", "tar can't extract it"
)
_DEEPEST: Final = 128
"""Folders in a name up to which it's looked at: the work is their number times the name's length."""
_LONGEST: Final = 4096
_BITS: Final = 16


def not_extracted(members: TarTable, ends: NDArray[np.uint32]) -> dict[int, Kind]:
    """Rows that aren't there in the end, but for those that another row takes the place of; and why.

    Parameters
    ----------
    members : TarTable
    ends : ndarray of uint32
        See `ends_of_names`.
    """
    if not _may_clash(members, ends):
        return {}
    there: dict[bytes, tuple[bool, list[int]]] = {}  # whether it's a symbolic link; all rows that it was
    inside: dict[bytes, bool] = {}  # folder -> whether something is in it
    lost: dict[int, Kind] = {}
    for row, name, kind in _in_order(members):
        above = _above(name)
        if not all(there.get(folder, (True, []))[0] for folder in above):
            lost[row] = BELOW_A_FILE
            continue
        if kind is FOLDER:
            lost.update(dict.fromkeys(there.pop(name, (True, []))[1], OVERWRITTEN))
            inside.setdefault(name, False)
        elif inside.get(name):
            lost[row] = ON_A_FOLDER
            continue
        else:
            rows = there.pop(name, (True, []))[1]
            if kind is not None:
                lost.update(dict.fromkeys(rows, OVERWRITTEN))
                rows = []
            inside.pop(name, None)
            there[name] = kind is SYMBOLIC_LINK, [*rows, row]
        for folder in above:
            if inside.get(folder):
                break
            inside[folder] = True
    lost.pop(-1, None)
    return lost


def _may_clash(members: TarTable, ends: NDArray[np.uint32]) -> bool:
    """Whether something has a name that something else has, too, or that is that of a folder of others."""
    others = {_path(member.name) for member in members.left_out}
    folders = {_path(member.name) for member in members.folders}
    folders.update([folder for name in (*others, *folders) for folder in _above(name)])
    if not others.isdisjoint(folders):
        return True
    arena, name_start = members.arena, members.name_start
    slashes = np.flatnonzero(arena == ord("/"))
    # Names are compared that end alike, which are few: images end otherwise than folders.
    own = np.concatenate([ends, _ends_of(others)])
    if len(slashes):
        row_of = np.searchsorted(name_start, slashes, "right") - 1
        begin = np.maximum(name_start[row_of], _after_slash(slashes, slashes))
        alike = np.flatnonzero(_is_in(_ends(arena, begin, slashes), own))
        for row, at in zip(row_of[alike].tolist(), slashes[alike].tolist(), strict=True):
            if at - name_start[row] < _LONGEST:
                folders.add(_path(arena[name_start[row] : at].tobytes()))
    if not others.isdisjoint(folders):
        return True
    others |= folders
    rows = np.flatnonzero(_is_in(ends, _ends_of(others)))
    return any(_path(members.name(row)) in others for row in rows.tolist())


def _is_in(values: NDArray[np.uint32], some: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which values may be among some: all that are, and few others."""
    seen = np.zeros(1 << _BITS, bool)
    seen[_short(some)] = True
    return seen[_short(values)]


def _short(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return values * np.uint32(0x9E3779B1) >> np.uint32(32 - _BITS)


def _ends_of(names: Collection[bytes]) -> NDArray[np.uint32]:
    bases = [name.rpartition(b"/")[2] for name in names]
    end = np.cumsum([len(base) + 1 for base in bases], dtype=np.int64) - 1
    begin = np.concatenate([np.zeros(1, np.int64), end + 1])[:-1]
    return _ends(np.frombuffer(b"\0".join([*bases, b"\0"]), np.uint8), begin, end)


def _in_order(members: TarTable) -> Iterator[tuple[int, bytes, Kind | None]]:
    """Row, name and kind of all that the tar has; row -1 for what has none, kind None for what has one."""
    others: list[LeftOut] = [*members.left_out, *members.folders]
    others.sort(key=lambda member: (member.row, member.position))
    at = 0
    for row, name in enumerate(members.arena.tobytes().split(b"\0")[:-1]):
        while at < len(others) and others[at].row <= row:
            yield -1, _path(others[at].name), others[at].kind
            at += 1
        yield row, _path(name), None
    for other in others[at:]:
        yield -1, _path(other.name), other.kind


def _path(name: bytes) -> bytes:
    return same_name(name).lstrip(b"/")


def _above(name: bytes) -> list[bytes]:
    """The folders of a name, the innermost first."""
    found: list[bytes] = []
    while len(found) < _DEEPEST and (at := name.rfind(b"/")) > 0:
        name = name[:at]
        found.append(name)
    return found


def ends_of_names(members: TarTable) -> NDArray[np.uint32]:
    """The last four bytes of each base name, in lower case, as a number; a space where there are fewer."""
    begin, end = members.name_start[:-1], members.name_start[1:] - 1
    slashes = np.flatnonzero(members.arena == ord("/"))
    return _ends(members.arena, np.maximum(begin, _after_slash(slashes, end)), end)


def _after_slash(slashes: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """The byte after the last slash before each; 0 if there is none."""
    last = np.searchsorted(slashes, end)
    return np.concatenate([np.zeros(1, np.int64), slashes + 1])[last]


def _ends(arena: NDArray[np.uint8], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.uint32]:
    found = np.zeros(len(end), np.uint32)
    for place in range(4):
        at = end - 4 + place
        found |= np.where(at >= begin, arena[np.maximum(at, 0)], 0).astype(np.uint32) << np.uint32(8 * place)
    found |= np.uint32(0x20202020)
    return found
