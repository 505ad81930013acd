"""COCO: one JSON file with images, annotations and categories; boxes, outlines, masks, keypoints, captions."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import kind_of
from blobdir.errors import AnnotationError
from blobdir.jsontext import read_json
from blobdir.labels.claims import Meaning, contradicted
from blobdir.labels.files import END_BYTES
from blobdir.labels.foreign import is_datumaro
from blobdir.labels.formats.cocoobjects import (
    Raw,
    Reader,
    Said,
    attributes_of,
    category_of,
    is_caption,
    merged,
    place_of,
)
from blobdir.labels.model import Category, LabelError, Labels, Picture, brief, ident_of, without_nan
from blobdir.labels.saidsplits import Closer, Meant, column_of_splits, columns_of
from blobdir.labels.sizes import differ, stated, together
from blobdir.labels.splitnames import folder_of_labels, is_called_like_a_split, is_split, is_whole
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Found, Images

_FIRST_KEY: Final = re.compile(rb'\s*(?:\xef\xbb\xbf)?\s*\{\s*"([^"]*)"')
_KEYS: Final = {b"info", b"licenses", b"images", b"annotations", b"categories", b"type", b"videos"}
_LISTS: Final = ("images", "annotations", "categories")
_LIST: Final = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_SPLIT: Final = re.compile(
    r"(?:instances|person_keypoints|keypoints|captions|stuff|panoptic|annotations?|image_info|coco|labels?)[_-](.+)"
)
_GENERIC: Final = re.compile(
    r"_?(?:instances|instances_default|annotations?|coco|labels?|result|data|coco_instances|coco_captions|"
    r"person_keypoints|captions|_?annotations\.coco)"
)


def is_coco(path: str, head: bytes) -> bool:
    """Whether a file can be one: an object with two of the three lists, or that begins as nearly all do.

    One that is seen whole has images, or annotations: only categories are the classes of another format.
    """
    first = _FIRST_KEY.match(head)
    if not path.lower().endswith(".json") or first is None:
        return False
    if is_datumaro(path, head):
        return False
    if len(set(_LIST.findall(head))) > 1:
        return True
    wanted = _LISTS[:2] if len(head) <= END_BYTES else _LISTS
    return first[1] in _KEYS and any(b'"%s"' % key.encode() in head for key in wanted)


def read(files: LabelFiles, images: Images) -> Labels:
    """Read all COCO files of a folder; of those that are of one split, equal objects of one id are one object."""
    labels = Labels("coco", [path for path in files.ending(".json") if is_coco(path, files.head(path))])
    splits: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for path, split in _splits_of(labels.files).items():
        if (value := _taken(files, path, labels)) is not None:
            for word, part in _parted(path, value, split, images, labels).items():
                splits.setdefault(word, []).append((path, part))
    classes = _Classes(labels)
    readers = [_Split(labels, images, split, classes, values) for split, values in splits.items()]
    meanings = [one for reader in readers for one in reader.place()]
    said = Said(value for some in splits.values() for value in some)

    def says(i: int) -> Collection[Hashable]:
        return said.of(meanings[i].where)

    wrong = {meanings[i].where: text for i, text in contradicted(meanings, files, images, says).items()}
    for reader in readers:
        reader.read(wrong)
    labels.problems = list(dict.fromkeys(labels.problems))  # categories are those of each part of a file
    return labels


def split_of(path: str) -> str:
    """The split that a file is of, by its name or its folder's; empty where neither says anything."""
    stem = splitext(basename(path))[0]
    if found := _SPLIT.fullmatch(stem):
        if not _GENERIC.fullmatch(stem):
            return found[1].removesuffix(".coco")
    elif not _GENERIC.fullmatch(stem):
        return stem
    return folder_of_labels(path)


def _splits_of(paths: list[str]) -> dict[str, str]:
    """Path of each file -> its split; where files of one name lie in folders of several splits, these say it."""
    folders: dict[str, set[str]] = {}
    for path in paths:
        folders.setdefault(basename(path), set()).add(folder_of_labels(path))
    found = {path: split_of(path) for path in paths}
    for path, split in found.items():
        others = folders[basename(path)]
        if len(others) > 1 and all(map(is_split, others)) and not is_called_like_a_split(split):
            found[path] = folder_of_labels(path)
    return found


_ELSEWHERE: Final[dict[str, Any]] = {}
"""Stands for what is of another split, as places in a file are told by number."""
_Numbered = dict[Any, tuple["Category", "int | str | None"]]
"""Number in a file -> its class, with the number that this has in the split, and the one that stands for this entry."""


_NONE: Final = Category(""), None
"""The class of captions."""


