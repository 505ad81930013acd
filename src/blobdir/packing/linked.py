"""Symbolic links where the format has something: a folder, an offsets file, a blob.

Readers follow them, so one file is shown in several datasets, and by nothing but such a link. Whoever changed it would
change the others too, or leave them without. So a project that has such links is read, but not changed, nor made into
another one: one rule, here, for all who do. Blobs that lie outside the project, as ``subset --blobs symlink`` makes
them, are another project's: nobody changes them here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from blobdir.discovery import layout
from blobdir.discovery.parts import inner_projects
from blobdir.errors import PackError
from blobdir.filenames import folders_of_format

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from blobdir.packing.provenance import Provenance
    from blobdir.sources import Entry, Folder, LocalStorage


@dataclass(frozen=True, slots=True)
class LinkedPlace:
    """A symbolic link where the format has something.

    Attributes
    ----------
    path : str
        In the project.
    target : str
        As the link has it.
    kind : {"folder", "offsets", "blob"}
    real : str
        Where it leads to in the end.
    leads_out : bool
        Whether that is outside the project.
    """

    path: str
    target: str
    kind: Literal["folder", "offsets", "blob"]
    real: str
    leads_out: bool

    def __str__(self) -> str:
        there = "a folder" if self.kind == "folder" else "the file itself"
        return f"{self.path}: is a symbolic link to {self.target}; put {there} there"


def linked_places(
    storage: LocalStorage, datasets: Iterable[str], folder: Callable[[str], Folder | None] | None = None
) -> Iterator[LinkedPlace]:
    """The links of a project where the format has something.

    Parameters
    ----------
    storage : LocalStorage
    datasets : iterable of str
        Paths of those that are looked at; ``blob/`` is in any case.
    folder : callable, optional
        Gives a folder by its path, for who has listed some already; None where there is none.
    """
    folder = folder or storage.folder
    for path in ("", *datasets):
        listed = folder(path)
        entries = sorted(listed.entries) if listed is not None else []
        of_format = folders_of_format(path, {entry.name for entry in entries})
        plain = []
        for entry in entries:
            if entry.name not in of_format:
                continue
            if not entry.target:
                plain.append(entry.name)
            elif not os.path.isfile(os.path.join(storage.root, path, entry.name)):
                yield _place(storage, path, entry, "folder")
        if path:
            yield from _files(storage, path, entries)
        for name in (layout.PACKED_ANNOTATIONS, layout.BLOB_DIR if not path else ""):
            if name in plain and (below := folder(layout.join(path, name))) is not None:
                yield from _files(storage, below.path, sorted(below.entries), blobs=True)


def _files(storage: LocalStorage, path: str, entries: list[Entry], *, blobs: bool = False) -> Iterator[LinkedPlace]:
    for entry in entries:
        if entry.kind == "link" and layout.is_offsets(entry.name) and path != layout.BLOB_DIR:
            yield _place(storage, path, entry, "offsets")
        elif entry.kind == "link" and blobs and layout.blob_stem(entry.name) is not None:
            yield _place(storage, path, entry, "blob")


def _place(storage: LocalStorage, folder: str, entry: Entry, kind: Literal["folder", "offsets", "blob"]) -> LinkedPlace:
    path = layout.join(folder, entry.name)
    real = os.path.realpath(os.path.join(storage.root, path))
    return LinkedPlace(path, entry.target, kind, real, storage.escapes(path))


def check_changed(known: Provenance) -> None:
    """Refuse to change a project with such a link, or with another project in it.

    Raises
    ------
    PackError
    """
    for inner in inner_projects(known.datasets.values(), known.folder):
        raise PackError(
            f"{inner.path}: is a project of its own, and its datasets would be changed without its blobs; move it out "
            f"of {known.root}; nothing was changed"
        )
    for link in linked_places(known.storage, known.datasets.values(), known.folder):
        if link.kind != "blob" or not link.leads_out:
            raise PackError(f"{link}, and change the project then; nothing was changed")


def check_merged(other: Provenance) -> None:
    """Refuse to take a project into another one that has such a link, or another project in it; blobs may be links.

    Raises
    ------
    PackError
    """
    for inner in inner_projects(other.datasets.values(), other.folder):
        raise PackError(f"{_taken(other.root, inner.path)}, and merge it then; nothing was changed")
    for link in linked_places(other.storage, other.datasets.values(), other.folder):
        if link.kind != "blob":
            raise PackError(f"{other.root}/{link}, and merge it then; nothing was changed")


def check_chosen(storage: LocalStorage, datasets: Collection[str]) -> None:
    """Refuse to make a subset of datasets that have such a link, or lie in another project; blobs may be links.

    What leads out of the project is no other dataset's. Whether it's taken, ``follow_links`` says.

    Raises
    ------
    PackError
    """
    for inner in inner_projects(sorted(datasets), storage.folder):
        raise PackError(f"{_taken(storage.root, inner.path)}, and choose from it then; nothing was written")
    for link in linked_places(storage, sorted(datasets)):
        if link.kind != "blob" and not link.leads_out:
            raise PackError(f"{storage.root}/{link}, and choose from it then; nothing was written")


def _taken(root: str, inner: str) -> str:
    return f"{root}/{inner}: is a project of its own, and its datasets would be taken without its blobs; move it out"
