"""Files and names that reach the disk: written beside and renamed, synced file first, folder then."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from blobdir.descriptors import NONE_LEFT
from blobdir.errors import UsageError
from blobdir.inside import NO_FILE, open_plain
from blobdir.temporary import new_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import BufferedReader

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC


def absolute(path: str | os.PathLike[str]) -> str:
    """A path from the root on. An empty one isn't the folder where one is: it's a variable that wasn't set.

    Raises
    ------
    UsageError
        It's empty.
    """
    text = os.fspath(path)
    if not text:
        raise UsageError("an empty path was given; write . for the folder where you are")
    return os.path.abspath(text)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have errors of the system that name no file name this one: of one that is open, or in a folder that is open."""
    try:
        yield
    except OSError as error:
        named = error.filename
        if error.errno is not None and (named is None or (isinstance(named, str) and not os.path.isabs(named))):
            error.filename, error.filename2 = os.fspath(path), None
        raise


def sync_file(path: str | os.PathLike[str]) -> None:
    """Have the bytes of a file reach the disk.

    Raises
    ------
    OSError
        It can't be read or written, or is no file, but a link, a pipe or a device.
    """
    descriptor = open_plain(path, follow=False)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Have the names in a folder reach the disk."""
    descriptor = os.open(path, _FOLDER)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: str | os.PathLike[str]) -> None:
    """Have everything that was written to the file system of a folder reach the disk.

    One call for a hundred thousand files, which would take minutes one by one.

    Raises
    ------
    OSError
        Something of it could not be written.
    """
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):  # not Linux
        os.sync()
        return
    descriptor = os.open(path, _FOLDER)
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(path))
    finally:
        os.close(descriptor)


def write_at(descriptor: int, data: bytes, position: int, path: str | os.PathLike[str]) -> None:
    """Write all bytes at a place of an open file: a disk that is full takes a part first, and says so next time.

    Raises
    ------
    OSError
        It names `path`.
    """
    view = memoryview(data)
    with naming(path):
        while view:
            done = os.pwrite(descriptor, view, position)
            view, position = view[done:], position + done


def in_words(error: Exception, place: str | os.PathLike[str] = "", missing: int = 0) -> str:
    """Why a file couldn't be written or read, in words: the one place for disks that are full or broken.

    Parameters
    ----------
    error : Exception
        One of blobdir's own says it already.
    place : path
        On the same disk; without, that of the error.
    missing : int
        Bytes that are still to be written, as far as that's known.
    """
    if not isinstance(error, OSError) or error.errno is None or not error.strerror:
        return str(error)
    if error.errno in NONE_LEFT:
        return NONE_LEFT[error.errno]
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        room = [f"{missing:,} bytes are still to be written"] if missing else []
        with suppress(OSError, TypeError, ValueError):
            found = os.statvfs(_existing(place or error.filename))
            room.append(f"{found.f_bavail * found.f_frsize:,} are free")
            if found.f_files and not found.f_favail:
                room = ["it can't have more files"]
        return f"{os.strerror(error.errno)} ({', '.join(room) or 'nobody says how much is free'}); make room"
    if error.errno == errno.EIO:
        return f"{os.strerror(error.errno)}: its disk fails, and the system's log says more"
    return error.strerror


def _existing(path: str | os.PathLike[str]) -> str:
    """The path, or the nearest folder above it that is there."""
    found = os.path.abspath(path)
    while not os.path.lexists(found):
        found = os.path.dirname(found)
    return found


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # not Linux
        return None


def rename_new(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
) -> None:
    """Rename without ever replacing anything, not even an empty folder.

    Parameters
    ----------
    source, target : path
    src_dir_fd, dst_dir_fd : int, optional
        Open folders that they are relative to.

    Raises
    ------
    FileExistsError
        `target` is there.
    """
    rename = _renameat2()
    if rename is not None:
        above, below = (_AT_FDCWD if fd is None else fd for fd in (src_dir_fd, dst_dir_fd))
        sys.audit("os.rename", source, target, above, below)  # as `os.rename` does
        if not rename(above, os.fsencode(source), below, os.fsencode(target), _RENAME_NOREPLACE):
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):  # a file system that can't
            raise OSError(code, os.strerror(code), os.fspath(source), None, os.fspath(target))
    try:
        os.stat(target, dir_fd=dst_dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file for reading; a pipe or a device, which could keep a reader waiting for ever, is an error.

    Raises
    ------
    OSError
    """
    return open(open_plain(path), "rb")


def write_whole(
    path: str | os.PathLike[str], pieces: Iterable[bytes], *, prepare: Callable[[int], None] = lambda _: None
) -> None:
    """Write a file that appears whole or not at all, and is on the disk then.

    One that was there is replaced, and keeps its mode; through a symbolic link, the file it leads to. `prepare` is
    given the open file before it appears, to give it another mode.

    Raises
    ------
    OSError
        It can't be written; or a device, pipe or socket is there, which isn't replaced.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    with suppress(FileNotFoundError):
        mode = os.stat(target).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, f"{NO_FILE[0].upper()}{NO_FILE[1:]}", target)
    with naming(target), new_file(folder) as (temporary, descriptor):
        with open(descriptor, "wb", closefd=False) as file:
            with suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
            prepare(descriptor)
            file.writelines(pieces)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    sync_folder(folder)
