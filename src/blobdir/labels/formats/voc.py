"""Pascal VOC: an XML file for each image, boxes only; ``ImageSets/Main`` has the splits."""

from __future__ import annotations

import re
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.model import Box, LabelError, Labels, Picture, Polygon, Thing, number
from blobdir.labels.safexml import read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.files import Images, LabelFiles
    from blobdir.labels.model import Complain, Value
    from blobdir.labels.safexml import Element

_ROOT: Final = re.compile(rb"<annotation[\s>]")
_SPLITS: Final = ("train", "val", "test", "trainval")
_FLAGS: Final = ("truncated", "difficult", "occluded")
_OF_OBJECTS: Final = frozenset(("name", "bndbox", "pose", "part", "polygon", "attributes", "deleted", "id", *_FLAGS))


def is_voc(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    return path.lower().endswith(".xml") and _ROOT.search(head) is not None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all XML files; of those that say which image they mean, and of others the image of their own name."""
    labels = Labels("voc", list(images.labelled_by(files, ".xml", is_voc)))
    splits = _splits(files)
    used: dict[str, str] = {}
    for path in labels.files:
        try:
            root = read_xml(files.read(path))
            image = _image_of(root, path, images)
        except LabelError as error:
            labels.complain("label", path, str(error))
            continue
        except _NoImageError as error:
            labels.complain("label-image", path, str(error))
            continue
        if image in used:
            labels.complain("label", path, f"is of {image}, which has labels in {used[image]}")
            continue
        used[image] = path
        stem = splitext(basename(path))[0]
        split = splits.get(stem) or splits.get(splitext(basename(image))[0], "")
        kept = {"segmented": root.text_of("segmented")} if root.text_of("segmented") not in ("", "0") else {}
        labels.pictures.append(Picture(image, split, path, _Reader(path, root), _size(root), kept=kept))
    labels.pictures += [
        Picture(path, splits.get(splitext(basename(path))[0], ""), path, lambda *_: ())
        for path in images.paths
        if path not in used and not _is_mask(path)
    ]
    return labels


class _NoImageError(Exception):
    """An image that a file names isn't there, or several are."""


def _is_mask(path: str) -> bool:
    return dirname(path).rpartition("/")[2] in ("SegmentationClass", "SegmentationObject")


def _image_of(root: Element, path: str, images: Images) -> str:
    if root.name != "annotation":
        raise LabelError(f"line {root.line}: begins with <{root.name}>, not <annotation>")
    stem = splitext(basename(path))[0]
    named = root.text_of("filename")
    folder = re.sub(r"(^|/)Annotations(/|$)", r"\1JPEGImages\2", dirname(path))
    faults = []
    for name in dict.fromkeys((named, stem)):
        if name:
            try:
                return images.find(name, folder)
            except LabelError as error:
                faults.append(str(error))
    raise _NoImageError(faults[0])


def _size(root: Element) -> tuple[int, int] | None:
    size = root.first("size")
    if size is None or not size.text_of("width").isdecimal() or not size.text_of("height").isdecimal():
        return None
    found = int(size.text_of("width")), int(size.text_of("height"))
    return found if all(found) else None


def _splits(files: LabelFiles) -> dict[str, str]:
    """Stem of each image -> its split, by the lists of ``ImageSets``; train and val count before trainval."""
    found: dict[str, str] = {}
    for split in _SPLITS:
        for path in files.ending(".txt"):
            if basename(path) == f"{split}.txt" and "ImageSets" in path.split("/"):
                try:
                    lines = files.text(path).splitlines()
                except LabelError as error:
                    raise LabelError(f"{path}: {error}") from error
                for line in lines:
                    if line.strip():
                        name = line.strip()
                        found.setdefault(name, split)
                        found.setdefault(splitext(name)[0], split)
                        found.setdefault(splitext(basename(name))[0], split)
    return found


class _Reader:
    __slots__ = ("_path", "_root")

    def __init__(self, path: str, root: Element) -> None:
        self._path, self._root = path, root

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for element in self._root.all("object"):
            try:
                yield _thing(element)
            except LabelError as error:
                complain("label", f"{self._path}, line {element.line}: {error}")
            for part in element.all("part"):
                text = f"a part ({part.text_of('name')!r}) of an object isn't taken"
                complain("label", f"{self._path}, line {part.line}: {text}")


def _thing(element: Element) -> Thing:
    label = element.text_of("name")
    if not label:
        raise LabelError("has no <name>")
    attributes: dict[str, Value] = {flag: None for flag in _FLAGS if element.text_of(flag).lower() in ("1", "true")}
    if (pose := element.text_of("pose", "Unspecified")) not in ("", "Unspecified"):
        attributes["pose"] = pose
    given = element.first("attributes")
    for one in given.all("attribute") if given is not None else ():
        if name := one.text_of("name"):
            attributes[name] = one.text_of("value")
    for child in element.children:
        if child.name not in _OF_OBJECTS and not child.children and child.text.strip():
            attributes[child.name] = child.text.strip()
    polygon = element.first("polygon")
    box = element.first("bndbox")
    if polygon is not None and (outline := _outline(polygon)) is not None:
        return Thing(label, [outline], attributes=attributes)
    if box is None:
        raise LabelError("has no <bndbox>")
    left, top, right, bottom = (number(box.text_of(side), side) for side in ("xmin", "ymin", "xmax", "ymax"))
    if left > right or top > bottom:
        raise LabelError(f"its box ends before it begins: {left:g}, {top:g} – {right:g}, {bottom:g}")
    return Thing(label, [Box(left, top, right, bottom)], attributes=attributes)


def _outline(polygon: Element) -> Polygon | None:
    """As LabelMe and some others have it: ``<pt>`` with x and y, or ``<x1>``, ``<y1>`` and so on."""
    points = [(number(pt.text_of("x"), "x"), number(pt.text_of("y"), "y")) for pt in polygon.all("pt")]
    if not points:
        texts = {child.name: child.text.strip() for child in polygon.children}
        count = 1
        while f"x{count}" in texts and f"y{count}" in texts:
            points.append((number(texts[f"x{count}"], "x"), number(texts[f"y{count}"], "y")))
            count += 1
    return Polygon(tuple(points)) if len(points) > 2 else None
