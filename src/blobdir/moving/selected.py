"""Some images of a remote project, as a project of their own: only their bytes are fetched, and all that is theirs."""

from __future__ import annotations

import secrets
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.index import FIRST_BLOB
from blobdir.moving.defects import check_view
from blobdir.moving.report import FetchReport
from blobdir.offsets import OffsetsTable, encode_offsets
from blobdir.packing.choosing import choose, datasets_of
from blobdir.packing.fitting import check_members
from blobdir.packing.names import free_stem, slug_of
from blobdir.packing.otherfiles import leading_to_datasets, others_of_dataset
from blobdir.packing.sidefiles import SideFiles
from blobdir.packing.sums import SUMS, format_sums
from blobdir.project import open_project
from blobdir.sources import behind_backend
from blobdir.tarwriting.output import TarOutput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.discovery import Progress
    from blobdir.packing import SubsetOptions
    from blobdir.packing.made import Made
    from blobdir.project import Project
    from blobdir.sources import RemoteOptions

FILES_AT_ONCE = 1000
BYTES_AT_ONCE = 64 << 20


class Selection:
    """Images of a remote project that are to be fetched.

    Parameters
    ----------
    url, storage_options, remote
        See `blobdir.open_project`.
    options : SubsetOptions

    Raises
    ------
    UsageError
        Nothing is chosen.
    PackError
        The project has a defect where the images are, or may be.
    """

    def __init__(
        self,
        url: str,
        storage_options: dict[str, Any] | None,
        options: SubsetOptions,
        remote: RemoteOptions | None,
    ) -> None:
        given = {} if remote is None else asdict(remote)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlobdirWarning)  # a defect in what is chosen is an error
            self._project = open_project(url, storage_options=storage_options, index="none", **given)
        self._choice = choice = choose(self._project, options)
        considered = choice.considered | {path for path, names in choice.images.items() if names}
        there = behind_backend(self._project.tree.storage, "is on this machine")
        check_view(self._project, there, considered, whole=not options.datasets)
        if not choice.count:
            raise UsageError(f"no image is chosen: the conditions hold for none{choice.said()}")

    def write(self, made: Made, progress: Progress | None) -> FetchReport:
        """Write the chosen images with their annotations and side files into what is made, in one new blob a dataset.

        What belongs to the project or to a dataset as a whole comes along, and what lies beside a chosen image and is
        called like it; what else belongs to no image is named. Datasets without images, and those above a
        chosen one, stay datasets. Blocks that an earlier try has fetched come from the cache.
        """
        choice, chosen = self._choice, self._choice.images
        writer = _Writer(self._project, made, choice.count, progress)
        for path, names in chosen.items():
            if names:
                writer.write_dataset(path, names)
        for path in datasets_of(self._project, choice):
            if not chosen.get(path):
                writer.write_empty(path)
        writer.write_rest()
        writer.report.problems, writer.report.without_annotation = choice.problems, choice.without_annotation
        return writer.report


