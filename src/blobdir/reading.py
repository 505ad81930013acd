"""Bytes of blob members: which blobs are open, and how one member, or thousands, are read from them."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from blobdir.discovery.pairing import BLOCK, blob_defect
from blobdir.errors import ReadError, ShortReadError
from blobdir.index import FIRST_BLOB, Index
from blobdir.index.hashing import PROBE_LIMIT
from blobdir.ranges import MergePlan, merge_ranges
from blobdir.sources import LocalSource, Source, Stat, Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from blobdir.index import SourceRecord

    Ints = NDArray[np.integer]

MAX_OPEN_BLOBS = 256
"""Blobs kept open at a time: far below the usual limit of 1,024 descriptors."""
LOCAL_GAP, LOCAL_REQUEST = 16 << 10, 256 << 10
"""Bytes that are read for nothing rather than left out, and bytes of a request: it stays in the processor's cache
while it is cut up."""
REMOTE_GAP, REMOTE_REQUEST, REMOTE_BATCH = 64 << 10, 4 << 20, 16
"""The same for blobs behind a backend, and the requests that are under way together."""


class BlobReader:
    """Reads members of a project's blobs. Threads may share it; it works on after a fork."""

    def __init__(self, index: Index, storage: Storage) -> None:
        self._index = index
        self._storage = storage
        self._ignore_defects = index.header.options.get("on_defect") == "ignore"
        self._open: list[Source | None] = [None] * (FIRST_BLOB + len(index.header.blobs))
        self._opened: deque[int] = deque()
        self._opening = threading.Lock()
        self._most_open = MAX_OPEN_BLOBS
        self._readers: dict[int, Callable[[bytes], bytes | None]] = {}

    def source(self, number: int) -> Source:
        """The open blob of a source number.

        Pinned: a blob that was replaced since the project was opened is an error, and one that is replaced while
        it's open goes on being served as it was.

        Raises
        ------
        ReadError
            The blob is missing, compressed, or doesn't fit its offsets.
        SourceChangedError
        """
        found = self._open[number]
        if found is not None:
            return found
        record = self._index.header.blobs[number - FIRST_BLOB]
        if refusal := self.refusal(number):
            raise ReadError(refusal)
        expected = Stat("file", record.size, record.mtime_ns, etag=record.etag)
        try:
            opened = self._storage.open(record.path, expected if record.size >= 0 else None)
        except FileNotFoundError as error:
            raise ReadError(f"{record.path}: was removed after the project was opened") from error
        look = not (self._storage.is_local or self._ignore_defects)  # local ones were looked at by discovery
        if look and (defect := blob_defect(record.path, opened.read_at(0, BLOCK))):
            raise ReadError(defect.message)
        with self._opening:
            if self._open[number] is None:
                self._opened.append(number)
                if len(self._opened) > self._most_open:
                    self._open[self._opened.popleft()] = None
                self._open[number] = opened
        return opened

    def refusal(self, number: int) -> str:
        """Why nothing of a blob is served, as discovery has found out; empty where there is no reason."""
        record = self._index.header.blobs[number - FIRST_BLOB]
        if record.defect < 0 or not self._refuses(record):
            return ""
        return self._index.header.defects[record.defect].message

    def _refuses(self, record: SourceRecord) -> bool:
        return not self._ignore_defects or self._index.header.defects[record.defect].code == "blob-missing"

    def reader(self, parent: int) -> Callable[[bytes], bytes | None]:
        """The short way to whole members: a function from a name in directory `parent` to its bytes.

        It gives None for whatever isn't an ordinary member of an open local blob, read in full; the long way
        (`find`, `read`) then says what it is. The two give the same bytes wherever both give any, and that is
        tested. One function per directory, so that lookup and read share local variables: together they cost less
        than the system call.
        """
        if parent not in self._readers:
            self._readers[parent] = self._make_reader(parent)
        return self._readers[parent]

    def _make_reader(self, parent: int) -> Callable[[bytes], bytes | None]:
        index, sources, pread = self._index, self._open, os.pread
        mask, columns = index.capacity - 1, index.buffers
        names, slots, name_start = columns.names, columns.slots, columns.name_start
        source_of, offset_of, size_of = columns.source, columns.offset, columns.size
        first = offset_of[parent]
        end = first + size_of[parent]

        def read(name: bytes) -> bytes | None:
            home = slot = crc32(name, parent) & mask
            row = slots[slot]  # row + 1
            while row:
                if first < row <= end and names[name_start[row - 1] : name_start[row] - 1] == name:
                    row -= 1
                    size = size_of[row]
                    blob = sources[source_of[row]]  # held: one that another thread lets go of closes its descriptor
                    try:
                        data = pread(blob.fd, size, offset_of[row])  # type: ignore[union-attr]
                    except AttributeError:  # no blob, not open yet, or not local: cheaper than to ask
                        return None
                    return data if len(data) == size else None
                slot += 1
                if slot - home > PROBE_LIMIT:
                    return None
                row = slots[slot]
            return None

        return read

    def read(self, row: int, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start:end`` of the member at `row`, half-open, cut at the member's end."""
        size, offset = int(self._index.size[row]), int(self._index.offset[row])
        end = size if end is None else min(end, size)
        if start >= end:
            return b""
        blob = self.source(int(self._index.source[row]))
        data = blob.read_at(offset + start, end - start)
        if len(data) != end - start:
            raise self._short(row, blob.path, offset + start, offset + end, len(data))
        return data

    def read_into(self, row: int, start: int, buffer: memoryview) -> int:
        """Read the member at `row` from its byte `start` into a buffer, as much as the buffer takes.

        Returns
        -------
        int
            Bytes; fewer than the buffer takes only where the member ends.
        """
        columns = self._index.buffers
        wanted: int = min(len(buffer), columns.size[row] - start)
        if wanted <= 0:
            return 0
        number = columns.source[row]
        blob = self._open[number] or self.source(number)
        part = buffer[:wanted]
        if type(blob) is not LocalSource or os.preadv(blob.fd, (part,), columns.offset[row] + start) != wanted:
            part[:] = self.read(row, start, start + wanted)  # what is wrong with it is said there
        return wanted

    def open_all(self, limit: int) -> None:
        """Open all blobs that can be, `limit` of them at the most: those are served whatever happens to their names."""
        self._most_open = limit
        for number, record in enumerate(self._index.header.blobs[:limit], FIRST_BLOB):
            if record.defect < 0:
                with suppress(ReadError, OSError):  # whoever reads one of its members is told
                    self.source(number)

    def read_many(self, number: int, rows: Ints, places: Ints, starts: Ints, ends: Ints, result: list[bytes]) -> None:
        """Read byte ranges of many members of one blob; neighbours share a request.

        Parameters
        ----------
        number : int
            Source number of the blob.
        rows, starts, ends : ndarray of int, shape (n,)
            Members and the half-open range wanted of each.
        places : ndarray of int
            Which of them are in this blob.
        result : list of bytes, length n
            Receives them, at `places`.
        """
        blob = self.source(number)
        wanted = rows[places]
        offset, size = self._index.offset[wanted], self._index.size[wanted].astype(np.int64)
        low = np.minimum(starts[places], size)
        start, end = offset + low, offset + np.maximum(low, np.minimum(ends[places], size))
        gap, request = (LOCAL_GAP, LOCAL_REQUEST) if self._storage.is_local else (REMOTE_GAP, REMOTE_REQUEST)
        plan = merge_ranges(start, end, max_gap=gap, max_size=request)
        if isinstance(blob, LocalSource) and 2 * len(plan.start) > len(plan.order):
            self._read_scattered(blob, rows, places, start, end, result)
            return
        first, base = plan.first.tolist(), np.repeat(plan.start, np.diff(plan.first))
        low, high = (start[plan.order] - base).tolist(), (end[plan.order] - base).tolist()
        pieces: list[bytes] = []
        for i, chunk in self._chunks(blob, plan):
            here = slice(first[i], first[i + 1])
            if len(chunk) < max(high[here]):
                short = next(k for k in range(here.start, here.stop) if high[k] > len(chunk))
                at, row = int(plan.start[i]), int(rows[places[plan.order[short]]])
                got = max(0, len(chunk) - low[short])
                raise self._short(row, blob.path, at + low[short], at + high[short], got)
            pieces += [chunk[x:y] for x, y in zip(low[here], high[here], strict=True)]
        for place, data in zip(places[plan.order].tolist(), pieces, strict=True):
            result[place] = data

    def _read_scattered(
        self, blob: LocalSource, rows: Ints, places: Ints, start: Ints, end: Ints, result: list[bytes]
    ) -> None:
        """One call per range, for ranges that lie far apart."""
        pread, fd = os.pread, blob.fd
        wanted, starts = (end - start).tolist(), start.tolist()
        found = [pread(fd, n, x) for n, x in zip(wanted, starts, strict=True)]
        for i, place in enumerate(places.tolist()):
            if len(found[i]) != wanted[i]:  # one call gives 2 GiB at the most
                found[i] = blob.read_at(starts[i], wanted[i])
            if len(found[i]) != wanted[i]:
                x = starts[i]
                raise self._short(int(rows[place]), blob.path, x, x + wanted[i], len(found[i]))
            result[place] = found[i]

    @staticmethod
    def _chunks(blob: Source, plan: MergePlan) -> Iterator[tuple[int, bytes]]:
        """Each request's number and bytes, in order."""
        starts, ends = plan.start.tolist(), plan.end.tolist()
        if isinstance(blob, LocalSource):
            for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
                yield i, blob.read_at(start, end - start)
            return
        for at in range(0, len(starts), REMOTE_BATCH):
            yield from enumerate(blob.read_many(starts[at : at + REMOTE_BATCH], ends[at : at + REMOTE_BATCH]), at)

    def _short(self, row: int, blob: str, start: int, end: int, got: int) -> ShortReadError:
        path = self._index.path(row).decode("utf-8", "surrogateescape")
        return ShortReadError(
            f"{path}: bytes {start} to {end} of {blob} should be its data, but the blob gave {got} of "
            f"{end - start} bytes: it is truncated, or the offsets are of another one"
        )
