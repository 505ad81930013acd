"""Whether a folder is a project. Many that aren't look like one: a dataset's folder most of all."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from blobdir.descriptors import none_left
from blobdir.discovery import layout
from blobdir.discovery.advice import for_unlisted
from blobdir.discovery.given import AS_IT_IS, IS_TAR, OF_ANOTHER_NAME, kind_of_file
from blobdir.discovery.tarplaces import is_called_tar
from blobdir.errors import BlobdirError, NotAProjectError, ReadError, SourceChangedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from blobdir.sources import Folder, Storage

    Listing = Callable[[str], Mapping[str, bool]]
    """Name -> whether it is a folder, of all that is in one; nothing where it can't be listed."""

_ANY: Final = "x"
_HINT = f"give the folder that holds {layout.META}"

_LOOKED_AT: Final = 64
"""Folders in which a dataset is looked for: most of what lies in a project's folder are datasets."""


def not_a_folder(storage: Storage, error: OSError) -> OSError:
    """What to say where the place itself can't be listed: only what there is tells that it isn't a project."""
    if left := none_left(error):
        return left
    if isinstance(error, SourceChangedError):
        return SourceChangedError(f"{storage.url}: {error}")
    if isinstance(error, NotADirectoryError) or (isinstance(error, FileNotFoundError) and _is_file(storage)):
        return NotAProjectError(_is_a_file(storage.url, storage.directory))
    if isinstance(error, FileNotFoundError):
        return NotAProjectError(f"{storage.url}: doesn't exist; give the folder that holds meta.json")
    why = str(error.strerror or error).removeprefix(f"{storage.url}: ")
    return ReadError(f"{storage.url}: can't be listed: {why}; {for_unlisted(error)} and open it again")


def refuse_file(place: str) -> None:
    """Say what a file on this machine is that is given as a project.

    Raises
    ------
    NotAProjectError
    """
    if os.path.isfile(place):
        raise NotAProjectError(_is_a_file(place, place))


def _is_a_file(shown: str, place: str) -> str:
    what = kind_of_file(place) if place else ""
    if what == IS_TAR:
        return f"{shown}: {what if is_called_tar(place) else what.replace(AS_IT_IS, OF_ANOTHER_NAME)}"
    return f"{shown}: is a file, and a project is a folder{f': it {what}' if what else f'; {_HINT}'}"


def _is_file(storage: Storage) -> bool:
    if storage.directory:
        return os.path.isfile(storage.directory)
    try:
        return storage.stat("").kind == "file"
    except (OSError, BlobdirError):
        return False


def check_root(storage: Storage, folders: Mapping[str, Folder], found: layout.Layout) -> bool:
    """Make sure that what was listed is a project, and not a part of one.

    Returns
    -------
    bool
        Whether it has ``meta.json``.

    Raises
    ------
    NotAProjectError
    """
    root = folders[""]
    names = {entry.name for entry in root.entries}
    if layout.META in names:
        return True
    above = project_above(storage.directory) if storage.directory else ""
    holds_blobs = layout.BLOB_DIR in names
    if layout.holds_items(root, found.datasets) and (above or not holds_blobs):
        raise NotAProjectError(f"{storage.url}: is a dataset{_of_project(above, storage.url)}")
    if above and not holds_blobs and _is_below(above, storage.url):
        raise NotAProjectError(f"{storage.url}: is a folder of the project {above}; give that one")
    if not found.datasets and not holds_blobs:
        raise NotAProjectError(
            f"{storage.url}: isn't a blob project: it holds no {layout.META}, no {layout.BLOB_DIR}/ and no dataset; "
            f"{_HINT}"
        )
    return False


def project_around(folder: str, *, holds_items: bool) -> str:
    """The project that a folder without ``meta.json`` is a part of; empty where it's none.

    Parameters
    ----------
    folder : str
    holds_items : bool
        Whether it looks like a dataset: see `blobdir.discovery.layout.holds_items`.
    """
    above = project_above(folder)
    return above if above and (holds_items or _is_below(above, folder)) else ""


