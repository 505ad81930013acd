"""From what a user gives to what is opened: the folder of a project, or tars and the folder that they lie below.

The one function that says which it is, so that all faces agree. What is a folder is a project; else a place whose last
component ends in ``.tar``, or is a pattern, means tars (`blobdir.discovery.tarplaces`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from fsspec.implementations.local import LocalFileSystem

from blobdir.discovery import DiscoveryOptions, tarplaces
from blobdir.durable import absolute
from blobdir.errors import BlobdirError, UsageError
from blobdir.filenames import is_path
from blobdir.sources import open_storage, split_copies
from blobdir.sources.places import without_short_hosts

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from blobdir.sources import RemoteOptions, Storage

_LOCAL = ("file", "local")
_WEB = ("http", "https")
_NO_BUCKETS = frozenset(("memory", "dir", "zip", "tar", "reference", "libarchive"))
"""Backends in whose URLs the first component may be a file's name."""


class TarPlace(NamedTuple):
    """Where tars lie.

    Attributes
    ----------
    root : str
        The folder that all of them are below; a path or a URL, as the place was.
    pattern : str
        See `blobdir.discovery.tarplaces`.
    """

    root: str
    pattern: str


def tar_place(
    place: str | os.PathLike[str], *, protocol: str | None = None, fs: AbstractFileSystem | None = None
) -> TarPlace | None:
    """Where the tars are that a place means; None where it means a project. Nothing behind a backend is asked."""
    text = without_short_hosts(os.fspath(place))
    if local := _local_path(text, protocol, fs):
        return _local_place(local)
    if fs is not None or "://" not in text.partition("::")[0]:
        return _below("", text, "", protocol or "", is_url=False)
    copies, rest = split_copies(text)
    first, chain, behind = rest.partition("::")
    name, _, path = first.partition("://")
    return _below(f"{copies}{name}://", path, chain + behind, name, is_url=True)


def is_tar(path: str) -> bool:
    """Whether a path on this machine is a file that is called as a tar."""
    return tarplaces.is_called_tar(path) and os.path.lexists(path) and not os.path.isdir(path)


def matches_tars(path: str) -> bool:
    """Whether a path on this machine is a pattern that matches a file that is called as a tar."""
    place = None if os.path.lexists(path) else _local_place(path)
    if place is None:
        return False

    def listing(folder: str) -> list[tuple[str, bool]]:
        with suppress(OSError), os.scandir(os.path.join(place.root, folder)) as scan:
            return [(entry.name, entry.is_dir()) for entry in scan]
        return []

    with suppress(UsageError):
        return any(is_tar(os.path.join(place.root, one)) for one in tarplaces.expand(place.pattern, listing))
    return False


def _local_path(text: str, protocol: str | None, fs: AbstractFileSystem | None) -> str:
    """The absolute path of a place on this machine; empty where it's elsewhere."""
    if isinstance(fs, LocalFileSystem) or (fs is None and text.startswith(("file://", "local://"))):
        return "" if "::" in text else str(LocalFileSystem._strip_protocol(text))  # noqa: SLF001  # part of fsspec's interface
    return absolute(text) if text and fs is None and protocol in (None, "", *_LOCAL) and is_path(text) else ""


def _local_place(path: str) -> TarPlace | None:
    if os.path.lexists(path):
        folder, name = os.path.split(path)
        return TarPlace(folder, tarplaces.literal(name)) if is_tar(path) else None
    if not tarplaces.looks_like_tars(path, is_url=False):
        return None
    root, pattern = tarplaces.split_pattern(path, is_url=False)
    return TarPlace(root.rstrip("/") or "/", pattern)


def _below(before: str, path: str, after: str, protocol: str, *, is_url: bool) -> TarPlace | None:
    is_of_bucket = "/" not in path.strip("/") and protocol not in _NO_BUCKETS
    if not tarplaces.looks_like_tars(path, is_url=is_url) or (is_url and is_of_bucket) or "?" in path * is_url:
        return None
    root, pattern = tarplaces.split_pattern(path, is_url=is_url)
    if protocol in _WEB:
        one = tarplaces.plain(pattern)
        is_one = pattern == tarplaces.literal(one)
        pattern = tarplaces.literal(_unquoted(one)) if is_one else _unquoted(pattern)
    return TarPlace(f"{before}{root}{after}", pattern)


def _unquoted(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def open_place(
    place: str | os.PathLike[str],
    *,
    protocol: str | None = None,
    options: dict[str, Any] | None = None,
    fs: AbstractFileSystem | None = None,
    discovery: DiscoveryOptions | None = None,
    remote: RemoteOptions | None = None,
) -> tuple[Storage, DiscoveryOptions]:
    """The storage of a project or of tars, and the options of discovery, which say what of it is shown.

    Parameters
    ----------
    place : str or path
    protocol, options, fs, remote
        See `blobdir.sources.open_storage`.
    discovery : DiscoveryOptions, optional
        Which may have tars already: those are below `place` then.
    """
    discovery = discovery or DiscoveryOptions()
    found = None if discovery.tars else tar_place(place, protocol=protocol, fs=fs)
    if found is not None:
        # Who names a tar means the file that its name leads to.
        storage = open_storage(found.root, protocol=protocol, options=options, fs=fs, follow_links=True, remote=remote)
        if not _is_folder(storage, found.pattern):
            return storage, replace(discovery, tars=(found.pattern,))
    if discovery.layout == "samples" and not discovery.tars:
        raise UsageError(f"{place}: layout=samples is for tars, and this means a project")
    follow_links = discovery.follow_links or bool(discovery.tars)
    return open_storage(
        place, protocol=protocol, options=options, fs=fs, follow_links=follow_links, remote=remote
    ), discovery


def _is_folder(storage: Storage, pattern: str) -> bool:
    """Whether a place behind a backend that is called like a tar is a folder, and so a project."""
    path = tarplaces.plain(pattern)
    if storage.directory or pattern != tarplaces.literal(path):
        return False
    with suppress(OSError, BlobdirError):
        return storage.stat(path).kind == "directory"
    return False


def shown_place(storage: Storage, discovery: DiscoveryOptions) -> str:
    """What was opened, for people: a project's folder, or tars by their pattern."""
    if not discovery.tars:
        return storage.url
    return f"{storage.url.rstrip('/')}/{','.join(map(tarplaces.plain, discovery.tars))}"
