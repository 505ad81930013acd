"""Requests that say what they got: bytes, and which version of the file they are of. One transport for each backend.

fsspec's own methods give bytes only. What decides whether bytes are the right ones stands in the headers of the
answer: the etag, and the range that was served. So for the backends that most projects lie on, the request is made
with the backend's own session; for any other the version is asked for after the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fsspec import AbstractFileSystem

from blobdir.sources.transports.answers import UNKNOWN, Answer, etag_of, same_time, stat_of
from blobdir.sources.transports.azure import Azure
from blobdir.sources.transports.general import Blocking, General
from blobdir.sources.transports.s3 import S3
from blobdir.sources.transports.web import Web

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "UNKNOWN",
    "Answer",
    "Azure",
    "Blocking",
    "General",
    "Web",
    "etag_of",
    "same_time",
    "stat_of",
    "transport_of",
]

TRANSPORTS: Final[Mapping[str, type[General]]] = {
    "fsspec.implementations.http.HTTPFileSystem": Web,
    "s3fs.core.S3FileSystem": S3,
    "adlfs.spec.AzureBlobFileSystem": Azure,
}
"""Classes of backends, which aren't imported for this -> what makes their requests."""


def transport_of(fs: AbstractFileSystem) -> General | Blocking:
    """What makes the requests of a backend."""
    if not _is_async(fs):
        return Blocking(fs)
    names = (f"{one.__module__}.{one.__qualname__}" for one in type(fs).__mro__)
    return next((TRANSPORTS[name] for name in names if name in TRANSPORTS), General)(fs)


def _is_async(fs: AbstractFileSystem) -> bool:
    """Whether a backend makes requests in fsspec's event loop; one that stands before another does as that does."""
    inner = getattr(fs, "fs", None)
    if isinstance(inner, AbstractFileSystem) and not _is_async(inner):
        return False
    return bool(getattr(fs, "async_impl", False)) and not getattr(fs, "asynchronous", False)
