"""YOLO: a text file for each image, a line for each object, numbers from 0 to 1; ``data.yaml`` has the names."""

from __future__ import annotations

from dataclasses import dataclass, field
from posixpath import basename, dirname, join, normpath, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import kind_of
from blobdir.labels.files import decoded, is_image, without_mark
from blobdir.labels.model import Box, Category, LabelError, Labels, Picture, Polygon, Pose, Thing, number
from blobdir.labels.yamlfile import read_yaml
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.files import Images, LabelFiles
    from blobdir.labels.model import Complain, Value

_SPLITS: Final = ("train", "val", "valid", "validation", "test")
_ANY_SPLIT: Final = ("images", "labels", "data")
_NAMES_FILES: Final = ("classes.txt", "obj.names", "labels.txt", "names.txt")
_NO_LABELS: Final = frozenset((*_NAMES_FILES, "readme.txt", "requirements.txt", "train.txt", "val.txt", "test.txt"))
_SNIFFED_LINES: Final = 5
_BOX, _SCORED = 4, 5
_LEAST_OUTLINE: Final = 6
_DIGITS: Final = 9
"""Of a pixel: shares have six digits, or some more, which must come back."""


@dataclass(slots=True)
class _Config:
    """What ``data.yaml`` says."""

    path: str = ""
    names: dict[int, str] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)
    keypoints: int = 0
    values: int = 3
    flip: Any = None
    keypoint_names: list[str] = field(default_factory=list)


def is_config(path: str, head: bytes) -> bool:
    """Whether a file can be a ``data.yaml``."""
    if splitext(path)[1].lower() not in (".yaml", ".yml"):
        return False
    keys = {
        line.partition(b":")[0].strip()
        for line in without_mark(head).splitlines()
        if b":" in line and line[:1] not in b" \t-#"
    }
    return b"names" in keys and not keys.isdisjoint({b"train", b"val", b"test", b"path", b"nc"})


def is_labels(path: str, head: bytes) -> bool:
    """Whether a file can hold labels of an image: lines of numbers, the first a whole one and the others small."""
    if splitext(path)[1].lower() != ".txt" or basename(path).lower() in _NO_LABELS:
        return False
    lines = [line.split() for line in without_mark(head).splitlines()[:_SNIFFED_LINES] if line.strip()]
    return bool(lines) and all(_is_line(words) for words in lines)


def is_either(path: str, head: bytes) -> bool:
    """Whether a file can be one of the two kinds that the format has."""
    return is_config(path, head) or is_labels(path, head)


def _is_line(words: list[bytes]) -> bool:
    if len(words) <= _BOX or not words[0].isdigit():
        return False
    try:
        return all(-1 <= float(word) <= 2 for word in words[1:])  # visibilities are up to 2
    except ValueError:
        return False


def read(files: LabelFiles, images: Images) -> Labels:
    """Read the labels of all images. A text file that isn't there means that there is nothing in the image."""
    config = _config(files)
    labels = Labels("yolo", [config.path] if config.path else [])
    texts = {path for path in files.ending(".txt") if basename(path).lower() not in _NO_LABELS}
    by_stem: dict[str, list[str]] = {}
    for path in texts:
        by_stem.setdefault(basename(path), []).append(path)
    if not config.names:
        config.names = _names_beside(files)
    keypoints = tuple(config.keypoint_names) or tuple(str(i) for i in range(config.keypoints))
    labels.categories = [Category(name, index, None, keypoints) for index, name in sorted(config.names.items())]
    used: set[str] = set()
    listed = _listed(files, config, labels)
    for path in images.paths:
        place = _place_of(path, texts, by_stem)
        if place is not None:
            used.add(place)
        split = _split_of(path, config, listed)
        reader = _Reader(files, place, config, keypoints)
        labels.pictures.append(Picture(path, split, place or path, reader))
    stems = {splitext(basename(path))[0] for path in images.paths}
    for path in sorted(texts - used):
        if is_labels(path, files.head(path)) or ("labels" in path.split("/")[:-1]):
            stem = splitext(basename(path))[0]
            why = "its image is another's" if stem in stems else "there is none"
            labels.complain("label-image", path, f"holds labels of an image {stem}, and {why}")
    labels.files += sorted(used)
    kept = {"kpt_shape": [config.keypoints, config.values], "flip_idx": config.flip} if config.keypoints else {}
    labels.kept[""] = kept
    return labels


