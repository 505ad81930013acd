"""Which of several columns of a table is meant, and what its numbers are, by what is in the cells.

A header says which columns there are; where several can be the image's, the class's or the split's, their order says
nothing. The image is in a column with names of images that are here, before one with numbers; a class is a word, before
a number. What can't be told is named, and the table isn't read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from blobdir.labels.finding import is_image
from blobdir.labels.formats.tablelayout import MAYBE_IMAGE, UnclearTableError, plain_name
from blobdir.labels.numerals import is_number
from blobdir.labels.splitnames import is_called_like_a_split
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from blobdir.labels.formats.tablelayout import Layout

_NOTHING: Final = frozenset(("", "nan", "none", "null", "na", "n/a", "<na>"))
"""What programs write where there is nothing."""
_ABOUT: Final = 0.01
"""So far below 0 or above 1 are shares of boxes at the edge, from rounding."""
_SAME: Final = 1
"""So many pixels apart are numbers that were rounded."""


def is_nothing(text: str) -> bool:
    """Whether a cell is empty, or says that there is nothing."""
    return text.strip().lower() in _NOTHING


def settle(
    layout: Layout, rows: Callable[[], Iterable[list[str]]], place: Callable[[str, list[str]], str | None]
) -> list[str]:
    """Choose those of the columns that the header leaves open, and give what there is to say of that.

    Parameters
    ----------
    layout : Layout
        Its columns are changed.
    rows : callable
        Gives all rows.
    place : callable
        Gives the path of the image that a text in a row means; None: there is none, or it's unclear.

    Raises
    ------
    UnclearTableError
        It can't be told which column is meant.
    """
    _settle_split(layout, rows)
    _settle_image(layout, rows, place)
    notes = _settle_label(layout, rows)
    _refuse_twice(layout)
    _compare_boxes(layout, rows)
    _check_size(layout, rows)
    return notes


@dataclass(slots=True)
class _Column:
    """What the cells of a column are; those with nothing in them don't count."""

    number: int
    has_some: bool = False
    are_numbers: bool = True
    are_images: bool = True
    has_image: bool = False
    has_folder: bool = False
    are_splits: bool = True
    found: int = 0

    def look_at(self, text: str) -> None:
        if is_nothing(text):
            return
        self.has_some = True
        named = is_image(text)
        self.has_image = self.has_image or named
        self.are_images = self.are_images and named
        self.are_numbers = self.are_numbers and is_number(text)
        self.has_folder = self.has_folder or "/" in text or "\\" in text
        self.are_splits = self.are_splits and is_called_like_a_split(text)


def _columns(some: Sequence[int], rows: Iterable[list[str]]) -> list[_Column]:
    """What the cells of some columns are; without those that have nothing in any, unless none has."""
    found = [_Column(i) for i in some]
    seen: dict[int, set[str]] = {i: set() for i in some}
    for row in rows:
        for column in found:
            if (text := _cell(row, column.number)) not in seen[column.number]:
                seen[column.number].add(text)
                column.look_at(text)
    return [column for column in found if column.has_some] or found[:1]


def _cell(row: list[str], column: int) -> str:
    return row[column].strip() if column < len(row) else ""


def _fault(layout: Layout, text: str) -> UnclearTableError:
    header = ", ".join(layout.names)[:300]
    what_next = "Take out the columns that don't count, or call them something else"
    return UnclearTableError(f"is a table of boxes, and {text}, so it isn't read: {header}. {what_next}")


def _settle_split(layout: Layout, rows: Callable[[], Iterable[list[str]]]) -> None:
    """Have the column whose cells are called like splits; several such must say the same."""
    some = layout.choices.get("split", [])
    if len(some) < 2:
        return
    columns = _columns(some, rows())
    like = [column for column in columns if column.are_splits and column.has_some]
    first, *others = like or columns[:1]
    for row in rows() if others else ():
        mine = _cell(row, first.number)
        for other in others:
            theirs = _cell(row, other.number)
            if mine and theirs and mine.lower() != theirs.lower():
                names = _named(layout, first, other)
                raise _fault(layout, f"its columns {names} say two splits of one row, {mine} and {theirs}")
    layout.columns["split"] = first.number


