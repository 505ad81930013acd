"""A folder of something that is being made, as another process is told of it: where it lies, and which one it is."""

from __future__ import annotations

import errno
import os
from typing import Final, NamedTuple

ENTER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
GONE: Final = "was removed, moved away or swapped for something else by another program while it was written to"


class Place(NamedTuple):
    """A folder that was made.

    Attributes
    ----------
    root : str
        What is being made.
    path : str
        Below it; empty: itself.
    device, inode : int
    """

    root: str
    path: str
    device: int
    inode: int

    def open(self) -> int:
        """Its descriptor. Each folder on the way is opened by itself, and none through a symbolic link.

        Raises
        ------
        OSError
            It's another one by now, or a link or a file on the way.
        """
        full = os.path.join(self.root, self.path)
        fd = os.open(self.root, ENTER)
        try:
            for name in filter(None, self.path.split("/")):
                above, fd = fd, os.open(name, ENTER, dir_fd=fd)
                os.close(above)
            found = os.fstat(fd)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise OSError(errno.ESTALE, GONE, full) from error
            raise
        if (found.st_dev, found.st_ino) != (self.device, self.inode):
            os.close(fd)
            raise OSError(errno.ESTALE, GONE, full)
        return fd
