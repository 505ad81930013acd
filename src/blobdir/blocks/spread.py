"""Who jumps about in a file, and which blocks to fetch for him. Pure: no I/O, no threads.

Nobody knows where such a reader goes next, but he'll come by most blocks: each is worth fetching before it's asked for,
the more so the longer he has gone on. Fetched one after the other, each costs him a round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 4
"""Blocks that somebody must have waited for, for each that is fetched along with the next one."""


class Spread:
    """Watches the blocks of one file that somebody had to wait for.

    Of a file that is read to the end in any order, the number of waits grows with the square root of its blocks. Who
    reads little has little fetched in vain: after `n` waits, about ``n * n / 8`` blocks.

    Parameters
    ----------
    count : int
        Blocks of the file.
    most : int
        Blocks that are fetched along with one.
    """

    def __init__(self, count: int, most: int) -> None:
        self._most = most
        self._waits = 0
        self._order: Iterator[int] = iter(np.random.default_rng(0).permutation(count).tolist())

    def blocks_along(self, is_here: Callable[[int], bool]) -> list[int]:
        """Note that somebody waits for a block.

        Parameters
        ----------
        is_here : callable
            Whether a block needn't be fetched.

        Returns
        -------
        list of int
            Blocks to fetch along with it, far from one another, so that each is a request of its own.
        """
        self._waits += 1
        found: list[int] = []
        wanted = min(self._most, self._waits // PATIENCE)
        while len(found) < wanted and (number := next(self._order, -1)) >= 0:
            if not is_here(number):
                found.append(number)
        return found