class _Classes:
    """The classes of all splits. Categories of one name are one, if they have the same keypoints."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._by_name: dict[str, list[Category]] = {}
        self._taken: set[str] = set()

    def of_split(self, split: str, files: list[tuple[str, list[tuple[str, Category]]]]) -> dict[str, _Numbered]:
        """The classes that the numbers of a split's files stand for, and the numbers that they have in the split.

        Parameters
        ----------
        split : str
        files : list of (str, list)
            Path of each file, and its categories with their places.
        """
        everything = [(path, place, one) for path, some in files for place, one in some]
        self._taken |= {one.name for *_, one in everything}
        classes: dict[tuple[str, tuple[str, ...]], Category] = {}
        by_name: dict[str, Category] = {}
        for path, place, one in sorted(everything, key=lambda item: not item[2].keypoints):
            key = one.name, one.keypoints
            if key not in classes:
                mine = by_name.get(one.name)
                classes[key] = mine if mine is not None and not one.keypoints else self._class(f"{path}: {place}", one)
                by_name.setdefault(one.name, classes[key])
        first: dict[str, int | str | None] = {}
        found: dict[str, _Numbered] = {path: {} for path, _ in files}
        used: dict[int | str | None, str] = {}
        by_number: dict[int | str | None, Category] = {}
        free = 1
        numbered = self._labels.numbered.setdefault(split, [])
        for path, place, one in everything:
            where, name = f"{path}: {place}", classes[one.name, one.keypoints].name
            if one.id in found[path]:
                known = found[path][one.id][0]
                if (known.said or known.name) != one.name:
                    text = f"the id {one.id} is of {known.said or known.name!r} already; its objects are of that class"
                    self._labels.complain("label", where, text)
                continue
            number = one.id
            if used.get(number, name) != name:
                while free in used:
                    free += 1
                number = free
                text = f"the id {one.id} is of {used[one.id]!r} in another file of the same split"
                self._labels.note(where, f"{text}; it's {number} from now on")
            category = replace(one, id=number, name=name, said=one.name if name != one.name else "")
            if number not in used:
                numbered.append(category)
                used[number] = name
                by_number[number] = category
            else:
                self._complete(by_number[number], category, where)
            found[path][one.id] = replace(category, id=first.setdefault(name, number)), number
        return found

    def _complete(self, mine: Category, other: Category, where: str) -> None:
        """Have in a category what another file of its split says of it."""
        if not mine.keypoints:
            mine.keypoints, mine.edges = other.keypoints, other.edges
        mine.parent = other.parent if mine.parent is None else mine.parent
        differing = [key for key, value in other.kept.items() if mine.kept.setdefault(key, value) != value]
        if other.parent is not None and other.parent != mine.parent:
            differing.append("supercategory")
        if other.keypoints and (other.keypoints, other.edges) != (mine.keypoints, mine.edges):
            differing.append("keypoints")
        if differing:
            text = f"{other.name!r} has another {' and '.join(differing)} than in another file of the same split"
            self._labels.complain("label", where, f"{text}; that one was kept")

    def _class(self, where: str, one: Category) -> Category:
        """The class of the project that a category is."""
        known = self._by_name.setdefault(one.name, [])
        for mine in known:
            if not one.keypoints or not mine.keypoints:
                if one.keypoints:
                    mine.keypoints, mine.edges = one.keypoints, one.edges
                return mine
            if mine.keypoints == one.keypoints:
                if mine.edges != one.edges:
                    self._labels.note(
                        where, f"{one.name!r} has another skeleton than elsewhere; meta.json has the first"
                    )
                return mine
        mine = replace(one)
        number = 2
        while known and mine.name in self._taken:
            mine.name = f"{one.name}{' ' if ' ' in one.name else '_'}{number}"
            number += 1
        if known:
            text = f"{one.name!r} has other keypoints than elsewhere, so it's a class of its own: {mine.name!r}"
            self._labels.note(where, text)
        self._taken.add(mine.name)
        known.append(mine)
        self._labels.categories.append(mine)
        return mine


class _Split:
    """The files of one split."""

    def __init__(
        self,
        labels: Labels,
        images: Images,
        split: str,
        classes: _Classes,
        values: list[tuple[str, dict[str, Any]]],
    ) -> None:
        self._labels, self._images, self._split = labels, images, split
        self._values = values
        self._placed: dict[str, Found | LabelError] = {}
        self._classes = classes
        self._pictures: dict[str, Picture] = {}
        self._found: dict[str, list[Raw]] = {}

    def place(self) -> Iterator[Meaning]:
        """Find the images of all files."""
        for path, value in self._values:
            for index, raw in enumerate(value["images"]):
                if not (name := _name_of(raw)):
                    continue
                where = f"{path}: images[{index}]"
                try:
                    found = self._images.place(name, dirname(path), self._split)
                except LabelError as error:
                    self._placed[where] = error
                    continue
                self._placed[where] = found
                yield Meaning(path, where, self._split, found)

    def read(self, wrong: dict[str, str]) -> None:
        """Read all files; the images at places that are `wrong` aren't those that were found."""
        self._placed |= {where: LabelError(text) for where, text in wrong.items() if where in self._placed}
        values = self._values
        paths = [path for path, _ in values]
        for path, value in values:
            self._keep_head(path, value)
        categories = self._classes.of_split(
            self._split, [(path, list(self._categories(path, v))) for path, v in values]
        )
        while values:
            path, value = values.pop(0)
            self._read(path, value, categories[path])
        ids: set[Any] = set()
        again = 0
        for name, picture in self._pictures.items():
            raws = self._found.pop(name, [])
            if len(paths) > 1:
                raws = list(merged(raws))
            captions = [raw.value for raw in raws if is_caption(raw.value)]
            picture.tags = [("caption", one["caption"]) for one in captions]
            if captions:
                picture.beside["captions"] = [{key: one[key] for key in one if key != "image_id"} for one in captions]
            raws = [raw for raw in raws if not is_caption(raw.value)]
            known = [ident for raw in raws if (ident := ident_of(raw.value.get("id"))) is not None]
            again += len(known) - len(set(known) - ids)
            ids.update(known)
            picture.read, picture.attributes = Reader(raws, picture.size), attributes_of(raws)
            self._labels.pictures.append(picture)
        if again:
            text = f"{counted(again, 'object has', 'objects have')} the id of another one"
            self._labels.note(", ".join(paths), f"{text}; `convert` gives new ones to those")

    def _keep_head(self, path: str, value: dict[str, Any]) -> None:
        """What a file says of itself."""
        kept, lost = without_nan({key: value[key] for key in value if key not in _LISTS})
        for place in lost:
            self._labels.complain("label", path, f"its {place} is a number that JSON doesn't have; it was left out")
        first = next((raw for raw in value["annotations"] if raw is not _ELSEWHERE), None)
        is_captions = isinstance(first, dict) and is_caption(first)
        if is_captions:
            mine = self._labels.beside.setdefault(self._split, {}).setdefault("captions", {})
        else:
            mine = self._labels.kept.setdefault(self._split, {})
        for key, one in kept.items():
            if mine.setdefault(key, one) != one:
                text = f"its {key} isn't that of another file of the same split, which was kept; this one wasn't"
                self._labels.complain("label", path, text)

    def _read(self, path: str, value: dict[str, Any], categories: _Numbered) -> None:
        names = self._read_images(path, value["images"])
        for index, raw in enumerate(value["annotations"]):
            if raw is _ELSEWHERE:
                continue
            fault = _reference_fault(raw, names, categories, value["categories"])
            if fault:
                self._labels.complain("label", f"{path}: {place_of(index, raw)}", fault)
                continue
            name = names[raw["image_id"]]
            if name:
                category, number = categories.get(raw.get("category_id"), _NONE)
                self._found.setdefault(name, []).append(Raw(path, index, raw, category, number))

    def _categories(self, path: str, value: dict[str, Any]) -> Iterator[tuple[str, Category]]:
        for index, raw in enumerate(value["categories"]):
            place = f"categories[{index}]"
            try:
                category = category_of(raw, partial(self._labels.complain, "label", f"{path}: {place}"))
            except LabelError as error:
                self._labels.complain("label", f"{path}: {place}", str(error))
                continue
            category.kept, lost = without_nan(category.kept)
            for one in lost:
                text = f"its {one} is a number that JSON doesn't have; it was left out"
                self._labels.complain("label", f"{path}: {place}", text)
            yield place, category

    def _read_images(self, path: str, raws: list[Any]) -> dict[Any, str]:
        """Id -> path of each image; empty for those that aren't there, which are named."""
        names: dict[Any, str] = {}
        for index, raw in enumerate(raws):
            if raw is _ELSEWHERE:
                continue
            where = f"{path}: images[{index}]"
            name = _name_of(raw)
            if not name:
                what = "isn't an object" if not isinstance(raw, dict) else "has no file_name that is a text"
                self._labels.complain("label", where, what)
                continue
            ident = ident_of(raw.get("id"))
            if ident is None:
                self._labels.complain("label", where, f"{name}: has no id that is a whole number or a text")
                continue
            if ident in names:
                text = f"{name}: has the id {ident} of an image before it; objects are of that one"
                self._labels.complain("label", where, text)
                continue
            found = self._placed.pop(where)
            if isinstance(found, LabelError):
                names[ident] = ""
                self._labels.complain("label-image", where, str(found))
                continue
            names[ident] = found.path
            picture = self._picture(found, where, raw | {"id": ident})
            mine = self._pictures.setdefault(found.path, picture)
            if mine is not picture:
                self._compare(mine, picture)
        return names

    def _picture(self, found: Found, where: str, raw: dict[str, Any]) -> Picture:
        kept = {key: value for key, value in raw.items() if key not in ("width", "height")}
        known = stated(raw.get("width"), raw.get("height"))
        picture = Picture(found.path, self._split, where, Reader([]), known, kept=kept)
        picture.found = found
        return picture

    def _compare(self, mine: Picture, other: Picture) -> None:
        """Say what an image is said to be again, in this file or another one, that it isn't."""
        differing = [key for key, value in other.kept.items() if mine.kept.setdefault(key, value) != value]
        if differ(mine.size, other.size):
            differing.append("size")
        mine.size = together(mine.size, other.size)
        if differing:
            text = f"{mine.path}: is at {mine.where} too, with another {' and '.join(differing)}; that one was kept"
            self._labels.complain("label", other.where, text)


