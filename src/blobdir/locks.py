"""Locks and forked processes: one that is free there, whoever held it, and files that are unlocked for all."""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from contextlib import suppress

_LOCKS: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


class ForkSafeLock:
    """As `threading.Lock`, in a ``with`` statement. What it protects must make sense between any two statements."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock: threading.Lock | threading.RLock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[ForkSafeLock], tuple[()]]:
        return ForkSafeLock, ()

    def renew(self) -> None:
        """Be free."""
        self._lock = threading.Lock()


class ForkSafeRLock(ForkSafeLock):
    """The same, as `threading.RLock`: who has it may take it again."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.renew()

    def __reduce__(self) -> tuple[type[ForkSafeRLock], tuple[()]]:
        return ForkSafeRLock, ()

    def renew(self) -> None:
        """Be free."""
        self._lock = threading.RLock()


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


def close_unlocked(fd: int, owner: int) -> None:
    """Close a file that the process `owner` has locked by ``flock``.

    Closing alone lets go of the lock only when the last one does who has the descriptor: a process that was forked
    meanwhile has it too, perhaps for days. And in that one, the lock stays with its owner.
    """
    try:
        if owner == os.getpid():
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)
