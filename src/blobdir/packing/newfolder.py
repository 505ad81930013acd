"""Folders that appear whole: made beside their place, synced, renamed. Who makes a project anew uses this.

States on disk, of `DEST` and the work folder ``DEST.packing`` (``.fetching``, ``.subset``):

1. neither;
2. the work folder alone, with ``.blobdir/`` in it: somebody is at it (then it's locked), or was cut off;
3. `DEST` alone, whole and synced. What is left of its ``.blobdir/`` is never shown, and means nothing.

The lock is that of the work folder's own inode: it goes with its process, and a folder that was renamed, or removed and
made anew, meanwhile is noticed by its inode number. Work folders of others are never entered or removed.

Between 2 and 3 all that was made is looked at once more (`blobdir.packing.made`): what another program has removed,
replaced, cut or swapped for a link since, or has put there, keeps 2 from becoming 3, and the work folder stays. What
another program has put there is noted, and nobody goes on, or begins anew, as long as it's there: it would be removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from blobdir.discovery.root import refuse_inside
from blobdir.durable import absolute, in_words, rename_new, sync_filesystem, sync_folder
from blobdir.errors import BlobdirError, BusyError, PackError, UsageError
from blobdir.interrupts import deferred, remember
from blobdir.leftovers import remove_odd, remove_odd_below
from blobdir.locks import close_unlocked
from blobdir.packing.made import FOREIGN, Made, left_foreign, said_of_foreign
from blobdir.projectlock import STATE_DIR
from blobdir.temporary import clean_below

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class NewFolder:
    """A folder that is there when it's whole. A context manager; leaving it without `publish` leaves the work folder.

    Parameters
    ----------
    target : path
        Must not exist.
    suffix : str
        Of the work folder beside it: ``.packing``.
    resume : bool
        Go on with a work folder that somebody has left; without, one that is there is an error.
    again : str
        What to do where something in it was changed by another program: ``--resume makes it again``.

    Attributes
    ----------
    target, work : Path
    state : Path
        A folder in `work` for notes that aren't part of what is made.
    made : Made
        What is in it; all that is written goes through it, or is told to it. Once it's entered.
    missing : callable
        Gives how many bytes are still to be written, for who is told that the disk is full.

    Raises
    ------
    UsageError
        `target` is there, in a project, or has no folder to be in; the work folder is there, or isn't one.
    BusyError
        Another process is making it.
    PackError
        When it's left: a file couldn't be read or written. The message says what stays, and how to go on.
    """

    made: Made

    def __init__(
        self, target: str | os.PathLike[str], suffix: str, *, resume: bool = False, again: str = "try again"
    ) -> None:
        self.target = Path(absolute(target))
        refuse_inside(os.fspath(self.target))
        self.work = self.target.with_name(f"{self.target.name}{suffix}")
        self.state = self.work / STATE_DIR / suffix.removeprefix(".")
        self.missing: Callable[[], int] = lambda: 0
        self._resume, self._again, self._why = resume, again, ""
        self._fd, self._process = -1, os.getpid()

    def check(self) -> None:
        """Raise what entering would, as far as it can be known without doing anything."""
        if os.path.lexists(self.target):
            raise UsageError(f"{self.target}: is there already; choose another, or remove it")
        if not self.target.parent.is_dir():
            raise UsageError(
                f"{self.target.parent}: there is no such folder; make it first: mkdir -p {self.target.parent}"
            )
        if not os.access(self.target.parent, os.W_OK | os.X_OK):
            self._say(PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(self.work)))
        if os.path.lexists(self.work):
            self._open()
            try:
                self._check_left()
            finally:
                self._close()

    def __enter__(self) -> Self:
        if os.path.lexists(self.target):
            raise UsageError(f"{self.target}: is there already; choose another, or remove it")
        made = self._make_work()
        try:
            self._open()
            if not made:
                self._check_left()
                clean_below(self.work)
                remove_odd_below(self.work)
            self.state.mkdir(parents=True, exist_ok=True)
            (self.state / FOREIGN).unlink(missing_ok=True)  # all of it is gone by now
            for note in os.listdir(self.state):  # of those none is a folder
                remove_odd(self.state / note)
            for folder in (self.state.parent, self.work, self.work.parent):  # or nobody knows whose it is
                sync_folder(folder)
            self.made = Made(self.work, self._fd, f"{STATE_DIR}/{self.state.name}", self._again)
        except BaseException as error:
            if made and self._fd >= 0:  # else somebody else has it by now
                shutil.rmtree(self.work, ignore_errors=True)
            elif made:
                with suppress(OSError):
                    os.rmdir(self.work)
            self._close()
            if isinstance(error, OSError):
                self._say(error)
            raise
        return self

    def _make_work(self) -> bool:
        """Make the work folder; whether it wasn't there."""
        try:
            os.mkdir(self.work)
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.target.parent}: there is no such folder; make it first: mkdir -p {self.target.parent}"
            ) from error
        except OSError as error:
            self._say(error)
            raise
        return True

    def _open(self) -> None:
        """Open the work folder, and lock it."""
        try:
            self._process = os.getpid()
            self._fd = os.open(self.work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise UsageError(f"{self.work}: is in the way, and isn't a folder; move it, or remove it") from error
            raise
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here, there = os.fstat(self._fd), os.stat(self.work, follow_symlinks=False)
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                raise BlockingIOError
        except BaseException as error:
            self._close()
            if not isinstance(error, (BlockingIOError, FileNotFoundError)):
                raise
            raise BusyError(
                f"{self.target}: another process is making it, in {self.work}; wait until it's done"
            ) from error

    def _check_left(self) -> None:
        what = self.work.suffix.removeprefix(".")
        made = [folder.is_dir() and not folder.is_symlink() for folder in (self.state.parent, self.state)]
        names = [*os.listdir(self.work), *(os.listdir(self.state.parent) if made[0] else ())]
        if not all(made) and {*names} - ({STATE_DIR} if made[0] else set()):
            raise UsageError(f"{self.work}: is in the way, and isn't what blobdir has left; move it, or remove it")
        if not self._resume:
            raise UsageError(f"{self.work}: is what {what} has left that didn't end; --resume goes on, or remove it")
        if foreign := left_foreign(os.fspath(self.work), os.path.join(STATE_DIR, self.state.name)):
            raise PackError(said_of_foreign(os.fspath(self.work), foreign, self._again))

    def publish(self) -> None:
        """Have all of it reach the disk, and appear at its place.

        Raises
        ------
        UsageError
            Something is there by now. The work folder stays.
        PackError
            It's there and whole, but it isn't known whether its name has reached the disk. Or somebody has removed the
            work folder, and maybe begun again; or something in it isn't as it was made. The work folder stays.
        """
        self._check_in_place()
        sync_filesystem(self.work)
        self._check_in_place()  # that may have taken minutes
        self.made.check()
        with deferred():
            self._check_in_place()
            self._appear()

    def _check_in_place(self) -> None:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._fd), os.lstat(self.work)):
                return
        if os.fstat(self._fd).st_nlink > 0:
            raise PackError(
                f"{self.work}: it, or a folder above it, got another name while it was made; it stays there"
            )
        raise PackError(f"{self.work}: was removed while it was made; whatever is there now was left alone")

    def _appear(self) -> None:
        try:
            rename_new(self.work, self.target)
        except FileExistsError as error:
            raise UsageError(f"{self.target}: is there by now; what was made stays in {self.work}") from error
        try:
            sync_folder(self.target.parent)
            remember(f"{self.target}: is there, and whole")
        except OSError as error:
            why = in_words(error, self.target.parent)
            raise PackError(
                f"{self.target}: is there, and whole, but may be gone if the machine goes down now: that it's there "
                f"couldn't be brought to the disk: {why}",
                errno=error.errno,
            ) from error
        finally:
            shutil.rmtree(self.target / STATE_DIR / self.state.name, ignore_errors=True)
            with suppress(OSError):  # an index lies beside what was made
                os.rmdir(self.target / STATE_DIR)
            self._close()

    def clear(self) -> None:
        """Remove what one has made here that was cut off, where nothing of it is of use."""
        for entry in os.scandir(self.work):
            if entry.name != STATE_DIR:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)

    def discard(self, error: BaseException) -> None:
        """Remove the work folder with all that is in it, but where another program has put something there.

        Why that's done is put in words before: how much room there was is known only as long as it isn't there again.
        """
        if isinstance(error, OSError) and not isinstance(error, BlobdirError):
            self._why = in_words(error, self.target.parent, self.missing())
        if self._fd >= 0 and not self.made.has_foreign:
            shutil.rmtree(self.work, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self._left()
        self._close()
        if isinstance(error, OSError):
            self._say(error, left)

    def _left(self) -> str:
        """What is left where it doesn't come to its end, and where, in words."""
        if os.path.lexists(self.work):
            if self._again.startswith("--resume"):
                return f"what is done stays in {self.work}: --resume goes on"
            return f"what is done stays in {self.work}: the same command makes it anew"
        with suppress(OSError):
            if self._fd >= 0 and os.fstat(self._fd).st_nlink > 0:
                return f"what is done stays in {self.work.name}: it, or a folder above it, has got another name"
        return "nothing was left behind"

    def _say(self, error: OSError, left: str = "") -> None:
        """Raise it in words, if nobody has put it in words before."""
        if isinstance(error, BlobdirError) or not error.strerror:
            return
        what = f"{os.fsdecode(error.filename or self.target)}: "
        what += self._why or in_words(error, self.target.parent, self.missing())
        raise PackError(f"{what}; {left or self._left()}", errno=error.errno) from error

    def _close(self) -> None:
        if hasattr(self, "made"):
            self.made.close()
        if self._fd >= 0:
            close_unlocked(self._fd, self._process)
            self._fd = -1
