"""CreateML: one JSON list of images with boxes, by their centres."""

from __future__ import annotations

import re
from posixpath import dirname
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import kind_of
from blobdir.errors import AnnotationError
from blobdir.jsontext import read_json
from blobdir.labels.finding import is_image
from blobdir.labels.model import Box, LabelError, Labels, Picture, Thing, name_of, number, others
from blobdir.labels.saidsplits import Closer, Meant, column_of_splits, columns_of
from blobdir.labels.splitnames import folder_of_labels, split_in_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Complain

_BEGIN: Final = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*\[\s*\{")
_IMAGE_KEYS: Final = ("image", "imagefilename", "filename")
_KEY: Final = re.compile(rb'"(image|imagefilename|filename)"\s*:\s*"')
_LABEL_STUDIO: Final = re.compile(rb'"(?:data"\s*:\s*\{|result"\s*:\s*\[|completed_by"|from_name")')
_LIST_KEYS: Final = ("annotations", "annotation")
_OF_OBJECTS: Final = ("label", "coordinates")


def is_createml(path: str, head: bytes) -> bool:
    """Whether a file can be one."""
    is_list = path.lower().endswith(".json") and _BEGIN.match(head) is not None
    if not is_list or _LABEL_STUDIO.search(head) is not None:
        return False
    return _KEY.search(head) is not None and re.search(rb'"annotations?"', head) is not None


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all CreateML files; the split is what a file is called, or the folder that it is in."""
    labels = Labels("createml", [path for path in files.ending(".json") if is_createml(path, files.head(path))])
    for path in labels.files:
        try:
            value = read_json(files.read(path))
        except (AnnotationError, LabelError) as error:
            raise LabelError(f"{path}: {error}") from error
        of_file = split_in_name(path) or folder_of_labels(path)
        columns = columns_of(value)
        meant, closer = Meant(images, dirname(path)), Closer()
        said, told = column_of_splits(columns, map(_name_of, value), of_file, meant) if columns else ("", [])
        for code, fault in told:
            labels.complain(code, path, fault)
        for index, raw in enumerate(value):
            split = columns[said][index] if said else of_file
            where = f"{path}: [{index}]"
            try:
                name, annotations = _picture(raw)
            except LabelError as error:
                labels.complain("label", where, str(error))
                continue
            try:
                found = images.place(name, dirname(path), split)
            except LabelError as error:
                labels.complain("label-image", where, str(error))
                continue
            split = closer.split(split, [found.path]) if said else split
            picture = Picture(found.path, split, where, _Reader(where, annotations), found=found)
            picture.attributes = _attributes_of(annotations)
            picture.kept = others(raw, (*_IMAGE_KEYS, *_LIST_KEYS))
            labels.pictures.append(picture)
        for code, fault in closer.told():
            labels.complain(code, path, fault)
    return labels


def _name_of(raw: Any) -> str:
    name = next((raw[key] for key in _IMAGE_KEYS if key in raw), "") if isinstance(raw, dict) else ""
    return name if isinstance(name, str) else ""


def _picture(raw: Any) -> tuple[str, list[Any]]:
    if not isinstance(raw, dict):
        raise LabelError(f"is {kind_of(raw)}, not an object")
    name = next((raw[key] for key in _IMAGE_KEYS if key in raw), None)
    if not isinstance(name, str) or not is_image(name):
        raise LabelError(
            f"its image is {kind_of(name) if not isinstance(name, str) else repr(name)}, not the name of one"
        )
    annotations: Any = next((raw[key] for key in _LIST_KEYS if key in raw), [])
    if not isinstance(annotations, list):
        raise LabelError(f"its annotations are {kind_of(annotations)}, not a list")
    return name, annotations


class _Reader:
    __slots__ = ("_raws", "_where")

    def __init__(self, where: str, raws: list[Any]) -> None:
        self._where, self._raws = where, raws

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for index, raw in enumerate(self._raws):
            try:
                yield _thing(raw)
            except LabelError as error:
                complain("label", f"{self._where}.annotations[{index}]: {error}")


def _thing(raw: Any) -> Thing:
    if not isinstance(raw, dict):
        raise LabelError(f"is {kind_of(raw)}, not an object")
    label, place = raw.get("label"), raw.get("coordinates")
    label = name_of(label, "its label")
    if not isinstance(place, dict):
        raise LabelError(f"its coordinates are {kind_of(place)}, not an object")
    x, y, width, height = (number(place.get(key), key) for key in ("x", "y", "width", "height"))
    if width < 0 or height < 0:
        raise LabelError(f"has a width or height below nothing: {width:g} × {height:g}")
    box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Thing(label, [box], attributes=others(raw, _OF_OBJECTS))


def _attributes_of(raws: list[Any]) -> Callable[[], Iterator[dict[str, Any]]]:
    return lambda: (others(raw, _OF_OBJECTS) for raw in raws if isinstance(raw, dict))
