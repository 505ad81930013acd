"""What a project holds, counted; and the counts as bars."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blobdir.drawing.shapes import class_colors
from blobdir.errors import BlobdirError

if TYPE_CHECKING:
    from blobdir.project import Dataset, Project

BATCH = 2000
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
    classes: dict[str, int] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Stats:
    """Counts of a project: dataset -> its own."""

    datasets: dict[str, DatasetStats] = field(default_factory=dict)

    def total(self, what: str) -> Counter[str]:
        """Sum of ``classes``, ``tags`` or ``formats`` over all datasets."""
        found: Counter[str] = Counter()
        for dataset in self.datasets.values():
            found.update(getattr(dataset, what))
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def collect_stats(project: Project) -> Stats:
    """Count images, sizes, formats, objects, classes and tags of every dataset."""
    return Stats({name: _count(project, project[name]) for name in project})


def _count(project: Project, dataset: Dataset) -> DatasetStats:
    found, tree, names = DatasetStats(), project.tree, dataset.names
    if not names:
        return found
    rows = tree.find_many([f"{dataset.path}/img/{name}" for name in names])
    sizes = np.array([tree.size(row) for row in rows.tolist()], np.int64)
    found.images, found.image_bytes = len(names), int(sizes.sum())
    found.smallest, found.median, found.largest = int(sizes.min()), int(np.median(sizes)), int(sizes.max())
    found.formats = dict(Counter(splitext(name)[1].lower() or "none" for name in names).most_common())
    classes: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    for at in range(0, len(names), BATCH):
        for annotation in _annotations(project, dataset, names[at : at + BATCH]):
            found.annotated += 1
            objects = annotation.get("objects", [])
            found.objects += len(objects)
            classes.update(str(item.get("classTitle")) for item in objects)
            tags.update(str(tag.get("name")) for holder in (annotation, *objects) for tag in holder.get("tags", []))
    found.classes, found.tags = dict(classes.most_common()), dict(tags.most_common())
    return found


def _annotations(project: Project, dataset: Dataset, names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for name in names:
        try:
            rows.append(project.tree.find(dataset.annotation_path(name)))
        except BlobdirError:
            continue
    found = []
    for data in project.tree.read_many(rows):
        try:
            value = json.loads(data)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def draw_stats(project: Project, stats: Stats) -> Image.Image:
    """Bars: images by dataset, objects by class, tags, formats; the twenty longest of each."""
    try:
        colors = class_colors(project.meta)
    except BlobdirError:
        colors = {}
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
            label = name.encode("utf-8", "replace").decode()
            while label and draw.textlength(label, font=font) > _LEFT - 20:
                label = label[:-2] + "…" if len(label) > 2 else ""
            draw.text((_LEFT - 10 - draw.textlength(label, font=font), y + 1), label, fill=_INK, font=font)
            end = _LEFT + max(1, (_WIDTH - _LEFT - 110) * count // most)
            draw.rectangle((_LEFT, y + 2, end, y + _ROW - 3), fill=chosen.get(name, _BAR), outline=_INK)
            draw.text((end + 6, y + 1), f"{count:,}", fill=_INK, font=font)
            y += _ROW
        y += _ROW - 4
    return picture
