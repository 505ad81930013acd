"""Outlines of masks: along the edges of their pixels, so that nothing of a mask is lost but its holes."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from blobdir.labels.model import Polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    pieces = _Pieces(mask.pixels)
    outer: dict[int, list[tuple[int, int]]] = {}
    holes: dict[int, list[list[tuple[int, int]]]] = {}
    for start in sorted(steps, key=lambda at: (at[1], at[0])):
        while steps[start]:
            (x, y), step = start, min(steps[start], key=lambda step: step != _RIGHT)
            piece = pieces.at(x - (step in (_LEFT, _DOWN)), y - (step in (_LEFT, _UP)))
            ring, area = _ring(steps, start)
            if area > 0:
                outer[piece] = ring
            else:
                holes.setdefault(piece, []).append(ring)
    return [_moved(ring, holes.get(piece, []), mask) for piece, ring in outer.items()]


class _Pieces:
    """Which piece of a mask a pixel is of; pixels that only touch at a corner are of two."""

    def __init__(self, pixels: NDArray[np.bool_]) -> None:
        edges = np.diff(np.pad(pixels, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        rows, starts = np.nonzero(edges == 1)
        self._starts, ends = starts.tolist(), np.nonzero(edges == -1)[1].tolist()
        self._rows = np.searchsorted(rows, np.arange(pixels.shape[0] + 1)).tolist()
        self._joined = list(range(len(ends)))
        for row in range(1, pixels.shape[0]):
            above, run = self._rows[row - 1], self._rows[row]
            while above < self._rows[row] and run < self._rows[row + 1]:
                if self._starts[above] < ends[run] and self._starts[run] < ends[above]:
                    self._joined[self._root(above)] = self._root(run)
                if ends[above] < ends[run]:
                    above += 1
                else:
                    run += 1

    def _root(self, run: int) -> int:
        joined = self._joined
        while joined[run] != run:
            joined[run] = joined[joined[run]]
            run = joined[run]
        return run

    def at(self, x: int, y: int) -> int:
        """The number of the piece of a pixel that is set."""
        return self._root(bisect_right(self._starts, x, self._rows[y], self._rows[y + 1]) - 1)


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


def _moved(ring: list[tuple[int, int]], holes: list[list[tuple[int, int]]], mask: Mask) -> Polygon:
    def points(corners: list[tuple[int, int]]) -> tuple[Point, ...]:
        return tuple((x + mask.left, y + mask.top) for x, y in corners)

    return Polygon(points(ring), tuple(points(hole) for hole in holes))
