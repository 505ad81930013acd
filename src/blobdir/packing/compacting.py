"""Blobs written anew without the bytes that no offsets refer to.

Nothing is taken on trust: every folder that could hold a dataset must be listed, every offsets file read, every tar
scanned to its end, every entry fit (header, size, name), and a blob with a checksum have it. One thing that doesn't
hold, and nothing is done at all: damage that was copied into a new, sound blob couldn't be told any more.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from blobdir.discovery import layout
from blobdir.durable import open_regular
from blobdir.errors import BlobdirError, PackError
from blobdir.inside import open_plain
from blobdir.offsets import OffsetsTable
from blobdir.offsets.choosing import key_of, side_files_of
from blobdir.offsets.names import is_called
from blobdir.offsets.table import concatenate
from blobdir.packing.publishing import Change, take_over
from blobdir.packing.report import ChangeReport, Problem
from blobdir.packing.shards import TarOutput
from blobdir.packing.sums import SUMS, read_sums
from blobdir.packing.writer import ProjectWriter, encoded
from blobdir.tarscan import in_words, scan_tar
from blobdir.tarwriting.format import archive_end, member_header, padding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blobdir.discovery import Progress
    from blobdir.discovery.parts import Pickle
    from blobdir.offsets import OffsetsTable
    from blobdir.packing.writer import Span
    from blobdir.tarscan import TarTable

CHUNK_BYTES = 16 << 20

Named = Mapping[tuple[int, int], Collection[bytes]]
"""Byte range -> names without folders."""


def compact(
    project: str | os.PathLike[str],
    *,
    unreferenced: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ChangeReport:
    """Write blobs anew whose bytes aren't all referred to, without those; the others aren't touched.

    Who has the old ones open, a reader or a mount, goes on with them. What was removed from the project is gone from
    its folder afterwards; hard links to an old blob, which `subset` makes, still have it.

    Parameters
    ----------
    project : path
    unreferenced : bool
        Also delete tars that no offsets file names. Without, only those go whose last image blobdir removed.
    dry_run : bool
        Only say what would be freed.
    progress : callable, optional
        Told of bytes of blobs.

    Raises
    ------
    PackError
        Something can't be listed or read, or doesn't fit. Nothing was changed.
    UsageError, BusyError
    """
    began = time.perf_counter()
    with Change(project, dry_run=dry_run) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        report = _Compacting(writer, unreferenced=unreferenced, progress=progress).run()
        change.commit()
    report.seconds = time.perf_counter() - began
    return report


class _Compacting:
    def __init__(self, writer: ProjectWriter, *, unreferenced: bool, progress: Progress | None) -> None:
        self._writer, self._known, self._change = writer, writer.known, writer.change
        self._unreferenced = unreferenced
        self._progress = progress
        self._report = ChangeReport()
        self._sums = read_sums(os.path.join(writer.root, layout.BLOB_DIR, SUMS))
        self._added: dict[str, str] = {}
        self._gone: list[str] = []
        self._behind = self._total = 0

    def run(self) -> ChangeReport:
        self._known.check_all_seen()
        pickles: dict[tuple[str, str], list[Pickle]] = {}
        for pickle in self._known.all_pickles():
            self._known.blob_of(pickle)  # one that is away may be put back, and then must fit
            pickles.setdefault((pickle.blobs, pickle.stem), []).append(pickle)
        folders = [layout.BLOB_DIR]
        folders += [layout.join(path, layout.PACKED_ANNOTATIONS) for path in self._known.datasets.values()]
        blobs = [(folder, stem, path) for folder in folders for stem, path in self._known.blobs(folder)[0].items()]
        self._total = sum(self._size(path) for _, _, path in blobs if not self._leads_out(path))
        for folder in folders:
            for path in self._known.blobs(folder)[1]:
                message = "isn't used: another blob of its name goes before it; it was left alone"
                self._report.problems.append(Problem("blob-twice", path, message))
        for folder, stem, path in blobs:
            if (folder, stem) in pickles:
                self._compact(folder, stem, path, pickles[folder, stem])
            else:
                self._without_offsets(path)
        self._writer.write_sums(self._added, self._gone)
        self._writer.write_released()
        return self._report

    def _size(self, path: str) -> int:
        return os.path.getsize(os.path.join(self._writer.root, path))

    def _leads_out(self, path: str) -> bool:
        return self._known.storage.escapes(path) or not os.path.exists(os.path.join(self._writer.root, path))

    def _without_offsets(self, path: str) -> None:
        """Delete a blob that nothing names, if blobdir has emptied it, or the user says so."""
        if path not in self._writer.released and not self._unreferenced:
            message = "no dataset has offsets for it; it was left alone, --unreferenced deletes it"
            self._report.problems.append(Problem("blob-unreferenced", path, message))
            return
        self._report.freed += os.lstat(os.path.join(self._writer.root, path)).st_size
        self._drop_blob(path)

    def _drop_blob(self, path: str) -> None:
        self._report.removed.append(path)
        self._change.remove(path)
        if path.startswith(f"{layout.BLOB_DIR}/"):
            self._gone.append(path.rpartition("/")[2])
        self._writer.released.pop(path, None)

    def _compact(self, folder: str, stem: str, path: str, pickles: list[Pickle]) -> None:
        tables = {pickle: self._table(pickle) for pickle in pickles}
        named = names_of(entry for table in tables.values() for entry in table.entries())
        members = self._scan(path)
        for pickle, table in tables.items():
            self._known.check_fit(pickle, table)
        self._check_members(path, members, named)
        images = sum(map(len, named.values()))
        named = with_side_files(named, members)
        size = self._size(path)
        if not self._has_unused(path, members, named, size):
            self._tell(size)
            return
        if os.path.islink(os.path.join(self._writer.root, path)):
            raise PackError(
                f"{path}: is a symbolic link, so the bytes that nothing refers to would stay where it leads to; put "
                "the tar itself there; nothing was changed"
            )
        self._check_sum(path)
        if self._change.dry_run:
            for touched in (path, *(pickle.path for pickle in pickles)):
                self._change.expect(touched)
            if folder == layout.BLOB_DIR:
                self._gone.append(path.rpartition("/")[2])
            for pickle, table in tables.items():
                encoded(table, pickle.path)  # says what can't be written again
            self._report.freed += size - compacted_size(named)
            self._report.images += images
            self._report.replaced.append(path)
            return
        staged = f"{folder}/{stem}.new.tar"
        with TarOutput(str(self._change.stage(staged))) as out:
            place = copy_members(os.path.join(self._writer.root, path), named, out, self._tell)
            digest, new_size = out.finish(), out.position
        take_over(os.lstat(os.path.join(self._writer.root, path)), self._change.stage(staged))
        new = self._writer.rename_blob(stem, digest, staged, folder)
        for pickle, table in tables.items():
            spans = [place[s, e, member_called(n, named[s, e])] for n, s, e in table.entries()]
            moved = np.array(spans, np.int64).reshape(len(table), 2)
            fresh = table.moved(moved[:, 0].copy(), moved[:, 1].copy())
            parent = pickle.path.rpartition("/")[0]
            self._writer.replace_pickle(pickle.path, f"{parent}/{new}{layout.OFFSETS_SUFFIX}", fresh)
        self._drop_blob(path)
        if folder == layout.BLOB_DIR:
            self._added[f"{new}.tar"] = digest
        self._report.blobs.append(f"{folder}/{new}.tar")
        self._report.images += images
        self._report.freed += size - new_size

    def _table(self, pickle: Pickle) -> OffsetsTable:
        return concatenate([table for _, table in self._known.tables(pickle, attributes=True)]).unique()

    def _scan(self, path: str) -> TarTable:
        try:
            members = scan_tar(os.path.join(self._writer.root, path))
        except (BlobdirError, OSError) as error:
            raise PackError(f"{path}: isn't a sound tar: {error}; nothing was changed") from error
        lost = in_words(member for member in members.left_out if member.kind.has_data)
        if members.next_archive >= 0:
            lost += members.doubts
        if lost:
            raise PackError(f"{path}: has what a new tar wouldn't have: {'; '.join(lost)}; nothing was changed")
        return members

    @staticmethod
    def _check_members(path: str, members: TarTable, named: Named) -> None:
        """Refuse entries for what isn't a member, though it looks like one: behind the end of the archive, say."""
        for start, end in named.keys() - _spans(members):
            raise PackError(
                f"{path}: {os.fsdecode(min(named[start, end]))} should be bytes {start} to {end}, where the archive "
                "has no member; see `blobdir verify`; nothing was changed"
            )

    def _has_unused(self, path: str, members: TarTable, named: Named, size: int) -> bool:
        """Whether a member isn't referred to; or there is more in the tar than members and their headers take."""
        if _spans(members) - named.keys() or size > compacted_size(named) + 20 * 1024:
            return True
        last = int(members.end.max(initial=0))
        with open_regular(os.path.join(self._writer.root, path)) as file:
            file.seek(-(-last // 512) * 512)
            return any(file.read())  # something behind the last member: a few blocks at most, as said above

    def _check_sum(self, path: str) -> None:
        """Refuse a blob that isn't the one that has its checksum: a new one would make the damage official."""
        name = path.rpartition("/")[2]
        known = self._sums.get(name) if path == f"{layout.BLOB_DIR}/{name}" else None
        if known is None:
            return
        with open_regular(os.path.join(self._writer.root, path)) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != known:
            raise PackError(
                f"{path}: doesn't have the checksum that {layout.BLOB_DIR}/{SUMS} says, so it is damaged, or another "
                "one than it was; see `blobdir verify`; nothing was changed"
            )

    def _tell(self, size: int) -> None:
        self._behind += size
        if self._progress is not None:
            self._progress("compacting", min(self._behind, self._total), self._total)


def _spans(members: TarTable) -> set[Span]:
    return set(zip(members.start.tolist(), members.end.tolist(), strict=True))


def names_of(entries: Iterable[tuple[bytes, int, int]]) -> Named:
    """Byte range -> the names that members need to be what entries say: ``s/a.png`` is ``a.png`` for others, too.

    Hard links of a tar share a range, and may have names that have nothing to do with each other.
    """
    named: dict[Span, set[bytes]] = {}
    for name, start, end in entries:
        named.setdefault((start, end), set()).add(name)
    for names in named.values():
        if len(names) > 1:
            names -= {name for name in names if any(name != other and is_called(name, other) for other in names)}
    return named


def member_called(name: bytes, names: Collection[bytes]) -> bytes:
    """The name of the member, of those that `names_of` has found, that an entry's name stands for."""
    return name if name in names else min(member for member in names if is_called(name, member))


def with_side_files(named: Named, members: TarTable) -> Named:
    """Names, and those of the members that go with them, as WebDataset has it: they are no images, and stay."""
    spans = list(zip(members.start.tolist(), members.end.tolist(), strict=True))
    found = {span: set(names) for span, names in named.items()}
    for row, images in side_files_of(members).items():
        if spans[row] in named:
            continue
        side = members.name(row).rpartition(b"/")[2]
        for name in [name for image in images for name in named.get(spans[image], ())]:
            found.setdefault(spans[row], set()).add(key_of(name) + side[len(key_of(side)) :])
    return found


def compacted_size(named: Named) -> int:
    """Bytes of a tar that holds these members only."""
    size = sum(
        len(member_header(name, end - start)) + -(-(end - start) // 512) * 512
        for (start, end), names in named.items()
        for name in names
    )
    return size + len(archive_end(size))


def copy_members(
    tar: str, named: Named, out: TarOutput, tell: Callable[[int], None] | None = None
) -> dict[tuple[int, int, bytes], Span]:
    """Copy members from one tar to another, in the order in which they lie.

    What has several names in the old tar, as hard links do, has as many members in the new one: each can go by itself.

    Parameters
    ----------
    tar : str
    named : dict
        Byte range -> names that its members get.
    out : TarOutput
    tell : callable, optional
        Told how many bytes were copied.

    Returns
    -------
    dict
        Byte range in the old tar, and name -> byte range in the new one.

    Raises
    ------
    PackError
        One can't be read.
    """
    place = {}
    source = open_plain(tar)
    try:
        for start, end, name in sorted((*span, name) for span, names in named.items() for name in names):
            out.add(member_header(name, end - start))
            first = out.position
            for low in range(start, end, CHUNK_BYTES):
                data = os.pread(source, min(CHUNK_BYTES, end - low), low)
                if len(data) != min(CHUNK_BYTES, end - low):
                    raise PackError(f"{tar}: bytes {start} to {end} can't be read; nothing was changed")
                out.add(data)
            out.add(padding(end - start))
            place[start, end, name] = first, first + end - start
            if tell is not None:
                tell(end - start)
    finally:
        os.close(source)
    return place
