"""What YOLO's labels need besides: ``data.yaml`` and Darknet's ``obj.data``, keypoints and splits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from posixpath import basename, dirname, join, normpath, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import kind_of
from blobdir.filenames import parents_of
from blobdir.labels.aside import words_aside
from blobdir.labels.files import lines_of
from blobdir.labels.finding import Images
from blobdir.labels.formats.yolonames import names_in
from blobdir.labels.lists import DARKNET, Lists, lists_called_so
from blobdir.labels.model import LabelError, MissingError, UnclearError, without_nan
from blobdir.labels.namesakes import is_below
from blobdir.labels.splitnames import (
    SPLITS,
    is_called_like_a_split,
    is_split,
    is_whole,
    list_order,
    split_of_folders,
)
from blobdir.labels.yamlfile import keys_of, read_yaml
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.model import Labels

_NAMES: Final = "names"
_ALWAYS: Final = ("train", "val", "test")
"""Keys that programs ask for; `convert` writes datasets of other names by these, and by their own."""
_UP: Final = re.compile(r"^(?:\.\./)+")
_KNOWN: Final = frozenset(("path", "names", "nc", "kpt_shape", "flip_idx", "kpt_names", *SPLITS))
_SAYS_SO: Final = ("path", "nc", "kpt_shape")
"""Keys beside ``names`` by which it's known, as by those of splits."""


