"""What COCO says of objects and of classes, and what of it goes back."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import kind_of
from blobdir.labels.masks import from_rle
from blobdir.labels.model import (
    Box,
    Category,
    LabelError,
    Polygon,
    Pose,
    Thing,
    ident_of,
    name_of,
    number,
    points_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from blobdir.labels.model import Complain, Shape
    from blobdir.labels.sizes import Size

_KNOWN: Final = frozenset(("id", "image_id", "category_id", "segmentation", "attributes", "caption", "holes"))
_NUMBERS: Final = frozenset(("id", "image_id", "category_id"))
_ALWAYS: Final = ("segmentation", "area", "bbox", "iscrowd")
"""What nearly all files have of an object; what others haven't is noted."""
CROWD: Final = "iscrowd"
"""The tag of a crowd; attributes that are called so have ``_`` behind it, and one more than they had."""


class Raw:
    """An annotation as it's in the file.

    Parameters
    ----------
    path : str
    index : int
    value : dict
    category : Category
        With the number that objects of its class have in this split.
    number : int or str
        The number that this one's category has there.

    Attributes
    ----------
    files : tuple of str
        That have it.
    """

    __slots__ = ("category", "files", "index", "number", "path", "value")

    def __init__(
        self, path: str, index: int, value: dict[str, Any], category: Category, number: int | str | None
    ) -> None:
        self.path, self.index, self.value, self.category, self.number = path, index, value, category, number
        self.files: tuple[str, ...] = (path,)

    def is_in(self, path: str) -> None:
        """Note that another file has it, too."""
        if path not in self.files:
            self.files = (*self.files, path)


class Reader:
    """Makes objects of annotations when they are wanted.

    Parameters
    ----------
    raws : list of Raw
    size : tuple or None
        Width and height that the file says of the image.
    """

    __slots__ = ("_raws", "_size")

    def __init__(self, raws: list[Raw], size: Size | None = None) -> None:
        self._raws, self._size = raws, size

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        """Read them."""
        for raw in self._raws:
            where = f"{raw.path}: {place_of(raw.index, raw.value)}"
            try:
                thing = _thing(raw)
                thing.files = raw.files
                yield thing
            except LabelError as error:
                complain("label", f"{where}: {error}")
                continue
            rle = raw.value.get("segmentation")
            size = rle.get("size") if isinstance(rle, dict) else None
            if width and isinstance(size, list) and size not in ([height, width], [*(self._size or ())][::-1]):
                shown = " × ".join(map(str, size[::-1]))
                text = f"its mask is of an image of {shown} pixels, and this one has {width} × {height}"
                complain("label-size", f"{where}: {text}")


def attributes_of(raws: list[Raw]) -> Callable[[], Iterator[dict[str, Any]]]:
    """Gives the attributes of annotations."""
    return lambda: (_attributes(raw.value) for raw in raws)


def place_of(index: int, raw: Any) -> str:
    """Where an annotation is, for messages."""
    name = raw.get("id") if isinstance(raw, dict) else None
    return f"annotations[{index}]" + (f" (id {name})" if ident_of(name) is not None else "")


def is_caption(raw: dict[str, Any]) -> bool:
    """Whether an annotation is a text, and no object."""
    return isinstance(raw.get("caption"), str) and "category_id" not in raw


def merged(raws: list[Raw]) -> Iterator[Raw]:
    """Objects of several files: those of one id and class that say nothing different are one; equal ones, too."""
    known: dict[Any, list[Raw]] = {}
    equal: dict[bytes, tuple[str, list[Raw]]] = {}
    for raw in raws:
        said = raw.category.name, sorted((key, one) for key, one in raw.value.items() if key not in _NUMBERS)
        key = blake2b(repr(said).encode("utf-8", "surrogatepass")).digest()
        first, alike = equal.setdefault(key, (raw.path, []))
        if first != raw.path:
            for one in alike:
                one.is_in(raw.path)
            continue
        ident = None if is_caption(raw.value) else ident_of(raw.value.get("id"))
        same = known.setdefault((ident, raw.category.name), []) if ident is not None else []
        mine = next((one for one in same if one.path != raw.path and _are_one(one.value, raw.value)), None)
        if mine is not None:
            if not mine.category.keypoints:
                mine.category = raw.category
            if not _has_pose(mine.value) and _has_pose(raw.value):
                mine.number = raw.number  # of the category that its keypoints are of
            mine.is_in(raw.path)
            alike.append(mine)
            mine.value = raw.value | {key: one for key, one in mine.value.items() if not _is_empty(key, one)}
        else:
            same.append(raw)
            alike.append(raw)
            yield raw


