"""fsspec backends, made within a deadline: some connect at once, to a server that may never say anything."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fsspec.core import url_to_fs

from blobdir.background import within
from blobdir.errors import ReadError
from blobdir.sources.secrecy import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsspec import AbstractFileSystem

T = TypeVar("T")

RENEW_S: Final = 5.0
"""Seconds between two times that a backend is made anew, which reads its credentials as they are by now."""

# Once, and here: a Ctrl-C within `getLogger` may leave its lock taken, for which all other threads would wait for ever.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def connected(url: str, options: dict[str, Any], seconds: float) -> tuple[AbstractFileSystem, str]:
    """The backend of a URL, and the path in it; errors as of `in_time`, and of the backend."""
    found: tuple[AbstractFileSystem, str] = in_time(url, seconds, lambda: url_to_fs(url, **options))
    return found


def in_time(url: str, seconds: float, make: Callable[[], T]) -> T:
    """What makes a backend, within a deadline.

    Raises
    ------
    ReadError
        The server lets wait for longer. Who waits for it goes on in a thread, and doesn't complain on standard error.
    """
    try:
        return within(seconds, make, name="blobdir-connecting")
    except TimeoutError as error:
        if str(error):
            raise  # the backend's own, as of a connection that failed: that may pass
        raise ReadError(without_secrets(f"{url}: no connection within {seconds:.0f} s")) from error


class Renewals:
    """How often a backend was made anew because it refused who asks.

    Attributes
    ----------
    count : int
        Times.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last = -RENEW_S

    def is_worth(self, count: int, now: float) -> bool:
        """Whether a refused request may be made once more; `count` is that of the time when it was made."""
        if count == self.count:
            if now < self._last + RENEW_S:
                return False
            self.count, self._last = count + 1, now
        return True
