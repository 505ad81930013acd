"""What the Supervisely SDK demands of objects, tags and ``meta.json``: what it would raise an error for.

After ``Annotation.from_json`` and ``ProjectMeta.from_json`` of SDK 6.74.51. Worker processes run this for every
annotation: what is as it must be costs little, and only then is it looked at closely.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from keyword import iskeyword
from math import floor, isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Shape = tuple[str, frozenset[str]]
"""Of a class: what its objects are, empty where that isn't known; and the names of its nodes."""
Demand = tuple[str, frozenset[str]]
"""Of a tag: what values it has, empty where that isn't known; and which ones."""

ANY: Final = "any"
_GRAPH, _CUBOID_2D, _MULTIPOLYGON = "graph", "cuboid_2d", "multipolygon"
_AREAS: Final = frozenset({"polygon", _MULTIPOLYGON})
_VERTICES: Final = frozenset(
    f"face{face}-{corner}" for face in (1, 2) for corner in ("topleft", "topright", "bottomright", "bottomleft")
)
_NO_IMAGES: Final = frozenset(
    {"cuboid_3d", "point_3d", "point_cloud", "polyline_3d", "mesh", "closed_surface_mesh", "mask_3d"}
)
_FACES: Final = 3
_CORNERS: Final = 4
_PAIR: Final = {2}
_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_OF_CUBOIDS: Final = (-(1 << 63), (1 << 64) - 1)
"""Numbers that the SDK can have in an outline, and in a cuboid. Holes and other shapes have any."""
_PROBABILITIES: Final = ("probabilityLabels", "probabilityClasses")
_SQUARE: Final = 2.0**126
_COLOR: Final = re.compile("#[A-Fa-f0-9]{6}\n?")

_APPLICABLE: Final = ("all", "imagesOnly", "objectsOnly")
_TARGETS: Final = ("all", "framesOnly", "entitiesOnly")
VALUE_TYPES: Final = ("none", "any_number", "any_string", "oneof_string", "date")


# -- objects -------------------------------------------------------------------------------------------------------


def object_fault(item: Mapping[str, Any], classes: Mapping[str, Shape]) -> str:
    """What keeps the SDK from reading the geometry of an object whose class is known; empty where nothing does."""
    shape, nodes = classes[item["classTitle"]]
    if not shape:
        return ""
    if shape == ANY:
        if "geometryType" not in item and "shape" not in item:
            return "has no geometryType, and its class may have any"
        shape = item["geometryType"] if "geometryType" in item else item["shape"]
        if isinstance(shape, (list, dict)):
            return "has a geometryType that is no text"
        if shape in (_GRAPH, _CUBOID_2D):
            return f"is a {shape}, which a class of any shape can't have"
    try:
        check = _CHECKS.get(shape)
        return check(item, nodes) if check else ""
    except (TypeError, KeyError, ValueError, IndexError, AttributeError, OverflowError):
        return f"isn't a {shape} that can be read"


def upload_fault(item: Mapping[str, Any], classes: Mapping[str, Shape]) -> str:
    """What keeps ``upload_project`` of the SDK from sending an object that it can read; empty where nothing does."""
    kind, (shape, _) = item.get("geometryType"), classes[item["classTitle"]]
    if not isinstance(kind, str):
        return "has no geometryType"
    if shape not in ("", ANY, kind):
        return f"is called a {kind} (geometryType), and its class has the shape {shape}"
    return "is a cuboid, which the SDK has no way to upload" if kind == "cuboid" else ""


def custom_fault(annotation: Mapping[str, Any]) -> tuple[str, str]:
    """What keeps the SDK from reading what users put into an annotation, and what from writing it again."""
    custom = annotation.get("customBigData")
    if not custom or isinstance(custom, (dict, list)):
        return "", ""
    if not isinstance(custom, str):
        return "has customBigData that are a number", ""
    if all(key in custom for key in _PROBABILITIES):
        return "has customBigData that are a text which the SDK takes for objects", ""
    return "", "has customBigData that are a text: the SDK reads the annotation, and can't write it again"


def is_drawn(item: Mapping[str, Any], classes: Mapping[str, Shape]) -> bool:
    """Whether an object without faults is of a shape that is known here, and so has a place."""
    return bool(classes[item["classTitle"]][0]) and item["geometryType"] in _CHECKS


