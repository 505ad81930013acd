"""Packing straight into a bucket: a blob is uploaded when it's whole, and its bytes here are given back."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from blobdir.discovery import DiscoveryOptions
from blobdir.errors import ReadError, UsageError
from blobdir.moving.pushing import PushReport, Uploader, existing_files, project_files
from blobdir.opening import build, save_beside
from blobdir.packing import PackOptions, PackReport, pack
from blobdir.sources import RemoteStorage, open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from blobdir.discovery import Progress
    from blobdir.sources import RemoteOptions


def pack_to(
    source: str | os.PathLike[str],
    url: str,
    options: PackOptions | None = None,
    *,
    storage_options: dict[str, Any] | None = None,
    resume: bool = False,
    remote: RemoteOptions | None = None,
    progress: Progress | None = None,
) -> tuple[PackReport, PushReport]:
    """Pack a folder into a blob project in a storage, without a copy of it on this machine.

    A few blobs at a time are on disk, in the user's cache folder; annotations and offsets are, until all is done.
    ``meta.json`` goes last.

    Parameters
    ----------
    source : path
        As for `blobdir.packing.pack`.
    url : str
        Where the project goes; nothing may be there.
    options : PackOptions, optional
    storage_options : dict, optional
    resume : bool
        Go on with what was cut off: blobs that were uploaded aren't packed again.
    remote : RemoteOptions, optional
    progress : callable, optional

    Returns
    -------
    PackReport, PushReport
        Of the blobs and of the rest.

    Raises
    ------
    UsageError
        Something is there already.
    ReadError
        The storage can't be reached, or refuses.
    PackError
        See `blobdir.packing.pack`.
    """
    storage = open_storage(url, options=storage_options, remote=remote)
    if not isinstance(storage, RemoteStorage):
        raise UsageError(f"{url}: is on this machine; pack into a folder")
    stage = _stage(storage.place, os.fspath(source))
    if not resume:
        if there := existing_files(storage):
            raise UsageError(f"{storage.url}: holds {len(there):,} files already; choose another place, or --resume")
        shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(mode=0o700, parents=True, exist_ok=True)
    uploads = _Uploads(storage, stage)
    project = stage / "project"
    if project.exists():  # all is packed, but not all of it is there
        shutil.rmtree(project)
    report = pack(source, project, options, resume=resume, progress=progress, each=uploads.upload)
    pushed = uploads.finish(project, progress)
    if not pushed.failed:
        shutil.rmtree(stage)
    return report, pushed


def _stage(place: str, source: str) -> Path:
    """Where what isn't uploaded yet lies: one place for each source and destination, so that it's found again."""
    name = hashlib.sha256(f"{place}\0{os.path.abspath(source)}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return user_cache_path("blobdir") / "packing" / name


class _Uploads:
    """Uploads blobs one by one, and what is left at the end.

    A blob that was uploaded stays as a hole of the same size, which takes no room, with a note that says so.
    """

    def __init__(self, storage: RemoteStorage, stage: Path) -> None:
        self._storage = storage
        self._notes = stage / "uploaded"
        self._notes.mkdir(exist_ok=True)
        self._uploader = Uploader(storage, stage)
        self._blobs: dict[str, int] = {}

    def upload(self, path: Path, place: str, digest: str) -> None:
        """Upload the blob at `path`, unless an earlier try did; it becomes `place` of the project."""
        size = path.stat().st_size
        self._blobs[place] = size
        note = self._notes / place.replace("/", "%")
        if not note.exists() or note.read_text() != digest:
            error = self._uploader.upload(path, place)
            if error is not None:
                raise ReadError(f"{self._storage.url}: {place}: {error}; --resume goes on")
            note.write_text(digest)
        os.truncate(path, 0)
        os.truncate(path, size)

    def finish(self, project: Path, progress: Progress | None) -> PushReport:
        """Upload all but the blobs, and put an index beside them."""
        there = existing_files(self._storage)
        for place, size in self._blobs.items():
            if place not in there or there[place].size not in (-1, size):
                raise ReadError(f"{self._storage.url}: {place} was uploaded, and isn't there now; pack again")
        rest = [(path, size) for path, size in project_files(project) if path not in self._blobs]
        uploader = Uploader(self._storage, project, progress)
        uploader.run(rest, {})
        if not uploader.report.failed:
            uploader.report.index = save_beside(build(self._storage, DiscoveryOptions()), self._storage)
        return uploader.report
