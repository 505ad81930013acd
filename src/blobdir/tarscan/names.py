"""What the names of members mean, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from .table import TarTable

_DEEPEST: Final = 128
"""Folders in a name up to which it's looked at: the work is their number times the name's length."""
_BITS: Final = 16
_AT_ONCE: Final = 4 << 20
"""Bytes of names that are looked at together: each may be a slash, which takes many times as much."""


def path_of(name: bytes) -> bytes:
    """The file that a member's name means, below the folder that a tar is extracted to.

    Equal for all names of one file, as GNU tar and bsdtar have it: ``/a``, ``./a``, ``.//a`` and ``a`` are one. Names
    with ``..`` in them, which both refuse, are taken by the letter, see `leads_up`. Empty for that folder itself.
    """
    if name[:1] != b"/" and b"//" not in name and b"./" not in name and name[-1:] not in b"./":
        return name
    return b"/".join([part for part in name.split(b"/") if part not in (b"", b".")])


def leads_up(name: bytes) -> bool:
    """Whether there is ``..`` in a name: a file somewhere else, with ``tar -P``, which no other name means."""
    return b".." in name and b".." in name.split(b"/")


def means_a_folder(name: bytes) -> bool:
    """Whether a name, which may be one of a file after all, says that it's a folder's: ``a/``, ``a/.``."""
    return name[-1:] == b"/" or name[-2:] == b"/."


def above(path: bytes) -> list[bytes]:
    """The folders of a path, the innermost first."""
    found: list[bytes] = []
    while len(found) < _DEEPEST and (at := path.rfind(b"/")) > 0:
        path = path[:at]
        found.append(path)
    return found


def ends_of_names(members: TarTable) -> NDArray[np.uint32]:
    """The last four bytes of each base name, in lower case, as a number; a space where there are fewer."""
    begin, end = members.name_start[:-1], members.name_start[1:] - 1
    slashes = np.flatnonzero(members.arena == ord("/"))
    return ends_at(members.arena, np.maximum(begin, after_slash(slashes, end)), end)


def ends_of(names: Collection[bytes]) -> NDArray[np.uint32]:
    """The same of some names."""
    bases = [name.rpartition(b"/")[2] for name in names]
    end = np.cumsum([len(base) + 1 for base in bases], dtype=np.int64) - 1
    begin = np.concatenate([np.zeros(1, np.int64), end + 1])[:-1]
    return ends_at(np.frombuffer(b"\0".join([*bases, b"\0"]), np.uint8), begin, end)


def after_slash(slashes: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """The byte after the last slash before each; 0 if there is none."""
    last = np.searchsorted(slashes, end)
    return np.concatenate([np.zeros(1, np.int64), slashes + 1])[last]


def slashes_of(arena: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Where slashes are, and the byte after the one before each (0 before the first); some at a time."""
    last = 0
    for first in range(0, len(arena), _AT_ONCE):
        slashes = np.flatnonzero(arena[first : first + _AT_ONCE] == ord("/")) + first
        if len(slashes):
            yield slashes, np.concatenate([[last], slashes[:-1] + 1])
            last = int(slashes[-1]) + 1


def ends_at(arena: NDArray[np.uint8], begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The same of what lies between some bytes."""
    found = np.zeros(len(end), np.uint32)
    for place in range(4):
        at = end - 4 + place
        found |= np.where(at >= begin, arena[np.maximum(at, 0)], 0).astype(np.uint32) << np.uint32(8 * place)
    found |= np.uint32(0x20202020)
    return found


def may_be_among(values: NDArray[np.uint32], some: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which values may be among some: all that are, and few others."""
    seen = np.zeros(1 << _BITS, bool)
    seen[_short(some)] = True
    return seen[_short(values)]


def _short(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return values * np.uint32(0x9E3779B1) >> np.uint32(32 - _BITS)
