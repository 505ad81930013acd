"""The lock of a project that may change: one writer, or any number of readers that need it to stay as it is.

A lock of an open file description (``F_OFD_SETLK``): the kernel lets go of it when its process ends, however that
ends, and others can ask whether somebody has it without taking it. Where there is no such thing, ``flock``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import suppress
from typing import Final

from blobdir.errors import BusyError, UsageError
from blobdir.inside import check_regular, open_plain

STATE_DIR: Final = ".blobdir"
"""Folder of a project that holds what is blobdir's own."""
LOCK: Final = "lock"
JOURNAL: Final = "journal.json"
_FLOCK: Final = "hhqqi4x"  # struct flock, with the padding at its end
_FLOCKS: Final = {fcntl.F_RDLCK: fcntl.LOCK_SH, fcntl.F_WRLCK: fcntl.LOCK_EX, fcntl.F_UNLCK: fcntl.LOCK_UN}
_BUSY: Final = (errno.EAGAIN, errno.EACCES)
_UNKNOWN: Final = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


class ProjectLock:
    """The lock of one project, held until `release`.

    Parameters
    ----------
    root : str
        Folder of the project.
    shared : bool
        Whether others may hold it too, if they share it. Where the project can't be written, nothing is locked then,
        if nobody has ever changed it.
    make : bool
        Whether the lock's file is made where there is none; without, nothing is locked then.

    Raises
    ------
    BusyError
        Somebody else has it.
    UsageError
        What is blobdir's is a symbolic link.
    """

    def __init__(self, root: str, *, shared: bool = False, make: bool = True) -> None:
        self._fd = -1
        state = os.path.join(root, STATE_DIR)
        if make:
            with suppress(OSError if shared else FileExistsError):
                os.mkdir(state)
        for path in (state, os.path.join(state, LOCK)):
            if os.path.islink(path):
                raise UsageError(f"{path}: is a symbolic link, and nothing of blobdir's is; look at it, and remove it")
        try:
            self._fd = _open(os.path.join(state, LOCK), shared=shared, make=make)
        except OSError as error:
            if shared and error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS):
                return
            raise
        if not _lock(self._fd, fcntl.F_RDLCK if shared else fcntl.F_WRLCK):
            holder = (os.pread(self._fd, 100, 0).split() or [b"another"])[0].decode("ascii", "replace")
            self.release()
            if shared:
                raise BusyError(f"{root}: process {holder} is changing it; try again when it's done")
            raise BusyError(f"{root}: process {holder} is changing it, or reads all of it; try again when it's done")
        if not shared:
            known = os.pread(self._fd, 100, 0).split()
            count = int(known[1]) if len(known) > 1 and known[1].isdigit() else 0
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()} {count}\n".encode(), 0)

    def note(self) -> None:
        """Say that the project is going to be changed: who has been reading it meanwhile reads it again."""
        known = os.pread(self._fd, 100, 0).split()
        count = int(known[1]) + 1 if len(known) > 1 and known[1].isdigit() else 1
        os.pwrite(self._fd, f"{os.getpid()} {count}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it."""
        if self._fd >= 0:
            _lock(self._fd, fcntl.F_UNLCK)  # a process that was forked meanwhile has the same open file
            os.close(self._fd)
            self._fd = -1


def _open(path: str, *, shared: bool, make: bool) -> int:
    """Open the lock's file, which is made if it can be. All who may write the project must be able to open it."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    if shared:
        with suppress(FileNotFoundError):
            return open_plain(path, follow=False)
    if not make:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    fd = os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
    check_regular(fd, path)
    return fd


_ENTER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def open_state(root: str, name: str) -> int:
    """Open a file of a project's own folder for reading: neither may be a link, which could lead out of the project.

    Raises
    ------
    OSError
    """
    folder = os.open(os.path.join(root, STATE_DIR), _ENTER)
    try:
        return open_plain(name, follow=False, dir_fd=folder)
    finally:
        os.close(folder)


def changes(root: str) -> tuple[bytes, bool]:
    """What is different after a project was changed: a count of its changes, and whether a journal lies there."""
    state = os.path.join(root, STATE_DIR)
    try:
        with open(open_state(root, LOCK), "rb") as file:
            count = (file.read(100).split() or [b""])[1:]
    except OSError:
        count = []
    return b" ".join(count), os.path.lexists(os.path.join(state, JOURNAL)) and not os.path.islink(state)


def is_being_changed(root: str) -> bool:
    """Whether a writer has the lock of a project at this moment; False where that can't be known."""
    try:
        fd = open_state(root, LOCK)
    except OSError:
        return False
    try:
        asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        answer: bytes = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
    except (AttributeError, OSError):
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0))
        return True
    except AttributeError:  # not Linux
        return _flock(fd, _FLOCKS[kind])
    except OSError as error:
        if error.errno in _UNKNOWN:
            return _flock(fd, _FLOCKS[kind])
        if error.errno in _BUSY:
            return False
        raise


def _flock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
