"""Blobs written anew without the bytes that no offsets refer to."""

from __future__ import annotations

import os
import time
from posixpath import basename
from typing import TYPE_CHECKING

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import PackError
from blobdir.packing.growing import ChangeReport, ProjectWriter
from blobdir.packing.journal import Change
from blobdir.packing.shards import TarOutput

if TYPE_CHECKING:
    from blobdir.packing.growing import Span


def compact(project: str | os.PathLike[str]) -> ChangeReport:
    """Write blobs anew whose bytes aren't all referred to, without those; the others aren't touched.

    Who has the old ones open, a reader or a mount, goes on with them.
    """
    began = time.perf_counter()
    report = ChangeReport()
    with Change(os.path.abspath(project)) as change:
        writer = ProjectWriter(change, os.path.abspath(project))
        pickles: dict[str, list[str]] = {}
        for record in writer.project.tree.index.header.inputs:
            folder, _, name = record.path.rpartition("/")
            # Those in ann.blob/ belong to tars beside them, whatever they are called.
            if layout.is_offsets(name) and folder and basename(folder) != layout.PACKED_ANNOTATIONS:
                pickles.setdefault(name.removesuffix(layout.OFFSETS_SUFFIX), []).append(record.path)
        added: dict[str, str] = {}
        removed = []
        folder = os.path.join(writer.root, layout.BLOB_DIR)
        for name in sorted(os.listdir(folder)):
            stem = layout.blob_stem(name)
            if stem is None:
                continue
            freed = _compact_blob(writer, name, stem, pickles.get(stem, []), added, report)
            if freed:
                removed.append(name)
                report.freed += freed
        writer.write_sums(added, removed)
        writer.write_pickles()
        change.commit()
    report.seconds = time.perf_counter() - began
    return report


def _compact_blob(
    writer: ProjectWriter, name: str, stem: str, pickles: list[str], added: dict[str, str], report: ChangeReport
) -> int:
    """Bytes that are freed; 0 where there is nothing to free."""
    full = os.path.join(writer.root, layout.BLOB_DIR, name)
    named = {span: n for pickle in pickles for n, span in writer.entries(pickle).items()}
    sizes = np.array([end - start for start, end in named], np.int64)
    needed = int((sizes + 511).sum() // 512 * 512 + 512 * len(named)) + 20 * 1024
    size = os.path.getsize(full)
    if size <= needed and named:
        return 0
    writer.change.remove(f"{layout.BLOB_DIR}/{name}")
    if not named:
        return size
    folder = os.path.dirname(full)
    stems = (f"{stem}-c{i}" for i in range(1, 10**9))
    new = next(free for free in stems if not os.path.exists(os.path.join(folder, f"{free}.tar")))
    blob = f"{layout.BLOB_DIR}/{new}.tar"
    with TarOutput(str(writer.change.stage(blob))) as out:
        place = copy_members(full, named, out)
        added[f"{new}.tar"] = out.finish()
    report.blobs.append(blob)
    report.images += len(named)
    for pickle in pickles:
        entries = writer.entries(pickle)
        fresh = writer.entries(f"{os.path.dirname(pickle)}/{new}{layout.OFFSETS_SUFFIX}")
        fresh.update({n: place[span] for n, span in entries.items()})
        entries.clear()
    return size - out.position


def copy_members(tar: str, named: dict[Span, str], out: TarOutput) -> dict[Span, Span]:
    """Copy members from one tar to another, in the order in which they lie.

    Returns
    -------
    dict
        Byte range in the old tar -> byte range in the new one.

    Raises
    ------
    PackError
        One can't be read.
    """
    place = {}
    source = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, end in sorted(named):
            data = os.pread(source, end - start, start)
            if len(data) != end - start:
                raise PackError(f"{tar}: bytes {start} to {end} can't be read; nothing was changed")
            place[start, end] = out.member(named[start, end], data)
    finally:
        os.close(source)
    return place
