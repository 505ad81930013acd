"""Directories of an image: which entries lie in which 512-byte block, and the blocks' bytes. Pure.

A directory is a row of blocks; each has its entries' fixed parts (12 bytes) first and their names after them. Names
are sorted by their bytes throughout a directory, ``.`` and ``..`` among them: the kernel finds names by bisection,
first over blocks and then over the entries of one (``fs/erofs/namei.c``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.erofs.structures import BLOCK, DIRENT
from blobdir.index import DIRECTORY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.index import Index

    Ints = NDArray[np.int64]

_DOT: Final = ord(".")
_CHUNK: Final = 1 << 13


@dataclass(frozen=True)
class DirectoryPlan:
    """Entries of all directories, one directory after the other in the order of their rows.

    Attributes
    ----------
    rows : ndarray of int64, shape (d,)
        The directories.
    first_block : ndarray of int64, shape (d + 1,)
        Directory ``i`` has the blocks ``first_block[i]:first_block[i + 1]``.
    sizes : ndarray of int64, shape (d,)
        Bytes of each directory: its last block counts as far as it's used.
    target : ndarray of int64, shape (e,)
        Row that each entry leads to.
    entry_start : ndarray of int64, shape (b + 1,)
        Block ``j`` has the entries ``entry_start[j]:entry_start[j + 1]``.
    name_end : ndarray of int64, shape (e + 1,)
        Name of entry ``k`` is ``names[name_end[k]:name_end[k + 1]]``.
    names : ndarray of uint8
        All names, without separators.
    """

    rows: Ints
    first_block: Ints
    sizes: Ints
    target: Ints
    entry_start: Ints
    name_end: Ints
    names: NDArray[np.uint8]

    def blocks(self, first: int, end: int, nids: Ints, types: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bytes of the blocks ``first:end``.

        Parameters
        ----------
        first, end : int
        nids : ndarray of int64
            Inode number of each row.
        types : ndarray of uint8
            File type of each row, ``FT_*``.

        Returns
        -------
        ndarray of uint8, shape (end - first, 512)
        """
        start = self.entry_start[first : end + 1]
        low, high = int(start[0]), int(start[-1])
        count = np.diff(start)
        name_end = self.name_end[low : high + 1]
        target = self.target[low:high]
        entries = np.zeros(high - low, DIRENT)
        entries["nid"], entries["file_type"] = nids[target], types[target]
        # Names begin after the block's last entry; the first one's offset tells the kernel how many entries there are.
        base = DIRENT.itemsize * count - name_end[start[:-1] - low]
        entries["nameoff"] = name_end[:-1] + np.repeat(base, count)
        out = np.zeros((end - first, BLOCK), np.uint8)
        column = np.arange(BLOCK)
        fixed = (DIRENT.itemsize * count)[:, None]
        used = fixed + np.diff(name_end[start - low])[:, None]
        # Both streams are in the order of the blocks, so a mask puts each byte where it belongs.
        out[column < fixed] = entries.view(np.uint8)
        out[(column >= fixed) & (column < used)] = self.names[name_end[0] : name_end[-1]]
        return out

    @staticmethod
    def parts(first: int, end: int) -> list[tuple[int, int]]:
        """Cut the blocks ``first:end`` into parts that don't take much memory."""
        return [(low, min(low + _CHUNK, end)) for low in range(first, end, _CHUNK)]


def plan_directories(index: Index) -> DirectoryPlan:
    """Lay out the entries of all directories of an index. O(n), and no Python code per entry."""
    n = len(index)
    rows = np.flatnonzero(np.asarray(index.source) == DIRECTORY)
    first = np.asarray(index.offset[rows])
    count = np.asarray(index.size[rows]).astype(np.int64)
    starts = np.asarray(index.name_start).astype(np.int64)
    dot, dotdot = _places_of_dots(index, starts, first, count)
    # Children of all directories follow each other from row 1 on; the dots go in between.
    places = np.empty(2 * len(rows), np.int64)
    places[0::2], places[1::2] = dot, dotdot
    targets = np.empty(2 * len(rows), np.int64)
    targets[0::2], targets[1::2] = rows, _parents(rows, first, count)
    lengths = np.diff(starts)[1:] - 1
    target = np.insert(np.arange(1, n), places, targets)
    length = np.insert(lengths, places, np.tile([1, 2], len(rows)))
    name_end = np.zeros(len(length) + 1, np.int64)
    np.cumsum(length, out=name_end[1:])
    names = _names_with_dots(index, starts, places)
    last = np.cumsum(count + 2)  # entry after the last of each directory
    entry_start = _pack(length, last)
    first_block = np.zeros(len(rows) + 1, np.int64)
    first_block[1:] = np.searchsorted(entry_start, last)
    final = entry_start[first_block[1:] - 1]
    used = DIRENT.itemsize * (last - final) + name_end[last] - name_end[final]
    sizes = (np.diff(first_block) - 1) * BLOCK + used
    return DirectoryPlan(rows, first_block, sizes, target, entry_start, name_end, names)


def _places_of_dots(index: Index, starts: Ints, first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Before which child ``.`` and ``..`` of each directory come, counted from row 1 on."""
    names = np.asarray(index.names)
    byte = names[starts[1:-1]]
    # A NUL follows each name, so the second byte is always there, and below "." where there is none.
    second = names[starts[1:-1] + 1]
    before_dot = byte < _DOT
    before_dotdot = before_dot | ((byte == _DOT) & (second < _DOT))
    places = []
    for smaller in (before_dot, before_dotdot):
        counted = np.zeros(len(byte) + 1, np.int64)
        np.cumsum(smaller, out=counted[1:])
        places.append(first - 1 + counted[first - 1 + count] - counted[first - 1])
    return places[0], places[1]


def _parents(rows: Ints, first: Ints, count: Ints) -> Ints:
    """Row of the directory above each directory; that of the root is the root."""
    above = np.zeros(len(rows), np.int64)
    filled = count > 0  # an empty one begins where the next does
    above[1:] = rows[filled][np.searchsorted(first[filled], rows[1:], side="right") - 1]
    return above


def _names_with_dots(index: Index, starts: Ints, places: Ints) -> NDArray[np.uint8]:
    names = np.asarray(index.names)[1:]  # without the root's, which is a NUL
    at = starts[1:][places] - 1  # first byte of the name that the dots come before
    names = np.insert(names, np.repeat(at, np.tile([1, 2], len(places) // 2)), _DOT)
    joined: NDArray[np.uint8] = names[names != 0]
    return joined


def _pack(length: Ints, last: Ints) -> Ints:
    """First entry of each block: as many as fit, and none of two directories."""
    room = np.zeros(len(length) + 1, np.int64)
    np.cumsum(length + DIRENT.itemsize, out=room[1:])
    following = np.searchsorted(room, room[:-1] + BLOCK, side="right") - 1
    np.minimum(following, np.repeat(last, np.diff(last, prepend=0)), out=following)
    step = memoryview(following.data)
    found, entry = [0], 0
    while entry < len(length):
        entry = step[entry]
        found.append(entry)
    return np.array(found, np.int64)
