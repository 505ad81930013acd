"""Which images go to which blob; depends on names and sizes only."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from blobdir.packing.names import slug_of
from blobdir.packing.samples import Samples
from blobdir.packing.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.packing.columns import TextColumn
    from blobdir.packing.listing import DatasetItems, Listing
    from blobdir.packing.report import PackOptions


def plan(listing: Listing, options: PackOptions) -> list[Shard]:
    """All shards of a source, those of annotations last."""
    numbers: Counter[str] = Counter()
    shards: list[Shard] = []
    for items in listing.datasets:
        called = Samples(items.names).called if options.layout == "webdataset" else None
        shards += plan_shards(items, options, numbers, listing.limit, called=called)
    for items in listing.annotations:  # each lies in a folder of its own
        shards += plan_shards(items, options, Counter(), listing.limit, images=False)
    return shards


def plan_shards(
    items: DatasetItems,
    options: PackOptions,
    numbers: Counter[str],
    root: str,
    *,
    images: bool = True,
    called: TextColumn | None = None,
) -> Iterator[Shard]:
    """Cut a dataset into shards.

    Parameters
    ----------
    items : DatasetItems
    options : PackOptions
    numbers : Counter
        How many shards there are of each slug, as file systems may compare them. Datasets that share one (``a/b``
        and ``a-b``, or long names that differ at their end) are numbered on.
    root : str
        Links out of it aren't followed; empty: all are.
    images : bool
    called : TextColumn, optional
        Names of the members, if these aren't the items' names.
    """
    slug = slug_of(items.path)
    known = unicodedata.normalize("NFC", slug).casefold()
    first, total = 0, 0
    count = len(items.names)
    for i in range(count + 1):
        size = items.sizes[i] if i < count else 0
        full = i > first and (
            total + size > options.shard_bytes or (options.shard_images and i - first >= options.shard_images)
        )
        if i < count and not full:
            total += size
            continue
        if i > first:
            part = slice(first, i)
            sources = items.sources[part]
            names = sources if items.names is items.sources else items.names[part]
            yield Shard(
                slug,
                items.path,
                items.folder,
                sources,
                names,
                items.sizes[part],
                images,
                items.stamps[part],
                numbers[known],
                root,
                None if called is None else called[part],
            )
            numbers[known] += 1
        first, total = i, size
