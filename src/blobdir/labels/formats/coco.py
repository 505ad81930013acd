"""COCO: one JSON file with images, annotations and categories; boxes, outlines, masks, keypoints, captions."""

from __future__ import annotations

import re
from math import isfinite
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import is_size, kind_of
from blobdir.errors import AnnotationError
from blobdir.jsontext import read_json
from blobdir.labels.masks import from_rle
from blobdir.labels.model import (
    Box,
    Category,
    LabelError,
    Labels,
    Picture,
    Polygon,
    Pose,
    Thing,
    name_of,
    number,
    points_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.files import Images, LabelFiles
    from blobdir.labels.model import Complain, Shape, Value

_FIRST_KEY: Final = re.compile(rb'\s*(?:\xef\xbb\xbf)?\s*\{\s*"([^"]*)"')
_KEYS: Final = {b"info", b"licenses", b"images", b"annotations", b"categories", b"type", b"videos"}
_SPLIT: Final = re.compile(
    r"(?:instances|person_keypoints|keypoints|captions|stuff|annotations?|image_info|coco|labels?)[_-](.+)"
)
_GENERIC: Final = re.compile(
    r"_?(?:instances|instances_default|annotations?|coco|labels?|result|data|coco_instances|coco_captions|"
    r"person_keypoints|captions|_?annotations\.coco)"
)
_FOLDERS: Final = ("annotations", "labels", "coco")
_KNOWN: Final = frozenset(
    ("id", "image_id", "category_id", "segmentation", "keypoints", "num_keypoints", "attributes", "caption", "holes")
)
_ALWAYS: Final = ("segmentation", "area", "bbox", "iscrowd")
"""What nearly all files have of an object; what others haven't is noted."""


def is_coco(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    first = _FIRST_KEY.match(head)
    if not path.lower().endswith(".json") or first is None or first[1] not in _KEYS:
        return False
    return b'"images"' in head or b'"annotations"' in head or b'"categories"' in head


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all COCO files of a folder; of those that are of one split, objects of one id are one object."""
    labels = Labels("coco", [path for path in files.ending(".json") if is_coco(path, files.head(path))])
    splits: dict[str, list[str]] = {}
    for path in labels.files:
        splits.setdefault(split_of(path), []).append(path)
    known: dict[str, Category] = {}
    kinds: dict[str, type] = {}
    for split, paths in splits.items():
        _Split(labels, files, images, split, known, kinds).read(paths)
    labels.categories = list(known.values())
    return labels


def split_of(path: str) -> str:
    """The split that a file is of, by its name or its folder's; empty where neither says anything."""
    stem = splitext(basename(path))[0]
    folder = dirname(path)
    if found := _SPLIT.fullmatch(stem):
        if not _GENERIC.fullmatch(stem):
            return found[1].removesuffix(".coco")
    elif not _GENERIC.fullmatch(stem):
        return stem
    while basename(folder) in _FOLDERS:
        folder = dirname(folder)
    return basename(folder)


class _Split:
    """The files of one split."""

    def __init__(
        self,
        labels: Labels,
        files: LabelFiles,
        images: Images,
        split: str,
        known: dict[str, Category],
        kinds: dict[str, type],
    ) -> None:
        self._labels, self._files, self._images, self._split = labels, files, images, split
        self._known = known
        self._pictures: dict[str, Picture] = {}
        self._found: dict[str, list[_Raw]] = {}
        self._kinds = kinds

    def read(self, paths: list[str]) -> None:
        for path in paths:
            self._read(path)
        for name, picture in self._pictures.items():
            raws = self._found.get(name, [])
            if len(paths) > 1:
                raws = list(_merged(raws))
            picture.tags = [("caption", raw.value["caption"]) for raw in raws if _is_caption(raw.value)]
            raws = [raw for raw in raws if not _is_caption(raw.value)]
            picture.read = _Reader(raws, self._kinds)
            self._labels.pictures.append(picture)

    def _read(self, path: str) -> None:
        value = _whole(self._files, path)
        kept = {key: value[key] for key in value if key not in ("images", "annotations", "categories")}
        if kept:
            self._labels.kept.setdefault(self._split, {}).update(kept)
        categories = self._categories(path, value["categories"])
        names = self._read_images(path, value["images"])
        for index, raw in enumerate(value["annotations"]):
            fault = _reference_fault(raw, names, categories)
            if fault:
                self._labels.complain("label", f"{path}: {_place(index, raw)}", fault)
                continue
            name = names[raw["image_id"]]
            if isinstance(given := raw.get("attributes"), dict):
                self._note_kinds(given)
            if name:
                category = categories.get(raw.get("category_id"), _NO_CATEGORY)
                self._found.setdefault(name, []).append(_Raw(path, index, raw, category))

    def _note_kinds(self, attributes: dict[str, Any]) -> None:
        """A tag has one kind of values: those that are numbers here and texts there become texts."""
        for name, value in attributes.items():
            kind = type(_value(value))
            kind = float if kind is int else kind
            if self._kinds.setdefault(name, kind) is not kind:
                self._kinds[name] = str

    def _categories(self, path: str, raws: list[Any]) -> dict[Any, Category]:
        found: dict[Any, Category] = {}
        for index, raw in enumerate(raws):
            try:
                category = _category(raw)
            except LabelError as error:
                self._labels.complain("label", f"{path}: categories[{index}]", str(error))
                continue
            mine = self._known.setdefault(category.name, category)
            if not mine.keypoints and category.keypoints:
                mine.keypoints, mine.edges = category.keypoints, category.edges
            if category.id in found and found[category.id].name != category.name:
                text = f"the id {category.id} is of {found[category.id].name!r} already; its objects are of that class"
                self._labels.complain("label", f"{path}: categories[{index}]", text)
                continue
            found[category.id] = category
        return found

    def _read_images(self, path: str, raws: list[Any]) -> dict[Any, str]:
        """Id -> path of each image; empty for those that aren't there, which are named."""
        names: dict[Any, str] = {}
        for index, raw in enumerate(raws):
            where = f"{path}: images[{index}]"
            if not isinstance(raw, dict) or not isinstance(raw.get("file_name"), str) or not raw["file_name"]:
                what = "isn't an object" if not isinstance(raw, dict) else "has no file_name that is a text"
                self._labels.complain("label", where, what)
                continue
            if type(raw.get("id")) not in (int, str):
                self._labels.complain("label", where, f"{raw['file_name']}: has no id that is a number or a text")
                continue
            if raw["id"] in names:
                text = f"{raw['file_name']}: has the id {raw['id']} of an image before it; objects are of that one"
                self._labels.complain("label", where, text)
                continue
            try:
                found = self._images.find(raw["file_name"], dirname(path), self._split)
            except LabelError as error:
                names[raw["id"]] = ""
                self._labels.complain("label-image", where, str(error))
                continue
            names[raw["id"]] = found
            if found not in self._pictures:
                self._pictures[found] = self._picture(found, where, raw)
        return names

    def _picture(self, found: str, where: str, raw: dict[str, Any]) -> Picture:
        size = (raw.get("width"), raw.get("height"))
        kept = {key: value for key, value in raw.items() if key not in ("width", "height")}
        return Picture(
            found,
            self._split,
            where,
            _Reader([], self._kinds),
            size if is_size(size[0]) and is_size(size[1]) else None,  # type: ignore[arg-type]
            kept=kept,
        )


_NO_CATEGORY: Final = Category("")


class _Raw:
    """An annotation as it's in the file."""

    __slots__ = ("category", "index", "path", "value")

    def __init__(self, path: str, index: int, value: dict[str, Any], category: Category) -> None:
        self.path, self.index, self.value, self.category = path, index, value, category


class _Reader:
    """Makes objects of annotations when they are wanted."""

    __slots__ = ("_kinds", "_raws")

    def __init__(self, raws: list[_Raw], kinds: dict[str, type]) -> None:
        self._raws, self._kinds = raws, kinds

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for raw in self._raws:
            try:
                thing = _thing(raw.value, raw.category)
                for name, value in thing.attributes.items():
                    if self._kinds.get(name) is str and not isinstance(value, str):
                        thing.attributes[name] = "" if value is None else str(value)
                yield thing
            except LabelError as error:
                complain("label", f"{raw.path}: {_place(raw.index, raw.value)}: {error}")


def _place(index: int, raw: Any) -> str:
    name = raw.get("id") if isinstance(raw, dict) else None
    return f"annotations[{index}]" + (f" (id {name})" if type(name) in (int, str) else "")


def _whole(files: LabelFiles, path: str) -> dict[str, Any]:
    try:
        value = read_json(files.read(path))
    except (AnnotationError, LabelError) as error:
        raise LabelError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise LabelError(f"{path}: holds {kind_of(value)}, not an object {{…}}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(value.setdefault(key, []), list):
            raise LabelError(f"{path}: its {key} are {kind_of(value[key])}, not a list")
    return value


def _reference_fault(raw: Any, names: dict[Any, str], categories: dict[Any, Category]) -> str:
    if not isinstance(raw, dict):
        return f"is {kind_of(raw)}, not an object"
    image, category = raw.get("image_id"), raw.get("category_id")
    if type(image) not in (int, str) or image not in names:
        return f"is of the image {image!r}, and there is none of this id"
    if _is_caption(raw):
        return ""
    if type(category) not in (int, str) or category not in categories:
        return f"is of the category {category!r}, and there is none of this id"
    return ""


def _is_caption(raw: dict[str, Any]) -> bool:
    return isinstance(raw.get("caption"), str) and "category_id" not in raw


def _merged(raws: list[_Raw]) -> Iterator[_Raw]:
    """Objects of several files: those of one id and class, one with keypoints and one without, are one."""
    known: dict[Any, _Raw] = {}
    for raw in raws:
        key = raw.value.get("id"), raw.category.name
        mine = known.get(key) if type(key[0]) in (int, str) and not _is_caption(raw.value) else None
        if mine is not None and mine.path != raw.path:
            mine.value = raw.value | mine.value
        else:
            known[key] = raw
            yield raw


def _category(raw: Any) -> Category:
    if not isinstance(raw, dict):
        raise LabelError(f"is {kind_of(raw)}, not an object")
    name, number_ = raw.get("name"), raw.get("id")
    if type(name) in (int, float):
        name = str(name)
    name = name_of(name, "its name")
    if type(number_) not in (int, str):
        raise LabelError(f"{name!r} has no id that is a number")
    keypoints, edges = raw.get("keypoints") or [], raw.get("skeleton") or []
    if not isinstance(keypoints, list):
        raise LabelError(f"{name!r} has keypoints that aren't a list of names")
    keypoints = [name_of(one, f"a keypoint of {name!r}") for one in keypoints]
    if len(set(keypoints)) != len(keypoints):
        raise LabelError(f"{name!r} has two keypoints of one name")
    if not isinstance(edges, list) or not all(_is_edge(edge, len(keypoints)) for edge in edges):
        raise LabelError(f"{name!r} has a skeleton that isn't a list of pairs of its keypoints' numbers, from 1 on")
    parent = raw.get("supercategory")
    kept = {
        key: value for key, value in raw.items() if key not in ("id", "name", "supercategory", "keypoints", "skeleton")
    }
    return Category(
        name,
        number_,
        parent if isinstance(parent, str) else None,
        tuple(keypoints),
        tuple((a - 1, b - 1) for a, b in edges),
        kept,
    )


def _is_edge(edge: Any, count: int) -> bool:
    return isinstance(edge, list) and len(edge) == 2 and all(type(end) is int and 1 <= end <= count for end in edge)


def _thing(raw: dict[str, Any], category: Category) -> Thing:
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
    attributes: dict[str, Value] = {}
    if raw.get("iscrowd") == 1:
        attributes["iscrowd"] = None
    given = raw.get("attributes")
    if isinstance(given, dict):
        attributes |= {str(name): _value(value) for name, value in given.items()}
    ident = raw.get("id")
    kept = _kept(raw, category, has_outline=bool(outline))
    return Thing(category.name, shapes, ident if type(ident) is int else None, attributes, kept)


def _kept(raw: dict[str, Any], category: Category, *, has_outline: bool) -> dict[str, Any]:
    kept = {key: value for key, value in raw.items() if key not in _KNOWN and key != "iscrowd"}
    if isinstance(raw.get("segmentation"), dict) and isinstance(raw["segmentation"].get("counts"), str):
        kept["compressed"] = True
    if not has_outline:
        kept.pop("bbox", None)
    if absent := [key for key in _ALWAYS if key not in raw]:
        kept["absent"] = absent
    if category.id != raw.get("category_id"):
        kept["category_id"] = raw.get("category_id")
    return kept


def _value(value: Any) -> Value:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float)) or value is None else str(value)


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
