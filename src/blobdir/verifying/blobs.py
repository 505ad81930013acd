"""Blobs: every byte read once, every header held against every entry of the pickles that refer to it."""

from __future__ import annotations

import os
import sys
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from blobdir.errors import BlobdirError, OffsetsError
from blobdir.inside import check_size
from blobdir.nametable import name_at
from blobdir.smallfiles import EMPTY, NO_IMAGE
from blobdir.verifying.contents import are_images, read_through
from blobdir.verifying.duals import check_labels
from blobdir.verifying.findings import EXAMPLES, in_words
from blobdir.verifying.members import CODES, NAME, Members, judge, overlapping, unreferenced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from blobdir.offsets import OffsetsTable
    from blobdir.sources import LocalStorage
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.members import Judgement
    from blobdir.verifying.parsing import ParsedOnce
    from blobdir.verifying.shardindexes import ShardIndexes

    Ints = NDArray[np.int64]
    Content = tuple[NDArray[np.uint8], str]

AT_ONCE: Final = max(2, min(4, os.cpu_count() or 1))
"""Blobs that are read side by side."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A tar of a project, and what is known of it.

    Attributes
    ----------
    path : str
        In the project.
    full : str
        On this machine.
    pickles : list of str
        Paths of the pickles that refer to it.
    checksum : str
        What SHA256SUMS says; empty where it says nothing.
    holds_images : bool
        Or annotations.
    """

    path: str
    full: str
    pickles: list[str]
    checksum: str = ""
    holds_images: bool = True


class BlobCheck:
    """Looks at all blobs of a project. A context manager: the first of them are read from its beginning on.

    Parameters
    ----------
    storage : LocalStorage
        The project.
    blobs : list of Blob
    report : VerifyReport
    progress : callable
        Told how many bytes of all blobs lie behind, and how many there are, by several threads.
    read : ParsedOnce
    indexes : ShardIndexes
        Told of each tar of images.

    Attributes
    ----------
    counts : dict
        Path of each pickle that could be read -> how many entries it has, without exact repeats.
    looked_at : set of str
        Paths of the blobs.
    """

    def __init__(
        self,
        storage: LocalStorage,
        blobs: list[Blob],
        report: VerifyReport,
        progress: Callable[[int, int], None],
        read: ParsedOnce,
        indexes: ShardIndexes,
    ) -> None:
        self._storage, self._report, self._progress, self._read_offsets = storage, report, progress, read
        self._indexes = indexes
        self.counts: dict[str, int] = {}
        self.looked_at: set[str] = set()
        self._behind, self._lock = 0, Lock()
        self._given_up = Event()
        self._total = sum(os.path.getsize(blob.full) for blob in blobs if os.path.isfile(blob.full))
        self._to_read = iter(blobs)
        self._waiting: deque[tuple[Blob, dict[str, OffsetsTable], Future[Content]]] = deque()

    def __enter__(self) -> Self:
        self._readers = ThreadPoolExecutor(AT_ONCE)
        while len(self._waiting) < AT_ONCE and self._begin_next():
            pass
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        self._readers.shutdown(cancel_futures=True)

    def _begin_next(self) -> bool:
        """Have the next blob read beside this thread; False if there is none."""
        blob = next(self._to_read, None)
        if blob is None:
            return False
        tables = self._tables(blob)
        self._waiting.append((blob, tables, self._readers.submit(self._read, blob, list(tables.values()))))
        return True

    def finish(self) -> None:
        """Report what was found. Reading and hashing let go of the interpreter's lock, which the scans here have."""
        while self._waiting or self._begin_next():
            self._begin_next()
            self._check(*self._waiting.popleft())

    def _tables(self, blob: Blob) -> dict[str, OffsetsTable]:
        """The pickles that can be read, without repeats."""
        tables = {}
        for pickle in blob.pickles:
            try:
                tables[pickle] = self._read_offsets(self._storage.open(pickle), name=pickle)
            except (OffsetsError, OSError) as error:
                if isinstance(error, OffsetsError):
                    self._report.add("offsets-unreadable", pickle, str(error))
                else:
                    self._report.add("unreadable", pickle, in_words(error))
                self._report.add(
                    "not-checked", blob.path, f"{pickle} can't be read, so what it leads to here isn't known"
                )
                continue
            self.counts[pickle] = len(tables[pickle])
        self._report.entries += sum(map(len, tables.values()))
        return tables

    def _read(self, blob: Blob, tables: list[OffsetsTable]) -> Content:
        before = 0

        def told(done: int) -> None:
            nonlocal before
            if self._given_up.is_set():
                raise CancelledError
            with self._lock:
                self._behind += done - before
                before = done
                self._progress(self._behind, self._total)

        check_size(os.stat(blob.full), blob.path, most=sys.maxsize)
        starts, ends = _ranges(tables)
        return read_through(blob.full, starts, ends, told, checksum=bool(blob.checksum))

    def _check(self, blob: Blob, tables: dict[str, OffsetsTable], content: Future[Content]) -> None:
        report = self._report
        report.blobs += 1
        self.looked_at.add(blob.path)
        size = self._check_members(blob, tables)
        try:
            heads, digest = content.result()
        except OSError as error:
            report.add("unreadable", blob.path, in_words(error))
            return
        if size >= 0 and blob.holds_images:
            starts, ends = _ranges(tables.values())
            _check_magic(blob.path, list(tables.values()), heads, np.minimum(ends, size) - starts, report)
        if blob.checksum:
            report.checksums += 1
            if digest != blob.checksum:
                report.add("checksum", blob.path, f"is {digest}; blob/SHA256SUMS says {blob.checksum}")

    def _check_members(self, blob: Blob, tables: dict[str, OffsetsTable]) -> int:
        """Bytes of the blob; -1 where its members can't be found."""
        report = self._report
        try:
            size = os.path.getsize(blob.full)
            members = Members.of(blob.full)
        except (BlobdirError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, BlobdirError):
                report.add("unreadable", blob.path, in_words(error))
            else:
                report.add("tar-damaged", blob.path, str(error))
            for pickle in tables:
                report.add("not-checked", pickle, f"its entries: the members of {blob.path} can't be found")
            return -1
        report.blob_bytes += size
        for warning in members.table.warnings:
            report.add("tar-warning", blob.path, warning)
        judged = {
            pickle: (table, check_entries(pickle, members, table, size, report)) for pickle, table in tables.items()
        }
        if len(tables) == len(blob.pickles) > 0:
            used = [found.member[found.member >= 0] for _, found in judged.values()]
            _report_unreferenced(blob.path, members, used, report)
        if blob.holds_images:
            self._indexes.look(blob.path, members.table)
            check_labels(self._storage, blob, members, judged, report)
        return size


