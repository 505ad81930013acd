"""What speaks against a change of a project, found out before anything of it happens."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import UsageError
from blobdir.inside import NO_FILE
from blobdir.packing.journalfile import wrong_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from blobdir.packing.folders import Folders


class Check:
    """Looks at one change of a project, path by path.

    Parameters
    ----------
    folders : Folders
        Of the project.
    root : str
        How errors call it.
    """

    def __init__(self, folders: Folders, root: str) -> None:
        self._folders, self._root = folders, root
        self._device = os.fstat(folders.fd("")).st_dev
        self._writable: dict[str, None] = {}
        self._folded: dict[str, list[str]] | None = None

    def can_put(self, path: str, removed: Collection[str] = ()) -> os.stat_result | None:
        """What is replaced, if anything is; UsageError where nothing can be put there.

        `removed` are the files that go: where upper and lower case are the same, one of them can be this very file.
        """
        there = self._look(path)
        if there is not None and there.st_nlink == 1 and path not in removed:
            for one in self._alike(removed).get(path.casefold(), ()):
                other = self._folders.stat(one)
                if other is not None and os.path.samestat(there, other):
                    raise UsageError(
                        f"{one}: is the same file as {path} on this file system, which doesn't tell upper from lower "
                        "case; give it another name first; nothing was changed"
                    )
        if there is not None and not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
            raise UsageError(f"{path}: isn't a file in {self._root}, and one was to be put there; nothing was changed")
        self._can_take(path, there)
        return there

    def _alike(self, removed: Collection[str]) -> dict[str, list[str]]:
        """Files that go, by their paths without case."""
        if self._folded is None:
            self._folded = {}
            for path in removed:
                self._folded.setdefault(path.casefold(), []).append(path)
        return self._folded

    def can_remove(self, path: str) -> os.stat_result | None:
        """What is there to be removed, if anything is; UsageError where it can't be."""
        there = self._look(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise UsageError(f"{path}: is a folder in {self._root}, and a file was to be removed; nothing was changed")
        if there is not None and not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
            raise UsageError(f"{path}: {NO_FILE}; nothing was changed")
        self._can_take(path, there)
        return there

    def _can_take(self, path: str, there: os.stat_result | None) -> None:
        """Raise where a name can't be taken from its file: somebody else's, in a folder where each owns his own."""
        if there is None or os.geteuid() in (0, there.st_uid):
            return
        folder = self._folders.stat(path.rpartition("/")[0]) if "/" in path else self._folders.attributes
        if folder is not None and folder.st_mode & stat.S_ISVTX and folder.st_uid != os.geteuid():
            raise UsageError(
                f"{path}: is another user's, in a folder where only owners may remove files (a sticky one); nothing "
                "was changed"
            )

    def can_be_folder(self, path: str) -> None:
        """UsageError where no folder can be."""
        there = self._look(path)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            raise UsageError(f"{path}: isn't a folder in {self._root}; nothing was changed")

    def one_kind(self, files: list[str], folders: Iterable[str]) -> None:
        """UsageError where one path is to be a file and a folder."""
        needed = {above for path in files for above in layout.above(path)} | set(folders)
        for path in files:
            if path in needed:
                raise UsageError(f"{path}: would be a file and a folder; nothing was changed")

    def missing(self, folders: Iterable[str]) -> list[str]:
        """Those of some folders, and of the folders above them, that aren't there, parents first."""
        needed = {path for folder in folders for path in (folder, *layout.above(folder)) if path}
        return sorted(path for path in needed if self._folders.stat(path) is None)

    def _look(self, path: str) -> os.stat_result | None:
        if why := wrong_path(path):
            raise UsageError(f"{path[:80]!r}: {why} ({self._root}); nothing was changed")
        self._can_write(path.rpartition("/")[0])
        return self._folders.stat(path)

    def _can_write(self, folder: str) -> None:
        """Raise where names in a folder can't be changed: that of the nearest one that is there."""
        if folder in self._writable:
            return
        try:
            fd = self._folders.fd(folder)
        except FileNotFoundError:
            self._can_write(folder.rpartition("/")[0])
            self._writable[folder] = None
            return
        if os.fstat(fd).st_dev != self._device:
            raise UsageError(
                f"{folder}: is on another file system than {self._root}/{layout.STATE_DIR}, so a change of it can't be "
                "all or nothing; nothing was changed"
            )
        if not os.access(f"/proc/self/fd/{fd}", os.W_OK | os.X_OK):
            raise UsageError(f"{folder or self._root}: can't be written; give yourself the right to, and try again")
        self._writable[folder] = None
