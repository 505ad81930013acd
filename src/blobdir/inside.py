"""Opens what lies in a project: the one place. A project may come from a stranger, and may change at any moment.

Whatever links there are, and whatever is renamed meanwhile, a path leads to something in the folder that it was meant
for, or is an error: the kernel sees to it where it can (openat2, Linux 5.6), elsewhere each component is opened by
itself. What isn't a regular file is never waited for, and a file of which much is read at once has a bound.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

from blobdir.errors import BlobdirError, LinkError, SourceChangedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WHOLE_BYTES: Final = 1 << 30
"""Bytes of a file that is read whole, at the most: of ``meta.json``, an annotation, a checksum file, a journal."""
MAX_LINKS: Final = 40
"""Symbolic links that one path may go through, as in the kernel."""
MOST_WAYS: Final = 16
"""Times that one folder is shown or copied as what links lead to: a few folders of links have millions of paths."""
NO_FILE: Final = "is a device, pipe or socket, and a file belongs there; put the file back, or remove it"
NO_FOLDER: Final = "is a device, pipe or socket, and a folder belongs there; put the folder back, or remove it"
_NO_LINK: Final = frozenset((errno.EINVAL, errno.ENOENT, errno.ENOTDIR))
"""What who asks for a link's target is told where there is none."""
_MAX_HOLES: Final = 64
"""Times that a file may be larger than what it takes on a disk, which compresses it maybe."""
LEAST_BYTES: Final = 64 << 20
"""Bytes that a file may have in any case: some file systems don't say what it takes."""
SMALL_BYTES: Final = 64 << 10
"""Bytes from which on a file is read by itself."""
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY)
_FOLDER: Final = _PATH | os.O_DIRECTORY | os.O_CLOEXEC

_SYS_OPENAT2: Final = 437
_NO_MAGICLINKS, _BENEATH = 0x02, 0x08
TRIES: Final = 64
"""Times that something is looked at again that couldn't be told because something was renamed meanwhile."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _openat2() -> Callable[[int, bytes, int], int] | None:
    """The system call, or None where there is none: it gives -1 and sets errno, as in C."""
    if sys.platform != "linux":
        return None
    try:
        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (AttributeError, OSError):
        return None
    syscall.restype = ctypes.c_long
    syscall.argtypes = (
        ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t,
    )  # fmt: skip

    def call(folder: int, path: bytes, flags: int) -> int:
        how = _How(flags, 0, _BENEATH | _NO_MAGICLINKS)
        return int(syscall(_SYS_OPENAT2, folder, path, ctypes.byref(how), ctypes.sizeof(how)))

    here = os.open("/", _FOLDER)
    try:
        found = call(here, b".", _FOLDER)
    finally:
        os.close(here)
    if found < 0:  # an older kernel, or a container that doesn't let it through
        return None
    os.close(found)
    return call


def open_inside(root: str, path: str, *, folder: bool = False, follow_last: bool = True) -> int:
    """Open a file or folder of a project by its path; gives a descriptor. Pipes and devices aren't waited for.

    Parameters
    ----------
    root : str
        Folder of the project, with all links in it followed. Whatever is above is trusted.
    path : str
        In the project, ``/`` between components; empty for the root itself.
    folder : bool
        Whether only a folder will do.
    follow_last : bool
        Whether a symbolic link at the end is followed; those before it are, if they lead to something inside.

    Raises
    ------
    LinkError
        It leads outside, or in circles.
    OSError
    """
    flags = _FLAGS | (os.O_DIRECTORY if folder else 0) | (0 if follow_last else os.O_NOFOLLOW)
    return _named(root, path, flags)


def open_anywhere(path: str, *, folder: bool = False) -> int:
    """`open_inside` for who may follow links wherever they lead."""
    return os.open(path, _FLAGS | (os.O_DIRECTORY if folder else 0))


def stat_inside(root: str, path: str) -> os.stat_result:
    """Attributes of what is at a path of a project, links inside it followed; see `open_inside`."""
    if _PATH == os.O_RDONLY:  # not Linux: a file may be one that can't be opened
        return _stat_by_parts(root, path)
    fd = _named(root, path, _PATH | os.O_CLOEXEC)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _named(root: str, path: str, flags: int) -> int:
    """`_open`, with the whole path in the error."""
    try:
        return _open(root, path, flags)
    except OSError as error:
        if isinstance(error, BlobdirError):
            raise
        full = f"{root}/{path}" if path else root
        raise OSError(error.errno, os.strerror(error.errno or 0), full) from error


def _open(root: str, path: str, flags: int) -> int:
    raw = os.fsencode(path or ".")
    if b"\0" in raw:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    kernel = _openat2()
    if kernel is None:
        return _open_by_parts(root, path, flags)
    top = os.open(root, _FOLDER)
    try:
        for _ in range(TRIES):
            fd = kernel(top, raw, flags)
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            if code not in (errno.EAGAIN, errno.EINTR):
                break
    finally:
        os.close(top)
    if code in (errno.EXDEV, errno.EAGAIN, errno.EINTR, errno.ELOOP):
        # It leaves the project: for good, or by an absolute link back into it, which the kernel doesn't follow.
        return _open_by_parts(root, path, flags)
    raise OSError(code, os.strerror(code))


def link_target(path: str, *, dir_fd: int | None = None) -> str | None:
    """What a symbolic link says; None where there is none, whatever was there a moment ago.

    Raises
    ------
    OSError
        It can't be looked at.
    """
    try:
        return os.readlink(path, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in _NO_LINK:
            return None
        raise


def real_path(path: str) -> str:
    """A path with every link in it followed, as `os.path.realpath`, which fails where one becomes a file meanwhile."""
    for _ in range(TRIES):
        try:
            return os.path.realpath(path)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    raise was_swapped(path)


def was_swapped(path: str) -> SourceChangedError:
    """What to say of something that is another thing each time it's looked at."""
    return SourceChangedError(f"{path}: was changed again and again while it was being opened; open it again")


