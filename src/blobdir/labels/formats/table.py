"""Boxes in a CSV: a row each, with a header that says which column is what; or RetinaNet's six columns without one."""

from __future__ import annotations

import csv
import re
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.files import decoded, is_image
from blobdir.labels.model import Box, LabelError, Labels, Picture, Thing, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.labels.files import Images, LabelFiles
    from blobdir.labels.model import Complain, Value

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
_DELIMITERS: Final = ",;\t"
_RETINANET: Final = ("image", "left", "top", "right", "bottom", "label")
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
_SNIFFED: Final = re.compile(r"-?\d+(\.\d+)?")


def is_table(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    if splitext(path)[1].lower() not in (".csv", ".tsv"):
        return False
    try:
        return _layout(decoded(head.partition(b"\n")[0])) is not None
    except (LabelError, csv.Error):
        return False


def _layout(line: str) -> tuple[str, dict[str, int], list[str], bool] | None:
    """Delimiter, column of each thing, names of all columns, and whether the line is a header; None: no boxes."""
    line = line.strip()
    delimiter = max(_DELIMITERS, key=line.count)
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    names = [cell.lower() for cell in cells]
    found = {}
    for what, known in _NAMES.items():
        if column := next((name for name in known if name in names), ""):
            found[what] = names.index(column)
    needed = {"image", "label", "left", "top"}
    if needed <= found.keys() and ({"right", "bottom"} <= found.keys() or {"across", "down"} <= found.keys()):
        return delimiter, found, names, True
    numbers = all(_SNIFFED.fullmatch(cell) for cell in cells[1:5]) or not any(cells[1:6])
    if len(cells) == len(_RETINANET) and is_image(cells[0]) and numbers:
        return delimiter, {what: i for i, what in enumerate(_RETINANET)}, [], False
    return None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all tables of a folder; images that they don't name have no boxes."""
    labels = Labels("csv", [path for path in files.ending(".csv", ".tsv") if is_table(path, files.head(path))])
    pictures: dict[str, Picture] = {}
    for path in labels.files:
        try:
            lines = decoded(files.read(path)).split("\n")
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        layout = _layout(lines[0])
        if layout is None:
            raise LabelError(f"{path}: line 1: has no columns for image, class and box")
        _read(labels, path, lines, layout, images, pictures)
    named = set(pictures)
    labels.pictures += [Picture(path, "", path, _Reader([])) for path in images.paths if path not in named]
    return labels


def _read(
    labels: Labels,
    path: str,
    lines: list[str],
    layout: tuple[str, dict[str, int], list[str], bool],
    images: Images,
    pictures: dict[str, Picture],
) -> None:
    delimiter, columns, names, has_header = layout
    missing: set[str] = set()
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for row in reader:
            line = reader.line_num
            if (has_header and line == 1) or not any(row):
                continue
            where = f"{path}, line {line}"
            if len(row) <= max(columns.values()):
                labels.complain("label", where, f"has {len(row)} fields, and {max(columns.values()) + 1} are needed")
                continue
            name = row[columns["image"]].strip()
            split = row[columns["split"]].strip() if "split" in columns else ""
            if name in missing:
                continue
            try:
                image = images.find(name, dirname(path), split)
            except LabelError as error:
                missing.add(name)
                labels.complain("label-image", where, str(error))
                continue
            if image not in pictures:
                pictures[image] = Picture(image, split, where, _Reader([]))
                labels.pictures.append(pictures[image])
            rows = pictures[image].read
            assert isinstance(rows, _Reader)  # noqa: S101  # made above
            rows.rows.append((where, row, columns, names))
    except csv.Error as error:
        raise LabelError(f"{path}: line {reader.line_num}: isn't CSV: {error}") from error


class _Reader:
    __slots__ = ("rows",)

    def __init__(self, rows: list[tuple[str, list[str], dict[str, int], list[str]]]) -> None:
        self.rows = rows

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for where, row, columns, names in self.rows:
            if not row[columns["label"]].strip() and not row[columns["left"]].strip():
                continue  # an image without boxes
            try:
                yield _thing(row, columns, names, width, height)
            except LabelError as error:
                complain("label", f"{where}: {error}")


def _thing(row: list[str], columns: dict[str, int], names: list[str], width: int, height: int) -> Thing:
    label = row[columns["label"]].strip()
    if not label:
        raise LabelError("has no class")
    left, top = (number(row[columns[key]], key) for key in ("left", "top"))
    if "right" in columns and "bottom" in columns:
        right, bottom = (number(row[columns[key]], key) for key in ("right", "bottom"))
    else:
        right = left + number(row[columns["across"]], "width")
        bottom = top + number(row[columns["down"]], "height")
    if "labelname" in names and "imageid" in names:  # Open Images: shares
        left, right, top, bottom = left * width, right * width, top * height, bottom * height
    if left > right or top > bottom:
        raise LabelError(f"its box ends before it begins: {left:g}, {top:g} – {right:g}, {bottom:g}")
    attributes: dict[str, Value] = {
        name: None for i, name in enumerate(names) if name in _FLAGS and row[i : i + 1] in (["1"], ["true"], ["True"])
    }
    return Thing(label, [Box(left, top, right, bottom)], attributes=attributes)
