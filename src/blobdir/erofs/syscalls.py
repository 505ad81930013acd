"""The system calls of mounting, by ctypes.

mount(8) isn't used: it would put the image, but not the blobs, on a loop device, and its options can't hold a path with
a comma, or a long list of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

# include/uapi/asm-generic/unistd.h: the same numbers on every architecture but alpha.
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
# include/uapi/linux/mount.h
_CLOEXEC: Final = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_MOVE_FROM_NOTHING: Final = 4  # MOVE_MOUNT_F_EMPTY_PATH
READ_ONLY, NO_SUID, NO_DEVICES = 1, 2, 4  # MOUNT_ATTR_*
_DETACH, _NO_FOLLOW = 2, 8
_AT_FDCWD: Final = -100
MAX_STRING: Final = 255
"""Bytes of a value that fsconfig(2) takes."""


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(number), *(_c(argument) for argument in arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _c(argument: int | bytes | None) -> ctypes.c_long | ctypes.c_char_p:
    return ctypes.c_long(argument) if isinstance(argument, int) else ctypes.c_char_p(argument)


class FilesystemContext:
    """A filesystem that is being set up, fsopen(2); to be used in a ``with`` statement.

    Raises
    ------
    OSError
        ENODEV: the kernel doesn't know it. EPERM: this process may not mount. What the kernel has said about it is
        added to the message.
    """

    def __init__(self, filesystem: str) -> None:
        self._fd = _call(_FSOPEN, filesystem.encode(), _CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def set(self, key: str, value: str) -> None:
        """Set a parameter."""
        with self._explained():
            _call(_FSCONFIG, self._fd, _SET_STRING, key.encode(), os.fsencode(value), 0)

    def flag(self, key: str) -> None:
        """Set a parameter that has no value."""
        with self._explained():
            _call(_FSCONFIG, self._fd, _SET_FLAG, key.encode(), None, 0)

    def mount(self) -> int:
        """Make the filesystem and a mount of it that is nowhere yet; gives its descriptor."""
        with self._explained():
            _call(_FSCONFIG, self._fd, _CREATE, None, None, 0)
            return _call(_FSMOUNT, self._fd, _CLOEXEC, READ_ONLY | NO_SUID | NO_DEVICES)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = "; ".join(self._messages())
            raise OSError(error.errno, f"{error.strerror} ({said})" if said else error.strerror) from error

    def _messages(self) -> Iterator[str]:
        with suppress(OSError):  # ENODATA: no more
            while message := os.read(self._fd, 4096):
                yield message.decode("utf-8", "replace").strip().removeprefix("e ").removeprefix("erofs: ")


def attach_mount(mount: int, mountpoint: str) -> None:
    """Put a mount into the tree of files, move_mount(2)."""
    try:
        _call(_MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(mountpoint), _MOVE_FROM_NOTHING)
    except OSError as error:
        raise OSError(error.errno, error.strerror, mountpoint) from error


def detach_mount(mountpoint: str, *, lazy: bool = False) -> None:
    """umount2(2), links not followed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(mountpoint), _NO_FOLLOW | (_DETACH if lazy else 0)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), mountpoint)


def knows_filesystem(filesystem: str) -> bool:
    """Whether the kernel knows a filesystem, with its module loaded if need be. False without the right to ask."""
    try:
        with FilesystemContext(filesystem):
            return True
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.EPERM, errno.ENOSYS):
            raise
        return False
