"""A project behind any fsspec backend: what is there, and its bytes as they are now."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from blobdir.background import Background
from blobdir.blocks import BLOCK_BYTES, BlockCache, DiskTier, Line
from blobdir.errors import ReadError
from blobdir.sources.backend import AHEAD, CONCURRENCY, SMALL_CONCURRENCY, Backend, outcome
from blobdir.sources.keys import below, folders_of, is_understood, sort_keys
from blobdir.sources.listing import TREES, list_below
from blobdir.sources.options import RemoteOptions, parse_size
from blobdir.sources.pace import merge_limits
from blobdir.sources.remotefile import BLOCKS_AT_ONCE, RemoteSource
from blobdir.sources.retries import status_of
from blobdir.sources.secrecy import without_secrets
from blobdir.sources.transports import BEYOND_END, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from fsspec import AbstractFileSystem

    from blobdir.sources.disks import Disk
    from blobdir.sources.keys import Keys
    from blobdir.sources.model import Folder, Stat

LOCAL_PROTOCOLS = frozenset(("memory", "file", "local", "zip", "tar", "libarchive", "reference", "dir"))
"""Backends whose bytes are on this machine already, if nothing else is behind them."""
READERS = 4
_WHERE = ("host", "port", "endpoint_url", "account_name", "base_url")
"""Attributes in which backends keep the server that their options name."""
_EXISTS = frozenset((409, 412))
"""What servers say of a file that is there, or that somebody else is making, when it was to be made."""
_UNKNOWN = frozenset((400, 501))
"""What servers say that can't do that."""

_FORBIDDEN = frozenset((401, 403))


