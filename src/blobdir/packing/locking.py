"""Projects that are read as a whole, by who makes another one of them: nobody changes them meanwhile."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.discovery.root import project_of
from blobdir.durable import absolute
from blobdir.packing.publishing import announce, check_place, recover
from blobdir.projectlock import ProjectLock

if TYPE_CHECKING:
    from collections.abc import Iterator


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
def hold(root: str | os.PathLike[str], *, make: bool = True) -> Iterator[None]:
    """Keep a project as it is: a change that was cut off is finished first, and others have to wait.

    The lock's file stays in it; without `make`, none is made in a project that nobody has changed yet.

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
        yield
    finally:
        lock.release()
