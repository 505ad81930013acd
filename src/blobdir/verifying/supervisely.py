"""What the Supervisely SDK drops or refuses, though nothing is wrong with it. After ``Project._read``, SDK 6.74.51."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import OffsetsError
from blobdir.filenames import IMAGE_EXTENSIONS
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
    pickles: dict[str, list[str]] = defaultdict(list)
    for some in pickles_of(folders, datasets, layout.BLOB_DIR).values():
        for pickle in some:
            pickles[pickle.rpartition("/")[0]].append(pickle)
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


def _check_dataset_names(datasets: list[str], report: VerifyReport) -> None:
    by_name = Counter(map(layout.dataset_name, datasets))
    for path in datasets:
        name = layout.dataset_name(path)
        if by_name[name] > 1:
            report.add("sdk-name", path, f"{by_name[name]} datasets are called {name}: the SDK takes the first of them")
        if refused := layout.sdk_refusal(path):
            text = f"the name {refused[0]} ends in {refused[1]!r}: the SDK drops the dataset"
            report.add("sdk-name", path, text)


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
    plain = [e.name for e in items.entries if e.kind != "directory" and _is_image(e.name)] if items else []
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


def _is_image(name: str) -> bool:
    return splitext(name)[1].lower() in IMAGE_EXTENSIONS


def _entries(storage: LocalStorage, pickle: str) -> Iterator[str]:
    """Names of a pickle's entries, without exact repeats: those are a defect of their own."""
    try:
        table = read_offsets(storage.read(pickle), name=pickle, on_conflict="skip")
    except (OffsetsError, OSError):
        return
    yield from map(os.fsdecode, table.names())
