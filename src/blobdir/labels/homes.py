"""Where the images of label files lie, as most of these say: their home.

A label file that only says a name is of the image that is called so, wherever that lies below. If its image is missing,
that may be a mask, a depth map, a thumbnail, a copy of another size. The other labels tell where images lie. What is
found in another folder than most others isn't meant if

- images there without labels are called like those at home: it's a copy of these, or their masks;
- names that these labels say are there and elsewhere, so it's unclear of them which is meant: one is a copy, too;
- it's called for masks or the like, and the home isn't, and just a few of its images, or of their share, have labels;
- just one or two of its images have labels, and the home is called for images (``images``, ``img``), the labels lie in
  a folder beside it, as ``xmls``, and the other folder isn't called so: that is what `blobdir.labels.nearby` knows of
  pairs with usual names;
- the extension of a few images isn't the one that is said, and others' are; or of many, if there are others of this
  extension beside them that are called like images which are found as they are said: these are copies of all.

A folder with many labelled images and none of those differences is a home as well, whatever it's called: it's of a
class, a camera, a split. A folder for masks is no home where it's the only one, if no label says the whole name of an
image in it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from posixpath import basename, commonpath, dirname, join, splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import IMAGE_EXTENSIONS
from blobdir.labels.companions import is_for_companions
from blobdir.labels.namesakes import is_below, known_as, spelled_alike, stem_of
from blobdir.labels.nearby import words_of
from blobdir.labels.splitnames import is_split, kind_of_split, without_splits

if TYPE_CHECKING:
    from blobdir.labels.finding import Found, Images

_FOR_IMAGES: Final = re.compile(r"imag|img|jpe?g|photo|pictur|frame|rgb|^pics?$", re.IGNORECASE)
"""What folders of images are called for what is in them."""
_OF_A_CAMERA: Final = re.compile(r"thermal|^n?ir$", re.IGNORECASE)
"""Folders called so have images of their own, if no others are there."""
_SEVERAL: Final = 3
"""So many images with labels speak for a folder."""
_ALL: Final = 2
"""So many do, if none is there without labels."""
_MANY: Final = 10
"""So many speak even for a folder that is called for masks, however many are there without labels."""
_BY_NAME: Final = 4
"""An image found by its whole name counts as so many that are found without their extension."""
_ELSEWHERE: Final = "most others beside it are in another folder, and this isn't one of their images"
OTHERWISE: Final = "most others beside it are in another folder, which is called for images, and its own isn't"
"""What's said of an image that is meant if its labels are given by themselves."""
_COPY: Final = "its folder is called for masks or the like, or has copies: other images in it are called like some in"
SAVED_OTHERWISE: Final = (
    "it has another extension than is said, and others beside it are called like images that are there as said, so it "
    "may be a copy"
)
_FOR_MASKS: Final = "its folder is called for masks or the like, and no label says the whole name of an image in it"


_TOP: Final = "the folder that is packed"


@dataclass(frozen=True, slots=True)
class _Places:
    """Folders in which images of labels were found.

    Attributes
    ----------
    named, called : Counter of str
        How many were found by what is said; how many are only called like their file.
    own : dict
        The images that were found in each, without their extension.
    whole : set of str
        Those in which one was found by its whole name.
    stems : set of str
        All images that were found, without their extension.
    """

    named: Counter[str]
    called: Counter[str]
    own: dict[str, set[str]]
    whole: set[str]
    stems: set[str]

    def count(self, place: str) -> int:
        """How many labels' images are there."""
        return self.named[place] + self.called[place]

    def home(self) -> str:
        """The folder that speaks for the others; never one for masks, if there's another."""
        start = min(self.own).split("/")
        last = max(self.own).split("/")
        shared = next((i for i, (one, other) in enumerate(zip(start, last, strict=False)) if one != other), 0)
        return max(
            self.own,
            key=lambda one: (
                not any(map(is_for_companions, one.split("/")[shared:])),
                _BY_NAME * self.named[one] + self.called[one],
                _is_called_for_images([one]),
                one,
            ),
        )


def _places(every: list[Found]) -> _Places:
    found = _Places(Counter(), Counter(), {}, set(), set())
    for one in every:
        place = dirname(one.path)
        (found.called if one.named else found.named)[place] += 1
        stem = spelled_alike(stem_of(one.path))
        found.own.setdefault(place, set()).add(stem)
        found.stems.add(stem)
        if is_whole(one):
            found.whole.add(place)
    return found


