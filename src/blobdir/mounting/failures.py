"""Requests that fail: what the kernel is told, what is written down, and what isn't tried a second time."""

from __future__ import annotations

import errno
import logging
import mmap
import time
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from blobdir.errors import BlobdirError, ReadError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LOG = logging.getLogger("blobdir.mount")
MESSAGES, WINDOW_S = 20, 10.0


def errno_of(error: Exception) -> int:
    """The number with which the kernel is answered: any error is answered, and none ends who serves.

    Returns
    -------
    int
        One that the kernel takes: of an errno that is none, and of errors that have none, EIO.
    """
    code = error.code if isinstance(error, BlobdirError) else getattr(error, "errno", None)
    return code if isinstance(code, int) and code in errno.errorcode else errno.EIO


class Failures:
    """A log of failed requests: the first of many, so that one broken blob doesn't fill the journal."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0

    def __call__(self, operation: str, path: str, error: Exception) -> None:
        """Log one."""
        now = time.monotonic()
        if now - self._since > WINDOW_S:
            if self._count > MESSAGES:
                LOG.error("%d more requests failed", self._count - MESSAGES)
            self._since, self._count = now, 0
        self._count += 1
        if self._count > MESSAGES:
            return
        if isinstance(error, BlobdirError):
            LOG.error("%s %s: %s", operation, path or "/", error)
        else:
            LOG.error("%s %s: %s: %s", operation, path or "/", type(error).__name__, error, exc_info=error)


class SecondTries:
    """Requests that the kernel makes again, since the first has failed: they fail at once.

    What has waited until its deadline waited long enough, and the kernel asks again in that moment, twice for a page
    that is mapped. Whoever asks a tenth of a second later is answered as anybody. Processes that are forked from the
    one that has made it know the same.
    """

    _PLACES: Final = 256
    _WITHIN_NS: Final = 100_000_000
    _LONG_NS: Final = 500_000_000

    def __init__(self) -> None:
        memory = mmap.mmap(-1, 16 * self._PLACES)
        self._failed = np.frombuffer(memory, np.dtype([("number", "i8"), ("when_ns", "i8")]))

    def once(self, number: int, call: Callable[[], T]) -> T:
        """What a call gives that may wait for a server, for what is asked for under a number.

        Raises
        ------
        ReadError
            It has failed a moment ago, after a long time.
        """
        place = self._failed[number % self._PLACES]
        began = time.monotonic_ns()
        if place["number"] == number + 1 and began - int(place["when_ns"]) < self._WITHIN_NS:
            raise ReadError("couldn't be had a moment ago, and isn't asked for again at once")
        try:
            return call()
        except OSError as error:
            now = time.monotonic_ns()
            if now - began > self._LONG_NS and errno_of(error) == errno.EIO:
                place["when_ns"], place["number"] = now, number + 1
            raise
