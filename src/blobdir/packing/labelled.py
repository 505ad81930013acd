"""Other people's labels as a source of packing: what they say of each image becomes its annotation."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from posixpath import basename
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery import layout
from blobdir.errors import AnnotationError, NotAProjectError
from blobdir.jsontext import write_json
from blobdir.labels.detecting import chosen
from blobdir.labels.files import Images, LabelFiles, is_image
from blobdir.labels.formats import FORMATS
from blobdir.labels.measures import measured
from blobdir.labels.model import remarks
from blobdir.labels.supervisely import KEPT, Classes, digest, objects_of, tag
from blobdir.packing.listing import DatasetItems, Listing
from blobdir.packing.report import Problem, no_size
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.labels.model import Category, Labels, Picture, Thing
    from blobdir.packing.plain import MetaBuilder
    from blobdir.packing.report import PackOptions, PackReport

_SHOWN: Final = 5


@dataclass(slots=True)
class LabelSource:
    """What a project is made of besides images.

    Attributes
    ----------
    labels : Labels
    classes : Classes
    splits : dict
        Path of each dataset -> its split.
    objects : int
        That were written.
    """

    labels: Labels
    classes: Classes
    splits: dict[str, str] = field(default_factory=dict)
    objects: int = 0

    def declare(self, meta: MetaBuilder) -> None:
        """Have all classes in ``meta.json``, those without objects too."""
        for category in self.labels.categories:
            color = category.kept.get("color")
            meta.declare(category.name, color if isinstance(color, str) else "", self.classes.config(category.name))

    def content_of(self, dataset: str) -> bytes:
        """Content of a dataset's `blobdir.labels.supervisely.SOURCE`."""
        value: dict[str, Any] = {"format": self.labels.format}
        value["categories"] = [_category(category) for category in self.labels.categories]
        if self.classes.titles:
            value["classes"] = {title: name for (name, _), title in self.classes.titles.items()}
        if kept := self.labels.kept.get(self.splits.get(dataset, "")) or self.labels.kept.get(""):
            value["file"] = kept
        try:
            return write_json(value)
        except AnnotationError:  # NaN in what a file says of itself
            return write_json(value | {"file": {}, "categories": [_numbered(one) for one in self.labels.categories]})


def _numbered(category: Category) -> dict[str, Any]:
    return {"name": category.name, "id": category.id}


