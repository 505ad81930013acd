"""Folders of a project that are symbolic links: what blobs show where they lead to is shown in them as well.

What lies there as files is found by listing. Members of blobs lie in no folder of the disk, so they are added here, and
so is it when the list of the folder behind a link is shorter than the truth.
"""

from __future__ import annotations

import os
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.inside import MAX_LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blobdir.index import EntryTable
    from blobdir.sources import Folder, Storage


class Linked:
    """The folders of a project that are links, and what is shown where they lead to.

    Parameters
    ----------
    folders : mapping
        All folders by path; it may be filled later.
    storage : Storage
        Only on this machine there are links.
    """

    def __init__(self, folders: Mapping[str, Folder], storage: Storage) -> None:
        self._folders, self._storage = folders, storage
        self._members: list[tuple[str, str, EntryTable]] = []

    def note(self, pickle: str, shown: str, rows: EntryTable) -> None:
        """Note that an offsets file shows `rows` in the folder `shown`."""
        self._members.append((pickle, shown, rows))

    def members(self) -> Iterator[tuple[str, EntryTable]]:
        """Members that are shown behind a link as well: the folder's path through the link, and the rows."""
        for pickle, shown, rows in self._members if self._links else ():
            for place, way in self._ways(shown):
                link = way[: len(way) - len(shown) + len(place)]
                if not (pickle.startswith(f"{place}/") and _shows_pickles(link)) and link != layout.BLOB_DIR:
                    yield way, rows

    def spread(self, incomplete: dict[str, list[int]]) -> None:
        """Add to folders whose lists are shorter than the truth the same folders behind links."""
        for folder, numbers in list(incomplete.items()) if self._links else ():
            for _, way in self._ways(folder):
                known = incomplete.setdefault(way, [])
                known += [number for number in numbers if number not in known]

    def _ways(self, path: str) -> Iterator[tuple[str, str]]:
        """Folder that a link leads to and that `path` lies in, or is; and the path through that link."""
        for place in (*layout.above(path), path):
            for link in self._links.get(place, ()):
                if not f"{path}/".startswith(f"{link}/"):
                    yield place, link + path[len(place) :]

    @cached_property
    def _links(self) -> dict[str, list[str]]:
        """Folder -> links that lead to it, by whatever further links."""
        found: dict[str, list[str]] = defaultdict(list)
        if self._storage.directory:
            for folder in self._folders.values():
                for entry in folder.entries:
                    if entry.kind == "directory" and entry.target:
                        path = layout.join(folder.path, entry.name)
                        for place in _stations(self._storage.directory, path):
                            found[place].append(path)
        return found


def _shows_pickles(link: str) -> bool:
    """Whether offsets files behind a link are found through it as well: not where it stands for a folder of files."""
    name = link.rpartition("/")[2]
    return name == layout.PACKED_ANNOTATIONS or not layout.is_item_folder(name)


def _stations(root: str, path: str) -> Iterator[str]:
    """Paths in the project that a link leads to, one after the other."""
    full = f"{root}/{path}"
    for _ in range(MAX_LINKS):
        try:
            target = os.readlink(full)
        except OSError:
            return
        full = os.path.join(os.path.realpath(os.path.dirname(full)), target.rstrip("/"))
        parent, name = os.path.split(full)
        full = os.path.realpath(full) if name in ("", ".", "..") else os.path.join(os.path.realpath(parent), name)
        if not full.startswith(root.rstrip("/") + "/"):
            return
        yield full[len(root.rstrip("/")) + 1 :]
