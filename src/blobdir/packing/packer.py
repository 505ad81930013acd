"""Packing: from a folder to a blob project, all of it or a state from which it goes on."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.durable import absolute, in_words
from blobdir.errors import BlobdirError, PackError, UsageError, WorkerError
from blobdir.packing.annotating import write_annotations
from blobdir.packing.lists import is_list
from blobdir.packing.newfolder import NewFolder
from blobdir.packing.planning import plan
from blobdir.packing.report import PackOptions, PackReport, Problem
from blobdir.packing.resuming import Finished, clean, finish_shard, known_shard, note_shard, place_of
from blobdir.packing.samplelabels import SampleLabels
from blobdir.packing.samples import Samples
from blobdir.packing.shardindexes import Shard as IndexedShard
from blobdir.packing.shardindexes import shard_of
from blobdir.packing.shardindexes import written as indexes_of
from blobdir.packing.source import list_source
from blobdir.packing.sums import SUMS, format_sums
from blobdir.processes import Job, Workers, processors
from blobdir.tarscan import scan_tar
from blobdir.tarwriting.copies import copy_files
from blobdir.tarwriting.lmdbs import Address, is_address
from blobdir.tarwriting.members import write_members

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator

    from blobdir.discovery import Progress
    from blobdir.packing.listing import Listing
    from blobdir.packing.shards import Shard, WrittenShard

    EachBlob = Callable[[Path, str, str], None]

SUFFIX: Final = ".packing"
_COPIED_AT_ONCE: Final = 5000
_FEW_FILES: Final = 300
"""Files that are copied, looked at or packed before another process would have started."""
_MUCH_BYTES: Final = 256 << 20
"""From which on even one process beside this one is worth it: this one says meanwhile how far it is."""


def pack(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    options: PackOptions | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    each: EachBlob | None = None,
) -> PackReport:
    """Pack a regular project, or a folder of images, into a blob project.

    Bytes are stored as they are. The same input gives the same bytes. The project is made in ``DEST.packing`` and
    renamed when it's whole and on the disk: if that is cut off, `dest` isn't there, and `resume` goes on.

    Parameters
    ----------
    source : path
        A regular project (``meta.json``, ``img/`` and ``ann/``), or a plain folder: ``red/angry/a.jpg`` becomes an
        image of dataset ``red`` with the tag ``angry``. Or a list, see `blobdir.packing.lists.read_list`; ``-`` reads
        one from standard input. Or ``lmdb:PATH``, ``lmdb:PATH?db=NAME``: an LMDB store of keys and encoded images.
    dest : path
        Must not exist.
    options : PackOptions, optional
    resume : bool
        Go on with what was cut off; blobs that are whole, and whose images haven't changed, aren't written again.
    dry_run : bool
        Only say what would be done: every file is opened, none is read to its end, nothing is written.
    progress : callable, optional
        See `blobdir.discovery.Progress`.
    each : callable, optional
        Told of every blob that is whole: its file, its path in the project, and its SHA-256. It may take the bytes
        away, if it leaves a file of the same size.

    Raises
    ------
    NotAProjectError, UsageError
        Nothing to pack; or `dest` exists.
    BusyError
        Another process is packing into `dest`.
    PackError
        With ``options.strict``, the first problem; or the disk is full: what is done stays, for `resume`.
    """
    began = time.perf_counter()
    options = options or PackOptions()
    new = NewFolder(dest, SUFFIX, resume=resume or dry_run, again="--resume makes it again")
    new.check()
    is_store = is_address(os.fspath(source))
    within = Path(os.path.realpath(absolute(Address.of(os.fspath(source)).path if is_store else source)))
    if within in Path(os.path.realpath(new.target)).parents and not is_list(os.fspath(source)):
        raise UsageError(f"{new.target}: lies in {source}, which is to be packed; choose a place outside")
    listing = list_source(os.fspath(source), options)
    packing = _Packing(listing, options, None if dry_run else new, progress, each)
    if dry_run:
        packing.run()
    else:
        new.missing = packing.missing
        _make(packing, new)
    packing.report.seconds = time.perf_counter() - began
    return packing.report


def _make(packing: _Packing, new: NewFolder) -> None:
    """Write it all, and have it appear."""
    try:
        with new:
            packing.run()
            new.publish()
    except WorkerError as error:
        raise PackError(f"{error}; what is done stays in {new.work}: --resume") from error
    except OSError as error:
        if isinstance(error, BlobdirError):
            raise
        raise PackError(f"{error.filename or new.work}: {in_words(error)}") from error  # before anything was done


class _Packing:
    """One source on its way.

    Parameters
    ----------
    listing : Listing
    options : PackOptions
    new : NewFolder or None
        Where it goes; None: only find out what would be written.
    progress : callable, optional
    each : callable, optional
    """

    def __init__(
        self,
        listing: Listing,
        options: PackOptions,
        new: NewFolder | None,
        progress: Progress | None,
        each: EachBlob | None,
    ) -> None:
        self.report = PackReport(found=listing.found, renamed=listing.renamed, problems=list(listing.problems))
        self._listing, self._options, self._new = listing, options, new
        self._progress, self._each = progress, each
        self._lost: set[tuple[str, str]] = set()
        self._parts: set[str] = set()
        self._done, self._total = 0, 0

    def missing(self) -> int:
        """Bytes that aren't written yet."""
        return max(0, self._total - self._done)

    def run(self) -> None:
        """Write everything but the project's name."""
        self.report.stop_if(self._options.strict)
        shards = plan(self._listing, self._options)
        known = self._known(shards)
        self._total = sum(sum(shard.sizes) for shard in shards)
        images = sum(len(shard.names) for shard in shards if shard not in known)
        with Workers(self._worker_count(images + self._listing.file_count)) as workers:
            self._make_folders()
            if self._options.layout == "webdataset":
                self._write_samples(shards, known, workers)
            else:
                self._write(chain(self._shard_jobs(shards, known), self._copy_jobs()), shards, known, workers)
                self._annotate(workers, self._lost)
        self.report.problems.sort(key=lambda problem: (problem.code, problem.path))
        if self._new:
            sums = {
                os.path.basename(place): digest
                for place, digest in self.report.blobs.items()
                if place.startswith(f"{layout.BLOB_DIR}/")
            }
            self._new.made.write(f"{layout.BLOB_DIR}/{SUMS}", [format_sums(sums)])

    def _worker_count(self, files: int) -> int:
        if not self._listing.is_project:
            files *= 2  # their annotations are written as well
        wanted = self._options.processes or processors()
        if wanted == 1 or (files < _FEW_FILES and not self._options.processes):
            return int(self._total >= _MUCH_BYTES or is_address(self._listing.root))
        return wanted

    def _known(self, shards: list[Shard]) -> dict[Shard, Finished]:
        """What a pack that was cut off has written; all else that it left is removed."""
        if self._new is None:
            return {}
        known: dict[Shard, Finished] = {}
        for shard in shards:
            if finished := known_shard(shard, self._new, checksum=self._options.checksum):
                known[shard] = finished
        clean(self._new, shards, known)
        return known

    def _make_folders(self) -> None:
        """All folders, empty ones too; and what every project has."""
        if self._new is None:
            return
        for folder in self._listing.made_folders(self._options):
            self._new.made.fd(folder)

    def _annotate(self, workers: Workers, lost: set[tuple[str, str]]) -> None:
        """Write annotations of images that have no project, but for those that are lost."""
        if not self._listing.is_project:
            write_annotations(self._listing, self._new, self.report, self._options, lost, workers, self._progress)

    def _write_samples(self, shards: list[Shard], known: dict[Shard, Finished], workers: Workers) -> None:
        """Write all files first, and then the tars, whose annotations are read where they were written.

        Images that can't be read turn out to be lost when they have an annotation already: it's taken back.
        """
        self._write(self._copy_jobs(), [], {}, workers)
        self._annotate(workers, set())
        for items in self._listing.datasets:
            self.report.problems += Samples(items.names).problems(items.path)
        labels = SampleLabels(self._new)
        labels.drop_outdated(known, indexed=bool(self._options.shard_index))
        self._write(self._shard_jobs(shards, known, labels), shards, known, workers)
        if not self._listing.is_project and self._lost:
            self._take_back()

    def _take_back(self) -> None:
        """Have lost images have no annotation, and nothing be said of it."""
        gone: set[str] = set()
        for items in self._listing.datasets:
            lost = [i for i, source in enumerate(items.sources) if (items.path, source) in self._lost]
            gone |= {items.sources[i] for i in lost}
            names = [f"{items.names[i]}.json" for i in lost]
            for kind in (layout.ANNOTATIONS, "meta") if self._new and lost else ():
                if self._new and self._new.made.has_folder(folder := layout.join(items.path, kind)):
                    self._new.made.take_back(folder, names)
            self.report.files -= len(lost)
        self.report.problems = [p for p in self.report.problems if p.code != "no-size" or p.path not in gone]

    # -- what workers do -------------------------------------------------------------------------------------

    def _write(self, jobs: Iterable[Job], shards: list[Shard], known: dict[Shard, Finished], workers: Workers) -> None:
        blobs: dict[Shard, tuple[str, str]] = {}
        indexed: dict[Shard, Finished] = {}
        for shard, done in known.items():
            self.report.resumed += 1
            blobs[shard] = self._finished(shard, done)
            indexed[shard] = done
        copied = 0
        for job, result in workers.run(jobs, self._tick):
            if job.call is copy_files:
                copied += self._copied(*job.about, *result)
                self._say("copying files", copied, self._listing.file_count)
                continue
            shard, part = job.about
            written, places = result
            if self._new:
                self._parts.discard(str(self._new.state / part))
                self._index(written, self._new.state / part)
                indexed[shard] = done = finish_shard(shard, written, places, part, self._new)
                blobs[shard] = self._finished(shard, done)
            else:
                blobs[shard] = self._finished(shard, Finished(place_of(shard, "*"), "", written))
        self.report.blobs = dict(blobs[shard] for shard in shards)
        self._write_indexes({shard: indexed[shard] for shard in shards if shard in indexed})

    def _index(self, written: WrittenShard, part: Path) -> None:
        """Take down what indexes say of a tar, before anybody takes its bytes away."""
        if self._options.shard_index:
            found = shard_of(scan_tar(part))
            written.dali, written.samples = found.dali.decode("utf-8", "surrogateescape"), found.samples

    def _write_indexes(self, blobs: dict[Shard, Finished]) -> None:
        """Write those that are wanted."""
        found: dict[str, dict[str, IndexedShard]] = {}
        for shard, done in blobs.items():
            dali, samples, size = done.written.dali, done.written.samples, done.written.size
            known = IndexedShard(dali.encode("utf-8", "surrogateescape"), samples, size)
            found.setdefault(shard.slug, {})[os.path.basename(done.place)] = known
        for path, content in indexes_of(self._options.shard_index, found).items():
            if self._new:
                self._new.made.write(path, [content])

    def _finished(self, shard: Shard, done: Finished) -> tuple[str, str]:
        """Take a blob into the report."""
        report, place, written = self.report, done.place, done.written
        if shard.images:
            report.images += written.members
            report.image_bytes += written.member_bytes
            report.datasets[shard.dataset] = report.datasets.get(shard.dataset, 0) + written.members
        else:
            report.files += written.members
        folder = os.path.relpath(shard.folder, self._listing.root)
        problems = [Problem(code, _shown(folder, path), text) for code, path, text in written.problems]
        report.problems += problems
        self._lost |= {
            (shard.dataset, path)
            for (_, path, _), problem in zip(written.problems, problems, strict=True)
            if problem.costs
        }
        report.stop_if(self._options.strict)
        if self._each and self._new:
            self._each(self._new.work / place, place, written.sha256)
            self._new.made.take(place, digest=written.sha256)  # it may be a hole by now
            note_shard(shard, done, self._new)
        self._done += sum(shard.sizes)
        self._say("packing", self._done, self._total)
        return place, written.sha256

    def _shard_jobs(
        self, shards: Iterable[Shard], known: dict[Shard, Finished], labels: SampleLabels | None = None
    ) -> Iterator[Job]:
        for shard in shards:
            if shard in known:
                continue
            # Nobody else's: a process that was cut off may still be at one of the last run.
            part, where = f"{shard.key()}-{secrets.token_hex(4)}.part" if self._new else None, None
            if self._new and part:
                self._parts.add(str(self._new.state / part))
                where = self._new.made.place(self._new.made.notes)
            name = layout.dataset_name(shard.dataset)
            what = f"packing images of {name}" if shard.images else f"packing annotations of {name}"
            members = shard.members(labels.of(shard) if labels else None)
            yield Job(write_members, (members, part, self._options.strict, where), what, (shard, part))

    def _copy_jobs(self) -> Iterator[Job]:
        root = self._listing.root
        for folder, names in self._listing.files:
            target = self._new.made.place(folder) if self._new else None
            for first in range(0, len(names), _COPIED_AT_ONCE):
                some = names[first : first + _COPIED_AT_ONCE].joined()
                arguments = (os.path.join(root, folder), some, target, self._listing.limit)
                yield Job(copy_files, arguments, f"copying files of {folder or root}", (folder, some))

    def _copied(self, folder: str, names: bytes, sizes: array[int], problems: list[tuple[str, str, str]]) -> int:
        if self._new and folder:
            self._new.made.take_many(folder, names, sizes)
        elif self._new:  # meta.json is one of them
            for name, size in zip(os.fsdecode(names).split("\0"), sizes, strict=False):
                if size >= 0 and self._new.made.take(name).size != size:
                    raise self._new.made.lost(name)
        count = len(sizes) - len(problems)
        self.report.files += count
        self.report.problems += [Problem(code, layout.join(folder, name), text) for code, name, text in problems]
        self.report.stop_if(self._options.strict)
        return len(sizes)

    def _tick(self) -> None:
        """Say how far the blobs at hand have got."""
        written = 0
        for part in self._parts:
            with suppress(OSError):
                written += os.stat(part).st_size
        if self._parts:
            self._say("packing", min(self._done + written, self._total), self._total)

    def _say(self, step: str, done: int, total: int) -> None:
        if self._progress:
            self._progress(step, done, total)


def _shown(folder: str, path: str) -> str:
    """Path of a file below the source."""
    return path if folder == "." or os.path.isabs(path) else f"{folder}/{path}"
