"""What is wrong with a project that is to be copied: a copy of a damaged one is made only where that is asked for.

Looked at are the project's lists and offsets, and for each blob the headers before a few members, as when a project on
this machine is opened. A change that was cut off isn't a defect to be copied: without its journal, half of it would
look whole.
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from blobdir.datasets import DatasetView, ProjectView, open_view
from blobdir.discovery import DiscoveryOptions, layout, pairing
from blobdir.discovery.unfinished import UNFINISHED
from blobdir.errors import BlobdirWarning, LinkError, OffsetsError, PackError, ReadError, SourceChangedError
from blobdir.index import FIRST_BLOB
from blobdir.offsets import read_offsets
from blobdir.opening import WARN_AT_MOST, build
from blobdir.packing.sound import conflicts_of, faults_of, named_by, refuse
from blobdir.sources.retries import NoRangesError
from blobdir.tree import Tree
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blobdir.index import SourceRecord
    from blobdir.moving.localfiles import LocalFiles
    from blobdir.sources import LocalStorage, RemoteStorage
    from blobdir.sources.keys import Keys

WHOLE_BYTES = 8 << 20
INSTEAD = "; --with-defects copies it as it is"
_UNREADABLE = frozenset(("offsets-unreadable", "blob-unreadable"))


def check_source(here: LocalStorage, files: LocalFiles, *, with_defects: bool) -> list[str]:
    """Look at a project on this machine that is to be copied in full.

    Parameters
    ----------
    here : LocalStorage
        Held, so that nobody changes it meanwhile.
    files : LocalFiles
    with_defects : bool

    Returns
    -------
    list of str
        The defects; none without `with_defects`.

    Raises
    ------
    LinkError
        Something would be left out, since it's outside the project.
    PackError
        There is a defect, or a link to what only blobs hold.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        project = open_view(here.root, follow_links=here.follow_links)
    in_blobs = links_to_members(here, project.tree, files)
    files.leave_unreachable(in_blobs)
    if files.unreachable and not with_defects:
        path, why = min(files.unreachable.items(), key=lambda item: item[0] in in_blobs)
        more = f" (and {len(files.unreachable) - 1:,} more)" if len(files.unreachable) > 1 else ""
        error = PackError if path in in_blobs else LinkError
        raise error(f"{here.url}: {path}: {why}{more}. Nothing was written; --with-defects leaves it out")
    faults = faults_of(project, project.tree.index.header.datasets, whole=True)
    if not with_defects:
        refuse(here.url, faults, INSTEAD)
    _tell_conflicts(project, project.tree.index.header.datasets)
    return [fault for fault in faults if fault.partition(": ")[0] not in files.unreachable]


def links_to_members(here: LocalStorage, tree: Tree, files: LocalFiles) -> dict[str, str]:
    """Links to what readers see in the project, and of which blobs hold some or all: no file could be copied -> why.

    Behind a link to a whole dataset, its offsets files are copied too, and show the same.
    """
    found = {}
    for path in (*files.unreachable, *files.links):
        try:
            full = os.path.join(here.root, path)
            row = tree.find(path if path in files.unreachable else os.path.relpath(os.path.realpath(full), here.root))
        except OSError:
            continue
        if tree.is_member(row) or (tree.is_directory(row) and _shows_members_of_others(tree, row)):
            found[path] = (
                f"is a link, to {os.readlink(full)}, and what it shows lies in blobs, so there is no file to copy; put "
                f"the files themselves in its place (`blobdir cp`), or remove it"
            )
    return found


def _shows_members_of_others(tree: Tree, top: int) -> bool:
    """Whether a folder shows members of blobs, and is no dataset, nor has any in it, whose offsets files name them."""
    path, index = tree.path(top), tree.index
    if any(dataset == path or dataset.startswith(f"{path}/") or not path for dataset in index.header.datasets):
        return False
    ranges = (index.children(row) for row in index.walk(top))
    return any(bool((index.source[rows.start : rows.stop] >= FIRST_BLOB).any()) for rows in ranges)


def check_remote(
    there: RemoteStorage, keys: Keys, datasets: Collection[str] | None, *, with_defects: bool
) -> list[str]:
    """The same of a project behind a backend.

    Parameters
    ----------
    there : RemoteStorage
    keys : sequence
        What was listed of it.
    datasets : collection of str, optional
        Paths of those that are copied; all if not given.
    with_defects : bool

    Raises
    ------
    PackError
        There is a defect.
    SourceChangedError
        A change hasn't ended, or was cut off.
    ReadError
        The backend can't be reached, or refuses.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        listed = there.as_listed(keys)
        project = ProjectView[DatasetView](Tree(build(listed, DiscoveryOptions()), listed))
    wanted = project.tree.index.header.datasets if datasets is None else datasets
    return check_view(project, there, wanted, whole=datasets is None, with_defects=with_defects)


def check_view(
    project: ProjectView[DatasetView],
    there: RemoteStorage,
    datasets: Collection[str],
    *,
    whole: bool,
    with_defects: bool = False,
) -> list[str]:
    """The same of one that is open. See `blobdir.packing.sound.check_sound` for `whole`."""
    unfinished = next((defect for defect in project.defects if defect.code == UNFINISHED), None)
    if unfinished is not None:
        raise SourceChangedError(f"{there.url}: {unfinished.message}. Nothing was written")
    if lost := next((defect for defect in project.defects if defect.code in _UNREADABLE), None):
        raise ReadError(f"{there.url}: {lost.message}. Nothing was written")  # of no use to a copy either
    faults = faults_of(project, datasets, whole=whole)
    faults += _Fit(project.tree, there).faults(datasets)
    if not with_defects:
        refuse(there.url, faults, INSTEAD)
    _tell_conflicts(project, datasets)
    return faults


def _tell_conflicts(project: ProjectView[DatasetView], datasets: Collection[str]) -> None:
    """Say which images aren't seen, here and in the copy, though nothing is left out."""
    found = conflicts_of(project, datasets)
    for message in found[:WARN_AT_MOST]:
        warnings.warn(f"{project.url}: {message}", BlobdirWarning, stacklevel=4)
    if len(found) > WARN_AT_MOST:
        more = counted(len(found) - WARN_AT_MOST, "more conflict")
        warnings.warn(f"{project.url}: and {more}; `blobdir info` lists them", BlobdirWarning, stacklevel=4)


