"""What can be seen of a file that nobody reads, whatever it's called: a text, what is packed in it, names in its bytes.

A file is looked at within bounds: of a text the beginning and some places behind it, of what is packed as much. Nothing
is unpacked to a disk, and nothing is run: a pickle is bytes with names in it.
"""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from posixpath import splitext
from typing import TYPE_CHECKING, BinaryIO, Final

from blobdir.labels.files import END_BYTES, packed_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.labels.files import LabelFiles

BINARY: Final = (
    *(".mat", ".npz", ".npy", ".pkl", ".pickle", ".parquet", ".arrow", ".feather", ".tfrecord", ".record"),
    *(".h5", ".hdf5", ".xlsx", ".xls", ".ods", ".db", ".sqlite", ".sqlite3"),
)
"""Endings of files in which labels may be, though little of them can be seen."""
_PACKED_ENDINGS: Final = (".zip", ".rar", ".7z", ".gz", ".tgz", ".bz2", ".xz", ".zst")
_TABLES: Final = (".xlsx", ".ods")
"""Tables that are packed texts: what is seen of them are names, but not which number stands beside which."""
_UNPACKED: Final = 4 * END_BYTES
"""So much is unpacked of a file."""
_LISTED: Final = 4 << 20
"""A list of what is in a ZIP is read up to so many bytes."""
_END_OF_ZIP: Final = 65_557
_MEMORY: Final = 64 << 20
_TAR_MAGIC: Final = slice(257, 262)
_ODD: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]+")
"""What is in no name, and stands between them in bytes."""
_WIDE: Final = ((re.compile(r"(?:[ -~]\0{3}){4}"), "\0\0\0"), (re.compile(r"(?:[ -~]\0){4}"), "\0"))
"""Texts of four and of two bytes for each character, as NumPy and spreadsheets have them."""
_NUMPY: Final = re.compile(r"\ufffdNUMPY[^\n]{0,200}'descr': '.?([US])(\d{1,6})'[^\n]*\n")
"""How an array of names begins: each is as wide as the widest."""
_PICKLE: Final = "\ufffd\x04", "\ufffd\x03", "\ufffd\x05", "\ufffd\x02"
_LENGTH: Final = re.compile(r"\ufffd+[\s\S]")
"""In a pickle, what says that a text comes, and how long it is."""
_MOST_ODD: Final = 50
"""A text has fewer characters that are none: one in so many."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of a file.

    Attributes
    ----------
    text : str
    cuts : int
        How often it's cut, so that an image has less in it.
    is_opaque : bool
        Just names can be seen in it, and not what stands beside them.
    packed : str
        What it's packed in; empty: it isn't.
    inside : dict
        Name of each file in it -> gives how that begins.
    """

    text: str = ""
    cuts: int = 0
    is_opaque: bool = False
    packed: str = ""
    inside: dict[str, Callable[[], str]] = field(default_factory=dict)

    @property
    def is_nothing(self) -> bool:
        """Whether it's of no kind that may be labels: a film, a program."""
        return not (self.text or self.is_opaque or self.inside)


def is_binary(path: str) -> bool:
    """Whether a file is called like one that has bytes in it, and may have labels."""
    return path.lower().endswith((*BINARY, *_PACKED_ENDINGS))


def look(files: LabelFiles, path: str) -> Seen:
    """See what is in a file."""
    head = files.head(path)
    if packed := packed_in(head):
        return _packed(files, path, head, packed)
    if path.lower().endswith(BINARY):
        return Seen(_names_in(files.sample(path)[0]) if head else "", is_opaque=bool(head))
    if is_text(head):
        return Seen(*files.sample(path))
    if head[_TAR_MAGIC] == b"ustar":
        return Seen(packed="tar", inside=dict(_in_tar(head)))
    return Seen(is_opaque=bool(head) and is_binary(path), packed="an archive" if is_binary(path) else "")


def text_of(path: str, head: bytes) -> str | None:
    """How a file begins as a text, unpacked where it's packed; None: it's bytes."""
    if path.lower().endswith(BINARY):
        return None
    if unpacked := _unpacked(head, END_BYTES):
        head = unpacked
    return head.decode("utf-8", "replace") if is_text(head) else None


