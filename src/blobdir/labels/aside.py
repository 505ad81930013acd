"""Label files that somebody has set aside: ``labels_old.csv`` beside ``labels.csv``, ``backup/`` beside ``labels/``.

Where labels lie in their proper place, such a file isn't read, and that is said: what it says was taken back, perhaps.
Words say so, in its name or in those of folders around it: see `words_aside`. They say nothing where all images that it
names lie in folders that are called so; what other images' folders are called, or images, is of no account.

A file with the labels of many images has such a word, and another one is called the same without it, or it has no other
word; or its folder has, and there is another one elsewhere. But words are only words. If it names any image of the data
set that the other one, or those of the splits, don't, both count where they name different images, or say the same. If
they say different things of one, it's another version: then nobody has its labels. No image is left out for that.

Of files with the labels of one image, the folder counts: one that is called like labels and something else,
``labels_v1``, or has such a word, is no place for those of images if most others in their own folder have theirs in
``labels``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.model import LabelError, Picture
from blobdir.labels.namesakes import folders_of, is_below
from blobdir.labels.nearby import without_labels, words_of
from blobdir.labels.nested import are_equal
from blobdir.labels.shared import have_equal_objects
from blobdir.labels.splitnames import split_in_name, split_of_folders
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.formats import Format
    from blobdir.labels.model import Labels

_ASIDE: Final = frozenset(
    (
        *("old", "older", "previous", "prev", "outdated", "obsolete", "deprecated", "archive", "archived"),
        *("removed", "rejected", "deleted", "discarded", "trash", "unused", "draft", "drafts"),
        *("backup", "backups", "bak", "bkp", "copy"),
        *("pseudo", "pred", "preds", "predicted", "prediction", "predictions"),
    )
)
"""Words that say so, of what is older, taken back, a copy, or a program's guess."""
_ASIDE_IN_FOLDERS: Final = _ASIDE | {"v", "version"}
"""The same of folders: also those of another version, as ``v1``."""
_OF_ALL: Final = frozenset(["instances", "default", "result", "data", "export"])
"""Words in names of label files that say nothing."""
_WORD: Final = re.compile("[a-z]+")


@dataclass(frozen=True, slots=True)
class Aside:
    """A file with the labels of many images that was set aside.

    Attributes
    ----------
    other : str
        The one that counts.
    images : set of str
        Those that it names.
    """

    other: str
    images: set[str]


def set_aside(kind: Format, files: LabelFiles, images: Images) -> dict[str, Aside]:
    """Files with the labels of many images that were set aside.

    Parameters
    ----------
    kind : Format
    files : LabelFiles
    images : Images
    """
    if kind.is_of_each:
        return {}
    calls = {path: _Called(path, images) for path in kind.paths(files)}
    odd = {path: call for path, call in calls.items() if call.aside and kind.knows(path, files.head(path))}
    if not odd:
        return {}
    found = {}
    named = _Named(kind, files, images)
    counting = [path for path in calls if path not in odd and kind.knows(path, files.head(path))]
    for path, mine in odd.items():
        mine.excuse(named.images_of(path))
        if not mine.aside:
            counting.append(path)
    for path, mine in odd.items():
        if not mine.aside:
            continue
        others = [other for other in counting if mine.is_beside(calls[other])]
        same = [other for other in others if mine.may_be_version_of(calls[other])]
        if others and (other := named.version_of(path, others) or named.differing(path, same)):
            found[path] = Aside(other, named.images_of(path))
    return found


class _Named:
    """The images that files name, each by itself; a file is read once."""

    def __init__(self, kind: Format, files: LabelFiles, images: Images) -> None:
        self._kind, self._files, self._images = kind, files, images.anew()
        self._known: dict[str, dict[str, Picture]] = {}

    def version_of(self, path: str, others: list[str]) -> str:
        """Another file that names all images of a file; or the splits' file with most, if these do together."""
        mine = self.images_of(path)
        found: dict[str, set[str]] = {}
        for other in others if mine else ():
            found[other] = mine & self.images_of(other)
            if found[other] == mine:
                return other
        found = {other: some for other, some in found.items() if split_in_name(other) or split_of_folders(other)}
        return max(found, key=lambda one: len(found[one])) if mine and mine == set().union(*found.values()) else ""

    def differing(self, path: str, others: list[str]) -> str:
        """Another file that has other objects of an image; empty: none."""
        mine = self._of(path)
        for other in others:
            for image, picture in self._of(other).items():
                if image in mine and not have_equal_objects(mine[image], picture):
                    return other
        return ""

    def images_of(self, path: str) -> set[str]:
        """The images of a file; none if it can't be read, as is said where it's read with the others."""
        return set(self._of(path))

    def _of(self, path: str) -> dict[str, Picture]:
        if path not in self._known:
            try:
                labels = self._kind.read(self._files.only(path), self._images)
            except LabelError:
                labels = None
            pictures = labels.pictures if labels else ()
            self._known[path] = {picture.path: picture for picture in pictures if picture.is_labelled}
        return self._known[path]


