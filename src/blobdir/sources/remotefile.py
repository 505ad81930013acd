"""One version of one file behind a backend: read by range, through the cache."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from blobdir.blocks import BLOCK_BYTES, BlockCache, Line, Origin, Readahead, Spread, Wait
from blobdir.errors import ReadError, SourceChangedError
from blobdir.locks import ForkSafeLock
from blobdir.perprocess import PerProcess
from blobdir.ranges import merge_ranges
from blobdir.sources.backend import CONCURRENCY, Backend
from blobdir.sources.model import Stat
from blobdir.sources.retries import status_of
from blobdir.sources.segments import plan_segments
from blobdir.sources.transports import BEYOND_END, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.integer]

READAHEAD_BLOCKS = 16
BLOCKS_AT_ONCE = 2 * CONCURRENCY
"""Requests under way together, where each is for one block."""
WORTH = 64
"""Blocks that are fetched for single reads, where not all fit the cache, before a hit must pay for each."""


class Place(Protocol):
    """What a file needs of the storage that it lies in."""

    url: str
    place: str
    backend: Backend
    cache: BlockCache | None
    is_roomy: bool
    line: Line

    def full(self, path: str) -> str:
        """The backend's name of a path."""
        ...

    def stat(self, path: str) -> Stat:
        """Attributes of a file as they are now."""
        ...

    def limits(self) -> tuple[int, int]:
        """Gap and size of merged requests, in bytes."""
        ...

    def in_background(self, function: Callable[..., Any], *args: Any) -> bool:
        """Do something that nobody waits for; whether it will be done."""
        ...


class RemoteSource:
    """One version of one file, read by range.

    The version is that of the index, or of the first answer. Bytes of another one are never given: `told` gives the one
    that others read, who share it.

    Attributes
    ----------
    size : int
        Bytes; -1 until the first answer where nobody has said it.
    """

    fd = -1

    def __init__(self, storage: Place, path: str, stat: Stat, told: Callable[[Stat], Stat] | None = None) -> None:
        self.storage = storage
        self._told = told
        self.path = path
        self.stat = stat
        self.size = stat.size
        self.used = False
        self._full = storage.full(path)
        self._cache = storage.cache
        self._ahead = Readahead(READAHEAD_BLOCKS)
        self._spreads: PerProcess[Spread] | None = None
        self._watching = ForkSafeLock()
        self._key = ""
        self._worth = WORTH
        self._pin(stat)

    def check_size(self) -> None:
        """Nothing: no backend says what a file takes."""

    def now(self) -> Stat:
        """That of the version which is read."""
        return self.stat

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
        if other := then.difference(now):
            del answer  # who keeps the error would keep its bytes
            raise SourceChangedError(
                f"{self.path}: was replaced or changed after the project was opened ({other}); open the project again"
            )
        if not self._key and (now.etag or now.mtime_ns):  # a part may not say how long the file is
            self._pin(Stat("file", max(self.size, now.size), now.mtime_ns, etag=now.etag))
        if self._told is not None and self._key and (other := self._told(self.stat).difference(self.stat)):
            del answer
            raise SourceChangedError(
                f"{self.path}: was replaced while processes began to read it ({other}); open the project again"
            )
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
        at_once = CONCURRENCY if any(len(group) > 1 for group in groups) else BLOCKS_AT_ONCE
        answers = self.fetch([(g[0][0], g[-1][1]) for g in groups], concurrency=at_once)
        for group, data in zip(groups, answers, strict=True):
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
                if status_of(error) == BEYOND_END:  # SourceChangedError, if it has become shorter
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
        wait = self._fetch_along(cache, missing) if missing else None
        began = time.monotonic()
        for number, block in cache.fetch(self._origin, missing).items():
            base = number * BLOCK_BYTES
            parts[number] = block[max(0, start - base) : end - base]
        if wait is not None:
            with self._watching:
                self._spread().waited(wait, time.monotonic() - began)
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

    def _fetch_along(self, cache: BlockCache, missing: list[int]) -> Wait | None:
        """Have blocks fetched that somebody who jumps about will want; how long he waits now is to be told then."""
        storage = self.storage
        if not storage.is_roomy or not storage.backend.is_async:  # they'd push others out, or be in his way
            return None
        with self._watching:
            if self._ahead.is_stream(missing[-1]) or storage.backend.puts_off:
                return None
            wait = self._spread().begin(
                lambda n: n in missing or cache.has(self._key, n), lambda n: cache.has_come(self._key, n)
            )
        if wait.blocks and not storage.in_background(self._fetch_beside, cache, wait):
            self._came(wait, all_right=False)
        return wait

    def _spread(self) -> Spread:
        if self._spreads is None:
            self._spreads = PerProcess(lambda: Spread(-(-self.size // BLOCK_BYTES), self.storage.line))
        return self._spreads.get()

    def _fetch_beside(self, cache: BlockCache, wait: Wait) -> None:
        all_right = False
        try:
            cache.fetch(self._origin, wait.blocks)
            all_right = True
        finally:
            self._came(wait, all_right=all_right)

    def _came(self, wait: Wait, *, all_right: bool) -> None:
        with self._watching:
            self._spread().came(wait, all_right=all_right)

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
