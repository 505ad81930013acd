"""What is there after a tar was extracted, by GNU tar as by bsdtar: which members, and which hard links are made.

What is there when a member comes decides:

===============================  ========================  =========================================
there is                         a file, link or device    a folder
===============================  ========================  =========================================
a file, link or device           takes its place           takes its place
a folder with nothing in it      takes its place           stays
a folder with something in it    can't be extracted        stays
a file above it                  can't be extracted        can't be extracted
===============================  ========================  =========================================

A hard link is what its target is at that moment. One to nothing, or to what couldn't be extracted, isn't made, and
takes nobody's place. One to a folder isn't made either, but what is in its own place is removed for it. One to below a
file, or to a file as if that were a folder (``a/``, ``a/.``), isn't made, and no folder for it, nor is one to below a
symbolic link. What has ``..`` in its name isn't extracted by either, without ``-P``: it is kept, as a file that has
nothing to do with the others; so is what has a path of more than 4,095 bytes, which only bsdtar extracts. Of a path
with a name of more than 255 bytes in it the folders above that name are made, and no more. A symbolic link that says
nothing, or too much, isn't made either, and removes nothing; for one that says nothing folders are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from .names import (
    MOST_NAME,
    MOST_PATH,
    above,
    ends_at,
    ends_of,
    ends_of_names,
    is_too_long,
    leads_up,
    may_be_among,
    means_a_folder,
    path_of,
    slashes_of,
    stands_apart,
)
from .table import FOLDER, LINK_TO_LEFT_OUT, LINK_TO_NOTHING, NAMELESS, SYMBOLIC_LINK, Kind, LeftOut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .table import TarTable

OVERWRITTEN: Final = Kind(
    "member that something replaces further on", "members that something replaces further on", "which is no file"
)
BELOW_A_FILE: Final = Kind("member below what is a file", "members below what are files", "tar can't extract it")
ON_A_FOLDER: Final = Kind(
    "member where there is a folder with files", "members where there are folders with files", "tar can't extract it"
)
BELOW_A_LINK: Final = Kind(
    "member below what is a symbolic link",
    "members below what are symbolic links",
    "bsdtar doesn't extract it, and GNU tar puts it elsewhere",
)
_NO_ROW: Final = -1
_MOST_LINKS: Final = 40
"""Symbolic links that the kernel follows one after the other."""


@dataclass(slots=True)
class Extracted:
    """What becomes of the members of a tar.

    Attributes
    ----------
    data : dict of int to int
        Row of a hard link -> the row whose data it has.
    not_made : dict of int to Kind
        Rows of hard links that lead to no row.
    lost : dict of int to Kind
        Rows that aren't there in the end, but for those that another row takes the place of; and why.
    others : dict of bytes to LeftOut, optional
        Path -> what is there in the end and is neither row nor folder. None: all of those.
    folders : frozenset of bytes, optional
        Paths of the folders that are there in the end. None: those that have an entry or something in them.
    """

    data: dict[int, int] = field(default_factory=dict)
    not_made: dict[int, Kind] = field(default_factory=dict)
    lost: dict[int, Kind] = field(default_factory=dict)
    others: dict[bytes, LeftOut] | None = None
    folders: frozenset[bytes] | None = None


def extract(members: TarTable, targets: Mapping[int, bytes]) -> Extracted:
    """Find out what becomes of the members of a tar. O(n) where there are hard links or names that clash.

    Parameters
    ----------
    members : TarTable
        All of its rows are files or hard links.
    targets : mapping of int to bytes
        Rows of hard links -> the names that they lead to.
    """
    if not targets and not makes_hidden_folders(members) and not may_clash(members):
        return Extracted()
    return _Folder().take(members, targets)


class _Folder:
    """The folder that a tar is extracted to, member by member."""

    def __init__(self) -> None:
        self._there: dict[bytes, int] = {}  # what is no folder -> the row that its data is of; below 0, see `_others`
        self._others: list[LeftOut] = []  # what has no row: -1 is the first, -2 the second
        self._inside: dict[bytes, int] = {b"": 1}  # folder -> how many are in it
        self._rows: dict[bytes, list[int]] = {}  # path -> all rows that were there one after the other
        self._refused: set[bytes] = set()
        self._found = Extracted()

    def take(self, members: TarTable, targets: Mapping[int, bytes]) -> Extracted:
        """Extract all members."""
        for row, path, other in in_order(members):
            if not path or (other is not None and other.kind is NAMELESS):
                continue
            if other is None:
                if row in targets:
                    self._link(row, path, targets[row])
                else:
                    self._put(row, path, row)
            elif other.kind is FOLDER:
                self._put_folder(path)
            elif other.kind is SYMBOLIC_LINK and not is_shown(other):
                if not other.target and not stands_apart(path) and not self._in_the_way(path):
                    self._make_folders(path)
            else:
                self._others.append(other)
                self._put(_NO_ROW, path, -len(self._others))
        self._found.others = {path: self._others[-1 - data] for path, data in self._there.items() if data < 0}
        self._found.folders = frozenset(self._inside) - {b""}
        return self._found

    def _put(self, row: int, path: bytes, data: int) -> None:
        """Put what is no folder in its place, if that can be done. `data` is a row, or says that there is none."""
        if stands_apart(path):
            self._there[path] = data
            return
        why = self._in_the_way(path) or (ON_A_FOLDER if self._inside.get(path) else None)
        if why is not None:
            if path not in self._there:
                self._refused.add(path)
            if row >= 0:
                self._found.lost[row] = why
            return
        if is_too_long(path):
            self._refused.add(path)
            self._make_folders(path)
            return
        if path not in self._there and self._inside.pop(path, None) is None:
            self._make_folders(path)
            self._inside[_folder(path)] += 1
        self._there[path] = data
        if data < 0:
            self._overwrite(path)
        else:
            self._rows.setdefault(path, []).append(row)

    def _put_folder(self, path: bytes) -> None:
        if path in self._inside or stands_apart(path) or self._in_the_way(path):
            return
        self._remove(path)
        self._make_folders(path)
        if not is_too_long(path):
            self._inside[_folder(path)] += 1
            self._inside[path] = 0

    def _target(self, path: bytes, name: bytes) -> bytes:
        """What a hard link leads to.

        GNU tar takes what is behind the last ``..``. With ``-P``, without which no link of such a name itself is made,
        it takes the whole.
        """
        target = path_of(name)
        if not leads_up(target):
            return target
        behind = target.rpartition(b"/../")[2].removeprefix(b"../")
        return behind if behind in self._there or target not in self._there or not leads_up(path) else target

    def _link(self, row: int, path: bytes, name: bytes) -> None:
        target = self._target(path, name)
        data = self._there.get(target)
        if data is None or means_a_folder(name):
            is_refused = data is None and target in self._refused
            self._found.not_made[row] = LINK_TO_LEFT_OUT if is_refused else LINK_TO_NOTHING
            if not stands_apart(path) and not self._in_the_way(path) and not self._ends_the_search(target):
                if target in self._inside and path != target and not self._inside.get(path):
                    self._remove(path)
                self._make_folders(path)
            if path not in self._there:
                self._refused.add(path)
        elif data < 0:
            self._found.not_made[row] = LINK_TO_LEFT_OUT
            if path != target:
                self._put(_NO_ROW, path, data)
        else:
            self._found.data[row] = data
            self._put(row, path, data)

    def _ends_the_search(self, target: bytes) -> bool:
        """Whether what a hard link leads to fails otherwise than by not being there: then no folder is made for it.

        That is where a file or a link is above it or there is a circle, and where a name in it is too long. `target` is
        no file, unless one that is meant as a folder.
        """
        for _ in range(_MOST_LINKS):
            if len(target) > MOST_PATH or self._in_the_way(target):
                return True
            data = self._there.get(target)
            if data is None:
                return is_too_long(target) and next(above(target), b"") in self._inside
            says = self._others[-1 - data].target if data < 0 else b""
            if not says or says[:1] == b"/" or leads_up(says):  # GNU tar makes a file of such a link, until the end
                return True
            target = path_of(_folder(target) + b"/" + says)
        return True

    def _in_the_way(self, path: bytes) -> Kind | None:
        """Why a path has a file or a link above it, if it has one."""
        if _folder(path) in self._inside:
            return None
        for folder in above(path):
            if folder in self._inside:
                break
            if (data := self._there.get(folder)) is not None:
                is_link = data < 0 and self._others[-1 - data].kind is SYMBOLIC_LINK
                return BELOW_A_LINK if is_link else BELOW_A_FILE
        return None

    def _remove(self, path: bytes) -> None:
        """Remove a file, or an empty folder, if there is one."""
        if self._there.pop(path, None) is not None or self._inside.pop(path, None) is not None:
            self._overwrite(path)
            if (folder := _folder(path)) in self._inside:  # what stands apart has none
                self._inside[folder] -= 1

    def _overwrite(self, path: bytes) -> None:
        self._found.lost.update(dict.fromkeys(self._rows.pop(path, ()), OVERWRITTEN))

    def _make_folders(self, path: bytes) -> None:
        """Make the folders of a path that has nothing in its way."""
        made = 0
        for folder in chain(above(path), (b"",)):
            if folder in self._inside:
                self._inside[folder] += made
                return
            self._inside[folder] = made
            made = 1


def _folder(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def may_clash(members: TarTable) -> bool:
    """Whether something has a name that something else has, too, or that is that of a folder of others."""
    others = {path_of(member.name) for member in members.left_out} | _called_as_folders(members)
    folders = {path_of(member.name) for member in members.folders}
    for path in (*others, *folders):
        for folder in above(path):
            if folder in folders:
                break
            folders.add(folder)
    if not others.isdisjoint(folders):
        return True
    arena, name_start = members.arena, members.name_start
    # Names are compared that end alike, which are few: images end otherwise than folders.
    ends = ends_of_names(members)
    own = np.concatenate([ends, ends_of(others)])
    for slashes, after in slashes_of(arena):
        row_of = np.searchsorted(name_start, slashes, "right") - 1
        begin = np.maximum(name_start[row_of], after)
        alike = np.flatnonzero(may_be_among(ends_at(arena, begin, slashes), own))
        for row, at in zip(row_of[alike].tolist(), slashes[alike].tolist(), strict=True):
            if at - name_start[row] <= MOST_PATH:
                folders.add(path_of(arena[name_start[row] : at].tobytes()))
    for row in np.flatnonzero(np.diff(name_start) > MOST_PATH).tolist():  # of which `above` knows an end
        folders.update(above(path_of(members.name(row))))
    if not others.isdisjoint(folders):
        return True
    others |= folders
    rows = np.flatnonzero(may_be_among(ends, ends_of(others)))
    return any(path_of(members.name(row)) in others for row in rows.tolist())


def _called_as_folders(members: TarTable) -> set[bytes]:
    """Paths of files whose names end otherwise: ``a/.``."""
    arena, name_start = members.arena, members.name_start
    at = np.maximum(name_start[1:] - 3, 0)
    rows = np.flatnonzero((arena[at] == ord("/")) & (arena[at + 1] == ord("."))) if len(members) else at
    return {path_of(members.name(row)) for row in rows.tolist() if members.name(row).endswith(b"/.")}


def makes_hidden_folders(members: TarTable) -> bool:
    """Whether folders are made for what is never shown: devices, and names that are too long."""
    if any(b"/" in member.name and not is_shown(member) for member in members.left_out):
        return True
    others = (*members.left_out, *members.folders)
    if any(len(member.name) > MOST_NAME and is_too_long(path_of(member.name)) for member in others):
        return True
    long = np.flatnonzero(np.diff(members.name_start) > MOST_NAME + 1)
    return any(is_too_long(path_of(members.name(row))) for row in long.tolist())


def is_shown(member: LeftOut) -> bool:
    """Whether what has no row is a name of the view: a link that can be made, and a file that can't be read."""
    return member.kind.has_data or (member.kind is SYMBOLIC_LINK and 0 < len(member.target) <= MOST_PATH)


def in_order(members: TarTable) -> Iterator[tuple[int, bytes, LeftOut | None]]:
    """Row and path of all that the tar has; for what has no row, -1, its path and what it is."""
    others: list[LeftOut] = [*members.left_out, *members.folders]
    others.sort(key=lambda member: (member.row, member.position))
    at = 0
    for row, name in enumerate(members.arena.tobytes().split(b"\0")[:-1]):
        while at < len(others) and others[at].row <= row:
            yield _NO_ROW, path_of(others[at].name), others[at]
            at += 1
        yield row, path_of(name), None
    for other in others[at:]:
        yield _NO_ROW, path_of(other.name), other
