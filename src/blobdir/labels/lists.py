"""Lists of the images of a split, an image in a line: YOLO's ``train.txt``, the ``ImageSets`` of Pascal VOC.

What a list says isn't lost without a word: it's read, or named where an image isn't of the split that it says, see
`blobdir.labels.otherlists`. One that has boxes behind the names says the split of its images, and is looked at as a
file of boxes besides, see `Labels.boxed` and `blobdir.labels.unknown`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from posixpath import basename, dirname, join, splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import SIDE_EXTENSIONS
from blobdir.labels.claims import Meaning, contradicted
from blobdir.labels.files import lines_of
from blobdir.labels.finding import is_image
from blobdir.labels.mentions import OF_A_BOX
from blobdir.labels.model import LabelError, MissingError, UnclearError
from blobdir.labels.namesakes import is_below
from blobdir.labels.numerals import numbers_in
from blobdir.labels.splitnames import is_called_like_a_split, is_split, kind_of_split
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Found, Images
    from blobdir.labels.model import Labels

DARKNET: Final = "data/"
"""How lines of lists begin that are seen from the folder of the program."""
ENDING: Final = ".txt"
"""What lists end with that are read."""
NO_SPLIT: Final = "default"
"""A list of this name makes no split: CVAT's."""
SETS: Final = ("main", "", "segmentation", "layout", "action")
"""Folders of ``ImageSets`` with lists; the first that has some counts, as the others are for other tasks."""
_SPACES: Final = re.compile(r"\s(?!-?\d+(?:\s+-?\d+){0,2}$)")
"""What names in a line don't have, but for numbers behind them."""
_NUMBERED: Final = re.compile(r"(?:\S+|(?=.*[^\s\d.+-]).*\S)(?:\s+-?\d+){1,3}")
"""An image and numbers, as of its class; an object of YOLO has four at least."""
_MOST_NUMBERS: Final = 3
_WITH_THREE: Final = re.compile(r"\S+(?:\s+-?\d+){3}")
_WORD: Final = re.compile(r"[a-z]+")
_WHOLE: Final = re.compile(r"-?\d+")
_OF_CLASS: Final = re.compile(r"(\S(?:.*\S)?)\s+(?:-1|0|1)")
"""A line of a list that says whether a class is in the image."""


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
    for path in files.ending(ENDING):
        if not is_called_like_a_split(splitext(basename(path))[0]):
            continue
        try:
            lines = list(filter(None, map(str.strip, lines_of(files.text(path)))))
        except LabelError:
            continue  # it isn't a text
        ways = [_called(path, lines, images, near) for near in dict.fromkeys((dirname(path), ""))]
        best = max(ways, key=lambda one: len(one.named))
        if (best.named or best.others) and (best.is_sure or not any(_SPACES.search(line) for line in lines)):
            yield best


def _called(path: str, lines: list[str], images: Images, near: str) -> Called:
    named, others = _named(path, lines, lines, images, near)
    if not named and not others and (stems := _stems_of(lines, images, near)):
        named, others = _named(path, lines, stems, images, near)
    is_sure = 2 * (len(named) + len(others)) >= len(lines) or all(
        is_image(line) or is_image(line.partition(" ")[0]) for line in lines
    )
    return Called(path, near, named, others, is_sure)


