"""Annotations against images and ``meta.json``."""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from posixpath import splitext
from typing import TYPE_CHECKING, Any

from PIL import Image

from blobdir.errors import BlobdirError
from blobdir.images import decode_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.project import Dataset, Project
    from blobdir.verifying.findings import VerifyReport

BATCH = 500


def check_annotations(project: Project, report: VerifyReport, progress: Callable[[int, int], None]) -> None:
    """Every image has an annotation, every annotation an image; each is one, and names what ``meta.json`` knows."""
    try:
        meta = project.meta
    except BlobdirError as error:
        report.add("meta", "meta.json", str(error), severity="error")
        meta = {}
    classes = {item.get("title") for item in meta.get("classes", []) if isinstance(item, dict)}
    tags = {item.get("name") for item in meta.get("tags", []) if isinstance(item, dict)}
    total = sum(len(_annotations(project, dataset)) for dataset in project.values())
    done = 0
    for dataset in project.values():
        names = set(dataset.names)
        annotations = _annotations(project, dataset)
        for name in sorted(names):
            if f"{name}.json" not in annotations and f"{splitext(name)[0]}.json" not in annotations:
                report.add("image-without-annotation", dataset.path, name)
        stems = {splitext(name)[0] for name in names}
        for name in sorted(annotations):
            if name.removesuffix(".json") not in names and name.removesuffix(".json") not in stems:
                report.add("annotation-without-image", dataset.path, name)
            _check_one(project, dataset, name, classes, tags, report)
            done += 1
            if done % 1000 == 0:
                progress(done, total)


def _annotations(project: Project, dataset: Dataset) -> set[str]:
    try:
        row = project.tree.find(f"{dataset.path}/ann")
        return {name for name in project.tree.names(row) if name.endswith(".json")}
    except OSError:
        return set()


def _check_one(
    project: Project, dataset: Dataset, name: str, classes: set[Any], tags: set[Any], report: VerifyReport
) -> None:
    report.annotations += 1
    path = f"{dataset.path}/ann/{name}"
    try:
        value = json.loads(project.tree.read(project.tree.find(path)))
        size, objects = value["size"], value["objects"]
        if not (isinstance(size["height"], int) and isinstance(size["width"], int) and isinstance(objects, list)):
            raise TypeError("size and objects aren't what they should be")
        titles = {item["classTitle"] for item in objects}
        named = {tag["name"] for holder in (value, *objects) for tag in holder.get("tags", [])}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        report.add("annotation-invalid", dataset.path, f"{name}: {type(error).__name__}: {error}")
        return
    for title in titles - classes:
        report.add("class-unknown", dataset.path, f"{name}: class {title!r} isn't in meta.json")
    for tag in named - tags:
        report.add("tag-unknown", dataset.path, f"{name}: tag {tag!r} isn't in meta.json")


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
