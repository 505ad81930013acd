"""Whether offsets files still name a blob that is to be deleted: then it isn't, whoever is about to.

One rule for all times: a change is refused by it before it's decided, and who does it, finishes it or undoes it, keeps
such a blob. Datasets can be renamed, copied and moved between these.

Symbolic links that lead to such a blob, or to offsets that go with it, are looked for with them, before it's decided:
who looked when the work began, hours ago, doesn't know of those that have come since. What a link leads to by then is
refused (`check_unneeded`), with nothing changed; who begins again finds the link as all others. A link that comes when
it's decided leads nowhere.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.discovery.parts import find_blobs
from blobdir.errors import SourceChangedError
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
        self._links: list[str] = []

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

    def link_to(self, paths: Collection[str], without: Collection[str]) -> tuple[str, str]:
        """A symbolic link that leads to one of some files, and that one; of those that go, none; empty if none does."""
        if not self._folders:
            self._look()
        real = {os.path.realpath(full): path for path in paths if not os.path.islink(full := self._full(path))}
        for link in self._links:
            if link not in without and (path := real.get(os.path.realpath(self._full(link)))) is not None:
                return link, path
        return "", ""

    def _full(self, path: str) -> str:
        return os.path.join(self._root, path)

    def _look(self) -> None:
        for folder in LocalStorage(self._root).walk(follow_links=False):
            self._links += [layout.join(folder.path, entry.name) for entry in folder.entries if entry.target]
            if folder.path.partition("/")[0] == layout.STATE_DIR:
                continue
            self._folders[folder.path] = folder
            if folder.error is not None and may_hold_offsets(folder.path):
                self._naming.setdefault("", []).append(folder.path)
            for entry in folder.entries:
                if entry.kind in ("file", "link") and layout.is_offsets(entry.name):
                    path = layout.join(folder.path, entry.name)
                    self._naming.setdefault(layout.blob_of_offsets(path), []).append(path)


def check_unneeded(root: str, removed: Collection[str], with_links: Collection[str] = ()) -> None:
    """Refuse to delete a blob that other offsets than those which go name by now, or to which a link has come.

    Parameters
    ----------
    root : str
    removed : collection of str
        All that goes.
    with_links : collection of str
        Those of which it was said that links to them lead nowhere then.

    Raises
    ------
    SourceChangedError
    """
    blobs, named = [*filter(is_blob, removed)], StillNamed(root)
    for blob in blobs:
        if pickle := named.by(blob, removed):
            raise SourceChangedError(
                f"{os.path.join(root, pickle)}: was put there by another program, or can't be listed any more, while "
                f"this change was prepared, and names {blob}, which would be deleted; nothing was changed; try again"
            )
    kept = {path for path in removed if path not in with_links and (is_blob(path) or layout.is_offsets(path))}
    link, path = named.link_to(kept, removed) if blobs else ("", "")
    if link:
        raise SourceChangedError(
            f"{os.path.join(root, link)}: is a symbolic link that was made while this change was prepared, and leads "
            f"to {path}, which would be deleted; nothing was changed; try again, or remove the link first"
        )


def is_blob(path: str) -> bool:
    """Whether a file of a project is a blob by its place and name."""
    folder, _, name = path.rpartition("/")
    return (folder == layout.BLOB_DIR or bool(layout.labelled_by(folder))) and layout.blob_stem(name) is not None


def may_hold_offsets(folder: str) -> bool:
    """Whether offsets may lie in a folder that can't be listed: not in those of files of images, and blobdir's own."""
    top, *below = folder.split("/")
    is_of_files = any(name != layout.PACKED_ANNOTATIONS and layout.is_item_folder(name) for name in below)
    return top != layout.STATE_DIR and not is_of_files
