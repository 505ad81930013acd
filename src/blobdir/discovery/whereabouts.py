"""Where the folders are that a change was decided for: they may have got other names before somebody finishes it.

The journal of a change has the inode of each folder that it touches, and of the project's own. In a copy of a project
(``cp -a``, ``rsync``, an archive) all numbers are others, the project's own too: they say nothing then. Devices aren't
compared but with the project's: their numbers can be others after the computer was started anew. One rule for each
folder, the first line that holds:

1. its name and its number: it's where it was;
2. its number elsewhere in the project (links aren't followed), and a file in it that must be in it by now (some file
   systems number all anew, or give numbers again): it's there. If no file must be, it's there if its name is free;
3. its name, and a file in it that must be in it by now, or was when the change was decided: it's the same one, copied
   or put back from a backup. If no file must be, it's the same one in a copy, or where the one above it was put back;
4. else it's nowhere: removed, moved out of the project, or renamed in a copy.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.projectlock import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_OWN: Final = ("", STATE_DIR)
"""By these a project is told from a copy of it."""


def inodes_of(root: str, folders: Iterable[str]) -> dict[str, int]:
    """Path -> inode, of some folders and all above them, as far as they are there, and of the project's own."""
    needed = dict.fromkeys(one for folder in folders for one in (*layout.above(folder), folder) if one)
    device = os.stat(root).st_dev
    found = {path: _inode(root, path, device) for path in (*_OWN, *needed)}
    return {path: inode for path, inode in found.items() if inode >= 0}


class Whereabouts:
    """Where folders of a project are now.

    Parameters
    ----------
    root : str
        Folder of the project.
    inodes : mapping
        What `inodes_of` gave once; empty where nothing is known: then each is taken to be where it was.
    is_it : callable, optional
        Whether a folder is the one that had a path once, by what is in it: told both paths; None if nothing tells.
    folders : iterable of str
        Those that there were, where `inodes` is empty.

    Attributes
    ----------
    moved : dict
        Path of each folder that isn't where it was -> where it is now; None if it's nowhere in the project.
    again : set of str
        Paths of folders that are taken for the ones that they were by their names and what is in them.
    """

    def __init__(
        self,
        root: str,
        inodes: Mapping[str, int],
        is_it: Callable[[str, str], bool | None] = lambda _, __: True,
        folders: Iterable[str] = (),
    ) -> None:
        self.moved: dict[str, str | None] = {}
        self._root, self._is_it = root, is_it
        tell = bool(inodes) and all(_inode(root, path) == inodes.get(path, -1) for path in _OWN)
        device = os.stat(root).st_dev
        noted = {path: inodes.get(path, -1) for path in inodes or folders if path not in _OWN and is_inside(path)}
        self._known = frozenset(noted)
        away = {path: inode for path, inode in noted.items() if not tell or _inode(root, path, device) != inode}
        found = _find(root, set(away.values())) if tell and away else {}
        self.again = set[str]()
        for path in sorted(away):
            now = self._place(path, found.get(away[path]), again=not tell or path.rpartition("/")[0] in self.again)
            if now == path:
                self.again.add(path)
            else:
                self.moved[path] = now

    def _place(self, path: str, found: str | None, *, again: bool) -> str | None:
        """Where a folder is that isn't at its path by its number; `found` is one that has this."""
        is_there = os.path.lexists(os.path.join(self._root, path))
        if found is not None:
            is_it = self._is_it(path, found)
            if is_it or (is_it is None and not is_there):
                return found
        if _inode(self._root, path) < 0:
            return None
        is_it = self._is_it(path, path)
        return path if is_it or (is_it is None and again) else None

    def of(self, path: str) -> str | None:
        """Where something is now, or belongs; None where its folder is nowhere, or one that isn't its has its name."""
        if not self.moved:
            return path
        known = next((one for one in (path, *reversed(layout.above(path))) if one in self._known), "")
        base = self.moved.get(known, known)
        if base is None:
            return None
        now = path if base == known else layout.join(base, path[len(known) + 1 :])
        strange = set(self.moved.values()) - {base}
        below = (one for one in (*layout.above(now), now) if len(one) > len(base))
        return None if any(one in strange for one in below) else now


def is_inside(path: str) -> bool:
    """Whether a path of a journal, which anybody may have written, can be that of something in the project."""
    return "\0" not in path and not {"", ".", ".."} & set(path.split("/"))


def _inode(root: str, path: str, device: int = -1) -> int:
    """Number of what is at a path, on the project's own file system; -1 where nothing is, or a link."""
    try:
        device = os.stat(root).st_dev if device < 0 else device
        found = os.lstat(os.path.join(root, path))  # the root's has a slash behind it, so that a link to it is followed
    except (OSError, ValueError):
        return -1
    return found.st_ino if stat.S_ISDIR(found.st_mode) and found.st_dev == device else -1


def _find(root: str, inodes: set[int]) -> dict[int, str]:
    """Inode -> path, of the folders of a project that have some numbers."""
    found: dict[int, str] = {}
    for at, names, _ in os.walk(root):
        here = os.path.relpath(at, root)
        for name in names:
            path = name if here == os.curdir else f"{here}/{name}"
            if path != STATE_DIR and (inode := _inode(root, path)) in inodes:
                found[inode] = path
        if here == os.curdir and STATE_DIR in names:
            names.remove(STATE_DIR)
    return found
