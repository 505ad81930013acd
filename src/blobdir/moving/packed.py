"""Packing straight into a bucket: a blob is uploaded when it's whole, and its bytes here are given back.

What isn't uploaded yet lies in the user's cache folder. A blob that was uploaded stays there as a hole of the same
size, with a note of its checksum and of the version that is in the bucket. When packing is resumed, the note counts
only if the bucket still has that version; if it has none, the hole is removed, and the blob is packed again. Bytes are
given back only after they were compared with the checksum that the packer has made of them. Whatever isn't the version
that a try has put there is somebody else's: it's refused, see `blobdir.moving.packnotes`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from blobdir.discovery import layout
from blobdir.durable import write_whole
from blobdir.errors import BlobdirError, BusyError, ReadError
from blobdir.inside import open_plain, read_whole
from blobdir.leftovers import remove_odd, remove_odd_below
from blobdir.locks import close_unlocked
from blobdir.moving.around import refuse_inside
from blobdir.moving.claim import Claim
from blobdir.moving.comparing import digest_of
from blobdir.moving.finishing import Expected, finish
from blobdir.moving.localfiles import list_project
from blobdir.moving.packnotes import REST, Content, PackNotes
from blobdir.moving.pushplan import check_target
from blobdir.moving.remotefiles import RemoteFiles, list_remote, same_version, says_version
from blobdir.moving.report import PushReport
from blobdir.moving.uploading import Uploader
from blobdir.opening import BESIDE_FILE
from blobdir.packing import PackOptions, PackReport, pack
from blobdir.packing.newfolder import NewFolder
from blobdir.sources import LocalStorage, RemoteStorage, Stat, behind_backend, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.discovery import Progress
    from blobdir.moving.localfiles import LocalFile
    from blobdir.sources import RemoteOptions

_UPLOADED = "uploaded"
_AT_ONCE = 500
"""Files that are noted together before they are sent."""
KEPT_S = 30 * 86400.0
"""How long it's known what a try that has ended has put somewhere."""


