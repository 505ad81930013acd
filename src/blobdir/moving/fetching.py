"""From any storage to a folder: whole projects or datasets, blobs in parallel ranges; or just some images.

Nothing is believed when a fetch is resumed. Of a blob, the ranges count that were noted for this very version of it,
and were on the disk then; with ``checksum``, if they still have the bytes that were fetched. A small file counts if it
was noted under the version that is there now (etag, or size and time), and still has the content that was fetched. At
the end everything is listed once more: a project that has changed meanwhile is an error, not a mixture.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blobdir.discovery import layout
from blobdir.discovery.root import refuse_file
from blobdir.durable import write_at
from blobdir.errors import NotFoundError, PackError, ReadError, SourceChangedError, UsageError
from blobdir.inside import read_whole
from blobdir.leftovers import open_left
from blobdir.loosefiles.remote import NOT_THERE
from blobdir.moving.defects import check_remote
from blobdir.moving.fetchplan import FetchPlan, check_project, make_plan
from blobdir.moving.notes import NoteFile
from blobdir.moving.pushplan import projects_below
from blobdir.moving.ranges import RangeLog
from blobdir.moving.remotefiles import (
    ask_versions,
    is_racy,
    is_still,
    list_keys,
    same_version,
    says_version,
    two_lengths,
)
from blobdir.moving.report import FetchReport
from blobdir.moving.selected import Selection
from blobdir.moving.watching import Watched
from blobdir.packing.made import Stamp
from blobdir.packing.newfolder import NewFolder
from blobdir.packing.sums import SUMS, format_sums, read_sums
from blobdir.sources import LocalStorage, RemoteOptions, RemoteStorage, Stat, behind_backend, open_storage
from blobdir.sources.keys import sort_keys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from blobdir.discovery import Progress
    from blobdir.packing import SubsetOptions
    from blobdir.packing.made import Made
    from blobdir.sources.transports import Answer

RANGE_BYTES = 8 << 20
RANGES_AT_ONCE = 8
SYNC_BYTES = 64 << 20
SYNC_S = 5.0
"""Bytes, and seconds, after which what was fetched of a blob is brought to the disk and noted."""
SUFFIX = ".fetching"


def fetch(
    url: str,
    dest: str | os.PathLike[str],
    *,
    storage_options: dict[str, Any] | None = None,
    choose: SubsetOptions | None = None,
    resume: bool = False,
    checksum: bool = False,
    with_defects: bool = False,
    remote: RemoteOptions | None = None,
    progress: Progress | None = None,
) -> FetchReport:
    """Copy a project to this machine.

    It's made in ``DEST.fetching``, and renamed when it's whole and on the disk.

    Parameters
    ----------
    url : str
        The project.
    dest : path
        Must not exist; folders above it are made.
    storage_options : dict, optional
    choose : SubsetOptions, optional
        Which images; everything if not given. Whole datasets come with their blobs as they are; any other choice
        comes in new blobs that hold nothing else.
    resume : bool
        Go on with what was cut off: what is there already isn't fetched again, unless it has changed.
    checksum : bool
        When going on with what was cut off: read all again of what is there.
    with_defects : bool
        Fetch a damaged project as it is, byte for byte. Without, a defect in what is fetched is an error.
    remote : RemoteOptions, optional
    progress : callable, optional
        Told of bytes.

    Raises
    ------
    UsageError
        `dest` exists; the project is on this machine; what is left of an earlier try is of another project;
        `with_defects` of chosen images.
    BusyError
        Another process is fetching into `dest`.
    PackError
        The project has a defect in what would be fetched: nothing was written. Or there is no room for it here.
    SourceChangedError, ReadError
        What is fetched is being changed, or changes meanwhile; it can't be fetched, or doesn't have the checksum that
        it should have.
    """
    began = time.perf_counter()
    folder = NewFolder(dest, SUFFIX, resume=resume, again="--resume fetches it again")
    if folder.target.parent.exists():
        folder.check()
    storage = open_storage(url, options=storage_options, remote=remote or RemoteOptions())
    if isinstance(storage, LocalStorage):
        refuse_file(storage.root)
    storage = behind_backend(storage, "is on this machine already; use cp -r, or `blobdir subset`")
    some = choose if choose is not None and not choose.takes_all else None
    if some is not None and with_defects:
        raise UsageError("images that are chosen come in new blobs, which aren't made of damaged ones: choose nothing "
                         "but whole datasets with --with-defects")  # fmt: skip
    fetching = _Fetch(storage, tuple(choose.datasets) if choose else (), progress, checksum=checksum)
    selection = None
    if some is None:
        fetching.check(with_defects=with_defects)
    else:
        fetching.watch()
        selection = Selection(url, storage_options, some, remote)
    folder.target.parent.mkdir(parents=True, exist_ok=True)
    folder.missing = fetching.missing
    with folder:
        _check_origin(folder, storage.place)
        if selection is not None:
            clean(folder.work, ())
            try:
                report = selection.write(folder.made, progress)
            except NotFoundError:
                fetching.check_unchanged()  # it's gone since
                raise
            fetching.check_unchanged()
        else:
            report = fetching.run(folder)
        folder.publish()
    report.seconds = time.perf_counter() - began
    return report


def _check_origin(folder: NewFolder, place: str) -> None:
    """Make sure that what an earlier try has left is of the same project."""
    made = folder.made
    fd = made.fd(made.notes)
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()
    with suppress(FileNotFoundError):
        if read_whole("place", follow=False, dir_fd=fd) != digest.encode():
            raise UsageError(
                f"{folder.work}: is what a fetch of another project has left; remove it, or choose another folder"
            )
        return
    for left in os.listdir(fd):  # of nobody knows which project
        os.unlink(left, dir_fd=fd)
    made.write(f"{made.notes}/place", [digest.encode()])


def clean(work: Path, wanted: Iterable[str]) -> None:
    """Remove what an earlier try has left, and what this one won't fetch, but for blobdir's own."""
    keep = set(wanted)
    for parent, folders, names in os.walk(work, topdown=False):
        below = os.path.relpath(parent, work)
        prefix = "" if below == "." else f"{below}/"
        if below.split(os.sep)[0] == layout.STATE_DIR:
            continue
        for name in names:
            if f"{prefix}{name}" not in keep:
                os.unlink(os.path.join(parent, name))
        for name in folders:
            if f"{prefix}{name}" != layout.STATE_DIR:
                full = os.path.join(parent, name)
                if os.path.islink(full):
                    os.unlink(full)
                with suppress(OSError):  # something is in it
                    os.rmdir(full)


class _Fetch:
    """One fetch of whole datasets; lists the project when it's made."""

    def __init__(
        self, storage: RemoteStorage, datasets: tuple[str, ...], progress: Progress | None, *, checksum: bool
    ) -> None:
        self._storage = storage
        self._datasets = datasets
        self._checksum = checksum
        self._progress = progress
        self._report = FetchReport()
        self._done = self._total = 0
        self._with_defects = False
        self._keys = list_keys(storage)
        self._watched = Watched(storage, self._keys)
        self._found, self._seen = self._watched.found, self._watched.seen
        check_project(storage, self._found)
        self._plan: FetchPlan = make_plan(storage, self._found, datasets)

    def check(self, *, with_defects: bool) -> None:
        """Refuse what is damaged, unless that is wanted."""
        self._with_defects = with_defects
        try:
            found = check_remote(self._storage, self._keys, self._plan.datasets, with_defects=with_defects)
        except PackError as error:
            others = projects_below(self._found, self._found.files)
            if not others:
                raise
            raise PackError(
                f"{error} It holds another project, {next(iter(others))}/, whose datasets are taken for this one's: "
                "move that to a place outside"
            ) from error
        left_out = {message for _, _, message in sort_keys(self._keys).faults()} if self._plan.left_out else ()
        self._report.defects = [defect for defect in found if defect not in left_out]
        self._keys = ()

    def missing(self) -> int:
        """Bytes that aren't here yet."""
        return max(0, self._total - self._done)

    def run(self, new: NewFolder) -> FetchReport:
        """Fetch everything into what is made."""
        work, made, plan, report = new.work, new.made, self._plan, self._report
        self._total = report.size = plan.size
        report.files, report.left_out = len(plan.small) + len(plan.large), plan.left_out
        clean(work, [*plan.small, *plan.large])
        for path in plan.folders:
            made.fd(path)
        notes = NoteFile("small.jsonl", dir_fd=made.fd(made.notes))
        try:
            self._fetch_small(new, notes)
        finally:
            notes.close()
        sums = read_sums(work / layout.BLOB_DIR / SUMS)
        for path, stat in plan.large.items():
            self._seen[path] = stat
            expected = sums.get(path.rpartition("/")[2]) if path.startswith(layout.BLOB_DIR + "/") else None
            found = self._fetch_large(made, path, stat, digesting=expected is not None)
            if expected is not None:
                self._verify(made, path, expected, found)
        self.check_unchanged()
        if self._datasets and sums:  # of blobs that aren't here it would say that they are missing
            here = {name: digest for name, digest in sums.items() if f"{layout.BLOB_DIR}/{name}" in plan.large}
            made.write(f"{layout.BLOB_DIR}/{SUMS}", [format_sums(here)])
        return report

    def _tell(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress("fetching", self._done, max(self._total, self._done))

    # -- whether it's still the same project ------------------------------------------------------------------------

    def watch(self) -> None:
        """Take the versions of all files for those that are fetched."""
        self._watched.see_all()

    def check_unchanged(self) -> None:
        """List the project once more.

        Raises
        ------
        SourceChangedError
            It isn't what it was.
        """
        if changed := self._watched.changed():
            raise SourceChangedError(
                f"{self._storage.url}: was changed while it was being fetched: {changed}; --resume fetches what is new"
            )

    # -- bytes ------------------------------------------------------------------------------------------------------

    def _fetch_large(self, made: Made, path: str, stat: Stat, *, digesting: bool) -> str:
        """Fetch a file in ranges; its SHA-256, if that is wanted."""
        target = made.full(path)
        name = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()  # a path can be longer than a name
        log = RangeLog(name, made.fd(made.notes), f"{stat.size} {stat.etag or stat.mtime_ns}")
        folder, name = made.of(path)
        fd = open_left(name, os.O_RDWR, 0o644, dir_fd=folder)
        try:
            self._prepare(log, fd, stat)
            wanted = []
            for low in range(0, stat.size, RANGE_BYTES):
                high = min(low + RANGE_BYTES, stat.size)
                if low in log.done:
                    self._report.resumed += high - low
                    self._tell(high - low)
                else:
                    wanted.append((low, high))
            source, digest = self._storage.open(path, stat), hashlib.sha256()
            with log.syncing(fd, SYNC_BYTES, SYNC_S) as noting:
                for (low, high), data in zip(wanted, source.fetch(wanted, concurrency=RANGES_AT_ONCE), strict=True):
                    if len(data) != high - low:
                        raise ReadError(
                            f"{path}: bytes {low} to {high}: the server gave {len(data)}; it has become shorter"
                        )
                    write_at(fd, data, low, target)
                    noting(low, data)
                    if digesting:
                        digest.update(data)
                    self._tell(high - low)
            log.end(_stamp_of(os.fstat(fd)))
            if digesting and sum(high - low for low, high in wanted) != stat.size:  # some of it was there
                with open(fd, "rb", closefd=False) as file:
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256")
            known = digest.hexdigest() if digesting else ""
            if Stamp.of(os.fstat(fd)) != made.take(path, digest=known):
                raise made.lost(path)
        finally:
            os.close(fd)
            log.close()
        return known

    def _prepare(self, log: RangeLog, fd: int, stat: Stat) -> None:
        """Keep the ranges that are there: all, if the file is the one that was whole then, else by their bytes."""
        found = os.fstat(fd)
        if not found.st_size or not says_version(stat):
            log.reset()
        if self._checksum or log.whole != _stamp_of(found):
            log.check(fd, RANGE_BYTES)
        if found.st_size != stat.size:
            os.ftruncate(fd, stat.size)

    def _fetch_small(self, new: NewFolder, notes: NoteFile) -> None:
        made = new.made
        files = self._plan.small
        noted = {path: note.remote for path, note in notes.notes.items() if path in files}
        now = ask_versions(self._storage, files, noted, noted)
        missing = []
        for path, stat in files.items():
            size = _kept(new.work / path, now.get(path), notes, path)
            if size < 0:
                missing.append(path)
                made.remove_left(path)
                continue
            made.take_any(path, size)
            self._seen[path] = now[path]
            self._report.resumed += size
            self._tell(max(0, stat.size))
        known = {path for path in missing if says_version(files[path])}  # compared with a listing at the end
        answers = self._storage.iter_answers(missing, without=known)
        for path in missing:
            answer = next(answers)
            if isinstance(answer, FileNotFoundError):
                self._leave_out(path, answer)
                continue
            if isinstance(answer, OSError):
                raise answer
            version = self._checked(path, files[path], answer)
            made.put(path, answer.data)
            self._seen[path] = version
            if says_version(version):
                notes.add(path, version, _md5(answer.data))
            self._report.size += len(answer.data) if files[path].size < 0 else 0
            self._tell(max(0, files[path].size))

    def _leave_out(self, path: str, error: FileNotFoundError) -> None:
        """A file that a listing has and that isn't there; SourceChangedError where defects aren't wanted."""
        if not self._with_defects:
            raise SourceChangedError(
                f"{self._storage.url}: {path}: {NOT_THERE}; --resume fetches what is new, --with-defects all but this"
            ) from error
        self._report.left_out[path] = NOT_THERE
        stat = self._plan.small.pop(path)
        self._report.files -= 1
        self._tell(max(0, stat.size))

    def _checked(self, path: str, listed: Stat, answer: Answer) -> Stat:
        """The version of what was sent, if it's the one that was listed."""
        version = answer.version
        if not says_version(version):
            version = listed if says_version(listed) else Stat("file", len(answer.data), etag="")
        if listed.size in (-1, len(answer.data)) and is_still(listed, version):
            return version
        raise self._changed(path, two_lengths(listed, version))

    def _changed(self, path: str, why: str = "") -> SourceChangedError:
        return SourceChangedError(
            f"{self._storage.url}: {path}: was changed while it was being fetched{why}; --resume fetches what is new"
        )

    def _verify(self, made: Made, path: str, expected: str, found: str) -> None:
        """Compare a blob's checksum with the one that came with it; where it's another, nothing of it counts."""
        self._report.verified += 1
        if expected == found:
            return
        what = f"{path}: doesn't have the checksum that {layout.BLOB_DIR}/{SUMS} says"
        if self._with_defects:
            self._report.defects.append(what)
            return
        made.remove_left(path)
        raise ReadError(
            f"{what}; what was fetched of it was removed again: try once more with --resume, and if that doesn't help, "
            "the remote one is damaged: --with-defects fetches it as it is"
        )


def _kept(target: Path, now: Stat | None, notes: NoteFile, path: str) -> int:
    """Bytes of a small file that an earlier try has fetched; -1 where they aren't surely those that are there now."""
    note = notes.notes.get(path)
    if note is None or now is None or not same_version(note.remote, now) or is_racy(note.remote, note.noted_ns):
        return -1
    try:
        data = read_whole(target, follow=False)
    except OSError:
        return -1
    return len(data) if _md5(data) == note.digest else -1


def _stamp_of(found: os.stat_result) -> str:
    return ",".join(map(str, Stamp.of(found).kept()))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
