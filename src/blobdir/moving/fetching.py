"""From any storage to a folder: whole projects or datasets, blobs in parallel ranges; or just some images."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blobdir.discovery import layout
from blobdir.errors import BusyError, NotAProjectError, ReadError, UsageError
from blobdir.moving.ranges import RangeLog
from blobdir.moving.selected import fetch_selected
from blobdir.packing.sums import SUMS, read_sums
from blobdir.sources import RemoteOptions, RemoteStorage, Stat, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.discovery import Progress
    from blobdir.packing import Problem, SubsetOptions

RANGE_BYTES = 8 << 20
RANGES_AT_ONCE = 8
SMALL_BYTES = 1 << 20
STATE = ".fetching"


@dataclass(slots=True)
class FetchReport:
    """What was fetched.

    Attributes
    ----------
    files, size : int
        Files and bytes of the project.
    resumed : int
        Bytes of them that an earlier try had fetched.
    verified : int
        Blobs whose checksum was compared with that of ``blob/SHA256SUMS``.
    seconds : float
    problems : list of Problem
        Annotations that can't be used, so that their images weren't chosen.
    without_annotation : int
        Images that weren't chosen because they have none, and so neither class nor tag.
    """

    files: int = 0
    size: int = 0
    resumed: int = 0
    verified: int = 0
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    without_annotation: int = 0


@dataclass(slots=True)
class _Plan:
    small: list[tuple[str, int]] = field(default_factory=list)
    large: dict[str, Stat] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(max(0, size) for _, size in self.small) + sum(stat.size for stat in self.large.values())


def fetch(
    url: str,
    dest: str | os.PathLike[str],
    *,
    storage_options: dict[str, Any] | None = None,
    choose: SubsetOptions | None = None,
    resume: bool = False,
    remote: RemoteOptions | None = None,
    progress: Progress | None = None,
) -> FetchReport:
    """Copy a project to this machine.

    It's made in ``DEST.fetching`` and renamed when it's whole.

    Parameters
    ----------
    url : str
        The project.
    dest : path
        Must not exist.
    storage_options : dict, optional
    choose : SubsetOptions, optional
        Which images; everything if not given. Whole datasets come with their blobs as they are; any other choice
        comes in new blobs that hold nothing else.
    resume : bool
        Go on with what was cut off: what is there already isn't fetched again, unless the project has changed.
    remote : RemoteOptions, optional
    progress : callable, optional
        Told of bytes.

    Raises
    ------
    UsageError
        `dest` exists; the project is on this machine; what is left of an earlier try is of another project.
    BusyError
        Another process is fetching into `dest`.
    SourceChangedError, ReadError
        What is fetched changes meanwhile; it can't be fetched, or doesn't have the checksum that it should have.
    """
    began = time.perf_counter()
    target = Path(os.path.abspath(dest))
    work = target.with_name(f"{target.name}.fetching")
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target}: is there already; choose another, or remove it")
    if work.exists() and not resume:
        raise UsageError(f"{work}: is what a fetch has left that didn't end; --resume goes on, or remove it")
    storage = open_storage(url, options=storage_options, remote=remote or RemoteOptions())
    if not isinstance(storage, RemoteStorage):
        raise UsageError(f"{url}: is on this machine already; use cp -r, or `blobdir subset`")
    work.mkdir(parents=True, exist_ok=True)
    with _alone(work):
        if choose is not None and not choose.takes_all:
            report = fetch_selected(url, work, storage_options, choose, remote, progress)
        else:
            _check_origin(work, storage.place)
            report = _Fetch(storage, work, progress).run(tuple(choose.datasets) if choose else ())
        shutil.rmtree(work / STATE, ignore_errors=True)
        os.rename(work, target)
    report.seconds = time.perf_counter() - began
    return report


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Make sure that nobody else fetches into a folder; the kernel lets go of it when this process ends."""
    fd = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{work}: another process is fetching into it") from error
        yield
    finally:
        os.close(fd)


def _check_origin(work: Path, place: str) -> None:
    """Make sure that what an earlier try has left is of the same project."""
    note = work / STATE / "place"
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()
    with suppress(FileNotFoundError):
        if note.read_text() != digest:
            raise UsageError(
                f"{work}: is what a fetch of another project has left; remove it, or choose another folder"
            )
        return
    note.parent.mkdir(exist_ok=True)
    note.write_text(digest)


