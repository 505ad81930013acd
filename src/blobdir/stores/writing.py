"""A project on its way into a store: images and annotations, read some at a time."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import BlobdirError, NotFoundError
from blobdir.stores import STORES
from blobdir.stores.model import Sample, StorePlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.datasets import DatasetView
    from blobdir.discovery import Progress
    from blobdir.packing.made import Made
    from blobdir.stores.model import Complain, StoreWriter
    from blobdir.tree import Tree

_AT_ONCE: Final = 500
_MOST_BYTES: Final = 32 << 20
"""Of images that are read together, but for the last of them."""
_UNKNOWN_BYTES: Final = 1 << 20
"""Of a file behind a backend that doesn't say it."""


class Storing:
    """Writes datasets of a tree.

    Parameters
    ----------
    tree : Tree
    to : str
        One of `STORES`.
    complain : callable
    progress : callable, optional

    Attributes
    ----------
    images, annotations, files : int
        That were written.
    """

    def __init__(self, tree: Tree, to: str, complain: Complain, progress: Progress | None) -> None:
        self._tree, self._store, self._complain, self._progress = tree, STORES[to], complain, progress
        self.images, self.annotations, self.files = 0, 0, 0

    def run(self, made: Made, datasets: Sequence[DatasetView], shard_bytes: int, shard_images: int) -> None:
        """Write them into a folder.

        Parameters
        ----------
        made : Made
        datasets : list of DatasetView
        shard_bytes, shard_images : int
            0: what the format has.
        """
        names = {one.path: one.names for one in datasets}
        total = sum(map(len, names.values()))
        sizes = {one.path: self._sizes(one, names[one.path]) for one in datasets}
        most = shard_bytes or self._store.shard_bytes
        called, size = [one.name for one in datasets], sum(map(sum, sizes.values()))
        plan = StorePlan(made, self._complain, self._meta(), called, size, most, shard_images)
        done = 0
        with closing(self._store(plan)) as writer:
            for one in datasets:
                writer.begin(one.name, one.path, names[one.path])
                for part in self._batches(names[one.path], sizes[one.path]):
                    self._add(writer, one, part)
                    done += len(part)
                    if self._progress:
                        self._progress("converting", done, total)
                writer.end()
            writer.finish()
        self.files, self.images, self.annotations = plan.files, plan.images, plan.annotations

    def _meta(self) -> bytes:
        """``meta.json`` as it is; that it's one was looked at before."""
        try:
            return self._tree.read(self._tree.find(layout.META))
        except NotFoundError:
            return b""

    @staticmethod
    def _sizes(dataset: DatasetView, names: Sequence[str]) -> list[int]:
        """Bytes of images, as far as that's known."""
        return [size if size >= 0 else _UNKNOWN_BYTES for size in dataset.sizes(names)]

    @staticmethod
    def _batches(names: Sequence[str], sizes: Sequence[int]) -> Iterator[list[str]]:
        """Images that are in memory together."""
        batch: list[str] = []
        total = 0
        for name, size in zip(names, sizes, strict=True):
            batch.append(name)
            total += size
            if total > _MOST_BYTES or len(batch) == _AT_ONCE:
                yield batch
                batch, total = [], 0
        if batch:
            yield batch

    def _add(self, writer: StoreWriter, dataset: DatasetView, names: list[str]) -> None:
        images = self._images(dataset, names)
        samples = []
        for part in dataset.annotation_files(names):
            for name, path, data, fault in part:
                if name not in images:
                    continue
                if fault:
                    self._complain("unreadable", path, f"can't be read: {fault}; its image has no annotation")
                elif data is None:
                    self._complain("no-annotation", f"{dataset.name}/{name}", "has none")
                samples.append(Sample(name, images.pop(name), data))
        writer.add(samples)

    def _images(self, dataset: DatasetView, names: list[str]) -> dict[str, bytes]:
        """Bytes of those that can be read; the others are named."""
        try:
            return dict(zip(names, dataset.read_many(names), strict=True))
        except (OSError, BlobdirError):  # one of them, so that each is tried
            found = {}
            for name in names:
                try:
                    found[name] = dataset.get_blob_img_bytes(name)
                except (OSError, BlobdirError) as error:
                    self._complain("unreadable", f"{dataset.name}/{name}", f"can't be read: {error}")
            return found
