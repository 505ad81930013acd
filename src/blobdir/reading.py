"""Bytes of blob members: which blobs are open, and how one member, or thousands, are read from them."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, NoReturn
from zlib import crc32

import numpy as np

from blobdir.descriptors import DESCRIPTORS, NONE_LEFT
from blobdir.discovery.pairing import BLOCK, blob_defect, misfit
from blobdir.errors import LinkError, ReadError, ShortReadError
from blobdir.index import FIRST_BLOB, Index
from blobdir.index.hashing import PROBE_LIMIT, tag_mask
from blobdir.inside import LEAST_BYTES
from blobdir.locks import ForkSafeLock
from blobdir.ranges import merge_ranges
from blobdir.sources import Source, Stat, Storage
from blobdir.sources.pins import Pins
from blobdir.tarscan import NAME_BYTES, REACH_BYTES, says_plainly

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from blobdir.discovery import Progress
    from blobdir.index import SourceRecord

    Ints = NDArray[np.integer]

HELD_BLOBS = 64
"""Blobs that are held from the moment when a project is opened: `blobdir compact` may take their names away."""
_LOOK_GAP = 64 << 10
"""Bytes of a member that are read for nothing, to have its header by the same request."""
_LONG_LEAD = 3 * BLOCK
"""Bytes before a member in which its headers lie where it has a long name: pax and GNU tar write two for it."""
_LEADS = (_LONG_LEAD, 5 * BLOCK, 9 * BLOCK, 17 * BLOCK)
"""Such, where they are longer: the first that will do is taken for the rest of the blob."""
_AT_ONCE = 64
"""Members of which as much is read at once as headers can have."""
LOCAL_GAP, LOCAL_REQUEST = 16 << 10, 256 << 10
"""Bytes that are read for nothing rather than left out, and bytes of a request: it stays in the processor's cache
while it is cut up."""


class BlobReader:
    """Reads members of a project's blobs. Threads may share it; it works on after a fork."""

    def __init__(self, index: Index, storage: Storage) -> None:
        self._index = index
        self._storage = storage
        self._ignore_defects = index.header.options.get("on_defect") == "ignore"
        self._open: list[Source | None] = [None] * (FIRST_BLOB + len(index.header.blobs))
        self._held: dict[int, Source] = {}
        self._opening = ForkSafeLock()
        self._orders: dict[int, tuple[Ints, Ints]] = {}  # rows of a blob by their offsets, and these
        self._readers: dict[int, Callable[[str], bytes | None]] = {}
        self._pins = None if storage.is_quick else Pins(len(index.header.blobs))
        self._looked: bytearray | None = None  # of each row, whether the header before it was seen to fit
        self._leads: dict[int, int] = {}  # blobs in which a member's headers are longer than a block
        storage.expect(sum(max(0, record.size) for record in index.header.blobs))
        if not (storage.is_quick or self._ignore_defects or index.header.is_scanned):  # else discovery has looked
            self._looked = bytearray(len(index))

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
            found.used = True
            return found
        record = self._index.header.blobs[number - FIRST_BLOB]
        if refusal := self.refusal(number):
            raise ReadError(refusal)
        expected, told = _expected(record), None
        held = self._held_as_it_was(number, expected)
        if self._pins is not None:
            pin = self._pins[number - FIRST_BLOB]
            pinned, told = pin.get(), pin.agree
            expected = pinned if pinned is not None and not expected.difference(pinned) else expected
        opened: Source
        try:
            opened = held or self._storage.open(record.path, expected if expected.size >= 0 else None, told)
        except FileNotFoundError as error:
            raise ReadError(f"{record.path}: was removed after the project was opened") from error
        with self._opening:
            is_first = self._open[number] is None
            if is_first:
                self._open[number] = opened
        if is_first and held is None and opened.fd >= 0:
            DESCRIPTORS.keep(self, number)
        return opened

    def let_go(self, number: int) -> None:
        """Close a blob that isn't held when nobody reads it any more; it's opened again when it's wanted."""
        self._open[number] = None

    def was_used(self, number: int) -> bool:
        """Whether a blob was read since it was last asked, or since it was opened."""
        blob = self._open[number]
        used = blob is not None and blob.used
        if blob is not None:
            blob.used = False
        return used

    def hold(self, before: BlobReader | None = None) -> bool:
        """Keep local blobs from going away as long as the project is open: names may go, or lead to other files.

        Parameters
        ----------
        before : BlobReader, optional
            One of the same project. What it holds, this one holds too.

        Returns
        -------
        bool
            Whether all that were opened are the files that discovery has looked at. Where one isn't, the index is
            outdated already.
        """
        if not self._storage.directory:
            return True
        wanted = dict(enumerate(self._index.header.blobs[:HELD_BLOBS], FIRST_BLOB))
        theirs = {source.path: source for source in before.held} if before else {}
        for number, record in wanted.items():
            source = theirs.get(os.path.join(self._storage.directory, record.path))
            if source is None:
                continue
            now = source.now()  # what was renamed over it has its time of change as well: only the inode says which
            if now.inode == record.inode and _expected(record).same_content(now):
                self._held[number] = source
        left = DESCRIPTORS.hold(self, len(wanted), len(self._held))
        others = [number for number in wanted if number not in self._held]
        are_same = True
        for done, number in enumerate(others[:left]):
            found = self._hold_one(number, wanted[number])
            if found is None:  # others need some, too
                self.give_back((done + 1) // 2)
                DESCRIPTORS.holds(self, len(self._held))
                break
            are_same &= found
        return are_same

    def give_back(self, count: int) -> int:
        """Close some of the held blobs, those that were held last; they are opened again when they are wanted."""
        given = 0
        for number in list(self._held)[::-1][:count]:
            source = self._held.pop(number, None)
            if source is not None:
                given += 1
                if self._open[number] is source:
                    self._open[number] = None
        return given

    @property
    def held(self) -> list[Source]:
        """The blobs that are held."""
        return list(self._held.values())

    @property
    def unheld(self) -> list[SourceRecord]:
        """The blobs that aren't held: of those, what is at their names is read, if it's the same file still."""
        return [record for i, record in enumerate(self._index.header.blobs, FIRST_BLOB) if i not in self._held]

    def _hold_one(self, number: int, record: SourceRecord) -> bool | None:
        """Whether a blob is the file that discovery has looked at, as far as it could be opened.

        None where there was no descriptor left.
        """
        try:
            held = self._storage.open_held(record.path)
        except (FileNotFoundError, LinkError):
            return record.defect >= 0
        except OSError as error:  # whoever reads one of its members is told
            return None if error.errno in NONE_LEFT else True
        if held is None:
            return True
        self._held[number] = held
        now = held.stat
        is_same = (now.size, now.mtime_ns, now.inode) == (record.size, record.mtime_ns, record.inode)
        return is_same or record.defect >= 0

    def _held_as_it_was(self, number: int, expected: Stat) -> Source | None:
        """The held blob, unless it was written to in place."""
        held = self._held.get(number)
        return held if held is not None and expected.same_content(held.now()) else None

    def refusal(self, number: int) -> str:
        """Why nothing of a blob is served, as discovery has found out; empty where there is no reason."""
        record = self._index.header.blobs[number - FIRST_BLOB]
        if record.defect < 0 or not self._refuses(record):
            return ""
        return self._index.header.defects[record.defect].message

    def _refuses(self, record: SourceRecord) -> bool:
        return not self._ignore_defects or self._index.header.defects[record.defect].code == "blob-missing"

    def reader(self, parent: int) -> Callable[[str], bytes | None]:
        """The short way to whole members: a function from a name in directory `parent` to its bytes.

        It gives None for whatever isn't an ordinary member of an open local blob, read in full; the long way
        (`find`, `read`) then says what it is. The two give the same bytes wherever both give any, and that is
        tested. One function per directory, so that lookup and read share local variables: together they cost less
        than the system call.
        """
        if parent not in self._readers:
            self._readers[parent] = self._make_reader(parent)
        return self._readers[parent]

    def _make_reader(self, parent: int) -> Callable[[str], bytes | None]:
        index, sources, looked, pread = self._index, self._open, self._looked, os.pread
        mask, tags, columns = index.capacity - 1, tag_mask(len(index)), index.buffers
        both = mask | tags  # numbers of 30 bits are the quickest
        names, slots, name_start = columns.names, columns.slots, columns.name_start
        source_of, offset_of, size_of = columns.source, columns.offset, columns.size
        first = offset_of[parent]
        end = first + size_of[parent]

        def read(text: str) -> bytes | None:
            try:
                name = text.encode()
            except UnicodeEncodeError:  # bytes that aren't UTF-8
                return None
            code = crc32(name, parent) & both
            home = slot = code & mask
            tag = code & tags
            row = slots[slot]  # row + 1, with its tag
            while row:
                row ^= tag
                if first < row <= end and names[name_start[row - 1] : name_start[row] - 1] == name:
                    row -= 1
                    size = size_of[row]
                    if size > LEAST_BYTES:  # who knows whether the blob can have so many
                        return None
                    blob = sources[source_of[row]]  # held: one that another thread lets go of closes its descriptor
                    try:
                        data = pread(blob.fd, size, offset_of[row])  # type: ignore[union-attr]
                        blob.used = True  # type: ignore[union-attr]
                    except (AttributeError, OSError):  # no blob, not open yet, or not local: cheaper than to ask
                        if blob is not None and blob.fd >= 0:
                            raise
                        if blob is None or (looked is not None and not looked[row]):
                            return None
                        data = blob.read_at(offset_of[row], size)
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
        number = int(self._index.source[row])
        blob = self.source(number)
        if self._looked is not None and not self._looked[row]:
            before = min(self._lead(number, row), offset)
            if start <= _LOOK_GAP:  # one request for both
                data = blob.read_at(offset - before, before + end)
                self._look_at(number, row, data[:before])
                data = data[before + start :]
            else:
                self._look_at(number, row, blob.read_at(offset - before, before))
                data = blob.read_at(offset + start, end - start)
        else:
            data = blob.read_at(offset + start, end - start)
        if len(data) != end - start:
            raise self._short(row, blob.path, offset + start, offset + end, len(data))
        return data

    def check_size(self, row: int) -> None:
        """Raise `OSError` where the member at `row` says that it's larger than its blob can be, by its disk."""
        size = int(self._index.size[row])
        if size > LEAST_BYTES:
            self.source(int(self._index.source[row])).check_size()

    def warm(self, progress: Progress | None = None) -> int:
        """Have all blobs fetched into the cache on disk; the bytes that weren't there."""
        blobs = self._index.header.blobs
        total, done, fetched = sum(max(0, record.size) for record in blobs), 0, 0
        for number, record in enumerate(blobs, FIRST_BLOB):
            if self.refusal(number):
                continue
            source = self.source(number)
            for size, is_new in source.warm():
                done, fetched = done + size, fetched + size * is_new
                if progress is not None:
                    progress(record.path, done, total)
        return fetched

    def _lead(self, number: int, row: int) -> int:
        """Bytes before a member in which its headers lie, for all that is known; see `_LONG_LEAD`."""
        start = self._index.buffers.name_start
        is_long = start[row + 1] - start[row] > NAME_BYTES
        return max(self._leads.get(number, BLOCK), _LONG_LEAD if is_long else 0)

    def _leads_of(self, number: int, rows: Ints) -> Ints:
        """`_lead` of many."""
        start = self._index.name_start
        known: Ints = np.where(start[rows + 1] - start[rows] > NAME_BYTES, _LONG_LEAD, 0)
        return np.maximum(known, self._leads.get(number, BLOCK))

    def _look_at(self, number: int, row: int, header: bytes) -> None:
        """`_look_at_many` of one."""
        self._look_at_many(number, {row: header})

    def _look_at_many(self, number: int, headers: dict[int, bytes]) -> None:
        """See whether members behind a backend fit their offsets, by the headers that came with their bytes.

        Discovery looks at a few members of local blobs, where that costs no request. Behind a backend each member is
        looked at when it's first read: a blob that was written anew may fit where only some have changed.

        Raises
        ------
        ReadError
            One doesn't fit.
        """
        columns = self._index.buffers
        if self._looked is None:
            return
        left = self._still_unclear(number, headers)
        if left:  # what came with the bytes doesn't do
            left = self._still_unclear(number, self._headers(number, list(left), _LONG_LEAD))
        rows = list(left)
        for first in range(0, len(rows), _AT_ONCE):
            headers = self._headers(number, rows[first : first + _AT_ONCE], REACH_BYTES)
            for row, header in self._still_unclear(number, headers).items():
                size, name = columns.size[row], self._index.name(row)
                self._say_misfit(number, row, misfit(_all_of(header), size, name, _no_link))

    def _headers(self, number: int, rows: list[int], lead: int) -> dict[int, bytes]:
        """So many bytes before each member, fewer where the blob begins."""
        start = np.asarray([self._index.buffers.offset[row] for row in rows], np.int64)
        return dict(zip(rows, self.source(number).read_many(np.maximum(0, start - lead), start), strict=True))

    def _still_unclear(self, number: int, headers: dict[int, bytes]) -> dict[int, bytes]:
        """Those of which these bytes don't say that they fit; the others have been looked at then."""
        columns, looked = self._index.buffers, self._looked
        unclear: dict[int, bytes] = {}
        for row, header in headers.items():
            size, name = columns.size[row], self._index.name(row)
            if not says_plainly(header, name, size):
                if misfit(_all_of(header), size, name, partial(self._shares, number, row)):
                    unclear[row] = header
                    continue
                if len(header) > self._leads.get(number, BLOCK):
                    fit = (n for n in _LEADS if not misfit(_all_of(header[-n:]), size, name, _no_link))
                    self._leads[number] = max(self._leads.get(number, BLOCK), next(fit, BLOCK))
            looked[row] = 1  # type: ignore[index]
        return unclear

    def _say_misfit(self, number: int, row: int, what: str) -> NoReturn:
        size, start, blob = int(self._index.size[row]), int(self._index.offset[row]), self.source(number)
        if defect := blob_defect(blob.path, blob.read_at(0, BLOCK)):
            raise ReadError(defect.message)
        path = self._index.path(row).decode("utf-8", "surrogateescape")
        raise ReadError(
            f"{path}: should be bytes {start} to {start + size} of {blob.path}, but {what}; the blob was replaced, "
            "or the offsets are of another one. Write them again with `blobdir offsets`"
        )

    def _shares(self, number: int, row: int, member: bytes) -> bool:
        """Whether a row of this name has the bytes of `row`, which is a hard link to it then."""
        index = self._index
        if number not in self._orders:
            rows = np.flatnonzero(index.source == number)
            rows = rows[np.argsort(index.offset[rows], kind="stable")]
            self._orders[number] = rows, index.offset[rows]
        order, offsets = self._orders[number]
        low, high = np.searchsorted(offsets, index.offset[row] + np.arange(2))
        base = member.rpartition(b"/")[2]
        return any(index.name(other) == base for other in order[low:high].tolist() if other != row)

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
        blob = self._open[number]
        if blob is None:
            blob = self.source(number)
        else:
            blob.used = True
        part = buffer[:wanted]
        if blob.fd < 0 or os.preadv(blob.fd, (part,), columns.offset[row] + start) != wanted:
            part[:] = self.read(row, start, start + wanted)  # what is wrong with it is said there
        return wanted

    def open_all(self, limit: int) -> bool:
        """Hold all blobs that can be opened, `limit` of them at the most, whatever the process's budget says.

        Those are served whatever happens to their names.

        Returns
        -------
        bool
            As `hold`.
        """
        are_same = True
        for number, record in enumerate(self._index.header.blobs[:limit], FIRST_BLOB):
            if self._storage.directory:
                are_same &= self._hold_one(number, record) is not False
            if record.defect < 0:
                with suppress(ReadError, OSError):  # whoever reads one of its members is told
                    self.source(number)
        return are_same

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
        if blob.fd < 0:
            self._read_remote(blob, number, rows, places, start, end, result)
            return
        plan = merge_ranges(start, end, max_gap=LOCAL_GAP, max_size=LOCAL_REQUEST)
        if 2 * len(plan.start) > len(plan.order):
            self._read_scattered(blob, rows, places, start, end, result)
            return
        first, base = plan.first.tolist(), np.repeat(plan.start, np.diff(plan.first))
        low, high = (start[plan.order] - base).tolist(), (end[plan.order] - base).tolist()
        pieces: list[bytes] = []
        for i, (at, until) in enumerate(zip(plan.start.tolist(), plan.end.tolist(), strict=True)):
            chunk = blob.read_at(at, until - at)
            here = slice(first[i], first[i + 1])
            if len(chunk) < max(high[here]):
                short = next(k for k in range(here.start, here.stop) if high[k] > len(chunk))
                row = int(rows[places[plan.order[short]]])
                got = max(0, len(chunk) - low[short])
                raise self._short(row, blob.path, at + low[short], at + high[short], got)
            pieces += [chunk[x:y] for x, y in zip(low[here], high[here], strict=True)]
        for place, data in zip(places[plan.order].tolist(), pieces, strict=True):
            result[place] = data

    def _read_remote(
        self, blob: Source, number: int, rows: Ints, places: Ints, start: Ints, end: Ints, result: list[bytes]
    ) -> None:
        """By the blob's own plan, which knows what is in the cache. Headers that nobody has seen come along."""
        wanted, n = rows[places], len(places)
        offset = self._index.offset[wanted].astype(np.int64)
        looked = self._looked
        is_new = (start < end) & (looked is not None)
        if looked is not None:
            is_new &= np.frombuffer(looked, np.uint8)[wanted] == 0
        new = np.flatnonzero(is_new)
        head = offset.copy()
        head[new] -= np.minimum(offset[new], self._leads_of(number, wanted[new]))
        near, far = is_new & (start - offset <= _LOOK_GAP), np.flatnonzero(is_new & (start - offset > _LOOK_GAP))
        begin = np.where(near, head, start)
        found = blob.read_many(np.append(begin, head[far]), np.append(end, offset[far]))
        if looked is not None and len(new):
            unclear = dict(zip(wanted[far].tolist(), found[n:], strict=True))
            columns, which, leads = self._index.buffers, np.flatnonzero(near), offset - begin
            for i, row, lead in zip(which.tolist(), wanted[which].tolist(), leads[which].tolist(), strict=True):
                header = found[i][:lead]
                if says_plainly(header, self._index.name(row), columns.size[row]):
                    looked[row] = 1
                else:
                    unclear[row] = header
            self._look_at_many(number, unclear)
        whole, cut = (end - begin).tolist(), (start - begin).tolist()
        for i, (place, data) in enumerate(zip(places.tolist(), found, strict=False)):
            if len(data) != whole[i]:
                row, low, got = int(wanted[i]), int(start[i]), max(0, len(data) - cut[i])
                raise self._short(row, blob.path, low, int(end[i]), got)
            result[place] = data[cut[i] :] if cut[i] else data

    def _read_scattered(
        self, blob: Source, rows: Ints, places: Ints, start: Ints, end: Ints, result: list[bytes]
    ) -> None:
        """One call per range, for ranges that lie far apart."""
        pread, fd = os.pread, blob.fd
        wanted, starts = (end - start).tolist(), start.tolist()
        if max(wanted, default=0) <= LEAST_BYTES:
            found = list(map(pread, repeat(fd), wanted, starts))
            if list(map(len, found)) == wanted and len(wanted) == len(result):
                result[:] = found  # `places` are in order, so these are all
                return
        else:
            found = [pread(fd, n, x) if n <= LEAST_BYTES else b"" for n, x in zip(wanted, starts, strict=True)]
        for i, place in enumerate(places.tolist()):
            if len(found[i]) != wanted[i]:
                found[i] = blob.read_at(starts[i], wanted[i])
            if len(found[i]) != wanted[i]:
                x = starts[i]
                raise self._short(int(rows[place]), blob.path, x, x + wanted[i], len(found[i]))
            result[place] = found[i]

    def _short(self, row: int, blob: str, start: int, end: int, got: int) -> ShortReadError:
        path = self._index.path(row).decode("utf-8", "surrogateescape")
        return ShortReadError(
            f"{path}: bytes {start} to {end} of {blob} should be its data, but the blob gave {got} of "
            f"{end - start} bytes: it is truncated, or the offsets are of another one"
        )


def _all_of(header: bytes) -> Callable[[int], bytes]:
    """What `misfit` asks for, where there is no more than this."""
    return lambda _: header


def _no_link(_member: bytes) -> bool:
    return False


def _expected(record: SourceRecord) -> Stat:
    """The version of a blob that was there when the project was opened."""
    return Stat("file", record.size, record.mtime_ns, etag=record.etag, inode=record.inode, ctime_ns=record.ctime_ns)
