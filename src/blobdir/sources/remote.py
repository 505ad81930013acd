"""Files behind any fsspec backend; made anew after a fork, which event loops and sockets don't survive."""

from __future__ import annotations

import datetime
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from fsspec.core import url_to_fs

from blobdir.errors import BlobdirError, ReadError, SourceChangedError
from blobdir.sources.model import Entry, Folder, Stat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fsspec import AbstractFileSystem

_MTIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created", "modified", "Last-Modified")
_MESSAGE_LENGTH = 500
_QUERY = re.compile(r"\?[^\s'\"<>]*=[^\s'\"<>]*")
_USER = re.compile(r"(://)[^/\s@'\"]+@")
_ETAG_KEYS = ("ETag", "etag", "md5Hash", "md5", "content_md5")


def _mtime_ns(info: dict[str, Any]) -> int:
    for key in _MTIME_KEYS:
        value = info.get(key)
        if isinstance(value, datetime.datetime):
            return round(value.timestamp() * 1e6) * 1000
        if isinstance(value, int | float):
            return int(value * 1_000_000_000)
    return 0


def _stat(info: dict[str, Any]) -> Stat:
    kind = info.get("type")
    etag = next((str(info[key]) for key in _ETAG_KEYS if info.get(key)), "")
    size = info.get("size")
    return Stat(
        kind if kind in ("file", "directory") else "other",
        -1 if size is None else int(size),
        _mtime_ns(info),
        etag=etag.strip('"'),
    )


def without_secrets(text: str) -> str:
    """A URL or message without user names, passwords and query strings: signatures stand there."""
    return _QUERY.sub("?…", _USER.sub(r"\1…@", text))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn whatever a backend raises, of whichever library, into an error that says what was asked for."""
    try:
        yield
    except (FileNotFoundError, BlobdirError):
        raise
    except Exception as error:
        text = without_secrets(str(error))[:_MESSAGE_LENGTH]
        raise ReadError(f"{what}: {type(error).__name__}: {text}") from error


class RemoteSource:
    """One object, read by range."""

    def __init__(self, storage: RemoteStorage, path: str, stat: Stat) -> None:
        self.storage = storage
        self.path = path
        self.stat = stat
        self.size = stat.size

    def read_at(self, start: int, n: int) -> bytes:
        """Read `n` bytes from byte `start`; fewer only where the file ends."""
        if n <= 0:
            return b""
        end = start + n
        if self.size >= 0:
            end = min(end, self.size)
            if start >= end:
                return b""
        return self.storage.read_range(self.path, start, end)

    def read_many(self, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Read the half-open ranges ``starts[i]:ends[i]``, concurrently where the backend can."""
        fs, path = self.storage.fs, self.storage.full(self.path)
        with _explained(self.path):
            parts = fs.cat_ranges([path] * len(starts), list(starts), list(ends), on_error="raise")
        return [bytes(part) for part in parts]


