"""Other people's labels as a source of packing: what they say of each image becomes its annotation."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from posixpath import basename
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery import layout
from blobdir.errors import AnnotationError, NotAProjectError, UsageError
from blobdir.jsontext import write_json
from blobdir.labels.companions import is_mask_of_voc
from blobdir.labels.detecting import chosen
from blobdir.labels.files import LabelFiles
from blobdir.labels.finding import Images, is_image
from blobdir.labels.givenplace import NOT_GIVEN, Given, given_places, refused
from blobdir.labels.measures import measured
from blobdir.labels.mixing import Mixing
from blobdir.labels.model import is_told, remarks, told, without_nan
from blobdir.labels.reading import mixed_tags, read_labels
from blobdir.labels.runs import of_runs, places_of
from blobdir.labels.sizes import differ, shown, whole
from blobdir.labels.splitnames import is_split
from blobdir.labels.supervisely import KEPT, MEASURED, WITH_ATTRIBUTES, Classes, digest, objects_of, tag
from blobdir.packing.listing import DatasetItems, Listing
from blobdir.packing.report import Problem, no_size
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.model import Category, Labels, Picture, Thing, Value
    from blobdir.packing.plain import MetaBuilder
    from blobdir.packing.report import PackOptions, PackReport

NO_SPLIT: Final = "no_split"
"""Dataset of images of no split, where others have one and the folder is called like a split."""
_SHOWN: Final = 5


@dataclass(slots=True)
class LabelSource:
    """What a project is made of besides images.

    Attributes
    ----------
    labels : Labels
    classes : Classes
    splits : dict
        Path of each dataset -> its splits.
    mixed : set of str
        Tags that are texts, since not all of their values are of one kind.
    objects : int
        That were written.
    mixing : Mixing
        Told of all objects of each image.
    """

    labels: Labels
    classes: Classes
    splits: dict[str, list[str]] = field(default_factory=dict)
    mixed: set[str] = field(default_factory=set)
    objects: int = 0
    mixing: Mixing = field(default_factory=Mixing)

    def declare(self, meta: MetaBuilder) -> None:
        """Have all classes in ``meta.json``, those without objects too."""
        for category in self.labels.categories:
            color = category.kept.get("color")
            meta.declare(category.name, color if isinstance(color, str) else "", self.classes.config(category.name))

    def content_of(self, dataset: str) -> bytes:
        """Content of a dataset's `blobdir.labels.supervisely.SOURCE`."""
        value: dict[str, Any] = {"format": self.labels.format}
        value["categories"] = [_category(category) for category in self._categories(dataset)]
        if self.classes.titles:
            value["classes"] = {title: name for (name, _), title in self.classes.titles.items()}
        splits = self.splits.get(dataset, [""])
        if kept := _first(self.labels.kept, splits):
            value["file"] = kept
        return write_json(value | _first(self.labels.beside, splits))

    def _numbered(self, split: str) -> list[Category]:
        """Categories as the files of a split number them; where folders say the split, as the files of none do."""
        numbered = self.labels.numbered
        return numbered.get(split, numbered.get("", self.labels.categories))

    def _categories(self, dataset: str) -> Iterator[Category]:
        """Categories with the numbers that they have in a dataset's label files; of several splits, of the first."""
        known: set[tuple[str, str]] = set()
        used: set[int | str | None] = set()
        free = 1
        for split in self.splits.get(dataset, [""]):
            names = {name for name, _ in known}
            for category in self._numbered(split):
                if category.name in names:
                    continue
                known.add((category.name, split))
                found = category
                if category.id in used:
                    while free in used:  # it only grows: with all classes, the time grows with their number
                        free += 1
                    found = replace(category, id=free)
                used.add(found.id)
                yield found