def _settle_image(
    layout: Layout, rows: Callable[[], Iterable[list[str]]], place: Callable[[str, list[str]], str | None]
) -> None:
    """Have the column that names the images that are here."""
    some = layout.choices.get("image", [])
    if len(some) < 2:
        return
    columns = [
        column
        for column in _columns(some, rows())
        if plain_name(layout.names[column.number]) not in MAYBE_IMAGE or column.are_images
    ] or [_Column(some[0])]
    words = [column for column in columns if not column.are_numbers]
    pool = [column for column in words if column.has_image] or words or columns
    rivals = [] if pool[0].has_image else [column for column in columns if column not in pool]
    if len(pool) == 1 and not rivals:
        layout.columns["image"] = pool[0].number
        return
    placing = _Placing(layout, place, pool)
    placing.look_at(rows())
    alive = [column for column in pool if column.found]
    if not alive and rivals:
        _Placing(layout, place, rivals).look_at(rows())
        if rival := next((column for column in rivals if column.found), None):
            text = f"its column {_named(layout, pool[0])} names no image that is here, and the numbers in"
            raise _fault(layout, f"{text} {_named(layout, rival)} may be those of others")
    if alive and alive[0].are_numbers and max(column.found for column in alive) < placing.rows:
        text = f"its columns {_named(layout, *columns[:2])} are numbers, and not all of one are called like images"
        raise _fault(layout, f"{text} that are here")
    best = max(alive or pool[:1], key=lambda column: (column.has_folder, column.found))
    layout.columns["image"] = best.number


@dataclass(slots=True)
class _Placing:
    """Finds the images that several columns name, and refuses those that name two of one row."""

    layout: Layout
    place: Callable[[str, list[str]], str | None]
    columns: list[_Column]
    known: dict[tuple[str, str], str | None] = field(default_factory=dict)
    rows: int = 0

    def look_at(self, rows: Iterable[list[str]]) -> None:
        """Count for each column how often it names one that is here."""
        for row in rows:
            self.rows += 1
            found: list[tuple[_Column, str, str]] = []
            for column in self.columns:
                text = _cell(row, column.number)
                path = None if is_nothing(text) else self._placed(text, row)
                if path is not None:
                    column.found += 1
                    found.append((column, text, path))
            for column, text, path in found[1:]:
                first, other, there = found[0]
                if path != there and not _is_end(text, other):
                    names = _named(self.layout, first, column)
                    raise _fault(self.layout, f"its columns {names} name two images in one row, {there} and {path}")

    def _placed(self, text: str, row: list[str]) -> str | None:
        key = text, self.layout.cell(row, "split")
        if key not in self.known:
            self.known[key] = self.place(text, row)
        return self.known[key]


def _is_end(one: str, other: str) -> bool:
    """Whether one of two names is the other one without its folders."""
    short, long = sorted((one.replace("\\", "/"), other.replace("\\", "/")), key=len)
    return long.endswith(f"/{short}")


def _settle_label(layout: Layout, rows: Callable[[], Iterable[list[str]]]) -> list[str]:
    """Have the column with words for the classes; numbers beside it are attributes, as are other words."""
    some = [i for i in layout.choices.get("label", ()) if i != layout.columns["image"]]
    if layout.choices and not some:
        raise _fault(layout, "it has no column for the class")
    if len(some) < 2:
        layout.columns["label"] = some[0] if some else layout.columns["label"]
        return []
    columns = _columns(some, rows())
    columns = [column for column in columns if not column.are_images] or columns
    words = [column for column in columns if not column.are_numbers]
    best = (words or columns)[0]
    layout.columns["label"] = best.number
    others = [column for column in columns if column is not best]
    return [
        f"has classes in {_named(layout, best)}; {_named(layout, column)} says others, and is an attribute"
        for column in others
        if not _say_the_same(best, column, rows())
    ]


