"""What is in an LMDB store: which values are images and what these are called, and what the others are.

A process of its own runs this, which has to start quickly: it needs the standard library only, and LMDB's.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from posixpath import splitext
from typing import Final

from blobdir.filenames import IMAGE_NAMES, is_image_name, is_junk
from blobdir.tarwriting.lmdbs import LOOK_BYTES, Address, Store
from blobdir.tarwriting.members import is_image

_EXTENSIONS: Final = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tiff"),
    (b"MM\0*", ".tiff"),
    (b"II+\0", ".tiff"),
    (b"MM\0+", ".tiff"),
    (b"NRRD", ".nrrd"),
)
"""Of the formats that the SDK knows by their names; WebP is another case."""
META: Final = b"meta.json"
_LABEL: Final = b".json"
_JSON: Final = "JSON"
_MOST_BYTES: Final = 1 << 30
"""Of an annotation."""
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
        Where there is no image: names of databases in the store.
    meta : bytes
        What may be a project's ``meta.json``.
    """

    stamp: int
    keys: bytes = b""
    names: bytes = b""
    labels: bytes = b""
    sizes: array[int] = field(default_factory=lambda: array("q"))
    others: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    databases: list[str] = field(default_factory=list)
    meta: bytes = b""

    def other(self, kind: str, key: bytes) -> None:
        """Count what isn't packed."""
        first, count = self.others.get(kind, (key.replace(b"\0", b"\\0"), 0))
        self.others[kind] = first, count + 1


def read_values(address: str) -> Values:
    """Look at all values of a store."""
    keys: list[bytes] = []
    names = bytearray()
    annotations: dict[bytes, bool] = {}  # whether an image has it
    with Store(address) as store:
        found = Values(store.stamp)
        for key, value in store:
            name, kind = _name_of(key, bytes(value[:LOOK_BYTES]))
            if not kind:
                keys.append(key)
                names += os.fsencode(name) + b"\0"
                found.sizes.append(len(value))
            elif kind == _JSON and len(value) <= _MOST_BYTES and key == META:
                found.meta = bytes(value)
            elif kind == _JSON and _may_be_annotation(key, value):
                annotations[key] = False
            else:
                found.other(kind, key)
        if not found.sizes and not Address.of(address).db:
            found.databases = store.databases()
    found.labels = _pair(keys, annotations)
    for key in [key for key, is_used in annotations.items() if not is_used]:
        found.other("annotations that no image uses", key)
    found.keys, found.names = b"".join(key + b"\0" for key in keys), bytes(names)
    return found


def _pair(keys: list[bytes], annotations: dict[bytes, bool]) -> bytes:
    """The key of each image's annotation, or nothing, each followed by a NUL: by its whole key, else by its stem."""
    labels = bytearray()
    for key in keys:
        label = key + _LABEL
        if label not in annotations:
            label = splitext(key)[0] + _LABEL
        if annotations.get(label) is False:
            annotations[label] = True
            labels += label
        labels += b"\0"
    return bytes(labels)


def _may_be_annotation(key: bytes, value: memoryview) -> bool:
    if not key.endswith(_LABEL) or b"\0" in key or len(value) > _MOST_BYTES:
        return False
    text = bytes(value)
    return b'"objects"' in text and b'"size"' in text


def _name_of(key: bytes, head: bytes) -> tuple[str, str]:
    """What the image of a key is called; or of which kind it is, if it's none that can be packed."""
    name = os.fsdecode(key).rpartition("/")[2]
    is_called_so = is_image_name(name)
    if not is_image(head):
        kind = _kind_of(head)
        if not is_called_so or kind not in (_EMPTY, _UNKNOWN):
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
    text = head.decode("utf-8", "ignore")
    if len(text.encode()) < len(head) - 3 or not all(c.isprintable() or c in "\t\r\n" for c in text):  # cut in one
        return _UNKNOWN
    return _JSON if text.lstrip()[:1] in ("{", "[") else "texts"
