"""An index that travels with its project: a folder to read, and the same as one file to download."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery.inputs import unread, with_digests
from blobdir.discovery.unfinished import OF_THE_MOMENT
from blobdir.durable import sync_folder
from blobdir.errors import DataError, ReadError, UsageError
from blobdir.index import LOOSE, check_place, index_to_bytes, remove_index, replace_file, save_index
from blobdir.projectlock import make_state_folder, show_like
from blobdir.sources import LocalStorage, RemoteStorage

if TYPE_CHECKING:
    from blobdir.index import Index
    from blobdir.sources import Storage

BESIDE: Final = ".blobdir/index"
BESIDE_FILE: Final = ".blobdir/index.tar"


def check_beside(storage: Storage) -> None:
    """Make sure that an index can be put beside a project, and that nothing else is replaced.

    Raises
    ------
    UsageError
    """
    if not storage.directory:
        return
    place = Path(storage.directory) / BESIDE
    if place.parent.is_symlink():
        raise UsageError(f"{place.parent}: is a symbolic link, and nothing of blobdir's is; look at it, and remove it")
    check_place(place)


def save_beside(index: Index, storage: Storage) -> str:
    """Put an index beside its project, where everybody who opens the project finds it; where it lies.

    Raises
    ------
    UsageError
        Something else lies there.
    ReadError
        Something of the project couldn't be read, by this user or at that moment: others would miss it as well.
    OSError
        The place can't be written.
    """
    refuse_unread(index, storage)
    if isinstance(storage, RemoteStorage):
        storage.write(BESIDE_FILE, index_to_bytes(index))
        return f"{storage.url}/{BESIDE_FILE}"
    check_beside(storage)
    index = to_travel(index, storage)
    place = Path(storage.url) / BESIDE
    with suppress(FileExistsError):
        make_state_folder(place.parent, storage.url)
    save_index(index, place, through_link=False)
    file = Path(storage.url) / BESIDE_FILE
    replace_file(file, index_to_bytes(with_loose_sizes(index, storage)))
    root = os.stat(storage.url)
    for path in (place, *place.iterdir(), file):  # for all who may read the project
        show_like(path, root)
    return str(place)


def refuse_unfinished(index: Index, storage: Storage) -> None:
    """Refuse to keep an index of a project in the middle of a change: DataError."""
    for defect in index.header.defects:
        if defect.code in OF_THE_MOMENT:
            raise DataError(f"{storage.url}: {defect.message}; no index was written")


def refuse_unread(index: Index, storage: Storage) -> None:
    """Refuse an index of what couldn't be read: ReadError; see `save_beside`."""
    if paths := unread(index.header):
        more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
        raise ReadError(
            f"{storage.url}: {paths[0]}{more} couldn't be read, and an index beside a project is for all who open it; "
            "give yourself the right to read it, or have somebody write the index who may; none was written"
        )


def drop_beside(root: str | os.PathLike[str]) -> None:
    """Remove the index that travels with a project on this machine, before the project changes.

    Who reads the project from afar believes the file: that's why it goes first, and is off the disk when this returns.
    The folder is compared by all who read it, so one that can't be removed does no harm.

    Raises
    ------
    OSError
        The file can't be removed.
    """
    file, place = Path(root, BESIDE_FILE), Path(root, BESIDE)
    if file.is_symlink() or file.is_file():
        with suppress(FileNotFoundError):
            os.unlink(file)
        sync_folder(file.parent)
    if os.path.lexists(place):
        with suppress(OSError, UsageError):
            remove_index(place)


def is_beside(place: Path, storage: Storage) -> bool:
    """Whether a folder is that of the index that travels with its project."""
    return bool(storage.directory) and os.path.realpath(place) == f"{storage.directory}/{BESIDE}"


def to_travel(index: Index, storage: Storage) -> Index:
    """The same index with all by which it's known that a project is a copy of its own."""
    return with_digests(index, storage) if isinstance(storage, LocalStorage) else index


def with_loose_sizes(index: Index, storage: Storage) -> Index:
    """The same index with the sizes of loose files in it: a remote reader would have to ask for each."""
    size = index.size.astype(np.int64)
    for row in np.flatnonzero(index.source == LOOSE).tolist():
        with suppress(OSError):
            size[row] = storage.stat(index.path(row).decode("utf-8", "surrogateescape")).size
    small = np.iinfo(np.int32)
    return replace(index, size=size if size.max() > small.max else size.astype(np.int32))
