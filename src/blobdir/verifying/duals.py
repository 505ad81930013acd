"""Annotations that follow their images in blobs: whether they are still those of ``ann/``, which alone are read."""

from __future__ import annotations

import os
from functools import partial
from posixpath import dirname
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.annotations import read_annotation
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, BlobdirError
from blobdir.inside import open_plain
from blobdir.packing.samples import Samples, label_of
from blobdir.verifying.members import FITS, label_copies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.offsets import OffsetsTable
    from blobdir.sources import LocalStorage
    from blobdir.verifying.blobs import Blob
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.members import Judgement, Members

STALE: Final = "label-stale"
RENEW: Final = "`blobdir compact --layout webdataset` renews them"


def check_labels(
    storage: LocalStorage,
    blob: Blob,
    members: Members,
    judged: dict[str, tuple[OffsetsTable, Judgement]],
    report: VerifyReport,
) -> None:
    """Say which annotations in a blob aren't those of its images, in a blob that has some that are annotations.

    Parameters
    ----------
    storage : LocalStorage
    blob : Blob
        Of images.
    members : Members
    judged : dict
        Path of each pickle -> its entries, and what became of them.
    report : VerifyReport
    """
    copies = _Copies(blob, members)
    if not copies:
        return
    try:
        faults = list(_faults(storage, copies, judged)) if copies.are_annotations() else []
    except OSError as error:
        report.add("not-checked", blob.path, f"the annotations in it: {error.strerror or error}")
        return
    finally:
        copies.close()
    for fault in faults:
        report.add(STALE, blob.path, f"{fault}; {RENEW}")


class _Copies:
    """The annotations in a blob, by the first bytes of their images."""

    def __init__(self, blob: Blob, members: Members) -> None:
        self._members = members
        self._rows = {int(members.table.start[image]): row for image, row in label_copies(members).items()}
        self._full, self._file = blob.full, -1

    def __bool__(self) -> bool:
        return bool(self._rows)

    def close(self) -> None:
        """Close the blob."""
        if self._file >= 0:
            os.close(self._file)

    def of(self, start: int) -> bytes | None:
        """That of an image whose bytes begin there."""
        if start not in self._rows:
            return None
        if self._file < 0:
            self._file = open_plain(self._full)
        row = self._rows[start]
        begin, end = int(self._members.table.start[row]), int(self._members.table.end[row])
        return os.pread(self._file, end - begin, begin)

    def are_annotations(self) -> bool:
        """Whether any of them is one, by its content: else they are somebody's, and mean something else."""
        return any(is_annotation(self.of(start)) for start in self._rows)


def is_annotation(data: bytes | None) -> bool:
    """Whether these are the bytes of an annotation."""
    try:
        return data is not None and bool(read_annotation(data))
    except AnnotationError:
        return False


def _faults(storage: LocalStorage, copies: _Copies, judged: dict[str, tuple[OffsetsTable, Judgement]]) -> Iterator[str]:
    for pickle, (table, found) in judged.items():
        folder = f"{dirname(pickle)}/{layout.ANNOTATIONS}"
        for row in np.flatnonzero(found.fault == FITS).tolist():
            name = os.fsdecode(table.name(row))
            path = label_of(name, partial(_exists, storage, folder))
            copy = copies.of(int(table.start[row]))
            try:
                own = storage.read(f"{folder}/{path}") if path else None
            except (OSError, BlobdirError):
                continue  # the check of annotations says why
            shown = f"{dirname(pickle)}/{name}"
            if own == copy:
                continue
            if copy is None:
                if not Samples([name]).odd:
                    yield f"{shown} has no annotation in the tar"
            elif own is None:
                yield f"{shown} has an annotation in the tar, and none in {layout.ANNOTATIONS}/"
            elif is_annotation(copy):
                yield f"{shown} has another annotation in the tar than in {layout.ANNOTATIONS}/"


def _exists(storage: LocalStorage, folder: str, name: str) -> bool:
    return os.path.lexists(os.path.join(storage.root, folder, name))
