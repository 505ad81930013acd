"""What a change must know of all folders of a project: its symbolic links, the names that blobs have, its folders.

They are listed once for all of that, and one rule says what it means that one can't be: what it holds isn't known, so
it's an error before anything is changed (`Survey.check_listed`). That goes for a disk that fails, once or always. Only
where this user may not list a folder, all that follows is concluded without it, as if it weren't of the project: so it
was yesterday, and will be tomorrow (``lost+found``). Who needs more, as `compact`, refuses that as well, or says it.

A file that a symbolic link of the project leads to goes from nobody's hand: the link would lead nowhere. `remove` and
the like refuse it (`Provenance.check_not_linked`), a commit of a store lets it be, and `compact` too, and says so; but
for a tar that no dataset uses, which ``--unreferenced`` deletes: there it names the link.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import PackError
from blobdir.lazily import cached_property
from blobdir.packing.names import stems_of
from blobdir.packing.sidefiles import is_side_folder

if TYPE_CHECKING:
    from collections.abc import Collection

    from blobdir.sources import Folder, LocalStorage


class Survey:
    """All folders of a project, as they are when it's made; see `Provenance.survey`. Of ``.blobdir`` only links.

    Parameters
    ----------
    storage : LocalStorage
    datasets : collection of str
        Paths.

    Attributes
    ----------
    links : dict
        Paths of symbolic links -> the real path of what they lead to.
    stems : set of str
        Those of all files that are called like blobs, offsets files or backups of those, see `stems_of`.
    folders : list of Folder
        All but those of images and of their files, which can have a million.
    """

    def __init__(self, storage: LocalStorage, datasets: Collection[str]) -> None:
        self.links: dict[str, str] = {}
        self.stems: set[str] = set()
        self.folders: list[Folder] = []
        self._storage = storage
        self._unlisted: dict[str, OSError] = {}
        self._look({*datasets})

    def check_listed(self) -> None:
        """Refuse to go on where a folder couldn't be listed, unless this user may not list it.

        Raises
        ------
        PackError
        """
        for path, error in self._unlisted.items():
            if not isinstance(error, PermissionError):
                refuse_unlisted(path or self._storage.root, error)

    def links_to(self, path: str) -> list[str]:
        """Symbolic links that lead to a file, itself left out."""
        return sorted(link for link in self._by_target.get(os.path.realpath(self._full(path)), ()) if link != path)

    @cached_property
    def _by_target(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for link, target in self.links.items():
            found.setdefault(target, []).append(link)
        return found

    def _full(self, path: str) -> str:
        return os.path.join(self._storage.root, path)

    def _look(self, datasets: set[str]) -> None:
        todo = [("", False)]
        while todo:
            path, is_linked = todo.pop()
            folder = self._storage.folder(path)
            self.folders.append(folder)
            if folder.error is not None and not is_linked:
                self._note_unlisted(path, folder.error)
            for entry in folder.entries:
                full = layout.join(path, entry.name)
                if full == layout.STATE_DIR:
                    if entry.kind == "directory" and not entry.target:
                        self._look_at_files(full, stems=False)
                    continue
                if entry.target and not is_linked:
                    self._note_link(full)
                if entry.kind != "directory":
                    continue
                if path not in datasets or not (entry.name == layout.ITEMS or is_side_folder(entry.name)):
                    todo.append((full, is_linked or bool(entry.target)))
                elif not entry.target and not is_linked:
                    self._look_at_files(full)
            self.stems |= stems_of(entry.name for entry in folder.entries if entry.kind != "directory")

    def _look_at_files(self, path: str, *, stems: bool = True) -> None:
        """Look at folders of which nothing is remembered but links and stems."""
        todo = [path]
        while todo:
            folder, names = todo.pop(), []
            try:
                with os.scandir(self._full(folder)) as scan:
                    for entry in scan:
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(layout.join(folder, entry.name))
                            continue
                        names.append(entry.name)
                        if entry.is_symlink():
                            self._note_link(layout.join(folder, entry.name))
            except OSError as error:
                self._note_unlisted(folder, error)
            self.stems |= stems_of(names) if stems else set()

    def _note_link(self, path: str) -> None:
        self.links[path] = os.path.realpath(self._full(path))

    def _note_unlisted(self, path: str, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or os.path.lexists(self._full(path)):
            self._unlisted[path] = error


def refuse_unlisted(path: str, error: OSError) -> None:
    """Say that a folder can't be listed, so nothing is changed.

    Raises
    ------
    PackError
    """
    raise PackError(
        f"{path}: can't be listed ({error.strerror or error}), so it isn't known which blobs it needs, or its links; "
        "nothing was changed"
    ) from error
