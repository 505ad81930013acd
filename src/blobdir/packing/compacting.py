"""Blobs written anew without the images that no offsets refer to.

Nothing is taken on trust: every folder that could hold a dataset must be listed, every offsets file read, every tar
scanned to its end, every entry fit (header, size, name), and a blob with a checksum have it. One thing that doesn't
hold, and nothing is done at all: damage that was copied into a new, sound blob couldn't be told any more.

That can take hours, so links and copies are looked for again just before the change is decided
(`_Compacting._look_again`, `stillnamed.check_unneeded`).

`held` holds blobs against what is said of them, and `unnamed` says which members stay. What goes is looked for in what
stays, and in the files that no dataset uses, see `remains` and `searching`.

It's one change. First all blobs are looked at (`_Compacting._look`), then those are written that have to be
(`_Compacting._write`): one by one, or, where stores wrote them, several as one (`folding.groups`), whether anything
goes out of them or not. So there is the project as it was, or as it is with all of this; what is in between is what
decision 10 says. Where there's no room for several as one, they are written as if there were no folding. From the
moment when the change was made its report isn't lost: who is interrupted then, or meets an error, is told all of it.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.durable import open_regular
from blobdir.errors import BlobdirError, PackError
from blobdir.interrupts import telling
from blobdir.offsets.choosing import no_images, side_files_of
from blobdir.offsets.table import concatenate
from blobdir.packing import folding
from blobdir.packing.folding import copy_blob
from blobdir.packing.held import Holding
from blobdir.packing.publishing import Change
from blobdir.packing.remains import Gone, Remains
from blobdir.packing.report import ChangeReport, Problem
from blobdir.packing.searching import is_closed, places
from blobdir.packing.shards import TarOutput
from blobdir.packing.unnamed import OF_IMAGE, compacted_size, spans_of
from blobdir.packing.writer import ProjectWriter, encoded
from blobdir.tarscan import scan_tar
from blobdir.tarscan.header import shown
from blobdir.tarscan.table import NAMED_IN_WARNING, named_in_words
from blobdir.wording import counted

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What is no reason not to compact where several blobs would become one."""

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from blobdir.discovery import Progress
    from blobdir.discovery.parts import Pickle
    from blobdir.packing.held import Held
    from blobdir.packing.searching import Place
    from blobdir.packing.unnamed import Members
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
    couldn't be searched. What a symbolic link of the project leads to stays as it is, and the link is named, code
    ``link``. Small blobs that stores (`blobdir.ImageStore`) wrote become large ones. Hard links to an old
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
    return compacted(project, unreferenced=unreferenced, dry_run=dry_run, progress=progress)[0]


def compacted(
    project: str | os.PathLike[str], *, unreferenced: bool, dry_run: bool, progress: Progress | None
) -> tuple[ChangeReport, Problem | None]:
    """`compact`, and what it says of files of images that stay: who takes some of them out next says that anew."""
    began = time.perf_counter()
    report = ChangeReport()
    change = Change(project, dry_run=dry_run)
    with telling(lambda: report.told if change.made else ()):
        with change:
            writer = ProjectWriter(change, os.path.abspath(project))
            compacting = _Compacting(writer, report, unreferenced=unreferenced, progress=progress)
            compacting.run()
            try:
                change.commit()
            finally:
                compacting.say_kept()
        compacting.note_kept()
        report.say_left(change.leftovers())
    report.seconds = time.perf_counter() - began
    return report, compacting.of_files


def kept_files(files: Mapping[str, list[LeftOut]], renamed: Mapping[str, str]) -> Problem | None:
    """One line on files of images that stay, by tars: where one was an image, nobody knows that it was removed."""
    tars = [path for path, some in files.items() if some]
    if not tars:
        return None
    found = [one for path in tars for one in files[path]]
    names = [shown(one.name) for one in found[:NAMED_IN_WARNING]]
    more = ", …" if len(found) > NAMED_IN_WARNING else ""
    what = counted(len(found), OF_IMAGE.one, OF_IMAGE.many)
    what += f", in {counted(len(tars), 'tar')}" if len(tars) > 1 else ""
    message = f"kept: {what}: {', '.join(names)}{more}; if they aren't needed, --unreferenced removes all such"
    return Problem("hidden", layout.BLOB_DIR if len(tars) > 1 else renamed.get(tars[0], tars[0]), message)