def _are_one(one: dict[str, Any], other: dict[str, Any]) -> bool:
    both = one.keys() & other.keys() - {"category_id"}  # the classes are the same, whatever their numbers
    return all(one[key] == other[key] or _is_empty(key, one[key]) or _is_empty(key, other[key]) for key in both)


def _has_pose(value: dict[str, Any]) -> bool:
    return not _is_empty("keypoints", value.get("keypoints"))


def _is_empty(key: str, value: Any) -> bool:
    if key == "keypoints" and isinstance(value, list):
        return not any(value)
    return value is None or value in ([], {}, "") or (key == "num_keypoints" and value == 0)


def category_of(raw: Any, complain: Callable[[str], None]) -> Category:
    """A category; of a skeleton that can't be read it's told, and the objects are read all the same.

    Raises
    ------
    LabelError
    """
    if not isinstance(raw, dict):
        raise LabelError(f"is {kind_of(raw)}, not an object")
    name, ident = raw.get("name"), ident_of(raw.get("id"))
    if type(name) in (int, float):
        name = str(name)
    name = name_of(name, "its name")
    if ident is None:
        raise LabelError(f"{name!r} has no id that is a number")
    edges = raw.get("skeleton") or []
    try:
        keypoints = _keypoint_names(name, raw.get("keypoints") or [])
        if not isinstance(edges, list) or not all(_is_edge(edge, len(keypoints)) for edge in edges):
            raise LabelError(f"{name!r} has a skeleton that isn't a list of pairs of its keypoints' numbers, from 1 on")
    except _KeypointsError as error:
        complain(f"{error}: they are left out")
        keypoints, edges = [], []
    except LabelError as error:
        complain(f"{error}: left out")
        edges = []
    parent = raw.get("supercategory")
    kept = {
        key: value for key, value in raw.items() if key not in ("id", "name", "supercategory", "keypoints", "skeleton")
    }
    return Category(
        name,
        ident,
        parent if isinstance(parent, str) else None,
        tuple(keypoints),
        tuple((a - 1, b - 1) for a, b in edges),
        kept,
    )


class _KeypointsError(LabelError):
    """A category's keypoints can't be told from each other."""


def _keypoint_names(name: str, given: Any) -> list[str]:
    if not isinstance(given, list):
        raise _KeypointsError(f"{name!r} has keypoints that aren't a list of names")
    try:
        found = [name_of(one, f"a keypoint of {name!r}") for one in given]
    except LabelError as error:
        raise _KeypointsError(str(error)) from error
    if len(set(found)) != len(found):
        raise _KeypointsError(f"{name!r} has two keypoints of one name")
    return found


def _is_edge(edge: Any, count: int) -> bool:
    return isinstance(edge, list) and len(edge) == 2 and all(type(end) is int and 1 <= end <= count for end in edge)


def _thing(one: Raw) -> Thing:
    raw, category = one.value, one.category
    shapes: list[Shape] = []
    pose = _pose(raw.get("keypoints"), category)
    if pose is not None:
        shapes.append(pose)
    outline = list(_outlines(raw))
    box = _box(raw.get("bbox"))
    if outline:
        shapes += outline
    elif box is not None:
        shapes.append(box)
    if not shapes:
        raise LabelError("has neither a box nor an outline, a mask or keypoints")
    ident = ident_of(raw.get("id"))
    return Thing(category.name, shapes, ident, _attributes(raw), _kept(one, pose))