def words_aside(path: str, images: Images, named: Iterable[str] = (), own: str = "") -> set[str]:
    """Words that say that a label file was set aside.

    Parameters
    ----------
    path : str
    images : Images
    named : iterable of str
        The images that it names. Where all of them lie in folders that are called so, the word says nothing; nor if
        one does, and that's where images of labels in its folder lie by custom.
    own : str
        What the image is called that is the only one: the name of its label file may say the same.
    """
    name, folder, others = _called(path, images)
    found = ((name - _words([own.lower()])) & _ASIDE) | ((folder | others) & _ASIDE_IN_FOLDERS)
    places = {dirname(image) for image in named} if found else set()
    if not places:
        return found
    near = images.near(dirname(path))
    top, by_custom = near.scopes[0], _words(map(str.lower, near.scopes[1:]))
    words = [_words([(place[len(top) :] if is_below(f"{place}/", top) else place).lower()]) for place in places]
    return {word for word in found if not (all if word not in by_custom else any)(word in some for some in words)}


def _called(path: str, images: Images) -> tuple[set[str], set[str], set[str]]:
    """The words in a label file's name, in those of folders of labels around it, and of others without its images."""
    near = images.near(dirname(path))
    name = without_labels(splitext(basename(path))[0])
    return _words([name]), _words(near.words), _words(map(str.lower, near.must))


class _Called:
    """What a label file and its folder are called."""

    def __init__(self, path: str, images: Images) -> None:
        name, folder, others = _called(path, images)
        self.aside = words_aside(path, images)
        self._path, self._images = path, images
        self._scope = images.near(dirname(path)).scopes[0]
        self._in_folders = folder | others
        self._all_others = (name | folder) - _ASIDE - _OF_ALL

    @property
    def _is_folder(self) -> bool:
        return not self.aside.isdisjoint(self._in_folders)

    @property
    def _others(self) -> set[str]:
        return set() if self._is_folder else self._all_others

    def excuse(self, named: Iterable[str]) -> None:
        """Forget words that the folders of all images that it names are called."""
        self.aside = words_aside(self._path, self._images, named)

    def is_beside(self, other: _Called) -> bool:
        """Whether another file would be called the same without these words, and may have labels of the same images."""
        is_same = self._scope == other._scope or not other._scope or is_below(self._scope, other._scope)
        return is_same and (not self._others or self._others == other._others)

    def may_be_version_of(self, other: _Called) -> bool:
        """Whether a file beside this one would be called just the same, or this one lies in a folder that says so."""
        return self._is_folder or self._others == other._others


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text)}


def name_aside(aside: dict[str, Aside], files: LabelFiles, labels: Labels) -> None:
    """Name files that `set_aside` has found, but for those that are the one that counts to the last byte.

    Images that no other file names are there all the same, with nothing in them.
    """
    there = {picture.path for picture in labels.pictures}
    named = {picture.path for picture in labels.pictures if picture.is_labelled}
    for path, one in aside.items():
        if are_equal(files, path, one.other):
            continue
        text = f"is called like labels that were set aside, and {one.other} is there: it wasn't read"
        if left := sorted(one.images - named):
            text += f", so nothing is in {counted(len(left), 'image')} that no other file names, as {left[0]}"
        labels.complain("label", path, f"{text}. Rename it if it counts, or give it alone with --labels-from")
        left = [image for image in left if image not in there]
        labels.pictures += [Picture(image, "", image, lambda *_: (), is_labelled=False) for image in left]
        there.update(left)


def is_aside(file: str, image: str, images: Images) -> bool:
    """Whether a file with the labels of one image says that it was set aside, and the image's folders don't."""
    return bool(words_aside(file, images, [image], splitext(basename(image))[0]))


def without_aside(owners: dict[str, str], images: Images, labels: Labels) -> dict[str, str]:
    """Image -> its label file, without those in folders that were set aside; they are named.

    Parameters
    ----------
    owners : dict
        Image -> the file with its labels.
    images : Images
    labels : Labels
        Told of them.
    """
    proper: dict[str, list[str]] = {}
    odd: dict[str, list[str]] = {}
    for image, file in owners.items():
        is_odd = images.near(dirname(file)).words - words_of(folders_of(image))
        (odd if is_odd or is_aside(file, image, images) else proper).setdefault(dirname(image), []).append(image)
    found = dict(owners)
    for folder, some in odd.items():
        most = proper.get(folder, [])
        for image in some if len(most) > len(some) else ():
            file = found.pop(image)
            text = (
                f"is of {image}, and labels of images there lie in {dirname(owners[most[0]]) or 'the top folder'}: it "
                "wasn't read. Put it there if it counts, or give its folder with --labels-from"
            )
            labels.complain("label", file, text)
    _name_several(found, labels)
    return found


def _name_several(owners: dict[str, str], labels: Labels) -> None:
    """Say of which images in one folder the labels lie in several."""
    folders: dict[str, Counter[str]] = {}
    for image, file in owners.items():
        folders.setdefault(dirname(image), Counter())[dirname(file)] += 1
    for folder, found in folders.items():
        if len(found) > 1:
            counts = [f"in {place or '.'} ({counted(count, 'image')})" for place, count in sorted(found.items())[:3]]
            shown = " and ".join(counts)
            labels.note(folder or ".", f"has images whose labels lie {shown}")
