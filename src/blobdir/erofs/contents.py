"""What goes into an image: kind, size and attributes of each row of a tree, and where its bytes are. No layout yet."""

from __future__ import annotations

import os
import stat as stat_module
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from blobdir.erofs.structures import BLOCK
from blobdir.errors import NotFoundError, SourceChangedError, UsageError
from blobdir.index import BROKEN, DIRECTORY, FIRST_BLOB, LINK, LOOSE
from blobdir.ranges import total_of
from blobdir.sources import on_this_machine
from blobdir.wording import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.index import SourceRecord
    from blobdir.tree import Attributes, Tree

FOLDER, DEVICE, COPIED, SYMLINK, UNREADABLE = range(5)
"""Kinds of rows: a directory; a file whose bytes stay in a blob; one whose bytes are put into the image; a symbolic
link; a file or directory that reading gives EIO for."""

NS = 1_000_000_000
FILES_ONLY: Final = "the kernel reads local blobs only; mount it with another engine"
ATTRIBUTES = np.dtype([("mode", "<u2"), ("uid", "<u4"), ("gid", "<u4"), ("mtime", "<i8"), ("nsec", "<u4")])
STATE = np.dtype([
    ("size", "<i8"), ("mtime_ns", "<i8"), ("mode", "<i4"), ("uid", "<u4"), ("gid", "<u4"), ("inode", "<u8"),
    ("ctime_ns", "<i8"),
])  # fmt: skip
"""A loose file when the image was made; a directory has the size -1, a symbolic link `LINK_SIZE`. Inode and time of
change, which nobody can set, are 0 for those, and where the image may serve copies of the files."""
LINK_SIZE: Final = -2


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """What shapes an image.

    Attributes
    ----------
    uid, gid : int
        Owner of everything; -1 is the owner of the files and blobs.
    umask : int
        Permission bits that are taken away from everything.
    private : bool
        Whether only the root directory's owner may enter. The blobs' own modes say nothing of the folders above the
        project, so without it a project in somebody's home would be open to all once it's mounted.
    unaligned : {"copy", "refuse"}
        What becomes of members that don't begin at a multiple of 512 bytes of their blob.
    max_copy_bytes : int
        Bytes of loose files and unaligned members that an image may take in; more is refused.
    """

    uid: int = -1
    gid: int = -1
    umask: int = 0
    private: bool = False
    unaligned: Literal["copy", "refuse"] = "copy"
    max_copy_bytes: int = 16 << 30


@dataclass(frozen=True)
class Contents:
    """The rows of an image, as columns. Row numbers are those of the index.

    Attributes
    ----------
    kind : ndarray of uint8, shape (n,)
        `FOLDER`, `DEVICE`, `COPIED`, `SYMLINK` or `UNREADABLE`.
    size : ndarray of int64, shape (n,)
        Bytes; of a directory 0, it's the layout's.
    device : ndarray of int32, shape (n,)
        For `DEVICE`: number of the device, from 0.
    block : ndarray of int64, shape (n,)
        For `DEVICE`: first block of the member in it.
    attribute : ndarray of int32, shape (n,)
        Which of `attributes` a row has.
    attributes : ndarray of `ATTRIBUTES`
        Mode with the type, owner, time. Members of one blob share one.
    devices : list of SourceRecord
        Blobs that are used as devices.
    state : ndarray of `STATE`
        Of loose files, directories and links.
    state_paths : bytes
        Their paths, each followed by a NUL.
    """

    kind: NDArray[np.uint8]
    size: NDArray[np.int64]
    device: NDArray[np.int32]
    block: NDArray[np.int64]
    attribute: NDArray[np.int32]
    attributes: NDArray[np.void]
    devices: list[SourceRecord]
    state: NDArray[np.void]
    state_paths: bytes

    def __len__(self) -> int:
        return len(self.kind)


