"""Where everything lies in an image: decided before a byte is written. Pure.

::

    0      1024    1152           meta_blkaddr × 512                                    blocks × 512
    | zero | super | device table | root, inodes | inodes with data | directories | files | trailer |

Inodes without data of their own stand close together, in the order of the rows: that is all that reading an image
touches. Those with data after them (annotations, links, small directories) follow; none of these lies across two
blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.erofs import structures as on_disk
from blobdir.erofs.contents import COPIED, DEVICE, FOLDER, NS, SYMLINK, UNREADABLE
from blobdir.erofs.directories import DirectoryPlan, plan_directories
from blobdir.erofs.structures import BLOCK, SLOT
from blobdir.errors import UsageError
from blobdir.index import DIRECTORY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.erofs.contents import Contents
    from blobdir.index import Index

    Ints = NDArray[np.int64]

TAIL_LIMIT: Final = 4096
"""Bytes from which a file's last part isn't put after its inode: a page is read as a whole anyway."""
UNIFIED_DEVICES: Final = 64
"""Devices up to which all share one address space, and an inode needs no chunk index: half the size. The kernel looks
for the device of an address one by one, so with many blobs indexes, which name it, are better."""
MAX_INDEXED: Final = BLOCK << on_disk.MAX_CHUNK_BITS
"""Bytes of the largest file that one chunk index names."""
_SLOTS: Final = BLOCK // SLOT
ROOT_NID: Final = 1
"""Number of the root's inode, as with every other engine; slot 0 stays empty."""


@dataclass(frozen=True)
class Plan:
    """Layout of an image.

    Attributes
    ----------
    directories : DirectoryPlan
    compact : ndarray of bool, shape (n,)
        Inodes of 32 bytes; the others have 64.
    layout : ndarray of uint8, shape (n,)
        ``LAYOUT_*``.
    size : ndarray of int64, shape (n,)
    tail : ndarray of int64, shape (n,)
        Bytes that lie after the inode, rather than in blocks.
    position : ndarray of int64, shape (n,)
        Byte of the inode, a multiple of 32.
    start : ndarray of int64, shape (n,)
        First block: in the image, in the space of all devices, or (with chunk indexes) in the device.
    nlink : ndarray of int64, shape (n,)
    near, far : ndarray of int64
        Rows whose inode has no data after it, and those that have, each in the order of their positions; the root
        is neither, it comes before all.
    epoch, epoch_nsec : int
        The time of compact inodes.
    unified : bool
        Whether all devices share one address space.
    uniaddr : ndarray of int64
        Where each device begins in it, in blocks.
    inodes_start, inodes_end : int
        Bytes of the area of inodes; both multiples of 512.
    files_block : int
        First block of file data; before it directories.
    blocks : int
        Blocks of all, without the trailer.
    """

    directories: DirectoryPlan
    compact: NDArray[np.bool_]
    layout: NDArray[np.uint8]
    size: Ints
    tail: Ints
    position: Ints
    start: Ints
    nlink: Ints
    near: Ints
    far: Ints
    epoch: int
    epoch_nsec: int
    unified: bool
    uniaddr: Ints
    inodes_start: int
    inodes_end: int
    files_block: int
    blocks: int

    @property
    def nids(self) -> Ints:
        """Inode numbers of the rows."""
        return (self.position - self.inodes_start) // SLOT


