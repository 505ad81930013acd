"""Subsets: another project with some of the images, and the same blobs."""

from __future__ import annotations

import os
import stat
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from posixpath import basename
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.datasets import open_view, refuse_tars
from blobdir.discovery import layout, pairing
from blobdir.errors import BlobdirWarning, PackError, UsageError
from blobdir.index import FIRST_BLOB, LOOSE
from blobdir.offsets import OffsetsTable
from blobdir.offsets.streaming import iter_offsets
from blobdir.packing.backups import backed_up, is_backup_of_any
from blobdir.packing.choosing import Choice, SubsetOptions, choose, datasets_of
from blobdir.packing.fitting import check_members
from blobdir.packing.linked import check_chosen
from blobdir.packing.locking import hold
from blobdir.packing.newfolder import NewFolder
from blobdir.packing.otherfiles import leading_to_datasets, others_of_dataset, others_of_project
from blobdir.packing.sharing import Copying, share_blob
from blobdir.packing.sidefiles import SideFiles
from blobdir.packing.sound import check_sound
from blobdir.packing.sums import SUMS, format_sums, read_sums
from blobdir.packing.writer import encoded
from blobdir.sources import Stat, on_this_machine, open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.offsets.attributes import State
    from blobdir.packing.locking import Check
    from blobdir.packing.made import Made
    from blobdir.packing.otherfiles import Others
    from blobdir.packing.report import Problem

WHOLE = "README.md"
"""The file of a project that says what all of it has; what else lies beside ``meta.json`` holds for any part too."""
SUFFIX = ".subset"


@dataclass(slots=True)
class SubsetReport:
    """What a subset has, and what it may lack.

    Attributes
    ----------
    datasets : dict
        Name of each dataset that has any -> images.
    blobs : list of str
    seconds : float
    problems : list of Problem
        Annotations that can't be used, so that their images weren't chosen.
    without_annotation : int
        Images that weren't chosen because they have no annotation, and so neither class nor tag.
    others : list of str
        Files, and folders with a slash behind them, that belong to no image and aren't in it.
    """

    datasets: dict[str, int]
    blobs: list[str]
    seconds: float
    problems: list[Problem] = field(default_factory=list)
    without_annotation: int = 0
    others: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether it has everything that was meant."""
        return not self.problems


def subset(
    project: str | os.PathLike[str], dest: str | os.PathLike[str], options: SubsetOptions | None = None
) -> SubsetReport:
    """Make a project with some images of another one: offsets are written, files copied, blobs are linked.

    What belongs to the images goes along: annotations, ``meta/``, ``img_info/``, ``seg/``, ``masks_*/``; and what lies
    as a file beside ``meta.json`` or in a dataset's own folder, but for ``README.md``, which is of the whole.

    Parameters
    ----------
    project : path
        On this machine. Nobody can change it meanwhile.
    dest : path
        Must not exist; appears when it's whole.
    options : SubsetOptions, optional

    Returns
    -------
    SubsetReport
        Says what couldn't be looked at: nothing is left out without a word.

    Raises
    ------
    UsageError
        `dest` exists, a dataset, class or tag isn't there, hard links can't be made, or nothing is chosen.
    NotFoundError
        A name isn't there, or a pattern fits nothing.
    PackError
        The project has a defect where the images are, or may be. Nothing was written.
    BusyError
        Somebody is changing the project, or making `dest`.
    """
    began = time.perf_counter()
    options = options or SubsetOptions()
    folder = NewFolder(dest, SUFFIX, resume=True)  # what is left of one that was killed is made anew
    folder.check()
    with _held(project, folder) as check:
        opened = open_view(project, follow_links=options.follow_links)
        refuse_tars(opened.tree)
        choice = choose(opened, options)
        check_chosen(on_this_machine(opened.tree.storage, _SHARES), _looked_at(choice))
        check_sound(opened, _looked_at(choice), whole=not options.datasets)
        if not choice.count:
            raise UsageError(f"no image is chosen: the conditions hold for none{choice.said()}")
        with folder:
            try:
                folder.clear()
                with Copying(on_this_machine(opened.tree.storage, _SHARES)) as copying:
                    writer = _Writer(opened, choice, folder.made, options, copying)
                    blobs = writer.write()
                _check_made(folder.work, choice, options)
                check("nothing was made; try again")
            except BaseException as error:
                folder.discard(error)
                raise
            folder.publish()
    counts = {opened[path].name: len(names) for path, names in choice.images.items() if names}
    seconds = time.perf_counter() - began
    return SubsetReport(counts, blobs, seconds, choice.problems, choice.without_annotation, writer.others)


_SHARES: Final = "a subset shares the blobs of a project on this machine; fetch it first"


@contextmanager
def _held(project: str | os.PathLike[str], folder: NewFolder) -> Iterator[Check]:
    """Keep a project as it is, if it is one; what isn't, is found out by who opens it."""
    storage = on_this_machine(open_storage(project), _SHARES)
    if not os.path.isdir(storage.url):
        yield lambda _: None
        return
    target = os.path.join(os.path.realpath(folder.target.parent), folder.target.name)
    if target.startswith(storage.url.rstrip("/") + "/"):
        raise UsageError(f"{folder.target}: is in the project {storage.url}; choose a place outside")
    with hold(storage.url) as check:
        yield check


