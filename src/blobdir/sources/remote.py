"""A project behind any fsspec backend: what is there, and files that are read by range, through the cache."""

from __future__ import annotations

import hashlib
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np

from blobdir.background import Background
from blobdir.blocks import BLOCK_BYTES, BlockCache, DiskTier, Origin, Readahead
from blobdir.errors import ReadError, SourceChangedError
from blobdir.locks import ForkSafeLock
from blobdir.ranges import merge_ranges
from blobdir.sources.backend import CONCURRENCY, SMALL_CONCURRENCY, Backend
from blobdir.sources.getters import Answer, same_time
from blobdir.sources.keys import folders_of, is_understood, sort_keys
from blobdir.sources.listing import TREES, list_below
from blobdir.sources.model import Stat
from blobdir.sources.options import RemoteOptions, parse_size
from blobdir.sources.pace import merge_limits
from blobdir.sources.retries import status_of
from blobdir.sources.secrecy import without_secrets
from blobdir.sources.segments import plan_segments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from fsspec import AbstractFileSystem
    from numpy.typing import NDArray

    from blobdir.sources.keys import Keys
    from blobdir.sources.model import Folder

    Ints = NDArray[np.integer]

LOCAL_PROTOCOLS = frozenset(("memory", "file", "local", "zip", "tar", "libarchive", "reference", "dir"))
"""Backends whose bytes are on this machine already, if nothing else is behind them."""
READAHEAD_BLOCKS = 16
WORTH = 64
"""Blocks that are fetched for single reads, where not all fit the cache, before a hit must pay for each."""
READERS = 4
_WHERE = ("host", "port", "endpoint_url", "account_name", "base_url")
"""Attributes in which backends keep the server that their options name."""
_BEYOND_END = 416
_EXISTS = frozenset((409, 412))
"""What servers say of a file that is there, or that somebody else is making, when it was to be made."""
_UNKNOWN = frozenset((400, 501))
"""What servers say that can't do that."""


