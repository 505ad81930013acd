"""Changes of a project that happen or don't: lock, stage, check in full, sync, journal, apply.

Whoever changes a project in place goes through a `Change`. Nothing of the project is touched before `commit`; that
checks everything that can be known (what is in the way, links, rights, other file systems, lengths of names), has what
was staged reach the disk, and only then writes the journal. See `blobdir.packing.journal` for what happens after it,
and `blobdir.packing.newfolder` for projects that are made anew.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from blobdir.discovery import layout
from blobdir.durable import in_words, sync_file, sync_filesystem, sync_folder
from blobdir.errors import BlobdirError, PackError, UsageError
from blobdir.packing.journal import STAGING, UNDO, Folders, Journal, clear, wrong_path
from blobdir.packing.provenance import Provenance
from blobdir.projectlock import JOURNAL, ProjectLock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

SYNC_EACH: Final = 100
"""Files up to which each is brought to the disk by a call of its own."""


class Change:
    """One change of a project: a context manager that holds the project's lock.

    Put new files where `stage` says, name those to be removed with `remove`, then call `commit`. Leaving without that
    changes nothing. A change of somebody else that was cut off is finished, or undone, first.

    Parameters
    ----------
    root : str
        Folder of the project.
    dry_run : bool
        Take no lock, write nothing; `commit` only checks. Nothing can be staged then.

    Raises
    ------
    BusyError
        Somebody else is changing it.
    UsageError
        A change was cut off, and what its journal says can't be; or, of a dry run, a change was cut off.
    """

    def __init__(self, root: str, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._root = Path(root)
        self._state = self._root / layout.STATE_DIR
        self._staging = self._state / STAGING
        self._staged: dict[str, int] = {}
        self._removed: dict[str, None] = {}
        self._folders: dict[str, None] = {}
        self._emptied: dict[str, None] = {}
        self._number = 0
        self._lock: ProjectLock | None = None

    def __enter__(self) -> Self:
        check_place(self._root)
        if self.dry_run:
            if Journal.read(self._state) is not None:
                raise UsageError(f"{self._root}: a change was cut off; any command that changes it finishes that first")
            return self
        self._lock = ProjectLock(os.fspath(self._root))
        try:
            self._recover()
            self._staging.mkdir()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is None:
            return
        decided = (self._state / JOURNAL).exists()
        if not decided:
            with suppress(OSError, UsageError):
                clear(self._state)
        self._lock.release()
        self._lock = None
        if isinstance(error, OSError) and not isinstance(error, BlobdirError) and error.strerror and not decided:
            name = error.filename if isinstance(error.filename, str) else ""
            what = self._root if name.startswith(os.fspath(self._state)) or not name else name
            said = in_words(error, self._state)
            raise PackError(f"{what}: {said}; nothing was changed", errno=error.errno) from error

    def _recover(self) -> None:
        """Do what a process that was killed had begun; forget what it had only prepared."""
        for name in (STAGING, UNDO, JOURNAL):
            path = self._state / name
            if path.is_symlink():
                raise UsageError(f"{path}: is a symbolic link, and nothing of blobdir's is; look at it, and remove it")
        journal = Journal.read(self._state)
        if journal is not None:
            with suppress(PackError):  # it was undone, which is as good
                journal.run(self._root)
            if (self._state / JOURNAL).exists():
                journal.run(self._root)
        clear(self._state)

    # -- what is to happen -----------------------------------------------------------------------------------

    def stage(self, path: str) -> Path:
        """Where to write what shall be at `path` of the project."""
        if self.dry_run:
            raise RuntimeError("a dry run writes nothing")
        if path not in self._staged:
            self._staged[path] = self._next()
        self._removed.pop(path, None)
        return self._staging / str(self._staged[path])

    def rename_staged(self, path: str, new: str) -> None:
        """Have what is staged for one path be at another."""
        self._staged[new] = self._staged.pop(path)

    def forget(self, path: str) -> None:
        """Don't put anything at `path`, whatever was staged for it."""
        if path in self._staged:
            (self._staging / str(self._staged.pop(path))).unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        """Have a file of the project removed."""
        if path not in self._staged:
            self._removed[path] = None

    def make_folder(self, path: str) -> None:
        """Have a folder be there, even if nothing is in it, or one above it is to be removed."""
        self._folders[path] = None

    def forget_folder(self, path: str) -> None:
        """Don't have a folder be there any more, nor those below it."""
        for one in self.made_folders(path):
            del self._folders[one]

    def made_folders(self, path: str) -> list[str]:
        """Folders that are to be there even if nothing is in them: of those below a path, and itself."""
        return [one for one in self._folders if one == path or one.startswith(f"{path}/")]

    def remove_folder(self, path: str) -> None:
        """Have a folder, and those below it, removed where nothing is left in them."""
        self._emptied[path] = None

    def is_staged(self, path: str) -> bool:
        """Whether something is staged for a path."""
        return path in self._staged

    @property
    def staged(self) -> list[str]:
        """Paths of the project that something is staged for."""
        return list(self._staged)

    @property
    def removed(self) -> list[str]:
        """Paths of the project that go."""
        return list(self._removed)

    def _next(self) -> int:
        self._number += 1
        return self._number

    # -- doing it --------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Do it: from the journal on it happens, even if this process doesn't live to see it.

        Raises
        ------
        UsageError
            It can't be done; nothing was changed.
        PackError
            A step of it failed, and all was undone.
        """
        # Blobs and annotations first, pickles last: an image is there when all that belongs to it is.
        journal = Journal(folders=list(self._folders), empty=list(self._emptied))
        with Folders(self._root) as folders:
            check = _Check(folders, os.fspath(self._root))
            for path in sorted((p for p in self._staged if self._is_staged(p)), key=_order):
                there = check.can_put(path, self._removed)
                journal.put.append((self._staged[path], path, there is not None))
                if there is not None and not self.dry_run:
                    take_over(there, self._staging / str(self._staged[path]))
            for path in sorted(self._removed, key=_order, reverse=True):
                if check.can_remove(path):
                    journal.remove.append((self._next(), path))
            for path in (*self._folders, *self._emptied):
                check.can_be_folder(path)
            check.one_kind([path for _, path, _ in journal.put], self._folders)
            journal.made = check.missing([*(path.rpartition("/")[0] for _, path, _ in journal.put), *self._folders])
        if self.dry_run:
            return
        self._sync([number for number, _, _ in journal.put])
        if self._lock is not None:
            self._lock.note()
        try:
            journal.write(self._state)
        except OSError:
            with suppress(FileNotFoundError):  # it may be there, and only not be on the disk yet
                os.unlink(self._state / JOURNAL)
            raise
        journal.run(self._root)

    def _is_staged(self, path: str) -> bool:
        return (self._staging / str(self._staged[path])).exists()

    def _sync(self, numbers: list[int]) -> None:
        """Have what is staged reach the disk, before anything says that it's there."""
        if len(numbers) > SYNC_EACH:  # a call for each of a hundred thousand files takes minutes
            sync_filesystem(self._staging)
        else:
            for number in numbers:
                sync_file(self._staging / str(number))
        for folder in (self._staging, self._state, self._root):
            sync_folder(folder)


