"""What the columns of a table of boxes are, by its header.

Programs spell one column in many ways: spaces, ``-``, ``_`` and capitals count for nothing. A table in which columns
of the box are missing, or can be meant otherwise, isn't read: nothing is guessed.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.finding import is_image
from blobdir.labels.model import LabelError
from blobdir.labels.numerals import is_number

if TYPE_CHECKING:
    from collections.abc import Collection

_IMAGE: Final = (
    *("filename", "image", "path", "imagepath", "img", "file", "imageid", "imagename", "imagefile", "imagefilename"),
    *("filepath", "fname", "imgname", "imgpath", "imgfile", "imgid"),
)
_LABEL: Final = (
    *("class", "label", "name", "category", "labelname", "classname", "categoryname"),
    *("classid", "labelid", "categoryid"),
)
_SPLIT: Final = ("split", "set", "subset")
MAYBE_IMAGE: Final = ("frame", "name")
"""Columns that are the image's if nothing else is, or if the names of images are in them; `name` never alone."""
_ENDS: Final = {
    "left": ("xmin", "left", "minx", "xtl", "xleft", "bx"),
    "top": ("ymin", "top", "miny", "ytl", "ytop", "by"),
    "right": ("xmax", "right", "maxx", "xbr", "xright"),
    "bottom": ("ymax", "bottom", "maxy", "ybr", "ybottom"),
}
"""Spellings of the box's sides, without ``bbox`` before them."""
_SIDES_SAID: Final = (("bw", "bh"), ("w", "h"))
_WIDE: Final = ("width", "height")
"""These may be the image's, too."""
_SIZE: Final = {"width": ("imagewidth", "imgwidth", "width"), "height": ("imageheight", "imgheight", "height")}
"""Columns with the size of the image, where they aren't the box's."""
_OF_BOX: Final = re.compile(r"(?:bounding)?b?box|roi|bb(?=[_a-z])")
"""How the name of a column of the box may begin."""
_CORNER: Final = re.compile(r"([xy])(\d)")
_MANY: Final = 3
"""So many corners are an outline."""
_LIKE_BOX: Final = re.compile(
    r"(?:obj(?:ect)?|rect|roi)?(?:[xywh]|width|height|left|right|top|bottom|upper|lower|min|max|start|end|from|to|lo|hi"
    r"|cent(?:er|re)|c|tl|br|ul|lr|\d)*(?:[xywh]|width|height|left|right|top|bottom)"
    r"(?:left|right|top|bottom|upper|lower|min|max|start|end|from|to|lo|hi|cent(?:er|re)|c|tl|br|ul|lr|\d)*"
)
"""Names that columns of a box may have, whether they are known or not."""
SIDES: Final = ("left", "top", "right", "bottom", "across", "down")
_DELIMITERS: Final = ",;\t"
_RETINANET: Final = ("image", "left", "top", "right", "bottom", "label")
_SKU: Final = (*_RETINANET, "width", "height")
"""What SKU-110K has, without a header, too."""
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


class UnclearTableError(LabelError):
    """A table of boxes, and it can't be told which of its columns are these."""


@dataclass(slots=True)
class Layout:
    """What the columns of a table are.

    Attributes
    ----------
    delimiter : str
    columns : dict
        Of what the format knows -> its column.
    names : list of str
        Of all columns, as the header has them; empty: there is no header.
    corners : list of (int, int)
        Columns with x and y of each corner of an outline; none: there are boxes.
    shares : bool
        Whether coordinates are shares of the image's sides.
    may_be_size : bool
        Whether the sides of the boxes may be the image's, by what their columns are called.
    first : int
        The line that says it: of the header, or the first of the rows.
    choices : dict
        Of what the format knows -> all columns that are called so, the first first: the cells say which it is.
    other : dict
        A second box, of columns that are called as well: which one is meant can't be told if they differ.
    says_shares : int
        How surely the header says that coordinates are shares: 1 as Open Images does, 2 if no other table is so.
    """

    delimiter: str
    columns: dict[str, int]
    names: list[str]
    corners: list[tuple[int, int]] = field(default_factory=list)
    shares: bool = False
    may_be_size: bool = False
    first: int = 1
    choices: dict[str, list[int]] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)
    says_shares: int = 0

    @property
    def used(self) -> set[int]:
        """All columns that the format knows."""
        return {*self.columns.values(), *(column for corner in self.corners for column in corner)}

    def cell(self, row: list[str], what: str) -> str:
        """What a row has of something; empty where there is no column for it."""
        return row[self.columns[what]].strip() if what in self.columns else ""

    @property
    def box(self) -> list[int]:
        """Columns with numbers of the box, or of the outline."""
        sides = [self.columns[side] for side in SIDES if side in self.columns]
        return sides or [column for corner in self.corners for column in corner]

    def attributes(self, row: list[str]) -> dict[str, Any]:
        """What the other columns of a row say."""
        found: dict[str, Any] = {}
        used = self.used
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


