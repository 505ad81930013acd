"""Requests that say what they got: bytes, and which version of the file they are of. One transport for each backend.

fsspec's own methods give bytes only. What decides whether bytes are the right ones stands in the headers of the
answer: the etag, and the range that was served. So for the backends that most projects lie on, the request is made
with the backend's own session; for any other the version is asked for after the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fsspec import AbstractFileSystem

from blobdir.sources.transports.answers import BEYOND_END, UNKNOWN, Answer, etag_of, stat_of
from blobdir.sources.transports.azure import Azure
from blobdir.sources.transports.general import Blocking, General
from blobdir.sources.transports.s3 import S3
from blobdir.sources.transports.web import Web

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BEYOND_END",
    "UNKNOWN",
    "Answer",
    "Azure",
    "Blocking",
    "General",
    "Web",
    "behind_copies",
    "etag_of",
    "keeps_copies",
    "stat_of",
    "transport_of",
]

TRANSPORTS: Final[Mapping[str, type[General]]] = {
    "fsspec.implementations.http.HTTPFileSystem": Web,
    "s3fs.core.S3FileSystem": S3,
    "adlfs.spec.AzureBlobFileSystem": Azure,
}
"""Classes of backends, which aren't imported for this -> what makes their requests."""
COPIES: Final = "fsspec.implementations.cached.CachingFileSystem"
"""What ``simplecache``, ``filecache`` and ``blockcache`` are kinds of."""


def behind_copies(fs: AbstractFileSystem) -> AbstractFileSystem:
    """The backend that has the files, where others stand before it that keep copies: that one is asked instead.

    All names are its own. Copies aren't asked whether they are outdated, and bytes of an old one would be taken for
    those of the version that the backend tells of. In fsspec's event loop, there aren't any.
    """
    while keeps_copies(fs):
        fs = fs.fs
    return fs


def keeps_copies(fs: AbstractFileSystem) -> bool:
    """Whether a backend stands before another one, and keeps copies of its files."""
    return COPIES in _classes(fs) and isinstance(fs.fs, AbstractFileSystem)


def transport_of(fs: AbstractFileSystem) -> General | Blocking:
    """What makes the requests of a backend."""
    if not _is_async(fs):
        return Blocking(fs)
    return next((TRANSPORTS[name] for name in _classes(fs) if name in TRANSPORTS), General)(fs)


def _classes(fs: AbstractFileSystem) -> list[str]:
    return [f"{one.__module__}.{one.__qualname__}" for one in type(fs).__mro__]


def _is_async(fs: AbstractFileSystem) -> bool:
    """Whether a backend makes requests in fsspec's event loop; one that stands before another does as that does."""
    inner = getattr(fs, "fs", None)
    if isinstance(inner, AbstractFileSystem) and not _is_async(inner):
        return False
    return bool(getattr(fs, "async_impl", False)) and not getattr(fs, "asynchronous", False)
