"""Boxes in a CSV: a row each, with a header that says which column is what; or RetinaNet's six columns without one."""

from __future__ import annotations

import csv
import io
import re
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.files import decoded
from blobdir.labels.formats.classdescriptions import name_classes
from blobdir.labels.formats.tablecells import Numbers, is_nothing, is_plain, numbers_of, settle
from blobdir.labels.formats.tablelayout import Layout, UnclearTableError, layout_of
from blobdir.labels.model import Box, LabelError, Labels, Picture, Polygon, Thing, name_of, number
from blobdir.labels.saidsplits import Closer, Meant, column_of_splits, may_be_noted
from blobdir.labels.sizes import differ, stated, together
from blobdir.labels.splitnames import is_called_like_a_split, split_in_name
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Complain
    from blobdir.labels.sizes import Size

_BEFORE: Final = 4
"""So many lines are looked at for the header."""
_BEGINS: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\"?sep=.\"?\s*)?", re.IGNORECASE)
"""Lines before it: empty ones, and Excel's ``sep=;``."""
"""A side of an image: programs with floats write ``600.0``."""


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
    tried = _Tried(images)
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
        try:
            _settle(labels, path, text, layout, tried)
            if _take_split(labels, path, text, layout, images):
                _settle(labels, path, text, layout, tried)
        except UnclearTableError as error:
            labels.complain("label", path, str(error))
            continue
        _read(labels, path, text, layout, images)
    named = {picture.path for picture in labels.pictures}
    others = (path for path in images.paths if path not in named)
    labels.pictures += [Picture(path, "", path, _Reader(_NO_LAYOUT), is_labelled=False) for path in others]
    name_classes(files, labels, _classes(labels))
    return labels


def _classes(labels: Labels) -> dict[str, set[str]]:
    """Table -> the classes that its rows say."""
    found: dict[str, set[str]] = {}
    for picture in labels.pictures:
        if isinstance(picture.read, _Reader):
            found.setdefault(picture.file, set()).update(picture.read.classes())
    return found


def _rows(path: str, text: str, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Rows of a table that have something in them, each with its line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter)
    try:
        for row in reader:
            if reader.line_num >= layout.first + bool(layout.names) and any(row):
                yield reader.line_num, row
    except csv.Error as error:
        raise LabelError(f"{path}: line {reader.line_num}: isn't CSV: {error}") from error


class _Tried:
    """Finds images that may be meant, of which nothing is noted."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._anew: Images | None = None

    def place(self, name: str, folder: str, split: str) -> str | None:
        """The path of the image that a name means; None: there is none, or it's unclear."""
        self._anew = self._anew or self._images.anew()
        try:
            return self._anew.find(name, folder, split)
        except LabelError:
            return None


def _settle(labels: Labels, path: str, text: str, layout: Layout, tried: _Tried) -> None:
    """Choose the columns that the header of a table leaves open."""
    of_file = split_in_name(path)

    def place(name: str, row: list[str]) -> str | None:
        return tried.place(name, dirname(path), layout.cell(row, "split") or of_file)

    def rows() -> Iterator[list[str]]:
        least = max(layout.used) + 1
        return (row for _, row in _rows(path, text, layout) if len(row) >= least)

    for note in settle(layout, rows, place):
        if ("label-note", path, note) not in labels.problems:
            labels.note(path, note)


def _take_split(labels: Labels, path: str, text: str, layout: Layout, images: Images) -> bool:
    """Have a column of another name for the splits, where there is none, or that says none."""
    _, first = next(_rows(path, text, layout), (0, []))
    cells = [*first, *[""] * len(layout.names)]
    maybe = [i for i, name in enumerate(layout.names) if i not in layout.used and may_be_noted(name, cells[i])]
    if not maybe:
        return False
    columns: dict[str, list[str]] = {layout.names[i]: [] for i in maybe}
    names: list[str] = []
    least = max(*layout.used, *maybe) + 1
    for _, row in _rows(path, text, layout):
        if len(row) < least:
            continue
        if is_called_like_a_split(layout.cell(row, "split")):
            return False
        names.append(layout.cell(row, "image"))
        for i in maybe:
            columns[layout.names[i]].append(row[i].strip())
    found, told = column_of_splits(columns, names, split_in_name(path), Meant(images, dirname(path)))
    for code, fault in told:
        labels.complain(code, path, fault)
    if found:
        layout.columns["split"] = layout.names.index(found)
        layout.choices["split"] = [layout.columns["split"]]
    return bool(found)