def _config(files: LabelFiles) -> _Config:
    found = [path for path in files.ending(".yaml", ".yml") if is_config(path, files.head(path))]
    if not found:
        return _Config()
    path = min(found, key=lambda one: (one.count("/"), one))
    try:
        if len(found) > 1 and len({files.read(one) for one in found}) > 1:
            raise LabelError(f"{found[1]} is another one; leave the one that counts")
        return _parsed(path, read_yaml(files.read(path)))
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def _parsed(path: str, value: dict[str, Any]) -> _Config:
    config = _Config(path, _names(value))
    root = value.get("path")
    base = root if isinstance(root, str) else ""
    for split in _SPLITS:
        given = value.get(split)
        given = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        if places := [str(place) for place in given if place]:
            config.splits[split] = [join(base, place) if base else place for place in places]
    _read_keypoints(config, value)
    return config


def _names(value: dict[str, Any]) -> dict[int, str]:
    names = value.get("names")
    if isinstance(names, list):
        pairs: list[tuple[Any, Any]] = list(enumerate(names))
    elif isinstance(names, dict):
        pairs = list(names.items())
    else:
        raise LabelError(f"its names are {kind_of(names)}, neither a list nor numbers with names")
    found = {}
    for index, name in pairs:
        if isinstance(name, bool) or not isinstance(name, (str, int, float)):
            raise LabelError(f"the name of class {index} is {kind_of(name)}; write it in quotes if it is a text")
        try:
            found[int(index)] = str(name)
        except (TypeError, ValueError):
            raise LabelError(f"its names have the number {index!r}, which is none") from None
    if len(set(found.values())) != len(found):
        raise LabelError("two of its names are the same")
    if type(count := value.get("nc")) is int and count != len(found):
        raise LabelError(f"has nc: {count}, and {counted(len(found), 'name')}")
    return found


def _read_keypoints(config: _Config, value: dict[str, Any]) -> None:
    shape = value.get("kpt_shape")
    if shape is None:
        return
    is_pair = isinstance(shape, list) and len(shape) == 2 and all(type(one) is int for one in shape)
    if not is_pair or shape[0] < 1 or shape[1] not in (2, 3):
        raise LabelError("its kpt_shape isn't [number of keypoints, 2 or 3]")
    config.keypoints, config.values = shape
    config.flip = value.get("flip_idx")
    by_class = value.get("kpt_names")
    if isinstance(by_class, dict) and by_class:
        by_class = next(iter(by_class.values()))
    if isinstance(by_class, list) and len({str(one) for one in by_class}) == config.keypoints:
        config.keypoint_names = [str(one) for one in by_class]


def _names_beside(files: LabelFiles) -> dict[int, str]:
    """Names of a file that has one a line, as labelImg and Darknet write it."""
    for name in _NAMES_FILES:
        found = sorted((path for path in files.paths if basename(path).lower() == name), key=lambda one: one.count("/"))
        if found:
            try:
                lines = files.text(found[0]).split("\n")
            except LabelError as error:
                raise LabelError(f"{found[0]}: {error}") from error
            return {index: line.strip() for index, line in enumerate(lines) if line.strip()}
    return {}


