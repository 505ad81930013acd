"""What is to be packed, in columns: a million files take tens of megabytes."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from posixpath import dirname
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery import layout
from blobdir.filenames import JUNK_FOLDERS, is_junk
from blobdir.packing.classfolders import SplitFolders
from blobdir.packing.columns import TextColumn
from blobdir.packing.naming import distinct_names
from blobdir.packing.report import Problem
from blobdir.tarwriting.reading import is_inside, stamp_of
from blobdir.temporary import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.packing.labelled import Labelled, LabelSource
    from blobdir.packing.report import PackOptions

_LISTED_HIDDEN: Final = 5


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
        Path of each below `folder`, and its name in the dataset; sorted by name. One column where they are the same.
    sizes, stamps : array of int
        Bytes, and `blobdir.tarwriting.reading.stamp_of` each.
    tags : list of tuple of str
        Of a list only: the tags of each.
    annotations : list of (str, dict, Labelled or None)
        Of a list only: the path of each one's annotation, or the annotation itself; of labels: what they say.
    """

    path: str
    folder: str
    sources: TextColumn = field(default_factory=TextColumn)
    names: TextColumn = field(default_factory=TextColumn)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    stamps: array[int] = field(default_factory=lambda: array("q"))
    tags: list[tuple[str, ...]] = field(default_factory=list)
    annotations: list[str | dict[str, Any] | Labelled | None] = field(default_factory=list)

    def add(self, source: str, name: str, size: int, stamp: int) -> None:
        """Append an image."""
        self.sources.append(source)
        self.names.append(name)
        self.sizes.append(size)
        self.stamps.append(stamp)

    def settle(self, problems: list[Problem], options: PackOptions) -> dict[str, str]:
        """Sort by name, and decide about names that are there twice.

        Returns
        -------
        dict
            Name -> source of those that got another one than they had.
        """
        found = self.names.order()
        if (found[1:] < found[:-1]).any():
            order = found.tolist()
            self._reorder(order, self.names.take(order))
        del found
        if not any(self.names.spelled(i) == self.names.spelled(i - 1) for i in range(1, len(self.names))):
            return {}
        # Equal names by their sources: which is the first mustn't depend on the order of a folder.
        order = sorted(range(len(self.names)), key=lambda i: (self.names.spelled(i), self.sources.spelled(i)))
        self._reorder(order, self.names.take(order))
        self._leave_out_repeated(problems, last=options.on_conflict == "replace")
        if options.on_conflict == "rename":
            return self._rename(problems)
        self._leave_out(problems, last=options.on_conflict == "replace")
        return {}

    def _same_names(self) -> Iterator[range]:
        """Numbers of the images that share a name, one range for each name."""
        first = 0
        for i in range(1, len(self.names) + 1):
            if i == len(self.names) or self.names.spelled(i) != self.names.spelled(first):
                yield range(first, i)
                first = i

    def _leave_out_repeated(self, problems: list[Problem], *, last: bool) -> None:
        """Keep one of the rows of a list that give one file the same name: it would be in the dataset twice."""
        if not self.annotations:
            return
        which, kept = "last" if last else "first", []
        for group in self._same_names():
            files: dict[str, list[int]] = {}
            for i in group:
                files.setdefault(self.sources[i], []).append(i)
            for rows in files.values():
                keep = rows[-1] if last else rows[0]
                kept.append(keep)
                problems += [self._repeated(i, keep, which) for i in rows if i != keep]
        if len(kept) != len(self.names):
            kept.sort()
            self._reorder(kept, self.names.take(kept))

    def _repeated(self, row: int, kept: int, which: str) -> Problem:
        if (self.tags[row], self.annotations[row]) == (self.tags[kept], self.annotations[kept]):
            return Problem("repeated", self.sources[row], "is in the list again; it was packed once")
        text = f"is in the list again, with other tags or another annotation; those of the {which} line were taken"
        if not isinstance(self.annotations[row], (str, dict, type(None))):  # there is no list, but labels
            text = f"is of two splits, which are one dataset here; the labels of the {which} one were taken"
        return Problem("conflict", self.sources[row], text)

    def _leave_out(self, problems: list[Problem], *, last: bool) -> None:
        """Keep the first, or the last, of those of one name."""
        kept = []
        for group in self._same_names():
            keep = group[-1] if last else group[0]
            kept.append(keep)
            for i in group:
                if i == keep:
                    continue
                if last:
                    text = f"has the name of {self.sources[keep]}, which replaces it"
                else:
                    text = f"has the name of {self.sources[keep]}, which is in the same dataset; it was left out"
                problems.append(Problem("conflict", self.sources[i], text))
        self._reorder(kept, self.names.take(kept))

    def _rename(self, problems: list[Problem]) -> dict[str, str]:
        """Give those of one name their folders' names, too."""
        groups = [group for group in self._same_names() if len(group) > 1]
        if not groups:
            return {}
        shared = {i for group in groups for i in group}
        taken = {self.names[i] for i in range(len(self.names)) if i not in shared}
        new: dict[int, str] = {}
        for group in groups:
            sources = [self.sources[i] for i in group]
            names = distinct_names(self.names[group[0]], sources, self.path, taken)
            new.update(zip(group, names, strict=True))
        renamed = [i for i in sorted(new) if new[i] != self.names[i]]
        first = renamed[0]
        text = (
            f"{len(renamed):,} of its images share a name with another one, and have their folders' in front of theirs "
            f"now: {self.sources[first]} is {new[first]}"
        )
        problems.append(Problem("renamed", layout.dataset_name(self.path), text))
        before = {new[i]: self.sources[i] for i in renamed}
        found = [new.get(i) or self.names[i] for i in range(len(self.names))]
        order = sorted(range(len(found)), key=lambda i: os.fsencode(found[i]))
        self._reorder(order, TextColumn(found[i] for i in order))
        return before

    def _reorder(self, order: Sequence[int], names: TextColumn) -> None:
        self.sources, self.names = self.sources.take(order), names
        self.sizes = array("q", [self.sizes[i] for i in order])
        self.stamps = array("q", [self.stamps[i] for i in order])
        if self.annotations:
            self.tags, self.annotations = [self.tags[i] for i in order], [self.annotations[i] for i in order]


