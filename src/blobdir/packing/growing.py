"""Growing and shrinking a blob project: new images in new blobs, others removed and moved by their offsets."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from posixpath import basename
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from blobdir.discovery import layout
from blobdir.errors import NotFoundError, PackError, UsageError
from blobdir.index import FIRST_BLOB
from blobdir.offsets import read_offsets, write_offsets
from blobdir.offsets.writer import write_whole
from blobdir.packing.journal import Change
from blobdir.packing.report import Problem
from blobdir.packing.shards import Shard, write_shard
from blobdir.packing.source import plain_annotation
from blobdir.packing.sums import SUMS, format_sums, read_sums
from blobdir.packing.tarformat import archive_end, member_header, padding
from blobdir.project import open_project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdir.project import Dataset, Project

Entries = dict[str, tuple[int, int]]
"""Name -> byte range, of one pickle."""


@dataclass(slots=True)
class ChangeReport:
    """What a change did.

    Attributes
    ----------
    images : int
        Added, removed, moved, or kept by compacting.
    blobs : list of str
        Written.
    freed : int
        Bytes of blobs that are gone.
    problems : list of Problem
    seconds : float
    """

    images: int = 0
    blobs: list[str] = field(default_factory=list)
    freed: int = 0
    problems: list[Problem] = field(default_factory=list)
    seconds: float = 0.0


class ProjectWriter:
    """A project under change: its pickles as dictionaries, written when they have changed."""

    def __init__(self, change: Change, root: str) -> None:
        self.change = change
        self.project: Project = open_project(root, index="none")
        if not self.project.tree.storage.is_local:
            raise UsageError(f"{root}: only projects on this machine can be changed")
        self.root = self.project.url
        self._pickles: dict[str, Entries] = {}
        self._before: dict[str, Entries] = {}

    def dataset(self, name: str) -> Dataset:
        """A dataset by name or path."""
        if name not in self.project:
            raise UsageError(f"{name}: isn't a dataset of {self.root}; there are {', '.join(self.project) or 'none'}")
        return self.project[name]

    def entries(self, pickle: str) -> Entries:
        """Entries of a pickle, to be changed; empty where there is none."""
        if pickle not in self._pickles:
            path = os.path.join(self.root, pickle)
            table = read_offsets(path) if os.path.exists(path) else ()
            self._pickles[pickle] = {e.name: (e.offset_start, e.offset_end) for e in table}
            self._before[pickle] = dict(self._pickles[pickle])
        return self._pickles[pickle]

    def pickle_of(self, dataset: Dataset, name: str) -> str | None:
        """The pickle that an image's entry is in; None for a plain file."""
        tree = self.project.tree
        row = tree.find(f"{dataset.path}/{layout.ITEMS}/{name}", follow=False)
        source = int(tree.index.source[row])
        if source < FIRST_BLOB:
            return None
        stem = basename(tree.index.header.blobs[source - FIRST_BLOB].path).rpartition(".")[0]
        return f"{dataset.path}/{stem}{layout.OFFSETS_SUFFIX}"

    def write_pickles(self) -> None:
        """Stage what has changed; a pickle without entries goes."""
        for pickle, entries in self._pickles.items():
            if entries == self._before[pickle]:
                continue
            if entries:
                write_offsets(self.change.stage(pickle), [(name, *span) for name, span in entries.items()])
            else:
                self.change.remove(pickle)

    def free_stem(self, dataset: Dataset) -> str:
        """A name for another blob."""
        slug = dataset.name.replace("/", "-")
        folder = os.path.join(self.root, layout.BLOB_DIR)
        taken = {name.rpartition(".")[0] for name in os.listdir(folder)} if os.path.isdir(folder) else set()
        return next(stem for i in range(10**9) if (stem := f"{slug}-{i:04d}") not in taken)

    def write_sums(self, added: dict[str, str], removed: Sequence[str] = ()) -> None:
        """Stage SHA256SUMS, if the project has it."""
        path = os.path.join(self.root, layout.BLOB_DIR, SUMS)
        if os.path.exists(path):
            sums = {name: digest for name, digest in read_sums(path).items() if name not in removed} | added
            write_whole(self.change.stage(f"{layout.BLOB_DIR}/{SUMS}"), [format_sums(sums)])


