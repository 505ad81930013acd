"""How classes look: their colours, and the edges and nodes of those that are graphs, from ``meta.json``."""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import ImageColor

from blobdir.wording import counted, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

Color = tuple[int, int, int]
_SHOWN = 40
"""Characters of a colour, which has no more."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between two nodes of a graph; without a colour, in that of the object."""

    source: str
    target: str
    color: Color | None


@dataclass(frozen=True, slots=True)
class ClassLook:
    """How objects of a class are drawn.

    Attributes
    ----------
    color : (int, int, int)
    shape : str
        Of its objects that don't name theirs; empty where the class takes any.
    edges : tuple of Edge
        Of a graph: nothing else is joined.
    nodes : dict
        Node of a graph -> its colour.
    """

    color: Color
    shape: str = ""
    edges: tuple[Edge, ...] = ()
    nodes: Mapping[str, Color] = field(default_factory=dict)


class Looks:
    """Class -> how it's drawn, from the content of ``meta.json``; a class that isn't there has a colour by its name."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._known = {item["title"]: _look(item) for item in _dicts(meta.get("classes")) if _is_named(item)}
        self._others: dict[str, ClassLook] = {}

    def __getitem__(self, title: str) -> ClassLook:
        found = self._known.get(title) or self._others.get(title)
        if found is None:
            found = self._others[title] = ClassLook(color_of_name(title))
        return found

    def colors(self) -> dict[str, Color]:
        """Class -> colour, of all that are in ``meta.json``."""
        return {title: look.color for title, look in self._known.items()}


def _is_named(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("title"), str)


def _look(item: Mapping[str, Any]) -> ClassLook:
    config = item.get("geometry_config")
    config = config if isinstance(config, dict) else {}
    shape = item.get("shape")
    nodes = config.get("nodes")
    edges = tuple(
        Edge(edge["src"], edge["dst"], color_of(edge.get("color")))
        for edge in _dicts(config.get("edges"))
        if isinstance(edge.get("src"), str) and isinstance(edge.get("dst"), str)
    )
    return ClassLook(
        color_of(item.get("color")) or color_of_name(item["title"]),
        shape if isinstance(shape, str) and shape != "any" else "",
        edges,
        {
            key: color
            for key, node in (nodes.items() if isinstance(nodes, dict) else ())
            if isinstance(node, dict) and (color := color_of(node.get("color")))
        },
    )


def color_faults(meta: Mapping[str, Any]) -> list[str]:
    """Which classes of a ``meta.json`` have colours that are none, in words."""
    found = []
    for item in filter(_is_named, _dicts(meta.get("classes"))):
        if is_no_color(item.get("color")):
            shown = one_line(str(item["color"]), _SHOWN)
            found.append(f"the class {item['title']!r} has {shown!r} as color, which is none: it gets one by its name")
        config = item.get("geometry_config")
        config = config if isinstance(config, dict) else {}
        nodes = config.get("nodes")
        parts = [*_dicts(config.get("edges")), *_dicts([*nodes.values()] if isinstance(nodes, dict) else None)]
        if count := sum(is_no_color(part.get("color")) for part in parts):
            lines = counted(count, "node or edge", "nodes and edges")
            found.append(f"the class {item['title']!r} has {lines} with a color that is none: they get their object's")
    return found


def is_no_color(value: object) -> bool:
    """Whether a colour is given that can't be drawn."""
    return value is not None and color_of(value) is None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def color_of(value: object) -> Color | None:
    """A colour as JSON has it, ``#FF0000`` or ``[255, 0, 0]``; None where it's none."""
    if isinstance(value, list):
        if len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value):
            return value[0], value[1], value[2]
        return None
    if not isinstance(value, str) or len(value) > _SHOWN:
        return None
    try:
        red, green, blue, *_ = ImageColor.getrgb(value)
    except (ValueError, OverflowError):
        return None
    return (red, green, blue) if all(0 <= part <= 255 for part in (red, green, blue)) else None


def color_of_name(title: str) -> Color:
    """A strong colour that is always the same for a name."""
    number = int.from_bytes(hashlib.blake2b(title.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")
    red, green, blue = colorsys.hsv_to_rgb(number % 360 / 360, 0.75 + number // 360 % 3 / 12, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def brightness(color: Color) -> float:
    """How bright a colour looks, from 0 to 255."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def ink_on(color: Color) -> Color:
    """Black or white: what can be read on a colour."""
    return (0, 0, 0) if brightness(color) > 140 else (255, 255, 255)
