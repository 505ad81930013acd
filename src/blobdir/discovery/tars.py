"""Reads plain tars: what GNU tar would extract of them, one after the other, as the rows of a project's index."""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.background import Background
from blobdir.descriptors import naming_none_left, none_left
from blobdir.discovery import inputs, tarplaces
from blobdir.discovery.comparing import Contents
from blobdir.discovery.conflicts import Conflicts
from blobdir.discovery.deciding import Deciding
from blobdir.discovery.merge import Merger, by_folder, entry_table
from blobdir.discovery.pairing import blob_record
from blobdir.discovery.report import Report
from blobdir.discovery.tarsamples import FilePaths, Samples, are_samples, decide, find_annotations, samples_of
from blobdir.errors import (
    BlobdirError,
    CompressedTarError,
    ConflictError,
    DamagedTarError,
    NotAProjectError,
    ReadError,
)
from blobdir.index import BROKEN, DIRECTORY, FIRST_BLOB, LINK, EntryTable, Header, SourceRecord
from blobdir.nametable import pack_names, take_names
from blobdir.sources import Stat
from blobdir.tarscan import contents_of, scan_what_is_whole, served_not
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from blobdir.discovery.discover import Progress
    from blobdir.discovery.options import DiscoveryOptions
    from blobdir.discovery.tarsamples import Doubles
    from blobdir.index import Index
    from blobdir.sources import Source, Storage
    from blobdir.tarscan import TarContents

_AT_ONCE: Final = 8
"""Tars behind a backend that are scanned together."""
_NAMED: Final = 3
_MOST_BESIDES: Final = 16 << 10
"""Characters in which the links and empty folders of one tar are kept."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of a tar, and where their bytes lie."""

    source: Source
    paths: FilePaths
    offset: NDArray[np.int64]
    size: NDArray[np.int64]

    def read(self, numbers: list[int]) -> list[bytes]:
        """Bytes of some."""
        starts = self.offset[numbers]
        return self.source.read_many(starts, starts + self.size[numbers])

    def rows(self, places: list[bytes], some: list[int], number: int) -> Iterator[tuple[str, EntryTable]]:
        """Rows by folder: paths at which files are shown, and their numbers; of the tar of a number."""
        sources = np.full(len(some), FIRST_BLOB + number, np.int64)
        return _by_folder(EntryTable(*pack_names(places), sources, self.offset[some], self.size[some]))


@dataclass(frozen=True, slots=True)
class _Scanned:
    """A tar: what it has, by folder, and what was found out about it.

    Attributes
    ----------
    rows : list
        Path of each folder with files in it, and these.
    links : dict of bytes to bytes
        As of `TarContents`, and so are the next two.
    unserved : list
        Sentences, and paths of the files that each is about.
    folders : list of str
        Those that needn't have anything in them.
    warnings : list of str
    damage : BlobdirError or None
        Why it isn't whole, or can't be read at all.
    files : _Files or None
        Its files, where these may be shown as samples: then there are no rows yet.
    """

    rows: list[tuple[str, EntryTable]]
    links: dict[bytes, bytes]
    unserved: list[tuple[str, list[bytes]]]
    folders: list[str]
    warnings: list[str]
    damage: BlobdirError | None = None
    files: _Files | None = None

    def besides(self) -> str | None:
        """What it has besides rows and warnings, to be kept; None where that can't be, or is much."""
        if self.damage is not None or self.unserved:
            return None
        above = _with_above(path for path, _ in self.rows)
        links = {_decode(path): _decode(target) for path, target in self.links.items()}
        said = json.dumps([sorted(set(self.folders) - above), links])
        return said if len(said) <= _MOST_BESIDES else None


def discover_tars(
    storage: Storage, options: DiscoveryOptions, progress: Progress | None = None, older: Index | None = None
) -> tuple[dict[str, EntryTable], Header]:
    """Read the tars that the options name; as `blobdir.discovery.discover` does a project.

    Parameters
    ----------
    storage : Storage
        Of the folder that all of them lie below.
    options : DiscoveryOptions
    progress : callable, optional
    older : Index, optional
        One of the same folder; tars that are the same still, and of which it has all rows, aren't scanned again.

    Raises
    ------
    NotAProjectError
        There is no such tar.
    CompressedTarError
    DamagedTarError, ReadError
        Nothing of any of them can be read.
    """
    with naming_none_left():
        return _Tars(storage, options, progress, older).run()