class RemoteSource:
    """One version of one file, read by range.

    The version is that of the index, or of the first answer. Bytes of another one are never given.

    Attributes
    ----------
    size : int
        Bytes; -1 until the first answer where nobody has said it.
    """

    def __init__(self, storage: RemoteStorage, path: str, stat: Stat) -> None:
        self.storage = storage
        self.path = path
        self.stat = stat
        self.size = stat.size
        self._full = storage.full(path)
        self._cache = storage.cache
        self._ahead = Readahead(READAHEAD_BLOCKS)
        self._watching = ForkSafeLock()
        self._key = ""
        self._worth = WORTH
        self._pin(stat)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteSource, (self.storage, self.path, self.stat)

    # -- which version -------------------------------------------------------------------------------------------

    def _pin(self, stat: Stat) -> None:
        self.stat = stat
        self.size = stat.size
        if stat.size >= 0 and (stat.etag or stat.mtime_ns):
            name = f"{self.storage.place}\0{self.path}\0{stat.size}\0{stat.etag or stat.mtime_ns}\0{BLOCK_BYTES}"
            self._key = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
            self._origin = Origin(self._key, self.size, f"{self.storage.url}/{self.path}", self._get)

    def _checked(self, answer: Answer) -> bytes:
        """The bytes of an answer, if they are of the version that is read."""
        now, then = answer.version, self.stat
        other = ""
        if then.etag and now.etag:
            if then.etag != now.etag:
                other = f"version {then.etag} then, {now.etag} now"
        elif then.mtime_ns and now.mtime_ns and not same_time(then.mtime_ns, now.mtime_ns):
            other = "modified since"
        if then.size >= 0 and now.size >= 0 and then.size != now.size:
            other = f"{then.size} bytes then, {now.size} now"
        if other:
            raise SourceChangedError(
                f"{self.path}: was replaced or changed after the project was opened ({other}); open the project again"
            )
        if not self._key and (now.etag or now.mtime_ns) and now.size >= 0:
            self._pin(Stat("file", now.size, now.mtime_ns, etag=now.etag))
        return answer.data

    # -- reading -------------------------------------------------------------------------------------------------

    def _get(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """Byte ranges, in order; neighbours are asked for together."""
        request = self.storage.limits()[1]
        groups: list[list[tuple[int, int]]] = []
        for low, high in ranges:
            if groups and groups[-1][-1][1] == low and high - groups[-1][0][0] <= request:
                groups[-1].append((low, high))
            else:
                groups.append([(low, high)])
        for group, data in zip(groups, self.fetch([(g[0][0], g[-1][1]) for g in groups]), strict=True):
            base = group[0][0]
            if len(group) == 1:
                yield data
                continue
            for low, high in group:
                yield data[low - base : high - base]

    def fetch(self, ranges: Sequence[tuple[int, int]], *, concurrency: int = CONCURRENCY) -> Iterator[bytes]:
        """Byte ranges, half-open, in order, each a request; of the pinned version, or an error. Nothing is kept."""
        backend = self.storage.backend
        requests = ((what, backend.get(self._full, low, high, what)) for low, high, what in self._named(ranges))
        answers = backend.run_many(requests, concurrency)
        for low, high in ranges:
            try:
                data = self._checked(next(answers))
            except FileNotFoundError as error:
                raise ReadError(f"{self.path}: was removed after the project was opened") from error
            except ReadError as error:
                if status_of(error) == _BEYOND_END:  # SourceChangedError, if it has become shorter
                    self._checked(Answer(b"", self.storage.stat(self.path)))
                raise
            if len(data) != high - low and high <= self.size:
                raise ReadError(f"{self.path}: bytes {low} to {high}: the server gave {len(data)} of {high - low}")
            yield data

    def _named(self, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
        for low, high in ranges:
            yield low, high, f"{self.storage.url}: {self.path}: bytes {low} to {high}"

    def read_at(self, start: int, n: int) -> bytes:
        """Read `n` bytes from byte `start`; fewer only where the file ends."""
        end = start + n
        if self.size >= 0:
            end = min(end, self.size)
        if start >= end:
            return b""
        cache, key = self._cache, self._key
        number = start // BLOCK_BYTES
        if cache is None or not key:
            return next(self.fetch([(start, end)]))
        last = (end - 1) // BLOCK_BYTES
        base = number * BLOCK_BYTES
        if number == last and (data := cache.find(key, number, start - base, end - base)) is not None:
            self._prefetch(cache, number, last)
            self._worth = min(WORTH, self._worth + 1)
            return data
        return self._read_blocks(cache, key, start, end)

    def _read_blocks(self, cache: BlockCache, key: str, start: int, end: int) -> bytes:
        first, last = start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        self._prefetch(cache, first, last)
        parts: dict[int, bytes] = {}
        missing = []
        for number in range(first, last + 1):
            base = number * BLOCK_BYTES
            data = cache.find(key, number, max(0, start - base), min(BLOCK_BYTES, end - base))
            if data is None:
                missing.append(number)
            else:
                parts[number] = data
        if missing and not (self.storage.is_roomy or self._worth > 0 or self._reads_on(last)):
            return next(self.fetch([(start, end)]))  # here and there in more than can be kept: only what is asked for
        self._worth -= len(missing)
        for number, block in cache.fetch(self._origin, missing).items():
            base = number * BLOCK_BYTES
            parts[number] = block[max(0, start - base) : end - base]
        return parts[first] if first == last else b"".join(parts[number] for number in range(first, last + 1))

    def _reads_on(self, number: int) -> bool:
        with self._watching:
            return self._ahead.is_stream(number)

    def _prefetch(self, cache: BlockCache, first: int, last: int) -> None:
        """Have blocks fetched that a sequential reader will want."""
        with self._watching:
            ahead = self._ahead.blocks_ahead(first, last)
        if not ahead:
            return
        count = -(-self.size // BLOCK_BYTES)
        wanted = [number for number in ahead if number < count and not cache.has(self._key, number)]
        if wanted:
            self.storage.in_background(cache.fetch, self._origin, wanted)

    def warm(self) -> Iterator[tuple[int, bool]]:
        """Fetch what isn't in the cache; yields bytes, and whether they had to be fetched."""
        cache = self._cache
        if not self._key:
            self._checked(Answer(b"", self.storage.stat(self.path)))
        if cache is None or not self._key:
            return
        missing = []
        for low in range(0, self.size, BLOCK_BYTES):
            if cache.has(self._key, low // BLOCK_BYTES):
                yield min(BLOCK_BYTES, self.size - low), False
            else:
                missing.append((low, min(low + BLOCK_BYTES, self.size)))
        for (low, high), data in zip(missing, self._get(missing), strict=True):
            self._keep(cache, low, data)
            yield high - low, True
        cache.flush()

    # -- reading much --------------------------------------------------------------------------------------------

    def read_many(self, starts: Sequence[int] | Ints, ends: Sequence[int] | Ints) -> list[bytes]:
        """Read the half-open ranges ``starts[i]:ends[i]``; neighbours share a request, and many are under way at once.

        Raises
        ------
        SourceChangedError, ReadError
        """
        start, end = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
        if self.size >= 0:
            start, end = np.minimum(start, self.size), np.minimum(end, self.size)
        if self._cache is None:
            return self._read_merged(start, end)
        if not self._key:  # without a version nothing can be kept
            self._checked(Answer(b"", self.storage.stat(self.path)))
        if not self._key:
            return self._read_merged(start, end)
        return self._read_planned(self._cache, start, end)

    def _read_planned(self, cache: BlockCache, start: NDArray[np.int64], end: NDArray[np.int64]) -> list[bytes]:
        key = self._key
        held: dict[int, bytes] = {}  # else what is fetched meanwhile might push them out

        def has(number: int) -> bool:
            block = cache.in_memory(key, number)
            if block is not None:
                held[number] = block
                return True
            return cache.has(key, number)

        gap, request = self.storage.limits()
        density = 1 / 64 if self.storage.is_roomy else 1 / 4
        plan = plan_segments(
            start, end, block=BLOCK_BYTES, size=self.size, has=has, gap=gap, request=request, density=density
        )
        parts: list[list[bytes]] = [[] for _ in range(len(start))]
        network = self.fetch([(s.start, s.end) for s in plan.segments if not s.cached])
        for segment, (owners, lows, highs) in zip(plan.segments, plan.pieces(), strict=True):
            at, until = segment.start, segment.end
            data = self._cached(cache, held, at, until) if segment.cached else next(network)
            for owner, low, high in zip(owners, lows, highs, strict=True):
                parts[owner].append(data[low:high])
            if segment.whole:
                self._keep(cache, at, data)
        return [found[0] if len(found) == 1 else b"".join(found) for found in parts]

    def _read_merged(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> list[bytes]:
        gap, request = self.storage.limits()
        result = [b""] * len(start)
        plan = merge_ranges(start, end, max_gap=gap, max_size=request)
        wanted = [(low, high) for low, high in zip(plan.start.tolist(), plan.end.tolist(), strict=True)]
        chunks = self.fetch([r for r in wanted if r[0] < r[1]])
        first = plan.first.tolist()
        for i, (low, high) in enumerate(wanted):
            chunk = next(chunks) if low < high else b""
            for place in plan.order[first[i] : first[i + 1]].tolist():
                result[place] = chunk[int(start[place]) - low : int(end[place]) - low]
        return result

    def _cached(self, cache: BlockCache, held: dict[int, bytes], start: int, end: int) -> bytes:
        """A part of one block that was in the cache a moment ago."""
        number = start // BLOCK_BYTES
        base = number * BLOCK_BYTES
        if number in held:
            return held[number][start - base : end - base]
        data = cache.find(self._key, number, start - base, end - base)
        if data is None:  # on its way here, or gone again
            block = cache.fetch(self._origin, [number])[number]
            return block[start - base : end - base]
        return data

    def _keep(self, cache: BlockCache, start: int, data: bytes) -> None:
        view = memoryview(data)
        for low in range(0, len(data), BLOCK_BYTES):
            cache.keep(self._key, (start + low) // BLOCK_BYTES, view[low : low + BLOCK_BYTES], self._origin.what)


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

    is_local = False

    def __init__(
        self,
        path: str,
        *,
        url: str = "",
        options: dict[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
        remote: RemoteOptions | None = None,
    ) -> None:
        self.url = without_secrets(url or path).rstrip("/")
        self.remote = remote or RemoteOptions()
        self.backend = Backend(url, options, fs, timeout_s=self.remote.timeout)
        self.root = str(self.fs._strip_protocol(path)).rstrip("/")  # noqa: SLF001  # part of fsspec's interface
        protocol = self.fs.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        self._is_http = bool({"http", "https"} & self._protocols)
        self.place = self._place()
        self.cache = self._make_cache(url)
        self.is_roomy = True
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

    def in_background(self, function: Any, *args: Any) -> None:
        """Do something that nobody waits for; what fails is met again by who needs it."""
        self._background.submit(function, *args)

    def full(self, path: str) -> str:
        """The backend's name of a path in the project; ReadError where it would take that for another one's."""
        if not path:
            return self.root
        base = f"{self.root}/" if self.root else ""
        if self._is_http:
            return f"{base}{quote(path, errors='surrogateescape')}"
        if not is_understood(self.fs, f"{base}{path}"):
            raise ReadError(f"{self.url}: {path}: the backend takes this name for another one; give it another name")
        return f"{base}{path}"

    def escapes(self, path: str) -> bool:
        """Never: there are no symbolic links behind a backend."""
        return False

    # -- what is there -------------------------------------------------------------------------------------------

    def walk(self, *, follow_links: bool) -> Iterator[Folder]:
        """Yield each directory, parents first. Everything is listed once."""
        found = sort_keys(list(self.list_keys()))
        self.odd = list(found.faults())
        files = {path: stat for path, (_, stat, _) in found.files.items()}
        self._listed = {path: stat for path, stat in files.items() if path.lower().endswith(".tar")}
        yield from folders_of(found.folders, files)

    def as_listed(self, keys: Keys) -> RemoteStorage:
        """The same place, of which `list_keys` gives what it has given already: nothing is listed for it."""
        same = copy(self)
        same._keys = keys  # noqa: SLF001  # of this very class
        return same

    def list_keys(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Everything below the root as it is now; see `blobdir.sources.keys.Keys`."""
        if self._keys is not None:
            yield from self._keys
            return
        self.fs.invalidate_cache(self.root)  # a backend keeps listings: those of another time, perhaps
        for key, info in list_below(self.backend, self.root, self.url, self.protocols):
            yield self._relative(key), key, info

    def _relative(self, key: str) -> str:
        base = f"{self.root}/" if self.root else ""
        if not key.startswith(base) and key != self.root:
            raise ReadError(f"{self.url}: the backend lists {without_secrets(repr(key))}, which isn't below its root")
        name = key[len(base) :]
        if not base:  # memory:// begins its names with a slash, zip:// doesn't
            name = name.removeprefix("/")
        return unquote(name, errors="surrogateescape") if self._is_http else name

    def stat(self, path: str) -> Stat:
        """Attributes of `path` as they are now; FileNotFoundError where there is none."""
        what = f"{self.url}: {path}"
        return self.backend.run(self.backend.info(self.full(path), what), what)

    def stat_listed(self, paths: Sequence[str]) -> dict[str, Stat]:
        """Attributes of files, from the listing where that has said enough; those that can't be had are left out."""
        found = self.listed(paths)
        found.update(self.stat_many([path for path in paths if path not in found]))
        return found

    def listed(self, paths: Sequence[str]) -> dict[str, Stat]:
        """Attributes of files whose versions the last listing has said."""
        return {path: self._listed[path] for path in paths if _says_enough(self._listed.get(path))}

    def stat_many(self, paths: Sequence[str]) -> dict[str, Stat]:
        """Attributes of files as they are now, asked for together; those that can't be had are left out."""

        async def stat(path: str) -> Stat | None:
            try:
                return await self.backend.info(self.full(path), f"{self.url}: {path}")
            except OSError:
                return None

        answers = self.backend.run_many(((path, stat(path)) for path in paths), SMALL_CONCURRENCY)
        return {path: found for path, found in zip(paths, answers, strict=True) if found is not None}

    # -- bytes ---------------------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        """The whole content of a small file."""
        return self.fetch(path).data

    def fetch(self, path: str, start: int | None = None, end: int | None = None) -> Answer:
        """Bytes ``start:end`` of a file as it is now, or the whole of it, and which version they are of."""
        what = f"{self.url}: {path}" + ("" if start is None else f": bytes {start} to {end}")
        return self.backend.run(self.backend.get(self.full(path), start, end, what), what)

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
        return (answer.data for answer in self.iter_answers(paths, without=frozenset(paths)))

    def iter_answers(self, paths: Sequence[str], *, without: Collection[str] = ()) -> Iterator[Answer]:
        """The same, and which version each is of, but for those in `without`: most backends are asked twice for it."""
        named = [(path, f"{self.url}: {path}") for path in paths]
        requests = (
            (what, self.backend.get(self.full(path), None, None, what, versioned=path not in without))
            for path, what in named
        )
        return self.backend.run_many(requests, SMALL_CONCURRENCY)

    def iter_ranges(self, ranges: Iterable[tuple[str, int, int]]) -> Iterator[bytes]:
        """Short ranges of many files as they are now, ``(path, start, end)``; shorter only where a file ends."""
        named = ((path, start, end, f"{self.url}: {path}: bytes {start} to {end}") for path, start, end in ranges)
        requests = (
            (what, self.backend.get(self.full(path), start, end, what, versioned=False))
            for path, start, end, what in named
        )
        return (answer.data for answer in self.backend.run_many(requests, SMALL_CONCURRENCY))

    def open(self, path: str, expected: Stat | None = None) -> RemoteSource:
        """A file for reads by range, of the version that is `expected`. Asks the backend for nothing.

        An index that was made of the project on a disk knows times of that disk; then only the size counts.
        """
        if expected is None or expected.size < 0:
            return RemoteSource(self, path, self.stat(path))
        if expected.mode >= 0 and not expected.etag:
            expected = Stat("file", expected.size)
        return RemoteSource(self, path, expected)


def _says_enough(stat: Stat | None) -> bool:
    return stat is not None and stat.size >= 0 and bool(stat.etag)
