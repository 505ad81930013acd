"""The datasets of a tree: images and annotations by name. What projects are, without a filesystem around them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from posixpath import splitext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from blobdir.annotations import annotation_fault, meta_problems, read_object
from blobdir.discovery import DiscoveryOptions, layout
from blobdir.discovery.given import IS_TAR
from blobdir.errors import (
    AnnotationError,
    BlobdirError,
    IncompleteListingError,
    IsADirectory,
    LinkError,
    NotADirectory,
    NotAProjectError,
    NotFoundError,
    ReadOnlyError,
    UsageError,
)
from blobdir.filenames import is_image_name, is_left_anywhere
from blobdir.index import BROKEN, DIRECTORY, LINK, LOOSE
from blobdir.opening import OpenOptions, open_tree
from blobdir.sources.storage import UNCHANGEABLE, on_this_machine
from blobdir.wording import near

if TYPE_CHECKING:
    import os

    from blobdir.index import Defect
    from blobdir.tree import Tree

ANNOTATIONS_AT_ONCE = 1000
"""Annotations that are in memory together."""

D_co = TypeVar("D_co", bound="DatasetView", covariant=True)


class AnnotationFile(NamedTuple):
    """The bytes of an image's annotation, not looked at yet.

    Attributes
    ----------
    name, path : str
        As of `Annotated`.
    data : bytes or None
        None where there is none, or it can't be read.
    fault : str
        Why it can't be read, if it may be there.
    """

    name: str
    path: str
    data: bytes | None
    fault: str


class Annotated(NamedTuple):
    """What is known of an image's annotation.

    Attributes
    ----------
    name : str
        Of the image.
    path : str
        Of the annotation, in the project; empty where there is none.
    value : dict or None
        Its content; None where there is none, or it isn't an object at all.
    fault : str
        Why its classes and tags can't be known, in words of the format; empty where they can, or there is none.
    """

    name: str
    path: str
    value: dict[str, Any] | None
    fault: str


def open_view(
    root: str | os.PathLike[str], *, index: str = "none", follow_links: bool = False
) -> ProjectView[DatasetView]:
    """Look at a project as it is now; by default whatever indexes of it are kept. See `blobdir.opening.open_tree`."""
    options = OpenOptions(discovery=DiscoveryOptions(follow_links=follow_links), index=index)
    return ProjectView(open_tree(root, options=options))


def refuse_tars(tree: Tree) -> None:
    """Refuse tars where datasets are wanted: NotAProjectError."""
    if not tree.lies_there:
        raise NotAProjectError(f"{tree.url}: {IS_TAR}")


def changeable_root(tree: Tree) -> str:
    """The folder of a project that may be changed; ReadOnlyError where it's elsewhere, or tars are all there is."""
    if not tree.lies_there:
        raise ReadOnlyError(f"{tree.url}: {IS_TAR}")
    return on_this_machine(tree.storage, UNCHANGEABLE, ReadOnlyError).root


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
        return self._names_of(self.tree)

    def _names_of(self, tree: Tree) -> dict[str, str]:
        of, known = self._named
        if of is not tree or not known:
            known = {name: path for path, name in tree.dataset_names.items()}
            self._named = tree, known
        return known

    def _dataset(self, tree: Tree, path: str) -> D_co:
        return DatasetView(tree, path)  # type: ignore[return-value]  # who binds D_co to another class makes that

    @property
    def url(self) -> str:
        """Where the project is."""
        return self.tree.url

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
        tree = self.tree
        datasets = self._names_of(tree)
        path = datasets.get(name, name)
        if path not in tree.dataset_names:
            self._check_seen(name)
            others = near(name, list(datasets), "there are:", "there is none")
            raise KeyError(f"{name!r} is no dataset of {self.url}; {others}")
        return self._dataset(tree, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets())

    def __len__(self) -> int:
        return len(self._datasets())

    def __contains__(self, name: object) -> bool:
        tree = self.tree
        if name in self._names_of(tree) or name in tree.dataset_names:
            return True
        if isinstance(name, str):
            self._check_seen(name)
        return False

    def chosen(self, name: str) -> D_co:
        """The dataset that somebody has asked for, by name or path.

        Raises
        ------
        UsageError
            There is none.
        IncompleteListingError
            It may be in a folder that can't be listed.
        """
        if name not in self:
            raise no_dataset(name, self)
        return self[name]

    def all_chosen(self, names: Iterable[str]) -> list[D_co]:
        """The datasets that somebody has asked for, each once, in their order; by any of its names, once or more."""
        found = {(dataset := self.chosen(name)).path: dataset for name in names}
        return list(found.values())

    def _check_seen(self, name: str) -> None:
        """Raise IncompleteListingError where a dataset that isn't seen may be there."""
        if why := self.why_unseen(name):
            raise IncompleteListingError(
                f"{name}: isn't among the datasets that could be listed, and may be among the others: {why}"
            )

    def why_unseen(self, dataset: str = "") -> str:
        """Why a dataset of this name or path, or any at all, may be there and not be seen; empty where it can't be."""
        header = self.tree.index.header
        for folder, numbers in self._unlisted():
            if not dataset or layout.may_be_in(folder, dataset):
                return "; ".join(header.defects[number].message for number in numbers)
        return ""

    def unseen(self) -> list[Defect]:
        """Why datasets may be there that aren't seen: who goes through all of them has to say so."""
        defects = self.tree.index.header.defects
        return [defects[number] for number in sorted({n for _, numbers in self._unlisted() for n in numbers})]

    def _unlisted(self) -> Iterator[tuple[str, list[int]]]:
        """Folders that aren't listed in full and may hold datasets, with the numbers of the defects."""
        header = self.tree.index.header
        for folder, numbers in header.incomplete.items():
            if layout.may_hold_datasets(folder, header.datasets):
                yield folder, numbers


