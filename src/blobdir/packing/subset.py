"""Subsets: another project with some of the images, and the same blobs."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from blobdir.datasets import open_view
from blobdir.discovery import layout
from blobdir.durable import sync_folder
from blobdir.errors import NotFoundError, UsageError
from blobdir.index import FIRST_BLOB
from blobdir.offsets import write_offsets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.tree import Tree

Blobs = Literal["link", "symlink", "copy"]


@dataclass(frozen=True, slots=True)
class SubsetOptions:
    """Which images a subset has; all conditions hold together, and none takes everything.

    Attributes
    ----------
    names : list of str, optional
        ``train/img/a.jpg``, ``train/a.jpg``, or ``a.jpg`` of any dataset. Each must be there.
    patterns : tuple of str
        Shell patterns for ``train/a.jpg``, any of which fits.
    datasets : tuple of str
    classes, tags : tuple of str
        Images with an object of any of these classes; with any of these tags, on the image or an object.
    per_class : int
        At the most so many images of each class, chosen by `seed`; 0 is all.
    seed : int
    blobs : {"link", "symlink", "copy"}
        Hard links (nothing is copied, either project may be removed), symbolic links (other filesystems; needs
        ``follow_links`` to read), or copies.
    """

    names: list[str] | None = None
    patterns: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    per_class: int = 0
    seed: int = 0
    blobs: Blobs = "link"

    def __post_init__(self) -> None:
        if self.blobs not in get_args(Blobs):
            raise UsageError(f"blobs={self.blobs!r}: choose one of {', '.join(get_args(Blobs))}")
        if self.per_class < 0:
            raise UsageError("per_class can't be negative")


@dataclass(slots=True)
class SubsetReport:
    """What a subset has: images by dataset, blobs, and seconds."""

    datasets: dict[str, int]
    blobs: list[str]
    seconds: float


def subset(
    project: str | os.PathLike[str], dest: str | os.PathLike[str], options: SubsetOptions | None = None
) -> SubsetReport:
    """Make a project with some images of another one: offsets and annotations are written, blobs are linked.

    Parameters
    ----------
    project : path
        On this machine.
    dest : path
        Must not exist; appears when it's whole.
    options : SubsetOptions, optional

    Raises
    ------
    UsageError
        `dest` exists, a dataset isn't there, hard links can't be made, or nothing is chosen.
    NotFoundError
        A name isn't there.
    """
    began = time.perf_counter()
    options = options or SubsetOptions()
    opened = open_view(project, index="auto")
    if not opened.tree.storage.is_local:
        raise UsageError(f"{opened.url}: a subset shares the blobs of a project on this machine; fetch it first")
    target = Path(os.path.abspath(dest))
    if target.exists():
        raise UsageError(f"{target}: is there already; choose another, or remove it")
    chosen = choose(opened, options)
    if not any(chosen.values()):
        raise UsageError("no image is chosen: the conditions hold for none")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        blobs = _write(opened, chosen, part, options)
        os.rename(part, target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    counts = {opened[path].name: len(names) for path, names in chosen.items() if names}
    return SubsetReport(counts, blobs, time.perf_counter() - began)


def choose(project: ProjectView[DatasetView], options: SubsetOptions) -> dict[str, list[str]]:
    """Path of each dataset -> names of the images that a subset has, sorted."""
    datasets = [project[name] for name in project]
    for name in options.datasets:
        if name not in project:
            raise UsageError(f"{name}: isn't a dataset; there are {', '.join(project)}")
    wanted = _by_name(project, options.names) if options.names is not None else None
    chosen: dict[str, list[str]] = {}
    classes_of: dict[tuple[str, str], set[str]] = {}
    for dataset in datasets:
        if options.datasets and not {dataset.name, dataset.path} & set(options.datasets):
            continue
        names = dataset.names if wanted is None else sorted(wanted.get(dataset.path, ()))
        if options.patterns:
            names = [n for n in names if any(fnmatchcase(f"{dataset.name}/{n}", p) for p in options.patterns)]
        if options.classes or options.tags or options.per_class:
            names = [n for n, found in dataset.read_annotations(names) if _fits(dataset, n, found, options, classes_of)]
        chosen[dataset.path] = names
    if options.per_class:
        kept = _sample(classes_of, options)
        chosen = {path: [n for n in names if (path, n) in kept] for path, names in chosen.items()}
    return chosen


def _by_name(project: ProjectView[DatasetView], names: Iterable[str]) -> dict[str, set[str]]:
    known = {project[name].path: set(project[name].names) for name in project}
    wanted: dict[str, set[str]] = {}
    for typed in names:
        found = False
        for path, images in known.items():
            short = layout.dataset_name(path)
            for prefix in (f"{path}/{layout.ITEMS}/", f"{short}/{layout.ITEMS}/", f"{path}/", f"{short}/", ""):
                name = typed.removeprefix(prefix)
                if typed.startswith(prefix) and name in images:
                    wanted.setdefault(path, set()).add(name)
                    found = True
                    break
        if not found:
            raise NotFoundError(f"{typed}: no dataset of {project.url} has an image of this name")
    return wanted


def _fits(
    dataset: DatasetView,
    name: str,
    annotation: dict[str, Any] | None,
    options: SubsetOptions,
    classes_of: dict[tuple[str, str], set[str]],
) -> bool:
    if annotation is None:
        return False  # one without an annotation has no class
    try:
        objects = annotation.get("objects", [])
        classes = {item["classTitle"] for item in objects}
        tags = {tag["name"] for holder in (annotation, *objects) for tag in holder.get("tags", [])}
    except (KeyError, TypeError, AttributeError):
        return False
    if options.classes and not classes & set(options.classes):
        return False
    if options.tags and not tags & set(options.tags):
        return False
    classes_of[dataset.path, name] = classes & set(options.classes) if options.classes else classes
    return True


def _sample(classes_of: dict[tuple[str, str], set[str]], options: SubsetOptions) -> set[tuple[str, str]]:
    """Images of each class, the same ones for the same seed. One that is chosen counts for all its classes."""
    source = random.Random(options.seed)
    items = sorted(classes_of)
    kept: set[tuple[str, str]] = set()
    for title in sorted({title for classes in classes_of.values() for title in classes}):
        has = [item for item in items if title in classes_of[item]]
        left = options.per_class - sum(item in kept for item in has)
        free = [item for item in has if item not in kept]
        kept.update(source.sample(free, min(max(left, 0), len(free))))
    return kept


def _write(
    project: ProjectView[DatasetView], chosen: dict[str, list[str]], part: Path, options: SubsetOptions
) -> list[str]:
    tree, index = project.tree, project.tree.index
    blobs: dict[int, str] = {}
    for path, names in chosen.items():
        if not names:
            continue
        dataset = project[path]
        (part / path / layout.ANNOTATIONS).mkdir(parents=True, exist_ok=True)
        rows = tree.find_many([f"{path}/{layout.ITEMS}/{name}" for name in names])
        sources = index.source[rows]
        for number in np.unique(sources).tolist():
            mine = np.flatnonzero(sources == number).tolist()
            if number >= FIRST_BLOB:
                record = index.header.blobs[number - FIRST_BLOB]
                blobs[number] = record.path
                stem = os.path.basename(record.path).rpartition(".")[0]
                start = index.offset[rows]
                end = start + index.size[rows]
                entries = [(names[i], int(start[i]), int(end[i])) for i in mine]
                write_offsets(part / path / f"{stem}{layout.OFFSETS_SUFFIX}", entries)
            else:
                (part / path / layout.ITEMS).mkdir(exist_ok=True)
                for i in mine:
                    (part / path / layout.ITEMS / names[i]).write_bytes(tree.read(int(rows[i])))
        _write_annotations(tree, dataset, names, part)
    for blob in blobs.values():
        (part / blob).parent.mkdir(parents=True, exist_ok=True)
        _share(os.path.join(project.url, blob), part / blob, options.blobs)
    (part / layout.META).write_bytes(json.dumps(project.meta, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return sorted(blobs.values())


def _write_annotations(tree: Tree, dataset: DatasetView, names: list[str], part: Path) -> None:
    for name in names:
        with suppress(NotFoundError):  # an image without one has none in the subset either
            path = dataset.annotation_path(name)
            (part / path).write_bytes(tree.read(tree.find(path)))


def _share(blob: str, target: Path, how: Blobs) -> None:
    source = os.path.realpath(blob)
    if how == "symlink":
        target.symlink_to(source)
    elif how == "copy":
        shutil.copy2(source, target)
    else:
        try:
            os.link(source, target)
        except OSError as error:
            raise UsageError(
                f"{target}: can't be a hard link to {source} ({error.strerror}); choose a place on the same "
                "filesystem, or --blobs symlink or copy"
            ) from error
