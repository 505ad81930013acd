"""Objects of several label files on one image: that is a problem where the files differ, whatever led there.

Which file has the labels of an image is told by rules that can't know what people mean. So here is the net below them,
the one place that is asked when all objects of an image are known: if two files say other objects of it, each of them
some that the other one doesn't, then one may be an older version, a program's guess, another data set's, or of another
camera, whose images aren't here and are called alike. Nothing is wrong if both say the same, or if one has all that the
other one has, on all images of both.

It doesn't matter whether their objects come together, or each file has a dataset of its own with the image in it, as
COCO's have whose names are no splits. There nothing is wrong either if both files say the folder of the image, or are
called exactly like it, so it's surely theirs; or if one is called for predictions, and is told apart by that.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import astuple
from itertools import combinations
from posixpath import basename
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from blobdir.labels.bystanders import is_called_for_predictions
from blobdir.labels.model import Box, around
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator

    from blobdir.labels.model import Picture, Shape, Thing

    _Places = dict[tuple[str, Box | None], str]

_AROUND: Final = "stuff"
_PART: Final = re.compile(rf"(instances|(?:person_)?keypoints|{_AROUND})([-_].*)", re.IGNORECASE)
"""Files of COCO's that are made to be used together: things that can be counted, people, and what is around them."""
_NEAR: Final = 1.0
"""Pixels that sides of one object may be apart, as where one file has whole pixels."""


class _Pair:
    """Two label files, and what each says that the other doesn't, of images that both say something of."""

    __slots__ = ("images", "left", "right")

    def __init__(self) -> None:
        self.images: dict[str, None] = {}
        self.left: set[str] = set()
        self.right: set[str] = set()


class _Said(NamedTuple):
    """What label files say of an image in one dataset, as `blobdir.labels.mixing` compares it.

    Attributes
    ----------
    things : dict
        Label file -> where each object is, and its class.
    is_sure : bool
        Whether the image is surely theirs.
    """

    things: dict[str, _Places]
    is_sure: bool


class Mixing:
    """Notes what several label files say of images.

    Parameters
    ----------
    pictures : collection of Picture
        All: those of one image are in several datasets.
    """

    def __init__(self, pictures: Collection[Picture] = ()) -> None:
        self._together: dict[tuple[str, str], _Pair] = {}
        self._apart: dict[tuple[str, str], _Pair] = {}
        times = Counter(picture.path for picture in pictures)
        self._left = {path: count for path, count in times.items() if count > 1}
        self._said: dict[str, list[_Said]] = {}

    def note(self, picture: Picture, things: list[Thing]) -> None:
        """Note all objects of an image in one dataset."""
        by_file: dict[str, dict[int, str]] = {}
        for i, thing in enumerate(things):
            for file in thing.files:
                by_file.setdefault(file, {})[i] = thing.label
        for one, other in combinations(sorted(by_file), 2):
            _compare(self._together, picture.path, (one, by_file[one]), (other, by_file[other]))
        if picture.path in self._left:
            self._note_shared(picture, things)

    def _note_shared(self, picture: Picture, things: list[Thing]) -> None:
        """Compare an image's objects with those that it has in datasets of other files."""
        found: dict[str, _Places] = {}
        for thing in things:
            for file in thing.files or (picture.file,):
                found.setdefault(file, {})[thing.label.casefold(), around(thing.shapes)] = thing.label
        mine = _Said(found, _is_surely_of(picture))
        for other in self._said.get(picture.path, ()):
            if not (mine.is_sure and other.is_sure):
                self._compare_shared(picture.path, mine, other)
        self._left[picture.path] -= 1
        if self._left[picture.path]:
            self._said.setdefault(picture.path, []).append(mine)
        else:
            self._said.pop(picture.path, None)

    def _compare_shared(self, image: str, mine: _Said, other: _Said) -> None:
        """Compare what files say that have an image in one of two datasets only."""
        for left in mine.things.keys() - other.things.keys():
            for right in other.things.keys() - mine.things.keys():
                if is_called_for_predictions(left) is is_called_for_predictions(right):
                    one, two = mine.things[left], other.things[right]
                    (first, ones), (second, twos) = sorted(((left, _unsaid(one, two)), (right, _unsaid(two, one))))
                    if ones or twos:
                        pair = self._apart.setdefault((first, second), _Pair())
                        pair.images[image] = None
                        pair.left |= ones
                        pair.right |= twos

    def problems(self) -> Iterator[tuple[str, str]]:
        """Files whose objects came together, though they differ, and what to say of it."""
        settle = "Give the one that counts with --labels-from, or put the other one away"
        for (one, other), pair in sorted(self._together.items()):
            if pair.left and pair.right and not _are_parts(one, other, pair):
                yield one, f"{_differs(other, pair)}: those of both are there together. {settle}"
        for (one, other), pair in sorted(self._apart.items()):
            if pair.left and pair.right and not _are_parts(one, other, pair):
                text = "either may mean images of another folder, and they are in a dataset of each"
                yield one, f"{_differs(other, pair)}: {text}. {settle}; if both count, say the images' folders in them"


def bucket_of(label: str, shapes: list[Shape]) -> Hashable:
    """What equal objects have in common, as far as classes and places go."""
    return label, around(shapes)


def contradict(one: Collection[Hashable], other: Collection[Hashable]) -> bool:
    """Whether each says objects that the other one doesn't."""
    return not ({*one} <= {*other} or {*other} <= {*one})


def _compare(
    pairs: dict[tuple[str, str], _Pair],
    image: str,
    one: tuple[str, dict[int, str]],
    other: tuple[str, dict[int, str]],
) -> None:
    """Note what two files say of an image that the other one doesn't."""
    (left, mine), (right, theirs) = one, other
    if mine.keys() != theirs.keys():
        pair = pairs.setdefault((left, right), _Pair())
        pair.images[image] = None
        pair.left.update(label for i, label in mine.items() if i not in theirs)
        pair.right.update(label for i, label in theirs.items() if i not in mine)


def _unsaid(mine: _Places, theirs: _Places) -> set[str]:
    """Classes of objects that another file doesn't have; places may be rounded, and classes spelled, otherwise."""
    boxes: dict[str, list[tuple[float, ...]]] = {}
    for label, box in theirs:
        if box is not None:
            boxes.setdefault(label, []).append(astuple(box))

    def is_said(label: str, box: Box | None) -> bool:
        if box is None or label not in boxes:
            return False
        apart = np.abs(np.array(boxes[label]) - np.array(astuple(box)))
        return bool((apart.max(axis=1) <= _NEAR).any())

    return {name for place, name in mine.items() if place not in theirs and not is_said(*place)}


def _differs(other: str, pair: _Pair) -> str:
    first = next(iter(pair.images))
    return f"says other objects of {counted(len(pair.images), 'image')} than {other}, as of {first}"


def _is_surely_of(picture: Picture) -> bool:
    """Whether an image's label file says its folder, or the file is called exactly like one."""
    folders = picture.path.lower().split("/")[:-1]
    return (picture.found is not None and "/" in picture.found.said) or picture.split.lower() in folders


def _are_parts(one: str, other: str, pair: _Pair) -> bool:
    """Whether files are called the same but for which part of COCO's labels they have, and no class is in both."""
    found = [_PART.fullmatch(basename(file)) for file in (one, other)]
    names: Iterable[tuple[str, str]] = ((match[1].lower(), match[2]) for match in found if match)
    parts, rest = zip(*names, strict=True) if all(found) else ((), ())
    is_apart = pair.left.isdisjoint(pair.right)
    return parts.count(_AROUND) == 1 and rest[0] == rest[1] and is_apart