class _Fit:
    """Whether offsets fit blobs behind a backend, by the headers before the first, middle and last name of a folder.

    All headers are asked for together. `blobdir.discovery.pairing` does the same on a disk, when a project is opened.
    """

    def __init__(self, tree: Tree, there: RemoteStorage) -> None:
        self._tree, self._there = tree, there
        self._heads: dict[tuple[str, int], bytes] = {}
        self._whole: dict[str, bytes] = {}

    def faults(self, datasets: Collection[str]) -> list[str]:
        """What doesn't fit, the first of each folder and blob."""
        places = list(self._places(datasets))
        records = self._tree.index.header.blobs
        sizes = {blob.path: blob.size for blob in records}
        blobs = {path: sizes[path] for path in dict.fromkeys(place[0] for place in places)}
        for number, pickles in named_by(self._tree.index.header, datasets).items():
            blob = records[number]
            if blob.path not in blobs and blob.defect < 0:  # nothing of it is shown
                blobs[blob.path] = blob.size
                places += self._places_in(blob, pickles)
        wanted = dict.fromkeys([(path, 0) for path in blobs])
        wanted |= dict.fromkeys((path, max(0, start - pairing.BLOCK)) for path, start, _, _ in places)
        self._fetch(list(wanted), [path for path in blobs if blobs[path] <= WHOLE_BYTES])
        heads = [pairing.blob_defect(path, self._heads[path, 0]) for path in blobs if (path, 0) in self._heads]
        bad = {defect.path: defect.message for defect in heads if defect is not None}
        for path, start, size, name in places:
            known = path in self._whole or (path, max(0, start - pairing.BLOCK)) in self._heads
            if known and path not in bad and (what := self._misfit(path, start, size, name)):
                shown = name.decode("utf-8", "backslashreplace")
                bad[path] = (
                    f"{path}: the offsets don't fit it: {shown} should be bytes {start} to {start + size}, but {what}; "
                    "the blob was replaced, or the offsets are of another one"
                )
        return list(bad.values())

    def _fetch(self, wanted: list[tuple[str, int]], small: list[str]) -> None:
        """Fetch what stands before members; of a server that serves no ranges, whole blobs, which `fetch` does too."""
        ranges = [(path, low, low + pairing.BLOCK) for path, low in wanted]
        try:
            self._heads = dict(zip(wanted, self._there.iter_ranges(ranges), strict=True))
        except ReadError as error:
            if not isinstance(error.__cause__, NoRangesError):
                raise
            self._whole = dict(zip(small, self._there.iter_files(small), strict=True))
            self._heads = {(path, 0): data[: pairing.BLOCK] for path, data in self._whole.items()}
        except FileNotFoundError as error:
            raise SourceChangedError(f"{error}: was removed while it was looked at") from error

    def _places(self, datasets: Collection[str]) -> Iterator[tuple[str, int, int, bytes]]:
        """Path of the blob, first byte, size and name of a few members of each folder and blob."""
        index = self._tree.index
        for folder in (f"{path}/{kind}" for path in datasets for kind in (layout.ITEMS, layout.ANNOTATIONS)):
            try:
                top = self._tree.find(folder)
            except OSError:
                continue
            base = len(self._tree.path(top)) + 1
            for row in index.walk(top):
                rows = index.children(row)
                sources = index.source[rows.start : rows.stop]
                for number in np.unique(sources[sources >= FIRST_BLOB]).tolist():
                    blob = index.header.blobs[number - FIRST_BLOB]
                    if blob.defect >= 0:
                        continue
                    mine = np.flatnonzero(sources == number) + rows.start
                    order = np.argsort(index.offset[mine], kind="stable")
                    for i in sorted({0, len(mine) // 2, len(mine) - 1}):
                        child = int(mine[order[i]])
                        start, size = int(index.offset[child]), int(index.size[child])
                        if 0 <= blob.size < start + size:
                            continue  # that is another defect
                        yield blob.path, start, size, self._tree.path(child)[base:].encode("utf-8", "surrogateescape")

    def _places_in(self, blob: SourceRecord, pickles: list[str]) -> Iterator[tuple[str, int, int, bytes]]:
        """The same, by the offsets themselves."""
        for data in self._there.iter_files(pickles):
            with suppress(OffsetsError):  # that is another defect
                table = read_offsets(data)
                for i in sorted({0, len(table) // 2, len(table) - 1}) if len(table) else ():
                    if not 0 <= blob.size < int(table.end[i]):
                        yield blob.path, int(table.start[i]), int(table.end[i] - table.start[i]), table.name(i)

    def _misfit(self, path: str, start: int, size: int, name: bytes) -> str:
        def before(n: int) -> bytes:
            low = max(0, start - n)
            if path in self._whole:
                return self._whole[path][low:start]
            known = self._heads[path, low][: start - low] if n <= pairing.BLOCK else b""
            return known or self._there.read_range(path, low, start)

        def linked(member: bytes) -> bool:
            return pairing.Members(self._there.open(path)).has(start, name, member)

        return pairing.misfit(before, size, name, linked)