def plan_image(index: Index, contents: Contents) -> Plan:
    """Lay out an image.

    Raises
    ------
    UsageError
        More blobs, or larger ones, than the format can name.
    """
    directories = plan_directories(index)
    kind, size = contents.kind, contents.size.copy()
    folders = directories.rows
    shown = kind[folders] == FOLDER
    size[folders[shown]] = directories.sizes[shown]
    nlink = _links(index, directories)
    unified = _unified(contents)
    epoch, nsec = _epoch(contents)
    compact = _compact(contents, size, nlink, epoch, nsec)
    inode = np.where(compact, on_disk.COMPACT.itemsize, on_disk.EXTENDED_INODE.itemsize)
    in_image = (kind == FOLDER) | (kind == COPIED) | (kind == SYMLINK)
    tail = np.where(in_image, size % BLOCK, 0)
    tail[0] = 0  # it has its fixed place
    tail[(tail > BLOCK - inode) | (size >= TAIL_LIMIT) | ((kind == SYMLINK) & (size >= BLOCK))] = 0
    layout = np.where(tail > 0, on_disk.LAYOUT_INLINE, on_disk.LAYOUT_PLAIN).astype(np.uint8)
    if not unified:
        layout[kind == DEVICE] = on_disk.LAYOUT_CHUNKS
    table_end = on_disk.DEVICE_TABLE_OFFSET + len(contents.devices) * on_disk.DEVICE_SLOT.itemsize
    inodes_start = -(-table_end // BLOCK) * BLOCK
    near, far, position, inodes_end = _place_inodes(inode, tail, layout, inodes_start)
    blocks = np.where(in_image, -(-(size - tail) // BLOCK), 0)
    start, files_block, total = _place_blocks(kind, blocks, inodes_end // BLOCK)
    uniaddr = _address_devices(contents, total) if unified else np.zeros(len(contents.devices), np.int64)
    members = kind == DEVICE
    start[members] = contents.block[members]
    if unified and len(uniaddr):
        start[members] += uniaddr[contents.device[members]]
    start[kind == UNREADABLE] = on_disk.UNREADABLE_BLOCK
    start[size == 0] = on_disk.NO_BLOCK
    return Plan(
        directories, compact, layout, size, tail, position, start, nlink, near, far, epoch, nsec, unified, uniaddr,
        inodes_start, inodes_end, files_block, total,
    )  # fmt: skip


def _links(index: Index, directories: DirectoryPlan) -> Ints:
    """One for a file; for a directory two, and one for each directory in it."""
    nlink = np.ones(len(index), np.int64)
    folder = np.asarray(index.source) == DIRECTORY
    counted = np.zeros(len(index) + 1, np.int64)
    np.cumsum(folder, out=counted[1:])
    first = np.asarray(index.offset[directories.rows])
    end = first + np.asarray(index.size[directories.rows])
    nlink[directories.rows] = 2 + counted[end] - counted[first]
    return nlink


def _unified(contents: Contents) -> bool:
    """Whether all devices fit into one address space, and are few enough."""
    if len(contents.devices) > on_disk.MAX_DEVICES:
        raise UsageError(f"{len(contents.devices):,} blobs are more than the {on_disk.MAX_DEVICES:,} of an image")
    blocks = [record.size // BLOCK for record in contents.devices]
    if max(blocks, default=0) >= on_disk.UNREADABLE_BLOCK:
        large = max(contents.devices, key=lambda record: record.size)
        raise UsageError(f"{large.path}: has {large.size:,} bytes, more than the 2 TiB that an image can address")
    members = (contents.kind == DEVICE) & (contents.size > MAX_INDEXED)
    if len(blocks) > UNIFIED_DEVICES and members.any():
        raise UsageError(
            f"a member has {int(contents.size[members].max()):,} bytes, more than one chunk of an image holds"
        )
    # The image itself comes first in that space; half of it is far more than any image of metadata takes.
    return len(blocks) <= UNIFIED_DEVICES and sum(blocks) < on_disk.UNREADABLE_BLOCK // 2


def _epoch(contents: Contents) -> tuple[int, int]:
    """The time that most rows have: theirs can be left out."""
    table = contents.attributes
    distinct, which = np.unique(table["mtime"].astype(np.int64) * NS + table["nsec"], return_inverse=True)
    rows = np.bincount(which[contents.attribute], minlength=len(distinct))
    seconds, nsec = divmod(int(distinct[rows.argmax()]), NS)
    return seconds, nsec


def _compact(contents: Contents, size: Ints, nlink: Ints, epoch: int, nsec: int) -> NDArray[np.bool_]:
    """Rows whose attributes fit into a small inode. It has no time, so it stands for the image's."""
    table = contents.attributes
    fits = (table["mtime"] == epoch) & (table["nsec"] == nsec) & (table["uid"] < 1 << 16) & (table["gid"] < 1 << 16)
    compact: NDArray[np.bool_] = fits[contents.attribute] & (size < 1 << 32) & (nlink < 1 << 16)
    return compact


def _place_inodes(inode: Ints, tail: Ints, layout: NDArray[np.uint8], start: int) -> tuple[Ints, Ints, Ints, int]:
    index_bytes = np.where(layout == on_disk.LAYOUT_CHUNKS, on_disk.CHUNK_INDEX.itemsize, 0)
    slots = -(-(inode + tail + index_bytes) // SLOT)
    position = np.zeros(len(inode), np.int64)
    near = np.flatnonzero(tail[1:] == 0) + 1
    far = np.flatnonzero(tail[1:] > 0) + 1
    root = start // SLOT + ROOT_NID
    position[0] = root
    near_end = root + int(slots[0]) + np.cumsum(slots[near])
    position[near] = near_end - slots[near]
    at = int(near_end[-1]) if len(near) else root + int(slots[0])
    placed = []
    for wanted in slots[far].tolist():
        at = _fit(at, wanted)
        placed.append(at)
        at += wanted
    position[far] = placed
    return near, far, position * SLOT, -(-at // _SLOTS) * BLOCK


def _fit(at: int, slots: int) -> int:
    """The first slot from `at` on where so many lie in one block."""
    return at if at % _SLOTS + slots <= _SLOTS else (at // _SLOTS + 1) * _SLOTS


def _place_blocks(kind: NDArray[np.uint8], blocks: Ints, first: int) -> tuple[Ints, int, int]:
    """First block of each row's data: directories, then files and links."""
    start = np.zeros(len(kind), np.int64)
    for rows in (np.flatnonzero(kind == FOLDER), np.flatnonzero((kind == COPIED) | (kind == SYMLINK))):
        ends = first + np.cumsum(blocks[rows])
        start[rows] = ends - blocks[rows]
        files_block, first = first, int(ends[-1]) if len(rows) else first
    return start, files_block, first


def _address_devices(contents: Contents, first: int) -> Ints:
    """Where each device begins in the address space that they share with the image."""
    blocks = np.array([record.size // BLOCK for record in contents.devices], np.int64)
    if first + int(blocks.sum()) >= on_disk.UNREADABLE_BLOCK:
        raise UsageError(f"the image would have {first} blocks, more than can be addressed beside the blobs")
    return first + np.cumsum(blocks) - blocks