class _Fetch:
    def __init__(self, storage: RemoteStorage, work: Path, progress: Progress | None) -> None:
        self._storage = storage
        self._work = work
        self._progress = progress
        self._report = FetchReport()
        self._sums: dict[str, str] = {}
        self._done = 0
        self._total = 0

    def run(self, datasets: Sequence[str]) -> FetchReport:
        plan = self._plan(datasets)
        self._total, self._report.size = plan.size, plan.size
        self._report.files = len(plan.small) + len(plan.large)
        self._fetch_small(plan.small)
        self._sums = read_sums(self._work / layout.BLOB_DIR / SUMS)
        for path, stat in plan.large.items():
            expected = self._sums.get(path.rpartition("/")[2]) if path.startswith(layout.BLOB_DIR + "/") else None
            found = self._fetch_large(path, stat, digesting=expected is not None)
            if expected is not None:
                self._verify(path, expected, found)
        return self._report

    def _tell(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress("fetching", self._done, max(self._total, self._done))

    # -- what there is ------------------------------------------------------------------------------------------

    def _plan(self, datasets: Sequence[str]) -> _Plan:
        try:
            folders = {folder.path: folder for folder in self._storage.walk(follow_links=False)}
        except FileNotFoundError as error:
            raise NotAProjectError(f"{self._storage.url}: doesn't exist") from error
        found = layout.read_layout(folders)
        if not found.datasets and layout.META not in {entry.name for entry in folders[""].entries}:
            raise NotAProjectError(f"{self._storage.url}: isn't a blob project; give the folder that holds meta.json")
        paths = self._wanted(datasets, found.datasets)
        plan, blobs = _Plan(), []
        stems = {
            layout.blob_stem(entry.name[: -len(layout.OFFSETS_SUFFIX)] + ".tar")
            for path in paths
            for entry in (folders[path].entries if path in folders else [])
            if layout.is_offsets(entry.name)
        }
        for folder in folders.values():
            for entry in folder.entries:
                path = layout.join(folder.path, entry.name)
                if entry.kind != "file" or not self._is_wanted(path, paths, found.datasets, stems, bool(datasets)):
                    continue
                if layout.blob_stem(entry.name) is not None or entry.size > SMALL_BYTES:
                    blobs.append(path)
                else:
                    plan.small.append((path, entry.size))
        plan.large = self._storage.stat_listed(blobs)
        if missing := [path for path in blobs if path not in plan.large]:
            raise ReadError(f"{self._storage.url}: {missing[0]}: its size can't be had; try again")
        return plan

    @staticmethod
    def _wanted(names: Sequence[str], datasets: list[str]) -> list[str]:
        known = {layout.dataset_name(path): path for path in datasets}
        for name in names:
            if name not in known and name not in datasets:
                raise UsageError(f"{name}: isn't a dataset; there are {', '.join(known)}")
        return [known.get(name, name) for name in names] if names else datasets

    @staticmethod
    def _is_wanted(path: str, wanted: list[str], datasets: list[str], stems: set[str | None], some: bool) -> bool:
        if path == layout.STATE_DIR or path.startswith(layout.STATE_DIR + "/"):
            return False
        if not some:
            return True
        parent, _, name = path.rpartition("/")
        if parent == layout.BLOB_DIR and layout.blob_stem(name) is not None:
            return layout.blob_stem(name) in stems
        owner = max((d for d in datasets if path.startswith(d + "/")), key=len, default="")
        return not owner or owner in wanted

    # -- bytes ----------------------------------------------------------------------------------------------------

    def _fetch_large(self, path: str, stat: Stat, *, digesting: bool) -> str:
        """Fetch a file in ranges; its SHA-256, if that is wanted."""
        target = self._work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()  # a path can be longer than a name
        log = RangeLog(self._work / STATE / name, f"{stat.size} {stat.etag or stat.mtime_ns}")
        if not target.exists():
            log.reset()
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(fd, stat.size)
            wanted = []
            for low in range(0, stat.size, RANGE_BYTES):
                high = min(low + RANGE_BYTES, stat.size)
                if low in log.done:
                    self._report.resumed += high - low
                    self._tell(high - low)
                else:
                    wanted.append((low, high))
            source, digest = self._storage.open(path, stat), hashlib.sha256()
            for (low, high), data in zip(wanted, source.fetch(wanted, concurrency=RANGES_AT_ONCE), strict=True):
                if len(data) != high - low:
                    raise ReadError(
                        f"{path}: bytes {low} to {high}: the server gave {len(data)}; it has become shorter"
                    )
                os.pwrite(fd, data, low)
                log.note(low)
                if digesting:
                    digest.update(data)
                self._tell(high - low)
        finally:
            os.close(fd)
            log.close()
        if digesting and sum(high - low for low, high in wanted) != stat.size:  # some of it was there
            with open(target, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return digest.hexdigest()

    def _fetch_small(self, files: list[tuple[str, int]]) -> None:
        missing = []
        for path, size in files:
            with suppress(FileNotFoundError):
                there = (self._work / path).stat().st_size
                if size in (-1, there):
                    self._report.resumed += there
                    self._tell(max(0, size))
                    continue
            missing.append((path, size))
        temporary = self._work / STATE / "small"
        temporary.parent.mkdir(exist_ok=True)
        contents = self._storage.iter_files([path for path, _ in missing])
        for (path, size), data in zip(missing, contents, strict=True):
            target = self._work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            os.rename(temporary, target)
            self._report.size += len(data) if size < 0 else 0
            self._tell(max(0, size))

    def _verify(self, path: str, expected: str, found: str) -> None:
        """Compare a blob's checksum with the one that came with it; where it's another, nothing of it counts."""
        self._report.verified += 1
        if expected != found:
            (self._work / path).unlink()
            raise ReadError(
                f"{path}: doesn't have the checksum that {layout.BLOB_DIR}/{SUMS} says; what was fetched of it was "
                "removed again: try once more with --resume, and if that doesn't help, the remote one is damaged"
            )
