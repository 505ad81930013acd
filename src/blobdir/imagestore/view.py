"""A store as it was after one commit: what is in it, and the bytes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.datasets import DatasetView, ProjectView
from blobdir.discovery import layout
from blobdir.discovery.unfinished import UNFINISHED
from blobdir.errors import BlobdirError, IncompleteListingError, NotADirectory, NotAProjectError, NotFoundError
from blobdir.filenames import is_image_name
from blobdir.imagestore.names import packed_names
from blobdir.index import DIRECTORY, FIRST_BLOB
from blobdir.lazily import cached_property
from blobdir.opening import OpenOptions, open_tree
from blobdir.projectlock import Glance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from blobdir.tree import Tree

META: Final = "meta"
"""Folder of a dataset in which the metadata of images lie, as the SDK has it."""
SMALL_ROWS: Final = 200_000
"""Rows of a project up to which its images' names are kept as texts, too."""
MANY_NAMES: Final = 100
"""Names that are asked for together, from which on that's worthwhile."""
NONE, FOLDER, OTHER = -1, -2, -3
"""What a name is instead of an image: nothing, a folder, another file."""


class View:
    """A store at one moment. It never changes, and threads may share it.

    Parameters
    ----------
    root : str
    dataset : str
        By name, or by path.
    before : View, optional
        Of the same store: what it holds open, this one holds too.

    Attributes
    ----------
    tree : Tree
    path : str
        Of the dataset; empty where there is none yet.
    """

    def __init__(self, root: str, dataset: str, before: View | None = None) -> None:
        self._glance = Glance(root)
        held = before.tree.blobs if before is not None else None
        options = OpenOptions(index="auto" if before is None else "none")  # no kept index is true of what is that new
        self.tree: Tree = open_tree(root, options=options, hold=lambda blobs: blobs.hold(held))
        if not self.tree.lies_there:
            raise NotAProjectError(f"{root}: is a tar, and no store: open_project reads what is in it")
        self._root = self.tree.storage.directory or root
        named = {name: path for path, name in self.tree.dataset_names.items()}
        self.path = named.get(dataset, dataset if dataset in self.tree.dataset_names else "")
        if not self.path and (why := ProjectView(self.tree).why_unseen(dataset)):
            raise IncompleteListingError(f"{dataset}: may be a dataset that isn't seen: {why}")
        self._place = self.path or layout.dataset_place(dataset) or dataset
        self._times = self.times()
        self._dataset = DatasetView(self.tree, self.path) if self.path else None
        self._images = self._row_of(layout.join(self.path, layout.ITEMS)) if self.path else -1
        self._reader = self.tree.reader(max(self._images, 0))  # the root's knows no image

    def _row_of(self, path: str) -> int:
        try:
            return self.tree.find(path)
        except (NotFoundError, NotADirectory):
            return -1

    def _file(self, path: str) -> int:
        """Row of what isn't a folder; -1 where there is none."""
        row = self._row_of(path)
        return row if row >= 0 and not self.tree.is_directory(row) else -1

    def has_folder(self, kind: str, path: str) -> bool:
        """Whether there is such a folder beside the images, in that of a kind of files."""
        row = self._row_of(f"{self.path}/{kind}/{path}") if self.path else -1
        return row >= 0 and self.tree.is_directory(row)

    def can_lie(self, kind: str, path: str) -> bool:
        """Whether such a file may be put there: it's no folder, and none that it would lie in is a file."""
        folders = (f"{self.path}/{kind}/{folder}" for folder in layout.above(path))
        return not self.has_folder(kind, path) and all(self._file(folder) < 0 for folder in folders)

    @property
    def unfinished(self) -> str:
        """Why this may be half of one commit and half of the next, in words; empty where it's the last one, whole."""
        return next((defect.message for defect in self.tree.defects if defect.code == UNFINISHED), "")

    @property
    def is_current(self) -> bool:
        """Whether nothing was committed since."""
        return self._glance.is_same(self.tree.changes or (b"", False))

    def times(self) -> tuple[int, ...]:
        """When names in the folders of the dataset changed last, now: programs that take no lock change them too."""
        return tuple(map(_changed_ns, (os.path.join(self._root, self._place, name) for name in ("", layout.ITEMS))))

    @property
    def is_untouched(self) -> bool:
        """Whether no such program has put anything there, or taken it away."""
        return self.times() == self._times

    # -- names -------------------------------------------------------------------------------------------------------

    @cached_property
    def names(self) -> list[str]:
        """Names of all images, in the order of their bytes."""
        names = self._dataset.names if self._dataset is not None else []
        return sorted(names, key=os.fsencode) if any("/" in name for name in names) else names

    @cached_property
    def _known(self) -> dict[str, int]:
        """Rows of the images of a small store: finding one in a dictionary takes a tenth of the time."""
        if self._images < 0 or not 0 < len(self.tree.index) <= SMALL_ROWS:
            return {}
        try:
            names = self.names
        except IncompleteListingError:
            return {}
        return dict(zip(names, self.packed_rows(names, *packed_names(names)).tolist(), strict=True))

    def row(self, name: str) -> int:
        """Row of an image; or NONE, FOLDER, or OTHER, for a file that isn't one.

        Raises
        ------
        IncompleteListingError
            It can't be known.
        """
        if self._images < 0 or not name:
            return NONE
        try:
            row = self.tree.find(f"{self.path}/{layout.ITEMS}/{name}")
        except IncompleteListingError:
            raise
        except (BlobdirError, ValueError):
            return NONE
        return self._kind(row, name)

    def _kind(self, row: int, name: str) -> int:
        source = int(self.tree.index.source[row])
        if source == DIRECTORY:
            return FOLDER
        return row if source >= FIRST_BLOB or is_image_name(name) else OTHER

    def rows(self, names: Sequence[str]) -> NDArray[np.int64]:
        """`row` of many names, which are texts."""
        if len(names) >= MANY_NAMES:
            with suppress(KeyError, TypeError):  # one isn't there, or no name
                return np.array(list(map(self._known.__getitem__, names)), np.int64)
        return self.packed_rows(names, *packed_names(names))

    def packed_rows(
        self, names: Sequence[str], arena: NDArray[np.uint8], starts: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """`row` of many names, of which the name table is there already."""
        if self._images < 0:
            return np.full(len(names), NONE, np.int64)
        if (arena == ord("/")).any() or not self.tree.is_complete(self._images):
            return np.array([self.row(name) for name in names], np.int64)
        rows = self.tree.index.lookup_many(self._images, arena, starts)
        there = np.flatnonzero(rows >= 0)
        for i in there[self.tree.index.source[rows[there]] < FIRST_BLOB].tolist():
            rows[i] = self.row(names[i])
        return rows

    def below(self, folder: str) -> Iterator[str]:
        """Names of the images in a folder, those in folders of it too."""
        prefix = f"{folder}/"
        return (name for name in self.names if name.startswith(prefix))

    def called(self, base: str) -> list[str]:
        """Images that are called like this, or like this with an extension."""
        return self._dataset.named(base) if self._dataset is not None else []

    # -- bytes -------------------------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes:
        """Bytes of an image; KeyError where there is none."""
        if (data := self._reader(name)) is not None:
            return data
        if (row := self.row(name)) < 0:
            raise KeyError(name)
        return self.tree.read(row)

    def read_rows(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Bytes of many images, in the order of their rows in the list."""
        return self.tree.read_many(rows) if len(rows) else []

    # -- metadata ----------------------------------------------------------------------------------------------------

    def metadata(self, name: str) -> bytes | None:
        """The file with what is known of an image; None where there is none."""
        row = self._file(self.meta_path(name)) if self.path else -1
        return self.tree.read(row) if row >= 0 else None

    def has_metadata(self, name: str) -> bool:
        """Whether there is such a file, an empty object too."""
        return bool(self.path) and self._file(self.meta_path(name)) >= 0

    @cached_property
    def any_metadata(self) -> bool:
        """Whether any image may have metadata."""
        return bool(self.path) and self._row_of(f"{self.path}/{META}") >= 0

    def has_annotation(self, name: str) -> bool:
        """Whether an image has an annotation."""
        try:
            return self._dataset is not None and bool(self._dataset.annotation_path(name))
        except NotFoundError:
            return False

    def meta_path(self, name: str) -> str:
        """Where the metadata of an image lie."""
        return meta_path(self.path, name)

    # -- what there is -----------------------------------------------------------------------------------------------

    @property
    def blob_count(self) -> int:
        """Blobs that images of the project are in."""
        return len(self.tree.index.header.blobs)

    def unused_bytes(self) -> int:
        """Bytes of blobs that are no image's, nor a header's."""
        try:
            with os.scandir(os.path.join(self._root, layout.BLOB_DIR)) as scan:
                there = sum(one.stat().st_size for one in scan if layout.blob_stem(one.name) is not None)
                count = 10240 * self.blob_count
        except OSError:
            return 0
        members = self.tree.index.source >= FIRST_BLOB
        sizes = self.tree.index.size[members].astype(np.int64)
        return max(0, there - count - int((512 + (sizes + 511) // 512 * 512).sum()))

    def total_bytes(self) -> int:
        """Bytes of all images."""
        members = self.tree.index.source >= FIRST_BLOB
        return int(self.tree.index.size[members].astype(np.int64).sum())


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return -1


def meta_path(dataset: str, name: str) -> str:
    """Where the metadata of an image lie in a project."""
    return f"{dataset}/{META}/{name}.json"
