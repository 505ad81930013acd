"""Files beside images that aren't packed: what they are, and what to do with them."""

from __future__ import annotations

import os
import re
from collections import Counter
from posixpath import splitext
from typing import Final

from blobdir.filenames import IMAGE_NAMES
from blobdir.labels import FORMATS
from blobdir.labels.detecting import format_of
from blobdir.labels.files import head_of
from blobdir.tarwriting.members import is_image

_ASKED: Final = 1000
"""Files of one kind of name in one folder that are looked into; of more, the rest is taken for the same."""
_ANNOTATION: Final = (rb"^\s*(\xef\xbb\xbf)?\{", rb'"objects"\s*:\s*\[', rb'"size"\s*:\s*\{', rb'"(height|width)"\s*:')


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
    return format_of(path, _head(path))


def _head(path: str) -> bytes:
    """`head_of` a file; nothing of one that can't be read, which is said elsewhere."""
    try:
        return head_of(path)
    except OSError:
        return b""


def why_no_image(name: str, head: bytes) -> str:
    """Why a file that isn't named like an image is none of a project's, by its name and first bytes."""
    if not is_image(head):
        return f"isn't named like an image: {IMAGE_NAMES}"
    extension = splitext(name)[1].lower()
    called = f"of images that are called {extension}" if extension else "of images without an extension"
    return f"is an image, and the format knows none {called}: {IMAGE_NAMES}"


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
            self._last[extension] = self._look(name)
        return self._last[extension]

    def _look(self, name: str) -> str:
        path = os.path.join(self._folder, name)
        head = _head(path)
        if kind := format_of(path, head):
            return labels_hint(kind)
        if all(re.search(pattern, head) for pattern in _ANNOTATION):
            return (
                "is an annotation as projects have them: these have meta.json beside their datasets, images in img/, "
                "and this in ann/"
            )
        return why_no_image(name, head)
