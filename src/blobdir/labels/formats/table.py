"""Boxes in a CSV: a row each, with a header that says which column is what; or RetinaNet's six columns without one."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.files import decoded
from blobdir.labels.finding import is_image
from blobdir.labels.model import Box, LabelError, Labels, Picture, Thing, number
from blobdir.labels.splitnames import split_in_name
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Complain

_NAMES: Final = {
    "image": (
        "filename",
        "image",
        "path",
        "image_path",
        "imagepath",
        "img",
        "file",
        "file_name",
        "imageid",
        "image_id",
        "image_name",
    ),
    "label": ("class", "label", "name", "category", "labelname", "class_name", "label_name"),
    "left": ("xmin", "x1", "x_min", "left", "bbox_x", "x", "bbox_left"),
    "top": ("ymin", "y1", "y_min", "top", "bbox_y", "y", "bbox_top"),
    "right": ("xmax", "x2", "x_max", "right"),
    "bottom": ("ymax", "y2", "y_max", "bottom"),
    "across": ("w", "bbox_width", "box_width", "bbox_w", "width"),
    "down": ("h", "bbox_height", "box_height", "bbox_h", "height"),
    "split": ("split", "set", "subset"),
}
_SIZE: Final = {
    "width": ("image_width", "img_width", "imagewidth", "width"),
    "height": ("image_height", "img_height", "imageheight", "height"),
}
"""Columns with the size of the image; `_NAMES` comes first."""
_DELIMITERS: Final = ",;\t"
_RETINANET: Final = ("image", "left", "top", "right", "bottom", "label")
_SIDES: Final = ("left", "top", "right", "bottom", "across", "down")
_FLAGS: Final = (
    "isoccluded",
    "istruncated",
    "isgroupof",
    "isdepiction",
    "isinside",
    "occluded",
    "truncated",
    "difficult",
)
_IS: Final = ("1", "true")
_IS_NOT: Final = ("", "0", "-1", "false")
"""Values of flags; -1 is Open Images' "nobody knows"."""
_BEFORE: Final = 4
"""So many lines are looked at for the header."""
_BEGINS: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\"?sep=.\"?\s*)?", re.IGNORECASE)
"""Lines before it: empty ones, and Excel's ``sep=;``."""
_WHOLE: Final = re.compile(r"(\d+)(?:\.0*)?")
"""A side of an image: programs with floats write ``600.0``."""
_ABOUT: Final = 0.01
"""So far below 0 or above 1 are shares of boxes at the edge, from rounding."""
_SNIFFED: Final = re.compile(r"-?\d+(\.\d+)?")


