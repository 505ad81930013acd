"""The datasets of a tree: images and annotations by name. What projects are, without a filesystem around them."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from posixpath import splitext
from typing import TYPE_CHECKING, Any, TypeVar

from blobdir.discovery import layout
from blobdir.errors import AnnotationError, BlobdirError, NotADirectory, NotFoundError
from blobdir.index import DIRECTORY, LOOSE
from blobdir.opening import OpenOptions, open_tree

if TYPE_CHECKING:
    import os

    from blobdir.index import Defect
    from blobdir.tree import Tree

# What the SDK takes for an image among plain files; members of blobs are images whatever their name.
IMAGE_EXTENSIONS = frozenset((".jpg", ".jpeg", ".mpo", ".bmp", ".png", ".webp", ".tiff", ".tif", ".nrrd", ".jfif"))

ANNOTATIONS_AT_ONCE = 1000
"""Annotations that are in memory together."""

D_co = TypeVar("D_co", bound="DatasetView", covariant=True)


def open_view(root: str | os.PathLike[str], *, index: str = "none") -> ProjectView[DatasetView]:
    """Look at a project as it is now; by default whatever indexes of it are kept. See `blobdir.opening.open_tree`."""
    return ProjectView(open_tree(root, options=OpenOptions(index=index)))


class ProjectView(Mapping[str, D_co]):
    """A mapping of the datasets of a tree, by name.

    A nested dataset answers to its name, ``train/hard``, and to its path on disk, ``train/datasets/hard``; iteration
    gives names.
    """

    def __init__(self, tree: Tree) -> None:
        self._named: tuple[Tree, dict[str, str]] = tree, {}
        self._tree = tree

    @property
    def tree(self) -> Tree:
        """The view below."""
        return self._tree

    def _datasets(self) -> dict[str, str]:
        """Name -> path, of the tree as it is now."""
        tree, known = self._named
        if tree is not self.tree or not known:
            known = {layout.dataset_name(path): path for path in self.tree.index.header.datasets}
            self._named = self.tree, known
        return known

    def _dataset(self, path: str) -> D_co:
        return DatasetView(self.tree, path)  # type: ignore[return-value]  # who binds D_co to another class makes that

    @property
    def url(self) -> str:
        """Where the project is."""
        return self.tree.storage.url

    @property
    def defects(self) -> list[Defect]:
        """What isn't as it must be, and what it costs."""
        return self.tree.defects

    @property
    def meta(self) -> dict[str, Any]:
        """Content of ``meta.json``, with classes, tags and project type.

        Raises
        ------
        NotFoundError
            There is none.
        AnnotationError
            It isn't JSON.
        """
        return _read_json(self.tree, layout.META)

    def __getitem__(self, name: str) -> D_co:
        datasets = self._datasets()
        path = datasets.get(name, name)
        if path not in datasets.values():
            known = ", ".join(datasets) or "none"
            raise KeyError(f"{name!r} is no dataset of {self.url}; there are: {known}")
        return self._dataset(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets())

    def __len__(self) -> int:
        return len(self._datasets())

    def __contains__(self, name: object) -> bool:
        datasets = self._datasets()
        return name in datasets or name in datasets.values()


