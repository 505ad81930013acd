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
nothing, or too much, isn't made either, and removes nothing; for one that says nothing folders are made. Where one of
these, or a hard link to nothing, is called ``a/.``, its folders are those of GNU tar, for which ``a`` is one of them.

Folders of what is there are there, so no path is walked folder by folder: where it leaves them is found by halves. What
hard links follow along symbolic links has a budget. Both, and that folders are made of names within the budget of
`bounds`, make it all linear in the bytes of headers.
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
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

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
_BYTES_PER_MEMBER, _FREE_BYTES, _BYTES_PER_LINK = 512, 4 << 20, 128
"""What may be walked along symbolic links for hard links, and what each of them counts beside its path's bytes."""


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
    if targets or may_clash(members):
        return _Folder().take(members, targets)
    hidden = folders_of_hidden(members)
    if not hidden:
        return Extracted()
    entries = {path for member in members.folders if not _leaves_no_folder(path := path_of(member.name))}
    return Extracted(folders=frozenset((hidden | entries) - {b""}))


class _Folder:
    """The folder that a tar is extracted to, member by member."""

    def __init__(self) -> None:
        self._there: dict[bytes, int] = {}  # what is no folder -> the row that its data is of; below 0, see `_others`
        self._others: list[LeftOut] = []  # what has no row: -1 is the first, -2 the second
        self._inside: dict[bytes, int] = {b"": 1}  # folder -> how many are in it
        self._rows: dict[bytes, list[int]] = {}  # path -> all rows that were there one after the other
        self._refused: set[bytes] = set()
        self._says: dict[int, bytes] = {}  # of `_others`: the path that a symbolic link says
        self._may_follow = _FREE_BYTES  # of paths that symbolic links lead to
        self._found = Extracted()

    def take(self, members: TarTable, targets: Mapping[int, bytes]) -> Extracted:
        """Extract all members."""
        self._may_follow += _BYTES_PER_MEMBER * (len(members) + len(members.left_out) + len(members.folders))
        for row, path, other in in_order(members):
            if not path or (other is not None and other.kind is NAMELESS):
                continue
            if other is None:
                if row in targets:
                    self._link(row, path, targets[row], _with_its_folders(path, members.name(row)))
                else:
                    self._put(row, path, row)
            elif other.kind is FOLDER:
                self._put_folder(path)
            elif is_no_link(other):
                if not other.target and not stands_apart(path) and not self._in_the_way(path):
                    self._make_folders(path if path in self._there else _with_its_folders(path, other.name))
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

    def _link(self, row: int, path: bytes, name: bytes, own: bytes) -> None:
        """Make a hard link, if that can be done. `own` is its path as folders are made for it."""
        target = self._target(path, name)
        data = self._there.get(target)
        if data is None or means_a_folder(name):
            is_refused = data is None and target in self._refused
            self._found.not_made[row] = LINK_TO_LEFT_OUT if is_refused else LINK_TO_NOTHING
            if not stands_apart(path) and not self._in_the_way(path) and not self._ends_the_search(target):
                if target in self._inside and path not in (target, own[:-2]) and not self._inside.get(path):
                    self._remove(path)
                self._make_folders(path if path in self._there else own)
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
        no file, unless one that is meant as a folder. What is walked beyond it, along symbolic links, has one budget
        for all of the tar, in which each member counts; where that is used up, links lead nowhere, as in a circle.
        """
        for _ in range(_MOST_LINKS):
            if len(target) > MOST_PATH:
                return True
            there, missing = self._border(target)
            if (data := self._there.get(target[:missing])) is None:
                return target[:missing] not in self._inside and missing - there > MOST_NAME + bool(there)
            says = self._path_said(data) if missing == len(target) else b""
            self._may_follow -= there + len(says) + _BYTES_PER_LINK
            if not says or self._may_follow < 0:
                return True
            target = b"/".join([part for part in (target[:there], says) if part not in (b"", b".")])
        return True

    def _path_said(self, data: int) -> bytes:
        """The path that a symbolic link says. Empty for what is none, and for one that leads out of its folder.

        GNU tar makes a file of one that leads out, until the end.
        """
        if data >= 0:
            return b""
        if data not in self._says:
            says = self._others[-1 - data].target
            self._says[data] = b"" if says[:1] == b"/" or leads_up(says) else path_of(says) or b"."
        return self._says[data]

    def _in_the_way(self, path: bytes) -> Kind | None:
        """Why a path has a file or a link above it, if it has one."""
        if _folder(path) in self._inside:
            return None
        data = self._there.get(path[: self._border(path)[1]])
        if data is None:
            return None
        is_link = data < 0 and self._others[-1 - data].kind is SYMBOLIC_LINK
        return BELOW_A_LINK if is_link else BELOW_A_FILE

    def _border(self, path: bytes) -> tuple[int, int]:
        """Where the innermost folder of a path that is there ends, and what comes next.

        Folders of what is there are there. So the place is found by halves: a pass over the bytes for each, however
        many folders there are in a path.
        """
        there, missing = 0, path.rfind(b"/")
        if missing < 0 or path[:missing] in self._inside:
            return max(missing, 0), len(path)
        while True:
            middle = (there + missing) // 2
            at = path.rfind(b"/", there + 1, middle + 1)
            if at < 0:
                at = path.find(b"/", max(middle, there) + 1, missing)
            if at < 0:
                return there, missing
            if path[:at] in self._inside:
                there = at
            else:
                missing = at

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
    _with_those_above((*others, *folders), folders)
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
        folders |= _folders_ending_at(members, row_of[alike], slashes[alike])
    long = np.flatnonzero(np.diff(name_start) > MOST_PATH)  # of which `above` knows an end
    _with_those_above((path_of(members.name(row)) for row in long.tolist()), folders)
    if not others.isdisjoint(folders):
        return True
    others |= folders
    rows = np.flatnonzero(may_be_among(ends, ends_of(others)))
    return any(path_of(members.name(row)) in others for row in rows.tolist())


def _folders_ending_at(members: TarTable, rows: NDArray[np.int64], slashes: NDArray[np.int64]) -> set[bytes]:
    """Folders of rows, that end at some slashes. A row's innermost first, and no more where they are known already."""
    begin = members.name_start[rows]
    near = slashes - begin <= MOST_PATH
    rows, begin, slashes = rows[near], begin[near], slashes[near]
    found: set[bytes] = set()
    done = -1
    for row, first, at in zip(rows[::-1].tolist(), begin[::-1].tolist(), slashes[::-1].tolist(), strict=True):
        if row != done:
            folder = path_of(members.arena[first:at].tobytes())
            if folder in found:
                done = row
            found.add(folder)
    return found


