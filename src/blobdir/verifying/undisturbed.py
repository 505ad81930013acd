"""A project is looked at while nobody changes it: else what is found is half of its old state, half of its new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from blobdir.errors import BusyError
from blobdir.packing.locking import shared
from blobdir.projectlock import changes

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
TRIES: Final = 3


def undisturbed(root: str, look: Callable[[], T]) -> T:
    """Look at a project with its lock shared with others that read it; nothing is written, not even the lock's file.

    Where there is none to be had, it's looked at again if it was changed meanwhile.

    Raises
    ------
    BusyError
        It was changed again and again.
    """
    for _ in range(TRIES):
        lock = shared(root)
        try:
            before = changes(root)
            found = look()
            if changes(root) == before:
                return found
        finally:
            if lock is not None:
                lock.release()
    raise BusyError(f"{root}: was changed again and again while it was looked at; try again when that has ended")
