"""Ellipses and circles, which Supervisely doesn't have, as outlines."""

from __future__ import annotations

from math import cos, pi, sin
from typing import Final

from blobdir.labels.model import LabelError, Polygon

_CORNERS: Final = 72


def ellipse(x: float, y: float, across: float, down: float) -> Polygon:
    """An ellipse with its centre and two radii; LabelError where it has no area."""
    if across <= 0 or down <= 0:
        raise LabelError(f"its radius is {min(across, down):g}")
    angles = [2 * pi * i / _CORNERS for i in range(_CORNERS)]
    return Polygon(tuple((round(x + across * cos(a), 3), round(y + down * sin(a), 3)) for a in angles))