def _attributes(raw: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {CROWD: None} if raw.get(CROWD) == 1 else {}
    given = raw.get("attributes")
    for name, value in given.items() if isinstance(given, dict) else ():
        found[f"{name}_" if name.rstrip("_") == CROWD else name] = value
    return found


def _kept(one: Raw, pose: Pose | None) -> dict[str, Any]:
    raw = one.value
    kept = {key: value for key, value in raw.items() if key not in _KNOWN}
    if isinstance(raw.get("segmentation"), dict) and isinstance(raw["segmentation"].get("counts"), str):
        kept["compressed"] = True
    if kept.get(CROWD) in (0, 1):
        del kept[CROWD]
    if type(raw.get("id")) is str:
        kept["id"] = raw["id"]
    said = pose_numbers(pose, one.category.keypoints) if pose is not None else {}
    for key in ("keypoints", "num_keypoints"):
        if key in kept and kept[key] == said.get(key):
            del kept[key]
    if absent := [key for key in _ALWAYS if key not in raw]:
        kept["absent"] = absent
    if one.number != one.category.id:
        kept["category_id"] = one.number
    return kept


def pose_numbers(pose: Pose, names: Iterable[str]) -> dict[str, Any]:
    """COCO's ``keypoints`` and ``num_keypoints``."""
    numbers: list[float] = []
    for name in names:
        x, y, seen = pose.points.get(name, (0, 0, False))
        numbers += [x, y, 2 if seen else 1] if name in pose.points else [0, 0, 0]
    return {"keypoints": numbers, "num_keypoints": len(pose.points)}


def _box(raw: Any) -> Box | None:
    if raw is None or raw == []:
        return None
    if not isinstance(raw, list) or len(raw) != 4:
        raise LabelError("its bbox isn't [x, y, width, height]")
    x, y, width, height = (number(one, "bbox") for one in raw)
    if width < 0 or height < 0:
        raise LabelError(f"its bbox has a width or height below nothing: {width:g} × {height:g}")
    return Box(x, y, x + width, y + height)


def _outlines(raw: dict[str, Any]) -> Iterable[Shape]:
    segmentation = raw.get("segmentation")
    if segmentation is None or segmentation in ([], ""):
        return
    holes = raw.get("holes")
    if isinstance(segmentation, dict):
        if isinstance(holes, dict):  # as blobdir writes a polygon with holes, beside its pixels
            yield Polygon(_ring(holes.get("exterior")), tuple(_ring(ring) for ring in holes.get("interior") or ()))
            return
        mask = from_rle(segmentation)
        if mask is None:
            raise LabelError("its mask has no pixels")
        yield mask
        return
    if not isinstance(segmentation, list):
        raise LabelError(f"its segmentation is {kind_of(segmentation)}, neither outlines nor a mask")
    if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in segmentation):
        segmentation = [segmentation]
    for ring in segmentation:
        if ring != []:  # there is nothing in it
            yield Polygon(_ring(ring))


def _ring(raw: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(raw, list):
        raise LabelError(f"an outline is {kind_of(raw)}, not a list of numbers")
    if len(raw) % 2 or len(raw) < 6:
        raise LabelError(f"an outline has {len(raw)} numbers, and x and y of three points or more are needed")
    return points_of([number(one, "outline") for one in raw])


def _pose(raw: Any, category: Category) -> Pose | None:
    if raw is None or raw == []:
        return None
    if not isinstance(raw, list) or len(raw) % 3:
        raise LabelError("its keypoints aren't x, y and visibility of each")
    if not category.keypoints:
        raise LabelError(f"has keypoints, and its category {category.name!r} has none")
    if len(raw) != 3 * len(category.keypoints):
        raise LabelError(f"has {len(raw) // 3} keypoints, and its category {len(category.keypoints)}")
    found = {}
    for i, name in enumerate(category.keypoints):
        x, y, seen = (number(one, "keypoints") for one in raw[3 * i : 3 * i + 3])
        if seen:
            found[name] = (x, y, seen > 1)
    return Pose(found) if found else None


class Said:
    """What files say of images before their objects are read, to compare it with what another file says."""

    def __init__(self, values: Iterable[tuple[str, dict[str, Any]]]) -> None:
        self._values: dict[str, list[dict[str, Any]]] = {}
        for path, value in values:
            self._values.setdefault(path, []).append(value)
        self._known: dict[str, dict[str, list[Hashable]]] = {}

    def of(self, where: str) -> list[Hashable]:
        """The objects of the image at a place, each as its class and box, or what there is besides."""
        path, _, place = where.rpartition(": ")
        if path not in self._known:
            self._known[path] = {}
            for value in self._values[path]:
                self._note(path, value)
        return self._known[path].get(place, [])

    def _note(self, path: str, value: dict[str, Any]) -> None:
        names = {ident_of(one.get("id")): one.get("name") for one in value["categories"] if isinstance(one, dict)}
        entries = enumerate(value["images"])
        places = {ident_of(raw.get("id")): f"images[{i}]" for i, raw in entries if isinstance(raw, dict)}
        for raw in value["annotations"]:
            ident = ident_of(raw.get("image_id")) if isinstance(raw, dict) else None
            if ident in places and ident is not None and not is_caption(raw):
                name = str(names.get(ident_of(raw.get("category_id"))))
                shape = raw.get("bbox") or raw.get("segmentation") or raw.get("keypoints")
                self._known[path].setdefault(places[ident], []).append((name, _plain(shape)))


def _plain(shape: Any) -> Hashable:
    """A shape as it can be compared: ``1.0`` is ``1``."""
    if isinstance(shape, list):
        return tuple(map(_plain, shape))
    return shape if isinstance(shape, float | int) else str(shape)
