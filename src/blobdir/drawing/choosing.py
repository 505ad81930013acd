"""Which images of a project are drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from heapq import nsmallest
from typing import TYPE_CHECKING

from blobdir.errors import IncompleteListingError, NotFoundError, UsageError
from blobdir.packing.choosing import near_pattern
from blobdir.packing.typed import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.project import Dataset, Project

Chosen = tuple["Dataset", str]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which images are drawn.

    Attributes
    ----------
    pattern : str
        Shell pattern for ``train/a.jpg``.
    datasets : tuple of str
        Only of these, by name or path; empty: of all.
    count : int
        Images at the most, taken at even distances.
    sample : int
        So many, taken at random instead; 0: none.
    seed : int
        Which ones of those: always the same for the same seed.
    """

    pattern: str = "*"
    datasets: tuple[str, ...] = ()
    count: int = 40
    sample: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.sample < 0:
            raise UsageError("at least one image must be drawn")


def chosen_images(project: Project, choice: Choice) -> list[Chosen]:
    """Images that are chosen, in the order of the project.

    Raises
    ------
    NotFoundError
        Nothing matches.
    IncompleteListingError
        Nothing that could be listed matches; or not all images of a dataset could be.
    UsageError
        There is no such dataset; or the pattern fits some images by their paths, others by their names.
    """
    pattern = Pattern(choice.pattern)
    found = [
        (dataset, name)
        for dataset in _datasets(project, choice)
        for name in dataset.names
        if choice.pattern == "*" or pattern.fits(dataset.path, dataset.name, name)
    ]
    pattern.check()
    if not found and (why := project.why_unseen()):
        raise IncompleteListingError(
            f"{choice.pattern}: no image matches that could be listed, and others may be there: {why}"
        )
    if not found:
        names = {dataset.path: dataset.names for dataset in _datasets(project, choice)}
        where = f" in {', '.join(choice.datasets)}" if choice.datasets else ""
        others = near_pattern(project, names, choice.pattern)
        raise NotFoundError(f"{choice.pattern}: no image of {project.url} matches{where}; {others}")
    if choice.sample:
        ranked = nsmallest(choice.sample, range(len(found)), key=lambda i: _rank(found[i], choice.seed))
        return [found[i] for i in sorted(ranked)]
    count = min(choice.count, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def _datasets(project: Project, choice: Choice) -> Iterator[Dataset]:
    yield from project.all_chosen(choice.datasets) if choice.datasets else project.values()


def _rank(image: Chosen, seed: int) -> tuple[bytes, str]:
    """A place at random that depends on nothing but the image's name and the seed."""
    name = f"{image[0].name}/{image[1]}"
    text = f"{seed}\0{name}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest(), name
