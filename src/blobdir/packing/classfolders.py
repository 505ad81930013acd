"""Folders that say classes, for ``--labels folders``; those that are called like splits say datasets.

``images/train/cat/a.jpg`` is of ``train``, with the tags ``images`` and ``cat``: the first folder counts that is called
like a split, as with labels. At the top that's all there is to ask; further below it may be a class, as ``train``
beside ``car`` and ``bus``. So there all folders beside it are called so, too, or two of them.
"""

from __future__ import annotations

from posixpath import dirname
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import UsageError
from blobdir.filenames import parents_of
from blobdir.labels.splitnames import is_split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.packing.report import PackOptions


class SplitFolders:
    """Folders that are called like splits, and are splits.

    Attributes
    ----------
    unclear : list of str
        Folders that are called so and as well may be classes: they are taken for such.
    """

    def __init__(self) -> None:
        self._found: set[str] = set()
        self.unclear: list[str] = []

    def note(self, folder: str, names: Iterable[str]) -> None:
        """Note the folders in a folder; those above it were noted before."""
        if self.of(folder):
            return
        names = list(names)
        called = [layout.join(folder, name) for name in names if is_split(name)]
        if not folder or len(called) > 1 or len(called) == len(names):
            self._found.update(called)
        else:
            self.unclear += called

    def of(self, folder: str) -> str:
        """The folder of a split that a folder is, or lies in; empty: none."""
        return next((one for one in (folder, *parents_of(folder)) if one in self._found), "") if self._found else ""


def tags_of(source: str, options: PackOptions, splits: SplitFolders) -> list[str]:
    """Tags of an image of a plain folder: the folders that it lies in, but the one that is its dataset."""
    folder = dirname(source)
    parts = folder.split("/") if folder else []
    if not options.dataset and (top := dataset_folder(folder, options, splits)):
        del parts[top.count("/")]
    return parts


def dataset_folder(folder: str, options: PackOptions, splits: SplitFolders) -> str:
    """The folder that is the dataset of images in a folder: the first; with labels by folders, that of a split."""
    return splits.of(folder) if options.labels == "folders" else folder.partition("/")[0]


def place_of(dataset: str) -> str:
    """The place of a dataset that somebody has named; UsageError where it can't be one."""
    place = layout.dataset_place(dataset)
    if place is None:
        raise UsageError(f"{dataset!r} can't be the name of a dataset")
    return place