def _first(said: dict[str, dict[str, Any]], splits: list[str]) -> dict[str, Any]:
    """What the label files of splits say of themselves, or those of all: of several, the first that says something."""
    return next((found for split in (*splits, "") if (found := said.get(split))), {})


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

        things = list(picture.read(width, height, complain))
        self._source.mixing.note(picture, things)
        for index, thing in enumerate(things):
            for code, text in remarks(thing, width, height) if width and height else ():
                report.problems.append(Problem(code, picture.where, f"{picture.path}: {text}"))
            left = self._left(thing)
            key = self._key(thing, index, taken, left)
            thing.attributes = {label: self._told(label, value) for label, value in thing.attributes.items()}
            items = objects_of(thing, key, self._source.classes)
            objects += items
            self._source.objects += 1
            if left:
                kept[key] = left | ({"of": digest(items)} if not MEASURED.isdisjoint(left) else {})
        annotation = {
            "description": "",
            "tags": [tag(label, self._told(label, value)) for label, value in picture.tags],
            "size": {"height": height, "width": width},
            "objects": objects,
        }
        return annotation, self._writable(self._kept(name, kept), report)

    def _told(self, label: str, value: Any) -> Value:
        return told(value, as_text=label in self._source.mixed)

    def _left(self, thing: Thing) -> dict[str, Any]:
        """What of an object can't be told from its annotation."""
        left = dict(thing.kept)
        if not MEASURED.isdisjoint(left):
            known = measured(thing.shapes)
            left = {key: value for key, value in left.items() if key not in known or value != known[key]}
        if self._source.labels.format in WITH_ATTRIBUTES:
            untold = {
                label: value
                for label, value in thing.attributes.items()
                if not is_told(value, self._told(label, value))
            }
            left |= {"attributes": untold} if untold else {}
        return left

    def _writable(self, kept: dict[str, Any], report: PackReport) -> dict[str, Any]:
        """What JSON can hold of what was kept; the rest is named."""
        found, lost = without_nan(kept)
        for place in lost:
            text = f"{self._picture.path}: what its labels say has NaN, which JSON hasn't, at {place}; it was left out"
            report.problems.append(Problem("label", self._picture.where, text))
        try:
            write_json(found)
        except AnnotationError as error:
            text = f"{self._picture.path}: what its labels say besides {error}; that was left out"
            report.problems.append(Problem("label", self._picture.where, text))
            return {}
        return found  # type: ignore[no-any-return]

    def _size(self, found: tuple[int, int] | str, report: PackReport) -> tuple[int, int]:
        known = self._picture.size
        if isinstance(found, str):
            if (said := whole(known)) is not None:
                text = f"its size can't be found out ({found}); the one that its labels say was written"
                report.problems.append(Problem("not-an-image", self._picture.path, text))
                return said
            report.problems.append(no_size(self._picture.path, found))
            return 0, 0
        if known is not None and differ(known, found):
            is_turned = found[0] != found[1] and not differ(known, found[::-1])
            turned = ", so they may be of the picture before it's turned as EXIF says" if is_turned else ""
            text = (
                f"has {found[0]} × {found[1]} pixels as it's shown, and its labels ({self._picture.where}) are of "
                f"{shown(known)}{turned}"
            )
            report.problems.append(Problem("label-size", self._picture.path, text))
        return found

    def _key(self, thing: Thing, index: int, taken: set[str], left: dict[str, Any]) -> str:
        """What tells an object from others of its image, where the annotation must say so."""
        if thing.id is None and len(thing.shapes) == 1 and not left:
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
        value |= self._picture.beside
        return {KEPT: value} if len(value) > 1 else {}


def _category(category: Category) -> dict[str, Any]:
    value: dict[str, Any] = {"name": category.name, "id": category.id}
    if category.parent is not None:
        value["supercategory"] = category.parent
    if category.keypoints:
        value["keypoints"] = list(category.keypoints)
        value["skeleton"] = [[a + 1, b + 1] for a, b in category.edges]
    if category.said:
        value["said"] = category.said
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
    runs = of_runs(paths)
    if not sizes.keys() <= runs.keys():
        _set_aside(runs, listing, sizes)
        paths = [path for path in paths if path not in runs]
    given = given_places(options.labels_from, root, sizes) if options.labels_from else NOT_GIVEN
    files = LabelFiles(root, paths) if not options.labels_from else _elsewhere(options.labels_from, root, given)
    files.images, files.image_root = sorted(sizes), root
    labels = read_labels(chosen(options.labels, files), files, Images(files.images, given=given))
    classes = Classes({category.name: category for category in labels.categories})
    source = LabelSource(labels, classes, mixing=Mixing(labels.pictures))
    listing.labelled = source
    _take(listing, source, sizes, options)
    source.mixed = mixed_tags(labels.pictures)
    listing.problems += [Problem(*problem) for problem in labels.problems]
    _name_the_others(listing, labels, sizes)
    return listing


