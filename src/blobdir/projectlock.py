"""The lock of a project that may change: one writer, or any number of readers that need it to stay as it is.

A lock of an open file description (``F_OFD_SETLK``): the kernel lets go of it when its process ends, however that
ends, and others can ask whether somebody has it without taking it. Where there is no such thing, ``flock``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import weakref
from contextlib import suppress
from typing import Final

from blobdir.descriptors import none_left, with_room
from blobdir.durable import naming
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
        What is blobdir's is a symbolic link, or something else that it can't be.
    """

    def __init__(self, root: str, *, shared: bool = False, make: bool = True) -> None:
        self._fd = -1
        self._process = os.getpid()
        self._path = os.path.join(root, STATE_DIR, LOCK)
        state = os.path.join(root, STATE_DIR)
        if make:
            with suppress(OSError if shared else FileExistsError):
                make_state_folder(state, root)
        lock = os.path.join(state, LOCK)
        check_own(state, is_folder=True)
        check_own(lock, is_folder=False)
        try:
            with naming(lock):
                self._take(root, lock, shared=shared, make=make)
        except BaseException:
            self.release()
            raise

    def _take(self, root: str, path: str, *, shared: bool, make: bool) -> None:
        try:
            self._fd = _open(path, shared=shared, make=make)
        except OSError as error:
            if shared and error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS):
                return
            raise
        if not _lock(self._fd, fcntl.F_RDLCK if shared else fcntl.F_WRLCK):
            said = (os.pread(self._fd, 100, 0).split() or [b""])[0].decode("ascii", "replace")
            is_read = not shared and _is_held(self._fd, fcntl.F_WRLCK) and not _is_held(self._fd, fcntl.F_RDLCK)
            os.close(self._fd)
            self._fd = -1
            if is_read:  # who reads writes nothing, so nobody knows which process it is
                raise BusyError(f"{root}: somebody copies, checks or reads all of it; try again when that's done")
            holder = f"process {said}" if said else "another process"
            raise BusyError(f"{root}: {holder} is changing it; try again when it's done")
        found = os.stat(root)
        show_like(os.path.dirname(path), found)
        show_like(self._fd, found)  # made by a reader, it's taken by writers later
        if not shared:
            self._say(self._count())

    @property
    def is_mine(self) -> bool:
        """Whether this process has taken it, and not one that it was forked from."""
        return os.getpid() == self._process

    @property
    def is_in_place(self) -> bool:
        """Whether the lock's file is still the one that others ask: not after somebody has removed it."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.lstat(self._path))
        except OSError:
            return False

    def note(self) -> None:
        """Say that the project is going to be changed: who has been reading it meanwhile reads it again."""
        self._say(self._count() + 1)

    def _count(self) -> int:
        known = os.pread(self._fd, 100, 0).split()
        return int(known[1]) if len(known) > 1 and known[1].isdigit() else 0

    def _say(self, count: int) -> None:
        """Written over what is there, so that the count stays on a disk that is full."""
        said = f"{os.getpid()} {count}\n".encode()
        os.pwrite(self._fd, said, 0)
        os.ftruncate(self._fd, len(said))

    def release(self) -> None:
        """Let others have it. Of a process that was forked meanwhile, that stays with who has taken it."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if self.is_mine:
                _lock(fd, fcntl.F_UNLCK)  # a process that was forked meanwhile has the same open file
        finally:
            os.close(fd)


