"""Objects of the Supervisely format as areas, lines, dots and masks, in pixels of the image.

================  ==========================================================  =====================================
shape             what it's made of                                           what is drawn
================  ==========================================================  =====================================
``rectangle``     two opposite corners, both inside                           area, outline
``polygon``       ``exterior``, and holes in ``interior``                     area without the holes, all outlines
``multipolygon``  ``parts``, each a polygon                                   the same
``line``          ``exterior``                                                line
``point``         the one of ``exterior``                                     dot
``bitmap``        a PNG in base64, deflated or not, at ``origin``             area, outline
``alpha_mask``    the same, with an opacity for each pixel                    area of that opacity, outline
``graph``         ``nodes``; the edges are those of the class                 edges and dots in their own colours
``cuboid``        ``points``, and three ``faces`` of four of them             areas of the faces, outlines
``cuboid_2d``     eight named ``vertices``                                    the twelve edges by their names, dots
``oriented_bbox`` two corners, and a clockwise ``angle`` around the middle    area, outline
================  ==========================================================  =====================================

A node that is ``disabled`` isn't drawn, nor are its edges. Coordinates name pixels: the middle of the pixel (x, y) is
at (x + 0.5, y + 0.5) of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from blobdir.annotations import FARTHEST, is_place, kind_of
from blobdir.drawing.palette import ClassLook, Color, Edge
from blobdir.storedmasks import ALPHA_MASK, MaskError, stored_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Point = tuple[float, float]
Ring = list[Point]

MAX_BITMAP_BYTES = 64 << 20
_FEW = 32
"""Points that are checked one by one: for more of them numpy is faster."""


class ShapeError(ValueError):
    """Why an object can't be drawn, in words of the format."""


class Line(NamedTuple):
    """Points that are joined; without a colour, in that of the object."""

    points: Ring
    closed: bool = True
    color: Color | None = None


class Dot(NamedTuple):
    """A point; without a colour, in that of the object."""

    x: float
    y: float
    color: Color | None = None


class Mask(NamedTuple):
    """Opacity of each pixel, from a place on; not `soft` where it's all or nothing."""

    image: Image.Image
    x: float
    y: float
    soft: bool = False