def _listed(files: LabelFiles, config: _Config, labels: Labels) -> dict[str, str]:
    """Images that lists of a split name, ``train: train.txt``: name, with its folder -> split."""
    found: dict[str, str] = {}
    for split, places in config.splits.items():
        for place in places:
            if not place.endswith(".txt"):
                continue
            near = join(dirname(config.path), place)
            path = next((one for one in files.paths if one == normpath(near) or one.endswith(_tail(place))), "")
            if not path:
                labels.complain("label", config.path, f"names the list {place}, which isn't there")
                continue
            labels.files.append(path)
            try:
                for line in files.text(path).splitlines():
                    if line.strip():
                        found[_last_two(line.strip())] = split
            except LabelError as error:
                labels.complain("label", path, str(error))
    return found


def _tail(place: str) -> str:
    return "/" + basename(place)


def _last_two(path: str) -> str:
    return "/".join(normpath(path.replace("\\", "/")).split("/")[-2:])


def _place_of(image: str, texts: set[str], by_stem: dict[str, list[str]]) -> str | None:
    """The text file of an image: where ``images`` in its path is ``labels``, else beside it, else the only one."""
    name = splitext(basename(image))[0] + ".txt"
    if name not in by_stem:
        return None
    parts = dirname(image).split("/") if dirname(image) else []
    for i in reversed(range(len(parts))):
        if parts[i] == "images":
            path = "/".join([*parts[:i], "labels", *parts[i + 1 :], name])
            if path in texts:
                return path
    for folder in (dirname(image), join(dirname(image), "labels"), join(dirname(dirname(image)), "labels")):
        path = join(folder, name) if folder else name
        if path in texts:
            return path
    found = by_stem[name]
    tail = "/".join([*parts[-1:], name])
    ending = [path for path in found if path.endswith(tail)]
    if len(ending) == 1:
        return ending[0]
    return found[0] if len(found) == 1 else None


def _split_of(image: str, config: _Config, listed: dict[str, str]) -> str:
    if listed and (split := listed.get(_last_two(image))):
        return split
    best, split = 0, ""
    folder = f"/{dirname(image)}/"
    for name, places in config.splits.items():
        for place in places:
            parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
            shortest = 2 if len(parts) > 1 and parts[-1] in _ANY_SPLIT else 1  # train/images isn't any images
            for length in range(len(parts), shortest - 1, -1):
                if length > best and f"/{'/'.join(parts[-length:])}/" in folder:
                    best, split = length, name
    if split:
        return split
    return next((part for part in image.split("/")[:-1] if part in _SPLITS), "")


class _Reader:
    """Reads the text file of an image when it's wanted."""

    __slots__ = ("_config", "_files", "_keypoints", "_path")

    def __init__(self, files: LabelFiles, path: str | None, config: _Config, keypoints: tuple[str, ...]) -> None:
        self._files, self._path, self._config, self._keypoints = files, path, config, keypoints

    def __call__(self, width: int, height: int, complain: Complain) -> Iterable[Thing]:
        if self._path is None:
            return
        try:
            lines = decoded(self._files.read(self._path)).splitlines()
        except LabelError as error:
            complain("label", f"{self._path}: {error}")
            return
        for line_number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield self._thing(line.split(), width, height)
            except LabelError as error:
                complain("label", f"{self._path}, line {line_number}: {error}")

    def _thing(self, words: list[str], width: int, height: int) -> Thing:
        try:
            index = int(words[0])
        except ValueError:
            raise LabelError(f"begins with {words[0][:40]!r}, and the number of a class belongs there") from None
        names = self._config.names
        if names and index not in names:
            raise LabelError(f"is of class {index}, and there are only {counted(len(names), 'name')}")
        label = names.get(index, str(index))
        values = [number(word, "coordinates") for word in words[1:]]
        keypoints = self._config.keypoints * self._config.values
        attributes: dict[str, Value] = {}
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
    stems = {splitext(path)[0] for path in files.paths if is_image(path)}
    names = {basename(stem) for stem in stems}
    for path in files.ending(".txt"):
        if splitext(basename(path))[0] in names and is_labels(path, files.head(path)):
            return path
    return ""
