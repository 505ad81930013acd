"""How much the names of a tar may be, so that what is made of them takes no more than its headers do.

A header takes 512 bytes, and a name can stand for far more: a global header gives one name to all members, and a name
of 4 kB can have two thousand folders in it, each of which has a path that is about as long as the name. One budget, in
which each header counts, bounds memory and time of all that is made of a tar:

=====================================================  ==================================================
of all members, in the table or not                    at most
=====================================================  ==================================================
bytes of names and of what links lead to               those of the headers that were read, and 1 MiB
folders in their names                                 64 for each member, and a million
folders that are there then, each counted once         16 for each member, and 10,000
bytes of the paths of these                            4 KiB for each member, and 64 MiB
=====================================================  ==================================================

Bytes are counted while headers are read (`GivenNames`): only what global headers say is there more than once. Such a
tar is whole up to where there are too many. Folders are counted when the walk is at its end, before anything is made of
the names (`check_folders`); no part of them is better than another one, so none of such a tar is served.

What is made of a single name needs no budget: no folder is made for a path of more than 4,095 bytes (`names.above`), so
a name of a million folders costs a pass over its bytes, and its member. What is looked up for many of them, and
followed along symbolic links, is bounded where that's done (`extracting`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.errors import DamagedTarError
from blobdir.wording import counted

from .names import MOST_PATH, above, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pax import Overrides
    from .table import TarTable

_FREE_BYTES: Final = 1 << 20
_PARTS_PER_MEMBER, _FREE_PARTS = 64, 1_000_000
_FOLDERS_PER_MEMBER, _FREE_FOLDERS = 16, 10_000
_PATHS_PER_MEMBER, _FREE_PATHS = 4 << 10, 64 << 20
_SLASH: Final = ord("/")


class GivenNames:
    """Counts the bytes of names that members have from extended headers, against those of the headers themselves."""

    def __init__(self) -> None:
        self._given = 0

    def take(self, over: Overrides, header_bytes: int) -> bool:
        """Count what is said of one more member; False when it's too much.

        Parameters
        ----------
        over : Overrides
        header_bytes : int
            Of all headers up to here, and of what extended ones say.
        """
        said = over.get("path"), over.get("linkpath"), over.get("sparse")
        self._given += sum(len(name) for name in said if name)
        return self._given <= header_bytes + _FREE_BYTES


def check_folders(table: TarTable, path: str) -> None:
    """Make sure that names don't make far more folders than there are members. O(n), a pass over the names' bytes.

    Raises
    ------
    DamagedTarError
        They do. Its position is 0: nothing of the tar can be served.
    """
    others = (*table.left_out, *table.folders)
    members = len(table) + len(others)
    parts = int(np.count_nonzero(table.arena == _SLASH)) + sum(member.name.count(b"/") for member in others)
    most = _FOLDERS_PER_MEMBER * members + _FREE_FOLDERS
    most_bytes = _PATHS_PER_MEMBER * members + _FREE_PATHS
    if parts <= most and parts * _longest(table) <= most_bytes:  # they can't make more
        return
    of = f"{path}: the names of its {counted(members, 'member')}"
    if parts > _PARTS_PER_MEMBER * members + _FREE_PARTS:
        raise DamagedTarError(f"{of} have {parts:,} folders in them", path=path, position=0)
    known: set[int] = {hash(b"")}  # of paths, which may be long
    size = 0
    for member_path in _paths(table):
        for folder in above(member_path):
            if (digest := hash(folder)) in known:
                break
            known.add(digest)
            size += len(folder)
        if len(known) > most:
            raise DamagedTarError(f"{of} make more than {most:,} folders", path=path, position=0)
        if size > most_bytes:
            text = f"{of} make folders whose paths have more than {most_bytes:,} bytes"
            raise DamagedTarError(text, path=path, position=0)


def _longest(table: TarTable) -> int:
    """Bytes of the longest path that a folder of a tar can have."""
    longest = int(np.diff(table.name_start).max()) if len(table) else 0
    others = (len(member.name) for member in (*table.left_out, *table.folders))
    return min(max(longest, max(others, default=0)), MOST_PATH)


def _paths(table: TarTable) -> Iterator[bytes]:
    """The path of each member; of a folder, which is its own, with a slash behind."""
    for name in table.arena.tobytes().split(b"\0")[:-1]:
        yield path_of(name)
    for member in table.left_out:
        yield path_of(member.name)
    for member in table.folders:
        yield path_of(member.name) + b"/"