def is_outside(item: Mapping[str, Any], size: Mapping[str, Any]) -> bool:
    """Whether the SDK drops a sound object, since nothing of it lies in the picture; of graphs, since a node doesn't.

    Of bitmaps only what their origin tells is known, of polygons and lines what the box around them does.
    """
    kind = item["geometryType"]
    if kind == "oriented_bbox":
        return False
    right: int
    bottom: int
    right, bottom = size["width"] - 1, size["height"] - 1
    boxes = [_whole_box(points) for points in _places(item, kind)]
    if all(box[0] >= 0 and box[1] >= 0 and box[2] <= right and box[3] <= bottom for box in boxes):
        return False
    if kind in (_GRAPH, _CUBOID_2D):
        return True
    if kind in BITMAPS:
        return boxes[0][0] > right or boxes[0][1] > bottom
    inner = 1 if kind in _AREAS else 0  # of an area that only touches the edge nothing is left
    return all(box[0] > right - inner or box[1] > bottom - inner or box[2] < inner or box[3] < inner for box in boxes)


def _whole_box(points: Iterable[Iterable[float]]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of points, in the pixels that the SDK puts them in: it rounds down."""
    xs, ys = zip(*points, strict=True)
    return floor(min(xs)), floor(min(ys)), floor(max(xs)), floor(max(ys))


def _places(item: Mapping[str, Any], kind: str) -> list[list[list[float]]]:
    """The points of the parts of an object that tell where they lie."""
    if kind in BITMAPS:
        return [[item[BITMAPS[kind]]["origin"]]]
    if kind in (_GRAPH, _CUBOID_2D):
        return [[node["loc"][:2] for node in item["nodes" if kind == _GRAPH else "vertices"].values()]]
    parts = item["parts"] if kind == _MULTIPOLYGON else [item["points"]]
    return [part["exterior"] for part in parts]


def info_fault(value: Any) -> str:
    """What keeps the SDK from reading a file in ``img_info/``."""
    if not isinstance(value, dict):
        return "isn't an object"
    if "meta" not in value or not isinstance(value["meta"] or {}, dict):
        return "has no meta that is an object"
    wrong = [key for key in value if not key.isidentifier() or iskeyword(key) or key.startswith("_")]
    return f"has keys that can't be names: {', '.join(map(repr, wrong[:3]))}" if wrong else ""


def _numbers_fault(
    pairs: Any, what: str, least: int = 0, most: int | None = None, within: tuple[int, int] | None = None
) -> str:
    """What is wrong with a list of pairs of numbers, or with one that isn't `within` a range."""
    if type(pairs) is not list:
        return f"{what} that is no list" if pairs is not None else f"no {what}"
    if len(pairs) < least or (most is not None and len(pairs) > most):
        return f"{len(pairs)} points in its {what}, not {least}{'' if most == least else ' or more'}"
    try:
        # Only pairs can be taken apart, only numbers have a square, and only those in all ranges a sum as small.
        if sum([x * x + y * y for x, y in pairs]) < _SQUARE:
            return ""
    except (TypeError, ValueError, OverflowError):
        pass
    if not all(isinstance(pair, list) and len(pair) in _PAIR and all(map(_is_number, pair)) for pair in pairs):
        return f"something in its {what} that is no pair of numbers"
    if within is not None and not all(within[0] <= int(number) <= within[1] for pair in pairs for number in pair):
        return f"a number in its {what} that is too large"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and isfinite(value))


def _points_fault(
    item: Mapping[str, Any], least: int, most: int | None = None, within: tuple[int, int] | None = None
) -> str:
    """What is wrong with the points of an object, that have an outline and holes."""
    points = item.get("points")
    if type(points) is not dict:
        return "has no points" if points is None else "has points that aren't an object"
    if "interior" not in points or "exterior" not in points:
        return "has no exterior and interior in its points"
    if fault := _numbers_fault(points["exterior"], "exterior", least, most, within):
        return f"has {fault}"
    interior = points["interior"]
    return "" if interior == [] else _holes_fault(interior, 0)


def _holes_fault(interior: Any, least: int) -> str:
    if not isinstance(interior, list):
        return "has an interior that is no list"
    return next((f"has {fault}" for hole in interior if (fault := _numbers_fault(hole, "interior", least))), "")