class Labelled:
    """The labels of one image, made into an annotation when it's written."""

    __slots__ = ("_picture", "_source")

    def __init__(self, picture: Picture, source: LabelSource) -> None:
        self._picture, self._source = picture, source

    def annotation(
        self, name: str, found: tuple[int, int] | str, report: PackReport
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The annotation, and what goes into ``meta/<image>.json``, if anything does.

        Parameters
        ----------
        name : str
            Of the image, in the dataset.
        found : tuple of int or str
            Width and height as it's shown, or why that isn't known.
        report : PackReport
            Told of what is wrong.
        """
        picture = self._picture
        width, height = self._size(found, report)
        objects: list[dict[str, Any]] = []
        kept: dict[str, Any] = {}
        taken: set[str] = set()

        def complain(code: str, text: str) -> None:
            where, _, what = text.partition(": ")
            report.problems.append(Problem(code, where, what))

        for index, thing in enumerate(picture.read(width, height, complain)):
            for code, text in remarks(thing, width, height) if width and height else ():
                report.problems.append(Problem(code, picture.where, f"{picture.path}: {text}"))
            key = self._key(thing, index, taken)
            items = objects_of(thing, key, self._source.classes)
            objects += items
            self._source.objects += 1
            if left := _left(thing, items):
                kept[key] = left
        annotation = {
            "description": "",
            "tags": [tag(label, value) for label, value in picture.tags],
            "size": {"height": height, "width": width},
            "objects": objects,
        }
        return annotation, self._writable(self._kept(name, kept), report)

    def _writable(self, kept: dict[str, Any], report: PackReport) -> dict[str, Any]:
        try:
            write_json(kept)
        except AnnotationError as error:
            text = f"{self._picture.path}: what its labels say besides {error}; that was left out"
            report.problems.append(Problem("label", self._picture.where, text))
            return {}
        return kept

    def _size(self, found: tuple[int, int] | str, report: PackReport) -> tuple[int, int]:
        known = self._picture.size
        if isinstance(found, str):
            if known is not None:
                text = f"its size can't be found out ({found}); the one that its labels say was written"
                report.problems.append(Problem("not-an-image", self._picture.path, text))
                return known
            report.problems.append(no_size(self._picture.path, found))
            return 0, 0
        if known is not None and known != found:
            turned = ", so they may be of the picture before it's turned as EXIF says" if known == found[::-1] else ""
            text = (
                f"has {found[0]} × {found[1]} pixels as it's shown, and its labels ({self._picture.where}) are of "
                f"{known[0]} × {known[1]}{turned}"
            )
            report.problems.append(Problem("label-size", self._picture.path, text))
        return found

    def _key(self, thing: Thing, index: int, taken: set[str]) -> str:
        """What tells an object from others of its image, where the annotation must say so."""
        if thing.id is None and len(thing.shapes) == 1 and not thing.kept:
            return ""
        kind = self._source.labels.format
        key = f"{kind}-{thing.id}" if thing.id is not None else f"{kind}-n{index}"
        while key in taken:
            key += "'"
        taken.add(key)
        return key

    def _kept(self, name: str, objects: dict[str, Any]) -> dict[str, Any]:
        image = dict(self._picture.kept)
        if image.get("file_name") == name:
            del image["file_name"]
        value = {"format": self._source.labels.format} | ({"image": image} if image else {})
        if objects:
            value["objects"] = objects
        return {KEPT: value} if len(value) > 1 else {}


def _left(thing: Thing, items: list[dict[str, Any]]) -> dict[str, Any]:
    """What of an object can't be told from its annotation."""
    left = dict(thing.kept)
    if not left:
        return left
    known = measured(thing.shapes)
    for key in ("area", "bbox"):
        if key in left and left[key] == known.get(key):
            del left[key]
    if "area" in left or "bbox" in left:
        left["of"] = digest(items)
    return left


def _category(category: Category) -> dict[str, Any]:
    value: dict[str, Any] = {"name": category.name, "id": category.id}
    if category.parent is not None:
        value["supercategory"] = category.parent
    if category.keypoints:
        value["keypoints"] = list(category.keypoints)
        value["skeleton"] = [[a + 1, b + 1] for a, b in category.edges]
    return category.kept | value


def list_labelled(root: str, options: PackOptions) -> Listing:
    """Look at a folder of images and labels.

    Raises
    ------
    NotAProjectError
        There is no such folder.
    LabelError
        A file that has the labels of many images can't be read.
    UsageError
        Which labels there are can't be told.
    """
    listing = Listing(root, options.follow_links)
    sizes: dict[str, tuple[int, int]] = {}
    paths: list[str] = []
    todo = [""]
    while todo:
        folder = todo.pop()
        content = listing.scan(folder)
        todo += [layout.join(folder, name) for name in reversed(content.folders)]
        for name, size, stamp in zip(content.names, content.sizes, content.stamps, strict=True):
            path = layout.join(folder, name)
            paths.append(path)
            if is_image(name):
                sizes[path] = size, stamp
    files = LabelFiles(root, paths) if not options.labels_from else _elsewhere(options.labels_from)
    kind = FORMATS[chosen(options.labels, files)]
    images = Images(sorted(sizes))
    labels = kind.read(files, images)
    listing.problems += [Problem(*problem) for problem in labels.problems]
    said = {problem.path for problem in listing.problems}
    for path in sorted(files.unread.keys() - said):
        listing.problems.append(Problem("label", path, f"can't be read, and may have labels: {files.unread[path]}"))
    source = LabelSource(labels, Classes({category.name: category for category in labels.categories}))
    listing.labelled = source
    _take(listing, source, sizes, options)
    _name_the_others(listing, labels, sizes)
    return listing


def _elsewhere(path: str) -> LabelFiles:
    if not os.path.exists(path):
        raise NotAProjectError(f"{path}: there is no such file or folder of labels")
    return LabelFiles.below(path)


def _take(listing: Listing, source: LabelSource, sizes: dict[str, tuple[int, int]], options: PackOptions) -> None:
    """Have each image that labels name in the dataset of its split."""
    found: dict[str, DatasetItems] = {}
    top = basename(listing.root) or "images"
    for picture in source.labels.pictures:
        name = options.dataset or picture.split or top
        place = layout.dataset_place(name) or name
        items = found.setdefault(place, DatasetItems(place, listing.root))
        source.splits.setdefault(place, picture.split)
        size, stamp = sizes[picture.path]
        items.add(picture.path, basename(picture.path), size, stamp)
        items.tags.append(())
        items.annotations.append(Labelled(picture, source))
    listing.datasets = [found[place] for place in sorted(found)]
    listing.found = sum(len(items.names) for items in listing.datasets)


def _name_the_others(listing: Listing, labels: Labels, sizes: dict[str, tuple[int, int]]) -> None:
    """Say which images no label file names; masks that go with labels are no images."""
    named = {picture.path for picture in labels.pictures}
    others = [path for path in sizes if path not in named and not _is_mask(path)]
    if not others:
        return
    shown = ", ".join(sorted(others)[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
    count = counted(len(others), "image that no label file names wasn't", "images that no label file names weren't")
    listing.problems.append(Problem("label-unnamed", ".", f"{count} packed: {shown}"))
    listing.found += len(others)


def _is_mask(path: str) -> bool:
    return not {"SegmentationClass", "SegmentationObject"}.isdisjoint(path.split("/"))
