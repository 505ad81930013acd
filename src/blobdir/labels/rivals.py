"""Texts of one image in two forms: what a program converted, and what it was made from, in pixels.

VisDrone, DOTA and KITTI have a text for each image, and so has YOLO: of both only the converted ones are read, and a
line for each image would say nothing. They are named together; it costs nothing if they say the same boxes.

The originals may lie in a folder that is called like none of images, as ``labels/train_original`` beside
``labels/train``. Then their images are known by their names alone, and by the boxes where several have that name; an
original whose image isn't known so has labels of one that is missing.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.errors import BlobdirError
from blobdir.images import shown_size
from blobdir.labels.foreign import without_heads
from blobdir.labels.model import LabelError
from blobdir.labels.namesakes import stem_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels

_BETWEEN: Final = re.compile(r"[\s,;]+")
_BOX, _SCORED, _CORNERS = 4, 5, 8
_STARTS: Final = range(5)
"""Where a box may begin in a row: behind a class, or behind what KITTI says of it."""
_OFF: Final = 1.5
"""So many pixels may a side be elsewhere: programs round."""
_IGNORED: Final = 4
"""The number in VisDrone's rows that is 0 where an object doesn't count."""
_SHARES: Final = (-1, 2)

Box = tuple[float, float, float, float]


class Rival(NamedTuple):
    """A text of an image that has its labels in another one.

    Attributes
    ----------
    file : str
    image : str
    owner : str
    """

    file: str
    image: str
    owner: str


def name_rivals(rivals: list[Rival], files: LabelFiles, labels: Labels) -> None:
    """Name files of images that have labels in others: those in pixels, beside some in shares, all together."""
    others: dict[bool, list[Rival]] = {}
    for one in rivals:
        if (is_same := _are_same(one, files)) is None:
            labels.complain("label", one.file, f"is of {one.image}, which has labels in {one.owner}")
        else:
            others.setdefault(is_same, []).append(one)
    for is_same, some in others.items():
        first = some[0]
        more = f"; so are {counted(len(some) - 1, 'more file')}" if len(some) > 1 else ""
        text = f"is of {first.image}, which has labels in {first.owner}{more}"
        if is_same:
            labels.note(first.file, f"{text}. It has the same boxes in pixels: it isn't read")
        else:
            text = f"{text}. It has numbers in pixels, and not the same boxes, so it isn't read"
            labels.complain("label", first.file, f"{text}: move what doesn't count out of the folder")


def is_original(one: Rival, files: LabelFiles) -> bool:
    """Whether a text in pixels has the boxes of one in shares, and at least one: others like it have labels, too."""
    return _are_same(one, files) is True and bool(files.head(one.file).strip())


def originals(lost: Iterable[str], owners: dict[str, str], files: LabelFiles, images: Images) -> list[Rival]:
    """Texts of images that lie elsewhere which are the originals of those that have labels.

    Parameters
    ----------
    lost : iterable of str
    owners : dict
        Image -> the text with its labels.
    files : LabelFiles
    images : Images
    """
    found = []
    for path in lost:
        rivals = [Rival(path, image, owners[image]) for image in images.called_so(stem_of(path)) if image in owners]
        same = {one: is_same for one in rivals if (is_same := _are_same(one, files)) is not None}
        alike = [one for one, is_same in same.items() if is_same]
        if alike or len(rivals) == len(same) == 1:
            found.append(alike[0] if alike else rivals[0])
    return found


def _are_same(one: Rival, files: LabelFiles) -> bool | None:
    """Whether a text in pixels has the boxes of one in shares; None: they aren't such texts."""
    if not one.file.lower().endswith(".txt") or not one.owner.lower().endswith(".txt"):
        return None
    try:
        mine, rows = _rows(files.text(one.owner)), _rows(files.text(one.file))
    except LabelError:
        return None
    if not rows and not mine:
        return True
    if not rows or not _are_shares(mine) or _are_shares(rows):
        return None
    if not any(_columns(rows, start, _BOX) for start in _STARTS):
        return None
    boxes = [_of_shares(row) for row in mine]
    counting = [row for row in rows if len(row) <= _IGNORED or row[_IGNORED] != 0]
    size = _size_of(os.path.join(files.image_root, one.image))
    if size is None:
        return None
    return any(_fit(boxes, found, size) for some in (rows, counting) for found in _boxes(some))


def _size_of(image: str) -> tuple[int, int] | None:
    """Width and height of an image, as it's shown; None where they can't be known."""
    try:
        return shown_size(image)
    except BlobdirError:
        return None


def _rows(text: str) -> list[list[float | str]]:
    lines = (_BETWEEN.split(line.strip(" \t\r,;")) for line in without_heads(text.splitlines()) if line.strip())
    return [[_number(word) for word in line] for line in lines]


def _number(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def _are_shares(rows: list[list[float | str]]) -> bool:
    """Whether all rows are YOLO's: a class, then shares of the image's sides."""
    least, most = _SHARES
    return all(
        len(row) > _BOX and all(isinstance(cell, float) and least <= cell <= most for cell in row[1:]) for row in rows
    )


def _of_shares(row: list[float | str]) -> Box:
    values = [cell for cell in row[1:] if isinstance(cell, float)]
    if len(values) <= _SCORED:
        x, y, w, h = values[:_BOX]
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return _around(values[: len(values) // 2 * 2])


def _around(values: list[float]) -> Box:
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _boxes(rows: list[list[float | str]]) -> Iterator[list[Box]]:
    """The boxes that rows may have, in each way in which they may have some."""
    if found := _columns(rows, 0, _CORNERS):
        yield [_around(values) for values in found]
    for start in _STARTS:
        if found := _columns(rows, start, _BOX):
            yield [(x, y, x + w, y + h) for x, y, w, h in found]
            yield [(left, top, right, bottom) for left, top, right, bottom in found]
    if not rows:
        yield []


def _columns(rows: list[list[float | str]], start: int, count: int) -> list[list[float]]:
    """So many numbers of each row; nothing if one has others there."""
    found = [[cell for cell in row[start : start + count] if isinstance(cell, float)] for row in rows]
    return found if all(len(one) == count for one in found) else []


def _fit(shares: list[Box], pixels: list[Box], size: tuple[int, int]) -> bool:
    """Whether boxes are the same ones, in an image of a size."""
    return len(shares) == len(pixels) and all(
        abs(mine[i] * size[i % 2] - other[i]) <= _OFF
        for mine, other in zip(shares, pixels, strict=True)
        for i in range(_BOX)
    )
