"""The folder of an index: judged by what is in it, and replaced as a whole.

A folder is written beside its place under the name of something temporary (`blobdir.temporary`), and renamed; what it
replaces steps aside, as ``.NAME.PID.HEX.old``, and is judged once more before any of it is removed: by then it may be
somebody's. Only files that an index has are ever removed there, one by one.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from blobdir.durable import rename_new
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.index.table import COLUMNS
from blobdir.inside import open_plain
from blobdir.temporary import clean, lock, new_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

FORMAT: Final = "blobdir index"
HEADER_FILE: Final = "header.json"
FILES: Final = frozenset((HEADER_FILE, *(f"{column}.npy" for column in COLUMNS)))
"""Names of all files of an index."""
_MARK = re.compile(rb'"format":\s*"%b"' % FORMAT.encode())
_MARK_WITHIN = 4096
_ARRAY = b"\x93NUMPY"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_OLD = re.compile(r"\.\d+\.[0-9a-f]{8}\.old")
_TRIES = 10


def check_place(folder: Path) -> None:
    """Make sure that writing an index removes nothing but an index: that of blobdir, damaged or not, or nothing at all.

    Raises
    ------
    UsageError
        There is something else, or a symbolic link.
    """
    try:
        if why := _strange(None, str(folder)):
            raise UsageError(f"{folder}: {why}")
    except NotADirectoryError as error:
        if not os.path.lexists(folder):  # something above it is no folder: the system's own words say what
            raise
        raise UsageError(f"{folder}: isn't a folder; choose another place for the index") from error


def _strange(parent: int | None, name: str) -> str:
    """Why a folder isn't that of an index; empty where it's one, or holds nothing, or isn't there."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return ""
    except OSError as error:
        if error.errno == errno.ELOOP or _is_link(parent, name):
            return "is a symbolic link; an index isn't written through one: give the folder itself"
        raise
    try:
        names = sorted(os.listdir(fd))
        other = next((n for n in names if n not in FILES or not _is_file(fd, n)), "")
        if not other and names and not _has_header(fd, names):
            other = HEADER_FILE if HEADER_FILE in names else names[0]
    finally:
        os.close(fd)
    return other and (
        f"holds {other}, and isn't the folder of an index, which would be replaced as a whole; give an empty folder, "
        "or one that isn't there yet"
    )


def _is_link(parent: int | None, name: str) -> bool:
    with suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    return False


