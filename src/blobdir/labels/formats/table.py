"""Boxes in a CSV: a row each, with a header that says which column is what; or RetinaNet's six columns without one."""

from __future__ import annotations

import csv
import io
import re
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.files import decoded
from blobdir.labels.formats.tablelayout import Layout, UnclearTableError, layout_of
from blobdir.labels.model import Box, LabelError, Labels, Picture, Polygon, Thing, name_of, number
from blobdir.labels.splitnames import split_in_name
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Complain

_BEFORE: Final = 4
"""So many lines are looked at for the header."""
_BEGINS: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\"?sep=.\"?\s*)?", re.IGNORECASE)
"""Lines before it: empty ones, and Excel's ``sep=;``."""
_WHOLE: Final = re.compile(r"(\d+)(?:\.0*)?")
"""A side of an image: programs with floats write ``600.0``."""
_ABOUT: Final = 0.01
"""So far below 0 or above 1 are shares of boxes at the edge, from rounding."""
_SIDES: Final = ("left", "top", "right", "bottom", "across", "down")


def is_table(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    try:
        return _of_head(path, head) is not None
    except (LabelError, csv.Error):
        return False


def fault_of(path: str, head: bytes) -> str:
    """Why a table of boxes isn't read: it can't be told which columns these are; empty: it's none such."""
    try:
        _of_head(path, head)
    except UnclearTableError as error:
        return str(error)
    except (LabelError, csv.Error):
        pass
    return ""


def _of_head(path: str, head: bytes) -> Layout | None:
    """What the columns of a file are, by how it begins; None: it's no table of boxes."""
    if splitext(path)[1].lower() not in (".csv", ".tsv"):
        return None
    lines = head.splitlines()[:_BEFORE]
    return layout_of(decoded(next((line for line in lines if not _BEGINS.fullmatch(line)), b"")))


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all tables of a folder; images that they don't name have no boxes."""
    labels = Labels("csv", [path for path in files.ending(".csv", ".tsv") if is_table(path, files.head(path))])
    for path in labels.files:
        try:
            text = decoded(files.read(path))
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        lines = re.split(r"\r\n?|\n", text, maxsplit=_BEFORE)[:_BEFORE]
        first = next((i for i, line in enumerate(lines) if not _BEGINS.fullmatch(line.encode())), 0)
        layout = layout_of(lines[first])
        if layout is None:
            raise LabelError(f"{path}: line {first + 1}: has no columns for image, class and box")
        layout.first = first + 1
        _read(labels, path, text, layout, images)
    named = {picture.path for picture in labels.pictures}
    others = (path for path in images.paths if path not in named)
    labels.pictures += [Picture(path, "", path, _Reader(_NO_LAYOUT), is_labelled=False) for path in others]
    return labels


def _rows(path: str, text: str, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Rows of a table that have something in them, each with its line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter)
    try:
        for row in reader:
            if reader.line_num >= layout.first + bool(layout.names) and any(row):
                yield reader.line_num, row
    except csv.Error as error:
        raise LabelError(f"{path}: line {reader.line_num}: isn't CSV: {error}") from error


def _read(labels: Labels, path: str, text: str, layout: Layout, images: Images) -> None:
    """Read one table."""
    missing: dict[tuple[str, str], list[str]] = {}
    pictures: dict[tuple[str, str], Picture] = {}
    readers: dict[tuple[str, str], _Reader] = {}
    of_file = split_in_name(path)
    least, most = max(layout.used) + 1, len(layout.names or layout.columns)
    for line, row in _rows(path, text, layout):
        where = f"{path}, line {line}"
        if len(row) < least:
            labels.complain("label", where, f"has {len(row)} fields, and {least} are needed")
            continue
        if any(map(str.strip, row[most:])):
            text = f"has {len(row)} fields, and there are {most} columns, so it can't be told which is which: not read"
            labels.complain("label", where, f"{text}. Put texts with {layout.delimiter!r} in them in quotes")
            continue
        name, split = layout.cell(row, "image"), layout.cell(row, "split") or of_file
        if (name, split) in missing:
            missing[name, split].append(where)
            continue
        try:
            found = images.place(name, dirname(path), split)
        except LabelError as error:
            missing[name, split] = [where, str(error)]
            continue
        if (name, split) not in pictures:
            reader = readers[name, split] = _Reader(layout)
            picture = Picture(found.path, split, where, reader, attributes=reader.attributes, found=found)
            pictures[name, split] = picture
        _take_size(labels, pictures[name, split], _size(layout, row), where)
        if layout.cell(row, "label") or layout.cell(row, "left") or any(row[x].strip() for x, _ in layout.corners):
            readers[name, split].rows.append((where, row))
    for where, fault, *more in missing.values():
        labels.complain("label-image", where, fault + (f"; nor for {counted(len(more), 'more row')}" if more else ""))
    if not layout.shares and _are_shares(layout, (row for reader in readers.values() for _, row in reader.rows)):
        labels.note(path, "has no number much above 1 in a box, so they are taken for shares of the images' sides")
        layout.shares = True
    labels.pictures += pictures.values()


def _take_size(labels: Labels, picture: Picture, size: tuple[int, int] | None, where: str) -> None:
    """Note the size of its image that a row says."""
    if picture.size is not None and size not in (None, picture.size):
        labels.complain("label-size", picture.path, f"{where} says another size of it than {picture.where}")
    picture.size = picture.size or size


def _size(layout: Layout, row: list[str]) -> tuple[int, int] | None:
    """The size of the image that a row says."""
    sides = [_WHOLE.fullmatch(layout.cell(row, side)) for side in ("width", "height")]
    found = [int(side[1]) for side in sides if side]
    return (found[0], found[1]) if len(found) == len(sides) and all(found) else None


def _are_shares(layout: Layout, rows: Iterable[list[str]]) -> bool:
    """Whether boxes are said in shares: all numbers are from 0 to 1 or close by, and not just these two."""
    has_fraction = False
    for row in rows:
        texts = [layout.cell(row, side) for side in _SIDES]
        for text in (*texts, *(row[column] for corner in layout.corners for column in corner)):
            try:
                value = float(text.strip() or 0)
            except ValueError:
                continue  # it's named for that
            if not -_ABOUT <= value <= 1 + _ABOUT:
                return False
            has_fraction = has_fraction or 0 < value < 1
    return has_fraction


class _Reader:
    __slots__ = ("_layout", "rows")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.rows: list[tuple[str, list[str]]] = []

    def attributes(self) -> Iterator[dict[str, Any]]:
        """Of all objects."""
        return (self._layout.attributes(row) for _, row in self.rows)

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        is_size = self._layout.may_be_size and _have_size([row for _, row in self.rows], self._layout, width, height)
        for where, row in self.rows:
            try:
                if is_size:
                    raise LabelError(_OF_IMAGE)
                yield _thing(row, self._layout, width, height)
            except LabelError as error:
                complain("label", f"{where}: {error}")


_OF_IMAGE: Final = (
    "its width and height are the image's, and its box begins elsewhere than at 0, 0, so it can't be told how long the "
    "box's sides are. Call those of the box bbox_width and bbox_height"
)


def _have_size(rows: list[list[str]], layout: Layout, width: int, height: int) -> bool:
    """Whether the sides of all boxes are those of the image, and one would reach beyond it."""
    try:
        boxes = [[float(layout.cell(row, side)) for side in ("left", "top", "across", "down")] for row in rows]
    except ValueError:
        return False  # it's named for that
    sizes = ([width, height], [height, width])
    return all(box[2:] in sizes for box in boxes) and any(box[0] or box[1] for box in boxes)


_NO_LAYOUT: Final = Layout(",", {}, [])


def _thing(row: list[str], layout: Layout, width: int, height: int) -> Thing:
    label = layout.cell(row, "label")
    if not label:
        raise LabelError("has no class")
    name_of(label, "its class")
    if layout.corners:
        return Thing(label, [_outline(row, layout, width, height)], attributes=layout.attributes(row))
    left, top = (number(layout.cell(row, side), side) for side in ("left", "top"))
    if "right" in layout.columns:
        right, bottom = (number(layout.cell(row, side), side) for side in ("right", "bottom"))
    else:
        right = left + number(layout.cell(row, "across"), "width")
        bottom = top + number(layout.cell(row, "down"), "height")
    if layout.shares:
        left, right, top, bottom = left * width, right * width, top * height, bottom * height
    if left > right or top > bottom:
        raise LabelError(f"its box ends before it begins: {left:g}, {top:g} – {right:g}, {bottom:g}")
    return Thing(label, [Box(left, top, right, bottom)], attributes=layout.attributes(row))


def _outline(row: list[str], layout: Layout, width: int, height: int) -> Polygon:
    points = [(number(row[x].strip(), "x"), number(row[y].strip(), "y")) for x, y in layout.corners]
    return Polygon(tuple((x * width, y * height) for x, y in points) if layout.shares else tuple(points))
