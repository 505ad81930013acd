"""Label files that are called for a folder of images: what others say of its images isn't taken for them.

Images are called alike in each folder, of a camera, a day, a site, and each has a label file that is called like it:
``images/cam2`` and ``annotations/instances_cam2.json``. If the images of ``cam1`` aren't here, or some aren't, the
names in its file are still found, in another folder. This is the one place that asks, for files of all formats and for
folders with a file for each image, whose an image is then: that of the files which have most of the names of its
folders in theirs. Another one isn't, if

- it has a word that neither the image's path nor those files have: ``cam1``;
- it isn't one of all images, as ``all.json`` is, and ``bob.json`` with images of several folders that have files of
  their own; but ``cam1`` is none beside ``cam2``, as it's called alike; nor is what a program found, that's an opinion;
- no folder that it says before the name tells more, and the image doesn't lie where images of its labels belong.

Where no other folder has images of such names, there is one reading: ``signs`` beside ``street`` is of the same images.
So where objects are known, what such a file says is held against what those say that are called like the folder. It's
another folder's if they contradict each other on an image; and if it's called alike, unless they say the same of one.

A file that is called for a folder isn't of another one either, where both have images of one name. Splits have words
of their own, see `blobdir.labels.splitnames`, and count for nothing here.
"""

from __future__ import annotations

import re
from posixpath import dirname, splitext
from typing import TYPE_CHECKING, Final, NamedTuple
from unicodedata import normalize

from blobdir.labels.bystanders import is_called_for_predictions
from blobdir.labels.mixing import contradict
from blobdir.labels.nearby import without_labels
from blobdir.labels.splitnames import is_split

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping

    from blobdir.labels.claims import Meaning
    from blobdir.labels.finding import Images

_WORD: Final = re.compile(r"[^\W_]+")
_NUMBER: Final = re.compile(r"\d+")
_PLAIN: Final = frozenset(
    (
        *("all", "default", "full", "total", "complete", "merged", "combined", "everything", "dataset", "data", "set"),
        *("instances", "instance", "person", "keypoints", "keypoint", "captions", "stuff", "panoptic", "info", "pose"),
        *("image", "images", "img", "imgs", "jpegimages", "jpg", "jpeg", "png", "photo", "photos", "pictures", "pics"),
        *("objects", "object", "detection", "segmentation", "polygons", "export", "project", "task", "via", "files"),
    )
)
"""Words in the names of files and folders that say of no image which it is."""


_Name = frozenset[str]
"""Words in the name of a file or folder."""


class _Place(NamedTuple):
    """A label file, or a folder of such, as it names images.

    Attributes
    ----------
    file : str
    words : set of str
        In its path, and in the folders that it says.
    folder : str
        Of the images.
    """

    file: str
    words: _Name
    folder: str


def of_other_folders(
    meanings: Mapping[int, Meaning],
    images: Images,
    says: Callable[[int], Collection[Hashable]] | None = None,
    *,
    of_one: bool = False,
) -> dict[int, str]:
    """Names that can't mean what was found, as its folder has label files called like it: number -> what to say.

    Parameters
    ----------
    meanings : mapping
        By number.
    images : Images
    says : callable, optional
        Gives the objects that are said by a meaning of this number; None: nobody knows.
    of_one : bool
        Whether each file has the labels of one image, so folders are told apart.
    """
    files = {file: _words_of_file(file, of_one=of_one) for file in {one.file for one in meanings.values()}}
    if len(files) == 1 and not _is_for_one(next(iter(files.values())), images):
        return {}
    seen = {i: (one.file, *key) for i, one in meanings.items() if (key := _folders_of(one)) is not None}
    places = {key: _Place(key[0], files[key[0]] | telling_words(key[1]), key[2]) for key in set(seen.values())}
    owners = _Owners(files, set(places.values()), images)
    owned = {key: some for key, place in places.items() if (some := owners.of(place))}
    if says is not None and owned:
        owned = _contradicted(owned, owners, meanings, says)
    why: dict[tuple[str, str, str], str] = {}
    for names, place in places.items():
        if names in owned:
            why[names] = f"{owned[names][0]} is called like its folder, and {place.file} isn't"
        elif other := owners.home_of(place):
            why[names] = f"{place.file} is called like {other}, where images have such names, too"
    return {i: why[key] for i, key in seen.items() if key in why}


def _contradicted(
    owned: dict[tuple[str, str, str], list[str]],
    owners: _Owners,
    meanings: Mapping[int, Meaning],
    says: Callable[[int], Collection[Hashable]],
) -> dict[tuple[str, str, str], list[str]]:
    """Of names, by file and folders, whose images are those of other files, the ones that can't be of both."""
    by_file: dict[str, dict[str, int]] = {}
    for i, one in meanings.items():
        by_file.setdefault(one.file, {})[one.found.path] = i
    found = {}
    for (file, said, folder), some in owned.items():
        mine = {path: i for path, i in by_file[file].items() if dirname(path) == folder}
        pairs = ((i, by_file[other].get(path)) for other in some for path, i in mine.items())
        objects = ((says(i), says(theirs)) for i, theirs in pairs if theirs is not None)
        known = [contradict(one, other) for one, other in objects if one and other]
        is_other = any(known) or (not known and owners.are_alike(file, some[0]))
        if is_other or owners.have_namesakes(folder):
            found[file, said, folder] = some
    return found