class _Writer:
    def __init__(self, project: Project, made: Made, images: int, progress: Progress | None) -> None:
        self.report = FetchReport()
        self._project = project
        self._tree = project.tree
        self._made = made
        self._images = images
        self._done = 0
        self._progress = progress
        self._sums: dict[str, str] = {}
        self._leading = leading_to_datasets(self._tree)

    def write_dataset(self, path: str, names: list[str]) -> None:
        dataset = self._project[path]
        self.write_empty(path)
        rows = self._tree.find_many([f"{path}/{layout.ITEMS}/{name}" for name in names])
        packed = self._tree.index.source[rows] >= FIRST_BLOB
        self._write_blob(path, [name for name, is_packed in zip(names, packed.tolist(), strict=True) if is_packed])
        loose = [name for name, is_packed in zip(names, packed.tolist(), strict=True) if not is_packed]
        self._copy([f"{path}/{layout.ITEMS}/{name}" for name in loose])
        self._told(len(loose))
        sides = SideFiles(self._tree, dataset)
        files = list(dict.fromkeys(file for name in names for file in sides.of(name)))  # several images can have one
        self._copy([f"{path}/{file}" for file in files])
        self._copy_others(sides, names, files)

    def write_empty(self, path: str) -> None:
        for name in (layout.ITEMS, layout.ANNOTATIONS):
            self._made.fd(layout.join(path, name))
        dataset = self._project[path]
        if not len(dataset):
            self._copy_others(SideFiles(self._tree, dataset), [], [])

    def _copy_others(self, sides: SideFiles, names: list[str], files: list[str]) -> None:
        """Copy what belongs to all of a dataset, or is called like its chosen images; note what isn't in it."""
        others = others_of_dataset(self._tree, sides, names, set(files), self._leading)
        self._copy([path for path in others.taken if not layout.is_offsets(path.rpartition("/")[2])])
        self.report.others += others.left

    def write_rest(self) -> None:
        """Files that belong to no dataset, and the checksums of the blobs."""
        datasets = set(self._tree.index.header.datasets)
        self._copy(self._below(0, "", without={*datasets, layout.BLOB_DIR}))
        if self._sums:
            self._made.write(f"{layout.BLOB_DIR}/{SUMS}", [format_sums(self._sums)])

    def _write_blob(self, path: str, names: list[str]) -> None:
        if not names:
            return
        made, part_name = self._made, f"{secrets.token_hex(6)}.part"
        entries = []
        with TarOutput(part_name, dir_fd=made.fd(made.notes)) as tar:
            for part, contents in self._read([f"{path}/{layout.ITEMS}/{name}" for name in names]):
                for whole, data in zip(part, contents, strict=True):
                    name = whole.removeprefix(f"{path}/{layout.ITEMS}/")
                    entries.append((name, *tar.member(name, data)))
                    self.report.size += len(data)
                self._told(len(part))
            digest, size = tar.finish(), tar.position
        taken = {name.removesuffix(".tar").casefold() for name in self._sums}
        stem = free_stem(slug_of(path), digest, taken)
        self.report.files += len(names)
        made.bring(f"{made.notes}/{part_name}", f"{layout.BLOB_DIR}/{stem}.tar", size, digest)
        self._sums[f"{stem}.tar"] = digest
        pickle = layout.join(path, f"{stem}{layout.OFFSETS_SUFFIX}")
        self._made.write(pickle, [encode_offsets(OffsetsTable.from_entries(entries))])

    def _told(self, images: int) -> None:
        self._done += images
        if self._progress is not None:
            self._progress("images", self._done, self._images)

    def _below(self, row: int, path: str, without: set[str]) -> Iterator[str]:
        for child, name in zip(self._tree.children(row), self._tree.names(row), strict=True):
            below = layout.join(path, name)
            if below in without:
                continue
            if self._tree.is_directory(child):
                yield from self._below(child, below, without)
            else:
                yield below

    # -- bytes ------------------------------------------------------------------------------------------------------

    def _copy(self, paths: Iterator[str] | list[str]) -> None:
        """Copy files to their places."""
        for part, contents in self._read(list(paths)):
            for path, data in zip(part, contents, strict=True):
                self._made.put(path, data)
                self.report.size += len(data)
            self.report.files += len(part)

    def _read(self, paths: list[str]) -> Iterator[tuple[list[str], list[bytes]]]:
        """Files with their contents, so many at a time that they fit into memory."""
        if not paths:
            return
        rows = self._tree.find_many(paths)
        size = np.maximum(self._tree.index.size[rows].astype(np.int64), 0)
        groups = np.cumsum(size) // BYTES_AT_ONCE
        low = 0
        while low < len(paths):
            high = min(int(np.searchsorted(groups, groups[low], side="right")), low + FILES_AT_ONCE)
            contents = self._tree.read_many(rows[low:high])
            check_members(self._tree, np.asarray(rows[low:high], np.int64))  # their headers came with them
            yield paths[low:high], contents
            low = high
