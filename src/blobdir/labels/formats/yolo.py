"""YOLO: a text file for each image, a line for each object, numbers from 0 to 1; ``data.yaml`` has the names."""

from __future__ import annotations

from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.filenames import parents_of
from blobdir.labels.bystanders import (
    is_called_for_a_camera,
    is_called_for_predictions,
    name_predictions,
    without_prose,
)
from blobdir.labels.claims import Claims
from blobdir.labels.contents import holds_boxes
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
from blobdir.labels.numerals import whole_in
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
_OUTSIDE: Final = 0.1
"""So much of a side may a box or outline reach beyond the image: more, and the numbers aren't shares of its sides."""
_ROUNDED: Final = 1e-3
"""So much more than 1 may a confidence be."""
_KEYPOINTS_OUTSIDE: Final = 1.0
"""The same of a keypoint, which may be of somebody who is seen in part."""
_TRACKED: Final = (5, 6)
"""So many numbers has a row with the number of a track: behind a box, or behind its confidence."""
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
    strays = _Strays(files, images)
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
            strays.add(path, error)
            continue
        for one in found:
            rank = 2 if not one.exact else 0 if "labels" in files.told(path).split("/") else 1
            claims.add(path, one, rank)
    owners = claims.settled(files, labels, images)
    strays.name(owners, labels)
    return owners


class _Strays:
    """Texts whose image isn't where their folder says: of predictions, surely of labels, or perhaps."""

    def __init__(self, files: LabelFiles, images: Images) -> None:
        self._files, self._images = files, images
        self._predicted: dict[str, str] = {}
        self._lost: dict[str, str] = {}
        self._others: dict[str, str] = {}

    def add(self, path: str, error: MissingError) -> None:
        """Take one, unless it says where a camera was."""
        is_text, is_elsewhere = is_labels(path, self._files.head(path)), self._images.has_called(path)
        text = f"holds labels of an image {splitext(basename(path))[0]}: {error}"
        if is_text and is_called_for_a_camera(path) and not is_elsewhere:
            return
        if is_text and is_elsewhere and is_called_for_predictions(dirname(path)):
            self._predicted[path] = str(error)
        elif is_text or "labels" in path.split("/")[:-1]:
            self._lost[path] = text
        elif is_elsewhere and not (is_called_for_a_camera(path) or is_called_for_predictions(dirname(path))):
            self._others[path] = text

    def name(self, owners: dict[str, str], labels: Labels) -> None:
        """Name them; of those that may be labels the ones that hold boxes and lie in a folder of labels.

        That's one which was given as such, or one with texts that are read and without images.
        """
        name_predictions(self._predicted, owners, self._images, labels)
        homes = {home for image, path in owners.items() if not self._images.holds(home := _home_of(path, image))}
        for path, text in self._others.items():
            is_in_labels = self._files.given or not homes.isdisjoint(parents_of(path))
            if is_in_labels and holds_boxes(path, self._files.head(path)):
                self._lost[path] = text
        _name_lost(self._lost, owners, self._files, self._images, labels)


def _home_of(path: str, image: str) -> str:
    """The folder of labels that a text lies in: the one around those that are the image's, too, as splits are."""
    folder, other = dirname(path), dirname(image)
    while folder and basename(folder) == basename(other):
        folder, other = dirname(folder), dirname(other)
    return folder


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
        tracked = _with_tracks(lines) - {_BOX + self._config.keypoints * self._config.values}
        for line_number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                words = line.split()
                track = whole_in(words[-1]) if len(words) - 1 in tracked else None
                if track is not None and track >= 0:
                    raise LabelError(_OF_TRACK.format(words[-1][:40]))
                yield self._thing(words, width, height)
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
            _refuse_others(values[:_BOX])
            box = _box(values[:_BOX], width, height)
            pose = self._pose(values[_BOX:], width, height)
            return Thing(label, [pose, box] if pose else [box])
        if len(values) == _SCORED:
            attributes["confidence"] = _confidence(values.pop())
        if len(values) == _BOX:
            _refuse_others(values)
            return Thing(label, [_box(values, width, height)], attributes=attributes)
        if keypoints:
            raise LabelError(
                f"has {len(values)} numbers after the class; a box has 4, with keypoints {_BOX + keypoints}"
            )
        if len(values) < _LEAST_OUTLINE or len(values) % 2:
            raise LabelError(f"has {len(values)} numbers after the class; a box has 4, an outline 6, 8, 10 …")
        _refuse_others(values)
        return Thing(label, [Polygon(tuple(_pairs(values, width, height)))])

    def _pose(self, values: list[float], width: int, height: int) -> Pose | None:
        step, found = self._config.values, {}
        for i, name in enumerate(self._keypoints):
            x, y, *seen = values[step * i : step * (i + 1)]
            if (seen and seen[0]) or (not seen and (x or y)):
                _refuse_others((x, y), _KEYPOINTS_OUTSIDE)
                found[name] = (_to_pixels(x, width), _to_pixels(y, height), not seen or seen[0] > 1)
        return Pose(found) if found else None


def _number_of_class(word: str) -> int:
    """The number of a class: ``0``, or ``0.0`` as some programs write it."""
    if (found := whole_in(word)) is not None:
        return found
    raise LabelError(f"begins with {word[:40]!r}, and the number of a class belongs there")


def _refuse_others(values: Iterable[float], outside: float = _OUTSIDE) -> None:
    """Refuse numbers that are no shares of an image's sides: they would be places far outside.

    Raises
    ------
    LabelError
    """
    for value in values:
        if not -outside <= value <= 1 + outside:
            text = f"has the number {value:.9g}, and those of YOLO are shares of the image's sides, from 0 to 1"
            raise LabelError(f"{text}: pixels must be divided by these")


def _confidence(value: float) -> float:
    if value > 1 + _ROUNDED:
        raise LabelError(f"has {value:.9g} behind its box, and a confidence belongs there, up to 1")
    return value


_OF_TRACK: Final = (
    "ends with {}, the number of a track, as others in this file do: YOLO's labels haven't such, so take them off"
)


def _with_tracks(lines: list[str]) -> set[int]:
    """How many numbers rows have that end with the number of a track, as one of them shows that is no share.

    The first track is 1, which alone could be a share: so all rows of a file are looked at before one is read.
    """
    found: set[int] = set()
    for line in lines:
        *_, last = line.rsplit(None, 1) or [""]
        if (whole_in(last) or 0) <= 1:
            continue
        words = line.split()
        if len(words) - 1 in _TRACKED and all(map(_is_share, words[1:-1])):
            found.add(len(words) - 1)
    return found


def _is_share(word: str) -> bool:
    try:
        return -_OUTSIDE <= plain_float(word) <= 1 + _OUTSIDE
    except ValueError:
        return False


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