def is_project_above(listed: Listing, below: str) -> bool:
    """Whether a folder is a project that something new in it would damage. Any ``meta.json`` could lie somewhere above.

    One that has lost its ``meta.json`` is known by ``blob/`` together with ``.blobdir/``, or with a dataset: among the
    folders that the new thing would be in, and the first few others.

    Parameters
    ----------
    listed : callable
        What is in a folder, by its path relative to the one in question.
    below : str
        Where the new thing would be, relative to it.
    """
    names = listed("")
    if layout.META in names:
        is_one = not {layout.BLOB_DIR, layout.STATE_DIR}.isdisjoint(names)
        return is_one or not {layout.ITEMS, layout.ANNOTATIONS}.isdisjoint(below.split("/"))
    return names.get(layout.BLOB_DIR, False) and (layout.STATE_DIR in names or _has_dataset(listed, below))


def _has_dataset(listed: Listing, below: str) -> bool:
    todo = deque(("", *layout.above(below)))
    left = _LOOKED_AT
    while todo and left:
        path = todo.popleft()
        if path.partition("/")[0] in (layout.BLOB_DIR, layout.STATE_DIR):
            continue
        inside, left = listed(path), left - 1
        if layout.META in inside:
            continue  # another project, with datasets of its own
        folders = {name for name, is_folder in inside.items() if is_folder}
        if path and layout.holds_any(inside, folders):
            return True
        todo.extend(layout.join(path, name) for name in sorted(folders))
    return False


def project_of(place: str) -> str:
    """The project on this machine that a place lies in, by its path without links; empty where it lies in none."""
    folder = place
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        looks_so = os.path.isfile(os.path.join(folder, layout.META)) or os.path.isdir(
            os.path.join(folder, layout.BLOB_DIR)
        )
        if looks_so and is_project_above(partial(_names, folder), os.path.relpath(place, folder)):
            return folder
    return ""


def _names(top: str, path: str) -> dict[str, bool]:
    found = {}
    with suppress(OSError), os.scandir(os.path.join(top, path)) as scan:
        for entry in scan:
            found[entry.name] = entry.is_dir()
    return found


def refuse_inside(place: str, *, itself: bool = False) -> None:
    """Refuse to make something new in a project on this machine: it would be taken for more of its datasets.

    Parameters
    ----------
    place : str
    itself : bool
        Whether the place mustn't be a project either: what is made comes into it, and it may be there.

    Raises
    ------
    UsageError
    """
    real = os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))
    if itself:
        real = os.path.join(os.path.realpath(place), _ANY)
    if folder := project_of(real):
        raise inside_project(place, folder, is_itself=itself and folder == os.path.dirname(real))


def inside_project(place: str, project: str, *, is_itself: bool) -> UsageError:
    """What to say of a place in a project."""
    return UsageError(f"{place}: is {'' if is_itself else 'in '}the project {project}; choose a place outside")


def _of_project(above: str, url: str) -> str:
    if not above:
        return f", not a project; {_HINT}, above it"
    name = layout.dataset_name(os.path.relpath(url, above))
    return f" of the project {above}; give that folder, and --dataset {name} where a command takes it"


def project_above(url: str) -> str:
    """The nearest folder above that holds ``meta.json``; empty where there is none."""
    folder = os.path.dirname(url)
    while not os.path.isfile(os.path.join(folder, layout.META)):
        if folder == os.path.dirname(folder):
            return ""
        folder = os.path.dirname(folder)
    return folder


def _is_below(above: str, url: str) -> bool:
    """Whether a folder is really a project's: any ``meta.json`` could lie somewhere above."""
    if os.path.isdir(os.path.join(above, layout.BLOB_DIR)):
        return True
    folder = os.path.dirname(url)
    while folder != above:
        if any(os.path.isdir(os.path.join(folder, name)) for name in (layout.ITEMS, layout.ANNOTATIONS)):
            return True
        folder = os.path.dirname(folder)
    return False
