"""Sources of packing: a regular project, a plain folder of images, or a list."""

from __future__ import annotations

import os
from posixpath import basename, splitext
from typing import TYPE_CHECKING

import numpy as np

from blobdir.datasets import IMAGE_EXTENSIONS
from blobdir.discovery import layout
from blobdir.errors import NotAProjectError, UsageError
from blobdir.packing.listing import DatasetItems, Listing
from blobdir.packing.lists import STDIN, RowError, is_list, read_list
from blobdir.packing.report import Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.packing.lists import Row
    from blobdir.packing.report import PackOptions

MAX_NAME_BYTES = 255 - len(".json")
"""Bytes of an image's name: its annotation's has five more, and file systems take 255."""


def list_source(root: str, options: PackOptions) -> Listing:
    """Look at a source.

    Raises
    ------
    NotAProjectError
        There is no such folder or file, or no image in it.
    UsageError
        It's a blob project already.
    """
    if is_list(root):
        listing = _list_rows(root, options)
        what = "names no image that is there"
    else:
        listing = _list_folder(root, options)
        kinds = " ".join(sorted(IMAGE_EXTENSIONS))
        what = f"holds no image ({kinds}) in a dataset's img/, or anywhere below it"
    if not any(len(dataset.names) for dataset in listing.datasets):
        first = f"; the first problem: {p.path}: {p.message}" if (p := next(iter(listing.problems), None)) else ""
        raise NotAProjectError(f"{root if is_list(root) else listing.root}: {what}{first}")
    for dataset in listing.datasets:
        dataset.settle(listing.problems, options)
    return listing


def _list_folder(root: str, options: PackOptions) -> Listing:
    root = os.path.realpath(root)
    if not os.path.isdir(root):
        raise NotAProjectError(f"{root}: there is no such folder")
    is_project = os.path.exists(os.path.join(root, layout.META))
    if is_project and os.path.isdir(os.path.join(root, layout.BLOB_DIR)):
        raise UsageError(f"{root}: is a blob project already; unpack it first, or add to it")
    listing = Listing(root, is_project=is_project)
    if is_project:
        _list_project(listing, options)
    else:
        _list_plain(listing, options)
    return listing


def _is_image_name(name: str) -> bool:
    return splitext(name)[1].lower() in IMAGE_EXTENSIONS


def _list_project(listing: Listing, options: PackOptions) -> None:
    todo = [""]
    annotations: dict[str, NDArray[np.int64]] = {}
    while todo:
        folder = todo.pop()
        folders, names, sizes = listing.scan(folder)
        todo += [layout.join(folder, name) for name in reversed(folders)]
        kind, dataset = basename(folder), os.path.dirname(folder)
        in_dataset = bool(dataset)
        if in_dataset and kind == layout.ITEMS:
            items = DatasetItems(dataset, os.path.join(listing.root, folder))
            for name, size in zip(names, sizes, strict=True):
                if _is_image_name(name):
                    items.add(name, name, size)
                else:
                    path = layout.join(folder, name)
                    text = "isn't named like an image; it was copied as a plain file"
                    listing.problems.append(Problem("not-an-image-name", path, text))
                    listing.files.append(path)
            listing.datasets.append(items)
            continue
        if in_dataset and kind == layout.ANNOTATIONS:
            annotations[dataset] = np.array([hash(name) for name in names], np.int64)
            if options.annotations == "packed":
                items = DatasetItems(dataset, os.path.join(listing.root, folder))
                for name, size in zip(names, sizes, strict=True):
                    items.add(name, name, size)
                listing.annotations.append(items)
                continue
        for name in names:
            listing.files.append(layout.join(folder, name))
    for items in listing.datasets:
        _missing_annotations(items, annotations.get(items.path, np.zeros(0, np.int64)), listing)


def _missing_annotations(items: DatasetItems, known: NDArray[np.int64], listing: Listing) -> None:
    """The SDK drops a whole dataset where one image has no annotation.

    Names are compared by their hashes, which takes a tenth of the memory; two of one hash are one in 10**13.
    """
    by_name = np.array([hash(f"{name}.json") for name in items.names], np.int64)
    without = np.flatnonzero(~np.isin(by_name, known))
    if not len(without):
        return
    by_stem = np.array([hash(f"{splitext(items.names[i])[0]}.json") for i in without.tolist()], np.int64)
    for i in without[~np.isin(by_stem, known)].tolist():
        path = f"{items.path}/{layout.ITEMS}/{items.names[i]}"
        listing.problems.append(Problem("no-annotation", path, "has none; the SDK drops its whole dataset"))


