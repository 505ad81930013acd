"""CVAT for images, version 1.1: one XML file; boxes, outlines, lines, points, masks, skeletons, tags."""

from __future__ import annotations

import re
from posixpath import dirname
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.labels.masks import MOST_PIXELS, cropped
from blobdir.labels.model import (
    Box,
    Category,
    Dot,
    LabelError,
    Labels,
    Line,
    Picture,
    Polygon,
    Pose,
    Thing,
    add_flag,
    number,
)
from blobdir.labels.rounds import ellipse, turned_box
from blobdir.labels.safexml import read_xml
from blobdir.labels.saidsplits import Closer
from blobdir.labels.sizes import stated
from blobdir.labels.splitnames import split_in_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Complain, Mask, Shape
    from blobdir.labels.safexml import Element

_ROOT: Final = re.compile(rb"<annotations[\s>]")
_LEAST_OUTLINE: Final = 3
_USUAL: Final = {"z_order": "0", "group_id": "0", "source": "manual"}


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
        _read_skeletons(root, categories)
        for track in root.all("track"):
            text = "is a track of a video, and only images are taken: export it as CVAT for images"
            labels.complain("label", f"{path}, line {track.line}", text)
        closer = Closer()
        for image in root.all("image"):
            try:
                labels.pictures.append(_picture(path, image, images, closer))
            except LabelError as error:
                labels.complain("label-image", f"{path}, line {image.line}", str(error))
        for code, fault in closer.told():
            labels.complain(code, path, fault)
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


def _read_skeletons(root: Element, categories: dict[str, Category]) -> None:
    """Keypoints of classes that ``<meta>`` doesn't have, or not in full."""
    for image in root.all("image"):
        for skeleton in image.all("skeleton"):
            if name := skeleton.attributes.get("label"):
                mine = categories.setdefault(name, Category(name))
                found = (points.attributes.get("label") for points in skeleton.all("points"))
                mine.keypoints = tuple(dict.fromkeys((*mine.keypoints, *filter(None, found))))


def _picture(path: str, image: Element, images: Images, closer: Closer) -> Picture:
    name, subset = image.get("name"), image.attributes.get("subset", "")
    split = subset or split_in_name(path)
    found = images.place(name, dirname(path), split)
    split = closer.split(split, [found.path]) if subset else split
    size = stated(image.attributes.get("width"), image.attributes.get("height"))
    tags: list[tuple[str, Any]] = []
    for tag in image.all("tag"):
        tags.append((tag.get("label"), None))
        tags += _attributes(tag).items()
    kept = {"id": image.attributes["id"]} if "id" in image.attributes else {}
    where, reader = f"{path}, line {image.line}", _Reader(path, image)
    return Picture(found.path, split, where, reader, size, tags, kept, reader.attributes, found=found)


class _Reader:
    __slots__ = ("_image", "_path")

    def __init__(self, path: str, image: Element) -> None:
        self._path, self._image = path, image

    def attributes(self) -> Iterator[dict[str, Any]]:
        """Of all objects."""
        return (_attributes(element) for element in self._image.children if element.name != "tag")

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for element in self._image.children:
            if element.name == "tag":
                continue
            try:
                yield Thing(element.get("label"), [_shape(element)], None, _attributes(element), _kept(element))
            except LabelError as error:
                complain("label", f"{self._path}, line {element.line}: {error}")


def _kept(element: Element) -> dict[str, Any]:
    """What CVAT says of an object besides, where it isn't what it says of all."""
    given = element.attributes
    return {key: given[key] for key, usual in _USUAL.items() if given.get(key, usual) != usual}


def _shape(element: Element) -> Shape:
    turn = number(element.attributes.get("rotation") or 0, "rotation")
    match element.name:
        case "box":
            box = _box(element)
            return turned_box(box, turn) if turn else box
        case "ellipse":
            center = _number(element, "cx"), _number(element, "cy")
            return ellipse(*center, _number(element, "rx"), _number(element, "ry"), turn)
    if turn and element.name in ("polygon", "polyline", "points", "mask", "skeleton"):
        raise LabelError(f"is a <{element.name}> that is turned by {turn:g}°, and around what isn't said")
    match element.name:
        case "polygon":
            return _outline(element)
        case "polyline":
            return Line(_points(element))
        case "points":
            return _dot(element)
        case "mask":
            return _mask(element)
        case "skeleton":
            return _skeleton(element)
    raise LabelError(f"is a <{element.name}>, which isn't taken")


def _skeleton(element: Element) -> Pose:
    found = {}
    for points in element.all("points"):
        if points.attributes.get("outside") != "1":
            ((x, y),) = _points(points)[:1]
            found[points.get("label")] = (x, y, points.attributes.get("occluded") != "1")
    if not found:
        raise LabelError("its skeleton has no point")
    return Pose(found)


def _box(element: Element) -> Box:
    left, top, right, bottom = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    if left > right or top > bottom:
        raise LabelError(f"its box ends before it begins: {left:g}, {top:g} – {right:g}, {bottom:g}")
    return Box(left, top, right, bottom)


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


def _attributes(element: Element) -> dict[str, Any]:
    found: dict[str, Any] = {one.get("name"): one.text.strip() for one in element.all("attribute")}
    if element.attributes.get("occluded") == "1":
        add_flag(found, "occluded")
    return found