def _say_the_same(one: _Column, other: _Column, rows: Iterable[list[str]]) -> bool:
    """Whether two columns with classes have the same words, or one has a number for each word of the other."""
    pairs = {(_cell(row, one.number).lower(), _cell(row, other.number).lower()) for row in rows}
    pairs = {pair for pair in pairs if not any(map(is_nothing, pair))}
    if not other.are_numbers or one.are_numbers:
        return all(mine == theirs for mine, theirs in pairs)
    return len({mine for mine, _ in pairs}) == len(pairs) == len({theirs for _, theirs in pairs})


def _named(layout: Layout, *columns: _Column) -> str:
    return " and ".join(repr(layout.names[column.number]) for column in columns)


def _refuse_twice(layout: Layout) -> None:
    """Refuse a table that has a column of this name twice."""
    names = [plain_name(name) for name in layout.names]
    for column in layout.columns.values():
        if names and names.count(names[column]) > 1:
            raise _fault(layout, f"it has two columns {layout.names[column]!r}")


def _compare_boxes(layout: Layout, rows: Callable[[], Iterable[list[str]]]) -> None:
    """Refuse a table with columns for two boxes that differ."""
    for row in rows() if layout.other else ():
        for side, column in layout.other.items():
            mine, theirs = _number(layout.cell(row, side)), _number(_cell(row, column))
            if mine is None or theirs is None:
                continue
            if abs(mine - theirs) > (_SAME if max(abs(mine), abs(theirs)) > _SAME + _ABOUT else _ABOUT):
                text = f"its columns {layout.names[layout.columns[side]]!r} and {layout.names[column]!r} say two boxes"
                raise _fault(layout, f"{text}, {mine:g} and {theirs:g} in one row")


def _check_size(layout: Layout, rows: Callable[[], Iterable[list[str]]]) -> None:
    """Don't take the sides of boxes for those of the image: what is called `width` can be either."""
    sides = {"width": ("left", "right"), "height": ("top", "bottom")}
    plain = [what for what in sides if what in layout.columns and is_plain(layout, what)]
    if len(plain) < len(sides) or "right" not in layout.columns:
        return
    begins_inside = False
    for row in rows():
        for what, ends in sides.items():
            first, last, side = (_number(layout.cell(row, one)) for one in (*ends, what))
            if first is None or last is None:
                continue
            if side is None or abs(last - first - side) > _SAME:
                return
            begins_inside = begins_inside or first > _SAME
    if begins_inside:
        for what in sides:
            del layout.columns[what]


def is_plain(layout: Layout, what: str) -> bool:
    """Whether a column of a side is called so and nothing else, which can also be that of a box."""
    return bool(layout.names) and plain_name(layout.names[layout.columns[what]]) == what


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class Numbers(Enum):
    """What the numbers of boxes are."""

    PIXELS = "pixels"
    SHARES = "shares"
    UNCLEAR = "unclear"


def numbers_of(layout: Layout, rows: Iterable[list[str]]) -> tuple[Numbers, str]:
    """Whether boxes are said in pixels or in shares of the image's sides; and why it's unclear.

    Shares are from 0 to 1 or close by, and not just these two. A header says it only where no other table has such
    a one and the numbers leave it open.
    """
    small = large = 0
    has_fraction = False
    box = layout.box
    for row in rows:
        values = [value for column in box if (value := _number(row[column].strip() or "0")) is not None]
        if all(-_ABOUT <= value <= 1 + _ABOUT for value in values):
            fraction = any(0 < value < 1 for value in values)
            has_fraction = has_fraction or fraction
            small += fraction or any(values)
        else:
            large += 1
    if not large and has_fraction:
        return Numbers.SHARES, ""
    if large and small >= large and has_fraction:
        text = f"{counted(small, 'box', 'boxes')} in it are within 0 and 1, as shares of the image's sides are"
        return Numbers.UNCLEAR, f"{text}, and {large} aren't"
    if large or not small or not layout.says_shares:
        return Numbers.PIXELS, ""
    if layout.says_shares > 1:
        return Numbers.SHARES, ""
    return Numbers.UNCLEAR, "all numbers of its boxes are 0 or 1"
