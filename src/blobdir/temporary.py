"""What is being written, beside its place: one rule for its names, for whose it is, and for what dead processes leave.

A file or folder ``.blobdir-<12 hexadecimal digits>.tmp`` is locked (``flock``) by who writes it, for as long as that
process lives. So one that can be locked is nobody's: the next command that writes into the same folder removes it.
Readers don't show what has such a name, and nothing that makes a project takes it in, living or dead.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX: Final = ".blobdir-"
_NAME: Final = re.compile(r"\.blobdir-[0-9a-f]{12}\.tmp")
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def is_temporary(name: str) -> bool:
    """Whether a name is that of something that is being written, or was."""
    return name.startswith(PREFIX) and _NAME.fullmatch(name) is not None


def new_name(folder: str | os.PathLike[str]) -> str:
    """A path in a folder that nobody has. It's short: the name of what is written may be as long as a name can be."""
    return os.path.join(folder, f"{PREFIX}{secrets.token_hex(6)}.tmp")


@contextmanager
def new_file(folder: str | os.PathLike[str], mode: int = 0o666) -> Iterator[tuple[str, int]]:
    """A new file to write; gives its path and descriptor. At the end it's gone, if it still has that name.

    Raises
    ------
    OSError
    """
    path, fd = _owned(folder, lambda path: os.open(path, _CREATE, mode))
    try:
        yield path, fd
    finally:
        try:
            with suppress(OSError):
                os.unlink(path)
        finally:
            os.close(fd)


@contextmanager
def new_folder(folder: str | os.PathLike[str], mode: int = 0o755) -> Iterator[str]:
    """A new folder to write into. At the end it's gone, with all that is in it, if it still has that name.

    Raises
    ------
    OSError
    """

    def make(path: str) -> int:
        os.mkdir(path, mode)
        return os.open(path, _OPEN | os.O_DIRECTORY)

    path, fd = _owned(folder, make)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(fd)


@contextmanager
def stepped_aside(path: str | os.PathLike[str]) -> Iterator[str | None]:
    """Give a folder such a name; None where it isn't there. At the end it's gone, unless it has another one by then."""
    aside = new_name(os.path.dirname(path))
    try:
        fd = os.open(path, _OPEN | os.O_DIRECTORY)
    except FileNotFoundError:
        yield None
        return
    try:
        lock(fd)
        os.rename(path, aside)
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        os.close(fd)


def is_owned(path: str | os.PathLike[str]) -> bool:
    """Whether a living process writes something of such a name; also where that can't be known."""
    fd = _taken(path)
    if fd is None:
        return True
    os.close(fd)
    return False


def clean(folder: str | os.PathLike[str]) -> None:
    """Remove what dead processes have left in a folder. What can't be removed stays."""
    with suppress(OSError), os.scandir(folder) as scan:
        for name in [entry.name for entry in scan if is_temporary(entry.name)]:
            discard(os.path.join(folder, name))


def clean_below(folder: str | os.PathLike[str]) -> None:
    """The same for a folder with all that are in it."""
    for place, folders, files in os.walk(folder):
        for name in filter(is_temporary, (*folders, *files)):
            discard(os.path.join(place, name))


def discard(path: str | os.PathLike[str]) -> bool:
    """Remove one such file or folder, if it's nobody's; whether it's gone."""
    fd = _taken(path)
    if fd is None:
        return not os.path.lexists(path)
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _owned(folder: str | os.PathLike[str], make: Callable[[str], int]) -> tuple[str, int]:
    """Make something and lock it. Who cleans up may be faster than the lock: then it's made anew."""
    while True:
        path = new_name(folder)
        fd = make(path)
        try:
            lock(fd)
            found = os.fstat(fd)
            with suppress(FileNotFoundError):
                if os.path.samestat(found, os.lstat(path)):
                    return path, fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def lock(fd: int) -> None:
    """Say that something of such a name is being written, for as long as it's open."""
    with suppress(OSError):  # a file system without locks: there, nothing is ever nobody's
        fcntl.flock(fd, fcntl.LOCK_EX)


def _taken(path: str | os.PathLike[str]) -> int | None:
    """Descriptor of what is nobody's, locked so that nobody else removes it; None where it's somebody's or unknown."""
    try:
        try:
            fd = os.open(path, _OPEN | os.O_RDWR)  # some network file systems lock nothing else
        except (IsADirectoryError, PermissionError):
            fd = os.open(path, _OPEN)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mode = os.fstat(fd).st_mode
        if (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and os.path.samestat(os.fstat(fd), os.lstat(path)):
            return fd
    except OSError:
        pass
    os.close(fd)
    return None
