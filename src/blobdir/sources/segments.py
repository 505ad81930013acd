"""What to fetch, and what to take from the cache, for many byte ranges of one file. Pure: no I/O.

A file is cut into blocks of one size. Blocks that are in the cache are used; others of which much is wanted are
fetched whole, so that they can be kept; of the rest just the ranges are fetched, neighbours together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blobdir.ranges import merge_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that are got at once.

    Attributes
    ----------
    start, end : int
        Half-open.
    cached : bool
        From the cache; then they are in one block.
    whole : bool
        Fetched, and whole blocks: worth keeping.
    """

    start: int
    end: int
    cached: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """Segments in order, and which part of which wanted range each holds.

    Attributes
    ----------
    segments : list of Segment
    owner : ndarray of intp, shape (p,)
        Wanted range that each piece belongs to; pieces are in order of their bytes, and so are those of one range.
    start, end : ndarray of int64, shape (p,)
        Bytes of each piece in the file, half-open.
    first : ndarray of intp, shape (len(segments) + 1,)
        Segment ``i`` holds the pieces ``first[i]:first[i + 1]``.
    """

    segments: list[Segment]
    owner: NDArray[np.intp]
    start: Longs
    end: Longs
    first: NDArray[np.intp]

    def pieces(self) -> Iterator[tuple[list[int], list[int], list[int]]]:
        """Of each segment: owners of its pieces, and where they begin and end in it."""
        for i, segment in enumerate(self.segments):
            here = slice(self.first[i], self.first[i + 1])
            yield (
                self.owner[here].tolist(),
                (self.start[here] - segment.start).tolist(),
                (self.end[here] - segment.start).tolist(),
            )


def plan_segments(
    start: Longs,
    end: Longs,
    *,
    block: int,
    size: int,
    has: Callable[[int], bool],
    gap: int,
    request: int,
    density: float,
) -> SegmentPlan:
    """Plan how many byte ranges of one file are read.

    Parameters
    ----------
    start, end : ndarray of int64, shape (n,)
        The wanted ranges, half-open, within the file, in any order, overlapping or not.
    block, size : int
        Bytes of a block, and of the file.
    has : callable
        Whether a block is in the cache, by its number.
    gap, request : int
        Limits of merging, see `blobdir.ranges.merge_ranges`.
    density : float
        Wanted share of a block from which it is fetched whole.
    """
    number, owner, low, high = _cut(start, end, block)
    segments: list[Segment] = []
    if len(number):
        blocks, where = np.unique(number, return_inverse=True)
        wanted = np.bincount(where, weights=high - low)
        cached = np.fromiter((has(int(n)) for n in blocks), bool, len(blocks))
        dense = ~cached & (wanted >= density * np.minimum(block, size - blocks * block))
        bounds = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
        reach = np.maximum.reduceat(high, bounds)
        segments += [
            Segment(a, b, cached=True, whole=False)
            for a, b in zip(low[bounds][cached].tolist(), reach[cached].tolist(), strict=True)
        ]
        segments += _whole(blocks[dense], block, size, request)
        rest = ~(cached | dense)[where]
        segments += _ranges(low[rest], high[rest], min(gap, block // 2), request)
        segments.sort(key=lambda segment: segment.start)
    starts = np.array([segment.start for segment in segments], np.int64)
    first = np.append(np.searchsorted(low, starts, "left"), len(low))
    return SegmentPlan(segments, owner, low, high, first)


def _cut(start: Longs, end: Longs, block: int) -> tuple[Longs, NDArray[np.intp], Longs, Longs]:
    """Cut ranges where blocks end: block number, owner, start and end of each piece, in order of start."""
    first = start // block
    count = np.where(end > start, (end - 1) // block - first + 1, 0)
    owner = np.repeat(np.arange(len(start)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    number = first[owner] + within
    low, high = np.maximum(start[owner], number * block), np.minimum(end[owner], (number + 1) * block)
    order = np.argsort(low, kind="stable")
    return number[order], owner[order], low[order], high[order]


def _whole(blocks: Longs, block: int, size: int, request: int) -> list[Segment]:
    """Blocks that lie side by side, in requests of a limited size."""
    if not len(blocks):
        return []
    most = max(1, request // block)
    new = np.append(True, np.diff(blocks) != 1)
    run = np.cumsum(new) - 1
    within = np.arange(len(blocks)) - np.flatnonzero(new)[run]
    begins = np.flatnonzero(new | (within % most == 0))
    ends = np.append(begins[1:], len(blocks)) - 1
    return [
        Segment(int(blocks[a]) * block, min((int(blocks[b]) + 1) * block, size), cached=False, whole=True)
        for a, b in zip(begins.tolist(), ends.tolist(), strict=True)
    ]


def _ranges(low: Longs, high: Longs, gap: int, request: int) -> list[Segment]:
    plan = merge_ranges(low, high, max_gap=gap, max_size=request)
    return [
        Segment(a, b, cached=False, whole=False) for a, b in zip(plan.start.tolist(), plan.end.tolist(), strict=True)
    ]