def plain_name(cell: str) -> str:
    """The name of a column without what counts for nothing; ``x.1`` is what pandas calls a second ``x``."""
    return re.sub(r"[\s_-]|\.(?!\d+$)", "", cell.lower())


def layout_of(line: str) -> Layout | None:
    """What a table's first line says of it; None: it has no boxes.

    Raises
    ------
    UnclearTableError
        It has boxes, and their columns are incomplete or can be meant otherwise.
    """
    line = line.strip()
    delimiter = max(_DELIMITERS, key=line.count)
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    numbers = all(is_number(cell) for cell in cells[1:5]) or not any(cells[1:6])
    if len(cells) == len(_RETINANET) and is_image(cells[0]) and numbers:
        return Layout(delimiter, {what: i for i, what in enumerate(_RETINANET)}, [])
    sizes = len(cells) == len(_SKU) and all(cell.isdecimal() and int(cell) for cell in cells[-2:])
    if sizes and is_image(cells[0]) and numbers and not is_number(cells[5]) and _fits(cells):
        return Layout(delimiter, {what: i for i, what in enumerate(_SKU)}, [])
    return _Header(cells).layout(delimiter)


def _fits(cells: list[str]) -> bool:
    """Whether the first numbers of a row are two corners in an image of the size that the last two say."""
    if not all(cells[1:5]):
        return True
    left, top, right, bottom, width, height = map(float, (*cells[1:5], *cells[-2:]))
    return left <= right <= width + 1 and top <= bottom <= height + 1