def is_table(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    if splitext(path)[1].lower() not in (".csv", ".tsv"):
        return False
    try:
        first = next((line for line in head.split(b"\n", _BEFORE)[:_BEFORE] if not _BEGINS.fullmatch(line)), b"")
        return _layout(decoded(first)) is not None
    except (LabelError, csv.Error):
        return False


@dataclass(slots=True)
class _Layout:
    """What the columns of a table are.

    Attributes
    ----------
    delimiter : str
    columns : dict
        Of what the format knows -> its column.
    names : list of str
        Of all columns, as the header has them; empty: there is no header.
    shares : bool
        Whether coordinates are shares of the image's sides.
    first : int
        The line that says it: of the header, or the first of the rows.
    """

    delimiter: str
    columns: dict[str, int]
    names: list[str]
    shares: bool = False
    first: int = 1

    def cell(self, row: list[str], what: str) -> str:
        """What a row has of something; empty where there is no column for it."""
        return row[self.columns[what]].strip() if what in self.columns else ""

    def attributes(self, row: list[str]) -> dict[str, Any]:
        """What the other columns of a row say."""
        found: dict[str, Any] = {}
        used = set(self.columns.values())
        for i, name in enumerate(self.names):
            text = row[i].strip() if i < len(row) else ""
            is_flag = name.lower() in _FLAGS
            if i in used or not text or (is_flag and text.lower() in _IS_NOT):
                continue
            label = name.lower() if is_flag else name or f"column {i + 1}"
            while label in found:
                label += "_"
            found[label] = None if is_flag and text.lower() in _IS else _value(text)
        return found


def _value(text: str) -> str | float:
    """A number where a text is one and nothing else: ``0017`` and ``nan`` are texts."""
    try:
        found = int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return text
    return found if repr(found) == text else text


def _layout(line: str) -> _Layout | None:
    """What a table's first line says of it; None: it has no boxes."""
    line = line.strip()
    delimiter = max(_DELIMITERS, key=line.count)
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    names = [cell.lower() for cell in cells]
    found: dict[str, int] = {}
    for what, known in _NAMES.items():
        if column := next((name for name in known if name in names), ""):
            found[what] = names.index(column)
    needed = {"image", "label", "left", "top"}
    has_ends = {"right", "bottom"} <= found.keys()
    if needed <= found.keys() and (has_ends or {"across", "down"} <= found.keys()):
        for what in ("across", "down") if has_ends else ("right", "bottom"):
            found.pop(what, None)
        for what, known in _SIZE.items():
            column = next((name for name in known if name in names and names.index(name) not in found.values()), "")
            if column:
                found[what] = names.index(column)
        return _Layout(delimiter, found, cells, shares="labelname" in names and "imageid" in names)
    numbers = all(_SNIFFED.fullmatch(cell) for cell in cells[1:5]) or not any(cells[1:6])
    if len(cells) == len(_RETINANET) and is_image(cells[0]) and numbers:
        return _Layout(delimiter, {what: i for i, what in enumerate(_RETINANET)}, [])
    return None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all tables of a folder; images that they don't name have no boxes."""
    labels = Labels("csv", [path for path in files.ending(".csv", ".tsv") if is_table(path, files.head(path))])
    for path in labels.files:
        try:
            text = decoded(files.read(path))
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        lines = text.split("\n", _BEFORE)[:_BEFORE]
        first = next((i for i, line in enumerate(lines) if not _BEGINS.fullmatch(line.encode())), 0)
        layout = _layout(lines[first])
        if layout is None:
            raise LabelError(f"{path}: line {first + 1}: has no columns for image, class and box")
        layout.first = first + 1
        _read(labels, path, text, layout, images)
    named = {picture.path for picture in labels.pictures}
    others = (path for path in images.paths if path not in named)
    labels.pictures += [Picture(path, "", path, _Reader(_NO_LAYOUT), is_labelled=False) for path in others]
    return labels


def _rows(path: str, text: str, layout: _Layout) -> Iterator[tuple[int, list[str]]]:
    """Rows of a table that have something in them, each with its line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter)
    try:
        for row in reader:
            if reader.line_num >= layout.first + bool(layout.names) and any(row):
                yield reader.line_num, row
    except csv.Error as error:
        raise LabelError(f"{path}: line {reader.line_num}: isn't CSV: {error}") from error


def _read(labels: Labels, path: str, text: str, layout: _Layout, images: Images) -> None:
    """Read one table."""
    missing: dict[tuple[str, str], list[str]] = {}
    pictures: dict[tuple[str, str], Picture] = {}
    readers: dict[tuple[str, str], _Reader] = {}
    of_file = split_in_name(path)
    least, most = max(layout.columns.values()) + 1, len(layout.names or layout.columns)
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
        if layout.cell(row, "label") or layout.cell(row, "left"):
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


def _size(layout: _Layout, row: list[str]) -> tuple[int, int] | None:
    """The size of the image that a row says."""
    sides = [_WHOLE.fullmatch(layout.cell(row, side)) for side in ("width", "height")]
    found = [int(side[1]) for side in sides if side]
    return (found[0], found[1]) if len(found) == len(sides) and all(found) else None


def _are_shares(layout: _Layout, rows: Iterable[list[str]]) -> bool:
    """Whether boxes are said in shares: all numbers are from 0 to 1 or close by, and not just these two."""
    has_fraction = False
    for row in rows:
        for side in _SIDES:
            try:
                value = float(layout.cell(row, side) or 0)
            except ValueError:
                continue  # it's named for that
            if not -_ABOUT <= value <= 1 + _ABOUT:
                return False
            has_fraction = has_fraction or 0 < value < 1
    return has_fraction


class _Reader:
    __slots__ = ("_layout", "rows")

    def __init__(self, layout: _Layout) -> None:
        self._layout = layout
        self.rows: list[tuple[str, list[str]]] = []

    def attributes(self) -> Iterator[dict[str, Any]]:
        """Of all objects."""
        return (self._layout.attributes(row) for _, row in self.rows)

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for where, row in self.rows:
            try:
                yield _thing(row, self._layout, width, height)
            except LabelError as error:
                complain("label", f"{where}: {error}")


_NO_LAYOUT: Final = _Layout(",", {}, [])


def _thing(row: list[str], layout: _Layout, width: int, height: int) -> Thing:
    label = layout.cell(row, "label")
    if not label:
        raise LabelError("has no class")
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
