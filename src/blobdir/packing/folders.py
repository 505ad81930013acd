"""Directories of a project, opened one by one from its root, never through a symbolic link, and so many at the most."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from blobdir.discovery import layout
from blobdir.durable import sync_filesystem
from blobdir.errors import BlobdirError, NotFoundError, UsageError
from blobdir.projectlock import show_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

OPEN: Final = 32
"""Directories that are open at a time, besides the root: far fewer than a process may have."""
SYNC_EACH: Final = 100
"""Files or directories up to which each is brought to the disk by a call of its own."""
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def about(path: str) -> Iterator[None]:
    """Have an error of the system name the path in the project that was dealt with: it names a number, or nothing."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, BlobdirError) and error.errno is not None:
            error.filename, error.filename2 = path, None
        raise


class Folders:
    """Directories of a project. A context manager that closes them.

    Parameters
    ----------
    root : path
        Of the project.
    where : callable, optional
        Where something is that had a path once; None where it's nowhere any more.
    may_make : callable, optional
        Whether a directory that isn't there may be made.

    Attributes
    ----------
    root : str
    made : list of str
        Those that were made.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        where: Callable[[str], str | None] | None = None,
        may_make: Callable[[str], bool] | None = None,
    ) -> None:
        self.root = os.fspath(root)
        self._where, self._may_make = where, may_make
        self._top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.attributes = os.fstat(self._top)
        self._own: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._entered: dict[str, None] = {}
        self.made: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in (self._top, *self._own.values(), *self._open.values()):
            os.close(fd)
        self._top, self._own, self._open = -1, {}, {}

    def fd(self, path: str, *, make: bool = False) -> int:
        """Descriptor of a directory, to be used before another one is asked for: it may be closed then.

        Raises
        ------
        UsageError
            A component is a link, or a file.
        FileNotFoundError
            It isn't there, and `make` isn't set.
        NotFoundError
            It's nowhere any more, or may not be made.
        """
        return self._fd(self._now(path), make=make)

    def where(self, path: str) -> str | None:
        """Where something is now, or belongs; None where its directory is nowhere any more."""
        return self._where(path) if path and self._where is not None else path

    def _now(self, path: str) -> str:
        now = self.where(path)
        if now is None:
            raise NotFoundError(f"{path}: isn't in the project any more, or another one is called so")
        return now

    def _fd(self, path: str, *, make: bool) -> int:
        if not path:
            return self._top
        if path in self._open:
            self._open[path] = self._open.pop(path)  # the last one that was used
            return self._open[path]
        parent, _, name = path.rpartition("/")
        above = self._fd(parent, make=make)
        try:
            fd = self._enter(above, name, path, make=make)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise UsageError(
                    f"{path}: is a symbolic link or no folder, and something was to be put below it; nothing is "
                    f"written through a link in {self.root}"
                ) from error
            raise
        self._open[path] = fd
        self._entered[path] = None
        if len(self._open) > OPEN:
            oldest = next(iter(self._open))
            os.close(self._open.pop(oldest))
        return fd

    def _enter(self, above: int, name: str, path: str, *, make: bool) -> int:
        with about(path):
            try:
                return os.open(name, FOLDER, dir_fd=above)
            except FileNotFoundError as error:
                if not make:
                    raise
                is_own = path.startswith(f"{layout.STATE_DIR}/")
                if self._may_make is not None and not is_own and not self._may_make(path):
                    raise NotFoundError(f"{path}: isn't there any more, so nothing can be put there") from error
            os.mkdir(name, dir_fd=above)
            self.made.append(path)
            fd = os.open(name, FOLDER, dir_fd=above)
        show_like(fd, self.attributes)
        return fd

    def own(self, name: str) -> int:
        """Descriptor of a folder in ``.blobdir``, which is made where it isn't there; it stays open."""
        if name not in self._own:
            path = f"{layout.STATE_DIR}/{name}"
            self._own[name] = os.dup(self._fd(path, make=True))
            show_like(self._own[name], self.attributes)
        return self._own[name]

    def own_top(self) -> int:
        """Descriptor of ``.blobdir`` itself."""
        if "" not in self._own:
            self._own[""] = os.dup(self._fd(layout.STATE_DIR, make=False))
        return self._own[""]

    def of(self, path: str, *, make: bool = False) -> tuple[int, str]:
        """Descriptor of the directory that a path lies in, as from `fd`, and the path's last component."""
        parent, _, name = self._now(path).rpartition("/")
        return self._fd(parent, make=make), name

    def stat(self, path: str) -> os.stat_result | None:
        """Attributes of what is there, a link itself; None where there is nothing."""
        with about(path), suppress(FileNotFoundError):
            fd, name = self.of(path)
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        return None

    def sync(self) -> None:
        """Have the names in all that were entered reach the disk."""
        if len(self._entered) > SYNC_EACH:
            sync_filesystem(self.root)
            return
        os.fsync(self._top)
        for path in list(self._entered):
            with suppress(FileNotFoundError), about(path):  # it was removed meanwhile
                os.fsync(self._fd(path, make=False))
