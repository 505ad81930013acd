"""What a try that was cut off has left, for the next one to go on with: folders, and plain files that have one name.

Whatever else lies there was put there by somebody since: a link (a hard one too, as tools make that look for the same
content twice), a pipe, a socket, a device, a folder in a file's place. It's removed, and what belongs there is made
anew; it's never waited for, and nothing is read or written through it.
"""

from __future__ import annotations

import os
import shutil
import stat

from blobdir.inside import check_regular

_FLAGS = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def remove_odd(path: str | os.PathLike[str], *, dir_fd: int | None = None) -> None:
    """Remove what lies in the place of a file, unless it is one. The path is relative to a folder that is open, if any.

    Raises
    ------
    OSError
        It can't be removed.
    """
    try:
        found = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(path, dir_fd=dir_fd)
    elif not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.unlink(path, dir_fd=dir_fd)


def remove_odd_below(folder: str | os.PathLike[str]) -> None:
    """The same for all that lies in a folder, where folders may lie too."""
    for place, folders, names in os.walk(folder):
        for name in names:
            remove_odd(os.path.join(place, name))
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                os.unlink(os.path.join(place, name))


def open_left(path: str | os.PathLike[str], flags: int, mode: int = 0o666, *, dir_fd: int | None = None) -> int:
    """Open the file that was left, or a new one where there is none; gives a descriptor.

    Parameters
    ----------
    path : path
    flags : int
        As of `os.open`.
    mode : int
        Of a new one.
    dir_fd : int, optional
        An open folder that `path` is relative to.

    Raises
    ------
    OSError
        It can't be opened or made, or what lies in its place can't be removed.
    """
    remove_odd(path, dir_fd=dir_fd)
    fd = os.open(path, flags | _FLAGS, mode, dir_fd=dir_fd)
    check_regular(fd, path)
    return fd