def below_root(root: str, target: str) -> str | None:
    """The path in a project by which an absolute one goes on from where it enters the project; None where it doesn't.

    Parameters
    ----------
    root : str
        Folder of the project, with all links in it followed.
    target : str
    """
    top = root.rstrip("/") + "/"
    if f"{target}/".startswith(top):
        return target[len(top) :]
    real, names = "/", target.split("/")
    for i, name in enumerate(names):
        real = real_path(os.path.join(real, name))
        if f"{real}/".startswith(top):
            return "/".join([real[len(top) :], *names[i + 1 :]])
        if not os.path.lexists(real):
            break
    return None


class _Parts:
    """Walks a path component by component. Nothing is followed but by what it says, and from inside.

    Attributes
    ----------
    above : list of int
        Descriptors of the folders from the root to where it stands.
    flags : int
        `os.O_DIRECTORY` where the last component must be a folder, since a slash comes after it.
    """

    def __init__(self, root: str, path: str) -> None:
        self.root = root
        self.path = path
        self.above = [os.open(root, _FOLDER)]
        self.todo = path.split("/")[::-1]
        self.flags = 0
        self._links = self._again = 0

    def close(self) -> None:
        while self.above:
            os.close(self.above.pop())

    def to_last(self) -> str:
        """Go down to the folder that holds the last component; gives its name, ``.`` for the folder itself."""
        while self.todo:
            name = self.todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(self.above) == 1:
                    raise self._outside()
                os.close(self.above.pop())
                continue
            if not any(part not in ("", ".") for part in self.todo):
                self.flags = os.O_DIRECTORY if self.todo else self.flags
                return name
            try:
                self.above.append(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.above[-1]))
            except OSError as error:
                self.follow(name, error)
        return "."

    def follow(self, name: str, error: OSError) -> None:
        """Go on at what a link says; raise `error` where it's none."""
        try:
            target = link_target(name, dir_fd=self.above[-1])
        except OSError:
            raise error from None
        if target is None:
            if error.errno != errno.ELOOP:
                raise error
            self._again += 1  # it was a link a moment ago
            if self._again > TRIES:
                raise was_swapped(self.path) from error
            self.todo.append(name)
            return
        self._links += 1
        if self._links > MAX_LINKS:
            raise LinkError(f"{self.path}: more than {MAX_LINKS} symbolic links; they lead in circles")
        if target.startswith("/"):
            inside = below_root(self.root, target)
            if inside is None:
                raise self._outside()
            target = inside
            while len(self.above) > 1:
                os.close(self.above.pop())
        self.todo.extend(target.split("/")[::-1])

    def _outside(self) -> LinkError:
        return LinkError(
            f"{self.path}: leads outside the project by a symbolic link; open the project with follow_links"
        )


