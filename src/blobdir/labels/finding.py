"""Which image a label file means: one rule for all formats.

A label file says a name, with folders or without, and lies in a folder itself; some say a split. Together that is a
path, and an image whose folders say something else isn't it: its labels would be those of another image, and nobody
would see it. So an image is found

1. at the path that is said, seen from the label file's folder, or from one above it. The first of these places that
   has such folders at all decides: where the image isn't there, it's missing, and no other one is taken;
2. else below the folder that the label file speaks for, which is the nearest at or above it with images in it, where
   the image's path ends as is said. Folders that are named for labels (``labels``, ``Annotations``) count for nothing,
   all others of the label file's path must be in the image's: ``labels/x/1.txt`` isn't of ``images/y/1.jpg``;
3. else at the root, where what is said ends with the whole path of the image: the rest is the folders of another
   machine, if that holds for all names of the file.

Of several, those in a folder called like the split count, then one beside the label file; where these are two, or
there is none, it's unclear, and said. Where there is a folder of the split, the image lies in it.

An image that is named by its path, or lies where labels of this file belong, isn't also that of a name that fits less
well; and where names of a file are found there, the others are missing: see `blobdir.labels.claims`. A file with the
labels of one image, see `Images.of_file`, lies beside it, or where such files do by custom, if there is such a place.

Names are compared as they are; where none is so, an extension in capitals or small letters is the same, so are letters
with accents in one character or two, and a name without an extension is of any image that is called so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from posixpath import basename, dirname, join, normpath, splitext
from typing import TYPE_CHECKING, Final
from unicodedata import normalize

from blobdir.filenames import IMAGE_EXTENSIONS, parents_of
from blobdir.labels.model import LabelError
from blobdir.labels.splitnames import families

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from blobdir.labels.files import LabelFiles

_OF_LABELS: Final = re.compile(r"label|annot|bbox|boxes|ground.?truth|^anns?$|^gt$|^(json|xml|txt|csv|tsv|meta)s?$")
"""Folders that are named for the labels in them, in small letters."""
_OF_FORMAT: Final = re.compile(r"coco|yolo|voc|cvat|createml")
"""The same, if no images lie in them: else it's the name of a whole data set."""
_IMAGES_FOR: Final = (
    ("labels", "images"),
    ("label", "image"),
    ("Labels", "Images"),
    ("Annotations", "JPEGImages"),
    ("Annotations", "Images"),
    ("annotations", "images"),
    ("ann", "img"),
)
"""What the folder of images is called where that of labels is called so."""
_MACHINE: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://[^/]*|[A-Za-z]:)?/")
"""How a path begins that isn't seen from a folder: of a machine, of a drive, of a server."""


class MissingError(LabelError):
    """What a label file means isn't there."""


class UnclearError(LabelError):
    """What a label file means can be several things.

    Attributes
    ----------
    paths : list of str
    """

    def __init__(self, message: str, paths: list[str]) -> None:
        super().__init__(message)
        self.paths = paths


@dataclass(frozen=True, slots=True)
class Found:
    """An image that is meant.

    Attributes
    ----------
    path : str
    exact : bool
        It's at the path that is said, or where images of labels in this folder belong.
    above : bool
        That is the folder above one that is named for labels.
    said : str
        The path that was said.
    dropped : str
        Folders of another machine in front of it.
    instead : str
        The name in the label file that isn't there, where the image is called like the file.
    """

    path: str
    exact: bool
    above: bool = False
    said: str = ""
    dropped: str = ""
    instead: str = ""

    @property
    def base(self) -> str:
        """The folder that what is said is seen from."""
        folders = _folders(self.path)
        return "" if self.dropped else "/".join(folders[: len(folders) - self.said.count("/")])


@dataclass(frozen=True, slots=True)
class _Near:
    """What the folder of a label file says.

    Attributes
    ----------
    beside : list of str
        Folders that the images of its labels belong into, the first first.
    bases : list of str
        Folders that a name with folders can be seen from.
    scope : str
        The folder that it speaks for.
    must : list of str
        Folders between `scope` and the label file that the images must lie in, too.
    families : set of str
        Splits that its path names.
    """

    beside: list[str]
    bases: list[str]
    scope: str
    must: list[str]
    families: set[str]


