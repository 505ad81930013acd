"""What all writers of stores are told of a project: images with their annotations, some at a time."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from blobdir.packing.names import slug_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdir.packing.made import Made

Complain = Callable[[str, str, str], None]
"""Called with the code of a problem, a path and what is wrong with it."""
GIB: Final = 1 << 30


class Sample(NamedTuple):
    """An image of a project, and its annotation: a writer writes an annotation with its image, or not at all.

    Attributes
    ----------
    name : str
        In its dataset.
    image : bytes
    annotation : bytes or None
        As it is in the project; None where there is none.
    """

    name: str
    image: bytes
    annotation: bytes | None


@dataclass(slots=True)
class StorePlan:
    """How a project is written.

    Attributes
    ----------
    made : Made
        Where everything is written.
    complain : callable
    meta : bytes
        Content of ``meta.json``; empty where there is none.
    datasets : sequence of str
        Names of all that come.
    bytes : int
        Of all images and annotations, as far as that's known.
    shard_bytes : int
        A file is ended before it grows beyond this, but for one image that is larger.
    shard_images : int
        The same by number of images; 0 is no limit.
    files, images, annotations : int
        That were written.
    """

    made: Made
    complain: Complain
    meta: bytes
    datasets: Sequence[str]
    bytes: int
    shard_bytes: int
    shard_images: int
    files: int = 0
    images: int = 0
    annotations: int = 0
    _numbers: Counter[str] = field(default_factory=Counter)

    def shard_name(self, dataset: str, extension: str) -> str:
        """What the next file of a dataset is called: datasets that look alike to a file system are numbered on."""
        slug = slug_of(dataset)
        key = unicodedata.normalize("NFC", slug).casefold()
        number = self._numbers[key]
        self._numbers[key] += 1
        self.files += 1
        return f"{slug}-{number:06d}{extension}"

    def count(self, *, is_annotated: bool) -> None:
        """Count an image that is written, with its annotation or without."""
        self.images += 1
        self.annotations += is_annotated

    def is_full(self, size: int, images: int, more: int) -> bool:
        """Whether a file that holds something is to be ended before so many bytes more."""
        return bool(images) and (size + more > self.shard_bytes or 0 < self.shard_images <= images)


class StoreWriter(ABC):
    """Writes one format. A context manager: what is open is closed, whatever happens.

    Attributes
    ----------
    shard_bytes : int
        Of a file, if nobody says; 0: there is one file, and nothing to say.
    """

    shard_bytes: ClassVar[int] = 0

    def __init__(self, plan: StorePlan) -> None:
        self.plan = plan

    @classmethod
    def check(cls) -> None:
        """Refuse where a library isn't there: UsageError, with how to get it. Called before anything is made."""
        return

    @abstractmethod
    def begin(self, dataset: str, path: str, names: Sequence[str]) -> None:
        """A dataset, by its name and path, and the names of all its images."""

    @abstractmethod
    def add(self, samples: Sequence[Sample]) -> None:
        """Images of the dataset that come next; those that are written are counted (`StorePlan.count`)."""

    @abstractmethod
    def end(self) -> None:
        """The dataset has no more."""

    @abstractmethod
    def finish(self) -> None:
        """All is written, and to be brought to the disk."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open, whether it's finished or not."""