def _rectangle(item: Mapping[str, Any], _: frozenset[str]) -> str:
    return _points_fault(item, 2, 2)


def _polygon(item: Mapping[str, Any], _: frozenset[str]) -> str:
    fault = _points_fault(item, 1, within=_INT64)
    return fault or ("has a hole without points" if [] in item["points"]["interior"] else "")


def _line(item: Mapping[str, Any], _: frozenset[str]) -> str:
    return _points_fault(item, 2, within=_INT64)


def _point(item: Mapping[str, Any], _: frozenset[str]) -> str:
    return _points_fault(item, 1, 1)


def _multipolygon(item: Mapping[str, Any], _: frozenset[str]) -> str:
    parts = item.get("parts")
    if not isinstance(parts, list) or not parts:
        return "has no parts"
    for part in parts:
        if not isinstance(part, dict):
            return "has a part that isn't an object"
        if fault := _numbers_fault(part.get("exterior"), "exterior", 3, within=_INT64):
            return f"has {fault}"
        if fault := _holes_fault(part.get("interior", []), 3):
            return fault
    return ""


def _oriented(item: Mapping[str, Any], _: frozenset[str]) -> str:
    if "angle" not in item:
        return "has no angle"
    points = item.get("points")
    if not isinstance(points, list) or len(points) not in _PAIR:
        return "has no points" if points is None else "has points that aren't a list of two"
    fault = _numbers_fault([point[:2] for point in points], "points")
    return f"has {fault}" if fault else ""


def _cuboid(item: Mapping[str, Any], _: frozenset[str]) -> str:
    if fault := _numbers_fault(item.get("points"), "points", within=_OF_CUBOIDS):
        return f"has {fault}"
    faces, count = item.get("faces"), len(item["points"])
    if not isinstance(faces, list) or len(faces) != _FACES:
        return "hasn't three faces"
    for face in faces:
        if not isinstance(face, list) or len(face) != _CORNERS:
            return "has a face that hasn't four corners"
        if not all(isinstance(corner, int) and 0 <= corner < count for corner in face):
            return "has a face with a corner that is none of its points"
    return ""


def _nodes_fault(nodes: Any, known: frozenset[str], what: str) -> str:
    if not isinstance(nodes, dict) or not nodes:
        return f"has no {what}"
    if unknown := nodes.keys() - known:
        return f"has {what} that its class doesn't have: {', '.join(sorted(map(repr, unknown))[:3])}"
    for node in nodes.values():
        if not isinstance(node, dict) or "loc" not in node:
            return f"has {what} without a place (loc)"
        if fault := _numbers_fault([node["loc"][:2]], "places (loc)"):
            return f"has {fault}"
    return ""


def _graph(item: Mapping[str, Any], nodes: frozenset[str]) -> str:
    return _nodes_fault(item.get("nodes"), nodes, "nodes")


def _cuboid_2d(item: Mapping[str, Any], _: frozenset[str]) -> str:
    vertices = item.get("vertices")
    fault = _nodes_fault(vertices, _VERTICES, "vertices")
    return fault or ("hasn't eight vertices" if len(vertices or ()) != len(_VERTICES) else "")


def _bitmap(key: str) -> Callable[[Mapping[str, Any], frozenset[str]], str]:
    """For bitmaps below a key; `verifying.bitmaps` looks at their pixels."""

    def check(item: Mapping[str, Any], _: frozenset[str]) -> str:
        bitmap = item.get(key)
        if not isinstance(bitmap, dict):
            return f"has no {key}" if bitmap is None else f"has a {key} that isn't an object"
        for part in ("origin", "data"):
            if part not in bitmap:
                return f"has no {part} in its {key}"
        if fault := _numbers_fault([bitmap["origin"]], "origin"):
            return f"has {fault}"
        return "" if isinstance(bitmap["data"], str) else f"has data in its {key} that are no text"

    return check


def _none_of_images(shape: str) -> Callable[[Mapping[str, Any], frozenset[str]], str]:
    def check(_: Mapping[str, Any], __: frozenset[str]) -> str:
        return f"is a {shape}, which images don't have"

    return check