@dataclass(slots=True)
class Content:
    """What a folder of the source holds, sorted by bytes.

    Attributes
    ----------
    folders : list of str
    names : TextColumn
        Of its files.
    sizes, stamps : array of int
        Of its files; empty where nobody wanted them.
    """

    folders: list[str]
    names: TextColumn
    sizes: array[int]
    stamps: array[int]


@dataclass(slots=True)
class Listing:
    """A source, listed.

    Attributes
    ----------
    root : str
    follow_links : bool
        Whether links that lead out of it are followed.
    datasets : list of DatasetItems
    annotations : list of DatasetItems
        Annotations that can be packed.
    files : list of (str, TextColumn)
        Other files, to be copied: a folder below `root`, and names in it.
    folders : list of str
        Folders that are to be there, whether there is something in them or not.
    tags : set of str
        Names of tags that a plain folder's annotations have.
    found : int
        Images of the source, with those that can't be packed.
    renamed : dict
        See `blobdir.packing.report.PackReport`.
    is_project : bool
    images_in_folders : int
        Of a project: those that lie in folders of ``img/``, and stay files.
    problems : list of Problem
    labelled : LabelSource or None
        Of labels only.
    splits : SplitFolders
        Of a plain folder whose folders are labels.
    meta : dict
        Of a store that has one: content of ``meta.json``, to which classes and tags are added that it doesn't name.
    """

    root: str
    follow_links: bool = False
    datasets: list[DatasetItems] = field(default_factory=list)
    annotations: list[DatasetItems] = field(default_factory=list)
    files: list[tuple[str, TextColumn]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    found: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    is_project: bool = False
    images_in_folders: int = 0
    problems: list[Problem] = field(default_factory=list)
    labelled: LabelSource | None = None
    splits: SplitFolders = field(default_factory=SplitFolders)
    meta: dict[str, Any] = field(default_factory=dict)
    _hidden: list[str] = field(default_factory=list)
    _followed: set[str] = field(default_factory=set)

    @property
    def limit(self) -> str:
        """Folder out of which no link is followed; empty: all are."""
        return "" if self.follow_links else self.root

    @property
    def file_count(self) -> int:
        """Files to be copied."""
        return sum(len(names) for _, names in self.files)

    def made_folders(self, options: PackOptions) -> list[str]:
        """All folders of the project that is made, empty ones too; those above them aren't named."""
        folders = [layout.BLOB_DIR, *self.folders]
        for dataset in self.datasets:
            packed = any(items.path == dataset.path for items in self.annotations)
            if self.is_project and packed:
                folders.append(layout.join(dataset.path, layout.PACKED_ANNOTATIONS))
            elif options.annotations == "loose":  # the SDK wants the folder, even an empty one
                folders.append(layout.join(dataset.path, layout.ANNOTATIONS))
        return folders

    def scan(self, folder: str, *, stamps: bool = True) -> Content:
        """List a folder of the source, with or without sizes and stamps; what isn't a file or folder is reported."""
        content = Content([], TextColumn(), array("q"), array("q"))
        try:
            descriptor = os.open(os.path.join(self.root, folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with os.scandir(descriptor) as scan:
                    for entry in scan:
                        self._look_at(entry, folder, content, stamps)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.problems.append(Problem("unreadable", folder or ".", f"can't be listed: {error.strerror}"))
        order = content.names.order().tolist()
        content.folders.sort(key=os.fsencode)
        content.names = content.names.take(order)
        if stamps:
            content.sizes = array("q", [content.sizes[i] for i in order])
            content.stamps = array("q", [content.stamps[i] for i in order])
        return content

    def _look_at(self, entry: os.DirEntry[str], folder: str, content: Content, stamps: bool) -> None:
        name = entry.name
        try:
            if self._is_hidden(entry):
                self._hidden.append(layout.join(folder, name))
            elif entry.is_symlink():
                self._look_at_link(folder, name, content, stamps)
            elif entry.is_dir(follow_symlinks=False):
                if not (self._followed and self._is_above(layout.join(folder, name), folder)):
                    content.folders.append(name)
            elif entry.is_file(follow_symlinks=False):
                self._take(content, name, entry.stat(follow_symlinks=False) if stamps else None)
            else:
                self._refuse(folder, name, "isn't a file: a device, a pipe, a socket")
        except OSError as error:
            self._refuse(folder, name, f"can't be looked at: {error.strerror}")

    @staticmethod
    def _take(content: Content, name: str, found: os.stat_result | None) -> None:
        if found is not None:
            content.sizes.append(found.st_size)
            content.stamps.append(stamp_of(found))
        content.names.append(name)

    def _is_hidden(self, entry: os.DirEntry[str]) -> bool:
        name = entry.name
        if is_temporary(name):
            return True
        if not name.startswith(".") and name not in JUNK_FOLDERS and not is_junk(name):
            return False
        if entry.is_dir(follow_symlinks=False) or name in JUNK_FOLDERS:
            return True
        return is_junk(name) or not self.is_project  # other dot files of a project are its files

    def _refuse(self, folder: str, name: str, text: str, code: str = "unreadable") -> None:
        self.problems.append(Problem(code, layout.join(folder, name), text))

    # -- links -----------------------------------------------------------------------------------------------

    def _look_at_link(self, folder: str, name: str, content: Content, stamps: bool) -> None:
        """Follow a link inside the source once, and one that leads out where that was asked for."""
        path = layout.join(folder, name)
        full = os.path.join(self.root, path)
        try:
            found = os.stat(full)
        except OSError:
            circle = os.path.lexists(os.path.realpath(full))
            what = "in circles" if circle else f"to {os.readlink(full)}, where nothing is"
            return self._refuse(folder, name, f"is a symbolic link that leads {what}")
        inside = is_inside(full, self.root)
        if not inside and not self.follow_links:
            text = f"is a symbolic link out of the source, to {os.path.realpath(full)}; --follow-links follows it"
            return self._refuse(folder, name, text, "link")
        if os.path.isfile(full):
            return self._take(content, name, found if stamps else None)
        if not os.path.isdir(full):
            return self._refuse(folder, name, "leads to what isn't a file: a device, a pipe, a socket")
        if self._is_above(path, folder):
            return None
        if inside and any(link in self._inside_links() for link in with_parents(folder)):
            text = "is a symbolic link in a folder that a link has led to; links in the source are followed once"
            return self._refuse(folder, name, text, "link")
        self._followed.add(path)
        content.folders.append(name)
        return None

    def _inside_links(self) -> set[str]:
        return {path for path in self._followed if is_inside(os.path.join(self.root, path), self.root)}

    def _is_above(self, path: str, folder: str) -> bool:
        """Whether a folder is one of those that it lies in, so that there is no end; it's said then."""
        real = os.path.realpath(os.path.join(self.root, path))
        if all(real != os.path.realpath(os.path.join(self.root, above)) for above in with_parents(folder)):
            return False
        self.problems.append(Problem("link-loop", path, "leads to a folder that it lies in; it isn't entered again"))
        return True

    def finish(self) -> None:
        """Say in one line what was left out because it's hidden."""
        if not self._hidden:
            return
        shown = sorted(self._hidden)[:_LISTED_HIDDEN]
        more = "" if len(shown) == len(self._hidden) else ", …"
        text = f"{len(self._hidden):,} hidden files and folders weren't looked at: {', '.join(shown)}{more}"
        self.problems.append(Problem("hidden", ".", text))


def with_parents(folder: str) -> Iterator[str]:
    """A folder below the root and those that it lies in, the root (an empty path) last."""
    while folder:
        yield folder
        folder = dirname(folder)
    yield ""
