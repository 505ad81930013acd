"""Tars for WebDataset: each image is followed by its annotation, under one key.

Names are those of decision 0019, as in blobs that are shards, too: the only dot behind the folders is the one before
the extension. ``train-000000.tar``, ``train-000001.tar`` are of the dataset ``train``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from blobdir.discovery import layout
from blobdir.packing.samples import Samples
from blobdir.stores.model import GIB, StorePlan, StoreWriter
from blobdir.tarwriting.format import member_header, padding
from blobdir.tarwriting.members import label_called
from blobdir.tarwriting.output import TarOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdir.stores.model import Sample


class WebDatasetWriter(StoreWriter):
    """Writes tars, and ``meta.json`` beside them."""

    shard_bytes: ClassVar[int] = GIB

    def __init__(self, plan: StorePlan) -> None:
        super().__init__(plan)
        self._dataset, self._path = "", ""
        self._samples, self._called = Samples(()), dict[str, str]()
        self._tar: TarOutput | None = None
        self._file, self._images = "", 0

    def begin(self, dataset: str, path: str, names: Sequence[str]) -> None:
        """Find out what all members are called."""
        self._dataset, self._path = dataset, path
        self._samples = Samples(names)
        self._called = dict(zip(names, self._samples.called, strict=True))
        for problem in self._samples.problems(dataset):
            self.plan.complain(problem.code, problem.path, problem.message)

    def add(self, samples: Sequence[Sample]) -> None:
        """Write them."""
        for sample in samples:
            name = os.fsencode(self._called[sample.name])
            members = [(name, sample.image)]
            if sample.annotation is not None and sample.name in self._samples.odd:
                text = "has an annotation, and no place for it in a sample; it isn't in the result"
                self.plan.complain("label-lost", f"{self._dataset}/{layout.ITEMS}/{sample.name}", text)
            elif sample.annotation is not None:
                members.append((label_called(name), sample.annotation))
            size = sum(
                len(member_header(name, len(data))) + len(data) + len(padding(len(data))) for name, data in members
            )
            if self._tar is not None and self.plan.is_full(self._tar.position, self._images, size):
                self.end()
            if self._tar is None:
                self._file = self.plan.shard_name(self._path, ".tar")
                self._tar = TarOutput(self._file, dir_fd=self.plan.made.fd(""))
            for member in members:
                self._tar.member(*member)
            self._images += 1
            self.plan.count(is_annotated=len(members) > 1)

    def end(self) -> None:
        """End the tar at hand."""
        if self._tar is None:
            return
        with self._tar as tar:
            digest = tar.finish()
        self.plan.made.take(self._file, digest=digest)
        self._tar, self._images = None, 0

    def finish(self) -> None:
        """Write the classes beside the tars."""
        if self.plan.meta:
            self.plan.made.write(layout.META, [self.plan.meta])
            self.plan.files += 1

    def close(self) -> None:
        """Close the tar at hand."""
        if self._tar is not None:
            self._tar.close()


def _bytes_of(name: bytes, data: bytes) -> int:
    """What a member takes in a tar."""
    return len(member_header(name, len(data))) + len(data) + len(padding(len(data)))
