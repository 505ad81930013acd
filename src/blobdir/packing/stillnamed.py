"""Whether offsets files still name a blob that is to be deleted: then it isn't, whoever is about to.

One rule for all times: a change is refused by it before it's decided, and who does it, finishes it or undoes it, keeps
such a blob. Datasets can be renamed, copied and moved between these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.discovery.parts import find_blobs
from blobdir.sources import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Collection

    from blobdir.sources import Folder


class StillNamed:
    """The offsets files of a project, wherever they lie, as they are when it's first asked for them.

    Parameters
    ----------
    root : str
        Folder of the project.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._folders: dict[str, Folder] = {}
        self._naming: dict[str, list[str]] = {}  # folder and stem of a blob -> what names it

    def by(self, blob: str, without: Collection[str] = ()) -> str:
        """The first offsets file that names a blob, or a folder that may have such and can't be listed; empty if none.

        Parameters
        ----------
        blob : str
            Path. A second one of its name (``x.TAR`` beside ``x.tar``), which nobody reads, is named by none.
        without : collection of str
            Offsets files that go as well.
        """
        if not self._folders:
            self._look()
        folder, _, name = blob.rpartition("/")
        stem = layout.blob_stem(name)
        listed = self._folders.get(folder)
        if stem is None or (listed is not None and find_blobs(listed)[0].get(stem, blob) != blob):
            return ""
        found = [*self._naming.get(layout.join(folder, stem), ()), *self._naming.get("", ())]
        return next((path for path in sorted(found) if path not in without), "")

    def _look(self) -> None:
        for folder in LocalStorage(self._root).walk(follow_links=False):
            if folder.path.partition("/")[0] == layout.STATE_DIR:
                continue
            self._folders[folder.path] = folder
            if folder.error is not None and may_hold_offsets(folder.path):
                self._naming.setdefault("", []).append(folder.path)
            for entry in folder.entries:
                if entry.kind in ("file", "link") and layout.is_offsets(entry.name):
                    path = layout.join(folder.path, entry.name)
                    self._naming.setdefault(layout.blob_of_offsets(path), []).append(path)


def is_blob(path: str) -> bool:
    """Whether a file of a project is a blob by its place and name."""
    folder, _, name = path.rpartition("/")
    return (folder == layout.BLOB_DIR or bool(layout.labelled_by(folder))) and layout.blob_stem(name) is not None


def may_hold_offsets(folder: str) -> bool:
    """Whether offsets may lie in a folder that can't be listed: not in those of files of images, and blobdir's own."""
    top, *below = folder.split("/")
    is_of_files = any(name != layout.PACKED_ANNOTATIONS and layout.is_item_folder(name) for name in below)
    return top != layout.STATE_DIR and not is_of_files
