"""Blobs written anew without the images that no offsets refer to.

Nothing is taken on trust: every folder that could hold a dataset must be listed, every offsets file read, every tar
scanned to its end, every entry fit (header, size, name), and a blob with a checksum have it. One thing that doesn't
hold, and nothing is done at all: damage that was copied into a new, sound blob couldn't be told any more.

`unnamed` says which members stay. What goes is looked for in what stays, and in the files that no dataset uses, see
`remains` and `searching`.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from blobdir.discovery import layout
from blobdir.durable import open_regular
from blobdir.errors import BlobdirError, PackError
from blobdir.offsets.choosing import no_images, side_files_of
from blobdir.offsets.table import concatenate
from blobdir.packing.backups import backups_in, unreadable_backup
from blobdir.packing.folding import are_foldable, copy_members, fold_small
from blobdir.packing.publishing import Change, take_over
from blobdir.packing.remains import Gone, Remains
from blobdir.packing.report import ChangeReport, Problem
from blobdir.packing.searching import is_closed, places
from blobdir.packing.shards import TarOutput
from blobdir.packing.sums import SUMS, read_sums
from blobdir.packing.unnamed import OF_IMAGE, compacted_size, judge, member_called, names_of, spans_of
from blobdir.packing.writer import ProjectWriter, encoded
from blobdir.tarscan import in_words, scan_tar
from blobdir.tarscan.header import shown
from blobdir.tarscan.table import NAMED_IN_WARNING, named_in_words
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from blobdir.discovery import Progress
    from blobdir.discovery.parts import Pickle
    from blobdir.offsets import OffsetsTable
    from blobdir.packing.searching import Place
    from blobdir.packing.unnamed import Members, Named
    from blobdir.sources import Folder
    from blobdir.tarscan import LeftOut, TarTable


def compact(
    project: str | os.PathLike[str],
    *,
    unreferenced: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ChangeReport:
    """Write blobs anew that have images which no offsets refer to, without those; the others aren't touched.

    Who has the old ones open, a reader or a mount, goes on with them. With an image goes what belongs to it in its tar
    (``a.json``, ``._a.jpg``); such files of images that stay, and hidden ones, stay and are named. Afterwards what
    stays in blobs, and all files that no dataset uses and that lie below ``blob/`` or are called tars, are searched for
    the bytes of what has gone: `ChangeReport.held` names those that have some, and `ChangeReport.unsearched` what
    couldn't be searched. Small blobs that stores (`blobdir.ImageStore`) wrote become large ones. Hard links to an old
    blob, which `subset` makes, are named in `ChangeReport.problems`.

    Parameters
    ----------
    project : path
    unreferenced : bool
        Also delete tars that no offsets file names, ``x.TAR`` beside ``x.tar`` too, and in the others hidden files and
        files of images (``a.json``). Without, only tars go whose last image blobdir removed, and of such members those
        that blobdir removed in this project: a copy of it, or one that it was merged into, doesn't know of them.
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
        report = Compacting(writer, unreferenced=unreferenced, progress=progress).run()
        change.commit()
    report.say_left(change.leftovers())
    _fold(project, report, dry_run=dry_run)
    report.seconds = time.perf_counter() - began
    return report


def _fold(project: str | os.PathLike[str], report: ChangeReport, *, dry_run: bool) -> None:
    """Have small blobs of stores become large ones, in a change of its own: what has no use is gone by now."""
    if not are_foldable(project):
        return
    with Change(project, dry_run=dry_run) as change:
        for blob, group in fold_small(os.path.abspath(project), change):
            report.folded += len(group)
            if dry_run:
                report.replaced += [one.path for one in group if one.path not in report.replaced]
            else:
                report.removed += [one.path for one in group]
                report.blobs = [path for path in report.blobs if path not in report.removed] + [blob]
        if report.folded:
            change.commit()
    if report.folded:
        report.say_left(change.leftovers())


