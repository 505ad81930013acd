"""State that a forked process must not take over from its parent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerProcess(Generic[T]):
    """What belongs to one process: made when a process asks for it first, and anew in one that was forked.

    Neither threads nor what their locks protect survive a fork. The parent's stays alive in the child, unused: what
    it refers to may need one of the locks to end.

    Parameters
    ----------
    make : callable
        Without parameters; it may be called twice where two threads ask first, and one result is dropped.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[int, T] = os.getpid(), make()

    def get(self) -> T:
        """That of this process."""
        made = self._made
        pid = os.getpid()
        if made[0] != pid:
            made = self._made = pid, self._make()
        return made[1]
