"""What ``items()`` and ``values()`` give: names together with what they stand for, and not one after the other."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from blobdir.imagestore.view import View

V = TypeVar("V")
_BATCH: Final = 512
_BATCH_BYTES: Final = 4 << 20


class _Paired(Protocol):
    def pairs(self) -> Iterator[tuple[str, Any]]: ...


class Items(ItemsView[str, V]):
    """Pairs, as the mapping's ``pairs`` has them."""

    _mapping: _Paired

    def __iter__(self) -> Iterator[tuple[str, V]]:
        return self._mapping.pairs()


class Values(ValuesView[V]):
    """Their second halves."""

    _mapping: _Paired

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.pairs())

    def __contains__(self, value: object) -> bool:
        return any(one is value or one == value for one in self)


def images_of(view: View) -> Iterator[tuple[str, bytes]]:
    """All images of one commit, whatever is committed meanwhile; some are read together, so they take little memory.

    Raises
    ------
    ReadError
        A blob that isn't held has gone meanwhile; see `blobdir.reading.HELD_BLOBS`.
    """
    names = view.names
    for first in range(0, len(names), _BATCH):
        some = names[first : first + _BATCH]
        rows = view.rows(some)
        parts = np.cumsum(view.tree.index.size[rows], dtype=np.int64) // _BATCH_BYTES
        cuts = np.flatnonzero(np.diff(parts)) + 1
        low = 0
        for part in np.split(rows, cuts):
            yield from zip(some[low : low + len(part)], view.read_rows(part), strict=True)
            low += len(part)