def _list_plain(listing: Listing, options: PackOptions) -> None:
    """``red/angry/a.jpg``: dataset ``red``, tag ``angry``; images at the top are in a dataset of the folder's name."""
    found: dict[str, DatasetItems] = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        folders, names, sizes = listing.scan(folder)
        todo += [layout.join(folder, name) for name in reversed(folders)]
        parts = folder.split("/") if folder else []
        dataset = options.dataset or (parts[0] if parts else os.path.basename(listing.root) or "images")
        tags = parts if options.dataset else parts[1:]
        for name, size in zip(names, sizes, strict=True):
            path = layout.join(folder, name)
            wrong = "isn't named like an image; it wasn't packed" if not _is_image_name(name) else _too_long(name)
            if wrong:
                listing.problems.append(Problem("name", path, wrong))
                continue
            items = found.setdefault(dataset, DatasetItems(dataset, listing.root))
            items.add(path, name, size)
            listing.tags.update(tags)
    listing.datasets = [found[name] for name in sorted(found)]


def _too_long(name: str) -> str:
    if len(os.fsencode(name)) <= MAX_NAME_BYTES:
        return ""
    return f"has a name of {len(os.fsencode(name))} bytes; its annotation's has 5 more, and 255 are the most"


def tags_of(source: str, options: PackOptions) -> list[str]:
    """Tags of an image of a plain folder: the folders that it lies in, but the one that is its dataset."""
    parts = source.split("/")[:-1]
    return parts if options.dataset else parts[1:]


def _list_rows(path: str, options: PackOptions) -> Listing:
    """Paths are relative to the list's folder; what has no dataset is in one that is called like the list."""
    listing = Listing(os.getcwd() if path == STDIN else os.path.dirname(os.path.realpath(path)))
    default = options.dataset or ("images" if path == STDIN else splitext(os.path.basename(path))[0])
    found: dict[str, DatasetItems] = {}
    for number, row in read_list(path):
        if isinstance(row, RowError):
            listing.problems.append(Problem("line", f"line {number}", f"{row}; it was left out"))
            continue
        name = row.name or os.path.basename(row.path)
        size, wrong = _look_at(listing, row, name)
        dataset = row.dataset or default
        place = f"/{layout.NESTED}/".join(dataset.strip("/").split("/"))
        if not wrong and not _can_be_dataset(dataset):
            wrong = "name", f"{dataset!r} can't be the name of a dataset"
        if wrong:
            listing.problems.append(Problem(wrong[0], row.path, f"{wrong[1]} (line {number})"))
            continue
        items = found.setdefault(place, DatasetItems(place, listing.root))
        items.add(row.path, name, size)
        items.tags.append(row.tags)
        items.annotations.append(row.annotation)
        listing.tags.update(row.tags)
    listing.datasets = [found[name] for name in sorted(found)]
    return listing


def _look_at(listing: Listing, row: Row, name: str) -> tuple[int, tuple[str, str] | None]:
    """Bytes of an image, and what is wrong with it: a code and a sentence."""
    if not _is_image_name(name):
        return 0, ("name", f"{name!r} isn't named like an image")
    if name in (".", "..") or "/" in name or "\0" in name:
        return 0, ("name", f"{name!r} can't be the name of a file")
    if long := _too_long(name):
        return 0, ("name", long)
    try:
        stat = os.stat(os.path.join(listing.root, row.path))
    except (OSError, ValueError) as error:
        return 0, ("unreadable", f"can't be looked at: {getattr(error, 'strerror', None) or error}")
    if not os.path.isfile(os.path.join(listing.root, row.path)):
        return 0, ("unreadable", "isn't a file: a folder, a device, a pipe")
    return stat.st_size, None


def _can_be_dataset(name: str) -> bool:
    parts = name.strip("/").split("/")
    forbidden = ("", ".", "..", layout.BLOB_DIR, layout.STATE_DIR)
    return not any(part in forbidden or "\0" in part or _too_long(part) for part in parts)
