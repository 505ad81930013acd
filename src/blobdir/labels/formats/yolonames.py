"""The names of YOLO's classes, whose numbers are all that its labels have: of ``data.yaml``, or of files beside them.

Programs write them by many names: ``classes.txt``, ``predefined_classes.txt``, ``obj.names``, ``_darknet.labels``; or
have a YAML file with ``names`` and nothing else. Classes for which no file has names are called by their numbers, and
that is said.
"""

from __future__ import annotations

import json
import re
from posixpath import basename, commonpath, dirname
from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import kind_of
from blobdir.filenames import parents_of
from blobdir.labels.files import YAML, decoded, lines_of
from blobdir.labels.model import Category, LabelError, brief, has_control
from blobdir.labels.yamlfile import keys_of, read_yaml
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.formats.yoloconfig import Config
    from blobdir.labels.model import Labels

_CALLED_SO: Final = re.compile(r"_*(?:(?:predefined_)?classes|labels|(?:class_|obj_)?names)\.txt|.*\.(?:names|labels)")
"""What texts with names of classes are called, a name in a line, in small letters."""
NO_LABELS: Final = re.compile(r"read.?me|licen[cs]e|requirements|changelog", re.IGNORECASE)
"""Files beside labels that people read."""
_FIRST: Final = "classes.txt"
_LONGEST: Final = 200
"""Names of classes are shorter."""
_END_OF_DOS: Final = "\x1a"
_JSON: Final = ".json"
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def is_called_like_names(path: str) -> bool:
    """Whether a file is called like a text with the names of classes."""
    name = basename(path).lower()
    return _CALLED_SO.fullmatch(name) is not None and not NO_LABELS.match(name)


def without_those_of_images(paths: Iterable[str], images: Images, labels: Labels) -> list[str]:
    """Texts with names of classes; ``0.labels`` beside ``0.jpg`` and ``1.labels`` beside ``1.jpg`` are none."""
    found = sorted(paths)
    called = [path for path in found if images.has_called(path)]
    if not called or len(found) == 1:
        return found
    count = counted(len(called), "text is", "texts are")
    labels.note(called[0], f"{count} called like images, and not taken for names of classes")
    return [path for path in found if path not in set(called)]


def names_in(value: dict[str, Any]) -> dict[int, str]:
    """Number -> class, of what a YAML file holds.

    Raises
    ------
    LabelError
        Its ``names`` aren't those of classes.
    """
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
            raise LabelError(f"the name of class {brief(index)} is {kind_of(name)}; write it in quotes if it is a text")
        if has_control(str(name)):
            raise LabelError(f"the name of class {brief(index)} has a control character: {brief(name)}")
        at = _number(index)
        if at in found:
            raise LabelError(f"its names have the number {at} twice")
        found[at] = str(name)
    if len(set(found.values())) != len(found):
        raise LabelError("two of its names are the same")
    if type(count := value.get("nc")) is int and count != len(found):
        raise LabelError(f"has nc: {count}, and {counted(len(found), 'name')}")
    return found


def _number(index: Any) -> int:
    """The number of a class: a whole one, or a text of it."""
    try:
        at = int(index)
    except (TypeError, ValueError, OverflowError):
        at = None
    if at is None or isinstance(index, bool) or (isinstance(index, float) and at != index):
        raise LabelError(f"its names have the number {brief(index)}, which is none")
    return at