class Homes:
    """Tells which images lie elsewhere than most others of their labels.

    Parameters
    ----------
    images : Images
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._stems = images.in_folders.stems

    def copies(self, every: list[Found], folders: list[str]) -> set[int]:
        """Numbers of the images that are copies, of another extension than is said, of some that are missing.

        In their folder, or in that of another split, are others of their extension that are called like images which
        are found by their whole names, of the same split if folders say one, and have no labels themselves. Capitals
        make an extension another one, too.

        Parameters
        ----------
        every : list of Found
        folders : list of str
            Where each of these labels lies; those of other splits count together.
        """
        groups: dict[tuple[str, ...], list[int]] = {}
        for i, folder in enumerate(folders):
            groups.setdefault(tuple(without_splits(folder)), []).append(i)
        labelled = {found.path for found in every}
        return {i for numbers in groups.values() for i in self._copies_of(every, numbers, labelled)}

    def _copies_of(self, every: list[Found], numbers: list[int], labelled: set[str]) -> list[int]:
        called: dict[tuple[str, ...], list[int]] = {}
        for i in numbers:
            if has_other_extension(every[i]) or _is_spelled_otherwise(every[i]):
                called.setdefault((splitext(every[i].path)[1], *without_splits(dirname(every[i].path))), []).append(i)
        whole: dict[str, set[str]] = {}
        for i in numbers if called else ():
            if is_whole(every[i]) and not _is_spelled_otherwise(every[i]):
                split = kind_of_split(dirname(every[i].path))
                whole.setdefault(split, set()).add(spelled_alike(stem_of(every[i].path)))
        count = sum(map(len, whole.values()))
        copies: list[int] = []
        for (ending, *kind), some in called.items():
            twins = 0
            for folder in self._images.in_folders.of_kind(kind):
                paths = (join(folder, stem + ending) for stem in _of_split(whole, folder) & self._stems[folder])
                twins += sum(path in self._images.known and path not in labelled for path in paths)
            if _BY_NAME * twins > min(len(some), count):
                copies += some
        return copies

    def away(self, every: list[Found], folder: str) -> list[str]:
        """Of each image why it lies elsewhere; nothing: it doesn't.

        Parameters
        ----------
        every : list of Found
            Those of one label file; or of all that lie in a folder and have the labels of one image each.
        folder : str
            Where the labels lie.
        """
        if not any(map(_is_bare, every)):
            return [""] * len(every)
        places = _places(every)
        home = places.home()
        strange = {place: self._why_strange(place, home, folder, places) for place in places.own}
        if not places.whole and _is_plainly_for_masks(commonpath(places.own), folder):
            strange = dict.fromkeys(places.own, _FOR_MASKS)
        few_called = {
            place: place != home and bool(places.named[home]) and _is_few(places.called[place], places.named[home])
            for place in places.own
        }
        why = {
            (place, is_called): strange[place] or (_ELSEWHERE if is_called and few_called[place] else "")
            for place in places.own
            for is_called in (False, True)
        }
        return [why[dirname(found.path), bool(found.named)] if _is_bare(found) else "" for found in every]

    def _why_strange(self, place: str, home: str, folder: str, places: _Places) -> str:
        """Why a folder has no images of these labels."""
        if other := self._copied(place, folder, places):
            return f"{_COPY} {other}"
        if place != home:
            return self._why_elsewhere(place, home, folder, places)
        if not _is_plainly_for_masks(commonpath(places.own), folder):
            return ""
        stems = self._stems_in(place) - places.own[place]
        others = (one for one in self._stems if one not in places.own and not stems.isdisjoint(self._stems[one]))
        copied = next((one for one in others if self._is_copy(place, one, places)), None)
        return "" if copied is None else f"{_COPY} {copied or _TOP}"

    def _copied(self, place: str, folder: str, places: _Places) -> str:
        """Another folder with images of names that these labels say, so that it's unclear which of both is meant."""
        for other, count in self._images.noted.unclear_in(folder, place, places.stems).items():
            mine, others = _apart(other, place)
            is_odd = _is_odd(others) and not _is_odd(mine)
            is_better = (_is_odd(mine) and not _is_odd(others)) or (
                _is_called_for_images(others) and not _is_called_for_images(mine)
            )
            if not is_better and (10 if is_odd else 2) * count > places.count(place):
                return other or _TOP
        return ""

    def _why_elsewhere(self, place: str, home: str, folder: str, places: _Places) -> str:
        """Why a folder has no images of labels whose other ones lie at home; nothing: it has some."""
        if self._is_copy(place, home, places):
            return _ELSEWHERE
        count, most = places.count(place), places.count(home)
        size = len(self._stems_in(place))
        mine, other = _apart(home, place)
        if _is_odd(other) and not _is_odd(mine):
            is_share = count < _MANY and 2 * count * len(self._stems_in(home)) < most * size
            return _ELSEWHERE if (count < most and is_share) or self._is_lone(place, home, places) else ""
        are_beside = not any(is_below(f"{one}/", folder) for one in (place, home))
        is_other = are_beside and _is_called_for_images(mine) and not _is_peer(mine, other)
        return OTHERWISE if is_other and self._is_lone(place, home, places) else ""

    def _is_lone(self, place: str, home: str, places: _Places) -> bool:
        """Whether just a few images of a folder have labels, and it has others."""
        count = places.count(place)
        is_all = count >= _ALL and len(places.own[place]) == len(self._stems_in(place))
        return _is_few(count, places.count(home)) and not is_all

    def _is_copy(self, place: str, home: str, places: _Places) -> bool:
        """Whether images of a folder that have no labels are called like those at home."""
        here = self._stems_in(place)
        left = here - places.own[place]
        if not left:
            return False
        there = self._stems_around(home, place)
        twins, count = len(left & there), places.count(place)
        if 2 * twins > len(left) and (count < _SEVERAL or _BY_NAME * twins > count):
            return True
        mine, other = _apart(home, place)
        is_doubtful = not places.named[place] or (_is_odd(other) and not _is_odd(mine))
        return is_doubtful and 2 * twins > min(len(here), len(there))

    def _stems_around(self, home: str, place: str) -> set[str]:
        """Images at home, and in folders beside it; or of other splits, where a folder is none beside these itself."""
        above = dirname(home)
        if (above and is_below(place, above)) or without_splits(home) == without_splits(place):
            return self._stems_in(home)
        return self._images.in_folders.around(home)

    def _stems_in(self, folder: str) -> set[str]:
        return self._stems.get(folder, set())


