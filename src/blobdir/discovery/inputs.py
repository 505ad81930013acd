"""What an index depends on: which files and folders count, what of them is kept, and when they are the same still.

Discovery records inputs with these functions, and `blobdir.opening.freshness` compares them: one rule. An input is the
same if size, modification time, inode and time of change are. What was changed right before it was looked at could be
changed again within one tick of the clock; of that, and of the project's own folder, which gets ``.blobdir/`` in it
when an index is put beside a project, the content is compared.

In a copy of a project (``rsync -a``, ``cp -a``) inodes and times of change are always others. So an index that travels
has digests of the contents of all its inputs (`with_digests`); of a blob, of some blocks (`PROBES`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from blobdir.descriptors import none_left
from blobdir.discovery.deciding import COMPARED, decides_so
from blobdir.discovery.tarplaces import expand
from blobdir.errors import BlobdirError
from blobdir.index import FIRST_BLOB, SourceRecord
from blobdir.projectlock import STATE_DIR
from blobdir.sources import Stat

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from blobdir.index import Header, Index
    from blobdir.sources import Folder, LocalStorage, Source, Storage

PROBES, BLOCK = 64, 512
"""Blocks of a blob that are compared in a copy of its project: the first, the last, and headers of members."""
_HASHED_BYTES = 8 << 20
TICK_NS, COARSE_TICK_NS = 20_000_000, 2_000_000_000
"""In which two changes can have the same time: where times have fractions of a second, and where they have none."""
BLOB, FOLDER, OFFSETS, DECIDING, UNREAD = "blob", "folder", "offsets", "deciding", "unread"
"""Roles of inputs; `DECIDING` is a plain file whose content decided whether two of one name are the same, `UNREAD` what
couldn't be read then: by this user, or at that moment. An index with one is true only where it can't be read now."""
MATCHED, WHOLE = "matched", "whole"
"""Roles that only tars have: `MATCHED` is a pattern, with a digest of the names that match it; `WHOLE` a tar of which
the index has all rows, as many as its size says, with what else it has: see `blobdir.discovery.tars`."""
NO_FILES = frozenset((UNREAD, COMPARED, MATCHED, WHOLE))
"""Roles whose attributes are those of no file."""


def place_of(storage: Storage) -> str:
    """Where a project is: neither a copy of it, nor one that was moved, is there."""
    if not storage.directory:
        return f"remote:{digest_of(storage.place.encode('utf-8', 'surrogateescape'))}"
    try:
        return f"{os.stat(storage.directory).st_ino}:{storage.directory}"
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


def matched_record(pattern: str, names: Iterable[str]) -> SourceRecord:
    """What is kept of a pattern, and of the names that match it."""
    return SourceRecord(pattern, MATCHED, digest=digest_of("\0".join(names).encode("utf-8", "surrogateescape")))


def is_matched_so(then: SourceRecord, storage: Storage) -> bool:
    """Whether the same names match a pattern."""
    return then == matched_record(then.path, expand(then.path, storage.entries))


def unread_record(path: str, n: int = -1) -> SourceRecord:
    """What is kept of a folder or file that couldn't be read; of a blob, its first `n` bytes are tried again."""
    return SourceRecord(path, UNREAD, n)


def unread(header: Header) -> list[str]:
    """Paths of what couldn't be read when an index was made: others may be able to, or its maker a moment later."""
    return [record.path for record in header.inputs if record.role == UNREAD]


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


def with_digests(index: Index, storage: LocalStorage) -> Index:
    """The same index with digests of all inputs that haven't changed since, by which it's known in a copy."""
    header = index.header
    blobs = [
        replace(blob, digest=_probed(storage, blob, places)) if _is_so(blob, storage) else blob
        for blob, places in zip(header.blobs, _places(index), strict=True)
    ]
    inputs = [
        replace(then, digest=_content_of(then, storage, follow_links=bool(header.options.get("follow_links"))))
        if not then.digest and then.role not in NO_FILES and _is_so(then, storage)
        else then
        for then in header.inputs
    ]
    # What was changed while it was read has the digest of nobody knows what.
    kept = [
        now if now == then or _is_so(then, storage) else then for now, then in zip(blobs, header.blobs, strict=True)
    ]
    found = [
        now if now == then or _is_so(then, storage) else then for now, then in zip(inputs, header.inputs, strict=True)
    ]
    return replace(index, header=replace(header, blobs=kept, inputs=found))


def _is_so(then: SourceRecord, storage: LocalStorage) -> bool:
    """Whether a file or folder has the attributes that were recorded."""
    try:
        now = storage.stat(then.path)
    except (OSError, BlobdirError):
        return False
    size = -1 if then.role == FOLDER else now.size
    return (then.size, then.mtime_ns, then.inode, then.ctime_ns) == (size, now.mtime_ns, now.inode, now.ctime_ns)


