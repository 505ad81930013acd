"""Directories in the form that READDIR and READDIRPLUS want, many entries at a time."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import numpy as np

from blobdir.index import DIRECTORY, FIRST_BLOB, LINK
from blobdir.mounting.attributes import NS
from blobdir.mounting.native.protocol import DIRENT, ENTRY
from blobdir.mounting.versions import ROW_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.mounting.attributes import AttributeView, InodeAttributes
    from blobdir.tree import Tree

DIRENT_FIELDS = np.dtype([("ino", "u8"), ("off", "u8"), ("namelen", "u4"), ("type", "u4")])
ENTRY_FIELDS = np.dtype(
    [(name, "u8") for name in ("nodeid", "generation", "entry_valid", "attr_valid")]
    + [(name, "u4") for name in ("entry_valid_ns", "attr_valid_ns")]
    + [(name, "u8") for name in ("ino", "size", "blocks", "atime", "mtime", "ctime")]
    + [(name, "u4") for name in ("atime_ns", "mtime_ns", "ctime_ns", "mode", "nlink", "uid", "gid", "rdev")]
    + [(name, "u4") for name in ("blksize", "flags")]
)
"""fuse_entry_out, with the fuse_attr at its end."""
PLUS_FIELDS = np.dtype([("entry", ENTRY_FIELDS), ("dirent", DIRENT_FIELDS)])
"""fuse_direntplus without its name."""

BLOCK = 4096
FOREVER_S = 86_400
"""How long the kernel may keep what can't change: it asks again once a day."""
SOON_S = 1
"""The same for folders and links on this machine: for so long, who looks at a path isn't asked for each part of it."""
LIVE_NS = 50_000_000
"""The same for attributes of loose files, which people edit, and for their names where they're listed. Else a name is
looked up each time, so that the file is opened as it is now: see `blobdir.mounting.versions`."""
DOTS = 2
"""The first two places of a directory: itself, and the one above."""


