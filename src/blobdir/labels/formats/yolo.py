"""YOLO: a text file for each image, a line for each object, numbers from 0 to 1; ``data.yaml`` has the names."""

from __future__ import annotations

from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.bystanders import (
    is_called_for_a_camera,
    is_called_for_predictions,
    name_predictions,
    without_prose,
)
from blobdir.labels.claims import Claims
from blobdir.labels.files import decoded, without_mark
from blobdir.labels.finding import Found, is_image
from blobdir.labels.foreign import DOTA, is_dota
from blobdir.labels.formats.yoloconfig import Splits, is_config, read_config
from blobdir.labels.formats.yolonames import Names, is_called_like_names, without_those_of_images
from blobdir.labels.model import (
    Box,
    LabelError,
    Labels,
    MissingError,
    Picture,
    Polygon,
    Pose,
    Thing,
    UnclearError,
    number,
    plain_float,
)
from blobdir.labels.namesakes import spelled_alike
from blobdir.labels.rivals import name_rivals, originals
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.formats.yoloconfig import Config
    from blobdir.labels.model import Complain

_OTHERS: Final = frozenset(("readme.txt", "requirements.txt", "train.txt", "val.txt", "test.txt"))
"""Texts that are something else, as those of names are, unless they hold labels."""
_SNIFFED_LINES: Final = 5
_BOX, _SCORED = 4, 5
_LEAST_OUTLINE: Final = 6
_DIGITS: Final = 9
"""Of a pixel: shares have six digits, or some more, which must come back."""


def is_labels(path: str, head: bytes) -> bool:
    """Whether a file can hold labels of an image: lines of numbers, the first a whole one and the others small."""
    if splitext(path)[1].lower() != ".txt":
        return False
    lines = [line.split() for line in without_mark(head).splitlines()[:_SNIFFED_LINES] if line.strip()]
    return bool(lines) and all(_is_line(words) for words in lines)


def is_either(path: str, head: bytes) -> bool:
    """Whether a file can be one of the two kinds that the format has."""
    return is_config(path, head) or is_labels(path, head)


def _is_line(words: list[bytes]) -> bool:
    if len(words) <= _BOX:
        return False
    try:
        is_class = _number_of_class(words[0].decode("ascii", "replace")) >= 0
        return is_class and all(-1 <= float(word) <= 2 for word in words[1:])  # visibilities are up to 2
    except (ValueError, LabelError):
        return False


def read(files: LabelFiles, images: Images) -> Labels:
    """Read the labels of all images. A text file that isn't there means that there is nothing in the image."""
    labels = Labels("yolo")
    config = read_config(files, labels)
    splits = Splits(files, images, config, labels)
    special = {path for path in files.ending(".txt", ".names", ".labels") if _is_special(path, files)}
    called = without_those_of_images(filter(is_called_like_names, special), images, labels)
    names = Names(files, config, labels, called)
    keypoints = tuple(config.keypoint_names) or tuple(str(i) for i in range(config.keypoints))
    texts = [path for path in files.ending(".txt") if path not in special and path not in splits.lists]
    owners = _owners(files, labels, images, without_prose(texts, files, images, labels))
    for path in images.paths:
        place = owners.get(path)
        is_listed = splits.is_listed(path)
        reader = _Reader(files, place, config, keypoints, names.of(place, is_listed=is_listed) if place else {})
        picture = Picture(path, splits.of(path), place or path, reader, is_labelled=place is not None)
        picture.is_listed = is_listed
        labels.pictures.append(picture)
    labels.categories = names.categories(keypoints)
    own = sorted(set(owners.values()))
    labels.files += own
    if not labels.categories:
        names.name_unnamed([path for path in own if is_labels(path, files.head(path))], labels)
    labels.kept[""] = config.kept
    return labels


def _is_special(path: str, files: LabelFiles) -> bool:
    """Whether a text is one of names, or another that is no image's."""
    name = basename(path).lower()
    is_so = name in _OTHERS or name.startswith("readme.") or is_called_like_names(path)
    return is_so and not is_labels(path, files.head(path))


def _owners(files: LabelFiles, labels: Labels, images: Images, texts: list[str]) -> dict[str, str]:
    """Image -> the text with its labels."""
    claims, calling = Claims(), images.calling_of(texts)
    predicted: dict[str, str] = {}
    lost: dict[str, str] = {}
    for path in texts:
        try:
            found = [images.of_file(path, calling=calling)]
        except UnclearError as error:
            if not error.is_one_name:
                labels.complain("label-image", path, str(error))
                continue
            found = [Found(one, exact=True) for one in error.paths]
            labels.note(path, f"is of {' and '.join(error.paths)}, which differ in their extensions only")
        except MissingError as error:
            is_text, is_elsewhere = is_labels(path, files.head(path)), images.has_called(path)
            if is_text and is_called_for_a_camera(path) and not is_elsewhere:
                continue
            if is_text and is_elsewhere and is_called_for_predictions(dirname(path)):
                predicted[path] = str(error)
            elif is_text or "labels" in path.split("/")[:-1]:
                lost[path] = f"holds labels of an image {splitext(basename(path))[0]}: {error}"
            continue
        for one in found:
            rank = 2 if not one.exact else 0 if "labels" in path.split("/") else 1
            claims.add(path, one, rank)
    owners = claims.settled(files, labels, images)
    name_predictions(predicted, owners, images, labels)
    _name_lost(lost, owners, files, images, labels)
    return owners


