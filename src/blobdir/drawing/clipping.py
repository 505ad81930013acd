"""Lines and areas cut off at a window: what lies far outside of a picture costs no time and keeps its direction."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Point = tuple[float, float]
Window = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def is_inside(points: list[Point], window: Window) -> bool:
    """Whether nothing of them has to be cut off."""
    left, top, right, bottom = window
    if not points:
        return True
    xs, ys = [x for x, _ in points], [y for _, y in points]  # faster than to look at point by point
    return left <= min(xs) and max(xs) <= right and top <= min(ys) and max(ys) <= bottom


def clip_ring(points: list[Point], window: Window) -> list[Point]:
    """The part of an area that lies in a window (Sutherland and Hodgman); empty where none does."""
    left, top, right, bottom = window
    for axis, limit, sign in ((0, left, 1), (0, right, -1), (1, top, 1), (1, bottom, -1)):
        if not points:
            break
        found: list[Point] = []
        before = points[-1]
        was_in = sign * (before[axis] - limit) >= 0
        for point in points:
            is_in = sign * (point[axis] - limit) >= 0
            if is_in != was_in:
                part = (limit - before[axis]) / (point[axis] - before[axis])
                cut = [before[0] + part * (point[0] - before[0]), before[1] + part * (point[1] - before[1])]
                cut[axis] = limit
                found.append((cut[0], cut[1]))
            if is_in:
                found.append(point)
            before, was_in = point, is_in
        points = found
    return points


def clip_line(points: list[Point], window: Window) -> Iterator[list[Point]]:
    """The segments of a line, each as far as it lies in a window (Liang and Barsky)."""
    left, top, right, bottom = window
    for (x, y), (x2, y2) in pairwise(points):
        dx, dy, first, last = x2 - x, y2 - y, 0.0, 1.0
        for step, room in ((-dx, x - left), (dx, right - x), (-dy, y - top), (dy, bottom - y)):
            if step == 0:
                if room < 0:
                    first = 2
            elif step < 0:
                first = max(first, room / step)
            else:
                last = min(last, room / step)
        if first <= last:
            yield [(x + first * dx, y + first * dy), (x + last * dx, y + last * dy)]