def _is_file(folder: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return True


def _has_header(folder: int, names: list[str]) -> bool:
    """Whether the header is blobdir's, or so damaged that it's nobody's, and all columns are there."""
    if HEADER_FILE not in names:
        return False
    text = _beginning(folder, HEADER_FILE)
    if _MARK.search(text):
        return True
    if set(names) != FILES or _is_json(text):
        return False
    return all(_beginning(folder, name).startswith(_ARRAY) for name in names if name != HEADER_FILE)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _beginning(folder: int, name: str) -> bytes:
    fd = open_plain(name, follow=False, dir_fd=folder)
    try:
        return os.pread(fd, _MARK_WITHIN, 0)
    finally:
        os.close(fd)


class PartFolder:
    """The folder of an index while it's being written.

    Attributes
    ----------
    header : int
        Descriptor of its ``header.json``, which is empty.
    """

    def __init__(self, folder: int, header: int, mode: int) -> None:
        self._folder = folder
        self._mode = mode
        self.header = header

    def create(self, name: str) -> BinaryIO:
        """Make a file of the index."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return open(os.open(name, flags, self._mode & 0o666, dir_fd=self._folder), "wb")


@contextmanager
def replaced_folder(folder: Path, *, through_link: bool = True, mode: int = 0o755) -> Iterator[PartFolder]:
    """A folder to write the files of an index into, which takes the place of another index when it's whole.

    Parameters
    ----------
    folder : Path
    through_link : bool
        Whether the folder that it's in may be a symbolic link.
    mode : int
        Of the folder.

    Raises
    ------
    UsageError
        Something is there that isn't an index. It is as it was.
    """
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _opened(folder.parent, through_link=through_link) as parent:
        _sweep(parent, folder)
        name, fd, header = _make(parent, mode)
        try:
            yield PartFolder(fd, header, mode)
            os.fsync(header)
            os.fsync(fd)
            _publish(parent, name, folder)
        finally:
            os.close(header)
            os.close(fd)
            _remove(parent, name)
        _sweep(parent, folder)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in a folder of blobdir's own, which must be no link; what killed runs have left of it is removed."""
    with _opened(path.parent, through_link=False) as parent:
        _sweep(parent, path)
        name = new_name("")
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent)
        try:
            lock(fd)
            with open(fd, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(fd)
            os.rename(name, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)


def remove_index(folder: Path) -> bool:
    """Remove the folder of an index from one of blobdir's own, if it is one; whether it's gone."""
    with _opened(folder.parent, through_link=False) as parent:
        return not _strange(parent, folder.name) and _remove(parent, folder.name)


@contextmanager
def _opened(folder: Path, *, through_link: bool) -> Iterator[int]:
    try:
        fd = os.open(folder, _FOLDER & ~os.O_NOFOLLOW if through_link else _FOLDER)
    except OSError as error:
        if not through_link and os.path.islink(folder):
            raise UsageError(
                f"{folder}: is a symbolic link, and nothing of blobdir's is; look at it, and remove it"
            ) from error
        raise
    try:
        yield fd
    finally:
        os.close(fd)


def _make(parent: int, mode: int) -> tuple[str, int, int]:
    """Make the folder to write into, locked: its name, and descriptors of it and of its header."""
    for _ in range(_TRIES):
        part = new_name("")
        os.mkdir(part, mode, dir_fd=parent)
        fd = header = -1
        try:
            fd = os.open(part, _FOLDER, dir_fd=parent)
            lock(fd)
            header = os.open(HEADER_FILE, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE, mode & 0o666, dir_fd=fd)
        except FileNotFoundError:  # another run has swept it away before it was locked
            if fd >= 0:
                os.close(fd)
        except BaseException:
            _remove(parent, part)
            raise
        else:
            return part, fd, header
    raise BlockingIOError(errno.EAGAIN, "is removed again and again while it's made", part)


def _publish(parent: int, part: str, folder: Path) -> None:
    """Rename a folder to its place. What was there, an index as was seen before, steps aside and is judged again.

    Who opens the index in that instant finds none, and builds it in memory.
    """
    aside = f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.old"  # it may be somebody's: no name of a temporary
    moved = False
    with suppress(FileNotFoundError):
        os.rename(folder.name, aside, src_dir_fd=parent, dst_dir_fd=parent)
        moved = True
    try:
        try:
            why = _strange(parent, aside) if moved else ""
        except NotADirectoryError:
            why = "isn't a folder; choose another place for the index"
        if why:
            raise UsageError(f"{folder}: {why}")
        rename_new(part, folder.name, src_dir_fd=parent, dst_dir_fd=parent)
    except FileExistsError:
        if _strange(parent, folder.name):
            raise
        # Another run was quicker, and its index is as good.
    except BaseException:
        if moved:
            with suppress(OSError):
                rename_new(aside, folder.name, src_dir_fd=parent, dst_dir_fd=parent)
        raise
    if moved and not _remove(parent, aside):
        warnings.warn(
            f"{folder.parent / aside}: is what {folder} held, and more than an index; look at it",
            BlobdirWarning,
            stacklevel=2,
        )


def _remove(parent: int | None, name: str) -> bool:
    """Remove the files of an index, the header last, and the folder if nothing else is in it; whether it's gone."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        for file in sorted(FILES, key=lambda file: file == HEADER_FILE):
            with suppress(OSError):
                if _is_file(fd, file):
                    os.unlink(file, dir_fd=fd)
    finally:
        os.close(fd)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:
        return not _exists(parent, name)
    return True


def _exists(parent: int | None, name: str) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=parent, follow_symlinks=False)
        return True
    return False


def _sweep(parent: int, place: Path) -> None:
    """Remove what runs that were killed have left of the index, or file, at a place."""
    clean(place.parent)
    for left in os.listdir(parent):
        if left.startswith(f".{place.name}.") and _OLD.fullmatch(left.removeprefix(f".{place.name}")):
            with suppress(OSError):
                if _exists(parent, place.name) and not _strange(parent, left):
                    _remove(parent, left)
