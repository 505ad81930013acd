"""All checks of a project, in the order of what they cost."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import UsageError
from blobdir.project import open_project
from blobdir.sources import LocalStorage
from blobdir.verifying.annotations import AnnotationCheck, check_decoding
from blobdir.verifying.around import check_folders, check_links, check_state
from blobdir.verifying.blobs import BlobCheck
from blobdir.verifying.findings import VerifyReport
from blobdir.verifying.places import find_blobs
from blobdir.verifying.supervisely import check_for_sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.discovery import Progress
    from blobdir.project import Project
    from blobdir.verifying.places import Folders

# What the other checks say more exactly, entry by entry.
_SAID_BELOW = frozenset({"offsets-mismatch", "offsets-past-end", "blob-not-tar", "blob-compressed"})
_HIDES_NAMES = frozenset(
    f"offsets-{reason}"
    for reason in ("truncated", "corrupt", "range", "type", "name", "conflict", "unsafe", "unreadable")
)


def verify(
    project: str | os.PathLike[str],
    *,
    decode: bool = False,
    processes: int = 0,
    audience: str = "",
    progress: Progress | None = None,
) -> VerifyReport:
    """Prove a local project sound, or find out what isn't.

    Every entry of the offsets, packed annotations included, is held against the tar's headers (start, size, name),
    every byte of the blobs is read once, against ``blob/SHA256SUMS`` where that is there; images, annotations and
    other files of images are matched, annotations parsed and held against ``meta.json``. Nothing outside the project
    is read. What couldn't be looked at is a finding ``not-checked``.

    Parameters
    ----------
    project : path
        A folder on this machine.
    decode : bool
        Also decode every image, and compare sizes with the annotations.
    processes : int
        That decode; 0 is one per processor.
    audience : str
        ``"supervisely"``: what the SDK would drop or refuse is an error.
    progress : callable, optional

    Raises
    ------
    NotAProjectError, UsageError
    """
    began = time.perf_counter()
    if audience not in ("", "supervisely"):
        raise UsageError(f"audience={audience!r}: choose 'supervisely', or none")
    opened = open_project(project, index="none", on_defect="ignore")  # what is left is looked at, too
    storage = opened.tree.storage
    if not isinstance(storage, LocalStorage):
        raise UsageError(f"{opened.url}: verifying reads every byte; fetch the project first")
    report = VerifyReport(audience=audience)
    for defect in opened.defects:
        if defect.code not in _SAID_BELOW:
            report.add(defect.code, defect.path, defect.message, severity=defect.severity)

    def told(step: str) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            if progress:
                progress(step, done, total)

        return tell

    folders: Folders = {folder.path: folder for folder in storage.walk(follow_links=False)}
    with AnnotationCheck(opened, report, processes) as annotations:
        counts = _check_blobs(opened, storage, folders, report, told("reading blobs"))
        check_folders(folders, report)
        check_links(storage, folders, report)
        check_state(storage, folders, report)
        check_for_sdk(opened, folders, counts, report)
        annotations.finish(told("annotations"), incomplete_folders(opened, folders))
    if decode:
        check_decoding(opened, report, processes, told("decoding"))
    report.findings.sort(key=lambda finding: (finding.severity, finding.path, finding.code))
    report.seconds = time.perf_counter() - began
    return report


def _check_blobs(
    project: Project,
    storage: LocalStorage,
    folders: Folders,
    report: VerifyReport,
    progress: Callable[[int, int], None],
) -> dict[str, int]:
    """Pickle -> entries of those that could be read."""
    blobs = find_blobs(storage, folders, project.tree.index.header.datasets, report)
    total = 0
    for blob in blobs:
        if os.path.isfile(blob.full):
            total += os.path.getsize(blob.full)
    check = BlobCheck(storage.root, report, lambda done: progress(done, total))
    check.run(blobs)
    return check.counts


def incomplete_folders(project: Project, folders: Folders) -> set[str]:
    """Folders of images or annotations whose lists are shorter than the truth."""
    found = set()
    for defect in project.defects:
        if defect.code in _HIDES_NAMES:
            parent, _, name = defect.path.rpartition("/")[0].rpartition("/")
            is_packed = name == layout.PACKED_ANNOTATIONS
            dataset = parent if is_packed else layout.join(parent, name)
            found.add(layout.join(dataset, layout.ANNOTATIONS if is_packed else layout.ITEMS))
    for folder in folders.values():
        if folder.error is not None:
            found.add(folder.path)
            found.update(layout.join(folder.path, name) for name in (layout.ITEMS, layout.ANNOTATIONS))
    return found
