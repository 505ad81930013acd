"""Annotations against images and ``meta.json``."""

from __future__ import annotations

import io
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from posixpath import splitext
from typing import TYPE_CHECKING, Self

from PIL import Image

from blobdir.discovery import layout
from blobdir.errors import BlobdirError
from blobdir.images import decode_image
from blobdir.index import LOOSE
from blobdir.verifying import looking
from blobdir.verifying.looking import BATCH as FILES
from blobdir.verifying.looking import Helpers, Job, invalid, look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from blobdir.project import Dataset, Project
    from blobdir.tree import Tree
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.looking import Remark

BATCH = 500
MANY = 10_000
"""Annotations from which on it pays to start processes for them."""


class AnnotationCheck:
    """Every image has an annotation, every annotation an image; each is one, and names what ``meta.json`` knows.

    A context manager: many annotations are looked at by processes beside this one, from its beginning on.

    Parameters
    ----------
    project : Project
    report : VerifyReport
    processes : int
        0: one per processor.
    """

    def __init__(self, project: Project, report: VerifyReport, processes: int) -> None:
        self._project, self._report = project, report
        try:
            meta = project.meta
        except BlobdirError as error:
            report.add("meta", "meta.json", str(error), severity="error")
            meta = {}
        self._classes = {item.get("title") for item in meta.get("classes", []) if isinstance(item, dict)}
        self._tags = {item.get("name") for item in meta.get("tags", []) if isinstance(item, dict)}
        self._names = {dataset.path: _annotations(project, dataset) for dataset in project.values()}
        self._others: list[tuple[str, str]] = []
        jobs = [job for path, names in self._names.items() for job in self._jobs(path, sorted(names))]
        count = processes or os.cpu_count() or 1
        many = (
            sum(len(job.names) for job in jobs) >= MANY
            and count > 1
            and bool(sys.executable)
            and os.path.isfile(looking.__file__)
        )
        self._helpers = Helpers(jobs, self._classes, self._tags, count if many else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._helpers.__exit__()

    def _jobs(self, dataset: str, names: list[str]) -> Iterator[Job]:
        """Plain files for the helpers; what is packed, or a link, is left for this process."""
        tree, folder = self._project.tree, f"{dataset}/{layout.ANNOTATIONS}"
        if not names:
            return
        rows = tree.children(tree.find(folder))
        source = dict(
            zip(tree.names(tree.find(folder)), tree.index.source[rows.start : rows.stop].tolist(), strict=True)
        )
        files = [name for name in names if source[name] == LOOSE]
        self._others += [(dataset, name) for name in names if source[name] != LOOSE]
        full = os.path.join(self._project.url, folder)
        yield from (Job(dataset, full, files[at : at + FILES]) for at in range(0, len(files), FILES))

    def finish(self, progress: Callable[[int, int], None]) -> None:
        """Report what was found."""
        total = sum(map(len, self._names.values()))
        for dataset in self._project.values():
            _check_names(dataset, set(dataset.names), self._names[dataset.path], self._report)
        for done, (path, name, data) in enumerate(self._contents()):
            if isinstance(data, OSError):
                self._add([invalid(path, name, data)])
            else:
                self._add(look_at(path, name, data, self._classes, self._tags))
            if done % 1000 == 0:
                progress(done, total)
        self._add(self._helpers.remarks())
        progress(total, total)
        self._report.annotations += total

    def _add(self, remarks: Iterable[Remark]) -> None:
        for path, code, example in remarks:
            self._report.add(code, path, example)

    def _contents(self) -> Iterator[tuple[str, str, bytes | OSError]]:
        """Dataset, name and content of each packed annotation, or why it can't be had."""
        tree = self._project.tree
        for first in range(0, len(self._others), BATCH):
            some = self._others[first : first + BATCH]
            paths = [f"{dataset}/{layout.ANNOTATIONS}/{name}" for dataset, name in some]
            try:
                contents: list[bytes | OSError] = list(tree.read_many(tree.find_many(paths)))
            except OSError:  # some can't be read: find out which
                contents = [_tried(tree, path) for path in paths]
            yield from ((dataset, name, data) for (dataset, name), data in zip(some, contents, strict=True))


def _tried(tree: Tree, path: str) -> bytes | OSError:
    try:
        return tree.read(tree.find(path))
    except OSError as error:
        return error


def _annotations(project: Project, dataset: Dataset) -> set[str]:
    try:
        row = project.tree.find(f"{dataset.path}/{layout.ANNOTATIONS}")
        return {name for name in project.tree.names(row) if name.endswith(".json")}
    except OSError:
        return set()


def _check_names(dataset: Dataset, names: set[str], annotations: set[str], report: VerifyReport) -> None:
    by_name = {f"{name}.json" for name in names}
    without = [name for name in sorted(names) if f"{name}.json" not in annotations] if by_name - annotations else []
    for name in without:
        if f"{splitext(name)[0]}.json" not in annotations:
            report.add("image-without-annotation", dataset.path, name)
    over = sorted(annotations - by_name)
    stems = {splitext(name)[0] for name in names} if over else set()
    for name in over:
        if name.removesuffix(".json") not in stems:
            report.add("annotation-without-image", dataset.path, name)


def check_decoding(
    project: Project, report: VerifyReport, processes: int, progress: Callable[[int, int], None]
) -> None:
    """Decode every image, and compare its size with its annotation's."""
    jobs = [
        (project, dataset.path, names[at : at + BATCH])
        for dataset in project.values()
        for names in [dataset.names]
        for at in range(0, len(names), BATCH)
    ]
    total, done = sum(len(names) for _, _, names in jobs), 0
    for path, found in _decoded(jobs, processes or os.cpu_count() or 1):
        for code, example in found:
            if code:
                report.add(code, path, example)
        done += len(found)
        report.decoded += len(found)
        progress(done, total)


def _decoded(jobs: list[tuple[Project, str, list[str]]], processes: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if processes == 1 or len(jobs) <= 1:
        for job in jobs:
            yield job[1], decode_batch(*job)
        return
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(decode_batch, *job) for job in jobs]
        for job, future in zip(jobs, waiting, strict=True):
            yield job[1], future.result()


def decode_batch(project: Project, dataset: str, names: list[str]) -> list[tuple[str, str]]:
    """Decode some images; for each a code and what is wrong, or two empty texts."""
    return [_decode(project[dataset], name) for name in names]


def _decode(dataset: Dataset, name: str) -> tuple[str, str]:
    try:
        data = dataset.get_blob_img_bytes(name)
        decode_image(data, name=name)
        with Image.open(io.BytesIO(data)) as image:
            stored = image.size
        pixels = decode_image(data, name=name).shape
    except (BlobdirError, OSError) as error:
        return "not-decodable", f"{name}: {error}"
    try:
        size = dataset.annotation(name)["size"]
        wanted = int(size["width"]), int(size["height"])
    except (BlobdirError, OSError, KeyError, TypeError, ValueError):
        return "", ""  # said by check_annotations
    # The SDK writes the size as stored or as turned by EXIF, by version.
    if wanted not in (stored, (pixels[1], pixels[0])):
        return "annotation-size", f"{name} is {pixels[1]} x {pixels[0]}, its annotation says {wanted[0]} x {wanted[1]}"
    return "", ""