def collect(tree: Tree, options: ImageOptions) -> Contents:
    """Look at everything that an image of `tree` would hold, loose files as they are now.

    Raises
    ------
    UsageError
        The project isn't local; members aren't aligned and ``unaligned`` is "refuse"; too much would be copied.
    SourceChangedError
        A loose file, folder or link is gone since the project was opened.
    """
    on_this_machine(tree.storage, FILES_ONLY)
    index = tree.index
    n = len(index)
    source = np.asarray(index.source)
    size = np.asarray(index.size).astype(np.int64)
    kind = np.full(n, UNREADABLE, np.uint8)
    kind[source == DIRECTORY], kind[source == LINK], kind[source == LOOSE] = FOLDER, SYMLINK, COPIED
    size[source == DIRECTORY] = 0
    device, block = np.zeros(n, np.int32), np.zeros(n, np.int64)
    devices = _place_members(tree, options, kind, size, device, block)
    collector = _Attributes(tree, options)
    attribute = np.zeros(n, np.int32)
    for number in range(len(index.header.blobs)):
        rows = np.flatnonzero(source == FIRST_BLOB + number)
        if len(rows):
            attribute[rows] = collector.share(tree.attributes(int(rows[0])))
    for row in np.flatnonzero(source == BROKEN).tolist():
        attribute[row] = collector.share(tree.attributes(row))
    for row in np.flatnonzero(source == LINK).tolist():
        size[row] = len(os.fsencode(tree.link_target(row)))
    live = np.flatnonzero((source == LOOSE) | (source == DIRECTORY) | (source == LINK))
    if not tree.lies_there:
        for row in live.tolist():
            attribute[row] = collector.share(tree.attributes(row), root=row == 0)
        live = live[:0]
    own, state = _look_at_loose(tree, live, size, collector)
    attributes = np.concatenate([collector.table(), own])
    attribute[live] = np.arange(len(attributes) - len(own), len(attributes))
    if tree.index.header.incomplete:  # of those directories, the kernel can only list what there is, or refuse it whole
        kind[[row for row in tree.index.directories.tolist() if not tree.is_complete(row)]] = UNREADABLE
    size[kind == UNREADABLE] = np.maximum(size[kind == UNREADABLE], 1)  # an empty file could be read
    size[(kind == UNREADABLE) & (source == DIRECTORY)] = BLOCK
    _check_copied(tree, options, total_of(size[kind == COPIED]))
    paths = b"".join(index.path(row) + b"\0" for row in live.tolist())
    return Contents(kind, size, device, block, attribute, attributes, devices, state, paths)