def _called_as_folders(members: TarTable) -> set[bytes]:
    """Paths of files whose names end otherwise: ``a/.``."""
    arena, name_start = members.arena, members.name_start
    at = np.maximum(name_start[1:] - 3, 0)
    rows = np.flatnonzero((arena[at] == ord("/")) & (arena[at + 1] == ord("."))) if len(members) else at
    return {path_of(members.name(row)) for row in rows.tolist() if members.name(row).endswith(b"/.")}


def folders_of_hidden(members: TarTable) -> set[bytes]:
    """Folders that are made for what is never shown: devices, and names that are too long. Looks at no other rows."""
    left_out = [
        member for member in members.left_out if member.kind is not NAMELESS and len(member.target) <= MOST_PATH
    ]
    hidden = {path_of(member.name) for member in left_out if not is_shown(member)}
    hidden |= {_with_its_folders(path_of(member.name), member.name) for member in left_out if is_no_link(member)}
    named = [member.name for member in (*left_out, *members.folders) if len(member.name) > MOST_NAME]
    named += [members.name(row) for row in np.flatnonzero(np.diff(members.name_start) > MOST_NAME + 1).tolist()]
    hidden.update(path for name in named if is_too_long(path := path_of(name)))
    return _with_those_above(path for path in hidden if not stands_apart(path))


def is_no_link(member: LeftOut) -> bool:
    """Whether it's a symbolic link that can't be made: it takes nobody's place."""
    return member.kind is SYMBOLIC_LINK and not is_shown(member)


def _with_its_folders(path: bytes, name: bytes) -> bytes:
    """A path as GNU tar makes folders for it: for ``a/.``, which isn't ``a`` before it is there, ``a`` is one."""
    return path + b"/." if name.rstrip(b"/").endswith(b"/.") else path


def _leaves_no_folder(path: bytes) -> bool:
    return stands_apart(path) or is_too_long(path)


def _with_those_above(paths: Iterable[bytes], known: set[bytes] | None = None) -> set[bytes]:
    """Add the folders above some paths to those that are known, each of which is so with all above it."""
    known = set() if known is None else known
    for path in paths:
        for folder in above(path):
            if folder in known:
                break
            known.add(folder)
    return known


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
