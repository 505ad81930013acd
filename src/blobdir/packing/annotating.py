"""Annotations of images that have no project: written beside the blobs, as files or into tars."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from blobdir.discovery import layout
from blobdir.durable import write_whole
from blobdir.errors import AnnotationError
from blobdir.offsets import write_offsets
from blobdir.packing.columns import TextColumn
from blobdir.packing.plain import MetaBuilder, check_annotation, plain_annotation, tag_list
from blobdir.packing.report import Problem
from blobdir.packing.shards import Places, TarOutput
from blobdir.packing.source import tags_of

if TYPE_CHECKING:
    from blobdir.discovery import Progress
    from blobdir.packing.listing import Listing
    from blobdir.packing.report import PackOptions, PackReport


class LooseSink:
    """Writes annotations as files of ``ann/``."""

    def __init__(self, work: Path, dataset: str) -> None:
        self._folder = str(work / dataset / layout.ANNOTATIONS)

    def write(self, name: str, data: bytes) -> None:
        """Write one."""
        with open(f"{self._folder}/{name}", "wb", buffering=0) as file:
            file.write(data)

    def finish(self) -> None:
        """Nothing is left to do."""


class PackedSink:
    """Writes annotations into tars of ``ann.blob/``, with offsets."""

    def __init__(self, work: Path, dataset: str, shard_bytes: int, report: PackReport) -> None:
        self._work, self._folder = work, layout.join(dataset, layout.PACKED_ANNOTATIONS)
        self._slug = layout.dataset_name(dataset).replace("/", "-")
        self._most, self._report, self._number = shard_bytes, report, 0
        self._tar: TarOutput | None = None
        self._names, self._places = TextColumn(), Places()

    def write(self, name: str, data: bytes) -> None:
        """Write one; a tar is ended before its annotations take more than a shard may."""
        if self._tar and sum(self._places.ends[-1:]) + len(data) > self._most:
            self.finish()
        if self._tar is None:
            self._tar = TarOutput(f"{self._stem()}.tar")
        start, end = self._tar.member(name, data)
        self._places.add(len(self._names), start, end)
        self._names.append(name)

    def _stem(self) -> str:
        return str(self._work / self._folder / f"{self._slug}-{self._number:04d}")

    def finish(self) -> None:
        """End the tar at hand."""
        if self._tar is None:
            return
        with self._tar:
            self._report.blobs[f"{self._folder}/{self._slug}-{self._number:04d}.tar"] = self._tar.finish()
        write_offsets(f"{self._stem()}{layout.OFFSETS_SUFFIX}", self._places.table(self._names))
        self._tar, self._names, self._places = None, TextColumn(), Places()
        self._number += 1


def write_annotations(
    listing: Listing, work: Path, report: PackReport, options: PackOptions, progress: Progress | None
) -> None:
    """Annotations of plain images: those that a list names, or their size, and their folders or a list's as tags."""
    total, number = sum(len(dataset.names) for dataset in listing.datasets), 0
    meta = MetaBuilder(listing.tags)
    lost = {problem.path for problem in report.problems if problem.costs}
    for dataset in listing.datasets:
        sink: LooseSink | PackedSink
        if options.annotations == "packed":
            sink = PackedSink(work, dataset.path, options.shard_bytes, report)
        else:
            sink = LooseSink(work, dataset.path)
        for i, (source, name) in enumerate(zip(dataset.sources, dataset.names, strict=True)):
            number += 1
            if progress and number % 1000 == 0:
                progress("writing annotations", number, total)
            if source in lost:
                continue
            given = dataset.annotations[i] if dataset.annotations else None
            tags = dataset.tags[i] if dataset.annotations else tags_of(source, options)
            content = _given_annotation(listing, source, given, tags, meta, report) if given is not None else b""
            sink.write(f"{name}.json", content or _plain_annotation(listing, source, tags, report))
            report.stop_if(options.strict)
            report.files += 1
        sink.finish()
    write_whole(work / layout.META, [meta.content()])


def _given_annotation(
    listing: Listing,
    source: str,
    given: str | dict[str, Any],
    tags: tuple[str, ...] | list[str],
    meta: MetaBuilder,
    report: PackReport,
) -> bytes:
    """What a list says, with the tags that it says besides; nothing where that can't be had, which is reported."""
    try:
        data = given if isinstance(given, dict) else Path(listing.root, given).read_bytes()
        value = check_annotation(data, given if isinstance(given, str) else "its annotation")
    except (OSError, AnnotationError) as error:
        text = f"{given}: can't be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        report.problems.append(Problem("annotation", source, f"{text}; it has one without objects"))
        return b""
    if tags:
        value = value | {"tags": [*(value.get("tags") or []), *tag_list(tags)]}
    meta.add(value)
    if isinstance(data, bytes) and not tags:
        return data
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _plain_annotation(listing: Listing, source: str, tags: tuple[str, ...] | list[str], report: PackReport) -> bytes:
    try:
        with Image.open(os.path.join(listing.root, source)) as image:
            width, height = image.size
    except Exception as error:
        width = height = 0
        text = f"its size can't be found out ({error}); 0 was written"
        report.problems.append(Problem("not-an-image", source, text))
    return plain_annotation(height, width, tags)