def pack_to(
    source: str | os.PathLike[str],
    url: str,
    options: PackOptions | None = None,
    *,
    storage_options: dict[str, Any] | None = None,
    resume: bool = False,
    dry_run: bool = False,
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
        Go on with what was cut off: blobs that were uploaded aren't packed again. Only what earlier tries on this
        machine have put there may be there, as they have put it there, ended or not.
    dry_run : bool
        Only say what would be packed; nothing is written, here or there. It refuses the same.
    remote : RemoteOptions, optional
    progress : callable, optional

    Returns
    -------
    PackReport, PushReport
        Of the blobs and of the rest.

    Raises
    ------
    UsageError
        Something is there already, or was changed there since an earlier try; or the place lies in another project.
        Then nothing was touched.
    BusyError
        Another process is packing the same to the same place.
    ReadError
        The storage can't be reached, or refuses.
    PackError
        See `blobdir.packing.pack`.
    """
    storage = open_storage(url, options=storage_options, remote=remote)
    storage = behind_backend(storage, "is on this machine; pack into a folder")
    refuse_inside(storage)
    there = list_remote(storage)
    stage = _stage(storage.place, os.fspath(source))
    notes = PackNotes(stage)
    check_target(storage, notes.known, there, resume=resume, may_remove=False)
    notes.refuse_changed(storage, there)
    if dry_run:
        with TemporaryDirectory(prefix="blobdir-") as folder:
            return pack(source, Path(folder) / "project", options, dry_run=True, progress=progress), PushReport()
    _forget(stage.parent)
    with _alone(stage):
        if not notes.are_current():
            raise BusyError("another process was packing this folder to this place just now; try again")
        if not resume:
            _empty(stage)
            notes = PackNotes(stage)
        remove_odd_below(stage)
        notes.settle()
        with Claim(storage) as claim:
            uploads = _Uploads(storage, stage, notes, there, claim)
            project = stage / "project"
            if project.exists():  # all is packed, but not all of it is there
                shutil.rmtree(project)
            report = pack(source, project, options, resume=resume, progress=progress, each=uploads.upload)
            pushed = uploads.finish(project, progress)
        if not pushed.failed:
            _empty(stage, but=REST)
    return report, pushed


def _stage(place: str, source: str) -> Path:
    """Where what isn't uploaded yet lies: one place for each source and destination, so that it's found again."""
    name = hashlib.sha256(f"{place}\0{os.path.abspath(source)}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return user_cache_path("blobdir") / "packing" / name


@contextmanager
def _alone(stage: Path) -> Iterator[None]:
    """Make sure that nobody else packs the same to the same place."""
    stage.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, owner = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), os.getpid()
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError("another process is packing this folder to this place; wait until it's done") from error
        yield
    finally:
        close_unlocked(fd, owner)


def _forget(stages: Path) -> None:
    """Remove what was kept of tries that ended long ago."""
    for rest in stages.glob(f"*/{REST}"):
        with suppress(OSError):
            if time.time() - rest.stat().st_mtime > KEPT_S and os.listdir(rest.parent) == [REST]:
                rest.unlink()
                rest.parent.rmdir()


def _empty(folder: Path, but: str = "") -> None:
    for left in folder.iterdir():
        if left.name == but:
            continue
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


class _Uploads:
    """Uploads blobs one by one, and what is left at the end."""

    def __init__(self, storage: RemoteStorage, stage: Path, notes: PackNotes, there: RemoteFiles, claim: Claim) -> None:
        self._storage = storage
        self._there = there
        self._notes = notes
        self._uploaded = stage / _UPLOADED
        self._uploaded.mkdir(exist_ok=True)
        self._work = NewFolder(stage / "project", ".packing").work
        self._uploader = Uploader(LocalStorage(os.fspath(stage)), storage)
        self._blobs: dict[str, Stat] = {}
        self._drop_holes()
        self._claim = claim
        if layout.META not in there.files:
            self._mark(there)

    def _mark(self, there: RemoteFiles) -> None:
        """From here on what is there isn't taken for a project, until all of it is there; see `pushplan`."""
        if not self._claim.held:
            self._claim.take(there)
        self._claim.touched()
        for path in (BESIDE_FILE, layout.META):
            if not self._uploader.remove({path: self._storage.full(path)}):
                raise ReadError(f"{self._storage.url}/{path}: {self._uploader.report.failed[path]}")
        self._claim.check()

    def _note(self, place: str) -> Path:
        return self._uploaded / _name_of(place)

    def _noted(self, place: str, digest: str | None, size: int) -> Stat | None:
        """What was uploaded as `place`, if the bucket has it still."""
        try:
            known, then, _ = _parse(read_whole(self._note(place), follow=False))
        except (OSError, ValueError, TypeError):
            return None
        now = self._there.files.get(place)
        if now is not None and then.etag and not now.etag:
            with suppress(OSError):
                now = self._storage.stat(place)
        good = digest in (None, known) and then.size == size and now is not None and same_version(then, now)
        return then if good else None

    def _drop_holes(self) -> None:
        """Remove blobs that are just holes here, and aren't in the bucket any more: they must be packed again."""
        for parent, _, names in os.walk(self._work):
            for name in names:
                path = Path(parent, name)
                if layout.blob_stem(name) is None or not _is_hole(path):
                    continue
                place = path.relative_to(self._work).as_posix()
                if self._noted(place, None, path.stat().st_size) is None:
                    path.unlink()

    def upload(self, path: Path, place: str, digest: str) -> None:
        """Upload the blob at `path`, unless an earlier try did; it becomes `place` of the project."""
        size = path.stat().st_size
        version = self._noted(place, digest, size)
        if version is None:
            with open(open_plain(path, follow=False), "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    path.unlink()
                    raise ReadError(f"{path}: isn't what was written; --resume packs it again")
            self._notes.begin({place: Content(size, digest)})
            self._claim.touched()
            try:
                version = self._uploader.upload_blob(path, place)
            except (BlobdirError, OSError) as error:
                raise ReadError(f"{self._storage.url}: {place}: {error}; --resume goes on") from error
            if version.size not in (-1, size):
                raise ReadError(f"{self._storage.url}: {place}: {version.size} of {size} bytes are there; --resume")
            if self._claim.held:
                self._claim.check()
            if says_version(version):
                note = [digest, size, version.mtime_ns, version.etag, place]
                self._notes.put(place, version)
                remove_odd(self._note(place))
                write_whole(self._note(place), [json.dumps(note).encode()])
        self._blobs[place] = version
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, 0)
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def finish(self, project: Path, progress: Progress | None) -> PushReport:
        """Upload all but the blobs, and put an index beside them."""
        there = list_remote(self._storage)
        for place, version in self._blobs.items():
            now = there.files.get(place)
            if now is None or (says_version(now) and says_version(version) and not same_version(version, now)):
                raise ReadError(f"{self._storage.url}: {place} was uploaded, and isn't there now; pack again")
        here = LocalStorage(os.fspath(project))
        found = list_project(here)
        uploader = Uploader(here, self._storage, progress=progress, on_sent=self._notes.put)
        check_target(self._storage, self._notes.known, there, resume=True, may_remove=False)
        self._notes.refuse_changed(self._storage, there)
        self._notes.settle()
        self._mark(there)
        self._claim.touched()
        stale = [path for path in there.files if path not in found.files]
        uploader.remove({path: self._storage.full(path) for path in sorted(stale, key=layout.is_offsets, reverse=True)})
        rest = {path: file for path, file in found.files.items() if path not in self._blobs}
        uploader.expect(sum(file.size for file in rest.values()))
        meta = {layout.META: rest.pop(layout.META)}
        uploader.make_folders(found.empty)
        pickles = {path: rest.pop(path) for path in list(rest) if layout.is_offsets(path)}
        for files in (rest, pickles, meta):
            if uploader.report.failed or not self._put(uploader, here, files):
                self._claim.check()
                return uploader.report
            self._claim.check()
            self._claim.touched()
        expected = Expected.of(found.files, found.empty, uploader.sent | self._blobs, there)
        if finish(self._storage, self._claim, expected, uploader, index=True) is not None:
            self._notes.end(expected.files)
        return uploader.report

    def _put(self, uploader: Uploader, here: LocalStorage, files: dict[str, LocalFile]) -> bool:
        """Upload files, and note what they are before, and which version each is as soon as it's there."""
        paths = list(files)
        for low in range(0, len(paths), _AT_ONCE):
            some = {path: files[path] for path in paths[low : low + _AT_ONCE]}
            self._notes.begin({path: Content(file.size, digest_of(here, path)) for path, file in some.items()})
            if not uploader.upload(some):
                return False
        return True


def _name_of(place: str) -> str:
    """The name of a note about a file: its path can be longer than a name."""
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()


def _parse(note: bytes) -> tuple[str, Stat, str]:
    """Checksum, version and path of a blob that was uploaded."""
    digest, size, mtime_ns, etag, place = json.loads(note)
    return str(digest), Stat("file", int(size), int(mtime_ns), etag=str(etag)), str(place)


def _is_hole(path: Path) -> bool:
    """Whether the bytes of a blob were given back."""
    result = path.stat()
    return result.st_size > 0 and result.st_blocks * 512 < result.st_size // 2
