"""What all label formats are read into, and written from: pictures, objects, geometry. Coordinates are pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from posixpath import splitext
from typing import TYPE_CHECKING, Any
from unicodedata import category

from blobdir.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from blobdir.labels.finding import Found
    from blobdir.labels.sizes import Size

Point = tuple[float, float]
"""x, y."""
Value = str | int | float | None
"""Of a tag: None is one that is just there."""


class LabelError(DataError):
    """Something in a label file can't be used; the message says what, in words of the format."""


class MissingError(LabelError):
    """What a label file means isn't there."""


class UnclearError(LabelError):
    """What a label file means can be several things.

    Attributes
    ----------
    paths : list of str
    """

    def __init__(self, message: str, paths: list[str]) -> None:
        super().__init__(message)
        self.paths = paths

    @property
    def is_one_name(self) -> bool:
        """Whether they differ in their extensions only."""
        first = splitext(self.paths[0])[0]
        return len(self.paths) > 1 and all(splitext(one)[0] == first for one in self.paths)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle along the axes; `right` and `bottom` are where it ends, as in ``x + width``."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """An area by its outline, and holes in it."""

    exterior: tuple[Point, ...]
    holes: tuple[tuple[Point, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A polyline."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """One point."""

    at: Point


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Pixels of an area: `pixels` is boolean, (height, width), with its upper left corner at (`left`, `top`)."""

    left: int
    top: int
    pixels: NDArray[np.bool_]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Mask)
            and (self.left, self.top, self.pixels.shape) == (other.left, other.top, other.pixels.shape)
            and bool((self.pixels == other.pixels).all())
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Pose:
    """Keypoints by name: x, y, and whether it can be seen. Those that nobody has marked aren't there."""

    points: dict[str, tuple[float, float, bool]]


Shape = Box | Polygon | Line | Dot | Mask | Pose


@dataclass(slots=True)
class Thing:
    """A labelled object.

    Attributes
    ----------
    label : str
        Its class.
    shapes : list of Shape
        Several where the format says that they are one object.
    id : int, str or None
        That the format gives it.
    attributes : dict
        Name -> value as the format has it; `told` is what a tag has of it.
    kept : dict
        What of the format is neither shape nor attribute, and goes back into it: an area, a box beside an outline.
    files : tuple of str
        Label files that say it, where its image has labels in several.
    """

    label: str
    shapes: list[Shape]
    id: int | str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()


