"""Blobs and the pickles that belong to them: opens each blob once, and finds out whether the two fit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from blobdir.errors import TarError
from blobdir.index import Defect, SourceRecord
from blobdir.offsets.names import is_called, number_of, shown, to_str
from blobdir.tarscan import REACH_BYTES, member_before, scan_tar
from blobdir.tarscan.header import COMPRESSIONS, NAME_BYTES, checksum_holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blobdir.offsets import OffsetsTable
    from blobdir.sources import Stat, Storage
    from blobdir.tarscan import ReadAt, TarTable

BLOCK = 512


def blob_record(path: str, stat: Stat) -> SourceRecord:
    """What the index keeps of a blob."""
    return SourceRecord(
        path, "blob", stat.size, stat.mtime_ns, stat.mode, stat.uid, stat.gid, stat.etag,
        inode=stat.inode, ctime_ns=stat.ctime_ns,
    )  # fmt: skip


def blob_defect(path: str, head: bytes) -> Defect | None:
    """What is wrong with a blob, judged by its first 512 bytes: whatever its name, a right checksum makes it a tar."""
    if len(head) == BLOCK and (not any(head) or checksum_holds(head)):
        return None
    for magic, name, undo in COMPRESSIONS:
        if head.startswith(magic):
            return Defect(
                "error",
                "blob-compressed",
                path,
                f"{path}: is compressed ({name}), so byte ranges of it mean nothing; uncompress it ({undo}) and write "
                "its offsets again with `blobdir offsets`",
            )
    if len(head) == BLOCK:
        return Defect(
            "error",
            "blob-not-tar",
            path,
            f"{path}: doesn't begin with a tar header (byte 0); it is damaged or isn't a tar archive",
        )
    return None


def emptied(pickle: str, blob: str, head: bytes) -> str:
    """What is wrong with an offsets file of no bytes, if anything: only that of a tar without members has none.

    Parameters
    ----------
    pickle, blob : str
        Their paths.
    head : bytes
        The first 512 bytes of the blob.
    """
    if not any(head):
        return ""
    return (
        f"{pickle}: has no bytes at all, but {blob} has members: it was cut off, or never written; write it again with "
        "`blobdir verify --repair` or `blobdir offsets`"
    )


def misfit(before: Callable[[int], bytes], size: int, name: bytes, linked: Callable[[bytes], bool]) -> str:
    """What speaks against a member of `size` bytes and of this name, by the headers before it.

    Offsets fit a blob when header, size and name agree. The name is the member's own, with any number of its folders,
    or that with the number which `offsets --on-conflict rename` gives to one of several.

    Parameters
    ----------
    before : callable
        Gives so many bytes before the member's data, fewer where the blob begins. It is asked for 512, and for more
        only where those don't say all.
    size : int
    name : bytes
    linked : callable
        Told the name that the tar has there where it isn't `name`: whether a hard link of that name leads there.

    Returns
    -------
    str
        Empty if nothing speaks against it.
    """
    found = member_before(before(BLOCK))
    # A header that says 0 bytes may have the real size in a pax record before it.
    if found is None or not found.is_whole or not found.size == size > 0 or not may_be_called(name, found.name):
        found = member_before(before(REACH_BYTES))
    if found is None:
        return "there is no tar header of a file before it"
    if found.size != size:
        return f"the tar says that the member there has {found.size} bytes"
    if not may_be_called(name, found.name) and not linked(found.name):
        return f"the tar says that the member there is {shown(to_str(found.name))}"
    return ""


def may_be_called(name: bytes, member: bytes) -> bool:
    """Whether an entry can have this name for a member, as far as one look tells: its own, or that with a number."""
    return is_called(name, member) or number_of(name.rpartition(b"/")[2], member.rpartition(b"/")[2]) > 0


def fit_defect(source: ReadAt, blob: SourceRecord, pickle: str, table: OffsetsTable) -> Defect | None:
    """Whether offsets belong to another version of the blob, judged by the tar headers before a few members.

    The header before a member must be there and say the member's size and name. The first, middle and last entry are
    looked at: a blob that was written anew differs there, and looking at all costs a pass over the blob.
    """
    places = [i for i in sorted({0, len(table) // 2, len(table) - 1}) if int(table.end[i]) <= blob.size]
    return _first_mismatch(source, blob, pickle, table, places)  # that they end past the end is another defect


def mismatch(
    storage: Storage, blob: SourceRecord, pickle: str, table: OffsetsTable, rows: Iterable[int]
) -> Defect | None:
    """The first of some entries that doesn't fit its blob, as a defect. One read each; writers ask for all."""
    places = list(rows)
    try:
        return _first_mismatch(storage.open(blob.path), blob, pickle, table, places) if places else None
    except OSError as error:
        return unread(blob, pickle, table, error, places[0])


