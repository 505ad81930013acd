"""CVAT for images, version 1.1: one XML file; boxes, outlines, lines, points, masks, skeletons, tags."""

from __future__ import annotations

import re
from posixpath import dirname
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.labels.masks import MOST_PIXELS, cropped
from blobdir.labels.model import Box, Category, Dot, LabelError, Labels, Line, Picture, Polygon, Pose, Thing, number
from blobdir.labels.rounds import ellipse
from blobdir.labels.safexml import read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.files import Images, LabelFiles
    from blobdir.labels.model import Complain, Mask, Shape, Value
    from blobdir.labels.safexml import Element

_ROOT: Final = re.compile(rb"<annotations[\s>]")
_LEAST_OUTLINE: Final = 3


def is_cvat(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    return path.lower().endswith(".xml") and _ROOT.search(head) is not None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all CVAT files of a folder."""
    labels = Labels("cvat", [path for path in files.ending(".xml") if is_cvat(path, files.head(path))])
    categories: dict[str, Category] = {}
    for path in labels.files:
        try:
            root = read_xml(files.read(path))
            if root.name != "annotations":
                raise LabelError(f"line {root.line}: begins with <{root.name}>, not <annotations>")
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        _read_labels(root, categories)
        for track in root.all("track"):
            text = "is a track of a video, and only images are taken: export it as CVAT for images"
            labels.complain("label", f"{path}, line {track.line}", text)
        for image in root.all("image"):
            try:
                labels.pictures.append(_picture(path, image, images, categories))
            except LabelError as error:
                labels.complain("label-image", f"{path}, line {image.line}", str(error))
    labels.categories = list(categories.values())
    return labels


def _read_labels(root: Element, categories: dict[str, Category]) -> None:
    """Classes of ``<meta>``, in its task, job or project; those of skeletons with their keypoints."""
    todo = [root.first("meta")]
    while todo:
        element = todo.pop(0)
        if element is None:
            continue
        todo += [child for child in element.children if child.name != "label"]
        for label in element.all("label"):
            name, parent = label.text_of("name"), label.text_of("parent")
            if not name:
                continue
            if parent:
                mine = categories.setdefault(parent, Category(parent))
                mine.keypoints = (*mine.keypoints, name)
            else:
                mine = categories.setdefault(name, Category(name))
                if color := label.text_of("color"):
                    mine.kept["color"] = color


def _picture(path: str, image: Element, images: Images, categories: dict[str, Category]) -> Picture:
    name = image.get("name")
    split = image.attributes.get("subset", "")
    found = images.find(name, dirname(path), split)
    width, height = image.attributes.get("width", ""), image.attributes.get("height", "")
    size = (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None
    tags: list[tuple[str, Value]] = []
    for tag in image.all("tag"):
        tags.append((tag.get("label"), None))
        tags += _attributes(tag).items()
    kept = {"id": image.attributes["id"]} if "id" in image.attributes else {}
    return Picture(found, split, f"{path}, line {image.line}", _Reader(path, image, categories), size, tags, kept)


class _Reader:
    __slots__ = ("_categories", "_image", "_path")

    def __init__(self, path: str, image: Element, categories: dict[str, Category]) -> None:
        self._path, self._image, self._categories = path, image, categories

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for element in self._image.children:
            if element.name == "tag":
                continue
            try:
                shape = self._shape(element)
                attributes = _attributes(element)
                if element.attributes.get("occluded") == "1":
                    attributes["occluded"] = None
                yield Thing(element.get("label"), [shape], attributes=attributes)
            except LabelError as error:
                complain("label", f"{self._path}, line {element.line}: {error}")

    def _shape(self, element: Element) -> Shape:
        match element.name:
            case "box":
                return _box(element)
            case "polygon":
                return _outline(element)
            case "polyline":
                return Line(_points(element))
            case "points":
                return _dot(element)
            case "ellipse":
                center = _number(element, "cx"), _number(element, "cy")
                return ellipse(*center, _number(element, "rx"), _number(element, "ry"))
            case "mask":
                return _mask(element)
            case "skeleton":
                return self._skeleton(element)
        raise LabelError(f"is a <{element.name}>, which isn't taken")

    def _skeleton(self, element: Element) -> Pose:
        found = {}
        for points in element.all("points"):
            if points.attributes.get("outside") != "1":
                ((x, y),) = _points(points)[:1]
                found[points.get("label")] = (x, y, points.attributes.get("occluded") != "1")
        if not found:
            raise LabelError("its skeleton has no point")
        mine = self._categories.setdefault(element.get("label"), Category(element.get("label")))
        mine.keypoints = tuple(dict.fromkeys((*mine.keypoints, *found)))
        return Pose(found)


def _box(element: Element) -> Shape:
    left, top, right, bottom = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    if left > right or top > bottom:
        raise LabelError(f"its box ends before it begins: {left:g}, {top:g} – {right:g}, {bottom:g}")
    box, turn = Box(left, top, right, bottom), number(element.attributes.get("rotation") or 0, "rotation")
    return _turned(box, turn) if turn else box


def _outline(element: Element) -> Polygon:
    points = _points(element)
    if len(points) < _LEAST_OUTLINE:
        raise LabelError(f"its outline has {len(points)} points, and three or more are needed")
    return Polygon(points)


def _dot(element: Element) -> Dot:
    points = _points(element)
    if len(points) != 1:
        raise LabelError(f"has {len(points)} points in one object, and only one is taken")
    return Dot(points[0])


def _number(element: Element, key: str) -> float:
    return number(element.get(key), key)


def _points(element: Element) -> tuple[tuple[float, float], ...]:
    found = []
    for pair in element.get("points").split(";"):
        x, comma, y = pair.partition(",")
        if not comma:
            raise LabelError(f"its points have {pair[:40]!r}, which is no x,y")
        found.append((number(x, "points"), number(y, "points")))
    return tuple(found)


def _mask(element: Element) -> Mask:
    left, top, width, height = (int(_number(element, key)) for key in ("left", "top", "width", "height"))
    try:
        runs = [int(run) for run in element.get("rle").split(",")]
    except ValueError:
        raise LabelError("its mask has runs that aren't whole numbers") from None
    if min(runs) < 0 or width < 1 or height < 1 or width * height > MOST_PIXELS or sum(runs) != width * height:
        raise LabelError(f"its mask has runs of {sum(runs)} pixels, and a size of {width} × {height}")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask = cropped(pixels, left, top)
    if mask is None:
        raise LabelError("its mask has no pixels")
    return mask


def _turned(box: Box, degrees: float) -> Polygon:
    """A box that is turned around its centre, as an outline."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    angle = np.deg2rad(degrees)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
    return Polygon(tuple((x + (a - x) * cos - (b - y) * sin, y + (a - x) * sin + (b - y) * cos) for a, b in corners))


def _attributes(element: Element) -> dict[str, Value]:
    return {one.get("name"): one.text.strip() for one in element.all("attribute")}
