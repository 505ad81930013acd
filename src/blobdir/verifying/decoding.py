"""Every image decoded, and its size held against its annotation's."""

from __future__ import annotations

import io
from functools import lru_cache
from time import monotonic_ns
from typing import TYPE_CHECKING

from PIL import Image

from blobdir.datasets import DatasetView, ProjectView
from blobdir.discovery import DiscoveryOptions
from blobdir.errors import BlobdirError
from blobdir.images import decode_image
from blobdir.offsets import read_offsets
from blobdir.opening import build
from blobdir.processes import Job, Workers, processors
from blobdir.sources import LocalStorage
from blobdir.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.discovery.discover import ReadOffsets
    from blobdir.verifying.findings import VerifyReport

    Decoded = list[tuple[str, str]]

BATCH = 500


def look_into(storage: LocalStorage, read: ReadOffsets = read_offsets) -> ProjectView[DatasetView]:
    """A project as it is now, with what is left of it; its defects are no warnings."""
    options = DiscoveryOptions(on_defect="ignore", follow_links=storage.follow_links)
    return ProjectView(Tree(build(storage, options, read=read), storage))


def check_decoding(
    project: ProjectView[DatasetView], report: VerifyReport, processes: int, progress: Callable[[int, int], None]
) -> None:
    """Decode every image, and compare its size with its annotation's.

    Parameters
    ----------
    project : ProjectView
    report : VerifyReport
    processes : int
        0: one per processor.
    progress : callable
    """
    parts = [
        (dataset.path, names[at : at + BATCH])
        for dataset in project.values()
        for names in [dataset.names]
        for at in range(0, len(names), BATCH)
    ]
    total, done = sum(len(names) for _, names in parts), 0
    for path, found in _decoded(project, parts, min(processes or processors(), len(parts))):
        for code, example in found:
            if code:
                report.add(code, path, example)
        done += len(found)
        report.decoded += len(found)
        progress(done, total)


def _decoded(
    project: ProjectView[DatasetView], parts: list[tuple[str, list[str]]], count: int
) -> Iterator[tuple[str, Decoded]]:
    if count <= 1:
        for path, names in parts:
            yield path, _decode_all(project, path, names)
        return
    follow = isinstance(project.tree.storage, LocalStorage) and project.tree.storage.follow_links
    opened = project.url, follow, monotonic_ns()
    jobs = (Job(decode_batch, (*opened, path, names), f"decoding {path}", path) for path, names in parts)
    with Workers(count) as workers:
        for job, found in workers.run(jobs):
            yield job.about, found


def decode_batch(root: str, follow_links: bool, run: int, dataset: str, names: list[str]) -> Decoded:
    """Decode some images, in a worker; for each a code and what is wrong, or two empty texts."""
    return _decode_all(_opened(root, follow_links, run), dataset, names)


@lru_cache(1)
def _opened(root: str, follow_links: bool, _run: int) -> ProjectView[DatasetView]:
    """The project, which a worker opens once for each run of a check."""
    return look_into(LocalStorage(root, follow_links=follow_links))


def _decode_all(project: ProjectView[DatasetView], dataset: str, names: list[str]) -> Decoded:
    images = project[dataset]
    return [_decode(images, name) for name in names]


def _decode(dataset: DatasetView, name: str) -> tuple[str, str]:
    try:
        data = dataset.get_blob_img_bytes(name)
        pixels = decode_image(data, name=name).shape
        with Image.open(io.BytesIO(data)) as image:
            stored = image.size
    except (BlobdirError, OSError) as error:
        return "not-decodable", f"{name}: {error}"
    try:
        size = dataset.annotation(name)["size"]
        wanted = int(size["width"]), int(size["height"])
    except (BlobdirError, OSError, KeyError, TypeError, ValueError):
        return "", ""  # said where annotations are looked at
    # The SDK writes the size as stored or as turned by EXIF, by version.
    if wanted not in (stored, (pixels[1], pixels[0])):
        return "annotation-size", f"{name} is {pixels[1]} x {pixels[0]}, its annotation says {wanted[0]} x {wanted[1]}"
    return "", ""
