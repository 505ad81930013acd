"""What can be seen of a file that nobody reads, whatever it's called: a text, what is packed in it, names in its bytes.

A file is looked at within bounds: of a text the beginning and some places behind it, of what is packed as much. Nothing
is unpacked to a disk, and nothing is run: a pickle is bytes with names in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.bystanders import is_prose
from blobdir.labels.files import END_BYTES, packed_in, sample_in
from blobdir.labels.mentions import OF_A_BOX
from blobdir.labels.numerals import numbers_in
from blobdir.labels.packed import (
    CLOSED,
    EMPTY_ZIP,
    ODD,
    OLD_TABLE,
    PACKED,
    TAR_MAGIC,
    Inside,
    in_tar,
    in_zip,
    is_text,
    unpacked,
    unpacked_head,
)

if TYPE_CHECKING:
    from blobdir.labels.files import LabelFiles

BINARY: Final = (
    *(".mat", ".npz", ".npy", ".pkl", ".pickle", ".parquet", ".arrow", ".feather", ".tfrecord", ".record"),
    *(".h5", ".hdf5", ".xlsx", ".xls", ".ods", ".db", ".sqlite", ".sqlite3"),
)
"""Endings of files in which labels may be, though little of them can be seen."""
_TABLES: Final = (".xlsx", ".ods")
"""Tables that are packed texts: what is seen of them are names, but not which number stands beside which."""
_WIDE: Final = ((re.compile(r"(?:[ -~]\0{3}){4}"), "\0\0\0"), (re.compile(r"(?:[ -~]\0){4}"), "\0"))
"""Texts of four and of two bytes for each character, as NumPy and spreadsheets have them."""
_NUMPY: Final = re.compile(r"\ufffdNUMPY[^\n]{0,200}'descr': '.?([US])(\d{1,6})'[^\n]*\n")
"""How an array of names begins: each is as wide as the widest."""
_PICKLE: Final = "\ufffd\x04", "\ufffd\x03", "\ufffd\x05", "\ufffd\x02"
_LENGTH: Final = re.compile(r"\ufffd+[\s\S]")
"""In a pickle, what says that a text comes, and how long it is."""


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
    inside : Inside
        The files in it; None: there are none.
    limit : str
        What of it wasn't looked at; empty: all was. Where nothing is found, it can't be said that nothing is there.
    """

    text: str = ""
    cuts: int = 0
    is_opaque: bool = False
    packed: str = ""
    inside: Inside | None = None
    limit: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether it's of no kind that may be labels: a film, a program."""
        return not (self.text or self.is_opaque or self.inside or self.limit)


def is_binary(path: str) -> bool:
    """Whether a file is called like one that has bytes in it, and may have labels."""
    return path.lower().endswith((*BINARY, *PACKED))


def look(files: LabelFiles, path: str) -> Seen:
    """See what is in a file."""
    head = files.head(path)
    if packed := packed_in(head):
        return _packed(files, path, head, packed)
    if path.lower().endswith(BINARY):
        return Seen(_names_in(files.sample(path)[0]) if head else "", is_opaque=bool(head))
    if is_text(head):
        return Seen(*files.sample(path))
    if head[TAR_MAGIC] == b"ustar":
        inside = in_tar(lambda: files.open(path))
        return Seen(packed="tar", inside=inside, limit=inside.limit)
    if not head or not is_binary(path) or head.startswith(EMPTY_ZIP):
        return Seen()
    return Seen(is_opaque=True, packed="an archive", limit=CLOSED)


def text_of(path: str, head: bytes) -> str | None:
    """How a file begins as a text, unpacked where it's packed; None: it's bytes."""
    if path.lower().endswith(BINARY):
        return None
    if unpacked := unpacked_head(head, END_BYTES):
        head = unpacked
    return head.decode("utf-8", "replace") if is_text(head) else None


def holds_boxes(path: str, head: bytes) -> bool:
    """Whether what begins so may hold boxes: it has numbers enough and isn't prose, or is bytes."""
    text = text_of(path, head)
    if text is None:
        return bool(head) and is_binary(path)
    return numbers_in(text) >= OF_A_BOX and not is_prose(text)


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
    return ODD.sub("\n", text)


def _packed(files: LabelFiles, path: str, head: bytes, packed: str) -> Seen:
    """What is in a file that is packed; if it can't be unpacked, it's opaque."""
    if head.startswith(b"PK"):
        inside = in_zip(lambda: files.open(path))
        if path.lower().endswith(_TABLES):
            texts = (one.text for _, one in inside.read([name for name in inside.names if name.endswith(".xml")]))
            return Seen("\n".join(texts), is_opaque=True)
        if path.lower().endswith(BINARY):
            return Seen(is_opaque=True)
        return Seen(packed="ZIP", inside=inside, is_opaque=bool(inside.limit) and not inside.names, limit=inside.limit)
    data, limit = _unpacked_of(files, path, head)
    if data[TAR_MAGIC] == b"ustar":
        return Seen(packed=packed, inside=in_tar(lambda: BytesIO(data), limit), limit=limit)
    if is_text(data[:END_BYTES]):
        return Seen(*sample_in(BytesIO(data), len(data)), packed=packed, limit=limit)
    return Seen(is_opaque=True, packed=packed, limit="" if data or head.startswith(OLD_TABLE) else limit)


def _unpacked_of(files: LabelFiles, path: str, head: bytes) -> tuple[bytes, str]:
    """What is packed in a file, up to a bound, and what of it wasn't looked at."""
    try:
        with files.open(path) as file:
            data, limit = unpacked(file, head)
    except OSError:
        data, limit = b"", CLOSED
    return data or unpacked_head(head, END_BYTES), limit


def without_packing(path: str) -> str:
    """What a file is called without the ending that says how it's packed."""
    stem, ending = splitext(path)
    return stem if ending.lower() in PACKED else path