def _open_by_parts(root: str, path: str, flags: int) -> int:
    parts = _Parts(root, path)
    try:
        while True:
            name = parts.to_last()
            if flags & _PATH and _PATH != os.O_RDONLY:  # would give the link itself
                found = os.stat(name, dir_fd=parts.above[-1], follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    parts.follow(name, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
                    continue
            try:
                return os.open(name, flags | parts.flags | os.O_NOFOLLOW, dir_fd=parts.above[-1])
            except OSError as error:
                if flags & os.O_NOFOLLOW:
                    raise
                parts.follow(name, error)
    finally:
        parts.close()


def _stat_by_parts(root: str, path: str) -> os.stat_result:
    parts = _Parts(root, path)
    try:
        while True:
            name = parts.to_last()
            found = os.stat(name, dir_fd=parts.above[-1], follow_symlinks=False)
            if not stat.S_ISLNK(found.st_mode):
                if parts.flags and not stat.S_ISDIR(found.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), f"{root}/{path}")
                return found
            parts.follow(name, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
    finally:
        parts.close()


def open_plain(path: str | bytes | os.PathLike[str], *, follow: bool = True, dir_fd: int | None = None) -> int:
    """Open a regular file of which nobody asks where it lies; gives a descriptor.

    Parameters
    ----------
    path : path
    follow : bool
        Whether a symbolic link is followed.
    dir_fd : int, optional
        As of `os.open`.

    Raises
    ------
    OSError
        It isn't there, or it's a folder, a pipe, a socket or a device.
    """
    fd = os.open(path, _FLAGS | (0 if follow else os.O_NOFOLLOW), dir_fd=dir_fd)
    check_regular(fd, path)
    return fd


def check_regular(fd: int, path: str | bytes | os.PathLike[str]) -> os.stat_result:
    """Attributes of an open file; where it isn't a regular one, it is closed, and that is an error."""
    try:
        found = os.fstat(fd)
    except BaseException:
        os.close(fd)
        raise
    if stat.S_ISREG(found.st_mode):
        return found
    os.close(fd)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


def small_files(
    paths: Sequence[str], open_folder: Callable[[str], int], *, follow: bool, most: int = SMALL_BYTES
) -> Iterator[bytes | None]:
    """Contents of small regular files; None for what is larger, or can't be had like this.

    Parameters
    ----------
    paths : sequence of str
    open_folder : callable
        Gives a descriptor of a folder, once for those of a folder that come together. What it raises isn't caught.
    follow : bool
        Whether a file may be a symbolic link.
    most : int
        Bytes from which on a file isn't small.
    """
    of, folder = "", -1
    try:
        for path in paths:
            head, _, name = path.rpartition("/")
            if folder < 0 or head != of:
                if folder >= 0:
                    os.close(folder)
                    folder = -1
                of, folder = head, open_folder(head)
            try:
                file = open_plain(name, follow=follow, dir_fd=folder)
                try:
                    data = os.read(file, most)
                finally:
                    os.close(file)
            except OSError:
                yield None
            else:
                yield data if len(data) < most else None
    finally:
        if folder >= 0:
            os.close(folder)


def read_whole(
    path: str | os.PathLike[str], *, follow: bool = True, dir_fd: int | None = None, most: int = WHOLE_BYTES
) -> bytes:
    """The content of a file that can't be large; see `open_plain`.

    Raises
    ------
    OSError
        It is larger than `most`, or says so and can't.
    """
    fd = open_plain(path, follow=follow, dir_fd=dir_fd)
    try:
        return read_open(fd, path, most=most)
    finally:
        os.close(fd)


def read_open(fd: int, path: str | os.PathLike[str], *, most: int = WHOLE_BYTES) -> bytes:
    """The content of an open file that can't be large; see `read_whole`."""
    left = check_size(os.fstat(fd), path, most=most)
    parts = []
    while left and (data := os.read(fd, left)):  # one read gives 2 GiB at the most
        parts.append(data)
        left -= len(data)
    return b"".join(parts) if len(parts) != 1 else parts[0]


def check_size(found: os.stat_result, path: str | os.PathLike[str], *, most: int = WHOLE_BYTES) -> int:
    """Size of a file that is going to be in memory: no more than `most`, and than it can have by what it takes."""
    size = found.st_size
    blocks = getattr(found, "st_blocks", size)
    if size > most or size > max(LEAST_BYTES, _MAX_HOLES * 512 * blocks):
        raise OSError(errno.EFBIG, f"Has, or says that it has, {size:,} bytes", os.fspath(path))
    return size
