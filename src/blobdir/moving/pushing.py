"""From a folder to any storage: what is large by parts, what is small many at a time, ``meta.json`` last."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blobdir.discovery import DiscoveryOptions, layout
from blobdir.errors import BlobdirError, NotAProjectError, ReadError, UsageError
from blobdir.opening import BESIDE_FILE, build, save_beside
from blobdir.sources import RemoteOptions, RemoteStorage, Stat, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.discovery import Progress

FILES_AT_ONCE = 32
LARGE_BYTES = 8 << 20
ROUNDS = 3
"""Times that what failed is tried, besides the tries of each request."""
_UPLOAD_TIMEOUT_S = 3600.0


@dataclass(slots=True)
class PushReport:
    """What was pushed.

    Attributes
    ----------
    files, size : int
        Files and bytes that were uploaded.
    skipped : int
        Files that were there already.
    failed : dict
        Path -> why, of what could not be uploaded.
    index : str
        Where the index was put; empty where it wasn't.
    seconds : float
    """

    files: int = 0
    size: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    index: str = ""
    seconds: float = 0.0


def push(
    source: str | os.PathLike[str],
    url: str,
    *,
    storage_options: dict[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    index: bool = True,
    remote: RemoteOptions | None = None,
    progress: Progress | None = None,
) -> PushReport:
    """Copy a project from this machine to a storage.

    ``meta.json`` goes last: what was cut off isn't taken for a project.

    Parameters
    ----------
    source : path
        A blob project.
    url : str
        Where it goes; nothing may be there, unless with `resume` or `force`.
    storage_options : dict, optional
    resume : bool
        Leave what is there already with the same size.
    force : bool
        Replace what is there.
    index : bool
        Put an index beside it, with which opening is one request.
    remote : RemoteOptions, optional
    progress : callable, optional
        Told of bytes.

    Raises
    ------
    UsageError, NotAProjectError
    ReadError
        The storage can't be reached, or refuses.
    """
    began = time.perf_counter()
    root = Path(source)
    if not (root / layout.META).is_file():
        raise NotAProjectError(f"{root}: isn't a project: it holds no {layout.META}")
    storage = open_storage(url, options=storage_options, remote=remote)
    if not isinstance(storage, RemoteStorage):
        raise UsageError(f"{url}: is on this machine; use cp -r")
    there = existing_files(storage)
    if there and not (resume or force):
        raise UsageError(f"{storage.url}: holds {len(there):,} files already; --resume goes on, --force replaces them")
    if there:
        _remove_index(storage, will_follow=index)
    pushed = Uploader(storage, root, progress)
    pushed.run(list(project_files(root)), there if resume else {})
    if index and not pushed.report.failed:
        pushed.report.index = save_beside(build(storage, DiscoveryOptions()), storage)
    pushed.report.seconds = time.perf_counter() - began
    return pushed.report


def _remove_index(storage: RemoteStorage, *, will_follow: bool) -> None:
    """Remove the index of what was there: until the new one is, it would be believed."""
    what = f"{storage.url}/{BESIDE_FILE}"
    try:
        storage.stat(BESIDE_FILE)
        storage.backend.run(storage.backend.call(what, "rm_file", storage.full(BESIDE_FILE)), what)
    except FileNotFoundError:
        return
    except ReadError as error:
        if not will_follow:
            raise ReadError(f"{what}: is of what was there, and can't be removed: {error}") from error


def existing_files(storage: RemoteStorage) -> dict[str, Stat]:
    """What is there already, but for blobdir's own files."""
    found: dict[str, Stat] = {}
    try:
        for folder in storage.walk(follow_links=False):
            for entry in folder.entries:
                if entry.kind == "file" and not folder.path.startswith(layout.STATE_DIR):
                    found[layout.join(folder.path, entry.name)] = Stat("file", entry.size)
    except FileNotFoundError:
        return {}
    return found


def project_files(root: Path) -> Iterable[tuple[str, int]]:
    """Path and bytes of all files of a project, but for blobdir's own."""
    for parent, folders, names in os.walk(root, followlinks=True):
        below = os.path.relpath(parent, root)
        folders[:] = sorted(name for name in folders if not (below == "." and name == layout.STATE_DIR))
        for name in sorted(names):
            path = name if below == "." else f"{below}/{name}"
            yield path, os.path.getsize(os.path.join(parent, name))


class Uploader:
    """Uploads files of one folder.

    Attributes
    ----------
    report : PushReport
    """

    def __init__(self, storage: RemoteStorage, root: Path, progress: Progress | None = None) -> None:
        self.report = PushReport()
        self._storage = storage
        self._root = root
        self._progress = progress
        self._done = 0
        self._total = 0
        self._folders: set[str] = set()

    def run(self, files: list[tuple[str, int]], there: dict[str, Stat]) -> None:
        """Upload what isn't there, in three steps: what is large, what is small, and what makes it a project."""
        missing = [(path, size) for path, size in files if path not in there or there[path].size != size]
        self.report.skipped = len(files) - len(missing)
        self._total = sum(size for _, size in missing)
        meta = [item for item in missing if item[0] == layout.META]
        large = [item for item in missing if item not in meta and item[1] > LARGE_BYTES]
        small = [item for item in missing if item not in meta and item[1] <= LARGE_BYTES]
        for part, concurrency in ((large, 1), (small, FILES_AT_ONCE), (meta, 1)):
            left = part
            for _ in range(ROUNDS):
                left = self._upload(left, concurrency)
                if not left:
                    break
            if left:
                return  # what failed stands in the report; without meta.json nobody takes it for a project

    def _upload(self, files: list[tuple[str, int]], concurrency: int) -> list[tuple[str, int]]:
        """Upload files; those that failed."""
        backend, failed = self._storage.backend, []
        outcomes = backend.run_many(((path, self._one(path)) for path, _ in files), concurrency, _UPLOAD_TIMEOUT_S)
        for (path, size), error in zip(files, outcomes, strict=True):
            if error is not None:
                failed.append((path, size))
                self.report.failed[path] = error
                continue
            self.report.failed.pop(path, None)
            self.report.files += 1
            self.report.size += size
            self._done += size
            if self._progress is not None:
                self._progress("pushing", self._done, self._total)
        return failed

    def upload(self, file: Path, path: str) -> str | None:
        """Upload one file to `path` of the project; why it couldn't be, after all tries."""
        error: str | None = ""
        for _ in range(ROUNDS):
            error = self._storage.backend.run(self._one(path, file), path, _UPLOAD_TIMEOUT_S)
            if error is None:
                break
        return error

    async def _one(self, path: str, file: Path | None = None) -> str | None:
        """Upload one file; why it couldn't be."""
        what = f"{self._storage.url}: {path}"
        target = self._storage.full(path)
        try:
            parent = target.rpartition("/")[0]
            if self._storage.has_folders and parent not in self._folders:
                await self._storage.backend.call(what, "makedirs", parent, exist_ok=True)
                self._folders.add(parent)
            await self._storage.backend.call(
                what, "put_file", str(file or self._root / path), target, timeout_s=_UPLOAD_TIMEOUT_S
            )
        except (BlobdirError, OSError) as error:
            return str(error)
        return None