def no_dataset(name: str, known: Iterable[str]) -> UsageError:
    """Somebody has asked for a dataset that isn't there."""
    return UsageError(f"{name}: isn't a dataset; {near(name, [*known], 'there are', 'there is none')}")


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
        self.name = tree.dataset_names.get(path) or layout.dataset_name(path)
        self._images = layout.join(path, layout.ITEMS)
        self._annotations = layout.join(path, layout.ANNOTATIONS)
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
        if (sources >= BROKEN).all():
            return names
        return [
            name
            for row, name, source in zip(range(first, end), names, sources.tolist(), strict=True)
            if source >= BROKEN or (source != DIRECTORY and self._is_image(row, name, source))
        ]

    def _is_image(self, row: int, name: str, source: int) -> bool:
        """Whether a plain file, or a link, is an image; a link to a folder is none."""
        if not is_image_name(name):
            return False
        try:
            return source != LINK or not self._tree.is_directory(self._tree.follow(row))
        except OSError:  # it leads nowhere, or out: reading it says so
            return True

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name:
            return False
        try:
            return not self._tree.is_directory(self._tree.find(f"{self._images}/{name}"))
        except IncompleteListingError:
            raise  # nobody can know
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
        data = self._read(name)
        if data is not None:
            return data
        return self._tree.read(self._tree.find(f"{self._images}/{name}"))

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Bytes of many images, in the order of `names`; neighbours in a blob are read together."""
        prefix = self._images + "/"
        return self._tree.read_many(self._tree.find_many([prefix + name for name in names]))

    def sizes(self, names: Sequence[str]) -> list[int]:
        """Bytes of images; -1 where that isn't known, as of links that lead nowhere, which reading them says."""
        prefix = self._images + "/"
        paths = [prefix + name for name in names]
        try:
            rows = self._tree.find_many(paths)
        except (OSError, BlobdirError):  # one of them, so that each is tried
            return [self._size(path) for path in paths]
        found: list[int] = self._tree.index.size[rows].tolist()
        return found

    def _size(self, path: str) -> int:
        try:
            return int(self._tree.index.size[self._tree.find(path)])
        except (OSError, BlobdirError):
            return -1

    def no_images(self) -> Iterator[tuple[str, int]]:
        """Name and row of each plain file beside the images that isn't called like one; but what nobody put there."""
        try:
            root = self._tree.find(self._images)
        except NotFoundError:
            return
        for prefix, folder in self._folders(root):
            rows = self._tree.children(folder)
            sources = self._tree.index.source[rows.start : rows.stop]
            for row in (np.flatnonzero((sources < BROKEN) & (sources != DIRECTORY)) + rows.start).tolist():
                name = self._tree.path(row).rpartition("/")[2]
                if not is_image_name(name) and not is_left_anywhere(name):
                    yield prefix + name, row

    def annotation(self, name: str) -> dict[str, Any]:
        """Annotation of an image: ``ann/<name>.json``, or by its legacy name ``ann/<stem>.json``.

        Raises
        ------
        NotFoundError
            There is neither.
        LinkError
            It's a symbolic link that leads nowhere, out of the project or in circles.
        AnnotationError
            It isn't JSON.
        """
        return _read_json(self._tree, self.annotation_path(name))

    def read_annotations(self, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """Name and annotation of many images; None where there is none, or it can't be read or isn't an object.

        `annotations` says which of these it is.
        """
        return ((one.name, one.value) for one in self.annotations(names))

    def annotations(self, names: Sequence[str]) -> Iterator[Annotated]:
        """Annotations of many images, with what is wrong with those that can't be used. Files are read together."""
        for part in self.annotation_files(names):
            for name, path, data, fault in part:
                if data is None:
                    yield Annotated(name, path, None, fault)
                    continue
                try:
                    value = read_object(data)
                except AnnotationError as error:
                    yield Annotated(name, path, None, str(error))
                else:
                    yield Annotated(name, path, value, annotation_fault(value))

    def annotation_files(self, names: Sequence[str]) -> Iterator[list[AnnotationFile]]:
        """The files of these annotations, in lists of those that were read together."""
        unlisted: dict[str, str] = {}
        for low in range(0, len(names), ANNOTATIONS_AT_ONCE):
            part = names[low : low + ANNOTATIONS_AT_ONCE]
            found = self._find_together(part)
            faults: dict[str, str] = {}
            for name in () if found else part:
                try:
                    found[name] = self._find_annotation(name)
                except NotFoundError:
                    if fault := self._why_unlisted(name, unlisted):
                        faults[name] = fault
                except (OSError, BlobdirError) as error:
                    faults[name] = said(error)
            contents = self._contents({name: row for name, (_, row) in found.items()}, faults)
            files = []
            for name in part:
                path, fault = found[name][0] if name in found else "", faults.get(name, "")
                path = path or (self._annotation(name) if fault else "")
                files.append(AnnotationFile(name, path, contents.get(name), fault))
            yield files

    def loose_annotations(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Paths of these images' annotations, if each has one, called after its whole name, and all are loose files.

        The second path is that of the file itself, where links of the project lead to it.
        """
        found = self._find_together(names)
        rows = np.fromiter((row for _, row in found.values()), np.intp, len(found))
        if not (self._tree.index.source[rows] == LOOSE).all():
            return {}
        return {name: (path, self._tree.path(row)) for name, (path, row) in found.items()}

    def _annotation(self, name: str) -> str:
        return f"{self._annotations}/{name}.json"

    def _find_together(self, names: Sequence[str]) -> dict[str, tuple[str, int]]:
        """`_find_annotation` of many, if each is called after the whole name of its image, as nearly all are."""
        paths = [self._annotation(name) for name in names]
        try:
            rows = self._tree.find_many(paths).tolist()
        except (OSError, BlobdirError):
            return {}
        if any(map(self._tree.is_directory, rows)):  # which may be one of other images' annotations
            return {}
        return dict(zip(names, zip(paths, rows, strict=True), strict=True))

    def _why_unlisted(self, name: str, known: dict[str, str]) -> str:
        """Why an image may have an annotation that isn't seen: a folder where it could be isn't listed in full."""
        first = folder = self._annotation(name).rpartition("/")[0]
        while first not in known:
            try:
                self._tree.children(self._tree.find(folder))
            except IncompleteListingError as error:
                known[first] = f"may be there: {error}"
            except (OSError, BlobdirError):
                pass
            folder = folder.rpartition("/")[0]
            if folder == self.path:
                known.setdefault(first, "")
        return known[first]

    def _contents(self, rows: dict[str, int], faults: dict[str, str]) -> dict[str, bytes]:
        """Contents of the files that can be read; of the others why not."""
        try:
            return dict(zip(rows, self._tree.read_many(list(rows.values())), strict=True))
        except (OSError, BlobdirError):
            found = {}
            for name, row in rows.items():
                try:
                    found[name] = self._tree.read(row)
                except (OSError, BlobdirError) as error:
                    faults[name] = said(error)
            return found

    def annotation_path(self, name: str) -> str:
        """Path of an image's annotation in the project; raises as `annotation` does."""
        return self._find_annotation(name)[0]

    def _find_annotation(self, name: str) -> tuple[str, int]:
        folder = layout.join(self.path, layout.ANNOTATIONS)
        paths = [f"{folder}/{name}.json", f"{folder}/{splitext(name)[0]}.json"]
        for path in paths:
            try:
                row = self._tree.find(path)
            except (NotFoundError, NotADirectory) as error:
                if error.link:  # the annotation is somewhere, and not here
                    raise LinkError(str(error)) from error
                continue
            if not self._tree.is_directory(row) or not self._is_folder(self._images + path[len(folder) :]):
                return path, row
        raise NotFoundError(f"{name}: has no annotation: neither {paths[0]} nor {paths[1]} exists")

    def _is_folder(self, path: str) -> bool:
        """Whether images lie in a folder of this path, and so their annotations in one that is called alike."""
        with suppress(NotFoundError, NotADirectory):
            return self._tree.is_directory(self._tree.find(path))
        return False


def read_meta(tree: Tree) -> tuple[dict[str, Any], str]:
    """Content of ``meta.json``, and why classes and tags can't be known; where there is none, a defect says that.

    Tars have none: what is called so in them is a member as all others.
    """
    if not tree.lies_there:
        return {}, ""
    try:
        meta = _read_json(tree, layout.META)
    except NotFoundError as error:
        is_link = tree.index.lookup(tree.find(""), layout.META.encode()) >= 0  # that leads nowhere
        return {}, str(error).removeprefix(f"{layout.META}: ") if is_link else ""
    except (OSError, BlobdirError) as error:
        return {}, said(error).removeprefix(f"{layout.META}: ")
    problems = meta_problems(meta)
    return ({} if problems else meta), "; ".join(problems)


def said(error: Exception) -> str:
    """What an error says, where it is said of which file."""
    if isinstance(error, OSError) and not isinstance(error, BlobdirError):
        return f"can't be read: {error.strerror or error}"
    return str(error)


def _read_json(tree: Tree, path: str) -> dict[str, Any]:
    row = tree.find(path)
    if tree.is_directory(row):  # by a link, which has another name
        raise IsADirectory(f"{path}: is a directory")
    try:
        return read_object(tree.read(row))
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from error
