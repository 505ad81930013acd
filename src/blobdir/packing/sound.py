"""Projects that another one is made of: nothing is made of damaged ones, or of what isn't all seen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from blobdir.discovery import inputs, layout
from blobdir.errors import BlobdirError, PackError
from blobdir.index import FIRST_BLOB, LINK
from blobdir.sources.keys import BOTH, NO_PATH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.index import Defect, Header
    from blobdir.tree import Tree

_NO_META = "meta-missing"
CONFLICT = "conflict"
"""A defect that costs one image only, unless it is of folders; who has chosen that one is told."""


def check_sound(project: ProjectView[DatasetView], datasets: Collection[str], *, whole: bool) -> None:
    """Refuse a project with a defect in some datasets.

    Parameters
    ----------
    project : ProjectView
    datasets : collection of str
        Their paths.
    whole : bool
        Whether these are all that there are: then a folder that can't be listed, or a link that leads out of the
        project, may be another one.

    Raises
    ------
    PackError
        The message says which, and what to do.
    """
    refuse(project.url, faults_of(project, datasets, whole=whole))


def faults_of(project: ProjectView[DatasetView], datasets: Collection[str], *, whole: bool) -> list[str]:
    """What `check_sound` refuses, a sentence each."""
    found = list(dict.fromkeys(defect.message for defect in _defects(project, datasets, whole=whole)))
    return found + list(_links_out(project)) if whole else found


def conflicts_of(project: ProjectView[DatasetView], datasets: Collection[str]) -> list[str]:
    """What `check_sound` lets pass, a sentence each: two images of one name, of which neither is seen."""
    found = (
        defect.message
        for defect in project.defects
        if defect.code == CONFLICT and _owner(defect.path, project.tree) in datasets
    )
    return list(dict.fromkeys(found))


def refuse(url: str, faults: Sequence[str], instead: str = "") -> None:
    """Raise an error that names the first fault, if there is any.

    Parameters
    ----------
    url : str
        The project.
    faults : sequence of str
    instead : str
        What can be done all the same.

    Raises
    ------
    PackError
    """
    if faults:
        more = f" (and {len(faults) - 1:,} more; `blobdir info` lists them)" if len(faults) > 1 else ""
        raise PackError(f"{url}: {faults[0]}{more}. Nothing was written{instead}")


def _defects(project: ProjectView[DatasetView], datasets: Collection[str], *, whole: bool) -> Iterator[Defect]:
    index = project.tree.index
    used = {number for path in datasets for number in _blobs_of(project.tree, path)}
    used |= named_by(index.header, datasets).keys()
    broken = {index.header.blobs[number].defect for number in used}
    for number, defect in enumerate(project.defects):
        if defect.code == _NO_META or defect.path == layout.META:  # what readers can do without, another project can't
            yield defect
        if defect.severity != "error" or (defect.code == CONFLICT and not _is_folder(project.tree, defect.path)):
            continue
        owner = _owner(defect.path, project.tree)
        in_blobs = defect.path.startswith(f"{layout.BLOB_DIR}/") and defect.code not in (NO_PATH, BOTH)
        of_none = not owner and not in_blobs
        unfinished = defect.path.startswith(f"{layout.STATE_DIR}/")
        if number in broken or owner in datasets or unfinished or (whole and of_none):
            yield defect


def _is_folder(tree: Tree, path: str) -> bool:
    """Whether readers see a folder there: of two things of its name, so that names in the other aren't seen."""
    try:
        return tree.is_directory(tree.find(path, follow=False))
    except OSError:
        return True


def _owner(path: str, tree: Tree) -> str:
    """The dataset that a path is in; empty for none."""
    known = set(tree.index.header.datasets)
    while path and path not in known:
        path = path.rpartition("/")[0]
    return path


def _blobs_of(tree: Tree, dataset: str) -> list[int]:
    """Numbers of the blobs that a dataset shows images or annotations of."""
    found: set[int] = set()
    for folder in (layout.ITEMS, layout.ANNOTATIONS):
        try:
            top = tree.find(f"{dataset}/{folder}")
        except OSError:
            continue
        for row in tree.index.walk(top):
            rows = tree.index.children(row)
            found.update(np.unique(tree.index.source[rows.start : rows.stop]).tolist())
    return [number - FIRST_BLOB for number in sorted(found) if number >= FIRST_BLOB]


def named_by(header: Header, datasets: Collection[str]) -> dict[int, list[str]]:
    """Number of each blob that offsets of some datasets name -> those offsets.

    A dataset may show nothing of such a blob: where all names in it are those of other images too.
    """
    folders = {*datasets, *(layout.join(path, layout.PACKED_ANNOTATIONS) for path in datasets)}
    named: dict[str, list[str]] = {}
    pickles = [it.path for it in header.inputs if it.role == inputs.OFFSETS and it.path.rpartition("/")[0] in folders]
    for pickle, key in layout.blob_keys(pickles).items():
        named.setdefault(key, []).append(pickle)
    keys = layout.blob_keys(blob.path for blob in header.blobs)
    return {number: named[keys[blob.path]] for number, blob in enumerate(header.blobs) if keys.get(blob.path) in named}


def _links_out(project: ProjectView[DatasetView]) -> Iterator[str]:
    """Links to folders outside, where a dataset, or a part of one, would be."""
    tree = project.tree
    places = {"", *tree.index.header.datasets}
    places |= {layout.join(path, layout.NESTED) for path in tree.index.header.datasets}
    for place in sorted(places):
        try:
            rows = tree.index.children(tree.find(place))
        except OSError:
            continue
        for row in np.flatnonzero(tree.index.source[rows.start : rows.stop] == LINK).tolist():
            path = tree.path(rows.start + row)
            if os.path.isdir(os.path.join(project.url, path)) and _leads_out(tree, path):
                yield (
                    f"{path}: is a symbolic link to a folder outside the project, so what is in it isn't seen; "
                    "--follow-links takes it, or name the datasets that are wanted with --dataset"
                )


def _leads_out(tree: Tree, path: str) -> bool:
    try:
        tree.find(path)
    except BlobdirError:
        return tree.storage.escapes(path)
    return False
