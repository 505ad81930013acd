"""Images that several label files have, or one has twice: of which split each is, and what of them is one.

There is one rule for all formats with the labels of many images in a file. What is said of an image in one split is
put together, and equal objects of two places are one. An image that a file of all images has, and one of a split, is
of that split, and so are its objects. One that two splits have is in both. What differs, or is there twice, is said.

A file of all has the objects of the splits' files. One that has others of most images is a second opinion, perhaps a
program's, whatever it's called: that never becomes part of a split, but stays on its own, or is named.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.mixing import bucket_of
from blobdir.labels.sizes import differ, shown, together, whole
from blobdir.labels.splitnames import ALL, closeness, list_order, split_of_folders
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.labels.model import Complain, Labels, Picture, Thing

_OF_FILE: Final = ("id", "category_id", "compressed", "absent")
"""What is kept of an object because of how its file numbers and writes things: two objects may be one all the same."""
_OF_LIST: Final = ("id", "file_name")
"""What is kept of an image because of how its file numbers and names images."""
_LICENSE: Final = "license"
"""A number of a license in the image's file, which another file may have for another one."""
_COMPARED: Final = 200
"""So many images of a file say whether it has the objects of others."""
_ANY_SIZE: Final = 1000, 1000
"""Where nobody says how large an image is, to compare objects of two files."""


def put_together(labels: Labels) -> None:
    """Have one picture for each image of a split, and none in a file of all images where it's of a split."""
    found: dict[str, dict[str, list[Picture]]] = {}
    for picture in labels.pictures:
        found.setdefault(picture.path, {}).setdefault(picture.split, []).append(picture)
    together = _Together(labels)
    images = [[together.of_split(pictures) for pictures in by_split.values()] for by_split in found.values()]
    together.compare([_ordered(some) for some in images if len(some) > 1])
    labels.pictures = []
    for some in images:
        labels.pictures += together.of_image(some) if len(some) > 1 else some
    together.say()


def final_split(picture: Picture) -> str:
    """The split of an image, or that of its folders if its label file says none, or that of those of the file."""
    return picture.split or split_of_folders(picture.path) or split_of_folders(picture.file)


def _ordered(pictures: list[Picture]) -> tuple[list[Picture], list[Picture]]:
    """Of one image in several splits: those that say its split most closely, and those whose labels are theirs, too."""
    ordered = sorted(pictures, key=lambda one: (closeness(one.split), list_order(one.split)))
    least = closeness(ordered[0].split)
    count = 1 if least == ALL else sum(closeness(one.split) == least for one in ordered)
    return ordered[:count], ordered[count:]


def _objects(picture: Picture, size: tuple[int, int]) -> Counter[Any]:
    """What an image has, roughly, to compare it."""
    return Counter(_bucket(thing) for thing in picture.read(*size, lambda *_: None))


def have_equal_objects(one: Picture, other: Picture) -> bool:
    """Whether two label files say the same objects of an image, as far as classes and places go."""
    size = _size_for(one, other)
    return _objects(one, size) == _objects(other, size)


def said_of(picture: Picture) -> Counter[Any]:
    """What a label file says of an image, roughly."""
    return _objects(picture, whole(picture.size) or _ANY_SIZE)


