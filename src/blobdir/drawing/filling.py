"""Outlines of very many points: filled row by row, since Pillow's time grows with points times rows.

What would take minutes is refused, and all is done in pieces, so that whoever waits can end it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Point = tuple[float, float]
MANY: Final = 4000
"""Points from which on an outline is filled here."""
MOST_WAY: Final = 1 << 27
"""Pixels that the outlines of an object go over at the most: about half a minute."""
_PIECE: Final = 1000
_EDGES: Final = 2000


def way_of(points: list[Point]) -> float:
    """Pixels that a line goes over, across and down."""
    if len(points) < MANY:
        return 0.0
    return float(np.abs(np.diff(np.array(points, np.float64), axis=0)).sum())


def pieces(points: list[Point]) -> Iterator[list[Point]]:
    """A line in pieces that are drawn quickly, each from where the last one ends."""
    for first in range(0, max(1, len(points) - 1), _PIECE):
        yield points[first : first + _PIECE + 1]


def filled(points: list[Point], size: tuple[int, int]) -> Image.Image:
    """Where the area inside an outline is: pixels whose middle is.

    Parameters
    ----------
    points : list of (float, float)
        Of a closed outline; the middle of the first pixel is at (0, 0).
    size : (int, int)
        Width and height of the picture.
    """
    width, height = size
    flips = np.zeros((height, width + 1), np.uint8)
    ring = np.array([*points, points[0]], np.float64)
    starts = [*range(0, len(points), _EDGES), len(points)]
    for first, last in pairwise(starts):
        _cross(flips, ring[first : last + 1])
    flips &= 1  # of those, only whether they are odd: that they begin again at 256 is no matter
    np.bitwise_xor.accumulate(flips, axis=1, out=flips)
    return Image.fromarray(flips[:, :width] * np.uint8(255))


def _cross(flips: NDArray[np.uint8], line: NDArray[np.float64]) -> None:
    """Count, for each pixel, how often a line crosses the middle of its row just before it."""
    height, width = flips.shape
    low, high = np.minimum(line[:-1, 1], line[1:, 1]), np.maximum(line[:-1, 1], line[1:, 1])
    top, bottom = np.clip(np.ceil(low), 0, height).astype(np.int64), np.clip(np.ceil(high), 0, height).astype(np.int64)
    counts = bottom - top
    edges = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts) + top[edges]
    (x, y), step = line[edges].T, line[edges + 1] - line[edges]
    across = x + (rows - y) * step[:, 0] / step[:, 1]
    places = rows * width + np.clip(np.ceil(across), 0, width - 1).astype(np.int64)
    np.add.at(flips.reshape(-1), places, np.uint8(1))
