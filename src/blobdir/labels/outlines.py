"""Outlines of masks: along the edges of their pixels, so that nothing of a mask is lost but its holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blobdir.labels.model import Polygon

if TYPE_CHECKING:
    from blobdir.labels.model import Mask, Point

_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)
_TURNS = {
    _RIGHT: (_DOWN, _RIGHT, _UP),
    _DOWN: (_LEFT, _DOWN, _RIGHT),
    _LEFT: (_UP, _LEFT, _DOWN),
    _UP: (_RIGHT, _UP, _LEFT),
}
"""After a step, which ones come next: first that which keeps pixels that only touch at a corner apart."""


def outlines(mask: Mask) -> list[Polygon]:
    """A polygon for each piece of a mask, with its holes, in the order of their uppermost edges."""
    padded = np.pad(mask.pixels, 1)
    steps: dict[tuple[int, int], set[tuple[int, int]]] = {}

    def add(found: np.ndarray, step: tuple[int, int], dx: int, dy: int) -> None:
        for y, x in np.argwhere(found).tolist():
            steps.setdefault((x + dx, y + dy), set()).add(step)

    inside = padded[1:-1, 1:-1]
    add(inside & ~padded[:-2, 1:-1], _RIGHT, 0, 0)
    add(inside & ~padded[1:-1, 2:], _DOWN, 1, 0)
    add(inside & ~padded[2:, 1:-1], _LEFT, 1, 1)
    add(inside & ~padded[1:-1, :-2], _UP, 0, 1)
    outer: list[list[tuple[int, int]]] = []
    holes: list[list[tuple[int, int]]] = []
    for start in sorted(steps, key=lambda at: (at[1], at[0])):
        while steps[start]:
            ring, area = _ring(steps, start)
            (outer if area > 0 else holes).append(ring)
    return [_moved(ring, [hole for hole in holes if _is_within(hole, ring, outer)], mask) for ring in outer]


def _ring(
    steps: dict[tuple[int, int], set[tuple[int, int]]], start: tuple[int, int]
) -> tuple[list[tuple[int, int]], int]:
    """Take the edges of one outline; gives its corners, and twice its area, below nothing for a hole."""
    at, last = start, min(steps[start], key=lambda step: step != _RIGHT)
    ring, area = [], 0
    direction = last
    while True:
        steps[at].discard(direction)
        new = at[0] + direction[0], at[1] + direction[1]
        area += at[0] * new[1] - at[1] * new[0]
        at = new
        if at == start:
            break
        following = next(step for step in _TURNS[direction] if step in steps[at])
        if following != direction:
            ring.append(at)
        direction = following
    if direction != last:
        ring.insert(0, start)
    return ring, area


def _is_within(hole: list[tuple[int, int]], ring: list[tuple[int, int]], rings: list[list[tuple[int, int]]]) -> bool:
    """Whether a hole is directly in an outline: the smallest one that has it."""
    if not _has(ring, hole[0]):
        return False
    return not any(other is not ring and _has(other, hole[0]) and _has(ring, other[0]) for other in rings)


def _has(ring: list[tuple[int, int]], corner: tuple[int, int]) -> bool:
    """Whether the pixel up and left of a hole's corner, or any around it, lies within an outline."""
    x, y = corner[0] + 0.5, corner[1] + 0.5
    inside = False
    for (a, b), (c, d) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if (b > y) != (d > y) and x < a + (c - a) * (y - b) / (d - b):
            inside = not inside
    return inside


def _moved(ring: list[tuple[int, int]], holes: list[list[tuple[int, int]]], mask: Mask) -> Polygon:
    def points(corners: list[tuple[int, int]]) -> tuple[Point, ...]:
        return tuple((x + mask.left, y + mask.top) for x, y in corners)

    return Polygon(points(ring), tuple(points(hole) for hole in holes))