def is_image(path: str) -> bool:
    """Whether a file is named like an image."""
    return splitext(path)[1].lower() in IMAGE_EXTENSIONS


class Images:
    """Finds images, or other files, by what label files call them.

    Parameters
    ----------
    paths : iterable of str
        Below the folder that is packed.
    what : str
        What they are, for messages.

    Attributes
    ----------
    paths : list of str
    """

    def __init__(self, paths: Iterable[str], what: str = "image") -> None:
        self.paths, self._what = list(paths), what
        self._by_name: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_name.setdefault(basename(path), []).append(path)
        self._by_stem: dict[str, list[str]] | None = None
        self._direct = {dirname(path) for path in self.paths}
        self._direct_names = {basename(folder) for folder in self._direct}
        self._folders = self._direct | {parent for folder in self._direct for parent in parents_of(folder)} | {""}
        self._tails = {tail for folder in self._folders for tail in _tails(folder)}
        self._nears: dict[str, _Near] = {}
        self._names_in: dict[str, tuple[set[str], set[str]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def holds(self, folder: str) -> bool:
        """Whether there are images in a folder, or below it."""
        return folder in self._folders

    def lie_in(self, folder: str) -> bool:
        """Whether there are images in a folder itself."""
        return folder in self._direct

    def has_folder(self, name: str) -> bool:
        """Whether a folder with images in it is called so, wherever it lies."""
        return bool(name) and name in self._direct_names

    def has_called(self, path: str) -> bool:
        """Whether an image is called like a file, but for the extension."""
        return _spelled_alike(splitext(basename(path))[0]) in self._stems

    def called_so(self, said: str) -> list[str]:
        """All images of the name that is at the end of a path, wherever they lie."""
        return [path for same in self._spelled(self._parts(said, "")[0][-1]) for path in same]

    def labelled_by(self, files: LabelFiles, ending: str, is_one: Callable[[str, bytes], bool]) -> Iterator[str]:
        """Files that have the labels of one image each: those of a format, and others that are called like an image.

        Those can't be read; who passed them by would lose labels without a word.
        """
        for path in files.ending(ending):
            if self.has_called(path) or is_one(path, files.head(path)):
                yield path

    @property
    def _stems(self) -> dict[str, list[str]]:
        if self._by_stem is None:
            self._by_stem = {}
            for path in self.paths:
                if is_image(path):
                    self._by_stem.setdefault(_spelled_alike(splitext(basename(path))[0]), []).append(path)
        return self._by_stem

    def find(self, name: str, near: str = "", split: str = "") -> str:
        """Path of the image that a label file means; see this module.

        Parameters
        ----------
        name : str
            As in the label file: with folders or without, of this machine or another.
        near : str
            Folder of the label file, below the folder that is packed.
        split : str
            That the label file says, of the image or of itself.

        Raises
        ------
        MissingError, UnclearError
        """
        return self.place(name, near, split).path

    def place(self, name: str, near: str = "", split: str = "") -> Found:
        """As `find`, with how sure it is."""
        fault: MissingError | None = None
        parts, bases = self._parts(name, near)
        for same in self._spelled(parts[-1]):
            try:
                return self._chosen(name, parts, bases, same, self._near(near), split)
            except MissingError as error:
                fault = fault or error
        raise fault or MissingError(f"there is no {self._what} {name}")

    def of_file(self, path: str, named: str = "") -> Found:
        """The image whose labels are in a file of its own: that which the file names, else the one called like it.

        Parameters
        ----------
        path : str
            Of the label file.
        named : str
            The image, as the file has it; empty: it names none.

        Raises
        ------
        MissingError, UnclearError
        """
        folder, stem = dirname(path), splitext(basename(path))[0]
        near = self._near(folder)
        *belong, plain = near.beside
        places = [one for one in belong if one in self._folders]
        fault: MissingError | None = None
        if not places and any(one in self._folders for one in _images_for(folder.split("/"), whole=False)):
            places = belong[:1]  # there are folders of images by custom, but not this one
        for name in dict.fromkeys((named, stem)):
            for place in (*(places or (folder,)), plain) if name else ():
                try:
                    found = self.place(name, place)
                except MissingError as error:
                    fault = fault or error
                    continue
                if places and found.base not in (near.bases if "/" in found.said else near.beside):
                    fault = fault or self._missing(name, [found.path], helps=True)
                    continue
                if found.dropped and splitext(basename(found.path))[0] != stem:
                    continue  # of an image that is called otherwise, the folders must be right
                is_other = bool(named) and splitext(basename(found.path))[0] != self._stem(named)
                return replace(found, instead=named if is_other else "")
        raise fault or MissingError(f"there is no image {stem}")

    def _stem(self, name: str) -> str:
        last = self._parts(name, "")[0][-1]
        return splitext(last)[0] if is_image(last) else last

    def _parts(self, name: str, near: str) -> tuple[list[str], list[str]]:
        """The folders and the name that a label file says, and the folders that they may be seen from."""
        text = name if basename(name) in self._by_name else name.replace("\\", "/")
        machine = _MACHINE.match(text)
        if machine is not None:
            text = text[machine.end() :]
            text = text.partition("?")[0] if "://" in machine[0] else text
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            whole = normpath(join(near if machine is None else "", *parts))
            return [part for part in whole.split("/") if part not in ("..", ".")] or [name], [""]
        return parts or [name], self._near(near).bases if machine is None else []

    def _spelled(self, name: str) -> Iterator[list[str]]:
        """Files of a name: those that have it, then those that are called so but for their extension."""
        if name in self._by_name:
            yield self._by_name[name]
        stem, kind = splitext(name) if is_image(name) else (name, "")
        alike = [path for path in self._stems.get(_spelled_alike(stem), ()) if basename(path) != name]
        if kind:
            alike = [path for path in alike if splitext(path)[1].lower() == kind.lower()]
        if alike:
            yield alike

    def _near(self, folder: str) -> _Near:
        found = self._nears.get(folder)
        if found is None:
            found = self._nears[folder] = self._looked_at(folder)
        return found

    def _looked_at(self, folder: str) -> _Near:
        parts = folder.split("/") if folder else []
        above = [folder, *parents_of(folder)] + ([""] if folder else [])
        mapped = [one for one in _images_for(parts) if one in self._folders]
        plain = next(one for one in above if not self._is_of_labels(one))
        scope = next(one for one in (plain, *parents_of(plain), "") if one in self._folders)
        between = above[: above.index(scope)]
        return _Near(
            beside=[*dict.fromkeys((folder, *mapped)), plain],
            bases=list(dict.fromkeys((folder, *mapped, *above))),
            scope=scope,
            must=[basename(one) for one in reversed(between) if not self._is_of_labels(one)],
            families=families(parts),
        )

    def _is_of_labels(self, folder: str) -> bool:
        name = basename(folder).lower()
        if _OF_LABELS.search(name):
            is_nested = _OF_LABELS.search(basename(dirname(folder)).lower()) is not None
            return not is_nested or folder in self._folders or basename(folder) not in self._direct_names
        return folder not in self._folders and _OF_FORMAT.search(name) is not None

    def _chosen(self, name: str, parts: list[str], bases: list[str], same: list[str], near: _Near, split: str) -> Found:
        """The image of those that are called so."""
        folders = parts[:-1]
        for base in bases if folders else ():
            whole = join(base, *folders)
            if found := [path for path in same if dirname(path) == whole]:
                return Found(_only(name, found), exact=True, said="/".join(parts))
            if whole in self._folders:
                raise self._missing(name, same, helps=self._is_found_elsewhere(parts, same, near, split))
        depth = near.scope.count("/") + bool(near.scope)
        allowed = [path for path in same if is_below(path, near.scope) and _has(_folders(path)[depth:], near.must)]
        for i in range(len(parts)):
            tail = folders[i:]
            if i == 0:
                found = [path for path in allowed if _ends(_folders(path), tail)]
            else:
                found = [path for path in allowed if _folders(path) == tail]
            if found := self._of_split(name, found, near, split) or self._surely(found, tail, near):
                path = self._nearest(name, found, near, at_path=bool(folders))
                said, dropped = "/".join(parts), "/".join(folders[:i])
                exact = not dropped if folders else dirname(path) in near.beside
                above = exact and not folders and dirname(path) not in near.beside[:-1]
                return Found(path, exact, above, said, dropped)
            if tail and "/".join(tail) in self._tails:
                break  # these folders are there, and the image isn't in them
        raise self._missing(name, same, helps=self._is_found_elsewhere(parts, same, near, split))

    def _is_found_elsewhere(self, parts: list[str], same: list[str], near: _Near, split: str) -> bool:
        """Whether an image would be found if the label file's folder said nothing."""
        top = self._near("")
        if near is top:
            return False
        try:
            return bool(self._chosen(parts[-1], parts, top.bases, same, top, split))
        except LabelError:
            return False

    def _of_split(self, name: str, paths: list[str], near: _Near, split: str) -> list[str]:
        """Images that can be of a split that is said: where it has a folder, they lie in it."""
        if not paths:
            return paths
        names, known = self._splits_in(near.scope)
        if split.lower() in names:
            own = [path for path in paths if split.lower() in map(str.lower, _folders(path))]
            beside = [path for path in paths if path not in own and dirname(path) in near.beside]
            if own and beside:
                _only(name, [own[0], beside[0]])
            return own or beside
        said = (near.families | families([split])) & known
        if not said:
            return paths
        return [path for path in paths if not (found := families(_folders(path))) or not found.isdisjoint(said)]

    def _surely(self, paths: list[str], said: list[str], near: _Near) -> list[str]:
        """Images that are meant whatever split is said: at the whole path that is, or in a folder of a split in it."""
        if found := [path for path in paths if said and _folders(path) == said]:
            return found
        return paths if not families(said).isdisjoint(self._splits_in(near.scope)[1]) else []

    def _splits_in(self, scope: str) -> tuple[set[str], set[str]]:
        """Names of the folders of images below one, in small letters, and the splits that they speak of."""
        found = self._names_in.get(scope)
        if found is None:
            names = {
                part for folder in self._folders if folder and is_below(folder, scope) for part in folder.split("/")
            }
            found = self._names_in[scope] = {name.lower() for name in names}, families(names)
        return found

    def _nearest(self, name: str, paths: list[str], near: _Near, *, at_path: bool) -> str:
        """Which image of several is meant."""
        for folder in () if at_path else near.beside:
            if found := [path for path in paths if dirname(path) == folder]:
                return _only(name, found)
        return _only(name, paths)

    def _missing(self, name: str, same: list[str], *, helps: bool) -> MissingError:
        """That none of those that are called so is meant; `helps` says whether another place of the labels would."""
        text = f"there is no {self._what} {name} where its labels say; {same[0]} lies elsewhere"
        more = ", or give their folder with --labels-from" if helps else ""
        return MissingError(f"{text}: mend its path in them{more}")


def _spelled_alike(stem: str) -> str:
    """A name as all have it that look the same: ``ä`` is one character, or two as on a Mac."""
    return stem if stem.isascii() else normalize("NFC", stem)


def _only(name: str, paths: list[str]) -> str:
    if len(paths) > 1:
        raise UnclearError(f"{name} can be {paths[0]} or {paths[1]}: give it with its folder", paths)
    return paths[0]


def _images_for(parts: list[str], *, whole: bool = True) -> Iterator[str]:
    """Where images lie by custom, if labels lie in a folder: ``images/x`` for ``labels/x``; or just ``images``."""
    for i in reversed(range(len(parts))):
        for old, new in _IMAGES_FOR:
            if parts[i] == old or (old != "ann" and old in parts[i]):
                yield "/".join((*parts[:i], parts[i].replace(old, new), *(parts[i + 1 :] if whole else ())))


def _folders(path: str) -> list[str]:
    return path.split("/")[:-1]


def _tails(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.partition("/")[2]


def _ends(folders: list[str], tail: list[str]) -> bool:
    return not tail or folders[-len(tail) :] == tail


def is_below(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, or anywhere below it."""
    return not folder or path.startswith(f"{folder}/")


def _has(folders: list[str], wanted: list[str]) -> bool:
    """Whether folders are there in this order, without others between them."""
    count = len(wanted)
    return not count or any(folders[i : i + count] == wanted for i in range(len(folders) - count + 1))
