"""Writes an image as it was planned, and insists that every byte lands where the plan has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from blobdir.erofs import structures as on_disk
from blobdir.erofs.contents import COPIED, FOLDER, SYMLINK
from blobdir.erofs.crc32c import crc32c
from blobdir.erofs.structures import BLOCK, SLOT
from blobdir.errors import BlobdirError, SourceChangedError
from blobdir.index import LINK, LOOSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blobdir.erofs.contents import Contents
    from blobdir.erofs.plan import Plan
    from blobdir.tree import Tree

    Ints = NDArray[np.int64]

_ROWS = 1 << 16  # inodes made at a time
_DATA_ROWS = 1 << 12  # of those with data after them
_PIECE = 4 << 20  # bytes of a file copied at a time


class LayoutError(BlobdirError):
    """The writer isn't where the plan says: a fault in this program, found before anybody reads a wrong byte."""


class _Area:
    """A part of the file that is written from one end to the other."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        self._fd, self.position, self._end = fd, start, end

    def write(self, position: int, data: bytes | memoryview) -> None:
        """Write at the position that the plan has, which must be where the last write ended."""
        if position != self.position or position + len(data) > self._end:
            raise LayoutError(
                f"the writer is at byte {self.position} of the image, the plan at {position} (area ends at {self._end})"
            )
        at, view = position, memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, at)
            at, view = at + written, view[written:]
        self.position = at

    def skip(self, position: int) -> None:
        """Leave zeros up to `position`."""
        if not self.position <= position <= self._end:
            raise LayoutError(f"the writer is at byte {self.position} of the image, the plan at {position}")
        self.position = position

    def finish(self) -> None:
        """Make sure that the area is full, but for zeros in its last block."""
        if not 0 <= self._end - self.position < BLOCK:
            raise LayoutError(f"the writer ended at byte {self.position} of the image, the plan at {self._end}")


class ImageWriter:
    """Writes one image.

    Parameters
    ----------
    fd : int
        An empty file.
    tree : Tree
        Gives the bytes of loose files, of members that are copied, and the targets of links.
    contents : Contents
    plan : Plan
    uuid : bytes
        16 bytes.
    progress : callable, optional
        Told how many of how many rows with data are written.
    """

    def __init__(
        self,
        fd: int,
        tree: Tree,
        contents: Contents,
        plan: Plan,
        *,
        uuid: bytes,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._fd, self._tree, self._contents, self._plan = fd, tree, contents, plan
        self._uuid, self._progress = uuid, progress
        self._types = np.full(len(contents), on_disk.FT_FILE, np.uint8)
        self._types[plan.directories.rows] = on_disk.FT_DIRECTORY
        self._types[np.asarray(tree.index.source) == LINK] = on_disk.FT_LINK

    def write(self) -> None:
        """Write all of it.

        Raises
        ------
        SourceChangedError
            A loose file changed while it was copied; make a new plan.
        LayoutError
        OSError
            Of the file, such as no space being left.
        """
        plan = self._plan
        os.ftruncate(self._fd, plan.blocks * BLOCK)
        self._write_header()
        inodes = _Area(self._fd, plan.inodes_start, plan.inodes_end)
        for rows in _cut(np.concatenate([[0], plan.near]), _ROWS):
            buffer = self._inodes(rows)
            inodes.skip(int(plan.position[rows[0]]))
            inodes.write(int(plan.position[rows[0]]), buffer.reshape(-1).data)
        self._write_directories()
        self._write_data(inodes)

    # -- the beginning ---------------------------------------------------------------------------------------

    def _write_header(self) -> None:
        plan, contents = self._plan, self._contents
        slots = np.zeros(len(contents.devices), on_disk.DEVICE_SLOT)
        for slot, record, address in zip(slots, contents.devices, plan.uniaddr.tolist(), strict=True):
            # The kernel looks at the tag only where no file is given for the device; it may not be empty then.
            slot["tag"] = os.fsencode(record.path)[-63:]
            slot["blocks"], slot["uniaddr"] = record.size // BLOCK, address
        block = np.zeros(1, on_disk.SUPERBLOCK)
        head = block[0]
        head["magic"], head["blkszbits"] = on_disk.MAGIC, on_disk.BLOCK_BITS
        head["feature_compat"] = on_disk.COMPAT_CHECKSUM | on_disk.COMPAT_MTIME
        head["feature_incompat"] = (on_disk.INCOMPAT_DEVICES if len(slots) else 0) | (
            0 if plan.unified else on_disk.INCOMPAT_CHUNKED
        )
        head["root_nid"], head["inos"], head["blocks"] = plan.nids[0], len(contents), plan.blocks
        head["meta_blkaddr"] = plan.inodes_start // BLOCK
        head["epoch"], head["fixed_nsec"] = plan.epoch, plan.epoch_nsec
        head["uuid"], head["volume_name"] = np.void(self._uuid), b"blobdir"
        head["extra_devices"] = len(slots)
        head["devt_slotoff"] = on_disk.DEVICE_TABLE_OFFSET // on_disk.DEVICE_SLOT.itemsize
        os.pwrite(self._fd, block.tobytes() + slots.tobytes(), on_disk.SUPER_OFFSET)

    def seal(self) -> None:
        """Put in the superblock's checksum, which goes to the end of its block: the last thing that is written."""
        start = on_disk.SUPER_OFFSET
        # fs/erofs/super.c, erofs_superblock_csum_verify: all of the block, with zeros for the checksum itself.
        covered = bytearray(os.pread(self._fd, BLOCK, start))
        covered[4:8] = bytes(4)
        os.pwrite(self._fd, crc32c(bytes(covered)).to_bytes(4, "little"), start + 4)

    # -- inodes ----------------------------------------------------------------------------------------------

    def _length(self, row: int) -> int:
        """Bytes that an inode and what follows it take, in whole slots."""
        plan = self._plan
        bare = on_disk.COMPACT.itemsize if plan.compact[row] else on_disk.EXTENDED_INODE.itemsize
        index = on_disk.CHUNK_INDEX.itemsize if plan.layout[row] == on_disk.LAYOUT_CHUNKS else 0
        return int(-(-(bare + int(plan.tail[row]) + index) // SLOT) * SLOT)

    def _inodes(self, rows: Ints) -> NDArray[np.uint8]:
        """Slots from the first to the last of `rows`, which are in the order of their positions; data is left zero."""
        plan = self._plan
        base = int(plan.position[rows[0]])
        end = int(plan.position[rows[-1]]) + self._length(int(rows[-1]))
        out = np.zeros(((end - base) // SLOT, SLOT), np.uint8)
        small = plan.compact[rows]
        for chosen, kind in ((rows[small], on_disk.COMPACT), (rows[~small], on_disk.EXTENDED_INODE)):
            if not len(chosen):
                continue
            inodes = self._fill(chosen, kind)
            slot = (plan.position[chosen] - base) // SLOT
            width = kind.itemsize // SLOT
            raw = inodes.view(np.uint8).reshape(-1, width, SLOT)
            for part in range(width):
                out[slot + part] = raw[:, part]
            self._add_indexes(out, chosen, slot + width)
        return out

    def _fill(self, rows: Ints, kind: np.dtype[np.void]) -> NDArray[np.void]:
        plan, contents = self._plan, self._contents
        attributes = contents.attributes[contents.attribute[rows]]
        inodes = np.zeros(len(rows), kind)
        layout = plan.layout[rows]
        extended = kind is on_disk.EXTENDED_INODE
        inodes["format"] = layout.astype(np.uint16) << on_disk.LAYOUT_SHIFT | (on_disk.EXTENDED if extended else 0)
        inodes["mode"], inodes["uid"], inodes["gid"] = attributes["mode"], attributes["uid"], attributes["gid"]
        inodes["size"], inodes["nlink"] = plan.size[rows], plan.nlink[rows]
        inodes["ino"] = (rows + 1) & 0xFFFFFFFF
        inodes["data"] = plan.start[rows]
        chunks = layout == on_disk.LAYOUT_CHUNKS
        inodes["data"][chunks] = on_disk.CHUNK_INDEXES | _chunk_bits(plan.size[rows[chunks]])
        if extended:
            inodes["mtime"], inodes["mtime_nsec"] = attributes["mtime"], attributes["nsec"]
        return inodes

    def _add_indexes(self, out: NDArray[np.uint8], rows: Ints, slot: Ints) -> None:
        plan = self._plan
        chunks = plan.layout[rows] == on_disk.LAYOUT_CHUNKS
        if not chunks.any():
            return
        indexes = np.zeros(int(chunks.sum()), on_disk.CHUNK_INDEX)
        indexes["device_id"] = self._contents.device[rows[chunks]] + 1
        indexes["startblk"] = plan.start[rows[chunks]]
        out[slot[chunks], : on_disk.CHUNK_INDEX.itemsize] = indexes.view(np.uint8).reshape(len(indexes), -1)

    def _append_tail(self, buffer: NDArray[np.uint8], row: int, base: int, data: bytes) -> None:
        plan = self._plan
        bare = on_disk.COMPACT.itemsize if plan.compact[row] else on_disk.EXTENDED_INODE.itemsize
        at, tail = int(plan.position[row]) - base + bare, int(plan.tail[row])
        if len(data) != plan.size[row] or at % SLOT or (at + base) // BLOCK != (at + base + tail - 1) // BLOCK:
            raise LayoutError(f"row {row}: {len(data)} bytes of data don't fit their place at byte {at + base}")
        buffer[at : at + tail] = np.frombuffer(data, np.uint8)[len(data) - tail :]

    # -- directories and files -------------------------------------------------------------------------------

    def _write_directories(self) -> None:
        """Blocks of directories: all of those that have no tail, in long runs."""
        plan = self._plan
        directories, nids = plan.directories, plan.nids
        area = _Area(self._fd, plan.inodes_end, plan.files_block * BLOCK)
        shown = self._contents.kind[directories.rows] == FOLDER
        for i in np.flatnonzero(shown).tolist():
            row = int(directories.rows[i])
            first, end = int(directories.first_block[i]), int(directories.first_block[i + 1])
            end -= bool(plan.tail[row])
            at = int(plan.start[row]) * BLOCK
            for low, high in directories.parts(first, end):
                blocks = directories.blocks(low, high, nids, self._types)
                area.write(at, blocks.reshape(-1).data)
                at += (high - low) * BLOCK
        area.finish()

    def _write_data(self, inodes: _Area) -> None:
        """Inodes with data after them, and the blocks of everything that is copied."""
        plan, contents = self._plan, self._contents
        files = _Area(self._fd, plan.files_block * BLOCK, plan.blocks * BLOCK)
        copied = (contents.kind == COPIED) | (contents.kind == SYMLINK)
        # In the order of the rows, as the plan has both areas.
        rows = np.flatnonzero((plan.tail > 0) | (copied & (plan.size > 0)))
        rows = rows[rows > 0]
        done = 0
        for part in _cut(rows, _DATA_ROWS):
            far = part[plan.tail[part] > 0]
            buffer = self._inodes(far).reshape(-1) if len(far) else np.empty(0, np.uint8)
            base = int(plan.position[far[0]]) if len(far) else 0
            for row in part.tolist():
                if not plan.tail[row]:
                    self._copy(row, files)
                    continue
                data = self._small(row)
                self._append_tail(buffer, row, base, data)
                whole = len(data) - int(plan.tail[row])
                if whole and contents.kind[row] != FOLDER:
                    files.write(int(plan.start[row]) * BLOCK, data[:whole])
            if len(far):
                inodes.skip(base)
                inodes.write(base, buffer.data)
            done += len(part)
            if self._progress is not None:
                self._progress("copied", done, len(rows))
        inodes.finish()
        files.finish()

    def _small(self, row: int) -> bytes:
        """All bytes of a directory, link or small file."""
        if self._contents.kind[row] == FOLDER:
            directories = self._plan.directories
            i = int(np.searchsorted(directories.rows, row))
            first, end = int(directories.first_block[i]), int(directories.first_block[i + 1])
            blocks = directories.blocks(first, end, self._plan.nids, self._types)
            return blocks.tobytes()[: int(self._plan.size[row])]
        return b"".join(self._pieces(row))

    def _copy(self, row: int, files: _Area) -> None:
        at = int(self._plan.start[row]) * BLOCK
        for piece in self._pieces(row):
            files.write(at, piece)
            at += len(piece)
        files.skip(-(-at // BLOCK) * BLOCK)

    def _pieces(self, row: int) -> Iterator[bytes]:
        """Bytes of a file or link, in order; exactly as many as planned.

        Raises
        ------
        SourceChangedError
        """
        tree, size = self._tree, int(self._plan.size[row])
        if self._contents.kind[row] == SYMLINK:
            yield os.fsencode(tree.link_target(row))
            return
        loose = tree.index.source[row] == LOOSE
        got = 0
        for start in range(0, size + loose, _PIECE):  # one byte more than it had would show that a file has grown
            piece = tree.read(row, start, min(start + _PIECE, size + loose))
            got += len(piece)
            if got > size:
                break
            yield piece
        if got != size:
            now = "more" if got > size else str(got)
            raise SourceChangedError(
                f"{tree.path(row)}: had {size} bytes when the image was begun, and has {now} now; try again when "
                "nothing writes to it"
            )


def _chunk_bits(size: Ints) -> NDArray[np.uint32]:
    """Bits of a chunk size, in blocks, that holds a whole file: one index is enough then."""
    blocks = np.maximum(-(-size // BLOCK), 1)
    return np.ceil(np.log2(blocks)).astype(np.uint32)


def _cut(rows: Ints, n: int) -> Iterator[Ints]:
    for start in range(0, len(rows), n):
        yield rows[start : start + n]