def _name_of(raw: Any) -> str:
    """What an image entry calls its file; LVIS has its URL only."""
    if not isinstance(raw, dict):
        return ""
    given = raw.get("file_name") or raw.get("coco_url")
    return given if isinstance(given, str) else ""


def _whole(files: LabelFiles, path: str) -> dict[str, Any]:
    try:
        value = read_json(files.read(path))
    except (AnnotationError, LabelError) as error:
        raise LabelError(f"{path}: {error}") from error
    if not isinstance(value, dict):
        raise LabelError(f"{path}: holds {kind_of(value)}, not an object {{…}}")
    for key in _LISTS:
        if not isinstance(value.setdefault(key, []), list):
            raise LabelError(f"{path}: its {key} are {kind_of(value[key])}, not a list")
    return value


def _taken(files: LabelFiles, path: str, labels: Labels) -> dict[str, Any] | None:
    """Content of a file; None of one whose labels aren't taken, which is said."""
    value = _whole(files, path)
    if any(isinstance(raw, dict) and "segments_info" in raw for raw in value["annotations"][:1]):
        count = counted(len(value["annotations"]), "image")
        labels.complain("label", path, f"holds the panoptic segments of {count} (segments_info), which aren't taken")
        return None
    return value


def _parted(path: str, value: dict[str, Any], split: str, images: Images, labels: Labels) -> dict[str, dict[str, Any]]:
    """Split -> what a file has of it: of one if its images don't say theirs."""
    entries = value["images"]
    of_file = "" if is_whole(split) else split
    columns = columns_of(entries)
    names = list(map(_name_of, entries)) if columns else []
    meant, closer = Meant(images, dirname(path)), Closer()
    found, told = column_of_splits(columns, names, of_file, meant) if columns else ("", [])
    said = zip(names, columns[found], strict=True) if found else ()
    words = [closer.split(word, meant.paths(name, word)) for name, word in said]
    for code, fault in (*told, *closer.told()):
        labels.complain(code, path, fault)
    if not found:
        return {split: value}
    of_image: dict[Any, str] = {}
    for raw, word in zip(entries, words, strict=True):
        if (ident := ident_of(raw.get("id"))) is not None:
            of_image.setdefault(ident, word)
    idents = (ident_of(raw.get("image_id")) if isinstance(raw, dict) else None for raw in value["annotations"])
    of_objects = [of_image.get(ident, words[0]) for ident in idents]
    return {
        one: value
        | {
            "images": [raw if word == one else _ELSEWHERE for raw, word in zip(entries, words, strict=True)],
            "annotations": [
                raw if word == one else _ELSEWHERE for raw, word in zip(value["annotations"], of_objects, strict=True)
            ],
        }
        for one in dict.fromkeys(words)
    }


def _reference_fault(raw: Any, names: dict[Any, str], categories: _Numbered, said: list[Any]) -> str:
    """What is wrong with what an object is of; `said`: the categories of the file, those that can't be used, too."""
    if not isinstance(raw, dict):
        return f"is {kind_of(raw)}, not an object"
    image, category = raw.get("image_id"), raw.get("category_id")
    if ident_of(image) is None or image not in names:
        return f"is of the image {brief(image)}, and there is none of this id"
    if is_caption(raw):
        return ""
    if ident_of(category) is None or category not in categories:
        if category is not None and any(isinstance(one, dict) and one.get("id") == category for one in said):
            return f"is of the category {brief(category)}, which can't be used"
        return f"is of the category {brief(category)}, and there is none of this id"
    return ""