def _content_of(then: SourceRecord, storage: LocalStorage, *, follow_links: bool) -> str:
    """Digest of what an input says now; empty where it can't be read."""
    try:
        if then.role == FOLDER:
            folder = storage.folder(then.path, follow_links=follow_links)
            return "" if folder.error is not None else listing_digest(folder)
        source, done = storage.open(then.path), 0
        found = hashlib.blake2b(digest_size=16)
        while data := source.read_at(done, _HASHED_BYTES):
            found.update(data)
            done += len(data)
        return found.hexdigest()
    except (OSError, BlobdirError):
        return ""


def _places(index: Index) -> list[list[int]]:
    """Where the blocks of each blob begin that are compared."""
    order = np.lexsort((index.offset, index.source))
    sources, offsets = index.source[order], index.offset[order]
    numbers = np.arange(len(index.header.blobs) + 1) + FIRST_BLOB
    first = np.searchsorted(sources, numbers)
    found = []
    for number, blob in enumerate(index.header.blobs):
        begins = np.unique(offsets[first[number] : first[number + 1]])
        some = begins[np.unique(np.linspace(0, len(begins) - 1, min(len(begins), PROBES - 2)).astype(int))]
        places = {0, blob.size - BLOCK, *(some.astype(np.int64) - BLOCK).tolist()}
        found.append(sorted(place for place in places if place >= 0))
    return found


def _probed(storage: LocalStorage, blob: SourceRecord, places: Sequence[int]) -> str:
    """Digest of some blocks of a blob, with where they begin; empty where they can't be read."""
    try:
        source, found = storage.open(blob.path), hashlib.blake2b(digest_size=16)
        for place in places:
            found.update(source.read_at(place, BLOCK))
    except (OSError, BlobdirError):
        return ""
    return f"{','.join(map(str, places))}:{found.hexdigest()}"


def _is_probed_so(then: SourceRecord, storage: LocalStorage) -> bool:
    places = then.digest.partition(":")[0].split(",")
    if not then.digest or len(places) > PROBES or not all(place.isdecimal() and len(place) < 19 for place in places):
        return False
    return _probed(storage, then, [int(place) for place in places]) == then.digest


def _can_be_read(then: SourceRecord, storage: LocalStorage, *, follow_links: bool) -> bool:
    """Whether what couldn't be read then can be now; OSError where there is no descriptor left to try."""
    try:
        if storage.stat(then.path).kind == "directory":
            error: Exception | None = storage.folder(then.path, follow_links=follow_links).error
            if error is not None:
                raise error
            return True
        source, done = storage.open(then.path), 0
        while data := source.read_at(done, _HASHED_BYTES if then.size < 0 else then.size - done):
            done += len(data)
    except (OSError, BlobdirError) as error:
        if left := none_left(error):
            raise left from error
        return False
    return True


def is_same_blob(then: SourceRecord, now: SourceRecord, looked_ns: int) -> bool:
    """Whether a blob is as it was when it was looked at then, for all that was asked of it now."""
    if now.inode < 0:  # behind a backend
        is_told = bool(then.etag and now.etag) or not is_racy(then, looked_ns)
        return is_told and _stat_of(then).is_surely(_stat_of(now))
    is_same = (then.size, then.mtime_ns, then.inode, then.ctime_ns) == (
        now.size,
        now.mtime_ns,
        now.inode,
        now.ctime_ns,
    )
    return is_same and not is_racy(then, looked_ns)


def _stat_of(record: SourceRecord) -> Stat:
    return Stat("file", record.size, record.mtime_ns, etag=record.etag)


def now_of(
    then: SourceRecord, storage: LocalStorage, looked_ns: int, *, is_copy: bool, follow_links: bool
) -> SourceRecord | None:
    """An input as it is now, if it's the same as it was then; None where it isn't.

    Parameters
    ----------
    then : SourceRecord
    storage : LocalStorage
    looked_ns : int
        When it was looked at then.
    is_copy : bool
        Whether this may be a copy of the project, in which blobs are known by some of their blocks.
    follow_links : bool
        Whether folders were listed with links followed.

    Raises
    ------
    OSError
        It isn't there, or can't be asked.
    """
    if then.role == UNREAD:
        return None if _can_be_read(then, storage, follow_links=follow_links) else then
    if then.role == COMPARED:  # that it's the same file is known of the blob
        return then if not is_copy or decides_so(then, storage) else None
    if then.role == WHOLE:  # as above
        return then
    if then.role == MATCHED:
        return then if is_matched_so(then, storage) else None
    stat = storage.stat(then.path)
    if then.role == FOLDER:
        stat = replace(stat, size=-1)
    now = replace(_record(then.path, then.role, stat), digest=then.digest, defect=then.defect)
    looks_same = (then.size, then.mtime_ns) == (now.size, now.mtime_ns)
    is_same = looks_same and (then.inode, then.ctime_ns) == (now.inode, now.ctime_ns)
    may_lead_elsewhere = follow_links and then.role == FOLDER and then.digest
    if is_same and not may_lead_elsewhere and not is_racy(then, looked_ns):
        return now
    if then.role == BLOB:
        is_other_file = is_copy and looks_same and then.inode != now.inode
        return now if is_other_file and _is_probed_so(then, storage) else None
    if not then.digest or then.size != now.size:
        return None
    return now if _content_of(then, storage, follow_links=follow_links) == then.digest else None
