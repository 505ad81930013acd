"""Annotations of images that have no project: written beside the blobs, as files or into tars."""

from __future__ import annotations

import os
import secrets
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final, Protocol

from blobdir.discovery import layout
from blobdir.errors import AnnotationError
from blobdir.images import seen_values, shown_sizes
from blobdir.inside import read_whole
from blobdir.jsontext import write_json
from blobdir.labels.supervisely import SOURCE
from blobdir.offsets import encode_offsets
from blobdir.packing.classfolders import tags_of
from blobdir.packing.columns import TextColumn
from blobdir.packing.labelled import Labelled
from blobdir.packing.names import slug_of, stem_of
from blobdir.packing.picturesizes import size_fault
from blobdir.packing.plain import MetaBuilder, check_annotation, plain_annotation, rewritten, tag_list
from blobdir.packing.report import Problem, no_size
from blobdir.packing.shards import Places, TarOutput, offsets_table
from blobdir.processes import Job
from blobdir.tarwriting.lmdbs import is_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.discovery import Progress
    from blobdir.images import Seen
    from blobdir.packing.labelled import LabelSource
    from blobdir.packing.listing import DatasetItems, Listing
    from blobdir.packing.made import Made
    from blobdir.packing.newfolder import NewFolder
    from blobdir.packing.report import PackOptions, PackReport
    from blobdir.processes import Workers

_AT_ONCE: Final = 500
"""Images whose sizes one process finds out in one go."""


class _Sink(Protocol):
    def write(self, name: str, data: bytes) -> None: ...

    def finish(self) -> None: ...


class NoSink:
    """Writes nothing, for a dry run."""

    def write(self, name: str, data: bytes) -> None:
        """Write nothing."""

    def finish(self) -> None:
        """Nothing is left to do."""


class LooseSink:
    """Writes annotations as files of ``ann/``."""

    def __init__(self, made: Made, folder: str) -> None:
        self._made, self._folder = made, folder
        made.fd(folder)

    def write(self, name: str, data: bytes) -> None:
        """Write one."""
        self._made.create(f"{self._folder}/{name}", data)

    def finish(self) -> None:
        """Nothing is left to do."""


class PackedSink:
    """Writes annotations into tars of ``ann.blob/``, with offsets.

    Parameters
    ----------
    new : NewFolder or None
        None: they are only counted.
    """

    def __init__(self, new: NewFolder | None, dataset: str, shard_bytes: int, report: PackReport) -> None:
        self._new, self._folder = new, layout.join(dataset, layout.PACKED_ANNOTATIONS)
        self._slug, self._most, self._report, self._number = slug_of(dataset), shard_bytes, report, 0
        self._part = ""
        self._tar: TarOutput | None = None
        self._names, self._places = TextColumn(), Places()

    def write(self, name: str, data: bytes) -> None:
        """Write one; a tar is ended before its annotations take more than a shard may."""
        if self._tar and sum(self._places.ends[-1:]) + len(data) > self._most:
            self.finish()
        if self._tar is None:
            self._tar = self._begin()
        start, end = self._tar.member(name, data)
        self._places.add(len(self._names), start, end)
        self._names.append(name)

    def _begin(self) -> TarOutput:
        if self._new is None:
            return TarOutput(None)
        self._part = f"annotations-{secrets.token_hex(4)}.part"
        return TarOutput(self._part, dir_fd=self._new.made.fd(self._new.made.notes))

    def finish(self) -> None:
        """End the tar at hand."""
        if self._tar is None:
            return
        with self._tar:
            digest, size = self._tar.finish(), self._tar.position
        if self._new is None:
            self._report.blobs[f"{self._folder}/{stem_of(self._slug, self._number, '*')}.tar"] = ""
        else:
            stem = stem_of(self._slug, self._number, digest)
            table = offsets_table(self._places, self._names)
            self._new.made.write(f"{self._folder}/{stem}{layout.OFFSETS_SUFFIX}", [encode_offsets(table)])
            self._new.made.bring(f"{self._new.made.notes}/{self._part}", f"{self._folder}/{stem}.tar", size, digest)
            self._report.blobs[f"{self._folder}/{stem}.tar"] = digest
        self._tar, self._names, self._places = None, TextColumn(), Places()
        self._number += 1


class _Beside:
    """Writes ``meta/<image>.json`` of a dataset, for the images that have something in it."""

    def __init__(self, new: NewFolder | None, dataset: DatasetItems) -> None:
        self._new, self._folder = new, layout.join(dataset.path, "meta")
        self._sink: _Sink | None = None

    def write(self, name: str, value: dict[str, Any]) -> int:
        """Write one, if there is something in it; how many were."""
        if not value:
            return 0
        if self._sink is None:
            self._sink = LooseSink(self._new.made, self._folder) if self._new else NoSink()
        self._sink.write(name, write_json(value))
        return 1

    def finish(self) -> None:
        """Close the folder."""
        if self._sink:
            self._sink.finish()


