"""What is to be packed, in columns: a million files take tens of megabytes."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Any

from blobdir.discovery import layout
from blobdir.packing.columns import TextColumn
from blobdir.packing.report import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdir.packing.report import PackOptions


@dataclass(slots=True)
class DatasetItems:
    """The images of one dataset.

    Attributes
    ----------
    path : str
        In the project that is made.
    folder : str
        Where the sources lie.
    sources, names : TextColumn
        Path of each below `folder`, and its name in the dataset; sorted by name.
    sizes : array of int
        Bytes.
    tags : list of tuple of str
        Of a list only: the tags of each.
    annotations : list of (str, dict or None)
        Of a list only: the path of each one's annotation, or the annotation itself.
    """

    path: str
    folder: str
    sources: TextColumn = field(default_factory=TextColumn)
    names: TextColumn = field(default_factory=TextColumn)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    tags: list[tuple[str, ...]] = field(default_factory=list)
    annotations: list[str | dict[str, Any] | None] = field(default_factory=list)

    def add(self, source: str, name: str, size: int) -> None:
        """Append an image."""
        self.sources.append(source)
        self.names.append(name)
        self.sizes.append(size)

    def settle(self, problems: list[Problem], options: PackOptions) -> None:
        """Sort by name, and decide about names that are there twice."""
        found = self.names.order()
        if (found[1:] < found[:-1]).any():
            order = found.tolist()
            self._reorder(order, self.names.take(order))
        del found
        if not any(self.names.spelled(i) == self.names.spelled(i - 1) for i in range(1, len(self.names))):
            return
        # Equal names by their sources: which is the first mustn't depend on the order of a folder.
        order = sorted(range(len(self.names)), key=lambda i: (self.names.spelled(i), self.sources.spelled(i)))
        known = set(self.names) if options.on_conflict == "rename" else set()
        kept: list[tuple[str, int]] = []
        last = -1  # in kept, of the first with the name at hand
        for i in order:
            name, source = self.names[i], self.sources[i]
            if last < 0 or self.names[kept[last][1]] != name:
                last = len(kept)
                kept.append((name, i))
                continue
            first = self.sources[kept[last][1]]
            text = f"has the name of {first}, which is in the same dataset"
            if options.on_conflict == "rename":
                free = _free_name(name, known)
                known.add(free)
                kept.append((free, i))
                problems.append(Problem("renamed", source, f"{text}; it is {free} now"))
            elif options.on_conflict == "replace":
                problems.append(Problem("conflict", first, f"has the name of {source}, which replaces it"))
                kept[last] = (name, i)
            else:
                problems.append(Problem("conflict", source, f"{text}; it was left out"))
        kept.sort(key=lambda item: os.fsencode(item[0]))
        self._reorder([i for _, i in kept], TextColumn(name for name, _ in kept))

    def _reorder(self, order: Sequence[int], names: TextColumn) -> None:
        self.sources, self.names = self.sources.take(order), names
        self.sizes = array("q", [self.sizes[i] for i in order])
        if self.annotations:
            self.tags, self.annotations = [self.tags[i] for i in order], [self.annotations[i] for i in order]


def _free_name(name: str, known: set[str]) -> str:
    stem, extension = splitext(name)
    return next(free for i in range(1, 1 << 62) if (free := f"{stem}_{i}{extension}") not in known)


@dataclass(slots=True)
class Listing:
    """A source, listed.

    Attributes
    ----------
    root : str
    datasets : list of DatasetItems
    annotations : list of DatasetItems
        Annotations that can be packed.
    files : TextColumn
        Other files, to be copied: paths below `root`.
    tags : set of str
        Names of tags that a plain folder's annotations have.
    is_project : bool
    problems : list of Problem
    """

    root: str
    datasets: list[DatasetItems] = field(default_factory=list)
    annotations: list[DatasetItems] = field(default_factory=list)
    files: TextColumn = field(default_factory=TextColumn)
    tags: set[str] = field(default_factory=set)
    is_project: bool = False
    problems: list[Problem] = field(default_factory=list)

    def scan(self, folder: str) -> tuple[list[str], TextColumn, list[int]]:
        """Folders, files and their sizes below a folder of the source, sorted by bytes; the rest is reported."""
        folders: list[str] = []
        names, sizes = TextColumn(), array("q")
        try:
            with os.scandir(os.path.join(self.root, folder)) as scan:
                for entry in scan:
                    self._look_at(entry, folder, folders, names, sizes)
        except OSError as error:
            self.problems.append(Problem("unreadable", folder, f"can't be listed: {error.strerror}"))
        order = names.order().tolist()
        return sorted(folders, key=os.fsencode), names.take(order), [sizes[i] for i in order]

    def _look_at(
        self, entry: os.DirEntry[str], folder: str, folders: list[str], names: TextColumn, sizes: array[int]
    ) -> None:
        try:
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():
                sizes.append(entry.stat().st_size)
                names.append(entry.name)
            else:
                self._refuse(folder, entry.name, "isn't a file: a dangling link, a device, a pipe")
        except OSError as error:
            self._refuse(folder, entry.name, f"can't be looked at: {error.strerror}")

    def _refuse(self, folder: str, name: str, text: str) -> None:
        self.problems.append(Problem("unreadable", layout.join(folder, name), text))
