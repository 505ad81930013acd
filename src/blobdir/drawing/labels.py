"""Names of classes beside their objects, none over another, and off the lines where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import ImageDraw

from blobdir.drawing.palette import Color, brightness, ink_on
from blobdir.drawing.text import typesetter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

_PADDING = 2
_COVERED = 0.1
"""Part of a name that may lie over lines: more of them would be hidden."""
_ALL = 0.3
"""Part of a picture that names may take."""
_MISSES = 200
"""Names in a row without room for them after which no other is tried."""


class Label(NamedTuple):
    """A name, and the box that it's of: left, top, right, bottom."""

    box: tuple[float, float, float, float]
    text: str
    color: Color


def label_size(size: tuple[int, int]) -> int:
    """Pixels of an em in a picture of a size."""
    return min(26, max(11, round(max(size) / 55)))


def draw_labels(image: Image.Image, labels: Sequence[Label], lines: NDArray[np.uint8]) -> int:
    """Write names over an image, each with its colour as ground; one for which there is no room is left out.

    Parameters
    ----------
    image : Image
        RGB; changed in place.
    labels : sequence of Label
    lines : ndarray of shape (height, width)
        Not 0 where lines are: names are written elsewhere if they can.

    Returns
    -------
    int
        How many were written.
    """
    letters = typesetter(label_size(image.size))
    draw = ImageDraw.Draw(image)
    taken = np.zeros((image.height, image.width), bool)
    cut = letters.fitting((label.text for label in labels), min(image.width, max(60, image.width * 0.7)) - 2 * _PADDING)
    written = misses = used = 0
    for label in labels:
        if misses > _MISSES or used > _ALL * taken.size:
            break
        text = cut[label.text]
        size = round(letters.width(text)) + 2 * _PADDING + 1, letters.height + 2
        place = _place(label.box, size, image.size, taken, lines)
        if place is None:
            misses += 1
            continue
        misses = 0
        used += size[0] * size[1]
        x, y = place
        taken[y : y + size[1], x : x + size[0]] = True
        edge = (0, 0, 0) if brightness(label.color) > 200 else None
        draw.rectangle((x, y, x + size[0] - 1, y + size[1] - 1), fill=label.color, outline=edge)
        letters.draw(image, x + _PADDING, y + 1, text, ink_on(label.color))
        written += 1
    return written


def _place(
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    picture: tuple[int, int],
    taken: NDArray[np.bool_],
    lines: NDArray[np.uint8],
) -> tuple[int, int] | None:
    """The first free place that covers no lines, or the one that covers the fewest; None where there is no room."""
    if size[0] > picture[0] or size[1] > picture[1]:
        return None
    best: tuple[int, int] | None = None
    fewest = round(size[0] * size[1] * _COVERED) + 1
    for x, y in _places(box, size, picture):
        if taken[y : y + size[1], x : x + size[0]].any():
            continue
        covered = int(np.count_nonzero(lines[y : y + size[1], x : x + size[0]]))
        if not covered:
            return x, y
        if covered < fewest:
            best, fewest = (x, y), covered
    return best


def _places(
    box: tuple[float, float, float, float], size: tuple[int, int], picture: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Where a name may be: around its object, inside of it, then further away."""
    wide, high = size
    left, top, right, bottom = (round(value) for value in box)
    gap = 3
    above, below = top - high - gap, bottom + gap + 1
    wanted = [
        (left, above),
        (right - wide, above),
        (left, below),
        (right - wide, below),
        (right + gap + 1, top),
        (left - wide - gap, top),
        (left + gap + 1, top + gap + 1),
        (left + gap + 1, bottom - high - gap),
    ]
    wanted += [(left, above - step * (high + 1)) for step in range(1, 4)]
    wanted += [(left, below + step * (high + 1)) for step in range(1, 4)]
    for x, y in wanted:
        yield min(max(0, x), picture[0] - wide), min(max(0, y), picture[1] - high)