BITMAPS: Final = {"bitmap": "bitmap", "alpha_mask": "bitmap", "multichannelBitmap": "multichannelBitmap"}
"""Shape -> the key of an object that has the pixels."""
_CHECKS: Final = {
    "rectangle": _rectangle,
    "polygon": _polygon,
    "line": _line,
    "point": _point,
    _MULTIPOLYGON: _multipolygon,
    "oriented_bbox": _oriented,
    "cuboid": _cuboid,
    _GRAPH: _graph,
    _CUBOID_2D: _cuboid_2d,
    **{shape: _bitmap(key) for shape, key in BITMAPS.items()},
    **{shape: _none_of_images(shape) for shape in _NO_IMAGES},
}


# -- tags ----------------------------------------------------------------------------------------------------------


def tag_fault(tag: Mapping[str, Any], tags: Mapping[str, Demand]) -> str:
    """What keeps the SDK from reading a tag that is known; empty where nothing does."""
    kind, values = tags[tag["name"]]
    value = tag.get("value")
    is_one_of = kind == "oneof_string"
    if not (isinstance(value, str) and value in values if is_one_of else _IS_ALLOWED[kind](value)):
        if value is None:
            return f"has no value, and meta.json demands one ({kind})"
        return f"has a value that meta.json doesn't allow ({kind})"
    custom = tag.get("customData")
    return "" if custom is None or isinstance(custom, dict) else "has customData that aren't an object"


def _is_date(value: Any) -> bool:
    try:
        datetime.fromisoformat(value.replace("Z", "+00:00"))  # noqa: FURB162  # as the SDK does: elsewhere than at the end, too
    except (ValueError, AttributeError):
        return False
    return True


_IS_ALLOWED: Final[dict[str, Callable[[Any], bool]]] = {
    "": lambda _: True,
    "none": lambda value: value is None,
    "any_number": lambda value: isinstance(value, (int, float)),
    "any_string": lambda value: isinstance(value, str),
    "date": _is_date,
}


# -- meta.json -----------------------------------------------------------------------------------------------------


def classes_demanded(items: Iterable[Mapping[str, Any]]) -> dict[str, Shape]:
    """Class -> what its objects must be, by what ``meta.json`` says of it."""
    found: dict[str, Shape] = {}
    for item in items:
        shape = "" if class_fault(item) else item["shape"] if item["shape"] in _CHECKS else ANY
        config = item.get("geometry_config")
        nodes = config.get("nodes") if isinstance(config, dict) else None
        known = frozenset(nodes) if isinstance(nodes, dict) else frozenset()
        found[item["title"]] = shape, known
    return found


def tags_demanded(items: Iterable[Mapping[str, Any]]) -> dict[str, Demand]:
    """Tag -> what its values must be, by what ``meta.json`` says of it."""
    found: dict[str, Demand] = {}
    for item in items:
        sound = not tag_meta_fault(item)
        values = item.get("values") if sound else None
        found[item["name"]] = (item["value_type"] if sound else "", frozenset(values or ()))
    return found


def meta_faults(meta: Mapping[str, Any]) -> list[str]:
    """What keeps the SDK from reading a ``meta.json`` whose classes and tags are lists of objects with names."""
    found = []
    if meta.get("classes") is None:
        found.append("has no list of classes")
    for key, name, fault_of in (("classes", "title", class_fault), ("tags", "name", tag_meta_fault)):
        items, what = meta.get(key) or [], {"classes": "class", "tags": "tag"}[key]
        found += [f"{what} {item[name]!r} {fault}" for item in items if (fault := fault_of(item))]
        times = Counter(item[name] for item in items)
        found += [f"{what} {title!r} is there {count} times" for title, count in times.items() if count > 1]
    if meta.get("tags") and (meta.get("tags_images") or meta.get("tags_objects")):
        found.append("has tags, and tags_images or tags_objects as well")
    if fault := settings_fault(meta):
        found.append(f"has projectSettings {fault}")
    return found


