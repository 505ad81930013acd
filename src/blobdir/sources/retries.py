"""Which failures of a backend pass, and how long to wait. Pure: no I/O, no clock."""

from __future__ import annotations

import asyncio
import concurrent.futures
import email.utils
import errno
import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
_TEMPORARY_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
PUT_OFF = frozenset((429, 503))
"""Statuses by which servers ask for fewer requests."""
_DENIED = frozenset((401, 403))
_ENDS = (StopIteration, StopAsyncIteration, concurrent.futures.CancelledError)
"""Exceptions that futures don't take, or take for another thing."""
_OURS = (TypeError, AttributeError, NotImplementedError, AssertionError, MemoryError)
_FOR_GOOD = ("CertificateVerif", "CertificateError", "InvalidURL", "ConnectorCertificate", "NoCredentials")


class WrongAnswerError(OSError):
    """A server has answered something else than it was asked for: other bytes, too few, too many.

    Parameters
    ----------
    message : str
    status : int, optional
        HTTP status that says so.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class OtherFormError(WrongAnswerError):
    """A server has sent another form of a file than the one that lies there: compressed, most often."""


_LASTING = frozenset(
    (errno.ENAMETOOLONG, errno.EILSEQ, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ELOOP, errno.ENOTSUP)
)
"""What a system says of a name, or of its disk: the same the next time."""


class NoPageError(OSError):
    """A server's page that lists a folder is none that can be read."""


class NoRangesError(OSError):
    """A server doesn't serve byte ranges."""


class RangeIgnoredError(WrongAnswerError):
    """A server has sent all of a file instead of a range of it, and not for the first time one that it serves."""


class OddError(OSError):
    """A backend has raised what means something else to who gets it: the end of a loop, or of the program."""


class TooLongError(OSError):
    """A server sends more than a file can have."""


_LASTING_KINDS = (FileNotFoundError, NoRangesError, NoPageError, TooLongError, OtherFormError, OddError)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def status_of(error: BaseException) -> int | None:
    """HTTP status that an exception of any backend's library stands for; None where it stands for none."""
    for link in _chain(error):
        if type(link).__module__ == "aiohttp.http_exceptions":
            continue  # a body that breaks off is "400" there
        for name in ("status", "status_code", "code"):
            value = getattr(link, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
        response: Any = getattr(link, "response", None)
        if isinstance(response, dict):  # botocore
            value = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(value, int):
                return value
        value = getattr(response, "status_code", None)
        if isinstance(value, int):
            return value
    return None


def _headers(error: BaseException) -> dict[str, str]:
    for link in _chain(error):
        response: Any = getattr(link, "response", None)
        if isinstance(response, dict):
            found = response.get("ResponseMetadata", {}).get("HTTPHeaders")
        else:
            found = getattr(link, "headers", None) or getattr(response, "headers", None)
        if found is not None:
            try:
                return {str(key).lower(): str(value) for key, value in found.items()}
            except AttributeError:
                continue
    return {}


def retry_after_s(error: BaseException) -> float | None:
    """Seconds that a server has asked to wait; None where it hasn't."""
    text = _headers(error).get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        then = time_s(text)
        return None if then is None else max(0.0, then - time.time())


def time_s(text: str) -> float | None:
    """A time as headers say it, in seconds since 1970; None where it's none, or one that no clock has."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def guarded(call: Callable[[], T]) -> T:
    """What a backend's call gives, or its error: one that a waiting task, or its loop, would take for its own end.

    Raises
    ------
    OddError
        Instead of ``StopIteration``, ``SystemExit``, ``KeyboardInterrupt``, ``CancelledError`` and the like.
    """
    try:
        return call()
    except _ENDS as error:
        raise odd(error) from error
    except Exception:
        raise
    except BaseException as error:
        raise odd(error) from error


def odd(error: BaseException) -> OddError:
    """An error instead of one that isn't meant as one."""
    return OddError(f"the backend has raised {type(error).__name__}{': ' * bool(said(error))}{said(error)}")


def said(error: BaseException) -> str:
    """What an exception says; nothing where it can't."""
    try:
        return str(error)
    except Exception:
        return ""


def is_denied(error: BaseException) -> bool:
    """Whether a server has refused who asks: credentials are missing, wrong or expired."""
    return any(isinstance(link, PermissionError) for link in _chain(error)) or status_of(error) in _DENIED


def is_answer(error: BaseException) -> bool:
    """Whether a failure is what a server has said of the request: then there is a server."""
    status = status_of(error)
    return is_denied(error) or (status is not None and 400 <= status < 500)


def is_refused(status: int | None) -> bool:
    """Whether a server has said by its answer that a request like this one is none: whoever asks, and whenever."""
    return status is not None and 400 <= status < 500 and status not in _DENIED | _TEMPORARY_STATUS


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if is_denied(error) or any(isinstance(link, _LASTING_KINDS) for link in _chain(error)):
        return False
    if isinstance(error, (*_OURS, FileExistsError, IsADirectoryError, NotADirectoryError)):
        return False
    if any(isinstance(link, OSError) and link.errno in _LASTING for link in _chain(error)):
        return False
    if any(word in type(link).__name__ for link in _chain(error) for word in _FOR_GOOD):
        return False
    status = status_of(error)
    if status is not None and status >= 300:
        return status in _TEMPORARY_STATUS
    if isinstance(error, ValueError | KeyError):
        return False
    return isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError)


def pause_s(attempt: int, asked_s: float | None) -> float:
    """Seconds to wait after `attempt` failed tries.

    Doubles each time, and half of it is random: a thousand readers that failed together mustn't come back together.
    """
    base: float = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** (attempt - 1))
    return max(asked_s or 0.0, base * random.uniform(0.5, 1.0))
