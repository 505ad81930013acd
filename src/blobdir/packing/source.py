"""What is to be packed: a regular project, or a plain folder of images, as shards and as files beside them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Any

from blobdir.datasets import IMAGE_EXTENSIONS
from blobdir.discovery import layout
from blobdir.errors import NotAProjectError, UsageError
from blobdir.packing.report import Problem
from blobdir.packing.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.packing.report import PackOptions

_TAG_COLORS = 0xFFFFFF


@dataclass(slots=True)
class DatasetItems:
    """The images of one dataset: columns, since there can be a million.

    Attributes
    ----------
    path : str
        In the project that is made.
    folder : str
        Where the sources lie.
    sources, names : list of str
        Path of each below `folder`, and its name in the dataset; sorted by name.
    sizes : list of int
        Bytes.
    """

    path: str
    folder: str
    sources: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Listing:
    """A source, listed.

    Attributes
    ----------
    root : str
    datasets : list of DatasetItems
    annotations : list of DatasetItems
        Annotations that can be packed.
    files : list of str
        Other files, to be copied: paths below `root`.
    tags : set of str
        Names of tags that a plain folder's annotations have.
    is_project : bool
    problems : list of Problem
    """

    root: str
    datasets: list[DatasetItems] = field(default_factory=list)
    annotations: list[DatasetItems] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    is_project: bool = False
    problems: list[Problem] = field(default_factory=list)


def list_source(root: str, options: PackOptions) -> Listing:
    """Look at a folder.

    Raises
    ------
    NotAProjectError
        There is no such folder, or no image in it.
    UsageError
        It's a blob project already.
    """
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        raise NotAProjectError(f"{root}: there is no such folder")
    if os.path.isdir(os.path.join(root, layout.BLOB_DIR)) and os.path.exists(os.path.join(root, layout.META)):
        raise UsageError(f"{root}: is a blob project already; unpack it first, or add to it")
    is_project = os.path.exists(os.path.join(root, layout.META))
    listing = Listing(root, is_project=is_project)
    if is_project:
        _list_project(listing, options)
    else:
        _list_plain(listing, options)
    if not any(dataset.names for dataset in listing.datasets):
        kinds = " ".join(sorted(IMAGE_EXTENSIONS))
        raise NotAProjectError(f"{root}: holds no image ({kinds}) in a dataset's img/, or anywhere below it")
    for dataset in listing.datasets:
        _settle_names(dataset, listing, options)
    return listing


def _scan(listing: Listing, folder: str) -> tuple[list[str], list[os.DirEntry[str]]]:
    """Folders and files below a folder of the source, sorted by the bytes of their names; the rest is reported."""
    folders, files = [], []
    full = os.path.join(listing.root, folder)
    try:
        with os.scandir(full) as scan:
            entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        listing.problems.append(Problem("unreadable", folder, f"can't be listed: {error.strerror}"))
        return [], []
    for entry in entries:
        path = layout.join(folder, entry.name)
        try:
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():
                files.append(entry)
            else:
                listing.problems.append(Problem("unreadable", path, "isn't a file: a dangling link, a device, a pipe"))
        except OSError as error:
            listing.problems.append(Problem("unreadable", path, f"can't be looked at: {error.strerror}"))
    return folders, files


def _is_image_name(name: str) -> bool:
    return splitext(name)[1].lower() in IMAGE_EXTENSIONS


def _list_project(listing: Listing, options: PackOptions) -> None:
    todo = [""]
    while todo:
        folder = todo.pop()
        folders, files = _scan(listing, folder)
        todo += [layout.join(folder, name) for name in reversed(folders)]
        kind, dataset = basename(folder), os.path.dirname(folder)
        in_dataset = bool(dataset)
        if in_dataset and kind == layout.ITEMS:
            items = DatasetItems(dataset, os.path.join(listing.root, folder))
            for entry in files:
                if _is_image_name(entry.name):
                    _append(items, entry.name, entry.name, entry)
                else:
                    path = layout.join(folder, entry.name)
                    text = "isn't named like an image; it was copied as a plain file"
                    listing.problems.append(Problem("not-an-image-name", path, text))
                    listing.files.append(path)
            listing.datasets.append(items)
        elif in_dataset and kind == layout.ANNOTATIONS and options.annotations == "packed":
            items = DatasetItems(dataset, os.path.join(listing.root, folder))
            for entry in files:
                _append(items, entry.name, entry.name, entry)
            listing.annotations.append(items)
        else:
            listing.files += [layout.join(folder, entry.name) for entry in files]
    _missing_annotations(listing)


def _missing_annotations(listing: Listing) -> None:
    """The SDK drops a whole dataset where one image has no annotation."""
    known = {path for path in listing.files if f"/{layout.ANNOTATIONS}/" in path}
    for items in listing.annotations:
        known |= {f"{items.path}/{layout.ANNOTATIONS}/{name}" for name in items.names}
    for dataset in listing.datasets:
        for name in dataset.names:
            stem = f"{dataset.path}/{layout.ANNOTATIONS}/"
            if f"{stem}{name}.json" not in known and f"{stem}{splitext(name)[0]}.json" not in known:
                path = f"{dataset.path}/{layout.ITEMS}/{name}"
                listing.problems.append(Problem("no-annotation", path, "has none; the SDK drops its whole dataset"))


def _append(items: DatasetItems, source: str, name: str, entry: os.DirEntry[str]) -> None:
    items.sources.append(source)
    items.names.append(name)
    items.sizes.append(entry.stat().st_size)


def _list_plain(listing: Listing, options: PackOptions) -> None:
    """``red/angry/a.jpg``: dataset ``red``, tag ``angry``; images at the top are in a dataset of the folder's name."""
    found: dict[str, DatasetItems] = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        folders, files = _scan(listing, folder)
        todo += [layout.join(folder, name) for name in reversed(folders)]
        parts = folder.split("/") if folder else []
        dataset = options.dataset or (parts[0] if parts else os.path.basename(listing.root) or "images")
        tags = parts if options.dataset else parts[1:]
        for entry in files:
            path = layout.join(folder, entry.name)
            if not _is_image_name(entry.name):
                text = "isn't named like an image; it wasn't packed"
                listing.problems.append(Problem("name", path, text))
                continue
            items = found.setdefault(dataset, DatasetItems(dataset, listing.root))
            _append(items, path, entry.name, entry)
            listing.tags.update(tags)
    listing.datasets = [found[name] for name in sorted(found)]


