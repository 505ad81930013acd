"""Uploads: what is large by parts, what is small many at a time; again what failed; and removals behind a backend."""

from __future__ import annotations

import mimetypes
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blobdir.durable import in_words
from blobdir.errors import BlobdirError, SourceChangedError
from blobdir.moving.comparing import unchanged
from blobdir.moving.localfiles import LocalFile
from blobdir.moving.remotefiles import keeps_markers, says_version
from blobdir.moving.report import PushReport
from blobdir.sources import Stat
from blobdir.sources.transports import etag_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from blobdir.discovery import Progress
    from blobdir.moving.notes import NoteFile
    from blobdir.sources import LocalStorage, RemoteStorage

FILES_AT_ONCE = 32
LARGE_BYTES = 8 << 20
NOTES_AT_ONCE, NOTE_S = 500, 10.0
"""Files, and seconds, after which what was uploaded is noted."""
ROUNDS = 3
"""Times that what failed is tried, besides the tries of each request."""
UPLOAD_TIMEOUT_S = 3600.0
_CHECKSUMS = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"))
"""Backends that say in a listing which bytes a small object has: nothing of theirs needs to be noted."""


class Uploader:
    """Uploads files of one folder.

    Parameters
    ----------
    here : LocalStorage
    there : RemoteStorage
    notes : NoteFile, optional
        Is told which version of what was uploaded, where the backend has no checksum of it.
    progress : callable, optional
    sure : callable, optional
        Makes sure that nobody else has written to the place; it's called before anything is noted, for the version that
        is there could be another one's.
    on_sent : callable, optional
        Is told the path and the version of each file as soon as it's there, in whichever thread.

    Attributes
    ----------
    report : PushReport
    sent : dict
        Path -> which version of what was uploaded is there, as far as the backend has said it.
    """

    def __init__(
        self,
        here: LocalStorage,
        there: RemoteStorage,
        notes: NoteFile | None = None,
        progress: Progress | None = None,
        sure: Callable[[], None] | None = None,
        on_sent: Callable[[str, Stat], None] | None = None,
    ) -> None:
        self.report = PushReport()
        self.sent: dict[str, Stat] = {}
        self._here, self._there = here, there
        self._notes = notes
        self._sure = sure
        self._on_sent = on_sent
        self._unsure: list[tuple[str, Stat, LocalFile]] = []
        self._looked = time.monotonic()
        self._progress = progress
        self._folders: set[str] = set()
        self._done = self._total = 0

    def expect(self, size: int) -> None:
        """Say how many bytes will be uploaded in all."""
        self._total = size

    def upload(self, files: dict[str, LocalFile]) -> bool:
        """Upload files, large ones first; whether all of them are there. What failed stands in the report."""
        large = [path for path, file in files.items() if file.size > LARGE_BYTES]
        small = [path for path, file in files.items() if file.size <= LARGE_BYTES]
        for paths, concurrency in ((large, 1), (small, FILES_AT_ONCE)):
            left: Sequence[str] = paths
            for _ in range(ROUNDS):
                left = self._upload(left, files, concurrency)
                if not left:
                    break
            if left:
                return False
        return True

    def _upload(self, paths: Sequence[str], files: dict[str, LocalFile], concurrency: int) -> list[str]:
        failed = []
        outcomes = self._many([(path, self._one(path, files[path])) for path in paths], concurrency)
        for path, error in zip(paths, outcomes, strict=True):
            if error is not None:
                failed.append(path)
                self.report.failed[path] = error
                continue
            self.report.failed.pop(path, None)
            self.report.files += 1
            self.report.size += files[path].size
            self._done += files[path].size
            if self._progress is not None:
                self._progress("pushing", self._done, self._total)
            self._note_some(large=files[path].size > LARGE_BYTES)
        self.note()
        return failed

    def _note_some(self, *, large: bool) -> None:
        """Note what would be costly to upload again; looking at the place costs a request."""
        if large or len(self._unsure) >= NOTES_AT_ONCE or time.monotonic() - self._looked >= NOTE_S:
            self.note()

    def note(self) -> None:
        """Note what was uploaded, if nobody else has written to the place meanwhile."""
        uploaded, self._unsure = self._unsure, []
        if self._notes is not None and uploaded:
            if self._sure is not None:
                self._sure()
            for path, version, file in uploaded:
                self._notes.add(path, version, "", file)
        self._looked = time.monotonic()

    def _many(self, named: Iterable[tuple[str, Awaitable[Any]]], concurrency: int) -> Iterable[Any]:
        return self._there.backend.run_many(named, concurrency, UPLOAD_TIMEOUT_S)

    async def _one(self, path: str, file: LocalFile) -> str | None:
        """Upload one file; why it couldn't be."""
        what = f"{self._there.url}: {path}"
        try:
            await self._make_parent(what, path)
            version, is_noted = await self._send(what, path, file)
            if says_version(version) and version.size == file.size:
                self.sent[path] = version
                if self._on_sent is not None:
                    self._on_sent(path, version)
                if is_noted:
                    self._unsure.append((path, version, file))
        except FileNotFoundError:
            if not self._is_here(path):
                return "was removed while it was being pushed"
            return "can't be written: the storage says that there is no such bucket or folder; make it first"
        except (BlobdirError, OSError, ValueError) as error:
            return in_words(error)
        return None

    def _is_here(self, path: str) -> bool:
        return os.path.exists(os.path.join(self._here.root, path))

    async def _send(self, what: str, path: str, file: LocalFile) -> tuple[Stat, bool]:
        """Send the bytes of a file, and nothing if it isn't the one that was listed.

        Returns
        -------
        Stat, bool
            Its version there; whether that is worth a note, since no listing says as much.
        """
        target, backend = self._there.full(path), self._there.backend
        source, said = self._here.open(path), None
        if LocalFile.of(os.fstat(source.fd)) != file:
            raise SourceChangedError("was changed while it was being pushed")
        if file.size > LARGE_BYTES:
            full = os.path.join(self._here.root, path)
            await backend.call(what, "put_file", full, target, timeout_s=UPLOAD_TIMEOUT_S)
        else:
            data = source.read_at(0, file.size)
            kind = self._kind_of(path)
            said = await backend.call(what, "pipe_file", target, data, timeout_s=UPLOAD_TIMEOUT_S, **kind)
        if LocalFile.of(os.fstat(source.fd)) != file or not unchanged(self._here, path, file):
            raise SourceChangedError("was changed while it was being pushed")
        if file.size <= LARGE_BYTES and self._there.protocols & _CHECKSUMS:
            return Stat("file", file.size, etag=etag_of(said)), False
        return await backend.info(target, what), True

    def _kind_of(self, path: str) -> dict[str, str]:
        """What browsers go by, where the backend keeps it and doesn't find it out by itself."""
        kind = mimetypes.guess_type(path)[0] if self._there.protocols & {"s3", "s3a"} else None
        return {"ContentType": kind} if kind else {}

    async def _make_parent(self, what: str, path: str) -> None:
        parent = self._there.full(path).rpartition("/")[0]
        if self._there.has_folders and parent not in self._folders:
            await self._there.backend.call(what, "makedirs", parent, exist_ok=True)
            self._folders.add(parent)

    def upload_blob(self, file: Path, path: str) -> Stat:
        """Upload a file that isn't one of the folder, and say which version of it is there.

        Raises
        ------
        BlobdirError
            It couldn't be, after all tries.
        """
        what = f"{self._there.url}: {path}"
        backend = self._there.backend

        async def send() -> Stat:
            await self._make_parent(what, path)
            target = self._there.full(path)
            await backend.call(what, "put_file", str(file), target, timeout_s=UPLOAD_TIMEOUT_S)
            return await backend.info(target, what)

        for _ in range(ROUNDS - 1):
            with suppress(BlobdirError):
                return backend.run(send(), what, UPLOAD_TIMEOUT_S)
        return backend.run(send(), what, UPLOAD_TIMEOUT_S)

    # -- what isn't a file of the project ---------------------------------------------------------------------------

    def make_folders(self, folders: Iterable[str]) -> None:
        """Make empty folders, where a backend has such a thing: a folder, or an object whose name ends with a slash."""
        for path in folders:
            what, target = f"{self._there.url}: {path}/", self._there.full(path)
            if self._there.has_folders:
                call = self._there.backend.call(what, "makedirs", target, exist_ok=True)
            elif keeps_markers(self._there):
                call = self._there.backend.call(what, "pipe_file", f"{target}/", b"")
            else:
                continue
            self._there.backend.run(call, what)

    def remove(self, keys: dict[str, str]) -> bool:
        """Remove files by the backend's own names of them, given by path; whether all of them are gone."""
        left = list(keys)
        for _ in range(ROUNDS):
            outcomes = self._many([(path, self._remove(path, keys[path])) for path in left], FILES_AT_ONCE)
            errors = dict(zip(left, outcomes, strict=True))
            left = [path for path, error in errors.items() if error is not None]
            for path, error in errors.items():
                self.report.failed.pop(path, None)
                if error is not None:
                    self.report.failed[path] = error
        return not left

    async def _remove(self, path: str, key: str) -> str | None:
        try:
            await self._there.backend.call(f"{self._there.url}: {path}", "rm_file", key)
        except FileNotFoundError:
            return None
        except (BlobdirError, OSError) as error:
            return f"can't be removed: {error}"
        return None

    def remove_folders(self, folders: Iterable[str]) -> None:
        """Remove empty folders, those below first; one that can't be is left, and means nothing."""
        for path in sorted(folders, key=lambda p: p.count("/"), reverse=True):
            what = f"{self._there.url}: {path}"
            with suppress(BlobdirError, OSError):
                self._there.backend.run(self._there.backend.call(what, "rmdir", self._there.full(path)), what)
