"""Disks of a project: its own folder, and what is mounted in it or lies on another one, as it was when it was opened.

When one is taken away, the empty folder that it was mounted on is in its place, or nothing. What was on it isn't
removed then, and what is there instead says nothing of it.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from blobdir.mountlines import mounts

if TYPE_CHECKING:
    from collections.abc import Iterable


class Disk(NamedTuple):
    """The topmost folder of a disk.

    Attributes
    ----------
    path : str
        Relative to the project; empty for its own folder.
    device, inode, ctime_ns : int
        Of the folder. A disk that comes back may have another number, and another one may have the number that it had.
    number : int
        Of the file system, ``f_fsid``, where it has one of its own (most make it of their UUID), else 0.
    """

    path: str
    device: int
    inode: int
    ctime_ns: int
    number: int = 0

    def has(self, path: str) -> bool:
        """Whether a path of the project is on it, or on one that is mounted in it."""
        return not self.path or path == self.path or path.startswith(f"{self.path}/")

    def is_there(self, root: str) -> bool:
        """Whether it's where it was."""
        now = _look(root, self.path)
        if now is None or now.inode != self.inode:
            return False
        if now.number and self.number and now.number == self.number:
            return True
        is_known = bool(now.number or self.number)
        return now.ctime_ns == self.ctime_ns or (now.device == self.device and not is_known)


def _look(root: str, path: str) -> Disk | None:
    try:
        place = f"{root}/{path}" if path else root
        found, number = os.stat(place), os.statvfs(place).f_fsid
    except OSError:
        return None
    return Disk(path, found.st_dev, found.st_ino, found.st_ctime_ns, number)


class SeenDevices:
    """The devices of a project's folders, as they are looked at when it's opened."""

    def __init__(self) -> None:
        self._top = -1
        self._others: dict[str, int] = {}

    def note(self, path: str, device: int) -> None:
        """One folder; parents come first."""
        if not path:
            self._top = device
        elif device != self._top:
            self._others.setdefault(path, device)

    def tops(self) -> Iterable[str]:
        """The topmost folder of each that isn't on the project's own device."""
        others = self._others
        return [path for path, device in others.items() if others.get(path.rpartition("/")[0]) != device]


def disks_of(root: str, seen: SeenDevices, files: Iterable[str] | None = None) -> tuple[Disk, ...]:
    """The disks of a project as they are now, its own first; those that can't be looked at are left out.

    With `files`, only those that these are on: the others aren't touched, since they may be anybody's, and hang.
    """
    top = root.rstrip("/") + "/"
    # Of one disk, bound to a second place, only the list of mounts tells.
    inside = [
        entry.mountpoint.removeprefix(top)
        for entry in mounts()
        if entry.mountpoint.startswith(top) and entry.fstype != "autofs"
    ]
    if files is not None:
        above = {str(parent) for file in files for parent in PurePosixPath(file).parents}
        inside = [path for path in inside if path in above]
    found = (_look(root, path) for path in dict.fromkeys(["", *seen.tops(), *inside]))
    return tuple(disk for disk in found if disk is not None)
