"""Which image a label file means: one rule for all formats.

A label file says a name, with folders or without, and lies in a folder itself; some say a split. Together that is a
path, and an image whose folders say something else isn't it: its labels would be those of another image, and nobody
would see it. So an image is found

1. at the path that is said, seen from the label file's folder, or from one above it. The first of these places that
   has such folders at all decides: where the image isn't there, it's missing, and no other one is taken. A name without
   folders is looked for beside the label file, and where images of its labels lie by custom, see
   `blobdir.labels.nearby`. Folders above the one that the label file speaks for (2) are no such places where that has
   such folders further below, or the first of them at its place;
2. else below the folder that the label file speaks for, which is the nearest at or above it with images in it, where
   the image's path ends as is said. Folders that are named for labels count for nothing, all others of the label file's
   path must be in the image's: ``labels/x/1.txt`` isn't of ``images/y/1.jpg``;
3. else at the root, or where all images lie, if the label file speaks for that folder: where what is said ends with
   the whole path of the image from there. The rest is the folders of another machine, if that holds for all names of
   the file, and no folder here is called like the last of them.

Where there is a folder of the split, the image lies in it; that folder is above what is said, or it's said itself: a
folder of a class that is called ``train`` is none. Of several, one beside the label file counts. Where these are two,
or there is none, it's unclear, and said.

An image that is named by its path, or lies where labels of this file belong, isn't also that of a name that fits less
well; and where names of a file are found there, the others are missing: see `blobdir.labels.claims`. A file with the
labels of one image, see `Images.of_file`, lies beside it, or where such files do by custom, if there is such a place.

Names are compared as they are; where none is so, an extension in capitals or small letters is the same, so are letters
with accents in one character or two, and a name without an extension is of any image that is called so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from posixpath import basename, dirname, join, splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import IMAGE_EXTENSIONS
from blobdir.labels.givenplace import NOT_GIVEN, RENAME, Given
from blobdir.labels.model import LabelError, MissingError, UnclearError
from blobdir.labels.namesakes import (
    InFolders,
    Namesakes,
    Noted,
    folders_of,
    is_below,
    is_candidate,
    spelled_alike,
    stem_of,
)
from blobdir.labels.nearby import Folders, Near, words_of
from blobdir.labels.saidnames import Said, parsed
from blobdir.labels.splitnames import families, said_splits, speaks_of, split_below

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from blobdir.labels.files import LabelFiles

BY_STEM, BY_NAME, EITHER = "stem", "name", "either"
"""How files with the labels of one image are called: ``a.txt``, ``a.jpg.txt``, or it can't be told."""
_MOST: Final = 2
"""So many times more label files must be called one way than the other."""
_SAID, _WHOLE, _NOTHING, _OTHER = 3, 2, 1, 0
"""What an image's folders say of a split: it, by name; it's said whole; nothing; another one."""


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
    named : str
        What the file names, where that isn't there and the image is called like the file.
    is_relative : bool
        What was said leads there from the label file's folder, by ``..``.
    """

    path: str
    exact: bool
    above: bool = False
    said: str = ""
    dropped: str = ""
    instead: str = ""
    named: str = ""
    is_relative: bool = False

    @property
    def base(self) -> str:
        """The folder that what is said is seen from."""
        folders = folders_of(self.path)
        return "" if self.dropped else "/".join(folders[: len(folders) - self.said.count("/")])


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
    given : Given
        What the place of the labels is called, if that was given.

    Attributes
    ----------
    paths : list of str
    known : frozenset of str
        The same, to be looked up.
    noted : Noted
    in_folders : InFolders
    """

    def __init__(self, paths: Iterable[str], what: str = "image", given: Given = NOT_GIVEN) -> None:
        self.paths, self._what, self.given = list(paths), what, given
        self.known = frozenset(self.paths)
        self._by_name: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_name.setdefault(basename(path), []).append(path)
        self._by_stem: dict[str, list[str]] | None = None
        self._folders = Folders(map(dirname, self.paths))
        self._spellings: dict[tuple[str, str], list[Namesakes]] = {}
        self._called: dict[str, list[str]] = {}
        self._allowed: dict[tuple[int, *tuple[tuple[str, ...], ...]], list[str]] = {}
        self._helps: dict[tuple[str, str], bool] = {}
        self.noted = Noted()
        self.in_folders = InFolders(self.paths)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def holds(self, folder: str) -> bool:
        """Whether there are images in a folder, or below it."""
        return folder in self._folders

    def near(self, folder: str) -> Near:
        """What a folder with label files says of where its images are."""
        return self._folders.near(folder)

    def note_sets(self, folders: Collection[str]) -> None:
        """Note which folders are data sets in another one: see `blobdir.labels.nested`."""
        self._folders.sets.update(folders)

    def anew(self) -> Images:
        """The same, without what it has noted of what it was asked for."""
        found = Images(self.paths, self._what, self.given)
        found.note_sets(self._folders.sets)
        return found

    def may_lie_in(self, path: str, folder: str) -> bool:
        """Whether labels may be of an image if they name a folder: of one that isn't here, they only say a split."""
        own, said = folders_of(path), families([folder])
        if not folder or folder in own:
            return True
        is_other = bool(said) and bool(families(own)) and said.isdisjoint(families(own))
        return folder not in self._folders.tails and not is_other

    def has_called(self, path: str) -> bool:
        """Whether an image is called like a file, with its extension or without it."""
        stem = stem_of(path)
        return spelled_alike(stem) in self._stems or (is_image(stem) and bool(self._spelled(stem, BY_NAME)))

    def fitting(self, said: str, path: str) -> list[str]:
        """Those of `called_so` whose folders fit best those that a file lies in, whatever it is.

        Folders that none of images is called like say nothing: ``orig/val/0.txt`` is of ``images/val/0.jpg``.
        """
        name, near = self._parsed(said).parts[-1], self.near(dirname(path))
        must = [one for one in near.must if one in self._folders.tails]
        found: list[str] = []
        for folders in (must, []):
            if not found and (folders or "" not in near.scopes):
                found = [one for same in self._spelled(name) for one in same.candidates(near.scopes, folders, [])]
        return self._folders.closest(found or self.called_so(said), path, near.scopes[0])

    def called_so(self, said: str) -> list[str]:
        """All images of the name that is at the end of a path, wherever they lie."""
        name = self._parsed(said).parts[-1]
        if name not in self._called:
            self._called[name] = [path for same in self._spelled(name) for path in same.paths]
        return self._called[name]

    def belong_beside(self, folder: str) -> bool:
        """Whether images lie where those of label files in a folder belong: the first such place that there is."""
        place = next((one for one in self._folders.near(folder).beside if one in self._folders), "")
        return place in self._folders.direct

    def labelled_by(self, files: LabelFiles, ending: str, is_one: Callable[[str, bytes], bool]) -> Iterator[str]:
        """Files that have the labels of one image each: those of a format, and others that are called like an image.

        Those can't be read; who passed them by would lose labels without a word.
        """
        for path in files.ending(ending):
            if self.has_called(path) or is_one(path, files.head(path)):
                yield path

    def calling_of(self, paths: Collection[str]) -> str:
        """Note all files with the labels of one image each, and tell how they are called.

        ``a.jpg.txt`` is of ``a.jpg``, or of ``a.jpg.jpg``: the other files tell.
        """
        self._folders.note_labels(map(dirname, paths))
        stems = {stem_of(path) for path in paths}
        likes = {stem for stem in stems if is_image(stem)}
        if any(spelled_alike(stem) in self._stems for stem in stems - likes):
            return BY_STEM
        ways = [(bool(self._spelled(stem, BY_STEM)), bool(self._spelled(stem, BY_NAME))) for stem in likes]
        by_stem, by_name = ways.count((True, False)), ways.count((False, True))
        if by_stem > _MOST * by_name:
            return BY_STEM
        return BY_NAME if by_name > _MOST * by_stem else EITHER

    @property
    def _stems(self) -> dict[str, list[str]]:
        if self._by_stem is None:
            self._by_stem = {}
            for path in self.paths:
                if is_image(path):
                    self._by_stem.setdefault(spelled_alike(stem_of(path)), []).append(path)
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

    def place(
        self, name: str, near: str = "", split: str = "", *, may_be_stem: bool = False, is_in_list: bool = False
    ) -> Found:
        """As `find`, with how sure it is; `may_be_stem`: ``a.jpg`` may also be said of ``a.jpg.jpg``."""
        split = split_below(split, self._folders.near(near).scopes[0])
        said = replace(self._parsed(name, near, split), is_in_list=is_in_list)
        try:
            if not (may_be_stem and is_image(name)):
                return self._placed(said, near)
            found = _in_ways((BY_NAME, BY_STEM), lambda way: self._placed(said, near, way))
        except MissingError:
            if not is_in_list:
                self._refuse(said.parts[-1], near)
            raise
        _only(name, list(dict.fromkeys(one.path for one in found)))
        return found[0]

    def _refuse(self, name: str, near: str) -> None:
        """Note that a label file says the name of images and means none of them."""
        stem = spelled_alike(splitext(name)[0] if is_image(name) else name)
        if stem in self._stems:
            self.noted.refuse(stem, near)

    def of_file(self, path: str, named: str = "", calling: str = BY_STEM) -> Found:
        """The image whose labels are in a file of its own: that which the file names, else the one called like it.

        Parameters
        ----------
        path : str
            Of the label file.
        named : str
            The image, as the file has it; empty: it names none.
        calling : str
            See `calling_of`.

        Raises
        ------
        MissingError, UnclearError
        """
        stem = stem_of(path)
        fault: MissingError | None = None
        if named:
            try:
                return self._of_file(path, named, "")
            except MissingError as error:
                fault = error
        calling = calling if is_image(stem) else BY_STEM
        ways = (BY_STEM, BY_NAME) if calling == EITHER else (calling,)
        try:
            found = _in_ways(ways, lambda way: self._of_file(path, stem, way))
        except MissingError as error:
            self._refuse(stem, dirname(path))
            raise fault or self._called_otherwise(stem, calling) or error from None
        if calling == EITHER:
            text = f"can be of an image {stem}, or of one that has another extension behind that"
            raise UnclearError(f"{text}; {found[0].path} is there: rename it", [one.path for one in found])
        *_, folder, _ = ["", *self._parsed(named).parts] if named else ("", "")
        if not found[0].exact and not self.may_lie_in(found[0].path, folder):
            raise fault or self._missing(named, found[0].path, helps=False)
        is_other = bool(named) and stem_of(found[0].path) != self._stem_of(named)
        return replace(found[0], instead=named if is_other else "", named=named)

    def _called_otherwise(self, stem: str, calling: str) -> MissingError | None:
        """What to say where a label file is called like an image, and the others aren't called so."""
        if not is_image(stem) or not (other := self._spelled(stem, BY_NAME if calling == BY_STEM else BY_STEM)):
            return None
        how = "without its extension" if calling == BY_STEM else "with its extension"
        wanted = f"{stem} with another extension behind it" if calling == BY_STEM else stem
        text = (
            f"there is no image {wanted}; {other[0].paths[0]} isn't it: other label files are called like their image"
        )
        return MissingError(f"{text} {how}; rename it")

    def _of_file(self, path: str, name: str, calling: str) -> Found:
        """The image of a file by a name: at a place where its images belong, if there is one."""
        folder = dirname(path)
        near = self._folders.near(folder)
        *belong, plain = near.beside
        direct = self._folders.direct
        has_place = any(one in (direct if one == folder else self._folders) for one in belong)
        has_place = has_place or self._folders.is_place_for(folder)
        fault: MissingError | None = None
        for place in dict.fromkeys((folder, *belong, plain)):
            said = Said(name, [name]) if calling else self._parsed(name, place)
            try:
                found = self._placed(said, folder, calling)
            except MissingError as error:
                fault = fault or error
                continue
            except UnclearError as error:
                if has_place and error.is_one_name and dirname(error.paths[0]) not in near.beside:
                    raise self._missing(name, error.paths[0], helps=True) from None
                raise
            if has_place and found.base not in (near.bases if "/" in found.said else near.beside):
                fault = fault or self._missing(name, found.path, helps=True)
            elif found.dropped and stem_of(found.path) != stem_of(path):
                continue  # of an image that is called otherwise, the folders must be right
            else:
                return found
        raise fault or MissingError(f"there is no {self._what} {name}")

    def _stem_of(self, named: str) -> str:
        last = self._parsed(named).parts[-1]
        return splitext(last)[0] if is_image(last) else last

    def _parsed(self, name: str, near: str = "", split: str = "") -> Said:
        """The folders and the name that a label file says."""
        is_so = "\\" in name and (basename(name) in self._by_name or spelled_alike(basename(name)) in self._stems)
        return parsed(name, near, split, keeps_backslashes=is_so)

    def _spelled(self, name: str, calling: str = "") -> list[Namesakes]:
        """Images of a name: those that have it, then those that are called so but for their extension."""
        found = self._spellings.get((name, calling))
        if found is None:
            stem, kind = splitext(name) if is_image(name) and calling != BY_STEM else (name, "")
            alike = [path for path in self._stems.get(spelled_alike(stem), ()) if basename(path) != name]
            alike = [path for path in alike if not kind or splitext(path)[1].lower() == kind.lower()]
            groups = [
                self._by_name.get(name, []) if calling != BY_STEM else [],
                [path for path in alike if stem_of(path) == stem],
                [path for path in alike if stem_of(path) != stem],
            ]
            found = self._spellings[name, calling] = [Namesakes(paths) for paths in groups if paths]
        return found

    def _placed(self, said: Said, near: str, calling: str = "") -> Found:
        fault: MissingError | None = None
        place = self._folders.near(near)
        if self.given.labels:
            scope = place.scopes[0]
            said = replace(said, split=self.given.split(said.split, scope, *self._folders.splits_in(scope)))
        for same in self._spelled(said.parts[-1], calling):
            try:
                return self._chosen(said, same, place)
            except MissingError as error:
                fault = fault or error
            except UnclearError as error:
                self.noted.unclear([] if said.is_in_list else error.paths, near)
                raise
        raise fault or MissingError(f"there is no {self._what} {said.name}")

    def _chosen(self, said: Said, same: Namesakes, near: Near) -> Found:
        """The image of those that are called so."""
        folders, whole = said.parts[:-1], "/".join(said.parts)
        if (found := self._where_said(said, same, near)) is not None:
            return found
        for i in range(len(said.parts)):
            tail = folders[i:]
            if i and folders[i - 1] in self._folders:
                break  # another image of these folders isn't one of another machine
            allowed = self._candidates(same, near, tail) if not i else self._at(said, i, same, near)
            if found_here := self._folders.outermost(self._of_split(said, allowed, tail, near), near):
                path = _only(said.name, found_here) if folders else self._nearest(said, found_here, near)
                dropped = "/".join(folders[:i])
                exact = not dropped if folders else dirname(path) in near.beside
                above = exact and not folders and dirname(path) not in near.beside[:-1]
                return Found(path, exact, above, whole, dropped)
            if tail and "/".join(tail) in self._folders.tails:
                break  # these folders are there, and the image isn't in them
        raise self._missing(said.name, same.paths[0], said.split, helps=self._is_found_elsewhere(said, same, near))

    def _where_said(self, said: Said, same: Namesakes, near: Near) -> Found | None:
        """The image at the path that is said; of a name without folders, where images of its file belong."""
        folders, text = said.parts[:-1], "/".join(said.parts)
        if not folders:
            for place in () if said.split else near.beside:
                if found := self._of_words(same.lying_in(place), near, self._words(near)):
                    above = place not in near.beside[:-1]
                    return Found(_only(said.name, found), exact=True, above=above, said=text)
            return None
        for base in [""] if said.is_from_top else [] if said.is_whole else near.bases:
            if base in near.outside and not said.is_from_top and self._folders.has_inside(near, folders):
                break  # the folder that the label file speaks for has such a one itself
            whole = join(base, *folders)
            if found := same.lying_in(whole):
                rivals = self._of_split_itself(said, same, near)
                if base in near.outside and len(folders) > 1 and not said.is_from_top:
                    rivals += same.candidates(near.scopes[:1], [], folders[-1:])
                others = [one for one in rivals if one not in found]
                return Found(_only(said.name, found + others), exact=True, said=text, is_relative=said.is_from_top)
            if whole in self._folders:
                raise self._missing(said.name, same.paths[0], helps=self._is_found_elsewhere(said, same, near))
        return None

    def _of_split_itself(self, said: Said, same: Namesakes, near: Near) -> list[str]:
        """Images whose path ends as is said and that lie in a folder of the split, which isn't said."""
        folders = said.parts[:-1]
        if not said.split or families([said.split]) <= families(folders) != set() or said.split in folders:
            return []
        allowed = same.candidates(near.scopes, near.must, folders)
        return [path for path in allowed if self._says(path, folders, said.split, near) == _SAID]

    def _is_found_elsewhere(self, said: Said, same: Namesakes, near: Near) -> bool:
        """Whether an image would be found if the label file's folder said nothing."""
        if near is (top := self._folders.near("")):
            return False
        key = "/".join(said.parts), said.split
        if key not in self._helps:
            try:
                self._helps[key] = bool(self._chosen(said, same, top))
            except LabelError:
                self._helps[key] = False
        return self._helps[key]

    def _of_split(self, said: Said, paths: list[str], tail: list[str], near: Near) -> list[str]:
        """Images that can be of a split that is said: where it has a folder, they lie in it."""
        names, known = self._folders.splits_in(near.scopes[0])
        is_folder = bool(said.split) and said.split.lower() in names
        if not is_folder and not (known and (near.families or said_splits(said.split))):
            return paths
        says = {path: self._says(path, tail, said.split, near) for path in paths}
        if not is_folder:
            return [path for path in paths if says[path] != _OTHER]
        own = [path for path in paths if says[path] in (_SAID, _WHOLE)]
        beside = [path for path in paths if says[path] == _NOTHING and dirname(path) in near.beside]
        if own and beside:
            _only(said.name, [own[0], beside[0]])
        return own or beside

    def _says(self, path: str, tail: list[str], split: str, near: Near) -> int:
        """What the folders of an image say of a split: those above what is said, or else those that are said."""
        folders, top = folders_of(path), near.scopes[0]
        if tail and folders == tail:
            return _WHOLE
        mine = near.families | families([split])
        start = top.count("/") + bool(top)
        end = max(start, len(folders) - len(tail))
        places = [
            (is_so, is_so < 0 and self._folders.has_split_inside("/".join(folders[:i]), split, mine), i >= end)
            for i in range(start, len(folders))
            if (is_so := speaks_of(folders[i], split, mine))
        ]
        if not places:
            return _NOTHING
        is_so, is_beside_own, is_said = places[0]
        if is_so > 0:  # a class in it may be called like another split, where it has no folder of this one, too
            return _OTHER if any(other[1] and not other[2] for other in places) else _SAID
        names, known = self._folders.splits_in(top)
        is_nowhere = mine.isdisjoint(known) and split.lower() not in names
        return _WHOLE if is_said and (is_beside_own or is_nowhere) else _OTHER

    def _candidates(self, same: Namesakes, near: Near, tail: list[str]) -> list[str]:
        """Images that a label file speaks for, and whose path ends as is said."""
        words = self._words(near)
        key = id(same), (*near.scopes, ""), (*near.must, ""), (*tail, ""), (*sorted(words), "")
        found = self._allowed.get(key)
        if found is None:
            found = self._of_words(same.candidates(near.scopes, near.must, tail), near, words)
            self._allowed[key] = found
        return found

    def _at(self, said: Said, start: int, same: Namesakes, near: Near) -> list[str]:
        """Those of `_candidates` whose whole path is at the end of what is said, with another machine's before it.

        It's seen from the folder that is packed; or from that which the label file speaks for, if all images are there;
        or from the folder of the split, for sets whose splits were unpacked each into one of its own.
        """
        others, folders = said.parts[:start], said.parts[start:-1]
        must, scope = near.must, near.scopes[0]
        if said.is_in_list and said.is_whole and not any(one in self._folders.tails or one in others for one in must):
            must = []  # no folder of images is called like that of the list
        places = ["/".join(folders)]
        said_before = families(others)
        if scope and is_below(f"{self._folders.top}/", scope) and join(scope, *others[-1:]) not in self._folders:
            is_of_it = not said_before or not said_before.isdisjoint(families(scope.split("/")))
            places += [join(scope, *folders)] if is_of_it else []
        if folders and families([said.split]) >= said_before:
            places += [join(scope, one, *folders) for one in self._folders.of_split(scope, said.split)]
        for place in places:
            here = [path for path in same.lying_in(place) if is_candidate(path, near.scopes, must, folders)]
            if found := self._of_words(here, near, self._words(near)):
                return found
        return []

    def _words(self, near: Near) -> set[str]:
        return near.words & self._folders.words_in(near.scopes[0]) if near.words else near.words

    def _of_words(self, paths: list[str], near: Near, words: set[str]) -> list[str]:
        """Images in the folders that the folder of their labels is called after, if there are such."""
        start = near.scopes[0].count("/") + bool(near.scopes[0])
        return [path for path in paths if words <= words_of(folders_of(path)[start:])] if words else paths

    def _nearest(self, said: Said, paths: list[str], near: Near) -> str:
        """Which image of several is meant by a name without folders."""
        for folder in near.beside if len(paths) > 1 and said.split else ():
            if found := [path for path in paths if dirname(path) == folder]:
                return _only(said.name, found)
        return _only(said.name, paths)

    def _missing(self, name: str, other: str, split: str = "", *, helps: bool) -> MissingError:
        """That none of those that are called so is meant; `helps` says whether another place of the labels would."""
        text = f"there is no {self._what} {name} where its labels say; {other} lies elsewhere"
        if split and self.given.tells(split):
            return MissingError(f"{text}, and these are of {split} by their place; {RENAME}, or mend its path in them")
        more = ", or give their folder with --labels-from" if helps else ""
        return MissingError(f"{text}: mend its path in them{more}")


def _in_ways(ways: Iterable[str], look: Callable[[str], Found]) -> list[Found]:
    """What is found in each of several ways to read a name; an error if nothing is."""
    found: list[Found] = []
    fault = MissingError("there is nothing of this name")
    for way in ways:
        try:
            found.append(look(way))
        except MissingError as error:
            fault = error
    if not found:
        raise fault
    return found


def _only(name: str, paths: list[str]) -> str:
    if len(paths) > 1:
        raise UnclearError(f"{name} can be {paths[0]} or {paths[1]}: give it with its folder", paths)
    return paths[0]
