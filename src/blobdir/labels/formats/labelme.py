"""LabelMe: a JSON file for each image; outlines, boxes, circles, lines, points, masks."""

from __future__ import annotations

import re
from math import hypot
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import is_size, kind_of
from blobdir.errors import AnnotationError
from blobdir.jsontext import read_json
from blobdir.labels.masks import from_png
from blobdir.labels.model import Box, Dot, LabelError, Labels, Line, Picture, Polygon, Thing, name_of, number
from blobdir.labels.rounds import ellipse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.files import Images, LabelFiles
    from blobdir.labels.model import Complain, Point, Shape, Value

_KEY: Final = re.compile(rb'"(shapes|imagePath|imageData)"\s*:')
_LEAST_OUTLINE: Final = 3


def is_labelme(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    is_object = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return path.lower().endswith(".json") and is_object and _KEY.search(head) is not None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all LabelMe files; an image without one has no objects."""
    labels = Labels("labelme", list(images.labelled_by(files, ".json", is_labelme)))
    used: dict[str, str] = {}
    for path in labels.files:
        try:
            value = _whole(files, path)
        except LabelError as error:
            labels.complain("label", path, str(error))
            continue
        try:
            image = _image_of(value, path, images)
        except LabelError as error:
            labels.complain("label-image", path, str(error))
            continue
        if image in used:
            labels.complain("label", path, f"is of {image}, which has labels in {used[image]}")
            continue
        used[image] = path
        size = value.get("imageWidth"), value.get("imageHeight")
        flags = value.get("flags")
        tags: list[tuple[str, Value]] = (
            [(str(name), None) for name in flags if flags[name]] if isinstance(flags, dict) else []
        )
        known = size if is_size(size[0]) and is_size(size[1]) else None
        labels.pictures.append(Picture(image, "", path, _Reader(path, value["shapes"]), known, tags))  # type: ignore[arg-type]
    labels.pictures += [Picture(path, "", path, lambda *_: ()) for path in images.paths if path not in used]
    return labels


def _whole(files: LabelFiles, path: str) -> dict[str, Any]:
    try:
        value = read_json(files.read(path))
    except AnnotationError as error:
        raise LabelError(str(error)) from error
    if not isinstance(value, dict):
        raise LabelError(f"holds {kind_of(value)}, not an object {{…}}")
    if not isinstance(value.get("shapes"), list):
        raise LabelError(f"its shapes are {kind_of(value.get('shapes'))}, not a list")
    return value


def _image_of(value: dict[str, Any], path: str, images: Images) -> str:
    named, stem = value.get("imagePath"), splitext(basename(path))[0]
    faults = []
    for name in (named, stem):
        if isinstance(name, str) and name:
            try:
                return images.find(name, dirname(path))
            except LabelError as error:
                faults.append(str(error))
    raise LabelError(faults[0])


class _Reader:
    __slots__ = ("_path", "_shapes")

    def __init__(self, path: str, shapes: list[Any]) -> None:
        self._path, self._shapes = path, shapes

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        groups: dict[Any, Thing] = {}
        for index, raw in enumerate(self._shapes):
            try:
                thing = _thing(raw)
            except LabelError as error:
                complain("label", f"{self._path}: shapes[{index}]: {error}")
                continue
            group = raw.get("group_id")
            if type(group) is not int:
                yield thing
                continue
            mine = groups.setdefault((group, thing.label), thing)
            if mine is not thing:
                mine.shapes += thing.shapes
                mine.attributes |= thing.attributes
        yield from groups.values()


def _thing(raw: Any) -> Thing:
    if not isinstance(raw, dict):
        raise LabelError(f"is {kind_of(raw)}, not an object")
    label = raw.get("label")
    label = name_of(label, "its label")
    points = raw.get("points")
    if not isinstance(points, list) or not all(isinstance(one, list) and len(one) == 2 for one in points):
        raise LabelError("its points aren't a list of pairs")
    shape = _shape(raw, [(number(x, "points"), number(y, "points")) for x, y in points])
    attributes: dict[str, Value] = {}
    flags = raw.get("flags")
    if isinstance(flags, dict):
        attributes |= {str(name): None for name in flags if flags[name]}
    given = raw.get("attributes")
    if isinstance(given, dict):
        attributes |= {
            str(name): value if isinstance(value, (str, int, float)) else str(value) for name, value in given.items()
        }
    if isinstance(text := raw.get("description"), str) and text:
        attributes["description"] = text
    group = raw.get("group_id")
    return Thing(label, [shape], group if type(group) is int else None, attributes)


def _shape(raw: dict[str, Any], points: list[Point]) -> Shape:
    kind = raw.get("shape_type") or "polygon"
    needed = {"rectangle": (2, 4), "circle": (2,), "line": (2,), "point": (1,), "mask": (2,)}.get(str(kind))
    if needed is not None and len(points) not in needed:
        raise LabelError(f"is a {kind} of {len(points)} points, and {needed[0]} are needed")
    match kind:
        case "polygon" if len(points) >= _LEAST_OUTLINE:
            return Polygon(tuple(points))
        case "polygon":
            raise LabelError(f"its outline has {len(points)} points, and three or more are needed")
        case "rectangle":
            xs, ys = [x for x, _ in points], [y for _, y in points]
            return Box(min(xs), min(ys), max(xs), max(ys))
        case "circle":
            (x, y), (a, b) = points
            radius = hypot(a - x, b - y)
            return ellipse(x, y, radius, radius)
        case "line" | "linestrip" if len(points) > 1:
            return Line(tuple(points))
        case "point":
            return Dot(points[0])
        case "mask":
            mask = from_png(raw.get("mask"), int(points[0][0]), int(points[0][1]))
            if mask is None:
                raise LabelError("its mask has no pixels")
            return mask
    raise LabelError(f"is a {kind} of {len(points)} points, which isn't taken")
