"""What the place of labels says that somebody gives by themselves: whose they are, wherever it's given from.

Labels that are given (``labels/val``, ``val/_annotations.coco.json``, ``annotations/val/all.json``) are seen from their
own folder, so what this one and those above it are called is in no path of theirs. It counts for nothing where it's
called like none of images (``annotations_2024``), as a folder is given for that. But images have equal names in each
split, of each camera; so labels whose place is called like a split, or like another folder of images, are of those
images and of no others. This is the one place that asks, for all formats.

Names in both paths say nothing: what counts of each is below the folder that both lie in. There, from the end up,
folders that are named for labels or images are passed by; so are those that both have. The next one tells. Then

- where the folder of images that is packed tells another split, nothing is theirs, and it's refused: `refused`. So is
  it if there is a folder beside it that is called like that of the labels: ``images/cam1``, for ``images/cam2``;
- in it, they are of images in folders called so, where there are such, or in none of another split: the names in the
  label files are looked up as those of files that say that split themselves, see `blobdir.labels.finding`. What a file
  says itself counts before what its place says, and also against the folder that is packed: `of_another_split`.

Who means it nevertheless calls the folder or the file otherwise; a link does, too, unless it leads to such a place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.labels.calledfor import telling_words
from blobdir.labels.nearby import without_labels
from blobdir.labels.splitnames import said_splits, split_below

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blobdir.labels.claims import Meaning

RENAME: Final = "if they belong together, rename one"
"""How to insist."""


class Given(NamedTuple):
    """What places are called: a split, if one says it, or else a folder; empty: nothing.

    Attributes
    ----------
    labels : str
        That of the labels.
    images : str
        The folder that is packed.
    """

    labels: str = ""
    images: str = ""

    def split(self, said: str, scope: str, names: set[str], known: set[str]) -> str:
        """The split to look for a name in, of which a label file itself says one, or none.

        Parameters
        ----------
        said : str
        scope : str
            The folder that the label file speaks for.
        names, known : set of str
            What folders of images in it are called, and the splits that these speak of.
        """
        name = split_below(self.labels, scope)
        if not name or said_splits(said) or said.lower() in names:
            return said
        return name if name in names or (known and said_splits(name)) else said

    def tells(self, split: str) -> bool:
        """Whether a split, by which no image was found, is told by the place of labels that are given."""
        return split == self.labels or said_splits(split) == said_splits(self.labels) != set()

    def is_of_another(self, splits: set[str]) -> bool:
        """Whether the folder that is packed is of another split than these."""
        mine = said_splits(self.images)
        return bool(mine) and bool(splits) and mine.isdisjoint(splits)


NOT_GIVEN: Final = Given()
"""Of labels that lie among the images."""


def given_places(labels: str, root: str, images: Iterable[str]) -> Given:
    """What the places are called of labels that are given, and of images.

    Parameters
    ----------
    labels, root : str
        File or folder of labels, and folder of the images, on this machine.
    images : iterable of str
        Paths below that one.
    """
    shared = {part.lower() for folder in {os.path.dirname(path) for path in images} for part in folder.split("/")}
    found = Given()
    for real in (os.path.abspath, os.path.realpath):
        ours, theirs = real(labels), real(root)
        mine = _chosen(_telling(ours, theirs, shared), shared)
        other = _chosen(_telling(theirs, ours, shared), set())
        found = Given(_surer(found.labels, mine), _surer(found.images, other))
    return found


def _chosen(names: list[tuple[str, str]], folders: set[str]) -> str:
    """Of names that tell, the split; or else the folder of images that is called like one; empty: none."""
    for name, _ in names:
        if said_splits(name):
            return name
    words = [telling_words(name) for name, _ in names]
    return next((folder for folder in sorted(folders) if folder and telling_words(folder) in words), "")


def of_another_split(meanings: Mapping[int, Meaning], given: Given, *, of_one: bool = False) -> dict[int, str]:
    """Names in files that say another split than the folder that is packed does: number -> what to say.

    What a column or key says of an image counts before, and so do the folders that the image lies in there.

    Parameters
    ----------
    meanings : mapping
        By number.
    given : Given
    of_one : bool
        Whether each file has the labels of one image, so folders are told apart.
    """
    if not given.images:
        return {}
    said: dict[str, set[str]] = {}
    found = {}
    for i, one in meanings.items():
        if one.file not in said:
            *folders, name = (one.file if of_one else os.path.splitext(one.file)[0]).split("/")
            said[one.file] = next(filter(None, map(said_splits, (name, *reversed(folders)))), set())
        is_known = not said_splits(one.split) <= said[one.file] or any(map(said_splits, one.found.path.split("/")[:-1]))
        if not is_known and given.is_of_another(said[one.file]):
            mine = " and ".join(sorted(said[one.file]))
            found[i] = f"{one.file} is of {mine} by its name, and the folder that is packed is called {given.images}"
    return {i: f"{text}; {RENAME}" for i, text in found.items()}


def refused(given: Given, labels: str, root: str) -> str:
    """Why labels can be of no image in a folder; empty: they can."""
    mine, other = said_splits(given.labels), said_splits(given.images)
    if mine and given.is_of_another(mine):
        text = f"{labels}: is of {' and '.join(sorted(mine))} by its name, and {root} of {' and '.join(sorted(other))}"
    elif not mine and not other and (beside := _beside(labels, root)):
        text = f"{labels}: is called like {beside}, and {root} isn't"
    else:
        return ""
    return f"{text}, so its labels would be those of other images; {RENAME}"


def _surer(one: str, other: str) -> str:
    """What tells more of two names: one that says a split, or else the first."""
    return other if not one or (said_splits(other) and not said_splits(one)) else one


def _beside(labels: str, root: str) -> str:
    """The folder beside that of images which is called like the place of labels, and isn't that of the labels."""
    ours, theirs = os.path.abspath(labels), os.path.abspath(root)
    mine = [telling_words(name) for name, _ in _telling(ours, theirs, set())]
    for name, folder in _telling(theirs, ours, set())[:1] if mine else ():
        if telling_words(name) in mine:
            continue
        above = os.path.dirname(folder)
        try:
            folders = sorted(entry.name for entry in os.scandir(above) if entry.is_dir())
        except OSError:
            continue
        beside = [os.path.join(above, one) for one in folders if telling_words(one) in mine]
        return next((one for one in beside if not f"{ours}/".startswith(f"{one}/")), "")
    return ""


def _telling(path: str, other: str, shared: set[str]) -> list[tuple[str, str]]:
    """What a file or folder is called, as seen from what it has in common with another one; and where that is.

    `shared`: names of folders, in small letters, that are passed by in search of a split, as both have them.
    """
    top = os.path.commonpath([path, other])
    found: list[tuple[str, str]] = []
    passed = shared | {part.lower() for part in other[len(top) :].split(os.sep)}
    is_file = not os.path.isdir(path)
    while len(path) > len(top):
        name = _name(os.path.splitext(os.path.basename(path))[0] if is_file else os.path.basename(path))
        if said_splits(name) or telling_words(name):
            found.append((name, path))
        if said_splits(name) or (found and not is_file and name not in passed and telling_words(name)):
            break
        path, is_file = os.path.dirname(path), False
    return found


def _name(name: str) -> str:
    """What a file or folder is called but for labels and formats, in small letters."""
    return without_labels(name).strip("-_. ")