@dataclass(slots=True)
class Category:
    """A class.

    Attributes
    ----------
    name : str
        In the project.
    id : int, str or None
        That the format gives it.
    parent : str or None
        COCO's supercategory.
    keypoints : tuple of str
    edges : tuple of (int, int)
        Between keypoints, from 0 on.
    kept : dict
        As of `Thing`.
    said : str
        What its label file calls it, where that is the name of another class.
    """

    name: str
    id: int | str | None = None
    parent: str | None = None
    keypoints: tuple[str, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    kept: dict[str, Any] = field(default_factory=dict)
    said: str = ""


Complain = Callable[[str, str], None]
"""Called with the code of a problem and what it is."""


@dataclass(slots=True)
class Picture:
    """An image and its labels.

    Attributes
    ----------
    path : str
        Of the image file, below the folder of images.
    split : str
        ``train``, ``val``: the dataset that it belongs to; empty where the format says nothing.
    where : str
        The label file that it's in, with the line where there is one.
    size : tuple or None
        Width and height, as the label file has them: see `blobdir.labels.sizes`.
    read : callable
        Gives the objects; told the width and height of the image as it's shown, and whom to complain to.
    tags : list of (str, object)
        Of the image as a whole: name and value.
    kept : dict
        As of `Thing`.
    attributes : callable
        Gives the attributes of all objects, before anybody knows how large the image is.
    beside : dict
        What else of the image goes back into label files, by what it is: COCO's ``captions``.
    found : Found or None
        How a name in a file with the labels of many images means this one.
    is_labelled : bool
        Whether a label file names it; else it's there since images without labels are, too.
    is_listed : bool or None
        Whether a list of a split names it, or a config its folder; False where only others are named; None where there
        is nothing that names images.
    """

    path: str
    split: str
    where: str
    read: Callable[[int, int, Complain], Iterable[Thing]]
    size: Size | None = None
    tags: list[tuple[str, Any]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    attributes: Callable[[], Iterable[Mapping[str, Any]]] = tuple
    beside: dict[str, Any] = field(default_factory=dict)
    found: Found | None = None
    is_labelled: bool = True
    is_listed: bool | None = None

    @property
    def file(self) -> str:
        """The label file that it's in."""
        return self.where.partition(", line ")[0].partition(": ")[0]


@dataclass(slots=True)
class Labels:
    """All that label files say.

    Attributes
    ----------
    format : str
    files : list of str
        Label files, images not.
    categories : list of Category
    pictures : list of Picture
    problems : list of (str, str, str)
        Code, path, message.
    kept : dict
        Split -> what of its file goes back into it: who made it, licenses.
    beside : dict
        Split -> the same of its other files, by what they hold: ``captions``.
    numbered : dict
        Split -> its categories, with the numbers that they have there; `categories` where it isn't in it.
    passed : set of str
        Files that were named together with others, and aren't read.
    boxed : set of str
        Those of `files` that are lists of images, and have numbers behind the names that nobody reads.
    """

    format: str
    files: list[str] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    beside: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbered: dict[str, list[Category]] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    boxed: set[str] = field(default_factory=set)

    def note(self, path: str, message: str) -> None:
        """Say how something was understood, which costs nothing."""
        self.problems.append(("label-note", path, message))

    def complain(self, code: str, path: str, message: str) -> None:
        """Note a problem."""
        self.problems.append((code, path, message))


def plain_float(value: Any) -> float:
    """A number of a text, as other languages read it, too: without ``_``, in digits of ASCII; no truth is one.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(value, bool) or (isinstance(value, str) and (not value.isascii() or "_" in value)):
        raise ValueError(value)
    return float(value)


def number(value: Any, what: str) -> float:
    """A finite number that a format has, as a number or a text.

    Raises
    ------
    LabelError
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = value
    else:
        try:
            found = plain_float(value)
        except (TypeError, ValueError):
            raise LabelError(f"its {what} is {brief(value)}, not a number") from None
    try:
        if isfinite(found):
            return found
    except OverflowError:
        pass
    raise LabelError(f"its {what} is {brief(value)}, not a finite number")


def told(value: Any, *, as_text: bool = False) -> Value:
    """What a tag has of an attribute: texts and numbers as they are, of all else its JSON.

    Parameters
    ----------
    value : object
    as_text : bool
        Also of numbers, and of those that are just there: a tag has one kind of values.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return "" if as_text else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value) if as_text or not _is_finite(value) else value
    return json.dumps(value, ensure_ascii=False)


def is_told(value: Any, tag: Value) -> bool:
    """Whether an attribute is what is `understood` of its tag."""
    if isinstance(value, bool):
        return tag == json.dumps(value)
    if isinstance(value, float) and not isfinite(value):
        return tag == str(value)  # JSON has no other way to say it
    return type(tag) is type(value) and tag == value and tag not in ("true", "false")


def understood(tag: Any) -> Any:
    """The attribute that a tag stands for."""
    return {"true": True, "false": False}.get(tag, tag) if isinstance(tag, str) else tag


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False


def without_nan(value: Any) -> tuple[Any, list[str]]:
    """What of a JSON value can be written as JSON, and the places of the numbers that can't: NaN, Infinity."""
    lost: list[str] = []

    def cleaned(one: Any, place: str) -> Any:
        if isinstance(one, dict):
            found = {}
            for key, item in one.items():
                inner = f"{place}.{key}" if place else str(key)
                if isinstance(item, float) and not isfinite(item):
                    lost.append(inner)
                else:
                    found[key] = cleaned(item, inner)
            return found
        if isinstance(one, list):
            return [cleaned(item, f"{place}[{i}]") for i, item in enumerate(one)]
        if isinstance(one, float) and not isfinite(one):
            lost.append(place)
            return None
        return one

    return cleaned(value, ""), lost


def add_flag(attributes: dict[str, Any], name: str) -> None:
    """Have an attribute that is just there; one of this name that is there already has a value, and keeps it."""
    while name in attributes:
        name += "_"
    attributes[name] = None


def others(said: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """What a program says of an object that the format has no key for, where it says something."""
    return {
        key: value for key, value in said.items() if key not in known and (value or value == 0) and value is not False
    }


def ident_of(value: Any) -> int | str | None:
    """An id that a format has: a whole number, ``1.0`` too, or a text; None: it's neither."""
    if isinstance(value, float) and isfinite(value) and value == int(value):
        return int(value)
    return value if type(value) in (int, str) else None


def name_of(value: Any, what: str) -> str:
    """A name that a format has, as a text with something in it.

    Raises
    ------
    LabelError
    """
    if not isinstance(value, str) or not value:
        raise LabelError(f"{what} is {brief(value)}, not a name")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise LabelError(f"{what} holds half a character: {brief(value)}") from None
    if has_control(value):
        raise LabelError(f"{what} has a control character: {brief(value)}")
    return value


def has_control(text: str) -> bool:
    """Whether a text has characters that names don't: those that control something, as NUL, but for spaces."""
    return not text.isprintable() and any(category(one) == "Cc" and not one.isspace() for one in text)


def points_of(flat: list[float]) -> tuple[Point, ...]:
    """``[x, y, x, y]`` as pairs."""
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def bounds(shape: Shape) -> Box | None:
    """The box around a shape; None where there is nothing in it."""
    match shape:
        case Box():
            return shape
        case Mask():
            height, width = shape.pixels.shape
            return Box(shape.left, shape.top, shape.left + width, shape.top + height)
        case Dot():
            points: Iterable[Point] = [shape.at]
        case Polygon():
            points = shape.exterior
        case Line():
            points = shape.points
        case Pose():
            points = [(x, y) for x, y, _ in shape.points.values()]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Box(min(xs), min(ys), max(xs), max(ys)) if xs else None


def around(shapes: Iterable[Shape]) -> Box | None:
    """The box around several shapes."""
    boxes = [box for shape in shapes if (box := bounds(shape)) is not None]
    if not boxes:
        return None
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def remarks(thing: Thing, width: int, height: int) -> Iterator[tuple[str, str]]:
    """What is odd about an object that is taken all the same: code and message."""
    name = f"{thing.label!r}" + ("" if thing.id is None else f" (id {thing.id})")
    for shape in thing.shapes:
        box = bounds(shape)
        if box is None:
            continue
        if isinstance(shape, Box) and (box.left >= box.right or box.top >= box.bottom):
            yield "label-degenerate", f"a box of {name} has no area"
        elif isinstance(shape, Box) and max(box.right - box.left, box.bottom - box.top) < 1:
            yield "label-degenerate", f"a box of {name} is smaller than a pixel"
        if isinstance(shape, Pose):
            continue
        if box.left < -1 or box.top < -1 or box.right > width + 1 or box.bottom > height + 1:
            reach = f"{box.left:g}, {box.top:g} – {box.right:g}, {box.bottom:g}"
            text = (
                f"{kind_name(shape)} of {name} reaches to {reach}, "
                f"and the image has {width} × {height} pixels; it was kept as it is"
            )
            yield "label-outside", text


def kind_name(shape: Shape) -> str:
    """What messages call a shape."""
    names = {Box: "a box", Polygon: "an outline", Line: "a line", Dot: "a point", Mask: "a mask", Pose: "keypoints"}
    return names.get(type(shape), "a shape")


def brief(value: Any) -> str:
    """What a message shows of a value of JSON: ``null`` and ``true`` as they are there; a text in quotes."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