class _Compacting:
    def __init__(
        self, writer: ProjectWriter, report: ChangeReport, *, unreferenced: bool, progress: Progress | None
    ) -> None:
        self._writer, self._known, self._change = writer, writer.known, writer.change
        self._unreferenced = unreferenced
        self._progress = progress
        self._report = report
        self._added: dict[str, str] = {}
        self._gone: list[str] = []
        self._lost: list[Gone] = []
        self._kept: dict[str, tuple[TarTable, Members]] = {}
        self._renamed: dict[str, str] = {}
        self._files: dict[str, list[LeftOut]] = {}
        self.of_files: Problem | None = None
        self._seen: Mapping[str, Folder] = {}
        self._holding = Holding(writer, (), unreferenced=unreferenced)
        self._anew: list[Held] = []
        self._as_it_is: list[Held] = []
        self._behind = self._total = 0
        self._dropped_whole: list[str] = []
        self._said_links: set[str] = set()
        self._remains = Remains(writer.root, [])
        self._looked_into: dict[str, tuple[int, ...]] = {}

    def run(self) -> None:
        self._writer.check_released()
        self._seen = self._known.check_all_seen()
        self._holding = Holding(self._writer, self._seen.values(), unreferenced=self._unreferenced)
        self._holding.check_sums()
        pickles: dict[tuple[str, str], list[Pickle]] = {}
        for pickle in self._known.all_pickles():
            self._known.blob_of(pickle)  # one that is away may be put back, and then must fit
            pickles.setdefault((pickle.blobs, pickle.stem), []).append(pickle)
        folders = self._folders
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
                self._look(stem, path, pickles[folder, stem], self._holding.scan(path))
            else:
                self._without_offsets(stem, path)
        self._write()
        self._say_files()
        if self._lost:
            self._look_for_lost()
        self._change.ask_again(self._look_again)
        self._report.held = [*dict.fromkeys(self._report.held)]
        self._writer.write_sums(self._added, self._gone)
        self._writer.write_released()
        self._report.problems += self._writer.write_shard_indexes()

    @property
    def _folders(self) -> list[str]:
        """Those that blobs lie in."""
        return [
            layout.BLOB_DIR,
            *(layout.join(path, layout.PACKED_ANNOTATIONS) for path in self._known.datasets.values()),
        ]

    def _look_again(self) -> None:
        """Look, just before it's decided, for links and files that have come since this began, hours ago perhaps."""
        if self._dropped_whole:
            self._known.survey_anew()
            self._say_links(self._dropped_whole)
        if self._lost:
            self._seen = {one.path: one for one in self._known.storage.walk(follow_links=False)}
            self._search()

    def say_kept(self) -> None:
        """Say which blobs stay after all, since offsets may name them by now: to be called after the change."""
        for path in sorted(self._change.kept.intersection(self._report.removed)):
            self._report.removed.remove(path)
            self._report.freed -= self._size(path)
            self._report.held.append(path)
            what = "was to go, and stays, with what was removed: offsets may name it, or a folder can't be listed"
            self._say("still-there", path, f"{what}; compact again")

    def note_kept(self) -> None:
        """Note that these are in no use, so that the next `compact` deletes them, if nothing names them then."""
        if not self._change.kept:
            return
        with suppress(BlobdirError, OSError), Change(self._writer.root) as change:  # else they are named as unknown
            writer = ProjectWriter(change, self._writer.root)
            for path in self._change.kept:
                writer.release(path, self._kept[path][1].kept if path in self._kept else ())
            writer.write_released()
            change.commit()

    def _size(self, path: str) -> int:
        return os.path.getsize(os.path.join(self._writer.root, path))

    def _leads_out(self, path: str) -> bool:
        return self._known.storage.escapes(path) or not os.path.exists(os.path.join(self._writer.root, path))

    def _say(self, code: str, path: str, message: str) -> None:
        self._report.problems.append(Problem(code, path, message))

    def _without_offsets(self, stem: str, path: str) -> None:
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
                members = self._holding.scan(path)
            except PackError as error:
                why = str(error).removeprefix(f"{path}: ").removesuffix("; nothing was changed")
                message = f"no dataset has offsets for it, but it {why}; it was left alone, --unreferenced deletes it"
                self._say("blob-unreferenced", path, message)
            else:
                self._look(stem, path, [], members)

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
            self._dropped_whole.append(path)
            self._say_links([path])
        self._report.freed += os.lstat(full).st_size
        self._drop_blob(path, with_links=True)

    def _say_links(self, going: Iterable[str]) -> None:
        """Say, once of each, which links lead to tars that go."""
        for path in going:
            for link in self._known.survey.links_to(path):
                if link not in self._said_links:
                    self._said_links.add(link)
                    self._say("link", link, f"leads nowhere then: {path} goes")

    def _drop_blob(self, path: str, *, with_links: bool = False) -> None:
        self._report.removed.append(path)
        self._change.remove(path, with_links=with_links)
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

    def _look_for_lost(self) -> None:
        """Say which files still have what goes, and which weren't searched for it."""
        self._remains = Remains(self._writer.root, self._lost)
        for path, (members, judged) in self._kept.items():
            self._look_among(self._remains, path, members, judged)
        self._search()

    def _search(self) -> None:
        """Search the files beside blobs: when it's done again, those that are new, or were written to since."""
        known = self._kept.keys() | set(self._report.removed) | {gone.path for gone in self._lost}
        for place in places(self._known.storage, self._seen.values(), set(self._folders), known):
            if place.why:
                if place.path not in self._report.unsearched:
                    self._not_searched(place.path, place.why)
                continue
            there = _version(os.path.join(self._writer.root, place.real))
            if place.path not in self._report.held and self._looked_into.get(place.real) != there:
                self._looked_into[place.real] = there
                self._look_into(self._remains, place)

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

    def _look(self, stem: str, path: str, pickles: list[Pickle], members: TarTable) -> None:
        """Say of a blob what becomes of it; what nothing would be left of goes."""
        held = self._holding.hold(path, stem, {pickle: self._holding.table(pickle) for pickle in pickles}, members)
        judged = held.judged
        self._files[path] = judged.files
        self._kept[path] = members, judged
        self._say_gone(path, members, judged)
        size = self._size(path)
        if (judged.kept or pickles) and not self._has_unused(path, members, judged, size):
            self._as_it_is.append(held)
            return
        if links := held.links(self._known):
            self._let_be(held, links)
            return
        self._lose(path, members, judged.gone)
        if judged.kept or pickles:
            self._anew.append(held)
            return
        self._tell(size)
        self._report.freed += size
        self._drop_blob(path)

    def _let_be(self, held: Held, links: list[str]) -> None:
        """Leave a blob as it is, since symbolic links would lead nowhere, and say so."""
        kept = ", with what was removed" if held.judged.gone else ""
        for link in links:
            what = f"leads to {held.path}, or to its offsets, so that stays as it is{kept}"
            self._say("link", link, f"{what}; remove the link, and compact again")
        self._report.held += [held.path] if kept else []
        self._leave(held)

    def _write(self) -> None:
        """Write blobs anew: those out of which something goes, and those of stores that become one."""
        groups = folding.groups(self._writer, [*self._anew, *self._as_it_is])
        folded = {held.path for group in groups for held in group}
        for held in self._anew:
            if held.path not in folded:
                self._write_anew(held)
        for group in groups:
            self._fold(group)
        for held in self._as_it_is:
            if held.path not in folded:
                self._leave(held)

    def _leave(self, held: Held) -> None:
        self._say_hidden(held.path, held.judged.hidden)
        self._tell(held.there.st_size)

    def _write_anew(self, held: Held) -> None:
        named, hidden = held.judged.kept, held.judged.hidden
        self._holding.check_sum(held.path)
        self._report.images += held.images
        if self._change.dry_run:
            self._say_hidden(held.path, hidden)
            self._expect(held)
            self._report.freed += held.there.st_size - compacted_size(named)
            return
        staged = f"{held.folder}/{held.stem}.new.tar"
        self._change.give_as(staged, held.there)
        with TarOutput(str(self._change.stage(staged))) as out:
            tables, place = copy_blob(self._writer.root, held, out, self._tell)
            digest, new_size = out.finish(), out.position
        new = self._writer.rename_blob(held.stem, digest, staged, held.folder)
        for pickle, table in tables.items():
            parent = pickle.path.rpartition("/")[0]
            self._writer.replace_pickle(pickle.path, f"{parent}/{new}{layout.OFFSETS_SUFFIX}", table)
        spans = spans_of(held.members)
        hidden = [replace(one, position=place[(*spans[one.row], one.name)][0]) for one in hidden]
        self._written([held], f"{held.folder}/{new}.tar", digest, new_size)
        self._say_hidden(f"{held.folder}/{new}.tar", hidden)

    def _fold(self, group: list[Held]) -> None:
        """Write several blobs as one, or, where there's no room for it, as if each were by itself."""
        for held in group:
            self._holding.check_sum(held.path)
        if not self._change.dry_run:
            staged = f"{layout.BLOB_DIR}/{group[0].stem}.new.tar"
            self._change.give_as(staged, group[0].there)
            try:
                with TarOutput(str(self._change.stage(staged))) as out:
                    copies = [copy_blob(self._writer.root, held, out, self._tell)[0] for held in group]
                    digest, size = out.finish(), out.position
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._change.forget(staged)
                self._dont_fold(group, error)
                return
            stem = self._writer.name_blob(folding.SLUG, digest, staged)
            pickles = [pickle for held in group for pickle in held.tables]
            table = concatenate([table for tables in copies for table in tables.values()])
            new = f"{pickles[0].path.rpartition('/')[0]}/{stem}{layout.OFFSETS_SUFFIX}"
            self._change.give_as(new, os.lstat(os.path.join(self._writer.root, pickles[0].path)))
            self._writer.new_pickle(new, table)
            for pickle in pickles:
                self._change.remove(pickle.path)
            self._written(group, f"{layout.BLOB_DIR}/{stem}.tar", digest, size)
        else:
            self._report.freed -= compacted_size(*(held.judged.kept for held in group))
            for held in group:
                self._expect(held)
                self._report.freed += held.there.st_size
        self._report.folded += len(group)
        self._report.images += sum(held.images for held in group if held in self._anew)

    def _dont_fold(self, group: list[Held], error: OSError) -> None:
        why = f"isn't folded into one with {counted(len(group) - 1, 'other')}: {error.strerror}"
        self._say("not-folded", group[0].path, f"{why}; make room, and try again")
        for held in group:
            if held in self._anew:
                self._write_anew(held)
            else:
                self._leave(held)

    def _written(self, blobs: list[Held], new: str, digest: str, size: int) -> None:
        """Have old blobs go for a new one."""
        for held in blobs:
            self._drop_blob(held.path)
            self._report.replaced.append(held.path)
            self._renamed[held.path] = new
            self._report.freed += held.there.st_size
        if blobs[0].folder == layout.BLOB_DIR and blobs[0].tables:
            self._added[new.rpartition("/")[2]] = digest
        self._report.blobs.append(new)
        self._report.freed -= size

    def _expect(self, held: Held) -> None:
        """Say of a blob what a dry run can: what would be touched, and whether its offsets could be written again."""
        for touched in (held.path, *(pickle.path for pickle in held.tables)):
            self._change.expect(touched)
        if held.folder == layout.BLOB_DIR:
            self._gone.append(held.path.rpartition("/")[2])
        for pickle, table in held.tables.items():
            encoded(table, pickle.path)  # says what can't be written again
        self._report.replaced.append(held.path)

    def _say_hidden(self, path: str, hidden: list[LeftOut]) -> None:
        """Say what stays though no offsets name it."""
        if hidden:
            self._say("hidden", path, f"kept: {named_in_words(hidden)}; --unreferenced removes such files")

    def _say_files(self) -> None:
        """Say what stays as files of images."""
        self.of_files = kept_files(self._files, self._renamed)
        if self.of_files is not None:
            self._report.problems.append(self.of_files)

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

    def _tell(self, size: int) -> None:
        self._behind += size
        if self._progress is not None:
            self._progress("compacting", min(self._behind, self._total), self._total)


def _version(path: str) -> tuple[int, ...]:
    """What tells whether a file is another one later; empty where it's gone."""
    try:
        there = os.stat(path)
    except OSError:
        return ()
    return there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns
