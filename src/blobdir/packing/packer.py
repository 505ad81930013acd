"""Packing: from a folder to a blob project, all of it or a state from which it goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery import layout
from blobdir.durable import sync_folder, write_whole
from blobdir.errors import PackError, UsageError
from blobdir.offsets import write_offsets
from blobdir.packing.annotating import write_annotations
from blobdir.packing.lists import is_list
from blobdir.packing.planning import plan
from blobdir.packing.report import PackOptions, PackReport, Problem
from blobdir.packing.shards import Shard, WrittenShard, write_shard
from blobdir.packing.source import list_source
from blobdir.packing.sums import SUMS, format_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.discovery import Progress
    from blobdir.packing.listing import Listing

    EachBlob = Callable[[Path, str, str], None]

_MANY_FILES: Final = 1000
_SMALL_BYTES: Final = 1 << 20
STATE: Final = ".packing"
"""In the folder that is being made: what is done already."""


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
    renamed when it's whole: if that is cut off, `dest` isn't there, and `resume` goes on.

    Parameters
    ----------
    source : path
        A regular project (``meta.json``, ``img/`` and ``ann/``), or a plain folder: ``red/angry/a.jpg`` becomes an
        image of dataset ``red`` with the tag ``angry``. Or a list, see `blobdir.packing.lists.read_list`; ``-`` reads
        one from standard input.
    dest : path
        Must not exist.
    options : PackOptions, optional
    resume : bool
        Go on with what was cut off; blobs that are whole aren't written again.
    dry_run : bool
        Only say what would be done.
    progress : callable, optional
        See `blobdir.discovery.Progress`.
    each : callable, optional
        Told of every blob that is whole: its file, its path in the project, and its SHA-256. It may take the bytes
        away, if it leaves a file of the same size.

    Raises
    ------
    NotAProjectError, UsageError
        Nothing to pack; or `dest` exists.
    PackError
        With ``options.strict``, the first problem; or the disk is full: what is done stays, for `resume`.
    """
    began = time.perf_counter()
    options = options or PackOptions()
    target = Path(os.path.abspath(dest))
    work = target.with_name(f"{target.name}.packing")
    _check_target(target, work, os.fspath(source), resume=resume, dry_run=dry_run)
    listing = list_source(os.fspath(source), options)
    shards = plan(listing, options)
    report = PackReport(problems=listing.problems)
    report.stop_if(options.strict)
    if dry_run:
        for shard in shards:
            _count(report, shard, len(shard.names), sum(shard.sizes))
            report.blobs[f"{shard.stem}.tar"] = ""
        report.files = len(listing.files)
        return report
    try:
        _write(listing, shards, work, options, report, progress, each)
        _finish(work, target, report)
    except OSError as error:
        if isinstance(error, PackError):
            raise
        raise PackError(
            f"{error.filename or work}: {error.strerror}; what is done stays in {work}: --resume"
        ) from error
    report.seconds = time.perf_counter() - began
    return report


def _check_target(target: Path, work: Path, source: str, *, resume: bool, dry_run: bool) -> None:
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target}: is there already; choose another, or remove it")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: there is no such folder; make it first: mkdir -p {target.parent}")
    if Path(os.path.realpath(source)) in Path(os.path.realpath(target)).parents and not is_list(source):
        raise UsageError(f"{target}: lies in {source}, which is to be packed; choose a place outside")
    if work.exists() and not resume and not dry_run:
        raise UsageError(f"{work}: is what a pack has left that didn't end; --resume goes on, or remove it")


def _place(shard: Shard) -> str:
    """Where a shard's tar lies in the project."""
    folder = layout.BLOB_DIR if shard.images else layout.join(shard.dataset, layout.PACKED_ANNOTATIONS)
    return f"{folder}/{shard.stem}.tar"


def _pickle(shard: Shard) -> str:
    folder = shard.dataset if shard.images else layout.join(shard.dataset, layout.PACKED_ANNOTATIONS)
    return f"{folder}/{shard.stem}{layout.OFFSETS_SUFFIX}"


def _count(report: PackReport, shard: Shard, images: int, size: int) -> None:
    if shard.images:
        report.images += images
        report.image_bytes += size
        report.datasets[shard.dataset] = report.datasets.get(shard.dataset, 0) + images
    else:
        report.files += images


# -- writing -------------------------------------------------------------------------------------------------


def _write(
    listing: Listing,
    shards: list[Shard],
    work: Path,
    options: PackOptions,
    report: PackReport,
    progress: Progress | None,
    each: EachBlob | None,
) -> None:
    state = work / STATE
    state.mkdir(parents=True, exist_ok=True)
    sync_folder(work.parent)
    _clean(work, shards)
    stopped = threading.Event()
    # Other files are copied while other processes write the shards: that is as many calls, and waits on the same disk.
    beside = ThreadPoolExecutor(1) if len(listing.files) > _MANY_FILES and options.processes != 1 else None
    try:
        copying = beside and beside.submit(_copy_files, listing, work, report, options, None, stopped)
        _write_shards(shards, work, options, report, progress, each, apart=bool(beside))
        if copying:
            copying.result()
        else:
            _copy_files(listing, work, report, options, progress, stopped)
    finally:
        stopped.set()
        if beside:
            beside.shutdown()
    report.blobs = {_place(shard): report.blobs[_place(shard)] for shard in shards}
    if not listing.is_project:
        write_annotations(listing, work, report, options, progress)
    sums = {os.path.basename(place): digest for place, digest in _image_blobs(report)}
    write_whole(work / layout.BLOB_DIR / SUMS, [format_sums(sums)])


