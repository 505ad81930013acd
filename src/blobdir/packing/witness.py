"""Files that a change replaces or removes: as they were when it began, or it isn't done.

The lock of a project keeps out those who take it. An editor, or ``cp`` of one label, doesn't: between the moment when
a change begins to read, and the one when it's done, which may be hours in a transaction, a file that it replaces, moves
or removes can be another one. To go on then would lose what was written.

Two things tell. The time of a file's last change (ctime), which nobody can set: by the clock of the project's own
disk, a file that was written, replaced or given its name since the change began has one between then and now. (One that
lies in the future is of a clock that was wrong.) And size and time of its content from the moment when a step first
named it, for disks that don't keep that time. Inodes of files don't tell: there are file systems that number them anew.

Of a folder in which anything comes, is replaced or goes, the inode does tell, as long as the project's own folder keeps
its: one that has got another name takes along what the change is about, so that what it says of a name (removed, moved)
would be of nothing, or of what another folder has by that name.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import SourceChangedError
from blobdir.inside import open_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from io import FileIO
    from pathlib import Path

    from blobdir.packing.folders import Folders

SOON_NS: Final = 60_000_000_000
"""What is written while files are looked at counts as well; what lies further in the future can't be of now."""

Signature = tuple[int, int]
"""Size and time of a file."""


class Witness:
    """Remembers when a change began, and files of the project as they are when it first names them.

    Parameters
    ----------
    root : str
        Folder of the project.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._seen: dict[str, Signature | None] = {}
        self._folders: dict[str, int] = {"": _inode_of(os.path.join(root, ""))}
        self._needed: dict[str, None] = {}
        self._span: tuple[int, int] | None = None

    def begin(self, folder: Path) -> None:
        """Note when the change begins; in `folder` a file is made for a moment, as the disk's own clock."""
        self._span = 2 * (_now_ns(folder),)

    def end(self, folder: Path) -> None:
        """Note that what was written up to now counts."""
        if self._span is not None:
            self._span = self._span[0], _now_ns(folder)

    def note(self, path: str) -> None:
        """Remember what is at a path, or that nothing is; the first time counts."""
        if path in self._seen:
            return
        self.note_folder(path.rpartition("/")[0])
        try:
            self._seen[path] = signature_of(os.lstat(os.path.join(self._root, path)))
        except OSError:  # what is wrong there is found when it's checked
            self._seen[path] = None

    def note_folder(self, path: str, inode: int | None = None) -> None:
        """Remember which folder is at a path, or that none is, and of those above; the first time counts.

        `inode` is the number of the one that was listed, where that is known.
        """
        if path not in self._folders:
            self._folders[path] = _inode_of(os.path.join(self._root, path)) if inode is None else inode
            self.note_folder(path.rpartition("/")[0])

    def need(self, path: str) -> None:
        """Have a file be there, as it's now, when the change is decided, though it isn't touched."""
        self.note(path)
        self._needed[path] = None

    def needed(self, gone: Collection[str]) -> list[str]:
        """What is needed and was there, but for what the change removes."""
        return [path for path in self._needed if path not in gone and self._seen[path] is not None]

    def check_needed(self, gone: Collection[str]) -> None:
        """Make sure that what is needed is there, but for what the change removes.

        Raises
        ------
        SourceChangedError
        """
        for path in self.needed(gone):
            with suppress(OSError):
                if signature_of(os.lstat(os.path.join(self._root, path))) == self._seen[path]:
                    continue
            raise SourceChangedError(
                f"{os.path.join(self._root, path)}: was removed, renamed or written by another program while this "
                "change was prepared, and is needed for it; nothing was changed; try again"
            )

    def check_folders(self, paths: Iterable[str]) -> None:
        """Make sure that folders which were there, and those above them, are the same ones.

        Parameters
        ----------
        paths : iterable of str
            Of folders in which something comes, is replaced or goes.

        Raises
        ------
        SourceChangedError
        """
        if self._folders[""] != _inode_of(os.path.join(self._root, "")):  # the disk numbers them anew
            return
        for path in dict.fromkeys(one for each in paths for one in (*layout.above(each), each) if one):
            seen = self._folders.get(path, -1)
            if seen >= 0 and _inode_of(os.path.join(self._root, path)) != seen:
                raise SourceChangedError(
                    f"{os.path.join(self._root, path)}: was removed, renamed or replaced by another program while this "
                    "change was prepared; nothing was changed; try again"
                )

    def check_there(self, path: str, there: os.stat_result | None) -> None:
        """Make sure that a file that is to be replaced is there still, if it was: its folder may have got another name.

        Raises
        ------
        SourceChangedError
        """
        if there is None and self._seen.get(path) is not None:
            raise SourceChangedError(
                f"{os.path.join(self._root, path)}: was removed, or its folder renamed, by another program while this "
                "change was prepared; nothing was changed; try again"
            )

    def check(self, path: str, there: os.stat_result | None, is_kept: Callable[[], bool]) -> None:
        """Make sure that what is at a path was there when the change began.

        Parameters
        ----------
        path : str
        there : os.stat_result or None
            What is there now; None can't be lost.
        is_kept : callable
            Whether it's staged as it is there now: a file that is moved was given another name by the change itself,
            and what is written into it goes along.

        Raises
        ------
        SourceChangedError
        """
        if there is None:
            return
        if not self._is_of_now(there) and self._seen.get(path, signature := signature_of(there)) == signature:
            return
        if is_kept():
            return
        raise SourceChangedError(
            f"{os.path.join(self._root, path)}: was written or put there by another program, or got other rights or "
            "links, while this change was prepared; nothing was changed; try again"
        )

    def _is_of_now(self, found: os.stat_result) -> bool:
        return self._span is not None and self._span[0] < found.st_ctime_ns <= self._span[1] + SOON_NS

    def touched(self, folders: Iterable[str]) -> bool:
        """Whether something may have come into some folders, or gone from them, since the change began."""
        for folder in folders:
            with suppress(FileNotFoundError, NotADirectoryError):  # nothing can be in what lies in a file
                if self._is_of_now(os.lstat(os.path.join(self._root, folder))):
                    return True
        return False


