"""What is in an LMDB store: which values are images and what these are called, and what the others are.

A process of its own runs this, which has to start quickly: it needs the standard library only, and LMDB's.
"""

from __future__ import annotations

import os
import unicodedata
from array import array
from dataclasses import dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import IMAGE_NAMES, is_image_name, is_junk
from blobdir.tarwriting.lmdbs import LOOK_BYTES, MARK, Store, marked
from blobdir.tarwriting.members import is_image

if TYPE_CHECKING:
    from collections.abc import Container

_BMP: Final = b"BM"
"""Of a text, too: one that begins so, and nothing else in it is binary."""
_EXTENSIONS: Final = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (_BMP, ".bmp"),
    (b"II*\0", ".tiff"),
    (b"MM\0*", ".tiff"),
    (b"II+\0", ".tiff"),
    (b"MM\0+", ".tiff"),
    (b"NRRD", ".nrrd"),
)
"""Of the formats that the SDK knows by their names; WebP is another case."""
META: Final = b"meta.json"
_LABEL: Final = b".json"
_MOST_BYTES: Final = 1 << 30
"""Of an annotation."""
_UNUSED: Final = "annotations that no image uses"
_EMPTY: Final = "empty"
_UNKNOWN: Final = "bytes of no known kind"
HIDDEN: Final = "hidden by their names"


@dataclass(slots=True)
class Values:
    """What a store holds.

    Attributes
    ----------
    stamp : int
        `Store.stamp`.
    keys, names, labels : bytes
        Of the images, each followed by a NUL: their keys, what they are called, and the keys of their annotations,
        empty where there is none.
    sizes : array of int
    others : dict
        Of what isn't packed: the kind -> the first key, and how many there are.
    databases : list of str
        Names of databases in the store, which nobody has looked into.
    meta : bytes or None
        What may be a project's ``meta.json``.
    datasets : list of str or None
        Those of a store that ``blobdir convert`` has written; None: it's somebody else's.
    """

    stamp: int
    keys: bytes = b""
    names: bytes = b""
    labels: bytes = b""
    sizes: array[int] = field(default_factory=lambda: array("q"))
    others: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    databases: list[str] = field(default_factory=list)
    meta: bytes | None = None
    datasets: list[str] | None = None

    def other(self, kind: str, key: bytes) -> None:
        """Count what isn't packed."""
        first, count = self.others.get(kind, (key.replace(b"\0", b"\\0"), 0))
        self.others[kind] = first, count + 1


def read_values(address: str) -> Values:
    """Look at all values of a store."""
    keys: list[bytes] = []
    names = bytearray()
    labels: dict[bytes, str] = {}  # and what they are, if no image uses them
    with Store(address) as store:
        found = Values(store.stamp, databases=store.databases(), datasets=marked(store.get(MARK) or b""))
        for key, value in store:
            name, kind = _name_of(key, bytes(value[:LOOK_BYTES]), is_ours=found.datasets is not None)
            if not kind:
                keys.append(key)
                names += os.fsencode(name) + b"\0"
                found.sizes.append(len(value))
            elif len(value) > _MOST_BYTES:
                found.other(kind, key)
            elif key == META:
                found.meta = bytes(value)
            elif key == MARK and found.datasets is not None:
                continue
            elif key.endswith(_LABEL) and b"\0" not in key:
                labels[key] = _UNUSED if _says_annotation(value) else kind
            else:
                found.other(kind, key)
    own = _pair(keys, labels, by_stem=found.datasets is None)
    used = set(own)
    for key, kind in labels.items():
        if key not in used:
            found.other(kind, key)
    found.keys, found.names, found.labels = _joined(keys), bytes(names), _joined(own)
    return found


def _joined(texts: list[bytes]) -> bytes:
    return b"".join(text + b"\0" for text in texts)


def _pair(keys: list[bytes], labels: Container[bytes], *, by_stem: bool) -> list[bytes]:
    """The key of each image's annotation, or nothing: as in ``ann/``, by its whole key, else by its stem.

    Whatever the value is: whether it's an annotation is asked where the image can be named. Images of one stem have
    one, as for the SDK, but not that of an image that is called so as a whole.
    """
    whole = set(keys) if by_stem else set()
    found: list[bytes] = []
    for key in keys:
        label, stem = key + _LABEL, splitext(key)[0]
        if label not in labels and by_stem and stem not in whole:
            label = stem + _LABEL
        found.append(label if label in labels else b"")
    return found


def _says_annotation(value: memoryview) -> bool:
    text = bytes(value)
    return b'"objects"' in text and b'"size"' in text


def _name_of(key: bytes, head: bytes, *, is_ours: bool) -> tuple[str, str]:
    """What the image of a key is called; or of which kind it is, if it's none that can be packed.

    In a store that `is_ours`, what is called like an image is one of a project, whatever it holds.
    """
    name = os.fsdecode(key).rpartition("/")[2]
    is_called_so = is_image_name(name)
    if not is_image(head) or (not is_called_so and head.startswith(_BMP) and is_text(head)):
        kind = _kind_of(head)
        if not is_called_so or (kind not in (_EMPTY, _UNKNOWN) and not is_ours):
            return "", kind
    if not is_called_so:
        extension = extension_of(head)
        if not extension:
            return "", f"images of a format that Supervisely doesn't know: {IMAGE_NAMES}"
        if name in ("", ".", ".."):
            return "", "images whose keys are no names"
        name += extension
    if b"\0" in key:
        return "", "images whose keys hold NUL bytes, which no name can have"
    if b".." in key.split(b"/"):
        return "", "images whose keys have a component .."
    if is_junk(name) or any(part[:1] == b"." and part != b"." for part in key.split(b"/")):
        return "", HIDDEN
    return name, ""


def extension_of(head: bytes) -> str:
    """How an image is called whose first bytes these are; empty where the SDK has no name for it."""
    if head.startswith(b"RIFF") and head.startswith(b"WEBP", 8):
        return ".webp"
    return next((extension for magic, extension in _EXTENSIONS if head.startswith(magic)), "")


def _kind_of(head: bytes) -> str:
    """What a value is that is no image."""
    if not head:
        return _EMPTY
    if head[0] == 0x80 and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "pickles, which are never unpickled"
    if head.startswith(b"\x93NUMPY"):
        return "NumPy arrays"
    if not is_text(head):
        return _UNKNOWN
    return "JSON" if head.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")[:1] in ("{", "[") else "texts"


def is_text(head: bytes) -> bool:
    """Whether bytes are the beginning of a text in UTF-8, which may be cut off in a character."""
    text = head.decode("utf-8", "ignore")
    if len(text.encode()) < len(head) - 3:
        return False
    return all(c in "\t\r\n" or unicodedata.category(c) not in ("Cc", "Cn") for c in text)
