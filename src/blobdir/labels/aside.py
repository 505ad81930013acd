"""Label files that somebody has set aside: ``labels_old.csv`` beside ``labels.csv``, ``labels_v1/`` beside ``labels/``.

Where labels lie in their proper place, such a file isn't read, and that is said: what it says was taken back, perhaps.

A file with the labels of many images is set aside if its name has a word that says so, and another one is called the
same without it, or it has no other word; or if its folder has, and there is another one elsewhere. But words are only
words: if it names any image of the data set that the other one, or those of the splits, don't, both count.

Of files with the labels of one image, the folder counts: one that is called like labels and something else,
``labels_v1``, is no place for those of images if most others in their own folder have theirs in ``labels``.
"""

from __future__ import annotations

import re
from collections import Counter
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.finding import Images
from blobdir.labels.model import LabelError
from blobdir.labels.namesakes import folders_of, is_below
from blobdir.labels.nearby import without_labels, words_of
from blobdir.labels.nested import are_equal
from blobdir.labels.splitnames import split_in_name, split_of_folders
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.labels.files import LabelFiles
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
_OF_ALL: Final = frozenset(["instances", "default", "result", "data", "export"])
"""Words in names of label files that say nothing."""
_WORD: Final = re.compile("[a-z]+")


def set_aside(kind: Format, files: LabelFiles, images: Images) -> dict[str, str]:
    """Files with the labels of many images that were set aside -> the one that counts.

    Parameters
    ----------
    kind : Format
    files : LabelFiles
    images : Images
    """
    if kind.is_of_each:
        return {}
    calls = {path: _Called(path, images) for path in files.ending(*kind.kinds)}
    odd = {path: call for path, call in calls.items() if call.aside and kind.knows(path, files.head(path))}
    if not odd:
        return {}
    found = {}
    named = _Named(kind, files, images)
    counting = [path for path in calls if path not in odd and kind.knows(path, files.head(path))]
    for path, mine in odd.items():
        others = [other for other in counting if mine.is_beside(calls[other])]
        if others and (other := named.version_of(path, others)):
            found[path] = other
    return found


class _Named:
    """The images that files name, each by itself; a file is read once."""

    def __init__(self, kind: Format, files: LabelFiles, images: Images) -> None:
        self._kind, self._files, self._images = kind, files, Images(images.paths)  # it notes what it's asked for
        self._known: dict[str, set[str]] = {}

    def version_of(self, path: str, others: list[str]) -> str:
        """Another file that names all images of a file; or the splits' file with most, if these do together."""
        mine = self._of(path)
        found: dict[str, set[str]] = {}
        for other in others if mine else ():
            found[other] = mine & self._of(other)
            if found[other] == mine:
                return other
        found = {other: some for other, some in found.items() if split_in_name(other) or split_of_folders(other)}
        return max(found, key=lambda one: len(found[one])) if mine and mine == set().union(*found.values()) else ""

    def _of(self, path: str) -> set[str]:
        """The images of a file; none if it can't be read, as is said where it's read with the others."""
        if path not in self._known:
            try:
                labels = self._kind.read(self._files.only(path), self._images)
            except LabelError:
                labels = None
            pictures = labels.pictures if labels else ()
            self._known[path] = {picture.path for picture in pictures if picture.is_labelled}
        return self._known[path]


class _Called:
    """What a label file and its folder are called.

    Attributes
    ----------
    aside : set of str
        Words that say that it was set aside, unless images lie in a folder that is called so.
    """

    def __init__(self, path: str, images: Images) -> None:
        near = images.near(dirname(path))
        name = _words([without_labels(splitext(basename(path))[0])])
        folder = _words(near.words)
        self.aside = _ASIDE & (name | folder)
        if self.aside:
            self.aside -= images.words_in(near.scopes[0])
        self._scope = near.scopes[0]
        self._others = (name | folder) - _ASIDE - _OF_ALL if _ASIDE.isdisjoint(folder) else set()

    def is_beside(self, other: _Called) -> bool:
        """Whether another file would be called the same without these words, and may have labels of the same images."""
        is_same = self._scope == other._scope or not other._scope or is_below(self._scope, other._scope)
        return is_same and (not self._others or self._others == other._others)


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text)}


def name_aside(aside: dict[str, str], files: LabelFiles, labels: Labels) -> None:
    """Name files that `set_aside` has found, but for those that are the one that counts to the last byte."""
    for path, other in aside.items():
        if not are_equal(files, path, other):
            text = f"is called like labels that were set aside, and {other} is there: it wasn't read"
            labels.complain("label", path, f"{text}. Rename it if it counts, or give it alone with --labels-from")


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
        (odd if is_odd else proper).setdefault(dirname(image), []).append(image)
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
