"""What the names of members mean, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from .table import TarTable

MOST_PATH, MOST_NAME = 4095, 255
"""Bytes of a path, and of one name in it, that a file can have."""
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


def is_nameless(name: bytes) -> bool:
    """Whether a member means no file at all, but the folder that a tar is extracted to: ``./``, ``/``, ``.//.``."""
    return not name.strip(b"./") and not path_of(name)


def is_too_long(path: bytes) -> bool:
    """Whether no file can be called so: for the whole path, or for one name in it."""
    return len(path) > MOST_NAME and (len(path) > MOST_PATH or max(map(len, path.split(b"/"))) > MOST_NAME)


def _before_a_long_name(path: bytes) -> bytes:
    """The part of a path up to the first name in it that none can have."""
    at = 0
    for part in path.split(b"/"):
        if len(part) > MOST_NAME:
            return path[:at]
        at += len(part) + 1
    return path


def stands_apart(path: bytes) -> bool:
    """Whether a path has nothing to do with others: no folder of it is made, nor anything replaced for it."""
    return len(path) > MOST_PATH or leads_up(path)


def leads_up(name: bytes) -> bool:
    """Whether there is ``..`` in a name: a file somewhere else, with ``tar -P``, which no other name means."""
    return b".." in name and b".." in name.split(b"/")


def means_a_folder(name: bytes) -> bool:
    """Whether a name, which may be one of a file after all, says that it's a folder's: ``a/``, ``a/.``."""
    return name[-1:] == b"/" or name[-2:] == b"/."


def above(path: bytes) -> Iterator[bytes]:
    """The folders of a path that there can be, the innermost first: not those of names that are too long.

    So its work is bounded by `MOST_PATH`, whatever a name is. GNU tar makes none for a path that is longer, but for
    hard links to nothing and symbolic links that say nothing, of which the kernel doesn't look at the path first.
    """
    if len(path) > MOST_NAME:
        path = _before_a_long_name(path) if len(path) <= MOST_PATH else b""
    while (at := path.rfind(b"/")) > 0:
        path = path[:at]
        yield path


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
