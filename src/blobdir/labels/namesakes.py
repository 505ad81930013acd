"""Images of one name, looked up by the folders that they lie in: none of it takes time that grows with their square."""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from posixpath import dirname
from typing import Final
from unicodedata import normalize

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


def is_candidate(path: str, scopes: list[str], must: list[str], tail: list[str]) -> bool:
    """Whether a path is one of `Namesakes.candidates`."""
    folders, depth = folders_of(path), scopes[0].count("/") + bool(scopes[0])
    is_inside = any(is_below(path, scope) for scope in scopes)
    return is_inside and ends_so(folders, tail) and has_folders(folders[depth:], must)


def spelled_alike(name: str) -> str:
    """A name as all have it that look the same: ``ä`` is one character, or two as on a Mac."""
    return name if name.isascii() else normalize("NFC", name)


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