def is_text(head: bytes) -> bool:
    """Whether a file begins like a text, of any encoding that has letters of one byte."""
    if not head or b"\0" in head:
        return False
    text = head.decode("utf-8", "replace")
    return _MOST_ODD * sum(len(one) for one in _ODD.findall(text)) <= len(text) or _is_of_one_byte(head)


def _is_of_one_byte(head: bytes) -> bool:
    """Whether a text may be in an old encoding, with many letters that aren't ASCII."""
    return not re.search(rb"[\x01-\x08\x0e-\x1f]", head)


def names_in(files: LabelFiles, path: str) -> str:
    """What may be names in a file that is no text."""
    return _names_in(files.sample(path)[0])


def _names_in(text: str) -> str:
    if found := _NUMPY.match(text):
        width = int(found[2]) * (4 if found[1] == "U" else 1)
        body = text[found.end() :]
        text = "\n".join(body[i : i + width] for i in range(0, len(body), max(1, width)))
    for pattern, between in _WIDE:
        if pattern.search(text):
            text = text.replace(between, "")
    if text.startswith(_PICKLE):
        text = _LENGTH.sub("\n", text)
    return _ODD.sub("\n", text)


def _packed(files: LabelFiles, path: str, head: bytes, packed: str) -> Seen:
    """What is in a file that is packed; if it can't be unpacked, it's opaque."""
    if head.startswith(b"PK"):
        inside = dict(_in_zip(files, path))
        if path.lower().endswith(_TABLES):
            return Seen("\n".join(give() for name, give in inside.items() if name.endswith(".xml")), is_opaque=True)
        if path.lower().endswith(BINARY):
            return Seen(is_opaque=True)
        return Seen(packed="ZIP", inside=inside, is_opaque=not inside)
    data = _unpacked(head, _UNPACKED)
    if data[_TAR_MAGIC] == b"ustar":
        return Seen(packed=packed, inside=dict(_in_tar(data)))
    if is_text(data):
        return Seen(data.decode("utf-8", "replace"), 2 * (len(data) >= END_BYTES), packed=packed)
    return Seen(is_opaque=True, packed=packed)


def _unpacked(head: bytes, most: int) -> bytes:
    """What is packed in the beginning of a file, up to a bound; nothing if it isn't, or can't be unpacked."""
    try:
        if head.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(31).decompress(head, most)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, most)
        if head.startswith(b"\xfd7zXZ"):
            return lzma.LZMADecompressor(memlimit=_MEMORY).decompress(head, most)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        pass
    return b""


def _in_tar(data: bytes) -> Iterator[tuple[str, Callable[[], str]]]:
    """What is in the beginning of a tar."""
    try:
        with tarfile.open(fileobj=BytesIO(data), mode="r:") as tar:
            for member in tar:
                if member.isreg() and member.offset_data < len(data):
                    text = _shown(data[member.offset_data : member.offset_data + min(member.size, END_BYTES)])
                    yield member.name, lambda text=text: text  # type: ignore[misc]
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "replace") if is_text(data) else ""


def _in_zip(files: LabelFiles, path: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """What is in a ZIP; nothing if it's damaged, or its list is too big."""
    try:
        with files.open(path) as file:
            if not _is_list_small(file):
                return
            with zipfile.ZipFile(file) as archive:
                names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except (OSError, zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        return
    for name in names:
        yield name, lambda name=name: _read_in_zip(files, path, name)  # type: ignore[misc]


def _read_in_zip(files: LabelFiles, path: str, name: str) -> str:
    """How a file in a ZIP begins; nothing if it isn't a text, or can't be read without a password."""
    try:
        with files.open(path) as file, zipfile.ZipFile(file) as archive, archive.open(name) as member:
            return _shown(member.read(END_BYTES))
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError, KeyError, NotImplementedError, EOFError, zlib.error):
        return ""


def _is_list_small(file: BinaryIO) -> bool:
    """Whether the list at the end of a ZIP, which is read whole, has no more than so many bytes."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_OF_ZIP))
    tail = file.read(_END_OF_ZIP)
    at = tail.rfind(b"PK\5\6")
    return at >= 0 and bool(struct.unpack_from("<I", tail, at + 12)[0] <= _LISTED)


def without_packing(path: str) -> str:
    """What a file is called without the ending that says how it's packed."""
    stem, ending = splitext(path)
    return stem if ending.lower() in _PACKED_ENDINGS else path
