"""Annotations in tars: blobs written anew with those that ``ann/`` has now, or without any.

A tar is taken as it's wanted, member by member, and compared with what it is: only those that differ are written anew,
in one change, after `compact` has done its own. What isn't certain to be a copy stays, and is named: a ``.json`` that
is no annotation by its content, or of whose image ``ann/`` has none. Blobs are held against what is said of them as
`compact` does it (`held`), and those that are certainly a store's stay (`folding.is_a_stores`).

So a project is as it was, compacted, or compacted and relabelled. If it stays at the second of these, an error or an
interruption ended it, and who meets that is told so, with what compacting had to say.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from blobdir.annotations import read_annotation
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, BusyError, PackError, UsageError
from blobdir.inside import open_plain
from blobdir.interrupts import remembering, telling
from blobdir.offsets.choosing import key_of
from blobdir.offsets.names import keyed, unkeyed
from blobdir.packing.compacting import compacted, kept_files
from blobdir.packing.folding import CHUNK_BYTES, is_a_stores
from blobdir.packing.held import Holding
from blobdir.packing.publishing import Change
from blobdir.packing.report import ChangeReport, Problem
from blobdir.packing.samples import Samples, label_of
from blobdir.packing.shards import TarOutput
from blobdir.packing.unnamed import judge, member_called, spans_of
from blobdir.packing.writer import ProjectWriter, encoded
from blobdir.tarwriting.format import member_header, padding
from blobdir.tarwriting.members import is_label_called, label_called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.discovery import Progress
    from blobdir.discovery.parts import Pickle
    from blobdir.packing.held import Held
    from blobdir.packing.report import Layout
    from blobdir.packing.writer import Span
    from blobdir.tarscan import LeftOut

    Wanted = list[tuple[bytes, Span | str]]


def relabel(
    project: str | os.PathLike[str],
    *,
    layout: Layout = "webdataset",
    unreferenced: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ChangeReport:
    """`compact`, and then have each image in a blob be followed by the annotation that it has now; or by none.

    Parameters
    ----------
    project : path
    layout : {"webdataset", "files"}
        With annotations, or without. Tars that are so already aren't touched; blobs of stores never are.
    unreferenced, dry_run, progress
        As for `compact`. With `unreferenced`, files of images go first, whosever they are.

    Raises
    ------
    PackError, UsageError, BusyError
    """
    began = time.perf_counter()
    if layout not in ("files", "webdataset"):
        raise UsageError(f"layout={layout!r}: choose one of files, webdataset")
    root, report, change = os.path.abspath(project), ChangeReport(), Change(project, dry_run=dry_run)
    done: list[str] = []
    with telling(lambda: report.told if change.made else done):
        with remembering() as done:
            report, of_files = compacted(project, unreferenced=unreferenced, dry_run=dry_run, progress=progress)
        done = [] if dry_run else report.told
        if not dry_run and (report.blobs or report.removed):
            done = [f"{root}: blobs were compacted before that, without their labels being changed", *done]
        with change:
            writer = ProjectWriter(change, root)
            _Relabelling(
                writer,
                report,
                of_files,
                with_labels=layout == "webdataset",
                unreferenced=unreferenced,
                progress=progress,
            ).run()
            change.commit()
        report.say_left(change.leftovers())
    report.seconds = time.perf_counter() - began
    return report


class _Relabelling:
    """Writes blobs anew whose members aren't those that are wanted."""

    def __init__(
        self,
        writer: ProjectWriter,
        report: ChangeReport,
        of_files: Problem | None,
        *,
        with_labels: bool,
        unreferenced: bool,
        progress: Progress | None,
    ) -> None:
        self._writer, self._known, self._change = writer, writer.known, writer.change
        self._report, self._of_files = report, of_files
        self._with_labels = with_labels
        self._unreferenced = unreferenced
        self._progress = progress
        self._holding = Holding(writer, (), unreferenced=unreferenced)
        self._shared: dict[str, set[str]] = {}
        self._added: dict[str, str] = {}
        self._gone: list[str] = []
        self._renamed: dict[str, str] = {}
        self._files: dict[str, list[LeftOut]] = {}
        self._dropped: list[tuple[bytes, bytes]] = []
        self._kept: set[bytes] = set()

    def run(self) -> None:
        """Look at all blobs of images."""
        self._writer.check_released()
        self._holding = Holding(self._writer, self._known.check_all_seen().values(), unreferenced=self._unreferenced)
        pickles: dict[str, list[Pickle]] = {}
        for pickle in self._known.all_pickles():
            if pickle.blobs != layout.BLOB_DIR and self._with_labels:
                raise UsageError(
                    f"{pickle.blobs}: holds annotations in tars, and copies are made of files; `blobdir unpack` and "
                    "`blobdir pack` make files of them; blobs stay without copies"
                )
            if pickle.blobs == layout.BLOB_DIR:
                pickles.setdefault(self._known.blob_of(pickle), []).append(pickle)
        sizes = {path: os.path.getsize(os.path.join(self._writer.root, path)) for path in pickles}
        behind = 0
        for path, of in pickles.items():
            self._relabel(path, of)
            behind += sizes[path]
            if self._progress is not None:
                self._progress("compacting", behind, sum(sizes.values()))
        self._say_files()
        self._say_renamed()
        self._writer.write_sums(self._added, self._gone)
        self._writer.write_released()
        said = {(problem.code, problem.path) for problem in self._report.problems}  # by the compacting before it
        stale = self._writer.write_shard_indexes()
        self._report.problems += [one for one in stale if (one.code, one.path) not in said]

    def _relabel(self, path: str, pickles: list[Pickle]) -> None:
        tables = {pickle: self._holding.table(pickle) for pickle in pickles}
        held = self._holding.hold(path, pickles[0].stem, tables, self._holding.scan(path))
        if is_a_stores(self._writer, held):
            self._files[path] = held.judged.files
            if self._with_labels:
                self._say("label-kept", path, "is as stores write them, and folds with others: it's left as it is")
            return
        file = open_plain(os.path.join(self._writer.root, path))
        try:
            blob = _Blob(held, file)
            wanted = self._wanted(blob)
            if blob.is_so(wanted, self._writer.read):
                return
            if links := held.links(self._known):
                self._files[path] = held.judged.files
                said = {(problem.code, problem.path) for problem in self._report.problems}
                for link in (one for one in links if ("link", one) not in said):
                    what = f"leads to {path}, or to its offsets, so that stays as it is"
                    self._say("link", link, f"{what}; remove the link, and compact again")
                return
            self._write(blob, wanted)
        finally:
            os.close(file)

    def _say(self, code: str, path: str, message: str) -> None:
        self._report.problems.append(Problem(code, path, message))

    def _say_files(self) -> None:
        """Say which files of images stay, now that it's known which of them are labels that don't."""
        report = self._report
        report.problems[:] = [one for one in report.problems if one is not self._of_files]
        if (problem := kept_files(self._files, {})) is not None:
            report.problems.append(problem)

    def _say_renamed(self) -> None:
        """Have what was said of blobs be of those that there will be."""
        report, new = self._report, self._renamed
        report.blobs = [*dict.fromkeys([*(new.get(path, path) for path in report.blobs), *new.values()])]
        report.held = [new.get(path, path) for path in report.held]
        report.problems[:] = [replace(one, path=new.get(one.path, one.path)) for one in report.problems]

    # -- what is wanted --------------------------------------------------------------------------------------

    def _wanted(self, blob: _Blob) -> Wanted:
        """All members as they should be, in order: their names, and where their bytes lie, in the tar or as a file."""
        called, judged = self._called(blob), blob.held.judged
        if called != blob.named:
            released = self._writer.released.get(blob.path)
            removed = released.ranges if released else ()
            judged = judge(called, blob.held.members, unnamed_stay=not self._unreferenced, removed=removed)
        if judged.gone and not self._change.dry_run:
            raise BusyError(f"{blob.path}: images were removed from it meanwhile; try again; nothing was changed")
        beside: dict[bytes, list[tuple[bytes, Span]]] = {}
        for span in sorted(judged.kept.keys() - called.keys()):
            for name in sorted(judged.kept[span]):
                beside.setdefault(key_of(name), []).append((name, span))
        times = Counter(key_of(name) for names in called.values() for name in names)
        wanted: Wanted = []
        for span in sorted(called):
            for name in sorted(called[span]):
                wanted.append((name, span))
                key = key_of(name)  # of several images with one, nobody knows whose the rest is: it stays
                wanted += self._following(blob, name, span, beside.pop(key, []) if times[key] == 1 else [])
        wanted += [(name, span) for left in beside.values() for name, span in left]
        self._note_left(blob, wanted, judged.files)
        return wanted

    def _note_left(self, blob: _Blob, wanted: Wanted, files: list[LeftOut]) -> None:
        """Note which files of images stay; and say which of them have what labels had that don't."""
        there: dict[Span, list[bytes]] = {}
        for name, source in wanted:
            if not isinstance(source, str):
                there.setdefault(source, []).append(name)
        for label, data in self._dropped:
            same = [span for span in there.keys() - blob.named.keys() if span[1] - span[0] == len(data)]
            found = (name for span in sorted(same) if blob.read(*span) == data for name in there[span])
            for name in (name for name in found if name not in self._kept):
                what = f"{os.fsdecode(name)} stays as it is, and has what {os.fsdecode(label)} had"
                self._say("label-kept", blob.path, f"{what}, which isn't there any more")
        self._dropped.clear()
        self._kept.clear()
        spans = spans_of(blob.held.members)
        self._files[blob.path] = [
            replace(one, name=one.name if one.name in alike else alike[0])
            for one in files
            if (alike := [name for name in there.get(spans[one.row], ()) if _ending(one.name) == _ending(name)])
        ]

    def _following(self, blob: _Blob, name: bytes, image: Span, beside: list[tuple[bytes, Span]]) -> Wanted:
        """What should follow an image, of which other members with its key lie there."""
        path, why = self._label(blob, image)
        labels = {other: span for other, span in beside if is_label_called(other, name)}
        reasons = dict.fromkeys(labels, why) if why else self._kept_labels(blob, labels, path)
        self._kept |= reasons.keys()
        for label, reason in reasons.items():
            self._say("label-kept", blob.path, f"{os.fsdecode(label)} stays as it is: {reason}")
        if why and not labels and self._with_labels:
            self._say("label-kept", blob.path, f"{os.fsdecode(name)} gets no annotation beside it: {why}")
        # Of two that differ in the case of their letters, WebDataset would read neither.
        own: Wanted = [(label_called(name), path)] if self._with_labels and path and not reasons else []
        new = self._writer.read(path) if own else None
        gone = labels.keys() - reasons.keys()
        self._dropped += [(one, data) for one in sorted(gone) if (data := blob.read(*labels[one])) != new]
        return own + [member for member in beside if member[0] not in gone]

    def _kept_labels(self, blob: _Blob, labels: dict[bytes, Span], path: str) -> dict[bytes, str]:
        """Those that stay, and why."""
        reasons = {label: self._why_kept(blob.read(*span), path) for label, span in labels.items()}
        return {label: reason for label, reason in reasons.items() if reason}

    def _why_kept(self, there: bytes, path: str) -> str:
        """Why what a tar has in the place of a label isn't sure to be a copy of one; empty where it is."""
        if path and there == self._writer.read(path):
            return ""
        if not path:
            return f"its image has no annotation in {layout.ANNOTATIONS}/, so it may be the only one"
        try:
            read_annotation(there)
        except AnnotationError as error:
            return f"it is no annotation: {error}"
        return ""

    def _label(self, blob: _Blob, image: Span) -> tuple[str, str]:
        """Path of the annotation of an image, empty where it has none; and why it can't be in the tar."""
        shown = sorted(blob.shown[image])
        names = {name for _, name in shown}
        if len(names) > 1:
            return "", f"it has several names, {' and '.join(sorted(names)[:2])}"
        if odd := Samples(names).odd:
            return "", "; ".join(f"{name} {why}" for name, why in odd.items())
        paths = []
        for dataset, name in shown:
            folder = f"{dataset}/{layout.ANNOTATIONS}"
            found = label_of(name, partial(self._has, folder))
            paths.append(f"{folder}/{found}" if found else "")
        if len(paths) > 1 and len({self._writer.read(path) if path else None for path in paths}) > 1:
            return "", f"its annotations differ: {', '.join(dataset for dataset, _ in shown)}"
        return paths[0], ""

    def _has(self, folder: str, name: str) -> bool:
        return self._known.is_file(f"{folder}/{name}")

    # -- names -----------------------------------------------------------------------------------------------

    def _called(self, blob: _Blob) -> dict[Span, set[bytes]]:
        """Names that the members of images should have: those that they have, where no sample is wanted of them.

        Folders stay, since they tell images of one name from each other.
        """
        found = {span: set(names) for span, names in blob.named.items()}
        if not self._with_labels:
            return found
        samples: dict[Span, tuple[str, bytes]] = {}
        for span, names in found.items():
            shown = {name for _, name in blob.shown[span]}
            if len(names) == len(shown) == 1:
                (one,), (own,) = shown, names
                samples[span] = one, _spelled(own, one)
        times = Counter(key_of(name) for _, name in samples.values())
        for span, (shown_name, name) in samples.items():
            is_shared = times[key_of(name)] > 1 or any(n in self._sharing(dataset) for dataset, n in blob.shown[span])
            found[span] = {_in_folder(name, whole="/" in shown_name) if is_shared else name}
        return found

    def _sharing(self, dataset: str) -> set[str]:
        """Images of a dataset that share a key with others, in whatever tar."""
        if dataset not in self._shared:
            names = sorted({os.fsdecode(raw) for raw in self._known.image_names(dataset)})
            self._shared[dataset] = Samples(names).shared
        return self._shared[dataset]

    # -- writing ---------------------------------------------------------------------------------------------

    def _write(self, blob: _Blob, wanted: Wanted) -> None:
        held, path = blob.held, blob.path
        self._holding.check_sum(path)
        if self._change.dry_run:
            if path not in self._report.replaced:
                self._expect(held)
            return
        staged = f"{layout.BLOB_DIR}/{held.stem}.new.tar"
        self._change.give_as(staged, held.there)
        place: dict[tuple[int, int, bytes], Span] = {}
        with TarOutput(str(self._change.stage(staged))) as out:
            for name, source in wanted:
                if isinstance(source, str):
                    out.member(name, self._writer.read(source))
                else:
                    place[*source, name] = blob.copy(name, *source, out)
            digest, size = out.finish(), out.position
        new = self._writer.rename_blob(held.stem, digest, staged, layout.BLOB_DIR)
        by_span: dict[Span, set[bytes]] = {}
        for start, end, name in place:
            by_span.setdefault((start, end), set()).add(name)
        for pickle, table in held.tables.items():
            spans = [place[s, e, member_called(n, by_span[s, e])] for n, s, e in table.entries()]
            moved = np.array(spans, np.int64).reshape(len(table), 2)
            fresh = table.moved(moved[:, 0].copy(), moved[:, 1].copy())
            parent = pickle.path.rpartition("/")[0]
            self._writer.replace_pickle(pickle.path, f"{parent}/{new}{layout.OFFSETS_SUFFIX}", fresh)
        self._change.remove(path)
        self._writer.released.pop(path, None)
        self._gone.append(path.rpartition("/")[2])
        self._added[f"{new}.tar"] = digest
        self._renamed[path] = f"{layout.BLOB_DIR}/{new}.tar"
        self._report.removed.append(path)
        self._report.replaced.append(path)
        self._report.freed += held.there.st_size - size

    def _expect(self, held: Held) -> None:
        """Say of a blob that it would be written anew, and whether it could be."""
        for touched in (held.path, *(pickle.path for pickle in held.tables)):
            self._change.expect(touched)
        self._gone.append(held.path.rpartition("/")[2])
        for pickle, table in held.tables.items():
            encoded(table, pickle.path)  # says what can't be written again
        self._report.replaced.append(held.path)


