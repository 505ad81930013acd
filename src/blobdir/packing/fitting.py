"""Whether members are what their names say, asked of a tree before something is made of their bytes.

Readers look at three entries of an offsets file. Who writes a project from members looks at each one that it takes: in
a new blob, with new offsets, nobody could tell any more.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from blobdir.discovery import pairing
from blobdir.errors import PackError
from blobdir.index import FIRST_BLOB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.tree import Tree


def check_members(tree: Tree, rows: NDArray[np.integer]) -> None:
    """Refuse members of blobs before which no header says their size and name; what isn't in a blob passes.

    Parameters
    ----------
    tree : Tree
        One that was opened without renaming anything.
    rows : ndarray of int
        Links are those that they lead to.

    Raises
    ------
    PackError
        Of the first one that doesn't fit.
    ReadError
    """
    index = tree.index
    datasets = frozenset(index.header.datasets)
    for number in np.unique(index.source[rows]).tolist():
        if number < FIRST_BLOB:
            continue
        chosen = rows[index.source[rows] == number]
        starts = index.offset[chosen].astype(np.int64)
        source = tree.blobs.source(number)
        heads = source.read_many(np.maximum(starts - pairing.BLOCK, 0), starts)
        members = pairing.Members(source)
        for row, start, head in zip(chosen.tolist(), starts.tolist(), heads, strict=True):
            path, size = tree.path(row), int(index.size[row])
            name = os.fsencode(_entry_name(path, datasets))
            before = partial(_before, members, start, head)
            if what := pairing.misfit(before, size, name, partial(members.has, start, name)):
                blob = index.header.blobs[number - FIRST_BLOB].path
                raise PackError(
                    f"{path}: should be bytes {start} to {start + size} of {blob}, but {what}; the blob was replaced, "
                    "or the offsets are of another one. `blobdir verify` says which entries don't fit. Nothing was "
                    "written"
                )


def _before(members: pairing.Members, start: int, head: bytes, n: int) -> bytes:
    return head if n <= pairing.BLOCK else members.before(start, n)


def _entry_name(path: str, datasets: frozenset[str]) -> str:
    """Of ``train/img/cat/a.jpg``, where ``train`` is a dataset: ``cat/a.jpg``."""
    parts = path.split("/")
    for n in range(len(parts) - 2, 0, -1):
        if "/".join(parts[:n]) in datasets:
            return "/".join(parts[n + 1 :])
    return parts[-1]
