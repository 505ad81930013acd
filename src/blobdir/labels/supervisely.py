"""Objects of annotations as Supervisely has them, from the shapes of `blobdir.labels.model` and back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from math import floor
from typing import TYPE_CHECKING, Any, Final

from blobdir.errors import DataError
from blobdir.jsontext import write_json
from blobdir.labels.masks import cropped, to_png
from blobdir.labels.model import Box, Dot, LabelError, Line, Mask, Polygon, Pose, number
from blobdir.storedmasks import MaskError, stored_mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blobdir.labels.model import Category, Point, Shape, Thing, Value

SOURCE: Final = "label_source.json"
"""A dataset's file with what label files said of it: categories with their numbers, who made it, licenses."""
KEPT: Final = "labels"
"""Key of an image's ``meta/<image>.json`` with what belongs back into label files."""
MEASURED: Final = frozenset(("area", "bbox", "keypoints", "num_keypoints"))
"""What is kept of an object that holds as long as its geometry is what it was: ``of`` is its `digest`."""
WITH_ATTRIBUTES: Final = ("coco",)
"""Formats that have attributes of any JSON, and are written: those that tags can't hold are kept, too."""
_KINDS: Final = {Box: "rectangle", Polygon: "polygon", Line: "line", Dot: "point", Mask: "bitmap", Pose: "graph"}