def check_entries(pickle: str, members: Members, table: OffsetsTable, size: int, report: VerifyReport) -> Judgement:
    """Report what is wrong with the entries of a pickle."""
    judged = judge(members, table, size)
    for fault, (code, what) in CODES.items():
        rows = np.flatnonzero(judged.fault == fault).tolist()
        for number, row in enumerate(rows[:EXAMPLES], 1):
            said = what
            if fault == NAME:
                said = f"is {os.fsdecode(members.names[int(judged.member[row])])!r} in the tar"
            report.add(code, pickle, _shown(table, row, said), 1 if number < EXAMPLES else len(rows) - EXAMPLES + 1)
    inside, shared = overlapping(table, members)
    if inside:
        report.add("offset-overlap", pickle, _shown(table, inside[0], "begins inside another one"), len(inside))
    if shared:
        report.add("offset-shared", pickle, _shown(table, shared[0], "has the bytes of another one"), len(shared))
    return judged


def _shown(table: OffsetsTable, row: int, what: str) -> str:
    name = os.fsdecode(table.name(row))
    return f"{name}, bytes {int(table.start[row])} to {int(table.end[row])}, {what}"


def _ranges(tables: Iterable[OffsetsTable]) -> tuple[Ints, Ints]:
    tables = list(tables)
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *(t.start for t in tables)]), np.concatenate([none, *(t.end for t in tables)])


def _report_unreferenced(blob: str, members: Members, used: list[Ints], report: VerifyReport) -> None:
    rows = unreferenced(members, used)
    if len(rows):
        table = members.table
        total = int((table.end[rows] - table.start[rows]).sum())
        name = os.fsdecode(name_at(table.arena, table.name_start, int(rows[0])))
        report.add("member-unreferenced", blob, f"{name}: no offsets lead to it ({total} bytes in all)", len(rows))


def _check_magic(
    blob: str, tables: list[OffsetsTable], heads: NDArray[np.uint8], lengths: Ints, report: VerifyReport
) -> None:
    odd = np.flatnonzero(~are_images(heads, lengths))
    first = np.cumsum([0, *map(len, tables)])
    for (code, what), rows in (
        (EMPTY, odd[lengths[odd] <= 0]),
        (NO_IMAGE, odd[lengths[odd] > 0]),
    ):
        for number, row in enumerate(rows[:EXAMPLES].tolist(), 1):
            table = int(np.searchsorted(first, row, side="right")) - 1
            name = os.fsdecode(tables[table].name(row - int(first[table])))
            count = 1 if number < EXAMPLES else len(rows) - EXAMPLES + 1
            report.add(code, blob, f"{name}{what}", count)
