"""Loop devices, by ioctl: block devices that are backed by a file, and go when the last user does."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Final

from blobdir.errors import MountError

CONTROL: Final = "/dev/loop-control"
# include/uapi/linux/loop.h
_GET_FREE: Final = 0x4C82
_CONFIGURE: Final = 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4
_CONFIG: Final = struct.Struct("<II5QIIII64s64s32s2Q8Q")  # struct loop_config, with struct loop_info64 in it
_SECTOR: Final = 512
_TRIES: Final = 50  # somebody else may take a free device before us


class LoopDevice:
    """A read-only loop device over an open file.

    It is freed when this is closed, unless something, such as a mount, uses it then: in that case when that ends.

    Parameters
    ----------
    fd : int
        The file; used through it, whatever becomes of its name. Only whole sectors of 512 bytes can be read.

    Raises
    ------
    MountError
    """

    def __init__(self, fd: int) -> None:
        self.path = ""
        self._fd = -1
        for _ in range(_TRIES):
            if self._configure(fd):
                return
        raise MountError(f"{CONTROL}: other programs took every free loop device; try again")

    def _configure(self, fd: int) -> bool:
        self.path = f"/dev/loop{_free_number()}"
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise MountError(
                f"{self.path}: {error.strerror}: loop devices must be visible; a container needs the host's /dev"
            ) from error
        flags = _READ_ONLY | _AUTOCLEAR
        config = _CONFIG.pack(fd, _SECTOR, 0, 0, 0, 0, 0, 0, 0, 0, flags, b"", b"", b"", 0, 0, *(0,) * 8)
        try:
            fcntl.ioctl(self._fd, _CONFIGURE, config)
        except OSError as error:
            self.close()
            if error.errno == errno.EBUSY:
                return False
            raise MountError(f"{self.path}: can't be set up: {error.strerror}") from error
        return True

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _free_number() -> int:
    try:
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountError(
            f"{CONTROL}: {error.strerror}: the kernel has no loop devices (modprobe loop), or this container doesn't "
            "show them"
        ) from error
    try:
        return fcntl.ioctl(control, _GET_FREE)
    finally:
        os.close(control)
