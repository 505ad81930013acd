"""Annotations in tars: blobs written anew with those that ``ann/`` has now, or without any.

A tar is taken as it's wanted, member by member, and compared with what it is: only those that differ are written anew,
in one change, after `compact` has done its own. What isn't certain to be a copy stays, and is named: a ``.json`` that
is no annotation by its content, or of whose image ``ann/`` has none.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.annotations import read_annotation
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, BusyError, PackError, UsageError
from blobdir.inside import open_plain
from blobdir.offsets.choosing import key_of
from blobdir.offsets.names import keyed, unkeyed
from blobdir.packing.compacting import Compacting, compact
from blobdir.packing.folding import is_of_store
from blobdir.packing.publishing import Change, take_over
from blobdir.packing.samples import Samples, label_of
from blobdir.packing.shards import TarOutput
from blobdir.packing.unnamed import judge, member_called, names_of, spans_of
from blobdir.packing.writer import ProjectWriter
from blobdir.tarwriting.format import member_header, padding
from blobdir.tarwriting.members import label_called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.discovery import Progress
    from blobdir.discovery.parts import Pickle
    from blobdir.offsets import OffsetsTable
    from blobdir.packing.report import ChangeReport, Layout
    from blobdir.packing.unnamed import Named
    from blobdir.packing.writer import Span
    from blobdir.tarscan import TarTable

    Wanted = list[tuple[bytes, Span | str]]

_AT_ONCE: Final = 16 << 20


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
    report = compact(project, unreferenced=unreferenced, dry_run=dry_run, progress=progress)
    with Change(project, dry_run=dry_run) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        _Relabelling(writer, report, with_labels=layout == "webdataset", progress=progress).run()
        change.commit()
    report.say_left(change.leftovers())
    report.seconds = time.perf_counter() - began
    return report


class _Relabelling(Compacting):
    """Writes blobs anew whose members aren't those that are wanted."""

    def __init__(
        self, writer: ProjectWriter, report: ChangeReport, *, with_labels: bool, progress: Progress | None
    ) -> None:
        super().__init__(writer, unreferenced=False, progress=progress)
        self._report = report
        self._with_labels = with_labels
        self._shared: dict[str, set[str]] = {}

    def run(self) -> ChangeReport:
        """Look at all blobs of images."""
        self._writer.check_released()
        self._known.check_all_seen()
        pickles: dict[str, list[Pickle]] = {}
        for pickle in self._known.all_pickles():
            if pickle.blobs != layout.BLOB_DIR and self._with_labels:
                raise UsageError(
                    f"{pickle.blobs}: holds annotations in tars, and copies are made of files; `blobdir unpack` and "
                    "`blobdir pack` make files of them; blobs stay without copies"
                )
            if pickle.blobs == layout.BLOB_DIR:
                pickles.setdefault(self._known.blob_of(pickle), []).append(pickle)
        self._total = sum(self._size(path) for path in pickles)
        for path, of in pickles.items():
            if is_of_store(path):
                if self._with_labels:
                    self._say("label-kept", path, "a store wrote it, and folds it with others: it's left as it is")
            else:
                self._relabel(path, of)
            self._tell(self._size(path) if os.path.exists(os.path.join(self._writer.root, path)) else 0)
        self._writer.write_sums(self._added, self._gone)
        self._writer.write_released()
        return self._report

    def _relabel(self, path: str, pickles: list[Pickle]) -> None:
        members = self._scan(path)
        tables = {pickle: self._table(pickle) for pickle in pickles}
        own = names_of((entry for table in tables.values() for entry in table.entries()), members)
        for pickle, table in tables.items():
            self._known.check_fit(pickle, table)
        self._check_members(path, members, own)
        file = open_plain(os.path.join(self._writer.root, path))
        try:
            blob = _Blob(path, members, tables, own, file)
            wanted = self._wanted(blob)
            if not blob.is_so(wanted, self._writer.read):
                self._write(blob, wanted)
        finally:
            os.close(file)

    # -- what is wanted --------------------------------------------------------------------------------------

    def _wanted(self, blob: _Blob) -> Wanted:
        """All members as they should be, in order: their names, and where their bytes lie, in the tar or as a file."""
        called = self._called(blob)
        released = self._writer.released.get(blob.path)
        judged = judge(called, blob.members, removed=released.ranges if released else ())
        if judged.gone and not self._change.dry_run:
            raise BusyError(f"{blob.path}: images were removed from it meanwhile; try again; nothing was changed")
        beside: dict[bytes, list[tuple[bytes, Span]]] = {}
        for span in sorted(judged.kept.keys() - called.keys()):
            for name in sorted(judged.kept[span]):
                beside.setdefault(key_of(name), []).append((name, span))
        wanted: Wanted = []
        for span in sorted(called):
            for name in sorted(called[span]):
                wanted.append((name, span))
                wanted += self._following(blob, name, span, beside.pop(key_of(name), []))
        return wanted + [(name, span) for left in beside.values() for name, span in left]

    def _following(self, blob: _Blob, name: bytes, image: Span, beside: list[tuple[bytes, Span]]) -> Wanted:
        """What should follow an image, of which other members with its key lie there."""
        path, why = self._label(blob, image)
        called = label_called(name)
        if why:
            if any(other == called for other, _ in beside):
                self._say("label-kept", blob.path, f"{os.fsdecode(called)} stays as it is: {why}")
            elif self._with_labels:
                self._say("label-kept", blob.path, f"{os.fsdecode(name)} gets no annotation beside it: {why}")
            return list(beside)
        for other, span in beside:
            if other == called and (keep := self._why_kept(blob.read(*span), path)):
                self._say("label-kept", blob.path, f"{os.fsdecode(other)} stays as it is: {keep}")
                return list(beside)
        own: Wanted = [(called, path)] if self._with_labels and path else []
        return own + [member for member in beside if member[0] != called]

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
        path = blob.path
        self._check_sum(path)
        if self._change.dry_run:
            if path not in self._report.replaced:
                self._expect(layout.BLOB_DIR, path, blob.tables)
            return
        stem = layout.blob_stem(path.rpartition("/")[2]) or ""
        staged = f"{layout.BLOB_DIR}/{stem}.new.tar"
        place: dict[tuple[int, int, bytes], Span] = {}
        with TarOutput(str(self._change.stage(staged))) as out:
            for name, source in wanted:
                if isinstance(source, str):
                    out.member(name, self._writer.read(source))
                else:
                    place[*source, name] = blob.copy(name, *source, out)
            digest, size = out.finish(), out.position
        take_over(os.lstat(os.path.join(self._writer.root, path)), self._change.stage(staged))
        new = self._writer.rename_blob(stem, digest, staged, layout.BLOB_DIR)
        by_span: dict[Span, set[bytes]] = {}
        for start, end, name in place:
            by_span.setdefault((start, end), set()).add(name)
        for pickle, table in blob.tables.items():
            spans = [place[s, e, member_called(n, by_span[s, e])] for n, s, e in table.entries()]
            moved = np.array(spans, np.int64).reshape(len(table), 2)
            fresh = table.moved(moved[:, 0].copy(), moved[:, 1].copy())
            parent = pickle.path.rpartition("/")[0]
            self._writer.replace_pickle(pickle.path, f"{parent}/{new}{layout.OFFSETS_SUFFIX}", fresh)
        self._report.freed += self._size(path) - size
        self._drop_blob(path)
        self._added[f"{new}.tar"] = digest
        report = self._report
        report.blobs = [one for one in report.blobs if one != path] + [f"{layout.BLOB_DIR}/{new}.tar"]