@dataclass(slots=True)
class Config:
    """What ``data.yaml`` says.

    Attributes
    ----------
    path : str
        Of ``data.yaml``; else of Darknet's ``obj.data``, which has splits only. Empty: there is neither.
    names : dict
        Number -> class.
    names_files : dict
        Folder that an ``obj.data`` is seen from -> the text with names that it says; none: none that is there.
    seen : list of str
        The files that places of splits are seen from: this one, and those that say the same in other folders.
    splits : dict
        Split -> its folders and lists; each with the ways in which it can be meant, the first first.
    own : set of str
        Splits that have a key with the folder of their labels, too, as the SDK and `convert` write them.
    keypoints, values : int
        Of an object, and numbers of each.
    flip : object
    keypoint_names : list of str
    more : dict
        What else is in it.
    """

    path: str = ""
    names: dict[int, str] = field(default_factory=dict)
    names_files: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    splits: dict[str, list[list[str]]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    keypoints: int = 0
    values: int = 3
    flip: Any = None
    keypoint_names: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> dict[str, Any]:
        """What goes back into it."""
        found: dict[str, Any] = {"config": self.more} if self.more else {}
        if self.keypoints:
            found |= {"kpt_shape": [self.keypoints, self.values], "flip_idx": self.flip}
        return found


def is_config(path: str, head: bytes) -> bool:
    """Whether a file can be a ``data.yaml``."""
    if splitext(path)[1].lower() not in (".yaml", ".yml"):
        return False
    keys = keys_of(head)
    return "names" in keys and any(key in _SAYS_SO or is_split(key) for key in map(str.lower, keys))


def read_config(files: LabelFiles, labels: Labels) -> Config:
    """The ``data.yaml`` of a folder, if it has one."""
    found = [path for path in files.ending(".yaml", ".yml") if is_config(path, files.head(path))]
    if not found:
        return _of_darknet(files, labels)
    path, *equal = _upper_first(found)
    labels.files += [path, *equal]
    try:
        text = files.read(path)
        if other := next((one for one in equal if files.read(one) != text), ""):
            raise LabelError(f"{other} is another one; leave the one that counts")
        config = _parsed(path, read_yaml(text), labels)
        config.seen = [path, *equal]
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error
    darknet = Config() if config.splits else _of_darknet(files, labels)
    if darknet.path:
        config.seen, config.splits, config.names_files = darknet.seen, darknet.splits, darknet.names_files
    return config


def _upper_first(paths: Iterable[str]) -> list[str]:
    return sorted(paths, key=lambda one: (one.count("/"), one))


def _of_darknet(files: LabelFiles, labels: Labels) -> Config:
    """The splits of an ``obj.data``, as Darknet and CVAT have it."""
    texts = ((path, files.head(path).decode("utf-8", "replace")) for path in files.ending(".data"))
    found = {path: said for path, text in texts if (said := _said_by_darknet(text))}
    if not found:
        return Config()
    path, *others = _upper_first(found)
    labels.files.append(path)
    for other in others:
        if found[other] != found[path]:
            labels.complain("label", other, f"has other lists or names than {path}, which counts")
    seen = [path, *(other for other in others if found[other] == found[path])]
    ways = {split: list(dict.fromkeys((place, place.removeprefix(DARKNET)))) for split, place in found[path].items()}
    given = ways.pop(_NAMES, [])
    splits = {split: [both] for split, both in ways.items()}
    names = dict(filter(None, (_names_of(files, one, given) for one in seen)))
    if given and not names:
        labels.note(path, f"says that names are in {given[0]}, which isn't there")
    return Config(path, names_files=names, seen=seen, splits=splits)


def _names_of(files: LabelFiles, path: str, ways: list[str]) -> tuple[str, str] | None:
    """The folder that an ``obj.data`` is seen from, and the text with names that it says; None: it's not there.

    Darknet sees it from the folder that it's started in: that of the file, the one above, or the one that is packed.
    """
    for folder in dict.fromkeys((dirname(path), dirname(dirname(path)), "")):
        if found := next((one for way in ways if (one := normpath(join(folder, way))) in files), ""):
            return folder, found
    return None


def _said_by_darknet(text: str) -> dict[str, str]:
    """Split -> its list, and ``names``; lists that have all images are the last."""
    found: dict[str, str] = {}
    for line in lines_of(text):
        key, _, place = (part.strip() for part in line.partition("="))
        if (place.lower().endswith(".txt") and is_called_like_a_split(key)) or (key == _NAMES and place):
            found[key] = place
    return {key: found[key] for key in sorted(found, key=list_order)}


def _parsed(path: str, value: dict[str, Any], labels: Labels) -> Config:
    config = Config(path, names_in(value))
    root = value.get("path")
    base = root if isinstance(root, str) else ""
    config.own = {key for key in value if all(isinstance(value.get(one), str) for one in (key, _labels_key(key)))}
    taken = {str(value[key]) for key in config.own - set(_ALWAYS)}
    of_labels = {_labels_key(key) for key in value if _labels_key(key) in value}
    others = [key for key in value if key not in _KNOWN | of_labels and is_called_like_a_split(key)]
    for split in dict.fromkeys((*sorted(config.own - set(_ALWAYS)), *SPLITS, *others)):
        given = value.get(split)
        if split in SPLITS and not isinstance(given, (str, list, type(None))):
            text = f"its {split} is {kind_of(given)}, neither a folder nor a list; it wasn't read"
            labels.complain("label", path, text)
        given = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        if split in _ALWAYS:  # the datasets in it, by their own names
            given = [place for place in given if str(place) not in taken]
        places = [list(dict.fromkeys((join(base, str(place)), str(place)))) for place in given if place]
        same = next((one for one, others in config.splits.items() if others == places), "")
        if same:
            labels.note(path, f"has the same images as {same} and as {split}; they are of {same} now")
        elif places:
            config.splits[split] = places
    _read_keypoints(config, value)
    more = {key: _as_json(one) for key, one in value.items() if key not in _KNOWN | of_labels}
    config.more, lost = without_nan(more)
    for place in lost:
        labels.complain("label", path, f"its {place} is a number that JSON doesn't have; it was left out")
    return config


def _labels_key(split: str) -> str:
    """The key with the folder of a split's labels."""
    return f"{split}_labels"


def _as_json(value: Any) -> Any:
    """A value of YAML as JSON can have it."""
    if isinstance(value, dict):
        return {str(key): _as_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_as_json(one) for one in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _read_keypoints(config: Config, value: dict[str, Any]) -> None:
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


class Splits:
    """Which split an image is of: that of the list that names it, or of the folder that it lies in.

    Parameters
    ----------
    files : LabelFiles
    images : Images
    config : Config
    labels : Labels
        Told of what is named and isn't there.
    """

    def __init__(self, files: LabelFiles, images: Images, config: Config, labels: Labels) -> None:
        self._lists, self._config, self._labels = Lists(files, images, labels), config, labels
        self._folders: dict[str, str] = {}
        self.lists: set[str] = set()
        texts = Images(files.ending(".txt"), "list")
        folders = Images({one for path in images.paths for one in parents_of(path)}, "folder of images")
        if not config.splits:
            self._read_called_so(files, images)
        read: set[tuple[str, str]] = set()
        for split, places in config.splits.items():
            for ways in places:
                for path in config.seen:
                    if not ways[-1].lower().endswith(".txt"):
                        self._take_folder(folders, ways, split, path)
                    elif (found := self._found(texts, ways, split, path)) is None:
                        labels.complain("label", path, f"names the list {ways[-1]}, which isn't there")
                    elif (split, found) not in read:
                        read.add((split, found))
                        self._read(found, split, dirname(found))
                        config.more.pop(split, None)
        self._lists.settle()
        self._name_others(config, images, folders, labels)

    def _take_folder(self, folders: Images, ways: list[str], split: str, path: str) -> None:
        """Have a folder that a config names, seen from there, for a split."""
        folder = dirname(path) if not ways[-1].strip("./") else self._found(folders, ways, split, path)
        if folder is None:
            if split not in self._config.own or not ways[-1].endswith(f"images/{split}"):  # always there
                self._labels.note(path, f"has {split}: {ways[-1]}, where no images are")
            return
        self._config.more.pop(split, None)
        if self._folders.setdefault(folder, split) != split:
            text = f"has {ways[-1]} for {self._folders[folder]} and for {split}; it's of the first now"
            self._labels.complain("label", path, text)

    def _found(self, things: Images, ways: list[str], split: str, path: str) -> str | None:
        """What a config means by a place of a split; None where there is no such thing."""
        try:
            return _found(things, ways, dirname(path))
        except UnclearError as error:
            raise LabelError(f"{path}: its {split}: {error}") from error

    def _read_called_so(self, files: LabelFiles, images: Images) -> None:
        """Read the lists that are called like a split, where nothing else says which there are."""
        found = {one.path: one.near for one in lists_called_so(files, images) if one.is_sure}
        if proper := {path: near for path, near in found.items() if not words_aside(path, images)}:
            found = proper
        for path in sorted(found, key=lambda one: (list_order(_stem(one)), one)):
            self._read(path, _stem(path), found[path])

    def _read(self, path: str, split: str, near: str) -> None:
        self.lists.add(path)
        self._lists.read(path, split, near, whole=is_whole(split), drop=DARKNET)

    def _name_others(self, config: Config, images: Images, folders: Images, labels: Labels) -> None:
        """Name folders of images that ``data.yaml`` has by keys that aren't called like a split, and no split has."""
        for key, given in config.more.items():
            for place in given if isinstance(given, list) else [given]:
                if not isinstance(place, str) or "/" not in place or "://" in place:
                    continue
                try:
                    folder = _found(folders, [place], dirname(config.path))
                except UnclearError as error:
                    labels.complain("label", config.path, f"has {key}: {place}, which isn't known as a split: {error}")
                    continue
                if not folder or any(is_below(one, folder) for one in self._folders):
                    continue
                if lost := [path for path in images.paths if is_below(path, folder) and not self.of(path)]:
                    count = counted(len(lost), "image there is", "images there are")
                    text = f"has {key}: {place}, which isn't known as a split; {count} of none: {lost[0]}"
                    labels.complain("label", config.path, text)

    def of(self, image: str) -> str:
        """The split of an image; empty where nothing says one."""
        return self._lists.splits.get(image) or self._of_folder(image) or split_of_folders(image)

    def is_listed(self, image: str) -> bool | None:
        """Whether a list names an image, or a config a folder around it; None where there are no such."""
        if not (self._lists.splits or self._folders):
            return None
        return image in self._lists.splits or bool(self._of_folder(image))

    def _of_folder(self, image: str) -> str:
        """The split of the nearest folder around an image that a config names."""
        return next((self._folders[one] for one in (*parents_of(image), "") if one in self._folders), "")


def _stem(path: str) -> str:
    return splitext(basename(path))[0]


def _found(things: Images, ways: list[str], near: str) -> str | None:
    """What a place of ``data.yaml`` means; None where there is no such thing."""
    for way in ways:
        plain = way.replace("\\", "/").partition("*")[0].rstrip("/")
        try:
            return things.find(plain, near)
        except MissingError:
            continue
    for way in ways:  # "../train/images" beside "train", as Roboflow writes it
        plain = way.replace("\\", "/").partition("*")[0].rstrip("/")
        here = join(near, _UP.sub("", plain))
        if _UP.match(plain) and here in things.paths:
            return here
    return None
