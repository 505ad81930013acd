"""Files of a project that belong to no image: which of them go into a subset, and which are named.

What lies beside ``meta.json``, or in a dataset's own folder, goes along. So does what lies beside a chosen image in
``img/`` and is called like it, as captions are. What lies elsewhere, or is called like no image, isn't of the subset,
and is said. Links within the project count as what they lead to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import NotFoundError
from blobdir.filenames import is_image_name, parents_of
from blobdir.index import DIRECTORY, FIRST_BLOB, LINK, LOOSE
from blobdir.packing.sidefiles import bases

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from numpy.typing import NDArray

    from blobdir.datasets import DatasetView
    from blobdir.packing.sidefiles import SideFiles
    from blobdir.tree import Tree

_RARE: Final = 10
"""Of so many times as many images, names are looked up one by one."""


@dataclass(slots=True)
class Others:
    """Paths of files that belong to no image.

    Attributes
    ----------
    taken : list of str
        Files that go along.
    left : list of str
        Files that don't, and folders, with a slash behind them.
    """

    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def others_of_project(tree: Tree, leading: Collection[str]) -> Others:
    """What lies beside ``meta.json``, and in folders that only lead to datasets; see `leading_to_datasets`."""
    found = Others()
    for group in sorted({"", *leading}.difference(tree.index.header.datasets)):
        files, folders = _content(tree, group)
        (found.left if group else found.taken).extend(layout.join(group, name) for name in files)
        found.left += _unknown(group, [name for name in folders if group or name != layout.BLOB_DIR], leading)
    return found


def others_of_dataset(
    tree: Tree, side: SideFiles, names: Collection[str], belonging: Collection[str], leading: Collection[str]
) -> Others:
    """What lies in a dataset's own folder, in its ``img/``, and beside the files of its images.

    Parameters
    ----------
    tree : Tree
    side : SideFiles
        Of the dataset.
    names : collection of str
        Images that are chosen.
    belonging : collection of str
        Files that belong to those, relative to the dataset.
    leading : collection of str
        As `leading_to_datasets` gives them.
    """
    found, dataset = Others(), side.dataset
    files, folders = _content(tree, dataset.path)
    found.taken += [layout.join(dataset.path, name) for name in files]
    found.left += _unknown(dataset.path, [name for name in folders if not layout.is_item_folder(name)], leading)
    _beside_images(tree, dataset, names, found)
    candidates = []
    for folder in filter(layout.is_item_folder, folders):
        if folder not in (layout.ITEMS, layout.PACKED_ANNOTATIONS):
            is_packed = folder == layout.ANNOTATIONS  # or may be: what lies in `ann.blob` is left out like other files
            shown, links = _below(tree, layout.join(dataset.path, folder), members=is_packed)
            candidates += [f"{folder}/{name}" for name in shown if f"{folder}/{name}" not in belonging]
            begin = len(dataset.path) + 1  # of a link to a folder of masks, all is taken
            found.left += [one for one in links if not any(path.startswith(one[begin:]) for path in belonging)]
    known, chosen = _Known(dataset, len(candidates)), _bases_of(names)
    for path in candidates:
        called = bases(path)
        is_images = any(map(known.has, called))
        if is_images and not chosen.isdisjoint(called):  # it may lie in the shadow of one by the full name
            is_images = bool(side.owners(path))
        if not is_images:
            found.left.append(layout.join(dataset.path, path))
    return found


def _beside_images(tree: Tree, dataset: DatasetView, names: Collection[str], found: Others) -> None:
    """Plain files in ``img/``: ``a.txt`` and ``a.jpg.txt`` go along with ``a.jpg``, or are left out with it."""
    shown = layout.join(dataset.path, layout.ITEMS)
    files, links = _below(tree, shown)
    found.left += links
    plain = [name for name in files if not is_image_name(name)]
    if not plain:
        return
    known, chosen = _Known(dataset, len(plain)), _bases_of(names)
    for name in plain:
        stem = splitext(name)[0]
        if stem in chosen:
            found.taken.append(f"{shown}/{name}")
        elif not known.has(stem):
            found.left.append(f"{shown}/{name}")


def _bases_of(names: Iterable[str]) -> set[str]:
    found = set(names)
    for name in found.copy():
        head, _, tail = name.rpartition(".")
        # What ends in a dot or a slash is for `splitext` to say, which takes five times as long.
        found.add(head if head and "/" not in tail and head[-1] not in "./" else splitext(name)[0])
    return found


class _Known:
    """Whether a dataset has an image that is called so, as a whole or without its extension."""

    def __init__(self, dataset: DatasetView, count: int) -> None:
        self._dataset = dataset
        self._all: set[str] | None = None
        if count * _RARE > len(dataset):
            self._all = _bases_of(dataset.names)

    def has(self, base: str) -> bool:
        return base in self._all if self._all is not None else bool(self._dataset.named(base))


def leading_to_datasets(tree: Tree) -> frozenset[str]:
    """Paths of the datasets, and of the folders above them."""
    datasets = tree.index.header.datasets
    return frozenset((*datasets, *(folder for dataset in datasets for folder in parents_of(dataset))))


def _unknown(path: str, folders: Iterable[str], leading: Collection[str]) -> list[str]:
    """Of folders in a folder those that neither are datasets nor lead to one; with a slash behind them."""
    return [f"{layout.join(path, name)}/" for name in folders if layout.join(path, name) not in leading]


def _content(tree: Tree, path: str, *, members: bool = False) -> tuple[list[str], list[str]]:
    """Names of the plain files in a folder, with `members` those of blobs as well, and those of its folders."""
    files: list[str] = []
    folders: list[str] = []
    try:
        row = tree.find(path)
    except NotFoundError:
        return files, folders
    children = tree.children(row)
    sources = tree.index.source[children.start : children.stop]
    meant = (sources == LOOSE) | (sources == LINK) | (sources == DIRECTORY)
    if members:
        meant |= sources >= FIRST_BLOB
    places = np.flatnonzero(meant)
    for first, end in _pieces(places):
        names = tree.index.names_text(children.start + first, children.start + end)
        for number, (name, source) in enumerate(zip(names, sources[first:end].tolist(), strict=True)):
            is_folder = source == DIRECTORY or (
                source == LINK and _leads_to_folder(tree, children.start + first + number)
            )
            (folders if is_folder else files).append(name)
    return files, folders


def _pieces(places: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Half-open pieces of numbers that come one after the other."""
    if len(places):
        cuts = np.flatnonzero(np.diff(places) > 1) + 1
        for piece in np.split(places, cuts):
            yield int(piece[0]), int(piece[-1]) + 1


def _leads_to_folder(tree: Tree, row: int) -> bool:
    try:
        return tree.is_directory(tree.follow(row))
    except OSError:  # it leads nowhere: reading it says so
        return False


def _below(tree: Tree, path: str, *, members: bool = False) -> tuple[list[str], list[str]]:
    """Names of the files below a folder; and paths of folders there that are links, with a slash behind them."""
    found: list[str] = []
    links: list[str] = []
    todo = [""]
    while todo:
        prefix = todo.pop()
        files, folders = _content(tree, f"{path}/{prefix}".rstrip("/"), members=members)
        found += [prefix + name for name in files]
        for name in folders:
            full = f"{path}/{prefix}{name}"
            is_link = int(tree.index.source[tree.find(full, follow=False)]) == LINK
            if is_link:
                links.append(f"{full}/")
            else:
                todo.append(f"{prefix}{name}/")
    return found, links