def pack_entries(fixed: NDArray[np.void], arena: NDArray[np.uint8], starts: NDArray[np.integer], limit: int) -> bytes:
    """Join fixed parts and names; each entry is padded to eight bytes.

    Parameters
    ----------
    fixed : structured ndarray, shape (n,)
        `DIRENT_FIELDS` or `PLUS_FIELDS`.
    arena : ndarray of uint8
    starts : ndarray of int, shape (n + 1,)
        Name ``i`` is ``arena[starts[i]:starts[i + 1] - 1]``; a NUL follows it.
    limit : int
        Bytes; entries that don't fit any more are left out.
    """
    starts = starts.astype(np.int64)
    sizes = fixed.dtype.itemsize + (np.diff(starts) - 1 + 7) // 8 * 8
    ends = np.cumsum(sizes)
    count = int(np.searchsorted(ends, limit, side="right"))
    if not count:
        return b""
    total, begins = int(ends[count - 1]), (ends - sizes)[:count]
    out = np.zeros(total + 8, np.uint8)  # the NUL of the last name may go one over
    names = arena[starts[0] : starts[count]]
    shift = begins + fixed.dtype.itemsize - (starts[:count] - starts[0])
    out[np.arange(len(names)) + np.repeat(shift, np.diff(starts[: count + 1]))] = names
    # After the names: the NUL of one that fills its place lies in the next entry.
    words = fixed[:count].view(np.uint64).reshape(count, -1)
    out[:total].view(np.uint64)[begins[:, None] // 8 + np.arange(words.shape[1])] = words
    return out[:total].tobytes()


class EntryEncoder:
    """Entries of a tree's directories. Cookies are places: 0 and 1 are ``.`` and ``..``, then the children in order."""

    def __init__(self, tree: Tree, view: AttributeView) -> None:
        self._tree = tree
        self._view = view
        blobs = len(tree.index.header.blobs)
        self._members = np.zeros(FIRST_BLOB + blobs, ENTRY_FIELDS)
        self._ready = np.zeros(FIRST_BLOB + blobs, bool)

    def encode(self, row: int, place: int, limit: int, *, plus: bool) -> bytes:
        """Entries of directory `row` from a place on, as many as fit into `limit` bytes.

        Raises
        ------
        NotADirectory, IncompleteListingError
        """
        children = self._tree.children(row)
        head = b""
        while place < DOTS:
            dot = self._dot(row, place, plus=plus)
            if len(head) + len(dot) > limit:
                return head
            head, place = head + dot, place + 1
        fields = PLUS_FIELDS if plus else DIRENT_FIELDS
        first = children.start + place - DOTS
        end = min(children.stop, first + max(0, limit - len(head)) // (fields.itemsize + 8) + 1)
        if first >= end:
            return head
        rows = np.arange(first, end)
        fixed = np.zeros(len(rows), fields)
        index = self._tree.index
        dirents = fixed["dirent"] if plus else fixed
        dirents["ino"] = rows + 1
        dirents["off"] = np.arange(place + 1, place + 1 + len(rows))
        dirents["namelen"] = np.diff(index.name_start[first : end + 1].astype(np.int64)) - 1
        dirents["type"] = self._types(index.source[first:end])
        if plus:
            self._fill(fixed["entry"], rows)
        return head + pack_entries(fixed, index.names, index.name_start[first : end + 1], limit - len(head))

    @staticmethod
    def _types(sources: NDArray[np.integer]) -> NDArray[np.uint32]:
        types = np.full(len(sources), stat.S_IFREG >> 12, np.uint32)
        types[sources == DIRECTORY] = stat.S_IFDIR >> 12
        types[sources == LINK] = stat.S_IFLNK >> 12
        return types

    def _dot(self, row: int, place: int, *, plus: bool) -> bytes:
        inode = (row if place == 0 else self._tree.index.parent(row) if row else 0) + 1
        name = b"..\0\0\0\0\0\0" if place else b".\0\0\0\0\0\0\0"
        dirent = DIRENT.pack(inode, place + 1, place + 1, stat.S_IFDIR >> 12) + name
        return bytes(ENTRY.size) + dirent if plus else dirent

    def _fill(self, entries: NDArray[np.void], rows: NDArray[np.integer]) -> None:
        """Write what a LOOKUP of each row would say; nothing (inode 0) for those that can't be looked up now."""
        index = self._tree.index
        sources = index.source[rows]
        for source in np.unique(sources[sources >= FIRST_BLOB]).tolist():
            if not self._ready[source]:
                place = int(np.flatnonzero(sources == source)[0])
                self._members[source] = entry_fields(self._view.of_member(source, int(rows[place])))
                self._ready[source] = True
        entries[:] = self._members[sources]
        entries["nodeid"] = entries["ino"] = rows + 1
        entries["size"] = size = index.size[rows]
        entries["blocks"] = (size.astype(np.int64) + 511) // 512
        for place in np.flatnonzero(sources < FIRST_BLOB).tolist():
            try:
                entries[place] = entry_fields(self._view.of(int(rows[place])), listed=True)
            except OSError:  # gone meanwhile: a name only, as in any other directory that is changed while it's read
                entries[place] = np.zeros((), ENTRY_FIELDS)


def entry_fields(found: InodeAttributes, *, listed: bool = False) -> tuple[int, ...]:
    """The values of `ENTRY_FIELDS`, also those of `blobdir.mounting.native.protocol.ENTRY`."""
    second, ns = divmod(found.mtime_ns, NS)
    valid_s, valid_ns = (0, LIVE_NS) if found.live else (FOREVER_S if found.is_kept else SOON_S, 0)
    return (
        found.ino | found.version << ROW_BITS, 0, valid_s, valid_s, LIVE_NS if found.live and listed else 0, valid_ns,
        found.ino, found.size, found.blocks, second & 0xFFFFFFFFFFFFFFFF, second & 0xFFFFFFFFFFFFFFFF,
        second & 0xFFFFFFFFFFFFFFFF, ns, ns, ns, found.mode, found.nlink, found.uid, found.gid, 0, BLOCK, 0,
    )  # fmt: skip
