"""Who jumps about in a file, and which blocks to fetch for him. Pure: no I/O, no threads.

Nobody knows where such a reader goes next. But who has waited for one block in sixteen will come by most: each is worth
fetching before it's asked for, and one after the other they cost a round trip each. Who reads less has nothing fetched.

Where connections share a slow line, what is fetched along makes him wait longer. So his waits are timed: where they
become longer than they were, fewer blocks come along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARE: Final = 16
"""Of so many blocks somebody must have waited for one, before others are fetched along."""
RAMP: Final = 2
"""Waits more, for each block more that comes along."""
SLOWER: Final = 1.5
"""How much longer a wait may take when blocks come along."""
_REGAIN: Final = 0.25


class Spread:
    """Watches the blocks of one file that somebody had to wait for.

    Parameters
    ----------
    count : int
        Blocks of the file.
    most : int
        Blocks that are fetched along with one.
    """

    def __init__(self, count: int, most: int) -> None:
        self._patience = max(RAMP, count // SHARE)
        self._most = most
        self._limit = float(most)
        self._waits = 0
        self._along = 0  # with the last wait
        self._alone_s: list[float] = []
        self._order: Iterator[int] = iter(np.random.default_rng(0).permutation(count).tolist())

    def blocks_along(self, is_here: Callable[[int], bool]) -> list[int]:
        """Note that somebody begins to wait for a block.

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
        wanted = int(min(self._limit, (self._waits - self._patience) // RAMP))
        while len(found) < wanted and (number := next(self._order, -1)) >= 0:
            if not is_here(number):
                found.append(number)
        self._along = len(found)
        return found

    def waited(self, seconds: float) -> None:
        """Note how long that took."""
        if self._waits <= self._patience:
            self._alone_s = sorted([*self._alone_s, seconds])[:SHARE]
        elif self._along and seconds > SLOWER * self._alone_s[len(self._alone_s) // 2]:
            self._limit = self._along // 2
        else:
            self._limit = min(self._most, self._limit + _REGAIN)
