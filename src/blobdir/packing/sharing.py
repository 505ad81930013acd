"""A blob of one project becomes one of another: a hard link, a symbolic link or a copy of the file that was checked."""

from __future__ import annotations

import errno
import os
import stat as stat_module
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, Self

from blobdir.durable import naming
from blobdir.errors import LinkError, SourceChangedError, UsageError
from blobdir.inside import open_plain

if TYPE_CHECKING:
    from blobdir.sources import LocalStorage, Stat

Sharing = Literal["link", "symlink", "copy", "auto"]
_PIECE: Final = 1 << 30
_READ: Final = 1 << 20
_CANT_COPY: Final = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def share_blob(
    storage: LocalStorage,
    path: str,
    target: str | os.PathLike[str],
    how: Sharing,
    expected: Stat | None = None,
    *,
    dir_fd: int | None = None,
) -> None:
    """Have a blob be at another place too. What is checked is the open file, and that one is linked or copied.

    Parameters
    ----------
    storage : LocalStorage
        Of the project that has it. Unless it follows links, nothing outside the project is taken.
    path : str
        In that project.
    target : path
        Must not exist; its folder must.
    how : {"link", "symlink", "copy", "auto"}
        ``auto``: a hard link where that can be, else a copy.
    expected : Stat, optional
        Size and time that the file had when the offsets were looked at.
    dir_fd : int, optional
        An open folder that `target` is relative to.

    Raises
    ------
    LinkError
        It is outside the project.
    SourceChangedError
        It isn't the one that is expected, or changes meanwhile.
    UsageError
        A hard link can't be made.
    OSError
        It can't be read, or the copy not written.
    """
    source = storage.open(path, expected)
    _check_inside(storage, path, source.fd)
    if how == "symlink":
        _symlink(storage, path, source.fd, target, dir_fd)
    elif how == "copy":
        copy_open(source.fd, target, path, dir_fd=dir_fd)
    else:
        try:
            _link(source.fd, storage, path, target, dir_fd)
        except OSError as error:
            if how == "auto" and not isinstance(error, FileExistsError):
                copy_open(source.fd, target, path, dir_fd=dir_fd)  # to nothing that is there
                return
            is_others = error.errno == errno.EPERM and os.fstat(source.fd).st_uid != os.geteuid()
            advice = (
                "it's another user's file, which the system may let nobody else link; choose --blobs symlink or copy"
                if is_others
                else "choose a place on the same filesystem, or --blobs symlink or copy"
            )
            raise UsageError(
                f"{target}: can't be a hard link to {os.path.join(storage.root, path)} ({error.strerror}); {advice}"
            ) from error


def copy_file(storage: LocalStorage, path: str, target: str | os.PathLike[str], *, dir_fd: int | None = None) -> None:
    """Copy a plain file of a project, as it is now; LinkError where it is outside the project.

    `dir_fd`, if given, is an open folder that `target` is relative to.

    Raises
    ------
    LinkError, SourceChangedError, OSError
    """
    source = storage.open_loose(path)
    _check_inside(storage, path, source.fd)
    copy_open(source.fd, target, path, dir_fd=dir_fd)


class Copying:
    """Copies plain files of a project by `copy_file`; the folder of one stays open for the next. A context manager."""

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self._of, self._folder = "", -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def copy(self, path: str, target: str, *, dir_fd: int) -> int:
        """Copy one; the size of the copy."""
        try:
            fd = self._open(path)
        except OSError:  # which is said there
            copy_file(self._storage, path, target, dir_fd=dir_fd)
            return os.stat(target, dir_fd=dir_fd, follow_symlinks=False).st_size
        try:
            return copy_open(fd, target, path, dir_fd=dir_fd)
        finally:
            os.close(fd)

    def _open(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        if self._folder < 0 or folder != self._of:
            self._leave()
            self._folder, self._of = self._storage.open_folder(folder), folder
        return open_plain(name, follow=self._storage.follow_links, dir_fd=self._folder)

    def _leave(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1


def _check_inside(storage: LocalStorage, path: str, fd: int) -> None:
    """Make sure of the file that is open: where its name leads to can be another one by now."""
    if storage.follow_links:
        return
    try:
        real = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # no /proc here: the storage has looked at the path
        return
    if not real.startswith(storage.root.rstrip("/") + "/"):
        raise LinkError(f"{path}: leads outside the project by a symbolic link; --follow-links takes it nevertheless")


def _link(fd: int, storage: LocalStorage, path: str, target: str | os.PathLike[str], dir_fd: int | None) -> None:
    try:
        # With a folder's descriptor it is linkat(2), which can follow; what the folder is, an absolute path ignores.
        os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, dst_dir_fd=dir_fd, follow_symlinks=True)
    except FileNotFoundError:
        if os.path.exists(f"/proc/self/fd/{fd}"):  # it has been removed meanwhile
            raise
        os.link(os.path.realpath(os.path.join(storage.root, path)), target, dst_dir_fd=dir_fd)
        if not os.path.samestat(os.fstat(fd), os.stat(target, dir_fd=dir_fd, follow_symlinks=False)):
            os.unlink(target, dir_fd=dir_fd)
            raise SourceChangedError(f"{path}: was replaced meanwhile; try again") from None


def _symlink(storage: LocalStorage, path: str, fd: int, target: str | os.PathLike[str], dir_fd: int | None) -> None:
    real = os.path.realpath(os.path.join(storage.root, path))
    os.symlink(real, target, dir_fd=dir_fd)
    with suppress(OSError):
        if os.path.samestat(os.fstat(fd), os.stat(target, dir_fd=dir_fd)):
            return
    os.unlink(target, dir_fd=dir_fd)
    raise SourceChangedError(f"{path}: was replaced meanwhile; try again")


def copy_open(fd: int, target: str | os.PathLike[str], name: str, *, dir_fd: int | None = None) -> int:
    """Copy an open file to a new one with its mode and time; without its bytes where the file system can share them.

    Gives its size.

    Raises
    ------
    FileExistsError
    SourceChangedError
        It changed while it was copied.
    """
    before = os.fstat(fd)
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        with naming(target):
            done = _copy_bytes(fd, out, before.st_size)
        after = os.fstat(fd)
        if done != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceChangedError(f"{name}: changed while it was copied; try again")
        os.fchmod(out, stat_module.S_IMODE(before.st_mode) & 0o777 | 0o200)
        os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))
    except BaseException:
        os.unlink(target, dir_fd=dir_fd)
        raise
    finally:
        os.close(out)
    return done


def _copy_bytes(fd: int, out: int, size: int) -> int:
    done = 0
    while done < size:
        try:
            step = os.copy_file_range(fd, out, min(_PIECE, size - done), done)
        except (AttributeError, OSError) as error:
            if done or (isinstance(error, OSError) and error.errno not in _CANT_COPY):
                raise
            return _copy_by_hand(fd, out, size)
        if not step:
            break
        done += step
    return done if done or not size else _copy_by_hand(fd, out, size)  # some file systems say 0 for "can't"


def _copy_by_hand(fd: int, out: int, size: int) -> int:
    done = 0
    while done < size and (data := os.pread(fd, min(_READ, size - done), done)):
        view = memoryview(data)
        while view:
            view = view[os.write(out, view) :]
        done += len(data)
    return done
