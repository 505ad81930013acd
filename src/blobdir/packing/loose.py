"""Plain files of a project, for those who change it: what is at a path, and never through a link."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import BlobdirError, PackError
from blobdir.inside import NO_FILE, NO_FOLDER
from blobdir.temporary import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator


def why_unread(root: str, path: str, error: Exception) -> str:
    """Why a file of a project can't be read: of a symbolic link, where it leads.

    Parameters
    ----------
    root, path : str
    error : Exception
        What came of it.
    """
    full = os.path.join(root, path)
    is_ours = isinstance(error, BlobdirError)
    why = (not is_ours and isinstance(error, OSError) and error.strerror) or str(error).removeprefix(f"{path}: ")
    try:
        target = os.readlink(full)
    except OSError:
        return why
    if os.path.isdir(full):
        return f"it's a symbolic link to {target}, which is a folder"
    if isinstance(error, FileNotFoundError):
        return f"it's a symbolic link to {target}, which leads nowhere"
    return why if is_ours and target in why else f"it's a symbolic link to {target}: {why}"


class PlainFiles:
    """Looks at what is at paths of a project. What is neither file, folder nor link is an error where one is meant.

    Parameters
    ----------
    root : str
        With links resolved.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._plain = {""}  # folders that were looked at, and are no links

    def is_file(self, path: str) -> bool:
        """Whether there is a plain file, or a link, at a path; no link on the way to it is followed.

        Raises
        ------
        PackError
            It's a device, pipe or socket; or what is above it is one, or a link.
        """
        return self._mode(path) in (stat.S_IFREG, stat.S_IFLNK)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at a path; no link is followed."""
        return self._mode(path) == stat.S_IFDIR

    def _mode(self, path: str) -> int:
        self.refuse_links(path.rpartition("/")[0])
        try:
            return self.check_kind(path)
        except OSError as error:
            if isinstance(error, BlobdirError):
                raise
            if len(os.fsencode(path.rpartition("/")[2])) > layout.NAME_MAX_BYTES:
                return 0
            raise PackError(f"{path}: can't be looked at: {error.strerror}; nothing was changed") from error

    def check_kind(self, path: str, *, is_folder: bool = False) -> int:
        """Kind of what is at a path, 0 where nothing is; PackError where it's a device, pipe or socket.

        Parameters
        ----------
        path : str
        is_folder : bool
            Whether a folder belongs there; so it does where the path is called like one of the format.
        """
        try:
            mode = stat.S_IFMT(os.lstat(os.path.join(self.root, path)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        if mode not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            what = NO_FOLDER if is_folder or layout.is_folder_of_format(path) else NO_FILE
            raise PackError(f"{path}: {what}; nothing was changed")
        return mode

    def refuse_links(self, folder: str) -> None:
        """Refuse a folder that is a link, or lies below one; and what is no folder, but a device, pipe or socket."""
        if folder in self._plain:
            return
        self.refuse_links(folder.rpartition("/")[0])
        try:
            kind = self.check_kind(folder, is_folder=True)
        except OSError as error:
            if isinstance(error, BlobdirError):
                raise
            kind = 0  # who looks at what is in it says why it can't be
        if kind == stat.S_IFLNK:
            raise PackError(f"{folder}: is a symbolic link, and nothing is changed through one; nothing was changed")
        self._plain.add(folder)

    def files_below(self, path: str) -> Iterator[str]:
        """Paths of all files below a folder, links included.

        Raises
        ------
        PackError
            A folder can't be listed; or one of them isn't a file, but a device, pipe or socket.
        """
        for found, is_file in self.all_below(path):
            if not is_file and not found.startswith(f"{layout.STATE_DIR}/"):
                self.check_kind(found)
            yield found

    def all_below(self, path: str) -> Iterator[tuple[str, bool]]:
        """Path of all below a folder that aren't folders themselves, and whether each is a file or a link.

        Raises
        ------
        PackError
            A folder can't be listed.
        """
        todo = [path]
        while todo:
            folder = todo.pop()
            found: dict[str, bool] = {}
            try:
                with os.scandir(os.path.join(self.root, folder)) as scan:
                    for entry in scan:
                        if is_temporary(entry.name):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(layout.join(folder, entry.name))
                        else:
                            found[entry.name] = entry.is_file(follow_symlinks=False) or entry.is_symlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                full = os.path.join(self.root, folder)
                raise PackError(f"{full}: can't be listed ({error.strerror}); nothing was changed") from error
            yield from ((layout.join(folder, name), is_file) for name, is_file in sorted(found.items()))