@dataclass(slots=True)
class Shape:
    """What is drawn of an object.

    Attributes
    ----------
    box : tuple of float or None
        Corners of an upright rectangle, both inside: quick to draw, so it isn't among the areas and lines.
    areas : list of list of ring
        Each an outer ring and its holes.
    lines : list of Line
    dots : list of Dot
    mask : Mask or None
    """

    box: tuple[float, float, float, float] | None = None
    areas: list[list[Ring]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    mask: Mask | None = None

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all that is drawn."""
        if self.box:
            return self.box
        if self.mask:
            mask, x, y, _ = self.mask
            return x, y, x + mask.width - 1, y + mask.height - 1
        xs = [x for line in self.lines for x, _ in line.points] + [dot.x for dot in self.dots]
        ys = [y for line in self.lines for _, y in line.points] + [dot.y for dot in self.dots]
        return min(xs), min(ys), max(xs), max(ys)

    def area(self) -> float:
        """Pixels that it covers; 0 of lines and dots."""
        if self.box:
            left, top, right, bottom = self.box
            return (right - left + 1) * (bottom - top + 1)
        if self.mask:
            return sum(self.mask.image.histogram()[1:])
        return sum(max(0.0, _area(outer) - sum(map(_area, holes))) for outer, *holes in self.areas)


def _area(ring: Ring) -> float:
    """Area of a polygon, by the shoelace formula."""
    x, y = np.array(ring, np.float64).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def read_shape(item: Mapping[str, Any], look: ClassLook) -> Shape:
    """What is drawn of an object of an annotation.

    Parameters
    ----------
    item : dict
    look : ClassLook
        Of its class: the edges of a graph, and the shape of an object that doesn't name its own.

    Raises
    ------
    ShapeError
    """
    kind = shape_name(item, look)
    if not kind:
        raise ShapeError("it names no shape")
    if kind not in _READERS:
        raise ShapeError("the shape isn't known")
    try:
        return _READERS[kind](item, look)
    except RecursionError as error:
        raise ShapeError("it's nested too deep") from error


def shape_name(item: Mapping[str, Any], look: ClassLook) -> str:
    """Shape of an object, of its class where it has none; empty where neither names one."""
    kind = item.get("geometryType") or item.get("shape") or look.shape
    return kind if isinstance(kind, str) else ""


def _place(value: object) -> Point:
    if isinstance(value, list) and len(value) == 2:
        x, y = value
        if is_place(x) and is_place(y):
            return x, y
        value = x if type(x) not in _NUMBERS else y
        if type(value) in _NUMBERS:
            raise ShapeError("a coordinate is no place in a picture")
        raise ShapeError(f"a coordinate is {kind_of(value)}, not a number")
    raise ShapeError(f"a point is {kind_of(value)}, not two numbers" if not isinstance(value, list) else _TWO)


_NUMBERS = (int, float)
_TWO = "a point isn't two numbers"


def _ring(value: object, least: int, what: str = "points") -> Ring:
    if not isinstance(value, list):
        raise ShapeError(f"its {what} are {kind_of(value)}, not a list")
    if len(value) < least:
        raise ShapeError(f"it has {len(value)} of at least {least} {what}" if value else f"it has no {what}")
    if len(value) < _FEW:
        return [_place(point) for point in value]
    try:
        points = np.array(value)
    except ValueError:
        points = np.empty(0)
    if points.ndim == 2 and points.shape[1] == 2 and points.dtype.kind in "if" and _are_places(points):
        return value if type(value[0]) is tuple else [*map(tuple, value)]
    return [_place(point) for point in value]  # finds out which


def _are_places(numbers: NDArray[Any]) -> bool:
    return bool((numbers < FARTHEST).all() and (numbers > -FARTHEST).all())


def _part(item: Mapping[str, Any], key: str, kind: type, what: str) -> Any:
    """What an object must have under a name."""
    value = item.get(key)
    if not isinstance(value, kind):
        raise ShapeError(f"its {key} are {kind_of(value)}, not {what}" if key in item else f"it has no {key}")
    return value


def _exterior(item: Mapping[str, Any], least: int) -> Ring:
    return _ring(_part(item, "points", dict, "an object {…}").get("exterior", []), least)


def _corners(value: object) -> tuple[float, float, float, float]:
    points = _ring(value, 2, "corners")
    if len(points) != 2:
        raise ShapeError(f"it has {len(points)} corners, not 2")
    (x1, y1), (x2, y2) = points
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _rectangle(item: Mapping[str, Any], _: ClassLook) -> Shape:
    return Shape(_corners(_part(item, "points", dict, "an object {…}").get("exterior", [])))


def _polygon_of(part: Mapping[str, Any], shape: Shape) -> None:
    rings = [_ring(part.get("exterior", []), 3)]
    holes = part.get("interior") or []
    if not isinstance(holes, list):
        raise ShapeError(f"its holes are {kind_of(holes)}, not a list")
    rings += [_ring(hole, 3, "points of a hole") for hole in holes]
    shape.areas.append(rings)
    shape.lines += [Line(ring) for ring in rings]


def _polygon(item: Mapping[str, Any], _: ClassLook) -> Shape:
    shape = Shape()
    _polygon_of(_part(item, "points", dict, "an object {…}"), shape)
    return shape


def _multipolygon(item: Mapping[str, Any], _: ClassLook) -> Shape:
    shape = Shape()
    for part in _part(item, "parts", list, "a list"):
        if not isinstance(part, dict):
            raise ShapeError(f"a part is {kind_of(part)}, not an object {{…}}")
        _polygon_of(part, shape)
    if not shape.areas:
        raise ShapeError("it has no parts")
    return shape


def _line(item: Mapping[str, Any], _: ClassLook) -> Shape:
    return Shape(lines=[Line(_exterior(item, 2), closed=False)])


def _point(item: Mapping[str, Any], _: ClassLook) -> Shape:
    x, y = _exterior(item, 1)[0]
    return Shape(dots=[Dot(x, y)])


def _cuboid(item: Mapping[str, Any], _: ClassLook) -> Shape:
    points = _ring(item.get("points", []), 4)
    shape = Shape()
    for face in _part(item, "faces", list, "a list"):
        if not isinstance(face, list) or len(face) != 4:
            raise ShapeError("a face isn't four points")
        if not all(type(number) is int and 0 <= number < len(points) for number in face):
            raise ShapeError(f"a face has a point that isn't among the {len(points)} of the cuboid")
        ring = [points[number] for number in face]
        shape.areas.append([ring])
        shape.lines.append(Line(ring))
    if not shape.areas:
        raise ShapeError("it has no faces")
    return shape


def _oriented(item: Mapping[str, Any], _: ClassLook) -> Shape:
    left, top, right, bottom = _corners(item.get("points", []))
    angle = item.get("angle", 0) or 0
    if not is_place(angle):
        raise ShapeError(f"its angle is {kind_of(angle)}, not a number that turns it")
    # The SDK turns around a whole pixel.
    x, y = (math.floor(left) + math.floor(right)) // 2, (math.floor(top) + math.floor(bottom)) // 2
    cos, sin = math.cos(angle), math.sin(angle)
    ring = [
        (x + (px - x) * cos - (py - y) * sin, y + (px - x) * sin + (py - y) * cos)
        for px, py in ((left, top), (right, top), (right, bottom), (left, bottom))
    ]
    return Shape(areas=[[ring]], lines=[Line(ring)])


def _nodes(item: Mapping[str, Any], key: str) -> dict[str, Point]:
    found = {}
    for name, node in _part(item, key, dict, "an object {…}").items():
        if not isinstance(node, dict):
            raise ShapeError(f"a node is {kind_of(node)}, not an object {{…}}")
        if "loc" not in node:
            raise ShapeError("a node has no loc")
        if not node.get("disabled"):
            found[name] = _place(node["loc"])
    if not found:
        raise ShapeError(f"it has no {key} that are shown")
    return found


def _joined(nodes: Mapping[str, Point], edges: Sequence[Edge], colors: Mapping[str, Color]) -> Shape:
    return Shape(
        lines=[
            Line([nodes[edge.source], nodes[edge.target]], False, edge.color)
            for edge in edges
            if edge.source in nodes and edge.target in nodes
        ],
        dots=[Dot(x, y, colors.get(name)) for name, (x, y) in nodes.items()],
    )


def _graph(item: Mapping[str, Any], look: ClassLook) -> Shape:
    return _joined(_nodes(item, "nodes"), look.edges, look.nodes)


def _cuboid_edges() -> tuple[Edge, ...]:
    corners = ("topleft", "topright", "bottomright", "bottomleft")
    around = [
        Edge(f"face{face}-{first}", f"face{face}-{second}", None)
        for face in (1, 2)
        for first, second in zip(corners, (*corners[1:], corners[0]), strict=True)
    ]
    return (*around, *(Edge(f"face1-{corner}", f"face2-{corner}", None) for corner in corners))


_CUBOID_EDGES = _cuboid_edges()


def _cuboid_2d(item: Mapping[str, Any], _: ClassLook) -> Shape:
    return _joined(_nodes(item, "vertices"), _CUBOID_EDGES, {})


def _stored(item: Mapping[str, Any], kind: str) -> Mask:
    """The pixels of a bitmap without the empty rows and columns around them, and where they lie."""
    bitmap = _part(item, "bitmap", dict, "an object {…}")
    data = bitmap.get("data")
    if not isinstance(data, str):
        raise ShapeError(f"the data of its bitmap is {kind_of(data)}, not a text" if data else "its bitmap has no data")
    if "origin" not in bitmap:
        raise ShapeError("its bitmap has no origin")
    x, y = map(math.floor, _place(bitmap["origin"]))
    try:
        opacity = Image.fromarray(stored_mask(kind, data, MAX_BITMAP_BYTES).pixels)
    except MaskError as error:
        raise ShapeError(f"its bitmap has pixels that {error}") from error
    if not (box := opacity.getbbox()):
        raise ShapeError("nothing is set in its bitmap")
    part = opacity if box == (0, 0, *opacity.size) else opacity.crop(box)
    return Mask(part, x + box[0], y + box[1], kind == ALPHA_MASK)


def _bitmap(item: Mapping[str, Any], _: ClassLook) -> Shape:
    return Shape(mask=_stored(item, "bitmap"))


def _alpha_mask(item: Mapping[str, Any], _: ClassLook) -> Shape:
    return Shape(mask=_stored(item, ALPHA_MASK))


_READERS: dict[str, Callable[[Mapping[str, Any], ClassLook], Shape]] = {
    "rectangle": _rectangle,
    "polygon": _polygon,
    "multipolygon": _multipolygon,
    "line": _line,
    "polyline": _line,
    "point": _point,
    "bitmap": _bitmap,
    ALPHA_MASK: _alpha_mask,
    "graph": _graph,
    "cuboid": _cuboid,
    "cuboid_2d": _cuboid_2d,
    "oriented_bbox": _oriented,
}
KNOWN = frozenset(_READERS)