def _spelled(own: bytes, name: str) -> bytes:
    """What a member should be called that offsets call so, with the folders that it has."""
    raw, called = os.fsencode(name), os.fsencode(Samples([name]).called[0])
    if own == called or own.endswith(b"/" + called):
        return own
    if own == raw or own.endswith(b"/" + raw):
        return own.removesuffix(raw) + called
    return own if unkeyed(own) != own else keyed(own)  # one of several of a name, which offsets number


def _ending(name: bytes) -> bytes:
    return name.rpartition(b".")[2]


def _in_folder(name: bytes, *, whole: bool) -> bytes:
    """The name of a member in a folder of its extension: the innermost one; or the outermost, if `whole` counts."""
    folder, slash, base = name.rpartition(b"/")
    extension = base.rpartition(b".")[2]
    if extension in folder.split(b"/"):
        return name
    return extension + b"/" + name if whole else folder + slash + extension + b"/" + base


class _Blob:
    """A tar as it is.

    Attributes
    ----------
    held : Held
    path : str
    shown : dict
        Byte range -> dataset and name of each image that it is.
    named : dict
        Byte range -> names of its members, of what offsets name.
    """

    def __init__(self, held: Held, file: int) -> None:
        self.held, self.path = held, held.path
        self._file = file
        self.shown: dict[Span, set[tuple[str, str]]] = {}
        for pickle, table in held.tables.items():
            for name, start, end in table.entries():
                self.shown.setdefault((start, end), set()).add((pickle.dataset, os.fsdecode(name)))
        self.named = {span: held.judged.kept[span] for span in self.shown}

    def read(self, start: int, end: int) -> bytes:
        """Bytes of a member; PackError where they can't be read."""
        data = os.pread(self._file, end - start, start)
        if len(data) != end - start:
            raise PackError(f"{self.path}: bytes {start} to {end} can't be read; nothing was changed")
        return data

    def copy(self, name: bytes, start: int, end: int, out: TarOutput) -> Span:
        """Write a member to another tar; gives where it lies there."""
        out.add(member_header(name, end - start))
        first = out.position
        for low in range(start, end, CHUNK_BYTES):
            out.add(self.read(low, min(low + CHUNK_BYTES, end)))
        out.add(padding(end - start))
        return first, first + end - start

    def is_so(self, wanted: Wanted, read: Callable[[str], bytes]) -> bool:
        """Whether its members are those that are wanted."""
        there = list(self._there())
        return [name for name, _ in there] == [name for name, _ in wanted] and all(
            self.read(*span) == read(source) if isinstance(source, str) else span == source
            for (_, span), (_, source) in zip(there, wanted, strict=True)
        )

    def _there(self) -> Iterator[tuple[bytes, Span]]:
        named = ((self.held.members.name(row), span) for row, span in enumerate(spans_of(self.held.members)))
        return iter(sorted(named, key=lambda member: member[::-1]))
