"""Every error that blobdir raises on purpose.

::

    BlobdirError                                  exit code 1
    ├── NotAProjectError      FileNotFoundError   3   the folder or URL isn't a blob project
    ├── NotFoundError         FileNotFoundError   4   a path that the project doesn't hold
    ├── NotADirectory         NotADirectoryError  4
    ├── IsADirectory          IsADirectoryError   4
    ├── LinkError             PermissionError     4   a symbolic link that leads outside the project, or in circles
    ├── ReadOnlyError         OSError (EROFS)     5   any attempt to write through a read-only face
    ├── DataError             ValueError          6   what is on disk is not what the format allows
    │   ├── OffsetsError                          6   an offsets pickle; `reason` is one word
    │   │   ├── TruncatedOffsetsError  "truncated"
    │   │   ├── CorruptOffsetsError    "corrupt"
    │   │   ├── OffsetsRangeError      "range"
    │   │   ├── OffsetsTypeError       "type"
    │   │   ├── OffsetsNameError       "name"
    │   │   ├── OffsetsConflictError   "conflict"
    │   │   └── UnsafePickleError      "unsafe"
    │   ├── TarError                              6   a tar archive that is damaged or not supported
    │   │   ├── CompressedTarError
    │   │   ├── DamagedTarError
    │   │   └── UnsupportedMemberError
    │   ├── ImageError                            6   an image that can't be decoded
    │   ├── AnnotationError                       6   an annotation or meta.json that isn't JSON
    │   └── IndexFormatError                      6   a stored index that is damaged or of another version
    ├── ReadError             OSError (EIO)       7   bytes that can't be had
    │   ├── ShortReadError                        7   fewer bytes than the offsets promise
    │   ├── SourceChangedError                    7   a file that changed after the project was opened
    │   ├── ConflictError                         7   one name, several contents
    │   └── IncompleteListingError                7   a folder whose list of names couldn't be read in full
    ├── BusyError             OSError             8   a project that another process is changing
    ├── PackError             OSError             7   a project that can't be written in full
    ├── WorkerError           ChildProcessError   7   a process that did a part of the work has died
    ├── MountError            OSError             8   a mount that can't be made, used or taken away
    └── UsageError            ValueError          2   a parameter that makes no sense

Each has a builtin parent (so that programs which know nothing of blobdir handle it), an ``errno`` for the mount
and an ``exit_code`` for the command line. Messages say what, which file and offset, and what to do.
"""

from __future__ import annotations

import errno as _errno
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")


class BlobdirError(Exception):
    """Parent of all errors of this package.

    Attributes
    ----------
    exit_code : int
        Exit status of the command line program.
    code : int
        The ``errno`` that a mount answers with.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[int] = _errno.EIO
    errno: int | None

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.errno = self.code
        for key, value in details.items():
            setattr(self, key, value)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,), self.__dict__


class BlobdirWarning(UserWarning):
    """Something that was noticed, and that costs no byte of data."""


class UsageError(BlobdirError, ValueError):
    """A parameter that makes no sense."""

    exit_code = 2
    code = _errno.EINVAL


class NotAProjectError(BlobdirError, FileNotFoundError):
    """The folder or URL isn't a blob project."""

    exit_code = 3
    code = _errno.ENOENT


class NotFoundError(BlobdirError, FileNotFoundError):
    """A path that the project doesn't hold.

    Attributes
    ----------
    link : str
        Path of the symbolic link that is there, and leads nowhere; empty where there is none.
    """

    exit_code = 4
    code = _errno.ENOENT
    link: str = ""


class NotADirectory(BlobdirError, NotADirectoryError):
    """A path that needs a directory where the project has a file.

    Attributes
    ----------
    link : str
        As of `NotFoundError`.
    """

    exit_code = 4
    code = _errno.ENOTDIR
    link: str = ""


class IsADirectory(BlobdirError, IsADirectoryError):
    """A file operation on a directory."""

    exit_code = 4
    code = _errno.EISDIR


class LinkError(BlobdirError, PermissionError):
    """A symbolic link that leads outside the project, or in circles; of a label, also one that leads nowhere."""

    exit_code = 4
    code = _errno.ELOOP


class ReadOnlyError(BlobdirError, OSError):
    """An attempt to write through a read-only face."""

    exit_code = 5
    code = _errno.EROFS


class DataError(BlobdirError, ValueError):
    """What is on disk is not what the format allows."""

    exit_code = 6


class OffsetsError(DataError):
    """An offsets pickle that can't be read in full.

    Attributes
    ----------
    reason : str
        One word: truncated, corrupt, range, type, name, conflict or unsafe.
    path : str
        The pickle.
    position : int
        Byte at which reading stopped.
    entries_before : int
        Number of entries that were read in full before it.
    """

    reason: ClassVar[str] = "corrupt"
    path: str = ""
    position: int = 0
    entries_before: int = 0


class TruncatedOffsetsError(OffsetsError):
    """The file ends in the middle of a pickle."""

    reason = "truncated"


class CorruptOffsetsError(OffsetsError):
    """The bytes are not a pickle, or not one that any writer of the format makes."""

    reason = "corrupt"


class OffsetsRangeError(OffsetsError):
    """A negative, reversed or impossibly large byte range."""

    reason = "range"


class OffsetsTypeError(OffsetsError):
    """A value of another type than the format has there."""

    reason = "type"


class OffsetsNameError(OffsetsError):
    """A name that can't be a file name."""

    reason = "name"


class OffsetsConflictError(OffsetsError):
    """One name with two different byte ranges."""

    reason = "conflict"


class UnsafePickleError(OffsetsError):
    """A pickle that names something other than a blob image: an attack, or another program's file."""

    reason = "unsafe"
    code = _errno.EPERM


class TarError(DataError):
    """A tar archive that can't serve as a blob.

    Attributes
    ----------
    path : str
        The archive.
    position : int
        Byte at which scanning stopped.
    """

    path: str = ""
    position: int = 0


class CompressedTarError(TarError):
    """A compressed file, whatever its name: byte ranges of it mean nothing."""


class DamagedTarError(TarError):
    """A header or the end of the archive is not as it must be."""


class UnsupportedMemberError(TarError):
    """A member whose data isn't one byte range, such as a sparse file."""


class ImageError(DataError):
    """An image that can't be decoded."""


class AnnotationError(DataError):
    """An annotation or ``meta.json`` that isn't JSON."""


class IndexFormatError(DataError):
    """A stored index that is damaged, or of another version."""


class ReadError(BlobdirError, OSError):
    """Bytes that can't be had."""

    exit_code = 7


class ShortReadError(ReadError):
    """Fewer bytes than the offsets promise: the blob is truncated, or isn't the one they were made for."""


class SourceChangedError(ReadError):
    """A file that was replaced or changed after the project was opened."""


class ConflictError(ReadError):
    """One name in one folder, with several different contents."""


class IncompleteListingError(ReadError):
    """A folder whose list of names couldn't be read in full."""


class MountError(BlobdirError, OSError):
    """A mount that can't be made, used or taken away; the message says what to do."""

    exit_code = 8
    code = _errno.EBUSY


class BusyError(BlobdirError, OSError):
    """A project that another process is changing."""

    exit_code = 8
    code = _errno.EBUSY


class PackError(BlobdirError, OSError):
    """A project that can't be written in full; the message says what stays and how to go on."""

    exit_code = 7


class WorkerError(BlobdirError, ChildProcessError):
    """A process that did a part of the work has died; the message says what it was doing."""

    exit_code = 7


def kept(call: Callable[..., T], *args: Any) -> T | OSError:
    """What a call gives, or its error, to be kept."""
    try:
        return call(*args)
    except OSError as error:
        return to_keep(error)


def nowhere(error: E, link: str, target: str) -> E:
    """An error of a path that isn't there, which says so of the symbolic link that leads to it."""
    if isinstance(error, (NotFoundError, NotADirectory)):
        error.link = link
        error.message = f"{link}: is a symbolic link to {target}: {error.message.partition(': ')[2]}"
    return error


def to_keep(error: E) -> E:
    """An error that is kept as a value: without the calls it came through, which would keep what they had open."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        link = left.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            left += [link.__cause__, link.__context__]
    return error
