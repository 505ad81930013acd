"""Whether bytes are an annotation, and what is wrong with them if not: said in words of the format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from blobdir.errors import AnnotationError
from blobdir.jsontext import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping


SIDE_MAX: Final = (1 << 31) - 1
"""Pixels that an image is high or wide at the most: what image libraries can count."""
FARTHEST: Final = 1e9
"""A coordinate is nearer than that to the corner of its picture."""
_GEOMETRY: Final = ("points", "parts", "nodes", "vertices", "bitmap", "multichannelBitmap", "angle")
_SHOWN: Final = 1e15


def read_object(data: bytes) -> dict[str, Any]:
    """`read_json` of what must be an object, as annotations and ``meta.json`` are.

    Raises
    ------
    AnnotationError
    """
    value = read_json(data)
    if not isinstance(value, dict):
        raise AnnotationError(f"holds {kind_of(value)}, not an object {{…}}")
    return value


def kind_of(value: object) -> str:
    """What JSON calls a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = {str: "a text", int: "a number", float: "a number", list: "a list"}
    return kinds.get(type(value), "an object")


def size_fault(value: Mapping[str, Any]) -> str:
    """What keeps the size in an annotation from being known; empty where nothing does."""
    if not isinstance(size := value.get("size"), dict):
        return f"its size is {kind_of(size)}, not an object {{…}}" if "size" in value else "it has no size"
    for side in ("height", "width"):
        if side not in size:
            return f"its size has no {side}"
        if not is_size(size[side]):
            number = size[side]
            shown = number if type(number) in (int, float) and abs(number) < _SHOWN else kind_of(number)
            return f"its size has {shown} as {side}, not a whole number from 1 to {SIDE_MAX:,}"
    return ""


def is_size(number: object) -> bool:
    """Whether an image can be so many pixels high or wide. ``true`` is no number."""
    return type(number) is int and 0 < number <= SIDE_MAX


def meta_problems(meta: Mapping[str, Any]) -> list[str]:
    """Why classes and tags can't be known from a ``meta.json``, in words of the format; empty where they can."""
    return [
        f"{key} must be a list of objects with a {name} each"
        for key, name in (("classes", "title"), ("tags", "name"))
        if not isinstance(items := meta.get(key, []), list)
        or not all(isinstance(item, dict) and isinstance(item.get(name), str) for item in items)
    ]


def annotation_fault(value: Mapping[str, Any]) -> str:
    """What keeps the classes and tags of an annotation from being known; empty where nothing does.

    ``tags`` may be left out, as old exports do; ``objects`` must be there, as for the SDK.
    """
    if "objects" not in value:
        return "it has no list of objects"
    objects = value["objects"]
    if not isinstance(objects, list):
        return f"its objects are {kind_of(objects)}, not a list"
    if fault := _tags_fault(value, "its"):
        return fault
    for number, item in enumerate(objects):
        if not isinstance(item, dict):
            return f"its object {number} is {kind_of(item)}, not an object {{…}}"
        if not isinstance(title := item.get("classTitle"), str):
            return f"its object {number} has " + (
                f"{kind_of(title)} as classTitle, not a text" if "classTitle" in item else "no classTitle"
            )
        if item.get("tags") != [] and (fault := _tags_fault(item, f"the object {number}'s")):
            return fault
    return ""


def is_place(number: object) -> bool:
    """Whether something is a number that can be a coordinate. ``true``, NaN and what has no end aren't."""
    return type(number) in (int, float) and abs(cast("float", number)) < FARTHEST


def place_fault(item: Mapping[str, Any]) -> str:
    """Why the geometry of an object can't be reckoned with: a number in it is no place; empty where all are."""
    todo = [item[key] for key in _GEOMETRY if key in item]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value
        elif type(value) in (int, float) and not is_place(value):
            return "has a coordinate that is no place in a picture"
    return ""


def _tags_fault(holder: Mapping[str, Any], whose: str) -> str:
    tags = holder.get("tags", [])
    if not isinstance(tags, list):
        return f"{whose} tags are {kind_of(tags)}, not a list"
    for number, tag in enumerate(tags):
        if not isinstance(tag, dict):
            return f"{whose} tag {number} is {kind_of(tag)}, not an object with a name"
        if not isinstance(tag.get("name"), str):
            return f"{whose} tag {number} has " + (
                f"{kind_of(tag['name'])} as name, not a text" if "name" in tag else "no name"
            )
    return ""


def read_annotation(data: bytes | dict[str, Any]) -> dict[str, Any]:
    """The content of an annotation in which nothing is wrong, from its bytes or as JSON was read.

    Raises
    ------
    AnnotationError
        Something is; the message says what.
    """
    value = data if isinstance(data, dict) else read_object(data)
    if fault := size_fault(value) or annotation_fault(value):
        raise AnnotationError(fault)
    return value


def classes_of(value: Mapping[str, Any]) -> list[str]:
    """Class of each object of a sound annotation."""
    return [item["classTitle"] for item in value.get("objects", [])]


def tags_of(value: Mapping[str, Any]) -> list[str]:
    """Tags of a sound annotation: of the image, and of each object."""
    return [tag["name"] for holder in (value, *value.get("objects", [])) for tag in holder.get("tags", [])]
