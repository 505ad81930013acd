"""Mending what can be mended without loss: offsets, from the headers of the tar they belong to."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from blobdir.errors import BlobdirError, OffsetsError
from blobdir.offsets import OffsetsTable, offsets_of_tar, read_offsets, write_offsets
from blobdir.project import open_project
from blobdir.verifying.verify import pickles_of

if TYPE_CHECKING:
    from blobdir.verifying.findings import VerifyReport

_MENDABLE = frozenset(
    {
        "offset-no-member", "offset-size", "offset-past-end", "offset-overlap", "offsets-unreadable",
        "offsets-repeated", "offsets-truncated", "offsets-corrupt", "offsets-range", "offsets-type", "offsets-conflict",
    }
)  # fmt: skip


def repair(project: str | os.PathLike[str], report: VerifyReport) -> list[str]:
    """Write pickles anew that a report has found wanting. The old one is kept beside it, as ``NAME.pkl.backup-TIME``.

    A pickle that can be read keeps its names, at the places where the tar has them. One that can't gets all members of
    the tar, if no other pickle refers to that: else nobody knows which are whose.

    Returns
    -------
    list of str
        What was done, and what couldn't be, a sentence for each.
    """
    opened = open_project(project, index="none", on_defect="ignore")
    said = []
    wanted = {finding.path for finding in report.findings if finding.code in _MENDABLE}
    for stem, pickles in pickles_of(opened).items():
        for pickle in pickles:
            if pickle in wanted:
                tar = os.path.join(opened.url, "blob", f"{stem}.tar")
                try:
                    said.append(_mend(os.path.join(opened.url, pickle), pickle, tar, alone=len(pickles) == 1))
                except (BlobdirError, OSError) as error:
                    said.append(f"{pickle}: couldn't be mended: {error}")
    return said


def _mend(full: str, shown: str, tar: str, *, alone: bool) -> str:
    members = offsets_of_tar(tar, on_conflict="rename")
    try:
        old = read_offsets(full, on_conflict="skip")
    except OffsetsError:
        if not alone:
            return f"{shown}: can't be read, and {os.path.basename(tar)} serves other datasets too: not mended"
        new, what = members, f"has all {len(members):,} images of {os.path.basename(tar)} now"
    else:
        place = {name: row for row, name in enumerate(members.names())}
        rows = [place[name] for name in dict.fromkeys(old.names()) if name in place]
        lost = len(set(old.names())) - len(rows)
        if lost:
            return (
                f"{shown}: {lost:,} of its names aren't in {os.path.basename(tar)}: not mended, the blob is another one"
            )
        entries = [(members.name(row), int(members.start[row]), int(members.end[row])) for row in rows]
        new, what = OffsetsTable.from_entries(entries), f"has {len(rows):,} images as before, where the tar has them"
    backup = f"{full}.backup-{time.strftime('%Y%m%d-%H%M%S')}"
    shutil.copy2(full, backup)
    write_offsets(full, new)
    return f"{shown}: {what}; the old one is {os.path.basename(backup)}"
