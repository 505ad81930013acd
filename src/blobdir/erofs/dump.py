"""A tree as text, one line an entry: from an image, and from an index. They must be the same.

``path mode nlink uid:gid mtime size where``: where is ``blob@offset``, a digest of bytes that are in the image, the
target of a link, ``unreadable``, or nothing for a directory. Bytes of a path that aren't printable ASCII are escaped.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

import numpy as np

from blobdir.erofs.contents import COPIED, DEVICE, FOLDER, NS, SYMLINK, ImageOptions, collect
from blobdir.erofs.reader import ImageReader
from blobdir.erofs.structures import BLOCK
from blobdir.index import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blobdir.tree import Tree


def dump_image(path: Path) -> Iterator[str]:
    """What an image says."""
    with ImageReader(path) as image:
        for name, inode in image.walk():
            where = ""
            if not inode.readable:
                where = "unreadable"
            elif stat.S_ISLNK(inode.mode):
                where = f"-> {_text(image.data(inode))}"
            elif inode.device:
                where = f"{inode.device}@{inode.offset}"
            elif stat.S_ISREG(inode.mode):
                where = _digest(image.data(inode) if inode.size else b"")
            size = 0 if stat.S_ISDIR(inode.mode) else inode.size
            yield _line(name, inode.mode, inode.nlink, inode.uid, inode.gid, inode.mtime_ns, size, where)


def dump_tree(tree: Tree, options: ImageOptions | None = None) -> Iterator[str]:
    """What an image of a tree must say, in the same order."""
    contents = collect(tree, options or ImageOptions())
    index = tree.index
    todo = [0]
    while todo:
        row = todo.pop()
        mode, uid, gid, seconds, nsec = contents.attributes[contents.attribute[row]].tolist()
        kind, size = int(contents.kind[row]), int(contents.size[row])
        nlink, where = 1, "unreadable"
        if index.source[row] == DIRECTORY:
            children, size = index.children(row), 0
            nlink = 2 + int(np.count_nonzero(index.source[children.start : children.stop] == DIRECTORY))
        if kind == FOLDER:
            where = ""
            todo.extend(reversed(index.children(row)))
        elif kind == DEVICE:
            blob = contents.devices[int(contents.device[row])].path
            where = f"{os.fsdecode(os.fsencode(blob)[-63:])}@{int(contents.block[row]) * BLOCK}"
        elif kind == SYMLINK:
            where = f"-> {_text(os.fsencode(tree.link_target(row)))}"
        elif kind == COPIED:
            where = _digest(tree.read(row))
        yield _line(index.path(row), mode, nlink, uid, gid, seconds * NS + nsec, size, where)


def _line(path: bytes, mode: int, nlink: int, uid: int, gid: int, mtime_ns: int, size: int, where: str) -> str:
    return f"/{_text(path)} {mode:06o} {nlink} {uid}:{gid} {mtime_ns} {size} {where}".rstrip()


def _text(raw: bytes) -> str:
    return "".join(chr(byte) if 0x21 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in raw)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
