"""Blobs and the pickles that belong to them: opens each blob once, and finds out whether the two fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blobdir.index import Defect, SourceRecord
from blobdir.tarscan.header import COMPRESSIONS, SIZE, checksum_holds, number

if TYPE_CHECKING:
    from blobdir.offsets import OffsetsTable
    from blobdir.sources import Stat, Storage

BLOCK = 512


def blob_record(path: str, stat: Stat) -> SourceRecord:
    """What the index keeps of a blob."""
    return SourceRecord(path, "blob", stat.size, stat.mtime_ns, stat.mode, stat.uid, stat.gid, stat.etag)


def blob_defect(path: str, head: bytes) -> Defect | None:
    """What is wrong with a blob, judged by its first 512 bytes."""
    for magic, name, undo in COMPRESSIONS:
        if head.startswith(magic):
            return Defect(
                "error",
                "blob-compressed",
                path,
                f"{path}: is compressed ({name}), so byte ranges of it mean nothing; uncompress it ({undo}) and write "
                "its offsets again with `blobdir offsets`",
            )
    if len(head) == BLOCK and any(head) and not checksum_holds(head):
        return Defect(
            "error",
            "blob-not-tar",
            path,
            f"{path}: doesn't begin with a tar header (byte 0); it is damaged or isn't a tar archive",
        )
    return None


def misfit(header: bytes, size: int) -> str:
    """What speaks against a member of `size` bytes after these 512 bytes; empty if nothing does."""
    if len(header) == BLOCK and checksum_holds(header) and (said := number(header[SIZE])) is not None:
        # A pax header may hold the real size of a member that is too large for the field.
        if said == size or (said == 0 and size >= 8 << 30):
            return ""
        return f"the tar says that the member there has {said} bytes"
    return "there is no tar header before it"


def fit_defect(storage: Storage, blob: SourceRecord, pickle: str, table: OffsetsTable) -> Defect | None:
    """Whether offsets belong to another version of the blob, judged by the tar headers before a few members.

    The header before a member must be there and say the member's size. The first, middle and last entry are looked
    at: a blob that was written anew differs there, and looking at all costs a pass over the blob.
    """
    for i in sorted({0, len(table) // 2, len(table) - 1}):
        start, size = int(table.start[i]), int(table.end[i] - table.start[i])
        if start + size > blob.size:
            continue  # that it ends past the end is another defect
        header = storage.read_range(blob.path, start - BLOCK, start) if start >= BLOCK else b""
        what = misfit(header, size)
        if not what:
            continue
        name = table.name(i).decode("utf-8", "backslashreplace")
        return Defect(
            "error",
            "offsets-mismatch",
            pickle,
            f"{pickle}: doesn't fit {blob.path}: {name} should be bytes {start} to {start + size}, but {what}; the "
            "blob was replaced, or the offsets are of another one. Write them again with `blobdir offsets`",
        )
    return None


def range_defect(blob: SourceRecord, pickle: str, table: OffsetsTable) -> Defect | None:
    """Entries that end past the end of the blob."""
    if blob.size < 0:
        return None
    past = np.flatnonzero(table.end > blob.size)
    if not len(past):
        return None
    first = int(past[0])
    name = table.name(first).decode("utf-8", "backslashreplace")
    return Defect(
        "error",
        "offsets-past-end",
        pickle,
        f"{pickle}: {len(past)} of {len(table)} entries end past the end of {blob.path} ({blob.size} bytes), the first "
        f"is {name} (bytes {int(table.start[first])} to {int(table.end[first])}); the blob is truncated, or the "
        "offsets are of another one. Those images can't be read",
    )
