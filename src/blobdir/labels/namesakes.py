"""Images of one name, looked up by the folders that they lie in: none of it takes time that grows with their square."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from posixpath import basename, dirname, splitext
from typing import Final
from unicodedata import normalize

from blobdir.filenames import IMAGE_EXTENSIONS, parents_of
from blobdir.labels.splitnames import without_splits
from blobdir.lazily import cached_property

_EXTENSION: Final = re.compile(r"\.(?:[a-z]{1,10}|[a-z][a-z\d]{0,4})", re.IGNORECASE)
"""What is one, behind the last point of a name: not in ``v1.2_img``, ``3.0``."""
_COPIES: Final = 16
"""So many namesakes of an image are noted."""
_AFTER_SLASH: Final = "0"
"""The character behind ``/``: what begins with ``x/`` lies between ``x/`` and ``x0``."""


class Namesakes:
    """Paths that are called the same.

    Parameters
    ----------
    paths : list of str

    Attributes
    ----------
    paths : list of str
        Sorted.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = sorted(paths)

    def lying_in(self, folder: str) -> list[str]:
        """Those in a folder itself; several where they differ in how the name is spelled."""
        return self._by_folder.get(folder, [])

    def candidates(self, scopes: list[str], must: list[str], tail: list[str]) -> list[str]:
        """Those below one of some folders, with folders in their path, whose path ends with folders.

        Parameters
        ----------
        scopes : list of str
            The first one is where `must` is looked for.
        must : list of str
            Folders that lie in each other.
        tail : list of str
        """
        ways: list[list[str]] = [self._ending(tail)] if tail else []
        if "" not in scopes:
            ways.append([path for scope in dict.fromkeys(scopes) for path in self._below(scope)])
        ways += [self._by_part.get(part, []) for part in must]
        fewest: list[str] = min(ways, key=len, default=self.paths)
        return [path for path in dict.fromkeys(fewest) if is_candidate(path, scopes, must, tail)]

    @cached_property
    def _by_folder(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.paths:
            found.setdefault(dirname(path), []).append(path)
        return found

    @cached_property
    def _by_part(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.paths:
            for part in set(folders_of(path)):
                found.setdefault(part, []).append(path)
        return found

    @cached_property
    def _turned(self) -> list[tuple[str, str]]:
        """With the folders from the last to the first."""
        return sorted(("".join(f"{part}/" for part in reversed(folders_of(path))), path) for path in self.paths)

    def _below(self, folder: str) -> list[str]:
        start = bisect_left(self.paths, f"{folder}/")
        return self.paths[start : bisect_left(self.paths, folder + _AFTER_SLASH, start)]

    def _ending(self, tail: list[str]) -> list[str]:
        begin = "/".join(reversed(tail))
        start = bisect_left(self._turned, (f"{begin}/",))
        end = bisect_left(self._turned, (begin + _AFTER_SLASH,), start)
        return [path for _, path in self._turned[start:end]]


class InFolders:
    """What images are called but for their extensions, folder by folder; collected once, when it's asked for.

    Parameters
    ----------
    paths : list of str
    """

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._below: dict[str, set[str]] = {}

    @cached_property
    def stems(self) -> dict[str, set[str]]:
        """Folder -> its images."""
        found: dict[str, set[str]] = {}
        for path in self._paths:
            found.setdefault(dirname(path), set()).add(spelled_alike(stem_of(path)))
        return found

    def around(self, folder: str) -> set[str]:
        """Images in a folder and those beside it, or below these; and in folders of its name in other splits."""
        above = dirname(folder)
        beside = self._all_below(above) if above else set()
        alike = self.of_kind(without_splits(folder))
        others = [self.stems[one] for one in alike if not (above and is_below(one, above))]
        return beside.union(*others) if others else beside

    def of_kind(self, kind: list[str]) -> list[str]:
        """Folders whose path is this, but for what is called like a split in it."""
        return self._of_kind.get(tuple(kind), [])

    def _all_below(self, folder: str) -> set[str]:
        if folder not in self._below:
            start = bisect_left(self._sorted, f"{folder}/")
            end = bisect_left(self._sorted, folder + _AFTER_SLASH, start)
            self._below[folder] = {stem for one in self._sorted[start:end] for stem in self.stems[one]}
        return self._below[folder]

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.stems)

    @cached_property
    def _of_kind(self) -> dict[tuple[str, ...], list[str]]:
        found: dict[tuple[str, ...], list[str]] = {}
        for folder in self.stems:
            found.setdefault(tuple(without_splits(folder)), []).append(folder)
        return found


class Noted:
    """What label files say that is of no image, or of one of several: it speaks of where others are."""

    def __init__(self) -> None:
        self._refused: dict[str, set[str]] = {}
        self._unclear: dict[tuple[str, str], dict[str, frozenset[str]]] = {}

    def refuse(self, stem: str, near: str) -> None:
        """Note that label files in a folder say the name of images and mean none of them."""
        self._refused.setdefault(stem, set()).update((near, *parents_of(near)))

    def refused_in(self, path: str, folder: str) -> str:
        """A folder around an image, and not around `folder`, with label files that say its name and mean it not."""
        found = self._refused.get(spelled_alike(stem_of(path)), ())
        return next((one for one in parents_of(path) if one in found and not is_below(f"{folder}/", one)), "")

    def unclear(self, paths: list[str], near: str) -> None:
        """Note that label files in a folder say a name that several images have."""
        folders = frozenset(map(dirname, paths[:_COPIES]))
        stem = spelled_alike(stem_of(paths[0])) if paths else ""
        for folder in folders if len(folders) > 1 else ():
            self._unclear.setdefault((near, folder), {})[stem] = folders

    def unclear_in(self, near: str, folder: str, known: set[str]) -> dict[str, int]:
        """Other folders, with how many names that label files say are there and in one folder; but for known ones."""
        found = [some for stem, some in self._unclear.get((near, folder), {}).items() if stem not in known]
        return Counter(other for folders in found for other in sorted(folders) if other != folder)


def is_candidate(path: str, scopes: list[str], must: list[str], tail: list[str]) -> bool:
    """Whether a path is one of `Namesakes.candidates`."""
    folders, depth = folders_of(path), scopes[0].count("/") + bool(scopes[0])
    is_inside = any(is_below(path, scope) for scope in scopes)
    return is_inside and ends_so(folders, tail) and has_folders(folders[depth:], must)


def lying_so(paths: list[str], name: str) -> list[str]:
    """Of images of one name those that lie in the folders before it, or in the last ones of these; nothing: none."""
    said = [part for part in folders_of(name.replace("\\", "/")) if part not in ("", ".", "..")]
    ways = ([path for path in paths if ends_so(folders_of(path), said[at:])] for at in range(len(said)))
    return next(filter(None, ways), [])


def spelled_alike(name: str) -> str:
    """A name as all have it that look the same: ``ä`` is one character, or two as on a Mac."""
    return name if name.isascii() else normalize("NFC", name)


def known_as(name: str) -> str:
    """A name as names of images are compared: also with the extension in small letters, if it's that of an image."""
    stem, kind = splitext(spelled_alike(name))
    return stem + kind.lower() if kind.lower() in IMAGE_EXTENSIONS else stem + kind


def is_bare(path: str) -> bool:
    """Whether a file has no extension, though there may be a point in its name."""
    return not _EXTENSION.fullmatch(splitext(path)[1])


def stem_of(path: str) -> str:
    """What a file is called without its extension, if it has one."""
    return basename(path) if is_bare(path) else splitext(basename(path))[0]


def folders_of(path: str) -> list[str]:
    """The folders that a path lies in, the first first."""
    return path.split("/")[:-1]


def ends_so(folders: list[str], tail: list[str]) -> bool:
    """Whether the last folders are these."""
    return not tail or folders[-len(tail) :] == tail


def is_below(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, or anywhere below it."""
    return not folder or path.startswith(f"{folder}/")


def has_folders(folders: list[str], wanted: list[str]) -> bool:
    """Whether folders are there in this order, without others between them."""
    count = len(wanted)
    return not count or any(folders[i : i + count] == wanted for i in range(len(folders) - count + 1))
