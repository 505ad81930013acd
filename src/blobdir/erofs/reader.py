"""Reads an image back, without the kernel and without the plan: for `dump_image`, and to see what an image holds.

Strict: what isn't as this program writes it is an error. It is a second opinion on the layout, not a filesystem.
"""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blobdir.erofs import structures as on_disk
from blobdir.erofs.crc32c import crc32c
from blobdir.erofs.structures import BLOCK, SLOT
from blobdir.errors import IndexFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode of an image.

    Attributes
    ----------
    nid : int
    mode : int
        With the type.
    uid, gid, nlink, size : int
    mtime_ns : int
    device : str
        Where the data is: a blob's path as far as the image's tag has it; empty for the image itself.
    offset : int
        First byte of the data there; -1 where it lies after the inode, in part or as a whole.
    readable : bool
    """

    nid: int
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    mtime_ns: int
    device: str
    offset: int
    readable: bool


class ImageReader:
    """An image, open.

    Raises
    ------
    IndexFormatError
        It isn't an EROFS image as this program writes it, or its checksum is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size < on_disk.DEVICE_TABLE_OFFSET:
                raise IndexFormatError(f"{path}: is too short for an EROFS image")
            self._data = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        self.superblock = np.frombuffer(self._data, on_disk.SUPERBLOCK, 1, on_disk.SUPER_OFFSET).copy()[0]
        self._check()
        self._meta = int(self.superblock["meta_blkaddr"]) * BLOCK
        count = int(self.superblock["extra_devices"])
        self.devices = np.frombuffer(self._data, on_disk.DEVICE_SLOT, count, on_disk.DEVICE_TABLE_OFFSET).copy()
        self.root = self.inode(int(self.superblock["root_nid"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()

    def _check(self) -> None:
        head = self.superblock
        covered = bytearray(self._data[on_disk.SUPER_OFFSET : on_disk.SUPER_OFFSET + BLOCK])
        covered[4:8] = bytes(4)
        if head["magic"] != on_disk.MAGIC or head["blkszbits"] != on_disk.BLOCK_BITS:
            raise IndexFormatError(f"{self._path}: isn't an EROFS image with blocks of {BLOCK} bytes")
        if crc32c(bytes(covered)) != head["checksum"]:
            raise IndexFormatError(f"{self._path}: is damaged (the checksum of its superblock is wrong)")

    def inode(self, nid: int) -> Inode:
        """An inode by its number."""
        at = self._meta + nid * SLOT
        extended = self._data[at] & on_disk.EXTENDED
        kind = on_disk.EXTENDED_INODE if extended else on_disk.COMPACT
        raw = np.frombuffer(self._data, kind, 1, at)[0]
        seconds, nsec = self.superblock["epoch"], self.superblock["fixed_nsec"]
        if extended:
            seconds, nsec = raw["mtime"], raw["mtime_nsec"]
        layout, size = int(raw["format"]) >> on_disk.LAYOUT_SHIFT, int(raw["size"])
        device, offset, readable = self._locate(layout, at + kind.itemsize, int(raw["data"]), size)
        return Inode(
            nid, int(raw["mode"]), int(raw["uid"]), int(raw["gid"]), int(raw["nlink"]), size,
            int(seconds) * 1_000_000_000 + int(nsec), device, offset, readable,
        )  # fmt: skip

    def _locate(self, layout: int, after: int, data: int, size: int) -> tuple[str, int, bool]:
        if layout == on_disk.LAYOUT_CHUNKS:
            index = np.frombuffer(self._data, on_disk.CHUNK_INDEX, 1, after)[0]
            if BLOCK << (data & 0x1F) < size:
                raise IndexFormatError(f"{self._path}: a file of {size} bytes at byte {after} has more than one chunk")
            return self._tag(int(index["device_id"]) - 1), int(index["startblk"]) * BLOCK, True
        if layout == on_disk.LAYOUT_INLINE:
            return "", -1, True
        if layout != on_disk.LAYOUT_PLAIN:
            raise IndexFormatError(f"{self._path}: layout {layout} at byte {after} isn't one that blobdir writes")
        if data == on_disk.UNREADABLE_BLOCK:
            return "", 0, False
        for number in range(len(self.devices)):
            first = int(self.devices[number]["uniaddr"])
            if first and first <= data < first + int(self.devices[number]["blocks"]):
                return self._tag(number), (data - first) * BLOCK, True
        return "", data * BLOCK, True

    def _tag(self, number: int) -> str:
        return os.fsdecode(bytes(self.devices[number]["tag"]))

    def data(self, inode: Inode) -> bytes:
        """Bytes of a directory, link or file that are in the image itself.

        Raises
        ------
        IndexFormatError
            They are somewhere else.
        """
        if inode.device or not inode.readable:
            raise IndexFormatError(f"{self._path}: the data of inode {inode.nid} isn't in the image")
        if inode.offset >= 0:
            return self._data[inode.offset : inode.offset + inode.size]
        at = self._meta + inode.nid * SLOT
        kind = on_disk.EXTENDED_INODE if self._data[at] & on_disk.EXTENDED else on_disk.COMPACT
        start = int(np.frombuffer(self._data, kind, 1, at)[0]["data"]) * BLOCK
        whole = (inode.size - 1) // BLOCK * BLOCK
        after = at + kind.itemsize
        return self._data[start : start + whole] + self._data[after : after + inode.size - whole]

    def entries(self, inode: Inode) -> Iterator[tuple[bytes, int, int]]:
        """Name, inode number and type of each entry of a directory, ``.`` and ``..`` included."""
        data = self.data(inode)
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK]
            count = int.from_bytes(block[8:10], "little") // on_disk.DIRENT.itemsize
            entries = np.frombuffer(block, on_disk.DIRENT, count)
            ends = [*entries["nameoff"][1:].tolist(), len(block)]
            for entry, end in zip(entries.tolist(), ends, strict=True):
                yield block[entry[1] : end].rstrip(b"\0"), entry[0], entry[2]

    def walk(self) -> Iterator[tuple[bytes, Inode]]:
        """Path and inode of everything, a directory before what is in it; the root's path is empty.

        Raises
        ------
        IndexFormatError
            Names aren't sorted, or an entry leads to something of another type than it says.
        """
        todo = [(b"", self.root, self.root.nid)]
        while todo:
            path, inode, parent = todo.pop()
            yield path, inode
            if not stat.S_ISDIR(inode.mode) or not inode.readable:
                continue
            entries = list(self.entries(inode))
            names = [name for name, _, _ in entries]
            if names != sorted(set(names)):
                raise IndexFormatError(f"{self._path}: names in {os.fsdecode(path)!r} aren't sorted, or repeated")
            below = []
            for name, nid, kind in entries:
                if name in (b".", b".."):
                    self._expect(nid == (inode.nid if name == b"." else parent), path, name)
                    continue
                found = self.inode(nid)
                self._expect(_TYPES[stat.S_IFMT(found.mode)] == kind, path, name)
                below.append((path + b"/" + name if path else name, found, inode.nid))
            todo.extend(reversed(below))

    def _expect(self, condition: bool, path: bytes, name: bytes) -> None:
        if not condition:
            raise IndexFormatError(f"{self._path}: entry {os.fsdecode(name)!r} of {os.fsdecode(path)!r} is wrong")


_TYPES = {stat.S_IFREG: on_disk.FT_FILE, stat.S_IFDIR: on_disk.FT_DIRECTORY, stat.S_IFLNK: on_disk.FT_LINK}
