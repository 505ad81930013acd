"""What ``stat`` says of a row, the same for every engine: the tree's attributes and the options of the mount."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from blobdir.index import DIRECTORY, FIRST_BLOB, LOOSE
from blobdir.sources import Stat

if TYPE_CHECKING:
    from blobdir.mounting.options import MountOptions
    from blobdir.tree import Tree

NS = 1_000_000_000
_KINDS = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "link": stat.S_IFLNK}


class InodeAttributes(NamedTuple):
    """Attributes of an inode.

    Attributes
    ----------
    ino : int
        Row + 1.
    mode : int
        With the type.
    nlink : int
        For a directory two, and one for each directory in it.
    size : int
        Bytes.
    mtime_ns : int
        Nanoseconds since 1970; atime and ctime are the same.
    uid, gid : int
    live : bool
        Whether it can change while it's mounted, or isn't known for sure now, so that it must be asked for again.
    version : int
        The tag of its version (`AttributeView._tag`) where it's live and that is known, else 0.
    is_kept : bool
        Whether it's so for as long as it's mounted. Rights of folders on this machine aren't, nor what stands in the
        place of one for a moment.
    """

    ino: int
    mode: int
    nlink: int
    size: int
    mtime_ns: int
    uid: int
    gid: int
    live: bool
    version: int = 0
    is_kept: bool = True

    @property
    def blocks(self) -> int:
        """Units of 512 bytes."""
        return -(-self.size // 512)


class AttributeView:
    """Attributes of rows as the mount shows them. Threads may share it."""

    def __init__(self, tree: Tree, options: MountOptions) -> None:
        self._tree = tree
        self._mask = ~options.umask
        self._uid, self._gid = options.uid, options.gid
        self._owner = os.getuid(), os.getgid()
        self._members: dict[int, InodeAttributes] = {}
        self._folders: dict[int, int] = {}  # in a folder

    def of(self, row: int) -> InodeAttributes:
        """Attributes of a row.

        Raises
        ------
        NotFoundError
            A loose file that is gone.
        """
        source = self._tree.index.buffers.source[row]
        if source >= FIRST_BLOB:
            return self.of_member(source, row)._replace(ino=row + 1, size=self._tree.index.buffers.size[row])
        return self._ask(row)

    def of_member(self, source: int, row: int) -> InodeAttributes:
        """What all members of a blob share; `row` is any of them. Inode and size are that one's."""
        found = self._members.get(source)
        if found is None:
            found = self._members[source] = self._ask(row)
        return found

    def _ask(self, row: int) -> InodeAttributes:
        found = self._tree.attributes(row)
        mode = _KINDS[found.kind] | (found.mode if found.kind == "link" else found.mode & self._mask)
        nlink = 2 + self._folders_in(row) if found.kind == "directory" else 1
        uid = self._uid if self._uid >= 0 else found.uid if found.uid >= 0 else self._owner[0]
        gid = self._gid if self._gid >= 0 else found.gid if found.gid >= 0 else self._owner[1]
        is_loose = self._tree.index.buffers.source[row] == LOOSE
        is_known = is_loose and found.inode >= 0
        now = Stat("file", found.size, found.mtime_ns, inode=found.inode, ctime_ns=found.ctime_ns)
        version = self._tag(now) if is_known else 0
        live = is_loose or not found.seen
        is_kept = not self._tree.storage.directory or found.kind == "file"
        return InodeAttributes(row + 1, mode, nlink, found.size, found.mtime_ns, uid, gid, live, version, is_kept)

    def _tag(self, version: Stat) -> int:
        """What a version of a file on this machine is called."""
        return version.tag

    def _folders_in(self, row: int) -> int:
        if (known := self._folders.get(row)) is not None:
            return known
        children = self._tree.index.children(row)
        found = self._folders[row] = int(
            np.count_nonzero(self._tree.index.source[children.start : children.stop] == DIRECTORY)
        )
        return found
