"""Lists of the images of a split, an image in a line: YOLO's ``train.txt``, the ``ImageSets`` of Pascal VOC.

What a list says isn't lost without a word: it's read, or named where an image isn't of the split that it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.claims import Meaning, contradicted
from blobdir.labels.files import decoded
from blobdir.labels.finding import MissingError, UnclearError, is_image
from blobdir.labels.model import LabelError
from blobdir.labels.splitnames import is_called_like_a_split, is_so, kind_of_split
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Found, Images
    from blobdir.labels.model import Labels

DARKNET: Final = "data/"
"""How lines of lists begin that are seen from the folder of the program."""
SETS: Final = ("main", "", "segmentation", "layout", "action")
"""Folders of ``ImageSets`` with lists; the first that has some counts, as the others are for other tasks."""
_SPACES: Final = re.compile(r"\s(?!-?\d+(?:\s+-?\d+){0,2}$)")
"""What names in a line don't have, but for numbers behind them."""
_NUMBERED: Final = re.compile(r"(\S+)(?:\s+-?\d+){1,3}")
"""An image and numbers, as of its class; an object of YOLO has four at least."""
_OF_CLASS: Final = re.compile(r"(\S+)\s+(?:-1|0|1)")
"""A line of a list that says whether a class is in the image."""


_LISTS: Final = (".txt", ".lst", ".list", ".csv", ".tsv")
"""What lists of images end with."""
_FIELDS: Final = re.compile(r"[,;|\t]|:\s|=")
_AROUND: Final = " \t\"'`:()[]<>{}*-"
"""Around names in lists."""
_NUMBER: Final = re.compile(r"[-+]?[\d.]+(?:e[-+]?\d+)?", re.IGNORECASE)
_PADDED: Final = re.compile(r"0\d+|\d{5,}")
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Called:
    """A text that is called like a split, and names images.

    Attributes
    ----------
    path : str
    near : str
        The folder that it's seen from.
    named : list of str
        Images that its lines name.
    others : list of (str, list of str)
        Lines that may name images, and these: several, or such as lie elsewhere.
    is_sure : bool
        It's a list: half of its lines are names of images that are here, or all of images.
    like : str
        A line that has more in it than the name of an image.
    """

    path: str
    near: str
    named: list[str]
    others: list[tuple[str, list[str]]]
    is_sure: bool
    like: str = ""


def lists_called_so(files: LabelFiles, images: Images) -> Iterator[Called]:
    """Texts that are called like a split and name an image, though few where a part of a data set is here."""
    for path in files.ending(".txt"):
        if not is_called_like_a_split(splitext(basename(path))[0]):
            continue
        try:
            lines = list(filter(None, map(str.strip, files.text(path).splitlines())))
        except LabelError:
            continue  # it isn't a text
        ways = [_called(path, lines, images, near) for near in dict.fromkeys((dirname(path), ""))]
        best = max(ways, key=lambda one: len(one.named))
        if (best.named or best.others) and (best.is_sure or not any(_SPACES.search(line) for line in lines)):
            yield best


def _called(path: str, lines: list[str], images: Images, near: str) -> Called:
    named, others = [], []
    numbered = _are_numbered(lines) and not of_class(path, lines)
    for line in lines:
        try:
            named.append(_place(images, line, near, "", DARKNET, numbered=numbered).path)
        except UnclearError as error:
            others.append((line, error.paths))
        except MissingError:
            ways = _ways(line, DARKNET, numbered=numbered)
            if elsewhere := next(filter(None, map(images.called_so, ways)), None):
                others.append((line, elsewhere))
    is_sure = 2 * (len(named) + len(others)) >= len(lines) or all(
        is_image(line) or is_image(line.partition(" ")[0]) for line in lines
    )
    return Called(path, near, named, others, is_sure)


def _are_numbered(lines: list[str]) -> bool:
    """Whether all lines have numbers behind a name, but for remarks."""
    return all(_NUMBERED.fullmatch(line) or line.startswith("#") for line in lines)


def of_class(path: str, lines: Collection[str]) -> list[str]:
    """The names in a list that says of each whether a class is in it, as ``cat_train.txt``; none: it's another one."""
    found = [match[1] for line in lines if (match := _OF_CLASS.fullmatch(line))] if "_" in basename(path) else []
    return found if len(found) == len(lines) else []


