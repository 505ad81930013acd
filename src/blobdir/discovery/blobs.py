"""The blobs of a project: which there are, whether they can serve, and which offsets belong to which."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from blobdir.discovery import layout, pairing
from blobdir.discovery.parts import find_blobs, inner_projects
from blobdir.discovery.released import read_released, whole_of
from blobdir.errors import BlobdirError
from blobdir.index import BROKEN, FIRST_BLOB, Defect, Header, SourceRecord
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from blobdir.discovery.deciding import Deciding
    from blobdir.discovery.parts import InnerProject, Pickle
    from blobdir.discovery.report import Report
    from blobdir.offsets import OffsetsTable
    from blobdir.sources import Folder, Stat, Storage
    from blobdir.tarscan import ReadAt


class Blobs:
    """Finds blobs by stem, looks at each once, and numbers those that some offsets refer to.

    `deciding` notes what of them is looked at.
    """

    def __init__(
        self,
        storage: Storage,
        folders: Mapping[str, Folder],
        header: Header,
        report: Report,
        deciding: Deciding,
        *,
        follow_links: bool,
    ) -> None:
        self._storage = storage
        self._folders = folders
        self._header = header
        self._report = report
        self._deciding = deciding
        self._follow_links = follow_links
        self._stems: dict[str, dict[str, str]] = {}
        self._numbers: dict[str, int] = {}
        self._stats: dict[str, Stat] = {}
        self._inner: list[InnerProject] = []

    def look_inside(self, datasets: Iterable[str]) -> None:
        """Find projects in the project: offsets in one that has the blob for them aren't paired with an outer blob."""
        self._inner = inner_projects(datasets, self._folders.get)
        for inner in self._inner:
            message = f"{inner.path}: is a project of its own; here its datasets count as the outer one's. Move it out"
            self._report.warning("project-inside", inner.path, message)

    def ask_together(self, folders: Sequence[str]) -> None:
        """Have the attributes of all remote blobs of some folders asked for at once: one after the other takes long."""
        paths = [path for folder in folders for path in self.stems(folder).values()]
        self._stats = self._storage.stat_together(paths)

    def stems(self, folder: str) -> dict[str, str]:
        """Stem -> path of the blobs in a folder. ``x.tar`` goes before ``x.TAR``."""
        if folder not in self._stems:
            known = self._folders.get(folder)
            found, unused = find_blobs(known) if known is not None else ({}, [])
            for path in unused:
                used = found[layout.blob_stem(path.rpartition("/")[2]) or ""]
                self._report.warning("blob-twice", path, f"{path}: isn't used, {used} goes before it")
            self._stems[folder] = found
        return self._stems[folder]

    def emptied(self, pickle: str, folder: str) -> str:
        """What is wrong with an offsets file of no bytes; see `pairing.emptied`."""
        path = self.stems(folder).get(pickle.rpartition("/")[2].removesuffix(layout.OFFSETS_SUFFIX))
        if path is None:
            return ""
        try:
            return pairing.emptied(pickle, path, self._storage.read_range(path, 0, pairing.BLOCK))
        except (OSError, BlobdirError) as error:
            self._report.unread(path, error, pairing.BLOCK)
            return ""  # that is said of the blob

    def pair(self, pickle: Pickle, table: OffsetsTable) -> tuple[int, int | None]:
        """Find the blob that a pickle belongs to and see whether they fit.

        Returns
        -------
        source : int
            Source number of the blob.
        defect : int or None
            Number of the defect that makes these entries, not the whole blob, unreadable.
        """
        for inner in self._inner:
            if inner.has(pickle):
                return BROKEN, self._of_another(pickle, inner)
        path = self.stems(pickle.blobs).get(pickle.stem) or layout.join(pickle.blobs, f"{pickle.stem}.tar")
        if path not in self._numbers:
            self._numbers[path] = len(self._header.blobs)
            self._header.blobs.append(self._look_at(path, pickle.path, len(table)))
        number = self._numbers[path]
        blob = self._header.blobs[number]
        defect = None
        if blob.defect < 0 and len(table):
            if past := pairing.range_defect(blob, pickle.path, table):
                self._report.add(past)
            if self._storage.is_quick and (mismatch := self._misfit(number, pickle.path, table)):
                defect = self._report.add(mismatch)
        ignore = self._report.options.on_defect == "ignore"
        return FIRST_BLOB + number, None if ignore else defect

    def _of_another(self, pickle: Pickle, inner: InnerProject) -> int:
        message = (
            f"{pickle.path}: its images can't be read here: {inner.path} is a project of its own, with a blob for them "
            "in it; open that project, or move it out of this one"
        )
        return self._report.error("project-inside", pickle.path, message)

    def is_missing(self, source: int) -> bool:
        """Whether a blob is known not to be there: nobody can read it, which says nothing of who has tried."""
        number = self._header.blobs[source - FIRST_BLOB].defect
        return number >= 0 and self._header.defects[number].code == "blob-missing"

    def _misfit(self, number: int, pickle: str, table: OffsetsTable) -> Defect | None:
        blob = self._header.blobs[number]
        try:
            return pairing.fit_defect(self._open(number, blob.path), blob, pickle, table)
        except OSError as error:
            self._report.unread(blob.path, error, pairing.BLOCK)
            return pairing.unread(blob, pickle, table, error)

    def _open(self, number: int, path: str) -> ReadAt:
        source = self._storage.open(path)
        return self._deciding.watched(number, source) if self._storage.directory else source

    def _look_at(self, path: str, pickle: str, entries: int) -> SourceRecord:
        record = SourceRecord(path, "blob")
        if not self._follow_links and self._storage.escapes(path):
            message = (
                f"{path}: is a link that leads outside the project; copy the blob into it, or open the project with "
                "follow_links"
            )
            return self._unusable(record, "blob-outside", message)
        try:
            record = pairing.blob_record(path, self._stats.get(path) or self._storage.stat(path))
        except FileNotFoundError:
            message = (
                f"{path}: is missing; {pickle} has {counted(entries, 'image')} in it, listed, and not to be read. "
                "Put the blob back, or remove the pickle"
            )
            return self._unusable(record, "blob-missing", message)
        except (OSError, BlobdirError) as error:
            return self._unreadable(record, error)
        if not self._storage.is_quick:
            return record  # looked at when it is first read: here it would cost a request per blob
        try:
            head = self._open(self._numbers[path], path).read_at(0, pairing.BLOCK)
        except OSError as error:
            return self._unreadable(record, error)
        if defect := pairing.blob_defect(path, head):
            return replace(record, defect=self._report.add(defect))
        return record

    def _unreadable(self, record: SourceRecord, error: Exception) -> SourceRecord:
        self._report.unread(record.path, error, pairing.BLOCK)
        return self._unusable(record, "blob-unreadable", f"{record.path}: can't be read: {error}")

    def _unusable(self, record: SourceRecord, code: str, message: str) -> SourceRecord:
        return replace(record, defect=self._report.error(code, record.path, message))

    def report_unreferenced(self) -> None:
        """Blobs in ``blob/`` that no dataset has offsets for."""
        known, why = read_released(self._storage.directory) if self._storage.directory else ({}, "")
        released = whole_of(known)
        for path in self.stems(layout.BLOB_DIR).values():
            if path in self._numbers:
                continue
            if path in released:
                message = f"{path}: all images in it were removed; `blobdir compact` deletes it"
            elif why:
                message = f"{path}: no dataset has offsets for it; whether its images were removed isn't known: {why}"
            else:
                message = (
                    f"{path}: no dataset has offsets for it, so its images aren't shown; write them with "
                    f"`blobdir offsets {path} --output DATASET`"
                )
            self._report.warning("blob-unreferenced", path, message)