def _name_lost(lost: dict[str, str], owners: dict[str, str], files: LabelFiles, images: Images, labels: Labels) -> None:
    """Name texts of images that aren't where their folder says, with why; originals of others together."""
    rivals = originals(lost, owners, files, images)
    name_rivals(rivals, files, labels)
    labels.passed.update(one.file for one in rivals)
    for path, text in lost.items():
        if path not in labels.passed:
            labels.complain("label-image", path, text)


class _Reader:
    """Reads the text file of an image when it's wanted."""

    __slots__ = ("_config", "_files", "_keypoints", "_names", "_path")

    def __init__(
        self, files: LabelFiles, path: str | None, config: Config, keypoints: tuple[str, ...], names: dict[int, str]
    ) -> None:
        self._files, self._path, self._config, self._keypoints = files, path, config, keypoints
        self._names = names

    def __call__(self, width: int, height: int, complain: Complain) -> Iterable[Thing]:
        if self._path is None:
            return
        try:
            lines = decoded(self._files.read(self._path)).splitlines()
        except LabelError as error:
            complain("label", f"{self._path}: {error}")
            return
        if is_dota(lines):
            text = f"isn't YOLO's, but of a format that isn't read ({DOTA}): convert it, as to YOLO's outlines"
            complain("label", f"{self._path}: {text}")
            return
        for line_number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield self._thing(line.split(), width, height)
            except LabelError as error:
                complain("label", f"{self._path}, line {line_number}: {error}")

    def _thing(self, words: list[str], width: int, height: int) -> Thing:
        index, names = _number_of_class(words[0]), self._names
        if names and index not in names:
            are = "is" if len(names) == 1 else "are"
            raise LabelError(f"is of class {index}, and there {are} only {counted(len(names), 'name')}")
        label = names.get(index, str(index))
        values = [number(word, "coordinates") for word in words[1:]]
        keypoints = self._config.keypoints * self._config.values
        attributes: dict[str, Any] = {}
        if keypoints and len(values) == _BOX + keypoints:
            box = _box(values[:_BOX], width, height)
            pose = self._pose(values[_BOX:], width, height)
            return Thing(label, [pose, box] if pose else [box])
        if len(values) == _SCORED:
            attributes["confidence"] = values.pop()
        if len(values) == _BOX:
            return Thing(label, [_box(values, width, height)], attributes=attributes)
        if keypoints:
            raise LabelError(
                f"has {len(values)} numbers after the class; a box has 4, with keypoints {_BOX + keypoints}"
            )
        if len(values) < _LEAST_OUTLINE or len(values) % 2:
            raise LabelError(f"has {len(values)} numbers after the class; a box has 4, an outline 6, 8, 10 …")
        return Thing(label, [Polygon(tuple(_pairs(values, width, height)))])

    def _pose(self, values: list[float], width: int, height: int) -> Pose | None:
        step, found = self._config.values, {}
        for i, name in enumerate(self._keypoints):
            x, y, *seen = values[step * i : step * (i + 1)]
            if (seen and seen[0]) or (not seen and (x or y)):
                found[name] = (_to_pixels(x, width), _to_pixels(y, height), not seen or seen[0] > 1)
        return Pose(found) if found else None


def _number_of_class(word: str) -> int:
    """The number of a class: ``0``, or ``0.0`` as some programs write it."""
    try:
        found = plain_float(word)
        if found == int(found):
            return int(found)
    except (ValueError, OverflowError):
        pass
    raise LabelError(f"begins with {word[:40]!r}, and the number of a class belongs there")


def _pairs(values: list[float], width: int, height: int) -> Iterator[tuple[float, float]]:
    for x, y in zip(values[::2], values[1::2], strict=True):
        yield _to_pixels(x, width), _to_pixels(y, height)


def _to_pixels(value: float, side: int) -> float:
    return round(value * side, _DIGITS)


def _box(values: list[float], width: int, height: int) -> Box:
    x, y, w, h = values
    if w < 0 or h < 0:
        raise LabelError(f"has a width or height below nothing: {w:g} × {h:g}")
    left, right = (x - w / 2) * width, (x + w / 2) * width
    top, bottom = (y - h / 2) * height, (y + h / 2) * height
    return Box(*(round(one, _DIGITS) for one in (left, top, right, bottom)))


def has_labels(files: LabelFiles) -> str:
    """A file that says that a folder is of this format; empty where none does."""
    for path in files.ending(".yaml", ".yml"):
        if is_config(path, files.head(path)):
            return path
    names = {name for path in files.images or files.paths if is_image(path) for name in _called(basename(path))}
    for path in files.ending(".txt"):
        *_, stem = _called(basename(path))
        if not names.isdisjoint((stem, _called(stem)[0])) and is_labels(path, files.head(path)):
            return path
    return ""


def _called(name: str) -> tuple[str, str]:
    """A name as all have it that look the same, whatever the case of the extension; and without that."""
    stem, ending = splitext(spelled_alike(name))
    return stem + ending.lower(), stem
