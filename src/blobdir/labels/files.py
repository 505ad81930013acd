"""The files that labels are read from."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from json import detect_encoding
from posixpath import splitext
from typing import TYPE_CHECKING, BinaryIO, Final

from blobdir.filenames import JUNK_FOLDERS, is_junk
from blobdir.inside import open_plain, read_whole
from blobdir.labels.model import LabelError
from blobdir.labels.namesakes import is_bare
from blobdir.labels.nearby import is_named_for_labels

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

END_BYTES: Final = 64 << 10
"""Of a file, what says which format it has: so much of both ends."""
_MORE: Final = 3
"""In so many other places is a big text looked at."""
_CUT: Final = 2
"""So many images have less in a piece of a text than they have: where it's cut."""
YAML: Final = (".yaml", ".yml")
YAML_BYTES: Final = 16 << 20
"""Of YAML, whose keys may stand in any order, all is looked at up to this size."""
_LINE_END: Final = re.compile(r"\r\n?|\n")
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
    image_root : str
        That folder; `root`, where nobody has said.
    given : str
        What the folder counts as, if somebody has given it as that of the labels: see `note_given`.
    unread : dict
        Path of each file that may be one of labels, and couldn't be looked into -> why.
    """

    def __init__(self, root: str, paths: Iterable[str]) -> None:
        self.root = root
        self.paths = sorted(paths)
        self._known = set(self.paths)
        self.name = root
        self.images: list[str] = []
        self.image_root = root
        self.given = ""
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
        found.image_root, found.given = self.image_root, self.given
        return found

    def only(self, path: str) -> LabelFiles:
        """The same with just one file."""
        found = LabelFiles(self.root, [path])
        found.name, found.images = self.name, self.images
        found.image_root, found.given = self.image_root, self.given
        return found

    def note_given(self) -> None:
        """Note that somebody has given this folder as that of the labels: it's one that is called so.

        Unless folders in it are called so: then it's what these lie in, whatever it's called itself, and what lies
        beside them (depth, poses) is none of labels.
        """
        self.given = "" if any(map(is_named_for_labels, self._folders())) else "labels/"

    def told(self, path: str) -> str:
        """The path of a file with what the folder counts as: what the folders around it are called is asked of this."""
        return f"{self.given}{path}"

    def _folders(self) -> set[str]:
        return {part for path in self.paths for part in path.split("/")[:-1]}

    def ending(self, *endings: str) -> Iterator[str]:
        """Paths of the files whose name has one of these extensions, in small letters."""
        return (path for path in self.paths if splitext(path)[1].lower() in endings)

    def bare(self) -> Iterator[str]:
        """Paths of the files without an extension."""
        return filter(is_bare, self.paths)

    def head(self, path: str) -> bytes:
        """`head_of` a file; nothing of one that can't be read, which is noted."""
        try:
            return head_of(os.path.join(self.root, path))
        except OSError as error:
            self.unread[path] = error.strerror or str(error)
            return b""

    def sample(self, path: str) -> tuple[str, int]:
        """What stands at the beginning of a text and in some places behind it, and how often it's cut."""
        try:
            return sample_of(os.path.join(self.root, path))
        except OSError as error:
            self.unread[path] = error.strerror or str(error)
            return "", 0

    def open(self, path: str) -> BinaryIO:
        """A file, to look into it.

        Raises
        ------
        OSError
            It can't be read, or is no plain file.
        """
        return open(open_plain(os.path.join(self.root, path)), "rb")

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
        """Text of a file: UTF-8, UTF-16 or UTF-32, each with a mark or without.

        Raises
        ------
        LabelError
        """
        return decoded(self.read(path))


def head_of(path: str) -> bytes:
    """How a file begins, up to the last word that is whole there; then, of a big one of JSON, how it ends.

    A COCO file whose ``info`` is long has its other keys at the end. YAML is given whole, unless it's huge: its keys
    may stand behind thousands of names. What is UTF-16 or UTF-32 is given as UTF-8.

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


def sample_of(path: str) -> tuple[str, int]:
    """`LabelFiles.sample` of a file.

    Raises
    ------
    OSError
        It can't be read, or is no plain file.
    """
    with open(open_plain(path), "rb") as file:
        return sample_in(file, os.fstat(file.fileno()).st_size)


def sample_in(file: BinaryIO, size: int) -> tuple[str, int]:
    """`LabelFiles.sample` of a file that is open, or of bytes that were unpacked."""
    first = file.read(END_BYTES)
    if size <= (1 + _MORE) * END_BYTES:
        data = first + file.read(size)
        return data.decode(_wide(first) or "utf-8", "replace"), 0
    pieces = [first]
    space = (size - END_BYTES) // _MORE & ~3  # where a character of UTF-32 begins
    for i in range(1, _MORE + 1):
        file.seek(space * i if i < _MORE else (size - END_BYTES) & ~3)
        pieces.append(file.read(END_BYTES))
    wide = _wide(first) or "utf-8"
    return "\n".join(piece.decode(wide, "replace") for piece in pieces), _CUT * len(pieces)


def _wide(head: bytes) -> str:
    """The encoding of a text of two or four bytes for each character, with a mark or without; empty: it's none."""
    found = encoding_of(head)
    return "" if found.startswith("utf-8") else found


def encoding_of(data: bytes) -> str:
    """The encoding of a text, by its mark, or by the NUL beside each of its first two characters.

    These are ASCII in all label files; images and films begin with NUL, too, and with something else.
    """
    found = detect_encoding(data)
    if found.endswith(("-le", "-be")):
        begin = data[:8].decode(found, "ignore")[:2]
        is_text = all(char.isascii() and (char.isprintable() or char.isspace()) for char in begin)
        return found if begin and is_text else "utf-8"
    return found


def decoded(data: bytes) -> str:
    """`LabelFiles.text` of bytes."""
    encoding = encoding_of(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            raise LabelError(f"looks like {encoding.upper()}, and byte {error.start} isn't; save it as UTF-8") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelError(f"line {line}: byte {error.start} isn't UTF-8; save it as UTF-8") from None


_PACKED: Final = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "ZIP, as spreadsheets are",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7-Zip",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
}
"""How files begin that are no text, whatever they're called."""


def packed_in(head: bytes) -> str:
    """What a file is packed in, though it's called like a text; empty: nothing that is known."""
    return next((what for start, what in _PACKED.items() if head.startswith(start)), "")


def lines_of(text: str) -> list[str]:
    """The lines of a text. Names may have characters in them at which `str.splitlines` begins another one: U+0085."""
    return _LINE_END.split(text)


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