def name_unused(files: LabelFiles, images: Images, labels: Labels) -> None:
    """Name the lists that weren't read, where they say a split of an image that it isn't of."""
    known = {*labels.files, *(path for _, path, _ in labels.problems)}
    splits: dict[str, list[str]] = {}
    for picture in labels.pictures:
        splits.setdefault(picture.path, []).append(picture.split)
    if labels.format == "voc":
        known |= {path for path in files.ending(*_LISTS) if _is_of_other_task(path)}
    plain = {one.path: one for one in lists_called_so(files, images) if one.path not in known}
    for one in (*plain.values(), *lists_with_more(files, images, {*known, *plain})):
        name = splitext(basename(one.path))[0]
        lost = [image for image in one.named if not any(is_so(split, name) for split in splits.get(image, [name]))]
        different = {id(paths): paths for _, paths in one.others}  # many lines may be of the same namesakes
        known_so = {
            number: all(any(is_so(split, name) for split in splits.get(path, [name])) for path in paths)
            for number, paths in different.items()
        }
        unclear = [line for line, paths in one.others if not known_so[id(paths)]]
        text = f"isn't read as a list of {name}, and names images: "
        if one.path not in plain:
            text = (
                f"isn't read as a list of {name}, as its lines have more than an image's name, like {one.like!r} "
                "(a list has an image in each line, and up to three whole numbers behind it), and names images: "
            )
        if lost:
            count = counted(len(lost), "image isn't", "images aren't")
            labels.complain("label", one.path, f"{text}{count} of that split now, as {lost[0]}")
        elif unclear:
            count = counted(len(unclear), "line", "lines")
            labels.complain("label", one.path, f"{text}which, can't be told of {count}, as {unclear[0]!r}")


def lists_with_more(files: LabelFiles, images: Images, known: Collection[str]) -> Iterator[Called]:
    """Texts that are called like a split, and most of whose lines hold the name of an image somewhere.

    Programs write a header, classes, scores, quotes around the names. Nobody knows how each is meant.

    Parameters
    ----------
    files : LabelFiles
    images : Images
    known : collection of str
        Those that aren't looked at.
    """
    for path in files.ending(*_LISTS):
        if path in known or not is_called_like_a_split(splitext(basename(path))[0]):
            continue
        if (head := files.head(path)) and b"\0" not in head and _with_more(path, _lines_of(head), images):
            try:
                found = _with_more(path, _lines_of(files.read(path)), images)
            except LabelError:
                continue  # it's gone
            if found is not None:
                yield found


def _lines_of(data: bytes) -> list[str]:
    """The lines of a list with something in them; a text in an old encoding may name images, too."""
    try:
        text = decoded(data)
    except LabelError:
        text = data.decode("latin-1")
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def _with_more(path: str, lines: list[str], images: Images) -> Called | None:
    """What a text names; None: most lines name nothing."""
    found = [_somewhere(line, images) for line in lines]
    hits = sum(map(bool, found))
    if 2 * hits <= len(lines) and not (hits > 1 and hits == len(lines) - 1):  # a header, perhaps
        return None
    named = list(dict.fromkeys(paths[0] for paths in found if len(paths) == 1))
    others = [(line, paths) for line, paths in zip(lines, found, strict=True) if len(paths) > 1]
    like = next(line for line, paths in zip(lines, found, strict=True) if paths)
    return Called(path, dirname(path), named, others, is_sure=False, like=like[:_SHOWN])


def _somewhere(line: str, images: Images) -> list[str]:
    """The images that a line of a list may name in any of its fields, the first that names one."""
    fields = [field.strip(_AROUND) for field in _FIELDS.split(line)]
    words = [word.strip(_AROUND) for field in fields for word in field.split()]
    some = list(filter(None, dict.fromkeys((*fields, *words))))
    is_number = list(map(_NUMBER.fullmatch, some))  # of epochs, say; but images are called 000017, or 17 before a class
    some = [
        one
        for i, one in enumerate(some)
        if not is_number[i] or (i == 0 and (_PADDED.fullmatch(one) or not all(is_number)))
    ]
    return next(filter(None, map(images.called_so, some)), [])


def _is_of_other_task(path: str) -> bool:
    folders = path.lower().split("/")[:-1]
    return "imagesets" in folders and "/".join(folders[folders.index("imagesets") + 1 :]) in SETS


