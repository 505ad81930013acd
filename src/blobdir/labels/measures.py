"""Areas and boxes of objects, by their geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blobdir.labels.model import Box, Mask, Polygon, around

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from blobdir.labels.model import Point, Shape


def ring_area(points: Sequence[Point]) -> float:
    """Area within an outline."""
    total = 0.0
    for (a, b), (c, d) in zip(points, [*points[1:], *points[:1]], strict=True):
        total += a * d - b * c
    return abs(total) / 2


def area(shapes: Iterable[Shape]) -> float:
    """Area of all shapes together, where they don't overlap; lines and points have none."""
    total = 0.0
    for shape in shapes:
        match shape:
            case Box():
                total += (shape.right - shape.left) * (shape.bottom - shape.top)
            case Polygon():
                total += ring_area(shape.exterior) - sum(map(ring_area, shape.holes))
            case Mask():
                total += int(shape.pixels.sum())
    return total


def measured(shapes: Sequence[Shape]) -> dict[str, Any]:
    """COCO's ``area`` and ``bbox``, where nobody says them otherwise: of outlines and masks, else of the box."""
    solid: Sequence[Shape] = [shape for shape in shapes if isinstance(shape, (Polygon, Mask))]
    solid = solid or [shape for shape in shapes if isinstance(shape, Box)] or shapes
    box = around(solid)
    found: dict[str, Any] = {"area": plain(area(solid))}
    if box is not None:
        found["bbox"] = [plain(one) for one in (box.left, box.top, box.right - box.left, box.bottom - box.top)]
        if not found["area"] and not any(isinstance(shape, (Polygon, Mask, Box)) for shape in shapes):
            found["area"] = plain((box.right - box.left) * (box.bottom - box.top))
    return found


def plain(value: float) -> float:
    """A whole number as JSON has one; others without what calculating has left at their end."""
    value = round(value, 9)
    return int(value) if value == int(value) else value
