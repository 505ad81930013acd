"""Which version of a loose file the kernel was told of: what it reads must fit the size that it knows.

The native engine isn't told who opens a file, and the kernel keeps size and pages of an inode. So each version of a
loose file is another inode to it: its number in the protocol (the *node*) has the row in its low half, and a tag of the
version in its high half. ``st_ino`` is the row's in any case. Whoever opens the name gets the node of what is there
now; a read by another node is an error, again and again: its reader is in the middle of a file that isn't there now.

On this machine, attributes tell the version, so a tag needs no memory. But a file has the time of a write when that
begins. Who reads it before the end gets some of the old bytes, and it looks the same afterwards. So a file that was
changed a moment ago has a *young* tag: part of it is the clock, so that who opens it a tenth of a second later gets
another node, and what the kernel keeps of the first one is nothing to him; the rest tells whether it's still the same
version. Behind a backend that would take a request for
each name: there, a node without a tag is the version that the first read of it brings, if it has the size that the
kernel was told. Who opens a file again that was read is asked for by one request a second, since the kernel may have
all of its pages, and no read would come. Servers don't say the same of a version in each answer (the etag only to a
HEAD, or only with a whole file), so what was said of the last one is kept, and `Stat.difference` tells whether an
answer is of another: the tag is that of the answer that was the first of it. What was told, and what it is now, is
shared by all workers, in memory that takes no room until then.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from zlib import crc32

import numpy as np

from blobdir.errors import NotFoundError, ReadError, SourceChangedError
from blobdir.index import LOOSE
from blobdir.locks import ForkSafeLock
from blobdir.mounting.attributes import AttributeView
from blobdir.mounting.failures import SecondTries
from blobdir.sources import Stat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.mounting.attributes import InodeAttributes
    from blobdir.mounting.options import MountOptions
    from blobdir.tree import Tree

ROW_BITS: Final = 32
ROW_MASK: Final = (1 << ROW_BITS) - 1
LIVE_S: Final = 1.0
"""Seconds after which the version of a file behind a backend is asked for again."""
SETTLED_NS: Final = 2_000_000_000
SETTLED_BYTES_PER_S: Final = 100_000_000
"""A write may be under way for so long, and as long as its bytes take at this rate."""
_YOUNG_NS: Final = 100_000_000
_CLOCK_MASK: Final = 0x3FE
"""Bits of a young tag that are the clock. The lowest one is 0 there, and 1 in a settled tag."""
_GONE: Final = 0xFFFFFFFF
"""In place of a tag: what the kernel was told first isn't there any more, and nobody has read it."""


def local_tag(version: Stat, now_ns: int) -> int:
    """Tag of a file on this machine, of 32 bits and not 0, as it is for who opens it now."""
    tag = version.tag if version.tag > _CLOCK_MASK | 1 else version.tag | _CLOCK_MASK + 2
    age_ns = now_ns - (version.ctime_ns or version.mtime_ns)
    if age_ns >= SETTLED_NS + version.size * 1_000_000_000 // SETTLED_BYTES_PER_S:
        return tag | 1
    return tag & ~(_CLOCK_MASK | 1) | (now_ns // _YOUNG_NS * 2 & _CLOCK_MASK)


def same_version(first: int, second: int) -> bool:
    """Whether two tags of a file on this machine are of one version; a young one has fewer bits for it."""
    ignored = 0 if first & second & 1 else _CLOCK_MASK | 1
    return first | ignored == second | ignored


class _Shared:
    """What is known of the loose files behind a backend: one memory for all processes that are forked later."""

    def __init__(self, rows: int) -> None:
        self._fd = os.memfd_create("blobdir-versions", os.MFD_CLOEXEC)
        names = ("told", "time", "looked", "first", "now", "etag")
        fields = np.dtype(list(zip(names, ("i8", "i8", "f8", "u4", "u4", "u4"), strict=True)))
        os.ftruncate(self._fd, rows * fields.itemsize)
        memory = np.frombuffer(mmap.mmap(self._fd, rows * fields.itemsize), fields)
        self.told, self.first, self.now = memory["told"], memory["first"], memory["now"]  # size + 1; tags
        self.looked = memory["looked"]  # when its version was last known
        self.time, self.etag = memory["time"], memory["etag"]  # what was said of that; sum of the etag, 0 for none
        self._lock = ForkSafeLock()

    def note(self, row: int, version: Stat) -> int:
        """Keep what is said of a version that is there now; its tag. With the lock."""
        etag = (crc32(version.etag.encode("utf-8", "surrogateescape")) or 1) if version.etag else 0
        then = Stat("file", int(self.told[row]) - 1, int(self.time[row]), etag=str(self.etag[row] or ""))
        if not self.now[row] or then.difference(replace(version, etag=str(etag or ""))):
            self.now[row], self.time[row], self.etag[row] = version.tag, version.mtime_ns, etag
        else:  # and what wasn't said before
            self.time[row], self.etag[row] = self.time[row] or version.mtime_ns, self.etag[row] or etag
        return int(self.now[row])

    @contextmanager
    def locked(self, row: int) -> Iterator[None]:
        """Alone among threads and processes; a lock of a process that dies is free."""
        with self._lock:
            fcntl.lockf(self._fd, fcntl.LOCK_EX, 1, row)
            try:
                yield
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, row)