class Names:
    """The names of the classes: those of ``data.yaml``, else of the file with them that is nearest to the labels.

    Parameters
    ----------
    files : LabelFiles
    config : Config
    labels : Labels
        Told of files that differ.
    texts : iterable of str
        Files with a name in a line, as labelImg and Darknet write them.
    """

    def __init__(self, files: LabelFiles, config: Config, labels: Labels, texts: Iterable[str]) -> None:
        self._config = config
        self._by_folder: dict[str, dict[int, str]] = {}
        self._paths: dict[str, str] = {}
        self._unclear: dict[str, str] = {}
        self._used: set[str] = set()
        said = config.names_files
        paths = {*texts, *said.values()}
        paths |= {
            path for path in files.ending(*YAML) if path not in labels.files and "names" in keys_of(files.head(path))
        }
        read: dict[str, dict[int, str]] = {}
        for path in sorted(paths, key=lambda one: (one not in said.values(), basename(one).lower() != _FIRST, one)):
            is_sure = path in said.values() or basename(path).lower() == _FIRST
            if found := _read(files, path, labels, is_sure=is_sure):
                read[path] = found
        self._said = {folder: read[path] for folder, path in said.items() if path in read}
        for path, found in read.items():
            self._take(path, found, labels)
        self._differ = len({tuple(names.items()) for names in self._by_folder.values()}) > 1
        if self._differ and not self._said:
            shown = " and ".join(sorted(self._paths.values())[:2])
            labels.note(shown, "have different names; each counts for the labels beside and below it")

    def _take(self, path: str, found: dict[int, str], labels: Labels) -> None:
        """Have the names of a file for its folder, unless others count."""
        config, folder = self._config, dirname(path)
        if config.names:
            if list(found.values()) != list(config.names.values()):
                labels.note(path, f"has other names than {config.path}, which counts")
            return
        if self._said and found not in self._said.values():
            first = next(iter(config.names_files.values()))
            labels.note(path, f"has other names than {first}, which counts, as {config.path} says")
        if self._by_folder.setdefault(folder, found) == found:
            self._paths.setdefault(folder, path)
            labels.files.append(path)
        elif not self._said:
            raise LabelError(f"{path}: has other names than {self._paths[folder]}; leave the one that counts")
        elif self._paths[folder] not in config.names_files.values():
            self._unclear[folder] = f"{path} has other names than {self._paths[folder]}; leave the one that counts"

    def of(self, path: str, *, is_listed: bool | None = None) -> dict[int, str]:
        """Number -> class for the labels of a text.

        Parameters
        ----------
        path : str
        is_listed : bool, optional
            Whether a list names the image; None: there are no lists. What ``obj.data`` says is of the images of its
            lists.

        Raises
        ------
        LabelError
            It can't be told which names hold for it.
        """
        if self._config.names or not self._by_folder:
            return self._config.names
        around = (*parents_of(path), "")
        if self._said and is_listed is not False:
            if (near := next((one for one in around if one in self._said), None)) is not None:
                return self._said[near]
            first = next(iter(self._said.values()))
            if is_listed and all(one == first for one in self._said.values()):
                return first
        for folder in around:
            if folder in self._unclear:
                raise LabelError(self._unclear[folder])
            if (found := self._by_folder.get(folder)) is not None:
                self._used.add(folder)
                return found
        if self._differ:
            raise LabelError(
                f"{path}: none of the files with names ({', '.join(sorted(self._paths.values()))}) lies beside it or "
                "above, and they differ; put the one that counts there"
            )
        return next(iter(self._by_folder.values()))

    def name_unnamed(self, texts: Collection[str], labels: Labels) -> None:
        """Say that no file has names for the classes of some texts with labels, and what to do."""
        if not texts or self._config.names or self._by_folder:
            return
        folder = commonpath(list(map(dirname, texts)))
        count = counted(len(texts), "text with labels", "texts with labels")
        text = f"has {count}, and no file has names of classes for them, so these are called by their numbers"
        labels.note(
            folder or ".", f"{text}. Put them there, one in a line, as {_FIRST}, or give a data.yaml with `names`"
        )

    def categories(self, keypoints: tuple[str, ...]) -> list[Category]:
        """All classes of the files that count, with the number of the first that has each."""
        found: dict[str, Category] = {}
        some = [self._said[folder] for folder in sorted(self._said)]
        some += [names for folder, names in sorted(self._by_folder.items()) if not self._said or folder in self._used]
        for names in some or [self._config.names]:
            for index, name in sorted(names.items()):
                found.setdefault(name, Category(name, index, None, keypoints))
        return list(found.values())


def _of_json(data: bytes) -> dict[str, Any]:
    """What a JSON file says that an ``obj.data`` names: a list of names, numbers with names, or `names` with these."""
    try:
        text = decoded(data)
        value = json.loads(text) if text.lstrip().startswith("[") else read_yaml(data)  # which refuses a key twice
    except (ValueError, RecursionError) as error:
        raise LabelError(f"isn't JSON: {error}") from None
    return value if isinstance(value, dict) and "names" in value else {"names": value}


def _read(files: LabelFiles, path: str, labels: Labels, *, is_sure: bool) -> dict[int, str]:
    """The names in a file. One that has none counts for nothing, which is said; what is surely one must have them."""
    if path.lower().endswith((*YAML, _JSON)):
        try:
            data = files.read(path)
            found = names_in(_of_json(data) if path.lower().endswith(_JSON) else read_yaml(data))
        except LabelError as error:
            labels.note(path, f"has names, but not those of classes, so it counts for nothing: {error}")
            return {}
    else:
        data = b""
        try:
            data = files.read(path)
            lines = lines_of(decoded(data).removesuffix(_END_OF_DOS))
        except LabelError as error:
            if is_sure or not _BINARY.search(data):
                raise LabelError(f"{path}: {error}") from error
            lines = ["\0"]
        found = {index: line.strip() for index, line in enumerate(lines) if line.strip()}
        for index, name in found.items():
            if (has := has_control(name)) or len(name) > _LONGEST:
                fault = f"line {index + 1} has a control character" if has else f"line {index + 1} is too long for one"
                if is_sure:
                    raise LabelError(f"{path}: {fault}, and names of classes belong there, one in a line")
                labels.note(path, f"has no names of classes in it, so it counts for nothing: {fault}")
                return {}
    if not found:
        labels.note(path, "has no names in it, so it counts for nothing")
    return found
