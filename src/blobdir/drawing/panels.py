"""The charts of a report: bars, columns, bubbles and a table, each with a title and, below, what isn't shown."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from PIL import ImageDraw

from blobdir.drawing.palette import Color, ink_on
from blobdir.drawing.text import Typesetter, typesetter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

INK, FAINT, GRID, PAPER = (28, 28, 32), (104, 104, 112), (222, 222, 228), (255, 255, 255)
BAR: Color = (70, 110, 180)
TITLE, BODY, SMALL = 17, 13, 12
_HEAD, _NOTE, _ROW = 28, 18, 20
_BETWEEN = 18
"""Pixels between columns."""
_NAME = 100
"""Characters of a name that are measured."""


class Panel(Protocol):
    """A chart that can be drawn in a width."""

    notes: list[str]

    def height(self, width: int) -> int:
        """Pixels that it's high."""

    def draw(self, image: Image.Image, x: int, y: int, width: int) -> None:
        """Draw it, its upper left corner at a place."""


class Bar(NamedTuple):
    """A name and its count."""

    name: str
    number: int
    color: Color = BAR


def _head(image: Image.Image, x: int, y: int, title: str) -> int:
    typesetter(TITLE).draw(image, x, y, title, INK)
    return y + _HEAD


def _foot(image: Image.Image, x: int, y: int, width: int, notes: Sequence[str]) -> None:
    letters = typesetter(SMALL)
    for note in notes:
        letters.draw(image, x, y + 2, letters.fitting([note], width)[note], FAINT)
        y += _NOTE