class Staged:
    """What is staged of a change, to find a file of the project among it.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inodes: set[int] = set()
        self._alike: dict[Signature, list[str]] = {}
        self._digests: dict[Signature, set[bytes]] = {}

    def has(self, folders: Folders, path: str, there: os.stat_result | None) -> bool:
        """Whether a file is staged by another name; or, where links can't be told by their inodes, its content is."""
        if not self._inodes:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    self._inodes.add(found.st_ino)
                    self._alike.setdefault(signature_of(found), []).append(entry.name)
        if there is None or there.st_ino in self._inodes:
            return True
        if not stat.S_ISREG(there.st_mode) or signature_of(there) not in self._alike:
            return False
        fd, name = folders.of(path)
        with open(open_plain(name, follow=False, dir_fd=fd), "rb", buffering=0) as file:
            return _digest(file) in self._contents(signature_of(there))

    def _contents(self, signature: Signature) -> set[bytes]:
        """Digests of the files of one size and time; each is read once."""
        if signature not in self._digests:
            found = set()
            for name in self._alike[signature]:
                with open(open_plain(self._folder / name, follow=False), "rb", buffering=0) as file:
                    found.add(_digest(file))
            self._digests[signature] = found
        return self._digests[signature]


def look(folders: Folders, path: str) -> os.stat_result | None:
    """Attributes of what is at a path now; where disks are far away, only who opens a file is told how it is now."""
    there = folders.stat(path)
    if there is not None and stat.S_ISREG(there.st_mode):
        with suppress(OSError):  # who may remove a file need not be allowed to read it
            fd, name = folders.of(path)
            file = open_plain(name, follow=False, dir_fd=fd)
            try:
                return os.fstat(file)
            finally:
                os.close(file)
    return there


def _inode_of(folder: str) -> int:
    """Number of a folder; -1 where none is, but a link, say."""
    try:
        found = os.lstat(folder)
    except (OSError, ValueError):
        return -1
    return found.st_ino if stat.S_ISDIR(found.st_mode) else -1


def _now_ns(folder: Path) -> int:
    file = folder / "clock"
    with suppress(FileNotFoundError):
        file.unlink()
    file.touch(0o600, exist_ok=False)
    try:
        return file.lstat().st_ctime_ns
    finally:
        file.unlink()


def _digest(file: FileIO) -> bytes:
    return hashlib.file_digest(file, "blake2b").digest()


def signature_of(found: os.stat_result) -> Signature:
    """What tells a version of a file from another one, for changes and their journals."""
    return found.st_size, found.st_mtime_ns