def tags_of(source: str, options: PackOptions) -> list[str]:
    """Tags of an image of a plain folder: the folders that it lies in, but the one that is its dataset."""
    parts = source.split("/")[:-1]
    return parts if options.dataset else parts[1:]


def _settle_names(dataset: DatasetItems, listing: Listing, options: PackOptions) -> None:
    """Sort by name, and decide about names that are there twice."""
    order = sorted(range(len(dataset.names)), key=lambda i: (os.fsencode(dataset.names[i]), dataset.sources[i]))
    taken: dict[str, int] = {}
    kept: list[tuple[str, str, int]] = []
    known = set(dataset.names) if options.on_conflict == "rename" else set()
    for i in order:
        name, source, size = dataset.names[i], dataset.sources[i], dataset.sizes[i]
        if name not in taken:
            taken[name] = len(kept)
            kept.append((name, source, size))
            continue
        first = kept[taken[name]][1]
        text = f"has the name of {first}, which is in the same dataset"
        if options.on_conflict == "rename":
            name = _free_name(name, known)
            known.add(name)
            kept.append((name, source, size))
            listing.problems.append(Problem("renamed", source, f"{text}; it is {name} now"))
        elif options.on_conflict == "replace":
            listing.problems.append(Problem("conflict", first, f"has the name of {source}, which replaces it"))
            kept[taken[name]] = (name, source, size)
        else:
            listing.problems.append(Problem("conflict", source, f"{text}; it was left out"))
    kept.sort(key=lambda item: os.fsencode(item[0]))
    dataset.names = [name for name, _, _ in kept]
    dataset.sources = [source for _, source, _ in kept]
    dataset.sizes = [size for _, _, size in kept]


def _free_name(name: str, known: set[str]) -> str:
    stem, extension = splitext(name)
    return next(free for i in range(1, 1 << 62) if (free := f"{stem}_{i}{extension}") not in known)


def plan_shards(items: DatasetItems, options: PackOptions, stems: set[str], *, images: bool = True) -> Iterator[Shard]:
    """Cut a dataset into shards; depends on names and sizes only.

    Parameters
    ----------
    items : DatasetItems
    options : PackOptions
    stems : set of str
        Stems that are taken; those of the shards are added.
    images : bool
    """
    slug = layout.dataset_name(items.path).replace("/", "-")
    if any(stem.rpartition("-")[0] == slug for stem in stems):  # a/b and a-b
        slug = f"{slug}-{hashlib.sha256(items.path.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"
    first, total, number = 0, 0, 0
    count = len(items.names)
    for i in range(count + 1):
        size = items.sizes[i] if i < count else 0
        full = i > first and (
            total + size > options.shard_bytes or (options.shard_images and i - first >= options.shard_images)
        )
        if i < count and not full:
            total += size
            continue
        if i > first:
            stem = f"{slug}-{number:04d}"
            stems.add(stem)
            part = slice(first, i)
            yield Shard(
                stem, items.path, items.folder, items.sources[part], items.names[part], items.sizes[part], images
            )
        first, total, number = i, size, number + 1


def plain_meta(tags: set[str]) -> dict[str, Any]:
    """``meta.json`` of a plain folder: no classes, a tag for each folder name; colours depend on the name only."""
    return {
        "classes": [],
        "tags": [{"name": tag, "value_type": "none", "color": _color(tag)} for tag in sorted(tags)],
        "projectType": "images",
    }


def _color(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return f"#{int.from_bytes(digest[:3], 'big') & _TAG_COLORS:06X}"


def plain_annotation(height: int, width: int, tags: list[str]) -> bytes:
    """An annotation without objects."""
    annotation = {
        "description": "",
        "tags": [{"name": tag, "value": None} for tag in dict.fromkeys(tags)],
        "size": {"height": height, "width": width},
        "objects": [],
    }
    return json.dumps(annotation, ensure_ascii=False).encode("utf-8", "backslashreplace")
