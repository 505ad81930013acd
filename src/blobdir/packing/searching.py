"""Which files of a project are searched for what goes, and which can't be: nothing is passed over without a word."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.discovery import layout
from blobdir.durable import open_regular
from blobdir.projectlock import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from blobdir.sources import Entry, Folder, LocalStorage

_ARCHIVES: Final = (
    ".tgz", ".taz", ".tbz", ".tbz2", ".tb2", ".tlz", ".txz", ".tzst", ".zip", ".7z", ".rar",
)  # fmt: skip
_CLOSED: Final = (
    *_ARCHIVES, ".gz", ".z", ".bz2", ".xz", ".lz", ".lz4", ".lzma", ".lzo", ".zst", ".br", ".gpg", ".pgp", ".asc",
    ".age", ".enc",
)  # fmt: skip
"""How the names of files end whose bytes say nothing: they are compressed, or encrypted."""
_BEGINNINGS: Final = (
    b"\x1f\x8b", b"\x1f\x9d", b"BZh", b"\xfd7zXZ\0", b"LZIP", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd", b"PK\x03\x04",
    b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07",
)  # fmt: skip
"""How their bytes begin."""


class Place(NamedTuple):
    """A file that may have what goes, or something that may hold such files.

    Attributes
    ----------
    path : str
        In the project.
    real : str
        Path in the project of what is to be searched: another one where `path` is a link. Empty where it can't be.
    why : str
        Why it can't be.
    is_beside_blobs : bool
        Whether it lies in a folder of blobs, and not further below.
    """

    path: str
    real: str = ""
    why: str = ""
    is_beside_blobs: bool = False


def places(
    storage: LocalStorage, folders: Iterable[Folder], beside: Collection[str], known: Iterable[str]
) -> Iterator[Place]:
    """All files that lie beside blobs or further below, or are called tars or archives; what can't be looked into.

    Parameters
    ----------
    storage : LocalStorage
    folders : iterable of Folder
        All that the project has.
    beside : collection of str
        Those that have blobs.
    known : iterable of str
        Paths of files of which it's known what they have, whatever leads to them.
    """
    done = {os.path.realpath(os.path.join(storage.root, path)) for path in known}
    folders = list(folders)
    below = _below(storage, folders, beside)
    for folder in folders:
        if folder.path.partition("/")[0] == STATE_DIR:
            continue
        if folder.error is not None:
            yield Place(folder.path or storage.root, why=f"can't be listed ({folder.error.strerror or folder.error})")
        for entry in folder.entries:
            place = _place(storage, folder.path, entry, is_beside=folder.path in beside, is_below=folder.path in below)
            if place is None:
                continue
            real = os.path.realpath(os.path.join(storage.root, place.real or place.path))
            if real not in done:
                done.add(real)
                yield place


def _below(storage: LocalStorage, folders: list[Folder], beside: Collection[str]) -> set[str]:
    """Folders that have blobs, all below them, and what links in those lead to, but for the project."""
    below: set[str] = set()
    new = set(beside)
    while new:
        found = {
            folder.path for folder in folders if folder.path in new or not new.isdisjoint(layout.above(folder.path))
        }
        links = {
            layout.join(folder.path, entry.name)
            for folder in folders
            if folder.path in found - below
            for entry in folder.entries
            if entry.kind == "link"
        }
        below |= found
        inside = {path for path in links if not storage.escapes(path)}
        real = {os.path.relpath(os.path.realpath(os.path.join(storage.root, path)), storage.root) for path in inside}
        new = real - below - {"."}
    return below


def _place(storage: LocalStorage, folder: str, entry: Entry, *, is_beside: bool, is_below: bool) -> Place | None:
    path, name = layout.join(folder, entry.name), entry.name.lower()
    may_be_tar = is_below or ".tar" in name or name.endswith(_ARCHIVES)
    if entry.kind == "file":
        return Place(path, path, is_beside_blobs=is_beside) if may_be_tar else None
    if entry.kind == "other":
        return Place(path, why="is a device, pipe or socket") if may_be_tar else None
    if entry.kind != "link":
        return None
    full = os.path.join(storage.root, path)
    if storage.escapes(path):
        is_meant = may_be_tar or os.path.isdir(full)
        return Place(path, why=f"is a link that leads out of the project, to {entry.target}") if is_meant else None
    if not may_be_tar or not os.path.isfile(full):  # a folder is searched where it lies
        return None
    return Place(path, os.path.relpath(os.path.realpath(full), storage.root), is_beside_blobs=is_beside)


def is_closed(root: str, path: str) -> bool:
    """Whether the bytes of a file say nothing of what is in it.

    Raises
    ------
    OSError
    """
    if path.lower().endswith(_CLOSED):
        return True
    with open_regular(os.path.join(root, path)) as file:
        return file.read(8).startswith(_BEGINNINGS)