class _Check:
    """What speaks against a change, found out before anything of it happens."""

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
        return there

    def _alike(self, removed: Collection[str]) -> dict[str, list[str]]:
        """Files that go, by their paths without case."""
        if self._folded is None:
            self._folded = {}
            for path in removed:
                self._folded.setdefault(path.casefold(), []).append(path)
        return self._folded

    def can_remove(self, path: str) -> bool:
        """Whether something is there to be removed; UsageError where it can't be."""
        there = self._look(path)
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise UsageError(f"{path}: is a folder in {self._root}, and a file was to be removed; nothing was changed")
        return there is not None

    def can_be_folder(self, path: str) -> None:
        """UsageError where no folder can be."""
        there = self._look(path)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            raise UsageError(f"{path}: isn't a folder in {self._root}; nothing was changed")

    def one_kind(self, files: list[str], folders: Iterable[str]) -> None:
        """UsageError where one path is to be a file and a folder."""
        needed = {above for path in files for above in _above(path)} | set(folders)
        for path in files:
            if path in needed:
                raise UsageError(f"{path}: would be a file and a folder; nothing was changed")

    def missing(self, folders: Iterable[str]) -> list[str]:
        """Those of some folders, and of the folders above them, that aren't there, parents first."""
        needed = {path for folder in folders for path in (folder, *_above(folder)) if path}
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


def _above(path: str) -> list[str]:
    """The folders that a path lies in, without the root."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def take_over(old: os.stat_result, new: Path) -> None:
    """Give a file the mode and owner of the one that it replaces, as far as one may."""
    if not stat.S_ISREG(old.st_mode):
        return
    mine = os.stat(new, follow_symlinks=False)
    if mine.st_nlink > 1:  # a file of the project that moves is what it is
        return
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        with suppress(OSError):
            os.chown(new, old.st_uid, old.st_gid, follow_symlinks=False)
    if stat.S_IMODE(mine.st_mode) != stat.S_IMODE(old.st_mode):
        os.chmod(new, stat.S_IMODE(old.st_mode))


def _order(path: str) -> tuple[int, str]:
    return (2 if layout.is_offsets(os.path.basename(path)) else 0 if path.startswith(layout.BLOB_DIR) else 1, path)


def check_place(root: Path) -> None:
    """Make sure that a folder is a project, before anything is left in it.

    Raises
    ------
    UsageError
        There is no such folder.
    NotAProjectError
        It is something else: a dataset's folder, say.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: there is no such folder")
    if not any(os.path.lexists(root / name) for name in (layout.META, layout.BLOB_DIR)):
        Provenance(os.fspath(root))  # says what it is instead


def recover(project: str | os.PathLike[str]) -> bool:
    """Finish a change that was cut off, if there is one, or undo it.

    Returns
    -------
    bool
        Whether there was.
    """
    root = os.path.abspath(project)
    if not os.path.isdir(root):
        raise UsageError(f"{root}: there is no such folder")
    state = Path(root, layout.STATE_DIR)
    if not any(os.path.lexists(state / name) for name in (JOURNAL, STAGING, UNDO)):
        return False
    with Change(root):
        return True
