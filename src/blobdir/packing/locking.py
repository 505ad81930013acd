"""Projects that are read as a whole, by who makes another one of them: nobody changes them meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.discovery.root import project_of
from blobdir.durable import absolute
from blobdir.errors import BusyError, SourceChangedError, UsageError
from blobdir.packing.publishing import announce, check_place, recover
from blobdir.projectlock import ProjectLock, changes

if TYPE_CHECKING:
    from collections.abc import Iterator

Check = Callable[[str], None]
"""Raises `SourceChangedError` where a project was changed since it's been read; it's given what to do then."""
WAIT_S: Final = 5.0
"""Seconds that a writer is waited for. One that takes longer changes nothing until it's at its end."""
MIXED: Final = "was changed while it was read"


@contextmanager
def alone(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have nobody else change the project that a file is to be written into, if it is to lie in one.

    Raises
    ------
    BusyError
        Somebody is changing it.
    BlobdirError, OSError
        A change was cut off, and can't be finished.
    """
    path = os.path.realpath(path)
    root = project_of(path)
    if not root or not os.path.isdir(os.path.join(root, layout.BLOB_DIR)):
        yield
        return
    recover(root)
    lock = ProjectLock(root)
    try:
        if os.path.dirname(path) == os.path.join(root, layout.STATE_DIR):  # the index itself is written anew
            lock.note()
        else:
            announce(lock, root)
        yield
    finally:
        lock.release()


@contextmanager
def hold(root: str | os.PathLike[str], *, make: bool = True) -> Iterator[Check]:
    """Keep a project as it is: a change that was cut off is finished first, and others have to wait.

    The lock's file stays in it; without `make`, none is made in a project that nobody has changed yet. Nor is one in a
    project that can't be written here: what its owner changes is noticed.

    Yields
    ------
    callable
        Raises `SourceChangedError` where it was changed nevertheless. To be called before something of it counts.

    Raises
    ------
    BusyError
        Somebody is changing it.
    NotAProjectError
        It isn't one.
    BlobdirError, OSError
        A change was cut off, and can't be finished.
    """
    folder = absolute(root)
    check_place(Path(folder))
    recover(folder)
    lock = ProjectLock(folder, shared=True, make=make)
    try:
        yield _still(folder)
    finally:
        lock.release()


def _still(root: str) -> Check:
    """Look at a project now; what is given looks again."""
    before = changes(root), _identity(root)

    def check(then: str) -> None:
        if (changes(root), _identity(root)) != before:
            raise SourceChangedError(f"{root}: {MIXED}; {then}")

    return check


def _identity(root: str) -> tuple[int, int]:
    """Of a folder: another one may get its name."""
    try:
        found = os.stat(root)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def shared(root: str) -> ProjectLock | None:
    """The lock of a project, shared with others that read it; nothing is written, not even the lock's file.

    A writer is waited for a while. None where there is none to be had: of a writer that takes longer.
    """
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return ProjectLock(root, shared=True, make=False)
        except BusyError:
            if time.monotonic() > end:
                return None
        except (UsageError, OSError):
            return None  # what is wrong with it is said by who looks
        time.sleep(0.01)


@contextmanager
def unmixed(root: str, opened: tuple[bytes, bool] | None = None) -> Iterator[Check]:
    """Read a project for something that is made of it: others have to wait until that is done.

    Nothing is written into the project. One that nobody has ever changed has no lock, and a writer that has it for long
    is no reason to wait: what it changes at its end is noticed, and what was made isn't used then.

    Parameters
    ----------
    root : str
    opened : tuple, optional
        `Tree.changes` of a tree that is read: plain files are read as they are now, and images as they were.

    Raises
    ------
    SourceChangedError
        The project was changed since that was opened.
    """
    lock = shared(root)
    try:
        check = _still(root)
        if opened is not None and opened != changes(root):
            raise SourceChangedError(f"{root}: was changed since it was opened; open it again")
        yield check
    finally:
        if lock is not None:
            lock.release()
