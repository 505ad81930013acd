"""One place to ask for a part of a remote file: memory, disk, or one fetch for all who want it."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachetools import LRUCache

from blobdir.background import IDLE_S, start
from blobdir.blocks.disk import unlock
from blobdir.errors import BlobdirError
from blobdir.perprocess import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from blobdir.blocks.disk import DiskTier

BLOCK_BYTES = 1 << 20
_POLL_S = 0.002
_QUEUED = 64
"""Blocks that may wait to be written; who fetches faster than the disk writes has to wait."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One version of one remote file, where its blocks come from.

    Attributes
    ----------
    key : str
        Hexadecimal digits that no other version of any file has.
    size : int
        Bytes.
    what : str
        Name of the file, for people; without secrets.
    get : callable
        Gets byte ranges, half-open: as many answers as ranges, in order.
    """

    key: str
    size: int
    what: str
    get: Callable[[Sequence[tuple[int, int]]], Iterator[bytes]]

    def bounds(self, number: int) -> tuple[int, int]:
        """Bytes of a block, half-open."""
        return number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, self.size)


@dataclass(frozen=True, slots=True)
class _Job:
    """A block to be written, and the lock to let go of afterwards."""

    key: str
    number: int
    data: memoryview | bytes
    what: str
    lock: int


@dataclass(slots=True)
class _State:
    """What belongs to one process: neither threads nor their locks survive a fork."""

    memory: LRUCache[tuple[str, int], bytes]
    guard: threading.Lock = field(default_factory=threading.Lock)
    flights: dict[tuple[str, int], Future[bytes]] = field(default_factory=dict)
    jobs: queue.Queue[_Job] = field(default_factory=lambda: queue.Queue(_QUEUED))
    writer: threading.Thread | None = None


class BlockCache:
    """Blocks of remote files. Threads may share it; it works on after a fork.

    Parameters
    ----------
    memory_bytes : int
        Bytes of blocks that are kept in memory; 0 for none.
    disk : DiskTier, optional
    timeout_s : float
        How long to wait for a block that another process is fetching, before it's fetched here too.

    Attributes
    ----------
    hits, disk_hits, misses : int
        Times that something was in memory, on disk, and blocks that had to be fetched.
    """

    def __init__(self, memory_bytes: int, disk: DiskTier | None = None, *, timeout_s: float = 60) -> None:
        self.disk = disk
        self.memory_bytes = memory_bytes
        self.timeout_s = timeout_s
        self._state = PerProcess(lambda: _State(LRUCache(max(memory_bytes, 1), getsizeof=len)))
        self.hits = self.disk_hits = self.misses = 0

    @property
    def capacity(self) -> int:
        """Bytes that can be kept."""
        return max(self.memory_bytes, 0 if self.disk is None or self.disk.broken else self.disk.limit)

    # -- what is here ----------------------------------------------------------------------------------------

    def find(self, key: str, number: int, start: int, end: int) -> bytes | None:
        """Bytes ``start:end`` of a block, half-open, if they are in memory or on disk."""
        state = self._state.get()
        with state.guard:
            block = state.memory.get((key, number))
        if block is not None:
            self.hits += 1
            return block[start:end]
        if self.disk is not None and not self.disk.broken:
            data = self.disk.read(key, number, start, end)
            if data is not None:
                self.disk_hits += 1
                return data
        return None

    def in_memory(self, key: str, number: int) -> bytes | None:
        """A whole block, if it is in memory."""
        state = self._state.get()
        with state.guard:
            return state.memory.get((key, number))

    def has(self, key: str, number: int) -> bool:
        """Whether a block is in memory, on disk, or on its way here."""
        state = self._state.get()
        with state.guard:
            if (key, number) in state.memory or (key, number) in state.flights:
                return True
        return self.disk is not None and not self.disk.broken and self.disk.has(key, number)

    def has_come(self, key: str, number: int) -> bool:
        """Whether a block is in memory or on disk, or was just fetched."""
        state = self._state.get()
        with state.guard:
            if (key, number) in state.memory:
                return True
            if (flight := state.flights.get((key, number))) is not None:
                return flight.done()
        return self.disk is not None and not self.disk.broken and self.disk.has(key, number)

    def keep(self, key: str, number: int, data: bytes | memoryview, what: str) -> None:
        """Keep a block that was fetched along with others; on disk if there is one, else in memory."""
        if self.disk is not None and not self.disk.broken:
            if not self.disk.has(key, number):
                self.write(_Job(key, number, data, what, -1))
        else:
            self.remember(self._state.get(), key, number, bytes(data))

    def remember(self, state: _State, key: str, number: int, data: bytes) -> None:
        """Keep a block in memory."""
        if len(data) <= self.memory_bytes:
            with state.guard:
                state.memory[key, number] = data

    # -- fetching --------------------------------------------------------------------------------------------

    def fetch(self, origin: Origin, numbers: Iterable[int]) -> dict[int, bytes]:
        """Whole blocks that aren't here, each fetched once by all threads and processes together.

        Returns
        -------
        dict
            Block number -> bytes.

        Raises
        ------
        Exception
            Whatever `Origin.get` raises.
        """
        state = self._state.get()
        mine: list[int] = []
        others: dict[int, Future[bytes]] = {}
        with state.guard:
            for number in numbers:
                flight = state.flights.get((origin.key, number))
                if flight is None:
                    state.flights[origin.key, number] = Future()
                    mine.append(number)
                else:
                    others[number] = flight
        landing = _Landing(self, state, origin)
        given_up: BlobdirError | None = None
        try:
            landing.fetch(mine)
        except BlobdirError as error:
            given_up = error
            raise
        finally:
            with state.guard:
                left = [state.flights.pop((origin.key, number)) for number in mine]
            for flight in left:
                if flight.done():
                    continue
                if given_up is None:
                    flight.cancel()
                else:
                    flight.set_exception(given_up)
        for number, flight in others.items():
            landing.found[number] = self._await(flight, origin, number)
        return landing.found

    def _await(self, flight: Future[bytes], origin: Origin, number: int) -> bytes:
        try:
            return flight.result(self.timeout_s)
        except BlobdirError:  # after all tries: another time as long would be past our deadline
            raise
        except Exception:  # whatever befell the other: it is tried once more, for us
            return next(iter(origin.get([origin.bounds(number)])))

    # -- writing, behind the reader's back -------------------------------------------------------------------

    def write(self, job: _Job) -> None:
        """Have a block written; waits only while too many others are to be."""
        if self.disk is None:
            return
        state = self._state.get()
        state.jobs.put(job)
        with state.guard:
            if state.writer is not None:
                return
            with suppress(OSError):
                state.writer = start(_write_all, state, self.disk, name="blobdir-cache")
                return
        _write_all(state, self.disk, wait_s=0)  # what others put there meanwhile as well: they may wait for room

    def flush(self) -> None:
        """Wait until everything that was fetched is on disk."""
        self._state.get().jobs.join()


def _write_all(state: _State, disk: DiskTier, wait_s: float = IDLE_S) -> None:
    while True:
        try:
            job = state.jobs.get(timeout=wait_s)
        except queue.Empty:
            if not wait_s:
                return
            with state.guard:
                if state.jobs.empty():  # else somebody has just put one in, and relies on us
                    state.writer = None
                    return
            continue
        try:
            disk.write(job.key, job.number, job.data, job.what)
        except Exception:  # noqa: S110  # a warning that is an error, say: who waits for the queue must go on
            pass
        finally:
            unlock(job.lock)
            state.jobs.task_done()


class _Landing:
    """Blocks of one file that one thread fetches."""

    def __init__(self, cache: BlockCache, state: _State, origin: Origin) -> None:
        self._cache = cache
        self._state = state
        self._origin = origin
        self._disk = cache.disk if cache.disk is not None and not cache.disk.broken else None
        self.found: dict[int, bytes] = {}

    def fetch(self, numbers: Sequence[int]) -> None:
        """Get blocks: those that no other process is fetching, then those that others have fetched meanwhile."""
        locks: dict[int, int] = {}
        foreign: list[int] = []
        try:
            for number in numbers:
                lock = -1 if self._disk is None else self._disk.try_lock(self._origin.key, number)
                if lock is None:
                    foreign.append(number)
                else:
                    locks[number] = lock
            self._fetch_locked(locks)
        finally:
            for lock in locks.values():
                unlock(lock)
        for number in foreign:
            self._wait_for_another(number)

    def _fetch_locked(self, locks: dict[int, int]) -> None:
        for number in locks:
            if (data := self._from_disk(number)) is not None:  # another has just written it
                self._land(number, data)
        wanted = [number for number in locks if number not in self.found]
        if not wanted:
            return
        self._cache.misses += len(wanted)
        origin = self._origin
        for number, data in zip(wanted, origin.get([origin.bounds(n) for n in wanted]), strict=True):
            self._land(number, data)
            if self._disk is not None:
                lock, locks[number] = locks[number], -1  # the writer closes it
                self._cache.write(_Job(origin.key, number, data, origin.what, lock))

    def _land(self, number: int, data: bytes) -> None:
        self.found[number] = data
        self._cache.remember(self._state, self._origin.key, number, data)
        with self._state.guard:
            flight = self._state.flights.get((self._origin.key, number))
        if flight is not None and not flight.done():
            flight.set_result(data)

    def _from_disk(self, number: int) -> bytes | None:
        if self._disk is None:
            return None
        low, high = self._origin.bounds(number)
        return self._disk.read(self._origin.key, number, 0, high - low)

    def _wait_for_another(self, number: int) -> None:
        deadline = time.monotonic() + self._cache.timeout_s
        lock: int | None = -1
        while self._disk is not None and (lock := self._disk.try_lock(self._origin.key, number)) is None:
            if self._disk.has(self._origin.key, number) or time.monotonic() > deadline:
                lock = -1
                break
            time.sleep(_POLL_S)
        locks = {number: -1 if lock is None else lock}
        try:
            self._fetch_locked(locks)
        finally:
            unlock(locks[number])
