"""From a path or URL to the storage that serves it."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any, Final

from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import available_protocols, get_filesystem_class

from blobdir.durable import absolute
from blobdir.errors import BlobdirError, ReadError, UsageError
from blobdir.filenames import is_path
from blobdir.sources.config import storage_options
from blobdir.sources.connecting import connected
from blobdir.sources.local import LocalStorage
from blobdir.sources.model import Entry, Folder, Kind, Source, Stat, Storage
from blobdir.sources.options import RemoteOptions
from blobdir.sources.places import CACHES, settled
from blobdir.sources.remote import RemoteStorage
from blobdir.sources.secrecy import without_secrets
from blobdir.sources.transports import behind_copies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsspec import AbstractFileSystem


__all__ = [
    "Entry",
    "Folder",
    "Kind",
    "Source",
    "Stat",
    "Storage",
    "backend_of",
    "behind_backend",
    "on_this_machine",
    "open_storage",
]


def open_storage(
    url: str | os.PathLike[str],
    *,
    protocol: str | None = None,
    options: dict[str, Any] | None = None,
    fs: AbstractFileSystem | None = None,
    follow_links: bool = False,
    remote: RemoteOptions | None = None,
) -> Storage:
    """Choose the storage for a project.

    Parameters
    ----------
    url : str or path
        A folder, or any URL that fsspec understands, chained ones included.
    protocol : str, optional
        fsspec protocol, where `url` is a bare path in it.
    options : dict, optional
        Options for the backend; they go before those of the user's configuration file.
    fs : AbstractFileSystem, optional
        A backend that exists already; `url` is then a path in it.
    follow_links : bool
        See `LocalStorage`.
    remote : RemoteOptions, optional
        How a project behind a backend is read.

    Raises
    ------
    UsageError
        The protocol is unknown, or its package isn't installed.
    ReadError
        A backend that connects at once can't.
    """
    text, options, fs = settled(os.fspath(url), protocol, options, fs)
    if fs is None:
        _refuse_rest(text, protocol, options or {})
    if fs is None and protocol in (None, "file", "local") and is_path(text):
        return LocalStorage(absolute(text), follow_links=follow_links)
    if fs is not None:
        if isinstance(fs, LocalFileSystem):
            return LocalStorage(str(fs._strip_protocol(text)), follow_links=follow_links)  # noqa: SLF001  # part of fsspec's interface
        return RemoteStorage(text, fs=fs, remote=remote)
    remote = remote or RemoteOptions()
    made, path, url, text, options = _made(text, protocol, options, remote.timeout)
    backend = behind_copies(made)
    if isinstance(backend, LocalFileSystem):
        return LocalStorage(path, follow_links=follow_links)
    if type(backend) is DirFileSystem:
        return open_storage(path, fs=backend, follow_links=follow_links, remote=remote)
    if path.startswith(("http://", "https://")) and "?" in path:
        raise UsageError(
            f"{without_secrets(text)}: has a query: a project is a folder, and below such a URL there is none; use the "
            "storage's own protocol (s3://, abfs://), with the signature or token as an option"
        )
    return RemoteStorage(path, url=url, shown=text, options=options, remote=remote)


def _refuse_rest(text: str, protocol: str | None, options: Mapping[str, Any]) -> None:
    """Refuse what a chained URL has behind the project, if the project's backend has no use for it.

    fsspec cuts a chain at each ``::``, also at one that is part of a name.
    """
    rest = options.get("fo")
    name = protocol or ("file" if is_path(text) else text.partition("://")[0])
    if rest is None or name not in available_protocols():
        return
    try:
        made = get_filesystem_class(name).__mro__
    except (ValueError, ImportError):
        return  # said by who makes it
    known = {option for cls in made if "__init__" in vars(cls) for option in inspect.signature(cls.__init__).parameters}
    if known.isdisjoint({"fo", "target_protocol"}):
        raise UsageError(
            without_secrets(
                f"{text}: what the URL has behind it, {rest}, belongs to nothing; a path with '::' in it is given as "
                "fo=…, or to blobdir.open_project"
            )
        )


UNCHANGEABLE: Final = "only projects on this machine can be changed; change a copy of it here"


def on_this_machine(storage: Storage, why: str, error: type[BlobdirError] = UsageError) -> LocalStorage:
    """The storage of a project whose files are needed as files; an error that says why where they aren't here."""
    if not isinstance(storage, LocalStorage):
        raise error(f"{storage.url}: {why}")
    return storage


def behind_backend(storage: Storage, why: str) -> RemoteStorage:
    """The storage of a project that must not be on this machine; an error that says why where it is."""
    if not isinstance(storage, RemoteStorage):
        raise UsageError(f"{storage.url}: {why}")
    return storage


def _made(
    text: str, protocol: str | None, options: dict[str, Any] | None, timeout_s: float
) -> tuple[AbstractFileSystem, str, str, str, dict[str, Any]]:
    """The backend of a URL, the path in it, the URL and the options that it's made with, and the whole URL for people.

    A path with ``::`` in it is none that fsspec can have in a URL.
    """
    whole, is_odd = text, False
    if protocol is not None and ("://" not in text or (protocol in CACHES and not text.startswith(f"{protocol}://"))):
        whole, is_odd = f"{protocol}://{text}", "::" in text
    options = storage_options(whole, options)
    if is_odd:
        backend, _ = backend_of(f"{protocol}://", options, timeout_s)
        return backend, str(backend._strip_protocol(text)), f"{protocol}://", whole, options  # noqa: SLF001  # part of fsspec's interface
    return (*backend_of(whole, options, timeout_s), whole, whole, options)


def backend_of(url: str, options: dict[str, Any], timeout_s: float) -> tuple[AbstractFileSystem, str]:
    """The backend of a URL, chained or not, and the path in it.

    Raises
    ------
    UsageError
        The protocol is unknown, or its package isn't installed.
    ReadError
        A backend that connects at once can't, or not within `timeout_s` seconds.
    """
    name = url.partition("::")[0].partition("://")[0]
    try:
        get_filesystem_class(name)  # a name of one character is a disk's to fsspec
        backend, path = connected(url, options, timeout_s)
    except (ValueError, ImportError) as error:
        hint = f"; a path that begins so is written ./{name}::" if url.startswith(f"{name}::") else ""
        raise UsageError(without_secrets(f"{url}: {error}{hint}")) from error
    except BlobdirError:
        raise
    except Exception as error:  # some backends connect at once, and each has errors of its own
        raise ReadError(without_secrets(f"{url}: {type(error).__name__}: {error}")) from error
    return backend, path