class RemoteStorage:
    """A folder behind an fsspec backend.

    Parameters
    ----------
    path : str
        Root of the project in the backend's own terms.
    url : str, optional
        Full URL, from which the backend is made, and made anew in a forked process.
    shown : str, optional
        The same for people, where it's another one.
    options : dict, optional
        Options for the backend. Never part of a message: they hold credentials.
    fs : AbstractFileSystem, optional
        A backend that exists already, instead of `url`.
    remote : RemoteOptions, optional

    Attributes
    ----------
    cache : BlockCache or None
        None where the bytes are on this machine anyway.
    place : str
        What no other place has, where the URL alone may be that of many: with other options it's another server.
    odd : list of tuple
        Code, path and message of what the last `walk` couldn't show: keys that can't be files.
    is_roomy : bool
        Whether the cache can hold all blobs: then what is read is fetched in whole blocks from the start.
    """

    is_quick = False
    directory = ""
    disks = ()

    def __init__(
        self,
        path: str,
        *,
        url: str = "",
        shown: str = "",
        options: dict[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
        remote: RemoteOptions | None = None,
    ) -> None:
        self.url = without_secrets(shown or url or path).rstrip("/")
        self.remote = remote or RemoteOptions()
        self.backend = Backend(url, options, fs, timeout_s=self.remote.timeout)
        root = str(self.fs._strip_protocol(path))  # noqa: SLF001  # part of fsspec's interface
        self._base = below(self.fs, root)
        self.root = self._base.rstrip("/")
        protocol = self.fs.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_http = bool({"http", "https"} & self._protocols)
        self.place = self._place()
        self.cache = self._make_cache(url)
        self.is_roomy = True
        self.line = Line(BLOCKS_AT_ONCE - 1)
        self._listed: dict[str, Stat] = {}
        self._keys: Keys | None = None
        self.odd: list[tuple[str, str, str]] = []
        self._background = Background(READERS, "blobdir-readahead")

    def _place(self) -> str:
        told = [getattr(self.fs, name, None) for name in _WHERE]
        told.append((getattr(self.fs, "client_kwargs", None) or {}).get("endpoint_url"))
        named = [str(value) for value in told if isinstance(value, str | int)]
        return without_secrets("\0".join([self.url, self.root, *named]))

    def _make_cache(self, url: str) -> BlockCache | None:
        last = url.rpartition("::")[2]
        protocol = last.partition("://")[0] if "://" in last else ""
        if protocol in LOCAL_PROTOCOLS or (not protocol and self._protocols & LOCAL_PROTOCOLS):
            return None
        limit = self.remote.disk_bytes
        disk = DiskTier(self.remote.folder, limit) if limit >= 2 * BLOCK_BYTES else None
        if disk is None and not self.remote.memory_bytes:
            return None
        return BlockCache(self.remote.memory_bytes, disk, timeout_s=self.remote.timeout)

    def disks_with(self, files: Iterable[str]) -> tuple[Disk, ...]:  # part of the protocol
        """None."""
        return ()

    @property
    def protocols(self) -> frozenset[str]:
        """What the backend answers to: ``{"s3", "s3a"}``."""
        return frozenset(self._protocols)

    @property
    def has_folders(self) -> bool:
        """Whether a folder must be made before there can be a file in it."""
        return bool(self._protocols & TREES) or "memory" in self._protocols

    @property
    def fs(self) -> AbstractFileSystem:
        """The backend, of this very process."""
        return self.backend.fs

    def expect(self, size: int) -> None:
        """Say how many bytes all blobs have together."""
        self.is_roomy = self.cache is not None and size <= self.cache.capacity

    def limits(self) -> tuple[int, int]:
        """Gap and size of merged requests, in bytes, for a backend of the measured pace."""
        pace, given = self.backend.pace, self.remote
        gap, request = merge_limits(pace.latency_s, pace.bytes_per_s, CONCURRENCY)
        if given.gap_size is not None:
            gap = parse_size(given.gap_size, "gap_size")
        if given.request_size is not None:
            request = max(1, parse_size(given.request_size, "request_size"))
        return gap, request

    def in_background(self, function: Any, *args: Any) -> bool:
        """Do something that nobody waits for; what fails is met again by who needs it.

        Whether it will be done: there may be no thread for it.
        """
        with suppress(OSError):
            self._background.submit(function, *args)
            return True
        return False

    def full(self, path: str) -> str:
        """The backend's name of a path in the project; ReadError where it would take that for another one's."""
        if not path:
            return self.root or self._base
        if self._is_http:
            return f"{self._base}{quote(path, errors='surrogateescape')}"
        if not is_understood(self.fs, f"{self._base}{path}"):
            raise ReadError(f"{self.url}: {path}: the backend takes this name for another one; give it another name")
        return f"{self._base}{path}"

    def escapes(self, path: str) -> bool:
        """Never: there are no symbolic links behind a backend."""
        return False

    # -- what is there -------------------------------------------------------------------------------------------

    def walk(self, *, follow_links: bool) -> Iterator[Folder]:
        """Yield each directory, parents first. Everything is listed once."""
        unlisted: dict[str, OSError] = {}
        found = sort_keys(list(self.list_keys(unlisted)))
        self.odd = list(found.faults())
        files = {path: stat for path, (_, stat, _) in found.files.items()}
        self._listed = {path: stat for path, stat in files.items() if path.lower().endswith(".tar")}
        yield from folders_of(found.folders, files, {self._relative(key): error for key, error in unlisted.items()})

    def as_listed(self, keys: Keys) -> RemoteStorage:
        """The same place, of which `list_keys` gives what it has given already: nothing is listed for it."""
        same = copy(self)
        same._keys = keys  # noqa: SLF001  # of this very class
        return same

    def list_keys(self, unlisted: dict[str, OSError] | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Everything below the root as it is now; see `blobdir.sources.keys.Keys`, and `unlisted` in `list_below`."""
        if self._keys is not None:
            yield from self._keys
            return
        self.fs.invalidate_cache(self.root)  # a backend keeps listings: those of another time, perhaps
        for key, info in list_below(self.backend, self.full(""), self.url, self.protocols, unlisted):
            yield self._relative(key), key, info

    def _relative(self, key: str) -> str:
        if self.root and not key.startswith(self._base) and key != self.root:
            raise ReadError(f"{self.url}: the backend lists {without_secrets(repr(key))}, which isn't below its root")
        name = key[len(self._base) :] if self.root else key.removeprefix("/")
        return unquote(name, errors="surrogateescape") if self._is_http else name

    def entries(self, path: str) -> list[tuple[str, bool]]:
        """Names in one folder as it is now, and whether each is a folder; none where there is no such folder."""
        what, full = f"{self.url}: {path}", self.full(path)
        try:
            if self.backend.web is not None:
                page = self.backend.run(self.backend.list_page(f"{full.rstrip('/')}/", what, anywhere=True), what)
                return [*page.names.items()]
            self.fs.invalidate_cache(full)
            infos = self.backend.run(self.backend.call(what, "ls", full, detail=True), what)
        except (FileNotFoundError, NotADirectoryError):
            return []
        keys = [(str(info["name"]).rstrip("/"), info.get("type") == "directory") for info in infos]
        return [(key.rpartition("/")[2], is_folder) for key, is_folder in keys if key != full.rstrip("/")]

    def stat(self, path: str) -> Stat:
        """Attributes of `path` as they are now; FileNotFoundError where there is none."""
        what = f"{self.url}: {path}"
        return self.backend.run(self.backend.info(self.full(path), what), what)

    def stat_together(self, paths: Sequence[str]) -> dict[str, Stat]:
        """Attributes of files, from the listing where that has said enough; those that can't be had are left out."""
        found = self.listed(paths)
        found.update(self.stat_many([path for path in paths if path not in found]))
        return found

    def listed(self, paths: Sequence[str]) -> dict[str, Stat]:
        """Attributes of files whose versions the last listing has said."""
        return {path: self._listed[path] for path in paths if _says_enough(self._listed.get(path))}

    def stat_many(self, paths: Sequence[str], *, needed: str = "") -> dict[str, Stat]:
        """Attributes of files as they are now, asked for together; those that can't be had are left out.

        Raises
        ------
        OSError
            Those of `needed` can't be had.
        """

        async def stat(path: str) -> Stat | None:
            try:
                return await self.backend.info(self.full(path), f"{self.url}: {path}")
            except OSError:
                if path == needed:
                    raise
                return None

        answers = self.backend.run_many(((path, stat(path)) for path in paths), SMALL_CONCURRENCY, ahead=AHEAD)
        return {path: found for path, found in zip(paths, answers, strict=True) if found is not None}

    def which(self, folder: str, names: Collection[str], *, at_no_cost: Collection[str] = ()) -> set[str]:
        """Those of some names that a folder has now: one request, but for web servers, which aren't asked to list.

        Where one may read, but not list, there are none. Those `at_no_cost` aren't asked for where each is a request.
        """
        if self._is_http:
            return {path.rpartition("/")[2] for path in self.stat_many([f"{folder}/{name}" for name in sorted(names)])}
        what, full = f"{self.url}: {folder}", self.full(folder)
        self.fs.invalidate_cache(full)
        try:
            keys = self.backend.run(self.backend.call(what, "ls", full, detail=False), what)
        except FileNotFoundError:
            return set()
        except ReadError as error:
            if status_of(error) in _FORBIDDEN or isinstance(error.__cause__, PermissionError | NotImplementedError):
                return set()
            raise
        return {str(key).rstrip("/").rpartition("/")[2] for key in keys} & {*names, *at_no_cost}

    # -- bytes ---------------------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        """The whole content of a small file."""
        return self.fetch(path).data

    def fetch(self, path: str, start: int | None = None, end: int | None = None) -> Answer:
        """Bytes ``start:end`` of a file as it is now, or the whole of it, and which version they are of.

        There are none where the file ends before `start`.
        """
        what = f"{self.url}: {path}" + ("" if start is None else f": bytes {start} to {end}")
        try:
            return self.backend.run(self.backend.get(self.full(path), start, end, what), what)
        except ReadError as error:
            if start is None or status_of(error) != BEYOND_END:
                raise
            version = self.stat(path)
            if not 0 <= version.size <= start:
                raise
            return Answer(b"", version)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes ``start:end`` of a file as it is now; fewer only where the file ends."""
        if end <= start:
            return b""
        return self.fetch(path, start, end).data

    def write(self, path: str, data: bytes) -> None:
        """Write a small file; ReadError, which says why, where the backend can't."""
        self._write(path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless there is one; whether there was none.

        In one step where the backend can do that (S3, Google Cloud, Azure). One that ignores the wish writes.
        """
        try:
            self._write(path, data, mode="create")
        except ReadError as error:
            if isinstance(error.__cause__, FileExistsError) or status_of(error) in _EXISTS:
                return False
            if not isinstance(error.__cause__, TypeError | ValueError | NotImplementedError) and (
                status_of(error) not in _UNKNOWN
            ):
                raise
            self._write(path, data)
        return True

    def _write(self, path: str, data: bytes, **options: Any) -> None:
        what = f"{self.url}: {path}"
        try:
            if self.has_folders:
                parent = self.full(path).rpartition("/")[0]
                self.backend.run(self.backend.call(what, "makedirs", parent, exist_ok=True), what)
            self.backend.run(self.backend.call(what, "pipe_file", self.full(path), data, **options), what)
        except FileNotFoundError as error:
            raise ReadError(
                f"{what}: can't be written: the storage says that there is no such bucket or folder; make it first"
            ) from error

    def read_files(self, paths: Sequence[str]) -> list[bytes]:
        """The whole contents of several small files, many at a time."""
        return list(self.iter_files(paths))

    def iter_files(self, paths: Sequence[str]) -> Iterator[bytes]:
        """The same one after the other, so that few of them are in memory."""
        named = ((path, f"{self.url}: {path}") for path in paths)
        requests = (
            (what, self.backend.get(self.full(path), None, None, what, versioned=False)) for path, what in named
        )
        return (answer.data for answer in self.backend.run_many(requests, SMALL_CONCURRENCY, ahead=AHEAD))

    def iter_outcomes(self, paths: Sequence[str]) -> Iterator[bytes | OSError]:
        """The whole contents of several small files, or why one can't be had."""
        for answer in self.iter_answers(paths, without=frozenset(paths)):
            yield answer if isinstance(answer, OSError) else answer.data

    def iter_answers(self, paths: Sequence[str], *, without: Collection[str] = ()) -> Iterator[Answer | OSError]:
        """The same, and which version each is of, but for those in `without`: most backends are asked twice for it."""
        named = ((path, f"{self.url}: {path}") for path in paths)
        requests = (
            (what, outcome(self.backend.get(self.full(path), None, None, what, versioned=path not in without)))
            for path, what in named
        )
        return self.backend.run_many(requests, SMALL_CONCURRENCY, ahead=AHEAD)

    def iter_ranges(self, ranges: Iterable[tuple[str, int, int]]) -> Iterator[bytes]:
        """Short ranges of many files as they are now, ``(path, start, end)``; shorter only where a file ends."""
        named = ((path, start, end, f"{self.url}: {path}: bytes {start} to {end}") for path, start, end in ranges)
        requests = (
            (what, self.backend.get(self.full(path), start, end, what, versioned=False))
            for path, start, end, what in named
        )
        return (answer.data for answer in self.backend.run_many(requests, SMALL_CONCURRENCY, ahead=AHEAD))

    def open_held(self, path: str) -> None:
        """Nothing: blobs behind a backend are no open files."""

    def open(self, path: str, expected: Stat | None = None, told: Callable[[Stat], Stat] | None = None) -> RemoteSource:
        """A file for reads by range, of the version that is `expected`. Asks the backend for nothing."""
        if expected is None or expected.size < 0:
            expected = self.stat(path)
        return RemoteSource(self, path, expected, told)


def _says_enough(stat: Stat | None) -> bool:
    return stat is not None and stat.size >= 0 and bool(stat.etag)