def _read(labels: Labels, path: str, text: str, layout: Layout, images: Images) -> None:
    """Read one table."""
    missing: dict[tuple[str, str], list[str]] = {}
    pictures: dict[tuple[str, str], Picture] = {}
    readers: dict[tuple[str, str], _Reader] = {}
    box, closer = layout.box, Closer()
    bare: dict[str, list[tuple[str, list[str]]]] = {}
    boxed: set[str] = set()
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
        if (name, split) not in pictures:
            try:
                found = images.place(name, dirname(path), split)
            except LabelError as error:
                missing[name, split] = [where, str(error)]
                continue
            reader = readers[name, split] = _Reader(layout)
            own = closer.split(split, [found.path]) if layout.cell(row, "split") else split
            picture = Picture(found.path, own, where, reader, attributes=reader.attributes, found=found)
            pictures[name, split] = picture
        _take_size(labels, pictures[name, split], _size(layout, row), where)
        label, has_box = layout.cell(row, "label"), not all(is_nothing(row[column]) for column in box)
        if has_box or not is_nothing(label):
            found_rows = readers[name, split].rows if has_box else bare.setdefault(label, [])
            found_rows.append((where, row))
            boxed.update([label] if has_box else ())
    for where, fault, *more in missing.values():
        labels.complain("label-image", where, fault + (f"; nor for {counted(len(more), 'more row')}" if more else ""))
    for code, fault in closer.told():
        labels.complain(code, path, fault)
    _name_bare(labels, bare, boxed)
    _take_numbers(labels, path, layout, list(readers.values()))
    labels.pictures += pictures.values()


def _name_bare(labels: Labels, bare: dict[str, list[tuple[str, list[str]]]], boxed: set[str]) -> None:
    """Say which rows have a class and no box: of one that no box is of, as ``No finding``, their images have none."""
    for label, rows in bare.items():
        where, count = rows[0][0], counted(len(rows), "row")
        text = f"{count} of class {label!r}, from this one on, " + ("has" if len(rows) == 1 else "have") + " no box"
        if boxed and label not in boxed:
            labels.note(where, f"{text}, as no row of it has: that's no object, and the class isn't in the project")
        else:
            labels.complain("label", where, f"{text}: not read")


def _take_numbers(labels: Labels, path: str, layout: Layout, readers: list[_Reader]) -> None:
    """Note what the numbers of a table's boxes are; where that's unclear, there are none."""
    kind, why = numbers_of(layout, (row for reader in readers for _, row in reader.rows))
    layout.shares = kind is Numbers.SHARES
    if kind is Numbers.UNCLEAR:
        text = f"{why}, so it can't be told whether these are pixels or shares of the image's sides: no box is read"
        labels.complain("label", path, f"{text}. Give all in pixels")
        for reader in readers:
            reader.rows.clear()
    elif layout.shares and not layout.says_shares:
        labels.note(path, "has no number much above 1 in a box, so they are taken for shares of the images' sides")


def _take_size(labels: Labels, picture: Picture, size: Size | None, where: str) -> None:
    """Note the size of its image that a row says."""
    if differ(picture.size, size):
        labels.complain("label-size", picture.path, f"{where} says another size of it than {picture.where}")
    picture.size = together(picture.size, size)


def _size(layout: Layout, row: list[str]) -> Size | None:
    """The size of the image that a row says; a side alone is one of a box, unless its column says that it isn't."""
    known = layout.columns.keys() & {"width", "height"}
    if len(known) == 1 and is_plain(layout, *known):
        return None
    return stated(layout.cell(row, "width"), layout.cell(row, "height"))


class _Reader:
    __slots__ = ("_layout", "rows")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.rows: list[tuple[str, list[str]]] = []

    def classes(self) -> Iterator[str]:
        """Of all objects, as the table has them."""
        return (self._layout.cell(row, "label") for _, row in self.rows)

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