def check_lockable(root: str) -> None:
    """Raise what taking the lock of a project to change it would, where that may not be written.

    Raises
    ------
    PermissionError
    """
    state = os.path.join(root, STATE_DIR)
    lock = os.path.join(state, LOCK)
    wanted = {root: os.W_OK | os.X_OK} if not os.path.lexists(state) else {state: os.W_OK | os.X_OK}
    if os.path.lexists(lock):
        wanted[lock] = os.R_OK | os.W_OK
    for path, how in wanted.items():
        if not os.access(path, how):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def check_own(path: str | os.PathLike[str], *, is_folder: bool) -> None:
    """Refuse what lies where something of blobdir's own belongs, and can't be that: a link, or of another kind.

    Raises
    ------
    UsageError
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # it isn't there, or who needs it says why
        return
    if stat.S_ISLNK(mode):
        what = "is a symbolic link, and nothing of blobdir's is"
    elif stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode):
        return
    else:
        kind = "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "device, pipe or socket"
        what = f"is a {kind}, and a {'folder' if is_folder else 'file'} of blobdir's own belongs there"
    raise UsageError(f"{os.fspath(path)}: {what}; look at it, and remove it")


def make_state_folder(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
    """Make a folder of blobdir's own, for all who may enter the project.

    Raises
    ------
    FileExistsError
    OSError
    """
    os.mkdir(path)
    show_like(path, os.stat(root))


def show_like(place: int | str | os.PathLike[str], root: os.stat_result) -> None:
    """Have something of blobdir's own be as open as the project's folder, whatever the umask: readers look into it.

    Nothing is taken from those who had it before, and nothing is done where it isn't ours to do, nor through a link.
    """
    with suppress(OSError):
        if not isinstance(place, int):
            fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                show_like(fd, root)
            finally:
                os.close(fd)
            return
        mine = os.fstat(place)
        wanted = stat.S_IMODE(root.st_mode) & 0o2777 | 0o700
        if stat.S_ISREG(mine.st_mode) and mine.st_nlink == 1:
            wanted &= 0o666
        elif not stat.S_ISDIR(mine.st_mode):
            return
        for user in (root.st_uid, -1):  # who isn't root may still give it to a group of his own
            if (mine.st_uid if user == -1 else user, root.st_gid) != (mine.st_uid, mine.st_gid):
                with suppress(OSError):
                    os.fchown(place, user, root.st_gid)
                    mine = os.fstat(place)
        if mine.st_gid != root.st_gid:  # what the project's group may do is nothing to another one
            wanted &= ~0o2070
        if wanted & ~mine.st_mode:
            os.fchmod(place, stat.S_IMODE(mine.st_mode) | wanted)


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


def _open_lock(root: str) -> int:
    """Open the lock's file for reading; -1 where that can't be done. OSError where there is no descriptor left."""
    try:
        return with_room(lambda: open_state(root, LOCK))
    except OSError as error:
        if none_left(error):
            raise
        return -1


def changes(root: str) -> tuple[bytes, bool]:
    """What is different after a project was changed, and whether a journal lies there.

    The first is a count of its changes; where ``.blobdir`` can't be looked into, the time when names in it changed.
    """
    state = os.path.join(root, STATE_DIR)
    count = b""
    if (fd := _open_lock(root)) >= 0:
        try:
            with suppress(OSError):
                count = b"".join(os.read(fd, 100).split()[1:2])
                count = b"" if count == b"0" else count  # somebody has had the lock, and changed nothing
        finally:
            os.close(fd)
    if os.path.islink(state):  # none of ours, and nothing is read through it
        return count, False
    try:
        os.lstat(os.path.join(state, JOURNAL))
    except PermissionError:
        with suppress(OSError):
            count = b"%d" % os.lstat(state).st_mtime_ns
    except OSError:
        pass
    else:
        return count, True
    return count, False


class Glance:
    """Whether `changes` would say what it has said, at a third of its price: the lock's file stays open.

    Made before a project is read. A lock's file that is another one by now has a count of its own, which says nothing.

    Parameters
    ----------
    root : str
        Folder of the project.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._path, self._journal = (os.path.join(root, STATE_DIR, name) for name in (LOCK, JOURNAL))
        self._known = b""
        self._fd = _open_lock(root)
        if self._fd >= 0:
            weakref.finalize(self, os.close, self._fd)

    def is_same(self, said: tuple[bytes, bool]) -> bool:
        """Whether it would. A lock that was taken by somebody who changed nothing is no difference."""
        if self._fd < 0:
            return not os.path.lexists(self._path) and changes(self._root) == said
        try:
            if not os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(self._fd)):
                return False
            now = os.pread(self._fd, 100, 0)
        except OSError:
            return changes(self._root) == said
        if now and now == self._known and not os.access(self._journal, os.F_OK):
            return True
        if changes(self._root) != said:
            return False
        if not said[1]:
            self._known = now  # looked at before: what has come since is another one next time
        return True


def is_hidden(root: str) -> bool:
    """Whether a change may be going on, or may have been cut off, and this user isn't allowed to know.

    Without that right, the number of links tells: during a change, ``.blobdir`` has folders in it. Where links of
    folders aren't counted, nobody knows.
    """
    state = os.path.join(root, STATE_DIR)
    try:
        os.lstat(os.path.join(state, JOURNAL))
    except PermissionError:
        with suppress(OSError):
            return os.lstat(state).st_nlink != 2
    except OSError:
        pass
    return False


def is_being_changed(root: str) -> bool:
    """Whether a writer has the lock of a project at this moment; False where that can't be known."""
    fd = _open_lock(root)
    if fd < 0:
        return False
    try:
        return _is_held(fd, fcntl.F_RDLCK)
    finally:
        os.close(fd)


def _is_held(fd: int, kind: int) -> bool:
    """Whether others have a lock that keeps this one from being taken."""
    try:
        answer: bytes = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0))
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
    except (AttributeError, OSError):
        if _flock(fd, _FLOCKS[kind] | fcntl.LOCK_NB):
            _flock(fd, fcntl.LOCK_UN)
            return False
        return True


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
