"""Files beside images that aren't packed: what they are, and what to do with them."""

from __future__ import annotations

import os
import re
from collections import Counter
from posixpath import splitext
from typing import Final

from blobdir.filenames import IMAGE_NAMES
from blobdir.inside import open_plain
from blobdir.labels import FORMATS
from blobdir.tarwriting.members import is_image

_HEAD_BYTES: Final = 64 << 10
_ASKED: Final = 1000
"""Files of one kind of name in one folder that are looked into; of more, the rest is taken for the same."""
_JSON: Final = (
    ("coco", (rb'"images"\s*:\s*\[', rb'"(annotations|categories)"\s*:\s*\[')),
    ("labelme", (rb'"shapes"\s*:\s*\[', rb'"(imagePath|imageData|shape_type)"\s*:')),
    ("createml", (rb'^\s*\[\s*\{', rb'"image(filename)?"\s*:\s*"', rb'"annotations"\s*:\s*\[')),
    ("", (rb'"objects"\s*:\s*\[', rb'"size"\s*:\s*\{', rb'"(height|width)"\s*:')),
)  # fmt: skip
_XML: Final = (
    ("cvat", (rb"<annotations[\s>]", rb"<(image|meta|version|track)[\s/>]")),
    ("voc", (rb"<annotation[\s>]", rb"<(object|filename|bndbox|size)[\s/>]")),
)
_NUMBER: Final = rb"-?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
_YOLO: Final = re.compile(rb"\s*[0-9]+(?:[ \t]+" + _NUMBER + rb"){4,}\s*")
_YAML: Final = (rb"(?m)^\s*names\s*:", rb"(?m)^\s*(train|val|nc|path)\s*:")
_CSV_IMAGE: Final = frozenset({"filename", "file_name", "image", "image_id", "imageid", "image_path", "img", "path"})
_CSV_SIDE: Final = frozenset({"xmin", "x_min", "x1", "left", "bbox", "x", "bbox_x"})
_LINES: Final = 20


def labels_hint(kind: str) -> str:
    """What to do with labels of another format: the one place that says it.

    Parameters
    ----------
    kind : str
        As `recognised` gives it.
    """
    return f"holds labels ({FORMATS[kind].title}): pack with --labels {kind}"


def recognised(path: str) -> str:
    """The format of labels that a file holds, by its content: ``coco``, ``yolo`` …; empty where it's none of those."""
    return _kind_of(*_ends(path), path)


def _kind_of(head: bytes, tail: bytes, path: str) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf")
    begins, extension = text.lstrip()[:1], splitext(path)[1].lower()
    if begins in (b"{", b"["):
        return next((kind for kind, needed in _JSON if kind and _has(text + b"\n" + tail, needed)), "")
    if begins == b"<":
        return next((kind for kind, needed in _XML if _has(text, needed)), "")
    if extension in (".yaml", ".yml"):
        return "yolo" if _has(text, _YAML) else ""
    if len(head) == _HEAD_BYTES:
        text = text[: max(map(text.rfind, (b" ", b"\t", b"\n")))]  # what is cut off is no number
    lines = [line for line in text.split(b"\n")[:_LINES] if line.strip()]
    if lines and all(map(_YOLO.fullmatch, lines)):
        return "yolo"
    if extension in (".csv", ".tsv") and lines:
        columns = {
            column.strip(b" \"'\r").decode("utf-8", "replace").lower() for column in re.split(b"[,;\t]", lines[0])
        }
        return "csv" if columns & _CSV_IMAGE and columns & _CSV_SIDE else ""
    return ""


def _has(text: bytes, needed: tuple[bytes, ...]) -> bool:
    return all(re.search(pattern, text) for pattern in needed)


def _ends(path: str) -> tuple[bytes, bytes]:
    """How a file begins and ends; nothing of one that can't be read, which is said elsewhere."""
    try:
        with open(open_plain(path), "rb") as file:
            head = file.read(_HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            if size <= _HEAD_BYTES:
                return head, b""
            file.seek(max(_HEAD_BYTES, size - _HEAD_BYTES))
            return head, file.read(_HEAD_BYTES)
    except OSError:
        return b"", b""


class Unpacked:
    """Says of the files of one folder why they aren't packed.

    Parameters
    ----------
    folder : str
        On this machine.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._asked: Counter[str] = Counter()
        self._last: dict[str, str] = {}

    def why(self, name: str) -> str:
        """What a file is that isn't named like an image."""
        extension = splitext(name)[1].lower()
        self._asked[extension] += 1
        if self._asked[extension] <= _ASKED or extension not in self._last:
            self._last[extension] = self._look(name, extension)
        return self._last[extension]

    def _look(self, name: str, extension: str) -> str:
        path = os.path.join(self._folder, name)
        head, tail = _ends(path)
        if kind := _kind_of(head, tail, path):
            return labels_hint(kind)
        if head[:1] == b"{" and _has(head, _JSON[-1][1]):
            return (
                "is an annotation as projects have them: these have meta.json beside their datasets, images in img/, "
                "and this in ann/"
            )
        if is_image(head):
            called = f"of images that are called {extension}" if extension else "of images without an extension"
            return f"is an image, and the format knows none {called}: {IMAGE_NAMES}"
        return f"isn't named like an image: {IMAGE_NAMES}"
