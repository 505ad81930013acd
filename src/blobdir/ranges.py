"""Byte ranges, and the plan that turns many small ranges into few large ones. Pure functions, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` to ``end``, half-open.

    Attributes
    ----------
    start, end : int
        First byte, and the byte after the last. ``0 <= start <= end``.
    """

    start: int
    end: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class MergePlan:
    """A plan for reading many byte ranges of one source with few requests.

    Attributes
    ----------
    order : ndarray of intp, shape (n,)
        The wanted ranges in the order in which the requests hold them.
    first : ndarray of intp, shape (k + 1,)
        Request ``i`` holds the ranges ``order[first[i]:first[i + 1]]``.
    start, end : ndarray of int64, shape (k,)
        Byte range of each request, half-open.
    """

    order: NDArray[np.intp]
    first: NDArray[np.intp]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


def total_of(sizes: NDArray[np.integer[Any]]) -> int:
    """The sum of sizes, also where it has more than 64 bits: those that offsets say can be any."""
    wide = sizes.astype(np.int64)
    return (int((wide >> 32).sum()) << 32) + int((wide & 0xFFFFFFFF).sum())


def merge_ranges(start: NDArray[np.int64], end: NDArray[np.int64], *, max_gap: int, max_size: int) -> MergePlan:
    """Merge neighbouring byte ranges of one source into larger requests.

    Ranges closer than `max_gap` share a request, until it would grow beyond about `max_size`: requests are cut
    where the ranges enter a new stretch of `max_size` bytes, and a range is never split. O(n log n).

    Parameters
    ----------
    start, end : ndarray of int64, shape (n,)
        The wanted ranges, half-open, in any order, overlapping or not.
    max_gap : int
        Bytes between a range and all that begin before it that are read and thrown away rather than asked for
        separately.
    max_size : int
        Bytes after which a new request begins.

    Returns
    -------
    MergePlan
    """
    order = np.argsort(start, kind="stable")
    low, high = start[order], end[order]
    if len(order) == 0:
        empty = np.empty(0, np.int64)
        return MergePlan(order, np.zeros(1, np.intp), empty, empty)
    reach = np.maximum.accumulate(high)
    new = np.empty(len(order), bool)
    new[0] = True
    new[1:] = (low[1:] - reach[:-1] > max_gap) | (low[1:] // max_size != low[:-1] // max_size)
    first = np.flatnonzero(new)
    return MergePlan(order, np.append(first, len(order)), low[first], np.maximum.reduceat(high, first))
