"""All checks of a project, in the order of what they cost."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import UsageError
from blobdir.packing.sums import SUMS, read_sums
from blobdir.project import open_project
from blobdir.verifying.annotations import AnnotationCheck, check_decoding
from blobdir.verifying.blobs import check_blob
from blobdir.verifying.findings import VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.discovery import Progress
    from blobdir.project import Project

# What the other checks say more exactly, entry by entry.
_SAID_BELOW = frozenset(
    {"offsets-mismatch", "offsets-past-end", "blob-unreferenced", "blob-not-tar", "blob-compressed"}
)


def verify(
    project: str | os.PathLike[str],
    *,
    decode: bool = False,
    processes: int = 0,
    progress: Progress | None = None,
) -> VerifyReport:
    """Prove a local project sound, or find out what isn't.

    Every entry of the offsets is held against the tar's headers (start, size, name), every byte of the blobs is read
    once, against ``blob/SHA256SUMS`` where that is there; images and annotations are matched, annotations parsed and
    held against ``meta.json``.

    Parameters
    ----------
    project : path
        A folder on this machine.
    decode : bool
        Also decode every image, and compare sizes with the annotations.
    processes : int
        That decode; 0 is one per processor.
    progress : callable, optional

    Raises
    ------
    NotAProjectError, UsageError
    """
    began = time.perf_counter()
    opened = open_project(project, index="none", on_defect="ignore")  # what is left is looked at, too
    if not opened.tree.storage.is_local:
        raise UsageError(f"{opened.url}: verifying reads every byte; fetch the project first")
    report = VerifyReport()
    for defect in opened.defects:
        if defect.code not in _SAID_BELOW:
            report.add(defect.code, defect.path, defect.message, severity=defect.severity)

    def told(step: str) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            if progress:
                progress(step, done, total)

        return tell

    with AnnotationCheck(opened, report, processes) as annotations:
        _check_blobs(opened, report, progress)
        annotations.finish(told("annotations"))
    if decode:
        check_decoding(opened, report, processes, told("decoding"))
    report.findings.sort(key=lambda finding: (finding.severity, finding.path, finding.code))
    report.seconds = time.perf_counter() - began
    return report


def pickles_of(project: Project) -> dict[str, list[str]]:
    """Stem of each blob -> paths of the pickles that refer to it, those in ``ann.blob/`` left out."""
    found: dict[str, list[str]] = {}
    for record in project.tree.index.header.inputs:
        folder, _, name = record.path.rpartition("/")
        if layout.is_offsets(name) and folder.rpartition("/")[2] != layout.PACKED_ANNOTATIONS:
            found.setdefault(name.removesuffix(layout.OFFSETS_SUFFIX), []).append(record.path)
    return found


def _check_blobs(project: Project, report: VerifyReport, progress: Progress | None) -> None:
    root, pickles = project.url, pickles_of(project)
    sums = read_sums(os.path.join(root, layout.BLOB_DIR, SUMS))
    folder = os.path.join(root, layout.BLOB_DIR)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    tars = {name: stem for name in names if (stem := layout.blob_stem(name)) is not None}
    total = sum(os.path.getsize(os.path.join(folder, name)) for name in tars)
    behind = 0
    for name, stem in tars.items():

        def told(done: int, before: int = behind) -> None:
            if progress:
                progress("reading blobs", before + done, total)

        check_blob(root, f"{layout.BLOB_DIR}/{name}", pickles.get(stem, []), sums.get(name, ""), report, told)
        behind += os.path.getsize(os.path.join(folder, name))
    for name in sorted(set(sums) - set(tars)):
        report.add("blob-missing", f"{layout.BLOB_DIR}/{name}", "SHA256SUMS names it, and it isn't there")
