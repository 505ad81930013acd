"""What an index depends on: which files and folders count, what of them is kept, and when they are the same still.

Discovery records inputs with these functions, and `blobdir.opening.freshness` compares them: one rule. An input is the
same if size, modification time, inode and time of change are; in a copy of a project (``rsync -a``, ``cp -a``), where
the last two are always others, size and modification time. What was changed right before it was looked at could be
changed again within one tick of the clock; of that, and of the project's own folder, which gets ``.blobdir/`` in it
when an index is put beside a project, the content is compared.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from blobdir.index import SourceRecord
from blobdir.projectlock import STATE_DIR

if TYPE_CHECKING:
    from blobdir.sources import Folder, LocalStorage, Source, Stat

TICK_NS, COARSE_TICK_NS = 20_000_000, 2_000_000_000
"""In which two changes can have the same time: where times have fractions of a second, and where they have none."""
FOLDER, OFFSETS, DECIDING = "folder", "offsets", "deciding"
"""Roles of inputs; `DECIDING` is a plain file whose content decided whether two of one name are the same."""


def place_of(root: str) -> str:
    """Where a project on this machine is: what a copy of it hasn't."""
    try:
        return f"{os.stat(root).st_ino}:{root}"
    except OSError:
        return ""


def is_input(folder: str) -> bool:
    """Whether a folder of the project counts: not those of blobdir's own state."""
    return folder != STATE_DIR and not folder.startswith(f"{STATE_DIR}/")


def folder_record(folder: Folder, looked_ns: int, *, follow_links: bool) -> SourceRecord:
    """What is kept of a folder. Where links are followed, what they lead to counts: it changes without a trace."""
    record = _record(folder.path, FOLDER, replace(folder.stat, size=-1))
    has_links = follow_links and any(entry.target for entry in folder.entries)
    if folder.error is None and (not folder.path or not record.mtime_ns or has_links or is_racy(record, looked_ns)):
        return replace(record, digest=listing_digest(folder))
    return record


def file_record(path: str, role: str, stat: Stat, data: bytes, looked_ns: int) -> SourceRecord:
    """What is kept of a file whose content is `data`."""
    record = _record(path, role, stat)
    return replace(record, digest=digest_of(data)) if _wants_digest(record, looked_ns) else record


def content_record(path: str, role: str, stat: Stat, content: Content) -> SourceRecord:
    """What is kept of a file after its content was read; what wasn't read to its end counts as changed next time."""
    return replace(_record(path, role, stat), digest=content.digest())


def _wants_digest(record: SourceRecord, looked_ns: int) -> bool:
    return not (record.mtime_ns or record.etag) or is_racy(record, looked_ns)


class Content:
    """The content of an offsets file, read from front to back, and its digest where that will be wanted.

    Parameters
    ----------
    data : Source or bytes or None
        None where it can't be read.
    stat : Stat or None
        None where nothing is kept of it.
    looked_ns : int
        When it was looked at.

    Attributes
    ----------
    size : int
        Bytes.
    stat : Stat or None
        Of the open file that it is, if it's one on this machine.
    """

    def __init__(self, data: Source | bytes | None, stat: Stat | None, looked_ns: int) -> None:
        self._data = b"" if data is None else data
        self.size = len(self._data) if isinstance(self._data, bytes) else self._data.size
        self.stat: Stat | None = getattr(data, "stat", None)
        wanted = stat is not None and _wants_digest(_record("", OFFSETS, stat), looked_ns)
        self._hash = hashlib.blake2b(digest_size=16) if wanted else None
        self._done = 0

    def read_at(self, start: int, n: int) -> bytes:
        """Read `n` bytes from byte `start`; fewer only where the file ends."""
        data = self._data[start : start + n] if isinstance(self._data, bytes) else self._data.read_at(start, n)
        if self._hash is not None and start == self._done:
            self._hash.update(data)
            self._done += len(data)
        return data

    def digest(self) -> str:
        """Of the content; empty where it isn't wanted, or where not all was read."""
        if self._hash is None:
            return ""
        if isinstance(self._data, bytes):
            return digest_of(self._data)
        return self._hash.hexdigest() if self._done >= self.size else ""


def _record(path: str, role: str, stat: Stat) -> SourceRecord:
    return SourceRecord(
        path, role, stat.size, stat.mtime_ns, stat.mode, stat.uid, stat.gid, stat.etag,
        inode=stat.inode, ctime_ns=stat.ctime_ns,
    )  # fmt: skip


def is_racy(record: SourceRecord, looked_ns: int) -> bool:
    """Whether it was changed so shortly before it was looked at that its times say nothing of what came then."""
    tick_ns = TICK_NS if record.ctime_ns % 1_000_000_000 else COARSE_TICK_NS  # nobody can set this one
    return max(record.mtime_ns, record.ctime_ns) > looked_ns - tick_ns


def digest_of(data: bytes) -> str:
    """Of a file's content."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def listing_digest(folder: Folder) -> str:
    """Of the names in a folder, what they are, their sizes where the listing says them, and where links lead to."""
    known = sorted(
        f"{entry.kind}\0{entry.size}\0{entry.name}\0{entry.target}"
        for entry in folder.entries
        if folder.path or entry.name != STATE_DIR
    )
    return digest_of("\0\0".join(known).encode("utf-8", "surrogateescape"))


def now_of(
    then: SourceRecord, storage: LocalStorage, looked_ns: int, *, in_place: bool, follow_links: bool
) -> SourceRecord | None:
    """An input as it is now, if it's the same as it was then; None where it isn't.

    Parameters
    ----------
    then : SourceRecord
    storage : LocalStorage
    looked_ns : int
        When it was looked at then.
    in_place : bool
        Whether the project is where it was then, and no copy of it.
    follow_links : bool
        Whether folders were listed with links followed.

    Raises
    ------
    OSError
        It isn't there, or can't be asked.
    """
    stat = storage.stat(then.path)
    if then.role == FOLDER:
        stat = replace(stat, size=-1)
    now = replace(_record(then.path, then.role, stat), digest=then.digest, defect=then.defect)
    same = (then.size, then.mtime_ns) == (now.size, now.mtime_ns)
    if in_place and (then.inode, then.ctime_ns) != (now.inode, now.ctime_ns):
        same = False
    may_lead_elsewhere = follow_links and then.role == FOLDER and then.digest
    if same and not may_lead_elsewhere and not is_racy(then, looked_ns):
        return now
    if not then.digest or then.size != now.size:
        return None
    if then.role == FOLDER:
        folder = storage.folder(then.path, follow_links=follow_links)
        return now if folder.error is None and listing_digest(folder) == then.digest else None
    return now if digest_of(storage.read(then.path)) == then.digest else None
