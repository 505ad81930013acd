"""New projects, ready-made tars, and one project taken into another."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from posixpath import basename
from typing import TYPE_CHECKING, Any

from blobdir.datasets import open_view
from blobdir.discovery import layout
from blobdir.durable import write_whole
from blobdir.errors import UsageError
from blobdir.offsets import offsets_of_tar, read_offsets, write_offsets
from blobdir.packing.growing import ChangeReport, ProjectWriter, dataset_path, digest_of
from blobdir.packing.journal import Change
from blobdir.packing.sums import SUMS, read_sums

if TYPE_CHECKING:
    from blobdir.datasets import DatasetView, ProjectView

_EMPTY_META: dict[str, Any] = {"classes": [], "tags": [], "projectType": "images"}


def create_project(path: str | os.PathLike[str], meta: dict[str, Any] | None = None) -> None:
    """Make an empty blob project.

    Parameters
    ----------
    path : path
        Must not exist.
    meta : dict, optional
        Content of ``meta.json``; without classes and tags by default.

    Raises
    ------
    UsageError
        It's there already.
    """
    root = Path(path)
    if root.exists():
        raise UsageError(f"{root}: is there already; choose another, or remove it")
    (root / layout.BLOB_DIR).mkdir(parents=True)
    text = json.dumps(_EMPTY_META if meta is None else meta, ensure_ascii=False)
    write_whole(root / layout.META, [text.encode("utf-8", "surrogatepass")])


def add_blob_file(
    project: str | os.PathLike[str], tar: str | os.PathLike[str], dataset: str, *, copy: bool = False
) -> ChangeReport:
    """Take a tar of images that somebody else has made into a project, as a blob of a dataset.

    Images get no annotations by this: see `blobdir verify`.

    Parameters
    ----------
    project : path
    tar : path
        Uncompressed. Becomes a hard link, where that can be.
    dataset : str
    copy : bool
        Copy it, so that it can be changed later.

    Raises
    ------
    TarError, OffsetsConflictError
        It isn't one, or two of its members have one name.
    UsageError
        The project has a blob of this name, or the dataset images of these names.
    """
    began = time.perf_counter()
    stem = Path(tar).stem
    table = offsets_of_tar(tar)
    with Change(os.path.abspath(project)) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        blob = f"{layout.BLOB_DIR}/{stem}.tar"
        if os.path.exists(os.path.join(writer.root, blob)):
            raise UsageError(f"{blob}: is there already; give the tar another name")
        path = dataset_path(writer.project, dataset)
        present = set(writer.project[dataset].names) if dataset in writer.project else set()
        clash = sorted(present & {os.fsdecode(name) for name in table.names()})
        if clash:
            raise UsageError(f"{clash[0]}: and {len(clash) - 1} more are in {dataset} already")
        _link(os.fspath(tar), change.stage(blob), copy=copy)
        write_offsets(change.stage(f"{path}/{stem}{layout.OFFSETS_SUFFIX}"), table)
        (Path(writer.root) / path / layout.ANNOTATIONS).mkdir(parents=True, exist_ok=True)  # the SDK wants the folder
        writer.write_sums({f"{stem}.tar": digest_of(os.fspath(tar))})
        change.commit()
    return ChangeReport(len(table), [blob], seconds=time.perf_counter() - began)


def merge(project: str | os.PathLike[str], other: str | os.PathLike[str], *, copy: bool = False) -> ChangeReport:
    """Take all datasets of another project into a project; its blobs become hard links, where they can be.

    Classes and tags of both are in ``meta.json`` afterwards.

    Raises
    ------
    UsageError
        A dataset of both has an image of one name, or a class or tag is two different ones. Nothing was changed.
    """
    began = time.perf_counter()
    report = ChangeReport()
    with Change(os.path.abspath(project)) as change:
        writer, theirs = ProjectWriter(change, os.path.abspath(project)), open_view(other)
        meta = merged_meta(writer.project.meta, theirs.meta)
        for name in theirs:
            both = set(theirs[name].names) & (set(writer.project[name].names) if name in writer.project else set())
            if both:
                raise UsageError(f"{name}: both projects have {min(both)} in it, and {len(both) - 1} more")
        stems = _take_blobs(writer, theirs, report, copy=copy)
        for name in theirs:
            _take_dataset(writer, theirs, name, stems, report)
        write_whole(change.stage(layout.META), [json.dumps(meta, ensure_ascii=False).encode("utf-8", "surrogatepass")])
        change.commit()
    report.seconds = time.perf_counter() - began
    return report


def merged_meta(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Both ``meta.json`` in one; UsageError where one class or tag is two different ones."""
    found = dict(ours)
    for key, name, same in (("classes", "title", "shape"), ("tags", "name", "value_type")):
        known = {item[name]: item for item in ours.get(key, [])}
        found[key] = list(ours.get(key, []))
        for item in theirs.get(key, []):
            mine = known.get(item[name])
            if mine is None:
                found[key].append(item)
            elif mine.get(same) != item.get(same):
                raise UsageError(
                    f"{item[name]!r} is {mine.get(same)} in one project and {item.get(same)} in the other: rename one"
                )
    return found


