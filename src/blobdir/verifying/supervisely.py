"""What the Supervisely SDK drops or refuses, though nothing is wrong with it. After ``Project._read``, SDK 6.74.51."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import PurePosixPath
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import OffsetsError
from blobdir.filenames import is_image_name
from blobdir.offsets import read_offsets
from blobdir.verifying.places import pickles_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blobdir.datasets import DatasetView, ProjectView
    from blobdir.sources import Folder, LocalStorage
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.places import Folders

_ANNOTATION: Final = ".json"


def check_for_sdk(
    storage: LocalStorage,
    project: ProjectView[DatasetView],
    folders: Folders,
    counts: Mapping[str, int],
    report: VerifyReport,
) -> None:
    """Report what the SDK would leave out.

    Parameters
    ----------
    storage : LocalStorage
    project : ProjectView
    folders : mapping
        All folders of the project by path.
    counts : mapping
        Pickle -> entries, as far as it could be read.
    report : VerifyReport
    """
    datasets = project.tree.index.header.datasets
    _check_dataset_names(datasets, report)
    if report.audience:
        _check_places(datasets, folders, report)
    pickles: dict[str, list[str]] = defaultdict(list)
    for some in pickles_of(folders, datasets, layout.BLOB_DIR).values():
        for pickle in some:
            pickles[pickle.rpartition("/")[0]].append(pickle)
    if report.audience:
        _check_blob_names(folders, [pickle for some in pickles.values() for pickle in some], report)
    for dataset in project.values():
        names = dataset.names
        _check_doubles(storage, dataset, names, folders, pickles[dataset.path], counts, report)
        for name in (name for name in names if "/" in name):
            report.add("sdk-folder", dataset.path, f"{name}: the SDK finds no annotation of an image in a folder")
        nested = any(path.startswith(f"{dataset.path}/") for path in datasets)
        if not names and not nested and not any(counts.get(pickle) != 0 for pickle in pickles[dataset.path]):
            report.add("sdk-empty", dataset.path, "holds no image and no other dataset")
        if report.audience and layout.join(dataset.path, layout.PACKED_ANNOTATIONS) in folders:
            report.add("sdk-packed", dataset.path, "has packed annotations, which only blobdir reads")
        if report.audience:
            _check_uploading(dataset, names, pickles[dataset.path], report)


def _check_dataset_names(datasets: list[str], report: VerifyReport) -> None:
    by_name = Counter(map(layout.dataset_name, datasets))
    of_sdk = Counter(map(_name_for_sdk, datasets))
    for path in datasets:
        called = _name_for_sdk(path)
        if called != layout.dataset_name(path) and of_sdk[called] > 1:
            what = f"the SDK calls it {called}, as it does another one, and takes one of them"
            place = layout.dataset_place(layout.dataset_name(path))
            report.add("sdk-name", path, f"{what}; nested datasets lie in {place}")
        name = layout.dataset_name(path)
        if by_name[name] > 1:
            report.add("sdk-name", path, f"{by_name[name]} datasets are called {name}: the SDK takes the first of them")
        if refused := layout.sdk_refusal(path):
            text = f"the name {refused[0]} ends in {refused[1]!r}: the SDK drops the dataset"
            report.add("sdk-name", path, text)


def _name_for_sdk(path: str) -> str:
    """What the SDK calls a dataset: if it lies in a folder that isn't ``datasets/``, only by its own folder's name."""
    above = path.split("/")[:-1]
    return path.rpartition("/")[2] if above and above[-1] != layout.NESTED else layout.dataset_name(path)


def _check_places(datasets: list[str], folders: Folders, report: VerifyReport) -> None:
    """Datasets that would land elsewhere on the platform, and what the SDK takes for a second project."""
    there = {layout.dataset_name(path) for path in datasets if _is_dataset_of_sdk(path, folders)}
    for path in datasets:
        name = layout.dataset_name(path)
        above = [name[:at] for at, char in enumerate(name) if char == "/"]
        if missing := [outer for outer in above if outer not in there]:
            what = f"lies in {missing[-1]}, which is no dataset for the SDK (it has no img or no ann folder; make them)"
            text = f"{what}: on the platform {name} would be at the top"
            report.add("sdk-upload", path, text)
    others = [path for path, folder in folders.items() if path and any(e.name == layout.META for e in folder.entries)]
    for path in others:
        if inside := [dataset for dataset in datasets if dataset.startswith(f"{path}/")]:
            text = f"has a meta.json and {counted(len(inside), 'dataset')}: the SDK uploads no project in a project"
            report.add("sdk-upload", path, text)


def _is_dataset_of_sdk(path: str, folders: Folders) -> bool:
    entries = folders[path].entries if path in folders else []
    names = {entry.name for entry in entries}
    has_images = layout.ITEMS in names or any(name.endswith(layout.OFFSETS_SUFFIX) for name in names)
    return has_images and layout.ANNOTATIONS in names


def _check_uploading(dataset: DatasetView, names: list[str], pickles: list[str], report: VerifyReport) -> None:
    """What wouldn't come to the platform, or not come back, though the SDK can read it."""
    for name in names:
        if not splitext(name)[1]:
            report.add("sdk-upload", dataset.path, f"{name}: the SDK loses an image whose name has no extension")
    if len(pickles) > 1:
        text = f"has {len(pickles)} blobs: get it back by download_async; download_project of the SDK damages its copy"
        report.add("sdk-download", dataset.path, text)


