"""Files of a project that belong to no image: which of them go into a subset, and which are named.

What lies beside ``meta.json``, or in a dataset's own folder, goes along. So does what lies beside a chosen image in
``img/`` and is called like it, as captions are. What lies in other folders, or is called like no chosen image, isn't of
the subset, and is said.
"""

from __future__ import annotations

from posixpath import splitext
from typing import TYPE_CHECKING

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import NotFoundError
from blobdir.filenames import is_image_name
from blobdir.index import DIRECTORY, LOOSE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from blobdir.tree import Tree


def beside_images(tree: Tree, dataset: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Plain files in a dataset's ``img/`` that are no images.

    Parameters
    ----------
    tree : Tree
    dataset : str
        Path.
    names : iterable of str
        Images.

    Returns
    -------
    list of str
        Names of those that are called like one of the images: ``a.txt`` and ``a.jpg.txt`` like ``a.jpg``.
    list of str
        Names of the others, but for those that are called like other images.
    """
    chosen, others = set[str](), set[str]()
    shown = layout.join(dataset, layout.ITEMS)
    found = list(_no_images(tree, shown))
    if found:
        chosen = {base for name in names for base in (name, splitext(name)[0])}
        others = {splitext(name)[0] for name in _all_names(tree, shown)} - chosen
    mine = [name for name in found if splitext(name)[0] in chosen]
    left = [name for name in found if splitext(name)[0] not in chosen and not _is_beside(name, others)]
    return mine, left


def _is_beside(name: str, stems: Collection[str]) -> bool:
    stem = splitext(name)[0]
    return stem in stems or splitext(stem)[0] in stems


def _plain(tree: Tree, row: int) -> Iterator[str]:
    children = tree.children(row)
    for child in np.flatnonzero(tree.index.source[children.start : children.stop] == LOOSE).tolist():
        yield tree.index.names_text(children.start + child, children.start + child + 1)[0]


def _folders(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    """Rows of a folder and those below it, and what is in front of the names of their files."""
    try:
        top = tree.find(path)
    except NotFoundError:
        return
    for row in tree.index.walk(top):
        here = tree.path(row)
        yield row, here[len(path) + 1 :] + "/" if here != path else ""


def _no_images(tree: Tree, shown: str) -> Iterator[str]:
    for row, prefix in _folders(tree, shown):
        yield from (prefix + name for name in _plain(tree, row) if not is_image_name(name))


def _all_names(tree: Tree, shown: str) -> Iterator[str]:
    for row, prefix in _folders(tree, shown):
        children = tree.children(row)
        sources = tree.index.source[children.start : children.stop].tolist()
        for name, source in zip(tree.names(row), sources, strict=True):
            if source != DIRECTORY and (source != LOOSE or is_image_name(name)):
                yield prefix + name


def other_folders(tree: Tree, path: str) -> list[str]:
    """Folders of a dataset, or of the project, that are neither of the format nor lead to a dataset; with a slash."""
    datasets = tree.index.header.datasets
    top = tree.find(path)
    children = tree.children(top)
    found = []
    for name, source in zip(tree.names(top), tree.index.source[children.start : children.stop].tolist(), strict=True):
        full = layout.join(path, name)
        of_format = layout.is_item_folder(name) if path else name == layout.BLOB_DIR
        leads = any(dataset == full or dataset.startswith(f"{full}/") for dataset in datasets)
        if source == DIRECTORY and not of_format and not leads:
            found.append(f"{full}/")
    return found