def add(
    project: str | os.PathLike[str],
    dataset: str,
    files: Sequence[str | os.PathLike[str]],
    *,
    annotations: str | os.PathLike[str] | None = None,
    replace: bool = False,
) -> ChangeReport:
    """Add images to a dataset: they go to a new blob, old ones aren't touched.

    Parameters
    ----------
    project : path
    dataset : str
        By name; a new one is made.
    files : list of path
    annotations : path, optional
        A folder with ``<image>.json``; images without one get an annotation without objects.
    replace : bool
        Whether images of the same names are replaced; else they are an error.

    Raises
    ------
    UsageError, PackError, BusyError
    """
    began = time.perf_counter()
    sources = {os.path.basename(path): os.path.abspath(path) for path in (os.fspath(file) for file in files)}
    if len(sources) != len(files):
        raise UsageError("two of the files have one name")
    if not sources:
        raise UsageError("no files are given")
    with Change(os.path.abspath(project)) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        path = dataset_path(writer.project, dataset)
        present = set(writer.project[dataset].names) if dataset in writer.project else set()
        clash = sorted(present & set(sources))
        if clash and not replace:
            raise UsageError(f"{clash[0]}: and {len(clash) - 1} more are in {dataset} already; --replace replaces them")
        for name in clash:
            _drop(writer, writer.project[dataset], name, keep_annotation=annotations is None)
        stem = writer.free_stem(_Named(path))  # type: ignore[arg-type]
        names = sorted(sources, key=os.fsencode)
        shard = Shard(stem, path, "/", [sources[n] for n in names], names, [os.path.getsize(sources[n]) for n in names])
        blob = f"{layout.BLOB_DIR}/{stem}.tar"
        written = write_shard(shard, str(change.stage(blob)))
        lost = [problem for problem in written.problems if problem[0] in ("unreadable", "changed")]
        if lost:
            raise PackError(f"{lost[0][1]}: {lost[0][2]}; nothing was added")
        writer.entries(f"{path}/{stem}{layout.OFFSETS_SUFFIX}").update({n: (s, e) for n, s, e in written.entries})
        for name in names:
            _annotate(writer, path, name, sources[name], annotations)
        writer.write_sums({f"{stem}.tar": written.sha256})
        writer.write_pickles()
        change.commit()
    problems = [Problem(*problem) for problem in written.problems]
    return ChangeReport(len(names), [blob], problems=problems, seconds=time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Named:
    path: str

    @property
    def name(self) -> str:
        return layout.dataset_name(self.path)


def dataset_path(project: Project, name: str) -> str:
    """Path of a dataset, which may be a new one: ``train/hard`` is ``train/datasets/hard``."""
    if name in project:
        return project[name].path
    parts = name.strip("/").split("/")
    if not all(parts) or any(part in (".", "..", layout.BLOB_DIR, layout.STATE_DIR) for part in parts):
        raise UsageError(f"{name!r} can't be the name of a dataset")
    return f"/{layout.NESTED}/".join(parts)


def _annotate(
    writer: ProjectWriter, path: str, name: str, source: str, annotations: str | os.PathLike[str] | None
) -> None:
    target = f"{path}/{layout.ANNOTATIONS}/{name}.json"
    given = os.path.join(annotations, f"{name}.json") if annotations is not None else ""
    if given and os.path.exists(given):
        with open(given, "rb") as file:
            data = file.read()
        try:
            json.loads(data)
        except ValueError as error:
            raise PackError(f"{given}: isn't JSON: {error}; nothing was added") from error
    elif os.path.exists(os.path.join(writer.root, target)):
        return
    else:
        try:
            with Image.open(source) as image:
                width, height = image.size
        except Exception as error:
            raise PackError(f"{source}: its size can't be found out ({error}); nothing was added") from error
        data = plain_annotation(height, width, [])
    write_whole(writer.change.stage(target), [data])


def remove(project: str | os.PathLike[str], paths: Sequence[str]) -> ChangeReport:
    """Remove images and their annotations. Their bytes stay in the blobs until `compact`.

    Parameters
    ----------
    project : path
    paths : list of str
        ``train/a.jpg`` or ``train/img/a.jpg``.

    Raises
    ------
    NotFoundError
        One isn't there; nothing was removed.
    UsageError, BusyError
    """
    began = time.perf_counter()
    with Change(os.path.abspath(project)) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        wanted = dict.fromkeys(_image(writer, path) for path in paths)
        for dataset, name in wanted:
            _drop(writer, writer.dataset(dataset), name)
        writer.write_pickles()
        change.commit()
    return ChangeReport(len(wanted), seconds=time.perf_counter() - began)


def _image(writer: ProjectWriter, path: str) -> tuple[str, str]:
    """Dataset and name of an image."""
    head, _, name = path.strip("/").rpartition("/")
    for dataset in (head, head.removesuffix(f"/{layout.ITEMS}")):
        if dataset in writer.project and name in writer.project[dataset]:
            return writer.project[dataset].path, name
    raise NotFoundError(f"{path}: no such image in {writer.root}; write train/a.jpg")


def _drop(writer: ProjectWriter, dataset: Dataset, name: str, *, keep_annotation: bool = False) -> None:
    pickle = writer.pickle_of(dataset, name)
    if pickle is None:
        writer.change.remove(f"{dataset.path}/{layout.ITEMS}/{name}")
    else:
        del writer.entries(pickle)[name]
    if not keep_annotation:
        try:
            writer.change.remove(dataset.annotation_path(name))
        except NotFoundError:
            return


def move(project: str | os.PathLike[str], paths: Sequence[str], dataset: str) -> ChangeReport:
    """Move images with their annotations to another dataset; no image byte is copied.

    Raises
    ------
    NotFoundError, UsageError, BusyError
    """
    began = time.perf_counter()
    with Change(os.path.abspath(project)) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        target = dataset_path(writer.project, dataset)
        there = set(writer.project[dataset].names) if dataset in writer.project else set()
        wanted = dict.fromkeys(_image(writer, path) for path in paths)
        for path, name in wanted:
            if name in there:
                raise UsageError(f"{name}: {dataset} has an image of this name already; nothing was moved")
            there.add(name)
            _move(writer, writer.dataset(path), name, target)
        writer.write_pickles()
        change.commit()
    return ChangeReport(len(wanted), seconds=time.perf_counter() - began)


def _move(writer: ProjectWriter, dataset: Dataset, name: str, target: str) -> None:
    tree, pickle = writer.project.tree, writer.pickle_of(dataset, name)
    if pickle is None:
        path = f"{dataset.path}/{layout.ITEMS}/{name}"
        write_whole(writer.change.stage(f"{target}/{layout.ITEMS}/{name}"), [tree.read(tree.find(path))])
        writer.change.remove(path)
    else:
        writer.entries(f"{target}/{basename(pickle)}")[name] = writer.entries(pickle).pop(name)
    try:
        old = dataset.annotation_path(name)
    except NotFoundError:
        return
    new = f"{target}/{layout.ANNOTATIONS}/{name}.json"
    write_whole(writer.change.stage(new), [tree.read(tree.find(old))])
    writer.change.remove(old)


def compact(project: str | os.PathLike[str]) -> ChangeReport:
    """Write blobs anew whose bytes aren't all referred to, without those; the others aren't touched.

    Who has the old ones open, a reader or a mount, goes on with them.
    """
    began = time.perf_counter()
    report = ChangeReport()
    with Change(os.path.abspath(project)) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        pickles: dict[str, list[str]] = {}
        for record in writer.project.tree.index.header.inputs:
            if layout.is_offsets(basename(record.path)) and record.path.count("/"):
                pickles.setdefault(basename(record.path).removesuffix(layout.OFFSETS_SUFFIX), []).append(record.path)
        added: dict[str, str] = {}
        removed = []
        folder = os.path.join(writer.root, layout.BLOB_DIR)
        for name in sorted(os.listdir(folder)):
            stem = layout.blob_stem(name)
            if stem is None:
                continue
            freed = _compact_blob(writer, name, stem, pickles.get(stem, []), added, report)
            if freed:
                removed.append(name)
                report.freed += freed
        writer.write_sums(added, removed)
        writer.write_pickles()
        change.commit()
    report.seconds = time.perf_counter() - began
    return report


def _compact_blob(
    writer: ProjectWriter, name: str, stem: str, pickles: list[str], added: dict[str, str], report: ChangeReport
) -> int:
    """Bytes that are freed; 0 where there is nothing to free."""
    full = os.path.join(writer.root, layout.BLOB_DIR, name)
    spans = {span for pickle in pickles for span in writer.entries(pickle).values()}
    ordered = sorted(spans)
    sizes = np.array([end - start for start, end in ordered], np.int64)
    needed = int((sizes + 511).sum() // 512 * 512 + 512 * len(ordered)) + 20 * 1024
    size = os.path.getsize(full)
    if size <= needed and ordered:
        return 0
    writer.change.remove(f"{layout.BLOB_DIR}/{name}")
    if not ordered:
        return size
    folder = os.path.dirname(full)
    stems = (f"{stem}-c{i}" for i in range(1, 10**9))
    new = next(free for free in stems if not os.path.exists(os.path.join(folder, f"{free}.tar")))
    named = {span: n for pickle in pickles for n, span in writer.entries(pickle).items()}
    place: dict[tuple[int, int], tuple[int, int]] = {}
    blob = f"{layout.BLOB_DIR}/{new}.tar"
    position = 0
    target = writer.change.stage(blob)
    with open(full, "rb", buffering=0) as source, open(target, "wb") as out:
        for start, end in ordered:
            header = member_header(os.fsencode(named[start, end]), end - start)
            data = os.pread(source.fileno(), end - start, start)
            if len(data) != end - start:
                raise PackError(f"{name}: bytes {start} to {end} can't be read; nothing was changed")
            out.write(header)
            out.write(data)
            out.write(padding(len(data)))
            begin = position + len(header)
            place[start, end] = (begin, begin + len(data))
            position = begin + len(data) + len(padding(len(data)))
        out.write(archive_end(position))
        out.flush()
        os.fsync(out.fileno())
    added[f"{new}.tar"] = digest_of(str(target))
    report.blobs.append(blob)
    report.images += len(ordered)
    for pickle in pickles:
        entries = writer.entries(pickle)
        fresh = writer.entries(f"{os.path.dirname(pickle)}/{new}{layout.OFFSETS_SUFFIX}")
        fresh.update({n: place[span] for n, span in entries.items()})
        entries.clear()
    return size - os.path.getsize(target)


def digest_of(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