def _take_blobs(
    writer: ProjectWriter, theirs: ProjectView[DatasetView], report: ChangeReport, *, copy: bool
) -> dict[str, str]:
    """Stem of each of their blobs -> its stem here."""
    folder = os.path.join(writer.root, layout.BLOB_DIR)
    taken = {name.rpartition(".")[0] for name in os.listdir(folder)} if os.path.isdir(folder) else set()
    sums, added, stems = read_sums(os.path.join(theirs.url, layout.BLOB_DIR, SUMS)), {}, {}
    for record in theirs.tree.index.header.blobs:
        stem = basename(record.path).rpartition(".")[0]
        if not record.path.startswith(f"{layout.BLOB_DIR}/"):
            continue  # packed annotations: they are taken as files
        free = next(s for i in range(10**9) if (s := f"{stem}-{i}" if i else stem) not in taken)
        taken.add(free)
        stems[stem] = free
        source, blob = os.path.join(theirs.url, record.path), f"{layout.BLOB_DIR}/{free}.tar"
        _link(source, writer.change.stage(blob), copy=copy)
        added[f"{free}.tar"] = sums.get(basename(record.path)) or digest_of(source)
        report.blobs.append(blob)
    writer.write_sums(added)
    return stems


def _take_dataset(
    writer: ProjectWriter, theirs: ProjectView[DatasetView], name: str, stems: dict[str, str], report: ChangeReport
) -> None:
    dataset, tree = theirs[name], theirs.tree
    path = dataset_path(writer.project, name) if name in writer.project else dataset.path
    for file in sorted(os.listdir(os.path.join(theirs.url, dataset.path))):
        stem = file.removesuffix(layout.OFFSETS_SUFFIX)
        if layout.is_offsets(file) and stem in stems:
            table = read_offsets(os.path.join(theirs.url, dataset.path, file))
            write_offsets(writer.change.stage(f"{path}/{stems[stem]}{layout.OFFSETS_SUFFIX}"), table.unique())
    for folder in (layout.ITEMS, layout.ANNOTATIONS):
        try:
            parent = tree.find(f"{dataset.path}/{folder}")
        except OSError:
            continue
        for row, file in zip(tree.children(parent), tree.names(parent), strict=True):
            is_image = folder == layout.ITEMS
            report.images += is_image
            if not tree.is_directory(row) and not (is_image and tree.is_member(row)):
                write_whole(writer.change.stage(f"{path}/{folder}/{file}"), [tree.read(row)])


def _link(source: str, target: Path, *, copy: bool) -> None:
    if not copy:
        try:
            os.link(os.path.realpath(source), target)
            return
        except OSError:
            pass  # another filesystem
    shutil.copyfile(source, target)
