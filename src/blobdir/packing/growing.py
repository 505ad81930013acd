"""Growing and shrinking a blob project: new images in new blobs, others removed and moved by their offsets."""

from __future__ import annotations

import hashlib
import os
import time
from array import array
from dataclasses import dataclass, field
from posixpath import basename
from typing import TYPE_CHECKING

from PIL import Image

from blobdir.datasets import open_view
from blobdir.discovery import layout
from blobdir.durable import write_whole
from blobdir.errors import NotFoundError, PackError, UsageError
from blobdir.index import FIRST_BLOB
from blobdir.offsets import read_offsets, write_offsets
from blobdir.packing.columns import TextColumn
from blobdir.packing.journal import Change
from blobdir.packing.plain import check_annotation, plain_annotation
from blobdir.packing.report import Problem
from blobdir.packing.shards import Shard, write_shard
from blobdir.packing.source import MAX_NAME_BYTES
from blobdir.packing.sums import SUMS, format_sums, read_sums

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BytesIO

    from blobdir.datasets import DatasetView, ProjectView

Span = tuple[int, int]
"""First byte, and the byte after the last."""
Entries = dict[str, Span]
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
        self.project = open_view(root)
        if not self.project.tree.storage.is_local:
            raise UsageError(f"{root}: only projects on this machine can be changed")
        self.root = self.project.url
        self._pickles: dict[str, Entries] = {}
        self._before: dict[str, Entries] = {}

    def dataset(self, name: str) -> DatasetView:
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

    def pickle_of(self, path: str) -> str | None:
        """The pickle that the entry of an image, or of a packed annotation, is in; None for a plain file."""
        tree = self.project.tree
        source = int(tree.index.source[tree.find(path, follow=False)])
        if source < FIRST_BLOB:
            return None
        blob = tree.index.header.blobs[source - FIRST_BLOB].path
        folder, stem = os.path.dirname(blob), basename(blob).rpartition(".")[0]
        if basename(folder) != layout.PACKED_ANNOTATIONS:
            folder = path.partition(f"/{layout.ITEMS}/")[0]
        return f"{folder}/{stem}{layout.OFFSETS_SUFFIX}"

    def drop(self, path: str) -> None:
        """Have a file of the project be gone: the file, or its entry."""
        pickle = self.pickle_of(path)
        if pickle is None:
            self.change.remove(path)
        else:
            is_image = not pickle.rpartition("/")[0].endswith(f"/{layout.PACKED_ANNOTATIONS}")
            kind = layout.ITEMS if is_image else layout.ANNOTATIONS
            del self.entries(pickle)[path.partition(f"/{kind}/")[2]]

    def write_pickles(self) -> None:
        """Stage what has changed; a pickle without entries goes."""
        for pickle, entries in self._pickles.items():
            if entries == self._before[pickle]:
                continue
            if entries:
                write_offsets(self.change.stage(pickle), [(name, *span) for name, span in entries.items()])
            else:
                self.change.remove(pickle)

    def free_stem(self, slug: str) -> str:
        """A name for another blob: ``slug-0000``, or the next that is free."""
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
    NotFoundError, UsageError, PackError, AnnotationError, BusyError
        Nothing was added.
    """
    began = time.perf_counter()
    sources = {os.path.basename(path): os.path.abspath(path) for path in (os.fspath(file) for file in files)}
    if len(sources) != len(files):
        raise UsageError("two of the files have one name")
    if not sources:
        raise UsageError("no files are given")
    for name, source in sources.items():
        if len(os.fsencode(name)) > MAX_NAME_BYTES:
            raise UsageError(f"{source}: the name has more than {MAX_NAME_BYTES} bytes; its annotation's has 5 more")
        if not os.path.isfile(source):
            raise NotFoundError(f"{source}: there is no such file")
    with Change(os.path.abspath(project)) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        path = dataset_path(writer.project, dataset)
        present = set(writer.project[dataset].names) if dataset in writer.project else set()
        clash = sorted(present & set(sources))
        if clash and not replace:
            raise UsageError(f"{clash[0]}: and {len(clash) - 1} more are in {dataset} already; --replace replaces them")
        for name in clash:
            _drop(writer, writer.project[dataset], name, keep_annotation=annotations is None)
        stem = writer.free_stem(layout.dataset_name(path).replace("/", "-"))
        names = sorted(sources, key=os.fsencode)
        paths, sizes = TextColumn(sources[n] for n in names), array("q", [os.path.getsize(sources[n]) for n in names])
        shard = Shard(stem, path, "/", paths, TextColumn(names), sizes)
        blob = f"{layout.BLOB_DIR}/{stem}.tar"
        written, table = write_shard(shard, str(change.stage(blob)))
        lost = [problem for problem in written.problems if problem[0] in ("unreadable", "changed")]
        if lost:
            raise PackError(f"{lost[0][1]}: {lost[0][2]}; nothing was added")
        writer.entries(f"{path}/{stem}{layout.OFFSETS_SUFFIX}").update(
            {e.name: (e.offset_start, e.offset_end) for e in table}
        )
        for name in names:
            _annotate(writer, path, name, sources[name], annotations)
        writer.write_sums({f"{stem}.tar": written.sha256})
        writer.write_pickles()
        change.commit()
    problems = [Problem(*problem) for problem in written.problems]
    return ChangeReport(len(names), [blob], problems=problems, seconds=time.perf_counter() - began)


def dataset_path(project: ProjectView[DatasetView], name: str) -> str:
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
        check_annotation(data, given)
    elif os.path.exists(os.path.join(writer.root, target)):
        return
    else:
        data = annotation_of_image(source, source)
    writer.change.stage(target).write_bytes(data)


def annotation_of_image(file: str | BytesIO, name: str) -> bytes:
    """An annotation without objects.

    Raises
    ------
    PackError
        The image's size can't be found out.
    """
    try:
        with Image.open(file) as image:
            width, height = image.size
    except Exception as error:
        raise PackError(f"{name}: its size can't be found out ({error}); nothing was added") from error
    return plain_annotation(height, width, [])


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


def _drop(writer: ProjectWriter, dataset: DatasetView, name: str, *, keep_annotation: bool = False) -> None:
    writer.drop(f"{dataset.path}/{layout.ITEMS}/{name}")
    if not keep_annotation:
        try:
            writer.drop(dataset.annotation_path(name))
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


def _move(writer: ProjectWriter, dataset: DatasetView, name: str, target: str) -> None:
    path = f"{dataset.path}/{layout.ITEMS}/{name}"
    tree, pickle = writer.project.tree, writer.pickle_of(path)
    if pickle is None:
        write_whole(writer.change.stage(f"{target}/{layout.ITEMS}/{name}"), [tree.read(tree.find(path))])
        writer.change.remove(path)
    else:
        writer.entries(f"{target}/{basename(pickle)}")[name] = writer.entries(pickle).pop(name)
    try:
        old = dataset.annotation_path(name)
    except NotFoundError:
        return
    new = f"{target}/{layout.ANNOTATIONS}/{name}.json"
    writer.change.stage(new).write_bytes(tree.read(tree.find(old)))
    writer.drop(old)


def digest_of(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
