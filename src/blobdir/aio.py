"""Bulk reads for programs that have an event loop.

The work is that of `Tree.read_many`, in a thread: requests of one call are under way together anyway, and what a
loop needs is that it isn't blocked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdir.filesystem import BlobDirFileSystem
    from blobdir.project import Dataset


async def read_many(dataset: Dataset, names: Sequence[str]) -> list[bytes]:
    """Bytes of many images of a dataset, in the order of `names`.

    Raises
    ------
    NotFoundError, ReadError
        As `Dataset.read_many`.
    """
    return await asyncio.to_thread(dataset.read_many, names)


async def cat(filesystem: BlobDirFileSystem, paths: Sequence[str], on_error: str = "raise") -> dict[str, Any]:
    """Contents of many files of a project, by path.

    Parameters
    ----------
    on_error : {"raise", "omit", "return"}
        As in `BlobDirFileSystem.cat`.
    """
    found: dict[str, Any] = await asyncio.to_thread(filesystem.cat, list(paths), on_error=on_error)
    return found
