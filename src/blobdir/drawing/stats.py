"""What a project holds, counted."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.annotations import classes_of, size_fault, tags_of
from blobdir.datasets import read_meta, said
from blobdir.discovery import layout
from blobdir.drawing.palette import Looks, color_faults
from blobdir.drawing.shapes import ShapeError, read_shape
from blobdir.errors import AnnotationError, BlobdirError, IncompleteListingError
from blobdir.index import BROKEN
from blobdir.packing import Problem
from blobdir.ranges import total_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from blobdir.project import Dataset, Project
    from blobdir.tree import Tree

AREAS_SMALLEST: Final = -6
"""Logarithm of the part of an image from which on areas are told apart."""
AREAS_PER_DECADE: Final = 4


@dataclass(slots=True)
class DatasetStats:
    """Counts of one dataset.

    Attributes
    ----------
    images, image_bytes : int
    smallest, median, largest : int
        Bytes of an image.
    formats : dict
        Extension -> images.
    annotated, objects : int
    unusable : int
        Annotations that can't be read, or aren't annotations: what is in them isn't counted.
    classes : dict
        Class -> objects.
    tags : dict
        Tag -> images and objects that have it.
    sizes : dict
        ``1920x1080`` -> images whose annotation has this size.
    unsized : int
        Images whose size isn't known, for want of an annotation that has it.
    objects_per_image : dict
        Objects -> annotated images that have so many.
    areas : dict
        Objects by the part of the image that they cover, where that was measured: column *n* counts those from
        ``10 ** (AREAS_SMALLEST + n / AREAS_PER_DECADE)`` on, the first one smaller ones too.
    """

    images: int = 0
    image_bytes: int = 0
    smallest: int = 0
    median: int = 0
    largest: int = 0
    formats: dict[str, int] = field(default_factory=dict)
    annotated: int = 0
    objects: int = 0
    unusable: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    unsized: int = 0
    objects_per_image: dict[int, int] = field(default_factory=dict)
    areas: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Stats:
    """Counts of a project.

    Attributes
    ----------
    datasets : dict
        Name -> its counts.
    problems : list of Problem
        Images, annotations and a ``meta.json`` that can't be used, and folders that can't be listed: something isn't
        counted.
    """

    datasets: dict[str, DatasetStats] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def total(self, what: str) -> Counter[str]:
        """Sum of ``classes``, ``tags``, ``formats`` or ``sizes`` over all datasets."""
        found: Counter[str] = Counter()
        for dataset in self.datasets.values():
            found.update(getattr(dataset, what))
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def collect_stats(project: Project, *, strict: bool = False, areas: bool = False) -> Stats:
    """Count images, sizes, formats, objects, classes and tags of every dataset.

    Parameters
    ----------
    project : Project
    strict : bool
        Whether the first image, annotation or ``meta.json`` that can't be used, or folder that may hold datasets and
        can't be listed, is an error; if not, the result names them all.
    areas : bool
        Whether areas of objects are measured, and colours of classes looked at, as charts need it; it takes longer:
        masks are decoded.

    Raises
    ------
    AnnotationError, NotFoundError, LinkError, ReadError
        With `strict`.
    IncompleteListingError
        The images of a dataset aren't all known; with `strict`, the datasets aren't.
    """
    meta, faults = known_meta(project, strict=strict)
    colors = color_problems(meta) if areas else []
    stats = Stats(problems=[*unseen_datasets(project, strict=strict), *faults, *colors])
    for name in project:
        stats.datasets[name] = _count(project, project[name], stats.problems, strict=strict, areas=areas)
    return stats


def unseen_datasets(project: Project, *, strict: bool) -> list[Problem]:
    """Why datasets may be missing from what goes through all of them; with `strict`, that is an error."""
    found = project.unseen()
    if strict and found:
        raise IncompleteListingError(f"{found[0].message} (--strict)")
    return [Problem("unseen", it.path or "/", it.message.removeprefix(f"{it.path}: ")) for it in found]


def known_meta(project: Project, *, strict: bool) -> tuple[dict[str, Any], list[Problem]]:
    """Content of ``meta.json``, and why its classes can't be known; with `strict`, that is an error."""
    meta, fault = read_meta(project.tree)
    if strict and fault:
        raise AnnotationError(f"{layout.META}: {fault} (--strict)")
    return meta, [Problem("meta", layout.META, fault)] if fault else []