class RemoteStorage:
    """A folder behind an fsspec backend.

    Parameters
    ----------
    path : str
        Root of the project in the backend's own terms.
    url : str, optional
        Full URL, from which the backend is made, and made anew in a forked process.
    options : dict, optional
        Options for the backend. Never part of a message: they hold credentials.
    fs : AbstractFileSystem, optional
        A backend that exists already, instead of `url`.
    """

    is_local = False

    def __init__(
        self,
        path: str,
        *,
        url: str = "",
        options: dict[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
    ) -> None:
        self.url = without_secrets(url or path)
        self._url = url
        self._options = options or {}
        self._given = fs
        self._fs: AbstractFileSystem | None = None
        self._pid = 0
        self.root = str(self.fs._strip_protocol(path)).rstrip("/")  # noqa: SLF001  # part of fsspec's interface
        protocol = self.fs.protocol
        self._is_http = bool({"http", "https"} & set([protocol] if isinstance(protocol, str) else protocol))

    @property
    def fs(self) -> AbstractFileSystem:
        """The backend, of this very process."""
        if self._fs is None or self._pid != os.getpid():
            if self._given is not None:
                self._fs = self._revive(self._given)
            else:
                self._fs = url_to_fs(self._url, **self._options)[0]
            self._pid = os.getpid()
        return self._fs

    @staticmethod
    def _revive(fs: AbstractFileSystem) -> AbstractFileSystem:
        if getattr(fs, "async_impl", False) and getattr(fs, "_pid", os.getpid()) != os.getpid():
            return type(fs)(*fs.storage_args, **fs.storage_options)
        return fs

    def full(self, path: str) -> str:
        """The backend's name of a path in the project."""
        if not path:
            return self.root
        return f"{self.root}/{quote(path, errors='surrogateescape')}" if self._is_http else f"{self.root}/{path}"

    def escapes(self, path: str) -> bool:
        """Never: there are no symbolic links behind a backend."""
        return False

    def walk(self, *, follow_links: bool) -> Iterator[Folder]:
        """Yield each directory, parents first. One listing of everything."""
        with _explained(self.url):
            self.fs.invalidate_cache(self.root)  # a backend keeps listings: those of another time, perhaps
            found = self.fs.find(self.root, withdirs=True, detail=True)
        folders: dict[str, dict[str, Entry]] = {"": {}}
        for key, info in found.items():
            path = self._relative(key)
            if not path:
                continue
            stat = _stat(info)
            if stat.kind == "directory":
                self._add_folder(folders, path)
            elif path not in folders:  # else an object that stands for a folder ("key" beside "key/…")
                parent, _, name = path.rpartition("/")
                self._add_folder(folders, parent)
                folders[parent][name] = Entry(name, "file", stat.size)
        for path in sorted(folders, key=lambda p: (p.count("/") if p else -1, p)):
            yield Folder(path, Stat("directory"), list(folders[path].values()))

    def _relative(self, key: str) -> str:
        path = key.rstrip("/")
        if not path.startswith(self.root + "/") and path != self.root:
            raise ReadError(f"{self.url}: the backend lists {key!r}, which isn't below {self.root!r}")
        path = path[len(self.root) + 1 :]
        return unquote(path, errors="surrogateescape") if self._is_http else path

    @staticmethod
    def _add_folder(folders: dict[str, dict[str, Entry]], path: str) -> None:
        missing = []
        while path not in folders:
            missing.append(path)
            path = path.rpartition("/")[0]
        for below in reversed(missing):
            parent, _, name = below.rpartition("/")
            folders[below] = {}
            folders[parent][name] = Entry(name, "directory")

    def stat(self, path: str) -> Stat:
        """Attributes of `path`; FileNotFoundError where there is none."""
        with _explained(path):
            return _stat(self.fs.info(self.full(path)))

    def read(self, path: str) -> bytes:
        """The whole content of a small file."""
        with _explained(path):
            return bytes(self.fs.cat_file(self.full(path)))

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes ``start:end`` of a file as it is now; fewer only where the file ends."""
        if end <= start:
            return b""
        with _explained(f"{path}: bytes {start} to {end}"):
            return bytes(self.fs.cat_file(self.full(path), start=start, end=end))

    def read_files(self, paths: Sequence[str]) -> list[bytes]:
        """The whole contents of several small files, concurrently where the backend can."""
        if len(paths) == 1:
            return [self.read(paths[0])]
        full = [self.full(path) for path in paths]
        with _explained(f"{len(paths)} files, the first {paths[0] if paths else ''}"):
            found = self.fs.cat_ranges(full, [None] * len(full), [None] * len(full), on_error="raise")
        return [bytes(data) for data in found]

    def open(self, path: str, expected: Stat | None = None) -> RemoteSource:
        """Open a file for reads by range; SourceChangedError where it isn't the version that is `expected`."""
        self.fs.invalidate_cache(self.full(path.rpartition("/")[0]))  # else it may say what it saw when it listed
        stat = self.stat(path)
        if expected is not None and not expected.same_content(stat):
            raise SourceChangedError(
                f"{path}: was replaced or changed after the project was opened "
                f"({expected.size} bytes then, {stat.size} now); open the project again"
            )
        return RemoteSource(self, path, stat)
