"""Tars that are shown as they are, proven sound: every header, and every byte read once."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import DiscoveryOptions
from blobdir.discovery.given import IS_TAR
from blobdir.errors import BlobdirError, BlobdirWarning, NotAProjectError, UsageError
from blobdir.index import FIRST_BLOB
from blobdir.opening import OpenOptions, open_tree, tar_place
from blobdir.verifying.findings import VerifyReport, in_words

if TYPE_CHECKING:
    import os

    from blobdir.discovery import Progress

_AT_ONCE: Final = 8 << 20


def means_tars(place: str | os.PathLike[str]) -> bool:
    """Whether a place on this machine is a tar, or a pattern of tars."""
    return tar_place(place) is not None


def refuse_tars(place: str | os.PathLike[str]) -> None:
    """Refuse what only a project has: NotAProjectError."""
    if means_tars(place):
        raise NotAProjectError(f"{place}: {IS_TAR}")


def verify_tars(
    place: str | os.PathLike[str], *, decode: bool, audience: str, progress: Progress | None
) -> VerifyReport:
    """Scan tars anew, and read all of each; what of them isn't served, or not as a member says, is a finding."""
    if decode or audience:
        raise UsageError(f"{place}: {IS_TAR}; of tars, neither images are decoded nor annotations looked at")
    report = VerifyReport()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)  # they are findings
        tree = open_tree(place, options=OpenOptions(DiscoveryOptions(on_defect="ignore"), index="none"))
    for defect in tree.defects:
        report.add(defect.code, defect.path, defect.message, severity=defect.severity)
    report.entries = int(np.count_nonzero(tree.index.source >= FIRST_BLOB))
    total = sum(max(0, blob.size) for blob in tree.index.header.blobs)
    done = 0
    for number, blob in enumerate(tree.index.header.blobs, FIRST_BLOB):
        report.blobs += 1
        try:
            source = tree.blobs.source(number)
            for start in range(0, source.size, _AT_ONCE):
                data = source.read_at(start, _AT_ONCE)
                report.blob_bytes += len(data)
                if progress is not None:
                    progress("reading blobs", done + start + len(data), total)
                if len(data) < min(_AT_ONCE, source.size - start):
                    raise EOFError(f"{blob.path}: became shorter while it was read")
        except (OSError, EOFError, BlobdirError) as error:
            report.add("unreadable", blob.path, in_words(error))
        done += max(0, blob.size)
    return report
