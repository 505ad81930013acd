"""The on-disk structures of EROFS that an image is made of, as numpy types.

Source of every field: ``fs/erofs/erofs_fs.h`` of Linux 6.12, which is dual-licensed and the format's definition;
what a reader does with them was taken from ``fs/erofs/{super,inode,data,dir,namei}.c``. Little-endian throughout.
What isn't used here (compression, extended attributes, packed and meta-box inodes) is left out or stays zero.
"""

from __future__ import annotations

from typing import Final

import numpy as np

BLOCK: Final = 512
"""Bytes of a block. The data of a tar's members begins at multiples of it, so no larger one would do."""
BLOCK_BITS: Final = 9
SLOT: Final = 32
"""Bytes of an inode slot: inode number ``nid`` lies at byte ``nid * 32`` of the metadata area."""

SUPER_OFFSET: Final = 1024
MAGIC: Final = 0xE0F5E1E2
COMPAT_CHECKSUM: Final = 0x1  # EROFS_FEATURE_COMPAT_SB_CHKSUM
COMPAT_MTIME: Final = 0x2  # EROFS_FEATURE_COMPAT_MTIME: times of inodes are modification times
INCOMPAT_CHUNKED: Final = 0x4  # EROFS_FEATURE_INCOMPAT_CHUNKED_FILE
INCOMPAT_DEVICES: Final = 0x8  # EROFS_FEATURE_INCOMPAT_DEVICE_TABLE

LAYOUT_PLAIN: Final = 0  # EROFS_INODE_FLAT_PLAIN: blocks in a row from startblk
LAYOUT_INLINE: Final = 2  # EROFS_INODE_FLAT_INLINE: the same, the last one's bytes right after the inode
LAYOUT_CHUNKS: Final = 4  # EROFS_INODE_CHUNK_BASED: an array of chunk indexes after the inode
LAYOUT_SHIFT: Final = 1  # EROFS_I_DATALAYOUT_BIT
EXTENDED: Final = 1  # EROFS_INODE_LAYOUT_EXTENDED, bit 0 of i_format
CHUNK_INDEXES: Final = 0x20  # EROFS_CHUNK_FORMAT_INDEXES: 8 bytes each, with a device
MAX_CHUNK_BITS: Final = 31  # EROFS_CHUNK_FORMAT_BLKBITS_MASK

FT_FILE: Final = 1  # enum of fs/erofs: EROFS_FT_*, as in the kernel's fs_types.h
FT_DIRECTORY: Final = 2
FT_LINK: Final = 7

NO_BLOCK: Final = 0xFFFFFFFF
"""startblk of a file that has none; mkfs.erofs writes the same. With data it would read as zeros (EROFS_NULL_ADDR)."""
UNREADABLE_BLOCK: Final = 0xFFFFFF00
"""startblk of files that can't be read: it lies past the end of whatever is there, so that reading it is EIO."""
MAX_DEVICES: Final = 0xFFFF

SUPERBLOCK: Final = np.dtype(
    [
        ("magic", "<u4"),
        ("checksum", "<u4"),
        ("feature_compat", "<u4"),
        ("blkszbits", "u1"),
        ("sb_extslots", "u1"),
        ("root_nid", "<u2"),
        ("inos", "<u8"),
        ("epoch", "<i8"),  # seconds; the time of compact inodes. build_time before Linux 6.15
        ("fixed_nsec", "<u4"),  # build_time_nsec before Linux 6.15
        ("blocks", "<u4"),
        ("meta_blkaddr", "<u4"),
        ("xattr_blkaddr", "<u4"),
        ("uuid", "V16"),
        ("volume_name", "S16"),
        ("feature_incompat", "<u4"),
        ("available_compr_algs", "<u2"),
        ("extra_devices", "<u2"),
        ("devt_slotoff", "<u2"),  # the device table begins at 128 times this
        ("dirblkbits", "u1"),
        ("xattr_prefix_count", "u1"),
        ("xattr_prefix_start", "<u4"),
        ("packed_nid", "<u8"),
        ("reserved", "V24"),
    ]
)
DEVICE_SLOT: Final = np.dtype(
    [
        ("tag", "S64"),
        ("blocks", "<u4"),
        ("uniaddr", "<u4"),  # mapped_blkaddr: where the device begins in the address space of all, in blocks
        ("reserved", "V56"),
    ]
)
COMPACT: Final = np.dtype(
    [
        ("format", "<u2"),
        ("xattr_icount", "<u2"),
        ("mode", "<u2"),
        ("nlink", "<u2"),
        ("size", "<u4"),
        ("reserved", "<u4"),  # i_mtime from Linux 6.15 on: seconds after the epoch
        ("data", "<u4"),  # startblk, or the chunk format
        ("ino", "<u4"),
        ("uid", "<u2"),
        ("gid", "<u2"),
        ("reserved2", "<u4"),
    ]
)
EXTENDED_INODE: Final = np.dtype(
    [
        ("format", "<u2"),
        ("xattr_icount", "<u2"),
        ("mode", "<u2"),
        ("reserved", "<u2"),
        ("size", "<u8"),
        ("data", "<u4"),
        ("ino", "<u4"),
        ("uid", "<u4"),
        ("gid", "<u4"),
        ("mtime", "<i8"),
        ("mtime_nsec", "<u4"),
        ("nlink", "<u4"),
        ("reserved2", "V16"),
    ]
)
CHUNK_INDEX: Final = np.dtype([("startblk_hi", "<u2"), ("device_id", "<u2"), ("startblk", "<u4")])
DIRENT: Final = np.dtype([("nid", "<u8"), ("nameoff", "<u2"), ("file_type", "u1"), ("reserved", "u1")])

SIZES: Final = {SUPERBLOCK: 128, DEVICE_SLOT: 128, COMPACT: 32, EXTENDED_INODE: 64, CHUNK_INDEX: 8, DIRENT: 12}
assert all(kind.itemsize == size for kind, size in SIZES.items())  # noqa: S101 - a slip here would corrupt every image

DEVICE_TABLE_OFFSET: Final = SUPER_OFFSET + SUPERBLOCK.itemsize
"""Byte at which the device table begins."""