def _set_aside(runs: dict[str, str], listing: Listing, sizes: dict[str, tuple[int, int]]) -> None:
    """Leave out what programs wrote, and say so; where all images are of runs, they are meant."""
    for place, count in sorted(places_of(runs).items()):
        images = [path for path, one in runs.items() if one == place and sizes.pop(path, None) is not None]
        text = f"is what a program wrote while it ran, no part of the set: set aside, {counted(count, 'file')}"
        more = f" with {counted(len(images), 'image')}" if images else ""
        text = f"{text}{more}. If it's meant, pack it by itself"
        listing.problems.append(Problem("label-note", place, text))


def _elsewhere(path: str, root: str, given: Given) -> LabelFiles:
    if not os.path.exists(path):
        raise NotAProjectError(f"{path}: there is no such file or folder of labels")
    if why := refused(given, path, root):
        raise UsageError(why)
    files = LabelFiles.below(path)
    files.note_given()
    return files


def _take(listing: Listing, source: LabelSource, sizes: dict[str, tuple[int, int]], options: PackOptions) -> None:
    """Have each image that labels name in the dataset of its split."""
    found: dict[str, DatasetItems] = {}
    rest = place_of_the_rest(basename(listing.root) or "images", {one.split for one in source.labels.pictures})
    for picture in source.labels.pictures:
        place = _place(options.dataset or picture.split or rest)
        items = found.setdefault(place, DatasetItems(place, listing.root))
        if picture.split not in source.splits.setdefault(place, []):
            source.splits[place].append(picture.split)
        size, stamp = sizes[picture.path]
        items.add(picture.path, basename(picture.path), size, stamp)
        items.tags.append(())
        items.annotations.append(Labelled(picture, source))
    for place, splits in source.splits.items():
        if len(splits) > 1 and not {*source.labels.kept, *source.labels.numbered}.isdisjoint(splits):
            shown = ", ".join(split or "no split" for split in splits)
            text = f"has the images of {shown}; what label files say of themselves is kept of the first"
            source.labels.note(place, f"{text}, and of numbers that two have, `convert` gives one another")
        if splits == [""] and len(source.splits) > 1:
            lost = [picture.path for picture in source.labels.pictures if not picture.split]
            count = counted(len(lost), "image that is", "images that are")
            source.labels.note(place, f"has {count} of no split, as {lost[0]}")
    listing.datasets = [found[place] for place in sorted(found)]
    listing.found = sum(len(items.names) for items in listing.datasets)


def _place(dataset: str) -> str:
    return layout.dataset_place(dataset) or dataset


def place_of_the_rest(folder: str, splits: set[str]) -> str:
    """The dataset of images that are of no split: called like the folder, unless that would make them a split's."""
    said = {_place(split) for split in splits if split}
    name = NO_SPLIT if said and (is_split(folder) or _place(folder) in said) else folder
    while _place(name) in said:
        name += "_"
    return name


def _name_the_others(listing: Listing, labels: Labels, sizes: dict[str, tuple[int, int]]) -> None:
    """Say which images no label file names; masks that go with VOC's labels are no images."""
    named = {picture.path for picture in labels.pictures}
    is_voc = labels.format == "voc"
    others = [path for path in sizes if path not in named and not (is_voc and is_mask_of_voc(path))]
    if not others:
        return
    shown = ", ".join(sorted(others)[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
    count = counted(len(others), "image that no label file names wasn't", "images that no label file names weren't")
    listing.problems.append(Problem("label-unnamed", ".", f"{count} packed: {shown}"))
    listing.found += len(others)
