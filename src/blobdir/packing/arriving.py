"""Images that come: nobody else puts one of their names there meanwhile, or a file that would be theirs.

What is in the way of an image is looked for when a change is planned, and each command says what that means: an error,
or a label that is taken over. The same is looked for just before the change is decided. What has come since is an error
in any case: nobody was told of it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from posixpath import splitext
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import SourceChangedError
from blobdir.packing.belongings import side_folders
from blobdir.packing.provenance import Provenance
from blobdir.packing.sidefiles import FOLDERS, MASKS_PREFIX, could_have, side_candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from blobdir.packing.provenance import Origin
    from blobdir.packing.publishing import Change

MANY = 1000
"""Images from which on listing the folders of a dataset is quicker than looking for each file."""


def watch_coming(
    change: Change,
    known: Provenance,
    dataset: str,
    names: Collection[str],
    present: Mapping[str, Origin],
    was_there: Callable[[str], bool] | None = None,
) -> None:
    """Have a change that brings images refused where another program puts something for them there meanwhile.

    Parameters
    ----------
    change : Change
    known : Provenance
        As it was when the change was planned.
    dataset : str
        Path; it needn't be there.
    names : collection of str
        Of the images.
    present : mapping
        What makes those of them that are there already.
    was_there : callable, optional
        Whether a path of the project was there when the change was planned; by default, that is now.
    """
    if change.dry_run or not names:
        return
    if was_there is None:
        found = known.files_below(dataset) if len(names) > MANY else (path for _, path in _there(known, dataset, names))
        was_there = {*found}.__contains__ if dataset in known.datasets.values() else lambda _: False
    change.ask_again(partial(_check_nothing_came, change, known.root, dataset, names, present, was_there))


def _there(known: Provenance, dataset: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name of each image, and path in the project of each file that is there, and is called like it or a file of it."""
    top, folders = os.path.join(known.root, dataset), side_folders(known, dataset)
    for name in names:
        for path in (f"{layout.ITEMS}/{name}", *(one.path for one in side_candidates(name, folders))):
            full = os.path.join(top, path)
            if os.path.isdir(full):
                yield from ((name, below) for below in known.files_below(f"{dataset}/{path}"))
            elif os.path.lexists(full) or known.is_packed(dataset, path):
                yield name, f"{dataset}/{path}"


def _check_nothing_came(
    change: Change,
    root: str,
    dataset: str,
    names: Collection[str],
    present: Mapping[str, Origin],
    was_there: Callable[[str], bool],
) -> None:
    """Raise `SourceChangedError` where something is there by now that wasn't when the change was planned."""
    if not change.touched(_places(root, dataset, names)):
        return
    known, removed = Provenance(root), set(change.removed)
    for name, path in _there(known, dataset, names):
        if not was_there(path) and path not in removed and _would_have(change, root, dataset, name, path):
            raise _came(root, path, name)
    for name, origin in known.origins(dataset, names).items():
        before = {(e.pickle.path, e.start, e.end) for e in present[name].entries} if name in present else set()
        for entry in origin.entries:
            if (entry.pickle.path, entry.start, entry.end) not in before:
                raise _came(root, entry.pickle.path, name)


def _came(root: str, path: str, name: str) -> SourceChangedError:
    return SourceChangedError(
        f"{os.path.join(root, path)}: another program has put it there for {name}, which was to come, while this "
        "change was prepared; nothing was changed; try again"
    )


def _places(root: str, dataset: str, names: Collection[str]) -> Iterator[str]:
    """Folders into which something for images would be put."""
    yield dataset
    with suppress(FileNotFoundError, NotADirectoryError):
        with os.scandir(os.path.join(root, dataset)) as entries:  # an offsets file of a dataset masks_x is no folder
            folders = [entry.name for entry in entries if layout.is_item_folder(entry.name) and entry.is_dir()]
        below = {"", *map(os.path.dirname, names)}
        masks = {base for name in names for base in (name, splitext(name)[0])}
        for folder in folders:
            inside = below | masks if folder.startswith(MASKS_PREFIX) else below
            yield from (layout.join(dataset, folder, one) for one in inside)


def _would_have(change: Change, root: str, dataset: str, name: str, path: str) -> bool:
    """Whether a file is called like an image that comes, or would be one of its files, and no step puts it there."""
    tail = path[len(dataset) + 1 :]
    folder = tail.partition("/")[0]
    if change.is_staged(path):
        return False
    if folder == layout.ITEMS:
        return True
    own = f"{dataset}/{folder}/{name}{FOLDERS.get(folder, '')}"
    has_own = folder in FOLDERS and own != path and (change.is_staged(own) or os.path.lexists(os.path.join(root, own)))
    return could_have(name, tail) and not has_own