def is_long_tailed(counts: Sequence[int]) -> bool:
    """Whether the small ones of some counts can't be told apart unless the scale is logarithmic."""
    known = sorted(count for count in counts if count > 0)
    return len(known) > 4 and known[-1] >= 50 * known[len(known) // 2]


def _name_room(width: float) -> float:
    """Pixels for names beside bars in a column."""
    return min(width * 0.48, 260)


def columns_for(names: Sequence[str], width: int, most: int) -> int:
    """Into how many columns bars with names go: as many as leave room for nearly all of these, up to `most`."""
    letters = typesetter(BODY)
    widths = sorted(letters.width(name[:_NAME]) for name in names)
    wanted = widths[len(widths) * 9 // 10]
    return max(
        (count for count in range(1, most + 1) if _name_room((width - _BETWEEN * (count - 1)) // count) >= wanted),
        default=1,
    )


def _part(count: int, most: int, *, logarithmic: bool) -> float:
    """Length of a bar, from 0 to 1."""
    if count <= 0:
        return 0.0
    return math.log1p(count) / math.log1p(most) if logarithmic else count / most


def ticks(most: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to not above `most`, some `wanted` of them."""
    if most <= 0:
        return [0]
    raw = most / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return [step * number for number in range(math.floor(most / step + 1e-9) + 1)]


def short_number(value: float) -> str:
    """A number for an axis: ``1,200``, ``45k``, ``3.5M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            scaled = value / (1e3 if unit == "k" else size)
            return f"{scaled:.3g}{unit}"
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def _grid(
    image: Image.Image, letters: Typesetter, edges: tuple[int, int, int], marks: Sequence[tuple[float, float]]
) -> None:
    """Level lines from `edges`, the left one to the right one, with numbers: each so many pixels above the bottom."""
    left, right, bottom = edges
    draw = ImageDraw.Draw(image)
    for number, above in marks:
        at = bottom - round(above)
        draw.line((left, at, right, at), fill=GRID)
        text = short_number(number)
        letters.draw(image, left - 6 - letters.width(text), at - letters.height / 2, text, FAINT)


@dataclass
class Bars:
    """Names with bars to the right, in as many columns as there are wanted."""

    title: str
    bars: Sequence[Bar]
    columns: int = 1
    notes: list[str] = field(default_factory=list)

    def _rows(self) -> int:
        return -(-len(self.bars) // self.columns)

    def height(self, width: int) -> int:  # noqa: ARG002  # of other panels it matters
        """Pixels that it's high."""
        return _HEAD + _ROW * self._rows() + _NOTE * len(self.notes) + 4

    def draw(self, image: Image.Image, x: int, y: int, width: int) -> None:
        """Draw it, its upper left corner at a place."""
        most = max((bar.number for bar in self.bars), default=1) or 1
        logarithmic = is_long_tailed([bar.number for bar in self.bars])
        y = _head(image, x, y, self.title + (" (logarithmic scale)" if logarithmic else ""))
        letters, draw = typesetter(BODY), ImageDraw.Draw(image)
        wide = (width - _BETWEEN * (self.columns - 1)) // self.columns
        numbers = max(letters.width(f"{bar.number:,}") for bar in self.bars)
        cut = letters.fitting((bar.name for bar in self.bars), _name_room(wide))
        names = max(letters.width(text) for text in cut.values())
        room = wide - names - numbers - 16
        rows = self._rows()
        for number, bar in enumerate(self.bars):
            left, top = x + number // rows * (wide + _BETWEEN), y + number % rows * _ROW
            text = cut[bar.name]
            letters.draw(image, left + names - letters.width(text), top + 1, text, INK)
            start = round(left + names + 6)
            end = start + max(1, round(room * _part(bar.number, most, logarithmic=logarithmic)))
            draw.rectangle((start, top + 3, end, top + _ROW - 3), fill=bar.color, outline=INK)
            letters.draw(image, end + 6, top + 1, f"{bar.number:,}", INK)
        _foot(image, x, y + rows * _ROW, width, self.notes)


@dataclass
class Columns:
    """Upright bars over an axis: a histogram.

    Attributes
    ----------
    labels : sequence of str
        Below the bars; empty ones are left out.
    at_edges : bool
        Whether a label is of the left edge of its bar, not of its middle.
    """

    title: str
    counts: Sequence[int]
    labels: Sequence[str]
    axis: str
    at_edges: bool = False
    notes: list[str] = field(default_factory=list)
    plot: int = 190

    def height(self, width: int) -> int:  # noqa: ARG002
        """Pixels that it's high."""
        return _HEAD + self.plot + 44 + _NOTE * len(self.notes)

    def draw(self, image: Image.Image, x: int, y: int, width: int) -> None:
        """Draw it, its upper left corner at a place."""
        y = _head(image, x, y, self.title)
        letters, draw = typesetter(SMALL), ImageDraw.Draw(image)
        most = max([*self.counts, 1])
        marks = [mark for mark in ticks(most) if mark == int(mark)]
        left = x + round(max(letters.width(short_number(mark)) for mark in marks)) + 8
        right, bottom = x + width - 14, y + self.plot
        _grid(image, letters, (left, right, bottom), [(mark, (self.plot - 8) * mark / most) for mark in marks])
        step = (right - left) / max(1, len(self.counts))
        for number, count in enumerate(self.counts):
            if count:
                high = max(1, round((self.plot - 8) * count / most))
                start, end = left + step * number, left + step * (number + 1)
                draw.rectangle((start + 1, bottom - high, max(start + 1, end - 1), bottom), fill=BAR)
        draw.line((left, bottom, right, bottom), fill=INK)
        free = x - 1.0
        for number, text in enumerate(self.labels):
            middle = left + step * (number if self.at_edges else number + 0.5)
            start = middle - letters.width(text) / 2
            if text and start >= free and start + letters.width(text) <= x + width:
                draw.line((middle, bottom, middle, bottom + 3), fill=INK)
                letters.draw(image, start, bottom + 4, text, INK)
                free = start + letters.width(text) + 8
        letters.draw(image, (left + right - letters.width(self.axis)) / 2, bottom + 22, self.axis, FAINT)
        _foot(image, x, bottom + 42, width, self.notes)


@dataclass
class Bubbles:
    """Points over two axes from 0, as large as what they count."""

    title: str
    points: Sequence[tuple[float, float, int]]
    axes: tuple[str, str]
    notes: list[str] = field(default_factory=list)
    plot: int = 190

    def height(self, width: int) -> int:  # noqa: ARG002
        """Pixels that it's high."""
        return _HEAD + self.plot + 44 + _NOTE * len(self.notes)

    def draw(self, image: Image.Image, x: int, y: int, width: int) -> None:
        """Draw it, its upper left corner at a place."""
        y = _head(image, x, y, self.title)
        letters, draw = typesetter(SMALL), ImageDraw.Draw(image)
        widest = max(point[0] for point in self.points) * 1.08
        highest = max(point[1] for point in self.points) * 1.08
        marks = ticks(highest, 4)
        left = x + round(max(letters.width(short_number(mark)) for mark in marks)) + 8
        right, bottom = x + width - 22, y + self.plot
        _grid(image, letters, (left, right, bottom), [(mark, self.plot * mark / highest) for mark in marks])
        for mark in ticks(widest, 4):
            at = left + round((right - left) * mark / widest)
            draw.line((at, y, at, bottom), fill=GRID)
            text = short_number(mark)
            letters.draw(image, at - letters.width(text) / 2, bottom + 4, text, FAINT)
        most = max(point[2] for point in self.points)
        for wide, high, count in sorted(self.points, key=lambda point: -point[2]):
            radius = 3 + 11 * math.sqrt(count / most) if len(self.points) > 1 else 8
            at_x, at_y = left + (right - left) * wide / widest, bottom - self.plot * high / highest
            draw.ellipse((at_x - radius, at_y - radius, at_x + radius, at_y + radius), fill=BAR, outline=PAPER)
        draw.line((left, y, left, bottom, right, bottom), fill=INK)
        letters.draw(image, left + 4, y - 2, self.axes[1], FAINT)
        letters.draw(image, (left + right - letters.width(self.axes[0])) / 2, bottom + 22, self.axes[0], FAINT)
        _foot(image, x, bottom + 42, width, self.notes)


@dataclass
class Table:
    """Counts of rows and columns, in darker cells where they are larger."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]
    notes: list[str] = field(default_factory=list)

    def height(self, width: int) -> int:  # noqa: ARG002
        """Pixels that it's high."""
        return _HEAD + _ROW * (len(self.rows) + 1) + _NOTE * len(self.notes) + 8

    def draw(self, image: Image.Image, x: int, y: int, width: int) -> None:
        """Draw it, its upper left corner at a place."""
        y = _head(image, x, y, self.title)
        letters, draw = typesetter(BODY), ImageDraw.Draw(image)
        small = typesetter(SMALL)
        names = letters.fitting(self.rows, width * 0.26)
        left = x + max(letters.width(text) for text in names.values()) + 8
        wide = min(150.0, (x + width - left) / len(self.columns))
        heads = small.fitting(self.columns, wide - 6)
        most = max(1, *(max(row) for row in self.counts))
        for number, column in enumerate(self.columns):
            text = heads[column]
            small.draw(image, left + wide * (number + 0.5) - small.width(text) / 2, y + 2, text, INK)
        for line, row in enumerate(self.rows):
            top = y + _ROW * (line + 1)
            text = names[row]
            letters.draw(image, left - 6 - letters.width(text), top + 1, text, INK)
            for number, count in enumerate(self.counts[line]):
                self._cell(image, draw, small, (left + wide * number, top, wide), count, most)
        _foot(image, x, y + _ROW * (len(self.rows) + 1) + 4, width, self.notes)

    @staticmethod
    def _cell(
        image: Image.Image,
        draw: ImageDraw.ImageDraw,
        letters: Typesetter,
        place: tuple[float, float, float],
        count: int,
        most: int,
    ) -> None:
        left, top, wide = place
        part = 0.1 + 0.9 * math.log1p(count) / math.log1p(most) if count else 0.0
        red, green, blue = (round(255 + (dark - 255) * part) for dark in (24, 62, 130))
        draw.rectangle((left, top, left + wide - 2, top + _ROW - 2), fill=(red, green, blue))
        text = f"{count:,}" if letters.width(f"{count:,}") <= wide - 6 else short_number(count)
        letters.draw(
            image,
            left + (wide - letters.width(text)) / 2,
            top + 1,
            text,
            ink_on((red, green, blue)) if count else FAINT,
        )