def has_other_extension(found: Found) -> bool:
    """Whether an image was taken though its label file says a name with another extension."""
    said, own = (splitext(name)[1].lower() for name in (found.named, found.path))
    return said in IMAGE_EXTENSIONS and said != own


def _is_spelled_otherwise(found: Found) -> bool:
    """Whether an image was taken whose extension is said in other letters, small or capital, and its folder isn't."""
    said, own = (splitext(name)[1] for name in (found.said, found.path))
    is_same = said.lower() == own.lower() and said.lower() in IMAGE_EXTENSIONS
    return is_same and said != own and not found.named and "/" not in found.said


def _of_split(whole: dict[str, set[str]], folder: str) -> set[str]:
    """What images are called that a folder may have copies of: names may begin anew in each split."""
    split = kind_of_split(folder)
    every = [stems for one, stems in whole.items() if not split or one in ("", split)]
    return set().union(*every)


def is_whole(found: Found) -> bool:
    """Whether an image was found by the whole name that its label file says."""
    return not found.named and known_as(basename(found.said)) == known_as(basename(found.path))


def _is_few(count: int, most: int) -> bool:
    return count < min(_SEVERAL, most)


def _is_plainly_for_masks(place: str, folder: str) -> bool:
    """Whether a folder is called for masks below what it shares with that of the labels, and none in it for images."""
    parts = _apart(folder, place)[1]
    odd = [part for part in parts if is_for_companions(part)]
    return bool(odd) and not _is_called_for_images(parts) and not any(map(_OF_A_CAMERA.search, odd))


def _is_bare(found: Found) -> bool:
    """Whether just the name of an image was said, and it was found by that."""
    return not found.exact and not found.dropped and "/" not in found.said


def _is_odd(folders: list[str]) -> bool:
    return any(map(is_for_companions, folders))


def _apart(one: str, other: str) -> tuple[list[str], list[str]]:
    """The folders in two paths from where they differ."""
    mine, others = one.split("/"), other.split("/")
    while mine and others and mine[0] == others[0]:
        mine, others = mine[1:], others[1:]
    return mine, others


def _is_called_for_images(folders: list[str]) -> bool:
    return any(map(_FOR_IMAGES.search, folders))


def _is_peer(mine: list[str], other: list[str]) -> bool:
    """Whether a folder is called as one of images is, or of a split: not with more words, as ``images_small``."""
    if any(map(is_split, other)):
        return True
    if not _is_called_for_images(other):
        return False
    left, right = (_other_words(one) for one in (mine, other))
    return bool(left) or not right


def _other_words(folders: list[str]) -> set[str]:
    """What folders of images are called besides: ``small`` of ``images_small``; not the number of ``images_2``."""
    words = words_of(without_splits("/".join(folders)))
    return {word for word in words if not (_FOR_IMAGES.search(word) or word.isdecimal())}
