"""Writes down requests that fail, but not thousands of them."""

from __future__ import annotations

import errno
import logging
import time

from blobdir.errors import BlobdirError

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
