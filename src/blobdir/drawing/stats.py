"""What a project holds, counted; and the counts as bars."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blobdir.annotations import classes_of, tags_of
from blobdir.datasets import read_meta, said
from blobdir.discovery import layout
from blobdir.drawing.shapes import class_colors, one_line
from blobdir.errors import AnnotationError, BlobdirError, IncompleteListingError
from blobdir.index import BROKEN
from blobdir.packing import Problem
from blobdir.ranges import total_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.project import Dataset, Project
    from blobdir.tree import Tree

_WIDTH, _ROW, _LEFT = 900, 20, 260
_BAR, _INK, _PAPER = (70, 110, 180), (20, 20, 20), (255, 255, 255)


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
        """Sum of ``classes``, ``tags`` or ``formats`` over all datasets."""
        found: Counter[str] = Counter()
        for dataset in self.datasets.values():
            found.update(getattr(dataset, what))
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def collect_stats(project: Project, *, strict: bool = False) -> Stats:
    """Count images, sizes, formats, objects, classes and tags of every dataset.

    Parameters
    ----------
    project : Project
    strict : bool
        Whether the first image, annotation or ``meta.json`` that can't be used, or folder that may hold datasets and
        can't be listed, is an error; if not, the result names them all.

    Raises
    ------
    AnnotationError, NotFoundError, LinkError, ReadError
        With `strict`.
    IncompleteListingError
        The images of a dataset aren't all known; with `strict`, the datasets aren't.
    """
    stats = Stats(problems=[*unseen_datasets(project, strict=strict), *known_meta(project, strict=strict)[1]])
    for name in project:
        stats.datasets[name] = _count(project, project[name], stats.problems, strict=strict)
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


def _count(project: Project, dataset: Dataset, problems: list[Problem], *, strict: bool) -> DatasetStats:
    found = DatasetStats()
    names, sizes = _usable(project, dataset, problems, strict=strict)
    if not names:
        return found
    found.images, found.image_bytes = len(names), total_of(sizes)
    found.smallest, found.median, found.largest = int(sizes.min()), int(np.median(sizes)), int(sizes.max())
    found.formats = dict(Counter(splitext(name)[1].lower() or "none" for name in names).most_common())
    classes: Counter[str] = Counter()
    tags: Counter[str] = Counter()
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
    found.classes, found.tags = dict(classes.most_common()), dict(tags.most_common())
    return found


def draw_stats(project: Project, stats: Stats) -> Image.Image:
    """Bars: images by dataset, objects by class, tags, formats; the twenty longest of each."""
    colors = class_colors(read_meta(project.tree)[0])
    groups: list[tuple[str, list[tuple[str, int]], dict[str, tuple[int, int, int]]]] = [
        ("Images by dataset", [(name, one.images) for name, one in stats.datasets.items()], {}),
        ("Objects by class", stats.total("classes").most_common(), colors),
        ("Tags", stats.total("tags").most_common(), {}),
        ("Formats", stats.total("formats").most_common(), {}),
    ]
    groups = [(title, bars[:20], chosen) for title, bars, chosen in groups if bars]
    height = sum(_ROW * (len(bars) + 2) for _, bars, _ in groups) + _ROW
    picture = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    y = _ROW // 2
    for title, bars, chosen in groups:
        draw.text((10, y), title, fill=_INK, font=ImageFont.load_default(15))
        y += _ROW + 4
        most = max(1, *(count for _, count in bars))
        for name, count in bars:
            label = one_line(name)
            while label and draw.textlength(label, font=font) > _LEFT - 20:
                label = label[:-2] + "…" if len(label) > 2 else ""
            draw.text((_LEFT - 10 - draw.textlength(label, font=font), y + 1), label, fill=_INK, font=font)
            end = _LEFT + max(1, (_WIDTH - _LEFT - 110) * count // most)
            draw.rectangle((_LEFT, y + 2, end, y + _ROW - 3), fill=chosen.get(name, _BAR), outline=_INK)
            draw.text((end + 6, y + 1), f"{count:,}", fill=_INK, font=font)
            y += _ROW
        y += _ROW - 4
    return picture