class Compacting:
    """Compacts a project under change; who writes its blobs anew for other reasons asks it for the same checks."""

    def __init__(self, writer: ProjectWriter, *, unreferenced: bool, progress: Progress | None) -> None:
        self._writer, self._known, self._change = writer, writer.known, writer.change
        self._unreferenced = unreferenced
        self._progress = progress
        self._report = ChangeReport()
        self._sums = read_sums(os.path.join(writer.root, layout.BLOB_DIR, SUMS))
        self._added: dict[str, str] = {}
        self._gone: list[str] = []
        self._lost: list[Gone] = []
        self._kept: dict[str, tuple[TarTable, Members]] = {}
        self._renamed: dict[str, str] = {}
        self._files: list[LeftOut] = []
        self._with_files: list[str] = []
        self._seen: Mapping[str, Folder] = {}
        self._backups: list[str] = []
        self._behind = self._total = 0

    def run(self) -> ChangeReport:
        """Do it all."""
        self._writer.check_released()
        self._seen = self._known.check_all_seen()
        self._backups = backups_in(self._seen.values())
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
                if self._unreferenced:
                    self._drop_whole(path)
                else:
                    message = "another blob of its name goes before it; it was left alone, --unreferenced deletes it"
                    self._say("blob-twice", path, message)
        for folder, stem, path in blobs:
            if (folder, stem) in pickles:
                self._compact(folder, stem, path, pickles[folder, stem], self._scan(path))
            else:
                self._without_offsets(folder, stem, path)
        self._say_files()
        if self._lost:
            self._look_for_lost(set(folders))
        self._writer.write_sums(self._added, self._gone)
        self._writer.write_released()
        return self._report

    def _size(self, path: str) -> int:
        return os.path.getsize(os.path.join(self._writer.root, path))

    def _leads_out(self, path: str) -> bool:
        return self._known.storage.escapes(path) or not os.path.exists(os.path.join(self._writer.root, path))

    def _say(self, code: str, path: str, message: str) -> None:
        self._report.problems.append(Problem(code, path, message))

    def _without_offsets(self, folder: str, stem: str, path: str) -> None:
        """Delete a blob that nothing names, if blobdir has emptied it, or the user says so."""
        if self._unreferenced:
            self._drop_whole(path)
        elif path not in self._writer.released or not self._writer.released[path].whole:
            message = "no dataset has offsets for it; it was left alone, --unreferenced deletes it"
            self._say("blob-unreferenced", path, message)
        elif os.path.islink(os.path.join(self._writer.root, path)):
            self._drop_whole(path)
        else:
            try:
                members = self._scan(path)
            except PackError as error:
                why = str(error).removeprefix(f"{path}: ").removesuffix("; nothing was changed")
                message = f"no dataset has offsets for it, but it {why}; it was left alone, --unreferenced deletes it"
                self._say("blob-unreferenced", path, message)
            else:
                self._compact(folder, stem, path, [], members)

    def _drop_whole(self, path: str) -> None:
        """Delete a tar, whatever is in it."""
        full = os.path.join(self._writer.root, path)
        if os.path.islink(full):
            self._say("link", path, f"the link goes; what it leads to stays: {os.readlink(full)}")
        else:
            try:
                members = scan_tar(full)
            except (BlobdirError, OSError) as error:
                self._say("unreadable", path, f"goes, but what is in it isn't known, and wasn't looked for: {error}")
                self._report.held.append(path)
            else:
                self._lose(path, members, range(len(members)))
        self._report.freed += os.lstat(full).st_size
        self._drop_blob(path)

    def _drop_blob(self, path: str) -> None:
        self._report.removed.append(path)
        self._change.remove(path)
        if path.startswith(f"{layout.BLOB_DIR}/"):
            self._gone.append(path.rpartition("/")[2])
        self._writer.released.pop(path, None)

    def _lose(self, path: str, members: TarTable, rows: Iterable[int]) -> None:
        """Remember members that go, with their tar or out of it."""
        rows = list(rows)
        sides: Collection[int] = ()
        if rows and path.startswith(f"{layout.BLOB_DIR}/"):
            released = self._writer.released.get(path)
            spans, removed = spans_of(members), released.ranges if released else set()
            sides = {row for row in side_files_of(members).keys() | no_images(members) if spans[row] not in removed}
        elif rows:
            sides = set(rows)
        lost = [
            Gone(path, int(members.start[row]), int(members.end[row]), members.name(row), row not in sides)
            for row in rows
        ]
        self._report.dropped += len(lost)
        moved = one.moved if (one := self._writer.released.get(path)) else ()
        sought = [gone for gone in lost if (gone.start, gone.end) not in moved]
        self._report.elsewhere += len(lost) - len(sought)
        self._lost += sought
        if lost and os.lstat(os.path.join(self._writer.root, path)).st_nlink > 1:
            message = "has another name, as `subset` gives it: a hard link, which still has what was removed"
            self._say("hard-link", path, message)

    def _look_for_lost(self, beside: set[str]) -> None:
        """Say which files still have what goes, and which weren't searched for it."""
        remains = Remains(self._writer.root, self._lost)
        for path, (members, judged) in self._kept.items():
            self._look_among(remains, path, members, judged)
        known = self._kept.keys() | set(self._report.removed) | {gone.path for gone in self._lost}
        for place in places(self._known.storage, self._seen.values(), beside, known):
            if place.why:
                self._not_searched(place.path, place.why)
            else:
                self._look_into(remains, place)

    def _look_among(self, remains: Remains, path: str, members: TarTable, judged: Members) -> None:
        """Say it where something that stays in a tar has bytes that go."""
        hidden = {one.row for one in judged.hidden}
        found = remains.among(path, members, judged.kept.keys())
        for row in hidden if found is None else ():  # a tar may be one of them
            gone = remains.find(path, int(members.start[row]), int(members.end[row]))
            found = (gone, row) if gone is not None else found
        if found is not None:
            gone, row = found
            what = f"still has {shown(gone.name)}, which was removed: {shown(members.name(row))} in it "
            what += "has the same bytes" if row not in hidden else "has its bytes; --unreferenced removes hidden files"
            now = self._renamed.get(path, path)
            self._say("still-there", now, what)
            self._report.held.append(now)

    def _look_into(self, remains: Remains, place: Place) -> None:
        path, via = place.path, f": {place.real}, which it leads to, has its bytes" if place.real != place.path else ""
        try:
            found = remains.find(place.real)
            closed = found is None and is_closed(self._writer.root, place.real)
        except (OSError, BlobdirError) as error:
            self._say("unreadable", path, f"may still have what was removed: it can't be read: {error}")
        else:
            if closed:
                self._not_searched(path, "is compressed or encrypted")
            if found is None:
                return
            is_blob = place.is_beside_blobs and layout.blob_stem(path) is not None and not via
            advice = "--unreferenced deletes it" if is_blob else "delete it, if nobody needs it"
            self._say("still-there", path, f"still has {shown(found.name)}, which was removed{via}; {advice}")
        self._report.held.append(path)

    def _not_searched(self, path: str, why: str) -> None:
        self._say("not-searched", path, f"wasn't searched for what was removed: it {why}")
        self._report.unsearched.append(path)

    def _compact(self, folder: str, stem: str, path: str, pickles: list[Pickle], members: TarTable) -> None:
        tables = {pickle: self._table(pickle) for pickle in pickles}
        named = names_of((entry for table in tables.values() for entry in table.entries()), members)
        for pickle, table in tables.items():
            self._known.check_fit(pickle, table)
        self._check_members(path, members, named)
        images = sum(map(len, named.values()))
        released = self._writer.released.get(path)
        removed = released.ranges if released else ()
        is_of_images = folder == layout.BLOB_DIR
        judged = judge(named, members, unnamed_stay=not self._unreferenced, labels=not is_of_images, removed=removed)
        self._check_backups(path, members, judged)
        named = judged.kept
        self._files += judged.files
        self._with_files += [path] if judged.files else []
        self._kept[path] = members, judged
        self._say_gone(path, members, judged)
        size = self._size(path)
        if (named or pickles) and not self._has_unused(path, members, judged, size):
            self._say_hidden(path, judged.hidden)
            self._tell(size)
            return
        self._lose(path, members, judged.gone)
        if not named and not pickles:
            self._tell(size)
            self._report.freed += size
            self._drop_blob(path)
            return
        self._check_sum(path)
        self._report.images += images
        if self._change.dry_run:
            self._say_hidden(path, judged.hidden)
            self._expect(folder, path, tables)
            self._report.freed += size - compacted_size(named)
            return
        staged = f"{folder}/{stem}.new.tar"
        with TarOutput(str(self._change.stage(staged))) as out:
            place = copy_members(os.path.join(self._writer.root, path), named, out, self._tell)
            digest, new_size = out.finish(), out.position
        take_over(os.lstat(os.path.join(self._writer.root, path)), self._change.stage(staged))
        new = self._writer.rename_blob(stem, digest, staged, folder)
        for pickle, table in tables.items():
            new_spans = [place[s, e, member_called(n, named[s, e])] for n, s, e in table.entries()]
            moved = np.array(new_spans, np.int64).reshape(len(table), 2)
            fresh = table.moved(moved[:, 0].copy(), moved[:, 1].copy())
            parent = pickle.path.rpartition("/")[0]
            self._writer.replace_pickle(pickle.path, f"{parent}/{new}{layout.OFFSETS_SUFFIX}", fresh)
        self._drop_blob(path)
        if is_of_images and pickles:
            self._added[f"{new}.tar"] = digest
        self._renamed[path] = f"{folder}/{new}.tar"
        spans = spans_of(members)
        hidden = [replace(one, position=place[(*spans[one.row], one.name)][0]) for one in judged.hidden]
        self._say_hidden(self._renamed[path], hidden)
        self._report.blobs.append(self._renamed[path])
        self._report.freed += size - new_size

    def _check_backups(self, path: str, members: TarTable, judged: Members) -> None:
        """Refuse to take for removed what a pickle may have named that `verify --repair` couldn't read."""
        released = self._writer.released.get(path)
        spans, removed = spans_of(members), released.ranges if released else set()
        rows = [row for row in judged.gone if spans[row] not in removed]
        if self._unreferenced or not rows:
            return
        if backup := unreadable_backup(self._known.storage, self._backups, path):
            names = ", ".join(shown(members.name(row)) for row in rows[:NAMED_IN_WARNING])
            more = ", …" if len(rows) > NAMED_IN_WARNING else ""
            raise PackError(
                f"{path}: no offsets name {counted(len(rows), 'member')} of it ({names}{more}). {backup} may "
                "have done so, but it can't be read, so nobody knows whether they were removed. `blobdir offsets` "
                "writes entries for all members; if they may go, delete that file, or use --unreferenced. "
                "Nothing was changed"
            )

    def _expect(self, folder: str, path: str, tables: dict[Pickle, OffsetsTable]) -> None:
        """Say of a blob what a dry run can: what would be touched, and whether its offsets could be written again."""
        for touched in (path, *(pickle.path for pickle in tables)):
            self._change.expect(touched)
        if folder == layout.BLOB_DIR:
            self._gone.append(path.rpartition("/")[2])
        for pickle, table in tables.items():
            encoded(table, pickle.path)  # says what can't be written again
        self._report.replaced.append(path)

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
        for start, end in named.keys() - set(spans_of(members)):
            raise PackError(
                f"{path}: {os.fsdecode(min(named[start, end]))} should be bytes {start} to {end}, where the archive "
                "has no member; see `blobdir verify`; nothing was changed"
            )

    def _say_hidden(self, path: str, hidden: list[LeftOut]) -> None:
        """Say what stays though no offsets name it."""
        if hidden:
            self._say("hidden", path, f"kept: {named_in_words(hidden)}; --unreferenced removes such files")

    def _say_files(self) -> None:
        """Say in one line what stays as files of images: where it was an image, nobody knows that it was removed."""
        if self._files:
            many = len(self._with_files) > 1
            path = layout.BLOB_DIR if many else self._renamed.get(self._with_files[0], self._with_files[0])
            names = [shown(one.name) for one in self._files[:NAMED_IN_WARNING]]
            more = ", …" if len(self._files) > NAMED_IN_WARNING else ""
            what = counted(len(self._files), OF_IMAGE.one, OF_IMAGE.many)
            what += f", in {counted(len(self._with_files), 'tar')}" if many else ""
            message = f"kept: {what}: {', '.join(names)}{more}; if they aren't needed, --unreferenced removes all such"
            self._say("hidden", path, message)

    def _say_gone(self, path: str, members: TarTable, judged: Members) -> None:
        """Say what goes that is more than an image."""
        others = [*(member for member in members.left_out if not member.kind.has_data), *members.folders]
        if judged.gone or not judged.kept:
            for gone in (judged.of_gone, others):
                if gone:
                    self._say("member-gone", path, f"not kept: {named_in_words(gone)}")

    def _has_unused(self, path: str, members: TarTable, judged: Members, size: int) -> bool:
        """Whether a member goes; or there is more in the tar than members and their headers take."""
        if judged.gone or size > compacted_size(judged.kept) + 20 * 1024:
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
