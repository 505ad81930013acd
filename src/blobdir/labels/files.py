"""The files that labels are read from."""

from __future__ import annotations

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import JUNK_FOLDERS, is_junk
from blobdir.inside import open_plain, read_whole
from blobdir.labels.model import LabelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

END_BYTES: Final = 64 << 10
"""Of a file, what says which format it has: so much of both ends."""
YAML: Final = (".yaml", ".yml")
YAML_BYTES: Final = 16 << 20
"""Of YAML, whose keys may stand in any order, all is looked at up to this size."""
WHOLE_BYTES: Final = 16 << 30
"""A COCO file of millions of objects has some gigabytes."""


class LabelFiles:
    """Files below a folder.

    Parameters
    ----------
    root : str
    paths : iterable of str
        Of all files, below `root`.

    Attributes
    ----------
    name : str
        What messages call it: the folder, or the one file.
    images : list of str
        Paths of the images that are packed, below their folder; empty: nobody has said, and it's those among `paths`.
    unread : dict
        Path of each file that may be one of labels, and couldn't be looked into -> why.
    """

    def __init__(self, root: str, paths: Iterable[str]) -> None:
        self.root = root
        self.paths = sorted(paths)
        self._known = set(self.paths)
        self.name = root
        self.images: list[str] = []
        self.unread: dict[str, str] = {}

    @classmethod
    def below(cls, root: str) -> LabelFiles:
        """All files below a folder but hidden ones; or, of a file, that one."""
        if not os.path.isdir(root):
            files = cls(os.path.dirname(root) or ".", [os.path.basename(root)])
            files.name = root
            return files
        return cls(root, _walk(root))

    def __contains__(self, path: str) -> bool:
        return path in self._known

    def without(self, paths: Collection[str]) -> LabelFiles:
        """The same but for some files."""
        found = LabelFiles(self.root, (path for path in self.paths if path not in paths))
        found.name, found.images, found.unread = self.name, self.images, self.unread
        return found

    def only(self, path: str) -> LabelFiles:
        """The same with just one file."""
        found = LabelFiles(self.root, [path])
        found.name, found.images = self.name, self.images
        return found

    def ending(self, *endings: str) -> Iterator[str]:
        """Paths of the files whose name has one of these extensions, in small letters."""
        return (path for path in self.paths if splitext(path)[1].lower() in endings)

    def head(self, path: str) -> bytes:
        """`head_of` a file; nothing of one that can't be read, which is noted."""
        try:
            return head_of(os.path.join(self.root, path))
        except OSError as error:
            self.unread[path] = error.strerror or str(error)
            return b""

    def read(self, path: str) -> bytes:
        """Content of a file.

        Raises
        ------
        LabelError
        """
        try:
            return read_whole(os.path.join(self.root, path), most=WHOLE_BYTES)
        except OSError as error:
            raise LabelError(f"can't be read: {error.strerror or error}") from error

    def text(self, path: str) -> str:
        """Text of a file: UTF-8 with or without a mark, or UTF-16 with one.

        Raises
        ------
        LabelError
        """
        return decoded(self.read(path))


def head_of(path: str) -> bytes:
    """How a file begins, up to the last word that is whole there; then, of a big one of JSON, how it ends.

    A COCO file whose ``info`` is long has its other keys at the end. YAML is given whole, unless it's huge: its keys
    may stand behind thousands of names. What is UTF-16 is given as UTF-8.

    Raises
    ------
    OSError
        It can't be read, or is no plain file.
    """
    with open(open_plain(path), "rb") as file:
        head = file.read(END_BYTES)
        size = os.fstat(file.fileno()).st_size
        if path.lower().endswith(YAML) and END_BYTES < size <= YAML_BYTES:
            head += file.read(YAML_BYTES)
            size = len(head)
        if wide := _wide(head):
            return head.decode(wide, "ignore").encode()
        if size <= len(head):
            return head
        if not without_mark(head).lstrip().startswith((b"{", b"[")):
            return head[: max(map(head.rfind, (b" ", b"\t", b"\n"))) + 1 or None]
        file.seek(max(END_BYTES, size - END_BYTES))
        return head + b"\n" + file.read(END_BYTES)


def _wide(head: bytes) -> str:
    """The encoding of a text of two bytes for each character; empty: it's none."""
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    starts = {b"{\0": "utf-16-le", b"[\0": "utf-16-le", b"\0{": "utf-16-be", b"\0[": "utf-16-be"}
    return starts.get(head[:2], "")  # JSON without a mark


def decoded(data: bytes) -> str:
    """`LabelFiles.text` of bytes."""
    encoding = "utf-8"
    if data.startswith(BOM_UTF8):
        encoding = "utf-8-sig"
    elif data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelError(f"line {line}: byte {error.start} isn't UTF-8; save it as UTF-8") from None


def _walk(root: str) -> Iterator[str]:
    todo = [""]
    while todo:
        folder = todo.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder)))
        except OSError as error:
            raise LabelError(f"{os.path.join(root, folder)}: can't be listed: {error.strerror or error}") from error
        for entry in entries:
            if entry.name.startswith(".") or entry.name in JUNK_FOLDERS or is_junk(entry.name):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                todo.append(path)
            elif entry.is_file():
                yield path


def without_mark(head: bytes) -> bytes:
    """The beginning of a file without the mark that some editors put there."""
    return head.removeprefix(BOM_UTF8)