def write_annotations(
    listing: Listing,
    new: NewFolder | None,
    report: PackReport,
    options: PackOptions,
    lost: set[tuple[str, str]],
    workers: Workers,
    progress: Progress | None,
) -> None:
    """Annotations of plain images: those that a list names, or their size, and their folders or a list's as tags.

    Parameters
    ----------
    new : NewFolder or None
        None: only find out what would be written.
    lost : set of (str, str)
        Dataset and source of images that aren't in the blobs.
    """
    total, number = sum(len(dataset.names) for dataset in listing.datasets), 0
    one = _One(listing, report, options, _seen(listing, lost, workers))
    for dataset in listing.datasets:
        sink = _sink(new, dataset, options, report)
        beside = _Beside(new, dataset)
        for i, (source, name) in enumerate(zip(dataset.sources, dataset.names, strict=True)):
            number += 1
            if progress and number % 1000 == 0:
                progress("writing annotations", number, total)
            if (dataset.path, source) in lost:
                continue
            content, kept = one.content(dataset, i, source, name)
            report.files += beside.write(f"{name}.json", kept)
            sink.write(f"{name}.json", content)
            report.stop_if(options.strict)
            report.files += 1
        sink.finish()
        beside.finish()
    if listing.labelled:
        _write_sources(listing.labelled, listing.datasets, new, report)
        report.stop_if(options.strict)
    if new:
        new.made.write(layout.META, [one.meta.content()])


def _write_sources(
    labelled: LabelSource, datasets: list[DatasetItems], new: NewFolder | None, report: PackReport
) -> None:
    """Files of datasets with what labels said of them; at the end, when all classes are known."""
    report.labels, report.objects = labelled.labels.format, labelled.objects
    report.files += len(datasets)
    report.problems += [Problem("label", path, text) for path, text in labelled.mixing.problems()]
    for dataset in datasets:
        if new:
            new.made.write(layout.join(dataset.path, SOURCE), [labelled.content_of(dataset.path)])


class _One:
    """Makes the annotation of one image after the other, and gathers what ``meta.json`` needs."""

    def __init__(self, listing: Listing, report: PackReport, options: PackOptions, seen: Iterator[Seen]) -> None:
        self._listing, self._report, self._options, self._seen = listing, report, options, seen
        self.meta = MetaBuilder(listing.tags, listing.meta)
        if listing.labelled:
            listing.labelled.declare(self.meta)

    def content(self, dataset: DatasetItems, i: int, source: str, name: str) -> tuple[bytes, dict[str, Any]]:
        """Bytes of an annotation, and the value of ``meta/<image>.json``, empty where none is needed."""
        given = dataset.annotations[i] if dataset.annotations else None
        tags = dataset.tags[i] if dataset.annotations else tags_of(source, self._options, self._listing.splits)
        content, (size, label) = b"", next(self._seen)
        if isinstance(given, Labelled):
            value, kept = given.annotation(name, size, self._report)
            self.meta.add(value)
            return write_json(value), kept
        if given is not None:
            content = _given_annotation(self._listing, source, given, label, size, tags, self.meta, self._report)
        return content or _plain_annotation(source, size, tags, self._report), {}


def _sink(new: NewFolder | None, dataset: DatasetItems, options: PackOptions, report: PackReport) -> _Sink:
    if options.annotations == "packed":
        return PackedSink(new, dataset.path, options.shard_bytes, report)
    return LooseSink(new.made, layout.join(dataset.path, layout.ANNOTATIONS)) if new else NoSink()


def _seen(listing: Listing, lost: set[tuple[str, str]], workers: Workers) -> Iterator[Seen]:
    """Sizes of the images, in the order in which they are listed; of a store, with their annotations."""
    ready: dict[int, Iterable[Seen]] = {}
    following = 0
    for job, found in workers.run(_jobs(listing, lost)):
        ready[job.about] = found if is_address(listing.root) else zip(found, repeat(None))
        while following in ready:
            yield from ready.pop(following)
            following += 1


def _jobs(listing: Listing, lost: set[tuple[str, str]]) -> Iterator[Job]:
    """Finding out sizes, of some images each."""
    chosen = (
        (source, items.annotations[i] if items.annotations else None, items.stamps[i])
        for items in listing.datasets
        for i, source in enumerate(items.sources)
        if (items.path, source) not in lost
    )
    number = 0
    while part := list(islice(chosen, _AT_ONCE)):
        names = b"".join(os.fsencode(source) + b"\0" for source, *_ in part)
        what = "finding out sizes of images"
        if is_address(listing.root):
            labels = b"".join(os.fsencode(str(label or "")) + b"\0" for _, label, _ in part)
            yield Job(seen_values, (listing.root, names, labels, part[0][2]), what, number)
        else:
            yield Job(shown_sizes, (listing.root, names), what, number)
        number += 1


def _given_annotation(
    listing: Listing,
    source: str,
    given: str | dict[str, Any],
    label: bytes | None,
    size: tuple[int, int] | str,
    tags: tuple[str, ...] | list[str],
    meta: MetaBuilder,
    report: PackReport,
) -> bytes:
    """What a list says, with the tags that it says besides; nothing where that can't be had, which is reported."""
    what = given if isinstance(given, str) else "its annotation"
    try:
        data = label if label is not None else given
        if isinstance(data, str):
            data = read_whole(os.path.join(listing.root, data))
        value = check_annotation(data, what)
        if tags:
            value = value | {"tags": [*(value.get("tags") or []), *tag_list(tags)]}
        content = data if isinstance(data, bytes) and not tags else rewritten(value, data, what)
    except (OSError, AnnotationError) as error:
        text = f"{given}: can't be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        report.problems.append(Problem("annotation", source, f"{text}; it has one without objects"))
        return b""
    if not isinstance(size, str) and (fault := size_fault(value, size)):
        report.problems.append(Problem("annotation-size", source, f"{what} {fault}"))
    meta.add(value)
    return content


def _plain_annotation(
    source: str, size: tuple[int, int] | str, tags: tuple[str, ...] | list[str], report: PackReport
) -> bytes:
    if isinstance(size, str):
        report.problems.append(no_size(source, size))
        size = (0, 0)
    width, height = size
    return plain_annotation(height, width, tags)
