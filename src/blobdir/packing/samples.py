"""Images as samples of WebDataset: what their members are called, and which annotation follows each.

WebDataset puts members that stand together into one sample if their names are the same up to the first dot behind the
folders. So no other dot may be in there (`blobdir.offsets.names.keyed`), and no two images may have one such key.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.filenames import IMAGE_NAMES, is_image_name
from blobdir.offsets.choosing import key_of
from blobdir.offsets.names import MAX_COMPONENT_BYTES, keyed
from blobdir.packing.columns import TextColumn
from blobdir.packing.report import Problem
from blobdir.packing.sidefiles import side_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LABEL: Final = ".json"
NOT_CALLED_SO: Final = f"isn't called like an image ({IMAGE_NAMES})"
TOO_LONG: Final = "would have a longer name in the tar than files can have, since dots in it are %2E there"


class Samples:
    """Names of members, for all images of a dataset.

    Parameters
    ----------
    names : iterable of str
        Of the images; each once.

    Attributes
    ----------
    called : TextColumn
        What the member of each is called. Images that would share a key lie in folders of their extensions: those are
        a part of the key. Offsets don't care for folders of members.
    shared : set of str
        Names of those.
    odd : dict
        Name -> why the image can have no annotation beside it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.called = TextColumn()
        self.odd: dict[str, str] = {}
        self.shared: set[str] = set()
        spelled = {name: self._spelled(name) for name in names}
        times = Counter(key_of(raw) for raw in spelled.values())
        for name, raw in spelled.items():
            is_shared = times[key_of(raw)] > 1
            if is_shared:
                self.shared.add(name)
            self.called.append(os.fsdecode(_extension(raw) + b"/" + raw if is_shared else raw))

    def _spelled(self, name: str) -> bytes:
        raw = os.fsencode(name)
        if not is_image_name(name):
            self.odd[name] = NOT_CALLED_SO
        found = keyed(raw)
        if len(splitext(found.rpartition(b"/")[2])[0]) + len(_LABEL) > MAX_COMPONENT_BYTES:
            self.odd[name] = TOO_LONG
            return hashlib.sha256(raw).hexdigest()[:16].encode() + b"/" + raw  # a key that no other one has
        return found

    def problems(self, dataset: str) -> Iterator[Problem]:
        """What is said of those that have none."""
        for name, why in self.odd.items():
            text = f"{why}, so it has no annotation beside it in the tar, where WebDataset would look"
            yield Problem("no-sample", f"{dataset}/{layout.ITEMS}/{name}", text)


def _extension(name: bytes) -> bytes:
    return splitext(name)[1].removeprefix(b".") or b"-"


def label_of(name: str, exists: Callable[[str], bool]) -> str:
    """The annotation of an image, as the SDK finds it: its name in ``ann/``, or nothing.

    Parameters
    ----------
    name : str
    exists : callable
        Whether there is a file of a name in ``ann/``.
    """
    found = side_files(name, lambda path: exists(path.partition("/")[2]), (layout.ANNOTATIONS,))
    return found[0].path.partition("/")[2] if found else ""