class _Tars:
    def __init__(
        self, storage: Storage, options: DiscoveryOptions, progress: Progress | None, older: Index | None
    ) -> None:
        self._storage, self._options, self._progress, self._older = storage, options, progress, older
        self._header = Header(options=options.to_json(), built_ns=time.time_ns(), place=inputs.place_of(storage))
        self._report = Report(self._header, options)
        self._parts: dict[str, list[EntryTable]] = {"": []}
        self._below: dict[str, list[bytes]] = {}
        self._links: dict[str, int] = {}
        self._whole: dict[int, tuple[int, str]] = {}
        self._renamed: set[int] = set()
        self._failed: list[BlobdirError] = []
        self._clashing: set[bytes] = set()
        self._contents = Contents(storage, self._header, self._report, lambda _: False, Deciding(), self._tell)

    def run(self) -> tuple[dict[str, EntryTable], Header]:
        paths = self._named()
        self._header.blobs.extend(self._look_at(paths))
        self._storage.expect(sum(max(0, blob.size) for blob in self._header.blobs))
        scans = self._scan_all()
        if self._options.layout != "files":
            scans = self._as_samples(list(scans))
        for number, scanned in enumerate(scans):
            self._add(number, scanned)
            self._tell("tars", number + 1, len(paths))
        if len(self._failed) == len(paths):
            raise self._failed[0]
        merged = self._merge()
        self._note_whole(merged)
        return merged, self._header

    def _tell(self, step: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(step, done, total)

    # -- which tars ------------------------------------------------------------------------------------------

    def _named(self) -> list[str]:
        found: dict[str, None] = {}
        for pattern in self._options.tars:
            names = list(tarplaces.expand(pattern, self._storage.entries))
            if any(map(tarplaces.is_wild, tarplaces.expand_braces(pattern))):
                self._header.inputs.append(inputs.matched_record(pattern, names))
                if not names:
                    raise NotAProjectError(f"{self._storage.url}: no file in it matches {pattern}")
            found |= dict.fromkeys(names)
        return list(found)

    def _look_at(self, paths: list[str]) -> list[SourceRecord]:
        """What is kept of each tar; of one that can't be looked at, its path alone."""
        stats = {} if self._storage.is_quick else self._storage.stat_together(paths)
        missing, records = [], []
        for path in paths:
            try:
                stat = stats.get(path) or self._storage.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                missing.append(path)
                continue
            except (OSError, BlobdirError) as error:
                if left := none_left(error):
                    raise left from error
                stat = Stat("file")
            if stat.kind == "directory":
                raise NotAProjectError(f"{self._full(path)}: is a folder, and a tar is a file")
            records.append(blob_record(path, stat))
        if len(missing) == 1 == len(paths):
            raise NotAProjectError(f"{self._full(missing[0])}: doesn't exist")
        if missing:
            named = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
            raise NotAProjectError(
                f"{self._storage.url}: {len(missing):,} of {counted(len(paths), 'tar')} aren't there: {named}"
            )
        return records

    def _full(self, path: str) -> str:
        return f"{self._storage.url.rstrip('/')}/{path}"

    # -- what is in them -------------------------------------------------------------------------------------

    def _scan_all(self) -> Iterator[_Scanned]:
        """Each tar in order; those of the older index from there."""
        known = self._known()
        numbers = range(len(self._header.blobs))

        def scan(number: int) -> _Scanned:
            return known.pop(number) if number in known else self._scan(number)

        if self._storage.is_quick or len(numbers) == 1:
            yield from map(scan, numbers)
            return
        pool = Background(_AT_ONCE, "blobdir-tars")
        coming: deque[Future[_Scanned]] = deque()
        for number in numbers:
            if len(coming) == 2 * _AT_ONCE:  # so many tables at a time
                yield coming.popleft().result()
            coming.append(pool.submit(scan, number))
        for found in coming:
            yield found.result()

    def _scan(self, number: int) -> _Scanned:
        blob = self._header.blobs[number]
        expected = Stat("file", blob.size, blob.mtime_ns, etag=blob.etag, inode=blob.inode, ctime_ns=blob.ctime_ns)
        tell: Callable[[int], None] | None = None
        if len(self._header.blobs) == 1:

            def tell(done: int) -> None:
                self._tell("scanning", done, blob.size)

        try:
            source = self._storage.open(blob.path, expected)
            table, damage = scan_what_is_whole(source, progress=tell)
            found = contents_of(table)
        except CompressedTarError as error:
            what = str(error).removeprefix(f"{source.path}: ").replace("and scan again", "and open the tar then")
            raise CompressedTarError(f"{self._full(blob.path)}: {what}", path=blob.path) from error
        except (OSError, BlobdirError) as error:
            if left := none_left(error):
                raise left from error
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            what = why.removeprefix(f"{self._full(blob.path)}: ").removeprefix(f"{blob.path}: ")
            return _Scanned([], {}, [], [], [], ReadError(f"can't be read ({what})"))
        offset, size = table.start[found.rows], table.end[found.rows] - table.start[found.rows]
        folders = [_decode(path) for path in found.folders]
        besides = found.links, _unserved(found), folders, found.warnings, _without(source.path, damage)
        if self._options.layout != "files":
            return _Scanned([], *besides, _Files(source, FilePaths(found.paths), offset, size))
        source_number = np.full(len(found.rows), FIRST_BLOB + number, np.int64)
        return _Scanned([*_by_folder(EntryTable(*pack_names(found.paths), source_number, offset, size))], *besides)

    def _of_files(self) -> Index | None:
        """The older index, where tars are shown by their files then and now: rows of samples say too little."""
        older, layout = self._older, self._options.layout
        return older if older is not None and layout == older.header.options.get("layout", "files") == "files" else None

    def _known(self) -> dict[int, _Scanned]:
        """Tars that the older index has in full, and that are as they were then."""
        older = self._of_files()
        if older is None or (older.header.place, older.header.options.get("rules")) != (
            self._header.place,
            self._header.options["rules"],
        ):
            return {}
        whole = {record.path: record.digest for record in older.header.inputs if record.role == inputs.WHOLE}
        then = {blob.path: (i, blob) for i, blob in enumerate(older.header.blobs) if blob.path in whole}
        new: dict[int, int] = {}
        for number, blob in enumerate(self._header.blobs):
            i, record = then.get(blob.path, (-1, blob))
            if i >= 0 and inputs.is_same_blob(record, blob, older.header.built_ns):
                new[FIRST_BLOB + i] = number
        rows: dict[int, list[tuple[str, EntryTable]]] = {number: [] for number in new.values()}
        starts = older.name_start.astype(np.int64)
        for row in older.directories.tolist() if new else ():
            children = older.children(row)
            sources = older.source[children.start : children.stop]
            path = _decode(older.path(row))
            for source in np.unique(sources).tolist():
                if source in new:
                    some = np.flatnonzero(sources == source) + children.start
                    sources_now = np.full(len(some), FIRST_BLOB + new[source], np.int64)
                    names = take_names(older.names, starts, some)
                    table = EntryTable(*names, sources_now, older.offset[some], older.size[some].astype(np.int64))
                    rows[new[source]].append((path, table))
        said: dict[str, list[str]] = {}
        for defect in older.header.defects:
            if defect.code == "tar-left-out":
                said.setdefault(defect.path, []).append(defect.message.removeprefix(f"{defect.path}: "))
        found: dict[int, _Scanned] = {}
        for number, parts in rows.items():
            path = self._header.blobs[number].path
            folders, links = json.loads(whole[path])
            named = {_encode(link): _encode(target) for link, target in links.items()}
            found[number] = _Scanned(parts, named, [], folders, said.get(path, []))
        return found

    # -- samples ---------------------------------------------------------------------------------------------

    def _as_samples(self, scanned: list[_Scanned]) -> Iterator[_Scanned]:
        """The same tars, with rows of samples; or of files, where that is chosen."""
        blobs = self._header.blobs
        tars = [
            Samples(one.files.paths if one.files else FilePaths([]), blob.path)
            for one, blob in zip(scanned, blobs, strict=True)
        ]
        if self._options.layout == "auto" and not are_samples(sample for samples in tars for sample in samples):
            tars.clear()
            for number in range(len(blobs)):
                one = scanned.pop(0)
                paths = one.files.paths.all() if one.files else []
                rows = [*one.files.rows(paths, [*range(len(paths))], number)] if one.files else []
                yield replace(one, rows=rows, files=None)
            return
        for number, (one, samples) in enumerate(zip(scanned, tars, strict=True)):
            try:
                if one.files:
                    find_annotations(samples, one.files.read)
            except (OSError, BlobdirError) as error:
                if left := none_left(error):
                    raise left from error
                scanned[number] = replace(one, files=None, damage=ReadError(f"can't be read ({error})"))
                tars[number] = Samples(FilePaths([]), blobs[number].path)
        self._note_doubles(decide(tars, self._options.on_conflict))
        datasets: set[str] = set()
        for number in range(len(blobs)):  # each is let go of when it's done
            yield self._of_samples(scanned.pop(0), tars.pop(0), number, datasets)
        self._header.datasets.extend(sorted(datasets))

    def _of_samples(self, one: _Scanned, samples: Samples, number: int, datasets: set[str]) -> _Scanned:
        tar = self._header.blobs[number].path
        places: list[bytes] = []
        some: list[int] = []
        for sample in samples:
            datasets.add(sample.dataset)
            for path, file in sample.places():
                places.append(path)
                some.append(file)
        rows = [*one.files.rows(places, some, number)] if one.files else []
        unserved = [
            (sentence, [path for sample in samples_of(paths, tar) for path, _ in sample.places()])
            for sentence, paths in one.unserved
        ]
        warnings = list(one.warnings)
        if one.links:
            warnings.append(f"left out {counted(len(one.links), 'symbolic link')}; layout=files shows them")
        return replace(one, rows=rows, links={}, unserved=unserved, folders=[], warnings=warnings, files=None)

    def _note_doubles(self, doubles: Doubles) -> None:
        """Say what isn't shown since several tars have its key."""
        for number, count in sorted(doubles.left_out.items()):
            path = self._header.blobs[number].path
            text = f"left out {counted(count, 'sample')} whose keys are in other tars, too"
            self._report.warning("tar-left-out", path, f"{path}: {text}")
        for one, first, other, second in doubles.clashes:
            tars = f"{self._header.blobs[first].path} and, with other parts, in {self._header.blobs[second].path}"
            what = f"{one.dataset}/{_decode(one.key)}"
            message = (
                f"{what}: is a sample in {tars}; remove one, or open the tars with on_conflict=skip, rename or replace"
            )
            defect = self._report.error("conflict", what, message, ConflictError(message))
            for place in {**dict(one.places()), **dict(other.places())}:
                if self._options.on_defect != "ignore" and place not in self._clashing:
                    self._clashing.add(place)
                    self._add_one(_decode(place), BROKEN, defect, 1)

    # -- together --------------------------------------------------------------------------------------------

    def _add(self, number: int, scanned: _Scanned) -> None:
        path = self._header.blobs[number].path
        for warning in scanned.warnings:
            self._report.warning("tar-left-out", path, f"{path}: {warning}")
        for folder in scanned.folders:
            self._show(folder)
        for folder, table in scanned.rows:
            self._show(folder)
            self._parts[folder].append(table)
        for what, target in scanned.links.items():
            self._add_link(_decode(what), _decode(target))
        for sentence, some in scanned.unserved:
            defect = self._report.error("tar-member", path, f"{path}: {sentence}")
            if self._options.on_defect != "ignore":
                for what in some:
                    self._add_one(_decode(what), BROKEN, defect, 1)
        if scanned.damage is not None:
            self._add_damage(number, scanned)
        elif self._options.layout == "files" and (besides := scanned.besides()) is not None:
            self._whole[number] = sum(len(table) for _, table in scanned.rows), besides

    def _add_link(self, path: str, target: str) -> None:
        if target not in self._links:
            self._links[target] = len(self._header.links)
            self._header.links.append(target)
        self._add_one(path, LINK, self._links[target], len(_encode(target)))

    def _add_one(self, path: str, source: int, offset: int, size: int) -> None:
        folder, _, name = path.rpartition("/")
        self._show(folder)
        self._parts[folder].append(entry_table([_encode(name)], source, offset, size))

    def _add_damage(self, number: int, scanned: _Scanned) -> None:
        """Say of a tar that isn't whole that more may be missing wherever it has something."""
        blob, cause = self._header.blobs[number], scanned.damage
        folders = sorted(_with_above(("", *scanned.folders, *(path for path, _ in scanned.rows))))
        if isinstance(cause, DamagedTarError):
            what = "what lies behind that isn't shown" if cause.position else "nothing of it is shown"
            message = f"{blob.path}: {cause}; {what}"
            cause = DamagedTarError(f"{self._full(blob.path)}: {cause}", path=blob.path, position=cause.position)
            if not cause.position:
                self._failed.append(cause)
            for folder in folders:
                self._report.incomplete(folder, "tar-damaged", blob.path, message, cause)
            return
        message = f"{blob.path}: {cause}; nothing of it is shown"
        cause = ReadError(f"{self._full(blob.path)}: {cause}")
        self._failed.append(cause)
        self._report.unread(blob.path, cause)
        for folder in folders:
            self._report.incomplete(folder, "tar-unreadable", blob.path, message, cause)

    def _show(self, path: str) -> None:
        """Make sure that a directory is in the tree, and its parents know it."""
        while path not in self._parts:
            self._parts[path] = []
            path, _, name = path.rpartition("/")
            self._below.setdefault(path, []).append(_encode(name))

    def _merge(self) -> dict[str, EntryTable]:
        conflicts = Conflicts(self._header, self._report)
        merged: dict[str, EntryTable] = {}
        for path in list(self._parts):
            parts = self._parts.pop(path)
            if names := self._below.get(path):
                parts.append(entry_table(names, DIRECTORY))
            merger = Merger(path, self._options.on_conflict, self._read, conflicts.report)
            table = merged[path] = merger.merge(parts)
            self._renamed |= merger.renamed
            table.size[table.source == BROKEN] = np.maximum(table.size[table.source == BROKEN], 1)
        return merged

    def _read(self, directory: str, table: EntryTable, entries: list[int]) -> dict[int, bytes]:
        """Bytes of entries that are members: what a link leads to isn't its own."""
        members = [entry for entry in entries if table.source[entry] >= FIRST_BLOB]
        return self._contents.read(directory, table, members)

    def _note_whole(self, merged: dict[str, EntryTable]) -> None:
        """Note of which tars the index has all rows as they are, and what else they have."""
        counts = np.zeros(FIRST_BLOB + len(self._header.blobs), np.int64)
        for table in merged.values():
            counts += np.bincount(table.source, minlength=len(counts))
        for number, (rows, besides) in self._whole.items():
            if counts[FIRST_BLOB + number] == rows and FIRST_BLOB + number not in self._renamed:
                path = self._header.blobs[number].path
                self._header.inputs.append(SourceRecord(path, inputs.WHOLE, rows, digest=besides))


def _by_folder(rows: EntryTable) -> Iterator[tuple[str, EntryTable]]:
    if not (rows.arena == ord("/")).any():
        if len(rows):
            yield "", rows
        return
    for parent, table in by_folder(rows):
        yield _decode(parent), table


def _unserved(found: TarContents) -> list[tuple[str, list[bytes]]]:
    members = {id(member): member for member in found.unserved.values()}  # one may have several names
    said = []
    for sentence, some in served_not(members.values()):
        numbers = set(map(id, some))
        said.append((sentence, [path for path, member in found.unserved.items() if id(member) in numbers]))
    return said


def _without(path: str, damage: DamagedTarError | None) -> DamagedTarError | None:
    """The damage in words that don't name the tar."""
    if damage is None:
        return None
    return DamagedTarError(str(damage).removeprefix(f"{path}: "), path=damage.path, position=damage.position)


def _with_above(paths: Iterable[str]) -> set[str]:
    """Paths of folders and of all that they lie in, each of which is looked at once."""
    found: set[str] = set()
    for folder in paths:
        path = folder
        while path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
