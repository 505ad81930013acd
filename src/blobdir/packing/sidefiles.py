"""Which other files of a dataset belong to an image, by the rules of the format.

===========================  ===============================================  ==========================
folder                       file of the image ``a.jpg``                      who says so
===========================  ===============================================  ==========================
``ann``, ``meta``,           ``a.jpg.json``; where there is none, ``a.json``  the SDK
``img_info``
``seg``                      ``a.jpg.png``; where there is none, ``a.png``    the SDK; other exports
``masks_*``                  ``a.png``, ``a.jpg.png``, and all files in the   the import of masks, which
                             folders ``a`` and ``a.jpg``                      goes by stem
===========================  ===============================================  ==========================

A file that is named by the stem can belong to several images: ``ann/a.json`` to ``a.png``, ``a.bmp`` and to one that
is called just ``a``; even ``ann/a.png.json`` to ``a.png`` and ``a.png.jpg``. Who removes or moves one asks `owners`.

Paths are relative to the dataset; names may hold folders (``sub/a.jpg``: ``ann/sub/a.jpg.json``) and bytes that aren't
UTF-8, as surrogate escapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import IsADirectory, NotADirectory, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from blobdir.datasets import DatasetView
    from blobdir.tree import Tree

FOLDERS: Final = {layout.ANNOTATIONS: ".json", "img_info": ".json", "meta": ".json", "seg": ".png"}
"""Folders of a dataset with at most one file an image, and what its name has after the image's."""
MASKS_PREFIX: Final = "masks_"
MASKS: Final = ("masks_human", "masks_instances", "masks_machine")
"""Those that the SDK knows; others may be called so too."""
_MASK_SUFFIX: Final = ".png"
_NAME_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class SideFile:
    """A place where a file of an image can be.

    Attributes
    ----------
    path : str
        Relative to the dataset. In ``masks_*`` also that of a folder, whose files are all meant.
    by_stem : bool
        Whether it is named by the image's name without extension, so that other images can have it too.
    """

    path: str
    by_stem: bool

    @property
    def folder(self) -> str:
        """The folder of the dataset: ``ann``, ``meta``, and so on."""
        return self.path.partition("/")[0]


def is_side_folder(name: str) -> bool:
    """Whether a folder of a dataset is one for side files."""
    return name in FOLDERS or name.startswith(MASKS_PREFIX)


def side_candidates(name: str, folders: Iterable[str] = (*FOLDERS, *MASKS)) -> list[SideFile]:
    """Where the files of an image can be.

    Parameters
    ----------
    name : str
        Of the image, in its dataset.
    folders : iterable of str
        The side folders that the dataset has.

    Returns
    -------
    list of SideFile
        Those by the full name before those by the stem, folder by folder; no path twice.
    """
    stem = splitext(name)[0]
    found: dict[str, SideFile] = {}
    for folder in folders:
        if folder.startswith(MASKS_PREFIX):
            # The same path can be a file by the stem and a folder by the full name: then it may be shared.
            tails = [(f"{name}{_MASK_SUFFIX}", False), (f"{stem}{_MASK_SUFFIX}", True), (stem, True), (name, False)]
        else:
            suffix = FOLDERS[folder]
            tails = [(f"{name}{suffix}", False), (f"{stem}{suffix}", True)]
        for tail, by_stem in tails:
            if _can_be(tail):
                found.setdefault(f"{folder}/{tail}", SideFile(f"{folder}/{tail}", by_stem and stem != name))
    return list(found.values())


def _can_be(tail: str) -> bool:
    return len(tail.rpartition("/")[2].encode("utf-8", "surrogateescape")) <= _NAME_MAX


def side_files(name: str, exists: Callable[[str], bool], folders: Iterable[str] = (*FOLDERS, *MASKS)) -> list[SideFile]:
    """Those of the candidates that the image has: of two for one purpose, that by its full name.

    Parameters
    ----------
    name : str
    exists : callable
        Whether the dataset has a file, or a folder, of this path.
    folders : iterable of str
    """
    found: list[SideFile] = []
    for one in side_candidates(name, folders):
        alone = not one.folder.startswith(MASKS_PREFIX)
        if alone and found and found[-1].folder == one.folder:
            continue
        if exists(one.path):
            found.append(one)
    return found


def bases(path: str) -> list[str]:
    """What an image may be called, with or without an extension, so that a side file is one of its candidates.

    ``ann/a.json``: ``a``. ``masks_instances/a/b.png``: ``a/b`` and ``a``. ``masks_instances/a/``, a folder: ``a``.
    Empty where it is no side file.
    """
    folder, _, tail = path.partition("/")
    if folder in FOLDERS:
        return [tail.removesuffix(FOLDERS[folder])] if tail.endswith(FOLDERS[folder]) else []
    if not folder.startswith(MASKS_PREFIX) or not tail:
        return []
    found = [tail.removesuffix(_MASK_SUFFIX)] if tail.endswith(_MASK_SUFFIX) else []
    while tail := tail.rpartition("/")[0]:
        found.append(tail)
    return found