def color_problems(meta: dict[str, Any]) -> list[Problem]:
    """Colours of classes that can't be drawn: others take their place, so nothing is missing."""
    return [Problem("color", layout.META, fault) for fault in color_faults(meta)]


def _usable(
    project: Project, dataset: Dataset, problems: list[Problem], *, strict: bool
) -> tuple[list[str], NDArray[np.int64]]:
    """Names and sizes of a dataset's images, but for those that can't be read, such as links that lead out."""
    tree, names = project.tree, dataset.names
    paths = [f"{dataset.path}/img/{name}" for name in names]
    try:
        rows: list[int | None] = [*tree.find_many(paths).tolist()]
    except (OSError, BlobdirError):  # one by one, to know which
        rows = [None] * len(paths)
    usable, sizes = [], []
    for name, path, row in zip(names, paths, rows, strict=True):
        try:
            size = _size(tree, tree.find(path) if row is None else row, path)
        except (OSError, BlobdirError) as error:
            if strict:
                raise
            problems.append(Problem("image", path, said(error).removeprefix(f"{path}: ")))
            continue
        usable.append(name)
        sizes.append(size)
    return usable, np.array(sizes, np.int64)


def _size(tree: Tree, row: int, path: str) -> int:
    """Bytes of an image; an error where a defect of that image alone makes it unreadable."""
    index = tree.index
    if index.source[row] == BROKEN and index.header.defects[int(index.offset[row])].path == path:
        tree.open(row)  # says why
    return tree.size(row)


def _count(project: Project, dataset: Dataset, problems: list[Problem], *, strict: bool, areas: bool) -> DatasetStats:
    found = DatasetStats()
    looks = Looks(read_meta(project.tree)[0]) if areas else None
    names, sizes = _usable(project, dataset, problems, strict=strict)
    if not names:
        return found
    found.images, found.image_bytes = len(names), total_of(sizes)
    found.smallest, found.median, found.largest = int(sizes.min()), int(np.median(sizes)), int(sizes.max())
    found.formats = dict(Counter(splitext(name)[1].lower() or "none" for name in names).most_common())
    classes: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    pixels: Counter[str] = Counter()
    objects: Counter[int] = Counter()
    parts: Counter[int] = Counter()
    for one in dataset.annotations(names):
        if one.fault:
            if strict:
                raise AnnotationError(f"{one.path}: {one.fault} (--strict)")
            problems.append(Problem("unreadable", one.path, one.fault))
            found.unusable += 1
        elif one.value is not None:
            titles = classes_of(one.value)
            found.annotated += 1
            found.objects += len(titles)
            classes.update(titles)
            tags.update(tags_of(one.value))
            objects[len(titles)] += 1
            if size_fault(one.value):
                continue
            width, height = one.value["size"]["width"], one.value["size"]["height"]
            pixels[f"{width}x{height}"] += 1
            if looks:
                parts.update(_areas(one.value, looks, width * height))
    found.classes, found.tags = dict(classes.most_common()), dict(tags.most_common())
    found.sizes, found.unsized = dict(pixels.most_common()), len(names) - pixels.total()
    found.objects_per_image, found.areas = dict(sorted(objects.items())), dict(sorted(parts.items()))
    return found


def _areas(annotation: dict[str, Any], looks: Looks, pixels: int) -> Iterator[int]:
    """The column of `DatasetStats.areas` of each object that has an area."""
    last = -AREAS_SMALLEST * AREAS_PER_DECADE - 1
    for item in annotation["objects"]:
        try:
            area = read_shape(item, looks[item["classTitle"]]).area()
        except ShapeError:
            continue
        if area > 0:
            yield min(max(math.floor((math.log10(area / pixels) - AREAS_SMALLEST) * AREAS_PER_DECADE), 0), last)
