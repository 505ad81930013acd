"""What a project consists of: which offsets files there are, what they show where, and which blob each is of.

Readers, who make rows of it, and writers, who change it, ask the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import OffsetsNameError
from blobdir.offsets.names import shown, to_str
from blobdir.projectlock import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from blobdir.offsets import OffsetsTable
    from blobdir.sources import Folder

MOST_FOLDERS: Final = 16
"""Folders in a name of a member that any offsets file may have, whatever its other names are."""
_FOLDERS: Final = 64
"""Folders in the names of members that there may be in any case."""


@dataclass(frozen=True, slots=True)
class Pickle:
    """An offsets file.

    Attributes
    ----------
    path : str
        In the project.
    dataset : str
        Path of the dataset that it is of.
    shown : str
        Folder in which its members are shown: ``train/img``, or ``train/ann`` where it lies in ``ann.blob/``.
    blobs : str
        Folder in which its blob lies.
    """

    path: str
    dataset: str
    shown: str
    blobs: str

    @property
    def stem(self) -> str:
        """Stem of the file name of its blob."""
        return self.path.rpartition("/")[2].removesuffix(layout.OFFSETS_SUFFIX)


@dataclass(frozen=True, slots=True)
class InnerProject:
    """A folder of a project that is a project of its own.

    Attributes
    ----------
    path : str
        In the outer one.
    stems : frozenset of str, optional
        Those of its blobs; None where these aren't known, since ``blob`` is a link, or can't be listed.
    """

    path: str
    stems: frozenset[str] | None

    def has(self, pickle: Pickle) -> bool:
        """Whether it has, or may have, the blob that offsets in it are of."""
        inside = pickle.blobs == layout.BLOB_DIR and pickle.path.startswith(f"{self.path}/")
        return inside and (self.stems is None or pickle.stem in self.stems)


def deepest(arena: NDArray[np.uint8], starts: NDArray[np.int64]) -> int:
    """Folders in the name, of a name table, that has most."""
    slashes = arena == ord("/")
    if len(starts) < 2 or not slashes.any():
        return 0
    return int(np.add.reduceat(slashes, starts[:-1], dtype=np.int32).max())


def check_folders(table: OffsetsTable, path: str) -> None:
    """Make sure that the names of members don't make far more folders than there are members.

    A name of 4 kB can have two thousand folders in it, each of which takes more room than the name. Who writes names
    that each have no more than `MOST_FOLDERS` can put any of them together, and leave out any.

    Raises
    ------
    OffsetsNameError
    """
    if deepest(table.arena, table.name_start) <= MOST_FOLDERS:
        return
    most = MOST_FOLDERS * len(table) + _FOLDERS
    known = {b""}
    for row in range(len(table)):
        folder = table.name(row).rpartition(b"/")[0]
        while folder not in known:
            known.add(folder)
            folder = folder.rpartition(b"/")[0]
        if len(known) > most:
            raise OffsetsNameError(
                f"{path}: {shown(to_str(table.name(row)))} is one of {len(table)} names that make more than {most} "
                "folders; write the names without folders, as `blobdir offsets` does",
                path=path,
                entries_before=row,
            )


def find_pickles(folders: Mapping[str, Folder], dataset: str) -> list[Pickle]:
    """The offsets files of a dataset, in order: those of images, then those of annotations."""
    packed = layout.join(dataset, layout.PACKED_ANNOTATIONS)
    places = (
        (dataset, layout.join(dataset, layout.ITEMS), layout.BLOB_DIR),
        (packed, layout.join(dataset, layout.ANNOTATIONS), packed),
    )
    return [
        Pickle(layout.join(folder, name), dataset, shown, blobs)
        for folder, shown, blobs in places
        if (listed := folders.get(folder)) is not None
        for name in sorted(entry.name for entry in listed.entries if layout.is_offsets(entry.name))
    ]


def inner_projects(datasets: Iterable[str], folder: Callable[[str], Folder | None]) -> list[InnerProject]:
    """Folders of a project that are projects of their own, among some datasets and what these lie in.

    Such a folder has ``meta.json`` and ``blob`` in it, or links of these names; and ``blob`` has a tar in it, or
    is a link or can't be listed, or ``.blobdir`` is beside it. To readers its datasets are the outer project's.
    """
    paths = dict.fromkeys(path for dataset in datasets for path in (*layout.above(dataset), dataset) if path)
    return [found for path in paths if (found := _inner_project(path, folder)) is not None]


def _inner_project(path: str, folder: Callable[[str], Folder | None]) -> InnerProject | None:
    listed = folder(path)
    entries = {entry.name: entry for entry in listed.entries} if listed is not None else {}
    meta, blob = entries.get(layout.META), entries.get(layout.BLOB_DIR)
    if meta is None or meta.kind not in ("file", "link") or blob is None or blob.kind not in ("directory", "link"):
        return None
    blobs = folder(layout.join(path, layout.BLOB_DIR)) if blob.kind == "directory" and not blob.target else None
    if blobs is None or blobs.error is not None:
        return InnerProject(path, None)
    stems = frozenset(find_blobs(blobs)[0])
    return InnerProject(path, stems) if stems or STATE_DIR in entries else None


def misplaced_pickles(folders: Mapping[str, Folder], datasets: Iterable[str]) -> list[str]:
    """Paths of offsets files that no dataset shows anything of, because of where they lie: beside the blobs, say."""
    used = {pickle.path for dataset in datasets for pickle in find_pickles(folders, dataset)}
    found = [
        layout.join(folder.path, entry.name)
        for folder in folders.values()
        if folder.path.partition("/")[0] != STATE_DIR
        for entry in folder.entries
        if entry.kind in ("file", "link") and layout.is_offsets(entry.name)
    ]
    return sorted(set(found) - used)


def find_blobs(folder: Folder) -> tuple[dict[str, str], list[str]]:
    """The blobs in a folder.

    Returns
    -------
    used : dict
        Stem -> path. Of ``x.tar`` and ``x.TAR``, the first is used.
    unused : list of str
        Paths of the others.
    """
    used: dict[str, str] = {}
    unused = []
    for name in sorted(entry.name for entry in folder.entries if entry.kind in ("file", "link")):
        stem = layout.blob_stem(name)
        if stem is None:
            continue
        if stem in used:
            unused.append(used[stem])
        used[stem] = layout.join(folder.path, name)
    return used, unused
