"""Classes and tags of many annotations: other processes read the files, and make sense of them.

Files that can't be read like that, large ones, and those in blobs or behind a backend are read by this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blobdir.datasets import ANNOTATIONS_AT_ONCE
from blobdir.errors import WorkerError
from blobdir.labelfiles import labels_in, labels_in_files
from blobdir.processes import Job, Workers, processors
from blobdir.sources import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from blobdir.datasets import AnnotationFile, DatasetView, ProjectView
    from blobdir.labelfiles import Labels

WORTH_IT: Final = 8000
"""Annotations from which on processes pay: starting two takes as long as 4,000."""
_MOST: Final = 2
"""More would wait for the one that gives them their work."""


class Labelled(NamedTuple):
    """What an image's annotation says.

    Attributes
    ----------
    dataset, name : str
        Path of the dataset, and name of the image.
    file : str
        Path of the annotation; empty where there is none.
    fault : str
        Why its classes and tags can't be known.
    labels : (tuple of str, tuple of str) or None
        Its classes, and its tags and those of its objects, each once; None where there is none, or they can't be known.
    """

    dataset: str
    name: str
    file: str
    fault: str
    labels: tuple[tuple[str, ...], tuple[str, ...]] | None


def read_labels(project: ProjectView[DatasetView], images: Mapping[str, Sequence[str]]) -> Iterator[Labelled]:
    """Labels of images, by the path of their dataset; in their order.

    Raises
    ------
    WorkerError
        One of the processes that helped has died.
    """
    worthwhile = sum(map(len, images.values())) >= WORTH_IT and processors() > 1
    with Workers(_MOST if worthwhile else 0) as workers:
        early: dict[int, list[Labelled]] = {}
        following = 0
        for job, found in _found(workers.run(_jobs(project, images, worthwhile))):
            number, dataset, files = job.about
            join = _there if isinstance(files, dict) else _here
            early[number] = list(join(dataset, files, found))
            while following in early:
                yield from early.pop(following)
                following += 1


def _found(results: Iterator[tuple[Job, Any]]) -> Iterator[tuple[Job, Any]]:
    try:
        yield from results
    except WorkerError as error:
        raise WorkerError(f"{error}; nothing was made: try again, with more memory free") from error


def _jobs(project: ProjectView[DatasetView], images: Mapping[str, Sequence[str]], elsewhere: bool) -> Iterator[Job]:
    storage = project.tree.storage
    number = 0
    for path, names in images.items():
        dataset, what = project[path], f"reading annotations of {path}"
        for low in range(0, len(names), ANNOTATIONS_AT_ONCE):
            part = names[low : low + ANNOTATIONS_AT_ONCE]
            loose = dataset.loose_annotations(part) if elsewhere and isinstance(storage, LocalStorage) else {}
            if loose and isinstance(storage, LocalStorage):
                arguments = (storage.root, [real for _, real in loose.values()], storage.follow_links)
                yield Job(labels_in_files, arguments, what, (number, dataset, loose))
            else:
                (files,) = dataset.annotation_files(part)
                contents = [file.data for file in files if file.data is not None]
                yield Job(labels_in, (contents,), what, (number, dataset, files))
            number += 1


def _here(dataset: DatasetView, files: list[AnnotationFile], found: list[Labels]) -> Iterator[Labelled]:
    """Of files that were read here."""
    answers = iter(found)
    for name, path, data, unread in files:
        fault, classes, tags = (unread, (), ()) if data is None else next(answers)
        yield Labelled(dataset.path, name, path, fault, None if fault or data is None else (classes, tags))


def _there(dataset: DatasetView, loose: dict[str, tuple[str, str]], found: list[Labels | None]) -> Iterator[Labelled]:
    """Of files that were read where sense was made of them; those that couldn't be are read here, which says why."""
    path = dataset.path
    for (name, (file, _)), one in zip(loose.items(), found, strict=True):
        if one is not None:
            fault, classes, tags = one
            yield Labelled(path, name, file, fault, None if fault else (classes, tags))
            continue
        for files in dataset.annotation_files([name]):
            yield from _here(dataset, files, labels_in([file.data for file in files if file.data is not None]))
