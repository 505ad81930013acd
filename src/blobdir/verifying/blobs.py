"""Offsets against the headers of their tars: every entry, not three."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from blobdir.errors import BlobdirError, OffsetsError
from blobdir.nametable import name_at
from blobdir.offsets import read_offsets
from blobdir.packing.shards import IMAGE_BEGINNINGS
from blobdir.tarscan import scan_tar
from blobdir.verifying.findings import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

    from blobdir.offsets import OffsetsTable
    from blobdir.tarscan import TarTable
    from blobdir.verifying.findings import VerifyReport

WINDOW = 4 << 20
HEAD = 16
"""Bytes of an image that tell that it's one."""


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
    tables = _tables(root, pickles, report)
    starts = np.concatenate([np.zeros(0, np.int64), *(table.start for table in tables.values())])
    ends = np.concatenate([np.zeros(0, np.int64), *(table.end for table in tables.values())])
    members: TarTable | None = None
    # Two passes side by side: reading and hashing let go of the interpreter's lock, which the scan has.
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(read_through, full, starts, ends, progress, checksum=bool(checksum))
        try:
            size = os.path.getsize(full)
            members = scan_tar(full)
        except (BlobdirError, OSError) as error:
            report.add("tar-damaged" if isinstance(error, BlobdirError) else "unreadable", blob, str(error))
            size = 0
    if members is None:
        return
    report.blob_bytes += size
    used = [check_entries(pickle, members, table, size, report) for pickle, table in tables.items()]
    for warning in members.warnings:
        report.add("tar-warning", blob, warning)
    _unreferenced(blob, members, used, report)
    try:
        heads, digest = reading.result()
    except OSError as error:
        report.add("unreadable", blob, f"{error.strerror or error}")
        return
    _check_magic(blob, list(tables.values()), heads, np.minimum(ends, size) - starts, report)
    if checksum:
        report.checksums += 1
        if digest != checksum:
            report.add("checksum", blob, f"is {digest}; blob/SHA256SUMS says {checksum}")


def _tables(root: str, pickles: list[str], report: VerifyReport) -> dict[str, OffsetsTable]:
    """The pickles that can be read, without repeats."""
    tables = {}
    for pickle in pickles:
        try:
            tables[pickle] = read_offsets(os.path.join(root, pickle)).unique("skip")
        except OffsetsError as error:
            report.add("offsets-unreadable", pickle, str(error), severity="error")
        except OSError as error:
            report.add("unreadable", pickle, str(error))
    report.entries += sum(map(len, tables.values()))
    return tables


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
    if hit.all() and np.array_equal(found, np.arange(len(members))) and np.array_equal(table.arena, members.arena):
        names, hit_rows = [], np.zeros(0, np.int64)  # entry by entry what the tar says
    else:
        names, hit_rows = table.names(), np.flatnonzero(hit)
    member_names = members.arena.tobytes().split(b"\0") if len(hit_rows) else []
    for row, number in zip(hit_rows.tolist(), found[hit_rows].tolist(), strict=True):
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


def read_through(
    full: str, starts: Ints, ends: Ints, progress: Callable[[int], None], *, checksum: bool
) -> tuple[NDArray[np.uint8], str]:
    """Read every byte of a file once.

    Parameters
    ----------
    full : str
    starts, ends : ndarray of int64
        Byte ranges in it, half-open, in any order; they may lie past its end.
    progress : callable
        Told how many bytes lie behind.
    checksum : bool

    Returns
    -------
    heads : ndarray of uint8, shape (ranges, `HEAD`)
        The first bytes of each range, zeros where it or the file is shorter.
    digest : str
        SHA-256 of the file, if it was asked for.
    """
    digest = hashlib.sha256()
    order = np.argsort(starts, kind="stable")
    sorted_starts = starts[order]
    heads = np.zeros((len(starts), HEAD), np.uint8)
    # Between windows the last bytes of the one before stay in front, for ranges that begin there.
    buffer = memoryview(bytearray(HEAD + WINDOW))
    every = sliding_window_view(np.frombuffer(buffer, np.uint8), HEAD)
    position = at = 0
    with open(full, "rb", buffering=0) as file:
        while count := file.readinto(buffer[HEAD:]):
            if checksum:
                digest.update(buffer[HEAD : HEAD + count])
            base, position = position - HEAD, position + count
            stop = int(np.searchsorted(sorted_starts, position - HEAD, side="right"))
            heads[order[at:stop]] = every[sorted_starts[at:stop] - base]
            at = stop
            buffer[:HEAD] = buffer[count : HEAD + count]
            progress(position)
        for row in order[at:].tolist():
            data = os.pread(file.fileno(), HEAD, int(starts[row]))
            heads[row, : len(data)] = np.frombuffer(data, np.uint8)
    heads[np.arange(HEAD) >= np.minimum(ends, position)[:, None] - starts[:, None]] = 0
    return heads, digest.hexdigest() if checksum else ""


def _check_magic(
    blob: str, tables: list[OffsetsTable], heads: NDArray[np.uint8], lengths: Ints, report: VerifyReport
) -> None:
    odd = np.flatnonzero(~are_images(heads, lengths))
    first = np.cumsum([0, *map(len, tables)])
    for code, rows, what in (
        ("empty", odd[lengths[odd] <= 0], "has no bytes"),
        ("not-an-image", odd[lengths[odd] > 0], "doesn't begin like an image"),
    ):
        for number, row in enumerate(rows[:EXAMPLES].tolist(), 1):
            table = int(np.searchsorted(first, row, side="right")) - 1
            name = os.fsdecode(tables[table].name(row - int(first[table])))
            count = 1 if number < EXAMPLES else len(rows) - EXAMPLES + 1
            report.add(code, blob, f"{name} {what}", count)


def are_images(heads: NDArray[np.uint8], lengths: Ints) -> NDArray[np.bool_]:
    """`blobdir.packing.shards.is_image` of many beginnings at once."""
    found = np.zeros(len(heads), bool)
    for parts in IMAGE_BEGINNINGS:
        left = np.flatnonzero(~found)
        if not len(left):
            break
        same = lengths[left] >= max(at + len(magic) for at, magic in parts)
        for at, magic in parts:
            same &= (heads[left, at : at + len(magic)] == np.frombuffer(magic, np.uint8)).all(axis=1)
        found[left[same]] = True
    return found