def settings_fault(meta: Mapping[str, Any]) -> str:
    """What keeps the SDK from reading the settings in a ``meta.json``."""
    settings = meta.get("projectSettings")
    if settings is None:
        return ""
    if not isinstance(settings, dict):
        return "that aren't an object"
    if unknown := settings.keys() - {"multiView", "labelingInterface", "spectrogram"}:
        return f"that there are none of: {', '.join(sorted(map(repr, unknown))[:3])}"
    views, interface = settings.get("multiView"), settings.get("labelingInterface")
    if not isinstance(views, dict) or views.keys() != _MULTI_VIEW.keys():
        return f"whose multiView hasn't just {', '.join(_MULTI_VIEW)}"
    for key, is_allowed in _MULTI_VIEW.items():
        if not is_allowed(views[key]):
            return f"with a {key} of multiView that is of another type"
    if interface is not None and not (isinstance(interface, str) and interface in _INTERFACES):
        return "with a labelingInterface that there is none of"
    if not isinstance(settings.get("spectrogram"), (dict, NoneType)):
        return "with a spectrogram that is no object"
    return ""


def view_fault(meta: Mapping[str, Any]) -> str:
    """What the SDK drops of the settings in a sound ``meta.json`` when it uploads that."""
    views = (meta.get("projectSettings") or {}).get("multiView") or {}
    tag = views.get("tagName")
    if not views.get("enabled") or tag is None or any(item["name"] == tag for item in meta.get("tags") or ()):
        return ""
    return f"has projectSettings with a multiView by the tag {tag!r}, which it doesn't have"


def _is_integer(value: Any) -> bool:
    """As JSON Schema has it."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_MULTI_VIEW: Final[dict[str, Callable[[Any], bool]]] = {
    "enabled": lambda value: isinstance(value, bool),
    "tagName": lambda value: value is None or isinstance(value, str),
    "tagId": lambda value: value is None or _is_integer(value),
    "isSynced": lambda value: isinstance(value, bool),
}
_INTERFACES: Final = frozenset(
    {
        "default", "medical_imaging_single", "images_with_16_color", "multispectral", "overlay", "multi_view",
        "image_matting", "fisheye", "nrrd", "medical_imaging_multiple", "point_cloud_episodes", "telemetry",
    }
)  # fmt: skip


def class_fault(item: Mapping[str, Any]) -> str:
    """What keeps the SDK from reading a class."""
    if isinstance(item.get("shape", []), (list, dict)):
        return "has no shape"
    if not isinstance(item.get("color"), str):
        return "has no color"
    return _template_fault(item.get("geometry_config")) if item["shape"] == _GRAPH else ""


def _template_fault(config: Any) -> str:
    """What is wrong with the template of a class of graphs."""
    if not isinstance(config, dict) or not isinstance(config.get("nodes"), dict):
        return "is of graphs, and has no nodes in its geometry_config"
    edges = config.get("edges", [])
    if not isinstance(edges, (list, dict, str)):
        return "has edges that aren't a list"
    for part in (*config["nodes"].values(), *edges):
        if not isinstance(part, (dict, list, str)):  # the SDK doesn't look closer at lists and texts
            return "has nodes or edges that aren't objects"
        if "color" in part and not (isinstance(part, dict) and _is_color(part["color"])):
            return "has nodes or edges with a color that is none"
    return ""


def _is_color(value: Any) -> bool:
    return isinstance(value, str) and _COLOR.fullmatch(value) is not None


def tag_meta_fault(item: Mapping[str, Any]) -> str:
    """What keeps the SDK from reading what ``meta.json`` says of a tag."""
    kind, values, color = item.get("value_type"), item.get("values"), item.get("color")
    if kind not in VALUE_TYPES:
        return "has no value_type" if kind is None else f"has a value_type that is none of {', '.join(VALUE_TYPES)}"
    if kind == "oneof_string":
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            return "is one of several, and has no list of values"
    elif values is not None:
        return f"has values, which only oneof_string has ({kind})"
    if color is not None and not _is_color(color):
        return "has a color that is none"
    for key, known in (("applicable_type", _APPLICABLE), ("target_type", _TARGETS)):
        if item.get(key) is not None and item[key] not in known:
            return f"has a {key} that is none of {', '.join(known)}"
    lengths = [item.get(f"frame_range_{end}_length") or 0 for end in ("min", "max")]
    if not all(type(length) is int and length >= 0 for length in lengths) or 0 < lengths[1] < lengths[0]:
        return "has a range of frames that is none"
    return ""
