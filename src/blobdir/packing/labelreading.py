"""Classes and tags of many annotations: this process reads the files, others make sense of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.annotations import labels_in
from blobdir.processes import Job, Workers, processors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from blobdir.datasets import AnnotationFile, DatasetView, ProjectView

WORTH_IT: Final = 8000
"""Annotations from which on processes pay: starting two takes as long as 4,000."""
_MOST: Final = 2
"""More would wait for the one that reads."""


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
        for job, found in workers.run(_jobs(project, images)):
            number, dataset, files = job.about
            early[number] = list(_joined(dataset, files, found))
            while following in early:
                yield from early.pop(following)
                following += 1


def _jobs(project: ProjectView[DatasetView], images: Mapping[str, Sequence[str]]) -> Iterator[Job]:
    number = 0
    for path, names in images.items():
        for files in project[path].annotation_files(names):
            contents = [file.data for file in files if file.data is not None]
            yield Job(labels_in, (contents,), f"reading annotations of {path}", (number, path, files))
            number += 1


def _joined(
    dataset: str, files: list[AnnotationFile], found: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
) -> Iterator[Labelled]:
    answers = iter(found)
    for name, path, data, unread in files:
        fault, classes, tags = (unread, (), ()) if data is None else next(answers)
        yield Labelled(dataset, name, path, fault, None if fault or data is None else (classes, tags))
