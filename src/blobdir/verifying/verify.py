"""All checks of a project, in the order of what they cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.discovery.root import check_root, not_a_folder
from blobdir.errors import UsageError
from blobdir.sources import LocalStorage, on_this_machine, open_storage
from blobdir.verifying.annotations import AnnotationCheck
from blobdir.verifying.around import (
    check_folders,
    check_kinds,
    check_links,
    check_pickles,
    check_root_files,
    check_served,
    check_state,
)
from blobdir.verifying.blobs import BlobCheck
from blobdir.verifying.decoding import check_decoding, look_into
from blobdir.verifying.findings import VerifyReport
from blobdir.verifying.parsing import ParsedOnce
from blobdir.verifying.places import find_blobs, incomplete_folders
from blobdir.verifying.shardindexes import ShardIndexes
from blobdir.verifying.supervisely import check_for_sdk
from blobdir.verifying.tars import means_tars, verify_tars
from blobdir.verifying.undisturbed import undisturbed

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from blobdir.discovery import Progress
    from blobdir.sources import Folder
    from blobdir.verifying.places import Folders

# What the other checks say more exactly, entry by entry.
_SAID_BELOW = frozenset({"offsets-mismatch", "offsets-past-end", "blob-not-tar", "blob-compressed"})


def verify(
    project: str | os.PathLike[str],
    *,
    decode: bool = False,
    processes: int = 0,
    audience: str = "",
    follow_links: bool = False,
    progress: Progress | None = None,
) -> VerifyReport:
    """Prove a local project sound, or find out what isn't.

    Every entry of the offsets, packed annotations included, is held against the tar's headers (start, size, name),
    every byte of the blobs is read once, against ``blob/SHA256SUMS`` where that is there; images, annotations and
    other files of images are matched, annotations parsed and held against ``meta.json``. Nothing outside the project
    is read, unless `follow_links`. What couldn't be looked at is a finding ``not-checked``. Others can't change the
    project meanwhile, if it has a lock; if it has none, or somebody has it for long, a project that was changed is
    looked at again.

    Parameters
    ----------
    project : path
        A folder on this machine; or a tar, or a pattern of tars: of those, every header is looked at, and every byte
        is read once.
    decode : bool
        Also decode every image and the bitmaps of annotations, and compare sizes with the annotations.
    processes : int
        That decode; 0 is one per processor.
    audience : str
        ``"supervisely"``: what the SDK would drop or refuse is an error.
    follow_links : bool
        Also look at what symbolic links out of the project lead to.
    progress : callable, optional

    Raises
    ------
    NotAProjectError, UsageError
    BusyError
        The project was changed again and again.
    """
    began = time.perf_counter()
    if audience not in ("", "supervisely"):
        raise UsageError(f"audience={audience!r}: choose 'supervisely', or none")
    if means_tars(project):
        report = verify_tars(project, decode=decode, audience=audience, progress=progress)
        return _settled(report, began)
    storage = open_storage(project)
    root = on_this_machine(storage, "verifying reads every byte; fetch the project first").root

    def look() -> VerifyReport:
        report = VerifyReport(audience=audience)
        return _look(_Listed(root, follow_links), report, decode=decode, processes=processes, progress=progress)

    report = undisturbed(root, look)
    return _settled(report, began)


def _settled(report: VerifyReport, began: float) -> VerifyReport:
    report.findings.sort(key=lambda finding: (finding.severity, finding.path, finding.code))
    report.seconds = time.perf_counter() - began
    return report


def _look(
    storage: _Listed, report: VerifyReport, *, decode: bool, processes: int, progress: Progress | None
) -> VerifyReport:
    def told(step: str) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            if progress:
                progress(step, done, total)

        return tell

    folders, datasets = storage.folders(), storage.datasets()
    read, indexes = ParsedOnce(), ShardIndexes(storage, folders, report)
    # What takes long begins before the project is opened, and goes on beside that.
    with (
        AnnotationCheck(storage, folders, datasets, report, processes) as annotations,
        BlobCheck(
            storage, find_blobs(storage, folders, datasets, report), report, told("reading blobs"), read, indexes
        ) as blobs,
    ):
        opened = look_into(storage, read)
        for defect in opened.defects:
            if defect.code not in _SAID_BELOW:
                report.add(defect.code, defect.path, defect.message, severity=defect.severity)
        blobs.finish()
        indexes.finish()
        check_served(opened.tree, blobs.looked_at, report)
        check_folders(folders, opened.tree, report)
        check_kinds(folders, datasets, report)
        check_links(storage, folders, opened.tree, report)
        check_pickles(folders, datasets, report)
        check_root_files(storage, folders, report)
        check_state(storage, folders, report)
        check_for_sdk(storage, opened, folders, blobs.counts, report)
        annotations.finish(opened, told("annotations"), incomplete_folders(opened, folders))
    if decode:
        check_decoding(opened, annotations.shapes, report, processes, told("decoding"))
    return report


class _Listed(LocalStorage):
    """A project whose folders are listed once: all checks, and the tree, are of the same names.

    Raises
    ------
    NotAProjectError
        It is none.
    """

    def __init__(self, root: str, follow_links: bool) -> None:
        super().__init__(root, follow_links=follow_links)
        self._folders: dict[str, Folder] = {}
        for folder in super().walk(follow_links=follow_links):
            if folder.error is not None and not folder.path:
                raise not_a_folder(self, folder.error) from folder.error
            self._folders[folder.path] = folder
        self._layout = layout.read_layout(self._folders)
        check_root(self, self._folders, self._layout)

    def walk(self, *, follow_links: bool) -> Iterator[Folder]:  # noqa: ARG002  # all checks follow the same
        """The folders as they were."""
        return iter(self._folders.values())

    def folders(self) -> Folders:
        """All folders by path."""
        return self._folders

    def datasets(self) -> list[str]:
        """Paths of the datasets."""
        return self._layout.datasets