def _named(
    path: str, lines: list[str], names: list[str], images: Images, near: str
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The images that lines name; and the lines that may name images, with these."""
    named, others = [], []
    numbered = _are_numbered(names) and not of_class(path, names)
    for line, name in zip(lines, names, strict=True):
        try:
            named.append(_place(images, name, near, "", DARKNET, numbered=numbered).path)
        except UnclearError as error:
            others.append((line, error.paths))
        except MissingError:
            ways = _ways(name, DARKNET, numbered=numbered)
            if elsewhere := next(filter(None, map(images.called_so, ways)), None):
                others.append((line, elsewhere))
    return named, others


def stem_in(name: str) -> str:
    """What a name is without the ending of an image, of labels or of numbers; empty: it has none such, or nothing else.

    Lists are written of what a program reads: of labels, or of images before they were saved as others.
    """
    stem, ending = splitext(name)
    is_so = ending.lower() in SIDE_EXTENSIONS or is_image(name)
    return stem if is_so and basename(stem) and not is_called_like_a_split(basename(stem)) else ""


def _stems_of(lines: list[str], images: Images, near: str) -> list[str]:
    """Lines without endings; nothing if one has none, or an image is called so: then it's known what lines name."""
    found = [stem_in(_bare(line)) for line in lines]
    if not all(found) or any(map(images.called_so, lines)):
        return []
    return [_of_labels(name, images, near) for name in found]


def _of_labels(name: str, images: Images, near: str) -> str:
    """What the image is called of labels that a list names: it lies where those of their folder belong.

    The list may be of another place, so that its lines begin with folders that aren't here.
    """
    folder = dirname(name.removeprefix("./"))
    if not folder or images.holds(join(near, folder)) or images.holds(folder):
        return name
    parts = [part for part in folder.split("/") if part not in ("", ".", "..")]
    for tail in ("/".join(parts[start:]) for start in range(len(parts))):
        found = next(filter(images.holds, images.near(join(near, tail)).beside[:-1]), "")
        if found:
            return join(found[len(near) + 1 :] if near and is_below(found, near) else found, basename(name))
    return name


def _are_numbered(lines: list[str]) -> bool:
    """Whether all lines have numbers behind a name, but for remarks."""
    return all(_NUMBERED.fullmatch(line) or line.startswith("#") for line in lines)


def of_class(path: str, lines: Collection[str]) -> list[str]:
    """The names in a list that says of each whether a class is in it, as ``cat_train.txt``; none: it's another one."""
    found = [_bare(match[1]) for line in lines if (match := _OF_CLASS.fullmatch(line))] if "_" in basename(path) else []
    return found if len(found) == len(lines) else []


def image_sets(files: LabelFiles) -> dict[str, dict[str, dict[str, str]]]:
    """The lists that Pascal VOC's reader looks at: folder with an ``ImageSets`` -> one in that -> name -> its path.

    Others, as those of another ending, aren't read: `blobdir.labels.otherlists` names them.
    """
    trees: dict[str, dict[str, dict[str, str]]] = {}
    for path in files.ending(ENDING):
        parts = path.split("/")
        folders = [part.lower() for part in parts[:-1]]
        if "imagesets" in folders:
            at = folders.index("imagesets")
            sets = trees.setdefault("/".join(parts[:at]), {})
            sets.setdefault("/".join(folders[at + 1 :]), {})[splitext(basename(path))[0]] = path
    return trees


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


def plain_lists(files: LabelFiles, images: Images) -> list[Called]:
    """Lists outside of ``ImageSets`` that can't be anything else, as Oxford's pets have them.

    In each line are an image and three whole numbers (class, species, breed), all images are here, and none is in two.
    """
    found = [one for one in lists_called_so(files, images) if is_split(splitext(basename(one.path))[0])]
    named = [image for one in found for image in one.named]
    is_plain = all(not one.others and len(one.named) == _with_three_numbers(files.text(one.path)) for one in found)
    return found if is_plain and len(set(named)) == len(named) else []


def _with_three_numbers(text: str) -> int:
    """How many lines a text has, if each is a name and three numbers; else none."""
    lines = list(filter(None, map(str.strip, lines_of(text))))
    return len(lines) if all(map(_WITH_THREE.fullmatch, lines)) else -1


def without_task(name: str, folder: str) -> str:
    """The split that a list of ``ImageSets`` is of: ``train`` of ``CLS-LOC/train_loc``, as the folder says the task."""
    split, _, task = name.rpartition("_")
    return split if is_split(split) and task.lower() in _WORD.findall(folder.lower()) else name


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
    if numbered and _NUMBERED.fullmatch(line):
        ways += _without_numbers(line)
    elif is_image(first := line.partition(" ")[0]) and first != line:
        ways.append(first)
    ways += [bare for way in ways if (bare := _bare(way)) != way]
    return ways


def _has_box(line: str) -> bool:
    """Whether behind the image that a line names are numbers enough for a box, which is more than a list has."""
    name, _, rest = line.partition(" ")
    return is_image(name) and numbers_in(rest) >= OF_A_BOX


def _without_numbers(line: str) -> list[str]:
    """A line without the last number behind its name, without the last two, three; names may have spaces in them."""
    found = [line]
    while len(found) <= _MOST_NUMBERS and len(parts := found[-1].rsplit(maxsplit=1)) > 1 and _WHOLE.fullmatch(parts[1]):
        found.append(parts[0])
    return found[1:]


def _bare(name: str) -> str:
    """A name without quotes around it: Datumaro has them where there are spaces in it."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name


def _meanings(
    path: str, lines: list[str], names: list[str], split: str, place: Callable[..., Found]
) -> tuple[list[Meaning], list[tuple[str, str]]]:
    """What lines mean, by the names in them; and those that mean nothing, with what is wrong."""
    lost: list[tuple[str, str]] = []
    meanings: list[Meaning] = []
    numbered = _are_numbered(names)
    for line, name in zip(lines, names, strict=True):
        try:
            meanings.append(Meaning(path, line, split, place(name, numbered=numbered)))
        except LabelError as error:
            lost.append((line, str(error)))
    return meanings, lost


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
        self._by_stem: set[str] = set()
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
            lines = [line.strip() for line in lines_of(self._files.text(path))]
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error
        self._labels.files.append(path)
        lines = list(filter(None, lines))
        if any(map(_has_box, lines)):  # others have none where nothing is in their images
            self._labels.boxed.add(path)
        self._lines.update(lines)
        place = partial(_place, self._images, near=near, split=split, drop=drop, stems=stems)
        meanings, lost = _meanings(path, lines, lines, split, place)
        by_stem = False
        if not meanings and (short := _stems_of(lines, self._images, near)):
            meanings, still_lost = _meanings(path, lines, short, split, place)
            if by_stem := bool(meanings):
                lost = still_lost
                text = f"says {meanings[0].where}, and there is no such image; {meanings[0].found.path} was taken"
                self._labels.note(path, f"{text}, as all its names have another ending")
                self._by_stem.add(path)
        wrong = contradicted(meanings, self._files, self._images)
        lost += [(meanings[i].where, text) for i, text in wrong.items()]
        for image in [one.found.path for i, one in enumerate(meanings) if i not in wrong]:
            before, first = self.splits.setdefault(image, split), self._listed.setdefault(image, path)
            if first in self._by_stem and not by_stem and not whole:  # this one says it as it's called
                self.splits[image], self._listed[image] = split, path
                first, other = path, first
            else:
                other = path
            if before != split and not whole:
                self._again.setdefault((first, other), []).append(image)
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