def _looked_at(choice: Choice) -> set[str]:
    return choice.considered | {path for path, names in choice.images.items() if names}


class _Writer:
    """Writes the chosen images of a project into a folder."""

    def __init__(
        self, project: ProjectView[DatasetView], choice: Choice, made: Made, options: SubsetOptions, copying: Copying
    ) -> None:
        storage = on_this_machine(project.tree.storage, _SHARES)
        self._project, self._tree, self._storage = project, project.tree, storage
        self._choice, self._made, self._options, self._copying = choice, made, options, copying
        self._blobs: dict[int, str] = {}
        self._leading = leading_to_datasets(self._tree)
        self.others: list[str] = []

    def write(self) -> list[str]:
        """Write everything; the paths of the blobs."""
        for path in datasets_of(self._project, self._choice):
            self._write_dataset(path, self._choice.images.get(path, []))
        for number, blob in sorted(self._blobs.items()):
            record = self._tree.index.header.blobs[number - FIRST_BLOB]
            expected = Stat("file", record.size, record.mtime_ns, etag=record.etag)
            fd, name = self._made.of(blob)
            share_blob(self._storage, blob, name, self._options.blobs, expected, dir_fd=fd)
            self._made.take(blob, shared=True)
        self._copy_others(others_of_project(self._tree, self._leading))
        self._copy_backups()
        self._write_sums()
        return sorted(self._blobs.values())

    def _write_dataset(self, path: str, names: list[str]) -> None:
        self._made.fd(layout.join(path, layout.ANNOTATIONS))
        if not names:
            self._made.fd(layout.join(path, layout.ITEMS))
            if not len(self._project[path]):
                empty = SideFiles(self._tree, self._project[path])
                self._copy_others(others_of_dataset(self._tree, empty, [], (), self._leading))
            return
        self._take(path, "", layout.ITEMS, names)
        side = SideFiles(self._tree, self._project[path])
        files = list(dict.fromkeys(file for name in names for file in side.of(name)))  # images can share some
        prefix = f"{layout.ANNOTATIONS}/"
        annotations = [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
        self._take(path, layout.PACKED_ANNOTATIONS, layout.ANNOTATIONS, annotations)
        for file in files:
            if not file.startswith(prefix):
                self._copy(self._tree.find(f"{path}/{file}"), f"{path}/{file}")
        self._copy_others(others_of_dataset(self._tree, side, names, set(files), self._leading))

    def _copy_others(self, others: Others) -> None:
        """Copy what belongs to all of it, or is called like the images, and note what isn't in it."""
        for path in others.taken:
            name = basename(path)
            if path == WHOLE or layout.is_offsets(name) or backed_up(name):
                continue
            try:
                row = self._tree.find(path)
            except OSError:  # a link that leads out, or nowhere
                self.others.append(path)
                continue
            self._copy(row, path)
        self.others += others.left

    def _take(self, path: str, pickles: str, shown: str, names: list[str]) -> None:
        """Take files that readers see in the folder `shown`: offsets of those in blobs, copies of the others."""
        index = self._tree.index
        rows = self._tree.find_many([f"{path}/{shown}/{name}" for name in names])
        sources, starts = index.source[rows], index.offset[rows]
        ends = starts + index.size[rows]
        for number in np.unique(sources).tolist():
            entries = []
            for i in np.flatnonzero(sources == number).tolist():
                # A link can lead to a member of another name; as an entry, that would look like a mistake.
                if number < FIRST_BLOB or index.name(int(rows[i])) != os.fsencode(basename(names[i])):
                    self._copy(int(rows[i]), f"{path}/{shown}/{names[i]}")
                else:
                    entries.append((names[i], int(starts[i]), int(ends[i])))
            if entries:
                record = index.header.blobs[number - FIRST_BLOB]
                blob = self._blobs[number] = record.path
                pickle = layout.join(path, pickles, f"{basename(blob).rpartition('.')[0]}{layout.OFFSETS_SUFFIX}")
                states = self._states(pickle)
                kept = [states.get((os.fsencode(name), start, end), b"") for name, start, end in entries]
                table = OffsetsTable.from_entries(entries, states=kept)
                if defect := pairing.mismatch(self._storage, record, pickle, table, range(len(table))):
                    raise PackError(f"{self._project.url}: {defect.message}. Nothing was written")
                self._made.write(pickle, [encoded(table, pickle)])

    def _states(self, pickle: str) -> dict[tuple[bytes, int, int], State]:
        """What the entries of an offsets file have beside name and range; those that have anything."""
        found: dict[tuple[bytes, int, int], State] = {}
        for _, table in iter_offsets(os.path.join(self._storage.root, pickle), attributes=True):
            for row, state in table.attributes.rows() if table.attributes is not None else ():
                found[table.name(row), int(table.start[row]), int(table.end[row])] = state
        return found

    def _copy(self, row: int, target: str) -> None:
        """Copy a file; what can't be had is an error that says why."""
        if int(self._tree.index.source[row]) == LOOSE:
            self._copy_file(self._tree.path(row), target)
            return
        check_members(self._tree, np.array([row]))
        self._made.put(target, self._tree.read(row))

    def _copy_file(self, path: str, target: str) -> None:
        fd, name = self._made.of(target)
        self._made.take_any(target, self._copying.copy(path, name, dir_fd=fd))

    def _copy_backups(self) -> None:
        """Copy backups of offsets whose blobs are shared: without, `compact` would take for removed what they name."""
        shared = set(self._blobs.values())
        for path in ["", *(path for path, names in self._choice.images.items() if names)]:
            for folder in (path, layout.join(path, layout.PACKED_ANNOTATIONS)):
                place = os.path.join(self._storage.root, folder)
                for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
                    one = layout.join(folder, name)
                    is_file = stat.S_ISREG(os.lstat(os.path.join(place, name)).st_mode)
                    if is_file and is_backup_of_any(one, shared):
                        self._copy_file(one, one)

    def _write_sums(self) -> None:
        """Checksums of the blobs that are shared, if the project has them."""
        sums = read_sums(os.path.join(self._project.url, layout.BLOB_DIR, SUMS))
        mine = {basename(blob) for blob in self._blobs.values() if blob.startswith(f"{layout.BLOB_DIR}/")}
        known = {name: digest for name, digest in sums.items() if name in mine}
        if known:
            self._made.write(f"{layout.BLOB_DIR}/{SUMS}", [format_sums(known)])


def _check_made(work: Path, choice: Choice, options: SubsetOptions) -> None:
    """Open what was made, and make sure that it is what was chosen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)  # a project without meta.json is copied without one
        made = open_view(work, follow_links=options.follow_links or options.blobs == "symlink")
    bad = next((defect.message for defect in made.defects if defect.severity == "error"), "")
    if bad:
        raise PackError(f"{work}: what was made can't be read: {bad}")
    for path, names in choice.images.items():
        if names and (path not in made or set(made[path].names) != set(names)):
            raise PackError(f"{work}: {path} doesn't have the images that it should have; nothing was made")
