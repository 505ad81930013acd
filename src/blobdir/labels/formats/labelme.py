"""LabelMe: a JSON file for each image; outlines, boxes, circles, lines, points, masks."""

from __future__ import annotations

import re
from math import hypot
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import kind_of
from blobdir.errors import AnnotationError
from blobdir.jsontext import read_json
from blobdir.labels.claims import Claims
from blobdir.labels.masks import from_png
from blobdir.labels.model import (
    Box,
    Dot,
    LabelError,
    Labels,
    Line,
    Picture,
    Polygon,
    Thing,
    add_flag,
    ident_of,
    name_of,
    number,
    others,
)
from blobdir.labels.rounds import ellipse
from blobdir.labels.sizes import stated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Complain, Point, Shape

_KEY: Final = re.compile(rb'"(shapes|imagePath|imageData)"\s*:')
_LEAST_OUTLINE: Final = 3
_NEEDED: Final = {
    "rectangle": (2, 4),
    "rotation": (4,),
    "circle": (2,),
    "line": (2,),
    "point": (1,),
    "mask": (2,),
}
"""Kind of a shape -> how many points it can have."""
_OF_IMAGES: Final = frozenset(
    ("shapes", "flags", "imagePath", "imageData", "imageHeight", "imageWidth", "lineColor", "fillColor")
)
_OF_SHAPES: Final = frozenset(
    (
        "label",
        "points",
        "shape_type",
        "group_id",
        "flags",
        "attributes",
        "description",
        "mask",
        "line_color",
        "fill_color",
    )
)


def is_labelme(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    is_object = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
    return path.lower().endswith(".json") and is_object and _KEY.search(head) is not None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all LabelMe files; an image without one has no objects."""
    labels = Labels("labelme", list(images.labelled_by(files, ".json", is_labelme)))
    claims, calling = Claims(), images.calling_of(labels.files)
    values: dict[str, dict[str, Any]] = {}
    for path in labels.files:
        try:
            values[path] = _whole(files, path)
        except LabelError as error:
            labels.complain("label", path, str(error))
            continue
        named = values[path].get("imagePath")
        try:
            found = images.of_file(path, named if isinstance(named, str) else "", calling)
        except LabelError as error:
            labels.complain("label-image", path, str(error))
            continue
        claims.add(path, found)
        if found.instead:
            labels.note(path, f"is taken for {found.path}, which is called like it: there is no {found.instead}")
    owners = claims.settled(files, labels, images)
    for image, path in owners.items():
        labels.pictures.append(_picture(image, path, values[path]))
    others = (path for path in images.paths if path not in owners)
    labels.pictures += [Picture(path, "", path, lambda *_: (), is_labelled=False) for path in others]
    return labels


def _picture(image: str, path: str, value: dict[str, Any]) -> Picture:
    flags = value.get("flags")
    tags = [(str(name), None) for name, value in flags.items() if value] if isinstance(flags, dict) else []
    known = stated(value.get("imageWidth"), value.get("imageHeight"))
    reader = _Reader(path, value["shapes"])
    kept = {key: one for key, one in value.items() if key not in _OF_IMAGES and key != "version"}
    return Picture(image, "", path, reader, known, tags, kept, reader.attributes)


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


class _Reader:
    __slots__ = ("_path", "_shapes")

    def __init__(self, path: str, shapes: list[Any]) -> None:
        self._path, self._shapes = path, shapes

    def attributes(self) -> Iterator[dict[str, Any]]:
        """Of all objects."""
        return (_attributes(raw) for raw in self._shapes if isinstance(raw, dict))

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        groups: dict[Any, Thing] = {}
        for index, raw in enumerate(self._shapes):
            try:
                thing = _thing(raw)
            except LabelError as error:
                complain("label", f"{self._path}: shapes[{index}]: {error}")
                continue
            if thing.id is None:
                yield thing
                continue
            mine = groups.setdefault((thing.id, thing.label), thing)
            if mine is thing:
                continue
            mine.shapes += thing.shapes
            for name, value in thing.attributes.items():
                if mine.attributes.setdefault(name, value) != value:
                    text = f"its {name} isn't that of another shape of its group, which was kept; this one wasn't"
                    complain("label", f"{self._path}: shapes[{index}]: {text}")
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
    return Thing(label, [shape], ident_of(raw.get("group_id")), _attributes(raw))


def _attributes(raw: dict[str, Any]) -> dict[str, Any]:
    given, flags = raw.get("attributes"), raw.get("flags")
    found = {str(name): value for name, value in given.items()} if isinstance(given, dict) else {}
    for name, value in flags.items() if isinstance(flags, dict) else ():
        if value:
            add_flag(found, str(name))
    if isinstance(text := raw.get("description"), str) and text:
        found["description_" if "description" in found else "description"] = text
    return found | others(raw, found.keys() | _OF_SHAPES)


def _shape(raw: dict[str, Any], points: list[Point]) -> Shape:
    kind = str(raw.get("shape_type") or "polygon")
    needed = _NEEDED.get(kind)
    if needed is not None and len(points) not in needed:
        raise LabelError(f"is a {kind} of {len(points)} points, and {needed[0]} are needed")
    if kind in ("rectangle", "rotation"):
        return _rectangle(points)
    match kind:
        case "polygon" if len(points) >= _LEAST_OUTLINE:
            return Polygon(tuple(points))
        case "polygon":
            raise LabelError(f"its outline has {len(points)} points, and three or more are needed")
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


def _rectangle(points: list[Point]) -> Shape:
    """A box of two corners, or of four; an outline where it's turned."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if len(set(xs)) > 2 or len(set(ys)) > 2:
        return Polygon(tuple(points))
    return Box(min(xs), min(ys), max(xs), max(ys))