@dataclass(slots=True)
class Classes:
    """The classes of a project that is made of labels.

    A class of graphs can have no other shapes: boxes and outlines of a category with keypoints get a class of their
    own, as the SDK gives them one.

    Attributes
    ----------
    categories : dict
        Name -> category.
    titles : dict
        Name and kind of shape -> title of the class.
    """

    categories: dict[str, Category]
    titles: dict[tuple[str, str], str] = field(default_factory=dict)

    def title(self, label: str, shape: Shape) -> str:
        """Class of a shape."""
        category = self.categories.get(label)
        if category is None or not category.keypoints or isinstance(shape, Pose):
            return label
        kind = "bbox" if isinstance(shape, Box) else "mask"
        title = self.titles.get((label, kind))
        if title is None:
            title = f"{label}{' ' if ' ' in label else '_'}{kind}"
            while title in self.categories or title in self.titles.values():
                title += "_"
            self.titles[label, kind] = title
        return title

    def config(self, label: str) -> dict[str, Any] | None:
        """``geometry_config`` of a class with keypoints; they stand in a circle, since nobody says where they are."""
        category = self.categories.get(label)
        if category is None or not category.keypoints:
            return None
        names = category.keypoints
        columns = max(1, round(len(names) ** 0.5))
        nodes = {
            name: {"label": name, "loc": [20 * (i % columns), 20 * (i // columns)], "color": "#00FF00"}
            for i, name in enumerate(names)
        }
        edges = [{"src": names[a], "dst": names[b], "color": "#00FF00"} for a, b in category.edges]
        return {"nodes": nodes, "edges": edges}


def objects_of(thing: Thing, key: str, classes: Classes) -> list[dict[str, Any]]:
    """Objects of an annotation; those of one thing have the same `key`, if it isn't empty."""
    tags = [tag(name, value) for name, value in thing.attributes.items()]
    found = []
    for shape in thing.shapes:
        item = {
            "classTitle": classes.title(thing.label, shape),
            "description": "",
            "tags": tags,
            "geometryType": _KINDS[type(shape)],
            **_geometry(shape),
        }
        if key:
            item["instance"] = key
        found.append(item)
    return found


def tag(name: str, value: Value) -> dict[str, Any]:
    """A tag of an annotation."""
    return {"name": name, "value": value}


def _geometry(shape: Shape) -> dict[str, Any]:
    match shape:
        case Box():
            return _points([(shape.left, shape.top), (shape.right, shape.bottom)])
        case Polygon():
            return _points(shape.exterior, shape.holes)
        case Line():
            return _points(shape.points)
        case Dot():
            return _points([shape.at])
        case Mask():
            return {"bitmap": {"origin": [shape.left, shape.top], "data": to_png(shape)}}
        case Pose():
            nodes: dict[str, Any] = {}
            for name, (x, y, seen) in shape.points.items():
                nodes[name] = {"loc": [_plain(x), _plain(y)]} | ({} if seen else {"disabled": True})
            return {"nodes": nodes}


def _points(exterior: Iterable[Point], holes: Iterable[Iterable[Point]] = ()) -> dict[str, Any]:
    rings = [[[_plain(x), _plain(y)] for x, y in ring] for ring in (exterior, *holes)]
    return {"points": {"exterior": rings[0], "interior": rings[1:]}}


def _plain(value: float) -> float:
    """A whole number as JSON has one."""
    return int(value) if value == int(value) else value


def digest(items: Iterable[Mapping[str, Any]]) -> int:
    """A number that tells whether the geometry of objects is as it was."""
    parts = [item.get("points") or item.get("bitmap") or item.get("nodes") for item in items]
    return zlib.crc32(write_json(parts))


# -- back ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Kind:
    """What ``meta.json`` says of a class.

    Attributes
    ----------
    title, shape : str
    keypoints : dict
        Id of each node -> its label, in the order of the template.
    edges : list of (str, str)
        Ids of nodes.
    color : str
    """

    title: str
    shape: str
    keypoints: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    color: str = ""


def kinds_of(meta: Mapping[str, Any]) -> dict[str, Kind]:
    """Classes of a ``meta.json``, in its order."""
    found = {}
    for item in meta.get("classes", []):
        config = item.get("geometry_config")
        config = config if isinstance(config, dict) else {}
        given = config.get("nodes")
        nodes = given if isinstance(given, dict) else {}
        labels = {key: str(node.get("label", key)) for key, node in nodes.items() if isinstance(node, dict)}
        edges = [
            (edge["src"], edge["dst"])
            for edge in config.get("edges") or ()
            if isinstance(edge, dict) and edge.get("src") in labels and edge.get("dst") in labels
        ]
        shape, color = item.get("shape"), item.get("color")
        found[item["title"]] = Kind(
            item["title"],
            shape if isinstance(shape, str) else "any",
            labels,
            edges,
            color if isinstance(color, str) else "",
        )
    return found


def kind_of_object(item: Mapping[str, Any], kinds: Mapping[str, Kind]) -> str:
    """Shape of an object: that of its class, or its own where the class has any."""
    known = kinds.get(item["classTitle"])
    if known is not None and known.shape != "any":
        return known.shape
    own = item.get("geometryType") or item.get("shape")
    return own if isinstance(own, str) else "any"


def shapes_of(item: Mapping[str, Any], kind: str, known: Kind | None = None) -> list[Shape]:
    """The shapes of an object: several where it has several parts.

    Raises
    ------
    LabelError
        It's none that formats of labels have, or can't be read.
    """
    try:
        if kind == "multipolygon":
            parts = [(_ring(part["exterior"]), part.get("interior") or ()) for part in item["parts"]]
            return [Polygon(exterior, tuple(_ring(ring) for ring in holes)) for exterior, holes in parts]
        found = _shape(item, kind, known)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise LabelError(f"isn't a {kind} that can be read") from None
    if found is None:
        raise LabelError(f"is of the shape {kind}, which can't be written")
    return [found]


def _shape(item: Mapping[str, Any], kind: str, known: Kind | None) -> Shape | None:
    match kind:
        case "rectangle":
            (a, b), (c, d) = _ring(item["points"]["exterior"])
            return Box(min(a, c), min(b, d), max(a, c), max(b, d))
        case "polygon":
            points = item["points"]
            exterior = _ring(points["exterior"])
            return Polygon(exterior, tuple(_ring(ring) for ring in points["interior"])) if exterior else None
        case "line":
            return Line(_ring(item["points"]["exterior"]))
        case "point":
            return Dot(_ring(item["points"]["exterior"])[0])
        case "bitmap" | "alpha_mask":
            bitmap = item["bitmap"]
            left, top = bitmap["origin"]
            mask = _mask(kind, bitmap["data"], floor(left), floor(top))
            if mask is None:
                raise LabelError("has a mask without pixels")
            return mask
        case "graph":
            labels = known.keypoints if known is not None else {}
            return Pose(
                {
                    labels.get(key, key): (*_pair(node["loc"]), not node.get("disabled"))
                    for key, node in item["nodes"].items()
                }
            )
    return None


def _mask(kind: str, data: Any, left: int, top: int) -> Mask | None:
    if not isinstance(data, str):
        raise LabelError("has a mask whose pixels are no text")
    try:
        return cropped(stored_mask(kind, data).pixels > 0, left, top)
    except MaskError as error:
        raise LabelError(f"has a mask with pixels that {error}") from None


def in_whole_pixels(shape: Shape) -> Shape:
    """A shape as the SDK has it: it rounds all places down."""
    match shape:
        case Box():
            return Box(floor(shape.left), floor(shape.top), floor(shape.right), floor(shape.bottom))
        case Polygon():
            return Polygon(_floored(shape.exterior), tuple(map(_floored, shape.holes)))
        case Line():
            return Line(_floored(shape.points))
        case Dot():
            return Dot(*_floored([shape.at]))
        case Pose():
            return Pose({key: (floor(x), floor(y), seen) for key, (x, y, seen) in shape.points.items()})
    return shape


def _floored(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple((floor(x), floor(y)) for x, y in points)


def _ring(raw: Any) -> tuple[Point, ...]:
    return tuple(_pair(pair) for pair in raw)


def _pair(raw: Any) -> Point:
    x, y = raw[:2]
    return _checked(x), _checked(y)


def _checked(value: Any) -> float:
    if type(value) not in (int, float):
        raise LabelError("has points that aren't pairs of numbers")
    number(value, "points")
    return value  # type: ignore[no-any-return]