def _place_members(
    tree: Tree,
    options: ImageOptions,
    kind: NDArray[np.uint8],
    size: NDArray[np.int64],
    device: NDArray[np.int32],
    block: NDArray[np.int64],
) -> list[SourceRecord]:
    """Decide for each member whether the kernel can read it where it lies; gives the blobs that are used so."""
    index = tree.index
    devices: list[SourceRecord] = []
    unaligned = 0
    for number, record in enumerate(index.header.blobs):
        rows = np.flatnonzero(index.source == FIRST_BLOB + number)
        if not len(rows) or record.size < 0 or tree.blobs.refusal(FIRST_BLOB + number):
            continue  # reading them is an error that `Tree.read` explains
        offset, length = index.offset[rows], size[rows]
        inside = offset + length <= record.size
        aligned = offset % BLOCK == 0
        # A block that the end of the blob cuts through can't be read as one, whatever the backing.
        whole = -(-(offset + length) // BLOCK) <= record.size // BLOCK
        empty = length == 0
        unaligned += int((inside & ~aligned & ~empty).sum())
        kind[rows[inside]] = COPIED
        kind[rows[empty]] = COPIED
        direct = rows[inside & aligned & whole & ~empty]
        if len(direct):
            kind[direct], device[direct] = DEVICE, len(devices)
            block[direct] = index.offset[direct] // BLOCK
            devices.append(record)
            _place_shown_blob(tree, record, len(devices) - 1, kind, size, device)
    if unaligned and options.unaligned == "refuse":
        images = counted(unaligned, "image doesn't", "images don't")
        raise UsageError(
            f"{tree.storage.url}: {images} begin at a multiple of {BLOCK} bytes of the blob, as they do in a tar, so "
            "the kernel can't read them where they lie; have them copied, or use another engine"
        )
    return devices


def _place_shown_blob(
    tree: Tree,
    record: SourceRecord,
    number: int,
    kind: NDArray[np.uint8],
    size: NDArray[np.int64],
    device: NDArray[np.int32],
) -> None:
    """With ``show_blobs`` a blob is a file as well: all of a device, rather than a copy of it."""
    if not tree.index.header.options.get("show_blobs") or record.size % BLOCK or not record.size:
        return
    try:
        row = tree.find(record.path, follow=False)
    except (NotFoundError, OSError):
        return
    if tree.index.source[row] == LOOSE:
        kind[row], size[row], device[row] = DEVICE, record.size, number


class _Attributes:
    """Attributes, numbered: those that rows share once, those of loose files and directories each by itself."""

    def __init__(self, tree: Tree, options: ImageOptions) -> None:
        self._options = options
        self._shared: dict[tuple[int, int, int, int, int], int] = {}
        root = tree.attributes(0)
        self._owner = (root.uid if root.uid >= 0 else os.getuid(), root.gid if root.gid >= 0 else os.getgid())

    def values(self, found: Attributes, *, root: bool = False) -> tuple[int, int, int, int, int]:
        """As a row of `ATTRIBUTES`."""
        options = self._options
        kind = {"file": stat_module.S_IFREG, "directory": stat_module.S_IFDIR, "link": stat_module.S_IFLNK}[found.kind]
        mode = found.mode if found.kind == "link" else found.mode & ~options.umask
        if root and options.private:
            mode &= 0o700
        uid = options.uid if options.uid >= 0 else found.uid if found.uid >= 0 else self._owner[0]
        gid = options.gid if options.gid >= 0 else found.gid if found.gid >= 0 else self._owner[1]
        seconds, nsec = divmod(found.mtime_ns, NS)
        return kind | mode, uid, gid, seconds, nsec

    def share(self, found: Attributes, *, root: bool = False) -> int:
        """Number of attributes that several rows have."""
        return self._shared.setdefault(self.values(found, root=root), len(self._shared))

    def table(self) -> NDArray[np.void]:
        """All that are shared, in the order of their numbers."""
        return np.array(list(self._shared), ATTRIBUTES)


def _look_at_loose(
    tree: Tree, rows: NDArray[np.int64], size: NDArray[np.int64], collector: _Attributes
) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Attributes and states of loose files, directories and links as they are now; sizes of files go to `size`."""
    attributes, state = np.zeros(len(rows), ATTRIBUTES), np.zeros(len(rows), STATE)
    sizes = state["size"]
    for i, row in enumerate(rows.tolist()):
        try:
            found = tree.attributes(row)
        except NotFoundError as error:
            raise SourceChangedError(str(error)) from error
        if not found.seen:
            path = tree.path(row) or "/"
            raise SourceChangedError(f"{path}: isn't there now, or its disk isn't; open the project again")
        attributes[i] = collector.values(found, root=row == 0)
        of_kind = LINK_SIZE if found.kind == "link" else -1
        state[i] = (of_kind, in_column(found.mtime_ns), found.mode, found.uid % (1 << 32), found.gid % (1 << 32), 0, 0)
        if found.kind == "file":
            size[row] = sizes[i] = found.size
            state["inode"][i], state["ctime_ns"][i] = found.inode % (1 << 64), in_column(found.ctime_ns)
    return attributes, state


def in_column(time_ns: int) -> int:
    """A time as `STATE` has it: of one that is centuries away, that it is."""
    return max(-(1 << 63), min(time_ns, (1 << 63) - 1))


def _check_copied(tree: Tree, options: ImageOptions, total: int) -> None:
    if total > options.max_copy_bytes:
        raise UsageError(
            f"{tree.storage.url}: {total:,} bytes of plain files and of members that the kernel can't read in their "
            f"blob would be copied into the image, more than the {options.max_copy_bytes:,} that are allowed; allow "
            "more, or mount with another engine, which copies nothing"
        )