def _check_blob_names(folders: Folders, pickles: list[str], report: VerifyReport) -> None:
    """Files beside a blob that the SDK takes for it: it looks for names up to the last dot."""
    blobs = folders.get(layout.BLOB_DIR)
    beside = defaultdict(list)
    for entry in blobs.entries if blobs else ():
        if entry.kind != "directory":
            beside[PurePosixPath(entry.name).stem].append(entry.name)
    for stem in sorted({pickle.rpartition("/")[2].removesuffix(layout.OFFSETS_SUFFIX) for pickle in pickles}):
        if len(beside[stem]) > 1:
            text = f"{', '.join(sorted(beside[stem]))}: the SDK takes any of them for the blob"
            report.add("sdk-upload", layout.BLOB_DIR, text)


def _check_doubles(
    storage: LocalStorage,
    dataset: DatasetView,
    names: list[str],
    folders: Folders,
    pickles: list[str],
    counts: Mapping[str, int],
    report: VerifyReport,
) -> None:
    """One name twice, in ``img/`` and a blob or in two blobs, or one annotation for two images."""
    items = folders.get(layout.join(dataset.path, layout.ITEMS))
    plain = [e.name for e in items.entries if e.kind != "directory" and is_image_name(e.name)] if items else []
    entries = sum(counts.get(pickle, 0) for pickle in pickles)
    if len(plain) + entries > len(names) - sum(["/" in name for name in names]):
        times = Counter(plain)
        for pickle in pickles:
            times.update(_entries(storage, pickle))
        for name, count in times.items():
            if count > 1:
                report.add("sdk-double", dataset.path, f"{name} is there {count} times, as a file or in blobs")
    for annotation, count in _annotations_of(names, folders.get(layout.join(dataset.path, layout.ANNOTATIONS))).items():
        if count > 1:
            report.add("sdk-double", dataset.path, f"{annotation} is the annotation of {counted(count, 'image')}")


def _annotations_of(names: list[str], folder: Folder | None) -> Counter[str]:
    """Name of each annotation that the SDK takes for that of an image -> of how many.

    That is the one by the whole name, else the one by the name without the extension: ``b.png.json`` is that of both
    ``b.png`` and ``b.png.png``, if the latter has none by its whole name.
    """
    entries = folder.entries if folder else ()
    known = {e.name for e in entries if e.kind != "directory" and splitext(e.name)[1] == _ANNOTATION}
    whole = Counter(name + _ANNOTATION for name in names if name + _ANNOTATION in known)
    others = (splitext(name)[0] + _ANNOTATION for name in names if name + _ANNOTATION not in known)
    return whole + Counter(filter(known.__contains__, others))


def _entries(storage: LocalStorage, pickle: str) -> Iterator[str]:
    """Names of a pickle's entries, without exact repeats: those are a defect of their own."""
    try:
        table = read_offsets(storage.read(pickle), name=pickle, on_conflict="skip")
    except (OffsetsError, OSError):
        return
    yield from map(os.fsdecode, table.names())
