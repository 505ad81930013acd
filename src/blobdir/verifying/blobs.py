"""Offsets against the headers of their tars: every entry, not three."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.errors import BlobdirError, OffsetsError
from blobdir.nametable import name_at
from blobdir.offsets import read_offsets
from blobdir.packing.shards import is_image
from blobdir.tarscan import scan_tar

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from blobdir.offsets import OffsetsTable
    from blobdir.tarscan import TarTable
    from blobdir.verifying.findings import VerifyReport

WINDOW = 8 << 20


def check_blob(
    root: str, blob: str, pickles: list[str], checksum: str, report: VerifyReport, progress: Callable[[int], None]
) -> None:
    """Hold a blob against the pickles that refer to it.

    Parameters
    ----------
    root : str
        Folder of the project.
    blob : str
        Path of the tar in it.
    pickles : list of str
        Paths of the pickles; none is a finding.
    checksum : str
        What SHA256SUMS says; empty where it says nothing.
    report : VerifyReport
    progress : callable
        Told how many bytes of the blob lie behind.
    """
    full = os.path.join(root, blob)
    report.blobs += 1
    try:
        size = os.path.getsize(full)
        members: TarTable | None = scan_tar(full)
    except (BlobdirError, OSError) as error:
        report.add("tar-damaged" if isinstance(error, BlobdirError) else "unreadable", blob, str(error))
        members, size = None, 0
    report.blob_bytes += size
    used: list[NDArray[np.int64]] = []
    magic: list[tuple[int, int, str]] = []
    for pickle in pickles:
        try:
            table = read_offsets(os.path.join(root, pickle)).unique("skip")
        except OffsetsError as error:
            report.add("offsets-unreadable", pickle, str(error), severity="error")
            continue
        except OSError as error:
            report.add("unreadable", pickle, str(error))
            continue
        report.entries += len(table)
        if members is not None:
            used.append(check_entries(pickle, members, table, size, report))
            magic += zip(table.start.tolist(), table.end.tolist(), map(os.fsdecode, table.names()), strict=True)
    if members is None:
        return
    for warning in members.warnings:
        report.add("tar-warning", blob, warning)
    _unreferenced(blob, members, used, report)
    _read_through(full, blob, sorted(magic), checksum, report, progress)


def check_entries(
    pickle: str, members: TarTable, table: OffsetsTable, size: int, report: VerifyReport
) -> NDArray[np.int64]:
    """Compare start, size and name of every entry with the members.

    Returns
    -------
    ndarray of int64
        Numbers of the members that entries lead to.
    """
    order = np.argsort(members.start, kind="stable")
    starts = members.start[order]
    place = np.minimum(np.searchsorted(starts, table.start), max(0, len(starts) - 1))
    found: NDArray[np.int64] = order[place] if len(order) else np.zeros(len(table), np.int64)
    hit = (starts[place] == table.start) if len(order) else np.zeros(len(table), bool)
    past = table.end > size
    for code, bad, what in (
        ("offset-past-end", past, "ends past the end of the blob"),
        ("offset-no-member", ~hit & ~past, "isn't where a member of the tar begins"),
        ("offset-size", hit & ~past & (members.end[found] != table.end), "isn't as long as the member there"),
    ):
        rows = np.flatnonzero(bad)
        if len(rows):
            report.add(code, pickle, _shown(table, int(rows[0]), what), len(rows))
    names, member_names = table.names(), members.arena.tobytes().split(b"\0")
    for row, number in zip(np.flatnonzero(hit).tolist(), found[hit].tolist(), strict=True):
        name, member = names[row], member_names[number]
        if member != name and member.rpartition(b"/")[2] != name and not _renamed(name, member):
            report.add("offset-name", pickle, _shown(table, row, f"is {os.fsdecode(member)!r} in the tar"))
    by_start = np.argsort(table.start, kind="stable")
    start, end = table.start[by_start], table.end[by_start]
    same = (start[1:] == start[:-1]) & (end[1:] == end[:-1])
    overlap = np.flatnonzero((start[1:] < end[:-1]) & ~same)
    if len(overlap):
        row = int(by_start[overlap[0] + 1])
        report.add("offset-overlap", pickle, _shown(table, row, "begins inside another one"), len(overlap))
    if same.any():
        row = int(by_start[np.flatnonzero(same)[0] + 1])
        report.add("offset-shared", pickle, _shown(table, row, "has the bytes of another one"), int(same.sum()))
    led_to: NDArray[np.int64] = found[hit]
    return led_to


def _renamed(name: bytes, member: bytes) -> bool:
    """Whether an entry is ``a_1.jpg`` for a second member ``a.jpg``, as ``on_conflict="rename"`` writes it."""
    stem, dot, extension = member.rpartition(b"/")[2].rpartition(b".")
    middle = name.removeprefix(stem + b"_").removesuffix(dot + extension)
    return middle.isdigit()


def _shown(table: OffsetsTable, row: int, what: str) -> str:
    name = os.fsdecode(table.name(row))
    return f"{name}, bytes {int(table.start[row])} to {int(table.end[row])}, {what}"


def _unreferenced(blob: str, members: TarTable, used: list[NDArray[np.int64]], report: VerifyReport) -> None:
    free = np.ones(len(members), bool)
    for rows in used:
        free[rows] = False
    # A hard link, and the member it names, have one range: either will do.
    referenced = members.start[~free]
    rows = np.flatnonzero(free & ~np.isin(members.start, referenced))
    if len(rows):
        total = int((members.end[rows] - members.start[rows]).sum())
        name = os.fsdecode(name_at(members.arena, members.name_start, int(rows[0])))
        report.add("member-unreferenced", blob, f"{name}: no offsets lead to it ({total} bytes in all)", len(rows))


def _read_through(
    full: str,
    blob: str,
    entries: list[tuple[int, int, str]],
    checksum: str,
    report: VerifyReport,
    progress: Callable[[int], None],
) -> None:
    """Read every byte of a blob once: that it can be read, its checksum, and how each image begins."""
    digest, position, at = hashlib.sha256(), 0, 0
    try:
        # The sum is made beside the rest: hashing lets go of the interpreter's lock.
        with open(full, "rb", buffering=0) as file, ThreadPoolExecutor(1) as beside:
            head = b""
            hashing: Future[Any] = beside.submit(int)
            while data := file.read(WINDOW):
                hashing.result()
                if checksum:
                    hashing = beside.submit(digest.update, data)
                window, base = head + data, position - len(head)
                end = position + len(data)
                while at < len(entries) and entries[at][0] + 16 <= end:
                    start, stop, name = entries[at]
                    at += 1
                    _check_magic(window[start - base : min(stop, start + 16) - base], blob, name, report)
                head, position = window[-16:], end
                progress(position)
            for start, stop, name in entries[at:]:
                _check_magic(os.pread(file.fileno(), min(16, stop - start), start), blob, name, report)
    except OSError as error:
        report.add("unreadable", blob, f"after byte {position}: {error.strerror}")
        return
    if checksum:
        report.checksums += 1
        if digest.hexdigest() != checksum:
            report.add("checksum", blob, f"is {digest.hexdigest()}; blob/SHA256SUMS says {checksum}")


def _check_magic(data: bytes, blob: str, name: str, report: VerifyReport) -> None:
    if not is_image(data):
        if data:
            report.add("not-an-image", blob, f"{name} doesn't begin like an image")
        else:
            report.add("empty", blob, f"{name} has no bytes")
