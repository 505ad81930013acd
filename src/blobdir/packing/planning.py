"""Which images go to which blob; depends on names and sizes only."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.packing.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.packing.listing import DatasetItems, Listing
    from blobdir.packing.report import PackOptions


def plan(listing: Listing, options: PackOptions) -> list[Shard]:
    """All shards of a source, those of annotations last."""
    stems: set[str] = set()
    shards = [shard for items in listing.datasets for shard in plan_shards(items, options, stems)]
    for items in listing.annotations:
        own: set[str] = set()
        shards += plan_shards(items, options, own, images=False)
    return shards


def plan_shards(items: DatasetItems, options: PackOptions, stems: set[str], *, images: bool = True) -> Iterator[Shard]:
    """Cut a dataset into shards.

    Parameters
    ----------
    items : DatasetItems
    options : PackOptions
    stems : set of str
        Stems that are taken; those of the shards are added.
    images : bool
    """
    slug = layout.dataset_name(items.path).replace("/", "-")
    if any(stem.rpartition("-")[0] == slug for stem in stems):  # a/b and a-b
        slug = f"{slug}-{hashlib.sha256(items.path.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"
    first, total, number = 0, 0, 0
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
            stem = f"{slug}-{number:04d}"
            stems.add(stem)
            part = slice(first, i)
            yield Shard(
                stem, items.path, items.folder, items.sources[part], items.names[part], items.sizes[part], images
            )
        first, total, number = i, size, number + 1
