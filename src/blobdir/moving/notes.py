"""What earlier tries have moved, a line each: a process that is killed loses one at the most.

Notes say what was there on either side when a file was moved. They prove nothing by themselves: whoever resumes
compares them with what is there now.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from platformdirs import user_cache_path

from blobdir.errors import BusyError
from blobdir.leftovers import open_left
from blobdir.locks import close_unlocked
from blobdir.moving.localfiles import LocalFile
from blobdir.sources import Stat

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Note:
    """One file that was moved.

    Attributes
    ----------
    remote : Stat
        Of the file behind the backend: size, time, etag.
    digest : str
        MD5 of the content in hexadecimal digits; empty where nobody has computed it.
    noted_ns : int
        When.
    local : LocalFile, optional
        The file on this machine, where that was the source.
    """

    remote: Stat
    digest: str
    noted_ns: int
    local: LocalFile | None = None


class NoteFile:
    """The notes of one place, by path; the last one of a path counts.

    Parameters
    ----------
    path : path or None
        The file; without, nothing is kept.
    dir_fd : int, optional
        An open folder that it is relative to.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, dir_fd: int | None = None) -> None:
        self._fd, self._process = -1, os.getpid()
        self.notes: dict[str, Note] = {}
        if path is None:
            return
        self._fd = open_left(path, os.O_RDWR | os.O_APPEND, 0o600, dir_fd=dir_fd)
        try:
            with open(self._fd, "rb", closefd=False) as file:
                for line in file:
                    with suppress(ValueError, TypeError, KeyError):  # the last one may have been cut off
                        name, note = _parse(line)
                        self.notes[name] = note
        except BaseException:
            self.close()
            raise

    def add(self, path: str, remote: Stat, digest: str, local: LocalFile | None = None) -> None:
        """Note that a file was moved."""
        note = Note(remote, digest, time.time_ns(), local)
        self.notes[path] = note
        self._write(_format(path, note))

    def _write(self, lines: bytes) -> None:
        """Keep some lines; on a disk that is full none are, and what isn't noted is only moved once more."""
        if self._fd >= 0 and lines:
            with suppress(OSError):
                os.write(self._fd, lines)

    def clear(self) -> None:
        """Forget all."""
        self.notes = {}
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Close the file; what was noted stays."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            close_unlocked(fd, self._process)


def _format(path: str, note: Note) -> bytes:
    remote, local = note.remote, note.local
    here = None if local is None else [local.size, local.mtime_ns, local.ctime_ns, local.inode]
    line = [path, [remote.size, remote.mtime_ns, remote.etag], note.digest, note.noted_ns, here]
    return f"\n{json.dumps(line)}".encode()  # the line before may have been cut off


def _parse(line: bytes) -> tuple[str, Note]:
    path, (size, mtime_ns, etag), digest, noted_ns, here = json.loads(line)
    local = None if here is None else LocalFile(*here)
    return str(path), Note(Stat("file", int(size), int(mtime_ns), etag=str(etag)), str(digest), int(noted_ns), local)


class PushNotes(NoteFile):
    """The notes of what this machine has pushed to one place; at the same time the lock of that place on this machine.

    They lie in the user's cache folder, so that a project that can't be written can be pushed, and may be removed at
    any time: what isn't noted, and has no checksum either, is uploaded again.

    Raises
    ------
    BusyError
        Another process of this user is pushing there.
    """

    def __init__(self, place: str) -> None:
        name = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        folder = user_cache_path("blobdir") / "pushed"
        path: Path | None = folder / f"{name}.jsonl"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            super().__init__(path)
        except OSError:  # who can't write there still pushes, and uploads more when he resumes
            super().__init__(None)
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            self.close()
            if isinstance(error, BlockingIOError):
                raise BusyError("another process is pushing to this place; wait until it's done") from error
            if not isinstance(error, OSError):
                raise
            super().__init__(None)  # no locks there

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def keep_only(self, paths: Any) -> None:
        """Forget all other paths, and lines that were replaced."""
        kept = {path: note for path, note in self.notes.items() if path in paths}
        self.clear()
        self.notes = kept
        self._write(b"".join(_format(path, note) for path, note in kept.items()))
