"""Shapes that Supervisely doesn't have, as outlines: ellipses and circles, and boxes that are turned."""

from __future__ import annotations

from math import cos, pi, radians, sin
from typing import TYPE_CHECKING, Final

from blobdir.labels.model import Box, LabelError, Polygon

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.labels.model import Point

_CORNERS: Final = 72


def ellipse(x: float, y: float, across: float, down: float, degrees: float = 0) -> Polygon:
    """An ellipse with its centre and two radii, turned clockwise; LabelError where it has no area."""
    if across <= 0 or down <= 0:
        raise LabelError(f"its radius is {min(across, down):g}")
    angles = [2 * pi * i / _CORNERS for i in range(_CORNERS)]
    ring = turned(((x + across * cos(a), y + down * sin(a)) for a in angles), (x, y), degrees)
    return Polygon(tuple((round(a, 3), round(b, 3)) for a, b in ring))


def turned_box(box: Box, degrees: float) -> Polygon:
    """A box that is turned clockwise around its centre."""
    corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
    center = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return Polygon(tuple((round(a, 9), round(b, 9)) for a, b in turned(corners, center, degrees)))


def turned(points: Iterable[Point], center: Point, degrees: float) -> list[Point]:
    """Points that are turned around another one, clockwise as pictures are seen."""
    if not degrees:
        return list(points)
    x, y = center
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return [(x + (a - x) * c - (b - y) * s, y + (a - x) * s + (b - y) * c) for a, b in points]