def together(sets: dict[str, set[str]]) -> set[str]:
    """Lists called ``train``, ``val``, ``test`` that others say more closely, and are those together: ``val2017``.

    Parameters
    ----------
    sets : dict
        Name of each list -> its lines.
    """
    found = set()
    for name, lines in sets.items():
        others = [one for one in sets if one != name and kind_of_split(one) == name]
        if others and lines and set().union(*(sets[one] for one in others)) == lines:
            found.add(name)
    return found


def _place(
    images: Images, line: str, near: str, split: str, drop: str, *, numbered: bool = False, stems: bool = False
) -> Found:
    """The image that a line means."""
    for way in _ways(line, drop, numbered=numbered):
        try:
            return images.place(way, near, split, may_be_stem=stems, is_in_list=True)
        except LabelError:
            continue
    return images.place(line, near, split, may_be_stem=stems, is_in_list=True)  # says what is wrong with it as it is


def _ways(line: str, drop: str, *, numbered: bool) -> list[str]:
    """What a line may name: itself; or an image's path before the labels' in it, or before numbers."""
    ways = [line]
    short = line.removeprefix("./")
    if drop and short.startswith(drop):
        ways.append(short.removeprefix(drop))
    if numbered and (found := _NUMBERED.fullmatch(line)):
        ways.append(found[1])
    elif is_image(first := line.partition(" ")[0]) and first != line:
        ways.append(first)
    return ways


class Lists:
    """The splits that lists say of images.

    Attributes
    ----------
    splits : dict
        Image -> its split: that of the first list that names it.
    """

    def __init__(self, files: LabelFiles, images: Images, labels: Labels) -> None:
        self._files, self._images, self._labels = files, images, labels
        self.splits: dict[str, str] = {}
        self._listed: dict[str, str] = {}
        self._lines: set[str] = set()
        self._again: dict[tuple[str, str], list[str]] = {}

    def read(
        self, path: str, split: str, near: str, *, whole: bool = False, drop: str = "", stems: bool = False
    ) -> None:
        """Read a list. Lines that name no image are said.

        Parameters
        ----------
        path : str
        split : str
            That its images are of.
        near : str
            The folder that they are named from.
        whole : bool
            Whether it has the images of other lists, too.
        drop : str
            Beginning of a line that counts for nothing where there is no such folder.
        stems : bool
            Whether images are named without their extension.
        """
        try:
            lines = [line.strip() for line in self._files.text(path).splitlines()]
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        self._labels.files.append(path)
        lost: list[tuple[str, str]] = []
        meanings: list[Meaning] = []
        lines = list(filter(None, lines))
        self._lines.update(lines)
        numbered = _are_numbered(lines)
        for line in lines:
            try:
                found = _place(self._images, line, near, split, drop, numbered=numbered, stems=stems)
                meanings.append(Meaning(path, line, split, found))
            except LabelError as error:
                lost.append((line, str(error)))
        wrong = contradicted(meanings, self._files, self._images)
        lost += [(meanings[i].where, text) for i, text in wrong.items()]
        for image in [one.found.path for i, one in enumerate(meanings) if i not in wrong]:
            before = self.splits.setdefault(image, split)
            if before != split and not whole:
                self._again.setdefault((self._listed[image], path), []).append(image)
            self._listed.setdefault(image, path)
        if lost:
            count = counted(len(lost), "line names", "lines name")
            text = f"{count} no image that is there, so none is of {split or 'it'} by it; {lost[0][0]!r}: {lost[0][1]}"
            self._labels.complain("label", path, text)

    def name_lost(self, path: str, names: set[str], near: str) -> None:
        """Name a list of one class, which makes no split, where it has images that no list of a split has."""
        lost = []
        for name in sorted(names - self._lines):
            try:
                image = self._images.place(name, near).path
            except LabelError:
                continue
            if image not in self.splits:
                lost.append(image)
        if lost:
            count = counted(len(lost), "of its lines names an image", "of its lines name images")
            text = f"is a list of a class, so it makes no split; {count} that no list of a split has: {lost[0]}"
            self._labels.complain("label", path, text)

    def settle(self) -> None:
        """Say which images are in the lists of two splits."""
        for (first, second), images in self._again.items():
            count = counted(len(images), "image is", "images are")
            text = f"{count} in {first} too, and of that one's split now: {images[0]}"
            self._labels.complain("label", second, text)