def _spelled(own: bytes, name: str) -> bytes:
    """What a member should be called that offsets call so, with the folders that it has."""
    raw, called = os.fsencode(name), os.fsencode(Samples([name]).called[0])
    if own == called or own.endswith(b"/" + called):
        return own
    if own == raw or own.endswith(b"/" + raw):
        return own.removesuffix(raw) + called
    return own if unkeyed(own) != own else keyed(own)  # one of several of a name, which offsets number


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
    named : dict
        Byte range -> names of its members, of what offsets name.
    shown : dict
        Byte range -> dataset and name of each image that it is.
    """

    def __init__(
        self, path: str, members: TarTable, tables: dict[Pickle, OffsetsTable], named: Named, file: int
    ) -> None:
        self.path, self.members, self.tables, self.named = path, members, tables, named
        self._file = file
        self.shown: dict[Span, set[tuple[str, str]]] = {}
        for pickle, table in tables.items():
            for name, start, end in table.entries():
                self.shown.setdefault((start, end), set()).add((pickle.dataset, os.fsdecode(name)))

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
        for low in range(start, end, _AT_ONCE):
            out.add(self.read(low, min(low + _AT_ONCE, end)))
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
        named = ((self.members.name(row), span) for row, span in enumerate(spans_of(self.members)))
        return iter(sorted(named, key=lambda member: member[::-1]))