class DatasetView:
    """The images and annotations of one dataset.

    Attributes
    ----------
    name : str
        As in ``train/hard``.
    path : str
        As on disk, ``train/datasets/hard``.
    """

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        self.path = path
        self.name = layout.dataset_name(path)
        self._images = layout.join(path, layout.ITEMS)
        try:
            # Where there is no img/, the root's reader: it knows no image either.
            self._read = tree.reader(tree.find(self._images))
        except NotFoundError:
            self._read = tree.reader(0)

    @property
    def names(self) -> list[str]:
        """Names of the images, in the order of their bytes; those in folders as ``folder/name``.

        Raises
        ------
        IncompleteListingError
            An offsets pickle can't be read in full, so the list would be shorter than the truth.
        """
        try:
            root = self._tree.find(self._images)
        except NotFoundError:
            return []
        return [name for prefix, row in self._folders(root) for name in self._names_in(prefix, row)]

    def named(self, base: str) -> list[str]:
        """Names of the images that are called `base`, or that with an extension. O(log images), and those found.

        Raises
        ------
        IncompleteListingError
        """
        head, _, last = base.rpartition("/")
        try:
            row = self._tree.find(layout.join(self._images, head))
            children = self._tree.children(row)
        except (NotFoundError, NotADirectory):
            return []
        prefix, name, index = f"{head}/" if head else "", last.encode("utf-8", "surrogateescape"), self._tree.index
        first = bisect_left(children, name + b".", key=index.name)
        end = bisect_left(children, name + b"/", lo=first, key=index.name)  # "/" is the byte after "."
        found = self._images_in(children.start + first, children.start + end)
        exact = index.lookup(row, name)
        if exact >= 0:
            found = self._images_in(exact, exact + 1) + found
        return [prefix + n for n in found if n == last or splitext(n)[0] == last]

    def _folders(self, root: int) -> Iterator[tuple[str, int]]:
        base = len(self._tree.path(root)) + 1
        for row in self._tree.index.walk(root):
            path = self._tree.path(row)[base:]
            yield f"{path}/" if path else "", row

    def _names_in(self, prefix: str, row: int) -> list[str]:
        rows = self._tree.children(row)
        names = self._images_in(rows.start, rows.stop)
        return [prefix + name for name in names] if prefix else names

    def _images_in(self, first: int, end: int) -> list[str]:
        """Names of the images among the rows ``first:end`` of one folder, without that."""
        names, sources = self._tree.index.names_text(first, end), self._tree.index.source[first:end]
        if (sources > LOOSE).all():
            return names
        return [
            name
            for name, source in zip(names, sources.tolist(), strict=True)
            if source != DIRECTORY and (source != LOOSE or splitext(name)[1].lower() in IMAGE_EXTENSIONS)
        ]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name:
            return False
        try:
            return not self._tree.is_directory(self._tree.find(f"{self._images}/{name}"))
        except OSError:
            return False

    def get_blob_img_bytes(self, name: str) -> bytes:
        """Bytes of an image as they are stored, of a blob or a plain file.

        Raises
        ------
        NotFoundError
        ShortReadError, ReadError
            The blob is truncated, missing, or doesn't fit its offsets.
        """
        try:
            data = self._read(name.encode())
        except UnicodeEncodeError:  # a name that isn't UTF-8
            data = None
        if data is not None:
            return data
        return self._tree.read(self._tree.find(f"{self._images}/{name}"))

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Bytes of many images, in the order of `names`; neighbours in a blob are read together."""
        prefix = self._images + "/"
        return self._tree.read_many(self._tree.find_many([prefix + name for name in names]))

    def annotation(self, name: str) -> dict[str, Any]:
        """Annotation of an image: ``ann/<name>.json``, or by its legacy name ``ann/<stem>.json``.

        Raises
        ------
        NotFoundError
            There is neither.
        AnnotationError
            It isn't JSON.
        """
        return _read_json(self._tree, self.annotation_path(name))

    def read_annotations(self, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """Name and annotation of many images; None where there is none, or it isn't JSON. Files are read together."""
        for low in range(0, len(names), ANNOTATIONS_AT_ONCE):
            part = names[low : low + ANNOTATIONS_AT_ONCE]
            rows: dict[str, int] = {}
            for name in part:
                with suppress(NotFoundError):
                    rows[name] = self._tree.find(self.annotation_path(name))
            contents = self._contents(rows)
            for name in part:
                try:
                    value = json.loads(contents[name])
                except (KeyError, ValueError):
                    value = None
                yield name, value if isinstance(value, dict) else None

    def _contents(self, rows: dict[str, int]) -> dict[str, bytes]:
        """Contents of the rows that can be read."""
        try:
            return dict(zip(rows, self._tree.read_many(list(rows.values())), strict=True))
        except BlobdirError:
            found = {}
            for name, row in rows.items():
                with suppress(BlobdirError):
                    found[name] = self._tree.read(row)
            return found

    def annotation_path(self, name: str) -> str:
        """Path of an image's annotation in the project; NotFoundError where there is none."""
        folder = layout.join(self.path, layout.ANNOTATIONS)
        paths = [f"{folder}/{name}.json", f"{folder}/{splitext(name)[0]}.json"]
        for path in paths:
            try:
                self._tree.find(path)
            except NotFoundError:
                continue
            return path
        raise NotFoundError(f"{name}: has no annotation: neither {paths[0]} nor {paths[1]} exists")


def _read_json(tree: Tree, path: str) -> dict[str, Any]:
    data = tree.read(tree.find(path))
    try:
        value = json.loads(data)
    except ValueError as error:
        raise AnnotationError(f"{path}: isn't JSON: {error}") from error
    if not isinstance(value, dict):
        raise AnnotationError(f"{path}: holds a {type(value).__name__}, not an object")
    return value
