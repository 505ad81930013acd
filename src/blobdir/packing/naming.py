"""Names for images that would have the same one in a dataset, since they lie in different folders."""

from __future__ import annotations

import os
from posixpath import splitext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_NAME_BYTES: Final = 255 - len(".json")
"""Bytes of an image's name: its annotation's has five more, and file systems take 255."""


def too_long(name: str) -> str:
    """Why an image's name is too long, if it is."""
    if len(os.fsencode(name)) <= MAX_NAME_BYTES:
        return ""
    return f"has a name of {len(os.fsencode(name))} bytes; its annotation's has 5 more, and 255 are the most"


def distinct_names(name: str, sources: Sequence[str], dataset: str, taken: set[str]) -> list[str]:
    """Names for images that are all called `name`.

    Each gets the names of its innermost folders in front of it, as many as it takes to tell them apart: ``cat/0.jpg``
    and ``dog/0.jpg`` become ``cat_0.jpg`` and ``dog_0.jpg``. One that isn't free by then gets a number as well. What
    comes out depends on the sources only, not on their order on the disk.

    Parameters
    ----------
    name : str
    sources : list of str
        Their paths, sorted.
    dataset : str
        The dataset that they are in; a folder of this name at the top says nothing new.
    taken : set of str
        Names of others; those that are given are added.
    """
    folders = [_folders(source, dataset) for source in sources]
    deepest = max(map(len, folders))
    for depth in range(1, deepest + 1):
        wanted = [_joined(parts[-depth:], name) for parts in folders]
        if len(set(wanted)) == len(wanted):
            break
    else:
        wanted = [_joined(parts, name) for parts in folders]
    found = []
    for want in wanted:
        free = next(candidate for candidate in _numbered(want) if candidate not in taken)
        taken.add(free)
        found.append(free)
    return found


def _folders(source: str, dataset: str) -> list[str]:
    parts = [part for part in source.split("/")[:-1] if part not in ("", ".", "..")]
    return parts[1:] if parts[:1] == [dataset] and not source.startswith("/") else parts


def _joined(folders: Sequence[str], name: str) -> str:
    return "_".join([*folders, name])


def _numbered(name: str) -> Iterator[str]:
    stem, extension = splitext(name)
    yield _cut(stem, "", extension)
    for number in range(1, 1 << 62):
        yield _cut(stem, f"_{number}", extension)


def _cut(stem: str, number: str, extension: str) -> str:
    """A name that fits into a file system, at the cost of its stem."""
    room = MAX_NAME_BYTES - len(os.fsencode(number + extension))
    raw = os.fsencode(stem)
    while len(raw) > room:
        stem = stem[1:]  # its end tells it from its neighbours
        raw = os.fsencode(stem)
    return f"{stem}{number}{extension}"
