"""The objects of an annotation, drawn: the shapes of the Supervisely format."""

from __future__ import annotations

import base64
import binascii
import io
import math
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageColor, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Mapping

Color = tuple[int, int, int]
Point = tuple[float, float]
_FALLBACK: Color = (255, 64, 64)
_FILL = 70
"""Opacity of areas, of 255."""
MAX_BITMAP_BYTES = 64 << 20
_DAMAGED = (
    KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, SyntaxError, OSError, MemoryError,
    zlib.error, binascii.Error, Image.DecompressionBombError,
)  # fmt: skip
"""What damaged objects raise, some of it in Pillow."""


def one_line(text: str) -> str:
    """A name as it can be drawn: bytes that aren't UTF-8, line breaks and other control characters as a sign."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def class_colors(meta: Mapping[str, Any]) -> dict[str, Color]:
    """Class -> colour, from ``meta.json``."""
    found = {}
    for item in meta.get("classes", []):
        try:
            found[item["title"]] = ImageColor.getrgb(item["color"])[:3]
        except (KeyError, ValueError, TypeError):
            continue
    return found


def draw_objects(image: Image.Image, annotation: Mapping[str, Any], colors: Mapping[str, Color], scale: float) -> int:
    """Draw the objects of an annotation over its image.

    Parameters
    ----------
    image : Image
        RGB; changed in place.
    annotation : dict
    colors : dict
        Class -> colour.
    scale : float
        Pixels of `image` for one of the annotation.

    Returns
    -------
    int
        Objects that were drawn; those of unknown shape, or damaged, aren't.
    """
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    drawn = 0
    labels: list[tuple[Point, str, Color]] = []
    for item in annotation.get("objects", []):
        try:
            title = str(item["classTitle"])
            color = colors.get(title, _FALLBACK)
            shape = item.get("geometryType") or item.get("shape")
            where = _DRAWERS[shape](layer, draw, item, color, scale)
        except _DAMAGED:
            continue
        labels.append((where, title, color))
        drawn += 1
    taken: list[tuple[float, float, float, float]] = []
    for where, title, color in labels:
        _label(draw, image.size, where, title, color, taken)
    image.paste(layer, mask=layer)
    return drawn


def _points(item: Mapping[str, Any], scale: float, part: str = "exterior") -> list[Point]:
    return [(_number(x) * scale, _number(y) * scale) for x, y in item["points"][part]]


def _number(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("no place in a picture")
    return found


def _rectangle(_: Image.Image, draw: ImageDraw.ImageDraw, item: Mapping[str, Any], color: Color, scale: float) -> Point:
    (x1, y1), (x2, y2) = _points(item, scale)
    box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    draw.rectangle(box, fill=(*color, _FILL), outline=(*color, 255), width=2)
    return box[0], box[1]


def _polygon(layer: Image.Image, _: ImageDraw.ImageDraw, item: Mapping[str, Any], color: Color, scale: float) -> Point:
    points = _points(item, scale)
    mask = Image.new("L", layer.size)
    inside = ImageDraw.Draw(mask)
    inside.polygon(points, fill=_FILL, outline=255, width=2)
    for hole in item["points"].get("interior", []):
        ring = [(_number(x) * scale, _number(y) * scale) for x, y in hole]
        inside.polygon(ring, fill=0, outline=255)
    layer.paste((*color, 255), mask=mask)
    layer_alpha = layer.getchannel("A")
    layer_alpha.paste(mask, mask=mask.point(lambda value: 255 if value else 0))
    layer.putalpha(layer_alpha)
    return min(points, key=lambda point: point[1])


def _line(_: Image.Image, draw: ImageDraw.ImageDraw, item: Mapping[str, Any], color: Color, scale: float) -> Point:
    points = _points(item, scale)
    draw.line(points, fill=(*color, 255), width=2, joint="curve")
    return points[0]


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, color: Color) -> None:
    draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(*color, 255), outline=(255, 255, 255, 255))


def _point(_: Image.Image, draw: ImageDraw.ImageDraw, item: Mapping[str, Any], color: Color, scale: float) -> Point:
    ((x, y),) = _points(item, scale)
    _dot(draw, x, y, color)
    return x + 4, y - 4


def _bitmap(layer: Image.Image, _: ImageDraw.ImageDraw, item: Mapping[str, Any], color: Color, scale: float) -> Point:
    bitmap = item["bitmap"]
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(bitmap["data"]), MAX_BITMAP_BYTES)
    with Image.open(io.BytesIO(data)) as stored:
        mask = stored.getchannel("A") if "A" in stored.getbands() else stored.convert("L")
    mask = mask.point(lambda value: 150 if value else 0)
    size = max(1, round(mask.width * scale)), max(1, round(mask.height * scale))
    x, y = (_number(value) * scale for value in bitmap["origin"])
    place = Image.new("L", layer.size)
    place.paste(mask.resize(size), (round(x), round(y)))
    flat = Image.new("RGBA", layer.size, (*color, 255))
    flat.putalpha(place)
    layer.alpha_composite(flat)
    return x, y


def _graph(_: Image.Image, draw: ImageDraw.ImageDraw, item: Mapping[str, Any], color: Color, scale: float) -> Point:
    places = {key: [_number(v) * scale for v in node["loc"]] for key, node in item["nodes"].items()}
    keys = list(places)
    for first, second in pairwise(keys):
        draw.line([*places[first], *places[second]], fill=(*color, 160), width=1)
    for x, y in places.values():
        _dot(draw, x, y, color)
    x, y = min(places.values(), key=lambda place: place[1])
    return x, y


_DRAWERS = {
    "rectangle": _rectangle,
    "polygon": _polygon,
    "line": _line,
    "polyline": _line,
    "point": _point,
    "bitmap": _bitmap,
    "graph": _graph,
}


def _label(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    where: Point,
    title: str,
    color: Color,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write a class's name at a place, or below the labels that are there."""
    font = ImageFont.load_default(11)
    left, top, right, bottom = draw.textbbox((0, 0), title, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0, where[0]), max(0, size[0] - width))
    y = min(max(0, where[1] - height), max(0, size[1] - height))
    while any(x < x2 and x1 < x + width and y < y2 and y1 < y + height for x1, y1, x2, y2 in taken):
        y += height
        if y + height > size[1]:
            return  # no room: the object's colour must do
    taken.append((x, y, x + width, y + height))
    draw.rectangle((x, y, x + width, y + height), fill=(*color, 220))
    dark = sum(color) > 380
    ink = (0, 0, 0, 255) if dark else (255, 255, 255, 255)
    draw.text((x + 2 - left, y + 2 - top), title, fill=ink, font=font)
