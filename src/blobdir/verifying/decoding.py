"""Every image decoded, and its size held against its annotation's."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from time import monotonic_ns
from typing import TYPE_CHECKING

from blobdir.annotations import read_annotation
from blobdir.datasets import DatasetView, ProjectView
from blobdir.discovery import DiscoveryOptions
from blobdir.errors import BlobdirError
from blobdir.images import decode_image, pixel_limit, set_pixel_limit, stored_size
from blobdir.offsets import read_offsets
from blobdir.opening import build
from blobdir.processes import Job, Workers, processors
from blobdir.sources import LocalStorage
from blobdir.tree import Tree
from blobdir.verifying.bitmaps import bitmap_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.discovery.discover import ReadOffsets
    from blobdir.verifying.findings import VerifyReport

    Decoded = list[list[tuple[str, str]]]
    Shapes = dict[str, str]

BATCH = 500
ENOUGH = 64
"""Images from which on it pays to start processes for them."""
_FAILED = "not-decodable"


def look_into(storage: LocalStorage, read: ReadOffsets = read_offsets) -> ProjectView[DatasetView]:
    """A project as it is now, with what is left of it; its defects are no warnings."""
    options = DiscoveryOptions(on_defect="ignore", follow_links=storage.follow_links)
    return ProjectView(Tree(build(storage, options, read=read), storage))


def check_decoding(
    project: ProjectView[DatasetView],
    shapes: Shapes,
    report: VerifyReport,
    processes: int,
    progress: Callable[[int, int], None],
) -> None:
    """Decode every image and the bitmaps of its annotation, and compare its size with its annotation's.

    Parameters
    ----------
    project : ProjectView
    shapes : dict of str to str
        Of classes.
    report : VerifyReport
    processes : int
        0: one per processor, and none for a few images.
    progress : callable
    """
    parts = [
        (dataset.path, names[at : at + BATCH])
        for dataset in project.values()
        for names in [dataset.names]
        for at in range(0, len(names), BATCH)
    ]
    total, done = sum(len(names) for _, names in parts), 0
    count = processes or (processors() if total >= ENOUGH else 1)
    for path, found in _decoded(project, shapes, parts, min(count, len(parts))):
        for code, example in chain.from_iterable(found):
            report.add(code, path, example)
        done += len(found)
        failed = sum(any(code == _FAILED for code, _ in one) for one in found)
        report.undecoded += failed
        report.decoded += len(found) - failed
        progress(done, total)


def _decoded(
    project: ProjectView[DatasetView], shapes: Shapes, parts: list[tuple[str, list[str]]], count: int
) -> Iterator[tuple[str, Decoded]]:
    if count <= 1:
        for path, names in parts:
            yield path, _decode_all(project, shapes, path, names)
        return
    follow = isinstance(project.tree.storage, LocalStorage) and project.tree.storage.follow_links
    opened = project.url, follow, monotonic_ns()
    jobs = (
        Job(decode_batch, (*opened, pixel_limit(), shapes, path, names), f"decoding {path}", path)
        for path, names in parts
    )
    with Workers(count) as workers:
        for job, found in workers.run(jobs):
            yield job.about, found


def decode_batch(
    root: str, follow_links: bool, run: int, most_pixels: int | None, shapes: Shapes, dataset: str, names: list[str]
) -> Decoded:
    """Decode some images, in a worker; for each codes and what is wrong."""
    set_pixel_limit(most_pixels)
    return _decode_all(_opened(root, follow_links, run), shapes, dataset, names)


@lru_cache(1)
def _opened(root: str, follow_links: bool, _run: int) -> ProjectView[DatasetView]:
    """The project, which a worker opens once for each run of a check."""
    return look_into(LocalStorage(root, follow_links=follow_links))


def _decode_all(project: ProjectView[DatasetView], shapes: Shapes, dataset: str, names: list[str]) -> Decoded:
    images = project[dataset]
    return [list(_decode(images, shapes, name)) for name in names]


def _decode(dataset: DatasetView, shapes: Shapes, name: str) -> Iterator[tuple[str, str]]:
    try:
        annotation = dataset.annotation(name)
        for fault in bitmap_faults(read_annotation(annotation), shapes):
            yield "sdk-object", f"{name}: {fault}"
        size = annotation["size"]
        wanted = int(size["width"]), int(size["height"])
    except (BlobdirError, OSError, KeyError, TypeError, ValueError):
        wanted = None  # said where annotations are looked at
    try:
        data = dataset.get_blob_img_bytes(name)
        notes: list[str] = []
        height, width = decode_image(data, name=name, notes=notes).shape[:2]
        # Old versions of the SDK have written this one.
        is_stored = wanted is not None and wanted != (width, height) and wanted == stored_size(data)
    except (BlobdirError, OSError) as error:
        yield _FAILED, f"{name}: {error}"
        return
    if notes:
        yield "image-damaged", f"{name}: {'; '.join(notes)}"
    if wanted and wanted != (width, height):
        text = f"{name} is {width} x {height}, its annotation says {wanted[0]} x {wanted[1]}"
        if is_stored:
            yield "annotation-turned", f"{text}: the size as it was before EXIF turned it"
        else:
            yield "annotation-size", text