class VersionedView(AttributeView):
    """Attributes of rows with the versions of loose files. Threads and processes that are forked later may share it.

    Attributes
    ----------
    second_tries : SecondTries
    """

    def __init__(self, tree: Tree, options: MountOptions) -> None:
        super().__init__(tree, options)
        self.second_tries = SecondTries()
        self._shared = None if tree.storage.is_quick else _Shared(len(tree.index))

    def _tag(self, version: Stat) -> int:
        return local_tag(version, time.time_ns())

    def is_of(self, tag: int, found: InodeAttributes) -> bool:
        """Whether what is found now is the version that a node's tag stands for."""
        return tag == found.version or (self._shared is None and bool(tag) and same_version(tag, found.version))

    def _ask(self, row: int) -> InodeAttributes:
        shared = self._shared
        if shared is None or self._tree.index.buffers.source[row] != LOOSE:
            return super()._ask(row)
        found = self.second_tries.once(row, lambda: super(VersionedView, self)._ask(row))
        with shared.locked(row):
            told, first, now = (int(column[row]) for column in (shared.told, shared.first, shared.now))
            if not told:
                shared.told[row] = told = found.size + 1
        return found._replace(size=told - 1, version=0 if now == first else now)

    def opened(self, row: int) -> InodeAttributes:
        """Attributes for who may go on to read: of a file behind a backend that was read, as it is now."""
        shared = self._shared
        if shared is not None and self._tree.index.buffers.source[row] == LOOSE:
            with shared.locked(row):
                now = time.monotonic()
                was_read = shared.now[row] or shared.told[row] == 1  # or is empty: nobody reads such a file
                if is_due := was_read and now - shared.looked[row] >= LIVE_S:
                    shared.looked[row] = now
            if is_due:
                self._look_again(shared, row)
        return self.of(row)

    def _look_again(self, shared: _Shared, row: int) -> None:
        try:
            version = self._tree.file_version(row)
        except NotFoundError:
            shared.looked[row] = 0.0  # the kernel asks a second time before it believes it
            raise
        except ReadError:  # the connection is bad: as if nobody had asked
            return
        if version.etag or version.mtime_ns:
            self._seen(shared, row, 0, version)

    def read(self, row: int, tag: int, start: int, end: int) -> bytes:
        """Bytes of a loose file, of the version that a node stands for.

        Raises
        ------
        SourceChangedError
            There is another one by now.
        """
        if self._shared is None:
            data, version = self._tree.read_version(row, start, end)
            if tag and not same_version(tag, self._tag(version)):
                raise self._changed(row)
            return data
        shared = self._shared
        with shared.locked(row):
            size, now = int(shared.told[row]) - 1, int(shared.now[row])
            tag = tag or int(shared.first[row])
        if tag != now:
            raise self._changed(row)
        if start >= size >= 0:
            return b""
        data, version = self._tree.read_version(row, start, min(end, size) if size >= 0 else end)
        if version.tag != now and not self._seen(shared, row, tag, version):
            raise self._changed(row)
        return data

    def _changed(self, row: int) -> SourceChangedError:
        path = self._tree.path(row)
        return SourceChangedError(f"{path}: was replaced or written to while it was being read; open it again")

    @staticmethod
    def _seen(shared: _Shared, row: int, tag: int, version: Stat) -> bool:
        """Note which version an answer is of; whether it's the one that the node stands for."""
        with shared.locked(row):
            now = shared.note(row, version)
            if not shared.first[row]:
                is_as_told = version.size < 0 or shared.told[row] in (0, version.size + 1)
                shared.first[row] = now if is_as_told else _GONE
            if version.size >= 0:
                shared.told[row] = version.size + 1
            shared.looked[row] = time.monotonic()
            return now == (tag or int(shared.first[row]))
