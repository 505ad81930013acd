"""The files that labels are read from, and which image a name in a label file means."""

from __future__ import annotations

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from posixpath import basename, dirname, normpath, splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import IMAGE_EXTENSIONS, JUNK_FOLDERS, is_junk
from blobdir.inside import open_plain, read_whole
from blobdir.labels.model import LabelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_END_BYTES: Final = 64 << 10
"""Of a file, what says which format it has: so much of both ends."""
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
    unread : dict
        Path of each file that may be one of labels, and couldn't be looked into -> why.
    """

    def __init__(self, root: str, paths: Iterable[str]) -> None:
        self.root = root
        self.paths = sorted(paths)
        self._known = set(self.paths)
        self.unread: dict[str, str] = {}

    @classmethod
    def below(cls, root: str) -> LabelFiles:
        """All files below a folder but hidden ones; or, of a file, that one."""
        if not os.path.isdir(root):
            return cls(os.path.dirname(root) or ".", [os.path.basename(root)])
        return cls(root, _walk(root))

    def __contains__(self, path: str) -> bool:
        return path in self._known

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

    A COCO file whose ``info`` is long has its other keys at the end.

    Raises
    ------
    OSError
        It can't be read, or is no plain file.
    """
    with open(open_plain(path), "rb") as file:
        head = file.read(_END_BYTES)
        size = os.fstat(file.fileno()).st_size
        if size <= _END_BYTES:
            return head
        if not without_mark(head).lstrip().startswith((b"{", b"[")):
            return head[: max(map(head.rfind, (b" ", b"\t", b"\n"))) + 1 or None]
        file.seek(max(_END_BYTES, size - _END_BYTES))
        return head + b"\n" + file.read(_END_BYTES)


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


def is_image(path: str) -> bool:
    """Whether a file is named like an image."""
    return splitext(path)[1].lower() in IMAGE_EXTENSIONS


def without_mark(head: bytes) -> bytes:
    """The beginning of a file without the mark that some editors put there."""
    return head.removeprefix(BOM_UTF8)


class Images:
    """Finds images by what label files call them.

    Parameters
    ----------
    paths : iterable of str
        Of the images, below the folder that is packed.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = list(paths)
        self._by_name: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_name.setdefault(basename(path), []).append(path)

    def labelled_by(self, files: LabelFiles, ending: str, is_one: Callable[[str, bytes], bool]) -> Iterator[str]:
        """Files that have the labels of one image each: those of a format, and others that are called like an image.

        Those can't be read; who passed them by would lose labels without a word.
        """
        stems = {splitext(path)[0] for path in self._by_name}
        for path in files.ending(ending):
            if splitext(basename(path))[0] in stems or is_one(path, files.head(path)):
                yield path

    def find(self, name: str, near: str = "", hint: str = "") -> str:
        """The image that a label file means.

        Of several of one name, the one whose path ends like `name` counts; then the one in a folder called `hint`, as
        ``train2017`` for ``instances_train2017.json``; then the one below the label file's own folder.

        Parameters
        ----------
        name : str
            As in the label file: with folders or without, of this machine or another.
        near : str
            Folder of the label file, below the folder that is packed.
        hint : str

        Raises
        ------
        LabelError
            None is there, or several are.
        """
        wanted = normpath(name.replace("\\", "/") if basename(name) not in self._by_name else name)
        found = self._by_name.get(basename(wanted), [])
        if not found and not is_image(wanted):
            stem = basename(wanted)
            found = [path for kind in IMAGE_EXTENSIONS for path in self._by_name.get(stem + kind, [])]
            wanted = ""
        if len(found) > 1 and wanted:
            found = _most(found, [_shared(path, wanted) for path in found])
        if len(found) > 1 and hint:
            found = _most(found, [hint in path.split("/")[:-1] for path in found])
        if len(found) > 1:
            found = _most(found, [_below(path, near) for path in found])
        if not found:
            raise LabelError(f"there is no image {name}")
        if len(found) > 1:
            raise LabelError(f"{name} can be {found[0]} or {found[1]}: give it with its folder")
        return found[0]


def _most(paths: list[str], ranks: list[int] | list[bool]) -> list[str]:
    best = max(ranks)
    return [path for path, rank in zip(paths, ranks, strict=True) if rank == best]


def _shared(path: str, wanted: str) -> int:
    """Parts at the end that two paths have in common."""
    count = 0
    for one, other in zip(reversed(path.split("/")), reversed(wanted.split("/")), strict=False):
        if one != other:
            break
        count += 1
    return count


def _below(path: str, folder: str) -> int:
    """How much of a label file's folder an image lies in."""
    count = 0
    for one, other in zip(dirname(path).split("/"), folder.split("/"), strict=False):
        if one != other:
            break
        count += 1
    return count