def _first_mismatch(
    source: ReadAt, blob: SourceRecord, pickle: str, table: OffsetsTable, places: list[int]
) -> Defect | None:
    members = Members(source)
    for i in places:
        start, name = int(table.start[i]), table.name(i)
        what = misfit(
            partial(members.before, start), int(table.end[i]) - start, name, partial(members.has, start, name)
        )
        if what:
            return _mismatch(blob, pickle, table, i, what)
    return None


def unread(blob: SourceRecord, pickle: str, table: OffsetsTable, error: OSError, row: int = 0) -> Defect:
    """What to say of offsets whose blob can't be read where it was to be looked at."""
    return _mismatch(blob, pickle, table, row, f"it can't be read ({error.strerror or error})")


def _mismatch(blob: SourceRecord, pickle: str, table: OffsetsTable, row: int, what: str) -> Defect:
    start, end = int(table.start[row]), int(table.end[row])
    name = table.name(row).decode("utf-8", "backslashreplace")
    return Defect(
        "error",
        "offsets-mismatch",
        pickle,
        f"{pickle}: doesn't fit {blob.path}: {name} should be bytes {start} to {end}, but {what}; the blob was "
        "replaced, or the offsets are of another one. `blobdir verify` says which entries don't fit; write them again "
        "with `blobdir verify --repair` or `blobdir offsets`",
    )


class Members:
    """What a blob says of members, by the headers before them, or by all headers when those aren't enough."""

    def __init__(self, source: ReadAt) -> None:
        self._source = source
        self._table: TarTable | None = None

    def before(self, start: int, n: int) -> bytes:
        """The `n` bytes before `start`, fewer where the blob begins."""
        return self._source.read_at(max(0, start - n), min(n, start))

    def name_before(self, start: int) -> bytes | None:
        """The name of the member whose data begin at `start`, by the headers before it; None where that isn't sure."""
        found = member_before(self.before(start, 3 * BLOCK))  # with a pax header of one block
        if found is None or not found.is_whole or len(found.name) >= NAME_BYTES:  # some tools shorten names there
            found = member_before(self.before(start, REACH_BYTES))
        return found.name if found is not None and found.is_whole else None

    def has(self, start: int, name: bytes, _member: bytes) -> bool:
        """Whether one of the members whose data begin at `start` has this name: only a scan finds hard links."""
        try:
            self._table = self._table or scan_tar(self._source)
        except TarError:
            return False  # damaged further on: what is here is as the header says
        rows = np.flatnonzero(self._table.start == start).tolist()
        return any(may_be_called(name, self._table.name(row)) for row in rows)


def range_defect(blob: SourceRecord, pickle: str, table: OffsetsTable) -> Defect | None:
    """Entries that end past the end of the blob."""
    if blob.size < 0:
        return None
    past = np.flatnonzero(table.end > blob.size)
    if not len(past):
        return None
    first = int(past[0])
    name = table.name(first).decode("utf-8", "backslashreplace")
    return Defect(
        "error",
        "offsets-past-end",
        pickle,
        f"{pickle}: {len(past)} of {len(table)} entries end past the end of {blob.path} ({blob.size} bytes), the first "
        f"is {name} (bytes {int(table.start[first])} to {int(table.end[first])}); the blob is truncated, or the "
        "offsets are of another one. Those images can't be read",
    )