def owners(path: str, named: Callable[[str], Iterable[str]], exists: Callable[[str], bool]) -> list[str]:
    """Images of a dataset that a side file belongs to.

    Parameters
    ----------
    path : str
        A file, relative to the dataset; or a folder, with a slash behind it.
    named : callable
        Images that are called so, as a whole or without their extension; see `blobdir.datasets.DatasetView.named`. To
        know who has the file when some images are gone, leave those out.
    exists : callable
        Whether the dataset has a file of this path.
    """
    folder = path.partition("/")[0]
    found: dict[str, None] = {}
    for base in bases(path):
        for name in named(base):
            if base not in (name, splitext(name)[0]):
                continue
            own = f"{folder}/{name}{FOLDERS[folder]}" if folder in FOLDERS else path
            if own == path or folder not in FOLDERS or not (_can_be(own) and exists(own)):
                found[name] = None
    return list(found)


def renamed_side(path: str, one: SideFile, name: str, new: str) -> str:
    """Where a file of an image has to lie when the image is called otherwise, relative to its dataset.

    Parameters
    ----------
    path : str
        Of the file: `one`, or below the folder that this is.
    one : SideFile
        One of the candidates of `name`.
    name, new : str
        Of the image.
    """
    tail = path[len(one.folder) + 1 :]
    if one.folder in FOLDERS:  # one of its own, so that it is nobody else's
        return f"{one.folder}/{new}{FOLDERS[one.folder]}"
    # As a folder, `masks_x/a.png` goes by the full name of `a.png`; as a file, by the stem.
    by_name = one.path == f"{one.folder}/{name}" if path != one.path else not one.by_stem
    base, new_base = (name, new) if by_name else (splitext(name)[0], splitext(new)[0])
    return f"{one.folder}/{new_base}{tail[len(base) :]}"


def could_have(name: str, path: str) -> bool:
    """Whether a side file would be that of an image of this name, if there were one; a folder has a slash behind it.

    What lies where one could be needn't be: as a file, ``masks_x/a.png`` isn't a folder of masks of ``a.png.jpg``.
    """
    return bool(owners(path, lambda _: [name], lambda _: False))


class SideFiles:
    """The side files of one dataset, as readers see them.

    Parameters
    ----------
    tree : Tree
    dataset : DatasetView
    """

    def __init__(self, tree: Tree, dataset: DatasetView) -> None:
        self._tree = tree
        self.dataset = dataset
        names = filter(is_side_folder, tree.names(tree.find(dataset.path)))
        self.folders = [name for name in names if tree.is_directory(tree.find(f"{dataset.path}/{name}"))]

    def exists(self, path: str) -> bool:
        """Whether there is a file, folder or link at a path relative to the dataset; LinkError where a link leads out.

        A link that leads nowhere is there: it's somebody's, and what it is of can be had somewhere else, or later. A
        folder where only a file can be isn't there if images lie in one of its name: it's for their files.
        """
        try:
            row = self._tree.find(f"{self.dataset.path}/{path}")
        except (NotFoundError, NotADirectory) as error:
            return bool(error.link)
        folder, _, tail = path.partition("/")
        return not (folder in FOLDERS and self._tree.is_directory(row) and self._has_images_in(tail))

    def _has_images_in(self, path: str) -> bool:
        try:
            return self._tree.is_directory(self._tree.find(f"{self.dataset.path}/{layout.ITEMS}/{path}"))
        except (NotFoundError, NotADirectory):
            return False

    def of(self, name: str) -> Iterator[str]:
        """Paths of an image's files, relative to the dataset; those in folders of masks one by one.

        What lies where one could be, and is another image's, is left out: as a file, ``masks_x/a.png`` belongs to
        ``a.bmp``, and not to ``a.png.jpg``, whose masks could lie in a folder of this name.

        Raises
        ------
        LinkError, NotFoundError, NotADirectory
            One is a link that leads outside the project; or nowhere.
        IsADirectory
            One is a folder, or a link to one.
        IncompleteListingError
            A folder of masks couldn't be listed.
        """
        for one in side_files(name, self.exists, self.folders):
            row = self._tree.find(f"{self.dataset.path}/{one.path}")
            is_folder = self._tree.is_directory(row)
            if one.folder.startswith(MASKS_PREFIX) and name not in self.owners(one.path + "/" * is_folder):
                continue
            if not is_folder:
                yield one.path
            elif one.folder.startswith(MASKS_PREFIX):
                yield from self._below(one.path, row)
            else:
                raise IsADirectory(f"{self.dataset.path}/{one.path}: is a folder, where a file of {name} would be")

    def _below(self, path: str, row: int) -> Iterator[str]:
        for child, name in zip(self._tree.children(row), self._tree.names(row), strict=True):
            if self._tree.is_directory(child):
                yield from self._below(f"{path}/{name}", child)
            else:
                yield f"{path}/{name}"

    def owners(self, path: str, gone: Iterable[str] = ()) -> list[str]:
        """Images that a file belongs to, those that are `gone` left out."""
        without = set(gone)
        return owners(path, lambda base: [n for n in self.dataset.named(base) if n not in without], self.exists)