class _Header:
    """The names of the columns, each as it's known by."""

    def __init__(self, cells: list[str]) -> None:
        self.cells = cells
        self._names = [plain_name(cell) for cell in cells]
        self._cores = [_OF_BOX.sub("", name, count=1) if _OF_BOX.match(name) else name for name in self._names]

    def layout(self, delimiter: str) -> Layout | None:
        known = {"image": _IMAGE, "label": _LABEL, "split": _SPLIT}
        choices = {what: columns for what, names in known.items() if (columns := self._every(self._names, names))}
        named = {column for columns in choices.values() for column in columns}
        like_box = [i for i in range(len(self.cells)) if i not in named and self._is_like_box(i)]
        if not like_box:
            return None
        maybe = self._every(self._names, MAYBE_IMAGE if "image" in choices else MAYBE_IMAGE[:1])
        choices["image"] = [*choices.get("image", ()), *maybe]
        if not choices["image"]:
            return None
        layout = Layout(delimiter, {what: some[0] for what, some in choices.items()}, self.cells, choices=choices)
        sides = self._ends() or self._from_corner(like_box, layout)
        if not sides:
            layout.corners = self._outline()
        if not (sides or layout.corners):
            raise self._unclear("it can't be told which columns are the box's")
        if "label" not in choices:
            raise self._unclear("it has no column for the class")
        layout.columns |= sides
        layout.other = self._other(sides)
        self._refuse_twice(layout)
        for what, spellings in _SIZE.items():
            if (column := self._first(self._names, spellings, layout.used)) is not None:
                layout.columns[what] = column
        if "labelname" in self._names and "imageid" in self._names:
            layout.says_shares = 1 + any(name in _FLAGS and name.startswith("is") for name in self._names)
        return layout

    def _first(self, names: list[str], known: tuple[str, ...], but: Collection[int] = ()) -> int | None:
        """The column that is called as the first of some names that there is; those that say they're a box's first."""
        return next((i for i in self._every(names, known) if i not in but), None)

    def _every(self, names: list[str], known: tuple[str, ...]) -> list[int]:
        """All columns that are called as one of some names, in the order of `_first`."""
        order = sorted(range(len(names)), key=lambda i: not self._says_box(i))
        return [i for one in known for i in order if names[i] == one]

    def _says_box(self, i: int) -> bool:
        """Whether a column says that it's of a box, before its name."""
        return self._names[i] != self._cores[i]

    def _is_like_box(self, i: int) -> bool:
        name, core = self._names[i], self._cores[i]
        if name in _WIDE:
            return False  # the image's, for all that is known
        return (
            (not core and bool(name))
            or core in {x for known in _ENDS.values() for x in known}
            or bool(_LIKE_BOX.fullmatch(core))
        )

    def _numbers(self) -> list[int]:
        """The numbers of corners: ``x1``, ``y1`` and so on."""
        found: dict[int, set[str]] = {}
        for core in self._cores:
            if match := _CORNER.fullmatch(core):
                found.setdefault(int(match[2]), set()).add(match[1])
        return sorted(found)

    def _ends(self, but: Collection[int] = ()) -> dict[str, int]:
        """Two corners of the box, in other columns than some; empty where there aren't both."""
        known = dict(_ENDS)
        numbers = self._numbers()
        if len(numbers) == 1 or (len(numbers) < _MANY and numbers in ([0, 1], [1, 2])):
            # one number alone is beside ``x``, ``y``, or beside ``xmax``, ``ymax``
            first, second = numbers if len(numbers) > 1 else (1, 2)
            of_side = {"left": f"x{first}", "top": f"y{first}", "right": f"x{second}", "bottom": f"y{second}"}
            known = {what: (*names, of_side[what]) for what, names in known.items()}
        known["left"], known["top"] = (*known["left"], "x"), (*known["top"], "y")
        return self._all({what: self._first(self._cores, names, but) for what, names in known.items()})

    def _other(self, ends: dict[str, int]) -> dict[str, int]:
        """Two corners of another box that say as much as the first ones that they're a box's; empty: there is none."""
        found = self._ends(ends.values()) if "right" in ends else {}
        sure = [self._says_box(column) for column in ends.values()]
        return found if sure == [self._says_box(found[what]) for what in ends if what in found] else {}

    @staticmethod
    def _all(found: dict[str, int | None]) -> dict[str, int]:
        """The columns; none, where one of them is missing."""
        there = {what: column for what, column in found.items() if column is not None}
        return there if len(there) == len(found) else {}

    def _from_corner(self, like_box: list[int], layout: Layout) -> dict[str, int]:
        """A corner of the box and its sides; empty where there aren't both."""
        numbers = self._numbers()
        one = str(numbers[0]) if numbers in ([0], [1]) else "1"
        left = self._first(self._cores, (*_ENDS["left"], f"x{one}", "x"))
        top = self._first(self._cores, (*_ENDS["top"], f"y{one}", "y"))
        if left is None or top is None or len(numbers) > 1:
            return {}
        found = {"left": left, "top": top}
        said = [i for i, core in enumerate(self._cores) if self._says_box(i) and core in _WIDE]
        pairs = (self._pair(names, said if names == _WIDE else None) for names in (_WIDE, *_SIDES_SAID))
        pair = next(filter(None, pairs), None)
        if pair is None and not set(like_box) - {left, top}:
            pair = self._pair(_WIDE)
        if pair is None:
            return {}
        found |= pair
        may_be = {*_WIDE, "w", "h"}
        has_size = self._first(self._names, _SIZE["width"][:2]) is not None
        layout.may_be_size = not has_size and {self._names[column] for column in pair.values()} <= may_be
        return found

    def _pair(self, names: tuple[str, str], among: Collection[int] | None = None) -> dict[str, int] | None:
        """Both sides of the box by two names, of which one mustn't say that it's the box's if there is another one."""
        columns = range(len(self.cells)) if among is None else among
        found = [[i for i in columns if self._cores[i] == name] for name in names]
        said = [[i for i in some if self._says_box(i)] for some in found]
        if all(said):
            found = said
        elif any(len(some) != 1 for some in found):
            return None
        return dict(zip(("across", "down"), (some[0] for some in found), strict=True))

    def _outline(self) -> list[tuple[int, int]]:
        """The columns of at least three corners; empty where there are none, or one is missing."""
        numbers = self._numbers()
        if len(numbers) < _MANY or numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
            return []
        found = self._all({f"{side}{n}": self._first(self._cores, (f"{side}{n}",)) for n in numbers for side in "xy"})
        return [(found[f"x{n}"], found[f"y{n}"]) for n in numbers] if found else []

    def _refuse_twice(self, layout: Layout) -> None:
        for column in layout.used:
            if self._names.count(self._names[column]) > 1:
                raise self._unclear(f"it has two columns {self.cells[column]!r}")

    def _unclear(self, fault: str) -> UnclearTableError:
        header = ", ".join(self.cells)
        return UnclearTableError(
            f"is a table of boxes, and {fault}, so it isn't read: {header[:300]}. Call them xmin, ymin, xmax, ymax, or "
            "bbox_x, bbox_y, bbox_width, bbox_height, and those of the image and its class `image` and `label`"
        )
