"""Data sets that lie in each other: an image of the inner one isn't that of labels of the outer one.

A copy of a set, or another one, may lie in its folder, and images of the outer one may be missing. Their labels, which
only say a name, would be found to mean the namesakes further below. So of several label files that mean an image, that
has it whose folder lies nearest around it; and where a folder further below has labels of its own, in the same place as
the outer labels have, its images are theirs. An image at the very path that is said, seen from the label file's folder
or one above it, is meant all the same; so is one whose set lies in a folder of the split, unless labels there mean it.

Images of the inner one may be missing, too. What its labels say, seen from the outer one's folder, may be there: it's
that of the outer labels. A folder is such a set of its own if labels in it mean images in it, as seen from there; or if
they lie in the same place as the outer ones do. So of an outer image and its namesakes in such sets, labels that say
just a name mean the outer one.
"""

from __future__ import annotations

from posixpath import basename, dirname, join
from typing import TYPE_CHECKING

from blobdir.filenames import parents_of
from blobdir.labels.model import LabelError
from blobdir.labels.namesakes import folders_of, is_below
from blobdir.labels.nearby import is_named_for_labels
from blobdir.labels.splitnames import families, is_of_split, split_below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.labels.claims import Meaning
    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.formats import Format


def inner_sets(kind: Format, files: LabelFiles) -> set[str]:
    """Folders with label files in the same place as those of a folder around them, each a data set in another one.

    Files with the labels of many images must be called the same, too.
    """
    if kind.is_of_each:
        places = {dirname(path) for path in kind.paths(files)}
    else:
        places = {path for path in kind.paths(files) if kind.knows(path, files.head(path))}
    found: set[str] = set()
    for place in places if len(places) > 1 else ():
        for top in parents_of(place):
            rest = place[len(top) + 1 :]
            if any(join(outer, rest) in places for outer in (*parents_of(top), "")):
                found.add(top)
    return found


def of_inner_sets(
    meanings: dict[int, Meaning], files: LabelFiles, images: Images, *, of_one: bool = False
) -> dict[int, str]:
    """Names that can't mean what was found for them, as that is in a set of its own: number -> what to say of it.

    Parameters
    ----------
    meanings : dict
        By number.
    files : LabelFiles
        Those that are the same to the last byte don't speak against each other.
    images : Images
    of_one : bool
        Whether each file has the labels of one image.
    """
    folders = {i: one.file if of_one else dirname(one.file) for i, one in meanings.items()}
    sets = _Sets(images)
    by_image: dict[str, list[int]] = {}
    for i, one in meanings.items():
        sets.note(folders[i], one, of_one=of_one)
        by_image.setdefault(one.found.path, []).append(i)
    wrong: dict[int, str] = {}
    known: dict[tuple[str, str], bool] = {}
    for path, numbers in by_image.items():
        around = [i for i in numbers if is_below(path, sets.of(folders[i]))]
        nearest = max(around, key=lambda i: len(sets.of(folders[i])), default=numbers[0])
        owner = meanings[nearest]
        for i in numbers:
            one, place = meanings[i], sets.of(folders[nearest])
            is_outer = i in around and len(sets.of(folders[i])) < len(place)
            why = f"it's that of {owner.where}"
            if is_outer and _are_equal(files, _file(one, of_one), _file(owner, of_one), known):
                continue
            if not is_outer:
                place = sets.inner(folders[i], path) or images.noted.refused_in(path, folders[i])
                why = f"{place} has labels of its own"
            if place and not _is_there(one, folders[i], "" if is_outer else place, images):
                wrong[i] = why
        for i in numbers:
            if i in wrong or not (place := sets.own(folders[i], meanings[i], of_one=of_one)):
                continue
            others = (_file(meanings[j], of_one) for j in numbers if not is_below(folders[j] + "/", place))
            if not any(_are_equal(files, _file(meanings[i], of_one), other, known) for other in others):
                wrong[i] = f"{place} has labels of its own"
    return wrong


class _Sets:
    """Folders that label files speak for, and where in them these lie."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._places: dict[str, set[str]] = {}
        self._owning: set[str] = set()
        self._files: set[str] = set()
        self._noted: set[tuple[str, str, str]] = set()

    def of(self, folder: str) -> str:
        """The folder that label files in a folder speak for."""
        return self._images.near(folder).scopes[0]

    def note(self, folder: str, one: Meaning, *, of_one: bool) -> None:
        """Note that a folder has labels of an image: of one in each folder around both, as it can be that of a set."""
        path, base = one.found.path, one.found.base
        if not of_one:
            self._files.add(one.file)
        key = folder, dirname(path), base
        if key in self._noted:
            return
        self._noted.add(key)
        for top in (folder, *parents_of(folder), ""):
            if is_below(path, top) and (place := _inside(folder, top)) is not None:
                self._places.setdefault(top, set()).add(place)
                if is_below(f"{base}/", top):
                    self._owning.add(top)

    def own(self, folder: str, one: Meaning, *, of_one: bool) -> str:
        """The folder around labels that is a set of its own, where their image isn't in it; empty: none."""
        path = one.found.path
        if one.found.is_relative:
            return ""
        for top in (folder, *parents_of(folder)):
            if is_below(path, top):
                break
            if top in self._owning:
                return top
            if basename(top) in folders_of(path) or (
                is_named_for_labels(basename(top)) and not self._images.holds(top)
            ):
                continue
            place, name = _inside(folder, top), "" if of_one else one.file[len(top) :].strip("/")
            for outer in (*parents_of(top), ""):
                is_same = place in self._places.get(outer, ()) if place else join(outer, name) in self._files
                if is_below(path, outer) and name + (place or "") and is_same:
                    return top
        return ""

    def inner(self, folder: str, path: str) -> str:
        """The folder around an image, below that which labels speak for, that has such labels itself; empty: none.

        Labels that lie in that folder are those of it, however it's called: ``labels/labels``.
        """
        top = self.of(folder)
        place = _inside(folder, top)
        inner: Iterable[str] = (
            one for one in parents_of(path) if one != top and is_below(one, top) and _inside(folder, one) is None
        )
        return next((one for one in inner if place in self._places.get(one, ())), "")


def _inside(folder: str, top: str) -> str | None:
    """The first folder on the way from one down to another one; empty: they are the same."""
    if folder != top and not is_below(folder, top):
        return None
    return folder[len(top) :].strip("/").partition("/")[0]


def _is_there(one: Meaning, folder: str, place: str, images: Images) -> bool:
    """Whether an image is surely meant, though there are other labels in a folder around it.

    `place`: that folder, which may say the split; empty if labels there mean the image.
    """
    found, near = one.found, images.near(folder)
    is_said = found.exact and not found.dropped and found.base in (*near.bases, *near.beside)
    is_of_folder = not near.families.isdisjoint(families([one.split]))  # then the image lies in that one
    split = split_below(one.split, near.scopes[0])
    return is_said or (bool(place and split) and not is_of_folder and is_of_split(f"{place}/", split))


def _file(one: Meaning, of_one: bool) -> str:
    return one.where if of_one else one.file


def _are_equal(files: LabelFiles, one: str, other: str, known: dict[tuple[str, str], bool]) -> bool:
    if (one, other) not in known:
        known[one, other] = are_equal(files, one, other)
    return known[one, other]


def are_equal(files: LabelFiles, one: str, other: str) -> bool:
    """Whether two files are the same to the last byte."""
    try:
        return files.read(one) == files.read(other)
    except LabelError:
        return False