def _write_shards(
    shards: list[Shard],
    work: Path,
    options: PackOptions,
    report: PackReport,
    progress: Progress | None,
    each: EachBlob | None,
    *,
    apart: bool,
) -> None:
    done, total = 0, sum(sum(shard.sizes) for shard in shards)
    for shard, result in _results(shards, work, options, report, apart=apart):
        _count(report, shard, result.members, result.member_bytes)
        report.blobs[_place(shard)] = result.sha256
        report.problems += [Problem(code, path, text) for code, path, text in result.problems]
        report.stop_if(options.strict)
        if each:
            each(work / _place(shard), _place(shard), result.sha256)
        done += sum(shard.sizes)
        if progress:
            progress("packing", done, total)


def _clean(work: Path, shards: list[Shard]) -> None:
    """Remove what a pack that was cut off has left, but for blobs that are whole: half a file isn't told from one."""
    keep = {work / path for shard in shards if _known(shard, work) for path in (_place(shard), _pickle(shard))}
    keep |= {_note(shard, work) for shard in shards}
    for folder, _, names in os.walk(work):
        for name in names:
            if Path(folder, name) not in keep:
                os.unlink(os.path.join(folder, name))


def _image_blobs(report: PackReport) -> Iterator[tuple[str, str]]:
    return ((place, digest) for place, digest in report.blobs.items() if place.startswith(f"{layout.BLOB_DIR}/"))


def _results(
    shards: list[Shard], work: Path, options: PackOptions, report: PackReport, *, apart: bool
) -> Iterator[tuple[Shard, WrittenShard]]:
    todo = []
    for shard in shards:
        known = _known(shard, work)
        if known is not None:
            report.resumed += 1
            yield shard, known
        else:
            todo.append(shard)
    processes = min(options.processes or os.cpu_count() or 1, len(todo))
    if processes < 1 or (processes == 1 and not apart):
        for shard in todo:
            yield shard, _make(shard, work, options.strict)
        return
    # Spawned, not forked: whoever calls this may have threads.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        left = iter(todo)
        # A few at a time: what waits in the pool's queue is there twice.
        waiting = {pool.submit(_make, shard, work, options.strict): shard for shard in islice(left, processes + 1)}
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    shard = waiting.pop(future)
                    for following in islice(left, 1):
                        waiting[pool.submit(_make, following, work, options.strict)] = following
                    yield shard, future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _make(shard: Shard, work: Path, strict: bool) -> WrittenShard:
    """Write a shard, its offsets, and last the note that it's done."""
    place, pickle = work / _place(shard), work / _pickle(shard)
    for folder in (place.parent, pickle.parent):
        folder.mkdir(parents=True, exist_ok=True)
    result, table = write_shard(shard, str(place), strict=strict)
    write_offsets(pickle, table)
    sync_folder(place.parent)
    note = {"plan": shard.digest(), **asdict(result)}
    write_whole(_note(shard, work), [json.dumps(note).encode("utf-8", "surrogateescape")])
    return result


def _note(shard: Shard, work: Path) -> Path:
    return work / STATE / f"{'image' if shard.images else 'annotation'}-{shard.stem}.json"


def _known(shard: Shard, work: Path) -> WrittenShard | None:
    """What a pack that was cut off has written already, if it's the same that would be written now."""
    try:
        note: dict[str, Any] = json.loads(_note(shard, work).read_bytes())
        if note.pop("plan") != shard.digest() or (work / _place(shard)).stat().st_size != note["size"]:
            return None
        if not (work / _pickle(shard)).exists():
            return None
    except (OSError, ValueError, KeyError):
        return None
    note["problems"] = [tuple(problem) for problem in note["problems"]]
    return WrittenShard(**note)


def _copy_files(
    listing: Listing,
    work: Path,
    report: PackReport,
    options: PackOptions,
    progress: Progress | None,
    stopped: threading.Event,
) -> None:
    made: set[str] = set()
    for number, path in enumerate(listing.files):
        if stopped.is_set():
            return
        folder = os.path.dirname(path)
        if folder not in made:
            (work / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        if problem := copy_file(os.path.join(listing.root, path), f"{work}/{path}"):
            report.problems.append(Problem("unreadable", path, problem))
            report.stop_if(options.strict)
        else:
            report.files += 1
        if progress and number % 1000 == 0:
            progress("copying files", number, len(listing.files))
    for dataset in listing.datasets:  # the SDK wants the folder, even an empty one
        annotations = layout.ANNOTATIONS if options.annotations == "loose" else layout.PACKED_ANNOTATIONS
        (work / dataset.path / annotations).mkdir(parents=True, exist_ok=True)


def copy_file(source: str, target: str) -> str:
    """Copy a file, of which there are many and which are small: `shutil.copyfile` takes twice the calls.

    Returns
    -------
    str
        Why it can't be read; empty where it was copied.

    Raises
    ------
    OSError
        The target can't be written.
    """
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            data = file.read(_SMALL_BYTES)
            with open(target, "wb", buffering=0) as out:
                while data:
                    data = data[out.write(data) :] or file.read(_SMALL_BYTES)
    except OSError as error:
        if error.filename == source:
            return f"can't be read: {error.strerror}"
        raise
    return ""


def _finish(work: Path, target: Path, report: PackReport) -> None:
    report.problems.sort(key=lambda problem: (problem.code, problem.path))
    shutil.rmtree(work / STATE)
    os.sync()
    os.rename(work, target)
    sync_folder(target.parent)