def _folders_of(one: Meaning) -> tuple[str, str] | None:
    """The folders that are said before a name, and that of its image; None: this lies where it belongs."""
    if one.found.exact and "/" not in one.found.said:
        return None
    return dirname(one.found.said), dirname(one.found.path)


class _Owners:
    """Tells which label files are called like the folder of an image.

    Parameters
    ----------
    files : dict
        Label file -> the words in its path.
    places : set of _Place
    images : Images
    """

    def __init__(self, files: dict[str, _Name], places: set[_Place], images: Images) -> None:
        self._files, self._stems = files, images.in_folders.stems
        self._names = {folder: _names_in(folder) for folder in self._stems}
        self._with: dict[str, set[str]] = {}
        for file, words in files.items():
            for word in words:
                self._with.setdefault(word, set()).add(file)
        self._folders: dict[_Name, list[str]] = {}
        for folder, names in self._names.items():
            for name in names:
                self._folders.setdefault(name, []).append(folder)
        self._called: dict[str, list[str]] = {}
        self._known: dict[_Place, list[str]] = {}
        self._shared: dict[str, bool] = {}
        found = {place: self._found(place) for place in places}
        spread: dict[str, set[str]] = {}
        for place, some in found.items():
            spread.setdefault(place.file, set()).update(some[:1] or [""])
        for place, some in found.items():
            is_of_all = len(spread[place.file]) > 1 and not self._called_for(place.file)
            self._known[place] = [] if is_of_all and not (some and self.are_alike(place.file, some[0])) else some

    def of(self, place: _Place) -> list[str]:
        """The files whose image it is, instead."""
        return self._known[place]

    def have_namesakes(self, folder: str) -> bool:
        """Whether images in another folder are called as in this one."""
        if folder not in self._shared:
            mine, others = (
                self._stems.get(folder, set()),
                (stems for name, stems in self._stems.items() if name != folder),
            )
            self._shared[folder] = any(not mine.isdisjoint(stems) for stems in others)
        return self._shared[folder]

    def home_of(self, place: _Place) -> str:
        """The folder that a file is called for, where its image lies in another one with images called as there."""
        mine = self._stems.get(place.folder, set())
        if not self._names.get(place.folder) or self._fit(place.words, place.folder):
            return ""
        for folder in self._called_for(place.file):
            is_around = f"{folder}/".startswith(f"{place.folder}/") or f"{place.folder}/".startswith(f"{folder}/")
            if not is_around and not mine.isdisjoint(self._stems[folder]):
                return folder
        return ""

    def are_alike(self, file: str, other: str) -> bool:
        """Whether a file is called like another one but for a number."""
        mine, others = self._files[file], self._files.get(other, frozenset())
        forms = {_NUMBER.sub("#", word) for word in others - mine}
        return any(word != form and form in forms for word in mine - others if (form := _NUMBER.sub("#", word)))

    def _called_for(self, file: str) -> list[str]:
        """Folders with images that a file is called like."""
        if file not in self._called:
            names = [name for name in self._folders if name <= self._files[file]]
            self._called[file] = sorted({folder for name in names for folder in self._folders[name]})
        return self._called[file]

    def _found(self, place: _Place) -> list[str]:
        """The files that have more of the names of the folders around an image than the one that names it."""
        if is_called_for_predictions(place.file):
            return []
        mine = self._fit(place.words, place.folder)
        around = telling_words(place.folder)
        others = (name for name in self._names.get(place.folder, ()) if name not in mine)
        some = (set.intersection(*(self._with.get(word, set()) for word in name)) for name in others)
        return [
            file
            for file in sorted(set().union(*some))
            if self._fit(self._files[file], place.folder) > mine and place.words - self._files[file] - around
        ]

    def _fit(self, words: _Name, folder: str) -> set[_Name]:
        """The names of folders around an image that a file is called like."""
        return {name for name in self._names.get(folder, ()) if name <= words}


def _is_for_one(words: _Name, images: Images) -> bool:
    return any(name <= words for folder in images.in_folders.stems for name in _names_in(folder))


def _names_in(folder: str) -> list[_Name]:
    """The words of each folder around images that says which they are."""
    return [words for part in folder.split("/") if not is_split(part) and (words := telling_words(part))]


def _words_of_file(file: str, *, of_one: bool) -> _Name:
    return telling_words(file if of_one else splitext(file)[0])


def telling_words(path: str) -> _Name:
    """What the names in a path say, but for labels, formats and splits."""
    parts = (without_labels(normalize("NFC", part)) for part in path.split("/"))
    words = (word for part in parts for word in _WORD.findall(part))
    return frozenset(word for word in words if word not in _PLAIN and not is_split(word))
