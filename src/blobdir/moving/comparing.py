"""Which files of a project lie at a place already, with the same content.

A name and a size prove nothing: an annotation can be edited without becoming longer. A file counts as the same if

1. a note of an earlier push says which version of it was uploaded (see `blobdir.moving.notes`), the file here is still
   as it was then (size, both times, inode number), and the one there too (etag, or size and time); or
2. the backend says its MD5 (S3, for what was uploaded in one piece; Google Cloud; Azure), and it is that of the file
   here; or
3. with ``checksum``, and where times are too coarse for 1 to be sure, the bytes that are there are those that are here.

What isn't proven to be the same is uploaded again.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

from blobdir.errors import BusyError, SourceChangedError
from blobdir.moving.localfiles import LocalFile
from blobdir.moving.remotefiles import RACY_NS, is_racy, same_version, says_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.discovery import Progress
    from blobdir.moving.notes import Note, PushNotes
    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import LocalSource, LocalStorage, RemoteStorage, Stat

SMALL_BYTES = 1 << 20
PIECE_BYTES = 8 << 20
PIECES_AT_ONCE = 8
_READERS = 4


class Comparison:
    """Compares a project on this machine with what lies behind a backend.

    Parameters
    ----------
    here : LocalStorage
    there : RemoteStorage
    notes : PushNotes
    checksum : bool
        Read every byte on both sides, and believe nothing else.
    progress : callable, optional
    """

    def __init__(
        self,
        here: LocalStorage,
        there: RemoteStorage,
        notes: PushNotes,
        *,
        checksum: bool,
        progress: Progress | None = None,
    ) -> None:
        self._here, self._there, self._notes = here, there, notes
        self._checksum = checksum
        self._progress = progress

    def same(self, files: dict[str, LocalFile], found: RemoteFiles) -> set[str]:
        """Those of `files` that are there with the same content; BusyError where one vanishes meanwhile."""
        same: set[str] = set()
        digests: list[str] = []
        bytes_: list[str] = []
        for path, local in files.items():
            remote = found.files.get(path)
            if remote is None or remote.size not in (-1, local.size):
                continue
            if self._checksum:
                bytes_.append(path)
                continue
            sure = _by_note(self._notes.notes.get(path), local, remote)
            if sure == "same":
                same.add(path)
            elif path in found.checksums:
                digests.append(path)
            elif sure == "maybe":
                bytes_.append(path)
        same.update(self._by_digest(digests, found))
        try:
            same.update(self._by_bytes(bytes_, files))
        except FileNotFoundError as error:
            raise BusyError(f"{error}: was removed there while it was compared; somebody else is pushing") from error
        return same

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress("comparing files", done, total)

    def _by_digest(self, paths: list[str], found: RemoteFiles) -> Iterator[str]:
        given_up = Event()
        with ThreadPoolExecutor(_READERS) as pool:  # a digest is computed without the interpreter's lock
            digests = pool.map(lambda path: digest_of(self._here, path, given_up), paths)
            try:
                for done, (path, digest) in enumerate(zip(paths, digests, strict=True)):
                    self._tell(done, len(paths))
                    if digest == found.checksums[path]:
                        yield path
            finally:
                given_up.set()  # else who is interrupted waits until large files are read

    def _by_bytes(self, paths: list[str], files: dict[str, LocalFile]) -> Iterator[str]:
        small = [path for path in paths if files[path].size <= SMALL_BYTES]
        for done, (path, data) in enumerate(zip(small, self._there.iter_files(small), strict=True)):
            self._tell(done, len(paths))
            if data == _read(self._here, path):
                yield path
        for done, path in enumerate(p for p in paths if files[p].size > SMALL_BYTES):
            self._tell(len(small) + done, len(paths))
            if self._is_same_large(path, files[path].size):
                yield path

    def _is_same_large(self, path: str, size: int) -> bool:
        ranges = [(low, min(low + PIECE_BYTES, size)) for low in range(0, size, PIECE_BYTES)]
        source = _opened(self._here, path)
        remote = self._there.open(path, self._there.stat(path))
        if remote.size != size:
            return False
        pieces = remote.fetch(ranges, concurrency=PIECES_AT_ONCE)
        return all(source.read_at(low, high - low) == data for (low, high), data in zip(ranges, pieces, strict=True))


def _by_note(note: Note | None, local: LocalFile, remote: Stat) -> str:
    """Whether a file is the one that was uploaded: ``"same"``, ``"maybe"``, or empty."""
    if note is None or note.local != local or not says_version(remote) or not same_version(note.remote, remote):
        return ""
    return "maybe" if is_racy(note.remote, note.noted_ns) or is_fresh(local, note.noted_ns) else "same"


def is_fresh(local: LocalFile, now_ns: int) -> bool:
    """Whether a file was written so shortly before a moment that it could change again within one tick of the clock."""
    return max(local.mtime_ns, local.ctime_ns) > now_ns - RACY_NS


def digest_of(storage: LocalStorage, path: str, given_up: Event | None = None) -> str:
    """MD5 of a file, in hexadecimal digits; CancelledError as soon as nobody waits for it any more."""
    digest = hashlib.md5(usedforsecurity=False)
    source = _opened(storage, path)
    for low in range(0, source.size, PIECE_BYTES):
        if given_up is not None and given_up.is_set():
            raise CancelledError
        digest.update(source.read_at(low, PIECE_BYTES))
    return digest.hexdigest()


def _read(storage: LocalStorage, path: str) -> bytes:
    source = _opened(storage, path)
    return source.read_at(0, source.size)


def _opened(storage: LocalStorage, path: str) -> LocalSource:
    try:
        return storage.open(path)
    except FileNotFoundError as error:
        raise SourceChangedError(f"{storage.url}: {path}: was removed while it was being pushed") from error


def unchanged(storage: LocalStorage, path: str, then: LocalFile) -> bool:
    """Whether a file is as it was."""
    return LocalFile.of(os.stat(os.path.join(storage.root, path))) == then
