"""Folders of a project that are symbolic links: what blobs show where they lead to is shown in them as well.

What lies there as files is found by listing. Members of blobs lie in no folder of the disk, so they are added here, and
so is it when the list of the folder behind a link is shorter than the truth. In the tree such a folder is one like any
other, so a link that goes up from it (`..`) is written so that it leads where it does on the disk.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.inside import MAX_LINKS, below_root, link_target, real_path
from blobdir.lazily import cached_property
from blobdir.temporary import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blobdir.index import EntryTable
    from blobdir.sources import Folder, Storage

_NOWHERE = f"{PREFIX}{'0' * 12}.tmp"
"""A name that no tree shows."""


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
        self._empty: set[str] = set()

    def note(self, pickle: str, shown: str, rows: EntryTable) -> None:
        """Note that an offsets file shows `rows` in the folder `shown`."""
        self._members.append((pickle, shown, rows))

    def members(self) -> Iterator[tuple[str, EntryTable]]:
        """Members that are shown behind a link as well: the folder's path through the link, and the rows."""
        known = {pickle for pickle, _, _ in self._members}
        for pickle, shown, rows in self._members if self._links else ():
            for place, way in self._ways(shown):
                link = way[: len(way) - len(shown) + len(place)]
                is_below = pickle.startswith(f"{place}/")
                if not (is_below and link + pickle[len(place) :] in known):  # else it's found through the link as well
                    yield way, rows

    def behind(self, path: str) -> str:
        """The folder of the project that a folder is, or is behind a link."""
        if not self._as_folders or not any(above in self._as_folders for above in (*layout.above(path), path)):
            return path
        top = self._storage.directory.rstrip("/") + "/"
        real = real_path(top + path)
        return real[len(top) :] if f"{real}/".startswith(top) else path

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

    def note_folder(self, path: str) -> None:
        """Note that a link is shown as a folder though nothing of what is behind it is."""
        self._empty.add(path)

    def target(self, folder: str, target: str) -> str:
        """What a link in `folder` says in the tree, where the links that count as folders are folders."""
        if ".." not in target.split("/") or not self._as_folders:
            return target
        return _Walk(self._storage.directory, self._as_folders).spelled(folder, target)

    @cached_property
    def _as_folders(self) -> set[str]:
        """All links that count as folders."""
        return self._empty | {
            layout.join(folder.path, entry.name)
            for folder in self._folders.values()
            for entry in folder.entries
            if entry.kind == "directory" and entry.target
        }

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


def _stations(root: str, path: str) -> Iterator[str]:
    """Paths in the project that a link leads to, one after the other."""
    full = f"{root}/{path}"
    for _ in range(MAX_LINKS):
        if (target := _target(full)) is None:
            return
        full = os.path.join(real_path(os.path.dirname(full)), target.rstrip("/"))
        parent, name = os.path.split(full)
        full = real_path(full) if name in ("", ".", "..") else os.path.join(real_path(parent), name)
        if not full.startswith(root.rstrip("/") + "/"):
            return
        yield full[len(root.rstrip("/")) + 1 :]


class _Walk:
    """Follows what one link says, on the disk and in the tree at once.

    Parameters
    ----------
    root : str
        Folder of the project.
    as_folders : set of str
        Links that are folders in the tree.
    """

    def __init__(self, root: str, as_folders: set[str]) -> None:
        self._root = root
        self._as_folders = as_folders
        self._links = 0
        self._is_gone = False

    def spelled(self, folder: str, target: str) -> str:
        """What a link in `folder` to `target` says in the tree: the same, unless that would lead elsewhere there."""
        is_absolute = target.startswith("/")
        inside = below_root(self._root, target) if is_absolute else target
        if inside is None:
            return target
        here, names, is_same = "" if is_absolute else folder, inside.split("/"), True
        text = [self._root] if is_absolute else []
        for i, name in enumerate(names):
            is_up = name == ".." and here in self._as_folders
            is_same = is_same and not is_up
            found = self._step(here, name)
            if is_same and (self._is_gone or found is None):
                return target
            if self._is_gone:  # so does it not lead anywhere in the tree
                return "/".join([*text, _NOWHERE, *names[i:]])
            if found is None:
                return "/".join([*([self._on_disk(here)] if name == ".." else text), *names[i:]])
            if is_up:
                text = [f"{self._root}/{found}" if is_absolute else os.path.relpath(f"/{found}", f"/{folder}")]
            else:
                text.append(name)
            here = found
        return target if is_same else "/".join(text)

    def _on_disk(self, here: str) -> str:
        return real_path(f"{self._root}/{here}")

    def _step(self, here: str, name: str) -> str | None:
        """The folder of the tree that a component of a path leads to; None out of the project, or in circles."""
        todo, at = [name], here
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                above = self._above(at)
                if above is None:
                    return None
                at = above
                continue
            below = layout.join(at, name)
            target = None if below in self._as_folders else _target(f"{self._root}/{below}")
            if target is None:
                at = below
                continue
            self._links += 1
            if target.startswith("/"):
                at, target = "", below_root(self._root, target)
            if target is None or self._links > MAX_LINKS:
                return None
            todo += target.split("/")[::-1]
        return at

    def _above(self, here: str) -> str | None:
        """The folder that a folder of the tree lies in on the disk; None out of the project."""
        self._is_gone = self._is_gone or not os.path.isdir(f"{self._root}/{here}")
        if here not in self._as_folders:
            return here.rpartition("/")[0] if here else None
        above = os.path.dirname(self._on_disk(here))
        top = self._root.rstrip("/") + "/"
        return above[len(top) :] if f"{above}/".startswith(top) else None


def _target(full: str) -> str | None:
    """What a link says; None where there is none that can be looked at."""
    try:
        return link_target(full)
    except OSError:
        return None