class _Together:
    """Puts pictures of one image together, and says of how many images that was done."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._twice: dict[tuple[str, str, str], list[str]] = {}
        self._moved: dict[tuple[str, str, str, str], list[str]] = {}
        self._differing: dict[tuple[str, str, str], list[str]] = {}
        self._opinions: set[str] = set()
        self._left: dict[tuple[str, str], list[str]] = {}

    def compare(self, images: Iterable[tuple[list[Picture], list[Picture]]]) -> None:
        """Find the files that have other objects of most images than those that say their split."""
        votes: dict[str, Counter[bool]] = {}
        for (mine, *_), others in images:
            for other in others:
                vote = votes.setdefault(other.file, Counter())
                if vote.total() < _COMPARED:
                    size = _size_for(mine, other)
                    ours, theirs = _objects(mine, size), _objects(other, size)
                    if ours and theirs:
                        vote[ours == theirs] += 1
        self._opinions = {file for file, vote in votes.items() if vote[False] and vote[False] >= vote[True]}

    def of_split(self, pictures: list[Picture]) -> Picture:
        """Of one image in one split: what all say."""
        mine, *others = pictures
        for other in others:
            differing = [key for key, value in other.kept.items() if mine.kept.setdefault(key, value) != value]
            if differing:
                text = f"{mine.path}: is at {mine.where} too; the labels of both were put together"
                self._labels.complain("label", other.where, f"{text}, but for its {' and '.join(differing)}")
            self._take(mine, other)
        return _reading(mine, others)

    def of_image(self, pictures: list[Picture]) -> list[Picture]:
        """Of one image in several splits: the pictures that stay, with what the others say."""
        mine, every = _ordered(pictures)
        others = [one for one in every if one.file not in self._opinions]
        own: list[Picture] = []
        for one in every:
            if one.file not in self._opinions:
                continue
            if any(final_split(one) == final_split(another) for another in (*mine, *own)):
                self._left.setdefault((one.file, mine[0].file), []).append(one.path)
            else:
                own.append(one)
        for one in (*mine[1:], *own):
            self._twice.setdefault((one.file, mine[0].file, mine[0].split), []).append(one.path)
        for other in others:
            key = other.file, mine[0].file, other.split, mine[0].split
            self._moved.setdefault(key, []).append(other.path)
            for one in mine:
                self._take_entry(one, other)
                self._take(one, other)
        return [*(_reading(one, others) for one in mine), *own]

    def _take_entry(self, mine: Picture, other: Picture) -> None:
        """What a file of all says of an image itself, and that of its split doesn't."""
        first, second = (self._labels.kept.get(one.split, {}).get("licenses") for one in (mine, other))
        for key, value in other.kept.items():
            if key in _OF_LIST:
                continue
            if key == _LICENSE and key not in mine.kept and first != second:
                is_same = False
            else:
                is_same = mine.kept.setdefault(key, value) == value
            if not is_same:
                self._differing.setdefault((other.file, mine.file, key), []).append(mine.path)

    def _take(self, mine: Picture, other: Picture) -> None:
        if mine.size and other.size and differ(mine.size, other.size):
            text = f"{mine.where} says {shown(mine.size)} pixels, and {other.where} {shown(other.size)}"
            self._labels.complain("label-size", mine.path, text)
        mine.size = together(mine.size, other.size)
        mine.tags += [tag for tag in other.tags if tag not in mine.tags]
        mine.beside = other.beside | mine.beside

    def say(self) -> None:
        """Say of how many images of each file something was done."""
        for (file, other, split), images in self._twice.items():
            count = counted(len(images), "image that is", "images that are")
            text = f"has {count} in {other} too, and of {split or 'no split'} by it; packed in both, as {images[0]}"
            self._labels.note(file, text)
        for (file, other), images in self._left.items():
            count = counted(len(images), "image that is", "images that are")
            text = f"has {count} in {other} too, with other objects, as {images[0]}: those weren't taken"
            self._labels.complain("label", file, f"{text}. If they count, give it alone with --labels-from")
        for (file, other, _, split), images in self._moved.items():
            count = counted(len(images), "image that is", "images that are")
            text = f"has {count} in {other} too, and of {split or 'no split'} by it, as {images[0]}"
            self._labels.note(file, f"{text}; of that now, with the labels of both")
        for (file, other, key), images in self._differing.items():
            count = counted(len(images), "image")
            why = "numbers licenses otherwise" if key == _LICENSE else "says another one"
            text = f"its {key} of {count} wasn't kept, as {other} {why}: {images[0]}"
            self._labels.complain("label", file, text)
        self._keep_heads()

    def _keep_heads(self) -> None:
        """Of files of whose own split no image is, keep what they say of themselves; or say that it isn't kept."""
        left = {picture.split for picture in self._labels.pictures}
        for file, other, old, new in self._moved:
            for known in (self._labels.kept, self._labels.beside):
                said = known.get(old) if old not in left else None
                if not said:
                    continue
                if not known.setdefault(new, said):
                    known[new] = said
                if differing := [key for key, value in said.items() if known[new].get(key) != value]:
                    text = f"its {' and '.join(differing)} wasn't kept, as {other} says something else of itself"
                    self._labels.note(file, text)


def _reading(mine: Picture, others: list[Picture]) -> Picture:
    """A picture with the objects of others, too."""
    if not others:
        return mine
    attributes = [one.attributes for one in (mine, *others)]
    return replace(
        mine,
        read=_Several([mine, *others]),
        attributes=lambda: (found for each in attributes for found in each()),
    )


def _size_for(one: Picture, other: Picture) -> tuple[int, int]:
    """A size to read objects with that are only compared."""
    return whole(one.size) or whole(other.size) or _ANY_SIZE


class _Several:
    """Reads the objects of an image from several places; equal ones of two places are one. It's said if not all are."""

    __slots__ = ("_pictures",)

    def __init__(self, pictures: list[Picture]) -> None:
        self._pictures = pictures

    def __call__(self, width: int, height: int, complain: Complain) -> list[Thing]:
        known: dict[Any, list[tuple[Thing, _Content]]] = {}
        found: list[Thing] = []
        first = self._pictures[0]
        for picture in self._pictures:
            things = [(thing, _content(thing)) for thing in picture.read(width, height, complain)]
            same: set[int] = set()
            new = []
            for thing, content in things:
                thing.files = thing.files or (picture.file,)
                equal = [one for one, other in known.get(_bucket(thing), ()) if other == content]
                same.update(map(id, equal))
                for one in equal:
                    one.files = tuple({*one.files, *thing.files})
                if not equal:
                    new.append((thing, content))
            if picture.where != first.where and things and (new or len(same) < len(found)):
                text = f"{first.path}: {first.where} says other objects of it; those of both are there"
                complain("label-note", f"{picture.where}: {text}")
            for thing, content in new:
                known.setdefault(_bucket(thing), []).append((thing, content))
            found += [thing for thing, _ in new]
        return found


_Content = tuple[Any, ...]


def _bucket(thing: Thing) -> Any:
    """So that not each object is held against each."""
    return bucket_of(thing.label, thing.shapes)


def _content(thing: Thing) -> _Content:
    """What an object says, whatever its number in its file is."""
    kept = {key: value for key, value in thing.kept.items() if key not in _OF_FILE}
    return thing.label, thing.shapes, thing.attributes, kept
